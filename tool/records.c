/* See tool/records.h. */
#include "tool/records.h"

#include "io/clock.h"
#include "io/conf_load.h"
#include "tool/dkim.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdlib.h>

static bool put(struct ll_records *r, const char *name, const char *type, const char *why,
                bool only_signed, const char *fmt, ...) LL_PRINTF(6, 7);

static bool put(struct ll_records *r, const char *name, const char *type, const char *why,
                bool only_signed, const char *fmt, ...)
{
    struct ll_record *v, rec = {.type = type, .why = why, .only_signed = only_signed};
    va_list ap;

    if (r->n >= LL_RECORDS_MAX || asprintf(&rec.name, "%s.", name) < 0)
        return false;
    va_start(ap, fmt);
    if (vasprintf(&rec.value, fmt, ap) < 0)
        rec.value = NULL;
    va_end(ap);
    v = rec.value ? reallocarray(r->v, r->n + 1, sizeof(*v)) : NULL;
    if (!v) {
        free(rec.name);
        free(rec.value);
        return false;
    }
    r->v = v;
    for (size_t i = 0; i < r->n; i++) /* several listeners on one address: one record */
        if (strcmp(v[i].name, rec.name) == 0 && strcmp(v[i].type, type) == 0 &&
            strcmp(v[i].value, rec.value) == 0) {
            free(rec.name);
            free(rec.value);
            return true;
        }
    v[r->n++] = rec;
    return true;
}

/* ---- addresses ------------------------------------------------------------------------------ */

static const char why_address[] = "where the server is";

static bool is_public(const struct sockaddr *sa)
{
    if (sa->sa_family == AF_INET) {
        uint32_t a = ntohl(((const struct sockaddr_in *)(const void *)sa)->sin_addr.s_addr);

        return a >> 24 != 127 && a >> 24 != 10 && a >> 24 != 0 && a >> 20 != 0xac1 &&
               a >> 16 != 0xc0a8 && a >> 16 != 0xa9fe && a >> 22 != (0x64400000u >> 22) &&
               a >> 28 < 0xe;
    }
    if (sa->sa_family == AF_INET6) {
        const uint8_t *a = ((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr.s6_addr;

        return (a[0] & 0xe0) == 0x20; /* 2000::/3 */
    }
    return false;
}

/* The machine's own public addresses of that family; false without memory. */
static bool put_machine(struct ll_records *r, const char *host, int family)
{
    struct ifaddrs *all = NULL;
    bool ok = true;

    if (getifaddrs(&all) < 0)
        return true;
    for (struct ifaddrs *i = all; i && ok; i = i->ifa_next) {
        char text[INET6_ADDRSTRLEN];
        const void *raw;

        if (!i->ifa_addr || i->ifa_addr->sa_family != family || !is_public(i->ifa_addr))
            continue;
        raw = family == AF_INET
                  ? (const void *)&((struct sockaddr_in *)(void *)i->ifa_addr)->sin_addr
                  : (const void *)&((struct sockaddr_in6 *)(void *)i->ifa_addr)->sin6_addr;
        if (inet_ntop(family, raw, text, sizeof(text)))
            ok = put(r, host, family == AF_INET ? "A" : "AAAA", why_address, false, "%s", text);
    }
    freeifaddrs(all);
    return ok;
}

static bool put_addresses(struct ll_records *r, const struct ll_conf *c)
{
    bool ok = true;

    for (size_t i = 0; ok && i < c->n_listener; i++)
        for (size_t k = 0; ok && c->listener[i].address[k]; k++) {
            struct ll_slice host;
            uint16_t port;
            int family;

            if (!ll_conf_address(c->listener[i].address[k], &host, &port))
                continue;
            family = ll_slice_find(host, ':') < host.n ? AF_INET6 : AF_INET;
            if (ll_slice_eq(host, LL_LIT("0.0.0.0")) || ll_slice_eq(host, LL_LIT("::")))
                ok = put_machine(r, c->hostname, family);
            else
                ok = put(r, c->hostname, family == AF_INET ? "A" : "AAAA", why_address, false,
                         "%.*s", LL_FMT(host));
        }
    if (ok && r->n == 0) {
        r->no_address = true;
        ok = put(r, c->hostname, "A",
                 "PUT THE PUBLIC ADDRESS HERE: this machine does not know it; and set the\n"
                 "; address's reverse name (PTR) to the name on the left",
                 false, "192.0.2.1");
    }
    return ok;
}

/* ---- the rest -------------------------------------------------------------------------------- */

/* SHA-256 of the certificate's public key in hexadecimal: TLSA 3 1 1 (RFC 7671 5.1). */
static bool spki(const char *path, char ret[65])
{
    FILE *f = fopen(path, "re");
    X509 *cert = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;
    uint8_t *der = NULL, hash[SHA256_DIGEST_LENGTH];
    int n = cert ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der) : -1;
    struct ll_buf b = LL_BUF(64);

    if (n > 0) {
        SHA256(der, (size_t)n, hash);
        ll_hex_encode(&b, ll_slice(hash, sizeof(hash)));
        memcpy(ret, b.p, 64);
        ret[64] = '\0';
    }
    ll_buf_release(&b);
    OPENSSL_free(der);
    X509_free(cert);
    if (f)
        fclose(f);
    return n > 0;
}

static bool put_tlsa(struct ll_records *r, const struct ll_conf *c)
{
    bool ok = true;
    char name[300], hash[65];

    snprintf(name, sizeof(name), "_25._tcp.%s", c->hostname);
    for (size_t i = 0; ok && i < c->n_certificate; i++)
        if (!c->certificate[i].client_only && spki(c->certificate[i].cert, hash))
            ok = put(
                r, name, "TLSA",
                "DANE: the key that others must meet here (RFC 7672). Of use only when the\n"
                "; zone is signed with DNSSEC; publish the records of all keys, and before a key\n"
                "; changes",
                true, "3 1 1 %s", hash);
    return ok;
}

/* Where people's mail programs send: RFC 6186 and RFC 8314 5.1. */
static bool put_services(struct ll_records *r, const struct ll_conf *c, const char *domain)
{
    bool ok = true;

    for (size_t i = 0; ok && i < c->n_listener; i++) {
        const struct ll_conf_listener *l = &c->listener[i];
        bool implicit = strcmp(l->tls, "implicit") == 0;
        struct ll_slice host;
        char name[300];
        uint16_t port;

        if (strcmp(l->kind, "submission") != 0 || !l->address[0] ||
            !ll_conf_address(l->address[0], &host, &port))
            continue;
        snprintf(name, sizeof(name), "%s._tcp.%s", implicit ? "_submissions" : "_submission",
                 domain);
        ok = put(r, name, "SRV", "where mail programs find the server for sending", false,
                 "%d 1 %u %s.", implicit ? 0 : 10, port, c->hostname);
    }
    return ok;
}

/* Where reports about the domain go: an address in it, else the first; NULL: none is ours. */
static const char *report_address(const struct ll_conf *c, const char *domain)
{
    for (size_t i = 0; c->report_address[i]; i++) {
        const char *at = strrchr(c->report_address[i], '@');

        if (at && strcasecmp(at + 1, domain) == 0)
            return c->report_address[i];
    }
    return c->report_address[0];
}

/* RFC 9990 4: reports go to another domain only where that says that it wants them. Where the two
 * are of one organisation, the record does no harm. */
static bool put_allowed(struct ll_records *r, const char *domain, const char *address)
{
    const char *host = address ? strrchr(address, '@') : NULL;
    char name[600];

    if (!host || strcasecmp(host + 1, domain) == 0)
        return true;
    snprintf(name, sizeof(name), "%s._report._dmarc.%s", domain, host + 1);
    return put(
        r, name, "TXT",
        "DMARC reports about the domain on the left may come to an address in the one on the "
        "right",
        false, "\"v=DMARC1;\"");
}

static bool put_domain(struct ll_records *r, const struct ll_conf *c, const char *domain)
{
    const char *reports = report_address(c, domain);
    char dmarc[300];

    snprintf(dmarc, sizeof(dmarc), "_dmarc.%s", domain);
    return put(r, domain, "MX", "mail for the domain goes to this server", false, "10 %s.",
               c->hostname) &&
           put(r, domain, "TXT",
               "SPF: only the servers of the MX records send mail with envelope senders here",
               false, "\"v=spf1 mx -all\"") &&
           put(r, dmarc, "TXT", "DMARC: begin by watching; demand more when all senders are known",
               false, reports ? "\"v=DMARC1; p=none; rua=mailto:%s\"" : "\"v=DMARC1; p=none\"",
               reports) &&
           put_allowed(r, domain, reports) && put_services(r, c, domain);
}

/* The keys that sign, that will, and that letters on their way still need. */
static bool put_dkim(struct ll_records *r, const struct ll_conf *c)
{
    struct ll_buf err = LL_BUF(65536), value = LL_BUF(8192);
    struct ll_dkim_table t = {0};
    int64_t now = ll_unix_s();
    bool ok = true;

    if (!ll_dkim_table_load(c, &t, &err))
        t = (struct ll_dkim_table){0}; /* `check` says why */
    for (size_t i = 0; ok && i < t.n; i++) {
        const struct ll_dkim_entry *e = &t.entry[i];
        char name[2 * LL_DNS_NAME_MAX + 16];

        if (e->until && e->until + LL_DKIM_KEEP_S <= now)
            continue;
        snprintf(name, sizeof(name), "%s._domainkey.%s", e->selector.text, e->domain.text);
        ll_buf_clear(&value);
        ll_dkim_value(e, &value);
        ok = put(r, name, "TXT", "DKIM: the key by which others check our signatures", false, "%s",
                 ll_buf_str(&value));
    }
    ll_dkim_table_release(&t);
    ll_buf_release(&err);
    ll_buf_release(&value);
    return ok;
}

bool ll_records_of(const struct ll_conf *c, struct ll_records *ret)
{
    struct ll_records r = {0};
    bool ok = put_addresses(&r, c);

    for (size_t i = 0; ok && i < c->n_domain; i++)
        ok = put_domain(&r, c, c->domain[i].title);
    if (ok && !ll_conf_domain(c, ll_slice_str(c->hostname)))
        ok = put(&r, c->hostname, "TXT", "SPF of the server's own name, for reports that it sends",
                 false, "\"v=spf1 a -all\"");
    if (ok)
        ok = put_dkim(&r, c);
    if (ok)
        ok = put_tlsa(&r, c);
    if (!ok) {
        ll_records_release(&r);
        return false;
    }
    *ret = r;
    return true;
}

void ll_records_release(struct ll_records *r)
{
    for (size_t i = 0; i < r->n; i++) {
        free(r->v[i].name);
        free(r->v[i].value);
    }
    free(r->v);
    *r = (struct ll_records){0};
}

void ll_records_print(const struct ll_records *r, FILE *out)
{
    const char *why = NULL;

    for (size_t i = 0; i < r->n; i++) {
        const struct ll_record *v = &r->v[i];

        if (!why || strcmp(why, v->why) != 0)
            fprintf(out, "%s; %s\n", i > 0 ? "\n" : "", v->why);
        why = v->why;
        fprintf(out, "%s%s IN %s %s\n", v->only_signed ? "; " : "", v->name, v->type, v->value);
    }
}
