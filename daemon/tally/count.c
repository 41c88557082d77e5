/*
 * Counting what front-mx finds of letters, for the aggregate reports that we send (RFC 9990). Equal
 * findings are one row; the rows lie in out.db and survive everything but the last second before a
 * crash. At each whole multiple of dmarc_report_interval since 1970 (a day's is the UTC day) the
 * period ends, and each of its domains gets a report: due.c.
 */
#include "daemon/tally/tally.h"

#include "io/clock.h"
#include "io/log.h"
#include "letterlock/dns.h"

#include <sys/random.h>

#define RANDOM 16

/* out.db, opened when it is needed; false: not now. */
bool tally_out(struct tally *t)
{
    struct ll_buf path = LL_BUF(4096), err = LL_BUF(4096);

    if (!t->out && tally_path(t, "out.db", &path)) {
        t->out = ll_report_out_open(ll_buf_str(&path), true, &err);
        if (!t->out)
            tally_complain(t, &err);
        else if (ll_report_out_begin(t->out) > 0)
            t->begin = ll_report_out_begin(t->out); /* of a period that an earlier process began */
    }
    ll_buf_release(&path);
    ll_buf_release(&err);
    return t->out != NULL;
}

/* It could not do something: it is opened anew, for it may have been moved away, or mended. */
void tally_out_failed(struct tally *t, struct ll_buf *err)
{
    if (err->n == 0)
        return;
    tally_complain(t, err);
    ll_report_out_close(t->out);
    t->out = NULL;
}

int count_seen(struct ll_peer *peer, const struct ll_msg *m)
{
    struct tally *t = peer->proc->state;
    struct ll_report_seen s = {.policy = m->dmarc_seen.policy, .row = m->dmarc_seen.row};
    struct ll_buf err = LL_BUF(4096);
    struct ll_dns_name domain, org;

    if (!ll_dns_name_parse(m->dmarc_seen.domain, &domain) ||
        !ll_dns_name_parse(m->dmarc_seen.org, &org) || !ll_dmarc_report_is_policy(s.policy) ||
        !ll_dmarc_report_is_row(s.row) || m->dmarc_seen.rua.n > TALLY_RUA_MAX)
        return -1;
    if (!t->proc->conf->dmarc_reports)
        return 0;
    s.domain = ll_dns_name_slice(&domain);
    s.org = ll_dns_name_slice(&org);
    s.rua = m->dmarc_seen.rua;
    if (!tally_out(t) || ll_report_out_count(t->out, &s, t->begin, &err) != LL_REPORT_COUNTED)
        t->not_counted++;
    tally_out_failed(t, &err);
    ll_buf_release(&err);
    return 0;
}

static void end_period(struct tally *t, int64_t now, int64_t end)
{
    struct ll_buf err = LL_BUF(4096);
    uint8_t random[RANDOM];

    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random) || !tally_out(t))
        return;
    if (ll_report_out_end(t->out, end, now, ll_slice(random, sizeof(random)), &err))
        t->begin = end;
    tally_out_failed(t, &err);
    ll_buf_release(&err);
    if (t->not_counted > 0)
        ll_log(LL_LOG_WARNING, "dmarc-reports-full", LL_FU("letters", t->not_counted));
    t->not_counted = 0;
}

void count_tick(struct tally *t)
{
    int64_t every = t->proc->conf->dmarc_report_interval, now = ll_unix_s();
    struct ll_buf err = LL_BUF(4096);

    if (!t->proc->conf->dmarc_reports)
        return;
    if (t->begin == 0)
        t->begin = now;
    if (t->out)
        ll_report_out_flush(t->out, &err);
    if (t->out)
        tally_out_failed(t, &err);
    ll_buf_release(&err);
    if (tally_out(t) && every > 0 && now / every > t->begin / every)
        end_period(t, now, now - now % every);
}
