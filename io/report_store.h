/*
 * report_store: the reports that came, in one SQLite file: the role tally and letterlock(1) write
 * and read it.
 *
 *   reports(id, org, report, domain, first, last, p, received, reporter, proof)
 *   records(report, source, letters, done, dkim, spf, reason, author, signer, sender)
 *   failures(received, type, domain, source, failure, sender, arrived, reporter, proof)
 *
 * A report that comes twice counts once (RFC 9990 3.5.4). All but the numbers is text that a
 * stranger chose, at most LL_REPORT_TEXT_MAX octets. What came more than LL_REPORT_KEEP_DAYS ago is
 * dropped when the next report comes. Every call that can fail appends one sentence to ret_err.
 */
#ifndef LL_IO_REPORT_STORE_H
#define LL_IO_REPORT_STORE_H

#include "io/report.h"

#define LL_REPORT_STORE_VERSION 2
#define LL_REPORT_STORE_OCTETS  (1u << 30) /* of the file: what comes then is refused */
#define LL_REPORT_KEEP_DAYS     400
#define LL_REPORT_BUSY_MS       10000 /* for another command that writes */

struct ll_report_store;

/* write: makes the file (mode 0600) where there is none. NULL: ret_err says why. */
struct ll_report_store *ll_report_store_open(const char *path, bool write, struct ll_buf *ret_err);
void ll_report_store_close(struct ll_report_store *);

/* Who sent the letter with the report, and how we know. */
struct ll_report_origin {
    struct ll_slice reporter; /* domain in its From; empty: not known */
    const char *proof;        /* what DMARC said of it: pass, fail, none ...; login: our own user;
                               * unchecked:        DMARC is off; import: the operator took it in */
};

enum ll_report_added { LL_REPORT_ADDED, LL_REPORT_KNOWN, LL_REPORT_NOT_ADDED };
/* All of it or nothing. unix_s: now. */
enum ll_report_added ll_report_store_add(struct ll_report_store *, const struct ll_report_node *top,
                                         const struct ll_report_origin *, int64_t unix_s,
                                         struct ll_buf *ret_err);
/* How many reports came since then: of that reporter, if proved; of "" all whose sender is not
 * proved; of "*" all. */
bool ll_report_store_came(struct ll_report_store *, int64_t since, struct ll_slice reporter,
                          uint64_t *ret, struct ll_buf *ret_err);

/* What was told of one source of letters with one domain. */
struct ll_report_source {
    struct ll_slice domain;            /* of the policy */
    struct ll_slice source;            /* IP address */
    struct ll_slice author;            /* one of the domains in From */
    struct ll_slice p;                 /* the policy, as last told */
    uint64_t letters, pass, dkim, spf; /* in all; DMARC, and each of its two ways, passed */
    uint64_t quarantined, rejected;
    uint64_t unproved;      /* letters that only reports told of whose own sender was not proved */
    uint64_t reporters;     /* who told of it */
    int64_t first, last;    /* seconds since 1970 */
    struct ll_slice reason; /* of a letter that failed: why the receiver did not apply the policy */
    struct ll_slice signer; /* likewise: a domain whose DKIM signature was good, */
    struct ll_slice sender; /* or whose SPF passed; empty: none */
};
/* Sources in reports that end after `since`, of this domain (empty: all); those with most letters
 * that failed first. Then next, until it is false; slices live until the next call. */
bool ll_report_store_sources(struct ll_report_store *, int64_t since, struct ll_slice domain,
                             struct ll_buf *ret_err);
bool ll_report_store_next_source(struct ll_report_store *, struct ll_report_source *ret);

struct ll_report_failure {
    int64_t received;
    struct ll_slice type, domain, source, failure, sender, arrived, reporter, proof;
};
/* The same of failure and abuse reports, the last that came first. */
bool ll_report_store_failures(struct ll_report_store *, int64_t since, struct ll_slice domain,
                              struct ll_buf *ret_err);
bool ll_report_store_next_failure(struct ll_report_store *, struct ll_report_failure *ret);
/* Who reported. */
struct ll_report_reporter {
    struct ll_slice reporter, proof; /* as of struct ll_report_origin */
    struct ll_slice org;             /* what one of the reports calls it */
    uint64_t reports, letters;
    int64_t last; /* when the last of them came */
};
bool ll_report_store_reporters(struct ll_report_store *, int64_t since, struct ll_slice domain,
                               struct ll_buf *ret_err);
bool ll_report_store_next_reporter(struct ll_report_store *, struct ll_report_reporter *ret);
/* After a next that was false: was that the end? false: it went wrong. */
bool ll_report_store_end(struct ll_report_store *, struct ll_buf *ret_err);

#endif
