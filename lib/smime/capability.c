/* SMIMECapabilities (RFC 8551 2.5.2, RFC 4262). See include/letterlock/smime.h. */
#include <openssl/asn1t.h>

#include "lib/smime/internal.h"

#define CAPABILITIES_MAX 128 /* entries looked at; real lists have up to 20 */

static const int nids[] = {
#define LL_SMIME_ROW(ID, nid, word) [LL_SMIME_BIT_##ID] = nid,
    LL_SMIME_CAPABILITIES(LL_SMIME_ROW)
#undef LL_SMIME_ROW
};

uint32_t ll_smime_capability_bits(struct ll_slice der)
{
    const unsigned char *p = der.p;
    X509_ALGORS *v = NULL;
    uint32_t bits = 0;

    if (der.n > 0 && der.n <= LL_SMIME_CERT_MAX)
        v = (X509_ALGORS *)ASN1_item_d2i(NULL, &p, (long)der.n, ASN1_ITEM_rptr(X509_ALGORS));
    for (int i = 0; i < sk_X509_ALGOR_num(v) && i < CAPABILITIES_MAX; i++) {
        const ASN1_OBJECT *oid;

        X509_ALGOR_get0(&oid, NULL, NULL, sk_X509_ALGOR_value(v, i));
        for (size_t k = 0; k < LL_COUNT(nids); k++)
            if (OBJ_obj2nid(oid) == nids[k])
                bits |= 1u << k;
    }
    sk_X509_ALGOR_pop_free(v, X509_ALGOR_free);
    ll_smime_failed(LL_SEAL_OK);
    return bits;
}

uint32_t ll_smime_entry_capabilities(const struct ll_smime_entry *e)
{
    const X509_EXTENSION *x;
    const ASN1_OCTET_STRING *s;
    int at;

    if (e->announced.n > 0)
        return ll_smime_capability_bits(ll_buf_slice(&e->announced));
    at = X509_get_ext_by_NID(e->cert, NID_SMIMECapabilities, -1);
    x = at >= 0 ? X509_get_ext(e->cert, at) : NULL;
    s = x ? X509_EXTENSION_get_data((X509_EXTENSION *)x) : NULL;
    return s ? ll_smime_capability_bits(
                   ll_slice(ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s)))
             : 0;
}

STACK_OF(X509_ALGOR) * ll_smime_own_capabilities(void)
{
    STACK_OF(X509_ALGOR) *v = NULL;

    for (size_t i = 0; i < LL_COUNT(nids); i++)
        if (!CMS_add_simple_smimecap(&v, nids[i], 0)) {
            sk_X509_ALGOR_pop_free(v, X509_ALGOR_free);
            return NULL;
        }
    return v;
}

enum ll_seal_error ll_smime_capabilities(struct ll_smime *s, struct ll_slice fingerprint,
                                         struct ll_buf *out)
{
    struct ll_smime_entry *e = ll_smime_find(s, fingerprint);

    if (!e)
        return LL_SEAL_NO_KEY;
    ll_buf_put_slice(out, ll_buf_slice(&e->announced));
    return out->failed ? LL_SEAL_TOO_LARGE : LL_SEAL_OK;
}

enum ll_seal_error ll_smime_set_capabilities(struct ll_smime *s, struct ll_slice fingerprint,
                                             struct ll_slice der)
{
    struct ll_smime_entry *e = ll_smime_find(s, fingerprint);

    if (!e)
        return LL_SEAL_NO_KEY;
    if (der.n > LL_SMIME_CERT_MAX)
        return LL_SEAL_TOO_LARGE;
    ll_buf_clear(&e->announced);
    ll_buf_put_slice(&e->announced, der);
    return e->announced.failed ? LL_SEAL_RESOURCE : LL_SEAL_OK;
}
