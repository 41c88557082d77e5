/* See include/letterlock/base.h. */
#include "letterlock/base.h"

struct ll_slice ll_cur_bytes(struct ll_cursor *c, size_t n)
{
    struct ll_slice part = {NULL, 0};

    if (c->failed || n > ll_cur_left(c)) {
        c->failed = true;
        return part;
    }
    part = ll_slice(c->in.p + c->at, n);
    c->at += n;
    return part;
}

static uint64_t get_be(struct ll_cursor *c, size_t octets)
{
    struct ll_slice raw = ll_cur_bytes(c, octets);
    uint64_t v = 0;

    for (size_t i = 0; i < raw.n; i++)
        v = v << 8 | raw.p[i];
    return v;
}

uint8_t ll_cur_u8(struct ll_cursor *c)
{
    return (uint8_t)get_be(c, 1);
}

uint16_t ll_cur_u16(struct ll_cursor *c)
{
    return (uint16_t)get_be(c, 2);
}

uint32_t ll_cur_u32(struct ll_cursor *c)
{
    return (uint32_t)get_be(c, 4);
}

uint64_t ll_cur_u64(struct ll_cursor *c)
{
    return get_be(c, 8);
}

struct ll_slice ll_cur_str16(struct ll_cursor *c)
{
    return ll_cur_bytes(c, ll_cur_u16(c));
}

struct ll_slice ll_cur_str32(struct ll_cursor *c)
{
    return ll_cur_bytes(c, ll_cur_u32(c));
}

bool ll_cur_end(const struct ll_cursor *c)
{
    return !c->failed && c->at == c->in.n;
}
