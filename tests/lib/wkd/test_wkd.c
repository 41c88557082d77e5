#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "letterlock/wkd.h"

static struct ll_mailbox mailbox(const char *text)
{
    struct ll_mailbox m;

    assert_int_equal(ll_mailbox_parse(ll_slice_str(text), true, &m), LL_ADDR_OK);
    return m;
}

/* RFC 6189 5.1.6 has the alphabet; the rows are what bits must give. */
static void zbase32(void **state)
{
    static const struct {
        const char *in;
        size_t n;
        const char *out;
    } rows[] = {
        {"", 0, ""},
        {"\x00", 1, "yy"},
        {"\xff", 1, "9h"},
        {"\xf0\xbf\xc7", 3, "6n9hq"},
        {"\xd4\x7a\x04", 3, "4t7ye"},
        {"\xf5\x57\xbd\x0c", 4, "6im54dy"},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_buf b = LL_BUF(100);

        ll_zbase32(&b, ll_slice(rows[i].in, rows[i].n));
        assert_string_equal(ll_buf_str(&b), rows[i].out);
        ll_buf_release(&b);
    }
}

static void urls(void **state)
{
    static const struct {
        const char *address, *advanced, *direct; /* NULL: there is none */
    } rows[] = {
        {"Joe.Doe@Example.ORG",
         "https://openpgpkey.example.org/.well-known/openpgpkey/example.org/hu/"
         "iy9q119eutrkn8s1mk4r39qejnbu3n5q?l=Joe.Doe",
         "https://example.org/.well-known/openpgpkey/hu/"
         "iy9q119eutrkn8s1mk4r39qejnbu3n5q?l=Joe.Doe"},
        {"bob@x.test",
         "https://openpgpkey.x.test/.well-known/openpgpkey/x.test/hu/"
         "jycbiujnsxs47xrkethgtj69xuunurok?l=bob",
         "https://x.test/.well-known/openpgpkey/hu/jycbiujnsxs47xrkethgtj69xuunurok?l=bob"},
        {"\"b o/?b\"@x.test",
         "https://openpgpkey.x.test/.well-known/openpgpkey/x.test/hu/"
         "9ezwcxtxx5f7p7hhhxwjrhs3piiwy7ts?l=b%20o%2F%3Fb",
         NULL},
        {"bob@b\xc3\xbc"
         "cher.test",
         "https://openpgpkey.xn--bcher-kva.test/.well-known/openpgpkey/xn--bcher-kva.test/hu/"
         "jycbiujnsxs47xrkethgtj69xuunurok?l=bob",
         "https://xn--bcher-kva.test/.well-known/openpgpkey/hu/"
         "jycbiujnsxs47xrkethgtj69xuunurok?l=bob"},
        {"bob@[192.0.2.1]", NULL, NULL},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_mailbox m = mailbox(rows[i].address);
        struct ll_buf a = LL_BUF(LL_WKD_URL_ROOM), d = LL_BUF(LL_WKD_URL_ROOM);

        assert_int_equal(ll_wkd_url(LL_WKD_ADVANCED, &m, &a), rows[i].advanced != NULL);
        if (rows[i].advanced)
            assert_string_equal(ll_buf_str(&a), rows[i].advanced);
        if (rows[i].direct) {
            assert_true(ll_wkd_url(LL_WKD_DIRECT, &m, &d));
            assert_string_equal(ll_buf_str(&d), rows[i].direct);
        }
        ll_buf_release(&a);
        ll_buf_release(&d);
    }
}

static void dns_names(void **state)
{
    static const struct {
        const char *address;
        enum ll_dns_type type;
        bool lower;
        const char *name;
    } rows[] = {
        {"hugh@example.com", LL_DNS_OPENPGPKEY, false,
         "c93f1e400f26708f98cb19d936620da35eec8f72e57f9eec01c1afd6._openpgpkey.example.com"},
        {"hugh@example.com", LL_DNS_SMIMEA, false,
         "c93f1e400f26708f98cb19d936620da35eec8f72e57f9eec01c1afd6._smimecert.example.com"},
        {"chris@example.com", LL_DNS_SMIMEA, false,
         "5d7f15f2fce8ddb2dbef5c38be896c238ba7e0a432e396759030a853._smimecert.example.com"},
        {"Chris@Example.COM", LL_DNS_SMIMEA, true,
         "5d7f15f2fce8ddb2dbef5c38be896c238ba7e0a432e396759030a853._smimecert.example.com"},
        {"\"chris\"@example.com", LL_DNS_SMIMEA, false,
         "5d7f15f2fce8ddb2dbef5c38be896c238ba7e0a432e396759030a853._smimecert.example.com"},
        {"chris@example.com", LL_DNS_MX, false, NULL},
        {"chris@[192.0.2.1]", LL_DNS_SMIMEA, false, NULL},
    };
    struct ll_mailbox upper = mailbox("Chris@example.com");
    struct ll_dns_name name;

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_mailbox m = mailbox(rows[i].address);

        assert_int_equal(ll_wkd_dns_name(rows[i].type, &m, rows[i].lower, &name),
                         rows[i].name != NULL);
        if (rows[i].name)
            assert_string_equal(name.text, rows[i].name);
    }
    assert_true(ll_wkd_dns_name(LL_DNS_SMIMEA, &upper, false, &name));
    assert_string_not_equal(name.text, rows[2].name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zbase32),
        cmocka_unit_test(urls),
        cmocka_unit_test(dns_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
