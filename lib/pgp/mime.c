/* See include/letterlock/pgp.h: entities of RFC 3156. */
#include "letterlock/pgp.h"

#define LINE_MAX_OCTETS 998 /* RFC 5322 2.1.1, without CR LF */

/* bchars of RFC 2046 5.1.1, but for the blank and what would have to be quoted twice. */
static bool boundary_ok(struct ll_slice boundary)
{
    static const char others[] = "'()+_,-./:=?";

    if (boundary.n == 0 || boundary.n > LL_PGP_BOUNDARY_MAX)
        return false;
    for (size_t i = 0; i < boundary.n; i++)
        if (!ll_is_alnum(boundary.p[i]) && !memchr(others, boundary.p[i], sizeof(others) - 1))
            return false;
    return true;
}

/* What goes through mail unchanged (RFC 3156 3): 7-bit, CR LF alone ends a line. */
static bool entity_ok(struct ll_slice entity, struct ll_slice boundary)
{
    size_t line = 0;

    for (size_t i = 0; i < entity.n; i++) {
        uint8_t c = entity.p[i];

        if (c == '\r' && i + 1 < entity.n && entity.p[i + 1] == '\n') {
            line = 0;
            i++;
            continue;
        }
        if (c == '\r' || c == '\n' || c == 0 || c > 0x7f || ++line > LINE_MAX_OCTETS)
            return false;
    }
    return ll_slice_search(entity, boundary) == entity.n;
}

static void put_boundary(struct ll_buf *out, struct ll_slice boundary, const char *end)
{
    ll_buf_puts(out, "--");
    ll_buf_put_slice(out, boundary);
    ll_buf_puts(out, end);
}

static void put_type(struct ll_buf *out, const char *type, const char *protocol,
                     struct ll_slice boundary)
{
    ll_buf_printf(out, "Content-Type: %s;\r\n protocol=\"%s\";\r\n boundary=\"", type, protocol);
    ll_buf_put_slice(out, boundary);
    ll_buf_puts(out, "\"\r\n\r\n");
}

/* Takes back what was appended, unless all went well. */
static enum ll_seal_error finish(struct ll_buf *out, size_t start, enum ll_seal_error error)
{
    if (!error && out->failed)
        error = LL_SEAL_TOO_LARGE;
    if (error) {
        out->n = start;
        out->failed = false;
    }
    return error;
}

enum ll_seal_error ll_pgp_mime_sign(struct ll_pgp *ring, struct ll_slice signer,
                                    struct ll_slice entity, struct ll_slice boundary, int64_t now,
                                    struct ll_buf *out)
{
    size_t start = out->n;
    enum ll_seal_error error;

    if (!boundary_ok(boundary) || !entity_ok(entity, boundary))
        return LL_SEAL_MALFORMED;
    /* RFC 3156 5: the signature covers the first part's fields and body, and not the CR LF that
     * belongs to the boundary after them. */
    put_type(out, "multipart/signed; micalg=pgp-sha256", "application/pgp-signature", boundary);
    put_boundary(out, boundary, "\r\n");
    ll_buf_put_slice(out, entity);
    ll_buf_puts(out, "\r\n");
    put_boundary(out, boundary,
                 "\r\nContent-Type: application/pgp-signature; name=\"signature.asc\"\r\n"
                 "Content-Description: OpenPGP signature\r\n"
                 "Content-Disposition: attachment; filename=\"signature.asc\"\r\n\r\n");
    error = out->failed ? LL_SEAL_TOO_LARGE : ll_pgp_sign(ring, signer, entity, now, out);
    ll_buf_puts(out, "\r\n");
    put_boundary(out, boundary, "--\r\n");
    return finish(out, start, error);
}

enum ll_seal_error ll_pgp_mime_encrypt(struct ll_pgp *ring, const struct ll_slice *recipient,
                                       size_t n, struct ll_slice signer, struct ll_slice entity,
                                       struct ll_slice boundary, int64_t now, struct ll_buf *out)
{
    size_t start = out->n;
    enum ll_seal_error error;

    if (!boundary_ok(boundary) || !entity_ok(entity, boundary))
        return LL_SEAL_MALFORMED;
    put_type(out, "multipart/encrypted", "application/pgp-encrypted", boundary);
    put_boundary(out, boundary,
                 "\r\nContent-Type: application/pgp-encrypted\r\n"
                 "Content-Description: PGP/MIME version identification\r\n\r\nVersion: 1\r\n\r\n");
    put_boundary(out, boundary,
                 "\r\nContent-Type: application/octet-stream; name=\"encrypted.asc\"\r\n"
                 "Content-Description: OpenPGP encrypted message\r\n"
                 "Content-Disposition: inline; filename=\"encrypted.asc\"\r\n\r\n");
    error = out->failed ? LL_SEAL_TOO_LARGE
                        : ll_pgp_encrypt(ring, recipient, n, signer, entity, now, out);
    ll_buf_puts(out, "\r\n");
    put_boundary(out, boundary, "--\r\n");
    return finish(out, start, error);
}
