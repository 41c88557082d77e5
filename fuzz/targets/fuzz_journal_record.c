/*
 * The journal's records. The first octet chooses: as it is, or with its checksums made right, so
 * that the fuzzer reaches what lies behind them. What decodes encodes again, and reads the same.
 */
#include <stdlib.h>

#include "letterlock/spool.h"

#define GENERATION 0x1122334455667788u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct ll_slice meta, uint64_t generation)
{
    struct ll_arena arena;
    struct ll_letter l, back;
    struct ll_buf out = LL_BUF(8u << 20);
    struct ll_record_head h;

    ll_arena_init(&arena, 1u << 20);
    if (ll_record_decode(meta, generation, &arena, &l)) {
        if (l.n_rcpt == 0 || l.n_rcpt > LL_SPOOL_RCPTS_MAX)
            abort();
        if (l.body_length > 0 && !l.body_file)
            l.body = ll_slice(calloc(1, l.body_length), l.body_length);
        ll_record_encode(&l, generation, 7, &out);
        if (out.failed || !ll_record_head_decode(ll_buf_slice(&out), &h) ||
            !ll_record_decode(
                ll_slice_cut(ll_buf_slice(&out), 0, LL_RECORD_HEAD + (size_t)h.meta_length),
                generation, &arena, &back) ||
            back.n_rcpt != l.n_rcpt || !ll_slice_eq(back.facts, l.facts) ||
            !ll_slice_eq(back.rcpt[l.n_rcpt - 1].address, l.rcpt[l.n_rcpt - 1].address))
            abort();
        if (l.body.n)
            free((void *)(uintptr_t)l.body.p);
    }
    ll_buf_release(&out);
    ll_arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ll_segment_head sh;
    struct ll_record_head h;
    uint8_t *copy;

    if (size < 1)
        return 0;
    ll_segment_head_decode(ll_slice(data + 1, size - 1), &sh);
    if (!ll_record_head_decode(ll_slice(data + 1, size - 1), &h))
        return 0;
    if (data[0] & 1 && size - 1 >= LL_RECORD_HEAD + (size_t)h.meta_length + LL_RECORD_END) {
        copy = malloc(size - 1);
        if (!copy)
            return 0;
        memcpy(copy, data + 1, size - 1);
        ll_record_rebind(copy, size - 1, GENERATION);
        check(ll_slice(copy, LL_RECORD_HEAD + (size_t)h.meta_length), GENERATION);
        free(copy);
        return 0;
    }
    check(ll_slice(data + 1, size - 1), GENERATION);
    return 0;
}
