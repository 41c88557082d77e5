/* The table of DKIM keys: read, written, sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "io/dkim_keys.h"

static const struct {
    const char *text;
    size_t n;
    bool ok;
} rows[] = {
    {"", 0, true},
    {"# a comment\n\n", 0, true},
    {"a.test s1 rsa-sha256 10 0 AAAA\nb.test s2 ed25519-sha256 5 20 AAAA\n", 2, true},
    {"a.test s1 rsa-sha256 10 0 AAAA", 1, true},
    {"A.Test s1 rsa-sha256 10 0 AAAA\n", 1, true},
    {"a.test s1 rsa-sha256 10 0\n", 0, false},
    {"a.test s1 rsa-sha256 10 0 AAAA more\n", 0, false},
    {"a.test s1 rsa-sha1 10 0 AAAA\n", 0, false},
    {"a.test s1 rsa-sha256 -1 0 AAAA\n", 0, false},
    {"a.test s1 rsa-sha256 10 99999999999999999999 AAAA\n", 0, false},
    {"a.test s1 rsa-sha256 10 0 A*A\n", 0, false},
    {"../x s1 rsa-sha256 10 0 AAAA\n", 0, false},
    {"a.test ../../s rsa-sha256 10 0 AAAA\n", 0, false},
    {". s1 rsa-sha256 10 0 AAAA\n", 0, false},
};

static void parse(void **state)
{
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_buf err = LL_BUF(1000), out = LL_BUF(1000);
        struct ll_dkim_table t, again;

        assert_int_equal(ll_dkim_table_parse(ll_slice_str(rows[i].text), &t, &err), rows[i].ok);
        assert_int_equal(err.n == 0, rows[i].ok);
        if (rows[i].ok) {
            assert_int_equal(t.n, rows[i].n);
            ll_dkim_table_put(&t, &out);
            assert_true(ll_dkim_table_parse(ll_buf_slice(&out), &again, &err));
            assert_int_equal(again.n, t.n);
            for (size_t k = 0; k < t.n; k++)
                assert_string_equal(again.entry[k].selector.text, t.entry[k].selector.text);
            ll_dkim_table_release(&again);
            ll_dkim_table_release(&t);
        }
        ll_buf_release(&err);
        ll_buf_release(&out);
    }
}

static void too_many(void **state)
{
    struct ll_buf text = LL_BUF(1u << 20), err = LL_BUF(1000);
    struct ll_dkim_table t;

    for (int i = 0; i < LL_DKIM_TABLE_MAX; i++)
        ll_buf_printf(&text, "a.test s%d rsa-sha256 10 0 AAAA\n", i);
    assert_true(ll_dkim_table_parse(ll_buf_slice(&text), &t, &err));
    assert_int_equal(t.n, LL_DKIM_TABLE_MAX);
    ll_dkim_table_release(&t);
    ll_buf_puts(&text, "a.test more rsa-sha256 10 0 AAAA\n");
    assert_false(ll_dkim_table_parse(ll_buf_slice(&text), &t, &err));
    ll_buf_release(&text);
    ll_buf_release(&err);
}

static void times(void **state)
{
    struct ll_dkim_entry e = {.from = 10, .until = 20}, open = {.from = 10};

    assert_false(ll_dkim_signs(&e, 9));
    assert_true(ll_dkim_signs(&e, 10) && ll_dkim_signs(&e, 19));
    assert_false(ll_dkim_signs(&e, 20));
    assert_true(ll_dkim_signs(&open, 1000000));
}

static void wire(void **state)
{
    struct ll_dkim_entry e = {.algorithm = LL_DKIM_ED25519, .from = 1, .until = 2}, back;
    struct ll_buf b = LL_BUF(1000);

    assert_true(ll_dns_name_parse(LL_LIT("a.test"), &e.domain));
    assert_true(ll_dns_name_parse(LL_LIT("s"), &e.selector));
    ll_dkim_entry_encode(&e, &b);
    for (size_t n = 0; n <= b.n; n++) {
        struct ll_cursor c = ll_cursor(ll_slice_cut(ll_buf_slice(&b), 0, n));

        assert_int_equal(ll_dkim_entry_decode(&c, &back) && ll_cur_end(&c), n == b.n);
    }
    assert_string_equal(back.domain.text, "a.test");
    assert_int_equal(back.algorithm, LL_DKIM_ED25519);
    assert_int_equal(back.until, 2);
    ll_buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(parse), cmocka_unit_test(too_many),
                                       cmocka_unit_test(times), cmocka_unit_test(wire)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
