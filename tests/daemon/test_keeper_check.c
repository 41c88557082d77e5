/* What the keeper signs: texts of TLS handshakes, whole and well-formed, and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "daemon/keeper/check.h"

static struct ll_buf text = {.max = 1 << 16};

static void put(int c, size_t n)
{
    while (n--)
        ll_buf_putc(&text, (uint8_t)c);
}

static void tls13(const char *context, int spaces, int nul, size_t hash)
{
    ll_buf_clear(&text);
    put(' ', (size_t)spaces);
    ll_buf_puts(&text, context);
    put(nul, 1);
    put(0xab, hash);
}

#define SERVER "TLS 1.3, server CertificateVerify"
#define CLIENT "TLS 1.3, client CertificateVerify"

static void tls13_texts(void **state)
{
    static const struct {
        const char *context;
        int spaces, nul;
        size_t hash;
        enum ll_sign_text server, client;
    } rows[] = {
        {SERVER, 64, 0, 32, LL_SIGN_TLS13_SERVER, LL_SIGN_NONE},
        {SERVER, 64, 0, 48, LL_SIGN_TLS13_SERVER, LL_SIGN_NONE},
        {CLIENT, 64, 0, 32, LL_SIGN_NONE, LL_SIGN_TLS13_CLIENT},
        {CLIENT, 64, 0, 48, LL_SIGN_NONE, LL_SIGN_TLS13_CLIENT},
        {SERVER, 64, 0, 31, 0, 0},
        {SERVER, 64, 0, 33, 0, 0},
        {SERVER, 64, 0, 47, 0, 0},
        {SERVER, 64, 0, 49, 0, 0},
        {SERVER, 64, 0, 64, 0, 0},
        {SERVER, 64, 0, 0, 0, 0},
        {SERVER, 63, 0, 32, 0, 0},
        {SERVER, 65, 0, 32, 0, 0},
        {SERVER, 0, 0, 32, 0, 0},
        {SERVER, 64, 1, 32, 0, 0},
        {"TLS 1.3, server certificateVerify", 64, 0, 32, 0, 0},
        {"TLS 1.3, exporter master secret..", 64, 0, 32, 0, 0},
        {"", 64, 0, 32, 0, 0},
        {"TLS 1.3, server CertificateVerif", 64, 0, 32, 0, 0},
    };
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        tls13(rows[i].context, rows[i].spaces, rows[i].nul, rows[i].hash);
        if (ll_sign_text(ll_buf_slice(&text), true) != rows[i].server ||
            ll_sign_text(ll_buf_slice(&text), false) != rows[i].client)
            fail_msg("row %zu", i);
    }
}

static void key_exchanges(void **state)
{
    static const struct {
        size_t randoms;
        int curve_type, group, length;
        size_t point;
        int first, more;
        bool good;
    } rows[] = {
        {64, 3, 0x1d, 32, 32, 9, 0, true},    {64, 3, 0x1e, 56, 56, 9, 0, true},
        {64, 3, 0x17, 65, 65, 4, 0, true},    {64, 3, 0x18, 97, 97, 4, 0, true},
        {63, 3, 0x1d, 32, 32, 9, 0, false},   {65, 3, 0x1d, 32, 32, 9, 0, false},
        {64, 1, 0x1d, 32, 32, 9, 0, false},   {64, 2, 0x1d, 32, 32, 9, 0, false},
        {64, 3, 0x1d, 31, 31, 9, 0, false},   {64, 3, 0x1d, 33, 33, 9, 0, false},
        {64, 3, 0x1d, 32, 31, 9, 0, false},   {64, 3, 0x1d, 32, 32, 9, 1, false},
        {64, 3, 0x1d, 0, 0, 9, 0, false},     {64, 3, 0x17, 65, 65, 2, 0, false},
        {64, 3, 0x17, 33, 33, 2, 0, false},   {64, 3, 0x17, 64, 64, 4, 0, false},
        {64, 3, 0x18, 65, 65, 4, 0, false},   {64, 3, 0x19, 133, 133, 4, 0, false},
        {64, 3, 0xff01, 32, 32, 9, 0, false},
    };
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        ll_buf_clear(&text);
        put(0x5a, rows[i].randoms);
        ll_buf_u8(&text, (uint8_t)rows[i].curve_type);
        ll_buf_u16(&text, (uint16_t)rows[i].group);
        ll_buf_u8(&text, (uint8_t)rows[i].length);
        if (rows[i].point)
            put(rows[i].first, 1);
        put(7, rows[i].point ? rows[i].point - 1 : 0);
        put(0, (size_t)rows[i].more);
        enum ll_sign_text want = rows[i].good ? LL_SIGN_TLS12_KEY_EXCHANGE : LL_SIGN_NONE;
        if (ll_sign_text(ll_buf_slice(&text), true) != want)
            fail_msg("row %zu", i);
        assert_int_equal(ll_sign_text(ll_buf_slice(&text), false), LL_SIGN_NONE);
    }
}

static void message(int type, size_t n)
{
    ll_buf_u8(&text, (uint8_t)type);
    ll_buf_u8(&text, 0);
    ll_buf_u16(&text, (uint16_t)n);
    put(3, n);
}

static void client_transcripts(void **state)
{
    static const struct {
        int types[8]; /* 0 ends */
        size_t hello;
        bool good;
    } rows[] = {
        {{1, 2, 11, 12, 13, 14, 11, 16}, 60, true},
        {{1, 2, 16}, 38, true},
        {{1, 2, 16}, 37, false},
        {{1, 2, 11, 14}, 60, false},
        {{2, 1, 16}, 60, false},
        {{1, 16}, 60, false},
        {{1, 2, 16, 15}, 60, false},
        {{16}, 60, false},
        {{1}, 60, false},
        {{0}, 60, false},
    };
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        ll_buf_clear(&text);
        for (size_t j = 0; j < 8 && rows[i].types[j]; j++)
            message(rows[i].types[j], rows[i].hello);
        struct ll_slice s = ll_buf_slice(&text);
        if (ll_sign_text(s, false) != (rows[i].good ? LL_SIGN_TLS12_CLIENT : LL_SIGN_NONE))
            fail_msg("row %zu", i);
        assert_int_equal(ll_sign_text(s, true), LL_SIGN_NONE);
        if (s.n == 0)
            continue;
        assert_int_equal(ll_sign_text(ll_slice_cut(s, 0, s.n - 1), false), LL_SIGN_NONE);
        put(0, 1);
        assert_int_equal(ll_sign_text(ll_buf_slice(&text), false), LL_SIGN_NONE);
    }
}

static void other_texts(void **state)
{
    static const size_t lengths[] = {0, 1, 20, 32, 48, 64, 100, 130, 256, 4096};
    static const int fills[] = {0, ' ', 3, 'a', 0xff};
    for (size_t i = 0; i < LL_COUNT(lengths); i++) {
        for (size_t j = 0; j < LL_COUNT(fills); j++) {
            ll_buf_clear(&text);
            put(fills[j], lengths[i]);
            assert_int_equal(ll_sign_text(ll_buf_slice(&text), true), LL_SIGN_NONE);
            assert_int_equal(ll_sign_text(ll_buf_slice(&text), false), LL_SIGN_NONE);
        }
    }
}

static void schemes(void **state)
{
    static const struct {
        uint16_t scheme;
        const char *tls12, *tls13; /* 2: P-256, 3: P-384, r: RSA */
    } rows[] = {
        {0x0403, "23", "2"}, {0x0503, "23", "3"}, {0x0603, "23", ""}, {0x0804, "r", "r"},
        {0x0805, "r", "r"},  {0x0806, "r", "r"},  {0x0401, "r", ""},  {0x0501, "r", ""},
        {0x0601, "r", ""},   {0x0201, "", ""},    {0x0203, "", ""},   {0x0101, "", ""},
        {0x0807, "", ""},    {0x0809, "", ""},    {0, "", ""},        {0xffff, "", ""},
    };
    static const char letters[] = "23r";
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        for (enum ll_key_type k = LL_KEY_P256; k <= LL_KEY_RSA; k++) {
            bool in12 = strchr(rows[i].tls12, letters[k]), in13 = strchr(rows[i].tls13, letters[k]);
            uint16_t s = rows[i].scheme;
            if (ll_sign_scheme_ok(k, LL_SIGN_TLS12_KEY_EXCHANGE, s) != in12 ||
                ll_sign_scheme_ok(k, LL_SIGN_TLS12_CLIENT, s) != in12 ||
                ll_sign_scheme_ok(k, LL_SIGN_TLS13_SERVER, s) != in13 ||
                ll_sign_scheme_ok(k, LL_SIGN_TLS13_CLIENT, s) != in13)
                fail_msg("scheme %04x, key %c", s, letters[k]);
            assert_false(ll_sign_scheme_ok(k, LL_SIGN_NONE, s));
        }
    }
}

static int end(void **state)
{
    ll_buf_release(&text);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tls13_texts),
        cmocka_unit_test(key_exchanges),
        cmocka_unit_test(client_transcripts),
        cmocka_unit_test(other_texts),
        cmocka_unit_test(schemes),
    };
    return cmocka_run_group_tests(tests, NULL, end);
}
