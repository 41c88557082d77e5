/* base: slices, buffers, cursor, arena, encodings, time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "letterlock/base.h"

#define S(text) LL_LIT(text)

static void assert_slice(struct ll_slice have, struct ll_slice want)
{
    assert_int_equal(have.n, want.n);
    if (want.n)
        assert_memory_equal(have.p, want.p, want.n);
}

static void slices(void **state)
{
    struct ll_slice rest = S("a,b,,c"), part;
    const char *want[] = {"a", "b", "", "c"};
    size_t n = 0;

    (void)state;
    while (ll_slice_next(&rest, ',', &part))
        assert_slice(part, ll_slice_str(want[n++]));
    assert_int_equal(n, 4);
    assert_true(ll_slice_caseeq(S("MaIl"), S("mAiL")));
    assert_false(ll_slice_caseeq(S("mail"), S("mai[")));
    assert_true(ll_slice_casestarts(S("STARTTLS"), S("start")));
    assert_false(ll_slice_starts(S("ST"), S("STA")));
    assert_true(ll_slice_ends(S("a.test"), S(".test")));
    assert_int_equal(ll_slice_search(S("aaab"), S("aab")), 1);
    assert_int_equal(ll_slice_search(S("abab"), S("bb")), 4);
    assert_int_equal(ll_slice_search(S(""), S("b")), 0);
    assert_int_equal(ll_slice_rfind(S("a@b@c"), '@'), 3);
    assert_slice(ll_slice_cut(S("abc"), 2, 9), S("c"));
    assert_slice(ll_slice_cut(S("abc"), 3, 1), S(""));
    assert_slice(ll_slice_trim(S(" \t x y\t")), S("x y"));
    assert_true(ll_slice_cmp(S("a"), S("ab")) < 0);
    assert_true(ll_slice_cmp(S("b"), S("ab")) > 0);
    assert_int_equal(ll_slice_cmp(S(""), S("")), 0);
}

static void numbers(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        uint64_t value;
    } rows[] = {
        {"0", true, 0},
        {"18446744073709551615", true, UINT64_MAX},
        {"18446744073709551616", false, 0},
        {"99999999999999999999", false, 0},
        {"", false, 0},
        {"-1", false, 0},
        {"+1", false, 0},
        {" 1", false, 0},
        {"1x", false, 0},
    };

    (void)state;
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        uint64_t v = 77;

        assert_int_equal(ll_slice_u64(ll_slice_str(rows[i].text), &v), rows[i].ok);
        assert_int_equal(v, rows[i].ok ? rows[i].value : 77);
    }
}

static void buffers_stop_at_their_maximum(void **state)
{
    struct ll_buf b = LL_BUF(100);

    (void)state;
    for (int i = 0; i < 10; i++)
        ll_buf_puts(&b, "0123456789");
    assert_int_equal(b.n, 100);
    assert_false(b.failed);
    ll_buf_putc(&b, 'x');
    assert_true(b.failed);
    ll_buf_clear(&b);
    ll_buf_printf(&b, "%0*d", 100, 7); /* exactly full, though vsnprintf wants room for a NUL */
    assert_false(b.failed);
    assert_int_equal(b.n, 100);
    assert_int_equal(b.p[99], '7');
    ll_buf_clear(&b);
    ll_buf_printf(&b, "%0*d", 101, 7);
    assert_true(b.failed);
    assert_int_equal(b.n, 0);
    ll_buf_clear(&b);
    ll_buf_puts(&b, "abcdef");
    ll_buf_drop(&b, 2);
    assert_slice(ll_buf_slice(&b), S("cdef"));
    assert_string_equal(ll_buf_str(&b), "cdef");
    ll_buf_drop(&b, 9);
    assert_int_equal(b.n, 0);
    ll_buf_wipe(&b);
    assert_null(b.p);
}

static void cursor_reads_what_buffers_wrote(void **state)
{
    struct ll_buf b = LL_BUF(1000);
    struct ll_slice whole;

    (void)state;
    ll_buf_u8(&b, 0xfe);
    ll_buf_u16(&b, 0x0102);
    ll_buf_u32(&b, 0x03040506);
    ll_buf_u64(&b, 0x0708090a0b0c0d0e);
    ll_buf_str16(&b, S("letter"));
    ll_buf_str32(&b, S("lock"));
    whole = ll_buf_slice(&b);
    assert_int_equal(whole.p[1], 1); /* big-endian */
    for (size_t cut = 0; cut <= whole.n; cut++) {
        struct ll_cursor c = ll_cursor(ll_slice_cut(whole, 0, cut));
        uint64_t got = ll_cur_u8(&c);

        got += ll_cur_u16(&c);
        got += ll_cur_u32(&c);
        got += ll_cur_u64(&c);
        struct ll_slice a = ll_cur_str16(&c), d = ll_cur_str32(&c);

        assert_int_equal(ll_cur_end(&c), cut == whole.n);
        if (cut < whole.n)
            continue;
        assert_int_equal(got, 0xfe + 0x0102 + 0x03040506 + 0x0708090a0b0c0d0e);
        assert_slice(a, S("letter"));
        assert_slice(d, S("lock"));
    }
    struct ll_cursor more = ll_cursor(whole);

    ll_cur_u8(&more);
    assert_false(ll_cur_end(&more)); /* left-over octets */
    ll_buf_release(&b);
}

static void arenas(void **state)
{
    struct ll_arena a;
    char *p;

    (void)state;
    ll_arena_init(&a, 10000);
    for (int i = 0; i < 100; i++) {
        p = ll_arena_alloc(&a, 7);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
        assert_int_equal(p[6], 0);
        memset(p, 0xff, 7);
    }
    assert_non_null(ll_arena_alloc(&a, 8000));
    assert_null(ll_arena_alloc(&a, 8000));
    assert_null(ll_arena_alloc(&a, SIZE_MAX));
    assert_slice(ll_arena_dup(&a, S("copy")), S("copy"));
    assert_non_null(ll_arena_dup(&a, S("")).p);
    ll_arena_release(&a);
    assert_non_null(ll_arena_alloc(&a, 8000));
    ll_arena_release(&a);
}

static void base64(void **state)
{
    static const struct {
        const char *plain;
        const char *coded; /* RFC 4648 10 */
    } rows[] = {{"", ""},
                {"f", "Zg=="},
                {"fo", "Zm8="},
                {"foo", "Zm9v"},
                {"foob", "Zm9vYg=="},
                {"fooba", "Zm9vYmE="},
                {"foobar", "Zm9vYmFy"}};
    static const char *const wrong[] = {"Z",    "Zg",   "Zg=",  "Zh==",     "Zm9=", "Zm9v\n",
                                        "Z=g=", "=Zg=", "====", "Zg==Zg==", "Zm 9", "Zm-_"};

    (void)state;
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_buf b = LL_BUF(100);

        ll_base64_encode(&b, ll_slice_str(rows[i].plain));
        assert_slice(ll_buf_slice(&b), ll_slice_str(rows[i].coded));
        ll_buf_clear(&b);
        assert_true(ll_base64_decode(&b, ll_slice_str(rows[i].coded)));
        assert_slice(ll_buf_slice(&b), ll_slice_str(rows[i].plain));
        ll_buf_release(&b);
    }
    for (size_t i = 0; i < LL_COUNT(wrong); i++) {
        struct ll_buf b = LL_BUF(100);

        if (ll_base64_decode(&b, ll_slice_str(wrong[i])))
            fail_msg("decoded %s", wrong[i]);
        ll_buf_release(&b);
    }
}

static void hex_and_escapes(void **state)
{
    struct ll_buf b = LL_BUF(100);

    (void)state;
    ll_hex_encode(&b, ll_slice("\x00\xff\x1a", 3));
    assert_slice(ll_buf_slice(&b), S("00ff1a"));
    ll_buf_clear(&b);
    assert_true(ll_hex_decode(&b, S("00FF1a")));
    assert_slice(ll_buf_slice(&b), ll_slice("\x00\xff\x1a", 3));
    assert_false(ll_hex_decode(&b, S("0")));
    assert_false(ll_hex_decode(&b, S("0g")));
    ll_buf_clear(&b);
    ll_escape(&b, ll_slice("a b\r\n\"\\\x7f\xff", 9), 100);
    assert_slice(ll_buf_slice(&b), S("a\\x20b\\x0d\\x0a\\x22\\x5c\\x7f\\xff"));
    ll_buf_clear(&b);
    ll_escape(&b, S("abcdef"), 3);
    assert_slice(ll_buf_slice(&b), S("abc..."));
    ll_buf_release(&b);
}

static void utf8(void **state)
{
    static const struct {
        const char *text;
        bool ok;
    } rows[] = {
        {"", true},
        {"abc", true},
        {"\xc3\xa9", true},
        {"\xe2\x82\xac", true},
        {"\xf0\x9f\x94\x92", true},
        {"\xf4\x8f\xbf\xbf", true},
        {"\xc0\x80", false},
        {"\xc1\xbf", false},
        {"\xe0\x9f\xbf", false},
        {"\xed\xa0\x80", false},
        {"\xf0\x8f\xbf\xbf", false},
        {"\xf4\x90\x80\x80", false},
        {"\xf5\x80\x80\x80", false},
        {"\x80", false},
        {"\xc3", false},
        {"\xe2\x82", false},
        {"\xe2\x28\xa1", false},
        {"\xff", false},
    };

    (void)state;
    for (size_t i = 0; i < LL_COUNT(rows); i++)
        assert_int_equal(ll_utf8_valid(ll_slice_str(rows[i].text)), rows[i].ok);
}

static void crc32c(void **state)
{
    uint8_t zeros[32] = {0};
    const char *text = "123456789";
    uint32_t whole = ll_crc32c(0, text, 9);

    (void)state;
    assert_int_equal(whole, 0xe3069283);                   /* the check value of CRC-32C */
    assert_int_equal(ll_crc32c(0, zeros, 32), 0x8a9136aa); /* RFC 3720 B.4 */
    for (size_t cut = 0; cut <= 9; cut++)
        assert_int_equal(ll_crc32c(ll_crc32c(0, text, cut), text + cut, 9 - cut), whole);
}

static void dates(void **state)
{
    static const struct {
        int64_t t;
        const char *rfc5322, *rfc3339, *day;
    } rows[] = {
        {0, "Thu, 1 Jan 1970 00:00:00 +0000", "1970-01-01T00:00:00Z", "19700101"},
        {-1, "Wed, 31 Dec 1969 23:59:59 +0000", "1969-12-31T23:59:59Z", "19691231"},
        {951782400, "Tue, 29 Feb 2000 00:00:00 +0000", "2000-02-29T00:00:00Z", "20000229"},
        {1795489654, "Tue, 24 Nov 2026 03:07:34 +0000", "2026-11-24T03:07:34Z", "20261124"},
        {4107542399, "Sun, 28 Feb 2100 23:59:59 +0000", "2100-02-28T23:59:59Z", "21000228"},
        {4107542400, "Mon, 1 Mar 2100 00:00:00 +0000", "2100-03-01T00:00:00Z", "21000301"},
    };

    (void)state;
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_buf b = LL_BUF(100);

        ll_time_rfc5322(&b, rows[i].t);
        assert_string_equal(ll_buf_str(&b), rows[i].rfc5322);
        ll_buf_clear(&b);
        ll_time_rfc3339(&b, rows[i].t);
        assert_string_equal(ll_buf_str(&b), rows[i].rfc3339);
        ll_buf_clear(&b);
        ll_time_day(&b, rows[i].t);
        assert_string_equal(ll_buf_str(&b), rows[i].day);
        ll_buf_release(&b);
    }
}

static void dates_with_milliseconds(void **state)
{
    static const struct {
        int64_t t;
        const char *text;
    } rows[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {42, "1970-01-01T00:00:00.042Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {-1000, "1969-12-31T23:59:59.000Z"},
        {1795489654999, "2026-11-24T03:07:34.999Z"},
    };

    (void)state;
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_buf b = LL_BUF(100);

        ll_time_rfc3339_ms(&b, rows[i].t);
        assert_string_equal(ll_buf_str(&b), rows[i].text);
        ll_buf_release(&b);
    }
}

static void numbers_put(void **state)
{
    static const struct {
        uint64_t value;
        unsigned width;
        const char *text;
    } rows[] = {
        {0, 0, "0"},
        {0, 1, "0"},
        {0, 3, "000"},
        {7, 2, "07"},
        {10, 2, "10"},
        {123, 2, "123"},
        {UINT64_MAX, 1, "18446744073709551615"},
        {UINT64_MAX, 20, "18446744073709551615"},
        {1, 20, "00000000000000000001"},
        {1, 99, "00000000000000000001"}, /* no number has more digits */
    };

    (void)state;
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_buf b = LL_BUF(100);

        ll_buf_put_uint(&b, rows[i].value, rows[i].width);
        assert_string_equal(ll_buf_str(&b), rows[i].text);
        ll_buf_release(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices),
        cmocka_unit_test(numbers),
        cmocka_unit_test(buffers_stop_at_their_maximum),
        cmocka_unit_test(cursor_reads_what_buffers_wrote),
        cmocka_unit_test(arenas),
        cmocka_unit_test(base64),
        cmocka_unit_test(hex_and_escapes),
        cmocka_unit_test(utf8),
        cmocka_unit_test(crc32c),
        cmocka_unit_test(dates),
        cmocka_unit_test(dates_with_milliseconds),
        cmocka_unit_test(numbers_put),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
