/* See signatures.h, and include/letterlock/pgp.h: every signature's own state. */
#include "lib/pgp/signatures.h"

#include "lib/pgp/packet.h"

/* Hashes that can be, or soon could be, made to collide. */
static bool hash_weak(const char *hash)
{
    static const char *const weak[] = {"MD5", "SHA1", "RIPEMD160"};

    for (size_t i = 0; hash && i < LL_COUNT(weak); i++)
        if (strcmp(hash, weak[i]) == 0)
            return true;
    return !hash;
}

/* A signature over a document, and not of a key, a time or nothing (RFC 4880 5.2.1). */
static bool of_document(rnp_signature_handle_t handle)
{
    char *type = NULL;
    bool yes;

    if (rnp_signature_get_type(handle, &type) != RNP_SUCCESS)
        return false;
    yes = strcmp(type, "binary") == 0 || strcmp(type, "text") == 0;
    rnp_buffer_destroy(type);
    return yes;
}

/* What one signature is judged by. */
struct facts {
    rnp_result_t status;
    bool document, weak_hash;
    int64_t made;
    rnp_key_handle_t key, primary; /* NULL: not here; primary NULL: key is one */
    struct ll_pgp_state s;
};

static enum ll_signature_state judge(const struct facts *f, int64_t now, const char **detail)
{
    bool good = f->status == RNP_SUCCESS;

    if (f->status == RNP_ERROR_SIGNATURE_UNKNOWN)
        return LL_SIGNATURE_UNSUPPORTED;
    if (!f->document) {
        *detail = "it is not the signature of a document";
        return LL_SIGNATURE_MALFORMED;
    }
    if (f->weak_hash) {
        *detail = "its hash can be made to fit other content";
        return LL_SIGNATURE_WEAK;
    }
    if (!f->key)
        return LL_SIGNATURE_NO_KEY;
    if (f->s.revoked)
        return LL_SIGNATURE_KEY_REVOKED;
    if (f->s.expires && f->made >= f->s.expires) {
        *detail = "the key had expired when it was made";
        return LL_SIGNATURE_KEY_EXPIRED;
    }
    if (!f->s.valid || f->s.created > now + LL_PGP_SKEW_S) {
        *detail = "its owner's signature on the signer's key is missing, wrong or of the future";
        return LL_SIGNATURE_PURPOSE;
    }
    if (!f->s.can_sign)
        return LL_SIGNATURE_PURPOSE;
    if (!good && f->status != RNP_ERROR_SIGNATURE_EXPIRED)
        return LL_SIGNATURE_BAD;
    if (f->s.weak) {
        *detail = "the signer's key is too short";
        return LL_SIGNATURE_WEAK;
    }
    if (f->made > now + LL_PGP_SKEW_S) {
        *detail = "it claims to come from the future";
        return LL_SIGNATURE_EXPIRED;
    }
    if (!good)
        return LL_SIGNATURE_EXPIRED;
    if (f->s.expired) {
        *detail = "the key was valid at the time that the signature claims, and has expired since";
        return LL_SIGNATURE_KEY_EXPIRED;
    }
    return LL_SIGNATURE_GOOD;
}

/* The primary key of a subkey; NULL for a primary key, or when it is not here. */
static rnp_key_handle_t primary_of(rnp_ffi_t ffi, rnp_key_handle_t key)
{
    rnp_key_handle_t primary = NULL;
    char *hex = NULL;
    bool sub = false;

    rnp_key_is_sub(key, &sub);
    if (sub && rnp_key_get_primary_fprint(key, &hex) == RNP_SUCCESS)
        rnp_locate_key(ffi, "fingerprint", hex, &primary);
    rnp_buffer_destroy(hex);
    return primary;
}

static struct ll_slice describe_algorithm(rnp_signature_handle_t handle, rnp_key_handle_t key,
                                          const char *hash, struct ll_arena *arena)
{
    struct ll_buf text = LL_BUF(128);
    struct ll_slice copy;
    char *algorithm = NULL;

    if (key)
        ll_pgp_put_algorithm(&text, key);
    else if (rnp_signature_get_alg(handle, &algorithm) == RNP_SUCCESS)
        ll_pgp_put_word(&text, algorithm);
    ll_buf_puts(&text, ", ");
    for (; hash && *hash; hash++)
        ll_buf_putc(&text, ll_lower((uint8_t)*hash));
    copy = ll_arena_dup(arena, ll_buf_slice(&text));
    ll_buf_release(&text);
    return copy;
}

static void read_one(rnp_ffi_t ffi, rnp_op_verify_signature_t sig, int64_t now,
                     struct ll_arena *arena, struct ll_signature *ret)
{
    struct facts f = {.status = rnp_op_verify_signature_get_status(sig)};
    rnp_signature_handle_t handle = NULL;
    const char *detail = "";
    char *hash = NULL, *id = NULL;
    uint32_t made = 0;

    if (rnp_op_verify_signature_get_handle(sig, &handle) != RNP_SUCCESS) {
        ret->state = LL_SIGNATURE_UNSUPPORTED;
        return;
    }
    rnp_op_verify_signature_get_hash(sig, &hash);
    rnp_signature_get_keyid(handle, &id);
    rnp_signature_get_creation(handle, &made);
    if (rnp_op_verify_signature_get_key(sig, &f.key) != RNP_SUCCESS)
        f.key = NULL;
    if (f.key) {
        f.primary = primary_of(ffi, f.key);
        ll_pgp_state(f.key, f.primary, now, &f.s);
        ret->fingerprint = ll_pgp_fingerprint(arena, f.primary ? f.primary : f.key);
        ll_pgp_names(f.primary ? f.primary : f.key, arena, ret);
    }
    f.document = of_document(handle);
    f.weak_hash = hash_weak(hash);
    f.made = made;
    ret->made = made;
    ret->key_id = ll_pgp_word(arena, id);
    ret->algorithm = describe_algorithm(handle, f.key, hash, arena);
    ret->state = judge(&f, now, &detail);
    ret->detail = ll_arena_dup(arena, ll_slice_str(detail));
    rnp_key_handle_destroy(f.primary);
    rnp_key_handle_destroy(f.key);
    rnp_buffer_destroy(hash);
    rnp_signature_handle_destroy(handle);
}

enum ll_seal_error ll_pgp_signatures(rnp_ffi_t ffi, rnp_op_verify_t op, int64_t now,
                                     struct ll_arena *arena, struct ll_opened *ret)
{
    size_t n = 0;

    rnp_op_verify_get_signature_count(op, &n);
    n = n < LL_PGP_SIGNATURES_MAX ? n : LL_PGP_SIGNATURES_MAX;
    ret->signature = ll_arena_alloc(arena, (n + 1) * sizeof(*ret->signature));
    if (!ret->signature)
        return LL_SEAL_RESOURCE;
    for (size_t i = 0; i < n; i++) {
        rnp_op_verify_signature_t sig = NULL;

        if (rnp_op_verify_get_signature_at(op, i, &sig) == RNP_SUCCESS)
            read_one(ffi, sig, now, arena, &ret->signature[ret->n_signature++]);
    }
    return LL_SEAL_OK;
}

static enum ll_seal_error run(struct ll_pgp *ring, rnp_input_t text, rnp_input_t signature,
                              int64_t now, struct ll_arena *arena, struct ll_opened *ret)
{
    struct ll_opened opened = {0};
    enum ll_seal_error error = LL_SEAL_RESOURCE;
    rnp_op_verify_t op = NULL;

    if (rnp_op_verify_detached_create(&op, ring->ffi, text, signature) == RNP_SUCCESS) {
        rnp_op_verify_execute(op);
        error = ll_pgp_signatures(ring->ffi, op, now, arena, &opened);
        if (!error && opened.n_signature == 0)
            error = LL_SEAL_MALFORMED;
        if (!error)
            *ret = opened;
    }
    rnp_op_verify_destroy(op);
    return error;
}

enum ll_seal_error ll_pgp_verify(struct ll_pgp *ring, struct ll_slice text,
                                 struct ll_slice signature, int64_t now, struct ll_arena *arena,
                                 struct ll_opened *ret)
{
    rnp_input_t text_in = NULL, signature_in = NULL;
    struct ll_buf room = LL_BUF(0);
    struct ll_slice packets = {0};
    enum ll_seal_error error;

    if (signature.n > LL_PGP_KEYS_ROOM || text.n > LL_PGP_TEXT_MAX)
        return LL_SEAL_TOO_LARGE;
    error = ll_pgp_dearmor(signature, &room, &packets);
    ll_pgp_begin(ring, now);
    if (!error && (ll_pgp_input(text, &text_in) != RNP_SUCCESS ||
                   ll_pgp_input(packets, &signature_in) != RNP_SUCCESS))
        error = LL_SEAL_RESOURCE;
    if (!error)
        error = run(ring, text_in, signature_in, now, arena, ret);
    rnp_input_destroy(text_in);
    rnp_input_destroy(signature_in);
    ll_pgp_end(ring);
    ll_buf_release(&room);
    return error;
}
