/* Transfer encodings (RFC 2045 6.7, 6.8). See include/letterlock/mime.h. */
#include "letterlock/mime.h"

#define LINE_MAX 76 /* octets of an encoded line, RFC 2045 6.7 and 6.8 */

/* ---- decoding -----------------------------------------------------------------------------------
 */

static int base64_digit(uint8_t c)
{
    if (ll_is_upper(c))
        return c - 'A';
    if (ll_is_lower(c))
        return c - 'a' + 26;
    if (ll_is_digit(c))
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* RFC 2045 6.8: other characters are ignored, and may be told of. */
static bool base64_decode(struct ll_slice in, struct ll_buf *out)
{
    uint32_t held = 0;
    size_t digits = 0, padding = 0;
    bool clean = true;

    for (size_t i = 0; i < in.n; i++) {
        int v = base64_digit(in.p[i]);

        if (v < 0) {
            padding += in.p[i] == '=';
            clean = clean && (in.p[i] == '=' || in.p[i] == '\r' || in.p[i] == '\n');
            continue;
        }
        /* What stands behind padding is a second text that somebody put there. */
        if (padding) {
            clean = false;
            break;
        }
        held = held << 6 | (uint32_t)v;
        if (++digits % 4 == 0) {
            ll_buf_putc(out, (uint8_t)(held >> 16));
            ll_buf_putc(out, (uint8_t)(held >> 8));
            ll_buf_putc(out, (uint8_t)held);
            held = 0;
        }
    }
    if (digits % 4 >= 2)
        ll_buf_putc(out, (uint8_t)(digits % 4 == 2 ? held >> 4 : held >> 10));
    if (digits % 4 == 3)
        ll_buf_putc(out, (uint8_t)(held >> 2));
    return clean && (digits + padding) % 4 == 0 && padding <= 2;
}

static bool qp_line(struct ll_slice line, struct ll_buf *out)
{
    bool clean = true;

    for (size_t i = 0; i < line.n; i++) {
        if (line.p[i] != '=') {
            ll_buf_putc(out, line.p[i]);
        } else if (i + 2 < line.n && ll_hex_decode(out, ll_slice_cut(line, i + 1, i + 3))) {
            i += 2;
        } else {
            ll_buf_putc(out, '=');
            clean = false;
        }
    }
    return clean;
}

static bool qp_decode(struct ll_slice in, struct ll_buf *out)
{
    bool clean = true;

    while (in.n) {
        size_t lf = ll_slice_find(in, '\n');
        struct ll_slice line = ll_slice_cut(in, 0, lf), end = ll_slice_cut(in, lf, lf + 1);
        bool soft;

        in = ll_slice_skip(in, lf + 1);
        if (end.n && line.n && line.p[line.n - 1] == '\r') {
            line.n--;
            end = ll_slice(end.p - 1, 2);
        }
        /* Blanks at the end came on the way (RFC 2045 6.7 (3)). */
        while (line.n && ll_is_blank(line.p[line.n - 1]))
            line.n--;
        soft = line.n && line.p[line.n - 1] == '=';
        if (soft)
            line.n--;
        clean = qp_line(line, out) && clean;
        if (!soft)
            ll_buf_put_slice(out, end);
    }
    return clean;
}

bool ll_mime_decode(enum ll_mime_encoding encoding, struct ll_slice in, struct ll_buf *out)
{
    bool clean = true;

    if (encoding == LL_MIME_BASE64_ENCODING)
        clean = base64_decode(in, out);
    else if (encoding == LL_MIME_QP_ENCODING)
        clean = qp_decode(in, out);
    else
        ll_buf_put_slice(out, in);
    return clean && !out->failed;
}

/* ---- encoding -----------------------------------------------------------------------------------
 */

static bool is_eol(struct ll_slice s, size_t i)
{
    return i < s.n && (s.p[i] == '\n' || (s.p[i] == '\r' && i + 1 < s.n && s.p[i + 1] == '\n'));
}

/* May c, at this column, stand for itself? No line looks like a boundary, a From_ line or the
 * letter's end. */
static bool is_plain(uint8_t c, size_t column, bool last)
{
    if (column == 0 && (c == '-' || c == '.' || c == 'F'))
        return false;
    return (c > 0x20 && c < 0x7f && c != '=') || (ll_is_blank(c) && !last);
}

void ll_mime_qp_encode(struct ll_buf *out, struct ll_slice text)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t column = 0;

    for (size_t i = 0; i < text.n; i++) {
        uint8_t c = text.p[i];
        bool last = i + 1 == text.n || is_eol(text, i + 1), plain;

        if (is_eol(text, i)) {
            i += c == '\r';
            ll_buf_puts(out, "\r\n");
            column = 0;
            continue;
        }
        plain = is_plain(c, column, last);
        /* One column is kept for the "=" of a soft line break. */
        if (column + (plain ? 1 : 3) > LINE_MAX - 1) {
            ll_buf_puts(out, "=\r\n");
            column = 0;
            plain = is_plain(c, column, last);
        }
        if (plain) {
            ll_buf_putc(out, c);
            column++;
        } else {
            ll_buf_putc(out, '=');
            ll_buf_putc(out, (uint8_t)digits[c >> 4]);
            ll_buf_putc(out, (uint8_t)digits[c & 15]);
            column += 3;
        }
    }
}

void ll_mime_base64_encode(struct ll_buf *out, struct ll_slice octets)
{
    for (size_t i = 0; i < octets.n; i += LINE_MAX / 4 * 3) {
        ll_base64_encode(out, ll_slice_cut(octets, i, i + LINE_MAX / 4 * 3));
        ll_buf_puts(out, "\r\n");
    }
}
