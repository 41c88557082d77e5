/* Reply parser: the same whole and octet by octet; text is clean; what we build parses back. */
#include <stdlib.h>

#include "letterlock/smtp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ll_smtp_reply a = {0};
    struct ll_smtp_reply b = {0};
    struct ll_slice in = ll_slice(data, size);
    size_t taken = 0;
    size_t whole;

    whole = ll_smtp_reply_feed(&a, in);
    while (taken < size && !b.done && !b.bad)
        taken += ll_smtp_reply_feed(&b, ll_slice(data + taken, 1));
    must(a.done == b.done && a.bad == b.bad);
    if (a.done) {
        must(whole == taken && a.code == b.code && a.lines == b.lines);
        must(ll_slice_eq(ll_buf_slice(&a.text), ll_buf_slice(&b.text)));
        must(a.code >= 200 && a.code <= 599);
        for (size_t i = 0; i < a.text.n; i++)
            must(ll_is_print(a.text.p[i]) || a.text.p[i] == '\n');
    }
    ll_smtp_reply_release(&a);
    ll_smtp_reply_release(&b);

    struct ll_buf out = LL_BUF(1 << 20);
    if (size < 4096) {
        size_t lines = 1 + size / 400;

        for (size_t i = 0; i < size; i++)
            lines += data[i] == '\n';
        ll_smtp_reply_put(&out, 550, size % 2 ? "5.7.1" : NULL, in);
        ll_smtp_reply_feed(&a, ll_buf_slice(&out));
        must(a.done || lines > LL_SMTP_REPLY_LINES);
    }
    ll_smtp_reply_release(&a);
    ll_buf_release(&out);
    return 0;
}
