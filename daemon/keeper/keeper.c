/*
 * The keeper: holds the private keys, tells fronts and relays the certificates, and signs the texts
 * of their handshakes after a look at them (check.h). It also makes the ticket keys of listeners.
 *
 * Keys of the set before the present one go on signing, for handshakes that began with it. A set
 * replaces another only whole; numbers begin at random, so that a number from before a restart
 * means nothing.
 */
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>

#include "daemon/keeper/dkim.h"
#include "daemon/keeper/load.h"
#include "daemon/keeper/secret.h"
#include "daemon/proc.h"
#include "io/clock.h"
#include "io/log.h"
#include "io/tls.h"
#include "io/tls_provider.h"

#define TICKET_ROTATE_S (12 * 3600) /* a ticket is good for 12 to 24 hours */
#define CLIENT_CA_MAX   (LL_IPC_FRAME_MAX - 1024)

struct listener {
    char *title;
    uint8_t tickets[2][LL_TLS_TICKET_KEY]; /* newest first */
    size_t n_tickets;
    struct ll_buf client_ca; /* PEM */
    bool there;              /* in the present configuration */
};

struct keeper {
    struct ll_keys *keys, *before;
    struct ll_dkim_store *dkim;
    uint32_t generation, next_number;
    struct listener *listener;
    size_t n_listener;
    struct event *rotate;
};

/* ---- telling fronts and relays ------------------------------------------------------------------
 */

static bool is_front(enum ll_role r)
{
    return r == LL_ROLE_FRONT_MX || r == LL_ROLE_FRONT_SUB;
}

/* Those who send letters that start here; never the front of the open port. */
static bool may_sign_letters(enum ll_role r)
{
    return r == LL_ROLE_FRONT_SUB || r == LL_ROLE_POST || r == LL_ROLE_RELAY;
}

static bool may_use(const struct ll_key *k, enum ll_role r)
{
    return is_front(r) ? k->front : r == LL_ROLE_RELAY && k->relay;
}

static void send_certs(const struct keeper *kp, struct ll_peer *to)
{
    struct ll_msg m = {.type = LL_MSG_CERTS_BEGIN, .fd = -1};
    uint16_t count = 0;
    for (size_t i = 0; i < kp->keys->n; i++)
        count += may_use(&kp->keys->key[i], to->role);
    m.certs_begin.generation = kp->generation;
    m.certs_begin.count = count;
    ll_msg_send(to->ipc, &m);
    for (size_t i = 0; i < kp->keys->n; i++) {
        const struct ll_key *k = &kp->keys->key[i];
        if (!may_use(k, to->role))
            continue;
        m = (struct ll_msg){.type = LL_MSG_CERT, .fd = -1};
        m.cert.generation = kp->generation;
        m.cert.key = k->number;
        m.cert.title = ll_slice_str(k->title);
        m.cert.chain = ll_buf_slice(&k->chain);
        ll_msg_send(to->ipc, &m);
    }
}

/* Does this front serve this listener? */
static bool serves(const struct ll_proc *proc, enum ll_role role, const char *title)
{
    const struct ll_conf_listener *l = ll_conf_listener(proc->conf, ll_slice_str(title));
    bool sub = l && strcmp(l->kind, "submission") == 0;
    return l && (role == LL_ROLE_FRONT_SUB ? sub : role == LL_ROLE_FRONT_MX && !sub);
}

static void send_tickets(const struct listener *l, struct ll_peer *to)
{
    struct ll_msg m = {.type = LL_MSG_TICKET_KEYS, .fd = -1};
    m.ticket_keys.listener = ll_slice_str(l->title);
    m.ticket_keys.keys = ll_slice(l->tickets, l->n_tickets * LL_TLS_TICKET_KEY);
    ll_msg_send(to->ipc, &m);
}

static void send_listeners(const struct keeper *kp, struct ll_peer *to)
{
    for (size_t i = 0; i < kp->n_listener; i++) {
        const struct listener *l = &kp->listener[i];
        struct ll_msg m = {.type = LL_MSG_CLIENT_CA, .fd = -1};
        if (!serves(to->proc, to->role, l->title))
            continue;
        send_tickets(l, to);
        m.client_ca.listener = ll_slice_str(l->title);
        m.client_ca.pem = ll_buf_slice(&l->client_ca);
        ll_msg_send(to->ipc, &m);
    }
}

/* Listeners first: a set of certificates then finds its servers in order. */
static void send_all(const struct keeper *kp, struct ll_peer *to)
{
    if (may_sign_letters(to->role))
        ll_dkim_store_send(kp->dkim, to);
    if (!is_front(to->role) && to->role != LL_ROLE_RELAY)
        return;
    send_listeners(kp, to);
    send_certs(kp, to);
}

static void each_peer(struct ll_proc *proc, void (*f)(const struct keeper *, struct ll_peer *))
{
    static const enum ll_role roles[] = {LL_ROLE_FRONT_MX, LL_ROLE_FRONT_SUB, LL_ROLE_RELAY,
                                         LL_ROLE_POST};
    const int64_t workers[] = {proc->conf->mx_workers, proc->conf->submission_workers,
                               proc->conf->relay_workers, 1};
    for (size_t r = 0; r < LL_COUNT(roles); r++)
        for (unsigned i = 0; i < (uint64_t)workers[r]; i++) {
            struct ll_peer *p = ll_proc_peer(proc, roles[r], i);
            if (p)
                f(proc->state, p);
        }
}

/* ---- listeners
 * ------------------------------------------------------------------------------------ */

static bool new_ticket_key(struct listener *l)
{
    memcpy(l->tickets[1], l->tickets[0], LL_TLS_TICKET_KEY);
    l->n_tickets = l->n_tickets ? 2 : 1;
    return RAND_priv_bytes(l->tickets[0], LL_TLS_TICKET_KEY) == 1;
}

static void send_all_tickets(const struct keeper *kp, struct ll_peer *to)
{
    for (size_t i = 0; is_front(to->role) && i < kp->n_listener; i++)
        if (serves(to->proc, to->role, kp->listener[i].title))
            send_tickets(&kp->listener[i], to);
}

static void on_rotate(evutil_socket_t fd, short what, void *arg)
{
    struct ll_proc *proc = arg;
    struct keeper *kp = proc->state;
    for (size_t i = 0; i < kp->n_listener; i++)
        if (!new_ticket_key(&kp->listener[i]))
            abort();
    each_peer(proc, send_all_tickets);
}

/* Reads a CA file; a fault leaves *out as it was. */
static bool read_ca(const char *title, const char *path, struct ll_buf *out)
{
    struct ll_buf pem = LL_BUF(CLIENT_CA_MAX), err = LL_BUF(512);
    int fd = path[0] ? open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY) : -1;
    ssize_t r = 1;
    uint8_t *p;
    while (fd >= 0 && r > 0 && (p = ll_buf_room(&pem, 1024)) && (r = read(fd, p, 1024)) > 0)
        ll_buf_grew(&pem, (size_t)r);
    if (fd >= 0)
        close(fd);
    struct ll_tls_trust *t = NULL;
    bool ok = !path[0] || (fd >= 0 && r == 0 && !pem.failed &&
                           (t = ll_tls_trust_parse(ll_buf_slice(&pem), &err)));
    if (!ok)
        ll_log(LL_LOG_ERROR, "client-ca", LL_FS("listener", title), LL_FS("file", path),
               LL_FS("why", fd < 0       ? "cannot be opened"
                            : pem.failed ? "longer than 63 KiB"
                            : r < 0      ? "cannot be read"
                                         : ll_buf_str(&err)));
    ll_tls_trust_free(t);
    ll_buf_release(&err);
    if (!ok) {
        ll_buf_release(&pem);
        return false;
    }
    ll_buf_release(out);
    *out = pem;
    return true;
}

static void listener_release(struct listener *l)
{
    free(l->title);
    ll_buf_release(&l->client_ca);
    OPENSSL_cleanse(l->tickets, sizeof(l->tickets));
}

static struct listener *listener_add(struct keeper *kp, const char *title)
{
    for (size_t i = 0; i < kp->n_listener; i++)
        if (strcasecmp(kp->listener[i].title, title) == 0)
            return &kp->listener[i];
    struct listener *all = realloc(kp->listener, (kp->n_listener + 1) * sizeof(*all));
    if (!all)
        return NULL;
    kp->listener = all;
    struct listener *l = &all[kp->n_listener];
    *l = (struct listener){.title = strdup(title), .client_ca = LL_BUF(CLIENT_CA_MAX)};
    if (!l->title || !new_ticket_key(l))
        return NULL;
    kp->n_listener++;
    return l;
}

static bool load_listeners(struct ll_proc *proc)
{
    struct keeper *kp = proc->state;
    bool ok = true;
    size_t k = 0;
    for (size_t i = 0; i < kp->n_listener; i++)
        kp->listener[i].there = false;
    for (size_t i = 0; i < proc->conf->n_listener; i++) {
        const struct ll_conf_listener *c = &proc->conf->listener[i];
        struct listener *l = listener_add(kp, c->title);
        if (!l)
            return false;
        l->there = true;
        ok = read_ca(c->title, c->client_ca, &l->client_ca) && ok;
    }
    for (size_t i = 0; i < kp->n_listener; i++) {
        if (kp->listener[i].there)
            kp->listener[k++] = kp->listener[i];
        else
            listener_release(&kp->listener[i]);
    }
    kp->n_listener = k;
    return ok;
}

/* ---- keys
 * ------------------------------------------------------------------------------------------ */

static void log_lines(enum ll_log_level level, struct ll_buf *lines)
{
    struct ll_slice rest = ll_buf_slice(lines), line;
    while (ll_slice_next(&rest, '\n', &line))
        if (line.n)
            ll_log(level, "certificate", LL_F("why", line));
    ll_buf_release(lines);
}

static bool load_keys(struct ll_proc *proc)
{
    struct keeper *kp = proc->state;
    struct ll_buf err = LL_BUF(65536), warnings = LL_BUF(65536);
    struct ll_keys *keys = ll_keys_load(proc->conf, kp->next_number, &err, &warnings);
    log_lines(LL_LOG_ERROR, &err);
    log_lines(LL_LOG_WARNING, &warnings);
    if (!keys)
        return false;
    kp->next_number += (uint32_t)keys->n;
    kp->generation++;
    ll_keys_free(kp->before);
    kp->before = kp->keys;
    kp->keys = keys;
    ll_log(LL_LOG_INFO, "certificates", LL_FU("count", keys->n),
           LL_FU("generation", kp->generation));
    return true;
}

/* A fault keeps the keys that there were. */
static bool load_dkim(struct ll_proc *proc)
{
    struct keeper *kp = proc->state;
    struct ll_buf err = LL_BUF(65536);
    struct ll_dkim_store *s = ll_dkim_store_load(proc->conf, &err);
    log_lines(LL_LOG_ERROR, &err);
    if (!s)
        return false;
    ll_dkim_store_free(kp->dkim);
    kp->dkim = s;
    ll_log(LL_LOG_INFO, "dkim-keys", LL_FU("count", ll_dkim_store_count(s)));
    return true;
}

/* ---- the role
 * ---------------------------------------------------------------------------------------- */

static int keeper_start(struct ll_proc *proc)
{
    const char *missing = ll_secret_start();
    struct keeper *kp = calloc(1, sizeof(*kp));
    const struct timeval every = {.tv_sec = TICKET_ROTATE_S};
    if (missing)
        ll_log(LL_LOG_WARNING, "secret-memory", LL_FS("why", missing));
    OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
    if (!kp || RAND_bytes((uint8_t *)&kp->next_number, sizeof(kp->next_number)) != 1)
        return -1;
    proc->state = kp;
    kp->rotate = event_new(proc->base, -1, EV_PERSIST, on_rotate, proc);
    if (!kp->rotate || event_add(kp->rotate, &every) != 0)
        return -1;
    return load_keys(proc) && load_listeners(proc) && load_dkim(proc) ? 0 : -1;
}

static void keeper_reconf(struct ll_proc *proc, const struct ll_conf *old)
{
    if (!load_keys(proc))
        ll_log(LL_LOG_ERROR, "certificates-kept",
               LL_FS("why", "the new set has a fault; the old one stays"));
    load_listeners(proc);
    if (!load_dkim(proc))
        ll_log(LL_LOG_ERROR, "dkim-keys-kept",
               LL_FS("why", "the new set has a fault; the old one stays"));
    each_peer(proc, send_all);
}

static void keeper_peer_up(struct ll_peer *peer)
{
    send_all(peer->proc->state, peer);
}

static int refuse(const struct ll_peer *peer, struct ll_msg *answer, const char *why)
{
    ll_log(LL_LOG_WARNING, "signature-refused", LL_FS("to", ll_role_name(peer->role)),
           LL_FU("worker", peer->index), LL_FS("why", why));
    ll_msg_send(peer->ipc, answer);
    return 0;
}

static int on_sign_ask(struct ll_peer *peer, const struct ll_msg *m)
{
    struct keeper *kp = peer->proc->state;
    struct ll_msg answer = {.type = LL_MSG_SIGN_ANSWER, .id = m->id, .fd = -1};
    struct ll_buf sig = LL_BUF(2048);
    const struct ll_key *k = ll_keys_find(kp->keys, m->sign_ask.key);
    if (!k)
        k = ll_keys_find(kp->before, m->sign_ask.key);
    if (!k)
        return refuse(peer, &answer, "no such key (of an older set?)");
    if (!may_use(k, peer->role))
        return refuse(peer, &answer, "a key that this process may not use");
    enum ll_sign_text text = ll_sign_text(m->sign_ask.text, is_front(peer->role));
    if (text == LL_SIGN_NONE)
        return refuse(peer, &answer, "not the text of a handshake");
    if (!ll_sign_scheme_ok(k->type, text, m->sign_ask.scheme))
        return refuse(peer, &answer, "a signature scheme that does not fit");
    if (!ll_tls_sign_local(NULL, k->key, m->sign_ask.scheme, m->sign_ask.text, &sig)) {
        ll_buf_release(&sig);
        return refuse(peer, &answer, "OpenSSL could not sign");
    }
    answer.sign_answer.signature = ll_buf_slice(&sig);
    ll_msg_send(peer->ipc, &answer);
    ll_buf_release(&sig);
    return 0;
}

static int on_dkim_ask(struct ll_peer *peer, const struct ll_msg *m)
{
    struct keeper *kp = peer->proc->state;
    struct ll_msg answer = {.type = LL_MSG_DKIM_ANSWER, .id = m->id, .fd = -1};
    struct ll_buf sig = LL_BUF(LL_DKIM_SIGNATURE_ROOM);
    const char *fault =
        ll_dkim_store_sign(kp->dkim, peer->proc->conf, ll_unix_s(), peer->role, &m->dkim_ask, &sig);
    if (fault) {
        ll_buf_release(&sig);
        return refuse(peer, &answer, fault);
    }
    answer.dkim_answer.signature = ll_buf_slice(&sig);
    ll_msg_send(peer->ipc, &answer);
    ll_buf_release(&sig);
    return 0;
}

static int on_ctl_ask(struct ll_peer *peer, const struct ll_msg *m)
{
    struct ll_msg answer = {.type = LL_MSG_CTL_END, .id = m->id, .fd = -1};
    answer.ctl_end.status = 64;
    answer.ctl_end.text = LL_LIT("the keeper answers no commands");
    ll_msg_send(peer->ipc, &answer);
    return 0;
}

const struct ll_role_ops ll_role_keeper = {
    .start = keeper_start,
    .reconf = keeper_reconf,
    .peer_up = keeper_peer_up,
    .on = {[LL_MSG_SIGN_ASK] = on_sign_ask,
           [LL_MSG_DKIM_ASK] = on_dkim_ask,
           [LL_MSG_CTL_ASK] = on_ctl_ask},
};
