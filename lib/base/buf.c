/* See include/letterlock/base.h. */
#include "letterlock/base.h"

#include <stdio.h>
#include <stdlib.h>

#define BUF_FIRST 64 /* octets of the first allocation */
#define DIGITS    20 /* of the greatest number */

void ll_buf_init(struct ll_buf *b, size_t max)
{
    *b = LL_BUF(max);
}

void ll_buf_release(struct ll_buf *b)
{
    free(b->p);
    *b = LL_BUF(b->max);
}

void ll_buf_wipe(struct ll_buf *b)
{
    if (b->p)
        explicit_bzero(b->p, b->cap);
    ll_buf_release(b);
}

void ll_buf_clear(struct ll_buf *b)
{
    b->n = 0;
    b->failed = false;
}

uint8_t *ll_buf_room(struct ll_buf *b, size_t n)
{
    size_t cap = b->cap ? b->cap : BUF_FIRST;
    uint8_t *p;

    if (b->failed)
        return NULL;
    if (n > b->max || b->n > b->max - n) {
        b->failed = true;
        return NULL;
    }
    if (b->n + n <= b->cap && b->p)
        return b->p + b->n;
    while (cap < b->n + n)
        cap = cap > b->max / 2 ? b->max : cap * 2;
    p = realloc(b->p, cap);
    if (!p) {
        b->failed = true;
        return NULL;
    }
    b->p = p;
    b->cap = cap;
    return b->p + b->n;
}

void ll_buf_grew(struct ll_buf *b, size_t n)
{
    b->n += n;
}

void ll_buf_put(struct ll_buf *b, const void *p, size_t n)
{
    uint8_t *to;

    if (n == 0)
        return;
    to = ll_buf_room(b, n);
    if (!to)
        return;
    memcpy(to, p, n);
    b->n += n;
}

void ll_buf_puts(struct ll_buf *b, const char *s)
{
    ll_buf_put(b, s, strlen(s));
}

void ll_buf_putc(struct ll_buf *b, uint8_t c)
{
    ll_buf_put(b, &c, 1);
}

void ll_buf_put_slice(struct ll_buf *b, struct ll_slice s)
{
    ll_buf_put(b, s.p, s.n);
}

void ll_buf_put_uint(struct ll_buf *b, uint64_t value, unsigned width)
{
    char digits[DIGITS];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (at > 0 && (value > 0 || sizeof(digits) - at < width));
    ll_buf_put(b, digits + at, sizeof(digits) - at);
}

void ll_buf_vprintf(struct ll_buf *b, const char *fmt, va_list ap)
{
    size_t room = b->p && !b->failed ? b->cap - b->n : 0;
    va_list again;
    uint8_t *to;
    int n;

    va_copy(again, ap);
    n = vsnprintf(room > 0 ? (char *)b->p + b->n : NULL, room, fmt, again);
    va_end(again);
    if (n < 0) {
        b->failed = true;
        return;
    }
    to = ll_buf_room(b, (size_t)n);
    if (!to)
        return;
    if (room > (size_t)n) { /* it fitted at once */
        b->n += (size_t)n;
        return;
    }
    /* vsnprintf writes a NUL behind the text, for which the buffer need not have room. */
    if (b->cap - b->n > (size_t)n) {
        vsnprintf((char *)to, (size_t)n + 1, fmt, ap);
    } else {
        char *text = malloc((size_t)n + 1);

        if (!text) {
            b->failed = true;
            return;
        }
        vsnprintf(text, (size_t)n + 1, fmt, ap);
        memcpy(to, text, (size_t)n);
        free(text);
    }
    b->n += (size_t)n;
}

void ll_buf_printf(struct ll_buf *b, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    ll_buf_vprintf(b, fmt, ap);
    va_end(ap);
}

void ll_buf_drop(struct ll_buf *b, size_t n)
{
    if (n >= b->n) {
        b->n = 0;
        return;
    }
    memmove(b->p, b->p + n, b->n - n);
    b->n -= n;
}

const char *ll_buf_str(struct ll_buf *b)
{
    uint8_t *end = ll_buf_room(b, 1);

    if (!end)
        return NULL;
    *end = '\0';
    return (const char *)b->p;
}

void ll_buf_u8(struct ll_buf *b, uint8_t v)
{
    ll_buf_putc(b, v);
}

static void put_be(struct ll_buf *b, uint64_t v, unsigned octets)
{
    uint8_t raw[8];

    for (unsigned i = 0; i < octets; i++)
        raw[i] = (uint8_t)(v >> (8 * (octets - 1 - i)));
    ll_buf_put(b, raw, octets);
}

void ll_buf_u16(struct ll_buf *b, uint16_t v)
{
    put_be(b, v, 2);
}

void ll_buf_u32(struct ll_buf *b, uint32_t v)
{
    put_be(b, v, 4);
}

void ll_buf_u64(struct ll_buf *b, uint64_t v)
{
    put_be(b, v, 8);
}

void ll_buf_str16(struct ll_buf *b, struct ll_slice s)
{
    if (s.n > UINT16_MAX) {
        b->failed = true;
        return;
    }
    ll_buf_u16(b, (uint16_t)s.n);
    ll_buf_put_slice(b, s);
}

void ll_buf_str32(struct ll_buf *b, struct ll_slice s)
{
    if (s.n > UINT32_MAX) {
        b->failed = true;
        return;
    }
    ll_buf_u32(b, (uint32_t)s.n);
    ll_buf_put_slice(b, s);
}
