/*
 * hasher: checks passwords in two threads, so that the loop goes on answering other questions.
 *
 * A bounded queue: more than LL_HASHER_WAITING checks under way and the next one is told to come
 * back later. Passwords are wiped as soon as their check ends.
 */
#ifndef LL_DAEMON_AUTH_HASHER_H
#define LL_DAEMON_AUTH_HASHER_H

#include "letterlock/base.h"

#define LL_HASHER_THREADS 2  /* 19 MiB and one core each, while they work */
#define LL_HASHER_WAITING 32 /* checks that wait for a thread */

struct event_base;
struct ll_hasher;

/* Called from the loop when a check has ended. */
typedef void (*ll_hasher_done_fn)(void *arg, uint64_t ticket, bool ok);

/* Starts the threads: before the sandbox shuts. NULL: not to be had. */
struct ll_hasher *ll_hasher_new(struct event_base *, ll_hasher_done_fn, void *arg);
/* hash NULL: nobody's, the same work (see ll_hash_check). A ticket for `done`, never 0; 0: the
 * queue is full. Both are copied. */
uint64_t ll_hasher_check(struct ll_hasher *, const char *hash, struct ll_slice password);
/* Checks made so far, done or not: for tests and `status`. */
uint64_t ll_hasher_count(const struct ll_hasher *);
/* Ends the threads; checks under way are finished, their `done` is not called. */
void ll_hasher_free(struct ll_hasher *);

#endif
