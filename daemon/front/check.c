/* Who sent a letter from outside: the check's questions go to dns, its results become Junk, a
 * refusal or nothing, and an Authentication-Results field. See front.h. */
#include "daemon/front/front.h"
#include "io/clock.h"
#include "io/json.h"
#include "io/log.h"
#include "letterlock/authres.h"

#include <stdlib.h>

#define ASKS_MAX  16384 /* questions to dns that a process has open */
#define KEYS_KEPT 512   /* DKIM keys: 2 MiB at most */
/* Questions of all fronts that the zones which senders name may keep waiting: dns has 2048 sockets,
 * and those of DMARC, which decide, must find one. */
#define SENDERS_MAX 1024
#define LETTER_MAX  32           /* of those, of one letter at a time */
#define DMARC_SHARE 4            /* one part in so many of check_timeout is DMARC's alone */
#define ID_CHECK    (3ull << 62) /* front_ask's ids have the top bit alone, ll_proc_id neither */

/* A question that dns has not answered yet. */
struct check_ask {
    struct letter *letter; /* NULL: free, or nobody waits any more */
    uint32_t need;
    uint32_t serial; /* of this use of the slot */
    uint32_t next;   /* free ones */
    bool open;
};

struct check {
    struct ll_check *engine;
    struct ll_provenance provenance;
    const char *override; /* of DMARC, for the reports */
    enum ll_fate fate;    /* the worst of all recipients */
    uint32_t open;        /* questions with dns */
    bool whole;           /* the letter is */
    bool waiting;         /* the session waits for the results */
    bool late;            /* all but DMARC has been given up */
    bool unasked;         /* dns could not be asked: our failing, not the sender's */
};

bool front_check_init(struct front *f)
{
    f->asks = calloc(ASKS_MAX, sizeof(*f->asks));
    f->dkim_keys = ll_dkim_keys_new(KEYS_KEPT);
    if (!f->asks || !f->dkim_keys)
        return false;
    ll_buf_init(&f->untold, FRONT_UNTOLD_MAX);
    f->n_asks = ASKS_MAX;
    for (uint32_t i = 0; i < f->n_asks; i++)
        f->asks[i].next = i + 1;
    return true;
}

struct ll_slice front_authserv_id(const struct front *f)
{
    const struct ll_conf *c = f->proc->conf;

    return ll_slice_str(c->authserv_id[0] ? c->authserv_id : c->hostname);
}

/* ---- questions ----------------------------------------------------------------------------------
 */

static void ask_release(struct front *f, uint32_t i)
{
    f->asks[i].letter = NULL;
    f->asks[i].open = false;
    f->asks_open--;
    f->asks[i].next = f->free_ask;
    f->free_ask = i;
}

static bool may_ask(const struct letter *l)
{
    const struct front *f = l->front;

    return f->free_ask < f->n_asks &&
           (ll_check_at_dmarc(l->check->engine) ||
            f->asks_open < SENDERS_MAX / (uint32_t)f->proc->conf->mx_workers);
}

static bool ask_send(struct letter *l, const struct ll_need *need)
{
    struct front *f = l->front;
    struct ll_peer *dns = ll_proc_peer(f->proc, LL_ROLE_DNS, 0);
    struct ll_msg m = {.type = LL_MSG_DNS_ASK, .fd = -1};
    uint32_t i = f->free_ask;

    if (!dns || !may_ask(l) || need->kind != LL_NEED_DNS)
        return false;
    m.id = ID_CHECK | (uint64_t)(f->asks[i].serial + 1) << 20 | i;
    m.dns_ask.rtype = need->dns.type;
    m.dns_ask.name = ll_dns_name_slice(&need->dns.name);
    if (ll_msg_send(dns->ipc, &m) != 0)
        return false;
    f->free_ask = f->asks[i].next;
    f->asks_open++;
    f->asks[i] = (struct check_ask){
        .letter = l, .need = need->id, .serial = f->asks[i].serial + 1, .open = true};
    l->check->open++;
    return true;
}

/* Puts to dns what the engine wants to know now. */
static void pump(struct letter *l)
{
    struct ll_dns_answer none = {.status = LL_DNS_STATUS_SERVFAIL};
    struct check *c = l->check;
    struct ll_need need;

    ll_check_time(c->engine, ll_now_ms());
    while (c->open < LETTER_MAX && ll_check_need(c->engine, &need))
        if (!ask_send(l, &need)) {
            c->unasked = true;
            ll_check_answer(c->engine, &(struct ll_need_answer){.id = need.id, .dns = &none});
        }
}

static void maybe_done(struct letter *l)
{
    struct check *c = l->check;

    if (c->waiting && ll_check_done(c->engine) && l->session) {
        c->waiting = false;
        front_checked(l->session);
    }
}

static void take_answer(struct front *f, uint32_t i, const struct ll_dns_answer *a)
{
    struct letter *l = f->asks[i].letter;
    struct ll_need_answer answer = {.id = f->asks[i].need, .dns = a};

    ask_release(f, i);
    if (!l)
        return;
    l->check->open--;
    ll_check_answer(l->check->engine, &answer);
    pump(l);
    maybe_done(l);
}

int front_on_dns(struct ll_peer *peer, const struct ll_msg *m)
{
    struct front *f = peer->proc->state;
    uint32_t i = (uint32_t)m->id & 0xfffff;
    struct ll_dns_answer a;
    struct ll_arena arena;

    if ((m->id & ID_CHECK) != ID_CHECK || i >= f->n_asks || !f->asks[i].open ||
        (f->asks[i].serial & 0xffffffff) != (uint32_t)(m->id >> 20))
        return 0; /* an answer to one that was given up */
    ll_arena_init(&arena, 4u << 20);
    if (!ll_dns_answer_decode(m->dns_answer.answer, &arena, &a)) {
        ll_arena_release(&arena);
        return -1;
    }
    take_answer(f, i, &a);
    ll_arena_release(&arena);
    return 0;
}

void front_check_lost(struct front *f)
{
    struct ll_dns_answer none = {.status = LL_DNS_STATUS_SERVFAIL};

    for (uint32_t i = 0; i < f->n_asks; i++) {
        if (!f->asks[i].open)
            continue;
        if (f->asks[i].letter)
            f->asks[i].letter->check->unasked = true;
        take_answer(f, i, &none);
    }
}

/* ---- a letter's way through it ------------------------------------------------------------------
 */

/* Letters of logins and trusted clients are not looked at: they are ours. */
static bool is_wanted(const struct session *s, const struct letter *l)
{
    const struct ll_conf *c = s->front->proc->conf;

    if (s->service->submission || s->login || s->trusted || s->named_peer || s->local)
        return false;
    for (size_t i = 0; i < l->n_rcpts; i++) {
        const struct rcpt *r = &l->rcpts[i];
        struct ll_slice address = ll_slice(l->text.p + r->at, r->address_n);
        size_t at = ll_slice_rfind(address, '@');
        const struct ll_conf_domain *d = ll_conf_domain(c, ll_slice_skip(address, at + 1));

        if (ll_policy_apply(d && d->dmarc[0] ? d->dmarc : c->dmarc) != LL_DMARC_OFF)
            return true;
    }
    return false;
}

void front_check_begin(struct session *s, struct letter *l)
{
    struct ll_check_input in = {.ip_n = s->ip.family == 4 ? 4 : 16,
                                .helo = ll_smtpd_helo(s->smtpd),
                                .mail_from = front_letter_reverse(l),
                                .iprev = true,
                                .receiver = ll_slice_str(s->front->proc->conf->hostname),
                                .sender_mx = true,
                                .keys = s->front->dkim_keys,
                                .unix_s = ll_unix_ms() / 1000,
                                .now = ll_now_ms()};

    if (!is_wanted(s, l))
        return;
    memcpy(in.ip, s->ip.octets, in.ip_n);
    l->check = calloc(1, sizeof(*l->check));
    if (l->check)
        l->check->engine = ll_check_new(&in);
    if (!l->check || !l->check->engine) {
        front_check_free(l);
        return;
    }
    l->check->provenance.forwarder = ll_networks_have(&s->front->forwarders, &s->ip);
    l->check->provenance.exception = ll_networks_have(&s->front->exceptions, &s->ip);
    pump(l);
}

void front_check_feed(struct letter *l, struct ll_slice in)
{
    if (!l->check)
        return;
    ll_check_feed(l->check->engine, in);
    if (l->check->open < LETTER_MAX)
        pump(l);
}

static uint64_t check_ms(const struct session *s)
{
    return (uint64_t)s->front->proc->conf->check_timeout * 1000;
}

bool front_check_end(struct session *s, struct letter *l)
{
    struct check *c = l->check;

    if (!c || c->whole)
        return true;
    c->whole = true;
    ll_check_end(c->engine);
    pump(l);
    c->waiting = !ll_check_done(c->engine);
    if (c->waiting)
        s->deadline = ll_now_ms() + check_ms(s) - check_ms(s) / DMARC_SHARE;
    return !c->waiting;
}

void front_check_free(struct letter *l)
{
    struct check *c = l->check;
    struct front *f = l->front;

    if (!c)
        return;
    for (uint32_t i = 0; c->open > 0 && i < f->n_asks; i++) {
        if (f->asks[i].letter == l) {
            f->asks[i].letter = NULL; /* the slot is free when its answer has come */
            c->open--;
        }
    }
    l->check = NULL;
    ll_check_free(c->engine);
    free(c);
}

/* First everything but DMARC is given up, as the author's policy counts however slow the zones are
 * that the sender has named; then DMARC, too. */
void front_check_late(struct session *s)
{
    struct check *c = s->letter ? s->letter->check : NULL;

    if (!c)
        return;
    if (c->late) {
        ll_check_give_up(c->engine);
    } else {
        ll_log(LL_LOG_WARNING, "check-late", LL_FU("session", s->id),
               LL_F("from", front_letter_reverse(s->letter)));
        c->late = true;
        s->deadline = ll_now_ms() + check_ms(s) / DMARC_SHARE;
        ll_check_hurry(c->engine);
        pump(s->letter);
    }
    maybe_done(s->letter);
}

/* ---- what follows from it -----------------------------------------------------------------------
 */

static void gather_provenance(struct session *s, struct letter *l)
{
    const struct ll_conf *conf = s->front->proc->conf;
    const struct ll_check_result *r = ll_check_result(l->check->engine);
    struct ll_slice header = ll_dkim_letter_header(ll_check_letter(l->check->engine));
    struct ll_provenance *p = &l->check->provenance;

    p->exception = p->exception || ll_policy_below(conf->dmarc_exceptions, r->dmarc.author);
    ll_policy_letter(p, r, header, conf->arc_trusted);
}

static enum ll_fate fate_of(const struct session *s, struct letter *l, const struct rcpt *r)
{
    const struct ll_conf *conf = s->front->proc->conf;
    const struct ll_check_result *found = ll_check_result(l->check->engine);
    struct ll_slice address = ll_slice(l->text.p + r->at, r->address_n);
    const struct ll_conf_domain *d =
        ll_conf_domain(conf, ll_slice_skip(address, ll_slice_rfind(address, '@') + 1));
    enum ll_dmarc_apply apply = ll_policy_apply(d && d->dmarc[0] ? d->dmarc : conf->dmarc);
    const char *override;
    enum ll_fate fate = ll_policy_dmarc(apply, &found->dmarc, &l->check->provenance, &override);
    enum ll_fate spf = ll_policy_spf(conf->spf_fail, found, &l->check->provenance);

    if (override)
        l->check->override = override;
    return spf > fate ? spf : fate;
}

/* One reply serves all recipients (DESIGN 3): refused where every recipient's domain would; else
 * those whose domain would are held. */
static struct ll_verdict apply_fates(struct session *s, struct letter *l)
{
    const struct ll_check_result *r = ll_check_result(l->check->engine);
    size_t refused = 0;

    for (size_t i = 0; i < l->n_rcpts; i++) {
        enum ll_fate fate = fate_of(s, l, &l->rcpts[i]);

        if (fate > l->check->fate)
            l->check->fate = fate;
        refused += fate == LL_FATE_REJECT;
        if (fate == LL_FATE_JUNK)
            l->rcpts[i].flags |= LL_RCPT_JUNK;
        if (fate == LL_FATE_REJECT)
            l->rcpts[i].flags |= LL_RCPT_HOLD;
    }
    if (refused == 0 || refused < l->n_rcpts)
        return (struct ll_verdict){0};
    return r->dmarc.code == LL_DMARC_FAIL && r->dmarc.disposition == LL_DMARC_P_REJECT
               ? ll_verdict_dmarc
               : ll_verdict_spf;
}

/* ---- the answer
 * ----------------------------------------------------------------------------------
 */

struct ll_verdict front_check_decide(struct session *s, struct letter *l)
{
    const struct ll_check_result *r;
    struct ll_verdict v;

    if (!l->check)
        return (struct ll_verdict){0};
    r = ll_check_result(l->check->engine);
    if (r->author_error != LL_MSG_OK) {
        const struct ll_msg_error_info *i = ll_msg_error_info(r->author_error);

        return (struct ll_verdict){i->code, i->enhanced, i->text};
    }
    if (r->sender_null_mx)
        return ll_verdict_null_mx;
    gather_provenance(s, l);
    if (r->dmarc.code == LL_DMARC_TEMPERROR &&
        (l->check->unasked || strcmp(s->front->proc->conf->check_late, "defer") == 0))
        return ll_verdict_check_late;
    v = apply_fates(s, l);
    front_tell(s, l,
               &(struct found){r, ll_dkim_letter_header(ll_check_letter(l->check->engine)),
                               l->check->override, l->check->fate});
    return v;
}

bool front_check_proves(const struct letter *l)
{
    return l->check && ll_check_proves(l->check->engine, front_letter_reverse(l));
}

/* ---- what is written down -----------------------------------------------------------------------
 */

void front_check_fields(struct session *s, const struct letter *l, struct ll_buf *out)
{
    const struct ll_smtpd_tls *tls = ll_smtpd_tls(s->smtpd);
    struct ll_authres_out a = {.out = out};
    char ip[LL_IP_TEXT];

    if (l->check) {
        const struct ll_check_result *r = ll_check_result(l->check->engine);

        ll_authres_begin(&a, front_authserv_id(s->front));
        ll_check_authres(l->check->engine, &a);
        ll_authres_iprev(&a, ll_check_iprev_word(r->iprev), ll_slice_str(front_client(s, ip)),
                         r->iprev_name);
    } else if (s->login && !s->service->hide_client && !s->local) {
        ll_authres_begin(&a, front_authserv_id(s->front));
        ll_authres_auth(&a, "pass", ll_smtpd_user(s->smtpd));
    } else {
        return;
    }
    ll_authres_tls(&a, ll_slice_str(tls ? tls->version : ""), ll_slice_str(tls ? tls->cipher : ""));
    ll_authres_end(&a);
    if (l->check && s->front->proc->conf->received_spf)
        ll_check_received_spf(l->check->engine, ll_slice_str(s->front->proc->conf->hostname), out);
}

void front_check_facts(const struct letter *l, struct ll_json *j)
{
    const struct ll_check_result *r;

    if (!l->check)
        return;
    r = ll_check_result(l->check->engine);
    ll_json_cstr(j, "spf", r->have_spf ? ll_spf_word(r->spf.code) : "none");
    if (r->have_spf)
        ll_json_str(j, "spf_domain", r->spf.domain);
    for (size_t i = 0; i < r->n_dkim; i++) {
        if (ll_dkim_fault_verdict(r->dkim[i].fault) != LL_DKIM_PASS)
            continue;
        ll_json_str(j, "dkim_domain", r->dkim[i].domain);
        break;
    }
    ll_json_cstr(j, "dmarc", ll_dmarc_word(r->dmarc.code));
    ll_json_str(j, "author_domain", r->dmarc.author);
    ll_json_cstr(j, "dmarc_policy", ll_dmarc_policy_word(r->dmarc.policy));
    if (l->check->override)
        ll_json_cstr(j, "dmarc_override", l->check->override);
    if (l->check->fate == LL_FATE_JUNK)
        ll_json_bool(j, "junk", true);
    if (r->arc.code != LL_ARC_NONE)
        ll_json_cstr(j, "arc", ll_arc_word(r->arc.code));
    ll_json_cstr(j, "iprev", ll_check_iprev_word(r->iprev));
    ll_json_int(j, "dns_questions", r->needs);
}

const char *front_check_dmarc(const struct letter *l)
{
    return l->check && ll_check_done(l->check->engine)
               ? ll_dmarc_word(ll_check_result(l->check->engine)->dmarc.code)
               : "";
}
