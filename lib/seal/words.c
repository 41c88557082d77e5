/* See include/letterlock/seal.h. */
#include "letterlock/seal.h"

const char *ll_seal_error_text(enum ll_seal_error e)
{
    static const char *const text[] = {
#define LL_SEAL_ROW(ID, sentence) [LL_SEAL_##ID] = sentence,
        LL_SEAL_ERRORS(LL_SEAL_ROW)
#undef LL_SEAL_ROW
    };

    return (unsigned)e < LL_COUNT(text) ? text[e] : "";
}

static const char *const method_words[] = {
#define LL_SEAL_ROW(ID, word) [LL_SEAL_##ID] = word,
    LL_SEAL_METHODS(LL_SEAL_ROW)
#undef LL_SEAL_ROW
};

const char *ll_seal_method_word(enum ll_seal_method m)
{
    return (unsigned)m < LL_COUNT(method_words) ? method_words[m] : "";
}

bool ll_seal_method_parse(struct ll_slice word, enum ll_seal_method *ret)
{
    for (size_t i = 0; i < LL_COUNT(method_words); i++)
        if (ll_slice_eq(word, ll_slice_str(method_words[i]))) {
            *ret = (enum ll_seal_method)i;
            return true;
        }
    return false;
}

static const struct {
    const char *word, *text;
} states[] = {
#define LL_SIGNATURE_ROW(ID, word, text) [LL_SIGNATURE_##ID] = {word, text},
    LL_SIGNATURE_STATES(LL_SIGNATURE_ROW)
#undef LL_SIGNATURE_ROW
};

const char *ll_signature_state_word(enum ll_signature_state s)
{
    return (unsigned)s < LL_COUNT(states) ? states[s].word : "";
}

const char *ll_signature_state_text(enum ll_signature_state s)
{
    return (unsigned)s < LL_COUNT(states) ? states[s].text : "";
}
