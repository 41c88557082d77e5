/* Failure reports: the input is a letter's header, of which nobody's name, address or subject may
 * come out; and the same octets as everything that a stranger chooses in the part for programs. */
#include "letterlock/dmarc_failure.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x))                                                                                  \
            abort();                                                                               \
    } while (0)

/* Whole lines of printable ASCII, and no local part but ours. */
static void check_lines(struct ll_slice s)
{
    struct ll_slice line;

    while (s.n > 0 && ll_slice_next(&s, '\n', &line)) {
        CHECK(line.n > 1 && line.p[line.n - 1] == '\r' && line.n <= 999);
        for (size_t i = 0; i + 1 < line.n; i++)
            CHECK(ll_is_print(line.p[i]) || (i == 0 && line.p[i] == '\t'));
        if (ll_slice_starts(line, LL_LIT("From: ")))
            CHECK(ll_slice_starts(ll_slice_skip(line, 6), LL_LIT("redacted")) ||
                  ll_slice_starts(ll_slice_skip(line, 6), LL_LIT("<redacted@")));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ll_slice in = ll_slice(data, size), rest = in, part[6];
    struct ll_buf out = LL_BUF(LL_DMARC_HEADER_MAX), fields = LL_BUF(LL_DMARC_FEEDBACK_MAX);
    struct ll_spf_result spf = {.code = LL_SPF_FAIL};
    struct ll_dkim_result dkim = {.fault = LL_DKIM_FAULT_BODY};
    struct ll_dmarc_result dmarc = {.code = LL_DMARC_FAIL};
    struct ll_dmarc_failure f = {.delivery = "other", .spf = &spf, .dkim = &dkim, .n_dkim = 1};

    if (ll_dmarc_failure_header(in, &out))
        check_lines(ll_buf_slice(&out));
    for (size_t i = 0; i < LL_COUNT(part); i++)
        if (!ll_slice_next(&rest, '\n', &part[i]))
            part[i] = LL_LIT("x");
    dmarc.record.fo = size > 0 ? data[0] : 1;
    dmarc.author = f.authserv_id = part[0];
    spf.record = part[1];
    spf.from = spf.domain = part[2];
    dkim.domain = dkim.selector = part[3];
    dkim.identity = part[4];
    f.mail_from = f.hostname = f.source = part[5];
    f.dmarc = &dmarc;
    if (ll_dmarc_failure_wanted(&f, in) && ll_dmarc_failure_feedback(&f, &fields))
        check_lines(ll_buf_slice(&fields));
    ll_buf_release(&out);
    ll_buf_release(&fields);
    return 0;
}
