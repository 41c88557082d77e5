/* See tool/check.h: the published records against the needed ones. */
#include "tool/check.h"
#include "tool/records.h"

#include <arpa/inet.h>
#include <stdlib.h>

static enum ll_dns_type type_of(const char *name)
{
    static const struct {
        const char *name;
        enum ll_dns_type type;
    } types[] = {{"A", LL_DNS_A}, {"AAAA", LL_DNS_AAAA}, {"MX", LL_DNS_MX}, {"TXT", LL_DNS_TXT}};

    for (size_t i = 0; i < LL_COUNT(types); i++)
        if (strcmp(types[i].name, name) == 0)
            return types[i].type;
    return LL_DNS_SOA; /* not looked at */
}

/* One record in zone-file form, as records.c writes it. */
static void show(enum ll_dns_type type, struct ll_slice rdata, struct ll_buf *out)
{
    char text[INET6_ADDRSTRLEN];
    struct ll_dns_mx mx;

    if (type == LL_DNS_MX && ll_dns_rdata_mx(rdata, &mx)) {
        ll_buf_printf(out, "%u %s.", mx.preference, mx.host.text);
    } else if (type == LL_DNS_TXT) {
        ll_buf_putc(out, '"');
        ll_dns_rdata_txt(rdata, out);
        ll_buf_putc(out, '"');
    } else if ((type == LL_DNS_A && rdata.n == 4) || (type == LL_DNS_AAAA && rdata.n == 16)) {
        ll_buf_puts(out,
                    inet_ntop(type == LL_DNS_A ? AF_INET : AF_INET6, rdata.p, text, sizeof(text)));
    }
}

/* The strings of a TXT record as one, as `show` has them. */
static void join(const char *value, struct ll_buf *out)
{
    struct ll_slice rest = ll_slice_str(value);
    size_t at;

    for (; (at = ll_slice_search(rest, LL_LIT("\" \""))) < rest.n;
         rest = ll_slice_skip(rest, at + 3))
        ll_buf_put_slice(out, ll_slice_cut(rest, 0, at));
    ll_buf_put_slice(out, rest);
}

/* For MX any preference will do, for SPF and DMARC any policy: the operator may know better. A DKIM
 * key must be the very one. */
static bool serves(enum ll_dns_type type, struct ll_slice found, struct ll_slice needed)
{
    size_t n;

    if (ll_slice_eq(found, needed))
        return true;
    if (type == LL_DNS_MX)
        return ll_slice_caseeq(ll_slice_skip(found, ll_slice_find(found, ' ')),
                               ll_slice_skip(needed, ll_slice_find(needed, ' ')));
    if (ll_slice_starts(needed, LL_LIT("\"v=DMARC1")))
        return ll_slice_starts(found, LL_LIT("\"v=DMARC1"));
    n = ll_slice_find(needed, ' ');
    if (ll_slice_starts(needed, LL_LIT("\"v=DKIM1")))
        return false;
    return type == LL_DNS_TXT && ll_slice_casestarts(found, ll_slice_cut(needed, 0, n));
}

static void check_record(struct ll_check *c, struct ll_resolver *r, const struct ll_record *v)
{
    enum ll_dns_type type = type_of(v->type);
    struct ll_buf text = LL_BUF(65536), joined = LL_BUF(65536);
    struct ll_slice needed;
    struct ll_dns_answer a;
    struct ll_arena arena;
    bool exact = false, served = false;

    if (v->only_signed || type == LL_DNS_SOA)
        return;
    join(v->value, &joined);
    needed = ll_buf_slice(&joined);
    ll_arena_init(&arena, 1 << 20);
    ll_resolver_ask(r, ll_slice_str(v->name), type, &arena, &a);
    for (size_t i = 0; i < a.n_rdata; i++) {
        ll_buf_clear(&text);
        show(type, a.rdata[i], &text);
        exact = exact || ll_slice_eq(ll_buf_slice(&text), needed);
        served = served || serves(type, ll_buf_slice(&text), needed);
    }
    if (ll_dns_later(a.status))
        ll_check_say(c, LL_FINDING_WARNING, "dns", "%s %s: no answer (%.*s)", v->name, v->type,
                     LL_FMT(a.why));
    else if (!served)
        ll_check_say(c, LL_FINDING_FAULT, "dns", "missing: %s IN %s %s (%s)", v->name, v->type,
                     v->value, v->why);
    else if (!exact)
        ll_check_say(c, LL_FINDING_NOTE, "dns", "%s %s is published, but other than %s", v->name,
                     v->type, v->value);
    else
        ll_check_say(c, LL_FINDING_OK, "dns", "%s %s %s", v->name, v->type, v->value);
    ll_arena_release(&arena);
    ll_buf_release(&text);
    ll_buf_release(&joined);
}

void ll_check_records(struct ll_check *c, struct ll_resolver *r)
{
    struct ll_records records;

    if (!ll_records_of(c->conf, &records))
        return;
    for (size_t i = 0; i < records.n; i++)
        if (!records.no_address || strcmp(records.v[i].type, "A") != 0)
            check_record(c, r, &records.v[i]);
    if (records.no_address)
        ll_check_say(c, LL_FINDING_NOTE, "dns",
                     "this machine does not know its public address: A and AAAA were not compared");
    ll_records_release(&records);
}
