/* letterlock spf: SPF of one client, HELO name and sender (RFC 7208). */
#include "io/clock.h"
#include "letterlock/addr.h"
#include "letterlock/spf.h"
#include "tool/client/needs.h"
#include "tool/json_out.h"
#include "tool/tool.h"

LL_NEEDS_TIMED_ENGINE(spf)

struct spf {
    struct ll_resolver_from from;
    const char *ip, *helo, *mail_from, *receiver;
    bool json, field;
};

static void print_text(const struct ll_spf_result *r)
{
    const struct {
        const char *key;
        struct ll_slice value;
    } rows[] = {{"explanation", r->explanation}, {"problem", r->problem}, {"mechanism", r->term}};

    printf("result: %s\n", ll_spf_word(r->code));
    printf("identity: %s %.*s\n", r->helo ? "helo" : "mailfrom", LL_FMT(r->domain));
    for (size_t i = 0; i < LL_COUNT(rows); i++)
        if (rows[i].value.n > 0)
            printf("%s: %.*s\n", rows[i].key, LL_FMT(rows[i].value));
    printf("dns: %u questions, %u of %d terms, %u of %d void\n", r->needs, r->terms,
           LL_SPF_TERMS_MAX, r->voids, LL_SPF_VOID_MAX);
}

static int print_json(const struct ll_spf_result *r)
{
    struct ll_buf b = LL_BUF(1 << 16);
    struct ll_json j = LL_JSON(&b);

    ll_json_open(&j, '{');
    ll_json_cstr(&j, "result", ll_spf_word(r->code));
    ll_json_str(&j, "explanation", r->explanation);
    ll_json_bool(&j, "explanation_from_domain", r->explanation_theirs);
    ll_json_cstr(&j, "identity", r->helo ? "helo" : "mailfrom");
    ll_json_str(&j, "domain", r->domain);
    ll_json_str(&j, "mechanism", r->term);
    ll_json_str(&j, "problem", r->problem);
    ll_json_key(&j, "dns");
    ll_json_open(&j, '{');
    ll_json_int(&j, "terms", r->terms);
    ll_json_int(&j, "void", r->voids);
    ll_json_int(&j, "questions", r->needs);
    ll_json_close(&j);
    ll_json_close(&j);
    return ll_json_print(&b);
}

static int print_field(const struct ll_spf *s, const char *receiver)
{
    struct ll_buf b = LL_BUF(1 << 16);
    bool ok;

    ll_spf_received(s, ll_slice_str(receiver ? receiver : "unknown"), &b);
    ok = !b.failed && fwrite(b.p, 1, b.n, stdout) == b.n;
    ll_buf_release(&b);
    return ok ? 0 : ll_fail(EX_OSERR, "the field cannot be written");
}

/* The sender as it may be written: with or without angle brackets, "" and "<>" for none. */
static struct ll_slice sender_of(const char *text)
{
    struct ll_slice s = ll_slice_str(text);

    return s.n >= 2 && s.p[0] == '<' && s.p[s.n - 1] == '>' ? ll_slice_cut(s, 1, s.n - 1) : s;
}

static int check(struct spf *o)
{
    struct ll_spf_check c = {
        .helo = ll_slice_str(o->helo),
        .mail_from = sender_of(o->mail_from),
        .receiver = ll_slice_str(o->receiver),
        .unix_s = ll_unix_s(),
        .now = ll_now_ms(),
    };
    struct ll_slice ip = ll_slice_str(o->ip);
    struct ll_resolver *resolver;
    struct ll_spf_result r;
    struct ll_spf *s;
    int status = EX_OSERR;

    c.ip_n = ll_ipv4_parse(ip, c.ip) ? 4 : ll_ipv6_parse(ip, c.ip) ? 16 : 0;
    if (c.ip_n == 0)
        return ll_fail(EX_USAGE, "--ip %s: write an address as 192.0.2.1 or 2001:db8::1", o->ip);
    resolver = ll_resolver_new(&o->from);
    if (!resolver)
        return EX_CONFIG;
    s = ll_spf_new(&c);
    if (s) {
        ll_needs_run_spf(s, resolver);
        if (ll_spf_result(s, &r))
            status = o->json ? print_json(&r) : o->field ? print_field(s, o->receiver) : 0;
        if (status == 0 && !o->json && !o->field)
            print_text(&r);
    }
    if (status == EX_OSERR)
        ll_fail(status, "no memory");
    ll_spf_free(s);
    ll_resolver_free(resolver);
    return status;
}

int ll_cmd_spf(int argc, char **argv)
{
    struct spf o = {0};
    const struct ll_opt opts[] = {
        {"ip", 0, LL_OPT_TEXT, &o.ip, "IP", "address of the SMTP client"},
        {"helo", 0, LL_OPT_TEXT, &o.helo, "NAME", "what it said in HELO or EHLO"},
        {"mail-from", 0, LL_OPT_TEXT, &o.mail_from, "ADDR", "its MAIL FROM; \"\" for the null one"},
        {"receiver", 0, LL_OPT_TEXT, &o.receiver, "NAME", "our host name, for %{r} (unknown)"},
        {"field", 0, LL_OPT_FLAG, &o.field, NULL, "print a Received-SPF field"},
        LL_RESOLVER_OPTS(o.from),
        LL_JSON_OPT(o.json),
    };
    const struct ll_usage usage = {
        "spf --ip IP --helo NAME --mail-from ADDR [options]",
        "May this host send mail with that name (RFC 7208)? Checks MAIL FROM; without it, or\n"
        "where it is null, the HELO name. Prints pass, fail, softfail, neutral, none, temperror\n"
        "or permerror, and why. Exit status 0 whatever the result.",
        opts,
        LL_COUNT(opts),
        0,
        0};
    struct ll_words words;
    int status;

    if (!ll_args_take(&usage, argc, argv, &words, &status))
        return status;
    if (!o.ip || (!o.helo && !o.mail_from))
        return ll_fail(EX_USAGE, "spf needs --ip, and --helo or --mail-from (see `letterlock spf "
                                 "--help`)");
    return check(&o);
}
