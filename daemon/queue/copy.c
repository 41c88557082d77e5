/*
 * Empties segments that are mostly dead: the few letters that still wait are copied into a segment
 * of the queue's own, that is flushed, and then the old one goes. See queue.h.
 */
#include "daemon/queue/queue.h"

#include "io/log.h"

#include <stdlib.h>
#include <unistd.h>

#define COPY_SHARE 4           /* emptied when less than this part of it is alive */
#define COPY_EVERY 10          /* seconds between two segments */
#define COPY_AFTER 600         /* seconds: what is alive then waits for long */
#define COPY_SPACE 4           /* at so many times the least free space there is no waiting */
#define COPY_MAX   (16u << 20) /* octets copied in one turn */

static struct segment *worth_emptying(struct queue *q)
{
    bool now = q->free_octets < COPY_SPACE * q->low_octets;

    for (struct link *l = q->segments.next; l != &q->segments; l = l->next) {
        struct segment *s = LINK_OF(struct segment, link, l);

        if (s->closed && (now || s->closed_s + COPY_AFTER < q->now_s) && s != q->copy &&
            s->letters > 0 && link_empty(&s->scan) && s->octets < s->upto / COPY_SHARE &&
            s->octets <= COPY_MAX && s->upto > q->segment_limit / COPY_SHARE)
            return s;
    }
    return NULL;
}

/* The segment that takes copies; a full one is closed and the next begun. */
static struct segment *copy_segment(struct queue *q)
{
    struct segment *s = q->copy;

    if (s && s->upto >= q->segment_limit) {
        q->copy = NULL;
        s->final = true;
        s->until = s->upto;
        scan_begin(q, s);
        s = NULL;
    }
    if (!s)
        q->copy = s = segment_new(q, LL_ROLE_QUEUE, 0);
    if (s)
        q->old_ids = true;
    return s;
}

struct copied {
    struct letter *letter;
    uint32_t offset;
};

static size_t collect(struct queue *q, struct segment *s, struct copied *list)
{
    size_t n = 0;

    for (size_t i = 0; i < q->letters.n_buckets && n < s->letters; i++)
        for (struct node *e = q->letters.bucket[i]; e && n < s->letters; e = e->next)
            if (((struct letter *)e)->segment == s)
                list[n++].letter = (struct letter *)e;
    return n;
}

/* True when the record was appended to the copies. */
static bool copy_one(struct queue *q, struct segment *to, struct copied *c)
{
    struct ll_letter from;

    if (!letter_read(q, c->letter, true, &from))
        return false;
    ll_record_rebind(q->record, c->letter->length, to->generation);
    if (write(to->fd, q->record, c->letter->length) != (ssize_t)c->letter->length)
        return false;
    c->offset = (uint32_t)to->upto;
    to->upto += c->letter->length;
    to->until = to->upto;
    to->size = to->upto;
    return true;
}

/* A copy that failed ends its segment: what was copied before stays where it was. */
static void give_up(struct queue *q, struct segment *to, uint64_t upto)
{
    ll_log(LL_LOG_ERROR, "copy-failed", LL_FU("segment", to->number));
    q->copy = NULL;
    to->upto = to->until = upto;
    to->final = true;
    scan_begin(q, to);
}

void copy_tick(struct queue *q)
{
    struct segment *s, *to;
    struct copied *list;
    uint64_t before;
    size_t n;

    if (q->scanning || q->log.broken ||
        (q->free_octets >= COPY_SPACE * q->low_octets && q->now_s < q->copied_s + COPY_EVERY) ||
        (s = worth_emptying(q)) == NULL)
        return;
    q->copied_s = q->now_s;
    list = calloc(s->letters, sizeof(*list));
    to = list ? copy_segment(q) : NULL;
    if (!to) {
        free(list);
        return;
    }
    before = to->upto;
    n = collect(q, s, list);
    for (size_t i = 0; i < n; i++)
        if (!copy_one(q, to, &list[i])) {
            give_up(q, to, before);
            free(list);
            return;
        }
    if (fdatasync(to->fd) != 0) {
        give_up(q, to, before);
        free(list);
        return;
    }
    ll_log(LL_LOG_INFO, "segment-emptied", LL_FU("segment", s->number), LL_FU("letters", n));
    for (size_t i = 0; i < n; i++)
        letter_move(q, list[i].letter, to, list[i].offset, list[i].letter->length);
    free(list);
}
