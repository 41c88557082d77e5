/*
 * Reports that tally has made: DMARC aggregate reports (RFC 9990) and failure reports (RFC 9991).
 * Each is for one address. Where that is of another organisation than the domain it is about, its
 * host must have said that it wants them (RFC 9990 4); then auth says what the address is, and the
 * letter goes to the journal, signed. tally keeps the report until it hears how that went.
 */
#include "daemon/post/post.h"

#include "io/clock.h"
#include "io/log.h"
#include "letterlock/addr.h"
#include "letterlock/dmarc_report.h"
#include "letterlock/dns.h"
#include "letterlock/mime.h"
#include "letterlock/msg.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#define DUES_MAX    8 /* at once: as many as tally hands over */
#define RANDOM      16
#define TEXT_MAX    1024
#define CONTENT_MAX LL_SPOOL_INLINE_MAX

enum due_step { DUE_FREE, DUE_DNS, DUE_ADDR, DUE_STORE };

struct due {
    struct post_dues *dues;
    uint8_t step;                /* enum due_step */
    uint8_t kind;                /* enum ll_due_kind */
    bool orphan;                 /* tally has gone */
    uint64_t id;                 /* of tally's message */
    uint64_t question, deadline; /* of the step */
    uint64_t most;
    int64_t begin, end;
    struct ll_arena arena;
    struct ll_slice domain, org, report;
    struct ll_buf to, content;
};

struct post_dues {
    struct post *post;
    struct due due[DUES_MAX];
};

/* ---- the end ------------------------------------------------------------------------------------
 */

static void finish(struct due *d, enum ll_due_result result, const char *why)
{
    struct ll_peer *tally = ll_proc_peer(d->dues->post->proc, LL_ROLE_TALLY, 0);
    struct ll_msg m = {.type = LL_MSG_DUE_DONE, .id = d->id, .fd = -1};

    m.due_done.result = (uint8_t)result;
    m.due_done.address = ll_buf_slice(&d->to);
    m.due_done.why = ll_slice_str(why);
    if (tally && !d->orphan)
        ll_msg_send(tally->ipc, &m);
    ll_arena_release(&d->arena);
    ll_buf_release(&d->to);
    ll_buf_release(&d->content);
    d->question = 0;
    d->step = DUE_FREE;
}

/* ---- the letter ---------------------------------------------------------------------------------
 */

static void head_of(struct due *d, struct ll_slice subject, struct ll_slice id, const char *type,
                    struct ll_buf *out)
{
    const char *host = d->dues->post->proc->conf->hostname;

    ll_buf_printf(out, "From: <postmaster@%s>\r\nTo: <%.*s>\r\n", host,
                  LL_FMT(ll_buf_slice(&d->to)));
    ll_msg_field_put(out, "Subject", subject, false);
    ll_msg_date_put(out, ll_unix_s());
    ll_buf_printf(out,
                  "Message-ID: <%.*s@%s>\r\nAuto-Submitted: auto-generated\r\n"
                  "MIME-Version: 1.0\r\nContent-Type: %s;\r\n boundary=\"%.*s\"\r\n\r\n--%.*s\r\n"
                  "Content-Type: text/plain; charset=us-ascii\r\n\r\n",
                  LL_FMT(id), host, type, LL_FMT(id), LL_FMT(id));
}

/* RFC 9990 3.5: names of letter and file. */
static void write_aggregate(struct due *d, struct ll_buf *out)
{
    const char *host = d->dues->post->proc->conf->hostname;
    struct ll_buf subject = LL_BUF(TEXT_MAX);

    ll_buf_printf(&subject, "Report Domain: %.*s Submitter: %s Report-ID: <%.*s@%s>",
                  LL_FMT(d->domain), host, LL_FMT(d->report), host);
    head_of(d, ll_buf_slice(&subject), d->report, "multipart/mixed", out);
    ll_buf_printf(out,
                  "This is a DMARC aggregate report (RFC 9990) for %.*s\r\nfrom %s.\r\n"
                  "--%.*s\r\nContent-Type: application/gzip\r\n"
                  "Content-Transfer-Encoding: base64\r\n"
                  "Content-Disposition: attachment;\r\n"
                  " filename=\"%s!%.*s!%lld!%lld!%.*s.xml.gz\"\r\n\r\n",
                  LL_FMT(d->domain), host, LL_FMT(d->report), host, LL_FMT(d->domain),
                  (long long)d->begin, (long long)d->end, LL_FMT(d->report));
    ll_mime_base64_encode(out, ll_buf_slice(&d->content));
    ll_buf_printf(out, "--%.*s--\r\n", LL_FMT(d->report));
    out->failed = out->failed || subject.failed;
    ll_buf_release(&subject);
}

/* RFC 6591 3.1: for people, for programs, and of the letter what we show. */
static void write_failure(struct due *d, struct ll_buf *out)
{
    struct ll_cursor c = ll_cursor(ll_buf_slice(&d->content));
    struct ll_slice feedback = ll_cur_str32(&c), header = ll_cur_str32(&c);
    struct ll_buf subject = LL_BUF(TEXT_MAX), id = LL_BUF(2 * RANDOM + 1);
    uint8_t random[RANDOM];

    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random) || c.failed)
        out->failed = true;
    ll_hex_encode(&id, ll_slice(random, sizeof(random)));
    ll_buf_printf(&subject, "DMARC failure report: a letter in the name of %.*s",
                  LL_FMT(d->domain));
    head_of(d, ll_buf_slice(&subject), ll_buf_slice(&id),
            "multipart/report; report-type=feedback-report", out);
    ll_buf_printf(out,
                  "A letter that says it is of %.*s did not prove it here.\r\n"
                  "This report (RFC 9991) is sent because the DMARC record asks for it (ruf).\r\n"
                  "--%.*s\r\nContent-Type: message/feedback-report\r\n\r\n%.*s"
                  "\r\n--%.*s\r\nContent-Type: text/rfc822-headers\r\n\r\n%.*s"
                  "\r\n--%.*s--\r\n",
                  LL_FMT(d->domain), LL_FMT(ll_buf_slice(&id)), LL_FMT(feedback),
                  LL_FMT(ll_buf_slice(&id)), LL_FMT(header), LL_FMT(ll_buf_slice(&id)));
    ll_buf_release(&subject);
    ll_buf_release(&id);
}

typedef void (*writer)(struct due *, struct ll_buf *);
static const writer writers[LL_DUE_KINDS] = {
    [LL_DUE_AGGREGATE] = write_aggregate, [LL_DUE_FAILURE] = write_failure};

/* ---- storing ------------------------------------------------------------------------------------
 */

static void on_stored(void *arg, enum ll_stored result, uint64_t id)
{
    struct due *d = arg;
    struct ll_buf letter = LL_BUF(32);

    if (result == LL_STORED) {
        ll_letter_id_format(&letter, id);
        ll_log(LL_LOG_INFO, "dmarc-report", LL_F("domain", d->domain),
               LL_F("to", ll_buf_slice(&d->to)), LL_F("id", ll_buf_slice(&letter)));
    }
    ll_buf_release(&letter);
    if (result == LL_STORED)
        finish(d, LL_DUE_SENT, "");
    else
        finish(d, LL_DUE_LATER, "the letter cannot be stored now");
}

static void store(struct due *d, uint8_t kind, struct ll_slice mailbox)
{
    struct post *post = d->dues->post;
    struct ll_buf content = LL_BUF(LL_SPOOL_INLINE_MAX), prepend = LL_BUF(LL_SPOOL_PREPEND_MAX);
    struct ll_rcpt rcpt = {.address = ll_buf_slice(&d->to),
                           .mailbox = mailbox,
                           .kind = kind,
                           .notify = LL_NOTIFY_NEVER};
    struct ll_letter l = {.arrived_ms = ll_unix_ms(),
                          .origin = LL_ORIGIN_POST,
                          .facts = LL_LIT("{\"dmarc_report\":true}"),
                          .rcpt = &rcpt,
                          .n_rcpt = 1};
    struct ll_slice header, body;
    const char *why = "the report is too long for a letter";
    enum ll_due_result result = LL_DUE_NEVER;

    writers[d->kind](d, &content);
    if (!content.failed && d->most > 0 && content.n > d->most) {
        why = "the report is longer than that address takes";
    } else if (!content.failed) {
        l.body = ll_buf_slice(&content);
        l.body_length = content.n;
        ll_msg_split(l.body, &header, &body);
        l.header_length = (uint32_t)(content.n - body.n);
        post_sign(post, l.body, &prepend);
        why = "the letter cannot be stored now";
        result = LL_DUE_LATER;
        if (post_received(post, &prepend, l.arrived_ms / 1000)) {
            l.prepend = ll_buf_slice(&prepend);
            d->step = DUE_STORE;
            why = NULL;
            ll_writer_append(post->writer, &l, NULL, on_stored, d);
        }
    }
    ll_buf_release(&content);
    ll_buf_release(&prepend);
    if (why)
        finish(d, result, why);
}

/* ---- asking -------------------------------------------------------------------------------------
 */

/* A question to dns or auth; false: they are away. */
static bool ask(struct due *d, enum due_step step, enum ll_role role, struct ll_msg *m)
{
    struct ll_proc *proc = d->dues->post->proc;
    struct ll_peer *peer = ll_proc_peer(proc, role, 0);

    d->step = (uint8_t)step;
    d->deadline = ll_now_ms() + POST_ASK_MS;
    d->question = m->id = ll_proc_id(proc);
    m->fd = -1;
    return peer && ll_msg_send(peer->ipc, m) == 0;
}

static struct ll_slice host_of(struct ll_slice address)
{
    return ll_slice_skip(address, ll_slice_rfind(address, '@') + 1);
}

static void ask_address(struct due *d)
{
    struct ll_msg m = {.type = LL_MSG_ADDR_ASK};

    m.addr_ask.address = ll_buf_slice(&d->to);
    if (!ask(d, DUE_ADDR, LL_ROLE_AUTH, &m))
        finish(d, LL_DUE_LATER, "addresses cannot be looked up now");
}

/* RFC 9990 4, steps 1 to 4: the question whether another organisation wants reports about that
 * domain. */
static void ask_wanted(struct due *d)
{
    struct ll_buf text = LL_BUF(2 * LL_DNS_NAME_MAX + 32);
    struct ll_msg m = {.type = LL_MSG_DNS_ASK};
    struct ll_dns_name name;

    ll_buf_printf(&text, "%.*s._report._dmarc.%.*s", LL_FMT(d->domain),
                  LL_FMT(host_of(ll_buf_slice(&d->to))));
    if (text.failed || !ll_dns_name_parse(ll_buf_slice(&text), &name)) {
        finish(d, LL_DUE_NEVER, "the name of the record that would allow it is too long");
    } else {
        m.dns_ask.rtype = LL_DNS_TXT;
        m.dns_ask.name = ll_dns_name_slice(&name);
        if (!ask(d, DUE_DNS, LL_ROLE_DNS, &m))
            finish(d, LL_DUE_LATER, "DNS cannot be asked now");
    }
    ll_buf_release(&text);
}

/* The address that a URI names, if it is one that we can write to. */
static bool address_of(struct ll_slice uri, struct ll_buf *out, struct ll_dns_name *host)
{
    struct ll_mailbox mailbox;

    ll_buf_clear(out);
    return ll_dmarc_report_mailto(uri, out) &&
           ll_mailbox_parse(ll_buf_slice(out), false, &mailbox) == LL_ADDR_OK &&
           ll_dns_name_of(host_of(ll_buf_slice(out)), host);
}

/* Step 8 of RFC 7489 7.1, kept by RFC 9990 4: whoever takes the reports may name another address of
 * the same host; one elsewhere means that nothing is sent at all. */
static const char *replace(struct due *d, struct ll_slice uris)
{
    struct ll_slice uri;
    struct ll_buf other = LL_BUF(LL_MAILBOX_MAX);
    const char *why = NULL;
    uint64_t most;

    for (bool first = true; !why && ll_dmarc_uri_next_sized(&uris, &uri, &most); first = false) {
        struct ll_dns_name host;

        if (!address_of(uri, &other, &host) ||
            !ll_slice_caseeq(host_of(ll_buf_slice(&other)), host_of(ll_buf_slice(&d->to)))) {
            why = "the record that allows it names an address of another host";
        } else if (first) {
            d->most = most;
            ll_buf_clear(&d->to);
            ll_buf_put_slice(&d->to, ll_buf_slice(&other));
        }
    }
    ll_buf_release(&other);
    return why;
}

/* Steps 5 to 8: NULL: it may go to d->to. */
static const char *judge(struct due *d, const struct ll_dns_answer *a)
{
    const char *why = "that address has not said that it wants them (RFC 9990 4)";

    for (size_t i = 0; i < a->n_rdata; i++) {
        struct ll_buf text = LL_BUF(65536);
        struct ll_dmarc_record record;

        if (ll_dns_rdata_txt(a->rdata[i], &text) &&
            ll_dmarc_record_parse(ll_buf_slice(&text), &record))
            why = replace(d, d->kind == LL_DUE_AGGREGATE ? record.rua : record.ruf);
        ll_buf_release(&text);
        if (!why)
            break;
    }
    return why;
}

static struct due *asker(struct post_dues *p, enum due_step step, uint64_t question)
{
    for (size_t i = 0; i < DUES_MAX; i++)
        if (p->due[i].step == step && p->due[i].question == question)
            return &p->due[i];
    return NULL;
}

int post_dues_dns(struct post_dues *p, const struct ll_msg *m)
{
    struct due *d = asker(p, DUE_DNS, m->id);
    struct ll_dns_answer a;
    struct ll_arena arena;
    const char *why;
    bool good;

    if (!d)
        return 0; /* an answer to one that was given up */
    ll_arena_init(&arena, 4u << 20);
    good = ll_dns_answer_decode(m->dns_answer.answer, &arena, &a);
    if (good && ll_dns_later(a.status))
        finish(d, LL_DUE_LATER, "DNS does not say now whether that address wants them");
    else if (good && (why = judge(d, &a)))
        finish(d, LL_DUE_NEVER, why);
    else if (good)
        ask_address(d);
    ll_arena_release(&arena);
    return good ? 0 : -1;
}

void post_dues_addr(struct post_dues *p, const struct ll_msg *m)
{
    struct due *d = asker(p, DUE_ADDR, m->id);
    uint8_t kind;

    if (!d)
        return;
    if (post_rcpt_kind(m->addr_answer.kind, &kind))
        store(d, kind, m->addr_answer.mailbox);
    else if (m->addr_answer.kind == LL_ADDR_LATER)
        finish(d, LL_DUE_LATER, "addresses cannot be looked up now");
    else
        finish(d, LL_DUE_NEVER, "no such recipient here");
}

/* ---- from tally ---------------------------------------------------------------------------------
 */

static bool load(int fd, struct ll_buf *out)
{
    for (off_t at = 0;;) {
        uint8_t *p = ll_buf_room(out, 4096);
        ssize_t n = p ? pread(fd, p, 4096, at) : -1;

        if (n < 0 && errno == EINTR && p)
            continue;
        if (n <= 0)
            return n == 0;
        ll_buf_grew(out, (size_t)n);
        at += n;
    }
}

static bool fill(struct due *d, const struct ll_msg *m)
{
    struct ll_dns_name name;

    d->id = m->id;
    d->kind = m->due.kind;
    d->most = m->due.most;
    d->begin = (int64_t)m->due.begin;
    d->end = (int64_t)m->due.end;
    d->orphan = false;
    ll_arena_init(&d->arena, 65536);
    ll_buf_init(&d->to, LL_MAILBOX_MAX);
    ll_buf_init(&d->content, CONTENT_MAX + 4096);
    d->domain = ll_arena_dup(&d->arena, m->due.domain);
    d->org = ll_arena_dup(&d->arena, m->due.org);
    d->report = ll_arena_dup(&d->arena, m->due.report);
    return d->domain.p && d->org.p && d->report.p && ll_dns_name_parse(d->domain, &name) &&
           ll_dns_name_parse(d->org, &name);
}

int post_due(struct ll_peer *peer, const struct ll_msg *m)
{
    struct post_dues *p = ((struct post *)peer->proc->state)->dues;
    struct due *d = asker(p, DUE_FREE, 0);
    struct ll_dns_name host;
    bool loaded;

    if (!d || m->due.kind >= LL_COUNT(writers)) {
        close(m->fd);
        return -1; /* tally gives fewer at a time, and no others */
    }
    if (!fill(d, m)) {
        close(m->fd);
        return -1;
    }
    loaded = load(m->fd, &d->content);
    close(m->fd);
    if (!loaded)
        finish(d, LL_DUE_NEVER, "the report is too long for a letter");
    else if (!address_of(m->due.uri, &d->to, &host))
        finish(d, LL_DUE_NEVER, "its address is none");
    else if (ll_dns_name_under(ll_dns_name_slice(&host), d->org))
        ask_address(d);
    else
        ask_wanted(d);
    return 0;
}

/* ---- life ---------------------------------------------------------------------------------------
 */

struct post_dues *post_dues_new(struct post *post)
{
    struct post_dues *p = calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    p->post = post;
    for (size_t i = 0; i < DUES_MAX; i++)
        p->due[i].dues = p;
    return p;
}

void post_dues_tick(struct post_dues *p)
{
    uint64_t now = ll_now_ms();

    for (size_t i = 0; i < DUES_MAX; i++)
        if ((p->due[i].step == DUE_DNS || p->due[i].step == DUE_ADDR) && now >= p->due[i].deadline)
            finish(&p->due[i], LL_DUE_LATER, "no answer in time");
}

void post_dues_tally_down(struct post_dues *p)
{
    for (size_t i = 0; i < DUES_MAX; i++) {
        p->due[i].orphan = true;
        if (p->due[i].step == DUE_DNS || p->due[i].step == DUE_ADDR)
            finish(&p->due[i], LL_DUE_LATER, "");
    }
}
