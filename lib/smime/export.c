/* Certificates and keys, going out. See include/letterlock/smime.h. */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <stdlib.h>

#include "lib/smime/internal.h"

#define OLD_ITERATIONS 2048 /* what old programs expect, and some cannot exceed */
#define SALT           16   /* octets */

X509 *ll_smime_issuer(struct ll_smime *s, X509 *cert)
{
    for (size_t i = 0; i < s->n; i++)
        if (X509_check_issued(s->v[i].cert, cert) == X509_V_OK && X509_cmp(s->v[i].cert, cert) != 0)
            return s->v[i].cert;
    return NULL;
}

static bool put_chain(struct ll_smime *s, X509 *cert, BIO *out)
{
    bool ok = PEM_write_bio_X509(out, cert);

    for (int i = 0; ok && i < LL_SMIME_CHAIN_MAX && X509_self_signed(cert, 0) != 1; i++) {
        cert = ll_smime_issuer(s, cert);
        if (!cert)
            break;
        ok = PEM_write_bio_X509(out, cert);
    }
    return ok;
}

static bool put_sealed(PKCS8_PRIV_KEY_INFO *plain, struct ll_slice password, BIO *out)
{
    X509_ALGOR *pbe = PKCS5_pbe2_set_iv(EVP_aes_256_cbc(), LL_SMIME_ITERATIONS, NULL, SALT, NULL,
                                        NID_hmacWithSHA256);
    X509_SIG *sealed = NULL;
    bool ok;

    if (pbe)
        sealed = PKCS8_set0_pbe((const char *)password.p, (int)password.n, plain, pbe);
    if (pbe && !sealed)
        X509_ALGOR_free(pbe);
    ok = sealed && PEM_write_bio_PKCS8(out, sealed);
    X509_SIG_free(sealed);
    return ok;
}

static bool put_key(EVP_PKEY *key, struct ll_slice password, BIO *out)
{
    PKCS8_PRIV_KEY_INFO *plain = EVP_PKEY2PKCS8(key);
    bool ok;

    if (password.n > 0)
        ok = plain && put_sealed(plain, password, out);
    else
        ok = plain && PEM_write_bio_PKCS8_PRIV_KEY_INFO(out, plain);
    PKCS8_PRIV_KEY_INFO_free(plain);
    return ok;
}

static STACK_OF(X509) * issuers(struct ll_smime *s, X509 *cert)
{
    STACK_OF(X509) *v = sk_X509_new_null();

    for (int i = 0; v && i < LL_SMIME_CHAIN_MAX && X509_self_signed(cert, 0) != 1; i++) {
        cert = ll_smime_issuer(s, cert);
        if (!cert)
            break;
        if (!sk_X509_push(v, cert)) {
            sk_X509_free(v);
            return NULL;
        }
    }
    return v;
}

static bool put_pkcs12(struct ll_smime *s, struct ll_smime_entry *e, bool old,
                       struct ll_slice password, BIO *out)
{
    int pbe = old ? NID_pbe_WithSHA1And3_Key_TripleDES_CBC : NID_aes_256_cbc;
    int rounds = old ? OLD_ITERATIONS : LL_SMIME_ITERATIONS;
    STACK_OF(X509) *chain = issuers(s, e->cert);
    char *text = ll_slice_dup(password), *name;
    struct ll_arena a;
    PKCS12 *file = NULL;
    bool ok = false;

    ll_arena_init(&a, 2 * LL_SMIME_CERT_MAX);
    name = ll_arena_str(&a, ll_smime_cert_name(e->cert, &a)); /* what other programs list it by */
    if (chain && text && name)
        file = PKCS12_create(text, name, e->key, e->cert, chain, pbe, pbe, rounds, -1, 0);
    if (file)
        ok = PKCS12_set_mac(file, text, -1, NULL, 0, rounds, old ? EVP_sha1() : EVP_sha256()) &&
             i2d_PKCS12_bio(out, file);
    PKCS12_free(file);
    sk_X509_free(chain);
    ll_arena_release(&a);
    if (text)
        explicit_bzero(text, password.n);
    free(text);
    return ok;
}

static bool put(struct ll_smime *s, struct ll_smime_entry *e, enum ll_smime_form form,
                struct ll_slice password, BIO *out)
{
    switch (form) {
    case LL_SMIME_CERT_PEM:
        return PEM_write_bio_X509(out, e->cert);
    case LL_SMIME_CERT_DER:
        return i2d_X509_bio(out, e->cert);
    case LL_SMIME_CHAIN:
        return put_chain(s, e->cert, out);
    case LL_SMIME_KEY_PEM:
        return put_key(e->key, password, out);
    case LL_SMIME_IDENTITY:
        return put_key(e->key, password, out) && put_chain(s, e->cert, out);
    case LL_SMIME_PKCS12:
    case LL_SMIME_PKCS12_LEGACY:
        return put_pkcs12(s, e, form == LL_SMIME_PKCS12_LEGACY, password, out);
    }
    return false;
}

enum ll_seal_error ll_smime_export(struct ll_smime *s, struct ll_slice fingerprint,
                                   enum ll_smime_form form, struct ll_slice password,
                                   struct ll_buf *out)
{
    struct ll_smime_entry *e = ll_smime_find(s, fingerprint);
    bool secret = form >= LL_SMIME_KEY_PEM;
    size_t before = out->n;
    char *p = NULL;
    BIO *bio;
    bool ok;

    if (!e || (secret && !e->key && e->locked.n == 0))
        return LL_SEAL_NO_KEY;
    if (secret && !e->key)
        return LL_SEAL_LOCKED;
    bio = BIO_new(BIO_s_mem()); /* wipes what it held */
    ok = bio && put(s, e, form, password, bio);
    if (ok) {
        long n = BIO_get_mem_data(bio, &p);

        ll_buf_put(out, p, (size_t)n);
    }
    BIO_free(bio);
    if (!ok)
        return ll_smime_failed(LL_SEAL_RESOURCE);
    if (out->failed)
        out->n = before;
    return ll_smime_failed(out->failed ? LL_SEAL_TOO_LARGE : LL_SEAL_OK);
}
