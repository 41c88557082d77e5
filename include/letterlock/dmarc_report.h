/*
 * dmarc_report: an aggregate report that we send (RFC 9990), as XML in the schema's order.
 *
 * What is counted is a list of texts: a policy's, and a row's. Whoever saw a letter makes them,
 * whoever gathers them compares them as octets and need not know what they say, and this module
 * writes them. Each text is a str16 (letterlock/base.h).
 */
#ifndef LETTERLOCK_DMARC_REPORT_H
#define LETTERLOCK_DMARC_REPORT_H

#include "letterlock/dmarc.h"

#define LL_DMARC_ROW_MAX  4096 /* octets of a row's list */
#define LL_DMARC_ROW_DKIM 10   /* signatures in a row; RFC 9990 3.1.3 allows 100 */

/* What is sent to those who ask for it. */
enum ll_due_kind {
    LL_DUE_AGGREGATE, /* rua: RFC 9990 */
    LL_DUE_FAILURE,   /* ruf: RFC 9991 */
    LL_DUE_KINDS
};

/* The texts of a row before its signatures; each signature is three more: domain, selector, result.
 */
enum ll_dmarc_row_text {
    LL_DMARC_ROW_SOURCE,       /* IP address of the client */
    LL_DMARC_ROW_DISPOSITION,  /* none, pass, quarantine, reject */
    LL_DMARC_ROW_ALIGNED_DKIM, /* pass, fail */
    LL_DMARC_ROW_ALIGNED_SPF,
    LL_DMARC_ROW_REASON, /* why the policy was not applied; empty: it was, or there was none */
    LL_DMARC_ROW_AUTHOR,
    LL_DMARC_ROW_SENDER,     /* domain of the reverse-path; empty: the null one */
    LL_DMARC_ROW_SPF_DOMAIN, /* empty: no SPF of MAIL FROM */
    LL_DMARC_ROW_SPF_RESULT,
    LL_DMARC_ROW_TEXTS
};

/* Appends the texts that tell a record's policy: p, sp, np, fo, adkim, aspf, t. */
void ll_dmarc_report_policy(const struct ll_dmarc_record *, struct ll_buf *out);
/* Is this the list of a policy, of a row? What another process sent must be. */
bool ll_dmarc_report_is_policy(struct ll_slice policy);
bool ll_dmarc_report_is_row(struct ll_slice row);

struct ll_dmarc_report {
    struct ll_slice org;       /* who reports: our host name */
    struct ll_slice email;     /* and whom to ask */
    struct ll_slice id;        /* ridtxt, RFC 9990 3.5.1 */
    struct ll_slice generator; /* program and version */
    int64_t begin, end;        /* seconds since 1970 */
    struct ll_slice domain;    /* DMARC Policy Domain */
    struct ll_slice policy;
};

/* Append all but the rows, one row, and the end. Octets that XML or UTF-8 forbids become "?". */
void ll_dmarc_report_begin(const struct ll_dmarc_report *, struct ll_buf *out);
void ll_dmarc_report_row(struct ll_slice row, uint64_t count, struct ll_buf *out);
void ll_dmarc_report_end(struct ll_buf *out);

/* The address of a mailto URI (percents decoded, without what follows "?"), appended: false, where
 * it is another kind of URI or no local@domain of printable ASCII. */
bool ll_dmarc_report_mailto(struct ll_slice uri, struct ll_buf *out);

#endif
