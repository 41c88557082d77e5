/*
 * fetch: one thing from a web server, its name looked up by our own resolver (io/https.h).
 */
#ifndef LL_TOOL_CLIENT_FETCH_H
#define LL_TOOL_CLIENT_FETCH_H

#include "io/https.h"
#include "tool/client/resolve.h"

struct ll_fetch_from {
    struct ll_resolver *resolver;
    const char *ca;     /* PEM; NULL: the system's CAs */
    bool allow_private; /* hosts in private networks are asked too */
    int64_t port;       /* instead of the URL's; 0: the URL's */
    int64_t timeout;    /* seconds for the answer; 0: LL_HTTPS_TIMEOUT_S */
};

/* Rows for an option table; f: struct ll_fetch_from. */
#define LL_FETCH_OPTS(f)                                                                           \
    {"ca", 0, LL_OPT_TEXT, &(f).ca, "FILE", "web servers are proven by these CAs alone"},          \
        {"private",          0,    LL_OPT_FLAG,                                                    \
         &(f).allow_private, NULL, "ask hosts with addresses of private networks too"},            \
        {"https-port", 0,      LL_OPT_NUMBER,                                                      \
         &(f).port,    "PORT", "web servers listen there, not on 443 (for tests)"},                \
    {                                                                                              \
        "timeout", 0, LL_OPT_NUMBER, &(f).timeout, "SECONDS", "longest wait for a web server (30)" \
    }

/* The fields of r that say where and how are filled in from `from`: give url, and what is special.
 * As ll_https_fetch; *ret_no_host (may be NULL): DNS says that there is no such host. */
enum ll_https_result ll_fetch(const struct ll_fetch_from *from, struct ll_https_request r,
                              bool *ret_no_host, struct ll_buf *out, struct ll_buf *ret_why);

#endif
