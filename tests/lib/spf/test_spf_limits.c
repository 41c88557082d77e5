/* spf: every limit, at n and at n + 1; questions are counted. */
#include "tests/lib/spf/run.h"

static const struct ask ann = {"192.0.2.1", "ann@x.test", "h.test"};

static void expect(const struct zone_row *rows, enum ll_spf_code code, unsigned asked)
{
    struct ll_spf_result r;
    unsigned n;
    struct ll_spf *s = run(rows, ann, &n, &r);

    if (r.code != code || n != asked)
        fail_msg("\"%.40s\": %s after %u, not %s after %u; %.*s", rows[0].data, ll_spf_word(r.code),
                 n, ll_spf_word(code), asked, LL_FMT(r.problem));
    ll_spf_free(s);
}

/* Every kind of term that asks counts; the eleventh is too much (4.6.4). */
static void term_limit(void **state)
{
    static const struct {
        const char *term;
        unsigned each, once; /* questions */
    } kinds[] = {{"a:y.test", 1, 0},
                 {"mx:y.test", 2, 0},
                 {"exists:%{l}.y.test", 1, 0},
                 {"include:y.test", 1, 0},
                 {"ptr:y.test", 0, 2}};
    char text[1000];

    (void)state;
    for (size_t k = 0; k < LL_COUNT(kinds); k++)
        for (unsigned n = LL_SPF_TERMS_MAX; n <= LL_SPF_TERMS_MAX + 1; n++) {
            bool over = n > LL_SPF_TERMS_MAX;
            const struct zone_row rows[] = {
                {"x.test", TXT, text},
                {"y.test", TXT, "v=spf1 -all"},
                {"y.test", A, "198.51.100.1"},
                {"y.test", MX, "0 m.test"},
                {"m.test", A, "198.51.100.2"},
                {"1.2.0.192.in-addr.arpa", PTR, "m.test"},
                {NULL, 0, NULL},
            };
            size_t at = (size_t)snprintf(text, sizeof(text), "v=spf1");

            for (unsigned i = 0; i < n; i++)
                at += (size_t)snprintf(text + at, sizeof(text) - at, " %s", kinds[k].term);
            snprintf(text + at, sizeof(text) - at, " +all");
            if (k == 2) /* those find nothing, and end at the third */
                expect(rows, LL_SPF_PERMERROR, 1 + LL_SPF_VOID_MAX + 1);
            else
                expect(rows, over ? LL_SPF_PERMERROR : LL_SPF_PASS,
                       1 + LL_SPF_TERMS_MAX * kinds[k].each + kinds[k].once);
        }
}

/* all, ip4, ip6, unknown modifiers and exp do not count. */
static void free_terms(void **state)
{
    char text[4000];
    size_t at = (size_t)snprintf(text, sizeof(text), "v=spf1");
    const struct zone_row rows[] = {{"x.test", TXT, text}, {NULL, 0, NULL}};

    (void)state;
    for (unsigned i = 0; i < 50; i++)
        at += (size_t)snprintf(text + at, sizeof(text) - at, " ip4:10.0.0.%u ip6:fe80::%u z=%%{i}",
                               i, i);
    snprintf(text + at, sizeof(text) - at, " exp=why.test ~all");
    expect(rows, LL_SPF_SOFTFAIL, 1);
}

/* Ten redirects, each a frame replaced; ten includes, each a frame more. */
static void chain_limit(void **state)
{
    struct zone_row rows[LL_SPF_TERMS_MAX + 4];
    char name[LL_SPF_TERMS_MAX + 3][20], text[LL_SPF_TERMS_MAX + 3][60];

    (void)state;
    for (int include = 0; include < 2; include++)
        for (unsigned n = LL_SPF_TERMS_MAX; n <= LL_SPF_TERMS_MAX + 1; n++) {
            for (unsigned i = 0; i <= n; i++) {
                snprintf(name[i], sizeof(name[i]), "c%u.test", i);
                snprintf(text[i], sizeof(text[i]), "v=spf1 redirect=c%u.test", i + 1);
                if (include)
                    snprintf(text[i], sizeof(text[i]), "v=spf1 include:c%u.test ?all", i + 1);
                rows[i] =
                    (struct zone_row){i ? name[i] : "x.test", TXT, i < n ? text[i] : "v=spf1 +all"};
            }
            rows[n + 1] = (struct zone_row){NULL, 0, NULL};
            expect(rows, n > LL_SPF_TERMS_MAX ? LL_SPF_PERMERROR : LL_SPF_PASS,
                   LL_SPF_TERMS_MAX + 1);
        }
}

static void loops(void **state)
{
    static const struct zone_row redirect[] = {{"x.test", TXT, "v=spf1 redirect=x.test"}, {0}};
    static const struct zone_row include[] = {{"x.test", TXT, "v=spf1 include:x.test"}, {0}};

    (void)state;
    expect(redirect, LL_SPF_PERMERROR, LL_SPF_TERMS_MAX + 1);
    expect(include, LL_SPF_PERMERROR, LL_SPF_TERMS_MAX + 1);
}

/* Two terms may find nothing; a term counts once, however many of its questions did. */
static void void_limit(void **state)
{
    static const struct {
        const char *record;
        enum ll_spf_code code;
        unsigned asked;
    } rows[] = {
        {"v=spf1 a:n1.test a:n2.test +all", LL_SPF_PASS, 3},
        {"v=spf1 a:n1.test a:n2.test a:n3.test +all", LL_SPF_PERMERROR, 4},
        {"v=spf1 a:n1.test mx:n2.test exists:n3.test +all", LL_SPF_PERMERROR, 4},
        {"v=spf1 a:n1.test a:n2.test ptr:n3.test +all", LL_SPF_PERMERROR, 4},
        {"v=spf1 a:n1.test a:nodata.test a:nodata.test +all", LL_SPF_PERMERROR, 4},
        {"v=spf1 mx:void.test a:n2.test +all", LL_SPF_PASS, 6},
        {"v=spf1 mx:void.test a:n2.test a:n3.test +all", LL_SPF_PERMERROR, 7},
        {"v=spf1 a:n1.test a:n2.test -all exp=n3.test", LL_SPF_FAIL, 4},
        {"v=spf1 ptr ptr ptr +all", LL_SPF_PERMERROR, 2},
        {"v=spf1 a:n1.test a:n2.test a:a..b +all", LL_SPF_PASS, 3},
    };

    (void)state;
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        const struct zone_row zone[] = {
            {"x.test", TXT, rows[i].record}, {"nodata.test", TXT, "x"},
            {"void.test", MX, "0 v1.test"},  {"void.test", MX, "0 v2.test"},
            {"void.test", MX, "0 v3.test"},  {NULL, 0, NULL}};

        expect(zone, rows[i].code, rows[i].asked);
    }
}

/* Ten hosts of an mx; with eleven not one is asked for. Ten names of a client, more are ignored. */
static void name_limits(void **state)
{
    char host[LL_SPF_NAMES_MAX + 1][24], mx[LL_SPF_NAMES_MAX + 1][24];
    struct zone_row rows[40];

    (void)state;
    for (unsigned n = LL_SPF_NAMES_MAX; n <= LL_SPF_NAMES_MAX + 1; n++) {
        size_t k = 1;

        for (unsigned i = 0; i < n; i++) {
            snprintf(host[i], sizeof(host[i]), "h%u.x.test", i);
            snprintf(mx[i], sizeof(mx[i]), "%u h%u.x.test", i, i);
            rows[k++] = (struct zone_row){"x.test", MX, mx[i]};
            rows[k++] = (struct zone_row){"1.2.0.192.in-addr.arpa", PTR, host[i]};
            rows[k++] = (struct zone_row){host[i], A, i + 1 == n ? "192.0.2.1" : "198.51.100.1"};
        }
        rows[k] = (struct zone_row){NULL, 0, NULL};
        rows[0] = (struct zone_row){"x.test", TXT, "v=spf1 mx -all"};
        if (n > LL_SPF_NAMES_MAX)
            expect(rows, LL_SPF_PERMERROR, 2);
        else
            expect(rows, LL_SPF_PASS, 2 + n);
        rows[0].data = "v=spf1 ptr -all";
        expect(rows, n > LL_SPF_NAMES_MAX ? LL_SPF_FAIL : LL_SPF_PASS, 2 + LL_SPF_NAMES_MAX);
    }
}

/* The most that a record can ask for: ten mx of ten hosts, %{p} where it is free. */
static void worst_record(void **state)
{
    char host[LL_SPF_NAMES_MAX][24], mx[LL_SPF_NAMES_MAX][24], text[400];
    struct zone_row rows[60] = {{"x.test", TXT, text}};
    size_t k = 1, at = (size_t)snprintf(text, sizeof(text), "v=spf1");

    (void)state;
    for (unsigned i = 0; i < LL_SPF_NAMES_MAX; i++) {
        snprintf(host[i], sizeof(host[i]), "h%u.x.test", i);
        snprintf(mx[i], sizeof(mx[i]), "%u h%u.x.test", i, i);
        rows[k++] = (struct zone_row){"x.test", MX, mx[i]};
        rows[k++] = (struct zone_row){"1.2.0.192.in-addr.arpa", PTR, host[i]};
        rows[k++] = (struct zone_row){host[i], A, "198.51.100.1"};
        at += (size_t)snprintf(text + at, sizeof(text) - at, " mx");
    }
    snprintf(text + at, sizeof(text) - at, " -all exp=why.test");
    rows[k++] = (struct zone_row){"why.test", TXT, "%{p}"};
    expect(rows, LL_SPF_FAIL, LL_SPF_NEEDS_MAX);
    /* With one mx more nothing gets better for who wrote it. */
    snprintf(text + at, sizeof(text) - at, " mx -all exp=why.test");
    expect(rows, LL_SPF_PERMERROR, 1 + LL_SPF_TERMS_MAX * (1 + LL_SPF_NAMES_MAX));
}

/* The first %{p} of a mechanism is one of the ten. */
static void p_counts(void **state)
{
    struct zone_row rows[] = {{"x.test", TXT, NULL}, {"y.test", A, "198.51.100.1"}, {0}};

    (void)state;
    rows[0].data = "v=spf1 a:y.test a:y.test a:y.test a:y.test a:y.test a:y.test a:y.test a:y.test "
                   "exists:%{p}.z.test +all";
    expect(rows, LL_SPF_PASS, 11);
    rows[0].data = "v=spf1 a:y.test a:y.test a:y.test a:y.test a:y.test a:y.test a:y.test a:y.test "
                   "a:y.test exists:%{p}.z.test +all";
    expect(rows, LL_SPF_PERMERROR, 10);
}

static void record_limit(void **state)
{
    static char text[LL_SPF_RECORD_MAX + 2];
    const struct zone_row rows[] = {{"x.test", TXT, text}, {NULL, 0, NULL}};

    (void)state;
    memset(text, ' ', sizeof(text));
    memcpy(text, "v=spf1 +all", 11);
    text[LL_SPF_RECORD_MAX] = 0;
    expect(rows, LL_SPF_PASS, 1);
    text[LL_SPF_RECORD_MAX] = ' ';
    text[LL_SPF_RECORD_MAX + 1] = 0;
    expect(rows, LL_SPF_PERMERROR, 1);
}

static void explanation_limit(void **state)
{
    char text[LL_SPF_EXPLANATION_MAX + 2];
    const struct zone_row rows[] = {
        {"x.test", TXT, "v=spf1 -all exp=why.test"}, {"why.test", TXT, text}, {NULL, 0, NULL}};

    (void)state;
    for (size_t n = LL_SPF_EXPLANATION_MAX; n <= LL_SPF_EXPLANATION_MAX + 1; n++) {
        struct ll_spf_result r;
        unsigned asked;
        struct ll_spf *s;

        memset(text, 'x', n);
        text[n] = 0;
        s = run(rows, ann, &asked, &r);
        assert_int_equal(r.code, LL_SPF_FAIL);
        assert_int_equal(r.explanation_theirs, n == LL_SPF_EXPLANATION_MAX);
        assert_int_equal(r.explanation.n == n, n == LL_SPF_EXPLANATION_MAX);
        ll_spf_free(s);
    }
}

static void long_identities(void **state)
{
    static char from[LL_SPF_VALUE_MAX + 20], helo[LL_SPF_VALUE_MAX + 20];
    const struct zone_row rows[] = {{"x.test", TXT, "v=spf1 +all"}, {NULL, 0, NULL}};

    (void)state;
    for (size_t n = LL_SPF_VALUE_MAX; n <= LL_SPF_VALUE_MAX + 1; n++)
        for (unsigned which = 0; which < 2; which++) {
            struct ll_spf_result r;
            unsigned asked;
            struct ll_spf *s;

            memset(from, 'a', n);
            snprintf(from + n - 7, 8, "@x.test");
            memset(helo, 'a', n);
            helo[n] = 0;
            s = run(rows,
                    (struct ask){"192.0.2.1", which ? from : "ann@x.test", which ? "h" : helo},
                    &asked, &r);
            assert_int_equal(r.code, n > LL_SPF_VALUE_MAX ? LL_SPF_NONE : LL_SPF_PASS);
            ll_spf_free(s);
        }
}

/* 20 s in all: temperror; but a fail that only waits for its explanation stays one. */
static void time_limit(void **state)
{
    static const struct {
        const char *record;
        unsigned answers; /* before the time is up */
        uint64_t late;
        int code; /* -1: not over */
    } rows[] = {
        {"v=spf1 a -all", 0, LL_SPF_TIME_MAX - 1, -1},
        {"v=spf1 a -all", 0, LL_SPF_TIME_MAX, LL_SPF_TEMPERROR},
        {"v=spf1 a -all", 1, LL_SPF_TIME_MAX, LL_SPF_TEMPERROR},
        {"v=spf1 -all exp=why.test", 1, LL_SPF_TIME_MAX - 1, -1},
        {"v=spf1 -all exp=why.test", 1, LL_SPF_TIME_MAX, LL_SPF_FAIL},
    };

    (void)state;
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        const struct zone_row zone_rows[] = {{"x.test", TXT, rows[i].record}, {NULL, 0, NULL}};
        struct zone z = {.rows = zone_rows, .rdata = LL_BUF(1 << 16)};
        struct ll_spf_check c = {
            .ip_n = 4, .mail_from = LL_LIT("ann@x.test"), .helo = LL_LIT("h.test"), .now = 77};
        struct ll_spf *s = ll_spf_new(&c);
        struct ll_dns_answer dns;
        struct ll_spf_result r;
        struct ll_need need;

        for (unsigned k = 0; k < rows[i].answers; k++) {
            assert_true(ll_spf_need(s, &need));
            zone_answer(&z, &need, &dns);
            ll_spf_answer(s, &(struct ll_need_answer){.id = need.id, .dns = &dns});
        }
        assert_true(ll_spf_need(s, &need));
        assert_int_equal(ll_spf_deadline(s), 77 + LL_SPF_TIME_MAX);
        ll_spf_time(s, 77 + rows[i].late);
        assert_int_equal(ll_spf_result(s, &r), rows[i].code >= 0);
        if (rows[i].code >= 0)
            assert_int_equal(r.code, rows[i].code);
        zone_answer(&z, &need, &dns);
        ll_spf_answer(s, &(struct ll_need_answer){.id = need.id, .dns = &dns}); /* too late */
        if (rows[i].code >= 0)
            assert_true(ll_spf_result(s, &r) && (int)r.code == rows[i].code);
        ll_spf_free(s);
        ll_buf_release(&z.rdata);
    }
}

/* An answer without DNS, and no answer at all. */
static void no_answer(void **state)
{
    struct ll_spf_check c = {
        .ip_n = 4, .mail_from = LL_LIT("ann@x.test"), .helo = LL_LIT("h.test")};
    struct ll_spf *s = ll_spf_new(&c);
    struct ll_spf_result r;
    struct ll_need need;

    (void)state;
    assert_true(ll_spf_need(s, &need));
    ll_spf_answer(s, &(struct ll_need_answer){.id = need.id});
    assert_true(ll_spf_result(s, &r) && r.code == LL_SPF_TEMPERROR);
    ll_spf_free(s);
    ll_spf_free(ll_spf_new(&c));
    ll_spf_free(NULL);
    c.ip_n = 5;
    assert_null(ll_spf_new(&c));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(term_limit),      cmocka_unit_test(free_terms),
        cmocka_unit_test(chain_limit),     cmocka_unit_test(loops),
        cmocka_unit_test(void_limit),      cmocka_unit_test(name_limits),
        cmocka_unit_test(worst_record),    cmocka_unit_test(p_counts),
        cmocka_unit_test(record_limit),    cmocka_unit_test(explanation_limit),
        cmocka_unit_test(long_identities), cmocka_unit_test(time_limit),
        cmocka_unit_test(no_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
