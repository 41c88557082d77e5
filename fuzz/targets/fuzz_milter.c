/*
 * Milter: a stream is read whole and in pieces; both give the same messages. What is read is
 * written, and reads the same again.
 */
#include <stdint.h>
#include <stdlib.h>

#include "letterlock/milter.h"

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum ll_milter_got read_all(struct ll_slice in, size_t piece, struct ll_buf *out)
{
    enum ll_milter_got got = LL_MILTER_MORE;
    struct ll_milter_reader r;
    struct ll_milter_msg m;

    ll_milter_reader_init(&r, LL_MILTER_FRAME_MAX);
    while (in.n > 0 && got != LL_MILTER_BAD) {
        struct ll_slice part = ll_slice_cut(in, 0, piece);

        in = ll_slice_skip(in, part.n);
        while ((got = ll_milter_read(&r, &part, &m)) == LL_MILTER_MSG) {
            struct ll_slice value;

            ll_milter_put(&m, out);
            CHECK(!out->failed);
            if (m.type == LL_MILTER_MACRO)
                ll_milter_macro(&m, LL_LIT("{auth_authen}"), &value);
            ll_milter_answers(m.type, m.options.steps);
        }
        CHECK(got == LL_MILTER_BAD || part.n == 0);
    }
    ll_milter_reader_release(&r);
    return got;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ll_buf a = LL_BUF(16 << 20), b = LL_BUF(16 << 20), c = LL_BUF(16 << 20);
    struct ll_slice in = ll_slice(data, size);
    enum ll_milter_got got = read_all(in, size ? size : 1, &a);

    CHECK(read_all(in, 3, &b) == got);
    CHECK(ll_slice_eq(ll_buf_slice(&a), ll_buf_slice(&b)));
    CHECK(read_all(ll_buf_slice(&a), 1 << 20, &c) == LL_MILTER_MORE);
    CHECK(ll_slice_eq(ll_buf_slice(&a), ll_buf_slice(&c)));
    ll_buf_release(&a);
    ll_buf_release(&b);
    ll_buf_release(&c);
    return 0;
}
