/* Fields with parameters (RFC 2045 5.1, RFC 2183, RFC 2231). See include/letterlock/compose.h. */
#include "compose_write.h"
#include "letterlock/mime.h"

#define PLAIN_MAX    74 /* octets of a name and its value in quotes that stand in one piece */
#define STAND_IN_MAX 60 /* octets of the ASCII stand-in of a file name */
#define ENDING_MAX   12 /* octets of ".ending" that a cut stand-in keeps */
#define PARTS_MAX    30 /* of one value: readers have limits, ours LL_MIME_PARAMS_MAX for a field */

/* Octets of one part's text: "; ", "*NN*=" and the ";" behind are not its own. */
#define ROOM(name) (LL_COMPOSE_LINE - strlen(name) - 8)

static bool is_token_char(uint8_t c)
{
    return c > 0x20 && c < 0x7f && strchr("()<>@,;:\\\"/[]?=", c) == NULL;
}

static bool is_token(struct ll_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_token_char(s.p[i]))
            return false;
    return s.n > 0;
}

/* "name*1" and the like are what the marks of RFC 2231 make. */
static bool param_name_ok(const char *name)
{
    struct ll_slice s = ll_slice_str(name);

    return is_token(s) && s.n <= 40 && !strchr(name, '*') && !strchr(name, '\'') &&
           !strchr(name, '%');
}

static bool is_printable(struct ll_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!ll_is_print(s.p[i]))
            return false;
    return true;
}

/* Octets of a printable value in quotes. */
static size_t quoted_length(struct ll_slice s)
{
    size_t n = s.n + 2;

    for (size_t i = 0; i < s.n; i++)
        n += s.p[i] == '"' || s.p[i] == '\\';
    return n;
}

/* "; piece", on a new line where this one is full. */
static void put_piece(struct ll_buf *out, struct ll_slice piece)
{
    ll_buf_putc(out, ';');
    if (ll_compose_column(out, 0) + 1 + piece.n > LL_COMPOSE_LINE)
        ll_buf_puts(out, "\r\n");
    ll_buf_putc(out, ' ');
    ll_buf_put_slice(out, piece);
}

static void put_plain(struct ll_buf *out, const char *name, struct ll_slice value)
{
    struct ll_buf piece = LL_BUF(2 * value.n + 64);

    ll_buf_puts(&piece, name);
    ll_buf_putc(&piece, '=');
    if (is_token(value)) {
        ll_buf_put_slice(&piece, value);
    } else {
        ll_buf_putc(&piece, '"');
        for (size_t i = 0; i < value.n; i++) {
            if (value.p[i] == '"' || value.p[i] == '\\')
                ll_buf_putc(&piece, '\\');
            ll_buf_putc(&piece, value.p[i]);
        }
        ll_buf_putc(&piece, '"');
    }
    put_piece(out, ll_buf_slice(&piece));
    out->failed |= piece.failed;
    ll_buf_release(&piece);
}

/* RFC 2231 7 attribute-char, without what old readers trip over. */
static void put_percent(struct ll_buf *out, struct ll_slice s)
{
    static const char digits[] = "0123456789ABCDEF";

    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];

        if (ll_is_alnum(c) || (c && strchr("-._~+", c))) {
            ll_buf_putc(out, c);
        } else {
            ll_buf_putc(out, '%');
            ll_buf_putc(out, (uint8_t)digits[c >> 4]);
            ll_buf_putc(out, (uint8_t)digits[c & 15]);
        }
    }
}

/* The value in parts of whole characters (whole octets, in a charset that is not UTF-8). */
static void put_extended(struct ll_buf *out, const char *name, struct ll_slice value,
                         struct ll_slice charset)
{
    struct ll_buf text = LL_BUF(LL_COMPOSE_LINE), one = LL_BUF(16), piece = LL_BUF(256);
    bool utf8 = ll_slice_caseeq(charset, LL_LIT("utf-8")), whole = true;
    size_t room = ROOM(name), i = 0;

    ll_buf_put_slice(&text, charset);
    ll_buf_puts(&text, "''");
    for (unsigned part = 0; part == 0 || i < value.n; part++) {
        while (i < value.n) {
            size_t n = utf8 ? ll_compose_char(ll_slice_skip(value, i)) : 1;

            ll_buf_clear(&one);
            put_percent(&one, ll_slice_cut(value, i, i + n));
            if (text.n + one.n > room)
                break;
            ll_buf_put_slice(&text, ll_buf_slice(&one));
            i += n;
        }
        whole = part == 0 && i == value.n;
        ll_buf_puts(&piece, name);
        if (!whole)
            ll_buf_printf(&piece, "*%u", part);
        ll_buf_puts(&piece, "*=");
        ll_buf_put_slice(&piece, ll_buf_slice(&text));
        put_piece(out, ll_buf_slice(&piece));
        out->failed |= text.failed || one.failed || piece.failed;
        if (out->failed)
            break;
        ll_buf_clear(&text);
        ll_buf_clear(&piece);
    }
    ll_buf_release(&text);
    ll_buf_release(&one);
    ll_buf_release(&piece);
}

enum ll_compose_error ll_compose_field_begin(struct ll_buf *out, const char *name,
                                             struct ll_slice value)
{
    size_t start = out->n;

    if (!ll_compose_name_ok(name))
        return LL_COMPOSE_NAME;
    if (!is_printable(value))
        return LL_COMPOSE_TYPE;
    ll_buf_puts(out, name);
    ll_buf_puts(out, ": ");
    ll_buf_put_slice(out, value);
    return ll_compose_done(out, start, LL_COMPOSE_OK);
}

enum ll_compose_error ll_compose_param(struct ll_buf *out, const char *name, struct ll_slice value,
                                       struct ll_slice charset)
{
    size_t start = out->n;
    bool utf8 = charset.n == 0 || ll_slice_caseeq(charset, LL_LIT("utf-8"));

    if (!param_name_ok(name) || (charset.n && !is_token(charset)))
        return LL_COMPOSE_NAME;
    if (utf8 && !ll_utf8_valid(value))
        return LL_COMPOSE_UTF8;
    if (value.n * 3 / ROOM(name) >= PARTS_MAX || charset.n > 30)
        return LL_COMPOSE_LONG;
    /* What looks like an encoded word would be read as one by many, though RFC 2047 5 forbids it.
     */
    if (is_printable(value) && quoted_length(value) <= PLAIN_MAX - strlen(name) &&
        ll_slice_search(value, LL_LIT("=?")) == value.n)
        put_plain(out, name, value);
    else
        put_extended(out, name, value, utf8 ? LL_LIT("utf-8") : charset);
    return ll_compose_done(out, start, LL_COMPOSE_OK);
}

enum ll_compose_error ll_compose_stand_in(struct ll_buf *out, struct ll_slice name)
{
    struct ll_buf plain = LL_BUF(LL_COMPOSE_NAME_MAX);
    size_t start = out->n;
    struct ll_slice all, ending;

    if (name.n > LL_COMPOSE_NAME_MAX)
        return LL_COMPOSE_LONG;
    if (!ll_utf8_valid(name))
        return LL_COMPOSE_UTF8;
    for (size_t i = 0; i < name.n; i += ll_compose_char(ll_slice_skip(name, i))) {
        uint8_t c = name.p[i];

        ll_buf_putc(&plain, ll_is_print(c) && !strchr("\"\\/?", c) ? c : '_');
    }
    all = ll_buf_slice(&plain);
    ending = ll_slice_skip(all, ll_slice_rfind(all, '.'));
    if (ending.n > ENDING_MAX || all.n <= STAND_IN_MAX)
        ending.n = 0;
    ll_buf_put_slice(out, ll_slice_cut(all, 0, STAND_IN_MAX - ending.n));
    ll_buf_put_slice(out, ending);
    out->failed |= plain.failed;
    ll_buf_release(&plain);
    return ll_compose_done(out, start, LL_COMPOSE_OK);
}
