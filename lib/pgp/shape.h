/*
 * pgp, inside: the outermost packets of a message, looked at before librnp gets it.
 */
#ifndef LETTERLOCK_LIB_PGP_SHAPE_H
#define LETTERLOCK_LIB_PGP_SHAPE_H

#include "letterlock/pgp.h"

#define LL_PGP_HIDDEN_MAX 16 /* recipients without a key id that are tried */

struct ll_pgp_shape {
    size_t keys;      /* session keys for recipients and passwords that librnp can read */
    size_t passwords; /* ... those for passwords */
    size_t strange;   /* session keys and signatures that it cannot read */
    bool encrypted;   /* outermost, with integrity protection */
    /* Where recipients without a key id (RFC 4880 5.1) have it: eight octets each. */
    size_t hidden[LL_PGP_HIDDEN_MAX];
    size_t n_hidden;
};

/* One layer of encryption, outermost, or none. INTEGRITY: unprotected; UNSUPPORTED: nothing of it
 * can be read; MALFORMED: no message; TOO_LARGE: too many session keys. */
enum ll_seal_error ll_pgp_look(struct ll_slice packets, struct ll_pgp_shape *ret);

#endif
