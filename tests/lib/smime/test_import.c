/* Keys and certificates, in and out: each form, each password, what is broken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <openssl/pkcs12.h>
#include <openssl/provider.h>

#include "tests/lib/smime/pki.h"

static struct ll_arena arena;

static int set_up(void **state)
{
    (void)state;
    ll_arena_init(&arena, 64 << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ll_arena_release(&arena);
    return 0;
}

static struct ll_slice generate(struct ll_smime *s, enum ll_smime_kind kind)
{
    struct ll_slice f = {0};

    assert_int_equal(ll_smime_generate(s, LL_LIT("ann@a.test"), LL_LIT("Ann \xc3\x84"), kind, NOW,
                                       YEAR, &arena, &f),
                     LL_SEAL_OK);
    return f;
}

/* A made certificate is what it says, seals, opens and signs, and trusts nobody but who is pinned.
 */
static void generates(void **state)
{
    (void)state;
    for (int kind = LL_SMIME_RSA; kind <= LL_SMIME_P384; kind++) {
        struct ll_smime *s = ll_smime_new();
        struct ll_slice f = generate(s, (enum ll_smime_kind)kind);
        struct ll_buf der = LL_BUF(1 << 20), out = LL_BUF(1 << 20);
        struct ll_smime_cert c;
        struct ll_opened o;

        assert_int_equal(ll_smime_cert(s, f, &arena, &c), LL_SEAL_OK);
        assert_true(ll_slice_eq(c.subject, LL_LIT("CN=Ann \xc3\x84")));
        assert_true(ll_slice_eq(c.issuer, c.subject));
        assert_true(ll_slice_eq(c.name, LL_LIT("Ann \xc3\x84")));
        assert_int_equal(c.n_address, 1);
        assert_true(ll_slice_eq(c.address[0], LL_LIT("ann@a.test")));
        assert_int_equal(c.not_before, NOW - LL_SMIME_CLOCK_SKEW_S);
        assert_int_equal(c.not_after, NOW + YEAR);
        assert_true(c.secret && !c.locked && c.can_sign && c.can_encrypt && c.self_signed &&
                    !c.ca && !c.trusted);
        assert_true(ll_slice_starts(c.algorithm,
                                    kind == LL_SMIME_RSA ? LL_LIT("rsa 3072") : LL_LIT("ecdsa p")));
        assert_true(c.capabilities & LL_SMIME_CAN(AES256_GCM));
        assert_int_equal(c.serial.n, 32);
        assert_int_equal(
            ll_smime_check(s, f, LL_SMIME_SIGN, LL_LIT("ann@a.test"), NOW, &arena, NULL),
            LL_SMIME_FAULT_UNTRUSTED);
        assert_int_equal(ll_smime_pin(s, f), LL_SEAL_OK);
        assert_int_equal(
            ll_smime_check(s, f, LL_SMIME_SIGN, LL_LIT("ann@a.test"), NOW, &arena, NULL),
            LL_SMIME_FAULT_OK);
        assert_int_equal(ll_smime_encrypt(s, &f, 1, LL_LIT("text"), NOW, LL_SMIME_AUTO, &der),
                         LL_SEAL_OK);
        assert_int_equal(ll_smime_open(s, ll_buf_slice(&der), NOW, &out, &arena, &o), LL_SEAL_OK);
        assert_true(o.authenticated); /* it announces GCM */
        ll_buf_clear(&der);
        assert_int_equal(ll_smime_sign(s, f, LL_LIT("text"), NOW, true, &der), LL_SEAL_OK);
        assert_int_equal(ll_smime_verify(s, LL_LIT("text"), ll_buf_slice(&der), NOW, &arena, &o),
                         LL_SEAL_OK);
        assert_int_equal(o.signature[0].state, LL_SIGNATURE_GOOD);
        ll_buf_release(&der);
        ll_buf_release(&out);
        ll_smime_free(s);
    }
}

static void generates_for(void **state)
{
    static const struct {
        const char *address, *name, *subject;
        enum ll_seal_error want;
    } rows[] = {
        {"ann@a.test", "", "CN=ann@a.test", LL_SEAL_OK},
        {"\xc3\xa4nn@b\xc3\xbc.test", "", "CN=\xc3\xa4nn@xn--b-eha.test", LL_SEAL_OK},
        {"ann@a.test", "Ann, of the a.test", "CN=Ann\\, of the a.test", LL_SEAL_OK},
        {"ann", "", "", LL_SEAL_MALFORMED},
        {"", "", "", LL_SEAL_MALFORMED},
        {"ann@a.test\n", "", "", LL_SEAL_MALFORMED},
        {"ann@a.test", "line\nbreak", "", LL_SEAL_MALFORMED},
        {"ann@a.test", "\xff", "", LL_SEAL_MALFORMED},
        {"ann@a.test", "0123456789012345678901234567890123456789012345678901234567890123",
         "CN=0123456789012345678901234567890123456789012345678901234567890123", LL_SEAL_OK},
        {"ann@a.test", "01234567890123456789012345678901234567890123456789012345678901234", "",
         LL_SEAL_MALFORMED},
    };
    struct ll_smime *s = ll_smime_new();

    (void)state;
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_smime_cert c;
        struct ll_slice f;

        assert_int_equal(ll_smime_generate(s, ll_slice_str(rows[i].address),
                                           ll_slice_str(rows[i].name), LL_SMIME_P256, NOW, YEAR,
                                           &arena, &f),
                         rows[i].want);
        if (rows[i].want != LL_SEAL_OK)
            continue;
        assert_int_equal(ll_smime_cert(s, f, &arena, &c), LL_SEAL_OK);
        assert_true(ll_slice_eq(c.subject, ll_slice_str(rows[i].subject)));
        assert_true(ll_smime_speaks_for(s, f, ll_slice_str(rows[i].address)));
    }
    ll_smime_free(s);
}

/* Out in every form and in again elsewhere. */
static void there_and_back(void **state)
{
    static const enum ll_smime_form forms[] = {
        LL_SMIME_CERT_PEM, LL_SMIME_CERT_DER, LL_SMIME_CHAIN,        LL_SMIME_KEY_PEM,
        LL_SMIME_IDENTITY, LL_SMIME_PKCS12,   LL_SMIME_PKCS12_LEGACY};
    struct ll_smime *s = ll_smime_new();
    struct ll_slice f = generate(s, LL_SMIME_P256);

    (void)state;
    for (size_t i = 0; i < LL_COUNT(forms); i++)
        for (int locked = 0; locked < 2; locked++) {
            struct ll_slice password = locked ? LL_LIT("p\xc3\xa4ss w\xc3\xb6rd") : LL_LIT(""), *v,
                            g = {0};
            struct ll_buf out = LL_BUF(1 << 20), cert = LL_BUF(1 << 16);
            struct ll_smime *t = ll_smime_new();
            struct ll_smime_cert c;
            size_t n = 0;

            assert_int_equal(ll_smime_export(s, f, forms[i], password, &out), LL_SEAL_OK);
            if (forms[i] >= LL_SMIME_PKCS12) {
                if (locked)
                    assert_int_equal(
                        ll_smime_add_pkcs12(t, ll_buf_slice(&out), LL_LIT("wrong"), &arena, &v, &n),
                        LL_SEAL_PASSWORD);
                assert_int_equal(
                    ll_smime_add_pkcs12(t, ll_buf_slice(&out), password, &arena, &v, &n),
                    LL_SEAL_OK);
                g = v[0];
            } else if (forms[i] >= LL_SMIME_KEY_PEM) {
                if (forms[i] == LL_SMIME_KEY_PEM) {
                    assert_int_equal(ll_smime_add_key(t, ll_buf_slice(&out), password, &arena, &g),
                                     LL_SEAL_NO_KEY);
                    assert_int_equal(ll_smime_export(s, f, LL_SMIME_CERT_DER, LL_LIT(""), &cert),
                                     LL_SEAL_OK);
                    assert_int_equal(ll_smime_add_cert(t, ll_buf_slice(&cert), NULL, NULL, NULL),
                                     LL_SEAL_OK);
                }
                if (locked)
                    assert_int_equal(
                        ll_smime_add_key(t, ll_buf_slice(&out), LL_LIT("wrong"), &arena, &g),
                        LL_SEAL_PASSWORD);
                assert_int_equal(ll_smime_add_key(t, ll_buf_slice(&out), password, &arena, &g),
                                 LL_SEAL_OK);
            } else {
                assert_int_equal(ll_smime_add_cert(t, ll_buf_slice(&out), &arena, &v, &n),
                                 LL_SEAL_OK);
                assert_int_equal(n, 1);
                g = v[0];
            }
            assert_true(ll_slice_eq(f, g));
            assert_int_equal(ll_smime_cert(t, g, &arena, &c), LL_SEAL_OK);
            assert_int_equal(c.secret, forms[i] >= LL_SMIME_KEY_PEM);
            assert_false(c.locked);
            if (locked)
                assert_true(ll_slice_search(ll_buf_slice(&out), LL_LIT("BEGIN PRIVATE")) == out.n);
            ll_buf_release(&out);
            ll_buf_release(&cert);
            ll_smime_free(t);
        }
    ll_smime_free(s);
}

/* A letter to a locked key says so, and opens when the key is unlocked. */
static void locked(void **state)
{
    struct ll_smime *s = ll_smime_new(), *t = ll_smime_new();
    struct ll_slice f = generate(s, LL_SMIME_P256), g;
    struct ll_buf identity = LL_BUF(1 << 20), key = LL_BUF(1 << 20), der = LL_BUF(1 << 20),
                  out = LL_BUF(1 << 20);
    struct ll_smime_cert c;
    struct ll_opened o;

    (void)state;
    assert_int_equal(ll_smime_export(s, f, LL_SMIME_IDENTITY, LL_LIT("secret"), &identity),
                     LL_SEAL_OK);
    assert_int_equal(ll_smime_export(s, f, LL_SMIME_KEY_PEM, LL_LIT("secret"), &key), LL_SEAL_OK);
    assert_int_equal(ll_smime_encrypt(s, &f, 1, LL_LIT("text"), NOW, LL_SMIME_AUTO, &der),
                     LL_SEAL_OK);
    assert_int_equal(ll_smime_add_key(t, ll_buf_slice(&key), LL_LIT(""), &arena, &g),
                     LL_SEAL_LOCKED);
    assert_int_equal(ll_smime_add_key(t, ll_buf_slice(&identity), LL_LIT(""), &arena, &g),
                     LL_SEAL_OK);
    assert_true(ll_slice_eq(f, g));
    assert_int_equal(ll_smime_cert(t, g, &arena, &c), LL_SEAL_OK);
    assert_true(c.secret && c.locked);
    assert_int_equal(ll_smime_open(t, ll_buf_slice(&der), NOW, &out, &arena, &o), LL_SEAL_LOCKED);
    assert_int_equal(ll_smime_sign(t, f, LL_LIT("text"), NOW, true, &out), LL_SEAL_LOCKED);
    assert_int_equal(ll_smime_export(t, f, LL_SMIME_PKCS12, LL_LIT("x"), &out), LL_SEAL_LOCKED);
    assert_int_equal(ll_smime_request(t, f, &out), LL_SEAL_LOCKED);
    assert_int_equal(ll_smime_unlock(t, f, LL_LIT("wrong")), LL_SEAL_PASSWORD);
    assert_int_equal(ll_smime_unlock(t, LL_LIT("00"), LL_LIT("secret")), LL_SEAL_NO_KEY);
    assert_int_equal(ll_smime_open(t, ll_buf_slice(&der), NOW, &out, &arena, &o), LL_SEAL_LOCKED);
    assert_int_equal(ll_smime_unlock(t, f, LL_LIT("secret")), LL_SEAL_OK);
    assert_int_equal(ll_smime_open(t, ll_buf_slice(&der), NOW, &out, &arena, &o), LL_SEAL_OK);
    ll_buf_release(&identity);
    ll_buf_release(&key);
    ll_buf_release(&der);
    ll_buf_release(&out);
    ll_smime_free(s);
    ll_smime_free(t);
}

/* PKCS#12 as others make it: old ciphers, two keys, no MAC. */
static void foreign_pkcs12(void **state)
{
    static const struct {
        const char *what;
        int key, cert;
        int mac; /* rounds; -1: none */
    } rows[] = {
        {"3des", NID_pbe_WithSHA1And3_Key_TripleDES_CBC, NID_pbe_WithSHA1And3_Key_TripleDES_CBC, 1},
        {"rc2-40", NID_pbe_WithSHA1And3_Key_TripleDES_CBC, NID_pbe_WithSHA1And40BitRC2_CBC, 2048},
        {"rc2-128 key", NID_pbe_WithSHA1And128BitRC2_CBC, NID_pbe_WithSHA1And128BitRC2_CBC, 2048},
        {"certificates in clear", NID_aes_256_cbc, -1, 2048},
        {"all in clear", -1, -1, 2048},
        {"aes", NID_aes_128_cbc, NID_aes_256_cbc, 2048},
        {"no mac", NID_aes_256_cbc, NID_aes_256_cbc, -1},
    };
    OSSL_LIB_CTX *legacy = OSSL_LIB_CTX_new();
    OSSL_PROVIDER *old, *standard;
    struct party ca = pki_issue(NULL, &(struct wish){.name = "CA", .ca = true});
    struct party ann = pki_issue(&ca, &(struct wish){.name = "Ann", .address = "ann@a.test"});

    (void)state;
    old = OSSL_PROVIDER_load(legacy, "legacy");
    standard = OSSL_PROVIDER_load(legacy, "default");
    assert_true(old && standard);
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_smime *s = ll_smime_new();
        OSSL_LIB_CTX *before = OSSL_LIB_CTX_set0_default(legacy);
        STACK_OF(X509) *more = sk_X509_new_null();
        struct ll_slice *v, file;
        unsigned char *der = NULL;
        struct ll_smime_cert c;
        enum ll_seal_error e;
        PKCS12 *p;
        size_t n = 0;
        int len;

        sk_X509_push(more, ca.cert);
        p = PKCS12_create("pw", "n", ann.key, ann.cert, more, rows[i].key, rows[i].cert, 2048,
                          rows[i].mac, 0);
        OSSL_LIB_CTX_set0_default(before);
        assert_non_null(p);
        len = i2d_PKCS12(p, &der);
        file = ll_slice(der, (size_t)len);
        e = ll_smime_add_pkcs12(s, file, LL_LIT("no"), &arena, &v, &n);
        if (e != LL_SEAL_PASSWORD)
            fail_msg("%s, wrong password: %s", rows[i].what, ll_seal_error_text(e));
        e = ll_smime_add_pkcs12(s, file, LL_LIT("pw"), &arena, &v, &n);
        if (e != LL_SEAL_OK)
            fail_msg("%s: %s", rows[i].what, ll_seal_error_text(e));
        assert_int_equal(n, 1);
        assert_int_equal(ll_smime_cert(s, v[0], &arena, &c), LL_SEAL_OK);
        assert_true(c.secret);
        assert_true(ll_slice_eq(c.name, LL_LIT("Ann")));
        assert_int_equal(ll_smime_list(s, LL_LIT(""), &arena, &v, &n), LL_SEAL_OK);
        assert_int_equal(n, 2);
        PKCS12_free(p);
        OPENSSL_free(der);
        sk_X509_free(more);
        ll_smime_free(s);
    }
    /* RC2 is not left behind for anybody else. */
    assert_null(EVP_CIPHER_fetch(NULL, "RC2-40-CBC", NULL));
    pki_free(&ca);
    pki_free(&ann);
    OSSL_PROVIDER_unload(old);
    OSSL_PROVIDER_unload(standard);
    OSSL_LIB_CTX_free(legacy);
}

static void keys_of_others(void **state)
{
    static const struct {
        const char *kind;
        enum ll_seal_error want;
    } rows[] = {{"RSA512", LL_SEAL_WEAK},
                {"RSA2048", LL_SEAL_OK},
                {"RSA-PSS", LL_SEAL_OK},
                {"P-521", LL_SEAL_OK},
                {"secp256k1", LL_SEAL_UNSUPPORTED},
                {"ED25519", LL_SEAL_OK}};

    (void)state;
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct party p = pki_issue(
            NULL, &(struct wish){.name = "Ann", .address = "ann@a.test", .kind = rows[i].kind});
        struct ll_smime *s = ll_smime_new();
        struct ll_buf pem = LL_BUF(1 << 16), der = LL_BUF(1 << 16);
        unsigned char *raw = NULL;
        struct ll_slice f;
        struct ll_opened o;
        int n;

        pki_pem_key(&p, &pem);
        assert_int_equal(ll_smime_add_key(s, ll_buf_slice(&pem), LL_LIT(""), &arena, &f),
                         rows[i].want == LL_SEAL_OK ? LL_SEAL_NO_KEY : rows[i].want);
        pki_enroll(s, &p, false, &arena);
        n = i2d_PrivateKey(p.key, &raw); /* DER, the key's own form */
        assert_int_equal(ll_smime_add_key(s, ll_slice(raw, (size_t)n), LL_LIT(""), &arena, &f),
                         rows[i].want);
        OPENSSL_clear_free(raw, (size_t)n);
        if (rows[i].want == LL_SEAL_OK) {
            enum ll_seal_error e = ll_smime_sign(s, f, LL_LIT("text"), NOW, true, &der);

            /* libcrypto 3.0 cannot put Ed25519 into CMS */
            assert_int_equal(e,
                             strcmp(rows[i].kind, "ED25519") ? LL_SEAL_OK : LL_SEAL_UNUSABLE_KEY);
            if (e == LL_SEAL_OK) {
                assert_int_equal(ll_smime_pin(s, f), LL_SEAL_OK);
                assert_int_equal(
                    ll_smime_verify(s, LL_LIT("text"), ll_buf_slice(&der), NOW, &arena, &o),
                    LL_SEAL_OK);
                assert_int_equal(o.signature[0].state, LL_SIGNATURE_GOOD);
            }
        }
        ll_buf_release(&pem);
        ll_buf_release(&der);
        ll_smime_free(s);
        pki_free(&p);
    }
}

/* What is no key, no certificate, or asks for a day of work. */
static void broken(void **state)
{
    static const struct {
        const char *text;
        enum ll_seal_error cert, key, pkcs12;
    } rows[] = {
        {"", LL_SEAL_MALFORMED, LL_SEAL_MALFORMED, LL_SEAL_MALFORMED},
        {"hello", LL_SEAL_MALFORMED, LL_SEAL_MALFORMED, LL_SEAL_MALFORMED},
        {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", LL_SEAL_MALFORMED,
         LL_SEAL_MALFORMED, LL_SEAL_MALFORMED},
        {"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", LL_SEAL_MALFORMED,
         LL_SEAL_MALFORMED, LL_SEAL_MALFORMED},
        {"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
         LL_SEAL_MALFORMED, LL_SEAL_MALFORMED, LL_SEAL_MALFORMED},
        {"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: "
         "AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n",
         LL_SEAL_MALFORMED, LL_SEAL_MALFORMED, LL_SEAL_MALFORMED},
        {"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: "
         "AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\nAAAA\n-----END RSA PRIVATE KEY-----\n",
         LL_SEAL_MALFORMED, LL_SEAL_LOCKED, LL_SEAL_MALFORMED},
        /* a certificate that is encrypted: nobody is asked for its password */
        {"-----BEGIN CERTIFICATE-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: "
         "AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\nAAAA\n-----END CERTIFICATE-----\n",
         LL_SEAL_MALFORMED, LL_SEAL_MALFORMED, LL_SEAL_MALFORMED},
    };
    struct ll_buf large = LL_BUF(2 * (size_t)LL_SMIME_FILE_MAX);
    struct ll_smime *s = ll_smime_new();

    (void)state;
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_slice in = ll_slice_str(rows[i].text);

        assert_int_equal(ll_smime_add_cert(s, in, NULL, NULL, NULL), rows[i].cert);
        assert_int_equal(ll_smime_add_anchor(s, in, NULL), rows[i].cert);
        assert_int_equal(ll_smime_add_key(s, in, LL_LIT(""), NULL, NULL), rows[i].key);
        assert_int_equal(ll_smime_add_pkcs12(s, in, LL_LIT(""), NULL, NULL, NULL), rows[i].pkcs12);
    }
    while (large.n <= LL_SMIME_FILE_MAX)
        ll_buf_puts(&large, "-----BEGIN CERTIFICATE-----\n");
    assert_int_equal(ll_smime_add_cert(s, ll_buf_slice(&large), NULL, NULL, NULL),
                     LL_SEAL_TOO_LARGE);
    assert_int_equal(ll_smime_add_key(s, ll_buf_slice(&large), LL_LIT(""), NULL, NULL),
                     LL_SEAL_TOO_LARGE);
    assert_int_equal(ll_smime_add_pkcs12(s, ll_buf_slice(&large), LL_LIT(""), NULL, NULL, NULL),
                     LL_SEAL_TOO_LARGE);
    ll_buf_release(&large);
    ll_smime_free(s);
}

/* More rounds than anybody waits for, in PKCS#8 and PKCS#12 (both places). */
static void rounds(void **state)
{
    struct party p = pki_issue(NULL, &(struct wish){.name = "Ann", .address = "ann@a.test"});
    struct ll_smime *s = ll_smime_new();
    PKCS8_PRIV_KEY_INFO *plain = EVP_PKEY2PKCS8(p.key);
    X509_SIG *sealed = PKCS8_encrypt(-1, EVP_aes_256_cbc(), "pw", 2, NULL, 0, 0x1234, plain);
    unsigned char *der = NULL, *at;
    int n = i2d_X509_SIG(sealed, &der);
    PKCS12 *file;

    (void)state;
    pki_enroll(s, &p, false, &arena);
    assert_int_equal(ll_smime_add_key(s, ll_slice(der, (size_t)n), LL_LIT("pw"), NULL, NULL),
                     LL_SEAL_OK);
    at = memmem(der, (size_t)n, "\x02\x02\x12\x34", 4);
    assert_non_null(at);
    memcpy(at, "\x02\x02\xff\xff", 4); /* negative */
    assert_int_equal(ll_smime_add_key(s, ll_slice(der, (size_t)n), LL_LIT("pw"), NULL, NULL),
                     LL_SEAL_TOO_LARGE);
    OPENSSL_free(der);
    X509_SIG_free(sealed);
    PKCS8_PRIV_KEY_INFO_free(plain);
    file = PKCS12_create("pw", "n", p.key, p.cert, NULL, 0, 0, 2048, 2048, 0);
    der = NULL;
    n = i2d_PKCS12(file, &der);
    at = memmem(der + n - 4, 4, "\x02\x02\x08\x00", 4); /* the MAC's come last */
    assert_non_null(at);
    memcpy(at, "\x02\x02\x80\x00", 4);
    assert_int_equal(
        ll_smime_add_pkcs12(s, ll_slice(der, (size_t)n), LL_LIT("pw"), NULL, NULL, NULL),
        LL_SEAL_TOO_LARGE);
    OPENSSL_free(der);
    PKCS12_free(file);
    pki_free(&p);
    ll_smime_free(s);
}

/* A key of long ago opens what was sealed to it, signs and seals nothing. */
static void old_key(void **state)
{
    struct party p =
        pki_issue(NULL, &(struct wish){.name = "Ann", .address = "ann@a.test", .kind = "RSA1024"});
    struct ll_smime *s = ll_smime_new();
    struct ll_buf out = LL_BUF(1 << 16);
    STACK_OF(X509) *to = sk_X509_new_null();
    BIO *in = BIO_new_mem_buf("text", 4);
    CMS_ContentInfo *cms;
    unsigned char *der = NULL;
    struct ll_opened o;
    int n;

    (void)state;
    pki_enroll(s, &p, true, &arena);
    assert_int_equal(ll_smime_sign(s, p.fingerprint, LL_LIT("text"), NOW, true, &out),
                     LL_SEAL_WEAK);
    assert_int_equal(
        ll_smime_encrypt(s, &p.fingerprint, 1, LL_LIT("text"), NOW, LL_SMIME_AUTO, &out),
        LL_SEAL_WEAK);
    sk_X509_push(to, p.cert);
    cms = CMS_encrypt(to, in, EVP_aes_128_cbc(), CMS_BINARY);
    n = i2d_CMS_ContentInfo(cms, &der);
    assert_int_equal(ll_smime_open(s, ll_slice(der, (size_t)n), NOW, &out, &arena, &o), LL_SEAL_OK);
    assert_true(o.weak);
    OPENSSL_free(der);
    CMS_ContentInfo_free(cms);
    BIO_free(in);
    sk_X509_free(to);
    ll_buf_release(&out);
    ll_smime_free(s);
    pki_free(&p);
}

static void request(void **state)
{
    struct ll_smime *s = ll_smime_new();
    struct ll_slice f = generate(s, LL_SMIME_P384);
    struct ll_buf pem = LL_BUF(1 << 16);
    STACK_OF(X509_EXTENSION) * v;
    BIO *in;
    X509_REQ *q;

    (void)state;
    assert_int_equal(ll_smime_request(s, f, &pem), LL_SEAL_OK);
    in = BIO_new_mem_buf(pem.p, (int)pem.n);
    q = PEM_read_bio_X509_REQ(in, NULL, NULL, NULL);
    assert_non_null(q);
    assert_int_equal(X509_REQ_verify(q, X509_REQ_get0_pubkey(q)), 1);
    v = X509_REQ_get_extensions(q);
    assert_int_equal(sk_X509_EXTENSION_num(v), 3);
    sk_X509_EXTENSION_pop_free(v, X509_EXTENSION_free);
    X509_REQ_free(q);
    BIO_free(in);
    assert_int_equal(ll_smime_request(s, LL_LIT("00"), &pem), LL_SEAL_NO_KEY);
    ll_buf_release(&pem);
    ll_smime_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(generates),      cmocka_unit_test(generates_for),
        cmocka_unit_test(there_and_back), cmocka_unit_test(locked),
        cmocka_unit_test(foreign_pkcs12), cmocka_unit_test(keys_of_others),
        cmocka_unit_test(broken),         cmocka_unit_test(rounds),
        cmocka_unit_test(request),        cmocka_unit_test(old_key),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
