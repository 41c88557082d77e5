/* Verifying DKIM signatures (RFC 6376 6.1). See letterlock/dkim.h. */
#include "lib/dkim/parts.h"

#include <stdlib.h>

struct ll_dkim {
    struct ll_dkim_letter *letter;
    struct ll_dkim_ring ring;
    struct ll_dkim_sig sig[LL_DKIM_SIGNATURES_MAX];
    int key[LL_DKIM_SIGNATURES_MAX]; /* in the ring; negative: none is needed */
    struct ll_dkim_result result[LL_DKIM_SIGNATURES_MAX];
    size_t n, skipped;
};

/* What a result tells, out of the signature. */
static void tell(const struct ll_dkim_sig *sig, struct ll_dkim_result *ret)
{
    ret->algorithm = sig->a;
    ret->domain = ll_dns_name_slice(&sig->domain);
    ret->selector = ll_dns_name_slice(&sig->selector);
    ret->identity = ll_slice(sig->identity, sig->identity_n);
    ret->b = ll_slice(sig->b_start, sig->b_start_n);
    ret->partial = sig->partial;
    ret->signed_at = sig->t;
    ret->expires = sig->x;
}

/* Everything that needs neither key nor body (RFC 6376 6.1.1). */
static void begin(struct ll_dkim *d, size_t i, uint32_t field, int64_t now)
{
    const struct ll_dkim_field *f = &d->letter->field[field];
    struct ll_dkim_sig *sig = &d->sig[i];
    enum ll_dkim_fault fault = ll_dkim_sig_parse(LL_DKIM_FIELD, f->raw, f->body, sig);

    sig->field = field;
    d->key[i] = -1;
    tell(sig, &d->result[i]);
    if (fault == LL_DKIM_FAULT_OK && sig->x >= 0 && sig->x < now)
        fault = LL_DKIM_FAULT_EXPIRED;
    if (fault == LL_DKIM_FAULT_OK) {
        d->key[i] = ll_dkim_ring_want(&d->ring, &sig->domain, &sig->selector);
        if (d->key[i] < 0)
            fault = d->key[i] == -1 ? LL_DKIM_FAULT_KEYS_MANY : LL_DKIM_FAULT_NO_KEY;
    }
    if (fault == LL_DKIM_FAULT_OK &&
        !ll_dkim_letter_want(d->letter, sig->body, sig->partial, sig->length))
        fault = LL_DKIM_FAULT_RESOURCE;
    d->result[i].fault = fault == LL_DKIM_FAULT_OK ? LL_DKIM_FAULT_WAITS : fault;
}

struct ll_dkim *ll_dkim_new(struct ll_dkim_letter *letter, int64_t now)
{
    struct ll_dkim *d;

    if (!letter->ready)
        return NULL;
    d = calloc(1, sizeof(*d));
    if (!d)
        return NULL;
    d->letter = letter;
    d->ring.keys = letter->keys;
    for (size_t i = 0; i < letter->fields; i++) {
        if (!ll_slice_caseeq(letter->field[i].name, LL_LIT("DKIM-Signature")))
            continue;
        if (d->n < LL_DKIM_SIGNATURES_MAX)
            begin(d, d->n++, (uint32_t)i, now);
        else
            d->skipped++;
    }
    return d;
}

void ll_dkim_free(struct ll_dkim *d)
{
    if (!d)
        return;
    ll_dkim_ring_release(&d->ring);
    free(d);
}

bool ll_dkim_need(struct ll_dkim *d, struct ll_need *ret)
{
    if (!ll_dkim_ring_need(&d->ring, ret))
        return false;
    d->letter->work.lookups++;
    return true;
}

void ll_dkim_answer(struct ll_dkim *d, const struct ll_need_answer *answer)
{
    ll_dkim_ring_answer(&d->ring, answer);
}

/* The key is there and the letter is over (RFC 6376 6.1.3). */
static enum ll_dkim_fault verify(struct ll_dkim *d, const struct ll_dkim_sig *sig,
                                 const struct ll_dkim_ring_key *key)
{
    struct ll_dkim_letter *l = d->letter;
    enum ll_dkim_fault fault = ll_dkim_ring_fits(key, sig), body;
    uint8_t hash[LL_DKIM_HASH];

    if (fault != LL_DKIM_FAULT_OK)
        return fault;
    if (l->fault != LL_DKIM_FAULT_OK)
        return l->fault;
    body = ll_dkim_letter_body(l, sig);
    if (body != LL_DKIM_FAULT_OK && body != LL_DKIM_FAULT_UNSIGNED_REST)
        return body;
    ll_buf_clear(&l->text);
    ll_dkim_letter_fields(l, sig->header, sig->h, sig->field, &l->text);
    ll_dkim_canon_own(sig->header, sig->raw, sig->b_raw, &l->text);
    l->work.header_hashes++;
    l->work.octets += l->text.n;
    if (l->text.failed || !ll_dkim_sha256(ll_buf_slice(&l->text), hash))
        return LL_DKIM_FAULT_RESOURCE;
    l->work.key_operations++;
    fault = ll_dkim_verify_hash(key->key, sig, hash);
    return fault == LL_DKIM_FAULT_OK ? body : fault;
}

bool ll_dkim_done(struct ll_dkim *d)
{
    bool all = d->letter->ended;

    for (size_t i = 0; i < d->n; i++) {
        const struct ll_dkim_ring_key *key;

        if (d->result[i].fault != LL_DKIM_FAULT_WAITS)
            continue;
        key = &d->ring.v[d->key[i]];
        if (!d->letter->ended || !key->answered) {
            all = false;
            continue;
        }
        d->result[i].bits = key->bits;
        d->result[i].testing = key->record.testing;
        d->result[i].fault = verify(d, &d->sig[i], key);
    }
    return all;
}

size_t ll_dkim_results(const struct ll_dkim *d, const struct ll_dkim_result **ret,
                       size_t *ret_skipped)
{
    *ret = d->result;
    if (ret_skipped)
        *ret_skipped = d->skipped;
    return d->n;
}
