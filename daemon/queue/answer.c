/*
 * Control's questions. See queue.h, and doc/design/queue.md for commands and keys.
 *
 * A question that walks the whole index or the receipts goes on bit by bit: so many buckets or
 * octets a turn, and none while control has not read what it got.
 */
#include "daemon/queue/answer.h"

#include "io/clock.h"
#include "io/json.h"
#include "io/log.h"

#include <dirent.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#define SLICE_MS        5          /* of one turn */
#define QUEUED_MAX      (1u << 20) /* octets that control leaves unread: we wait */
#define LINE_MAX_OCTETS (LL_IPC_FRAME_MAX - 64)
#define TRACE_CHUNK     (1u << 20)
#define TRACE_WAITS     50 /* turns of 2 ms that a trace waits for receipts being written */
#define DAYS_MAX        400
#define PAUSES_SHOWN    100

/* ---- walks over all letters ------------------------------------------------------------------ */

bool answer_picks(const struct filter *f, struct ll_slice address)
{
    return (f->domain.n == 0 || ll_slice_caseeq(f->domain, domain_of(address))) &&
           (f->rcpt.n == 0 || ll_slice_caseeq(f->rcpt, address));
}

bool answer_matches(const struct filter *f, const struct letter *l, const struct ll_letter *from)
{
    bool rcpt = f->domain.n == 0 && f->rcpt.n == 0;
    bool held = !f->held;

    if (f->has_id && l->id != f->id)
        return false;
    if (f->sender.p && !ll_slice_caseeq(f->sender, from->reverse_path))
        return false;
    for (size_t i = 0; i < l->n_rcpt; i++) {
        struct ll_slice address = from->rcpt[i].address;

        held = held || l->rcpt[i].state == LL_RCPT_HELD;
        rcpt = rcpt || answer_picks(f, address);
    }
    return rcpt && held;
}

/* Is that worth reading its envelope? */
static bool may_match(const struct filter *f, const struct letter *l)
{
    bool held = !f->held;

    for (size_t i = 0; !held && i < l->n_rcpt; i++)
        held = l->rcpt[i].state == LL_RCPT_HELD;
    return held;
}

/* Does the question wait: for its asker to read, or for the disk to take what it changed? */
static bool must_wait(const struct queue *q, const struct answer *a, uint64_t deadline)
{
    return ll_now_ms() >= deadline || ll_ipc_queued(a->peer->ipc) > QUEUED_MAX || outlog_behind(q);
}

/* Visits the letters that match; `visit` may free the letter. True at the end of the index. When
 * that grows meanwhile, some letters are shown twice and none never. An envelope may have to come
 * from the disk: time is looked at behind each. */
bool answer_walk(struct queue *q, struct answer *a, uint64_t deadline,
                 void (*visit)(struct queue *, struct answer *, struct letter *,
                               const struct ll_letter *))
{
    for (size_t looked = 0; a->bucket < q->letters.n_buckets; a->bucket++) {
        if ((looked > 0 || a->bucket % 64 == 0) && must_wait(q, a, deadline))
            return false;
        looked = 0;
        for (struct node *n = q->letters.bucket[a->bucket], *next; n; n = next) {
            struct letter *l = (struct letter *)n;
            struct ll_letter from;

            next = n->next;
            if (!may_match(&a->filter, l))
                continue;
            looked++;
            if (letter_read(q, l, false, &from) && answer_matches(&a->filter, l, &from))
                visit(q, a, l, &from);
        }
    }
    return true;
}

static void visit_list(struct queue *q, struct answer *a, struct letter *l,
                       const struct ll_letter *from)
{
    answer_show(q, a, l, from, false);
}

static bool step_list(struct queue *q, struct answer *a, uint64_t deadline)
{
    if (!answer_walk(q, a, deadline, visit_list))
        return false;
    answer_end(a->peer, a->ask, q->scanning ? EX_TEMPFAIL : EX_OK,
               q->scanning ? "the journal is still being read" : "");
    return true;
}

/* ---- figures --------------------------------------------------------------------------------- */

static bool step_stats(struct queue *q, struct answer *a, uint64_t deadline)
{
    static const char *const spaces[] = {"ok", "full", "broken"};
    struct ll_json j = LL_JSON(&q->line);
    uint64_t octets = 0;
    size_t segments = 0;

    for (struct link *l = q->segments.next; l != &q->segments; l = l->next, segments++)
        octets += LINK_OF(struct segment, link, l)->octets;
    ll_json_open(&j, '{');
    ll_json_int(&j, "letters", (int64_t)q->letters.n);
    ll_json_int(&j, "recipients",
                (int64_t)(q->n_rcpt[LL_RCPT_WAITING] + q->n_rcpt[LL_RCPT_TRYING] +
                          q->n_rcpt[LL_RCPT_DEFERRED] + q->n_rcpt[LL_RCPT_HELD] +
                          q->n_rcpt[LL_RCPT_FAILED] + q->n_rcpt[LL_RCPT_CONFIRMING]));
    for (enum ll_rcpt_state s = LL_RCPT_WAITING; s < LL_RCPT_DELIVERED; s++)
        ll_json_int(&j, ll_rcpt_state_name(s), (int64_t)q->n_rcpt[s]);
    ll_json_int(&j, "destinations", (int64_t)q->dests.n);
    ll_json_int(&j, "segments", (int64_t)segments);
    ll_json_int(&j, "octets", (int64_t)octets);
    ll_json_int(&j, "free", (int64_t)q->free_octets);
    ll_json_key(&j, "paused");
    ll_json_open(&j, '[');
    for (size_t i = 0; i < q->n_pauses && i < PAUSES_SHOWN; i++)
        ll_json_cstr(&j, NULL, q->pauses[i]);
    ll_json_close(&j);
    ll_json_cstr(&j, "space", spaces[q->space]);
    ll_json_bool(&j, "log_broken", q->log.broken);
    ll_json_bool(&j, "scanning", q->scanning);
    ll_json_int(&j, "damaged", (int64_t)q->damaged);
    ll_json_int(&j, "accepted", (int64_t)q->accepted);
    ll_json_int(&j, "delivered_since_start", (int64_t)q->delivered);
    ll_json_int(&j, "returned_since_start", (int64_t)q->returned);
    ll_json_close(&j);
    answer_line(a, ll_buf_slice(&q->line));
    ll_buf_clear(&q->line);
    answer_end(a->peer, a->ask, EX_OK, "");
    return true;
}

/* ---- trace ----------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

static bool find_days(struct queue *q, struct answer *a)
{
    int dir = openat(q->receipts_dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = dir >= 0 ? fdopendir(dir) : NULL;
    struct dirent *e;

    a->days = calloc(DAYS_MAX, sizeof(*a->days));
    while (d && a->days && a->n_days < DAYS_MAX && (e = readdir(d)) != NULL)
        if (strlen(e->d_name) == 12)
            memcpy(a->days[a->n_days++], e->d_name, 13);
    if (d)
        closedir(d);
    if (a->days)
        qsort(a->days, a->n_days, sizeof(*a->days), by_name);
    return a->days != NULL;
}

static void trace_lines(struct answer *a, bool last)
{
    struct ll_slice rest = ll_buf_slice(&a->chunk);
    size_t used = 0;

    for (;;) {
        size_t n = ll_slice_find(rest, '\n');
        struct ll_slice line = ll_slice_cut(rest, 0, n);

        if (n == rest.n)
            break;
        if (line.n < LINE_MAX_OCTETS &&
            ll_slice_search(ll_slice_cut(line, 0, 80), ll_slice_str(a->needle)) < 80 &&
            ll_slice_search(line, ll_slice_str(a->needle)) < line.n) {
            bool accepted = ll_slice_search(line, LL_LIT("\"event\": \"accepted\"")) < 120;

            if (!accepted || !a->accepted) {
                answer_line(a, line);
                a->count++;
            }
            a->accepted = a->accepted || accepted;
        }
        rest = ll_slice_skip(rest, n + 1);
        used += n + 1;
    }
    ll_buf_drop(&a->chunk, used);
    if (last || a->chunk.n > TRACE_CHUNK)
        ll_buf_clear(&a->chunk);
}

static bool step_trace(struct queue *q, struct answer *a, uint64_t deadline)
{
    /* What just happened is on its way to the file: a while is left for it to arrive. */
    if (!a->days && a->waits++ < TRACE_WAITS && (q->log.receipts.n > 0 || q->log.busy))
        return false;
    if (!a->days) {
        struct ll_buf id = LL_BUF(16);

        ll_letter_id_format(&id, a->filter.id);
        snprintf(a->needle, sizeof(a->needle), "\"id\": \"%.*s\"", LL_FMT(ll_buf_slice(&id)));
        ll_buf_release(&id);
        if (!find_days(q, a)) {
            answer_end(a->peer, a->ask, EX_TEMPFAIL, "no memory");
            return true;
        }
    }
    while (a->day < a->n_days) {
        uint8_t *room = ll_buf_room(&a->chunk, TRACE_CHUNK / 2);
        ssize_t n = -1;

        if (a->fd < 0)
            a->fd = openat(q->receipts_dir, a->days[a->day], O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (a->fd >= 0 && room)
            n = read(a->fd, room, TRACE_CHUNK / 2);
        if (n > 0)
            ll_buf_grew(&a->chunk, (size_t)n);
        trace_lines(a, n <= 0);
        if (n <= 0) {
            if (a->fd >= 0)
                close(a->fd);
            a->fd = -1;
            a->day++;
        }
        if (ll_now_ms() >= deadline || ll_ipc_queued(a->peer->ipc) > QUEUED_MAX)
            return false;
    }
    if (a->count == 0)
        answer_end(a->peer, a->ask, EX_UNAVAILABLE, "no receipt of that letter");
    else
        answer_end(a->peer, a->ask, EX_OK, "");
    return true;
}

/* ---- questions ------------------------------------------------------------------------------- */

static const struct verb verbs[] = {
    {"queue list", step_list, false, false, false},
    {"queue show", answer_step_show, true, false, false},
    {"queue why", answer_step_why, true, false, false},
    {"queue retry", answer_step_retry, false, true, false},
    {"queue drop", answer_step_drop, false, true, false},
    {"queue hold", answer_step_hold, false, true, false},
    {"queue release", answer_step_release, false, true, false},
    {"queue pause", answer_step_pause, false, false, true},
    {"queue resume", answer_step_resume, false, false, true},
    {"queue pauses", answer_step_pauses, false, false, false},
    {"queue stats", step_stats, false, false, false},
    {"trace", step_trace, true, false, false},
};

static void answer_free(struct answer *a)
{
    link_out(&a->link);
    if (a->fd >= 0)
        close(a->fd);
    ll_buf_release(&a->chunk);
    free(a->days);
    free(a->args);
    free(a);
}

static void on_answers(evutil_socket_t fd, short what, void *arg)
{
    struct queue *q = arg;
    uint64_t deadline = ll_now_ms() + SLICE_MS;
    struct timeval soon = {0, 2000};

    for (struct link *l = q->answers.next, *next; l != &q->answers; l = next) {
        struct answer *a = LINK_OF(struct answer, link, l);

        next = l->next;
        if (a->held || ll_ipc_queued(a->peer->ipc) > QUEUED_MAX || !a->verb->step(q, a, deadline))
            continue;
        answer_free(a);
    }
    if (link_empty(&q->answers))
        return;
    if (q->answers.next != q->answers.prev) { /* another is the first one next time */
        struct link *first = q->answers.next;

        link_out(first);
        link_last(&q->answers, first);
    }
    event_add(q->answer_event, &soon);
}

int answers_init(struct queue *q)
{
    link_init(&q->answers);
    q->answer_event = event_new(q->proc->base, -1, 0, on_answers, q);
    return q->answer_event ? 0 : -1;
}

void answers_gone(struct queue *q, struct ll_peer *peer)
{
    for (struct link *l = q->answers.next, *next; l != &q->answers; l = next) {
        struct answer *a = LINK_OF(struct answer, link, l);

        next = l->next;
        if (a->peer == peer)
            answer_free(a);
    }
}

/* An asker that reads slowly stops its own question and nobody else's. One that has gone stops what
 * only shows; what changes letters goes on to its end. */
int on_ctl_flow(struct ll_peer *peer, const struct ll_msg *m)
{
    struct queue *q = peer->proc->state;

    for (struct link *l = q->answers.next; l != &q->answers; l = l->next) {
        struct answer *a = LINK_OF(struct answer, link, l);

        if (a->peer != peer || a->ask != m->id)
            continue;
        a->held = m->ctl_flow.state == LL_FLOW_WAIT;
        if (m->ctl_flow.state == LL_FLOW_GONE && !a->verb->needs_filter && !a->verb->names)
            answer_free(a);
        else
            event_active(q->answer_event, EV_TIMEOUT, 0);
        return 0;
    }
    return 0; /* its end is on the way */
}

/* The words behind the command. NULL, or a sentence on what is wrong. */
static const char *read_filter(struct filter *f, struct ll_slice args)
{
    struct ll_cursor c = ll_cursor(args);

    while (ll_cur_left(&c) > 0) {
        struct ll_slice word = ll_cur_str16(&c);
        struct ll_slice *value = ll_slice_eq(word, LL_LIT("--domain"))      ? &f->domain
                                 : ll_slice_eq(word, LL_LIT("--sender"))    ? &f->sender
                                 : ll_slice_eq(word, LL_LIT("--recipient")) ? &f->rcpt
                                                                            : NULL;

        if (c.failed)
            return "malformed words";
        f->any = true;
        if (value)
            *value = ll_cur_str16(&c);
        else if (ll_slice_eq(word, LL_LIT("--held")))
            f->held = true;
        else if (ll_slice_eq(word, LL_LIT("all")) || ll_slice_eq(word, LL_LIT("--all")))
            f->all = true;
        else if (ll_letter_id_parse(word, &f->id))
            f->has_id = true;
        else
            return "that is neither a letter's id (13 digits) nor a known filter";
        if (c.failed)
            return "a filter lacks its value";
    }
    return NULL;
}

/* The one word behind pause and resume. */
static const char *read_name(struct queue *q, struct filter *f, struct ll_slice args)
{
    struct ll_cursor c = ll_cursor(args);

    f->name = ll_cur_str16(&c);
    if (!ll_cur_end(&c))
        return "which destination? One is named at a time";
    return pause_wrong(q, f->name);
}

static const char *read_question(struct queue *q, struct answer *a, const struct ll_msg *m)
{
    struct ll_slice args;
    const char *wrong;

    for (size_t i = 0; i < LL_COUNT(verbs); i++)
        if (ll_slice_eq(m->ctl_ask.command, ll_slice_str(verbs[i].name)))
            a->verb = &verbs[i];
    if (!a->verb)
        return "the queue does not know that command";
    a->args = malloc(m->ctl_ask.args.n + 1);
    if (!a->args)
        return "no memory";
    if (m->ctl_ask.args.n)
        memcpy(a->args, m->ctl_ask.args.p, m->ctl_ask.args.n);
    args = ll_slice(a->args, m->ctl_ask.args.n);
    wrong = a->verb->names ? read_name(q, &a->filter, args) : read_filter(&a->filter, args);
    if (wrong)
        return wrong;
    if (a->verb->needs_id && !a->filter.has_id)
        return "which letter? An id is needed";
    if (a->verb->needs_filter && !a->filter.any)
        return "which letters? An id, a filter or the word all is needed";
    return NULL;
}

int on_ctl_ask(struct ll_peer *peer, const struct ll_msg *m)
{
    struct queue *q = peer->proc->state;
    struct answer *a = calloc(1, sizeof(*a));
    const char *wrong;

    if (!a) {
        answer_end(peer, m->id, EX_TEMPFAIL, "no memory");
        return 0;
    }
    link_init(&a->link);
    ll_buf_init(&a->chunk, 4 * TRACE_CHUNK);
    a->peer = peer;
    a->ask = m->id;
    a->fd = -1;
    wrong = read_question(q, a, m);
    if (wrong) {
        answer_end(peer, m->id, EX_DATAERR, wrong);
        answer_free(a);
        return 0;
    }
    link_last(&q->answers, &a->link);
    event_active(q->answer_event, EV_TIMEOUT, 0);
    return 0;
}
