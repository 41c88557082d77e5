/* The decision: RFC 9989 4.10.1, 4.10.2 and 5.3. See letterlock/dmarc.h. */
#include "lib/dmarc/internal.h"

#include <stdlib.h>

/* Texts of the records of every entry, and the arena's own blocks. */
#define ARENA_MAX (LL_DMARC_NEEDS_MAX * (LL_DMARC_RECORD_MAX + 64))

static const char *const words[] = {
#define ROW(ID, word) word,
    LL_DMARC_RESULTS(ROW)
#undef ROW
};

const char *ll_dmarc_word(enum ll_dmarc_code code)
{
    return words[code];
}

enum aligned {
    ALIGNED_NO,
    ALIGNED_YES,
    ALIGNED_UNKNOWN, /* DNS has not said */
    ALIGNED_WAIT,    /* a question comes first */
};

/* What an evaluation looks at, and what it has found. */
struct look {
    struct ll_dmarc_walk author;
    const struct ll_dmarc_entry *policy; /* whose record applies */
    bool unknown;                        /* something that could have passed is not known */
};

static bool same(const struct ll_dns_name *a, const struct ll_dns_name *b)
{
    return a->n == b->n && memcmp(a->text, b->text, a->n) == 0;
}

static void finish(struct ll_dmarc *d, enum ll_dmarc_code code, const char *fmt, ...)
    LL_PRINTF(3, 4);

static void finish(struct ll_dmarc *d, enum ll_dmarc_code code, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    ll_buf_clear(&d->reason);
    ll_buf_vprintf(&d->reason, fmt, ap);
    va_end(ap);
    d->result.code = code;
    d->done = true;
}

/* 4.10.2. Names below the author's Organizational Domain alone can share it. */
static enum aligned alignment(struct ll_dmarc *d, const struct look *l,
                              const struct ll_dns_name *domain, bool strict)
{
    struct ll_dmarc_walk w;

    if (same(domain, &d->author))
        return ALIGNED_YES;
    if (strict)
        return ALIGNED_NO;
    if (l->author.error)
        return ALIGNED_UNKNOWN;
    if (!ll_dns_name_under(ll_dns_name_slice(domain), ll_dns_name_slice(&l->author.org)))
        return ALIGNED_NO;
    if (!ll_dmarc_walk(d, domain, &w))
        return ALIGNED_WAIT;
    if (w.error)
        return ALIGNED_UNKNOWN;
    return same(&w.org, &l->author.org) ? ALIGNED_YES : ALIGNED_NO;
}

/* Looks at one identifier; *aligned: it passed, in alignment. False: a question comes first. */
static bool look_at(struct ll_dmarc *d, struct look *l, const struct ll_dmarc_ident *id,
                    bool strict, bool *aligned)
{
    enum aligned a;

    *aligned = false;
    if (id->domain.n == 0 || id->auth == LL_DMARC_AUTH_NONE)
        return true;
    a = alignment(d, l, &id->domain, strict);
    *aligned = a == ALIGNED_YES && id->auth == LL_DMARC_AUTH_PASS;
    if (a == ALIGNED_UNKNOWN || (a == ALIGNED_YES && id->auth == LL_DMARC_AUTH_TEMP))
        l->unknown = true;
    return a != ALIGNED_WAIT;
}

static bool look_at_all(struct ll_dmarc *d, struct look *l)
{
    const struct ll_dmarc_record *r = &l->policy->record;
    bool aligned;

    if (!look_at(d, l, &d->spf, r->spf_strict, &d->result.spf_aligned))
        return false;
    for (size_t i = 0; i < d->n_dkim; i++) {
        if (!look_at(d, l, &d->dkim[i], r->dkim_strict, &aligned))
            return false;
        if (aligned && !d->result.dkim_aligned) {
            d->result.dkim_aligned = true;
            d->dkim_domain = d->dkim[i].domain;
        }
    }
    return true;
}

/* Whether the author exists matters only where np and sp differ. False: a question comes first. */
static bool know_existence(struct ll_dmarc *d, const struct look *l)
{
    const struct ll_dmarc_record *r = &l->policy->record;

    if (d->exists != LL_DMARC_E_OPEN || r->np == r->sp)
        return true;
    if (!d->entry[0].nxdomain) { /* _dmarc.AUTHOR is there, so the author is, too (RFC 8020) */
        d->exists = LL_DMARC_E_YES;
        return true;
    }
    ll_dmarc_ask(d, NULL, &d->author, LL_DNS_A);
    return false;
}

/* p, sp or np (4.10.1). */
static void choose_policy(struct ll_dmarc *d, const struct look *l)
{
    const struct ll_dmarc_record *r = &l->policy->record;
    bool own = l->policy == l->author.own;
    bool missing = d->exists == LL_DMARC_E_NO;

    d->result.policy = own ? r->p : missing ? r->np : r->sp;
    d->result.policy_tag = own ? "p" : missing && r->has_np ? "np" : r->has_sp ? "sp" : "p";
}

static void finish_fail(struct ll_dmarc *d, const struct look *l)
{
    enum ll_dmarc_policy p = d->result.policy;

    if (l->policy->record.test && p != LL_DMARC_P_NONE) /* one level lower (4.7) */
        p = (enum ll_dmarc_policy)(p - 1);
    d->result.disposition = p;
    finish(d, LL_DMARC_FAIL, "no identifier that passed is aligned with %.60s; %s=%s%s",
           d->author.text, d->result.policy_tag, ll_dmarc_policy_word(d->result.policy),
           l->policy->record.test ? ", in test mode" : "");
}

/* Decides, or leaves a question open. */
static void decide(struct ll_dmarc *d)
{
    struct look l = {{NULL}};
    bool passed;

    if (!ll_dmarc_walk(d, &d->author, &l.author))
        return;
    l.policy = l.author.own ? l.author.own : l.author.error ? NULL : l.author.policy;
    if (!l.policy && l.author.error) {
        finish(d, LL_DMARC_TEMPERROR, "DNS does not answer for the DMARC record of %.100s",
               d->author.text);
        return;
    }
    if (!l.author.error)
        d->org = l.author.org;
    if (!l.policy) {
        finish(d, LL_DMARC_NONE, "%.100s has no DMARC record", d->author.text);
        return;
    }
    if (!l.policy->record.usable) {
        finish(d, LL_DMARC_NONE, "the DMARC record of %.100s has no valid policy and no rua",
               l.policy->name.text);
        return;
    }
    d->result.dkim_aligned = false;
    if (!look_at_all(d, &l))
        return;
    passed = d->result.spf_aligned || d->result.dkim_aligned;
    if (!passed && !l.unknown && l.policy != l.author.own && !know_existence(d, &l))
        return;
    d->policy_domain = l.policy->name;
    d->result.record = l.policy->record;
    choose_policy(d, &l);
    if (passed)
        finish(d, LL_DMARC_PASS, "aligned: %s%s%s", d->result.dkim_aligned ? "dkim" : "",
               d->result.dkim_aligned && d->result.spf_aligned ? ", " : "",
               d->result.spf_aligned ? "spf" : "");
    else if (l.unknown || d->exists == LL_DMARC_E_ERROR)
        finish(d, LL_DMARC_TEMPERROR, "DNS has not answered all that decides");
    else
        finish_fail(d, &l);
}

/* ---- from outside ------------------------------------------------------------------------------
 */

/* Takes the identifiers with that outcome, each domain once. */
static void take_dkim(struct ll_dmarc *d, const struct ll_dmarc_input *in, enum ll_dmarc_auth auth)
{
    struct ll_dns_name name;

    for (size_t i = 0; i < in->n_dkim && d->n_dkim < LL_DMARC_DKIM_MAX; i++) {
        bool known = in->dkim[i].auth != auth || !ll_dns_name_of(in->dkim[i].domain, &name);

        for (size_t k = 0; k < d->n_dkim && !known; k++)
            known = same(&d->dkim[k].domain, &name);
        if (!known)
            d->dkim[d->n_dkim++] = (struct ll_dmarc_ident){name, auth};
    }
}

struct ll_dmarc *ll_dmarc_new(const struct ll_dmarc_input *in)
{
    struct ll_dmarc *d = calloc(1, sizeof(*d));

    if (!d)
        return NULL;
    ll_arena_init(&d->arena, ARENA_MAX);
    ll_buf_init(&d->reason, LL_DMARC_REASON_MAX);
    if (!ll_dns_name_of(in->author, &d->author)) {
        finish(d, LL_DMARC_PERMERROR, "the address in From has no domain name");
        return d;
    }
    d->spf.auth = in->spf.auth;
    if (!ll_dns_name_of(in->spf.domain, &d->spf.domain))
        d->spf.domain.n = 0;
    take_dkim(d, in, LL_DMARC_AUTH_PASS);
    take_dkim(d, in, LL_DMARC_AUTH_TEMP);
    decide(d);
    return d;
}

void ll_dmarc_free(struct ll_dmarc *d)
{
    if (!d)
        return;
    ll_arena_release(&d->arena);
    ll_buf_release(&d->reason);
    free(d);
}

bool ll_dmarc_need(struct ll_dmarc *d, struct ll_need *ret)
{
    if (!d->open || d->taken)
        return false;
    *ret = d->need;
    d->taken = true;
    return true;
}

void ll_dmarc_answer(struct ll_dmarc *d, const struct ll_need_answer *a)
{
    static const struct ll_dns_answer none = {.status = LL_DNS_STATUS_SERVFAIL};
    const struct ll_dns_answer *dns = a->dns ? a->dns : &none;

    if (!d->taken || !d->open || a->id != d->need.id)
        return;
    d->open = false;
    if (d->about)
        ll_dmarc_learn(d, d->about, dns);
    else if (ll_dns_later(dns->status))
        d->exists = LL_DMARC_E_ERROR;
    else
        d->exists = dns->status == LL_DNS_STATUS_NXDOMAIN ? LL_DMARC_E_NO : LL_DMARC_E_YES;
    decide(d);
}

bool ll_dmarc_result(const struct ll_dmarc *d, struct ll_dmarc_result *ret)
{
    if (!d->done)
        return false;
    *ret = d->result;
    ret->author = ll_dns_name_slice(&d->author);
    ret->org_domain = ll_dns_name_slice(&d->org);
    ret->dkim_domain = ll_dns_name_slice(&d->dkim_domain);
    ret->policy_domain = ll_dns_name_slice(&d->policy_domain);
    ret->reason = ll_buf_slice(&d->reason);
    return true;
}
