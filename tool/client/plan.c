/* See tool/client/send.h: --dry-run, what would be done. */
#include "io/clock.h"
#include "tool/client/seal.h"
#include "tool/json_out.h"

#include <stdlib.h>

#define DNS_WAIT_MS  4000 /* for what only informs: another server carries the letter */
#define ANSWER_ARENA (1 << 20)

/* What a recipient's domain offers. */
struct domain_plan {
    struct ll_slice domain;
    enum ll_mx_result result;
    bool secure; /* the MX records are signed */
    struct ll_mx mx[LL_MX_MAX];
    size_t tlsa[LL_MX_MAX]; /* TLSA records that DANE can use (RFC 7672) */
    size_t n_mx;
    char why[300];
    char sts[64]; /* id of the MTA-STS policy that is announced (RFC 8461 3.1); "" none */
};

/* ---- DNS --------------------------------------------------------------------------------------
 */

/* DANE counts where the MX records and the TLSA records are both signed (RFC 7672 2.2). */
static size_t count_tlsa(struct ll_resolver *r, const char *host, uint16_t port)
{
    struct ll_arena arena;
    struct ll_dns_answer a;
    char name[LL_DNS_NAME_MAX + 16];
    size_t n = 0;

    ll_arena_init(&arena, ANSWER_ARENA);
    snprintf(name, sizeof(name), "_%u._tcp.%s", port, host);
    ll_resolver_ask(r, ll_slice_str(name), LL_DNS_TLSA, &arena, &a);
    for (size_t i = 0; a.secure && i < a.n_rdata; i++) {
        struct ll_dns_tlsa tlsa;

        n += ll_dns_rdata_tlsa(a.rdata[i], &tlsa) && (tlsa.usage == 2 || tlsa.usage == 3);
    }
    ll_arena_release(&arena);
    return n;
}

static void find_sts(struct ll_resolver *r, struct domain_plan *d)
{
    struct ll_arena arena;
    struct ll_dns_answer a;
    char name[LL_DNS_NAME_MAX + 16];

    ll_arena_init(&arena, ANSWER_ARENA);
    snprintf(name, sizeof(name), "_mta-sts.%.*s", LL_FMT(d->domain));
    ll_resolver_ask(r, ll_slice_str(name), LL_DNS_TXT, &arena, &a);
    for (size_t i = 0; i < a.n_rdata; i++) {
        struct ll_buf text = LL_BUF(4096);
        struct ll_slice rest, one;

        if (ll_dns_rdata_txt(a.rdata[i], &text) &&
            ll_slice_starts(ll_buf_slice(&text), LL_LIT("v=STSv1;"))) {
            rest = ll_buf_slice(&text);
            while (ll_slice_next(&rest, ';', &one)) {
                struct ll_buf shown = LL_BUF(4 * sizeof(d->sts));

                one = ll_slice_trim(one);
                if (ll_slice_starts(one, LL_LIT("id="))) {
                    ll_escape(&shown, ll_slice_skip(one, 3), 32);
                    snprintf(d->sts, sizeof(d->sts), "%.*s", LL_FMT(ll_buf_slice(&shown)));
                }
                ll_buf_release(&shown);
            }
        }
        ll_buf_release(&text);
    }
    ll_arena_release(&arena);
}

static void ask(const struct ll_send *s, struct ll_resolver *r, struct domain_plan *d)
{
    struct ll_buf why = LL_BUF(sizeof(d->why) - 1);
    const char *text;

    if (d->domain.n > 0 && d->domain.p[0] == '[')
        return;
    d->result = ll_resolver_mx(r, d->domain, d->mx, &d->n_mx, &d->secure, &why);
    text = ll_buf_str(&why);
    snprintf(d->why, sizeof(d->why), "%s", text ? text : "");
    for (size_t i = 0; d->secure && i < d->n_mx; i++)
        d->tlsa[i] = count_tlsa(r, d->mx[i].host.text, s->server ? 25 : s->port);
    if (d->n_mx > 0)
        find_sts(r, d);
    ll_buf_release(&why);
}

/* ---- text --------------------------------------------------------------------------------------
 */

static const char *const modes[] = {
    [LL_SMTPC_TLS_NONE] = "none",
    [LL_SMTPC_TLS_OPPORTUNISTIC] = "opportunistic",
    [LL_SMTPC_TLS_FORCED] = "forced",
    [LL_SMTPC_TLS_IMPLICIT] = "implicit",
};

/* "one of your own", "verified by you", "not verified" */
static const char *trust_words(const struct ll_seal_key *k)
{
    return k->key.own                             ? "your own"
           : k->key.trust == LL_KEYSTORE_VERIFIED ? "verified by you"
                                                  : "not verified by you";
}

static void tell_seal(const struct ll_send *s)
{
    const struct ll_sealing *g = s->sealing;

    if (!g)
        return;
    printf("seal: %s\n", ll_seal_method_word(g->seal));
    if (g->sign != LL_SEAL_NONE)
        printf("signed: %s by %.*s, key %.*s\n", ll_seal_method_word(g->sign),
               LL_FMT(g->own.address), LL_FMT(g->own.by[g->sign].key.fingerprint));
    else
        puts("signed: no");
}

static void tell_recipient(const struct ll_send *s, struct ll_slice address)
{
    const struct ll_sealing *g = s->sealing;
    const struct ll_seal_person *p = ll_seal_person(g, address);
    const struct ll_seal_key *k = p ? &p->by[g->seal] : NULL;

    printf("to: <%.*s>%s\n", LL_FMT(address),
           p && p->hidden && g->seal != LL_SEAL_NONE ? " in a letter of its own" : "");
    if (!k || g->seal == LL_SEAL_NONE)
        return;
    printf("  key %.*s, %s\n", LL_FMT(k->key.fingerprint), trust_words(k));
    for (size_t i = 0; i < k->key.n_found; i++) {
        struct ll_buf place = LL_BUF(2048);

        ll_escape(&place, k->key.found[i].place, 200);
        printf("  found: %s%s%.*s\n", ll_keystore_source_text(k->key.found[i].source),
               place.n > 0 ? " " : "", LL_FMT(ll_buf_slice(&place)));
        ll_buf_release(&place);
    }
    printf("  %s\n", ll_keystore_choice_text(k->choice));
    if (g->seal == LL_SEAL_SMIME && !k->trusted)
        puts("  no trusted authority vouches for the certificate");
}

static void tell_domain(const struct ll_send *s, const struct domain_plan *d)
{
    unsigned port = s->server ? 25 : s->port;

    printf("%.*s:%s\n", LL_FMT(d->domain), d->secure ? " (signed with DNSSEC)" : "");
    for (size_t i = 0; i < d->n_mx; i++) {
        printf("  MX %u %s:%u", d->mx[i].preference, d->mx[i].host.text, port);
        if (d->tlsa[i] > 0)
            printf(", TLS proven by DANE (%zu TLSA)", d->tlsa[i]);
        putchar('\n');
    }
    if (d->sts[0])
        printf("  MTA-STS policy announced (id %s)\n", d->sts);
    if (d->n_mx == 0 && d->why[0])
        printf("  %s\n", d->why);
}

static void tell_text(const struct ll_send *s, const struct domain_plan *d, size_t n)
{
    if (s->account)
        printf("account: %s\n", s->account->title);
    printf("from: <%s>\n", s->from.text);
    tell_seal(s);
    for (size_t i = 0; i < s->n_rcpt; i++)
        tell_recipient(s, s->rcpt[i].address);
    for (size_t i = 0; i < s->n_out; i++)
        printf("size: %zu octets%s%s\n", s->out[i].text.n, s->out[i].eightbit ? ", 8BITMIME" : "",
               s->out[i].smtputf8 ? ", SMTPUTF8" : "");
    printf("TLS: %s\n", modes[s->tls]);
    if (s->server)
        printf("server: %.*s:%u%s%s\n", LL_FMT(s->host), s->port, s->user ? ", login " : "",
               s->user ? s->user : "");
    for (size_t i = 0; i < n; i++)
        tell_domain(s, &d[i]);
}

/* ---- JSON --------------------------------------------------------------------------------------
 */

static void put_domain(struct ll_json *j, const struct domain_plan *d)
{
    ll_json_open(j, '{');
    ll_json_str(j, "domain", d->domain);
    ll_json_bool(j, "dnssec", d->secure);
    ll_json_key(j, "mx");
    ll_json_open(j, '[');
    for (size_t i = 0; i < d->n_mx; i++) {
        ll_json_open(j, '{');
        ll_json_cstr(j, "host", d->mx[i].host.text);
        ll_json_int(j, "preference", d->mx[i].preference);
        ll_json_int(j, "tlsa", (int64_t)d->tlsa[i]);
        ll_json_close(j);
    }
    ll_json_close(j);
    ll_json_cstr(j, "mta_sts", d->sts[0] ? d->sts : NULL);
    ll_json_cstr(j, "reason", d->n_mx == 0 && d->why[0] ? d->why : NULL);
    ll_json_close(j);
}

static void put_key(struct ll_json *j, const struct ll_seal_key *k)
{
    ll_json_str(j, "fingerprint", k->key.fingerprint);
    ll_json_bool(j, "own", k->key.own);
    ll_json_cstr(j, "trust", ll_keystore_trust_word(k->key.trust));
    ll_json_key(j, "found");
    ll_json_open(j, '[');
    for (size_t i = 0; i < k->key.n_found; i++) {
        ll_json_open(j, '{');
        ll_json_cstr(j, "where", ll_keystore_source_word(k->key.found[i].source));
        ll_json_str(j, "place", k->key.found[i].place);
        ll_json_close(j);
    }
    ll_json_close(j);
}

static void put_recipients(struct ll_json *j, const struct ll_send *s)
{
    const struct ll_sealing *g = s->sealing;
    enum ll_seal_method m = g ? g->seal : LL_SEAL_NONE;

    ll_json_cstr(j, "seal", ll_send_seal_word(s));
    ll_json_cstr(j, "sign", ll_send_sign_word(s));
    if (g && g->sign != LL_SEAL_NONE)
        ll_json_str(j, "signer", g->own.by[g->sign].key.fingerprint);
    ll_json_key(j, "recipients");
    ll_json_open(j, '[');
    for (size_t i = 0; i < s->n_rcpt; i++) {
        const struct ll_seal_person *p = ll_seal_person(g, s->rcpt[i].address);

        ll_json_open(j, '{');
        ll_json_str(j, "address", s->rcpt[i].address);
        ll_json_bool(j, "alone", p && p->hidden && m != LL_SEAL_NONE);
        if (p && m != LL_SEAL_NONE) {
            put_key(j, &p->by[m]);
            ll_json_cstr(j, "reason", ll_keystore_choice_text(p->by[m].choice));
        }
        ll_json_close(j);
    }
    ll_json_close(j);
}

static void put_letters(struct ll_json *j, const struct ll_send *s)
{
    ll_json_key(j, "letters");
    ll_json_open(j, '[');
    for (size_t i = 0; i < s->n_out; i++) {
        ll_json_open(j, '{');
        ll_json_int(j, "size", (int64_t)s->out[i].text.n);
        ll_json_bool(j, "8bitmime", s->out[i].eightbit);
        ll_json_bool(j, "smtputf8", s->out[i].smtputf8);
        ll_json_key(j, "to");
        ll_json_open(j, '[');
        for (size_t k = 0; k < s->out[i].n_rcpt; k++)
            ll_json_str(j, NULL, s->out[i].rcpt[k].address);
        ll_json_close(j);
        ll_json_close(j);
    }
    ll_json_close(j);
}

static int tell_json(const struct ll_send *s, const struct domain_plan *d, size_t n)
{
    struct ll_buf b = LL_BUF((size_t)64 << 20);
    struct ll_json j = LL_JSON(&b);

    ll_json_open(&j, '{');
    ll_json_cstr(&j, "account", s->account ? s->account->title : NULL);
    ll_json_str(&j, "from", ll_mailbox_text(&s->from));
    put_recipients(&j, s);
    put_letters(&j, s);
    ll_json_cstr(&j, "tls", modes[s->tls]);
    if (s->server) {
        ll_json_key(&j, "server");
        ll_json_open(&j, '{');
        ll_json_str(&j, "host", s->host);
        ll_json_int(&j, "port", s->port);
        ll_json_cstr(&j, "user", s->user);
        ll_json_close(&j);
    } else {
        ll_json_cstr(&j, "server", NULL);
    }
    ll_json_key(&j, "domains");
    ll_json_open(&j, '[');
    for (size_t i = 0; i < n; i++)
        put_domain(&j, &d[i]);
    ll_json_close(&j);
    ll_json_close(&j);
    return ll_json_print(&b);
}

int ll_send_plan(struct ll_send *s)
{
    struct ll_resolver *r = ll_resolver_new(&s->resolver);
    struct domain_plan *d = calloc(s->n_rcpt + 1, sizeof(*d));
    size_t n = 0;
    int status = 0;

    if (!r || !d) {
        ll_resolver_free(r);
        free(d);
        return r ? ll_fail(EX_OSERR, "no memory") : EX_CONFIG;
    }
    for (size_t i = 0; i < s->n_rcpt; i++) {
        struct ll_slice a = s->rcpt[i].address;
        struct ll_slice domain = ll_slice_skip(a, ll_slice_rfind(a, '@') + 1);
        size_t k = 0;

        while (k < n && !ll_slice_eq(d[k].domain, domain))
            k++;
        if (k == n)
            d[n++].domain = domain;
    }
    if (s->server)
        ll_resolver_until(r, ll_now_ms() + DNS_WAIT_MS);
    for (size_t i = 0; i < n; i++)
        ask(s, r, &d[i]);
    if (s->json)
        status = tell_json(s, d, n);
    else
        tell_text(s, d, n);
    ll_resolver_free(r);
    free(d);
    return status;
}
