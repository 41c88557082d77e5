/* See ring.h: the ring, errors, and what a key may be used for. */
#include "lib/pgp/ring.h"

#include <stdlib.h>

static const struct {
    rnp_result_t code;
    enum ll_seal_error error;
} errors[] = {
    {RNP_SUCCESS, LL_SEAL_OK},
    {RNP_ERROR_BAD_FORMAT, LL_SEAL_MALFORMED},
    {RNP_ERROR_NOT_IMPLEMENTED, LL_SEAL_UNSUPPORTED},
    {RNP_ERROR_NOT_SUPPORTED, LL_SEAL_UNSUPPORTED},
    {RNP_ERROR_OUT_OF_MEMORY, LL_SEAL_RESOURCE},
    {RNP_ERROR_MAC_INVALID, LL_SEAL_INTEGRITY},
    {RNP_ERROR_BAD_PASSWORD, LL_SEAL_PASSWORD},
    {RNP_ERROR_KEY_NOT_FOUND, LL_SEAL_NO_KEY},
    {RNP_ERROR_NO_SUITABLE_KEY, LL_SEAL_NO_KEY},
    {RNP_ERROR_DECRYPT_FAILED, LL_SEAL_INTEGRITY},
    {RNP_ERROR_RNG, LL_SEAL_RESOURCE},
};

enum ll_seal_error ll_pgp_error(rnp_result_t code)
{
    for (size_t i = 0; i < LL_COUNT(errors); i++)
        if (errors[i].code == code)
            return errors[i].error;
    return LL_SEAL_MALFORMED;
}

/* librnp asks for passwords here. Keys are unlocked by ll_pgp_unlock alone, so that a locked one
 * is told from a wrong password; only messages get one. */
static bool give_password(rnp_ffi_t ffi, void *ctx, rnp_key_handle_t key, const char *context,
                          char buf[], size_t n)
{
    struct ll_pgp *ring = ctx;

    if (key || ring->password.n >= n)
        return false;
    ring->asked = true;
    if (ring->password.n == 0)
        return false;
    memcpy(buf, ring->password.p, ring->password.n);
    buf[ring->password.n] = '\0';
    return true;
}

static ssize_t swallow(void *cookie, const char *octets, size_t n)
{
    return (ssize_t)n;
}

/* librnp as Debian builds it writes its log to stderr whatever rnp_ffi_set_log_fd says, with
 * octets of the message in it. There is no other way to stop that than to lend it another stderr
 * while it works. */
static void hush(struct ll_pgp *ring)
{
    ring->loud = stderr;
    stderr = ring->nowhere;
}

void ll_pgp_end(struct ll_pgp *ring)
{
    stderr = ring->loud;
}

void ll_pgp_begin(struct ll_pgp *ring, int64_t now)
{
    hush(ring);
    /* 0 would mean the system's clock. */
    rnp_set_timestamp(ring->ffi, now > 0 ? (uint64_t)now + LL_PGP_SKEW_S : 1);
}

struct ll_pgp *ll_pgp_new(void)
{
    struct ll_pgp *ring = calloc(1, sizeof(*ring));
    rnp_result_t code;

    if (!ring)
        return NULL;
    ring->nowhere = fopencookie(NULL, "w", (cookie_io_functions_t){.write = swallow});
    if (!ring->nowhere) {
        free(ring);
        return NULL;
    }
    hush(ring); /* the stderr of now is kept for its other log */
    code = rnp_ffi_create(&ring->ffi, "GPG", "GPG");
    ll_pgp_end(ring);
    if (code != RNP_SUCCESS) {
        ll_pgp_free(ring);
        return NULL;
    }
    rnp_ffi_set_pass_provider(ring->ffi, give_password, ring);
    return ring;
}

void ll_pgp_free(struct ll_pgp *ring)
{
    if (!ring)
        return;
    hush(ring); /* it closes its log, unless that is stderr */
    if (ring->ffi)
        rnp_ffi_destroy(ring->ffi);
    ll_pgp_end(ring);
    fclose(ring->nowhere);
    free(ring);
}

enum ll_seal_error ll_pgp_find(struct ll_pgp *ring, struct ll_slice fingerprint,
                               rnp_key_handle_t *ret)
{
    char hex[LL_PGP_FINGERPRINT_MAX + 1];
    rnp_key_handle_t key = NULL;

    if (fingerprint.n == 0 || fingerprint.n >= sizeof(hex))
        return LL_SEAL_NO_KEY;
    for (size_t i = 0; i < fingerprint.n; i++) {
        hex[i] = (char)ll_upper(fingerprint.p[i]);
        if (!ll_is_digit((uint8_t)hex[i]) && !(hex[i] >= 'A' && hex[i] <= 'F'))
            return LL_SEAL_NO_KEY;
    }
    hex[fingerprint.n] = '\0';
    if (rnp_locate_key(ring->ffi, "fingerprint", hex, &key) != RNP_SUCCESS || !key)
        return LL_SEAL_NO_KEY;
    *ret = key;
    return LL_SEAL_OK;
}

/* ---- what a key may be used for ---- */

static bool is_word(char *word, const char *const *list, size_t n)
{
    bool found = false;

    for (size_t i = 0; word && i < n; i++)
        found |= strcmp(word, list[i]) == 0;
    rnp_buffer_destroy(word);
    return found;
}

/* Keys of version 3 are named by an MD5 hash: nobody knows whose they are (RFC 4880 5.5.2). */
static bool key_old(rnp_key_handle_t key)
{
    char *hex = NULL;
    bool old;

    if (rnp_key_get_fprint(key, &hex) != RNP_SUCCESS)
        return true;
    old = strlen(hex) < 40;
    rnp_buffer_destroy(hex);
    return old;
}

/* Strength is counted in bits for these alone; other algorithms have one size. */
static bool key_weak(rnp_key_handle_t key)
{
    static const char *const counted[] = {"RSA", "DSA", "ELGAMAL"};
    char *algorithm = NULL;
    uint32_t bits = 0;

    if (key_old(key))
        return true;
    if (rnp_key_get_alg(key, &algorithm) != RNP_SUCCESS)
        return true;
    if (!is_word(algorithm, counted, LL_COUNT(counted)))
        return false;
    return rnp_key_get_bits(key, &bits) != RNP_SUCCESS || bits < LL_PGP_RSA_BITS_MIN;
}

/* GnuPG leaves stubs of secret keys that are elsewhere: they are none. */
static bool key_secret(rnp_key_handle_t key, bool *ret_elsewhere)
{
    static const char *const card[] = {"GPG-Smartcard"}, *const others[] = {"GPG-None", "Unknown"};
    char *type = NULL, *again = NULL;
    bool secret = false;

    if (rnp_key_have_secret(key, &secret) != RNP_SUCCESS || !secret ||
        rnp_key_get_protection_type(key, &type) != RNP_SUCCESS)
        return false;
    *ret_elsewhere = is_word(type, card, LL_COUNT(card));
    return !*ret_elsewhere && rnp_key_get_protection_type(key, &again) == RNP_SUCCESS &&
           !is_word(again, others, LL_COUNT(others));
}

void ll_pgp_state(rnp_key_handle_t key, rnp_key_handle_t primary, int64_t now,
                  struct ll_pgp_state *ret)
{
    uint32_t created = 0, lifetime = 0;
    uint64_t till = 0;
    struct ll_pgp_state s = {0};

    rnp_key_get_creation(key, &created);
    rnp_key_get_expiration(key, &lifetime);
    s.created = created;
    s.expires = lifetime ? (int64_t)created + lifetime : 0;
    s.secret = key_secret(key, &s.elsewhere);
    if (s.secret)
        rnp_key_is_locked(key, &s.locked);
    /* A key that was never valid has no self-signature that holds. */
    s.valid = rnp_key_valid_till64(key, &till) == RNP_SUCCESS && till != 0;
    s.expired = s.expires && s.expires <= now;
    rnp_key_is_revoked(key, &s.revoked);
    s.weak = key_weak(key);
    if (primary) {
        struct ll_pgp_state up;

        ll_pgp_state(primary, NULL, now, &up);
        s.valid &= up.valid;
        s.expired |= up.expired;
        s.revoked |= up.revoked;
    }
    s.usable = s.valid && !s.expired && !s.revoked && !s.weak && s.created <= now + LL_PGP_SKEW_S;
    rnp_key_allows_usage(key, "sign", &s.can_sign);
    rnp_key_allows_usage(key, "encrypt", &s.can_encrypt);
    *ret = s;
}

static enum ll_seal_error why_unusable(const struct ll_pgp_state *s)
{
    bool but_weak = s->valid && !s->expired && !s->revoked;

    return but_weak && s->weak ? LL_SEAL_WEAK : LL_SEAL_UNUSABLE_KEY;
}

/* Looks at one part: takes it when it is better than *best, else says why not in *why. */
static void consider(rnp_key_handle_t part, rnp_key_handle_t primary, enum ll_pgp_use use,
                     int64_t now, rnp_key_handle_t *best, int64_t *best_created,
                     enum ll_seal_error *why)
{
    struct ll_pgp_state s;

    ll_pgp_state(part, primary, now, &s);
    if (!(use == LL_PGP_TO_SIGN ? s.can_sign : s.can_encrypt)) {
        rnp_key_handle_destroy(part);
        return;
    }
    if (!s.usable) {
        *why = why_unusable(&s);
        rnp_key_handle_destroy(part);
        return;
    }
    if (use == LL_PGP_TO_SIGN && !s.secret) {
        *why = *why == LL_SEAL_LOCKED ? *why : LL_SEAL_NO_KEY;
        rnp_key_handle_destroy(part);
        return;
    }
    if (use == LL_PGP_TO_SIGN && s.locked) {
        *why = LL_SEAL_LOCKED;
        rnp_key_handle_destroy(part);
        return;
    }
    if (*best && *best_created >= s.created) {
        rnp_key_handle_destroy(part);
        return;
    }
    rnp_key_handle_destroy(*best);
    *best = part;
    *best_created = s.created;
}

enum ll_seal_error ll_pgp_pick(struct ll_pgp *ring, struct ll_slice fingerprint,
                               enum ll_pgp_use use, int64_t now, rnp_key_handle_t *ret)
{
    rnp_key_handle_t primary = NULL, best = NULL, part;
    enum ll_seal_error why = LL_SEAL_UNUSABLE_KEY, error;
    int64_t created = 0;
    size_t n = 0;

    error = ll_pgp_find(ring, fingerprint, &primary);
    if (error)
        return error;
    rnp_key_get_subkey_count(primary, &n);
    for (size_t i = 0; i < n && i < LL_PGP_SUBKEYS_MAX; i++)
        if (rnp_key_get_subkey_at(primary, i, &part) == RNP_SUCCESS)
            consider(part, primary, use, now, &best, &created, &why);
    if (!best && ll_pgp_find(ring, fingerprint, &part) == LL_SEAL_OK)
        consider(part, NULL, use, now, &best, &created, &why);
    rnp_key_handle_destroy(primary);
    if (!best)
        return why;
    *ret = best;
    return LL_SEAL_OK;
}
