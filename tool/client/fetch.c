/* See tool/client/fetch.h. */
#include "tool/client/fetch.h"

#include <netinet/in.h>

static size_t addresses(struct ll_resolver *r, struct ll_slice host,
                        struct ll_https_address ret[LL_HTTPS_ADDRESSES_MAX], bool *ret_later)
{
    struct ll_endpoint found[LL_ADDRESSES_MAX];
    size_t n = ll_resolver_addresses(r, host, 443, found, ret_later);

    for (size_t i = 0; i < n; i++) {
        bool six = found[i].address.ss_family == AF_INET6;
        const struct sockaddr_in *in = (const struct sockaddr_in *)&found[i].address;
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&found[i].address;

        ret[i].n = six ? 16 : 4;
        memcpy(ret[i].octets, six ? (const void *)&in6->sin6_addr : (const void *)&in->sin_addr,
               ret[i].n);
    }
    return n;
}

enum ll_https_result ll_fetch(const struct ll_fetch_from *from, struct ll_https_request r,
                              bool *ret_no_host, struct ll_buf *out, struct ll_buf *ret_why)
{
    _Static_assert(LL_ADDRESSES_MAX <= LL_HTTPS_ADDRESSES_MAX, "all fit");
    struct ll_https_address found[LL_HTTPS_ADDRESSES_MAX];
    struct ll_buf host = LL_BUF(LL_HTTPS_URL_MAX);
    enum ll_https_result result = LL_HTTPS_FAILED;
    bool later = false, no_host = false;
    uint16_t port;

    if (!ll_https_host(r.url, &host, &port)) {
        ll_buf_puts(ret_why, "not an URL that is asked");
        result = LL_HTTPS_REFUSED;
    } else {
        r.address = found;
        r.n_address = addresses(from->resolver, ll_buf_slice(&host), found, &later);
        r.allow_private = from->allow_private;
        r.ca = from->ca;
        r.port = (uint16_t)from->port;
        r.timeout_s = (unsigned)from->timeout;
        no_host = r.n_address == 0 && !later;
        if (r.n_address > 0) {
            result = ll_https_fetch(&r, out, ret_why);
        } else {
            ll_buf_printf(ret_why, later ? "DNS did not answer for %.*s" : "there is no host %.*s",
                          LL_FMT(ll_buf_slice(&host)));
            result = later ? LL_HTTPS_LATER : LL_HTTPS_FAILED;
        }
    }
    if (ret_no_host)
        *ret_no_host = no_host;
    ll_buf_release(&host);
    return result;
}
