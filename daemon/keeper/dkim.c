/* See dkim.h. */
#include "daemon/keeper/dkim.h"

#include <stdlib.h>
#include <openssl/evp.h>

#include "daemon/keeper/dkim_check.h"
#include "daemon/keeper/load.h"
#include "io/dkim_keys.h"

struct ll_dkim_store {
    struct ll_dkim_table table;
    EVP_PKEY **key; /* of each entry */
};

void ll_dkim_store_free(struct ll_dkim_store *s)
{
    if (!s)
        return;
    for (size_t i = 0; s->key && i < s->table.n; i++)
        EVP_PKEY_free(s->key[i]);
    free(s->key);
    ll_dkim_table_release(&s->table);
    free(s);
}

static bool load_key(const struct ll_conf *conf, const struct ll_dkim_entry *e, EVP_PKEY **ret,
                     struct ll_buf *err)
{
    struct ll_buf path = LL_BUF(4096), sample = LL_BUF(LL_DKIM_SIGNATURE_ROOM);
    enum ll_dkim_algorithm algorithm;
    unsigned bits;
    bool ok = ll_dkim_key_path(conf, e, &path) && ll_buf_str(&path);

    *ret = ok ? ll_key_read(e->domain.text, (const char *)path.p, err) : NULL;
    ok = *ret != NULL;
    if (ok && (!ll_dkim_key_algorithm(*ret, &algorithm, &bits) || algorithm != e->algorithm)) {
        ll_buf_printf(err, "%s: not a key for %s\n", (const char *)path.p,
                      ll_dkim_algorithm_name(e->algorithm));
        ok = false;
    }
    /* The first signature, made before the sandbox shuts. */
    ok = ok && ll_dkim_key_sign(*ret, LL_LIT("warm"), &sample);
    ll_buf_release(&path);
    ll_buf_release(&sample);
    return ok;
}

struct ll_dkim_store *ll_dkim_store_load(const struct ll_conf *conf, struct ll_buf *err)
{
    struct ll_dkim_store *s = calloc(1, sizeof(*s));
    bool ok = s && ll_dkim_table_load(conf, &s->table, err);

    if (ok) {
        s->key = calloc(s->table.n + 1, sizeof(EVP_PKEY *));
        ok = s->key != NULL;
    }
    for (size_t i = 0; ok && i < s->table.n; i++)
        ok = load_key(conf, &s->table.entry[i], &s->key[i], err);
    if (ok)
        return s;
    ll_dkim_store_free(s);
    return NULL;
}

size_t ll_dkim_store_count(const struct ll_dkim_store *s)
{
    return s->table.n;
}

void ll_dkim_store_send(const struct ll_dkim_store *s, struct ll_peer *to)
{
    struct ll_buf keys = LL_BUF(LL_IPC_FRAME_MAX - 256);
    struct ll_msg m = {.type = LL_MSG_DKIM_KEYS, .fd = -1};

    for (size_t i = 0; i < s->table.n; i++)
        ll_dkim_entry_encode(&s->table.entry[i], &keys);
    m.dkim_keys.keys = ll_buf_slice(&keys);
    if (!keys.failed)
        ll_msg_send(to->ipc, &m);
    ll_buf_release(&keys);
}

/* One of our domains, or our own host: for reports. */
static bool is_ours(const struct ll_conf *conf, struct ll_slice domain)
{
    return ll_conf_domain(conf, domain) || ll_slice_caseeq(domain, ll_slice_str(conf->hostname));
}

static const char *letter_fault(const struct ll_conf *conf, const struct ll_dkim_claim *claim,
                                struct ll_slice text, struct ll_arena *arena)
{
    struct ll_slice author;
    const char *fault = ll_dkim_text_fault(text, claim, arena, &author);

    return fault ? fault : !is_ours(conf, author) ? "From is in no domain of this server" : NULL;
}

const char *ll_dkim_store_sign(const struct ll_dkim_store *s, const struct ll_conf *conf,
                               int64_t now, enum ll_role asker, const struct ll_m_dkim_ask *ask,
                               struct ll_buf *signature)
{
    const char *fault = "no such key, or it does not sign now";
    struct ll_arena arena;

    ll_arena_init(&arena, 1u << 20);
    for (size_t i = 0; i < s->table.n; i++) {
        const struct ll_dkim_entry *e = &s->table.entry[i];
        struct ll_dkim_claim claim = {ll_dns_name_slice(&e->domain),
                                      ll_dns_name_slice(&e->selector), e->algorithm};

        if (!ll_slice_eq(claim.domain, ask->domain) ||
            !ll_slice_eq(claim.selector, ask->selector) || !ll_dkim_signs(e, now))
            continue;
        fault = letter_fault(conf, &claim, ask->text, &arena);
        /* Post seals what aliases send outside, where it is to. */
        if (fault && asker == LL_ROLE_POST &&
            ll_slice_caseeq(claim.domain, ll_slice_str(conf->arc_seal)))
            fault = ll_arc_text_fault(ask->text, &claim);
        if (!fault && !ll_dkim_key_sign(s->key[i], ask->text, signature))
            fault = "OpenSSL could not sign";
        break;
    }
    ll_arena_release(&arena);
    return fault;
}
