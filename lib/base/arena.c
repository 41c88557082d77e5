/* See include/letterlock/base.h. */
#include "letterlock/base.h"

#include <stdalign.h>
#include <stdlib.h>

#define ARENA_BLOCK 4096 /* octets of an ordinary block; a larger request gets its own */

struct ll_arena_block {
    struct ll_arena_block *next;
    size_t size;
    size_t used;
    alignas(max_align_t) uint8_t room[];
};

void ll_arena_init(struct ll_arena *a, size_t max)
{
    *a = (struct ll_arena){.max = max};
}

void ll_arena_release(struct ll_arena *a)
{
    while (a->blocks) {
        struct ll_arena_block *next = a->blocks->next;

        free(a->blocks);
        a->blocks = next;
    }
    a->used = 0;
}

void *ll_arena_alloc(struct ll_arena *a, size_t n)
{
    size_t align = alignof(max_align_t);
    struct ll_arena_block *b = a->blocks;
    void *p;

    if (n > a->max || a->used > a->max - n)
        return NULL;
    n = (n + align - 1) / align * align;
    if (!b || b->size - b->used < n) {
        size_t size = n > ARENA_BLOCK ? n : ARENA_BLOCK;

        b = malloc(sizeof(*b) + size);
        if (!b) {
            a->no_memory = true;
            return NULL;
        }
        *b = (struct ll_arena_block){a->blocks, size, 0};
        a->blocks = b;
    }
    p = b->room + b->used;
    b->used += n;
    a->used += n;
    return memset(p, 0, n);
}

struct ll_slice ll_arena_dup(struct ll_arena *a, struct ll_slice s)
{
    char *copy = ll_arena_str(a, s);

    return (struct ll_slice){(const uint8_t *)copy, copy ? s.n : 0};
}

char *ll_arena_str(struct ll_arena *a, struct ll_slice s)
{
    char *copy = s.n < SIZE_MAX ? ll_arena_alloc(a, s.n + 1) : NULL;

    if (copy && s.n)
        memcpy(copy, s.p, s.n);
    return copy;
}
