/*
 * context: a libunbound context made from the configuration, driven by libevent: no thread, no
 * process and no file of its own after the first question.
 */
#ifndef LL_DAEMON_DNS_CONTEXT_H
#define LL_DAEMON_DNS_CONTEXT_H

#include <unbound.h>
#include <unbound-event.h>

#include "daemon/proc.h"
#include "letterlock/dns.h"

#define LL_DNS_FILE_MAX (64u << 10) /* octets of resolv.conf and of a trust anchor file */

/* What a context is made from: read again at each reload, kept where reading fails. */
struct ll_dns_setup {
    struct ll_buf resolv;      /* resolv.conf, with resolver = system */
    struct ll_buf anchors;     /* one trust anchor a line, no comments */
    struct ll_dns_name anchor; /* the first one's owner: what the self-test asks for */
    bool anchored;             /* there is a trust anchor */
};

/* Reads the files that the configuration names. false: the trust anchor that it names cannot be
 * used (the log says why). */
bool ll_dns_setup_read(struct ll_dns_setup *, const struct ll_conf *);

/* NULL on any fault, which is logged. validate: with the trust anchors; without them every answer
 * is insecure. */
struct ub_ctx *ll_dns_context(struct event_base *, const struct ll_conf *,
                              const struct ll_dns_setup *, bool validate);

/* Does the configuration name a forwarder (which may strip DNSSEC)? */
bool ll_dns_forwards(const struct ll_conf *);

#endif
