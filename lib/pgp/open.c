/* See include/letterlock/pgp.h: opening messages. */
#include "lib/pgp/ring.h"

#include "lib/pgp/packet.h"
#include "lib/pgp/shape.h"
#include "lib/pgp/signatures.h"

/* ---- what librnp found ---- */

static void read_recipients(rnp_op_verify_t op, struct ll_arena *arena, struct ll_opened *ret)
{
    size_t n = 0;

    rnp_op_verify_get_recipient_count(op, &n);
    n = n < LL_PGP_RECIPIENTS_MAX ? n : LL_PGP_RECIPIENTS_MAX;
    ret->recipient = ll_arena_alloc(arena, (n + 1) * sizeof(*ret->recipient));
    for (size_t i = 0; ret->recipient && i < n; i++) {
        rnp_recipient_handle_t recipient = NULL;
        char *id = NULL;

        if (rnp_op_verify_get_recipient_at(op, i, &recipient) == RNP_SUCCESS &&
            rnp_recipient_get_keyid(recipient, &id) == RNP_SUCCESS)
            ret->recipient[ret->n_recipient++] = ll_pgp_word(arena, id);
    }
}

/* Ciphers that are read for the sake of old letters. */
static bool cipher_weak(struct ll_slice cipher)
{
    static const char *const old[] = {"idea", "tripledes", "cast5", "blowfish"};

    for (size_t i = 0; i < LL_COUNT(old); i++)
        if (ll_slice_starts(cipher, ll_slice_str(old[i])))
            return true;
    return false;
}

/* Whether the key that opened it is weak. */
static bool key_weak(rnp_ffi_t ffi, rnp_op_verify_t op)
{
    rnp_recipient_handle_t used = NULL;
    rnp_key_handle_t key = NULL;
    struct ll_pgp_state s = {0};
    char *id = NULL;

    if (rnp_op_verify_get_used_recipient(op, &used) == RNP_SUCCESS && used &&
        rnp_recipient_get_keyid(used, &id) == RNP_SUCCESS &&
        rnp_locate_key(ffi, "keyid", id, &key) == RNP_SUCCESS && key)
        ll_pgp_state(key, NULL, 0, &s);
    rnp_key_handle_destroy(key);
    rnp_buffer_destroy(id);
    return s.weak;
}

/* What protected it. False: nothing did, or it was changed. */
static bool read_protection(rnp_op_verify_t op, struct ll_arena *arena, struct ll_opened *ret)
{
    struct ll_buf text = LL_BUF(128);
    char *mode = NULL, *cipher = NULL;
    bool valid = false, none;

    if (rnp_op_verify_get_protection_info(op, &mode, &cipher, &valid) != RNP_SUCCESS)
        return false;
    none = strcmp(mode, "none") == 0;
    ret->encrypted = !none;
    if (!none) {
        /* "cfb-mdc": everything is CFB that is not AEAD. */
        const char *kind = strcmp(mode, "cfb-mdc") == 0 ? "mdc" : mode;

        ll_buf_printf(&text, "%s, %s", cipher, kind);
        for (size_t i = 0; i < text.n; i++)
            text.p[i] = ll_lower(text.p[i]);
        ret->cipher = ll_arena_dup(arena, ll_buf_slice(&text));
        ret->weak = cipher_weak(ret->cipher);
        ret->authenticated = valid && strcmp(mode, "cfb") != 0;
    }
    ll_buf_release(&text);
    rnp_buffer_destroy(mode);
    rnp_buffer_destroy(cipher);
    return none || ret->authenticated;
}

/* Whether a key is here that a recipient names: why nothing opened it. */
static enum ll_seal_error why_closed(struct ll_pgp *ring, const struct ll_opened *o,
                                     const struct ll_pgp_shape *shape)
{
    enum ll_seal_error why = LL_SEAL_NO_KEY;

    if (shape->passwords == shape->keys || (ring->asked && ring->password.n > 0))
        return ring->password.n ? LL_SEAL_PASSWORD : LL_SEAL_LOCKED;
    for (size_t i = 0; i < o->n_recipient; i++) {
        rnp_key_handle_t key = NULL;
        struct ll_pgp_state s = {0};
        char id[17] = {0};

        for (size_t k = 0; k < o->recipient[i].n && k < 16; k++)
            id[k] = (char)ll_upper(o->recipient[i].p[k]);
        if (rnp_locate_key(ring->ffi, "keyid", id, &key) != RNP_SUCCESS || !key)
            continue;
        ll_pgp_state(key, NULL, 0, &s);
        rnp_key_handle_destroy(key);
        if (s.secret && !s.locked)
            return LL_SEAL_INTEGRITY; /* the key is here and open: the message is not what it was */
        if (s.secret)
            why = LL_SEAL_LOCKED;
    }
    return why;
}

/* Faults of signatures are the business of those signatures. */
static bool about_signatures(rnp_result_t code)
{
    return code == RNP_ERROR_SIGNATURE_INVALID || code == RNP_ERROR_SIGNATURE_EXPIRED ||
           code == RNP_ERROR_SIGNATURE_UNKNOWN || code == RNP_ERROR_KEY_NOT_FOUND;
}

/* librnp gave up: what of the message made it so. */
static enum ll_seal_error why_failed(rnp_result_t code, const struct ll_pgp_shape *shape)
{
    enum ll_seal_error error = ll_pgp_error(code);

    if (error != LL_SEAL_MALFORMED)
        return error;
    if (shape->encrypted)
        return LL_SEAL_INTEGRITY;
    return shape->strange ? LL_SEAL_UNSUPPORTED : LL_SEAL_MALFORMED;
}

static enum ll_seal_error judge(struct ll_pgp *ring, rnp_op_verify_t op, rnp_result_t code,
                                const struct ll_pgp_shape *shape, int64_t now,
                                struct ll_arena *arena, struct ll_opened *ret)
{
    bool safe = read_protection(op, arena, ret);
    size_t passwords = 0;

    read_recipients(op, arena, ret);
    if (code == RNP_ERROR_NO_SUITABLE_KEY || code == RNP_ERROR_BAD_PASSWORD)
        return why_closed(ring, ret, shape);
    if (code != RNP_SUCCESS && !about_signatures(code))
        return why_failed(code, shape);
    if (!safe)
        return LL_SEAL_INTEGRITY;
    /* A second encryption inside, or one that is not outermost. */
    rnp_op_verify_get_symenc_count(op, &passwords);
    if (ret->encrypted != shape->encrypted || ret->n_recipient + passwords > shape->keys)
        return LL_SEAL_MALFORMED;
    ret->weak |= ret->encrypted && key_weak(ring->ffi, op);
    return ll_pgp_signatures(ring->ffi, op, now, arena, ret);
}

/* The most that a message of n octets may open to. */
static size_t text_max(size_t n)
{
    size_t max = n < LL_PGP_TEXT_MAX / LL_PGP_RATIO_MAX ? n * LL_PGP_RATIO_MAX : LL_PGP_TEXT_MAX;

    return max < LL_PGP_TEXT_FREE ? LL_PGP_TEXT_FREE : max;
}

static enum ll_seal_error run(struct ll_pgp *ring, struct ll_slice packets,
                              const struct ll_pgp_shape *shape, int64_t now, struct ll_buf *out,
                              struct ll_arena *arena, struct ll_opened *ret)
{
    enum ll_seal_error error = LL_SEAL_RESOURCE;
    struct ll_opened opened = {0};
    struct ll_pgp_sink sink;
    rnp_op_verify_t op = NULL;
    rnp_input_t input = NULL;
    rnp_result_t code;

    if (ll_pgp_sink_open(&sink, out, text_max(packets.n)) == RNP_SUCCESS &&
        ll_pgp_input(packets, &input) == RNP_SUCCESS &&
        rnp_op_verify_create(&op, ring->ffi, input, sink.output) == RNP_SUCCESS) {
        rnp_op_verify_set_flags(op, RNP_VERIFY_IGNORE_SIGS_ON_DECRYPT);
        code = rnp_op_verify_execute(op);
        error = judge(ring, op, code, shape, now, arena, &opened);
    }
    rnp_op_verify_destroy(op);
    rnp_input_destroy(input);
    error = ll_pgp_sink_close(&sink, error);
    if (!error || error == LL_SEAL_NO_KEY || error == LL_SEAL_LOCKED)
        *ret = opened;
    return error;
}

/* ---- recipients without a key id ---- */

/* Writes a key id where the message has none. */
static void name_hidden(struct ll_buf *packets, const struct ll_pgp_shape *shape,
                        struct ll_slice id)
{
    for (size_t i = 0; i < shape->n_hidden; i++)
        memcpy(packets->p + shape->hidden[i], id.p, id.n);
}

/* Tries one of our keys; LOCKED where it might be the one. */
static enum ll_seal_error try_key(struct ll_pgp *ring, const char *hex, struct ll_buf *packets,
                                  const struct ll_pgp_shape *shape, int64_t now, struct ll_buf *out,
                                  struct ll_arena *arena, struct ll_opened *ret)
{
    struct ll_buf id = LL_BUF(8);
    rnp_key_handle_t key = NULL;
    enum ll_seal_error error = LL_SEAL_NO_KEY;
    struct ll_pgp_state s = {0};

    if (rnp_locate_key(ring->ffi, "keyid", hex, &key) == RNP_SUCCESS && key)
        ll_pgp_state(key, NULL, now, &s);
    if (s.secret && s.can_encrypt && s.locked) {
        error = LL_SEAL_LOCKED;
    } else if (s.secret && s.can_encrypt && ll_hex_decode(&id, ll_slice_str(hex)) && id.n == 8) {
        name_hidden(packets, shape, ll_buf_slice(&id));
        error = run(ring, ll_buf_slice(packets), shape, now, out, arena, ret);
    }
    rnp_key_handle_destroy(key);
    ll_buf_release(&id);
    return error;
}

/* librnp 0.16 opens nothing that is for nobody by name: our own keys are written there in turn. */
static enum ll_seal_error open_hidden(struct ll_pgp *ring, struct ll_slice packets,
                                      const struct ll_pgp_shape *shape, int64_t now,
                                      struct ll_buf *out, struct ll_arena *arena,
                                      struct ll_opened *ret)
{
    enum ll_seal_error error = LL_SEAL_NO_KEY, one;
    struct ll_buf copy = LL_BUF(packets.n);
    rnp_identifier_iterator_t it = NULL;
    const char *hex = NULL;

    ll_buf_put_slice(&copy, packets);
    if (copy.failed || rnp_identifier_iterator_create(ring->ffi, &it, "keyid") != RNP_SUCCESS)
        error = LL_SEAL_RESOURCE;
    while (it && error && rnp_identifier_iterator_next(it, &hex) == RNP_SUCCESS && hex) {
        one = try_key(ring, hex, &copy, shape, now, out, arena, ret);
        if (one == LL_SEAL_OK || one == LL_SEAL_LOCKED)
            error = one;
    }
    rnp_identifier_iterator_destroy(it);
    ll_buf_release(&copy);
    return error;
}

/* ---- cleartext signatures (RFC 4880 7) ---- */

#define SIGNATURE "-----BEGIN PGP SIGNATURE-----"

static bool is_cleartext(struct ll_slice message)
{
    struct ll_slice head = LL_LIT("-----BEGIN PGP ");
    size_t at = ll_slice_search(message, head);

    return ll_slice_starts(ll_slice_skip(message, at + head.n), LL_LIT("SIGNED MESSAGE-----"));
}

/* librnp reads these as they stand, but for the signature's armor, which gets a checksum here. A
 * line of dashes in the text is escaped, so the first one is the armor's. */
static enum ll_seal_error renew_armor(struct ll_slice message, struct ll_buf *room,
                                      struct ll_slice *ret)
{
    size_t at = ll_slice_search(message, LL_LIT("\n" SIGNATURE));
    struct ll_slice packets = {0};
    struct ll_buf binary = LL_BUF(0);
    rnp_input_t input = NULL;
    struct ll_pgp_sink sink;
    enum ll_seal_error error = ll_pgp_dearmor(ll_slice_skip(message, at), &binary, &packets);

    ll_buf_init(room, message.n + LL_PGP_KEYS_ROOM);
    ll_buf_put_slice(room, ll_slice_cut(message, 0, at + 1));
    if (!error && (ll_pgp_sink_open(&sink, room, LL_PGP_KEYS_ROOM) != RNP_SUCCESS ||
                   ll_pgp_input(packets, &input) != RNP_SUCCESS))
        error = LL_SEAL_RESOURCE;
    if (!error) {
        error = ll_pgp_error(rnp_enarmor(input, sink.output, "signature"));
        error = ll_pgp_sink_close(&sink, error);
    }
    rnp_input_destroy(input);
    ll_buf_release(&binary);
    *ret = ll_buf_slice(room);
    return error;
}

enum ll_seal_error ll_pgp_open(struct ll_pgp *ring, struct ll_slice message,
                               struct ll_slice password, int64_t now, struct ll_buf *out,
                               struct ll_arena *arena, struct ll_opened *ret)
{
    struct ll_buf room = LL_BUF(0);
    struct ll_slice packets = {0};
    struct ll_pgp_shape shape = {0};
    enum ll_seal_error error;

    if (message.n > LL_PGP_MESSAGE_MAX)
        return LL_SEAL_TOO_LARGE;
    if (password.n > LL_PGP_PASSWORD_MAX || ll_slice_find(password, '\0') < password.n)
        return LL_SEAL_PASSWORD;
    ll_pgp_begin(ring, now);
    if (is_cleartext(message)) {
        error = renew_armor(message, &room, &packets);
    } else {
        error = ll_pgp_dearmor(message, &room, &packets);
        if (!error)
            error = ll_pgp_look(packets, &shape);
    }
    if (!error) {
        ring->password = password;
        ring->asked = false;
        error = run(ring, packets, &shape, now, out, arena, ret);
        if (error == LL_SEAL_NO_KEY && shape.n_hidden)
            error = open_hidden(ring, packets, &shape, now, out, arena, ret);
        ring->password = ll_slice(NULL, 0);
    }
    ll_buf_release(&room);
    ll_pgp_end(ring);
    return error;
}
