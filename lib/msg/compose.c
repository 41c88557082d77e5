/* The content of a letter that starts here. See include/letterlock/compose.h. */
#include "compose_write.h"
#include "letterlock/mime.h"
#include "letterlock/msg.h"

#define BOUNDARY_MAX (sizeof("=_") - 1 + 2 * LL_COMPOSE_RANDOM + 8)

struct writer {
    const struct ll_compose *c;
    struct ll_buf *out;
    unsigned boundaries; /* made so far */
};

struct boundary {
    char text[BOUNDARY_MAX];
};

/* ---- text ---------------------------------------------------------------------------------------
 */

bool ll_compose_safe(struct ll_slice s, size_t line)
{
    while (s.n) {
        size_t lf = ll_slice_find(s, '\n');
        struct ll_slice l = ll_slice_cut(s, 0, lf);

        if (lf < s.n) {
            if (l.n == 0 || l.p[l.n - 1] != '\r')
                return false;
            l.n--;
        }
        if (l.n > line || !ll_is_ascii(l) ||
            (l.n && (memchr(l.p, 0, l.n) || memchr(l.p, '\r', l.n))))
            return false;
        if ((l.n && ll_is_blank(l.p[l.n - 1])) || ll_slice_starts(l, LL_LIT("From ")))
            return false;
        s = ll_slice_skip(s, lf + 1);
    }
    return true;
}

void ll_compose_put_text(struct ll_buf *out, struct ll_slice text)
{
    size_t odd = 0;

    if (ll_compose_safe(text, LL_MSG_LINE_GOOD)) {
        ll_buf_puts(out, "Content-Transfer-Encoding: 7bit\r\n\r\n");
        ll_buf_put_slice(out, text);
        return;
    }
    for (size_t i = 0; i < text.n; i++)
        odd += text.p[i] > 126 || text.p[i] == '=' || text.p[i] < 9;
    /* Quoted-printable takes 3 octets for an odd one, base64 4 for 3 of any kind. */
    if (odd <= text.n / 6) {
        ll_buf_puts(out, "Content-Transfer-Encoding: quoted-printable\r\n\r\n");
        ll_mime_qp_encode(out, text);
    } else {
        ll_buf_puts(out, "Content-Transfer-Encoding: base64\r\n\r\n");
        ll_mime_base64_encode(out, text);
    }
}

/* The caller's text with CR LF, and one at its end. */
static enum ll_compose_error wire_text(struct ll_slice text, struct ll_buf *wire)
{
    if (text.n && memchr(text.p, 0, text.n))
        return LL_COMPOSE_CONTROL;
    if (!ll_utf8_valid(text))
        return LL_COMPOSE_UTF8;
    for (size_t i = 0; i < text.n; i++) {
        bool crlf = text.p[i] == '\r' && i + 1 < text.n && text.p[i + 1] == '\n';

        if (text.p[i] != '\n' && text.p[i] != '\r') {
            ll_buf_putc(wire, text.p[i]);
            continue;
        }
        ll_buf_puts(wire, "\r\n");
        i += crlf;
    }
    if (text.n && wire->n && wire->p[wire->n - 1] != '\n')
        ll_buf_puts(wire, "\r\n");
    return wire->failed ? LL_COMPOSE_RESOURCE : LL_COMPOSE_OK;
}

static enum ll_compose_error put_text(struct writer *w, struct ll_slice text, bool html)
{
    struct ll_buf wire = LL_BUF(2 * text.n + 2), flowed = LL_BUF(4 * text.n + 64);
    enum ll_compose_error e = wire_text(text, &wire);

    if (!e && w->c->flowed && !html) {
        ll_flowed_encode(ll_buf_slice(&wire), &flowed);
        ll_buf_puts(w->out, "Content-Type: text/plain; charset=utf-8; format=flowed\r\n");
        ll_compose_put_text(w->out, ll_buf_slice(&flowed));
    } else if (!e) {
        ll_buf_printf(w->out, "Content-Type: text/%s; charset=utf-8\r\n", html ? "html" : "plain");
        ll_compose_put_text(w->out, ll_buf_slice(&wire));
    }
    w->out->failed |= flowed.failed;
    ll_buf_release(&wire);
    ll_buf_release(&flowed);
    return e;
}

/* ---- multiparts
 * -----------------------------------------------------------------------------------
 */

/* "=_" stands in no quoted-printable and no base64 text (RFC 2045 6.7). */
static void multipart_begin(struct writer *w, const char *subtype, struct boundary *b)
{
    struct ll_buf text = LL_BUF(BOUNDARY_MAX);
    const char *s;

    ll_buf_puts(&text, "=_");
    ll_hex_encode(&text, ll_slice(w->c->random, LL_COMPOSE_RANDOM));
    ll_buf_printf(&text, ".%u", w->boundaries++);
    s = ll_buf_str(&text);
    w->out->failed |= !s;
    if (s)
        memcpy(b->text, s, text.n + 1);
    ll_buf_release(&text);
    ll_buf_printf(w->out, "Content-Type: multipart/%s;\r\n boundary=\"%s\"\r\n\r\n", subtype,
                  b->text);
}

/* RFC 2046 5.1.1: the CR LF before a delimiter is the delimiter's own. */
static void put_delimiter(struct writer *w, const struct boundary *b, bool first)
{
    ll_buf_printf(w->out, "%s--%s\r\n", first ? "" : "\r\n", b->text);
}

static void multipart_end(struct writer *w, const struct boundary *b)
{
    ll_buf_printf(w->out, "\r\n--%s--\r\n", b->text);
}

/* ---- attachments
 * ------------------------------------------------------------------------------------
 */

static bool is_type(struct ll_slice s)
{
    size_t slash = ll_slice_find(s, '/');

    for (size_t i = 0; i < s.n; i++)
        if (i != slash && (s.p[i] <= 0x20 || s.p[i] >= 0x7f || strchr("()<>@,;:\\\"[]?=/", s.p[i])))
            return false;
    return s.n <= 127 && slash > 0 && slash + 1 < s.n &&
           !ll_slice_casestarts(s, LL_LIT("multipart/"));
}

/* name= in Content-Type, where filename= will be in the form of RFC 2231. */
static enum ll_compose_error put_stand_in(struct ll_buf *out, struct ll_slice name)
{
    struct ll_buf plain = LL_BUF(LL_COMPOSE_NAME_MAX);
    struct ll_slice none = {0};
    enum ll_compose_error e = ll_compose_stand_in(&plain, name);

    if (!e && !ll_slice_eq(ll_buf_slice(&plain), name))
        e = ll_compose_param(out, "name", ll_buf_slice(&plain), none);
    ll_buf_release(&plain);
    return e;
}

static enum ll_compose_error put_part_fields(struct ll_buf *out, const struct ll_compose_part *p,
                                             struct ll_slice type)
{
    struct ll_slice none = {0}, charset = p->charset;
    enum ll_compose_error e = ll_compose_field_begin(out, "Content-Type", type);

    if (charset.n == 0 && ll_slice_casestarts(type, LL_LIT("text/")) && !ll_is_ascii(p->octets) &&
        ll_utf8_valid(p->octets))
        charset = LL_LIT("utf-8");

    if (!e && charset.n)
        e = ll_compose_param(out, "charset", charset, none);
    if (!e)
        e = put_stand_in(out, p->name);
    ll_buf_puts(out, "\r\n");
    if (!e)
        e = ll_compose_field_begin(out, "Content-Disposition",
                                   p->is_inline ? LL_LIT("inline") : LL_LIT("attachment"));
    if (!e && p->name.n)
        e = ll_compose_param(out, "filename", p->name, none);
    ll_buf_puts(out, "\r\n");
    if (!e && p->description.n)
        e = ll_compose_field_text(out, "Content-Description", p->description);
    if (!e && p->id.n) {
        for (size_t i = 0; i < p->id.n; i++)
            if (p->id.p[i] <= 0x20 || p->id.p[i] >= 0x7f || p->id.p[i] == '<' || p->id.p[i] == '>')
                return LL_COMPOSE_CONTROL;
        ll_buf_puts(out, "Content-ID: <");
        ll_buf_put_slice(out, p->id);
        ll_buf_puts(out, ">\r\n");
    }
    return e;
}

/* A letter that is passed on may not be encoded as a whole (RFC 2046 5.2.1): its own parts are.
 * false: they cannot. */
static bool put_message(struct ll_buf *out, struct ll_slice letter)
{
    struct ll_buf safe = LL_BUF(4 * letter.n + (1u << 16));
    struct ll_arena arena;
    struct ll_mime m;
    bool ok;

    ll_arena_init(&arena, 16u << 20);
    ok = ll_mime_parse(letter, &arena, &m) == LL_MIME_OK &&
         ll_mime_to_safe(letter, &m, &safe) == LL_MIME_OK && ll_is_ascii(ll_buf_slice(&safe));
    if (ok) {
        ll_buf_puts(out, "Content-Transfer-Encoding: 7bit\r\n\r\n");
        ll_buf_put_slice(out, ll_buf_slice(&safe));
    }
    ll_buf_release(&safe);
    ll_arena_release(&arena);
    return ok;
}

static enum ll_compose_error put_part(struct writer *w, const struct ll_compose_part *p)
{
    struct ll_slice type = p->type.n ? p->type : LL_LIT("application/octet-stream");
    enum ll_compose_error e;

    if (!is_type(type))
        return LL_COMPOSE_TYPE;
    if (ll_slice_caseeq(type, LL_LIT("message/rfc822"))) {
        size_t start = w->out->n;

        e = put_part_fields(w->out, p, type);
        if (e || put_message(w->out, p->octets))
            return e;
        w->out->n = start;
    }
    /* No message/ type may be encoded; what cannot go as it is goes as octets. */
    if (ll_slice_casestarts(type, LL_LIT("message/")))
        type = LL_LIT("application/octet-stream");
    e = put_part_fields(w->out, p, type);
    if (e)
        return e;
    if (ll_slice_casestarts(type, LL_LIT("text/")) &&
        ll_compose_safe(p->octets, LL_MSG_LINE_GOOD)) {
        ll_compose_put_text(w->out, p->octets);
    } else {
        ll_buf_puts(w->out, "Content-Transfer-Encoding: base64\r\n\r\n");
        ll_mime_base64_encode(w->out, p->octets);
    }
    return LL_COMPOSE_OK;
}

/* Inline parts with an id belong to the HTML that names them (RFC 2387). */
static bool is_related(const struct ll_compose *c, const struct ll_compose_part *p)
{
    return c->html.n && p->is_inline && p->id.n;
}

static size_t count(const struct ll_compose *c, bool related)
{
    size_t n = 0;

    for (size_t i = 0; i < c->n_part; i++)
        n += is_related(c, &c->part[i]) == related;
    return n;
}

static enum ll_compose_error put_parts(struct writer *w, const struct boundary *b, bool related)
{
    enum ll_compose_error e = LL_COMPOSE_OK;

    for (size_t i = 0; i < w->c->n_part && !e; i++) {
        if (is_related(w->c, &w->c->part[i]) != related)
            continue;
        put_delimiter(w, b, false);
        e = put_part(w, &w->c->part[i]);
    }
    return e;
}

static enum ll_compose_error put_html(struct writer *w)
{
    struct boundary b;
    enum ll_compose_error e;

    if (!count(w->c, true))
        return put_text(w, w->c->html, true);
    multipart_begin(w, "related", &b);
    put_delimiter(w, &b, true);
    e = put_text(w, w->c->html, true);
    if (!e)
        e = put_parts(w, &b, true);
    multipart_end(w, &b);
    return e;
}

static enum ll_compose_error put_body(struct writer *w)
{
    struct boundary b;
    enum ll_compose_error e;

    if (w->c->entity.n) {
        ll_buf_put_slice(w->out, w->c->entity);
        return LL_COMPOSE_OK;
    }
    if (!w->c->html.n)
        return put_text(w, w->c->text, false);
    if (!w->c->text.n)
        return put_html(w);
    multipart_begin(w, "alternative", &b);
    put_delimiter(w, &b, true);
    e = put_text(w, w->c->text, false);
    if (e)
        return e;
    put_delimiter(w, &b, false);
    e = put_html(w);
    multipart_end(w, &b);
    return e;
}

enum ll_compose_error ll_compose_entity(const struct ll_compose *c, struct ll_buf *out)
{
    struct writer w = {.c = c, .out = out};
    size_t start = out->n;
    struct boundary b;
    enum ll_compose_error e;

    if (c->n_part > LL_COMPOSE_PARTS_MAX || (!c->random && (c->n_part || (c->html.n && c->text.n))))
        return LL_COMPOSE_PARTS;
    if (!count(c, false)) {
        e = put_body(&w);
        return ll_compose_done(out, start, e);
    }
    multipart_begin(&w, "mixed", &b);
    put_delimiter(&w, &b, true);
    e = put_body(&w);
    if (!e)
        e = put_parts(&w, &b, false);
    multipart_end(&w, &b);
    return ll_compose_done(out, start, e);
}
