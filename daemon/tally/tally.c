/* See tally.h: the role itself. */
#include "daemon/tally/tally.h"

#include "io/clock.h"
#include "io/log.h"

#include <event2/event.h>
#include <stdlib.h>

#define COMPLAIN_MS 10000

bool tally_path(const struct tally *t, const char *name, struct ll_buf *out)
{
    ll_buf_printf(out, "%s/reports/%s", t->proc->conf->state_dir, name);
    return ll_buf_str(out) != NULL;
}

void tally_complain(struct tally *t, struct ll_buf *err)
{
    struct ll_slice why = ll_buf_slice(err);
    uint64_t now = ll_now_ms();

    if (t->complained_ms == 0 || now - t->complained_ms >= COMPLAIN_MS) {
        t->complained_ms = now;
        ll_log(LL_LOG_ERROR, "reports-unavailable",
               LL_F("why", ll_slice_cut(why, 0, ll_slice_find(why, '\n'))));
    }
    ll_buf_clear(err);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct tally *t = arg;

    intake_tick(t, ll_now_ms());
    count_tick(t);
    due_go(t);
}

static int tally_start(struct ll_proc *proc)
{
    const struct timeval every = {TALLY_TICK_S, 0};
    struct tally *t = calloc(1, sizeof(*t));

    if (!t)
        return -1;
    proc->state = t;
    t->proc = proc;
    TAILQ_INIT(&t->intakes);
    t->tick = event_new(proc->base, -1, EV_PERSIST, on_tick, t);
    return t->tick && event_add(t->tick, &every) == 0 ? 0 : -1;
}

static void tally_peer_up(struct ll_peer *peer)
{
    if (peer->role == LL_ROLE_REPORT)
        intake_go(peer->proc->state);
}

static void tally_peer_down(struct ll_peer *peer)
{
    if (peer->role == LL_ROLE_REPORT)
        intake_reader_down(peer->proc->state);
    if (peer->role == LL_ROLE_QUEUE)
        intake_queue_down(peer->proc->state);
    if (peer->role == LL_ROLE_POST)
        due_post_down(peer->proc->state);
}

/* What was counted in this second is kept. */
static void tally_drain(struct ll_proc *proc)
{
    struct tally *t = proc->state;

    ll_report_out_close(t->out);
    t->out = NULL;
    ll_proc_exit(proc);
}

const struct ll_role_ops ll_role_tally = {
    .start = tally_start,
    .peer_up = tally_peer_up,
    .peer_down = tally_peer_down,
    .drain = tally_drain,
    .on = {[LL_MSG_JOB] = intake_job,
           [LL_MSG_JOB_SMALL] = intake_job_small,
           [LL_MSG_READ_ANSWER] = intake_read,
           [LL_MSG_DMARC_SEEN] = count_seen,
           [LL_MSG_DMARC_FAILED] = due_failed,
           [LL_MSG_DUE_DONE] = due_done},
};
