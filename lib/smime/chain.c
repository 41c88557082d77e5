/*
 * Is a certificate good? (RFC 5280 6, RFC 8550 4.) libcrypto builds the chain and checks it
 * strictly; what it thinks of the last certificate's purpose is replaced by ll_smime_fits, as it
 * knows no EC keys there and no anyExtendedKeyUsage; and what it finds missing of CRLs is only
 * noted, as an OCSP answer may say it instead.
 */
#include "lib/smime/internal.h"

#define AUTH_LEVEL 2 /* of libcrypto: RSA from 2048 bits, no SHA-1 in signatures of the chain */

enum ll_smime_fault ll_smime_fits(X509 *cert, enum ll_smime_purpose purpose)
{
    EVP_PKEY *key = X509_get0_pubkey(cert);
    int id = key ? EVP_PKEY_get_base_id(key) : EVP_PKEY_NONE;
    uint32_t usage = X509_get_key_usage(cert), extended = X509_get_extended_key_usage(cert);
    uint32_t wanted = KU_DIGITAL_SIGNATURE | KU_NON_REPUDIATION;
    bool able = id == EVP_PKEY_RSA || id == EVP_PKEY_RSA_PSS || id == EVP_PKEY_ED25519;

    if (purpose == LL_SMIME_ENCRYPT) {
        able = id == EVP_PKEY_RSA;
        wanted = id == EVP_PKEY_EC ? KU_KEY_AGREEMENT : KU_KEY_ENCIPHERMENT;
    }
    if (id == EVP_PKEY_EC)
        able = ll_smime_curve(key) != NULL;
    if (!able || EVP_PKEY_get_bits(key) > LL_SMIME_RSA_BITS_MAX)
        return LL_SMIME_FAULT_UNSUPPORTED;
    /* Both functions say "all" where the extension is missing. */
    if (!(usage & wanted) || !(extended & (XKU_SMIME | XKU_ANYEKU)))
        return LL_SMIME_FAULT_PURPOSE;
    return LL_SMIME_FAULT_OK;
}

enum ll_smime_fault ll_smime_in_time(const X509 *cert, int64_t now)
{
    time_t t = (time_t)now;

    if (X509_cmp_time(X509_get0_notBefore(cert), &t) >= 0)
        return LL_SMIME_FAULT_NOT_YET;
    if (X509_cmp_time(X509_get0_notAfter(cert), &t) <= 0)
        return LL_SMIME_FAULT_EXPIRED;
    return LL_SMIME_FAULT_OK;
}

/* ---- what libcrypto says --------------------------------------------------------------------- */

/* Codes that are not here are INVALID. */
static const struct {
    int code;
    enum ll_smime_fault fault;
} meanings[] = {
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, LL_SMIME_FAULT_UNTRUSTED},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, LL_SMIME_FAULT_UNTRUSTED},
    {X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, LL_SMIME_FAULT_UNTRUSTED},
    {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, LL_SMIME_FAULT_UNTRUSTED},
    {X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, LL_SMIME_FAULT_UNTRUSTED},
    {X509_V_ERR_CERT_UNTRUSTED, LL_SMIME_FAULT_UNTRUSTED},
    {X509_V_ERR_CERT_REJECTED, LL_SMIME_FAULT_UNTRUSTED},
    {X509_V_ERR_CERT_CHAIN_TOO_LONG, LL_SMIME_FAULT_UNTRUSTED},
    {X509_V_ERR_CERT_NOT_YET_VALID, LL_SMIME_FAULT_NOT_YET},
    {X509_V_ERR_CERT_HAS_EXPIRED, LL_SMIME_FAULT_EXPIRED},
    {X509_V_ERR_CERT_REVOKED, LL_SMIME_FAULT_REVOKED},
    {X509_V_ERR_INVALID_PURPOSE, LL_SMIME_FAULT_PURPOSE},
    {X509_V_ERR_EE_KEY_TOO_SMALL, LL_SMIME_FAULT_WEAK},
    {X509_V_ERR_CA_KEY_TOO_SMALL, LL_SMIME_FAULT_WEAK},
    {X509_V_ERR_CA_MD_TOO_WEAK, LL_SMIME_FAULT_WEAK},
    {X509_V_ERR_OUT_OF_MEM, LL_SMIME_FAULT_RESOURCE},
    {X509_V_ERR_UNABLE_TO_GET_CRL, LL_SMIME_FAULT_REVOCATION},
    {X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER, LL_SMIME_FAULT_REVOCATION},
    {X509_V_ERR_CRL_NOT_YET_VALID, LL_SMIME_FAULT_REVOCATION},
    {X509_V_ERR_CRL_HAS_EXPIRED, LL_SMIME_FAULT_REVOCATION},
    {X509_V_ERR_CRL_SIGNATURE_FAILURE, LL_SMIME_FAULT_REVOCATION},
    {X509_V_ERR_UNABLE_TO_DECRYPT_CRL_SIGNATURE, LL_SMIME_FAULT_REVOCATION},
    {X509_V_ERR_ERROR_IN_CRL_LAST_UPDATE_FIELD, LL_SMIME_FAULT_REVOCATION},
    {X509_V_ERR_ERROR_IN_CRL_NEXT_UPDATE_FIELD, LL_SMIME_FAULT_REVOCATION},
    {X509_V_ERR_KEYUSAGE_NO_CRL_SIGN, LL_SMIME_FAULT_REVOCATION},
    {X509_V_ERR_DIFFERENT_CRL_SCOPE, LL_SMIME_FAULT_REVOCATION},
    {X509_V_ERR_UNHANDLED_CRITICAL_CRL_EXTENSION, LL_SMIME_FAULT_REVOCATION},
    {X509_V_ERR_CRL_PATH_VALIDATION_ERROR, LL_SMIME_FAULT_REVOCATION},
};

static enum ll_smime_fault meaning(int code)
{
    for (size_t i = 0; i < LL_COUNT(meanings); i++)
        if (meanings[i].code == code)
            return meanings[i].fault;
    return LL_SMIME_FAULT_INVALID;
}

/* One verification, as its callback sees it. */
struct view {
    enum ll_smime_fault fault;
    int code, depth;   /* of the fault */
    uint32_t crl_less; /* bit a depth: no CRL that can be used says anything */
};

/* The anchor is what its user chose, not what RFC 5280 asks of it (6.1.1 d): those that openssl(1)
 * makes when nothing else is said have no key usage. */
static bool anchors_fault(X509_STORE_CTX *ctx, int code, int depth)
{
    return depth + 1 == sk_X509_num(X509_STORE_CTX_get0_chain(ctx)) && depth > 0 &&
           (code == X509_V_ERR_CA_CERT_MISSING_KEY_USAGE ||
            code == X509_V_ERR_MISSING_SUBJECT_KEY_IDENTIFIER ||
            code == X509_V_ERR_MISSING_AUTHORITY_KEY_IDENTIFIER);
}

static int on_step(int ok, X509_STORE_CTX *ctx)
{
    struct view *v = X509_STORE_CTX_get_app_data(ctx);
    int code = X509_STORE_CTX_get_error(ctx), depth = X509_STORE_CTX_get_error_depth(ctx);
    enum ll_smime_fault f = ok ? LL_SMIME_FAULT_OK : meaning(code);

    if (f == LL_SMIME_FAULT_REVOCATION)
        v->crl_less |= 1u << (depth & 31);
    if (ok || f == LL_SMIME_FAULT_REVOCATION || anchors_fault(ctx, code, depth) ||
        (code == X509_V_ERR_INVALID_PURPOSE && depth == 0)) {
        X509_STORE_CTX_set_error(ctx, X509_V_OK);
        return 1;
    }
    v->fault = f;
    v->code = code;
    v->depth = depth;
    return 0;
}

/* ---- revocation ------------------------------------------------------------------------------ */

/* Whether one of the certificates that could have issued the CRL did; the first of them are ours.
 * An unverified CRL never gets to libcrypto: it would push a true one aside. */
static bool crl_verifies(X509_CRL *crl, STACK_OF(X509) * certs)
{
    for (int i = 0, tries = 0; i < sk_X509_num(certs) && tries < LL_SMIME_TRIES; i++) {
        X509 *c = sk_X509_value(certs, i);
        EVP_PKEY *key = X509_get0_pubkey(c);

        if (!key || EVP_PKEY_get_bits(key) > LL_SMIME_RSA_BITS_MAX ||
            X509_NAME_cmp(X509_get_subject_name(c), X509_CRL_get_issuer(crl)) != 0)
            continue;
        tries++;
        if (X509_CRL_verify(crl, key) > 0)
            return true;
    }
    return false;
}

/* The CRLs that count, borrowed; NULL: no memory. */
static STACK_OF(X509_CRL) * crls(struct ll_smime *s, STACK_OF(X509) * certs)
{
    STACK_OF(X509_CRL) *v = sk_X509_CRL_new_null();

    for (size_t i = 0; v && i < s->n_crl; i++)
        if (crl_verifies(s->crl[i], certs) && !sk_X509_CRL_push(v, s->crl[i])) {
            sk_X509_CRL_free(v);
            return NULL;
        }
    return v;
}

/* OCSP over the chain that was found, and what is left unknown. */
static void revocation(struct ll_smime *s, X509_STORE_CTX *ctx, struct view *v, int64_t now)
{
    STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(ctx);

    for (int i = 0; i + 1 < sk_X509_num(chain) && v->fault == LL_SMIME_FAULT_OK; i++) {
        enum ll_smime_ocsp o =
            ll_smime_ocsp_status(s, sk_X509_value(chain, i), sk_X509_value(chain, i + 1), now);
        bool known = o != LL_SMIME_OCSP_UNKNOWN || !(v->crl_less >> (i & 31) & 1);

        v->depth = i;
        if (o == LL_SMIME_OCSP_REVOKED)
            v->fault = LL_SMIME_FAULT_REVOKED;
        else if (!known && s->revocation == LL_SMIME_HARD)
            v->fault = LL_SMIME_FAULT_REVOCATION;
    }
}

/* ---- the chain ------------------------------------------------------------------------------- */

static X509_STORE *anchors(struct ll_smime *s)
{
    bool ok;

    if (s->store)
        return s->store;
    s->store = X509_STORE_new();
    ok = s->store != NULL;
    for (size_t i = 0; ok && i < s->n; i++)
        /* One that is no CA stands for itself alone (pinned, below). Old roots of version 1 (3) and
         * those without basicConstraints are no CAs here. */
        if (s->v[i].anchor && X509_check_ca(s->v[i].cert) == 1)
            ok = X509_STORE_add_cert(s->store, s->v[i].cert);
    if (!ok) {
        X509_STORE_free(s->store);
        s->store = NULL;
    }
    return s->store;
}

/* All CAs here, then the bag; borrowed. */
static STACK_OF(X509) * candidates(struct ll_smime *s, STACK_OF(X509) * bag)
{
    STACK_OF(X509) *v = sk_X509_new_null();
    bool ok = v != NULL;

    for (size_t i = 0; ok && i < s->n; i++)
        if (X509_check_ca(s->v[i].cert) == 1)
            ok = sk_X509_push(v, s->v[i].cert);
    for (int i = 0; ok && i < sk_X509_num(bag) && i < LL_SMIME_BAG_MAX; i++)
        ok = sk_X509_push(v, sk_X509_value(bag, i));
    if (!ok) {
        sk_X509_free(v);
        return NULL;
    }
    return v;
}

static bool set_up(struct ll_smime *s, X509_STORE_CTX *ctx, enum ll_smime_purpose purpose,
                   int64_t now, struct view *v)
{
    X509_VERIFY_PARAM *p = X509_STORE_CTX_get0_param(ctx);
    unsigned long flags = X509_V_FLAG_X509_STRICT | X509_V_FLAG_PARTIAL_CHAIN;

    if (s->revocation != LL_SMIME_OFF)
        flags |= X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL;
    X509_VERIFY_PARAM_set_time(p, (time_t)now);
    X509_VERIFY_PARAM_set_depth(p, LL_SMIME_CHAIN_MAX);
    X509_VERIFY_PARAM_set_auth_level(p, AUTH_LEVEL);
    X509_STORE_CTX_set_verify_cb(ctx, on_step);
    return X509_VERIFY_PARAM_set_flags(p, flags) && X509_STORE_CTX_set_app_data(ctx, v) &&
           X509_STORE_CTX_set_purpose(ctx, purpose == LL_SMIME_SIGN ? X509_PURPOSE_SMIME_SIGN
                                                                    : X509_PURPOSE_SMIME_ENCRYPT);
}

/* Says which certificate of the chain a fault lies in, and libcrypto's sentence. */
static struct ll_slice detail(X509_STORE_CTX *ctx, const struct view *v, struct ll_arena *a)
{
    STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(ctx);
    struct ll_buf text = LL_BUF(LL_SMIME_CERT_MAX);
    struct ll_slice r = {0};

    if (v->code)
        ll_buf_puts(&text, X509_verify_cert_error_string(v->code));
    if (v->depth > 0 && v->depth < sk_X509_num(chain)) {
        ll_buf_puts(&text, text.n ? ": " : "issuer ");
        ll_buf_put_slice(&text,
                         ll_smime_name(X509_get_subject_name(sk_X509_value(chain, v->depth)), a));
    }
    if (text.n && !text.failed)
        r = ll_arena_dup(a, ll_buf_slice(&text));
    ll_buf_release(&text);
    return r;
}

static enum ll_smime_fault build(struct ll_smime *s, X509 *cert, STACK_OF(X509) * bag,
                                 enum ll_smime_purpose purpose, int64_t now, struct ll_arena *a,
                                 struct ll_slice *ret_detail)
{
    struct view v = {LL_SMIME_FAULT_RESOURCE, 0, 0, 0};
    STACK_OF(X509) *more = candidates(s, bag);
    STACK_OF(X509_CRL) *lists = more ? crls(s, more) : NULL;
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();

    if (ctx && lists && anchors(s) && X509_STORE_CTX_init(ctx, s->store, cert, more) &&
        set_up(s, ctx, purpose, now, &v)) {
        v.fault = LL_SMIME_FAULT_OK;
        X509_STORE_CTX_set0_crls(ctx, lists);
        if (X509_verify_cert(ctx) <= 0 && v.fault == LL_SMIME_FAULT_OK)
            v.fault = meaning(X509_STORE_CTX_get_error(ctx));
        if (v.fault == LL_SMIME_FAULT_OK && s->revocation != LL_SMIME_OFF)
            revocation(s, ctx, &v, now);
        if (v.fault != LL_SMIME_FAULT_OK && ret_detail)
            *ret_detail = detail(ctx, &v, a);
    }
    X509_STORE_CTX_free(ctx);
    sk_X509_CRL_free(lists);
    sk_X509_free(more);
    return v.fault;
}

/* Whether the user, or an anchor that is no CA, stands for this very certificate. */
static bool pinned(struct ll_smime *s, X509 *cert)
{
    uint8_t hash[LL_SMIME_HASH];

    if (!X509_digest(cert, EVP_sha256(), hash, NULL))
        return false;
    for (size_t i = 0; i < s->n; i++)
        if (memcmp(s->v[i].hash, hash, sizeof(hash)) == 0)
            return s->v[i].pinned || s->v[i].anchor;
    return false;
}

enum ll_smime_fault ll_smime_chain(struct ll_smime *s, X509 *cert, STACK_OF(X509) * bag,
                                   enum ll_smime_purpose purpose, int64_t now, struct ll_arena *a,
                                   struct ll_slice *ret_detail)
{
    enum ll_smime_fault f = ll_smime_fits(cert, purpose);

    if (f == LL_SMIME_FAULT_OK && ll_smime_weak_key(X509_get0_pubkey(cert)))
        f = LL_SMIME_FAULT_WEAK;
    if (f == LL_SMIME_FAULT_OK)
        f = pinned(s, cert) ? ll_smime_in_time(cert, now)
                            : build(s, cert, bag, purpose, now, a, ret_detail);
    ll_smime_failed(LL_SEAL_OK);
    return f;
}

enum ll_smime_fault ll_smime_check(struct ll_smime *s, struct ll_slice fingerprint,
                                   enum ll_smime_purpose purpose, struct ll_slice address,
                                   int64_t now, struct ll_arena *a, struct ll_slice *ret_detail)
{
    struct ll_smime_entry *e = ll_smime_find(s, fingerprint);
    struct ll_slice said = {0};
    enum ll_smime_fault f = LL_SMIME_FAULT_UNKNOWN;

    if (e)
        f = ll_smime_chain(s, e->cert, NULL, purpose, now, a, &said);
    if (f == LL_SMIME_FAULT_OK && address.n > 0 && !ll_smime_speaks_for(s, fingerprint, address))
        f = LL_SMIME_FAULT_ADDRESS;
    if (ret_detail)
        *ret_detail = said;
    return f;
}
