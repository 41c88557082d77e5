/* daemon/relay/target.h: which hosts, in which order; which addresses never. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "daemon/relay/target.h"

#define ROW_MX 8

struct mx_row {
    const char *what;
    struct {
        int preference;
        const char *host; /* NULL: octets that are no MX record */
    } mx[ROW_MX];
    size_t n;
    enum ll_mx_result result;
    const char *hosts[ROW_MX]; /* in order; "a|b": any order of the two places */
};

static const struct mx_row mx_rows[] = {
    {"one", {{10, "mx.x"}}, 1, LL_MX_HOSTS, {"mx.x"}},
    {"by preference",
     {{30, "c.x"}, {10, "a.x"}, {20, "b.x"}},
     3,
     LL_MX_HOSTS,
     {"a.x", "b.x", "c.x"}},
    {"null MX", {{0, "."}}, 1, LL_MX_NULL, {NULL}},
    {"null MX beside others is none", {{0, "."}, {10, "a.x"}}, 2, LL_MX_HOSTS, {"a.x"}},
    {"twice the same host",
     {{20, "a.x"}, {10, "a.x"}, {30, "b.x"}},
     3,
     LL_MX_HOSTS,
     {"a.x", "b.x"}},
    {"ourselves only", {{10, "own.test"}}, 1, LL_MX_SELF, {NULL}},
    {"ourselves, another spelling", {{10, "OWN.Test"}}, 1, LL_MX_SELF, {NULL}},
    {"ourselves by another name", {{10, "alias.test"}}, 1, LL_MX_SELF, {NULL}},
    {"ourselves best", {{10, "own.test"}, {20, "a.x"}}, 2, LL_MX_SELF, {NULL}},
    {"ourselves and an equal", {{10, "own.test"}, {10, "a.x"}}, 2, LL_MX_SELF, {NULL}},
    {"ourselves as backup",
     {{10, "a.x"}, {20, "own.test"}, {20, "b.x"}, {30, "c.x"}},
     4,
     LL_MX_HOSTS,
     {"a.x"}},
    {"ourselves twice",
     {{10, "a.x"}, {30, "own.test"}, {20, "alias.test"}, {25, "b.x"}},
     4,
     LL_MX_HOSTS,
     {"a.x"}},
    {"nothing readable", {{10, NULL}}, 1, LL_MX_UNUSABLE, {NULL}},
    {"one readable", {{10, NULL}, {10, "a.x"}}, 2, LL_MX_HOSTS, {"a.x"}},
};

static const struct ll_slice own[] = {{(const uint8_t *)"own.test", 8},
                                      {(const uint8_t *)"alias.test.", 11}};

static void put_mx(struct ll_buf *out, int preference, const char *host)
{
    struct ll_slice rest = ll_slice_str(host), label;

    ll_buf_u16(out, (uint16_t)preference);
    if (!host)
        return;
    while (strcmp(host, ".") != 0 && ll_slice_next(&rest, '.', &label)) {
        ll_buf_u8(out, (uint8_t)label.n);
        ll_buf_put_slice(out, label);
    }
    ll_buf_u8(out, 0);
}

static void mx_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < LL_COUNT(mx_rows); i++) {
        const struct mx_row *row = &mx_rows[i];
        struct ll_slice rdata[ROW_MX];
        struct ll_buf bufs[ROW_MX];
        struct ll_dns_answer a = {.rdata = rdata, .n_rdata = row->n};
        struct ll_mx_host hosts[LL_MX_MAX];
        size_t n = 0, want = 0;
        enum ll_mx_result result;

        for (size_t k = 0; k < row->n; k++) {
            bufs[k] = LL_BUF(300);
            put_mx(&bufs[k], row->mx[k].preference, row->mx[k].host);
            rdata[k] = ll_buf_slice(&bufs[k]);
        }
        result = ll_mx_select(&a, own, LL_COUNT(own), i * 77, hosts, &n);
        if (result != row->result)
            fail_msg("%s: %d", row->what, result);
        while (want < ROW_MX && row->hosts[want])
            want++;
        if (n != want)
            fail_msg("%s: %zu hosts", row->what, n);
        for (size_t k = 0; k < n; k++)
            assert_string_equal(hosts[k].name.text, row->hosts[k]);
        for (size_t k = 0; k < row->n; k++)
            ll_buf_release(&bufs[k]);
    }
}

/* Of 30 hosts with equal preference 20 are tried; every one comes first now and then. */
static void mx_many(void **state)
{
    struct ll_slice rdata[30];
    struct ll_buf bufs[30];
    struct ll_dns_answer a = {.rdata = rdata, .n_rdata = 30};
    unsigned first[30] = {0};

    (void)state;
    for (size_t k = 0; k < 30; k++) {
        char name[16];

        snprintf(name, sizeof(name), "h%zu.x", k);
        bufs[k] = LL_BUF(300);
        put_mx(&bufs[k], 10, name);
        rdata[k] = ll_buf_slice(&bufs[k]);
    }
    for (uint64_t seed = 0; seed < 3000; seed++) {
        struct ll_mx_host hosts[LL_MX_MAX];
        size_t n = 0;

        assert_int_equal(ll_mx_select(&a, NULL, 0, seed * 0x9e3779b97f4a7c15ull, hosts, &n),
                         LL_MX_HOSTS);
        assert_int_equal(n, LL_MX_MAX);
        first[strtoul(hosts[0].name.text + 1, NULL, 10)]++;
    }
    for (size_t k = 0; k < 30; k++) {
        assert_in_range(first[k], 40, 200);
        ll_buf_release(&bufs[k]);
    }
}

static void addresses(void **state)
{
    static const struct {
        const char *text;
        bool open;    /* a stranger's domain may point there */
        bool private; /* with private_targets */
    } rows[] = {
        {"192.0.2.1", true, true},
        {"8.8.8.8", true, true},
        {"2001:db8::1", true, true},
        {"2a00:1450:4001::1", true, true},
        {"100.63.255.255", true, true},
        {"100.128.0.1", true, true},
        {"172.15.0.1", true, true},
        {"172.32.0.1", true, true},
        {"223.255.255.255", true, true},
        {"0.0.0.0", false, false},
        {"0.1.2.3", false, false},
        {"127.0.0.1", false, true},
        {"127.255.255.254", false, true},
        {"10.1.2.3", false, true},
        {"172.16.0.1", false, true},
        {"172.31.255.255", false, true},
        {"192.168.1.1", false, true},
        {"100.64.0.1", false, true},
        {"169.254.1.1", false, true},
        {"198.19.0.1", false, true},
        {"224.0.0.1", false, false},
        {"239.1.1.1", false, false},
        {"240.0.0.1", false, false},
        {"255.255.255.255", false, false},
        {"::", false, false},
        {"::1", false, true},
        {"::ffff:127.0.0.1", false, false},
        {"::ffff:8.8.8.8", false, false},
        {"::127.0.0.1", false, false},
        {"64:ff9b::7f00:1", false, true},
        {"64:ff9b::808:808", true, true},
        {"2002:7f00:1::1", false, true},
        {"2002:e000:1::1", false, false},
        {"fc00::1", false, true},
        {"fdff::1", false, true},
        {"fe80::1", false, true},
        {"febf::1", false, true},
        {"fec0::1", false, true},
        {"ff02::1", false, false},
        {"100::1", false, false},
    };

    (void)state;
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        uint8_t a[16];
        size_t n = ll_target_address(ll_slice_str(rows[i].text), a);

        assert_int_equal(n, strchr(rows[i].text, ':') ? 16 : 4);
        if (!ll_target_refused(a, n, false) != rows[i].open ||
            !ll_target_refused(a, n, true) != rows[i].private)
            fail_msg("%s", rows[i].text);
    }
}

static void address_texts(void **state)
{
    static const struct {
        const char *text;
        size_t n;
        const char *out;
    } rows[] = {
        {"192.0.2.1", 4, "192.0.2.1"},
        {"[192.0.2.1]", 4, "192.0.2.1"},
        {"[IPv6:2001:DB8::1]", 16, "2001:db8::1"},
        {"[ipv6:2001:db8:0::1]", 16, "2001:db8::1"},
        {"2001:db8::1", 16, "2001:db8::1"},
        {"mx.x", 0, NULL},
        {"", 0, NULL},
        {"[]", 0, NULL},
        {"[192.0.2.1", 0, NULL},
        {"192.0.2", 0, NULL},
        {"192.0.2.256", 0, NULL},
        {"1::2::3", 0, NULL},
    };

    (void)state;
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        uint8_t a[16];
        struct ll_buf out = LL_BUF(100);

        assert_int_equal(ll_target_address(ll_slice_str(rows[i].text), a), rows[i].n);
        if (rows[i].n) {
            ll_target_format(&out, a, rows[i].n);
            assert_string_equal(ll_buf_str(&out), rows[i].out);
        }
        ll_buf_release(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mx_table),
        cmocka_unit_test(mx_many),
        cmocka_unit_test(addresses),
        cmocka_unit_test(address_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
