/*
 * find: asks the domain of an address for its keys: Web Key Directory, OPENPGPKEY and SMIMEA
 * records.
 *
 * What DNSSEC does not prove is not taken out of DNS; what the certificate of a web server does not
 * prove is not taken from it. Keys that are not of the address are left out, and so are all other
 * addresses of a key. What was found is put into the store, with the place. Asking tells the domain
 * and the name server that somebody here wants to write to the address.
 */
#ifndef LL_TOOL_CLIENT_FIND_H
#define LL_TOOL_CLIENT_FIND_H

#include "tool/client/fetch.h"
#include "tool/client/stored.h"

enum ll_find_result {
    LL_FIND_FOUND,
    LL_FIND_NONE,     /* there is nothing */
    LL_FIND_INSECURE, /* there may be something, but nothing proves it */
    LL_FIND_LATER,    /* no answer: ask again */
    LL_FIND_UNUSABLE, /* there is something, and it is no key of the address */
    LL_FIND_SKIPPED,  /* not asked */
};
const char *ll_find_result_word(enum ll_find_result); /* "found" */

/* The places. ROW(ID, word) */
#define LL_FIND_PLACES(ROW)                                                                        \
    ROW(WKD, "wkd")                                                                                \
    ROW(OPENPGPKEY, "openpgpkey")                                                                  \
    ROW(SMIMEA, "smimea")

enum ll_find_place {
#define LL_FIND_ENUM(ID, word) LL_FIND_##ID,
    LL_FIND_PLACES(LL_FIND_ENUM)
#undef LL_FIND_ENUM
        LL_FIND_PLACES_N
};
const char *ll_find_place_word(enum ll_find_place);

struct ll_find {
    struct ll_fetch_from from; /* resolver and how web servers are asked */
    unsigned places;           /* bit 1 << enum ll_find_place; 0: all of them */
    struct ll_stored stored;   /* store, arena, now, err: the caller's; then what was put */
    /* filled in */
    enum ll_find_result result[LL_FIND_PLACES_N];
    struct ll_slice why[LL_FIND_PLACES_N];   /* a sentence, in the arena */
    struct ll_slice place[LL_FIND_PLACES_N]; /* the URL or DNS name that was asked */
};

/* A status of sysexits: 0 whatever was found; EX_USAGE: no address; else the store's trouble, in
 * stored.err. */
int ll_find(struct ll_find *, struct ll_slice address);

/* Fetches what says whether a certificate was revoked: its CRLs, and an OCSP answer; what comes is
 * added to `in`, which believes it only when it is signed. http is asked too. The number of answers
 * that were taken. Asking tells the authority that this certificate is looked at. */
size_t ll_find_revocation(const struct ll_fetch_from *, struct ll_smime *in,
                          struct ll_slice fingerprint, struct ll_arena *, struct ll_buf *ret_why);

#endif
