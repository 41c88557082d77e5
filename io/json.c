/* See io/json.h. */
#include "io/json.h"

#include <stdlib.h>

static void value_begins(struct ll_json *j, const char *key)
{
    if (key) {
        ll_json_key(j, key);
        return;
    }
    if (j->comma)
        ll_buf_putc(j->out, ',');
    j->comma = true;
}

void ll_json_open(struct ll_json *j, char brace)
{
    value_begins(j, NULL);
    if (j->depth == LL_JSON_DEPTH)
        abort();
    j->open[j->depth++] = brace;
    ll_buf_putc(j->out, (uint8_t)brace);
    j->comma = false;
}

void ll_json_close(struct ll_json *j)
{
    if (j->depth == 0)
        abort();
    ll_buf_putc(j->out, j->open[--j->depth] == '{' ? '}' : ']');
    j->comma = true;
}

/* The octets of the well-formed UTF-8 character at the front of s, or 0. */
static size_t character(struct ll_slice s)
{
    for (size_t n = 1; n <= 4 && n <= s.n; n++)
        if (ll_utf8_valid(ll_slice_cut(s, 0, n)))
            return n;
    return 0;
}

/* The octets at the front of s that stand in a string as they are, and take one octet each. */
static size_t plain(struct ll_slice s)
{
    size_t n = 0;

    while (n < s.n && s.p[n] >= 0x20 && s.p[n] < 0x7f && s.p[n] != '"' && s.p[n] != '\\')
        n++;
    return n;
}

static void put_text(struct ll_buf *out, struct ll_slice s)
{
    ll_buf_putc(out, '"');
    while (s.n > 0) {
        size_t n = plain(s);
        uint8_t c;

        if (n > 0) {
            ll_buf_put(out, s.p, n);
            s = ll_slice_skip(s, n);
            continue;
        }
        c = s.p[0];
        n = c < 0x80 ? 1 : character(s);
        if (n == 0) {
            ll_buf_puts(out, "\xef\xbf\xbd");
            n = 1;
        } else if (c == '"' || c == '\\') {
            ll_buf_putc(out, '\\');
            ll_buf_putc(out, c);
        } else if (c < 0x20 || c == 0x7f) {
            ll_buf_printf(out, "\\u%04x", c);
        } else {
            ll_buf_put(out, s.p, n);
        }
        s = ll_slice_skip(s, n);
    }
    ll_buf_putc(out, '"');
}

void ll_json_key(struct ll_json *j, const char *key)
{
    if (j->comma)
        ll_buf_putc(j->out, ',');
    put_text(j->out, ll_slice_str(key));
    ll_buf_puts(j->out, ": ");
    j->comma = false;
}

/* After a key, the value itself needs no comma, but the next key does. */
void ll_json_str(struct ll_json *j, const char *key, struct ll_slice value)
{
    value_begins(j, key);
    put_text(j->out, value);
    j->comma = true;
}

void ll_json_cstr(struct ll_json *j, const char *key, const char *value)
{
    if (value)
        ll_json_str(j, key, ll_slice_str(value));
    else
        ll_json_raw(j, key, LL_LIT("null"));
}

void ll_json_int(struct ll_json *j, const char *key, int64_t value)
{
    value_begins(j, key);
    if (value < 0)
        ll_buf_putc(j->out, '-');
    ll_buf_put_uint(j->out, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 1);
    j->comma = true;
}

void ll_json_bool(struct ll_json *j, const char *key, bool value)
{
    ll_json_raw(j, key, value ? LL_LIT("true") : LL_LIT("false"));
}

void ll_json_raw(struct ll_json *j, const char *key, struct ll_slice value)
{
    value_begins(j, key);
    ll_buf_put_slice(j->out, value);
    j->comma = true;
}
