/*
 * Reports that are due, handed to post one address at a time. What cannot be sent now is tried
 * again as letters are (retry_first, retry_max), for LL_REPORT_OUT_LIFE_S; a report is forgotten
 * when post has its letter in the journal. A crash in between sends it again under the same
 * Report-ID.
 */
#include "daemon/tally/tally.h"

#include "io/clock.h"
#include "io/log.h"
#include "letterlock/dns.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>
#include <zlib.h>

#define XML_MAX     (8u << 20)
#define GZIP_FORMAT 31 /* zlib's windowBits for gzip with the largest window */
#define WAIT_RATE_S 600
#define HOUR_S      3600

/* ---- content ------------------------------------------------------------------------------------
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

static bool write_xml(struct tally *t, const struct ll_report_due *d, struct ll_buf *out,
                      struct ll_buf *err)
{
    const char *host = t->proc->conf->hostname;
    struct ll_buf from = LL_BUF(512);
    struct ll_dmarc_report r = {.org = ll_slice_str(host),
                                .id = d->report,
                                .generator = LL_LIT("letterlock"),
                                .begin = d->begin,
                                .end = d->end - 1,
                                .domain = d->domain,
                                .policy = d->policy};
    struct ll_slice row;
    uint64_t letters;
    bool ok = ll_dmarc_report_is_policy(d->policy) && ll_report_out_rows(t->out, d->topic, err);

    ll_buf_printf(&from, "postmaster@%s", host);
    r.email = ll_buf_slice(&from);
    ll_dmarc_report_begin(&r, out);
    while (ok && ll_report_out_next_row(t->out, &row, &letters))
        if (ll_dmarc_report_is_row(row))
            ll_dmarc_report_row(row, letters, out);
    ll_dmarc_report_end(out);
    ll_buf_release(&from);
    return ok && !out->failed;
}

static int share(struct ll_slice s)
{
    int fd = memfd_create("report", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    while (fd >= 0 && s.n > 0) {
        ssize_t n = write(fd, s.p, s.n);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        s = ll_slice_skip(s, (size_t)n);
    }
    if (fd >= 0 && s.n == 0 &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* What post makes the letter from, as a descriptor; -1: it cannot be made. */
static int content_of(struct tally *t, const struct ll_report_due *d, struct ll_buf *err)
{
    struct ll_buf xml = LL_BUF(XML_MAX), gz = LL_BUF(XML_MAX + 65536);
    int fd = -1;

    if (d->kind == LL_DUE_FAILURE)
        return share(d->content);
    if (write_xml(t, d, &xml, err) && gzip(ll_buf_slice(&xml), &gz))
        fd = share(ll_buf_slice(&gz));
    ll_buf_release(&xml);
    ll_buf_release(&gz);
    return fd;
}

/* ---- failure reports ----------------------------------------------------------------------------
 */

static bool too_many(struct tally *t, struct ll_slice domain, struct ll_buf *err)
{
    int64_t since = ll_unix_s() - HOUR_S;

    return ll_report_out_failures(t->out, domain, since, err) >= TALLY_FAILURES_DOMAIN ||
           ll_report_out_failures(t->out, LL_LIT(""), since, err) >= TALLY_FAILURES_ALL ||
           err->n > 0;
}

/* Beyond the rates a letter is in the aggregate report alone (RFC 9991: rate limiting). */
int due_failed(struct ll_peer *peer, const struct ll_msg *m)
{
    struct tally *t = peer->proc->state;
    const struct ll_m_dmarc_failed *f = &m->dmarc_failed;
    struct ll_buf content = LL_BUF(LL_IPC_FRAME_MAX), err = LL_BUF(4096);
    struct ll_dns_name domain, org;

    if (!ll_dns_name_parse(f->domain, &domain) || !ll_dns_name_parse(f->org, &org) ||
        f->ruf.n > TALLY_RUA_MAX)
        return -1;
    if (!t->proc->conf->failure_reports || !tally_out(t))
        return 0;
    ll_buf_str32(&content, f->feedback);
    ll_buf_str32(&content, f->header);
    if (!content.failed && !too_many(t, ll_dns_name_slice(&domain), &err))
        ll_report_out_failed(t->out, ll_dns_name_slice(&domain), ll_dns_name_slice(&org), f->ruf,
                             ll_buf_slice(&content), ll_unix_s(), &err);
    tally_out_failed(t, &err);
    ll_buf_release(&content);
    ll_buf_release(&err);
    due_go(t);
    return 0;
}

/* ---- the end of one -----------------------------------------------------------------------------
 */

static void slot_free(struct due_slot *s)
{
    ll_arena_release(&s->arena);
    s->due.id = 0;
}

static void over(struct tally *t, struct due_slot *s, struct ll_slice address, const char *why)
{
    struct ll_buf err = LL_BUF(4096);

    if (why[0])
        ll_log(LL_LOG_WARNING, "dmarc-report-dropped", LL_F("domain", s->due.domain),
               LL_F("to", address.n ? address : s->due.uri), LL_FS("why", why));
    if (tally_out(t))
        ll_report_out_done(t->out, &s->due, address.n ? address : s->due.uri,
                           why[0] ? "dropped" : "sent", ll_slice_str(why), ll_unix_s(), &err);
    tally_out_failed(t, &err);
    ll_buf_release(&err);
    slot_free(s);
}

static void again(struct tally *t, struct due_slot *s, struct ll_slice address, const char *why)
{
    const struct ll_conf *c = t->proc->conf;
    struct ll_retry_conf retry = {c->retry_first, c->retry_max, LL_REPORT_OUT_LIFE_S};
    int64_t now = ll_unix_s(), wait;
    uint64_t random = 0;
    struct ll_buf err = LL_BUF(4096), text = LL_BUF(600);

    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
        random = ll_now_ms();
    wait = ll_retry_wait(&retry, (uint32_t)s->due.attempts + 1,
                         now - (s->due.expires - LL_REPORT_OUT_LIFE_S), random);
    if (wait < 0) {
        ll_buf_printf(&text, "tried for two days; last: %s", why);
        over(t, s, address, ll_buf_str(&text) ? ll_buf_str(&text) : why);
    } else {
        if (tally_out(t))
            ll_report_out_later(t->out, s->due.id, now + wait, true, &err);
        tally_out_failed(t, &err);
        slot_free(s);
    }
    ll_buf_release(&err);
    ll_buf_release(&text);
}

int due_done(struct ll_peer *peer, const struct ll_msg *m)
{
    struct tally *t = peer->proc->state;
    struct due_slot *s = t->due;
    struct ll_buf why = LL_BUF(600);

    while (s < t->due + TALLY_DUE_MAX && !(s->due.id && s->question == m->id))
        s++;
    if (s == t->due + TALLY_DUE_MAX)
        return 0; /* of one that was given up */
    ll_buf_put_slice(&why, m->due_done.why);
    if (m->due_done.result >= LL_DUE_RESULTS || !ll_buf_str(&why)) {
        ll_buf_release(&why);
        return -1;
    }
    if (m->due_done.result == LL_DUE_LATER)
        again(t, s, m->due_done.address, ll_buf_str(&why));
    else
        over(t, s, m->due_done.address, m->due_done.result == LL_DUE_SENT ? "" : ll_buf_str(&why));
    ll_buf_release(&why);
    due_go(t);
    return 0;
}

/* ---- the next one -------------------------------------------------------------------------------
 */

/* Has the host of that address had its share of this hour? Then its reports wait. */
static bool is_full(struct tally *t, const struct ll_report_due *d, struct ll_buf *err)
{
    struct ll_buf address = LL_BUF(1024);
    struct ll_slice a;
    int64_t n = 0;

    if (d->kind == LL_DUE_AGGREGATE && ll_dmarc_report_mailto(d->uri, &address)) {
        a = ll_buf_slice(&address);
        n = ll_report_out_sent(t->out, ll_slice_skip(a, ll_slice_rfind(a, '@') + 1),
                               ll_unix_s() - HOUR_S, err);
    }
    ll_buf_release(&address);
    return n >= TALLY_HOST_HOUR;
}

static bool is_off(const struct ll_conf *c, const struct ll_report_due *d)
{
    bool off = d->kind == LL_DUE_AGGREGATE ? !c->dmarc_reports : !c->failure_reports;

    for (size_t i = 0; !off && c->dmarc_reports_except[i]; i++) {
        struct ll_dns_name name;

        off = ll_dns_name_parse(ll_slice_str(c->dmarc_reports_except[i]), &name) &&
              ll_dns_name_under(d->domain, ll_dns_name_slice(&name));
    }
    return off;
}

static bool hand_over(struct tally *t, struct due_slot *s, struct ll_peer *post, struct ll_buf *err)
{
    struct ll_msg m = {.type = LL_MSG_DUE};
    const struct ll_report_due *d = &s->due;
    int r;

    m.fd = content_of(t, d, err);
    if (m.fd < 0)
        return false;
    m.id = s->question = ll_proc_id(t->proc);
    m.due.kind = d->kind;
    m.due.domain = d->domain;
    m.due.org = d->org;
    m.due.uri = d->uri;
    m.due.most = d->most;
    m.due.report = d->report;
    m.due.begin = (uint64_t)d->begin;
    m.due.end = (uint64_t)(d->end - 1);
    r = ll_msg_send(post->ipc, &m);
    close(m.fd);
    return r == 0;
}

/* Fills one free slot; false: nothing is due, or not now. */
static bool take_one(struct tally *t, struct due_slot *s, struct ll_peer *post, struct ll_buf *err)
{
    int64_t busy[TALLY_DUE_MAX], now = ll_unix_s();
    size_t n = 0;

    for (size_t i = 0; i < TALLY_DUE_MAX; i++)
        if (t->due[i].due.id)
            busy[n++] = t->due[i].due.id;
    ll_arena_init(&s->arena, 1u << 20);
    if (ll_report_out_next(t->out, now, busy, n, &s->arena, &s->due, err) != 1) {
        slot_free(s);
        return false;
    }
    if (s->arena.no_memory || !s->due.domain.p || !s->due.uri.p) {
        slot_free(s);
        return false;
    }
    if (is_full(t, &s->due, err)) {
        ll_report_out_later(t->out, s->due.id, now + WAIT_RATE_S, false, err);
        slot_free(s);
    } else if (is_off(t->proc->conf, &s->due)) {
        over(t, s, LL_LIT(""), "reports to that domain were switched off");
    } else if (!hand_over(t, s, post, err)) {
        if (err->n == 0)
            again(t, s, LL_LIT(""), "the report cannot be made now");
        else
            slot_free(s);
    }
    return err->n == 0;
}

void due_go(struct tally *t)
{
    struct ll_peer *post = ll_proc_peer(t->proc, LL_ROLE_POST, 0);
    struct ll_buf err = LL_BUF(4096);
    size_t turns = 0;

    if (!post || t->proc->draining || !tally_out(t))
        return;
    for (size_t i = 0; i < TALLY_DUE_MAX && turns < TALLY_DUE_MAX; i++)
        while (!t->due[i].due.id && t->out && turns++ < TALLY_DUE_MAX &&
               take_one(t, &t->due[i], post, &err))
            ;
    if (t->out)
        tally_out_failed(t, &err);
    ll_buf_release(&err);
}

/* What post had in hand is handed over anew: it may be in the journal already. */
void due_post_down(struct tally *t)
{
    for (size_t i = 0; i < TALLY_DUE_MAX; i++)
        if (t->due[i].due.id)
            slot_free(&t->due[i]);
}
