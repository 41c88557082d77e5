/* letterlockd(8). See super.h. */
#include "daemon/super/super.h"

#include "io/clock.h"
#include "io/log.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_CONF "/etc/letterlock/letterlock.conf"

static const char usage[] =
    "usage: letterlockd [-c FILE] [-f] [-t]\n"
    "\n"
    "  -c, --config FILE   configuration (" DEFAULT_CONF ")\n"
    "  -f, --foreground    stay in the foreground and log to stderr\n"
    "  -t, --test          check the configuration and end\n"
    "  -h, --help          this text\n"
    "  -V, --version       the version\n"
    "\n"
    "Signals: HUP reads the configuration again, TERM stops, USR1 opens the log again.\n"
    "See letterlockd(8) and letterlock.conf(5).\n";

static void on_signal(evutil_socket_t number, short what, void *arg)
{
    struct super *s = arg;
    struct ll_buf err = LL_BUF(65536);

    switch (number) {
    case SIGCHLD:
        super_reap(s);
        break;
    case SIGHUP:
        if (s->stage == STAGE_UP && super_reload(s, &err) != 0)
            ll_log(LL_LOG_ERROR, "not-reloaded", LL_F("why", super_sentence(&err)));
        break;
    case SIGUSR1:
        super_reopen_log(s);
        break;
    default: /* TERM and INT */
        super_stop(s);
        break;
    }
    ll_buf_release(&err);
}

static void on_stage_timer(evutil_socket_t fd, short what, void *arg)
{
    struct super *s = arg;

    if (s->stage == STAGE_STARTING) {
        super_fail(s, EX_OSERR, "not every role has started in time; the log names those that did");
        return;
    }
    /* Time is up: those of this stage end now, and their deaths carry the stages on. */
    for (size_t i = 0; i < s->n_children; i++)
        super_kill(s, s->children[i]);
}

static int watch(struct super *s)
{
    static const int numbers[] = {SIGCHLD, SIGHUP, SIGUSR1, SIGTERM, SIGINT};
    struct timeval tv = {SUPER_START_MAX, 0};

    s->base = event_base_new();
    if (!s->base)
        return -1;
    for (size_t i = 0; i < LL_COUNT(numbers); i++) {
        struct event *e = evsignal_new(s->base, numbers[i], on_signal, s);

        if (!e || event_add(e, NULL) != 0)
            return -1;
    }
    s->stage_timer = event_new(s->base, -1, 0, on_stage_timer, s);
    return s->stage_timer && event_add(s->stage_timer, &tv) == 0 ? 0 : -1;
}

/* The parent waits for one octet, the exit status; an end without it is a failure. */
static void go_to_background(struct super *s)
{
    int fd[2];
    pid_t pid;
    char status = EX_SOFTWARE;
    int null;

    if (pipe2(fd, O_CLOEXEC) != 0 || (pid = fork()) < 0) {
        perror("letterlockd");
        exit(EX_OSERR);
    }
    if (pid > 0) {
        close(fd[1]);
        if (read(fd[0], &status, 1) != 1)
            status = EX_SOFTWARE;
        _exit(status);
    }
    close(fd[0]);
    s->ready_fd = fcntl(fd[1], F_DUPFD_CLOEXEC, SUPER_FD_LOW);
    close(fd[1]);
    setsid();
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        close(null);
    }
}

static void raise_limits(void)
{
    struct rlimit r;

    if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
        r.rlim_cur = r.rlim_max;
        setrlimit(RLIMIT_NOFILE, &r);
    }
    r = (struct rlimit){0, 0};
    setrlimit(RLIMIT_CORE, &r);
}

/* A server that was killed a moment ago may still be dying: what is busy is tried for a while. */
static int open_sockets(struct super *s, struct ll_buf *err)
{
    const struct timespec pause = {0, 100000000};
    int r = SUPER_BUSY;

    for (int i = 0; r == SUPER_BUSY && i < 20; i++) {
        if (i)
            nanosleep(&pause, NULL);
        ll_buf_clear(err);
        r = super_listen_control(s, err);
    }
    if (r != 0)
        return r;
    r = super_listen(s, s->conf, err);
    for (int i = 0; r == SUPER_BUSY && i < 20; i++) {
        nanosleep(&pause, NULL);
        ll_buf_clear(err);
        r = super_listen(s, s->conf, err);
    }
    return r;
}

/* Everything up to the loop. Returns a sysexits status. */
static int start(struct super *s, struct ll_buf *err)
{
    raise_limits();
    for (unsigned r = 0; r < LL_ROLE_COUNT; r++)
        s->stems[r] = -1;
    if (super_open_programs(s, err) != 0)
        return EX_UNAVAILABLE;
    s->root = geteuid() == 0;
    if (s->root && super_find_users(s, err) != 0)
        return EX_CONFIG;
    umask(027);
    if (super_folders(s, err) != 0 || super_open_log(s, err) != 0)
        return EX_CANTCREAT;
    if (open_sockets(s, err) != 0)
        return EX_UNAVAILABLE;
    if (super_leave_root(s, err) != 0)
        return EX_NOPERM;
    prctl(PR_SET_DUMPABLE, 0);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); /* as an ordinary user too */
    if (chdir("/") != 0 || super_share_conf(s) != 0 || watch(s) != 0 ||
        super_fit_children(s) != 0) {
        ll_buf_printf(err, "the roles cannot be started: %s\n", strerror(errno));
        return EX_OSERR;
    }
    return EX_OK;
}

static void clean_up(struct super *s)
{
    char path[PATH_MAX];

    for (size_t i = 0; i < s->n_children; i++)
        super_kill(s, s->children[i]);
    for (size_t i = 0; i < LL_ROLE_COUNT; i++)
        if (s->stems[i] >= 0)
            close(s->stems[i]); /* they end by that */
    while (waitpid(-1, NULL, 0) > 0) {
    }
    snprintf(path, sizeof(path), "%s/letterlockd.pid", s->conf->run_dir);
    unlink(path);
    super_unlink_control(s);
}

static int serve(struct super *s)
{
    struct ll_buf err = LL_BUF(65536);
    char status;

    s->exit_status = start(s, &err);
    if (s->exit_status == EX_OK)
        event_base_loop(s->base, EVLOOP_NO_EXIT_ON_EMPTY);
    else
        fprintf(stderr, "letterlockd: %.*s", LL_FMT(ll_buf_slice(&err)));
    ll_buf_release(&err);
    if (s->stage != STAGE_STARTING || s->n_children)
        clean_up(s);
    if (s->stage > STAGE_UP)
        ll_log(LL_LOG_INFO, "stopped");
    status = (char)s->exit_status;
    if (s->ready_fd >= 0 && write(s->ready_fd, &status, 1) != 1)
        return EX_SOFTWARE;
    return s->exit_status;
}

static bool load(struct super *s, const char *path)
{
    struct ll_buf err = LL_BUF(65536);
    char *full = realpath(path, NULL);

    s->conf = ll_conf_load(full ? full : path, &err);
    if (full)
        snprintf(s->conf_path, sizeof(s->conf_path), "%s", full);
    free(full);
    if (!s->conf)
        fprintf(stderr, "%.*s", LL_FMT(ll_buf_slice(&err)));
    ll_buf_release(&err);
    return s->conf != NULL;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'}, {"foreground", no_argument, NULL, 'f'},
        {"test", no_argument, NULL, 't'},         {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},      {NULL, 0, NULL, 0}};
    static struct super s = {.conf_fd = -1, .log_fd = -1, .ready_fd = -1};
    const char *path = DEFAULT_CONF;
    bool test = false;
    int o;

    while ((o = getopt_long(argc, argv, "c:fthV", options, NULL)) != -1) {
        if (o == 'c') {
            path = optarg;
        } else if (o == 'f') {
            s.foreground = true;
        } else if (o == 't') {
            test = true;
        } else if (o == 'V') {
            printf("letterlockd %s\n", LL_VERSION);
            return EX_OK;
        } else {
            fputs(usage, o == 'h' ? stdout : stderr);
            return o == 'h' ? EX_OK : EX_USAGE;
        }
    }
    if (optind != argc) {
        fputs(usage, stderr);
        return EX_USAGE;
    }
    signal(SIGPIPE, SIG_IGN);
    ll_log_init("super", 0);
    if (!load(&s, path))
        return EX_CONFIG;
    if (test) {
        ll_conf_free(s.conf);
        return EX_OK;
    }
    ll_log_json(strcmp(s.conf->log_format, "json") == 0);
    s.since = ll_unix_s();
    if (!s.foreground)
        go_to_background(&s);
    return serve(&s);
}
