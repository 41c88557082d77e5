/*
 * pgp, inside: the outermost packets of a message, read by ourselves (RFC 4880 4.2), so that what
 * librnp may do with it is decided before it does it.
 */
#ifndef LETTERLOCK_LIB_PGP_PACKET_H
#define LETTERLOCK_LIB_PGP_PACKET_H

#include "letterlock/seal.h"

/* Tags (RFC 4880 4.3; 20 of its successor's drafts). */
enum {
    LL_PGP_TAG_PKESK = 1,
    LL_PGP_TAG_SIGNATURE = 2,
    LL_PGP_TAG_SKESK = 3,
    LL_PGP_TAG_ONE_PASS = 4,
    LL_PGP_TAG_SECRET_KEY = 5,
    LL_PGP_TAG_PUBLIC_KEY = 6,
    LL_PGP_TAG_COMPRESSED = 8,
    LL_PGP_TAG_ENCRYPTED = 9, /* without integrity protection */
    LL_PGP_TAG_MARKER = 10,
    LL_PGP_TAG_LITERAL = 11,
    LL_PGP_TAG_USER_ID = 13,
    LL_PGP_TAG_SEIPD = 18,
    LL_PGP_TAG_OCB = 20,
};

struct ll_pgp_packet {
    uint8_t tag;
    struct ll_slice body; /* all that is left, where the length is partial or not said */
    bool open;            /* the length is partial or not said */
};
/* Takes the next packet from *rest. False at the end, and where it is malformed (rest->n > 0). */
bool ll_pgp_packet_next(struct ll_slice *rest, struct ll_pgp_packet *ret);

/* The first block of armor (RFC 4880 6.2) without it, in room; binary octets come back as they are,
 * borrowed. The checksum is not looked at, and need not be there (RFC 9580 6.1); librnp wants it.
 * MALFORMED: there is neither. */
enum ll_seal_error ll_pgp_dearmor(struct ll_slice octets, struct ll_buf *room,
                                  struct ll_slice *ret);
/* Takes the next block from *rest into room, which is cleared first. False: there is none, or it is
 * malformed, which *ret_bad tells. */
bool ll_pgp_armor_next(struct ll_slice *rest, struct ll_buf *room, bool *ret_bad);

/* The version of the first key packet, 0 when there is none. */
unsigned ll_pgp_key_version(struct ll_slice octets);

#endif
