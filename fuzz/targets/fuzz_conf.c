/* The configuration as a child gets it from super. What is taken must encode to the same octets. */
#include "io/conf.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ll_conf *c = ll_conf_decode(ll_slice(data, size));
    struct ll_buf out = LL_BUF(size + 1);

    if (c) {
        ll_conf_encode(c, &out);
        if (out.failed || !ll_slice_eq(ll_buf_slice(&out), ll_slice(data, size)))
            abort();
        ll_conf_domain(c, LL_LIT("a.test"));
        ll_conf_route(c, LL_LIT("a.test"));
    }
    ll_conf_free(c);
    ll_buf_release(&out);
    return 0;
}
