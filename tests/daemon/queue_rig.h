/*
 * queue_rig: the queue's role inside the test, with fronts, carriers and control of our own at the
 * other ends of real channels, a clock and a disk that the test sets, and flushes that cost
 * nothing.
 *
 * Each life of the queue is a process: rig_life() forks, so that the next one begins as after a
 * crash. In it CHECK() says what is wrong and ends the process.
 */
#ifndef TESTS_DAEMON_QUEUE_RIG_H
#define TESTS_DAEMON_QUEUE_RIG_H

#include "daemon/queue/queue.h"
#include "io/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #cond);                     \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

#define RIG_ASKS 4 /* questions of control, numbered from 1 */

struct rig {
    char spool[64];
    int64_t skew_s;                /* how far our clock is ahead */
    uint64_t disk, used_by_others; /* octets; disk 0: the real one */
    bool relay_away;               /* nothing is handed out to it */
    struct ll_proc proc;
    struct queue *q; /* proc.state */
    /* What comes to the others; the test sets them. A job's answer is sent by rig_answer. */
    void (*job)(enum ll_role, uint64_t id, const struct ll_job *, struct ll_slice body);
    void (*line)(uint64_t ask, struct ll_slice);
    int ended[RIG_ASKS]; /* by question: status of its CTL_END, or -1 */
};

extern struct rig rig;

void rig_open(const char *settings); /* a spool of its own */
void rig_close(void);
/* Runs fn in a process with a new life of the queue. Its exit status. */
int rig_life(void (*fn)(void));
/* Lets everything happen that is due now: until scan, log and channels rest. */
void rig_settle(void);
void rig_turn(void); /* one turn of the loop */
/* So many seconds pass at once; the queue's second tick comes, and everything settles. */
void rig_pass(int64_t seconds);
/* A letter of `n` recipients, from bob@home.test, with `octets` of content that begins with `word`;
 * in the segment when rig_append returns with 0 or more letters gathered; rig_flush tells. */
void rig_append(const char *const *rcpt, size_t n, const char *word, size_t octets);
void rig_flush(void);
void rig_answer(enum ll_role, uint64_t id, const struct ll_job *, enum ll_outcome,
                const char *text);
void rig_ask(uint64_t ask, const char *command, const char *word);
void rig_flow(uint64_t ask, enum ll_flow);
void rig_control_reads(bool);
size_t rig_control_queued(void);
uint64_t rig_octets(const char *folder); /* of the files in it */
uint64_t rig_cpu_us(void);
uint64_t rig_resident(void); /* octets */

#endif
