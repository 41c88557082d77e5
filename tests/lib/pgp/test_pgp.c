/* OpenPGP: what is sealed opens again, for whom it is meant, unchanged, and for nobody else. */
#include "tests/lib/pgp/world.h"

struct world {
    struct ll_arena arena;
    struct ll_pgp *ann, *bob, *eve; /* Ann and Bob know each other; Eve knows both, they not her */
    struct ll_slice a, b, e;
};

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof(*w));

    assert_non_null(w);
    ll_arena_init(&w->arena, 16 << 20);
    w->ann = ll_pgp_new();
    w->bob = ll_pgp_new();
    w->eve = ll_pgp_new();
    assert_non_null(w->ann);
    w->a = make(w->ann, &w->arena, "Ann <ann@example.org>");
    w->b = make(w->bob, &w->arena, "Bob <bob@example.net>");
    w->e = make(w->eve, &w->arena, "Eve <eve@example.com>");
    give(w->ann, w->bob, w->a, LL_PGP_PUBLIC, NOW, &w->arena);
    give(w->bob, w->ann, w->b, LL_PGP_PUBLIC, NOW, &w->arena);
    give(w->ann, w->eve, w->a, LL_PGP_PUBLIC, NOW, &w->arena);
    give(w->bob, w->eve, w->b, LL_PGP_PUBLIC, NOW, &w->arena);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    ll_pgp_free(w->ann);
    ll_pgp_free(w->bob);
    ll_pgp_free(w->eve);
    ll_arena_release(&w->arena);
    free(w);
    return 0;
}

static const char letter[] = "Content-Type: text/plain\r\n\r\nMeet me at noon.\r\n";

static void a_key_says_what_it_is(void **state)
{
    struct world *w = *state;
    struct ll_pgp_key k;

    assert_ok(ll_pgp_key(w->ann, w->a, NOW, &w->arena, &k));
    assert_true(k.secret && k.valid && k.can_sign && k.can_encrypt);
    assert_false(k.locked || k.revoked || k.expired || k.prefers_ocb);
    assert_int_equal(k.created, NOW);
    assert_int_equal(k.expires, 0);
    assert_text(k.algorithm, "ed25519");
    assert_int_equal(k.n_user_id, 1);
    assert_text(k.user_id[0].octets, "Ann <ann@example.org>");
    assert_text(k.user_id[0].address, "ann@example.org");
    assert_true(k.user_id[0].valid);
    assert_int_equal(k.n_subkey, 1);
    assert_text(k.subkey[0].algorithm, "curve25519");
    assert_true(k.subkey[0].can_encrypt && !k.subkey[0].can_sign);
    assert_ok(ll_pgp_key(w->bob, w->a, NOW, &w->arena, &k));
    assert_true(!k.secret && k.valid && k.can_encrypt);
    assert_error(ll_pgp_key(w->ann, w->e, NOW, &w->arena, &k), LL_SEAL_NO_KEY);
    assert_error(ll_pgp_key(w->ann, SLICE("xyz"), NOW, &w->arena, &k), LL_SEAL_NO_KEY);
    assert_error(ll_pgp_key(w->ann, NOTHING, NOW, &w->arena, &k), LL_SEAL_NO_KEY);
}

static void a_signature_holds_for_its_octets_alone(void **state)
{
    struct world *w = *state;
    struct ll_buf sig = BUF;
    struct ll_opened o;
    char changed[sizeof(letter)];

    assert_ok(ll_pgp_sign(w->ann, w->a, SLICE(letter), NOW, &sig));
    assert_true(ll_slice_starts(TEXT(sig), LL_LIT("-----BEGIN PGP SIGNATURE-----")));
    assert_ok(ll_pgp_verify(w->bob, SLICE(letter), TEXT(sig), NOW + 9, &w->arena, &o));
    assert_int_equal(o.n_signature, 1);
    assert_int_equal(o.signature[0].state, LL_SIGNATURE_GOOD);
    assert_true(ll_slice_eq(o.signature[0].fingerprint, w->a));
    assert_int_equal(o.signature[0].n_address, 1);
    assert_text(o.signature[0].address[0], "ann@example.org");
    assert_text(o.signature[0].name, "Ann <ann@example.org>");
    assert_text(o.signature[0].algorithm, "ed25519, sha256");
    assert_int_equal(o.signature[0].made, NOW);
    assert_false(o.encrypted);
    for (size_t i = 0; i + 1 < sizeof(letter); i++) {
        memcpy(changed, letter, sizeof(letter));
        changed[i] ^= 1;
        assert_ok(ll_pgp_verify(w->bob, SLICE(changed), TEXT(sig), NOW, &w->arena, &o));
        assert_int_equal(o.signature[0].state, LL_SIGNATURE_BAD);
    }
    /* From the future: a skewed clock is forgiven, a day is not. */
    assert_ok(ll_pgp_verify(w->bob, SLICE(letter), TEXT(sig), NOW - 60, &w->arena, &o));
    assert_int_equal(o.signature[0].state, LL_SIGNATURE_GOOD);
    assert_ok(ll_pgp_verify(w->bob, SLICE(letter), TEXT(sig), NOW - DAY, &w->arena, &o));
    assert_int_not_equal(o.signature[0].state, LL_SIGNATURE_GOOD);
    ll_buf_release(&sig);
}

static void a_stranger_proves_nothing(void **state)
{
    struct world *w = *state;
    struct ll_buf sig = BUF;
    struct ll_opened o;

    assert_ok(ll_pgp_sign(w->eve, w->e, SLICE(letter), NOW, &sig));
    assert_ok(ll_pgp_verify(w->bob, SLICE(letter), TEXT(sig), NOW, &w->arena, &o));
    assert_int_equal(o.n_signature, 1);
    assert_int_equal(o.signature[0].state, LL_SIGNATURE_NO_KEY);
    assert_int_equal(o.signature[0].n_address, 0);
    assert_int_equal(o.signature[0].fingerprint.n, 0);
    assert_int_equal(o.signature[0].key_id.n, 16);
    assert_error(ll_pgp_sign(w->eve, w->a, SLICE(letter), NOW, &sig), LL_SEAL_NO_KEY);
    ll_buf_release(&sig);
}

static void a_sealed_letter_opens_for_its_recipients(void **state)
{
    struct world *w = *state;
    struct ll_slice to[2] = {w->b, w->a};
    struct ll_buf sealed = BUF, out = BUF;
    struct ll_opened o;

    assert_ok(ll_pgp_encrypt(w->ann, to, 2, w->a, SLICE(letter), NOW, &sealed));
    assert_true(ll_slice_starts(TEXT(sealed), LL_LIT("-----BEGIN PGP MESSAGE-----")));
    assert_ok(ll_pgp_open(w->bob, TEXT(sealed), NOTHING, NOW, &out, &w->arena, &o));
    assert_text(TEXT(out), letter);
    assert_true(o.encrypted && o.authenticated && !o.weak);
    assert_text(o.cipher, "aes256, mdc");
    assert_int_equal(o.n_recipient, 2);
    assert_int_equal(o.n_signature, 1);
    assert_int_equal(o.signature[0].state, LL_SIGNATURE_GOOD);
    assert_true(ll_slice_eq(o.signature[0].fingerprint, w->a));
    ll_buf_clear(&out);
    assert_ok(ll_pgp_open(w->ann, TEXT(sealed), NOTHING, NOW, &out, &w->arena, &o));
    assert_text(TEXT(out), letter);
    ll_buf_clear(&out);
    assert_error(ll_pgp_open(w->eve, TEXT(sealed), NOTHING, NOW, &out, &w->arena, &o),
                 LL_SEAL_NO_KEY);
    assert_int_equal(out.n, 0);
    assert_int_equal(o.n_recipient, 2);
    ll_buf_release(&sealed);
    ll_buf_release(&out);
}

static void unsigned_and_unknown_signers_open_too(void **state)
{
    struct world *w = *state;
    struct ll_buf sealed = BUF, out = BUF;
    struct ll_opened o;

    assert_ok(ll_pgp_encrypt(w->eve, &w->b, 1, NOTHING, SLICE(letter), NOW, &sealed));
    assert_ok(ll_pgp_open(w->bob, TEXT(sealed), NOTHING, NOW, &out, &w->arena, &o));
    assert_text(TEXT(out), letter);
    assert_int_equal(o.n_signature, 0);
    ll_buf_clear(&sealed);
    ll_buf_clear(&out);
    assert_ok(ll_pgp_encrypt(w->eve, &w->b, 1, w->e, SLICE(letter), NOW, &sealed));
    assert_ok(ll_pgp_open(w->bob, TEXT(sealed), NOTHING, NOW, &out, &w->arena, &o));
    assert_text(TEXT(out), letter);
    assert_int_equal(o.n_signature, 1);
    assert_int_equal(o.signature[0].state, LL_SIGNATURE_NO_KEY);
    ll_buf_release(&sealed);
    ll_buf_release(&out);
}

/* Nothing of a changed letter is released, wherever it was changed. */
static void a_changed_letter_does_not_open(void **state)
{
    struct world *w = *state;
    struct ll_buf sealed = BUF, out = BUF, binary = BUF, text = BUF;
    struct ll_opened o;
    size_t end;

    for (size_t i = 0; i < 600; i++)
        ll_buf_puts(&text, "Every line of this is a secret.\r\n");
    assert_ok(ll_pgp_encrypt(w->ann, &w->b, 1, w->a, TEXT(text), NOW, &sealed));
    /* The armor's body is base64 between an empty line and "\r\n=": changed as octets. */
    end = ll_slice_search(TEXT(sealed), LL_LIT("\n="));
    for (size_t i = ll_slice_search(TEXT(sealed), LL_LIT("\r\n\r\n")) + 4; i < end; i++)
        if (sealed.p[i] != '\r' && sealed.p[i] != '\n')
            ll_buf_putc(&binary, sealed.p[i]);
    ll_buf_clear(&sealed);
    assert_true(ll_base64_decode(&sealed, TEXT(binary)));
    ll_buf_puts(&out, "kept");
    assert_ok(ll_pgp_open(w->bob, TEXT(sealed), NOTHING, NOW, &out, &w->arena, &o));
    assert_int_equal(out.n, text.n + 4);
    ll_buf_wipe(&out);
    ll_buf_puts(&out, "kept");
    for (size_t i = 0; i < sealed.n; i += 64) {
        out.n = 4;
        sealed.p[i] ^= 0x10;
        assert_int_not_equal(ll_pgp_open(w->bob, TEXT(sealed), NOTHING, NOW, &out, &w->arena, &o),
                             LL_SEAL_OK);
        assert_text(TEXT(out), "kept");
        assert_null(memmem(out.p, out.cap, "secret", 6));
        sealed.p[i] ^= 0x10;
    }
    for (size_t n = sealed.n - 1; n > 0; n -= n < 64 ? 1 : 61) {
        out.n = 4;
        assert_int_not_equal(ll_pgp_open(w->bob, ll_slice_cut(TEXT(sealed), 0, n), NOTHING, NOW,
                                         &out, &w->arena, &o),
                             LL_SEAL_OK);
        assert_text(TEXT(out), "kept");
        assert_null(memmem(out.p, out.cap, "secret", 6));
    }
    ll_buf_release(&sealed);
    ll_buf_release(&binary);
    ll_buf_release(&text);
    ll_buf_release(&out);
}

static void passwords_are_told_apart(void **state)
{
    struct world *w = *state;
    struct ll_pgp *ring = ll_pgp_new();
    struct ll_buf sealed = BUF, out = BUF;
    struct ll_slice locked;
    struct ll_pgp_key k;
    struct ll_opened o;

    assert_ok(ll_pgp_generate(w->bob, SLICE("B <b@example.org>"), SLICE("s3cret"), NOW, 0,
                              &w->arena, &locked));
    give(w->bob, ring, locked, LL_PGP_SECRET, NOW, &w->arena);
    assert_ok(ll_pgp_key(ring, locked, NOW, &w->arena, &k));
    assert_true(k.secret && k.locked);
    assert_ok(ll_pgp_encrypt(ring, &locked, 1, NOTHING, SLICE(letter), NOW, &sealed));
    assert_error(ll_pgp_open(ring, TEXT(sealed), NOTHING, NOW, &out, &w->arena, &o),
                 LL_SEAL_LOCKED);
    assert_error(ll_pgp_sign(ring, locked, SLICE(letter), NOW, &out), LL_SEAL_LOCKED);
    assert_error(ll_pgp_unlock(ring, locked, SLICE("wrong")), LL_SEAL_PASSWORD);
    assert_error(ll_pgp_unlock(ring, locked, NOTHING), LL_SEAL_PASSWORD);
    assert_error(ll_pgp_open(ring, TEXT(sealed), NOTHING, NOW, &out, &w->arena, &o),
                 LL_SEAL_LOCKED);
    assert_int_equal(out.n, 0);
    assert_ok(ll_pgp_unlock(ring, locked, SLICE("s3cret")));
    assert_ok(ll_pgp_unlock(ring, locked, SLICE("anything, it is open")));
    assert_ok(ll_pgp_open(ring, TEXT(sealed), NOTHING, NOW, &out, &w->arena, &o));
    assert_text(TEXT(out), letter);
    assert_ok(ll_pgp_sign(ring, locked, SLICE(letter), NOW, &out));
    assert_error(ll_pgp_unlock(ring, w->a, SLICE("x")), LL_SEAL_NO_KEY);
    ll_buf_release(&sealed);
    ll_buf_release(&out);
    ll_pgp_free(ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_key_says_what_it_is, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_signature_holds_for_its_octets_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_stranger_proves_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_sealed_letter_opens_for_its_recipients, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(unsigned_and_unknown_signers_open_too, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_changed_letter_does_not_open, set_up, tear_down),
        cmocka_unit_test_setup_teardown(passwords_are_told_apart, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("pgp", tests, NULL, NULL);
}
