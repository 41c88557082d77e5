/*
 * PKCS#12 (RFC 7292), reading. Its bags are walked here, as PKCS12_parse gives one key only, and a
 * person's file often holds two. Bags within bags are left out: nobody makes them.
 */
#include <openssl/asn1t.h>
#include <openssl/err.h>
#include <openssl/pkcs12.h>
#include <openssl/provider.h>
#include <stdlib.h>

#include "lib/smime/internal.h"

#define KEYS_MAX  16 /* of one file */
#define SAFES_MAX 16 /* parts of one file, each with rounds of its own; real files have two */

struct contents {
    const char *password;
    X509 *cert[LL_SMIME_BAG_MAX];
    size_t n_cert;
    PKCS8_PRIV_KEY_INFO *key[KEYS_MAX];
    size_t n_key;
    int64_t rounds; /* of hashing the password, in all */
    bool too_large;
};

static void contents_clear(struct contents *c)
{
    for (size_t i = 0; i < c->n_cert; i++)
        X509_free(c->cert[i]);
    for (size_t i = 0; i < c->n_key; i++)
        PKCS8_PRIV_KEY_INFO_free(c->key[i]);
    c->n_cert = c->n_key = 0;
}

/* False: the whole file asks for more work than LL_SMIME_ITERATIONS_MAX. */
static bool afford(struct contents *c, int64_t rounds)
{
    c->rounds += rounds;
    if (c->rounds > LL_SMIME_ITERATIONS_MAX)
        c->too_large = true;
    return !c->too_large;
}

static bool take_key(struct contents *c, PKCS8_PRIV_KEY_INFO *key)
{
    if (!key || c->n_key == LL_COUNT(c->key)) {
        c->too_large = c->too_large || key;
        PKCS8_PRIV_KEY_INFO_free(key);
        return false;
    }
    c->key[c->n_key++] = key;
    return true;
}

static bool take_bag(struct contents *c, PKCS12_SAFEBAG *bag)
{
    const X509_ALGOR *pbe;

    switch (PKCS12_SAFEBAG_get_nid(bag)) {
    case NID_keyBag:
        return take_key(
            c, ASN1_item_dup(ASN1_ITEM_rptr(PKCS8_PRIV_KEY_INFO), PKCS12_SAFEBAG_get0_p8inf(bag)));
    case NID_pkcs8ShroudedKeyBag:
        X509_SIG_get0(PKCS12_SAFEBAG_get0_pkcs8(bag), &pbe, NULL);
        if (!afford(c, ll_smime_rounds(pbe)))
            return false;
        return take_key(c, PKCS12_decrypt_skey(bag, c->password, -1));
    case NID_certBag:
        if (PKCS12_SAFEBAG_get_bag_nid(bag) != NID_x509Certificate)
            return true;
        if (c->n_cert == LL_COUNT(c->cert)) {
            c->too_large = true;
            return false;
        }
        c->cert[c->n_cert] = PKCS12_SAFEBAG_get1_cert(bag);
        return c->cert[c->n_cert] && ++c->n_cert;
    default:
        return true;
    }
}

static STACK_OF(PKCS12_SAFEBAG) * safe_bags(struct contents *c, PKCS7 *safe)
{
    switch (OBJ_obj2nid(safe->type)) {
    case NID_pkcs7_data:
        return PKCS12_unpack_p7data(safe);
    case NID_pkcs7_encrypted:
        if (!safe->d.encrypted ||
            !afford(c, ll_smime_rounds(safe->d.encrypted->enc_data->algorithm)))
            return NULL;
        return PKCS12_unpack_p7encdata(safe, c->password, -1);
    default:
        return NULL;
    }
}

/* All bags of all safes. False: something in it could not be read. */
static bool walk(struct contents *c, PKCS12 *file)
{
    STACK_OF(PKCS7) *safes = PKCS12_unpack_authsafes(file);
    bool ok = safes != NULL;

    if (sk_PKCS7_num(safes) > SAFES_MAX) {
        c->too_large = true;
        ok = false;
    }
    for (int i = 0; ok && i < sk_PKCS7_num(safes); i++) {
        STACK_OF(PKCS12_SAFEBAG) *bags = safe_bags(c, sk_PKCS7_value(safes, i));

        ok = bags != NULL;
        for (int k = 0; ok && k < sk_PKCS12_SAFEBAG_num(bags); k++)
            ok = take_bag(c, sk_PKCS12_SAFEBAG_value(bags, k));
        sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
    }
    sk_PKCS7_pop_free(safes, PKCS7_free);
    return ok;
}

/* The same in a context that has RC2, which is for this alone. What comes out is parsed anew in the
 * ordinary context by the caller. */
static bool walk_legacy(struct contents *c, PKCS12 *file)
{
    OSSL_LIB_CTX *own = OSSL_LIB_CTX_new(), *before;
    OSSL_PROVIDER *legacy, *standard;
    bool ok = false;

    if (!own)
        return false;
    legacy = OSSL_PROVIDER_load(own, "legacy");
    standard = OSSL_PROVIDER_load(own, "default");
    if (legacy && standard) {
        before = OSSL_LIB_CTX_set0_default(own);
        ok = walk(c, file);
        OSSL_LIB_CTX_set0_default(before);
    }
    if (!ok)
        contents_clear(c);
    for (size_t i = 0; i < c->n_cert; i++) {
        unsigned char *der = NULL;
        int n = i2d_X509(c->cert[i], &der);
        const unsigned char *p = der;

        X509_free(c->cert[i]);
        c->cert[i] = n > 0 ? d2i_X509(NULL, &p, n) : NULL;
        OPENSSL_free(der);
        ok = ok && c->cert[i];
    }
    OSSL_PROVIDER_unload(legacy);
    OSSL_PROVIDER_unload(standard);
    OSSL_LIB_CTX_free(own);
    return ok;
}

static int64_t mac_rounds(PKCS12 *file)
{
    const ASN1_INTEGER *rounds;
    int64_t n = 1;

    PKCS12_get0_mac(NULL, NULL, NULL, &rounds, file);
    if (rounds && (!ASN1_INTEGER_get_int64(&n, rounds) || n <= 0 || n > LL_SMIME_ITERATIONS_MAX))
        n = LL_SMIME_ITERATIONS_MAX + 1;
    return n;
}

/* The password's two ways to be none. */
static enum ll_seal_error check_mac(struct contents *c, PKCS12 *file)
{
    if (!PKCS12_mac_present(file))
        return LL_SEAL_OK;
    if (!afford(c, mac_rounds(file)))
        return LL_SEAL_TOO_LARGE;
    if (PKCS12_verify_mac(file, c->password, -1))
        return LL_SEAL_OK;
    if (c->password[0] == '\0' && PKCS12_verify_mac(file, NULL, 0)) {
        c->password = NULL;
        return LL_SEAL_OK;
    }
    return ll_smime_failed(LL_SEAL_PASSWORD);
}

static enum ll_seal_error open_file(struct contents *c, struct ll_slice octets)
{
    const unsigned char *p = octets.p;
    PKCS12 *file = d2i_PKCS12(NULL, &p, (long)octets.n);
    enum ll_seal_error e = file ? check_mac(c, file) : ll_smime_failed(LL_SEAL_MALFORMED);

    if (e == LL_SEAL_OK && !walk(c, file)) {
        contents_clear(c);
        if (c->too_large)
            e = LL_SEAL_TOO_LARGE;
        else if (!walk_legacy(c, file))
            e = PKCS12_mac_present(file) ? LL_SEAL_UNSUPPORTED : LL_SEAL_PASSWORD;
    }
    PKCS12_free(file);
    return ll_smime_failed(e);
}

/* Certificates first, so that keys find theirs. A key of a kind that is of no use here is passed
 * over; its error is told when no other was taken. */
static enum ll_seal_error keep_all(struct ll_smime *s, struct contents *c, size_t *place,
                                   size_t *ret_n)
{
    enum ll_seal_error fault = LL_SEAL_NO_KEY;

    for (size_t i = 0; i < c->n_cert; i++) {
        enum ll_seal_error e = ll_smime_keep(s, c->cert[i], NULL);

        if (e != LL_SEAL_OK)
            return e;
    }
    for (size_t i = 0; i < c->n_key; i++) {
        EVP_PKEY *key = EVP_PKCS82PKEY(c->key[i]);
        enum ll_seal_error e =
            key ? ll_smime_give_key(s, key, SIZE_MAX, &place[*ret_n]) : LL_SEAL_UNSUPPORTED;

        EVP_PKEY_free(key);
        if (e == LL_SEAL_OK)
            ++*ret_n;
        else
            fault = e;
    }
    return *ret_n ? LL_SEAL_OK : fault;
}

enum ll_seal_error ll_smime_add_pkcs12(struct ll_smime *s, struct ll_slice octets,
                                       struct ll_slice password, struct ll_arena *a,
                                       struct ll_slice **ret, size_t *ret_n)
{
    char *text = ll_slice_dup(password);
    struct contents c = {.password = text};
    size_t place[KEYS_MAX], n = 0;
    enum ll_seal_error e;

    if (octets.n > LL_SMIME_FILE_MAX)
        e = LL_SEAL_TOO_LARGE;
    else
        e = text ? open_file(&c, octets) : LL_SEAL_RESOURCE;
    if (e == LL_SEAL_OK)
        e = keep_all(s, &c, place, &n);
    contents_clear(&c);
    if (text)
        explicit_bzero(text, password.n);
    free(text);
    if (e == LL_SEAL_OK && ret && ret_n) {
        struct ll_slice *v = ll_arena_alloc(a, n * sizeof(*v));

        for (size_t i = 0; v && i < n; i++)
            v[i] = ll_smime_hex(s->v[place[i]].hash, a);
        if (!v || !v[n - 1].p)
            return LL_SEAL_RESOURCE;
        *ret = v;
        *ret_n = n;
    }
    return ll_smime_failed(e);
}
