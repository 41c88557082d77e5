/*
 * post: makes the letters that start here. Jobs come from the queue: REPORT (a delivery report for
 * some recipients of a letter) and FORWARD (an alias: the letter again, for its targets).
 *
 * Life of a job: auth is asked what an alias names (FORWARD) and what each target is; the new
 * letter goes to the writer; when it is durable, and only then, the queue hears of the end. When
 * auth or the writer cannot, the job is handed back as deferred. Nothing is ever sent to, or
 * because of, the null reverse-path (RFC 5321 4.5.5).
 */
#include "daemon/post/post.h"

#include "io/clock.h"
#include "io/log.h"
#include "letterlock/msg.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <unistd.h>

#define ID_OURS         (1ull << 63)
#define RESULT_BODY_MAX 60000 /* octets of an encoded result: one frame */
#define TICK_S          5

/* ---- results ----------------------------------------------------------------------------------
 */

void post_result(struct job *j, size_t i, enum ll_outcome outcome, uint16_t code,
                 const char *status, const char *text)
{
    j->results[i] = (struct ll_job_result_rcpt){.index = j->job.rcpt[i].index,
                                                .outcome = (uint8_t)outcome,
                                                .code = code,
                                                .status = ll_slice_str(status),
                                                .text = ll_slice_str(text)};
}

void post_result_all(struct job *j, enum ll_outcome outcome, uint16_t code, const char *status,
                     const char *text)
{
    for (size_t i = 0; i < j->job.n_rcpt; i++)
        post_result(j, i, outcome, code, status, text);
}

static void job_free(struct job *j)
{
    struct post *p = j->post;

    p->slots[j->slot] = NULL;
    TAILQ_REMOVE(&p->jobs, j, all);
    if (j->fd >= 0)
        close(j->fd);
    seal_release(j);
    ll_arena_release(&j->arena);
    free(j);
    if (p->proc->draining && TAILQ_EMPTY(&p->jobs))
        ll_proc_exit(p->proc);
}

void post_finish(struct job *j, uint64_t new_letter)
{
    struct ll_peer *queue = ll_proc_peer(j->post->proc, LL_ROLE_QUEUE, 0);
    struct ll_job_result result = {.letter = j->job.letter,
                                   .new_letter = new_letter,
                                   .rcpt = j->results,
                                   .n_rcpt = j->job.n_rcpt};
    struct ll_buf body = LL_BUF(RESULT_BODY_MAX);

    ll_job_result_encode(&result, &body);
    if (queue && !j->orphan && !body.failed) {
        struct ll_msg m = {.type = LL_MSG_JOB_RESULT, .id = j->id, .fd = -1};

        m.job_result.result = ll_buf_slice(&body);
        ll_msg_send(queue->ipc, &m);
    }
    ll_buf_release(&body);
    job_free(j);
}

static void defer(struct job *j, const char *text)
{
    post_result_all(j, LL_OUTCOME_DEFERRED, 451, "4.3.0", text);
    post_finish(j, 0);
}

/* ---- the new letter
 * ------------------------------------------------------------------------------
 */

static void stored(void *arg, enum ll_stored result, uint64_t id)
{
    struct job *j = arg;

    if (result == LL_STORED) {
        struct ll_buf from = LL_BUF(32), to = LL_BUF(32);

        ll_letter_id_format(&from, j->job.letter);
        ll_letter_id_format(&to, id);
        ll_log(LL_LOG_INFO, j->job.kind == LL_JOB_REPORT ? "report" : "forwarded",
               LL_F("id", ll_buf_slice(&to)), LL_F("for", ll_buf_slice(&from)));
        ll_buf_release(&from);
        ll_buf_release(&to);
        post_finish(j, id);
    } else {
        defer(j, result == LL_STORED_FULL ? "no space for the letter that takes over"
                                          : "the letter that takes over cannot be stored");
    }
}

void post_append(struct job *j, struct ll_letter *l, struct ll_body_file *file)
{
    l->origin = LL_ORIGIN_POST;
    j->step = STEP_STORE;
    ll_writer_append(j->post->writer, l, file, stored, j);
}

bool post_received(struct post *p, struct ll_buf *out, int64_t unix_s)
{
    uint64_t next = ll_writer_next_id(p->writer);
    struct ll_buf id = LL_BUF(32);
    struct ll_msg_received r = {
        .by = ll_slice_str(p->proc->conf->hostname), .hide_client = true, .unix_s = unix_s};

    if (next == 0)
        return false;
    ll_letter_id_format(&id, next);
    r.id = ll_buf_slice(&id);
    ll_msg_received_put(out, &r);
    ll_buf_release(&id);
    return !out->failed;
}

bool post_rcpt_kind(uint8_t addr_kind, uint8_t *ret)
{
    switch ((enum ll_addr_kind)addr_kind) {
    case LL_ADDR_MAILBOX:
        *ret = LL_RCPT_MAILBOX;
        return true;
    case LL_ADDR_REPORT:
        *ret = LL_RCPT_REPORT;
        return true;
    case LL_ADDR_ALIAS:
    case LL_ADDR_BOUNCE:
        *ret = LL_RCPT_ALIAS;
        return true;
    case LL_ADDR_RELAY:
    case LL_ADDR_PROBE:
    case LL_ADDR_OUTSIDE:
        *ret = LL_RCPT_REMOTE;
        return true;
    case LL_ADDR_UNKNOWN:
    case LL_ADDR_LATER:
        break;
    }
    return false;
}

bool post_read(struct job *j, uint64_t offset, size_t n, struct ll_buf *out)
{
    if (j->fd < 0) {
        ll_buf_put_slice(out, ll_slice_cut(j->body, (size_t)offset, (size_t)offset + n));
        return !out->failed && offset + n <= j->body.n;
    }
    while (n > 0) {
        size_t part = n < 65536 ? n : 65536;
        uint8_t *p = ll_buf_room(out, part);
        ssize_t r = p ? pread(j->fd, p, part, (off_t)(j->job.body_offset + offset)) : -1;

        if (r < 0 && errno == EINTR && p)
            continue;
        if (r <= 0)
            return false;
        ll_buf_grew(out, (size_t)r);
        offset += (uint64_t)r;
        n -= (size_t)r;
    }
    return true;
}

/* ---- asking auth
 * ----------------------------------------------------------------------------------
 */

/* The number of a question: job, and which of its recipients or targets. */
static uint64_t ask_id(const struct job *j, size_t i)
{
    return ID_OURS | (uint64_t)j->slot << 40 | (uint64_t)j->serial << 24 | i;
}

static struct job *asker(struct ll_peer *peer, uint64_t id, enum step step, size_t *ret_i)
{
    struct post *p = peer->proc->state;
    size_t slot = (id & ~ID_OURS) >> 40;
    struct job *j = slot < POST_JOBS_MAX ? p->slots[slot] : NULL;

    *ret_i = id & 0xffffff;
    return j && j->step == step && j->serial == (uint16_t)(id >> 24) ? j : NULL;
}

bool post_target(struct job *j, struct ll_slice address, const struct ll_job_rcpt *of)
{
    if (!j->targets)
        j->targets = ll_arena_alloc(&j->arena, POST_TARGETS_MAX * sizeof(j->targets[0]));
    address = ll_arena_dup(&j->arena, address);
    if (!j->targets || !address.p || j->n_targets == POST_TARGETS_MAX)
        return false;
    j->targets[j->n_targets++] =
        (struct target){.address = address, .of = of, .kind = LL_ADDR_LATER};
    return true;
}

static bool ask(struct job *j, struct ll_msg *m, size_t i)
{
    struct ll_peer *auth = ll_proc_peer(j->post->proc, LL_ROLE_AUTH, 0);

    m->id = ask_id(j, i);
    m->fd = -1;
    return auth && ll_msg_send(auth->ipc, m) == 0;
}

static void begin_step(struct job *j, enum step step)
{
    j->step = (uint8_t)step;
    j->serial = ++j->post->serial;
    j->waiting = 0;
    j->deadline = ll_now_ms() + POST_ASK_MS;
}

static void targets_known(struct job *j)
{
    if (j->job.kind == LL_JOB_REPORT)
        report_known(j);
    else
        forward_known(j);
}

void post_ask_targets(struct job *j)
{
    begin_step(j, STEP_ADDR);
    for (size_t i = 0; i < j->n_targets; i++) {
        struct ll_msg m = {.type = LL_MSG_ADDR_ASK};

        m.addr_ask.address = j->targets[i].address;
        if (!ask(j, &m, i)) {
            defer(j, "addresses cannot be looked up now");
            return;
        }
        j->waiting++;
    }
    if (j->waiting == 0)
        targets_known(j);
}

static int on_addr(struct ll_peer *peer, const struct ll_msg *m)
{
    size_t i;
    struct job *j = asker(peer, m->id, STEP_ADDR, &i);
    struct target *t;

    if (!(m->id & ID_OURS))
        post_dues_addr(((struct post *)peer->proc->state)->dues, m);
    if (!j || !(m->id & ID_OURS))
        return 0;
    if (i >= j->n_targets || j->targets[i].answered)
        return -1;
    t = &j->targets[i];
    t->answered = true;
    t->kind = m->addr_answer.kind;
    t->mailbox = ll_arena_dup(&j->arena, m->addr_answer.mailbox);
    if (!t->mailbox.p)
        t->kind = LL_ADDR_LATER;
    if (--j->waiting == 0)
        targets_known(j);
    return 0;
}

static void ask_aliases(struct job *j)
{
    begin_step(j, STEP_ALIAS);
    for (size_t i = 0; i < j->job.n_rcpt; i++) {
        struct ll_msg m = {.type = LL_MSG_ALIAS_ASK};

        m.alias_ask.address = j->job.rcpt[i].address;
        m.alias_ask.sender = j->job.reverse_path;
        if (!ask(j, &m, i)) {
            defer(j, "aliases cannot be looked up now");
            return;
        }
        j->waiting++;
    }
}

static int on_alias(struct ll_peer *peer, const struct ll_msg *m)
{
    size_t i;
    struct job *j = asker(peer, m->id, STEP_ALIAS, &i);

    if (!j)
        return 0;
    if (i >= j->job.n_rcpt || forward_on_alias(j, i, &m->alias_answer) != 0)
        return -1;
    if (--j->waiting == 0)
        post_ask_targets(j);
    return 0;
}

/* ---- asking dns
 * -----------------------------------------------------------------------------------
 */

bool post_ask_dns(struct job *j, const struct ll_need *need)
{
    struct ll_peer *dns = ll_proc_peer(j->post->proc, LL_ROLE_DNS, 0);
    struct ll_msg m = {.type = LL_MSG_DNS_ASK, .fd = -1};

    if (j->step != STEP_SEAL)
        begin_step(j, STEP_SEAL);
    m.id = ask_id(j, need->id);
    m.dns_ask.rtype = need->dns.type;
    m.dns_ask.name = ll_dns_name_slice(&need->dns.name);
    return need->kind == LL_NEED_DNS && need->id < 1u << 24 && dns &&
           ll_msg_send(dns->ipc, &m) == 0;
}

static int on_dns(struct ll_peer *peer, const struct ll_msg *m)
{
    size_t i;
    struct job *j = asker(peer, m->id, STEP_SEAL, &i);
    struct ll_dns_answer a;
    struct ll_arena arena;

    if (!(m->id & ID_OURS))
        return post_dues_dns(((struct post *)peer->proc->state)->dues, m);
    if (!j || j->waiting == 0)
        return 0;
    ll_arena_init(&arena, 4u << 20);
    if (!ll_dns_answer_decode(m->dns_answer.answer, &arena, &a)) {
        ll_arena_release(&arena);
        return -1;
    }
    seal_on_dns(j, (uint32_t)i, &a);
    ll_arena_release(&arena);
    return 0;
}

/* ---- jobs --------------------------------------------------------------------------------------
 */

static bool job_decode(struct job *j, struct ll_slice job, struct ll_slice body)
{
    struct ll_slice copy = ll_arena_dup(&j->arena, job);

    j->body = ll_arena_dup(&j->arena, body);
    if (!copy.p || !j->body.p || !ll_job_decode(copy, &j->arena, &j->job))
        return false;
    if ((j->job.kind != LL_JOB_REPORT && j->job.kind != LL_JOB_FORWARD) || j->job.n_rcpt == 0 ||
        j->job.header_length > j->job.body_length)
        return false;
    if (j->fd < 0 && j->job.body_length != body.n)
        return false;
    j->results = ll_arena_alloc(&j->arena, j->job.n_rcpt * sizeof(j->results[0]));
    j->single = ll_arena_alloc(&j->arena, j->job.n_rcpt * sizeof(j->single[0]));
    return j->results != NULL && j->single != NULL;
}

static bool slot_take(struct post *p, struct job *j)
{
    for (uint32_t i = 0; i < POST_JOBS_MAX; i++) {
        if (p->slots[i])
            continue;
        p->slots[i] = j;
        j->slot = i;
        return true;
    }
    return false;
}

static int take_job(struct ll_peer *peer, uint64_t id, struct ll_slice job, struct ll_slice body,
                    int fd)
{
    struct post *p = peer->proc->state;
    struct job *j = calloc(1, sizeof(*j));

    if (!j || !slot_take(p, j)) {
        if (fd >= 0)
            close(fd);
        free(j);
        return -1; /* the queue gives fewer at a time */
    }
    j->post = p;
    j->id = id;
    j->fd = fd;
    ll_arena_init(&j->arena, POST_ARENA_MAX);
    TAILQ_INSERT_TAIL(&p->jobs, j, all);
    if (!job_decode(j, job, body)) {
        if (j->arena.no_memory)
            ll_proc_no_memory("a job");
        job_free(j);
        return -1;
    }
    if (j->job.kind == LL_JOB_REPORT) {
        report_begin(j);
    } else {
        forward_begin(j);
        ask_aliases(j);
    }
    return 0;
}

static int on_job(struct ll_peer *peer, const struct ll_msg *m)
{
    return take_job(peer, m->id, m->job.job, LL_LIT(""), m->fd);
}

static int on_job_small(struct ll_peer *peer, const struct ll_msg *m)
{
    return take_job(peer, m->id, m->job_small.job, m->job_small.body, -1);
}

/* ---- life ---------------------------------------------------------------------------------------
 */

static int on_writer_message(struct ll_peer *peer, const struct ll_msg *m)
{
    struct post *p = peer->proc->state;

    return ll_writer_message(p->writer, m);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct post *p = arg;
    uint64_t now = ll_now_ms();
    struct job *j, *next;

    (void)fd;
    (void)what;
    for (j = TAILQ_FIRST(&p->jobs); j; j = next) {
        next = TAILQ_NEXT(j, all);
        if (j->step != STEP_STORE && now >= j->deadline)
            defer(j, "addresses were not looked up in time");
    }
    post_dues_tick(p->dues);
}

static int on_dkim_message(struct ll_peer *peer, const struct ll_msg *m)
{
    struct post *p = peer->proc->state;

    return ll_dkim_client_msg(p->dkim, peer, m);
}

static int post_start(struct ll_proc *proc)
{
    const struct timeval every = {TICK_S, 0};
    struct post *p = calloc(1, sizeof(*p));

    if (!p)
        return -1;
    proc->state = p;
    p->proc = proc;
    TAILQ_INIT(&p->jobs);
    p->writer = ll_writer_new(proc);
    p->dkim = ll_dkim_client_new(proc);
    p->dues = post_dues_new(p);
    p->tick = event_new(proc->base, -1, EV_PERSIST, on_tick, p);
    return p->writer && p->dkim && p->dues && p->tick && event_add(p->tick, &every) == 0 ? 0 : -1;
}

static void post_peer_up(struct ll_peer *peer)
{
    struct post *p = peer->proc->state;

    if (peer->role == LL_ROLE_QUEUE)
        ll_writer_queue_up(p->writer, peer);
    if (peer->role == LL_ROLE_KEEPER)
        ll_dkim_client_up(p->dkim, peer);
}

/* A new queue hands out anew what the old one waited for: a letter that became durable meanwhile is
 * then there twice at most (promise 1). */
static void queue_gone(struct post *p)
{
    struct job *j, *next;

    ll_writer_queue_down(p->writer);
    for (j = TAILQ_FIRST(&p->jobs); j; j = next) {
        next = TAILQ_NEXT(j, all);
        j->orphan = true;
        if (j->step != STEP_STORE)
            job_free(j);
    }
}

static void post_peer_down(struct ll_peer *peer)
{
    struct post *p = peer->proc->state;
    struct job *j, *next;

    if (peer->role == LL_ROLE_QUEUE)
        queue_gone(p);
    if (peer->role == LL_ROLE_KEEPER)
        ll_dkim_client_down(p->dkim);
    if (peer->role == LL_ROLE_TALLY)
        post_dues_tally_down(p->dues);
    if (peer->role != LL_ROLE_AUTH && peer->role != LL_ROLE_DNS)
        return;
    for (j = TAILQ_FIRST(&p->jobs); j; j = next) {
        next = TAILQ_NEXT(j, all);
        if (peer->role == LL_ROLE_DNS ? j->step == STEP_SEAL
                                      : j->step == STEP_ALIAS || j->step == STEP_ADDR)
            defer(j, "addresses and keys cannot be looked up now");
    }
}

static void post_drain(struct ll_proc *proc)
{
    struct post *p = proc->state;

    if (TAILQ_EMPTY(&p->jobs))
        ll_proc_exit(proc);
}

const struct ll_role_ops ll_role_post = {
    .start = post_start,
    .peer_up = post_peer_up,
    .peer_down = post_peer_down,
    .drain = post_drain,
    .on = {[LL_MSG_JOB] = on_job,
           [LL_MSG_JOB_SMALL] = on_job_small,
           [LL_MSG_ADDR_ANSWER] = on_addr,
           [LL_MSG_ALIAS_ANSWER] = on_alias,
           [LL_MSG_DUE] = post_due,
           [LL_MSG_DNS_ANSWER] = on_dns,
           [LL_MSG_DKIM_KEYS] = on_dkim_message,
           [LL_MSG_DKIM_ANSWER] = on_dkim_message,
           [LL_MSG_SEGMENT] = on_writer_message,
           [LL_MSG_FILE] = on_writer_message,
           [LL_MSG_SPACE] = on_writer_message},
};
