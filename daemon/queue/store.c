/* See store.h. */
#include "daemon/queue/store.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define BUCKETS_FIRST 1024
#define SLAB          (1u << 20)
#define SLAB_HEAD     16 /* the link to the slab before it, and alignment */
#define ALIGN         8

/* ---- tables ---------------------------------------------------------------------------------- */

/* The buckets behind the highest power of two that are there already, and their older halves, are
 * told apart by one bit more. */
static size_t bucket_of(const struct table *t, uint64_t hash)
{
    size_t low = (size_t)1 << (63 - __builtin_clzll((unsigned long long)t->n_buckets));
    size_t at = hash & (2 * low - 1);

    return at < t->n_buckets ? at : at - low;
}

int table_init(struct table *t, table_hash_fn hash)
{
    t->bucket = calloc(BUCKETS_FIRST, sizeof(struct node *));
    t->n_buckets = t->bucket ? BUCKETS_FIRST : 0;
    t->cap = t->n_buckets;
    t->n = 0;
    t->hash = hash;
    return t->bucket ? 0 : -1;
}

void table_release(struct table *t)
{
    free(t->bucket);
    *t = (struct table){0};
}

struct node *table_chain(const struct table *t, uint64_t hash)
{
    return t->n_buckets ? t->bucket[bucket_of(t, hash)] : NULL;
}

/* Adds a bucket, and moves there who belongs to it. The room doubles, but what is not used of it
 * takes no memory: the kernel gives pages when they are touched. */
static void grow(struct table *t)
{
    struct node *e;
    size_t from;

    if (t->n_buckets == t->cap) {
        struct node **bucket = realloc(t->bucket, 2 * t->cap * sizeof(struct node *));

        if (!bucket)
            return;
        t->bucket = bucket;
        t->cap *= 2;
    }
    from = bucket_of(t, t->n_buckets);
    e = t->bucket[from];
    t->bucket[from] = NULL;
    t->bucket[t->n_buckets++] = NULL;
    while (e) {
        struct node *next = e->next;
        size_t at = bucket_of(t, t->hash(e));

        e->next = t->bucket[at];
        t->bucket[at] = e;
        e = next;
    }
}

void table_put(struct table *t, struct node *e)
{
    size_t at;

    if (t->n >= t->n_buckets)
        grow(t);
    at = bucket_of(t, t->hash(e));
    e->next = t->bucket[at];
    t->bucket[at] = e;
    t->n++;
}

void table_take(struct table *t, struct node *e)
{
    struct node **at = &t->bucket[bucket_of(t, t->hash(e))];

    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    t->n--;
}

/* ---- pieces -----------------------------------------------------------------------------------
 */

void pieces_init(struct pieces *p, size_t size)
{
    *p = (struct pieces){.size = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1)};
}

/* Straight from the kernel: what goes back goes back whole, whatever else was allocated since. */
static bool slab_new(struct pieces *p)
{
    // cppcheck-suppress invalidFunctionArg ; -1 is what MAP_ANONYMOUS wants
    void *slab = mmap(NULL, SLAB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (slab == MAP_FAILED)
        return false;
    *(void **)slab = p->slabs;
    p->slabs = slab;
    p->left = SLAB - SLAB_HEAD;
    return true;
}

void *pieces_get(struct pieces *p)
{
    void *piece = p->free;

    if (piece) {
        p->free = *(void **)piece;
        memset(piece, 0, p->size);
        return piece;
    }
    if (p->left < p->size && !slab_new(p))
        return NULL;
    piece = (char *)p->slabs + SLAB - p->left; /* zero, as the kernel gave it */
    p->left -= p->size;
    return piece;
}

void pieces_put(struct pieces *p, void *piece)
{
    *(void **)piece = p->free;
    p->free = piece;
}

void pieces_release(struct pieces *p)
{
    while (p->slabs) {
        void *slab = p->slabs;

        p->slabs = *(void **)slab;
        munmap(slab, SLAB);
    }
    pieces_init(p, p->size);
}
