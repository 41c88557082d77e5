/*
 * Control's questions. See queue.h, and doc/design/queue.md for commands and keys.
 *
 * A question that walks the whole index or the receipts goes on bit by bit: so many buckets or
 * octets a turn, and none while control has not read what it got.
 */
#include "daemon/queue/queue.h"

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
#define HEADER_SHOWN    (16u << 10)
#define SHOWN_RCPTS     100 /* recipients of one line; "more" counts the others */
#define TEXT_MAX_OCTETS 320
#define TRACE_CHUNK     (1u << 20)
#define TRACE_WAITS     50 /* turns of 2 ms that a trace waits for receipts being written */
#define DAYS_MAX        400

struct filter {
    bool held, all, any;
    bool has_id;
    uint64_t id;
    struct ll_slice domain, sender, rcpt; /* borrow from `args` */
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
    struct ll_buf chunk;
    char needle[32];
};

struct verb {
    const char *name;
    bool (*step)(struct queue *, struct answer *, uint64_t deadline); /* true: it is done */
    bool needs_id;
    bool needs_filter; /* never on everything by mistake */
};

/* ---- lines ----------------------------------------------------------------------------------- */

static void say(struct answer *a, struct ll_slice line)
{
    struct ll_msg m = {.type = LL_MSG_CTL_LINE, .id = a->ask, .fd = -1};

    m.ctl_line.line = line;
    ll_msg_send(a->peer->ipc, &m);
}

static void say_end(struct ll_peer *peer, uint64_t ask, int status, const char *text)
{
    struct ll_msg m = {.type = LL_MSG_CTL_END, .id = ask, .fd = -1};

    m.ctl_end.status = (uint8_t)status;
    m.ctl_end.text = ll_slice_str(text);
    ll_msg_send(peer->ipc, &m);
}

static void put_time(struct ll_json *j, const char *key, int64_t unix_s)
{
    struct ll_buf b = LL_BUF(64);

    ll_time_rfc3339(&b, unix_s);
    ll_json_str(j, key, ll_buf_slice(&b));
    ll_buf_release(&b);
}

static void put_rcpt(struct ll_json *j, const struct queue *q, const struct rcpt *r,
                     struct ll_slice address)
{
    struct reply_view v = reply_view(r->reply);

    ll_json_open(j, '{');
    ll_json_str(j, "address", address);
    ll_json_cstr(j, "state", ll_rcpt_state_name(r->state));
    ll_json_int(j, "attempts", r->attempts);
    if (r->pair && r->pair->where == PAIR_WHEEL)
        put_time(j, "next", r->pair->until_s);
    else if (r->pair && r->pair->dest->until_s > q->now_s)
        put_time(j, "next", r->pair->dest->until_s);
    else
        ll_json_cstr(j, "next", NULL);
    ll_json_int(j, "code", v.code);
    ll_json_str(j, "status", v.status);
    ll_json_str(j, "text", ll_slice_cut(v.text, 0, TEXT_MAX_OCTETS));
    ll_json_str(j, "remote", v.remote);
    ll_json_close(j);
}

/* An open object; the caller adds what it likes and closes it. */
static void put_letter(struct ll_json *j, const struct queue *q, const struct letter *l,
                       const struct ll_letter *from)
{
    struct ll_buf id = LL_BUF(16);

    ll_letter_id_format(&id, l->id);
    ll_json_open(j, '{');
    ll_json_str(j, "id", ll_buf_slice(&id));
    put_time(j, "arrived", from->arrived_ms / 1000);
    ll_json_int(j, "age", q->now_s - from->arrived_ms / 1000);
    ll_json_int(j, "size", (int64_t)from->body_length);
    ll_json_str(j, "sender", from->reverse_path);
    ll_json_cstr(j, "origin", origin_name(l->origin));
    ll_json_key(j, "rcpts");
    ll_json_open(j, '[');
    for (size_t i = 0; i < l->n_rcpt && i < SHOWN_RCPTS; i++)
        put_rcpt(j, q, &l->rcpt[i], from->rcpt[i].address);
    ll_json_close(j);
    if (l->n_rcpt > SHOWN_RCPTS)
        ll_json_int(j, "more", l->n_rcpt - SHOWN_RCPTS);
    ll_buf_release(&id);
}

/* ---- one letter ------------------------------------------------------------------------------ */

static void say_letter(struct queue *q, struct answer *a, const struct letter *l,
                       const struct ll_letter *from, bool whole)
{
    struct ll_json j = LL_JSON(&q->line);

    put_letter(&j, q, l, from);
    if (whole) {
        ll_json_str(&j, "login", from->login);
        ll_json_str(&j, "envid", from->envid);
        ll_json_str(&j, "facts", from->facts);
        ll_json_str(&j, "prepend", ll_slice_cut(from->prepend, 0, HEADER_SHOWN));
        ll_json_str(
            &j, "header",
            ll_slice_cut(from->body, 0,
                         from->header_length < HEADER_SHOWN ? from->header_length : HEADER_SHOWN));
    }
    ll_json_close(&j);
    if (!q->line.failed)
        say(a, ll_buf_slice(&q->line));
    ll_buf_clear(&q->line);
}

static struct letter *the_letter(struct queue *q, struct answer *a)
{
    struct letter *l = letter_find(q, a->filter.id);

    if (!l)
        say_end(a->peer, a->ask, EX_UNAVAILABLE,
                q->scanning ? "not found yet: the journal is still being read"
                            : "no such letter in the queue; try letterlock trace");
    return l;
}

/* The beginning of a long body, for its header section. */
static struct ll_slice file_header(struct queue *q, const struct ll_letter *from)
{
    size_t n = from->header_length < HEADER_SHOWN ? from->header_length : HEADER_SHOWN;
    char name[24];
    ssize_t r = -1;
    int fd;

    body_name(name, from->body_file);
    fd = openat(q->bodies_dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0) {
        r = pread(fd, q->scan_buf, n, 0);
        close(fd);
    }
    return ll_slice(q->scan_buf, r > 0 ? (size_t)r : 0);
}

static bool step_show(struct queue *q, struct answer *a, uint64_t deadline)
{
    struct letter *l = the_letter(q, a);
    struct ll_letter from;

    if (!l)
        return true;
    if (!letter_read(q, l, true, &from)) {
        say_end(a->peer, a->ask, EX_DATAERR, "its record in the journal is damaged");
        return true;
    }
    if (from.body_file)
        from.body = file_header(q, &from);
    say_letter(q, a, l, &from, true);
    say_end(a->peer, a->ask, EX_OK, "");
    return true;
}

static void say_text(struct queue *q, struct answer *a, struct ll_buf *text)
{
    struct ll_json j = LL_JSON(&q->line);

    ll_json_open(&j, '{');
    ll_json_str(&j, "line", ll_buf_slice(text));
    ll_json_close(&j);
    if (!q->line.failed)
        say(a, ll_buf_slice(&q->line));
    ll_buf_clear(&q->line);
    ll_buf_clear(text);
}

static void put_duration(struct ll_buf *b, int64_t s)
{
    if (s < 0)
        s = 0;
    if (s >= 2 * 86400)
        ll_buf_printf(b, "%lld days", (long long)(s / 86400));
    else if (s >= 2 * 3600)
        ll_buf_printf(b, "%lld hours", (long long)(s / 3600));
    else if (s >= 120)
        ll_buf_printf(b, "%lld minutes", (long long)(s / 60));
    else
        ll_buf_printf(b, "%lld seconds", (long long)s);
}

static const char *const state_sentences[LL_RCPT_STATES] = {
    [LL_RCPT_WAITING] = "waits for its first try",
    [LL_RCPT_TRYING] = "is being delivered now",
    [LL_RCPT_DEFERRED] = "could not be delivered yet",
    [LL_RCPT_HELD] = "is held until `queue retry` or `queue drop`",
    [LL_RCPT_FAILED] = "failed; the report to the sender is being made",
    [LL_RCPT_CONFIRMING] = "was delivered; the report of that to the sender is being made",
    [LL_RCPT_DELIVERED] = "was delivered",
    [LL_RCPT_RETURNED] = "failed for good",
    [LL_RCPT_DROPPED] = "was dropped by the operator",
};

static void why_rcpt(struct queue *q, const struct rcpt *r, struct ll_slice address,
                     struct ll_buf *text)
{
    struct reply_view v = reply_view(r->reply);

    ll_buf_put_slice(text, address);
    ll_buf_printf(text, " %s", state_sentences[r->state]);
    if (r->attempts)
        ll_buf_printf(text, ", after %u %s", r->attempts, r->attempts == 1 ? "try" : "tries");
    ll_buf_puts(text, ".");
    if (v.text.n) {
        ll_buf_puts(text, " Last answer");
        if (v.remote.n) {
            ll_buf_puts(text, " of ");
            ll_buf_put_slice(text, v.remote);
        }
        ll_buf_puts(text, ": ");
        if (v.code)
            ll_buf_printf(text, "%u ", v.code);
        if (v.status.n) {
            ll_buf_put_slice(text, v.status);
            ll_buf_putc(text, ' ');
        }
        ll_buf_put_slice(text, v.text);
    }
    if (r->pair && r->pair->where == PAIR_WHEEL) {
        ll_buf_puts(text, " Next try in ");
        put_duration(text, (int64_t)r->pair->until_s - q->now_s);
        ll_buf_putc(text, '.');
    } else if (r->pair && r->pair->dest->until_s > q->now_s) {
        struct reply_view d = reply_view(r->pair->dest->why);

        ll_buf_printf(text, " %s has trouble and rests for ", r->pair->dest->name);
        put_duration(text, r->pair->dest->until_s - q->now_s);
        ll_buf_puts(text, d.text.n ? ": " : ".");
        ll_buf_put_slice(text, d.text);
    } else if (r->pair && r->pair->where == PAIR_READY) {
        ll_buf_puts(text, " It goes as soon as its turn comes.");
    }
}

static bool step_why(struct queue *q, struct answer *a, uint64_t deadline)
{
    struct ll_buf text = LL_BUF(4096);
    struct letter *l = the_letter(q, a);
    struct ll_letter from;

    if (!l)
        return true;
    if (!letter_read(q, l, false, &from)) {
        say_end(a->peer, a->ask, EX_DATAERR, "its record in the journal is damaged");
        return true;
    }
    ll_buf_puts(&text, "Arrived ");
    put_duration(&text, q->now_s - from.arrived_ms / 1000);
    ll_buf_puts(&text, " ago from ");
    if (from.reverse_path.n)
        ll_buf_put_slice(&text, from.reverse_path);
    else
        ll_buf_puts(&text, "the null reverse-path");
    ll_buf_puts(&text, "; given up ");
    put_duration(&text, from.arrived_ms / 1000 + q->proc->conf->queue_lifetime - q->now_s);
    ll_buf_puts(&text, " from now.");
    say_text(q, a, &text);
    for (size_t i = 0; i < l->n_rcpt; i++) {
        why_rcpt(q, &l->rcpt[i], from.rcpt[i].address, &text);
        say_text(q, a, &text);
    }
    if (q->log.broken) {
        ll_buf_puts(&text, "The outcome log cannot be written: nothing is handed out now.");
        say_text(q, a, &text);
    }
    ll_buf_release(&text);
    say_end(a->peer, a->ask, EX_OK, "");
    return true;
}

/* ---- walks over all letters ------------------------------------------------------------------ */

static bool matches(const struct filter *f, const struct letter *l, const struct ll_letter *from)
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
        rcpt = rcpt || ((f->domain.n == 0 || ll_slice_caseeq(f->domain, domain_of(address))) &&
                        (f->rcpt.n == 0 || ll_slice_caseeq(f->rcpt, address)));
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
static bool walk(struct queue *q, struct answer *a, uint64_t deadline,
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
            if (letter_read(q, l, false, &from) && matches(&a->filter, l, &from))
                visit(q, a, l, &from);
        }
    }
    return true;
}

static void visit_list(struct queue *q, struct answer *a, struct letter *l,
                       const struct ll_letter *from)
{
    say_letter(q, a, l, from, false);
}

static bool step_list(struct queue *q, struct answer *a, uint64_t deadline)
{
    if (!walk(q, a, deadline, visit_list))
        return false;
    say_end(a->peer, a->ask, q->scanning ? EX_TEMPFAIL : EX_OK,
            q->scanning ? "the journal is still being read" : "");
    return true;
}

static void retry_rcpt(struct queue *q, struct letter *l, uint32_t i, const struct ll_letter *from)
{
    struct rcpt *r = &l->rcpt[i];

    if (ll_rcpt_over(r->state) || (r->pair && r->pair->where == PAIR_RUNNING))
        return;
    if (r->pair) {
        r->pair->deaths = 0;
        r->deaths = 0;
        r->pair->dest->until_s = 0;
        pair_ready(q, r->pair);
        dest_turn(q, r->pair->dest);
        return;
    }
    r->deaths = 0;
    rcpt_set(q, l, r, r->attempts ? LL_RCPT_DEFERRED : LL_RCPT_WAITING);
    outlog_state(q, l, &i, 1);
    rcpt_schedule(q, l, i, &from->rcpt[i],
                  r->kind == LL_RCPT_ALIAS ? LL_JOB_FORWARD : LL_JOB_DELIVER, 0);
}

static void visit_retry(struct queue *q, struct answer *a, struct letter *l,
                        const struct ll_letter *from)
{
    a->count++;
    for (uint32_t i = 0; i < l->n_rcpt; i++)
        retry_rcpt(q, l, i, from);
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

/* What was changed is said when it is durable. True when the question is done. */
static bool end_count(struct queue *q, struct answer *a)
{
    char line[64];

    if (q->log.broken) {
        say_end(a->peer, a->ask, EX_TEMPFAIL, "the outcome log cannot be written");
        return true;
    }
    if (a->count > 0 && a->round == 0) {
        a->round = q->log.rounds + (q->log.busy ? 2 : 1);
        outlog_kick(q);
    }
    if (q->log.rounds < a->round)
        return false;
    snprintf(line, sizeof(line), "{\"letters\":%llu}", (unsigned long long)a->count);
    say(a, ll_slice_str(line));
    say_end(a->peer, a->ask, EX_OK, "");
    return true;
}

static bool step_change(struct queue *q, struct answer *a, uint64_t deadline,
                        void (*visit)(struct queue *, struct answer *, struct letter *,
                                      const struct ll_letter *))
{
    if (a->round > 0)
        return end_count(q, a);
    if (a->filter.has_id) {
        struct letter *l = the_letter(q, a);
        struct ll_letter from;

        if (!l)
            return true;
        if (!letter_read(q, l, false, &from)) {
            say_end(a->peer, a->ask, EX_DATAERR, "its record in the journal is damaged");
            return true;
        }
        if (matches(&a->filter, l, &from))
            visit(q, a, l, &from);
    } else if (!walk(q, a, deadline, visit)) {
        return false;
    }
    return end_count(q, a);
}

static bool step_retry(struct queue *q, struct answer *a, uint64_t deadline)
{
    return step_change(q, a, deadline, visit_retry);
}

static bool step_drop(struct queue *q, struct answer *a, uint64_t deadline)
{
    return step_change(q, a, deadline, visit_drop);
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
    ll_json_cstr(&j, "space", spaces[q->space]);
    ll_json_bool(&j, "log_broken", q->log.broken);
    ll_json_bool(&j, "scanning", q->scanning);
    ll_json_int(&j, "damaged", (int64_t)q->damaged);
    ll_json_int(&j, "accepted", (int64_t)q->accepted);
    ll_json_int(&j, "delivered_since_start", (int64_t)q->delivered);
    ll_json_int(&j, "returned_since_start", (int64_t)q->returned);
    ll_json_close(&j);
    say(a, ll_buf_slice(&q->line));
    ll_buf_clear(&q->line);
    say_end(a->peer, a->ask, EX_OK, "");
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
                say(a, line);
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
            say_end(a->peer, a->ask, EX_TEMPFAIL, "no memory");
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
        say_end(a->peer, a->ask, EX_UNAVAILABLE, "no receipt of that letter");
    else
        say_end(a->peer, a->ask, EX_OK, "");
    return true;
}

/* ---- questions ------------------------------------------------------------------------------- */

static const struct verb verbs[] = {
    {"queue list", step_list, false, false}, {"queue show", step_show, true, false},
    {"queue why", step_why, true, false},    {"queue retry", step_retry, false, true},
    {"queue drop", step_drop, false, true},  {"queue stats", step_stats, false, false},
    {"trace", step_trace, true, false},
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
        if (ll_ipc_queued(a->peer->ipc) > QUEUED_MAX || !a->verb->step(q, a, deadline))
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

static const char *read_question(struct answer *a, const struct ll_msg *m)
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
    wrong = read_filter(&a->filter, args);
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
        say_end(peer, m->id, EX_TEMPFAIL, "no memory");
        return 0;
    }
    link_init(&a->link);
    ll_buf_init(&a->chunk, 4 * TRACE_CHUNK);
    a->peer = peer;
    a->ask = m->id;
    a->fd = -1;
    wrong = read_question(a, m);
    if (wrong) {
        say_end(peer, m->id, EX_DATAERR, wrong);
        answer_free(a);
        return 0;
    }
    link_last(&q->answers, &a->link);
    event_active(q->answer_event, EV_TIMEOUT, 0);
    return 0;
}
