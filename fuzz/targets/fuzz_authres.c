/*
 * Authentication-Results: a field body is parsed, asked for its payload, and stripped out of a
 * header. What parses has an authserv-id; what claims our name never stays.
 */
#include <stdint.h>
#include <stdlib.h>

#include "letterlock/authres.h"

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ll_slice in = ll_slice(data, size), us = LL_LIT("mx.example"), id, rest;
    struct ll_buf out = LL_BUF(4 << 20), again = LL_BUF(4 << 20);
    struct ll_arena arena;
    struct ll_authres a;
    unsigned removed = 0, more = 1;
    size_t at;

    ll_arena_init(&arena, 8 << 20);
    if (ll_authres_parse(in, &arena, &a, &at)) {
        CHECK(at == size && a.results <= LL_AUTHRES_RESULTS_MAX);
        ll_authres_payload(in, &out);
        if (ll_authres_id(in, &arena, &id, &rest) && ll_slice_eq(id, us))
            CHECK(ll_authres_claims(in, us));
        for (size_t i = 0; i < a.results; i++)
            CHECK(a.result[i].method.n > 0 && a.result[i].result.n > 0);
    }
    CHECK(at <= size);
    ll_buf_clear(&out);
    CHECK(ll_authres_strip(in, &us, 1, &out, &removed));
    if (removed > 0) {
        CHECK(out.n < size);
        CHECK(ll_authres_strip(ll_buf_slice(&out), &us, 1, &again, &more) && more == 0);
    }
    ll_arena_release(&arena);
    ll_buf_release(&out);
    ll_buf_release(&again);
    return 0;
}
