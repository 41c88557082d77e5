/* See tool/read/page.h. */
#include "tool/read/page.h"

#define REPLACEMENT "\xef\xbf\xbd"
#define TAB         8

/* ---- characters ---------------------------------------------------------------------------------
 */

/* The character at the front of s, and its octets; 0 octets: no UTF-8 there. */
static size_t take(struct ll_slice s, uint32_t *ret)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t c = s.p[0];
    size_t n = c < 0x80 ? 1 : c >= 0xf0 && c < 0xf8 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 0;
    uint32_t v = n == 1 ? c : c & (0x7fu >> n);

    if (n == 0 || n > s.n || c >= 0xf8)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((s.p[i] & 0xc0) != 0x80)
            return 0;
        v = v << 6 | (s.p[i] & 0x3fu);
    }
    if (v < least[n] || v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
        return 0;
    *ret = v;
    return n;
}

struct range {
    uint32_t from, to;
};

static bool in_ranges(uint32_t c, const struct range *r, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (c >= r[i].from && c <= r[i].to)
            return true;
    return false;
}

/* What steers a terminal, or the direction of the text around it. */
static bool is_harmful(uint32_t c)
{
    static const struct range r[] = {{0x00, 0x1f},     {0x7f, 0x9f},       {0x61c, 0x61c},
                                     {0x200e, 0x200f}, {0x202a, 0x202e},   {0x2066, 0x206f},
                                     {0xfff9, 0xfffb}, {0xe0000, 0xe0fff}, {0xfdd0, 0xfdef},
                                     {0xfffe, 0xffff}, {0xf0000, 0x10ffff}};

    return in_ranges(c, r, LL_COUNT(r));
}

/* What has no width, and so makes two texts look alike. */
static bool is_invisible(uint32_t c)
{
    static const struct range r[] = {
        {0xad, 0xad},     {0x34f, 0x34f},   {0x115f, 0x1160}, {0x17b4, 0x17b5}, {0x180b, 0x180f},
        {0x200b, 0x200b}, {0x2060, 0x2065}, {0x3164, 0x3164}, {0xfeff, 0xfeff}, {0xffa0, 0xffa0}};

    return in_ranges(c, r, LL_COUNT(r));
}

static bool is_joiner(uint32_t c)
{
    return c == 0x200c || c == 0x200d;
}

/* Columns; rather one too many than one too few. */
static unsigned width_of(uint32_t c)
{
    /* Unicode's East Asian Width W among the signs that else are narrow. */
    static const struct range wide[] = {
        {0x231a, 0x231b}, {0x2329, 0x232a}, {0x23e9, 0x23f3}, {0x25fd, 0x25fe}};
    bool narrow = c < 0x1100 || (c >= 0x2000 && c < 0x2600) || c == 0xfffd;

    return narrow && !in_ranges(c, wide, LL_COUNT(wide)) ? 1 : 2;
}

void ll_clean(struct ll_slice in, enum ll_clean how, struct ll_buf *out)
{
    bool line = how == LL_CLEAN_LINE;

    while (in.n > 0) {
        uint32_t c = 0;
        size_t n = take(in, &c);
        bool cr_lf = n == 1 && c == '\r' && in.n > 1 && in.p[1] == '\n';

        if (n == 0) {
            ll_buf_puts(out, REPLACEMENT);
            n = 1;
        } else if (c == '\n' || c == '\r' || c == 0x2028 || c == 0x2029) {
            if (!cr_lf)
                ll_buf_putc(out, line ? ' ' : '\n');
        } else if (c == '\t') {
            ll_buf_putc(out, line ? ' ' : '\t');
        } else if (is_harmful(c) || (line && (is_invisible(c) || is_joiner(c)))) {
            ll_buf_puts(out, REPLACEMENT);
        } else if (!is_invisible(c)) {
            ll_buf_put(out, in.p, n);
        }
        in = ll_slice_skip(in, n);
    }
}

/* ---- folding ------------------------------------------------------------------------------------
 */

/* Columns that the character at the front of s takes behind `column`, and its octets. */
static unsigned advance(struct ll_slice s, unsigned column, size_t *ret_n)
{
    uint32_t c = 0;
    size_t n = take(s, &c);

    *ret_n = n ? n : 1;
    return n == 0 ? 1 : c == '\t' ? TAB - column % TAB : width_of(c);
}

/* Octets of the line that fit into so many columns: up to the last blank in its second half, if
 * there is one, and at least one character. */
static size_t fit(struct ll_slice line, unsigned columns, unsigned *column)
{
    size_t at = 0, blank = 0;

    while (at < line.n) {
        size_t n;
        unsigned w = advance(ll_slice_skip(line, at), *column, &n);

        if (*column + w > columns && at > 0)
            return blank > 0 ? blank : at;
        *column += w;
        if ((line.p[at] == ' ' || line.p[at] == '\t') && *column > columns / 2)
            blank = at + n;
        at += n;
    }
    return at;
}

/* Tabs as blanks: a terminal's own stops know nothing of the margin. They are as wide as `fit`
 * took them for, or the terminal would fold the line, and what follows stand in the first column.
 */
static void put_line(struct ll_buf *out, struct ll_slice s)
{
    unsigned column = 0;

    while (s.n > 0 && s.p[s.n - 1] == ' ')
        s.n--;
    while (s.n > 0) {
        size_t n;
        unsigned w = advance(s, column, &n);

        column += w;
        if (s.p[0] == '\t')
            while (w-- > 0)
                ll_buf_putc(out, ' ');
        else
            ll_buf_put(out, s.p, n);
        s = ll_slice_skip(s, n);
    }
}

void ll_page_text(struct ll_page *p, const char *margin, struct ll_slice clean)
{
    unsigned columns = p->width - (unsigned)strlen(margin);
    struct ll_slice line;

    while (clean.n > 0) {
        size_t end = ll_slice_find(clean, '\n');

        line = ll_slice_cut(clean, 0, end);
        do {
            unsigned column = 0;
            size_t n = fit(line, columns, &column);

            ll_buf_puts(p->out, margin);
            put_line(p->out, ll_slice_cut(line, 0, n));
            while (p->out->n > 0 && p->out->p[p->out->n - 1] == ' ')
                p->out->n--;
            ll_buf_putc(p->out, '\n');
            line = ll_slice_skip(line, n);
        } while (line.n > 0);
        clean = ll_slice_skip(clean, end + 1);
    }
}

void ll_page_field(struct ll_page *p, const char *label, struct ll_slice clean)
{
    unsigned columns = p->width - LL_PAGE_LABEL;
    bool first = true;

    do {
        unsigned column = 0;
        size_t n = fit(clean, columns, &column);
        struct ll_buf head = LL_BUF(64);

        ll_buf_printf(&head, "%s%s", first ? label : "", first && *label ? ":" : "");
        if (n == 0)
            ll_buf_put_slice(p->out, ll_buf_slice(&head));
        else
            ll_buf_printf(p->out, "%-*.*s", LL_PAGE_LABEL, LL_FMT(ll_buf_slice(&head)));
        ll_buf_release(&head);
        put_line(p->out, ll_slice_cut(clean, 0, n));
        ll_buf_putc(p->out, '\n');
        clean = ll_slice_skip(clean, n);
        first = false;
    } while (clean.n > 0);
}

void ll_page_fieldf(struct ll_page *p, const char *label, const char *fmt, ...)
{
    struct ll_buf b = LL_BUF(65536), clean = LL_BUF(3u * 65536);
    va_list ap;

    va_start(ap, fmt);
    ll_buf_vprintf(&b, fmt, ap);
    va_end(ap);
    ll_clean(ll_buf_slice(&b), LL_CLEAN_LINE, &clean);
    ll_page_field(p, label, ll_buf_slice(&clean));
    ll_buf_release(&b);
    ll_buf_release(&clean);
}

void ll_page_quoted(struct ll_page *p, const char *label, const char *before, struct ll_slice text)
{
    struct ll_buf clean = LL_BUF(3 * text.n + 16), line = LL_BUF(3 * text.n + 1024);
    unsigned columns = p->width - LL_PAGE_LABEL - 5, column = (unsigned)strlen(before);
    struct ll_slice rest;
    size_t n;

    ll_clean(text, LL_CLEAN_LINE, &clean);
    rest = ll_buf_slice(&clean);
    ll_buf_printf(&line, "%s\"", before);
    while (rest.n > 0 && (column += advance(rest, column, &n)) <= columns) {
        if (rest.p[0] == '"')
            ll_buf_putc(&line, '\'');
        else
            ll_buf_put(&line, rest.p, n);
        rest = ll_slice_skip(rest, n);
    }
    ll_buf_puts(&line, rest.n > 0 ? "...\"" : "\"");
    ll_page_field(p, label, ll_buf_slice(&line));
    ll_buf_release(&clean);
    ll_buf_release(&line);
}
