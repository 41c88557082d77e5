/* Delivery reports (RFC 3464) to a letter's sender. See post.h. */
#include "daemon/post/post.h"

#include "io/clock.h"
#include "io/json.h"
#include "io/log.h"
#include "letterlock/dsn.h"
#include "letterlock/msg.h"

#include <stdlib.h>
#include <sys/random.h>

#define RANDOM    16   /* octets in a boundary and in a Message-ID */
#define NAME_MAX  400  /* octets of a boundary, a Message-ID, an address of ours */
#define FACTS_MAX 1024 /* octets */
#define HOSTS_MAX 320  /* octets of a remote server's name */

/* What a recipient's end is called in a report, and what NOTIFY must allow (RFC 3461 4.1). */
struct action {
    uint8_t outcome;
    uint8_t notify; /* LL_NOTIFY_* that asks for it */
    bool unasked;   /* sent without NOTIFY too */
    enum ll_dsn_action action;
};

static const struct action actions[] = {
    {LL_OUTCOME_FAILED, LL_NOTIFY_FAILURE, true, LL_DSN_FAILED},
    {LL_OUTCOME_DEFERRED, LL_NOTIFY_DELAY, true, LL_DSN_DELAYED},
    {LL_OUTCOME_DELIVERED, LL_NOTIFY_SUCCESS, false, LL_DSN_DELIVERED},
    {LL_OUTCOME_RELAYED, LL_NOTIFY_SUCCESS, false, LL_DSN_RELAYED},
    {LL_OUTCOME_EXPANDED, LL_NOTIFY_SUCCESS, false, LL_DSN_EXPANDED},
};

static const struct action *action_of(const struct ll_job_rcpt *r)
{
    for (size_t i = 0; i < LL_COUNT(actions); i++) {
        const struct action *a = &actions[i];

        if (a->outcome == r->outcome)
            return (r->notify == 0 ? a->unasked : (r->notify & a->notify) != 0) ? a : NULL;
    }
    return NULL;
}

void report_begin(struct job *j)
{
    bool due = false;

    for (size_t i = 0; i < j->job.n_rcpt; i++)
        due = due || action_of(&j->job.rcpt[i]);
    post_result_all(j, LL_OUTCOME_DELIVERED, 0, "2.0.0", "");
    if (!due || j->job.reverse_path.n == 0 || !post_target(j, j->job.reverse_path, NULL))
        post_finish(j, 0);
    else
        post_ask_targets(j);
}

/* "5.1.1"; anything else gives {5, 0, 0} or its like. */
static void status_of(const struct ll_job_rcpt *r, uint16_t status[3])
{
    struct ll_slice rest = r->status, part;
    uint64_t n;

    status[0] = r->outcome == LL_OUTCOME_FAILED ? 5 : r->outcome == LL_OUTCOME_DEFERRED ? 4 : 2;
    status[1] = status[2] = 0;
    for (int i = 0; i < 3 && ll_slice_next(&rest, '.', &part); i++) {
        if (!ll_slice_u64(part, &n) || n > 999)
            return;
        if (i > 0) /* the class is the outcome's */
            status[i] = (uint16_t)n;
    }
}

/* "mx.example [192.0.2.1]:25": the name alone. */
static struct ll_slice host_of(struct ll_slice remote)
{
    return ll_slice_cut(ll_slice_trim(ll_slice_cut(remote, 0, ll_slice_find(remote, ' '))), 0,
                        HOSTS_MAX);
}

static size_t recipients_of(const struct job *j, struct ll_dsn_recipient *out)
{
    const struct ll_conf *conf = j->post->proc->conf;
    const struct ll_job *job = &j->job;
    size_t n = 0;

    for (size_t i = 0; i < job->n_rcpt; i++) {
        const struct ll_job_rcpt *r = &job->rcpt[i];
        const struct action *a = action_of(r);
        struct ll_dsn_recipient *o = &out[n];

        if (!a)
            continue;
        *o = (struct ll_dsn_recipient){
            .address = r->address,
            .orcpt = r->orcpt,
            .action = a->action,
            .remote_mta = host_of(r->remote),
            .code = r->code,
            .diagnostic = r->text,
            .last_attempt = ll_unix_s(),
            .retry_until =
                job->arrived_ms / 1000 +
                ll_conf_lifetime(conf,
                                 ll_slice_skip(r->address, ll_slice_rfind(r->address, '@') + 1))};
        status_of(r, o->status);
        n++;
    }
    return n;
}

/* What is named at random in a report. */
struct names {
    struct ll_buf from, message_id, boundary;
};

static bool names_make(struct names *n, const char *host)
{
    uint8_t random[2 * RANDOM];

    n->from = n->message_id = n->boundary = LL_BUF(NAME_MAX);
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return false;
    ll_buf_printf(&n->from, "postmaster@%s", host);
    ll_msg_id_put(&n->message_id, ll_unix_s(), ll_slice(random, RANDOM), ll_slice_str(host));
    ll_buf_puts(&n->boundary, "report");
    ll_hex_encode(&n->boundary, ll_slice(random + RANDOM, RANDOM));
    return !n->from.failed && !n->message_id.failed && !n->boundary.failed;
}

static void names_release(struct names *n)
{
    ll_buf_release(&n->from);
    ll_buf_release(&n->message_id);
    ll_buf_release(&n->boundary);
}

/* The fields that we prepended, and the letter's own, without the empty line. */
static bool read_header(struct job *j, struct ll_buf *out)
{
    size_t own = j->job.header_length;
    struct ll_slice all;

    ll_buf_put_slice(out, j->job.prepend);
    if (own > LL_DSN_HEADER_MAX)
        own = LL_DSN_HEADER_MAX;
    if (!post_read(j, 0, own, out))
        return false;
    all = ll_buf_slice(out);
    if (ll_slice_ends(all, LL_LIT("\r\n\r\n")))
        out->n -= 2;
    else if (ll_slice_eq(all, LL_LIT("\r\n")))
        out->n = 0;
    return true;
}

/* The whole letter goes back for RET=FULL, with a report of failure, and when it is short enough
 * (RFC 3461 6.2). Empty: it does not. */
static bool read_whole(struct job *j, struct ll_buf *out)
{
    uint64_t most = (uint64_t)j->post->proc->conf->return_size;
    bool failed = false;

    for (size_t i = 0; i < j->job.n_rcpt; i++)
        failed = failed || j->job.rcpt[i].outcome == LL_OUTCOME_FAILED;
    if (!failed || !(j->job.flags & LL_LETTER_RET_FULL) ||
        j->job.prepend.n + j->job.body_length > most)
        return true;
    ll_buf_put_slice(out, j->job.prepend);
    return post_read(j, 0, (size_t)j->job.body_length, out);
}

static bool build(struct job *j, bool with_letter, struct ll_buf *out, unsigned *ret_needs)
{
    const char *host = j->post->proc->conf->hostname;
    struct ll_dsn_recipient recipients[LL_JOB_RCPTS_MAX];
    struct ll_buf header = LL_BUF(LL_SPOOL_PREPEND_MAX + LL_DSN_HEADER_MAX + 65536);
    struct ll_buf whole = LL_BUF(LL_SPOOL_PREPEND_MAX + LL_SPOOL_INLINE_MAX + 65536);
    struct names names;
    bool ok = names_make(&names, host) && read_header(j, &header) &&
              (!with_letter || read_whole(j, &whole));

    if (ok) {
        struct ll_dsn dsn = {.reporting_mta = ll_slice_str(host),
                             .from = ll_buf_slice(&names.from),
                             .to = j->job.reverse_path,
                             .message_id = ll_buf_slice(&names.message_id),
                             .boundary = ll_buf_slice(&names.boundary),
                             .date = ll_unix_s(),
                             .arrival = j->job.arrived_ms / 1000,
                             .utf8 = j->job.flags & LL_LETTER_UTF8,
                             .envid = j->job.envid,
                             .header = ll_buf_slice(&header),
                             .content = ll_buf_slice(&whole),
                             .recipients = recipients,
                             .recipient_count = recipients_of(j, recipients)};

        ok = ll_dsn_build(&dsn, out, ret_needs);
    }
    ll_buf_release(&whole);
    names_release(&names);
    ll_buf_release(&header);
    return ok;
}

static void facts_of(const struct job *j, struct ll_buf *out)
{
    struct ll_json json = LL_JSON(out);
    struct ll_buf id = LL_BUF(32);

    ll_letter_id_format(&id, j->job.letter);
    ll_json_open(&json, '{');
    ll_json_str(&json, "report_for", ll_buf_slice(&id));
    ll_json_close(&json);
    ll_buf_release(&id);
}

/* A report without its signature is better than none: who asked for it waits. */
void post_sign(struct post *p, struct ll_slice content, struct ll_buf *prepend)
{
    struct ll_dkim_signing *s = ll_dkim_signing_new(p->dkim, ll_unix_s());

    if (!s)
        return;
    ll_dkim_signing_feed(s, content);
    ll_dkim_signing_finish(s, prepend);
    ll_dkim_signing_free(s);
}

static void append(struct job *j, uint8_t kind, struct ll_slice content, unsigned needs)
{
    const struct target *to = &j->targets[0];
    struct ll_buf prepend = LL_BUF(LL_SPOOL_PREPEND_MAX), facts = LL_BUF(FACTS_MAX);
    struct ll_slice header, body;
    struct ll_rcpt rcpt = {.address = to->address,
                           .mailbox = kind == LL_RCPT_MAILBOX ? to->mailbox : LL_LIT(""),
                           .kind = kind,
                           .notify = LL_NOTIFY_NEVER};
    struct ll_letter l = {.arrived_ms = ll_unix_ms(),
                          .flags = (uint8_t)(LL_LETTER_OURS |
                                             (needs & LL_DSN_NEEDS_UTF8 ? LL_LETTER_UTF8 : 0) |
                                             (needs & LL_DSN_NEEDS_8BIT ? LL_LETTER_8BIT : 0)),
                          .body = content,
                          .body_length = content.n,
                          .rcpt = &rcpt,
                          .n_rcpt = 1};

    facts_of(j, &facts);
    ll_msg_split(content, &header, &body);
    l.header_length = (uint32_t)(content.n - body.n);
    post_sign(j->post, content, &prepend);
    if (facts.failed || !post_received(j->post, &prepend, l.arrived_ms / 1000)) {
        post_result_all(j, LL_OUTCOME_DEFERRED, 451, "4.3.0", "the report cannot be stored now");
        post_finish(j, 0);
    } else {
        l.prepend = ll_buf_slice(&prepend);
        l.facts = ll_buf_slice(&facts);
        post_append(j, &l, NULL);
    }
    ll_buf_release(&prepend);
    ll_buf_release(&facts);
}

/* With many recipients there may be no room left for the letter in it. */
static bool build_report(struct job *j, struct ll_buf *out, unsigned *ret_needs)
{
    if (build(j, true, out, ret_needs) && out->n <= LL_SPOOL_INLINE_MAX)
        return true;
    ll_buf_clear(out);
    return build(j, false, out, ret_needs) && out->n <= LL_SPOOL_INLINE_MAX;
}

void report_known(struct job *j)
{
    struct ll_buf content = LL_BUF(LL_DSN_MAX);
    uint8_t kind;
    unsigned needs = 0;

    if (j->targets[0].kind == LL_ADDR_LATER) {
        post_result_all(j, LL_OUTCOME_DEFERRED, 451, "4.3.0", "addresses cannot be looked up now");
        post_finish(j, 0);
    } else if (!post_rcpt_kind(j->targets[0].kind, &kind)) {
        ll_log(LL_LOG_WARNING, "report-dropped", LL_F("to", j->targets[0].address),
               LL_FS("why", "no such recipient here"));
        post_finish(j, 0);
    } else if (!build_report(j, &content, &needs)) {
        post_result_all(j, LL_OUTCOME_DEFERRED, 451, "4.3.0", "the report cannot be made now");
        post_finish(j, 0);
    } else {
        append(j, kind, ll_buf_slice(&content), needs);
    }
    ll_buf_release(&content);
}
