#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "io/json.h"

static void structure(void **state)
{
    struct ll_buf b = LL_BUF(4096);
    struct ll_json j = LL_JSON(&b);

    ll_json_open(&j, '{');
    ll_json_str(&j, "a", LL_LIT("x"));
    ll_json_key(&j, "list");
    ll_json_open(&j, '[');
    ll_json_int(&j, NULL, -1);
    ll_json_int(&j, NULL, INT64_MAX);
    ll_json_open(&j, '{');
    ll_json_close(&j);
    ll_json_close(&j);
    ll_json_bool(&j, "yes", true);
    ll_json_cstr(&j, "none", NULL);
    ll_json_close(&j);
    assert_string_equal(ll_buf_str(&b), "{\"a\": \"x\",\"list\": [-1,9223372036854775807,{}],"
                                        "\"yes\": true,\"none\": null}");
    ll_buf_release(&b);
}

static void strings(void **state)
{
    static const struct {
        struct ll_slice in;
        const char *out;
    } rows[] = {
        {LL_LIT(""), "\"\""},
        {LL_LIT("a\"b\\c"), "\"a\\\"b\\\\c\""},
        {LL_LIT("\r\n\t\x01\x7f"), "\"\\u000d\\u000a\\u0009\\u0001\\u007f\""},
        {LL_LIT("a\0b"), "\"a\\u0000b\""},
        {LL_LIT("gr\xc3\xbc\xc3\x9f"), "\"gr\xc3\xbc\xc3\x9f\""},
        {LL_LIT("\xf0\x9f\x93\xa8"), "\"\xf0\x9f\x93\xa8\""},
        {LL_LIT("\xc3"), "\"\xef\xbf\xbd\""},
        {LL_LIT("\xff\xc3(x"), "\"\xef\xbf\xbd\xef\xbf\xbd(x\""},
        {LL_LIT("\xed\xa0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_buf b = LL_BUF(4096);
        struct ll_json j = LL_JSON(&b);

        ll_json_str(&j, NULL, rows[i].in);
        assert_string_equal(ll_buf_str(&b), rows[i].out);
        ll_buf_release(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(structure), cmocka_unit_test(strings)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
