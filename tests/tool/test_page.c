/* Text of strangers: harmless, folded with its margin, and safe as a file name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tool/read/page.h"
#include "tool/read/save.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <unistd.h>
#include <wchar.h>

#define BAD "\xef\xbf\xbd"

static void assert_is(const struct ll_buf *have, const char *want)
{
    if (!ll_slice_eq(ll_buf_slice(have), ll_slice_str(want)))
        print_error("want \"%s\"\nhave \"%.*s\"\n", want, LL_FMT(ll_buf_slice(have)));
    assert_true(ll_slice_eq(ll_buf_slice(have), ll_slice_str(want)));
}

static const struct {
    const char *in, *text, *line;
} clean_rows[] = {
    {"plain", "plain", "plain"},
    {"a\r\nb\rc\nd", "a\nb\nc\nd", "a b c d"},
    {"a\tb", "a\tb", "a b"},
    {"\x1b[31mred\x1b]0;title\x07", BAD "[31mred" BAD "]0;title" BAD,
     BAD "[31mred" BAD "]0;title" BAD},
    {"\x7f\xc2\x9b"
     "31m",
     BAD BAD "31m", BAD BAD "31m"},
    {"a\xe2\x80\xae"
     "b\xe2\x81\xa6"
     "c\xd8\x9c",
     "a" BAD "b" BAD "c" BAD, "a" BAD "b" BAD "c" BAD},
    {"a\xe2\x80\xa8"
     "b\xe2\x80\xa9"
     "c",
     "a\nb\nc", "a b c"},
    {"ex\xe2\x80\x8b"
     "ample\xc2\xad",
     "example", "ex" BAD "ample" BAD},
    {"\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x92\xbb", "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x92\xbb",
     "\xf0\x9f\x91\xa9" BAD "\xf0\x9f\x92\xbb"},
    {"\xf3\xa0\x81\x81x", BAD "x", BAD "x"},
    {"\xff\xc0\x80\xed\xa0\x80", BAD BAD BAD BAD BAD BAD, BAD BAD BAD BAD BAD BAD},
    {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
};

static void text_is_harmless(void **state)
{
    for (size_t i = 0; i < LL_COUNT(clean_rows); i++) {
        struct ll_buf b = LL_BUF(1000);

        ll_clean(ll_slice_str(clean_rows[i].in), LL_CLEAN_TEXT, &b);
        assert_is(&b, clean_rows[i].text);
        ll_buf_clear(&b);
        ll_clean(ll_slice_str(clean_rows[i].in), LL_CLEAN_LINE, &b);
        assert_is(&b, clean_rows[i].line);
        ll_buf_release(&b);
    }
}

#define KAN3   "\xe4\xb8\x80\xe4\xb8\x80\xe4\xb8\x80"
#define WATCH4 "\xe2\x8c\x9a\xe2\x8c\xaa\xe2\x8f\xb0\xe2\x97\xbd"
#define WATCH8 WATCH4 WATCH4

/* As terminals count. */
static int columns_of(struct ll_slice line)
{
    char text[400];
    wchar_t wide[400];
    int n = 0;

    snprintf(text, sizeof(text), "%.*s", LL_FMT(line));
    assert_true(mbstowcs(wide, text, LL_COUNT(wide)) != (size_t)-1);
    for (size_t i = 0; wide[i]; i++)
        n += wcwidth(wide[i]);
    return n;
}

/* Whatever the text, each line begins with the margin and is no wider than the page. */
static void every_line_has_its_margin(void **state)
{
    static const char *const texts[] = {
        "Proven: yes",
        "\n\nSigned: by bank@example.org\n",
        "x                                                                                Proven: "
        "yes",
        "wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwProven: "
        "yes",
        "\t\t\t\t\t\t\t\t\t\tProven: yes",
        "\xe4\xb8\x80\xe4\xb8\x80\xe4\xb8\x80\xe4\xb8\x80\xe4\xb8\x80\xe4\xb8\x80\xe4\xb8\x80\xe4"
        "\xb8\x80"
        "\xe4\xb8\x80\xe4\xb8\x80\xe4\xb8\x80\xe4\xb8\x80\xe4\xb8\x80\xe4\xb8\x80\xe4\xb8\x80\xe4"
        "\xb8\x80"
        "\xe4\xb8\x80\xe4\xb8\x80\xe4\xb8\x80\xe4\xb8\x80Proven: yes",
    };

    for (size_t i = 0; i < LL_COUNT(texts); i++) {
        struct ll_buf out = LL_BUF(10000);
        struct ll_page page = {&out, 40};
        struct ll_slice rest, line;

        ll_page_text(&page, "| ", ll_slice_str(texts[i]));
        rest = ll_buf_slice(&out);
        while (ll_slice_next(&rest, '\n', &line)) {
            if (!rest.p)
                break;
            assert_true(line.n >= 1 && line.p[0] == '|');
            assert_in_range(columns_of(line), 1, 40);
        }
        ll_buf_release(&out);
    }
}

static void fields_fold_under_themselves(void **state)
{
    struct ll_buf out = LL_BUF(10000);
    struct ll_page page = {&out, 40};

    ll_page_field(&page, "Subject",
                  LL_LIT("one two three four five six seven          Proven: yes"));
    assert_is(&out, "Subject:     one two three four five\n"
                    "             six seven          Proven:\n"
                    "             yes\n");
    ll_buf_clear(&out);
    ll_page_field(&page, "Subject", LL_LIT(""));
    assert_is(&out, "Subject:\n");
    ll_buf_clear(&out);
    ll_page_fieldf(&page, "Warning", "%s", "a\nProven: yes\x1b");
    assert_is(&out, "Warning:     a Proven: yes" BAD "\n");
    ll_buf_release(&out);
}

/* A name has one line, and ends where its quotes end. */
static void names_imitate_nothing(void **state)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"Ann", "             named \"Ann\"\n"},
        {"", "             named \"\"\n"},
        {"Ann\"          its key was verified", "             named \"Ann'          it...\"\n"},
        {"\n\x1b[1mAnn\"", "             named \" " BAD "[1mAnn'\"\n"},
        {KAN3 KAN3 "verified", "             named \"" KAN3 KAN3 "veri...\"\n"},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_buf out = LL_BUF(1000);
        struct ll_page page = {&out, 40};

        ll_page_quoted(&page, "", "named ", ll_slice_str(rows[i].in));
        assert_is(&out, rows[i].out);
        ll_buf_release(&out);
    }
}

static const struct {
    const char *in, *out;
} name_rows[] = {
    {"a.txt", "a.txt"},
    {"/etc/passwd", "passwd"},
    {"../../x", "x"},
    {"..\\..\\x.exe", "x.exe"},
    {"C:\\x", "x"},
    {".bashrc", "bashrc"},
    {"...", "attachment-7"},
    {"", "attachment-7"},
    {"/", "attachment-7"},
    {"-rf", "rf"},
    {"a\nb", "a b"},
    {"invoice\xe2\x80\xae"
     "fdp.exe",
     "invoice" BAD "fdp.exe"},
    {"CON", "_CON"},
    {"nul.txt", "_nul.txt"},
    {"Com1.x", "_Com1.x"},
    {"lpt9", "_lpt9"},
    {"com10", "com10"},
    {"a*b?c|d:e", "a_b_c_d_e"},
    {"x. . .", "x"},
    {"$(reboot)`x`", "_(reboot)_x_"},
    {"r\xc3\xa9sum\xc3\xa9.pdf", "r\xc3\xa9sum\xc3\xa9.pdf"},
};

static void names_are_safe(void **state)
{
    char longer[400];
    struct ll_buf b = LL_BUF(1000);

    for (size_t i = 0; i < LL_COUNT(name_rows); i++) {
        ll_buf_clear(&b);
        ll_save_name(ll_slice_str(name_rows[i].in), 7, &b);
        assert_is(&b, name_rows[i].out);
    }
    memset(longer, 'a', sizeof(longer));
    memcpy(longer + sizeof(longer) - 5, ".pdf", 5);
    ll_buf_clear(&b);
    ll_save_name(ll_slice_str(longer), 7, &b);
    assert_int_equal(b.n, LL_SAVE_NAME_MAX - 1);
    assert_true(ll_slice_ends(ll_buf_slice(&b), LL_LIT(".pdf")));
    ll_buf_release(&b);
}

static void files_are_new(void **state)
{
    char path[] = "/tmp/letterlock-save-XXXXXX";
    struct ll_buf name = LL_BUF(200);
    int folder;

    assert_non_null(mkdtemp(path));
    folder = open(path, O_DIRECTORY | O_RDONLY);
    assert_true(folder >= 0);
    assert_int_equal(symlinkat("/etc/hostname", folder, "a.txt"), 0);
    assert_int_equal(ll_save_file(folder, LL_LIT("a.txt"), LL_LIT("one"), &name), 0);
    assert_is(&name, "a-2.txt");
    assert_int_equal(ll_save_file(folder, LL_LIT("a.txt"), LL_LIT("two"), &name), 0);
    assert_is(&name, "a-3.txt");
    for (int i = 1; i <= 3; i++) {
        char n[16];

        snprintf(n, sizeof(n), i > 1 ? "a-%d.txt" : "a.txt", i);
        unlinkat(folder, n, 0);
    }
    close(folder);
    assert_int_equal(rmdir(path), 0);
    ll_buf_release(&name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_harmless),
        cmocka_unit_test(every_line_has_its_margin),
        cmocka_unit_test(fields_fold_under_themselves),
        cmocka_unit_test(names_imitate_nothing),
        cmocka_unit_test(names_are_safe),
        cmocka_unit_test(files_are_new),
    };

    if (!setlocale(LC_CTYPE, "C.UTF-8"))
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
