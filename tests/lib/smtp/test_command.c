/* Commands, parameters, xtext, EHLO names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "letterlock/smtp.h"

#define ALL                                                                                        \
    (LL_SMTP_EXT_SIZE | LL_SMTP_EXT_8BITMIME | LL_SMTP_EXT_SMTPUTF8 | LL_SMTP_EXT_AUTH |           \
     LL_SMTP_EXT_DSN)

static void commands(void **state)
{
    static const struct {
        const char *in;
        enum ll_smtp_error error;
        enum ll_smtp_verb verb;
        const char *args;
    } rows[] = {
        {"NOOP", LL_SMTP_OK, LL_SMTP_V_NOOP, ""},
        {"noop x y ", LL_SMTP_OK, LL_SMTP_V_NOOP, "x y"},
        {"mAiL FROM:<>", LL_SMTP_OK, LL_SMTP_V_MAIL, "FROM:<>"},
        {"QUIT ", LL_SMTP_OK, LL_SMTP_V_QUIT, ""},
        {"QUIT x", LL_SMTP_NO_PARAMETERS, LL_SMTP_V_QUIT, NULL},
        {"STARTTLS x", LL_SMTP_NO_PARAMETERS, LL_SMTP_V_STARTTLS, NULL},
        {"EHLO", LL_SMTP_ARGUMENT, LL_SMTP_V_EHLO, NULL},
        {"EHLO ", LL_SMTP_ARGUMENT, LL_SMTP_V_EHLO, NULL},
        {"NOOP \x01", LL_SMTP_NOT_ASCII, 0, NULL},
        {"NOOP a\tb", LL_SMTP_NOT_ASCII, 0, NULL},
        {"NOOP \xc3\xa4", LL_SMTP_NOT_ASCII, 0, NULL},
        {"", LL_SMTP_UNKNOWN, 0, NULL},
        {" NOOP", LL_SMTP_UNKNOWN, 0, NULL},
        {"NOOPX", LL_SMTP_UNKNOWN, 0, NULL},
        {"NOO", LL_SMTP_UNKNOWN, 0, NULL},
        {"NOOP\tx", LL_SMTP_UNKNOWN, 0, NULL},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_smtp_command c = {0};

        if (ll_smtp_command_parse(ll_slice_str(rows[i].in), false, &c) != rows[i].error)
            fail_msg("row %zu: %s", i, rows[i].in);
        if (rows[i].args) {
            assert_int_equal(c.verb, rows[i].verb);
            assert_true(ll_slice_eq(c.args, ll_slice_str(rows[i].args)));
        }
    }
}

static void mail_rows(void **state)
{
    static const struct {
        const char *in;
        unsigned exts;
        enum ll_smtp_error error;
    } rows[] = {
        {"FROM:<a@b.test>", 0, LL_SMTP_OK},
        {"from: <a@b.test> ", 0, LL_SMTP_OK},
        {"FROM:<>", 0, LL_SMTP_OK},
        {"FROM:<a@b.test> SIZE=10 BODY=7BIT RET=hdrs ENVID=QQ+2B AUTH=<> SMTPUTF8", ALL,
         LL_SMTP_OK},
        {"FROM:<a@b.test>  SIZE=0", ALL, LL_SMTP_OK},
        {"FROM:<\xc3\xa4@b.test> SMTPUTF8", ALL, LL_SMTP_OK},
        {"FROM:<\xc3\xa4@b.test>", ALL, LL_SMTP_NEEDS_UTF8},
        {"FROM:<a@\xc3\xa4.test>", ALL, LL_SMTP_NEEDS_UTF8},
        {"FROM:<\xc3\xa4@b.test> SMTPUTF8", 0, LL_SMTP_NEEDS_UTF8},
        {"FROM:<a@b.test> SMTPUTF8=1", ALL, LL_SMTP_PARAMETER},
        {"FROM:<a@b.test> SIZE=10", 0, LL_SMTP_PARAMETER_UNKNOWN},
        {"FROM:<a@b.test> NOTIFY=NEVER", ALL, LL_SMTP_PARAMETER_UNKNOWN},
        {"FROM:<a@b.test> SIZE=1 SIZE=1", ALL, LL_SMTP_PARAMETER_TWICE},
        {"FROM:<a@b.test> SIZE=", ALL, LL_SMTP_PARAMETER},
        {"FROM:<a@b.test> SIZE", ALL, LL_SMTP_PARAMETER},
        {"FROM:<a@b.test> SIZE=-1", ALL, LL_SMTP_PARAMETER},
        {"FROM:<a@b.test> SIZE=18446744073709551616", ALL, LL_SMTP_PARAMETER},
        {"FROM:<a@b.test> BODY=9BIT", ALL, LL_SMTP_BODY_TYPE},
        {"FROM:<a@b.test> BODY=BINARYMIME", ALL, LL_SMTP_BINARY},
        {"FROM:<a@b.test> RET=ALL", ALL, LL_SMTP_PARAMETER},
        {"FROM:<a@b.test> ENVID=a+20b", ALL, LL_SMTP_OK},
        {"FROM:<a@b.test> ENVID=a+09b", ALL, LL_SMTP_PARAMETER},
        {"FROM:<a@b.test> ENVID=a+00", ALL, LL_SMTP_PARAMETER},
        {"FROM:<a@b.test> AUTH=a+0Ab", ALL, LL_SMTP_PARAMETER},
        {"FROM:<a@b.test> =1", ALL, LL_SMTP_PARAMETER},
        {"FROM:<a@b.test> -X=1", ALL, LL_SMTP_PARAMETER},
        {"FROM:<a@b.test> X=a=b", ALL, LL_SMTP_PARAMETER},
        {"FROM:<a@b.test>SIZE=1", ALL, LL_SMTP_PATH_SENDER},
        {"FROM:<postmaster>", ALL, LL_SMTP_PATH_SENDER},
        {"FROM:<@c.test:a@b.test>", ALL, LL_SMTP_ROUTE},
        {"FROM:a@b.test", ALL, LL_SMTP_PATH_SENDER},
        {"TO:<a@b.test>", ALL, LL_SMTP_ARGUMENT},
        {"FROM", ALL, LL_SMTP_ARGUMENT},
        {"FROM <a@b.test>", ALL, LL_SMTP_ARGUMENT},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_smtp_mail m;

        if (ll_smtp_mail_parse(ll_slice_str(rows[i].in), rows[i].exts, &m) != rows[i].error)
            fail_msg("row %zu: %s", i, rows[i].in);
    }
}

static void rcpt_rows(void **state)
{
    static const struct {
        const char *in;
        enum ll_smtp_error error;
        unsigned notify;
    } rows[] = {
        {"TO:<a@b.test>", LL_SMTP_OK, 0},
        {"TO:<postmaster>", LL_SMTP_OK, 0},
        {"TO:<a@b.test> NOTIFY=never", LL_SMTP_OK, 1},
        {"TO:<a@b.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bc@d", LL_SMTP_OK, 10},
        {"TO:<a@b.test> ORCPT=rfc822;\"a+20c\"@d", LL_SMTP_OK, 0},
        {"TO:<a@b.test> NOTIFY=NEVER,DELAY", LL_SMTP_PARAMETER, 0},
        {"TO:<a@b.test> NOTIFY=DELAY,DELAY", LL_SMTP_PARAMETER, 0},
        {"TO:<a@b.test> NOTIFY=DELAY,", LL_SMTP_PARAMETER, 0},
        {"TO:<a@b.test> NOTIFY=,DELAY", LL_SMTP_PARAMETER, 0},
        {"TO:<a@b.test> NOTIFY=X", LL_SMTP_PARAMETER, 0},
        {"TO:<a@b.test> ORCPT=a@b", LL_SMTP_PARAMETER, 0},
        {"TO:<a@b.test> ORCPT=rfc822;", LL_SMTP_PARAMETER, 0},
        {"TO:<a@b.test> ORCPT=;a", LL_SMTP_PARAMETER, 0},
        {"TO:<a@b.test> ORCPT=rfc822;a+0Db", LL_SMTP_PARAMETER, 0},
        {"TO:<a@b.test> SIZE=1", LL_SMTP_PARAMETER_UNKNOWN, 0},
        {"TO:<>", LL_SMTP_PATH, 0},
        {"TO:<a>", LL_SMTP_PATH, 0},
        {"FROM:<a@b.test>", LL_SMTP_ARGUMENT, 0},
        {"TO:<\xc3\xa4@b.test>", LL_SMTP_NEEDS_UTF8, 0},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_smtp_rcpt r = {0};

        if (ll_smtp_rcpt_parse(ll_slice_str(rows[i].in), ALL, false, &r) != rows[i].error)
            fail_msg("row %zu: %s", i, rows[i].in);
        assert_int_equal(r.notify, rows[i].notify);
    }
}

/* RFC 6533 3: what an address of type utf-8 may be, without and with SMTPUTF8. */
static void orcpt_rows(void **state)
{
    static const struct {
        const char *in;
        bool ok, ok_utf8;
        const char *ascii; /* utf-8-addr-xtext */
    } rows[] = {
        {"rfc822;a@b", true, true, "rfc822;a@b"},
        {"utf-8;j\\x{F6}rg@x", true, true, "utf-8;j\\x{F6}rg@x"},
        {"UTF-8;j\xc3\xb6rg@x", false, true, "UTF-8;j\\x{F6}rg@x"},
        {"utf-8;\xe4\xb8\xad\xf0\x9f\x93\xa7@x", false, true, "utf-8;\\x{4E2D}\\x{1F4E7}@x"},
        {"utf-8;a\\x{5C}\\x{2B}\\x{3D}\\x{20}b@x", true, true,
         "utf-8;a\\x{5C}\\x{2B}\\x{3D}\\x{20}b@x"},
        {"utf-8;\\x{10FFFF}", true, true, "utf-8;\\x{10FFFF}"},
        {"rfc822;\xc3\xb6@x", false, false, NULL},
        {"utf-8;a+2Bb@x", false, false, NULL},
        {"utf-8;\\x{0D}", false, false, NULL},
        {"utf-8;\\x{41}", false, false, NULL},
        {"utf-8;\\x{85}", false, false, NULL},
        {"utf-8;\xc2\x85", false, false, NULL},
        {"utf-8;\\x{D800}", false, false, NULL},
        {"utf-8;\\x{110000}", false, false, NULL},
        {"utf-8;\\x{f6}", false, false, NULL},
        {"utf-8;\\x{}", false, false, NULL},
        {"utf-8;\\x{F6", false, false, NULL},
        {"utf-8;\\", false, false, NULL},
        {"utf-8;\xff", false, false, NULL},
        {"utf-8;", false, false, NULL},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_slice in = ll_slice_str(rows[i].in);
        struct ll_buf line = LL_BUF(1024), ascii = LL_BUF(1024);
        struct ll_smtp_rcpt r;

        if (ll_orcpt_ok(in, false) != rows[i].ok || ll_orcpt_ok(in, true) != rows[i].ok_utf8)
            fail_msg("row %zu: %s", i, rows[i].in);
        ll_buf_printf(&line, "TO:<a@b.test> ORCPT=%s", rows[i].in);
        assert_int_equal(ll_smtp_rcpt_parse(ll_buf_slice(&line), ALL, false, &r) == LL_SMTP_OK,
                         rows[i].ok);
        assert_int_equal(ll_smtp_rcpt_parse(ll_buf_slice(&line), ALL, true, &r) == LL_SMTP_OK,
                         rows[i].ok_utf8);
        if (rows[i].ok_utf8) {
            assert_true(ll_slice_eq(r.orcpt, in));
            ll_orcpt_ascii_put(&ascii, in);
            assert_string_equal(ll_buf_str(&ascii), rows[i].ascii);
            assert_true(ll_orcpt_ok(ll_buf_slice(&ascii), false));
        }
        ll_buf_release(&line);
        ll_buf_release(&ascii);
    }
    /* 500 characters are the most (RFC 3461 5.4). */
    for (size_t n = LL_SMTP_ORCPT_MAX; n <= LL_SMTP_ORCPT_MAX + 1; n++) {
        struct ll_buf v = LL_BUF(1024);

        ll_buf_puts(&v, "rfc822;");
        while (v.n < n)
            ll_buf_putc(&v, 'a');
        assert_int_equal(ll_orcpt_ok(ll_buf_slice(&v), false), n == LL_SMTP_ORCPT_MAX);
        ll_buf_release(&v);
    }
}

/* Of all 256 values only ' '..'~' are let through, and each comes back as it was. */
static void xtext(void **state)
{
    for (unsigned c = 0; c < 256; c++) {
        uint8_t octet = (uint8_t)c;
        struct ll_buf text = LL_BUF(64);
        struct ll_buf back = LL_BUF(64);

        ll_buf_putc(&text, '+');
        ll_buf_putc(&text, (uint8_t) "0123456789ABCDEF"[c >> 4]);
        ll_buf_putc(&text, (uint8_t) "0123456789ABCDEF"[c & 15]);
        assert_int_equal(ll_xtext_decode(ll_buf_slice(&text), &back), c >= 32 && c < 127);
        ll_buf_clear(&text);
        ll_buf_clear(&back);
        ll_xtext_encode(ll_slice(&octet, 1), &text);
        if (ll_xtext_decode(ll_buf_slice(&text), &back))
            assert_true(ll_slice_eq(ll_buf_slice(&back), ll_slice(&octet, 1)));
        ll_buf_release(&text);
        ll_buf_release(&back);
    }
    static const char *const bad[] = {"+", "+4", "+4g", "+2b", "a=b", "a b", "a+"};
    for (size_t i = 0; i < LL_COUNT(bad); i++) {
        struct ll_buf out = LL_BUF(64);

        assert_false(ll_xtext_decode(ll_slice_str(bad[i]), &out));
        ll_buf_release(&out);
    }
}

static void helo(void **state)
{
    static const struct {
        const char *in;
        const char *want;
    } rows[] = {
        {"a.test", "a.test"},    {"a_b", "a_b"}, {"[192.0.2.1]", "[192.0.2.1]"},
        {"a b", NULL},           {"a(b)", NULL}, {"", NULL},
        {"\xc3\xa4.test", NULL}, {"[x]", NULL},  {"a\x1b", NULL},
        {"a;b", NULL},           {"<a>", NULL},  {"a\r\nb", NULL},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_buf out = LL_BUF(255);

        assert_int_equal(ll_smtp_helo_clean(ll_slice_str(rows[i].in), &out), rows[i].want != NULL);
        if (rows[i].want)
            assert_string_equal(ll_buf_str(&out), rows[i].want);
        else
            assert_int_equal(out.n, 0);
        ll_buf_release(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands),   cmocka_unit_test(mail_rows), cmocka_unit_test(rcpt_rows),
        cmocka_unit_test(orcpt_rows), cmocka_unit_test(xtext),     cmocka_unit_test(helo),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
