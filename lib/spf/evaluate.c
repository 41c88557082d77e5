/* Mechanisms, and `redirect`: RFC 7208 5 and 6.1. See lib/spf/internal.h. */
#include "lib/spf/internal.h"

enum target {
    TARGET_NAME,
    TARGET_BAD,   /* no DNS name (4.8) */
    TARGET_NEVER, /* the local part can be in no DNS name (RFC 8616 4) */
    TARGET_WAIT,  /* a question comes first, or all is over */
};

static void no_match(struct ll_spf *s)
{
    s->state = LL_SPF_S_TERM;
}

static void match(struct ll_spf *s)
{
    ll_spf_frame_result(s, s->term.match);
}

static void match_if(struct ll_spf *s, bool matches)
{
    if (matches)
        match(s);
    else
        no_match(s);
}

/* <target-name> of s->term (4.8). */
static enum target target_name(struct ll_spf *s, struct ll_dns_name *ret)
{
    struct ll_slice spec = s->term.spec;
    struct ll_spf_values v = ll_spf_values(s);

    if (spec.n == 0) {
        *ret = s->frame[s->depth - 1].domain;
        return TARGET_NAME;
    }
    if (!ll_is_ascii(v.local) && ll_spf_macro_uses(spec, "sl"))
        return TARGET_NEVER;
    if (!s->ptr.ready && ll_spf_macro_uses(spec, "p")) {
        s->term_counted = false; /* the look-up for %{p} is one of the ten, too (4.6.4) */
        if (ll_spf_count_term(s))
            ll_spf_ptr_start(s);
        return TARGET_WAIT;
    }
    return ll_spf_macro_name(&v, spec, ret) ? TARGET_NAME : TARGET_BAD;
}

uint16_t ll_spf_address_type(const struct ll_spf *s)
{
    return s->ip_n == 4 ? LL_DNS_A : LL_DNS_AAAA;
}

static bool same_net(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned octets = bits / 8, rest = bits % 8;

    return memcmp(a, b, octets) == 0 && (rest == 0 || (a[octets] ^ b[octets]) >> (8 - rest) == 0);
}

bool ll_spf_addresses_match(const struct ll_spf *s, const struct ll_dns_answer *a, unsigned prefix)
{
    uint8_t ip[16];

    for (size_t i = 0; i < a->n_rdata; i++)
        if ((s->ip_n == 4 ? ll_dns_rdata_a(a->rdata[i], ip) : ll_dns_rdata_aaaa(a->rdata[i], ip)) &&
            same_net(ip, s->ip, prefix))
            return true;
    return false;
}

static unsigned prefix_of(const struct ll_spf *s)
{
    return s->ip_n == 4 ? s->term.prefix4 : s->term.prefix6;
}

/* Error, nothing, or something to look at? False: it is dealt with, and all is over. */
static bool usable(struct ll_spf *s, const struct ll_dns_answer *a)
{
    if (ll_dns_later(a->status)) {
        ll_spf_end(s, LL_SPF_TEMPERROR, "DNS does not answer for %s of %s",
                   ll_dns_type_name(s->need.dns.type), s->need.dns.name.text);
        return false;
    }
    return a->n_rdata > 0 || ll_spf_count_void(s);
}

/* ---- mechanisms --------------------------------------------------------------------------------
 */

static void all(struct ll_spf *s)
{
    match(s);
}

static void bad_target(struct ll_spf *s)
{
    ll_spf_end(s, LL_SPF_PERMERROR, "\"%.*s\" gives no domain name",
               LL_FMT(ll_slice_cut(s->term.spec, 0, 100)));
}

static void include(struct ll_spf *s)
{
    struct ll_dns_name target;

    if (!ll_spf_count_term(s))
        return;
    switch (target_name(s, &target)) {
    case TARGET_NAME:
        s->frame[s->depth] = (struct ll_spf_frame){.include = s->term};
        s->depth++; /* not beyond FRAMES_MAX: this term was counted */
        ll_spf_load(s, &target);
        break;
    case TARGET_BAD: /* none, which is permerror (5.2) */
        bad_target(s);
        break;
    case TARGET_NEVER:
        no_match(s);
        break;
    case TARGET_WAIT:
        break;
    }
}

static void redirect(struct ll_spf *s)
{
    struct ll_dns_name target;

    if (!ll_spf_count_term(s))
        return;
    switch (target_name(s, &target)) {
    case TARGET_NAME:
        s->frame[s->depth - 1].redirected = true;
        ll_spf_load(s, &target);
        break;
    case TARGET_BAD: /* 6.1 */
        bad_target(s);
        break;
    case TARGET_NEVER:
        ll_spf_frame_result(s, LL_SPF_NEUTRAL);
        break;
    case TARGET_WAIT:
        break;
    }
}

/* The mechanisms that ask one question about their target: asks it. */
static void ask_target(struct ll_spf *s, uint16_t type, ll_spf_answer_fn fn)
{
    struct ll_dns_name target;
    enum target t;

    if (!ll_spf_count_term(s))
        return;
    t = target_name(s, &target);
    if (t == TARGET_NAME)
        ll_spf_ask(s, &target, type, fn);
    else if (t != TARGET_WAIT)
        no_match(s);
}

static void on_a(struct ll_spf *s, const struct ll_dns_answer *answer)
{
    if (usable(s, answer))
        match_if(s, ll_spf_addresses_match(s, answer, prefix_of(s)));
}

static void a(struct ll_spf *s)
{
    ask_target(s, ll_spf_address_type(s), on_a);
}

static void on_exists(struct ll_spf *s, const struct ll_dns_answer *answer)
{
    if (usable(s, answer))
        match_if(s, answer->n_rdata > 0);
}

static void exists(struct ll_spf *s)
{
    ask_target(s, LL_DNS_A, on_exists); /* A, whatever the client's family (5.7) */
}

static void on_mx_host(struct ll_spf *s, const struct ll_dns_answer *answer)
{
    if (!usable(s, answer))
        return;
    if (ll_spf_addresses_match(s, answer, prefix_of(s)))
        match(s);
    else
        s->state = LL_SPF_S_MX_HOST;
}

static void next_mx_host(struct ll_spf *s)
{
    if (s->mx_at < s->mx_n)
        ll_spf_ask(s, &s->mx[s->mx_at++], ll_spf_address_type(s), on_mx_host);
    else
        no_match(s);
}

static void on_mx(struct ll_spf *s, const struct ll_dns_answer *answer)
{
    struct ll_dns_mx mx;

    if (!usable(s, answer))
        return;
    if (answer->n_rdata > LL_SPF_NAMES_MAX) {
        ll_spf_end(s, LL_SPF_PERMERROR, "%s has more than %d MX records (RFC 7208 4.6.4)",
                   s->need.dns.name.text, LL_SPF_NAMES_MAX);
        return;
    }
    s->mx_n = s->mx_at = 0;
    for (size_t i = 0; i < answer->n_rdata; i++)
        if (ll_dns_rdata_mx(answer->rdata[i], &mx) && strcmp(mx.host.text, ".") != 0)
            s->mx[s->mx_n++] = mx.host;
    s->state = LL_SPF_S_MX_HOST;
}

static void mx(struct ll_spf *s)
{
    ask_target(s, LL_DNS_MX, on_mx);
}

static void ptr(struct ll_spf *s)
{
    struct ll_dns_name target;
    enum target t;
    bool under = false;

    if (!ll_spf_count_term(s))
        return;
    t = target_name(s, &target);
    if (t == TARGET_WAIT)
        return;
    if (t == TARGET_NAME && !s->ptr.ready) {
        ll_spf_ptr_start(s);
        return;
    }
    if (s->ptr.empty && !ll_spf_count_void(s))
        return;
    for (size_t i = 0; t == TARGET_NAME && i < s->ptr.n_valid; i++)
        under = under ||
                ll_dns_name_under(ll_dns_name_slice(&s->ptr.name[i]), ll_dns_name_slice(&target));
    match_if(s, under);
}

static void ip4(struct ll_spf *s)
{
    match_if(s, s->ip_n == 4 && same_net(s->term.net, s->ip, s->term.prefix4));
}

static void ip6(struct ll_spf *s)
{
    match_if(s, s->ip_n == 16 && same_net(s->term.net, s->ip, s->term.prefix6));
}

void ll_spf_evaluate(struct ll_spf *s)
{
    static void (*const by_kind[])(struct ll_spf *) = {
        [LL_SPF_K_ALL] = all, [LL_SPF_K_INCLUDE] = include, [LL_SPF_K_A] = a,
        [LL_SPF_K_MX] = mx,   [LL_SPF_K_PTR] = ptr,         [LL_SPF_K_IP4] = ip4,
        [LL_SPF_K_IP6] = ip6, [LL_SPF_K_EXISTS] = exists,   [LL_SPF_K_REDIRECT] = redirect,
    };

    if (s->state == LL_SPF_S_MX_HOST)
        next_mx_host(s);
    else
        by_kind[s->term.kind](s);
}
