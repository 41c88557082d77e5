/*
 * DMARC aggregate reports that we send (RFC 9990). front-mx tells what it found of each letter;
 * equal findings are counted here, in memory, and once in dmarc_report_interval each domain that
 * asks for reports (rua) gets one: gzipped XML in a letter that starts here, signed. One report is
 * on its way at a time: its address is checked (RFC 9990 4: another domain must want them), looked
 * up, and the letter goes to the journal. What cannot be sent now is dropped: tomorrow there is
 * another report.
 */
#include "daemon/post/post.h"

#include "io/clock.h"
#include "io/log.h"
#include "letterlock/addr.h"
#include "letterlock/dmarc_report.h"
#include "letterlock/dns.h"
#include "letterlock/mime.h"
#include "letterlock/msg.h"

#include <stdlib.h>
#include <sys/random.h>
#include <zlib.h>

#define TOPICS_MAX  1000        /* domains with a report a period */
#define ROWS_MAX    50000       /* of all reports */
#define TOPIC_ROWS  2000        /* of one: its letter fits into the journal without a file */
#define OCTETS_MAX  (32u << 20) /* of all rows */
#define RUA_MAX     4096        /* octets of a domain's list of addresses */
#define BUCKETS     4096
#define URIS_MAX    2 /* addresses of one domain that get its report */
#define XML_MAX     (8u << 20)
#define GZIP_FORMAT 31 /* zlib's windowBits for gzip with the largest window */
#define RANDOM      16
#define TEXT_MAX    600
#define FACTS_MAX   1024

struct seen {
    struct seen *next_of_topic, *next_of_bucket;
    const struct topic *topic;
    uint64_t count;
    size_t n;
    uint8_t row[];
};

struct topic {
    TAILQ_ENTRY(topic) all;
    struct ll_buf domain, org, policy, rua;
    struct seen *rows;
    size_t n_rows;
};
TAILQ_HEAD(topics, topic);

enum report_step { REPORT_IDLE, REPORT_DNS, REPORT_ADDR, REPORT_STORE };

struct post_dmarc {
    struct post *post;
    struct topics topics; /* of this period */
    struct topics due;    /* of the last one; the first is on its way */
    struct seen *buckets[BUCKETS];
    size_t n_topics, n_rows, octets, dropped;
    int64_t begin, due_begin, due_end; /* seconds since 1970 */
    uint8_t step;                      /* enum report_step */
    uint64_t question, deadline;       /* of the step */
    struct ll_slice uris;              /* of the first due topic: those not tried yet */
    unsigned tried;
    struct ll_buf to;
};

/* ---- gathering ----------------------------------------------------------------------------------
 */

static void topic_free(struct topic *t)
{
    struct seen *s, *next;

    for (s = t->rows; s; s = next) {
        next = s->next_of_topic;
        free(s);
    }
    ll_buf_release(&t->domain);
    ll_buf_release(&t->org);
    ll_buf_release(&t->policy);
    ll_buf_release(&t->rua);
    free(t);
}

static struct topic *topic_of(struct post_dmarc *d, struct ll_slice domain)
{
    struct topic *t;

    TAILQ_FOREACH(t, &d->topics, all)
    if (ll_slice_eq(ll_buf_slice(&t->domain), domain))
        return t;
    if (d->n_topics >= TOPICS_MAX || !(t = calloc(1, sizeof(*t))))
        return NULL;
    ll_buf_init(&t->domain, LL_DNS_NAME_MAX);
    ll_buf_init(&t->org, LL_DNS_NAME_MAX);
    ll_buf_init(&t->policy, LL_DMARC_ROW_MAX);
    ll_buf_init(&t->rua, RUA_MAX);
    ll_buf_put_slice(&t->domain, domain);
    TAILQ_INSERT_TAIL(&d->topics, t, all);
    d->n_topics++;
    return t;
}

static bool count_row(struct post_dmarc *d, struct topic *t, struct ll_slice row)
{
    struct seen **bucket = &d->buckets[ll_crc32c(0, row.p, row.n) % BUCKETS], *s;

    for (s = *bucket; s; s = s->next_of_bucket) {
        if (s->topic == t && ll_slice_eq(ll_slice(s->row, s->n), row)) {
            s->count++;
            return true;
        }
    }
    if (d->n_rows >= ROWS_MAX || t->n_rows >= TOPIC_ROWS || d->octets + row.n > OCTETS_MAX ||
        !(s = malloc(sizeof(*s) + row.n)))
        return false;
    *s = (struct seen){t->rows, *bucket, t, 1, row.n};
    memcpy(s->row, row.p, row.n);
    t->rows = *bucket = s;
    t->n_rows++;
    d->n_rows++;
    d->octets += row.n;
    return true;
}

int post_dmarc_seen(struct post_dmarc *d, const struct ll_m_dmarc_seen *m)
{
    struct ll_dns_name domain, org;
    struct topic *t;

    if (!ll_dns_name_parse(m->domain, &domain) || !ll_dns_name_parse(m->org, &org) ||
        !ll_dmarc_report_is_policy(m->policy) || !ll_dmarc_report_is_row(m->row))
        return -1;
    if (!d->post->proc->conf->dmarc_reports)
        return 0;
    t = topic_of(d, ll_dns_name_slice(&domain));
    if (!t || !count_row(d, t, m->row)) {
        d->dropped++;
        return 0;
    }
    /* The last configuration is the one that is told (RFC 9990 3.1). */
    ll_buf_clear(&t->org);
    ll_buf_put_slice(&t->org, ll_dns_name_slice(&org));
    ll_buf_clear(&t->policy);
    ll_buf_put_slice(&t->policy, m->policy);
    ll_buf_clear(&t->rua);
    ll_buf_put_slice(&t->rua, m->rua);
    return 0;
}

/* ---- the letter ---------------------------------------------------------------------------------
 */

static bool gzip(struct ll_slice in, struct ll_buf *out)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)in.p, .avail_in = (uInt)in.n};
    size_t room;
    uint8_t *p;
    int rc;

    if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP_FORMAT, 8, Z_DEFAULT_STRATEGY) !=
        Z_OK)
        return false;
    room = deflateBound(&z, (uLong)in.n);
    p = ll_buf_room(out, room);
    z.next_out = p;
    z.avail_out = (uInt)room;
    rc = p ? deflate(&z, Z_FINISH) : Z_BUF_ERROR;
    if (rc == Z_STREAM_END)
        ll_buf_grew(out, room - z.avail_out);
    deflateEnd(&z);
    return rc == Z_STREAM_END;
}

static bool write_xml(struct post_dmarc *d, const struct topic *t, struct ll_slice id,
                      struct ll_slice from, struct ll_buf *out)
{
    struct ll_dmarc_report r = {.org = ll_slice_str(d->post->proc->conf->hostname),
                                .email = from,
                                .id = id,
                                .generator = LL_LIT("letterlock"),
                                .begin = d->due_begin,
                                .end = d->due_end - 1,
                                .domain = ll_buf_slice(&t->domain),
                                .policy = ll_buf_slice(&t->policy)};

    ll_dmarc_report_begin(&r, out);
    for (const struct seen *s = t->rows; s; s = s->next_of_topic)
        ll_dmarc_report_row(ll_slice(s->row, s->n), s->count, out);
    ll_dmarc_report_end(out);
    return !out->failed;
}

/* What is named in a report and its letter. id serves as Message-ID, boundary and file name too. */
struct report_names {
    struct ll_buf id, from, file, subject;
};

static void names_make(struct post_dmarc *d, const struct topic *t, struct report_names *n)
{
    const char *host = d->post->proc->conf->hostname;
    uint8_t random[RANDOM] = {0};

    n->id = n->from = n->file = n->subject = LL_BUF(TEXT_MAX);
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        n->id.failed = true;
    ll_hex_encode(&n->id, ll_slice(random, sizeof(random)));
    ll_buf_printf(&n->from, "postmaster@%s", host);
    ll_buf_printf(&n->file, "%s!%.*s!%lld!%lld!%.*s.xml.gz", host, LL_FMT(ll_buf_slice(&t->domain)),
                  (long long)d->due_begin, (long long)(d->due_end - 1),
                  LL_FMT(ll_buf_slice(&n->id)));
    ll_buf_printf(&n->subject, "Report Domain: %.*s Submitter: %s Report-ID: <%.*s@%s>",
                  LL_FMT(ll_buf_slice(&t->domain)), host, LL_FMT(ll_buf_slice(&n->id)), host);
}

static void write_letter(struct post_dmarc *d, const struct topic *t, const struct report_names *n,
                         struct ll_slice gz, struct ll_buf *out)
{
    const char *host = d->post->proc->conf->hostname;
    struct ll_slice id = ll_buf_slice(&n->id), file = ll_buf_slice(&n->file);

    ll_buf_printf(out, "From: <%.*s>\r\nTo: <%.*s>\r\n", LL_FMT(ll_buf_slice(&n->from)),
                  LL_FMT(ll_buf_slice(&d->to)));
    ll_msg_field_put(out, "Subject", ll_buf_slice(&n->subject), false);
    ll_msg_date_put(out, ll_unix_s());
    ll_buf_printf(
        out,
        "Message-ID: <%.*s@%s>\r\nAuto-Submitted: auto-generated\r\n"
        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n boundary=\"%.*s\"\r\n\r\n",
        LL_FMT(id), host, LL_FMT(id));
    ll_buf_printf(out,
                  "--%.*s\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n"
                  "This is a DMARC aggregate report (RFC 9990) for %.*s\r\nfrom %s.\r\n"
                  "--%.*s\r\nContent-Type: application/gzip\r\n"
                  "Content-Transfer-Encoding: base64\r\n"
                  "Content-Disposition: attachment;\r\n filename=\"%.*s\"\r\n\r\n",
                  LL_FMT(id), LL_FMT(ll_buf_slice(&t->domain)), host, LL_FMT(id), LL_FMT(file));
    ll_mime_base64_encode(out, gz);
    ll_buf_printf(out, "--%.*s--\r\n", LL_FMT(id));
}

static bool build(struct post_dmarc *d, const struct topic *t, struct ll_buf *out)
{
    struct ll_buf xml = LL_BUF(XML_MAX), gz = LL_BUF(XML_MAX + 65536);
    struct report_names n;
    bool ok;

    names_make(d, t, &n);
    ok = !n.id.failed && !n.file.failed && !n.subject.failed &&
         write_xml(d, t, ll_buf_slice(&n.id), ll_buf_slice(&n.from), &xml) &&
         gzip(ll_buf_slice(&xml), &gz);
    if (ok)
        write_letter(d, t, &n, ll_buf_slice(&gz), out);
    ll_buf_release(&n.id);
    ll_buf_release(&n.from);
    ll_buf_release(&n.file);
    ll_buf_release(&n.subject);
    ll_buf_release(&xml);
    ll_buf_release(&gz);
    return ok && !out->failed;
}

/* ---- sending ------------------------------------------------------------------------------------
 */

static void advance(struct post_dmarc *d);

static void tell(struct post_dmarc *d, const char *why)
{
    const struct topic *t = TAILQ_FIRST(&d->due);

    ll_log(why ? LL_LOG_WARNING : LL_LOG_INFO, why ? "dmarc-report-dropped" : "dmarc-report",
           LL_F("domain", ll_buf_slice(&t->domain)), LL_F("to", ll_buf_slice(&d->to)),
           LL_FU("rows", t->n_rows), LL_FS("why", why ? why : ""));
}

static void drop(struct post_dmarc *d, const char *why)
{
    tell(d, why);
    advance(d);
}

static void on_stored(void *arg, enum ll_stored result, uint64_t id)
{
    struct post_dmarc *d = arg;

    (void)id;
    if (d->step != REPORT_STORE)
        return;
    tell(d, result == LL_STORED ? NULL : "the letter cannot be stored");
    advance(d);
}

static void send_to(struct post_dmarc *d, uint8_t kind, struct ll_slice mailbox)
{
    struct ll_buf content = LL_BUF(LL_SPOOL_INLINE_MAX), prepend = LL_BUF(LL_SPOOL_PREPEND_MAX);
    struct ll_rcpt rcpt = {.address = ll_buf_slice(&d->to),
                           .mailbox = kind == LL_RCPT_MAILBOX ? mailbox : LL_LIT(""),
                           .kind = kind,
                           .notify = LL_NOTIFY_NEVER};
    struct ll_letter l = {.arrived_ms = ll_unix_ms(),
                          .origin = LL_ORIGIN_POST,
                          .facts = LL_LIT("{\"dmarc_report\":true}"),
                          .rcpt = &rcpt,
                          .n_rcpt = 1};
    bool ok = build(d, TAILQ_FIRST(&d->due), &content);
    struct ll_slice header, body;

    if (ok) {
        l.body = ll_buf_slice(&content);
        l.body_length = content.n;
        ll_msg_split(l.body, &header, &body);
        l.header_length = (uint32_t)(content.n - body.n);
        post_sign(d->post, l.body, &prepend);
        ok = post_received(d->post, &prepend, l.arrived_ms / 1000);
    }
    if (ok) {
        l.prepend = ll_buf_slice(&prepend);
        d->step = REPORT_STORE;
        ll_writer_append(d->post->writer, &l, NULL, on_stored, d);
    }
    ll_buf_release(&content);
    ll_buf_release(&prepend);
    if (!ok)
        drop(d, "the report is too long, or cannot be made now");
}

/* A question to dns or auth; false: they are away. */
static bool ask(struct post_dmarc *d, enum report_step step, enum ll_role role, struct ll_msg *m)
{
    struct ll_peer *peer = ll_proc_peer(d->post->proc, role, 0);

    d->step = (uint8_t)step;
    d->deadline = ll_now_ms() + POST_ASK_MS;
    d->question = m->id = ll_proc_id(d->post->proc);
    m->fd = -1;
    return peer && ll_msg_send(peer->ipc, m) == 0;
}

static bool ask_address(struct post_dmarc *d)
{
    struct ll_msg m = {.type = LL_MSG_ADDR_ASK};

    m.addr_ask.address = ll_buf_slice(&d->to);
    return ask(d, REPORT_ADDR, LL_ROLE_AUTH, &m);
}

static struct ll_slice host_of(const struct post_dmarc *d)
{
    struct ll_slice to = ll_buf_slice(&d->to);

    return ll_slice_skip(to, ll_slice_rfind(to, '@') + 1);
}

/* RFC 9990 4: another organisation must say that it wants the reports of that domain. */
static bool ask_wanted(struct post_dmarc *d, const struct topic *t)
{
    struct ll_buf text = LL_BUF(2 * LL_DNS_NAME_MAX + 32);
    struct ll_msg m = {.type = LL_MSG_DNS_ASK};
    struct ll_dns_name name;
    bool ok;

    ll_buf_printf(&text, "%.*s._report._dmarc.%.*s", LL_FMT(ll_buf_slice(&t->domain)),
                  LL_FMT(host_of(d)));
    ok = !text.failed && ll_dns_name_parse(ll_buf_slice(&text), &name);
    m.dns_ask.rtype = LL_DNS_TXT;
    m.dns_ask.name = ok ? ll_dns_name_slice(&name) : LL_LIT("");
    ok = ok && ask(d, REPORT_DNS, LL_ROLE_DNS, &m);
    ll_buf_release(&text);
    return ok;
}

/* Begins with the next address of the first due topic; false: it is not for us to use. */
static bool begin_uri(struct post_dmarc *d, const struct topic *t, struct ll_slice uri)
{
    struct ll_dns_name host;
    struct ll_mailbox mailbox;

    ll_buf_clear(&d->to);
    if (!ll_dmarc_report_mailto(uri, &d->to) ||
        ll_mailbox_parse(ll_buf_slice(&d->to), false, &mailbox) != LL_ADDR_OK ||
        !ll_dns_name_of(host_of(d), &host))
        return false;
    d->tried++;
    if (ll_dns_name_under(ll_dns_name_slice(&host), ll_buf_slice(&t->org)) ? ask_address(d)
                                                                           : ask_wanted(d, t))
        return true;
    tell(d, "addresses cannot be looked up now");
    return false;
}

static void advance(struct post_dmarc *d)
{
    struct ll_slice uri;
    struct topic *t;

    d->step = REPORT_IDLE;
    while ((t = TAILQ_FIRST(&d->due))) {
        while (d->tried < URIS_MAX && ll_dmarc_uri_next(&d->uris, &uri))
            if (begin_uri(d, t, uri))
                return;
        TAILQ_REMOVE(&d->due, t, all);
        topic_free(t);
        t = TAILQ_FIRST(&d->due);
        d->tried = 0;
        d->uris = t ? ll_buf_slice(&t->rua) : LL_LIT("");
    }
}

static bool says_wanted(const struct ll_dns_answer *a)
{
    struct ll_dmarc_record record;
    bool wanted = false;

    for (size_t i = 0; i < a->n_rdata && !wanted; i++) {
        struct ll_buf text = LL_BUF(65536);

        wanted = ll_dns_rdata_txt(a->rdata[i], &text) &&
                 ll_dmarc_record_parse(ll_buf_slice(&text), &record);
        ll_buf_release(&text);
    }
    return wanted;
}

int post_dmarc_dns(struct post_dmarc *d, const struct ll_msg *m)
{
    struct ll_dns_answer a;
    struct ll_arena arena;
    bool good, wanted;

    if (d->step != REPORT_DNS || m->id != d->question)
        return 0; /* an answer to one that was given up */
    ll_arena_init(&arena, 4u << 20);
    good = ll_dns_answer_decode(m->dns_answer.answer, &arena, &a);
    wanted = good && says_wanted(&a);
    ll_arena_release(&arena);
    if (!good)
        return -1;
    if (!wanted)
        drop(d, "that address has not said that it wants them (RFC 9990 4)");
    else if (!ask_address(d))
        drop(d, "addresses cannot be looked up now");
    return 0;
}

void post_dmarc_addr(struct post_dmarc *d, const struct ll_msg *m)
{
    uint8_t kind;

    if (d->step != REPORT_ADDR || m->id != d->question)
        return;
    if (post_rcpt_kind(m->addr_answer.kind, &kind))
        send_to(d, kind, m->addr_answer.mailbox);
    else
        drop(d, "no such recipient here, or it cannot be looked up now");
}

/* ---- life ---------------------------------------------------------------------------------------
 */

struct post_dmarc *post_dmarc_new(struct post *post)
{
    struct post_dmarc *d = calloc(1, sizeof(*d));

    if (!d)
        return NULL;
    d->post = post;
    d->begin = ll_unix_s();
    ll_buf_init(&d->to, LL_MAILBOX_MAX);
    TAILQ_INIT(&d->topics);
    TAILQ_INIT(&d->due);
    return d;
}

/* The period is over: what was gathered is due. Periods end at whole multiples since 1970: that of
 * a day is the UTC day. */
static void end_period(struct post_dmarc *d, int64_t now)
{
    struct topic *t;

    if (d->dropped > 0)
        ll_log(LL_LOG_WARNING, "dmarc-reports-full", LL_FU("letters", d->dropped));
    TAILQ_CONCAT(&d->due, &d->topics, all);
    memset(d->buckets, 0, sizeof(d->buckets));
    d->n_topics = d->n_rows = d->octets = d->dropped = 0;
    d->due_begin = d->begin;
    d->due_end = d->begin = now;
    t = TAILQ_FIRST(&d->due);
    d->tried = 0;
    d->uris = t ? ll_buf_slice(&t->rua) : LL_LIT("");
}

void post_dmarc_tick(struct post_dmarc *d)
{
    int64_t every = (int64_t)d->post->proc->conf->dmarc_report_interval, now = ll_unix_s();

    if (d->step != REPORT_IDLE && d->step != REPORT_STORE && ll_now_ms() >= d->deadline)
        drop(d, "no answer in time");
    if (d->step == REPORT_IDLE && every > 0 && now / every > d->begin / every) {
        end_period(d, now - now % every);
        advance(d);
    }
}
