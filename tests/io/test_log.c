/* Lines of the log: fields, escapes, length; and that nothing remote can begin a line or field. */
#include "io/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define AT INT64_C(1795489654123) /* 2026-11-24T03:07:34.123Z */

static void expect(const char *want, bool json, const struct ll_log_field *f, size_t n)
{
    struct ll_buf b = LL_BUF(LL_LOG_LINE_MAX);

    ll_log_json(json);
    ll_log_format(&b, AT, LL_LOG_INFO, "event", f, n);
    ll_log_json(false);
    assert_non_null(ll_buf_str(&b));
    assert_string_equal(ll_buf_str(&b), want);
    ll_buf_release(&b);
}

#define TEXT_HEAD "2026-11-24T03:07:34.123Z info front-mx.1 event"
#define JSON_HEAD                                                                                  \
    "{\"time\":\"2026-11-24T03:07:34.123Z\",\"level\":\"info\",\"role\":\"front-mx.1\","           \
    "\"event\":\"event\""

struct value {
    const char *text;
    const char *in_text;
    const char *in_json;
};
static const struct value values[] = {
    {"plain", "plain", "\"plain\""},
    {"", "\"\"", "\"\""},
    {"two words", "\"two words\"", "\"two words\""},
    {" ", "\" \"", "\" \""},
    {"a\nb", "a\\x0ab", "\"a\\\\x0ab\""},
    {"a\r\n2026 error x", "\"a\\x0d\\x0a2026 error x\"", "\"a\\\\x0d\\\\x0a2026 error x\""},
    {"q\"q", "q\\x22q", "\"q\\\\x22q\""},
    {"b\\b", "b\\x5cb", "\"b\\\\x5cb\""},
    {"\xc3\xa9", "\\xc3\\xa9", "\"\\\\xc3\\\\xa9\""},
    {"\x1b[2J", "\\x1b[2J", "\"\\\\x1b[2J\""},
};

static void test_values(void **state)
{
    for (size_t i = 0; i < LL_COUNT(values); i++) {
        const struct ll_log_field f[] = {LL_FS("key", values[i].text), LL_FU("n", 7)};
        char want[512];

        snprintf(want, sizeof(want), TEXT_HEAD " key=%s n=7", values[i].in_text);
        expect(want, false, f, 2);
        snprintf(want, sizeof(want), JSON_HEAD ",\"key\":%s,\"n\":7}", values[i].in_json);
        expect(want, true, f, 2);
    }
    expect(TEXT_HEAD, false, NULL, 0);
    expect(JSON_HEAD "}", true, NULL, 0);
}

/* A line never grows beyond its limit: whole fields are left away. */
static void test_long(void **state)
{
    static char text[3000];
    struct ll_log_field f[8];
    struct ll_buf b = LL_BUF(LL_LOG_LINE_MAX - 2);

    memset(text, 1, sizeof(text) - 1);
    for (size_t i = 0; i < LL_COUNT(f); i++)
        f[i] = LL_FS("k", text);
    ll_log_format(&b, AT, LL_LOG_INFO, "event", f, LL_COUNT(f));
    assert_true(b.n < LL_LOG_LINE_MAX);
    for (size_t i = 0; i < b.n; i++)
        assert_true(ll_is_print(b.p[i]));
    ll_buf_clear(&b);
    memset(text, 'x', sizeof(text) - 1);
    ll_log_format(&b, AT, LL_LOG_INFO, "event", f, 1);
    assert_int_equal(b.n, strlen(TEXT_HEAD " k=") + LL_LOG_VALUE_MAX + 3); /* "..." */
    ll_buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_values), cmocka_unit_test(test_long)};

    ll_log_init("front-mx", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
