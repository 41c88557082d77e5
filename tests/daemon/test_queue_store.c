/* Tables and pieces of the queue: short chains at any size, walks that miss nothing, memory that
 * comes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "daemon/queue/store.h"

#include <stdio.h>
#include <string.h>

#define ENTRIES 100000

struct entry {
    struct node node;
    uint64_t key;
    unsigned seen;
};

static struct entry entries[ENTRIES];

static uint64_t hash_of(const struct node *n)
{
    uint64_t x = ((const struct entry *)n)->key * 0x9e3779b97f4a7c15u;

    return x ^ x >> 29;
}

static struct entry *find(const struct table *t, uint64_t key)
{
    struct entry e = {.key = key};
    struct node *n = table_chain(t, hash_of(&e.node));

    while (n && ((struct entry *)n)->key != key)
        n = n->next;
    return (struct entry *)n;
}

static size_t longest(const struct table *t)
{
    size_t most = 0;

    for (size_t i = 0; i < t->n_buckets; i++) {
        size_t length = 0;

        for (struct node *n = t->bucket[i]; n; n = n->next)
            length++;
        most = length > most ? length : most;
    }
    return most;
}

static void fill(struct table *t, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        entries[i].key = i + 1;
        entries[i].seen = 0;
        table_put(t, &entries[i].node);
    }
}

static void chains_stay_short(void **state)
{
    struct table t;

    assert_int_equal(table_init(&t, hash_of), 0);
    for (size_t n = 0; n < ENTRIES; n += 10000) {
        fill(&t, n, n + 10000);
        assert_int_equal(t.n, n + 10000);
        assert_true(longest(&t) <= 12);
    }
    for (size_t i = 0; i < ENTRIES; i++)
        assert_ptr_equal(find(&t, i + 1), &entries[i]);
    assert_null(find(&t, 0));
    assert_null(find(&t, ENTRIES + 1));
    for (size_t i = 0; i < ENTRIES; i += 2)
        table_take(&t, &entries[i].node);
    assert_int_equal(t.n, ENTRIES / 2);
    for (size_t i = 0; i < ENTRIES; i++)
        assert_ptr_equal(find(&t, i + 1), i % 2 ? &entries[i] : NULL);
    table_release(&t);
    assert_null(table_chain(&t, 1));
}

/* A walk that goes on while others come sees all who were there, at most twice for each growth. */
static void walks_miss_nothing(void **state)
{
    struct table t;
    size_t n = 5000;

    assert_int_equal(table_init(&t, hash_of), 0);
    fill(&t, 0, n);
    for (size_t i = 0; i < t.n_buckets; i++) {
        for (struct node *e = t.bucket[i]; e; e = e->next)
            ((struct entry *)e)->seen++;
        if (n + 3 <= ENTRIES && i % 2 == 0) {
            fill(&t, n, n + 3);
            n += 3;
        }
    }
    assert_true(n == ENTRIES || n > 10000);
    for (size_t i = 0; i < 5000; i++)
        assert_true(entries[i].seen >= 1);
    table_release(&t);
}

static void pieces_come_back(void **state)
{
    static uint64_t *piece[ENTRIES];
    struct pieces p;

    pieces_init(&p, 41);
    for (uint64_t i = 0; i < ENTRIES; i++) {
        piece[i] = pieces_get(&p);
        assert_non_null(piece[i]);
        assert_int_equal((uintptr_t)piece[i] % 8, 0);
        for (size_t k = 0; k < 5; k++)
            assert_int_equal(piece[i][k], 0);
        for (size_t k = 0; k < 5; k++)
            piece[i][k] = i;
    }
    for (uint64_t i = 0; i < ENTRIES; i++)
        for (size_t k = 0; k < 5; k++)
            assert_int_equal(piece[i][k], i);
    for (size_t i = 0; i < ENTRIES; i++)
        pieces_put(&p, piece[i]);
    for (size_t i = ENTRIES; i > 0; i--) { /* the same ones, clean again */
        assert_ptr_equal(pieces_get(&p), piece[i - 1]);
        for (size_t k = 0; k < 5; k++)
            assert_int_equal(piece[i - 1][k], 0);
    }
    pieces_release(&p);
    assert_null(p.slabs);
    assert_non_null(pieces_get(&p));
    pieces_release(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chains_stay_short),
        cmocka_unit_test(walks_miss_nothing),
        cmocka_unit_test(pieces_come_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
