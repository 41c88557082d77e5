/* pgp, inside: what the signatures of a message prove. */
#ifndef LETTERLOCK_LIB_PGP_SIGNATURES_H
#define LETTERLOCK_LIB_PGP_SIGNATURES_H

#include "lib/pgp/ring.h"

/* Fills ret->signature from what librnp found. */
enum ll_seal_error ll_pgp_signatures(rnp_ffi_t ffi, rnp_op_verify_t op, int64_t now,
                                     struct ll_arena *arena, struct ll_opened *ret);

#endif
