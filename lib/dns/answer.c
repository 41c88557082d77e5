/*
 * See letterlock/dns.h. An encoded answer, big-endian:
 *
 *   u8 status   u8 flags (1 secure, 2 cut)   u16 type   u32 ttl
 *   str16 canonical   str16 why   u16 count   count times: str16 rdata
 */
#include "letterlock/dns.h"

#define FLAG_SECURE 1
#define FLAG_CUT    2

/* How many records fit: computed first, since the count stands before them. */
static size_t records_that_fit(const struct ll_dns_answer *a, size_t used)
{
    size_t n = a->n_rdata < LL_DNS_RECORDS_MAX ? a->n_rdata : LL_DNS_RECORDS_MAX;
    size_t i;

    for (i = 0; i < n; i++) {
        if (a->rdata[i].n > LL_DNS_ANSWER_MAX || used + 2 + a->rdata[i].n > LL_DNS_ANSWER_MAX)
            break;
        used += 2 + a->rdata[i].n;
    }
    return i;
}

void ll_dns_answer_encode(const struct ll_dns_answer *a, struct ll_buf *out)
{
    struct ll_slice canonical = ll_slice_cut(a->canonical, 0, LL_DNS_NAME_MAX);
    struct ll_slice why = ll_slice_cut(a->why, 0, LL_DNS_WHY_MAX);
    size_t n = records_that_fit(a, 14 + canonical.n + why.n);
    bool cut = a->cut || n < a->n_rdata;

    ll_buf_u8(out, a->status);
    ll_buf_u8(out, (uint8_t)((a->secure ? FLAG_SECURE : 0) | (cut ? FLAG_CUT : 0)));
    ll_buf_u16(out, a->type);
    ll_buf_u32(out, a->ttl);
    ll_buf_str16(out, canonical);
    ll_buf_str16(out, why);
    ll_buf_u16(out, (uint16_t)n);
    for (size_t i = 0; i < n; i++)
        ll_buf_str16(out, a->rdata[i]);
}

bool ll_dns_answer_decode(struct ll_slice in, struct ll_arena *arena, struct ll_dns_answer *ret)
{
    struct ll_cursor c = ll_cursor(in);
    struct ll_dns_answer a = {.status = ll_cur_u8(&c)};
    uint8_t flags = ll_cur_u8(&c);

    a.secure = flags & FLAG_SECURE;
    a.cut = flags & FLAG_CUT;
    a.type = ll_cur_u16(&c);
    a.ttl = ll_cur_u32(&c);
    a.canonical = ll_cur_str16(&c);
    a.why = ll_cur_str16(&c);
    a.n_rdata = ll_cur_u16(&c);
    if (c.failed || (flags & ~(FLAG_SECURE | FLAG_CUT)) || a.status > LL_DNS_STATUS_BOGUS ||
        a.canonical.n > LL_DNS_NAME_MAX || a.why.n > LL_DNS_WHY_MAX ||
        a.n_rdata > LL_DNS_RECORDS_MAX || in.n > LL_DNS_ANSWER_MAX)
        return false;
    if ((a.n_rdata > 0) != (a.status == LL_DNS_STATUS_OK))
        return false;
    if (a.n_rdata > 0) {
        a.rdata = ll_arena_alloc(arena, a.n_rdata * sizeof(a.rdata[0]));
        if (!a.rdata)
            return false;
    }
    for (size_t i = 0; i < a.n_rdata; i++)
        a.rdata[i] = ll_cur_str16(&c);
    if (!ll_cur_end(&c))
        return false;
    *ret = a;
    return true;
}
