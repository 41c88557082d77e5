/* Addresses as text. See include/letterlock/addr.h. */
#include "letterlock/addr.h"

bool ll_ipv4_parse(struct ll_slice s, uint8_t ret[4])
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

        if (n < 7 && s.n == 0 && v4_allowed && ll_ipv4_parse(part, v4)) {
            ret[n++] = (uint16_t)(v4[0] << 8 | v4[1]);
            ret[n++] = (uint16_t)(v4[2] << 8 | v4[3]);
        } else if (n == 8 || !hex_group(part, &ret[n++])) {
            return -1;
        }
    }
    return n;
}

static bool groups_of(struct ll_slice s, uint16_t ret[8])
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

bool ll_ipv6_parse(struct ll_slice s, uint8_t ret[16])
{
    uint16_t g[8];

    if (!groups_of(s, g))
        return false;
    for (int i = 0; i < 8; i++) {
        ret[2 * i] = (uint8_t)(g[i] >> 8);
        ret[2 * i + 1] = (uint8_t)g[i];
    }
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

void ll_ip_put(const uint8_t *address, size_t n, struct ll_buf *out)
{
    uint16_t g[8];

    if (n == 4) {
        ll_buf_printf(out, "%u.%u.%u.%u", address[0], address[1], address[2], address[3]);
        return;
    }
    for (int i = 0; i < 8; i++)
        g[i] = (uint16_t)(address[2 * i] << 8 | address[2 * i + 1]);
    ipv6_put(g, out);
}
