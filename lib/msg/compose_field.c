/* Fields with text and addresses: encoded words, folding. See include/letterlock/compose.h. */
#include "compose_write.h"
#include "letterlock/addr.h"
#include "letterlock/msg.h"

#define WORD_MAX   75 /* octets of an encoded word, RFC 2047 2 */
#define WORD_FRAME 12 /* "=?utf-8?q?" and "?=" */
#define WORD_LEAST 24 /* less room than this on a line is not worth a word */
#define BLANKS_MAX 20 /* a longer run of blanks is encoded with all that stands around it */

const char *ll_compose_error_text(enum ll_compose_error e)
{
    static const char *const text[] = {
#define ROW(id, sentence) sentence,
        LL_COMPOSE_ERRORS(ROW)
#undef ROW
    };
    return text[e];
}

size_t ll_compose_column(const struct ll_buf *out, size_t start)
{
    size_t n = 0;

    while (start + n < out->n && out->p[out->n - n - 1] != '\n')
        n++;
    return n;
}

size_t ll_compose_char(struct ll_slice s)
{
    size_t n = 1;

    while (n < s.n && (s.p[n] & 0xc0) == 0x80)
        n++;
    return n;
}

bool ll_compose_name_ok(const char *name)
{
    size_t n = strlen(name);

    for (size_t i = 0; i < n; i++)
        if (name[i] <= 32 || name[i] >= 127 || name[i] == ':')
            return false;
    return n > 0 && n <= 70;
}

enum ll_compose_error ll_compose_done(struct ll_buf *out, size_t start, enum ll_compose_error e)
{
    if (out->failed)
        e = LL_COMPOSE_RESOURCE;
    if (e)
        out->n = start < out->n ? start : out->n;
    return e;
}

static enum ll_compose_error check_text(struct ll_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((s.p[i] < 0x20 && s.p[i] != '\t') || s.p[i] == 0x7f)
            return LL_COMPOSE_CONTROL;
    return ll_utf8_valid(s) ? LL_COMPOSE_OK : LL_COMPOSE_UTF8;
}

/* ---- folding ------------------------------------------------------------------------------------
 */

struct line {
    struct ll_buf *out;
    size_t start; /* of the field in out */
};

/* Blanks, then a piece that is not broken, on the next line where this one is full. */
static void put_piece(struct line *l, struct ll_slice blanks, struct ll_slice piece)
{
    if (ll_compose_column(l->out, l->start) + blanks.n + piece.n > LL_COMPOSE_LINE - 1)
        ll_buf_puts(l->out, "\r\n");
    ll_buf_put_slice(l->out, blanks);
    ll_buf_put_slice(l->out, piece);
}

/* ---- encoded words (RFC 2047)
 * ---------------------------------------------------------------------
 */

/* What may stand for itself in every place an encoded word may stand in: RFC 2047 5 (3). */
static bool is_q_plain(uint8_t c)
{
    return ll_is_alnum(c) || (c && strchr("!*+-/", c) != NULL) || c == ' ';
}

static size_t q_length(struct ll_slice s)
{
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++)
        n += is_q_plain(s.p[i]) ? 1 : 3;
    return n;
}

static size_t b_length(size_t n)
{
    return (n + 2) / 3 * 4;
}

static void put_q(struct ll_buf *out, struct ll_slice s)
{
    static const char digits[] = "0123456789ABCDEF";

    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];

        if (c == ' ') {
            ll_buf_putc(out, '_');
        } else if (is_q_plain(c)) {
            ll_buf_putc(out, c);
        } else {
            ll_buf_putc(out, '=');
            ll_buf_putc(out, (uint8_t)digits[c >> 4]);
            ll_buf_putc(out, (uint8_t)digits[c & 15]);
        }
    }
}

/* Octets of s, in whole characters, whose encoding has at most `room` octets; at least one
 * character. Base64 that goes on in another word ends without padding where characters allow: GMime
 * joins words before it decodes them, and reads no further than the first padding. */
static size_t fitting(struct ll_slice s, bool q, size_t room)
{
    size_t n = 0, even = 0;

    while (n < s.n) {
        size_t next = n + ll_compose_char(ll_slice_skip(s, n));

        if (n && (q ? q_length(ll_slice_cut(s, 0, next)) : b_length(next)) > room)
            return !q && even ? even : n;
        n = next;
        if (n % 3 == 0)
            even = n;
    }
    return n;
}

/* As many encoded words as the text needs, each with a blank (`first` before the first). */
static void put_words(struct line *l, struct ll_slice first, struct ll_slice text)
{
    bool q = q_length(text) <= b_length(text.n);
    struct ll_slice blank = first;

    while (text.n) {
        size_t column = ll_compose_column(l->out, l->start) + blank.n, room, n;

        /* Two columns are kept for a comma or colon behind. */
        room = column + WORD_FRAME + WORD_LEAST > LL_COMPOSE_LINE - 2
                   ? 0
                   : LL_COMPOSE_LINE - 2 - column;
        if (room == 0) {
            ll_buf_puts(l->out, "\r\n");
            room = LL_COMPOSE_LINE - 2 - blank.n;
        }
        if (room > WORD_MAX)
            room = WORD_MAX;
        n = fitting(ll_slice_cut(text, 0, WORD_MAX), q, room - WORD_FRAME);
        ll_buf_put_slice(l->out, blank);
        ll_buf_puts(l->out, q ? "=?utf-8?q?" : "=?utf-8?b?");
        if (q)
            put_q(l->out, ll_slice_cut(text, 0, n));
        else
            ll_base64_encode(l->out, ll_slice_cut(text, 0, n));
        ll_buf_puts(l->out, "?=");
        text = ll_slice_skip(text, n);
        blank = LL_LIT(" ");
    }
}

/* Must this word, with so many blanks before it, be encoded? */
static bool needs_word(struct ll_slice s, size_t blanks)
{
    return !ll_is_ascii(s) || blanks + s.n > LL_COMPOSE_LINE - 2 ||
           ll_slice_search(s, LL_LIT("=?")) < s.n;
}

static size_t blanks_at(struct ll_slice s, size_t i)
{
    size_t n = 0;

    while (i + n < s.n && ll_is_blank(s.p[i + n]))
        n++;
    return n;
}

static size_t word_at(struct ll_slice s, size_t i)
{
    size_t n = 0;

    while (i + n < s.n && !ll_is_blank(s.p[i + n]))
        n++;
    return n;
}

static bool has_wide_gap(struct ll_slice s)
{
    for (size_t i = 0; i < s.n; i += blanks_at(s, i) + word_at(s, i + blanks_at(s, i)))
        if (blanks_at(s, i) > BLANKS_MAX)
            return true;
    return false;
}

/* Plain words stand as they are; a run of words that need it becomes encoded words, the blanks
 * within it too, as those between two encoded words are not shown (RFC 2047 6.2). */
static void put_text(struct line *l, struct ll_slice text)
{
    size_t i = 0;

    if (has_wide_gap(text)) {
        put_words(l, LL_LIT(" "), text);
        return;
    }
    while (i < text.n) {
        size_t gap = blanks_at(text, i), from = i + gap, to = from + word_at(text, from);
        struct ll_slice blanks = gap ? ll_slice_cut(text, i, from) : LL_LIT(" ");

        if (!needs_word(ll_slice_cut(text, from, to), blanks.n)) {
            put_piece(l, blanks, ll_slice_cut(text, from, to));
            i = to;
            continue;
        }
        for (;;) {
            size_t next = to + blanks_at(text, to), end = next + word_at(text, next);

            if (next == end || !needs_word(ll_slice_cut(text, next, end), next - to))
                break;
            to = end;
        }
        put_words(l, blanks, ll_slice_cut(text, from, to));
        i = to;
    }
}

enum ll_compose_error ll_compose_field_text(struct ll_buf *out, const char *name,
                                            struct ll_slice utf8)
{
    struct line l = {out, out->n};
    enum ll_compose_error e = check_text(utf8);

    if (!ll_compose_name_ok(name))
        return LL_COMPOSE_NAME;
    if (e)
        return e;
    ll_buf_puts(out, name);
    ll_buf_putc(out, ':');
    put_text(&l, ll_slice_trim(utf8));
    ll_buf_puts(out, "\r\n");
    return ll_compose_done(out, l.start, LL_COMPOSE_OK);
}

/* ---- addresses
 * -----------------------------------------------------------------------------------
 */

static bool is_atext(uint8_t c)
{
    return ll_is_alnum(c) || (c && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

/* Atoms with one blank between them (RFC 5322 3.2.5)? */
static bool is_atoms(struct ll_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_atext(s.p[i]) && !(s.p[i] == ' ' && i && i + 1 < s.n && s.p[i + 1] != ' '))
            return false;
    return true;
}

/* In one piece: some programs (GMime) keep a fold within quotes as part of the name. false: too
 * long. */
static bool put_quoted(struct line *l, struct ll_slice s)
{
    struct ll_buf piece = LL_BUF(LL_COMPOSE_LINE - 2);
    bool fits;

    ll_buf_putc(&piece, '"');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"' || s.p[i] == '\\')
            ll_buf_putc(&piece, '\\');
        ll_buf_putc(&piece, s.p[i]);
    }
    ll_buf_putc(&piece, '"');
    fits = !piece.failed;
    if (fits)
        put_piece(l, LL_LIT(" "), ll_buf_slice(&piece));
    ll_buf_release(&piece);
    return fits;
}

/* A display name: atoms, a quoted string, or encoded words for all of it. */
static void put_phrase(struct line *l, struct ll_slice s)
{
    bool wide = has_wide_gap(s) || ll_slice_search(s, LL_LIT("=?")) < s.n || !ll_is_ascii(s);

    for (size_t i = 0; i < s.n && !wide; i += blanks_at(s, i) + word_at(s, i + blanks_at(s, i)))
        wide = word_at(s, i + blanks_at(s, i)) > LL_COMPOSE_LINE / 2;
    if (!wide && is_atoms(s))
        put_text(l, s);
    else if (wide || !put_quoted(l, s))
        put_words(l, LL_LIT(" "), s);
}

static enum ll_compose_error check_address(const struct ll_compose_address *a)
{
    struct ll_mailbox m;
    enum ll_compose_error e = check_text(a->name);

    if (!e)
        e = check_text(a->group);
    if (e)
        return e;
    if (a->spec.n == 0)
        return a->group.n && a->name.n == 0 ? LL_COMPOSE_OK : LL_COMPOSE_ADDRESS;
    if (check_text(a->spec) || ll_mailbox_parse(a->spec, true, &m) != LL_ADDR_OK)
        return LL_COMPOSE_ADDRESS;
    return LL_COMPOSE_OK;
}

static void put_mailbox(struct line *l, const struct ll_compose_address *a, struct ll_slice end)
{
    struct ll_slice name = ll_slice_trim(a->name);
    struct ll_buf spec = LL_BUF(LL_MAILBOX_MAX * 2 + 8);

    if (name.n) {
        put_phrase(l, name);
        ll_buf_putc(&spec, '<');
    }
    ll_buf_put_slice(&spec, a->spec);
    if (name.n)
        ll_buf_putc(&spec, '>');
    ll_buf_put_slice(&spec, end);
    put_piece(l, LL_LIT(" "), ll_buf_slice(&spec));
    l->out->failed |= spec.failed;
    ll_buf_release(&spec);
}

enum ll_compose_error ll_compose_field_addresses(struct ll_buf *out, const char *name,
                                                 const struct ll_compose_address *a, size_t n)
{
    struct line l = {out, out->n};

    if (!ll_compose_name_ok(name))
        return LL_COMPOSE_NAME;
    for (size_t i = 0; i < n; i++) {
        enum ll_compose_error e = check_address(&a[i]);

        if (e)
            return e;
    }
    ll_buf_puts(out, name);
    ll_buf_putc(out, ':');
    for (size_t i = 0; i < n; i++) {
        struct ll_slice group = ll_slice_trim(a[i].group);
        bool begins = group.n && (i == 0 || !ll_slice_eq(a[i].group, a[i - 1].group));
        bool ends = group.n && (i + 1 == n || !ll_slice_eq(a[i].group, a[i + 1].group));
        struct ll_slice end = ends        ? i + 1 < n ? LL_LIT(";,") : LL_LIT(";")
                                     : i + 1 < n ? LL_LIT(",")
                                          : LL_LIT("");

        if (begins) {
            put_phrase(&l, group);
            ll_buf_putc(out, ':');
        }
        if (a[i].spec.n)
            put_mailbox(&l, &a[i], end);
        else
            ll_buf_put_slice(out, end);
    }
    ll_buf_puts(out, "\r\n");
    return ll_compose_done(out, l.start, LL_COMPOSE_OK);
}
