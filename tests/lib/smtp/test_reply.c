/* Replies: builder and parser, fed whole and split at every octet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "letterlock/smtp.h"

struct row {
    const char *in;
    size_t n;
    unsigned code; /* 0: bad */
    const char *enhanced;
    const char *text;
    size_t left;
};
#define ROW(in, code, enhanced, text, left)                                                        \
    {                                                                                              \
        in, sizeof(in) - 1, code, enhanced, text, left                                             \
    }
#define BAD(in)                                                                                    \
    {                                                                                              \
        in, sizeof(in) - 1, 0, NULL, NULL, 0                                                       \
    }

static const struct row rows[] = {
    ROW("250 OK\r\n", 250, "000", "OK", 0),
    ROW("250\r\n", 250, "000", "", 0),
    ROW("250 \r\n", 250, "000", "", 0),
    ROW("250 2.1.0 OK\r\n", 250, "210", "OK", 0),
    ROW("550 2.1.0 OK\r\n", 550, "000", "2.1.0 OK", 0),
    ROW("250-a\r\n250-b\r\n250 c\r\n250 next\r\n", 250, "000", "a\nb\nc", 10),
    ROW("550-5.7.1 a\r\n550 5.7.1 b\r\n", 550, "571", "a\nb", 0),
    ROW("550-5.7.1 a\r\n550 b\r\n", 550, "571", "a\nb", 0),
    ROW("250-\r\n250\r\n", 250, "000", "\n", 0),
    ROW("250 a\tb\x1b\x80\r\n", 250, "000", "a?b??", 0),
    ROW("354 1.2.3.4 go\r\n", 354, "000", "1.2.3.4 go", 0),
    BAD("25\r\n"),
    BAD("150 x\r\n"),
    BAD("600 x\r\n"),
    BAD("abc\r\n"),
    BAD("250+x\r\n"),
    BAD("250 a\n"),
    BAD("250 a\rb\r\n"),
    BAD("250 a\0b\r\n"),
    BAD("250-a\r\n251 b\r\n"),
    BAD("\r\n"),
    BAD("-50 x\r\n"),
};

static void check(const struct row *r, size_t edge, size_t step)
{
    struct ll_smtp_reply p = {0};
    size_t at = 0;

    while (at < r->n && !p.done && !p.bad) {
        size_t to = at < edge ? edge : r->n;

        if (to > at + step)
            to = at + step;
        at += ll_smtp_reply_feed(&p, ll_slice(r->in + at, to - at));
    }
    assert_int_equal(p.bad, r->code == 0);
    assert_int_equal(p.done, r->code != 0);
    if (r->code) {
        assert_int_equal(p.code, r->code);
        assert_int_equal(r->n - at, r->left);
        assert_true(ll_slice_eq(ll_buf_slice(&p.text), ll_slice_str(r->text)));
        for (int i = 0; i < 3; i++)
            assert_int_equal(p.enhanced[i], r->enhanced[i] - '0');
    }
    ll_smtp_reply_release(&p);
}

static void parser_rows(void **state)
{
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        for (size_t edge = 0; edge <= rows[i].n; edge++)
            check(&rows[i], edge, rows[i].n);
        check(&rows[i], 0, 1);
    }
}

static void parser_limits(void **state)
{
    for (size_t over = 0; over < 2; over++) {
        struct ll_smtp_reply p = {0};
        struct ll_buf in = LL_BUF(1 << 20);

        for (size_t i = 0; i < LL_SMTP_REPLY_LINES - 1 + over; i++)
            ll_buf_puts(&in, "250-x\r\n");
        ll_buf_puts(&in, "250 x\r\n");
        ll_smtp_reply_feed(&p, ll_buf_slice(&in));
        assert_int_equal(p.bad, over);
        ll_smtp_reply_release(&p);

        ll_buf_clear(&in);
        ll_buf_puts(&in, "250 ");
        for (size_t i = 0; i < LL_SMTP_REPLY_IN_MAX - 6 + over; i++)
            ll_buf_putc(&in, 'x');
        ll_buf_puts(&in, "\r\n");
        ll_smtp_reply_feed(&p, ll_buf_slice(&in));
        assert_int_equal(p.bad, over);
        ll_smtp_reply_release(&p);
        ll_buf_release(&in);
    }
}

static void builder_rows(void **state)
{
    static const struct {
        unsigned code;
        const char *enhanced;
        const char *text;
        const char *want;
    } builds[] = {
        {250, "2.0.0", "OK", "250 2.0.0 OK\r\n"},
        {250, NULL, "a\nb", "250-a\r\n250 b\r\n"},
        {450, "5.7.1", "x", "450 4.7.1 x\r\n"},
        {354, "3.0.0", "go", "354 go\r\n"},
        {550, "bad", "x", "550 x\r\n"},
        {550, "5.7.1", "a\r\nb\x1b\xff", "550-5.7.1 a\r\n550 5.7.1 b??\r\n"},
        {250, NULL, "", "250 \r\n"},
    };

    for (size_t i = 0; i < LL_COUNT(builds); i++) {
        struct ll_buf out = LL_BUF(4096);

        ll_smtp_reply_put(&out, builds[i].code, builds[i].enhanced, ll_slice_str(builds[i].text));
        assert_string_equal(ll_buf_str(&out), builds[i].want);
        ll_buf_release(&out);
    }
}

static void builder_breaks(void **state)
{
    struct ll_buf text = LL_BUF(4096);
    struct ll_buf out = LL_BUF(8192);
    struct ll_slice rest;
    struct ll_slice line;

    for (int i = 0; i < 1500; i++)
        ll_buf_putc(&text, 'x');
    ll_smtp_reply_put(&out, 550, "5.7.1", ll_buf_slice(&text));
    rest = ll_buf_slice(&out);
    int n = 0;
    while (ll_slice_next(&rest, '\n', &line)) {
        if (line.n == 0)
            break;
        assert_true(line.n + 1 <= LL_SMTP_REPLY_MAX);
        n++;
    }
    assert_int_equal(n, 3);
    struct ll_smtp_reply p = {0};
    assert_int_equal(ll_smtp_reply_feed(&p, ll_buf_slice(&out)), out.n);
    assert_true(p.done);
    ll_smtp_reply_release(&p);
    ll_buf_release(&text);
    ll_buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parser_rows),
        cmocka_unit_test(parser_limits),
        cmocka_unit_test(builder_rows),
        cmocka_unit_test(builder_breaks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
