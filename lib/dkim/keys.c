/*
 * Made keys, kept for the letters to come. See letterlock/dkim.h.
 *
 * A key's place follows from its octets; whoever comes to a place that is taken replaces what is
 * there. So nothing has to be ordered, and strangers who fill it with keys of theirs cost others
 * the making of a key, never more than that.
 */
#include "lib/dkim/parts.h"

#include <stdlib.h>

struct kept {
    EVP_PKEY *key; /* NULL: free */
    unsigned bits;
    enum ll_dkim_algorithm algorithm;
    struct ll_buf octets; /* as the record has them */
};

struct ll_dkim_keys {
    size_t n;
    struct kept v[];
};

struct ll_dkim_keys *ll_dkim_keys_new(size_t max)
{
    struct ll_dkim_keys *keys;

    if (max == 0 || max > LL_DKIM_KEPT_MAX)
        return NULL;
    keys = calloc(1, sizeof(*keys) + max * sizeof(keys->v[0]));
    if (!keys)
        return NULL;
    keys->n = max;
    for (size_t i = 0; i < max; i++)
        ll_buf_init(&keys->v[i].octets, LL_DKIM_KEY_ROOM);
    return keys;
}

void ll_dkim_keys_free(struct ll_dkim_keys *keys)
{
    if (!keys)
        return;
    for (size_t i = 0; i < keys->n; i++) {
        EVP_PKEY_free(keys->v[i].key);
        ll_buf_release(&keys->v[i].octets);
    }
    free(keys);
}

static void keep(struct kept *k, const struct ll_dkim_record *r, EVP_PKEY *key, unsigned bits)
{
    EVP_PKEY_free(k->key);
    k->key = NULL;
    ll_buf_clear(&k->octets);
    ll_buf_put(&k->octets, r->key, r->key_n);
    if (k->octets.failed || !EVP_PKEY_up_ref(key))
        return;
    k->key = key;
    k->bits = bits;
    k->algorithm = r->algorithm;
}

enum ll_dkim_fault ll_dkim_keys_get(struct ll_dkim_keys *keys, const struct ll_dkim_record *r,
                                    EVP_PKEY **ret, unsigned *ret_bits)
{
    struct ll_slice octets = ll_slice(r->key, r->key_n);
    enum ll_dkim_fault fault;
    struct kept *k;

    if (!keys)
        return ll_dkim_record_key(r, ret, ret_bits);
    k = &keys->v[ll_crc32c(0, octets.p, octets.n) % keys->n];
    if (k->key && k->algorithm == r->algorithm && ll_slice_eq(ll_buf_slice(&k->octets), octets) &&
        EVP_PKEY_up_ref(k->key)) {
        *ret = k->key;
        *ret_bits = k->bits;
        return LL_DKIM_FAULT_OK;
    }
    fault = ll_dkim_record_key(r, ret, ret_bits);
    if (fault == LL_DKIM_FAULT_OK)
        keep(k, r, *ret, *ret_bits);
    return fault;
}
