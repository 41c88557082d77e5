/* See networks.h. */
#include "daemon/front/networks.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>

#define IP_TEXT_MAX 64 /* octets: the longest IPv6 form, prefix included */

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static void ip_of_v6(const uint8_t octets[16], struct ll_ip *ret)
{
    if (memcmp(octets, mapped, sizeof(mapped)) == 0) {
        ret->family = 4;
        memcpy(ret->octets, octets + sizeof(mapped), 4);
    } else {
        ret->family = 6;
        memcpy(ret->octets, octets, 16);
    }
}

void ll_ip_of(const struct sockaddr *sa, struct ll_ip *ret)
{
    struct ll_ip ip = {0};

    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)sa;

        ip.family = 4;
        ip.port = ntohs(in->sin_port);
        memcpy(ip.octets, &in->sin_addr, 4);
    } else if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const void *)sa;

        ip_of_v6(in->sin6_addr.s6_addr, &ip);
        ip.port = ntohs(in->sin6_port);
    }
    *ret = ip;
}

const char *ll_ip_text(const struct ll_ip *ip, char text[LL_IP_TEXT])
{
    text[0] = '\0';
    if (ip->family)
        inet_ntop(ip->family == 4 ? AF_INET : AF_INET6, ip->octets, text, LL_IP_TEXT);
    return text;
}

static bool clean_tail(const struct ll_network *n)
{
    unsigned bits = n->ip.family == 4 ? 32 : 128;

    for (unsigned i = n->prefix; i < bits; i++)
        if (n->ip.octets[i / 8] & (0x80u >> (i % 8)))
            return false;
    return true;
}

bool ll_network_parse(struct ll_slice text, struct ll_network *ret)
{
    size_t slash = ll_slice_find(text, '/');
    struct ll_network net = {0};
    char address[IP_TEXT_MAX];
    uint8_t v6[16];
    uint64_t prefix;
    bool is_v6;

    if (slash >= sizeof(address))
        return false;
    memcpy(address, text.p, slash);
    address[slash] = '\0';
    if (memchr(address, '\0', slash))
        return false;
    if (inet_pton(AF_INET, address, net.ip.octets) == 1) {
        net.ip.family = 4;
        is_v6 = false;
    } else if (inet_pton(AF_INET6, address, v6) == 1) {
        ip_of_v6(v6, &net.ip);
        is_v6 = true;
    } else {
        return false;
    }
    prefix = is_v6 ? 128 : 32;
    if (slash < text.n &&
        (!ll_slice_u64(ll_slice_skip(text, slash + 1), &prefix) || prefix > (is_v6 ? 128 : 32)))
        return false;
    if (is_v6 && net.ip.family == 4) { /* a network of mapped addresses */
        if (prefix < 96)
            return false;
        prefix -= 96;
    }
    net.prefix = (uint8_t)prefix;
    if (!clean_tail(&net))
        return false;
    *ret = net;
    return true;
}

bool ll_network_has(const struct ll_network *net, const struct ll_ip *ip)
{
    unsigned whole = net->prefix / 8, rest = net->prefix % 8;
    uint8_t mask = (uint8_t)(0xff00u >> rest);

    if (ip->family == 0 || ip->family != net->ip.family)
        return false;
    if (memcmp(net->ip.octets, ip->octets, whole) != 0)
        return false;
    return rest == 0 || (net->ip.octets[whole] & mask) == (ip->octets[whole] & mask);
}

bool ll_networks_init(struct ll_networks *nets, char *const *texts, size_t *ret_bad)
{
    size_t n = 0, bad = 0;

    *nets = (struct ll_networks){0};
    while (texts && texts[n])
        n++;
    if (n > 0) {
        nets->list = calloc(n, sizeof(nets->list[0]));
        if (!nets->list)
            return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (ll_network_parse(ll_slice_str(texts[i]), &nets->list[nets->n]))
            nets->n++;
        else
            bad++;
    }
    *ret_bad = bad;
    return true;
}

void ll_networks_release(struct ll_networks *nets)
{
    free(nets->list);
    *nets = (struct ll_networks){0};
}

bool ll_networks_have(const struct ll_networks *nets, const struct ll_ip *ip)
{
    for (size_t i = 0; i < nets->n; i++)
        if (ll_network_has(&nets->list[i], ip))
            return true;
    return false;
}
