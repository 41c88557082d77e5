/* letterlock verify: who sent this letter? SPF, DKIM, DMARC and ARC. */
#include "io/clock.h"
#include "letterlock/addr.h"
#include "letterlock/check.h"
#include "tool/client/letters.h"
#include "tool/client/needs.h"
#include "tool/json_out.h"
#include "tool/tool.h"

LL_NEEDS_TIMED_ENGINE(check)

struct verify {
    struct ll_resolver_from from;
    const char *ip, *helo, *mail_from;
    bool json;
    bool any; /* a letter was told of */
    int64_t at;
    struct ll_check_input client; /* with --ip */
    struct ll_resolver *resolver;
    const struct ll_check_result *found; /* of one letter */
};

static struct ll_check *look(struct verify *v, struct ll_slice letter)
{
    struct ll_check *c;

    v->client.now = ll_now_ms();
    c = ll_check_new(&v->client);
    if (!c)
        return NULL;
    ll_check_feed(c, letter);
    ll_check_end(c);
    ll_needs_run_check(c, v->resolver);
    ll_check_done(c);
    v->found = ll_check_result(c);
    return c;
}

/* ---- telling ------------------------------------------------------------------------------------
 */

/* A row of a result, both as JSON and as text. */
static void tell(struct ll_json *j, const char *key, struct ll_slice value)
{
    if (value.n == 0)
        return;
    if (j) {
        ll_json_str(j, key, value);
    } else {
        struct ll_buf clean = LL_BUF(8192);

        for (size_t i = 0; i < value.n; i++)
            ll_buf_putc(&clean, value.p[i] < ' ' || value.p[i] == 0x7f ? '?' : value.p[i]);
        printf("  %s: %.*s\n", key, LL_FMT(ll_buf_slice(&clean)));
        ll_buf_release(&clean);
    }
}

static void tell_number(struct ll_json *j, const char *key, int64_t value)
{
    if (j)
        ll_json_int(j, key, value);
    else
        printf("  %s: %lld\n", key, (long long)value);
}

static void open_result(struct ll_json *j, const char *key, const char *result)
{
    if (!j) {
        printf("%s: %s\n", key, result);
        return;
    }
    ll_json_open(j, '{');
    ll_json_cstr(j, "result", result);
}

static void close_result(struct ll_json *j)
{
    if (j)
        ll_json_close(j);
}

static void tell_spf(struct verify *v, struct ll_json *j)
{
    const struct ll_spf_result *r = &v->found->spf;

    if (!v->found->have_spf) {
        open_result(j, "spf", "none");
        tell(j, "reason", LL_LIT("the client's address is not known (--ip)"));
    } else {
        open_result(j, "spf", ll_spf_word(r->code));
        tell(j, "identity", r->helo ? LL_LIT("helo") : LL_LIT("mailfrom"));
        tell(j, "domain", r->domain);
        tell(j, "mechanism", r->term);
        tell(j, "explanation", r->explanation);
        tell(j, "reason", r->problem);
    }
    close_result(j);
}

static void tell_signature(const struct ll_dkim_result *r, struct ll_json *j)
{
    open_result(j, "dkim", ll_dkim_verdict_word(ll_dkim_fault_verdict(r->fault)));
    tell(j, "domain", r->domain);
    tell(j, "selector", r->selector);
    tell(j, "algorithm", r->algorithm);
    tell(j, "identity", r->identity);
    tell(j, "reason", ll_slice_str(ll_dkim_fault_text(r->fault)));
    if (r->bits)
        tell_number(j, "bits", r->bits);
    if (r->testing)
        tell(j, "testing", LL_LIT("the domain only tests (t=y)"));
    if (r->signed_at >= 0)
        tell_number(j, "signed", r->signed_at);
    if (r->expires >= 0)
        tell_number(j, "expires", r->expires);
    close_result(j);
}

static void tell_dkim(struct verify *v, struct ll_json *j)
{
    size_t n = v->found->n_dkim, skipped = v->found->dkim_skipped;

    if (j)
        ll_json_open(j, '[');
    for (size_t i = 0; i < n; i++)
        tell_signature(&v->found->dkim[i], j);
    if (j)
        ll_json_close(j);
    else if (n == 0)
        printf("dkim: none\n");
    if (j)
        ll_json_int(j, "dkim_skipped", (int64_t)skipped);
    else if (skipped > 0)
        printf("  %zu more signatures were not looked at\n", skipped);
}

static void tell_dmarc(struct verify *v, struct ll_json *j)
{
    const struct ll_dmarc_result *r = &v->found->dmarc;

    if (v->found->author_error != LL_MSG_OK) {
        open_result(j, "dmarc", ll_dmarc_word(r->code));
        tell(j, "reason", r->reason);
        tell(j, "disposition", ll_slice_str(ll_dmarc_policy_word(LL_DMARC_P_REJECT)));
        close_result(j);
        return;
    }
    open_result(j, "dmarc", ll_dmarc_word(r->code));
    tell(j, "domain", r->author);
    tell(j, "organizational_domain", r->org_domain);
    tell(j, "policy_domain", r->policy_domain);
    tell(j, "policy", ll_slice_str(ll_dmarc_policy_word(r->policy)));
    tell(j, "disposition", ll_slice_str(ll_dmarc_policy_word(r->disposition)));
    tell(j, "aligned",
         r->spf_aligned && r->dkim_aligned ? LL_LIT("spf dkim")
         : r->spf_aligned                  ? LL_LIT("spf")
         : r->dkim_aligned                 ? LL_LIT("dkim")
                                           : LL_LIT(""));
    tell(j, "reason", r->reason);
    close_result(j);
}

static void tell_arc(struct verify *v, struct ll_json *j)
{
    const struct ll_arc_result *r = &v->found->arc;
    struct ll_buf reason = LL_BUF(512);

    open_result(j, "arc", ll_arc_word(r->code));
    if (r->fault != LL_ARC_FAULT_OK)
        ll_buf_puts(&reason, ll_arc_fault_text(r->fault));
    if (r->instance)
        ll_buf_printf(&reason, " (i=%u)", r->instance);
    if (r->dkim != LL_DKIM_FAULT_OK)
        ll_buf_printf(&reason, ": %s", ll_dkim_fault_text(r->dkim));
    tell(j, "domain", r->domain);
    tell(j, "selector", r->selector);
    tell(j, "algorithm", r->algorithm);
    tell(j, "reason", ll_buf_slice(&reason));
    if (r->sets)
        tell_number(j, "sets", r->sets);
    if (r->sets && !r->from_signed && r->code == LL_ARC_PASS)
        tell(j, "warning", LL_LIT("the chain does not cover From"));
    ll_buf_release(&reason);
    close_result(j);
}

static int print(struct verify *v)
{
    struct ll_buf b = LL_BUF(1 << 20);
    struct ll_json json = LL_JSON(&b), *j = v->json ? &json : NULL;
    static const struct {
        const char *key;
        void (*tell)(struct verify *, struct ll_json *);
    } parts[] = {{"spf", tell_spf}, {"dkim", tell_dkim}, {"dmarc", tell_dmarc}, {"arc", tell_arc}};

    if (j)
        ll_json_open(j, '{');
    else if (v->any)
        putchar('\n');
    for (size_t i = 0; i < LL_COUNT(parts); i++) {
        if (j)
            ll_json_key(j, parts[i].key);
        parts[i].tell(v, j);
    }
    v->any = true;
    if (!j)
        return 0;
    ll_json_close(j);
    return ll_json_print(&b);
}

/* ---- the command --------------------------------------------------------------------------------
 */

static int verify_all(struct verify *v, const char *path)
{
    struct ll_letters letters;
    struct ll_slice letter;
    int status = ll_letters_open(&letters, path);

    if (status == 0 && !(v->resolver = ll_resolver_new(&v->from)))
        status = EX_CONFIG;
    while (status == 0 && ll_letters_next(&letters, &letter, &status)) {
        struct ll_check *c = look(v, letter);

        status = c ? print(v) : ll_fail(EX_OSERR, "no memory");
        ll_check_free(c);
    }
    ll_resolver_free(v->resolver);
    ll_letters_release(&letters);
    return status;
}

/* The sender as it may be written: with or without angle brackets, "" and "<>" for none. */
static struct ll_slice sender_of(const char *text)
{
    struct ll_slice s = ll_slice_str(text);

    return s.n >= 2 && s.p[0] == '<' && s.p[s.n - 1] == '>' ? ll_slice_cut(s, 1, s.n - 1) : s;
}

static bool take_client(struct verify *v)
{
    struct ll_slice ip = ll_slice_str(v->ip);

    v->client = (struct ll_check_input){
        .helo = ll_slice_str(v->helo), .mail_from = sender_of(v->mail_from), .unix_s = v->at};
    v->client.ip_n = ll_ipv4_parse(ip, v->client.ip) ? 4 : ll_ipv6_parse(ip, v->client.ip) ? 16 : 0;
    return !v->ip || v->client.ip_n > 0;
}

int ll_cmd_verify(int argc, char **argv)
{
    struct verify v = {.at = -1};
    const struct ll_opt opts[] = {
        {"ip", 0, LL_OPT_TEXT, &v.ip, "IP", "address of the client that brought it, for SPF"},
        {"helo", 0, LL_OPT_TEXT, &v.helo, "NAME", "what it said in HELO or EHLO"},
        {"mail-from", 0, LL_OPT_TEXT, &v.mail_from, "ADDR", "its MAIL FROM; \"\" for the null one"},
        {"at", 0, LL_OPT_NUMBER, &v.at, "TIME", "as if it were then (seconds since 1970)"},
        LL_RESOLVER_OPTS(v.from),
        LL_JSON_OPT(v.json),
    };
    const struct ll_usage usage = {
        "verify [options] FILE|-",
        "Who sent this letter? Checks SPF (with --ip), DKIM, DMARC and ARC, and says which domain\n"
        "is proven and why. The file is a letter or an mbox; with --json each letter is one line.\n"
        "Exit status 0 whatever the results.",
        opts,
        LL_COUNT(opts),
        1,
        1};
    struct ll_words words;
    int status;

    if (!ll_args_take(&usage, argc, argv, &words, &status))
        return status;
    if (v.at < 0)
        v.at = ll_unix_s();
    if (!take_client(&v))
        return ll_fail(EX_USAGE, "--ip %s: write an address as 192.0.2.1 or 2001:db8::1", v.ip);
    if (!v.ip && (v.helo || v.mail_from))
        return ll_fail(EX_USAGE, "--helo and --mail-from mean something with --ip alone");
    return verify_all(&v, words.v[0]);
}
