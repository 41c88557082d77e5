/*
 * Which reports are due to a letter's sender (RFC 3461 5.2). See queue.h.
 *
 * A failed recipient is reported to its reverse-path when that is not null, NOTIFY does not say
 * otherwise and the letter came from a login, a trusted client or a reverse-path that was proved.
 * What came from outside without proof is held instead and shown: a report might hit a stranger
 * whose name was used (DESIGN 6, promise 4).
 *
 * Success is reported where NOTIFY asks for it, and nobody behind us does that. Delay is reported
 * once, when a letter has waited for `delay_warning` and NOTIFY does not say otherwise; while post
 * makes that report the recipient waits with post, and then goes back to its destination.
 */
#include "daemon/queue/queue.h"

#include "io/log.h"

#define WARN_LOOK_S    60   /* how often a resting destination is looked through */
#define WARN_LOOK_MAX  4096 /* pairs looked at then */
#define WARN_LOOK_PART 8    /* and at least so often within delay_warning */

bool report_may(const struct letter *l)
{
    return l->origin == LL_ORIGIN_SUBMISSION ||
           (l->flags & (LL_LETTER_TRUSTED | LL_LETTER_PROVED)) != 0;
}

uint8_t report_flags(const struct ll_rcpt *r)
{
    bool given = r->notify != 0;

    return (uint8_t)((r->reverse_path.n == 0 ? RCPT_NULL_REVERSE : 0) |
                     (given && !(r->notify & LL_NOTIFY_FAILURE) ? RCPT_NO_FAILURE : 0) |
                     (given && !(r->notify & LL_NOTIFY_DELAY) ? RCPT_NO_DELAY : 0) |
                     (r->notify & LL_NOTIFY_SUCCESS ? RCPT_SUCCESS : 0));
}

/* ---- success --------------------------------------------------------------------------------- */

bool report_success_due(const struct letter *l, const struct rcpt *r)
{
    return (r->flags & RCPT_SUCCESS) && !(r->flags & RCPT_NULL_REVERSE) && report_may(l);
}

enum ll_outcome report_outcome(const struct queue *q, const struct rcpt *r,
                               const struct ll_rcpt *from)
{
    const struct ll_conf_route *route;

    if (r->state == LL_RCPT_FAILED)
        return LL_OUTCOME_FAILED;
    if (r->state != LL_RCPT_CONFIRMING)
        return LL_OUTCOME_DEFERRED;
    if (r->kind == LL_RCPT_ALIAS)
        return LL_OUTCOME_EXPANDED;
    if (r->kind == LL_RCPT_MAILBOX)
        return LL_OUTCOME_DELIVERED;
    /* LMTP's last reply says that the letter is in the mailbox (RFC 2033 4.2). */
    route = ll_conf_route(q->proc->conf, domain_of(from->address));
    return route && strcmp(route->via, "lmtp") == 0 ? LL_OUTCOME_DELIVERED : LL_OUTCOME_RELAYED;
}

/* ---- delay ----------------------------------------------------------------------------------- */

static bool delay_reported(const struct letter *l, const struct rcpt *r)
{
    return !(r->flags & (RCPT_NULL_REVERSE | RCPT_NO_DELAY | RCPT_WARNED)) &&
           r->kind != LL_RCPT_REPORT && report_may(l);
}

int64_t report_delay_wait(const struct queue *q, const struct letter *l, const struct rcpt *r)
{
    int64_t after = q->proc->conf->delay_warning;
    int64_t left = (int64_t)l->arrived_s + after - q->now_s;

    if (after <= 0 || !delay_reported(l, r))
        return -1;
    return left > 0 ? left : 0;
}

bool report_delay(struct queue *q, struct letter *l, const struct ll_letter *from, uint32_t i)
{
    struct rcpt *r = &l->rcpt[i];

    if (report_delay_wait(q, l, r) != 0)
        return false;
    r->pair = NULL;
    return rcpt_schedule(q, l, i, &from->rcpt[i], LL_JOB_REPORT, 0) == 0;
}

void report_delay_done(struct queue *q, struct letter *l, const struct ll_letter *from, uint32_t i,
                       bool made)
{
    struct rcpt *r = &l->rcpt[i];
    int64_t wait = retry_after(q, l, r);

    if (made)
        r->flags |= RCPT_WARNED;
    if (r->attempts == 0)
        wait = 0; /* it was never tried: only its destination made it wait */
    r->pair = NULL;
    if (rcpt_schedule(q, l, i, &from->rcpt[i], job_kind_of(r->kind),
                      q->now_s + (wait > 0 ? wait : 0)) != 0)
        letter_hold(q, l, "no memory");
}

static bool pair_due(const struct queue *q, const struct pair *p)
{
    const struct letter *l = p->letter;

    if (q->now_s - (int64_t)l->arrived_s < q->proc->conf->delay_warning)
        return false;
    for (size_t i = 0; i < l->n_rcpt; i++)
        if (l->rcpt[i].pair == p && report_delay_wait(q, l, &l->rcpt[i]) == 0)
            return true;
    return false;
}

/* The recipients of a pair that waits who are to be warned leave it; it is freed with the last. */
static void pair_warn(struct queue *q, struct pair *p)
{
    struct letter *l = p->letter;
    struct reply_view why = reply_view(p->dest->why);
    struct ll_letter from;

    if (!letter_read(q, l, false, &from)) {
        letter_hold(q, l, "its record in the journal is damaged");
        return;
    }
    for (uint32_t i = 0; i < l->n_rcpt; i++) {
        struct rcpt *r = &l->rcpt[i];

        if (r->pair != p || report_delay_wait(q, l, r) != 0)
            continue;
        if (!r->reply && why.text.n)
            rcpt_reply(q, r, &why);
        if (!report_delay(q, l, &from, i)) {
            r->pair = p;
            return;
        }
        p->n_rcpt--;
    }
    if (p->n_rcpt == 0)
        pair_free(q, p);
}

void dest_warn(struct queue *q, struct dest *d)
{
    int64_t every = q->proc->conf->delay_warning / WARN_LOOK_PART;
    size_t n = 0;

    if (every > WARN_LOOK_S)
        every = WARN_LOOK_S;
    if (d->carrier != CARRIER_RELAY || q->proc->conf->delay_warning <= 0 ||
        q->now_s < d->looked_s + every)
        return;
    d->looked_s = q->now_s;
    for (struct link *l = d->ready.next, *next; l != &d->ready && n < WARN_LOOK_MAX; l = next) {
        struct pair *p = LINK_OF(struct pair, link, l);

        next = l->next;
        n++;
        if (pair_due(q, p))
            pair_warn(q, p);
    }
}
