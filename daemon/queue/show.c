/* What control is shown of letters and destinations. See answer.h. */
#include "daemon/queue/answer.h"

#include "io/json.h"

#include <fcntl.h>
#include <sysexits.h>
#include <unistd.h>

#define HEADER_SHOWN    (16u << 10)
#define SHOWN_RCPTS     100 /* recipients of one line; "more" counts the others */
#define TEXT_MAX_OCTETS 320

/* ---- lines ----------------------------------------------------------------------------------- */

void answer_line(struct answer *a, struct ll_slice line)
{
    struct ll_msg m = {.type = LL_MSG_CTL_LINE, .id = a->ask, .fd = -1};

    m.ctl_line.line = line;
    ll_msg_send(a->peer->ipc, &m);
}

void answer_end(struct ll_peer *peer, uint64_t ask, int status, const char *text)
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
    if (r->pair)
        ll_json_cstr(j, "destination", r->pair->dest->name);
    ll_json_bool(j, "paused", r->pair && r->pair->dest->paused);
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

void answer_show(struct queue *q, struct answer *a, const struct letter *l,
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
        answer_line(a, ll_buf_slice(&q->line));
    ll_buf_clear(&q->line);
}

struct letter *answer_the_letter(struct queue *q, struct answer *a)
{
    struct letter *l = letter_find(q, a->filter.id);

    if (!l)
        answer_end(a->peer, a->ask, EX_UNAVAILABLE,
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

bool answer_step_show(struct queue *q, struct answer *a, uint64_t deadline)
{
    struct letter *l = answer_the_letter(q, a);
    struct ll_letter from;

    if (!l)
        return true;
    if (!letter_read(q, l, true, &from)) {
        answer_end(a->peer, a->ask, EX_DATAERR, "its record in the journal is damaged");
        return true;
    }
    if (from.body_file)
        from.body = file_header(q, &from);
    answer_show(q, a, l, &from, true);
    answer_end(a->peer, a->ask, EX_OK, "");
    return true;
}

void answer_text(struct queue *q, struct answer *a, struct ll_buf *text)
{
    struct ll_json j = LL_JSON(&q->line);

    ll_json_open(&j, '{');
    ll_json_str(&j, "line", ll_buf_slice(text));
    ll_json_close(&j);
    if (!q->line.failed)
        answer_line(a, ll_buf_slice(&q->line));
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
    [LL_RCPT_HELD] = "is held until `queue release` or `queue drop`",
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
    } else if (r->pair && r->pair->where == PAIR_READY && r->pair->dest->until_s <= q->now_s &&
               !r->pair->dest->paused) {
        ll_buf_puts(text, " It goes as soon as its turn comes.");
    }
}

/* How things are with where it goes. */
static void why_dest(const struct queue *q, const struct dest *d, struct ll_buf *text)
{
    struct reply_view v = reply_view(d->why);

    if (d->carrier == CARRIER_RELAY) {
        ll_buf_printf(text, "Destination %s: %u of at most %u connections in use", d->name,
                      d->running, d->limit);
        if (d->limit < d->most)
            ll_buf_printf(text, " (of %u allowed%s)", d->most,
                          d->throttled ? ": it asked for less" : "");
        if (d->rate)
            ll_buf_printf(text, ", at most %u letters a minute", d->rate);
        ll_buf_puts(text, ".");
    }
    if (d->until_s > q->now_s) {
        ll_buf_printf(text, " %s has trouble and rests for ", d->name);
        put_duration(text, d->until_s - q->now_s);
        ll_buf_puts(text, v.text.n ? ": " : ".");
        ll_buf_put_slice(text, v.text);
    }
    if (d->paused)
        ll_buf_printf(text,
                      "%sIt is paused by the operator: nothing goes to %s until `queue resume`.",
                      text->n ? " " : "", d->name);
}

/* Each destination of the letter once. */
static void why_dests(struct queue *q, struct answer *a, const struct letter *l,
                      struct ll_buf *text)
{
    for (size_t i = 0; i < l->n_rcpt; i++) {
        const struct pair *p = l->rcpt[i].pair;
        bool seen = !p;

        for (size_t k = 0; k < i && !seen; k++)
            seen = l->rcpt[k].pair && l->rcpt[k].pair->dest == p->dest;
        if (seen)
            continue;
        why_dest(q, p->dest, text);
        if (text->n)
            answer_text(q, a, text);
    }
}

bool answer_step_why(struct queue *q, struct answer *a, uint64_t deadline)
{
    struct ll_buf text = LL_BUF(4096);
    int64_t lifetime = 0;
    struct letter *l = answer_the_letter(q, a);
    struct ll_letter from;

    if (!l)
        return true;
    if (!letter_read(q, l, false, &from)) {
        answer_end(a->peer, a->ask, EX_DATAERR, "its record in the journal is damaged");
        return true;
    }
    for (size_t i = 0; i < l->n_rcpt; i++)
        if (lifetime < rcpt_lifetime(q, &l->rcpt[i]))
            lifetime = rcpt_lifetime(q, &l->rcpt[i]);
    ll_buf_puts(&text, "Arrived ");
    put_duration(&text, q->now_s - from.arrived_ms / 1000);
    ll_buf_puts(&text, " ago from ");
    if (from.reverse_path.n)
        ll_buf_put_slice(&text, from.reverse_path);
    else
        ll_buf_puts(&text, "the null reverse-path");
    ll_buf_puts(&text, "; given up ");
    put_duration(&text, from.arrived_ms / 1000 + lifetime - q->now_s);
    ll_buf_puts(&text, " from now.");
    answer_text(q, a, &text);
    for (size_t i = 0; i < l->n_rcpt; i++) {
        why_rcpt(q, &l->rcpt[i], from.rcpt[i].address, &text);
        answer_text(q, a, &text);
    }
    why_dests(q, a, l, &text);
    if (q->log.broken) {
        ll_buf_puts(&text, "The outcome log cannot be written: nothing is handed out now.");
        answer_text(q, a, &text);
    }
    ll_buf_release(&text);
    answer_end(a->peer, a->ask, EX_OK, "");
    return true;
}
