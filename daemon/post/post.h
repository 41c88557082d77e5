/*
 * post: the inside of the process that makes letters here: delivery reports, and letters handed on
 * by aliases. See post.c for the life of a job.
 */
#ifndef LL_POST_POST_H
#define LL_POST_POST_H

#include "daemon/dkim_client.h"
#include "daemon/journal/writer.h"
#include "daemon/proc.h"
#include "letterlock/arc.h"
#include "letterlock/spool.h"

#include <sys/queue.h>

#define POST_JOBS_MAX    256        /* at once; more are handed back */
#define POST_ARENA_MAX   (8u << 20) /* octets of one job: itself, a small body, its targets */
#define POST_TARGETS_MAX LL_SPOOL_RCPTS_MAX
#define POST_ASK_MS      60000 /* for the answers of auth */

struct target {
    struct ll_slice address;
    struct ll_slice mailbox;
    const struct ll_job_rcpt *of; /* FORWARD: the alias that names it */
    uint8_t kind;                 /* enum ll_addr_kind; LATER until the answer is there */
    bool answered;
};

enum step {
    STEP_ALIAS, /* auth is asked what the aliases name */
    STEP_ADDR,  /* and what those are */
    STEP_SEAL,  /* dns is asked for the keys of the letter's ARC chain */
    STEP_STORE, /* the writer has the letter */
};

/* FORWARD: the ARC set on top of what goes outside. */
struct seal {
    bool tried;
    struct ll_dkim_letter *letter;
    struct ll_arc *arc;
    struct ll_arc_sealer *sealer;
    struct ll_buf set; /* the three fields; empty: none */
};

struct job {
    TAILQ_ENTRY(job) all;
    struct post *post;
    uint64_t id; /* of the queue's message */
    struct ll_arena arena;
    struct ll_job job;
    struct ll_slice body; /* of a small letter */
    int fd;               /* of others, or -1 */
    uint32_t slot;
    uint16_t serial;
    uint8_t step;
    bool orphan; /* the queue that wants the answer is gone */
    uint64_t deadline;
    size_t waiting; /* answers still to come */
    struct target *targets;
    size_t n_targets;
    bool *single; /* FORWARD: of each recipient, the alias names one address */
    struct ll_slice
        sender; /* FORWARD: the reverse-path of what leaves us; empty: the letter's own */
    struct ll_job_result_rcpt *results; /* one a recipient of the job */
    struct seal seal;
};

struct post {
    struct ll_proc *proc;
    struct ll_writer *writer;
    struct ll_dkim_client *dkim;
    struct post_dues *dues;
    struct event *tick;
    TAILQ_HEAD(jobs, job) jobs;
    struct job *slots[POST_JOBS_MAX];
    uint16_t serial;
};

/* post.c */
/* The job is over: every recipient's result is in job->results. Frees the job. */
void post_finish(struct job *, uint64_t new_letter);
/* All recipients get this result. */
void post_result_all(struct job *, enum ll_outcome, uint16_t code, const char *status,
                     const char *text);
void post_result(struct job *, size_t i, enum ll_outcome, uint16_t code, const char *status,
                 const char *text);
/* Appends the letter and finishes the job when it is durable, its results as they are then; or
 * defers all of it. The letter's arrival, origin, id fields are set here. */
void post_append(struct job *, struct ll_letter *, struct ll_body_file *file);
/* The Received field that begins what we prepend; false without a segment. */
bool post_received(struct post *, struct ll_buf *out, int64_t unix_s);
/* One more target; false when there are too many. */
bool post_target(struct job *, struct ll_slice address, const struct ll_job_rcpt *of);
/* Asks auth what every target is; post_known is called when all answers are there. */
void post_ask_targets(struct job *);
/* The header of the job's letter, octets as stored, at most max; false when it cannot be read. */
bool post_read(struct job *, uint64_t offset, size_t n, struct ll_buf *out);

/* report.c: REPORT. */
void report_begin(struct job *);
void report_known(struct job *); /* its target is known */

/* Puts the DKIM signatures of a letter that starts here into prepend, where there are keys. */
void post_sign(struct post *, struct ll_slice content, struct ll_buf *prepend);

/* due.c: reports that tally has made (RFC 9990, 9991). */
struct post_dues *post_dues_new(struct post *);
int post_due(struct ll_peer *, const struct ll_msg *);
int post_dues_dns(struct post_dues *, const struct ll_msg *);
void post_dues_addr(struct post_dues *, const struct ll_msg *);
void post_dues_tick(struct post_dues *);
void post_dues_tally_down(struct post_dues *); /* nobody waits for what is in hand */

/* forward.c: FORWARD. */
void forward_begin(struct job *);
int forward_on_alias(struct job *, size_t i, const struct ll_m_alias_answer *);
void forward_known(struct job *);

/* The kind of recipient that an answer of auth makes (enum ll_rcpt_kind); false: none. */
bool post_rcpt_kind(uint8_t addr_kind, uint8_t *ret);

/* seal.c: is there to be an ARC set, and is none yet? */
bool seal_wanted(const struct job *);
void seal_begin(struct job *); /* calls forward_known when it has ended, whichever way */
void seal_on_dns(struct job *, uint32_t need, const struct ll_dns_answer *);
void seal_release(struct job *);
/* Puts a need to dns; the answer goes to seal_on_dns. */
bool post_ask_dns(struct job *, const struct ll_need *);

#endif
