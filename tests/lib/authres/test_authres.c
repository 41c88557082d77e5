/* Authentication-Results: what is read, what is taken out, what is written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "letterlock/authres.h"
#include "letterlock/msg.h"

/* ---- reading ------------------------------------------------------------------------------- */

/* A parsed field as one line: id/version|method/version=result!reason,type.name=value|... */
static void show(const struct ll_authres *a, struct ll_buf *out)
{
    ll_buf_printf(out, "%.*s/%u", LL_FMT(a->id), (unsigned)a->version);
    for (size_t i = 0; i < a->results; i++) {
        const struct ll_authres_result *r = &a->result[i];

        ll_buf_printf(out, "|%.*s/%u=%.*s", LL_FMT(r->method), (unsigned)r->version,
                      LL_FMT(r->result));
        if (r->reason.n)
            ll_buf_printf(out, "!%.*s", LL_FMT(r->reason));
        for (size_t k = 0; k < r->properties; k++)
            ll_buf_printf(out, ",%.*s.%.*s=%.*s", LL_FMT(r->property[k].type),
                          LL_FMT(r->property[k].name), LL_FMT(r->property[k].value));
    }
}

static void reading(void **state)
{
    static const struct {
        const char *body, *shown; /* NULL: refused */
    } rows[] = {
        /* RFC 8601 appendix B */
        {" example.org 1; none", "example.org/1"},
        {" example.com;\r\n spf=pass smtp.mailfrom=example.net",
         "example.com/1|spf/1=pass,smtp.mailfrom=example.net"},
        {" example.com;\r\n\tauth=pass (cram-md5) smtp.auth=sender@example.net;\r\n"
         "\tspf=pass smtp.mailfrom=example.net",
         "example.com/1|auth/1=pass,smtp.auth=sender@example.net|spf/1=pass,smtp.mailfrom=example."
         "net"},
        {" example.com; dkim=pass (good signature) header.d=example.com",
         "example.com/1|dkim/1=pass,header.d=example.com"},
        {" foo.example.net (foobar) 1 (baz);\r\n dkim (Because I like it) / 1 (One yay) = (wait "
         "for "
         "it) fail\r\n policy (A dot can go here) . (like that) expired\r\n (this surprised me) = "
         "(as I wasn't expecting it) 1362471462",
         "foo.example.net/1|dkim/1=fail,policy.expired=1362471462"},
        {"x; dkim=fail reason=\"bad; \\\"sig\\\"\" header.i=@example.com",
         "x/1|dkim/1=fail!bad; \"sig\",header.i=@example.com"},
        {"\"x y\" 2; a/3=b", "x y/2|a/3=b"},
        {"x;spf=pass smtp.mailfrom=\"a b\"@example.org header.b=ab/+c= ;",
         "x/1|spf/1=pass,smtp.mailfrom=a b@example.org,header.b=ab/+c="},
        {"x; iprev=pass policy.iprev=2001:db8::1", "x/1|iprev/1=pass,policy.iprev=2001:db8::1"},
        {"x; reason=pass", "x/1|reason/1=pass"},
        {"x; a=b reason = c", "x/1|a/1=b!c"},
        {"x; a=b ptype.x-prop.y=1", "x/1|a/1=b,ptype.x-prop.y=1"},
        {"m\xc3\xbc.example; none", "m\xc3\xbc.example/1"},
        {"x; NONE (really)", "x/1"},
        {"", NULL},
        {"x", NULL},
        {"x;", NULL},
        {";none", NULL},
        {"x; none; spf=pass", NULL},
        {"x; spf", NULL},
        {"x; spf=", NULL},
        {"x; spf=pass smtp=y", NULL},
        {"x; spf=pass smtp.mailfrom=", NULL},
        {"x; spf=pass (open", NULL},
        {"x; spf=pass \"", NULL},
        {"x (a(b(c)) ; none", NULL},
        {"\"x; none", NULL},
        {"x y; none", NULL},
        {"x; spf=pass smtp.mailfrom=\"a", NULL},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_buf out = LL_BUF(4096);
        struct ll_authres a;
        struct ll_arena arena;
        bool ok;

        ll_arena_init(&arena, 1 << 20);
        ok = ll_authres_parse(ll_slice_str(rows[i].body), &arena, &a, NULL);
        if (ok)
            show(&a, &out);
        if (ok != (rows[i].shown != NULL) ||
            (ok && !ll_slice_eq(ll_buf_slice(&out), ll_slice_str(rows[i].shown))))
            fail_msg("row %zu: %s gives %.*s", i, rows[i].body, LL_FMT(ll_buf_slice(&out)));
        ll_arena_release(&arena);
        ll_buf_release(&out);
    }
}

static void limits(void **state)
{
    struct ll_buf in = LL_BUF(1 << 20);
    struct ll_arena arena;
    struct ll_authres a;

    for (unsigned more = 0; more < 2; more++) {
        ll_arena_init(&arena, 1 << 20);
        ll_buf_clear(&in);
        ll_buf_puts(&in, "x");
        for (unsigned i = 0; i < LL_AUTHRES_RESULTS_MAX + more; i++)
            ll_buf_puts(&in, ";a=b");
        assert_int_equal(ll_authres_parse(ll_buf_slice(&in), &arena, &a, NULL), !more);
        ll_buf_clear(&in);
        ll_buf_puts(&in, "x;a=b");
        for (unsigned i = 0; i < LL_AUTHRES_PROPERTIES_MAX + more; i++)
            ll_buf_puts(&in, " a.b=c");
        ll_arena_release(&arena);
        ll_arena_init(&arena, 1 << 20);
        assert_int_equal(ll_authres_parse(ll_buf_slice(&in), &arena, &a, NULL), !more);
        ll_buf_clear(&in);
        for (unsigned i = 0; i < LL_AUTHRES_DEPTH_MAX + more; i++)
            ll_buf_putc(&in, '(');
        for (unsigned i = 0; i < LL_AUTHRES_DEPTH_MAX + more; i++)
            ll_buf_putc(&in, ')');
        ll_buf_puts(&in, "x;none");
        assert_int_equal(ll_authres_parse(ll_buf_slice(&in), &arena, &a, NULL), !more);
        ll_arena_release(&arena);
    }
    ll_buf_release(&in);
}

static void payload(void **state)
{
    struct ll_buf out = LL_BUF(4096);

    assert_true(ll_authres_payload(
        LL_LIT(" (c) mx.example 1 ;\r\n\tspf=pass  smtp.mailfrom=a@b.example;\r\n dkim=none (x) ;"),
        &out));
    assert_true(ll_slice_eq(ll_slice_trim(ll_buf_slice(&out)),
                            LL_LIT("spf=pass smtp.mailfrom=a@b.example; dkim=none (x)")));
    assert_false(ll_authres_payload(LL_LIT("mx.example; spf"), &out));
    ll_buf_release(&out);
}

/* ---- stripping ---------------------------------------------------------------------------------
 */

#define OURS                                                                                       \
    "mx.b\xc3\xbc"                                                                                 \
    "cher.example"

static void disguises(void **state)
{
    static const struct {
        const char *body;
        bool ours;
    } rows[] = {
        {" mx.xn--bcher-kva.example; dkim=pass", true},
        {"mx.xn--bcher-kva.example;dkim=pass", true},
        {" MX.XN--BCHER-KVA.Example; dkim=pass", true}, /* case */
        {" mx.b\xc3\xbc"
         "cher.example; dkim=pass",
         true}, /* U-label */
        {" mx.B\xc3\x9c"
         "CHER.example; dkim=pass",
         true}, /* U-label in capitals */
        {" mx.bu\xcc\x88"
         "cher.example; dkim=pass",
         true}, /* u and a combining diaeresis */
        {" \xef\xbd\x8d\xef\xbd\x98.b\xc3\xbc"
         "cher.example; a=b",
         true}, /* full-width letters */
        {" mx\xe3\x80\x82"
         "b\xc3\xbc"
         "cher.example; a=b",
         true},                                             /* ideographic full stop */
        {" mx.xn--bcher-kva.example.; dkim=pass", true},    /* a dot at the end */
        {"\r\n mx.xn--bcher-kva.example; dkim=pass", true}, /* a fold before it */
        {"\r\n\t\r\n mx.xn--bcher-kva.example\r\n ; dkim=pass", true},
        {" (x) mx.xn--bcher-kva.example; dkim=pass", true}, /* comments */
        {" (x(y)\\)) mx.xn--bcher-kva.example(z); dkim=pass", true},
        {" \"mx.xn--bcher-kva.example\"; dkim=pass", true},       /* quoted */
        {" \"m\\x.xn--bcher-\\kva.example\"; dkim=pass", true},   /* and quoted pairs */
        {" \"mx.xn--bcher\r\n -kva.example\"; dkim=pass", false}, /* a blank: another name */
        {" \"mx.xn--bcher\r\n\"; dkim=pass", false},
        {" \" mx.xn--bcher-kva.example \"; dkim=pass", true},
        {" mx.xn--bcher-kva.example 1; dkim=pass", true},     /* a version */
        {" mx.xn--bcher-kva.example 99; dkim=pass", true},    /* one that nobody knows */
        {" mx.xn--bcher-kva.example", true},                  /* nothing behind it */
        {" mx.xn--bcher-kva.example rubbish = = ;;", true},   /* no such field, but our name */
        {" (open mx.xn--bcher-kva.example; dkim=pass", true}, /* cannot be read */
        {" \"open mx.xn--bcher-kva.example; dkim=pass", true},
        {" @mx.xn--bcher-kva.example; dkim=pass", true},
        {" mx.xn--bcher-kva.example/x; dkim=pass", true},
        {"", true},
        {" mx.example; dkim=pass", false},
        {" mx.xn--bcher-kva.example.net; dkim=pass", false},
        {" xn--bcher-kva.example; dkim=pass", false},
        {" other (mx.xn--bcher-kva.example); dkim=pass", false},
        {" other; dkim=pass header.d=mx.xn--bcher-kva.example", false},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        if (ll_authres_claims(ll_slice_str(rows[i].body), LL_LIT(OURS)) != rows[i].ours)
            fail_msg("row %zu: %s", i, rows[i].body);
        /* Our name may be configured in either form. */
        assert_int_equal(
            ll_authres_claims(ll_slice_str(rows[i].body), LL_LIT("Mx.XN--BCHER-kva.example.")),
            rows[i].ours);
    }
    assert_true(ll_authres_claims(ll_slice(" mx\0.example; a=b", 17), LL_LIT("mx.example")));
    assert_true(ll_authres_claims(LL_LIT(" local_host; a=b"), LL_LIT("LOCAL_HOST")));
}

static void strip(void **state)
{
    static const char header[] = "Received: x\r\n"
                                 "Authentication-Results: mx.example; dkim=pass\r\n"
                                 "authentication-results :\r\n (c) MX.example; spf=pass\r\n"
                                 "Authentication-Results: other.example; dkim=pass\r\n"
                                 "AUTHENTICATION-RESULTS: second.example; dkim=pass\r\n"
                                 "ARC-Authentication-Results: i=1; mx.example; none\r\n"
                                 "From: a@b.example\r\n";
    static const char left[] = "Received: x\r\n"
                               "Authentication-Results: other.example; dkim=pass\r\n"
                               "ARC-Authentication-Results: i=1; mx.example; none\r\n"
                               "From: a@b.example\r\n";
    const struct ll_slice ids[] = {LL_LIT("mx.example"), LL_LIT("second.example")};
    struct ll_buf out = LL_BUF(4096), again = LL_BUF(4096);
    unsigned removed = 0;

    assert_true(ll_authres_strip(ll_slice_str(header), ids, 2, &out, &removed));
    assert_int_equal(removed, 3);
    assert_true(ll_slice_eq(ll_buf_slice(&out), ll_slice_str(left)));
    assert_true(ll_authres_strip(ll_buf_slice(&out), ids, 2, &again, &removed));
    assert_int_equal(removed, 0);
    assert_int_equal(again.n, 0);
    ll_buf_release(&out);
    ll_buf_release(&again);
}

/* ---- writing -----------------------------------------------------------------------------------
 */

static void writing(void **state)
{
    const struct ll_spf_result spf = {.code = LL_SPF_PASS, .sender = LL_LIT("ann@example.org")};
    const struct ll_dkim_result dkim[] = {
        {.domain = LL_LIT("example.org"),
         .selector = LL_LIT("s1"),
         .identity = LL_LIT("@example.org"),
         .algorithm = LL_LIT("rsa-sha256"),
         .b = LL_LIT("ab/+cdef")},
        {.fault = LL_DKIM_FAULT_BODY, .domain = LL_LIT("example.net")}};
    const struct ll_dmarc_result dmarc = {.code = LL_DMARC_PASS,
                                          .author = LL_LIT("example.org"),
                                          .policy = LL_DMARC_P_REJECT,
                                          .policy_domain = LL_LIT("example.org")};
    const struct ll_arc_result arc = {.code = LL_ARC_FAIL,
                                      .fault = LL_ARC_FAULT_GAP,
                                      .sets = 2,
                                      .domain = LL_LIT("list.example")};
    struct ll_buf out = LL_BUF(8192), shown = LL_BUF(8192);
    struct ll_authres_out o = {.out = &out};
    struct ll_msg_field f;
    struct ll_slice rest;
    struct ll_authres a;
    struct ll_arena arena;

    ll_authres_begin(&o, LL_LIT("mx.example"));
    ll_authres_spf(&o, &spf);
    ll_authres_dkim(&o, dkim, 2);
    ll_authres_dmarc(&o, &dmarc);
    ll_authres_arc(&o, &arc);
    ll_authres_iprev(&o, "pass", LL_LIT("2001:db8::1"), LL_LIT("host.example"));
    ll_authres_auth(&o, "pass", LL_LIT("ann smith@example.org"));
    ll_authres_tls(&o, LL_LIT("TLSv1.3"), LL_LIT("TLS_AES_256_GCM_SHA384"));
    ll_authres_end(&o);
    rest = ll_buf_slice(&out);
    assert_true(ll_msg_field_next(&rest, &f) && rest.n == 0 && !f.bad);
    ll_arena_init(&arena, 1 << 20);
    assert_true(ll_authres_parse(f.body, &arena, &a, NULL));
    show(&a, &shown);
    assert_string_equal(
        ll_buf_str(&shown),
        "mx.example/1|spf/1=pass,smtp.mailfrom=ann@example.org"
        "|dkim/1=pass,header.d=example.org,header.i=@example.org,header.s=s1,header.a=rsa-sha256,"
        "header.b=ab/+cdef|dkim/1=fail!the body is not the signed one,header.d=example.net"
        "|dmarc/1=pass,header.from=example.org,policy.dmarc=reject"
        "|arc/1=fail!a field of a set is missing,header.d=list.example"
        "|iprev/1=pass,policy.iprev=2001:db8::1|auth/1=pass,smtp.auth=ann smith@example.org"
        "|x-tls/1=pass,policy.version=TLSv1.3,policy.cipher=TLS_AES_256_GCM_SHA384");
    for (rest = ll_buf_slice(&out); rest.n > 0;) {
        size_t n = ll_slice_find(rest, '\n');

        assert_true(n <= 79);
        rest = ll_slice_skip(rest, n + 1);
    }
    ll_arena_release(&arena);
    ll_buf_release(&out);
    ll_buf_release(&shown);
}

/* Whatever a stranger says, it stays one value. */
static void hostile_values(void **state)
{
    static const char *const values[] = {
        "a; dkim=pass header.d=victim.example",
        "a\r\nX: y",
        "a\"; b=c \"",
        "a\\",
        "(",
        ")",
        "a b",
        "\xc3\xa4",
        "@",
        "a@",
        "@@",
        "\x01\x7f",
        "=",
        "a;b",
    };

    for (size_t i = 0; i < LL_COUNT(values); i++) {
        struct ll_slice v = ll_slice_str(values[i]);
        struct ll_buf out = LL_BUF(8192);
        struct ll_authres_out o = {.out = &out};
        struct ll_msg_field f;
        struct ll_slice rest;
        struct ll_authres a;
        struct ll_arena arena;

        ll_authres_begin(&o, LL_LIT("mx.example"));
        ll_authres_put(&o, "spf", "fail");
        ll_authres_reason(&o, v);
        ll_authres_comment(&o, v);
        ll_authres_property(&o, "smtp", "mailfrom", v);
        ll_authres_end(&o);
        rest = ll_buf_slice(&out);
        assert_true(ll_msg_field_next(&rest, &f) && rest.n == 0);
        ll_arena_init(&arena, 1 << 20);
        if (!ll_authres_parse(f.body, &arena, &a, NULL) || a.results != 1 ||
            a.result[0].properties != 1 || !ll_is_ascii(f.raw))
            fail_msg("value %zu: %.*s", i, LL_FMT(f.raw));
        ll_arena_release(&arena);
        ll_buf_release(&out);
    }
}

static void nothing(void **state)
{
    struct ll_buf out = LL_BUF(8192);
    struct ll_authres_out o = {.out = &out};

    ll_authres_begin(&o, LL_LIT("mx.example"));
    ll_authres_end(&o);
    assert_string_equal(ll_buf_str(&out), "Authentication-Results: mx.example; none\r\n");
    ll_buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reading),        cmocka_unit_test(limits),  cmocka_unit_test(payload),
        cmocka_unit_test(disguises),      cmocka_unit_test(strip),   cmocka_unit_test(writing),
        cmocka_unit_test(hostile_values), cmocka_unit_test(nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
