/* See tool/client/resolve.h. */
#include "tool/client/resolve.h"

#include "io/clock.h"
#include "io/conf_load.h"
#include "tool/tool.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unbound.h>
#include <unistd.h>

struct ll_resolver {
    struct ub_ctx *ctx;
    struct ll_resolver_from from;
    uint64_t until; /* ms: see ll_resolver_until */
    bool plain;     /* DNSSEC is not validated: the forwarder takes the signatures away */
};

/* Zones that libunbound answers by itself, and that would hide what a resolver says. */
static const char *const built_in[] = {
#define ZONE(name) name,
#include "io/dns_zones.def"
#undef ZONE
};

/* Where packages keep the root's key. */
static const char *const anchors[] = {"/var/lib/unbound/root.key", "/usr/share/dns/root.key"};

/* "ADDR", "ADDR:PORT", "[ADDR]:PORT" to what libunbound reads: "ADDR@PORT". */
static bool forwarder(const char *text, char *ret, size_t room)
{
    struct ll_slice host;
    uint16_t port = 53;
    uint8_t raw[16];

    if (inet_pton(AF_INET, text, raw) == 1 || inet_pton(AF_INET6, text, raw) == 1)
        host = ll_slice_str(text);
    else if (!ll_conf_address(text, &host, &port))
        return false;
    return snprintf(ret, room, "%.*s@%u", LL_FMT(host), port) < (int)room;
}

static int set_up(struct ub_ctx *ctx, const struct ll_resolver_from *from, bool validate)
{
    const char *text = from->resolver;
    bool system = !text || strcmp(text, "system") == 0;
    char fwd[128];
    int r = 0;

    ub_ctx_debugout(ctx, NULL);
    ub_ctx_async(ctx, 1);
    ub_ctx_set_option(ctx, "do-not-query-localhost:", "no");
    ub_ctx_set_option(ctx, "qname-minimisation:", "yes");
    if (system)
        r = ub_ctx_resolvconf(ctx, NULL);
    else if (strcmp(text, "recursive") != 0) {
        if (!forwarder(text, fwd, sizeof(fwd)))
            return ll_fail(EX_USAGE,
                           "\"%s\": write a resolver as 192.0.2.1, 192.0.2.1:53 or "
                           "[2001:db8::1]:53",
                           text);
        r = ub_ctx_set_fwd(ctx, fwd);
    }
    if (r == 0 && validate && from->trust_anchor)
        r = ub_ctx_add_ta_file(ctx, from->trust_anchor);
    for (size_t i = 0; r == 0 && validate && !from->trust_anchor && i < LL_COUNT(anchors); i++)
        if (access(anchors[i], R_OK) == 0) {
            r = ub_ctx_add_ta_file(ctx, anchors[i]);
            break;
        }
    /* From the first zone on, nothing else can be set. */
    for (size_t i = 0; r == 0 && (!system || from->local_data) && i < LL_COUNT(built_in); i++)
        ub_ctx_zone_remove(ctx, built_in[i]);
    for (size_t i = 0; r == 0 && from->local_data && from->local_data[i]; i++)
        r = ub_ctx_data_add(ctx, from->local_data[i]);
    return r == 0 ? 0 : ll_fail(EX_CONFIG, "DNS cannot be set up: %s", ub_strerror(r));
}

struct ll_resolver *ll_resolver_new(const struct ll_resolver_from *from)
{
    struct ll_resolver *r = calloc(1, sizeof(*r));

    if (r && (r->ctx = ub_ctx_create()) && set_up(r->ctx, from, true) == 0) {
        r->from = *from;
        return r;
    }
    if (!r || !r->ctx)
        ll_fail(EX_OSERR, "no memory for DNS");
    ll_resolver_free(r);
    return NULL;
}

void ll_resolver_free(struct ll_resolver *r)
{
    if (!r)
        return;
    if (r->ctx)
        ub_ctx_delete(r->ctx);
    free(r);
}

/* ub_resolve_async's answer. */
struct wait {
    bool done;
    int error;
    struct ub_result *result;
};

static void on_answer(void *arg, int error, struct ub_result *result)
{
    struct wait *w = arg;

    *w = (struct wait){true, error, result};
}

/* Resolves in libunbound's thread, and waits no longer than the resolver may take. */
static int resolve(struct ll_resolver *r, const char *name, int type, struct ub_result **ret)
{
    int64_t seconds = r->from.timeout ? r->from.timeout : LL_RESOLVER_TIMEOUT;
    uint64_t end = ll_now_ms() + (uint64_t)(seconds < 3600 ? seconds : 3600) * 1000;
    struct wait w = {false, 0, NULL};
    int id = 0;
    int error;

    if (r->until && r->until < end)
        end = r->until;
    error = ub_resolve_async(r->ctx, name, type, 1, &w, on_answer, &id);
    while (error == 0 && !w.done) {
        struct pollfd fd = {ub_fd(r->ctx), POLLIN, 0};
        uint64_t now = ll_now_ms();

        if (now >= end) {
            ub_cancel(r->ctx, id);
            *ret = NULL;
            return 0;
        }
        if (poll(&fd, 1, (int)(end - now)) > 0)
            error = ub_process(r->ctx);
    }
    *ret = w.result;
    return error ? error : w.error;
}

static void ask_once(struct ll_resolver *r, const struct ll_dns_name *n, enum ll_dns_type type,
                     struct ll_arena *arena, struct ll_dns_answer *ret)
{
    struct ub_result *result = NULL;
    struct ll_slice packet;
    int error = resolve(r, n->text, (int)type, &result);

    *ret = (struct ll_dns_answer){.status = LL_DNS_STATUS_SERVFAIL, .type = (uint16_t)type};
    if (error != 0) {
        ret->why = ll_slice_str(ub_strerror(error));
        return;
    }
    if (!result) {
        ret->status = LL_DNS_STATUS_TIMEOUT;
        ret->why = LL_LIT("no answer in time");
        return;
    }
    packet = ll_arena_dup(arena, ll_slice(result->answer_packet, (size_t)result->answer_len));
    if (result->bogus) {
        ret->status = LL_DNS_STATUS_BOGUS;
        ret->why = ll_arena_dup(arena, ll_slice_str(result->why_bogus));
    } else if (!packet.p || result->answer_len <= 0 ||
               !ll_dns_packet(packet, n, (uint16_t)type, arena, ret)) {
        *ret = (struct ll_dns_answer){.status = LL_DNS_STATUS_SERVFAIL,
                                      .type = (uint16_t)type,
                                      .why = LL_LIT("no usable answer")};
    } else {
        ret->secure = result->secure;
    }
    ub_resolve_free(result);
}

/* Whoever forwards for us gives no signatures, not even of the root: then DNSSEC says nothing about
 * any name, and bogus answers are only plain ones. An anchor that was named stays in force. */
static bool give_up_dnssec(struct ll_resolver *r, struct ll_arena *arena)
{
    const struct ll_dns_name root = {1, "."};
    struct ll_dns_answer a;
    struct ub_ctx *plain;

    if (r->plain || r->from.trust_anchor)
        return false;
    ask_once(r, &root, LL_DNS_DNSKEY, arena, &a);
    plain = a.secure ? NULL : ub_ctx_create();
    if (!plain)
        return false;
    if (set_up(plain, &r->from, false) != 0) {
        ub_ctx_delete(plain);
        return false;
    }
    ub_ctx_delete(r->ctx);
    r->ctx = plain;
    r->plain = true;
    return true;
}

void ll_resolver_until(struct ll_resolver *r, uint64_t until)
{
    r->until = until;
}

void ll_resolver_ask(struct ll_resolver *r, struct ll_slice name, enum ll_dns_type type,
                     struct ll_arena *arena, struct ll_dns_answer *ret)
{
    struct ll_dns_name n;

    if (!ll_dns_name_parse(name, &n)) {
        *ret = (struct ll_dns_answer){
            .status = LL_DNS_STATUS_NXDOMAIN, .type = (uint16_t)type, .why = LL_LIT("not a name")};
        return;
    }
    ask_once(r, &n, type, arena, ret);
    if (ret->status == LL_DNS_STATUS_BOGUS && give_up_dnssec(r, arena))
        ask_once(r, &n, type, arena, ret);
}

/* ---- MX ----------------------------------------------------------------------------------------
 */

static int by_preference(const void *a, const void *b)
{
    const struct ll_mx *x = a, *y = b;

    return x->preference < y->preference ? -1 : x->preference > y->preference;
}

static uint32_t any(uint32_t below)
{
    uint32_t v = 0;

    return getrandom(&v, sizeof(v), 0) == sizeof(v) ? v % below : 0;
}

static void sort(struct ll_mx *mx, size_t n)
{
    for (size_t i = n; i > 1; i--) { /* the order among equals is random (RFC 5321 5.1) */
        size_t k = any((uint32_t)i);
        struct ll_mx t = mx[i - 1];

        mx[i - 1] = mx[k];
        mx[k] = t;
    }
    for (size_t i = 1; i < n; i++) /* stable, unlike qsort */
        for (size_t k = i; k > 0 && by_preference(&mx[k], &mx[k - 1]) < 0; k--) {
            struct ll_mx t = mx[k];

            mx[k] = mx[k - 1];
            mx[k - 1] = t;
        }
}

/* Without MX the domain itself is the host, where it has an address. */
static enum ll_mx_result implicit(struct ll_resolver *r, struct ll_slice domain,
                                  struct ll_mx ret[LL_MX_MAX], size_t *ret_n,
                                  struct ll_buf *ret_why)
{
    struct ll_endpoint at[LL_ADDRESSES_MAX];
    bool later = false;

    if (ll_resolver_addresses(r, domain, 25, at, &later) > 0 &&
        ll_dns_name_parse(domain, &ret[0].host)) {
        ret[0].preference = 0;
        *ret_n = 1;
        return LL_MX_OK;
    }
    ll_buf_puts(ret_why, later ? "DNS did not answer" : "the domain has neither MX nor address");
    return later ? LL_MX_LATER : LL_MX_NONE;
}

static enum ll_mx_result take_mx(struct ll_resolver *r, const struct ll_dns_answer *a,
                                 struct ll_slice domain, struct ll_mx ret[LL_MX_MAX], size_t *ret_n,
                                 struct ll_buf *ret_why)
{
    struct ll_mx all[LL_DNS_RECORDS_MAX];
    size_t n = 0;

    if (a->status == LL_DNS_STATUS_NXDOMAIN) {
        ll_buf_puts(ret_why, "the domain does not exist");
        return LL_MX_NONE;
    }
    if (a->status == LL_DNS_STATUS_NODATA)
        return implicit(r, domain, ret, ret_n, ret_why);
    if (a->status != LL_DNS_STATUS_OK) {
        ll_buf_printf(ret_why, "DNS did not answer: %.*s", LL_FMT(a->why));
        return LL_MX_LATER;
    }
    for (size_t i = 0; i < a->n_rdata && n < LL_DNS_RECORDS_MAX; i++) {
        struct ll_dns_mx mx;

        if (!ll_dns_rdata_mx(a->rdata[i], &mx))
            continue;
        if (strcmp(mx.host.text, ".") == 0 && a->n_rdata == 1) {
            ll_buf_puts(ret_why, "the domain takes no mail (null MX, RFC 7505)");
            return LL_MX_NULL;
        }
        all[n++] = (struct ll_mx){mx.host, mx.preference};
    }
    sort(all, n);
    *ret_n = n < LL_MX_MAX ? n : LL_MX_MAX;
    memcpy(ret, all, *ret_n * sizeof(*ret));
    if (n > 0)
        return LL_MX_OK;
    ll_buf_puts(ret_why, "no MX record of the domain can be used");
    return LL_MX_LATER;
}

enum ll_mx_result ll_resolver_mx(struct ll_resolver *r, struct ll_slice domain,
                                 struct ll_mx ret[LL_MX_MAX], size_t *ret_n, bool *ret_secure,
                                 struct ll_buf *ret_why)
{
    struct ll_arena arena;
    struct ll_dns_answer a;
    enum ll_mx_result result;

    ll_arena_init(&arena, 1 << 20);
    ll_resolver_ask(r, domain, LL_DNS_MX, &arena, &a);
    *ret_secure = a.secure;
    *ret_n = 0;
    result = take_mx(r, &a, domain, ret, ret_n, ret_why);
    ll_arena_release(&arena);
    return result;
}

/* ---- addresses ---------------------------------------------------------------------------------
 */

static bool endpoint(int family, const uint8_t *raw, uint16_t port, struct ll_endpoint *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (family == AF_INET) {
        struct sockaddr_in *in = (struct sockaddr_in *)&ret->address;

        in->sin_family = AF_INET;
        in->sin_port = htons(port);
        memcpy(&in->sin_addr, raw, 4);
        ret->length = sizeof(*in);
    } else {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&ret->address;

        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(port);
        memcpy(&in6->sin6_addr, raw, 16);
        ret->length = sizeof(*in6);
    }
    return true;
}

static bool literal(struct ll_slice host, uint16_t port, struct ll_endpoint *ret)
{
    char text[INET6_ADDRSTRLEN + 1];
    uint8_t raw[16];

    if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = ll_slice_cut(host, 1, host.n - 1);
    if (ll_slice_casestarts(host, LL_LIT("ipv6:")))
        host = ll_slice_skip(host, 5);
    if (host.n == 0 || host.n >= sizeof(text))
        return false;
    memcpy(text, host.p, host.n);
    text[host.n] = '\0';
    if (inet_pton(AF_INET, text, raw) == 1)
        return endpoint(AF_INET, raw, port, ret);
    return inet_pton(AF_INET6, text, raw) == 1 && endpoint(AF_INET6, raw, port, ret);
}

size_t ll_resolver_addresses(struct ll_resolver *r, struct ll_slice host, uint16_t port,
                             struct ll_endpoint ret[LL_ADDRESSES_MAX], bool *ret_later)
{
    struct ll_dns_answer six, four;
    struct ll_arena arena;
    size_t n = 0;

    *ret_later = false;
    if (literal(host, port, &ret[0]))
        return 1;
    if (ll_slice_caseeq(host, LL_LIT("localhost"))) { /* never asked for, whatever DNS says */
        literal(LL_LIT("127.0.0.1"), port, &ret[0]);
        literal(LL_LIT("::1"), port, &ret[1]);
        return 2;
    }
    ll_arena_init(&arena, 1 << 20);
    ll_resolver_ask(r, host, LL_DNS_AAAA, &arena, &six);
    ll_resolver_ask(r, host, LL_DNS_A, &arena, &four);
    for (size_t i = 0; i < six.n_rdata || i < four.n_rdata; i++) {
        uint8_t raw[16];

        if (n < LL_ADDRESSES_MAX && i < six.n_rdata && ll_dns_rdata_aaaa(six.rdata[i], raw))
            endpoint(AF_INET6, raw, port, &ret[n++]);
        if (n < LL_ADDRESSES_MAX && i < four.n_rdata && ll_dns_rdata_a(four.rdata[i], raw))
            endpoint(AF_INET, raw, port, &ret[n++]);
    }
    *ret_later = n == 0 && (ll_dns_later(six.status) || ll_dns_later(four.status));
    ll_arena_release(&arena);
    return n;
}

void ll_endpoint_text(const struct ll_endpoint *e, struct ll_buf *out)
{
    char text[INET6_ADDRSTRLEN] = "?";
    bool six = e->address.ss_family == AF_INET6;
    const struct sockaddr_in *in = (const struct sockaddr_in *)&e->address;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&e->address;

    inet_ntop(e->address.ss_family,
              six ? (const void *)&in6->sin6_addr : (const void *)&in->sin_addr, text,
              sizeof(text));
    ll_buf_printf(out, "[%s]:%u", text, ntohs(six ? in6->sin6_port : in->sin_port));
}
