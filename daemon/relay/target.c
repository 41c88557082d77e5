/* See target.h. */
#include "daemon/relay/target.h"

#include <arpa/inet.h>

/* ---- MX ---------------------------------------------------------------------------------------
 */

/* A generator for shuffling (xorshift64*): not for secrets. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * 0x2545f4914f6cdd1dull;
}

static bool is_own(const struct ll_dns_name *name, const struct ll_slice *own, size_t n_own)
{
    for (size_t i = 0; i < n_own; i++)
        if (ll_dns_name_eq(ll_dns_name_slice(name), own[i]))
            return true;
    return false;
}

static void shuffle(struct ll_mx_host *hosts, size_t n, uint64_t seed)
{
    seed |= 1;
    for (size_t i = n; i > 1; i--) {
        size_t j = next_random(&seed) % i;
        struct ll_mx_host h = hosts[i - 1];

        hosts[i - 1] = hosts[j];
        hosts[j] = h;
    }
}

/* By preference, keeping the order of equal ones. n is at most LL_DNS_RECORDS_MAX. */
static void sort(struct ll_mx_host *hosts, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        struct ll_mx_host h = hosts[i];
        size_t j = i;

        for (; j > 0 && hosts[j - 1].preference > h.preference; j--)
            hosts[j] = hosts[j - 1];
        hosts[j] = h;
    }
}

static bool seen(const struct ll_mx_host *hosts, size_t n, const struct ll_mx_host *h)
{
    for (size_t i = 0; i < n; i++)
        if (ll_dns_name_eq(ll_dns_name_slice(&hosts[i].name), ll_dns_name_slice(&h->name)))
            return true;
    return false;
}

enum ll_mx_result ll_mx_select(const struct ll_dns_answer *a, const struct ll_slice *own,
                               size_t n_own, uint64_t seed, struct ll_mx_host ret[LL_MX_MAX],
                               size_t *ret_n)
{
    struct ll_mx_host hosts[LL_DNS_RECORDS_MAX];
    size_t n = 0, kept = 0;
    bool null = false, self = false;
    uint32_t limit = UINT16_MAX + 1u; /* preferences below it stay */

    for (size_t i = 0; i < a->n_rdata && n < LL_COUNT(hosts); i++) {
        struct ll_dns_mx mx;

        if (!ll_dns_rdata_mx(a->rdata[i], &mx))
            continue;
        if (mx.host.n == 1 && mx.host.text[0] == '.') {
            null = true;
            continue;
        }
        if (is_own(&mx.host, own, n_own)) {
            self = true;
            limit = mx.preference < limit ? mx.preference : limit;
        }
        hosts[n++] = (struct ll_mx_host){mx.preference, mx.host};
    }
    if (n == 0)
        return null ? LL_MX_NULL : LL_MX_UNUSABLE;
    shuffle(hosts, n, seed);
    sort(hosts, n);
    for (size_t i = 0; i < n && kept < LL_MX_MAX && hosts[i].preference < limit; i++)
        if (!seen(ret, kept, &hosts[i]))
            ret[kept++] = hosts[i];
    if (kept == 0)
        return self ? LL_MX_SELF : LL_MX_UNUSABLE;
    *ret_n = kept;
    return LL_MX_HOSTS;
}

/* ---- addresses ----------------------------------------------------------------------------------
 */

struct range {
    uint8_t octets[16];
    uint8_t bits;
    bool never; /* not even with private_ok */
    const char *what;
};

static const struct range ranges4[] = {
    {{0}, 8, true, "an unspecified address"},
    {{127}, 8, false, "a loopback address"},
    {{10}, 8, false, "a private address"},
    {{172, 16}, 12, false, "a private address"},
    {{192, 168}, 16, false, "a private address"},
    {{100, 64}, 10, false, "a private address"}, /* shared by carriers */
    {{192, 0, 0}, 24, false, "a private address"},
    {{198, 18}, 15, false, "a private address"}, /* for benchmarks */
    {{169, 254}, 16, false, "a link-local address"},
    {{224}, 4, true, "a multicast address"},
    {{240}, 4, true, "a reserved address"},
};

static const struct range ranges6[] = {
    {{0}, 128, true, "an unspecified address"},
    {{[15] = 1}, 128, false, "a loopback address"},
    {{[10] = 0xff, 0xff}, 96, true, "an IPv4 address in disguise"},
    {{0}, 96, true, "a reserved address"},
    {{0xfc}, 7, false, "a private address"},
    {{0xfe, 0x80}, 10, false, "a link-local address"},
    {{0xfe, 0xc0}, 10, false, "a private address"},
    {{0xff}, 8, true, "a multicast address"},
    {{0x01, 0x00}, 64, true, "a discard address"}, /* remote blackholes */
};

static bool in_range(const uint8_t *a, const struct range *r)
{
    size_t whole = r->bits / 8, rest = r->bits % 8;

    if (memcmp(a, r->octets, whole) != 0)
        return false;
    return rest == 0 || (a[whole] ^ r->octets[whole]) >> (8 - rest) == 0;
}

/* The IPv4 address inside a 6to4 or NAT64 address, or NULL. */
static const uint8_t *inner_address(const uint8_t *a)
{
    static const uint8_t nat64[12] = {0, 0x64, 0xff, 0x9b};

    if (a[0] == 0x20 && a[1] == 0x02)
        return a + 2;
    return memcmp(a, nat64, sizeof(nat64)) == 0 ? a + 12 : NULL;
}

const char *ll_target_refused(const uint8_t *address, size_t n, bool private_ok)
{
    const struct range *ranges = n == 4 ? ranges4 : ranges6;
    size_t count = n == 4 ? LL_COUNT(ranges4) : LL_COUNT(ranges6);

    if (n == 16 && inner_address(address)) {
        address = inner_address(address);
        ranges = ranges4;
        count = LL_COUNT(ranges4);
    }
    for (size_t i = 0; i < count; i++)
        if (in_range(address, &ranges[i]))
            return private_ok && !ranges[i].never ? NULL : ranges[i].what;
    return NULL;
}

size_t ll_target_address(struct ll_slice text, uint8_t ret[16])
{
    char z[64];

    if (text.n >= 2 && text.p[0] == '[' && text.p[text.n - 1] == ']')
        text = ll_slice_cut(text, 1, text.n - 1);
    if (ll_slice_casestarts(text, LL_LIT("ipv6:")))
        text = ll_slice_skip(text, 5);
    if (text.n == 0 || text.n >= sizeof(z))
        return 0;
    memcpy(z, text.p, text.n);
    z[text.n] = '\0';
    if (strlen(z) != text.n)
        return 0;
    if (inet_pton(AF_INET, z, ret) == 1)
        return 4;
    return inet_pton(AF_INET6, z, ret) == 1 ? 16 : 0;
}

void ll_target_format(struct ll_buf *out, const uint8_t *address, size_t n)
{
    char z[INET6_ADDRSTRLEN];

    if (inet_ntop(n == 4 ? AF_INET : AF_INET6, address, z, sizeof(z)))
        ll_buf_puts(out, z);
}
