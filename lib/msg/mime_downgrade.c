/* A letter for a server without 8BITMIME (RFC 6152 3), or safe for signing (RFC 3156 5). See
 * include/letterlock/mime.h. */
#include "compose_write.h"
#include "letterlock/mime.h"
#include "letterlock/msg.h"

struct writer {
    const struct ll_mime *mime;
    struct ll_buf *out;
    const uint8_t *at; /* how far the original has been dealt with */
    bool safe;         /* for signing, not only 7-bit */
    bool exact;        /* what comes next lies in or behind a signed part: no octet may change */
};

/* Preambles and epilogues: nobody shows them (RFC 2046 5.1.1), but they must not hold octets above
 * 127 either. Delimiters lie in between. */
static void put_between(struct writer *w, const uint8_t *to)
{
    bool tidy = w->safe && !w->exact;

    while (w->at < to) {
        const uint8_t *end = w->at;

        while (tidy && end < to && ll_is_blank(*end))
            end++;
        if (end > w->at) { /* padding of a delimiter, or a preamble's: goes at the end of a line */
            if (end == to || *end != '\r')
                ll_buf_put(w->out, w->at, (size_t)(end - w->at));
            w->at = end;
            continue;
        }
        if (tidy && w->out->n && w->out->p[w->out->n - 1] == '\n' &&
            ll_slice_starts(ll_slice(w->at, (size_t)(to - w->at)), LL_LIT("From ")))
            ll_buf_putc(w->out, '>');
        ll_buf_putc(w->out, *w->at > 127 ? '?' : *w->at);
        w->at++;
    }
}

/* Nothing within may be changed (RFC 1847). */
static bool seals(const struct ll_mime_part *p)
{
    return ll_mime_is(p, "multipart", "signed") || ll_mime_is(p, "multipart", "encrypted");
}

static bool is_sealed(const struct ll_mime *m, const struct ll_mime_part *p)
{
    while (p->parent != LL_MIME_NONE) {
        p = &m->part[p->parent];
        if (seals(p))
            return true;
    }
    return false;
}

static bool is_text(const struct ll_mime_part *p)
{
    return ll_mime_is(p, "text", NULL) || ll_mime_is(p, "message", NULL);
}

static void put_field(struct writer *w, const struct ll_msg_field *f)
{
    if (!w->safe)
        ll_buf_put_slice(w->out, f->raw);
    else if (f->bad || !ll_compose_field_to_ascii(w->out, f))
        ll_compose_put_fields(w->out, f->raw);
}

/* The header with another transfer encoding, and with what a part without type needs now. */
static void put_header(struct writer *w, const struct ll_mime_part *p, const char *encoding)
{
    struct ll_slice rest = p->header;
    bool type = false, version = p->depth > 0, done = false;
    struct ll_msg_field f;

    while (ll_msg_field_next(&rest, &f)) {
        type |= !f.bad && ll_slice_caseeq(f.name, LL_LIT("Content-Type"));
        version |= !f.bad && ll_slice_caseeq(f.name, LL_LIT("MIME-Version"));
        if (f.bad || !ll_slice_caseeq(f.name, LL_LIT("Content-Transfer-Encoding")))
            put_field(w, &f);
        else if (!done)
            ll_buf_printf(w->out, "Content-Transfer-Encoding: %s\r\n", encoding);
        done |= !f.bad && ll_slice_caseeq(f.name, LL_LIT("Content-Transfer-Encoding"));
    }
    if (!version)
        ll_buf_puts(w->out, "MIME-Version: 1.0\r\n");
    /* RFC 1428: what it is nobody said; but what is well-formed UTF-8 is hardly anything else. */
    if (!type)
        ll_buf_printf(w->out, "Content-Type: text/plain; charset=%s\r\n",
                      ll_utf8_valid(p->body) ? "utf-8" : "unknown-8bit");
    if (!done)
        ll_buf_printf(w->out, "Content-Transfer-Encoding: %s\r\n", encoding);
}

static enum ll_mime_error put_leaf(struct writer *w, const struct ll_mime_part *p)
{
    bool quoted = is_text(p);
    struct ll_buf plain = LL_BUF(p->body.n + 1);

    if (p->encoding == LL_MIME_UNKNOWN_ENCODING ||
        (p->encoding == LL_MIME_BASE64_ENCODING && !w->safe))
        return LL_MIME_BINARY;
    ll_mime_decode((enum ll_mime_encoding)p->encoding, p->body, &plain);
    put_header(w, p, quoted ? "quoted-printable" : "base64");
    w->at = p->header.p + p->header.n;
    put_between(w, p->body.p);
    if (quoted)
        ll_mime_qp_encode(w->out, ll_buf_slice(&plain));
    else
        ll_mime_base64_encode(w->out, ll_buf_slice(&plain));
    ll_buf_release(&plain);
    w->at = p->body.p + p->body.n;
    return LL_MIME_OK;
}

/* May this content stand as it is? */
static bool is_fine(const struct writer *w, const struct ll_mime_part *p)
{
    return w->safe ? ll_compose_safe(p->body, LL_MSG_LINE_MAX) : ll_is_ascii(p->body);
}

static void put_header_as_is(struct writer *w, const struct ll_mime_part *p)
{
    struct ll_slice rest = p->header;
    struct ll_msg_field f;

    if (!w->safe)
        ll_buf_put_slice(w->out, p->header);
    else
        while (ll_msg_field_next(&rest, &f))
            put_field(w, &f);
    w->at = p->header.p + p->header.n;
}

static enum ll_mime_error put_letter(struct writer *w, struct ll_slice letter)
{
    const struct ll_mime *m = w->mime;
    enum ll_mime_error error = LL_MIME_OK;

    for (size_t i = 0; i < m->n && !error; i++) {
        const struct ll_mime_part *p = &m->part[i];
        bool whole = p->flags & (LL_MIME_MULTIPART | LL_MIME_MESSAGE);
        bool eight = p->encoding == LL_MIME_8BIT_ENCODING || p->encoding == LL_MIME_BINARY_ENCODING;
        bool sealed = is_sealed(m, p);

        if (p->whole.n == 0)
            continue;
        if (seals(p) && !ll_is_ascii(p->body))
            return LL_MIME_SIGNED;
        w->exact |= sealed;
        put_between(w, p->header.p);
        w->exact = sealed;
        if (sealed) {
            ll_buf_put_slice(w->out, p->header);
            w->at = p->header.p + p->header.n;
        } else if (!whole && !is_fine(w, p)) {
            error = put_leaf(w, p);
        } else if (eight && (whole || w->safe)) {
            put_header(w, p, "7bit");
            w->at = p->header.p + p->header.n;
        } else {
            put_header_as_is(w, p);
        }
    }
    if (!error)
        put_between(w, letter.p + letter.n);
    return error ? error : w->out->failed ? LL_MIME_RESOURCE : LL_MIME_OK;
}

enum ll_mime_error ll_mime_to_7bit(struct ll_slice letter, const struct ll_mime *m,
                                   struct ll_buf *out)
{
    struct writer w = {.mime = m, .out = out, .at = letter.p};

    return put_letter(&w, letter);
}

enum ll_mime_error ll_mime_to_safe(struct ll_slice letter, const struct ll_mime *m,
                                   struct ll_buf *out)
{
    struct writer w = {.mime = m, .out = out, .at = letter.p, .safe = true};

    return put_letter(&w, letter);
}
