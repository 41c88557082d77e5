/* Delivery reports: what they say, and that nothing hostile gets into their structure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "letterlock/dsn.h"
#include "letterlock/msg.h"

#define WHEN 1795489654 /* Tue, 24 Nov 2026 03:07:34 +0000 */

static const struct ll_dsn_recipient no_user = {
    .address = {(const uint8_t *)"nobody@y.example", 16},
    .orcpt = {(const uint8_t *)"rfc822;nobody+2Bx@y.example", 27},
    .action = LL_DSN_FAILED,
    .status = {5, 1, 1},
    .remote_mta = {(const uint8_t *)"mx.y.example", 12},
    .code = 550,
    .diagnostic = {(const uint8_t *)"no such user", 12},
    .last_attempt = WHEN,
};

static struct ll_dsn base(const struct ll_dsn_recipient *r, size_t n)
{
    return (struct ll_dsn){
        .reporting_mta = LL_LIT("mx.x.example"),
        .from = LL_LIT("postmaster@mx.x.example"),
        .to = LL_LIT("anna@x.example"),
        .message_id = LL_LIT("<1@mx.x.example>"),
        .boundary = LL_LIT("b0undary"),
        .date = WHEN,
        .arrival = WHEN - 60,
        .header = LL_LIT("From: anna@x.example\r\nSubject: lunch\r\n today?\r\n"),
        .recipients = r,
        .recipient_count = n,
    };
}

/* Wire form: CR LF alone, ASCII, short lines; and the boundary where it belongs, `marks` times. */
static void check_wire(struct ll_slice s, size_t marks, bool ascii)
{
    size_t line = 0, found = 0;

    for (size_t i = 0; i < s.n; i++) {
        assert_true(s.p[i] != 0 && (s.p[i] < 0x80 || !ascii));
        if (s.p[i] == '\n')
            assert_true(i > 0 && s.p[i - 1] == '\r');
        if (s.p[i] == '\r')
            assert_true(i + 1 < s.n && s.p[i + 1] == '\n');
        line = s.p[i] == '\n' ? 0 : line + 1;
        assert_true(line <= LL_MSG_LINE_MAX + 1);
        found += ll_slice_starts(ll_slice_skip(s, i), LL_LIT("\r\n--b0undary"));
    }
    assert_true(ll_slice_ends(s, LL_LIT("\r\n--b0undary--\r\n")));
    assert_int_equal(found, marks);
}

static void assert_holds(struct ll_slice s, const char *what)
{
    if (ll_slice_search(s, ll_slice_str(what)) == s.n)
        print_error("\"%s\" is not in:\n%.*s\n", what, LL_FMT(s));
    assert_true(ll_slice_search(s, ll_slice_str(what)) < s.n);
}

static void test_failure(void **state)
{
    static const char *const holds[] = {
        "From: Mail delivery <postmaster@mx.x.example>\r\nTo: <anna@x.example>\r\n"
        "Subject: Your letter could not be delivered\r\n"
        "Date: Tue, 24 Nov 2026 03:07:34 +0000\r\nMessage-ID: <1@mx.x.example>\r\n"
        "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
        "Content-Type: multipart/report; report-type=delivery-status;\r\n"
        "\tboundary=\"b0undary\"\r\n\r\n",
        "There is no such mailbox.\r\n",
        "The server mx.y.example said: 550 5.1.1 no such user\r\n",
        "Its subject was: lunch today?\r\n",
        "\r\n--b0undary\r\nContent-Type: message/delivery-status\r\n",
        "\r\n\r\nReporting-MTA: dns; mx.x.example\r\n"
        "Arrival-Date: Tue, 24 Nov 2026 03:06:34 +0000\r\n\r\n"
        "Original-Recipient: rfc822; nobody+x@y.example\r\n"
        "Final-Recipient: rfc822; nobody@y.example\r\nAction: failed\r\nStatus: 5.1.1\r\n"
        "Remote-MTA: dns; mx.y.example\r\nDiagnostic-Code: smtp; 550 5.1.1 no such user\r\n"
        "Last-Attempt-Date: Tue, 24 Nov 2026 03:07:34 +0000\r\n\r\n--b0undary\r\n",
        "Content-Type: text/rfc822-headers\r\n",
        "\r\n\r\nFrom: anna@x.example\r\nSubject: lunch\r\n today?\r\n\r\n--b0undary--\r\n",
    };
    struct ll_buf out = LL_BUF(LL_DSN_MAX);
    struct ll_dsn d = base(&no_user, 1);
    unsigned needs = 7;

    assert_true(ll_dsn_build(&d, &out, &needs));
    assert_int_equal(needs, 0);
    check_wire(ll_buf_slice(&out), 4, true);
    for (size_t i = 0; i < LL_COUNT(holds); i++)
        assert_holds(ll_buf_slice(&out), holds[i]);
    ll_buf_release(&out);
}

static void test_delay(void **state)
{
    struct ll_dsn_recipient r = {
        .address = LL_LIT("b@y.example"),
        .action = LL_DSN_DELAYED,
        .status = {4, 4, 1},
        .diagnostic = LL_LIT("connection refused"),
        .retry_until = WHEN + 86400,
    };
    struct ll_dsn d = base(&r, 1);
    struct ll_buf out = LL_BUF(LL_DSN_MAX);
    unsigned needs;

    assert_true(ll_dsn_build(&d, &out, &needs));
    check_wire(ll_buf_slice(&out), 4, true);
    assert_holds(ll_buf_slice(&out), "Subject: Your letter is delayed\r\n");
    assert_holds(ll_buf_slice(&out), "Action: delayed\r\nStatus: 4.4.1\r\n"
                                     "Diagnostic-Code: X-letterlock; connection refused\r\n"
                                     "Will-Retry-Until: Wed, 25 Nov 2026 03:07:34 +0000\r\n");
    assert_holds(ll_buf_slice(&out), "Nothing needs to be done");
    ll_buf_release(&out);
}

/* What peers say stays text: no new field, no new part, no octet that is not ASCII. */
static void test_hostile(void **state)
{
    struct ll_buf words = LL_BUF(1 << 16), out = LL_BUF(LL_DSN_MAX);
    struct ll_dsn_recipient r[2] = {no_user, no_user};
    struct ll_dsn d = base(r, 2);
    unsigned needs;

    while (words.n < 2000)
        ll_buf_puts(&words, "x\r\n--b0undary--\r\nBcc: \xff\x00y\n.\n");
    r[0].diagnostic = r[0].remote_mta = r[0].orcpt = r[0].address = ll_buf_slice(&words);
    r[1].address = LL_LIT("j\xc3\xb6rg\\@y.example");
    r[1].orcpt = LL_LIT("rfc822;a+0D+0ABcc:+20x");
    d.envid = ll_buf_slice(&words);
    d.header = LL_LIT("Subject: \xc3\xa4\n--b0undary--\r\nX: y\rz\r\nlast");
    assert_true(ll_dsn_build(&d, &out, &needs));
    check_wire(ll_buf_slice(&out), 4, true);
    assert_holds(ll_buf_slice(&out), "Final-Recipient: utf-8; j\\x{F6}rg\\x{5C}@y.example\r\n");
    assert_holds(ll_buf_slice(&out), "Original-Recipient: rfc822; a+0D+0ABcc: x\r\n");
    assert_int_equal(ll_slice_search(ll_buf_slice(&out), LL_LIT("\r\nBcc:")), out.n);
    ll_buf_release(&out);
    ll_buf_release(&words);
}

static void test_refused(void **state)
{
    struct ll_buf out = LL_BUF(LL_DSN_MAX);
    struct ll_dsn d;
    unsigned needs = 0;

    d = base(&no_user, 0);
    assert_false(ll_dsn_build(&d, &out, &needs));
    d = base(&no_user, 1);
    d.boundary = LL_LIT("a\"b");
    assert_false(ll_dsn_build(&d, &out, &needs));
    d = base(&no_user, 1);
    d.to = LL_LIT("a@x\r\nBcc: b@x");
    assert_false(ll_dsn_build(&d, &out, &needs));
    d = base(&no_user, 1);
    d.to = LL_LIT("");
    assert_false(ll_dsn_build(&d, &out, &needs));
    ll_buf_clear(&out);
    d = base(&no_user, 1);
    d.to = LL_LIT("\xc3\xa4@x.example");
    assert_true(ll_dsn_build(&d, &out, &needs));
    assert_int_equal(needs, LL_DSN_NEEDS_UTF8);
    check_wire(ll_buf_slice(&out), 4, false);
    ll_buf_release(&out);
}

/* The words are long enough for a soft line break at every place: none may make a boundary. */
static void test_soft_breaks(void **state)
{
    struct ll_dsn_recipient r = no_user;
    struct ll_dsn d = base(&r, 1);

    for (size_t pad = 0; pad < 100; pad++) {
        struct ll_buf words = LL_BUF(256), out = LL_BUF(LL_DSN_MAX);
        unsigned needs;

        for (size_t i = 0; i < pad; i++)
            ll_buf_putc(&words, 'x');
        ll_buf_puts(&words, "--b0undary--");
        r.diagnostic = ll_buf_slice(&words);
        assert_true(ll_dsn_build(&d, &out, &needs));
        check_wire(ll_buf_slice(&out), 4, true);
        ll_buf_release(&words);
        ll_buf_release(&out);
    }
}

/* A long header is cut behind a field. */
static void test_long_header(void **state)
{
    struct ll_buf header = LL_BUF(1 << 20), out = LL_BUF(LL_DSN_MAX);
    struct ll_dsn d = base(&no_user, 1);
    unsigned needs;

    while (header.n < LL_DSN_HEADER_MAX)
        ll_buf_puts(&header, "X: 0123456789\r\n");
    d.header = ll_buf_slice(&header);
    assert_true(ll_dsn_build(&d, &out, &needs));
    check_wire(ll_buf_slice(&out), 4, true);
    assert_true(ll_slice_ends(ll_buf_slice(&out), LL_LIT("X: 0123456789\r\n\r\n--b0undary--\r\n")));
    ll_buf_release(&header);
    ll_buf_release(&out);
}

/* ENVID and ORCPT, decoded as their kind asks (RFC 3461 6.3, RFC 6533 3). */
static void test_originals(void **state)
{
    static const struct {
        const char *orcpt, *field;
    } rows[] = {
        {"rfc822;a+2Bb@x", "Original-Recipient: rfc822; a+b@x\r\n"},
        {"utf-8;j\\x{F6}rg@x", "Original-Recipient: utf-8; j\\x{F6}rg@x\r\n"},
        {"UTF-8;j\xc3\xb6rg@x", "Original-Recipient: UTF-8; j\\x{F6}rg@x\r\n"},
        {"utf-8;\xff", "Original-Recipient: utf-8; ?\r\n"},
        {"x400;c+3Dde", "Original-Recipient: x400; c=de\r\n"},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_buf out = LL_BUF(LL_DSN_MAX);
        struct ll_dsn_recipient r = no_user;
        struct ll_dsn d = base(&r, 1);
        unsigned needs = 7;

        r.orcpt = ll_slice_str(rows[i].orcpt);
        d.envid = LL_LIT("QQ314+3D+2B");
        assert_true(ll_dsn_build(&d, &out, &needs));
        check_wire(ll_buf_slice(&out), 4, true);
        assert_int_equal(needs, 0);
        assert_holds(ll_buf_slice(&out), rows[i].field);
        assert_holds(ll_buf_slice(&out), "\r\nOriginal-Envelope-Id: QQ314=+\r\n");
        ll_buf_release(&out);
    }
}

/* RFC 6533 4.1: addresses in UTF-8, for readers that know them. */
static void test_global(void **state)
{
    static const char joerg[] = "j\xc3\xb6rg@y.example", kaethe[] = "k\xc3\xa4the@x.example";
    static const struct {
        const char *address, *orcpt, *to;
        bool utf8;
        const char *type;  /* of the machine part, and its encoding */
        const char *lines; /* in it */
        unsigned needs;
    } rows[] = {
        {joerg, "utf-8;k\\x{E4}the@x.example", "a@x.example", true,
         "Content-Type: message/global-delivery-status\r\nContent-Description: Delivery report\r\n"
         "Content-Transfer-Encoding: quoted-printable\r\n\r\n",
         "\r\n\r\nOriginal-Recipient: utf-8; k=C3=A4the@x.example\r\n"
         "=46inal-Recipient: utf-8; j=C3=B6rg@y.example\r\nAction: failed\r\n",
         0},
        {joerg, "utf-8;k\\x{E4}th\\x{2B}e@x.example", kaethe, true,
         "Content-Type: message/global-delivery-status\r\nContent-Description: Delivery report\r\n"
         "Content-Transfer-Encoding: 8bit\r\n\r\n",
         "\r\n\r\nOriginal-Recipient: utf-8; k\xc3\xa4th+e@x.example\r\n"
         "Final-Recipient: utf-8; j\xc3\xb6rg@y.example\r\nAction: failed\r\n",
         LL_DSN_NEEDS_UTF8 | LL_DSN_NEEDS_8BIT},
        {"b@y.example", "utf-8;\\x{1F4E7}@x.example", "a@x.example", true,
         "Content-Type: message/global-delivery-status\r\n",
         "Original-Recipient: utf-8; =F0=9F=93=A7@x.example\r\n"
         "=46inal-Recipient: rfc822; b@y.example\r\n",
         0},
        /* Who sent it knows nothing of UTF-8 in addresses. */
        {joerg, "utf-8;k\\x{E4}the@x.example", "a@x.example", false,
         "Content-Type: message/delivery-status\r\n",
         "Original-Recipient: utf-8; k\\x{E4}the@x.example\r\n"
         "Final-Recipient: utf-8; j\\x{F6}rg@y.example\r\n",
         0},
        /* All is ASCII: the older type says the same. */
        {"b@y.example", "utf-8;a\\x{2B}b@x.example", "a@x.example", true,
         "Content-Type: message/delivery-status\r\n",
         "Original-Recipient: utf-8; a\\x{2B}b@x.example\r\n", 0},
        {"b@y.example", "", kaethe, true, "Content-Type: message/delivery-status\r\n",
         "Final-Recipient: rfc822; b@y.example\r\n", LL_DSN_NEEDS_UTF8},
        {"\xff@y.example", "utf-8;\xff@x", "a@x.example", true,
         "Content-Type: message/delivery-status\r\n",
         "Original-Recipient: utf-8; ?@x\r\nFinal-Recipient: rfc822; ?@y.example\r\n", 0},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_buf out = LL_BUF(LL_DSN_MAX);
        struct ll_dsn_recipient r = no_user;
        struct ll_dsn d = base(&r, 1);
        unsigned needs = 7;

        r.address = ll_slice_str(rows[i].address);
        r.orcpt = ll_slice_str(rows[i].orcpt);
        d.to = ll_slice_str(rows[i].to);
        d.utf8 = rows[i].utf8;
        assert_true(ll_dsn_build(&d, &out, &needs));
        check_wire(ll_buf_slice(&out), 4, ll_is_ascii(d.to));
        assert_int_equal(needs, rows[i].needs);
        assert_holds(ll_buf_slice(&out), rows[i].type);
        assert_holds(ll_buf_slice(&out), rows[i].lines);
        ll_buf_release(&out);
    }
}

static void test_actions(void **state)
{
    static const struct {
        enum ll_dsn_action action;
        const char *subject, *field, *words;
    } rows[] = {
        {LL_DSN_DELIVERED, "Subject: Your letter was delivered", "Action: delivered\r\n",
         "The letter was delivered."},
        {LL_DSN_RELAYED, "Subject: Your letter was handed on", "Action: relayed\r\n",
         "which sends no reports."},
        {LL_DSN_EXPANDED, "Subject: Your letter was handed on", "Action: expanded\r\n",
         "to those whom this address stands for"},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_buf out = LL_BUF(LL_DSN_MAX);
        struct ll_dsn_recipient r = no_user;
        struct ll_dsn d = base(&r, 1);
        unsigned needs;

        r.action = rows[i].action;
        r.status[0] = 2;
        assert_true(ll_dsn_build(&d, &out, &needs));
        assert_holds(ll_buf_slice(&out), rows[i].subject);
        assert_holds(ll_buf_slice(&out), rows[i].field);
        assert_holds(ll_buf_slice(&out), rows[i].words);
        ll_buf_release(&out);
    }
}

/* RET=FULL: the letter itself, where every server can take its lines. */
static void test_whole(void **state)
{
    static const struct {
        const char *header, *body, *type;
        unsigned needs;
        bool ascii;
    } rows[] = {
        {"Subject: a\r\n", "body\r\n.\r\n--b\r\n",
         "Content-Type: message/rfc822\r\n\r\nSubject: "
         "a\r\n\r\nbody\r\n.\r\n--b\r\n\r\n--b0undary--",
         0, true},
        {"Subject: a\r\n", "b\xc3\xa4\r\n",
         "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSubject: a\r\n",
         LL_DSN_NEEDS_8BIT, false},
        {"Subject: \xc3\xa4\r\n", "b\r\n",
         "Content-Type: message/global\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
         "Subject: =C3=A4\r\n\r\nb\r\n",
         0, true},
        {"Subject: a\r\n", "--b0undary--\r\n", "Content-Type: text/rfc822-headers\r\n", 0, true},
        {"Subject: a\r\n", "no end", "Content-Type: text/rfc822-headers\r\n", 0, true},
        {"Subject: a\r\n", "bare\nLF\r\n", "Content-Type: text/rfc822-headers\r\n", 0, true},
        {"Subject: \xc3\xa4\r\n", "no end", "Content-Type: message/global-headers\r\n", 0, true},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_buf out = LL_BUF(LL_DSN_MAX), whole = LL_BUF(4096);
        struct ll_dsn d = base(&no_user, 1);
        unsigned needs = 7;

        ll_buf_printf(&whole, "%s\r\n%s", rows[i].header, rows[i].body);
        d.header = ll_slice_str(rows[i].header);
        d.content = ll_buf_slice(&whole);
        assert_true(ll_dsn_build(&d, &out, &needs));
        check_wire(ll_buf_slice(&out), 4, rows[i].ascii);
        assert_int_equal(needs, rows[i].needs);
        assert_holds(ll_buf_slice(&out), rows[i].type);
        ll_buf_release(&out);
        ll_buf_release(&whole);
    }
    /* A line of 998 octets is the longest that goes along (RFC 5321 4.5.3.1.6). */
    for (size_t n = LL_MSG_LINE_MAX; n <= LL_MSG_LINE_MAX + 1; n++) {
        struct ll_buf out = LL_BUF(LL_DSN_MAX), whole = LL_BUF(4096);
        struct ll_dsn d = base(&no_user, 1);
        unsigned needs;

        ll_buf_puts(&whole, "A: b\r\n\r\n");
        for (size_t k = 0; k < n; k++)
            ll_buf_putc(&whole, 'x');
        ll_buf_puts(&whole, "\r\n");
        d.content = ll_buf_slice(&whole);
        assert_true(ll_dsn_build(&d, &out, &needs));
        assert_holds(ll_buf_slice(&out),
                     n == LL_MSG_LINE_MAX ? "message/rfc822" : "rfc822-headers");
        ll_buf_release(&out);
        ll_buf_release(&whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failure),     cmocka_unit_test(test_delay),
        cmocka_unit_test(test_hostile),     cmocka_unit_test(test_refused),
        cmocka_unit_test(test_long_header), cmocka_unit_test(test_soft_breaks),
        cmocka_unit_test(test_originals),   cmocka_unit_test(test_global),
        cmocka_unit_test(test_actions),     cmocka_unit_test(test_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
