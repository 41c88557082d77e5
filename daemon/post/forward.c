/* Aliases: a letter again, for those whom an alias names. See post.h. */
#include "daemon/post/post.h"

#include "io/clock.h"
#include "io/json.h"
#include "io/log.h"
#include "letterlock/addr.h"
#include "letterlock/msg.h"

#include <stdlib.h>

#define FACTS_MAX 4096        /* octets */
#define CHUNK     (64u << 10) /* octets copied at a time */

/* What an alias comes to; rows by enum ll_alias_result. */
struct end {
    uint8_t outcome;
    uint16_t code;
    const char *status;
    const char *text;
};

static const struct end ends[] = {
    [LL_ALIAS_OK] = {LL_OUTCOME_DELIVERED, 250, "2.0.0", "handed on by the alias"},
    [LL_ALIAS_NONE] = {LL_OUTCOME_DELIVERED, 250, "2.0.0", "handed on"},
    [LL_ALIAS_LOOP] = {LL_OUTCOME_FAILED, 554, "5.4.6", "the alias leads back to itself"},
    [LL_ALIAS_MANY] = {LL_OUTCOME_FAILED, 554, "5.3.5", "the alias names too many addresses"},
    [LL_ALIAS_LATER] = {LL_OUTCOME_DEFERRED, 451, "4.3.0", "the alias cannot be looked up now"},
};

static void end_with(struct job *j, size_t i, enum ll_alias_result r)
{
    const struct end *e = &ends[r];

    post_result(j, i, (enum ll_outcome)e->outcome, e->code, e->status, e->text);
}

/* ---- what the aliases name
 * -------------------------------------------------------------------------
 */

/* Recipients to whom the letter was delivered before are done with (RFC 5321 6.3). Others wait for
 * auth: LL_OUTCOME_AGAIN stands for that. */
void forward_begin(struct job *j)
{
    struct ll_buf header = LL_BUF(LL_MSG_HEADER_MAX + 65536);
    bool ok = post_read(j, 0, j->job.header_length, &header);

    for (size_t i = 0; i < j->job.n_rcpt; i++) {
        struct ll_slice address = j->job.rcpt[i].address;

        if (!ok)
            post_result(j, i, LL_OUTCOME_DEFERRED, 451, "4.3.0", "the letter cannot be read now");
        else if (ll_msg_delivered_to(j->job.prepend, address) ||
                 ll_msg_delivered_to(ll_buf_slice(&header), address))
            post_result(j, i, LL_OUTCOME_FAILED, 554, "5.4.6",
                        "the letter loops: it was delivered to this alias before");
        else
            post_result(j, i, LL_OUTCOME_AGAIN, 0, "", "");
    }
    ll_buf_release(&header);
}

/* All targets of an alias, or none of them where they do not fit into this letter any more. */
static void add_targets(struct job *j, size_t i, struct ll_slice targets)
{
    struct ll_cursor c = ll_cursor(targets);
    size_t before = j->n_targets;

    while (ll_cur_left(&c) > 0 && !c.failed) {
        struct ll_slice address = ll_cur_str16(&c);

        if (!c.failed && !post_target(j, address, &j->job.rcpt[i])) {
            j->n_targets = before;
            if (before == 0)
                end_with(j, i, LL_ALIAS_MANY);
            return; /* else again, in a job of its own */
        }
    }
    j->single[i] = j->n_targets == before + 1;
    end_with(j, i, LL_ALIAS_OK);
}

int forward_on_alias(struct job *j, size_t i, const struct ll_m_alias_answer *a)
{
    struct ll_cursor c = ll_cursor(a->targets);

    if (a->result >= LL_COUNT(ends))
        return -1;
    while (ll_cur_left(&c) > 0 && !c.failed)
        ll_cur_str16(&c);
    if (c.failed)
        return -1;
    if (j->results[i].outcome != LL_OUTCOME_AGAIN)
        return 0; /* it loops */
    if (a->result == LL_ALIAS_OK && j->sender.n == 0 && a->sender.n > 0) {
        j->sender = ll_arena_dup(&j->arena, a->sender);
        if (!j->sender.p) {
            end_with(j, i, LL_ALIAS_LATER);
            return 0;
        }
    }
    if (a->result == LL_ALIAS_OK) {
        add_targets(j, i, a->targets);
    } else if (a->result == LL_ALIAS_NONE &&
               post_target(j, j->job.rcpt[i].address, &j->job.rcpt[i])) {
        j->single[i] = true;
        end_with(j, i, LL_ALIAS_NONE);
    } else if (a->result != LL_ALIAS_NONE) {
        end_with(j, i, (enum ll_alias_result)a->result);
    }
    return 0;
}

/* ---- the new letter
 * ---------------------------------------------------------------------------------
 */

/* Aliases of which a target cannot be looked up now are put off; of which none exists, fail. */
static void judge(struct job *j)
{
    for (size_t i = 0; i < j->job.n_rcpt; i++) {
        const struct ll_job_rcpt *r = &j->job.rcpt[i];
        size_t good = 0, later = 0, all = 0;
        uint8_t kind;

        if (j->results[i].outcome != LL_OUTCOME_DELIVERED)
            continue;
        for (size_t t = 0; t < j->n_targets; t++) {
            if (j->targets[t].of != r)
                continue;
            all++;
            good += post_rcpt_kind(j->targets[t].kind, &kind);
            later += j->targets[t].kind == LL_ADDR_LATER;
        }
        if (later > 0)
            end_with(j, i, LL_ALIAS_LATER);
        else if (all > 0 && good == 0)
            post_result(j, i, LL_OUTCOME_FAILED, 550, "5.1.1",
                        "nobody whom the alias names exists");
    }
}

static bool goes_on(const struct job *j, const struct target *t)
{
    size_t i = (size_t)(t->of - j->job.rcpt);

    return j->results[i].outcome == LL_OUTCOME_DELIVERED;
}

static struct ll_rcpt *find(struct ll_rcpt *list, size_t n, struct ll_slice address)
{
    for (size_t i = 0; i < n; i++)
        if (ll_slice_eq(list[i].address, address))
            return &list[i];
    return NULL;
}

/* What NOTIFY asks for, where it was not given too. */
static uint8_t wishes(uint8_t notify)
{
    if (notify & LL_NOTIFY_NEVER)
        return 0;
    return notify ? notify : LL_NOTIFY_FAILURE | LL_NOTIFY_DELAY;
}

/* One letter for two aliases tells of all that either asks for. */
static void merge(struct ll_rcpt *r, uint8_t notify, struct ll_slice orcpt)
{
    uint8_t both = wishes(r->notify) | wishes(notify);

    if (notify & ~r->notify & LL_NOTIFY_SUCCESS)
        r->orcpt = orcpt;
    if (r->notify != notify)
        r->notify = both ? both : LL_NOTIFY_NEVER;
}

/* RFC 3461 5.2.7.2: an alias of one address hands all on; 5.2.7.3 (c): one of several tells of
 * success itself ("expanded"), and only failure and delay go on. */
static uint8_t notify_of(const struct job *j, const struct target *t)
{
    uint8_t notify = t->of->notify;

    if (j->single[t->of - j->job.rcpt] || !(notify & LL_NOTIFY_SUCCESS))
        return notify;
    notify &= (uint8_t)~LL_NOTIFY_SUCCESS;
    return notify ? notify : LL_NOTIFY_NEVER; /* without a word, failures would be told of */
}

/* Aliases of one address do not report; whom the letter goes on to does. */
static void pass_single(struct job *j)
{
    for (size_t i = 0; i < j->job.n_rcpt; i++)
        if (j->single[i] && j->results[i].outcome == LL_OUTCOME_DELIVERED)
            j->results[i].outcome = LL_OUTCOME_PASSED;
}

/* To other servers the letter comes from us: SPF looks at the reverse-path (doc/design/srs.md). */
static struct ll_slice reverse_path_for(const struct job *j, const struct target *t)
{
    return t->kind == LL_ADDR_OUTSIDE && j->sender.n > 0 ? j->sender : j->job.reverse_path;
}

/* Who is named by two aliases gets one letter. */
static size_t recipients(struct job *j, struct ll_rcpt *out)
{
    size_t n = 0;

    for (size_t t = 0; t < j->n_targets; t++) {
        const struct target *from = &j->targets[t];
        struct ll_rcpt *known;
        uint8_t kind;

        if (!goes_on(j, from))
            continue;
        known = find(out, n, from->address);
        if (known) {
            merge(known, notify_of(j, from), from->of->orcpt);
            continue;
        }
        if (!post_rcpt_kind(from->kind, &kind)) {
            ll_log(LL_LOG_WARNING, "alias-target-unknown", LL_F("alias", from->of->address),
                   LL_F("target", from->address));
            continue;
        }
        out[n++] = (struct ll_rcpt){.address = from->address,
                                    .mailbox = kind == LL_RCPT_MAILBOX ? from->mailbox : LL_LIT(""),
                                    .reverse_path = reverse_path_for(j, from),
                                    .orcpt = from->of->orcpt,
                                    .kind = kind,
                                    .notify = notify_of(j, from)};
    }
    return n;
}

/* Our ARC set, and Delivered-To for every alias, over what was there. */
static bool prepend_of(struct job *j, struct ll_buf *out)
{
    ll_buf_put_slice(out, ll_buf_slice(&j->seal.set));
    for (size_t i = 0; i < j->job.n_rcpt; i++)
        if (j->results[i].outcome == LL_OUTCOME_DELIVERED &&
            !ll_msg_field_put(out, "Delivered-To", j->job.rcpt[i].address, true))
            return false;
    ll_buf_put_slice(out, j->job.prepend);
    return !out->failed;
}

static void facts_of(const struct job *j, struct ll_buf *out)
{
    struct ll_json json = LL_JSON(out);
    struct ll_buf id = LL_BUF(32);

    ll_letter_id_format(&id, j->job.letter);
    ll_json_open(&json, '{');
    ll_json_str(&json, "forwarded_from", ll_buf_slice(&id));
    ll_json_str(&json, "alias", j->job.rcpt[0].address);
    ll_json_close(&json);
    ll_buf_release(&id);
}

/* A long body into a file of its own. */
static struct ll_body_file *copy_body(struct job *j)
{
    struct ll_body_file *file = ll_body_file_take(j->post->writer);
    struct ll_buf chunk = LL_BUF(CHUNK + 65536);

    for (uint64_t at = 0; file && at < j->job.body_length;) {
        uint64_t left = j->job.body_length - at;
        size_t n = left < CHUNK ? (size_t)left : CHUNK;

        ll_buf_clear(&chunk);
        if (!post_read(j, at, n, &chunk) ||
            ll_body_file_write(file, ll_buf_slice(&chunk)) != LL_STORED) {
            ll_body_file_drop(file);
            file = NULL;
        }
        at += n;
    }
    ll_buf_release(&chunk);
    return file;
}

static void put_off(struct job *j)
{
    for (size_t i = 0; i < j->job.n_rcpt; i++)
        if (j->results[i].outcome == LL_OUTCOME_DELIVERED)
            post_result(j, i, LL_OUTCOME_DEFERRED, 451, "4.3.0",
                        "the letter that takes over cannot be stored now");
    post_finish(j, 0);
}

static void append(struct job *j, struct ll_letter *l)
{
    struct ll_buf prepend = LL_BUF(LL_SPOOL_PREPEND_MAX), facts = LL_BUF(FACTS_MAX);
    struct ll_buf body = LL_BUF(LL_SPOOL_INLINE_MAX + 65536);
    struct ll_body_file *file = NULL;
    bool ok;

    facts_of(j, &facts);
    if (!prepend_of(j, &prepend)) {
        post_result_all(j, LL_OUTCOME_FAILED, 554, "5.4.6",
                        "the letter was handed on too many times");
        post_finish(j, 0);
        goto out;
    }
    if (l->body_length > LL_SPOOL_INLINE_MAX) {
        file = copy_body(j);
        ok = file != NULL;
    } else {
        ok = post_read(j, 0, (size_t)l->body_length, &body);
        l->body = ll_buf_slice(&body);
    }
    if (!ok || facts.failed) {
        ll_body_file_drop(file);
        put_off(j);
        goto out;
    }
    l->prepend = ll_buf_slice(&prepend);
    l->facts = ll_buf_slice(&facts);
    pass_single(j);
    post_append(j, l, file);
out:
    ll_buf_release(&prepend);
    ll_buf_release(&facts);
    ll_buf_release(&body);
}

void forward_known(struct job *j)
{
    struct ll_rcpt rcpt[POST_TARGETS_MAX];
    struct ll_letter l = {.arrived_ms = ll_unix_ms(),
                          .flags = j->job.flags,
                          .reverse_path = j->job.reverse_path,
                          .envid = j->job.envid,
                          .login = j->job.login,
                          .body_length = j->job.body_length,
                          .header_length = j->job.header_length,
                          .rcpt = rcpt};

    judge(j);
    if (seal_wanted(j)) {
        seal_begin(j); /* and here again */
        return;
    }
    l.n_rcpt = recipients(j, rcpt);
    if (l.n_rcpt == 0)
        post_finish(j, 0);
    else
        append(j, &l);
}
