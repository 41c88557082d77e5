/*
 * seal: how a letter is sealed and signed, for whom, with which keys.
 *
 * A method is used for a whole letter or not at all: where one recipient has no key for it, nothing
 * goes out (a letter that was asked to be sealed never goes in clear). A key is taken from the
 * store; where it has none, the domain is asked (tool/client/find.h). A key that was rejected, or
 * that turned up beside another one and was not decided about, stops the letter.
 */
#ifndef LL_TOOL_CLIENT_SEAL_H
#define LL_TOOL_CLIENT_SEAL_H

#include "io/keystore.h"
#include "letterlock/pgp.h"
#include "letterlock/smime.h"
#include "tool/client/send.h"
#include "tool/client/stored.h"

#define LL_SEAL_METHOD_COUNT (LL_SEAL_PGP + 1)

/* What seals a letter to one person, by one method. */
struct ll_seal_key {
    bool found;
    bool later;   /* not found now; a look-up failed */
    bool trusted; /* S/MIME: a CA that the user trusts vouches for it */
    struct ll_keystore_key key;
    enum ll_keystore_choice choice;
    const struct ll_keystore_key *other; /* undecided, found beside it; or NULL */
    const char *fault;                   /* why it cannot be used though it was found; or NULL */
};

struct ll_seal_person {
    struct ll_slice address;
    bool hidden; /* named in neither To nor Cc: gets a letter of its own */
    struct ll_seal_key by[LL_SEAL_METHOD_COUNT];
};

struct ll_sealing {
    struct ll_send *s;
    struct ll_keystore *store;
    struct ll_resolver *resolver; /* for look-ups; made when one is needed */
    struct ll_pgp *pgp;
    struct ll_smime *smime;
    int64_t now;
    enum ll_seal_method seal, sign; /* what was chosen; NONE: not */
    bool card;                      /* the OpenPGP key that signs is on a card */
    struct ll_seal_person own;      /* who writes: found means that the secret key is here */
    struct ll_seal_person *to;
    size_t n_to;
};

/* The keys of who writes. 0 or a status. */
int ll_seal_own(struct ll_sealing *);
/* Brings a key of the store into the ring of its kind; secret: with its secret part, locked as it
 * may be. 0 or a status. */
int ll_seal_load(struct ll_sealing *, const struct ll_keystore_key *, bool secret);
/* Finds keys and chooses the method. 0, or a status; what stands in the way is said on stderr, of
 * each recipient: EX_UNAVAILABLE no key, EX_TEMPFAIL a look-up failed for now, EX_DATAERR a key
 * that was rejected, changed or cannot be used. */
int ll_seal_choose(struct ll_sealing *);
/* Unlocks what signs, and gives ll_send its letters (ll_send_add). 0 or a status. */
int ll_seal_build(struct ll_sealing *);

/* Of that address, or NULL. */
const struct ll_seal_person *ll_seal_person(const struct ll_sealing *, struct ll_slice address);

#endif
