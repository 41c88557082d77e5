/*
 * Opening one layer. What CBC lets through is not proven to be what was sent, and CMS_decrypt
 * writes before it knows: so everything goes to the end of out, and is wiped there when anything
 * failed. How it failed is told to nobody (RFC 3218, Efail): one error for a wrong key, padding,
 * tag or length.
 */
#include "lib/smime/internal.h"

#define MAC_MIN 12        /* octets, RFC 5084 3.2; libcrypto would take one */
#define PIECE   (1 << 20) /* octets decrypted at once */

/* Content ciphers by what they are worth; all others are UNSUPPORTED. */
static const struct {
    int nid;
    const char *word;
    bool authenticated, weak, refused;
} ciphers[] = {
    {NID_aes_256_gcm, "aes256-gcm", true, false, false},
    {NID_aes_192_gcm, "aes192-gcm", true, false, false},
    {NID_aes_128_gcm, "aes128-gcm", true, false, false},
    {NID_aes_256_cbc, "aes256-cbc", false, false, false},
    {NID_aes_192_cbc, "aes192-cbc", false, false, false},
    {NID_aes_128_cbc, "aes128-cbc", false, false, false},
    {NID_des_ede3_cbc, "3des-cbc", false, true, false},
    {NID_des_cbc, "des-cbc", false, true, true},
    {NID_rc2_cbc, "rc2-cbc", false, true, true},
    {NID_rc4, "rc4", false, true, true},
};

/* ---- recipients ------------------------------------------------------------------------------ */

static struct ll_slice recipient_words(CMS_RecipientInfo *ri, CMS_RecipientEncryptedKey *rek,
                                       struct ll_arena *a)
{
    ASN1_OCTET_STRING *keyid = NULL;
    ASN1_INTEGER *serial = NULL;
    X509_NAME *issuer = NULL;

    if (rek)
        CMS_RecipientEncryptedKey_get0_id(rek, &keyid, NULL, NULL, &issuer, &serial);
    else if (CMS_RecipientInfo_type(ri) == CMS_RECIPINFO_TRANS)
        CMS_RecipientInfo_ktri_get0_signer_id(ri, &keyid, &issuer, &serial);
    else
        return ll_arena_dup(a, LL_LIT("a password or a shared key"));
    return ll_smime_id(keyid, issuer, serial, a);
}

struct search {
    struct ll_smime *s;
    struct ll_arena *a;
    struct ll_slice *words;
    size_t n;
    struct ll_smime_entry *entry; /* whose key is here */
    bool locked;                  /* one is here, but locked */
};

static bool one(struct search *w, CMS_RecipientInfo *ri, CMS_RecipientEncryptedKey *rek)
{
    bool key = rek || CMS_RecipientInfo_type(ri) == CMS_RECIPINFO_TRANS;

    w->words[w->n] = recipient_words(ri, rek, w->a);
    if (!w->words[w->n++].p)
        return false;
    for (size_t i = 0; key && i < w->s->n && !w->entry; i++) {
        struct ll_smime_entry *e = &w->s->v[i];

        if (!e->key && e->locked.n == 0)
            continue;
        if ((rek ? CMS_RecipientEncryptedKey_cert_cmp(rek, e->cert)
                 : CMS_RecipientInfo_ktri_cert_cmp(ri, e->cert)) != 0)
            continue;
        if (e->key)
            w->entry = e;
        else
            w->locked = true;
    }
    return true;
}

static size_t count(STACK_OF(CMS_RecipientInfo) * v)
{
    size_t n = 0;

    for (int i = 0; i < sk_CMS_RecipientInfo_num(v); i++) {
        CMS_RecipientInfo *ri = sk_CMS_RecipientInfo_value(v, i);
        STACK_OF(CMS_RecipientEncryptedKey) *keys = NULL;

        if (CMS_RecipientInfo_type(ri) == CMS_RECIPINFO_AGREE)
            keys = CMS_RecipientInfo_kari_get0_reks(ri);
        n += keys ? (size_t)sk_CMS_RecipientEncryptedKey_num(keys) : 1;
    }
    return n;
}

static enum ll_seal_error look(struct search *w, CMS_ContentInfo *cms)
{
    STACK_OF(CMS_RecipientInfo) *v = CMS_get0_RecipientInfos(cms);
    size_t n = count(v);
    bool ok;

    if (n > LL_SMIME_RECIPIENTS_MAX)
        return LL_SEAL_TOO_LARGE;
    w->words = ll_arena_alloc(w->a, n * sizeof(*w->words));
    ok = w->words != NULL;
    for (int i = 0; ok && i < sk_CMS_RecipientInfo_num(v); i++) {
        CMS_RecipientInfo *ri = sk_CMS_RecipientInfo_value(v, i);
        STACK_OF(CMS_RecipientEncryptedKey) *keys = NULL;

        if (CMS_RecipientInfo_type(ri) == CMS_RECIPINFO_AGREE)
            keys = CMS_RecipientInfo_kari_get0_reks(ri);
        for (int k = 0; ok && k < sk_CMS_RecipientEncryptedKey_num(keys); k++)
            ok = one(w, ri, sk_CMS_RecipientEncryptedKey_value(keys, k));
        if (ok && !keys)
            ok = one(w, ri, NULL);
    }
    return ok ? LL_SEAL_OK : LL_SEAL_RESOURCE;
}

/* ---- decrypting ------------------------------------------------------------------------------ */

static bool pump(BIO *from, struct ll_buf *out)
{
    for (;;) {
        size_t room = out->cap - out->n < PIECE ? out->cap - out->n : PIECE;
        int n = BIO_read(from, out->p + out->n, (int)room);

        if (n <= 0)
            return n == 0 && BIO_get_cipher_status(from) > 0;
        out->n += (size_t)n;
        /* The last octet of the room was kept free: the text is never as long as the object. */
        if (out->n == out->cap)
            return false;
    }
}

/* Room for the whole text is taken before, so that no copy of it stays behind in a smaller block.
 */
static bool decrypt(CMS_ContentInfo *cms, const struct ll_smime_entry *e, size_t size,
                    struct ll_buf *out)
{
    BIO *from = NULL;
    bool ok = false;

    if (!CMS_decrypt_set1_pkey(cms, e->key, e->cert))
        return false;
    from = CMS_dataInit(cms, NULL);
    if (from && ll_buf_room(out, size))
        ok = pump(from, out);
    BIO_free_all(from);
    return ok;
}

static enum ll_seal_error decrypt_layer(struct ll_smime *s, CMS_ContentInfo *cms,
                                        const struct ll_smime_outline *outline, size_t size,
                                        struct ll_buf *out, struct ll_arena *a,
                                        struct ll_opened *ret)
{
    struct search w = {.s = s, .a = a};
    size_t kind = 0, before = out->n;
    enum ll_seal_error e;

    while (kind < LL_COUNT(ciphers) && ciphers[kind].nid != outline->cipher)
        kind++;
    e = look(&w, cms);
    if (e != LL_SEAL_OK)
        return e;
    ret->encrypted = true;
    ret->recipient = w.words;
    ret->n_recipient = w.n;
    if (kind == LL_COUNT(ciphers))
        return LL_SEAL_UNSUPPORTED;
    ret->cipher = ll_arena_dup(a, ll_slice_str(ciphers[kind].word));
    ret->weak = ciphers[kind].weak;
    if (ciphers[kind].refused)
        return LL_SEAL_WEAK;
    if (!w.entry)
        return w.locked ? LL_SEAL_LOCKED : LL_SEAL_NO_KEY;
    if (ciphers[kind].authenticated != (outline->type == NID_id_smime_ct_authEnvelopedData) ||
        (ciphers[kind].authenticated && outline->mac_n < MAC_MIN))
        return LL_SEAL_INTEGRITY;
    if (!decrypt(cms, w.entry, size, out)) {
        bool full = out->failed;

        if (out->p)
            explicit_bzero(out->p + before, out->cap - before);
        out->n = before;
        return full ? LL_SEAL_TOO_LARGE : LL_SEAL_INTEGRITY;
    }
    ret->authenticated = ciphers[kind].authenticated;
    ret->weak = ret->weak || ll_smime_weak_key(w.entry->key);
    return LL_SEAL_OK;
}

/* ---- the layer ------------------------------------------------------------------------------- */

static enum ll_seal_error signed_layer(struct ll_smime *s, CMS_ContentInfo *cms, int64_t now,
                                       struct ll_buf *out, struct ll_arena *a,
                                       struct ll_opened *ret)
{
    ASN1_OCTET_STRING **content = CMS_get0_content(cms);
    struct ll_slice text;
    enum ll_seal_error e;

    if (!content || !*content)
        return LL_SEAL_MALFORMED; /* a detached one, or certificates alone */
    text = ll_slice(ASN1_STRING_get0_data(*content), (size_t)ASN1_STRING_length(*content));
    e = ll_smime_signatures(s, cms, text, now, a, ret);
    if (e == LL_SEAL_OK) {
        ll_buf_put_slice(out, text);
        if (out->failed)
            e = LL_SEAL_TOO_LARGE;
    }
    return e;
}

enum ll_seal_error ll_smime_open(struct ll_smime *s, struct ll_slice der, int64_t now,
                                 struct ll_buf *out, struct ll_arena *a, struct ll_opened *ret)
{
    struct ll_smime_outline outline = {0};
    CMS_ContentInfo *cms = NULL;
    enum ll_seal_error e = ll_smime_parse(der, &outline, &cms);

    *ret = (struct ll_opened){0};
    if (e == LL_SEAL_OK) {
        switch (outline.type) {
        case NID_pkcs7_enveloped:
        case NID_id_smime_ct_authEnvelopedData:
            e = decrypt_layer(s, cms, &outline, der.n, out, a, ret);
            break;
        case NID_pkcs7_signed:
            e = signed_layer(s, cms, now, out, a, ret);
            break;
        default:
            e = LL_SEAL_UNSUPPORTED;
        }
    }
    CMS_ContentInfo_free(cms);
    return ll_smime_failed(e);
}
