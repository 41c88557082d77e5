/* Each limit of letterlock/smime.h, at n and at n + 1. (Signers: test_smime.c.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "tests/lib/smime/pki.h"

static struct ll_arena arena;
static struct party ca, ann;

/* ---- shapes and limits ----------------------------------------------------------------------- */

static void put_nested(struct ll_buf *out, size_t depth)
{
    for (size_t i = 0; i < depth; i++)
        ll_buf_put(out, "\x30\x80", 2);
    for (size_t i = 0; i < depth; i++)
        ll_buf_put(out, "\0\0", 2);
}

static void shapes(void **state)
{
    static const struct {
        const char *der;
        size_t n;
        enum ll_seal_error want;
    } rows[] = {
#define ROW(der, want) {der, sizeof(der) - 1, want}
        ROW("", LL_SEAL_MALFORMED),
        ROW("\x30", LL_SEAL_MALFORMED),
        ROW("\x30\x80", LL_SEAL_MALFORMED),
        ROW("\x04\x80\0\0", LL_SEAL_MALFORMED), /* primitive without a length */
        ROW("\0\0", LL_SEAL_MALFORMED),
        ROW("\x30\x02\0\0", LL_SEAL_MALFORMED), /* an end that ends nothing */
        ROW("\x30\x89\x01\x01\x01\x01\x01\x01\x01\x01\x01", LL_SEAL_MALFORMED),
        ROW("\x30\x88\xff\xff\xff\xff\xff\xff\xff\xff", LL_SEAL_MALFORMED),
        ROW("\x30\x03\x04\x02\x01", LL_SEAL_MALFORMED),
        ROW("\x30\x02\x04\x03\x01\x01\x01", LL_SEAL_MALFORMED), /* longer than what it lies in */
        ROW("\x3f\x80\x80\x80\x80\x80\x01\x00", LL_SEAL_MALFORMED),
        ROW("\x30\x00\x00", LL_SEAL_MALFORMED), /* something behind it */
        ROW("\x30\x00", LL_SEAL_MALFORMED),
        /* id-data; compressed data (refused); digested data */
        ROW("\x30\x0f\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01\xa0\x02\x04\x00",
            LL_SEAL_UNSUPPORTED),
        ROW("\x30\x80\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x09\xa0\x80\x30\x80\x02\x01"
            "\x00\x30\x0d\x06\x0b"
            "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x03\x08\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d"
            "\x01\x07\x01"
            "\xa0\x80\x24\x80\x04\x02\x78\x9c\0\0\0\0\0\0\0\0\0\0\0\0",
            LL_SEAL_UNSUPPORTED),
    };
    struct ll_buf out = LL_BUF(1 << 20), der = LL_BUF(1 << 20);
    struct ll_smime *s = ll_smime_new();
    struct ll_opened o;

    (void)state;
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        enum ll_seal_error e =
            ll_smime_open(s, ll_slice(rows[i].der, rows[i].n), NOW, &out, &arena, &o);

        if (e != rows[i].want)
            fail_msg("row %zu: %s", i, ll_seal_error_text(e));
    }
    put_nested(&der, LL_SMIME_DEPTH_MAX + 1);
    assert_int_equal(ll_smime_open(s, ll_buf_slice(&der), NOW, &out, &arena, &o),
                     LL_SEAL_MALFORMED);
    /* one element too many */
    ll_buf_clear(&der);
    ll_buf_put(&der, "\x30\x80", 2);
    for (size_t i = 0; i + 1 < LL_SMIME_ELEMENTS_MAX; i++)
        ll_buf_put(&der, "\x05\0", 2);
    ll_buf_put(&der, "\0\0", 2);
    assert_int_equal(ll_smime_open(s, ll_buf_slice(&der), NOW, &out, &arena, &o),
                     LL_SEAL_TOO_LARGE);
    assert_int_equal(out.n, 0);
    ll_buf_release(&der);
    ll_smime_free(s);
    ll_buf_release(&out);
}

static void recipients(void **state)
{
    struct ll_smime *s = ll_smime_new();
    struct ll_slice to[LL_SMIME_RECIPIENTS_MAX + 1];
    struct ll_buf out = LL_BUF(8 << 20);

    (void)state;
    pki_enroll(s, &ann, true, &arena);
    for (size_t i = 0; i < LL_COUNT(to); i++)
        to[i] = ann.fingerprint;
    assert_int_equal(ll_smime_encrypt(s, to, LL_COUNT(to), LL_LIT("text"), NOW, LL_SMIME_CBC, &out),
                     LL_SEAL_TOO_LARGE);
    for (size_t n = LL_SMIME_RECIPIENTS_MAX; n <= LL_SMIME_RECIPIENTS_MAX + 1; n++) {
        CMS_ContentInfo *cms = CMS_encrypt(NULL, NULL, EVP_aes_128_cbc(), CMS_PARTIAL | CMS_BINARY);
        BIO *in = BIO_new_mem_buf("text", 4);
        struct ll_opened o;
        unsigned char *der = NULL;
        int len;

        for (size_t i = 0; i < n; i++)
            assert_non_null(CMS_add1_recipient_cert(cms, ann.cert, 0));
        assert_true(CMS_final(cms, in, NULL, CMS_BINARY));
        len = i2d_CMS_ContentInfo(cms, &der);
        ll_buf_clear(&out);
        assert_int_equal(ll_smime_open(s, ll_slice(der, (size_t)len), NOW, &out, &arena, &o),
                         n <= LL_SMIME_RECIPIENTS_MAX ? LL_SEAL_OK : LL_SEAL_TOO_LARGE);
        assert_int_equal(out.n, n <= LL_SMIME_RECIPIENTS_MAX ? 4 : 0);
        OPENSSL_free(der);
        BIO_free(in);
        CMS_ContentInfo_free(cms);
    }
    ll_buf_release(&out);
    ll_smime_free(s);
}

static void certificates_along(void **state)
{
    struct ll_smime *s = ll_smime_new();
    struct ll_buf der = LL_BUF(1 << 16);
    CMS_ContentInfo *cms;
    BIO *in = BIO_new_mem_buf("text", 4);

    (void)state;
    pki_der(&ca, &der);
    assert_int_equal(ll_smime_add_anchor(s, ll_buf_slice(&der), NULL), LL_SEAL_OK);
    cms = CMS_sign(ann.cert, ann.key, NULL, in, CMS_BINARY | CMS_DETACHED);
    for (size_t n = 2; n <= LL_SMIME_BAG_MAX + 1; n++) {
        struct party p = pki_issue(&ca, &(struct wish){.name = "One"});

        assert_true(CMS_add1_cert(cms, p.cert));
        pki_free(&p);
        if (n >= LL_SMIME_BAG_MAX) {
            enum ll_seal_error want = n == LL_SMIME_BAG_MAX ? LL_SEAL_OK : LL_SEAL_TOO_LARGE;
            unsigned char *raw = NULL;
            int len = i2d_CMS_ContentInfo(cms, &raw);
            struct ll_slice sig = ll_slice(raw, (size_t)len), *v;
            struct ll_opened o;
            size_t count;

            assert_int_equal(ll_smime_verify(s, LL_LIT("text"), sig, NOW, &arena, &o), want);
            assert_int_equal(ll_smime_bag(sig, &arena, &v, &count), want);
            assert_int_equal(ll_smime_add_cert(s, sig, NULL, NULL, NULL), want);
            OPENSSL_free(raw);
        }
    }
    BIO_free(in);
    CMS_ContentInfo_free(cms);
    ll_buf_release(&der);
    ll_smime_free(s);
}

static void lists(void **state)
{
    struct ll_smime *s = ll_smime_new();
    struct ll_buf der = LL_BUF(1 << 16);

    (void)state;
    for (size_t n = 1; n <= LL_SMIME_CRLS_MAX + 1; n++) {
        enum ll_seal_error want = n <= LL_SMIME_CRLS_MAX ? LL_SEAL_OK : LL_SEAL_TOO_LARGE;

        ll_buf_clear(&der);
        pki_crl(&ca, NULL, NOW + (int64_t)n, &der);
        assert_int_equal(ll_smime_add_crl(s, ll_buf_slice(&der)), want);
        /* the same again is no more */
        assert_int_equal(ll_smime_add_crl(s, ll_buf_slice(&der)), want);
        ll_buf_clear(&der);
        pki_ocsp(&ca, &ca, &ann, V_OCSP_CERTSTATUS_GOOD, NOW, NOW + (int64_t)n, &der);
        assert_int_equal(ll_smime_add_ocsp(s, ll_buf_slice(&der)), want);
    }
    ll_buf_release(&der);
    ll_smime_free(s);
}

static X509 *numbered(long serial, size_t comment)
{
    X509 *c = X509_dup(ann.cert);
    ASN1_OCTET_STRING *s = ASN1_OCTET_STRING_new();
    char *long_text = OPENSSL_zalloc(comment + 1);
    X509_EXTENSION *x;

    assert_true(ASN1_OCTET_STRING_set(s, (uint8_t *)long_text, (int)comment));
    x = X509_EXTENSION_create_by_NID(NULL, NID_netscape_comment, 0, s);
    assert_true(X509_add_ext(c, x, -1));
    ASN1_INTEGER_set(X509_get_serialNumber(c), serial);
    assert_true(X509_sign(c, ca.key, EVP_sha256()) > 0);
    X509_EXTENSION_free(x);
    ASN1_OCTET_STRING_free(s);
    OPENSSL_free(long_text);
    return c;
}

static enum ll_seal_error add(struct ll_smime *s, X509 *c)
{
    unsigned char *der = NULL;
    int n = i2d_X509(c, &der);
    enum ll_seal_error e = ll_smime_add_cert(s, ll_slice(der, (size_t)n), NULL, NULL, NULL);

    OPENSSL_free(der);
    return e;
}

static void certificates(void **state)
{
    struct ll_smime *s = ll_smime_new();

    (void)state;
    for (long n = 1; n <= LL_SMIME_CERTS_MAX + 1; n++) {
        X509 *c = numbered(n, 1);

        assert_int_equal(add(s, c), n <= LL_SMIME_CERTS_MAX ? LL_SEAL_OK : LL_SEAL_TOO_LARGE);
        X509_free(c);
    }
    ll_smime_free(s);
}

static void large_certificate(void **state)
{
    struct ll_smime *s = ll_smime_new();
    X509 *c = numbered(1, 1);
    size_t more, room = LL_SMIME_CERT_MAX - (size_t)i2d_X509(c, NULL);

    (void)state;
    X509_free(c);
    /* lengths grow with it, and signatures of ECDSA differ by some octets: find both sides of the
     * limit */
    for (more = room - 40; more <= room + 40; more += 8) {
        c = numbered((long)more, more);
        assert_int_equal(add(s, c),
                         i2d_X509(c, NULL) <= LL_SMIME_CERT_MAX ? LL_SEAL_OK : LL_SEAL_TOO_LARGE);
        X509_free(c);
    }
    ll_smime_free(s);
}

static void addresses(void **state)
{
    struct ll_smime *s = ll_smime_new();

    (void)state;
    for (size_t n = LL_SMIME_ADDRESSES_MAX; n <= LL_SMIME_ADDRESSES_MAX + 1; n++) {
        X509 *c = X509_dup(ann.cert);
        GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
        struct ll_buf der = LL_BUF(1 << 16);
        struct ll_smime_cert cert;
        struct ll_slice *v;
        size_t count;
        unsigned char *raw = NULL;
        int len;

        for (size_t i = 0; i < n; i++) {
            GENERAL_NAME *g = GENERAL_NAME_new();
            ASN1_IA5STRING *a = ASN1_IA5STRING_new();
            char text[32];

            snprintf(text, sizeof(text), "ann%zu@a.test", i);
            ASN1_STRING_set(a, text, -1);
            GENERAL_NAME_set0_value(g, GEN_EMAIL, a);
            sk_GENERAL_NAME_push(names, g);
        }
        assert_true(X509_add1_ext_i2d(c, NID_subject_alt_name, names, 0, X509V3_ADD_REPLACE));
        assert_true(X509_sign(c, ca.key, EVP_sha256()) > 0);
        len = i2d_X509(c, &raw);
        assert_int_equal(ll_smime_add_cert(s, ll_slice(raw, (size_t)len), &arena, &v, &count),
                         LL_SEAL_OK);
        assert_int_equal(ll_smime_cert(s, v[0], &arena, &cert), LL_SEAL_OK);
        assert_int_equal(cert.n_address, LL_SMIME_ADDRESSES_MAX);
        assert_true(ll_smime_speaks_for(s, v[0], LL_LIT("ann31@a.test")));
        assert_false(ll_smime_speaks_for(s, v[0], LL_LIT("ann32@a.test")));
        OPENSSL_free(raw);
        GENERAL_NAMES_free(names);
        X509_free(c);
        ll_buf_release(&der);
    }
    ll_smime_free(s);
}

/* A chain of as many certificates as may be, and of one more. */
static void long_chain(void **state)
{
    struct ll_smime *s = ll_smime_new();
    struct ll_buf der = LL_BUF(1 << 16);
    struct party by[LL_SMIME_CHAIN_MAX + 2];
    char name[16];

    (void)state;
    by[0] = pki_issue(NULL, &(struct wish){.name = "CA 0", .ca = true});
    pki_der(&by[0], &der);
    assert_int_equal(ll_smime_add_anchor(s, ll_buf_slice(&der), NULL), LL_SEAL_OK);
    for (size_t i = 1; i < LL_COUNT(by); i++) {
        struct party leaf =
            pki_issue(&by[i - 1], &(struct wish){.name = "Ann", .address = "ann@a.test"});

        snprintf(name, sizeof(name), "CA %zu", i);
        pki_enroll(s, &leaf, false, &arena);
        /* i issuers are above the leaf, the anchor among them */
        assert_int_equal(
            ll_smime_check(s, leaf.fingerprint, LL_SMIME_SIGN, LL_LIT(""), NOW, &arena, NULL),
            i <= LL_SMIME_CHAIN_MAX + 1 ? LL_SMIME_FAULT_OK : LL_SMIME_FAULT_UNTRUSTED);
        pki_free(&leaf);
        by[i] = pki_issue(&by[i - 1], &(struct wish){.name = name, .ca = true});
        pki_enroll(s, &by[i], false, &arena);
    }
    {
        struct party leaf = pki_issue(&by[LL_COUNT(by) - 1],
                                      &(struct wish){.name = "Ann", .address = "ann@a.test"});

        pki_enroll(s, &leaf, false, &arena);
        assert_int_equal(
            ll_smime_check(s, leaf.fingerprint, LL_SMIME_SIGN, LL_LIT(""), NOW, &arena, NULL),
            LL_SMIME_FAULT_UNTRUSTED);
        pki_free(&leaf);
    }
    for (size_t i = 0; i < LL_COUNT(by); i++)
        pki_free(&by[i]);
    ll_buf_release(&der);
    ll_smime_free(s);
}

static int set_up(void **state)
{
    (void)state;
    ll_arena_init(&arena, 64 << 20);
    ca = pki_issue(NULL, &(struct wish){.name = "CA", .ca = true});
    ann = pki_issue(&ca, &(struct wish){.name = "Ann", .address = "ann@a.test"});
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    pki_free(&ca);
    pki_free(&ann);
    ll_arena_release(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes),
        cmocka_unit_test(recipients),
        cmocka_unit_test(certificates_along),
        cmocka_unit_test(lists),
        cmocka_unit_test(certificates),
        cmocka_unit_test(large_certificate),
        cmocka_unit_test(addresses),
        cmocka_unit_test(long_chain),
    };

    return cmocka_run_group_tests_name("smime limits", tests, set_up, tear_down);
}
