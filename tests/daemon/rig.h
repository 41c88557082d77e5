/* A role in a process of its own, inside its sandbox, with super and all peers played by the test:
 * real channels, real records in a segment, and peers that go away. Included by one test each; it
 * defines play_peer() and CONF. */
#ifndef LL_TESTS_DAEMON_RIG_H
#define LL_TESTS_DAEMON_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/proc.h"
#include "io/clock.h"
#include "io/conf.h"
#include "io/log.h"
#include "letterlock/spool.h"

#define WAIT_MS    5000
#define GENERATION 77

struct played {
    enum ll_role role;
    struct ll_ipc *ipc;
};

static struct rig {
    char dir[32];
    struct event_base *base;
    pid_t pid;
    struct ll_ipc *super;
    struct played auth, relay, keeper, queue;
    uint16_t port;
    bool started, gone;
    enum ll_role role;
    int segment_fd; /* for reading */
    uint32_t segment;
    uint64_t appended; /* octets, head included */
    uint64_t file_number;
    bool hold_files; /* the queue gives none until give_file */
    int file_fd;
} rig;

static void answer(struct played *p, const struct ll_msg *m)
{
    assert_int_equal(ll_msg_send(p->ipc, m), 0);
}

static bool local_is(struct ll_slice address, const char *local)
{
    return ll_slice_eq(ll_slice_cut(address, 0, ll_slice_find(address, '@')), ll_slice_str(local));
}

/* What a played peer other than queue and super does with a message, and what the queue does with
 * one that has nothing to do with the journal. */
static void play_peer(enum ll_role role, const struct ll_msg *q);

static int temp_file(int flags, int *ret_reader)
{
    char path[64];
    int fd;

    snprintf(path, sizeof(path), "%s/fileXXXXXX", rig.dir);
    fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    *ret_reader = open(path, O_RDONLY | O_CLOEXEC);
    fd = open(path, flags | O_CLOEXEC);
    assert_true(fd >= 0 && *ret_reader >= 0);
    unlink(path);
    return fd;
}

static void give_segment(void)
{
    struct ll_msg m = {.type = LL_MSG_SEGMENT};
    uint8_t head[LL_SEGMENT_HEAD] = {0};

    m.fd = temp_file(O_RDWR | O_APPEND, &rig.segment_fd);
    assert_int_equal(write(m.fd, head, sizeof(head)), sizeof(head));
    m.segment.segment = ++rig.segment;
    m.segment.generation = GENERATION;
    m.segment.limit = 1u << 20;
    answer(&rig.queue, &m);
    close(m.fd);
}

static void give_file(void)
{
    struct ll_msg m = {.type = LL_MSG_FILE};

    m.fd = temp_file(O_RDWR | O_APPEND, &rig.file_fd);
    m.file.number = ++rig.file_number;
    answer(&rig.queue, &m);
    close(m.fd);
}

static void play_queue(const struct ll_msg *q)
{
    if (q->type == LL_MSG_SEGMENT_ASK) {
        give_segment();
    } else if (q->type == LL_MSG_FILES_ASK) {
        if (!rig.hold_files)
            give_file();
    } else if (q->type == LL_MSG_APPENDED) {
        assert_int_equal(q->appended.segment, rig.segment);
        rig.appended = q->appended.offset + q->appended.length;
    } else {
        play_peer(LL_ROLE_QUEUE, q);
    }
}

static void play_super(const struct ll_msg *m)
{
    assert_int_not_equal(m->type, LL_MSG_BAD_PEER);
    rig.started = rig.started || m->type == LL_MSG_STARTED;
}

static int on_frame(void *arg, const struct ll_frame *f)
{
    struct played *p = arg;
    struct ll_msg m;

    assert_int_equal(ll_msg_decode(f, rig.role, p ? p->role : LL_ROLE_SUPER, &m), 0);
    if (!p)
        play_super(&m);
    else if (p == &rig.queue)
        play_queue(&m);
    else
        play_peer(p->role, &m);
    return 0;
}

static void on_gone(void *arg, const char *why)
{
    (void)why;
    rig.gone = rig.gone || !arg;
}

static void peer_up(struct played *p, enum ll_role role)
{
    struct ll_msg m = {.type = LL_MSG_PEER};
    int fd[2];

    assert_int_equal(ll_ipc_pair(fd), 0);
    p->role = role;
    p->ipc = ll_ipc_new(rig.base, fd[0], on_frame, on_gone, p);
    m.peer.role = (uint8_t)role;
    m.fd = fd[1];
    assert_int_equal(ll_msg_send(rig.super, &m), 0);
    close(fd[1]);
}

static void peer_down(struct played *p)
{
    ll_ipc_free(p->ipc);
    p->ipc = NULL;
}

static void turn(void)
{
    event_base_loop(rig.base, EVLOOP_NONBLOCK);
    poll(NULL, 0, 1);
}

/* ---- the process ------------------------------------------------------------------------------
 */

static void send_conf(void)
{
    struct ll_buf err = LL_BUF(4096), bytes = LL_BUF(1 << 20);
    struct ll_msg m = {.type = LL_MSG_CONF};
    char path[64];
    struct ll_conf *c;
    FILE *f;

    snprintf(path, sizeof(path), "%s/conf", rig.dir);
    f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, CONF, rig.dir, rig.port);
    fclose(f);
    c = ll_conf_load(path, &err);
    if (!c)
        fail_msg("%s", ll_buf_str(&err));
    ll_conf_encode(c, &bytes);
    m.fd = memfd_create("conf", MFD_CLOEXEC);
    assert_int_equal(write(m.fd, bytes.p, bytes.n), bytes.n);
    assert_int_equal(ll_msg_send(rig.super, &m), 0);
    close(m.fd);
    unlink(path);
    ll_conf_free(c);
    ll_buf_release(&err);
    ll_buf_release(&bytes);
}

static _Noreturn void run_role(int fd, const struct ll_role_ops *ops)
{
    const struct ll_role_main roles[] = {{rig.role, ops}};
    char a[] = "test", b[32], c[] = "0";
    char *argv[] = {a, b, c, NULL};

    snprintf(b, sizeof(b), "%s", ll_role_name(rig.role));
    signal(SIGSEGV, SIG_DFL); /* cmocka would go on with the tests here */
    signal(SIGABRT, SIG_DFL);
    if (!getenv("LL_TEST_LOG"))
        ll_log_level(LL_LOG_ERROR);
    if (fd != 3 && dup2(fd, 3) != 3)
        _exit(99);
    _exit(ll_proc_main(3, argv, roles, 1));
}

/* Starts the process and gives it what every role gets; the test goes on with peers and START. */
static void rig_fork(enum ll_role role, const struct ll_role_ops *ops)
{
    int fd[2];

    memset(&rig, 0, sizeof(rig));
    rig.role = role;
    snprintf(rig.dir, sizeof(rig.dir), "/tmp/ll-test-role-XXXXXX");
    assert_non_null(mkdtemp(rig.dir));
    assert_int_equal(ll_ipc_pair(fd), 0);
    rig.pid = fork();
    if (rig.pid == 0)
        run_role(fd[1], ops);
    close(fd[1]);
    rig.base = event_base_new();
    rig.super = ll_ipc_new(rig.base, fd[0], on_frame, on_gone, NULL);
}

static void rig_begin(void)
{
    struct ll_msg begin = {.type = LL_MSG_START, .fd = -1};
    uint64_t until = ll_now_ms() + WAIT_MS;

    assert_int_equal(ll_msg_send(rig.super, &begin), 0);
    while (!(rig.started && rig.segment && rig.file_number) && ll_now_ms() < until)
        turn();
    assert_true(rig.started && rig.segment && rig.file_number);
}

static int rig_stop(void **state)
{
    int status;

    kill(rig.pid, SIGKILL);
    waitpid(rig.pid, &status, 0);
    ll_ipc_free(rig.super);
    ll_ipc_free(rig.auth.ipc);
    ll_ipc_free(rig.relay.ipc);
    ll_ipc_free(rig.keeper.ipc);
    ll_ipc_free(rig.queue.ipc);
    event_base_free(rig.base);
    close(rig.segment_fd);
    close(rig.file_fd);
    rmdir(rig.dir);
    return 0;
}

/* ---- the journal ------------------------------------------------------------------------------
 */

static uint8_t journal[4 << 20];
static struct ll_arena arena;
static struct ll_slice body;

/* The letter whose record begins at `at`; *at moves behind it. */
static struct ll_letter record_at(size_t *at)
{
    ssize_t n = pread(rig.segment_fd, journal, sizeof(journal), 0);
    struct ll_record_head h;
    struct ll_letter l;

    assert_true(n > 0 && *at < (size_t)n);
    struct ll_slice in = ll_slice_skip(ll_slice(journal, (size_t)n), *at);
    assert_true(ll_record_head_decode(in, &h));
    ll_arena_release(&arena);
    ll_arena_init(&arena, 1 << 20);
    assert_true(ll_record_decode(ll_slice_cut(in, 0, LL_RECORD_HEAD + h.meta_length), GENERATION,
                                 &arena, &l));
    body = ll_slice_cut(in, LL_RECORD_HEAD + h.meta_length,
                        LL_RECORD_HEAD + h.meta_length + h.body_length);
    assert_true(h.body_length == 0 || ll_record_body_ok(&h, body));
    *at += ll_record_length(&h);
    return l;
}

static bool holds(struct ll_slice s, const char *needle)
{
    return ll_slice_search(s, ll_slice_str(needle)) < s.n;
}

#define EQ(slice, text) assert_true(ll_slice_eq((slice), ll_slice_str(text)))

#endif
