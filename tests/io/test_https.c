#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "io/https.h"
#include "letterlock/addr.h"

static struct ll_https_address address(const char *text)
{
    struct ll_https_address a = {0};
    struct ll_slice s = ll_slice_str(text);

    a.n = ll_ipv4_parse(s, a.octets) ? 4 : ll_ipv6_parse(s, a.octets) ? 16 : 0;
    assert_true(a.n > 0);
    return a;
}

static void private_addresses(void **state)
{
    static const struct {
        const char *text;
        bool private;
    } rows[] = {
        {"0.0.0.0", true},
        {"10.1.2.3", true},
        {"100.64.0.1", true},
        {"100.63.255.255", false},
        {"100.127.255.255", true},
        {"100.128.0.0", false},
        {"127.0.0.1", true},
        {"169.254.169.254", true},
        {"172.15.255.255", false},
        {"172.16.0.0", true},
        {"172.31.255.255", true},
        {"172.32.0.0", false},
        {"192.168.0.1", true},
        {"192.169.0.1", false},
        {"198.18.0.1", true},
        {"198.20.0.1", false},
        {"224.0.0.1", true},
        {"255.255.255.255", true},
        {"9.9.9.9", false},
        {"::", true},
        {"::1", true},
        {"::ffff:9.9.9.9", true},
        {"::ffff:10.0.0.1", true},
        {"64:ff9b::a00:1", true},
        {"64:ff9b::909:909", false},
        {"64:ff9b:1::1", true},
        {"fc00::1", true},
        {"fdff::1", true},
        {"fe00::1", false},
        {"fe80::1", true},
        {"fec0::1", true},
        {"ff02::1", true},
        {"2002:a00:1::", true},
        {"2001:0:1::", true},
        {"2001:db8::1", false},
        {"2a00::1", false},
    };
    struct ll_https_address none = {5, {0}};

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_https_address a = address(rows[i].text);

        if (ll_https_private(&a) != rows[i].private)
            fail_msg("%s", rows[i].text);
    }
    assert_true(ll_https_private(&none));
}

static void hosts(void **state)
{
    static const struct {
        const char *url, *host;
        uint16_t port;
    } rows[] = {
        {"https://a.test/x", "a.test", 443},
        {"http://a.test:8080/x?y#z", "a.test", 8080},
        {"HTTPS://A.test", "A.test", 443},
        {"https://user@a.test/", NULL, 0},
        {"https://user:pw@a.test/", NULL, 0},
        {"https://127.0.0.1/", NULL, 0},
        {"https://2130706433/", NULL, 0},
        {"https://0x7f.1/", NULL, 0},
        {"https://[::1]/", NULL, 0},
        {"file:///etc/passwd", NULL, 0},
        {"gopher://a.test/", NULL, 0},
        {"ftp://a.test/", NULL, 0},
        {"a.test", NULL, 0},
        {"https://a.test:0/", NULL, 0},
        {"https://a.test:65536/", NULL, 0},
        {"https://a b/", NULL, 0},
        {"", NULL, 0},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_buf b = LL_BUF(1000);
        uint16_t port = 0;

        if (ll_https_host(rows[i].url, &b, &port) != (rows[i].host != NULL))
            fail_msg("%s", rows[i].url);
        if (rows[i].host)
            assert_string_equal(ll_buf_str(&b), rows[i].host);
        assert_int_equal(port, rows[i].port);
        ll_buf_release(&b);
    }
}

/* What is refused without a connection. */
static void refused(void **state)
{
    const struct ll_https_address loop = address("127.0.0.1");
    const struct {
        struct ll_https_request request;
        const char *why;
    } rows[] = {
        {{.url = "http://a.test/", .address = &loop, .n_address = 1, .allow_private = true},
         "only https is asked"},
        {{.url = "https://a.test/", .address = &loop, .n_address = 1},
         "a.test has only addresses of private networks, which are not asked"},
        {{.url = "https://a.test/"}, "a.test has no address"},
        {{.url = "file:///etc/passwd", .address = &loop, .n_address = 1},
         "not an URL that is asked"},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_buf out = LL_BUF(100), why = LL_BUF(1000);

        assert_int_equal(ll_https_fetch(&rows[i].request, &out, &why), LL_HTTPS_REFUSED);
        assert_string_equal(ll_buf_str(&why), rows[i].why);
        ll_buf_release(&out);
        ll_buf_release(&why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(private_addresses),
        cmocka_unit_test(hosts),
        cmocka_unit_test(refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
