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

enum ll_addr_error ll_literal_canonical(struct ll_slice literal, struct ll_buf *out,
                                        enum ll_domain_kind *ret_kind)
{
    struct ll_slice in;
    uint8_t ip[16];

    if (literal.n < 3 || literal.p[0] != '[' || literal.p[literal.n - 1] != ']')
        return LL_ADDR_LITERAL;
    in = ll_slice_cut(literal, 1, literal.n - 1);
    if (ll_ipv4_parse(in, ip)) {
        ll_buf_putc(out, '[');
        ll_ip_put(ip, 4, out);
        ll_buf_putc(out, ']');
        *ret_kind = LL_DOMAIN_IPV4;
    } else if (ll_slice_casestarts(in, LL_LIT("IPv6:")) &&
               ll_ipv6_parse(ll_slice_skip(in, 5), ip)) {
        ll_buf_puts(out, "[ipv6:");
        ll_ip_put(ip, 16, out);
        ll_buf_putc(out, ']');
        *ret_kind = LL_DOMAIN_IPV6;
    } else {
        return LL_ADDR_LITERAL;
    }
    return out->failed ? LL_ADDR_DOMAIN_LONG : LL_ADDR_OK;
}
