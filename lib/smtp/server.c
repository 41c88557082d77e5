/* The server engine: octets in, events out, answers. See include/letterlock/smtpd.h. */
#include "server.h"

#include <stdlib.h>

#define OUT_MAX  (LL_SMTPD_OUT_FULL + 32768) /* octets: what one input step may add behind FULL */
#define USER_MAX 320                         /* octets of a login name */

static const struct refusal defaults[] = {
    [LL_SMTPD_ASK_AUTH] = {235, "2.7.0", "Authentication successful"},
    [LL_SMTPD_ASK_MAIL] = {250, "2.1.0", "Sender OK"},
    [LL_SMTPD_ASK_RCPT] = {250, "2.1.5", "Recipient OK"},
    [LL_SMTPD_ASK_DATA] = {354, NULL, "End the letter with <CR><LF>.<CR><LF>"},
    [LL_SMTPD_ASK_END] = {250, "2.0.0", "Letter accepted"},
};

void ll_smtpd_conf_init(struct ll_smtpd_conf *c, enum ll_smtpd_kind kind)
{
    *c = (struct ll_smtpd_conf){
        .kind = kind,
        .hostname = "localhost",
        .size_max = 50ull << 20,
        .recipients_max = kind == LL_SMTPD_SUBMISSION ? 1000 : 100,
        .errors_max = 20,
        .junk_max = 100,
        .transactions_max = 1000,
        .auth_failures_max = 3,
        .command_timeout = 300000,
        .data_timeout = 300000,
        .letter_timeout = 3600000,
    };
}

struct ll_smtpd *ll_smtpd_new(const struct ll_smtpd_conf *conf, uint64_t now)
{
    struct ll_smtpd *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    s->conf = conf;
    ll_buf_init(&s->line, LL_SMTP_LINE_MAX);
    ll_buf_init(&s->out, OUT_MAX);
    ll_buf_init(&s->helo, LL_DOMAIN_MAX);
    ll_buf_init(&s->user, USER_MAX);
    srv_rest_until(s, now);
    return s;
}

void ll_smtpd_free(struct ll_smtpd *s)
{
    if (!s)
        return;
    srv_txn_reset(s);
    srv_auth_forget(s);
    ll_buf_wipe(&s->line);
    ll_buf_release(&s->out);
    ll_buf_release(&s->helo);
    ll_buf_release(&s->user);
    free(s->client_name);
    free(s);
}

/* ---- replies and ends
 * ------------------------------------------------------------------------------ */

void srv_reply_slice(struct ll_smtpd *s, unsigned code, const char *enhanced, struct ll_slice text)
{
    ll_smtp_reply_put(&s->out, code, enhanced, text);
    if (s->out.failed)
        srv_end_session(s, "memory");
}

void srv_reply(struct ll_smtpd *s, unsigned code, const char *enhanced, const char *text)
{
    srv_reply_slice(s, code, enhanced, ll_slice_str(text));
}

static void count_error(struct ll_smtpd *s)
{
    s->errors++;
    if (s->conf->errors_max && s->errors >= s->conf->errors_max && s->state != ST_CLOSED) {
        srv_reply(s, 421, "4.7.0", "Too many errors");
        srv_end_session(s, "errors");
    }
}

void srv_refuse(struct ll_smtpd *s, unsigned code, const char *enhanced, const char *text)
{
    srv_reply(s, code, enhanced, text);
    count_error(s);
}

void srv_refuse_error(struct ll_smtpd *s, enum ll_smtp_error e)
{
    const struct ll_smtp_error_info *i = ll_smtp_error_info(e);

    srv_refuse(s, i->code, i->enhanced, i->text);
}

void srv_txn_tell(struct ll_smtpd *s)
{
    if (!s->t || !s->t->accepted)
        return;
    s->t->accepted = false;
    s->pending = (uint8_t)((s->pending & ~PEND_BODY) | PEND_RESET);
}

void srv_txn_reset(struct ll_smtpd *s)
{
    if (!s->t)
        return;
    srv_txn_tell(s);
    s->pending &= (uint8_t)~PEND_BODY;
    s->run = ll_slice(NULL, 0);
    ll_buf_release(&s->t->text);
    free(s->t);
    s->t = NULL;
}

void srv_end_session(struct ll_smtpd *s, const char *why)
{
    if (s->state == ST_CLOSED)
        return;
    srv_txn_reset(s);
    srv_auth_forget(s);
    ll_buf_wipe(&s->line);
    s->ask = LL_SMTPD_NONE;
    s->pending = (uint8_t)((s->pending & PEND_RESET) | PEND_CLOSE);
    s->state = ST_CLOSED;
    s->deadline = UINT64_MAX;
    s->why = why;
}

void srv_ask(struct ll_smtpd *s, enum ll_smtpd_event_type question)
{
    s->ask = (uint8_t)question;
    s->pending |= PEND_ASK;
    s->early = false;
    s->deadline = UINT64_MAX;
}

void srv_rest_until(struct ll_smtpd *s, uint64_t now)
{
    s->deadline = s->conf->command_timeout ? now + s->conf->command_timeout : UINT64_MAX;
}

/* Where the server stops and nothing is begun, this session ends. */
static void drain_here(struct ll_smtpd *s)
{
    if (!s->draining || s->t || s->ask || s->line.n > 0 ||
        (s->state != ST_COMMAND && s->state != ST_AUTH && s->state != ST_NEW))
        return;
    srv_reply(s, 421, "4.3.2", "Service is stopping, try again later");
    srv_end_session(s, "drain");
}

/* ---- how it begins
 * ----------------------------------------------------------------------------------- */

void ll_smtpd_start(struct ll_smtpd *s, uint64_t now)
{
    struct ll_buf text = LL_BUF(512);

    if (s->state != ST_NEW)
        return;
    ll_buf_puts(&text, s->conf->hostname);
    ll_buf_puts(&text, " ESMTP");
    srv_reply_slice(s, 220, NULL, ll_buf_slice(&text));
    ll_buf_release(&text);
    if (s->state == ST_CLOSED)
        return;
    s->state = ST_COMMAND;
    srv_rest_until(s, now);
    drain_here(s);
}

void ll_smtpd_refuse(struct ll_smtpd *s, const struct ll_smtpd_answer *a)
{
    if (s->state != ST_NEW)
        return;
    srv_reply_slice(s, a->code == 554 ? 554 : 421, a->enhanced ? a->enhanced : "4.7.0",
                    a->text.p ? a->text : LL_LIT("No service for you now"));
    srv_end_session(s, "refused");
}

void ll_smtpd_early_talker(struct ll_smtpd *s)
{
    if (s->state != ST_NEW)
        return;
    srv_reply(s, 521, "5.5.1", "Wait for the greeting");
    srv_end_session(s, "early");
}

static void forget_client(struct ll_smtpd *s)
{
    srv_txn_reset(s);
    srv_auth_forget(s);
    ll_buf_wipe(&s->line);
    ll_buf_release(&s->helo);
    ll_buf_release(&s->user);
    s->greeted = false;
    s->esmtp = false;
    s->cr = false;
}

bool ll_smtpd_tls_up(struct ll_smtpd *s, const struct ll_smtpd_tls *facts, uint64_t now)
{
    char *name = NULL;

    if (s->state == ST_CLOSED)
        return true;
    if (s->ask != LL_SMTPD_START_TLS && s->state != ST_NEW)
        abort();
    if (facts->client_name) {
        name = ll_slice_dup(ll_slice_str(facts->client_name));
        if (!name)
            return false;
    }
    forget_client(s);
    free(s->client_name);
    s->client_name = name;
    s->tls = (struct ll_smtpd_tls){facts->version, facts->cipher, name};
    s->has_tls = true;
    s->ask = LL_SMTPD_NONE;
    s->pending &= (uint8_t)~PEND_ASK;
    srv_rest_until(s, now);
    drain_here(s);
    return true;
}

/* ---- input
 * --------------------------------------------------------------------------------------------- */

static size_t flood_step(struct ll_smtpd *s, struct ll_slice in)
{
    enum ll_smtp_error e;
    size_t n;
    enum ll_smtp_line got = ll_smtp_line(in, &s->cr, &n, &e);

    s->skip += n;
    if (got == LL_SMTP_LINE_BAD || s->skip > LL_SMTPD_FLOOD)
        srv_end_session(s, "flood");
    else if (got == LL_SMTP_LINE_END)
        s->state = ST_COMMAND;
    return n;
}

/* Commands and AUTH lines. */
static size_t line_step(struct ll_smtpd *s, struct ll_slice in, uint64_t now)
{
    size_t max = s->state == ST_AUTH ? LL_SMTP_AUTH_MAX : LL_SMTP_LINE_MAX;
    struct ll_slice line;
    enum ll_smtp_error e;
    size_t n;
    enum ll_smtp_line got = ll_smtp_line(in, &s->cr, &n, &e);

    if (got == LL_SMTP_LINE_BAD) {
        srv_refuse_error(s, e);
        srv_end_session(s, "line");
        return n;
    }
    if (s->line.n + n > max) {
        srv_auth_forget(s);
        s->skip = s->line.n + n;
        ll_buf_wipe(&s->line);
        s->state = got == LL_SMTP_LINE_END ? ST_COMMAND : ST_FLOOD;
        srv_refuse_error(s, LL_SMTP_LINE_LONG);
        if (s->skip > LL_SMTPD_FLOOD)
            srv_end_session(s, "flood");
        return n;
    }
    line = ll_slice_cut(in, 0, n);
    if (got == LL_SMTP_LINE_PART || s->line.n > 0) {
        s->line.max = max;
        if (s->line.n == 0) /* all at once: growing would leave copies of a password behind */
            ll_buf_room(&s->line, max);
        ll_buf_put_slice(&s->line, line);
        line = ll_buf_slice(&s->line);
        if (s->line.failed) {
            srv_end_session(s, "memory");
            return n;
        }
    }
    if (got == LL_SMTP_LINE_END) {
        struct ll_buf kept = s->line;

        s->line = LL_BUF(max);
        line.n -= 2;
        srv_rest_until(s, now);
        if (s->state == ST_AUTH)
            srv_auth_line(s, line);
        else
            srv_command(s, line, n < in.n, now);
        ll_buf_wipe(&kept);
        drain_here(s);
    }
    return n;
}

static size_t skip_step(struct ll_smtpd *s, struct ll_slice in)
{
    size_t n = in.n < s->skip ? in.n : (size_t)s->skip;

    s->skip -= n;
    if (s->skip == 0)
        s->state = ST_COMMAND;
    return n;
}

static void data_deadline(struct ll_smtpd *s, uint64_t now)
{
    uint64_t silence = s->conf->data_timeout ? now + s->conf->data_timeout : UINT64_MAX;
    uint64_t ends = s->t ? s->t->ends : UINT64_MAX;

    s->deadline = silence < ends ? silence : ends;
}

size_t ll_smtpd_feed(struct ll_smtpd *s, struct ll_slice in, uint64_t now)
{
    size_t taken = 0;

    if (in.n > 0 && s->ask == LL_SMTPD_START_TLS)
        srv_end_session(s, "injection"); /* octets in clear behind STARTTLS (CVE-2011-0411) */
    if (in.n > 0 && s->ask)
        s->early = true;
    while (taken < in.n && !s->pending && !s->ask && s->out.n - s->out_at < LL_SMTPD_OUT_FULL) {
        struct ll_slice rest = ll_slice_skip(in, taken);

        switch ((enum state)s->state) {
        case ST_NEW:
        case ST_CLOSED:
            return taken;
        case ST_COMMAND:
        case ST_AUTH:
            taken += line_step(s, rest, now);
            break;
        case ST_DATA:
            data_deadline(s, now);
            taken += srv_data_step(s, rest);
            break;
        case ST_BDAT:
            data_deadline(s, now);
            taken += srv_bdat_step(s, rest);
            break;
        case ST_SKIP:
            data_deadline(s, now);
            taken += skip_step(s, rest);
            break;
        case ST_FLOOD:
            taken += flood_step(s, rest);
            break;
        }
        if (s->state == ST_COMMAND && s->line.n == 0 && !s->ask)
            srv_rest_until(s, now);
    }
    if (!s->pending)
        drain_here(s);
    return taken;
}

/* ---- events
 * -------------------------------------------------------------------------------------------- */

static void fill(const struct ll_smtpd *s, struct ll_smtpd_event *e)
{
    e->type = (enum ll_smtpd_event_type)s->ask;
    if (s->ask == LL_SMTPD_ASK_AUTH) {
        e->user = ll_buf_slice(&s->auth->user);
        e->password = ll_buf_slice(&s->auth->password);
    }
    if (s->t) {
        e->bdat = s->t->by_bdat;
        if (s->ask == LL_SMTPD_ASK_MAIL)
            e->mail = &s->t->mail;
        if (s->ask == LL_SMTPD_ASK_RCPT)
            e->rcpt = &s->t->rcpt;
        if (s->ask == LL_SMTPD_ASK_END)
            e->content = s->t->by_bdat ? &s->t->bdat.c : &s->t->data.c;
    }
}

bool ll_smtpd_next(struct ll_smtpd *s, struct ll_smtpd_event *ret)
{
    struct ll_smtpd_event e = {0};

    if (!s->pending && !s->ask && s->state == ST_BDAT && s->t->bdat.left == 0)
        srv_bdat_chunk_done(s);
    if (s->pending & PEND_RESET) {
        s->pending &= (uint8_t)~PEND_RESET;
        e.type = LL_SMTPD_RESET;
    } else if (s->pending & PEND_BODY) {
        s->pending &= (uint8_t)~PEND_BODY;
        e.type = LL_SMTPD_BODY;
        e.body = s->run;
        s->run = ll_slice(NULL, 0);
    } else if (s->pending & PEND_ASK) {
        s->pending &= (uint8_t)~PEND_ASK;
        fill(s, &e);
    } else if (s->pending & PEND_CLOSE) {
        s->pending &= (uint8_t)~PEND_CLOSE;
        e.type = LL_SMTPD_CLOSE;
        e.why = s->why;
    } else {
        return false;
    }
    *ret = e;
    return true;
}

/* ---- answers
 * ---------------------------------------------------------------------------------------------- */

/* The answer as it will be sent: defaults filled in, codes that do not fit replaced. */
static struct ll_smtpd_answer complete(enum ll_smtpd_event_type question,
                                       const struct ll_smtpd_answer *a)
{
    const struct refusal *d = &defaults[question];
    struct ll_smtpd_answer r = a ? *a : (struct ll_smtpd_answer){0};

    if (r.code == 0)
        r.code = d->code;
    else if (r.code != d->code && (r.code < 400 || r.code > 599))
        r = (struct ll_smtpd_answer){.code = 451};
    if (r.code < 400) {
        if (!r.enhanced)
            r.enhanced = d->enhanced;
        if (!r.text.p)
            r.text = ll_slice_str(d->text);
        return r;
    }
    if (!r.enhanced)
        r.enhanced = r.code >= 500 ? "5.0.0" : "4.3.0";
    if (!r.text.p)
        r.text = r.code >= 500 ? LL_LIT("Refused") : LL_LIT("Not now, try again later");
    return r;
}

static void auth_answered(struct ll_smtpd *s, const struct ll_smtpd_answer *a)
{
    bool yes = a->code == 235;

    if (yes && s->user.n == 0)
        ll_buf_put_slice(&s->user, ll_buf_slice(&s->auth->user));
    srv_auth_forget(s);
    s->state = ST_COMMAND;
    if (!yes)
        ll_buf_clear(&s->user);
    if (yes && s->user.failed) {
        ll_buf_clear(&s->user);
        srv_refuse(s, 454, "4.7.0", "Temporary authentication failure");
        return;
    }
    srv_reply_slice(s, a->code, a->enhanced, a->text);
    if (yes)
        return;
    s->auth_failures += a->code >= 500;
    if (s->conf->auth_failures_max && s->auth_failures >= s->conf->auth_failures_max) {
        srv_reply(s, 421, "4.7.0", "Too many failed logins");
        srv_end_session(s, "logins");
        return;
    }
    count_error(s);
}

/* RCPT and MAIL. A temporary refusal of a recipient is no fault of the client. */
static void path_answered(struct ll_smtpd *s, enum ll_smtpd_event_type question,
                          const struct ll_smtpd_answer *a)
{
    ll_buf_release(&s->t->text);
    s->t->mail.auth = s->t->mail.envid = s->t->rcpt.orcpt = ll_slice(NULL, 0);
    if (a->code < 400) {
        if (question == LL_SMTPD_ASK_MAIL)
            s->t->accepted = true;
        else
            s->t->recipients++;
    } else if (question == LL_SMTPD_ASK_MAIL) {
        srv_txn_reset(s);
    }
    srv_reply_slice(s, a->code, a->enhanced, a->text);
    if (a->code >= 500)
        count_error(s);
}

static void data_answered(struct ll_smtpd *s, const struct ll_smtpd_answer *a, uint64_t now)
{
    bool by_bdat = s->t->by_bdat;

    if (a->code < 400) {
        if (!by_bdat && s->early) {
            srv_reply(s, 503, "5.5.1", "Data came before 354");
            srv_end_session(s, "pipelining");
            return;
        }
        if (!by_bdat)
            srv_reply_slice(s, a->code, NULL, a->text);
        if (s->t) /* without memory for the reply the session is over */
            srv_letter_begins(s, now);
        return;
    }
    if (by_bdat) { /* the chunk is read and thrown away; its reply may go ahead of it */
        s->skip = s->t->bdat.left;
        s->state = s->skip ? ST_SKIP : ST_COMMAND;
    }
    srv_txn_reset(s);
    srv_reply_slice(s, a->code, a->enhanced, a->text);
    if (a->code >= 500)
        count_error(s);
}

static void end_answered(struct ll_smtpd *s, const struct ll_smtpd_answer *a)
{
    s->t->accepted = false; /* the driver knows */
    srv_txn_reset(s);
    s->state = ST_COMMAND;
    srv_reply_slice(s, a->code, a->enhanced, a->text);
    if (a->code < 400)
        s->junk = 0;
    else if (a->code >= 500)
        count_error(s);
}

void ll_smtpd_answer(struct ll_smtpd *s, const struct ll_smtpd_answer *answer, uint64_t now)
{
    enum ll_smtpd_event_type question = (enum ll_smtpd_event_type)s->ask;
    struct ll_smtpd_answer a;

    if (s->state == ST_CLOSED)
        return; /* withdrawn meanwhile */
    if (question == LL_SMTPD_NONE || question == LL_SMTPD_START_TLS)
        abort();
    a = complete(question, answer);
    s->ask = LL_SMTPD_NONE;
    s->pending &= (uint8_t)~PEND_ASK;
    srv_rest_until(s, now);
    if (question == LL_SMTPD_ASK_AUTH)
        auth_answered(s, &a);
    else if (question == LL_SMTPD_ASK_DATA)
        data_answered(s, &a, now);
    else if (question == LL_SMTPD_ASK_END)
        end_answered(s, &a);
    else
        path_answered(s, question, &a);
    if (a.code == 421)
        srv_end_session(s, "answer");
    drain_here(s);
}

/* ---- output and time
 * ---------------------------------------------------------------------------------------- */

struct ll_slice ll_smtpd_out(const struct ll_smtpd *s)
{
    return ll_slice_skip(ll_buf_slice(&s->out), s->out_at);
}

void ll_smtpd_out_done(struct ll_smtpd *s, size_t n)
{
    s->out_at += n;
    if (s->out_at >= s->out.n) {
        ll_buf_release(&s->out);
        s->out_at = 0;
    } else if (s->out_at > LL_SMTPD_OUT_FULL / 2) {
        ll_buf_drop(&s->out, s->out_at);
        s->out_at = 0;
    }
}

uint64_t ll_smtpd_deadline(const struct ll_smtpd *s)
{
    return s->deadline;
}

void ll_smtpd_timeout(struct ll_smtpd *s, uint64_t now)
{
    if (s->state == ST_CLOSED || s->ask || now < s->deadline)
        return;
    srv_reply(s, 421, "4.4.2", "Timeout");
    srv_end_session(s, "timeout");
}

void ll_smtpd_drain(struct ll_smtpd *s)
{
    s->draining = true;
    if (!s->pending)
        drain_here(s);
}

void ll_smtpd_eof(struct ll_smtpd *s)
{
    srv_end_session(s, "eof");
}
