/* dmarc_report: what is written is in the schema's order and holds nothing that XML forbids. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "letterlock/dmarc_report.h"

static void texts(struct ll_buf *out, const char *const *t, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ll_buf_str16(out, ll_slice_str(t[i]));
}

static const char *const good_row[] = {"192.0.2.1", "none",   "fail",   "pass", "",
                                       "a.test",    "b.test", "b.test", "pass", "d.test",
                                       "s1",        "fail",   "e.test", "s2",   "pass"};

static void lists(void **state)
{
    struct ll_buf row = LL_BUF(1 << 16), many = LL_BUF(1 << 16), policy = LL_BUF(4096);
    struct ll_dmarc_record record;

    (void)state;
    texts(&row, good_row, LL_COUNT(good_row));
    assert_true(ll_dmarc_report_is_row(ll_buf_slice(&row)));
    assert_false(ll_dmarc_report_is_row(LL_LIT("")));
    assert_false(ll_dmarc_report_is_row(ll_slice(row.p, row.n - 1)));
    texts(&many, good_row, LL_DMARC_ROW_TEXTS);
    for (int i = 0; i < LL_DMARC_ROW_DKIM; i++)
        texts(&many, good_row + LL_DMARC_ROW_TEXTS, 3);
    assert_true(ll_dmarc_report_is_row(ll_buf_slice(&many)));
    texts(&many, good_row + LL_DMARC_ROW_TEXTS, 1);
    assert_false(ll_dmarc_report_is_row(ll_buf_slice(&many)));
    texts(&many, good_row + LL_DMARC_ROW_TEXTS + 1, 2);
    assert_false(ll_dmarc_report_is_row(ll_buf_slice(&many))); /* n + 1 signatures */
    assert_true(ll_dmarc_record_parse(
        LL_LIT("v=DMARC1; p=reject; sp=none; adkim=s; t=y; fo=0:s; ruf=mailto:x@a.test"), &record));
    ll_dmarc_report_policy(&record, &policy);
    assert_true(ll_dmarc_report_is_policy(ll_buf_slice(&policy)));
    assert_false(ll_dmarc_report_is_policy(ll_buf_slice(&row)));
    ll_buf_release(&row);
    ll_buf_release(&many);
    ll_buf_release(&policy);
}

static bool holds(const struct ll_buf *b, const char *text)
{
    return ll_slice_search(ll_buf_slice(b), ll_slice_str(text)) < b->n;
}

static void written(void **state)
{
    static const char *const policy[] = {"reject", "none", "none", "0:s", "s", "r", "y"};
    static const char *const hostile[] = {"<x>&\"",         "none", "fail", "fail", "local_policy",
                                          "a\x01\x1b.test", "\xff", "",     "none"};
    struct ll_buf row = LL_BUF(4096), bad = LL_BUF(4096), list = LL_BUF(4096), out = LL_BUF(65536);
    struct ll_dmarc_report r = {.org = LL_LIT("mx.test"),
                                .email = LL_LIT("p@mx.test"),
                                .id = LL_LIT("id"),
                                .generator = LL_LIT("g"),
                                .begin = 86400,
                                .end = 172799,
                                .domain = LL_LIT("a.test")};

    (void)state;
    texts(&list, policy, LL_COUNT(policy));
    texts(&row, good_row, LL_COUNT(good_row));
    texts(&bad, hostile, LL_COUNT(hostile));
    r.policy = ll_buf_slice(&list);
    ll_dmarc_report_begin(&r, &out);
    ll_dmarc_report_row(ll_buf_slice(&row), 7, &out);
    ll_dmarc_report_row(ll_buf_slice(&bad), 1, &out);
    ll_dmarc_report_end(&out);
    assert_false(out.failed);
    assert_true(holds(&out, "<begin>86400</begin>\n<end>172799</end>\n"));
    assert_true(holds(&out, "<p>reject</p>\n<sp>none</sp>\n<np>none</np>\n<fo>0:s</fo>\n"
                            "<adkim>s</adkim>\n<aspf>r</aspf>\n<testing>y</testing>\n"));
    assert_true(holds(&out, "<source_ip>192.0.2.1</source_ip>\n<count>7</count>\n"));
    assert_true(holds(&out, "<dkim>\n<domain>e.test</domain>\n<selector>s2</selector>\n"
                            "<result>pass</result>\n</dkim>\n<spf>\n"));
    assert_true(holds(&out, "<source_ip>&lt;x&gt;&amp;\"</source_ip>"));
    assert_true(holds(&out, "<reason>\n<type>local_policy</type>\n</reason>\n"));
    assert_true(holds(&out, "<header_from>a??.test</header_from>\n<envelope_from>?<"));
    ll_buf_release(&row);
    ll_buf_release(&bad);
    ll_buf_release(&list);
    ll_buf_release(&out);
}

static void mailto(void **state)
{
    static const struct {
        const char *uri, *address; /* NULL: none */
    } uris[] = {
        {"mailto:a@b.test", "a@b.test"},
        {"MAILTO:a%2Bx@b.test?subject=x", "a+x@b.test"},
        {"mailto:a%40c@b.test", "a@c@b.test"},
        {"https://b.test/a@b.test", NULL},
        {"mailto:", NULL},
        {"mailto:@b.test", NULL},
        {"mailto:a@", NULL},
        {"mailto:a%0d%0aBcc:x@b.test", NULL},
        {"mailto:a%2@b.test", NULL},
        {"mailto:a%zz@b.test", NULL},
        {"mailto:a%2cb@b.test", NULL},
        {"mailto:a b@b.test", NULL},
    };
    struct ll_buf out = LL_BUF(256);

    (void)state;
    for (size_t i = 0; i < LL_COUNT(uris); i++) {
        ll_buf_clear(&out);
        assert_int_equal(ll_dmarc_report_mailto(ll_slice_str(uris[i].uri), &out),
                         uris[i].address != NULL);
        assert_true(ll_slice_eq(ll_buf_slice(&out), ll_slice_str(uris[i].address)));
    }
    ll_buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists),
        cmocka_unit_test(written),
        cmocka_unit_test(mailto),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
