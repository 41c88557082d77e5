/*
 * Records into the index. See queue.h.
 *
 * A segment is read from `upto`, before which everything is indexed, to `until`: what its writer
 * says is flushed, or the end of the file when nobody writes to it any more. Heads and envelopes
 * are read and contents skipped, but for the last octets of a segment found at start, which may be
 * torn: there contents are checked too.
 */
#include "daemon/queue/queue.h"

#include "io/clock.h"
#include "io/log.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK         (256u << 10) /* octets read at a time */
#define SLICE_MS      5            /* how long one turn may scan */
#define LOOK_SHARE    4            /* the disk is looked at when this part of the least is taken */
#define RECEIPT_AGAIN 600          /* seconds: letters found at start that are younger than this */
#define TAIL_OCTETS   (66u << 20)  /* of a segment found at start: contents are checked */

/* The window on the segment that is being read. */
struct window {
    struct queue *q;
    struct segment *s;
    uint64_t from; /* offset of the first octet in scan_buf */
    size_t n;
};

/* n octets at that offset; NULL when the file does not have them. */
static const uint8_t *look(struct window *w, uint64_t at, size_t n)
{
    uint64_t end = w->s->until < w->s->size ? w->s->until : w->s->size;
    size_t want = n > CHUNK ? n : CHUNK;
    ssize_t r;

    if (at + n > end)
        return NULL;
    if (at >= w->from && at + n <= w->from + w->n)
        return w->q->scan_buf + (at - w->from);
    if (want > end - at)
        want = (size_t)(end - at);
    do
        r = pread(segment_fd(w->q, w->s), w->q->scan_buf, want, (off_t)at);
    while (r < 0 && errno == EINTR);
    if (r < 0 && !w->s->unreadable) {
        ll_log(LL_LOG_ERROR, "journal-unreadable", LL_FU("segment", w->s->number),
               LL_FU("offset", at), LL_FS("why", strerror(errno)));
        w->s->unreadable = true;
    }
    w->from = at;
    w->n = r > 0 ? (size_t)r : 0;
    return w->n >= n ? w->q->scan_buf : NULL;
}

/* Octets of a sound record at that place, or 0. *ret borrows from the window and the arena. */
static size_t record_at(struct window *w, uint64_t at, struct ll_letter *ret)
{
    const uint8_t *p = look(w, at, LL_RECORD_HEAD);
    struct ll_record_head h;
    size_t meta, n;

    if (!p || !ll_record_head_decode(ll_slice(p, LL_RECORD_HEAD), &h))
        return 0;
    meta = LL_RECORD_HEAD + (size_t)h.meta_length;
    n = (size_t)ll_record_length(&h);
    /* In one piece, where it fits: else the window would go to its end and come back. */
    if (n <= CHUNK && !look(w, at, n))
        return 0;
    if (w->s->tail && h.body_length > 0 && at + n + TAIL_OCTETS > w->s->size) {
        p = look(w, at, n);
        if (!p || !ll_record_body_ok(&h, ll_slice(p + meta, h.body_length)))
            return 0;
    }
    p = look(w, at + n - LL_RECORD_END, LL_RECORD_END);
    if (!p || !ll_record_end_ok(&h, ll_slice(p, LL_RECORD_END)))
        return 0;
    p = look(w, at, meta);
    if (!p || !record_decode(w->q, ll_slice(p, meta), w->s->generation, ret))
        return 0;
    return n;
}

/* Where the next sound record begins behind a place where none does; 0: nowhere. */
static uint64_t resync(struct window *w, uint64_t at)
{
    struct ll_letter l;

    for (;;) {
        uint64_t end = w->s->until < w->s->size ? w->s->until : w->s->size;
        size_t n = end - at < CHUNK ? (size_t)(end - at) : CHUNK;
        const uint8_t *p;
        size_t skip;

        if (at + LL_RECORD_HEAD > end || (p = look(w, at, n)) == NULL)
            return 0;
        skip = ll_slice_search(ll_slice(p, n), LL_LIT("LLJ1"));
        if (skip == n) {
            at += n > 3 ? n - 3 : n;
            continue;
        }
        at += skip;
        if (record_at(w, at, &l) > 0)
            return at;
        at++;
    }
}

/* Keeps the octets that nobody understands, for people to look at. */
static void keep_aside(struct window *w, uint64_t from, uint64_t to)
{
    char name[64];
    int fd;

    w->q->damaged++;
    ll_log(LL_LOG_ERROR, "journal-damaged", LL_FU("segment", w->s->number), LL_FU("offset", from),
           LL_FU("octets", to - from));
    snprintf(name, sizeof(name), "%08x-%08llx", w->s->number, (unsigned long long)from);
    fd = openat(w->q->aside_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    while (fd >= 0 && from < to) {
        size_t n = to - from < CHUNK ? (size_t)(to - from) : CHUNK;
        const uint8_t *p = look(w, from, n);

        if (!p || write(fd, p, n) != (ssize_t)n)
            break;
        from += n;
    }
    if (fd >= 0)
        close(fd);
}

static void take(struct window *w, const struct ll_letter *l, size_t n)
{
    struct queue *q = w->q;
    struct letter *known = letter_find(q, l->id);

    w->s->upto += n;
    if (known) {
        letter_move(q, known, w->s, (uint32_t)(w->s->upto - n), (uint32_t)n);
        return;
    }
    /* A queue that died may have taken the last lines with it; older letters have theirs. */
    if (!q->scanning || (l->arrived_ms / 1000 > q->now_s - RECEIPT_AGAIN && !past_find(q, l->id)))
        receipt_accepted(q, l);
    q->accepted += !q->scanning;
    if (l->body_file)
        given_taken(q, l->body_file);
    if (letter_add(q, l, w->s, (uint32_t)(w->s->upto - n), (uint32_t)n) != 0)
        ll_proc_no_memory("a letter"); /* it stays in the journal: the next start finds it */
}

/* One record, or one gap. False at the end. */
static bool step(struct window *w)
{
    struct ll_letter l;
    size_t n = record_at(w, w->s->upto, &l);
    uint64_t next;

    if (n > 0) {
        take(w, &l, n);
        return true;
    }
    next = w->s->upto < w->s->size ? resync(w, w->s->upto + 1) : 0;
    if (next > 0) {
        keep_aside(w, w->s->upto, next);
        w->s->upto = next;
        return true;
    }
    return false;
}

/* Scans until the end of what may be read, or until `deadline`. True at the end. */
static bool scan_on(struct queue *q, struct segment *s, uint64_t deadline)
{
    struct window w = {q, s, 0, 0};
    struct stat st;

    if (segment_fd(q, s) < 0)
        return true;
    /* Not more often than need be: who looks at a file's times makes the next write change them
     * (multigrain timestamps of Linux), and that is one more block for the writer's flush. */
    if (s->size < s->until) {
        if (fstat(s->fd, &st) != 0)
            return true;
        s->size = (uint64_t)st.st_size;
    }
    for (unsigned i = 1; step(&w); i++)
        if (i % 16 == 0 && ll_now_ms() >= deadline)
            return false;
    return true;
}

/* Nothing but the zeros that lay ahead of its writer. */
static bool blank(struct window *w, uint64_t from, uint64_t to)
{
    while (from < to) {
        size_t n = to - from < CHUNK ? (size_t)(to - from) : CHUNK;
        const uint8_t *p = look(w, from, n);

        if (!p || p[0] != 0 || memcmp(p, p + 1, n - 1) != 0)
            return false;
        from += n;
    }
    return true;
}

static void finish(struct queue *q, struct segment *s)
{
    struct window w = {q, s, 0, 0};
    uint64_t end = s->until < s->size ? s->until : s->size;

    link_out(&s->scan);
    /* A closed segment ends where it was read to, for all starts to come: one that the disk did not
     * give stays open, and the next start reads it again. */
    if (!s->final || s->unreadable)
        return;
    if (!blank(&w, s->upto, end))
        ll_log(LL_LOG_WARNING, "journal-torn", LL_FU("segment", s->number),
               LL_FU("octets", end - s->upto));
    s->closed_s = q->now_s;
    if (!s->closed) {
        s->closed = true;
        outlog_closed(q, s->number, s->upto);
    }
    segment_settle(q, s);
}

static void on_scan(evutil_socket_t fd, short what, void *arg)
{
    struct queue *q = arg;
    uint64_t deadline = ll_now_ms() + SLICE_MS;
    struct timeval at_once = {0, 0}, soon = {0, 1000};

    while (!link_empty(&q->to_scan)) {
        struct segment *s = LINK_OF(struct segment, scan, q->to_scan.next);

        if (outlog_behind(q) || !scan_on(q, s, deadline)) {
            event_add(q->scan_event, outlog_behind(q) ? &soon : &at_once);
            return;
        }
        finish(q, s);
    }
    if (q->scanning) {
        q->scanning = false;
        past_forget(q);
        outlog_checkpoint(q);
        ll_log(LL_LOG_INFO, "journal-read", LL_FU("letters", q->letters.n),
               LL_FU("damaged", q->damaged));
    }
    pump(q);
}

void scan_begin(struct queue *q, struct segment *s)
{
    struct timeval at_once = {0, 0};

    if (s && link_empty(&s->scan))
        link_last(&q->to_scan, &s->scan);
    event_add(q->scan_event, &at_once);
}

int scan_init(struct queue *q)
{
    link_init(&q->to_scan);
    q->scan_buf = malloc(RECORD_MAX);
    q->scan_event = event_new(q->proc->base, -1, 0, on_scan, q);
    if (!q->scan_buf || !q->scan_event)
        return -1;
    q->scanning = true;
    return 0;
}

/* The writer's own words are bounds, never more: what is not a sound record is not taken. */
int on_appended(struct ll_peer *peer, const struct ll_msg *m)
{
    struct queue *q = peer->proc->state;
    struct segment *s = segment_find(q, m->appended.segment);
    uint64_t end = m->appended.offset + m->appended.length;

    if (!s || s->writer != peer->role || s->index != peer->index)
        return -1;
    if (s->closed || s->final || end < m->appended.offset || end > UINT32_MAX)
        return -1;
    if (!s->ours) {
        s->ours = true;
        s->until = LL_SEGMENT_HEAD;
    }
    if (s->until == UINT64_MAX)
        s->until = LL_SEGMENT_HEAD;
    if (end > s->until)
        s->until = end;
    q->taken += m->appended.length;
    if (q->taken > q->low_octets / LOOK_SHARE)
        space_look(q);
    if (m->appended.length > 0)
        for (struct link *l = q->segments.next; l != &s->link;) {
            struct segment *older = LINK_OF(struct segment, link, l);

            l = l->next;
            if (older->ours && !older->final && older->writer == s->writer &&
                older->index == s->index) {
                older->final = true;
                scan_begin(q, older);
            }
        }
    if (!link_empty(&s->scan) || !scan_on(q, s, ll_now_ms() + SLICE_MS))
        scan_begin(q, s);
    segment_ahead(q, s);
    return 0;
}
