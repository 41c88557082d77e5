/* What the queue knows of letters, and who waits for what. See queue.h. */
#include "daemon/queue/queue.h"

#include "io/log.h"

#include <event2/event.h>
#include <stdlib.h>
#include <unistd.h>

#define REPLIES_OCTETS (16u << 20) /* of texts in memory; beyond that they are in receipts only */
#define ENVELOPE_GUESS 2048        /* octets of most envelopes: read at once */
#define WAIT_MAX_S     (400 * 86400)

uint64_t hash_bytes(const void *p, size_t n)
{
    const uint8_t *at = p;
    uint64_t h = 0xcbf29ce484222325u;

    for (size_t i = 0; i < n; i++)
        h = (h ^ at[i]) * 0x100000001b3u;
    return hash_u64(h);
}

_Static_assert(sizeof(struct letter) + sizeof(struct rcpt) + sizeof(struct pair) +
                       sizeof(struct node *) <=
                   PAIR_MEMORY,
               "a million letters take too much memory");

static uint64_t hash_of_letter(const struct node *n)
{
    return hash_u64(((const struct letter *)n)->id);
}

static uint64_t hash_of_dest(const struct node *n)
{
    return ((const struct dest *)n)->hash;
}

static uint64_t hash_of_reply(const struct node *n)
{
    return ((const struct reply *)n)->hash;
}

int index_init(struct queue *q)
{
    pieces_init(&q->letter_pieces, sizeof(struct letter) + sizeof(struct rcpt));
    pieces_init(&q->pair_pieces, sizeof(struct pair));
    for (size_t i = 0; i < WHEEL_SLOTS; i++)
        link_init(&q->wheel[i]);
    for (size_t i = 0; i < CARRIERS; i++) {
        link_init(&q->side[i].turn);
        link_init(&q->side[i].suspects);
    }
    link_init(&q->resting);
    link_init(&q->paced);
    q->wheel_s = q->now_s;
    return table_init(&q->letters, hash_of_letter) == 0 &&
                   table_init(&q->dests, hash_of_dest) == 0 &&
                   table_init(&q->replies, hash_of_reply) == 0
               ? 0
               : -1;
}

/* ---- replies: one copy of what many recipients were told --------------------------------------
 */

struct reply_view reply_view(const struct reply *r)
{
    if (!r)
        return (struct reply_view){0};
    return (struct reply_view){r->code, ll_slice(r->bytes, r->n_status),
                               ll_slice(r->bytes + r->n_status, r->n_text),
                               ll_slice(r->bytes + r->n_status + r->n_text, r->n_remote)};
}

static bool reply_same(const struct reply *r, const struct reply_view *v)
{
    struct reply_view have = reply_view(r);

    return have.code == v->code && ll_slice_eq(have.status, v->status) &&
           ll_slice_eq(have.text, v->text) && ll_slice_eq(have.remote, v->remote);
}

struct reply *reply_hold(struct queue *q, const struct reply_view *view)
{
    struct reply_view v = *view;
    uint32_t hash;
    struct reply *r;
    size_t n;

    v.status = ll_slice_cut(v.status, 0, 16);
    v.text = ll_slice_cut(v.text, 0, LL_DIAG_MAX);
    v.remote = ll_slice_cut(v.remote, 0, 300);
    if (q->reply_octets > REPLIES_OCTETS) {
        v.text = LL_LIT("see the receipt");
        v.remote = ll_slice(NULL, 0);
    }
    hash = (uint32_t)hash_u64(hash_bytes(v.text.p, v.text.n) ^ hash_bytes(v.remote.p, v.remote.n) ^
                              v.code);
    for (r = (struct reply *)table_chain(&q->replies, hash); r; r = (struct reply *)r->node.next)
        if (r->hash == hash && reply_same(r, &v)) {
            r->refs++;
            return r;
        }
    n = v.status.n + v.text.n + v.remote.n;
    r = calloc(1, sizeof(*r) + n);
    if (!r)
        return NULL;
    r->refs = 1;
    r->hash = hash;
    r->code = v.code;
    r->n_status = (uint8_t)v.status.n;
    r->n_text = (uint16_t)v.text.n;
    r->n_remote = (uint16_t)v.remote.n;
    if (v.status.n)
        memcpy(r->bytes, v.status.p, v.status.n);
    if (v.text.n)
        memcpy(r->bytes + v.status.n, v.text.p, v.text.n);
    if (v.remote.n)
        memcpy(r->bytes + v.status.n + v.text.n, v.remote.p, v.remote.n);
    table_put(&q->replies, &r->node);
    q->reply_octets += sizeof(*r) + n;
    return r;
}

void reply_drop(struct queue *q, struct reply *r)
{
    if (!r || --r->refs > 0)
        return;
    table_take(&q->replies, &r->node);
    q->reply_octets -= sizeof(*r) + r->n_status + r->n_text + r->n_remote;
    free(r);
}

/* ---- pairs ----------------------------------------------------------------------------------- */

void pair_take(struct queue *q, struct pair *p)
{
    link_out(&p->link);
    if (p->where == PAIR_READY)
        dest_turn(q, p->dest);
    p->where = PAIR_NOWHERE;
}

void pair_ready(struct queue *q, struct pair *p)
{
    pair_take(q, p);
    p->until_s = 0;
    if (p->deaths > 0) {
        p->where = PAIR_SUSPECT;
        link_last(&q->side[p->dest->carrier].suspects, &p->link);
    } else {
        p->where = PAIR_READY;
        link_last(&p->dest->ready, &p->link);
        dest_turn(q, p->dest);
    }
    pump(q);
}

void pair_wait(struct queue *q, struct pair *p, int64_t until_s)
{
    /* A clock that ran far ahead when this was written must not keep the letter for years. */
    if (until_s > q->now_s + WAIT_MAX_S)
        until_s = q->now_s + WAIT_MAX_S;
    if (until_s <= q->now_s) {
        pair_ready(q, p);
        return;
    }
    pair_take(q, p);
    p->until_s = (uint32_t)until_s;
    p->where = PAIR_WHEEL;
    link_last(&q->wheel[(size_t)until_s % WHEEL_SLOTS], &p->link);
}

void pair_free(struct queue *q, struct pair *p)
{
    struct dest *d = p->dest;

    pair_take(q, p);
    if (d->last == p)
        d->last = NULL;
    d->pairs--;
    pieces_put(&q->pair_pieces, p);
    dest_settle(q, d);
}

static void wheel_slot(struct queue *q, struct link *slot)
{
    for (struct link *l = slot->next, *next; l != slot; l = next) {
        struct pair *p = LINK_OF(struct pair, link, l);

        next = l->next;
        if ((int64_t)p->until_s <= q->now_s)
            pair_ready(q, p);
    }
}

/* After a jump of the clock every slot is looked at once, and no more. */
void wheel_turn(struct queue *q)
{
    int64_t from = q->wheel_s;

    if (q->now_s < from || q->now_s - from > WHEEL_SLOTS)
        from = q->now_s - WHEEL_SLOTS;
    for (int64_t s = from; s <= q->now_s; s++)
        wheel_slot(q, &q->wheel[(size_t)s % WHEEL_SLOTS]);
    q->wheel_s = q->now_s;
}

int rcpt_schedule(struct queue *q, struct letter *l, size_t i, const struct ll_rcpt *r,
                  uint8_t job_kind, int64_t until_s)
{
    struct dest *d = dest_for(q, r, job_kind);
    struct pair *p = d ? d->last : NULL;

    if (!d)
        return -1;
    if (!p || p->letter != l || p->n_rcpt == LL_JOB_RCPTS_MAX || p->kind != job_kind ||
        p->where == PAIR_RUNNING) {
        p = pieces_get(&q->pair_pieces);
        if (!p) {
            dest_settle(q, d);
            return -1;
        }
        p->letter = l;
        p->dest = d;
        p->kind = job_kind;
        p->deaths = l->rcpt[i].deaths;
        link_init(&p->link);
        d->pairs++;
        d->last = p;
        pair_wait(q, p, until_s);
    } else if (p->where == PAIR_WHEEL && until_s < (int64_t)p->until_s) {
        pair_wait(q, p, until_s);
    }
    p->n_rcpt++;
    l->rcpt[i].pair = p;
    return 0;
}

/* ---- letters --------------------------------------------------------------------------------- */

struct letter *letter_find(const struct queue *q, uint64_t id)
{
    struct node *n = table_chain(&q->letters, hash_u64(id));

    while (n && ((struct letter *)n)->id != id)
        n = n->next;
    return (struct letter *)n;
}

static struct letter *letter_alloc(struct queue *q, size_t n_rcpt)
{
    return n_rcpt == 1 ? pieces_get(&q->letter_pieces)
                       : calloc(1, sizeof(struct letter) + n_rcpt * sizeof(struct rcpt));
}

static void letter_release(struct queue *q, struct letter *l)
{
    if (l && l->n_rcpt == 1)
        pieces_put(&q->letter_pieces, l);
    else
        free(l);
}

void rcpt_set(struct queue *q, struct letter *l, struct rcpt *r, enum ll_rcpt_state state)
{
    q->n_rcpt[r->state]--;
    q->n_rcpt[state]++;
    if (!ll_rcpt_over(r->state) && ll_rcpt_over(state))
        l->alive--;
    r->state = (uint8_t)state;
    if ((ll_rcpt_over(state) || state == LL_RCPT_HELD) && r->pair) {
        struct pair *p = r->pair;

        r->pair = NULL;
        if (--p->n_rcpt == 0 && p->where != PAIR_RUNNING)
            pair_free(q, p);
    }
}

void rcpt_reply(struct queue *q, struct rcpt *r, const struct reply_view *v)
{
    struct reply *new = reply_hold(q, v);

    reply_drop(q, r->reply);
    r->reply = new;
}

static void letter_free(struct queue *q, struct letter *l)
{
    table_take(&q->letters, &l->node);
    for (size_t i = 0; i < l->n_rcpt; i++) {
        q->n_rcpt[l->rcpt[i].state]--;
        reply_drop(q, l->rcpt[i].reply);
    }
    letter_release(q, l);
}

void letter_move(struct queue *q, struct letter *l, struct segment *s, uint32_t offset,
                 uint32_t length)
{
    struct segment *old = l->segment;

    if (old == s)
        return;
    old->doubles = true;
    old->letters--;
    old->octets -= l->length;
    l->segment = s;
    l->offset = offset;
    l->length = length;
    s->letters++;
    s->octets += length;
    segment_settle(q, old);
}

/* Every segment that may hold a record of it must remember that it is over for as long as the
 * segment lives. As a rule a segment goes when all that was alive in it has been copied; what was
 * torn at a start can leave one with letters of its own and with such that have moved. */
static void remember_over(struct queue *q, const struct letter *l)
{
    segment_over(q, l->segment, l->id);
    if (l->segment->number == (uint32_t)(l->id >> 32))
        return;
    for (struct link *at = q->segments.next; at != &q->segments; at = at->next) {
        struct segment *s = LINK_OF(struct segment, link, at);

        if (s->doubles && s != l->segment)
            segment_over(q, s, l->id);
    }
}

void letter_settle(struct queue *q, struct letter *l)
{
    struct segment *s = l->segment;

    if (l->alive > 0)
        return;
    for (size_t i = 0; i < l->n_rcpt; i++)
        if (l->rcpt[i].pair)
            return;
    if (l->body_file)
        body_remove(q, l->body_file);
    s->letters--;
    s->octets -= l->length;
    remember_over(q, l);
    letter_free(q, l);
    segment_settle(q, s);
}

/* What the logs say of it. True when the letter is over. */
static bool take_past(struct queue *q, struct letter *l, uint32_t *until)
{
    bool over = false;

    for (struct past *p = past_find(q, l->id); p; p = past_next(p)) {
        struct rcpt *r;

        if (p->rcpt == PAST_ALL) {
            over = true;
            continue;
        }
        if (p->rcpt >= l->n_rcpt)
            continue;
        r = &l->rcpt[p->rcpt];
        r->state = p->state == LL_RCPT_TRYING ? LL_RCPT_DEFERRED : p->state;
        r->attempts = p->attempts;
        r->deaths = p->deaths;
        r->flags |= p->warned ? RCPT_WARNED : 0;
        until[p->rcpt] = p->until_s;
        if (p->reply) {
            reply_drop(q, r->reply);
            r->reply = p->reply;
            r->reply->refs++;
        }
    }
    return over;
}

/* May a front have written a letter for this recipient? (DESIGN 3: the queue trusts a record no
 * more than its writer.) */
static bool may_hold(const struct queue *q, const struct segment *s, const struct ll_letter *l,
                     const struct ll_rcpt *r)
{
    const struct ll_conf *c = q->proc->conf;
    const struct ll_conf_domain *d = ll_conf_domain(c, domain_of(r->address));
    bool trusts = c->trusted_networks[0] != NULL;

    for (size_t i = 0; i < c->n_listener; i++)
        trusts = trusts || c->listener[i].client_names[0] != NULL;
    if (s->writer != LL_ROLE_FRONT_MX && s->writer != LL_ROLE_FRONT_SUB)
        return true;
    if (s->writer == LL_ROLE_FRONT_MX ? l->origin != LL_ORIGIN_MX
                                      : l->origin != LL_ORIGIN_SUBMISSION)
        return false;
    if (s->writer == LL_ROLE_FRONT_SUB)
        return l->login.n > 0 || trusts;
    if (r->kind == LL_RCPT_MAILBOX || r->kind == LL_RCPT_REPORT)
        return true;              /* carried by local and tally, which know ours alone */
    if (r->kind == LL_RCPT_ALIAS) /* post would send on what turns out to be no alias of ours */
        return trusts || d || ll_slice_caseeq(domain_of(r->address), ll_slice_str(c->hostname));
    return trusts || (d && ll_conf_carried(d));
}

/* A new letter's recipient is held, and shown with the reason. */
static void rcpt_hold(struct queue *q, struct letter *l, uint32_t i, struct ll_slice text)
{
    struct reply_view why = {.text = text};

    rcpt_reply(q, &l->rcpt[i], &why);
    rcpt_set(q, l, &l->rcpt[i], LL_RCPT_HELD);
    outlog_state(q, l, &i, 1);
    receipt_event(q, "held", l, &i, 1, ll_slice(NULL, 0), 0);
}

/* Where a new letter's recipient goes: to a destination, or to its end at once. */
static int rcpt_begin(struct queue *q, struct letter *l, const struct ll_letter *from, uint32_t i,
                      uint32_t until)
{
    const struct ll_rcpt *r = &from->rcpt[i];
    const struct ll_conf_route *route = NULL;
    struct reply_view why = {0};

    if (l->rcpt[i].state == LL_RCPT_HELD || ll_rcpt_over(l->rcpt[i].state))
        return 0;
    if (!may_hold(q, l->segment, from, r)) {
        rcpt_hold(q, l, i, LL_LIT("its writer may not write letters for this recipient"));
        ll_log(LL_LOG_ERROR, "letter-not-trusted", LL_FU("segment", l->segment->number),
               LL_F("rcpt", r->address));
        return 0;
    }
    if ((r->flags & LL_RCPT_HOLD) && l->rcpt[i].state == LL_RCPT_WAITING) {
        rcpt_hold(q, l, i,
                  LL_LIT("DMARC: the sender is not proved, and this recipient's domain would "
                         "have refused the letter; another recipient's took it"));
        return 0;
    }
    if (l->rcpt[i].state == LL_RCPT_FAILED || l->rcpt[i].state == LL_RCPT_CONFIRMING)
        return rcpt_schedule(q, l, i, r, LL_JOB_REPORT, until);
    if (r->flags & LL_RCPT_LOOPS) {
        why = (struct reply_view){554, LL_LIT("5.4.6"),
                                  LL_LIT("this letter has been delivered to this address before: "
                                         "it loops"),
                                  ll_slice(NULL, 0)};
        rcpt_reply(q, &l->rcpt[i], &why);
        rcpts_failed(q, l, from, &i, 1);
        return 0;
    }
    if (r->kind == LL_RCPT_REMOTE)
        route = ll_conf_route(q->proc->conf, domain_of(r->address));
    if (route && strcmp(route->via, "discard") == 0) {
        why.text = LL_LIT("discarded by its route");
        rcpt_reply(q, &l->rcpt[i], &why);
        rcpt_set(q, l, &l->rcpt[i], LL_RCPT_DELIVERED);
        outlog_state(q, l, &i, 1);
        receipt_event(q, "delivered", l, &i, 1, LL_LIT("{\"discarded\":true}"), 0);
        return 0;
    }
    return rcpt_schedule(q, l, i, r, job_kind_of(r->kind), until);
}

/* What a front of the open port says of its client counts only where the configuration has such
 * clients. That SPF or DKIM proved the reverse-path is believed: nobody else has looked. */
static uint8_t flags_believed(const struct queue *q, const struct ll_letter *from)
{
    const struct ll_conf *c = q->proc->conf;
    bool trusts = c->trusted_networks[0] != NULL;

    for (size_t i = 0; i < c->n_listener; i++)
        trusts = trusts || c->listener[i].client_ca[0];
    if (from->origin != LL_ORIGIN_MX)
        return from->flags;
    return from->flags & (uint8_t) ~(LL_LETTER_OURS | (trusts ? 0 : LL_LETTER_TRUSTED));
}

int letter_add(struct queue *q, const struct ll_letter *from, struct segment *s, uint32_t offset,
               uint32_t length)
{
    struct letter *l = letter_alloc(q, from->n_rcpt);
    uint32_t *until = q->scanning ? ll_arena_alloc(&q->arena, from->n_rcpt * sizeof(*until)) : NULL;
    bool over = false;

    if (!l)
        return -1;
    l->n_rcpt = (uint16_t)from->n_rcpt;
    if (q->scanning && !until) {
        letter_release(q, l);
        return -1;
    }
    l->id = from->id;
    l->segment = s;
    l->body_file = from->body_file;
    l->offset = offset;
    l->length = length;
    l->arrived_s = (uint32_t)(from->arrived_ms / 1000);
    l->flags = flags_believed(q, from);
    l->origin = from->origin;
    for (size_t i = 0; i < from->n_rcpt; i++) {
        l->rcpt[i].kind = from->rcpt[i].kind;
        l->rcpt[i].flags = report_flags(&from->rcpt[i]);
    }
    if (q->scanning)
        over = take_past(q, l, until);
    for (size_t i = 0; i < l->n_rcpt; i++) {
        l->alive += !ll_rcpt_over(l->rcpt[i].state);
        q->n_rcpt[l->rcpt[i].state]++;
    }
    if (over)
        l->alive = 0;
    if (l->alive == 0)
        l->body_file = 0; /* it has gone, or the sweep finds it: the number may be another's now */
    table_put(&q->letters, &l->node);
    s->letters++;
    s->octets += length;
    for (uint32_t i = 0; l->alive > 0 && i < from->n_rcpt; i++)
        if (rcpt_begin(q, l, from, i, until ? until[i] : 0) != 0)
            ll_proc_no_memory("a letter");
    letter_settle(q, l);
    return 0;
}

bool record_decode(struct queue *q, struct ll_slice in, uint64_t generation, struct ll_letter *ret)
{
    ll_arena_release(&q->arena);
    if (ll_record_decode(in, generation, &q->arena, ret))
        return true;
    if (q->arena.no_memory)
        ll_proc_no_memory("a record of the journal");
    return false;
}

/* 0, or errno; EBADMSG where the file is shorter. */
static int read_at(int fd, uint8_t *p, size_t n, uint64_t offset)
{
    ssize_t r;

    do
        r = pread(fd, p, n, (off_t)offset);
    while (r < 0 && errno == EINTR);
    return r < 0 ? errno : (size_t)r == n ? 0 : EBADMSG;
}

bool letter_read(struct queue *q, const struct letter *l, bool body, struct ll_letter *ret)
{
    struct ll_record_head h;
    size_t want = body || l->length < ENVELOPE_GUESS ? l->length : ENVELOPE_GUESS;
    int fd = segment_fd(q, l->segment);
    size_t meta;

    if (fd < 0)
        return false;
    errno = l->length > RECORD_MAX ? EBADMSG : read_at(fd, q->record, want, l->offset);
    if (errno != 0)
        return false;
    errno = EBADMSG;
    if (!ll_record_head_decode(ll_slice(q->record, want), &h) || h.id != l->id ||
        ll_record_length(&h) != l->length)
        return false;
    meta = LL_RECORD_HEAD + (size_t)h.meta_length;
    errno = meta > want ? read_at(fd, q->record, meta, l->offset) : 0;
    if (errno != 0)
        return false;
    errno = EBADMSG;
    if (!record_decode(q, ll_slice(q->record, meta), l->segment->generation, ret))
        return false;
    if (!body)
        return true;
    ret->body = ll_slice(q->record + meta, h.body_length);
    return ret->body_file || ll_record_body_ok(&h, ret->body);
}
