/* See io/conf_load.h. */
#include "io/conf_load.h"

#include <arpa/inet.h>
#include <idn2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

#define WORDS_MAX 5

/* Settings with a closed set of words. "" says that the empty value is allowed too. */
struct words {
    const char *kind;
    const char *name;
    const char *words[WORDS_MAX + 1];
};
static const struct words words[] = {
    {"", "tls", {"opportunistic", "forced", "verify"}},
    {"", "log_format", {"text", "json"}},
    {"", "prefer", {"ipv6", "ipv4", "ipv6-only", "ipv4-only"}},
    {"route", "prefer", {"", "ipv6", "ipv4", "ipv6-only", "ipv4-only"}},
    {"", "dmarc", {"enforce", "quarantine", "report", "off"}},
    {"", "spf_fail", {"accept", "junk", "reject"}},
    {"", "check_late", {"accept", "defer"}},
    {"domain", "dmarc", {"", "enforce", "quarantine", "report", "off"}},
    {"listener", "kind", {"mx", "submission"}},
    {"listener", "tls", {"starttls", "implicit", "none"}},
    {"route", "via", {"mx", "smarthost", "lmtp", "discard"}},
    {"route", "tls", {"", "opportunistic", "forced", "verify", "implicit"}},
};

/* Numbers with bounds other than 0 and the type's own. */
struct range {
    const char *name;
    int64_t low;
    int64_t high;
};
static const struct range ranges[] = {
    {"uid_base", 0, 2000000000},
    {"recipients_mx", 1, 100000},
    {"recipients_submission", 1, 100000},
    {"received_max", 10, 10000},
    {"message_size", 1024, INT64_C(1) << 40},
    {"command_timeout", 1, 86400},
    {"data_timeout", 1, 86400},
    {"sessions_max", 1, 1000000},
    {"errors_max", 1, 10000},
    {"local_sessions", 1, 10000},
    {"local_rate", 1, 1000000},
    {"mx_workers", 1, 64},
    {"submission_workers", 1, 64},
    {"relay_workers", 1, 64},
    {"queue_lifetime", 1, 365 * 86400},
    {"delay_warning", 0, 365 * 86400},
    {"return_size", 0, 128 << 10}, /* a report stays a small letter */
    {"retry_first", 1, 86400},
    {"retry_max", 1, 7 * 86400},
    {"destination_concurrency", 1, 10000},
    {"concurrency", 0, 10000},
    {"destination_rate", 0, 600000},
    {"rate", 0, 600000},
    {"destination_recipients", 1, 100},
    {"recipients", 0, 100},
    {"lifetime", 0, 365 * 86400},
    {"smtp_port", 1, 65535},
    {"port", 0, 65535},
    {"check_timeout", 1, 90}, /* DESIGN 3: 120 s in all from the final dot to the reply */
    {"drain", 0, 3600},
};

static int at(struct ll_conf_faults *f, const char *kind, const char *title, const char *name)
{
    return f->line(f->arg, kind, title, name);
}

static void check_word(struct ll_conf_faults *f, const char *kind, const char *title,
                       const char *name, const char *v)
{
    for (size_t i = 0; i < LL_COUNT(words); i++) {
        const struct words *w = &words[i];
        struct ll_buf all = LL_BUF(256);

        if (strcmp(w->kind, kind) != 0 || strcmp(w->name, name) != 0)
            continue;
        for (size_t k = 0; w->words[k]; k++) {
            if (strcmp(w->words[k], v) == 0) {
                ll_buf_release(&all);
                return;
            }
            if (w->words[k][0])
                ll_buf_printf(&all, "%s%s", all.n ? ", " : "", w->words[k]);
        }
        ll_conf_fault(f, at(f, kind, title, name), "`%s = \"%s\"` is not known; write one of: %.*s",
                      name, v, LL_FMT(ll_buf_slice(&all)));
        ll_buf_release(&all);
    }
}

static void check_range(struct ll_conf_faults *f, const char *kind, const char *title,
                        const char *name, int64_t v)
{
    for (size_t i = 0; i < LL_COUNT(ranges); i++)
        if (strcmp(ranges[i].name, name) == 0 && (v < ranges[i].low || v > ranges[i].high))
            ll_conf_fault(f, at(f, kind, title, name),
                          "`%s` is %lld; it must lie between %lld and %lld", name, (long long)v,
                          (long long)ranges[i].low, (long long)ranges[i].high);
}

/* Words and ranges of every row. */
#define TEXT(name, def, doc) check_word(f, kind, title, #name, v->name);
#define LIST(name, doc)
#define NUMBER(name, def, doc) check_range(f, kind, title, #name, v->name);
#define SIZE(name, def, doc)   check_range(f, kind, title, #name, v->name);
#define TIME(name, def, doc)   check_range(f, kind, title, #name, v->name);
#define FLAG(name, def, doc)

static void rows_of_global(struct ll_conf_faults *f, const struct ll_conf *v)
{
    const char *kind = "";
    const char *title = "";
#include "io/settings/global.def"
}
static void rows_of_listener(struct ll_conf_faults *f, const struct ll_conf_listener *v)
{
    const char *kind = "listener";
    const char *title = v->title;
#include "io/settings/listener.def"
}
static void rows_of_route(struct ll_conf_faults *f, const struct ll_conf_route *v)
{
    const char *kind = "route";
    const char *title = v->title;
#include "io/settings/route.def"
}

#undef TEXT
#undef LIST
#undef NUMBER
#undef SIZE
#undef TIME
#undef FLAG

/* ---- domains and addresses ------------------------------------------------------------------- */

/* A-labels, lower case, without a dot at the end; NULL when it is no domain name. */
static char *canonical(const char *s)
{
    uint8_t *ascii = NULL;
    char *copy = NULL;
    size_t n;

    if (!s[0] || idn2_lookup_u8((const uint8_t *)s, &ascii,
                                IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK)
        return NULL;
    n = strlen((const char *)ascii);
    if (n && ascii[n - 1] == '.')
        n--;
    for (size_t i = 0, label = 0; i <= n; i++) {
        if (i < n && ascii[i] != '.') {
            bool edge = label == 0 || i + 1 == n || ascii[i + 1] == '.';

            if (!ll_is_alnum(ascii[i]) && (ascii[i] != '-' || edge))
                goto out;
            ascii[i] = ll_lower(ascii[i]);
            label++;
            continue;
        }
        if (label == 0 || label > 63)
            goto out;
        label = 0;
    }
    if (n && n <= 253)
        copy = ll_slice_dup(ll_slice(ascii, n));
out:
    idn2_free(ascii);
    return copy;
}

static void normalise(struct ll_conf_faults *f, const char *kind, char **title)
{
    char *c = canonical(*title);

    if (!c) {
        ll_conf_fault(f, at(f, kind, *title, ""),
                      "`%s \"%s\"` is no domain name; write it like example.org", kind, *title);
        return;
    }
    free(*title);
    *title = c;
}

bool ll_conf_address(const char *s, struct ll_slice *ret_host, uint16_t *ret_port)
{
    struct ll_slice all = ll_slice_str(s);
    size_t colon = ll_slice_rfind(all, ':');
    struct ll_slice host = ll_slice_cut(all, 0, colon);
    bool six = host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';
    uint8_t raw[16];
    char text[INET6_ADDRSTRLEN];
    uint64_t port;

    if (six)
        host = ll_slice_cut(host, 1, host.n - 1);
    if (colon == all.n || !ll_slice_u64(ll_slice_skip(all, colon + 1), &port) || port < 1 ||
        port > 65535 || host.n >= sizeof(text))
        return false;
    memcpy(text, host.p, host.n);
    text[host.n] = '\0';
    if (inet_pton(six ? AF_INET6 : AF_INET, text, raw) != 1)
        return false;
    *ret_host = host;
    *ret_port = (uint16_t)port;
    return true;
}

static bool is_ip(const char *s)
{
    uint8_t raw[16];

    return inet_pton(AF_INET, s, raw) == 1 || inet_pton(AF_INET6, s, raw) == 1;
}

static bool is_host(const char *s)
{
    char *name = canonical(s);
    bool ok = name && !is_ip(s);

    free(name);
    return ok;
}

/* ADDRESS/BITS, or an address alone. */
static bool is_network(const char *s)
{
    struct ll_slice all = ll_slice_str(s);
    size_t slash = ll_slice_find(all, '/');
    char text[INET6_ADDRSTRLEN];
    uint64_t bits = 0;

    if (slash >= sizeof(text))
        return false;
    memcpy(text, s, slash);
    text[slash] = '\0';
    if (!is_ip(text))
        return false;
    return slash == all.n || (ll_slice_u64(ll_slice_skip(all, slash + 1), &bits) &&
                              bits <= (strchr(text, ':') ? 128 : 32));
}

/* local@domain, well enough to find slips of the pen; auth reads addresses with lib/addr. */
static bool is_mailbox(const char *s)
{
    const char *sep = strrchr(s, '@');
    char *domain = sep && sep != s ? canonical(sep + 1) : NULL;
    bool good = domain != NULL;

    free(domain);
    return good;
}

/* ---- sections -------------------------------------------------------------------------------- */

static void check_listener(struct ll_conf_faults *f, const struct ll_conf *c,
                           const struct ll_conf_listener *v)
{
    struct ll_slice host;
    uint16_t port;

    rows_of_listener(f, v);
    if (!v->address[0])
        ll_conf_fault(f, at(f, "listener", v->title, ""),
                      "listener \"%s\" has no address; add address = {\"0.0.0.0:25\", \"[::]:25\"}",
                      v->title);
    for (size_t i = 0; v->address[i]; i++)
        if (!ll_conf_address(v->address[i], &host, &port))
            ll_conf_fault(f, at(f, "listener", v->title, "address"),
                          "\"%s\" is no address with port; write 192.0.2.1:25 or [2001:db8::1]:25",
                          v->address[i]);
    if (strcmp(v->tls, "none") != 0 && c->n_certificate == 0)
        ll_conf_fault(f, at(f, "listener", v->title, "tls"),
                      "listener \"%s\" offers TLS, but there is no certificate; add a certificate "
                      "section (`letterlock init` makes one), or set tls = \"none\"",
                      v->title);
    if (v->client_names[0] && !v->client_ca[0])
        ll_conf_fault(f, at(f, "listener", v->title, "client_names"),
                      "client_names needs client_ca; add the file with the CA of those clients");
}

static void check_certificate(struct ll_conf_faults *f, const struct ll_conf_certificate *v)
{
    if (!v->cert[0] || !v->key[0])
        ll_conf_fault(f, at(f, "certificate", v->title, ""),
                      "certificate \"%s\" needs both cert and key; add the one that is missing",
                      v->title);
}

static void check_domain(struct ll_conf_faults *f, const struct ll_conf *c,
                         const struct ll_conf_domain *v)
{
    const struct ll_conf_route *r = ll_conf_route(c, ll_slice_str(v->title));
    int line = at(f, "domain", v->title, "");

    if (!ll_conf_carried(v) && (v->recipients[0] || v->ask_recipients))
        ll_conf_fault(f, line, "domain \"%s\" lists recipients without relay; add relay = yes",
                      v->title);
    if (!ll_conf_carried(v) && v->lifetime > 0)
        ll_conf_fault(f, at(f, "domain", v->title, "lifetime"),
                      "domain \"%s\" is delivered here; lifetime goes with relay or backup",
                      v->title);
    if (ll_conf_carried(v) && !v->recipients[0] && !v->ask_recipients)
        ll_conf_fault(f, line,
                      "domain \"%s\" is %s, but its recipients are not known; add recipients "
                      "or ask_recipients = yes",
                      v->title, v->relay ? "relayed" : "backed up");
    if (v->relay && v->backup)
        ll_conf_fault(f, line,
                      "domain \"%s\" is relayed to a route and backed up by MX; choose one",
                      v->title);
    if (v->backup && r && strcmp(r->via, "mx") != 0)
        ll_conf_fault(f, line,
                      "domain \"%s\" is backed up, but its route does not go via mx; add route "
                      "\"%s\" { via = mx }",
                      v->title, v->title);
    if (v->relay && (!r || strcmp(r->title, v->title) != 0))
        ll_conf_fault(f, line, "domain \"%s\" is relayed, but has no route; add route \"%s\"",
                      v->title, v->title);
    for (size_t i = 0; v->recipients[i]; i++)
        if (!is_mailbox(v->recipients[i]))
            ll_conf_fault(f, at(f, "domain", v->title, "recipients"),
                          "\"%s\" is no mail address; write name@%s", v->recipients[i], v->title);
}

/* Addresses of the family that the setting's name ends with. */
static void check_source(struct ll_conf_faults *f, const char *kind, const char *title,
                         const char *name, const char *v)
{
    bool v6 = name[strlen(name) - 1] == '6';
    uint8_t raw[16];

    if (v[0] && inet_pton(v6 ? AF_INET6 : AF_INET, v, raw) != 1)
        ll_conf_fault(f, at(f, kind, title, name),
                      "`%s = \"%s\"` is no %s address; write one of this host's like %s", name, v,
                      v6 ? "IPv6" : "IPv4", v6 ? "2001:db8::1" : "192.0.2.1");
}

static void check_route(struct ll_conf_faults *f, const struct ll_conf *c,
                        const struct ll_conf_route *v)
{
    bool host = strcmp(v->via, "smarthost") == 0 || strcmp(v->via, "lmtp") == 0;

    rows_of_route(f, v);
    if (host && !v->host[0])
        ll_conf_fault(f, at(f, "route", v->title, "via"),
                      "route \"%s\" goes via %s, but no host is named; add host = \"...\"",
                      v->title, v->via);
    if (!host && v->host[0])
        ll_conf_fault(f, at(f, "route", v->title, "host"),
                      "route \"%s\" names a host, but goes via %s; set via to smarthost or lmtp",
                      v->title, v->via);
    if (host && strchr(v->host, '/'))
        ll_conf_fault(f, at(f, "route", v->title, "host"),
                      "route \"%s\" names a path; name a host and a port", v->title);
    check_source(f, "route", v->title, "source_ipv4", v->source_ipv4);
    check_source(f, "route", v->title, "source_ipv6", v->source_ipv6);
    if (v->helo[0] && !is_host(v->helo))
        ll_conf_fault(f, at(f, "route", v->title, "helo"),
                      "helo \"%s\" is no domain name; write it like mail.example.org", v->helo);
    if (v->user[0] && !v->password_file[0])
        ll_conf_fault(f, at(f, "route", v->title, "user"),
                      "route \"%s\" has a user without a password_file; add one", v->title);
    if (v->certificate[0] && !ll_conf_certificate(c, ll_slice_str(v->certificate)))
        ll_conf_fault(f, at(f, "route", v->title, "certificate"),
                      "there is no certificate \"%s\"; add the section or correct the name",
                      v->certificate);
}

static void check_networks(struct ll_conf_faults *f, const char *name, char *const *list)
{
    for (size_t i = 0; list[i]; i++)
        if (!is_network(list[i]))
            ll_conf_fault(f, at(f, "", "", name),
                          "\"%s\" is no network; write 192.0.2.0/24 or 2001:db8::/32", list[i]);
}

/* Domain names in A-labels from here on, and networks where they may stand among them. */
static void check_domains(struct ll_conf_faults *f, const char *name, char **list, bool networks)
{
    for (size_t i = 0; list[i]; i++) {
        bool network = networks && is_network(list[i]);
        char *domain = network || is_ip(list[i]) ? NULL : canonical(list[i]);

        if (domain) {
            free(list[i]);
            list[i] = domain;
        } else if (!network) {
            ll_conf_fault(f, at(f, "", "", name), "\"%s\" is no domain name%s; write example.org%s",
                          list[i], networks ? " and no network" : "",
                          networks ? ", 192.0.2.0/24 or 2001:db8::/32" : "");
        }
    }
}

static void check_global(struct ll_conf_faults *f, struct ll_conf *c)
{
    struct ll_slice host;
    uint16_t port;
    char *name;

    rows_of_global(f, c);
    name = canonical(c->hostname);
    if (!c->hostname[0]) {
        ll_conf_fault(f, 0, "there is no hostname; add hostname = \"mail.example.org\"");
    } else if (!name || is_ip(c->hostname)) {
        ll_conf_fault(f, at(f, "", "", "hostname"),
                      "hostname \"%s\" is no domain name; write it like mail.example.org",
                      c->hostname);
        free(name);
    } else {
        free(c->hostname);
        c->hostname = name;
    }
    check_networks(f, "trusted_networks", c->trusted_networks);
    check_networks(f, "forwarders", c->forwarders);
    check_domains(f, "dmarc_exceptions", c->dmarc_exceptions, true);
    check_domains(f, "arc_trusted", c->arc_trusted, false);
    check_domains(f, "dmarc_reports_except", c->dmarc_reports_except, false);
    if (c->postmaster[0] && !is_mailbox(c->postmaster))
        ll_conf_fault(f, at(f, "", "", "postmaster"),
                      "postmaster \"%s\" is no mail address; write it like ann@example.org",
                      c->postmaster);
    if (strcmp(c->resolver, "system") != 0 && strcmp(c->resolver, "recursive") != 0 &&
        !is_ip(c->resolver) && !ll_conf_address(c->resolver, &host, &port))
        ll_conf_fault(f, at(f, "", "", "resolver"),
                      "resolver \"%s\" is not known; write system, recursive, 192.0.2.1, "
                      "192.0.2.1:53 or [2001:db8::1]:53",
                      c->resolver);
    check_source(f, "", "", "source_ipv4", c->source_ipv4);
    check_source(f, "", "", "source_ipv6", c->source_ipv6);
    if (c->retry_max < c->retry_first)
        ll_conf_fault(f, at(f, "", "", "retry_max"),
                      "retry_max is shorter than retry_first; make it at least as long");
    if (strlen(c->run_dir) + sizeof("/sendmail.sock") > sizeof(((struct sockaddr_un *)0)->sun_path))
        ll_conf_fault(f, at(f, "", "", "run_dir"),
                      "run_dir is too long for a socket's path; choose a shorter folder");
}

/* Where a bounce to a local user would come home. Behind check_domain, which makes titles
 * canonical. */
static void check_local_domain(struct ll_conf_faults *f, struct ll_conf *c)
{
    const char *first = NULL;
    char *name;

    for (size_t i = 0; i < c->n_domain; i++)
        if (!c->domain[i].relay && (!first || strcmp(c->domain[i].title, c->hostname) == 0))
            first = c->domain[i].title;
    name = canonical(c->local_domain[0] ? c->local_domain : first ? first : c->hostname);
    if (name) {
        free(c->local_domain);
        c->local_domain = name;
    } else if (c->local_domain[0]) {
        ll_conf_fault(f, at(f, "", "", "local_domain"),
                      "local_domain \"%s\" is no domain name; write it like example.org",
                      c->local_domain);
    }
}

/* Reports must come back to us: a domain that is delivered here. */
static void check_srs(struct ll_conf_faults *f, struct ll_conf *c)
{
    char *name = c->srs[0] ? canonical(c->srs) : NULL;
    const struct ll_conf_domain *d = name ? ll_conf_domain(c, ll_slice_str(name)) : NULL;

    if (c->srs[0] && (!d || ll_conf_carried(d)))
        ll_conf_fault(f, at(f, "", "", "srs"),
                      "srs \"%s\" is no domain that is delivered here; write one that has a domain "
                      "section without relay and backup",
                      c->srs);
    if (name) {
        free(c->srs);
        c->srs = name;
    }
}

static void check_report_addresses(struct ll_conf_faults *f, struct ll_conf *c)
{
    for (size_t i = 0; c->report_address[i]; i++) {
        struct ll_slice s = ll_slice_str(c->report_address[i]);
        const struct ll_conf_domain *d =
            is_mailbox(c->report_address[i])
                ? ll_conf_domain(c, ll_slice_skip(s, ll_slice_rfind(s, '@') + 1))
                : NULL;

        if (!d || ll_conf_carried(d))
            ll_conf_fault(f, at(f, "", "", "report_address"),
                          "report_address \"%s\" is no address in a domain that is delivered here; "
                          "write one like dmarc@example.org",
                          c->report_address[i]);
    }
}

static void default_path(struct ll_conf *c, char **path, const char *name)
{
    char *full;

    if ((*path)[0] || asprintf(&full, "%s/%s", c->state_dir, name) < 0)
        return;
    free(*path);
    *path = full;
}

/* Titles that became equal by normalising, or differ in case alone; libconfuse saw the equal ones.
 */
#define CHECK_TITLES(kind)                                                                         \
    for (size_t i = 0; i < c->n_##kind; i++)                                                       \
        for (size_t k = 0; k < i; k++)                                                             \
            if (strcasecmp(c->kind[i].title, c->kind[k].title) == 0)                               \
                ll_conf_fault(f, at(f, #kind, c->kind[i].title, ""),                               \
                              "there are two sections %s \"%s\"; make them one", #kind,            \
                              c->kind[i].title);

void ll_conf_check(struct ll_conf *c, struct ll_conf_faults *f)
{
    check_global(f, c);
    default_path(c, &c->accounts, "accounts.db");
    default_path(c, &c->log_file, "letterlock.log");
    for (size_t i = 0; i < c->n_certificate; i++)
        check_certificate(f, &c->certificate[i]);
    for (size_t i = 0; i < c->n_listener; i++)
        check_listener(f, c, &c->listener[i]);
    for (size_t i = 0; i < c->n_route; i++) {
        if (strcmp(c->route[i].title, "*") != 0)
            normalise(f, "route", &c->route[i].title);
        check_route(f, c, &c->route[i]);
    }
    for (size_t i = 0; i < c->n_domain; i++)
        normalise(f, "domain", &c->domain[i].title);
    for (size_t i = 0; i < c->n_domain; i++)
        check_domain(f, c, &c->domain[i]);
    check_local_domain(f, c);
    check_srs(f, c);
    check_report_addresses(f, c);
    CHECK_TITLES(listener)
    CHECK_TITLES(certificate)
    CHECK_TITLES(domain)
    CHECK_TITLES(route)
}
