/* What the tests of lib/pgp share: a ring, an arena, and short calls. */
#ifndef LETTERLOCK_TESTS_LIB_PGP_WORLD_H
#define LETTERLOCK_TESTS_LIB_PGP_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "letterlock/pgp.h"

#define NOW 1700000000 /* 2023-11-14 */
#define DAY 86400

#define SLICE(s)              ll_slice_str(s)
#define NOTHING               ll_slice(NULL, 0)
#define TEXT(buf)             ll_buf_slice(&(buf))
#define BUF                   LL_BUF(64 << 20)
#define assert_ok(e)          assert_string_equal(ll_seal_error_text(e), ll_seal_error_text(LL_SEAL_OK))
#define assert_error(e, want) assert_string_equal(ll_seal_error_text(e), ll_seal_error_text(want))
#define assert_text(slice, s)                                                                      \
    do {                                                                                           \
        assert_int_equal((slice).n, strlen(s));                                                    \
        assert_memory_equal((slice).p, s, strlen(s));                                              \
    } while (0)

/* A key made in a ring. */
static inline struct ll_slice make(struct ll_pgp *ring, struct ll_arena *arena, const char *user_id)
{
    struct ll_slice fingerprint = NOTHING;

    assert_ok(ll_pgp_generate(ring, SLICE(user_id), NOTHING, NOW, 0, arena, &fingerprint));
    assert_int_equal(fingerprint.n, 40);
    return fingerprint;
}

/* Copies a key, or its public part, from one ring to another. */
static inline void give(struct ll_pgp *from, struct ll_pgp *to, struct ll_slice fingerprint,
                        enum ll_pgp_form form, int64_t now, struct ll_arena *arena)
{
    struct ll_buf octets = BUF;
    struct ll_slice *list;
    size_t n = 0;

    assert_ok(ll_pgp_export(from, fingerprint, form, false, NOTHING, &octets));
    assert_ok(ll_pgp_import(to, TEXT(octets), now, arena, &list, &n));
    assert_int_equal(n, 1);
    assert_true(ll_slice_eq(list[0], fingerprint));
    ll_buf_release(&octets);
}

#endif
