/* See include/letterlock/autocrypt.h. What is known of a peer, and what follows from it. */
#include "letterlock/autocrypt.h"

bool ll_autocrypt_update(struct ll_autocrypt_peer *p, int64_t date, struct ll_slice key,
                         bool mutual)
{
    bool changed = false;

    if (date < p->timestamp)
        return false;
    if (date > p->last_seen) {
        p->last_seen = date;
        changed = true;
    }
    if (key.n == 0)
        return changed;
    p->timestamp = date;
    p->key = key;
    p->mutual = mutual;
    return true;
}

bool ll_autocrypt_update_gossip(struct ll_autocrypt_peer *p, int64_t date, struct ll_slice key)
{
    if (key.n == 0 || date < p->gossip_timestamp)
        return false;
    p->gossip_timestamp = date;
    p->gossip_key = key;
    return true;
}

static const struct {
    const char *word, *text;
} advice[] = {
#define ROW(ID, word, text) [LL_AUTOCRYPT_##ID] = {word, text},
    LL_AUTOCRYPT_ADVICE(ROW)
#undef ROW
};

const char *ll_autocrypt_advice_word(enum ll_autocrypt_advice a)
{
    return advice[a].word;
}

const char *ll_autocrypt_advice_text(enum ll_autocrypt_advice a)
{
    return advice[a].text;
}

enum ll_autocrypt_advice ll_autocrypt_advise(const struct ll_autocrypt_peer *p,
                                             const struct ll_autocrypt_question *q,
                                             struct ll_slice *ret_key)
{
    bool key = p->key.n > 0 && q->key_usable, gossip = p->gossip_key.n > 0 && q->gossip_usable;
    enum ll_autocrypt_advice first = LL_AUTOCRYPT_AVAILABLE;

    *ret_key = key ? p->key : gossip ? p->gossip_key : (struct ll_slice){NULL, 0};
    if (!key && !gossip)
        return LL_AUTOCRYPT_DISABLE;
    if (!key || p->last_seen - p->timestamp > LL_AUTOCRYPT_STALE_S)
        first = LL_AUTOCRYPT_DISCOURAGE;
    if (q->answers_sealed || (first == LL_AUTOCRYPT_AVAILABLE && p->mutual && q->own_mutual))
        return LL_AUTOCRYPT_ENCRYPT;
    return first;
}

enum ll_autocrypt_advice ll_autocrypt_advise_all(const enum ll_autocrypt_advice *v, size_t n)
{
    size_t of[LL_COUNT(advice)] = {0};

    for (size_t i = 0; i < n; i++)
        of[v[i]]++;
    return of[LL_AUTOCRYPT_DISABLE] > 0      ? LL_AUTOCRYPT_DISABLE
           : of[LL_AUTOCRYPT_ENCRYPT] == n   ? LL_AUTOCRYPT_ENCRYPT
           : of[LL_AUTOCRYPT_DISCOURAGE] > 0 ? LL_AUTOCRYPT_DISCOURAGE
                                             : LL_AUTOCRYPT_AVAILABLE;
}
