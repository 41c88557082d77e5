/* The words of sealing: every row has one, and each method's word leads back to it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "letterlock/seal.h"

static void every_row_has_words(void **state)
{
#define ROW(ID, text) assert_string_equal(ll_seal_error_text(LL_SEAL_##ID), text);
    LL_SEAL_ERRORS(ROW)
#undef ROW
#define ROW(ID, word, text)                                                                        \
    assert_string_equal(ll_signature_state_word(LL_SIGNATURE_##ID), word);                         \
    assert_string_equal(ll_signature_state_text(LL_SIGNATURE_##ID), text);
    LL_SIGNATURE_STATES(ROW)
#undef ROW
    assert_string_equal(ll_seal_error_text((enum ll_seal_error)99), "");
    assert_string_equal(ll_signature_state_word((enum ll_signature_state)99), "");
    assert_int_equal(LL_SEAL_OK, 0);
}

static void methods_go_both_ways(void **state)
{
    static const char *const others[] = {"", "PGP", "pgp ", "openpgp", "auto"};
    enum ll_seal_method m = LL_SEAL_NONE;

#define ROW(ID, word)                                                                              \
    assert_true(ll_seal_method_parse(ll_slice_str(word), &m));                                     \
    assert_int_equal(m, LL_SEAL_##ID);                                                             \
    assert_string_equal(ll_seal_method_word(m), word);
    LL_SEAL_METHODS(ROW)
#undef ROW
    for (size_t i = 0; i < LL_COUNT(others); i++)
        assert_false(ll_seal_method_parse(ll_slice_str(others[i]), &m));
    assert_int_equal(m, LL_SEAL_PGP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_has_words),
        cmocka_unit_test(methods_go_both_ways),
    };

    return cmocka_run_group_tests_name("seal", tests, NULL, NULL);
}
