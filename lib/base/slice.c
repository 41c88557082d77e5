/* See include/letterlock/base.h. */
#include "letterlock/base.h"

#include <stdlib.h>

bool ll_slice_eq(struct ll_slice a, struct ll_slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool ll_slice_caseeq(struct ll_slice a, struct ll_slice b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (ll_lower(a.p[i]) != ll_lower(b.p[i]))
            return false;
    return true;
}

bool ll_slice_starts(struct ll_slice s, struct ll_slice prefix)
{
    return s.n >= prefix.n && ll_slice_eq(ll_slice_cut(s, 0, prefix.n), prefix);
}

bool ll_slice_casestarts(struct ll_slice s, struct ll_slice prefix)
{
    return s.n >= prefix.n && ll_slice_caseeq(ll_slice_cut(s, 0, prefix.n), prefix);
}

bool ll_slice_ends(struct ll_slice s, struct ll_slice suffix)
{
    return s.n >= suffix.n && ll_slice_eq(ll_slice_skip(s, s.n - suffix.n), suffix);
}

int ll_slice_cmp(struct ll_slice a, struct ll_slice b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int d = n ? memcmp(a.p, b.p, n) : 0;

    if (d != 0)
        return d;
    return a.n < b.n ? -1 : a.n > b.n;
}

size_t ll_slice_find(struct ll_slice s, uint8_t c)
{
    const uint8_t *at = s.n ? memchr(s.p, c, s.n) : NULL;

    return at ? (size_t)(at - s.p) : s.n;
}

size_t ll_slice_rfind(struct ll_slice s, uint8_t c)
{
    for (size_t i = s.n; i > 0; i--)
        if (s.p[i - 1] == c)
            return i - 1;
    return s.n;
}

size_t ll_slice_search(struct ll_slice s, struct ll_slice needle)
{
    if (needle.n == 0)
        return 0;
    for (size_t i = 0; i + needle.n <= s.n; i++) {
        i += ll_slice_find(ll_slice_skip(s, i), needle.p[0]);
        if (i + needle.n <= s.n && memcmp(s.p + i, needle.p, needle.n) == 0)
            return i;
    }
    return s.n;
}

struct ll_slice ll_slice_cut(struct ll_slice s, size_t from, size_t to)
{
    if (to > s.n)
        to = s.n;
    if (from > to)
        from = to;
    return (struct ll_slice){s.p ? s.p + from : NULL, to - from};
}

struct ll_slice ll_slice_skip(struct ll_slice s, size_t n)
{
    return ll_slice_cut(s, n, s.n);
}

struct ll_slice ll_slice_trim(struct ll_slice s)
{
    while (s.n && ll_is_blank(s.p[0]))
        s = ll_slice_skip(s, 1);
    while (s.n && ll_is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

bool ll_slice_next(struct ll_slice *rest, uint8_t c, struct ll_slice *ret_part)
{
    size_t at;

    if (!rest->p) {
        *ret_part = (struct ll_slice){NULL, 0};
        return false;
    }
    at = ll_slice_find(*rest, c);
    *ret_part = ll_slice_cut(*rest, 0, at);
    if (at == rest->n)
        *rest = (struct ll_slice){NULL, 0};
    else
        *rest = ll_slice_skip(*rest, at + 1);
    return true;
}

bool ll_slice_u64(struct ll_slice s, uint64_t *ret)
{
    uint64_t v = 0;

    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (!ll_is_digit(s.p[i]))
            return false;
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, s.p[i] - '0', &v))
            return false;
    }
    *ret = v;
    return true;
}

char *ll_slice_dup(struct ll_slice s)
{
    char *copy = malloc(s.n + 1);

    if (!copy)
        return NULL;
    if (s.n)
        memcpy(copy, s.p, s.n);
    copy[s.n] = '\0';
    return copy;
}
