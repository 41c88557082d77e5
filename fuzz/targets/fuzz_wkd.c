/*
 * What a Web Key Directory answers, which is octets that a stranger's server chose: read as keys,
 * cut down to the address that was asked for, described and written again. What is left speaks for
 * that address alone.
 */
#include <stdint.h>
#include <stdlib.h>

#include "letterlock/pgp.h"
#include "letterlock/wkd.h"

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void cut_down(struct ll_pgp *ring, struct ll_slice print, struct ll_arena *arena)
{
    const struct ll_slice ann = LL_LIT("ann@alpha.test");
    struct ll_buf out = LL_BUF(1 << 20);
    struct ll_pgp_key k;

    if (ll_pgp_keep_address(ring, print, ann, 2000000000) == LL_SEAL_OK &&
        ll_pgp_key(ring, print, 2000000000, arena, &k) == LL_SEAL_OK) {
        CHECK(k.n_user_id > 0);
        for (size_t i = 0; i < k.n_user_id; i++)
            CHECK(ll_slice_caseeq(k.user_id[i].address, ann));
        ll_pgp_export(ring, print, LL_PGP_PUBLIC, false, LL_LIT(""), &out);
    }
    ll_buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ll_pgp *ring = ll_pgp_new();
    struct ll_slice *prints;
    struct ll_arena arena;
    size_t n = 0;

    if (!ring || size > LL_WKD_KEY_MAX) {
        ll_pgp_free(ring);
        return 0;
    }
    ll_arena_init(&arena, 16 << 20);
    if (ll_pgp_import(ring, ll_slice(data, size), 2000000000, &arena, &prints, &n) == LL_SEAL_OK)
        for (size_t i = 0; i < n; i++)
            cut_down(ring, prints[i], &arena);
    ll_arena_release(&arena);
    ll_pgp_free(ring);
    return 0;
}
