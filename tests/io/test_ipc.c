/* Frames between two ends in one process: order, queues, faults, descriptors, the blocking call. */
#include "io/ipc.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define BIG (LL_IPC_FRAME_MAX - 16) /* the longest body */

struct end {
    struct ll_ipc *ipc;
    uint64_t ids[4096];
    size_t n;
    size_t octets;
    int fd;
    int answer; /* what the handler returns */
    bool free_in_gone;
    const char *why;
};

struct pair {
    struct event_base *base;
    struct end a;
    struct end b;
};

static int on_frame(void *arg, const struct ll_frame *f)
{
    struct end *e = arg;

    if (e->n < LL_COUNT(e->ids))
        e->ids[e->n] = f->id;
    e->n++;
    e->octets += f->body.n;
    for (size_t i = 0; i < f->body.n; i++)
        assert_int_equal(f->body.p[i], (uint8_t)(f->type + i));
    if (f->fd >= 0)
        e->fd = f->fd;
    return e->answer;
}

static void on_gone(void *arg, const char *why)
{
    struct end *e = arg;

    assert_null(e->why);
    e->why = why;
    if (e->free_in_gone) {
        ll_ipc_free(e->ipc);
        e->ipc = NULL;
    }
}

static void open_pair(struct pair *p)
{
    int fd[2];

    memset(p, 0, sizeof(*p));
    p->a.fd = p->b.fd = -1;
    p->base = event_base_new();
    assert_int_equal(ll_ipc_pair(fd), 0);
    p->a.ipc = ll_ipc_new(p->base, fd[0], on_frame, on_gone, &p->a);
    p->b.ipc = ll_ipc_new(p->base, fd[1], on_frame, on_gone, &p->b);
    assert_non_null(p->a.ipc);
    assert_non_null(p->b.ipc);
}

static void close_pair(struct pair *p)
{
    ll_ipc_free(p->a.ipc);
    ll_ipc_free(p->b.ipc);
    event_base_free(p->base);
}

static void turn(struct pair *p, int times)
{
    while (times-- > 0)
        event_base_loop(p->base, EVLOOP_NONBLOCK);
}

static struct ll_slice body(uint16_t type, size_t n)
{
    static uint8_t bytes[LL_IPC_FRAME_MAX + 1];

    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)(type + i);
    return ll_slice(bytes, n);
}

static void test_lengths(void **state)
{
    static const size_t lengths[] = {0, 1, 15, 16, 17, 4096, BIG - 1, BIG};
    struct pair p;

    open_pair(&p);
    for (size_t i = 0; i < LL_COUNT(lengths); i++) {
        assert_int_equal(ll_ipc_send(p.a.ipc, 7, 100 + i, body(7, lengths[i]), -1), 0);
        turn(&p, 1);
        assert_int_equal(p.b.n, i + 1);
        assert_int_equal(p.b.ids[i], 100 + i);
    }
    assert_int_equal(ll_ipc_send(p.a.ipc, 7, 1, body(7, BIG + 1), -1), -1);
    turn(&p, 2);
    assert_int_equal(p.b.n, LL_COUNT(lengths));
    assert_null(p.a.why);
    close_pair(&p);
}

/* More than the socket holds: the rest waits, and comes in order. */
static void test_queue_keeps_order(void **state)
{
    struct pair p;

    open_pair(&p);
    for (uint64_t i = 0; i < 2000; i++)
        assert_int_equal(ll_ipc_send(p.a.ipc, 3, i, body(3, 3000), -1), 0);
    turn(&p, 400);
    assert_int_equal(p.b.n, 2000);
    for (uint64_t i = 0; i < 2000; i++)
        assert_int_equal(p.b.ids[i], i);
    assert_int_equal(p.b.octets, 2000 * 3000);
    close_pair(&p);
}

static void test_overflow_breaks(void **state)
{
    struct pair p;
    size_t sent = 0;

    open_pair(&p);
    while (sent < 3000 && ll_ipc_send(p.a.ipc, 3, sent, body(3, BIG), -1) == 0)
        sent++;
    assert_in_range(sent, LL_IPC_QUEUE_MAX / LL_IPC_FRAME_MAX, 3000 - 1);
    assert_null(p.a.why); /* told from the loop, not from within the send */
    turn(&p, 2);
    assert_string_equal(p.a.why, "the peer does not read");
    assert_int_equal(ll_ipc_send(p.a.ipc, 3, 1, body(3, 1), -1), -1);
    close_pair(&p);
}

static void test_descriptor_travels(void **state)
{
    struct pair p;
    int pipes[2];
    char c = 0;

    open_pair(&p);
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(ll_ipc_send(p.a.ipc, 9, 1, body(9, 5), pipes[1]), 0);
    close(pipes[1]);
    turn(&p, 1);
    assert_true(p.b.fd >= 0);
    assert_true(fcntl(p.b.fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(write(p.b.fd, "x", 1), 1);
    close(p.b.fd);
    assert_int_equal(read(pipes[0], &c, 1), 1);
    assert_int_equal(c, 'x');
    assert_int_equal(read(pipes[0], &c, 1), 0); /* no copy is left open */
    close(pipes[0]);
    close_pair(&p);
}

/* A descriptor in the queue is a copy: the sender may close its own at once. */
static void test_descriptor_waits_in_queue(void **state)
{
    struct pair p;
    int pipes[2];

    open_pair(&p);
    for (uint64_t i = 0; i < 100; i++)
        assert_int_equal(ll_ipc_send(p.a.ipc, 3, i, body(3, 30000), -1), 0);
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(ll_ipc_send(p.a.ipc, 9, 500, body(9, 1), pipes[1]), 0);
    close(pipes[1]);
    turn(&p, 60);
    assert_int_equal(p.b.n, 101);
    assert_true(p.b.fd >= 0);
    close(p.b.fd);
    close(pipes[0]);
    close_pair(&p);
}

static void test_closed_peer(void **state)
{
    struct pair p;

    open_pair(&p);
    p.b.free_in_gone = true;
    assert_int_equal(ll_ipc_send(p.a.ipc, 3, 1, body(3, 10), -1), 0);
    ll_ipc_free(p.a.ipc);
    p.a.ipc = NULL;
    turn(&p, 3);
    assert_int_equal(p.b.n, 1); /* what was sent before the end still counts */
    assert_ptr_equal(p.b.why, ll_ipc_closed);
    assert_null(p.b.ipc);
    close_pair(&p);
}

static void test_handler_refuses(void **state)
{
    struct pair p;

    open_pair(&p);
    p.b.answer = -1;
    p.b.free_in_gone = true;
    p.a.free_in_gone = true;
    for (uint64_t i = 0; i < 3; i++)
        ll_ipc_send(p.a.ipc, 3, i, body(3, 10), -1);
    turn(&p, 4);
    assert_int_equal(p.b.n, 1);
    assert_non_null(p.b.why);
    assert_ptr_not_equal(p.b.why, ll_ipc_closed);
    assert_ptr_equal(p.a.why, ll_ipc_closed);
    close_pair(&p);
}

struct raw {
    const char *what;
    size_t n;
    uint8_t bytes[24];
    int fds;
    bool good;
};
static const struct raw raws[] = {
    {"good", 17, "LLI1\0\3\0\0\0\0\0\0\0\0\0\1\3", 0, true},
    {"short header", 15, "LLI1\0\3\0\0\0\0\0\0\0\0\0", 0, false},
    {"one octet", 1, "L", 0, false},
    {"wrong magic", 16, "LLI2\0\3\0\0\0\0\0\0\0\0\0\1", 0, false},
    {"descriptor announced, none came", 16, "LLI1\0\3\0\1\0\0\0\0\0\0\0\1", 0, false},
    {"descriptor not announced", 16, "LLI1\0\3\0\0\0\0\0\0\0\0\0\1", 1, false},
    {"two descriptors", 16, "LLI1\0\3\0\2\0\0\0\0\0\0\0\1", 2, false},
    {"more than fit", 16, "LLI1\0\3\0\1\0\0\0\0\0\0\0\1", 9, false},
    {"descriptor", 16, "LLI1\0\3\0\1\0\0\0\0\0\0\0\1", 1, true},
};

static void send_raw(int s, const struct raw *r, int fd)
{
    char control[CMSG_SPACE(sizeof(int) * 16)] = {0};
    struct iovec iov = {(void *)(uintptr_t)r->bytes, r->n};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

    if (r->fds) {
        struct cmsghdr *h;

        m.msg_control = control;
        m.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)r->fds);
        h = CMSG_FIRSTHDR(&m);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)r->fds);
        for (int i = 0; i < r->fds; i++)
            memcpy(CMSG_DATA(h) + (size_t)i * sizeof(int), &fd, sizeof(int));
    }
    assert_int_equal(sendmsg(s, &m, 0), r->n);
}

static size_t open_descriptors(void)
{
    size_t n = 0;

    for (int i = 0; i < 256; i++)
        n += fcntl(i, F_GETFD) >= 0;
    return n;
}

static void test_bad_frames(void **state)
{
    for (size_t i = 0; i < LL_COUNT(raws); i++) {
        size_t before = open_descriptors();
        struct event_base *base = event_base_new();
        struct end e = {.fd = -1};
        int fd[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fd), 0);
        e.ipc = ll_ipc_new(base, fd[0], on_frame, on_gone, &e);
        send_raw(fd[1], &raws[i], fd[1]);
        event_base_loop(base, EVLOOP_NONBLOCK);
        event_base_loop(base, EVLOOP_NONBLOCK);
        if ((e.why == NULL) != raws[i].good || e.n != (raws[i].good ? 1u : 0u))
            fail_msg("%s: %s", raws[i].what, e.why ? e.why : "taken");
        if (e.fd >= 0)
            close(e.fd);
        ll_ipc_free(e.ipc);
        close(fd[1]);
        event_base_free(base);
        if (open_descriptors() != before)
            fail_msg("%s: a descriptor is left open", raws[i].what);
    }
}

/* The other side of ll_ipc_call: sends two frames of its own, then the answer. */
static void *answer_late(void *arg)
{
    int s = *(int *)arg;
    uint8_t in[LL_IPC_FRAME_MAX];
    uint8_t out[] = "LLI1\0\3\0\0\0\0\0\0\0\0\0\1";

    if (recv(s, in, sizeof(in), 0) < 16)
        return NULL;
    out[15] = 1;
    send(s, out, 16, 0);
    out[15] = 2;
    send(s, out, 16, 0);
    out[5] = 42;
    memcpy(out + 8, in + 8, 8);
    send(s, out, 16, 0);
    return NULL;
}

static void test_call(void **state)
{
    struct event_base *base = event_base_new();
    struct end e = {.fd = -1};
    struct ll_buf answer = LL_BUF(100);
    pthread_t t;
    int fd[2];

    assert_int_equal(ll_ipc_pair(fd), 0);
    fcntl(fd[1], F_SETFL, 0);
    e.ipc = ll_ipc_new(base, fd[0], on_frame, on_gone, &e);
    pthread_create(&t, NULL, answer_late, &fd[1]);
    assert_int_equal(ll_ipc_call(e.ipc, 5, 77, body(5, 10), 5000, &answer), 42);
    pthread_join(t, NULL);
    assert_int_equal(e.n, 0); /* the others are handed out by the loop, in order */
    event_base_loop(base, EVLOOP_NONBLOCK);
    assert_int_equal(e.n, 2);
    assert_int_equal(e.ids[0], 1);
    assert_int_equal(e.ids[1], 2);
    assert_int_equal(ll_ipc_call(e.ipc, 5, 78, body(5, 10), 50, &answer), -1); /* time-out */
    close(fd[1]);
    assert_int_equal(ll_ipc_call(e.ipc, 5, 79, body(5, 10), 5000, &answer), -1);
    ll_ipc_free(e.ipc);
    event_base_free(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_queue_keeps_order),
        cmocka_unit_test(test_overflow_breaks),
        cmocka_unit_test(test_descriptor_travels),
        cmocka_unit_test(test_descriptor_waits_in_queue),
        cmocka_unit_test(test_closed_peer),
        cmocka_unit_test(test_handler_refuses),
        cmocka_unit_test(test_bad_frames),
        cmocka_unit_test(test_call),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
