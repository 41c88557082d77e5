/* See dkim_client.h. */
#include "daemon/dkim_client.h"

#include <stdlib.h>

#include "io/log.h"
#include "letterlock/addr.h"
#include "letterlock/msg.h"

struct ll_dkim_client {
    struct ll_proc *proc;
    struct ll_peer *keeper; /* NULL while it is away */
    struct ll_dkim_table keys;
    bool known; /* the keeper has told them */
};

struct ll_dkim_signing {
    struct ll_dkim_client *client;
    struct ll_dkim_letter *letter;
    struct ll_dkim_signer *signer[LL_DKIM_SIGNERS_MAX];
    size_t n;
    int64_t now;
    bool ready;
    bool failed;
};

/* ---- the keys -----------------------------------------------------------------------------------
 */

struct ll_dkim_client *ll_dkim_client_new(struct ll_proc *proc)
{
    struct ll_dkim_client *c = calloc(1, sizeof(*c));

    if (c)
        c->proc = proc;
    return c;
}

void ll_dkim_client_free(struct ll_dkim_client *c)
{
    if (!c)
        return;
    ll_dkim_table_release(&c->keys);
    free(c);
}

void ll_dkim_client_up(struct ll_dkim_client *c, struct ll_peer *keeper)
{
    c->keeper = keeper;
}

void ll_dkim_client_down(struct ll_dkim_client *c)
{
    c->keeper = NULL;
}

static int take_keys(struct ll_dkim_client *c, struct ll_slice keys)
{
    struct ll_dkim_table t = {.entry = calloc(LL_DKIM_TABLE_MAX, sizeof(*t.entry))};
    struct ll_cursor in = ll_cursor(keys);

    if (!t.entry)
        return 0; /* the old ones stay */
    while (ll_cur_left(&in) > 0) {
        if (t.n == LL_DKIM_TABLE_MAX || !ll_dkim_entry_decode(&in, &t.entry[t.n])) {
            free(t.entry);
            return -1;
        }
        t.n++;
    }
    ll_dkim_table_release(&c->keys);
    c->keys = t;
    c->known = true;
    return 0;
}

int ll_dkim_client_msg(struct ll_dkim_client *c, struct ll_peer *peer, const struct ll_msg *m)
{
    if (peer->role != LL_ROLE_KEEPER)
        return -1;
    if (m->type == LL_MSG_DKIM_KEYS)
        return take_keys(c, m->dkim_keys.keys);
    return m->type == LL_MSG_DKIM_ANSWER ? 0 : -1; /* one that came after we had given up */
}

bool ll_dkim_client_known(const struct ll_dkim_client *c)
{
    return c->known;
}

bool ll_dkim_client_signs(const struct ll_dkim_client *c)
{
    return c->keys.n > 0;
}

bool ll_dkim_client_key(const struct ll_dkim_client *c, struct ll_slice domain, int64_t now,
                        struct ll_dkim_entry *ret)
{
    bool found = false;

    for (size_t i = 0; i < c->keys.n; i++) {
        const struct ll_dkim_entry *e = &c->keys.entry[i];

        if (!ll_dkim_signs(e, now) || !ll_dns_name_eq(ll_dns_name_slice(&e->domain), domain) ||
            (found && e->algorithm != LL_DKIM_RSA))
            continue;
        *ret = *e;
        found = true;
    }
    return found;
}

/* ---- a letter -----------------------------------------------------------------------------------
 */

struct ll_dkim_signing *ll_dkim_signing_new(struct ll_dkim_client *c, int64_t now)
{
    struct ll_dkim_signing *s;

    if (!ll_dkim_client_signs(c))
        return NULL;
    s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->client = c;
    s->now = now;
    s->letter = ll_dkim_letter_new();
    if (!s->letter) {
        free(s);
        return NULL;
    }
    return s;
}

void ll_dkim_signing_free(struct ll_dkim_signing *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n; i++)
        ll_dkim_signer_free(s->signer[i]);
    ll_dkim_letter_free(s->letter);
    free(s);
}

/* The author's domain in A-labels; false: there is no one author, or none with a domain. */
static bool author_domain(struct ll_slice header, struct ll_buf *out)
{
    struct ll_slice spec;
    struct ll_arena arena;
    bool ok;

    ll_arena_init(&arena, 1u << 20);
    ok = ll_msg_author(header, &arena, &spec) == LL_MSG_OK &&
         ll_domain_canonical(ll_slice_skip(spec, ll_slice_rfind(spec, '@') + 1), true, out) ==
             LL_ADDR_OK;
    ll_arena_release(&arena);
    return ok;
}

static bool has_key(const struct ll_dkim_signing *s, struct ll_slice domain)
{
    const struct ll_dkim_table *t = &s->client->keys;

    for (size_t i = 0; i < t->n; i++)
        if (ll_dkim_signs(&t->entry[i], s->now) &&
            ll_dns_name_eq(ll_dns_name_slice(&t->entry[i].domain), domain))
            return true;
    return false;
}

static void make_signers(struct ll_dkim_signing *s)
{
    const struct ll_dkim_table *t = &s->client->keys;
    struct ll_buf author = LL_BUF(LL_DNS_NAME_MAX + 2);
    struct ll_slice domain = {0};

    s->ready = true;
    if (author_domain(ll_dkim_letter_header(s->letter), &author))
        domain = ll_buf_slice(&author);
    while (domain.n > 0 && !has_key(s, domain))
        domain = ll_slice_skip(domain, ll_slice_find(domain, '.') + 1);
    for (size_t i = 0; domain.n > 0 && i < t->n && s->n < LL_DKIM_SIGNERS_MAX; i++) {
        const struct ll_dkim_entry *e = &t->entry[i];
        struct ll_dkim_sign_options how = {.domain = ll_dns_name_slice(&e->domain),
                                           .selector = ll_dns_name_slice(&e->selector),
                                           .algorithm = e->algorithm,
                                           .header = LL_DKIM_RELAXED,
                                           .body = LL_DKIM_RELAXED,
                                           .now = s->now,
                                           .expire_s = LL_DKIM_EXPIRE_S};

        if (!ll_dkim_signs(e, s->now) || !ll_dns_name_eq(how.domain, domain))
            continue;
        s->signer[s->n] = ll_dkim_signer_new(s->letter, &how);
        s->failed = s->failed || !s->signer[s->n];
        s->n += s->signer[s->n] != NULL;
    }
    ll_buf_release(&author);
}

void ll_dkim_signing_feed(struct ll_dkim_signing *s, struct ll_slice in)
{
    while (in.n > 0) {
        in = ll_slice_skip(in, ll_dkim_letter_feed(s->letter, in));
        if (!s->ready && ll_dkim_letter_ready(s->letter))
            make_signers(s);
    }
}

bool ll_dkim_client_sign(struct ll_dkim_client *c, const struct ll_need *need,
                         struct ll_buf *signature)
{
    struct ll_buf body = LL_BUF(LL_IPC_FRAME_MAX), out = LL_BUF(LL_IPC_FRAME_MAX);
    struct ll_msg m = {.type = LL_MSG_DKIM_ASK, .fd = -1};
    int type = -1;
    bool ok;

    m.id = ll_proc_id(c->proc);
    m.dkim_ask.domain = ll_dns_name_slice(&need->sign.domain);
    m.dkim_ask.selector = ll_dns_name_slice(&need->sign.selector);
    m.dkim_ask.text = need->sign.text;
    ll_msg_encode(&m, &body);
    if (c->keeper && !body.failed)
        type = ll_ipc_call(c->keeper->ipc, LL_MSG_DKIM_ASK, m.id, ll_buf_slice(&body),
                           LL_DKIM_TIMEOUT_MS, &out);
    struct ll_frame f = {.type = (uint16_t)type, .id = m.id, .body = ll_buf_slice(&out), .fd = -1};
    ok = type == LL_MSG_DKIM_ANSWER && ll_msg_decode(&f, LL_ROLE_KEEPER, c->proc->role, &m) == 0 &&
         m.dkim_answer.signature.n > 0;
    if (ok)
        ll_buf_put_slice(signature, m.dkim_answer.signature);
    ll_buf_release(&body);
    ll_buf_release(&out);
    return ok;
}

static bool sign_one(struct ll_dkim_signing *s, struct ll_dkim_signer *signer, struct ll_buf *out)
{
    struct ll_buf signature = LL_BUF(LL_DKIM_SIGNATURE_ROOM);
    struct ll_need need;
    bool ok =
        ll_dkim_signer_need(signer, &need) && ll_dkim_client_sign(s->client, &need, &signature);

    if (ok) {
        ll_dkim_signer_answer(
            signer, &(struct ll_need_answer){.id = need.id, .signature = ll_buf_slice(&signature)});
        ok = ll_dkim_signer_field(signer, out);
    }
    ll_buf_release(&signature);
    return ok;
}

bool ll_dkim_signing_finish(struct ll_dkim_signing *s, struct ll_buf *out)
{
    size_t before = out->n;

    ll_dkim_letter_end(s->letter);
    if (!s->ready)
        make_signers(s);
    for (size_t i = 0; i < s->n && !s->failed; i++)
        s->failed = !sign_one(s, s->signer[i], out);
    if (s->failed || out->failed) {
        out->n = before;
        ll_log(LL_LOG_ERROR, "dkim-unsigned",
               LL_FS("why",
                     s->client->keeper ? "the keeper refused, or is slow" : "the keeper is away"));
    }
    return !s->failed && !out->failed;
}
