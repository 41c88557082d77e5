/* New keys, self-signed certificates, requests. See include/letterlock/smime.h. */
#include <openssl/pem.h>
#include <openssl/rand.h>

#include "lib/smime/internal.h"
#include "letterlock/addr.h"

#define NAME_MAX_OCTETS 64 /* ub-common-name, RFC 5280 appendix A */
#define SERIAL          16 /* octets; RFC 5280 4.1.2.2 has 20 at most */

static EVP_PKEY *new_key(enum ll_smime_kind kind)
{
    switch (kind) {
    case LL_SMIME_RSA:
        return EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)3072);
    case LL_SMIME_P256:
        return EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    case LL_SMIME_P384:
        return EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-384");
    }
    return NULL;
}

static bool set_serial(X509 *cert)
{
    uint8_t raw[SERIAL];
    BIGNUM *n = NULL;
    bool ok;

    if (RAND_bytes(raw, sizeof(raw)) != 1)
        return false;
    raw[0] = (uint8_t)((raw[0] & 0x7f) | 0x40); /* positive, and of full length */
    n = BN_bin2bn(raw, sizeof(raw), NULL);
    ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert));
    BN_free(n);
    return ok;
}

/* subjectAltName with one address: rfc822Name, or SmtpUTF8Mailbox where that cannot hold it. */
static GENERAL_NAMES *alt_name(const struct ll_mailbox *m)
{
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    GENERAL_NAME *g = GENERAL_NAME_new();
    ASN1_STRING *text = m->utf8 ? ASN1_UTF8STRING_new() : ASN1_IA5STRING_new();
    ASN1_TYPE *value = m->utf8 ? ASN1_TYPE_new() : NULL;
    ASN1_OBJECT *type = OBJ_nid2obj(NID_id_on_SmtpUTF8Mailbox);
    bool ok = names && g && text && ASN1_STRING_set(text, m->text, m->n);

    if (ok && m->utf8) {
        ok = value != NULL;
        if (ok) {
            ASN1_TYPE_set(value, V_ASN1_UTF8STRING, text);
            text = NULL;
            ok = GENERAL_NAME_set0_othername(g, type, value);
            value = ok ? NULL : value;
        }
    } else if (ok) {
        GENERAL_NAME_set0_value(g, GEN_EMAIL, text);
        text = NULL;
    }
    ok = ok && sk_GENERAL_NAME_push(names, g);
    ASN1_STRING_free(text);
    ASN1_TYPE_free(value);
    if (ok)
        return names;
    GENERAL_NAME_free(g);
    sk_GENERAL_NAME_free(names);
    return NULL;
}

static bool add_ext(STACK_OF(X509_EXTENSION) * *to, int nid, void *value, bool critical)
{
    return value && X509V3_add1_i2d(to, nid, value, critical, X509V3_ADD_DEFAULT) > 0;
}

static bool add_key_usage(STACK_OF(X509_EXTENSION) * *to, EVP_PKEY *key)
{
    bool ec = EVP_PKEY_get_base_id(key) == EVP_PKEY_EC;
    ASN1_BIT_STRING *bits = ASN1_BIT_STRING_new();
    /* RFC 5280 4.2.1.3: digitalSignature (0), and keyEncipherment (2) or keyAgreement (4). */
    bool ok = bits && ASN1_BIT_STRING_set_bit(bits, 0, 1) &&
              ASN1_BIT_STRING_set_bit(bits, ec ? 4 : 2, 1) &&
              add_ext(to, NID_key_usage, bits, true);

    ASN1_BIT_STRING_free(bits);
    return ok;
}

static bool add_mail_use(STACK_OF(X509_EXTENSION) * *to)
{
    EXTENDED_KEY_USAGE *use = sk_ASN1_OBJECT_new_null();
    bool ok = use && sk_ASN1_OBJECT_push(use, OBJ_nid2obj(NID_email_protect)) &&
              add_ext(to, NID_ext_key_usage, use, false);

    sk_ASN1_OBJECT_free(use);
    return ok;
}

/* What a certificate and a request have in common. */
static bool add_uses(STACK_OF(X509_EXTENSION) * *to, EVP_PKEY *key, GENERAL_NAMES *names)
{
    return add_key_usage(to, key) && add_mail_use(to) &&
           add_ext(to, NID_subject_alt_name, names, false);
}

static bool add_own(STACK_OF(X509_EXTENSION) * *to, X509 *cert)
{
    BASIC_CONSTRAINTS *none = BASIC_CONSTRAINTS_new();
    ASN1_OCTET_STRING *id = ASN1_OCTET_STRING_new();
    uint8_t hash[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    bool ok = none && id && add_ext(to, NID_basic_constraints, none, true) &&
              X509_pubkey_digest(cert, EVP_sha1(), hash, &n) && /* RFC 5280 4.2.1.2 (1): a name */
              ASN1_OCTET_STRING_set(id, hash, (int)n) &&
              add_ext(to, NID_subject_key_identifier, id, false);

    BASIC_CONSTRAINTS_free(none);
    ASN1_OCTET_STRING_free(id);
    return ok;
}

/* SMIMECapabilities in the certificate (RFC 4262): whoever has it knows what we read. */
static bool add_capabilities(STACK_OF(X509_EXTENSION) * *to)
{
    STACK_OF(X509_ALGOR) *v = ll_smime_own_capabilities();
    unsigned char *der = NULL;
    int n = v ? ASN1_item_i2d((ASN1_VALUE *)v, &der, ASN1_ITEM_rptr(X509_ALGORS)) : -1;
    ASN1_OCTET_STRING *s = ASN1_OCTET_STRING_new();
    X509_EXTENSION *x = NULL;
    bool ok = false;

    if (n > 0 && s && ASN1_OCTET_STRING_set(s, der, n))
        x = X509_EXTENSION_create_by_NID(NULL, NID_SMIMECapabilities, 0, s);
    if (x)
        ok = X509v3_add_ext(to, x, -1) != NULL;
    X509_EXTENSION_free(x);
    ASN1_OCTET_STRING_free(s);
    OPENSSL_free(der);
    sk_X509_ALGOR_pop_free(v, X509_ALGOR_free);
    return ok;
}

static bool add_name(X509_NAME *to, struct ll_slice name)
{
    return X509_NAME_add_entry_by_NID(to, NID_commonName, MBSTRING_UTF8, name.p, (int)name.n, -1,
                                      0) == 1;
}

static bool fill(X509 *cert, EVP_PKEY *key, const struct ll_mailbox *m, struct ll_slice name,
                 int64_t now, uint32_t lifetime_s)
{
    STACK_OF(X509_EXTENSION) *extensions = NULL;
    GENERAL_NAMES *names = alt_name(m);
    bool ok = names && X509_set_version(cert, X509_VERSION_3) && set_serial(cert) &&
              ASN1_TIME_set(X509_getm_notBefore(cert), now - LL_SMIME_CLOCK_SKEW_S) &&
              ASN1_TIME_set(X509_getm_notAfter(cert), now + lifetime_s) &&
              X509_set_pubkey(cert, key) && add_name(X509_get_subject_name(cert), name) &&
              X509_set_issuer_name(cert, X509_get_subject_name(cert)) &&
              add_own(&extensions, cert) && add_uses(&extensions, key, names) &&
              add_capabilities(&extensions);

    for (int i = 0; ok && i < sk_X509_EXTENSION_num(extensions); i++)
        ok = X509_add_ext(cert, sk_X509_EXTENSION_value(extensions, i), -1);
    ok = ok && X509_sign(cert, key, ll_smime_digest(key)) > 0;
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    GENERAL_NAMES_free(names);
    return ok;
}

static bool plain_name(struct ll_slice s)
{
    if (s.n > NAME_MAX_OCTETS || !ll_utf8_valid(s))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 0x20 || s.p[i] == 0x7f)
            return false;
    return true;
}

enum ll_seal_error ll_smime_generate(struct ll_smime *s, struct ll_slice address,
                                     struct ll_slice name, enum ll_smime_kind kind, int64_t now,
                                     uint32_t lifetime_s, struct ll_arena *a, struct ll_slice *ret)
{
    enum ll_seal_error e = LL_SEAL_RESOURCE;
    struct ll_mailbox m;
    EVP_PKEY *key;
    X509 *cert;
    size_t at = 0;

    if (ll_mailbox_parse(address, true, &m) != LL_ADDR_OK || !plain_name(name))
        return LL_SEAL_MALFORMED;
    if (name.n == 0)
        name = ll_slice_cut(ll_mailbox_text(&m), 0, NAME_MAX_OCTETS);
    if (!plain_name(name))
        name = ll_mailbox_domain(&m); /* the cut went through a character */
    key = new_key(kind);
    cert = X509_new();
    if (key && cert && fill(cert, key, &m, name, now, lifetime_s))
        e = ll_smime_keep(s, cert, &at);
    if (e == LL_SEAL_OK)
        e = ll_smime_give_key(s, key, at, &at);
    EVP_PKEY_free(key);
    X509_free(cert);
    if (e == LL_SEAL_OK) {
        struct ll_slice hex = ll_smime_hex(s->v[at].hash, a);

        if (!hex.p)
            return LL_SEAL_RESOURCE;
        *ret = hex;
    }
    return ll_smime_failed(e);
}

enum ll_seal_error ll_smime_request(struct ll_smime *s, struct ll_slice fingerprint,
                                    struct ll_buf *out)
{
    struct ll_smime_entry *e = ll_smime_find(s, fingerprint);
    STACK_OF(X509_EXTENSION) *extensions = NULL;
    GENERAL_NAMES *names;
    X509_REQ *req;
    BIO *bio;
    char *p = NULL;
    size_t before = out->n;
    bool ok;

    if (!e || (!e->key && e->locked.n == 0))
        return LL_SEAL_NO_KEY;
    if (!e->key)
        return LL_SEAL_LOCKED;
    names = X509_get_ext_d2i(e->cert, NID_subject_alt_name, NULL, NULL);
    req = X509_REQ_new();
    bio = BIO_new(BIO_s_mem());
    ok = req && bio && names && X509_REQ_set_version(req, X509_REQ_VERSION_1) &&
         X509_REQ_set_subject_name(req, X509_get_subject_name(e->cert)) &&
         X509_REQ_set_pubkey(req, e->key) && add_uses(&extensions, e->key, names) &&
         X509_REQ_add_extensions(req, extensions) &&
         X509_REQ_sign(req, e->key, ll_smime_digest(e->key)) > 0 &&
         PEM_write_bio_X509_REQ(bio, req);
    if (ok) {
        long n = BIO_get_mem_data(bio, &p);

        ll_buf_put(out, p, (size_t)n);
    }
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    GENERAL_NAMES_free(names);
    X509_REQ_free(req);
    BIO_free(bio);
    if (out->failed)
        out->n = before;
    return ll_smime_failed(!ok           ? LL_SEAL_UNUSABLE_KEY
                           : out->failed ? LL_SEAL_TOO_LARGE
                                         : LL_SEAL_OK);
}
