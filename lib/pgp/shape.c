/* See shape.h. */
#include "lib/pgp/shape.h"

#include "lib/pgp/packet.h"

/* For a recipient: version 3 with an algorithm of RFC 4880 9.1 or ECDH. */
static bool pkesk_known(struct ll_slice body)
{
    uint8_t algorithm = body.n > 9 ? body.p[9] : 0;

    return body.n > 9 && body.p[0] == 3 && (algorithm <= 3 || algorithm == 16 || algorithm == 18);
}

static void note_hidden(struct ll_slice body, const uint8_t *start, struct ll_pgp_shape *ret)
{
    static const uint8_t nobody[8];

    if (ret->n_hidden < LL_PGP_HIDDEN_MAX && memcmp(body.p + 1, nobody, sizeof(nobody)) == 0)
        ret->hidden[ret->n_hidden++] = (size_t)(body.p + 1 - start);
}

/* For a password: version 4, or 5 of the drafts, with a way to stretch it of RFC 4880 3.7.1;
 * Argon2 (RFC 9580 3.7.1.4) is none. */
static bool skesk_known(struct ll_slice body)
{
    uint8_t version = body.n > 0 ? body.p[0] : 0;
    size_t at = version == 5 ? 3 : 2;

    return (version == 4 || version == 5) && body.n > at && body.p[at] <= 3;
}

/* Signatures have versions 3 and 4, what announces one has version 3. */
static bool signature_known(const struct ll_pgp_packet *p)
{
    uint8_t version = p->body.n > 0 ? p->body.p[0] : 0;

    return version == 3 || (p->tag == LL_PGP_TAG_SIGNATURE && version == 4);
}

/* What is encrypted has to be worth it: with integrity protection of a known kind, and for
 * somebody. */
static enum ll_seal_error look_encrypted(const struct ll_pgp_packet *p, struct ll_pgp_shape *ret)
{
    if (p->tag == LL_PGP_TAG_ENCRYPTED)
        return LL_SEAL_INTEGRITY;
    if (p->tag == LL_PGP_TAG_SEIPD && p->body.n > 0 && p->body.p[0] != 1)
        return LL_SEAL_UNSUPPORTED; /* version 2 (RFC 9580 5.13.2) */
    ret->encrypted = true;
    if (ret->keys == 0)
        return ret->strange ? LL_SEAL_UNSUPPORTED : LL_SEAL_MALFORMED;
    return LL_SEAL_OK;
}

/* One layer of encryption, outermost, or none; what begins otherwise is no message. */
enum ll_seal_error ll_pgp_look(struct ll_slice rest, struct ll_pgp_shape *ret)
{
    const uint8_t *start = rest.p;
    struct ll_pgp_packet p;

    while (ret->keys + ret->strange <= LL_PGP_RECIPIENTS_MAX && ll_pgp_packet_next(&rest, &p)) {
        bool known = true;

        switch (p.tag) {
        case LL_PGP_TAG_MARKER:
            continue;
        case LL_PGP_TAG_SKESK:
            known = skesk_known(p.body);
            ret->passwords += known;
            if (ret->passwords > LL_PGP_PASSWORDS_MAX)
                return LL_SEAL_TOO_LARGE;
            break;
        case LL_PGP_TAG_PKESK:
            known = pkesk_known(p.body);
            if (known)
                note_hidden(p.body, start, ret);
            break;
        case LL_PGP_TAG_ENCRYPTED:
        case LL_PGP_TAG_SEIPD:
        case LL_PGP_TAG_OCB:
            return look_encrypted(&p, ret);
        case LL_PGP_TAG_ONE_PASS:
        case LL_PGP_TAG_SIGNATURE:
            ret->strange += !signature_known(&p);
            /* fall through */
        case LL_PGP_TAG_COMPRESSED:
        case LL_PGP_TAG_LITERAL:
            return ret->keys ? LL_SEAL_MALFORMED : LL_SEAL_OK;
        default:
            return LL_SEAL_MALFORMED;
        }
        ret->keys += known;
        ret->strange += !known;
    }
    return ret->keys + ret->strange > LL_PGP_RECIPIENTS_MAX ? LL_SEAL_TOO_LARGE : LL_SEAL_MALFORMED;
}
