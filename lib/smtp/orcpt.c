/* ORCPT: the address that the sender wrote (RFC 3461 4.2, RFC 6533 3). See
 * include/letterlock/smtp.h. */
#include "letterlock/smtp.h"

#include <string.h>

#define HEX_MAX 6 /* digits of HEXPOINT */

bool ll_orcpt_utf8(struct ll_slice v)
{
    return ll_slice_caseeq(ll_slice_cut(v, 0, ll_slice_find(v, ';')), LL_LIT("utf-8"));
}

/* HEXPOINT: what must be written so, and what may: SP, '+', '=', '\' and all beyond ASCII that is
 * no control. */
static bool point_ok(uint32_t v)
{
    if (v < 0x80)
        return v == ' ' || v == '+' || v == '=' || v == '\\';
    return v >= 0xa0 && v <= 0x10ffff && !(v >= 0xd800 && v <= 0xdfff);
}

/* The octets of "\x{HEXPOINT}" at the start of s, and what it stands for; 0: there is none. */
static size_t embedded(struct ll_slice s, uint32_t *ret)
{
    uint32_t v = 0;
    size_t i = 3;

    if (!ll_slice_starts(s, LL_LIT("\\x{")))
        return 0;
    for (; i < s.n && i < 3 + HEX_MAX && s.p[i] != '}'; i++) {
        if (ll_is_digit(s.p[i]))
            v = v * 16 + (s.p[i] - '0');
        else if (s.p[i] >= 'A' && s.p[i] <= 'F')
            v = v * 16 + (s.p[i] - 'A' + 10u);
        else
            return 0;
    }
    *ret = v;
    return i >= 5 && i < s.n && s.p[i] == '}' && point_ok(v) ? i + 1 : 0;
}

/* QCHAR is an octet that stands for itself; QUCHAR (raw) is UTF-8 besides. */
static bool unitext_ok(struct ll_slice s, bool raw)
{
    if (!ll_utf8_valid(s))
        return false;
    for (size_t i = 0; i < s.n;) {
        uint8_t c = s.p[i];
        uint32_t point;
        size_t n = c == '\\' ? embedded(ll_slice_skip(s, i), &point) : 1;

        if (n == 0 || c == '+' || c == '=' || (c <= 0x7f && !ll_is_print(c)) || c == ' ')
            return false;
        if (c > 0x7f && (!raw || (c == 0xc2 && s.p[i + 1] < 0xa0))) /* a C1 control */
            return false;
        i += n;
    }
    return true;
}

bool ll_orcpt_ok(struct ll_slice v, bool utf8)
{
    size_t colon = ll_slice_find(v, ';');
    struct ll_slice address = ll_slice_skip(v, colon + 1);
    struct ll_buf out = LL_BUF(LL_SMTP_ORCPT_MAX);
    bool ok;

    if (v.n > LL_SMTP_ORCPT_MAX || colon == 0 || address.n == 0)
        return false;
    for (size_t i = 0; i < colon; i++)
        if (!ll_is_alnum(v.p[i]) && v.p[i] != '-')
            return false;
    ok = ll_orcpt_utf8(v) ? unitext_ok(address, utf8) : ll_xtext_decode(address, &out);
    ll_buf_release(&out);
    return ok;
}

void ll_orcpt_ascii_put(struct ll_buf *out, struct ll_slice v)
{
    for (size_t i = 0; i < v.n;) {
        uint8_t lead = v.p[i];
        size_t n = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
        uint32_t point = n == 1 ? lead : lead & (0xffu >> (n + 1));

        if (n > v.n - i)
            return;
        for (size_t k = 1; k < n; k++)
            point = point << 6 | (v.p[i + k] & 0x3fu);
        if (n == 1)
            ll_buf_putc(out, lead);
        else
            ll_buf_printf(out, "\\x{%02X}", (unsigned)point);
        i += n;
    }
}

static void put_point(struct ll_buf *out, uint32_t v)
{
    if (v < 0x80) {
        ll_buf_putc(out, (uint8_t)v);
        return;
    }
    if (v < 0x800) {
        ll_buf_putc(out, (uint8_t)(0xc0 | v >> 6));
    } else {
        if (v < 0x10000) {
            ll_buf_putc(out, (uint8_t)(0xe0 | v >> 12));
        } else {
            ll_buf_putc(out, (uint8_t)(0xf0 | v >> 18));
            ll_buf_putc(out, (uint8_t)(0x80 | (v >> 12 & 0x3f)));
        }
        ll_buf_putc(out, (uint8_t)(0x80 | (v >> 6 & 0x3f)));
    }
    ll_buf_putc(out, (uint8_t)(0x80 | (v & 0x3f)));
}

void ll_orcpt_utf8_put(struct ll_buf *out, struct ll_slice v)
{
    while (v.n > 0) {
        uint32_t point = v.p[0];
        size_t n = v.p[0] == '\\' ? embedded(v, &point) : 0;

        if (n > 0)
            put_point(out, point);
        else
            ll_buf_putc(out, v.p[0]);
        v = ll_slice_skip(v, n > 0 ? n : 1);
    }
}
