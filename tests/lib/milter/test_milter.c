/* The milter protocol: messages read whole and in pieces, written back, refused; and options. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "letterlock/milter.h"

/* A message as one line: the parts of its layout. */
static void show(const struct ll_milter_msg *m, struct ll_buf *out)
{
    ll_buf_printf(out, "%s", ll_milter_word(m->type));
    if (m->type == LL_MILTER_CONNECT)
        ll_buf_printf(out, " %c %u", m->family, m->port);
    if (m->type == LL_MILTER_MACRO)
        ll_buf_printf(out, " %c", m->command);
    if (m->type == LL_MILTER_OPTNEG)
        ll_buf_printf(out, " %u %x %x", m->options.version, m->options.actions, m->options.steps);
    if (m->index)
        ll_buf_printf(out, " #%u", m->index);
    if (m->name.p)
        ll_buf_printf(out, " [%.*s]", LL_FMT(m->name));
    if (m->text.n)
        ll_buf_printf(out, " <%.*s>", LL_FMT(m->text));
    for (struct ll_slice rest = m->strings, s; ll_milter_string(&rest, &s);)
        ll_buf_printf(out, " |%.*s", LL_FMT(s));
}

#define M(literal)                                                                                 \
    {                                                                                              \
        (const uint8_t *)(literal), sizeof(literal) - 1                                            \
    }

static const struct {
    struct ll_slice frame; /* without its length */
    const char *shown;     /* NULL: refused */
    bool other;            /* it is written back in another form */
} rows[] = {
    {M("A"), "abort", false},
    {M("Q"), "quit", false},
    {M("K"), "quit, new connection", false},
    {M("N"), "end of header", false},
    {M("T"), "data", false},
    {M("Bhello\r\n"), "body <hello\r\n>", false},
    {M("B"), "body", false},
    {M("E"), "end of body", false},
    {M("Elast"), "end of body <last>", false},
    {M("Cmx.test\0004\0\031"
       "192.0.2.1\0"),
     "connect 4 25 [mx.test] <192.0.2.1>", false},
    {M("Cmx.test\0006\0\031IPv6:::1\0"), "connect 6 25 [mx.test] <IPv6:::1>", false},
    {M("Clocalhost\0L\0\0/run/x\0"), "connect L 0 [localhost] </run/x>", false},
    {M("Cunknown\0U"), "connect U 0 [unknown]", false},
    {M("Cunknown\0U\0\0\0"), "connect U 0 [unknown]", true},
    {M("Hclient.test\0"), "helo <client.test>", false},
    {M("H\0"), "helo", false},
    {M("DC"), "macro C", false},
    {M("DMi\0ABC\0{auth_authen}\0ann\0"), "macro M |i |ABC |{auth_authen} |ann", false},
    {M("M<a@x.test>\0BODY=8BITMIME\0"), "mail |<a@x.test> |BODY=8BITMIME", false},
    {M("R<b@x.test>\0"), "rcpt |<b@x.test>", false},
    {M("LSubject\0 a\n b\0"), "header [Subject] < a\n b>", false},
    {M("L\0\0"), "header []", false},
    {M("UFOO bar\0"), "unknown command <FOO bar>", false},
    {M("O\0\0\0\6\0\0\1\377\0\37\377\377"), "option negotiation 6 1ff 1fffff", false},
    {M("O\0\0\0\6\0\0\0\1\0\0\0\0\0\0\0\0i j\0"), "option negotiation 6 1 0 | | | | |i j", false},
    {M("c"), "continue", false},
    {M("a"), "accept", false},
    {M("r"), "reject", false},
    {M("t"), "tempfail", false},
    {M("d"), "discard", false},
    {M("s"), "skip", false},
    {M("p"), "progress", false},
    {M("4"), "421 and close", false},
    {M("f"), "connection failed", false},
    {M("y550 5.7.26 no\0"), "reply code <550 5.7.26 no>", false},
    {M("qwhy\0"), "quarantine <why>", false},
    {M("hX-A\0 b\0"), "add header [X-A] < b>", false},
    {M("i\0\0\0\1X-A\0b\0"), "insert header #1 [X-A] <b>", false},
    {M("m\0\0\0\2X-A\0\0"), "change header #2 [X-A]", false},
    {M("+<a@x>\0"), "add recipient <<a@x>>", false},
    {M("-<a@x>\0"), "delete recipient <<a@x>>", false},
    {M("2<a@x>\0NOTIFY=NEVER\0"), "add recipient with parameters |<a@x> |NOTIFY=NEVER", false},
    {M("e<a@x>\0"), "change sender |<a@x>", false},
    {M("bnew"), "replace body <new>", false},
    /* no message */
    {M(""), NULL, false},
    {M("X"), NULL, false},
    {M("\0"), NULL, false},
    {M("Ax"), NULL, false},
    {M("Hclient"), NULL, false},
    {M("H"), NULL, false},
    {M("Ha\0b\0"), NULL, false},
    {M("Ha\0b"), NULL, false},
    {M("M"), NULL, false},
    {M("M<a@x>"), NULL, false},
    {M("LSubject\0"), NULL, false},
    {M("LSubject\0a"), NULL, false},
    {M("LSubject\0a\0b\0"), NULL, false},
    {M("D"), NULL, false},
    {M("DMi\0"), NULL, false},
    {M("DMi\0x"), NULL, false},
    {M("Cmx.test\0"), NULL, false},
    {M("Cmx.test\0005\0\0311\0"), NULL, false},
    {M("Cmx.test\0004\0"), NULL, false},
    {M("Cmx.test\0004\0\031"
       "192.0.2.1"),
     NULL, false},
    {M("O\0\0\0\6\0\0\0\1\0\0\0"), NULL, false},
    {M("O\0\0\0\6\0\0\0\1\0\0\0\0x"), NULL, false},
    {M("i\0\0\0"), NULL, false},
    {M("y"), NULL, false},
};

static void framed(struct ll_slice frame, struct ll_buf *out)
{
    ll_buf_u32(out, (uint32_t)frame.n);
    ll_buf_put_slice(out, frame);
}

/* Feeds wire in two pieces and shows all that is read. */
static bool read_split(struct ll_slice wire, size_t at, struct ll_buf *out)
{
    struct ll_slice part[2] = {ll_slice_cut(wire, 0, at), ll_slice_skip(wire, at)};
    struct ll_milter_reader r;
    struct ll_milter_msg m;
    enum ll_milter_got got = LL_MILTER_MORE;

    ll_milter_reader_init(&r, LL_MILTER_FRAME_MAX);
    for (unsigned i = 0; i < 2; i++)
        while ((got = ll_milter_read(&r, &part[i], &m)) == LL_MILTER_MSG) {
            show(&m, out);
            ll_buf_putc(out, '\n');
        }
    if (got == LL_MILTER_MORE)
        assert_int_equal(part[1].n, 0);
    ll_milter_reader_release(&r);
    return got != LL_MILTER_BAD;
}

static void messages(void **state)
{
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_buf wire = LL_BUF(4096), want = LL_BUF(4096), got = LL_BUF(4096);

        framed(rows[i].frame, &wire);
        if (rows[i].shown) { /* twice: the second is read as the first */
            framed(rows[i].frame, &wire);
            ll_buf_printf(&want, "%s\n%s\n", rows[i].shown, rows[i].shown);
        }
        for (size_t at = 0; at <= wire.n; at++) {
            bool ok;

            ll_buf_clear(&got);
            ok = read_split(ll_buf_slice(&wire), at, &got);
            if (ok != (rows[i].shown != NULL) ||
                !ll_slice_eq(ll_buf_slice(&got), ll_buf_slice(&want)))
                fail_msg("row %zu split at %zu: %s %s", i, at, ok ? "taken" : "refused",
                         ll_buf_str(&got));
        }
        ll_buf_release(&wire);
        ll_buf_release(&want);
        ll_buf_release(&got);
    }
}

static void written_as_read(void **state)
{
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_buf wire = LL_BUF(4096), again = LL_BUF(4096);
        struct ll_milter_reader r;
        struct ll_milter_msg m;
        struct ll_slice in;

        if (!rows[i].shown)
            continue;
        framed(rows[i].frame, &wire);
        ll_milter_reader_init(&r, LL_MILTER_FRAME_MAX);
        in = ll_buf_slice(&wire);
        assert_int_equal(ll_milter_read(&r, &in, &m), LL_MILTER_MSG);
        ll_milter_put(&m, &again);
        assert_false(again.failed);
        if (ll_slice_eq(ll_buf_slice(&wire), ll_buf_slice(&again)) == rows[i].other)
            fail_msg("row %zu", i);
        ll_milter_reader_release(&r);
        ll_buf_release(&wire);
        ll_buf_release(&again);
    }
}

static void too_long(void **state)
{
    static const uint8_t length[] = {0x7f, 0xff, 0xff, 0xff};
    struct ll_milter_reader r;
    struct ll_milter_msg m;
    struct ll_slice in = ll_slice(length, 4);
    struct ll_buf wire = LL_BUF(64);

    ll_milter_reader_init(&r, LL_MILTER_FRAME_MAX);
    assert_int_equal(ll_milter_read(&r, &in, &m), LL_MILTER_BAD);
    in = LL_LIT("\0\0\0\1Q");
    assert_int_equal(ll_milter_read(&r, &in, &m), LL_MILTER_BAD); /* for good */
    ll_milter_reader_release(&r);
    ll_milter_reader_init(&r, 3);
    in = LL_LIT("\0\0\0\3Bxx\0\0\0\4Bxxx");
    assert_int_equal(ll_milter_read(&r, &in, &m), LL_MILTER_MSG);
    assert_int_equal(ll_milter_read(&r, &in, &m), LL_MILTER_BAD);
    ll_milter_reader_release(&r);
    ll_buf_release(&wire);
}

static void not_written(void **state)
{
    static const struct ll_milter_msg bad[] = {
        {.type = LL_MILTER_REPLYCODE, .text = M("550 a\0b")},
        {.type = LL_MILTER_ADDHEADER, .name = M("X\0"), .text = M("a")},
        {.type = LL_MILTER_MAIL, .strings = M("<a@x>")},
        {.type = (enum ll_milter_type)'X'},
    };

    for (size_t i = 0; i < LL_COUNT(bad); i++) {
        struct ll_buf out = LL_BUF(4096);

        ll_milter_put(&bad[i], &out);
        assert_true(out.failed);
        ll_buf_release(&out);
    }
}

static void long_body(void **state)
{
    uint8_t *octets = calloc(1, LL_MILTER_FRAME_MAX);
    struct ll_milter_msg m = {.type = LL_MILTER_BODY};
    struct ll_buf out = LL_BUF(4 * LL_MILTER_FRAME_MAX);

    m.text = ll_slice(octets, LL_MILTER_FRAME_MAX - 1);
    ll_milter_put(&m, &out);
    assert_false(out.failed);
    m.text.n++;
    ll_milter_put(&m, &out);
    assert_true(out.failed);
    ll_buf_release(&out);
    free(octets);
}

static void macros(void **state)
{
    struct ll_milter_msg m = {.type = LL_MILTER_MACRO,
                              .strings = M("j\0mx.test\0{auth_authen}\0ann\0{i}\0ABC\0")};
    struct ll_slice v;

    assert_true(ll_milter_macro(&m, LL_LIT("j"), &v) && ll_slice_eq(v, LL_LIT("mx.test")));
    assert_true(ll_milter_macro(&m, LL_LIT("i"), &v) && ll_slice_eq(v, LL_LIT("ABC")));
    assert_true(ll_milter_macro(&m, LL_LIT("{auth_authen}"), &v) && ll_slice_eq(v, LL_LIT("ann")));
    assert_false(ll_milter_macro(&m, LL_LIT("ann"), &v)); /* a value is no name */
    assert_false(ll_milter_macro(&m, LL_LIT("auth_authen"), &v));
}

static void options(void **state)
{
    static const struct {
        struct ll_milter_options offered, wanted, answer;
        bool ok;
    } table[] = {
        {{6, 0x1ff, 0x1fffff}, {6, 0x31, 0x1f6708}, {6, 0x31, 0x1f6708}, true},
        {{6, 0x1ff, 0x7f}, {6, 0x31, 0x1f6708}, {6, 0x31, 0x8}, true},
        {{7, 0x3ff, 0}, {6, 0x1, 0}, {6, 0x1, 0}, true},
        {{2, 0x3f, 0x7f}, {6, 0x11, 0x8}, {2, 0x11, 0x8}, true},
        {{1, 0x3f, 0x7f}, {6, 0x11, 0x8}, {0}, false},
        {{6, 0x1, 0x7f}, {6, 0x11, 0x8}, {0}, false},
    };

    for (size_t i = 0; i < LL_COUNT(table); i++) {
        struct ll_milter_options got = {0};

        assert_int_equal(ll_milter_negotiate(&table[i].offered, &table[i].wanted, &got),
                         table[i].ok);
        assert_memory_equal(&got, &table[i].answer, sizeof(got));
        if (table[i].ok)
            assert_true(ll_milter_agreed(&table[i].offered, &got));
        got.actions |= 1u << 31;
        assert_false(ll_milter_agreed(&table[i].offered, &got));
    }
    assert_true(ll_milter_answers(LL_MILTER_BODY, 0));
    assert_false(ll_milter_answers(LL_MILTER_BODY, LL_MILTER_NR_BODY));
    assert_true(ll_milter_answers(LL_MILTER_EOB, 0xffffffff));
    assert_false(ll_milter_answers(LL_MILTER_MACRO, 0));
    assert_false(ll_milter_answers(LL_MILTER_ABORT, 0));
    assert_false(ll_milter_answers(LL_MILTER_QUIT, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages),  cmocka_unit_test(written_as_read),
        cmocka_unit_test(too_long),  cmocka_unit_test(not_written),
        cmocka_unit_test(long_body), cmocka_unit_test(macros),
        cmocka_unit_test(options),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
