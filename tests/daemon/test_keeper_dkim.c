/* What the keeper signs with a DKIM key: letters of its domain, and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "daemon/keeper/dkim_check.h"

#define BH   "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY="
#define TAGS "v=1; a=rsa-sha256; c=relaxed/relaxed; d=a.test; s=sel; h=from:to; bh=" BH "; b="
#define FROM "from:Ann <ann@a.test>\r\n"
#define SIG  "dkim-signature:"

static const struct {
    const char *text;
    bool ok;
} rows[] = {
    {FROM "to:bob@b.test\r\n" SIG TAGS, true},
    {"from:ann@deep.a.test\r\n" SIG TAGS, true},
    {"from:<ann@A.TEST>\r\n" SIG TAGS, true},
    {FROM SIG "v=1; a=rsa-sha256; c=relaxed/simple; d=a.test; s=sel; h=from; bh=" BH "; b=", true},
    /* another author */
    {"from:<ann@b.test>\r\n" SIG TAGS, false},
    {"from:<ann@xa.test>\r\n" SIG TAGS, false},
    {"from:<ann@test>\r\n" SIG TAGS, false},
    {"from:<ann@a.test>, <eve@b.test>\r\n" SIG TAGS, false},
    {"from:\r\n" SIG TAGS, false},
    {"to:bob@b.test\r\n" SIG TAGS, false},
    {FROM "from:eve@b.test\r\n" SIG TAGS, false},
    {FROM FROM SIG TAGS, false},
    /* other tags than the key's, or dangerous ones */
    {FROM SIG "v=1; a=ed25519-sha256; c=relaxed/relaxed; d=a.test; s=sel; h=from; bh=" BH "; b=",
     false},
    {FROM SIG "v=1; a=rsa-sha256; c=relaxed/relaxed; d=b.test; s=sel; h=from; bh=" BH "; b=",
     false},
    {FROM SIG "v=1; a=rsa-sha256; c=relaxed/relaxed; d=a.test; s=old; h=from; bh=" BH "; b=",
     false},
    {FROM SIG "v=1; a=rsa-sha256; c=simple/relaxed; d=a.test; s=sel; h=from; bh=" BH "; b=", false},
    {FROM SIG "v=1; a=rsa-sha256; c=relaxed/relaxed; d=a.test; s=sel; h=to; bh=" BH "; b=", false},
    {FROM SIG "v=1; a=rsa-sha256; c=relaxed/relaxed; d=a.test; s=sel; l=0; h=from; bh=" BH "; b=",
     false},
    {FROM SIG "v=1; a=rsa-sha256; c=relaxed/relaxed; d=a.test; s=sel; h=from; bh=AAAA; b=", false},
    {FROM SIG "v=1; a=rsa-sha256; c=relaxed/relaxed; d=a.test; s=sel; h=from; bh=" BH, false},
    {FROM SIG TAGS "AAAA", false},
    {FROM SIG "d=b.test; " TAGS, false},
    {FROM SIG TAGS "; d=b.test", false},
    /* not the text of a signature */
    {"", false},
    {"hello", false},
    {SIG TAGS, false},
    {FROM SIG TAGS "\r\n", false},
    {SIG TAGS "\r\n" FROM, false},
    {"From:<ann@a.test>\r\n" SIG TAGS, false},
    {"from :<ann@a.test>\r\n" SIG TAGS, false},
    {"from:<ann@a.test>\n" SIG TAGS, false},
    {"from:<ann@a.test>\r" SIG TAGS, false},
    {"from:<ann@a.test>\r\nno field\r\n" SIG TAGS, false},
    {"TLS 1.3, server CertificateVerify", false},
};

static const struct ll_dkim_claim claim = {LL_LIT("a.test"), LL_LIT("sel"), LL_DKIM_RSA};

static void texts(void **state)
{
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_slice author;
        struct ll_arena arena;
        const char *fault;

        ll_arena_init(&arena, 1u << 20);
        fault = ll_dkim_text_fault(ll_slice_str(rows[i].text), &claim, &arena, &author);
        if ((fault == NULL) != rows[i].ok)
            print_error("%s: %s\n", rows[i].text, fault ? fault : "signed");
        assert_int_equal(fault == NULL, rows[i].ok);
        ll_arena_release(&arena);
    }
}

static void nul(void **state)
{
    static const char text[] = "from:<ann@a.test\0>\r\n" SIG TAGS;
    struct ll_slice author;
    struct ll_arena arena;

    ll_arena_init(&arena, 1u << 20);
    assert_non_null(ll_dkim_text_fault(ll_slice(text, sizeof(text) - 1), &claim, &arena, &author));
    ll_arena_release(&arena);
}

#define AMS "arc-message-signature:"
#define AS  "arc-seal:"
#define ARC "i=1; a=rsa-sha256; d=a.test; s=sel; "
#define SET                                                                                        \
    "arc-authentication-results:i=1; mx.a.test; none\r\narc-message-signature:i=1; b=AAAA\r\n"

static const struct {
    const char *text;
    bool ok;
} arc_rows[] = {
    {"from:<eve@b.test>\r\n" AMS ARC "c=relaxed/relaxed; h=from; bh=" BH "; b=", true},
    {SET AS ARC "cv=none; b=", true},
    {SET AS ARC "t=1; cv=pass; b=", true},
    {SET AS ARC "cv=maybe; b=", false},
    {SET AS ARC "b=", false},
    {SET AS ARC "cv=none; h=from; b=", false},
    {SET AS ARC "cv=none; b=AAAA", false},
    {"from:<ann@a.test>\r\n" SET AS ARC "cv=none; b=", false},
    {SET AS "i=51; a=rsa-sha256; d=a.test; s=sel; cv=none; b=", false},
    {SET AS "i=1; a=rsa-sha256; d=b.test; s=sel; cv=none; b=", false},
    {SET AS "i=1; a=rsa-sha256; d=a.test; s=old; cv=none; b=", false},
    {FROM AMS ARC "c=relaxed/relaxed; l=0; h=from; bh=" BH "; b=", false},
    {FROM AMS ARC "c=simple/relaxed; h=from; bh=" BH "; b=", false},
    {FROM AMS "a=rsa-sha256; d=a.test; s=sel; c=relaxed/relaxed; h=from; bh=" BH "; b=", false},
    {FROM SIG TAGS, false},
    {"", false},
};

static void arc_texts(void **state)
{
    for (size_t i = 0; i < LL_COUNT(arc_rows); i++) {
        const char *fault = ll_arc_text_fault(ll_slice_str(arc_rows[i].text), &claim);
        struct ll_slice author;
        struct ll_arena arena;

        if ((fault == NULL) != arc_rows[i].ok)
            print_error("%s: %s\n", arc_rows[i].text, fault ? fault : "signed");
        assert_int_equal(fault == NULL, arc_rows[i].ok);
        ll_arena_init(&arena, 1u << 20);
        if (arc_rows[i].ok) /* and it is no letter of ours */
            assert_non_null(
                ll_dkim_text_fault(ll_slice_str(arc_rows[i].text), &claim, &arena, &author));
        ll_arena_release(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(texts), cmocka_unit_test(nul),
                                       cmocka_unit_test(arc_texts)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
