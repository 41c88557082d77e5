/* letterlock send: carries one letter, through a submission server or direct to MX. */
#include "io/clock.h"
#include "letterlock/addr.h"
#include "letterlock/msg.h"
#include "tool/client/send.h"
#include "tool/json_out.h"

#include <pwd.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

static const struct {
    const char *word;
    enum ll_smtpc_tls tls;
} tls_words[] = {
    {"opportunistic", LL_SMTPC_TLS_OPPORTUNISTIC},
    {"forced", LL_SMTPC_TLS_FORCED},
    {"implicit", LL_SMTPC_TLS_IMPLICIT},
};

/* ---- the letter ------------------------------------------------------------------------------ */

static int read_letter(struct ll_send *s)
{
    struct ll_buf raw = LL_BUF(LL_SEND_LETTER_MAX);
    struct ll_msg_wire wire = {0};
    enum ll_msg_error e;
    int status = ll_read_file("-", &raw);

    if (status == 0) {
        e = ll_msg_to_wire(&wire, ll_buf_slice(&raw), &s->text);
        if (e == LL_MSG_OK)
            e = ll_msg_to_wire_end(&wire, &s->text);
        if (e != LL_MSG_OK)
            status = ll_fail(e == LL_MSG_RESOURCE ? EX_OSERR : EX_DATAERR, "%s",
                             ll_msg_error_info(e)->text);
    }
    ll_buf_release(&raw);
    return status;
}

static void own_name(char *ret, size_t room)
{
    struct ll_buf b = LL_BUF(LL_DOMAIN_MAX);
    char name[256] = "";

    ret[0] = '\0';
    if (gethostname(name, sizeof(name) - 1) == 0 && strchr(name, '.') &&
        ll_domain_canonical(ll_slice_str(name), false, &b) == LL_ADDR_OK && b.n < room)
        snprintf(ret, room, "%.*s", LL_FMT(ll_buf_slice(&b)));
    ll_buf_release(&b);
}

/* Date, Message-ID and From where they are missing; Bcc goes. The header is rebuilt, the body never
 * touched. */
static int mend_header(struct ll_send *s)
{
    struct ll_slice header, body;
    struct ll_buf fixed = LL_BUF(2 * LL_MSG_HEADER_MAX), first = LL_BUF(2 * LL_MSG_HEADER_MAX);
    struct ll_msg_facts facts;
    struct ll_msg_fixup fixup = {.unix_s = ll_unix_s()};
    enum ll_msg_error e;
    uint8_t random[16];
    bool changed = false;
    int status = 0;

    ll_msg_split(ll_buf_slice(&s->text), &header, &body);
    if (getrandom(random, sizeof(random), 0) != sizeof(random))
        return ll_fail(EX_OSERR, "no random numbers");
    e = ll_msg_facts(header, &facts);
    if (e == LL_MSG_OK && facts.from == 0 && s->from.n > 0) {
        ll_buf_printf(&first, "From: <%s>\r\n", s->from.text);
        ll_buf_put_slice(&first, header);
        header = ll_buf_slice(&first);
        changed = true;
    }
    fixup.random = ll_slice(random, sizeof(random));
    fixup.host = s->own_name[0]  ? ll_slice_str(s->own_name)
                 : s->from.n > 0 ? ll_mailbox_domain(&s->from)
                                 : LL_LIT("localhost");
    if (e == LL_MSG_OK) {
        bool again = false;

        e = ll_msg_fixup(header, &fixup, &fixed, &again);
        if (e == LL_MSG_OK && again)
            header = ll_buf_slice(&fixed);
        changed = changed || again;
    }
    if (e != LL_MSG_OK) {
        status = ll_fail(EX_DATAERR, "%s", ll_msg_error_info(e)->text);
    } else {
        e = ll_msg_facts(header, &facts);
        s->smtputf8 = facts.eight_bit;
        s->eightbit = facts.eight_bit || !ll_is_ascii(body);
        if (changed) {
            struct ll_buf whole = LL_BUF(LL_SEND_LETTER_MAX + 4 * LL_MSG_HEADER_MAX);

            ll_buf_put_slice(&whole, header);
            ll_buf_puts(&whole, "\r\n");
            ll_buf_put_slice(&whole, body);
            if (whole.failed)
                status = ll_fail(EX_OSERR, "no memory");
            ll_buf_release(&s->text);
            s->text = whole;
        }
    }
    ll_buf_release(&fixed);
    ll_buf_release(&first);
    return status;
}

/* ---- addresses ------------------------------------------------------------------------------- */

static int add_recipient(struct ll_send *s, struct ll_slice text)
{
    struct ll_mailbox m;
    enum ll_addr_error e = ll_mailbox_parse(text, true, &m);
    struct ll_sent *v;

    if (e != LL_ADDR_OK)
        return ll_fail(EX_DATAERR, "%.*s: %s", LL_FMT(text), ll_addr_error_text(e));
    for (size_t i = 0; i < s->n_rcpt; i++)
        if (ll_slice_eq(s->rcpt[i].address, ll_mailbox_text(&m)))
            return 0;
    if (s->n_rcpt >= LL_SMTPC_RECIPIENTS_MAX)
        return ll_fail(EX_DATAERR, "more than %d recipients", LL_SMTPC_RECIPIENTS_MAX);
    v = reallocarray(s->rcpt, s->n_rcpt + 1, sizeof(*v));
    if (!v)
        return ll_fail(EX_OSERR, "no memory");
    s->rcpt = v;
    v[s->n_rcpt] = (struct ll_sent){.address = ll_arena_dup(&s->arena, ll_mailbox_text(&m))};
    return v[s->n_rcpt++].address.p ? 0 : ll_fail(EX_OSERR, "no memory");
}

static int take_recipients(struct ll_send *s, const struct ll_words *words)
{
    struct ll_slice header, body;
    struct ll_msg_address *list = NULL;
    size_t n = 0;
    int status = 0;

    for (size_t i = 0; i < words->n && status == 0; i++)
        status = add_recipient(s, ll_slice_str(words->v[i]));
    if (status == 0 && s->from_header) {
        enum ll_msg_error e;

        ll_msg_split(ll_buf_slice(&s->text), &header, &body);
        e = ll_msg_recipients(header, &s->arena, &list, &n);
        if (e != LL_MSG_OK)
            status = ll_fail(EX_DATAERR, "%s", ll_msg_error_info(e)->text);
    }
    for (size_t i = 0; i < n && status == 0; i++)
        status = add_recipient(s, list[i].spec);
    if (status == 0 && s->n_rcpt == 0)
        status = ll_fail(EX_USAGE, "no recipient%s",
                         s->from_header ? " in To, Cc and Bcc" : " (or -t: from the header)");
    return status;
}

/* The envelope's sender: --from, else the author of the letter, else who runs this. */
static int take_sender(struct ll_send *s)
{
    struct ll_slice header, body, author = {NULL, 0};
    struct passwd *pw;
    char text[400];

    if (s->from_text && (s->from_text[0] == '\0' || strcmp(s->from_text, "<>") == 0))
        return 0;
    ll_msg_split(ll_buf_slice(&s->text), &header, &body);
    if (s->from_text)
        author = ll_slice_str(s->from_text);
    else if (ll_msg_author(header, &s->arena, &author) != LL_MSG_OK) {
        pw = getpwuid(getuid());
        snprintf(text, sizeof(text), "%s@%s", pw ? pw->pw_name : "nobody",
                 s->own_name[0] ? s->own_name : "localhost");
        author = s->user && strchr(s->user, '@') ? ll_slice_str(s->user) : ll_slice_str(text);
    }
    if (ll_mailbox_parse(author, true, &s->from) != LL_ADDR_OK)
        return ll_fail(EX_DATAERR, "\"%.*s\" is no address to send from (--from ADDRESS)",
                       LL_FMT(author));
    return 0;
}

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
    bool given = s->from_where.file || s->from_where.command;

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

static void print_text(const struct ll_sent *r)
{
    printf("%.*s: %s:", LL_FMT(r->address), outcomes[r->outcome]);
    if (r->code > 0)
        printf(" %u %u.%u.%u", r->code, r->enhanced[0], r->enhanced[1], r->enhanced[2]);
    printf(" %s\n", r->text);
    if (r->host[0] && r->phase == LL_SMTPC_CONNECT)
        printf("  by %s\n", r->host);
    else if (r->host[0])
        printf("  by %s, %s\n", r->host, r->tls[0] ? r->tls : "without TLS");
}

static void put_json(struct ll_json *j, const struct ll_sent *r)
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
            put_json(&j, &s->rcpt[i]);
        else
            print_text(&s->rcpt[i]);
    if (s->json) {
        ll_json_close(&j);
        ll_json_print(&b);
    }
    return exit_status(s);
}

/* ---- the command ------------------------------------------------------------------------------
 */

static int prepare(struct ll_send *s, const struct ll_words *words)
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
    own_name(s->own_name, sizeof(s->own_name));
    if (status == 0)
        status = read_letter(s);
    if (status == 0)
        status = take_sender(s);
    if (status == 0)
        status = take_recipients(s, words);
    return status ? status : mend_header(s);
}

int ll_cmd_send(int argc, char **argv)
{
    struct ll_send s = {.text = LL_BUF(LL_SEND_LETTER_MAX + (LL_SEND_LETTER_MAX >> 2))};
    const struct ll_opt opts[] = {
        {"server", 0, LL_OPT_TEXT, &s.server, "HOST[:PORT]",
         "submission server (587; 465 is implicit TLS); else direct to MX"},
        {"user", 0, LL_OPT_TEXT, &s.user, "NAME", "login at the server"},
        {"password-file", 0, LL_OPT_TEXT, &s.from_where.file, "FILE",
         "password in the first line of FILE"},
        {"password-command", 0, LL_OPT_TEXT, &s.from_where.command, "CMD",
         "password in the first line that CMD prints"},
        {"tls", 0, LL_OPT_TEXT, &s.tls_word, "MODE", "opportunistic, forced or implicit"},
        {"ca", 0, LL_OPT_TEXT, &s.ca, "FILE", "trust these certificates, not the system's"},
        {"pin", 0, LL_OPT_LIST, &s.pins, "SHA256", "trust this public key"},
        {"insecure", 0, LL_OPT_FLAG, &s.insecure, NULL, "TLS, but no look at the certificate"},
        {"from", 'f', LL_OPT_TEXT, &s.from_text, "ADDR", "envelope sender (default: From)"},
        {NULL, 't', LL_OPT_FLAG, &s.from_header, NULL, "recipients from To, Cc and Bcc as well"},
        {"port", 0, LL_OPT_NUMBER, &s.mx_port, "N", "port of MX hosts (25)"},
        {"dry-run", 0, LL_OPT_FLAG, &s.dry_run, NULL, "tell what would be done, send nothing"},
        LL_RESOLVER_OPTS(s.resolver),
        LL_JSON_OPT(s.json),
    };
    const struct ll_usage usage = {
        "send [options] [RCPT...] < LETTER",
        "Sends one letter. Exit status: 0 all accepted, 65 bad letter or address, 69 refused\n"
        "or no TLS where it is demanded, 75 try again, 77 login refused.",
        opts,
        LL_COUNT(opts),
        0,
        LL_ARGS_LIST_MAX};
    struct ll_words words;
    int status;

    if (!ll_args_take(&usage, argc, argv, &words, &status))
        return status;
    ll_arena_init(&s.arena, (size_t)16 << 20);
    if (s.mx_port > 0 && s.mx_port < 65536)
        s.port = (uint16_t)s.mx_port;
    status = prepare(&s, &words);
    if (status == 0)
        status = s.dry_run ? ll_send_plan(&s) : ll_send_all(&s);
    if (status == 0 && !s.dry_run)
        status = report(&s);
    ll_buf_wipe(&s.password);
    ll_buf_release(&s.text);
    ll_tls_client_free(s.client);
    ll_arena_release(&s.arena);
    free(s.rcpt);
    return status;
}
