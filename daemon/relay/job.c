/* Jobs come in, results go out. See relay.h. */
#include "daemon/relay/relay.h"

#include <stdlib.h>
#include <unistd.h>

#include "io/clock.h"
#include "io/json.h"
#include "io/log.h"

#define RESULT_MAX 60000 /* octets of an encoded result: one frame with its header */
#define FACTS_MAX  4096
#define RCPT_FIXED 40 /* octets of a recipient in a result, but for text and remote */

/* ---- life
 * ---------------------------------------------------------------------------------------- */

struct job *job_new(struct relay *r, struct ll_peer *asker, uint64_t id, int fd)
{
    struct job *j = calloc(1, sizeof(*j));

    if (!j) {
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    j->relay = r;
    j->asker = asker;
    j->id = id;
    j->fd = fd;
    j->started_ms = ll_now_ms();
    ll_arena_init(&j->arena, RELAY_JOB_ARENA);
    ll_buf_init(&j->facts, FACTS_MAX);
    j->next = r->jobs;
    if (r->jobs)
        r->jobs->prev = j;
    r->jobs = j;
    r->n_jobs++;
    return j;
}

void job_free(struct job *j)
{
    struct relay *r = j->relay;

    if (j->prev)
        j->prev->next = j->next;
    else
        r->jobs = j->next;
    if (j->next)
        j->next->prev = j->prev;
    r->n_jobs--;
    if (j->fd >= 0)
        close(j->fd);
    ll_arena_release(&j->arena);
    ll_buf_release(&j->facts);
    job_unconvert(j);
    plan_free(j->plan);
    free(j);
    if (r->proc->draining && r->n_jobs == 0) {
        pool_close_all(r);
        ll_proc_exit(r->proc);
    }
}

/* The arena copy first, then the decoding: slices must outlive the message. A small letter's
 * prepended fields and body are laid side by side, so that they leave in one piece. */
static bool decode(struct job *j, struct ll_slice in, struct ll_slice body)
{
    struct ll_slice copy = ll_arena_dup(&j->arena, in);
    uint8_t *content;

    if (!copy.p || !ll_job_decode(copy, &j->arena, &j->job) || j->job.kind != LL_JOB_DELIVER)
        return false;
    j->rcpt = ll_arena_alloc(&j->arena, j->job.n_rcpt * sizeof(j->rcpt[0]));
    j->to = ll_arena_alloc(&j->arena, j->job.n_rcpt * sizeof(j->to[0]));
    j->to_index = ll_arena_alloc(&j->arena, j->job.n_rcpt * sizeof(j->to_index[0]));
    if (!j->rcpt || !j->to || !j->to_index)
        return false;
    if (j->fd >= 0)
        return true;
    if (j->job.body_length != body.n)
        return false;
    content = ll_arena_alloc(&j->arena, j->job.prepend.n + body.n + 1);
    if (!content)
        return false;
    if (j->job.prepend.n)
        memcpy(content, j->job.prepend.p, j->job.prepend.n);
    if (body.n)
        memcpy(content + j->job.prepend.n, body.p, body.n);
    j->content = ll_slice(content, j->job.prepend.n + body.n);
    return true;
}

int job_taken(struct ll_peer *peer, uint64_t id, struct ll_slice in, struct ll_slice body, int fd)
{
    struct relay *r = peer->proc->state;
    struct job *j = job_new(r, peer, id, fd);

    if (!j)
        ll_proc_no_memory("a job");
    if (!decode(j, in, body)) {
        if (j->arena.no_memory)
            ll_proc_no_memory("a job");
        job_free(j);
        return -1;
    }
    j->plan = plan_ref(plan_of(r, j->job.destination));
    job_recipients(j);
    hunt_begin(j);
    return 0;
}

/* ---- recipients
 * ------------------------------------------------------------------------------------ */

/* RFC 3461 4.1, by the bits of ll_rcpt.notify. */
static struct ll_slice notify_word(uint8_t bits)
{
    static const char *const words[8] = {
        "",      "SUCCESS",       "FAILURE",       "SUCCESS,FAILURE",
        "DELAY", "SUCCESS,DELAY", "FAILURE,DELAY", "SUCCESS,FAILURE,DELAY"};

    if (bits & LL_NOTIFY_NEVER)
        return LL_LIT("NEVER");
    return ll_slice_str(
        words[(bits & LL_NOTIFY_SUCCESS ? 1 : 0) | (bits & LL_NOTIFY_FAILURE ? 2 : 0) |
              (bits & LL_NOTIFY_DELAY ? 4 : 0)]);
}

bool job_recipients(struct job *j)
{
    j->n_to = 0;
    for (size_t i = 0; i < j->job.n_rcpt; i++) {
        const struct ll_job_rcpt *r = &j->job.rcpt[i];

        if (j->rcpt[i].settled)
            continue;
        j->to[j->n_to] = (struct ll_smtpc_recipient){
            .address = r->address, .notify = notify_word(r->notify), .orcpt = r->orcpt};
        j->to_index[j->n_to++] = (uint32_t)i;
    }
    return j->n_to > 0;
}

/* A copy in the arena; the empty slice when that is full: the codes say enough. */
static struct ll_slice keep(struct job *j, struct ll_slice s)
{
    s = ll_slice_cut(s, 0, LL_DIAG_MAX);
    return s.n ? ll_arena_dup(&j->arena, s) : s;
}

void job_settle(struct job *j, size_t i, enum ll_outcome outcome, uint16_t code, const char *status,
                struct ll_slice text, const char *remote)
{
    struct job_rcpt *r = &j->rcpt[i];

    r->settled = true;
    r->result = (struct ll_job_result_rcpt){.index = j->job.rcpt[i].index,
                                            .outcome = (uint8_t)outcome,
                                            .code = code,
                                            .status = keep(j, ll_slice_str(status)),
                                            .text = keep(j, text),
                                            .remote = keep(j, ll_slice_str(remote))};
    if (r->result.status.n == 0)
        r->result.status = LL_LIT("4.0.0");
}

void job_settle_all(struct job *j, enum ll_outcome outcome, uint16_t code, const char *status,
                    struct ll_slice text, const char *remote)
{
    struct ll_job_result_rcpt one;
    bool first = true;

    for (size_t i = 0; i < j->job.n_rcpt; i++) {
        if (j->rcpt[i].settled)
            continue;
        if (first) {
            job_settle(j, i, outcome, code, status, text, remote);
            one = j->rcpt[i].result;
            first = false;
            continue;
        }
        one.index = j->job.rcpt[i].index;
        j->rcpt[i].result = one; /* they share the words */
        j->rcpt[i].settled = true;
    }
}

/* ---- results
 * ----------------------------------------------------------------------------------------- */

void job_facts(struct job *j, const struct conn *c)
{
    const struct ll_tls_facts *t = c->tls ? ll_tls_facts(c->tls) : NULL;
    struct ll_json json = LL_JSON(&j->facts);

    if (j->probe)
        return;
    ll_buf_clear(&j->facts);
    ll_json_open(&json, '{');
    ll_json_cstr(&json, "remote", c->remote);
    ll_json_cstr(&json, "mx", c->host.text);
    ll_json_key(&json, "tls");
    if (t) {
        ll_json_open(&json, '{');
        ll_json_cstr(&json, "version", t->version);
        ll_json_cstr(&json, "cipher", t->cipher);
        ll_json_int(&json, "bits", t->bits);
        ll_json_bool(&json, "resumed", t->resumed);
        ll_json_bool(&json, "verified", t->verified);
        if (t->peer_name[0])
            ll_json_cstr(&json, "name", t->peer_name);
        if (!t->verified && t->verify_error[0])
            ll_json_cstr(&json, "why_not", t->verify_error);
        ll_json_close(&json);
    } else {
        ll_json_raw(&json, NULL, LL_LIT("false"));
    }
    if (c->plan->via == VIA_MX && j->n_host > 0)
        ll_json_bool(&json, "dnssec", j->mx_secure && j->host_secure);
    if (c->engine && c->ready)
        ll_json_bool(&json, "dsn", ll_smtpc_peer(c->engine)->dsn);
    if (j->seven.n > 0)
        ll_json_bool(&json, "converted", true);
    ll_json_bool(&json, "reused", c->letters > 0);
    ll_json_int(&json, "ms", (int64_t)(ll_now_ms() - j->started_ms));
    ll_json_close(&json);
    if (j->facts.failed)
        ll_buf_clear(&j->facts);
}

/* Texts are cut so that the result of a hundred recipients fits one frame. */
static void send_result(struct job *j)
{
    struct ll_job_result_rcpt rcpt[LL_JOB_RCPTS_MAX];
    struct ll_job_result result = {.letter = j->job.letter,
                                   .trouble = j->trouble,
                                   .facts = ll_buf_slice(&j->facts),
                                   .rcpt = rcpt,
                                   .n_rcpt = j->job.n_rcpt};
    size_t each = (RESULT_MAX - FACTS_MAX) / j->job.n_rcpt - RCPT_FIXED;
    struct ll_buf body = LL_BUF(RESULT_MAX);
    struct ll_msg m = {.type = LL_MSG_JOB_RESULT, .id = j->id, .fd = -1};

    for (size_t i = 0; i < j->job.n_rcpt; i++) {
        rcpt[i] = j->rcpt[i].result;
        rcpt[i].remote = ll_slice_cut(rcpt[i].remote, 0, each / 2);
        rcpt[i].text = ll_slice_cut(rcpt[i].text, 0, each - rcpt[i].remote.n);
    }
    ll_job_result_encode(&result, &body);
    m.job_result.result = ll_buf_slice(&body);
    if (!body.failed)
        ll_msg_send(j->asker->ipc, &m);
    else
        ll_log(LL_LOG_ERROR, "result-lost", LL_FU("letter", j->job.letter));
    ll_buf_release(&body);
}

void job_end(struct job *j)
{
    if (j->conn) {
        j->conn->job = NULL;
        j->conn = NULL;
    }
    if (j->probe)
        probe_ended(j);
    else if (j->asker)
        send_result(j);
    job_free(j);
}
