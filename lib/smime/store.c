/* What an ll_smime holds, and how it comes in. See include/letterlock/smime.h. */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>

#include "lib/smime/internal.h"

/* What libcrypto (openssl.cnf, with its providers) and the C library (the time zone, though nobody
 * wants it) read from files at their first use is read here, before anybody closes himself in. */
static bool warm_up(void)
{
    ASN1_TIME *t = ASN1_TIME_set(NULL, 0);
    EVP_MD *md = EVP_MD_fetch(NULL, "SHA256", NULL);
    bool ok = t && md;

    ASN1_TIME_free(t);
    EVP_MD_free(md);
    return ok;
}

struct ll_smime *ll_smime_new(void)
{
    return warm_up() ? calloc(1, sizeof(struct ll_smime)) : NULL;
}

void ll_smime_free(struct ll_smime *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n; i++) {
        X509_free(s->v[i].cert);
        EVP_PKEY_free(s->v[i].key);
        ll_buf_release(&s->v[i].locked);
        ll_buf_release(&s->v[i].announced);
    }
    for (size_t i = 0; i < s->n_crl; i++)
        X509_CRL_free(s->crl[i]);
    for (size_t i = 0; i < s->n_ocsp; i++)
        OCSP_BASICRESP_free(s->ocsp[i]);
    X509_STORE_free(s->store);
    free(s->v);
    free(s);
}

enum ll_seal_error ll_smime_failed(enum ll_seal_error otherwise)
{
    /* The last one is of the call that failed; there may be older ones that are not ours. */
    if (otherwise != LL_SEAL_OK && ERR_GET_REASON(ERR_peek_last_error()) == ERR_R_MALLOC_FAILURE)
        otherwise = LL_SEAL_RESOURCE;
    ERR_clear_error();
    return otherwise;
}

bool ll_smime_is_pem(struct ll_slice s)
{
    return ll_slice_search(s, LL_LIT("-----BEGIN ")) < s.n;
}

int ll_smime_no_password(char *buf, int size, int writing, void *u)
{
    (void)buf, (void)size, (void)writing, (void)u;
    return -1;
}

BIO *ll_smime_source(struct ll_slice s)
{
    return BIO_new_mem_buf(s.n ? (const void *)s.p : "", (int)s.n);
}

struct ll_slice ll_smime_hex(const uint8_t hash[LL_SMIME_HASH], struct ll_arena *a)
{
    struct ll_buf hex = LL_BUF(LL_SMIME_FINGERPRINT);
    struct ll_slice r;

    ll_hex_encode(&hex, ll_slice(hash, LL_SMIME_HASH));
    r = hex.failed ? ll_slice(NULL, 0) : ll_arena_dup(a, ll_buf_slice(&hex));
    ll_buf_release(&hex);
    return r;
}

struct ll_smime_entry *ll_smime_find(struct ll_smime *s, struct ll_slice fingerprint)
{
    struct ll_buf raw = LL_BUF(LL_SMIME_HASH);
    struct ll_smime_entry *found = NULL;

    if (fingerprint.n == LL_SMIME_FINGERPRINT && ll_hex_decode(&raw, fingerprint) &&
        raw.n == LL_SMIME_HASH)
        for (size_t i = 0; i < s->n && !found; i++)
            if (memcmp(s->v[i].hash, raw.p, LL_SMIME_HASH) == 0)
                found = &s->v[i];
    ll_buf_release(&raw);
    return found;
}

enum ll_seal_error ll_smime_keep(struct ll_smime *s, X509 *cert, size_t *ret)
{
    struct ll_smime_entry e = {
        .cert = cert, .locked = LL_BUF(LL_SMIME_FILE_MAX), .announced = LL_BUF(LL_SMIME_CERT_MAX)};
    int n = i2d_X509(cert, NULL);

    if (n <= 0 || !X509_digest(cert, EVP_sha256(), e.hash, NULL))
        return ll_smime_failed(LL_SEAL_MALFORMED);
    if (n > LL_SMIME_CERT_MAX)
        return LL_SEAL_TOO_LARGE;
    for (size_t i = 0; i < s->n; i++)
        if (memcmp(s->v[i].hash, e.hash, sizeof(e.hash)) == 0) {
            if (ret)
                *ret = i;
            return LL_SEAL_OK;
        }
    if (s->n == LL_SMIME_CERTS_MAX)
        return LL_SEAL_TOO_LARGE;
    if (s->n == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 16;
        struct ll_smime_entry *v = reallocarray(s->v, cap, sizeof(*v));

        if (!v)
            return LL_SEAL_RESOURCE;
        s->v = v;
        s->cap = cap;
    }
    X509_up_ref(cert);
    s->v[s->n] = e;
    if (ret)
        *ret = s->n;
    s->n++;
    return LL_SEAL_OK;
}

/* ---- certificates ---------------------------------------------------------------------------- */

/* The places of what was added, to be turned into fingerprints; and what is done with each. */
struct additions {
    struct ll_smime *s;
    bool anchor;
    struct ll_buf places; /* size_t each */
};

static enum ll_seal_error add(struct additions *to, X509 *cert)
{
    size_t at = 0;
    enum ll_seal_error e = ll_smime_keep(to->s, cert, &at);

    if (e != LL_SEAL_OK)
        return e;
    if (to->anchor && !to->s->v[at].anchor) {
        to->s->v[at].anchor = true;
        X509_STORE_free(to->s->store);
        to->s->store = NULL;
    }
    ll_buf_put(&to->places, &at, sizeof(at));
    return to->places.failed ? LL_SEAL_RESOURCE : LL_SEAL_OK;
}

static enum ll_seal_error add_pem(struct additions *to, struct ll_slice octets)
{
    BIO *in = ll_smime_source(octets);
    enum ll_seal_error e = in ? LL_SEAL_OK : LL_SEAL_RESOURCE;
    X509 *cert;

    while (e == LL_SEAL_OK && (cert = PEM_read_bio_X509(in, NULL, ll_smime_no_password, NULL))) {
        e = add(to, cert);
        X509_free(cert);
    }
    BIO_free(in);
    return e;
}

/* A file of certificates alone (RFC 8551 3.8), which is a SignedData without signers. */
static enum ll_seal_error add_bag(struct additions *to, struct ll_slice octets)
{
    struct ll_smime_outline outline;
    CMS_ContentInfo *cms = NULL;
    STACK_OF(X509) * certs;
    enum ll_seal_error e = ll_smime_parse(octets, &outline, &cms);

    if (e != LL_SEAL_OK || outline.type != NID_pkcs7_signed) {
        CMS_ContentInfo_free(cms);
        return e != LL_SEAL_OK ? e : LL_SEAL_MALFORMED;
    }
    certs = CMS_get1_certs(cms);
    if (sk_X509_num(certs) > LL_SMIME_BAG_MAX)
        e = LL_SEAL_TOO_LARGE;
    for (int i = 0; e == LL_SEAL_OK && i < sk_X509_num(certs); i++)
        e = add(to, sk_X509_value(certs, i));
    sk_X509_pop_free(certs, X509_free);
    CMS_ContentInfo_free(cms);
    return e;
}

static enum ll_seal_error add_der(struct additions *to, struct ll_slice octets)
{
    const unsigned char *p = octets.p, *end = octets.p + octets.n;
    enum ll_seal_error e = LL_SEAL_OK;

    while (e == LL_SEAL_OK && p < end) {
        X509 *cert = d2i_X509(NULL, &p, end - p);

        if (!cert)
            return to->places.n ? ll_smime_failed(LL_SEAL_MALFORMED) : add_bag(to, octets);
        e = add(to, cert);
        X509_free(cert);
    }
    return e;
}

static enum ll_seal_error add_any(struct additions *to, struct ll_slice octets)
{
    enum ll_seal_error e;

    if (octets.n > LL_SMIME_FILE_MAX)
        return LL_SEAL_TOO_LARGE;
    e = ll_smime_is_pem(octets) ? add_pem(to, octets) : add_der(to, octets);
    if (e == LL_SEAL_OK && to->places.n == 0)
        e = LL_SEAL_MALFORMED;
    return ll_smime_failed(e);
}

enum ll_seal_error ll_smime_add_cert(struct ll_smime *s, struct ll_slice octets, struct ll_arena *a,
                                     struct ll_slice **ret, size_t *ret_n)
{
    struct additions to = {s, false, LL_BUF(LL_SMIME_CERTS_MAX * sizeof(size_t))};
    enum ll_seal_error e = add_any(&to, octets);
    size_t n = to.places.n / sizeof(size_t), at;
    struct ll_slice *v;

    if (e == LL_SEAL_OK && ret && ret_n) {
        v = ll_arena_alloc(a, n * sizeof(*v));
        for (size_t i = 0; v && i < n; i++) {
            memcpy(&at, to.places.p + i * sizeof(at), sizeof(at));
            v[i] = ll_smime_hex(s->v[at].hash, a);
        }
        if (v && v[n - 1].p) {
            *ret = v;
            *ret_n = n;
        } else {
            e = LL_SEAL_RESOURCE;
        }
    }
    ll_buf_release(&to.places);
    return e;
}

enum ll_seal_error ll_smime_add_anchor(struct ll_smime *s, struct ll_slice octets, size_t *ret_n)
{
    struct additions to = {s, true, LL_BUF(LL_SMIME_CERTS_MAX * sizeof(size_t))};
    enum ll_seal_error e = add_any(&to, octets);

    if (e == LL_SEAL_OK && ret_n)
        *ret_n = to.places.n / sizeof(size_t);
    ll_buf_release(&to.places);
    return e;
}

enum ll_seal_error ll_smime_pin(struct ll_smime *s, struct ll_slice fingerprint)
{
    struct ll_smime_entry *e = ll_smime_find(s, fingerprint);

    if (!e)
        return LL_SEAL_NO_KEY;
    e->pinned = true;
    return LL_SEAL_OK;
}

/* ---- revocation ------------------------------------------------------------------------------ */

static enum ll_seal_error add_crl(struct ll_smime *s, X509_CRL *crl)
{
    for (size_t i = 0; i < s->n_crl; i++)
        if (X509_CRL_match(s->crl[i], crl) == 0) {
            X509_CRL_free(crl);
            return LL_SEAL_OK;
        }
    if (s->n_crl == LL_COUNT(s->crl)) {
        X509_CRL_free(crl);
        return LL_SEAL_TOO_LARGE;
    }
    s->crl[s->n_crl++] = crl;
    return LL_SEAL_OK;
}

enum ll_seal_error ll_smime_add_crl(struct ll_smime *s, struct ll_slice octets)
{
    const unsigned char *p = octets.p, *end = octets.p + octets.n;
    enum ll_seal_error e = LL_SEAL_OK;
    bool pem = ll_smime_is_pem(octets);
    BIO *in;
    size_t n = 0;

    if (octets.n > LL_SMIME_CRL_MAX)
        return LL_SEAL_TOO_LARGE;
    in = ll_smime_source(octets);
    while (in && e == LL_SEAL_OK && (pem || p < end)) {
        X509_CRL *crl = pem ? PEM_read_bio_X509_CRL(in, NULL, ll_smime_no_password, NULL)
                            : d2i_X509_CRL(NULL, &p, end - p);

        if (!crl)
            break;
        e = add_crl(s, crl);
        n++;
    }
    if (e == LL_SEAL_OK && (!in || n == 0 || (!pem && p < end)))
        e = in ? LL_SEAL_MALFORMED : LL_SEAL_RESOURCE;
    BIO_free(in);
    return ll_smime_failed(e);
}

enum ll_seal_error ll_smime_add_ocsp(struct ll_smime *s, struct ll_slice octets)
{
    const unsigned char *p = octets.p;
    OCSP_RESPONSE *response;
    OCSP_BASICRESP *basic = NULL;

    if (octets.n > LL_SMIME_FILE_MAX || s->n_ocsp == LL_COUNT(s->ocsp))
        return LL_SEAL_TOO_LARGE;
    response = d2i_OCSP_RESPONSE(NULL, &p, (long)octets.n);
    if (response && p == octets.p + octets.n &&
        OCSP_response_status(response) == OCSP_RESPONSE_STATUS_SUCCESSFUL)
        basic = OCSP_response_get1_basic(response);
    OCSP_RESPONSE_free(response);
    if (!basic)
        return ll_smime_failed(LL_SEAL_MALFORMED);
    s->ocsp[s->n_ocsp++] = basic;
    return LL_SEAL_OK;
}

void ll_smime_set_revocation(struct ll_smime *s, enum ll_smime_revocation r)
{
    s->revocation = r;
}
