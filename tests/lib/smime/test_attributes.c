/*
 * Signatures put together octet by octet, as no program here makes them: Ed25519 (RFC 8419), and
 * signed attributes that are missing, twice or wrong (RFC 5652 5.3, 11).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/lib/smime/pki.h"

#define TEXT "text to be signed\r\n"

static struct ll_arena arena;
static struct ll_smime *s;
static struct party ca, ann;

/* ---- DER --------------------------------------------------------------------------------------
 */

/* Wraps what `b` holds from `from` on into an element. */
static void wrap(struct ll_buf *b, size_t from, uint8_t tag)
{
    struct ll_buf rest = LL_BUF(1 << 16);

    ll_buf_put(&rest, b->p + from, b->n - from);
    b->n = from;
    ll_buf_u8(b, tag);
    if (rest.n >= 0x80)
        ll_buf_u8(b, rest.n >= 0x100 ? 0x82 : 0x81);
    if (rest.n >= 0x100)
        ll_buf_u8(b, (uint8_t)(rest.n >> 8));
    ll_buf_u8(b, (uint8_t)rest.n);
    ll_buf_put_slice(b, ll_buf_slice(&rest));
    ll_buf_release(&rest);
}

static void put_oid(struct ll_buf *b, int nid)
{
    unsigned char *der = NULL;
    int n = i2d_ASN1_OBJECT(OBJ_nid2obj(nid), &der);

    ll_buf_put(b, der, (size_t)n);
    OPENSSL_free(der);
}

static void put_algorithm(struct ll_buf *b, int nid)
{
    size_t from = b->n;

    put_oid(b, nid);
    wrap(b, from, 0x30);
}

/* ---- attributes
 * ----------------------------------------------------------------------------------- */

/* What a row puts in: a letter an attribute. c contentType id-data, C of another type, m
 * messageDigest of the text, M of another, t signingTime. */
static void put_attribute(struct ll_buf *b, char which)
{
    uint8_t hash[64];
    size_t from = b->n, set;

    put_oid(b, which == 'c' || which == 'C'   ? NID_pkcs9_contentType
               : which == 'm' || which == 'M' ? NID_pkcs9_messageDigest
                                              : NID_pkcs9_signingTime);
    set = b->n;
    if (which == 'c' || which == 'C') {
        put_oid(b, which == 'c' ? NID_pkcs7_data : NID_pkcs7_enveloped);
    } else if (which == 't') {
        ll_buf_puts(b, "\x17\x0d"
                       "260921141320Z");
    } else {
        assert_true(
            EVP_Digest(TEXT, sizeof(TEXT) - 1 - (which == 'M'), hash, NULL, EVP_sha512(), NULL));
        ll_buf_puts(b, "\x04\x40");
        ll_buf_put(b, hash, sizeof(hash));
    }
    wrap(b, set, 0x31);
    wrap(b, from, 0x30);
}

static int by_octets(const void *a, const void *b)
{
    return ll_slice_cmp(*(const struct ll_slice *)a, *(const struct ll_slice *)b);
}

/* The SET's content, in DER's order. */
static void put_attributes(struct ll_buf *b, const char *which)
{
    struct ll_buf each[8];
    struct ll_slice v[8];
    size_t n = strlen(which);

    for (size_t i = 0; i < n; i++) {
        each[i] = LL_BUF(1 << 12);
        put_attribute(&each[i], which[i]);
        v[i] = ll_buf_slice(&each[i]);
    }
    qsort(v, n, sizeof(*v), by_octets);
    for (size_t i = 0; i < n; i++)
        ll_buf_put_slice(b, v[i]);
    for (size_t i = 0; i < n; i++)
        ll_buf_release(&each[i]);
}

static void put_signature(struct ll_buf *b, struct ll_slice signed_octets)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    uint8_t sig[64];
    size_t n = sizeof(sig), from = b->n;

    assert_true(EVP_DigestSignInit(ctx, NULL, NULL, NULL, ann.key) > 0 &&
                EVP_DigestSign(ctx, sig, &n, signed_octets.p, signed_octets.n) > 0);
    ll_buf_put(b, sig, n);
    wrap(b, from, 0x04);
    EVP_MD_CTX_free(ctx);
}

/* ---- the object
 * ------------------------------------------------------------------------------------ */

static void put_signer(struct ll_buf *b, const char *which)
{
    struct ll_buf attributes = LL_BUF(1 << 14);
    unsigned char *der = NULL;
    size_t from = b->n, sid;
    int n;

    ll_buf_put(b, "\x02\x01\x01", 3);
    sid = b->n;
    n = i2d_X509_NAME(X509_get_issuer_name(ann.cert), &der);
    ll_buf_put(b, der, (size_t)n);
    OPENSSL_free(der);
    der = NULL;
    n = i2d_ASN1_INTEGER(X509_get_serialNumber(ann.cert), &der);
    ll_buf_put(b, der, (size_t)n);
    OPENSSL_free(der);
    wrap(b, sid, 0x30);
    put_algorithm(b, NID_sha512);
    if (which[0]) {
        put_attributes(&attributes, which);
        wrap(&attributes, 0, 0x31);
        ll_buf_put_slice(b, ll_buf_slice(&attributes));
        b->p[b->n - attributes.n] = 0xa0; /* [0] IMPLICIT; signed as the SET that it is */
    } else {
        ll_buf_puts(&attributes, TEXT);
    }
    put_algorithm(b, NID_ED25519);
    put_signature(b, ll_buf_slice(&attributes));
    wrap(b, from, 0x30);
    wrap(b, from, 0x31);
    ll_buf_release(&attributes);
}

/* SignedData, detached. type: what it says that it signs. */
static void put_signed(struct ll_buf *b, const char *which, int type)
{
    size_t at;

    put_oid(b, NID_pkcs7_signed);
    ll_buf_put(b, "\x02\x01\x01", 3);
    at = b->n;
    put_algorithm(b, NID_sha512);
    wrap(b, at, 0x31);
    at = b->n;
    put_oid(b, type);
    wrap(b, at, 0x30);
    at = b->n;
    pki_der(&ann, b);
    wrap(b, at, 0xa0);
    put_signer(b, which);
    /* SignedData, [0], ContentInfo: behind the OID's 11 octets */
    wrap(b, 11, 0x30);
    wrap(b, 11, 0xa0);
    wrap(b, 0, 0x30);
}

static const struct {
    const char *what, *attributes;
    int type;
    enum ll_signature_state want;
} rows[] = {
    {"all", "cmt", NID_pkcs7_data, LL_SIGNATURE_GOOD},
    {"without a time", "cm", NID_pkcs7_data, LL_SIGNATURE_GOOD},
    {"without attributes", "", NID_pkcs7_data, LL_SIGNATURE_GOOD},
    {"without attributes, but no plain text", "", NID_pkcs7_enveloped, LL_SIGNATURE_MALFORMED},
    {"no content type", "mt", NID_pkcs7_data, LL_SIGNATURE_MALFORMED},
    {"no digest", "ct", NID_pkcs7_data, LL_SIGNATURE_MALFORMED},
    {"content type twice", "ccm", NID_pkcs7_data, LL_SIGNATURE_MALFORMED},
    {"digest twice", "cmM", NID_pkcs7_data, LL_SIGNATURE_MALFORMED},
    {"same digest twice", "cmm", NID_pkcs7_data, LL_SIGNATURE_MALFORMED},
    {"another content type", "Cm", NID_pkcs7_data, LL_SIGNATURE_MALFORMED},
    {"both of the other type", "Cm", NID_pkcs7_enveloped, LL_SIGNATURE_GOOD},
    {"digest of another text", "cM", NID_pkcs7_data, LL_SIGNATURE_BAD},
};

static void attributes(void **state)
{
    (void)state;
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_buf der = LL_BUF(1 << 16);
        struct ll_opened o = {0};

        put_signed(&der, rows[i].attributes, rows[i].type);
        assert_int_equal(ll_smime_verify(s, LL_LIT(TEXT), ll_buf_slice(&der), NOW, &arena, &o),
                         LL_SEAL_OK);
        assert_int_equal(o.n_signature, 1);
        if (o.signature[0].state != rows[i].want)
            fail_msg("%s: %s", rows[i].what, ll_signature_state_word(o.signature[0].state));
        if (rows[i].want == LL_SIGNATURE_GOOD) {
            assert_true(ll_slice_eq(o.signature[0].algorithm, LL_LIT("ed25519, sha512")));
            assert_int_equal(o.signature[0].made, strchr(rows[i].attributes, 't') ? NOW : 0);
        }
        ll_buf_release(&der);
    }
}

/* Each octet of the signature and of what it covers matters. */
static void changed(void **state)
{
    struct ll_buf der = LL_BUF(1 << 16);
    struct ll_opened o;

    (void)state;
    for (int plain = 0; plain < 2; plain++) {
        ll_buf_clear(&der);
        put_signed(&der, plain ? "" : "cmt", NID_pkcs7_data);
        for (size_t at = der.n - 64; at < der.n; at += 3) {
            der.p[at] ^= 4;
            assert_int_equal(ll_smime_verify(s, LL_LIT(TEXT), ll_buf_slice(&der), NOW, &arena, &o),
                             LL_SEAL_OK);
            assert_int_equal(o.signature[0].state, LL_SIGNATURE_BAD);
            der.p[at] ^= 4;
        }
        assert_int_equal(
            ll_smime_verify(s, LL_LIT("another text"), ll_buf_slice(&der), NOW, &arena, &o),
            LL_SEAL_OK);
        assert_int_equal(o.signature[0].state, LL_SIGNATURE_BAD);
    }
    /* the time, which is signed and means nothing else */
    ll_buf_clear(&der);
    put_signed(&der, "cmt", NID_pkcs7_data);
    der.p[ll_slice_search(ll_buf_slice(&der), LL_LIT("260921141320Z"))] = '1';
    assert_int_equal(ll_smime_verify(s, LL_LIT(TEXT), ll_buf_slice(&der), NOW, &arena, &o),
                     LL_SEAL_OK);
    assert_int_equal(o.signature[0].state, LL_SIGNATURE_BAD);
    ll_buf_release(&der);
}

static int set_up(void **state)
{
    struct ll_buf der = LL_BUF(1 << 16);

    (void)state;
    ll_arena_init(&arena, 64 << 20);
    s = ll_smime_new();
    ca = pki_issue(NULL, &(struct wish){.name = "CA", .ca = true, .kind = "ED25519"});
    ann = pki_issue(&ca, &(struct wish){.name = "Ann",
                                        .address = "ann@a.test",
                                        .kind = "ED25519",
                                        .usage = "critical,digitalSignature"});
    pki_der(&ca, &der);
    assert_int_equal(ll_smime_add_anchor(s, ll_buf_slice(&der), NULL), LL_SEAL_OK);
    ll_buf_release(&der);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    pki_free(&ca);
    pki_free(&ann);
    ll_smime_free(s);
    ll_arena_release(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(attributes), cmocka_unit_test(changed)};

    return cmocka_run_group_tests_name("smime attributes", tests, set_up, tear_down);
}
