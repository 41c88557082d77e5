/* The DNS Tree Walk, RFC 9989 4.10. See lib/dmarc/internal.h. */
#include "lib/dmarc/internal.h"

#define CUT_TO 7 /* labels left after the first step from 8 or more */

static size_t labels(struct ll_slice name)
{
    size_t n = 1;

    for (size_t i = 0; i < name.n; i++)
        n += name.p[i] == '.';
    return n;
}

/* The last n labels. */
static struct ll_slice last_labels(struct ll_slice name, size_t n)
{
    for (size_t have = labels(name); have > n; have--)
        name = ll_slice_skip(name, ll_slice_find(name, '.') + 1);
    return name;
}

void ll_dmarc_ask(struct ll_dmarc *d, struct ll_dmarc_entry *about, const struct ll_dns_name *name,
                  uint16_t type)
{
    d->need.id++;
    d->need.kind = LL_NEED_DNS;
    d->need.dns.type = type;
    d->need.dns.name = *name;
    d->about = about;
    d->open = true;
    d->taken = false;
    d->result.needs++;
}

/* The one record among the answer's (steps 2 and 6): several are none. */
void ll_dmarc_learn(struct ll_dmarc *d, struct ll_dmarc_entry *e, const struct ll_dns_answer *a)
{
    struct ll_buf text = LL_BUF(LL_DMARC_RECORD_MAX);
    struct ll_slice only = {NULL, 0};
    struct ll_dmarc_record r;
    unsigned n = 0;

    e->nxdomain = a->status == LL_DNS_STATUS_NXDOMAIN;
    e->found = ll_dns_later(a->status) ? LL_DMARC_F_ERROR : LL_DMARC_F_NOTHING;
    for (size_t i = 0; i < a->n_rdata && n < 2; i++) {
        ll_buf_clear(&text);
        if (ll_dns_rdata_txt(a->rdata[i], &text) &&
            ll_dmarc_record_parse(ll_buf_slice(&text), &r) && ++n == 1) {
            only = ll_arena_dup(&d->arena, ll_buf_slice(&text));
            if (!only.p)
                e->found = LL_DMARC_F_ERROR;
        } else if (text.failed && a->rdata[i].n <= LL_DMARC_RECORD_MAX) { /* no memory */
            e->found = LL_DMARC_F_ERROR;
        }
    }
    if (n == 1 && only.p && ll_dmarc_record_parse(only, &e->record))
        e->found = LL_DMARC_F_RECORD;
    ll_buf_release(&text);
}

/* NULL: it must be asked for first. */
static const struct ll_dmarc_entry *entry_of(struct ll_dmarc *d, struct ll_slice name)
{
    static const struct ll_dmarc_entry error = {.found = LL_DMARC_F_ERROR};
    struct ll_dmarc_entry *e = d->entry;
    char text[sizeof("_dmarc.") + LL_DNS_NAME_MAX];
    struct ll_dns_name at;

    for (; e < d->entry + d->n_entry; e++)
        if (ll_slice_eq(ll_dns_name_slice(&e->name), name))
            return e->found == LL_DMARC_F_OPEN ? NULL : e;
    if (d->n_entry == LL_COUNT(d->entry)) /* cannot be: see LL_DMARC_NEEDS_MAX */
        return &error;
    d->n_entry++;
    ll_dns_name_parse(name, &e->name);
    memcpy(text, "_dmarc.", 7);
    memcpy(text + 7, name.p, name.n);
    if (ll_dns_name_parse(ll_slice(text, 7 + name.n), &at)) {
        ll_dmarc_ask(d, e, &at, LL_DNS_TXT);
        return NULL;
    }
    e->found = LL_DMARC_F_NOTHING; /* a name too long to have one */
    return e;
}

/* The record of a name that the walk has visited, or NULL. */
static const struct ll_dmarc_entry *visited(const struct ll_dmarc *d, struct ll_slice name)
{
    for (size_t i = 0; i < d->n_entry; i++)
        if (ll_slice_eq(ll_dns_name_slice(&d->entry[i].name), name))
            return d->entry[i].found == LL_DMARC_F_RECORD ? &d->entry[i] : NULL;
    return NULL;
}

bool ll_dmarc_walk(struct ll_dmarc *d, const struct ll_dns_name *start, struct ll_dmarc_walk *ret)
{
    struct ll_slice first = ll_dns_name_slice(start);
    struct ll_slice org = first, target = first;
    size_t left = labels(first);
    struct ll_dmarc_walk w = {NULL};

    for (unsigned i = 0; left > 0; i++) {
        const struct ll_dmarc_entry *e = entry_of(d, target);

        if (!e)
            return false;
        if (e->found == LL_DMARC_F_ERROR) {
            w.error = true;
            break;
        }
        if (e->found == LL_DMARC_F_RECORD) {
            if (i == 0)
                w.own = e;
            w.policy = e;
            if (e->record.psd == 'y') { /* 4.10.2, rule 2; at the start: that name itself */
                org = last_labels(first, left + 1);
                if (visited(d, org))
                    w.policy = visited(d, org);
                break;
            }
            org = target; /* rules 1 and 3: so far this has the fewest labels */
            if (e->record.psd != 'u')
                break;
        }
        left = left > CUT_TO ? CUT_TO : left - 1;
        target = last_labels(first, left);
    }
    ll_dns_name_parse(org, &w.org);
    *ret = w;
    return true;
}
