/* letterlock verify: who sent this letter? SPF, DKIM, DMARC and ARC. */
#include "io/clock.h"
#include "letterlock/addr.h"
#include "letterlock/arc.h"
#include "letterlock/dkim.h"
#include "letterlock/dmarc.h"
#include "letterlock/msg.h"
#include "letterlock/spf.h"
#include "tool/client/letters.h"
#include "tool/client/needs.h"
#include "tool/json_out.h"
#include "tool/tool.h"

LL_NEEDS_ENGINE(dkim)
LL_NEEDS_ENGINE(arc)
LL_NEEDS_ENGINE(dmarc)
LL_NEEDS_TIMED_ENGINE(spf)

struct verify {
    struct ll_resolver_from from;
    const char *ip, *helo, *mail_from;
    bool json;
    bool any; /* a letter was told of */
    int64_t at;
    struct ll_spf_check client; /* with --ip */
    struct ll_resolver *resolver;
    /* of one letter */
    struct ll_dkim_letter *letter;
    struct ll_dkim *dkim;
    struct ll_arc *arc;
    struct ll_spf *spf;
    struct ll_spf_result spf_result;
    enum ll_msg_error author; /* OK: there is one, and DMARC was asked */
    struct ll_dmarc *dmarc;
    struct ll_dmarc_result dmarc_result;
};

/* ---- looking ------------------------------------------------------------------------------------
 */

static void forget(struct verify *v)
{
    ll_dmarc_free(v->dmarc);
    ll_spf_free(v->spf);
    ll_arc_free(v->arc);
    ll_dkim_free(v->dkim);
    ll_dkim_letter_free(v->letter);
    v->dmarc = NULL;
    v->spf = NULL;
    v->arc = NULL;
    v->dkim = NULL;
    v->letter = NULL;
}

static bool read_letter(struct verify *v, struct ll_slice in)
{
    v->letter = ll_dkim_letter_new();
    if (!v->letter)
        return false;
    while (in.n > 0 && !ll_dkim_letter_ready(v->letter))
        in = ll_slice_skip(in, ll_dkim_letter_feed(v->letter, in));
    if (!ll_dkim_letter_ready(v->letter))
        ll_dkim_letter_end(v->letter);
    v->dkim = ll_dkim_new(v->letter, v->at);
    v->arc = ll_arc_new(v->letter, v->at);
    if (!v->dkim || !v->arc)
        return false;
    ll_dkim_letter_feed(v->letter, in);
    ll_dkim_letter_end(v->letter);
    return true;
}

static bool check_spf(struct verify *v)
{
    if (!v->ip)
        return true;
    v->client.now = ll_now_ms();
    v->spf = ll_spf_new(&v->client);
    if (!v->spf)
        return false;
    ll_needs_run_spf(v->spf, v->resolver);
    return ll_spf_result(v->spf, &v->spf_result);
}

static struct ll_dmarc_id signer(const struct ll_dkim_result *r)
{
    enum ll_dkim_verdict verdict = ll_dkim_fault_verdict(r->fault);
    struct ll_dmarc_id id = {.domain = r->domain};

    /* RFC 6376 3.6.1: a key with t=y proves no more than no signature. */
    if (verdict == LL_DKIM_PASS && !r->testing)
        id.auth = LL_DMARC_AUTH_PASS;
    else if (verdict == LL_DKIM_TEMPERROR)
        id.auth = LL_DMARC_AUTH_TEMP;
    return id;
}

/* One From field with one address, or no DMARC (RFC 9989 5.3.1). */
static bool check_dmarc(struct verify *v)
{
    struct ll_dmarc_id id[LL_DKIM_SIGNATURES_MAX];
    const struct ll_dkim_result *r;
    struct ll_dmarc_input in = {.dkim = id, .n_dkim = ll_dkim_results(v->dkim, &r, NULL)};
    struct ll_arena arena;
    struct ll_slice author;

    ll_arena_init(&arena, LL_DKIM_HEADER_MAX * 4);
    /* What a server refuses; and of a longer header not all was kept. */
    v->author = ll_dkim_letter_header(v->letter).n > LL_MSG_HEADER_MAX
                    ? LL_MSG_HEADER_LONG
                    : ll_msg_author(ll_dkim_letter_header(v->letter), &arena, &author);
    if (v->author == LL_MSG_OK) {
        in.author = ll_slice_skip(author, ll_slice_rfind(author, '@') + 1);
        for (size_t i = 0; i < in.n_dkim; i++)
            id[i] = signer(&r[i]);
        if (v->spf)
            in.spf = (struct ll_dmarc_id){
                .domain = v->spf_result.domain,
                .auth = v->spf_result.code == LL_SPF_PASS        ? LL_DMARC_AUTH_PASS
                        : v->spf_result.code == LL_SPF_TEMPERROR ? LL_DMARC_AUTH_TEMP
                                                                 : LL_DMARC_AUTH_NONE};
        v->dmarc = ll_dmarc_new(&in);
    }
    ll_arena_release(&arena);
    if (v->author != LL_MSG_OK)
        return v->author != LL_MSG_RESOURCE;
    if (!v->dmarc)
        return false;
    ll_needs_run_dmarc(v->dmarc, v->resolver);
    return ll_dmarc_result(v->dmarc, &v->dmarc_result);
}

static bool check(struct verify *v)
{
    if (!check_spf(v))
        return false;
    ll_needs_run_dkim(v->dkim, v->resolver);
    ll_needs_run_arc(v->arc, v->resolver);
    return ll_dkim_done(v->dkim) && ll_arc_done(v->arc) && check_dmarc(v);
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
    const struct ll_spf_result *r = &v->spf_result;

    if (!v->ip) {
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
    const struct ll_dkim_result *r;
    size_t skipped, n = ll_dkim_results(v->dkim, &r, &skipped);

    if (j)
        ll_json_open(j, '[');
    for (size_t i = 0; i < n; i++)
        tell_signature(&r[i], j);
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
    const struct ll_dmarc_result *r = &v->dmarc_result;

    if (v->author != LL_MSG_OK) {
        open_result(j, "dmarc", ll_dmarc_word(LL_DMARC_PERMERROR));
        tell(j, "reason", ll_slice_str(ll_msg_error_info(v->author)->text));
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
    const struct ll_arc_result *r = ll_arc_result(v->arc);
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
        if (!read_letter(v, letter) || !check(v))
            status = ll_fail(EX_OSERR, "no memory");
        else
            status = print(v);
        forget(v);
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

    v->client = (struct ll_spf_check){
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
