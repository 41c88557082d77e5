/*
 * Ed25519 in CMS (RFC 8419), verifying: libcrypto 3.0 knows Ed25519, but not in CMS. The hash of
 * the content is SHA-512; what is signed is the DER of the signed attributes, or without them the
 * content itself.
 */
#include <stdlib.h>

#include "lib/smime/internal.h"

#define ATTRIBUTES_MAX 64    /* of one signer */
#define SIGNED_MAX     65535 /* octets of them all */
#define DER_SET        0x31

static int by_octets(const void *a, const void *b)
{
    const struct ll_slice *x = a, *y = b;

    return ll_slice_cmp(*x, *y);
}

/* Each attribute's DER into all, one after the other. */
static bool encode(const CMS_SignerInfo *si, int n, struct ll_buf *all, size_t *ends)
{
    for (int i = 0; i < n; i++) {
        X509_ATTRIBUTE *a = CMS_signed_get_attr(si, i);
        unsigned char *der = NULL;
        int len = i2d_X509_ATTRIBUTE(a, &der);

        if (len > 0)
            ll_buf_put(all, der, (size_t)len);
        OPENSSL_free(der);
        if (len <= 0 || all->failed)
            return false;
        ends[i] = all->n;
    }
    return true;
}

bool ll_smime_signed_octets(const CMS_SignerInfo *si, struct ll_buf *out)
{
    int n = CMS_signed_get_attr_count(si);
    struct ll_slice v[ATTRIBUTES_MAX] = {0};
    size_t ends[ATTRIBUTES_MAX];
    struct ll_buf all = LL_BUF(SIGNED_MAX);
    bool ok = n > 0 && n <= ATTRIBUTES_MAX && encode(si, n, &all, ends);

    if (ok) {
        for (int i = 0; i < n; i++)
            v[i] = ll_slice_cut(ll_buf_slice(&all), i ? ends[i - 1] : 0, ends[i]);
        qsort(v, (size_t)n, sizeof(*v), by_octets); /* X.690 11.6 */
        ll_buf_putc(out, DER_SET);
        if (all.n >= 0x100)
            ll_buf_putc(out, 0x82), ll_buf_putc(out, (uint8_t)(all.n >> 8));
        else if (all.n >= 0x80)
            ll_buf_putc(out, 0x81);
        ll_buf_putc(out, (uint8_t)all.n);
        for (int i = 0; i < n; i++)
            ll_buf_put_slice(out, v[i]);
        ok = !out->failed;
    }
    ll_buf_release(&all);
    return ok;
}

int ll_smime_ed25519_verify(CMS_SignerInfo *si, EVP_PKEY *key, struct ll_slice text)
{
    const ASN1_OCTET_STRING *sig = CMS_SignerInfo_get0_signature(si);
    struct ll_buf attributes = LL_BUF(SIGNED_MAX + 8);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int r = -1;

    if (CMS_signed_get_attr_count(si) > 0)
        text =
            ll_smime_signed_octets(si, &attributes) ? ll_buf_slice(&attributes) : ll_slice(NULL, 0);
    if (ctx && sig && text.p && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) > 0)
        r = EVP_DigestVerify(ctx, ASN1_STRING_get0_data(sig), (size_t)ASN1_STRING_length(sig),
                             text.p, text.n) == 1;
    EVP_MD_CTX_free(ctx);
    ll_buf_release(&attributes);
    return r;
}
