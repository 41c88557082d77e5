/* See tool/client/stored.h. */
#include "tool/client/stored.h"

#include "letterlock/addr.h"

#include <sysexits.h>

static int fail(struct ll_stored *s, int status, const char *what, const char *why)
{
    if (s->err)
        ll_buf_printf(s->err, "%s%s%s\n", what, what[0] ? ": " : "", why);
    return status;
}

static int seal_failed(struct ll_stored *s, enum ll_seal_error e)
{
    return fail(s, e == LL_SEAL_RESOURCE ? EX_OSERR : EX_DATAERR, "the key", ll_seal_error_text(e));
}

static int store_failed(enum ll_keystore_result r)
{
    return r == LL_KEYSTORE_BUSY       ? EX_TEMPFAIL
           : r == LL_KEYSTORE_REFUSED  ? EX_NOPERM
           : r == LL_KEYSTORE_RESOURCE ? EX_OSERR
                                       : EX_UNAVAILABLE;
}

/* Puts a row, and notes what was put. */
static int put(struct ll_stored *s, const struct ll_keystore_key *key, struct ll_slice secret)
{
    struct ll_stored_key *v, *bigger;
    enum ll_keystore_result r;

    if (s->n == LL_STORED_MAX)
        return fail(s, EX_DATAERR, "", "more than 10000 keys at once");
    if (s->n == s->room) {
        bigger = ll_arena_alloc(s->arena, (s->room ? s->room * 2 : 8) * sizeof(*bigger));
        if (!bigger)
            return fail(s, EX_OSERR, "", "no memory");
        if (s->n > 0)
            memcpy(bigger, s->key, s->n * sizeof(*bigger));
        s->key = bigger;
        s->room = s->room ? s->room * 2 : 8;
    }
    v = &s->key[s->n];
    *v = (struct ll_stored_key){.key = *key, .secret = secret.n > 0};
    r = ll_keystore_put(s->store, key, secret, s->source, s->place, s->now, s->arena, &v->seen,
                        &v->other, s->err);
    if (r != LL_KEYSTORE_OK)
        return store_failed(r);
    s->n++;
    return 0;
}

/* The row of one fingerprint; n 0: none. */
static int known(struct ll_keystore *store, enum ll_seal_method kind, struct ll_slice fingerprint,
                 struct ll_arena *arena, struct ll_keystore_key **ret, size_t *ret_n,
                 struct ll_buf *err)
{
    struct ll_keystore_query q = {.kind = kind, .fingerprint = fingerprint};
    enum ll_keystore_result r = ll_keystore_list(store, &q, arena, ret, ret_n, err);

    return r == LL_KEYSTORE_OK || r == LL_KEYSTORE_NONE ? 0 : store_failed(r);
}

/* ---- OpenPGP
 * -------------------------------------------------------------------------------------- */

/* When letters can no longer be sealed to it: the last of its encryption parts, and not after the
 * primary key. */
static int64_t seals_until(const struct ll_pgp_key *k)
{
    int64_t last = -1;

    for (size_t i = 0; i < k->n_subkey; i++)
        if (k->subkey[i].can_encrypt && last != 0 &&
            (k->subkey[i].expires == 0 || k->subkey[i].expires > last))
            last = k->subkey[i].expires;
    if (last <= 0 || (k->expires && k->expires < last))
        return k->expires;
    return last;
}

static bool describe_pgp(const struct ll_pgp_key *k, struct ll_arena *arena,
                         struct ll_keystore_key *ret)
{
    ret->kind = LL_SEAL_PGP;
    ret->fingerprint = k->fingerprint;
    ret->created = k->created;
    ret->expires = seals_until(k);
    ret->revoked = k->revoked;
    ret->can_encrypt = k->can_encrypt;
    ret->address = ll_arena_alloc(arena, (k->n_user_id + 1) * sizeof(*ret->address));
    if (!ret->address)
        return false;
    for (size_t i = 0; i < k->n_user_id; i++) {
        const struct ll_pgp_user_id *u = &k->user_id[i];

        if (ret->name.n == 0 || u->primary)
            ret->name = u->octets;
        /* A revoked key keeps its addresses, so that it can be told of. */
        if (u->address.n > 0 && (u->valid || k->revoked))
            ret->address[ret->n_address++] = u->address;
    }
    return true;
}

int ll_stored_from_ring(struct ll_stored *s, struct ll_pgp *ring, struct ll_slice fingerprint)
{
    struct ll_buf octets = LL_BUF(LL_KEYSTORE_KEY_MAX), secret = LL_BUF(LL_KEYSTORE_KEY_MAX);
    struct ll_keystore_key key = {0};
    struct ll_pgp_key k;
    enum ll_seal_error e = ll_pgp_key(ring, fingerprint, s->now, s->arena, &k);
    int status;

    if (!e && !describe_pgp(&k, s->arena, &key))
        e = LL_SEAL_RESOURCE;
    if (!e)
        e = ll_pgp_export(ring, fingerprint, LL_PGP_PUBLIC, false, LL_LIT(""), &octets);
    if (!e && (k.secret || k.elsewhere) && s->only.n == 0)
        e = ll_pgp_export(ring, fingerprint, LL_PGP_SECRET, false, LL_LIT(""), &secret);
    key.octets = ll_buf_slice(&octets);
    key.whole = s->only.n == 0;
    if (s->only.n > 0) { /* what else the stored octets hold is not what was found now */
        key.address = &s->only;
        key.n_address = 1;
    }
    status = e ? seal_failed(s, e) : put(s, &key, ll_buf_slice(&secret));
    ll_buf_release(&octets);
    ll_buf_wipe(&secret);
    return status;
}

/* One key of what came: cut down to the address where there is one, joined with what is stored. */
static int join_pgp(struct ll_stored *s, struct ll_pgp *came, struct ll_slice fingerprint)
{
    struct ll_buf octets = LL_BUF(LL_KEYSTORE_KEY_MAX);
    struct ll_pgp *ring = ll_pgp_new();
    struct ll_slice *prints;
    struct ll_keystore_key *old;
    enum ll_pgp_form form = LL_PGP_PUBLIC;
    enum ll_seal_error e = LL_SEAL_OK;
    struct ll_pgp_key k;
    size_t n = 0, n_old = 0;
    int status = ring ? 0 : EX_OSERR;

    if (s->only.n > 0 && ll_pgp_keep_address(came, fingerprint, s->only, s->now) != LL_SEAL_OK) {
        s->left_out++;
        ll_pgp_free(ring);
        return 0;
    }
    if (s->only.n == 0 && ll_pgp_key(came, fingerprint, s->now, s->arena, &k) == LL_SEAL_OK &&
        (k.secret || k.elsewhere))
        form = LL_PGP_SECRET;
    if (!status)
        status = known(s->store, LL_SEAL_PGP, fingerprint, s->arena, &old, &n_old, s->err);
    if (!status && n_old > 0)
        status = ll_stored_load_pgp(s->store, old, s->only.n == 0, s->now, ring, s->arena, s->err);
    if (!status)
        e = ll_pgp_export(came, fingerprint, form, false, LL_LIT(""), &octets);
    if (!status && !e)
        e = ll_pgp_import(ring, ll_buf_slice(&octets), s->now, s->arena, &prints, &n);
    if (!status)
        status = e ? seal_failed(s, e) : ll_stored_from_ring(s, ring, fingerprint);
    ll_buf_wipe(&octets);
    ll_pgp_free(ring);
    return status;
}

/* A file of revocations changes keys that are here; it has none of its own. */
static int revoke_known(struct ll_stored *s, struct ll_slice octets)
{
    struct ll_keystore_query q = {.kind = LL_SEAL_PGP};
    struct ll_pgp *ring = ll_pgp_new();
    struct ll_keystore_key *all;
    struct ll_slice *prints;
    enum ll_seal_error e;
    size_t n_all, n = 0;
    int status = ring ? 0 : EX_OSERR;

    if (ll_keystore_list(s->store, &q, s->arena, &all, &n_all, s->err) != LL_KEYSTORE_OK)
        n_all = 0;
    for (size_t i = 0; !status && i < n_all; i++)
        status = ll_stored_load_pgp(s->store, &all[i], true, s->now, ring, s->arena, s->err);
    if (!status) {
        e = ll_pgp_import(ring, octets, s->now, s->arena, &prints, &n);
        if (e)
            status = seal_failed(s, e);
    }
    for (size_t i = 0; !status && i < n; i++)
        status = ll_stored_from_ring(s, ring, prints[i]);
    ll_pgp_free(ring);
    return status;
}

int ll_stored_pgp(struct ll_stored *s, struct ll_slice octets)
{
    struct ll_pgp *came = ll_pgp_new();
    struct ll_slice *prints;
    enum ll_seal_error e;
    size_t n = 0;
    int status = 0;

    if (!came)
        return fail(s, EX_OSERR, "", "no memory");
    e = ll_pgp_import(came, octets, s->now, s->arena, &prints, &n);
    if (e == LL_SEAL_MALFORMED && s->only.n == 0)
        status = revoke_known(s, octets);
    else if (e)
        status = seal_failed(s, e);
    for (size_t i = 0; !e && !status && i < n; i++)
        status = join_pgp(s, came, prints[i]);
    ll_pgp_free(came);
    return status;
}

int ll_stored_load_pgp(struct ll_keystore *store, const struct ll_keystore_key *key, bool secret,
                       int64_t now, struct ll_pgp *ring, struct ll_arena *arena, struct ll_buf *err)
{
    struct ll_stored s = {.err = err};
    struct ll_buf octets = LL_BUF(LL_KEYSTORE_KEY_MAX);
    struct ll_slice *prints;
    enum ll_seal_error e = ll_pgp_import(ring, key->octets, now, arena, &prints, &(size_t){0});
    enum ll_keystore_result r = LL_KEYSTORE_OK;

    if (!e && secret && key->own) {
        r = ll_keystore_secret(store, LL_SEAL_PGP, key->fingerprint, &octets, err);
        if (r == LL_KEYSTORE_OK)
            e = ll_pgp_import(ring, ll_buf_slice(&octets), now, arena, &prints, &(size_t){0});
    }
    ll_buf_wipe(&octets);
    return r != LL_KEYSTORE_OK ? store_failed(r) : e ? seal_failed(&s, e) : 0;
}

/* ---- S/MIME
 * --------------------------------------------------------------------------------------- */

static bool describe_cert(const struct ll_smime_cert *c, struct ll_keystore_key *ret)
{
    *ret = (struct ll_keystore_key){
        .kind = LL_SEAL_SMIME,
        .fingerprint = c->fingerprint,
        .octets = c->der,
        .name = c->name.n > 0 ? c->name : c->subject,
        .address = c->address,
        .n_address = c->n_address,
        .whole = true,
        .created = c->not_before,
        .expires = c->not_after,
        .ca = c->ca,
        .can_encrypt = c->can_encrypt,
    };
    return true;
}

static bool speaks_for(const struct ll_smime_cert *c, struct ll_slice address)
{
    struct ll_mailbox wanted, m;

    if (ll_mailbox_parse(address, true, &wanted) != LL_ADDR_OK)
        return false;
    for (size_t i = 0; i < c->n_address; i++)
        if (ll_mailbox_parse(c->address[i], true, &m) == LL_ADDR_OK && ll_mailbox_same(&m, &wanted))
            return true;
    return false;
}

int ll_stored_from_smime(struct ll_stored *s, struct ll_smime *in, struct ll_slice fingerprint,
                         struct ll_slice password)
{
    struct ll_buf secret = LL_BUF(LL_KEYSTORE_KEY_MAX);
    struct ll_keystore_key key;
    struct ll_smime_cert c;
    enum ll_seal_error e = ll_smime_cert(in, fingerprint, s->arena, &c);
    int status;

    if (!e && s->only.n > 0 && !c.ca && !speaks_for(&c, s->only)) {
        s->left_out++;
        return 0;
    }
    if (!e && c.secret && s->only.n == 0)
        e = ll_smime_export(in, fingerprint, LL_SMIME_IDENTITY, password, &secret);
    if (!e)
        describe_cert(&c, &key);
    status = e ? seal_failed(s, e) : put(s, &key, ll_buf_slice(&secret));
    ll_buf_wipe(&secret);
    return status;
}

static int put_all(struct ll_stored *s, struct ll_smime *in, struct ll_slice password)
{
    struct ll_slice *prints;
    enum ll_seal_error e;
    size_t n = 0;
    int status = 0;

    e = ll_smime_list(in, LL_LIT(""), s->arena, &prints, &n);
    for (size_t i = 0; !e && !status && i < n; i++)
        status = ll_stored_from_smime(s, in, prints[i], password);
    return e ? seal_failed(s, e) : status;
}

int ll_stored_certs(struct ll_stored *s, struct ll_slice octets)
{
    struct ll_smime *in = ll_smime_new();
    enum ll_seal_error e =
        in ? ll_smime_add_cert(in, octets, s->arena, NULL, NULL) : LL_SEAL_RESOURCE;
    int status = e ? seal_failed(s, e) : put_all(s, in, LL_LIT(""));

    ll_smime_free(in);
    return status;
}

int ll_stored_identity(struct ll_stored *s, struct ll_slice octets, bool pkcs12,
                       struct ll_slice password)
{
    struct ll_smime *in = ll_smime_new();
    enum ll_seal_error e = in ? LL_SEAL_OK : LL_SEAL_RESOURCE;
    struct ll_slice *prints, print;
    size_t n = 0;
    int status;

    if (!e && pkcs12)
        e = ll_smime_add_pkcs12(in, octets, password, s->arena, &prints, &n);
    else if (!e)
        e = ll_smime_add_key(in, octets, password, s->arena, &print);
    status = e ? seal_failed(s, e) : put_all(s, in, password);
    ll_smime_free(in);
    return status;
}

int ll_stored_load_cas(struct ll_keystore *store, struct ll_smime *in, struct ll_arena *arena,
                       struct ll_buf *err)
{
    struct ll_keystore_query q = {.kind = LL_SEAL_SMIME, .ca = true};
    struct ll_keystore_key *v;
    size_t n = 0;
    enum ll_keystore_result r = ll_keystore_list(store, &q, arena, &v, &n, err);

    if (r != LL_KEYSTORE_OK && r != LL_KEYSTORE_NONE)
        return store_failed(r);
    for (size_t i = 0; i < n; i++) {
        if (v[i].trust == LL_KEYSTORE_VERIFIED)
            ll_smime_add_anchor(in, v[i].octets, NULL);
        else if (v[i].trust != LL_KEYSTORE_REJECTED)
            ll_smime_add_cert(in, v[i].octets, arena, NULL, NULL);
    }
    return 0;
}

int ll_stored_load_smime(struct ll_keystore *store, const struct ll_keystore_key *key, bool secret,
                         struct ll_smime *in, struct ll_arena *arena, struct ll_buf *err)
{
    struct ll_stored s = {.err = err};
    struct ll_buf octets = LL_BUF(LL_KEYSTORE_KEY_MAX);
    enum ll_keystore_result r = LL_KEYSTORE_OK;
    enum ll_seal_error e = ll_smime_add_cert(in, key->octets, arena, NULL, NULL);

    if (!e && (key->own || key->trust == LL_KEYSTORE_VERIFIED))
        e = ll_smime_pin(in, key->fingerprint);
    if (!e && key->capabilities.n > 0)
        ll_smime_set_capabilities(in, key->fingerprint, key->capabilities);
    if (!e && secret && key->own) {
        r = ll_keystore_secret(store, LL_SEAL_SMIME, key->fingerprint, &octets, err);
        if (r == LL_KEYSTORE_OK)
            e = ll_smime_add_key(in, ll_buf_slice(&octets), LL_LIT(""), arena, NULL);
    }
    ll_buf_wipe(&octets);
    return r != LL_KEYSTORE_OK ? store_failed(r) : e ? seal_failed(&s, e) : 0;
}
