/* See pki.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/lib/smime/pki.h"

EVP_PKEY *pki_key(const char *kind)
{
    EVP_PKEY *key;

    if (!kind)
        kind = "P-256";
    if (strncmp(kind, "RSA-PSS", 7) == 0) {
        EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA-PSS", NULL);

        key = NULL;
        assert_true(ctx && EVP_PKEY_keygen_init(ctx) > 0 &&
                    EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, 2048) > 0 &&
                    EVP_PKEY_generate(ctx, &key) > 0);
        EVP_PKEY_CTX_free(ctx);
    } else if (strncmp(kind, "RSA", 3) == 0) {
        key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", strtoul(kind + 3, NULL, 10));
    } else if (strcmp(kind, "ED25519") == 0) {
        key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    } else {
        key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", kind);
    }
    assert_non_null(key);
    return key;
}

static void extension(X509 *cert, X509 *issuer, const char *name, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *x;

    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    x = X509V3_EXT_nconf(NULL, &ctx, name, value);
    assert_non_null(x);
    assert_true(X509_add_ext(cert, x, -1));
    X509_EXTENSION_free(x);
}

static void utf8_name(X509 *cert, const char *address)
{
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    GENERAL_NAME *g = GENERAL_NAME_new();
    ASN1_UTF8STRING *text = ASN1_UTF8STRING_new();
    ASN1_TYPE *value = ASN1_TYPE_new();

    assert_true(ASN1_STRING_set(text, address, -1));
    ASN1_TYPE_set(value, V_ASN1_UTF8STRING, text);
    assert_true(GENERAL_NAME_set0_othername(g, OBJ_nid2obj(NID_id_on_SmtpUTF8Mailbox), value));
    sk_GENERAL_NAME_push(names, g);
    assert_true(X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0));
    GENERAL_NAMES_free(names);
}

static void extensions(X509 *cert, X509 *issuer, const struct wish *w)
{
    const char *extended = w->extended ? w->extended : w->ca ? "" : "emailProtection";
    char text[300];

    snprintf(text, sizeof(text), "critical,CA:TRUE,pathlen:%d", w->path - 1);
    extension(cert, issuer, "basicConstraints",
              !w->ca    ? "critical,CA:FALSE"
              : w->path ? text
                        : "critical,CA:TRUE");
    extension(cert, issuer, "keyUsage",
              w->usage ? w->usage
              : w->ca  ? "critical,keyCertSign,cRLSign"
                       : "critical,digitalSignature,keyEncipherment,keyAgreement");
    if (extended[0])
        extension(cert, issuer, "extendedKeyUsage", extended);
    extension(cert, issuer, "subjectKeyIdentifier", "hash");
    if (issuer != cert)
        extension(cert, issuer, "authorityKeyIdentifier", "keyid");
    if (w->address) {
        snprintf(text, sizeof(text), "email:%s", w->address);
        extension(cert, issuer, "subjectAltName", text);
    }
    if (w->utf8_address)
        utf8_name(cert, w->utf8_address);
    if (w->more) {
        const char *is = strchr(w->more, '=');

        snprintf(text, sizeof(text), "%.*s", (int)(is - w->more), w->more);
        extension(cert, issuer, text, is + 1);
    }
}

struct party pki_issue(const struct party *issuer, const struct wish *w)
{
    static long serial = 1000;
    struct party p = {pki_key(w->kind), X509_new(), {0}};
    X509_NAME *name = X509_get_subject_name(p.cert);
    const struct party *by = issuer ? issuer : &p;

    assert_true(X509_set_version(p.cert, X509_VERSION_3));
    ASN1_INTEGER_set(X509_get_serialNumber(p.cert), w->serial ? w->serial : ++serial);
    assert_true(ASN1_TIME_set(X509_getm_notBefore(p.cert), w->from ? w->from : NOW - DAY));
    assert_true(ASN1_TIME_set(X509_getm_notAfter(p.cert), w->to ? w->to : NOW + YEAR));
    assert_true(
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const uint8_t *)w->name, -1, -1, 0));
    if (w->dn_address)
        assert_true(X509_NAME_add_entry_by_txt(name, "emailAddress", MBSTRING_ASC,
                                               (const uint8_t *)w->dn_address, -1, -1, 0));
    assert_true(X509_set_issuer_name(p.cert, X509_get_subject_name(by->cert)));
    assert_true(X509_set_pubkey(p.cert, p.key));
    extensions(p.cert, by->cert, w);
    assert_true(X509_sign(p.cert, by->key,
                          EVP_PKEY_get_id(by->key) == EVP_PKEY_ED25519
                              ? NULL
                              : EVP_get_digestbyname(w->md ? w->md : "SHA256")) > 0);
    return p;
}

void pki_free(struct party *p)
{
    EVP_PKEY_free(p->key);
    X509_free(p->cert);
}

void pki_crl(const struct party *issuer, const struct party *revoked, int64_t to,
             struct ll_buf *out)
{
    X509_CRL *crl = X509_CRL_new();
    ASN1_TIME *t = ASN1_TIME_set(NULL, NOW - DAY);
    ASN1_INTEGER *number = ASN1_INTEGER_new();
    unsigned char *der = NULL;
    int n;

    X509_CRL_set_version(crl, X509_CRL_VERSION_2);
    X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer->cert));
    X509_CRL_set1_lastUpdate(crl, t);
    ASN1_INTEGER_set(number, 1);
    X509_CRL_add1_ext_i2d(crl, NID_crl_number, number, 0, 0);
    if (revoked) {
        X509_REVOKED *r = X509_REVOKED_new();

        X509_REVOKED_set_serialNumber(r, X509_get_serialNumber(revoked->cert));
        X509_REVOKED_set_revocationDate(r, t);
        X509_CRL_add0_revoked(crl, r);
    }
    assert_non_null(ASN1_TIME_set(t, to));
    X509_CRL_set1_nextUpdate(crl, t);
    assert_true(X509_CRL_sign(crl, issuer->key, EVP_sha256()) > 0);
    n = i2d_X509_CRL(crl, &der);
    assert_true(n > 0);
    ll_buf_put(out, der, (size_t)n);
    OPENSSL_free(der);
    ASN1_TIME_free(t);
    ASN1_INTEGER_free(number);
    X509_CRL_free(crl);
}

void pki_ocsp(const struct party *issuer, const struct party *signer, const struct party *cert,
              int status, int64_t from, int64_t to, struct ll_buf *out)
{
    OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
    OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), cert->cert, issuer->cert);
    ASN1_TIME *begin = ASN1_GENERALIZEDTIME_set(NULL, from),
              *end = ASN1_GENERALIZEDTIME_set(NULL, to);
    OCSP_RESPONSE *response;
    unsigned char *der = NULL;
    int n;

    assert_non_null(OCSP_basic_add1_status(basic, id, status, OCSP_REVOKED_STATUS_KEYCOMPROMISE,
                                           status == V_OCSP_CERTSTATUS_REVOKED ? begin : NULL,
                                           begin, to ? end : NULL));
    assert_true(OCSP_basic_sign(basic, signer->cert, signer->key, EVP_sha256(), NULL, 0));
    response = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
    n = i2d_OCSP_RESPONSE(response, &der);
    assert_true(n > 0);
    ll_buf_put(out, der, (size_t)n);
    OPENSSL_free(der);
    OCSP_RESPONSE_free(response);
    OCSP_BASICRESP_free(basic);
    OCSP_CERTID_free(id);
    ASN1_TIME_free(begin);
    ASN1_TIME_free(end);
}

void pki_der(const struct party *p, struct ll_buf *out)
{
    unsigned char *der = NULL;
    int n = i2d_X509(p->cert, &der);

    assert_true(n > 0);
    ll_buf_put(out, der, (size_t)n);
    OPENSSL_free(der);
}

void pki_pem_key(const struct party *p, struct ll_buf *out)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    long n;

    assert_true(PEM_write_bio_PrivateKey(bio, p->key, NULL, NULL, 0, NULL, NULL));
    n = BIO_get_mem_data(bio, &text);
    ll_buf_put(out, text, (size_t)n);
    BIO_free(bio);
}

void pki_enroll(struct ll_smime *s, struct party *p, bool key, struct ll_arena *a)
{
    struct ll_buf text = LL_BUF(1 << 16);
    struct ll_slice *fingerprint;
    size_t n;

    pki_der(p, &text);
    assert_int_equal(ll_smime_add_cert(s, ll_buf_slice(&text), a, &fingerprint, &n), LL_SEAL_OK);
    p->fingerprint = fingerprint[0];
    ll_buf_clear(&text);
    if (key) {
        pki_pem_key(p, &text);
        assert_int_equal(ll_smime_add_key(s, ll_buf_slice(&text), LL_LIT(""), a, &p->fingerprint),
                         LL_SEAL_OK);
    }
    ll_buf_release(&text);
}
