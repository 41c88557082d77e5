/* letterlock test: what would happen to a letter to this address. */
#include "letterlock/addr.h"
#include "tool/client/resolve.h"
#include "tool/control.h"
#include "tool/json_out.h"

#include <stdlib.h>

#define DEPTH_MAX 2 /* the address, and the targets of its alias (which are final) */

struct test {
    struct ll_where where;
    struct ll_resolver_from from;
    bool json;
    struct ll_conf *conf;
    struct ll_control *control;
    struct ll_resolver *resolver;
    struct ll_json *out;
    int status;
};

struct answer {
    json_t *object;
};

static bool take_line(void *arg, struct ll_slice line)
{
    struct answer *a = arg;

    if (!a->object)
        a->object = json_loadb((const char *)line.p, line.n, 0, NULL);
    return true;
}

static void say(struct test *t, unsigned depth, const char *key, const char *value)
{
    if (t->json)
        ll_json_cstr(t->out, key, value);
    else
        printf("%*s%s: %s\n", 2 + 2 * (int)depth, "", key, value);
}

/* The hosts of a route by MX. */
static void tell_mx(struct test *t, unsigned depth, struct ll_slice domain)
{
    struct ll_mx mx[LL_MX_MAX];
    struct ll_buf why = LL_BUF(512);
    size_t n = 0;
    bool secure = false;
    enum ll_mx_result r = ll_resolver_mx(t->resolver, domain, mx, &n, &secure, &why);

    if (t->json) {
        ll_json_key(t->out, "mx");
        ll_json_open(t->out, '[');
        for (size_t i = 0; i < n; i++)
            ll_json_cstr(t->out, NULL, mx[i].host.text);
        ll_json_close(t->out);
        ll_json_bool(t->out, "dnssec", secure);
    }
    for (size_t i = 0; i < n && !t->json; i++)
        printf("%*sMX %u %s\n", 4 + 2 * (int)depth, "", mx[i].preference, mx[i].host.text);
    if (n == 0)
        say(t, depth, "dns", ll_buf_str(&why));
    if (n > 0 && !t->json)
        say(t, depth, "DNSSEC", secure ? "signed" : "not signed");
    if (r == LL_MX_NONE || r == LL_MX_NULL)
        t->status = EX_UNAVAILABLE;
    else if (r == LL_MX_LATER)
        t->status = EX_TEMPFAIL;
    ll_buf_release(&why);
}

static void tell_route(struct test *t, unsigned depth, struct ll_slice domain)
{
    static const struct {
        const char *word, *meaning;
    } levels[] = {
        {"opportunistic", "TLS where it is offered, whatever the certificate"},
        {"forced", "never without TLS"},
        {"verify", "never without TLS and a certificate that proves the server's name"},
        {"implicit", "TLS from the first octet, certificate verified"},
    };
    const struct ll_conf_route *r = ll_conf_route(t->conf, domain);
    const char *via = r ? r->via : "mx", *tls = r && r->tls[0] ? r->tls : t->conf->tls;
    char text[400];

    say(t, depth, "route", r ? r->title : "by MX (no route section)");
    say(t, depth, "via", via);
    if (strcmp(via, "discard") == 0)
        return;
    if (r && r->host[0]) {
        if (r->port > 0)
            snprintf(text, sizeof(text), "%s:%lld", r->host, (long long)r->port);
        else
            snprintf(text, sizeof(text), "%s", r->host);
        say(t, depth, "host", text);
    }
    say(t, depth, "tls", tls);
    for (size_t i = 0; i < LL_COUNT(levels) && !t->json; i++)
        if (strcmp(levels[i].word, tls) == 0)
            printf("%*s(%s)\n", 4 + 2 * (int)depth, "", levels[i].meaning);
    if (strcmp(via, "mx") == 0)
        tell_mx(t, depth, domain);
}

static void tell_mailbox(struct test *t, unsigned depth, const char *mailbox)
{
    const char *at = strrchr(mailbox, '@');
    char path[1024];

    say(t, depth, "mailbox", mailbox);
    if (!at)
        return;
    snprintf(path, sizeof(path), "%s/%s/%.*s", t->conf->mail_dir, at + 1, (int)(at - mailbox),
             mailbox);
    say(t, depth, "maildir", path);
}

static void tell(struct test *t, unsigned depth, const char *address);

static void tell_alias(struct test *t, unsigned depth, const json_t *o)
{
    size_t i;
    json_t *v;

    say(t, depth, "expansion", ll_js_text(o, "expansion"));
    if (strcmp(ll_js_text(o, "expansion"), "ok") != 0)
        t->status = EX_UNAVAILABLE;
    if (t->json) {
        ll_json_key(t->out, "targets");
        ll_json_open(t->out, '[');
    }
    json_array_foreach(json_object_get(o, "targets"), i, v) if (json_is_string(v))
        tell(t, depth + 1, json_string_value(v));
    if (t->json)
        ll_json_close(t->out);
}

/* What auth says the address is, and where that leads. */
static void tell_kind(struct test *t, unsigned depth, const json_t *o, struct ll_slice domain)
{
    const char *kind = ll_js_text(o, "kind");

    say(t, depth, "kind", kind);
    if (strcmp(kind, "mailbox") == 0)
        tell_mailbox(t, depth, ll_js_text(o, "mailbox"));
    else if ((strcmp(kind, "alias") == 0 || strcmp(kind, "bounce") == 0) && depth < DEPTH_MAX)
        tell_alias(t, depth, o);
    else if (strcmp(kind, "report") == 0)
        say(t, depth, "others", ll_js_text(o, "mailbox")[0] ? ll_js_text(o, "mailbox") : "held");
    else if (strcmp(kind, "unknown") == 0)
        t->status = EX_UNAVAILABLE;
    else if (strcmp(kind, "later") == 0)
        t->status = EX_TEMPFAIL;
    else
        tell_route(t, depth, domain);
}

static void tell(struct test *t, unsigned depth, const char *address)
{
    struct answer a = {NULL};
    struct ll_buf text = LL_BUF(4096);
    struct ll_mailbox m;
    int status;

    if (ll_mailbox_parse(ll_slice_str(address), true, &m) != LL_ADDR_OK) {
        t->status = ll_fail(EX_DATAERR, "\"%s\" is no mail address", address);
        return;
    }
    status =
        ll_control_ask(t->control, "test", (const char *const[]){m.text}, 1, take_line, &a, &text);
    if (status != 0 || !json_is_object(a.object)) {
        t->status = ll_fail_text(status ? status : EX_PROTOCOL, &text);
    } else {
        if (t->json)
            ll_json_open(t->out, '{');
        else
            printf("%*s%s\n", 2 * (int)depth, "", m.text);
        if (t->json)
            ll_json_cstr(t->out, "address", m.text);
        tell_kind(t, depth, a.object, ll_mailbox_domain(&m));
        if (t->json)
            ll_json_close(t->out);
    }
    json_decref(a.object);
    ll_buf_release(&text);
}

static bool get_ready(struct test *t)
{
    t->conf = ll_where_conf(&t->where, &t->status);
    if (!t->conf)
        return false;
    if (!t->from.resolver)
        t->from.resolver = t->conf->resolver;
    if (!t->from.trust_anchor && t->conf->trust_anchor[0])
        t->from.trust_anchor = t->conf->trust_anchor;
    if (t->conf->local_data[0])
        t->from.local_data = t->conf->local_data;
    t->control = ll_control_open(t->conf, &t->status);
    if (!t->control)
        return false;
    t->resolver = ll_resolver_new(&t->from);
    if (!t->resolver)
        t->status = EX_CONFIG;
    return t->resolver != NULL;
}

int ll_cmd_test(int argc, char **argv)
{
    struct test t = {0};
    const struct ll_opt opts[] = {LL_WHERE_OPTS(t.where), LL_RESOLVER_OPTS(t.from),
                                  LL_JSON_OPT(t.json)};
    const struct ll_usage usage = {
        "test [options] ADDRESS",
        "What would happen to a letter to this address: mailbox, alias or route, and the TLS\n"
        "that the route demands. Asks the running server. Exit status 69 where it would be\n"
        "refused, 75 where that cannot be said now.",
        opts,
        LL_COUNT(opts),
        1,
        1};
    struct ll_buf buf = LL_BUF(8u << 20);
    struct ll_json out = LL_JSON(&buf);
    struct ll_words words;
    int status;

    if (!ll_args_take(&usage, argc, argv, &words, &status))
        return status;
    t.out = &out;
    if (get_ready(&t))
        tell(&t, 0, words.v[0]);
    if (t.json && buf.n > 0)
        ll_json_print(&buf);
    ll_buf_release(&buf);
    ll_resolver_free(t.resolver);
    ll_control_close(t.control);
    ll_conf_free(t.conf);
    return t.status;
}
