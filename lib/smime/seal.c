/* Signing and sealing. See include/letterlock/smime.h. */
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/ec.h>

#include "lib/smime/internal.h"

const EVP_MD *ll_smime_digest(const EVP_PKEY *key)
{
    const char *curve = ll_smime_curve(key);

    if (curve && strcmp(curve, "p384") == 0)
        return EVP_sha384();
    if (curve && strcmp(curve, "p521") == 0)
        return EVP_sha512();
    return EVP_sha256();
}

enum ll_seal_error ll_smime_usable(struct ll_smime *s, struct ll_slice fingerprint,
                                   enum ll_smime_purpose purpose, int64_t now,
                                   struct ll_smime_entry **ret)
{
    struct ll_smime_entry *e = ll_smime_find(s, fingerprint);

    if (!e)
        return LL_SEAL_NO_KEY;
    if (ll_smime_fits(e->cert, purpose) != LL_SMIME_FAULT_OK ||
        ll_smime_in_time(e->cert, now) != LL_SMIME_FAULT_OK)
        return LL_SEAL_UNUSABLE_KEY;
    if (ll_smime_weak_key(X509_get0_pubkey(e->cert)))
        return LL_SEAL_WEAK;
    *ret = e;
    return LL_SEAL_OK;
}

enum ll_seal_error ll_smime_write(CMS_ContentInfo *cms, struct ll_buf *out)
{
    int n = i2d_CMS_ContentInfo(cms, NULL);
    uint8_t *p;

    if (n <= 0)
        return ll_smime_failed(LL_SEAL_RESOURCE);
    p = ll_buf_room(out, (size_t)n);
    if (!p)
        return LL_SEAL_TOO_LARGE;
    i2d_CMS_ContentInfo(cms, &p);
    ll_buf_grew(out, (size_t)n);
    return LL_SEAL_OK;
}

static bool finish(CMS_ContentInfo *cms, struct ll_slice text, unsigned flags)
{
    BIO *in = ll_smime_source(text);
    bool ok = in && CMS_final(cms, in, NULL, flags);

    BIO_free(in);
    return ok;
}

/* ---- signing --------------------------------------------------------------------------------- */

static bool add_issuers(struct ll_smime *s, CMS_ContentInfo *cms, X509 *cert)
{
    bool ok = true;

    for (int i = 0; ok && i < LL_SMIME_CHAIN_MAX; i++) {
        cert = ll_smime_issuer(s, cert);
        /* RFC 8550 2.3: the root is known to whoever trusts it. */
        if (!cert || X509_self_signed(cert, 0) == 1)
            break;
        ok = CMS_add1_cert(cms, cert);
        /* The same issuer twice: a ring of cross certificates. */
        if (!ok && ERR_GET_REASON(ERR_peek_last_error()) == CMS_R_CERTIFICATE_ALREADY_PRESENT)
            return true;
    }
    return ok;
}

/* Who has one certificate for signing and another for sealing says which to write to: it goes
 * along, and SMIMEEncryptionKeyPreference names it (RFC 8551 2.5.3): issuerAndSerialNumber, tagged
 * [0]. */
static X509_ATTRIBUTE *preference(X509 *cert)
{
    PKCS7_ISSUER_AND_SERIAL *name = PKCS7_ISSUER_AND_SERIAL_new();
    ASN1_STRING *value = ASN1_STRING_type_new(V_ASN1_OTHER);
    X509_ATTRIBUTE *a = NULL;
    unsigned char *der = NULL;
    int n = -1;

    if (name && value && X509_NAME_set(&name->issuer, X509_get_issuer_name(cert)) &&
        ASN1_STRING_copy(name->serial, X509_get0_serialNumber(cert)))
        n = i2d_PKCS7_ISSUER_AND_SERIAL(name, &der);
    if (n > 0) {
        der[0] = 0xa0;
        ASN1_STRING_set0(value, der, n);
        a = X509_ATTRIBUTE_create(NID_id_smime_aa_encrypKeyPref, V_ASN1_OTHER, value);
        value = a ? NULL : value;
    }
    PKCS7_ISSUER_AND_SERIAL_free(name);
    ASN1_STRING_free(value);
    return a;
}

static bool add_preference(struct ll_smime *s, CMS_ContentInfo *cms, CMS_SignerInfo *si,
                           X509 *signer, int64_t now)
{
    struct ll_smime_entry *e = ll_smime_for_sealing(s, signer, now);
    X509_ATTRIBUTE *a = e ? preference(e->cert) : NULL;
    bool ok = !e || (a && CMS_add1_cert(cms, e->cert) && CMS_signed_add1_attr(si, a));

    X509_ATTRIBUTE_free(a);
    return ok;
}

static bool add_attributes(CMS_SignerInfo *si, int64_t now)
{
    STACK_OF(X509_ALGOR) *capabilities = ll_smime_own_capabilities();
    ASN1_TIME *t = ASN1_TIME_set(NULL, (time_t)now);
    bool ok = capabilities && t && CMS_add_smimecap(si, capabilities) &&
              CMS_signed_add1_attr_by_NID(si, NID_pkcs9_signingTime, ASN1_STRING_type(t), t, -1);

    ASN1_TIME_free(t);
    sk_X509_ALGOR_pop_free(capabilities, X509_ALGOR_free);
    return ok;
}

/* A key that is for PSS alone gets a salt as long as the hash (RFC 4056 3). */
static bool set_padding(CMS_SignerInfo *si, EVP_PKEY *key)
{
    EVP_PKEY_CTX *ctx = CMS_SignerInfo_get0_pkey_ctx(si);

    if (EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA_PSS)
        return true;
    return ctx && EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) > 0 &&
           EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) > 0;
}

enum ll_seal_error ll_smime_sign(struct ll_smime *s, struct ll_slice signer, struct ll_slice text,
                                 int64_t now, bool detached, struct ll_buf *out)
{
    unsigned flags =
        CMS_PARTIAL | CMS_BINARY | CMS_NOSMIMECAP | CMS_KEY_PARAM | (detached ? CMS_DETACHED : 0);
    struct ll_smime_entry *me = NULL;
    enum ll_seal_error e = ll_smime_usable(s, signer, LL_SMIME_SIGN, now, &me);
    CMS_ContentInfo *cms;
    CMS_SignerInfo *si = NULL;

    if (e != LL_SEAL_OK)
        return e;
    if (!me->key)
        return me->locked.n ? LL_SEAL_LOCKED : LL_SEAL_NO_KEY;
    if (EVP_PKEY_get_base_id(me->key) == EVP_PKEY_ED25519)
        return LL_SEAL_UNUSABLE_KEY;
    if (text.n > LL_SMIME_CMS_MAX)
        return LL_SEAL_TOO_LARGE;
    cms = CMS_sign(NULL, NULL, NULL, NULL, flags);
    if (cms)
        si = CMS_add1_signer(cms, me->cert, me->key, ll_smime_digest(me->key), flags);
    if (si && set_padding(si, me->key) && add_attributes(si, now) &&
        add_preference(s, cms, si, me->cert, now) && add_issuers(s, cms, me->cert) &&
        finish(cms, text, flags))
        e = ll_smime_write(cms, out);
    else
        e = LL_SEAL_RESOURCE;
    CMS_ContentInfo_free(cms);
    return ll_smime_failed(e);
}

/* ---- sealing --------------------------------------------------------------------------------- */

static const struct {
    uint32_t capability;
    const EVP_CIPHER *(*cipher)(void);
} ciphers[] = {
    {LL_SMIME_CAN(AES256_GCM), EVP_aes_256_gcm},
    {LL_SMIME_CAN(AES128_GCM), EVP_aes_128_gcm},
    {LL_SMIME_CAN(AES256_CBC), EVP_aes_256_cbc},
    {LL_SMIME_CAN(AES128_CBC), EVP_aes_128_cbc},
};

/* The best that all announced. Whoever announced none of ours, or nothing, gets AES-256-CBC:
 * nothing weaker is written (RFC 8551 2.7.1). */
static const EVP_CIPHER *choose(uint32_t all, enum ll_smime_content wish)
{
    if (wish == LL_SMIME_GCM)
        return EVP_aes_256_gcm();
    for (size_t i = 0; wish == LL_SMIME_AUTO && i < LL_COUNT(ciphers); i++)
        if (all & ciphers[i].capability)
            return ciphers[i].cipher();
    return EVP_aes_256_cbc();
}

static bool add_recipient(CMS_ContentInfo *cms, const struct ll_smime_entry *to)
{
    EVP_PKEY *key = X509_get0_pubkey(to->cert);
    CMS_RecipientInfo *ri = CMS_add1_recipient_cert(cms, to->cert, CMS_KEY_PARAM);
    EVP_PKEY_CTX *ctx = ri ? CMS_RecipientInfo_get0_pkey_ctx(ri) : NULL;

    if (!ctx)
        return false;
    if (EVP_PKEY_get_base_id(key) == EVP_PKEY_EC)
        return EVP_PKEY_CTX_set_ecdh_kdf_md(ctx, EVP_sha256()) > 0;
    if (!(ll_smime_entry_capabilities(to) & LL_SMIME_CAN(OAEP)))
        return true;
    return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) > 0 &&
           EVP_PKEY_CTX_set_rsa_oaep_md(ctx, EVP_sha256()) > 0;
}

enum ll_seal_error ll_smime_encrypt(struct ll_smime *s, const struct ll_slice *recipient, size_t n,
                                    struct ll_slice text, int64_t now, enum ll_smime_content wish,
                                    struct ll_buf *out)
{
    unsigned flags = CMS_PARTIAL | CMS_BINARY;
    enum ll_seal_error e = n == 0 ? LL_SEAL_NO_KEY : LL_SEAL_OK;
    uint32_t all = UINT32_MAX;
    struct ll_smime_entry *to = NULL;
    CMS_ContentInfo *cms;
    bool ok;

    if (n > LL_SMIME_RECIPIENTS_MAX || text.n > LL_SMIME_CMS_MAX)
        return LL_SEAL_TOO_LARGE;
    for (size_t i = 0; e == LL_SEAL_OK && i < n; i++) {
        e = ll_smime_usable(s, recipient[i], LL_SMIME_ENCRYPT, now, &to);
        if (e == LL_SEAL_OK)
            all &= ll_smime_entry_capabilities(to);
    }
    if (e != LL_SEAL_OK)
        return e;
    cms = CMS_encrypt(NULL, NULL, choose(all, wish), flags);
    ok = cms != NULL;
    for (size_t i = 0; ok && i < n; i++)
        ok = add_recipient(cms, ll_smime_find(s, recipient[i]));
    e = ok && finish(cms, text, flags) ? ll_smime_write(cms, out) : LL_SEAL_RESOURCE;
    CMS_ContentInfo_free(cms);
    return ll_smime_failed(e);
}
