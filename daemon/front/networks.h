/*
 * networks: lists of CIDR networks, and whether an address lies in one. No name is looked up.
 */
#ifndef LL_FRONT_NETWORKS_H
#define LL_FRONT_NETWORKS_H

#include "letterlock/base.h"

#include <sys/socket.h>

/* An address in the form that all comparisons use: IPv4 as its own family, also when it came
 * mapped into IPv6 (::ffff:192.0.2.1). */
struct ll_ip {
    uint8_t family; /* 4 or 6; 0: neither */
    uint16_t port;
    uint8_t octets[16];
};

struct ll_network {
    struct ll_ip ip;
    uint8_t prefix; /* bits */
};

void ll_ip_of(const struct sockaddr *, struct ll_ip *ret);
#define LL_IP_TEXT 46 /* octets of an address as text, NUL included */
/* Writes "192.0.2.1" or "2001:db8::1" ("" for family 0) and returns it. */
const char *ll_ip_text(const struct ll_ip *, char text[LL_IP_TEXT]);

/* "192.0.2.0/24", "2001:db8::/32", or one address. False: not that form, or bits set behind the
 * prefix (a slip of the pen that would trust more than was meant). */
bool ll_network_parse(struct ll_slice text, struct ll_network *ret);
bool ll_network_has(const struct ll_network *, const struct ll_ip *);

struct ll_networks {
    struct ll_network *list;
    size_t n;
};
/* texts is NULL-terminated; what does not parse is left out and counted. False without memory. */
bool ll_networks_init(struct ll_networks *, char *const *texts, size_t *ret_bad);
void ll_networks_release(struct ll_networks *);
bool ll_networks_have(const struct ll_networks *, const struct ll_ip *);

#endif
