/* Keys: made, described, changed, revoked, carried from ring to ring. */
#include "tests/lib/pgp/world.h"

struct world {
    struct ll_arena arena;
    struct ll_pgp *own, *other; /* the owner's ring, and a correspondent's */
    struct ll_slice key;
};

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof(*w));

    assert_non_null(w);
    ll_arena_init(&w->arena, 16 << 20);
    w->own = ll_pgp_new();
    w->other = ll_pgp_new();
    w->key = make(w->own, &w->arena, "Ann <ann@example.org>");
    give(w->own, w->other, w->key, LL_PGP_PUBLIC, NOW, &w->arena);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    ll_pgp_free(w->own);
    ll_pgp_free(w->other);
    ll_arena_release(&w->arena);
    free(w);
    return 0;
}

static void user_ids_have_one_address_or_none(void **state)
{
    static const struct {
        const char *user_id, *address; /* NULL: none */
    } rows[] = {
        {"Ann <ann@example.org>", "ann@example.org"},
        {"<ann@example.org>", "ann@example.org"},
        {"ann@example.org", "ann@example.org"},
        {"  ann@example.org ", "ann@example.org"},
        {"Ann (work) <Ann@EXAMPLE.org>", "Ann@example.org"},
        {"\"a@b.test\" <c@d.test>", "c@d.test"},
        {"a@b.test (or is it?) <c@d.test>", "c@d.test"},
        {"J\xc3\xbcrgen <j\xc3\xbcrgen@example.org>", "j\xc3\xbcrgen@example.org"},
        {"Ann <ann@b\xc3\xbc"
         "cher.example>",
         "ann@xn--bcher-kva.example"},
        {"", NULL},
        {"Ann", NULL},
        {"Ann <>", NULL},
        {"Ann <ann>", NULL},
        {"Ann <ann@example.org> and more", NULL},
        {"a@b.test <c@d.test> <e@f.test>", NULL},
        {"<a@b.test> <c@d.test>", NULL},
        {"<<a@b.test>>", NULL},
        {"a@b.test> <c@d.test>", NULL},
        {"Ann <ann@example.org", NULL},
        {"Ann ann@example.org", NULL},
        {"a@b.test, c@d.test", NULL},
        {"Ann <ann@example.org\n>", NULL},
        {"\xff <ann@\xff.org>", NULL},
        {"http://example.org/", NULL},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_buf out = LL_BUF(1000);
        bool found = ll_pgp_user_id_address(SLICE(rows[i].user_id), &out);

        if (found != (rows[i].address != NULL))
            fail_msg("row %zu: %s", i, rows[i].user_id);
        if (found)
            assert_text(TEXT(out), rows[i].address);
        ll_buf_release(&out);
    }
}

static void what_cannot_be_a_user_id_is_refused(void **state)
{
    static const char *const rows[] = {"", "a\nb", "a\x01", "\xff", "\x7f"};
    struct world *w = *state;
    struct ll_slice fpr = NOTHING;
    char big[LL_PGP_USER_ID_MAX + 2];

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        assert_error(ll_pgp_generate(w->own, SLICE(rows[i]), NOTHING, NOW, 0, &w->arena, &fpr),
                     LL_SEAL_MALFORMED);
        assert_error(ll_pgp_add_user_id(w->own, w->key, SLICE(rows[i]), NOW), LL_SEAL_MALFORMED);
    }
    memset(big, 'x', sizeof(big));
    assert_ok(ll_pgp_add_user_id(w->own, w->key, ll_slice(big, LL_PGP_USER_ID_MAX), NOW));
    assert_error(ll_pgp_add_user_id(w->own, w->key, ll_slice(big, LL_PGP_USER_ID_MAX + 1), NOW),
                 LL_SEAL_MALFORMED);
    assert_error(ll_pgp_generate(w->own, LL_LIT("A"), LL_LIT("a\0b"), NOW, 0, &w->arena, &fpr),
                 LL_SEAL_MALFORMED);
    assert_error(ll_pgp_generate(w->own, LL_LIT("A"), NOTHING, 0, 0, &w->arena, &fpr),
                 LL_SEAL_MALFORMED);
}

static void verify_state(struct world *w, struct ll_slice sig, int64_t now, const char *want)
{
    struct ll_opened o;

    assert_ok(ll_pgp_verify(w->other, LL_LIT("text"), sig, now, &w->arena, &o));
    assert_int_equal(o.n_signature, 1);
    assert_string_equal(ll_signature_state_word(o.signature[0].state), want);
}

static void an_expired_key_is_of_no_use(void **state)
{
    struct world *w = *state;
    struct ll_buf sig = BUF, out = BUF;
    struct ll_pgp_key k;

    assert_ok(ll_pgp_set_expiry(w->own, w->key, NOW + 10 * DAY, NOW));
    assert_ok(ll_pgp_sign(w->own, w->key, LL_LIT("text"), NOW + DAY, &sig));
    give(w->own, w->other, w->key, LL_PGP_PUBLIC, NOW, &w->arena);
    assert_ok(ll_pgp_key(w->other, w->key, NOW + 9 * DAY, &w->arena, &k));
    assert_int_equal(k.expires, NOW + 10 * DAY);
    assert_true(!k.expired && k.can_encrypt && k.can_sign);
    verify_state(w, TEXT(sig), NOW + 10 * DAY - 1, "good");
    assert_ok(ll_pgp_encrypt(w->other, &w->key, 1, NOTHING, LL_LIT("x"), NOW + 10 * DAY - 1, &out));
    /* At the second of its expiry it is over. */
    assert_ok(ll_pgp_key(w->other, w->key, NOW + 10 * DAY, &w->arena, &k));
    assert_true(k.expired && k.valid && !k.can_encrypt && !k.can_sign);
    assert_true(k.subkey[0].expired && !k.subkey[0].can_encrypt);
    verify_state(w, TEXT(sig), NOW + 10 * DAY, "key-expired");
    assert_error(ll_pgp_encrypt(w->other, &w->key, 1, NOTHING, LL_LIT("x"), NOW + 10 * DAY, &out),
                 LL_SEAL_UNUSABLE_KEY);
    assert_error(ll_pgp_sign(w->own, w->key, LL_LIT("text"), NOW + 10 * DAY, &out),
                 LL_SEAL_UNUSABLE_KEY);
    /* A signature dated after the expiry, however it was made. */
    ll_buf_clear(&sig);
    assert_ok(ll_pgp_set_expiry(w->own, w->key, 0, NOW + DAY));
    assert_ok(ll_pgp_sign(w->own, w->key, LL_LIT("text"), NOW + 11 * DAY, &sig));
    verify_state(w, TEXT(sig), NOW + 11 * DAY, "key-expired");
    /* The newer copy makes it live again. */
    give(w->own, w->other, w->key, LL_PGP_PUBLIC, NOW + 11 * DAY, &w->arena);
    verify_state(w, TEXT(sig), NOW + 11 * DAY, "good");
    assert_error(ll_pgp_set_expiry(w->own, w->key, NOW - 1, NOW), LL_SEAL_MALFORMED);
    assert_error(ll_pgp_set_expiry(w->own, w->key, NOW, NOW), LL_SEAL_MALFORMED);
    assert_error(ll_pgp_set_expiry(w->own, w->key, NOW + (1ll << 33), NOW), LL_SEAL_MALFORMED);
    assert_error(ll_pgp_set_expiry(w->other, w->key, 0, NOW), LL_SEAL_NO_KEY);
    ll_buf_release(&sig);
    ll_buf_release(&out);
}

/* Old letters stay readable, and say what became of the key. */
static void a_dead_key_still_opens(void **state)
{
    struct world *w = *state;
    struct ll_pgp *later[] = {ll_pgp_new(), ll_pgp_new()};
    struct ll_buf sealed = BUF, out = BUF;
    struct ll_opened o;

    assert_ok(ll_pgp_set_expiry(w->own, w->key, NOW + 10 * DAY, NOW));
    assert_ok(ll_pgp_encrypt(w->own, &w->key, 1, w->key, LL_LIT("old"), NOW + 1, &sealed));
    give(w->own, later[0], w->key, LL_PGP_SECRET, NOW + 100 * DAY, &w->arena);
    assert_ok(ll_pgp_revoke(w->own, w->key, LL_PGP_SUPERSEDED, NOW + DAY));
    give(w->own, later[1], w->key, LL_PGP_SECRET, NOW + 2 * DAY, &w->arena);
    for (size_t i = 0; i < 2; i++) {
        ll_buf_clear(&out);
        assert_ok(ll_pgp_open(later[i], TEXT(sealed), NOTHING, i ? NOW + 2 * DAY : NOW + 100 * DAY,
                              &out, &w->arena, &o));
        assert_text(TEXT(out), "old");
        assert_int_equal(o.signature[0].state,
                         i ? LL_SIGNATURE_KEY_REVOKED : LL_SIGNATURE_KEY_EXPIRED);
        ll_pgp_free(later[i]);
    }
    ll_buf_release(&sealed);
    ll_buf_release(&out);
}

static void a_lifetime_is_counted_from_now(void **state)
{
    struct world *w = *state;
    struct ll_slice fpr;
    struct ll_pgp_key k;

    assert_ok(ll_pgp_generate(w->own, LL_LIT("B <b@example.org>"), NOTHING, NOW, 30 * DAY,
                              &w->arena, &fpr));
    assert_ok(ll_pgp_key(w->own, fpr, NOW, &w->arena, &k));
    assert_int_equal(k.expires, NOW + 30 * DAY);
    assert_true(k.can_encrypt);
    assert_ok(ll_pgp_key(w->own, fpr, NOW + 30 * DAY, &w->arena, &k));
    assert_true(k.expired && !k.can_encrypt);
}

static void a_revoked_key_is_of_no_use(void **state)
{
    struct world *w = *state;
    struct ll_buf sig = BUF, out = BUF;
    struct ll_pgp_key k;

    assert_ok(ll_pgp_sign(w->own, w->key, LL_LIT("text"), NOW, &sig));
    verify_state(w, TEXT(sig), NOW + DAY, "good");
    assert_ok(ll_pgp_revoke(w->own, w->key, LL_PGP_COMPROMISED, NOW + DAY));
    verify_state(w, TEXT(sig), NOW + 2 * DAY, "good"); /* nobody has heard of it */
    give(w->own, w->other, w->key, LL_PGP_PUBLIC, NOW + DAY, &w->arena);
    assert_ok(ll_pgp_key(w->other, w->key, NOW + 2 * DAY, &w->arena, &k));
    assert_true(k.revoked && !k.can_encrypt && !k.can_sign && k.subkey[0].revoked);
    verify_state(w, TEXT(sig), NOW + 2 * DAY, "key-revoked");
    assert_error(ll_pgp_encrypt(w->other, &w->key, 1, NOTHING, LL_LIT("x"), NOW + 2 * DAY, &out),
                 LL_SEAL_UNUSABLE_KEY);
    assert_error(ll_pgp_sign(w->own, w->key, LL_LIT("x"), NOW + 2 * DAY, &out),
                 LL_SEAL_UNUSABLE_KEY);
    assert_error(ll_pgp_revoke(w->other, w->key, LL_PGP_RETIRED, NOW), LL_SEAL_NO_KEY);
    ll_buf_release(&sig);
    ll_buf_release(&out);
}

static void a_revocation_certificate_revokes_where_it_is_imported(void **state)
{
    struct world *w = *state;
    struct ll_buf certificate = BUF, out = BUF;
    struct ll_slice *list;
    struct ll_pgp_key k;
    struct ll_pgp *stranger = ll_pgp_new();
    size_t n;

    assert_ok(ll_pgp_revocation(w->own, w->key, LL_PGP_SUPERSEDED, NOW, &certificate));
    assert_true(ll_slice_starts(TEXT(certificate), LL_LIT("-----BEGIN PGP")));
    assert_ok(ll_pgp_key(w->own, w->key, NOW, &w->arena, &k));
    assert_false(k.revoked);
    assert_ok(ll_pgp_import(w->other, TEXT(certificate), NOW, &w->arena, &list, &n));
    assert_int_equal(n, 1);
    assert_true(ll_slice_eq(list[0], w->key));
    assert_ok(ll_pgp_key(w->other, w->key, NOW, &w->arena, &k));
    assert_true(k.revoked && !k.can_encrypt);
    assert_error(ll_pgp_import(stranger, TEXT(certificate), NOW, &w->arena, &list, &n),
                 LL_SEAL_MALFORMED);
    assert_error(ll_pgp_revocation(w->other, w->key, LL_PGP_RETIRED, NOW, &out), LL_SEAL_NO_KEY);
    ll_pgp_free(stranger);
    ll_buf_release(&certificate);
    ll_buf_release(&out);
}

static void a_second_user_id_travels_or_not_as_asked(void **state)
{
    struct world *w = *state;
    struct ll_pgp *third = ll_pgp_new();
    struct ll_buf minimal = BUF;
    struct ll_slice *list;
    struct ll_pgp_key k;
    size_t n;

    assert_ok(ll_pgp_add_user_id(w->own, w->key, LL_LIT("Ann <ann@work.example>"), NOW));
    give(w->own, w->other, w->key, LL_PGP_PUBLIC, NOW, &w->arena);
    assert_ok(ll_pgp_key(w->other, w->key, NOW, &w->arena, &k));
    assert_int_equal(k.n_user_id, 2);
    assert_text(k.user_id[1].address, "ann@work.example");
    assert_true(k.user_id[1].valid);
    assert_ok(ll_pgp_export(w->other, w->key, LL_PGP_MINIMAL, false, LL_LIT("ann@WORK.example"),
                            &minimal));
    assert_true(minimal.n < 700);
    assert_ok(ll_pgp_import(third, TEXT(minimal), NOW, &w->arena, &list, &n));
    assert_ok(ll_pgp_key(third, w->key, NOW, &w->arena, &k));
    assert_int_equal(k.n_user_id, 1);
    assert_text(k.user_id[0].address, "ann@work.example");
    assert_int_equal(k.n_subkey, 1);
    assert_true(k.can_encrypt);
    assert_error(
        ll_pgp_export(w->own, w->key, LL_PGP_MINIMAL, false, LL_LIT("bob@work.example"), &minimal),
        LL_SEAL_NO_KEY);
    assert_error(ll_pgp_export(w->own, w->key, LL_PGP_MINIMAL, false, NOTHING, &minimal),
                 LL_SEAL_NO_KEY);
    ll_pgp_free(third);
    ll_buf_release(&minimal);
}

static void the_password_can_be_changed_and_taken_away(void **state)
{
    struct world *w = *state;
    struct ll_pgp *second = ll_pgp_new(), *third = ll_pgp_new();
    struct ll_pgp_key k;

    assert_ok(ll_pgp_set_password(w->own, w->key, LL_LIT("first")));
    give(w->own, second, w->key, LL_PGP_SECRET, NOW, &w->arena);
    assert_ok(ll_pgp_key(second, w->key, NOW, &w->arena, &k));
    assert_true(k.locked && k.subkey[0].locked);
    assert_error(ll_pgp_set_password(second, w->key, LL_LIT("other")), LL_SEAL_LOCKED);
    assert_error(ll_pgp_set_expiry(second, w->key, 0, NOW), LL_SEAL_LOCKED);
    assert_error(ll_pgp_unlock(second, w->key, LL_LIT("second")), LL_SEAL_PASSWORD);
    assert_error(ll_pgp_unlock(second, w->key, LL_LIT("first\0")), LL_SEAL_PASSWORD);
    assert_ok(ll_pgp_unlock(second, w->key, LL_LIT("first")));
    assert_ok(ll_pgp_set_password(second, w->key, NOTHING));
    give(second, third, w->key, LL_PGP_SECRET, NOW, &w->arena);
    assert_ok(ll_pgp_key(third, w->key, NOW, &w->arena, &k));
    assert_true(k.secret && !k.locked);
    assert_error(ll_pgp_set_password(w->other, w->key, LL_LIT("x")), LL_SEAL_NO_KEY);
    ll_pgp_free(second);
    ll_pgp_free(third);
}

static void armor_is_read_as_people_send_it(void **state)
{
    struct world *w = *state;
    struct ll_slice second = make(w->own, &w->arena, "B <b@example.org>"), *list;
    struct ll_buf one = BUF, two = BUF, mix = BUF;
    struct ll_pgp *ring = ll_pgp_new();
    size_t n, sum;

    assert_ok(ll_pgp_export(w->own, w->key, LL_PGP_PUBLIC, true, NOTHING, &one));
    assert_ok(ll_pgp_export(w->own, second, LL_PGP_PUBLIC, true, NOTHING, &two));
    ll_buf_puts(&mix, "Here is my key:\n\n");
    ll_buf_put_slice(&mix, TEXT(one));
    ll_buf_puts(&mix, "\nand another:\n");
    /* LF line ends, blanks after them, and no checksum (RFC 9580 6.1). */
    sum = ll_slice_search(TEXT(two), LL_LIT("\n="));
    for (size_t i = 0; i < two.n; i++)
        if (i <= sum || i > sum + 6) {
            if (two.p[i] == '\r')
                ll_buf_putc(&mix, ' ');
            else
                ll_buf_putc(&mix, two.p[i]);
        }
    assert_ok(ll_pgp_import(ring, TEXT(mix), NOW, &w->arena, &list, &n));
    assert_int_equal(n, 2);
    assert_true(ll_slice_eq(list[0], w->key));
    assert_true(ll_slice_eq(list[1], second));
    assert_ok(ll_pgp_keys(ring, &w->arena, &list, &n));
    assert_int_equal(n, 2);
    ll_pgp_free(ring);
    ll_buf_release(&one);
    ll_buf_release(&two);
    ll_buf_release(&mix);
}

/* Lines of any length make the same octets; nothing may stand behind the padding. */
static void armor_may_be_wrapped_anywhere(void **state)
{
    struct world *w = *state;
    struct ll_buf key = BUF, digits = BUF, armor = BUF;
    struct ll_slice *list;
    size_t n;

    /* A key with padding: another name makes another length. */
    for (char name[32] = "Ann"; key.n % 3 != 1; memcpy(name + strlen(name), "n", 2)) {
        ll_buf_clear(&key);
        assert_ok(ll_pgp_export(w->own, make(w->own, &w->arena, name), LL_PGP_PUBLIC, false,
                                NOTHING, &key));
    }
    ll_base64_encode(&digits, TEXT(key));
    for (size_t wrap = 1; wrap < 90; wrap++) {
        struct ll_pgp *ring = ll_pgp_new();

        ll_buf_clear(&armor);
        ll_buf_puts(&armor, "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n");
        for (size_t at = 0; at < digits.n; at += wrap) {
            ll_buf_put_slice(&armor, ll_slice_cut(TEXT(digits), at, at + wrap));
            ll_buf_puts(&armor, wrap % 2 ? "\r\n" : "\n");
        }
        n = armor.n;
        ll_buf_puts(&armor, "-----END PGP PUBLIC KEY BLOCK-----\n");
        /* A line that begins with "=" is the checksum, so the padding may not begin one. */
        if ((digits.n - 2) % wrap != 0 && (digits.n - 1) % wrap != 0) {
            size_t count = 0;

            assert_ok(ll_pgp_import(ring, TEXT(armor), NOW, &w->arena, &list, &count));
            assert_int_equal(count, 1);
            armor.n = n;
            ll_buf_puts(&armor, "AAAA\n-----END PGP PUBLIC KEY BLOCK-----\n");
            assert_error(ll_pgp_import(ring, TEXT(armor), NOW, &w->arena, &list, &count),
                         LL_SEAL_MALFORMED);
        }
        ll_pgp_free(ring);
    }
    ll_buf_release(&key);
    ll_buf_release(&digits);
    ll_buf_release(&armor);
}

static void what_is_no_key_is_refused(void **state)
{
    static const char *const rows[] = {
        "x",
        "\x99",
        "\x99\x01",
        "-----BEGIN PGP PUBLIC KEY BLOCK-----",
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n",
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----\n",
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n!!!!\n-----END PGP PUBLIC KEY BLOCK-----\n",
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\nmDMEY=\n-----END PGP PUBLIC KEY BLOCK-----\n",
        "\xc6\x06\x04\x00\x00\x00\x00\x16",
    };
    struct world *w = *state;
    struct ll_buf key = BUF;
    struct ll_slice *list;
    size_t n;

    for (size_t i = 0; i < LL_COUNT(rows); i++)
        assert_error(ll_pgp_import(w->other, SLICE(rows[i]), NOW, &w->arena, &list, &n),
                     LL_SEAL_MALFORMED);
    assert_error(ll_pgp_import(w->other, NOTHING, NOW, &w->arena, &list, &n), LL_SEAL_MALFORMED);
    assert_error(
        ll_pgp_import(w->other, ll_slice("x", LL_PGP_KEYS_ROOM + 1), NOW, &w->arena, &list, &n),
        LL_SEAL_TOO_LARGE);
    /* Cut anywhere: an error, or a key with less to it; never more than it was. */
    assert_ok(ll_pgp_export(w->own, w->key, LL_PGP_PUBLIC, false, NOTHING, &key));
    for (size_t cut = 0; cut < key.n; cut++) {
        struct ll_pgp *ring = ll_pgp_new();
        struct ll_pgp_key k;

        if (ll_pgp_import(ring, ll_slice_cut(TEXT(key), 0, cut), NOW, &w->arena, &list, &n) ==
            LL_SEAL_OK) {
            assert_ok(ll_pgp_key(ring, list[0], NOW, &w->arena, &k));
            assert_false(k.can_encrypt);
        }
        ll_pgp_free(ring);
    }
    ll_buf_release(&key);
}

/* Whatever octet of a public key is changed, nobody is led to encrypt to it or trust its address,
 * unless what was changed is not signed. */
static void a_changed_key_is_no_key(void **state)
{
    struct world *w = *state;
    struct ll_buf key = BUF;
    struct ll_slice *list;
    size_t n;

    assert_ok(ll_pgp_export(w->own, w->key, LL_PGP_PUBLIC, false, NOTHING, &key));
    for (size_t at = 0; at < key.n; at++) {
        struct ll_pgp *ring = ll_pgp_new();
        struct ll_pgp_key k;

        key.p[at] ^= 0x20;
        if (ll_pgp_import(ring, TEXT(key), NOW, &w->arena, &list, &n) == LL_SEAL_OK) {
            assert_ok(ll_pgp_key(ring, list[0], NOW, &w->arena, &k));
            /* Another key may stand there now; it has nobody's word for it. */
            if (!ll_slice_eq(list[0], w->key))
                assert_false(k.can_encrypt || k.can_sign);
            for (size_t i = 0; i < k.n_user_id; i++)
                if (k.user_id[i].valid)
                    assert_text(k.user_id[i].octets, "Ann <ann@example.org>");
        }
        key.p[at] ^= 0x20;
        ll_pgp_free(ring);
    }
    ll_buf_release(&key);
}

static void exports_come_in_the_form_asked_for(void **state)
{
    struct world *w = *state;
    struct ll_buf out = BUF, small = LL_BUF(100);

    assert_ok(ll_pgp_export(w->own, w->key, LL_PGP_SECRET, true, NOTHING, &out));
    assert_true(ll_slice_starts(TEXT(out), LL_LIT("-----BEGIN PGP PRIVATE KEY BLOCK-----")));
    ll_buf_clear(&out);
    assert_ok(ll_pgp_export(w->own, w->key, LL_PGP_PUBLIC, true, NOTHING, &out));
    assert_true(ll_slice_starts(TEXT(out), LL_LIT("-----BEGIN PGP PUBLIC KEY BLOCK-----")));
    assert_error(ll_pgp_export(w->other, w->key, LL_PGP_SECRET, true, NOTHING, &out),
                 LL_SEAL_NO_KEY);
    ll_buf_puts(&small, "kept");
    assert_error(ll_pgp_export(w->own, w->key, LL_PGP_PUBLIC, true, NOTHING, &small),
                 LL_SEAL_TOO_LARGE);
    assert_text(TEXT(small), "kept");
    ll_buf_release(&out);
    ll_buf_release(&small);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(user_ids_have_one_address_or_none),
        TEST(what_cannot_be_a_user_id_is_refused),
        TEST(an_expired_key_is_of_no_use),
        TEST(a_dead_key_still_opens),
        TEST(a_lifetime_is_counted_from_now),
        TEST(a_revoked_key_is_of_no_use),
        TEST(a_revocation_certificate_revokes_where_it_is_imported),
        TEST(a_second_user_id_travels_or_not_as_asked),
        TEST(the_password_can_be_changed_and_taken_away),
        TEST(armor_is_read_as_people_send_it),
        TEST(armor_may_be_wrapped_anywhere),
        TEST(what_is_no_key_is_refused),
        TEST(a_changed_key_is_no_key),
        TEST(exports_come_in_the_form_asked_for),
    };

    return cmocka_run_group_tests_name("pgp keys", tests, NULL, NULL);
}
