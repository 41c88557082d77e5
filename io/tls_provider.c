/* See tls_provider.h. Function numbers and their signatures: provider-keymgmt(7) and
 * provider-signature(7) of OpenSSL 3.0. */
#include "io/tls_provider.h"

#include <stdatomic.h>
#include <strings.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/obj_mac.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>

#define PARAM_KEY "letterlock-key"
#define LOCAL     "provider=default"
#define SIG_MAX   1024 /* octets: RSA of 8192 bit */

/* ---- keys ---------------------------------------------------------------------------------- */

struct remote_key {
    atomic_int refs;
    OSSL_LIB_CTX *libctx;
    const char *type; /* "EC" or "RSA" */
    EVP_PKEY *pub;    /* of the default provider */
    struct ll_tls_signer signer;
    uint32_t number;
};

/* What PARAM_KEY carries. */
struct key_param {
    EVP_PKEY *pub;
    struct ll_tls_signer signer;
    uint32_t number;
};

static struct remote_key *key_new(void *provctx, const char *type)
{
    struct remote_key *k = OPENSSL_zalloc(sizeof(*k));
    if (!k)
        return NULL;
    atomic_init(&k->refs, 1);
    k->libctx = provctx;
    k->type = type;
    return k;
}

static void *ec_new(void *provctx)
{
    return key_new(provctx, "EC");
}

static void *rsa_new(void *provctx)
{
    return key_new(provctx, "RSA");
}

static struct remote_key *key_ref(struct remote_key *k)
{
    if (k)
        atomic_fetch_add(&k->refs, 1);
    return k;
}

static void key_free(void *vkey)
{
    struct remote_key *k = vkey;
    if (!k || atomic_fetch_sub(&k->refs, 1) != 1)
        return;
    EVP_PKEY_free(k->pub);
    OPENSSL_free(k);
}

/* A public key for comparison, out of parts that another provider exported. */
static EVP_PKEY *pub_from_parts(struct remote_key *k, const OSSL_PARAM params[])
{
    EVP_PKEY *pub = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(k->libctx, k->type, LOCAL);
    if (ctx && EVP_PKEY_fromdata_init(ctx) > 0 &&
        EVP_PKEY_fromdata(ctx, &pub, EVP_PKEY_PUBLIC_KEY, (OSSL_PARAM *)params) <= 0)
        pub = NULL;
    EVP_PKEY_CTX_free(ctx);
    return pub;
}

static int key_import(void *vkey, int selection, const OSSL_PARAM params[])
{
    struct remote_key *k = vkey;
    const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, PARAM_KEY);
    if (k->pub)
        return 0;
    if (!p)
        return (k->pub = pub_from_parts(k, params)) != NULL;
    struct key_param kp;
    void *to = &kp;
    size_t n = 0;
    if (!OSSL_PARAM_get_octet_string(p, &to, sizeof(kp), &n) || n != sizeof(kp) ||
        !EVP_PKEY_up_ref(kp.pub))
        return 0;
    k->pub = kp.pub;
    k->signer = kp.signer;
    k->number = kp.number;
    return 1;
}

static const OSSL_PARAM *key_import_types(int selection)
{
    static const OSSL_PARAM types[] = {OSSL_PARAM_octet_string(PARAM_KEY, NULL, 0), OSSL_PARAM_END};
    return types;
}

/* Never what it does not have: OpenSSL then signs here instead of carrying the key elsewhere. */
static int key_export(void *vkey, int selection, OSSL_CALLBACK *cb, void *arg)
{
    struct remote_key *k = vkey;
    if (!k->pub || (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY))
        return 0;
    return EVP_PKEY_export(k->pub, selection, cb, arg);
}

static const OSSL_PARAM *ec_export_types(int selection)
{
    static const OSSL_PARAM types[] = {OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
                                       OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
                                       OSSL_PARAM_END};
    return selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY ? NULL : types;
}

static const OSSL_PARAM *rsa_export_types(int selection)
{
    static const OSSL_PARAM types[] = {OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0),
                                       OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0),
                                       OSSL_PARAM_END};
    return selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY ? NULL : types;
}

static int key_has(const void *vkey, int selection)
{
    const struct remote_key *k = vkey;
    if (!k)
        return 0;
    if ((selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) && !k->signer.sign)
        return 0;
    return k->pub != NULL;
}

static int key_match(const void *a, const void *b, int selection)
{
    const struct remote_key *ka = a, *kb = b;
    return ka->pub && kb->pub && EVP_PKEY_eq(ka->pub, kb->pub) == 1;
}

/* Group name, sizes, default digest, encoded point: the public half knows them all. */
static int key_get_params(void *vkey, OSSL_PARAM params[])
{
    struct remote_key *k = vkey;
    return k->pub && EVP_PKEY_get_params(k->pub, params);
}

static const OSSL_PARAM *key_gettable_params(void *provctx)
{
    static const OSSL_PARAM types[] = {
        OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, NULL, 0),
        OSSL_PARAM_END};
    return types;
}

static const char *ec_operation(int operation)
{
    return operation == OSSL_OP_SIGNATURE ? "ECDSA" : NULL;
}

static const char *rsa_operation(int operation)
{
    return operation == OSSL_OP_SIGNATURE ? "RSA" : NULL;
}

typedef void (*fn)(void);

#define KEYMGMT(TYPE)                                                                              \
    static const OSSL_DISPATCH TYPE##_keymgmt[] = {                                                \
        {OSSL_FUNC_KEYMGMT_NEW, (fn)TYPE##_new},                                                   \
        {OSSL_FUNC_KEYMGMT_FREE, (fn)key_free},                                                    \
        {OSSL_FUNC_KEYMGMT_IMPORT, (fn)key_import},                                                \
        {OSSL_FUNC_KEYMGMT_IMPORT_TYPES, (fn)key_import_types},                                    \
        {OSSL_FUNC_KEYMGMT_EXPORT, (fn)key_export},                                                \
        {OSSL_FUNC_KEYMGMT_EXPORT_TYPES, (fn)TYPE##_export_types},                                 \
        {OSSL_FUNC_KEYMGMT_HAS, (fn)key_has},                                                      \
        {OSSL_FUNC_KEYMGMT_MATCH, (fn)key_match},                                                  \
        {OSSL_FUNC_KEYMGMT_GET_PARAMS, (fn)key_get_params},                                        \
        {OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, (fn)key_gettable_params},                              \
        {OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, (fn)TYPE##_operation},                            \
        {0, NULL}}

KEYMGMT(ec);
KEYMGMT(rsa);

/* ---- SignatureSchemes ----------------------------------------------------------------------- */

struct hash {
    const char *names[3]; /* as OpenSSL may call it */
    int octets;
    uint16_t ecdsa, pkcs1, pss; /* RFC 8446 4.2.3 */
};

static const struct hash hashes[] = {
    {{"SHA256", "SHA2-256", "SHA-256"}, 32, 0x0403, 0x0401, 0x0804},
    {{"SHA384", "SHA2-384", "SHA-384"}, 48, 0x0503, 0x0501, 0x0805},
    {{"SHA512", "SHA2-512", "SHA-512"}, 64, 0x0603, 0x0601, 0x0806},
};

static const struct hash *hash_named(const char *name)
{
    for (size_t i = 0; name && i < LL_COUNT(hashes); i++)
        for (size_t j = 0; j < LL_COUNT(hashes[i].names); j++)
            if (strcasecmp(name, hashes[i].names[j]) == 0)
                return &hashes[i];
    return NULL;
}

/* ---- signatures ----------------------------------------------------------------------------- */

struct sig_ctx {
    struct remote_key *key;
    const struct hash *hash;
    int padding;
    int salt;
    const struct hash *mgf1;
};

static void *sig_new(void *provctx, const char *propq)
{
    return OPENSSL_zalloc(sizeof(struct sig_ctx));
}

static void sig_free(void *vctx)
{
    struct sig_ctx *c = vctx;
    if (c)
        key_free(c->key);
    OPENSSL_free(c);
}

static void *sig_dup(void *vctx)
{
    const struct sig_ctx *c = vctx;
    struct sig_ctx *d = OPENSSL_memdup(c, sizeof(*c));
    if (d)
        key_ref(d->key);
    return d;
}

static bool param_padding(const OSSL_PARAM *p, int *ret)
{
    const char *s = NULL;
    if (p->data_type != OSSL_PARAM_UTF8_STRING)
        return OSSL_PARAM_get_int(p, ret);
    if (!OSSL_PARAM_get_utf8_string_ptr(p, &s))
        return false;
    *ret = strcmp(s, OSSL_PKEY_RSA_PAD_MODE_PSS) == 0       ? RSA_PKCS1_PSS_PADDING
           : strcmp(s, OSSL_PKEY_RSA_PAD_MODE_PKCSV15) == 0 ? RSA_PKCS1_PADDING
                                                            : 0;
    return true;
}

static bool param_salt(const OSSL_PARAM *p, int *ret)
{
    const char *s = NULL;
    if (p->data_type != OSSL_PARAM_UTF8_STRING)
        return OSSL_PARAM_get_int(p, ret);
    if (!OSSL_PARAM_get_utf8_string_ptr(p, &s))
        return false;
    *ret = strcmp(s, OSSL_PKEY_RSA_PSS_SALT_LEN_DIGEST) == 0 ? RSA_PSS_SALTLEN_DIGEST : -3;
    return true;
}

static int sig_set_params(void *vctx, const OSSL_PARAM params[])
{
    struct sig_ctx *c = vctx;
    const OSSL_PARAM *p;
    const char *name = NULL;
    if (!params)
        return 1;
    if ((p = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PAD_MODE)) &&
        !param_padding(p, &c->padding))
        return 0;
    if ((p = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PSS_SALTLEN)) &&
        !param_salt(p, &c->salt))
        return 0;
    if ((p = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_MGF1_DIGEST)) &&
        (!OSSL_PARAM_get_utf8_string_ptr(p, &name) || !(c->mgf1 = hash_named(name))))
        return 0;
    if ((p = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_DIGEST)) &&
        (!OSSL_PARAM_get_utf8_string_ptr(p, &name) || !(c->hash = hash_named(name))))
        return 0;
    return 1;
}

static const OSSL_PARAM *sig_settable_params(void *vctx, void *provctx)
{
    static const OSSL_PARAM types[] = {
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, NULL, 0),
        OSSL_PARAM_int(OSSL_SIGNATURE_PARAM_PAD_MODE, NULL),
        OSSL_PARAM_int(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, NULL),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_MGF1_DIGEST, NULL, 0), OSSL_PARAM_END};
    return types;
}

static int sig_init(void *vctx, const char *mdname, void *vkey, const OSSL_PARAM params[])
{
    struct sig_ctx *c = vctx;
    if (vkey) {
        key_free(c->key);
        c->key = key_ref(vkey);
    }
    if (!c->key || !c->key->signer.sign)
        return 0;
    c->hash = hash_named(mdname ? mdname : "SHA256");
    c->mgf1 = NULL;
    c->padding = RSA_PKCS1_PADDING;
    c->salt = RSA_PSS_SALTLEN_DIGEST;
    return c->hash && sig_set_params(c, params);
}

/* 0: not one that TLS has. */
static uint16_t scheme_of(const struct sig_ctx *c)
{
    if (!c->hash)
        return 0;
    if (c->key->type[0] == 'E')
        return c->hash->ecdsa;
    if (c->padding == RSA_PKCS1_PADDING)
        return c->hash->pkcs1;
    if (c->padding == RSA_PKCS1_PSS_PADDING && (!c->mgf1 || c->mgf1 == c->hash) &&
        (c->salt == RSA_PSS_SALTLEN_DIGEST || c->salt == c->hash->octets))
        return c->hash->pss;
    return 0;
}

static int sig_sign(void *vctx, unsigned char *sig, size_t *siglen, size_t size,
                    const unsigned char *text, size_t n)
{
    struct sig_ctx *c = vctx;
    struct ll_buf out = LL_BUF(SIG_MAX);
    int ok = 0;
    if (!c->key || !c->key->pub)
        return 0;
    if (!sig) {
        *siglen = (size_t)EVP_PKEY_get_size(c->key->pub);
        return 1;
    }
    uint16_t scheme = scheme_of(c);
    if (scheme &&
        c->key->signer.sign(c->key->signer.ctx, c->key->number, scheme, ll_slice(text, n), &out) &&
        !out.failed && out.n > 0 && out.n <= size) {
        memcpy(sig, out.p, out.n);
        *siglen = out.n;
        ok = 1;
    }
    ll_buf_release(&out);
    if (!ok)
        ERR_raise_data(ERR_LIB_USER, 1, "the keeper did not sign");
    return ok;
}

static const OSSL_DISPATCH signature[] = {
    {OSSL_FUNC_SIGNATURE_NEWCTX, (fn)sig_new},
    {OSSL_FUNC_SIGNATURE_FREECTX, (fn)sig_free},
    {OSSL_FUNC_SIGNATURE_DUPCTX, (fn)sig_dup},
    {OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, (fn)sig_init},
    {OSSL_FUNC_SIGNATURE_DIGEST_SIGN, (fn)sig_sign},
    {OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, (fn)sig_set_params},
    {OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, (fn)sig_settable_params},
    {0, NULL}};

/* ---- the provider --------------------------------------------------------------------------- */

static const OSSL_ALGORITHM *provider_query(void *provctx, int operation, int *no_cache)
{
    static const OSSL_ALGORITHM keymgmts[] = {
        {"EC:id-ecPublicKey", "provider=letterlock", ec_keymgmt, NULL},
        {"RSA:rsaEncryption", "provider=letterlock", rsa_keymgmt, NULL},
        {NULL, NULL, NULL, NULL}};
    static const OSSL_ALGORITHM signatures[] = {
        {"ECDSA", "provider=letterlock", signature, NULL},
        {"RSA:rsaEncryption", "provider=letterlock", signature, NULL},
        {NULL, NULL, NULL, NULL}};
    *no_cache = 0;
    if (operation == OSSL_OP_KEYMGMT)
        return keymgmts;
    return operation == OSSL_OP_SIGNATURE ? signatures : NULL;
}

static int provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in,
                         const OSSL_DISPATCH **out, void **provctx)
{
    static const OSSL_DISPATCH dispatch[] = {
        {OSSL_FUNC_PROVIDER_QUERY_OPERATION, (fn)provider_query}, {0, NULL}};
    for (; in->function_id; in++)
        if (in->function_id == OSSL_FUNC_CORE_GET_LIBCTX)
            *provctx = OSSL_FUNC_core_get_libctx(in)(handle);
    *out = dispatch;
    return *provctx != NULL;
}

int ll_tls_provider_load(OSSL_LIB_CTX *libctx)
{
    if (!OSSL_PROVIDER_load(libctx, "default") ||
        !OSSL_PROVIDER_add_builtin(libctx, "letterlock", provider_init) ||
        !OSSL_PROVIDER_load(libctx, "letterlock") ||
        !EVP_set_default_properties(libctx, "?provider=default"))
        return -1;
    return 0;
}

EVP_PKEY *ll_tls_provider_key(OSSL_LIB_CTX *libctx, EVP_PKEY *pub, uint32_t number,
                              const struct ll_tls_signer *signer)
{
    struct key_param kp = {.pub = pub, .signer = *signer, .number = number};
    OSSL_PARAM params[] = {OSSL_PARAM_construct_octet_string(PARAM_KEY, &kp, sizeof(kp)),
                           OSSL_PARAM_construct_end()};
    const char *type = EVP_PKEY_is_a(pub, "EC") ? "EC" : EVP_PKEY_is_a(pub, "RSA") ? "RSA" : NULL;
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *ctx =
        type ? EVP_PKEY_CTX_new_from_name(libctx, type, "provider=letterlock") : NULL;
    if (ctx && EVP_PKEY_fromdata_init(ctx) > 0 &&
        EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params) <= 0)
        key = NULL;
    EVP_PKEY_CTX_free(ctx);
    return key;
}

/* ---- signing with a key at hand ---------------------------------------------------------------
 */

bool ll_tls_sign_local(OSSL_LIB_CTX *libctx, EVP_PKEY *key, uint16_t scheme, struct ll_slice text,
                       struct ll_buf *sig)
{
    const struct hash *h = NULL;
    bool ec = EVP_PKEY_is_a(key, "EC"), rsa = EVP_PKEY_is_a(key, "RSA"), pss = false;
    for (size_t i = 0; i < LL_COUNT(hashes); i++) {
        if ((ec && hashes[i].ecdsa == scheme) || (rsa && hashes[i].pkcs1 == scheme) ||
            (rsa && hashes[i].pss == scheme)) {
            h = &hashes[i];
            pss = h->pss == scheme;
        }
    }
    EVP_MD_CTX *md = h ? EVP_MD_CTX_new() : NULL;
    EVP_PKEY_CTX *pctx = NULL;
    size_t n = SIG_MAX;
    uint8_t *p = md ? ll_buf_room(sig, n) : NULL;
    bool ok = p && EVP_DigestSignInit_ex(md, &pctx, h->names[0], libctx, LOCAL, key, NULL) == 1 &&
              (!pss || (EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) > 0 &&
                        EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST) > 0)) &&
              EVP_DigestSign(md, p, &n, text.p, text.n) == 1;
    if (ok)
        ll_buf_grew(sig, n);
    EVP_MD_CTX_free(md);
    ERR_clear_error();
    return ok;
}
