/* A letter's way through the client engine. See client.h. */
#include "client.h"

#include <stdlib.h>

/* ---- results ----------------------------------------------------------------------------- */

void letter_release(struct slot *s)
{
    free(s->rcpts);
    free(s->results);
    ll_buf_release(&s->texts);
    *s = (struct slot){.texts = s->texts};
}

static bool slot_prepare(struct slot *s, size_t recipients)
{
    if (recipients > s->room) {
        struct rcpt *rcpts = calloc(recipients, sizeof(*rcpts));
        struct ll_smtpc_result *results = calloc(recipients, sizeof(*results));

        if (!rcpts || !results) {
            free(rcpts);
            free(results);
            return false;
        }
        free(s->rcpts);
        free(s->results);
        s->rcpts = rcpts;
        s->results = results;
        s->room = recipients;
    }
    ll_buf_clear(&s->texts);
    memset(s->rcpts, 0, recipients * sizeof(*s->rcpts));
    memset(s->results, 0, recipients * sizeof(*s->results));
    *s =
        (struct slot){.rcpts = s->rcpts, .results = s->results, .room = s->room, .texts = s->texts};
    return true;
}

/* Keeps a text, clean and cut; a text equal to the last one is kept once. */
static void put_text(struct slot *s, struct ll_slice text, struct rcpt *r)
{
    size_t n = text.n < LL_SMTPC_TEXT_MAX ? text.n : LL_SMTPC_TEXT_MAX;
    size_t at = s->texts.n;
    uint8_t *to = ll_buf_room(&s->texts, n);

    r->text_at = 0;
    r->text_n = 0;
    if (!to) {
        s->texts.failed = false; /* the codes stay, the words are lost */
        return;
    }
    for (size_t i = 0; i < n; i++)
        to[i] = ll_is_print(text.p[i]) ? text.p[i] : text.p[i] == '\n' ? ' ' : '?';
    if (n <= at && memcmp(s->texts.p + at - n, to, n) == 0) {
        at -= n;
    } else {
        ll_buf_grew(&s->texts, n);
    }
    r->text_at = (uint32_t)at;
    r->text_n = (uint32_t)n;
}

static void settle(struct slot *s, size_t i, struct ll_smtpc_result result)
{
    struct rcpt *r = &s->rcpts[i];

    if (r->state == RCPT_SETTLED)
        return;
    if (r->state == RCPT_ACCEPTED)
        s->accepted--;
    r->state = RCPT_SETTLED;
    put_text(s, result.text, r);
    s->results[i] = result;
}

/* Settles all that are in this state or (with any) all that are not settled. */
static void settle_all(struct slot *s, bool any, enum rcpt_state state,
                       struct ll_smtpc_result result)
{
    for (size_t i = 0; i < s->letter.recipient_count; i++)
        if (any || s->rcpts[i].state == state)
            settle(s, i, result);
}

void letter_results(struct slot *s)
{
    for (size_t i = 0; i < s->letter.recipient_count; i++)
        s->results[i].text = ll_slice_cut(ll_buf_slice(&s->texts), s->rcpts[i].text_at,
                                          s->rcpts[i].text_at + s->rcpts[i].text_n);
}

static struct ll_smtpc_result local(enum ll_smtpc_outcome outcome, uint16_t subject,
                                    uint16_t detail, struct ll_slice text)
{
    return (struct ll_smtpc_result){
        .outcome = outcome,
        .phase = LL_SMTPC_LOCAL,
        .enhanced = {outcome == LL_SMTPC_REFUSED ? 5 : 4, subject, detail},
        .text = text,
    };
}

/* What a reply that is not positive means for a recipient. */
static struct ll_smtpc_result from_reply(struct ll_smtpc *c, enum ll_smtpc_phase phase)
{
    const struct ll_smtp_reply *r = &c->reply;
    struct ll_smtpc_result result = {.phase = phase,
                                     .code = r->code,
                                     .outcome = LL_SMTPC_DEFERRED,
                                     .text = ll_buf_slice(&r->text)};

    client_status(r, r->code / 100 == 5, result.enhanced);
    if (r->code / 100 == 2)
        result.outcome = LL_SMTPC_DELIVERED;
    else if (r->code / 100 == 5)
        result.outcome = LL_SMTPC_REFUSED;
    return result;
}

/* ---- a letter comes in --------------------------------------------------------------------- */

bool letter_idle(const struct ll_smtpc *c)
{
    for (size_t i = 0; i < 2; i++)
        if (c->slots[i].state != SLOT_FREE && c->slots[i].state != SLOT_DONE)
            return false;
    return true;
}

static bool other_pending(const struct ll_smtpc *c, const struct slot *s)
{
    return c->slots[s == &c->slots[0] ? 1 : 0].state == SLOT_FINAL;
}

/* One letter may be on its way out, and with pipelining one more may wait for its last reply. */
bool letter_may_begin(const struct ll_smtpc *c)
{
    if (c->state != CLIENT_LETTERS || c->cur)
        return false;
    if (c->peer.mail_max && c->transactions >= c->peer.mail_max)
        return false;
    for (size_t i = 0; i < 2; i++)
        if (c->slots[i].state != SLOT_FREE &&
            !(c->slots[i].state == SLOT_FINAL && c->peer.pipelining))
            return false;
    return true;
}

/* An address goes between < and >: nothing in it may end that, or the line. */
static bool address_ok(struct ll_slice a, bool *utf8)
{
    bool quoted = false;

    if (a.n == 0 || a.n > LL_SMTPC_ADDRESS_MAX)
        return false;
    for (size_t i = 0; i < a.n; i++) {
        uint8_t ch = a.p[i];

        if (ch < 0x20 || ch == 0x7f)
            return false;
        if (ch > 0x7f)
            *utf8 = true;
        if (ch == '"')
            quoted = !quoted;
        else if (quoted && ch == '\\' && (++i == a.n || !ll_is_print(a.p[i])))
            return false;
        else if (!quoted && (ch == ' ' || ch == '<' || ch == '>' || ch == '\\'))
            return false;
    }
    return !quoted && ll_utf8_valid(a);
}

static bool word_ok(struct ll_slice s, size_t max)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= 0x20 || s.p[i] >= 0x7f)
            return false;
    return s.n <= max;
}

/* Domains of one transaction; a peer's limit at or above their number is none. */
struct domains {
    struct ll_slice name[LL_SMTPC_RCPT_DEFAULT];
    size_t n, max;
};

/* False: one domain more than the peer takes (RFC 9422 5.3). */
static bool domain_fits(struct domains *d, struct ll_slice address)
{
    struct ll_slice name = ll_slice_skip(address, ll_slice_rfind(address, '@') + 1);

    if (d->max == 0 || d->max >= LL_COUNT(d->name))
        return true;
    for (size_t i = 0; i < d->n; i++)
        if (ll_slice_caseeq(d->name[i], name))
            return true;
    if (d->n == d->max)
        return false;
    d->name[d->n++] = name;
    return true;
}

/* What can be said without the peer; leaves unsettled whom to ask it about. */
static void check_letter(struct ll_smtpc *c, struct slot *s, bool *utf8)
{
    struct ll_smtpc_letter *l = &s->letter;
    struct domains domains = {.max = c->peer.rcpt_domain_max};
    uint32_t max = c->rcpt_max, n = 0;

    *utf8 = l->smtputf8;
    if (c->peer.rcpt_max && c->peer.rcpt_max < max)
        max = c->peer.rcpt_max;
    if (l->reverse_path.n && !address_ok(l->reverse_path, utf8)) {
        settle_all(s, true, 0,
                   local(LL_SMTPC_REFUSED, 1, 7, LL_LIT("the sender's address is not valid")));
        return;
    }
    for (size_t i = 0; i < l->recipient_count; i++) {
        const struct ll_smtpc_recipient *r = &l->recipients[i];

        if (!address_ok(r->address, utf8) || !word_ok(r->notify, 64) ||
            (r->orcpt.n && !ll_orcpt_ok(r->orcpt, true)))
            settle(s, i,
                   local(LL_SMTPC_REFUSED, 1, 3, LL_LIT("the recipient's address is not valid")));
        else if (!domain_fits(&domains, r->address) || n++ >= max)
            settle(s, i, local(LL_SMTPC_AGAIN, 5, 3, LL_LIT("left for another transaction")));
    }
    if (c->peer.size_max && l->size > c->peer.size_max)
        settle_all(s, true, 0,
                   local(LL_SMTPC_REFUSED, 3, 4,
                         LL_LIT("the letter is larger than the next server takes")));
    else if (*utf8 && !c->peer.smtputf8)
        settle_all(
            s, true, 0,
            local(LL_SMTPC_REFUSED, 6, 7,
                  LL_LIT("the letter needs SMTPUTF8, which the next server does not offer")));
    else if (l->eightbit && !c->peer.eightbit)
        settle_all(
            s, true, 0,
            local(LL_SMTPC_REFUSED, 6, 3,
                  LL_LIT("the letter needs 8BITMIME, which the next server does not offer")));
    if (!word_ok(l->envid, LL_SMTP_ENVID_MAX) || !word_ok(l->ret, 4))
        l->envid = l->ret = (struct ll_slice){NULL, 0};
}

static bool all_settled(const struct slot *s)
{
    for (size_t i = 0; i < s->letter.recipient_count; i++)
        if (s->rcpts[i].state != RCPT_SETTLED)
            return false;
    return true;
}

/* ---- the envelope ---------------------------------------------------------------------------- */

static void put_mail(struct ll_smtpc *c, struct slot *s)
{
    const struct ll_smtpc_letter *l = &s->letter;
    struct ll_buf line = LL_BUF(2048);

    ll_buf_puts(&line, "MAIL FROM:<");
    ll_buf_put_slice(&line, l->reverse_path);
    ll_buf_puts(&line, ">");
    if (c->peer.size)
        ll_buf_printf(&line, " SIZE=%llu", (unsigned long long)l->size);
    if (c->peer.eightbit && (l->eightbit || l->smtputf8))
        ll_buf_puts(&line, " BODY=8BITMIME");
    if (l->smtputf8)
        ll_buf_puts(&line, " SMTPUTF8");
    if (c->peer.dsn && l->ret.n) {
        ll_buf_puts(&line, " RET=");
        ll_buf_put_slice(&line, l->ret);
    }
    if (c->peer.dsn && l->envid.n) {
        ll_buf_puts(&line, " ENVID=");
        ll_buf_put_slice(&line, l->envid);
    }
    ll_buf_puts(&line, "\r\n");
    c->cmd[c->body_out ? 1 : 0].failed |= line.failed;
    out_put(c, ll_buf_slice(&line));
    ll_buf_release(&line);
    client_expect(c, EXPECT_MAIL, s, 1);
    s->begun = true;
    c->transactions++;
}

static void put_rcpt(struct ll_smtpc *c, const struct ll_smtpc_recipient *r)
{
    struct ll_buf orcpt = LL_BUF(4 * LL_SMTP_ORCPT_MAX);

    out_puts(c, "RCPT TO:<");
    out_put(c, r->address);
    out_puts(c, ">");
    if (c->peer.dsn && r->notify.n) {
        out_puts(c, " NOTIFY=");
        out_put(c, r->notify);
    }
    if (c->peer.dsn && r->orcpt.n) {
        ll_orcpt_ascii_put(&orcpt, r->orcpt);
        out_puts(c, " ORCPT=");
        out_put(c, ll_buf_slice(&orcpt));
        c->cmd[c->body_out ? 1 : 0].failed |= orcpt.failed;
    }
    out_puts(c, "\r\n");
    ll_buf_release(&orcpt);
}

/* Queues up to max more RCPT commands; false when there were none left. */
static bool put_rcpts(struct ll_smtpc *c, struct slot *s, size_t max)
{
    uint32_t n = 0;

    for (; s->sent < s->letter.recipient_count && n < max; s->sent++) {
        if (s->rcpts[s->sent].state != RCPT_WAITING)
            continue;
        put_rcpt(c, &s->letter.recipients[s->sent]);
        s->rcpts[s->sent].state = RCPT_SENT;
        /* The first reply is due when its own command has left: one expectation, early mark. */
        if (n++ == 0)
            client_expect(c, EXPECT_RCPT, s, 1);
    }
    if (n == 0)
        return false;
    c->expects[(c->expect_at + c->expect_n - 1) % EXPECTS].count = n;
    s->awaiting += n - 1;
    return true;
}

static void put_data(struct ll_smtpc *c, struct slot *s)
{
    out_puts(c, "DATA\r\n");
    client_expect(c, EXPECT_DATA, s, 1);
    s->data_said = true;
}

static void envelope_begin(struct ll_smtpc *c, struct slot *s)
{
    put_mail(c, s);
    if (!c->peer.pipelining)
        return;
    put_rcpts(c, s, SIZE_MAX);
    if (!s->bdat && !s->letter.probe)
        put_data(c, s);
}

void ll_smtpc_letter(struct ll_smtpc *c, const struct ll_smtpc_letter *letter, uint64_t now)
{
    struct slot *s = c->slots[0].state == SLOT_FREE ? &c->slots[0] : &c->slots[1];
    bool utf8 = false;

    c->now = now;
    if (s->state != SLOT_FREE || c->cur || letter->recipient_count == 0 ||
        letter->recipient_count > LL_SMTPC_RECIPIENTS_MAX)
        abort(); /* READY had not come */
    if (!slot_prepare(s, letter->recipient_count)) {
        /* Without memory for results the letter is deferred as a whole, and the session ends. */
        s->letter = (struct ll_smtpc_letter){.tag = letter->tag};
        s->state = SLOT_DONE;
        client_fail(c, LL_SMTPC_LOCAL, LL_LIT("out of memory"));
        return;
    }
    c->ready_told = false;
    s->letter = *letter;
    s->state = SLOT_ENVELOPE;
    c->cur = s;
    if (c->state == CLIENT_LETTERS)
        check_letter(c, s, &utf8);
    else
        settle_all(s, true, 0,
                   local(LL_SMTPC_DEFERRED, 4, 2,
                         LL_LIT("the connection was closed before the letter was begun")));
    s->letter.smtputf8 = utf8;
    s->bdat = c->peer.chunking;
    if (all_settled(s)) {
        s->state = SLOT_DONE;
        return;
    }
    /* RFC 3030 2 leaves open what a failed BDAT leaves open: a letter behind one is begun with
     * RSET. A failed final dot always ends its transaction (RFC 5321 4.1.1.4). */
    if (c->peer.chunking && other_pending(c, s))
        c->need_rset = true;
    if (c->need_rset) {
        out_puts(c, "RSET\r\n");
        client_expect(c, EXPECT_RSET, NULL, 1);
        c->need_rset = false;
        if (!c->peer.pipelining)
            return; /* letter_advance goes on when its reply is here */
    }
    envelope_begin(c, s);
    letter_advance(c);
}

/* ---- the body ----------------------------------------------------------------------------------
 */

static void keep_tail(struct slot *s, struct ll_slice part)
{
    for (size_t i = part.n > 2 ? part.n - 2 : 0; i < part.n; i++) {
        s->tail[0] = s->tail[1];
        s->tail[1] = part.p[i];
    }
    s->body_octets += part.n;
}

/* BDAT announces its octets, so a part is checked before that. */
static bool chunk_ok(struct slot *s, struct ll_slice part)
{
    struct ll_smtp_bdat check = {.left = part.n};

    /* The edge between two parts: a CR at the end of one, its LF at the start of the next. */
    if (s->body_octets && s->tail[1] == '\r') {
        if (part.n == 0 || part.p[0] != '\n')
            return part.n == 0;
        check.cr = true;
    }
    while (check.left && check.c.error == LL_SMTP_OK) {
        struct ll_slice run;
        size_t took = ll_smtp_bdat_read(&check, part, &run);

        if (took == 0)
            break;
        part = ll_slice_skip(part, took);
    }
    return check.c.error == LL_SMTP_OK;
}

/* The letter whose body is on its way: the present one, or the one that waits for its end. */
static struct slot *body_slot(struct ll_smtpc *c)
{
    if (c->cur && c->cur->state == SLOT_BODY)
        return c->cur;
    for (size_t i = 0; i < 2; i++)
        if (c->slots[i].state == SLOT_FINAL)
            return &c->slots[i];
    return NULL;
}

void letter_bad_body(struct ll_smtpc *c, enum ll_smtpc_outcome outcome, struct ll_slice why)
{
    struct slot *s = body_slot(c);
    struct ll_smtpc_result r = local(outcome, outcome == LL_SMTPC_REFUSED ? 6 : 3, 0, why);

    r.phase = LL_SMTPC_BODY;
    if (s)
        settle_all(s, true, 0, r);
    client_fail(c, LL_SMTPC_BODY, why);
}

static void final_expected(struct ll_smtpc *c, struct slot *s)
{
    s->state = SLOT_FINAL;
    client_expect(c, EXPECT_FINAL, s, c->lmtp && s->accepted ? (uint32_t)s->accepted : 1);
    c->cur = NULL;
}

static void body_by_bdat(struct ll_smtpc *c, struct slot *s, struct ll_slice part, bool last)
{
    char line[64];
    struct ll_buf b = LL_BUF(sizeof(line));

    ll_buf_printf(&b, "BDAT %zu%s\r\n", part.n, last ? " LAST" : "");
    out_put(c, ll_buf_slice(&b));
    c->cmd[0].failed |= b.failed;
    ll_buf_release(&b);
    s->chunked = true;
    if (part.n)
        out_body(c, part, false);
    if (last)
        final_expected(c, s);
    else
        client_expect(c, EXPECT_BDAT, s, 1);
}

void ll_smtpc_body(struct ll_smtpc *c, struct ll_slice part, bool last, uint64_t now)
{
    struct slot *s = c->cur;

    c->now = now;
    if (c->state == CLIENT_END)
        return;
    if (!s || !s->asked || c->body_out)
        abort(); /* NEED_BODY had not come */
    s->asked = false;
    if (s->bdat && s->awaiting == 0 && s->accepted == 0)
        s->aborted = true; /* all recipients were refused while the driver was reading */
    if (s->aborted) {
        letter_advance(c);
        return;
    }
    if (s->bdat && !chunk_ok(s, part)) {
        letter_bad_body(c, LL_SMTPC_REFUSED,
                        LL_LIT("the letter holds a bare CR, a bare LF or a NUL and was not sent"));
        return;
    }
    keep_tail(s, part);
    if (last && s->body_octets && (s->tail[0] != '\r' || s->tail[1] != '\n')) {
        letter_bad_body(c, LL_SMTPC_REFUSED,
                        LL_LIT("the letter's last line does not end with CR LF; it was not sent"));
        return;
    }
    if (part.n == 0 && !last) {
        letter_advance(c);
        return;
    }
    if (s->bdat) {
        body_by_bdat(c, s, part, last);
    } else {
        if (part.n)
            out_body(c, part, true);
        if (last && c->state != CLIENT_END) {
            out_puts(c, ".\r\n");
            final_expected(c, s);
        }
    }
    letter_advance(c);
}

void ll_smtpc_body_failed(struct ll_smtpc *c, struct ll_slice why)
{
    if (c->state != CLIENT_END)
        letter_bad_body(c, LL_SMTPC_DEFERRED, why.n ? why : LL_LIT("the letter could not be read"));
}

/* ---- moving on ---------------------------------------------------------------------------------
 */

/* The letter is settled, and all its replies are in. */
static void finish(struct ll_smtpc *c, struct slot *s)
{
    settle_all(
        s, true, 0,
        local(LL_SMTPC_DEFERRED, 5, 0, LL_LIT("the server did not speak of this recipient")));
    s->state = SLOT_DONE;
    s->asked = false;
    if (s == c->cur)
        c->ev_body = false;
}

static void need_body(struct ll_smtpc *c, struct slot *s)
{
    s->state = SLOT_BODY;
    if (s->asked || c->body_out)
        return;
    s->asked = true;
    c->ev_body = true;
    c->stuff = s->body_octets ? c->stuff : (struct ll_smtp_stuff){0};
}

/* The envelope's commands without pipelining: one at a time. */
static void envelope_step(struct ll_smtpc *c, struct slot *s)
{
    if (!s->begun) {
        if (c->expect_n == 0)
            envelope_begin(c, s);
        return;
    }
    if (s->awaiting || !s->mail_ok || put_rcpts(c, s, 1))
        return;
    if (s->accepted && !s->data_said)
        put_data(c, s);
}

static void envelope_advance(struct ll_smtpc *c, struct slot *s)
{
    bool eager = s->bdat && !c->lmtp && s->letter.size <= LL_SMTPC_EAGER_MAX;

    if (!c->peer.pipelining)
        envelope_step(c, s);
    if (!s->begun)
        return;
    if (s->aborted || (s->awaiting == 0 && s->accepted == 0)) {
        if (s->awaiting || (s->asked && !c->ev_body))
            return;
        if (s->mail_ok)
            c->need_rset = true;
        finish(c, s);
        return;
    }
    if (s->bdat && !s->letter.probe && !other_pending(c, s) && (eager || s->awaiting == 0))
        need_body(c, s);
}

static void body_advance(struct ll_smtpc *c, struct slot *s)
{
    if (c->body_out || (s->asked && !c->ev_body))
        return; /* the driver's octets are in use, or it is about to give some */
    if (s->bdat && s->accepted == 0 && s->awaiting == 0)
        s->aborted = true; /* all recipients were refused before the body was due */
    if (!s->aborted) {
        if (c->expect_n < EXPECTS / 2) /* chunks without a reply so far are few */
            need_body(c, s);
        return;
    }
    c->ev_body = false;
    s->asked = false;
    if (s->awaiting)
        return;
    c->need_rset = true;
    finish(c, s);
}

void letter_advance(struct ll_smtpc *c)
{
    if (c->state != CLIENT_LETTERS)
        return;
    if (c->cmd[0].failed || c->cmd[1].failed) {
        client_fail(c, LL_SMTPC_LOCAL, LL_LIT("out of memory"));
        return;
    }
    for (size_t i = 0; i < 2; i++) {
        struct slot *s = &c->slots[i];

        if (s->state == SLOT_FINAL && s->awaiting == 0)
            finish(c, s);
    }
    if (c->cur && c->cur->state == SLOT_ENVELOPE)
        envelope_advance(c, c->cur);
    if (c->cur && c->cur->state == SLOT_BODY)
        body_advance(c, c->cur);
    client_try_quit(c);
}

/* ---- replies -----------------------------------------------------------------------------------
 */

static void mail_reply(struct ll_smtpc *c, struct slot *s)
{
    if (c->reply.code / 100 == 2) {
        s->mail_ok = true;
        return;
    }
    s->aborted = true;
    settle_all(s, true, 0, from_reply(c, LL_SMTPC_MAIL));
}

static void rcpt_reply(struct ll_smtpc *c, struct slot *s)
{
    struct ll_smtpc_result r = from_reply(c, LL_SMTPC_RCPT);
    size_t i;

    if (s->aborted)
        return; /* MAIL was refused: that is everybody's result */
    while (s->replied < s->sent && s->rcpts[s->replied].state != RCPT_SENT)
        s->replied++;
    if (s->replied == s->sent)
        return;
    i = s->replied++;
    if (r.outcome == LL_SMTPC_DELIVERED && !s->letter.probe) {
        s->rcpts[i].state = RCPT_ACCEPTED;
        s->accepted++;
        return;
    }
    /* RFC 5321 4.5.3.1.10: 552 here means too many recipients, and is temporary. */
    if (r.code == 552) {
        r.outcome = LL_SMTPC_DEFERRED;
        r.enhanced[0] = 4;
    }
    if (s->accepted && ((r.enhanced[1] == 5 && r.enhanced[2] == 3 && r.code / 100 == 4) ||
                        (r.code == 552 && (r.enhanced[1] == 0 || r.enhanced[1] == 5))))
        r.outcome = LL_SMTPC_AGAIN;
    settle(s, i, r);
}

static void data_reply(struct ll_smtpc *c, struct slot *s)
{
    if (c->reply.code / 100 == 3) {
        if (s->accepted) {
            s->state = SLOT_BODY;
            return;
        }
        /* RFC 2920 3.1: nobody was accepted, and the server wants a body all the same. */
        out_puts(c, ".\r\n");
        client_expect(c, EXPECT_VOID, s, 1);
        s->mail_ok = false; /* the dot ends the transaction */
        s->aborted = true;
        return;
    }
    if (c->reply.code / 100 == 2) {
        client_fail_reply(c, LL_SMTPC_DATA, false);
        return;
    }
    settle_all(s, false, RCPT_ACCEPTED, from_reply(c, LL_SMTPC_DATA));
    s->aborted = true;
}

static void bdat_reply(struct ll_smtpc *c, struct slot *s)
{
    if (c->reply.code / 100 == 2)
        return;
    settle_all(s, false, RCPT_ACCEPTED, from_reply(c, LL_SMTPC_BODY));
    s->aborted = true;
}

static void final_reply(struct ll_smtpc *c, struct slot *s)
{
    struct ll_smtpc_result r = from_reply(c, LL_SMTPC_FINAL);

    if (r.outcome != LL_SMTPC_DELIVERED && s->chunked && !(c->cur && c->cur->begun))
        c->need_rset = true;
    if (!c->lmtp) {
        settle_all(s, false, RCPT_ACCEPTED, r);
        return;
    }
    while (s->confirmed < s->letter.recipient_count &&
           s->rcpts[s->confirmed].state != RCPT_ACCEPTED)
        s->confirmed++;
    if (s->confirmed < s->letter.recipient_count)
        settle(s, s->confirmed++, r);
}

void letter_reply(struct ll_smtpc *c, struct expect *e)
{
    uint16_t class = c->reply.code / 100;

    if (class != 2 && class != 4 && class != 5 && !(class == 3 && e->kind == EXPECT_DATA)) {
        client_fail_reply(c, client_phase(e->kind), false);
        return;
    }
    switch (e->kind) {
    case EXPECT_MAIL:
        mail_reply(c, e->slot);
        break;
    case EXPECT_RCPT:
        rcpt_reply(c, e->slot);
        break;
    case EXPECT_DATA:
        data_reply(c, e->slot);
        break;
    case EXPECT_BDAT:
        bdat_reply(c, e->slot);
        break;
    case EXPECT_FINAL:
        final_reply(c, e->slot);
        break;
    case EXPECT_VOID:
        break;
    case EXPECT_SESSION:
    case EXPECT_RSET:
    case EXPECT_QUIT:
        abort(); /* the session's, not a letter's */
    }
}

/* ---- the session's end
 * ---------------------------------------------------------------------------- */

void letter_fail_all(struct ll_smtpc *c, const struct ll_smtpc_result *failure)
{
    for (size_t i = 0; i < 2; i++) {
        struct slot *s = &c->slots[i];
        struct ll_smtpc_result r = *failure;

        if (s->state == SLOT_FREE || s->state == SLOT_DONE)
            continue;
        r.outcome = LL_SMTPC_DEFERRED;
        if (s->state == SLOT_FINAL)
            r.phase = client_end_sent(c, s) ? LL_SMTPC_FINAL : LL_SMTPC_BODY;
        settle_all(s, true, 0, r);
        finish(c, s);
    }
}
