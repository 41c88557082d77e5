/* See include/letterlock/pgp.h: entities of RFC 3156. */
#include "lib/pgp/packet.h"
#include "lib/pgp/ring.h"

#include <stdio.h>

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

/* RFC 3156 5: the signature covers the first part's fields and body, and not the CR LF that belongs
 * to the boundary after them. */
static void put_signed(struct ll_buf *out, const char *micalg, struct ll_slice entity,
                       struct ll_slice boundary)
{
    char type[64];

    snprintf(type, sizeof(type), "multipart/signed; micalg=%s", micalg);
    put_type(out, type, "application/pgp-signature", boundary);
    put_boundary(out, boundary, "\r\n");
    ll_buf_put_slice(out, entity);
    ll_buf_puts(out, "\r\n");
    put_boundary(out, boundary,
                 "\r\nContent-Type: application/pgp-signature; name=\"signature.asc\"\r\n"
                 "Content-Description: OpenPGP signature\r\n"
                 "Content-Disposition: attachment; filename=\"signature.asc\"\r\n\r\n");
}

/* RFC 3156 4. */
static void put_encrypted(struct ll_buf *out, struct ll_slice boundary)
{
    put_type(out, "multipart/encrypted", "application/pgp-encrypted", boundary);
    put_boundary(out, boundary,
                 "\r\nContent-Type: application/pgp-encrypted\r\n"
                 "Content-Description: PGP/MIME version identification\r\n\r\nVersion: 1\r\n\r\n");
    put_boundary(out, boundary,
                 "\r\nContent-Type: application/octet-stream; name=\"encrypted.asc\"\r\n"
                 "Content-Description: OpenPGP encrypted message\r\n"
                 "Content-Disposition: inline; filename=\"encrypted.asc\"\r\n\r\n");
}

/* Closes the multipart, or takes back what was appended where something went wrong. */
static enum ll_seal_error finish(struct ll_buf *out, struct ll_slice boundary, size_t start,
                                 enum ll_seal_error error)
{
    ll_buf_puts(out, "\r\n");
    put_boundary(out, boundary, "--\r\n");
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
    put_signed(out, "pgp-sha256", entity, boundary);
    error = out->failed ? LL_SEAL_TOO_LARGE : ll_pgp_sign(ring, signer, entity, now, out);
    return finish(out, boundary, start, error);
}

/* How the hash of a signature of version 4 is called (RFC 3156 5); NULL: it is not one of these. */
static const char *micalg_of(struct ll_slice armored)
{
    static const struct {
        uint8_t hash; /* RFC 4880 9.4 */
        const char *name;
    } rows[] = {{8, "pgp-sha256"}, {9, "pgp-sha384"}, {10, "pgp-sha512"}};
    struct ll_buf room = LL_BUF(0);
    struct ll_slice packets = {0};
    struct ll_pgp_packet p = {0};
    const char *name = NULL;

    if (ll_pgp_dearmor(armored, &room, &packets) == LL_SEAL_OK &&
        ll_pgp_packet_next(&packets, &p) && p.tag == LL_PGP_TAG_SIGNATURE && p.body.n > 3 &&
        p.body.p[0] == 4)
        for (size_t i = 0; i < LL_COUNT(rows); i++)
            if (p.body.p[3] == rows[i].hash)
                name = rows[i].name;
    ll_buf_release(&room);
    return name;
}

enum ll_seal_error ll_pgp_mime_signed(struct ll_slice signature, struct ll_slice entity,
                                      struct ll_slice boundary, struct ll_buf *out)
{
    const char *micalg = micalg_of(signature);
    struct ll_slice line;
    size_t start = out->n;

    if (!micalg || signature.p[0] & 0x80 || !boundary_ok(boundary) || !entity_ok(entity, boundary))
        return LL_SEAL_MALFORMED;
    put_signed(out, micalg, entity, boundary);
    while (signature.n > 0) { /* lines end as they do in mail */
        ll_slice_next(&signature, '\n', &line);
        ll_buf_put_slice(out, ll_slice_ends(line, LL_LIT("\r")) ? ll_slice_cut(line, 0, line.n - 1)
                                                                : line);
        ll_buf_puts(out, "\r\n");
    }
    return finish(out, boundary, start, LL_SEAL_OK);
}

enum ll_seal_error ll_pgp_mime_encrypt(struct ll_pgp *ring, const struct ll_slice *recipient,
                                       size_t n, struct ll_slice signer, struct ll_slice entity,
                                       struct ll_slice boundary, int64_t now, struct ll_buf *out)
{
    size_t start = out->n;
    enum ll_seal_error error;

    if (!boundary_ok(boundary) || !entity_ok(entity, boundary))
        return LL_SEAL_MALFORMED;
    put_encrypted(out, boundary);
    error = out->failed ? LL_SEAL_TOO_LARGE
                        : ll_pgp_encrypt(ring, recipient, n, signer, entity, now, out);
    return finish(out, boundary, start, error);
}

enum ll_seal_error ll_pgp_mime_encrypt_signed(struct ll_pgp *ring, const struct ll_slice *recipient,
                                              size_t n, struct ll_slice message,
                                              struct ll_slice boundary, int64_t now,
                                              struct ll_buf *out)
{
    size_t start = out->n;
    enum ll_seal_error error;

    if (!boundary_ok(boundary) || message.n == 0 || !(message.p[0] & 0x80))
        return LL_SEAL_MALFORMED;
    put_encrypted(out, boundary);
    error = out->failed ? LL_SEAL_TOO_LARGE
                        : ll_pgp_encrypt_packets(ring, recipient, n, message, now, out);
    return finish(out, boundary, start, error);
}
