/* letterlock milter: a filter for Postfix and Sendmail. The work is in tool/milter/. */
#include "tool/milter/milter.h"
#include "tool/tool.h"

#include <stdlib.h>

struct command {
    struct ll_words listen, sign, internal, forwarder, arc_trusted;
    const char *dmarc, *spf_fail, *quarantine, *late;
    struct ll_where where;
    struct milter_start start;
};

/* ---- options ------------------------------------------------------------------------------------
 */

static int take_networks(const char *option, const struct ll_words *words, struct ll_networks *ret)
{
    char **texts = calloc(words->n + 1, sizeof(*texts));
    size_t bad = 0;
    bool ok = texts != NULL;

    for (size_t i = 0; ok && i < words->n; i++)
        ok = (texts[i] = ll_slice_dup(ll_slice_str(words->v[i]))) != NULL;
    ok = ok && ll_networks_init(ret, texts, &bad);
    for (size_t i = 0; texts && i < words->n; i++)
        free(texts[i]);
    free(texts);
    if (!ok)
        return ll_fail(EX_OSERR, "no memory");
    return bad == 0 ? 0
                    : ll_fail(EX_USAGE,
                              "--%s: write networks as 192.0.2.0/24 or 2001:db8::/32, no bits set "
                              "behind the prefix",
                              option);
}

static int take_internal(const struct ll_words *words, struct ll_networks *ret)
{
    static const char *loopback[] = {"127.0.0.0/8", "::1"};
    const struct ll_words usual = {loopback, LL_COUNT(loopback)};

    if (words->n == 1 && strcmp(words->v[0], "none") == 0)
        return 0;
    return take_networks("internal", words->n > 0 ? words : &usual, ret);
}

/* The place of a word in a list of them; -1: not there. */
static int choose(const char *option, const char *word, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(word, words[i]) == 0)
            return (int)i;
    ll_fail(EX_USAGE, "--%s %s: see letterlock milter --help for its words", option, word);
    return -1;
}

static int take_words(struct command *c, struct milter_options *o)
{
    static const char *const dmarc[] = {"report", "quarantine", "enforce"};
    static const char *const spf[] = {"accept", "quarantine", "reject"};
    static const char *const quarantine[] = {"header", "hold"};
    static const char *const late[] = {"accept", "defer"};
    int d = choose("dmarc", c->dmarc, dmarc, LL_COUNT(dmarc));
    int s = choose("spf-fail", c->spf_fail, spf, LL_COUNT(spf));
    int q = choose("quarantine", c->quarantine, quarantine, LL_COUNT(quarantine));
    int l = choose("late", c->late, late, LL_COUNT(late));

    if (d < 0 || s < 0 || q < 0 || l < 0)
        return EX_USAGE;
    o->dmarc = ll_policy_apply(c->dmarc);
    o->spf_fail = c->spf_fail;
    o->hold = q == 1;
    o->late_defer = l == 1;
    return 0;
}

static int take_limits(const struct milter_options *o)
{
    if (o->sessions < 1 || o->sessions > MILTER_SESSIONS_MAX)
        return ll_fail(EX_USAGE, "--sessions: from 1 to %d", MILTER_SESSIONS_MAX);
    if (o->idle_s < 1 || o->idle_s > 86400)
        return ll_fail(EX_USAGE, "--idle: from 1 to 86400 seconds");
    if (o->check_s < 1 || o->check_s > 240)
        return ll_fail(EX_USAGE, "--check-timeout: from 1 to 240 seconds (an MTA waits for 300)");
    return o->size > 0 ? 0 : ll_fail(EX_USAGE, "--size: octets of the largest letter");
}

static int take_keys(struct command *c, struct milter *m)
{
    int status = 0;

    for (size_t i = 0; status == 0 && i < c->sign.n; i++)
        status = milter_keys_add(&m->keys, c->sign.v[i]);
    if (status == 0 && (c->where.conf || c->where.dir)) {
        struct ll_conf *conf = ll_where_conf(&c->where, &status);

        if (conf)
            status = milter_keys_load(&m->keys, conf);
        ll_conf_free(conf);
    }
    return status;
}

static int take(struct command *c, struct milter *m)
{
    int status;

    if (c->listen.n == 0 || c->listen.n > MILTER_LISTEN_MAX)
        return ll_fail(EX_USAGE, "milter needs --listen, %d at most", MILTER_LISTEN_MAX);
    c->start.listen = c->listen.v;
    c->start.n_listen = c->listen.n;
    status = take_limits(&m->o);
    if (status == 0)
        status = take_words(c, &m->o);
    if (status == 0)
        status = take_internal(&c->internal, &m->o.internal);
    if (status == 0)
        status = take_networks("forwarder", &c->forwarder, &m->o.forwarders);
    m->o.arc_trusted = calloc(c->arc_trusted.n + 1, sizeof(*m->o.arc_trusted));
    if (status == 0 && !m->o.arc_trusted)
        status = ll_fail(EX_OSERR, "no memory");
    for (size_t i = 0; status == 0 && i < c->arc_trusted.n; i++)
        if (!(m->o.arc_trusted[i] = ll_slice_dup(ll_slice_str(c->arc_trusted.v[i]))))
            status = ll_fail(EX_OSERR, "no memory");
    return status == 0 ? take_keys(c, m) : status;
}

/* ---- the command --------------------------------------------------------------------------------
 */

static int run(struct command *c, struct milter *m, int argc, char **argv)
{
    const struct ll_opt opts[] = {
        {"listen", 0, LL_OPT_LIST, &c->listen, "ADDR",
         "unix:/PATH, inet:PORT@ADDRESS or ADDRESS:PORT; may be repeated"},
        {"sign", 0, LL_OPT_LIST, &c->sign, "D:S:FILE",
         "sign our letters of domain D with selector S and this PEM key; may be repeated"},
        {NULL, 'c', LL_OPT_TEXT, &c->where.conf, "FILE", "sign with the keys of `letterlock dkim`"},
        {"dir", 0, LL_OPT_TEXT, &c->where.dir, "DIR", "likewise, of `init --dir DIR`"},
        {"internal", 0, LL_OPT_LIST, &c->internal, "NETWORK",
         "clients whose letters are ours (loopback), or none; may be repeated"},
        {"authserv-id", 0, LL_OPT_TEXT, &m->o.authserv_id, "NAME",
         "name in Authentication-Results (the MTA's host name)"},
        {"dmarc", 0, LL_OPT_TEXT, &c->dmarc, "WORD", "enforce, quarantine or report (enforce)"},
        {"spf-fail", 0, LL_OPT_TEXT, &c->spf_fail, "WORD",
         "where DMARC says nothing: accept, quarantine or reject (accept)"},
        {"received-spf", 0, LL_OPT_FLAG, &m->o.received_spf, NULL, "add a Received-SPF field, too"},
        {"quarantine", 0, LL_OPT_TEXT, &c->quarantine, "WORD",
         "by a header field, or hold in the MTA's queue (header)"},
        {"late", 0, LL_OPT_TEXT, &c->late, "WORD",
         "a letter whose checks get no answer: accept or defer (accept)"},
        {"forwarder", 0, LL_OPT_LIST, &c->forwarder, "NETWORK",
         "forwards mail to us: quarantine instead of refusing; may be repeated"},
        {"arc-trusted", 0, LL_OPT_LIST, &c->arc_trusted, "DOMAIN",
         "a sealer whose word counts; may be repeated"},
        {"user", 0, LL_OPT_TEXT, &c->start.user, "NAME", "run as this user, when root starts it"},
        {"socket-mode", 0, LL_OPT_TEXT, &c->start.socket_mode, "MODE", "of a unix socket (660)"},
        {"socket-group", 0, LL_OPT_TEXT, &c->start.socket_group, "GROUP", "of a unix socket"},
        {"sessions", 0, LL_OPT_NUMBER, &m->o.sessions, "N", "connections at a time (200)"},
        {"size", 0, LL_OPT_NUMBER, &m->o.size, "OCTETS", "refuse larger letters (1 GiB)"},
        {"idle", 0, LL_OPT_NUMBER, &m->o.idle_s, "SECONDS", "close a silent connection (3600)"},
        {"check-timeout", 0, LL_OPT_NUMBER, &m->o.check_s, "SECONDS",
         "wait for DNS at a letter's end (30)"},
        {"resolver", 0, LL_OPT_TEXT, &c->start.resolver, "ADDR[:PORT]",
         "system, recursive, or ask this DNS server (system)"},
        {"trust-anchor", 0, LL_OPT_TEXT, &c->start.trust_anchor, "FILE", "DNSSEC trust anchor"},
    };
    const struct ll_usage usage = {
        "milter --listen ADDR [options]",
        "A filter for Postfix and Sendmail (milter protocol 6), in the foreground: checks SPF,\n"
        "DKIM, DMARC and ARC of letters from outside, takes out Authentication-Results fields\n"
        "that claim our name and adds ours, does what DMARC asks for; and signs letters of\n"
        "clients that are internal or logged in.",
        opts,
        LL_COUNT(opts),
        0,
        0};
    struct ll_words words;
    int status;

    if (!ll_args_take(&usage, argc, argv, &words, &status))
        return status;
    status = take(c, m);
    return status == 0 ? milter_run(m, &c->start) : status;
}

int ll_cmd_milter(int argc, char **argv)
{
    struct command c = {
        .dmarc = "enforce", .spf_fail = "accept", .quarantine = "header", .late = "accept"};
    struct milter *m = calloc(1, sizeof(*m)); /* with its table of keys */
    int status;

    if (!m)
        return ll_fail(EX_OSERR, "no memory");
    m->o.sessions = MILTER_SESSIONS;
    m->o.size = MILTER_SIZE;
    m->o.idle_s = MILTER_IDLE_S;
    m->o.check_s = MILTER_CHECK_S;
    status = run(&c, m, argc, argv);
    milter_keys_release(&m->keys);
    ll_networks_release(&m->o.internal);
    ll_networks_release(&m->o.forwarders);
    for (size_t i = 0; m->o.arc_trusted && m->o.arc_trusted[i]; i++)
        free(m->o.arc_trusted[i]);
    free(m->o.arc_trusted);
    free(m);
    return status;
}
