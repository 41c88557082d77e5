/* Encodings: base64, hexadecimal, UTF-8, log escapes. See include/letterlock/base.h. */
#include "letterlock/base.h"

static const char base64_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Three octets as four digits. */
static void base64_group(uint32_t v, uint8_t *to)
{
    for (size_t k = 0; k < 4; k++)
        to[k] = (uint8_t)base64_alphabet[v >> (18 - 6 * k) & 63];
}

void ll_base64_encode(struct ll_buf *out, struct ll_slice in)
{
    size_t n = in.n <= SIZE_MAX / 4 ? (in.n + 2) / 3 * 4 : SIZE_MAX;
    uint8_t *to = ll_buf_room(out, n);
    size_t i = 0;

    if (!to)
        return;
    for (; in.n - i >= 3; i += 3, to += 4)
        base64_group((uint32_t)in.p[i] << 16 | (uint32_t)in.p[i + 1] << 8 | in.p[i + 2], to);
    if (i < in.n) {
        bool two = in.n - i == 2;

        base64_group((uint32_t)in.p[i] << 16 | (two ? (uint32_t)in.p[i + 1] << 8 : 0), to);
        to[3] = '=';
        if (!two)
            to[2] = '=';
    }
    ll_buf_grew(out, n);
}

/* The value of a digit, -1 for what is none. */
static int base64_value(uint8_t c)
{
    static const int8_t values[] = {
        62, -1, -1, -1, 63, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, -1, -1, -1, -1, -1,
        -1, -1, 0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17,
        18, 19, 20, 21, 22, 23, 24, 25, -1, -1, -1, -1, -1, -1, 26, 27, 28, 29, 30, 31,
        32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51,
    }; /* from '+' to 'z' */
    size_t at = (size_t)c - '+';

    return at < sizeof(values) ? values[at] : -1;
}

/* Four digits as three octets; false where one is none. */
static bool base64_ungroup(const uint8_t *p, uint32_t *ret)
{
    int a = base64_value(p[0]), b = base64_value(p[1]), c = base64_value(p[2]),
        d = base64_value(p[3]);

    if ((a | b | c | d) < 0)
        return false;
    *ret = (uint32_t)a << 18 | (uint32_t)b << 12 | (uint32_t)c << 6 | (uint32_t)d;
    return true;
}

bool ll_base64_decode(struct ll_buf *out, struct ll_slice in)
{
    size_t pad = in.n >= 4 && in.p[in.n - 1] == '=' ? 1 + (in.p[in.n - 2] == '=') : 0, i = 0;
    uint8_t tail[4] = {'A', 'A', 'A', 'A'}, *to;
    uint32_t v = 0;

    if (in.n % 4 != 0)
        return false;
    to = ll_buf_room(out, in.n / 4 * 3 - pad);
    if (!to)
        return false;
    for (; i + 4 + (pad ? 4 : 0) <= in.n; i += 4) {
        if (!base64_ungroup(in.p + i, &v))
            return false;
        *to++ = (uint8_t)(v >> 16);
        *to++ = (uint8_t)(v >> 8);
        *to++ = (uint8_t)v;
    }
    if (pad) {
        memcpy(tail, in.p + i, 4 - pad);
        if (!base64_ungroup(tail, &v) || (v & (pad == 1 ? 0xff : 0xffff)))
            return false; /* RFC 4648 3.5: unused bits must be zero */
        *to++ = (uint8_t)(v >> 16);
        if (pad == 1)
            *to = (uint8_t)(v >> 8);
    }
    ll_buf_grew(out, in.n / 4 * 3 - pad);
    return true;
}

void ll_hex_encode(struct ll_buf *out, struct ll_slice in)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < in.n; i++) {
        ll_buf_putc(out, (uint8_t)digits[in.p[i] >> 4]);
        ll_buf_putc(out, (uint8_t)digits[in.p[i] & 15]);
    }
}

static int hex_value(uint8_t c)
{
    if (ll_is_digit(c))
        return c - '0';
    c = ll_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool ll_hex_decode(struct ll_buf *out, struct ll_slice in)
{
    if (in.n % 2 != 0)
        return false;
    for (size_t i = 0; i < in.n; i += 2) {
        int high = hex_value(in.p[i]);
        int low = hex_value(in.p[i + 1]);

        if (high < 0 || low < 0)
            return false;
        ll_buf_putc(out, (uint8_t)(high << 4 | low));
    }
    return !out->failed;
}

/* RFC 3629 4: the octets that may follow a lead octet, and the range of the first of them. */
static size_t utf8_follow(uint8_t lead, uint8_t *low, uint8_t *high)
{
    *low = 0x80;
    *high = 0xbf;
    if (lead < 0x80)
        return 0;
    if (lead >= 0xc2 && lead <= 0xdf)
        return 1;
    if (lead >= 0xe0 && lead <= 0xef) {
        if (lead == 0xe0)
            *low = 0xa0;
        if (lead == 0xed)
            *high = 0x9f;
        return 2;
    }
    if (lead >= 0xf0 && lead <= 0xf4) {
        if (lead == 0xf0)
            *low = 0x90;
        if (lead == 0xf4)
            *high = 0x8f;
        return 3;
    }
    return SIZE_MAX;
}

bool ll_utf8_valid(struct ll_slice s)
{
    for (size_t i = 0; i < s.n;) {
        uint8_t low, high;
        size_t follow = utf8_follow(s.p[i++], &low, &high);

        if (follow > s.n - i)
            return false;
        for (; follow > 0; follow--, i++) {
            if (s.p[i] < low || s.p[i] > high)
                return false;
            low = 0x80;
            high = 0xbf;
        }
    }
    return true;
}

bool ll_is_ascii(struct ll_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] > 127)
            return false;
    return true;
}

void ll_escape(struct ll_buf *out, struct ll_slice s, size_t max)
{
    for (size_t i = 0; i < s.n && i < max; i++) {
        uint8_t c = s.p[i];

        if (c > 0x20 && c < 0x7f && c != '"' && c != '\\')
            ll_buf_putc(out, c);
        else
            ll_buf_printf(out, "\\x%02x", c);
    }
    if (s.n > max)
        ll_buf_puts(out, "...");
}
