/* See context.h. */
#include "daemon/dns/context.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "io/log.h"

#define LINE_MAX_      4096 /* octets of one trust anchor or forwarder */
#define RESOLV_CONF    "/etc/resolv.conf"
#define FORWARDERS_MAX 8

/* Where Debian keeps the root's trust anchor: dns-root-data, unbound-anchor. */
static const char *const root_keys[] = {"/usr/share/dns/root.key", "/var/lib/unbound/root.key"};

static const struct {
    const char *name;
    const char *value;
} options[] = {
    {"do-not-query-localhost:", "no"}, /* forwarders on loopback */
    {"use-syslog:", "no"},
    {"msg-cache-size:", "16m"},
    {"rrset-cache-size:", "32m"},
    {"key-cache-size:", "4m"},
    {"neg-cache-size:", "1m"},
    {"cache-max-negative-ttl:", "300"}, /* seconds: a repaired zone is seen soon */
    {"outgoing-range:", "2048"},        /* sockets at a time */
    {"num-queries-per-thread:", "4096"},
    {"jostle-timeout:", "1000"},
    {"edns-buffer-size:", "1232"},
    {"qname-minimisation:", "yes"},
    {"harden-glue:", "yes"},
    {"trust-anchor-signaling:", "no"}, /* nobody need know who asks */
    {"harden-dnssec-stripped:", "yes"},
    {"aggressive-nsec:", "yes"},
};

/* Built-in zones that would hide what a forwarder of the operator's own says. */
static const char *const built_in[] = {
#define ZONE(name) name,
#include "io/dns_zones.def"
#undef ZONE
};

bool ll_dns_forwards(const struct ll_conf *c)
{
    return strcmp(c->resolver, "recursive") != 0;
}

static bool forwarder_named(const struct ll_conf *c)
{
    return ll_dns_forwards(c) && strcmp(c->resolver, "system") != 0;
}

/* ---- files ------------------------------------------------------------------------------------
 */

/* Replaces out's octets by the file's; out is untouched on failure. */
static bool read_file(const char *path, struct ll_buf *out)
{
    struct ll_buf b = LL_BUF(LL_DNS_FILE_MAX + 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = -1;

    if (fd < 0)
        return false;
    for (;;) {
        uint8_t *room = ll_buf_room(&b, 4096);

        n = room ? read(fd, room, 4096) : -1;
        if (n <= 0)
            break;
        ll_buf_grew(&b, (size_t)n);
    }
    close(fd);
    if (n < 0 || b.n > LL_DNS_FILE_MAX) {
        ll_buf_release(&b);
        errno = n < 0 ? errno : EFBIG;
        return false;
    }
    ll_buf_release(out);
    *out = b;
    return true;
}

/* One record a line: comments away, parentheses opened up (RFC 1035 5.1), directives left out. */
static void join_records(struct ll_slice text, struct ll_buf *out)
{
    unsigned depth = 0;
    bool comment = false;

    for (size_t i = 0; i < text.n; i++) {
        uint8_t c = text.p[i];

        if (c == '\n')
            comment = false;
        else if (c == ';')
            comment = true;
        if (comment)
            continue;
        if (c == '(')
            depth++;
        else if (c == ')' && depth > 0)
            depth--;
        if (c == '(' || c == ')' || (c == '\n' && depth > 0) || (c < ' ' && c != '\n'))
            c = ' ';
        ll_buf_putc(out, c);
    }
}

/* Keeps the lines that hold a record; the first one's owner is what the self-test asks for. */
static void take_anchors(struct ll_dns_setup *s, struct ll_slice records)
{
    struct ll_slice line;

    ll_buf_release(&s->anchors);
    s->anchors = LL_BUF(LL_DNS_FILE_MAX);
    s->anchored = false;
    while (ll_slice_next(&records, '\n', &line)) {
        struct ll_slice owner;

        line = ll_slice_trim(line);
        if (line.n == 0 || line.n >= LINE_MAX_ || line.p[0] == '$')
            continue;
        owner = ll_slice_cut(line, 0, ll_slice_find(line, ' '));
        if (!s->anchored && !ll_dns_name_parse(owner, &s->anchor))
            continue;
        s->anchored = true;
        ll_buf_put_slice(&s->anchors, line);
        ll_buf_putc(&s->anchors, '\n');
    }
}

static bool read_anchors(struct ll_dns_setup *s, const struct ll_conf *c)
{
    struct ll_buf file = LL_BUF(LL_DNS_FILE_MAX), records = LL_BUF(LL_DNS_FILE_MAX);
    bool found = false;

    if (c->trust_anchor[0]) {
        found = read_file(c->trust_anchor, &file);
        if (!found)
            ll_log(LL_LOG_ERROR, "trust-anchor-unreadable", LL_FS("file", c->trust_anchor),
                   LL_FS("error", strerror(errno)));
    }
    for (size_t i = 0; !c->trust_anchor[0] && !found && i < LL_COUNT(root_keys); i++)
        found = read_file(root_keys[i], &file);
    if (found) {
        join_records(ll_buf_slice(&file), &records);
        take_anchors(s, ll_buf_slice(&records));
    } else if (!c->trust_anchor[0]) {
        s->anchored = false;
    }
    ll_buf_release(&file);
    ll_buf_release(&records);
    return !c->trust_anchor[0] || (found && s->anchored);
}

bool ll_dns_setup_read(struct ll_dns_setup *s, const struct ll_conf *c)
{
    if (strcmp(c->resolver, "system") == 0 && !read_file(RESOLV_CONF, &s->resolv))
        ll_log(LL_LOG_WARNING, "resolv-conf-unreadable", LL_FS("error", strerror(errno)));
    return read_anchors(s, c);
}

/* ---- the context
 * --------------------------------------------------------------------------------- */

static bool forward_to(struct ub_ctx *ctx, const char *address)
{
    int e = ub_ctx_set_fwd(ctx, address);

    if (e != 0)
        ll_log(LL_LOG_ERROR, "resolver-unusable", LL_FS("resolver", address),
               LL_FS("error", ub_strerror(e)));
    return e == 0;
}

/* "ADDR[:PORT]", IPv6 in brackets where a port follows, as libunbound writes it: ADDR@PORT. */
static bool forward_named(struct ub_ctx *ctx, struct ll_slice r)
{
    size_t colon = ll_slice_rfind(r, ':');
    struct ll_slice host = r, port = {NULL, 0};
    char text[128];

    if (r.n > 0 && r.p[0] == '[') {
        size_t end = ll_slice_find(r, ']');

        host = ll_slice_cut(r, 1, end);
        port = ll_slice_skip(r, end + 2);
    } else if (colon < r.n && ll_slice_find(r, ':') == colon) {
        host = ll_slice_cut(r, 0, colon);
        port = ll_slice_skip(r, colon + 1);
    }
    if (snprintf(text, sizeof(text), "%.*s@%.*s", LL_FMT(host), LL_FMT(port)) >= (int)sizeof(text))
        return false;
    if (port.n == 0)
        text[host.n] = '\0';
    return forward_to(ctx, text);
}

/* The nameserver lines of resolv.conf. Without any, names are looked up from the root. */
static bool forward_system(struct ub_ctx *ctx, struct ll_slice resolv)
{
    struct ll_slice line;
    unsigned n = 0;

    while (ll_slice_next(&resolv, '\n', &line) && n < FORWARDERS_MAX) {
        char *address;

        line = ll_slice_trim(line);
        if (!ll_slice_starts(line, LL_LIT("nameserver")) || line.n < 12 || !ll_is_blank(line.p[10]))
            continue;
        line = ll_slice_trim(ll_slice_skip(line, 10));
        address = ll_slice_dup(ll_slice_cut(line, 0, ll_slice_find(line, ' ')));
        if (address && forward_to(ctx, address))
            n++;
        free(address);
    }
    if (n == 0)
        ll_log(LL_LOG_WARNING, "no-nameserver", LL_FS("file", RESOLV_CONF),
               LL_FS("instead", "names are looked up from the root servers"));
    return true;
}

static bool set_options(struct ub_ctx *ctx)
{
    for (size_t i = 0; i < LL_COUNT(options); i++) {
        int e = ub_ctx_set_option(ctx, options[i].name, options[i].value);

        if (e != 0) {
            ll_log(LL_LOG_ERROR, "resolver-option", LL_FS("option", options[i].name),
                   LL_FS("error", ub_strerror(e)));
            return false;
        }
    }
    return true;
}

static void add_anchors(struct ub_ctx *ctx, struct ll_slice anchors)
{
    struct ll_slice line;

    while (ll_slice_next(&anchors, '\n', &line)) {
        char *text = ll_slice_dup(line);
        int e = text && text[0] ? ub_ctx_add_ta(ctx, text) : 0;

        if (e != 0)
            ll_log(LL_LOG_ERROR, "trust-anchor-unusable", LL_FS("record", text),
                   LL_FS("error", ub_strerror(e)));
        free(text);
    }
}

/* From here on the context is fixed. */
static void add_local_data(struct ub_ctx *ctx, const struct ll_conf *c)
{
    if (forwarder_named(c))
        for (size_t i = 0; i < LL_COUNT(built_in); i++)
            ub_ctx_zone_remove(ctx, built_in[i]); /* one that is not there is no fault */
    for (char **line = c->local_data; *line; line++) {
        int e = ub_ctx_data_add(ctx, *line);

        if (e != 0)
            ll_log(LL_LOG_ERROR, "local-data-unusable", LL_FS("record", *line),
                   LL_FS("error", ub_strerror(e)));
    }
}

struct ub_ctx *ll_dns_context(struct event_base *base, const struct ll_conf *c,
                              const struct ll_dns_setup *s, bool validate)
{
    struct ub_ctx *ctx = ub_ctx_create_event(base);
    bool ok;

    if (!ctx)
        return NULL;
    ub_ctx_debugout(ctx, NULL);
    ok = set_options(ctx);
    if (forwarder_named(c))
        ok = ok && forward_named(ctx, ll_slice_str(c->resolver));
    else if (ll_dns_forwards(c))
        ok = ok && forward_system(ctx, ll_buf_slice(&s->resolv));
    if (!ok) {
        ub_ctx_delete(ctx);
        return NULL;
    }
    if (validate && s->anchored)
        add_anchors(ctx, ll_buf_slice(&s->anchors));
    add_local_data(ctx, c);
    return ctx;
}
