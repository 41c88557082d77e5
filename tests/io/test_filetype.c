/* Types of files, by content and name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "io/filetype.h"

#define S(text) LL_LIT(text)

static void test_types(void **state)
{
    const struct {
        struct ll_slice octets, name;
        const char *type;
    } rows[] = {
        {S(""), S(""), "text/plain"},
        {S("hello\n"), S("a"), "text/plain"},
        {S("hello\n"), S("A.MD"), "text/markdown"},
        {S("a,b\n1,2\n"), S("x.csv"), "text/csv"},
        {S("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n"), S("x.ics"), "text/calendar"},
        {S("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\10\6\0\0\0"), S("x.txt"), "image/png"},
        {S("%PDF-1.7\n"), S("x"), "application/pdf"},
        {S("\0\1\2\3\377\376 nothing known"), S("x"), "application/octet-stream"},
        /* a name does not make a program of anything else */
        {S("\x7f"
           "ELF\2\1\1\0\0\0\0\0\0\0\0\0\2\0\x3e\0\1\0\0\0"),
         S("x.png"), "application/x-executable"},
    };
    const char *why;
    struct ll_filetype *f = ll_filetype_new(&why);
    struct ll_buf out = LL_BUF(200);

    assert_non_null(f);
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        ll_buf_clear(&out);
        ll_filetype_of(f, rows[i].octets, rows[i].name, &out);
        assert_string_equal(ll_buf_str(&out), rows[i].type);
    }
    ll_buf_release(&out);
    ll_filetype_free(f);
    ll_filetype_free(NULL);
}

static void test_active(void **state)
{
    assert_true(ll_filetype_is_active(S("application/x-dosexec"), S("harmless.txt")));
    assert_true(ll_filetype_is_active(S("text/plain"), S("invoice.pdf.EXE")));
    assert_true(ll_filetype_is_active(S("text/plain"), S("invoice.js. . ")));
    assert_true(ll_filetype_is_active(S("application/zip"), S("x.docm")));
    assert_false(ll_filetype_is_active(S("application/pdf"), S("x.pdf")));
    assert_false(ll_filetype_is_active(S("text/plain"), S("exe")));
    assert_false(ll_filetype_is_active(S(""), S("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_active),
    };

    return cmocka_run_group_tests_name("filetype", tests, NULL, NULL);
}
