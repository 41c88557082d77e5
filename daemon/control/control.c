/*
 * control: the door for letterlock(1). Checks who is there (SO_PEERCRED), passes each request on to
 * the role that answers it, and the answer back, line by line. It understands neither.
 *
 * Who may: root, the user that letterlockd runs as, and this process's own. This process lives
 * outside of our user namespace (daemon/super/stem.c), where every user has its own number.
 */
#include "daemon/control/sendmail.h"
#include "daemon/proc.h"
#include "daemon/roles.h"
#include "io/clock.h"
#include "io/ipc.h"
#include "io/log.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#define CLIENTS_MAX  64 /* letterlock(1) at a time */
#define REQUESTS_MAX 16 /* of one client, unanswered */
#define COMMAND_MAX  64 /* octets */

/* A client that reads more slowly than its answer comes: the queue, which has the long answers, is
 * told to wait with this one, and goes on with the others. One that stands still is dropped. */
#define SLOW_AT  (1u << 20)   /* octets that wait for a client */
#define QUICK_AT (256u << 10) /* octets at which it has caught up */
#define STILL_MS 600000       /* without taking anything: someone may be reading a page of it */
#define LOOK_MS  50           /* how often slow clients are looked at */

/* Which role answers what: the only list. */
static const struct {
    const char *command;
    enum ll_role role;
} commands[] = {
    {"status", LL_ROLE_SUPER},        {"reload", LL_ROLE_SUPER},
    {"stop", LL_ROLE_SUPER},          {"queue list", LL_ROLE_QUEUE},
    {"queue show", LL_ROLE_QUEUE},    {"queue why", LL_ROLE_QUEUE},
    {"queue retry", LL_ROLE_QUEUE},   {"queue drop", LL_ROLE_QUEUE},
    {"trace", LL_ROLE_QUEUE},         {"queue hold", LL_ROLE_QUEUE},
    {"queue release", LL_ROLE_QUEUE}, {"queue pause", LL_ROLE_QUEUE},
    {"queue resume", LL_ROLE_QUEUE},  {"queue pauses", LL_ROLE_QUEUE},
    {"test", LL_ROLE_AUTH},           {"alias reload", LL_ROLE_AUTH},
};

struct request {
    uint64_t ours; /* number towards the role; 0: free */
    uint64_t theirs;
    enum ll_role role;
};

struct client {
    struct control *control; /* NULL: free */
    struct ll_ipc *ipc;
    bool refused;
    bool slow;
    size_t waiting; /* slow: octets at the last progress, and when that was */
    uint64_t progress;
    uid_t uid;
    struct request request[REQUESTS_MAX];
};

struct control {
    struct ll_proc *proc;
    uid_t super;
    bool has_super;
    struct sendmail *sendmail;
    struct event *listener;
    struct event *look; /* at slow clients; pending while there are any */
    struct client client[CLIENTS_MAX];
};

/* ---- answers --------------------------------------------------------------------------------- */

static void end_request(struct client *c, uint64_t theirs, int status, struct ll_slice text)
{
    struct ll_msg m = {.type = LL_MSG_CTL_END, .id = theirs, .fd = -1};

    m.ctl_end.status = (uint8_t)status;
    m.ctl_end.text = text;
    ll_msg_send(c->ipc, &m);
}

static struct request *find_request(struct control *ctl, uint64_t ours, struct client **ret_client)
{
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        for (size_t k = 0; ctl->client[i].control && k < REQUESTS_MAX; k++)
            if (ctl->client[i].request[k].ours == ours) {
                *ret_client = &ctl->client[i];
                return &ctl->client[i].request[k];
            }
    return NULL;
}

/* ---- slow clients ---------------------------------------------------------------------------- */

static const struct timeval look_soon = {0, LOOK_MS * 1000};

/* To the queue, for all that this client has asked it. */
static void tell_flow(struct client *c, enum ll_flow state)
{
    struct ll_peer *peer = ll_proc_peer(c->control->proc, LL_ROLE_QUEUE, 0);
    struct ll_msg m = {.type = LL_MSG_CTL_FLOW, .fd = -1};

    m.ctl_flow.state = (uint8_t)state;
    for (size_t i = 0; peer && i < REQUESTS_MAX; i++) {
        m.id = c->request[i].ours;
        if (m.id != 0 && c->request[i].role == LL_ROLE_QUEUE)
            ll_msg_send(peer->ipc, &m);
    }
}

static void on_look(evutil_socket_t fd, short what, void *arg)
{
    struct control *ctl = arg;
    uint64_t now = ll_now_ms();
    bool slow = false;

    for (struct client *c = ctl->client; c < ctl->client + CLIENTS_MAX; c++) {
        size_t waiting = c->control && c->slow ? ll_ipc_queued(c->ipc) : 0;

        if (waiting <= QUICK_AT) {
            if (c->control && c->slow)
                tell_flow(c, LL_FLOW_GO);
            c->slow = false;
            continue;
        }
        if (waiting < c->waiting) {
            c->waiting = waiting;
            c->progress = now;
        } else if (now - c->progress > STILL_MS) {
            ll_ipc_break(c->ipc, "it does not read its answer");
            c->slow = false;
            continue;
        }
        slow = true;
    }
    if (slow)
        event_add(ctl->look, &look_soon);
}

static void hold_back(struct client *c)
{
    size_t waiting = ll_ipc_queued(c->ipc);

    if (waiting <= SLOW_AT || c->slow)
        return;
    c->slow = true;
    c->waiting = waiting;
    c->progress = ll_now_ms();
    tell_flow(c, LL_FLOW_WAIT);
    event_add(c->control->look, &look_soon);
}

/* ---- answers, passed on ---------------------------------------------------------------------- */

/* A line or an end from a role. A client that went away meanwhile is no fault of the role. */
static int on_answer(struct ll_peer *peer, const struct ll_msg *m)
{
    struct client *client;
    struct request *r = m->id ? find_request(peer->proc->state, m->id, &client) : NULL;
    struct ll_msg out = *m;

    if (!r)
        return 0;
    if (r->role != peer->role)
        return -1;
    out.id = r->theirs;
    if (m->type == LL_MSG_CTL_END)
        r->ours = 0;
    if (ll_msg_send(client->ipc, &out) < 0)
        ll_ipc_break(client->ipc, "it does not read its answer");
    else
        hold_back(client);
    return 0;
}

/* ---- clients --------------------------------------------------------------------------------- */

static void on_gone(void *arg, const char *why)
{
    struct client *c = arg;

    if (why != ll_ipc_closed)
        ll_log(LL_LOG_WARNING, "control-dropped", LL_FU("uid", c->uid), LL_FS("why", why));
    tell_flow(c, LL_FLOW_GONE);
    ll_ipc_free(c->ipc);
    *c = (struct client){0};
}

static bool find_role(struct ll_slice command, enum ll_role *ret)
{
    for (size_t i = 0; i < LL_COUNT(commands); i++)
        if (ll_slice_eq(command, ll_slice_str(commands[i].command))) {
            *ret = commands[i].role;
            return true;
        }
    return false;
}

static void pass_on(struct client *c, struct ll_msg *ask)
{
    struct control *ctl = c->control;
    struct request *r = c->request;
    uint64_t theirs = ask->id;
    struct ll_peer *peer;
    enum ll_role role;

    if (!find_role(ask->ctl_ask.command, &role)) {
        end_request(c, theirs, EX_USAGE, LL_LIT("the server does not know this command"));
        return;
    }
    while (r < c->request + REQUESTS_MAX && r->ours != 0)
        r++;
    peer = ll_proc_peer(ctl->proc, role, 0);
    if (r == c->request + REQUESTS_MAX || !peer) {
        end_request(c, theirs, EX_TEMPFAIL,
                    peer ? LL_LIT("too many requests at once")
                         : LL_LIT("the process that answers this is being restarted; try again"));
        return;
    }
    *r = (struct request){ll_proc_id(ctl->proc), theirs, role};
    ask->id = r->ours;
    if (ll_msg_send(peer->ipc, ask) < 0) {
        r->ours = 0;
        end_request(c, theirs, EX_TEMPFAIL, LL_LIT("the server is busy; try again"));
    } else if (c->slow) {
        tell_flow(c, LL_FLOW_WAIT);
    }
}

static int on_frame(void *arg, const struct ll_frame *frame)
{
    struct client *c = arg;
    struct ll_msg m;

    if (ll_msg_decode(frame, LL_ROLE_TOOL, LL_ROLE_CONTROL, &m) < 0 || m.type != LL_MSG_CTL_ASK ||
        m.ctl_ask.command.n > COMMAND_MAX)
        return -1;
    ll_log(c->refused ? LL_LOG_WARNING : LL_LOG_DEBUG, c->refused ? "control-refused" : "control",
           LL_FU("uid", c->uid), LL_F("command", m.ctl_ask.command));
    if (c->refused)
        end_request(c, m.id, EX_NOPERM, LL_LIT("only root and the server's own user may ask this"));
    else
        pass_on(c, &m);
    return 0;
}

static bool allowed(const struct control *ctl, uid_t uid)
{
    return uid == 0 || uid == geteuid() || (ctl->has_super && uid == ctl->super);
}

static void on_connect(evutil_socket_t listener, short what, void *arg)
{
    struct control *ctl = arg;
    struct client *c = ctl->client;
    struct ucred cred;
    socklen_t n = sizeof(cred);
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0)
        return;
    while (c < ctl->client + CLIENTS_MAX && c->control)
        c++;
    if (c == ctl->client + CLIENTS_MAX || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) < 0 ||
        n != sizeof(cred)) {
        close(fd);
        return;
    }
    *c = (struct client){.control = ctl, .uid = cred.uid, .refused = !allowed(ctl, cred.uid)};
    c->ipc = ll_ipc_new(ctl->proc->base, fd, on_frame, on_gone, c);
    if (!c->ipc) {
        close(fd);
        *c = (struct client){0};
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

static int start(struct ll_proc *proc)
{
    struct control *ctl = calloc(1, sizeof(*ctl));
    gid_t gid;

    if (!ctl)
        return -1;
    ctl->proc = proc;
    ctl->has_super = ll_role_uid(proc->conf, LL_ROLE_SUPER, &ctl->super, &gid) == 0;
    ctl->look = evtimer_new(proc->base, on_look, ctl);
    ctl->sendmail = sendmail_new(proc);
    proc->state = ctl;
    return ctl->look && ctl->sendmail ? 0 : -1;
}

static void listener(struct ll_proc *proc, int fd, struct ll_slice title, struct ll_slice address)
{
    struct control *ctl = proc->state;

    if (ll_slice_eq(title, LL_LIT("sendmail"))) {
        sendmail_listen(ctl->sendmail, fd);
        return;
    }
    if (!ll_slice_eq(title, LL_LIT("control")) || ctl->listener) {
        close(fd);
        return;
    }
    ctl->listener = event_new(proc->base, fd, EV_READ | EV_PERSIST, on_connect, ctl);
    if (!ctl->listener || event_add(ctl->listener, NULL) < 0)
        ll_log(LL_LOG_ERROR, "control-deaf", LL_FS("why", strerror(errno)));
}

static void peer_up(struct ll_peer *peer)
{
    struct control *ctl = peer->proc->state;

    sendmail_peer_up(ctl->sendmail, peer);
}

static int on_local_answer(struct ll_peer *peer, const struct ll_msg *m)
{
    struct control *ctl = peer->proc->state;

    return sendmail_answer(ctl->sendmail, m);
}

static void peer_down(struct ll_peer *peer)
{
    struct control *ctl = peer->proc->state;

    sendmail_peer_down(ctl->sendmail, peer);
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        for (size_t k = 0; ctl->client[i].control && k < REQUESTS_MAX; k++) {
            struct request *r = &ctl->client[i].request[k];

            if (r->ours == 0 || r->role != peer->role)
                continue;
            r->ours = 0;
            end_request(&ctl->client[i], r->theirs, EX_TEMPFAIL,
                        LL_LIT("the process that answers this was restarted; try again"));
        }
}

const struct ll_role_ops ll_role_control = {
    .start = start,
    .listener = listener,
    .peer_up = peer_up,
    .peer_down = peer_down,
    .on = {[LL_MSG_CTL_LINE] = on_answer,
           [LL_MSG_CTL_END] = on_answer,
           [LL_MSG_LOCAL_ANSWER] = on_local_answer},
};
