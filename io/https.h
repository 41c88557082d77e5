/*
 * https: fetches one small thing from a web server (libcurl).
 *
 * For keys (WKD) and what goes with certificates (CRLs, OCSP): one request, one answer in memory.
 * Nothing is taken from the environment: no proxy, no .netrc, no cookies, no system resolver. Names
 * are looked up by the caller, whose resolver may know DNSSEC, and whose addresses are checked
 * here: a name that a stranger chose must not lead into our own network.
 */
#ifndef LL_IO_HTTPS_H
#define LL_IO_HTTPS_H

#include "letterlock/base.h"

#define LL_HTTPS_TIMEOUT_S     30 /* for the whole, as a person waits for it */
#define LL_HTTPS_CONNECT_S     10 /* for connection and handshake */
#define LL_HTTPS_REDIRECTS     3  /* followed; each stays with its host */
#define LL_HTTPS_ADDRESSES_MAX 16
#define LL_HTTPS_URL_MAX       4096

struct ll_https_address {
    uint8_t n; /* 4 or 16 */
    uint8_t octets[16];
};

struct ll_https_request {
    const char *url;
    const struct ll_https_address *address; /* of its host */
    size_t n_address;
    bool plain;           /* http: is allowed: for what is signed itself (CRL, OCSP) */
    bool allow_private;   /* addresses of private networks and of this machine are, too */
    uint16_t port;        /* connect to this one instead; 0: the URL's */
    const char *ca;       /* PEM file of the CAs that count; NULL: the system's */
    struct ll_slice post; /* POST this body (p NULL: GET) */
    const char *post_type;
    const char *accept; /* value of Accept; NULL: anything */
    unsigned timeout_s; /* 0: LL_HTTPS_TIMEOUT_S */
};

enum ll_https_result {
    LL_HTTPS_OK,        /* 200 */
    LL_HTTPS_NOT_FOUND, /* 404, 410: the server is there, the thing is not */
    LL_HTTPS_REFUSED,   /* we do not want to: URL, address, redirect, too large */
    LL_HTTPS_TLS,       /* its certificate does not prove its name, or no TLS 1.2 or 1.3 */
    LL_HTTPS_LATER,     /* no connection, no answer in time, 5xx, 429 */
    LL_HTTPS_FAILED,    /* any other answer */
    LL_HTTPS_RESOURCE
};

/* Appends the body of the answer to out, whose maximum is the limit (an answer over it is REFUSED).
 * All but OK: out is as it was, and a sentence without line end in *ret_why. */
enum ll_https_result ll_https_fetch(const struct ll_https_request *, struct ll_buf *out,
                                    struct ll_buf *ret_why);

/* Appends the host name of an URL in A-labels, and gives its port. False: no http(s) URL, one with
 * user name or password, too long, or its host is an address (those are not asked). */
bool ll_https_host(const char *url, struct ll_buf *ret_host, uint16_t *ret_port);

/* Is it an address of this machine, of a private or a local network, or none of a host at all? */
bool ll_https_private(const struct ll_https_address *);

#endif
