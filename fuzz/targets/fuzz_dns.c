/*
 * DNS: the first octet chooses what the rest is: an encoded answer, a message, or RDATA for every
 * view. What decodes is encoded again and must decode to the same.
 */
#include <stdint.h>
#include <stdlib.h>

#include "letterlock/dns.h"

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void views(struct ll_slice in)
{
    struct ll_buf text = LL_BUF(1 << 16);
    struct ll_dns_mx mx;
    struct ll_dns_tlsa tlsa;
    struct ll_dns_name name, again;
    uint8_t address[16];

    if (ll_dns_rdata_mx(in, &mx))
        CHECK(ll_dns_name_parse(ll_dns_name_slice(&mx.host), &again) && again.n == mx.host.n);
    if (ll_dns_rdata_name(in, &name))
        CHECK(ll_dns_name_parse(ll_dns_name_slice(&name), &again) && again.n == name.n);
    if (ll_dns_rdata_tlsa(in, &tlsa))
        CHECK(tlsa.data.n + 3 == in.n);
    if (ll_dns_rdata_txt(in, &text))
        CHECK(text.n < in.n);
    ll_dns_rdata_a(in, address);
    ll_dns_rdata_aaaa(in, address);
    if (ll_dns_name_parse(in, &name))
        CHECK(name.n > 0 && ll_dns_name_eq(ll_dns_name_slice(&name), in));
    ll_buf_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ll_slice in = ll_slice_skip(ll_slice(data, size), 1);
    struct ll_dns_name name = {.n = 6, .text = "x.test"};
    struct ll_buf out = LL_BUF(LL_DNS_ANSWER_MAX);
    struct ll_dns_answer a, b;
    struct ll_arena arena;
    bool ok = false;

    if (size == 0)
        return 0;
    ll_arena_init(&arena, 4 << 20);
    if (data[0] % 3 == 0)
        ok = ll_dns_answer_decode(in, &arena, &a);
    else if (data[0] % 3 == 1)
        ok = ll_dns_packet(in, &name, data[0] & 64 ? LL_DNS_TXT : LL_DNS_MX, &arena, &a);
    else
        views(in);
    if (ok) {
        ll_dns_answer_encode(&a, &out);
        CHECK(!out.failed && ll_dns_answer_decode(ll_buf_slice(&out), &arena, &b));
        CHECK(b.status == a.status && b.ttl == a.ttl && (b.cut || b.n_rdata == a.n_rdata));
        for (size_t i = 0; i < a.n_rdata; i++)
            views(a.rdata[i]);
    }
    ll_buf_release(&out);
    ll_arena_release(&arena);
    return 0;
}
