/* See keeper_client.h. */
#include "daemon/keeper_client.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "io/log.h"

struct named_cert {
    char *title;
    struct ll_tls_cert *cert;
};

struct certs {
    struct named_cert *list;
    size_t n, count; /* come, announced */
    uint32_t generation;
};

struct server {
    char *title;
    struct ll_tls_server *tls;
    struct ll_tls_trust *client_ca;
};

struct ll_keeper_client {
    struct ll_proc *proc;
    void (*changed)(void *arg);
    void *arg;
    struct ll_peer *keeper; /* NULL while it is away */
    bool known;
    struct certs now, coming;
    bool gathering;
    struct server *server;
    size_t n_server;
};

/* ---- signatures
 * ---------------------------------------------------------------------------------- */

static bool ask(void *ctx, uint32_t key, uint16_t scheme, struct ll_slice text, struct ll_buf *sig)
{
    struct ll_keeper_client *kc = ctx;
    struct ll_buf body = LL_BUF(LL_IPC_FRAME_MAX), out = LL_BUF(LL_IPC_FRAME_MAX);
    struct ll_msg m = {.type = LL_MSG_SIGN_ASK, .fd = -1};
    int type = -1;
    if (!kc->keeper)
        return false;
    m.id = ll_proc_id(kc->proc);
    m.sign_ask.key = key;
    m.sign_ask.scheme = scheme;
    m.sign_ask.text = text;
    ll_msg_encode(&m, &body);
    if (!body.failed)
        type = ll_ipc_call(kc->keeper->ipc, LL_MSG_SIGN_ASK, m.id, ll_buf_slice(&body),
                           LL_KEEPER_TIMEOUT_MS, &out);
    struct ll_frame f = {.type = (uint16_t)type, .id = m.id, .body = ll_buf_slice(&out), .fd = -1};
    bool ok = type == LL_MSG_SIGN_ANSWER &&
              ll_msg_decode(&f, LL_ROLE_KEEPER, kc->proc->role, &m) == 0 &&
              m.sign_answer.signature.n > 0;
    if (ok)
        ll_buf_put_slice(sig, m.sign_answer.signature);
    ll_buf_release(&body);
    ll_buf_release(&out);
    return ok;
}

/* ---- sets of certificates
 * ------------------------------------------------------------------------- */

static void certs_release(struct certs *c)
{
    for (size_t i = 0; i < c->n; i++) {
        free(c->list[i].title);
        ll_tls_cert_free(c->list[i].cert);
    }
    free(c->list);
    *c = (struct certs){0};
}

/* The servers show what the keeper sent, in its order: the first is the default. */
static void give(struct ll_keeper_client *kc, struct server *s)
{
    struct ll_buf err = LL_BUF(512);
    struct ll_tls_cert **all = calloc(kc->now.n + 1, sizeof(struct ll_tls_cert *));
    for (size_t i = 0; all && i < kc->now.n; i++)
        all[i] = kc->now.list[i].cert;
    if (!all || ll_tls_server_certs(s->tls, all, kc->now.n, &err) != 0)
        ll_log(LL_LOG_ERROR, "certificates", LL_FS("listener", s->title),
               LL_FS("why", all ? ll_buf_str(&err) : "no memory"));
    free(all);
    ll_buf_release(&err);
}

static void take_set(struct ll_keeper_client *kc)
{
    certs_release(&kc->now);
    kc->now = kc->coming;
    kc->coming = (struct certs){0};
    kc->gathering = false;
    kc->known = true;
    for (size_t i = 0; i < kc->n_server; i++)
        give(kc, &kc->server[i]);
    ll_log(LL_LOG_DEBUG, "certificates", LL_FU("count", kc->now.n));
    if (kc->changed)
        kc->changed(kc->arg);
}

static int on_begin(struct ll_keeper_client *kc, const struct ll_m_certs_begin *m)
{
    if (m->count > LL_TLS_CERTS_MAX)
        return -1;
    certs_release(&kc->coming);
    kc->coming.list = calloc((size_t)m->count + 1, sizeof(*kc->coming.list));
    if (!kc->coming.list)
        return 0; /* the old set stays */
    kc->coming.count = m->count;
    kc->coming.generation = m->generation;
    kc->gathering = true;
    if (m->count == 0)
        take_set(kc);
    return 0;
}

static int on_cert(struct ll_keeper_client *kc, const struct ll_m_cert *m)
{
    struct ll_buf err = LL_BUF(512);
    const struct ll_tls_signer signer = {ask, kc};
    if (!kc->gathering)
        return 0; /* the rest of a set that was given up */
    if (m->generation != kc->coming.generation)
        return -1;
    struct named_cert *c = &kc->coming.list[kc->coming.n];
    c->title = ll_slice_dup(m->title);
    c->cert = c->title ? ll_tls_cert_new(m->chain, m->key, &signer, &err) : NULL;
    if (!c->cert) {
        ll_log(LL_LOG_ERROR, "certificate", LL_F("title", m->title),
               LL_FS("why", ll_buf_str(&err)));
        free(c->title);
        certs_release(&kc->coming);
        kc->gathering = false;
    } else if (++kc->coming.n == kc->coming.count) {
        take_set(kc);
    }
    ll_buf_release(&err);
    return 0;
}

/* ---- listeners
 * -------------------------------------------------------------------------------------- */

static void set_clients(struct ll_keeper_client *kc, struct server *s)
{
    const struct ll_conf_listener *l = ll_conf_listener(kc->proc->conf, ll_slice_str(s->title));
    size_t n = 0;
    while (l && l->client_names[n])
        n++;
    struct ll_slice *names = calloc(n + 1, sizeof(*names));
    for (size_t i = 0; names && i < n; i++)
        names[i] = ll_slice_str(l->client_names[i]);
    if (!names || ll_tls_server_clients(s->tls, s->client_ca, names, n) != 0)
        ll_log(LL_LOG_ERROR, "client-ca", LL_FS("listener", s->title), LL_FS("why", "not taken"));
    free(names);
}

/* Found, or made. NULL: no such listener in the configuration, or no memory. */
static struct server *server_of(struct ll_keeper_client *kc, struct ll_slice title)
{
    for (size_t i = 0; i < kc->n_server; i++)
        if (ll_slice_caseeq(ll_slice_str(kc->server[i].title), title))
            return &kc->server[i];
    const struct ll_conf_listener *l = ll_conf_listener(kc->proc->conf, title);
    struct server *all = l ? realloc(kc->server, (kc->n_server + 1) * sizeof(*all)) : NULL;
    if (!all)
        return NULL;
    kc->server = all;
    struct server *s = &all[kc->n_server];
    *s = (struct server){.title = strdup(l->title)};
    s->tls = s->title
                 ? ll_tls_server_new(ll_slice_str(l->title), strcmp(l->kind, "submission") == 0)
                 : NULL;
    if (!s->tls) {
        free(s->title);
        return NULL;
    }
    kc->n_server++;
    give(kc, s);
    return s;
}

static int on_ticket_keys(struct ll_keeper_client *kc, const struct ll_m_ticket_keys *m)
{
    struct server *s = server_of(kc, m->listener);
    return s ? ll_tls_server_ticket_keys(s->tls, m->keys) : 0;
}

static int on_client_ca(struct ll_keeper_client *kc, const struct ll_m_client_ca *m)
{
    struct server *s = server_of(kc, m->listener);
    struct ll_tls_trust *t = NULL;
    struct ll_buf err = LL_BUF(512);
    if (!s || (m->pem.n == 0 && !s->client_ca))
        return 0;
    if (m->pem.n && !(t = ll_tls_trust_parse(m->pem, &err))) {
        ll_log(LL_LOG_ERROR, "client-ca", LL_F("listener", m->listener),
               LL_FS("why", ll_buf_str(&err)));
    } else {
        ll_tls_trust_free(s->client_ca);
        s->client_ca = t;
        set_clients(kc, s);
    }
    ll_buf_release(&err);
    return 0;
}

static void server_release(struct server *s)
{
    free(s->title);
    ll_tls_server_free(s->tls);
    ll_tls_trust_free(s->client_ca);
}

void ll_keeper_client_reconf(struct ll_keeper_client *kc)
{
    size_t k = 0;
    for (size_t i = 0; i < kc->n_server; i++) {
        struct server *s = &kc->server[i];
        if (!ll_conf_listener(kc->proc->conf, ll_slice_str(s->title))) {
            server_release(s);
            continue;
        }
        if (s->client_ca)
            set_clients(kc, s);
        kc->server[k++] = *s;
    }
    kc->n_server = k;
}

/* ---- the client
 * --------------------------------------------------------------------------------------- */

struct ll_keeper_client *ll_keeper_client_new(struct ll_proc *proc, void (*changed)(void *),
                                              void *arg)
{
    struct ll_keeper_client *kc = calloc(1, sizeof(*kc));
    if (!kc)
        return NULL;
    kc->proc = proc;
    kc->changed = changed;
    kc->arg = arg;
    return kc;
}

void ll_keeper_client_free(struct ll_keeper_client *kc)
{
    if (!kc)
        return;
    certs_release(&kc->now);
    certs_release(&kc->coming);
    for (size_t i = 0; i < kc->n_server; i++)
        server_release(&kc->server[i]);
    free(kc->server);
    free(kc);
}

void ll_keeper_client_up(struct ll_keeper_client *kc, struct ll_peer *keeper)
{
    kc->keeper = keeper;
}

void ll_keeper_client_down(struct ll_keeper_client *kc)
{
    kc->keeper = NULL;
    certs_release(&kc->coming);
    kc->gathering = false;
}

int ll_keeper_client_msg(struct ll_keeper_client *kc, struct ll_peer *peer, const struct ll_msg *m)
{
    if (peer->role != LL_ROLE_KEEPER)
        return -1;
    switch ((int)m->type) {
    case LL_MSG_CERTS_BEGIN:
        return on_begin(kc, &m->certs_begin);
    case LL_MSG_CERT:
        return on_cert(kc, &m->cert);
    case LL_MSG_TICKET_KEYS:
        return on_ticket_keys(kc, &m->ticket_keys);
    case LL_MSG_CLIENT_CA:
        return on_client_ca(kc, &m->client_ca);
    case LL_MSG_SIGN_ANSWER:
        return 0; /* it came after we had given up */
    default:
        return -1;
    }
}

bool ll_keeper_client_known(const struct ll_keeper_client *kc)
{
    return kc->known;
}

struct ll_tls_server *ll_keeper_client_server(struct ll_keeper_client *kc, struct ll_slice listener)
{
    struct server *s = kc->known ? server_of(kc, listener) : NULL;
    return s && ll_tls_server_ready(s->tls) ? s->tls : NULL;
}

struct ll_tls_cert *ll_keeper_client_cert(struct ll_keeper_client *kc, struct ll_slice title)
{
    for (size_t i = 0; i < kc->now.n; i++)
        if (ll_slice_caseeq(ll_slice_str(kc->now.list[i].title), title))
            return kc->now.list[i].cert;
    return NULL;
}
