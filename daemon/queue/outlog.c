/*
 * The outcome log. See queue.h.
 *
 * What happened is appended to memory, and a thread writes and flushes it; soon after, not at once,
 * so that many outcomes share a flush. Files that an outcome made needless are removed by the same
 * thread, behind the flush. A log that grew too long is followed by a new one, into which the
 * present state of everything is written bit by bit between other work (a checkpoint); when that
 * is durable, the old logs go. A failed flush is answered by a new log and a whole checkpoint, and
 * nothing is handed out until that is durable.
 */
#include "daemon/queue/queue.h"

#include "io/clock.h"
#include "io/log.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#define GATHER_MS       20           /* how long an outcome waits for others */
#define GATHER_MAX      (256u << 20) /* octets */
#define LOG_MAX         (32u << 20)  /* octets at which a checkpoint begins, or: */
#define LOG_SHARE       2            /* on a small disk: this part of a segment, which is small */
#define LOG_GROWS       2            /* so many times its size behind the last one */
#define SLICE_BUCKETS   2048         /* of the index, written in one turn of a checkpoint */
#define SLICE_PENDING   (4u << 20)   /* octets that a checkpoint leaves waiting for the disk */
#define KEEP_MAX        (8u << 20)   /* octets of a buffer that is kept for the next round */
#define NAME_MAX_OCTETS 24

/* ---- the thread ------------------------------------------------------------------------------ */

static int write_all(int fd, const uint8_t *p, size_t n)
{
    while (n > 0) {
        ssize_t r = write(fd, p, n);

        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return r < 0 ? errno : ENOSPC;
        p += r;
        n -= (size_t)r;
    }
    return 0;
}

static int round_of_thread(struct outlog *o)
{
    int error = write_all(o->fd, o->flight.p, o->flight.n);

    if (error == 0 && o->flight.n > 0 && fdatasync(o->fd) != 0)
        error = errno;
    if (o->receipts_fd >= 0 && o->receipts_flight.n > 0)
        write_all(o->receipts_fd, o->receipts_flight.p, o->receipts_flight.n);
    for (size_t i = 0; error == 0 && i < o->n_removals_flight; i++) {
        struct removal *r = &o->removals_flight[i];

        /* A segment that came back with the power would find no log that calls its letters over. */
        if (r->flush_first >= 0 && fsync(r->flush_first) != 0)
            break; /* the old logs stay until the next start */
        unlinkat(r->dir, r->name, 0);
    }
    return error;
}

static void *log_thread(void *arg)
{
    struct outlog *o = arg;
    const uint64_t one = 1;

    for (;;) {
        while (sem_wait(&o->loaded) != 0)
            ; /* EINTR */
        o->error = round_of_thread(o);
        while (write(o->wake, &one, sizeof(one)) < 0 && errno == EINTR)
            ;
    }
    return NULL;
}

/* ---- logs ------------------------------------------------------------------------------------ */

static void log_name(char name[NAME_MAX_OCTETS], uint32_t number)
{
    snprintf(name, NAME_MAX_OCTETS, "%08x.log", number);
}

/* Opens the log behind the present one. */
static int log_begin(struct queue *q)
{
    struct outlog *o = &q->log;
    uint8_t raw[LL_OUTLOG_HEAD];
    struct ll_buf b = {raw, 0, sizeof(raw), sizeof(raw), false};
    char name[NAME_MAX_OCTETS];
    uint64_t generation;
    int fd;

    if (getrandom(&generation, sizeof(generation), 0) != (ssize_t)sizeof(generation))
        return -1;
    log_name(name, o->number + 1);
    fd = openat(q->log_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST)
        o->number++; /* left by an attempt that failed */
    if (fd < 0)
        return -1;
    ll_outlog_head_encode(o->number + 1, generation, &b);
    if (write(fd, raw, sizeof(raw)) != (ssize_t)sizeof(raw) || fdatasync(fd) != 0 ||
        fsync(q->log_dir) != 0) {
        close(fd);
        unlinkat(q->log_dir, name, 0);
        return -1;
    }
    if (o->fd >= 0)
        close(o->fd);
    o->fd = fd;
    o->number++;
    o->generation = generation;
    o->size = LL_OUTLOG_HEAD;
    return 0;
}

static void old_logs_remove(struct queue *q)
{
    struct outlog *o = &q->log;
    char name[NAME_MAX_OCTETS];

    for (; o->oldest < o->number; o->oldest++) {
        log_name(name, o->oldest);
        outlog_remove(q, q->log_dir, name);
        if (o->n_removals > 0)
            o->removals[o->n_removals - 1].flush_first = q->segments_dir;
    }
}

/* ---- appending ------------------------------------------------------------------------------- */

static void append(struct queue *q, const struct ll_outlog_record *r)
{
    struct outlog *o = &q->log;
    size_t before = o->gather.n;

    ll_outlog_encode(r, o->generation, &o->gather);
    if (o->gather.failed) {
        o->gather.n = before;
        o->gather.failed = false;
        o->broken = true; /* the checkpoint behind it says what this would have said */
    }
    outlog_kick(q);
}

static void state_record(struct queue *q, const struct letter *l, const uint32_t *rcpt, size_t n)
{
    const struct rcpt *first = &l->rcpt[rcpt[0]];
    struct reply_view v = reply_view(first->reply);
    struct ll_outlog_record r = {.kind = LL_OUTLOG_STATE,
                                 .letter = l->id,
                                 .state = first->state,
                                 .attempts = first->attempts,
                                 .deaths = first->deaths,
                                 .flags = first->flags & RCPT_WARNED ? LL_OUTLOG_WARNED : 0,
                                 .until_s = first->pair ? first->pair->until_s : 0,
                                 .code = v.code,
                                 .status = v.status,
                                 .text = v.text,
                                 .remote = v.remote,
                                 .rcpt = rcpt,
                                 .n = n};

    append(q, &r);
}

static bool alike(const struct rcpt *a, const struct rcpt *b)
{
    return a->state == b->state && a->attempts == b->attempts && a->deaths == b->deaths &&
           a->reply == b->reply && a->pair == b->pair &&
           (a->flags & RCPT_WARNED) == (b->flags & RCPT_WARNED);
}

void outlog_state(struct queue *q, const struct letter *l, const uint32_t *rcpt, size_t n)
{
    for (size_t from = 0, to; from < n; from = to) {
        for (to = from + 1; to < n && to - from < LL_OUTLOG_LIST_MAX; to++)
            if (!alike(&l->rcpt[rcpt[from]], &l->rcpt[rcpt[to]]))
                break;
        state_record(q, l, rcpt + from, to - from);
    }
}

void outlog_closed(struct queue *q, uint32_t segment, uint64_t length)
{
    struct ll_outlog_record r = {.kind = LL_OUTLOG_CLOSED, .segment = segment, .length = length};

    append(q, &r);
}

/* The highest number given so far, for a start at which neither folder nor other records name it.
 */
void outlog_segment(struct queue *q)
{
    struct ll_outlog_record r = {.kind = LL_OUTLOG_SEGMENT, .segment = q->next_segment - 1};

    append(q, &r);
}

void outlog_pause(struct queue *q, struct ll_slice destination, bool paused)
{
    struct ll_outlog_record r = {.kind = LL_OUTLOG_PAUSE, .name = destination, .paused = paused};

    append(q, &r);
}

void outlog_remove(struct queue *q, int dir, const char *name)
{
    struct outlog *o = &q->log;
    struct removal *r;

    if (o->n_removals == o->cap_removals) {
        size_t cap = o->cap_removals ? o->cap_removals * 2 : 64;
        struct removal *removals = realloc(o->removals, cap * sizeof(*removals));

        if (!removals)
            return; /* the next start removes it */
        o->removals = removals;
        o->cap_removals = cap;
    }
    r = &o->removals[o->n_removals++];
    r->dir = dir;
    r->flush_first = -1;
    snprintf(r->name, sizeof(r->name), "%s", name);
    outlog_kick(q);
}

bool outlog_idle(const struct queue *q)
{
    const struct outlog *o = &q->log;

    return !o->busy && o->gather.n == 0 && o->n_removals == 0 && o->receipts.n == 0;
}

bool outlog_behind(const struct queue *q)
{
    const struct outlog *o = &q->log;

    return !o->broken && (o->gather.n > SLICE_PENDING || o->receipts.n > SLICE_PENDING);
}

void outlog_kick(struct queue *q)
{
    struct timeval soon = {0, GATHER_MS * 1000};

    if (q->log.kick && !q->log.busy && !event_pending(q->log.kick, EV_TIMEOUT, NULL))
        event_add(q->log.kick, &soon);
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

static void checkpoint_letter(struct queue *q, const struct letter *l)
{
    uint32_t list[LL_OUTLOG_LIST_MAX];
    size_t n = 0;

    for (uint32_t i = 0; i < l->n_rcpt; i++) {
        if (l->rcpt[i].state == LL_RCPT_WAITING && l->rcpt[i].attempts == 0 &&
            l->rcpt[i].deaths == 0 && !(l->rcpt[i].flags & RCPT_WARNED))
            continue;
        list[n++] = i;
        if (n == LL_OUTLOG_LIST_MAX) {
            outlog_state(q, l, list, n);
            n = 0;
        }
    }
    if (n > 0)
        outlog_state(q, l, list, n);
}

/* Some letters that are over, whose segment is still there. False when there are no more. */
static bool checkpoint_over(struct queue *q)
{
    struct outlog *o = &q->log;
    struct segment *s = o->at_segment;
    struct ll_outlog_record r = {.kind = LL_OUTLOG_OVER};

    if (!s)
        return false;
    if (o->at_over < s->n_over) {
        r.over = s->over + o->at_over;
        r.n = s->n_over - o->at_over;
        if (r.n > LL_OUTLOG_LIST_MAX)
            r.n = LL_OUTLOG_LIST_MAX;
        append(q, &r);
        o->at_over += r.n;
        return true;
    }
    if (s->closed)
        outlog_closed(q, s->number, s->upto);
    o->at_over = 0;
    o->at_segment =
        s->link.next == &q->segments ? NULL : LINK_OF(struct segment, link, s->link.next);
    return true;
}

/* Letters first, segments behind them: a letter that ends meanwhile is then in its segment's list,
 * or has said so in this log itself. */
static void checkpoint_slice(struct queue *q)
{
    struct outlog *o = &q->log;

    for (size_t i = 0; i < SLICE_BUCKETS && o->at_bucket < q->letters.n_buckets;
         i++, o->at_bucket++)
        for (struct node *n = q->letters.bucket[o->at_bucket]; n; n = n->next)
            checkpoint_letter(q, (struct letter *)n);
    if (o->at_bucket < q->letters.n_buckets)
        return;
    if (o->at_bucket != SIZE_MAX) {
        o->at_bucket = SIZE_MAX;
        o->at_segment =
            link_empty(&q->segments) ? NULL : LINK_OF(struct segment, link, q->segments.next);
        o->at_over = 0;
    }
    for (size_t i = 0; i < 64; i++)
        if (!checkpoint_over(q)) {
            o->checkpoint = false;
            o->checkpoint_last = true;
            return;
        }
}

/* The index may grow in the midst of it: some letters are written twice then, and none is missed.
 */
void outlog_checkpoint(struct queue *q)
{
    struct outlog *o = &q->log;

    /* The thread may be at work whenever the second's tick comes: its next return begins it. */
    o->checkpoint_due = o->busy && !q->scanning;
    if (o->busy || q->scanning)
        return;
    if (!o->broken && o->gather.n > 0 &&
        (write_all(o->fd, o->gather.p, o->gather.n) != 0 || fdatasync(o->fd) != 0))
        o->broken = true;
    if (log_begin(q) != 0)
        return;
    o->gather.n = 0; /* flushed, or said anew */
    outlog_segment(q);
    pauses_log(q);
    o->checkpoint = true;
    o->checkpoint_last = false;
    o->at_bucket = 0;
    o->at_segment = NULL;
    outlog_kick(q);
}

/* ---- rounds ---------------------------------------------------------------------------------- */

static void broke(struct queue *q)
{
    struct outlog *o = &q->log;

    if (!o->broken)
        ll_log(LL_LOG_ERROR, "outcome-log-failed", LL_FS("why", strerror(o->error)),
               LL_FU("log", o->number));
    o->broken = true;
    o->checkpoint = false;
    o->checkpoint_last = false;
    /* What was to be removed stays on the list until a flush has succeeded. */
    for (size_t i = 0; i < o->n_removals_flight; i++) {
        outlog_remove(q, o->removals_flight[i].dir, o->removals_flight[i].name);
        if (o->n_removals > 0)
            o->removals[o->n_removals - 1].flush_first = o->removals_flight[i].flush_first;
    }
}

static void empty(struct ll_buf *b)
{
    if (b->cap > KEEP_MAX)
        ll_buf_release(b);
    else
        ll_buf_clear(b);
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    struct queue *q = arg;
    struct outlog *o = &q->log;
    uint64_t n;

    if (read(o->wake, &n, sizeof(n)) < 0)
        return;
    o->busy = false;
    if (o->error != 0) {
        broke(q);
    } else {
        o->rounds++;
        o->size += o->flight.n;
        if (o->checkpoint_last && o->gather.n == 0) {
            o->checkpoint_last = false;
            o->checkpoint_size = o->size;
            o->broken = false;
            old_logs_remove(q);
            pump(q);
        }
    }
    o->n_removals_flight = 0;
    empty(&o->flight);
    empty(&o->receipts_flight);
    if (o->checkpoint_due)
        outlog_checkpoint(q);
    if (o->checkpoint && o->gather.n < SLICE_PENDING)
        checkpoint_slice(q);
    if (o->gather.n || o->n_removals || o->receipts.n || o->checkpoint || o->checkpoint_last)
        outlog_kick(q);
    if (q->draining)
        pump(q);
}

static void on_kick(evutil_socket_t fd, short what, void *arg)
{
    struct queue *q = arg;
    struct outlog *o = &q->log;
    struct removal *removals = o->removals_flight;
    size_t cap = o->cap_removals_flight;
    struct ll_buf b = o->flight;

    if (o->busy)
        return;
    if (o->broken && !o->checkpoint && !o->checkpoint_last)
        return; /* outlog_tick begins anew */
    if (o->checkpoint && o->gather.n < SLICE_PENDING)
        checkpoint_slice(q);
    o->flight = o->gather;
    o->gather = b;
    b = o->receipts_flight;
    o->receipts_flight = o->receipts;
    o->receipts = b;
    /* While a checkpoint is not whole, what would allow a removal may not be durable. */
    if (!o->broken && !o->checkpoint && !o->checkpoint_last) {
        o->removals_flight = o->removals;
        o->n_removals_flight = o->n_removals;
        o->cap_removals_flight = o->cap_removals;
        o->removals = removals;
        o->n_removals = 0;
        o->cap_removals = cap;
    }
    o->busy = true;
    sem_post(&o->loaded);
}

static uint64_t log_limit(const struct queue *q)
{
    uint64_t least =
        q->segment_limit / LOG_SHARE < LOG_MAX ? q->segment_limit / LOG_SHARE : LOG_MAX;
    uint64_t grown = LOG_GROWS * q->log.checkpoint_size;

    return grown > least ? grown : least;
}

/* It grows to its limit, and then a checkpoint stands beside it until that is durable. */
uint64_t outlog_reserve(const struct queue *q)
{
    return log_limit(q) + q->log.checkpoint_size;
}

void outlog_tick(struct queue *q)
{
    struct outlog *o = &q->log;
    bool long_enough = o->size > log_limit(q);

    if (o->checkpoint || o->checkpoint_last)
        return;
    if (o->broken || long_enough)
        outlog_checkpoint(q);
}

int outlog_init(struct queue *q)
{
    struct outlog *o = &q->log;

    ll_buf_init(&o->gather, GATHER_MAX);
    ll_buf_init(&o->flight, GATHER_MAX);
    ll_buf_init(&o->receipts, GATHER_MAX);
    ll_buf_init(&o->receipts_flight, GATHER_MAX);
    o->fd = -1;
    o->receipts_fd = -1;
    o->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (o->wake < 0 || sem_init(&o->loaded, 0, 0) != 0 || outlog_replay(q) != 0)
        return -1;
    /* On a full disk we start all the same, and hand nothing out until there is a log. */
    o->broken = log_begin(q) != 0;
    o->wake_event = event_new(q->proc->base, o->wake, EV_READ | EV_PERSIST, on_wake, q);
    o->kick = event_new(q->proc->base, -1, 0, on_kick, q);
    if (!o->wake_event || !o->kick || event_add(o->wake_event, NULL) != 0)
        return -1;
    return pthread_create(&o->thread, NULL, log_thread, o) == 0 ? 0 : -1;
}
