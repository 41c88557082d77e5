/* See cert.h. */
#include "io/cert.h"

#include <arpa/inet.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#define NAMES_MAX 100 /* names of one certificate */

static int fault(struct ll_buf *err, const char *what)
{
    ll_buf_printf(err, "%s failed", what);
    ERR_clear_error();
    return -1;
}

static EVP_PKEY *make_key(enum ll_cert_key type)
{
    switch (type) {
    case LL_CERT_P256:
        return EVP_EC_gen("P-256");
    case LL_CERT_P384:
        return EVP_EC_gen("P-384");
    case LL_CERT_RSA2048:
        return EVP_RSA_gen(2048);
    }
    return NULL;
}

static bool add_ext(X509 *x, int nid, const char *value)
{
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    bool ok = e && X509_add_ext(x, e, -1);
    X509_EXTENSION_free(e);
    return ok;
}

static bool add_key_ids(X509 *x, X509 *issuer)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *s = X509V3_EXT_conf_nid(NULL, &ctx, NID_subject_key_identifier, "hash");
    bool ok = s && X509_add_ext(x, s, -1);
    X509_EXTENSION_free(s);
    if (!ok || issuer == x)
        return ok;
    X509_EXTENSION *a = X509V3_EXT_conf_nid(NULL, &ctx, NID_authority_key_identifier, "keyid");
    ok = a && X509_add_ext(x, a, -1);
    X509_EXTENSION_free(a);
    return ok;
}

/* One name for subjectAltName, made from parts: a text form would need quoting. */
static GENERAL_NAME *general_name(struct ll_slice name)
{
    uint8_t ip[16];
    char text[64];
    int n = 0;
    if (name.n < sizeof(text)) {
        memcpy(text, name.p, name.n);
        text[name.n] = 0;
        n = inet_pton(AF_INET, text, ip) == 1 ? 4 : inet_pton(AF_INET6, text, ip) == 1 ? 16 : 0;
    }
    GENERAL_NAME *g = GENERAL_NAME_new();
    ASN1_STRING *s = n ? ASN1_OCTET_STRING_new() : ASN1_IA5STRING_new();
    if (!g || !s || !ASN1_STRING_set(s, n ? ip : name.p, n ? n : (int)name.n)) {
        GENERAL_NAME_free(g);
        ASN1_STRING_free(s);
        return NULL;
    }
    GENERAL_NAME_set0_value(g, n ? GEN_IPADD : GEN_DNS, s);
    return g;
}

static bool add_names(X509 *x, const struct ll_cert_opts *o)
{
    GENERAL_NAMES *all = GENERAL_NAMES_new();
    bool ok = all != NULL;
    for (size_t i = 0; ok && i < o->n_names; i++) {
        GENERAL_NAME *g = general_name(o->names[i]);
        ok = g && sk_GENERAL_NAME_push(all, g) > 0;
        if (!ok)
            GENERAL_NAME_free(g);
    }
    ok = ok && X509_add1_ext_i2d(x, NID_subject_alt_name, all, 0, X509V3_ADD_DEFAULT) == 1;
    GENERAL_NAMES_free(all);
    return ok;
}

static bool set_serial(X509 *x)
{
    uint8_t raw[16];
    if (RAND_bytes(raw, sizeof(raw)) != 1)
        return false;
    raw[0] = (raw[0] & 0x7f) | 0x40; /* positive, and never short */
    BIGNUM *b = BN_bin2bn(raw, sizeof(raw), NULL);
    bool ok = b && BN_to_ASN1_INTEGER(b, X509_get_serialNumber(x));
    BN_free(b);
    return ok;
}

static bool set_subject(X509 *x, const struct ll_cert_opts *o)
{
    X509_NAME *name = X509_get_subject_name(x);
    struct ll_slice cn = o->names[0];
    if (cn.n > 64) /* ub-common-name; the name is in subjectAltName anyway */
        cn = LL_LIT("letterlock");
    return X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, (const uint8_t *)"letterlock", -1,
                                      -1, 0) == 1 &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, cn.p, (int)cn.n, -1, 0) == 1;
}

static bool set_times(X509 *x, const struct ll_cert_opts *o)
{
    int64_t from = o->now - 3600, to = o->now + (int64_t)o->days * 86400;
    if (o->days < 0) {
        from = o->now - 30 * 86400;
        to = o->now - 86400;
    }
    return ASN1_TIME_set(X509_getm_notBefore(x), (time_t)from) &&
           ASN1_TIME_set(X509_getm_notAfter(x), (time_t)to);
}

/* Fills x and signs it. issuer == x: self-signed. */
static bool fill(X509 *x, const struct ll_cert_opts *o, EVP_PKEY *key, X509 *issuer,
                 EVP_PKEY *issuer_key)
{
    if (!X509_set_version(x, X509_VERSION_3) || !set_serial(x) || !set_times(x, o) ||
        !set_subject(x, o) || !X509_set_issuer_name(x, X509_get_subject_name(issuer)) ||
        !X509_set_pubkey(x, key))
        return false;
    if (!add_key_ids(x, issuer) ||
        !add_ext(x, NID_basic_constraints, o->ca ? "critical,CA:TRUE" : "critical,CA:FALSE"))
        return false;
    if (o->ca) {
        if (!add_ext(x, NID_key_usage, "critical,keyCertSign,cRLSign"))
            return false;
    } else if (!add_names(x, o) || !add_ext(x, NID_key_usage, "critical,digitalSignature") ||
               !add_ext(x, NID_ext_key_usage, "serverAuth,clientAuth")) {
        return false;
    }
    return X509_sign(x, issuer_key, EVP_sha256()) > 0;
}

static void put_bio(struct ll_buf *out, BIO *b)
{
    char *p = NULL;
    long n = BIO_get_mem_data(b, &p);
    if (n > 0)
        ll_buf_put(out, p, (size_t)n);
}

static int write_pem(const struct ll_cert_opts *o, X509 *x, EVP_PKEY *key, struct ll_buf *cert_pem,
                     struct ll_buf *key_pem)
{
    BIO *c = BIO_new(BIO_s_mem()), *k = BIO_new(BIO_s_secmem());
    bool ok = c && k && PEM_write_bio_X509(c, x) == 1 &&
              PEM_write_bio_PKCS8PrivateKey(k, key, NULL, NULL, 0, NULL, NULL) == 1;
    if (ok) {
        put_bio(cert_pem, c);
        ll_buf_put_slice(cert_pem, o->ca_cert_pem);
        put_bio(key_pem, k);
    }
    BIO_free(c);
    BIO_free(k);
    return ok && !cert_pem->failed && !key_pem->failed ? 0 : -1;
}

/* Reads the CA; without one, the certificate is its own issuer. */
static bool load_issuer(const struct ll_cert_opts *o, X509 *x, EVP_PKEY *key, X509 **issuer,
                        EVP_PKEY **issuer_key)
{
    if (o->ca_cert_pem.n == 0) {
        *issuer = x;
        *issuer_key = key;
        return X509_up_ref(x) && EVP_PKEY_up_ref(key);
    }
    BIO *c = BIO_new_mem_buf(o->ca_cert_pem.p, (int)o->ca_cert_pem.n);
    BIO *k = BIO_new_mem_buf(o->ca_key_pem.p, (int)o->ca_key_pem.n);
    *issuer = c ? PEM_read_bio_X509(c, NULL, NULL, NULL) : NULL;
    *issuer_key = k ? PEM_read_bio_PrivateKey(k, NULL, NULL, (void *)"") : NULL;
    BIO_free(c);
    BIO_free(k);
    return *issuer && *issuer_key && X509_check_private_key(*issuer, *issuer_key) == 1;
}

int ll_cert_make(const struct ll_cert_opts *o, struct ll_buf *cert_pem, struct ll_buf *key_pem,
                 struct ll_buf *err)
{
    if (o->n_names == 0 || o->n_names > NAMES_MAX || o->ca_cert_pem.n > INT32_MAX ||
        o->ca_key_pem.n > INT32_MAX) {
        ll_buf_printf(err, "a certificate needs 1 to %d names", NAMES_MAX);
        return -1;
    }
    for (size_t i = 0; i < o->n_names; i++) {
        if (o->names[i].n == 0 || o->names[i].n > 253 || !ll_is_ascii(o->names[i]) ||
            memchr(o->names[i].p, 0, o->names[i].n)) {
            ll_buf_puts(err, "a name for the certificate is empty, too long or not in A-labels");
            return -1;
        }
    }
    EVP_PKEY *key = make_key(o->key), *issuer_key = NULL;
    X509 *x = X509_new(), *issuer = NULL;
    int rc = 0;
    if (!key || !x)
        rc = fault(err, "making a key");
    else if (!load_issuer(o, x, key, &issuer, &issuer_key))
        rc = fault(err, "reading the CA's certificate and key");
    else if (!fill(x, o, key, issuer, issuer_key))
        rc = fault(err, "making a certificate");
    else if (write_pem(o, x, key, cert_pem, key_pem) < 0)
        rc = fault(err, "writing a certificate");
    X509_free(issuer);
    EVP_PKEY_free(issuer_key);
    X509_free(x);
    EVP_PKEY_free(key);
    return rc;
}

int ll_cert_make_self_signed(enum ll_cert_key key, const struct ll_slice *names, size_t n_names,
                             int days, int64_t now, struct ll_buf *cert_pem, struct ll_buf *key_pem,
                             struct ll_buf *err)
{
    struct ll_cert_opts o = {
        .key = key, .names = names, .n_names = n_names, .days = days, .now = now};
    return ll_cert_make(&o, cert_pem, key_pem, err);
}
