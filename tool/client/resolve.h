/*
 * resolve: DNS for letterlock(1), by libunbound, one question at a time, each bounded in time.
 */
#ifndef LL_TOOL_CLIENT_RESOLVE_H
#define LL_TOOL_CLIENT_RESOLVE_H

#include "letterlock/dns.h"
#include "tool/args.h"

#include <sys/socket.h>

struct ll_resolver_from {
    const char *resolver;     /* ADDR[:PORT], "recursive", NULL or "system": as resolv.conf says */
    const char *trust_anchor; /* NULL: the file that the system's packages keep, if any */
    char *const *local_data;  /* records answered without asking, NULL-terminated; or NULL */
    int64_t timeout;          /* seconds that one question may take; 0: LL_RESOLVER_TIMEOUT */
};

#define LL_RESOLVER_TIMEOUT 15 /* seconds: a server that is alive answers in one or two */

#define LL_RESOLVER_OPTS(r)                                                                        \
    {"resolver", 0, LL_OPT_TEXT, &(r).resolver, "ADDR[:PORT]", "ask this DNS server"},             \
        {"dns-timeout", 0,         LL_OPT_NUMBER,                                                  \
         &(r).timeout,  "SECONDS", "longest wait for an answer (15)"},                             \
    {                                                                                              \
        "trust-anchor", 0, LL_OPT_TEXT, &(r).trust_anchor, "FILE", "DNSSEC trust anchor"           \
    }

struct ll_resolver;

/* NULL, said on stderr. */
struct ll_resolver *ll_resolver_new(const struct ll_resolver_from *);
void ll_resolver_free(struct ll_resolver *);
/* Asks. Memory is the arena's. Failures are statuses: SERVFAIL, TIMEOUT, BOGUS with `why`. */
void ll_resolver_ask(struct ll_resolver *, struct ll_slice name, enum ll_dns_type,
                     struct ll_arena *, struct ll_dns_answer *ret);

/* No question goes on beyond that time (ll_now_ms); 0: each has the time-out alone. */
void ll_resolver_until(struct ll_resolver *, uint64_t until);

/* ---- where mail for a domain goes (RFC 5321 5.1, RFC 7505) ------------------------------------
 */

#define LL_MX_MAX        16 /* hosts tried for one domain */
#define LL_ADDRESSES_MAX 16 /* addresses tried for one host */

struct ll_mx {
    struct ll_dns_name host;
    uint16_t preference;
};

enum ll_mx_result {
    LL_MX_OK,
    LL_MX_NULL,  /* the domain says that it takes no mail */
    LL_MX_NONE,  /* no such domain, or it has neither MX nor address */
    LL_MX_LATER, /* DNS failed: try again */
};

/* Sorted by preference, equal ones in random order; the domain itself where it has no MX. */
enum ll_mx_result ll_resolver_mx(struct ll_resolver *, struct ll_slice domain,
                                 struct ll_mx ret[LL_MX_MAX], size_t *ret_n, bool *ret_secure,
                                 struct ll_buf *ret_why);

struct ll_endpoint {
    struct sockaddr_storage address;
    socklen_t length;
};

/* Addresses of a host, IPv6 and IPv4 taking turns; `host` may be an address itself (in brackets or
 * without). The number found; 0 with *ret_later where DNS failed. */
size_t ll_resolver_addresses(struct ll_resolver *, struct ll_slice host, uint16_t port,
                             struct ll_endpoint ret[LL_ADDRESSES_MAX], bool *ret_later);
/* "[192.0.2.1]:25" */
void ll_endpoint_text(const struct ll_endpoint *, struct ll_buf *out);

#endif
