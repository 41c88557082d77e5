/*
 * proc: what every role process has in common. A role is a struct ll_role_ops; proc.c does the
 * rest: the channel to super, configuration, peers coming and going, the sandbox, draining.
 *
 * Life of a role: the configuration arrives; file and network rules are set (daemon/sandbox.c);
 * `start` runs (open files, start threads, warm libraries); the filter of system calls shuts;
 * `listener` is called for each listening socket and `peer_up` for each peer that is there already;
 * super is told; `run` is called; then only messages and events, until super closes its channel or
 * `drain` has finished and ll_proc_exit was called.
 *
 * Peers may come and go at any time: a role that asked a peer which then went must answer its own
 * askers (peer_down is the place). At reload `reconf` comes first, then `listener` for each new
 * socket; a listener or address that the new configuration lacks is the role's to close in
 * `reconf`. super itself is ll_proc_peer(proc, LL_ROLE_SUPER, 0), without peer_up.
 */
#ifndef LL_DAEMON_PROC_H
#define LL_DAEMON_PROC_H

#include "daemon/msg.h"
#include "io/conf.h"

struct event_base;

struct ll_proc {
    enum ll_role role;
    unsigned index; /* which worker of its role, from 0 */
    struct event_base *base;
    const struct ll_conf *conf; /* the present configuration; replaced at reload */
    void *state;                /* the role's own */
    bool draining;
};

struct ll_peer {
    struct ll_proc *proc;
    enum ll_role role;
    unsigned index;
    struct ll_ipc *ipc;
    uint64_t life; /* which start of that process; super counts them */
    void *data;    /* the role's own */
};

/* Handles one message; 0, or -1: the sender broke the rules (super restarts it). A descriptor in
 * m->fd is the handler's. Slices in m are valid until it returns. */
typedef int (*ll_msg_fn)(struct ll_peer *, const struct ll_msg *m);

struct ll_role_ops {
    int (*start)(struct ll_proc *); /* before the sandbox; -1 ends the process */
    void (*run)(struct ll_proc *);  /* first thing inside it; may be NULL */
    void (*reconf)(struct ll_proc *, const struct ll_conf *old); /* proc->conf is new already */
    void (*listener)(struct ll_proc *, int fd, struct ll_slice title, struct ll_slice address);
    void (*peer_up)(struct ll_peer *);
    void (*peer_down)(struct ll_peer *); /* the peer is freed when this returns */
    void (*drain)(struct ll_proc *);     /* NULL: exit at once */
    ll_msg_fn on[LL_MSG_COUNT];          /* NULL: a message of this type breaks the rules */
};

extern const struct ll_role_ops ll_role_keeper, ll_role_auth, ll_role_dns, ll_role_queue,
    ll_role_post, ll_role_local, ll_role_relay, ll_role_front, ll_role_control, ll_role_tally,
    ll_role_report;

/* A peer of that role and worker number, or NULL while there is none. */
struct ll_peer *ll_proc_peer(struct ll_proc *, enum ll_role, unsigned index);
/* A number that no other request of this process has: for message ids. */
uint64_t ll_proc_id(struct ll_proc *);
/* Ends the loop, and the process with exit status 0. */
void ll_proc_exit(struct ll_proc *);
/* There was no memory for `what`, and nobody who could be told "later": the process ends, and super
 * starts it again. What it had in hand is in the journal, or the queue hands it out anew. */
_Noreturn void ll_proc_no_memory(const char *what);
/* A peer broke a rule in a way that shows only later than its message: as a handler's -1. `why` is
 * a sentence for the log. The peer goes down from the loop, not within this call. */
void ll_proc_bad_peer(struct ll_peer *, const char *why);
/* main() of a role program: finds the ops of argv[1] in the table and runs them. */
struct ll_role_main {
    enum ll_role role;
    const struct ll_role_ops *ops;
};
int ll_proc_main(int argc, char **argv, const struct ll_role_main *table, size_t n);

#endif
