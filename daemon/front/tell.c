/*
 * What is told of a letter's DMARC to those who ask for it: tally counts it for aggregate reports
 * (RFC 9990). Nobody waits for tally; while it is away, what there is to tell waits here, up to a
 * limit, so that its restart loses no letter. See front.h.
 */
#include "daemon/front/front.h"
#include "io/log.h"
#include "io/clock.h"
#include "letterlock/dmarc_failure.h"
#include "letterlock/dmarc_report.h"

#include <string.h>

#define QUEUE_MAX (1u << 20) /* octets on their way to tally; beyond that nothing is counted */

static const char *disposition_of(const struct found *c, const struct ll_dmarc_result *r)
{
    if (r->code != LL_DMARC_FAIL)
        return r->policy == LL_DMARC_P_NONE ? "none" : "pass";
    return c->fate == LL_FATE_REJECT ? "reject" : c->fate == LL_FATE_JUNK ? "quarantine" : "none";
}

/* Why a letter that failed did not get what the record asks for; "": it did. */
static const char *reason_of(const struct found *c, const struct ll_dmarc_result *r,
                             const char *disposition)
{
    if (r->code != LL_DMARC_FAIL || strcmp(disposition, ll_dmarc_policy_word(r->policy)) == 0)
        return "";
    if (c->override)
        return c->override;
    return r->disposition != r->policy ? "policy_test_mode" : "local_policy";
}

static void seen_row(const struct session *s, const struct letter *l, const struct found *found,
                     struct ll_buf *out)
{
    const struct ll_check_result *r = found->result;
    struct ll_slice sender = front_letter_reverse(l);
    const char *disposition = disposition_of(found, &r->dmarc);
    char ip[LL_IP_TEXT];

    ll_buf_str16(out, ll_slice_str(front_client(s, ip)));
    ll_buf_str16(out, ll_slice_str(disposition));
    ll_buf_str16(out, ll_slice_str(r->dmarc.dkim_aligned ? "pass" : "fail"));
    ll_buf_str16(out, ll_slice_str(r->dmarc.spf_aligned ? "pass" : "fail"));
    ll_buf_str16(out, ll_slice_str(reason_of(found, &r->dmarc, disposition)));
    ll_buf_str16(out, r->dmarc.author);
    ll_buf_str16(out, ll_slice_skip(sender, ll_slice_rfind(sender, '@') + 1));
    ll_buf_str16(out, r->have_spf ? r->spf.domain : LL_LIT(""));
    ll_buf_str16(out, ll_slice_str(r->have_spf ? ll_spf_word(r->spf.code) : "none"));
    for (size_t i = 0; i < r->n_dkim && i < LL_DMARC_ROW_DKIM; i++) {
        if (r->dkim[i].domain.n == 0)
            continue;
        ll_buf_str16(out, r->dkim[i].domain);
        ll_buf_str16(out, r->dkim[i].selector);
        ll_buf_str16(out,
                     ll_slice_str(ll_dkim_verdict_word(ll_dkim_fault_verdict(r->dkim[i].fault))));
    }
}

static void put_msg(struct front *f, const struct ll_msg *m)
{
    struct ll_peer *tally = ll_proc_peer(f->proc, LL_ROLE_TALLY, 0);
    struct ll_buf one = LL_BUF(LL_IPC_FRAME_MAX);

    if (tally && (ll_ipc_queued(tally->ipc) > QUEUE_MAX || ll_msg_send(tally->ipc, m) == 0))
        return;
    ll_msg_encode(m, &one); /* it is away, or about to go */
    if (!one.failed && f->untold.n + one.n + 8 <= FRONT_UNTOLD_MAX) {
        ll_buf_u16(&f->untold, (uint16_t)m->type);
        ll_buf_str32(&f->untold, ll_buf_slice(&one));
    }
    ll_buf_release(&one);
}

void front_tell_up(struct front *f, struct ll_peer *tally)
{
    struct ll_cursor c = ll_cursor(ll_buf_slice(&f->untold));

    while (ll_cur_left(&c) > 0 && !c.failed) {
        uint16_t type = ll_cur_u16(&c);

        ll_ipc_send(tally->ipc, type, 0, ll_cur_str32(&c), -1);
    }
    ll_buf_clear(&f->untold);
}

static void tell_seen(struct session *s, const struct letter *l, const struct found *found)
{
    const struct ll_dmarc_result *r = &found->result->dmarc;
    struct ll_buf row = LL_BUF(LL_DMARC_ROW_MAX), policy = LL_BUF(LL_DMARC_ROW_MAX);
    struct ll_msg m = {.type = LL_MSG_DMARC_SEEN, .fd = -1};

    seen_row(s, l, found, &row);
    ll_dmarc_report_policy(&r->record, &policy);
    m.dmarc_seen.domain = r->policy_domain;
    m.dmarc_seen.org = r->org_domain;
    m.dmarc_seen.rua = r->record.rua;
    m.dmarc_seen.policy = ll_buf_slice(&policy);
    m.dmarc_seen.row = ll_buf_slice(&row);
    if (!row.failed && !policy.failed)
        put_msg(s->front, &m);
    ll_buf_release(&row);
    ll_buf_release(&policy);
}

/* ---- failure reports (RFC 9991) -----------------------------------------------------------------
 */

static const char *delivery_of(enum ll_fate fate)
{
    return fate == LL_FATE_REJECT ? "reject" : fate == LL_FATE_JUNK ? "spam" : "delivered";
}

static void tell_failed(struct session *s, const struct letter *l, const struct found *found)
{
    const struct ll_check_result *r = found->result;
    struct ll_buf feedback = LL_BUF(LL_DMARC_FEEDBACK_MAX), header = LL_BUF(LL_DMARC_HEADER_MAX);
    struct ll_msg m = {.type = LL_MSG_DMARC_FAILED, .fd = -1};
    char ip[LL_IP_TEXT];
    struct ll_dmarc_failure f = {.authserv_id = front_authserv_id(s->front),
                                 .hostname = ll_slice_str(s->front->proc->conf->hostname),
                                 .source = ll_slice_str(front_client(s, ip)),
                                 .mail_from = front_letter_reverse(l),
                                 .delivery = delivery_of(found->fate),
                                 .unix_s = ll_unix_s(),
                                 .spf = r->have_spf ? &r->spf : NULL,
                                 .dkim = r->dkim,
                                 .n_dkim = r->n_dkim,
                                 .dmarc = &r->dmarc};

    if (ll_dmarc_failure_wanted(&f, found->header) && ll_dmarc_failure_feedback(&f, &feedback) &&
        ll_dmarc_failure_header(found->header, &header)) {
        m.dmarc_failed.domain = r->dmarc.policy_domain;
        m.dmarc_failed.org = r->dmarc.org_domain;
        m.dmarc_failed.ruf = r->dmarc.record.ruf;
        m.dmarc_failed.feedback = ll_buf_slice(&feedback);
        m.dmarc_failed.header = ll_buf_slice(&header);
        put_msg(s->front, &m);
    }
    ll_buf_release(&feedback);
    ll_buf_release(&header);
}

void front_tell(struct session *s, const struct letter *l, const struct found *found)
{
    const struct ll_conf *c = s->front->proc->conf;
    const struct ll_dmarc_result *r = &found->result->dmarc;

    if (r->policy_domain.n == 0 || r->org_domain.n == 0 ||
        ll_policy_below(c->dmarc_reports_except, r->policy_domain))
        return;
    if (c->dmarc_reports && r->record.rua.n > 0)
        tell_seen(s, l, found);
    if (c->failure_reports && r->record.ruf.n > 0)
        tell_failed(s, l, found);
}
