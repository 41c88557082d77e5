/*
 * Signatures (RFC 5652 5.4, 5.6). Each signer is judged alone: does it fit this text, then how
 * strong are its algorithms, then who is it. CMS_verify gives one answer for all, and looks at no
 * address.
 */
#include <openssl/asn1t.h>

#include "lib/smime/internal.h"

/* What the signers of one object share. */
struct job {
    struct ll_smime *s;
    CMS_ContentInfo *cms;
    struct ll_slice text;
    int64_t now;
    struct ll_arena *a;
    STACK_OF(X509) * bag;
    BIO *hashes; /* one digest a BIO, the text has gone through them */
};

/* ---- hashing --------------------------------------------------------------------------------- */

static int digest_nid(CMS_SignerInfo *si)
{
    const ASN1_OBJECT *oid;
    X509_ALGOR *digest;

    CMS_SignerInfo_get0_algs(si, NULL, NULL, &digest, NULL);
    X509_ALGOR_get0(&oid, NULL, NULL, digest);
    return OBJ_obj2nid(oid);
}

/* The digest of this kind that the text has gone through; NULL: none. */
static EVP_MD_CTX *running(BIO *chain, int nid)
{
    for (BIO *b = chain; b && (b = BIO_find_type(b, BIO_TYPE_MD)); b = BIO_next(b)) {
        EVP_MD_CTX *ctx = NULL;

        BIO_get_md_ctx(b, &ctx);
        if (EVP_MD_CTX_get_type(ctx) == nid)
            return ctx;
    }
    return NULL;
}

/* Each digest that a signer names, once; those that libcrypto does not know are left out. */
static bool hash(struct job *j, STACK_OF(CMS_SignerInfo) * signers)
{
    size_t at = 0;

    j->hashes = BIO_new(BIO_s_null());
    for (int i = 0; j->hashes && i < sk_CMS_SignerInfo_num(signers); i++) {
        int nid = digest_nid(sk_CMS_SignerInfo_value(signers, i));
        const EVP_MD *md = EVP_get_digestbynid(nid);
        BIO *b;

        if (!md || running(j->hashes, nid))
            continue;
        b = BIO_new(BIO_f_md());
        if (!b || !BIO_set_md(b, md)) {
            BIO_free(b);
            continue;
        }
        j->hashes = BIO_push(b, j->hashes);
    }
    while (j->hashes && at < j->text.n) {
        int n = BIO_write(j->hashes, j->text.p + at, (int)(j->text.n - at));

        if (n <= 0)
            return false;
        at += (size_t)n;
    }
    return j->hashes != NULL;
}

/* ---- one signer: does it fit the text -------------------------------------------------------- */

/* The attributes that have to be there, where there are any (RFC 5652 5.3): the content's type. */
static bool attributes_ok(const struct job *j, CMS_SignerInfo *si)
{
    const ASN1_OBJECT *type;
    const ASN1_OCTET_STRING *digest;

    if (CMS_signed_get_attr_count(si) <= 0)
        /* RFC 5652 5.3: no attributes only over id-data. And text that is itself a SET, so that
         * signed attributes of elsewhere could pass for it, is no letter. */
        return OBJ_obj2nid(CMS_get0_eContentType(j->cms)) == NID_pkcs7_data &&
               !(j->text.n > 0 && j->text.p[0] == 0x31);
    type = CMS_signed_get0_data_by_OBJ(si, OBJ_nid2obj(NID_pkcs9_contentType), -3, V_ASN1_OBJECT);
    digest = CMS_signed_get0_data_by_OBJ(si, OBJ_nid2obj(NID_pkcs9_messageDigest), -3,
                                         V_ASN1_OCTET_STRING);
    return type && digest && OBJ_cmp(type, CMS_get0_eContentType(j->cms)) == 0;
}

/* The message digest attribute against the text: what can be said without the certificate. 1: equal
 * or no attribute, 0: not, -1: the digest is not known here. */
static int digest_fits(const struct job *j, CMS_SignerInfo *si)
{
    const ASN1_OCTET_STRING *want;
    EVP_MD_CTX *ctx = running(j->hashes, digest_nid(si)), *copy;
    uint8_t have[EVP_MAX_MD_SIZE];
    unsigned n = 0;

    if (!ctx)
        return -1;
    want = CMS_signed_get0_data_by_OBJ(si, OBJ_nid2obj(NID_pkcs9_messageDigest), -3,
                                       V_ASN1_OCTET_STRING);
    if (!want)
        return 1;
    copy = EVP_MD_CTX_new();
    if (!copy || !EVP_MD_CTX_copy_ex(copy, ctx) || !EVP_DigestFinal_ex(copy, have, &n))
        n = 0;
    EVP_MD_CTX_free(copy);
    return n > 0 && ll_slice_eq(ll_slice(have, n), ll_slice(ASN1_STRING_get0_data(want),
                                                            (size_t)ASN1_STRING_length(want)));
}

/* 1: the signature fits, 0: it does not, -1: cannot be said. */
static int signature_fits(const struct job *j, CMS_SignerInfo *si, X509 *cert)
{
    EVP_PKEY *key = X509_get0_pubkey(cert);

    if (key && EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519)
        return ll_smime_ed25519_verify(si, key, j->text);
    if (!key || ll_smime_fits(cert, LL_SMIME_SIGN) == LL_SMIME_FAULT_UNSUPPORTED)
        return -1;
    CMS_SignerInfo_set1_signer_cert(si, cert);
    if (CMS_signed_get_attr_count(si) > 0)
        return CMS_SignerInfo_verify(si) == 1;
    return CMS_SignerInfo_verify_content(si, j->hashes) == 1;
}

static bool weak_digest(int nid)
{
    return nid == NID_md5 || nid == NID_sha1 || nid == NID_md5_sha1 || nid == NID_md4 ||
           nid == NID_md2;
}

/* ---- one signer: who is it ------------------------------------------------------------------- */

/* Its certificate: from the bag, else from what is here. Borrowed. */
static X509 *find_cert(const struct job *j, CMS_SignerInfo *si)
{
    for (int i = 0; i < sk_X509_num(j->bag); i++)
        if (CMS_SignerInfo_cert_cmp(si, sk_X509_value(j->bag, i)) == 0)
            return sk_X509_value(j->bag, i);
    for (size_t i = 0; i < j->s->n; i++)
        if (CMS_SignerInfo_cert_cmp(si, j->s->v[i].cert) == 0)
            return j->s->v[i].cert;
    return NULL;
}

static struct ll_slice say(struct ll_arena *a, const char *first, const char *second)
{
    struct ll_buf text = LL_BUF(1024);
    struct ll_slice r;

    ll_buf_puts(&text, first);
    ll_buf_puts(&text, second);
    r = ll_arena_dup(a, ll_buf_slice(&text));
    ll_buf_release(&text);
    return r;
}

static struct ll_slice algorithm(struct ll_arena *a, CMS_SignerInfo *si, X509 *cert)
{
    const char *digest = OBJ_nid2sn(digest_nid(si));
    struct ll_buf text = LL_BUF(256);
    const ASN1_OBJECT *oid;
    X509_ALGOR *alg;
    struct ll_slice r;

    CMS_SignerInfo_get0_algs(si, NULL, NULL, NULL, &alg);
    X509_ALGOR_get0(&oid, NULL, NULL, alg);
    if (cert)
        ll_smime_key_words(X509_get0_pubkey(cert), &text);
    else
        ll_buf_puts(&text, "unknown");
    if (OBJ_obj2nid(oid) == NID_rsassaPss)
        ll_buf_puts(&text, " pss");
    ll_buf_puts(&text, ", ");
    for (const char *p = digest; *p; p++)
        ll_buf_putc(&text, ll_lower((uint8_t)*p));
    r = ll_arena_dup(a, ll_buf_slice(&text));
    ll_buf_release(&text);
    return r;
}

static int64_t signing_time(CMS_SignerInfo *si)
{
    ASN1_OBJECT *oid = OBJ_nid2obj(NID_pkcs9_signingTime);
    const ASN1_TIME *t = CMS_signed_get0_data_by_OBJ(si, oid, -3, V_ASN1_UTCTIME);

    if (!t)
        t = CMS_signed_get0_data_by_OBJ(si, oid, -3, V_ASN1_GENERALIZEDTIME);
    return t ? ll_smime_time(t) : 0;
}

/* What the signer of a good letter announced stays with his certificate, which therefore stays too.
 */
static void keep_capabilities(const struct job *j, CMS_SignerInfo *si, X509 *cert,
                              struct ll_slice fingerprint)
{
    const ASN1_STRING *der =
        CMS_signed_get0_data_by_OBJ(si, OBJ_nid2obj(NID_SMIMECapabilities), -3, V_ASN1_SEQUENCE);

    if (der && ll_smime_keep(j->s, cert, NULL) == LL_SEAL_OK)
        ll_smime_set_capabilities(
            j->s, fingerprint,
            ll_slice(ASN1_STRING_get0_data(der), (size_t)ASN1_STRING_length(der)));
}

static bool describe(const struct job *j, CMS_SignerInfo *si, X509 *cert, struct ll_signature *sig)
{
    ASN1_OCTET_STRING *keyid = NULL;
    ASN1_INTEGER *serial = NULL;
    X509_NAME *issuer = NULL;
    uint8_t hash[LL_SMIME_HASH];

    CMS_SignerInfo_get0_signer_id(si, &keyid, &issuer, &serial);
    sig->key_id = ll_smime_id(keyid, issuer, serial, j->a);
    sig->algorithm = algorithm(j->a, si, cert);
    sig->made = signing_time(si);
    if (!cert)
        return sig->key_id.p && sig->algorithm.p;
    if (!X509_digest(cert, EVP_sha256(), hash, NULL))
        return false;
    sig->fingerprint = ll_smime_hex(hash, j->a);
    sig->name = ll_smime_cert_name(cert, j->a);
    sig->issuer = ll_smime_name(X509_get_issuer_name(cert), j->a);
    sig->cert = ll_smime_der(cert, j->a);
    return ll_smime_addresses(cert, j->a, &sig->address, &sig->n_address) && sig->fingerprint.p &&
           sig->cert.p && sig->key_id.p && sig->algorithm.p;
}

/* False: the arena is full. */
static bool judge(const struct job *j, CMS_SignerInfo *si, X509 *cert, struct ll_signature *sig)
{
    int digest = digest_fits(j, si), fits = -1;
    enum ll_smime_fault f;

    if (!attributes_ok(j, si)) {
        sig->state = LL_SIGNATURE_MALFORMED;
        return true;
    }
    if (cert && digest == 1)
        fits = signature_fits(j, si, cert);
    if (digest == 0 || fits == 0) {
        sig->state = LL_SIGNATURE_BAD;
    } else if (digest < 0 || (cert && fits < 0)) {
        sig->state = LL_SIGNATURE_UNSUPPORTED;
        sig->detail = say(j->a, "not known here: ", (const char *)sig->algorithm.p);
    } else if (!cert) {
        sig->state = LL_SIGNATURE_NO_KEY;
    } else if (weak_digest(digest_nid(si))) {
        sig->state = LL_SIGNATURE_WEAK;
        sig->detail = say(j->a, OBJ_nid2sn(digest_nid(si)), " proves nothing any more");
    } else {
        f = ll_smime_chain(j->s, cert, j->bag, LL_SMIME_SIGN, j->now, j->a, &sig->detail);
        sig->state = ll_smime_fault_state(f);
        if (f != LL_SMIME_FAULT_OK && sig->detail.n == 0)
            sig->detail = say(j->a, "the certificate: ", ll_smime_fault_text(f));
        if (f == LL_SMIME_FAULT_OK)
            keep_capabilities(j, si, cert, sig->fingerprint);
        return f != LL_SMIME_FAULT_OK || ll_smime_along(j->s, cert, j->bag, j->now, j->a, sig);
    }
    return true;
}

static enum ll_seal_error each(struct job *j, STACK_OF(CMS_SignerInfo) * signers,
                               struct ll_opened *ret)
{
    size_t n = (size_t)sk_CMS_SignerInfo_num(signers);
    struct ll_signature *v = ll_arena_alloc(j->a, n * sizeof(*v));

    if (!v || !hash(j, signers))
        return LL_SEAL_RESOURCE;
    for (size_t i = 0; i < n; i++) {
        CMS_SignerInfo *si = sk_CMS_SignerInfo_value(signers, (int)i);
        X509 *cert = find_cert(j, si);

        if (!describe(j, si, cert, &v[i]) || !judge(j, si, cert, &v[i]))
            return LL_SEAL_RESOURCE;
    }
    ret->signature = v;
    ret->n_signature = n;
    return LL_SEAL_OK;
}

enum ll_seal_error ll_smime_signatures(struct ll_smime *s, CMS_ContentInfo *cms,
                                       struct ll_slice text, int64_t now, struct ll_arena *a,
                                       struct ll_opened *ret)
{
    STACK_OF(CMS_SignerInfo) *signers = CMS_get0_SignerInfos(cms);
    struct job j = {s, cms, text, now, a, CMS_get1_certs(cms), NULL};
    enum ll_seal_error e = LL_SEAL_OK;

    if (sk_CMS_SignerInfo_num(signers) > LL_SMIME_SIGNERS_MAX)
        e = LL_SEAL_MALFORMED;
    else if (sk_X509_num(j.bag) > LL_SMIME_BAG_MAX || text.n > LL_SMIME_CMS_MAX)
        e = LL_SEAL_TOO_LARGE;
    else if (sk_CMS_SignerInfo_num(signers) > 0)
        e = each(&j, signers, ret);
    BIO_free_all(j.hashes);
    sk_X509_pop_free(j.bag, X509_free);
    return ll_smime_failed(e);
}

enum ll_seal_error ll_smime_verify(struct ll_smime *s, struct ll_slice text,
                                   struct ll_slice signature, int64_t now, struct ll_arena *a,
                                   struct ll_opened *ret)
{
    struct ll_smime_outline outline = {0};
    struct ll_opened opened = {0};
    CMS_ContentInfo *cms = NULL;
    enum ll_seal_error e = ll_smime_parse(signature, &outline, &cms);

    if (e == LL_SEAL_OK && outline.type != NID_pkcs7_signed)
        e = LL_SEAL_UNSUPPORTED;
    else if (e == LL_SEAL_OK && !CMS_is_detached(cms))
        e = LL_SEAL_MALFORMED; /* it has a text of its own: which one is signed? */
    if (e == LL_SEAL_OK)
        e = ll_smime_signatures(s, cms, text, now, a, &opened);
    CMS_ContentInfo_free(cms);
    if (e == LL_SEAL_OK)
        *ret = opened;
    return e;
}

enum ll_seal_error ll_smime_bag(struct ll_slice der, struct ll_arena *a, struct ll_slice **ret,
                                size_t *ret_n)
{
    struct ll_smime_outline outline = {0};
    CMS_ContentInfo *cms = NULL;
    STACK_OF(X509) *certs = NULL;
    enum ll_seal_error e = ll_smime_parse(der, &outline, &cms);
    struct ll_slice *v;
    int n;

    if (e == LL_SEAL_OK && outline.type != NID_pkcs7_signed)
        e = LL_SEAL_UNSUPPORTED;
    if (e == LL_SEAL_OK)
        certs = CMS_get1_certs(cms);
    n = certs ? sk_X509_num(certs) : 0;
    if (n > LL_SMIME_BAG_MAX)
        e = LL_SEAL_TOO_LARGE;
    v = e == LL_SEAL_OK ? ll_arena_alloc(a, (size_t)n * sizeof(*v)) : NULL;
    for (int i = 0; v && i < n; i++) {
        v[i] = ll_smime_der(sk_X509_value(certs, i), a);
        if (!v[i].p)
            v = NULL;
    }
    if (e == LL_SEAL_OK && !v)
        e = LL_SEAL_RESOURCE;
    sk_X509_pop_free(certs, X509_free);
    CMS_ContentInfo_free(cms);
    if (e == LL_SEAL_OK) {
        *ret = v;
        *ret_n = (size_t)n;
    }
    return ll_smime_failed(e);
}
