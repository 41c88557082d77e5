/* Charsets, and that nothing is opened after preloading. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <cmocka.h>

#include "io/charset.h"

#define MARK "\xef\xbf\xbd" /* U+FFFD */

static struct ll_charset *charsets;
static struct ll_buf out;

static int set_up(void **state)
{
    charsets = ll_charset_new();
    ll_buf_init(&out, 1u << 20);
    return charsets ? 0 : -1;
}

static int tear_down(void **state)
{
    ll_charset_free(charsets);
    ll_buf_release(&out);
    return 0;
}

static const struct {
    const char *name, *in, *utf8;
    bool clean;
} rows[] = {
    {"utf-8", "Gr\xc3\xbc\xc3\x9f", "Grüß", true},
    {"UTF-8", "a\xc3(\xff", "a" MARK "(" MARK, false},
    {"utf-8", "\xed\xa0\x80", MARK MARK MARK, false}, /* a surrogate */
    {"utf-8", "\xc0\xaf", MARK MARK, false},          /* an overlong "/" */
    {"iso-8859-1", "\xfc\x80\x93", "ü€“", true},      /* read as windows-1252 */
    {"ISO-8859-15", "\xa4", "€", true},
    {"us-ascii", "abc", "abc", true},
    {"us-ascii", "\xfc", "ü", true},
    {"us-ascii", "\xc3\xbc", "ü", true},
    {"", "\xc3\xbc", "ü", true},
    {"", "\xfc", "ü", false},
    {"x-nobody-knows", "\xc3\xbc", "ü", false},
    {"x-nobody-knows", "\xfc", "ü", false},
    {"x-nobody-knows", "a", "a", false},
    {"windows-1252", "\x81", MARK, false},
    {"koi8-r", "\xd0\xd2\xc9\xd7\xc5\xd4", "привет", true},
    {"windows-1251", "\xef\xf0\xe8\xe2\xe5\xf2", "привет", true},
    {"gb2312", "\xc4\xe3\xba\xc3", "你好", true},
    {"GBK", "\x81\x30\x81\x30", "\xc2\x80", true}, /* gb18030's, under an older name */
    {"big5", "\xa7\x41\xa6\x6e", "你好", true},
    {"shift_jis", "\x82\xb1\x87\x40", "こ①", true},
    {"iso-2022-jp", "\x1b$B$3\x1b(B!", "こ!", true},
    {"iso-2022-jp", "\x1b$B$", MARK, false},
    {"euc-kr", "\xb0\xa1", "가", true},
    {"ks_c_5601-1987", "\x81\x41", "갂", true}, /* cp949's */
    {"utf-7", "a+APw-b", "aüb", true},
    {"utf-16le", "", "", true},
    {"iso-8859-8-i", "\xf9", "ש", true},
    {" latin1 ", "\xe4", "ä", true},
    /* not names, whatever iconv would make of them */
    {"utf-8//TRANSLIT", "\xfc", "ü", false},
    {"windows-1252 cp1252", "a", "a", false},
    {"../../../../tmp/x", "a", "a", false},
};

static void test_rows(void **state)
{
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        bool clean;

        ll_buf_clear(&out);
        clean = ll_charset_to_utf8(charsets, ll_slice_str(rows[i].name), ll_slice_str(rows[i].in),
                                   &out);
        if (!ll_slice_eq(ll_buf_slice(&out), ll_slice_str(rows[i].utf8)) || clean != rows[i].clean)
            print_error("row %zu %s: %.*s (%d)\n", i, rows[i].name, LL_FMT(ll_buf_slice(&out)),
                        clean);
        assert_true(ll_slice_eq(ll_buf_slice(&out), ll_slice_str(rows[i].utf8)));
        assert_int_equal(clean, rows[i].clean);
    }
}

/* Octets of every kind under every name: the text is well-formed and bounded. */
static void test_any_octets(void **state)
{
    static const char *const names[] = {"utf-8",  "iso-2022-jp", "utf-7",  "utf-16", "gb18030",
                                        "big5",   "shift_jis",   "euc-jp", "hz",     "iso-2022-kr",
                                        "euc-tw", "utf-32",      "euc-kr", "cp437",  "nobody"};
    uint8_t in[2000];
    uint32_t x = 1;

    for (size_t n = 0; n < LL_COUNT(names); n++) {
        for (size_t i = 0; i < sizeof(in); i++) {
            x = x * 1664525 + 1013904223;
            in[i] = (uint8_t)(x >> 24);
        }
        ll_buf_clear(&out);
        ll_charset_to_utf8(charsets, ll_slice_str(names[n]), ll_slice(in, sizeof(in)), &out);
        assert_true(ll_utf8_valid(ll_buf_slice(&out)));
        assert_in_range(out.n, 1, 4 * sizeof(in));
        out.max = 100;
        ll_buf_clear(&out);
        assert_false(
            ll_charset_to_utf8(charsets, ll_slice_str(names[n]), ll_slice(in, sizeof(in)), &out));
        assert_true(out.failed && out.n <= 100);
        out.max = 1u << 20;
    }
}

static void test_field(void **state)
{
    struct ll_mime_param p = {.value = LL_LIT("=?iso-8859-1?q?=E4?=.txt")};

    assert_true(ll_charset_field(
        charsets, LL_LIT(" =?iso-8859-1?Q?Andr=E9?= =?koi8-r?b?0NLJ18XU?=\r\n x"), &out));
    assert_true(ll_slice_eq(ll_buf_slice(&out), LL_LIT("Andréпривет x")));
    /* a character cut in two words of one charset, as careless programs do */
    ll_buf_clear(&out);
    assert_true(ll_charset_field(charsets, LL_LIT("=?utf-8?q?=C3?= =?utf-8?q?=BC?="), &out));
    assert_true(ll_slice_eq(ll_buf_slice(&out), LL_LIT("ü")));
    ll_buf_clear(&out);
    assert_true(ll_charset_param(charsets, &p, &out));
    assert_true(ll_slice_eq(ll_buf_slice(&out), LL_LIT("ä.txt")));
    p = (struct ll_mime_param){.value = LL_LIT("\xe4"), .charset = LL_LIT("iso-8859-1")};
    ll_buf_clear(&out);
    assert_true(ll_charset_param(charsets, &p, &out));
    assert_true(ll_slice_eq(ll_buf_slice(&out), LL_LIT("ä")));
}

/* After preloading no file is opened: here none can be. */
static void test_preload(void **state)
{
    struct rlimit before, none;
    size_t n = ll_charset_preload(charsets);

    assert_in_range(n, 2, 100);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    test_rows(state);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_preload, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rows, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_any_octets, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_field, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("charset", tests, NULL, NULL);
}
