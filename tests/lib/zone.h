/*
 * zone: DNS for unit tests of engines that ask through `need`: rows in, answers out, questions
 * counted.
 */
#ifndef LL_TESTS_LIB_ZONE_H
#define LL_TESTS_LIB_ZONE_H

#include "letterlock/addr.h"
#include "letterlock/need.h"

struct zone_row {
    const char *name; /* lower case; NULL ends the zone */
    uint16_t type;
    const char *data; /* address, "10 host", host, text; "!servfail" and so on: that status */
};

struct zone {
    const struct zone_row *rows;
    unsigned asked;
    struct ll_buf rdata; /* of the answer that was made last */
    struct ll_slice at[LL_DNS_RECORDS_MAX];
};

static inline void zone_put_name(struct ll_buf *out, struct ll_slice name)
{
    struct ll_slice label;

    while (ll_slice_next(&name, '.', &label)) {
        if (label.n == 0)
            continue; /* "." is the root */
        ll_buf_u8(out, (uint8_t)label.n);
        ll_buf_put_slice(out, label);
    }
    ll_buf_u8(out, 0);
}

static inline void zone_put(struct ll_buf *out, uint16_t type, struct ll_slice data)
{
    uint8_t ip[16];
    uint64_t preference = 0;
    size_t blank = ll_slice_find(data, ' ');

    if (type == LL_DNS_A && ll_ipv4_parse(data, ip)) {
        ll_buf_put(out, ip, 4);
    } else if (type == LL_DNS_AAAA && ll_ipv6_parse(data, ip)) {
        ll_buf_put(out, ip, 16);
    } else if (type == LL_DNS_MX) {
        ll_slice_u64(ll_slice_cut(data, 0, blank), &preference);
        ll_buf_u16(out, (uint16_t)preference);
        zone_put_name(out, ll_slice_skip(data, blank + 1));
    } else if (type == LL_DNS_TXT) {
        do {
            struct ll_slice part = ll_slice_cut(data, 0, 255);

            ll_buf_u8(out, (uint8_t)part.n);
            ll_buf_put_slice(out, part);
            data = ll_slice_skip(data, 255);
        } while (data.n > 0);
    } else {
        zone_put_name(out, data);
    }
}

static inline bool zone_status(const char *data, uint8_t *ret)
{
    for (uint8_t i = 0; data[0] == '!' && i <= LL_DNS_STATUS_BOGUS; i++)
        if (strcmp(ll_dns_status_name(i), data + 1) == 0) {
            *ret = i;
            return true;
        }
    return false;
}

/* Answers the need out of the zone; what *ret points at holds until the next answer. */
static inline void zone_answer(struct zone *z, const struct ll_need *need,
                               struct ll_dns_answer *ret)
{
    struct ll_slice name = ll_dns_name_slice(&need->dns.name);
    size_t from[LL_DNS_RECORDS_MAX];
    struct ll_dns_answer a = {.status = LL_DNS_STATUS_NXDOMAIN, .type = need->dns.type};

    z->asked++;
    ll_buf_release(&z->rdata);
    ll_buf_init(&z->rdata, 1 << 20);
    for (const struct zone_row *r = z->rows; r->name; r++) {
        if (!ll_dns_name_under(ll_slice_str(r->name), name))
            continue;
        if (a.status == LL_DNS_STATUS_NXDOMAIN)
            a.status = LL_DNS_STATUS_NODATA;
        if (!ll_dns_name_eq(ll_slice_str(r->name), name) || r->type != need->dns.type)
            continue;
        if (zone_status(r->data, &a.status))
            break;
        from[a.n_rdata++] = z->rdata.n;
        zone_put(&z->rdata, r->type, ll_slice_str(r->data));
        a.status = LL_DNS_STATUS_OK;
    }
    for (size_t i = 0; i < a.n_rdata; i++)
        z->at[i] = ll_slice_cut(ll_buf_slice(&z->rdata), from[i],
                                i + 1 < a.n_rdata ? from[i + 1] : z->rdata.n);
    a.rdata = z->at;
    *ret = a;
}

#endif
