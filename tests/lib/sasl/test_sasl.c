/* PLAIN and LOGIN, both sides. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "letterlock/sasl.h"

#define RAW(s) ((struct ll_slice){(const uint8_t *)(s), sizeof(s) - 1})

/* One PLAIN message before base64, and what becomes of it. */
static const struct {
    struct ll_slice message;
    enum ll_sasl_step step;
    const char *user, *password;
} plain_rows[] = {
    {RAW("\0tim\0tanstaaftanstaaf"), LL_SASL_CREDENTIALS, "tim", "tanstaaftanstaaf"},
    {RAW("tim\0tim\0x"), LL_SASL_CREDENTIALS, "tim", "x"},
    {RAW("\0a@b.example\0p w\xc3\xa4"), LL_SASL_CREDENTIALS, "a@b.example", "p w\xc3\xa4"},
    {RAW("Ursel\0Kurt\0xipj3plmq"), LL_SASL_REFUSED, NULL, NULL}, /* RFC 4616 4 */
    {RAW(""), LL_SASL_MALFORMED, NULL, NULL},
    {RAW("tim"), LL_SASL_MALFORMED, NULL, NULL},
    {RAW("\0tim"), LL_SASL_MALFORMED, NULL, NULL},
    {RAW("\0tim\0"), LL_SASL_MALFORMED, NULL, NULL},
    {RAW("\0\0secret"), LL_SASL_MALFORMED, NULL, NULL},
    {RAW("\0tim\0sec\0ret"), LL_SASL_MALFORMED, NULL, NULL},
    {RAW("\0tim\0secret\0"), LL_SASL_MALFORMED, NULL, NULL},
    {RAW("\0t\xffm\0secret"), LL_SASL_MALFORMED, NULL, NULL},
    {RAW("\xff\0tim\0secret"), LL_SASL_MALFORMED, NULL, NULL},
};

static void check_user(const struct ll_sasl_server *s, const char *user, const char *password)
{
    assert_true(ll_slice_eq(ll_buf_slice(&s->user), ll_slice_str(user)));
    assert_true(ll_slice_eq(ll_buf_slice(&s->password), ll_slice_str(password)));
}

static void test_plain(void **state)
{
    struct ll_buf line = LL_BUF(4096), challenge = LL_BUF(64);

    for (size_t i = 0; i < LL_COUNT(plain_rows); i++) {
        for (int later = 0; later < 2; later++) {
            struct ll_sasl_server s;
            enum ll_sasl_step step;
            bool empty = plain_rows[i].message.n == 0;

            ll_buf_clear(&line);
            ll_base64_encode(&line, plain_rows[i].message);
            ll_sasl_server_init(&s, LL_SASL_PLAIN);
            if (later) {
                step = ll_sasl_server_start(&s, false, LL_LIT(""), &challenge);
                assert_int_equal(step, LL_SASL_CHALLENGE);
                assert_int_equal(challenge.n, 0);
                step = ll_sasl_server_line(&s, ll_buf_slice(&line), &challenge);
            } else {
                step = ll_sasl_server_start(&s, true, empty ? LL_LIT("=") : ll_buf_slice(&line),
                                            &challenge);
            }
            assert_int_equal(step, plain_rows[i].step);
            if (step == LL_SASL_CREDENTIALS)
                check_user(&s, plain_rows[i].user, plain_rows[i].password);
            ll_sasl_server_release(&s);
            ll_sasl_server_release(&s);
        }
    }
    ll_buf_release(&line);
    ll_buf_release(&challenge);
}

static void test_base64_strict(void **state)
{
    static const struct {
        const char *line;
        enum ll_sasl_step step;
    } rows[] = {
        {"AHRpbQB4", LL_SASL_CREDENTIALS},
        {"*", LL_SASL_CANCELLED},
        {"AHRpbQB4 ", LL_SASL_MALFORMED},
        {" AHRpbQB4", LL_SASL_MALFORMED},
        {"AHRpbQB", LL_SASL_MALFORMED},
        {"AHRpbQB4=", LL_SASL_MALFORMED},
        {"AHRpbQB4AA==", LL_SASL_MALFORMED},
        {"AHRp*QB4", LL_SASL_MALFORMED},
        {"AHRpbQB4eR==", LL_SASL_MALFORMED}, /* unused bits set */
        {"=", LL_SASL_MALFORMED},
        {"**", LL_SASL_MALFORMED},
        {"AHRpbQB4eA==", LL_SASL_CREDENTIALS},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_sasl_server s;
        struct ll_buf challenge = LL_BUF(64);

        ll_sasl_server_init(&s, LL_SASL_PLAIN);
        assert_int_equal(ll_sasl_server_line(&s, ll_slice_str(rows[i].line), &challenge),
                         rows[i].step);
        ll_sasl_server_release(&s);
        ll_buf_release(&challenge);
    }
}

/* A PLAIN message with a user and a password of so many octets. */
static enum ll_sasl_step plain_of(size_t user, size_t password)
{
    struct ll_buf message = LL_BUF(8192), line = LL_BUF(16384), challenge = LL_BUF(64);
    struct ll_sasl_server s;
    enum ll_sasl_step step;

    ll_buf_putc(&message, 0);
    memset(ll_buf_room(&message, user), 'u', user);
    ll_buf_grew(&message, user);
    ll_buf_putc(&message, 0);
    memset(ll_buf_room(&message, password), 'p', password);
    ll_buf_grew(&message, password);
    ll_base64_encode(&line, ll_buf_slice(&message));
    ll_sasl_server_init(&s, LL_SASL_PLAIN);
    step = ll_sasl_server_line(&s, ll_buf_slice(&line), &challenge);
    ll_sasl_server_release(&s);
    ll_buf_release(&message);
    ll_buf_release(&line);
    ll_buf_release(&challenge);
    return step;
}

static void test_limits(void **state)
{
    assert_int_equal(plain_of(LL_SASL_USER_MAX, LL_SASL_PASSWORD_MAX), LL_SASL_CREDENTIALS);
    assert_int_equal(plain_of(LL_SASL_USER_MAX + 1, 8), LL_SASL_MALFORMED);
    assert_int_equal(plain_of(8, LL_SASL_PASSWORD_MAX + 1), LL_SASL_MALFORMED);
    assert_int_equal(plain_of(4, 5000), LL_SASL_MALFORMED);
}

static void test_login(void **state)
{
    struct ll_sasl_server s;
    struct ll_buf challenge = LL_BUF(64);

    for (int initial = 0; initial < 2; initial++) {
        ll_sasl_server_init(&s, LL_SASL_LOGIN);
        if (initial) {
            assert_int_equal(ll_sasl_server_start(&s, true, LL_LIT("dGlt"), &challenge),
                             LL_SASL_CHALLENGE);
        } else {
            assert_int_equal(ll_sasl_server_start(&s, false, LL_LIT(""), &challenge),
                             LL_SASL_CHALLENGE);
            assert_true(ll_slice_eq(ll_buf_slice(&challenge), LL_LIT("VXNlcm5hbWU6")));
            assert_int_equal(ll_sasl_server_line(&s, LL_LIT("dGlt"), &challenge),
                             LL_SASL_CHALLENGE);
        }
        assert_true(ll_slice_eq(ll_buf_slice(&challenge), LL_LIT("UGFzc3dvcmQ6")));
        assert_int_equal(ll_sasl_server_line(&s, LL_LIT("c2VjcmV0"), &challenge),
                         LL_SASL_CREDENTIALS);
        check_user(&s, "tim", "secret");
        ll_sasl_server_release(&s);
    }
    ll_sasl_server_init(&s, LL_SASL_LOGIN);
    assert_int_equal(ll_sasl_server_line(&s, LL_LIT("AHRpbQ=="), &challenge), LL_SASL_MALFORMED);
    assert_int_equal(ll_sasl_server_line(&s, LL_LIT(""), &challenge), LL_SASL_MALFORMED);
    assert_int_equal(ll_sasl_server_line(&s, LL_LIT("*"), &challenge), LL_SASL_CANCELLED);
    ll_sasl_server_release(&s);
    ll_buf_release(&challenge);
}

/* Our client with our server, with and without an initial response. */
static void test_both(void **state)
{
    for (int m = 0; m < LL_SASL_MECHS; m++) {
        for (int initial = 0; initial < 2; initial++) {
            struct ll_sasl_server s;
            struct ll_sasl_client c;
            struct ll_buf line = LL_BUF(4096), challenge = LL_BUF(64);
            enum ll_sasl_step step;
            bool has;

            ll_sasl_server_init(&s, (enum ll_sasl_mech)m);
            ll_sasl_client_init(&c, (enum ll_sasl_mech)m, LL_LIT("anna"), LL_LIT("pass word"));
            has = initial && ll_sasl_client_start(&c, &line);
            step = ll_sasl_server_start(&s, has, ll_buf_slice(&line), &challenge);
            while (step == LL_SASL_CHALLENGE) {
                ll_buf_clear(&line);
                assert_true(ll_sasl_client_answer(&c, ll_buf_slice(&challenge), &line));
                step = ll_sasl_server_line(&s, ll_buf_slice(&line), &challenge);
            }
            assert_int_equal(step, LL_SASL_CREDENTIALS);
            check_user(&s, "anna", "pass word");
            assert_false(ll_sasl_client_answer(&c, LL_LIT(""), &line));
            ll_sasl_server_release(&s);
            ll_buf_wipe(&line);
            ll_buf_release(&challenge);
        }
    }
}

static void test_names(void **state)
{
    enum ll_sasl_mech mech = LL_SASL_MECHS;

    assert_true(ll_sasl_mech_find(LL_LIT("plain"), &mech));
    assert_int_equal(mech, LL_SASL_PLAIN);
    assert_true(ll_sasl_mech_find(LL_LIT("LOGIN"), &mech));
    assert_int_equal(mech, LL_SASL_LOGIN);
    assert_false(ll_sasl_mech_find(LL_LIT("PLAI"), &mech));
    assert_false(ll_sasl_mech_find(LL_LIT("CRAM-MD5"), &mech));
    assert_true(ll_slice_eq(ll_sasl_mech_name(LL_SASL_PLAIN), LL_LIT("PLAIN")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),  cmocka_unit_test(test_base64_strict),
        cmocka_unit_test(test_limits), cmocka_unit_test(test_login),
        cmocka_unit_test(test_both),   cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
