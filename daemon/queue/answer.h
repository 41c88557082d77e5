/*
 * Control's questions: what the files that answer them share. See answer.c.
 */
#ifndef LL_DAEMON_QUEUE_ANSWER_H
#define LL_DAEMON_QUEUE_ANSWER_H

#include "daemon/queue/queue.h"

struct filter {
    bool held, all, any;
    bool has_id;
    uint64_t id;
    struct ll_slice domain, sender, rcpt; /* borrow from `args` */
    struct ll_slice name;                 /* of a destination */
};

struct answer {
    struct link link;
    struct ll_peer *peer;
    uint64_t ask;
    const struct verb *verb;
    char *args;
    struct filter filter;
    size_t bucket;    /* of the walk */
    uint64_t count;   /* letters that were changed */
    uint64_t round;   /* of the outcome log, behind which that is durable */
    char (*days)[16]; /* of a trace: files, oldest first */
    size_t n_days, day;
    int fd;
    bool accepted;  /* a trace shows the first of these alone */
    unsigned waits; /* turns that a trace has waited */
    bool held;      /* control has enough for now */
    struct ll_buf chunk;
    char needle[32];
};

struct verb {
    const char *name;
    bool (*step)(struct queue *, struct answer *, uint64_t deadline); /* true: it is done */
    bool needs_id;
    bool needs_filter; /* never on everything by mistake */
    bool names;        /* a destination is named, not letters */
};

/* ---- show.c: lines, and what they say of letters and destinations ---------------------------- */

void answer_line(struct answer *, struct ll_slice line);
void answer_end(struct ll_peer *, uint64_t ask, int status, const char *text);
void answer_text(struct queue *, struct answer *,
                 struct ll_buf *text); /* one sentence; clears it */
void answer_show(struct queue *, struct answer *, const struct letter *, const struct ll_letter *,
                 bool whole);
/* The letter asked for; NULL: the question was answered. */
struct letter *answer_the_letter(struct queue *, struct answer *);
bool answer_step_show(struct queue *, struct answer *, uint64_t deadline);
bool answer_step_why(struct queue *, struct answer *, uint64_t deadline);

/* ---- answer.c -------------------------------------------------------------------------------- */

/* Does the filter mean this recipient of a letter that matches? */
bool answer_picks(const struct filter *, struct ll_slice address);
bool answer_matches(const struct filter *, const struct letter *, const struct ll_letter *);
/* Visits the letters that match; `visit` may free the letter. True at the end of the index. */
bool answer_walk(struct queue *, struct answer *, uint64_t deadline,
                 void (*visit)(struct queue *, struct answer *, struct letter *,
                               const struct ll_letter *));

/* ---- change.c: what the operator changes ----------------------------------------------------- */

bool answer_step_retry(struct queue *, struct answer *, uint64_t deadline);
bool answer_step_drop(struct queue *, struct answer *, uint64_t deadline);
bool answer_step_hold(struct queue *, struct answer *, uint64_t deadline);
bool answer_step_release(struct queue *, struct answer *, uint64_t deadline);
bool answer_step_pause(struct queue *, struct answer *, uint64_t deadline);
bool answer_step_resume(struct queue *, struct answer *, uint64_t deadline);
bool answer_step_pauses(struct queue *, struct answer *, uint64_t deadline);

#endif
