/* dmarc_failure: which letters are reported, by fo=; what is told, and what is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "letterlock/dmarc_failure.h"

static const char letter[] =
    "From: Boss <boss.secret@bank.test>\r\nTo: <victim@here.test>\r\n"
    "Subject: wages of ann\r\nMessage-ID: <1@bank.test>\r\n"
    "Reply-To: (c) me.secret@evil.test, \"a@b\" <x.secret@two.test>\r\n"
    "DKIM-Signature: v=1; i=user.secret@bank.test; z=To:victim@here.test\r\n"
    "Received: from a by b for <victim@here.test>; now\r\n"
    "X-Mailer: \x1b[2J bad\xff\r\n\r\n";

struct given {
    struct ll_spf_result spf;
    struct ll_dkim_result dkim;
    struct ll_dmarc_result dmarc;
    struct ll_dmarc_failure f;
};

/* By default a forgery: nothing passes, nothing is aligned. */
static void set(struct given *g, uint8_t fo)
{
    *g = (struct given){
        .spf = {.code = LL_SPF_FAIL,
                .domain = LL_LIT("bank.test"),
                .from = LL_LIT("bank.test"),
                .record = LL_LIT("v=spf1 exp=\"x\\y -all")},
        .dkim = {.fault = LL_DKIM_FAULT_BODY,
                 .domain = LL_LIT("bank.test"),
                 .selector = LL_LIT("s1"),
                 .identity = LL_LIT("user.secret@mail.bank.test")},
        .dmarc = {.code = LL_DMARC_FAIL,
                  .author = LL_LIT("bank.test"),
                  .policy_domain = LL_LIT("bank.test"),
                  .record = {.fo = fo, .ruf = LL_LIT("mailto:f@bank.test")}},
    };
    g->f = (struct ll_dmarc_failure){.authserv_id = LL_LIT("mx.here.test"),
                                     .hostname = LL_LIT("mx.here.test"),
                                     .source = LL_LIT("192.0.2.1"),
                                     .mail_from = LL_LIT("joe.secret@bank.test"),
                                     .delivery = "reject",
                                     .unix_s = 1790000000,
                                     .spf = &g->spf,
                                     .dkim = &g->dkim,
                                     .n_dkim = 1,
                                     .dmarc = &g->dmarc};
}

static void wanted(void **state)
{
    static const struct {
        uint8_t fo;
        enum ll_dmarc_code code;
        bool dkim, spf; /* aligned */
        enum ll_dkim_fault fault;
        enum ll_spf_code spf_code;
        const char *failure; /* NULL: none */
    } rows[] = {
        {LL_DMARC_FO_ALL, LL_DMARC_FAIL, 0, 0, LL_DKIM_FAULT_BODY, LL_SPF_FAIL, "dmarc"},
        {LL_DMARC_FO_ALL, LL_DMARC_PASS, 1, 0, LL_DKIM_FAULT_OK, LL_SPF_FAIL, NULL},
        {LL_DMARC_FO_ANY, LL_DMARC_PASS, 1, 0, LL_DKIM_FAULT_OK, LL_SPF_FAIL, "dmarc"},
        {LL_DMARC_FO_ANY, LL_DMARC_PASS, 1, 1, LL_DKIM_FAULT_OK, LL_SPF_PASS, NULL},
        {LL_DMARC_FO_DKIM, LL_DMARC_PASS, 0, 1, LL_DKIM_FAULT_BODY, LL_SPF_PASS, "bodyhash"},
        {LL_DMARC_FO_DKIM, LL_DMARC_PASS, 0, 1, LL_DKIM_FAULT_SIGNATURE, LL_SPF_PASS, "signature"},
        {LL_DMARC_FO_DKIM, LL_DMARC_FAIL, 0, 0, LL_DKIM_FAULT_OK, LL_SPF_FAIL, NULL},
        {LL_DMARC_FO_SPF, LL_DMARC_PASS, 1, 0, LL_DKIM_FAULT_OK, LL_SPF_SOFTFAIL, "spf"},
        {LL_DMARC_FO_SPF, LL_DMARC_FAIL, 0, 0, LL_DKIM_FAULT_BODY, LL_SPF_NEUTRAL, NULL},
        {LL_DMARC_FO_ALL | LL_DMARC_FO_SPF, LL_DMARC_FAIL, 0, 0, LL_DKIM_FAULT_BODY, LL_SPF_FAIL,
         "dmarc"},
        {15, LL_DMARC_TEMPERROR, 0, 0, LL_DKIM_FAULT_BODY, LL_SPF_FAIL, NULL},
        {15, LL_DMARC_NONE, 0, 0, LL_DKIM_FAULT_BODY, LL_SPF_FAIL, NULL},
        {0, LL_DMARC_FAIL, 0, 0, LL_DKIM_FAULT_BODY, LL_SPF_FAIL, NULL},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_buf out = LL_BUF(LL_DMARC_FEEDBACK_MAX), want = LL_BUF(100);
        struct given g;

        set(&g, rows[i].fo);
        g.dmarc.code = rows[i].code;
        g.dmarc.dkim_aligned = rows[i].dkim;
        g.dmarc.spf_aligned = rows[i].spf;
        g.dkim.fault = rows[i].fault;
        g.spf.code = rows[i].spf_code;
        if (ll_dmarc_failure_wanted(&g.f, ll_slice_str(letter)) != (rows[i].failure != NULL))
            fail_msg("row %zu", i);
        assert_true(ll_dmarc_failure_feedback(&g.f, &out) == (rows[i].failure != NULL));
        ll_buf_printf(&want, "\r\nAuth-Failure: %s\r\n", rows[i].failure ? rows[i].failure : "");
        if (rows[i].failure)
            assert_true(ll_slice_search(ll_buf_slice(&out), ll_buf_slice(&want)) < out.n);
        ll_buf_release(&out);
        ll_buf_release(&want);
    }
}

/* What could make two servers answer each other is never reported. */
static void loops(void **state)
{
    static const char *const headers[] = {
        "From: a@bank.test\r\nAuto-Submitted: auto-generated\r\n\r\n",
        "Auto-submitted:\r\n auto-replied\r\n\r\n",
        "Content-Type: multipart/report; report-type=feedback-report\r\n\r\n",
        "CONTENT-TYPE:  Multipart/Report\r\n\r\n"};
    struct given g;

    set(&g, 15);
    assert_true(ll_dmarc_failure_wanted(&g.f, LL_LIT("Auto-Submitted: no\r\n\r\n")));
    for (size_t i = 0; i < LL_COUNT(headers); i++)
        if (ll_dmarc_failure_wanted(&g.f, ll_slice_str(headers[i])))
            fail_msg("%s", headers[i]);
    g.f.mail_from = LL_LIT("");
    assert_false(ll_dmarc_failure_wanted(&g.f, ll_slice_str(letter)));
}

static void told(void **state)
{
    static const char *const has[] = {
        "Feedback-Type: auth-failure\r\n",
        "Version: 1\r\n",
        "Authentication-Results: mx.here.test; dmarc=fail header.from=bank.test\r\n",
        "Original-Mail-From: redacted@bank.test\r\n",
        "Source-IP: 192.0.2.1\r\n",
        "Reported-Domain: bank.test\r\n",
        "Delivery-Result: reject\r\n",
        "Identity-Alignment: none\r\n",
        "DKIM-Domain: bank.test\r\n",
        "DKIM-Identity: @mail.bank.test\r\n",
        "DKIM-Selector: s1\r\n",
        "SPF-DNS: txt : bank.test : \"v=spf1 exp=\\\"x\\\\y -all\"\r\n",
        "From: <redacted@bank.test>\r\n",
        "Reply-To: <redacted@evil.test>, <redacted@b>, <redacted@two.test>\r\n",
        "Message-ID: <1@bank.test>\r\n",
        "X-Mailer: ?[2J bad?\r\n"};
    static const char *const hasnt[] = {"secret", "victim",   "wages",  "\x1b",
                                        "\xff",   "Received", "Subject"};
    struct ll_buf out = LL_BUF(65536);
    struct given g;

    set(&g, LL_DMARC_FO_ALL);
    assert_true(ll_dmarc_failure_feedback(&g.f, &out));
    assert_true(ll_dmarc_failure_header(ll_slice_str(letter), &out));
    for (size_t i = 0; i < LL_COUNT(has); i++)
        if (ll_slice_search(ll_buf_slice(&out), ll_slice_str(has[i])) == out.n)
            fail_msg("not there: %s in %s", has[i], ll_buf_str(&out));
    for (size_t i = 0; i < LL_COUNT(hasnt); i++)
        if (ll_slice_search(ll_buf_slice(&out), ll_slice_str(hasnt[i])) < out.n)
            fail_msg("there: %s in %s", hasnt[i], ll_buf_str(&out));
    ll_buf_release(&out);
}

/* However long the header, what is shown is not; and no field is cut in two. */
static void long_headers(void **state)
{
    struct ll_buf in = LL_BUF(1 << 20), out = LL_BUF(LL_DMARC_HEADER_MAX);
    size_t fields = 0;
    struct ll_slice rest, line;

    for (int i = 0; i < 1000; i++)
        ll_buf_printf(&in, "Sender: a%d@%d.x.test\r\n", i, i);
    assert_true(ll_dmarc_failure_header(ll_buf_slice(&in), &out));
    rest = ll_buf_slice(&out);
    while (ll_slice_next(&rest, '\n', &line))
        fields += ll_slice_starts(line, LL_LIT("Sender: <redacted@"));
    assert_int_equal(fields, LL_DMARC_HEADER_FIELDS);
    ll_buf_clear(&in);
    ll_buf_clear(&out);
    ll_buf_puts(&in, "From: ");
    for (int i = 0; i < 50000; i++)
        ll_buf_puts(&in, "@a");
    ll_buf_puts(&in, "\r\nDate: x\r\n");
    assert_true(ll_dmarc_failure_header(ll_buf_slice(&in), &out));
    assert_true(ll_slice_eq(ll_buf_slice(&out), LL_LIT("Date: x\r\n")));
    ll_buf_release(&in);
    ll_buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(wanted), cmocka_unit_test(loops),
                                       cmocka_unit_test(told), cmocka_unit_test(long_headers)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
