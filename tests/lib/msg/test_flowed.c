/* format=flowed both ways, and dates read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "letterlock/compose.h"
#include "letterlock/msg.h"

#define LONG50 "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeee"

static struct ll_buf out;

static int set_up(void **state)
{
    ll_buf_init(&out, 8u << 20);
    return 0;
}

static int tear_down(void **state)
{
    ll_buf_release(&out);
    return 0;
}

static void assert_text(struct ll_slice have, const char *want)
{
    if (!ll_slice_eq(have, ll_slice_str(want)))
        print_error("want \"%s\"\nhave \"%.*s\"\n", want, LL_FMT(have));
    assert_true(ll_slice_eq(have, ll_slice_str(want)));
}

/* ---- format=flowed
 * ----------------------------------------------------------------------------------
 */

static const struct {
    const char *text, *flowed;
} flow_rows[] = {
    {"", ""},
    {"hi\n", "hi\r\n"},
    {"trailing  \n", "trailing\r\n"},
    {"-- \nme\n", "-- \r\nme\r\n"},
    {" indented\n", "  indented\r\n"},
    {"From me\n", " From me\r\n"},
    {"> quote\n>> deep\n", "> quote\r\n>> deep\r\n"},
    {">no blank\n", "> no blank\r\n"},
    {"\n\n", "\r\n\r\n"},
    {"aaaaaaaaa bbbbbbbbb ccccccccc ddddddddd eeeeeeeee fffffffff ggggggggg hhhhhhhhh iii\n",
     "aaaaaaaaa bbbbbbbbb ccccccccc ddddddddd eeeeeeeee fffffffff ggggggggg \r\nhhhhhhhhh iii\r\n"},
};

static void test_flowed_encode(void **state)
{
    for (size_t i = 0; i < LL_COUNT(flow_rows); i++) {
        ll_buf_clear(&out);
        ll_flowed_encode(ll_slice_str(flow_rows[i].text), &out);
        assert_text(ll_buf_slice(&out), flow_rows[i].flowed);
    }
}

static const struct {
    const char *text;
    bool delsp;
    const char *want;
} unflow_rows[] = {
    {"", false, ""},
    {"a \r\nb\r\n", false, "a b\r\n"},
    {"a \r\nb\r\n", true, "ab\r\n"},
    {"a\r\nb\r\n", false, "a\r\nb\r\n"},
    {"  a\r\n From b\r\n >c\r\n", false, " a\r\nFrom b\r\n>c\r\n"},
    /* RFC 3676 4.5 and 4.6: quotes, depth changes within a paragraph, a reader's bad luck */
    {"> a \r\n> b\r\n", false, "> a b\r\n"},
    {"> a \r\n>> b \r\nc\r\n", false, "> a \r\n>> b \r\nc\r\n"},
    {">>a\r\n", false, ">> a\r\n"},
    {"> > a\r\n", false, "> > a\r\n"}, /* a stuffed ">" is text */
    {"a \r\n-- \r\nme\r\n", false, "a \r\n-- \r\nme\r\n"},
    {"> a \r\n> -- \r\n> me\r\n", false, "> a \r\n> -- \r\n> me\r\n"},
    {"a \r\n", false, "a \r\n"},
    {"a \r\n\r\nb", false, "a \r\nb\r\n"},
    {"a \nb\n", false, "a b\r\n"},
    {" \r\na\r\n", false, "\r\na\r\n"},
};

static void test_flowed_decode(void **state)
{
    for (size_t i = 0; i < LL_COUNT(unflow_rows); i++) {
        ll_buf_clear(&out);
        ll_flowed_decode(ll_slice_str(unflow_rows[i].text), unflow_rows[i].delsp, &out);
        assert_text(ll_buf_slice(&out), unflow_rows[i].want);
    }
}

static void test_flowed_round(void **state)
{
    static const char *const rows[] = {
        "one paragraph of many words that is much longer than a line may be, and goes on and on, "
        "with äöü and 😀 in it, until it ends here\r\n",
        "> a quoted paragraph of many words that is much longer than a line may be, and goes "
        "on\r\n",
        "  an indented one of many words that is much longer than a line may be, and goes on -- "
        "and "
        "on and on\r\n",
        ">>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>> deep and "
        "long "
        "and longer still than that\r\n",
        LONG50 LONG50 " " LONG50 LONG50 "\r\n",
        "-- " LONG50 LONG50 "\r\n",
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_buf flowed = LL_BUF(1u << 16);

        ll_buf_clear(&out);
        ll_flowed_encode(ll_slice_str(rows[i]), &flowed);
        ll_flowed_decode(ll_buf_slice(&flowed), false, &out);
        assert_text(ll_buf_slice(&out), rows[i]);
        ll_buf_release(&flowed);
    }
}

/* ---- dates
 * ----------------------------------------------------------------------------------------
 */

static const struct {
    const char *text;
    int64_t unix_s; /* -1: none */
    int offset;
} date_rows[] = {
    {"Thu, 1 Jan 1970 00:00:00 +0000", 0, 0},
    {" Tue, 24 Nov 2026 03:07:34 +0100 (x)", 1795486054, 60},
    {"24 Nov 2026 03:07 -0330", 1795502220, -210},
    {"29 Feb 2024 00:00:00 GMT", 1709164800, 0},
    {"29 Feb 2023 00:00:00 GMT", -1, 0},
    {"1 Jan 49 00:00 EST", 2493090000, -300},
    {"1 Jan 50 00:00 UT", -631152000, 0},
    {"1 Jan 126 00:00 Z", 1767225600, 0},
    {"(a (b) c) Mon,\r\n 1 (x) Jan (y) 2024 (z) 1:02:03 (w) +0000", 1704070923, 0},
    {"Sat, 31 Dec 2016 23:59:60 +0000", 1483228800, 0},
    {"32 Jan 2024 00:00:00 +0000", -1, 0},
    {"1 Jan 2024 24:00:00 +0000", -1, 0},
    {"1 Jan 2024 00:60:00 +0000", -1, 0},
    {"1 Jan 2024 00:00:00 +0060", -1, 0},
    {"1 Jan 2024 00:00:00 +00", -1, 0},
    {"1 Jan 2024", -1, 0},
    {"1 Jax 2024 00:00:00 +0000", -1, 0},
    {"(1 Jan 2024 00:00:00 +0000", -1, 0},
    {"", -1, 0},
    {"99999999999 Jan 2024 00:00:00 +0000", -1, 0},
};

static void test_dates(void **state)
{
    for (size_t i = 0; i < LL_COUNT(date_rows); i++) {
        int64_t t = -1;
        int offset = 0;
        bool ok = ll_msg_date(ll_slice_str(date_rows[i].text), &t, &offset);

        if (t != date_rows[i].unix_s || offset != date_rows[i].offset)
            print_error("%s: %lld %d\n", date_rows[i].text, (long long)t, offset);
        assert_int_equal(ok, date_rows[i].unix_s != -1);
        assert_true(t == date_rows[i].unix_s);
        assert_int_equal(offset, date_rows[i].offset);
    }
    for (int64_t t = -4000000000; t < 5000000000; t += 987654321) {
        int64_t back;

        ll_buf_clear(&out);
        ll_time_rfc5322(&out, t);
        assert_true(ll_msg_date(ll_buf_slice(&out), &back, NULL) && back == t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_flowed_encode, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_flowed_decode, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_flowed_round, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_dates, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("flowed", tests, NULL, NULL);
}
