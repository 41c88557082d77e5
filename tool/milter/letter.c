/* One letter: checked if it is from outside, signed if it is ours. See milter.h. */
#include "tool/milter/milter.h"

#include "io/clock.h"
#include "io/log.h"

#include <stdlib.h>

#define DMARC_SHARE 4     /* one part in so many of --check-timeout is DMARC's alone */
#define FIELD_MAX   65536 /* octets of a field that we add */
#define MARK_FIELD  "X-Quarantine: the sender is not proved\r\n"

struct milter_letter {
    struct milter_session *s;
    bool ours;
    struct ll_buf queue_id; /* as it is known at the end */
    /* from outside */
    struct milter_asker asker;
    struct event *timer;
    bool late;
    /* ours */
    struct ll_dkim_letter *letter;
    bool asked; /* for signers: the header was complete */
    struct ll_dkim_signer *signer[MILTER_SIGN_MAX];
    const struct milter_key *key[MILTER_SIGN_MAX];
    size_t n_signers;
    /* both */
    struct ll_buf forged; /* u32: which Authentication-Results fields claim our name */
    uint32_t results;     /* Authentication-Results fields so far */
    uint64_t header_n, body_n;
    bool broken; /* memory ran out */
    bool ended;
};

static struct ll_slice authserv_id(const struct milter_session *s)
{
    if (s->m->o.authserv_id)
        return ll_slice_str(s->m->o.authserv_id);
    return s->host.n > 0 ? ll_buf_slice(&s->host) : ll_slice_str(s->m->host);
}

/* A client that logged in, or whose address the operator named. */
static bool is_ours(const struct milter_session *s)
{
    return s->login.n > 0 || ll_networks_have(&s->m->o.internal, &s->ip);
}

/* ---- beginning and end --------------------------------------------------------------------------
 */

static void on_progress(void *arg);
static void on_late(evutil_socket_t fd, short what, void *arg);

static struct ll_check *check_new(const struct milter_session *s)
{
    struct ll_check_input in = {.iprev = true,
                                .keys = s->m->dkim_keys,
                                .helo = ll_buf_slice(&s->helo),
                                .mail_from = ll_buf_slice(&s->reverse),
                                .receiver = authserv_id(s),
                                .sender_mx = true,
                                .unix_s = ll_unix_s(),
                                .now = ll_now_ms()};

    in.ip_n = s->ip.family == 4 ? 4 : s->ip.family == 6 ? 16 : 0;
    memcpy(in.ip, s->ip.octets, in.ip_n);
    return ll_check_new(&in);
}

struct milter_letter *milter_letter_new(struct milter_session *s)
{
    struct milter_letter *l = calloc(1, sizeof(*l));

    if (!l)
        return NULL;
    l->s = s;
    l->ours = is_ours(s);
    l->forged = LL_BUF(MILTER_HEADER_MAX);
    l->queue_id = LL_BUF(1024);
    l->asker = (struct milter_asker){.m = s->m, .progress = on_progress, .arg = l};
    if (l->ours) {
        l->letter = ll_dkim_letter_new();
    } else {
        l->asker.check = check_new(s);
        l->timer = event_new(s->m->base, -1, EV_TIMEOUT, on_late, l);
    }
    if (l->ours ? !l->letter : !l->asker.check || !l->timer) {
        milter_letter_free(l);
        return NULL;
    }
    if (!l->ours)
        milter_pump(&l->asker);
    return l;
}

void milter_letter_free(struct milter_letter *l)
{
    if (!l)
        return;
    milter_asker_end(&l->asker);
    if (l->timer)
        event_free(l->timer);
    ll_check_free(l->asker.check);
    for (size_t i = 0; i < l->n_signers; i++)
        ll_dkim_signer_free(l->signer[i]);
    ll_dkim_letter_free(l->letter);
    ll_buf_release(&l->forged);
    ll_buf_release(&l->queue_id);
    free(l);
}

/* ---- the letter comes ---------------------------------------------------------------------------
 */

/* Keys for the author's domain; a letter without one author, or without a key for it, stays as it
 * is. */
static void make_signers(struct milter_letter *l)
{
    struct ll_slice header = ll_dkim_letter_header(l->letter), author;
    struct ll_dkim_sign_options o = {.header = LL_DKIM_RELAXED,
                                     .body = LL_DKIM_RELAXED,
                                     .now = ll_unix_s(),
                                     .expire_s = LL_DKIM_EXPIRE_S};
    struct ll_arena arena;

    l->asked = true;
    ll_arena_init(&arena, (size_t)LL_DKIM_HEADER_MAX * 4);
    if (ll_msg_author(header, &arena, &author) == LL_MSG_OK)
        l->n_signers = milter_keys_find(
            &l->s->m->keys, ll_slice_skip(author, ll_slice_rfind(author, '@') + 1), o.now, l->key);
    for (size_t i = 0; i < l->n_signers; i++) {
        o.domain = ll_dns_name_slice(&l->key[i]->domain);
        o.selector = ll_dns_name_slice(&l->key[i]->selector);
        o.algorithm = l->key[i]->algorithm;
        l->signer[i] = ll_dkim_signer_new(l->letter, &o);
        l->broken = l->broken || !l->signer[i];
    }
    ll_arena_release(&arena);
}

static void feed(struct milter_letter *l, struct ll_slice in)
{
    if (!l->ours) {
        ll_check_feed(l->asker.check, in);
        return;
    }
    while (in.n > 0 && !ll_dkim_letter_ready(l->letter))
        in = ll_slice_skip(in, ll_dkim_letter_feed(l->letter, in));
    if (!l->asked && ll_dkim_letter_ready(l->letter))
        make_signers(l);
    ll_dkim_letter_feed(l->letter, in);
}

/* The MTA's folds are LF alone; on the wire it sends CR LF. */
static void feed_lines(struct milter_letter *l, struct ll_slice text)
{
    while (text.n > 0) {
        size_t n = ll_slice_find(text, '\n');
        struct ll_slice line = ll_slice_cut(text, 0, n);

        if (n < text.n && line.n > 0 && line.p[line.n - 1] == '\r')
            line.n--;
        feed(l, line);
        if (n < text.n)
            feed(l, LL_LIT("\r\n"));
        text = ll_slice_skip(text, n + 1);
    }
}

static void note_results(struct milter_letter *l, struct ll_slice name, struct ll_slice value)
{
    while (name.n > 0 && ll_is_blank(name.p[name.n - 1]))
        name.n--;
    if (!ll_slice_caseeq(name, LL_LIT("Authentication-Results")))
        return;
    l->results++;
    if (ll_authres_claims(value, authserv_id(l->s)))
        ll_buf_u32(&l->forged, l->results);
    l->broken = l->broken || l->forged.failed;
}

void milter_letter_header(struct milter_letter *l, struct ll_slice name, struct ll_slice value)
{
    l->header_n += name.n + value.n + 4;
    if (l->header_n > MILTER_HEADER_MAX)
        return; /* refused at the end */
    note_results(l, name, value);
    feed(l, name);
    feed(l, LL_LIT(":"));
    if (!(l->s->agreed.steps & LL_MILTER_LEADING_SPACE) && value.n > 0)
        feed(l, LL_LIT(" ")); /* the MTA took one away, and will put it back */
    feed_lines(l, value);
    feed(l, LL_LIT("\r\n"));
}

void milter_letter_eoh(struct milter_letter *l)
{
    feed(l, LL_LIT("\r\n"));
    if (!l->ours)
        milter_pump(&l->asker);
}

void milter_letter_body(struct milter_letter *l, struct ll_slice octets)
{
    l->body_n += octets.n;
    if (l->header_n + l->body_n <= (uint64_t)l->s->m->o.size) /* else it is refused at the end */
        feed(l, octets);
}

/* ---- what follows -------------------------------------------------------------------------------
 */

static void put(struct milter_letter *l, enum ll_milter_type type, uint32_t index,
                struct ll_slice name, struct ll_slice text)
{
    milter_session_put(
        l->s, &(struct ll_milter_msg){.type = type, .index = index, .name = name, .text = text});
}

static void put_reply(struct milter_letter *l, unsigned code, const char *enhanced,
                      const char *text)
{
    struct ll_buf b = LL_BUF(512);

    ll_buf_printf(&b, "%u %s %s", code, enhanced, text);
    put(l, LL_MILTER_REPLYCODE, 0, (struct ll_slice){NULL, 0}, ll_buf_slice(&b));
    ll_buf_release(&b);
}

/* On top of the letter. field: with its name and CR LF. */
static void put_field(struct milter_letter *l, struct ll_slice field)
{
    size_t colon = ll_slice_find(field, ':');
    struct ll_slice value = ll_slice_cut(field, colon + 1, field.n > 2 ? field.n - 2 : 0);
    struct ll_buf folded = LL_BUF(FIELD_MAX);

    if (!(l->s->agreed.steps & LL_MILTER_LEADING_SPACE) && value.n > 0 && value.p[0] == ' ')
        value = ll_slice_skip(value, 1);
    for (size_t i = 0; i < value.n; i++)
        if (value.p[i] != '\r')
            ll_buf_putc(&folded, value.p[i]);
    put(l, LL_MILTER_INSHEADER, 0, ll_slice_cut(field, 0, colon), ll_buf_slice(&folded));
    l->broken = l->broken || folded.failed;
    ll_buf_release(&folded);
}

/* From the last to the first: whether the MTA counts those that are gone, or not. */
static void delete_forged(struct milter_letter *l)
{
    for (size_t i = l->forged.n / 4; i > 0; i--) {
        struct ll_cursor c = ll_cursor(ll_slice_skip(ll_buf_slice(&l->forged), 4 * (i - 1)));

        put(l, LL_MILTER_CHGHEADER, ll_cur_u32(&c), LL_LIT("Authentication-Results"),
            (struct ll_slice){NULL, 0});
    }
}

static bool sign(struct milter_letter *l)
{
    struct ll_buf b = LL_BUF(LL_DKIM_SIGNATURE_ROOM), field = LL_BUF(FIELD_MAX);
    bool ok = true;

    ll_dkim_letter_end(l->letter);
    for (size_t i = l->n_signers; i > 0 && ok; i--) {
        struct ll_dkim_signer *signer = l->signer[i - 1];
        struct ll_need need;

        ll_buf_clear(&b);
        ll_buf_clear(&field);
        ok = ll_dkim_signer_need(signer, &need) &&
             ll_dkim_key_sign(l->key[i - 1]->pkey, need.sign.text, &b);
        if (ok)
            ll_dkim_signer_answer(
                signer, &(struct ll_need_answer){.id = need.id, .signature = ll_buf_slice(&b)});
        ok = ok && ll_dkim_signer_field(signer, &field);
        if (ok)
            put_field(l, ll_buf_slice(&field));
    }
    ll_buf_release(&b);
    ll_buf_release(&field);
    return ok;
}

static enum ll_fate fate_of(struct milter_letter *l, const struct ll_check_result *r,
                            const char **ret_override)
{
    const struct milter_options *o = &l->s->m->o;
    struct ll_slice header = ll_dkim_letter_header(ll_check_letter(l->asker.check));
    struct ll_provenance p = {.forwarder = ll_networks_have(&o->forwarders, &l->s->ip)};
    enum ll_fate fate, spf;

    ll_policy_letter(&p, r, header, o->arc_trusted);
    fate = ll_policy_dmarc(o->dmarc, &r->dmarc, &p, ret_override);
    spf = ll_policy_spf(o->spf_fail, r, &p);
    return spf > fate ? spf : fate;
}

/* The letter's own faults first: nobody whom a policy could be about (RFC 9989 5.3.1). */
static struct ll_verdict verdict_of(struct milter_letter *l, enum ll_fate *ret_fate,
                                    const char **ret_override)
{
    const struct milter_options *o = &l->s->m->o;
    const struct ll_check_result *r = ll_check_result(l->asker.check);

    *ret_fate = LL_FATE_ACCEPT;
    *ret_override = NULL;
    if (r->author_error != LL_MSG_OK) {
        const struct ll_msg_error_info *i = ll_msg_error_info(r->author_error);

        *ret_fate = o->dmarc == LL_DMARC_ENFORCE ? LL_FATE_REJECT
                    : o->dmarc == LL_DMARC_JUNK  ? LL_FATE_JUNK
                                                 : LL_FATE_ACCEPT;
        return (struct ll_verdict){i->code, i->enhanced, i->text};
    }
    if (r->sender_null_mx && o->dmarc == LL_DMARC_ENFORCE) { /* no report could go there */
        *ret_fate = LL_FATE_REJECT;
        return ll_verdict_null_mx;
    }
    if (r->dmarc.code == LL_DMARC_TEMPERROR && o->late_defer) {
        *ret_fate = LL_FATE_REJECT;
        return ll_verdict_check_late;
    }
    *ret_fate = fate_of(l, r, ret_override);
    return r->dmarc.code == LL_DMARC_FAIL && r->dmarc.disposition == LL_DMARC_P_REJECT
               ? ll_verdict_dmarc
               : ll_verdict_spf;
}

static void put_results(struct milter_letter *l, const struct ll_check_result *r)
{
    struct milter_session *s = l->s;
    struct ll_buf field = LL_BUF(FIELD_MAX);
    struct ll_authres_out a = {.out = &field};
    char ip[LL_IP_TEXT];

    ll_authres_begin(&a, authserv_id(s));
    ll_check_authres(l->asker.check, &a);
    ll_authres_iprev(&a, ll_check_iprev_word(r->iprev), ll_slice_str(ll_ip_text(&s->ip, ip)),
                     r->iprev_name);
    if (s->tls_version.n > 0) /* else in clear, or the MTA does not tell */
        ll_authres_tls(&a, ll_buf_slice(&s->tls_version), ll_buf_slice(&s->tls_cipher));
    ll_authres_end(&a);
    l->broken = l->broken || field.failed;
    put_field(l, ll_buf_slice(&field));
    ll_buf_clear(&field);
    if (s->m->o.received_spf)
        ll_check_received_spf(l->asker.check, authserv_id(s), &field);
    if (field.n > 0)
        put_field(l, ll_buf_slice(&field));
    ll_buf_release(&field);
}

static void log_letter(const struct milter_letter *l, const struct ll_check_result *r,
                       const char *action, const char *override)
{
    const struct milter_session *s = l->s;

    ll_log(LL_LOG_INFO, "milter-checked", LL_FU("session", s->id),
           LL_F("queue", ll_buf_slice(&l->queue_id)), LL_F("from", ll_buf_slice(&s->reverse)),
           LL_F("author", r->author), LL_FS("spf", r->have_spf ? ll_spf_word(r->spf.code) : "none"),
           LL_FS("dmarc", ll_dmarc_word(r->dmarc.code)), LL_FS("arc", ll_arc_word(r->arc.code)),
           LL_FS("action", action), LL_FS("override", override), LL_FU("questions", r->needs));
}

static void decide(struct milter_letter *l)
{
    const struct ll_check_result *r = ll_check_result(l->asker.check);
    const char *override;
    enum ll_fate fate;
    struct ll_verdict v = verdict_of(l, &fate, &override);

    if (fate == LL_FATE_REJECT) {
        put_reply(l, v.code, v.enhanced, v.text);
        log_letter(l, r, "refused", override);
        return;
    }
    delete_forged(l);
    if (fate == LL_FATE_JUNK && l->s->m->o.hold)
        put(l, LL_MILTER_QUARANTINE, 0, (struct ll_slice){NULL, 0},
            LL_LIT("the sender is not proved"));
    else if (fate == LL_FATE_JUNK)
        put_field(l, LL_LIT(MARK_FIELD));
    put_results(l, r);
    put(l, LL_MILTER_CONTINUE, 0, (struct ll_slice){NULL, 0}, (struct ll_slice){NULL, 0});
    log_letter(l, r, fate == LL_FATE_JUNK ? "quarantined" : "passed", override);
}

static void decide_ours(struct milter_letter *l)
{
    delete_forged(l);
    if (!sign(l)) {
        l->broken = true;
        return;
    }
    put(l, LL_MILTER_CONTINUE, 0, (struct ll_slice){NULL, 0}, (struct ll_slice){NULL, 0});
    ll_log(LL_LOG_INFO, "milter-signed", LL_FU("session", l->s->id),
           LL_F("queue", ll_buf_slice(&l->queue_id)), LL_F("from", ll_buf_slice(&l->s->reverse)),
           LL_FU("signatures", l->n_signers));
}

/* All is known: the answers go out, and the letter is over. */
static void finish(struct milter_letter *l)
{
    struct milter_session *s = l->s;
    size_t before = s->out.n;

    s->m->letters++;
    if (l->header_n > MILTER_HEADER_MAX) {
        put_reply(l, 552, "5.3.4", "The header is over 1 MiB");
    } else if (l->header_n + l->body_n > (uint64_t)s->m->o.size) {
        put_reply(l, 552, "5.3.4", "The letter is too large");
    } else if (!l->broken) {
        if (l->ours)
            decide_ours(l);
        else
            decide(l);
    }
    if (l->broken) { /* nothing half done */
        s->out.n = before;
        put_reply(l, 451, "4.3.0", "The letter cannot be checked now, try again later");
        ll_log(LL_LOG_ERROR, "milter-failed", LL_FU("session", s->id),
               LL_F("queue", ll_buf_slice(&l->queue_id)));
    }
    s->letter = NULL;
    milter_letter_free(l);
    milter_session_flush(s);
}

static void on_progress(void *arg)
{
    struct milter_letter *l = arg;

    if (l->ended && ll_check_done(l->asker.check))
        finish(l);
}

/* So many parts of --check-timeout. */
static void wait_for_dns(struct milter_letter *l, int64_t parts)
{
    int64_t ms = l->s->m->o.check_s * 1000 * parts / DMARC_SHARE;
    struct timeval wait = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};

    event_add(l->timer, &wait);
}

/* The zones that a sender names may be silent; the policy of the author's domain is asked for
 * nevertheless, in the last part of the time. */
static void on_late(evutil_socket_t fd, short what, void *arg)
{
    struct milter_letter *l = arg;

    (void)fd;
    (void)what;
    if (l->late) {
        ll_check_give_up(l->asker.check);
    } else {
        ll_log(LL_LOG_WARNING, "milter-late", LL_FU("session", l->s->id),
               LL_F("queue", ll_buf_slice(&l->queue_id)));
        l->late = true;
        wait_for_dns(l, 1);
        ll_check_hurry(l->asker.check);
        milter_pump(&l->asker);
    }
    if (ll_check_done(l->asker.check))
        finish(l);
}

void milter_letter_end(struct milter_letter *l)
{
    l->ended = true;
    ll_buf_put_slice(&l->queue_id, ll_buf_slice(&l->s->queue_id));
    if (l->ours) {
        finish(l);
        return;
    }
    ll_check_end(l->asker.check);
    milter_pump(&l->asker);
    if (ll_check_done(l->asker.check))
        finish(l);
    else
        wait_for_dns(l, DMARC_SHARE - 1);
}

bool milter_letter_ended(const struct milter_letter *l)
{
    return l->ended;
}
