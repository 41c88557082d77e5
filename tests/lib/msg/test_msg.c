/* Header sections, address lists, builders, the submission fix-up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "letterlock/msg.h"

#define WHEN 1795489654 /* Tue, 24 Nov 2026 03:07:34 +0000 */

static void assert_text(struct ll_slice have, const char *want)
{
    if (!ll_slice_eq(have, ll_slice_str(want)))
        print_error("want \"%s\"\nhave \"%.*s\"\n", want, LL_FMT(have));
    assert_true(ll_slice_eq(have, ll_slice_str(want)));
}

static const struct {
    const char *letter, *header, *body;
} split_rows[] = {
    {"A: b\r\n\r\nhi\r\n", "A: b\r\n", "hi\r\n"},
    {"\r\nhi\r\n", "", "hi\r\n"},
    {"A: b\r\n", "A: b\r\n", ""},
    {"A: b\r\n\r\n", "A: b\r\n", ""},
    {"A: b\r\n \r\n\r\n\r\n", "A: b\r\n \r\n", "\r\n"},
    {"A: b\r\n\r\r\n\r\nx", "A: b\r\n\r\r\n", "x"},
    {"A: b\n\nx\r\n", "A: b\n\nx\r\n", ""},
    {"", "", ""},
};

static void test_split(void **state)
{
    for (size_t i = 0; i < LL_COUNT(split_rows); i++) {
        struct ll_slice letter = ll_slice_str(split_rows[i].letter), header, body;

        ll_msg_split(letter, &header, &body);
        assert_text(header, split_rows[i].header);
        assert_text(body, split_rows[i].body);
        for (size_t cut = 0; cut <= letter.n; cut++) {
            struct ll_msg_end e = {0};
            size_t n = ll_msg_end_feed(&e, ll_slice_cut(letter, 0, cut));

            if (n == cut)
                n += ll_msg_end_feed(&e, ll_slice_skip(letter, cut));
            assert_int_equal(n, letter.n - body.n);
            if (e.found)
                assert_int_equal(e.seen, header.n);
        }
    }
}

static void test_fields(void **state)
{
    struct ll_slice rest = LL_LIT("From: a@b\r\nSubject : long\r\n\tfolded \r\nno field\r\n"
                                  "X:\r\n: y\r\nB\xc3\xa4: z\r\nTo:c@d");
    struct ll_slice lead = LL_LIT(" starts with a blank\r\nA: b\r\n");
    struct ll_msg_field f;
    struct ll_buf b = LL_BUF(100);

    assert_true(ll_msg_field_next(&rest, &f));
    assert_text(f.raw, "From: a@b\r\n");
    assert_text(f.name, "From");
    assert_text(f.body, " a@b");
    assert_false(f.obsolete || f.bad);
    assert_true(ll_msg_field_next(&rest, &f));
    assert_text(f.name, "Subject");
    assert_true(f.obsolete);
    ll_msg_unfold(f.body, &b);
    assert_text(ll_buf_slice(&b), "long\tfolded");
    assert_true(ll_msg_field_next(&rest, &f) && f.bad);
    assert_text(f.raw, "no field\r\n");
    assert_true(ll_msg_field_next(&rest, &f) && !f.bad);
    assert_text(f.body, "");
    assert_true(ll_msg_field_next(&rest, &f) && f.bad);
    assert_true(ll_msg_field_next(&rest, &f) && f.bad);
    assert_true(ll_msg_field_next(&rest, &f) && !f.bad);
    assert_text(f.name, "To");
    assert_text(f.body, "c@d");
    assert_false(ll_msg_field_next(&rest, &f));
    assert_true(ll_msg_field_next(&lead, &f) && f.bad);
    assert_true(ll_msg_field_next(&lead, &f) && !f.bad);
    ll_buf_release(&b);
}

static void test_facts(void **state)
{
    struct ll_msg_facts facts;
    struct ll_slice header = LL_LIT("Received: x\r\nRECEIVED: y\r\nFrom: a\r\nTo: b\r\nBcc: c\r\n"
                                    "Delivered-To: Anna@x.example\r\nSubject: \xc3\xa4\r\nbad\r\n");
    struct ll_buf many = LL_BUF(1 << 20);

    assert_int_equal(ll_msg_facts(header, &facts), LL_MSG_OK);
    assert_int_equal(facts.received, 2);
    assert_int_equal(facts.from, 1);
    assert_int_equal(facts.to, 2);
    assert_int_equal(facts.bcc, 1);
    assert_int_equal(facts.bad, 1);
    assert_int_equal(facts.fields, 8);
    assert_true(facts.eight_bit);
    assert_true(ll_msg_delivered_to(header, LL_LIT("anna@X.example")));
    assert_false(ll_msg_delivered_to(header, LL_LIT("nna@x.example")));
    for (size_t i = 0; i < LL_MSG_FIELDS_MAX; i++)
        ll_buf_puts(&many, "A: b\r\n");
    assert_int_equal(ll_msg_facts(ll_buf_slice(&many), &facts), LL_MSG_OK);
    ll_buf_puts(&many, "A: b\r\n");
    assert_int_equal(ll_msg_facts(ll_buf_slice(&many), &facts), LL_MSG_FIELDS_MANY);
    ll_buf_clear(&many);
    ll_buf_puts(&many, "A: ");
    while (many.n < LL_MSG_HEADER_MAX)
        ll_buf_putc(&many, 'x');
    assert_int_equal(ll_msg_facts(ll_buf_slice(&many), &facts), LL_MSG_OK);
    ll_buf_putc(&many, 'x');
    assert_int_equal(ll_msg_facts(ll_buf_slice(&many), &facts), LL_MSG_HEADER_LONG);
    ll_buf_release(&many);
}

/* Addresses joined by '|', those in groups with '+' before; NULL: refused. */
static const struct {
    const char *body, *list;
} address_rows[] = {
    {"a@b.example", "a@b.example"},
    {" Anna <a@b.example>, c@d.example\r\n", "a@b.example|c@d.example"},
    {"\"Doe, J. <x@y>\" <a@b.example>", "a@b.example"},
    {"Joe Q. Public <john.q.public@example.com>", "john.q.public@example.com"},
    {"(comment (nested \\) a@b)) a (x) @ (y) b . (z) example", "a@b.example"},
    {"\"a b\"@c.example", "\"a b\"@c.example"},
    {"<@x.example,@y.example:a@b.example>", "a@b.example"},
    {"a@[192.0.2.1]", "a@[192.0.2.1]"},
    {"A Group:Ed Jones <joe@where.test>,joe@where.test,John <jdoe@one.test>;",
     "+joe@where.test|+joe@where.test|+jdoe@one.test"},
    {"Undisclosed recipients:;", ""},
    {"a@b.example,,, ,c@d.example,", "a@b.example|c@d.example"},
    {"", ""},
    {"\xc3\xa4nne <\xc3\xa4@b.example>", "\xc3\xa4@b.example"},
    {"a@b.example\r\n\t,c@d.example", "a@b.example|c@d.example"},
    {"root", "root"},
    {"a b@c.example", NULL},
    {"a@b.example c@d.example", NULL},
    {"<a@b.example> <c@d.example>", NULL},
    {"<a@b.example> x", NULL},
    {"<a@b.example", NULL},
    {"a@b.example>", NULL},
    {"<>", NULL},
    {"<<a@b>>", NULL},
    {"\"q\\\n\"@x", NULL},
    {"<@a,b@c>", NULL},
    {"<@a>", NULL},
    {"<a,b@c>", NULL},
    {"\"open", NULL},
    {"(open", NULL},
    {"a@[open", NULL},
    {"group: a@b.example", NULL},
    {"a@b.example;", NULL},
    {"g:h:a@b;;", NULL},
    {"a\\b@c.example", NULL},
    {"a@", NULL},
};

static void test_addresses(void **state)
{
    for (size_t i = 0; i < LL_COUNT(address_rows); i++) {
        struct ll_arena arena;
        struct ll_msg_address *list = NULL;
        struct ll_buf have = LL_BUF(4096);
        size_t n = 0;
        enum ll_msg_error error;

        ll_arena_init(&arena, 1 << 20);
        error = ll_msg_addresses(ll_slice_str(address_rows[i].body), &arena, &list, &n);
        if ((error == LL_MSG_OK) != (address_rows[i].list != NULL))
            print_error("\"%s\": error %d\n", address_rows[i].body, error);
        assert_int_equal(error == LL_MSG_OK, address_rows[i].list != NULL);
        for (size_t k = 0; k < n; k++) {
            ll_buf_puts(&have, k ? "|" : "");
            ll_buf_puts(&have, list[k].in_group ? "+" : "");
            ll_buf_put_slice(&have, list[k].spec);
        }
        if (address_rows[i].list)
            assert_text(ll_buf_slice(&have), address_rows[i].list);
        ll_buf_release(&have);
        ll_arena_release(&arena);
    }
}

static void test_address_limit(void **state)
{
    struct ll_buf body = LL_BUF(1 << 20);
    struct ll_msg_address *list;
    struct ll_arena arena;
    size_t n;

    ll_arena_init(&arena, 1 << 20);
    for (size_t i = 0; i < LL_MSG_ADDRESSES_MAX; i++)
        ll_buf_puts(&body, "a@b,");
    assert_int_equal(ll_msg_addresses(ll_buf_slice(&body), &arena, &list, &n), LL_MSG_OK);
    assert_int_equal(n, LL_MSG_ADDRESSES_MAX);
    ll_arena_release(&arena);
    ll_arena_init(&arena, 1 << 20);
    ll_buf_puts(&body, "a@b");
    assert_int_equal(ll_msg_addresses(ll_buf_slice(&body), &arena, &list, &n),
                     LL_MSG_ADDRESSES_MANY);
    ll_arena_release(&arena);
    ll_buf_release(&body);
}

static void test_recipients(void **state)
{
    struct ll_arena arena;
    struct ll_msg_address *list;
    size_t n;

    ll_arena_init(&arena, 1 << 16);
    assert_int_equal(ll_msg_recipients(LL_LIT("To: a@x, B <b@x>\r\nFrom: no@x\r\nCC: c@x\r\n"
                                              "Bcc: d@x\r\n"),
                                       &arena, &list, &n),
                     LL_MSG_OK);
    assert_int_equal(n, 4);
    assert_text(list[3].spec, "d@x");
    /* Who sends a letter again does not send it to its first recipients (RFC 5322 3.6.6). */
    assert_int_equal(
        ll_msg_recipients(LL_LIT("Resent-From: r@x\r\nResent-To: e@x\r\nRESENT-BCC: f@x\r\n"
                                 "To: a@x\r\nCc: c@x\r\nBcc: d@x\r\n"),
                          &arena, &list, &n),
        LL_MSG_OK);
    assert_int_equal(n, 2);
    assert_text(list[0].spec, "e@x");
    assert_text(list[1].spec, "f@x");
    assert_int_equal(ll_msg_recipients(LL_LIT("Resent-From: r@x\r\nResent-To: e@x\r\n"
                                              "Resent-From: s@x\r\nResent-To: g@x\r\nTo: a@x\r\n"),
                                       &arena, &list, &n),
                     LL_MSG_MANY_RESENT);
    ll_arena_release(&arena);
}

static void test_field_put(void **state)
{
    struct ll_buf out = LL_BUF(1 << 16), word = LL_BUF(1 << 16);

    assert_true(ll_msg_field_put(&out, "Subject", LL_LIT("hi there"), false));
    assert_text(ll_buf_slice(&out), "Subject: hi there\r\n");
    ll_buf_clear(&out);
    assert_true(ll_msg_field_put(&out, "Subject",
                                 LL_LIT("0123456789 0123456789 0123456789 0123456789 0123456789 "
                                        "0123456789 0123456789"),
                                 false));
    assert_text(ll_buf_slice(&out), "Subject: 0123456789 0123456789 0123456789 0123456789 "
                                    "0123456789 0123456789\r\n 0123456789\r\n");
    ll_buf_clear(&out);
    assert_false(ll_msg_field_put(&out, "Subject", LL_LIT("a\r\nBcc: x"), false));
    assert_false(ll_msg_field_put(&out, "Subject", LL_LIT("a\nb"), false));
    assert_false(ll_msg_field_put(&out, "Subject", LL_LIT("a\0b"), false));
    assert_false(ll_msg_field_put(&out, "Subject", LL_LIT("\xc3\xa4"), false));
    assert_false(ll_msg_field_put(&out, "Subject", LL_LIT("\xc3"), true));
    assert_false(ll_msg_field_put(&out, "Sub ject", LL_LIT("a"), false));
    assert_false(ll_msg_field_put(&out, "Sub:ject", LL_LIT("a"), false));
    assert_false(ll_msg_field_put(&out, "", LL_LIT("a"), false));
    assert_int_equal(out.n, 0);
    assert_true(ll_msg_field_put(&out, "S", LL_LIT("\xc3\xa4"), true));
    ll_buf_clear(&out);
    while (word.n < LL_MSG_LINE_MAX - 3)
        ll_buf_putc(&word, 'x');
    assert_true(ll_msg_field_put(&out, "S", ll_buf_slice(&word), false));
    assert_int_equal(out.n, LL_MSG_LINE_MAX + 2);
    ll_buf_clear(&out);
    ll_buf_putc(&word, 'x');
    assert_false(ll_msg_field_put(&out, "S", ll_buf_slice(&word), false));
    assert_int_equal(out.n, 0);
    ll_buf_release(&out);
    ll_buf_release(&word);
}

static void test_received(void **state)
{
    struct ll_buf out = LL_BUF(4096);
    struct ll_msg_received m = {
        .helo = LL_LIT("client.example"),
        .rdns = LL_LIT("host.example"),
        .ip = LL_LIT("2001:db8::1"),
        .by = LL_LIT("mx.example"),
        .with = LL_LIT("ESMTPS"),
        .id = LL_LIT("abc123"),
        .recipient = LL_LIT("b@y.example"),
        .tls_version = LL_LIT("TLSv1.3"),
        .tls_cipher = LL_LIT("TLS_AES_256_GCM_SHA384"),
        .unix_s = WHEN,
    };

    ll_msg_received_put(&out, &m);
    assert_text(ll_buf_slice(&out),
                "Received: from client.example (host.example [IPv6:2001:db8::1]) by mx.example\r\n"
                "\twith ESMTPS (version=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384) id abc123\r\n"
                "\tfor <b@y.example>; Tue, 24 Nov 2026 03:07:34 +0000\r\n");
    ll_buf_clear(&out);
    m.hide_client = true;
    m.tls_version = m.recipient = LL_LIT("");
    ll_msg_received_put(&out, &m);
    assert_text(ll_buf_slice(&out), "Received: by mx.example with ESMTPS id abc123; Tue, 24 Nov "
                                    "2026 03:07:34 +0000\r\n");
    ll_buf_clear(&out);
    m.hide_client = false;
    m.helo = LL_LIT("x) by evil (\r\nBcc: y");
    m.rdns = LL_LIT("");
    m.ip = LL_LIT("192.0.2.1");
    m.recipient = LL_LIT("a> x");
    ll_msg_received_put(&out, &m);
    assert_text(ll_buf_slice(&out),
                "Received: from x??by?evil????Bcc:?y ([192.0.2.1]) by mx.example with ESMTPS\r\n"
                "\tid abc123; Tue, 24 Nov 2026 03:07:34 +0000\r\n");
    ll_buf_clear(&out);
    m.local = true;
    m.uid = 4294967294;
    m.with = LL_LIT("");
    ll_msg_received_put(&out, &m);
    assert_text(ll_buf_slice(&out), "Received: by mx.example (local uid 4294967294) id abc123;\r\n"
                                    "\tTue, 24 Nov 2026 03:07:34 +0000\r\n");
    ll_buf_release(&out);
}

#define ID "<6b04ff76.00112233445566778899aabbccddeeff@mx.example>"

static const struct {
    const char *in;
    enum ll_msg_error error;
    const char *out; /* NULL: unchanged */
} fixup_rows[] = {
    {"From: a@x\r\nDate: d\r\nMessage-ID: <i>\r\n", LL_MSG_OK, NULL},
    {"From: a@x\r\n", LL_MSG_OK,
     "From: a@x\r\nDate: Tue, 24 Nov 2026 03:07:34 +0000\r\nMessage-ID: " ID "\r\n"},
    {"Return-Path: <e@x>\r\nFROM: a@x\r\nbcc: s@x,\r\n t@x\r\nDate: d\r\nTo: b@x\r\n"
     "Message-Id: <i>\r\n",
     LL_MSG_OK, "FROM: a@x\r\nDate: d\r\nTo: b@x\r\nMessage-Id: <i>\r\n"},
    {"Date: d\r\n", LL_MSG_NO_FROM, NULL},
    {"From: a@x\r\nFrom: b@x\r\n", LL_MSG_MANY_FROM, NULL},
    {"From: a@x\r\nfrom : b@x\r\n", LL_MSG_MANY_FROM, NULL},
    {"From: a@x, b@x\r\n", LL_MSG_BAD_FROM, NULL},
    {"From: a@x, b@x\r\nSender: a@x\r\nDate: d\r\nMessage-ID: <i>\r\n", LL_MSG_OK, NULL},
    {"From: g:a@x;\r\n", LL_MSG_BAD_FROM, NULL},
    {"From: anna\r\n", LL_MSG_BAD_FROM, NULL},
    {"From:\r\n", LL_MSG_BAD_FROM, NULL},
    {"From: a@x\r\nnonsense\r\n", LL_MSG_BAD_LINE, NULL},
    {"From a@x Tue Nov 24\r\nFrom: a@x\r\n", LL_MSG_BAD_LINE, NULL},
    {"Date: d\r\nMessage-ID: <i>\r\nResent-Bcc: x\r\nFrom: a@x\r\n", LL_MSG_OK,
     "Date: d\r\nMessage-ID: <i>\r\nFrom: a@x\r\n"},
    {"Date: d\r\nMessage-ID: <i>\r\nbCC :\r\n x@x\r\nFrom: a@x\r\nBcc\t: y\r\nBCC:\r\n", LL_MSG_OK,
     "Date: d\r\nMessage-ID: <i>\r\nFrom: a@x\r\n"},
    {"Date: d\r\nMessage-ID: <i>\r\nBcc: x\r\nFrom: a@x", LL_MSG_OK,
     "Date: d\r\nMessage-ID: <i>\r\nFrom: a@x\r\n"},
};

static void test_fixup(void **state)
{
    struct ll_msg_fixup fix = {
        .unix_s = WHEN,
        .random = LL_LIT("\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff"),
        .host = LL_LIT("mx.example"),
    };

    for (size_t i = 0; i < LL_COUNT(fixup_rows); i++) {
        struct ll_buf out = LL_BUF(1 << 16);
        bool changed = false;

        assert_int_equal(ll_msg_fixup(ll_slice_str(fixup_rows[i].in), &fix, &out, &changed),
                         fixup_rows[i].error);
        assert_int_equal(changed, fixup_rows[i].out != NULL);
        assert_text(ll_buf_slice(&out), fixup_rows[i].out ? fixup_rows[i].out : "");
        ll_buf_release(&out);
    }
}

/* The submitter is named, whatever the letter said. */
static void test_fixup_sender(void **state)
{
    static const struct {
        const char *in, *sender, *out;
    } rows[] = {
        {"From: a@x\r\nDate: d\r\nMessage-ID: <i>\r\n", "u@y",
         "From: a@x\r\nDate: d\r\nMessage-ID: <i>\r\nSender: u@y\r\n"},
        {"sender : z@z,\r\n y@y\r\nFrom: a@x\r\nSENDER: b@x\r\nDate: d\r\nMessage-ID: <i>\r\n",
         "u@y", "From: a@x\r\nDate: d\r\nMessage-ID: <i>\r\nSender: u@y\r\n"},
        {"Sender: b@x\r\nFrom: a@x\r\nDate: d\r\nMessage-ID: <i>\r\n", "", ""},
    };
    struct ll_msg_fixup fix = {.unix_s = WHEN, .random = LL_LIT("0123456789abcdef")};

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_buf out = LL_BUF(1 << 16);
        bool changed = false;

        fix.sender = ll_slice_str(rows[i].sender);
        assert_int_equal(ll_msg_fixup(ll_slice_str(rows[i].in), &fix, &out, &changed), LL_MSG_OK);
        assert_int_equal(changed, rows[i].out[0] != '\0');
        assert_text(ll_buf_slice(&out), rows[i].out);
        ll_buf_release(&out);
    }
}

static const struct {
    struct ll_slice in;
    enum ll_msg_error error;
    const char *out;
} wire_rows[] = {
    {LL_LIT("a\nb\n"), LL_MSG_OK, "a\r\nb\r\n"},
    {LL_LIT("a\r\nb\n\n"), LL_MSG_OK, "a\r\nb\r\n\r\n"},
    {LL_LIT("a\nb"), LL_MSG_OK, "a\r\nb\r\n"},
    {LL_LIT(""), LL_MSG_OK, ""},
    {LL_LIT("\n"), LL_MSG_OK, "\r\n"},
    {LL_LIT("a\rb\n"), LL_MSG_BARE_CR, NULL},
    {LL_LIT("a\r\r\n"), LL_MSG_BARE_CR, NULL},
    {LL_LIT("a\r"), LL_MSG_BARE_CR, NULL},
    {LL_LIT("a\0b\n"), LL_MSG_NUL, NULL},
};

static void test_wire(void **state)
{
    for (size_t i = 0; i < LL_COUNT(wire_rows); i++) {
        struct ll_slice in = wire_rows[i].in;

        for (size_t cut = 0; cut <= in.n; cut++) {
            struct ll_msg_wire w = {0};
            struct ll_buf out = LL_BUF(100);
            enum ll_msg_error error = ll_msg_to_wire(&w, ll_slice_cut(in, 0, cut), &out);

            if (error == LL_MSG_OK)
                error = ll_msg_to_wire(&w, ll_slice_skip(in, cut), &out);
            if (error == LL_MSG_OK)
                error = ll_msg_to_wire_end(&w, &out);
            assert_int_equal(error, wire_rows[i].error);
            if (wire_rows[i].out)
                assert_text(ll_buf_slice(&out), wire_rows[i].out);
            ll_buf_release(&out);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split),      cmocka_unit_test(test_fields),
        cmocka_unit_test(test_facts),      cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_recipients), cmocka_unit_test(test_address_limit),
        cmocka_unit_test(test_field_put),  cmocka_unit_test(test_received),
        cmocka_unit_test(test_fixup),      cmocka_unit_test(test_fixup_sender),
        cmocka_unit_test(test_wire),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
