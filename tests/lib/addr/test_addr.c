/* Mailboxes, paths, domains, literals: tables of valid and invalid rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "letterlock/addr.h"

#define U true
#define A false

static const struct {
    const char *in;
    bool utf8;
    enum ll_addr_error error;
    const char *want;
    bool indirect;
} mailboxes[] = {
    {"a@b.test", A, LL_ADDR_OK, "a@b.test", false},
    {"John.Doe+x@EXAMPLE.Org", A, LL_ADDR_OK, "John.Doe+x@example.org", false},
    {"a@localhost", A, LL_ADDR_OK, "a@localhost", false},
    {"!#$&'*+-/=?^_`{|}~@b.test", A, LL_ADDR_OK, "!#$&'*+-/=?^_`{|}~@b.test", true},
    {"\"a.b\"@b.test", A, LL_ADDR_OK, "a.b@b.test", false},
    {"\"a\\b\"@b.test", A, LL_ADDR_OK, "ab@b.test", false},
    {"\"a b\"@b.test", A, LL_ADDR_OK, "\"a b\"@b.test", false},
    {"\"a\\\"b\\\\\"@b.test", A, LL_ADDR_OK, "\"a\\\"b\\\\\"@b.test", false},
    {"\"\"@b.test", A, LL_ADDR_OK, "\"\"@b.test", false},
    {"\"a..b\"@b.test", A, LL_ADDR_OK, "\"a..b\"@b.test", false},
    {"\"a@c.test\"@b.test", A, LL_ADDR_OK, "\"a@c.test\"@b.test", true},
    {"a%c.test@b.test", A, LL_ADDR_OK, "a%c.test@b.test", true},
    {"c!a@b.test", A, LL_ADDR_OK, "c!a@b.test", true},
    {"\"a\\%c\"@b.test", A, LL_ADDR_OK, "a%c@b.test", true},
    {"a@[192.0.2.1]", A, LL_ADDR_OK, "a@[192.0.2.1]", false},
    {"a@[IPv6:2001:DB8:0:0:0::1]", A, LL_ADDR_OK, "a@[ipv6:2001:db8::1]", false},
    {"\xc3\xa4@b.test", U, LL_ADDR_OK, "\xc3\xa4@b.test", false},
    {"a@B\xc3\xbc"
     "cher.test",
     U, LL_ADDR_OK, "a@xn--bcher-kva.test", false},
    {"\xc3\xa4@b.test", A, LL_ADDR_NEEDS_UTF8, NULL, false},
    {"a@b\xc3\xbc.test", A, LL_ADDR_NEEDS_UTF8, NULL, false},
    {"\xc3@b.test", U, LL_ADDR_BAD_UTF8, NULL, false},
    {"a@\xc3.test", U, LL_ADDR_BAD_UTF8, NULL, false},
    {"", A, LL_ADDR_SYNTAX, NULL, false},
    {"a", A, LL_ADDR_NO_DOMAIN, NULL, false},
    {"@b.test", A, LL_ADDR_ROUTE, NULL, false},
    {"@c.test:a@b.test", A, LL_ADDR_ROUTE, NULL, false},
    {"a@", A, LL_ADDR_DOMAIN, NULL, false},
    {"a@b@c", A, LL_ADDR_SYNTAX, NULL, false},
    {"a b@c.test", A, LL_ADDR_SYNTAX, NULL, false},
    {".a@b.test", A, LL_ADDR_SYNTAX, NULL, false},
    {"a.@b.test", A, LL_ADDR_SYNTAX, NULL, false},
    {"a..c@b.test", A, LL_ADDR_SYNTAX, NULL, false},
    {"a(c)@b.test", A, LL_ADDR_SYNTAX, NULL, false},
    {"\"a@b.test", A, LL_ADDR_SYNTAX, NULL, false},
    {"\"a\"b@b.test", A, LL_ADDR_SYNTAX, NULL, false},
    {"\"a\tb\"@b.test", A, LL_ADDR_SYNTAX, NULL, false},
    {"\"a\\\"@b.test", A, LL_ADDR_SYNTAX, NULL, false},
    {"a@b.test ", A, LL_ADDR_SYNTAX, NULL, false},
    {"a@b.test>", A, LL_ADDR_SYNTAX, NULL, false},
    {"a@b..test", A, LL_ADDR_DOMAIN, NULL, false},
    {"a@b.test.", A, LL_ADDR_DOMAIN, NULL, false},
    {"a@.test", A, LL_ADDR_DOMAIN, NULL, false},
    {"a@-b.test", A, LL_ADDR_DOMAIN, NULL, false},
    {"a@b-.test", A, LL_ADDR_DOMAIN, NULL, false},
    {"a@b_c.test", A, LL_ADDR_DOMAIN, NULL, false},
    {"a@192.0.2.1", A, LL_ADDR_DOMAIN, NULL, false},
    {"a@[192.0.2.256]", A, LL_ADDR_LITERAL, NULL, false},
    {"a@[192.0.2]", A, LL_ADDR_LITERAL, NULL, false},
    {"a@[192.0.2.01]", A, LL_ADDR_LITERAL, NULL, false},
    {"a@[2001:db8::1]", A, LL_ADDR_LITERAL, NULL, false},
    {"a@[IPv6:1::2::3]", A, LL_ADDR_LITERAL, NULL, false},
    {"a@[x:y]", A, LL_ADDR_LITERAL, NULL, false},
    {"a@[192.0.2.1]x", A, LL_ADDR_SYNTAX, NULL, false},
};

static void mailbox_rows(void **state)
{
    for (size_t i = 0; i < LL_COUNT(mailboxes); i++) {
        struct ll_mailbox m = {0};
        struct ll_mailbox again;

        if (ll_mailbox_parse(ll_slice_str(mailboxes[i].in), mailboxes[i].utf8, &m) !=
            mailboxes[i].error)
            fail_msg("row %zu: %s", i, mailboxes[i].in);
        if (!mailboxes[i].want)
            continue;
        assert_string_equal(m.text, mailboxes[i].want);
        assert_int_equal(m.n, strlen(m.text));
        assert_int_equal(m.indirect, mailboxes[i].indirect);
        assert_int_equal(m.text[m.local_n], '@');
        /* What is canonical stays as it is. */
        if (m.kind == LL_DOMAIN_NAME || m.kind == LL_DOMAIN_IPV4 || m.kind == LL_DOMAIN_IPV6) {
            assert_int_equal(ll_mailbox_parse(ll_mailbox_text(&m), true, &again), LL_ADDR_OK);
            assert_string_equal(again.text, m.text);
        }
    }
}

static void path_rows(void **state)
{
    static const struct {
        const char *in;
        enum ll_addr_error error;
        const char *want;
        size_t used;
    } rows[] = {
        {"<>", LL_ADDR_OK, "", 2},
        {"<> SIZE=1", LL_ADDR_OK, "", 2},
        {"<a@b.test>", LL_ADDR_OK, "a@b.test", 10},
        {"<a@b.test> X", LL_ADDR_OK, "a@b.test", 10},
        {"<Postmaster>", LL_ADDR_OK, "Postmaster", 12},
        {"<\"a>b\"@b.test>", LL_ADDR_OK, "\"a>b\"@b.test", 14},
        {"<a>", LL_ADDR_NO_DOMAIN, NULL, 0},
        {"<@c.test:a@b.test>", LL_ADDR_ROUTE, NULL, 0},
        {"<@c.test,@d.test:a@b.test>", LL_ADDR_ROUTE, NULL, 0},
        {"<a@b.test", LL_ADDR_SYNTAX, NULL, 0},
        {"a@b.test", LL_ADDR_SYNTAX, NULL, 0},
        {"<", LL_ADDR_SYNTAX, NULL, 0},
        {"", LL_ADDR_SYNTAX, NULL, 0},
        {"<a@b.test x>", LL_ADDR_SYNTAX, NULL, 0},
        {"<a b>", LL_ADDR_SYNTAX, NULL, 0},
        {"< a@b.test>", LL_ADDR_SYNTAX, NULL, 0},
        {"<<a@b.test>>", LL_ADDR_SYNTAX, NULL, 0},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_mailbox m = {0};
        size_t used = 0;

        if (ll_path_parse(ll_slice_str(rows[i].in), false, &m, &used) != rows[i].error)
            fail_msg("row %zu: %s", i, rows[i].in);
        if (rows[i].want) {
            assert_string_equal(m.text, rows[i].want);
            assert_int_equal(used, rows[i].used);
        }
    }
}

static void fill(struct ll_buf *b, const char *head, size_t n, const char *tail)
{
    ll_buf_clear(b);
    ll_buf_puts(b, head);
    while (n-- > 0)
        ll_buf_putc(b, 'x');
    ll_buf_puts(b, tail);
}

static void limits(void **state)
{
    struct ll_buf b = LL_BUF(1024);
    struct ll_buf out = LL_BUF(1024);
    struct ll_mailbox m;
    size_t used;

    fill(&b, "", 64, "@b.test");
    assert_int_equal(ll_mailbox_parse(ll_buf_slice(&b), false, &m), LL_ADDR_OK);
    fill(&b, "", 65, "@b.test");
    assert_int_equal(ll_mailbox_parse(ll_buf_slice(&b), false, &m), LL_ADDR_LOCAL_LONG);
    fill(&b, "a@", 63, ".test");
    assert_int_equal(ll_mailbox_parse(ll_buf_slice(&b), false, &m), LL_ADDR_OK);
    fill(&b, "a@", 64, ".test");
    assert_int_equal(ll_mailbox_parse(ll_buf_slice(&b), false, &m), LL_ADDR_DOMAIN);
    for (size_t n = 255; n <= 256; n++) {
        ll_buf_clear(&b);
        while (b.n < n)
            ll_buf_putc(&b, b.n % 50 == 49 ? '.' : 'x');
        assert_int_equal(ll_domain_canonical(ll_buf_slice(&b), false, &out),
                         n == 255 ? LL_ADDR_OK : LL_ADDR_DOMAIN_LONG);
        fill(&b, "<a@x", 0, "");
        while (b.n < n - 1)
            ll_buf_putc(&b, b.n % 50 == 49 ? '.' : 'x');
        ll_buf_putc(&b, '>');
        assert_int_equal(ll_path_parse(ll_buf_slice(&b), false, &m, &used), LL_ADDR_OK);
    }
    ll_buf_clear(&b);
    ll_buf_puts(&b, "<a@x");
    while (b.n < 256)
        ll_buf_putc(&b, b.n % 50 == 49 ? '.' : 'x');
    ll_buf_putc(&b, '>');
    assert_int_equal(ll_path_parse(ll_buf_slice(&b), false, &m, &used), LL_ADDR_PATH_LONG);
    ll_buf_release(&b);
    ll_buf_release(&out);
}

static void ipv6_rows(void **state)
{
    static const char *const rows[][2] = {
        {"[IPv6:::]", "[ipv6:::]"},
        {"[IPv6:::1]", "[ipv6:::1]"},
        {"[IPv6:1::]", "[ipv6:1::]"},
        {"[IPv6:1:2:3:4:5:6:7:8]", "[ipv6:1:2:3:4:5:6:7:8]"},
        {"[IPv6:1:0:3:4:5:6:7:8]", "[ipv6:1:0:3:4:5:6:7:8]"},
        {"[IPv6:1:0:0:4:0:0:0:8]", "[ipv6:1:0:0:4::8]"},
        {"[IPv6:0:0:1:0:0:0:0:0]", "[ipv6:0:0:1::]"},
        {"[ipv6:::ffff:192.0.2.1]", "[ipv6:::ffff:c000:201]"},
        {"[IPv6:1:2:3:4:5:6:7]", NULL},
        {"[IPv6:1:2:3:4:5:6:7:8:9]", NULL},
        {"[IPv6:1:2:3:4:5:6:7::8]", NULL},
        {"[IPv6:12345::]", NULL},
        {"[IPv6:1:]", NULL},
        {"[IPv6::1]", NULL},
        {"[IPv6:::1.2.3.4.5]", NULL},
        {"[IPv6:1.2.3.4::]", NULL},
        {"[IPv6:]", NULL},
        {"[]", NULL},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_buf out = LL_BUF(128);
        enum ll_domain_kind kind;
        enum ll_addr_error e = ll_literal_canonical(ll_slice_str(rows[i][0]), &out, &kind);

        if ((e == LL_ADDR_OK) != (rows[i][1] != NULL))
            fail_msg("%s", rows[i][0]);
        if (rows[i][1])
            assert_string_equal(ll_buf_str(&out), rows[i][1]);
        ll_buf_release(&out);
    }
}

static void splits(void **state)
{
    static const char *const rows[][3] = {
        {"a+b@c.test", "a", "b"},
        {"a+b+c@c.test", "a", "b+c"},
        {"+a@c.test", "+a", ""},
        {"a@c.test", "a", ""},
        {"a+@c.test", "a", ""},
        {"a-b@c.test", "a-b", ""},
        {"\"a +b\"@c.test", "\"a +b\"", ""},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_mailbox m;
        struct ll_slice user;
        struct ll_slice detail;

        assert_int_equal(ll_mailbox_parse(ll_slice_str(rows[i][0]), false, &m), LL_ADDR_OK);
        ll_mailbox_split(&m, "+", &user, &detail);
        assert_true(ll_slice_eq(user, ll_slice_str(rows[i][1])));
        assert_true(ll_slice_eq(detail, ll_slice_str(rows[i][2])));
    }
}

static void quoting(void **state)
{
    static const char *const rows[][2] = {
        {"a", "a"},     {"a.b", "a.b"},         {"a b", "\"a b\""},
        {"", "\"\""},   {"a\"b", "\"a\\\"b\""}, {"a\\", "\"a\\\\\""},
        {"a\rb", NULL}, {"a\x7f", NULL},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_buf out = LL_BUF(128);
        struct ll_buf back = LL_BUF(128);
        bool ok = ll_local_quote(ll_slice_str(rows[i][0]), &out);

        assert_int_equal(ok, rows[i][1] != NULL);
        if (ok) {
            assert_string_equal(ll_buf_str(&out), rows[i][1]);
            ll_local_unquote(ll_buf_slice(&out), &back);
            assert_true(ll_slice_eq(ll_buf_slice(&back), ll_slice_str(rows[i][0])));
        }
        ll_buf_release(&out);
        ll_buf_release(&back);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mailbox_rows), cmocka_unit_test(path_rows), cmocka_unit_test(limits),
        cmocka_unit_test(ipv6_rows),    cmocka_unit_test(splits),    cmocka_unit_test(quoting),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
