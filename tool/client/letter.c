/* See tool/client/send.h: reading the letter, and what is put right in it. */
#include "io/clock.h"
#include "letterlock/msg.h"
#include "tool/client/send.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#define READ_CHUNK    65536
#define FULL_NAME_MAX 45 /* octets of a name that is no ASCII: one encoded word (RFC 2047 2) */

/* ---- the letter ------------------------------------------------------------------------------ */

/* Where the line of one dot begins, looking from `from` on; text.n: there is none yet. */
static size_t find_dot(struct ll_slice text, size_t from)
{
    for (size_t i = from; i < text.n; i++) {
        struct ll_slice rest = ll_slice_skip(text, i + 1);

        if (text.p[i] == '.' && (i == 0 || text.p[i - 1] == '\n') && rest.n > 0 &&
            (rest.p[0] == '\n' || (rest.n > 1 && rest.p[0] == '\r' && rest.p[1] == '\n')))
            return i;
    }
    return text.n;
}

/* Text as programs write it into sendmail. A lone CR (progress bars in what cron collects) becomes
 * a line's end, NUL a question mark: the network would refuse the letter for them. */
static int read_text(struct ll_send *s, struct ll_buf *raw)
{
    ssize_t n = 1;

    while (n > 0) {
        uint8_t *room = ll_buf_room(raw, READ_CHUNK);
        size_t seen = raw->n > 2 ? raw->n - 2 : 0, dot;

        n = room ? read(STDIN_FILENO, room, READ_CHUNK) : -1;
        if (!room)
            return ll_fail(EX_DATAERR, "the letter is larger than %d MiB",
                           LL_SEND_LETTER_MAX >> 20);
        if (n < 0)
            return ll_fail(EX_IOERR, "standard input: %s", strerror(errno));
        ll_buf_grew(raw, (size_t)n);
        dot = s->dots ? find_dot(ll_buf_slice(raw), seen) : raw->n;
        if (dot < raw->n) {
            raw->n = dot;
            n = 0;
        }
    }
    for (size_t i = 0; i < raw->n; i++) {
        if (raw->p[i] == '\r' && (i + 1 == raw->n || raw->p[i + 1] != '\n'))
            raw->p[i] = '\n';
        else if (raw->p[i] == '\0')
            raw->p[i] = '?';
    }
    return 0;
}

/* A letter may begin with an mbox line, or have no header, or no empty line behind it. */
static void find_header(struct ll_buf *text)
{
    struct ll_slice all = ll_buf_slice(text), rest, header, body;
    struct ll_buf whole = LL_BUF(LL_SEND_LETTER_MAX + (LL_SEND_LETTER_MAX >> 2));
    struct ll_msg_field f = {.bad = false};
    size_t at;

    if (ll_slice_casestarts(all, LL_LIT("From ")))
        all = ll_slice_skip(all, ll_slice_find(all, '\n') + 1);
    ll_msg_split(all, &header, &body);
    rest = header;
    while (!f.bad && ll_msg_field_next(&rest, &f))
        ;
    if (f.bad) {
        at = (size_t)(f.raw.p - all.p);
        ll_buf_put_slice(&whole, ll_slice_cut(all, 0, at));
        ll_buf_puts(&whole, "\r\n");
        ll_buf_put_slice(&whole, ll_slice_skip(all, at));
    } else if (all.n < text->n) {
        ll_buf_put_slice(&whole, all);
    } else {
        return;
    }
    ll_buf_release(text);
    *text = whole;
}

int ll_send_read(struct ll_send *s)
{
    struct ll_buf raw = LL_BUF(LL_SEND_LETTER_MAX);
    struct ll_msg_wire wire = {0};
    enum ll_msg_error e;
    int status;

    if (ll_send_composes(s))
        return ll_read_file("-", &s->raw);
    status = s->sendmail ? read_text(s, &raw) : ll_read_file("-", &raw);
    if (status == 0) {
        e = ll_msg_to_wire(&wire, ll_buf_slice(&raw), &s->text);
        if (e == LL_MSG_OK)
            e = ll_msg_to_wire_end(&wire, &s->text);
        if (e != LL_MSG_OK)
            status = ll_fail(e == LL_MSG_RESOURCE ? EX_OSERR : EX_DATAERR, "%s",
                             ll_msg_error_info(e)->text);
    }
    if (status == 0 && s->sendmail)
        find_header(&s->text);
    if (s->text.failed)
        status = ll_fail(EX_OSERR, "no memory");
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

/* "user@domain" of who runs this. */
static struct ll_slice own_address(struct ll_send *s)
{
    struct passwd *pw = getpwuid(getuid());
    const char *domain = s->local ? s->local->domain : s->own_name;
    struct ll_buf text = LL_BUF(LL_MAILBOX_MAX);
    struct ll_slice own;

    if (pw)
        ll_buf_puts(&text, pw->pw_name);
    else
        ll_buf_printf(&text, "uid%u", (unsigned)getuid()); /* as the server calls it too */
    ll_buf_printf(&text, "@%s", domain[0] ? domain : "localhost");
    own = ll_arena_dup(&s->arena, ll_buf_slice(&text));
    ll_buf_release(&text);
    return own;
}

/* The name of who runs this, for people: -F, or what the system knows. */
static void full_name(const struct ll_send *s, struct ll_buf *ret)
{
    struct passwd *pw = s->full_name ? NULL : getpwuid(getuid());
    struct ll_slice name = s->full_name ? ll_slice_str(s->full_name)
                           : pw         ? ll_slice_str(pw->pw_gecos)
                                        : LL_LIT("");

    if (!s->full_name)
        name = ll_slice_cut(name, 0, ll_slice_find(name, ','));
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] < 0x20 || name.p[i] == 0x7f)
            return;
    if (!ll_is_ascii(name)) {
        if (name.n > FULL_NAME_MAX || !ll_utf8_valid(name))
            return;
        ll_buf_puts(ret, "=?UTF-8?B?");
        ll_base64_encode(ret, name);
        ll_buf_puts(ret, "?=");
    } else if (name.n > 0) {
        ll_buf_putc(ret, '"');
        for (size_t i = 0; i < name.n; i++) {
            if (name.p[i] == '"' || name.p[i] == '\\')
                ll_buf_putc(ret, '\\');
            ll_buf_putc(ret, name.p[i]);
        }
        ll_buf_putc(ret, '"');
    }
}

static void put_from(struct ll_send *s, struct ll_buf *out)
{
    struct ll_slice from = s->from.n > 0 ? ll_mailbox_text(&s->from) : own_address(s);
    struct ll_buf body = LL_BUF(4096);

    if (s->sendmail)
        full_name(s, &body);
    if (body.n > 0)
        ll_buf_putc(&body, ' ');
    ll_buf_printf(&body, "<%.*s>", LL_FMT(from));
    if (body.failed || !ll_msg_field_put(out, "From", ll_buf_slice(&body), true))
        ll_buf_printf(out, "From: <%.*s>\r\n", LL_FMT(from));
    ll_buf_release(&body);
}

/* The body of an address field with a domain for every name that lacks one, as cron writes "root
 * (Cron Daemon)". False: nothing is to be done, or it cannot be done surely. */
static bool complete_list(struct ll_send *s, struct ll_slice body, struct ll_buf *out)
{
    const char *domain = s->local ? s->local->domain : s->own_name;
    struct ll_msg_address *list = NULL, *done = NULL;
    struct ll_slice rest = body;
    size_t n = 0, n_done = 0;
    bool any = false, ok;

    if (!domain[0] || ll_msg_addresses(body, &s->arena, &list, &n) != LL_MSG_OK)
        return false;
    for (size_t i = 0; i < n; i++) {
        struct ll_slice spec = list[i].spec;
        size_t at = 0;

        while (at + spec.n <= rest.n &&
               !(memcmp(rest.p + at, spec.p, spec.n) == 0 &&
                 (at + spec.n == rest.n || strchr(" \t\r,>;(", rest.p[at + spec.n]) != NULL)))
            at++;
        if (spec.n == 0 || at + spec.n > rest.n)
            return false;
        ll_buf_put_slice(out, ll_slice_cut(rest, 0, at + spec.n));
        rest = ll_slice_skip(rest, at + spec.n);
        if (ll_slice_rfind(spec, '@') == spec.n) {
            ll_buf_printf(out, "@%s", domain);
            any = true;
        }
    }
    ll_buf_put_slice(out, rest);
    /* The same list, but for the domains? A name may stand in a display name or a comment too. */
    ok = any && !out->failed &&
         ll_msg_addresses(ll_buf_slice(out), &s->arena, &done, &n_done) == LL_MSG_OK && n_done == n;
    for (size_t i = 0; ok && i < n; i++)
        ok = done[i].spec.n > list[i].spec.n ? done[i].spec.p[list[i].spec.n] == '@'
                                             : ll_slice_eq(done[i].spec, list[i].spec);
    for (size_t i = 0; ok && i < n; i++)
        ok = ll_slice_rfind(done[i].spec, '@') < done[i].spec.n;
    return ok;
}

static bool has_addresses(struct ll_slice name)
{
    static const char *const fields[] = {"From", "Sender", "Reply-To", "To", "Cc", "Bcc"};
    bool has = false;

    for (size_t i = 0; i < LL_COUNT(fields); i++)
        has = has || ll_slice_caseeq(name, ll_slice_str(fields[i]));
    return has;
}

/* The header with complete addresses (RFC 6409 8, RFC 5321 2.3.5). */
static bool complete_header(struct ll_send *s, struct ll_slice header, struct ll_buf *out)
{
    struct ll_buf body = LL_BUF(2 * LL_MSG_HEADER_MAX);
    struct ll_msg_field f;
    bool changed = false;

    while (ll_msg_field_next(&header, &f)) {
        ll_buf_clear(&body);
        if (!f.bad && has_addresses(f.name) && complete_list(s, f.body, &body)) {
            ll_buf_printf(out, "%.*s:%.*s\r\n", LL_FMT(f.name), LL_FMT(ll_buf_slice(&body)));
            changed = true;
        } else {
            ll_buf_put_slice(out, f.raw);
        }
    }
    ll_buf_release(&body);
    return changed && !out->failed;
}

/* Date, Message-ID and From where they are missing; Bcc goes. The header is rebuilt, the body never
 * touched. */
static int mend_header(struct ll_send *s)
{
    struct ll_slice header, body;
    struct ll_buf fixed = LL_BUF(2 * LL_MSG_HEADER_MAX), first = LL_BUF(2 * LL_MSG_HEADER_MAX);
    struct ll_buf full = LL_BUF(2 * LL_MSG_HEADER_MAX);
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
    if (e == LL_MSG_OK && s->sendmail && complete_header(s, header, &full)) {
        header = ll_buf_slice(&full);
        changed = true;
    }
    if (e == LL_MSG_OK && facts.from == 0 && (s->from.n > 0 || s->sendmail)) {
        put_from(s, &first);
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
    ll_buf_release(&full);
    return status;
}

/* ---- addresses ------------------------------------------------------------------------------- */

/* An address; for sendmail a name without a domain gets the one of this machine's users. */
static enum ll_addr_error parse_address(const struct ll_send *s, struct ll_slice text,
                                        struct ll_mailbox *ret)
{
    const char *domain = s->local ? s->local->domain : s->own_name;
    struct ll_buf full = LL_BUF(LL_MAILBOX_MAX + 1);
    enum ll_addr_error e;

    ll_buf_put_slice(&full, text);
    if (s->sendmail && domain[0] && text.n > 0 && ll_slice_rfind(text, '@') == text.n)
        ll_buf_printf(&full, "@%s", domain);
    e = ll_mailbox_parse(full.failed ? text : ll_buf_slice(&full), true, ret);
    ll_buf_release(&full);
    return e;
}

static int add_recipient(struct ll_send *s, struct ll_slice text)
{
    struct ll_mailbox m;
    enum ll_addr_error e = parse_address(s, text, &m);
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

/* A word of sendmail's, and of who composes, may be a list, with names and comments, as in a field.
 */
static int add_list(struct ll_send *s, struct ll_slice word)
{
    struct ll_msg_address *list = NULL;
    size_t n = 0;
    int status = 0;

    if (ll_msg_addresses(word, &s->arena, &list, &n) != LL_MSG_OK)
        return ll_fail(EX_DATAERR, "%.*s: no address, and no list of them", LL_FMT(word));
    for (size_t i = 0; i < n && status == 0; i++)
        status = add_recipient(s, list[i].spec);
    return status;
}

static int take_recipients(struct ll_send *s, const struct ll_words *words)
{
    struct ll_slice header, body;
    struct ll_msg_address *list = NULL;
    size_t n = 0;
    int status = 0;

    for (size_t i = 0; i < words->n && status == 0; i++)
        status = s->sendmail || ll_send_composes(s)
                     ? add_list(s, ll_slice_str(words->v[i])) /* "Ann <ann@example.org>" */
                     : add_recipient(s, ll_slice_str(words->v[i]));
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

/* The envelope's sender: --from; for `send` the author of the letter; else the login, or who runs
 * this. */
static int take_sender(struct ll_send *s)
{
    struct ll_slice header, body, author = {NULL, 0};

    if (s->from_text && (s->from_text[0] == '\0' || strcmp(s->from_text, "<>") == 0))
        return 0;
    ll_msg_split(ll_buf_slice(&s->text), &header, &body);
    if (s->from_text && !ll_send_composes(s))
        author = ll_slice_str(s->from_text);
    else if ((s->sendmail && s->local) || ll_msg_author(header, &s->arena, &author) != LL_MSG_OK)
        author = s->account && s->account->from    ? ll_slice_str(s->account->from)
                 : s->user && strchr(s->user, '@') ? ll_slice_str(s->user)
                                                   : own_address(s);
    if (author.n > 2 && author.p[0] == '<' && author.p[author.n - 1] == '>')
        author = ll_slice_cut(author, 1, author.n - 1);
    if (parse_address(s, author, &s->from) != LL_ADDR_OK)
        return ll_fail(EX_DATAERR, "\"%.*s\" is no address to send from (--from ADDRESS)",
                       LL_FMT(author));
    return 0;
}

int ll_send_add(struct ll_send *s, struct ll_buf *text, struct ll_sent *rcpt, size_t n_rcpt)
{
    struct ll_outgoing *v = reallocarray(s->out, s->n_out + 1, sizeof(*v));
    struct ll_slice header, body;
    struct ll_msg_facts facts = {0};

    if (!v || text->failed)
        return ll_fail(EX_OSERR, "no memory");
    s->out = v;
    v = &s->out[s->n_out++];
    *v = (struct ll_outgoing){.text = *text, .rcpt = rcpt, .n_rcpt = n_rcpt};
    *text = LL_BUF(text->max);
    ll_msg_split(ll_buf_slice(&v->text), &header, &body);
    if (ll_msg_facts(header, &facts) != LL_MSG_OK)
        return ll_fail(EX_DATAERR, "the letter's header is over the limits");
    v->smtputf8 = facts.eight_bit;
    v->eightbit = facts.eight_bit || !ll_is_ascii(body);
    return 0;
}

int ll_send_letter(struct ll_send *s, const struct ll_words *words)
{
    int status;

    own_name(s->own_name, sizeof(s->own_name));
    status = take_sender(s);
    if (status == 0)
        status = take_recipients(s, words);
    return status ? status : mend_header(s);
}
