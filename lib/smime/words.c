/* The texts of the tables. See include/letterlock/smime.h. */
#include "lib/smime/internal.h"

const char *ll_smime_kind_word(enum ll_smime_kind kind)
{
    static const char *const words[] = {
#define LL_SMIME_ROW(ID, word) [LL_SMIME_##ID] = word,
        LL_SMIME_KINDS(LL_SMIME_ROW)
#undef LL_SMIME_ROW
    };

    return (unsigned)kind < LL_COUNT(words) ? words[kind] : "";
}

static const struct {
    enum ll_signature_state state;
    const char *text;
} faults[] = {
#define LL_SMIME_ROW(ID, state, text) [LL_SMIME_FAULT_##ID] = {LL_SIGNATURE_##state, text},
    LL_SMIME_FAULTS(LL_SMIME_ROW)
#undef LL_SMIME_ROW
};

const char *ll_smime_fault_text(enum ll_smime_fault f)
{
    return (unsigned)f < LL_COUNT(faults) ? faults[f].text : "";
}

enum ll_signature_state ll_smime_fault_state(enum ll_smime_fault f)
{
    return (unsigned)f < LL_COUNT(faults) ? faults[f].state : LL_SIGNATURE_UNTRUSTED;
}
