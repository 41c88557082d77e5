/* dmarc: records, the tree walk, alignment, policy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "letterlock/dmarc.h"
#include "tests/lib/zone.h"

#define TXT  LL_DNS_TXT
#define A    LL_DNS_A
#define NONE LL_DMARC_P_NONE
#define QUAR LL_DMARC_P_QUARANTINE
#define REJ  LL_DMARC_P_REJECT

/* ---- records ----------------------------------------------------------------------------------
 */

static const struct record_row {
    const char *text;
    int p; /* -1: no record; -2: nothing usable */
    enum ll_dmarc_policy sp, np;
    const char *more; /* psd, t, adkim, aspf, as letters; NULL: "unrr" */
} record_rows[] = {
    {"v=DMARC1; p=none", NONE, NONE, NONE, NULL},
    {"v=DMARC1;p=reject", REJ, REJ, REJ, NULL},
    {"v=DMARC1; p=quarantine;", QUAR, QUAR, QUAR, NULL},
    {"v = DMARC1 ; p = reject ; ", REJ, REJ, REJ, NULL},
    {"V=DMARC1; P=Reject; SP=None", REJ, NONE, NONE, NULL},
    {"v=DMARC1; p=reject; sp=none", REJ, NONE, NONE, NULL},
    {"v=DMARC1; p=reject; sp=quarantine; np=none", REJ, QUAR, NONE, NULL},
    {"v=DMARC1; p=none; np=reject", NONE, NONE, REJ, NULL},
    {"v=DMARC1; sp=none; p=reject", REJ, NONE, NONE, NULL},
    {"v=DMARC1; p=reject; psd=y; t=y; adkim=s; aspf=s", REJ, REJ, REJ, "yyss"},
    {"v=DMARC1; p=reject; psd=n; t=n; adkim=r; aspf=r", REJ, REJ, REJ, "nnrr"},
    {"v=DMARC1; p=reject; psd=u; t=Y; adkim=S; aspf=S", REJ, REJ, REJ, "uyss"},
    /* syntax errors give the defaults (4.8) */
    {"v=DMARC1; p=reject; psd=x; t=yes; adkim=strict; aspf=", REJ, REJ, REJ, NULL},
    {"v=DMARC1; p=reject; adkim; =s; ;; aspf=s s", REJ, REJ, REJ, NULL},
    /* the RFC 7489 era: gone, and unknown, tags do nothing */
    {"v=DMARC1; p=reject; pct=0; rf=afrf; ri=86400", REJ, REJ, REJ, NULL},
    {"v=DMARC1; p=reject; x=y; unknown=\xc3\xa4", REJ, REJ, REJ, NULL},
    {"v=DMARC1; p=none; p=reject", NONE, NONE, NONE, NULL},
    /* no record: v comes first, exactly */
    {"v=DMARC1", -2, NONE, NONE, NULL},
    {"v=dmarc1; p=reject", -1, NONE, NONE, NULL},
    {"v=DMARC1 p=reject", -1, NONE, NONE, NULL},
    {"v=DMARC10; p=reject", -1, NONE, NONE, NULL},
    {"v=DMARC2; p=reject", -1, NONE, NONE, NULL},
    {"p=reject; v=DMARC1", -1, NONE, NONE, NULL},
    {" v=DMARC1; p=reject", -1, NONE, NONE, NULL},
    {"v=spf1 -all", -1, NONE, NONE, NULL},
    {"", -1, NONE, NONE, NULL},
    {";v=DMARC1; p=reject", -1, NONE, NONE, NULL},
    /* 4.10.1: a bad p, sp or np */
    {"v=DMARC1; sp=reject", -2, NONE, NONE, NULL},
    {"v=DMARC1; p=", -2, NONE, NONE, NULL},
    {"v=DMARC1; p=rejec", -2, NONE, NONE, NULL},
    {"v=DMARC1; p=none; sp=x", -2, NONE, NONE, NULL},
    {"v=DMARC1; p=none; np=x", -2, NONE, NONE, NULL},
    {"v=DMARC1; p=reject; sp=x; rua=mailto:a@x.test", NONE, NONE, NONE, NULL},
    {"v=DMARC1; sp=reject; rua=mailto:a@x.test", NONE, NONE, NONE, NULL},
    {"v=DMARC1; rua=mailto:a@x.test; adkim=s", NONE, NONE, NONE, "unsr"},
    {"v=DMARC1; p=rejec; rua=x", -2, NONE, NONE, NULL},
    {"v=DMARC1; p=rejec; rua=x, https://x.test/", NONE, NONE, NONE, NULL},
};

static void records(void **state)
{
    (void)state;
    for (size_t i = 0; i < LL_COUNT(record_rows); i++) {
        const struct record_row *row = &record_rows[i];
        struct ll_dmarc_record r = {.p = REJ};
        bool ok = ll_dmarc_record_parse(ll_slice_str(row->text), &r);
        const char *more = row->more ? row->more : "unrr";

        if (ok != (row->p != -1) || (ok && r.usable != (row->p != -2)))
            fail_msg("\"%s\": %s", row->text, !ok ? "no record" : r.usable ? "usable" : "unusable");
        if (!ok || !r.usable)
            continue;
        if ((int)r.p != row->p || r.sp != row->sp || r.np != row->np || r.psd != more[0] ||
            r.test != (more[1] == 'y') || r.dkim_strict != (more[2] == 's') ||
            r.spf_strict != (more[3] == 's'))
            fail_msg("\"%s\": p=%d sp=%d np=%d psd=%c t=%d adkim=%d aspf=%d", row->text, r.p, r.sp,
                     r.np, r.psd, r.test, r.dkim_strict, r.spf_strict);
    }
}

static void record_length(void **state)
{
    char text[LL_DMARC_RECORD_MAX + 1];
    struct ll_dmarc_record r;

    (void)state;
    memset(text, ' ', sizeof(text));
    memcpy(text, "v=DMARC1;p=reject;", 18);
    assert_true(ll_dmarc_record_parse(ll_slice(text, LL_DMARC_RECORD_MAX), &r));
    assert_false(ll_dmarc_record_parse(ll_slice(text, LL_DMARC_RECORD_MAX + 1), &r));
}

static void failure_options(void **state)
{
    static const struct {
        const char *fo;
        unsigned set;
    } rows[] = {{"0", 1},      {"1", 2},   {"d", 4},   {"s", 8}, {"0:d", 5}, {"1:s:d", 14},
                {"d : S", 12}, {"0:1", 1}, {"0:x", 1}, {"", 1},  {"1,d", 1}};
    char text[100];
    struct ll_dmarc_record r;

    (void)state;
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        snprintf(text, sizeof(text), "v=DMARC1;p=none;ruf=mailto:a@x.test;fo=%s", rows[i].fo);
        assert_true(ll_dmarc_record_parse(ll_slice_str(text), &r));
        if (r.fo != rows[i].set)
            fail_msg("fo=%s: %u", rows[i].fo, r.fo);
    }
    assert_true(ll_dmarc_record_parse(LL_LIT("v=DMARC1;p=none;fo=1:d"), &r));
    assert_int_equal(r.fo, LL_DMARC_FO_ALL); /* without ruf it says nothing */
}

static void uris(void **state)
{
    static const struct {
        const char *in, *out; /* out: joined by blanks */
    } rows[] = {
        {"mailto:a@x.test", "mailto:a@x.test"},
        {" mailto:a@x.test!10m , MAILTO:b@y.test!5", "mailto:a@x.test MAILTO:b@y.test"},
        {"mailto:a@x.test,https://x.test/r?y=1", "mailto:a@x.test https://x.test/r?y=1"},
        {"a@x.test,mailto:,mailto:@x,mailto:a@,:x,9p:x,,mailto:a b@x.test", ""},
        {"mailto:a@x.test\x01,mailto:<a@x.test>,mailto:c%2C@x.test", "mailto:c%2C@x.test"},
        {"", ""},
    };

    (void)state;
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_slice rest = ll_slice_str(rows[i].in), uri;
        struct ll_buf out = LL_BUF(1000);

        while (ll_dmarc_uri_next(&rest, &uri)) {
            if (out.n)
                ll_buf_putc(&out, ' ');
            ll_buf_put_slice(&out, uri);
        }
        assert_string_equal(ll_buf_str(&out), rows[i].out);
        ll_buf_release(&out);
    }
}

static void uri_sizes(void **state)
{
    static const struct {
        const char *in;
        uint64_t most;
    } rows[] = {
        {"mailto:a@x.test", 0},
        {"mailto:a@x.test!10", 10},
        {"mailto:a@x.test!10k", 10240},
        {"mailto:a@x.test!10M", 10485760},
        {"mailto:a@x.test! 2g ", 2147483648},
        {"mailto:a@x.test!1t", 1ull << 40},
        {"mailto:a@x.test!", 0},
        {"mailto:a@x.test!k", 0},
        {"mailto:a@x.test!10x", 0},
        {"mailto:a@x.test!1kk", 0},
        {"mailto:a@x.test!-1", 0},
        {"mailto:a@x.test!99999999999999999999", 0},
        {"mailto:a@x.test!18446744073709551615t", UINT64_MAX},
    };

    (void)state;
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_slice rest = ll_slice_str(rows[i].in), uri;
        uint64_t most = 1;

        assert_true(ll_dmarc_uri_next_sized(&rest, &uri, &most));
        if (most != rows[i].most)
            fail_msg("%s: %llu", rows[i].in, (unsigned long long)most);
    }
}

/* ---- evaluation -------------------------------------------------------------------------------
 */

static const struct zone_row world[] = {
    {"_dmarc.x.test", TXT, "v=DMARC1; p=reject; sp=quarantine; np=none; rua=mailto:r@x.test"},
    {"sub.x.test", A, "192.0.2.1"},
    {"nodata.x.test", TXT, "x"},
    {"_dmarc.here.x.test", A, "192.0.2.1"},
    {"_dmarc.own.x.test", TXT, "v=DMARC1; p=none"},
    {"_dmarc.strict.test", TXT, "v=DMARC1; p=quarantine; adkim=s; aspf=s"},
    {"_dmarc.trial.test", TXT, "v=DMARC1; p=reject; t=y"},
    {"_dmarc.trialq.test", TXT, "v=DMARC1; p=quarantine; t=y"},
    {"_dmarc.trialn.test", TXT, "v=DMARC1; p=none; t=y"},
    {"_dmarc.era.test", TXT, "v=DMARC1; p=reject; pct=0"},
    {"_dmarc.two.test", TXT, "v=DMARC1; p=reject"},
    {"_dmarc.two.test", TXT, "v=DMARC1; p=none"},
    {"_dmarc.below.two.test", TXT, "v=DMARC1; p=quarantine"},
    {"_dmarc.noisy.test", TXT, "verification=123"},
    {"_dmarc.noisy.test", TXT, "v=DMARC1; p=reject"},
    {"_dmarc.useless.test", TXT, "v=DMARC1; p=rejec"},
    {"_dmarc.mute.test", TXT, "!timeout"},
    {"_dmarc.ok.mute.test", TXT, "v=DMARC1; p=reject"},
    /* a registry: psd=y (4.10.2, B.4) */
    {"_dmarc.bank", TXT, "v=DMARC1; p=reject; sp=quarantine; np=reject; psd=y"},
    {"_dmarc.giant.bank", TXT, "v=DMARC1; p=quarantine; sp=none"},
    {"mail.mega.bank", A, "192.0.2.1"},
    {"mail.giant.bank", A, "192.0.2.1"},
    /* psd=n: its own organization */
    {"_dmarc.big.test", TXT, "v=DMARC1; p=none"},
    {"_dmarc.dept.big.test", TXT, "v=DMARC1; p=reject; psd=n"},
    {"a.dept.big.test", A, "192.0.2.1"},
    /* deep */
    {"_dmarc.g.h.i.j.mail.deep.com", TXT, "v=DMARC1; p=quarantine"},
    {"_dmarc.deep.com", TXT, "v=DMARC1; p=reject"},
    {"a.b.c.d.e.f.g.h.i.j.mail.deep.com", A, "192.0.2.1"},
    {"_dmarc.f.g.h.i.j.mail.hole.com", TXT, "v=DMARC1; p=reject"},
    {"_dmarc.xn--mller-kva.test", TXT, "v=DMARC1; p=reject"},
    {NULL, 0, NULL},
};

#define PASS_(d)                                                                                   \
    {                                                                                              \
        LL_LIT(d), LL_DMARC_AUTH_PASS                                                              \
    }
#define TEMP_(d)                                                                                   \
    {                                                                                              \
        LL_LIT(d), LL_DMARC_AUTH_TEMP                                                              \
    }
#define FAIL_(d)                                                                                   \
    {                                                                                              \
        LL_LIT(d), LL_DMARC_AUTH_NONE                                                              \
    }

static const struct eval_row {
    const char *author;
    struct ll_dmarc_id spf, dkim;
    enum ll_dmarc_code code;
    const char *tag; /* NULL: no record applies */
    enum ll_dmarc_policy policy, disposition;
    const char *org, *policy_domain;
    unsigned asked; /* 0: not looked at */
} eval_rows[] = {
    /* alignment */
    {"x.test", PASS_("x.test"), FAIL_(""), LL_DMARC_PASS, "p", REJ, NONE, "x.test", "x.test", 2},
    {"x.test", FAIL_("x.test"), PASS_("x.test"), LL_DMARC_PASS, "p", REJ, NONE, "x.test", "x.test",
     2},
    {"x.test", PASS_("sub.x.test"), FAIL_(""), LL_DMARC_PASS, "p", REJ, NONE, "x.test", "x.test",
     3},
    {"sub.x.test", FAIL_(""), PASS_("x.test"), LL_DMARC_PASS, "sp", QUAR, NONE, "x.test", "x.test",
     3},
    {"x.test", FAIL_("x.test"), FAIL_("x.test"), LL_DMARC_FAIL, "p", REJ, REJ, "x.test", "x.test",
     2},
    {"x.test", PASS_("y.test"), PASS_("xx.test"), LL_DMARC_FAIL, "p", REJ, REJ, "x.test", "x.test",
     2},
    {"x.test", PASS_("test"), PASS_("x.test.evil"), LL_DMARC_FAIL, "p", REJ, REJ, "x.test",
     "x.test", 2},
    {"X.Test.", PASS_("X.TEST"), FAIL_(""), LL_DMARC_PASS, "p", REJ, NONE, "x.test", "x.test", 2},
    {"strict.test", PASS_("a.strict.test"), PASS_("b.strict.test"), LL_DMARC_FAIL, "p", QUAR, QUAR,
     "strict.test", "strict.test", 2},
    {"strict.test", PASS_("strict.test"), FAIL_(""), LL_DMARC_PASS, "p", QUAR, NONE, "strict.test",
     "strict.test", 2},
    {"m\xc3\xbcller.test", FAIL_(""), PASS_("xn--mller-kva.test"), LL_DMARC_PASS, "p", REJ, NONE,
     "xn--mller-kva.test", "xn--mller-kva.test", 2},
    /* sp, np, p */
    {"sub.x.test", FAIL_(""), FAIL_(""), LL_DMARC_FAIL, "sp", QUAR, QUAR, "x.test", "x.test", 4},
    {"nodata.x.test", FAIL_(""), FAIL_(""), LL_DMARC_FAIL, "sp", QUAR, QUAR, "x.test", "x.test", 4},
    {"here.x.test", FAIL_(""), FAIL_(""), LL_DMARC_FAIL, "sp", QUAR, QUAR, "x.test", "x.test", 3},
    {"ghost.x.test", FAIL_(""), FAIL_(""), LL_DMARC_FAIL, "np", NONE, NONE, "x.test", "x.test", 4},
    {"own.x.test", FAIL_(""), FAIL_(""), LL_DMARC_FAIL, "p", NONE, NONE, "x.test", "own.x.test", 3},
    {"ghost.era.test", FAIL_(""), FAIL_(""), LL_DMARC_FAIL, "p", REJ, REJ, "era.test", "era.test",
     3},
    /* t=y: one level lower; p=none stays what it is */
    {"trial.test", FAIL_(""), FAIL_(""), LL_DMARC_FAIL, "p", REJ, QUAR, "trial.test", "trial.test",
     2},
    {"trialq.test", FAIL_(""), FAIL_(""), LL_DMARC_FAIL, "p", QUAR, NONE, "trialq.test",
     "trialq.test", 2},
    {"trialn.test", FAIL_(""), FAIL_(""), LL_DMARC_FAIL, "p", NONE, NONE, "trialn.test",
     "trialn.test", 2},
    {"era.test", FAIL_(""), FAIL_(""), LL_DMARC_FAIL, "p", REJ, REJ, "era.test", "era.test", 2},
    /* records: several are none, and the walk goes on; others are passed by */
    {"two.test", FAIL_(""), FAIL_(""), LL_DMARC_NONE, NULL, NONE, NONE, "two.test", "", 2},
    {"below.two.test", FAIL_(""), FAIL_(""), LL_DMARC_FAIL, "p", QUAR, QUAR, "below.two.test",
     "below.two.test", 3},
    {"a.below.two.test", FAIL_(""), FAIL_(""), LL_DMARC_FAIL, "p", QUAR, QUAR, "below.two.test",
     "below.two.test", 4},
    {"noisy.test", FAIL_(""), FAIL_(""), LL_DMARC_FAIL, "p", REJ, REJ, "noisy.test", "noisy.test",
     2},
    {"useless.test", FAIL_(""), FAIL_(""), LL_DMARC_NONE, NULL, NONE, NONE, "useless.test", "", 2},
    {"nothing.test", PASS_("nothing.test"), FAIL_(""), LL_DMARC_NONE, NULL, NONE, NONE,
     "nothing.test", "", 2},
    /* psd=y */
    {"giant.bank", PASS_("mail.giant.bank"), FAIL_(""), LL_DMARC_PASS, "p", QUAR, NONE,
     "giant.bank", "giant.bank", 3},
    {"giant.bank", FAIL_(""), PASS_("mail.mega.bank"), LL_DMARC_FAIL, "p", QUAR, QUAR, "giant.bank",
     "giant.bank", 2},
    {"mail.giant.bank", FAIL_(""), FAIL_(""), LL_DMARC_FAIL, "sp", NONE, NONE, "giant.bank",
     "giant.bank", 3},
    {"mail.mega.bank", FAIL_(""), PASS_("mega.bank"), LL_DMARC_PASS, "sp", QUAR, NONE, "mega.bank",
     "bank", 3},
    {"mail.mega.bank", FAIL_(""), PASS_("bank"), LL_DMARC_FAIL, "sp", QUAR, QUAR, "mega.bank",
     "bank", 4},
    {"ghost.bank", FAIL_(""), FAIL_(""), LL_DMARC_FAIL, "np", REJ, REJ, "ghost.bank", "bank", 3},
    {"bank", FAIL_(""), FAIL_(""), LL_DMARC_FAIL, "p", REJ, REJ, "bank", "bank", 1},
    /* psd=n */
    {"a.dept.big.test", FAIL_(""), PASS_("b.dept.big.test"), LL_DMARC_PASS, "p", REJ, NONE,
     "dept.big.test", "dept.big.test", 3},
    {"a.dept.big.test", FAIL_(""), PASS_("big.test"), LL_DMARC_FAIL, "p", REJ, REJ, "dept.big.test",
     "dept.big.test", 2},
    {"big.test", FAIL_(""), PASS_("dept.big.test"), LL_DMARC_FAIL, "p", NONE, NONE, "big.test",
     "big.test", 3},
    {"big.test", FAIL_(""), PASS_("other.big.test"), LL_DMARC_PASS, "p", NONE, NONE, "big.test",
     "big.test", 3},
    /* 8 questions, down to 7 labels after the first; the name with the fewest labels wins */
    {"a.b.c.d.e.f.g.h.i.j.mail.deep.com", FAIL_(""), PASS_("deep.com"), LL_DMARC_PASS, "p", REJ,
     NONE, "deep.com", "deep.com", 8},
    {"a.f.g.h.i.j.mail.hole.com", FAIL_(""), FAIL_(""), LL_DMARC_NONE, NULL, NONE, NONE,
     "a.f.g.h.i.j.mail.hole.com", "", 8},
    {"f.g.h.i.j.mail.hole.com", FAIL_(""), FAIL_(""), LL_DMARC_FAIL, "p", REJ, REJ,
     "f.g.h.i.j.mail.hole.com", "f.g.h.i.j.mail.hole.com", 8},
    /* what was not answered */
    {"mute.test", PASS_("mute.test"), FAIL_(""), LL_DMARC_TEMPERROR, NULL, NONE, NONE, "", "", 1},
    {"ok.mute.test", PASS_("ok.mute.test"), FAIL_(""), LL_DMARC_PASS, "p", REJ, NONE, "",
     "ok.mute.test", 2},
    {"ok.mute.test", PASS_("mute.test"), FAIL_(""), LL_DMARC_TEMPERROR, "p", REJ, NONE, "",
     "ok.mute.test", 2},
    {"ok.mute.test", FAIL_(""), FAIL_(""), LL_DMARC_FAIL, "p", REJ, REJ, "", "ok.mute.test", 2},
    {"x.test", TEMP_("x.test"), FAIL_(""), LL_DMARC_TEMPERROR, "p", REJ, NONE, "x.test", "x.test",
     2},
    {"x.test", TEMP_("y.test"), FAIL_(""), LL_DMARC_FAIL, "p", REJ, REJ, "x.test", "x.test", 2},
    {"x.test", TEMP_("x.test"), PASS_("x.test"), LL_DMARC_PASS, "p", REJ, NONE, "x.test", "x.test",
     2},
    /* no domain */
    {"", PASS_("x.test"), FAIL_(""), LL_DMARC_PERMERROR, NULL, NONE, NONE, "", "", 0},
    {"[192.0.2.1]", FAIL_(""), FAIL_(""), LL_DMARC_PERMERROR, NULL, NONE, NONE, "", "", 0},
    {"a..b", FAIL_(""), FAIL_(""), LL_DMARC_PERMERROR, NULL, NONE, NONE, "", "", 0},
    {"x.test\x00y", FAIL_(""), FAIL_(""), LL_DMARC_FAIL, "p", REJ, REJ, "x.test", "x.test", 2},
    {"\xff.test", FAIL_(""), FAIL_(""), LL_DMARC_PERMERROR, NULL, NONE, NONE, "", "", 0},
};

static struct ll_dmarc *run(const struct zone_row *rows, const struct ll_dmarc_input *in,
                            unsigned *asked, struct ll_dmarc_result *ret)
{
    struct zone z = {.rows = rows, .rdata = LL_BUF(1 << 20)};
    struct ll_dmarc *d = ll_dmarc_new(in);
    struct ll_dns_answer dns;
    struct ll_need need;

    assert_non_null(d);
    while (ll_dmarc_need(d, &need)) {
        struct ll_need_answer a = {.id = need.id, .dns = &dns};
        struct ll_need_answer other = {.id = need.id + 1, .dns = &dns};

        assert_false(ll_dmarc_result(d, ret));
        assert_false(ll_dmarc_need(d, &need));
        zone_answer(&z, &need, &dns);
        ll_dmarc_answer(d, &other);
        ll_dmarc_answer(d, &a);
        ll_dmarc_answer(d, &a);
        assert_true(z.asked <= LL_DMARC_NEEDS_MAX);
    }
    assert_true(ll_dmarc_result(d, ret));
    assert_int_equal(ret->needs, z.asked);
    *asked = z.asked;
    ll_buf_release(&z.rdata);
    return d;
}

static bool same(struct ll_slice s, const char *text)
{
    return ll_slice_eq(s, ll_slice_str(text));
}

static void evaluation(void **state)
{
    (void)state;
    for (size_t i = 0; i < LL_COUNT(eval_rows); i++) {
        const struct eval_row *row = &eval_rows[i];
        const struct ll_dmarc_input in = {ll_slice_str(row->author), row->spf, &row->dkim, 1};
        struct ll_dmarc_result r;
        unsigned asked;
        struct ll_dmarc *d = run(world, &in, &asked, &r);

        if (r.code != row->code || r.policy != row->policy || r.disposition != row->disposition ||
            !same(r.org_domain, row->org) || !same(r.policy_domain, row->policy_domain) ||
            (r.policy_tag == NULL) != (row->tag == NULL) ||
            (row->tag && strcmp(r.policy_tag, row->tag) != 0) ||
            (row->asked && row->asked != asked))
            fail_msg(
                "row %zu, %s, %.*s, %.*s: %s %s=%s -> %s, org %.*s of %.*s, %u questions; %.*s", i,
                row->author, LL_FMT(row->spf.domain), LL_FMT(row->dkim.domain),
                ll_dmarc_word(r.code), r.policy_tag ? r.policy_tag : "-",
                ll_dmarc_policy_word(r.policy), ll_dmarc_policy_word(r.disposition),
                LL_FMT(r.org_domain), LL_FMT(r.policy_domain), asked, LL_FMT(r.reason));
        assert_int_equal(r.spf_aligned || r.dkim_aligned, r.code == LL_DMARC_PASS);
        assert_int_equal(r.dkim_domain.n > 0, r.dkim_aligned);
        assert_true(r.reason.n > 0);
        if (r.policy_tag && ll_slice_eq(r.policy_domain, LL_LIT("x.test")))
            assert_true(same(r.record.rua, "mailto:r@x.test"));
        ll_dmarc_free(d);
    }
    ll_dmarc_free(NULL);
}

/* Both are looked at, whatever the first says: reports name both (RFC 9990 3.1). */
static void both_are_told(void **state)
{
    const struct ll_dmarc_id dkim[] = {FAIL_("x.test"), PASS_("other.test"), PASS_("sub.x.test"),
                                       PASS_("x.test")};
    const struct ll_dmarc_input in = {LL_LIT("x.test"), PASS_("x.test"), dkim, 4};
    struct ll_dmarc_result r;
    unsigned asked;
    struct ll_dmarc *d = run(world, &in, &asked, &r);

    (void)state;
    assert_true(r.spf_aligned && r.dkim_aligned && same(r.dkim_domain, "sub.x.test"));
    ll_dmarc_free(d);
}

/* Ten domains that pass are looked at, an eleventh is not. */
static void dkim_limit(void **state)
{
    (void)state;
    for (size_t n = LL_DMARC_DKIM_MAX; n <= LL_DMARC_DKIM_MAX + 1; n++) {
        struct ll_dmarc_id dkim[LL_DMARC_DKIM_MAX + 12];
        char name[LL_DMARC_DKIM_MAX + 1][20];
        struct ll_dmarc_input in = {LL_LIT("x.test"), FAIL_(""), dkim, n + 11};
        struct ll_dmarc_result r;
        unsigned asked;
        struct ll_dmarc *d;

        for (size_t i = 0; i < n; i++) {
            snprintf(name[i], sizeof(name[i]), "n%zu.test", i);
            dkim[11 + i] = (struct ll_dmarc_id){
                i + 1 == n ? LL_LIT("x.test") : ll_slice_str(name[i]), LL_DMARC_AUTH_PASS};
        }
        for (size_t i = 0; i < 11; i++) /* failures and repetitions take no room */
            dkim[i] = (struct ll_dmarc_id){LL_LIT("n0.test"),
                                           i % 2 ? LL_DMARC_AUTH_PASS : LL_DMARC_AUTH_NONE};
        d = run(world, &in, &asked, &r);
        assert_int_equal(r.code, n == LL_DMARC_DKIM_MAX ? LL_DMARC_PASS : LL_DMARC_FAIL);
        ll_dmarc_free(d);
    }
}

/* The most that a letter can make us ask: deep names, each below the same organization. */
static void worst_letter(void **state)
{
    static const struct zone_row rows[] = {
        {"_dmarc.x.test", TXT, "v=DMARC1; p=reject; np=none; sp=reject"}, {NULL, 0, NULL}};
    struct ll_dmarc_id dkim[LL_DMARC_DKIM_MAX];
    char name[LL_DMARC_DKIM_MAX][80];
    struct ll_dmarc_input in = {LL_LIT("a.b.c.d.e.f.g.h.x.test"), FAIL_(""), dkim,
                                LL_DMARC_DKIM_MAX};
    struct ll_dmarc_result r;
    unsigned asked;
    struct ll_dmarc *d;

    (void)state;
    in.spf = (struct ll_dmarc_id)TEMP_("a.s1.s2.s3.s4.s5.s6.s7.x.test");
    for (size_t i = 0; i < LL_DMARC_DKIM_MAX; i++) {
        snprintf(name[i], sizeof(name[i]), "a.b.c%zu.d%zu.e%zu.f%zu.g%zu.h%zu.x.test", i, i, i, i,
                 i, i);
        dkim[i] = (struct ll_dmarc_id){ll_slice_str(name[i]), LL_DMARC_AUTH_TEMP};
    }
    d = run(rows, &in, &asked, &r);
    assert_int_equal(r.code, LL_DMARC_TEMPERROR);
    assert_int_equal(asked, LL_DMARC_WALK_MAX + (LL_DMARC_DKIM_MAX + 1) * (LL_DMARC_WALK_MAX - 2));
    ll_dmarc_free(d);
}

static void no_answer(void **state)
{
    const struct ll_dmarc_input in = {LL_LIT("x.test"), PASS_("x.test"), NULL, 0};
    struct ll_dmarc *d = ll_dmarc_new(&in);
    struct ll_dmarc_result r;
    struct ll_need need;

    (void)state;
    ll_dmarc_answer(d, &(struct ll_need_answer){.id = 1}); /* not taken yet */
    assert_true(ll_dmarc_need(d, &need));
    assert_string_equal(need.dns.name.text, "_dmarc.x.test");
    ll_dmarc_answer(d, &(struct ll_need_answer){.id = need.id});
    assert_true(ll_dmarc_result(d, &r) && r.code == LL_DMARC_TEMPERROR);
    ll_dmarc_free(d);
    ll_dmarc_free(ll_dmarc_new(&in));
}

/* A name that leaves no room for "_dmarc." has no record of its own. */
static void long_author(void **state)
{
    char name[LL_DNS_NAME_MAX + 1];
    struct ll_dmarc_input in = {.n_dkim = 0};
    struct ll_dmarc_result r;
    unsigned asked;
    struct ll_dmarc *d;

    (void)state;
    memset(name, 'a', sizeof(name));
    for (size_t i = 50; i < 240; i += 50)
        name[i] = '.';
    memcpy(name + LL_DNS_NAME_MAX - 7, ".x.test", 7);
    in.author = ll_slice(name, LL_DNS_NAME_MAX);
    d = run(world, &in, &asked, &r);
    assert_int_equal(r.code, LL_DMARC_FAIL);
    assert_true(same(r.policy_domain, "x.test"));
    ll_dmarc_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records),         cmocka_unit_test(record_length),
        cmocka_unit_test(failure_options), cmocka_unit_test(uris),
        cmocka_unit_test(uri_sizes),       cmocka_unit_test(evaluation),
        cmocka_unit_test(both_are_told),   cmocka_unit_test(dkim_limit),
        cmocka_unit_test(worst_letter),    cmocka_unit_test(no_answer),
        cmocka_unit_test(long_author),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
