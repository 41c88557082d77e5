/* The names of the client, RFC 7208 5.5: found and validated once. See lib/spf/internal.h. */
#include "lib/spf/internal.h"

static void on_ptr(struct ll_spf *s, const struct ll_dns_answer *a)
{
    struct ll_spf_ptr *p = &s->ptr;
    struct ll_dns_name name;

    p->empty = !ll_dns_later(a->status) && a->n_rdata == 0;
    for (size_t i = 0; i < a->n_rdata && p->n < LL_SPF_NAMES_MAX; i++)
        if (ll_dns_rdata_name(a->rdata[i], &name) && strcmp(name.text, ".") != 0)
            p->name[p->n++] = name;
    s->state = LL_SPF_S_PTR_HOST;
    if (p->empty && !s->explaining)
        ll_spf_count_void(s);
}

void ll_spf_ptr_start(struct ll_spf *s)
{
    struct ll_dns_name reverse;

    ll_dns_reverse(s->ip, s->ip_n, &reverse);
    ll_spf_ask(s, &reverse, LL_DNS_PTR, on_ptr);
}

/* A name without answer is passed by, whatever the reason. */
static void on_host(struct ll_spf *s, const struct ll_dns_answer *a)
{
    struct ll_spf_ptr *p = &s->ptr;

    if (ll_spf_addresses_match(s, a, s->ip_n * 8u))
        p->name[p->n_valid++] = p->name[p->at - 1];
    s->state = LL_SPF_S_PTR_HOST;
}

void ll_spf_ptr_next(struct ll_spf *s)
{
    struct ll_spf_ptr *p = &s->ptr;

    if (p->at < p->n) {
        p->at++;
        ll_spf_ask(s, &p->name[p->at - 1], ll_spf_address_type(s), on_host);
        return;
    }
    p->ready = true;
    s->state = s->explaining ? LL_SPF_S_EXPLAIN : LL_SPF_S_AGAIN;
}

struct ll_slice ll_spf_ptr_name(const struct ll_spf *s, struct ll_slice domain)
{
    const struct ll_spf_ptr *p = &s->ptr;
    struct ll_slice best = LL_LIT("unknown");

    for (size_t i = p->n_valid; i-- > 0;) {
        struct ll_slice name = ll_dns_name_slice(&p->name[i]);

        if (ll_slice_eq(name, domain))
            return name;
        if (!ll_dns_name_under(best, domain) || ll_dns_name_under(name, domain))
            best = name;
    }
    return best;
}
