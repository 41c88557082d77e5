/* See io/ipc.h. On the wire a frame is: magic 4 octets, type 2, descriptors 2, id 8, body. */
#include "io/ipc.h"

#include "io/clock.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#define IPC_MAGIC    0x4c4c4931u /* "LLI1" */
#define IPC_HEADER   16          /* octets */
#define IPC_FDS_ROOM 4           /* descriptors that recvmsg takes; more than one is a fault */
#define IPC_BATCH    64          /* frames read in one turn of the loop: others get theirs */
#define IPC_WIPE_MAX 4096        /* octets: bodies up to this are wiped, passwords among them */

const char ll_ipc_closed[] = "the peer closed the channel";

struct kept {
    STAILQ_ENTRY(kept) next;
    int fd;
    size_t n;
    uint8_t bytes[];
};
STAILQ_HEAD(kept_list, kept);

struct ll_ipc {
    int fd;
    struct event *readable;
    struct event *writable;
    ll_ipc_frame_fn frame;
    ll_ipc_gone_fn gone;
    void *arg;
    const char *why;        /* not NULL: the channel is broken, `gone` is due or was called */
    bool told;              /* `gone` was called */
    bool paused;            /* nothing is read for now */
    struct kept_list out;   /* frames that the peer did not take yet */
    size_t queued;          /* octets in `out` */
    struct kept_list later; /* frames that came during ll_ipc_call */
    bool *freed;            /* set by ll_ipc_free while the loop is inside a callback */
    uint8_t in[LL_IPC_FRAME_MAX];
};

static void kept_free(struct kept *k)
{
    if (k->fd >= 0)
        close(k->fd);
    explicit_bzero(k->bytes, k->n < IPC_WIPE_MAX ? k->n : IPC_WIPE_MAX);
    free(k);
}

static void kept_clear(struct kept_list *list)
{
    struct kept *k;

    while ((k = STAILQ_FIRST(list)) != NULL) {
        STAILQ_REMOVE_HEAD(list, next);
        kept_free(k);
    }
}

/* Marks the channel broken; `gone` is called from the loop, never from within a send. */
void ll_ipc_break(struct ll_ipc *c, const char *why)
{
    if (c->why)
        return;
    c->why = why;
    event_del(c->writable);
    event_active(c->readable, EV_READ, 0);
}

void ll_ipc_pause(struct ll_ipc *c, bool on)
{
    if (c->why || c->paused == on)
        return;
    c->paused = on;
    if (on)
        event_del(c->readable);
    else if (event_add(c->readable, NULL) != 0)
        ll_ipc_break(c, "no memory");
    else
        event_active(c->readable, EV_READ, 0); /* frames of `later` wake nobody */
}

/* Takes a frame apart. The descriptor becomes the frame's. */
static const char *parse(struct ll_slice in, int fd, struct ll_frame *ret)
{
    struct ll_cursor c = ll_cursor(in);
    uint32_t magic = ll_cur_u32(&c);
    uint16_t type = ll_cur_u16(&c);
    uint16_t fds = ll_cur_u16(&c);
    uint64_t id = ll_cur_u64(&c);

    if (c.failed || magic != IPC_MAGIC)
        return "frame without a proper header";
    if (fds != (fd >= 0 ? 1 : 0))
        return "frame with a wrong number of descriptors";
    *ret = (struct ll_frame){type, id, ll_slice_skip(in, IPC_HEADER), fd};
    return NULL;
}

/* One datagram. 1: a frame; 0: nothing there; -1: broken, *ret_why says how. */
static int receive(int s, uint8_t *bytes, size_t *ret_n, int *ret_fd, const char **ret_why)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int) * IPC_FDS_ROOM)];
    } control;
    struct iovec iov = {bytes, LL_IPC_FRAME_MAX};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.room,
                       .msg_controllen = sizeof(control.room)};
    int fds[IPC_FDS_ROOM];
    size_t n_fds = 0;
    ssize_t n;

    do
        n = recvmsg(s, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return 0;
    if (n < 0) {
        *ret_why = ll_ipc_closed;
        return -1;
    }
    for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; CMSG_LEN((i + 1) * sizeof(int)) <= h->cmsg_len; i++)
            if (n_fds < IPC_FDS_ROOM)
                memcpy(&fds[n_fds++], CMSG_DATA(h) + i * sizeof(int), sizeof(int));
    }
    *ret_why = n == 0                                    ? ll_ipc_closed
               : n_fds > 1 || (m.msg_flags & MSG_CTRUNC) ? "too many descriptors in a frame"
               : (m.msg_flags & MSG_TRUNC) || n > LL_IPC_FRAME_MAX ? "frame too long"
                                                                   : NULL;
    if (*ret_why) {
        for (size_t i = 0; i < n_fds; i++)
            close(fds[i]);
        return -1;
    }
    *ret_n = (size_t)n;
    *ret_fd = n_fds ? fds[0] : -1;
    return 1;
}

/* Hands one datagram to the owner; false when the channel is freed or broken behind it. */
static bool hand_out(struct ll_ipc *c, uint8_t *bytes, size_t n, int fd)
{
    struct ll_frame f;
    const char *why = parse(ll_slice(bytes, n), fd, &f);
    bool freed = false;
    int r;

    if (why) {
        if (fd >= 0)
            close(fd);
        ll_ipc_break(c, why);
        return false;
    }
    c->freed = &freed; // cppcheck-suppress autoVariables ; taken back before this returns
    r = c->frame(c->arg, &f);
    if (n <= IPC_WIPE_MAX && !freed)
        explicit_bzero(bytes, n);
    if (freed)
        return false;
    c->freed = NULL;
    if (r != 0)
        ll_ipc_break(c, "the peer sent what it may not");
    return !c->why && !c->paused;
}

/* Returns at once when hand_out said false: the owner may have freed or paused the channel. */
static void read_frames(struct ll_ipc *c)
{
    for (int i = 0; i < IPC_BATCH; i++) {
        struct kept *k = STAILQ_FIRST(&c->later);
        const char *why = NULL;
        size_t n = 0;
        int fd = -1;
        int r;

        if (k) {
            bool goes_on;

            STAILQ_REMOVE_HEAD(&c->later, next);
            fd = k->fd;
            k->fd = -1;
            goes_on = hand_out(c, k->bytes, k->n, fd);
            kept_free(k);
            if (!goes_on)
                return;
            continue;
        }
        r = receive(c->fd, c->in, &n, &fd, &why);
        if (r == 0)
            return;
        if (r < 0) {
            ll_ipc_break(c, why);
            return;
        }
        if (!hand_out(c, c->in, n, fd))
            return;
    }
    if (!STAILQ_EMPTY(&c->later))
        event_active(c->readable, EV_READ, 0);
}

static void on_readable(evutil_socket_t s, short what, void *arg)
{
    struct ll_ipc *c = arg;

    if (!c->why) {
        if (!c->paused)
            read_frames(c);
        return;
    }
    if (c->told)
        return;
    c->told = true;
    event_del(c->readable);
    c->gone(c->arg, c->why);
}

/* 1: sent; 0: the peer's queue is full; -1: broken. */
static int transmit(int s, struct ll_slice header, struct ll_slice body, int fd)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {.room = {0}};
    struct iovec iov[2] = {{(void *)(uintptr_t)header.p, header.n},
                           {(void *)(uintptr_t)body.p, body.n}};
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = body.n ? 2 : 1};
    ssize_t n;

    if (fd >= 0) {
        struct cmsghdr *h;

        m.msg_control = control.room;
        m.msg_controllen = sizeof(control.room);
        h = CMSG_FIRSTHDR(&m);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(h), &fd, sizeof(int));
    }
    do
        n = sendmsg(s, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n >= 0)
        return 1;
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS ? 0 : -1;
}

static void on_writable(evutil_socket_t s, short what, void *arg)
{
    struct ll_ipc *c = arg;
    struct kept *k;

    while (!c->why && (k = STAILQ_FIRST(&c->out)) != NULL) {
        int r = transmit(c->fd, ll_slice(k->bytes, k->n), ll_slice(NULL, 0), k->fd);

        if (r == 0)
            return;
        if (r < 0) {
            ll_ipc_break(c, ll_ipc_closed);
            return;
        }
        STAILQ_REMOVE_HEAD(&c->out, next);
        c->queued -= k->n;
        kept_free(k);
    }
    event_del(c->writable);
}

static struct kept *kept_new(struct ll_slice a, struct ll_slice b)
{
    struct kept *k = malloc(sizeof(*k) + a.n + b.n);

    if (!k)
        return NULL;
    k->fd = -1;
    k->n = a.n + b.n;
    memcpy(k->bytes, a.p, a.n);
    if (b.n)
        memcpy(k->bytes + a.n, b.p, b.n);
    return k;
}

static int enqueue(struct ll_ipc *c, struct ll_slice header, struct ll_slice body, int fd)
{
    struct kept *k;

    if (c->queued + header.n + body.n > LL_IPC_QUEUE_MAX) {
        ll_ipc_break(c, "the peer does not read");
        return -1;
    }
    k = kept_new(header, body);
    if (k && fd >= 0)
        k->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (!k || (fd >= 0 && k->fd < 0)) {
        free(k);
        return -1;
    }
    STAILQ_INSERT_TAIL(&c->out, k, next);
    c->queued += k->n;
    event_add(c->writable, NULL);
    return 0;
}

static void put_header(struct ll_buf *b, uint16_t type, uint64_t id, int fd)
{
    ll_buf_u32(b, IPC_MAGIC);
    ll_buf_u16(b, type);
    ll_buf_u16(b, fd >= 0 ? 1 : 0);
    ll_buf_u64(b, id);
}

int ll_ipc_send(struct ll_ipc *c, uint16_t type, uint64_t id, struct ll_slice body, int fd)
{
    uint8_t raw[IPC_HEADER];
    struct ll_buf b = {raw, 0, sizeof(raw), sizeof(raw), false};
    int r;

    if (c->why || body.n > LL_IPC_FRAME_MAX - IPC_HEADER)
        return -1;
    put_header(&b, type, id, fd);
    if (!STAILQ_EMPTY(&c->out))
        return enqueue(c, ll_buf_slice(&b), body, fd);
    r = transmit(c->fd, ll_buf_slice(&b), body, fd);
    if (r == 1)
        return 0;
    if (r == 0)
        return enqueue(c, ll_buf_slice(&b), body, fd);
    ll_ipc_break(c, ll_ipc_closed);
    return -1;
}

size_t ll_ipc_queued(const struct ll_ipc *c)
{
    return c->queued;
}

/* Waits until the channel can be read (or written, while frames are queued); false at time-out. */
static bool wait_for(struct ll_ipc *c, uint64_t until)
{
    struct pollfd p = {c->fd, (short)(POLLIN | (STAILQ_EMPTY(&c->out) ? 0 : POLLOUT)), 0};
    uint64_t now = ll_now_ms();
    int r;

    if (now >= until)
        return false;
    r = poll(&p, 1, (int)(until - now));
    if (r > 0 && (p.revents & POLLOUT))
        on_writable(c->fd, EV_WRITE, c);
    return r > 0 || (r < 0 && errno == EINTR);
}

int ll_ipc_call(struct ll_ipc *c, uint16_t type, uint64_t id, struct ll_slice body, int timeout_ms,
                struct ll_buf *ret_body)
{
    uint64_t until = ll_now_ms() + (uint64_t)timeout_ms;
    uint8_t *bytes;
    int answer = -1;

    if (ll_ipc_send(c, type, id, body, -1) != 0 || !(bytes = malloc(LL_IPC_FRAME_MAX)))
        return -1;
    while (!c->why) {
        const char *why = NULL;
        struct ll_frame f = {0};
        struct kept *k;
        size_t n = 0;
        int fd = -1;
        int r = receive(c->fd, bytes, &n, &fd, &why);

        if (r == 0 && wait_for(c, until))
            continue;
        if (r == 0)
            break;
        if (r > 0)
            why = parse(ll_slice(bytes, n), fd, &f);
        if (!why && f.id == id && fd < 0) {
            ll_buf_put_slice(ret_body, f.body);
            answer = ret_body->failed ? -1 : f.type;
            break;
        }
        k = why ? NULL : kept_new(ll_slice(bytes, n), ll_slice(NULL, 0));
        if (!k) {
            if (fd >= 0)
                close(fd);
            ll_ipc_break(c, why ? why : "no memory");
            break;
        }
        k->fd = fd;
        STAILQ_INSERT_TAIL(&c->later, k, next);
        event_active(c->readable, EV_READ, 0);
    }
    free(bytes);
    return answer;
}

struct ll_ipc *ll_ipc_new(struct event_base *base, int fd, ll_ipc_frame_fn frame,
                          ll_ipc_gone_fn gone, void *arg)
{
    struct ll_ipc *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    *c = (struct ll_ipc){.fd = fd, .frame = frame, .gone = gone, .arg = arg};
    STAILQ_INIT(&c->out);
    STAILQ_INIT(&c->later);
    c->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, c);
    c->writable = event_new(base, fd, EV_WRITE | EV_PERSIST, on_writable, c);
    if (!c->readable || !c->writable || event_add(c->readable, NULL) != 0) {
        c->fd = -1;
        ll_ipc_free(c);
        return NULL;
    }
    return c;
}

void ll_ipc_free(struct ll_ipc *c)
{
    if (!c)
        return;
    if (c->freed)
        *c->freed = true;
    if (c->readable)
        event_free(c->readable);
    if (c->writable)
        event_free(c->writable);
    if (c->fd >= 0)
        close(c->fd);
    kept_clear(&c->out);
    kept_clear(&c->later);
    free(c);
}

int ll_ipc_pair(int ret_fd[2])
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ret_fd);
}
