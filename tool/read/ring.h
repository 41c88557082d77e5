/*
 * ring: the keys that letters are read with, all in memory, and what is known of them.
 *
 * Filled outside of the box from the key store; within it everything works without files. Passwords
 * of locked keys are asked for when a letter needs them, and not before.
 */
#ifndef LL_TOOL_READ_RING_H
#define LL_TOOL_READ_RING_H

#include "io/keystore.h"
#include "letterlock/pgp.h"
#include "letterlock/smime.h"
#include "letterlock/unseal.h"
#include "tool/args.h"
#include "tool/read/box.h"

#define LL_RING_ROOM (256u * 1024 * 1024) /* octets of all keys of a store */

struct ll_ring {
    struct ll_pgp *pgp;
    struct ll_smime *smime;
    struct ll_keystore_key *key; /* all of the store */
    size_t n;
    struct ll_arena arena;
    int64_t now;
};

/* Reads the store (NULL: none) and files with certificates of authorities to be trusted this once.
 * 0, or a status, said on stderr. Release it in both cases. */
int ll_ring_load(struct ll_ring *, struct ll_keystore *, const struct ll_words *anchors,
                 int64_t now);
void ll_ring_release(struct ll_ring *);

/* What the reader knows of a signature's key, for that author. */
enum ll_unseal_trust ll_ring_trust(const struct ll_ring *, enum ll_seal_method,
                                   const struct ll_signature *, struct ll_slice author);
/* The key of that name, or NULL. */
const struct ll_keystore_key *ll_ring_key(const struct ll_ring *, enum ll_seal_method,
                                          struct ll_slice fingerprint);
/* Another key of this kind that the address had before, not rejected; NULL: none. */
const struct ll_keystore_key *ll_ring_other(const struct ll_ring *, enum ll_seal_method,
                                            struct ll_slice fingerprint, struct ll_slice address);
bool ll_ring_speaks(const struct ll_keystore_key *, struct ll_slice address);

/* Answers a question of the engine. Where a key is locked, the password is asked for through the
 * box (LL_READ_PASSWORD), once for each key. */
void ll_ring_answer(struct ll_ring *, struct ll_box *, enum ll_unseal_question,
                    const struct ll_unseal_ask *, struct ll_arena *, struct ll_unseal *);

#endif
