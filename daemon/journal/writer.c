/*
 * See daemon/journal/writer.h.
 *
 * Letters are encoded straight into the gathering batch. A batch belongs to one segment; the
 * thread takes batches in order, flushes their body files, writes the batch by one write(2),
 * flushes the segment and hands the batch back. The loop owns everything of a batch but its bytes,
 * files, error and time, which are the thread's from `push` until it comes back.
 *
 * A lone letter for which nobody else waits is flushed in the loop, as long as the disk is quick:
 * the way to the thread and back costs a third of such a flush.
 */
#include "daemon/journal/writer.h"

#include "io/clock.h"
#include "io/log.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

#define BATCH_MAX   (512u << 20) /* octets that may wait for the disk: then letters are refused */
#define BATCH_KEEP  (8u << 20)   /* octets of memory that an idle batch keeps */
#define SEGMENT_MAX (1u << 30)   /* octets at which a segment takes no more, whatever its limit */
#define FILES_LOW   64           /* files in hand at which more are asked for */
#define FILES_MAX   128          /* files in hand at most */
#define IDLE_MAX    4            /* batches kept for the next use */
#define QUICK_MS    5            /* a flush below this may be waited for in the loop */

struct segment {
    STAILQ_ENTRY(segment) next;
    int fd;
    uint32_t number;
    uint64_t generation;
    uint64_t limit;
    uint64_t at;      /* where the next record goes */
    uint64_t flushed; /* what is durable */
    size_t batches;   /* not yet answered */
    bool given_up;    /* a write failed; loop only */
    bool broken;      /* the same, the thread's own note */
};
STAILQ_HEAD(segment_list, segment);

struct ll_body_file {
    struct ll_writer *writer;
    int fd;
    uint64_t number;
    uint64_t length;
    uint64_t life; /* of the queue that gave it */
    uint32_t crc;
    enum ll_stored state;
};

struct item {
    ll_stored_fn done;
    void *arg;
    uint64_t id;
};

struct batch {
    STAILQ_ENTRY(batch) next;     /* todo or done, under the lock; or idle */
    STAILQ_ENTRY(batch) in_order; /* loop: all that are with the thread */
    struct segment *segment;      /* NULL: refused before it was written */
    uint64_t offset;
    struct ll_buf bytes;
    struct item *items;
    size_t n_items, cap_items;
    int *files;
    size_t n_files, cap_files;
    int error;        /* errno, or 0 */
    uint64_t took_ms; /* its flush */
};
STAILQ_HEAD(batch_list, batch);

struct ll_writer {
    struct ll_proc *proc;
    struct ll_peer *queue;
    struct event *kick;
    struct event *wake_event;
    int wake;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct batch_list todo; /* under the lock */
    struct batch_list done; /* under the lock */
    struct batch_list flight;
    struct batch_list untold; /* durable, but no queue was there to be told */
    struct batch_list idle;
    size_t n_idle;
    struct batch *gather;
    struct batch *refused;        /* letters that no segment took */
    struct segment_list segments; /* all that are in use */
    struct segment *now;
    struct segment *spare;
    bool segment_asked;
    bool files_asked;
    struct ll_body_file *files[FILES_MAX];
    size_t n_files;
    uint64_t life;
    enum ll_space space;
    bool alone; /* see ll_writer_alone */
    bool quick; /* so was the last flush */
    bool full;  /* the last segment was given up for want of space, and no other came yet */
    size_t pending;
    size_t waiting; /* octets gathered or in flight */
};

/* ---- the thread ------------------------------------------------------------------------------ */

static int write_all(int fd, const uint8_t *p, size_t n)
{
    while (n > 0) {
        ssize_t r = write(fd, p, n);

        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return errno;
        if (r == 0)
            return ENOSPC;
        p += r;
        n -= (size_t)r;
    }
    return 0;
}

/* No descriptor is written or flushed again after a failure: the kernel may have thrown the octets
 * away, and a second flush would say all is well. */
static int flush_all(struct batch *b)
{
    int error = 0;

    if (b->segment->broken)
        return EIO;
    /* All on their way before the first is waited for: they share the disk's queue, and what the
     * file system must note of them. A failure is told by the flush. */
    for (size_t i = 0; b->n_files > 1 && i < b->n_files; i++)
        sync_file_range(b->files[i], 0, 0, SYNC_FILE_RANGE_WRITE);
    for (size_t i = 0; i < b->n_files; i++)
        if (error == 0 && fdatasync(b->files[i]) != 0)
            error = errno;
    if (error == 0)
        error = write_all(b->segment->fd, b->bytes.p, b->bytes.n);
    if (error == 0 && fdatasync(b->segment->fd) != 0)
        error = errno;
    b->segment->broken = error != 0;
    return error;
}

static void flush_batch(struct batch *b)
{
    uint64_t began = ll_now_ms();

    b->error = flush_all(b);
    b->took_ms = ll_now_ms() - began;
}

static void *flush_thread(void *arg)
{
    struct ll_writer *w = arg;
    const uint64_t one = 1;

    for (;;) {
        struct batch *b;

        pthread_mutex_lock(&w->lock);
        while ((b = STAILQ_FIRST(&w->todo)) == NULL)
            pthread_cond_wait(&w->work, &w->lock);
        STAILQ_REMOVE_HEAD(&w->todo, next);
        pthread_mutex_unlock(&w->lock);
        flush_batch(b);
        pthread_mutex_lock(&w->lock);
        STAILQ_INSERT_TAIL(&w->done, b, next);
        pthread_mutex_unlock(&w->lock);
        while (write(w->wake, &one, sizeof(one)) < 0 && errno == EINTR)
            ;
    }
    return NULL;
}

/* ---- segments -------------------------------------------------------------------------------- */

static int tell(struct ll_writer *w, const struct ll_msg *m)
{
    return w->queue ? ll_msg_send(w->queue->ipc, m) : -1;
}

static void ask_segment(struct ll_writer *w)
{
    struct ll_msg m = {.type = LL_MSG_SEGMENT_ASK, .fd = -1};

    if (!w->queue || w->segment_asked || w->spare)
        return;
    w->segment_asked = true;
    tell(w, &m);
}

static int tell_appended(struct ll_writer *w, const struct segment *s, uint64_t from)
{
    struct ll_msg m = {.type = LL_MSG_APPENDED, .fd = -1};

    m.appended.segment = s->number;
    m.appended.offset = from;
    m.appended.length = s->flushed - from;
    return tell(w, &m);
}

static void segment_free(struct ll_writer *w, struct segment *s)
{
    STAILQ_REMOVE(&w->segments, s, segment, next);
    close(s->fd);
    free(s);
}

/* Frees a segment that is neither written to nor waited for. */
static void segment_settle(struct ll_writer *w, struct segment *s)
{
    if (s->batches == 0 && s != w->now && s != w->spare)
        segment_free(w, s);
}

/* The segment that takes the next record, or NULL. */
static struct segment *segment_for_next(struct ll_writer *w)
{
    struct segment *old = w->now;

    if (old && (old->given_up || (old->at >= old->limit && w->spare) || old->at >= SEGMENT_MAX))
        w->now = NULL;
    if (!w->now && w->spare) {
        w->now = w->spare;
        w->spare = NULL;
    }
    if (old && old != w->now)
        segment_settle(w, old);
    if (!w->now || w->now->at >= w->now->limit / 2)
        ask_segment(w);
    return w->now;
}

static void ask_files(struct ll_writer *w);

static int on_segment(struct ll_writer *w, const struct ll_msg *m)
{
    struct segment *s;

    w->segment_asked = false;
    w->full = false;
    s = w->spare ? NULL : calloc(1, sizeof(*s));
    if (!s) {
        close(m->fd);
        return 0;
    }
    s->fd = m->fd;
    s->number = m->segment.segment;
    s->generation = m->segment.generation;
    s->limit = m->segment.limit;
    s->at = LL_SEGMENT_HEAD;
    s->flushed = LL_SEGMENT_HEAD;
    STAILQ_INSERT_TAIL(&w->segments, s, next);
    w->spare = s;
    segment_for_next(w);
    ask_files(w); /* behind the segment, without which nothing can begin */
    return 0;
}

/* ---- batches --------------------------------------------------------------------------------- */

static struct batch *batch_new(struct ll_writer *w, struct segment *s)
{
    struct batch *b = STAILQ_FIRST(&w->idle);

    if (b) {
        STAILQ_REMOVE_HEAD(&w->idle, next);
        w->n_idle--;
    } else {
        b = calloc(1, sizeof(*b));
        if (!b)
            return NULL;
        ll_buf_init(&b->bytes, BATCH_MAX);
    }
    b->segment = s;
    b->error = 0;
    if (s) {
        b->offset = s->at;
        s->batches++;
    }
    return b;
}

static void batch_free(struct ll_writer *w, struct batch *b)
{
    b->n_items = 0;
    b->n_files = 0;
    ll_buf_clear(&b->bytes);
    if (w->n_idle < IDLE_MAX && b->bytes.cap <= BATCH_KEEP) {
        STAILQ_INSERT_HEAD(&w->idle, b, next);
        w->n_idle++;
        return;
    }
    ll_buf_release(&b->bytes);
    free(b->items);
    free(b->files);
    free(b);
}

static bool batch_item(struct batch *b, ll_stored_fn done, void *arg, uint64_t id)
{
    if (b->n_items == b->cap_items) {
        size_t cap = b->cap_items ? b->cap_items * 2 : 64;
        struct item *items = realloc(b->items, cap * sizeof(*items));

        if (!items)
            return false;
        b->items = items;
        b->cap_items = cap;
    }
    b->items[b->n_items++] = (struct item){done, arg, id};
    return true;
}

static bool batch_file(struct batch *b, int fd)
{
    if (b->n_files == b->cap_files) {
        size_t cap = b->cap_files ? b->cap_files * 2 : 16;
        int *files = realloc(b->files, cap * sizeof(*files));

        if (!files)
            return false;
        b->files = files;
        b->cap_files = cap;
    }
    b->files[b->n_files++] = fd;
    return true;
}

/* Hands the gathered batch to the thread. */
static void push(struct ll_writer *w)
{
    struct batch *b = w->gather;

    w->gather = NULL;
    if (!b)
        return;
    STAILQ_INSERT_TAIL(&w->flight, b, in_order);
    pthread_mutex_lock(&w->lock);
    STAILQ_INSERT_TAIL(&w->todo, b, next);
    pthread_mutex_unlock(&w->lock);
    pthread_cond_signal(&w->work); /* behind the lock: who wakes wants it at once */
}

static enum ll_stored stored_of(const struct batch *b)
{
    return b->error == 0                              ? LL_STORED
           : b->error == ENOSPC || b->error == EDQUOT ? LL_STORED_FULL
                                                      : LL_STORED_BROKEN;
}

static void settle(struct ll_writer *w, struct batch *b);

/* A batch whose flush is over. Where no queue can be told, its answers wait: a queue that
 * has given this writer up reads its segment no more. */
static void flushed(struct ll_writer *w, struct batch *b)
{
    struct segment *s = b->segment;

    w->quick = b->error == 0 && b->took_ms < QUICK_MS;
    if (b->error == 0) {
        s->flushed = b->offset + b->bytes.n;
        if (tell_appended(w, s, b->offset) != 0) {
            STAILQ_INSERT_TAIL(&w->untold, b, in_order);
            return;
        }
    }
    settle(w, b);
}

/* Answers everyone in the batch. */
static void settle(struct ll_writer *w, struct batch *b)
{
    struct segment *s = b->segment;
    enum ll_stored stored = stored_of(b);

    for (size_t i = 0; i < b->n_files; i++)
        close(b->files[i]);
    b->n_files = 0;
    if (s && b->error != 0 && !s->given_up) {
        s->given_up = true;
        w->full = stored == LL_STORED_FULL;
        ll_log(LL_LOG_ERROR, "journal-write-failed", LL_FU("segment", s->number),
               LL_FS("why", strerror(b->error)), LL_FU("letters", b->n_items));
    }
    w->waiting -= b->bytes.n;
    for (size_t i = 0; i < b->n_items; i++) {
        struct item it = b->items[i];

        w->pending--;
        if (it.done)
            it.done(it.arg, stored, it.id);
    }
    if (s) {
        s->batches--;
        if (s == w->now)
            segment_for_next(w);
        else
            segment_settle(w, s);
    }
    batch_free(w, b);
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    struct ll_writer *w = arg;
    struct batch_list done = STAILQ_HEAD_INITIALIZER(done);
    struct batch *b;
    uint64_t n;

    while (read(w->wake, &n, sizeof(n)) < 0 && errno == EINTR)
        ;
    pthread_mutex_lock(&w->lock);
    STAILQ_CONCAT(&done, &w->done);
    pthread_mutex_unlock(&w->lock);
    while ((b = STAILQ_FIRST(&done)) != NULL) {
        STAILQ_REMOVE_HEAD(&done, next);
        STAILQ_REMOVE_HEAD(&w->flight, in_order); /* the thread keeps the order */
        flushed(w, b);
    }
    if (w->gather)
        event_active(w->kick, EV_TIMEOUT, 0);
}

/* Runs behind the events of this turn of the loop, so that letters which came together are flushed
 * together. While the thread is at work the batch goes on gathering. */
static void on_kick(evutil_socket_t fd, short what, void *arg)
{
    struct ll_writer *w = arg;
    struct batch *refused = w->refused;
    struct batch *b;

    w->refused = NULL;
    if (refused)
        settle(w, refused);
    b = w->gather;
    if (!STAILQ_EMPTY(&w->flight))
        return;
    if (b && w->alone && w->quick && b->n_items == 1 && b->n_files == 0) {
        w->gather = NULL;
        flush_batch(b);
        flushed(w, b);
    } else {
        push(w);
    }
}

/* The batch that takes the next letter, or NULL when there is no segment for it. */
static struct batch *batch_for_next(struct ll_writer *w)
{
    struct segment *s = segment_for_next(w);

    if (w->gather && w->gather->segment != s)
        push(w);
    if (!w->gather && s) {
        w->gather = batch_new(w, s);
        event_active(w->kick, EV_TIMEOUT, 0);
    }
    return w->gather;
}

/* ---- body files ------------------------------------------------------------------------------ */

static void ask_files(struct ll_writer *w)
{
    struct ll_msg m = {.type = LL_MSG_FILES_ASK, .fd = -1};

    if (!w->queue || w->files_asked || w->n_files >= FILES_LOW)
        return;
    w->files_asked = true;
    tell(w, &m);
}

static int on_file(struct ll_writer *w, const struct ll_msg *m)
{
    struct ll_body_file *f = w->n_files < FILES_MAX ? calloc(1, sizeof(*f)) : NULL;

    w->files_asked = false;
    if (!f) {
        close(m->fd);
        return 0;
    }
    *f = (struct ll_body_file){
        .writer = w, .fd = m->fd, .number = m->file.number, .life = w->life, .state = LL_STORED};
    w->files[w->n_files++] = f;
    return 0;
}

struct ll_body_file *ll_body_file_take(struct ll_writer *w)
{
    struct ll_body_file *f = w->n_files ? w->files[--w->n_files] : NULL;

    ask_files(w);
    return f;
}

enum ll_stored ll_body_file_write(struct ll_body_file *f, struct ll_slice s)
{
    int error;

    if (f->state == LL_STORED && f->life != f->writer->life)
        f->state = LL_STORED_BROKEN; /* the queue that knows this file has gone */
    if (f->state != LL_STORED)
        return f->state;
    error = write_all(f->fd, s.p, s.n);
    if (error != 0) {
        f->state = error == ENOSPC || error == EDQUOT ? LL_STORED_FULL : LL_STORED_BROKEN;
        return f->state;
    }
    f->crc = ll_crc32c(f->crc, s.p, s.n);
    f->length += s.n;
    return LL_STORED;
}

static void file_free(struct ll_body_file *f, bool close_it)
{
    if (close_it)
        close(f->fd);
    free(f);
}

void ll_body_file_drop(struct ll_body_file *f)
{
    struct ll_msg m = {.type = LL_MSG_FILE_GONE, .fd = -1};

    if (!f)
        return;
    m.file_gone.number = f->number;
    if (f->life == f->writer->life)
        tell(f->writer, &m);
    file_free(f, true);
}

/* ---- what the role calls --------------------------------------------------------------------- */

/* Refuses a letter, later and from the loop. */
static void refuse(struct ll_writer *w, int error, ll_stored_fn done, void *arg)
{
    if (!w->refused)
        w->refused = batch_new(w, NULL);
    if (!w->refused || !batch_item(w->refused, done, arg, 0)) {
        w->pending--;
        done(arg, LL_STORED_BROKEN, 0); /* no memory, not even to say so later */
        return;
    }
    w->refused->error = error;
    event_active(w->kick, EV_TIMEOUT, 0);
}

uint64_t ll_writer_next_id(struct ll_writer *w)
{
    struct batch *b = batch_for_next(w);

    return b ? (uint64_t)b->segment->number << 32 | b->segment->at : 0;
}

void ll_writer_alone(struct ll_writer *w, bool alone)
{
    w->alone = alone;
}

void ll_writer_append(struct ll_writer *w, const struct ll_letter *letter,
                      struct ll_body_file *file, ll_stored_fn done, void *arg)
{
    struct ll_letter l = *letter;
    struct batch *b;
    size_t before;

    w->pending++;
    if (file && (file->state != LL_STORED || file->life != w->life)) {
        int error = file->state == LL_STORED_FULL ? ENOSPC : EIO;

        ll_body_file_drop(file);
        refuse(w, error, done, arg);
        return;
    }
    b = batch_for_next(w);
    if (!b) {
        ll_body_file_drop(file);
        refuse(w, w->full || w->space == LL_SPACE_FULL ? ENOSPC : EIO, done, arg);
        return;
    }
    l.id = (uint64_t)b->segment->number << 32 | b->segment->at;
    if (file) {
        l.body = ll_slice(NULL, 0);
        l.body_file = file->number;
        l.body_length = file->length;
    } else {
        l.body_file = 0;
    }
    before = b->bytes.n;
    ll_record_encode(&l, b->segment->generation, file ? file->crc : 0, &b->bytes);
    if (b->bytes.failed || !batch_item(b, done, arg, l.id) || (file && !batch_file(b, file->fd))) {
        if (b->n_items && b->items[b->n_items - 1].id == l.id)
            b->n_items--;
        b->bytes.n = before;
        b->bytes.failed = false;
        ll_body_file_drop(file);
        refuse(w, EIO, done, arg);
        return;
    }
    b->segment->at += b->bytes.n - before;
    w->waiting += b->bytes.n - before;
    if (file)
        file_free(file, false);
}

static void batch_forget(struct batch *b, const void *arg)
{
    for (size_t i = 0; i < b->n_items; i++)
        if (b->items[i].arg == arg)
            b->items[i].done = NULL;
}

void ll_writer_forget(struct ll_writer *w, void *arg)
{
    struct batch *b;

    if (w->pending == 0)
        return;
    if (w->gather)
        batch_forget(w->gather, arg);
    if (w->refused)
        batch_forget(w->refused, arg);
    STAILQ_FOREACH(b, &w->flight, in_order)
    batch_forget(b, arg);
}

size_t ll_writer_pending(const struct ll_writer *w)
{
    return w->pending;
}

enum ll_stored ll_writer_ready(const struct ll_writer *w, uint64_t size)
{
    if (w->full || w->space == LL_SPACE_FULL)
        return LL_STORED_FULL;
    if (!w->queue || w->space == LL_SPACE_BROKEN || !w->now || w->now->given_up)
        return LL_STORED_BROKEN;
    if (w->waiting > BATCH_MAX / 2 || (size > LL_SPOOL_INLINE_MAX && w->n_files == 0))
        return LL_STORED_FULL;
    return LL_STORED;
}

int ll_writer_message(struct ll_writer *w, const struct ll_msg *m)
{
    if (m->type == LL_MSG_SEGMENT)
        return on_segment(w, m);
    if (m->type == LL_MSG_FILE)
        return on_file(w, m);
    if (m->type != LL_MSG_SPACE || m->space.state > LL_SPACE_BROKEN)
        return -1;
    w->space = (enum ll_space)m->space.state;
    return 0;
}

/* A new queue must learn which of the segments that it found are still written to, before it hears
 * anything else: it closes all others of this writer when it is asked for something. */
void ll_writer_queue_up(struct ll_writer *w, struct ll_peer *queue)
{
    struct segment *s;
    struct batch *b;

    w->queue = queue;
    w->segment_asked = false;
    w->files_asked = false;
    w->space = LL_SPACE_OK;
    STAILQ_FOREACH(s, &w->segments, next)
    tell_appended(w, s, LL_SEGMENT_HEAD);
    while ((b = STAILQ_FIRST(&w->untold)) != NULL) {
        STAILQ_REMOVE_HEAD(&w->untold, in_order);
        settle(w, b);
    }
    segment_for_next(w);
    if (!w->segment_asked)
        ask_files(w);
}

void ll_writer_queue_down(struct ll_writer *w)
{
    w->queue = NULL;
    w->life++;
    while (w->n_files)
        file_free(w->files[--w->n_files], true);
    if (w->spare) {
        struct segment *s = w->spare;

        w->spare = NULL;
        segment_settle(w, s);
    }
}

struct ll_writer *ll_writer_new(struct ll_proc *proc)
{
    struct ll_writer *w = calloc(1, sizeof(*w));

    if (!w)
        return NULL;
    w->proc = proc;
    STAILQ_INIT(&w->todo);
    STAILQ_INIT(&w->done);
    STAILQ_INIT(&w->flight);
    STAILQ_INIT(&w->untold);
    STAILQ_INIT(&w->idle);
    STAILQ_INIT(&w->segments);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->work, NULL);
    w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->wake >= 0) {
        w->wake_event = event_new(proc->base, w->wake, EV_READ | EV_PERSIST, on_wake, w);
        w->kick = event_new(proc->base, -1, 0, on_kick, w);
    }
    if (!w->wake_event || !w->kick || event_add(w->wake_event, NULL) != 0 ||
        pthread_create(&w->thread, NULL, flush_thread, w) != 0) {
        free(w); /* the process ends now */
        return NULL;
    }
    return w;
}
