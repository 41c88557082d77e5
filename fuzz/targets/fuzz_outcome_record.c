/* The outcome log: whole logs, record by record. Behind each right checksum the fields are tried;
 * what decodes encodes to the same octets. */
#include <stdlib.h>

#include "letterlock/spool.h"

#define GENERATION 0x1122334455667788u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ll_slice in = ll_slice(data, size);
    struct ll_arena arena;
    uint32_t number;
    uint64_t generation;

    ll_outlog_head_decode(ll_slice_cut(in, 0, LL_OUTLOG_HEAD), &number, &generation);
    ll_arena_init(&arena, 1u << 16);
    for (int i = 0; i < 64; i++) {
        struct ll_outlog_record r;
        size_t n;

        ll_arena_release(&arena);
        n = ll_outlog_decode(in, GENERATION, &arena, &r);
        if (n > 0) {
            struct ll_buf out = LL_BUF(8192);

            ll_outlog_encode(&r, GENERATION, &out);
            if (out.failed || !ll_slice_eq(ll_buf_slice(&out), ll_slice_cut(in, 0, n)))
                abort();
            ll_buf_release(&out);
            in = ll_slice_skip(in, n);
            continue;
        }
        /* Not a sound record: make its checksum right, once. */
        if (in.n < 7 || i > 32)
            break;
        uint8_t raw[8];
        uint8_t *copy = malloc(in.n);
        size_t fields = ((size_t)in.p[4] << 8 | in.p[5]) + 7;
        uint32_t crc;

        if (!copy || fields > in.n) {
            free(copy);
            break;
        }
        memcpy(copy, in.p, in.n);
        for (int k = 0; k < 8; k++)
            raw[k] = (uint8_t)(GENERATION >> (56 - 8 * k));
        crc = ll_crc32c(ll_crc32c(0, raw, 8), copy + 4, fields - 4);
        for (int k = 0; k < 4; k++)
            copy[k] = (uint8_t)(crc >> (24 - 8 * k));
        ll_arena_release(&arena);
        ll_outlog_decode(ll_slice(copy, fields), GENERATION, &arena, &r);
        free(copy);
        in = ll_slice_skip(in, fields);
    }
    ll_arena_release(&arena);
    return 0;
}
