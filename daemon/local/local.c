/*
 * local: letters into the Maildirs of this host.
 *
 * Jobs from the queue gather in a list; a thread takes all that are there (up to BATCH_MAX
 * letters), delivers them with shared flushes (io/maildir.h), and hands the results back to the
 * loop. While it flushes, the next batch gathers, and another thread writes its letters. A job is
 * answered when all of its recipients are.
 */
#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "daemon/proc.h"
#include "io/log.h"
#include "io/maildir.h"
#include "letterlock/spool.h"

#define THREADS         2          /* one writes while the other waits for the disk */
#define BATCH_MAX       256        /* deliveries that share their flushes */
#define JOB_ARENA_MAX   (1u << 20) /* octets of a decoded job */
#define RESULT_BODY_MAX 60000      /* octets of an encoded result: one frame */

struct delivery {
    struct delivery *next;
    uint64_t id; /* of the message, repeated in the result */
    struct ll_arena arena;
    struct ll_job job; /* borrows from arena */
    struct ll_slice body;
    int fd;
    struct ll_maildir_item *items; /* one a recipient, in the arena */
};

struct list {
    struct delivery *head;
    struct delivery **tail;
};

struct worker {
    struct local *local;
    struct ll_maildir *maildir; /* its own: buffers, and what syncfs reports to a descriptor */
    pthread_t thread;
};

struct local {
    struct ll_proc *proc;
    struct event *wake_event;
    int wake; /* eventfd: a thread has results */
    struct worker worker[THREADS];
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct list todo; /* under the lock */
    struct list done; /* under the lock */
    size_t running;   /* loop only: accepted and not answered */
};

static void list_add(struct list *l, struct delivery *d)
{
    d->next = NULL;
    if (!l->head)
        l->tail = &l->head;
    *l->tail = d;
    l->tail = &d->next;
}

static void delivery_free(struct delivery *d)
{
    if (d->fd >= 0)
        close(d->fd);
    ll_arena_release(&d->arena);
    free(d);
}

/* ---- the thread -------------------------------------------------------------------------------
 */

/* Takes deliveries from the list until the batch is full; always at least one. */
static struct list take_batch(struct local *l)
{
    struct list batch = {NULL, NULL};
    size_t n = 0;

    pthread_mutex_lock(&l->lock);
    while (!l->todo.head)
        pthread_cond_wait(&l->work, &l->lock);
    while (l->todo.head && (n == 0 || n + l->todo.head->job.n_rcpt <= BATCH_MAX)) {
        struct delivery *d = l->todo.head;

        l->todo.head = d->next;
        n += d->job.n_rcpt;
        list_add(&batch, d);
    }
    pthread_mutex_unlock(&l->lock);
    return batch;
}

static void deliver_batch(struct ll_maildir *maildir, struct list *batch)
{
    struct ll_maildir_item items[BATCH_MAX + LL_JOB_RCPTS_MAX];
    size_t n = 0;

    for (struct delivery *d = batch->head; d; d = d->next) {
        memcpy(items + n, d->items, d->job.n_rcpt * sizeof(items[0]));
        n += d->job.n_rcpt;
    }
    ll_maildir_deliver(maildir, items, n);
    n = 0;
    for (struct delivery *d = batch->head; d; d = d->next) {
        memcpy(d->items, items + n, d->job.n_rcpt * sizeof(items[0]));
        n += d->job.n_rcpt;
    }
}

static void *thread_main(void *arg)
{
    struct worker *w = arg;
    struct local *l = w->local;
    uint64_t one = 1;

    for (;;) {
        struct list batch = take_batch(l);

        deliver_batch(w->maildir, &batch);
        pthread_mutex_lock(&l->lock);
        while (batch.head) {
            struct delivery *d = batch.head;

            batch.head = d->next;
            list_add(&l->done, d);
        }
        pthread_mutex_unlock(&l->lock);
        if (write(l->wake, &one, sizeof(one)) != sizeof(one))
            abort(); /* an eventfd takes 2^64 - 2 wakes */
    }
    return NULL;
}

/* ---- results ----------------------------------------------------------------------------------
 */

/* What an error means for the letter: the disk's troubles pass, a name that cannot be one does not.
 */
struct verdict {
    int error;
    uint8_t outcome;
    uint16_t code;
    const char *status;
    const char *text;
};

static const struct verdict verdicts[] = {
    {0, LL_OUTCOME_DELIVERED, 250, "2.0.0", "delivered to mailbox"},
    {ENOSPC, LL_OUTCOME_DEFERRED, 452, "4.3.1", "the disk of the mailbox is full"},
    {EDQUOT, LL_OUTCOME_DEFERRED, 452, "4.2.2", "the mailbox is over its quota"},
    {EINVAL, LL_OUTCOME_FAILED, 553, "5.1.3", "the address cannot name a mailbox"},
    {ENAMETOOLONG, LL_OUTCOME_FAILED, 553, "5.1.3", "the address is too long to name a mailbox"},
};
static const struct verdict trouble = {-1, LL_OUTCOME_DEFERRED, 451, "4.3.0",
                                       "the mailbox cannot be written now"};

static const struct verdict *verdict_of(int error)
{
    for (size_t i = 0; i < LL_COUNT(verdicts); i++)
        if (verdicts[i].error == error)
            return &verdicts[i];
    return &trouble;
}

static void answer(struct local *l, struct delivery *d)
{
    struct ll_peer *queue = ll_proc_peer(l->proc, LL_ROLE_QUEUE, 0);
    struct ll_job_result_rcpt rcpt[LL_JOB_RCPTS_MAX];
    struct ll_job_result result = {.letter = d->job.letter, .rcpt = rcpt, .n_rcpt = d->job.n_rcpt};
    struct ll_buf body = LL_BUF(RESULT_BODY_MAX);

    for (size_t i = 0; i < d->job.n_rcpt; i++) {
        const struct verdict *v = verdict_of(d->items[i].error);

        if (v == &trouble) {
            ll_log(LL_LOG_ERROR, "maildir-failed", LL_F("mailbox", d->items[i].mailbox),
                   LL_FS("error", strerror(d->items[i].error)));
        }
        rcpt[i] = (struct ll_job_result_rcpt){.index = d->job.rcpt[i].index,
                                              .outcome = v->outcome,
                                              .code = v->code,
                                              .status = ll_slice_str(v->status),
                                              .text = ll_slice_str(v->text)};
    }
    ll_job_result_encode(&result, &body);
    if (queue) {
        struct ll_msg m = {.type = LL_MSG_JOB_RESULT, .id = d->id, .fd = -1};

        m.job_result.result = ll_buf_slice(&body);
        ll_msg_send(queue->ipc, &m);
    }
    ll_buf_release(&body);
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    struct local *l = arg;
    struct delivery *d;
    uint64_t n;

    (void)what;
    if (read(fd, &n, sizeof(n)) != sizeof(n))
        return;
    pthread_mutex_lock(&l->lock);
    d = l->done.head;
    l->done.head = NULL;
    pthread_mutex_unlock(&l->lock);
    while (d) {
        struct delivery *next = d->next;

        answer(l, d);
        delivery_free(d);
        l->running--;
        d = next;
    }
    if (l->proc->draining && l->running == 0)
        ll_proc_exit(l->proc);
}

/* ---- jobs -------------------------------------------------------------------------------------
 */

/* The arena copy first, then the decoding: the job's slices must outlive the message. */
static bool delivery_decode(struct delivery *d, struct ll_slice job, struct ll_slice body)
{
    struct ll_slice copy = ll_arena_dup(&d->arena, job);

    d->body = ll_arena_dup(&d->arena, body);
    if (!copy.p || !d->body.p || !ll_job_decode(copy, &d->arena, &d->job))
        return false;
    if (d->job.kind != LL_JOB_DELIVER || d->job.n_rcpt == 0)
        return false;
    if (d->fd < 0 && d->job.body_length != body.n)
        return false;
    d->items = ll_arena_alloc(&d->arena, d->job.n_rcpt * sizeof(d->items[0]));
    for (size_t i = 0; d->items && i < d->job.n_rcpt; i++) {
        d->items[i] = (struct ll_maildir_item){.mailbox = d->job.rcpt[i].mailbox,
                                               .address = d->job.rcpt[i].address,
                                               .reverse_path = d->job.reverse_path,
                                               .prepend = d->job.prepend,
                                               .body = d->body,
                                               .fd = d->fd,
                                               .body_offset = d->job.body_offset,
                                               .body_length = d->job.body_length,
                                               .header_length = d->job.header_length,
                                               .letter = d->job.letter,
                                               .index = d->job.rcpt[i].index,
                                               .junk = d->job.rcpt[i].flags & LL_RCPT_JUNK,
                                               .arrived_ms = d->job.arrived_ms};
    }
    return d->items != NULL;
}

static int take_job(struct ll_peer *peer, uint64_t id, struct ll_slice job, struct ll_slice body,
                    int fd)
{
    struct local *l = peer->proc->state;
    struct delivery *d = calloc(1, sizeof(*d));

    if (!d) {
        ll_proc_no_memory("a job");
        return -1; /* not reached; cppcheck does not see that */
    }
    d->id = id;
    d->fd = fd;
    ll_arena_init(&d->arena, JOB_ARENA_MAX);
    if (!delivery_decode(d, job, body)) {
        if (d->arena.no_memory)
            ll_proc_no_memory("a job");
        delivery_free(d);
        return -1;
    }
    l->running++;
    pthread_mutex_lock(&l->lock);
    list_add(&l->todo, d);
    pthread_mutex_unlock(&l->lock);
    pthread_cond_signal(&l->work);
    return 0;
}

static int on_job(struct ll_peer *peer, const struct ll_msg *m)
{
    return take_job(peer, m->id, m->job.job, (struct ll_slice){NULL, 0}, m->fd);
}

static int on_job_small(struct ll_peer *peer, const struct ll_msg *m)
{
    return take_job(peer, m->id, m->job_small.job, m->job_small.body, -1);
}

static int worker_start(struct local *l, struct worker *w)
{
    const struct ll_conf *conf = l->proc->conf;

    w->local = l;
    w->maildir = ll_maildir_open(conf->mail_dir, conf->hostname);
    if (!w->maildir) {
        ll_log(LL_LOG_ERROR, "mail-dir-unusable", LL_FS("path", conf->mail_dir),
               LL_FS("error", strerror(errno)));
        return -1;
    }
    return pthread_create(&w->thread, NULL, thread_main, w) == 0 ? 0 : -1;
}

static int local_start(struct ll_proc *proc)
{
    struct local *l = calloc(1, sizeof(*l));

    if (!l)
        return -1;
    proc->state = l;
    l->proc = proc;
    l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    l->wake_event =
        l->wake >= 0 ? event_new(proc->base, l->wake, EV_READ | EV_PERSIST, on_wake, l) : NULL;
    if (!l->wake_event || event_add(l->wake_event, NULL) != 0)
        return -1;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->work, NULL);
    for (size_t i = 0; i < THREADS; i++)
        if (worker_start(l, &l->worker[i]) != 0)
            return -1;
    return 0;
}

static void local_drain(struct ll_proc *proc)
{
    struct local *l = proc->state;

    if (l->running == 0)
        ll_proc_exit(proc);
}

const struct ll_role_ops ll_role_local = {
    .start = local_start,
    .drain = local_drain,
    .on = {[LL_MSG_JOB] = on_job, [LL_MSG_JOB_SMALL] = on_job_small},
};
