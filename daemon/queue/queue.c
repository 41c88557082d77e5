/* The queue's role: peers, messages, the second's tick, draining. See queue.h. */
#include "daemon/queue/queue.h"

#include "io/clock.h"
#include "io/log.h"

#include <event2/event.h>
#include <stdlib.h>
#include <unistd.h>

#define LINE_MAX_OCTETS (512u << 10)

static bool is_writer(enum ll_role role)
{
    return role == LL_ROLE_FRONT_MX || role == LL_ROLE_FRONT_SUB || role == LL_ROLE_POST;
}

static bool is_carrier(enum ll_role role)
{
    return role == LL_ROLE_RELAY || role == LL_ROLE_LOCAL || role == LL_ROLE_POST ||
           role == LL_ROLE_TALLY;
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct queue *q = arg;

    q->now_s = ll_unix_s();
    space_look(q);
    wheel_turn(q);
    dests_tick(q);
    receipts_tick(q);
    outlog_tick(q);
    give(q);
    if (!q->draining) {
        bodies_sweep(q);
        copy_tick(q);
    }
    pump(q);
}

static int begin(struct queue *q)
{
    struct timeval second = {1, 0};

    q->tick = event_new(q->proc->base, -1, EV_PERSIST, on_tick, q);
    if (!q->tick || event_add(q->tick, &second) != 0)
        return -1;
    if (q->copy)
        q->copy = NULL;
    for (struct link *l = q->segments.next; l != &q->segments; l = l->next)
        scan_begin(q, LINK_OF(struct segment, link, l));
    if (link_empty(&q->segments))
        scan_begin(q, NULL);
    space_look(q);
    receipts_tick(q);
    return 0;
}

static int start(struct ll_proc *proc)
{
    struct queue *q = calloc(1, sizeof(*q));

    if (!q)
        return -1;
    proc->state = q;
    q->proc = proc;
    q->now_s = ll_unix_s();
    ll_arena_init(&q->arena, LETTER_ARENA_MAX);
    ll_buf_init(&q->line, LINE_MAX_OCTETS);
    q->segment_limit = 64u << 20;
    if (index_init(q) != 0 || segments_open(q) != 0 || scan_init(q) != 0 || dispatch_init(q) != 0 ||
        answers_init(q) != 0 || outlog_init(q) != 0 || begin(q) != 0) {
        ll_log(LL_LOG_ERROR, "queue-not-started", LL_FS("spool", proc->conf->spool_dir));
        return -1;
    }
    return 0;
}

static void peer_up(struct ll_peer *peer)
{
    struct queue *q = peer->proc->state;

    if (is_writer(peer->role)) {
        peer->data = calloc(1, sizeof(struct writer_state));
        if (!peer->data)
            abort(); /* super starts us again */
        if (q->space != LL_SPACE_OK)
            space_tell(q, peer);
    }
    pump(q);
}

static void peer_down(struct ll_peer *peer)
{
    struct queue *q = peer->proc->state;

    if (is_writer(peer->role)) {
        free(peer->data);
        peer->data = NULL;
        writer_gone(q, peer->role, peer->index);
    }
    if (is_carrier(peer->role))
        carrier_gone(q, peer);
    if (peer->role == LL_ROLE_CONTROL)
        answers_gone(q, peer);
}

static void reconf(struct ll_proc *proc, const struct ll_conf *old)
{
    dests_conf(proc->state);
}

static void drain(struct ll_proc *proc)
{
    struct queue *q = proc->state;

    q->draining = true;
    pump(q);
}

const struct ll_role_ops ll_role_queue = {
    .start = start,
    .reconf = reconf,
    .peer_up = peer_up,
    .peer_down = peer_down,
    .drain = drain,
    .on =
        {
            [LL_MSG_SEGMENT_ASK] = on_segment_ask,
            [LL_MSG_FILES_ASK] = on_files_ask,
            [LL_MSG_FILE_GONE] = on_file_gone,
            [LL_MSG_APPENDED] = on_appended,
            [LL_MSG_JOB_RESULT] = on_job_result,
            [LL_MSG_CTL_ASK] = on_ctl_ask,
            [LL_MSG_CTL_FLOW] = on_ctl_flow,
        },
};
