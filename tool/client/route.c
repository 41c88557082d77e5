/* See tool/client/send.h: which servers, in which order. */
#include "tool/client/send.h"

#include <stdlib.h>

static void set_result(struct ll_sent *r, enum ll_smtpc_outcome outcome, uint16_t a, uint16_t b,
                       const char *text)
{
    r->known = true;
    r->outcome = outcome;
    r->phase = LL_SMTPC_CONNECT;
    r->enhanced[0] = outcome == LL_SMTPC_REFUSED ? 5 : 4;
    r->enhanced[1] = a;
    r->enhanced[2] = b;
    snprintf(r->text, sizeof(r->text), "%s", text);
}

static struct ll_session_letter letter_of(const struct ll_send *s, const struct ll_outgoing *o,
                                          struct ll_sent *rcpt, size_t n)
{
    return (struct ll_session_letter){.reverse_path = ll_mailbox_text(&s->from),
                                      .content = ll_buf_slice(&o->text),
                                      .eightbit = o->eightbit,
                                      .smtputf8 = o->smtputf8,
                                      .notify = ll_slice_str(s->notify),
                                      .ret = ll_slice_str(s->ret),
                                      .envid = ll_buf_slice(&s->envid),
                                      .rcpt = rcpt,
                                      .n_rcpt = n};
}

/* Tries one host for these recipients. True: every one of them is known now. */
static bool try_host(struct ll_send *s, const struct ll_outgoing *o, struct ll_resolver *r,
                     struct ll_slice host, struct ll_sent *rcpt, size_t n, struct ll_sent *failed)
{
    struct ll_endpoint at[LL_ADDRESSES_MAX];
    struct ll_session_conf conf = {.host = host,
                                   .at = at,
                                   .tls = s->tls,
                                   .client = s->client,
                                   .pins = s->pin,
                                   .n_pins = s->n_pin,
                                   .user = ll_slice_str(s->user),
                                   .password = ll_buf_slice(&s->password),
                                   .own_name = ll_slice_str(s->own_name)};
    const struct ll_session_letter letter = letter_of(s, o, rcpt, n);
    bool later, all = true;

    conf.n_at = ll_resolver_addresses(r, host, s->port, at, &later);
    if (conf.n_at == 0) {
        *failed = (struct ll_sent){.known = true};
        set_result(failed, later ? LL_SMTPC_DEFERRED : LL_SMTPC_REFUSED, 4, later ? 3 : 4,
                   later ? "DNS did not answer for the server's address"
                         : "the server has no address");
        snprintf(failed->host, sizeof(failed->host), "%.*s", LL_FMT(host));
        return false;
    }
    if (host.n > 2 && host.p[0] == '[')
        conf.host = ll_slice_cut(host, 1, host.n - 1);
    ll_session_send(&conf, &letter, failed);
    for (size_t i = 0; i < n; i++)
        all = all && rcpt[i].known;
    return all;
}

/* Those that no server has taken: as the last one failed. */
static void give_up(struct ll_sent *rcpt, size_t n, const struct ll_sent *failed)
{
    for (size_t i = 0; i < n; i++)
        if (!rcpt[i].known) {
            struct ll_slice address = rcpt[i].address;

            rcpt[i] = *failed;
            rcpt[i].address = address;
            rcpt[i].known = true;
        }
}

static void by_local(struct ll_send *s, const struct ll_outgoing *o)
{
    const struct ll_session_conf conf = {
        .tls = LL_SMTPC_TLS_NONE, .own_name = LL_LIT("localhost"), .local = s->local};
    const struct ll_session_letter letter = letter_of(s, o, o->rcpt, o->n_rcpt);
    struct ll_sent failed = {0};

    if (!ll_session_send(&conf, &letter, &failed))
        give_up(o->rcpt, o->n_rcpt, &failed);
}

static void by_mx(struct ll_send *s, const struct ll_outgoing *o, struct ll_resolver *r,
                  struct ll_slice domain, struct ll_sent *rcpt, size_t n)
{
    struct ll_mx mx[LL_MX_MAX];
    struct ll_buf why = LL_BUF(512);
    struct ll_sent failed = {0};
    enum ll_mx_result result = LL_MX_OK;
    size_t n_mx = 0;
    bool secure, done = false;

    if (domain.p[0] == '[') { /* an address literal: that host, and no DNS */
        done = try_host(s, o, r, domain, rcpt, n, &failed);
    } else {
        result = ll_resolver_mx(r, domain, mx, &n_mx, &secure, &why);
        for (size_t i = 0; !done && i < n_mx; i++)
            done = try_host(s, o, r, ll_dns_name_slice(&mx[i].host), rcpt, n, &failed);
    }
    if (result == LL_MX_NULL)
        set_result(&failed, LL_SMTPC_REFUSED, 1, 10, ll_buf_str(&why));
    else if (result == LL_MX_NONE)
        set_result(&failed, LL_SMTPC_REFUSED, 1, 2, ll_buf_str(&why));
    else if (result == LL_MX_LATER)
        set_result(&failed, LL_SMTPC_DEFERRED, 4, 3, ll_buf_str(&why));
    if (!done)
        give_up(rcpt, n, &failed);
    ll_buf_release(&why);
}

static struct ll_slice domain_of(const struct ll_sent *r)
{
    return ll_slice_skip(r->address, ll_slice_rfind(r->address, '@') + 1);
}

static int by_domain(const void *a, const void *b)
{
    return ll_slice_cmp(domain_of(a), domain_of(b));
}

static void by_server(struct ll_send *s, const struct ll_outgoing *o, struct ll_resolver *r)
{
    struct ll_sent failed = {0};

    if (!try_host(s, o, r, s->host, o->rcpt, o->n_rcpt, &failed))
        give_up(o->rcpt, o->n_rcpt, &failed);
}

static void by_domains(struct ll_send *s, const struct ll_outgoing *o, struct ll_resolver *r)
{
    qsort(o->rcpt, o->n_rcpt, sizeof(*o->rcpt), by_domain);
    for (size_t i = 0, k; i < o->n_rcpt; i = k) {
        for (k = i + 1; k < o->n_rcpt && by_domain(&o->rcpt[i], &o->rcpt[k]) == 0; k++)
            ;
        by_mx(s, o, r, domain_of(&o->rcpt[i]), o->rcpt + i, k - i);
    }
}

int ll_send_all(struct ll_send *s)
{
    struct ll_resolver *r = s->local ? NULL : ll_resolver_new(&s->resolver);

    if (!s->local && !r)
        return EX_CONFIG;
    for (size_t i = 0; i < s->n_out; i++)
        if (s->local)
            by_local(s, &s->out[i]);
        else if (s->server)
            by_server(s, &s->out[i], r);
        else
            by_domains(s, &s->out[i], r);
    ll_resolver_free(r);
    return 0;
}
