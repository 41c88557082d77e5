/* See daemon/control/sendmail.h. */
#include "daemon/control/sendmail.h"

#include "io/clock.h"
#include "io/log.h"
#include "letterlock/addr.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct caller {
    int fd; /* -1: free */
    uid_t uid;
    uint64_t asked; /* id of the question to auth; 0: not asked, or answered */
    uint64_t deadline;
    bool known, trusted;
    uint16_t user_n;
    char user[LL_MAILBOX_MAX];
};

struct sendmail {
    struct ll_proc *proc;
    struct event *listener, *tick;
    struct caller caller[SENDMAIL_WAITING];
};

static const struct timeval second = {1, 0};

/* ---- callers --------------------------------------------------------------------------------- */

static void leave(struct caller *c)
{
    close(c->fd);
    *c = (struct caller){.fd = -1};
}

static void refuse(struct caller *c, const char *text)
{
    ll_log(LL_LOG_WARNING, "sendmail-refused", LL_FU("uid", c->uid), LL_FS("why", text));
    if (send(c->fd, "421 4.3.2 ", 10, MSG_DONTWAIT | MSG_NOSIGNAL) == 10 &&
        send(c->fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
        send(c->fd, "\r\n", 2, MSG_DONTWAIT | MSG_NOSIGNAL);
    leave(c);
}

/* A user's front: by its number, or while that one is away the next. */
static struct ll_peer *front_of(struct sendmail *d, uid_t uid)
{
    unsigned n = (unsigned)d->proc->conf->submission_workers;
    struct ll_peer *peer = NULL;

    for (unsigned i = 0; !peer && i < n; i++)
        peer = ll_proc_peer(d->proc, LL_ROLE_FRONT_SUB, (uid + i) % n);
    return peer;
}

/* Takes the caller as far as it goes now. */
static void advance(struct sendmail *d, struct caller *c)
{
    struct ll_msg m = {.fd = -1};
    struct ll_peer *peer;

    if (!c->known && c->asked == 0) {
        peer = ll_proc_peer(d->proc, LL_ROLE_AUTH, 0);
        m.type = LL_MSG_LOCAL_ASK;
        m.id = ll_proc_id(d->proc);
        m.local_ask.uid = c->uid;
        if (peer && ll_msg_send(peer->ipc, &m) == 0)
            c->asked = m.id;
    } else if (c->known && (peer = front_of(d, c->uid)) != NULL) {
        m.type = LL_MSG_LOCAL;
        m.fd = c->fd;
        m.local.uid = c->uid;
        m.local.trusted = c->trusted;
        m.local.user = ll_slice(c->user, c->user_n);
        if (ll_msg_send(peer->ipc, &m) == 0)
            leave(c);
    }
}

static void advance_all(struct sendmail *d)
{
    for (size_t i = 0; i < SENDMAIL_WAITING; i++)
        if (d->caller[i].fd >= 0)
            advance(d, &d->caller[i]);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct sendmail *d = arg;
    uint64_t now = ll_now_ms();
    bool more = false;

    advance_all(d);
    for (size_t i = 0; i < SENDMAIL_WAITING; i++) {
        struct caller *c = &d->caller[i];

        if (c->fd >= 0 && now >= c->deadline)
            refuse(c, "The server is starting or busy, try again later");
        more = more || c->fd >= 0;
    }
    if (more)
        event_add(d->tick, &second);
}

static void on_connect(evutil_socket_t listener, short what, void *arg)
{
    struct sendmail *d = arg;
    struct caller one = {.fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)};
    struct caller *c = NULL;
    struct ucred cred;
    socklen_t n = sizeof(cred);
    size_t same = 0;

    if (one.fd < 0)
        return;
    if (getsockopt(one.fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) < 0 || n != sizeof(cred)) {
        close(one.fd);
        return;
    }
    one.uid = cred.uid;
    one.deadline = ll_now_ms() + SENDMAIL_WAIT_MS;
    for (size_t i = 0; i < SENDMAIL_WAITING; i++) {
        if (d->caller[i].fd < 0)
            c = &d->caller[i];
        else
            same += d->caller[i].uid == one.uid;
    }
    if (!c || same >= SENDMAIL_WAITING_UID) {
        refuse(&one, "Too many callers at once, try again later");
        return;
    }
    *c = one;
    advance(d, c);
    event_add(d->tick, &second);
}

/* ---- what comes from elsewhere --------------------------------------------------------------- */

int sendmail_answer(struct sendmail *d, const struct ll_msg *m)
{
    struct ll_slice user = m->local_answer.user;

    if (user.n == 0 || user.n > LL_MAILBOX_MAX)
        return -1;
    for (size_t i = 0; i < SENDMAIL_WAITING; i++) {
        struct caller *c = &d->caller[i];

        if (c->fd < 0 || c->asked != m->id || m->id == 0)
            continue;
        c->asked = 0;
        c->known = true;
        c->trusted = m->local_answer.trusted != 0;
        c->user_n = (uint16_t)user.n;
        memcpy(c->user, user.p, user.n);
        advance(d, c);
        break;
    }
    return 0;
}

void sendmail_peer_up(struct sendmail *d, const struct ll_peer *peer)
{
    if (peer->role == LL_ROLE_AUTH || peer->role == LL_ROLE_FRONT_SUB)
        advance_all(d);
}

void sendmail_peer_down(struct sendmail *d, const struct ll_peer *peer)
{
    for (size_t i = 0; peer->role == LL_ROLE_AUTH && i < SENDMAIL_WAITING; i++)
        d->caller[i].asked = 0;
}

void sendmail_listen(struct sendmail *d, int fd)
{
    d->listener = event_new(d->proc->base, fd, EV_READ | EV_PERSIST, on_connect, d);
    if (!d->listener || event_add(d->listener, NULL) < 0)
        ll_log(LL_LOG_ERROR, "sendmail-deaf", LL_FS("why", strerror(errno)));
}

struct sendmail *sendmail_new(struct ll_proc *proc)
{
    struct sendmail *d = calloc(1, sizeof(*d));

    if (!d)
        return NULL;
    d->proc = proc;
    for (size_t i = 0; i < SENDMAIL_WAITING; i++)
        d->caller[i].fd = -1;
    d->tick = evtimer_new(proc->base, on_tick, d);
    if (d->tick)
        return d;
    free(d);
    return NULL;
}
