/* The client engine: a session's life, its events and its beginning. See client.h. */
#include "client.h"

#include <stdlib.h>

#define SECOND 1000u

static const char *const phase_names[LL_SMTPC_PHASES] = {
    [LL_SMTPC_CONNECT] = "connect",   [LL_SMTPC_GREETING] = "greeting", [LL_SMTPC_HELLO] = "hello",
    [LL_SMTPC_STARTTLS] = "starttls", [LL_SMTPC_HANDSHAKE] = "tls",     [LL_SMTPC_AUTH] = "auth",
    [LL_SMTPC_LOCAL] = "local",       [LL_SMTPC_MAIL] = "mail",         [LL_SMTPC_RCPT] = "rcpt",
    [LL_SMTPC_DATA] = "data",         [LL_SMTPC_BODY] = "body",         [LL_SMTPC_FINAL] = "final",
    [LL_SMTPC_RSET] = "rset",         [LL_SMTPC_IDLE] = "idle",         [LL_SMTPC_QUIT] = "quit",
};

const char *ll_smtpc_phase_name(enum ll_smtpc_phase phase)
{
    return (unsigned)phase < LL_SMTPC_PHASES ? phase_names[phase] : "unknown";
}

/* ---- life -------------------------------------------------------------------------------- */

static void set_timeouts(struct ll_smtpc_timeouts *t)
{
    uint32_t *const values[] = {&t->greeting, &t->hello, &t->handshake, &t->envelope,
                                &t->data,     &t->block, &t->final,     &t->quit};
    static const uint32_t defaults[] = {300, 300, 120, 300, 120, 180, 600, 10};

    for (size_t i = 0; i < LL_COUNT(values); i++)
        if (*values[i] == 0)
            *values[i] = defaults[i] * SECOND;
}

static bool clean_word(struct ll_slice s, size_t max)
{
    if (s.n == 0 || s.n > max)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= 0x20 || s.p[i] >= 0x7f)
            return false;
    return true;
}

struct ll_smtpc *ll_smtpc_new(const struct ll_smtpc_conf *conf, uint64_t now)
{
    struct ll_smtpc *c;

    if (!clean_word(conf->own_name, 255) || conf->user.n > LL_SASL_USER_MAX ||
        conf->password.n > LL_SASL_PASSWORD_MAX)
        return NULL;
    c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    ll_buf_init(&c->own_name, 255);
    ll_buf_init(&c->user, LL_SASL_USER_MAX);
    ll_buf_init(&c->password, LL_SASL_PASSWORD_MAX);
    ll_buf_init(&c->peer_name, 255);
    ll_buf_init(&c->failure_text, LL_SMTPC_TEXT_MAX);
    ll_buf_init(&c->cmd[0], CMD_MAX);
    ll_buf_init(&c->cmd[1], CMD_MAX);
    ll_buf_init(&c->slots[0].texts, TEXTS_MAX);
    ll_buf_init(&c->slots[1].texts, TEXTS_MAX);
    ll_buf_put_slice(&c->own_name, conf->own_name);
    ll_buf_put_slice(&c->user, conf->user);
    ll_buf_room(&c->password, LL_SASL_PASSWORD_MAX);
    ll_buf_put_slice(&c->password, conf->password);
    c->tls = conf->tls;
    c->peer.tls = conf->tls == LL_SMTPC_TLS_IMPLICIT;
    c->lmtp = conf->lmtp;
    c->no_pipelining = conf->no_pipelining;
    c->no_chunking = conf->no_chunking;
    c->rcpt_max = conf->rcpt_max ? conf->rcpt_max : LL_SMTPC_RCPT_DEFAULT;
    c->timeouts = conf->timeouts;
    set_timeouts(&c->timeouts);
    c->now = c->progress = now;
    if (c->own_name.failed || c->user.failed || c->password.failed) {
        ll_smtpc_free(c);
        return NULL;
    }
    client_expect(c, EXPECT_SESSION, NULL, 1);
    return c;
}

void ll_smtpc_free(struct ll_smtpc *c)
{
    if (!c)
        return;
    ll_smtp_reply_release(&c->reply);
    ll_buf_release(&c->own_name);
    ll_buf_wipe(&c->user);
    ll_buf_wipe(&c->password);
    ll_buf_release(&c->peer_name);
    ll_buf_release(&c->failure_text);
    letter_release(&c->slots[0]);
    letter_release(&c->slots[1]);
    out_release(c);
    free(c);
}

const struct ll_smtpc_peer *ll_smtpc_peer(const struct ll_smtpc *c)
{
    return &c->peer;
}

/* ---- expectations ------------------------------------------------------------------------ */

void client_expect(struct ll_smtpc *c, enum expect_kind kind, struct slot *slot, uint32_t count)
{
    if (c->expect_n == EXPECTS)
        abort(); /* the rules of letter_may_begin keep it far below */
    if (c->expect_n == 0)
        c->progress = c->now;
    c->expects[(c->expect_at + c->expect_n++) % EXPECTS] =
        (struct expect){kind, count, slot, c->cmd_queued, c->chunks_queued};
    if (slot)
        slot->awaiting += count;
}

struct expect *client_head(struct ll_smtpc *c)
{
    return c->expect_n ? &c->expects[c->expect_at] : NULL;
}

static void expect_pop(struct ll_smtpc *c)
{
    struct expect *e = client_head(c);

    if (e->slot)
        e->slot->awaiting--;
    if (--e->count > 0)
        return;
    c->expect_at = (c->expect_at + 1) % EXPECTS;
    c->expect_n--;
}

/* ---- ends -------------------------------------------------------------------------------- */

enum ll_smtpc_phase client_phase(enum expect_kind kind)
{
    static const enum ll_smtpc_phase of_expect[] = {
        [EXPECT_SESSION] = LL_SMTPC_IDLE, [EXPECT_MAIL] = LL_SMTPC_MAIL,
        [EXPECT_RCPT] = LL_SMTPC_RCPT,    [EXPECT_DATA] = LL_SMTPC_DATA,
        [EXPECT_BDAT] = LL_SMTPC_BODY,    [EXPECT_FINAL] = LL_SMTPC_FINAL,
        [EXPECT_VOID] = LL_SMTPC_FINAL,   [EXPECT_RSET] = LL_SMTPC_RSET,
        [EXPECT_QUIT] = LL_SMTPC_QUIT,
    };

    return of_expect[kind];
}

bool client_end_sent(const struct ll_smtpc *c, const struct slot *s)
{
    for (size_t i = 0; i < c->expect_n; i++) {
        const struct expect *e = &c->expects[(c->expect_at + i) % EXPECTS];

        if (e->slot == s && e->kind == EXPECT_FINAL)
            return c->cmd_written >= e->mark && c->chunks_written >= e->chunk;
    }
    return true;
}

/* The phase of what is awaited, for faults that are nobody's reply. */
static enum ll_smtpc_phase present_phase(struct ll_smtpc *c)
{
    static const enum ll_smtpc_phase of_state[] = {
        [CLIENT_GREETING] = LL_SMTPC_GREETING, [CLIENT_EHLO] = LL_SMTPC_HELLO,
        [CLIENT_HELO] = LL_SMTPC_HELLO,        [CLIENT_STARTTLS] = LL_SMTPC_STARTTLS,
        [CLIENT_TLS] = LL_SMTPC_HANDSHAKE,     [CLIENT_AUTH] = LL_SMTPC_AUTH,
        [CLIENT_LETTERS] = LL_SMTPC_IDLE,      [CLIENT_QUIT] = LL_SMTPC_QUIT,
        [CLIENT_END] = LL_SMTPC_QUIT,
    };
    struct expect *e = client_head(c);

    if (c->state != CLIENT_LETTERS)
        return of_state[c->state];
    if (c->body_out && (!e || e->kind == EXPECT_FINAL))
        return LL_SMTPC_BODY;
    if (e)
        return client_phase(e->kind);
    return c->cur && c->cur->state == SLOT_BODY ? LL_SMTPC_BODY : LL_SMTPC_IDLE;
}

static void client_end(struct ll_smtpc *c, bool failed)
{
    c->state = CLIENT_END;
    c->failed = failed;
    c->ev_end = true;
    c->ev_tls = c->ev_body = false;
    c->expect_n = 0;
    ll_buf_wipe(&c->password);
    out_release(c);
}

void client_close(struct ll_smtpc *c)
{
    if (c->state != CLIENT_END)
        client_end(c, false);
}

static void fail_with(struct ll_smtpc *c, struct ll_smtpc_result failure)
{
    struct ll_slice text = failure.text;

    if (c->state == CLIENT_END)
        return;
    ll_buf_clear(&c->failure_text);
    for (size_t i = 0; i < text.n && i < LL_SMTPC_TEXT_MAX; i++)
        ll_buf_putc(&c->failure_text, ll_is_print(text.p[i]) ? text.p[i]
                                      : text.p[i] == '\n'    ? ' '
                                                             : '?');
    c->failure = failure;
    c->failure.text = ll_buf_slice(&c->failure_text);
    letter_fail_all(c, &c->failure);
    client_end(c, true);
}

void client_fail(struct ll_smtpc *c, enum ll_smtpc_phase phase, struct ll_slice text)
{
    fail_with(c, (struct ll_smtpc_result){
                     .outcome = LL_SMTPC_DEFERRED,
                     .phase = phase,
                     .enhanced = {4, 4, 2}, /* RFC 3463 3.5: bad connection */
                     .text = text,
                 });
}

void client_status(const struct ll_smtp_reply *r, bool permanent, uint16_t ret[3])
{
    ret[0] = permanent ? 5 : r->code / 100 == 2 ? 2 : 4;
    ret[1] = r->enhanced[0] ? r->enhanced[1] : 0;
    ret[2] = r->enhanced[0] ? r->enhanced[2] : 0;
}

void client_fail_reply(struct ll_smtpc *c, enum ll_smtpc_phase phase, bool keep_permanent)
{
    bool permanent = keep_permanent && c->reply.code / 100 == 5;
    struct ll_smtpc_result failure = {
        .outcome = permanent ? LL_SMTPC_REFUSED : LL_SMTPC_DEFERRED,
        .phase = phase,
        .code = c->reply.code,
        .text = ll_buf_slice(&c->reply.text),
    };

    client_status(&c->reply, permanent, failure.enhanced);
    if (!permanent)
        failure.enhanced[0] = 4;
    fail_with(c, failure);
}

/* A fault without a reply: a sentence that says what was going on. */
static void fail_while(struct ll_smtpc *c, const char *what, struct ll_slice why)
{
    enum ll_smtpc_phase phase = present_phase(c);
    struct ll_buf text = LL_BUF(LL_SMTPC_TEXT_MAX);

    ll_buf_printf(&text, "%s (at: %s)", what, ll_smtpc_phase_name(phase));
    if (why.n) {
        ll_buf_puts(&text, ": ");
        ll_buf_put_slice(&text, ll_slice_cut(why, 0, 300));
    }
    client_fail(c, phase, ll_buf_slice(&text));
    ll_buf_release(&text);
}

/* ---- hello, STARTTLS, AUTH ----------------------------------------------------------------- */

static void command(struct ll_smtpc *c, enum client_state next, const char *verb,
                    struct ll_slice arg)
{
    out_puts(c, verb);
    out_put(c, arg);
    out_puts(c, "\r\n");
    c->state = next;
    client_expect(c, EXPECT_SESSION, NULL, 1);
}

static void say_hello(struct ll_smtpc *c)
{
    command(c, CLIENT_EHLO, c->lmtp ? "LHLO " : "EHLO ", ll_buf_slice(&c->own_name));
}

static uint32_t limit_value(struct ll_slice value)
{
    uint64_t v = 0;

    return ll_slice_u64(value, &v) && v <= UINT32_MAX ? (uint32_t)v : 0;
}

/* RFC 9422 3: name=value, separated by blanks. */
static void take_limits(struct ll_smtpc_peer *p, struct ll_slice args)
{
    struct ll_slice part;

    while (ll_slice_next(&args, ' ', &part)) {
        if (ll_slice_casestarts(part, LL_LIT("RCPTMAX=")))
            p->rcpt_max = limit_value(ll_slice_skip(part, 8));
        else if (ll_slice_casestarts(part, LL_LIT("RCPTDOMAINMAX=")))
            p->rcpt_domain_max = limit_value(ll_slice_skip(part, 14));
        else if (ll_slice_casestarts(part, LL_LIT("MAILMAX=")))
            p->mail_max = limit_value(ll_slice_skip(part, 8));
    }
}

static void take_auth(struct ll_smtpc_peer *p, struct ll_slice args)
{
    struct ll_slice part;
    enum ll_sasl_mech mech;

    while (ll_slice_next(&args, ' ', &part)) {
        if (!ll_sasl_mech_find(part, &mech))
            continue;
        if (mech == LL_SASL_PLAIN)
            p->auth_plain = true;
        else
            p->auth_login = true;
    }
}

static void take_extension(struct ll_smtpc *c, struct ll_slice line)
{
    struct ll_smtpc_peer *p = &c->peer;
    const struct {
        struct ll_slice keyword;
        bool *flag;
    } flags[] = {
        {LL_LIT("STARTTLS"), &p->starttls},
        {LL_LIT("PIPELINING"), &p->pipelining},
        {LL_LIT("CHUNKING"), &p->chunking},
        {LL_LIT("8BITMIME"), &p->eightbit},
        {LL_LIT("SMTPUTF8"), &p->smtputf8},
        {LL_LIT("DSN"), &p->dsn},
        {LL_LIT("SIZE"), &p->size},
        {LL_LIT("ENHANCEDSTATUSCODES"), &p->enhanced},
        {LL_LIT("REQUIRETLS"), &p->requiretls},
    };
    struct ll_slice keyword, args;
    size_t at = ll_slice_find(line, ' ');

    keyword = ll_slice_cut(line, 0, at);
    args = ll_slice_trim(ll_slice_skip(line, at + 1));
    for (size_t i = 0; i < LL_COUNT(flags); i++)
        if (ll_slice_caseeq(keyword, flags[i].keyword))
            *flags[i].flag = true;
    if (ll_slice_caseeq(keyword, LL_LIT("SIZE"))) {
        p->size_max = 0;
        ll_slice_u64(args, &p->size_max);
    } else if (ll_slice_caseeq(keyword, LL_LIT("LIMITS"))) {
        take_limits(p, args);
    } else if (ll_slice_caseeq(keyword, LL_LIT("AUTH"))) {
        take_auth(p, args);
    } else if (ll_slice_casestarts(keyword, LL_LIT("AUTH="))) {
        take_auth(p, ll_slice_skip(line, 5)); /* servers older than RFC 2554 */
    }
}

static void forget_peer(struct ll_smtpc *c)
{
    bool tls = c->peer.tls;

    c->peer = (struct ll_smtpc_peer){.tls = tls};
}

static void begin_auth(struct ll_smtpc *c)
{
    struct ll_buf line = LL_BUF(LL_SASL_LINE_MAX + 16);
    enum ll_sasl_mech mech = c->peer.auth_plain ? LL_SASL_PLAIN : LL_SASL_LOGIN;

    ll_sasl_client_init(&c->sasl, mech, ll_buf_slice(&c->user), ll_buf_slice(&c->password));
    /* RFC 4954 4: an initial response that would make the command too long goes alone. */
    if (mech == LL_SASL_PLAIN && c->user.n + c->password.n < 360) {
        ll_buf_putc(&line, ' ');
        ll_sasl_client_start(&c->sasl, &line);
    }
    out_puts(c, "AUTH ");
    out_put(c, ll_sasl_mech_name(mech));
    command(c, CLIENT_AUTH, "", ll_buf_slice(&line));
    ll_buf_wipe(&line);
}

/* After each hello: what this session still needs before letters. */
static void settle_session(struct ll_smtpc *c)
{
    bool wanted = c->tls == LL_SMTPC_TLS_OPPORTUNISTIC || c->tls == LL_SMTPC_TLS_FORCED;

    if (!c->peer.tls && wanted && c->peer.starttls) {
        command(c, CLIENT_STARTTLS, "STARTTLS", LL_LIT(""));
        return;
    }
    if (!c->peer.tls && c->tls == LL_SMTPC_TLS_FORCED) {
        client_fail(c, LL_SMTPC_STARTTLS,
                    LL_LIT("TLS is demanded for this host, but it does not offer STARTTLS"));
        return;
    }
    if (c->user.n && !c->peer.tls) {
        client_fail(c, LL_SMTPC_AUTH,
                    LL_LIT("a login is needed, and passwords are not sent without TLS"));
        return;
    }
    if (c->user.n && !c->peer.auth_plain && !c->peer.auth_login) {
        client_fail(c, LL_SMTPC_AUTH,
                    LL_LIT("a login is needed, but the server offers neither PLAIN nor LOGIN"));
        return;
    }
    if (c->user.n)
        begin_auth(c);
    else
        c->state = CLIENT_LETTERS;
}

static void hello_reply(struct ll_smtpc *c)
{
    struct ll_slice text = ll_buf_slice(&c->reply.text), line;
    bool first = true;

    if (c->reply.code / 100 != 2) {
        bool helo = c->reply.code / 100 == 5 && c->state == CLIENT_EHLO && !c->lmtp &&
                    !(c->tls == LL_SMTPC_TLS_FORCED && !c->peer.tls) && c->user.n == 0;

        if (helo)
            command(c, CLIENT_HELO, "HELO ", ll_buf_slice(&c->own_name));
        else
            client_fail_reply(c, LL_SMTPC_HELLO, true);
        return;
    }
    forget_peer(c);
    c->peer.esmtp = c->state == CLIENT_EHLO;
    while (ll_slice_next(&text, '\n', &line)) {
        if (first) {
            ll_buf_clear(&c->peer_name);
            ll_buf_put_slice(&c->peer_name,
                             ll_slice_cut(line, 0, ll_slice_find(ll_slice_cut(line, 0, 255), ' ')));
            c->peer.name = ll_buf_slice(&c->peer_name);
        } else if (c->peer.esmtp) {
            take_extension(c, ll_slice_trim(line));
        }
        first = false;
    }
    if (c->peer.tls)
        c->peer.starttls = false; /* RFC 3207 4.2: it means nothing under TLS */
    if (c->no_pipelining)
        c->peer.pipelining = false;
    if (c->no_chunking || !c->peer.pipelining)
        c->peer.chunking = false;
    settle_session(c);
}

static void starttls_reply(struct ll_smtpc *c)
{
    if (c->reply.code == 220) {
        c->state = CLIENT_TLS;
        c->ev_tls = true;
        c->progress = c->now;
        return;
    }
    if (c->tls == LL_SMTPC_TLS_FORCED) {
        client_fail_reply(c, LL_SMTPC_STARTTLS, false);
        return;
    }
    c->peer.starttls = false; /* refused: on in clear, as nobody demanded more */
    settle_session(c);
}

static void auth_reply(struct ll_smtpc *c)
{
    struct ll_buf line = LL_BUF(LL_SASL_LINE_MAX + 16);

    if (c->reply.code == 334 && c->sasl.sent == UINT32_MAX) { /* it asks on behind our "*" */
        client_fail_reply(c, LL_SMTPC_AUTH, false);
        return;
    }
    if (c->reply.code == 334) {
        out_wipe(c);
        if (!ll_sasl_client_answer(&c->sasl, ll_buf_slice(&c->reply.text), &line)) {
            ll_buf_clear(&line);
            ll_buf_putc(&line, '*');
            c->sasl.sent = UINT32_MAX;
        }
        command(c, CLIENT_AUTH, "", ll_buf_slice(&line));
        ll_buf_wipe(&line);
        return;
    }
    out_wipe(c);
    ll_buf_wipe(&c->password);
    if (c->reply.code / 100 != 2 || c->sasl.sent == UINT32_MAX) {
        client_fail_reply(c, LL_SMTPC_AUTH, true);
        return;
    }
    c->peer.authenticated = true;
    c->state = CLIENT_LETTERS;
}

static void session_reply(struct ll_smtpc *c)
{
    switch (c->state) {
    case CLIENT_GREETING:
        if (c->reply.code == 220)
            say_hello(c);
        else
            client_fail_reply(c, LL_SMTPC_GREETING, true);
        return;
    case CLIENT_EHLO:
    case CLIENT_HELO:
        hello_reply(c);
        return;
    case CLIENT_STARTTLS:
        starttls_reply(c);
        return;
    case CLIENT_AUTH:
        auth_reply(c);
        return;
    case CLIENT_TLS:
    case CLIENT_LETTERS:
    case CLIENT_QUIT:
    case CLIENT_END:
        break;
    }
    abort(); /* no such expectation is made in these states */
}

/* ---- input --------------------------------------------------------------------------------- */

/* A reply that nobody waits for, or before its command has wholly left. */
static void early_reply(struct ll_smtpc *c)
{
    if (c->state == CLIENT_QUIT ||
        (c->state == CLIENT_LETTERS && c->reply.code == 421 && letter_idle(c) && !c->expect_n))
        client_close(c);
    else if (c->reply.code >= 400)
        client_fail_reply(c, present_phase(c), false);
    else
        fail_while(c, "the server sent a reply that it was not asked for", LL_LIT(""));
}

static void take_reply(struct ll_smtpc *c)
{
    struct expect *e = client_head(c);
    struct expect due;

    if (!e || c->cmd_written < e->mark || c->chunks_written < e->chunk) {
        early_reply(c);
        return;
    }
    c->progress = c->now;
    if (e->kind == EXPECT_QUIT) {
        client_close(c);
        return;
    }
    if (c->reply.code == 421) {
        client_fail_reply(c, present_phase(c), false);
        return;
    }
    due = *e;
    expect_pop(c);
    if (due.kind == EXPECT_SESSION) {
        session_reply(c);
    } else if (due.kind == EXPECT_RSET) {
        if (c->reply.code / 100 != 2)
            client_fail_reply(c, LL_SMTPC_RSET, false);
    } else {
        letter_reply(c, &due);
    }
    if (c->state == CLIENT_LETTERS)
        letter_advance(c);
}

void ll_smtpc_feed(struct ll_smtpc *c, struct ll_slice in, uint64_t now)
{
    c->now = now;
    while (in.n && c->state != CLIENT_END) {
        size_t took;

        if (c->state == CLIENT_TLS) {
            client_fail(c, LL_SMTPC_STARTTLS,
                        LL_LIT("the server sent clear text behind its reply to STARTTLS"));
            return;
        }
        took = ll_smtp_reply_feed(&c->reply, in);
        in = ll_slice_skip(in, took);
        if (c->reply.bad) {
            fail_while(c, "the server does not speak SMTP: bad reply", LL_LIT(""));
            return;
        }
        if (!c->reply.done)
            continue;
        take_reply(c);
        ll_smtp_reply_clear(&c->reply);
    }
}

void ll_smtpc_eof(struct ll_smtpc *c)
{
    if (c->state == CLIENT_END)
        return;
    if (c->state == CLIENT_QUIT || (c->state == CLIENT_LETTERS && letter_idle(c)))
        client_close(c);
    else
        fail_while(c, "the server closed the connection", LL_LIT(""));
}

void ll_smtpc_broken(struct ll_smtpc *c, struct ll_slice why)
{
    if (c->state == CLIENT_QUIT || (c->state == CLIENT_LETTERS && letter_idle(c)))
        client_close(c);
    else
        fail_while(c, "the connection broke", why);
}

void ll_smtpc_tls_up(struct ll_smtpc *c, uint64_t now)
{
    c->now = now;
    if (c->state != CLIENT_TLS)
        return;
    c->ev_tls = false;
    forget_peer(c); /* RFC 3207 4.2 */
    c->peer.tls = true;
    say_hello(c);
}

void ll_smtpc_tls_failed(struct ll_smtpc *c, struct ll_slice why)
{
    struct ll_buf text = LL_BUF(LL_SMTPC_TEXT_MAX);

    if (c->state != CLIENT_TLS)
        return;
    ll_buf_puts(&text, "no TLS session could be made: ");
    ll_buf_put_slice(&text, ll_slice_cut(why, 0, 400));
    client_fail(c, LL_SMTPC_HANDSHAKE, ll_buf_slice(&text));
    ll_buf_release(&text);
}

/* ---- time ---------------------------------------------------------------------------------- */

static uint32_t present_timeout(const struct ll_smtpc *c, const struct expect *e)
{
    const struct ll_smtpc_timeouts *t = &c->timeouts;

    if (c->body_out)
        return t->block;
    switch (e->kind) {
    case EXPECT_SESSION:
        return c->state == CLIENT_GREETING ? t->greeting : t->hello;
    case EXPECT_MAIL:
    case EXPECT_RCPT:
        return t->envelope;
    case EXPECT_DATA:
        return t->data;
    case EXPECT_BDAT:
        return t->block;
    case EXPECT_FINAL:
    case EXPECT_VOID:
        return t->final;
    case EXPECT_RSET:
        return t->hello;
    case EXPECT_QUIT:
        return t->quit;
    }
    return t->hello;
}

uint64_t ll_smtpc_deadline(const struct ll_smtpc *c)
{
    if (c->state == CLIENT_END)
        return UINT64_MAX;
    if (c->state == CLIENT_TLS)
        return c->progress + c->timeouts.handshake;
    if (c->expect_n == 0 && !c->body_out)
        return UINT64_MAX;
    return c->progress + present_timeout(c, &c->expects[c->expect_at]);
}

void ll_smtpc_timeout(struct ll_smtpc *c, uint64_t now)
{
    c->now = now;
    if (now < ll_smtpc_deadline(c))
        return;
    if (c->state == CLIENT_QUIT)
        client_close(c);
    else
        fail_while(c, "the server did not answer in time", LL_LIT(""));
}

/* ---- events -------------------------------------------------------------------------------- */

void client_try_quit(struct ll_smtpc *c)
{
    bool used_up = c->peer.mail_max && c->transactions >= c->peer.mail_max;

    if (c->state != CLIENT_LETTERS || c->expect_n || !letter_idle(c) || !(c->quitting || used_up))
        return;
    out_puts(c, "QUIT\r\n");
    c->state = CLIENT_QUIT;
    client_expect(c, EXPECT_QUIT, NULL, 1);
}

void ll_smtpc_quit(struct ll_smtpc *c, uint64_t now)
{
    c->now = now;
    c->quitting = true;
    client_try_quit(c);
}

static bool next_done(struct ll_smtpc *c, struct ll_smtpc_event *ret)
{
    /* The older letter first: it is the one that is not the present one. */
    for (int present = 0; present < 2; present++) {
        for (size_t i = 0; i < 2; i++) {
            struct slot *s = &c->slots[i];

            if (s->state != SLOT_DONE || (s == c->cur) != (present == 1))
                continue;
            letter_results(s);
            s->state = SLOT_FREE;
            if (s == c->cur)
                c->cur = NULL;
            *ret = (struct ll_smtpc_event){.type = LL_SMTPC_DONE,
                                           .tag = s->letter.tag,
                                           .results = s->results,
                                           .result_count = s->letter.recipient_count};
            return true;
        }
    }
    return false;
}

bool ll_smtpc_next(struct ll_smtpc *c, struct ll_smtpc_event *ret)
{
    if (next_done(c, ret))
        return true;
    *ret = (struct ll_smtpc_event){0};
    if (c->ev_end) {
        c->ev_end = false;
        ret->type = c->failed ? LL_SMTPC_FAILED : LL_SMTPC_CLOSED;
        if (c->failed)
            ret->result = c->failure;
        return true;
    }
    if (c->state == CLIENT_END)
        return false;
    if (c->ev_tls) {
        c->ev_tls = false;
        ret->type = LL_SMTPC_START_TLS;
        return true;
    }
    if (c->ev_body) {
        c->ev_body = false;
        ret->type = LL_SMTPC_NEED_BODY;
        ret->tag = c->cur->letter.tag;
        return true;
    }
    client_try_quit(c);
    if (!c->ready_told && !c->quitting && letter_may_begin(c)) {
        c->ready_told = true;
        ret->type = LL_SMTPC_READY;
        return true;
    }
    return false;
}
