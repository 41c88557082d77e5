/* See daemon/auth/hasher.h. */
#include "daemon/auth/hasher.h"

#include "io/accounts.h"

#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define JOBS (LL_HASHER_WAITING + LL_HASHER_THREADS)

enum job_state { JOB_FREE, JOB_WAITS, JOB_RUNS, JOB_DONE };

struct job {
    enum job_state state;
    uint64_t ticket;
    bool known; /* has a hash */
    bool ok;
    char hash[LL_HASH_TEXT_MAX];
    uint8_t password[LL_PASSWORD_MAX + 1];
    size_t password_n;
};

struct ll_hasher {
    pthread_mutex_t lock; /* guards job and ending */
    pthread_cond_t wake;
    pthread_t thread[LL_HASHER_THREADS];
    unsigned n_threads;
    bool ending;
    struct job *job;
    uint64_t last_ticket;
    int fd;
    struct event *event;
    ll_hasher_done_fn done;
    void *arg;
};

/* The job that has waited longest; the lock is held. */
static struct job *next_job(struct ll_hasher *h, enum job_state state)
{
    struct job *found = NULL;

    for (size_t i = 0; i < JOBS; i++)
        if (h->job[i].state == state && (!found || h->job[i].ticket < found->ticket))
            found = &h->job[i];
    return found;
}

static void *work(void *arg)
{
    struct ll_hasher *h = arg;
    uint64_t one = 1;

    pthread_mutex_lock(&h->lock);
    while (!h->ending) {
        struct job *j = next_job(h, JOB_WAITS);

        if (!j) {
            pthread_cond_wait(&h->wake, &h->lock);
            continue;
        }
        j->state = JOB_RUNS;
        pthread_mutex_unlock(&h->lock);
        j->ok = ll_hash_check(j->known ? j->hash : NULL, ll_slice(j->password, j->password_n));
        sodium_memzero(j->password, sizeof(j->password));
        sodium_memzero(j->hash, sizeof(j->hash));
        pthread_mutex_lock(&h->lock);
        j->state = JOB_DONE;
        if (write(h->fd, &one, sizeof(one)) < 0) { /* cannot fail below 2^64 - 1 */
        }
    }
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

static void on_done(evutil_socket_t fd, short what, void *arg)
{
    struct ll_hasher *h = arg;
    uint64_t count;

    if (read(fd, &count, sizeof(count)) < 0)
        return;
    for (;;) {
        struct job *j;
        uint64_t ticket = 0;
        bool ok = false;

        pthread_mutex_lock(&h->lock);
        j = next_job(h, JOB_DONE);
        if (j) {
            ticket = j->ticket;
            ok = j->ok;
            j->state = JOB_FREE;
        }
        pthread_mutex_unlock(&h->lock);
        if (!j)
            return;
        h->done(h->arg, ticket, ok);
    }
}

static bool start_threads(struct ll_hasher *h)
{
    sigset_t all, old;
    bool ok = true;

    sigfillset(&all); /* signals are the loop's */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    while (ok && h->n_threads < LL_HASHER_THREADS) {
        ok = pthread_create(&h->thread[h->n_threads], NULL, work, h) == 0;
        h->n_threads += ok;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return ok;
}

struct ll_hasher *ll_hasher_new(struct event_base *base, ll_hasher_done_fn done, void *arg)
{
    struct ll_hasher *h = calloc(1, sizeof(*h));

    if (!h)
        return NULL;
    h->done = done;
    h->arg = arg;
    h->job = calloc(JOBS, sizeof(*h->job));
    h->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->wake, NULL);
    h->event = event_new(base, h->fd, EV_READ | EV_PERSIST, on_done, h);
    if (h->job && h->fd >= 0 && h->event && event_add(h->event, NULL) == 0 && sodium_init() >= 0 &&
        start_threads(h))
        return h;
    ll_hasher_free(h);
    return NULL;
}

uint64_t ll_hasher_check(struct ll_hasher *h, const char *hash, struct ll_slice password)
{
    struct job *j;
    uint64_t ticket = 0;

    pthread_mutex_lock(&h->lock);
    j = next_job(h, JOB_FREE);
    if (j) {
        ticket = j->ticket = ++h->last_ticket;
        j->known = hash != NULL;
        snprintf(j->hash, sizeof(j->hash), "%s", hash ? hash : "");
        /* One that is too long stays so, and is refused by ll_hash_check. */
        j->password_n = password.n < sizeof(j->password) ? password.n : sizeof(j->password);
        memcpy(j->password, password.p, j->password_n);
        j->state = JOB_WAITS;
        pthread_cond_signal(&h->wake);
    }
    pthread_mutex_unlock(&h->lock);
    return ticket;
}

uint64_t ll_hasher_count(const struct ll_hasher *h)
{
    return h->last_ticket;
}

void ll_hasher_free(struct ll_hasher *h)
{
    if (!h)
        return;
    pthread_mutex_lock(&h->lock);
    h->ending = true;
    pthread_cond_broadcast(&h->wake);
    pthread_mutex_unlock(&h->lock);
    for (unsigned i = 0; i < h->n_threads; i++)
        pthread_join(h->thread[i], NULL);
    if (h->event)
        event_free(h->event);
    if (h->fd >= 0)
        close(h->fd);
    if (h->job)
        sodium_memzero(h->job, JOBS * sizeof(*h->job));
    free(h->job);
    pthread_mutex_destroy(&h->lock);
    pthread_cond_destroy(&h->wake);
    free(h);
}
