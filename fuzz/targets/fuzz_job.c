/* Jobs and results. What decodes encodes to the same octets. */
#include <stdlib.h>

#include "letterlock/spool.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ll_slice in = ll_slice(data, size);
    struct ll_buf out = LL_BUF(1u << 20);
    struct ll_job_result result;
    struct ll_arena arena;
    struct ll_job job;

    ll_arena_init(&arena, 1u << 20);
    if (ll_job_decode(in, &arena, &job)) {
        ll_job_encode(&job, &out);
        if (out.failed || !ll_slice_eq(ll_buf_slice(&out), in))
            abort();
    }
    ll_buf_clear(&out);
    if (ll_job_result_decode(in, &arena, &result)) {
        ll_job_result_encode(&result, &out);
        if (out.failed || !ll_slice_eq(ll_buf_slice(&out), in))
            abort();
    }
    ll_buf_release(&out);
    ll_arena_release(&arena);
    return 0;
}
