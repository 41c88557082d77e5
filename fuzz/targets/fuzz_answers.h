/*
 * fuzz_answers: scripted DNS for fuzz targets of engines that ask. Each question takes the next
 * line of the input: "!" nothing has that name, "?" no answer, else data: texts, or hosts divided
 * by blanks; for addresses each octet of the line is one address of the net 192.0.2.0/24.
 */
#ifndef LL_FUZZ_ANSWERS_H
#define LL_FUZZ_ANSWERS_H

#include "letterlock/need.h"

#include <stdlib.h>

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            abort();                                                                               \
    } while (0)

#define ANSWERS_MAX 16 /* records of one */

struct answers {
    struct ll_slice rest;
    struct ll_buf rdata;
    struct ll_slice at[ANSWERS_MAX];
};

static inline void answers_put(struct ll_buf *out, uint16_t type, struct ll_slice word)
{
    struct ll_slice label;

    if (type == LL_DNS_TXT) {
        for (;; word = ll_slice_skip(word, 255)) {
            label = ll_slice_cut(word, 0, 255);
            ll_buf_u8(out, (uint8_t)label.n);
            ll_buf_put_slice(out, label);
            if (word.n <= 255)
                return;
        }
    }
    if (type == LL_DNS_MX)
        ll_buf_u16(out, 10);
    while (ll_slice_next(&word, '.', &label)) {
        ll_buf_u8(out, (uint8_t)label.n);
        ll_buf_put_slice(out, label);
    }
    ll_buf_u8(out, 0);
}

static inline void answers_next(struct answers *s, const struct ll_need *need,
                                struct ll_dns_answer *ret)
{
    static const uint8_t net[16] = {192, 0, 2};
    struct ll_slice line, part;
    size_t from[ANSWERS_MAX + 1], n = 0;
    size_t octets = need->dns.type == LL_DNS_A ? 4 : need->dns.type == LL_DNS_AAAA ? 16 : 0;

    *ret = (struct ll_dns_answer){.status = LL_DNS_STATUS_NXDOMAIN, .type = need->dns.type};
    ll_buf_release(&s->rdata);
    ll_buf_init(&s->rdata, 1 << 20);
    if (!ll_slice_next(&s->rest, '\n', &line) || (line.n == 1 && line.p[0] == '!'))
        return;
    if (line.n == 1 && line.p[0] == '?') {
        ret->status = LL_DNS_STATUS_TIMEOUT;
        return;
    }
    for (size_t i = 0; octets && i < line.n && n < ANSWERS_MAX; i++) {
        from[n++] = s->rdata.n;
        ll_buf_put(&s->rdata, net, octets - 1);
        ll_buf_u8(&s->rdata, line.p[i]);
    }
    while (!octets && n < ANSWERS_MAX &&
           ll_slice_next(&line, need->dns.type == LL_DNS_TXT ? '\t' : ' ', &part)) {
        from[n++] = s->rdata.n;
        answers_put(&s->rdata, need->dns.type, part);
    }
    from[n] = s->rdata.n;
    for (size_t i = 0; i < n; i++)
        s->at[i] = ll_slice_cut(ll_buf_slice(&s->rdata), from[i], from[i + 1]);
    ret->status = n ? LL_DNS_STATUS_OK : LL_DNS_STATUS_NODATA;
    ret->rdata = s->at;
    ret->n_rdata = n;
}

#endif
