/* What the tests of spf share: an evaluation against a zone of rows. */
#ifndef LL_TESTS_LIB_SPF_RUN_H
#define LL_TESTS_LIB_SPF_RUN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "letterlock/spf.h"
#include "tests/lib/zone.h"

#define A    LL_DNS_A
#define AAAA LL_DNS_AAAA
#define MX   LL_DNS_MX
#define PTR  LL_DNS_PTR
#define TXT  LL_DNS_TXT

struct ask {
    const char *ip, *from, *helo;
};

/* Runs it; the result's slices live until ll_spf_free. */
static inline struct ll_spf *run(const struct zone_row *rows, struct ask ask, unsigned *ret_asked,
                                 struct ll_spf_result *ret)
{
    struct ll_spf_check c = {.helo = ll_slice_str(ask.helo), .mail_from = ll_slice_str(ask.from)};
    struct zone z = {.rows = rows, .rdata = LL_BUF(1 << 20)};
    struct ll_dns_answer dns;
    struct ll_need need;
    struct ll_spf *s;

    c.ip_n = ll_ipv4_parse(ll_slice_str(ask.ip), c.ip) ? 4 : 16;
    assert_true(c.ip_n == 4 || ll_ipv6_parse(ll_slice_str(ask.ip), c.ip));
    s = ll_spf_new(&c);
    assert_non_null(s);
    while (ll_spf_need(s, &need)) {
        struct ll_need_answer a = {.id = need.id, .dns = &dns};
        struct ll_need_answer other = {.id = need.id + 1, .dns = &dns};

        assert_false(ll_spf_result(s, ret));
        assert_false(ll_spf_need(s, &need)); /* one at a time */
        zone_answer(&z, &need, &dns);
        ll_spf_answer(s, &other); /* nobody asked that */
        ll_spf_answer(s, &a);
        ll_spf_answer(s, &a);
        assert_true(z.asked <= LL_SPF_NEEDS_MAX);
    }
    assert_true(ll_spf_result(s, ret));
    assert_int_equal(ret->needs, z.asked);
    *ret_asked = z.asked;
    ll_buf_release(&z.rdata);
    return s;
}

#endif
