/* Command line, path, parameters. What is canonical must parse to itself; replies stay clean. */
#include <stdlib.h>

#include "letterlock/smtp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void mailbox(const struct ll_mailbox *m)
{
    struct ll_mailbox again;
    struct ll_slice user;
    struct ll_slice detail;

    must(m->n <= LL_MAILBOX_MAX && m->local_n <= m->n && m->text[m->n] == 0);
    must(ll_slice_find(ll_mailbox_text(m), '\r') == m->n);
    must(ll_slice_find(ll_mailbox_text(m), '\n') == m->n);
    must(ll_slice_find(ll_mailbox_text(m), 0) == m->n);
    must(ll_is_ascii(ll_mailbox_domain(m)));
    ll_mailbox_split(m, "+-", &user, &detail);
    must(user.n + detail.n <= m->local_n);
    if (m->kind == LL_DOMAIN_NONE || m->n > LL_PATH_MAX - 2)
        return;
    must(ll_mailbox_parse(ll_mailbox_text(m), m->utf8, &again) == LL_ADDR_OK);
    must(ll_slice_eq(ll_mailbox_text(m), ll_mailbox_text(&again)));
    must(again.indirect == m->indirect && again.kind == m->kind);
}

static void printable(struct ll_slice xtext)
{
    struct ll_buf out = LL_BUF(LL_SMTP_ORCPT_MAX);

    must(ll_xtext_decode(xtext, &out));
    for (size_t i = 0; i < out.n; i++)
        must(out.p[i] >= 0x20 && out.p[i] < 0x7f);
    ll_buf_release(&out);
}

/* RFC 6533 3: an address of type utf-8 is no xtext, and may hold raw UTF-8. Its ASCII form, which
 * is what goes to servers without SMTPUTF8, is printable and of the same type. */
static void orcpt(struct ll_slice v)
{
    struct ll_buf out = LL_BUF(LL_SMTP_ORCPT_MAX * 10); /* "\x{10FFFF}" for four octets at most */

    must(ll_orcpt_ok(v, true));
    if (!ll_orcpt_utf8(v)) {
        printable(ll_slice_skip(v, ll_slice_find(v, ';') + 1));
        return;
    }
    ll_orcpt_ascii_put(&out, v);
    must(!out.failed && ll_orcpt_utf8(ll_buf_slice(&out)));
    for (size_t i = 0; i < out.n; i++)
        must(out.p[i] > 0x20 && out.p[i] < 0x7f);
    ll_buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ll_slice in = ll_slice(data, size);
    struct ll_buf out = LL_BUF(LL_DOMAIN_MAX);
    struct ll_smtp_command c;
    struct ll_smtp_mail mail;
    struct ll_smtp_rcpt rcpt;
    struct ll_mailbox m;

    if (ll_mailbox_parse(in, true, &m) == LL_ADDR_OK)
        mailbox(&m);
    if (ll_smtp_helo_clean(in, &out))
        must(out.n > 0 && ll_is_ascii(ll_buf_slice(&out)));
    ll_buf_release(&out);
    if (ll_smtp_command_parse(in, true, &c) != LL_SMTP_OK)
        return 0;
    if (c.verb == LL_SMTP_V_MAIL && ll_smtp_mail_parse(c.args, ~0u, &mail) == LL_SMTP_OK) {
        if (!ll_mailbox_null(&mail.from))
            mailbox(&mail.from);
        must(mail.utf8 || !mail.from.utf8);
        printable(mail.envid);
        printable(mail.auth);
    }
    if (c.verb == LL_SMTP_V_RCPT && ll_smtp_rcpt_parse(c.args, ~0u, true, &rcpt) == LL_SMTP_OK) {
        mailbox(&rcpt.to);
        if (rcpt.orcpt.n > 0)
            orcpt(rcpt.orcpt);
    }
    return 0;
}
