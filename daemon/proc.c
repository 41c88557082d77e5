/* See daemon/proc.h. */
#include "daemon/proc.h"

#include "daemon/roles.h"
#include "daemon/sandbox.h"
#include "io/log.h"

#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#define SUPER_FD    3           /* where super left the channel to it */
#define WORKERS_MAX 64          /* workers of a role; conf_check.c knows it too */
#define CONF_MAX    (64u << 20) /* octets of an encoded configuration */
#define WAITING_MAX 1024        /* listeners and peers that come before START */

/* Descriptors that arrived before START. */
struct waiting {
    int fd;
    enum ll_role role; /* of a peer */
    unsigned index;
    uint64_t life;
    char *title; /* of a listener; NULL: a peer */
    char *address;
};

struct process {
    struct ll_proc proc; /* first: a struct ll_proc * of ours is a struct process * */
    const struct ll_role_ops *ops;
    struct ll_peer super;
    struct ll_peer *peers[LL_ROLE_COUNT][WORKERS_MAX];
    struct ll_conf *conf;
    struct waiting waiting[WAITING_MAX];
    size_t n_waiting;
    uint64_t last_id;
    bool started;
    bool ended;
};

static struct process *process_of(struct ll_proc *proc)
{
    return (struct process *)proc;
}

static _Noreturn void die(int status, const char *why)
{
    ll_log(LL_LOG_ERROR, "ended", LL_FS("why", why));
    exit(status);
}

struct ll_peer *ll_proc_peer(struct ll_proc *proc, enum ll_role role, unsigned index)
{
    struct process *p = process_of(proc);

    if (role == LL_ROLE_SUPER)
        return &p->super;
    return (unsigned)role < LL_ROLE_COUNT && index < WORKERS_MAX ? p->peers[role][index] : NULL;
}

uint64_t ll_proc_id(struct ll_proc *proc)
{
    return ++process_of(proc)->last_id;
}

void ll_proc_exit(struct ll_proc *proc)
{
    process_of(proc)->ended = true;
    event_base_loopbreak(proc->base);
}

void ll_proc_no_memory(const char *what)
{
    ll_log(LL_LOG_ERROR, "no-memory", LL_FS("for", what));
    _exit(EX_OSERR);
}

void ll_proc_bad_peer(struct ll_peer *peer, const char *why)
{
    ll_ipc_break(peer->ipc, why);
}

/* ---- peers ----------------------------------------------------------------------------------- */

static void peer_free(struct process *p, struct ll_peer *peer)
{
    p->peers[peer->role][peer->index] = NULL;
    if (p->ops->peer_down)
        p->ops->peer_down(peer);
    ll_ipc_free(peer->ipc);
    free(peer);
}

static int on_peer_frame(void *arg, const struct ll_frame *f)
{
    struct ll_peer *peer = arg;
    struct process *p = process_of(peer->proc);
    struct ll_msg m;

    if (ll_msg_decode(f, peer->role, p->proc.role, &m) != 0) {
        ll_log(LL_LOG_ERROR, "bad-message", LL_FS("from", ll_role_name(peer->role)),
               LL_FU("index", peer->index), LL_FU("type", f->type), LL_FU("length", f->body.n));
        return -1;
    }
    if (p->ops->on[m.type] && p->ops->on[m.type](peer, &m) == 0)
        return 0;
    ll_log(LL_LOG_ERROR, "bad-message", LL_FS("from", ll_role_name(peer->role)),
           LL_FU("index", peer->index), LL_FS("type", ll_msg_name(m.type)));
    if (!p->ops->on[m.type] && m.fd >= 0)
        close(m.fd);
    return -1;
}

static void on_peer_gone(void *arg, const char *why)
{
    struct ll_peer *peer = arg;
    struct process *p = process_of(peer->proc);

    if (why != ll_ipc_closed) {
        struct ll_msg m = {.type = LL_MSG_BAD_PEER, .id = peer->life, .fd = -1};

        m.bad_peer.role = (uint8_t)peer->role;
        m.bad_peer.index = (uint16_t)peer->index;
        m.bad_peer.why = ll_slice_str(why);
        ll_msg_send(p->super.ipc, &m);
    }
    peer_free(p, peer);
}

static struct ll_peer *peer_new(struct process *p, int fd, enum ll_role role, unsigned index,
                                uint64_t life)
{
    struct ll_peer *peer = calloc(1, sizeof(*peer));

    if (p->peers[role][index])
        peer_free(p, p->peers[role][index]);
    if (!peer)
        die(EX_OSERR, "no memory");
    *peer = (struct ll_peer){.proc = &p->proc, .role = role, .index = index, .life = life};
    peer->ipc = ll_ipc_new(p->proc.base, fd, on_peer_frame, on_peer_gone, peer);
    if (!peer->ipc)
        die(EX_OSERR, "no memory");
    p->peers[role][index] = peer;
    return peer;
}

/* ---- what super sends ------------------------------------------------------------------------ */

static struct waiting *wait_for_start(struct process *p, int fd)
{
    if (p->n_waiting == WAITING_MAX)
        die(EX_SOFTWARE, "too many descriptors before START");
    p->waiting[p->n_waiting] = (struct waiting){.fd = fd};
    return &p->waiting[p->n_waiting++];
}

static struct ll_conf *read_conf(int fd)
{
    struct ll_conf *c = NULL;
    struct stat st;
    uint8_t *bytes;
    size_t n = 0;

    if (fstat(fd, &st) != 0 || st.st_size <= 0 || st.st_size > (off_t)CONF_MAX)
        return NULL;
    bytes = malloc((size_t)st.st_size);
    while (bytes && n < (size_t)st.st_size) {
        ssize_t r = pread(fd, bytes + n, (size_t)st.st_size - n, (off_t)n);

        if (r <= 0)
            break;
        n += (size_t)r;
    }
    if (bytes && n == (size_t)st.st_size)
        c = ll_conf_decode(ll_slice(bytes, n));
    free(bytes);
    return c;
}

static void on_conf(struct process *p, const struct ll_msg *m)
{
    struct ll_conf *old = p->conf;
    struct ll_conf *c = read_conf(m->fd);

    close(m->fd);
    if (!c)
        die(EX_SOFTWARE, "the configuration from super cannot be decoded");
    p->conf = c;
    p->proc.conf = c;
    ll_log_json(strcmp(c->log_format, "json") == 0);
    if (p->started && p->ops->reconf)
        p->ops->reconf(&p->proc, old);
    ll_conf_free(old);
}

static void on_peer(struct process *p, const struct ll_msg *m)
{
    enum ll_role role = (enum ll_role)m->peer.role;

    if (m->peer.role >= LL_ROLE_COUNT || m->peer.index >= WORKERS_MAX)
        die(EX_SOFTWARE, "super named a peer that cannot be");
    if (p->started) {
        struct ll_peer *peer = peer_new(p, m->fd, role, m->peer.index, m->id);

        if (p->ops->peer_up)
            p->ops->peer_up(peer);
    } else {
        struct waiting *w = wait_for_start(p, m->fd);

        w->role = role;
        w->index = m->peer.index;
        w->life = m->id;
    }
}

static void on_listener(struct process *p, const struct ll_msg *m)
{
    struct waiting *w;

    if (p->started) {
        if (p->ops->listener)
            p->ops->listener(&p->proc, m->fd, m->listener.title, m->listener.address);
        else
            close(m->fd);
        return;
    }
    w = wait_for_start(p, m->fd);
    w->title = ll_slice_dup(m->listener.title);
    w->address = ll_slice_dup(m->listener.address);
    if (!w->title || !w->address)
        die(EX_OSERR, "no memory");
}

/* Peers exist for `start` already; the call-backs wait until the role has its state. */
static void on_start(struct process *p, const struct ll_msg *start)
{
    struct ll_buf missing = LL_BUF(1024);
    struct ll_msg m = {.type = LL_MSG_STARTED, .fd = -1};

    if (!p->conf || p->started)
        die(EX_SOFTWARE, "START out of order");
    p->started = true;
    for (size_t i = 0; i < p->n_waiting; i++)
        if (!p->waiting[i].title)
            peer_new(p, p->waiting[i].fd, p->waiting[i].role, p->waiting[i].index,
                     p->waiting[i].life);
    if (ll_sandbox_before_start(p->conf, p->proc.role, &missing) != 0)
        die(EX_OSERR, "the sandbox could not be set up");
    if (p->ops->start && p->ops->start(&p->proc) != 0)
        die(EX_CONFIG, "the role could not start");
    if (ll_sandbox_after_start(p->conf, p->proc.role, &missing) != 0)
        die(EX_OSERR, "the sandbox could not be shut");
    for (size_t i = 0; i < p->n_waiting; i++) {
        struct waiting *w = &p->waiting[i];

        if (!w->title) {
            if (p->ops->peer_up)
                p->ops->peer_up(p->peers[w->role][w->index]);
            continue;
        }
        if (p->ops->listener)
            p->ops->listener(&p->proc, w->fd, ll_slice_str(w->title), ll_slice_str(w->address));
        else
            close(w->fd);
        free(w->title);
        free(w->address);
    }
    p->n_waiting = 0;
    m.started.missing = ll_buf_slice(&missing);
    ll_msg_send(p->super.ipc, &m);
    ll_buf_release(&missing);
    if (p->ops->run)
        p->ops->run(&p->proc);
}

static void on_drain(struct process *p, const struct ll_msg *m)
{
    if (p->proc.draining)
        return;
    p->proc.draining = true;
    if (p->started && p->ops->drain)
        p->ops->drain(&p->proc);
    else
        ll_proc_exit(&p->proc);
}

static void on_reopen_log(struct process *p, const struct ll_msg *m)
{
    dup3(m->fd, STDERR_FILENO, 0);
    close(m->fd);
}

static void (*const from_super[LL_MSG_COUNT])(struct process *, const struct ll_msg *) = {
    [LL_MSG_CONF] = on_conf,   [LL_MSG_PEER] = on_peer,   [LL_MSG_LISTENER] = on_listener,
    [LL_MSG_START] = on_start, [LL_MSG_DRAIN] = on_drain, [LL_MSG_REOPEN_LOG] = on_reopen_log,
};

static int on_super_frame(void *arg, const struct ll_frame *f)
{
    struct process *p = arg;
    struct ll_msg m;

    if (ll_msg_decode(f, LL_ROLE_SUPER, p->proc.role, &m) != 0)
        return -1;
    if (from_super[m.type])
        from_super[m.type](p, &m);
    else if (!p->ops->on[m.type] || p->ops->on[m.type](&p->super, &m) != 0)
        return -1;
    return 0;
}

static void on_super_gone(void *arg, const char *why)
{
    struct process *p = arg;

    if (why != ll_ipc_closed)
        die(EX_SOFTWARE, why);
    ll_proc_exit(&p->proc);
}

/* ---- main ------------------------------------------------------------------------------------ */

static void set_up_signals(void)
{
    static const int ignored[] = {SIGPIPE, SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGQUIT};

    for (size_t i = 0; i < LL_COUNT(ignored); i++)
        signal(ignored[i], SIG_IGN);
    signal(SIGCHLD, SIG_DFL);
}

int ll_proc_main(int argc, char **argv, const struct ll_role_main *table, size_t n)
{
    struct process *p = calloc(1, sizeof(*p));
    char title[16];

    if (argc != 3 || !p || fcntl(SUPER_FD, F_GETFD) < 0) {
        fprintf(stderr, "%s: started by letterlockd, not by hand\n", argv[0] ? argv[0] : "role");
        return EX_USAGE;
    }
    p->proc.role = ll_role_of_name(argv[1]);
    p->proc.index = (unsigned)strtoul(argv[2], NULL, 10);
    for (size_t i = 0; i < n; i++)
        if (table[i].role == p->proc.role)
            p->ops = table[i].ops;
    ll_log_init(argv[1], p->proc.index);
    if (!p->ops)
        die(EX_SOFTWARE, "this program does not hold the role");
    set_up_signals();
    fcntl(SUPER_FD, F_SETFD, FD_CLOEXEC);
    snprintf(title, sizeof(title), "ll-%s", argv[1]);
    prctl(PR_SET_NAME, title);
    p->proc.base = event_base_new();
    p->super = (struct ll_peer){.proc = &p->proc, .role = LL_ROLE_SUPER};
    if (p->proc.base)
        p->super.ipc = ll_ipc_new(p->proc.base, SUPER_FD, on_super_frame, on_super_gone, p);
    if (!p->super.ipc)
        die(EX_OSERR, "no memory");
    while (!p->ended)
        if (event_base_loop(p->proc.base, EVLOOP_NO_EXIT_ON_EMPTY) != 0)
            break;
    return EX_OK;
}
