/* The tree of a letter's parts. See include/letterlock/mime.h. */
#include "letterlock/mime.h"
#include "letterlock/msg.h"

#include <stdlib.h>

static const char *const error_texts[] = {
#define LL_MIME_ROW(id, text) [LL_MIME_##id] = (text),
    LL_MIME_ERRORS(LL_MIME_ROW)
#undef LL_MIME_ROW
};

const char *ll_mime_error_text(enum ll_mime_error error)
{
    return error_texts[(size_t)error < LL_COUNT(error_texts) ? error : LL_MIME_RESOURCE];
}

static const char *const encoding_words[] = {
#define LL_MIME_ROW(id, word) [LL_MIME_##id##_ENCODING] = (word),
    LL_MIME_ENCODINGS(LL_MIME_ROW)
#undef LL_MIME_ROW
};

/* What is open: a part that is being read and the multiparts around it whose delimiters may come.
 * Boundaries are compared innermost first (RFC 2046 5.1.2: an outer one ends all within). */
struct reader {
    struct ll_slice in;
    struct ll_arena *arena;
    struct ll_mime_part *part; /* heap while it grows */
    size_t n, room;
    uint16_t now;       /* the part whose lines come */
    bool in_header;     /* its header is not over yet */
    size_t header_from; /* where that began */
    struct {
        uint16_t part;
        uint16_t last; /* its youngest child */
        bool over;     /* its close-delimiter was seen */
        struct ll_slice boundary;
    } open[LL_MIME_DEPTH_MAX + 1];
    size_t n_open;
    enum ll_mime_error error;
};

static struct ll_slice span(const struct reader *r, const uint8_t *from, size_t to)
{
    const uint8_t *end = r->in.p + to;

    return ll_slice(from, end > from ? (size_t)(end - from) : 0);
}

/* ---- headers ------------------------------------------------------------------------------------
 */

bool ll_mime_is(const struct ll_mime_part *p, const char *type, const char *subtype)
{
    return ll_slice_caseeq(p->type.type, ll_slice_str(type)) &&
           (!subtype || ll_slice_caseeq(p->type.subtype, ll_slice_str(subtype)));
}

static void default_type(const struct reader *r, struct ll_mime_part *p)
{
    const struct ll_mime_part *parent = p->parent == LL_MIME_NONE ? NULL : &r->part[p->parent];

    p->type = (struct ll_mime_value){.type = LL_LIT("text"), .subtype = LL_LIT("plain")};
    /* RFC 2046 5.1.5 */
    if (parent && ll_mime_is(parent, "multipart", "digest"))
        p->type = (struct ll_mime_value){.type = LL_LIT("message"), .subtype = LL_LIT("rfc822")};
}

static enum ll_mime_encoding read_encoding(struct ll_slice body, struct ll_arena *arena)
{
    struct ll_mime_value v;

    if (ll_mime_value(body, arena, &v))
        for (size_t i = 0; i < LL_MIME_UNKNOWN_ENCODING; i++)
            if (ll_slice_caseeq(v.type, ll_slice_str(encoding_words[i])))
                return (enum ll_mime_encoding)i;
    return LL_MIME_UNKNOWN_ENCODING;
}

static void read_fields(struct reader *r, struct ll_mime_part *p)
{
    struct ll_slice rest = p->header;
    bool have_type = false, have_encoding = false;
    struct ll_msg_field f;
    size_t n = 0;

    default_type(r, p);
    if (p->header.n > LL_MSG_HEADER_MAX)
        r->error = LL_MIME_HEADER;
    while (!r->error && ll_msg_field_next(&rest, &f)) {
        bool type = !f.bad && ll_slice_caseeq(f.name, LL_LIT("Content-Type"));
        bool encoding = !f.bad && ll_slice_caseeq(f.name, LL_LIT("Content-Transfer-Encoding"));

        if (++n > LL_MSG_FIELDS_MAX)
            r->error = LL_MIME_HEADER;
        if ((type && have_type) || (encoding && have_encoding)) {
            p->flags |= LL_MIME_TWICE;
        } else if (type) {
            have_type = true;
            if (!ll_mime_value(f.body, r->arena, &p->type) || p->type.subtype.n == 0) {
                p->type =
                    (struct ll_mime_value){.type = LL_LIT("text"), .subtype = LL_LIT("plain")};
                p->flags |= LL_MIME_BAD_TYPE;
            }
        } else if (encoding) {
            have_encoding = true;
            p->encoding = (uint8_t)read_encoding(f.body, r->arena);
            if (p->encoding == LL_MIME_UNKNOWN_ENCODING)
                p->flags |= LL_MIME_BAD_ENCODING;
        }
    }
}

/* ---- opening and closing ------------------------------------------------------------------------
 */

static void append_child(struct reader *r, uint16_t child)
{
    size_t top = r->n_open - 1;
    struct ll_mime_part *parent = &r->part[r->open[top].part];

    if (r->open[top].last == LL_MIME_NONE)
        parent->child = child;
    else
        r->part[r->open[top].last].next = child;
    r->open[top].last = child;
    parent->n_children++;
}

/* A part begins at `from`, within the innermost open one. */
static void open_part(struct reader *r, size_t from)
{
    struct ll_mime_part p = {.parent = r->n_open ? r->open[r->n_open - 1].part : LL_MIME_NONE,
                             .next = LL_MIME_NONE,
                             .child = LL_MIME_NONE,
                             .depth = (uint8_t)r->n_open};

    if (r->n == LL_MIME_PARTS_MAX || r->n_open > LL_MIME_DEPTH_MAX) {
        r->error = r->n == LL_MIME_PARTS_MAX ? LL_MIME_PARTS : LL_MIME_DEPTH;
        return;
    }
    if (r->n == r->room) {
        size_t room = r->room ? r->room * 2 : 8;
        struct ll_mime_part *grown = realloc(r->part, room * sizeof(*grown));

        if (!grown) {
            r->error = LL_MIME_RESOURCE;
            return;
        }
        r->part = grown;
        r->room = room;
    }
    p.whole = ll_slice(r->in.p + from, 0);
    p.header = p.body = p.whole;
    r->now = (uint16_t)r->n;
    r->part[r->n++] = p;
    if (r->n_open)
        append_child(r, r->now);
    r->in_header = true;
    r->header_from = from;
}

static void push(struct reader *r, uint16_t part, struct ll_slice boundary)
{
    r->open[r->n_open].part = part;
    r->open[r->n_open].last = LL_MIME_NONE;
    r->open[r->n_open].over = false;
    r->open[r->n_open++].boundary = boundary;
}

/* RFC 2046 5.1.1: 1 to 70 octets that do not end in a space. */
static bool boundary_ok(const struct ll_mime_param *p)
{
    return p && p->value.n > 0 && p->value.n <= LL_MIME_BOUNDARY_MAX &&
           p->value.p[p->value.n - 1] != ' ' && ll_slice_find(p->value, '\r') == p->value.n;
}

/* The header is over, the content begins at `from`: what kind of content is it? */
static void begin_body(struct reader *r, size_t header_end, size_t from)
{
    struct ll_mime_part *p = &r->part[r->now];
    bool plain;

    r->in_header = false;
    p->header = span(r, r->in.p + r->header_from, header_end);
    p->body = ll_slice(r->in.p + from, 0);
    read_fields(r, p);
    if (r->error)
        return;
    plain = p->encoding <= LL_MIME_BINARY_ENCODING;
    if (ll_mime_is(p, "multipart", NULL)) {
        const struct ll_mime_param *boundary = ll_mime_param(&p->type, "boundary");

        /* RFC 2045 6.4 forbids it; what lies there in clear is read as everybody reads it. */
        if (!plain)
            p->flags |= LL_MIME_BAD_ENCODING;
        if (!boundary_ok(boundary)) {
            p->flags |= LL_MIME_NO_BOUNDARY;
            return;
        }
        p->flags |= LL_MIME_MULTIPART;
        push(r, r->now, boundary->value);
    } else if (plain &&
               (ll_mime_is(p, "message", "rfc822") || ll_mime_is(p, "message", "global"))) {
        p->flags |= LL_MIME_MESSAGE;
        push(r, r->now, (struct ll_slice){0});
        open_part(r, from);
    }
}

/* A header is over without its empty line; the part has no content. A message there has a letter
 * without header in it. */
static void cut_header(struct reader *r, size_t header_end)
{
    begin_body(r, header_end, header_end);
    while (r->in_header && !r->error)
        begin_body(r, header_end, header_end);
}

/* Everything that is open above `keep` ends before `end`. */
static void close_down_to(struct reader *r, size_t keep, size_t end)
{
    for (uint16_t at = r->now; !r->error;) {
        struct ll_mime_part *p = &r->part[at];
        bool is_open = r->n_open > 0 && r->open[r->n_open - 1].part == at;

        if (is_open && r->n_open <= keep)
            return;
        p->whole = span(r, p->whole.p, end);
        p->body = span(r, p->body.p, end);
        if (is_open) {
            if ((p->flags & LL_MIME_MULTIPART) && !r->open[r->n_open - 1].over)
                p->flags |= LL_MIME_UNCLOSED;
            r->n_open--;
        }
        if (p->parent == LL_MIME_NONE)
            return;
        at = r->now = p->parent;
    }
}

/* ---- lines --------------------------------------------------------------------------------------
 */

/* Does a line (without CR LF) that begins with "--" delimit with this boundary? Exact but for
 * blanks behind it, so that one boundary that begins another is told from it. */
static bool delimits(struct ll_slice line, struct ll_slice boundary, bool *ret_close)
{
    struct ll_slice rest = ll_slice_skip(line, 2);

    if (boundary.n == 0 || !ll_slice_starts(rest, boundary))
        return false;
    rest = ll_slice_skip(rest, boundary.n);
    *ret_close = ll_slice_starts(rest, LL_LIT("--"));
    if (*ret_close)
        rest = ll_slice_skip(rest, 2);
    return ll_slice_trim(rest).n == 0;
}

/* A line beginning with "--" at `from`: true where it was a delimiter. */
static bool take_delimiter(struct reader *r, size_t from, struct ll_slice line, size_t next)
{
    size_t before = from >= 2 ? from - 2 : 0; /* the CR LF is the delimiter's */

    for (size_t i = r->n_open; i-- > 0;) {
        bool close;

        if (r->open[i].over || !delimits(line, r->open[i].boundary, &close))
            continue;
        if (r->in_header)
            cut_header(r, from);
        if (!r->error)
            close_down_to(r, i + 1, before);
        if (r->error)
            return true;
        r->now = r->open[i].part;
        r->open[i].over = close;
        if (!close)
            open_part(r, next);
        return true;
    }
    return false;
}

/* Where the line at `at` ends, and the next one begins: at a CR LF, nothing else. */
static size_t line_end(struct ll_slice in, size_t at, size_t *ret_next)
{
    for (size_t i = at; i < in.n;) {
        const uint8_t *lf = memchr(in.p + i, '\n', in.n - i);

        if (!lf)
            break;
        i = (size_t)(lf - in.p) + 1;
        if (i - at >= 2 && lf[-1] == '\r') {
            *ret_next = i;
            return i - 2;
        }
    }
    *ret_next = in.n;
    return in.n;
}

static void read_lines(struct reader *r)
{
    size_t next;

    for (size_t at = 0; at < r->in.n && !r->error; at = next) {
        struct ll_slice line = ll_slice_cut(r->in, at, line_end(r->in, at, &next));

        if (r->n_open && ll_slice_starts(line, LL_LIT("--")) && take_delimiter(r, at, line, next))
            continue;
        if (r->in_header && line.n == 0)
            begin_body(r, at, next);
    }
}

enum ll_mime_error ll_mime_parse(struct ll_slice letter, struct ll_arena *arena,
                                 struct ll_mime *ret)
{
    struct reader r = {.in = letter.p ? letter : LL_LIT(""), .arena = arena};
    struct ll_mime m;

    open_part(&r, 0);
    if (!r.error)
        read_lines(&r);
    if (!r.error && r.in_header)
        cut_header(&r, r.in.n);
    if (!r.error)
        close_down_to(&r, 0, r.in.n);
    m = (struct ll_mime){.n = r.n};
    if (!r.error) {
        m.part = ll_arena_alloc(arena, r.n * sizeof(*m.part));
        if (m.part)
            memcpy(m.part, r.part, r.n * sizeof(*m.part));
        else
            r.error = LL_MIME_RESOURCE;
    }
    free(r.part);
    if (!r.error)
        *ret = m;
    return r.error;
}

bool ll_mime_filename(const struct ll_mime_part *p, struct ll_arena *arena,
                      struct ll_mime_param *ret)
{
    const struct ll_mime_param *found = NULL;
    struct ll_mime_value v;
    struct ll_msg_field f;

    if (ll_msg_field_find(p->header, LL_LIT("Content-Disposition"), &f) &&
        ll_mime_value(f.body, arena, &v))
        found = ll_mime_param(&v, "filename");
    if (!found)
        found = ll_mime_param(&p->type, "name");
    if (found)
        *ret = *found;
    return found != NULL;
}
