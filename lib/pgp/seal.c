/* See include/letterlock/pgp.h: signing and encrypting. */
#include "lib/pgp/ring.h"

#define CIPHER "AES256"
#define HASH   "SHA256"

static enum ll_seal_error sign_detached(rnp_ffi_t ffi, rnp_key_handle_t key, rnp_input_t input,
                                        rnp_output_t output, int64_t now)
{
    rnp_op_sign_t op = NULL;
    rnp_result_t code = rnp_op_sign_detached_create(&op, ffi, input, output);

    if (code == RNP_SUCCESS)
        code = rnp_op_sign_set_armor(op, true);
    if (code == RNP_SUCCESS)
        code = rnp_op_sign_set_hash(op, HASH);
    if (code == RNP_SUCCESS)
        code = rnp_op_sign_set_creation_time(op, (uint32_t)now);
    if (code == RNP_SUCCESS)
        code = rnp_op_sign_add_signature(op, key, NULL);
    if (code == RNP_SUCCESS)
        code = rnp_op_sign_execute(op);
    rnp_op_sign_destroy(op);
    return ll_pgp_error(code);
}

enum ll_seal_error ll_pgp_sign(struct ll_pgp *ring, struct ll_slice signer, struct ll_slice text,
                               int64_t now, struct ll_buf *out)
{
    struct ll_pgp_sink sink;
    rnp_key_handle_t key = NULL;
    rnp_input_t input = NULL;
    enum ll_seal_error error;

    ll_pgp_begin(ring, now);
    error = ll_pgp_pick(ring, signer, LL_PGP_TO_SIGN, now, &key);
    if (!error) {
        if (ll_pgp_sink_open(&sink, out, LL_PGP_KEYS_ROOM) != RNP_SUCCESS ||
            ll_pgp_input(text, &input) != RNP_SUCCESS)
            error = LL_SEAL_RESOURCE;
        else
            error = sign_detached(ring->ffi, key, input, sink.output, now);
        rnp_input_destroy(input);
        error = ll_pgp_sink_close(&sink, error);
    }
    rnp_key_handle_destroy(key);
    ll_pgp_end(ring);
    return error;
}

/* ---- encryption ---- */

/* Adds a recipient, and notes whether the key's owner can do without OCB. */
static enum ll_seal_error add_recipient(struct ll_pgp *ring, rnp_op_encrypt_t op,
                                        struct ll_slice fingerprint, int64_t now, bool *ocb)
{
    rnp_key_handle_t primary = NULL, key = NULL;
    enum ll_seal_error error = ll_pgp_pick(ring, fingerprint, LL_PGP_TO_ENCRYPT, now, &key);

    if (!error)
        error = ll_pgp_error(rnp_op_encrypt_add_recipient(op, key));
    if (!error && *ocb && !ll_pgp_find(ring, fingerprint, &primary))
        *ocb = ll_pgp_prefers_ocb(primary);
    rnp_key_handle_destroy(primary);
    rnp_key_handle_destroy(key);
    return error;
}

static enum ll_seal_error add_signer(struct ll_pgp *ring, rnp_op_encrypt_t op,
                                     struct ll_slice signer, int64_t now)
{
    rnp_key_handle_t key = NULL;
    enum ll_seal_error error = ll_pgp_pick(ring, signer, LL_PGP_TO_SIGN, now, &key);

    if (!error)
        error = ll_pgp_error(rnp_op_encrypt_add_signature(op, key, NULL));
    if (!error)
        error = ll_pgp_error(rnp_op_encrypt_set_creation_time(op, (uint32_t)now));
    rnp_key_handle_destroy(key);
    return error;
}

static enum ll_seal_error run(rnp_op_encrypt_t op, bool ocb)
{
    rnp_result_t code = rnp_op_encrypt_set_armor(op, true);

    if (code == RNP_SUCCESS)
        code = rnp_op_encrypt_set_cipher(op, CIPHER);
    if (code == RNP_SUCCESS)
        code = rnp_op_encrypt_set_hash(op, HASH);
    if (code == RNP_SUCCESS)
        code = rnp_op_encrypt_set_compression(op, "Uncompressed", 0);
    if (code == RNP_SUCCESS && ocb)
        code = rnp_op_encrypt_set_aead(op, "OCB");
    if (code == RNP_SUCCESS)
        code = rnp_op_encrypt_execute(op);
    return ll_pgp_error(code);
}

/* What an encryption is given: keys or a password. */
struct wanted {
    const struct ll_slice *recipient;
    size_t n;
    struct ll_slice signer, password;
    bool packets; /* the text is a message already */
};

static enum ll_seal_error add_password(rnp_op_encrypt_t op, struct ll_slice password)
{
    struct ll_buf secret;
    enum ll_seal_error error = LL_SEAL_MALFORMED;

    if (ll_pgp_secret_str(password, &secret))
        error = ll_pgp_error(
            rnp_op_encrypt_add_password(op, (const char *)secret.p, HASH, LL_PGP_STRETCH, CIPHER));
    ll_buf_wipe(&secret);
    return error;
}

static enum ll_seal_error set_up(struct ll_pgp *ring, rnp_op_encrypt_t op, const struct wanted *w,
                                 int64_t now)
{
    enum ll_seal_error error = LL_SEAL_OK;
    bool ocb = w->n > 0;

    for (size_t i = 0; !error && i < w->n; i++)
        error = add_recipient(ring, op, w->recipient[i], now, &ocb);
    if (!error && w->password.n > 0)
        error = add_password(op, w->password);
    if (!error && w->signer.n > 0)
        error = add_signer(ring, op, w->signer, now);
    if (!error && w->packets)
        error = ll_pgp_error(rnp_op_encrypt_set_flags(op, RNP_ENCRYPT_NOWRAP));
    return error ? error : run(op, ocb);
}

static enum ll_seal_error encrypt(struct ll_pgp *ring, const struct wanted *w, struct ll_slice text,
                                  int64_t now, struct ll_buf *out)
{
    struct ll_pgp_sink sink;
    rnp_input_t input = NULL;
    rnp_op_encrypt_t op = NULL;
    enum ll_seal_error error = LL_SEAL_RESOURCE;

    if (text.n > LL_PGP_TEXT_MAX || w->n > LL_PGP_RECIPIENTS_MAX)
        return LL_SEAL_TOO_LARGE;
    if (w->n == 0 && w->password.n == 0)
        return LL_SEAL_MALFORMED;
    ll_pgp_begin(ring, now);
    if (ll_pgp_sink_open(&sink, out, LL_PGP_MESSAGE_MAX) == RNP_SUCCESS &&
        ll_pgp_input(text, &input) == RNP_SUCCESS &&
        rnp_op_encrypt_create(&op, ring->ffi, input, sink.output) == RNP_SUCCESS)
        error = set_up(ring, op, w, now);
    rnp_op_encrypt_destroy(op);
    rnp_input_destroy(input);
    error = ll_pgp_sink_close(&sink, error);
    ll_pgp_end(ring);
    return error;
}

enum ll_seal_error ll_pgp_encrypt(struct ll_pgp *ring, const struct ll_slice *recipient, size_t n,
                                  struct ll_slice signer, struct ll_slice text, int64_t now,
                                  struct ll_buf *out)
{
    struct wanted w = {.recipient = recipient, .n = n, .signer = signer};

    return encrypt(ring, &w, text, now, out);
}

enum ll_seal_error ll_pgp_encrypt_packets(struct ll_pgp *ring, const struct ll_slice *recipient,
                                          size_t n, struct ll_slice packets, int64_t now,
                                          struct ll_buf *out)
{
    struct wanted w = {.recipient = recipient, .n = n, .packets = true};

    return encrypt(ring, &w, packets, now, out);
}

enum ll_seal_error ll_pgp_encrypt_password(struct ll_pgp *ring, struct ll_slice password,
                                           struct ll_slice text, int64_t now, struct ll_buf *out)
{
    struct wanted w = {.password = password};

    return encrypt(ring, &w, text, now, out);
}
