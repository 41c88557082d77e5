/*
 * run-relay: the role relay as it really runs (its own process, inside its sandbox, with the real
 * dns and keeper beside it), and this program in the places of super and of the queue. Hands out
 * one letter, or many, and prints what became of each recipient, one JSON object a line:
 * {"to", "outcome", "passed", "code", "status", "text", "remote", "trouble", "facts"}.
 *
 *   run-relay [-n LETTERS] [-c AT-A-TIME] [-f] [-w MS] [-p] CONF FROM RCPT ... < LETTER
 *
 *   -f  the letter travels as a file, even when it is small
 *   -w  so long between one letter and the next
 *   -p  asks whether the recipients exist instead (as a front does); prints {"to", "code", "text"}
 *
 * All recipients of one run have the domain of the first. Letters after the first print nothing
 * unless they fare otherwise; the end says on stderr how many were delivered a second.
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/proc.h"
#include "io/clock.h"
#include "io/conf_load.h"
#include "io/json.h"
#include "letterlock/spool.h"

#define ROLES_MAX 3
#define PREPEND   "Received: by run-relay\r\n"

struct child {
    enum ll_role role;
    const char *program;
    pid_t pid;
    struct ll_ipc *super;
    bool started;
};

static struct event_base *base;
static struct child children[ROLES_MAX] = {{.role = LL_ROLE_RELAY, .program = "ll-mail"},
                                           {.role = LL_ROLE_DNS, .program = "ll-dns"},
                                           {.role = LL_ROLE_KEEPER, .program = "ll-mail"}};
static struct ll_ipc *to_relay;
static int conf_fd;
static size_t letters = 1, at_a_time = 1, given, answered, delivered;
static bool as_file, probing;
static int wait_ms;
static const char *from;
static char **rcpts;
static size_t n_rcpts;
static struct ll_buf body;
static uint64_t begun;

static void die(const char *what)
{
    fprintf(stderr, "run-relay: %s\n", what);
    for (size_t i = 0; i < ROLES_MAX; i++)
        if (children[i].pid > 0)
            kill(children[i].pid, SIGKILL);
    exit(1);
}

/* ---- letters ----------------------------------------------------------------------------------
 */

static int body_file(void)
{
    int fd = memfd_create("letter", MFD_CLOEXEC);

    if (fd < 0 || write(fd, body.p, body.n) != (ssize_t)body.n)
        die("memfd");
    return fd;
}

static void give(void)
{
    struct ll_job_rcpt rcpt[LL_JOB_RCPTS_MAX] = {{0}};
    struct ll_job job = {.letter = 1 + given,
                         .arrived_ms = ll_unix_ms(),
                         .attempt = 1,
                         .kind = LL_JOB_DELIVER,
                         .reverse_path = ll_slice_str(from),
                         .prepend = LL_LIT(PREPEND),
                         .body_length = body.n,
                         .rcpt = rcpt,
                         .n_rcpt = n_rcpts};
    struct ll_buf out = LL_BUF(60000);
    struct ll_msg m = {.type = LL_MSG_JOB_SMALL, .id = 1 + given, .fd = -1};
    struct ll_slice first = ll_slice_str(rcpts[0]);

    job.destination = ll_slice_skip(first, ll_slice_rfind(first, '@') + 1);
    for (size_t i = 0; i < n_rcpts; i++) {
        rcpt[i].index = (uint32_t)i;
        rcpt[i].kind = LL_RCPT_REMOTE;
        rcpt[i].address = ll_slice_str(rcpts[i]);
    }
    ll_job_encode(&job, &out);
    if (as_file || body.n > LL_JOB_SMALL_MAX) {
        m.type = LL_MSG_JOB;
        m.fd = body_file();
        m.job.job = ll_buf_slice(&out);
    } else {
        m.job_small.job = ll_buf_slice(&out);
        m.job_small.body = ll_buf_slice(&body);
    }
    if (out.failed || ll_msg_send(to_relay, &m) != 0)
        die("the job cannot be sent");
    if (m.fd >= 0)
        close(m.fd);
    ll_buf_release(&out);
    given++;
}

static void ask_probe(void)
{
    struct ll_msg m = {.type = LL_MSG_PROBE_ASK, .id = given, .fd = -1};

    m.probe_ask.address = ll_slice_str(rcpts[given++ % n_rcpts]);
    ll_msg_send(to_relay, &m);
}

static void on_wait(evutil_socket_t fd, short what, void *arg)
{
    if (given < letters)
        probing ? ask_probe() : give();
}

static void next(void)
{
    struct timeval tv = {wait_ms / 1000, wait_ms % 1000 * 1000};

    if (answered == letters) {
        double s = (double)(ll_now_ms() - begun) / 1000;

        if (letters > 1)
            fprintf(stderr, "%zu of %zu delivered, %.0f a second\n", delivered, letters,
                    (double)letters / (s > 0 ? s : 0.001));
        event_base_loopbreak(base);
    } else if (given < letters) {
        event_base_once(base, -1, EV_TIMEOUT, on_wait, NULL, &tv);
    }
}

static void print_rcpt(const struct ll_job_result *r, const struct ll_job_result_rcpt *one)
{
    static const char *const words[] = {"delivered", "deferred", "failed", "again", "delivered"};
    struct ll_buf line = LL_BUF(1 << 16);
    struct ll_json j = LL_JSON(&line);

    ll_json_open(&j, '{');
    ll_json_cstr(&j, "to", rcpts[one->index]);
    ll_json_cstr(&j, "outcome", words[one->outcome]);
    ll_json_bool(&j, "passed", one->outcome == LL_OUTCOME_PASSED);
    ll_json_int(&j, "code", one->code);
    ll_json_str(&j, "status", one->status);
    ll_json_str(&j, "text", one->text);
    ll_json_str(&j, "remote", one->remote);
    ll_json_bool(&j, "trouble", r->trouble);
    ll_json_raw(&j, "facts", r->facts.n ? r->facts : LL_LIT("null"));
    ll_json_close(&j);
    printf("%s\n", ll_buf_str(&line));
    ll_buf_release(&line);
}

static int on_result(const struct ll_msg *m)
{
    struct ll_arena arena;
    struct ll_job_result r;
    bool all = true;

    ll_arena_init(&arena, 1 << 20);
    if (m->type != LL_MSG_JOB_RESULT || !ll_job_result_decode(m->job_result.result, &arena, &r))
        die("bad result");
    for (size_t i = 0; i < r.n_rcpt; i++)
        all = all &&
              (r.rcpt[i].outcome == LL_OUTCOME_DELIVERED || r.rcpt[i].outcome == LL_OUTCOME_PASSED);
    for (size_t i = 0; i < r.n_rcpt; i++)
        if (letters <= 10 || !all)
            print_rcpt(&r, &r.rcpt[i]);
    delivered += all;
    answered++;
    ll_arena_release(&arena);
    next();
    return 0;
}

static int on_probe(const struct ll_msg *m)
{
    struct ll_buf line = LL_BUF(4096);
    struct ll_json j = LL_JSON(&line);

    if (m->type != LL_MSG_PROBE_ANSWER)
        die("bad answer to a probe");
    ll_json_open(&j, '{');
    ll_json_cstr(&j, "to", rcpts[m->id % n_rcpts]);
    ll_json_int(&j, "code", m->probe_answer.code);
    ll_json_str(&j, "text", m->probe_answer.text);
    ll_json_close(&j);
    printf("%s\n", ll_buf_str(&line));
    ll_buf_release(&line);
    answered++;
    next();
    return 0;
}

static int on_relay_frame(void *arg, const struct ll_frame *f)
{
    enum ll_role self = probing ? LL_ROLE_FRONT_MX : LL_ROLE_QUEUE;
    struct ll_msg m;

    if (ll_msg_decode(f, LL_ROLE_RELAY, self, &m) != 0)
        die("a frame from relay that it may not send");
    return probing ? on_probe(&m) : on_result(&m);
}

/* ---- super --------------------------------------------------------------------------------------
 */

static void gone(void *arg, const char *why)
{
    die(why);
}

static void send_fd(struct ll_ipc *ipc, struct ll_msg m, int fd)
{
    m.fd = fd;
    if (ll_msg_send(ipc, &m) != 0)
        die("a child does not listen");
}

static void begin(void)
{
    begun = ll_now_ms();
    for (size_t i = 0; i < at_a_time && given < letters; i++)
        probing ? ask_probe() : give();
}

static int on_child_frame(void *arg, const struct ll_frame *f)
{
    struct child *c = arg;
    struct ll_msg m;
    bool all = true;

    if (ll_msg_decode(f, c->role, LL_ROLE_SUPER, &m) != 0)
        die("a frame to super that cannot be");
    if (m.type == LL_MSG_BAD_PEER)
        die("a role complains of its peer");
    c->started = c->started || m.type == LL_MSG_STARTED;
    for (size_t i = 0; i < ROLES_MAX; i++)
        all = all && children[i].started;
    if (all && given == 0)
        begin();
    return 0;
}

static void spawn(struct child *c, const char *folder)
{
    char path[4096];
    struct ll_msg conf = {.type = LL_MSG_CONF};
    int fd[2];

    snprintf(path, sizeof(path), "%s/%s", folder, c->program);
    if (ll_ipc_pair(fd) != 0)
        die("socketpair");
    c->pid = fork();
    if (c->pid == 0) {
        char name[32], index[] = "0";
        char *argv[] = {path, name, index, NULL};

        snprintf(name, sizeof(name), "%s", ll_role_name(c->role));
        dup2(fd[1], 10);
        dup2(10, 3);
        close_range(4, ~0u, 0);
        execv(path, argv);
        _exit(127);
    }
    close(fd[1]);
    c->super = ll_ipc_new(base, fd[0], on_child_frame, gone, c);
    send_fd(c->super, conf, conf_fd);
}

static void join(struct child *a, struct child *b)
{
    struct ll_msg m = {.type = LL_MSG_PEER};
    int fd[2];

    if (ll_ipc_pair(fd) != 0)
        die("socketpair");
    m.peer.role = (uint8_t)b->role;
    send_fd(a->super, m, fd[0]);
    m.peer.role = (uint8_t)a->role;
    send_fd(b->super, m, fd[1]);
    close(fd[0]);
    close(fd[1]);
}

static void start(const char *folder)
{
    struct ll_msg peer = {.type = LL_MSG_PEER}, go = {.type = LL_MSG_START};
    int fd[2];

    for (size_t i = 0; i < ROLES_MAX; i++)
        spawn(&children[i], folder);
    join(&children[0], &children[1]);
    join(&children[0], &children[2]);
    if (ll_ipc_pair(fd) != 0)
        die("socketpair");
    peer.peer.role = probing ? LL_ROLE_FRONT_MX : LL_ROLE_QUEUE;
    send_fd(children[0].super, peer, fd[0]);
    close(fd[0]);
    to_relay = ll_ipc_new(base, fd[1], on_relay_frame, gone, NULL);
    for (size_t i = 0; i < ROLES_MAX; i++)
        send_fd(children[i].super, go, -1);
}

/* ---- main ---------------------------------------------------------------------------------------
 */

static void load_conf(const char *path)
{
    struct ll_buf err = LL_BUF(1 << 16), bytes = LL_BUF(1 << 24);
    struct ll_conf *conf = ll_conf_load(path, &err);

    if (!conf)
        die(ll_buf_str(&err));
    ll_conf_encode(conf, &bytes);
    conf_fd = memfd_create("conf", MFD_CLOEXEC);
    if (conf_fd < 0 || write(conf_fd, bytes.p, bytes.n) != (ssize_t)bytes.n)
        die("memfd");
    ll_conf_free(conf);
    ll_buf_release(&bytes);
    ll_buf_release(&err);
}

static void read_body(void)
{
    ll_buf_init(&body, 256u << 20);
    for (;;) {
        uint8_t *room = ll_buf_room(&body, 65536);
        ssize_t n = room ? read(0, room, 65536) : -1;

        if (n <= 0)
            break;
        ll_buf_grew(&body, (size_t)n);
    }
}

int main(int argc, char **argv)
{
    char folder[4096];
    char *slash;
    int o;

    while ((o = getopt(argc, argv, "n:c:fw:p")) != -1) {
        if (o == 'n')
            letters = strtoul(optarg, NULL, 10);
        else if (o == 'c')
            at_a_time = strtoul(optarg, NULL, 10);
        else if (o == 'f')
            as_file = true;
        else if (o == 'w')
            wait_ms = (int)strtol(optarg, NULL, 10);
        else if (o == 'p')
            probing = true;
        else
            return 64;
    }
    if (argc - optind < 3)
        return 64;
    from = argv[optind + 1];
    rcpts = argv + optind + 2;
    n_rcpts = (size_t)(argc - optind - 2);
    if (probing && letters == 1)
        letters = n_rcpts;
    signal(SIGPIPE, SIG_IGN);
    base = event_base_new();
    load_conf(argv[optind]);
    if (!probing)
        read_body();
    snprintf(folder, sizeof(folder), "%s", argv[0]); /* build/tests/daemon/run-relay */
    for (int up = 0; up < 3; up++)
        if ((slash = strrchr(folder, '/')))
            *slash = '\0';
    snprintf(folder + strlen(folder), sizeof(folder) - strlen(folder), "/libexec");
    start(folder);
    event_base_dispatch(base);
    fflush(stdout);
    for (size_t i = 0; i < ROLES_MAX; i++) {
        ll_ipc_free(children[i].super); /* super has gone: they end */
        kill(children[i].pid, SIGKILL);
        waitpid(children[i].pid, NULL, 0);
    }
    return 0;
}
