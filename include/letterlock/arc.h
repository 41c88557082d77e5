/*
 * arc: Authenticated Received Chain (RFC 8617): verifying the chain of a letter, and adding a set.
 *
 * Works on a letter of letterlock/dkim.h, beside DKIM's verifier: fields and body hashes are
 * shared.
 *
 * A passing chain is the sealers' word and no more: to whom does not trust them it means nothing
 * (RFC 8617 9.4). ARC is on its way to historic; letterlock seals only where it is told to.
 */
#ifndef LETTERLOCK_ARC_H
#define LETTERLOCK_ARC_H

#include "letterlock/dkim.h"

#define LL_ARC_SETS_MAX 50 /* sets of one chain (RFC 8617 5.2) */

/* ROW(ID, word): RFC 8617 4.4 */
#define LL_ARC_RESULTS(ROW)                                                                        \
    ROW(NONE, "none")                                                                              \
    ROW(PASS, "pass")                                                                              \
    ROW(FAIL, "fail")

enum ll_arc_code {
#define LL_ARC_ENUM(ID, word) LL_ARC_##ID,
    LL_ARC_RESULTS(LL_ARC_ENUM)
#undef LL_ARC_ENUM
};
const char *ll_arc_word(enum ll_arc_code);

/* Why a chain fails. ROW(ID, sentence) */
#define LL_ARC_FAULTS(ROW)                                                                         \
    ROW(OK, "")                                                                                    \
    ROW(WAITS, "not verified yet")                                                                 \
    ROW(INSTANCE, "an ARC field has no instance from 1 to 50")                                     \
    ROW(TWICE, "an instance has two fields of one kind")                                           \
    ROW(GAP, "a field of a set is missing")                                                        \
    ROW(CV_FAIL, "an earlier host has found the chain broken")                                     \
    ROW(CV, "a seal's cv= is not what its place in the chain demands")                             \
    ROW(MESSAGE, "the newest ARC-Message-Signature")                                               \
    ROW(SEAL, "an ARC-Seal")                                                                       \
    ROW(RESOURCE, "not enough memory")

enum ll_arc_fault {
#define LL_ARC_ENUM(ID, text) LL_ARC_FAULT_##ID,
    LL_ARC_FAULTS(LL_ARC_ENUM)
#undef LL_ARC_ENUM
};
const char *ll_arc_fault_text(enum ll_arc_fault);

struct ll_arc_result {
    enum ll_arc_code code;
    enum ll_arc_fault fault;
    unsigned instance;       /* that the fault is about; 0: none */
    enum ll_dkim_fault dkim; /* of MESSAGE and SEAL: what is wrong with it */
    unsigned sets;           /* in the chain */
    struct ll_slice domain;  /* of the newest seal; empty: unknown */
    struct ll_slice selector;
    struct ll_slice algorithm;
    bool from_signed;        /* the newest message signature covers From: without that, a chain
                                says nothing about who wrote the letter */
    struct ll_slice results; /* payload of the newest ARC-Authentication-Results: authserv-id and
                                results, folds in it; worth what its sealer is worth */
};

struct ll_arc;

/* For a letter that is ready, made before its body comes. now: seconds since 1970. NULL: no memory,
 * or not ready. */
struct ll_arc *ll_arc_new(struct ll_dkim_letter *, int64_t now);
void ll_arc_free(struct ll_arc *);
/* LL_NEED_DNS, LL_DKIM_KEYS_MAX at most: a chain with more different keys fails. */
bool ll_arc_need(struct ll_arc *, struct ll_need *ret);
void ll_arc_answer(struct ll_arc *, const struct ll_need_answer *);
/* Does what can be done; true: the result is final. */
bool ll_arc_done(struct ll_arc *);
const struct ll_arc_result *ll_arc_result(const struct ll_arc *);

/* ---- sealing (RFC 8617 5.1) --------------------------------------------------------------------
 */

struct ll_arc_seal_options {
    struct ll_slice domain, selector;
    enum ll_dkim_algorithm algorithm;
    struct ll_slice fields;  /* h= of the message signature; empty: LL_DKIM_SIGNED */
    struct ll_slice id;      /* our authserv-id */
    struct ll_slice results; /* our results, "spf=pass ...; dkim=..."; empty: "none" */
    int64_t now;             /* t= */
    bool sorted; /* tags by name and b= in one line, to compare with others' output; else i= comes
                    first (RFC 8617 4.1) */
};

struct ll_arc_sealer;

/* For the letter that `arc` verifies, made before its body comes. NULL: no memory, or an option
 * that cannot be written. */
struct ll_arc_sealer *ll_arc_sealer_new(struct ll_dkim_letter *, const struct ll_arc *,
                                        const struct ll_arc_seal_options *);
void ll_arc_sealer_free(struct ll_arc_sealer *);
/* LL_NEED_SIGN, twice, when the letter is over and `arc` is done: the message signature, then the
 * seal. None where no set may be added: the chain was found broken earlier (RFC 8617 5.1, 5.1.2),
 * or it has 50 sets. */
bool ll_arc_sealer_need(struct ll_arc_sealer *, struct ll_need *ret);
void ll_arc_sealer_answer(struct ll_arc_sealer *, const struct ll_need_answer *);
/* Appends the three fields, to be put on top of the letter. False: there is no set. */
bool ll_arc_sealer_set(const struct ll_arc_sealer *, struct ll_buf *out);

#endif
