/*
 * spool: what the journal holds of a letter, and what the queue hands to those who carry it on.
 *
 * Codecs only: the record of a letter (written by fronts and post, read by the queue), the job
 * (queue to relay, local and post) and its result. The byte formats stand at the top of the files
 * that code them (lib/spool/). Everything decoded borrows from the input; arrays come from the
 * caller's arena.
 */
#ifndef LETTERLOCK_SPOOL_H
#define LETTERLOCK_SPOOL_H

#include "letterlock/base.h"

/* ---- limits -------------------------------------------------------------------------------- */

#define LL_SPOOL_INLINE_MAX                                                                        \
    (256u << 10)                         /* octets of a body kept in the segment; longer: a file   \
                                          */
#define LL_SPOOL_RCPTS_MAX   1000        /* recipients of one letter (submission's limit) */
#define LL_SPOOL_PREPEND_MAX (32u << 10) /* octets of prepended header fields */
#define LL_JOB_RCPTS_MAX     100         /* recipients of one job */
#define LL_JOB_SMALL_MAX     (24u << 10) /* octets of a body that travels inside its job */
#define LL_DIAG_MAX          512         /* octets of one remote or local sentence */

/* ---- a letter -------------------------------------------------------------------------------- */

/* A letter's number for as long as this spool lives: segment << 32 | offset of its first record.
 * It stays the letter's own when the record is copied elsewhere. Shown as 13 base32 digits. */
void ll_letter_id_format(struct ll_buf *out, uint64_t id);
bool ll_letter_id_parse(struct ll_slice text, uint64_t *ret);

enum ll_origin { LL_ORIGIN_MX, LL_ORIGIN_SUBMISSION, LL_ORIGIN_POST };

enum ll_rcpt_kind {
    LL_RCPT_MAILBOX, /* lives here: `mailbox` names the Maildir */
    LL_RCPT_ALIAS,   /* known here, goes elsewhere: post expands it into a new letter */
    LL_RCPT_REMOTE,  /* by the route of its domain (a relayed domain is one of these) */
    LL_RCPT_REPORT,  /* takes reports: read by tally; what is none goes to `mailbox`, if any */
    LL_RCPT_KINDS
};

enum {                         /* ll_rcpt.flags */
       LL_RCPT_LOOPS = 1 << 0, /* the letter has been delivered to this address before */
       LL_RCPT_JUNK = 1 << 1,  /* MAILBOX: into its folder for junk */
       LL_RCPT_HOLD =
           1 << 2, /* this recipient's policy would have refused the letter: it is held */
};

enum { /* ll_rcpt.notify, RFC 3461 4.1; 0: not given */
       LL_NOTIFY_NEVER = 1 << 0,
       LL_NOTIFY_SUCCESS = 1 << 1,
       LL_NOTIFY_FAILURE = 1 << 2,
       LL_NOTIFY_DELAY = 1 << 3,
};

struct ll_rcpt {
    struct ll_slice address;      /* forward-path as accepted, local@domain, domain in A-labels */
    struct ll_slice mailbox;      /* MAILBOX, REPORT: canonical local@domain, detail removed */
    struct ll_slice reverse_path; /* of this recipient; usually the letter's own */
    struct ll_slice orcpt;        /* RFC 3461: "type;xtext" as received, or empty */
    uint8_t kind;                 /* enum ll_rcpt_kind */
    uint8_t notify;
    uint8_t flags;
};

enum {                              /* ll_letter.flags */
       LL_LETTER_8BIT = 1 << 0,     /* needs 8BITMIME */
       LL_LETTER_UTF8 = 1 << 1,     /* needs SMTPUTF8 */
       LL_LETTER_RET_HDRS = 1 << 2, /* RFC 3461 4.3 RET=HDRS */
       LL_LETTER_RET_FULL = 1 << 3,
       LL_LETTER_TRUSTED =
           1 << 4, /* from a login, trusted network or named peer: may be reported to */
       LL_LETTER_PROVED = 1 << 5, /* SPF or DKIM proved the reverse-path: likewise */
       LL_LETTER_OURS = 1 << 6,   /* it starts here, so we may change and sign it */
};

struct ll_letter {
    uint64_t id;
    int64_t arrived_ms; /* Unix time in milliseconds */
    uint8_t origin;     /* enum ll_origin */
    uint8_t flags;
    struct ll_slice reverse_path; /* empty: the null reverse-path */
    struct ll_slice envid;        /* RFC 3461 4.4 */
    struct ll_slice login;        /* who submitted it; empty for others */
    struct ll_slice facts;        /* one JSON object for the receipt: client, helo, tls, auth ... */
    struct ll_slice prepend;      /* whole header fields, CRLF, to stand before the body */
    struct ll_slice body;         /* the content as it came, CRLF lines; empty when in a file */
    uint64_t body_file;           /* number of its file, or 0 */
    uint64_t body_length;         /* octets of the content, in either place */
    uint32_t header_length; /* octets of the header section in the content, blank line included */
    struct ll_rcpt *rcpt;
    size_t n_rcpt;
};

/* ---- the journal: a segment is a head and records behind it -----------------------------------
 */

#define LL_SEGMENT_HEAD    32         /* octets of a segment's head */
#define LL_RECORD_HEAD     32         /* octets of a record before its envelope */
#define LL_RECORD_END      8          /* octets of its end mark */
#define LL_SPOOL_META_MAX  (2u << 20) /* octets of an envelope with prepended fields and facts */
#define LL_SPOOL_FACTS_MAX (32u << 10)

struct ll_segment_head {
    uint32_t segment;    /* its number, never given twice */
    uint64_t generation; /* random; part of the checksum of every record in it */
    uint8_t writer;      /* role of who appends (the queue's own: copies) */
    uint16_t index;      /* which worker of that role */
};

void ll_segment_head_encode(const struct ll_segment_head *, struct ll_buf *out);
bool ll_segment_head_decode(struct ll_slice in, struct ll_segment_head *ret);

struct ll_record_head {
    uint32_t meta_length; /* octets of the envelope */
    uint32_t body_length; /* octets of the content in this record; 0 where it has a file */
    uint32_t head_crc;    /* CRC32C of generation, head and envelope */
    uint32_t body_crc;    /* CRC32C of the content, in either place */
    uint64_t id;          /* the letter's */
};

static inline uint64_t ll_record_length(const struct ll_record_head *h)
{
    return (uint64_t)LL_RECORD_HEAD + h->meta_length + h->body_length + LL_RECORD_END;
}

/* Appends the whole record. body_crc: of the content in letter->body_file; not used without one.
 * A letter over the limits sets out->failed. */
void ll_record_encode(const struct ll_letter *, uint64_t generation, uint32_t body_crc,
                      struct ll_buf *out);
/* Reads the first LL_RECORD_HEAD octets; false when they cannot begin a record. The lengths are
 * within their limits but not proved yet: ll_record_decode does that. */
bool ll_record_head_decode(struct ll_slice in, struct ll_record_head *ret);
/* `in` is head and envelope exactly. Checks checksum and every limit. letter->body is left empty;
 * body_length says how long the content is. */
bool ll_record_decode(struct ll_slice in, uint64_t generation, struct ll_arena *,
                      struct ll_letter *ret);
bool ll_record_body_ok(const struct ll_record_head *, struct ll_slice body);
bool ll_record_end_ok(const struct ll_record_head *, struct ll_slice end);
/* Gives a valid whole record another generation, for a copy elsewhere. */
void ll_record_rebind(uint8_t *record, size_t n, uint64_t generation);

/* ---- the outcome log: what happened to each letter ------------------------------------------- */

#define LL_OUTLOG_HEAD       32
#define LL_OUTLOG_RECORD_MAX 4096 /* octets of one record */
#define LL_OUTLOG_LIST_MAX   400  /* recipients or letters in one record */

enum ll_rcpt_state {
    LL_RCPT_WAITING,    /* never tried */
    LL_RCPT_TRYING,     /* handed to a carrier */
    LL_RCPT_DEFERRED,   /* to be tried at `until` */
    LL_RCPT_HELD,       /* waits for the operator */
    LL_RCPT_FAILED,     /* a report is due */
    LL_RCPT_CONFIRMING, /* delivered, and a report of that is due (NOTIFY=SUCCESS) */
    LL_RCPT_DELIVERED,  /* from here on: over */
    LL_RCPT_RETURNED,   /* failed, and its report is a letter of its own, or none was due */
    LL_RCPT_DROPPED,    /* by the operator */
    LL_RCPT_STATES
};

const char *ll_rcpt_state_name(enum ll_rcpt_state);
static inline bool ll_rcpt_over(uint8_t state)
{
    return state >= LL_RCPT_DELIVERED;
}

enum ll_outlog_kind {
    LL_OUTLOG_STATE = 1, /* the state of some recipients of a letter, from now on */
    LL_OUTLOG_OVER,      /* these letters are over (written by checkpoints) */
    LL_OUTLOG_SEGMENT,   /* a segment was made */
    LL_OUTLOG_CLOSED,    /* a segment ends at `length`: what lies behind was never acknowledged */
    LL_OUTLOG_PAUSE,     /* a destination is paused by the operator, or not any more */
};

enum { LL_OUTLOG_WARNED = 1 }; /* flags of STATE: the sender has been told of the delay */
#define LL_OUTLOG_NAME_MAX 255 /* octets of a destination's name */

/* Every record says how things are, never how they changed: reading one twice does no harm. */
struct ll_outlog_record {
    uint8_t kind;
    /* STATE */
    uint64_t letter;
    uint8_t state;
    uint16_t attempts;
    uint8_t deaths;  /* carriers that died with it in hand */
    uint8_t flags;   /* LL_OUTLOG_WARNED */
    int64_t until_s; /* Unix time of the next try */
    uint16_t code;
    struct ll_slice status, text, remote; /* cut to 16, LL_DIAG_MAX and 300 octets */
    const uint32_t *rcpt;                 /* STATE: their indexes */
    const uint64_t *over;                 /* OVER: letters */
    size_t n;                             /* of rcpt or over */
    /* SEGMENT, CLOSED */
    uint32_t segment;
    uint64_t length;
    /* PAUSE */
    bool paused;
    struct ll_slice name; /* of the destination; "all": every one */
};

void ll_outlog_head_encode(uint32_t number, uint64_t generation, struct ll_buf *out);
bool ll_outlog_head_decode(struct ll_slice in, uint32_t *ret_number, uint64_t *ret_generation);
void ll_outlog_encode(const struct ll_outlog_record *, uint64_t generation, struct ll_buf *out);
/* Takes the first record of `in`. Returns its octets; 0 when `in` holds no whole, sound record at
 * its start: the end of the log. */
size_t ll_outlog_decode(struct ll_slice in, uint64_t generation, struct ll_arena *,
                        struct ll_outlog_record *ret);

/* ---- a job: one try at some recipients of one letter ----------------------------------------- */

enum ll_job_kind {
    LL_JOB_DELIVER, /* to relay and local */
    LL_JOB_REPORT,  /* to post: build a DSN for these recipients, whose outcome is given: FAILED,
                     * DEFERRED (delayed), DELIVERED, RELAYED or EXPANDED */
    LL_JOB_FORWARD, /* to post: expand the alias, append the letter anew for its targets */
    LL_JOB_READ,    /* to tally: read the report in it. FAILED: there is none that can be read */
    LL_JOB_KINDS
};

enum ll_outcome {
    LL_OUTCOME_DELIVERED, /* taken over by the next hop, the mailbox, or a new letter */
    LL_OUTCOME_DEFERRED,  /* to be tried again */
    LL_OUTCOME_FAILED,    /* never: a report is due */
    LL_OUTCOME_AGAIN,     /* not tried in this job: hand it out anew, it counts as no attempt */
    LL_OUTCOME_PASSED,    /* DELIVERED, and who took it over sends the reports that NOTIFY asks for
                           * (RFC 3461 5.2.1) */
    LL_OUTCOME_RELAYED,   /* REPORT only: taken over by a server that sends no reports (5.2.2) */
    LL_OUTCOME_EXPANDED,  /* REPORT only: went on to those whom an alias names (5.2.7.3) */
    LL_OUTCOMES
};

enum ll_trouble { /* of a destination, as a job's result tells it */
                  LL_TROUBLE_NONE,
                  LL_TROUBLE_FAILED,    /* no connection, a session that broke, a time-out */
                  LL_TROUBLE_THROTTLED, /* it wants less: 421, or 4.7.x (RFC 3463 3.8) */
                  LL_TROUBLES
};

struct ll_job_rcpt {
    uint32_t index; /* in the letter's list */
    uint8_t kind;
    uint8_t notify;
    uint8_t flags; /* as of ll_rcpt */
    struct ll_slice address;
    struct ll_slice mailbox;
    struct ll_slice orcpt;
    /* REPORT only: how it ended */
    uint8_t outcome;
    uint16_t code;          /* SMTP code, or 0 */
    struct ll_slice status; /* "5.1.1" */
    struct ll_slice text;   /* clean ASCII, at most LL_DIAG_MAX octets */
    struct ll_slice remote; /* name of the server that said so, or empty */
};

struct ll_job {
    uint64_t letter;
    int64_t arrived_ms;
    uint32_t attempt;            /* from 1 */
    uint8_t kind;                /* enum ll_job_kind */
    uint8_t flags;               /* of the letter */
    struct ll_slice destination; /* DELIVER by relay: the next-hop domain */
    struct ll_slice reverse_path;
    struct ll_slice envid;
    struct ll_slice login;
    struct ll_slice prepend;
    uint64_t
        body_offset; /* of the content in the descriptor; the descriptor holds no other letter */
    uint64_t body_length;
    uint32_t header_length;
    struct ll_job_rcpt *rcpt;
    size_t n_rcpt;
};

struct ll_job_result_rcpt {
    uint32_t index;
    uint8_t outcome;
    uint16_t code;
    struct ll_slice status;
    struct ll_slice text;
    struct ll_slice remote; /* "mx.example [192.0.2.1]:25", or empty */
};

struct ll_job_result {
    uint64_t letter;
    uint8_t trouble;       /* enum ll_trouble */
    struct ll_slice facts; /* one JSON object for the receipt: remote, tls, duration ... */
    uint64_t new_letter;   /* REPORT, FORWARD: the letter that took over, 0 when none was due */
    struct ll_job_result_rcpt *rcpt;
    size_t n_rcpt;
};

void ll_job_encode(const struct ll_job *, struct ll_buf *out);
/* Every octet used, counts within the limits; false otherwise or when the arena is exhausted. */
bool ll_job_decode(struct ll_slice in, struct ll_arena *, struct ll_job *ret);
void ll_job_result_encode(const struct ll_job_result *, struct ll_buf *out);
bool ll_job_result_decode(struct ll_slice in, struct ll_arena *, struct ll_job_result *ret);

/* ---- the retry schedule: a pure function -------------------------------------------------------
 */

struct ll_retry_conf {
    int64_t first_s, max_s, lifetime_s;
};

/* Seconds to wait before attempt `attempt + 1`, or -1 when the letter's time is over. `random` is
 * any 64 random bits: the jitter (RFC 5321 4.5.4.1: two tries in the first hour). */
int64_t ll_retry_wait(const struct ll_retry_conf *, uint32_t attempt, int64_t age_s,
                      uint64_t random);

#endif
