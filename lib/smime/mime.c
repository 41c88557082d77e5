/* S/MIME entities (RFC 8551 3). See include/letterlock/smime.h. */
#include "lib/smime/internal.h"

#define LINE 76 /* characters of a line of base64, RFC 2045 6.8 */

/* Lines in CR LF, octets below 128, no NUL: what every server on the way leaves as it is. */
static bool canonical(struct ll_slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\0' || s.p[i] >= 0x80)
            return false;
        if (s.p[i] == '\r' && (i + 1 == s.n || s.p[i + 1] != '\n'))
            return false;
        if (s.p[i] == '\n' && (i == 0 || s.p[i - 1] != '\r'))
            return false;
    }
    return true;
}

/* Whether a line begins with the boundary's delimiter (RFC 2046 5.1.1). */
static bool has_boundary(struct ll_slice s, struct ll_slice boundary)
{
    while (s.n > 0) {
        size_t end = ll_slice_find(s, '\n');

        if (ll_slice_starts(s, LL_LIT("--")) && ll_slice_starts(ll_slice_skip(s, 2), boundary))
            return true;
        s = ll_slice_skip(s, end + 1);
    }
    return false;
}

static void put_base64(struct ll_buf *out, struct ll_slice in)
{
    for (; in.n > 0 && !out->failed; in = ll_slice_skip(in, LINE / 4 * 3)) {
        ll_base64_encode(out, ll_slice_cut(in, 0, LINE / 4 * 3));
        ll_buf_puts(out, "\r\n");
    }
}

static void put_fields(struct ll_buf *out, const char *type, const char *more, const char *name)
{
    ll_buf_printf(out,
                  "Content-Type: %s;%s\r\n name=\"%s\"\r\n"
                  "Content-Transfer-Encoding: base64\r\n"
                  "Content-Disposition: attachment; filename=\"%s\"\r\n\r\n",
                  type, more, name, name);
}

static enum ll_seal_error end(struct ll_buf *out, size_t before, struct ll_buf *der,
                              enum ll_seal_error e)
{
    ll_buf_release(der);
    if (e == LL_SEAL_OK && out->failed)
        e = LL_SEAL_TOO_LARGE;
    if (e != LL_SEAL_OK)
        out->n = before;
    return e;
}

/* RFC 5754 2: the names of micalg. */
static const char *micalg(struct ll_smime *s, struct ll_slice signer)
{
    struct ll_smime_entry *e = ll_smime_find(s, signer);

    switch (EVP_MD_get_type(ll_smime_digest(e->key))) {
    case NID_sha384:
        return "sha-384";
    case NID_sha512:
        return "sha-512";
    default:
        return "sha-256";
    }
}

enum ll_seal_error ll_smime_mime_sign(struct ll_smime *s, struct ll_slice signer,
                                      struct ll_slice entity, struct ll_slice boundary, int64_t now,
                                      struct ll_buf *out)
{
    struct ll_buf der = LL_BUF(2 * (size_t)LL_SMIME_CMS_MAX);
    size_t before = out->n;
    bool detached = boundary.n > 0;
    enum ll_seal_error e;

    if (!canonical(entity) || (detached && has_boundary(entity, boundary)))
        return LL_SEAL_MALFORMED;
    e = ll_smime_sign(s, signer, entity, now, detached, &der);
    if (e == LL_SEAL_OK && detached) {
        ll_buf_printf(out,
                      "Content-Type: multipart/signed;\r\n"
                      " protocol=\"application/pkcs7-signature\"; micalg=%s;\r\n"
                      " boundary=\"%.*s\"\r\n\r\n--%.*s\r\n",
                      micalg(s, signer), LL_FMT(boundary), LL_FMT(boundary));
        ll_buf_put_slice(out, entity);
        ll_buf_printf(out, "\r\n--%.*s\r\n", LL_FMT(boundary));
        put_fields(out, "application/pkcs7-signature", "", "smime.p7s");
        put_base64(out, ll_buf_slice(&der));
        ll_buf_printf(out, "\r\n--%.*s--\r\n", LL_FMT(boundary));
    } else if (e == LL_SEAL_OK) {
        put_fields(out, "application/pkcs7-mime", " smime-type=signed-data;", "smime.p7m");
        put_base64(out, ll_buf_slice(&der));
    }
    return end(out, before, &der, e);
}

enum ll_seal_error ll_smime_mime_encrypt(struct ll_smime *s, const struct ll_slice *recipient,
                                         size_t n, struct ll_slice entity, int64_t now,
                                         enum ll_smime_content wish, struct ll_buf *out)
{
    struct ll_buf der = LL_BUF(2 * (size_t)LL_SMIME_CMS_MAX);
    struct ll_smime_outline outline = {0};
    size_t before = out->n;
    enum ll_seal_error e;

    if (!canonical(entity))
        return LL_SEAL_MALFORMED;
    e = ll_smime_encrypt(s, recipient, n, entity, now, wish, &der);
    if (e == LL_SEAL_OK)
        e = ll_smime_outline(ll_buf_slice(&der), &outline);
    if (e == LL_SEAL_OK) {
        bool gcm = outline.type == NID_id_smime_ct_authEnvelopedData;

        put_fields(out, "application/pkcs7-mime",
                   gcm ? " smime-type=authEnveloped-data;" : " smime-type=enveloped-data;",
                   "smime.p7m");
        put_base64(out, ll_buf_slice(&der));
    }
    return end(out, before, &der, e);
}
