/* See include/letterlock/pgp.h: keys made, unlocked and changed. */
#include "lib/pgp/ring.h"

#include "letterlock/addr.h"

#define CIPHER "AES256"
#define HASH   "SHA256"
#define FLAGS  0x03 /* certify and sign (RFC 4880 5.2.3.21) */

static const char *const reason_words[] = {
#define LL_PGP_ROW(ID, word) [LL_PGP_##ID] = word,
    LL_PGP_REASONS(LL_PGP_ROW)
#undef LL_PGP_ROW
};

const char *ll_pgp_reason_word(enum ll_pgp_reason r)
{
    return (unsigned)r < LL_COUNT(reason_words) ? reason_words[r] : "";
}

bool ll_pgp_reason_parse(struct ll_slice word, enum ll_pgp_reason *ret)
{
    for (size_t i = 0; i < LL_COUNT(reason_words); i++)
        if (ll_slice_eq(word, ll_slice_str(reason_words[i]))) {
            *ret = (enum ll_pgp_reason)i;
            return true;
        }
    return false;
}

/* ---- all secret parts of a key ---- */

/* What is done with each secret part. */
typedef enum ll_seal_error part_fn(rnp_key_handle_t part, const char *password);

static enum ll_seal_error each_secret(rnp_key_handle_t primary, part_fn *fn, const char *password)
{
    enum ll_seal_error error = LL_SEAL_OK;
    struct ll_pgp_state s;
    size_t n = 0, found = 0;

    ll_pgp_state(primary, NULL, 0, &s);
    if (s.secret) {
        error = fn(primary, password);
        found++;
    }
    rnp_key_get_subkey_count(primary, &n);
    for (size_t i = 0; !error && i < n && i < LL_PGP_SUBKEYS_MAX; i++) {
        rnp_key_handle_t part = NULL;

        if (rnp_key_get_subkey_at(primary, i, &part) != RNP_SUCCESS)
            continue;
        ll_pgp_state(part, primary, 0, &s);
        if (s.secret) {
            error = fn(part, password);
            found++;
        }
        rnp_key_handle_destroy(part);
    }
    return !error && !found ? LL_SEAL_NO_KEY : error;
}

static enum ll_seal_error unlock(rnp_key_handle_t part, const char *password)
{
    bool locked = false;

    if (rnp_key_is_locked(part, &locked) != RNP_SUCCESS || !locked)
        return LL_SEAL_OK;
    return ll_pgp_error(rnp_key_unlock(part, password));
}

static enum ll_seal_error protect(rnp_key_handle_t part, const char *password)
{
    bool locked = false;

    if (rnp_key_is_locked(part, &locked) == RNP_SUCCESS && locked)
        return LL_SEAL_LOCKED;
    if (!*password)
        return ll_pgp_error(rnp_key_unprotect(part, NULL));
    return ll_pgp_error(rnp_key_protect(part, password, CIPHER, "CFB", HASH, LL_PGP_STRETCH));
}

static enum ll_seal_error with_password(struct ll_pgp *ring, struct ll_slice fingerprint,
                                        struct ll_slice password, part_fn *fn,
                                        enum ll_seal_error unusable)
{
    rnp_key_handle_t key = NULL;
    struct ll_buf secret;
    enum ll_seal_error error;

    if (!ll_pgp_secret_str(password, &secret)) {
        ll_buf_wipe(&secret);
        return unusable;
    }
    ll_pgp_begin(ring, 0);
    error = ll_pgp_find(ring, fingerprint, &key);
    if (!error)
        error = each_secret(key, fn, (const char *)secret.p);
    rnp_key_handle_destroy(key);
    ll_pgp_end(ring);
    ll_buf_wipe(&secret);
    return error;
}

enum ll_seal_error ll_pgp_unlock(struct ll_pgp *ring, struct ll_slice fingerprint,
                                 struct ll_slice password)
{
    return with_password(ring, fingerprint, password, unlock, LL_SEAL_PASSWORD);
}

enum ll_seal_error ll_pgp_set_password(struct ll_pgp *ring, struct ll_slice fingerprint,
                                       struct ll_slice password)
{
    return with_password(ring, fingerprint, password, protect, LL_SEAL_MALFORMED);
}

/* ---- generation ---- */

/* A user id as a C string: UTF-8 without controls, so that it stays one line wherever it is shown.
 */
static bool user_id_str(struct ll_slice user_id, struct ll_buf *ret)
{
    ll_buf_init(ret, LL_PGP_USER_ID_MAX + 1);
    if (user_id.n == 0 || user_id.n > LL_PGP_USER_ID_MAX || !ll_utf8_valid(user_id))
        return false;
    for (size_t i = 0; i < user_id.n; i++)
        if (user_id.p[i] < 0x20 || user_id.p[i] == 0x7f)
            return false;
    ll_buf_put_slice(ret, user_id);
    ll_buf_putc(ret, 0);
    return !ret->failed;
}

static rnp_result_t make_primary(rnp_ffi_t ffi, const char *user_id, uint32_t lifetime_s,
                                 rnp_key_handle_t *ret)
{
    rnp_op_generate_t op = NULL;
    rnp_result_t code = rnp_op_generate_create(&op, ffi, "EDDSA");

    if (code == RNP_SUCCESS)
        code = rnp_op_generate_set_userid(op, user_id);
    if (code == RNP_SUCCESS)
        code = rnp_op_generate_set_hash(op, HASH);
    if (code == RNP_SUCCESS)
        code = rnp_op_generate_set_expiration(op, lifetime_s);
    if (code == RNP_SUCCESS)
        code = rnp_op_generate_execute(op);
    if (code == RNP_SUCCESS)
        code = rnp_op_generate_get_key(op, ret);
    rnp_op_generate_destroy(op);
    return code;
}

/* The subkey has no expiry of its own: the primary key's is the one to move. */
static rnp_result_t make_subkey(rnp_ffi_t ffi, rnp_key_handle_t primary)
{
    rnp_op_generate_t op = NULL;
    rnp_result_t code = rnp_op_generate_subkey_create(&op, ffi, primary, "ECDH");

    if (code == RNP_SUCCESS)
        code = rnp_op_generate_set_curve(op, "Curve25519");
    if (code == RNP_SUCCESS)
        code = rnp_op_generate_set_hash(op, HASH);
    if (code == RNP_SUCCESS)
        code = rnp_op_generate_add_usage(op, "encrypt");
    if (code == RNP_SUCCESS)
        code = rnp_op_generate_set_expiration(op, 0);
    if (code == RNP_SUCCESS)
        code = rnp_op_generate_execute(op);
    rnp_op_generate_destroy(op);
    return code;
}

/* librnp's idea of the time runs ahead by the skew that is allowed; a new key must not. */
static enum ll_seal_error generate(struct ll_pgp *ring, const char *user_id, const char *password,
                                   int64_t now, uint32_t lifetime_s, rnp_key_handle_t *ret)
{
    rnp_key_handle_t key = NULL;
    enum ll_seal_error error;
    rnp_result_t code;

    rnp_set_timestamp(ring->ffi, (uint64_t)now);
    code = make_primary(ring->ffi, user_id, lifetime_s, &key);
    if (code == RNP_SUCCESS)
        code = make_subkey(ring->ffi, key);
    error = ll_pgp_error(code);
    if (!error && *password)
        error = each_secret(key, protect, password);
    if (error && key) {
        rnp_key_remove(key, RNP_KEY_REMOVE_PUBLIC | RNP_KEY_REMOVE_SECRET | RNP_KEY_REMOVE_SUBKEYS);
        rnp_key_handle_destroy(key);
        return error;
    }
    *ret = key;
    return error;
}

enum ll_seal_error ll_pgp_generate(struct ll_pgp *ring, struct ll_slice user_id,
                                   struct ll_slice password, int64_t now, uint32_t lifetime_s,
                                   struct ll_arena *arena, struct ll_slice *ret_fingerprint)
{
    enum ll_seal_error error = LL_SEAL_MALFORMED;
    struct ll_buf id, secret;
    rnp_key_handle_t key = NULL;
    bool fits = user_id_str(user_id, &id);

    fits &= ll_pgp_secret_str(password, &secret);
    if (fits && now > 0 && now <= UINT32_MAX) {
        ll_pgp_begin(ring, now);
        error = generate(ring, (const char *)id.p, (const char *)secret.p, now, lifetime_s, &key);
        if (!error)
            *ret_fingerprint = ll_pgp_fingerprint(arena, key);
        rnp_key_handle_destroy(key);
        ll_pgp_end(ring);
    }
    ll_buf_release(&id);
    ll_buf_wipe(&secret);
    return error;
}

/* ---- edits ---- */

/* The primary key with its secret part, unlocked; *ret is to be destroyed. */
static enum ll_seal_error own(struct ll_pgp *ring, struct ll_slice fingerprint, int64_t now,
                              rnp_key_handle_t *ret)
{
    rnp_key_handle_t key = NULL;
    struct ll_pgp_state s;
    enum ll_seal_error error = ll_pgp_find(ring, fingerprint, &key);

    if (error)
        return error;
    ll_pgp_state(key, NULL, now, &s);
    if (!s.secret)
        error = LL_SEAL_NO_KEY;
    else if (s.locked)
        error = LL_SEAL_LOCKED;
    if (error)
        rnp_key_handle_destroy(key);
    else
        *ret = key;
    return error;
}

static enum ll_seal_error set_one_expiry(rnp_key_handle_t part, int64_t expires)
{
    uint32_t created = 0;

    rnp_key_get_creation(part, &created);
    if (expires && (expires <= created || expires - created > UINT32_MAX))
        return LL_SEAL_MALFORMED;
    return ll_pgp_error(rnp_key_set_expiration(part, expires ? (uint32_t)(expires - created) : 0));
}

/* Subkeys with a date of their own follow the primary key, where they are of any use. */
static enum ll_seal_error set_expiry(rnp_key_handle_t key, int64_t expires, int64_t now)
{
    enum ll_seal_error error = set_one_expiry(key, expires);
    size_t n = 0;

    rnp_key_get_subkey_count(key, &n);
    for (size_t i = 0; !error && i < n && i < LL_PGP_SUBKEYS_MAX; i++) {
        rnp_key_handle_t part = NULL;
        struct ll_pgp_state s;

        if (rnp_key_get_subkey_at(key, i, &part) != RNP_SUCCESS)
            continue;
        ll_pgp_state(part, NULL, now, &s);
        if (s.expires && s.valid && !s.revoked)
            error = s.secret && s.locked ? LL_SEAL_LOCKED : set_one_expiry(part, expires);
        rnp_key_handle_destroy(part);
    }
    return error;
}

enum ll_seal_error ll_pgp_set_expiry(struct ll_pgp *ring, struct ll_slice fingerprint,
                                     int64_t expires, int64_t now)
{
    rnp_key_handle_t key = NULL;
    enum ll_seal_error error;

    ll_pgp_begin(ring, now);
    rnp_set_timestamp(ring->ffi, (uint64_t)now);
    error = own(ring, fingerprint, now, &key);
    if (!error)
        error = set_expiry(key, expires, now);
    rnp_key_handle_destroy(key);
    ll_pgp_end(ring);
    return error;
}

/* What the newest self-signature says counts for the key: it has to repeat the key's expiry and
 * what the key is for. */
static enum ll_seal_error add_user_id(rnp_key_handle_t key, const char *user_id)
{
    uint32_t lifetime = 0;

    rnp_key_get_expiration(key, &lifetime);
    return ll_pgp_error(rnp_key_add_uid(key, user_id, HASH, lifetime, FLAGS, false));
}

enum ll_seal_error ll_pgp_add_user_id(struct ll_pgp *ring, struct ll_slice fingerprint,
                                      struct ll_slice user_id, int64_t now)
{
    rnp_key_handle_t key = NULL;
    struct ll_buf id;
    enum ll_seal_error error = LL_SEAL_MALFORMED;

    if (user_id_str(user_id, &id)) {
        ll_pgp_begin(ring, now);
        rnp_set_timestamp(ring->ffi, (uint64_t)now);
        error = own(ring, fingerprint, now, &key);
        if (!error)
            error = add_user_id(key, (const char *)id.p);
        rnp_key_handle_destroy(key);
        ll_pgp_end(ring);
    }
    ll_buf_release(&id);
    return error;
}

enum ll_seal_error ll_pgp_revocation(struct ll_pgp *ring, struct ll_slice fingerprint,
                                     enum ll_pgp_reason reason, int64_t now, struct ll_buf *out)
{
    rnp_key_handle_t key = NULL;
    struct ll_pgp_sink sink;
    enum ll_seal_error error;

    ll_pgp_begin(ring, now);
    rnp_set_timestamp(ring->ffi, (uint64_t)now);
    error = own(ring, fingerprint, now, &key);
    if (!error) {
        error = LL_SEAL_RESOURCE;
        if (ll_pgp_sink_open(&sink, out, LL_PGP_KEYS_ROOM) == RNP_SUCCESS)
            error = ll_pgp_error(rnp_key_export_revocation(key, sink.output, RNP_KEY_EXPORT_ARMORED,
                                                           HASH, ll_pgp_reason_word(reason), NULL));
        error = ll_pgp_sink_close(&sink, error);
    }
    rnp_key_handle_destroy(key);
    ll_pgp_end(ring);
    return error;
}

enum ll_seal_error ll_pgp_revoke(struct ll_pgp *ring, struct ll_slice fingerprint,
                                 enum ll_pgp_reason reason, int64_t now)
{
    rnp_key_handle_t key = NULL;
    enum ll_seal_error error;

    ll_pgp_begin(ring, now);
    rnp_set_timestamp(ring->ffi, (uint64_t)now);
    error = own(ring, fingerprint, now, &key);
    if (!error)
        error = ll_pgp_error(rnp_key_revoke(key, 0, HASH, ll_pgp_reason_word(reason), NULL));
    rnp_key_handle_destroy(key);
    ll_pgp_end(ring);
    return error;
}

/* ---- user ids ---- */

static bool uid_is(rnp_uid_handle_t uid, const struct ll_mailbox *wanted)
{
    struct ll_buf text = LL_BUF(LL_MAILBOX_MAX + 1);
    struct ll_mailbox m;
    void *data = NULL;
    size_t n = 0;
    bool same = rnp_uid_get_data(uid, &data, &n) == RNP_SUCCESS &&
                ll_pgp_user_id_address(ll_slice(data, n), &text) &&
                ll_mailbox_parse(ll_buf_slice(&text), true, &m) == LL_ADDR_OK &&
                ll_mailbox_same(&m, wanted);

    rnp_buffer_destroy(data);
    ll_buf_release(&text);
    return same;
}

/* How many user ids are (not) of that address; `drop` takes away those that are not. */
static size_t count_uids(rnp_key_handle_t key, const struct ll_mailbox *wanted, bool drop)
{
    size_t n = 0, matching = 0;

    rnp_key_get_uid_count(key, &n);
    for (size_t i = n; i > 0; i--) {
        rnp_uid_handle_t uid = NULL;

        if (rnp_key_get_uid_handle_at(key, i - 1, &uid) != RNP_SUCCESS)
            continue;
        if (uid_is(uid, wanted))
            matching++;
        else if (drop)
            rnp_uid_remove(key, uid);
        rnp_uid_handle_destroy(uid);
    }
    return matching;
}

enum ll_seal_error ll_pgp_keep_address(struct ll_pgp *ring, struct ll_slice fingerprint,
                                       struct ll_slice address, int64_t now)
{
    rnp_key_handle_t key = NULL;
    struct ll_mailbox wanted;
    enum ll_seal_error error;
    size_t n = 0;

    if (ll_mailbox_parse(address, true, &wanted) != LL_ADDR_OK)
        return LL_SEAL_NO_KEY;
    ll_pgp_begin(ring, now);
    error = ll_pgp_find(ring, fingerprint, &key);
    if (!error && count_uids(key, &wanted, false) == 0)
        error = LL_SEAL_NO_KEY;
    if (!error) {
        count_uids(key, &wanted, true);
        rnp_key_get_uid_count(key, &n);
        if (n != count_uids(key, &wanted, false))
            error = LL_SEAL_RESOURCE; /* librnp kept one */
    }
    rnp_key_handle_destroy(key);
    ll_pgp_end(ring);
    return error;
}
