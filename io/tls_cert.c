/* Certificates, trust, and the start of OpenSSL. See tls.h. */
#include "io/tls_internal.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "io/tls_provider.h"

#define PEM_MAX    (16u << 20) /* octets of a PEM file */
#define CERT_NAMES 1000        /* names of one certificate that are looked at */
#define TRUST_MAX  5000        /* certificates of one trust store */
#define RSA_MIN    2048
#define RSA_MAX    8192

/* ---- names ------------------------------------------------------------------------------------
 */

char **ll_tls_names_dup(const struct ll_slice *names, size_t n)
{
    char **out = calloc(n + 1, sizeof(*out));
    for (size_t i = 0; out && i < n; i++) {
        if (!(out[i] = ll_slice_dup(names[i]))) {
            ll_tls_names_free(out);
            return NULL;
        }
        for (char *p = out[i]; *p; p++)
            *p = (char)ll_lower((uint8_t)*p);
    }
    return out;
}

void ll_tls_names_free(char **names)
{
    for (char **p = names; p && *p; p++)
        free(*p);
    free(names);
}

static char **san_names(X509 *x)
{
    GENERAL_NAMES *all = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    size_t n = all ? (size_t)sk_GENERAL_NAME_num(all) : 0, k = 0;
    if (n > CERT_NAMES)
        n = CERT_NAMES;
    struct ll_slice *s = calloc(n + 1, sizeof(*s));
    for (size_t i = 0; s && i < n; i++) {
        GENERAL_NAME *g = sk_GENERAL_NAME_value(all, (int)i);
        if (g->type == GEN_DNS)
            s[k++] = ll_slice(ASN1_STRING_get0_data(g->d.dNSName),
                              (size_t)ASN1_STRING_length(g->d.dNSName));
    }
    char **out = s ? ll_tls_names_dup(s, k) : NULL;
    free(s);
    GENERAL_NAMES_free(all);
    return out;
}

const char *ll_tls_name_match(X509 *x, char *const *names)
{
    const unsigned flags =
        X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS;
    uint8_t ip[16];
    for (; names && *names; names++) {
        size_t n = inet_pton(AF_INET, *names, ip) == 1    ? 4
                   : inet_pton(AF_INET6, *names, ip) == 1 ? 16
                                                          : 0;
        if (n ? X509_check_ip(x, ip, n, 0) == 1 : X509_check_host(x, *names, 0, flags, NULL) == 1)
            return *names;
    }
    return NULL;
}

bool ll_tls_spki(X509 *x, uint8_t ret[32])
{
    uint8_t *der = NULL;
    int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der);
    bool ok = n > 0 && EVP_Q_digest(ll_tls_libctx, "SHA256", NULL, der, (size_t)n, ret, NULL) == 1;
    OPENSSL_free(der);
    return ok;
}

/* ---- certificates ------------------------------------------------------------------------------
 */

static struct ll_tls_cert *fail(struct ll_tls_cert *c, struct ll_buf *err, const char *what)
{
    ll_tls_fault(err, what);
    ll_tls_cert_free(c);
    return NULL;
}

/* Is this a key that we can serve with? */
static bool key_kind(struct ll_tls_cert *c)
{
    EVP_PKEY *pub = X509_get0_pubkey(c->leaf);
    char group[32] = "";
    if (!pub)
        return false;
    c->rsa = EVP_PKEY_is_a(pub, "RSA");
    if (c->rsa)
        return EVP_PKEY_get_bits(pub) >= RSA_MIN && EVP_PKEY_get_bits(pub) <= RSA_MAX;
    return EVP_PKEY_is_a(pub, "EC") &&
           EVP_PKEY_get_group_name(pub, group, sizeof(group), NULL) == 1 &&
           (strcmp(group, "prime256v1") == 0 || strcmp(group, "secp384r1") == 0);
}

static struct ll_tls_cert *cert_of_chain(struct ll_slice chain, struct ll_buf *err)
{
    struct ll_tls_cert *c = calloc(1, sizeof(*c));
    if (!c || !(c->chain = sk_X509_new_null()))
        return fail(c, err, "no memory");
    c->refs = 1;
    struct ll_cursor cur = ll_cursor(chain);
    for (size_t i = 0; ll_cur_left(&cur) > 0; i++) {
        struct ll_slice der = ll_cur_str32(&cur);
        const uint8_t *p = der.p;
        X509 *x = X509_new_ex(ll_tls_libctx, LL_TLS_PROPQ);
        if (cur.failed || i == LL_TLS_CHAIN_MAX || der.n > INT32_MAX || !x ||
            !d2i_X509(&x, &p, (long)der.n) || p != der.p + der.n) {
            X509_free(x);
            return fail(c, err,
                        i == LL_TLS_CHAIN_MAX ? "the certificate chain is too long"
                                              : "not a certificate");
        }
        if (i == 0)
            c->leaf = x;
        else if (sk_X509_push(c->chain, x) <= 0)
            X509_free(x);
    }
    if (!c->leaf)
        return fail(c, err, "no certificate");
    if (!key_kind(c))
        return fail(c, err,
                    "the certificate's key must be EC P-256, EC P-384 or RSA of 2048 to "
                    "8192 bit");
    if (!(c->names = san_names(c->leaf)))
        return fail(c, err, "no memory");
    return c;
}

struct ll_tls_cert *ll_tls_cert_new(struct ll_slice chain, uint32_t key,
                                    const struct ll_tls_signer *signer, struct ll_buf *err)
{
    struct ll_tls_cert *c = cert_of_chain(chain, err);
    if (!c)
        return NULL;
    c->key = ll_tls_provider_key(ll_tls_libctx, X509_get0_pubkey(c->leaf), key, signer);
    return c->key ? c : fail(c, err, "the certificate's public key cannot be used");
}

int ll_tls_chain_encode(struct ll_slice pem, struct ll_buf *out, struct ll_buf *err)
{
    BIO *b = pem.n <= PEM_MAX ? BIO_new_mem_buf(pem.p, (int)pem.n) : NULL;
    X509 *x;
    size_t n = 0;
    for (; b && (x = PEM_read_bio_X509(b, NULL, NULL, NULL)); n++) {
        uint8_t *der = NULL;
        int len = n < LL_TLS_CHAIN_MAX ? i2d_X509(x, &der) : -1;
        X509_free(x);
        if (len <= 0)
            break;
        ll_buf_str32(out, ll_slice(der, (size_t)len));
        OPENSSL_free(der);
    }
    /* the end of the file is the one error that is none */
    bool end = b && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    BIO_free(b);
    if (n == 0 || !end || out->failed) {
        ll_tls_fault(err, n ? "a certificate in the chain is damaged, or the chain is too long"
                            : "no certificate in PEM form");
        return -1;
    }
    ERR_clear_error();
    return 0;
}

struct ll_tls_cert *ll_tls_cert_pem(struct ll_slice chain_pem, struct ll_slice key_pem,
                                    struct ll_buf *err)
{
    struct ll_buf chain = LL_BUF(PEM_MAX);
    struct ll_tls_cert *c = ll_tls_chain_encode(chain_pem, &chain, err) == 0
                                ? cert_of_chain(ll_buf_slice(&chain), err)
                                : NULL;
    ll_buf_release(&chain);
    if (!c)
        return NULL;
    BIO *b = key_pem.n <= PEM_MAX ? BIO_new_mem_buf(key_pem.p, (int)key_pem.n) : NULL;
    c->key = b ? PEM_read_bio_PrivateKey_ex(b, NULL, NULL, (void *)"", ll_tls_libctx, LL_TLS_PROPQ)
               : NULL;
    BIO_free(b);
    if (!c->key)
        return fail(c, err, "the key cannot be read");
    if (X509_check_private_key(c->leaf, c->key) != 1)
        return fail(c, err, "the key does not belong to the certificate");
    return c;
}

struct ll_tls_cert *ll_tls_cert_ref(struct ll_tls_cert *c)
{
    c->refs++;
    return c;
}

void ll_tls_cert_free(struct ll_tls_cert *c)
{
    if (!c || (c->refs && --c->refs))
        return;
    X509_free(c->leaf);
    sk_X509_pop_free(c->chain, X509_free);
    EVP_PKEY_free(c->key);
    ll_tls_names_free(c->names);
    free(c);
}

/* ---- trust --------------------------------------------------------------------------------------
 */

static bool trust_add(struct ll_tls_trust *t, X509 *x)
{
    X509_NAME *name = NULL;
    if (X509_STORE_add_cert(t->store, x) != 1)
        return false;
    if (sk_X509_NAME_num(t->subjects) >= LL_TLS_SUBJECTS_MAX)
        return true;
    if (!(name = X509_NAME_dup(X509_get_subject_name(x))))
        return false;
    if (sk_X509_NAME_push(t->subjects, name) > 0)
        return true;
    X509_NAME_free(name);
    return false;
}

struct ll_tls_trust *ll_tls_trust_parse(struct ll_slice pem, struct ll_buf *err)
{
    struct ll_tls_trust *t = calloc(1, sizeof(*t));
    BIO *b = pem.n <= PEM_MAX ? BIO_new_mem_buf(pem.p, (int)pem.n) : NULL;
    size_t n = 0;
    bool ok = t && b && (t->store = X509_STORE_new()) && (t->subjects = sk_X509_NAME_new_null()) &&
              EVP_Q_digest(ll_tls_libctx, "SHA256", NULL, pem.p, pem.n, t->digest, NULL) == 1;
    while (ok) {
        X509 *x = X509_new_ex(ll_tls_libctx, LL_TLS_PROPQ);
        if (!x || !PEM_read_bio_X509_AUX(b, &x, NULL, NULL)) {
            X509_free(x);
            ok = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
            break;
        }
        ok = ++n <= TRUST_MAX && trust_add(t, x);
        X509_free(x);
    }
    BIO_free(b);
    if (t)
        t->refs = 1;
    if (!ok || n == 0) {
        ll_tls_fault(err, n ? "a trusted certificate is damaged" : "no certificate in PEM form");
        ll_tls_trust_free(t);
        return NULL;
    }
    ERR_clear_error();
    return t;
}

static bool read_file(const char *path, struct ll_buf *out)
{
    FILE *f = fopen(path, "re");
    size_t n;
    uint8_t *p;
    while (f && (p = ll_buf_room(out, 65536)) && (n = fread(p, 1, 65536, f)) > 0)
        ll_buf_grew(out, n);
    bool ok = f && !ferror(f) && !out->failed;
    if (f)
        fclose(f);
    return ok;
}

struct ll_tls_trust *ll_tls_trust_load(const char *path, struct ll_buf *err)
{
    static const char *const places[] = {"/etc/ssl/certs/ca-certificates.crt",
                                         "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"};
    const char *env = getenv("SSL_CERT_FILE");
    struct ll_buf pem = LL_BUF(PEM_MAX);
    struct ll_buf why = LL_BUF(256);
    bool got = false;
    if (!path && env)
        path = env;
    if (path)
        got = read_file(path, &pem);
    for (size_t i = 0; !path && !got && i < LL_COUNT(places); i++) {
        ll_buf_clear(&pem);
        got = read_file(places[i], &pem);
    }
    struct ll_tls_trust *t = NULL;
    if (!got)
        ll_buf_printf(err, "%s: %s", path ? path : "the system's trusted certificates",
                      "cannot be read");
    else if (!(t = ll_tls_trust_parse(ll_buf_slice(&pem), &why)))
        ll_buf_printf(err, "%s: %s", path ? path : "the system's trusted certificates",
                      ll_buf_str(&why));
    ll_buf_release(&pem);
    ll_buf_release(&why);
    return t;
}

struct ll_tls_trust *ll_tls_trust_ref(struct ll_tls_trust *t)
{
    t->refs++;
    return t;
}

void ll_tls_trust_free(struct ll_tls_trust *t)
{
    if (!t || (t->refs && --t->refs))
        return;
    X509_STORE_free(t->store);
    sk_X509_NAME_pop_free(t->subjects, X509_NAME_free);
    free(t);
}
