/*
 * front: the role that talks to SMTP clients: front-mx (port 25) and front-sub (587, 465). The
 * process holds connections and nothing else: no file is opened, no key or password hash is here.
 * See front.h for the parts.
 */
#include "daemon/front/front.h"
#include "io/clock.h"
#include "io/log.h"

#include <malloc.h>
#include <stdlib.h>
#include <sys/resource.h>

#define SLOTS_MAX   (1u << 20) /* sessions of one process, whatever the configuration says */
#define MEMORY_OWN  (4 << 20)  /* octets from which a block is a mapping of its own */
#define MEMORY_KEEP (16 << 20) /* octets that are kept though free */

/* ---- time ---------------------------------------------------------------------------------------
 */

static void maybe_exit(struct front *f)
{
    if (f->proc->draining && f->n_sessions == 0 && ll_writer_pending(f->writer) == 0)
        ll_proc_exit(f->proc);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct front *f = arg;
    uint64_t now = ll_now_ms();
    struct session *s, *next;

    (void)fd;
    (void)what;
    /* A tick ends no session but the one that it is called for. */
    for (s = TAILQ_FIRST(&f->sessions); s; s = next) {
        next = TAILQ_NEXT(s, all);
        front_session_tick(s, now);
    }
    if (f->accept_again && now >= f->accept_again)
        f->accept_again = 0;
    front_listeners_update(f);
    front_local_update(f);
    maybe_exit(f);
}

static void on_drain_end(evutil_socket_t fd, short what, void *arg)
{
    struct front *f = arg;

    (void)fd;
    (void)what;
    ll_log(LL_LOG_WARNING, "drain-cut", LL_FU("sessions", f->n_sessions));
    while (!TAILQ_EMPTY(&f->sessions))
        front_session_kill(TAILQ_FIRST(&f->sessions));
    ll_proc_exit(f->proc);
}

/* ---- life ---------------------------------------------------------------------------------------
 */

static void tls_changed(void *arg)
{
    front_listeners_update(arg);
}

/* Returns the entries that are no networks. */
static size_t take_list(struct ll_networks *list, char *const *texts)
{
    struct ll_networks nets;
    size_t bad = 0;

    if (!ll_networks_init(&nets, texts, &bad))
        return 0; /* the old ones stay */
    ll_networks_release(list);
    *list = nets;
    return bad;
}

static void take_networks(struct front *f)
{
    size_t bad = take_list(&f->trusted, f->proc->conf->trusted_networks) +
                 take_list(&f->forwarders, f->proc->conf->forwarders);

    take_list(&f->exceptions, f->proc->conf->dmarc_exceptions); /* domains are in it, too */
    if (bad > 0)
        ll_log(LL_LOG_ERROR, "networks-bad", LL_FU("entries", bad));
}

static bool slots_init(struct front *f)
{
    int64_t max = f->proc->conf->sessions_max;
    struct rlimit files;

    f->n_slots = max < 1 ? 1 : max > SLOTS_MAX ? SLOTS_MAX : (uint32_t)max;
    f->slots = calloc(f->n_slots, sizeof(f->slots[0]));
    f->free_slots = calloc(f->n_slots, sizeof(f->free_slots[0]));
    if (!f->slots || !f->free_slots)
        return false;
    for (uint32_t i = 0; i < f->n_slots; i++)
        f->free_slots[i] = f->n_slots - 1 - i;
    f->n_free = f->n_slots;
    f->fd_limit = getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur != RLIM_INFINITY
                      ? files.rlim_cur
                      : UINT64_MAX;
    return true;
}

/* Long letters come and go: their memory is kept for the next one instead of being asked of the
 * kernel, page by page, each time. */
static void keep_memory(void)
{
    mallopt(M_MMAP_THRESHOLD, MEMORY_OWN);
    mallopt(M_TRIM_THRESHOLD, MEMORY_KEEP);
}

static int front_start(struct ll_proc *proc)
{
    const struct timeval every = {FRONT_TICK_MS / 1000, FRONT_TICK_MS % 1000 * 1000};
    struct front *f = calloc(1, sizeof(*f));

    if (!f || ll_tls_init() != 0)
        return -1;
    keep_memory();
    proc->state = f;
    f->proc = proc;
    f->submission = proc->role == LL_ROLE_FRONT_SUB;
    f->began = ll_now_ms();
    TAILQ_INIT(&f->sessions);
    f->addr_cache = calloc(ADDR_CACHE, sizeof(f->addr_cache[0]));
    f->writer = ll_writer_new(proc);
    f->tls = ll_keeper_client_new(proc, tls_changed, f);
    f->dkim = ll_dkim_client_new(proc);
    f->tick = event_new(proc->base, -1, EV_PERSIST, on_tick, f);
    f->drain = event_new(proc->base, -1, 0, on_drain_end, f);
    if (!f->addr_cache || !f->writer || !f->tls || !f->dkim || !f->tick || !f->drain ||
        !slots_init(f) || !front_check_init(f) || event_add(f->tick, &every) != 0)
        return -1;
    take_networks(f);
    front_local_reconf(f);
    return 0;
}

static void front_reconf(struct ll_proc *proc, const struct ll_conf *old)
{
    struct front *f = proc->state;

    (void)old;
    take_networks(f);
    ll_keeper_client_reconf(f->tls);
    memset(f->addr_cache, 0, ADDR_CACHE * sizeof(f->addr_cache[0]));
    front_listeners_reconf(f);
    front_local_reconf(f);
}

static void front_listener(struct ll_proc *proc, int fd, struct ll_slice title,
                           struct ll_slice address)
{
    front_listener_add(proc->state, fd, title, address);
}

static void front_peer_up(struct ll_peer *peer)
{
    struct front *f = peer->proc->state;

    if (peer->role == LL_ROLE_KEEPER) {
        ll_keeper_client_up(f->tls, peer);
        ll_dkim_client_up(f->dkim, peer);
    } else if (peer->role == LL_ROLE_QUEUE)
        ll_writer_queue_up(f->writer, peer);
    else if (peer->role == LL_ROLE_TALLY)
        front_tell_up(f, peer);
}

static void front_peer_down(struct ll_peer *peer)
{
    struct front *f = peer->proc->state;

    if (peer->role == LL_ROLE_KEEPER) {
        ll_keeper_client_down(f->tls);
        ll_dkim_client_down(f->dkim);
    } else if (peer->role == LL_ROLE_QUEUE)
        ll_writer_queue_down(f->writer);
    else if (peer->role == LL_ROLE_DNS)
        front_check_lost(f);
    else
        front_ask_lost(f, peer->role, peer->index);
}

static void front_drain(struct ll_proc *proc)
{
    struct front *f = proc->state;
    const struct timeval most = {proc->conf->drain > 0 ? proc->conf->drain : 1, 0};
    struct session *s, *next;

    front_listeners_close(f);
    event_add(f->drain, &most);
    for (s = TAILQ_FIRST(&f->sessions); s; s = next) {
        next = TAILQ_NEXT(s, all);
        front_session_drain(s);
    }
    maybe_exit(f);
}

/* ---- messages -----------------------------------------------------------------------------------
 */

static int on_writer_message(struct ll_peer *peer, const struct ll_msg *m)
{
    struct front *f = peer->proc->state;
    int r = ll_writer_message(f->writer, m);

    if (!f->stored_once && ll_writer_ready(f->writer, 0) == LL_STORED) {
        f->stored_once = true;
        front_listeners_update(f);
        front_local_update(f);
    }
    if (m->type == LL_MSG_FILE)
        front_letters_files(f);
    return r;
}

static int on_keeper_message(struct ll_peer *peer, const struct ll_msg *m)
{
    struct front *f = peer->proc->state;

    return ll_keeper_client_msg(f->tls, peer, m);
}

static int on_dkim_message(struct ll_peer *peer, const struct ll_msg *m)
{
    struct front *f = peer->proc->state;

    return ll_dkim_client_msg(f->dkim, peer, m);
}

const struct ll_role_ops ll_role_front = {
    .start = front_start,
    .reconf = front_reconf,
    .listener = front_listener,
    .peer_up = front_peer_up,
    .peer_down = front_peer_down,
    .drain = front_drain,
    .on =
        {
            [LL_MSG_CERTS_BEGIN] = on_keeper_message,
            [LL_MSG_CERT] = on_keeper_message,
            [LL_MSG_TICKET_KEYS] = on_keeper_message,
            [LL_MSG_CLIENT_CA] = on_keeper_message,
            [LL_MSG_SIGN_ANSWER] = on_keeper_message, /* one that came too late */
            [LL_MSG_DKIM_KEYS] = on_dkim_message,
            [LL_MSG_DKIM_ANSWER] = on_dkim_message,
            [LL_MSG_LOGIN_ANSWER] = front_on_login,
            [LL_MSG_SENDER_ANSWER] = front_on_sender,
            [LL_MSG_ADDR_ANSWER] = front_on_addr,
            [LL_MSG_PROBE_ANSWER] = front_on_probe,
            [LL_MSG_DNS_ANSWER] = front_on_dns,
            [LL_MSG_LOCAL] = front_on_local,
            [LL_MSG_SEGMENT] = on_writer_message,
            [LL_MSG_FILE] = on_writer_message,
            [LL_MSG_SPACE] = on_writer_message,
        },
};
