/*
 * The life of a role process, with the test as super: start, listeners, peers, messages good and
 * bad, a new configuration, draining, the end of super.
 */
#include "daemon/proc.h"
#include "daemon/roles.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define LIFE 77

/* ---- the role: post, which says what happens to it as results of jobs
 * ----------------------------- */

static struct ll_peer *to; /* queue */
static int ups;

static void say(const char *what)
{
    struct ll_msg m = {.type = LL_MSG_JOB_RESULT, .id = 1, .fd = -1};

    m.job_result.result = ll_slice_str(what);
    if (to)
        ll_msg_send(to->ipc, &m);
}

static int role_start(struct ll_proc *p)
{
    /* Peers are there already, call-backs were not made yet. */
    return ll_proc_peer(p, LL_ROLE_QUEUE, 0) && ups == 0 ? 0 : -1;
}

static void role_run(struct ll_proc *p)
{
    char text[64];

    snprintf(text, sizeof(text), "run ups=%d host=%s", ups, p->conf->hostname);
    say(text);
}

static void role_reconf(struct ll_proc *p, const struct ll_conf *old)
{
    char text[64];

    snprintf(text, sizeof(text), "reconf %s to %s", old->hostname, p->conf->hostname);
    say(text);
}

static void role_up(struct ll_peer *peer)
{
    ups++;
    if (peer->role == LL_ROLE_QUEUE)
        to = peer;
    if (peer->role == LL_ROLE_AUTH)
        say("auth up");
}

static void role_down(struct ll_peer *peer)
{
    if (peer == to)
        to = NULL;
    if (peer->role == LL_ROLE_AUTH)
        say("auth down");
}

static int role_space(struct ll_peer *peer, const struct ll_msg *m)
{
    say(m->space.state == LL_SPACE_OK ? "space ok" : "space bad");
    return m->space.state == LL_SPACE_BROKEN ? -1 : 0;
}

static void role_drain(struct ll_proc *p)
{
    say(p->draining ? "drain" : "not draining");
    ll_proc_exit(p);
}

static const struct ll_role_ops ops = {
    .start = role_start,
    .run = role_run,
    .reconf = role_reconf,
    .peer_up = role_up,
    .peer_down = role_down,
    .drain = role_drain,
    .on = {[LL_MSG_SPACE] = role_space},
};

/* ---- super -------------------------------------------------------------------------------------
 */

struct super {
    pid_t pid;
    int channel; /* to the role */
    int queue;   /* we play this peer too */
};

static void send_msg(int s, const struct ll_msg *m)
{
    uint8_t raw[4096];
    struct ll_buf b = {raw, 0, sizeof(raw), sizeof(raw), false};
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec iov;
    struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};

    ll_buf_u32(&b, 0x4c4c4931);
    ll_buf_u16(&b, (uint16_t)m->type);
    ll_buf_u16(&b, m->fd >= 0);
    ll_buf_u64(&b, m->id);
    ll_msg_encode(m, &b);
    assert_false(b.failed);
    iov = (struct iovec){b.p, b.n};
    if (m->fd >= 0) {
        struct cmsghdr *c;

        h.msg_control = control;
        h.msg_controllen = sizeof(control);
        c = CMSG_FIRSTHDR(&h);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &m->fd, sizeof(int));
    }
    assert_int_equal(sendmsg(s, &h, 0), (ssize_t)b.n);
}

/* The next message on a channel, or NONE at its end; text fields live until the next call. */
static struct ll_msg next_msg(int s, enum ll_role us)
{
    static uint8_t raw[65536];
    struct pollfd p = {s, POLLIN, 0};
    struct ll_msg m = {.type = LL_MSG_NONE, .fd = -1};
    struct ll_cursor c;
    struct ll_frame f;
    ssize_t n;

    if (poll(&p, 1, 5000) != 1)
        fail_msg("nothing came within 5 s");
    n = recv(s, raw, sizeof(raw), 0);
    if (n <= 0)
        return m;
    c = ll_cursor(ll_slice(raw, (size_t)n));
    ll_cur_u32(&c);
    f.type = ll_cur_u16(&c);
    ll_cur_u16(&c);
    f.id = ll_cur_u64(&c);
    f.body = ll_cur_bytes(&c, ll_cur_left(&c));
    f.fd = -1;
    assert_int_equal(ll_msg_decode(&f, LL_ROLE_POST, us, &m), 0);
    return m;
}

static void expect_said(const struct super *s, const char *what)
{
    struct ll_msg m = next_msg(s->queue, LL_ROLE_QUEUE);

    assert_int_equal(m.type, LL_MSG_JOB_RESULT);
    if (!ll_slice_eq(m.job_result.result, ll_slice_str(what)))
        fail_msg("said \"%.*s\", not \"%s\"", LL_FMT(m.job_result.result), what);
}

static void send_conf(const struct super *s, const char *hostname)
{
    static char *none[] = {NULL};
    static char empty[] = "";
    struct ll_conf c = {.hostname = (char *)(uintptr_t)hostname, .log_format = empty};
    struct ll_msg m = {.type = LL_MSG_CONF, .fd = memfd_create("conf", MFD_CLOEXEC)};
    struct ll_buf b = LL_BUF(65536);

#define TEXT(name, def, doc)                                                                       \
    if (!c.name)                                                                                   \
        c.name = empty;
#define LIST(name, doc) c.name = none;
#define NUMBER(name, def, doc)
#define SIZE(name, def, doc)
#define TIME(name, def, doc)
#define FLAG(name, def, doc)
#include "io/settings/global.def"
    ll_conf_encode(&c, &b);
    assert_int_equal(write(m.fd, b.p, b.n), (ssize_t)b.n);
    send_msg(s->channel, &m);
    close(m.fd);
    ll_buf_release(&b);
}

static int send_peer(const struct super *s, enum ll_role role)
{
    struct ll_msg m = {.type = LL_MSG_PEER, .id = LIFE};
    int fd[2];

    assert_int_equal(ll_ipc_pair(fd), 0);
    m.fd = fd[1];
    m.peer.role = (uint8_t)role;
    send_msg(s->channel, &m);
    close(fd[1]);
    return fd[0];
}

static void send_simple(int s, enum ll_msg_type type)
{
    struct ll_msg m = {.type = type, .id = 5, .fd = -1};

    send_msg(s, &m);
}

static void begin(struct super *s)
{
    static const struct ll_role_main table[] = {{LL_ROLE_POST, &ops}};
    static char program[] = "ll-test";
    static char role[] = "post";
    static char index[] = "0";
    char *argv[] = {program, role, index, NULL};
    int fd[2];

    assert_int_equal(ll_ipc_pair(fd), 0);
    fflush(NULL);
    s->pid = fork();
    if (s->pid == 0) {
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

        dup2(null, STDERR_FILENO);
        if (fd[1] != 3)
            dup2(fd[1], 3);
        close_range(4, ~0U, 0);
        _exit(ll_proc_main(3, argv, table, 1));
    }
    close(fd[1]);
    s->channel = fd[0];
    send_conf(s, "one.test");
    s->queue = send_peer(s, LL_ROLE_QUEUE);
    send_simple(s->channel, LL_MSG_START);
    assert_int_equal(next_msg(s->channel, LL_ROLE_SUPER).type, LL_MSG_STARTED);
    expect_said(s, "run ups=1 host=one.test");
}

static int end(struct super *s)
{
    int status = 0;

    for (int i = 0; i < 500 && waitpid(s->pid, &status, WNOHANG) == 0; i++)
        usleep(10000);
    if (kill(s->pid, SIGKILL) == 0)
        waitpid(s->pid, &status, 0);
    if (s->channel >= 0)
        close(s->channel);
    close(s->queue);
    return status;
}

static void test_life(void **state)
{
    struct super s;
    struct ll_msg m = {.type = LL_MSG_SPACE, .fd = -1};
    int auth;

    begin(&s);
    send_msg(s.queue, &m);
    expect_said(&s, "space ok");
    send_conf(&s, "two.test");
    expect_said(&s, "reconf one.test to two.test");
    auth = send_peer(&s, LL_ROLE_AUTH);
    expect_said(&s, "auth up");
    close(auth); /* went without a fault: no complaint */
    expect_said(&s, "auth down");
    /* A second one in its place: the first goes down, without waiting for its end. */
    auth = send_peer(&s, LL_ROLE_AUTH);
    expect_said(&s, "auth up");
    close(send_peer(&s, LL_ROLE_AUTH));
    expect_said(&s, "auth down");
    expect_said(&s, "auth up");
    expect_said(&s, "auth down");
    assert_int_equal(next_msg(auth, LL_ROLE_AUTH).type, LL_MSG_NONE);
    close(auth);
    kill(s.pid, SIGTERM); /* super decides, not the terminal */
    m = (struct ll_msg){.type = LL_MSG_DRAIN, .fd = -1};
    send_msg(s.channel, &m);
    expect_said(&s, "drain");
    assert_int_equal(end(&s), 0);
}

static void test_end_of_super(void **state)
{
    struct super s;

    begin(&s);
    close(s.channel);
    s.channel = -1;
    assert_int_equal(end(&s), 0);
}

struct fault {
    const char *what;
    enum ll_msg_type type;
    uint8_t state; /* of SPACE */
    bool garbage;
};
static const struct fault faults[] = {
    {"a message this sender may not send", LL_MSG_START, 0, false},
    {"a message without a handler", LL_MSG_JOB_SMALL, 0, false},
    {"a handler that refuses", LL_MSG_SPACE, LL_SPACE_BROKEN, false},
    {"octets that are no frame", LL_MSG_NONE, 0, true},
};

static void test_bad_peers(void **state)
{
    for (size_t i = 0; i < LL_COUNT(faults); i++) {
        struct ll_msg m = {.type = faults[i].type, .fd = -1};
        struct super s;
        struct ll_msg got;

        begin(&s);
        if (m.type == LL_MSG_SPACE)
            m.space.state = faults[i].state;
        if (faults[i].garbage)
            assert_int_equal(send(s.queue, "garbage", 7, 0), 7);
        else
            send_msg(s.queue, &m);
        got = next_msg(s.channel, LL_ROLE_SUPER);
        if (got.type != LL_MSG_BAD_PEER || got.bad_peer.role != LL_ROLE_QUEUE || got.id != LIFE)
            fail_msg("%s: no complaint", faults[i].what);
        /* The process itself lives on. */
        close(s.queue);
        s.queue = send_peer(&s, LL_ROLE_QUEUE);
        m = (struct ll_msg){.type = LL_MSG_SPACE, .fd = -1};
        send_msg(s.queue, &m);
        expect_said(&s, "space ok");
        close(s.channel);
        s.channel = -1;
        assert_int_equal(end(&s), 0);
    }
}

/* What comes from super and is wrong is our own bug: the process ends with a status of its own. */
static void test_bad_super(void **state)
{
    struct super s;
    int status;

    begin(&s);
    send_simple(s.channel, LL_MSG_SPACE);
    status = end(&s);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life),
        cmocka_unit_test(test_end_of_super),
        cmocka_unit_test(test_bad_peers),
        cmocka_unit_test(test_bad_super),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
