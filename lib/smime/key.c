/* Private keys: reading, unlocking. See include/letterlock/smime.h. */
#include <openssl/asn1t.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>

#include "lib/smime/internal.h"

static bool one_of_ours(const EVP_PKEY *key)
{
    switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA:
    case EVP_PKEY_RSA_PSS:
    case EVP_PKEY_ED25519:
        return true;
    case EVP_PKEY_EC:
        return ll_smime_curve(key) != NULL;
    default:
        return false;
    }
}

bool ll_smime_weak_key(const EVP_PKEY *key)
{
    int id = EVP_PKEY_get_base_id(key);

    return (id == EVP_PKEY_RSA || id == EVP_PKEY_RSA_PSS) &&
           EVP_PKEY_get_bits(key) < LL_SMIME_RSA_BITS_MIN;
}

enum ll_seal_error ll_smime_give_key(struct ll_smime *s, EVP_PKEY *key, size_t first, size_t *ret)
{
    size_t best = s->n;

    if (!one_of_ours(key) || EVP_PKEY_get_bits(key) > LL_SMIME_RSA_BITS_MAX)
        return LL_SEAL_UNSUPPORTED;
    if (ll_smime_weak_key(key) && EVP_PKEY_get_bits(key) < LL_SMIME_RSA_BITS_OPEN)
        return LL_SEAL_WEAK;
    for (size_t i = 0; i < s->n; i++) {
        struct ll_smime_entry *e = &s->v[i];

        if (EVP_PKEY_eq(X509_get0_pubkey(e->cert), key) != 1)
            continue;
        if (best == s->n || i == first ||
            (best != first && ll_smime_time(X509_get0_notAfter(e->cert)) >
                                  ll_smime_time(X509_get0_notAfter(s->v[best].cert))))
            best = i;
        if (!e->key && EVP_PKEY_up_ref(key))
            e->key = key;
    }
    if (best == s->n)
        return LL_SEAL_NO_KEY;
    *ret = best;
    return LL_SEAL_OK;
}

/* ---- how much work a password asks for ------------------------------------------------------- */

static int64_t rounds_of(const ASN1_INTEGER *rounds)
{
    int64_t n;

    return rounds && ASN1_INTEGER_get_int64(&n, rounds) && n > 0 && n <= LL_SMIME_ITERATIONS_MAX
               ? n
               : LL_SMIME_ITERATIONS_MAX + 1;
}

static int64_t kdf_rounds(const X509_ALGOR *kdf)
{
    PBKDF2PARAM *p;
    const ASN1_OBJECT *oid;
    int64_t n;

    X509_ALGOR_get0(&oid, NULL, NULL, kdf);
    if (OBJ_obj2nid(oid) != NID_id_pbkdf2)
        return 1; /* scrypt: libcrypto has a limit on its memory */
    p = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBKDF2PARAM), kdf->parameter);
    n = rounds_of(p ? p->iter : NULL);
    PBKDF2PARAM_free(p);
    return n;
}

int64_t ll_smime_rounds(const X509_ALGOR *pbe)
{
    const ASN1_OBJECT *oid;
    int64_t n;

    X509_ALGOR_get0(&oid, NULL, NULL, pbe);
    if (OBJ_obj2nid(oid) == NID_pbes2) {
        PBE2PARAM *p = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBE2PARAM), pbe->parameter);

        n = p ? kdf_rounds(p->keyfunc) : LL_SMIME_ITERATIONS_MAX + 1;
        PBE2PARAM_free(p);
    } else {
        PBEPARAM *p = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBEPARAM), pbe->parameter);

        n = rounds_of(p ? p->iter : NULL);
        PBEPARAM_free(p);
    }
    return n;
}

/* ---- one key --------------------------------------------------------------------------------- */

static enum ll_seal_error decrypt(struct ll_slice der, struct ll_slice password, EVP_PKEY **ret)
{
    const unsigned char *p = der.p;
    X509_SIG *sealed = d2i_X509_SIG(NULL, &p, (long)der.n);
    PKCS8_PRIV_KEY_INFO *plain = NULL;
    enum ll_seal_error e = LL_SEAL_PASSWORD;
    const X509_ALGOR *pbe;

    if (!sealed)
        return ll_smime_failed(LL_SEAL_MALFORMED);
    X509_SIG_get0(sealed, &pbe, NULL);
    if (ll_smime_rounds(pbe) <= LL_SMIME_ITERATIONS_MAX)
        plain = PKCS8_decrypt(sealed, (const char *)password.p, (int)password.n);
    else
        e = LL_SEAL_TOO_LARGE;
    *ret = plain ? EVP_PKCS82PKEY(plain) : NULL;
    PKCS8_PRIV_KEY_INFO_free(plain);
    X509_SIG_free(sealed);
    return *ret ? LL_SEAL_OK : ll_smime_failed(e);
}

static enum ll_seal_error plain_key(struct ll_slice der, EVP_PKEY **ret)
{
    const unsigned char *p = der.p;

    *ret = d2i_AutoPrivateKey(NULL, &p, (long)der.n);
    return *ret ? LL_SEAL_OK : ll_smime_failed(LL_SEAL_MALFORMED);
}

/* What a file of one key and its certificates held. */
struct bundle {
    struct ll_smime *s;
    struct ll_slice password;
    EVP_PKEY *key;
    struct ll_buf locked; /* PKCS#8, encrypted, when there was no password */
    size_t first;         /* the first certificate; SIZE_MAX: none */
};

static enum ll_seal_error take_locked(struct bundle *b, struct ll_slice der)
{
    const unsigned char *p = der.p;
    X509_SIG *sealed;

    if (b->password.n > 0)
        return decrypt(der, b->password, &b->key);
    sealed = d2i_X509_SIG(NULL, &p, (long)der.n);
    if (!sealed)
        return ll_smime_failed(LL_SEAL_MALFORMED);
    X509_SIG_free(sealed);
    ll_buf_put_slice(&b->locked, der);
    return b->locked.failed ? LL_SEAL_RESOURCE : LL_SEAL_OK;
}

static int given_password(char *buf, int size, int writing, void *u)
{
    const struct ll_slice *password = u;

    (void)writing;
    if (password->n == 0 || password->n > (size_t)size)
        return -1;
    memcpy(buf, password->p, password->n);
    return (int)password->n;
}

/* "-----BEGIN RSA PRIVATE KEY-----" and the like, with the encryption of that time. */
static enum ll_seal_error old_key(struct bundle *b, char *header, unsigned char *p, long n)
{
    EVP_CIPHER_INFO cipher;

    if (!PEM_get_EVP_CIPHER_INFO(header, &cipher))
        return ll_smime_failed(LL_SEAL_MALFORMED);
    if (cipher.cipher && b->password.n == 0)
        return LL_SEAL_LOCKED;
    if (!PEM_do_header(&cipher, p, &n, given_password, &b->password))
        return ll_smime_failed(LL_SEAL_PASSWORD);
    return plain_key(ll_slice(p, (size_t)n), &b->key);
}

static enum ll_seal_error take_cert(struct bundle *b, struct ll_slice der)
{
    const unsigned char *p = der.p;
    X509 *cert = d2i_X509(NULL, &p, (long)der.n);
    enum ll_seal_error e;
    size_t at = 0;

    if (!cert)
        return ll_smime_failed(LL_SEAL_MALFORMED);
    e = ll_smime_keep(b->s, cert, &at);
    X509_free(cert);
    if (e == LL_SEAL_OK && b->first == SIZE_MAX)
        b->first = at;
    return e;
}

static enum ll_seal_error take_pem(struct bundle *b, struct ll_slice octets)
{
    BIO *in = ll_smime_source(octets);
    enum ll_seal_error e = in ? LL_SEAL_OK : LL_SEAL_RESOURCE;
    char *name, *header;
    unsigned char *p;
    long n;

    while (e == LL_SEAL_OK && PEM_read_bio(in, &name, &header, &p, &n)) {
        struct ll_slice der = ll_slice(p, (size_t)n), label = ll_slice_str(name);
        bool free_of_key = !b->key && b->locked.n == 0;

        if (ll_slice_ends(label, LL_LIT("CERTIFICATE")))
            e = take_cert(b, der);
        else if (free_of_key && ll_slice_eq(label, LL_LIT("ENCRYPTED PRIVATE KEY")))
            e = take_locked(b, der);
        else if (free_of_key && ll_slice_eq(label, LL_LIT("PRIVATE KEY")))
            e = plain_key(der, &b->key);
        else if (free_of_key && ll_slice_ends(label, LL_LIT(" PRIVATE KEY")))
            e = old_key(b, header, p, n);
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_clear_free(p, der.n);
    }
    BIO_free(in);
    return ll_smime_failed(e);
}

static enum ll_seal_error take_der(struct bundle *b, struct ll_slice octets)
{
    enum ll_seal_error e = plain_key(octets, &b->key);

    return e == LL_SEAL_MALFORMED ? take_locked(b, octets) : e;
}

/* Settles what the file held; the place of the key's certificate. */
static enum ll_seal_error settle(struct bundle *b, size_t *ret)
{
    struct ll_smime_entry *e;

    if (b->key)
        return ll_smime_give_key(b->s, b->key, b->first, ret);
    if (b->locked.n == 0)
        return LL_SEAL_MALFORMED;
    if (b->first == SIZE_MAX)
        return LL_SEAL_LOCKED;
    e = &b->s->v[b->first];
    ll_buf_clear(&e->locked);
    ll_buf_put_slice(&e->locked, ll_buf_slice(&b->locked));
    *ret = b->first;
    return e->locked.failed ? LL_SEAL_RESOURCE : LL_SEAL_OK;
}

enum ll_seal_error ll_smime_add_key(struct ll_smime *s, struct ll_slice octets,
                                    struct ll_slice password, struct ll_arena *a,
                                    struct ll_slice *ret)
{
    struct bundle b = {s, password, NULL, LL_BUF(LL_SMIME_FILE_MAX), SIZE_MAX};
    enum ll_seal_error e;
    size_t at = 0;

    if (octets.n > LL_SMIME_FILE_MAX)
        return LL_SEAL_TOO_LARGE;
    e = ll_smime_is_pem(octets) ? take_pem(&b, octets) : take_der(&b, octets);
    if (e == LL_SEAL_OK)
        e = settle(&b, &at);
    EVP_PKEY_free(b.key);
    ll_buf_release(&b.locked);
    if (e == LL_SEAL_OK && ret) {
        struct ll_slice hex = ll_smime_hex(s->v[at].hash, a);

        if (!hex.p)
            return LL_SEAL_RESOURCE;
        *ret = hex;
    }
    return ll_smime_failed(e);
}

enum ll_seal_error ll_smime_unlock(struct ll_smime *s, struct ll_slice fingerprint,
                                   struct ll_slice password)
{
    struct ll_smime_entry *entry = ll_smime_find(s, fingerprint);
    enum ll_seal_error e;
    EVP_PKEY *key = NULL;
    size_t at;

    if (!entry || (!entry->key && entry->locked.n == 0))
        return LL_SEAL_NO_KEY;
    if (entry->key)
        return LL_SEAL_OK;
    e = decrypt(ll_buf_slice(&entry->locked), password, &key);
    if (e == LL_SEAL_OK)
        e = ll_smime_give_key(s, key, (size_t)(entry - s->v), &at);
    EVP_PKEY_free(key);
    /* The key that came along was another certificate's. */
    if (e == LL_SEAL_OK && !entry->key)
        e = LL_SEAL_NO_KEY;
    return ll_smime_failed(e);
}
