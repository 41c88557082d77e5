/* HTML to text: bounded, valid UTF-8 comes out, and no tag of the page does as such. */
#include <stdint.h>
#include <stdlib.h>

#include "io/html.h"

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ll_slice in = ll_slice(data, size);
    struct ll_buf out = LL_BUF(64u << 20);
    struct ll_html_facts facts;

    if (ll_html_text(in, &out, &facts)) {
        CHECK(ll_utf8_valid(in));
        CHECK(out.failed || ll_utf8_valid(ll_buf_slice(&out)));
        CHECK(out.n == 0 || out.failed || out.p[out.n - 1] == '\n');
    }
    ll_buf_release(&out);
    return 0;
}
