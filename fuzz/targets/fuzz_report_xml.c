/* An aggregate report's XML: the same whole and in two parts. */
#include "fuzz/targets/fuzz_report.h"

static enum ll_report_error read_in(struct ll_slice in, size_t cut, struct ll_buf *out)
{
    struct ll_report_marks marks = {.out = out};
    struct ll_report_xml *x = ll_report_xml_new(&marks);
    enum ll_report_error e;

    CHECK(x);
    e = ll_report_xml_feed(x, ll_slice_cut(in, 0, cut), false);
    if (e == LL_REPORT_OK)
        e = ll_report_xml_feed(x, ll_slice_skip(in, cut), true);
    ll_report_xml_free(x);
    return e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ll_buf a = LL_BUF(LL_REPORT_MARKS_MAX), b = LL_BUF(LL_REPORT_MARKS_MAX);
    struct ll_slice in = ll_slice(data, size);
    enum ll_report_error whole = read_in(in, size, &a), parts = read_in(in, size / 2, &b);

    CHECK((whole == LL_REPORT_OK) == (parts == LL_REPORT_OK));
    CHECK(whole != LL_REPORT_OK || ll_slice_eq(ll_buf_slice(&a), ll_buf_slice(&b)));
    check_marks(whole, &a);
    ll_buf_release(&a);
    ll_buf_release(&b);
    return 0;
}
