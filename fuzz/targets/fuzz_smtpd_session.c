/*
 * A whole session at the server engine. The first three octets: kind and TLS, which questions are
 * refused, where the input is split. Checked: the contract of the events, replies that are clean
 * ASCII, and that a session means the same however its octets arrive (but for those that end
 * because octets came too early, which is a matter of arrival).
 */
#include <stdlib.h>

#include "letterlock/smtpd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct run {
    struct ll_smtpd *s;
    struct ll_buf log; /* what was accepted */
    struct ll_buf body;
    struct ll_buf out;
    uint32_t dice;
    bool open;
    bool closed;
    bool early; /* it ended for its timing */
};

static const struct ll_smtpd_tls facts = {"TLSv1.3", "X", NULL};

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void note(struct run *r, const char *kind, struct ll_slice what)
{
    ll_buf_puts(&r->log, kind);
    ll_buf_put_slice(&r->log, what);
    ll_buf_putc(&r->log, '\n');
}

static void question(struct run *r, const struct ll_smtpd_event *e)
{
    struct ll_smtpd_answer a = {0};

    r->dice = r->dice * 1664525u + 1013904223u;
    if ((r->dice >> 24) % 8 == 0)
        a.code = r->dice & 0x10000 ? 450 : 550;
    if (e->type == LL_SMTPD_ASK_MAIL) {
        must(!r->open);
        r->open = a.code == 0;
        note(r, "M", ll_mailbox_text(&e->mail->from));
    } else if (e->type == LL_SMTPD_ASK_RCPT) {
        must(r->open && e->rcpt->to.kind != LL_DOMAIN_NONE && !e->rcpt->to.indirect);
        note(r, "R", ll_mailbox_text(&e->rcpt->to));
    } else if (e->type == LL_SMTPD_ASK_DATA) {
        must(r->open && ll_smtpd_recipients(r->s) > 0);
    } else if (e->type == LL_SMTPD_ASK_END) {
        must(r->open && e->content->octets == r->body.n && !e->content->error);
        note(r, "E", ll_buf_slice(&r->body));
        r->open = false;
    } else {
        must(e->type == LL_SMTPD_ASK_AUTH && e->user.n > 0 && e->password.n > 0);
        must(ll_smtpd_tls(r->s) != NULL);
        note(r, "A", e->user);
    }
    if (e->type != LL_SMTPD_ASK_AUTH || a.code)
        ll_smtpd_answer(r->s, &a, 0);
    else
        ll_smtpd_answer(r->s, NULL, 0);
    if (e->type == LL_SMTPD_ASK_END || e->type == LL_SMTPD_ASK_MAIL)
        ll_buf_clear(&r->body);
}

static void pull(struct run *r)
{
    struct ll_smtpd_event e;

    while (ll_smtpd_next(r->s, &e)) {
        must(!r->closed);
        if (e.type == LL_SMTPD_RESET) {
            must(r->open);
            r->open = false;
            ll_buf_clear(&r->body);
            note(r, "X", LL_LIT(""));
        } else if (e.type == LL_SMTPD_CLOSE) {
            must(!r->open);
            r->closed = true;
            r->early = r->early || !strcmp(e.why, "pipelining") || !strcmp(e.why, "injection");
        } else if (e.type == LL_SMTPD_START_TLS) {
            must(!r->open && !ll_smtpd_tls(r->s));
            must(ll_smtpd_tls_up(r->s, &facts, 0));
        } else if (e.type == LL_SMTPD_BODY) {
            must(r->open && e.body.n > 0);
            ll_buf_put_slice(&r->body, e.body);
        } else {
            question(r, &e);
        }
    }
    struct ll_slice out = ll_smtpd_out(r->s);
    for (size_t i = 0; i < out.n; i++)
        must(ll_is_print(out.p[i]) || out.p[i] == '\r' || out.p[i] == '\n');
    ll_buf_put_slice(&r->out, out);
    ll_smtpd_out_done(r->s, out.n);
}

static void session(struct run *r, const struct ll_smtpd_conf *conf, bool tls, uint8_t refuse,
                    struct ll_slice in, size_t step)
{
    *r = (struct run){.log = LL_BUF(8 << 20), .body = LL_BUF(8 << 20), .out = LL_BUF(8 << 20)};
    r->dice = refuse;
    r->s = ll_smtpd_new(conf, 0);
    must(r->s != NULL);
    if (tls)
        must(ll_smtpd_tls_up(r->s, &facts, 0));
    ll_smtpd_start(r->s, 0);
    while (in.n > 0 && !ll_smtpd_closed(r->s)) {
        size_t n = ll_smtpd_feed(r->s, ll_slice_cut(in, 0, step), 0);

        pull(r);
        must(n > 0 || ll_smtpd_closed(r->s));
        in = ll_slice_skip(in, n);
    }
    ll_smtpd_eof(r->s);
    pull(r);
    must(r->closed && !r->open);
    ll_smtpd_free(r->s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ll_smtpd_conf conf;
    struct ll_slice in;
    struct run a;
    struct run b;

    if (size < 3)
        return 0;
    ll_smtpd_conf_init(&conf, data[0] & 1 ? LL_SMTPD_SUBMISSION : LL_SMTPD_MX);
    conf.hostname = "mx.test";
    conf.starttls = data[0] & 4;
    conf.dsn = data[0] & 8;
    conf.size_max = 4096;
    in = ll_slice(data + 3, size - 3);
    session(&a, &conf, data[0] & 2, data[1], in, in.n);
    session(&b, &conf, data[0] & 2, data[1], in, 1u + data[2] % 64u);
    if (!a.early && !b.early) {
        must(ll_slice_eq(ll_buf_slice(&a.log), ll_buf_slice(&b.log)));
        must(ll_slice_eq(ll_buf_slice(&a.out), ll_buf_slice(&b.out)));
    }
    ll_buf_release(&a.log);
    ll_buf_release(&a.body);
    ll_buf_release(&a.out);
    ll_buf_release(&b.log);
    ll_buf_release(&b.body);
    ll_buf_release(&b.out);
    return 0;
}
