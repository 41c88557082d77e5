/*
 * Destinations: where letters go next, how many at a time, and how fast. See queue.h.
 *
 * Each has a limit of jobs out at a time, which success raises and trouble lowers; trouble at one
 * job, or a word that it wants less (421, 4.7.x), means rest, for longer from time to time. A rate
 * is kept by credit: so much comes each second, and a letter takes a minute's sixtieth of it.
 */
#include "daemon/queue/queue.h"

#include <stdlib.h>

#define DEST_NAME_MAX LL_OUTLOG_NAME_MAX
#define BACKOFF_SHARE 10     /* the first back-off is this part of the first wait */
#define BACKOFF_STEPS 6      /* doublings */
#define CREDIT_LETTER 60     /* what a letter takes; a second brings the rate in letters a minute */
#define RESTING_TURN  10000  /* resting destinations that are looked at in one second */
#define RATE_MAX      600000 /* letters a minute */

struct ll_slice domain_of(struct ll_slice address)
{
    return ll_slice_skip(address, ll_slice_rfind(address, '@') + 1);
}

static uint32_t credit_most(const struct dest *);

static uint32_t choose(int64_t special, int64_t general, uint32_t most)
{
    int64_t v = special > 0 ? special : general;

    return v <= 0 || v > most ? most : (uint32_t)v;
}

static void dest_conf(const struct queue *q, struct dest *d)
{
    const struct ll_conf *c = q->proc->conf;
    const struct ll_conf_route *r = NULL;
    int64_t rate;

    d->paused = pause_covers(q, d);
    d->recipients = LL_JOB_RCPTS_MAX;
    d->most = JOBS_MAX;
    d->lifetime_s = c->queue_lifetime;
    d->rate = 0;
    if (d->carrier != CARRIER_RELAY)
        return;
    r = ll_conf_route(c, ll_slice(d->name, d->n));
    d->most = (uint16_t)choose(r ? r->concurrency : 0, c->destination_concurrency, JOBS_MAX);
    d->recipients =
        (uint16_t)choose(r ? r->recipients : 0, c->destination_recipients, LL_JOB_RCPTS_MAX);
    rate = r && r->rate > 0 ? r->rate : c->destination_rate;
    d->rate = rate < RATE_MAX ? (uint32_t)rate : RATE_MAX;
    d->lifetime_s = ll_conf_lifetime(c, ll_slice(d->name, d->n));
}

void dests_conf(struct queue *q)
{
    for (size_t b = 0; b < q->dests.n_buckets; b++)
        for (struct node *n = q->dests.bucket[b]; n; n = n->next) {
            struct dest *d = (struct dest *)n;

            dest_conf(q, d);
            if (d->limit > d->most)
                d->limit = d->most;
            dest_turn(q, d);
        }
    pump(q);
}

static struct dest *dest_get(struct queue *q, enum carrier carrier, struct ll_slice name)
{
    char lower[DEST_NAME_MAX + 1];
    size_t n = name.n < DEST_NAME_MAX ? name.n : DEST_NAME_MAX;
    uint32_t hash;
    struct dest *d;

    for (size_t i = 0; i < n; i++)
        lower[i] = (char)ll_lower(name.p[i]);
    lower[n] = '\0';
    hash = (uint32_t)(hash_bytes(lower, n) + carrier);
    for (d = (struct dest *)table_chain(&q->dests, hash); d; d = (struct dest *)d->node.next)
        if (d->hash == hash && d->carrier == carrier && d->n == n && !memcmp(d->name, lower, n))
            return d;
    d = calloc(1, sizeof(*d) + n + 1);
    if (!d)
        return NULL;
    memcpy(d->name, lower, n + 1);
    d->n = (uint16_t)n;
    d->hash = hash;
    d->carrier = (uint8_t)carrier;
    link_init(&d->ready);
    link_init(&d->turn);
    link_init(&d->rest);
    link_init(&d->pace);
    dest_conf(q, d);
    d->limit = d->most;
    if (carrier == CARRIER_RELAY && d->limit > DESTINATION_FIRST)
        d->limit = DESTINATION_FIRST;
    d->credit = credit_most(d);
    table_put(&q->dests, &d->node);
    return d;
}

void dest_settle(struct queue *q, struct dest *d)
{
    if (d->pairs || d->running || d->until_s > q->now_s || !link_empty(&d->pace))
        return;
    table_take(&q->dests, &d->node);
    link_out(&d->turn);
    link_out(&d->rest);
    link_out(&d->pace);
    reply_drop(q, d->why);
    free(d);
}

void dest_turn(struct queue *q, struct dest *d)
{
    bool in = !link_empty(&d->ready) && d->running < d->limit && d->until_s <= q->now_s &&
              !d->paused && (d->rate == 0 || d->credit >= CREDIT_LETTER);

    if (in && link_empty(&d->turn))
        link_last(&q->side[d->carrier].turn, &d->turn);
    else if (!in)
        link_out(&d->turn);
}

/* ---- how fast -------------------------------------------------------------------------------- */

/* What is not used in a while may go at once, but no more than a second's worth. */
static uint32_t credit_most(const struct dest *d)
{
    return d->rate > CREDIT_LETTER ? d->rate : CREDIT_LETTER;
}

void dest_sent(struct queue *q, struct dest *d)
{
    if (d->rate == 0)
        return;
    if (link_empty(&d->pace)) {
        d->paced_s = q->now_s;
        link_last(&q->paced, &d->pace);
    }
    d->credit -= d->credit < CREDIT_LETTER ? d->credit : CREDIT_LETTER;
}

static void paced_tick(struct queue *q)
{
    for (struct link *l = q->paced.next, *next; l != &q->paced; l = next) {
        struct dest *d = LINK_OF(struct dest, pace, l);
        int64_t s = q->now_s - d->paced_s;
        uint64_t credit = d->credit + (uint64_t)d->rate * (uint64_t)(s > 0 ? s : 0);

        next = l->next;
        d->paced_s = q->now_s;
        d->credit = credit < credit_most(d) ? (uint32_t)credit : credit_most(d);
        if (d->credit == credit_most(d) || d->rate == 0)
            link_out(&d->pace);
        dest_turn(q, d);
        dest_settle(q, d);
    }
}

void dests_tick(struct queue *q)
{
    struct link *end = q->resting.prev;

    for (size_t i = 0; i < RESTING_TURN && !link_empty(&q->resting); i++) {
        struct link *l = q->resting.next;
        struct dest *d = LINK_OF(struct dest, rest, l);
        bool last = l == end;

        link_out(l);
        link_last(&q->resting, l); /* where there are more, all have their turn */
        if (last)
            i = RESTING_TURN;
        if (d->until_s > q->now_s) {
            dest_expire(q, d); /* may free pairs, but not a destination that rests */
            dest_warn(q, d);
            continue;
        }
        link_out(&d->rest);
        dest_turn(q, d);
        dest_settle(q, d);
    }
    paced_tick(q);
}

/* ---- what it teaches ------------------------------------------------------------------------- */

void dest_good(struct queue *q, struct dest *d)
{
    d->trouble = 0;
    d->until_s = 0;
    link_out(&d->rest);
    /* Who asked for less gets more again only bit by bit. */
    if (d->limit < d->most && (!d->throttled || ++d->good >= d->limit)) {
        d->limit++;
        d->good = 0;
    }
    if (d->limit > d->most)
        d->limit = d->most;
    dest_turn(q, d);
}

static void rest(struct queue *q, struct dest *d, struct reply *why)
{
    int64_t wait = q->proc->conf->retry_first / BACKOFF_SHARE;

    if (wait < 1)
        wait = 1;
    wait <<= d->trouble < BACKOFF_STEPS ? d->trouble : BACKOFF_STEPS;
    if (d->trouble < UINT8_MAX)
        d->trouble++;
    d->until_s = q->now_s + wait;
    if (why)
        why->refs++;
    reply_drop(q, d->why);
    d->why = why;
    link_out(&d->rest);
    link_last(&q->resting, &d->rest);
}

void dest_trouble(struct queue *q, struct dest *d, enum ll_trouble trouble, struct reply *why)
{
    bool throttled = trouble == LL_TROUBLE_THROTTLED;
    bool rests = throttled || d->limit <= 1;

    if (d->carrier != CARRIER_RELAY)
        return;
    if (throttled) {
        d->throttled = true;
        d->good = 0;
        /* Jobs that were out together tell of one and the same refusal. */
        if (d->until_s > q->now_s)
            return;
    }
    if (d->limit > 1)
        d->limit /= 2;
    if (rests)
        rest(q, d, why);
    dest_turn(q, d);
}

/* ---- which one ------------------------------------------------------------------------------- */

/* A destination of a smarthost's route is the route: all its letters share the same connections.
 * By MX it is the domain. */
struct dest *dest_for(struct queue *q, const struct ll_rcpt *r, uint8_t job_kind)
{
    struct ll_slice domain = domain_of(r->address);
    const struct ll_conf_route *route;

    if (job_kind == LL_JOB_REPORT)
        return dest_get(q, CARRIER_POST, LL_LIT("report"));
    if (job_kind == LL_JOB_READ)
        return dest_get(q, CARRIER_TALLY, LL_LIT("reports"));
    if (r->kind == LL_RCPT_ALIAS)
        return dest_get(q, CARRIER_POST, LL_LIT("forward"));
    if (r->kind == LL_RCPT_MAILBOX || r->kind == LL_RCPT_REPORT) /* the latter's mailbox */
        return dest_get(q, CARRIER_LOCAL, LL_LIT("local"));
    route = ll_conf_route(q->proc->conf, domain);
    if (route && strcmp(route->via, "mx") != 0)
        domain = ll_slice_str(route->title);
    return dest_get(q, CARRIER_RELAY, domain);
}
