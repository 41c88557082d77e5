/* Reads the outcome logs at start. See queue.h. */
#include "daemon/queue/queue.h"

#include "io/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOGS_MAX      4096
#define RECORD_OCTETS (LL_OUTLOG_RECORD_MAX + 16)
#define CHUNK         (1u << 20)

static uint64_t hash_of_past(const struct node *n)
{
    return hash_u64(((const struct past *)n)->id);
}

static struct past *past_among(struct node *n, uint64_t id)
{
    while (n && ((struct past *)n)->id != id)
        n = n->next;
    return (struct past *)n;
}

struct past *past_find(const struct queue *q, uint64_t id)
{
    return past_among(table_chain(&q->past, hash_u64(id)), id);
}

struct past *past_next(const struct past *p)
{
    return past_among(p->node.next, p->id);
}

static struct past *past_get(struct queue *q, uint64_t id, uint16_t rcpt)
{
    struct past *p = past_find(q, id);

    while (p && p->rcpt != rcpt)
        p = past_next(p);
    if (p || (p = pieces_get(&q->past_pieces)) == NULL)
        return p;
    p->id = id;
    p->rcpt = rcpt;
    table_put(&q->past, &p->node);
    return p;
}

void past_forget(struct queue *q)
{
    for (size_t i = 0; i < q->past.n_buckets; i++)
        for (struct node *n = q->past.bucket[i]; n; n = n->next)
            reply_drop(q, ((struct past *)n)->reply);
    table_release(&q->past);
    pieces_release(&q->past_pieces);
}

/* A number that a log names was given, even if its file has gone. */
static void number_seen(struct queue *q, uint32_t segment)
{
    if (segment >= q->next_segment && segment < UINT32_MAX)
        q->next_segment = segment + 1;
}

static int take_state(struct queue *q, const struct ll_outlog_record *r)
{
    struct reply_view v = {r->code, r->status, r->text, r->remote};
    bool says = r->code || r->text.n || r->status.n;

    if (!q->old_ids && !segment_find(q, (uint32_t)(r->letter >> 32)))
        return 0;
    for (size_t i = 0; i < r->n; i++) {
        struct past *p = past_get(q, r->letter, (uint16_t)r->rcpt[i]);

        if (!p)
            return -1;
        p->state = r->state;
        p->attempts = r->attempts;
        p->deaths = r->deaths;
        p->warned = r->flags & LL_OUTLOG_WARNED;
        p->until_s = r->until_s < 0 || r->until_s > UINT32_MAX ? 0 : (uint32_t)r->until_s;
        reply_drop(q, p->reply);
        p->reply = says && !ll_rcpt_over(r->state) ? reply_hold(q, &v) : NULL;
    }
    return 0;
}

static int take_record(struct queue *q, const struct ll_outlog_record *r)
{
    struct segment *s;

    if (r->kind == LL_OUTLOG_STATE) {
        number_seen(q, (uint32_t)(r->letter >> 32));
        return take_state(q, r);
    }
    if (r->kind == LL_OUTLOG_PAUSE)
        return pause_set(q, r->name, r->paused);
    if (r->kind == LL_OUTLOG_OVER) {
        for (size_t i = 0; i < r->n; i++) {
            number_seen(q, (uint32_t)(r->over[i] >> 32));
            if (!past_get(q, r->over[i], PAST_ALL))
                return -1;
        }
        return 0;
    }
    number_seen(q, r->segment);
    s = r->kind == LL_OUTLOG_CLOSED ? segment_find(q, r->segment) : NULL;
    if (s) {
        s->until = r->length;
        s->closed = true;
        s->final = true;
        s->tail = false;
    }
    return 0;
}

/* A log ends where its records end: what lies behind was never flushed. */
static int read_log(struct queue *q, int fd, uint32_t number)
{
    uint8_t head[LL_OUTLOG_HEAD];
    struct ll_buf b = LL_BUF(CHUNK + RECORD_OCTETS);
    uint64_t generation;
    uint32_t have;
    int r = 0;

    if (read(fd, head, sizeof(head)) != (ssize_t)sizeof(head) ||
        !ll_outlog_head_decode(ll_slice(head, sizeof(head)), &have, &generation) ||
        have != number) {
        ll_log(LL_LOG_WARNING, "outcome-log-torn", LL_FU("log", number));
        return 0;
    }
    while (r == 0) {
        uint8_t *room = ll_buf_room(&b, CHUNK);
        ssize_t n = room ? read(fd, room, CHUNK) : -1;
        size_t at = 0;

        if (n <= 0) {
            r = n < 0 ? -1 : 0;
            break;
        }
        ll_buf_grew(&b, (size_t)n);
        while (r == 0) {
            struct ll_outlog_record rec;
            size_t used;

            ll_arena_release(&q->arena);
            used =
                ll_outlog_decode(ll_slice_skip(ll_buf_slice(&b), at), generation, &q->arena, &rec);
            if (used == 0)
                break;
            r = take_record(q, &rec);
            at += used;
        }
        ll_buf_drop(&b, at);
        if (b.n > RECORD_OCTETS) {
            ll_log(LL_LOG_WARNING, "outcome-log-torn", LL_FU("log", number));
            break;
        }
    }
    ll_buf_release(&b);
    return r;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

int outlog_replay(struct queue *q)
{
    uint32_t *numbers = calloc(LOGS_MAX, sizeof(*numbers));
    int dir = openat(q->log_dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = dir >= 0 ? fdopendir(dir) : NULL;
    struct dirent *e;
    size_t n = 0;
    int r = numbers && d && table_init(&q->past, hash_of_past) == 0 ? 0 : -1;

    pieces_init(&q->past_pieces, sizeof(struct past));
    while (r == 0 && (e = readdir(d)) != NULL)
        if (strlen(e->d_name) == 12 && strspn(e->d_name, "0123456789abcdef") == 8 &&
            strcmp(e->d_name + 8, ".log") == 0 && n < LOGS_MAX)
            numbers[n++] = (uint32_t)strtoul(e->d_name, NULL, 16);
    if (d)
        closedir(d);
    if (numbers)
        qsort(numbers, n, sizeof(*numbers), by_number);
    q->log.oldest = n > 0 ? numbers[0] : 1;
    for (size_t i = 0; r == 0 && i < n; i++) {
        char name[24];
        int fd;

        snprintf(name, sizeof(name), "%08x.log", numbers[i]);
        fd = openat(q->log_dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        r = fd >= 0 ? read_log(q, fd, numbers[i]) : -1;
        if (fd >= 0)
            close(fd);
        q->log.number = numbers[i];
    }
    free(numbers);
    return r;
}
