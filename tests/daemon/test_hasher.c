#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "daemon/auth/hasher.h"
#include "io/accounts.h"

#include <event2/event.h>

struct seen {
    struct event_base *base;
    unsigned want, n;
    uint64_t good;
};

static void done(void *arg, uint64_t ticket, bool ok)
{
    struct seen *s = arg;

    if (ok)
        s->good |= 1ull << ticket;
    if (++s->n == s->want)
        event_base_loopbreak(s->base);
}

static void right_and_wrong(void **state)
{
    struct seen s = {.base = event_base_new(), .want = 5};
    struct ll_hasher *h = ll_hasher_new(s.base, done, &s);
    struct ll_slice good = LL_LIT("correct horse");
    char hash[LL_HASH_TEXT_MAX];
    uint8_t longest[LL_PASSWORD_MAX + 2] = {0};

    assert_non_null(h);
    assert_true(ll_hash_make(good, hash));
    assert_int_equal(ll_hasher_check(h, hash, good), 1);
    assert_int_equal(ll_hasher_check(h, hash, LL_LIT("wrong horse")), 2);
    assert_int_equal(ll_hasher_check(h, NULL, good), 3); /* unknown user: the same work */
    assert_int_equal(ll_hasher_check(h, hash, good), 4);
    assert_int_equal(ll_hasher_check(h, hash, ll_slice(longest, sizeof(longest))), 5);
    assert_int_equal(ll_hasher_count(h), 5);
    event_base_dispatch(s.base);
    assert_int_equal(s.n, 5);
    assert_int_equal(s.good, 1u << 1 | 1u << 4);
    ll_hasher_free(h);
    event_base_free(s.base);
}

static void bounded(void **state)
{
    struct seen s = {.base = event_base_new(), .want = LL_HASHER_WAITING + LL_HASHER_THREADS};
    struct ll_hasher *h = ll_hasher_new(s.base, done, &s);

    for (unsigned i = 0; i < s.want; i++)
        assert_true(ll_hasher_check(h, NULL, LL_LIT("guess")) != 0);
    assert_int_equal(ll_hasher_check(h, NULL, LL_LIT("guess")), 0); /* done is not called for it */
    event_base_dispatch(s.base);
    assert_int_equal(s.n, s.want);
    assert_true(ll_hasher_check(h, NULL, LL_LIT("guess")) != 0);
    ll_hasher_free(h); /* while it works */
    event_base_free(s.base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(right_and_wrong),
                                       cmocka_unit_test(bounded)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
