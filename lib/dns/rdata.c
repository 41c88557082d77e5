/* See letterlock/dns.h. */
#include "lib/dns/wire.h"

void ll_dns_wire_name(struct ll_cursor *c, struct ll_dns_name *ret)
{
    struct ll_dns_name name = {.n = 0};

    for (;;) {
        uint8_t n = ll_cur_u8(c);

        if (c->failed)
            return;
        if (n == 0)
            break;
        struct ll_slice label = ll_cur_bytes(c, n);

        /* A blank is fit for a question that an SPF macro makes, not for a host. */
        if (n > 63 || ll_slice_find(label, ' ') < label.n || !ll_dns_label_add(&name, label)) {
            c->failed = true;
            return;
        }
    }
    if (name.n == 0)
        ll_dns_name_root(&name);
    *ret = name;
}

bool ll_dns_rdata_mx(struct ll_slice rdata, struct ll_dns_mx *ret)
{
    struct ll_cursor c = ll_cursor(rdata);
    struct ll_dns_mx mx;

    mx.preference = ll_cur_u16(&c);
    ll_dns_wire_name(&c, &mx.host);
    if (!ll_cur_end(&c))
        return false;
    *ret = mx;
    return true;
}

bool ll_dns_rdata_a(struct ll_slice rdata, uint8_t ret[4])
{
    if (rdata.n != 4)
        return false;
    memcpy(ret, rdata.p, 4);
    return true;
}

bool ll_dns_rdata_aaaa(struct ll_slice rdata, uint8_t ret[16])
{
    if (rdata.n != 16)
        return false;
    memcpy(ret, rdata.p, 16);
    return true;
}

bool ll_dns_rdata_name(struct ll_slice rdata, struct ll_dns_name *ret)
{
    struct ll_cursor c = ll_cursor(rdata);
    struct ll_dns_name name;

    ll_dns_wire_name(&c, &name);
    if (!ll_cur_end(&c))
        return false;
    *ret = name;
    return true;
}

bool ll_dns_rdata_txt(struct ll_slice rdata, struct ll_buf *out)
{
    struct ll_cursor c = ll_cursor(rdata);

    if (rdata.n == 0) /* RFC 1035 3.3.14: one or more strings */
        return false;
    while (ll_cur_left(&c) > 0 && !c.failed)
        ll_cur_bytes(&c, ll_cur_u8(&c));
    if (!ll_cur_end(&c))
        return false;
    c = ll_cursor(rdata);
    while (ll_cur_left(&c) > 0)
        ll_buf_put_slice(out, ll_cur_bytes(&c, ll_cur_u8(&c)));
    return !out->failed;
}

bool ll_dns_rdata_tlsa(struct ll_slice rdata, struct ll_dns_tlsa *ret)
{
    /* RFC 6698 2.1.3: 0 the whole, 1 SHA-256, 2 SHA-512 */
    static const size_t lengths[] = {0, 32, 64};
    struct ll_cursor c = ll_cursor(rdata);
    struct ll_dns_tlsa t;

    t.usage = ll_cur_u8(&c);
    t.selector = ll_cur_u8(&c);
    t.matching = ll_cur_u8(&c);
    t.data = ll_cur_bytes(&c, ll_cur_left(&c));
    if (!ll_cur_end(&c) || t.data.n == 0)
        return false;
    if (t.matching < LL_COUNT(lengths) && lengths[t.matching] && t.data.n != lengths[t.matching])
        return false;
    *ret = t;
    return true;
}
