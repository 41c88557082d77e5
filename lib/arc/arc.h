/* What the verifier and the sealer of ARC share. */
#ifndef LL_LIB_ARC_ARC_H
#define LL_LIB_ARC_ARC_H

#include "letterlock/arc.h"
#include "lib/dkim/parts.h"

/* The fields of one set: indices in the letter; -1: not there. */
struct ll_arc_set {
    int64_t aar, ams, seal;
};

struct ll_arc {
    struct ll_dkim_letter *letter;
    struct ll_dkim_ring ring;
    struct ll_arc_set set[LL_ARC_SETS_MAX + 1]; /* by instance */
    unsigned highest;                           /* instance of any field that has one */
    struct ll_dkim_sig ams;                     /* the newest */
    struct ll_dkim_sig seal[LL_ARC_SETS_MAX + 1];
    enum ll_dkim_fault seal_fault[LL_ARC_SETS_MAX + 1];
    int key[LL_ARC_SETS_MAX + 1]; /* in the ring; [0]: of the newest message signature */
    struct ll_arc_result result;
};

/* Has the newest set found the chain broken? Then nobody adds another. */
bool ll_arc_over(const struct ll_arc *);

#endif
