/* Fields that we write, and what a submission server puts right. See include/letterlock/msg.h. */
#include "letterlock/msg.h"

/* ---- any field ------------------------------------------------------------------------------ */

static bool body_ok(struct ll_slice body, bool utf8)
{
    for (size_t i = 0; i < body.n; i++) {
        uint8_t c = body.p[i];

        if ((c < 0x20 && c != '\t') || c == 0x7f || (c > 0x7f && !utf8))
            return false;
    }
    return !utf8 || ll_utf8_valid(body);
}

static bool name_ok(const char *name)
{
    size_t n = strlen(name);

    for (size_t i = 0; i < n; i++)
        if (name[i] <= 32 || name[i] >= 127 || name[i] == ':')
            return false;
    return n > 0 && n < LL_MSG_LINE_GOOD - 2;
}

/* The blanks and the word behind them that s begins with. */
static size_t word_length(struct ll_slice s)
{
    size_t n = 0;

    while (n < s.n && ll_is_blank(s.p[n]))
        n++;
    while (n < s.n && !ll_is_blank(s.p[n]))
        n++;
    return n;
}

bool ll_msg_field_put(struct ll_buf *out, const char *name, struct ll_slice body, bool utf8)
{
    size_t start = out->n, column = strlen(name) + 1;
    bool first = true;

    body = ll_slice_trim(body);
    if (!name_ok(name) || !body_ok(body, utf8))
        return false;
    ll_buf_puts(out, name);
    ll_buf_putc(out, ':');
    if (body.n) {
        ll_buf_putc(out, ' ');
        column++;
    }
    while (body.n) {
        size_t n = word_length(body);

        /* A line is folded before a blank: the blank goes to the next line and stays. */
        if (!first && column + n > LL_MSG_LINE_GOOD) {
            ll_buf_puts(out, "\r\n");
            column = 0;
        }
        ll_buf_put_slice(out, ll_slice_cut(body, 0, n));
        column += n;
        if (column > LL_MSG_LINE_MAX) {
            if (!out->failed)
                out->n = start;
            return false;
        }
        body = ll_slice_skip(body, n);
        first = false;
    }
    ll_buf_puts(out, "\r\n");
    if (out->failed)
        return false;
    return true;
}

void ll_msg_date_put(struct ll_buf *out, int64_t unix_s)
{
    ll_buf_puts(out, "Date: ");
    ll_time_rfc5322(out, unix_s);
    ll_buf_puts(out, "\r\n");
}

void ll_msg_id_put(struct ll_buf *out, int64_t unix_s, struct ll_slice random, struct ll_slice host)
{
    ll_buf_printf(out, "<%llx.", (unsigned long long)unix_s);
    ll_hex_encode(out, ll_slice_cut(random, 0, 16));
    ll_buf_putc(out, '@');
    ll_buf_put_slice(out, host);
    ll_buf_putc(out, '>');
}

/* ---- Received -------------------------------------------------------------------------------- */

/* Words of the field are gathered, then put on lines of at most LL_MSG_LINE_GOOD octets. */
struct received {
    struct ll_buf *out;
    size_t column;
};

/* One piece that is not broken: " " or a fold, then the text. */
static void piece(struct received *r, struct ll_slice text)
{
    if (r->column + 1 + text.n > LL_MSG_LINE_GOOD) {
        ll_buf_puts(r->out, "\r\n");
        r->column = 0;
    }
    ll_buf_putc(r->out, r->column == 0 ? '\t' : ' ');
    ll_buf_put_slice(r->out, text);
    r->column += 1 + text.n;
}

/* A word of a peer inside ours: printable, without blanks, comments, brackets, quotes. */
static void clean(struct ll_buf *to, struct ll_slice s, size_t max)
{
    for (size_t i = 0; i < s.n && i < max; i++) {
        uint8_t c = s.p[i];
        bool ok = c > 0x20 && c < 0x7f && strchr("()<>\\\",;", c) == NULL;

        ll_buf_putc(to, ok ? c : '?');
    }
}

/* RFC 5321 4.1.3: IPv6 literals carry a tag. */
static void literal(struct ll_buf *to, struct ll_slice ip)
{
    ll_buf_puts(to, ll_slice_find(ip, ':') < ip.n ? "[IPv6:" : "[");
    clean(to, ip, 64);
    ll_buf_putc(to, ']');
}

static void from_part(struct received *r, const struct ll_msg_received *m, struct ll_buf *word)
{
    if (m->hide_client || m->local)
        return;
    ll_buf_puts(word, "from ");
    if (m->helo.n)
        clean(word, m->helo, 255);
    else
        literal(word, m->ip);
    piece(r, ll_buf_slice(word));
    ll_buf_clear(word);
    ll_buf_putc(word, '(');
    if (m->rdns.n) {
        clean(word, m->rdns, 255);
        ll_buf_putc(word, ' ');
    }
    literal(word, m->ip);
    ll_buf_putc(word, ')');
    piece(r, ll_buf_slice(word));
    ll_buf_clear(word);
}

static void labelled(struct received *r, struct ll_buf *word, const char *label, struct ll_slice s)
{
    if (s.n == 0)
        return;
    ll_buf_puts(word, label);
    clean(word, s, 255);
    piece(r, ll_buf_slice(word));
    ll_buf_clear(word);
}

/* A comment behind "with", whose S it explains. */
static void tls_part(struct received *r, const struct ll_msg_received *m, struct ll_buf *word)
{
    if (m->tls_version.n == 0)
        return;
    ll_buf_puts(word, "(version=");
    clean(word, m->tls_version, 32);
    if (m->tls_cipher.n) {
        ll_buf_puts(word, " cipher=");
        clean(word, m->tls_cipher, 64);
    }
    ll_buf_putc(word, ')');
    piece(r, ll_buf_slice(word));
    ll_buf_clear(word);
}

static void local_part(struct received *r, const struct ll_msg_received *m, struct ll_buf *word)
{
    if (!m->local)
        return;
    ll_buf_printf(word, "(local uid %u)", m->uid);
    piece(r, ll_buf_slice(word));
    ll_buf_clear(word);
}

/* An address between < and >, or nothing: an odd one is not worth a broken field. */
static void for_part(struct received *r, const struct ll_msg_received *m, struct ll_buf *word)
{
    struct ll_slice a = m->recipient;

    if (a.n == 0 || a.n > 320 || !body_ok(a, m->utf8))
        return;
    for (size_t i = 0; i < a.n; i++)
        if (a.p[i] == '<' || a.p[i] == '>' || ll_is_blank(a.p[i]) || a.p[i] == '(')
            return;
    ll_buf_puts(word, "for <");
    ll_buf_put_slice(word, a);
    ll_buf_putc(word, '>');
    piece(r, ll_buf_slice(word));
    ll_buf_clear(word);
}

void ll_msg_received_put(struct ll_buf *out, const struct ll_msg_received *m)
{
    struct received r = {out, sizeof("Received:") - 1};
    struct ll_buf word = LL_BUF(1024);

    ll_buf_puts(out, "Received:");
    from_part(&r, m, &word);
    labelled(&r, &word, "by ", m->by);
    local_part(&r, m, &word);
    labelled(&r, &word, "with ", m->with);
    tls_part(&r, m, &word);
    labelled(&r, &word, "id ", m->id);
    for_part(&r, m, &word);
    ll_buf_putc(out, ';');
    r.column++;
    ll_time_rfc5322(&word, m->unix_s);
    piece(&r, ll_buf_slice(&word));
    ll_buf_puts(out, "\r\n");
    out->failed |= word.failed;
    ll_buf_release(&word);
}

/* ---- submission
 * ---------------------------------------------------------------------------------- */

/* RFC 5322 3.6.2: From is there once and names its author; several authors need a Sender. */
static enum ll_msg_error check_from(struct ll_slice header, const struct ll_msg_facts *facts)
{
    struct ll_arena arena;
    struct ll_slice spec;
    enum ll_msg_error error;

    ll_arena_init(&arena, 4 * LL_MSG_HEADER_MAX);
    error = ll_msg_author(header, &arena, &spec);
    if (error == LL_MSG_BAD_FROM && facts->sender == 1) {
        struct ll_msg_address *list = NULL;
        struct ll_msg_field f;
        size_t n = 0;

        if (ll_msg_field_find(header, LL_LIT("From"), &f) &&
            ll_msg_addresses(f.body, &arena, &list, &n) == LL_MSG_OK && n > 1)
            error = LL_MSG_OK;
    }
    ll_arena_release(&arena);
    return error;
}

static bool dropped(const struct ll_msg_field *f, const struct ll_msg_fixup *fix)
{
    if (!fix->keep_bcc &&
        (ll_slice_caseeq(f->name, LL_LIT("Bcc")) || ll_slice_caseeq(f->name, LL_LIT("Resent-Bcc"))))
        return true;
    if (fix->sender.n > 0 && ll_slice_caseeq(f->name, LL_LIT("Sender")))
        return true;
    return ll_slice_caseeq(f->name, LL_LIT("Return-Path"));
}

enum ll_msg_error ll_msg_fixup(struct ll_slice header, const struct ll_msg_fixup *fix,
                               struct ll_buf *out, bool *ret_changed)
{
    struct ll_msg_facts facts;
    struct ll_msg_field f;
    enum ll_msg_error error = ll_msg_facts(header, &facts);
    bool add_id;

    if (error != LL_MSG_OK)
        return error;
    if (facts.bad)
        return LL_MSG_BAD_LINE;
    error = check_from(header, &facts);
    if (error != LL_MSG_OK)
        return error;
    add_id = facts.message_id == 0;
    if (facts.date && !add_id && !facts.return_path && (!facts.bcc || fix->keep_bcc) &&
        fix->sender.n == 0) {
        *ret_changed = false;
        return LL_MSG_OK;
    }
    while (ll_msg_field_next(&header, &f)) {
        if (dropped(&f, fix))
            continue;
        ll_buf_put_slice(out, f.raw);
        if (f.raw.p[f.raw.n - 1] != '\n')
            ll_buf_puts(out, "\r\n"); /* the last line of a letter without a body */
    }
    if (fix->sender.n > 0 && !ll_msg_field_put(out, "Sender", fix->sender, true))
        return LL_MSG_RESOURCE;
    if (!facts.date)
        ll_msg_date_put(out, fix->unix_s);
    if (add_id) {
        ll_buf_puts(out, "Message-ID: ");
        ll_msg_id_put(out, fix->unix_s, fix->random, fix->host);
        ll_buf_puts(out, "\r\n");
    }
    if (out->failed)
        return LL_MSG_RESOURCE;
    *ret_changed = true;
    return LL_MSG_OK;
}

/* ---- local text to wire form
 * ------------------------------------------------------------------------ */

static enum ll_msg_error wire_line(struct ll_msg_wire *w, struct ll_slice line, bool ended,
                                   struct ll_buf *out)
{
    size_t cr;

    if (w->cr && line.n)
        return LL_MSG_BARE_CR;
    if (line.n && memchr(line.p, 0, line.n))
        return LL_MSG_NUL;
    cr = ll_slice_find(line, '\r');
    if (cr + 1 < line.n)
        return LL_MSG_BARE_CR;
    w->cr = !ended && (cr < line.n || w->cr);
    ll_buf_put_slice(out, ll_slice_cut(line, 0, cr));
    if (ended)
        ll_buf_puts(out, "\r\n");
    w->mid_line = !ended && (w->mid_line || line.n);
    return out->failed ? LL_MSG_RESOURCE : LL_MSG_OK;
}

enum ll_msg_error ll_msg_to_wire(struct ll_msg_wire *w, struct ll_slice in, struct ll_buf *out)
{
    while (in.n) {
        size_t at = ll_slice_find(in, '\n');
        enum ll_msg_error error = wire_line(w, ll_slice_cut(in, 0, at), at < in.n, out);

        if (error != LL_MSG_OK)
            return error;
        in = ll_slice_skip(in, at + 1);
    }
    return LL_MSG_OK;
}

enum ll_msg_error ll_msg_to_wire_end(struct ll_msg_wire *w, struct ll_buf *out)
{
    if (w->cr)
        return LL_MSG_BARE_CR;
    if (w->mid_line)
        ll_buf_puts(out, "\r\n");
    *w = (struct ll_msg_wire){0};
    return out->failed ? LL_MSG_RESOURCE : LL_MSG_OK;
}
