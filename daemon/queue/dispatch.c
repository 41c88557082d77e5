/*
 * Jobs out. See queue.h.
 *
 * Destinations with something ready take turns, one job a turn; each has a limit of jobs out at a
 * time, which success raises and trouble lowers. A pair whose carrier died with it in hand goes to
 * a list of its own, from which one at a time is out: what kills carriers then kills no neighbours
 * of the same kind, and an innocent one is soon past it.
 */
#include "daemon/queue/queue.h"

#include "io/clock.h"
#include "io/log.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FRAME_ROOM  (LL_IPC_FRAME_MAX - 64) /* octets of a message's fields */
#define PEER_QUEUED (2u << 20)              /* octets a carrier leaves unread: it gets no more */
#define TURN_TRIES  8                       /* destinations tried before the rest waits */
#define TURN_JOBS   64                      /* jobs handed out in one turn of the loop */

static const struct {
    enum ll_role role;
    unsigned running; /* jobs out at a time */
} carriers[CARRIERS] = {
    [CARRIER_LOCAL] = {LL_ROLE_LOCAL, 512},
    [CARRIER_RELAY] = {LL_ROLE_RELAY, 2000},
    [CARRIER_POST] = {LL_ROLE_POST, 64},
    [CARRIER_TALLY] = {LL_ROLE_TALLY, 8},
};

/* A destination keeps to one worker, for the sake of its open connections. */
static struct ll_peer *peer_for(struct queue *q, const struct dest *d)
{
    enum ll_role role = carriers[d->carrier].role;
    unsigned workers = role == LL_ROLE_RELAY ? (unsigned)q->proc->conf->relay_workers : 1;

    for (unsigned i = 0; i < workers; i++) {
        struct ll_peer *p = ll_proc_peer(q->proc, role, (d->hash + i) % workers);

        if (p && ll_ipc_queued(p->ipc) < PEER_QUEUED)
            return p;
    }
    return NULL;
}

/* ---- one job --------------------------------------------------------------------------------- */

static void job_rcpt(const struct queue *q, const struct letter *l, const struct ll_letter *from,
                     uint32_t i, bool report, struct ll_job_rcpt *to)
{
    const struct ll_rcpt *r = &from->rcpt[i];
    struct reply_view v = reply_view(l->rcpt[i].reply);

    *to = (struct ll_job_rcpt){.index = i,
                               .kind = r->kind,
                               .notify = r->notify,
                               .flags = r->flags,
                               .address = r->address,
                               .mailbox = r->mailbox,
                               .orcpt = r->orcpt};
    if (!report)
        return;
    to->outcome = (uint8_t)report_outcome(q, &l->rcpt[i], r);
    to->code = v.code;
    to->status = v.status;
    to->text = v.text;
    to->remote = v.remote;
}

/* The pair's recipients, as many as a message holds; indexes go to ret_index. */
static size_t collect(const struct queue *q, const struct pair *p, const struct ll_letter *from,
                      struct ll_job_rcpt rcpt[LL_JOB_RCPTS_MAX],
                      uint32_t ret_index[LL_JOB_RCPTS_MAX])
{
    const struct letter *l = p->letter;
    size_t octets = 0;
    size_t n = 0;

    for (uint32_t i = 0; i < l->n_rcpt && n < p->dest->recipients; i++) {
        struct ll_job_rcpt *to = &rcpt[n];

        if (l->rcpt[i].pair != p)
            continue;
        /* One job has one reverse-path: who has another waits for the next. */
        if (n > 0 &&
            !ll_slice_eq(from->rcpt[i].reverse_path, from->rcpt[ret_index[0]].reverse_path))
            continue;
        job_rcpt(q, l, from, i, p->kind == LL_JOB_REPORT, to);
        if (p->kind == LL_JOB_DELIVER && to->kind == LL_RCPT_REPORT)
            to->kind = LL_RCPT_MAILBOX; /* it was no report, and goes to who reads it */
        octets += to->address.n + to->mailbox.n + to->orcpt.n + to->text.n + to->remote.n + 64;
        if (n > 0 && octets > PAIR_OCTETS_MAX)
            break;
        ret_index[n++] = i;
    }
    return n;
}

/* Recipients that did not fit go their own way: a pair of their own. */
static void split(struct queue *q, struct pair *p, const struct ll_letter *from,
                  const uint32_t *index, size_t n)
{
    struct letter *l = p->letter;
    size_t at = 0;

    if (n == p->n_rcpt)
        return;
    p->dest->last = NULL;
    for (uint32_t i = 0; i < l->n_rcpt; i++) {
        if (l->rcpt[i].pair != p)
            continue;
        if (at < n && index[at] == i) {
            at++;
            continue;
        }
        l->rcpt[i].pair = NULL;
        p->n_rcpt--;
        if (rcpt_schedule(q, l, i, &from->rcpt[i], p->kind, 0) != 0)
            ll_proc_no_memory("a letter's recipients");
    }
}

/* The content as a descriptor that shows this letter alone. -1 on failure. */
static int body_descriptor(struct queue *q, const struct ll_letter *from)
{
    char name[24];
    struct stat st;
    int fd;

    if (from->body_file) {
        body_name(name, from->body_file);
        fd = openat(q->bodies_dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd >= 0 && (fstat(fd, &st) != 0 || (uint64_t)st.st_size != from->body_length)) {
            close(fd);
            errno = ENODATA;
            return -1;
        }
        return fd;
    }
    fd = memfd_create("letter", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -1;
    if (write(fd, from->body.p, from->body.n) == (ssize_t)from->body.n &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) == 0)
        return fd;
    close(fd);
    errno = EAGAIN;
    return -1;
}

/* 0: sent; -1: not now; 1: the letter cannot be read. */
static int send_job(struct queue *q, struct ll_peer *peer, uint64_t id, const struct ll_job *j,
                    const struct ll_letter *from)
{
    struct ll_msg m = {.type = LL_MSG_JOB_SMALL, .id = id, .fd = -1};
    int r;

    ll_buf_clear(&q->out);
    ll_job_encode(j, &q->out);
    if (q->out.failed || q->out.n > FRAME_ROOM)
        return 1;
    if (!from->body_file && from->body.n <= LL_JOB_SMALL_MAX &&
        q->out.n + from->body.n <= FRAME_ROOM) {
        m.job_small.job = ll_buf_slice(&q->out);
        m.job_small.body = from->body;
        return ll_msg_send(peer->ipc, &m) == 0 ? 0 : -1;
    }
    m.type = LL_MSG_JOB;
    m.job.job = ll_buf_slice(&q->out);
    m.fd = body_descriptor(q, from);
    if (m.fd < 0)
        return errno == ENOENT || errno == ENODATA ? 1 : -1;
    r = ll_msg_send(peer->ipc, &m);
    close(m.fd);
    return r == 0 ? 0 : -1;
}

static struct slot *slot_take(struct queue *q)
{
    for (size_t i = 0; i < JOBS_MAX; i++) {
        struct slot *s = &q->slots[q->slot_at];

        if (!s->pair) {
            s->id = (uint64_t)++q->slot_seq << 32 | q->slot_at;
            return s;
        }
        q->slot_at = (q->slot_at + 1) % JOBS_MAX;
    }
    return NULL;
}

static void began(struct queue *q, struct slot *s, struct pair *p, struct ll_peer *peer,
                  const uint32_t *index, size_t n)
{
    struct side *side = &q->side[p->dest->carrier];

    if (p->where == PAIR_SUSPECT)
        side->suspect = p;
    pair_take(q, p);
    p->where = PAIR_RUNNING;
    s->pair = p;
    s->peer = peer;
    s->began_ms = ll_now_ms();
    p->dest->running++;
    dest_sent(q, p->dest);
    side->running++;
    q->n_running++;
    dest_turn(q, p->dest);
    for (size_t i = 0; i < n; i++) {
        struct rcpt *r = &p->letter->rcpt[index[i]];

        /* A recipient whose report is due stays what it is: that is what a new start must know. */
        if (p->kind != LL_JOB_REPORT)
            rcpt_set(q, p->letter, r, LL_RCPT_TRYING);
        else if (r->state != LL_RCPT_FAILED && r->state != LL_RCPT_CONFIRMING)
            continue; /* the report of a delay is no try */
        if (r->attempts < UINT16_MAX)
            r->attempts++;
    }
    outlog_state(q, p->letter, index, n);
}

/* 1: handed out, or set aside; 0: not now. */
static int hand_out(struct queue *q, struct pair *p)
{
    struct ll_job_rcpt rcpt[LL_JOB_RCPTS_MAX];
    uint32_t index[LL_JOB_RCPTS_MAX];
    struct letter *l = p->letter;
    struct ll_peer *peer = peer_for(q, p->dest);
    struct slot *s = peer ? slot_take(q) : NULL;
    struct ll_letter from;
    struct ll_job j;
    int r;

    if (!s)
        return 0;
    if (!letter_read(q, l, true, &from)) {
        if (errno != EBADMSG)
            return 0; /* the disk, or a limit: it may be read later */
        letter_hold(q, l, "its record in the journal is damaged");
        return 1;
    }
    j = (struct ll_job){.letter = l->id,
                        .arrived_ms = from.arrived_ms,
                        .kind = p->kind,
                        .flags = l->flags, /* what we believe of them */
                        .envid = from.envid,
                        .login = from.login,
                        .prepend = from.prepend,
                        .body_length = from.body_length,
                        .header_length = from.header_length,
                        .rcpt = rcpt};
    if (l->origin == LL_ORIGIN_SUBMISSION)
        j.flags |= LL_LETTER_TRUSTED;
    j.n_rcpt = collect(q, p, &from, rcpt, index);
    j.reverse_path = from.rcpt[index[0]].reverse_path;
    j.attempt = l->rcpt[index[0]].attempts + 1u;
    if (p->dest->carrier == CARRIER_RELAY)
        j.destination = domain_of(from.rcpt[index[0]].address);
    split(q, p, &from, index, j.n_rcpt);
    r = send_job(q, peer, s->id, &j, &from);
    if (r > 0)
        letter_hold(q, l,
                    from.body_file ? "the file with its content is missing or damaged"
                                   : "it does not fit a job");
    if (r == 0)
        began(q, s, p, peer, index, j.n_rcpt);
    return r >= 0;
}

/* ---- turns ----------------------------------------------------------------------------------- */

/* The first whose destination is not paused. */
static struct pair *next_suspect(const struct side *side)
{
    for (struct link *l = side->suspects.next; l != &side->suspects; l = l->next)
        if (!LINK_OF(struct pair, link, l)->dest->paused)
            return LINK_OF(struct pair, link, l);
    return NULL;
}

static bool one_of_side(struct queue *q, struct side *side, unsigned max)
{
    struct pair *p;

    if (side->running >= max)
        return false;
    p = side->suspect ? NULL : next_suspect(side);
    if (p && hand_out(q, p))
        return true;
    /* Whoever cannot go now (its worker is away, or busy) must not stop the others. The turn is
     * over before the job goes: with its last pair the destination may be gone. */
    for (int i = 0; i < TURN_TRIES && !link_empty(&side->turn); i++) {
        struct dest *d = LINK_OF(struct dest, turn, side->turn.next);

        link_out(&d->turn);
        link_last(&side->turn, &d->turn);
        if (hand_out(q, LINK_OF(struct pair, link, d->ready.next)))
            return true;
    }
    return false;
}

static bool may_hand_out(const struct queue *q)
{
    return !q->log.broken && !q->draining && q->n_running < JOBS_MAX;
}

static void on_pump(evutil_socket_t fd, short what, void *arg)
{
    struct queue *q = arg;
    unsigned jobs = 0;
    bool more = true;

    while (more && jobs < TURN_JOBS && may_hand_out(q)) {
        more = false;
        for (size_t c = 0; c < CARRIERS; c++) {
            struct side *side = &q->side[c];

            if (!one_of_side(q, side, carriers[c].running))
                continue;
            more = true;
            jobs++;
        }
    }
    if (more && may_hand_out(q)) {
        struct timeval at_once = {0, 0};

        event_add(q->pump, &at_once);
    }
    if (q->draining && q->n_running == 0) {
        if (outlog_idle(q) || q->log.broken)
            ll_proc_exit(q->proc);
        else
            outlog_kick(q);
    }
}

void pump(struct queue *q)
{
    if (q->pump)
        event_active(q->pump, EV_TIMEOUT, 0);
}

int dispatch_init(struct queue *q)
{
    q->pump = event_new(q->proc->base, -1, 0, on_pump, q);
    q->record = malloc(RECORD_MAX);
    ll_buf_init(&q->out, 256u << 10);
    return q->pump && q->record ? 0 : -1;
}
