/* A letter with a report in it, aggregate or failure. */
#include "fuzz/targets/fuzz_report.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ll_buf out = LL_BUF(LL_REPORT_MARKS_MAX);
    struct ll_report_marks marks = {.out = &out};
    uint64_t line = 0;

    check_marks(ll_report_parse(ll_slice(data, size), &marks, &line), &out);
    ll_buf_release(&out);
    return 0;
}
