/* Encodings: base64, hexadecimal, UTF-8, log escapes. See include/letterlock/base.h. */
#include "letterlock/base.h"

static const char base64_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void ll_base64_encode(struct ll_buf *out, struct ll_slice in)
{
    for (size_t i = 0; i < in.n; i += 3) {
        size_t have = in.n - i < 3 ? in.n - i : 3;
        uint32_t v = (uint32_t)in.p[i] << 16;

        if (have > 1)
            v |= (uint32_t)in.p[i + 1] << 8;
        if (have > 2)
            v |= in.p[i + 2];
        for (size_t k = 0; k < 4; k++)
            ll_buf_putc(out, k <= have ? (uint8_t)base64_alphabet[v >> (18 - 6 * k) & 63] : '=');
    }
}

static int base64_value(uint8_t c)
{
    if (ll_is_upper(c))
        return c - 'A';
    if (ll_is_lower(c))
        return c - 'a' + 26;
    if (ll_is_digit(c))
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool ll_base64_decode(struct ll_buf *out, struct ll_slice in)
{
    if (in.n % 4 != 0)
        return false;
    for (size_t i = 0; i < in.n; i += 4) {
        bool last = i + 4 == in.n;
        size_t pad =
            last ? (in.p[i + 3] == '=') + (size_t)(in.p[i + 2] == '=' && in.p[i + 3] == '=') : 0;
        uint32_t v = 0;

        for (size_t k = 0; k < 4; k++) {
            int six = k < 4 - pad ? base64_value(in.p[i + k]) : 0;

            if (six < 0)
                return false;
            v = v << 6 | (uint32_t)six;
        }
        if ((pad == 1 && (v & 0xff)) || (pad == 2 && (v & 0xffff)))
            return false; /* RFC 4648 3.5: unused bits must be zero */
        for (size_t k = 0; k < 3 - pad; k++)
            ll_buf_putc(out, (uint8_t)(v >> (16 - 8 * k)));
    }
    return !out->failed;
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
