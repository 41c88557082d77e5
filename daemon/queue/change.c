/*
 * What the operator changes: letters tried again, held, released, dropped; destinations paused.
 * See answer.h. What was changed is said when it is durable.
 */
#include "daemon/queue/answer.h"

#include "io/json.h"
#include "io/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

/* A held recipient goes on its way again. */
static void set_free(struct queue *q, struct letter *l, uint32_t i, const struct ll_letter *from)
{
    struct rcpt *r = &l->rcpt[i];

    r->deaths = 0;
    rcpt_set(q, l, r, r->attempts ? LL_RCPT_DEFERRED : LL_RCPT_WAITING);
    outlog_state(q, l, &i, 1);
    if (rcpt_schedule(q, l, i, &from->rcpt[i], job_kind_of(r->kind), 0) != 0)
        letter_hold(q, l, "no memory");
}

static void retry_rcpt(struct queue *q, struct letter *l, uint32_t i, const struct ll_letter *from)
{
    struct rcpt *r = &l->rcpt[i];

    if (ll_rcpt_over(r->state))
        return;
    r->flags &= (uint8_t)~RCPT_HOLD;
    if (r->pair && r->pair->where == PAIR_RUNNING)
        return;
    if (!r->pair) {
        set_free(q, l, i, from);
        return;
    }
    r->pair->deaths = 0;
    r->deaths = 0;
    r->pair->dest->until_s = 0;
    pair_ready(q, r->pair);
    dest_turn(q, r->pair->dest);
}

static void visit_retry(struct queue *q, struct answer *a, struct letter *l,
                        const struct ll_letter *from)
{
    a->count++;
    for (uint32_t i = 0; i < l->n_rcpt; i++)
        retry_rcpt(q, l, i, from);
}

/* What is being delivered now is held when it comes back; a report that is due is made. */
static bool hold_rcpt(struct queue *q, struct letter *l, uint32_t i)
{
    struct rcpt *r = &l->rcpt[i];

    if (ll_rcpt_over(r->state) || r->state == LL_RCPT_HELD || r->state == LL_RCPT_FAILED ||
        r->state == LL_RCPT_CONFIRMING)
        return false;
    if (r->pair && r->pair->where == PAIR_RUNNING) {
        r->flags |= RCPT_HOLD;
        return true;
    }
    held_reply(q, r, HELD_BY_OPERATOR);
    rcpt_set(q, l, r, LL_RCPT_HELD);
    outlog_state(q, l, &i, 1);
    receipt_event(q, "held", l, &i, 1, ll_slice(NULL, 0), 0);
    return true;
}

static void visit_hold(struct queue *q, struct answer *a, struct letter *l,
                       const struct ll_letter *from)
{
    bool any = false;

    for (uint32_t i = 0; i < l->n_rcpt; i++)
        if (answer_picks(&a->filter, from->rcpt[i].address))
            any |= hold_rcpt(q, l, i);
    a->count += any;
}

static void visit_release(struct queue *q, struct answer *a, struct letter *l,
                          const struct ll_letter *from)
{
    bool any = false;

    for (uint32_t i = 0; i < l->n_rcpt; i++) {
        struct rcpt *r = &l->rcpt[i];

        if (!answer_picks(&a->filter, from->rcpt[i].address))
            continue;
        any |= r->state == LL_RCPT_HELD || (r->flags & RCPT_HOLD);
        r->flags &= (uint8_t)~RCPT_HOLD;
        if (r->state != LL_RCPT_HELD)
            continue;
        receipt_event(q, "released", l, &i, 1, ll_slice(NULL, 0), 0);
        set_free(q, l, i, from);
    }
    a->count += any;
}

static void visit_drop(struct queue *q, struct answer *a, struct letter *l,
                       const struct ll_letter *from)
{
    a->count++;
    for (uint32_t i = 0; i < l->n_rcpt; i++) {
        struct rcpt *r = &l->rcpt[i];

        if (ll_rcpt_over(r->state) || (r->pair && r->pair->where == PAIR_RUNNING))
            continue;
        rcpt_set(q, l, r, r->state == LL_RCPT_CONFIRMING ? LL_RCPT_DELIVERED : LL_RCPT_DROPPED);
        outlog_state(q, l, &i, 1);
        receipt_event(q, ll_rcpt_state_name(r->state), l, &i, 1, ll_slice(NULL, 0), 0);
    }
    letter_settle(q, l);
}

/* What was changed is said when it is durable. False: not yet. */
static bool durable(struct queue *q, struct answer *a)
{
    if (a->count > 0 && a->round == 0) {
        a->round = q->log.rounds + (q->log.busy ? 2 : 1);
        outlog_kick(q);
    }
    return q->log.rounds >= a->round;
}

/* True when the question is done. */
static bool end_count(struct queue *q, struct answer *a)
{
    char line[64];

    if (q->log.broken) {
        answer_end(a->peer, a->ask, EX_TEMPFAIL, "the outcome log cannot be written");
        return true;
    }
    if (!durable(q, a))
        return false;
    snprintf(line, sizeof(line), "{\"letters\":%llu}", (unsigned long long)a->count);
    answer_line(a, ll_slice_str(line));
    answer_end(a->peer, a->ask, EX_OK, "");
    return true;
}

static bool step_change(struct queue *q, struct answer *a, uint64_t deadline,
                        void (*visit)(struct queue *, struct answer *, struct letter *,
                                      const struct ll_letter *))
{
    if (a->round > 0)
        return end_count(q, a);
    if (a->filter.has_id) {
        struct letter *l = answer_the_letter(q, a);
        struct ll_letter from;

        if (!l)
            return true;
        if (!letter_read(q, l, false, &from)) {
            answer_end(a->peer, a->ask, EX_DATAERR, "its record in the journal is damaged");
            return true;
        }
        if (answer_matches(&a->filter, l, &from))
            visit(q, a, l, &from);
    } else if (!answer_walk(q, a, deadline, visit)) {
        return false;
    }
    return end_count(q, a);
}

bool answer_step_retry(struct queue *q, struct answer *a, uint64_t deadline)
{
    return step_change(q, a, deadline, visit_retry);
}

bool answer_step_drop(struct queue *q, struct answer *a, uint64_t deadline)
{
    return step_change(q, a, deadline, visit_drop);
}

bool answer_step_hold(struct queue *q, struct answer *a, uint64_t deadline)
{
    return step_change(q, a, deadline, visit_hold);
}

bool answer_step_release(struct queue *q, struct answer *a, uint64_t deadline)
{
    return step_change(q, a, deadline, visit_release);
}

/* ---- destinations ---------------------------------------------------------------------------- */

bool answer_step_pauses(struct queue *q, struct answer *a, uint64_t deadline)
{
    for (size_t i = 0; i < q->n_pauses; i++) {
        struct ll_json j = LL_JSON(&q->line);

        ll_json_open(&j, '{');
        ll_json_cstr(&j, "paused", q->pauses[i]);
        ll_json_close(&j);
        answer_line(a, ll_buf_slice(&q->line));
        ll_buf_clear(&q->line);
    }
    answer_end(a->peer, a->ask, EX_OK, "");
    return true;
}

static bool step_pause(struct queue *q, struct answer *a, bool paused)
{
    struct ll_slice name = a->filter.name;

    if (q->log.broken) {
        answer_end(a->peer, a->ask, EX_TEMPFAIL, "the outcome log cannot be written");
        return true;
    }
    if (a->round == 0) {
        size_t before = q->n_pauses;

        if (pause_set(q, name, paused) != 0) {
            answer_end(a->peer, a->ask, EX_TEMPFAIL,
                       "too many destinations are paused; pause all, or resume some");
            return true;
        }
        if (!paused && before == q->n_pauses) {
            answer_end(a->peer, a->ask, EX_UNAVAILABLE, "that destination is not paused");
            return true;
        }
        ll_log(LL_LOG_INFO, paused ? "paused" : "resumed", LL_F("destination", name));
        outlog_pause(q, name, paused);
        dests_conf(q);
        a->count = 1;
    }
    return durable(q, a) && answer_step_pauses(q, a, 0);
}

bool answer_step_pause(struct queue *q, struct answer *a, uint64_t deadline)
{
    return step_pause(q, a, true);
}

bool answer_step_resume(struct queue *q, struct answer *a, uint64_t deadline)
{
    return step_pause(q, a, false);
}
