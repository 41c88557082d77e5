/*
 * What came along with a good signature and is worth keeping: the signer's issuers, and the
 * certificate that he wants to be written to with, where he has one for signing and one for sealing
 * (RFC 8551 2.5.3). Each was really issued or is good itself; the rest of the bag is left.
 */
#include "lib/smime/internal.h"

/* Who signed this certificate; borrowed from the bag. */
static X509 *issuer_in(STACK_OF(X509) * bag, X509 *cert)
{
    for (int i = 0, tries = 0; i < sk_X509_num(bag) && tries < LL_SMIME_TRIES; i++) {
        X509 *c = sk_X509_value(bag, i);
        EVP_PKEY *key = X509_get0_pubkey(c);

        if (!key || EVP_PKEY_get_bits(key) > LL_SMIME_RSA_BITS_MAX || X509_check_ca(c) != 1 ||
            X509_cmp(c, cert) == 0 || X509_check_issued(c, cert) != X509_V_OK)
            continue;
        tries++;
        if (X509_verify(cert, key) > 0)
            return c;
    }
    return NULL;
}

/* Whether both speak for the signer's first address. */
static bool same_person(X509 *signer, X509 *other, struct ll_arena *a)
{
    struct ll_slice *mine, *theirs;
    size_t n_mine, n_theirs;

    if (!ll_smime_addresses(signer, a, &mine, &n_mine) || n_mine == 0 ||
        !ll_smime_addresses(other, a, &theirs, &n_theirs))
        return false;
    for (size_t i = 0; i < n_theirs; i++)
        if (ll_slice_caseeq(mine[0], theirs[i]))
            return true;
    return false;
}

static X509 *for_sealing(struct ll_smime *s, X509 *signer, STACK_OF(X509) * bag, int64_t now,
                         struct ll_arena *a)
{
    if (ll_smime_fits(signer, LL_SMIME_ENCRYPT) == LL_SMIME_FAULT_OK)
        return NULL;
    for (int i = 0; i < sk_X509_num(bag); i++) {
        X509 *c = sk_X509_value(bag, i);

        if (X509_cmp(c, signer) != 0 && same_person(signer, c, a) &&
            ll_smime_chain(s, c, bag, LL_SMIME_ENCRYPT, now, a, NULL) == LL_SMIME_FAULT_OK)
            return c;
    }
    return NULL;
}

struct ll_smime_entry *ll_smime_for_sealing(struct ll_smime *s, X509 *signer, int64_t now)
{
    struct ll_smime_entry *found = NULL;
    struct ll_arena a;

    if (ll_smime_fits(signer, LL_SMIME_ENCRYPT) == LL_SMIME_FAULT_OK)
        return NULL;
    ll_arena_init(&a, 8 * LL_SMIME_CERT_MAX);
    for (size_t i = 0; i < s->n && !found; i++) {
        struct ll_smime_entry *e = &s->v[i];

        if ((e->key || e->locked.n > 0) &&
            ll_smime_fits(e->cert, LL_SMIME_ENCRYPT) == LL_SMIME_FAULT_OK &&
            ll_smime_in_time(e->cert, now) == LL_SMIME_FAULT_OK && same_person(signer, e->cert, &a))
            found = e;
    }
    ll_arena_release(&a);
    return found;
}

bool ll_smime_along(struct ll_smime *s, X509 *signer, STACK_OF(X509) * bag, int64_t now,
                    struct ll_arena *a, struct ll_signature *sig)
{
    struct ll_slice *v = ll_arena_alloc(a, (LL_SMIME_CHAIN_MAX + 1) * sizeof(*v));
    X509 *c = v ? for_sealing(s, signer, bag, now, a) : NULL;
    size_t n = 0;

    if (c)
        v[n++] = ll_smime_der(c, a);
    for (c = signer; v && n <= LL_SMIME_CHAIN_MAX && X509_self_signed(c, 0) != 1;) {
        c = issuer_in(bag, c);
        if (!c)
            break;
        v[n++] = ll_smime_der(c, a);
    }
    ll_smime_failed(LL_SEAL_OK);
    if (!v || (n > 0 && !v[n - 1].p))
        return false;
    sig->along = v;
    sig->n_along = n;
    return true;
}
