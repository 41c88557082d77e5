/* letterlock check: is everything in order? */
#include "tool/check.h"

#include "tool/tool.h"

static const char *const words[] = {
    [LL_FINDING_OK] = "ok",
    [LL_FINDING_NOTE] = "note",
    [LL_FINDING_WARNING] = "warning",
    [LL_FINDING_FAULT] = "FAULT",
};

void ll_check_say(struct ll_check *c, enum ll_finding finding, const char *area, const char *fmt,
                  ...)
{
    struct ll_buf text = LL_BUF(4096);
    va_list ap;
    const char *s;

    c->n[finding]++;
    va_start(ap, fmt);
    ll_buf_vprintf(&text, fmt, ap);
    va_end(ap);
    s = ll_buf_str(&text);
    if (c->json) {
        ll_json_open(c->json, '{');
        ll_json_cstr(c->json, "finding", finding == LL_FINDING_FAULT ? "fault" : words[finding]);
        ll_json_cstr(c->json, "area", area);
        ll_json_cstr(c->json, "text", s);
        ll_json_close(c->json);
    } else if (finding != LL_FINDING_OK || !c->quiet) {
        printf("%-7s  %-12s %s\n", words[finding], area, s ? s : "");
    }
    ll_buf_release(&text);
}

/* What is allowed and works, but is seldom meant. */
static void check_settings(struct ll_check *c)
{
    const struct ll_conf *conf = c->conf;
    bool mx = false, submission = false;

    for (size_t i = 0; i < conf->n_listener; i++) {
        const struct ll_conf_listener *l = &conf->listener[i];
        bool is_mx = strcmp(l->kind, "mx") == 0;

        mx = mx || is_mx;
        submission = submission || !is_mx;
        if (!is_mx && strcmp(l->tls, "none") == 0)
            ll_check_say(c, LL_FINDING_FAULT, "listener",
                         "%s is for submission, but has tls = none: nobody can log in there",
                         l->title);
        else if (strcmp(l->tls, "none") == 0)
            ll_check_say(c, LL_FINDING_WARNING, "listener",
                         "%s offers no TLS: all mail that comes in there can be read on the way",
                         l->title);
    }
    if (!mx)
        ll_check_say(c, LL_FINDING_NOTE, "listener", "none has kind = mx: no mail from outside");
    if (!submission)
        ll_check_say(c, LL_FINDING_NOTE, "listener", "none is for submission: no logins");
    if (conf->n_domain == 0)
        ll_check_say(c, LL_FINDING_WARNING, "domain",
                     "there is no domain section: all mail from "
                     "outside is refused");
    if (conf->private_targets)
        ll_check_say(
            c, LL_FINDING_NOTE, "settings",
            "private_targets: letters may go to servers on loopback and private addresses");
    for (size_t i = 0; conf->trusted_networks[i]; i++)
        ll_check_say(c, LL_FINDING_NOTE, "settings", "all of %s may relay without a login",
                     conf->trusted_networks[i]);
    ll_check_say(c, LL_FINDING_OK, "settings", "%s: %zu listeners, %zu domains, %zu routes",
                 conf->hostname, conf->n_listener, conf->n_domain, conf->n_route);
}

static int check_dns(struct ll_check *c, struct ll_resolver_from *from)
{
    struct ll_resolver *r;

    if (!from->resolver)
        from->resolver = c->conf->resolver;
    if (!from->trust_anchor && c->conf->trust_anchor[0])
        from->trust_anchor = c->conf->trust_anchor;
    if (c->conf->local_data[0])
        from->local_data = c->conf->local_data;
    r = ll_resolver_new(from);
    if (!r)
        return EX_CONFIG;
    ll_check_records(c, r);
    ll_check_reports(c, r);
    ll_resolver_free(r);
    return 0;
}

int ll_cmd_check(int argc, char **argv)
{
    struct ll_where where = {0};
    struct ll_resolver_from from = {0};
    struct ll_check c = {0};
    bool dns = false, json = false;
    const struct ll_opt opts[] = {
        LL_WHERE_OPTS(where),
        {"dns", 0, LL_OPT_FLAG, &dns, NULL, "compare the published DNS records with the needed"},
        {"quiet", 'q', LL_OPT_FLAG, &c.quiet, NULL, "leave out what is in order"},
        LL_RESOLVER_OPTS(from),
        LL_JSON_OPT(json),
    };
    const struct ll_usage usage = {
        "check [options]",
        "Checks the configuration, and the files, owners, certificates and kernel that it\n"
        "relies on. Exit status 0, or 78 where the server would not work as configured.",
        opts,
        LL_COUNT(opts),
        0,
        0};
    struct ll_buf buf = LL_BUF(8u << 20);
    struct ll_json out = LL_JSON(&buf);
    struct ll_words words_given;
    struct ll_conf *conf;
    int status;

    if (!ll_args_take(&usage, argc, argv, &words_given, &status))
        return status;
    conf = ll_where_conf(&where, &status);
    if (!conf)
        return status;
    c.conf = conf;
    c.json = json ? &out : NULL;
    if (json)
        ll_json_open(&out, '[');
    check_settings(&c);
    ll_check_files(&c);
    ll_check_certificates(&c);
    ll_check_dkim(&c);
    ll_check_routes(&c);
    ll_check_kernel(&c);
    status = dns ? check_dns(&c, &from) : 0;
    if (json) {
        ll_json_close(&out);
        ll_json_print(&buf);
    } else {
        printf("%u faults, %u warnings\n", c.n[LL_FINDING_FAULT], c.n[LL_FINDING_WARNING]);
    }
    ll_conf_free(conf);
    return status ? status : c.n[LL_FINDING_FAULT] > 0 ? EX_CONFIG : 0;
}
