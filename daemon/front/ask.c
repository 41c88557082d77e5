/* The engine's questions, put to auth (logins, senders, recipients) and relay (probes). front.h. */
#include "daemon/front/front.h"
#include "io/clock.h"
#include "io/log.h"

#include <stdlib.h>

#define ID_OURS (1ull << 63) /* no ll_proc_id has it: ids of sessions and others never meet */

static const struct ll_verdict yes = {0, NULL, NULL};

/* ---- asking and finding back
 * ----------------------------------------------------------------------
 */

/* Sends m; the answer finds the session by its id. False: nobody there. */
static bool ask(struct session *s, enum asked what, struct ll_peer *peer, struct ll_msg *m)
{
    struct front *f = s->front;

    s->serial = ++f->serial;
    m->id = ID_OURS | (uint64_t)s->slot << 32 | s->serial;
    m->fd = -1;
    if (!peer || ll_msg_send(peer->ipc, m) != 0)
        return false;
    s->asked = (uint8_t)what;
    s->asked_of = (uint8_t)peer->index;
    s->deadline = ll_now_ms() + FRONT_ASK_MS;
    return true;
}

/* The session whose open question this answers, or NULL: it is gone, or was answered already. */
static struct session *asker(struct ll_peer *peer, uint64_t id, enum asked what)
{
    struct front *f = peer->proc->state;
    uint32_t slot = (uint32_t)(id >> 32) & 0x7fffffff;
    struct session *s = slot < f->n_slots ? f->slots[slot] : NULL;

    return s && s->asked == what && s->serial == (uint32_t)id ? s : NULL;
}

static struct ll_peer *auth_of(struct session *s)
{
    return ll_proc_peer(s->front->proc, LL_ROLE_AUTH, 0);
}

/* ---- AUTH: auth logs every login, failed ones by the line that fail2ban reads
 * ------------------------------------------------------------------------------------------
 */

void front_ask_auth(struct session *s, const struct ll_smtpd_event *e)
{
    struct ll_msg m = {.type = LL_MSG_LOGIN_ASK};
    char ip[LL_IP_TEXT];

    m.login_ask.user = e->user;
    m.login_ask.password = e->password;
    m.login_ask.client = ll_slice_str(front_client(s, ip));
    if (!s->service->submission || !ask(s, ASKED_LOGIN, auth_of(s), &m))
        front_reply(s, &ll_verdict_auth_away);
}

int front_on_login(struct ll_peer *peer, const struct ll_msg *m)
{
    struct session *s = asker(peer, m->id, ASKED_LOGIN);
    struct ll_verdict v = ll_policy_login(m->login_answer.result);

    if (!s)
        return 0;
    if (m->login_answer.result == LL_LOGIN_OK) {
        if (m->login_answer.user.n == 0)
            return -1;
        s->login = ll_smtpd_set_user(s->smtpd, m->login_answer.user);
        if (!s->login)
            v = ll_verdict_auth_away;
    }
    front_answer(s, &v);
    return 0;
}

/* ---- MAIL
 * ------------------------------------------------------------------------------------------
 */

void front_ask_mail(struct session *s, const struct ll_smtpd_event *e)
{
    const struct ll_smtp_mail *mail = e->mail;
    struct ll_verdict v = ll_policy_stored(ll_writer_ready(s->front->writer, 0));
    struct ll_msg m = {.type = LL_MSG_SENDER_ASK};

    if (v.code == 0 && !front_letter_begin(s, mail))
        v = ll_verdict_later;
    if (v.code == 0 && s->local && !front_local_may_send(s))
        v = ll_verdict_rate;
    if (v.code != 0 || !s->login || ll_mailbox_null(&mail->from) ||
        front_local_any(s, &mail->from)) {
        if (v.code != 0)
            front_letter_forget(s);
        front_reply(s, &v);
        return;
    }
    m.sender_ask.user = ll_smtpd_user(s->smtpd);
    m.sender_ask.address = ll_mailbox_text(&mail->from);
    if (!ask(s, ASKED_SENDER, auth_of(s), &m)) {
        front_letter_forget(s);
        front_reply(s, &ll_verdict_later);
    }
}

int front_on_sender(struct ll_peer *peer, const struct ll_msg *m)
{
    struct session *s = asker(peer, m->id, ASKED_SENDER);

    if (!s)
        return 0;
    if (!m->sender_answer.allowed) {
        char ip[LL_IP_TEXT];

        ll_log(LL_LOG_INFO, "sender-refused", LL_F("user", ll_smtpd_user(s->smtpd)),
               LL_F("from", s->letter ? front_letter_reverse(s->letter) : LL_LIT("")),
               LL_FS("client", front_client(s, ip)));
        front_letter_forget(s);
    }
    front_answer(s, m->sender_answer.allowed ? &yes
                    : s->local               ? &ll_verdict_local_sender
                                             : &ll_verdict_sender);
    return 0;
}

/* ---- RCPT
 * ------------------------------------------------------------------------------------------
 */

static void log_refused(struct session *s, struct ll_slice address, const struct ll_verdict *v)
{
    char ip[LL_IP_TEXT];

    ll_log(LL_LOG_INFO, "recipient-refused", LL_F("to", address),
           LL_F("from", s->letter ? front_letter_reverse(s->letter) : LL_LIT("")),
           LL_FS("client", front_client(s, ip)), LL_FU("code", v->code), LL_FS("why", v->text));
}

static struct addr_cached *cached(struct front *f, struct ll_slice key)
{
    return f->addr_cache ? &f->addr_cache[ll_crc32c(0, key.p, key.n) % ADDR_CACHE] : NULL;
}

/* Only what is known here, and for those who may send elsewhere the domains that are not ours (all
 * of "@domain" is OUTSIDE alike): strangers cannot push that out of the cache. */
static struct ll_slice cache_key(const struct session *s, struct ll_slice address, uint8_t kind)
{
    struct ll_client_rights rights = front_rights(s);
    size_t at = ll_slice_rfind(address, '@');

    if (kind == LL_ADDR_MAILBOX || kind == LL_ADDR_ALIAS || kind == LL_ADDR_RELAY ||
        kind == LL_ADDR_REPORT)
        return address;
    if (kind == LL_ADDR_OUTSIDE && at < address.n && ll_policy_may_relay(&rights))
        return ll_slice_skip(address, at);
    return LL_LIT("");
}

static void cache_put(struct session *s, struct ll_slice address, uint8_t kind,
                      struct ll_slice mailbox)
{
    struct ll_slice key = cache_key(s, address, kind);
    struct addr_cached *c = cached(s->front, key);

    if (!c || key.n == 0 || key.n + mailbox.n > sizeof(c->text))
        return;
    c->until = ll_now_ms() + ADDR_CACHE_MS;
    c->kind = kind;
    c->key_n = (uint16_t)key.n;
    c->mailbox_n = (uint16_t)mailbox.n;
    memcpy(c->text, key.p, key.n);
    if (mailbox.n)
        memcpy(c->text + key.n, mailbox.p, mailbox.n);
}

static const struct addr_cached *cache_find(struct front *f, struct ll_slice key)
{
    const struct addr_cached *c = key.n ? cached(f, key) : NULL;

    return c && c->key_n == key.n && c->until >= ll_now_ms() && memcmp(c->text, key.p, key.n) == 0
               ? c
               : NULL;
}

static const struct addr_cached *cache_get(struct session *s, struct ll_slice address)
{
    const struct addr_cached *c = cache_find(s->front, address);

    return c ? c : cache_find(s->front, cache_key(s, address, LL_ADDR_OUTSIDE));
}

static struct ll_peer *prober(struct front *f, struct ll_slice address)
{
    unsigned n = f->proc->conf->relay_workers > 0 ? (unsigned)f->proc->conf->relay_workers : 1;
    unsigned first = ll_crc32c(0, address.p, address.n) % n;

    for (unsigned i = 0; i < n; i++) {
        struct ll_peer *peer = ll_proc_peer(f->proc, LL_ROLE_RELAY, (first + i) % n);

        if (peer)
            return peer;
    }
    return NULL;
}

/* auth has said what the recipient is. True: *v is the answer; false: a probe is under way. */
static bool judge(struct session *s, uint8_t addr_kind, struct ll_slice mailbox,
                  struct ll_verdict *v)
{
    struct ll_client_rights rights = front_rights(s);
    const struct ll_smtp_rcpt *rcpt = s->rcpt;
    struct ll_msg m = {.type = LL_MSG_PROBE_ASK};
    uint8_t kind = LL_RCPT_REMOTE;
    bool probe = false;

    *v = ll_policy_rcpt(&rights, addr_kind, &kind, &probe);
    if (v->code == 0 && probe) {
        m.probe_ask.address = ll_mailbox_text(&rcpt->to);
        if (ask(s, ASKED_PROBE, prober(s->front, m.probe_ask.address), &m))
            return false;
        *v = ll_policy_probe(0);
    }
    if (v->code == 0 && !front_letter_rcpt(s->letter, rcpt, kind, mailbox))
        *v = ll_verdict_later;
    if (v->code != 0)
        log_refused(s, ll_mailbox_text(&rcpt->to), v);
    return true;
}

void front_ask_rcpt(struct session *s, const struct ll_smtpd_event *e)
{
    struct ll_slice address = ll_mailbox_text(&e->rcpt->to);
    const struct addr_cached *known = s->letter ? cache_get(s, address) : NULL;
    struct ll_msg m = {.type = LL_MSG_ADDR_ASK};
    struct ll_verdict v;

    s->rcpt = e->rcpt;
    if (!s->letter) {
        front_reply(s, &ll_verdict_later);
    } else if (known) {
        if (judge(s, known->kind, ll_slice(known->text + known->key_n, known->mailbox_n), &v))
            front_reply(s, &v);
    } else {
        m.addr_ask.address = address;
        if (!ask(s, ASKED_ADDR, auth_of(s), &m))
            front_reply(s, &ll_verdict_later);
    }
}

int front_on_addr(struct ll_peer *peer, const struct ll_msg *m)
{
    struct session *s = asker(peer, m->id, ASKED_ADDR);
    struct ll_verdict v;

    if (!s)
        return 0;
    if (m->addr_answer.mailbox.n > LL_MAILBOX_MAX ||
        (m->addr_answer.kind == LL_ADDR_MAILBOX && m->addr_answer.mailbox.n == 0))
        return -1;
    cache_put(s, ll_mailbox_text(&s->rcpt->to), m->addr_answer.kind, m->addr_answer.mailbox);
    if (judge(s, m->addr_answer.kind, m->addr_answer.mailbox, &v))
        front_answer(s, &v);
    return 0;
}

int front_on_probe(struct ll_peer *peer, const struct ll_msg *m)
{
    struct session *s = asker(peer, m->id, ASKED_PROBE);
    struct ll_verdict v;

    if (!s)
        return 0;
    v = ll_policy_probe(m->probe_answer.code);
    if (v.code == 0 && !front_letter_rcpt(s->letter, s->rcpt, LL_RCPT_REMOTE, LL_LIT("")))
        v = ll_verdict_later;
    if (v.code != 0)
        log_refused(s, ll_mailbox_text(&s->rcpt->to), &v);
    front_answer(s, &v);
    return 0;
}

/* ---- no answer
 * ---------------------------------------------------------------------------------------
 */

static const enum ll_role asked_role[] = {
    [ASKED_NOTHING] = LL_ROLE_COUNT, [ASKED_LOGIN] = LL_ROLE_AUTH,  [ASKED_SENDER] = LL_ROLE_AUTH,
    [ASKED_ADDR] = LL_ROLE_AUTH,     [ASKED_PROBE] = LL_ROLE_RELAY, [ASKED_CHECK] = LL_ROLE_COUNT,
    [ASKED_STORE] = LL_ROLE_COUNT,
};

void front_ask_late(struct session *s)
{
    uint8_t asked = s->asked;
    struct ll_verdict v = asked == ASKED_LOGIN   ? ll_verdict_auth_away
                          : asked == ASKED_PROBE ? ll_policy_probe(0)
                                                 : ll_verdict_later;

    if (asked == ASKED_CHECK) {
        front_check_late(s);
        return;
    }
    if (asked == ASKED_SENDER)
        front_letter_forget(s);
    front_answer(s, &v);
}

void front_ask_lost(struct front *f, enum ll_role role, unsigned index)
{
    struct session *s, *next;

    for (s = TAILQ_FIRST(&f->sessions); s; s = next) {
        next = TAILQ_NEXT(s, all);
        if (asked_role[s->asked] == role && s->asked_of == index)
            front_ask_late(s);
    }
    if (role == LL_ROLE_AUTH && f->addr_cache)
        memset(f->addr_cache, 0, ADDR_CACHE * sizeof(f->addr_cache[0]));
}
