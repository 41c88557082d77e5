/*
 * store: where the queue keeps what it has millions of.
 *
 * A table is a hash table with chains through the entries themselves. It grows by one bucket when
 * an entry comes (linear hashing: W. Litwin, 1980), so no call moves more than one chain. Who walks
 * it bucket by bucket, with other work in between, sees every entry that stays, some perhaps twice:
 * a bucket is split into itself and a new one at the end.
 *
 * Pieces are all of one size, cut from slabs, without the octets that malloc adds to each; those
 * that come back are given out again, and the memory goes when all are released.
 */
#ifndef LL_DAEMON_QUEUE_STORE_H
#define LL_DAEMON_QUEUE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct node { /* first member of an entry */
    struct node *next;
};

typedef uint64_t (*table_hash_fn)(const struct node *);

struct table {
    struct node **bucket;
    size_t n_buckets;
    size_t cap; /* room for so many buckets */
    size_t n;   /* entries */
    table_hash_fn hash;
};

int table_init(struct table *, table_hash_fn); /* -1 without memory */
void table_release(struct table *);            /* the entries stay their owner's */
/* The first entry of the chain in which one with that hash would be. */
struct node *table_chain(const struct table *, uint64_t hash);
/* Without memory to grow, chains become longer. */
void table_put(struct table *, struct node *);
void table_take(struct table *, struct node *); /* it is in there */

struct pieces {
    size_t size; /* octets of a piece */
    void *free;
    void *slabs;
    size_t left; /* octets not yet given out in the newest slab */
};

void pieces_init(struct pieces *, size_t size);
void *pieces_get(struct pieces *); /* set to zero; NULL without memory */
void pieces_put(struct pieces *, void *);
void pieces_release(struct pieces *);

#endif
