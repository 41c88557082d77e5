/* See super.h. */
#include "daemon/super/super.h"

#include "io/clock.h"
#include "io/ipc.h"
#include "io/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#define CHILD_CHANNEL 3 /* daemon/proc.c knows it too */

/* ---- programs -------------------------------------------------------------------------------- */

/* build/letterlockd has build/libexec/ beside it; /usr/sbin/letterlockd has
 * /usr/libexec/letterlock/. */
static int open_program(const char *folder, const char *name)
{
    static const char *const places[] = {"libexec", "../libexec/letterlock"};
    char path[PATH_MAX];

    for (size_t i = 0; i < LL_COUNT(places); i++) {
        int fd;
        int high;

        if (snprintf(path, sizeof(path), "%s/%s/%s", folder, places[i], name) >= (int)sizeof(path))
            continue;
        fd = open(path, O_PATH | O_CLOEXEC);
        if (fd < 0)
            continue;
        high = fcntl(fd, F_DUPFD_CLOEXEC, SUPER_FD_LOW);
        close(fd);
        return high;
    }
    return -1;
}

int super_open_programs(struct super *s, struct ll_buf *err)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (n <= 0) {
        ll_buf_puts(err, "letterlockd cannot find itself in /proc; mount it\n");
        return -1;
    }
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    for (unsigned r = 0; r < LL_ROLE_COUNT; r++) {
        const char *program = ll_role_program((enum ll_role)r);

        s->programs[r] = -1;
        if (!program || !program[0])
            continue;
        s->programs[r] = open_program(self, program);
        if (s->programs[r] >= 0)
            continue;
        ll_buf_printf(err, "%s is not beside %s/letterlockd; install it again\n", program, self);
        return -1;
    }
    return 0;
}

/* ---- messages -------------------------------------------------------------------------------- */

static int on_frame(void *arg, const struct ll_frame *f)
{
    struct child *c = arg;
    struct ll_msg m;

    if (ll_msg_decode(f, c->role, LL_ROLE_SUPER, &m) != 0)
        return -1;
    return super_child_message(c, &m);
}

/* A child without a channel is of no use: its death is seen by super_reap. */
static void on_gone(void *arg, const char *why)
{
    struct child *c = arg;

    if (why != ll_ipc_closed)
        ll_log(LL_LOG_ERROR, "bad-child", LL_FS("child", ll_role_name(c->role)),
               LL_FU("index", c->index), LL_FS("why", why));
    ll_ipc_free(c->ipc);
    c->ipc = NULL;
    if (c->super->stage < STAGE_FRONTS || why != ll_ipc_closed)
        super_kill(c->super, c);
}

/* ---- start ----------------------------------------------------------------------------------- */

/* Between fork and exec. Descriptors: 0 and 1 nothing, 2 the log, 3 the channel; the rest closes.
 */
_Noreturn void child_become_role(struct child *c, int channel)
{
    struct super *s = c->super;
    char name[32];
    char index[16];
    char program[32];
    char *argv[] = {program, name, index, NULL};
    char *keep = getenv("ASAN_OPTIONS"); /* builds for tests alone look at it */
    char options[256];
    char *envp[] = {options, NULL};
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int high = fcntl(channel, F_DUPFD_CLOEXEC, SUPER_FD_LOW);
    sigset_t none;

    snprintf(program, sizeof(program), "%s", ll_role_program(c->role));
    snprintf(name, sizeof(name), "%s", ll_role_name(c->role));
    snprintf(index, sizeof(index), "%u", c->index);
    snprintf(options, sizeof(options), "ASAN_OPTIONS=%s", keep ? keep : "");
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    if (null < 0 || high < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 ||
        dup2(s->log_fd, STDERR_FILENO) < 0 || dup2(high, CHILD_CHANNEL) < 0)
        _exit(EX_OSERR);
    if (super_become(s, c->role) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        _exit(EX_NOPERM);
    syscall(SYS_execveat, s->programs[c->role], "", argv, envp, AT_EMPTY_PATH);
    _exit(EX_UNAVAILABLE);
}

int child_start(struct child *c)
{
    struct super *s = c->super;
    int fd[2];
    pid_t pid;

    if (ll_ipc_pair(fd) != 0)
        return -1;
    pid = s->stems[c->role] >= 0 ? stem_start(s, c->role, c->index, fd[1]) : fork();
    if (pid == 0)
        child_become_role(c, fd[1]);
    close(fd[1]);
    if (pid < 0) {
        close(fd[0]);
        return -1;
    }
    c->pid = pid;
    c->life++;
    c->started = false;
    c->wired = false;
    c->since = ll_unix_s();
    c->since_ms = ll_now_ms();
    c->ipc = ll_ipc_new(s->base, fd[0], on_frame, on_gone, c);
    if (!c->ipc) {
        close(fd[0]);
        super_kill(s, c);
        return -1;
    }
    child_greet(c);
    return 0;
}

/* ---- restart --------------------------------------------------------------------------------- */

static void wait_and_restart(struct child *c, unsigned seconds)
{
    struct timeval tv = {seconds, seconds ? 0 : 1000};

    event_add(c->timer, &tv);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct child *c = arg;

    if (c->retired || c->pid || c->super->stage > STAGE_UP)
        return;
    c->restarts += !ll_role_once(c->role); /* its end is no fault, and has its line in the log */
    if (child_start(c) != 0) {
        ll_log(LL_LOG_ERROR, "no-restart", LL_FS("child", ll_role_name(c->role)),
               LL_FU("index", c->index), LL_FS("why", strerror(errno)));
        wait_and_restart(c, 1);
        return;
    }
    child_wire(c);
    child_send(c, LL_MSG_START, -1);
}

static unsigned back_off(struct child *c, bool did_its_thing)
{
    unsigned seconds;

    if (did_its_thing) {
        c->fast = 0;
        return 0;
    }
    if (ll_now_ms() - c->since_ms >= SUPER_FAST_MS) {
        c->fast = 0;
        return 0;
    }
    c->fast++;
    if (c->fast < 2)
        return 0;
    seconds = c->fast - 2 < 5 ? 1u << (c->fast - 2) : SUPER_BACKOFF_MAX;
    ll_log(LL_LOG_ERROR, "crash-loop", LL_FS("child", ll_role_name(c->role)),
           LL_FU("index", c->index), LL_FU("deaths", c->fast), LL_FU("wait_s", seconds));
    return seconds;
}

static void on_death(struct child *c, int status)
{
    struct super *s = c->super;
    bool stopping = s->stage > STAGE_UP;
    bool did_its_thing = ll_role_once(c->role) && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    char how[64];

    if (WIFSIGNALED(status))
        snprintf(how, sizeof(how), "signal %d", WTERMSIG(status));
    else
        snprintf(how, sizeof(how), "status %d", WEXITSTATUS(status));
    ll_log(stopping || c->retired || did_its_thing ? LL_LOG_INFO : LL_LOG_ERROR, "child-ended",
           LL_FS("child", ll_role_name(c->role)), LL_FU("index", c->index),
           LL_FU("pid", (uint64_t)c->pid), LL_FS("how", how));
    c->pid = 0;
    c->started = false;
    c->wired = false;
    ll_ipc_free(c->ipc);
    c->ipc = NULL;
    if (s->stage == STAGE_STARTING && s->exit_status == 0) {
        char sentence[256];

        snprintf(sentence, sizeof(sentence), "role %s ended while starting (%s); the log says why",
                 ll_role_name(c->role), how);
        super_fail(s, WIFEXITED(status) && WEXITSTATUS(status) == EX_CONFIG ? EX_CONFIG : EX_OSERR,
                   sentence);
    } else if (stopping) {
        super_stage_goes_on(s);
    } else if (!c->retired && s->stage == STAGE_UP) {
        wait_and_restart(c, back_off(c, did_its_thing));
    }
}

void super_reap(struct super *s)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (size_t i = 0; i < s->n_children; i++)
            if (s->children[i]->pid == pid)
                on_death(s->children[i], status);
}

/* ---- the table of children ------------------------------------------------------------------- */

static struct child *child_new(struct super *s, enum ll_role role, unsigned index)
{
    struct child *c = calloc(1, sizeof(*c));

    if (!c || s->n_children == SUPER_CHILDREN_MAX) {
        free(c);
        return NULL;
    }
    *c = (struct child){.super = s, .role = role, .index = index};
    c->timer = event_new(s->base, -1, 0, on_timer, c);
    if (!c->timer) {
        free(c);
        return NULL;
    }
    s->children[s->n_children++] = c;
    return c;
}

static struct child *find(struct super *s, enum ll_role role, unsigned index)
{
    for (size_t i = 0; i < s->n_children; i++)
        if (s->children[i]->role == role && s->children[i]->index == index)
            return s->children[i];
    return NULL;
}

int super_fit_children(struct super *s)
{
    struct child *fresh[SUPER_CHILDREN_MAX];
    size_t n = 0;

    for (size_t i = 0; i < s->n_children; i++) {
        struct child *c = s->children[i];

        if (c->index < ll_role_workers(s->conf, c->role) || c->retired)
            continue;
        c->retired = true;
        child_send(c, LL_MSG_DRAIN, -1);
    }
    for (unsigned r = LL_ROLE_SUPER + 1; r < LL_ROLE_COUNT; r++)
        for (unsigned k = 0; s->programs[r] >= 0 && k < ll_role_workers(s->conf, r); k++) {
            struct child *c = find(s, (enum ll_role)r, k);

            if (c && (!c->retired || c->pid)) {
                c->retired = false;
                continue;
            }
            if (!c)
                c = child_new(s, (enum ll_role)r, k);
            if (!c || child_start(c) != 0)
                return -1;
            c->retired = false;
            fresh[n++] = c;
        }
    for (size_t i = 0; i < n; i++)
        child_wire(fresh[i]);
    for (size_t i = 0; i < n; i++)
        child_send(fresh[i], LL_MSG_START, -1);
    return 0;
}

bool super_all_started(const struct super *s)
{
    for (size_t i = 0; i < s->n_children; i++)
        if (!s->children[i]->started && !s->children[i]->retired)
            return false;
    return true;
}

size_t super_running(const struct super *s)
{
    size_t n = 0;

    for (size_t i = 0; i < s->n_children; i++)
        n += s->children[i]->pid != 0;
    return n;
}
