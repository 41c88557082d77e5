/* See include/letterlock/pgp.h: keys described. */
#include "lib/pgp/ring.h"

#include "letterlock/addr.h"

static struct ll_slice key_id(struct ll_arena *arena, rnp_key_handle_t key)
{
    char *id = NULL;

    rnp_key_get_keyid(key, &id);
    return ll_pgp_word(arena, id);
}

static struct ll_slice algorithm(struct ll_arena *arena, rnp_key_handle_t key)
{
    struct ll_buf text = LL_BUF(64);
    struct ll_slice copy;

    ll_pgp_put_algorithm(&text, key);
    copy = ll_arena_dup(arena, ll_buf_slice(&text));
    ll_buf_release(&text);
    return copy;
}

static void describe_user_id(rnp_uid_handle_t uid, struct ll_arena *arena, struct ll_pgp_user_id *u)
{
    struct ll_buf address = LL_BUF(LL_MAILBOX_MAX);
    void *data = NULL;
    size_t n = 0;

    rnp_uid_is_valid(uid, &u->valid);
    rnp_uid_is_primary(uid, &u->primary);
    if (rnp_uid_get_data(uid, &data, &n) == RNP_SUCCESS) {
        u->octets = ll_arena_dup(arena, ll_slice(data, n));
        rnp_buffer_destroy(data);
    }
    if (ll_pgp_user_id_address(u->octets, &address))
        u->address = ll_arena_dup(arena, ll_buf_slice(&address));
    ll_buf_release(&address);
}

static bool describe_user_ids(rnp_key_handle_t key, struct ll_arena *arena, struct ll_pgp_key *k)
{
    size_t n = 0;

    rnp_key_get_uid_count(key, &n);
    n = n < LL_PGP_USER_IDS_MAX ? n : LL_PGP_USER_IDS_MAX;
    k->user_id = ll_arena_alloc(arena, (n + 1) * sizeof(*k->user_id));
    for (size_t i = 0; k->user_id && i < n; i++) {
        rnp_uid_handle_t uid = NULL;
        uint32_t type = 0;

        if (rnp_key_get_uid_handle_at(key, i, &uid) != RNP_SUCCESS)
            continue;
        if (rnp_uid_get_type(uid, &type) == RNP_SUCCESS && type == RNP_USER_ID)
            describe_user_id(uid, arena, &k->user_id[k->n_user_id++]);
        rnp_uid_handle_destroy(uid);
    }
    return k->user_id;
}

/* True: its secret part is on a card. */
static bool describe_subkey(rnp_key_handle_t part, rnp_key_handle_t primary, int64_t now,
                            struct ll_arena *arena, struct ll_pgp_subkey *ret)
{
    struct ll_pgp_state s;

    ll_pgp_state(part, primary, now, &s);
    *ret = (struct ll_pgp_subkey){
        .fingerprint = ll_pgp_fingerprint(arena, part),
        .key_id = key_id(arena, part),
        .algorithm = algorithm(arena, part),
        .created = s.created,
        .expires = s.expires,
        .secret = s.secret,
        .locked = s.locked,
        .revoked = s.revoked,
        .expired = s.expired,
        .valid = s.valid,
        .can_sign = s.can_sign && s.usable,
        .can_encrypt = s.can_encrypt && s.usable,
    };
    return s.elsewhere;
}

static bool describe_subkeys(rnp_key_handle_t key, int64_t now, struct ll_arena *arena,
                             struct ll_pgp_key *k)
{
    size_t n = 0;

    rnp_key_get_subkey_count(key, &n);
    n = n < LL_PGP_SUBKEYS_MAX ? n : LL_PGP_SUBKEYS_MAX;
    k->subkey = ll_arena_alloc(arena, (n + 1) * sizeof(*k->subkey));
    for (size_t i = 0; k->subkey && i < n; i++) {
        struct ll_pgp_subkey *s = &k->subkey[k->n_subkey];
        rnp_key_handle_t part = NULL;

        if (rnp_key_get_subkey_at(key, i, &part) != RNP_SUCCESS)
            continue;
        k->elsewhere |= describe_subkey(part, key, now, arena, s);
        rnp_key_handle_destroy(part);
        k->n_subkey++;
        k->secret |= s->secret;
        k->locked |= s->locked;
        k->can_sign |= s->can_sign;
        k->can_encrypt |= s->can_encrypt;
    }
    return k->subkey;
}

/* ---- features ---- */

/* Whether the newest self-certification of a user id asks for AEAD (RFC 4880 5.2.3.24 and the
 * drafts that packet 20 comes from). librnp tells by its dump alone, in which quotes inside strings
 * are escaped: what it says itself cannot be faked there. */
static bool asks_ocb(rnp_uid_handle_t uid)
{
    uint32_t newest = 0;
    bool asks = false;
    size_t n = 0;

    rnp_uid_get_signature_count(uid, &n);
    for (size_t i = 0; i < n && i < LL_PGP_USER_IDS_MAX; i++) {
        rnp_signature_handle_t sig = NULL;
        uint32_t made = 0;
        char *json = NULL;

        if (rnp_uid_get_signature_at(uid, i, &sig) != RNP_SUCCESS)
            continue;
        if (rnp_signature_is_valid(sig, 0) == RNP_SUCCESS &&
            rnp_signature_get_creation(sig, &made) == RNP_SUCCESS && made >= newest &&
            rnp_signature_packet_to_json(sig, 0, &json) == RNP_SUCCESS) {
            struct ll_slice dump = ll_slice_str(json);

            newest = made;
            asks = ll_slice_search(dump, LL_LIT("\"aead\":true")) < dump.n;
            rnp_buffer_destroy(json);
        }
        rnp_signature_handle_destroy(sig);
    }
    return asks;
}

bool ll_pgp_prefers_ocb(rnp_key_handle_t key)
{
    bool prefers = false;
    size_t n = 0;

    rnp_key_get_uid_count(key, &n);
    for (size_t i = 0; i < n && i < LL_PGP_USER_IDS_MAX; i++) {
        rnp_uid_handle_t uid = NULL;
        bool valid = false;

        if (rnp_key_get_uid_handle_at(key, i, &uid) != RNP_SUCCESS)
            continue;
        if (rnp_uid_is_valid(uid, &valid) == RNP_SUCCESS && valid)
            prefers |= asks_ocb(uid);
        rnp_uid_handle_destroy(uid);
    }
    return prefers;
}

/* ---- the key ---- */

static enum ll_seal_error describe(rnp_key_handle_t key, int64_t now, struct ll_arena *arena,
                                   struct ll_pgp_key *ret)
{
    struct ll_pgp_state s;
    struct ll_pgp_key k;

    ll_pgp_state(key, NULL, now, &s);
    k = (struct ll_pgp_key){
        .fingerprint = ll_pgp_fingerprint(arena, key),
        .key_id = key_id(arena, key),
        .algorithm = algorithm(arena, key),
        .created = s.created,
        .expires = s.expires,
        .secret = s.secret,
        .locked = s.locked,
        .elsewhere = s.elsewhere,
        .revoked = s.revoked,
        .expired = s.expired,
        .valid = s.valid,
        .can_sign = s.can_sign && s.usable,
        .can_encrypt = s.can_encrypt && s.usable,
        .prefers_ocb = ll_pgp_prefers_ocb(key),
    };
    if (!describe_user_ids(key, arena, &k) || !describe_subkeys(key, now, arena, &k))
        return LL_SEAL_RESOURCE;
    *ret = k;
    return LL_SEAL_OK;
}

enum ll_seal_error ll_pgp_key(struct ll_pgp *ring, struct ll_slice fingerprint, int64_t now,
                              struct ll_arena *arena, struct ll_pgp_key *ret)
{
    rnp_key_handle_t key = NULL;
    enum ll_seal_error error;

    ll_pgp_begin(ring, now);
    error = ll_pgp_find(ring, fingerprint, &key);
    if (!error)
        error = describe(key, now, arena, ret);
    rnp_key_handle_destroy(key);
    ll_pgp_end(ring);
    return error;
}

enum ll_seal_error ll_pgp_keys(struct ll_pgp *ring, struct ll_arena *arena, struct ll_slice **ret,
                               size_t *n)
{
    rnp_identifier_iterator_t it = NULL;
    struct ll_slice *list;
    const char *hex = NULL;
    size_t count = 0, used = 0;

    rnp_get_public_key_count(ring->ffi, &count);
    list = ll_arena_alloc(arena, (count + 1) * sizeof(*list));
    if (!list || rnp_identifier_iterator_create(ring->ffi, &it, "fingerprint") != RNP_SUCCESS)
        return LL_SEAL_RESOURCE;
    while (used < count && rnp_identifier_iterator_next(it, &hex) == RNP_SUCCESS && hex) {
        rnp_key_handle_t key = NULL;
        bool primary = false;

        if (ll_pgp_find(ring, ll_slice_str(hex), &key))
            continue;
        rnp_key_is_primary(key, &primary);
        if (primary)
            list[used++] = ll_pgp_fingerprint(arena, key);
        rnp_key_handle_destroy(key);
    }
    rnp_identifier_iterator_destroy(it);
    *ret = list;
    *n = used;
    return LL_SEAL_OK;
}
