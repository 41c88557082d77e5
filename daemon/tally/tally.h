/*
 * tally: the inside of the process that keeps what is reported: reports that came, and what is
 * counted for those that go. It holds the SQLite files in reports/ of state_dir, and neither
 * network nor spool; a stranger's report is read by the role report, never here.
 *
 *   tally.c   role ops
 *   intake.c  letters with reports: read by a process of their own, then stored
 *   count.c   what front-mx found of letters, for the reports that we send
 *   due.c     reports that are due: handed to post, tried again, given up
 */
#ifndef LL_TALLY_TALLY_H
#define LL_TALLY_TALLY_H

#include "daemon/proc.h"
#include "io/report_out.h"
#include "io/report_store.h"
#include "letterlock/spool.h"

#include <sys/queue.h>

/* A flood of reports is put off, and comes again from the queue as any letter that is deferred. */
#define TALLY_DAY_ALL      5000 /* reports a day, of everybody */
#define TALLY_DAY_REPORTER 500  /* of one domain that DMARC proved */
#define TALLY_DAY_UNPROVED 200  /* of all whose sender is not proved, together */
#define TALLY_JOBS_MAX     16   /* letters in hand */
#define TALLY_TRIES        3    /* processes that one letter may take with it */
#define TALLY_TICK_S       1
#define TALLY_RUA_MAX      4096 /* octets of a domain's list of addresses */
#define TALLY_DUE_MAX      8    /* reports that post has in hand; daemon/post/due.c knows it too */
#define TALLY_HOST_HOUR    500  /* aggregate reports an hour to addresses of one host */
/* Failure reports an hour; whoever forges a domain's letters by the thousand makes no flood of
 * them. */
#define TALLY_FAILURES_DOMAIN 10
#define TALLY_FAILURES_ALL    200

struct due_slot {
    struct ll_report_due due; /* id 0: free */
    struct ll_arena arena;    /* of its texts */
    uint64_t question;
};

struct tally {
    struct ll_proc *proc;
    struct event *tick;
    struct ll_report_store *came; /* NULL: it cannot be opened now */
    uint64_t complained_ms;
    TAILQ_HEAD(intakes, intake) intakes; /* the first is with the reader, if `asked` */
    size_t n_intakes;
    bool asked;
    uint64_t question, deadline;
    struct ll_report_out *out; /* NULL: likewise */
    int64_t begin;             /* of the period; 0: not known yet */
    uint64_t not_counted;      /* letters, for want of room */
    struct due_slot due[TALLY_DUE_MAX];
};

/* tally.c */
/* Path of a file in reports/; false: too long. */
bool tally_path(const struct tally *, const char *name, struct ll_buf *out);
/* What is wrong with a store, at most once in 10 s. */
void tally_complain(struct tally *, struct ll_buf *err);

/* intake.c */
int intake_job(struct ll_peer *, const struct ll_msg *);       /* JOB */
int intake_job_small(struct ll_peer *, const struct ll_msg *); /* JOB_SMALL */
int intake_read(struct ll_peer *, const struct ll_msg *);      /* READ_ANSWER */
void intake_go(struct tally *);          /* gives the next letter to the reader, if it can */
void intake_reader_down(struct tally *); /* it has ended, with or without an answer */
void intake_queue_down(struct tally *);
void intake_tick(struct tally *, uint64_t now_ms);

/* count.c */
bool tally_out(struct tally *);
void tally_out_failed(struct tally *, struct ll_buf *err);
int count_seen(struct ll_peer *, const struct ll_msg *); /* DMARC_SEEN */
void count_tick(struct tally *);

/* due.c */
int due_failed(struct ll_peer *, const struct ll_msg *); /* DMARC_FAILED */
int due_done(struct ll_peer *, const struct ll_msg *);   /* DUE_DONE */
void due_go(struct tally *);                             /* hands over what is due, if it can */
void due_post_down(struct tally *);

#endif
