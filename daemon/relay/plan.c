/* Routes, ready for use. See relay.h. */
#include "daemon/relay/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "io/log.h"

#define PASSWORD_MAX  1024 /* octets of a password file */
#define PORT_SMTP     25
#define PORT_LMTP     24
#define PORT_IMPLICIT 465

/* The words of the configuration, in the order of the enums. */
static const char *const vias[] = {"mx", "smarthost", "lmtp", "discard"};
static const char *const prefers[] = {"ipv6", "ipv4", "ipv6-only", "ipv4-only"};
static const char *const levels[] = {"opportunistic", "forced", "verify", "implicit"};

static unsigned word(const char *text, const char *const *words, size_t n, unsigned otherwise)
{
    for (unsigned i = 0; i < n; i++)
        if (strcmp(text, words[i]) == 0)
            return i;
    return otherwise;
}

struct plan *plan_ref(struct plan *p)
{
    p->refs++;
    return p;
}

void plan_free(struct plan *p)
{
    if (!p || --p->refs > 0)
        return;
    free(p->title);
    free(p->names);
    free(p->pins);
    free(p->user);
    ll_buf_wipe(&p->password);
    free(p->certificate);
    free(p->helo);
    ll_tls_trust_free(p->trust);
    ll_tls_client_free(p->tls);
    free(p->broken);
    free(p);
}

static void broken(struct plan *, const char *fmt, ...) LL_PRINTF(2, 3);

static void broken(struct plan *p, const char *fmt, ...)
{
    va_list ap;
    char *text = NULL;

    va_start(ap, fmt);
    if (p->broken || vasprintf(&text, fmt, ap) < 0) {
        va_end(ap);
        return;
    }
    va_end(ap);
    p->broken = text;
    ll_log(LL_LOG_ERROR, "route-unusable", LL_FS("route", p->title), LL_FS("why", text));
}

/* ---- parts
 * ---------------------------------------------------------------------------------------- */

/* The first line of a file, without its end. */
static void read_password(struct plan *p, const char *path)
{
    struct ll_slice line;
    uint8_t *room;
    ssize_t n = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    ll_buf_init(&p->password, PASSWORD_MAX);
    room = ll_buf_room(&p->password, PASSWORD_MAX);
    if (fd >= 0 && room)
        n = read(fd, room, PASSWORD_MAX);
    if (n < 0)
        broken(p, "the password file %s cannot be read: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return;
    line = ll_slice(room, (size_t)n);
    line = ll_slice_cut(line, 0, ll_slice_find(line, '\n'));
    if (line.n > 0 && line.p[line.n - 1] == '\r')
        line.n--;
    ll_buf_grew(&p->password, line.n);
    if (line.n == 0)
        broken(p, "the password file %s is empty", path);
}

/* "HOST", "HOST:PORT", an address with or without brackets. */
static void parse_host(struct plan *p, const char *text)
{
    struct ll_slice host = ll_slice_str(text);
    size_t colon = ll_slice_rfind(host, ':');
    uint8_t address[16];
    uint64_t port;

    if (ll_slice_find(host, '/') < host.n) {
        broken(p, "\"%s\" is a path: LMTP goes over TCP here; name a host and a port", text);
        return;
    }
    if (ll_target_address(host, address) == 0 && colon < host.n &&
        ll_slice_u64(ll_slice_skip(host, colon + 1), &port) && port > 0 && port < 65536) {
        p->port = (uint16_t)port;
        host = ll_slice_cut(host, 0, colon);
    }
    if (!ll_dns_name_parse(host, &p->host))
        broken(p, "\"%s\" is not the name or address of a host", text);
}

static bool parse_pin(struct ll_slice text, uint8_t ret[LL_TLS_PIN])
{
    struct ll_buf b = LL_BUF(256);
    bool ok = ll_hex_decode(&b, text) && b.n == LL_TLS_PIN;

    if (!ok) {
        ll_buf_clear(&b);
        ok = ll_base64_decode(&b, text) && b.n == LL_TLS_PIN;
    }
    if (ok)
        memcpy(ret, b.p, LL_TLS_PIN);
    ll_buf_release(&b);
    return ok;
}

static size_t list_length(char **list)
{
    size_t n = 0;

    while (list[n])
        n++;
    return n;
}

static void take_lists(struct plan *p, const struct ll_conf_route *route)
{
    size_t n_names = list_length(route->names), n_pins = list_length(route->pins);

    /* The names' octets are kept behind the slices. */
    size_t octets = 0;
    for (size_t i = 0; i < n_names; i++)
        octets += strlen(route->names[i]) + 1;
    p->names = calloc(1, n_names * sizeof(p->names[0]) + octets + 1);
    p->pins = calloc(n_pins + 1, sizeof(p->pins[0]));
    if (!p->names || !p->pins) {
        broken(p, "out of memory");
        return;
    }
    char *to = (char *)(p->names + n_names);
    for (size_t i = 0; i < n_names; i++) {
        size_t n = strlen(route->names[i]);

        memcpy(to, route->names[i], n + 1);
        p->names[i] = ll_slice(to, n);
        to += n + 1;
    }
    p->n_names = n_names;
    for (size_t i = 0; i < n_pins; i++) {
        if (!parse_pin(ll_slice_str(route->pins[i]), p->pins[i]))
            broken(p, "\"%s\" is not the SHA-256 of a public key", route->pins[i]);
        p->n_pins++;
    }
}

/* ---- TLS
 * ------------------------------------------------------------------------------------------ */

static void load_trust(struct relay *r, struct plan *p, const struct ll_conf_route *route)
{
    const char *path = route && route->ca_file[0]  ? route->ca_file
                       : r->proc->conf->ca_file[0] ? r->proc->conf->ca_file
                                                   : NULL;
    struct ll_buf err = LL_BUF(1024);

    if (p->level < LEVEL_VERIFY || (p->n_pins && !(route && route->ca_file[0])))
        return;
    p->trust = ll_tls_trust_load(path, &err);
    if (!p->trust)
        broken(p, "the certificates to trust cannot be loaded: %s", ll_buf_str(&err));
    ll_buf_release(&err);
}

static void make_client(struct relay *r, struct plan *p)
{
    struct ll_tls_client_opts o = {.trust = p->trust, .alpn = p->level == LEVEL_IMPLICIT};
    struct ll_buf err = LL_BUF(1024);
    struct ll_tls_client *client;

    o.level = p->level >= LEVEL_VERIFY   ? LL_TLS_VERIFY
              : p->level == LEVEL_FORCED ? LL_TLS_FORCED
                                         : LL_TLS_OPPORTUNISTIC;
    if (p->broken || p->via == VIA_DISCARD)
        return;
    if (p->certificate[0]) {
        o.cert = ll_keeper_client_cert(r->keeper, ll_slice_str(p->certificate));
        if (!o.cert)
            return; /* the keeper has not said it yet; see plans_certificates */
    }
    client = ll_tls_client_new(&o, &err);
    if (!client) {
        ll_log(LL_LOG_ERROR, "route-tls", LL_FS("route", p->title),
               LL_F("why", ll_buf_slice(&err)));
    } else {
        ll_tls_client_free(p->tls);
        p->tls = client;
    }
    ll_buf_release(&err);
}

void plans_certificates(struct relay *r)
{
    for (size_t i = 0; i < r->n_plans; i++)
        if (r->plans[i]->certificate[0])
            make_client(r, r->plans[i]);
}

/* ---- plans
 * ---------------------------------------------------------------------------------------- */

static uint16_t default_port(const struct relay *r, const struct plan *p)
{
    if (p->level == LEVEL_IMPLICIT)
        return PORT_IMPLICIT;
    if (p->via == VIA_LMTP)
        return PORT_LMTP;
    return p->via == VIA_MX ? (uint16_t)r->proc->conf->smtp_port : PORT_SMTP;
}

/* The route's word, else the general one. */
static void take_addresses_of(struct plan *p, const struct ll_conf *conf,
                              const struct ll_conf_route *route)
{
    const char *v4 = route && route->source_ipv4[0] ? route->source_ipv4 : conf->source_ipv4;
    const char *v6 = route && route->source_ipv6[0] ? route->source_ipv6 : conf->source_ipv6;

    p->prefer = (enum prefer)word(route && route->prefer[0] ? route->prefer : conf->prefer, prefers,
                                  LL_COUNT(prefers), PREFER_IPV6);
    p->source[0].n = (uint8_t)ll_target_address(ll_slice_str(v4), p->source[0].octets);
    p->source[1].n = (uint8_t)ll_target_address(ll_slice_str(v6), p->source[1].octets);
}

static struct plan *plan_make(struct relay *r, const struct ll_conf_route *route)
{
    const struct ll_conf *conf = r->proc->conf;
    struct plan *p = calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    p->refs = 1;
    p->title = strdup(route ? route->title : "");
    p->user = strdup(route ? route->user : "");
    p->certificate = strdup(route ? route->certificate : "");
    p->helo = strdup(route && route->helo[0] ? route->helo : conf->hostname);
    if (!p->title || !p->user || !p->certificate || !p->helo) {
        plan_free(p);
        return NULL;
    }
    p->via = (enum via)word(route ? route->via : "mx", vias, LL_COUNT(vias), VIA_MX);
    p->level = (enum level)word(route && route->tls[0] ? route->tls : conf->tls, levels,
                                LL_COUNT(levels), LEVEL_FORCED);
    take_addresses_of(p, conf, route);
    if (p->via == VIA_LMTP && route && !route->tls[0])
        p->level = LEVEL_OPPORTUNISTIC; /* beside us, as a rule: the global setting is of MX */
    if (p->via == VIA_SMARTHOST || p->via == VIA_LMTP)
        parse_host(p, route->host);
    if (route && route->port > 0)
        p->port = (uint16_t)route->port;
    if (p->port == 0)
        p->port = default_port(r, p);
    if (route)
        take_lists(p, route);
    if (p->user[0])
        read_password(p, route->password_file);
    load_trust(r, p, route);
    make_client(r, p);
    return p;
}

void plans_make(struct relay *r)
{
    const struct ll_conf *conf = r->proc->conf;
    struct plan **plans = calloc(conf->n_route + 1, sizeof(plans[0]));

    if (!plans)
        abort();
    for (size_t i = 0; i <= conf->n_route; i++) {
        plans[i] = plan_make(r, i < conf->n_route ? &conf->route[i] : NULL);
        if (!plans[i])
            abort(); /* no memory for a handful of routes: super starts us anew */
    }
    for (size_t i = 0; i < r->n_plans; i++) {
        r->plans[i]->retired = true;
        plan_free(r->plans[i]);
    }
    free(r->plans);
    r->plans = plans;
    r->n_plans = conf->n_route + 1;
}

struct plan *plan_of(struct relay *r, struct ll_slice destination)
{
    const struct ll_conf_route *route = ll_conf_route(r->proc->conf, destination);

    return r->plans[route ? (size_t)(route - r->proc->conf->route) : r->n_plans - 1];
}
