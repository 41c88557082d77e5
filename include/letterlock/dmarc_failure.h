/*
 * dmarc_failure: a failure report of one letter (RFC 9991, in the format of RFC 6591): is one
 * wanted, the part for programs (message/feedback-report), and what is shown of the letter's
 * header.
 *
 * What is shown is little, for it is a letter to somebody else: of addresses the domain alone
 * (RFC 6590), no recipients, no Subject, no Received fields, no content. Nothing of a letter that
 * is itself a report, or automatic, or has the null reverse-path is reported: no two servers can
 * answer each other's reports.
 */
#ifndef LETTERLOCK_DMARC_FAILURE_H
#define LETTERLOCK_DMARC_FAILURE_H

#include "letterlock/dkim.h"
#include "letterlock/dmarc.h"
#include "letterlock/spf.h"

#define LL_DMARC_FEEDBACK_MAX  8192        /* octets of the part for programs */
#define LL_DMARC_HEADER_MAX    (16u << 10) /* octets of the header that is shown; more is cut off */
#define LL_DMARC_HEADER_FIELDS 50          /* fields of it */

struct ll_dmarc_failure {
    struct ll_slice authserv_id, hostname;
    struct ll_slice source;          /* IP address of the client */
    struct ll_slice mail_from;       /* reverse-path */
    const char *delivery;            /* RFC 6591 3.2.2: delivered, spam, policy, reject, other */
    int64_t unix_s;                  /* when it came */
    const struct ll_spf_result *spf; /* NULL: none */
    const struct ll_dkim_result *dkim;
    size_t n_dkim;
    const struct ll_dmarc_result *dmarc;
};

/* Does the record's `fo` ask for a report of this letter (RFC 9989 4.7), and may one be sent? */
bool ll_dmarc_failure_wanted(const struct ll_dmarc_failure *, struct ll_slice header);
/* Appends the fields of the part for programs. False: out is full. */
bool ll_dmarc_failure_feedback(const struct ll_dmarc_failure *, struct ll_buf *out);
/* Appends what is shown of the letter's header. False: out has failed. */
bool ll_dmarc_failure_header(struct ll_slice header, struct ll_buf *out);

#endif
