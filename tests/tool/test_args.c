#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tool/args.h"

#include <stdlib.h>

static bool flag, other;
static const char *text;
static int64_t number;
static struct ll_words list;

static const struct ll_opt opts[] = {
    {"flag", 'f', LL_OPT_FLAG, &flag, NULL, ""}, {NULL, 'o', LL_OPT_FLAG, &other, NULL, ""},
    {"text", 't', LL_OPT_TEXT, &text, "T", ""},  {"number", 0, LL_OPT_NUMBER, &number, "N", ""},
    {"list", 'l', LL_OPT_LIST, &list, "L", ""},
};
static const struct ll_usage usage = {"x", NULL, opts, LL_COUNT(opts), 1, 3};

static void parsed(void **state)
{
    static const struct {
        const char *argv[10];
        const char *shown; /* flag other text number list words; or the start of the sentence */
    } rows[] = {
        {{"x", "a"}, "- - - 0 [] [a]"},
        {{"x", "a", "--flag"}, "f - - 0 [] [a]"},
        {{"x", "-fo", "a"}, "f o - 0 [] [a]"},
        {{"x", "-ft", "T", "a"}, "f - T 0 [] [a]"},
        {{"x", "-tT", "a", "b"}, "- - T 0 [] [a b]"},
        {{"x", "--text=T", "a"}, "- - T 0 [] [a]"},
        {{"x", "--text=", "a"}, "- -  0 [] [a]"},
        {{"x", "--text", "-f", "a"}, "- - -f 0 [] [a]"},
        {{"x", "--text", "1", "--text", "2", "a"}, "- - 2 0 [] [a]"},
        {{"x", "--number", "65535", "a"}, "- - - 65535 [] [a]"},
        {{"x", "-l1", "--list", "2", "a", "--list=3"}, "- - - 0 [1 2 3] [a]"},
        {{"x", "a", "--", "-f", "--"}, "- - - 0 [] [a -f --]"},
        {{"x", "-"}, "- - - 0 [] [-]"},
        {{"x"}, "a word is missing"},
        {{"x", "a", "b", "c", "d"}, "one word too many: d"},
        {{"x", "a", "--nope"}, "no such option: --nope"},
        {{"x", "a", "--fla"}, "no such option: --fla"},
        {{"x", "a", "-fz"}, "no such option: -fz"},
        {{"x", "a", "--text"}, "needs a value: --text"},
        {{"x", "a", "-t"}, "needs a value: -t"},
        {{"x", "a", "--flag=yes"}, "takes no value: --flag=yes"},
        {{"x", "a", "--number", "-1"}, "not a number: -1"},
        {{"x", "a", "--number", "12x"}, "not a number: 12x"},
        {{"x", "a", "--number", "99999999999999999999"}, "not a number: 9999"},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_buf out = LL_BUF(4096);
        struct ll_words words = {NULL, 0};
        char *argv[10] = {NULL};
        int argc = 0;

        while (rows[i].argv[argc]) {
            argv[argc] = (char *)(uintptr_t)rows[i].argv[argc];
            argc++;
        }
        flag = other = false;
        text = NULL;
        number = 0;
        list = (struct ll_words){NULL, 0};
        if (ll_args_parse(&usage, argc, argv, &words, &out)) {
            ll_buf_printf(&out, "%s %s %s %lld [", flag ? "f" : "-", other ? "o" : "-",
                          text ? text : "-", (long long)number);
            for (size_t k = 0; k < list.n; k++)
                ll_buf_printf(&out, "%s%s", k > 0 ? " " : "", list.v[k]);
            ll_buf_puts(&out, "] [");
            for (size_t k = 0; k < words.n; k++)
                ll_buf_printf(&out, "%s%s", k > 0 ? " " : "", words.v[k]);
            ll_buf_putc(&out, ']');
            assert_string_equal(ll_buf_str(&out), rows[i].shown);
        } else {
            assert_true(ll_slice_starts(ll_buf_slice(&out), ll_slice_str(rows[i].shown)));
        }
        free(list.v);
        free(words.v);
        ll_buf_release(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(parsed)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
