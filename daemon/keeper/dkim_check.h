/*
 * dkim_check: may the keeper sign this text with a DKIM key? Pure: octets in, a sentence out.
 *
 * The text is what DKIM hashes (RFC 6376 3.7): the signed fields in relaxed form, each with its CR
 * LF, and at last the DKIM-Signature field with an empty b= and no CR LF. A process that asks can
 * so have letters of our domains signed, and nothing else: no other protocol's text, no letter in
 * another domain's name, no signature that leaves the end of a body open (l=).
 */
#ifndef LL_KEEPER_DKIM_CHECK_H
#define LL_KEEPER_DKIM_CHECK_H

#include "letterlock/dkim.h"

struct ll_dkim_claim {
    struct ll_slice domain;   /* of the key, A-labels, lower case */
    struct ll_slice selector; /* likewise */
    enum ll_dkim_algorithm algorithm;
};

/* NULL: it is such a text, and From holds one address in the key's domain or below it; *ret_author
 * is that address's domain, in the arena. Else why not, a static sentence. */
const char *ll_dkim_text_fault(struct ll_slice text, const struct ll_dkim_claim *,
                               struct ll_arena *, struct ll_slice *ret_author);

/* The same for the two texts of an ARC set (RFC 8617 4.1.2, 4.1.3): a message signature, or a seal
 * over ARC fields alone. They say nothing about who wrote the letter, so From may be anybody's. */
const char *ll_arc_text_fault(struct ll_slice text, const struct ll_dkim_claim *);

#endif
