/*
 * report_out: what is counted for the reports that we send, and the reports that are due, in one
 * SQLite file of the role tally (reports/out.db).
 *
 *   topics(id, begin, end, domain, org, rua, policy, report)   a domain and a period; end 0: goes
 * on rows(topic, row, letters)                                  equal findings, counted due(id,
 * topic, kind, domain, org, uri, most, content, next, attempts, expires) sent(time, kind, domain,
 * address, host, result, why)       for `report dmarc --sent`, and rates
 *
 * Counts are gathered in a transaction that ll_report_out_flush ends: what was counted before it is
 * durable, and nothing is ever counted twice. A report keeps its Report-ID however often it is
 * tried, so that one that is sent twice (a crash between the journal and here) is known as the same
 * (RFC 9990 3.5.1). Every call that can fail appends one sentence to ret_err and leaves the file as
 * it was.
 */
#ifndef LL_IO_REPORT_OUT_H
#define LL_IO_REPORT_OUT_H

#include "letterlock/dmarc_report.h"

#define LL_REPORT_OUT_VERSION    1
#define LL_REPORT_OUT_TOPICS_MAX 1000  /* domains with a report a period */
#define LL_REPORT_OUT_ROWS_MAX   50000 /* of all reports of a period */
#define LL_REPORT_OUT_TOPIC_ROWS                                                                   \
    2000                         /* of one: its letter fits into the journal without a file        \
                                  */
#define LL_REPORT_OUT_URIS_MAX 2 /* addresses of one domain that get its report */
#define LL_REPORT_OUT_LIFE_S   (2 * 86400)  /* how long a report is tried */
#define LL_REPORT_OUT_KEEP_S   (90 * 86400) /* how long it is remembered what was sent */
#define LL_REPORT_OUT_DUE_MAX  10000        /* reports that wait */

struct ll_report_out;

/* write: makes the file (mode 0600) where there is none. NULL: ret_err says why. */
struct ll_report_out *ll_report_out_open(const char *path, bool write, struct ll_buf *ret_err);
/* Ends the open transaction, too. */
void ll_report_out_close(struct ll_report_out *);

struct ll_report_seen {
    struct ll_slice domain, org, rua, policy, row; /* as of message DMARC_SEEN */
};
enum ll_report_counted { LL_REPORT_COUNTED, LL_REPORT_FULL, LL_REPORT_NOT_COUNTED };
/* One letter more, in the period that goes on; begin: where it is the first one of that. */
enum ll_report_counted ll_report_out_count(struct ll_report_out *, const struct ll_report_seen *,
                                           int64_t begin, struct ll_buf *ret_err);
/* Makes durable what was counted. */
bool ll_report_out_flush(struct ll_report_out *, struct ll_buf *ret_err);
/* When the period that goes on began, by what is counted; 0: nothing is. */
int64_t ll_report_out_begin(const struct ll_report_out *);

/* The period is over: each of its domains gets a report at each of its addresses, due now. random:
 * at least 16 octets that begin the Report-IDs. */
bool ll_report_out_end(struct ll_report_out *, int64_t end, int64_t now, struct ll_slice random,
                       struct ll_buf *ret_err);
/* A failure report is due: content is what post makes the letter from. FULL: too many wait. */
enum ll_report_counted ll_report_out_failed(struct ll_report_out *, struct ll_slice domain,
                                            struct ll_slice org, struct ll_slice ruf,
                                            struct ll_slice content, int64_t now,
                                            struct ll_buf *ret_err);

struct ll_report_due {
    int64_t id, topic;
    uint8_t kind; /* enum ll_due_kind */
    struct ll_slice domain, org, uri;
    uint64_t most;           /* octets that the address takes ("!10m"); 0: not said */
    struct ll_slice content; /* FAILURE */
    struct ll_slice report;  /* AGGREGATE: Report-ID, policy, first and last second */
    struct ll_slice policy;
    int64_t begin, end;
    int64_t attempts, expires;
};
/* The report that has been due longest and is none of busy, in the arena. 1; 0: none is due; -1. */
int ll_report_out_next(struct ll_report_out *, int64_t now, const int64_t *busy, size_t n_busy,
                       struct ll_arena *, struct ll_report_due *ret, struct ll_buf *ret_err);
/* The rows of its report, with their letters; then next_row until it is false. */
bool ll_report_out_rows(struct ll_report_out *, int64_t topic, struct ll_buf *ret_err);
bool ll_report_out_next_row(struct ll_report_out *, struct ll_slice *ret_row,
                            uint64_t *ret_letters);

/* It was sent to that address, or never will be (result "dropped", why says why): it is not due any
 * more.
 */
bool ll_report_out_done(struct ll_report_out *, const struct ll_report_due *,
                        struct ll_slice address, const char *result, struct ll_slice why,
                        int64_t now, struct ll_buf *ret_err);
/* It is tried again then; attempt: this was one. */
bool ll_report_out_later(struct ll_report_out *, int64_t id, int64_t next, bool attempt,
                         struct ll_buf *ret_err);
/* How many aggregate reports were sent to addresses of that host since then. -1 on failure. */
int64_t ll_report_out_sent(struct ll_report_out *, struct ll_slice host, int64_t since,
                           struct ll_buf *ret_err);
/* How many failure reports about that domain (empty: any) wait, or ended since then. -1 likewise.
 */
int64_t ll_report_out_failures(struct ll_report_out *, struct ll_slice domain, int64_t since,
                               struct ll_buf *ret_err);

/* What was sent, and what waits (result "due", why: attempts), last first; for people. */
struct ll_report_line {
    int64_t time;
    uint8_t kind;
    struct ll_slice domain, address, result, why;
};
bool ll_report_out_lines(struct ll_report_out *, int64_t since, struct ll_slice domain,
                         struct ll_buf *ret_err);
bool ll_report_out_next_line(struct ll_report_out *, struct ll_report_line *ret);

#endif
