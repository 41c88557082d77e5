/*
 * target: which servers a letter may go to. Pure functions: no sockets, no clock.
 */
#ifndef LL_DAEMON_RELAY_TARGET_H
#define LL_DAEMON_RELAY_TARGET_H

#include "letterlock/dns.h"

#define LL_MX_MAX 20 /* hosts of a domain that are tried; a real one has fewer than ten */

struct ll_mx_host {
    uint16_t preference;
    struct ll_dns_name name;
};

enum ll_mx_result {
    LL_MX_HOSTS,    /* ret, ret_n: at least one */
    LL_MX_NULL,     /* RFC 7505: the domain takes no mail */
    LL_MX_SELF,     /* the best host is this one: mail loops back to us */
    LL_MX_UNUSABLE, /* there are records, and none can be read */
};

/* The hosts of an MX answer with status OK, in the order in which to try them (RFC 5321 5.1):
 * by preference; equal ones in an order that `seed` (any random bits) chooses; each host once.
 * Our own names and everything that is not preferred to them are left out, since mail would come
 * back here. The first LL_MX_MAX stay. */
enum ll_mx_result ll_mx_select(const struct ll_dns_answer *, const struct ll_slice *own,
                               size_t n_own, uint64_t seed, struct ll_mx_host ret[LL_MX_MAX],
                               size_t *ret_n);

/* May a letter for a stranger's domain go to this address (n: 4 or 16 octets)? NULL: yes; else
 * what it is, for people: "a loopback address". private_ok: loopback, private and link-local
 * addresses are fine; what is no host's address never is. */
const char *ll_target_refused(const uint8_t *address, size_t n, bool private_ok);

/* "192.0.2.1", "2001:db8::1", either in brackets, "[IPv6:2001:db8::1]": the number of octets
 * written to ret, or 0: not an address. */
size_t ll_target_address(struct ll_slice text, uint8_t ret[16]);
/* Appends "192.0.2.1" or "2001:db8::1". */
void ll_target_format(struct ll_buf *out, const uint8_t *address, size_t n);

#endif
