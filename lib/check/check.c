/* SPF, DKIM, ARC, DMARC and iprev of one letter. See include/letterlock/check.h. */
#include "letterlock/check.h"
#include "letterlock/authres.h"

#include <stdlib.h>

/* The engines; a need's id carries the number of the one that asks in its top octet. */
enum engine { IPREV, SENDER, SPF, DKIM, ARC, DMARC, ENGINES };

#define ID_SHIFT 24
#define ID_MASK  ((1u << ID_SHIFT) - 1)

struct iprev {
    struct ll_dns_name name[LL_CHECK_IPREV_NAMES];
    size_t n;      /* names */
    uint32_t next; /* to be asked: 0 the PTR, then the names */
    uint32_t open; /* a bit each that is not answered yet */
    bool later;    /* a question was not answered */
};

/* The MX records of the reverse-path's domain: one question. */
struct sender {
    struct ll_dns_name domain;
    bool wanted, asked, answered;
};

struct ll_check {
    struct ll_check_result result;
    struct ll_spf *spf;
    struct ll_dkim_letter *letter;
    struct ll_dkim *dkim;
    struct ll_arc *arc;
    struct ll_dmarc *dmarc;
    struct iprev iprev;
    struct sender sender;
    uint8_t ip[16];
    uint8_t ip_n; /* 0: no iprev */
    int64_t unix_s;
    struct ll_arena arena; /* of the author */
    bool ready;            /* the verifiers were made */
    bool over;             /* the letter's last octet was fed */
    bool hurried;          /* nobody answers any more, but what DMARC asks */
    bool given_up;         /* nobody answers any more */
    bool done;
    bool failed; /* no memory: what was not found may be there */
};

static const char *const iprev_words[] = {
#define LL_CHECK_ROW(ID, word) [LL_CHECK_IPREV_##ID] = (word),
    LL_CHECK_IPREVS(LL_CHECK_ROW)
#undef LL_CHECK_ROW
};

const char *ll_check_iprev_word(enum ll_check_iprev i)
{
    return iprev_words[(size_t)i < LL_COUNT(iprev_words) ? i : LL_CHECK_IPREV_NONE];
}

/* ---- life ---------------------------------------------------------------------------------------
 */

struct ll_check *ll_check_new(const struct ll_check_input *in)
{
    struct ll_check *c = calloc(1, sizeof(*c));
    struct ll_spf_check spf = {.ip_n = in->ip_n,
                               .helo = in->helo,
                               .mail_from = in->mail_from,
                               .receiver = in->receiver,
                               .unix_s = in->unix_s,
                               .now = in->now};

    if (!c)
        return NULL;
    ll_arena_init(&c->arena, 1u << 20);
    c->unix_s = in->unix_s;
    c->ip_n = in->iprev ? in->ip_n : 0;
    memcpy(c->ip, in->ip, sizeof(c->ip));
    memcpy(spf.ip, in->ip, sizeof(spf.ip));
    c->sender.wanted =
        in->sender_mx && in->mail_from.n > 0 &&
        ll_dns_name_of(ll_slice_skip(in->mail_from, ll_slice_rfind(in->mail_from, '@') + 1),
                       &c->sender.domain);
    c->letter = ll_dkim_letter_new();
    c->spf = in->ip_n ? ll_spf_new(&spf) : NULL;
    if (!c->letter || (in->ip_n && !c->spf)) {
        ll_check_free(c);
        return NULL;
    }
    ll_dkim_letter_keys(c->letter, in->keys);
    return c;
}

void ll_check_free(struct ll_check *c)
{
    if (!c)
        return;
    ll_dmarc_free(c->dmarc);
    ll_arc_free(c->arc);
    ll_dkim_free(c->dkim);
    ll_dkim_letter_free(c->letter);
    ll_spf_free(c->spf);
    ll_arena_release(&c->arena);
    free(c);
}

/* The header is complete: who the reader would see is known, and what signs it. */
static void make_verifiers(struct ll_check *c)
{
    struct ll_slice header = ll_dkim_letter_header(c->letter);
    enum ll_dkim_fault fault = ll_dkim_letter_fault(c->letter);
    struct ll_check_result *r = &c->result;

    c->ready = true;
    c->dkim = ll_dkim_new(c->letter, c->unix_s);
    c->arc = ll_arc_new(c->letter, c->unix_s);
    c->failed = !c->dkim || !c->arc;
    /* What a server refuses; and of a longer header not all was kept. */
    r->author_error = fault == LL_DKIM_FAULT_RESOURCE ? LL_MSG_RESOURCE
                      : fault == LL_DKIM_FAULT_HEADER_LONG || header.n > LL_MSG_HEADER_MAX
                          ? LL_MSG_HEADER_LONG
                          : ll_msg_author(header, &c->arena, &r->author);
}

void ll_check_feed(struct ll_check *c, struct ll_slice in)
{
    while (in.n > 0) {
        in = ll_slice_skip(in, ll_dkim_letter_feed(c->letter, in));
        if (!c->ready && ll_dkim_letter_ready(c->letter))
            make_verifiers(c);
    }
}

void ll_check_end(struct ll_check *c)
{
    ll_dkim_letter_end(c->letter);
    if (!c->ready)
        make_verifiers(c);
    c->over = true;
}

struct ll_dkim_letter *ll_check_letter(struct ll_check *c)
{
    return c->letter;
}

const struct ll_arc *ll_check_arc(const struct ll_check *c)
{
    return c->arc;
}

/* ---- iprev: the address's names, and whether one leads back (RFC 8601 2.7.3)
 * ---------------------
 */

static bool iprev_need(struct ll_check *c, struct ll_need *ret)
{
    struct iprev *v = &c->iprev;

    if (c->ip_n == 0 || v->next > v->n)
        return false;
    *ret = (struct ll_need){.id = v->next, .kind = LL_NEED_DNS};
    ret->dns.type = v->next == 0 ? LL_DNS_PTR : c->ip_n == 4 ? LL_DNS_A : LL_DNS_AAAA;
    if (v->next == 0)
        ll_dns_reverse(c->ip, c->ip_n, &ret->dns.name);
    else
        ret->dns.name = v->name[v->next - 1];
    v->open |= 1u << v->next++;
    return true;
}

static void take_names(struct ll_check *c, const struct ll_dns_answer *a)
{
    struct iprev *v = &c->iprev;

    for (size_t i = 0; i < a->n_rdata && v->n < LL_CHECK_IPREV_NAMES; i++)
        if (ll_dns_rdata_name(a->rdata[i], &v->name[v->n]))
            v->n++;
}

static bool leads_back(const struct ll_check *c, const struct ll_dns_answer *a)
{
    for (size_t i = 0; i < a->n_rdata; i++) {
        uint8_t ip[16];

        if ((c->ip_n == 4 ? ll_dns_rdata_a(a->rdata[i], ip) : ll_dns_rdata_aaaa(a->rdata[i], ip)) &&
            memcmp(ip, c->ip, c->ip_n) == 0)
            return true;
    }
    return false;
}

static void iprev_answer(struct ll_check *c, uint32_t id, const struct ll_dns_answer *a)
{
    struct ll_check_result *r = &c->result;
    struct iprev *v = &c->iprev;

    if (id > LL_CHECK_IPREV_NAMES || !(v->open & 1u << id))
        return;
    v->open &= ~(1u << id);
    v->later = v->later || ll_dns_later(a->status);
    if (id == 0) {
        take_names(c, a);
        if (v->n == 0)
            r->iprev = v->later ? LL_CHECK_IPREV_TEMPERROR : LL_CHECK_IPREV_PERMERROR;
        return;
    }
    if (r->iprev != LL_CHECK_IPREV_PASS && leads_back(c, a)) {
        r->iprev = LL_CHECK_IPREV_PASS;
        r->iprev_name = ll_dns_name_slice(&v->name[id - 1]);
    }
    if (r->iprev != LL_CHECK_IPREV_PASS && v->open == 0 && v->next > v->n)
        r->iprev = v->later ? LL_CHECK_IPREV_TEMPERROR : LL_CHECK_IPREV_FAIL;
}

static bool iprev_done(const struct ll_check *c)
{
    return c->ip_n == 0 || c->result.iprev != LL_CHECK_IPREV_NONE;
}

/* ---- the reverse-path's domain: a null MX says that no report could ever go there (RFC 7505 4.2)
 * ------------------------------------------------------------------------------------------------
 */

static bool sender_need(struct ll_check *c, struct ll_need *ret)
{
    if (!c->sender.wanted || c->sender.asked)
        return false;
    *ret = (struct ll_need){.kind = LL_NEED_DNS};
    ret->dns.type = LL_DNS_MX;
    ret->dns.name = c->sender.domain;
    c->sender.asked = true;
    return true;
}

/* A null MX is alone (RFC 7505 3); beside others it is a mistake. */
static void sender_answer(struct ll_check *c, uint32_t id, const struct ll_dns_answer *a)
{
    struct ll_dns_mx mx;

    if (id != 0 || !c->sender.asked || c->sender.answered)
        return;
    c->sender.answered = true;
    c->result.sender_null_mx = a->n_rdata == 1 && ll_dns_rdata_mx(a->rdata[0], &mx) &&
                               mx.host.n == 1 && mx.host.text[0] == '.';
}

static bool sender_done(const struct ll_check *c)
{
    return !c->sender.wanted || c->sender.answered;
}

/* ---- questions and answers ----------------------------------------------------------------------
 */

static bool engine_need(struct ll_check *c, enum engine e, struct ll_need *ret)
{
    switch (e) {
    case IPREV:
        return iprev_need(c, ret);
    case SENDER:
        return sender_need(c, ret);
    case SPF:
        return c->spf && ll_spf_need(c->spf, ret);
    case DKIM:
        return c->dkim && ll_dkim_need(c->dkim, ret);
    case ARC:
        return c->arc && ll_arc_need(c->arc, ret);
    case DMARC:
        return c->dmarc && ll_dmarc_need(c->dmarc, ret);
    case ENGINES:
        break;
    }
    return false;
}

static void engine_answer(struct ll_check *c, enum engine e, const struct ll_need_answer *a)
{
    switch (e) {
    case IPREV:
        iprev_answer(c, a->id, a->dns);
        break;
    case SENDER:
        sender_answer(c, a->id, a->dns);
        break;
    case SPF:
        ll_spf_answer(c->spf, a);
        break;
    case DKIM:
        ll_dkim_answer(c->dkim, a);
        break;
    case ARC:
        ll_arc_answer(c->arc, a);
        break;
    case DMARC:
        ll_dmarc_answer(c->dmarc, a);
        break;
    case ENGINES:
        break;
    }
}

/* An engine's own id with the engine's number in it, as needs are known outside. */
static bool engine_exists(const struct ll_check *c, enum engine e)
{
    const bool there[ENGINES] = {
        [IPREV] = c->ip_n > 0,    [SENDER] = c->sender.wanted, [SPF] = c->spf != NULL,
        [DKIM] = c->dkim != NULL, [ARC] = c->arc != NULL,      [DMARC] = c->dmarc != NULL};

    return e < ENGINES && there[e];
}

static bool next_need(struct ll_check *c, struct ll_need *ret)
{
    for (enum engine e = IPREV; e < ENGINES; e++) {
        if (engine_need(c, e, ret)) {
            ret->id = (uint32_t)e << ID_SHIFT | (ret->id & ID_MASK);
            c->result.needs++;
            return true;
        }
    }
    return false;
}

void ll_check_answer(struct ll_check *c, const struct ll_need_answer *a)
{
    enum engine e = (enum engine)(a->id >> ID_SHIFT);
    struct ll_need_answer inner = *a;

    inner.id = a->id & ID_MASK;
    if (!c->done && a->dns && engine_exists(c, e))
        engine_answer(c, e, &inner);
}

/* ---- DMARC, when the others have ended ----------------------------------------------------------
 */

static enum ll_dmarc_auth auth_of(bool pass, bool later)
{
    return pass ? LL_DMARC_AUTH_PASS : later ? LL_DMARC_AUTH_TEMP : LL_DMARC_AUTH_NONE;
}

static void start_dmarc(struct ll_check *c)
{
    struct ll_dmarc_id ids[LL_DKIM_SIGNATURES_MAX];
    struct ll_check_result *r = &c->result;
    struct ll_dmarc_input in = {.dkim = ids};
    size_t at = ll_slice_rfind(r->author, '@');

    in.author = ll_slice_skip(r->author, at + 1);
    if (r->have_spf) {
        in.spf.domain = r->spf.domain;
        in.spf.auth = auth_of(r->spf.code == LL_SPF_PASS, r->spf.code == LL_SPF_TEMPERROR);
    }
    for (size_t i = 0; i < r->n_dkim && i < LL_DKIM_SIGNATURES_MAX; i++) {
        enum ll_dkim_verdict v = ll_dkim_fault_verdict(r->dkim[i].fault);

        /* A key in testing mode proves nothing (RFC 6376 3.6.1, t=y). */
        ids[in.n_dkim].domain = r->dkim[i].domain;
        ids[in.n_dkim++].auth =
            auth_of(v == LL_DKIM_PASS && !r->dkim[i].testing, v == LL_DKIM_TEMPERROR);
    }
    c->dmarc = ll_dmarc_new(&in);
    c->failed = c->failed || !c->dmarc;
}

/* What the engines before DMARC found; false: not all has ended. */
static bool gather(struct ll_check *c)
{
    struct ll_check_result *r = &c->result;

    if (!c->over || !iprev_done(c) || !sender_done(c) ||
        (c->spf && !ll_spf_result(c->spf, &r->spf)) || (c->dkim && !ll_dkim_done(c->dkim)) ||
        (c->arc && !ll_arc_done(c->arc)))
        return false;
    r->have_spf = c->spf != NULL;
    if (c->dkim)
        r->n_dkim = ll_dkim_results(c->dkim, &r->dkim, &r->dkim_skipped);
    if (c->arc)
        r->arc = *ll_arc_result(c->arc);
    return true;
}

static void no_dmarc(struct ll_check_result *r)
{
    r->dmarc = (struct ll_dmarc_result){
        .code = r->author_error == LL_MSG_RESOURCE ? LL_DMARC_TEMPERROR : LL_DMARC_PERMERROR,
        .reason = ll_slice_str(ll_msg_error_info(r->author_error)->text)};
}

/* Nobody answers these engines any more. Questions that were taken are answered by number, as
 * engines ignore what they did not ask; then those that come of it. */
static void answer_nothing(struct ll_check *c, enum engine from, enum engine to)
{
    struct ll_dns_answer none = {.status = LL_DNS_STATUS_TIMEOUT};

    for (enum engine e = from; e <= to; e++) {
        struct ll_need need = {.id = 0};

        for (uint32_t id = 0; id <= LL_CHECK_NEEDS_MAX && engine_exists(c, e); id++)
            engine_answer(c, e, &(struct ll_need_answer){.id = id, .dns = &none});
        while (engine_need(c, e, &need))
            engine_answer(c, e, &(struct ll_need_answer){.id = need.id, .dns = &none});
    }
}

/* Goes on as far as it can without asking. */
static void advance(struct ll_check *c)
{
    struct ll_check_result *r = &c->result;

    if (c->done)
        return;
    if (c->hurried)
        answer_nothing(c, IPREV, ARC);
    if (!c->dmarc && !gather(c))
        return;
    if (r->author_error != LL_MSG_OK) {
        no_dmarc(r);
        c->done = true;
        return;
    }
    if (!c->dmarc)
        start_dmarc(c);
    if (c->dmarc && c->given_up)
        answer_nothing(c, DMARC, DMARC);
    c->done = !c->dmarc || ll_dmarc_result(c->dmarc, &r->dmarc);
    if (c->done && c->failed && r->dmarc.code != LL_DMARC_PASS)
        r->dmarc = (struct ll_dmarc_result){.code = LL_DMARC_TEMPERROR,
                                            .author = r->dmarc.author,
                                            .reason = LL_LIT("not enough memory")};
}

bool ll_check_need(struct ll_check *c, struct ll_need *ret)
{
    advance(c);
    return !c->done && next_need(c, ret);
}

bool ll_check_at_dmarc(const struct ll_check *c)
{
    return c->dmarc != NULL;
}

void ll_check_time(struct ll_check *c, uint64_t now)
{
    if (c->spf && !c->done)
        ll_spf_time(c->spf, now);
}

uint64_t ll_check_deadline(const struct ll_check *c)
{
    struct ll_spf_result ended;

    return c->spf && !ll_spf_result(c->spf, &ended) ? ll_spf_deadline(c->spf) : 0;
}

void ll_check_hurry(struct ll_check *c)
{
    c->hurried = true;
    if (c->spf && !c->done)
        ll_spf_time(c->spf, UINT64_MAX);
    advance(c);
}

void ll_check_give_up(struct ll_check *c)
{
    c->given_up = true;
    ll_check_hurry(c);
}

bool ll_check_done(struct ll_check *c)
{
    advance(c);
    return c->done;
}

const struct ll_check_result *ll_check_result(const struct ll_check *c)
{
    return &c->result;
}

/* ---- what it proves -----------------------------------------------------------------------------
 */

bool ll_check_proves(const struct ll_check *c, struct ll_slice reverse_path)
{
    const struct ll_check_result *r = &c->result;
    size_t at = ll_slice_rfind(reverse_path, '@');
    struct ll_slice domain = ll_slice_skip(reverse_path, at + 1);

    if (domain.n == 0)
        return false;
    if (r->have_spf && !r->spf.helo && r->spf.code == LL_SPF_PASS)
        return true;
    for (size_t i = 0; i < r->n_dkim; i++)
        if (ll_dkim_fault_verdict(r->dkim[i].fault) == LL_DKIM_PASS && !r->dkim[i].testing &&
            r->dkim[i].domain.n > 0 && ll_dns_name_under(domain, r->dkim[i].domain))
            return true;
    return false;
}

void ll_check_authres(const struct ll_check *c, struct ll_authres_out *out)
{
    const struct ll_check_result *r = &c->result;

    if (r->have_spf)
        ll_authres_spf(out, &r->spf);
    ll_authres_dkim(out, r->dkim, r->n_dkim);
    if (r->arc.code != LL_ARC_NONE)
        ll_authres_arc(out, &r->arc);
    ll_authres_dmarc(out, &r->dmarc);
}

void ll_check_received_spf(const struct ll_check *c, struct ll_slice receiver, struct ll_buf *out)
{
    if (c->spf && c->result.have_spf)
        ll_spf_received(c->spf, receiver, out);
}
