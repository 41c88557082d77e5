/* The pure parts of the front: trusted networks, and every verdict. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/front/networks.h"
#include "daemon/front/policy.h"

#include <arpa/inet.h>

static struct ll_ip ip_of(const char *text)
{
    struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = htons(25)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(25)};
    struct ll_ip ip;

    if (inet_pton(AF_INET, text, &in4.sin_addr) == 1) {
        ll_ip_of((struct sockaddr *)&in4, &ip);
    } else {
        assert_int_equal(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
        ll_ip_of((struct sockaddr *)&in6, &ip);
    }
    assert_int_equal(ip.port, 25);
    return ip;
}

static void test_network_has(void **state)
{
    static const struct {
        const char *net, *ip;
        bool has;
    } rows[] = {
        {"192.0.2.0/24", "192.0.2.0", true},
        {"192.0.2.0/24", "192.0.2.255", true},
        {"192.0.2.0/24", "192.0.3.0", false},
        {"192.0.2.0/24", "::ffff:192.0.2.7", true},
        {"192.0.2.128/25", "192.0.2.127", false},
        {"192.0.2.128/25", "192.0.2.128", true},
        {"192.0.2.9", "192.0.2.9", true},
        {"192.0.2.9", "192.0.2.8", false},
        {"192.0.2.8/31", "192.0.2.9", true},
        {"0.0.0.0/0", "203.0.113.1", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"::/0", "192.0.2.1", false},
        {"::/0", "2001:db8::1", true},
        {"2001:db8::/32", "2001:db8:ffff::1", true},
        {"2001:db8::/32", "2001:db9::1", false},
        {"2001:db8::/33", "2001:db8:8000::1", false},
        {"::1", "::1", true},
        {"::1", "127.0.0.1", false},
        {"127.0.0.0/8", "127.255.0.1", true},
        {"::ffff:192.0.2.0/120", "192.0.2.200", true},
        {"::ffff:192.0.2.0/120", "192.0.3.200", false},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_ip ip = ip_of(rows[i].ip);
        struct ll_network net;

        assert_true(ll_network_parse(ll_slice_str(rows[i].net), &net));
        if (ll_network_has(&net, &ip) != rows[i].has)
            fail_msg("%s in %s", rows[i].ip, rows[i].net);
    }
}

static void test_network_bad(void **state)
{
    static const char *const rows[] = {
        "",
        "192.0.2.0/33",
        "192.0.2.1/24",
        "192.0.2",
        "192.0.2.0/",
        "/8",
        "example.org",
        "192.0.2.0/+8",
        "192.0.2.0/8 ",
        "2001:db8::/129",
        "2001:db8::1/64",
        "::ffff:192.0.2.0/24",
        " 192.0.2.1",
        "192.0.2.0/24/8",
        "0.0.0.1/0",
        "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd:eeee:ffff:0000:1111",
    };
    struct ll_network net;

    for (size_t i = 0; i < LL_COUNT(rows); i++)
        if (ll_network_parse(ll_slice_str(rows[i]), &net))
            fail_msg("taken: %s", rows[i]);
    assert_false(ll_network_parse(ll_slice("192.0.2.1\0", 10), &net));
}

static void test_networks(void **state)
{
    char a[] = "192.0.2.0/24", b[] = "nonsense", c[] = "2001:db8::/32";
    char *texts[] = {a, b, c, NULL};
    struct ll_ip in = ip_of("2001:db8::1"), out = ip_of("127.0.0.1"), none = {0};
    struct ll_networks nets;
    size_t bad;
    char text[LL_IP_TEXT];

    assert_true(ll_networks_init(&nets, texts, &bad));
    assert_int_equal(bad, 1);
    assert_int_equal(nets.n, 2);
    assert_true(ll_networks_have(&nets, &in));
    assert_false(ll_networks_have(&nets, &out));
    assert_false(ll_networks_have(&nets, &none));
    ll_networks_release(&nets);
    assert_true(ll_networks_init(&nets, NULL, &bad));
    assert_false(ll_networks_have(&nets, &out));
    assert_string_equal(ll_ip_text(&in, text), "2001:db8::1");
    assert_string_equal(ll_ip_text(&out, text), "127.0.0.1");
    assert_string_equal(ll_ip_text(&none, text), "");
}

/* Who may relay: all sixteen clients. */
static void test_may_relay(void **state)
{
    for (unsigned bits = 0; bits < 16; bits++) {
        struct ll_client_rights r = {bits & 1, bits & 2, bits & 4, bits & 8};
        bool want = (bits & 4) || (bits & 8) || ((bits & 1) && (bits & 2));
        uint8_t kind = 99;
        bool probe = true;
        struct ll_verdict v = ll_policy_rcpt(&r, LL_ADDR_OUTSIDE, &kind, &probe);

        assert_int_equal(ll_policy_may_relay(&r), want);
        assert_false(probe);
        assert_int_equal(v.code, want ? 0 : 550);
        assert_int_equal(kind, want ? LL_RCPT_REMOTE : 99);
        if (!want)
            assert_string_equal(v.enhanced, "5.7.1");
    }
}

static void test_rcpt(void **state)
{
    static const struct {
        uint8_t addr;
        uint16_t code;
        const char *enhanced;
        uint8_t kind;
        bool probe;
    } rows[] = {
        {LL_ADDR_MAILBOX, 0, NULL, LL_RCPT_MAILBOX, false},
        {LL_ADDR_ALIAS, 0, NULL, LL_RCPT_ALIAS, false},
        {LL_ADDR_REPORT, 0, NULL, LL_RCPT_REPORT, false},
        {LL_ADDR_RELAY, 0, NULL, LL_RCPT_REMOTE, false},
        {LL_ADDR_PROBE, 0, NULL, LL_RCPT_REMOTE, true},
        {LL_ADDR_UNKNOWN, 550, "5.1.1", 99, false},
        {LL_ADDR_LATER, 451, "4.3.0", 99, false},
        {LL_ADDR_LATER + 1, 451, "4.3.0", 99, false},
        {255, 451, "4.3.0", 99, false},
    };
    const struct ll_client_rights stranger = {0}, user = {.submission = true, .login = true};

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        uint8_t kind = 99;
        bool probe;
        struct ll_verdict v = ll_policy_rcpt(&stranger, rows[i].addr, &kind, &probe);

        assert_int_equal(v.code, rows[i].code);
        if (v.code)
            assert_string_equal(v.enhanced, rows[i].enhanced);
        assert_int_equal(kind, rows[i].kind);
        assert_int_equal(probe, rows[i].probe);
        ll_policy_rcpt(&user, rows[i].addr, &kind, &probe);
        assert_false(probe);
    }
}

/* An SRS address takes reports, from whomever, and nothing else, from nobody. */
static void test_bounce(void **state)
{
    for (unsigned i = 0; i < 32; i++) {
        struct ll_client_rights r = {i & 1, i & 2, i & 4, i & 8, i & 16};
        uint8_t kind = 99;
        bool probe;
        struct ll_verdict v = ll_policy_rcpt(&r, LL_ADDR_BOUNCE, &kind, &probe);

        assert_int_equal(v.code, r.null_path ? 0 : 550);
        assert_int_equal(kind, r.null_path ? LL_RCPT_ALIAS : 99);
        assert_false(probe);
    }
}

static void test_other_verdicts(void **state)
{
    assert_int_equal(ll_policy_probe(250).code, 0);
    assert_int_equal(ll_policy_probe(550).code, 550);
    assert_int_equal(ll_policy_probe(450).code, 450);
    assert_int_equal(ll_policy_probe(0).code, 450);
    assert_int_equal(ll_policy_probe(199).code, 450);
    assert_int_equal(ll_policy_probe(600).code, 450);
    assert_int_equal(ll_policy_login(LL_LOGIN_OK).code, 0);
    assert_int_equal(ll_policy_login(LL_LOGIN_REFUSED).code, 535);
    assert_int_equal(ll_policy_login(LL_LOGIN_LATER).code, 454);
    assert_int_equal(ll_policy_login(77).code, 454);
    assert_int_equal(ll_policy_stored(LL_STORED).code, 0);
    assert_int_equal(ll_policy_stored(LL_STORED_FULL).code, 452);
    assert_int_equal(ll_policy_stored(LL_STORED_BROKEN).code, 451);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_network_has),    cmocka_unit_test(test_network_bad),
        cmocka_unit_test(test_networks),       cmocka_unit_test(test_may_relay),
        cmocka_unit_test(test_rcpt),           cmocka_unit_test(test_bounce),
        cmocka_unit_test(test_other_verdicts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
