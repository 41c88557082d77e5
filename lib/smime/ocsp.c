/*
 * OCSP answers (RFC 6960). One is believed when the certificate's issuer signed it, or somebody
 * whom that issuer certified for it (4.2.2.2), and when it is of this time. libcrypto's own check
 * reads the clock, so times are compared here.
 */
#include "lib/smime/internal.h"

/* The signer is the issuer, or was named by it for this, now. */
static bool may_speak(X509 *signer, X509 *issuer, int64_t now)
{
    if (X509_cmp(signer, issuer) == 0)
        return true;
    return X509_check_issued(issuer, signer) == X509_V_OK &&
           X509_verify(signer, X509_get0_pubkey(issuer)) > 0 &&
           X509_get_extension_flags(signer) & EXFLAG_XKUSAGE &&
           X509_get_extended_key_usage(signer) & XKU_OCSP_SIGN &&
           ll_smime_in_time(signer, now) == LL_SMIME_FAULT_OK;
}

static bool signed_well(OCSP_BASICRESP *answer, X509 *issuer, int64_t now)
{
    STACK_OF(X509) *more = sk_X509_new_null();
    X509 *signer = NULL;
    bool ok = more && sk_X509_push(more, issuer) &&
              OCSP_resp_get0_signer(answer, &signer, more) == 1 && may_speak(signer, issuer, now) &&
              OCSP_basic_verify(answer, more, NULL, OCSP_NOVERIFY) == 1;

    sk_X509_free(more);
    return ok;
}

static bool of_now(const ASN1_GENERALIZEDTIME *from, const ASN1_GENERALIZEDTIME *to, int64_t now)
{
    int64_t begin = ll_smime_time(from), end = ll_smime_time(to);

    /* Without nextUpdate newer information is always there (RFC 6960 4.2.2.1): no answer. */
    return from && to && begin <= now + LL_SMIME_CLOCK_SKEW_S && now <= end;
}

static enum ll_smime_ocsp status(OCSP_BASICRESP *answer, X509 *cert, X509 *issuer, int64_t now)
{
    ASN1_GENERALIZEDTIME *from = NULL, *to = NULL;
    int state = -1;

    for (int i = 0; i < 2; i++) {
        OCSP_CERTID *id = OCSP_cert_to_id(i ? EVP_sha256() : EVP_sha1(), cert, issuer);
        bool found = id && OCSP_resp_find_status(answer, id, &state, NULL, NULL, &from, &to) == 1;

        OCSP_CERTID_free(id);
        if (!found)
            continue;
        if (!signed_well(answer, issuer, now) || !of_now(from, to, now))
            return LL_SMIME_OCSP_UNKNOWN;
        return state == V_OCSP_CERTSTATUS_REVOKED ? LL_SMIME_OCSP_REVOKED
               : state == V_OCSP_CERTSTATUS_GOOD  ? LL_SMIME_OCSP_GOOD
                                                  : LL_SMIME_OCSP_UNKNOWN;
    }
    return LL_SMIME_OCSP_UNKNOWN;
}

/* Any valid "revoked" outweighs all "good". */
enum ll_smime_ocsp ll_smime_ocsp_status(struct ll_smime *s, X509 *cert, X509 *issuer, int64_t now)
{
    enum ll_smime_ocsp r = LL_SMIME_OCSP_UNKNOWN;

    for (size_t i = 0; i < s->n_ocsp && r != LL_SMIME_OCSP_REVOKED; i++) {
        enum ll_smime_ocsp o = status(s->ocsp[i], cert, issuer, now);

        if (o != LL_SMIME_OCSP_UNKNOWN)
            r = o;
    }
    return r;
}

enum ll_seal_error ll_smime_ocsp_request(struct ll_smime *s, struct ll_slice fingerprint,
                                         struct ll_buf *out)
{
    struct ll_smime_entry *e = ll_smime_find(s, fingerprint);
    X509 *issuer = e ? ll_smime_issuer(s, e->cert) : NULL;
    OCSP_REQUEST *request = NULL;
    OCSP_CERTID *id = NULL;
    unsigned char *der = NULL;
    int n = -1;

    if (!issuer)
        return LL_SEAL_NO_KEY;
    /* SHA-1: what all responders know; it is a name here, and proves nothing. */
    id = OCSP_cert_to_id(EVP_sha1(), e->cert, issuer);
    request = OCSP_REQUEST_new();
    if (id && request && OCSP_request_add0_id(request, id)) {
        id = NULL;
        n = i2d_OCSP_REQUEST(request, &der);
    }
    if (n > 0)
        ll_buf_put(out, der, (size_t)n);
    OPENSSL_free(der);
    OCSP_CERTID_free(id);
    OCSP_REQUEST_free(request);
    if (n <= 0)
        return ll_smime_failed(LL_SEAL_RESOURCE);
    return out->failed ? LL_SEAL_TOO_LARGE : LL_SEAL_OK;
}
