/* See tool/read/ring.h. */
#include "tool/read/ring.h"

#include "letterlock/addr.h"
#include "tool/client/stored.h"
#include "tool/read/read.h"
#include "tool/tool.h"

/* ---- loading ------------------------------------------------------------------------------------
 */

/* A key that cannot be used is passed over: the letter may need another one. */
static void load_key(struct ll_ring *r, struct ll_keystore *store, const struct ll_keystore_key *k)
{
    struct ll_buf err = LL_BUF(1024);
    struct ll_slice why;
    int status = k->kind == LL_SEAL_PGP
                     ? ll_stored_load_pgp(store, k, true, r->now, r->pgp, &r->arena, &err)
                     : ll_stored_load_smime(store, k, true, r->smime, &r->arena, &err);

    why = ll_slice_cut(ll_buf_slice(&err), 0, ll_slice_find(ll_buf_slice(&err), '\n'));
    if (status != 0 && k->own)
        ll_fail(0, "warning: your key %.*s is not used: %.*s", LL_FMT(k->fingerprint), LL_FMT(why));
    ll_buf_release(&err);
}

static int load_store(struct ll_ring *r, struct ll_keystore *store)
{
    const struct ll_keystore_query all = {.any_ca = true};
    struct ll_buf err = LL_BUF(1024);
    enum ll_keystore_result e = ll_keystore_list(store, &all, &r->arena, &r->key, &r->n, &err);
    int status = 0;

    if (e != LL_KEYSTORE_OK && e != LL_KEYSTORE_NONE)
        status = ll_fail_text(e == LL_KEYSTORE_BUSY ? EX_TEMPFAIL : EX_UNAVAILABLE, &err);
    else if (ll_stored_load_cas(store, r->smime, &r->arena, &err) != 0)
        status = ll_fail_text(EX_UNAVAILABLE, &err);
    for (size_t i = 0; status == 0 && i < r->n; i++)
        if (!r->key[i].ca)
            load_key(r, store, &r->key[i]);
    ll_buf_release(&err);
    return status;
}

int ll_ring_load(struct ll_ring *r, struct ll_keystore *store, const struct ll_words *anchors,
                 int64_t now)
{
    int status = 0;

    *r = (struct ll_ring){.pgp = ll_pgp_new(), .smime = ll_smime_new(), .now = now};
    ll_arena_init(&r->arena, LL_RING_ROOM);
    if (!r->pgp || !r->smime)
        return ll_fail(EX_OSERR, "no memory for keys");
    for (size_t i = 0; status == 0 && i < anchors->n; i++) {
        struct ll_buf file = LL_BUF(LL_SMIME_FILE_MAX);

        status = ll_read_file(anchors->v[i], &file);
        if (status == 0 && ll_smime_add_anchor(r->smime, ll_buf_slice(&file), NULL) != LL_SEAL_OK)
            status = ll_fail(EX_DATAERR, "%s: no certificate in it; write PEM", anchors->v[i]);
        ll_buf_release(&file);
    }
    return status == 0 && store ? load_store(r, store) : status;
}

void ll_ring_release(struct ll_ring *r)
{
    ll_pgp_free(r->pgp);
    ll_smime_free(r->smime);
    ll_arena_release(&r->arena);
}

/* ---- what is known ----------------------------------------------------------------------------
 */

static bool canonical(struct ll_slice address, struct ll_buf *out)
{
    return ll_keystore_address(address, out);
}

/* The address is one of the first n of the key. */
static bool speaks(const struct ll_keystore_key *k, struct ll_slice address, size_t n)
{
    struct ll_buf a = LL_BUF(LL_MAILBOX_MAX + 1);
    bool found = false;

    if (canonical(address, &a))
        for (size_t i = 0; i < n && i < k->n_address && !found; i++)
            found = ll_slice_eq(k->address[i], ll_buf_slice(&a));
    ll_buf_release(&a);
    return found;
}

bool ll_ring_speaks(const struct ll_keystore_key *k, struct ll_slice address)
{
    return speaks(k, address, k->n_address);
}

const struct ll_keystore_key *ll_ring_key(const struct ll_ring *r, enum ll_seal_method method,
                                          struct ll_slice fingerprint)
{
    for (size_t i = 0; fingerprint.n > 0 && i < r->n; i++)
        if (r->key[i].kind == method && ll_slice_caseeq(r->key[i].fingerprint, fingerprint))
            return &r->key[i];
    return NULL;
}

const struct ll_keystore_key *ll_ring_other(const struct ll_ring *r, enum ll_seal_method method,
                                            struct ll_slice fingerprint, struct ll_slice address)
{
    const struct ll_keystore_key *this = ll_ring_key(r, method, fingerprint);

    for (size_t i = 0; i < r->n; i++) {
        const struct ll_keystore_key *k = &r->key[i];

        if (k->kind == method && k != this && k->trust != LL_KEYSTORE_REJECTED && !k->ca &&
            ll_ring_speaks(k, address) &&
            (!this || k->trust == LL_KEYSTORE_VERIFIED || k->first_seen < this->first_seen))
            return k;
    }
    return NULL;
}

/* Is the author's address also that of somebody else's key, verified or known before this one? Then
 * a secret key that came in a file is as likely a trap: whoever made the file has it too. */
static bool is_others(const struct ll_ring *r, const struct ll_keystore_key *own,
                      struct ll_slice author)
{
    for (size_t i = 0; i < r->n; i++) {
        const struct ll_keystore_key *k = &r->key[i];

        if (k->kind == own->kind && !k->own && !k->ca && k->trust != LL_KEYSTORE_REJECTED &&
            ll_ring_speaks(k, author) &&
            (k->trust == LL_KEYSTORE_VERIFIED || k->first_seen < own->first_seen))
            return true;
    }
    return false;
}

/* Letters that were read in one go are one meeting. */
#define SEEN_S 60

enum ll_unseal_trust ll_ring_trust(const struct ll_ring *r, enum ll_seal_method method,
                                   const struct ll_signature *g, struct ll_slice author)
{
    const struct ll_keystore_key *k = ll_ring_key(r, method, g->fingerprint);
    bool vouched = k && k->trust == LL_KEYSTORE_VERIFIED && speaks(k, author, k->n_vouched);

    if (k && k->trust == LL_KEYSTORE_REJECTED)
        return LL_UNSEAL_TRUST_REJECTED;
    if (k && k->own && (vouched || author.n == 0 || !is_others(r, k, author)))
        return LL_UNSEAL_TRUST_OWN;
    if (vouched)
        return LL_UNSEAL_TRUST_VERIFIED;
    if (method == LL_SEAL_SMIME && g->state == LL_SIGNATURE_GOOD &&
        !(k && (k->own || k->trust == LL_KEYSTORE_VERIFIED))) /* pinned: no authority's word */
        return LL_UNSEAL_TRUST_CERTIFIED;
    if (author.n > 0 && ll_ring_other(r, method, g->fingerprint, author))
        return LL_UNSEAL_TRUST_CHANGED;
    if (k && r->now - k->first_seen > SEEN_S)
        return LL_UNSEAL_TRUST_SEEN;
    return LL_UNSEAL_TRUST_FOUND;
}

/* ---- answers ------------------------------------------------------------------------------------
 */

static enum ll_seal_error unlock(struct ll_ring *r, enum ll_seal_method method,
                                 struct ll_slice fingerprint, struct ll_slice password)
{
    return method == LL_SEAL_PGP ? ll_pgp_unlock(r->pgp, fingerprint, password)
                                 : ll_smime_unlock(r->smime, fingerprint, password);
}

/* A recipient's key id is that of a part of the key, or hidden. */
static bool names_key(struct ll_slice id, const struct ll_pgp_key *key)
{
    if (ll_slice_caseeq(id, key->key_id) || ll_slice_eq(id, LL_LIT("0000000000000000")))
        return true;
    for (size_t j = 0; j < key->n_subkey; j++)
        if (ll_slice_caseeq(id, key->subkey[j].key_id))
            return true;
    return false;
}

/* Is this locked key a recipient of the letter? OpenPGP names key ids; a hidden one is zeros, and
 * then any key may be meant. S/MIME has seldom more than one. */
static bool is_wanted(struct ll_ring *r, const struct ll_keystore_key *k, struct ll_arena *arena,
                      const struct ll_opened *opened)
{
    struct ll_smime_cert cert;
    struct ll_pgp_key key;

    if (k->kind == LL_SEAL_SMIME)
        return ll_smime_cert(r->smime, k->fingerprint, arena, &cert) == LL_SEAL_OK && cert.locked;
    if (ll_pgp_key(r->pgp, k->fingerprint, r->now, arena, &key) != LL_SEAL_OK || !key.locked)
        return false;
    for (size_t i = 0; i < opened->n_recipient; i++)
        if (names_key(opened->recipient[i], &key))
            return true;
    return opened->n_recipient == 0;
}

/* Asks for the passwords of the keys that may open it. OK: one more is open now. */
static enum ll_seal_error ask_password(struct ll_ring *r, struct ll_box *box,
                                       enum ll_seal_method method, struct ll_arena *arena,
                                       const struct ll_opened *opened)
{
    struct ll_buf answer = LL_BUF(LL_PASSWORD_ROOM), frame = LL_BUF(4096);
    enum ll_seal_error e = LL_SEAL_LOCKED;

    ll_buf_room(&answer, LL_PASSWORD_ROOM); /* never moved, so never left behind unwiped */
    for (size_t i = 0; i < r->n && e != LL_SEAL_OK; i++) {
        struct ll_keystore_key *k = &r->key[i];

        if (!k->own || k->kind != method || !is_wanted(r, k, arena, opened))
            continue;
        ll_buf_clear(&frame);
        ll_buf_clear(&answer);
        ll_buf_u8(&frame, (uint8_t)method);
        ll_buf_str16(&frame, k->fingerprint);
        ll_buf_str16(&frame, ll_slice_cut(k->name, 0, 1024));
        if (ll_box_ask(box, LL_READ_PASSWORD, ll_buf_slice(&frame), &answer) && answer.n > 1 &&
            answer.p[0] == 1)
            e = unlock(r, method, k->fingerprint, ll_slice_skip(ll_buf_slice(&answer), 1));
    }
    ll_buf_wipe(&answer);
    ll_buf_release(&frame);
    return e;
}

/* Is a recipient of the letter one of our keys that are on cards? */
static bool is_on_card(struct ll_ring *r, struct ll_arena *arena, const struct ll_opened *opened)
{
    for (size_t i = 0; i < r->n; i++) {
        struct ll_pgp_key key;

        if (!r->key[i].own || r->key[i].kind != LL_SEAL_PGP ||
            ll_pgp_key(r->pgp, r->key[i].fingerprint, r->now, arena, &key) != LL_SEAL_OK ||
            !key.elsewhere)
            continue;
        for (size_t k = 0; k < opened->n_recipient; k++)
            if (names_key(opened->recipient[k], &key))
                return true;
    }
    return false;
}

/* The session key comes from the card, by way of the process outside; the letter stays here. */
static enum ll_seal_error ask_card(struct ll_ring *r, struct ll_box *box,
                                   const struct ll_unseal_ask *ask, struct ll_arena *arena,
                                   struct ll_unseal_answer *a)
{
    struct ll_buf packets = LL_BUF(LL_BOX_FRAME_MAX), key = LL_BUF(LL_READ_SESSION_MAX);
    enum ll_seal_error e = ll_pgp_session_packets(ask->text, &packets);

    ll_buf_room(&key, LL_READ_SESSION_MAX); /* never moved, so never left behind unwiped */
    if (!e && (!ll_box_ask(box, LL_READ_SESSION, ll_buf_slice(&packets), &key) || key.n < 2 ||
               key.p[0] != 1))
        e = LL_SEAL_NO_KEY;
    if (!e)
        e = ll_pgp_open_session(r->pgp, ask->text, ll_slice_skip(ll_buf_slice(&key), 1), r->now,
                                a->plain, arena, &a->opened);
    ll_buf_wipe(&key);
    ll_buf_release(&packets);
    return e;
}

static enum ll_seal_error ask_engine(struct ll_ring *r, enum ll_unseal_question q,
                                     const struct ll_unseal_ask *ask, struct ll_arena *arena,
                                     struct ll_unseal_answer *a)
{
    a->opened = (struct ll_opened){0};
    switch (q) {
    case LL_UNSEAL_OPEN_PGP:
        return ll_pgp_open(r->pgp, ask->text, LL_LIT(""), r->now, a->plain, arena, &a->opened);
    case LL_UNSEAL_OPEN_SMIME:
        return ll_smime_open(r->smime, ask->text, r->now, a->plain, arena, &a->opened);
    case LL_UNSEAL_VERIFY_PGP:
        return ll_pgp_verify(r->pgp, ask->text, ask->signature, r->now, arena, &a->opened);
    case LL_UNSEAL_VERIFY_SMIME:
        return ll_smime_verify(r->smime, ask->text, ask->signature, r->now, arena, &a->opened);
    case LL_UNSEAL_DONE:
        break;
    }
    return LL_SEAL_UNSUPPORTED;
}

void ll_ring_answer(struct ll_ring *r, struct ll_box *box, enum ll_unseal_question q,
                    const struct ll_unseal_ask *ask, struct ll_arena *arena, struct ll_unseal *u)
{
    struct ll_buf plain = LL_BUF(ask->room);
    struct ll_unseal_answer a = {.plain = &plain};

    a.error = ask_engine(r, q, ask, arena, &a);
    if (a.error == LL_SEAL_LOCKED) {
        a.error = ask_password(r, box, q == LL_UNSEAL_OPEN_PGP ? LL_SEAL_PGP : LL_SEAL_SMIME, arena,
                               &a.opened);
        if (a.error == LL_SEAL_OK)
            a.error = ask_engine(r, q, ask, arena, &a);
    }
    if (q == LL_UNSEAL_OPEN_PGP && a.error == LL_SEAL_NO_KEY && is_on_card(r, arena, &a.opened))
        a.error = ask_card(r, box, ask, arena, &a);
    ll_unseal_answer(u, &a);
    ll_buf_wipe(&plain);
}
