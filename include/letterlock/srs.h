/*
 * srs: the Sender Rewriting Scheme. A forwarder that leaves the reverse-path as it is fails SPF at
 * the next server; so it puts its own domain there, and the old reverse-path, signed, into the
 * local part. A report that comes back finds its way from that.
 *
 *     SRS0=HASH=DAY=domain=local@ours                the reverse-path was local@domain
 *     SRS1=HASH=domain==HASH=DAY=domain=local@ours   it was SRS0=HASH=DAY=domain=local@domain
 *
 * There is no standard; this is the form of Wong's paper (2003), as others write and read it. HASH
 * is the first 40 bits of HMAC-SHA256 over all that follows (in lower case), in base32; DAY the day
 * of the rewriting modulo 1024, in base32. Neither depends on case, since servers change it. SRS1
 * leaves the first forwarder's part as it is and has no day of its own: that one looks at it.
 *
 * Pure functions; the secret and the time are the caller's.
 */
#ifndef LETTERLOCK_SRS_H
#define LETTERLOCK_SRS_H

#include "letterlock/base.h"

#define LL_SRS_SECRET_MIN 16 /* octets of a secret, at least */
#define LL_SRS_HASH       8  /* digits of a hash: 2^40 tries to guess one */
#define LL_SRS_DAYS       21 /* an SRS0 address is good for so long */

/* ROW(ID, sentence) */
#define LL_SRS_ERRORS(ROW)                                                                         \
    ROW(OK, "no error")                                                                            \
    ROW(NOT_SRS, "not an address of the Sender Rewriting Scheme")                                  \
    ROW(SYNTAX, "an SRS address that is not whole")                                                \
    ROW(FORGED, "its hash is not ours")                                                            \
    ROW(AGE, "it is too old")                                                                      \
    ROW(LOCAL, "it cannot stand in a local part (quoted, not ASCII, an address literal)")          \
    ROW(LONG, "the new local part would be longer than 64 octets")                                 \
    ROW(RESOURCE, "not enough memory, or the secret is too short")

enum ll_srs_error {
#define LL_SRS_ENUM(ID, text) LL_SRS_##ID,
    LL_SRS_ERRORS(LL_SRS_ENUM)
#undef LL_SRS_ENUM
};

const char *ll_srs_error_text(enum ll_srs_error);

/* Does a local part claim to be one: SRS0 or SRS1 in any case, then "=", "+" or "-"? */
bool ll_srs_is(struct ll_slice local);

/* Appends the reverse-path for a letter that is sent on by `domain`: sender (local@domain, not
 * empty) rewritten. What looks like SRS0 becomes SRS1, what looks like SRS1 another SRS1; what only
 * looks so is taken as any other. LOCAL, LONG, RESOURCE: out is as it was. unix_s: seconds since
 * 1970. */
enum ll_srs_error ll_srs_forward(struct ll_slice secret, struct ll_slice sender,
                                 struct ll_slice domain, int64_t unix_s, struct ll_buf *out);

/* Appends the address that a report to this local part (of our domain) goes on to: local@domain, or
 * the first forwarder's SRS0 address. NOT_SRS, SYNTAX, FORGED, AGE, RESOURCE: out is as it was. A
 * day that is still to come is AGE, too. */
enum ll_srs_error ll_srs_reverse(struct ll_slice secret, struct ll_slice local, int64_t unix_s,
                                 struct ll_buf *out);

#endif
