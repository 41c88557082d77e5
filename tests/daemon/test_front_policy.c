/* What DMARC and SPF results do to a letter: the whole table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/front/policy.h"

#define LIST      1
#define FORWARDER 2
#define EXCEPTION 4
#define ARC_KNOWN 8
#define ARC_PASS  16

static struct ll_provenance provenance(int bits)
{
    return (struct ll_provenance){.list = bits & LIST,
                                  .forwarder = bits & FORWARDER,
                                  .exception = bits & EXCEPTION,
                                  .arc_known = bits & (ARC_KNOWN | ARC_PASS),
                                  .arc_pass = bits & ARC_PASS};
}

#define E LL_DMARC_ENFORCE
#define Q LL_DMARC_JUNK

static const struct {
    enum ll_dmarc_apply apply;
    enum ll_dmarc_code code;
    enum ll_dmarc_policy wish;
    int provenance;
    enum ll_fate fate;
    const char *override;
} dmarc_rows[] = {
    {E, LL_DMARC_FAIL, LL_DMARC_P_REJECT, 0, LL_FATE_REJECT, NULL},
    {E, LL_DMARC_FAIL, LL_DMARC_P_QUARANTINE, 0, LL_FATE_JUNK, NULL},
    {E, LL_DMARC_FAIL, LL_DMARC_P_NONE, 0, LL_FATE_ACCEPT, NULL},
    {E, LL_DMARC_PASS, LL_DMARC_P_REJECT, 0, LL_FATE_ACCEPT, NULL},
    {E, LL_DMARC_NONE, LL_DMARC_P_NONE, 0, LL_FATE_ACCEPT, NULL},
    {E, LL_DMARC_TEMPERROR, LL_DMARC_P_REJECT, 0, LL_FATE_ACCEPT, NULL},
    {E, LL_DMARC_PERMERROR, LL_DMARC_P_NONE, 0, LL_FATE_ACCEPT, NULL},
    {E, LL_DMARC_FAIL, LL_DMARC_P_REJECT, LIST, LL_FATE_JUNK, "mailing_list"},
    {E, LL_DMARC_FAIL, LL_DMARC_P_REJECT, FORWARDER, LL_FATE_JUNK, "trusted_forwarder"},
    {E, LL_DMARC_FAIL, LL_DMARC_P_REJECT, ARC_KNOWN, LL_FATE_JUNK, "trusted_forwarder"},
    {E, LL_DMARC_FAIL, LL_DMARC_P_REJECT, ARC_PASS, LL_FATE_ACCEPT, "trusted_forwarder"},
    {E, LL_DMARC_FAIL, LL_DMARC_P_REJECT, EXCEPTION, LL_FATE_ACCEPT, "local_policy"},
    {E, LL_DMARC_FAIL, LL_DMARC_P_QUARANTINE, ARC_PASS, LL_FATE_ACCEPT, "trusted_forwarder"},
    {E, LL_DMARC_FAIL, LL_DMARC_P_QUARANTINE, LIST, LL_FATE_JUNK, NULL},
    {Q, LL_DMARC_FAIL, LL_DMARC_P_REJECT, 0, LL_FATE_JUNK, "local_policy"},
    {Q, LL_DMARC_FAIL, LL_DMARC_P_QUARANTINE, 0, LL_FATE_JUNK, NULL},
    {LL_DMARC_REPORT, LL_DMARC_FAIL, LL_DMARC_P_REJECT, 0, LL_FATE_ACCEPT, "local_policy"},
    {LL_DMARC_OFF, LL_DMARC_FAIL, LL_DMARC_P_REJECT, 0, LL_FATE_ACCEPT, "local_policy"},
};

static void test_dmarc(void **state)
{
    for (size_t i = 0; i < LL_COUNT(dmarc_rows); i++) {
        struct ll_dmarc_result r = {.code = dmarc_rows[i].code,
                                    .policy = dmarc_rows[i].wish,
                                    .disposition = dmarc_rows[i].wish};
        struct ll_provenance p = provenance(dmarc_rows[i].provenance);
        const char *override = "unset";

        assert_int_equal(ll_policy_dmarc(dmarc_rows[i].apply, &r, &p, &override),
                         dmarc_rows[i].fate);
        if (dmarc_rows[i].override)
            assert_string_equal(override, dmarc_rows[i].override);
        else
            assert_null(override);
    }
}

static const struct {
    const char *setting;
    enum ll_spf_code spf;
    enum ll_dmarc_code dmarc;
    int provenance;
    enum ll_fate fate;
} spf_rows[] = {
    {"accept", LL_SPF_FAIL, LL_DMARC_NONE, 0, LL_FATE_ACCEPT},
    {"junk", LL_SPF_FAIL, LL_DMARC_NONE, 0, LL_FATE_JUNK},
    {"reject", LL_SPF_FAIL, LL_DMARC_NONE, 0, LL_FATE_REJECT},
    {"reject", LL_SPF_SOFTFAIL, LL_DMARC_NONE, 0, LL_FATE_ACCEPT},
    {"reject", LL_SPF_TEMPERROR, LL_DMARC_NONE, 0, LL_FATE_ACCEPT},
    {"reject", LL_SPF_FAIL, LL_DMARC_PASS, 0, LL_FATE_ACCEPT},
    {"reject", LL_SPF_FAIL, LL_DMARC_NONE, LIST, LL_FATE_JUNK},
    {"reject", LL_SPF_FAIL, LL_DMARC_NONE, FORWARDER, LL_FATE_ACCEPT},
    {"reject", LL_SPF_FAIL, LL_DMARC_NONE, EXCEPTION, LL_FATE_ACCEPT},
};

static void test_spf(void **state)
{
    for (size_t i = 0; i < LL_COUNT(spf_rows); i++) {
        struct ll_check_result r = {
            .have_spf = true, .spf.code = spf_rows[i].spf, .dmarc.code = spf_rows[i].dmarc};
        struct ll_provenance p = provenance(spf_rows[i].provenance);

        assert_int_equal(ll_policy_spf(spf_rows[i].setting, &r, &p), spf_rows[i].fate);
    }
}

/* A chain says something about the author only where it holds, its newest message signature covers
 * From, and its sealer is trusted; and that is "pass" only where the sealer wrote so. */
static void test_arc(void **state)
{
    static const struct {
        enum ll_arc_code code;
        bool from_signed;
        const char *sealer, *results;
        bool known, pass;
    } rows[] = {
        {LL_ARC_PASS, true, "list.test", "list.test; dmarc=pass header.from=bank.test", true, true},
        {LL_ARC_PASS, true, "eu.list.test", "x; dmarc=pass header.from=bank.test", true, true},
        {LL_ARC_PASS, false, "list.test", "x; dmarc=pass header.from=bank.test", false, false},
        {LL_ARC_PASS, true, "evil.test", "x; dmarc=pass header.from=bank.test", false, false},
        {LL_ARC_PASS, true, "list.test", "x; dmarc=fail header.from=bank.test", true, false},
        {LL_ARC_PASS, true, "list.test", "x; spf=pass smtp.mailfrom=list.test", true, false},
        {LL_ARC_PASS, true, "", "x; dmarc=pass header.from=bank.test", false, false},
        {LL_ARC_FAIL, true, "list.test", "x; dmarc=pass header.from=bank.test", false, false},
        {LL_ARC_NONE, true, "list.test", "x; dmarc=pass header.from=bank.test", false, false},
    };
    static char trusted[] = "list.test";
    static char *const sealers[] = {trusted, NULL};

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_check_result r = {.arc = {.code = rows[i].code,
                                            .from_signed = rows[i].from_signed,
                                            .domain = ll_slice_str(rows[i].sealer),
                                            .results = ll_slice_str(rows[i].results)}};
        struct ll_provenance p = {0};

        ll_policy_letter(&p, &r, LL_LIT("From: a@bank.test\r\n\r\n"), sealers);
        if (p.arc_known != rows[i].known || p.arc_pass != rows[i].pass)
            fail_msg("row %zu", i);
        assert_false(p.list);
    }
}

static void test_settings(void **state)
{
    assert_int_equal(ll_policy_apply("off"), LL_DMARC_OFF);
    assert_int_equal(ll_policy_apply("report"), LL_DMARC_REPORT);
    assert_int_equal(ll_policy_apply("quarantine"), LL_DMARC_JUNK);
    assert_int_equal(ll_policy_apply("enforce"), LL_DMARC_ENFORCE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dmarc),
        cmocka_unit_test(test_spf),
        cmocka_unit_test(test_arc),
        cmocka_unit_test(test_settings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
