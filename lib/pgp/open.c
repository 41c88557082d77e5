/* See include/letterlock/pgp.h: opening messages. */
#include "lib/pgp/ring.h"

#include "lib/pgp/packet.h"
#include "lib/pgp/signatures.h"

/* ---- before librnp sees it: the outermost packets ---- */

struct shape {
    size_t keys;      /* session keys for recipients and passwords that librnp can read */
    size_t passwords; /* ... those for passwords */
    size_t strange;   /* session keys and signatures that it cannot read */
    bool encrypted;   /* outermost, with integrity protection */
};

/* For a recipient: version 3 with an algorithm of RFC 4880 9.1 or ECDH. */
static bool pkesk_known(struct ll_slice body)
{
    uint8_t algorithm = body.n > 9 ? body.p[9] : 0;

    return body.n > 9 && body.p[0] == 3 && (algorithm <= 3 || algorithm == 16 || algorithm == 18);
}

/* For a password: version 4, or 5 of the drafts, with a way to stretch it of RFC 4880 3.7.1;
 * Argon2 (RFC 9580 3.7.1.4) is none. */
static bool skesk_known(struct ll_slice body)
{
    uint8_t version = body.n > 0 ? body.p[0] : 0;
    size_t at = version == 5 ? 3 : 2;

    return (version == 4 || version == 5) && body.n > at && body.p[at] <= 3;
}

/* Signatures have versions 3 and 4, what announces one has version 3. */
static bool signature_known(const struct ll_pgp_packet *p)
{
    uint8_t version = p->body.n > 0 ? p->body.p[0] : 0;

    return version == 3 || (p->tag == LL_PGP_TAG_SIGNATURE && version == 4);
}

/* What is encrypted has to be worth it: with integrity protection of a known kind, and for
 * somebody. */
static enum ll_seal_error look_encrypted(const struct ll_pgp_packet *p, struct shape *ret)
{
    if (p->tag == LL_PGP_TAG_ENCRYPTED)
        return LL_SEAL_INTEGRITY;
    if (p->tag == LL_PGP_TAG_SEIPD && p->body.n > 0 && p->body.p[0] != 1)
        return LL_SEAL_UNSUPPORTED; /* version 2 (RFC 9580 5.13.2) */
    ret->encrypted = true;
    if (ret->keys == 0)
        return ret->strange ? LL_SEAL_UNSUPPORTED : LL_SEAL_MALFORMED;
    return LL_SEAL_OK;
}

/* One layer of encryption, outermost, or none; what begins otherwise is no message. */
static enum ll_seal_error look(struct ll_slice rest, struct shape *ret)
{
    struct ll_pgp_packet p;

    while (ret->keys + ret->strange <= LL_PGP_RECIPIENTS_MAX && ll_pgp_packet_next(&rest, &p)) {
        bool known = true;

        switch (p.tag) {
        case LL_PGP_TAG_MARKER:
            continue;
        case LL_PGP_TAG_SKESK:
            known = skesk_known(p.body);
            ret->passwords += known;
            break;
        case LL_PGP_TAG_PKESK:
            known = pkesk_known(p.body);
            break;
        case LL_PGP_TAG_ENCRYPTED:
        case LL_PGP_TAG_SEIPD:
        case LL_PGP_TAG_OCB:
            return look_encrypted(&p, ret);
        case LL_PGP_TAG_ONE_PASS:
        case LL_PGP_TAG_SIGNATURE:
            ret->strange += !signature_known(&p);
            /* fall through */
        case LL_PGP_TAG_COMPRESSED:
        case LL_PGP_TAG_LITERAL:
            return ret->keys ? LL_SEAL_MALFORMED : LL_SEAL_OK;
        default:
            return LL_SEAL_MALFORMED;
        }
        ret->keys += known;
        ret->strange += !known;
    }
    return ret->keys + ret->strange > LL_PGP_RECIPIENTS_MAX ? LL_SEAL_TOO_LARGE : LL_SEAL_MALFORMED;
}

/* ---- after it ---- */

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
                                     const struct shape *shape)
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
static enum ll_seal_error why_failed(rnp_result_t code, const struct shape *shape)
{
    enum ll_seal_error error = ll_pgp_error(code);

    if (error != LL_SEAL_MALFORMED)
        return error;
    if (shape->encrypted)
        return LL_SEAL_INTEGRITY;
    return shape->strange ? LL_SEAL_UNSUPPORTED : LL_SEAL_MALFORMED;
}

static enum ll_seal_error judge(struct ll_pgp *ring, rnp_op_verify_t op, rnp_result_t code,
                                const struct shape *shape, int64_t now, struct ll_arena *arena,
                                struct ll_opened *ret)
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
                              const struct shape *shape, int64_t now, struct ll_buf *out,
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
    struct shape shape = {0};
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
            error = look(packets, &shape);
    }
    if (!error) {
        ring->password = password;
        ring->asked = false;
        error = run(ring, packets, &shape, now, out, arena, ret);
        ring->password = ll_slice(NULL, 0);
    }
    ll_buf_release(&room);
    ll_pgp_end(ring);
    return error;
}
