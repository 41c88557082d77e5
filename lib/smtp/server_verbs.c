/* The server's commands, but for AUTH, DATA and BDAT. See include/letterlock/smtpd.h. */
#include "server.h"

#include <stdlib.h>

#define TXN_TEXT_MAX (3 * LL_SMTP_ORCPT_MAX) /* octets kept of ENVID, AUTH= and ORCPT */

static unsigned extensions(const struct ll_smtpd *s)
{
    if (!s->esmtp)
        return 0;
    return LL_SMTP_EXT_SIZE | LL_SMTP_EXT_8BITMIME | LL_SMTP_EXT_SMTPUTF8 |
           (s->conf->dsn ? LL_SMTP_EXT_DSN : 0u) |
           (s->conf->kind == LL_SMTPD_SUBMISSION ? LL_SMTP_EXT_AUTH : 0u);
}

/* ---- EHLO, HELO (RFC 5321 4.1.1.1)
 * ------------------------------------------------------------------ */

static void greet(struct ll_smtpd *s, struct ll_slice name, bool esmtp)
{
    srv_txn_reset(s);
    ll_buf_release(&s->helo);
    if (!ll_smtp_helo_clean(name, &s->helo))
        ll_buf_clear(&s->helo);
    s->greeted = true;
    s->esmtp = esmtp;
}

static void helo(struct ll_smtpd *s, struct ll_slice args)
{
    greet(s, args, false);
    srv_reply(s, 250, NULL, s->conf->hostname);
}

static void ehlo(struct ll_smtpd *s, struct ll_slice args)
{
    const struct ll_smtpd_conf *c = s->conf;
    struct ll_buf text = LL_BUF(2048);

    greet(s, args, true);
    ll_buf_puts(&text, c->hostname);
    ll_buf_puts(&text, "\nPIPELINING");
    if (c->size_max)
        ll_buf_printf(&text, "\nSIZE %llu", (unsigned long long)c->size_max);
    else
        ll_buf_puts(&text, "\nSIZE");
    if (c->starttls && !s->has_tls)
        ll_buf_puts(&text, "\nSTARTTLS");
    if (c->kind == LL_SMTPD_SUBMISSION && s->has_tls && s->user.n == 0)
        ll_buf_puts(&text, "\nAUTH PLAIN LOGIN");
    ll_buf_puts(&text, "\nENHANCEDSTATUSCODES\n8BITMIME\nSMTPUTF8\nCHUNKING");
    if (c->dsn)
        ll_buf_puts(&text, "\nDSN");
    if (c->recipients_max || c->transactions_max)
        ll_buf_puts(&text, "\nLIMITS"); /* RFC 9422 */
    if (c->transactions_max)
        ll_buf_printf(&text, " MAILMAX=%u", c->transactions_max);
    if (c->recipients_max)
        ll_buf_printf(&text, " RCPTMAX=%u", c->recipients_max);
    srv_reply_slice(s, 250, NULL, ll_buf_slice(&text));
    ll_buf_release(&text);
}

/* ---- MAIL, RCPT
 * ---------------------------------------------------------------------------------------- */

/* Copies a slice of the line into the transaction; room was made before. */
static void keep(struct ll_buf *text, struct ll_slice *s)
{
    size_t at = text->n;

    if (!s->p)
        return;
    ll_buf_put_slice(text, *s);
    *s = ll_slice(text->p + at, s->n);
}

static void mail(struct ll_smtpd *s, struct ll_slice args)
{
    struct ll_smtp_mail m;
    enum ll_smtp_error e;
    struct txn *t;

    if (s->t) {
        srv_refuse(s, 503, "5.5.1", "A transaction is open already");
        return;
    }
    if (s->conf->transactions_max && s->transactions >= s->conf->transactions_max) {
        srv_reply(s, 421, "4.7.0", "Too many letters in one session");
        srv_end_session(s, "transactions");
        return;
    }
    e = ll_smtp_mail_parse(args, extensions(s), &m);
    if (e) {
        srv_refuse_error(s, e);
        return;
    }
    if (s->conf->size_max && m.size > s->conf->size_max) {
        srv_refuse_error(s, LL_SMTP_CONTENT_SIZE);
        return;
    }
    s->transactions++;
    t = calloc(1, sizeof(*t));
    if (!t) {
        srv_reply(s, 452, "4.3.1", "Out of memory, try again later");
        return;
    }
    t->ends = UINT64_MAX;
    ll_buf_init(&t->text, TXN_TEXT_MAX);
    t->mail = m;
    s->t = t;
    if (m.auth.n + m.envid.n > 0 && ll_buf_room(&t->text, m.auth.n + m.envid.n) == NULL) {
        srv_txn_reset(s);
        srv_reply(s, 452, "4.3.1", "Out of memory, try again later");
        return;
    }
    keep(&t->text, &t->mail.auth);
    keep(&t->text, &t->mail.envid);
    srv_ask(s, LL_SMTPD_ASK_MAIL);
}

/* A bare <postmaster> is the one of this server (RFC 5321 4.5.1). */
static bool own_postmaster(const struct ll_smtpd *s, struct ll_mailbox *m)
{
    struct ll_buf text = LL_BUF(LL_MAILBOX_MAX);
    bool ok;

    ll_buf_puts(&text, "postmaster@");
    ll_buf_puts(&text, s->conf->hostname);
    ok = ll_mailbox_parse(ll_buf_slice(&text), false, m) == LL_ADDR_OK;
    ll_buf_release(&text);
    return ok;
}

static void rcpt(struct ll_smtpd *s, struct ll_slice args)
{
    struct ll_smtp_rcpt r;
    enum ll_smtp_error e;
    struct txn *t = s->t;

    if (!t || t->begun) {
        srv_refuse(s, 503, "5.5.1", t ? "The letter has begun already" : "MAIL comes first");
        return;
    }
    e = ll_smtp_rcpt_parse(args, extensions(s), t->mail.utf8, &r);
    if (!e && r.to.indirect)
        e = LL_SMTP_ROUTE;
    if (!e && r.to.kind == LL_DOMAIN_NONE && !own_postmaster(s, &r.to))
        e = LL_SMTP_PATH;
    if (e) {
        srv_refuse_error(s, e);
        return;
    }
    if (s->conf->recipients_max && t->recipients >= s->conf->recipients_max) {
        /* No error of the client: it sends the rest in another transaction (4.5.3.1.10). */
        srv_reply(s, 452, "4.5.3", "Too many recipients");
        return;
    }
    t->rcpt = r;
    keep(&t->text, &t->rcpt.orcpt);
    if (t->text.failed) {
        ll_buf_release(&t->text);
        srv_reply(s, 452, "4.3.1", "Out of memory, try again later");
        return;
    }
    srv_ask(s, LL_SMTPD_ASK_RCPT);
}

/* ---- the small ones
 * ------------------------------------------------------------------------------------- */

static void starttls(struct ll_smtpd *s, struct ll_slice args)
{
    if (s->has_tls || !s->conf->starttls) {
        srv_refuse(s, s->has_tls ? 503 : 502, "5.5.1",
                   s->has_tls ? "TLS is up already" : "STARTTLS is not offered");
        return;
    }
    if (s->early) { /* they would be taken as if they had come under TLS */
        srv_reply(s, 501, "5.5.1", "Octets behind STARTTLS");
        srv_end_session(s, "injection");
        return;
    }
    srv_txn_reset(s);
    srv_reply(s, 220, "2.0.0", "Ready for TLS");
    if (s->state != ST_CLOSED)
        srv_ask(s, LL_SMTPD_START_TLS);
}

static void help(struct ll_smtpd *s, struct ll_slice args)
{
    static const char words[] = "Commands:"
#define ROW(id, name, flags) "\0" name
        LL_SMTP_VERBS(ROW)
#undef ROW
        ;
    struct ll_buf text = LL_BUF(512);
    struct ll_slice rest = ll_slice(words, sizeof(words) - 1);
    struct ll_slice word;

    for (int v = -1; v <= LL_SMTP_V_HELP && ll_slice_next(&rest, 0, &word); v++) {
        if (v >= 0)
            ll_buf_putc(&text, ' ');
        ll_buf_put_slice(&text, word);
    }
    srv_reply_slice(s, 214, "2.0.0", ll_buf_slice(&text));
    ll_buf_release(&text);
}

static void rset(struct ll_smtpd *s, struct ll_slice args)
{
    srv_txn_reset(s);
    srv_reply(s, 250, "2.0.0", "OK");
}

static void quit(struct ll_smtpd *s, struct ll_slice args)
{
    srv_reply(s, 221, "2.0.0", "Bye");
    srv_end_session(s, "quit");
}

/* ---- which one
 * -------------------------------------------------------------------------------------------- */

/* Why a command is not taken at this point of the session; code 0: it is. */
static struct refusal gate_of(const struct ll_smtpd *s, unsigned flags)
{
    if (!s->greeted && !(flags & LL_SMTP_BEFORE_EHLO))
        return (struct refusal){503, "5.5.1", "EHLO comes first"};
    if (s->conf->kind == LL_SMTPD_SUBMISSION && s->user.n == 0 && !s->trusted &&
        !(flags & LL_SMTP_BEFORE_AUTH)) {
        if (s->conf->starttls && !s->has_tls)
            return (struct refusal){530, "5.7.0", "STARTTLS and a login come first"};
        return (struct refusal){530, "5.7.0", "Authentication required"};
    }
    return (struct refusal){0, NULL, NULL};
}

/* False: the session is over its limit and ended. */
static bool junk_counted(struct ll_smtpd *s)
{
    s->junk++;
    if (s->conf->junk_max == 0 || s->junk <= s->conf->junk_max)
        return true;
    srv_reply(s, 421, "4.7.0", "Too many commands that bring no mail");
    srv_end_session(s, "junk");
    return false;
}

static void noop(struct ll_smtpd *s, struct ll_slice args)
{
    srv_reply(s, 250, "2.0.0", "OK");
}

static void vrfy(struct ll_smtpd *s, struct ll_slice args)
{
    srv_reply(s, 252, "2.5.0", "Not verified; send a letter and see");
}

/* BDAT and the foreign verbs are seen to in srv_command. */
static void (*const handlers[LL_SMTP_V_COUNT])(struct ll_smtpd *, struct ll_slice args) = {
    [LL_SMTP_V_EHLO] = ehlo,
    [LL_SMTP_V_HELO] = helo,
    [LL_SMTP_V_STARTTLS] = starttls,
    [LL_SMTP_V_AUTH] = srv_auth_command,
    [LL_SMTP_V_MAIL] = mail,
    [LL_SMTP_V_RCPT] = rcpt,
    [LL_SMTP_V_DATA] = srv_data_command,
    [LL_SMTP_V_RSET] = rset,
    [LL_SMTP_V_NOOP] = noop,
    [LL_SMTP_V_QUIT] = quit,
    [LL_SMTP_V_VRFY] = vrfy,
    [LL_SMTP_V_HELP] = help,
};

static void foreign(struct ll_smtpd *s)
{
    srv_reply(s, 521, "5.5.1", "This is an SMTP server");
    srv_end_session(s, "foreign");
}

void srv_command(struct ll_smtpd *s, struct ll_slice line, bool trailing, uint64_t now)
{
    struct ll_smtp_command c = {.verb = LL_SMTP_V_COUNT};
    enum ll_smtp_error e = ll_smtp_command_parse(line, true, &c);
    struct refusal gate = gate_of(s, c.flags);

    if ((c.flags & LL_SMTP_FOREIGN) ||
        (e == LL_SMTP_UNKNOWN && !s->greeted && (line.n == 0 || !ll_is_alpha(line.p[0])))) {
        foreign(s);
        return;
    }
    if ((e == LL_SMTP_UNKNOWN || (c.flags & LL_SMTP_JUNK)) && !junk_counted(s))
        return;
    if (c.verb == LL_SMTP_V_BDAT && !e) {
        srv_bdat_command(s, c.args, gate.code ? &gate : NULL);
        return;
    }
    if (trailing && (c.flags & LL_SMTP_LAST)) {
        srv_reply(s, 503, "5.5.1", "Commands behind one that ends a group (RFC 2920 3.1)");
        srv_end_session(s, "pipelining");
        return;
    }
    if (e) {
        srv_refuse_error(s, e);
        if (c.verb == LL_SMTP_V_BDAT) /* what follows is of unknown length */
            srv_end_session(s, "chunk");
    } else if (gate.code) {
        srv_refuse(s, gate.code, gate.enhanced, gate.text);
    } else {
        s->early = trailing;
        handlers[c.verb](s, c.args);
    }
}
