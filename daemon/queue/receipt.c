/*
 * Receipts: one JSON object a line, a file a day, kept as long as the configuration says. Written
 * by the log's thread; not flushed, for a receipt tells what happened and decides nothing.
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
#include <unistd.h>

#define LINE_MAX_OCTETS (512u << 10)
#define DAY_S           86400
#define RECEIPT_SHARE   2 /* of the least free space, below this part nothing is written */

static void begin(struct ll_json *j, struct ll_buf *line, uint64_t id, const char *event)
{
    struct ll_buf word = LL_BUF(64);

    *j = LL_JSON(line);
    ll_json_open(j, '{');
    ll_time_rfc3339_ms(&word, ll_unix_ms());
    ll_json_str(j, "time", ll_buf_slice(&word));
    ll_buf_clear(&word);
    ll_letter_id_format(&word, id);
    ll_json_str(j, "id", ll_buf_slice(&word));
    ll_json_cstr(j, "event", event);
    ll_buf_release(&word);
}

/* Facts come from other processes: one object in one line, or they are shown as text. */
static void put_facts(struct ll_json *j, struct ll_slice facts)
{
    bool clean = facts.n >= 2 && facts.p[0] == '{' && facts.p[facts.n - 1] == '}';

    for (size_t i = 0; clean && i < facts.n; i++)
        clean = facts.p[i] >= 0x20;
    if (facts.n == 0)
        return;
    if (clean)
        ll_json_raw(j, "facts", facts);
    else
        ll_json_str(j, "facts", facts);
}

static void end(struct queue *q, struct ll_json *j, struct ll_buf *line)
{
    ll_json_close(j);
    ll_buf_putc(line, '\n');
    /* What is kept back on a full disk is for outcomes: receipts give way. */
    if (!line->failed && q->free_octets >= q->low_octets / RECEIPT_SHARE)
        ll_buf_put_slice(&q->log.receipts, ll_buf_slice(line));
    if (q->log.receipts.failed)
        q->log.receipts.failed = false; /* the disk does not keep up: receipts give way */
    ll_buf_clear(line);
    outlog_kick(q);
}

static const char *const origins[] = {
    [LL_ORIGIN_MX] = "mx", [LL_ORIGIN_SUBMISSION] = "submission", [LL_ORIGIN_POST] = "post"};

const char *origin_name(uint8_t origin)
{
    return origin < LL_COUNT(origins) ? origins[origin] : "?";
}

void receipt_accepted(struct queue *q, const struct ll_letter *l)
{
    struct ll_buf *line = &q->line;
    struct ll_json j;

    begin(&j, line, l->id, "accepted");
    ll_json_str(&j, "sender", l->reverse_path);
    ll_json_int(&j, "size", (int64_t)l->body_length);
    ll_json_cstr(&j, "origin", origin_name(l->origin));
    if (l->login.n)
        ll_json_str(&j, "login", l->login);
    ll_json_key(&j, "rcpts");
    ll_json_open(&j, '[');
    for (size_t i = 0; i < l->n_rcpt; i++)
        ll_json_str(&j, NULL, l->rcpt[i].address);
    ll_json_close(&j);
    put_facts(&j, l->facts);
    end(q, &j, line);
}

void receipt_event(struct queue *q, const char *event, const struct letter *l, const uint32_t *rcpt,
                   size_t n, struct ll_slice facts, uint64_t new_letter)
{
    const struct rcpt *r = &l->rcpt[rcpt[0]];
    struct reply_view v = reply_view(r->reply);
    struct ll_buf *line = &q->line;
    struct ll_json j;

    begin(&j, line, l->id, event);
    ll_json_key(&j, "rcpts");
    ll_json_open(&j, '[');
    for (size_t i = 0; i < n; i++)
        ll_json_int(&j, NULL, rcpt[i]);
    ll_json_close(&j);
    ll_json_int(&j, "attempt", r->attempts);
    ll_json_int(&j, "code", v.code);
    ll_json_str(&j, "status", v.status);
    ll_json_str(&j, "text", v.text);
    ll_json_str(&j, "remote", v.remote);
    if (new_letter) {
        struct ll_buf id = LL_BUF(16);

        ll_letter_id_format(&id, new_letter);
        ll_json_str(&j, "new_id", ll_buf_slice(&id));
        ll_buf_release(&id);
    }
    put_facts(&j, facts);
    end(q, &j, line);
}

/* ---- days ------------------------------------------------------------------------------------ */

static bool day_name(const char *name)
{
    return strlen(name) == 12 && strspn(name, "0123456789") == 8 && !strcmp(name + 8, ".log");
}

static void remove_old(struct queue *q)
{
    struct ll_buf oldest = LL_BUF(16);
    int dir = openat(q->receipts_dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = dir >= 0 ? fdopendir(dir) : NULL;
    struct dirent *e;

    ll_time_day(&oldest, q->now_s - q->proc->conf->receipts);
    while (d && oldest.n == 8 && (e = readdir(d)) != NULL)
        if (day_name(e->d_name) && memcmp(e->d_name, oldest.p, 8) < 0)
            outlog_remove(q, q->receipts_dir, e->d_name);
    if (d)
        closedir(d);
    ll_buf_release(&oldest);
}

/* The file of the day; only while the thread rests, for it writes to the descriptor. */
void receipts_tick(struct queue *q)
{
    uint32_t day = (uint32_t)(q->now_s / DAY_S);
    struct ll_buf name = LL_BUF(32);
    const char *s;

    if (q->log.receipts_fd >= 0 && (day == q->log.receipts_day || q->log.busy))
        return;
    ll_time_day(&name, q->now_s);
    ll_buf_puts(&name, ".log");
    s = ll_buf_str(&name);
    if (q->log.receipts_fd >= 0)
        close(q->log.receipts_fd);
    q->log.receipts_fd =
        s ? openat(q->receipts_dir, s, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600)
          : -1;
    q->log.receipts_day = day;
    ll_buf_release(&name);
    remove_old(q);
}
