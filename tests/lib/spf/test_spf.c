/* spf: records, macros, evaluation, the field. */
#include "tests/lib/spf/run.h"

#include "lib/spf/internal.h"

/* ---- records ----------------------------------------------------------------------------------
 */

static const struct {
    const char *record;
    int at; /* -1: right */
} record_rows[] = {
    {"v=spf1", -1},
    {"V=SPF1 ", -1},
    {"v=spf1  a   -all  ", -1},
    {"v=spf1 +a -mx ~ptr ?exists:%{i}.x.test", -1},
    {"v=spf1 A MX:x.test/24//64 ALL", -1},
    {"v=spf1 a:x.test/0//0 a/32 a//128 mx//0", -1},
    {"v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 ip6:::ffff:1.2.3.4", -1},
    {"v=spf1 redirect=x.test. exp=%{d}", -1},
    {"v=spf1 a:%{d} a:x%%y.test a:%{l1r-}._x.%{d2}", -1},
    {"v=spf1 a:x.a-b a:x.1a a:x.xn--p1ai", -1},
    {"v=spf1 unknown=%{c}%{r}%{t} x.y-z_1=", -1},
    {"v=spf1 a:x.test%_y.test a:%{D127R=/_}", -1},
    {"v=spf2", 0},
    {"v=spf10 a", 0},
    {" v=spf1 a", 0},
    {"v=spf1\ta", 0},
    {"", 0},
    {"v=spf1 a\tmx", 7},
    {"v=spf1 a moo", 9},
    {"v=spf1 +-a", 7},
    {"v=spf1 +", 7},
    {"v=spf1 all.", 7},
    {"v=spf1 all:x.test", 7},
    {"v=spf1 all/8", 7},
    {"v=spf1 a:", 7},
    {"v=spf1 a/", 7},
    {"v=spf1 a//", 7},
    {"v=spf1 a/33", 7},
    {"v=spf1 a//129", 7},
    {"v=spf1 a/024", 7},
    {"v=spf1 a/08", 7},
    {"v=spf1 a//00", 7},
    {"v=spf1 ip4:192.0.2.0/08", 7},
    {"v=spf1 a/24/64", 7},
    {"v=spf1 a/24//64//64", 7},
    {"v=spf1 a/x", 7},
    {"v=spf1 ptr/8", 7},
    {"v=spf1 include", 7},
    {"v=spf1 include:x.test/8", 7},
    {"v=spf1 exists", 7},
    {"v=spf1 exists:x.test/8", 7},
    {"v=spf1 ip4", 7},
    {"v=spf1 ip4:192.0.2", 7},
    {"v=spf1 ip4:192.0.2.256", 7},
    {"v=spf1 ip4:192.0.2.01", 7},
    {"v=spf1 ip4:192.0.2.1/33", 7},
    {"v=spf1 ip4:192.0.2.1//32", 7},
    {"v=spf1 ip4:192.0.2.1:25", 7},
    {"v=spf1 ip4/24", 7},
    {"v=spf1 ip6:2001:db8::1/129", 7},
    {"v=spf1 ip6:192.0.2.1", 7},
    {"v=spf1 ip6:1::2::3", 7},
    {"v=spf1 a:test", 7},
    {"v=spf1 a:x.123", 7},
    {"v=spf1 a:x.-a", 7},
    {"v=spf1 a:x.a-", 7},
    {"v=spf1 a:%{d}test", 7},
    {"v=spf1 a:%{d}.", 7},
    {"v=spf1 a:x.test..", 7},
    {"v=spf1 a:%{z}", 7},
    {"v=spf1 a:%{d0}", 7},
    {"v=spf1 a:%{d!}", 7},
    {"v=spf1 a:%{dr1}", 7},
    {"v=spf1 a:%{}", 7},
    {"v=spf1 a:%{d", 7},
    {"v=spf1 a:x%.test", 7},
    {"v=spf1 a:x.test%", 7},
    {"v=spf1 a:%(d).test", 7},
    {"v=spf1 a:%{c}", 7},
    {"v=spf1 a:%{R}", 7},
    {"v=spf1 exp=%{t}", 7},
    {"v=spf1 exp=", 7},
    {"v=spf1 redirect=", 7},
    {"v=spf1 redirect:x.test", 7},
    {"v=spf1 redirect=a.test redirect=b.test", 23},
    {"v=spf1 exp=a.test -all exp=b.test", 23},
    {"v=spf1 1x=y", 7},
    {"v=spf1 =y", 7},
    {"v=spf1 x=%y", 7},
    {"v=spf1 a:\xc3\xa4.test", 7},
    {"v=spf1 -all \x7f", 12},
};

static void records(void **state)
{
    (void)state;
    for (size_t i = 0; i < LL_COUNT(record_rows); i++) {
        size_t at = 0;
        const char *what = NULL;
        bool ok = ll_spf_record_check(ll_slice_str(record_rows[i].record), &at, &what);

        if (ok != (record_rows[i].at < 0) || (!ok && ((int)at != record_rows[i].at || !what)))
            fail_msg("\"%s\": %s at %zu", record_rows[i].record, ok ? "right" : what, at);
    }
}

/* ---- macros: RFC 7208 7.4 and what it does not show -------------------------------------------
 */

static const uint8_t four[4] = {192, 0, 2, 3};
static const uint8_t six[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xcb, 0x01};

static struct ll_spf_values values(bool ipv6)
{
    return (struct ll_spf_values){
        .sender = LL_LIT("strong-bad@email.example.com"),
        .local = LL_LIT("strong-bad"),
        .origin = LL_LIT("email.example.com"),
        .domain = LL_LIT("email.example.com"),
        .ip = ipv6 ? six : four,
        .ip_n = ipv6 ? 16 : 4,
        .validated = LL_LIT("mx.example.org"),
        .helo = LL_LIT("He lo/\xc3\xa4"),
        .receiver = LL_LIT("mx.test"),
        .unix_s = 1234567890,
    };
}

static void macros(void **state)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"%{s}", "strong-bad@email.example.com"},
        {"%{o}", "email.example.com"},
        {"%{d}", "email.example.com"},
        {"%{d4}", "email.example.com"},
        {"%{d3}", "email.example.com"},
        {"%{d2}", "example.com"},
        {"%{d1}", "com"},
        {"%{dr}", "com.example.email"},
        {"%{d2r}", "example.email"},
        {"%{l}", "strong-bad"},
        {"%{l-}", "strong.bad"},
        {"%{lr}", "strong-bad"},
        {"%{lr-}", "bad.strong"},
        {"%{l1r-}", "strong"},
        {"%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"},
        {"%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"},
        {"%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"},
        {"%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}", "3.2.0.192.in-addr.strong.lp._spf.example.com"},
        {"%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"},
        {"%{p} %{c} %{r} %{t}", "mx.example.org 192.0.2.3 mx.test 1234567890"},
        {"%{i} %{v}", "192.0.2.3 in-addr"},
        {"%%%_%-", "% %20"},
        {"%{h}", "He lo/\xc3\xa4"},
        {"%{H}", "He%20lo%2F%C3%A4"},
        {"%{d999}", "email.example.com"},
        {"%{d99999999999999999999999}", "email.example.com"},
        {"%{h1/}", "\xc3\xa4"},
        {"%{l1=}", "strong-bad"},
        {"", ""},
    };
    struct ll_spf_values v = values(false);

    (void)state;
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_buf out = LL_BUF(1000);

        assert_null(ll_spf_macro_check(ll_slice_str(rows[i].in), LL_SPF_EXPLAIN_STRING));
        ll_spf_macro_expand(&v, ll_slice_str(rows[i].in), &out);
        if (!ll_slice_eq(ll_buf_slice(&out), ll_slice_str(rows[i].out)))
            fail_msg("%s: %.*s", rows[i].in, LL_FMT(ll_buf_slice(&out)));
        ll_buf_release(&out);
    }
}

static void macros_ipv6(void **state)
{
    struct ll_spf_values v = values(true);
    struct ll_buf out = LL_BUF(1000);

    (void)state;
    ll_spf_macro_expand(&v, LL_LIT("%{ir}.%{v}._spf.%{d2} %{c} %{i5}"), &out);
    assert_string_equal(ll_buf_str(&out),
                        "1.0.B.C.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.B.D.0.1.0.0.2"
                        ".ip6._spf.example.com 2001:db8::cb01 0.C.B.0.1");
    ll_buf_release(&out);
}

/* 7.3: too long a name loses labels on its left. */
static void long_names(void **state)
{
    struct ll_spf_values v = values(false);
    char domain[400], spec[20000];
    struct ll_dns_name name;
    size_t n = 0;

    (void)state;
    for (size_t i = 0; i < 400; i++)
        domain[i] = i % 10 == 9 ? '.' : 'a';
    for (n = 251; n <= 256; n++) { /* labels of 9 octets, the first shorter */
        v.domain = ll_slice(domain + 399 - n, n);
        assert_true(ll_spf_macro_name(&v, LL_LIT("%{d}"), &name));
        assert_int_equal(name.n, n <= LL_DNS_NAME_MAX ? n : 249);
        assert_true(ll_spf_macro_name(&v, LL_LIT("%{d}."), &name));
    }
    v.domain = LL_LIT("email.example.com");
    n = 0;
    while (n < 16000)
        n += (size_t)snprintf(spec + n, sizeof(spec) - n, "%%{d}.");
    snprintf(spec + n, sizeof(spec) - n, "end.test");
    assert_true(ll_spf_macro_name(&v, ll_slice_str(spec), &name));
    assert_true(name.n <= 253 && ll_slice_ends(ll_dns_name_slice(&name), LL_LIT(".com.end.test")));
    memset(spec, 'a', 1000);
    spec[1000] = 0;
    assert_false(ll_spf_macro_name(&v, ll_slice_str(spec), &name));
    assert_false(ll_spf_macro_name(&v, LL_LIT("a..test"), &name));
    assert_false(ll_spf_macro_name(&v, LL_LIT("."), &name) && name.n > 1);
}

/* ---- evaluation -------------------------------------------------------------------------------
 */

static const struct zone_row world[] = {
    {"pass.test", TXT, "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all"},
    {"fail.test", TXT, "v=spf1 -all exp=why.test"},
    {"why.test", TXT, "%{i} is not %{d} of %{s}, says %{r}"},
    {"soft.test", TXT, "v=spf1 ~all"},
    {"two.test", TXT, "v=spf1 -all"},
    {"two.test", TXT, "v=spf1 +all"},
    {"old.test", TXT, "v=spf10 -all"},
    {"other.test", TXT, "something else"},
    {"other.test", TXT, "v=spf1 ?all"},
    {"down.test", TXT, "!servfail"},
    {"slow.test", TXT, "!timeout"},
    {"bogus.test", TXT, "!bogus"},
    {"late-error.test", TXT, "v=spf1 ip4:192.0.2.1 moo"},
    /* include: 5.2 */
    {"inc-pass.test", TXT, "v=spf1 -include:pass.test ~all"},
    {"inc-fail.test", TXT, "v=spf1 include:fail.test ?all"},
    {"inc-soft.test", TXT, "v=spf1 include:soft.test +all"},
    {"inc-none.test", TXT, "v=spf1 include:nothing.test +all"},
    {"inc-down.test", TXT, "v=spf1 include:down.test +all"},
    {"inc-error.test", TXT, "v=spf1 include:late-error.test +all"},
    {"inc-bad.test", TXT, "v=spf1 include:a..test +all"},
    {"inc-deep.test", TXT, "v=spf1 include:inc-pass2.test -all"},
    {"inc-pass2.test", TXT, "v=spf1 include:pass.test -all"},
    {"inc-redirect.test", TXT, "v=spf1 include:red.test -all"},
    /* redirect: 6.1 */
    {"red.test", TXT, "v=spf1 redirect=pass.test"},
    {"red-none.test", TXT, "v=spf1 redirect=nothing.test"},
    {"red-all.test", TXT, "v=spf1 redirect=nothing.test ?all"},
    {"red-exp.test", TXT, "v=spf1 exp=other-why.test redirect=fail.test"},
    {"red-bad.test", TXT, "v=spf1 redirect=a..test"},
    {"inc-red-none.test", TXT, "v=spf1 include:red-none.test"},
    /* addresses */
    {"a.test", TXT, "v=spf1 a -all"},
    {"a.test", A, "192.0.2.9"},
    {"a.test", AAAA, "2001:db8::9"},
    {"a-net.test", TXT, "v=spf1 a:a.test/24//64 -all"},
    {"a-down.test", TXT, "v=spf1 a:down-a.test +all"},
    {"down-a.test", A, "!servfail"},
    {"mx.test", TXT, "v=spf1 mx -all"},
    {"mx.test", MX, "10 m1.mx.test"},
    {"mx.test", MX, "20 m2.mx.test"},
    {"m1.mx.test", A, "198.51.100.1"},
    {"m2.mx.test", A, "192.0.2.1"},
    {"mx-implicit.test", TXT, "v=spf1 mx -all"},
    {"mx-implicit.test", A, "192.0.2.1"},
    {"mx-null.test", TXT, "v=spf1 mx -all"},
    {"mx-null.test", MX, "0 "},
    {"exists.test", TXT, "v=spf1 exists:%{l}.x.test -all"},
    {"ann.x.test", A, "127.0.0.2"},
    {"exists-any.test", TXT, "v=spf1 exists:a.test -all"},
    {"macro-target.test", TXT, "v=spf1 a:%{h} -all"},
    /* ptr */
    {"ptr.test", TXT, "v=spf1 ptr -all"},
    {"1.2.0.192.in-addr.arpa", PTR, "host.ptr.test"},
    {"1.2.0.192.in-addr.arpa", PTR, "liar.test"},
    {"host.ptr.test", A, "192.0.2.1"},
    {"liar.test", A, "192.0.2.2"},
    {"liar.test", TXT, "v=spf1 ptr -all"},
    {"xptr.test", TXT, "v=spf1 ptr:tr.test -all"},
    {"2.2.0.192.in-addr.arpa", PTR, "!servfail"},
    {"p.test", TXT, "v=spf1 exists:%{p}.p-is.test -all"},
    {"host.ptr.test.p-is.test", A, "127.0.0.1"},
    {"unknown.p-is.test", A, "127.0.0.1"},
    {"p-fail.test", TXT, "v=spf1 -all exp=p-why.test"},
    {"p-why.test", TXT, "you are %{p}"},
    /* local parts outside ASCII: RFC 8616 4 */
    {"eai.test", TXT, "v=spf1 exists:%{l}.x.test a:%{S} ~all"},
    {"eai-inc.test", TXT, "v=spf1 include:%{l}.x.test ~all"},
    {"eai-red.test", TXT, "v=spf1 redirect=%{l}.x.test"},
    {"eai-exp.test", TXT, "v=spf1 -all exp=eai-why.test"},
    {"eai-why.test", TXT, "%{S} is %{o}"},
    {"eai-exp2.test", TXT, "v=spf1 -all exp=eai-why2.test"},
    {"eai-why2.test", TXT, "%{s}"},
    {"eai-exp3.test", TXT, "v=spf1 -all exp=%{L}.why.test"},
    {"%c3%a4.why.test", TXT, "not to be found"},
    {"xn--mller-kva.test", TXT, "v=spf1 exists:%{o}.o.test -all"},
    {"xn--mller-kva.test.o.test", A, "127.0.0.1"},
    {"helo.test", TXT, "v=spf1 exists:%{l}.%{o}.h.test -all"},
    {"postmaster.helo.test.h.test", A, "127.0.0.1"},
    {NULL, 0, NULL},
};

static const struct eval_row {
    struct ask ask;
    enum ll_spf_code code;
    unsigned asked;
    const char *explanation; /* NULL: not looked at; "": ours, or none */
} eval_rows[] = {
    {{"192.0.2.1", "ann@pass.test", "h.test"}, LL_SPF_PASS, 1, ""},
    {{"2001:db8:1::1", "ann@pass.test", "h.test"}, LL_SPF_PASS, 1, ""},
    {{"::ffff:192.0.2.1", "ann@pass.test", "h.test"}, LL_SPF_PASS, 1, ""},
    {{"198.51.100.1", "ann@pass.test", "h.test"}, LL_SPF_FAIL, 1, ""},
    {{"192.0.2.1", "ann@PASS.Test.", "h.test"}, LL_SPF_PASS, 1, ""},
    {{"192.0.2.1", "ann@fail.test", "h.test"},
     LL_SPF_FAIL,
     2,
     "192.0.2.1 is not fail.test of ann@fail.test, says unknown"},
    {{"192.0.2.1", "ann@soft.test", "h.test"}, LL_SPF_SOFTFAIL, 1, ""},
    {{"192.0.2.1", "ann@nothing.test", "h.test"}, LL_SPF_NONE, 1, ""},
    {{"192.0.2.1", "ann@old.test", "h.test"}, LL_SPF_NONE, 1, ""},
    {{"192.0.2.1", "ann@two.test", "h.test"}, LL_SPF_PERMERROR, 1, ""},
    {{"192.0.2.1", "ann@other.test", "h.test"}, LL_SPF_NEUTRAL, 1, ""},
    {{"192.0.2.1", "ann@down.test", "h.test"}, LL_SPF_TEMPERROR, 1, ""},
    {{"192.0.2.1", "ann@slow.test", "h.test"}, LL_SPF_TEMPERROR, 1, ""},
    {{"192.0.2.1", "ann@bogus.test", "h.test"}, LL_SPF_TEMPERROR, 1, ""},
    {{"192.0.2.1", "ann@late-error.test", "h.test"}, LL_SPF_PERMERROR, 1, ""},
    /* names that have no record, without a question (4.3) */
    {{"192.0.2.1", "ann@test", "h.test"}, LL_SPF_NONE, 0, ""},
    {{"192.0.2.1", "ann@a..test", "h.test"}, LL_SPF_NONE, 0, ""},
    {{"192.0.2.1", "ann@[192.0.2.1]", "h.test"}, LL_SPF_NONE, 0, ""},
    {{"192.0.2.1", "ann@192.0.2.1", "h.test"}, LL_SPF_NONE, 0, ""},
    {{"192.0.2.1", "ann@\xff.test", "h.test"}, LL_SPF_NONE, 0, ""},
    {{"192.0.2.1", "", "[192.0.2.1]"}, LL_SPF_NONE, 0, ""},
    {{"192.0.2.1", "", "a b.test"}, LL_SPF_NONE, 0, ""},
    {{"192.0.2.1", "", ""}, LL_SPF_NONE, 0, ""},
    /* the null reverse-path is postmaster@HELO; no local part is postmaster (2.4, 4.3) */
    {{"192.0.2.1", "", "helo.test"}, LL_SPF_PASS, 2, ""},
    {{"192.0.2.1", "@helo.test", "x.test"}, LL_SPF_PASS, 2, ""},
    {{"192.0.2.1", "helo.test", "x.test"}, LL_SPF_PASS, 2, ""},
    {{"192.0.2.1", "ann@helo.test", "x.test"}, LL_SPF_FAIL, 2, ""},
    /* include */
    {{"192.0.2.1", "ann@inc-pass.test", "h.test"}, LL_SPF_FAIL, 2, ""},
    {{"198.51.100.1", "ann@inc-pass.test", "h.test"}, LL_SPF_SOFTFAIL, 2, ""},
    {{"192.0.2.1", "ann@inc-fail.test", "h.test"}, LL_SPF_NEUTRAL, 2, ""},
    {{"192.0.2.1", "ann@inc-soft.test", "h.test"}, LL_SPF_PASS, 2, ""},
    {{"192.0.2.1", "ann@inc-none.test", "h.test"}, LL_SPF_PERMERROR, 2, ""},
    {{"192.0.2.1", "ann@inc-down.test", "h.test"}, LL_SPF_TEMPERROR, 2, ""},
    {{"192.0.2.1", "ann@inc-error.test", "h.test"}, LL_SPF_PERMERROR, 2, ""},
    {{"192.0.2.1", "ann@inc-bad.test", "h.test"}, LL_SPF_PERMERROR, 1, ""},
    {{"192.0.2.1", "ann@inc-deep.test", "h.test"}, LL_SPF_PASS, 3, ""},
    {{"192.0.2.1", "ann@inc-redirect.test", "h.test"}, LL_SPF_PASS, 3, ""},
    /* redirect */
    {{"192.0.2.1", "ann@red.test", "h.test"}, LL_SPF_PASS, 2, ""},
    {{"192.0.2.1", "ann@red-none.test", "h.test"}, LL_SPF_PERMERROR, 2, ""},
    {{"192.0.2.1", "ann@red-all.test", "h.test"}, LL_SPF_NEUTRAL, 1, ""},
    {{"192.0.2.1", "ann@red-bad.test", "h.test"}, LL_SPF_PERMERROR, 1, ""},
    {{"192.0.2.1", "ann@red-exp.test", "h.test"},
     LL_SPF_FAIL,
     3,
     "192.0.2.1 is not fail.test of ann@red-exp.test, says unknown"},
    {{"192.0.2.1", "ann@inc-red-none.test", "h.test"}, LL_SPF_PERMERROR, 3, ""},
    /* a, mx, exists */
    {{"192.0.2.9", "ann@a.test", "h.test"}, LL_SPF_PASS, 2, ""},
    {{"192.0.2.8", "ann@a.test", "h.test"}, LL_SPF_FAIL, 2, ""},
    {{"2001:db8::9", "ann@a.test", "h.test"}, LL_SPF_PASS, 2, ""},
    {{"192.0.2.200", "ann@a-net.test", "h.test"}, LL_SPF_PASS, 2, ""},
    {{"2001:db8::1:2", "ann@a-net.test", "h.test"}, LL_SPF_PASS, 2, ""},
    {{"2001:db8:0:1::1", "ann@a-net.test", "h.test"}, LL_SPF_FAIL, 2, ""},
    {{"192.0.2.9", "ann@a-down.test", "h.test"}, LL_SPF_TEMPERROR, 2, ""},
    {{"192.0.2.1", "ann@mx.test", "h.test"}, LL_SPF_PASS, 4, ""},
    {{"198.51.100.1", "ann@mx.test", "h.test"}, LL_SPF_PASS, 3, ""},
    {{"192.0.2.1", "ann@mx-implicit.test", "h.test"}, LL_SPF_FAIL, 2, ""},
    {{"192.0.2.1", "ann@mx-null.test", "h.test"}, LL_SPF_FAIL, 2, ""},
    {{"192.0.2.1", "ann@exists.test", "h.test"}, LL_SPF_PASS, 2, ""},
    {{"2001:db8::1", "ann@exists.test", "h.test"}, LL_SPF_PASS, 2, ""},
    {{"192.0.2.1", "bob@exists.test", "h.test"}, LL_SPF_FAIL, 2, ""},
    {{"192.0.2.1", "a..b@exists.test", "h.test"}, LL_SPF_FAIL, 1, ""},
    {{"192.0.2.9", "ann@macro-target.test", "a.test"}, LL_SPF_PASS, 2, ""},
    {{"192.0.2.9", "ann@macro-target.test", "no name\x01"}, LL_SPF_FAIL, 1, ""},
    /* ptr */
    {{"192.0.2.1", "ann@ptr.test", "h.test"}, LL_SPF_PASS, 4, ""},
    {{"192.0.2.1", "ann@liar.test", "h.test"}, LL_SPF_FAIL, 4, ""},
    {{"192.0.2.1", "ann@xptr.test", "h.test"}, LL_SPF_FAIL, 4, ""},
    {{"192.0.2.2", "ann@ptr.test", "h.test"}, LL_SPF_FAIL, 2, ""},
    {{"192.0.2.1", "ann@p.test", "h.test"}, LL_SPF_PASS, 5, ""},
    {{"192.0.2.2", "ann@p.test", "h.test"}, LL_SPF_PASS, 3, ""},
    {{"192.0.2.1", "ann@p-fail.test", "h.test"}, LL_SPF_FAIL, 5, "you are host.ptr.test"},
    {{"192.0.2.2", "ann@p-fail.test", "h.test"}, LL_SPF_FAIL, 3, "you are unknown"},
    /* local parts outside ASCII */
    {{"192.0.2.1", "\xc3\xa4@eai.test", "h.test"}, LL_SPF_SOFTFAIL, 1, ""},
    {{"192.0.2.1", "\xc3\xa4@eai-inc.test", "h.test"}, LL_SPF_SOFTFAIL, 1, ""},
    {{"192.0.2.1", "\xc3\xa4@eai-red.test", "h.test"}, LL_SPF_NEUTRAL, 1, ""},
    {{"192.0.2.1", "\xc3\xa4@eai-exp.test", "h.test"},
     LL_SPF_FAIL,
     2,
     "%C3%A4%40eai-exp.test is eai-exp.test"},
    {{"192.0.2.1", "\xc3\xa4@eai-exp2.test", "h.test"}, LL_SPF_FAIL, 2, ""},
    {{"192.0.2.1", "\xc3\xa4@eai-exp3.test", "h.test"}, LL_SPF_FAIL, 1, ""},
    {{"192.0.2.1", "ann@m\xc3\xbcller.test", "h.test"}, LL_SPF_PASS, 2, ""},
};

static void evaluation(void **state)
{
    (void)state;
    for (size_t i = 0; i < LL_COUNT(eval_rows); i++) {
        const struct eval_row *row = &eval_rows[i];
        struct ll_spf_result r;
        unsigned asked;
        struct ll_spf *s = run(world, row->ask, &asked, &r);
        bool theirs = row->explanation && row->explanation[0];

        if (r.code != row->code || asked != row->asked || r.explanation_theirs != theirs ||
            (theirs && !ll_slice_eq(r.explanation, ll_slice_str(row->explanation))))
            fail_msg("%s, %s, %s: %s after %u questions; %.*s; %.*s", row->ask.ip, row->ask.from,
                     row->ask.helo, ll_spf_word(r.code), asked, LL_FMT(r.explanation),
                     LL_FMT(r.problem));
        assert_int_equal(r.explanation.n > 0, r.code == LL_SPF_FAIL);
        assert_int_equal(r.problem.n > 0, r.code == LL_SPF_NONE || r.code == LL_SPF_TEMPERROR ||
                                              r.code == LL_SPF_PERMERROR);
        assert_int_equal(r.helo, row->ask.from[0] == 0);
        ll_spf_free(s);
    }
}

/* ---- Received-SPF -----------------------------------------------------------------------------
 */

static void received(void **state)
{
    static const struct {
        struct ask ask;
        const char *field;
    } rows[] = {
        {{"192.0.2.1", "ann@pass.test", "h.test"},
         "Received-SPF: pass (mx.test: pass.test:\r\n"
         "\tthe domain designates as permitted sender 192.0.2.1)\r\n"
         "\tidentity=mailfrom;\r\n\tclient-ip=\"192.0.2.1\";\r\n\treceiver=\"mx.test\";\r\n"
         "\tenvelope-from=\"ann@pass.test\";\r\n\thelo=\"h.test\";\r\n"
         "\tmechanism=\"ip4:192.0.2.0/24\"\r\n"},
        {{"192.0.2.1", "a\"\\)\r\nX: y@soft.test", "h\r\n(\x80"},
         "Received-SPF: softfail (mx.test: soft.test:\r\n"
         "\tthe domain probably does not designate as permitted sender 192.0.2.1)\r\n"
         "\tidentity=mailfrom;\r\n\tclient-ip=\"192.0.2.1\";\r\n\treceiver=\"mx.test\";\r\n"
         "\tenvelope-from=\"a\\\"\\\\)?"
         "?X: y@soft.test\";\r\n\thelo=\"h?"
         "?(?\";\r\n"
         "\tmechanism=\"~all\"\r\n"},
        {{"2001:db8::1", "", "(x.test"},
         "Received-SPF: none (mx.test: ?x.test:\r\n"
         "\tno SPF record says anything about 2001:db8::1)\r\n"
         "\tidentity=helo;\r\n\tclient-ip=\"2001:db8::1\";\r\n\treceiver=\"mx.test\";\r\n"
         "\thelo=\"(x.test\";\r\n\tproblem=\"(x.test has no SPF record\"\r\n"},
    };

    (void)state;
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_buf out = LL_BUF(8192);
        struct ll_spf_result r;
        unsigned asked;
        struct ll_spf *s = run(world, rows[i].ask, &asked, &r);

        ll_spf_received(s, LL_LIT("mx.test"), &out);
        assert_string_equal(ll_buf_str(&out), rows[i].field);
        ll_buf_release(&out);
        ll_spf_free(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records),    cmocka_unit_test(macros),     cmocka_unit_test(macros_ipv6),
        cmocka_unit_test(long_names), cmocka_unit_test(evaluation), cmocka_unit_test(received),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
