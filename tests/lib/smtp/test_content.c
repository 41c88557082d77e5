/* Content readers and dot-stuffing: tables, whole and split at every octet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "letterlock/smtp.h"

struct row {
    const char *wire; /* behind 354 */
    size_t n;
    const char *want; /* decoded; NULL: refused */
    enum ll_smtp_error error;
    size_t left; /* octets behind the end */
};
#define ROW(wire, want, error, left)                                                               \
    {                                                                                              \
        wire, sizeof(wire) - 1, want, LL_SMTP_##error, left                                        \
    }

static const struct row rows[] = {
    ROW(".\r\n", "", OK, 0),
    ROW("a\r\n.\r\n", "a\r\n", OK, 0),
    ROW("a\r\n.\r\nQUIT\r\n", "a\r\n", OK, 6),
    ROW("..\r\n.\r\n", ".\r\n", OK, 0),
    ROW("...a\r\n..\r\n\r\n.\r\n", "..a\r\n.\r\n\r\n", OK, 0),
    ROW(".a\r\nb\r\n.\r\n", "a\r\nb\r\n", OK, 0),
    ROW("\r\n\r\n.\r\n", "\r\n\r\n", OK, 0),
    ROW("a.\r\n.\r\n", "a.\r\n", OK, 0),
    ROW("a\rb\r\n.\r\n", NULL, CONTENT_BARE_CR, 0),
    ROW("a\nb\r\n.\r\n", NULL, CONTENT_BARE_LF, 0),
    ROW("a\0b\r\n.\r\n", NULL, CONTENT_NUL, 0),
    ROW(".\rx\r\n.\r\n", NULL, CONTENT_BARE_CR, 0),
    /* What has been used to smuggle a second letter: none of these ends the first one. */
    ROW("a\n.\nMAIL\r\n.\r\n", NULL, CONTENT_BARE_LF, 0),
    ROW("a\n.\r\nMAIL\r\n.\r\n", NULL, CONTENT_BARE_LF, 0),
    ROW("a\r\n.\nMAIL\r\n.\r\n", NULL, CONTENT_BARE_LF, 0),
    ROW("a\r.\rMAIL\r\n.\r\n", NULL, CONTENT_BARE_CR, 0),
    ROW("a\r.\r\nMAIL\r\n.\r\n", NULL, CONTENT_BARE_CR, 0),
    ROW("a\r\n.\rMAIL\r\n.\r\n", NULL, CONTENT_BARE_CR, 0),
    ROW("a\r\n\0.\r\nMAIL\r\n.\r\n", NULL, CONTENT_NUL, 0),
    ROW("a\r\n.\0\r\nMAIL\r\n.\r\n", NULL, CONTENT_NUL, 0),
    ROW("a\n\n.\r\n\r\nMAIL\r\n.\r\n", NULL, CONTENT_BARE_LF, 0),
    ROW("a\r\r\n.\r\r\nMAIL\r\n.\r\n", NULL, CONTENT_BARE_CR, 0),
    ROW("a\r\n.\r\r\nMAIL\r\n.\r\n", NULL, CONTENT_BARE_CR, 0),
    ROW("a\r\0\n.\r\0\nMAIL\r\n.\r\n", NULL, CONTENT_BARE_CR, 0),
    ROW("a\r.\nMAIL\r\n.\r\n", NULL, CONTENT_BARE_CR, 0),
    ROW("a\n.\rMAIL\r\n.\r\n", NULL, CONTENT_BARE_LF, 0),
};

/* Reads in steps of at most `step` octets, with one more edge at `edge`. */
static void data_check(const struct row *r, size_t edge, size_t step)
{
    struct ll_smtp_data d = {0};
    struct ll_buf got = LL_BUF(4096);
    size_t at = 0;

    while (at < r->n && !ll_smtp_data_done(&d)) {
        size_t to = at < edge ? edge : r->n;
        struct ll_slice run;

        if (to > at + step)
            to = at + step;
        size_t n = ll_smtp_data_read(&d, ll_slice(r->wire + at, to - at), &run);
        assert_true(n > 0);
        ll_buf_put_slice(&got, run);
        at += n;
    }
    assert_true(ll_smtp_data_done(&d));
    assert_int_equal(r->n - at, r->left);
    assert_int_equal(d.c.error, r->error);
    if (r->want) {
        assert_true(ll_slice_eq(ll_buf_slice(&got), ll_slice_str(r->want)));
        assert_int_equal(d.c.octets, strlen(r->want));
    }
    ll_buf_release(&got);
}

static void data_rows(void **state)
{
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        for (size_t edge = 0; edge <= rows[i].n; edge++)
            data_check(&rows[i], edge, rows[i].n);
        data_check(&rows[i], 0, 1);
    }
}

static enum ll_smtp_error bdat(struct ll_slice in, size_t edge, struct ll_buf *got)
{
    struct ll_smtp_bdat b = {0};
    size_t parts[2] = {edge, in.n - edge};
    size_t at = 0;

    for (int i = 0; i < 2; i++) { /* two chunks */
        b.left = parts[i];
        while (b.left > 0) {
            struct ll_slice run;
            size_t n = ll_smtp_bdat_read(&b, ll_slice_skip(in, at), &run);

            assert_true(n > 0);
            ll_buf_put_slice(got, run);
            at += n;
        }
    }
    assert_int_equal(at, in.n);
    bool ok = ll_smtp_bdat_end(&b);
    assert_int_equal(ok, b.c.error == LL_SMTP_OK);
    return b.c.error;
}

static void bdat_rows(void **state)
{
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_slice in = ll_slice(rows[i].wire, rows[i].n);

        for (size_t edge = 0; edge <= in.n; edge++) {
            struct ll_buf got = LL_BUF(4096);

            assert_int_equal(bdat(in, edge, &got), rows[i].error);
            if (rows[i].want) /* no dots taken away, no end but the last octet */
                assert_true(ll_slice_eq(ll_buf_slice(&got), in));
            ll_buf_release(&got);
        }
    }
}

static void bdat_unended(void **state)
{
    struct ll_buf got = LL_BUF(4096);

    assert_int_equal(bdat(LL_LIT("a"), 0, &got), LL_SMTP_CONTENT_NO_EOL);
    assert_int_equal(bdat(LL_LIT("a\r"), 1, &got), LL_SMTP_CONTENT_BARE_CR);
    assert_int_equal(bdat(LL_LIT(""), 0, &got), LL_SMTP_OK);
    ll_buf_release(&got);
}

static void line_limit(void **state)
{
    for (unsigned over = 0; over < 2; over++) {
        struct ll_smtp_data d = {.line_max = 5};
        struct ll_smtp_bdat b = {.line_max = 5, .left = 7 + over};
        struct ll_slice in = over ? LL_LIT("123456\r\n.\r\n") : LL_LIT("12345\r\n.\r\n");
        struct ll_slice run;
        enum ll_smtp_error want = over ? LL_SMTP_CONTENT_LINE_LONG : LL_SMTP_OK;

        ll_smtp_bdat_read(&b, in, &run);
        assert_int_equal(b.c.error, want);
        while (!ll_smtp_data_done(&d))
            in = ll_slice_skip(in, ll_smtp_data_read(&d, in, &run));
        assert_int_equal(d.c.error, want);
        assert_int_equal(d.c.longest, 5 + over);
    }
}

static void eight_bit(void **state)
{
    struct ll_smtp_data d = {0};
    struct ll_slice run;
    char text[20];

    for (size_t n = 3; n <= sizeof(text); n++) /* at every place of runs of every length */
        for (size_t at = 0; at <= n - 2; at++) {
            memset(text, 'a', n);
            memcpy(text + n - 2, "\r\n", 2);
            if (at < n - 2)
                text[at] = (char)0x80;
            d = (struct ll_smtp_data){0};
            ll_smtp_data_read(&d, ll_slice(text, n), &run);
            assert_int_equal(d.c.eight_bit, at < n - 2);
        }
    d = (struct ll_smtp_data){0};

    ll_smtp_data_read(&d, LL_LIT("abc\r\n"), &run);
    assert_false(d.c.eight_bit);
    ll_smtp_data_read(&d, LL_LIT("ab\xc3\xa4\r\n"), &run);
    assert_true(d.c.eight_bit);
}

/* A bad octet is seen at every place of a line of every length up to some vectors. */
static void bad_octet_anywhere(void **state)
{
    static const struct {
        char octet;
        enum ll_smtp_error error;
    } octets[] = {{'\0', LL_SMTP_CONTENT_NUL},
                  {'\n', LL_SMTP_CONTENT_BARE_LF},
                  {'\r', LL_SMTP_CONTENT_BARE_CR},
                  {'x', LL_SMTP_OK}};
    char text[70];

    for (size_t k = 0; k < LL_COUNT(octets); k++)
        for (size_t n = 3; n <= sizeof(text); n++)
            for (size_t at = 0; at < n - 2; at++) {
                struct ll_smtp_data d = {0};
                struct ll_slice run, in = ll_slice(text, n);

                memset(text, 'a', n);
                memcpy(text + n - 2, "\r\n", 2);
                text[at] = octets[k].octet;
                while (in.n > 0)
                    in = ll_slice_skip(in, ll_smtp_data_read(&d, in, &run));
                assert_int_equal(d.c.error, octets[k].error);
                assert_int_equal(d.c.lines, 1);
            }
}

/* A letter of faults alone is read in time that grows with its length. */
static void many_faults(void **state)
{
    enum { SIZE = 1 << 20 };
    static const char octets[] = "\r\n\0";

    for (int c = 0; c < 3; c++) {
        struct ll_smtp_data d = {0};
        uint8_t *p = test_malloc(SIZE);
        struct ll_slice in = ll_slice(p, SIZE);
        struct ll_slice run;

        memset(p, octets[c], SIZE);
        while (in.n > 0)
            in = ll_slice_skip(in, ll_smtp_data_read(&d, in, &run));
        assert_int_not_equal(d.c.error, LL_SMTP_OK);
        assert_false(ll_smtp_data_done(&d));
        test_free(p);
    }
}

static void stuff_round_trip(void **state)
{
    static const char *const letters[] = {"",  "a\r\n", ".\r\n",  "..\r\n.a\r\n\r\n.\r\n",
                                          "a", ".",     "a\r\n.", "\r\n.\r\n"};

    for (size_t i = 0; i < LL_COUNT(letters); i++) {
        struct ll_slice letter = ll_slice_str(letters[i]);

        for (size_t step = 1; step <= letter.n + 1; step++) {
            struct ll_smtp_stuff s = {0};
            struct ll_buf wire = LL_BUF(4096);
            struct ll_slice rest = letter;

            while (rest.n > 0) {
                bool dot;
                bool ok;
                struct ll_slice run;
                size_t n = ll_smtp_stuff(&s, ll_slice_cut(rest, 0, step), &dot, &run, &ok);

                assert_true(ok);
                assert_true(n > 0);
                if (dot)
                    ll_buf_putc(&wire, '.');
                ll_buf_put_slice(&wire, run);
                rest = ll_slice_skip(rest, n);
            }
            ll_buf_put_slice(&wire, ll_smtp_stuff_end(&s));
            struct ll_smtp_data d = {0};
            struct ll_buf back = LL_BUF(4096);
            rest = ll_buf_slice(&wire);
            while (!ll_smtp_data_done(&d)) {
                struct ll_slice run;

                rest = ll_slice_skip(rest, ll_smtp_data_read(&d, rest, &run));
                ll_buf_put_slice(&back, run);
            }
            assert_int_equal(rest.n, 0);
            assert_int_equal(d.c.error, LL_SMTP_OK);
            assert_true(ll_slice_starts(ll_buf_slice(&back), letter));
            assert_true(back.n == letter.n || back.n == letter.n + 2);
            ll_buf_release(&wire);
            ll_buf_release(&back);
        }
    }
}

static void stuff_refuses(void **state)
{
    static const char *const letters[] = {"a\nb", "a\rb", "\n.\n"};

    for (size_t i = 0; i < LL_COUNT(letters); i++) {
        struct ll_smtp_stuff s = {0};
        bool dot;
        bool ok;
        struct ll_slice run;

        assert_int_equal(ll_smtp_stuff(&s, ll_slice_str(letters[i]), &dot, &run, &ok), 0);
        assert_false(ok);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(data_rows),     cmocka_unit_test(bdat_rows),
        cmocka_unit_test(bdat_unended),  cmocka_unit_test(line_limit),
        cmocka_unit_test(eight_bit),     cmocka_unit_test(bad_octet_anywhere),
        cmocka_unit_test(many_faults),   cmocka_unit_test(stuff_round_trip),
        cmocka_unit_test(stuff_refuses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
