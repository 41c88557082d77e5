/* Results in. See queue.h; which reports they make due: report.c. */
#include "daemon/queue/queue.h"

#include "io/clock.h"
#include "io/log.h"

#include <stdlib.h>
#include <sys/random.h>

#define EXPIRE_TURN 50 /* letters of a resting destination that expire in one turn */

/* ---- failure --------------------------------------------------------------------------------- */

void held_reply(struct queue *q, struct rcpt *r, const char *why)
{
    struct reply_view v = reply_view(r->reply);
    struct ll_buf text = LL_BUF(LL_DIAG_MAX);

    ll_buf_puts(&text, why);
    if (v.text.n > 0 && text.n + v.text.n + 20 < text.max) {
        ll_buf_puts(&text, "; the last answer: ");
        ll_buf_put_slice(&text, v.text);
    }
    v.text = ll_buf_slice(&text);
    rcpt_reply(q, r, &v);
    ll_buf_release(&text);
}

/* From where its pair is gone already. */
static void rcpt_failed(struct queue *q, struct letter *l, const struct ll_letter *from, uint32_t i)
{
    struct rcpt *r = &l->rcpt[i];

    /* Whoever reports to us is not written to, and what no machine could read stays in sight. */
    if (r->kind == LL_RCPT_REPORT) {
        held_reply(q, r, "it is kept, for nobody else has seen it");
        rcpt_set(q, l, r, LL_RCPT_HELD);
        return;
    }
    if (r->flags & (RCPT_NULL_REVERSE | RCPT_NO_FAILURE)) {
        rcpt_set(q, l, r, LL_RCPT_RETURNED);
        return;
    }
    if (!report_may(l)) {
        held_reply(q, r, "it came from outside and its sender is not proved, so nobody is told");
        rcpt_set(q, l, r, LL_RCPT_HELD);
        return;
    }
    rcpt_set(q, l, r, LL_RCPT_FAILED);
    r->attempts = 0;
    if (rcpt_schedule(q, l, i, &from->rcpt[i], LL_JOB_REPORT, 0) != 0) {
        held_reply(q, r, "no memory for its report");
        rcpt_set(q, l, r, LL_RCPT_HELD);
    }
}

void rcpts_failed(struct queue *q, struct letter *l, const struct ll_letter *from,
                  const uint32_t *rcpt, size_t n)
{
    receipt_event(q, "failed", l, rcpt, n, ll_slice(NULL, 0), 0);
    for (size_t i = 0; i < n; i++) {
        rcpt_failed(q, l, from, rcpt[i]);
        if (l->rcpt[rcpt[i]].state != LL_RCPT_FAILED)
            receipt_event(q, ll_rcpt_state_name(l->rcpt[rcpt[i]].state), l, &rcpt[i], 1,
                          ll_slice(NULL, 0), 0);
    }
    outlog_state(q, l, rcpt, n);
}

void letter_hold(struct queue *q, struct letter *l, const char *why)
{
    ll_log(LL_LOG_WARNING, "letter-held", LL_FU("segment", l->segment->number),
           LL_FU("offset", l->offset), LL_FS("why", why));
    for (uint32_t i = 0; i < l->n_rcpt; i++) {
        struct rcpt *r = &l->rcpt[i];

        if (ll_rcpt_over(r->state) || r->state == LL_RCPT_HELD ||
            (r->pair && r->pair->where == PAIR_RUNNING))
            continue;
        held_reply(q, r, why);
        rcpt_set(q, l, r, r->state == LL_RCPT_CONFIRMING ? LL_RCPT_DELIVERED : LL_RCPT_HELD);
        outlog_state(q, l, &i, 1);
        receipt_event(q, ll_rcpt_state_name(r->state), l, &i, 1, ll_slice(NULL, 0), 0);
    }
}

/* ---- waiting --------------------------------------------------------------------------------- */

static struct ll_retry_conf retry_conf(const struct queue *q, int64_t lifetime)
{
    const struct ll_conf *c = q->proc->conf;

    return (struct ll_retry_conf){c->retry_first, c->retry_max, lifetime};
}

/* Seconds until the next try, or -1. When the sender is to be told of the delay, a try comes first:
 * what is told is then how things are. */
int64_t retry_after(struct queue *q, const struct letter *l, const struct rcpt *r)
{
    struct ll_retry_conf conf = retry_conf(q, rcpt_lifetime(q, r));
    int64_t warning = report_delay_wait(q, l, r), wait;
    uint64_t random = 0;

    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
        random = ll_now_ms();
    wait = ll_retry_wait(&conf, r->attempts, q->now_s - (int64_t)l->arrived_s, random);
    return warning > 0 && warning < wait ? warning : wait;
}

int64_t rcpt_lifetime(const struct queue *q, const struct rcpt *r)
{
    return r->pair && r->pair->dest->carrier == CARRIER_RELAY ? r->pair->dest->lifetime_s
                                                              : q->proc->conf->queue_lifetime;
}

static void expired_reply(struct queue *q, struct rcpt *r)
{
    int64_t life = rcpt_lifetime(q, r);
    struct reply_view v = reply_view(r->reply);
    struct ll_buf text = LL_BUF(LL_DIAG_MAX);

    ll_buf_puts(&text, "not delivered in ");
    if (life >= 2 * 86400)
        ll_buf_printf(&text, "%lld days", (long long)(life / 86400));
    else if (life >= 2 * 3600)
        ll_buf_printf(&text, "%lld hours", (long long)(life / 3600));
    else if (life >= 120)
        ll_buf_printf(&text, "%lld minutes", (long long)(life / 60));
    else
        ll_buf_printf(&text, "%lld seconds", (long long)life);
    ll_buf_puts(&text, ", given up");
    if (v.text.n > 0) {
        ll_buf_puts(&text, "; the last answer was: ");
        ll_buf_put_slice(&text, ll_slice_cut(v.text, 0, text.max - text.n));
    }
    v.status = LL_LIT("4.4.7"); /* delivery time expired, RFC 3463 3.5 */
    v.text = ll_buf_slice(&text);
    rcpt_reply(q, r, &v);
    ll_buf_release(&text);
}

/* ---- letters that wait for a destination at rest -----------------------------------------------
 */

static void pair_expire(struct queue *q, struct pair *p)
{
    struct letter *l = p->letter;
    struct reply_view why = reply_view(p->dest->why);
    uint32_t index[LL_SPOOL_RCPTS_MAX];
    struct ll_letter from;
    size_t n = 0;

    if (!letter_read(q, l, false, &from)) {
        letter_hold(q, l, "its record in the journal is damaged");
        return;
    }
    for (uint32_t i = 0; i < l->n_rcpt; i++) {
        if (l->rcpt[i].pair != p)
            continue;
        if (!l->rcpt[i].reply)
            rcpt_reply(q, &l->rcpt[i], &why);
        expired_reply(q, &l->rcpt[i]);
        l->rcpt[i].pair = NULL;
        index[n++] = i;
    }
    p->n_rcpt = 0;
    pair_free(q, p);
    rcpts_failed(q, l, &from, index, n);
    letter_settle(q, l);
}

void dest_expire(struct queue *q, struct dest *d)
{
    for (int i = 0; i < EXPIRE_TURN && !link_empty(&d->ready); i++) {
        struct pair *p = LINK_OF(struct pair, link, d->ready.next);

        if (q->now_s - (int64_t)p->letter->arrived_s < d->lifetime_s)
            return;
        pair_expire(q, p);
    }
}

/* ---- one result ------------------------------------------------------------------------------ */

struct taking { /* a result while it is being taken in */
    struct queue *q;
    struct slot *slot;
    struct pair *pair;
    struct letter *letter;
    struct ll_letter from;
    bool read; /* `from` is filled */
    const struct ll_job_result *result;
    int64_t until_s; /* earliest next try of those that go on */
    struct reply *why;
};

/* Over; but for a report that NOTIFY=SUCCESS asks for, when it is ours to make. */
static void delivered(struct taking *t, uint32_t i, bool passed)
{
    struct rcpt *r = &t->letter->rcpt[i];

    t->q->delivered++;
    if (passed || !t->read || !report_success_due(t->letter, r)) {
        rcpt_set(t->q, t->letter, r, LL_RCPT_DELIVERED);
        return;
    }
    rcpt_set(t->q, t->letter, r, LL_RCPT_CONFIRMING);
    r->attempts = 0;
    r->pair = NULL;
    t->pair->n_rcpt--;
    if (rcpt_schedule(t->q, t->letter, i, &t->from.rcpt[i], LL_JOB_REPORT, 0) != 0)
        rcpt_set(t->q, t->letter, r, LL_RCPT_DELIVERED);
}

static void take_delivered(struct taking *t, uint32_t i)
{
    delivered(t, i, false);
}

static void take_passed(struct taking *t, uint32_t i)
{
    delivered(t, i, true);
}

static void take_failed(struct taking *t, uint32_t i)
{
    struct rcpt *r = &t->letter->rcpt[i];

    if (!t->read) {
        held_reply(t->q, r, "its record is damaged");
        rcpt_set(t->q, t->letter, r, LL_RCPT_HELD);
        return;
    }
    r->pair = NULL;
    t->pair->n_rcpt--;
    /* What came to a report_address and is no report goes to the account of that name. */
    if (t->pair->kind == LL_JOB_READ && t->from.rcpt[i].mailbox.n > 0) {
        r->attempts = 0;
        rcpt_set(t->q, t->letter, r, LL_RCPT_WAITING);
        if (rcpt_schedule(t->q, t->letter, i, &t->from.rcpt[i], LL_JOB_DELIVER, 0) == 0)
            return;
    }
    rcpt_failed(t->q, t->letter, &t->from, i);
}

static void take_deferred(struct taking *t, uint32_t i)
{
    struct rcpt *r = &t->letter->rcpt[i];
    int64_t wait = retry_after(t->q, t->letter, r);

    if (r->flags & RCPT_HOLD) {
        r->flags &= (uint8_t)~RCPT_HOLD;
        held_reply(t->q, r, HELD_BY_OPERATOR);
        rcpt_set(t->q, t->letter, r, LL_RCPT_HELD);
        return;
    }
    if (wait < 0) {
        expired_reply(t->q, r);
        take_failed(t, i);
        return;
    }
    rcpt_set(t->q, t->letter, r, LL_RCPT_DEFERRED);
    if (t->read && report_delay_wait(t->q, t->letter, r) == 0 &&
        report_delay(t->q, t->letter, &t->from, i)) {
        t->pair->n_rcpt--;
        return;
    }
    r->pair = t->pair;
    if (t->until_s == 0 || t->q->now_s + wait < t->until_s)
        t->until_s = t->q->now_s + wait;
}

static void take_again(struct taking *t, uint32_t i)
{
    struct rcpt *r = &t->letter->rcpt[i];

    if (r->attempts > 0)
        r->attempts--;
    rcpt_set(t->q, t->letter, r, r->attempts > 0 ? LL_RCPT_DEFERRED : LL_RCPT_WAITING);
    t->until_s = t->q->now_s;
}

/* ---- a report's result ----------------------------------------------------------------------- */

/* The report of a failure is due until it is made, and does not expire; one of success or delay is
 * a courtesy: where it cannot be made, the letter's own way is what counts. */
static void take_report(struct taking *t, uint32_t i, enum ll_outcome outcome)
{
    struct rcpt *r = &t->letter->rcpt[i];
    bool made = outcome == LL_OUTCOME_DELIVERED;
    int64_t wait;

    if (!t->read) {
        held_reply(t->q, r, "its record is damaged");
        rcpt_set(t->q, t->letter, r,
                 r->state == LL_RCPT_CONFIRMING ? LL_RCPT_DELIVERED : LL_RCPT_HELD);
        return;
    }
    if (r->state != LL_RCPT_FAILED && r->state != LL_RCPT_CONFIRMING) {
        if (made)
            receipt_event(t->q, "warned", t->letter, &i, 1, ll_slice(NULL, 0),
                          t->result->new_letter);
        t->pair->n_rcpt--;
        report_delay_done(t->q, t->letter, &t->from, i, made);
        return;
    }
    if (made) {
        bool failed = r->state == LL_RCPT_FAILED;

        receipt_event(t->q, failed ? "returned" : "confirmed", t->letter, &i, 1, t->result->facts,
                      t->result->new_letter);
        t->q->returned += failed;
        rcpt_set(t->q, t->letter, r, failed ? LL_RCPT_RETURNED : LL_RCPT_DELIVERED);
        return;
    }
    if (outcome == LL_OUTCOME_FAILED) {
        bool failed = r->state == LL_RCPT_FAILED;

        if (failed)
            held_reply(t->q, r, "its report could not be made");
        rcpt_set(t->q, t->letter, r, failed ? LL_RCPT_HELD : LL_RCPT_DELIVERED);
        return;
    }
    wait = outcome == LL_OUTCOME_AGAIN ? 0 : retry_after(t->q, t->letter, r);
    if (wait < 0)
        wait = t->q->proc->conf->retry_max;
    if (t->until_s == 0 || t->q->now_s + wait < t->until_s)
        t->until_s = t->q->now_s + wait;
}

static const struct {
    void (*take)(struct taking *, uint32_t);
    const char *event; /* in the receipt */
} outcomes[] = {
    [LL_OUTCOME_DELIVERED] = {take_delivered, "delivered"},
    [LL_OUTCOME_DEFERRED] = {take_deferred, "deferred"},
    [LL_OUTCOME_FAILED] = {take_failed, "failed"},
    [LL_OUTCOME_AGAIN] = {take_again, NULL},
    [LL_OUTCOME_PASSED] = {take_passed, "delivered"},
    [LL_OUTCOME_RELAYED] = {take_delivered, "delivered"},
    [LL_OUTCOME_EXPANDED] = {take_delivered, "delivered"},
};

static void take_rcpt(struct taking *t, const struct ll_job_result_rcpt *one)
{
    struct reply_view v = {one->code, one->status, one->text, one->remote};
    struct rcpt *r = &t->letter->rcpt[one->index];
    uint32_t i = one->index;
    struct reply *before;

    if (t->pair->kind == LL_JOB_REPORT) {
        take_report(t, i, (enum ll_outcome)one->outcome);
        return;
    }
    if (one->outcome != LL_OUTCOME_AGAIN)
        rcpt_reply(t->q, r, &v);
    before = r->reply;
    if (before)
        before->refs++;
    if (outcomes[one->outcome].event)
        receipt_event(t->q, outcomes[one->outcome].event, t->letter, &i, 1, t->result->facts,
                      t->result->new_letter);
    outcomes[one->outcome].take(t, i);
    if (r->reply != before && r->state != LL_RCPT_DEFERRED)
        receipt_event(t->q, ll_rcpt_state_name(r->state), t->letter, &i, 1, ll_slice(NULL, 0), 0);
    if (t->result->trouble && before && !t->why) {
        t->why = before;
        before->refs++;
    }
    reply_drop(t->q, before);
}

static void slot_free(struct queue *q, struct slot *s)
{
    struct pair *p = s->pair;
    struct side *side = &q->side[p->dest->carrier];

    if (side->suspect == p)
        side->suspect = NULL;
    s->pair = NULL;
    s->peer = NULL;
    q->n_running--;
    side->running--;
    p->dest->running--;
    p->where = PAIR_NOWHERE;
    dest_turn(q, p->dest); /* it may have stood out of the round for having too many out */
}

/* Logs what the pair's recipients are now, when all of them have their place. */
static void log_all(struct queue *q, struct letter *l, const uint32_t *index, size_t n)
{
    outlog_state(q, l, index, n);
    letter_settle(q, l);
    pump(q);
}

/* Every recipient of the result is one that was out with this job, and none comes twice. */
static bool result_fits(const struct pair *p, const struct ll_job_result *r)
{
    bool seen[LL_SPOOL_RCPTS_MAX] = {false};

    if (r->letter != p->letter->id)
        return false;
    for (size_t i = 0; i < r->n_rcpt; i++) {
        uint32_t at = r->rcpt[i].index;

        if (at >= p->letter->n_rcpt || seen[at] || p->letter->rcpt[at].pair != p)
            return false;
        seen[at] = true;
    }
    return true;
}

/* Those of the pair that the result does not name, once those that it names were taken. */
static void take_missing(struct taking *t, bool was[LL_SPOOL_RCPTS_MAX], uint32_t *index, size_t *n)
{
    for (uint32_t i = 0; i < t->letter->n_rcpt; i++) {
        if (t->letter->rcpt[i].pair != t->pair || was[i])
            continue;
        index[(*n)++] = i;
        if (t->pair->kind == LL_JOB_REPORT)
            take_report(t, i, LL_OUTCOME_DEFERRED);
        else
            take_deferred(t, i);
    }
}

/* Most results need nothing of the letter but its number. */
static bool needs_record(const struct taking *t)
{
    if (t->pair->kind == LL_JOB_REPORT)
        return true;
    for (size_t i = 0; i < t->result->n_rcpt; i++) {
        const struct ll_job_result_rcpt *one = &t->result->rcpt[i];

        if (one->outcome == LL_OUTCOME_FAILED || one->outcome == LL_OUTCOME_DEFERRED ||
            (t->letter->rcpt[one->index].flags & RCPT_SUCCESS))
            return true;
    }
    return false;
}

static void take_result(struct queue *q, struct slot *s, const struct ll_job_result *result)
{
    struct taking t = {
        .q = q, .slot = s, .pair = s->pair, .letter = s->pair->letter, .result = result};
    uint32_t index[LL_SPOOL_RCPTS_MAX];
    bool was[LL_SPOOL_RCPTS_MAX] = {false};
    struct dest *d = t.pair->dest;
    size_t n = 0;

    if (needs_record(&t))
        t.read = letter_read(q, t.letter, false, &t.from);
    for (size_t i = 0; i < result->n_rcpt; i++) {
        index[n++] = result->rcpt[i].index;
        was[result->rcpt[i].index] = true;
        take_rcpt(&t, &result->rcpt[i]);
    }
    take_missing(&t, was, index, &n);
    slot_free(q, s);
    if (result->trouble)
        dest_trouble(q, d, (enum ll_trouble)result->trouble, t.why);
    else
        dest_good(q, d);
    reply_drop(q, t.why);
    t.pair->deaths = 0;
    if (t.pair->n_rcpt == 0) {
        pair_free(q, t.pair);
    } else {
        pair_wait(q, t.pair, t.until_s);
        dest_turn(q, d);
    }
    log_all(q, t.letter, index, n);
}

int on_job_result(struct ll_peer *peer, const struct ll_msg *m)
{
    struct queue *q = peer->proc->state;
    struct slot *s = &q->slots[(uint32_t)m->id % JOBS_MAX];
    struct ll_job_result result;
    struct ll_arena arena;

    if (!s->pair || s->id != m->id || s->peer != peer)
        return -1;
    ll_arena_init(&arena, LETTER_ARENA_MAX);
    if (!ll_job_result_decode(m->job_result.result, &arena, &result) ||
        !result_fits(s->pair, &result)) {
        if (arena.no_memory)
            ll_proc_no_memory("the result of a job");
        ll_arena_release(&arena);
        return -1;
    }
    q->now_s = ll_unix_s();
    take_result(q, s, &result);
    ll_arena_release(&arena);
    return 0;
}

/* ---- carriers that went ---------------------------------------------------------------------- */

static void carrier_died(struct queue *q, struct slot *s, bool died)
{
    struct pair *p = s->pair;
    struct letter *l = p->letter;
    uint32_t index[LL_SPOOL_RCPTS_MAX];
    struct dest *d = p->dest;
    size_t n = 0;

    slot_free(q, s);
    if (died)
        p->deaths++;
    for (uint32_t i = 0; i < l->n_rcpt; i++) {
        struct rcpt *r = &l->rcpt[i];

        if (r->pair != p)
            continue;
        r->deaths = p->deaths;
        if (r->state == LL_RCPT_TRYING)
            rcpt_set(q, l, r, LL_RCPT_DEFERRED);
        index[n++] = i;
    }
    if (p->deaths < DEATHS_MAX) {
        pair_ready(q, p);
        dest_turn(q, d);
    } else {
        ll_log(LL_LOG_ERROR, "letter-crashes", LL_FU("segment", l->segment->number),
               LL_FU("offset", l->offset), LL_FU("deaths", p->deaths));
        for (size_t i = 0; i < n; i++) {
            struct rcpt *r = &l->rcpt[index[i]];

            held_reply(q, r, "crashed its carrier three times");
            rcpt_set(q, l, r, r->state == LL_RCPT_CONFIRMING ? LL_RCPT_DELIVERED : LL_RCPT_HELD);
            receipt_event(q, ll_rcpt_state_name(r->state), l, &index[i], 1, ll_slice(NULL, 0), 0);
        }
    }
    log_all(q, l, index, n);
}

void carrier_gone(struct queue *q, struct ll_peer *peer)
{
    for (size_t i = 0; i < JOBS_MAX; i++)
        if (q->slots[i].pair && q->slots[i].peer == peer)
            carrier_died(q, &q->slots[i], !q->draining);
}
