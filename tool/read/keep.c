/* See tool/read/read.h: keys that come with letters. Within the box they are read and described,
 * outside they are put into the store as they were described: it parses no key of a stranger.
 *
 * KEY: method u8, source u8, flags u8 (1 CA, 2 revoked, 4 can encrypt), created u64, expires u64,
 * fingerprint, name, place, capabilities (str16), octets (str32), number of addresses u8, addresses
 * (str16).
 * PEER: gossip u8, mutual u8, date u64, address, fingerprint (str16; empty: no valid header). */
#include "io/clock.h"
#include "letterlock/autocrypt.h"
#include "letterlock/msg.h"
#include "tool/read/read.h"

#define PLACE_MAX 200

enum { CA = 1, REVOKED = 2, CAN_ENCRYPT = 4 };

/* ---- within the box ---------------------------------------------------------------------------
 */

static void send_key(struct ll_read *r, const struct ll_keystore_key *k,
                     enum ll_keystore_source source)
{
    struct ll_buf f = LL_BUF(LL_BOX_FRAME_MAX);
    struct ll_msg_field id;
    struct ll_slice place = LL_LIT("");

    if (ll_msg_field_find(r->found->section[0].header, LL_LIT("Message-ID"), &id))
        place = ll_slice_cut(ll_slice_trim(id.body), 0, PLACE_MAX);
    ll_buf_u8(&f, (uint8_t)k->kind);
    ll_buf_u8(&f, (uint8_t)source);
    ll_buf_u8(&f, (uint8_t)((k->ca ? CA : 0) | (k->revoked ? REVOKED : 0) |
                            (k->can_encrypt ? CAN_ENCRYPT : 0)));
    ll_buf_u64(&f, (uint64_t)k->created);
    ll_buf_u64(&f, (uint64_t)k->expires);
    ll_buf_str16(&f, k->fingerprint);
    ll_buf_str16(&f, ll_slice_cut(k->name, 0, 1024));
    ll_buf_str16(&f, place);
    ll_buf_str16(&f, k->capabilities);
    ll_buf_str32(&f, k->octets);
    ll_buf_u8(&f, (uint8_t)(k->n_address < LL_KEYSTORE_ADDRESSES_MAX ? k->n_address
                                                                     : LL_KEYSTORE_ADDRESSES_MAX));
    for (size_t i = 0; i < k->n_address && i < LL_KEYSTORE_ADDRESSES_MAX; i++)
        ll_buf_str16(&f, k->address[i]);
    if (!f.failed)
        ll_box_send(r->box, LL_READ_KEY, ll_buf_slice(&f));
    ll_buf_release(&f);
}

static void send_peer(struct ll_read *r, bool gossip, bool mutual, int64_t date,
                      struct ll_slice address, struct ll_slice fingerprint)
{
    struct ll_buf f = LL_BUF(4096);

    ll_buf_u8(&f, gossip);
    ll_buf_u8(&f, mutual);
    ll_buf_u64(&f, (uint64_t)date);
    ll_buf_str16(&f, address);
    ll_buf_str16(&f, fingerprint);
    if (!f.failed)
        ll_box_send(r->box, LL_READ_PEER, ll_buf_slice(&f));
    ll_buf_release(&f);
}

/* A key for an address that had another one: said, whatever becomes of it. */
static void warn_changed(struct ll_read *r, const struct ll_keystore_key *k,
                         struct ll_slice address, struct ll_buf *warnings)
{
    const struct ll_keystore_key *other;

    if (ll_ring_key(&r->ring, k->kind, k->fingerprint))
        return;
    other = ll_ring_other(&r->ring, k->kind, k->fingerprint, address);
    if (other)
        ll_buf_printf(warnings,
                      "This letter brings another %s key for %.*s (%.*s) than the one known "
                      "(%.*s%s). Ask on another way which one is right, then: letterlock keys "
                      "trust, or distrust.\n",
                      ll_seal_method_word(k->kind), LL_FMT(address), LL_FMT(k->fingerprint),
                      LL_FMT(other->fingerprint),
                      other->trust == LL_KEYSTORE_VERIFIED ? ", verified by you" : "");
}

/* Describes the one OpenPGP key in octets, joined with what is known of it already. False: none, or
 * more than one, or one that is not good. */
static bool describe_pgp(struct ll_read *r, struct ll_slice octets, struct ll_slice *address,
                         struct ll_keystore_key *ret, struct ll_buf *joined)
{
    const struct ll_keystore_key *known;
    struct ll_pgp *ring = ll_pgp_new();
    struct ll_pgp_key key;
    struct ll_slice *names;
    size_t n;
    bool ok;

    ok = ring && ll_pgp_import(ring, octets, r->ring.now, &r->arena, &names, &n) == LL_SEAL_OK &&
         n == 1 &&
         /* Its other user ids are nobody's word. */
         ll_pgp_keep_address(ring, names[0], *address, r->ring.now) == LL_SEAL_OK;
    known = ok ? ll_ring_key(&r->ring, LL_SEAL_PGP, names[0]) : NULL;
    if (known)
        ll_pgp_import(ring, known->octets, r->ring.now, &r->arena, &names, &n);
    ok = ok && ll_pgp_key(ring, names[0], r->ring.now, &r->arena, &key) == LL_SEAL_OK &&
         key.valid &&
         ll_pgp_export(ring, names[0], LL_PGP_PUBLIC, false, LL_LIT(""), joined) == LL_SEAL_OK;
    if (ok)
        *ret = (struct ll_keystore_key){
            .kind = LL_SEAL_PGP,
            .fingerprint = key.fingerprint,
            .octets = ll_buf_slice(joined),
            .name = key.n_user_id > 0 ? key.user_id[0].octets : LL_LIT(""),
            .address = address,
            .n_address = 1,
            .created = key.created,
            .expires = key.expires,
            .revoked = key.revoked,
            .can_encrypt = key.can_encrypt,
        };
    ll_pgp_free(ring);
    return ok;
}

static void keep_pgp(struct ll_read *r, const struct ll_autocrypt *a, bool gossip, int64_t date,
                     struct ll_buf *warnings)
{
    struct ll_buf joined = LL_BUF(LL_KEYSTORE_KEY_MAX);
    struct ll_slice address = a->address;
    struct ll_keystore_key k;

    if (describe_pgp(r, a->keydata, &address, &k, &joined)) {
        if (!gossip)
            warn_changed(r, &k, address, warnings);
        send_key(r, &k, gossip ? LL_KEYSTORE_GOSSIP : LL_KEYSTORE_AUTOCRYPT);
        send_peer(r, gossip, a->mutual, date, address, k.fingerprint);
    }
    ll_buf_release(&joined);
}

static void keep_autocrypt(struct ll_read *r, struct ll_buf *warnings)
{
    const struct ll_unseal_section *s = &r->found->section[0];
    int64_t date = ll_autocrypt_date(s->header, r->ring.now);
    struct ll_slice author, inner, body;
    struct ll_autocrypt a, *gossip;
    enum ll_autocrypt_error e;
    size_t n = 0;

    e = ll_autocrypt_letter(s->header, &r->arena, &author, &a);
    if (e == LL_AUTOCRYPT_OK)
        keep_pgp(r, &a, false, date, warnings);
    else if (ll_autocrypt_counts(e))
        send_peer(r, false, false, date, author, LL_LIT(""));
    if (!s->encrypted || s->unproven || s->payload.n == 0)
        return;
    ll_msg_split(s->payload, &inner, &body);
    if (ll_autocrypt_gossip(inner, s->header, &r->arena, &gossip, &n))
        for (size_t i = 0; i < n; i++)
            keep_pgp(r, &gossip[i], true, date, warnings);
}

static void keep_cert(struct ll_read *r, struct ll_slice der, struct ll_slice capabilities,
                      struct ll_buf *warnings)
{
    struct ll_keystore_key k;
    struct ll_smime_cert c;
    struct ll_slice *names;
    size_t n;

    if (ll_smime_add_cert(r->ring.smime, der, &r->arena, &names, &n) != LL_SEAL_OK || n != 1 ||
        ll_smime_cert(r->ring.smime, names[0], &r->arena, &c) != LL_SEAL_OK)
        return;
    k = (struct ll_keystore_key){.kind = LL_SEAL_SMIME,
                                 .fingerprint = c.fingerprint,
                                 .octets = c.der,
                                 .name = c.subject,
                                 .address = c.address,
                                 .n_address = c.n_address,
                                 .created = c.not_before,
                                 .expires = c.not_after,
                                 .ca = c.ca,
                                 .can_encrypt = c.can_encrypt};
    if (!c.ca)
        k.capabilities = capabilities;
    for (size_t i = 0; i < c.n_address; i++)
        warn_changed(r, &k, c.address[i], warnings);
    send_key(r, &k, LL_KEYSTORE_LETTER);
}

/* Certificates of signatures that are good, of authors that they belong to; and what came along
 * with them: issuers, and the one to seal with where theirs is for signing alone. */
static void keep_certs(struct ll_read *r, const struct ll_unseal_signature *g,
                       struct ll_buf *warnings)
{
    struct ll_buf capabilities = LL_BUF(UINT16_MAX);

    if (g->method != LL_SEAL_SMIME || g->by->cert.n == 0 ||
        (g->verdict != LL_UNSEAL_PROVEN && g->verdict != LL_UNSEAL_CLAIMED))
        return;
    ll_smime_capabilities(r->ring.smime, g->by->fingerprint, &capabilities);
    keep_cert(r, g->by->cert, ll_buf_slice(&capabilities), warnings);
    for (size_t i = 0; i < g->by->n_along; i++)
        keep_cert(r, g->by->along[i], ll_buf_slice(&capabilities), warnings);
    ll_buf_release(&capabilities);
}

void ll_read_keep(struct ll_read *r, struct ll_buf *warnings)
{
    keep_autocrypt(r, warnings);
    for (size_t i = 0; i < r->found->n; i++)
        for (size_t k = 0; k < r->found->section[i].n_signatures; k++)
            keep_certs(r, &r->found->section[i].signature[k], warnings);
}

/* ---- outside ------------------------------------------------------------------------------------
 */

static bool is_source(unsigned source)
{
    return source == LL_KEYSTORE_AUTOCRYPT || source == LL_KEYSTORE_GOSSIP ||
           source == LL_KEYSTORE_LETTER;
}

static bool store_key(struct ll_keystore *store, struct ll_cursor *c, int64_t now,
                      struct ll_arena *arena, struct ll_buf *err)
{
    struct ll_slice addresses[LL_KEYSTORE_ADDRESSES_MAX], place, other;
    unsigned kind = ll_cur_u8(c), source = ll_cur_u8(c), flags = ll_cur_u8(c);
    struct ll_keystore_key k = {.kind = (enum ll_seal_method)kind,
                                .ca = flags & CA,
                                .revoked = flags & REVOKED,
                                .can_encrypt = flags & CAN_ENCRYPT,
                                .address = addresses};
    enum ll_keystore_seen seen;

    k.created = (int64_t)ll_cur_u64(c);
    k.expires = (int64_t)ll_cur_u64(c);
    k.fingerprint = ll_cur_str16(c);
    k.name = ll_cur_str16(c);
    place = ll_cur_str16(c);
    k.capabilities = ll_cur_str16(c);
    k.octets = ll_cur_str32(c);
    k.n_address = ll_cur_u8(c);
    if (k.n_address > LL_KEYSTORE_ADDRESSES_MAX)
        return false;
    for (size_t i = 0; i < k.n_address; i++)
        addresses[i] = ll_cur_str16(c);
    if (!ll_cur_end(c) || (kind != LL_SEAL_PGP && kind != LL_SEAL_SMIME) || !is_source(source))
        return false;
    if (ll_keystore_put(store, &k, LL_LIT(""), (enum ll_keystore_source)source, place, now, arena,
                        &seen, &other, err) != LL_KEYSTORE_OK)
        ll_fail_text(0, err);
    return true;
}

static bool store_peer(struct ll_keystore *store, struct ll_cursor *c, struct ll_arena *arena,
                       struct ll_buf *err)
{
    bool gossip = ll_cur_u8(c), mutual = ll_cur_u8(c), changed;
    int64_t date = (int64_t)ll_cur_u64(c);
    struct ll_slice address = ll_cur_str16(c), key = ll_cur_str16(c);
    struct ll_autocrypt_peer peer;
    enum ll_keystore_result e;

    if (!ll_cur_end(c))
        return false;
    e = ll_keystore_peer(store, address, arena, &peer, err);
    if (e != LL_KEYSTORE_OK && e != LL_KEYSTORE_NONE)
        return true; /* an address that is none; a store that is busy: the next letter tells it */
    changed = gossip ? ll_autocrypt_update_gossip(&peer, date, key)
                     : ll_autocrypt_update(&peer, date, key, mutual);
    if (changed)
        ll_keystore_set_peer(store, address, &peer, err);
    return true;
}

bool ll_read_store(struct ll_keystore *store, uint8_t type, struct ll_slice frame, int64_t now)
{
    struct ll_cursor c = ll_cursor(frame);
    struct ll_buf err = LL_BUF(4096);
    struct ll_arena arena;
    bool ok;

    if (!store)
        return true;
    ll_arena_init(&arena, 4u << 20);
    ok = type == LL_READ_KEY ? store_key(store, &c, now, &arena, &err)
                             : store_peer(store, &c, &arena, &err);
    ll_arena_release(&arena);
    ll_buf_release(&err);
    return ok;
}
