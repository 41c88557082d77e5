/* letterlock/dns.h: names, answers, packets and records, valid and invalid. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "letterlock/dns.h"

/* ---- names ------------------------------------------------------------------------------------
 */

static void names(void **state)
{
    static const struct {
        const char *in;
        const char *out; /* NULL: refused */
    } rows[] = {
        {"Example.ORG", "example.org"},
        {"example.org.", "example.org"},
        {".", "."},
        {"_dmarc.x", "_dmarc.x"},
        {"a=b/c@d.x", "a=b/c@d.x"},
        {"1.2.3.4", "1.2.3.4"},
        {"", NULL},
        {"..", NULL},
        {".x", NULL},
        {"x..", NULL},
        {"x..y", NULL},
        {"x y", "x y"},
        {"x\\.y", NULL},
        {"x\ty", NULL},
        {"\xc3\xa4.x", NULL},
        {"123456789012345678901234567890123456789012345678901234567890123.x",
         "123456789012345678901234567890123456789012345678901234567890123.x"},
        {"1234567890123456789012345678901234567890123456789012345678901234.x", NULL},
    };

    (void)state;
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_dns_name name = {.n = 0};
        bool ok = ll_dns_name_parse(ll_slice_str(rows[i].in), &name);

        assert_int_equal(ok, rows[i].out != NULL);
        if (ok)
            assert_string_equal(name.text, rows[i].out);
    }
}

static void name_length(void **state)
{
    char text[300];
    struct ll_dns_name name;

    (void)state;
    for (size_t n = LL_DNS_NAME_MAX - 2; n <= LL_DNS_NAME_MAX + 2; n++) {
        for (size_t i = 0; i < n; i++)
            text[i] = i % 50 == 49 && i + 1 < n ? '.' : 'a';
        assert_int_equal(ll_dns_name_parse(ll_slice(text, n), &name), n <= LL_DNS_NAME_MAX);
    }
}

static void name_order(void **state)
{
    (void)state;
    assert_true(ll_dns_name_eq(LL_LIT("A.b."), LL_LIT("a.B")));
    assert_false(ll_dns_name_eq(LL_LIT("a.b"), LL_LIT("ab")));
    assert_true(ll_dns_name_under(LL_LIT("x.Example.org"), LL_LIT("example.org.")));
    assert_true(ll_dns_name_under(LL_LIT("example.org"), LL_LIT("example.org")));
    assert_false(ll_dns_name_under(LL_LIT("xexample.org"), LL_LIT("example.org")));
    assert_false(ll_dns_name_under(LL_LIT("org"), LL_LIT("example.org")));
    assert_true(ll_dns_name_under(LL_LIT("org"), LL_LIT(".")));
}

static void reverse(void **state)
{
    static const uint8_t v4[] = {192, 0, 2, 1};
    static const uint8_t v6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 0x1f};
    struct ll_dns_name name;

    (void)state;
    ll_dns_reverse(v4, 4, &name);
    assert_string_equal(name.text, "1.2.0.192.in-addr.arpa");
    ll_dns_reverse(v6, 16, &name);
    assert_string_equal(name.text, "f.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0."
                                   "1.0.0.2.ip6.arpa");
}

/* ---- records ------------------------------------------------------------------------------------
 */

#define RDATA(s)                                                                                   \
    {                                                                                              \
        (const uint8_t *)(s), sizeof(s) - 1                                                        \
    }

static void mx(void **state)
{
    static const struct {
        struct ll_slice in;
        int preference; /* -1: refused */
        const char *host;
    } rows[] = {
        {RDATA("\0\012\2mx\4test\0"), 10, "mx.test"},
        {RDATA("\0\012\2MX\4Test\0"), 10, "mx.test"},
        {RDATA("\0\0\0"), 0, "."},
        {RDATA(""), -1, NULL},
        {RDATA("\0"), -1, NULL},
        {RDATA("\0\012"), -1, NULL},
        {RDATA("\0\012\2"), -1, NULL},
        {RDATA("\0\012\2mx"), -1, NULL},
        {RDATA("\0\012\2mx\0x"), -1, NULL},
        {RDATA("\0\012\100aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\0"), -1,
         NULL},
        {RDATA("\0\012\300\014"), -1, NULL},
        {RDATA("\0\012\3m\0x\0"), -1, NULL},
        {RDATA("\0\012\3m x\0"), -1, NULL},
    };

    (void)state;
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_dns_mx r;

        assert_int_equal(ll_dns_rdata_mx(rows[i].in, &r), rows[i].preference >= 0);
        if (rows[i].preference >= 0) {
            assert_int_equal(r.preference, rows[i].preference);
            assert_string_equal(r.host.text, rows[i].host);
        }
    }
}

static void txt(void **state)
{
    static const struct {
        struct ll_slice in;
        const char *out; /* NULL: refused */
    } rows[] = {
        {RDATA("\3abc"), "abc"},    {RDATA("\3abc\2de"), "abcde"},
        {RDATA("\0"), ""},          {RDATA("\0\1x\0"), "x"},
        {RDATA(""), NULL},          {RDATA("\4abc"), NULL},
        {RDATA("\3abc\5de"), NULL}, {RDATA("\377a"), NULL},
        {RDATA("\3abc\1"), NULL},
    };

    (void)state;
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_buf out = LL_BUF(1000);

        assert_int_equal(ll_dns_rdata_txt(rows[i].in, &out), rows[i].out != NULL);
        if (rows[i].out)
            assert_true(ll_slice_eq(ll_buf_slice(&out), ll_slice_str(rows[i].out)));
        else
            assert_int_equal(out.n, 0);
        ll_buf_release(&out);
    }
}

static void tlsa(void **state)
{
    uint8_t octets[80] = {3, 1, 0};

    (void)state;
    for (uint8_t matching = 0; matching < 5; matching++) {
        octets[2] = matching;
        for (size_t n = 0; n <= sizeof(octets); n++) {
            struct ll_dns_tlsa t;
            bool want = n > 3 && (matching != 1 || n == 35) && (matching != 2 || n == 67);

            assert_int_equal(ll_dns_rdata_tlsa(ll_slice(octets, n), &t), want);
            if (want) {
                assert_int_equal(t.usage, 3);
                assert_int_equal(t.data.n, n - 3);
            }
        }
    }
}

static void addresses(void **state)
{
    uint8_t in[20] = {1, 2, 3, 4, 5, 6}, out[16];

    (void)state;
    for (size_t n = 0; n <= sizeof(in); n++) {
        assert_int_equal(ll_dns_rdata_a(ll_slice(in, n), out), n == 4);
        assert_int_equal(ll_dns_rdata_aaaa(ll_slice(in, n), out), n == 16);
    }
}

/* ---- answers ------------------------------------------------------------------------------------
 */

static void answer_round_trip(void **state)
{
    struct ll_slice rdata[3] = {RDATA("one"), RDATA(""), RDATA("three")};
    struct ll_dns_answer a = {.status = LL_DNS_STATUS_OK,
                              .secure = true,
                              .type = LL_DNS_TXT,
                              .ttl = 77,
                              .canonical = LL_LIT("x.test"),
                              .rdata = rdata,
                              .n_rdata = 3};
    struct ll_buf out = LL_BUF(LL_DNS_ANSWER_MAX);
    struct ll_arena arena;
    struct ll_dns_answer b;

    (void)state;
    ll_arena_init(&arena, 1 << 20);
    ll_dns_answer_encode(&a, &out);
    assert_true(ll_dns_answer_decode(ll_buf_slice(&out), &arena, &b));
    assert_int_equal(b.n_rdata, 3);
    assert_true(b.secure && !b.cut && b.ttl == 77 && b.type == LL_DNS_TXT);
    assert_true(ll_slice_eq(b.rdata[2], rdata[2]));
    assert_true(ll_slice_eq(b.canonical, a.canonical));
    for (size_t n = 0; n < out.n; n++)
        assert_false(ll_dns_answer_decode(ll_slice(out.p, n), &arena, &b));
    out.p[0] = LL_DNS_STATUS_NXDOMAIN; /* with records: cannot be */
    assert_false(ll_dns_answer_decode(ll_buf_slice(&out), &arena, &b));
    out.p[0] = 9;
    assert_false(ll_dns_answer_decode(ll_buf_slice(&out), &arena, &b));
    ll_buf_release(&out);
    ll_arena_release(&arena);
}

static void answer_limits(void **state)
{
    static uint8_t big[1000];
    struct ll_slice rdata[LL_DNS_RECORDS_MAX + 1];
    struct ll_arena arena;

    (void)state;
    ll_arena_init(&arena, 1 << 20);
    for (size_t size = 1; size <= sizeof(big); size += 999)
        for (size_t n = LL_DNS_RECORDS_MAX - 1; n <= LL_DNS_RECORDS_MAX + 1; n++) {
            struct ll_dns_answer a = {.rdata = rdata, .n_rdata = n}, b;
            struct ll_buf out = LL_BUF(LL_DNS_ANSWER_MAX);

            for (size_t i = 0; i < n; i++)
                rdata[i] = ll_slice(big, size);
            ll_dns_answer_encode(&a, &out);
            assert_false(out.failed);
            assert_true(ll_dns_answer_decode(ll_buf_slice(&out), &arena, &b));
            assert_int_equal(b.cut, size > 1 || n > LL_DNS_RECORDS_MAX);
            assert_true(b.n_rdata > 50);
            ll_buf_release(&out);
        }
    ll_arena_release(&arena);
}

/* ---- packets
 * -------------------------------------------------------------------------------------- */

#define HEAD(rcode, answers) "\0\1\201" rcode "\0\1\0" answers "\0\0\0\0"
#define QUESTION             "\1x\4test\0\0\17\0\1"   /* at 12; "test" at 14 */
#define RR(type, n)          type "\0\1\0\0\0\74\0" n /* class IN, 60 s */

static const struct packet_row {
    const char *what;
    struct ll_slice packet;
    int status; /* -1: malformed */
    size_t records;
    const char *canonical;
} packet_rows[] = {
    {"one record, names compressed",
     RDATA(HEAD("\200", "\1") QUESTION "\300\014" RR("\0\17", "\7") "\0\12\2mx\300\016"),
     LL_DNS_STATUS_OK, 1, "x.test"},
    {"behind a CNAME",
     RDATA(HEAD("\200", "\2") QUESTION
           "\300\014" RR("\0\5", "\4") "\1y\300\016"
                                       "\1Y\300\016" RR("\0\17", "\7") "\0\12\2mx\300\016"),
     LL_DNS_STATUS_OK, 1, "y.test"},
    {"another order",
     RDATA(HEAD("\200", "\2") QUESTION
           "\1y\300\016" RR("\0\17", "\7") "\0\12\2mx\300\016"
                                           "\300\014" RR("\0\5", "\4") "\1y\300\016"),
     LL_DNS_STATUS_OK, 1, "y.test"},
    {"a CNAME that leads nowhere",
     RDATA(HEAD("\203", "\1") QUESTION "\300\014" RR("\0\5", "\4") "\1y\300\016"),
     LL_DNS_STATUS_NXDOMAIN, 0, "y.test"},
    {"a CNAME to itself", RDATA(HEAD("\200", "\1") QUESTION "\300\014" RR("\0\5", "\2") "\300\014"),
     LL_DNS_STATUS_NODATA, 0, "x.test"},
    {"a record of another name",
     RDATA(HEAD("\200", "\1") QUESTION "\1z\300\016" RR("\0\17", "\7") "\0\12\2mx\300\016"),
     LL_DNS_STATUS_NODATA, 0, "x.test"},
    {"no such name", RDATA(HEAD("\203", "\0") QUESTION), LL_DNS_STATUS_NXDOMAIN, 0, "x.test"},
    {"nothing of that type", RDATA(HEAD("\200", "\0") QUESTION), LL_DNS_STATUS_NODATA, 0, "x.test"},
    {"refused", RDATA(HEAD("\205", "\0") QUESTION), LL_DNS_STATUS_SERVFAIL, 0, "x.test"},
    {"an MX of 2 octets", RDATA(HEAD("\200", "\1") QUESTION "\300\014" RR("\0\17", "\2") "\0\12"),
     -1, 0, NULL},
    {"an MX with octets behind it",
     RDATA(HEAD("\200", "\1") QUESTION "\300\014" RR("\0\17", "\5") "\0\12\300\016x"), -1, 0, NULL},
    {"a pointer to itself",
     RDATA(HEAD("\200", "\1") QUESTION "\300\034" RR("\0\17", "\3") "\0\12\0"), -1, 0, NULL},
    {"a pointer forwards",
     RDATA(HEAD("\200", "\1") QUESTION "\300\050" RR("\0\17", "\3") "\0\12\0"), -1, 0, NULL},
    {"a pointer into the header",
     RDATA(HEAD("\200", "\1") QUESTION "\300\0" RR("\0\17", "\3") "\0\12\0"), -1, 0, NULL},
    {"more records than there are", RDATA(HEAD("\200", "\2") QUESTION), -1, 0, NULL},
    {"data longer than the message",
     RDATA(HEAD("\200", "\1") QUESTION "\300\014" RR("\0\17", "\77") "\0\12\0"), -1, 0, NULL},
    {"a label type of the future",
     RDATA(HEAD("\200", "\1") QUESTION "\100a\0" RR("\0\17", "\3") "\0\12\0"), -1, 0, NULL},
    {"cut in the header", RDATA("\0\1\201\200\0\1"), -1, 0, NULL},
};

static void packets(void **state)
{
    struct ll_dns_name name;

    (void)state;
    assert_true(ll_dns_name_parse(LL_LIT("x.test"), &name));
    for (size_t i = 0; i < LL_COUNT(packet_rows); i++) {
        const struct packet_row *row = &packet_rows[i];
        struct ll_dns_answer a;
        struct ll_arena arena;
        bool ok;

        ll_arena_init(&arena, 1 << 20);
        ok = ll_dns_packet(row->packet, &name, LL_DNS_MX, &arena, &a);
        if (ok != (row->status >= 0) || (ok && a.status != row->status))
            fail_msg("%s: %s %d", row->what, ok ? "status" : "refused", ok ? a.status : 0);
        if (ok) {
            assert_int_equal(a.n_rdata, row->records);
            assert_true(ll_slice_eq(a.canonical, ll_slice_str(row->canonical)));
        }
        if (ok && a.n_rdata) {
            struct ll_dns_mx r;

            assert_true(ll_dns_rdata_mx(a.rdata[0], &r));
            assert_string_equal(r.host.text, "mx.test");
            assert_int_equal(a.ttl, 60);
        }
        for (size_t n = 0; n < row->packet.n; n++) {
            struct ll_dns_answer b;

            if (ll_dns_packet(ll_slice_cut(row->packet, 0, n), &name, LL_DNS_MX, &arena, &b))
                assert_int_equal(b.n_rdata, 0);
        }
        ll_arena_release(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(name_length),
        cmocka_unit_test(name_order),
        cmocka_unit_test(reverse),
        cmocka_unit_test(mx),
        cmocka_unit_test(txt),
        cmocka_unit_test(tlsa),
        cmocka_unit_test(addresses),
        cmocka_unit_test(answer_limits),
        cmocka_unit_test(answer_round_trip),
        cmocka_unit_test(packets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
