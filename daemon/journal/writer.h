/*
 * writer: how a process that makes letters (front, post) puts them into the journal.
 *
 * Letters of up to LL_SPOOL_INLINE_MAX octets are gathered and appended to the writer's own
 * segment; longer bodies stream into a file of their own, from a pool that the queue filled. A
 * flush thread does nothing but fdatasync and wake the loop: while it runs, the next batch gathers
 * (group commit). A letter's `done` is called only after its octets, and its file's, are on stable
 * storage and the queue has been told.
 *
 * A failed write or flush fails every letter of its batch, gives up the segment and asks for a new
 * one: no descriptor is ever flushed twice after a failure.
 */
#ifndef LL_DAEMON_JOURNAL_WRITER_H
#define LL_DAEMON_JOURNAL_WRITER_H

#include "daemon/proc.h"
#include "letterlock/spool.h"

struct ll_writer;
struct ll_body_file;

enum ll_stored {
    LL_STORED,        /* durable: say 250 */
    LL_STORED_FULL,   /* no space: 452 4.3.1 */
    LL_STORED_BROKEN, /* the disk or the queue failed: 451 4.3.0 */
};

/* Starts the flush thread; call it in `start`, before the sandbox shuts. */
struct ll_writer *ll_writer_new(struct ll_proc *);
/* The role passes these on from its ops (SEGMENT, FILE, SPACE; the queue as peer). */
int ll_writer_message(struct ll_writer *, const struct ll_msg *);
void ll_writer_queue_up(struct ll_writer *, struct ll_peer *queue);
void ll_writer_queue_down(struct ll_writer *);

/* May a letter of that many octets begin now? (Space known to be there, segment in hand, queue up.)
 * Costs nothing; ask it at MAIL and at DATA. */
enum ll_stored ll_writer_ready(const struct ll_writer *, uint64_t size);

/* A file for a long body; NULL when none is at hand (tell the client 452). Write appends; the file
 * is taken over by ll_writer_append, or dropped by ll_body_file_drop. */
struct ll_body_file *ll_body_file_take(struct ll_writer *);
enum ll_stored ll_body_file_write(struct ll_body_file *, struct ll_slice);
void ll_body_file_drop(struct ll_body_file *);

/* The id that the next ll_writer_append gives, if it comes before this turn of the loop ends: for
 * the Received field of that letter. 0: none can be taken now. */
uint64_t ll_writer_next_id(struct ll_writer *);

typedef void (*ll_stored_fn)(void *arg, enum ll_stored, uint64_t id);

/* Takes the letter (its id is given by the writer, and told to `done`; everything is copied before
 * this returns). `file` is NULL for a body in letter->body. `done` is called once, later, from the
 * loop. ll_writer_forget: whoever `arg` was has gone, its `done` must not be called any more; the
 * letter stays. */
void ll_writer_append(struct ll_writer *, const struct ll_letter *, struct ll_body_file *file,
                      ll_stored_fn done, void *arg);
void ll_writer_forget(struct ll_writer *, void *arg);

/* Whoever gives the next letter is the only one whom this process serves: the loop may wait for its
 * flush, where the disk is quick, for nobody else would be kept waiting. */
void ll_writer_alone(struct ll_writer *, bool alone);

/* Letters appended and not yet answered. */
size_t ll_writer_pending(const struct ll_writer *);

#endif
