/* Domain names and address literals in canonical form. See include/letterlock/addr.h. */
#include "letterlock/addr.h"

#include <idn2.h>

/* ---- names --------------------------------------------------------------------------------------
 */

static bool label_ok(struct ll_slice label)
{
    if (label.n < 1 || label.n > LL_LABEL_MAX || label.p[0] == '-' || label.p[label.n - 1] == '-')
        return false;
    for (size_t i = 0; i < label.n; i++) {
        if (!ll_is_alnum(label.p[i]) && label.p[i] != '-')
            return false;
    }
    return true;
}

static bool all_digits(struct ll_slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!ll_is_digit(s.p[i]))
            return false;
    }
    return true;
}

/* An ASCII name by its letters alone (RFC 5321 4.1.2 Domain). */
static enum ll_addr_error ascii_name(struct ll_slice name, struct ll_buf *out)
{
    struct ll_slice rest = name;
    struct ll_slice last = ll_slice(NULL, 0);
    struct ll_slice label;
    uint8_t *to;

    if (name.n > LL_DOMAIN_MAX)
        return LL_ADDR_DOMAIN_LONG;
    if (name.n == 0 || name.p[name.n - 1] == '.')
        return LL_ADDR_DOMAIN;
    while (ll_slice_next(&rest, '.', &label)) {
        if (!label_ok(label))
            return LL_ADDR_DOMAIN;
        last = label;
    }
    if (all_digits(last))
        return LL_ADDR_DOMAIN;
    to = ll_buf_room(out, name.n);
    if (!to)
        return LL_ADDR_DOMAIN_LONG;
    for (size_t i = 0; i < name.n; i++)
        to[i] = ll_lower(name.p[i]);
    ll_buf_grew(out, name.n);
    return LL_ADDR_OK;
}

enum ll_addr_error ll_domain_canonical(struct ll_slice domain, bool utf8, struct ll_buf *out)
{
    char text[LL_DOMAIN_MAX + 1];
    uint8_t *ascii = NULL;
    enum ll_addr_error e;

    if (ll_is_ascii(domain))
        return ascii_name(domain, out);
    if (!utf8)
        return LL_ADDR_NEEDS_UTF8;
    if (!ll_utf8_valid(domain))
        return LL_ADDR_BAD_UTF8;
    if (domain.n > LL_DOMAIN_MAX)
        return LL_ADDR_DOMAIN_LONG;
    if (ll_slice_find(domain, 0) < domain.n)
        return LL_ADDR_DOMAIN;
    memcpy(text, domain.p, domain.n);
    text[domain.n] = 0;
    if (idn2_lookup_u8((const uint8_t *)text, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) !=
        IDN2_OK)
        return LL_ADDR_DOMAIN;
    e = ascii_name(ll_slice_str((const char *)ascii), out);
    idn2_free(ascii);
    return e;
}

/* ---- literals -----------------------------------------------------------------------------------
 */

/* "192.0.2.1": four numbers below 256 without leading zeros. */
static bool ipv4_read(struct ll_slice s, uint8_t ret[4])
{
    struct ll_slice part;
    uint64_t v;
    int n = 0;

    if (s.n > 15 || s.n < 7 || s.p[s.n - 1] == '.')
        return false;
    while (ll_slice_next(&s, '.', &part)) {
        if (n == 4 || part.n < 1 || part.n > 3 || (part.n > 1 && part.p[0] == '0') ||
            !ll_slice_u64(part, &v) || v > 255)
            return false;
        ret[n++] = (uint8_t)v;
    }
    return n == 4;
}

static bool hex_group(struct ll_slice s, uint16_t *ret)
{
    unsigned v = 0;

    if (s.n < 1 || s.n > 4)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = ll_lower(s.p[i]);

        if (ll_is_digit(c))
            v = v * 16 + (c - '0');
        else if (c >= 'a' && c <= 'f')
            v = v * 16 + (c - 'a' + 10);
        else
            return false;
    }
    *ret = (uint16_t)v;
    return true;
}

/* Groups divided by single colons, the last one perhaps an IPv4 address; how many, or -1. */
static int groups_read(struct ll_slice s, bool v4_allowed, uint16_t ret[8])
{
    struct ll_slice part;
    int n = 0;

    if (s.n == 0)
        return 0;
    if (s.p[s.n - 1] == ':')
        return -1;
    while (ll_slice_next(&s, ':', &part)) {
        uint8_t v4[4];

        if (n < 7 && s.n == 0 && v4_allowed && ipv4_read(part, v4)) {
            ret[n++] = (uint16_t)(v4[0] << 8 | v4[1]);
            ret[n++] = (uint16_t)(v4[2] << 8 | v4[3]);
        } else if (n == 8 || !hex_group(part, &ret[n++])) {
            return -1;
        }
    }
    return n;
}

static bool ipv6_read(struct ll_slice s, uint16_t ret[8])
{
    size_t gap = ll_slice_search(s, LL_LIT("::"));
    uint16_t head[8];
    uint16_t tail[8];
    int heads;
    int tails;

    if (s.n > 45)
        return false;
    if (gap == s.n)
        return groups_read(s, true, ret) == 8;
    heads = groups_read(ll_slice_cut(s, 0, gap), false, head);
    tails = groups_read(ll_slice_skip(s, gap + 2), true, tail);
    if (heads < 0 || tails < 0 || heads + tails > 7)
        return false;
    memset(ret, 0, 8 * sizeof(ret[0]));
    for (int i = 0; i < heads; i++)
        ret[i] = head[i];
    for (int i = 0; i < tails; i++)
        ret[8 - tails + i] = tail[i];
    return true;
}

/* The text form of RFC 5952 4. */
static void ipv6_put(const uint16_t g[8], struct ll_buf *out)
{
    int best = -1;
    int best_n = 1; /* a single zero group is not shortened (4.2.2) */

    for (int i = 0; i < 8; i++) {
        int n = 0;

        while (i + n < 8 && g[i + n] == 0)
            n++;
        if (n > best_n) {
            best = i;
            best_n = n;
        }
    }
    for (int i = 0; i < 8; i++) {
        if (i == best) {
            ll_buf_puts(out, "::");
            i += best_n - 1;
            continue;
        }
        if (i > 0 && i != best + best_n)
            ll_buf_putc(out, ':');
        ll_buf_printf(out, "%x", g[i]);
    }
}

enum ll_addr_error ll_literal_canonical(struct ll_slice literal, struct ll_buf *out,
                                        enum ll_domain_kind *ret_kind)
{
    struct ll_slice in;
    uint8_t v4[4];
    uint16_t v6[8];

    if (literal.n < 3 || literal.p[0] != '[' || literal.p[literal.n - 1] != ']')
        return LL_ADDR_LITERAL;
    in = ll_slice_cut(literal, 1, literal.n - 1);
    if (ipv4_read(in, v4)) {
        ll_buf_printf(out, "[%u.%u.%u.%u]", v4[0], v4[1], v4[2], v4[3]);
        *ret_kind = LL_DOMAIN_IPV4;
    } else if (ll_slice_casestarts(in, LL_LIT("IPv6:")) && ipv6_read(ll_slice_skip(in, 5), v6)) {
        ll_buf_puts(out, "[ipv6:");
        ipv6_put(v6, out);
        ll_buf_putc(out, ']');
        *ret_kind = LL_DOMAIN_IPV6;
    } else {
        return LL_ADDR_LITERAL;
    }
    return out->failed ? LL_ADDR_DOMAIN_LONG : LL_ADDR_OK;
}
