/* Messages that are not as they should be, and what RFC 3156 makes of those that are. */
#include "tests/lib/pgp/craft.h"

#include "lib/pgp/packet.h"

struct world {
    struct ll_arena arena;
    struct ll_pgp *ring; /* Ann's and Bob's keys, secret and all */
    struct ll_slice a, b;
    struct ll_buf packets, sealed, out;
    struct ll_opened o;
};

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof(*w));

    assert_non_null(w);
    ll_arena_init(&w->arena, 16 << 20);
    w->ring = ll_pgp_new();
    w->a = make(w->ring, &w->arena, "Ann <ann@example.org>");
    w->b = make(w->ring, &w->arena, "Bob <bob@example.net>");
    w->packets = w->sealed = w->out = BUF;
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    ll_pgp_free(w->ring);
    ll_arena_release(&w->arena);
    ll_buf_release(&w->packets);
    ll_buf_release(&w->sealed);
    ll_buf_release(&w->out);
    free(w);
    return 0;
}

static enum ll_seal_error open_it(struct world *w, struct ll_slice message)
{
    ll_buf_wipe(&w->out);
    return ll_pgp_open(w->ring, message, NOTHING, NOW, &w->out, &w->arena, &w->o);
}

static void crafted_packets_open_where_they_are_right(void **state)
{
    struct world *w = *state;
    struct ll_buf inner = BUF;

    put_literal(&inner, LL_LIT("plain"));
    put_compressed(&w->packets, TEXT(inner));
    seal_packets(w->ring, w->b, TEXT(w->packets), "AES256", &w->sealed);
    assert_ok(open_it(w, TEXT(w->sealed)));
    assert_text(TEXT(w->out), "plain");
    assert_true(w->o.authenticated);
    /* And without a seal around them. */
    assert_ok(open_it(w, TEXT(w->packets)));
    assert_text(TEXT(w->out), "plain");
    assert_false(w->o.encrypted || w->o.authenticated);
    assert_int_equal(w->o.n_signature, 0);
    ll_buf_release(&inner);
}

/* A cipher that is read for the sake of old letters. */
static void old_ciphers_open_with_a_warning(void **state)
{
    static const struct {
        const char *cipher, *text;
        bool weak;
    } rows[] = {
        {"AES128", "aes128, mdc", false},           {"AES192", "aes192, mdc", false},
        {"CAMELLIA256", "camellia256, mdc", false}, {"TWOFISH", "twofish, mdc", false},
        {"TRIPLEDES", "tripledes, mdc", true},      {"CAST5", "cast5, mdc", true},
        {"BLOWFISH", "blowfish, mdc", true},        {"IDEA", "idea, mdc", true},
    };
    struct world *w = *state;

    put_literal(&w->packets, LL_LIT("plain"));
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        bool there = false;

        rnp_supports_feature(RNP_FEATURE_SYMM_ALG, rows[i].cipher, &there);
        if (!there)
            continue;
        ll_buf_clear(&w->sealed);
        seal_packets(w->ring, w->b, TEXT(w->packets), rows[i].cipher, &w->sealed);
        assert_ok(open_it(w, TEXT(w->sealed)));
        assert_text(w->o.cipher, rows[i].text);
        assert_int_equal(w->o.weak, rows[i].weak);
    }
}

/* The attack on MDC: the packet turned into one without (RFC 4880 13.11; Efail). */
static void protection_cannot_be_taken_off(void **state)
{
    struct world *w = *state;
    struct ll_buf changed = BUF, body = BUF;
    struct ll_slice rest;
    struct ll_pgp_packet p;

    put_literal(&w->packets, LL_LIT("the secret"));
    seal_packets(w->ring, w->b, TEXT(w->packets), "AES256", &w->sealed);
    rest = TEXT(w->sealed);
    while (ll_pgp_packet_next(&rest, &p))
        if (p.tag == LL_PGP_TAG_SEIPD) {
            /* librnp writes partial lengths; short ones are one part. */
            assert_false(p.open);
            put_packet(&changed, LL_PGP_TAG_ENCRYPTED, ll_slice_skip(p.body, 1));
        } else {
            put_packet(&changed, p.tag, p.body);
        }
    assert_error(open_it(w, TEXT(changed)), LL_SEAL_INTEGRITY);
    assert_int_equal(w->out.n, 0);
    /* Version 2 of it is not known here. */
    ll_buf_clear(&changed);
    rest = TEXT(w->sealed);
    while (ll_pgp_packet_next(&rest, &p)) {
        ll_buf_clear(&body);
        ll_buf_put_slice(&body, p.body);
        if (p.tag == LL_PGP_TAG_SEIPD)
            body.p[0] = 2;
        put_packet(&changed, p.tag, TEXT(body));
    }
    assert_error(open_it(w, TEXT(changed)), LL_SEAL_UNSUPPORTED);
    ll_buf_release(&changed);
    ll_buf_release(&body);
}

/* One layer of encryption, outermost. */
static void nested_encryption_is_refused(void **state)
{
    struct world *w = *state;
    struct ll_buf twice = BUF, wrapped = BUF;

    put_literal(&w->packets, LL_LIT("the secret"));
    seal_packets(w->ring, w->b, TEXT(w->packets), "AES256", &w->sealed);
    seal_packets(w->ring, w->a, TEXT(w->sealed), "AES256", &twice);
    /* librnp stops within the inner one, so that nothing proves the outer one. */
    assert_error(open_it(w, TEXT(twice)), LL_SEAL_INTEGRITY);
    assert_int_equal(w->out.n, 0);
    put_compressed(&wrapped, TEXT(w->sealed));
    assert_error(open_it(w, TEXT(wrapped)), LL_SEAL_MALFORMED);
    assert_int_equal(w->out.n, 0);
    ll_buf_release(&twice);
    ll_buf_release(&wrapped);
}

/* What comes after a message is not read, and does not hurt it; two messages are one and a rest. */
static void only_what_is_protected_comes_out(void **state)
{
    struct world *w = *state;
    enum ll_seal_error error;

    put_literal(&w->packets, LL_LIT("first"));
    seal_packets(w->ring, w->b, TEXT(w->packets), "AES256", &w->sealed);
    put_literal(&w->sealed, LL_LIT("appended"));
    error = open_it(w, TEXT(w->sealed));
    if (error == LL_SEAL_OK)
        assert_text(TEXT(w->out), "first");
    else
        assert_int_equal(w->out.n, 0);
    /* A literal before what is sealed. */
    ll_buf_clear(&w->sealed);
    put_literal(&w->sealed, LL_LIT("before"));
    seal_packets(w->ring, w->b, TEXT(w->packets), "AES256", &w->sealed);
    error = open_it(w, TEXT(w->sealed));
    if (error == LL_SEAL_OK) {
        assert_text(TEXT(w->out), "before");
        assert_false(w->o.encrypted || w->o.authenticated);
    }
    /* Two literals inside. */
    ll_buf_clear(&w->sealed);
    put_literal(&w->packets, LL_LIT("second"));
    seal_packets(w->ring, w->b, TEXT(w->packets), "AES256", &w->sealed);
    error = open_it(w, TEXT(w->sealed));
    if (error == LL_SEAL_OK)
        assert_text(TEXT(w->out), "first");
    else
        assert_int_equal(w->out.n, 0);
}

static void bombs_end_at_the_limit(void **state)
{
    struct world *w = *state;
    struct ll_buf literal = BUF, zeros = BUF;

    memset(ll_buf_room(&zeros, LL_PGP_TEXT_FREE), 0, LL_PGP_TEXT_FREE);
    ll_buf_grew(&zeros, LL_PGP_TEXT_FREE);
    put_literal(&literal, TEXT(zeros));
    put_compressed(&w->packets, TEXT(literal));
    seal_packets(w->ring, w->b, TEXT(w->packets), "AES256", &w->sealed);
    assert_true(w->sealed.n < 2000);
    assert_ok(open_it(w, TEXT(w->sealed)));
    assert_int_equal(w->out.n, LL_PGP_TEXT_FREE);
    /* One octet more. */
    ll_buf_putc(&zeros, 0);
    ll_buf_clear(&literal);
    ll_buf_clear(&w->packets);
    ll_buf_clear(&w->sealed);
    put_literal(&literal, TEXT(zeros));
    put_compressed(&w->packets, TEXT(literal));
    seal_packets(w->ring, w->b, TEXT(w->packets), "AES256", &w->sealed);
    assert_error(open_it(w, TEXT(w->sealed)), LL_SEAL_TOO_LARGE);
    assert_int_equal(w->out.n, 0);
    assert_error(open_it(w, TEXT(w->packets)), LL_SEAL_TOO_LARGE);
    /* A long message may open to more, as long as its ratio is an honest one. */
    ll_buf_clear(&literal);
    ll_buf_clear(&w->packets);
    for (uint32_t x = 1, i = 0; i < 2 * LL_PGP_TEXT_FREE; i++)
        ll_buf_putc(&zeros, (uint8_t)((x = x * 1664525 + 1013904223) >> 24));
    put_literal(&literal, TEXT(zeros));
    put_compressed(&w->packets, TEXT(literal));
    assert_ok(open_it(w, TEXT(w->packets)));
    assert_int_equal(w->out.n, zeros.n);
    ll_buf_release(&literal);
    ll_buf_release(&zeros);
}

/* A layer of compression around another, each nearly empty: bounded by the number of layers. */
static void layers_of_compression_are_counted(void **state)
{
    struct world *w = *state;
    struct ll_buf layer = BUF;

    put_literal(&w->packets, LL_LIT("deep"));
    for (unsigned n = 0; n < 64; n++) {
        ll_buf_clear(&layer);
        put_compressed(&layer, TEXT(w->packets));
        ll_buf_clear(&w->packets);
        ll_buf_put_slice(&w->packets, TEXT(layer));
    }
    assert_error(open_it(w, TEXT(w->packets)), LL_SEAL_MALFORMED);
    ll_buf_release(&layer);
}

static void what_is_no_message_is_refused(void **state)
{
    static const char *const rows[] = {
        "",
        "hello",
        "\x99",
        "-----BEGIN PGP MESSAGE-----\n",
        "-----BEGIN PGP MESSAGE-----\n\n-----END PGP MESSAGE-----\n",
        "-----BEGIN PGP MESSAGE-----\n\nyxB iAAA\n-----END PGP MESSAGE-----\n",
        "-----BEGIN PGP SIGNED MESSAGE-----\n\nhello\n",
        ("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nhello\n"
         "-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n"),
        "\xd2\x01\x01", /* sealed for nobody */
    };
    struct world *w = *state;
    struct ll_buf key = BUF;

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        assert_error(open_it(w, SLICE(rows[i])), LL_SEAL_MALFORMED);
        assert_error(ll_pgp_verify(w->ring, LL_LIT("text"), SLICE(rows[i]), NOW, &w->arena, &w->o),
                     LL_SEAL_MALFORMED);
        assert_int_equal(w->out.n, 0);
    }
    assert_ok(ll_pgp_export(w->ring, w->a, LL_PGP_PUBLIC, true, NOTHING, &key));
    assert_error(open_it(w, TEXT(key)), LL_SEAL_MALFORMED);
    assert_error(ll_pgp_verify(w->ring, LL_LIT("text"), TEXT(key), NOW, &w->arena, &w->o),
                 LL_SEAL_MALFORMED);
    assert_error(open_it(w, ll_slice("x", LL_PGP_MESSAGE_MAX + 1ul)), LL_SEAL_TOO_LARGE);
    ll_buf_release(&key);
}

/* Each signature has its own state; one that is good says nothing of another. */
static void several_signatures_are_told_apart(void **state)
{
    struct world *w = *state;
    struct ll_pgp *reader = ll_pgp_new();
    struct ll_buf armor = BUF, both = BUF, part = BUF;
    struct ll_slice packets;

    give(w->ring, reader, w->a, LL_PGP_PUBLIC, NOW, &w->arena);
    assert_ok(ll_pgp_sign(w->ring, w->a, LL_LIT("text"), NOW, &armor));
    assert_ok(ll_pgp_dearmor(TEXT(armor), &part, &packets));
    ll_buf_put_slice(&both, packets);
    ll_buf_release(&part);
    ll_buf_clear(&armor);
    assert_ok(ll_pgp_sign(w->ring, w->b, LL_LIT("text"), NOW, &armor));
    assert_ok(ll_pgp_dearmor(TEXT(armor), &part, &packets));
    ll_buf_put_slice(&both, packets);
    ll_buf_release(&part);
    ll_buf_clear(&armor);
    assert_ok(ll_pgp_sign(w->ring, w->a, LL_LIT("other text"), NOW, &armor));
    assert_ok(ll_pgp_dearmor(TEXT(armor), &part, &packets));
    ll_buf_put_slice(&both, packets);
    assert_ok(ll_pgp_verify(reader, LL_LIT("text"), TEXT(both), NOW, &w->arena, &w->o));
    assert_int_equal(w->o.n_signature, 3);
    assert_int_equal(w->o.signature[0].state, LL_SIGNATURE_GOOD);
    assert_int_equal(w->o.signature[1].state, LL_SIGNATURE_NO_KEY);
    assert_int_equal(w->o.signature[2].state, LL_SIGNATURE_BAD);
    assert_true(ll_slice_eq(w->o.signature[2].fingerprint, w->a));
    ll_pgp_free(reader);
    ll_buf_release(&armor);
    ll_buf_release(&both);
    ll_buf_release(&part);
}

static void a_password_opens_what_it_sealed(void **state)
{
    struct world *w = *state;
    struct ll_pgp *nobody = ll_pgp_new();

    assert_ok(ll_pgp_encrypt_password(nobody, LL_LIT("12 34"), LL_LIT("text"), NOW, &w->sealed));
    assert_ok(
        ll_pgp_open(w->ring, TEXT(w->sealed), LL_LIT("12 34"), NOW, &w->out, &w->arena, &w->o));
    assert_text(TEXT(w->out), "text");
    assert_true(w->o.authenticated);
    assert_int_equal(w->o.n_recipient, 0);
    ll_buf_wipe(&w->out);
    assert_error(
        ll_pgp_open(w->ring, TEXT(w->sealed), LL_LIT("12 35"), NOW, &w->out, &w->arena, &w->o),
        LL_SEAL_PASSWORD);
    assert_error(open_it(w, TEXT(w->sealed)), LL_SEAL_LOCKED);
    assert_error(
        ll_pgp_open(w->ring, TEXT(w->sealed), LL_LIT("a\0b"), NOW, &w->out, &w->arena, &w->o),
        LL_SEAL_PASSWORD);
    assert_int_equal(w->out.n, 0);
    assert_error(ll_pgp_encrypt_password(nobody, NOTHING, LL_LIT("text"), NOW, &w->sealed),
                 LL_SEAL_MALFORMED);
    ll_pgp_free(nobody);
}

static void recipients_have_to_be_there_and_usable(void **state)
{
    struct world *w = *state;
    struct ll_slice to[LL_PGP_RECIPIENTS_MAX + 1];
    struct ll_slice unknown = LL_LIT("0123456789abcdef0123456789abcdef01234567");

    for (size_t i = 0; i < LL_COUNT(to); i++)
        to[i] = w->b;
    assert_error(ll_pgp_encrypt(w->ring, to, 0, NOTHING, LL_LIT("x"), NOW, &w->out),
                 LL_SEAL_MALFORMED);
    assert_error(ll_pgp_encrypt(w->ring, to, LL_COUNT(to), NOTHING, LL_LIT("x"), NOW, &w->out),
                 LL_SEAL_TOO_LARGE);
    to[1] = unknown;
    assert_error(ll_pgp_encrypt(w->ring, to, 2, NOTHING, LL_LIT("x"), NOW, &w->out),
                 LL_SEAL_NO_KEY);
    assert_error(ll_pgp_encrypt(w->ring, to, 1, unknown, LL_LIT("x"), NOW, &w->out),
                 LL_SEAL_NO_KEY);
    assert_int_equal(w->out.n, 0);
    /* A key is not used before it was made. */
    assert_error(ll_pgp_encrypt(w->ring, to, 1, NOTHING, LL_LIT("x"), NOW - DAY, &w->out),
                 LL_SEAL_UNUSABLE_KEY);
}

/* gpg --throw-keyids: the recipient is not named (RFC 4880 5.1). */
static void hidden_recipients_are_found(void **state)
{
    struct world *w = *state;
    struct ll_pgp *stranger = ll_pgp_new();
    struct ll_buf hidden = BUF, key = BUF;
    struct ll_slice rest, locked;
    struct ll_pgp_packet p;

    make(stranger, &w->arena, "Eve <eve@example.org>");
    put_literal(&w->packets, LL_LIT("the secret"));
    seal_packets(w->ring, w->b, TEXT(w->packets), "AES256", &w->sealed);
    rest = TEXT(w->sealed);
    while (ll_pgp_packet_next(&rest, &p)) {
        ll_buf_clear(&key);
        ll_buf_put_slice(&key, p.body);
        if (p.tag == LL_PGP_TAG_PKESK)
            memset(key.p + 1, 0, 8);
        put_packet(&hidden, p.tag, TEXT(key));
    }
    assert_ok(open_it(w, TEXT(hidden)));
    assert_text(TEXT(w->out), "the secret");
    assert_true(w->o.authenticated);
    ll_buf_wipe(&w->out);
    assert_error(ll_pgp_open(stranger, TEXT(hidden), NOTHING, NOW, &w->out, &w->arena, &w->o),
                 LL_SEAL_NO_KEY);
    assert_int_equal(w->out.n, 0);
    assert_ok(ll_pgp_set_password(w->ring, w->b, LL_LIT("pw")));
    give(w->ring, stranger, w->b, LL_PGP_SECRET, NOW, &w->arena);
    locked = w->b;
    assert_error(ll_pgp_open(stranger, TEXT(hidden), NOTHING, NOW, &w->out, &w->arena, &w->o),
                 LL_SEAL_LOCKED);
    assert_ok(ll_pgp_unlock(stranger, locked, LL_LIT("pw")));
    assert_ok(ll_pgp_open(stranger, TEXT(hidden), NOTHING, NOW, &w->out, &w->arena, &w->o));
    assert_text(TEXT(w->out), "the secret");
    ll_pgp_free(stranger);
    ll_buf_release(&hidden);
    ll_buf_release(&key);
}

/* Session keys are counted before anything is done with them. */
static void session_keys_are_counted(void **state)
{
    static const struct {
        uint8_t tag;
        size_t max;
    } rows[] = {{LL_PGP_TAG_SKESK, LL_PGP_PASSWORDS_MAX},
                {LL_PGP_TAG_PKESK, LL_PGP_RECIPIENTS_MAX}};
    struct world *w = *state;
    struct ll_buf esk = BUF, many = BUF;
    struct ll_slice rest;
    struct ll_pgp_packet p;

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        ll_buf_clear(&w->sealed);
        ll_buf_clear(&esk);
        put_literal(&w->packets, LL_LIT("x"));
        if (rows[i].tag == LL_PGP_TAG_PKESK)
            seal_packets(w->ring, w->b, TEXT(w->packets), "AES256", &w->sealed);
        else
            ll_buf_put(&w->sealed,
                       "\xc3\x0d\x04\x09\x03\x08"
                       "saltsalt"
                       "\x00\xd2\x02\x01x",
                       19);
        rest = TEXT(w->sealed);
        assert_true(ll_pgp_packet_next(&rest, &p) && p.tag == rows[i].tag);
        put_packet(&esk, p.tag, p.body);
        for (size_t n = rows[i].max; n <= rows[i].max + 1; n++) {
            ll_buf_clear(&many);
            for (size_t k = 0; k < n; k++)
                ll_buf_put_slice(&many, TEXT(esk));
            ll_buf_put_slice(&many, rest);
            if (n > rows[i].max)
                assert_error(open_it(w, TEXT(many)), LL_SEAL_TOO_LARGE);
            else
                assert_true(open_it(w, TEXT(many)) != LL_SEAL_TOO_LARGE);
        }
    }
    ll_buf_release(&esk);
    ll_buf_release(&many);
}

static void nothing_can_be_sealed_too(void **state)
{
    struct world *w = *state;
    struct ll_buf sig = BUF;

    assert_ok(ll_pgp_sign(w->ring, w->a, NOTHING, NOW, &sig));
    assert_ok(ll_pgp_verify(w->ring, NOTHING, TEXT(sig), NOW, &w->arena, &w->o));
    assert_int_equal(w->o.signature[0].state, LL_SIGNATURE_GOOD);
    assert_ok(ll_pgp_verify(w->ring, LL_LIT("\n"), TEXT(sig), NOW, &w->arena, &w->o));
    assert_int_equal(w->o.signature[0].state, LL_SIGNATURE_BAD);
    assert_ok(ll_pgp_encrypt(w->ring, &w->b, 1, w->a, NOTHING, NOW, &w->sealed));
    assert_ok(open_it(w, TEXT(w->sealed)));
    assert_int_equal(w->out.n, 0);
    assert_int_equal(w->o.signature[0].state, LL_SIGNATURE_GOOD);
    ll_buf_release(&sig);
}

/* ---- RFC 3156 ---- */

#define ENTITY "Content-Type: text/plain\r\n\r\nline one\r\nline=20\r\n"

static void entities_are_signed_as_they_stand(void **state)
{
    static const char head[] = "Content-Type: multipart/signed; micalg=pgp-sha256;\r\n"
                               " protocol=\"application/pgp-signature\";\r\n"
                               " boundary=\"=_b\"\r\n\r\n--=_b\r\n" ENTITY "\r\n--=_b\r\n";
    struct world *w = *state;
    struct ll_slice out, sig;

    assert_ok(ll_pgp_mime_sign(w->ring, w->a, LL_LIT(ENTITY), LL_LIT("=_b"), NOW, &w->out));
    out = TEXT(w->out);
    assert_true(ll_slice_starts(out, SLICE(head)));
    assert_true(ll_slice_ends(out, LL_LIT("\r\n--=_b--\r\n")));
    sig = ll_slice_skip(out, ll_slice_search(out, LL_LIT("-----BEGIN PGP SIGNATURE")));
    assert_ok(ll_pgp_verify(w->ring, LL_LIT(ENTITY), sig, NOW, &w->arena, &w->o));
    assert_int_equal(w->o.signature[0].state, LL_SIGNATURE_GOOD);
}

static void entities_are_sealed_in_two_parts(void **state)
{
    static const char head[] = "Content-Type: multipart/encrypted;\r\n"
                               " protocol=\"application/pgp-encrypted\";\r\n"
                               " boundary=\"=_b\"\r\n\r\n--=_b\r\n"
                               "Content-Type: application/pgp-encrypted\r\n";
    struct world *w = *state;
    struct ll_buf letter = BUF;
    struct ll_slice message;

    assert_ok(
        ll_pgp_mime_encrypt(w->ring, &w->b, 1, w->a, LL_LIT(ENTITY), LL_LIT("=_b"), NOW, &letter));
    assert_true(ll_slice_starts(TEXT(letter), SLICE(head)));
    assert_true(ll_slice_search(TEXT(letter), LL_LIT("\r\n\r\nVersion: 1\r\n\r\n--=_b\r\n")) <
                letter.n);
    assert_true(ll_slice_ends(TEXT(letter), LL_LIT("\r\n--=_b--\r\n")));
    message =
        ll_slice_skip(TEXT(letter), ll_slice_search(TEXT(letter), LL_LIT("-----BEGIN PGP MESS")));
    assert_ok(open_it(w, message));
    assert_text(TEXT(w->out), ENTITY);
    assert_int_equal(w->o.signature[0].state, LL_SIGNATURE_GOOD);
    ll_buf_release(&letter);
}

static void what_would_not_survive_mail_is_refused(void **state)
{
    static const struct {
        const char *entity, *boundary;
    } rows[] = {
        {"A: b\r\n\r\n\xc3\xa4\r\n", "=_b"},
        {"A: b\n\r\n", "=_b"},
        {"A: b\r\r\n", "=_b"},
        {"A: b\r\n\r\n--=_b\r\n", "=_b"},
        {"A: b\r\n\r\n", ""},
        {"A: b\r\n\r\n", "a b"},
        {"A: b\r\n\r\n", "a\"b"},
        {"A: b\r\n\r\n", "a\r\nb"},
        {"A: b\r", "=_b"},
    };
    struct world *w = *state;
    char line[1100];

    ll_buf_puts(&w->out, "kept");
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        assert_error(ll_pgp_mime_sign(w->ring, w->a, SLICE(rows[i].entity), SLICE(rows[i].boundary),
                                      NOW, &w->out),
                     LL_SEAL_MALFORMED);
        assert_error(ll_pgp_mime_encrypt(w->ring, &w->b, 1, w->a, SLICE(rows[i].entity),
                                         SLICE(rows[i].boundary), NOW, &w->out),
                     LL_SEAL_MALFORMED);
    }
    memset(line, 'x', sizeof(line));
    assert_error(ll_pgp_mime_sign(w->ring, w->a, ll_slice(line, 999), LL_LIT("=_b"), NOW, &w->out),
                 LL_SEAL_MALFORMED);
    assert_text(TEXT(w->out), "kept");
    assert_ok(ll_pgp_mime_sign(w->ring, w->a, ll_slice(line, 998), LL_LIT("=_b"), NOW, &w->out));
    w->out.n = 4;
    assert_error(
        ll_pgp_mime_sign(w->ring, LL_LIT("00"), LL_LIT(ENTITY), LL_LIT("=_b"), NOW, &w->out),
        LL_SEAL_NO_KEY);
    assert_text(TEXT(w->out), "kept");
}

/* ---- keys on cards ---- */

static void session_keys_are_asked_for_without_the_letter(void **state)
{
    static const char *const no_keys[] = {"",     "9",    "9:",     ":00", "9:0",
                                          "9:zz", "0:00", "999:00", "a:00"};
    struct world *w = *state;
    struct ll_buf ask = BUF, old = BUF;
    struct ll_slice rest;
    struct ll_pgp_packet p;
    unsigned n = 0;

    put_literal(&w->packets, LL_LIT("the secret"));
    seal_packets(w->ring, w->b, TEXT(w->packets), "AES256", &w->sealed);
    ll_buf_puts(&ask, "kept");
    assert_ok(ll_pgp_session_packets(TEXT(w->sealed), &ask));
    rest = ll_slice_skip(TEXT(ask), 4);
    while (ll_pgp_packet_next(&rest, &p)) {
        assert_int_equal(p.tag, n++ == 0 ? LL_PGP_TAG_PKESK : LL_PGP_TAG_SEIPD);
        if (p.tag == LL_PGP_TAG_SEIPD)
            assert_true(ll_slice_ends(p.body, LL_LIT("in its place")));
    }
    assert_int_equal(n, 2);
    for (size_t i = 0; i < LL_COUNT(no_keys); i++)
        assert_error(ll_pgp_open_session(w->ring, TEXT(w->sealed), SLICE(no_keys[i]), NOW, &w->out,
                                         &w->arena, &w->o),
                     LL_SEAL_MALFORMED);
    ll_buf_puts(&old, "9:"); /* longer than any key */
    for (size_t i = 0; i < 33; i++)
        ll_buf_puts(&old, "00");
    assert_error(
        ll_pgp_open_session(w->ring, TEXT(w->sealed), TEXT(old), NOW, &w->out, &w->arena, &w->o),
        LL_SEAL_MALFORMED);
    ll_buf_clear(&old);
    /* The key of another letter; who has no key of his own gets nothing by it. */
    {
        struct ll_pgp *nobody = ll_pgp_new();

        assert_error(ll_pgp_open_session(nobody, TEXT(w->sealed),
                                         LL_LIT("9:00112233445566778899aabbccddeeff"
                                                "00112233445566778899aabbccddeeff"),
                                         NOW, &w->out, &w->arena, &w->o),
                     LL_SEAL_INTEGRITY);
        assert_int_equal(w->out.n, 0);
        ll_pgp_free(nobody);
    }
    /* For passwords alone, without protection, no message. */
    ll_buf_clear(&w->sealed);
    assert_ok(ll_pgp_encrypt_password(w->ring, LL_LIT("x"), LL_LIT("text"), NOW, &w->sealed));
    assert_error(ll_pgp_session_packets(TEXT(w->sealed), &ask), LL_SEAL_NO_KEY);
    put_packet(&old, LL_PGP_TAG_ENCRYPTED, LL_LIT("x"));
    assert_error(ll_pgp_session_packets(TEXT(old), &ask), LL_SEAL_INTEGRITY);
    assert_error(ll_pgp_session_packets(LL_LIT("hello"), &ask), LL_SEAL_MALFORMED);
    assert_error(ll_pgp_session_packets(TEXT(w->packets), &ask), LL_SEAL_MALFORMED);
    ll_buf_release(&ask);
    ll_buf_release(&old);
}

static void signatures_of_others_are_put_beside_what_they_sign(void **state)
{
    struct world *w = *state;
    struct ll_buf sig = BUF, lf = BUF, theirs = BUF;
    struct ll_slice b = LL_LIT("=_b");

    assert_ok(ll_pgp_sign(w->ring, w->a, LL_LIT(ENTITY), NOW, &sig));
    assert_ok(ll_pgp_mime_sign(w->ring, w->a, LL_LIT(ENTITY), b, NOW, &w->out));
    for (size_t i = 0; i < sig.n; i++)
        if (sig.p[i] != '\r')
            ll_buf_putc(&lf, sig.p[i]);
    /* The same, whatever ended the lines of the armor; Ed25519 signs alike each time. */
    assert_ok(ll_pgp_mime_signed(TEXT(lf), LL_LIT(ENTITY), b, &theirs));
    assert_true(ll_slice_eq(TEXT(theirs), TEXT(w->out)));
    ll_buf_clear(&theirs);
    assert_ok(ll_pgp_mime_signed(TEXT(sig), LL_LIT(ENTITY), b, &theirs));
    assert_true(ll_slice_eq(TEXT(theirs), TEXT(w->out)));
    theirs.n = 0;
    assert_error(ll_pgp_mime_signed(LL_LIT("hello"), LL_LIT(ENTITY), b, &theirs),
                 LL_SEAL_MALFORMED);
    assert_error(ll_pgp_mime_signed(TEXT(sig), LL_LIT("A: b\n"), b, &theirs), LL_SEAL_MALFORMED);
    assert_error(ll_pgp_mime_signed(TEXT(sig), LL_LIT(ENTITY), LL_LIT(" "), &theirs),
                 LL_SEAL_MALFORMED);
    assert_int_equal(theirs.n, 0);
    /* A signed message, encrypted as it is. */
    put_literal(&w->packets, LL_LIT("text"));
    assert_ok(ll_pgp_mime_encrypt_signed(w->ring, &w->b, 1, TEXT(w->packets), b, NOW, &theirs));
    assert_ok(open_it(
        w, ll_slice_skip(TEXT(theirs), ll_slice_search(TEXT(theirs), LL_LIT("-----BEGIN")))));
    assert_text(TEXT(w->out), "text");
    assert_error(ll_pgp_mime_encrypt_signed(w->ring, &w->b, 1, TEXT(sig), b, NOW, &theirs),
                 LL_SEAL_MALFORMED);
    ll_buf_release(&sig);
    ll_buf_release(&lf);
    ll_buf_release(&theirs);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(crafted_packets_open_where_they_are_right),
        TEST(old_ciphers_open_with_a_warning),
        TEST(protection_cannot_be_taken_off),
        TEST(nested_encryption_is_refused),
        TEST(only_what_is_protected_comes_out),
        TEST(bombs_end_at_the_limit),
        TEST(layers_of_compression_are_counted),
        TEST(what_is_no_message_is_refused),
        TEST(several_signatures_are_told_apart),
        TEST(a_password_opens_what_it_sealed),
        TEST(recipients_have_to_be_there_and_usable),
        TEST(hidden_recipients_are_found),
        TEST(session_keys_are_counted),
        TEST(nothing_can_be_sealed_too),
        TEST(entities_are_signed_as_they_stand),
        TEST(entities_are_sealed_in_two_parts),
        TEST(what_would_not_survive_mail_is_refused),
        TEST(session_keys_are_asked_for_without_the_letter),
        TEST(signatures_of_others_are_put_beside_what_they_sign),
    };

    return cmocka_run_group_tests_name("pgp messages", tests, NULL, NULL);
}
