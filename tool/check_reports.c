/* See tool/check.h: where reports about our domains go (rua and ruf of the published records), and
 * whether they can: another organisation must have said that it wants them (RFC 9990 4), and an
 * address of ours must exist. */
#include "letterlock/addr.h"
#include "letterlock/dmarc_report.h"
#include "tool/check.h"

#define ARENA_MAX (1u << 20)

static struct ll_slice host_of(struct ll_slice address)
{
    return ll_slice_skip(address, ll_slice_rfind(address, '@') + 1);
}

static bool is_report_address(const struct ll_conf *c, struct ll_slice address)
{
    for (size_t i = 0; c->report_address[i]; i++)
        if (ll_slice_caseeq(ll_slice_str(c->report_address[i]), address))
            return true;
    return false;
}

/* The DMARC record among the TXT records of a name; text keeps what it borrows from. */
static bool find_record(struct ll_resolver *r, const char *name, struct ll_buf *text,
                        struct ll_dmarc_record *ret, bool *ret_later)
{
    struct ll_dns_answer a;
    struct ll_arena arena;
    bool found = false;

    ll_arena_init(&arena, ARENA_MAX);
    ll_resolver_ask(r, ll_slice_str(name), LL_DNS_TXT, &arena, &a);
    *ret_later = ll_dns_later(a.status);
    for (size_t i = 0; i < a.n_rdata && !found; i++) {
        ll_buf_clear(text);
        found =
            ll_dns_rdata_txt(a.rdata[i], text) && ll_dmarc_record_parse(ll_buf_slice(text), ret);
    }
    ll_arena_release(&arena);
    return found;
}

/* An address of another organisation: does its host allow reports about the domain? */
static void check_allowed(struct ll_check *c, struct ll_resolver *r, const char *tag,
                          const char *domain, struct ll_slice address)
{
    struct ll_buf text = LL_BUF(65536), name = LL_BUF(1024);
    struct ll_dmarc_record record;
    bool later = false;

    ll_buf_printf(&name, "%s._report._dmarc.%.*s", domain, LL_FMT(host_of(address)));
    if (!ll_buf_str(&name))
        later = true;
    else if (find_record(r, ll_buf_str(&name), &text, &record, &later))
        ll_check_say(c, LL_FINDING_OK, "reports", "%s of %s: %.*s takes them (%s)", tag, domain,
                     LL_FMT(address), ll_buf_str(&name));
    else if (!later)
        ll_check_say(c, LL_FINDING_WARNING, "reports",
                     "%s of %s: nobody sends reports to %.*s, for its domain does not say that it "
                     "wants them; it must publish: %s. IN TXT \"v=DMARC1;\"",
                     tag, domain, LL_FMT(address), ll_buf_str(&name));
    if (later)
        ll_check_say(c, LL_FINDING_WARNING, "reports",
                     "%s of %s: DNS does not say now whether %.*s takes "
                     "reports",
                     tag, domain, LL_FMT(address));
    ll_buf_release(&text);
    ll_buf_release(&name);
}

/* One address; true: it is of a kind that the server takes reports in at. */
static bool check_address(struct ll_check *c, struct ll_resolver *r, const char *tag,
                          const char *domain, struct ll_slice uri)
{
    struct ll_buf address = LL_BUF(LL_MAILBOX_MAX);
    struct ll_dns_name host, own;
    struct ll_mailbox mailbox;
    bool taken = false;

    if (!ll_dmarc_report_mailto(uri, &address) ||
        ll_mailbox_parse(ll_buf_slice(&address), false, &mailbox) != LL_ADDR_OK ||
        !ll_dns_name_of(host_of(ll_buf_slice(&address)), &host) ||
        !ll_dns_name_parse(ll_slice_str(domain), &own)) {
        ll_check_say(c, LL_FINDING_NOTE, "reports",
                     "%s of %s: %.*s is no mail address: few send there", tag, domain,
                     LL_FMT(ll_slice_cut(uri, 0, 200)));
    } else {
        struct ll_slice a = ll_buf_slice(&address);

        taken = is_report_address(c->conf, a);
        if (!ll_dns_name_under(ll_dns_name_slice(&host), ll_dns_name_slice(&own)) &&
            !ll_dns_name_under(ll_dns_name_slice(&own), ll_dns_name_slice(&host)))
            check_allowed(c, r, tag, domain, a);
        if (!taken && ll_conf_domain(c->conf, host_of(a)))
            ll_check_say(
                c, LL_FINDING_NOTE, "reports",
                "%s of %s: %.*s is no report_address: reports come as letters, if there is "
                "an account or alias of that name",
                tag, domain, LL_FMT(a));
    }
    ll_buf_release(&address);
    return taken;
}

static bool check_list(struct ll_check *c, struct ll_resolver *r, const char *tag,
                       const char *domain, struct ll_slice list)
{
    struct ll_slice uri;
    bool taken = false;

    while (ll_dmarc_uri_next(&list, &uri))
        taken = check_address(c, r, tag, domain, uri) || taken;
    return taken;
}

void ll_check_reports(struct ll_check *c, struct ll_resolver *r)
{
    bool wanted = c->conf->report_address[0] != NULL;

    for (size_t i = 0; i < c->conf->n_domain; i++) {
        const char *domain = c->conf->domain[i].title;
        struct ll_buf text = LL_BUF(65536), name = LL_BUF(512);
        struct ll_dmarc_record record;
        bool later, taken;

        ll_buf_printf(&name, "_dmarc.%s", domain);
        if (ll_buf_str(&name) && find_record(r, ll_buf_str(&name), &text, &record, &later)) {
            taken = check_list(c, r, "rua", domain, record.rua);
            check_list(c, r, "ruf", domain, record.ruf);
            if (wanted && !taken)
                ll_check_say(
                    c, LL_FINDING_NOTE, "reports",
                    "the DMARC record of %s names no report_address in rua: its reports do "
                    "not come to this server",
                    domain);
        }
        ll_buf_release(&text);
        ll_buf_release(&name);
    }
}
