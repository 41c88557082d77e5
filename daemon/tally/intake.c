/*
 * Letters to a report_address. The queue gives the letter, a process of the role report reads it
 * and answers with marks, and what they say goes into reports.db in one transaction; only then the
 * queue hears that the letter is delivered. What cannot be read is handed back as failed: the queue
 * gives it to the account of that name, or holds it.
 *
 * Who sent the report is what our own front found of the letter (Authentication-Results, which
 * stands on top); it is stored with the report, and decides how many of them are taken a day.
 */
#include "daemon/tally/tally.h"

#include "io/clock.h"
#include "io/log.h"
#include "letterlock/authres.h"
#include "letterlock/msg.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define DAY_S      86400
#define ARENA_MAX  (64u << 20) /* octets of a report's tree */
#define JOB_MAX    (1u << 20)  /* octets of a decoded job, its letter included */
#define RESULT_MAX 60000
#define READ_EXTRA 10000 /* milliseconds that the reader gets beyond its own limit */

struct intake {
    TAILQ_ENTRY(intake) all;
    uint64_t id; /* of the queue's message */
    struct ll_arena arena;
    struct ll_job job;
    struct ll_slice body; /* of a small letter */
    int fd;               /* of others, or -1 */
    unsigned tries;
};

static void intake_free(struct tally *t, struct intake *i)
{
    if (t->asked && i == TAILQ_FIRST(&t->intakes))
        t->asked = false;
    TAILQ_REMOVE(&t->intakes, i, all);
    t->n_intakes--;
    if (i->fd >= 0)
        close(i->fd);
    ll_arena_release(&i->arena);
    free(i);
}

/* ---- the end of a letter ------------------------------------------------------------------------
 */

static void finish(struct tally *t, struct intake *i, enum ll_outcome outcome, uint16_t code,
                   const char *status, struct ll_slice text)
{
    struct ll_peer *queue = ll_proc_peer(t->proc, LL_ROLE_QUEUE, 0);
    struct ll_job_result_rcpt rcpt[LL_JOB_RCPTS_MAX];
    struct ll_job_result result = {.letter = i->job.letter, .rcpt = rcpt, .n_rcpt = i->job.n_rcpt};
    struct ll_buf out = LL_BUF(RESULT_MAX);

    for (size_t k = 0; k < i->job.n_rcpt; k++)
        rcpt[k] = (struct ll_job_result_rcpt){.index = i->job.rcpt[k].index,
                                              .outcome = (uint8_t)outcome,
                                              .code = code,
                                              .status = ll_slice_str(status),
                                              .text = text};
    ll_job_result_encode(&result, &out);
    if (queue && !out.failed) {
        struct ll_msg m = {.type = LL_MSG_JOB_RESULT, .id = i->id, .fd = -1};

        m.job_result.result = ll_buf_slice(&out);
        ll_msg_send(queue->ipc, &m);
    }
    ll_buf_release(&out);
    intake_free(t, i);
}

static void later(struct tally *t, struct intake *i, const char *why)
{
    finish(t, i, LL_OUTCOME_DEFERRED, 451, "4.3.0", ll_slice_str(why));
}

/* ---- who sent it --------------------------------------------------------------------------------
 */

static struct ll_slice author_of(const struct ll_authres_result *r)
{
    for (size_t p = 0; p < r->properties; p++)
        if (ll_slice_caseeq(r->property[p].type, LL_LIT("header")) &&
            ll_slice_caseeq(r->property[p].name, LL_LIT("from")))
            return r->property[p].value;
    return LL_LIT("");
}

/* The words of DMARC, so that what is stored is one of ours. */
static const char *proof_word(struct ll_slice result)
{
    static const char *const words[] = {"pass", "fail", "none", "temperror", "permerror"};

    for (size_t w = 0; w < LL_COUNT(words); w++)
        if (ll_slice_caseeq(result, ll_slice_str(words[w])))
            return words[w];
    return "unchecked";
}

/* The first field of what our front put on top: what the letter itself says counts for nothing. */
static struct ll_report_origin origin_of(struct intake *i)
{
    struct ll_report_origin o = {LL_LIT(""), "unchecked"};
    struct ll_slice rest = i->job.prepend, domain;
    struct ll_authres found;
    struct ll_msg_field f;

    if (i->job.login.n > 0) {
        domain = ll_slice_skip(i->job.login, ll_slice_rfind(i->job.login, '@') + 1);
        return (struct ll_report_origin){domain, "login"};
    }
    while (ll_msg_field_next(&rest, &f)) {
        if (f.bad || !ll_slice_caseeq(f.name, LL_LIT("Authentication-Results")))
            continue;
        if (!ll_authres_parse(f.body, &i->arena, &found, NULL))
            return o;
        for (size_t k = 0; k < found.results; k++) {
            if (!ll_slice_caseeq(found.result[k].method, LL_LIT("dmarc")))
                continue;
            o.reporter = author_of(&found.result[k]);
            o.proof = proof_word(found.result[k].result);
        }
        return o;
    }
    return o;
}

/* NULL: it may come; else why not now. */
static const char *too_many(struct tally *t, const struct ll_report_origin *o, struct ll_buf *err)
{
    bool proved = strcmp(o->proof, "pass") == 0 || strcmp(o->proof, "login") == 0;
    int64_t since = ll_unix_s() - DAY_S;
    uint64_t all, own;

    if (!ll_report_store_came(t->came, since, LL_LIT("*"), &all, err) ||
        !ll_report_store_came(t->came, since, proved ? o->reporter : LL_LIT(""), &own, err))
        return "the reports cannot be stored now";
    if (all >= TALLY_DAY_ALL)
        return "too many reports came today";
    if (proved ? own >= TALLY_DAY_REPORTER : own >= TALLY_DAY_UNPROVED)
        return proved ? "too many reports of this reporter came today"
                      : "too many reports of senders that are not proved came today";
    return NULL;
}

/* ---- what was read ------------------------------------------------------------------------------
 */

static bool open_store(struct tally *t, struct ll_buf *err)
{
    struct ll_buf path = LL_BUF(4096);

    if (!t->came && tally_path(t, "reports.db", &path))
        t->came = ll_report_store_open(ll_buf_str(&path), true, err);
    ll_buf_release(&path);
    return t->came != NULL;
}

static void tell(const struct intake *i, const struct ll_report_node *top,
                 const struct ll_report_origin *o, bool known)
{
    struct ll_buf id = LL_BUF(32);
    bool dmarc = top->id == LL_REPORT_N_FEEDBACK;
    const struct ll_report_node *type = ll_report_child(top, LL_REPORT_N_FEEDBACK_TYPE);

    ll_letter_id_format(&id, i->job.letter);
    ll_log(LL_LOG_INFO, "report-came", LL_F("id", ll_buf_slice(&id)),
           LL_F("type", dmarc  ? LL_LIT("dmarc")
                        : type ? type->text
                               : LL_LIT("unknown")),
           LL_F("org", dmarc ? ll_report_text(top, LL_REPORT_N_METADATA, LL_REPORT_N_ORG_NAME)
                             : LL_LIT("")),
           LL_F("domain",
                dmarc ? ll_report_text(top, LL_REPORT_N_POLICY, LL_REPORT_N_DOMAIN) : LL_LIT("")),
           LL_F("reporter", o->reporter), LL_FS("proof", o->proof),
           LL_FS("known", known ? "yes" : "no"));
    ll_buf_release(&id);
}

static void store(struct tally *t, struct intake *i, const struct ll_report_node *top)
{
    struct ll_report_origin o = origin_of(i);
    struct ll_buf err = LL_BUF(4096);
    const char *no =
        open_store(t, &err) ? too_many(t, &o, &err) : "the reports cannot be stored now";
    enum ll_report_added added = LL_REPORT_NOT_ADDED;

    if (!no)
        added = ll_report_store_add(t->came, top, &o, ll_unix_s(), &err);
    if (added != LL_REPORT_NOT_ADDED) {
        tell(i, top, &o, added == LL_REPORT_KNOWN);
        finish(t, i, LL_OUTCOME_DELIVERED, 250, "2.0.0",
               added == LL_REPORT_KNOWN ? LL_LIT("a report that was there already")
                                        : LL_LIT("the report is stored"));
    } else {
        if (err.n > 0) { /* it may have been moved away, or mended: open it anew */
            ll_report_store_close(t->came);
            t->came = NULL;
            tally_complain(t, &err);
        }
        later(t, i, no ? no : "the report cannot be stored now");
    }
    ll_buf_release(&err);
}

static void unreadable(struct tally *t, struct intake *i, enum ll_report_error e, uint64_t line)
{
    struct ll_buf text = LL_BUF(LL_DIAG_MAX), id = LL_BUF(32);

    ll_buf_printf(&text, "no report can be read in it: %s", ll_report_error_text(e));
    if (line > 0)
        ll_buf_printf(&text, " (line %llu)", (unsigned long long)line);
    ll_letter_id_format(&id, i->job.letter);
    ll_log(LL_LOG_WARNING, "report-unreadable", LL_F("id", ll_buf_slice(&id)),
           LL_F("from", i->job.reverse_path), LL_FS("why", ll_report_error_text(e)));
    finish(t, i, LL_OUTCOME_FAILED, 554, "5.6.0", ll_buf_slice(&text));
    ll_buf_release(&text);
    ll_buf_release(&id);
}

/* What the reader wrote down; it cannot be changed any more, but is copied all the same. */
static bool load(int fd, struct ll_buf *out)
{
    for (off_t at = 0;;) {
        uint8_t *p = ll_buf_room(out, 65536);
        ssize_t n = p ? pread(fd, p, 65536, at) : -1;

        if (n < 0 && errno == EINTR && p)
            continue;
        if (n <= 0)
            return n == 0;
        ll_buf_grew(out, (size_t)n);
        at += n;
    }
}

static void take(struct tally *t, struct intake *i, int fd)
{
    struct ll_buf marks = LL_BUF(LL_REPORT_MARKS_MAX + 65536);
    struct ll_report_node *top;
    struct ll_arena arena;

    ll_arena_init(&arena, ARENA_MAX);
    if (load(fd, &marks) && ll_report_tree(ll_buf_slice(&marks), &arena, &top))
        store(t, i, top);
    else if (arena.no_memory || marks.failed)
        later(t, i, "no memory for the report");
    else
        unreadable(t, i, LL_REPORT_PROCESS, 0);
    ll_arena_release(&arena);
    ll_buf_release(&marks);
}

int intake_read(struct ll_peer *peer, const struct ll_msg *m)
{
    struct tally *t = peer->proc->state;
    struct intake *i = TAILQ_FIRST(&t->intakes);
    bool good = m->read_answer.error < LL_REPORT_ERRORS_N;

    if (good && t->asked && m->id == t->question) { /* else: of a letter that was given up */
        t->asked = false;
        if (m->read_answer.error == LL_REPORT_OK)
            take(t, i, m->fd);
        else if (m->read_answer.error == LL_REPORT_RESOURCE)
            later(t, i, ll_report_error_text(LL_REPORT_RESOURCE));
        else
            unreadable(t, i, (enum ll_report_error)m->read_answer.error, m->read_answer.line);
    }
    close(m->fd);
    return good ? 0 : -1;
}

/* ---- the reader ---------------------------------------------------------------------------------
 */

void intake_go(struct tally *t)
{
    struct ll_peer *reader = ll_proc_peer(t->proc, LL_ROLE_REPORT, 0);
    struct intake *i = TAILQ_FIRST(&t->intakes);
    struct ll_msg m = {.type = LL_MSG_READ_SMALL, .fd = -1};

    /* One that has answered is about to end: its data says so. */
    if (t->asked || !i || !reader || reader->data)
        return;
    m.id = t->question = ll_proc_id(t->proc);
    if (i->fd >= 0) {
        m.type = LL_MSG_READ_ASK;
        m.fd = i->fd;
        m.read_ask.offset = i->job.body_offset;
        m.read_ask.length = i->job.body_length;
    } else {
        m.read_small.body = i->body;
    }
    reader->data = i;
    if (ll_msg_send(reader->ipc, &m) != 0)
        return;
    i->tries++;
    t->asked = true;
    t->deadline = ll_now_ms() + LL_REPORT_WAIT_MS + READ_EXTRA;
}

void intake_reader_down(struct tally *t)
{
    struct intake *i = TAILQ_FIRST(&t->intakes);

    if (!t->asked)
        return;
    t->asked = false;
    if (i->tries >= TALLY_TRIES)
        unreadable(t, i, LL_REPORT_PROCESS, 0);
}

void intake_tick(struct tally *t, uint64_t now_ms)
{
    struct ll_buf err = LL_BUF(4096);
    struct ll_peer *reader = ll_proc_peer(t->proc, LL_ROLE_REPORT, 0);

    if (t->asked && now_ms >= t->deadline && reader)
        ll_proc_bad_peer(reader, "a report was not read in time");
    /* Opening undoes what a killed process had begun: who only reads the file could not. */
    if (t->proc->conf->report_address[0] && !t->came && !open_store(t, &err))
        tally_complain(t, &err);
    ll_buf_release(&err);
    intake_go(t);
}

/* ---- letters ------------------------------------------------------------------------------------
 */

static int take_job(struct ll_peer *peer, uint64_t id, struct ll_slice job, struct ll_slice body,
                    int fd)
{
    struct tally *t = peer->proc->state;
    struct intake *i = t->n_intakes < TALLY_JOBS_MAX ? calloc(1, sizeof(*i)) : NULL;
    struct ll_slice copy;

    if (!i) {
        if (fd >= 0)
            close(fd);
        return -1; /* the queue gives fewer at a time */
    }
    i->id = id;
    i->fd = fd;
    ll_arena_init(&i->arena, JOB_MAX);
    TAILQ_INSERT_TAIL(&t->intakes, i, all);
    t->n_intakes++;
    copy = ll_arena_dup(&i->arena, job);
    i->body = ll_arena_dup(&i->arena, body);
    if (!copy.p || !i->body.p || !ll_job_decode(copy, &i->arena, &i->job) ||
        i->job.kind != LL_JOB_READ || i->job.n_rcpt == 0 ||
        (fd < 0 && i->job.body_length != body.n)) {
        if (i->arena.no_memory)
            ll_proc_no_memory("a letter with a report");
        intake_free(t, i);
        return -1;
    }
    intake_go(t);
    return 0;
}

int intake_job(struct ll_peer *peer, const struct ll_msg *m)
{
    return take_job(peer, m->id, m->job.job, LL_LIT(""), m->fd);
}

int intake_job_small(struct ll_peer *peer, const struct ll_msg *m)
{
    return take_job(peer, m->id, m->job_small.job, m->job_small.body, -1);
}

/* A new queue hands its letters out anew. What is being read ends without a listener; its report
 * counts once however often it comes. */
void intake_queue_down(struct tally *t)
{
    struct intake *i;

    while ((i = TAILQ_FIRST(&t->intakes)))
        intake_free(t, i);
}
