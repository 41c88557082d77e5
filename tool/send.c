/* letterlock send: carries one letter, through a submission server or direct to MX. */
#include "tool/client/send.h"
#include "tool/json_out.h"

#include <stdlib.h>

static const struct {
    const char *word;
    enum ll_smtpc_tls tls;
} tls_words[] = {
    {"opportunistic", LL_SMTPC_TLS_OPPORTUNISTIC},
    {"forced", LL_SMTPC_TLS_FORCED},
    {"implicit", LL_SMTPC_TLS_IMPLICIT},
};

/* ---- options --------------------------------------------------------------------------------- */

static int take_server(struct ll_send *s)
{
    struct ll_slice text = ll_slice_str(s->server), port;
    size_t colon = ll_slice_rfind(text, ':'), bracket = ll_slice_rfind(text, ']');
    bool has_port =
        colon < text.n && (bracket == text.n || bracket < colon) &&
        ll_slice_find(text, ':') == (bracket == text.n ? colon : ll_slice_find(text, ':'));
    uint64_t n = 0;

    s->host = text;
    if (has_port) {
        port = ll_slice_skip(text, colon + 1);
        s->host = ll_slice_cut(text, 0, colon);
        if (!ll_slice_u64(port, &n) || n < 1 || n > 65535)
            return ll_fail(EX_USAGE, "--server: \"%.*s\" is no port", LL_FMT(port));
        s->port = (uint16_t)n;
    }
    return s->host.n > 0 ? 0 : ll_fail(EX_USAGE, "--server: no name");
}

static int take_tls(struct ll_send *s)
{
    size_t i = 0;

    if (!s->tls_word) { /* a login never goes in clear, and 465 is TLS from the first octet */
        s->tls = s->server && s->port == 465 ? LL_SMTPC_TLS_IMPLICIT
                 : s->user                   ? LL_SMTPC_TLS_FORCED
                                             : LL_SMTPC_TLS_OPPORTUNISTIC;
    } else {
        while (i < LL_COUNT(tls_words) && strcmp(tls_words[i].word, s->tls_word) != 0)
            i++;
        if (i == LL_COUNT(tls_words))
            return ll_fail(EX_USAGE, "--tls: opportunistic, forced or implicit");
        s->tls = tls_words[i].tls;
    }
    if (s->port == 0)
        s->port = s->tls == LL_SMTPC_TLS_IMPLICIT ? 465 : s->server ? 587 : 25;
    return 0;
}

static int take_pins(struct ll_send *s)
{
    for (size_t i = 0; i < s->pins.n; i++) {
        struct ll_buf raw = LL_BUF(LL_TLS_PIN + 1);
        struct ll_slice text = ll_slice_str(s->pins.v[i]);
        bool ok;

        if (ll_slice_casestarts(text, LL_LIT("sha256:")))
            text = ll_slice_skip(text, 7);
        ok = ll_hex_decode(&raw, text);
        if (!ok) {
            ll_buf_clear(&raw);
            ok = ll_base64_decode(&raw, text);
        }
        ok = ok && raw.n == LL_TLS_PIN && s->n_pin < LL_SEND_PINS_MAX;
        if (ok)
            memcpy(s->pin[s->n_pin++], raw.p, LL_TLS_PIN);
        ll_buf_release(&raw);
        if (!ok)
            return ll_fail(EX_USAGE,
                           "--pin: SHA-256 of a public key, in hexadecimal or base64 (at "
                           "most %d)",
                           LL_SEND_PINS_MAX);
    }
    return 0;
}

/* With --server, forced and implicit verify the name; direct to MX they demand TLS, and verify
 * where --ca or --pin says against what. */
static int make_client(struct ll_send *s)
{
    struct ll_buf err = LL_BUF(1024);
    struct ll_tls_client_opts o = {.level = LL_TLS_OPPORTUNISTIC,
                                   .alpn = s->tls == LL_SMTPC_TLS_IMPLICIT};
    bool demanded = s->tls != LL_SMTPC_TLS_OPPORTUNISTIC;
    int status = 0;

    if (demanded)
        o.level =
            !s->insecure && (s->server || s->ca || s->n_pin > 0) ? LL_TLS_VERIFY : LL_TLS_FORCED;
    if ((s->ca || s->n_pin > 0) && (!demanded || s->insecure))
        return ll_fail(EX_USAGE,
                       "--ca and --pin need --tls forced or implicit, without --insecure");
    if (ll_tls_init() < 0)
        return ll_fail(EX_OSERR, "TLS cannot be set up");
    if (o.level == LL_TLS_VERIFY && (s->ca || s->n_pin == 0))
        o.trust = ll_tls_trust_load(s->ca, &err);
    if (o.level == LL_TLS_VERIFY && (s->ca || s->n_pin == 0) && !o.trust)
        status = ll_fail_text(EX_NOINPUT, &err);
    else if (!(s->client = ll_tls_client_new(&o, &err)))
        status = ll_fail_text(EX_OSERR, &err);
    ll_tls_trust_free(o.trust);
    ll_buf_release(&err);
    return status;
}

static int take_login(struct ll_send *s)
{
    bool given = s->from_where.file || s->from_where.command || s->from_where.keyring[0];

    if (!s->user)
        return given ? ll_fail(EX_USAGE, "a password, but no --user") : 0;
    if (!s->server)
        return ll_fail(EX_USAGE, "--user needs --server");
    return s->dry_run ? 0 : ll_password_get(&s->from_where, false, &s->password);
}

/* ---- results --------------------------------------------------------------------------------- */

static const char *const outcomes[] = {
    [LL_SMTPC_DELIVERED] = "accepted", /* by that server: what it does with it is not known here */
    [LL_SMTPC_DEFERRED] = "deferred",
    [LL_SMTPC_REFUSED] = "refused",
    [LL_SMTPC_AGAIN] = "deferred",
};

static void print_text(const struct ll_send *s, const struct ll_sent *r)
{
    printf("%.*s: %s:", LL_FMT(r->address), outcomes[r->outcome]);
    if (r->code > 0)
        printf(" %u %u.%u.%u", r->code, r->enhanced[0], r->enhanced[1], r->enhanced[2]);
    printf(" %s\n", r->text);
    if (r->host[0] && r->phase == LL_SMTPC_CONNECT)
        printf("  by %s\n", r->host);
    else if (r->host[0])
        printf("  by %s, %s\n", r->host, r->tls[0] ? r->tls : "without TLS");
    if (r->outcome == LL_SMTPC_DELIVERED && strcmp(ll_send_seal_word(s), "none") != 0)
        printf("  sealed: %s\n", ll_send_seal_word(s));
}

static void put_json(struct ll_json *j, const struct ll_send *s, const struct ll_sent *r)
{
    char enhanced[32];

    snprintf(enhanced, sizeof(enhanced), "%u.%u.%u", r->enhanced[0], r->enhanced[1],
             r->enhanced[2]);
    ll_json_open(j, '{');
    ll_json_str(j, "address", r->address);
    ll_json_cstr(j, "outcome", outcomes[r->outcome]);
    ll_json_int(j, "code", r->code);
    ll_json_cstr(j, "status", enhanced);
    ll_json_cstr(j, "text", r->text);
    ll_json_cstr(j, "phase", ll_smtpc_phase_name(r->phase));
    ll_json_cstr(j, "host", r->host[0] ? r->host : NULL);
    ll_json_cstr(j, "tls", r->tls[0] ? r->tls : NULL);
    ll_json_cstr(j, "seal", ll_send_seal_word(s));
    ll_json_cstr(j, "sign", ll_send_sign_word(s));
    ll_json_close(j);
}

/* 0: all accepted; else the worst: no permission, refused, to be tried again. */
static int exit_status(const struct ll_send *s)
{
    int status = 0;

    for (size_t i = 0; i < s->n_rcpt; i++) {
        const struct ll_sent *r = &s->rcpt[i];
        bool demanded = s->tls != LL_SMTPC_TLS_OPPORTUNISTIC;
        bool tls = r->phase == LL_SMTPC_STARTTLS || r->phase == LL_SMTPC_HANDSHAKE;

        if (r->outcome == LL_SMTPC_DELIVERED)
            continue;
        if (r->phase == LL_SMTPC_AUTH && r->code >= 500)
            return EX_NOPERM;
        if (r->outcome == LL_SMTPC_REFUSED)
            status = r->code == 0 && r->phase == LL_SMTPC_LOCAL ? EX_DATAERR : EX_UNAVAILABLE;
        else if (status == 0)
            status = tls && demanded ? EX_UNAVAILABLE : EX_TEMPFAIL;
    }
    return status;
}

static int report(struct ll_send *s)
{
    struct ll_buf b = LL_BUF((size_t)64 << 20);
    struct ll_json j = LL_JSON(&b);

    if (s->json)
        ll_json_open(&j, '[');
    for (size_t i = 0; i < s->n_rcpt; i++)
        if (s->json)
            put_json(&j, s, &s->rcpt[i]);
        else
            print_text(s, &s->rcpt[i]);
    if (s->json) {
        ll_json_close(&j);
        ll_json_print(&b);
    }
    return exit_status(s);
}

void ll_send_release(struct ll_send *s)
{
    ll_buf_wipe(&s->password);
    for (size_t i = 0; i < s->n_out; i++)
        ll_buf_release(&s->out[i].text);
    free(s->out);
    ll_config_free(s->config);
    ll_send_seal_release(s);
    ll_buf_wipe(&s->raw);
    ll_buf_wipe(&s->text);
    ll_buf_release(&s->envid);
    ll_tls_client_free(s->client);
    ll_arena_release(&s->arena);
    free(s->rcpt);
}

/* ---- the command ------------------------------------------------------------------------------
 */

int ll_send_connection(struct ll_send *s)
{
    int status = s->server ? take_server(s) : 0;

    if (status == 0)
        status = take_tls(s);
    if (status == 0)
        status = take_pins(s);
    if (status == 0)
        status = make_client(s);
    if (status == 0)
        status = take_login(s);
    return status;
}

int ll_cmd_send(int argc, char **argv)
{
    struct ll_send s = {.raw = LL_BUF(LL_SEND_LETTER_MAX),
                        .text = LL_BUF(2ul * LL_SEND_LETTER_MAX)};
    const char *notify = NULL, *ret = NULL, *envid = NULL;
    const struct ll_opt opts[] = {
        LL_CONFIG_OPTS(s.config_from),
        LL_COMPOSE_OPTS(s),
        LL_SEAL_OPTS(s),
        LL_SEND_OPTS(s),
        {"direct", 0, LL_OPT_FLAG, &s.direct, NULL, "to MX, though the account has a server"},
        {"from", 'f', LL_OPT_TEXT, &s.from_text, "ADDR",
         "From of what is composed; of a ready letter the envelope's sender"},
        {NULL, 't', LL_OPT_FLAG, &s.from_header, NULL, "recipients from To, Cc and Bcc as well"},
        {"notify", 'N', LL_OPT_TEXT, &notify, "WHEN",
         "reports: never, or a list of success, failure, delay"},
        {"ret", 'R', LL_OPT_TEXT, &ret, "WHAT", "with a report of failure comes: full or hdrs"},
        {"envid", 'V', LL_OPT_TEXT, &envid, "ID", "a word of yours that reports repeat"},
        {"port", 0, LL_OPT_NUMBER, &s.mx_port, "N", "port of MX hosts (25)"},
        {"dry-run", 0, LL_OPT_FLAG, &s.dry_run, NULL, "tell what would be done, send nothing"},
        LL_RESOLVER_OPTS(s.resolver),
        LL_JSON_OPT(s.json),
    };
    const struct ll_usage usage = {
        "send [options] [RCPT...] < LETTER|TEXT",
        "Sends one letter: a ready one, or (with --subject, --to, --text ...) one made of the text "
        "on\n"
        "standard input. Exit status: 0 all accepted, 65 bad letter, address or key, 69 refused, "
        "no\n"
        "key, or no TLS where it is demanded, 75 try again, 77 login refused, 78 bad settings.",
        opts,
        LL_COUNT(opts),
        0,
        LL_ARGS_LIST_MAX};
    struct ll_words words;
    int status;

    if (!ll_args_take(&usage, argc, argv, &words, &status))
        return status;
    ll_arena_init(&s.arena, LL_SEND_ARENA);
    if (s.mx_port > 0 && s.mx_port < 65536)
        s.port = (uint16_t)s.mx_port;
    status = ll_send_read(&s);
    if (status == 0)
        status = ll_send_account(&s);
    if (status == 0)
        status = ll_send_connection(&s);
    if (status == 0 && notify)
        status = ll_send_notify(&s, "--notify", notify);
    if (status == 0 && ret)
        status = ll_send_return(&s, "--ret", ret);
    if (status == 0 && envid)
        status = ll_send_envid(&s, "--envid", envid);
    if (status == 0)
        status = ll_send_compose(&s, &words);
    if (status == 0)
        status = ll_send_letter(&s, &words);
    if (status == 0)
        status = ll_send_seal(&s);
    if (status == 0)
        status = s.dry_run ? ll_send_plan(&s) : ll_send_all(&s);
    if (status == 0 && !s.dry_run)
        status = report(&s);
    ll_send_release(&s);
    return status;
}
