/* Is a certificate good: one row for each way in which it is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "tests/lib/smime/pki.h"

static struct ll_arena arena;

#define SUB_WISH                                                                                   \
    {                                                                                              \
        .name = "Sub CA", .ca = true                                                               \
    }

struct row {
    const char *what;
    struct wish leaf, sub, root; /* sub.name NULL: the root issues the leaf */
    enum ll_smime_purpose purpose;
    const char *address; /* NULL: not asked */
    enum ll_smime_fault want;
};

#define ROOT                                                                                       \
    {                                                                                              \
        .name = "Root", .ca = true                                                                 \
    }
#define ANN .name = "Ann", .address = "ann@a.test"

static const struct row rows[] = {
    {"signs", {ANN}, {0}, ROOT, LL_SMIME_SIGN, "ann@a.test", LL_SMIME_FAULT_OK},
    {"opens", {ANN}, {0}, ROOT, LL_SMIME_ENCRYPT, "ann@a.test", LL_SMIME_FAULT_OK},
    {"through an intermediate", {ANN}, SUB_WISH, ROOT, LL_SMIME_SIGN, NULL, LL_SMIME_FAULT_OK},
    {"rsa", {ANN, .kind = "RSA2048"}, {0}, ROOT, LL_SMIME_ENCRYPT, NULL, LL_SMIME_FAULT_OK},
    {"ed25519", {ANN, .kind = "ED25519"}, {0}, ROOT, LL_SMIME_SIGN, NULL, LL_SMIME_FAULT_OK},
    {"a signing key that seals",
     {ANN, .kind = "ED25519"},
     {0},
     ROOT,
     LL_SMIME_ENCRYPT,
     NULL,
     LL_SMIME_FAULT_UNSUPPORTED},
    {"pss only, sealing",
     {ANN, .kind = "RSA-PSS"},
     {0},
     ROOT,
     LL_SMIME_ENCRYPT,
     NULL,
     LL_SMIME_FAULT_UNSUPPORTED},
    {"unusual curve",
     {ANN, .kind = "secp256k1"},
     {0},
     ROOT,
     LL_SMIME_SIGN,
     NULL,
     LL_SMIME_FAULT_UNSUPPORTED},
    /* time, to the second */
    {"last second", {ANN, .to = NOW + 1}, {0}, ROOT, LL_SMIME_SIGN, NULL, LL_SMIME_FAULT_OK},
    {"expired", {ANN, .to = NOW - 1}, {0}, ROOT, LL_SMIME_SIGN, NULL, LL_SMIME_FAULT_EXPIRED},
    {"not yet", {ANN, .from = NOW + 60}, {0}, ROOT, LL_SMIME_SIGN, NULL, LL_SMIME_FAULT_NOT_YET},
    {"issuer expired",
     {ANN},
     {.name = "Sub", .ca = true, .to = NOW - 1},
     ROOT,
     LL_SMIME_SIGN,
     NULL,
     LL_SMIME_FAULT_EXPIRED},
    {"root expired",
     {ANN},
     {0},
     {.name = "Root", .ca = true, .to = NOW - 1},
     LL_SMIME_SIGN,
     NULL,
     LL_SMIME_FAULT_EXPIRED},
    /* purpose */
    {"for servers",
     {ANN, .extended = "serverAuth"},
     {0},
     ROOT,
     LL_SMIME_SIGN,
     NULL,
     LL_SMIME_FAULT_PURPOSE},
    {"any use",
     {ANN, .extended = "anyExtendedKeyUsage"},
     {0},
     ROOT,
     LL_SMIME_SIGN,
     NULL,
     LL_SMIME_FAULT_OK},
    {"no extended use", {ANN, .extended = ""}, {0}, ROOT, LL_SMIME_SIGN, NULL, LL_SMIME_FAULT_OK},
    {"only sealing, signs",
     {ANN, .usage = "critical,keyEncipherment,keyAgreement"},
     {0},
     ROOT,
     LL_SMIME_SIGN,
     NULL,
     LL_SMIME_FAULT_PURPOSE},
    {"only signing, seals",
     {ANN, .usage = "critical,digitalSignature"},
     {0},
     ROOT,
     LL_SMIME_ENCRYPT,
     NULL,
     LL_SMIME_FAULT_PURPOSE},
    {"non-repudiation signs",
     {ANN, .usage = "critical,nonRepudiation"},
     {0},
     ROOT,
     LL_SMIME_SIGN,
     NULL,
     LL_SMIME_FAULT_OK},
    {"ec without agreement",
     {ANN, .usage = "critical,keyEncipherment"},
     {0},
     ROOT,
     LL_SMIME_ENCRYPT,
     NULL,
     LL_SMIME_FAULT_PURPOSE},
    {"ec with agreement alone",
     {ANN, .usage = "critical,keyAgreement"},
     {0},
     ROOT,
     LL_SMIME_ENCRYPT,
     NULL,
     LL_SMIME_FAULT_OK},
    {"rsa without encipherment",
     {ANN, .kind = "RSA2048", .usage = "critical,keyAgreement"},
     {0},
     ROOT,
     LL_SMIME_ENCRYPT,
     NULL,
     LL_SMIME_FAULT_PURPOSE},
    {"issuer for servers alone",
     {ANN},
     {.name = "Sub", .ca = true, .extended = "serverAuth"},
     ROOT,
     LL_SMIME_SIGN,
     NULL,
     LL_SMIME_FAULT_PURPOSE},
    {"issuer for mail",
     {ANN},
     {.name = "Sub", .ca = true, .extended = "emailProtection"},
     ROOT,
     LL_SMIME_SIGN,
     NULL,
     LL_SMIME_FAULT_OK},
    /* who may issue */
    {"issued by a person",
     {ANN},
     {.name = "Eve", .address = "eve@a.test"},
     ROOT,
     LL_SMIME_SIGN,
     NULL,
     LL_SMIME_FAULT_UNTRUSTED},
    {"issuer must not sign certificates",
     {ANN},
     {.name = "Sub", .ca = true, .usage = "critical,cRLSign"},
     ROOT,
     LL_SMIME_SIGN,
     NULL,
     LL_SMIME_FAULT_UNTRUSTED},
    {"path too long",
     {ANN},
     SUB_WISH,
     {.name = "Root", .ca = true, .path = 1},
     LL_SMIME_SIGN,
     NULL,
     LL_SMIME_FAULT_INVALID},
    {"name constraint",
     {ANN},
     {.name = "Sub", .ca = true, .more = "nameConstraints=critical,permitted;email:b.test"},
     ROOT,
     LL_SMIME_SIGN,
     NULL,
     LL_SMIME_FAULT_INVALID},
    {"name constraint, of the old place",
     {.name = "Ann", .dn_address = "ann@a.test"},
     {.name = "Sub", .ca = true, .more = "nameConstraints=critical,permitted;email:b.test"},
     ROOT,
     LL_SMIME_SIGN,
     NULL,
     LL_SMIME_FAULT_INVALID},
    {"name constraint kept",
     {ANN},
     {.name = "Sub", .ca = true, .more = "nameConstraints=critical,permitted;email:a.test"},
     ROOT,
     LL_SMIME_SIGN,
     NULL,
     LL_SMIME_FAULT_OK},
    {"unknown critical extension",
     {ANN, .more = "1.2.3.4=critical,DER:0500"},
     {0},
     ROOT,
     LL_SMIME_SIGN,
     NULL,
     LL_SMIME_FAULT_INVALID},
    /* strength */
    {"short key", {ANN, .kind = "RSA1024"}, {0}, ROOT, LL_SMIME_SIGN, NULL, LL_SMIME_FAULT_WEAK},
    {"issuer's short key",
     {ANN},
     {.name = "Sub", .ca = true, .kind = "RSA1024"},
     ROOT,
     LL_SMIME_SIGN,
     NULL,
     LL_SMIME_FAULT_WEAK},
    {"issuer signed with SHA-1",
     {ANN, .md = "SHA1"},
     {0},
     ROOT,
     LL_SMIME_SIGN,
     NULL,
     LL_SMIME_FAULT_WEAK},
    {"issuer signed with MD5",
     {ANN},
     {.name = "Sub", .ca = true, .md = "MD5"},
     {.name = "Root", .ca = true, .kind = "RSA2048"},
     LL_SMIME_SIGN,
     NULL,
     LL_SMIME_FAULT_WEAK},
    {"the root's own signature is not asked",
     {ANN},
     {0},
     {.name = "Root", .ca = true, .md = "SHA1"},
     LL_SMIME_SIGN,
     NULL,
     LL_SMIME_FAULT_OK},
    /* address */
    {"another local part", {ANN}, {0}, ROOT, LL_SMIME_SIGN, "bob@a.test", LL_SMIME_FAULT_ADDRESS},
    {"another domain", {ANN}, {0}, ROOT, LL_SMIME_SIGN, "ann@b.test", LL_SMIME_FAULT_ADDRESS},
    {"subdomain", {ANN}, {0}, ROOT, LL_SMIME_SIGN, "ann@x.a.test", LL_SMIME_FAULT_ADDRESS},
    {"case", {ANN}, {0}, ROOT, LL_SMIME_SIGN, "Ann@A.Test", LL_SMIME_FAULT_OK},
    {"old place",
     {.name = "Ann", .dn_address = "ann@a.test"},
     {0},
     ROOT,
     LL_SMIME_SIGN,
     "ann@a.test",
     LL_SMIME_FAULT_OK},
    {"no address at all",
     {.name = "Ann"},
     {0},
     ROOT,
     LL_SMIME_SIGN,
     "ann@a.test",
     LL_SMIME_FAULT_ADDRESS},
    {"common name is no address",
     {.name = "ann@a.test"},
     {0},
     ROOT,
     LL_SMIME_SIGN,
     "ann@a.test",
     LL_SMIME_FAULT_ADDRESS},
    {"utf-8",
     {.name = "Ann", .utf8_address = "\xc3\xa4nn@a.test"},
     {0},
     ROOT,
     LL_SMIME_SIGN,
     "\xc3\xa4nn@a.test",
     LL_SMIME_FAULT_OK},
    {"utf-8 with U-label",
     {.name = "Ann", .utf8_address = "\xc3\xa4nn@b\xc3\xbc.test"},
     {0},
     ROOT,
     LL_SMIME_SIGN,
     "\xc3\xa4nn@xn--b-eha.test",
     LL_SMIME_FAULT_OK},
    {"ascii in the utf-8 name",
     {.name = "Ann", .utf8_address = "ann@a.test"},
     {0},
     ROOT,
     LL_SMIME_SIGN,
     "ann@a.test",
     LL_SMIME_FAULT_ADDRESS},
    {"address is malformed", {ANN}, {0}, ROOT, LL_SMIME_SIGN, "ann", LL_SMIME_FAULT_ADDRESS},
};

/* Makes the chain of a row: root trusted, sub and leaf here. */
static struct ll_smime *world(const struct row *r, struct party p[3])
{
    struct ll_smime *s = ll_smime_new();
    struct ll_buf der = LL_BUF(1 << 16);

    p[2] = pki_issue(NULL, &r->root);
    pki_der(&p[2], &der);
    assert_int_equal(ll_smime_add_anchor(s, ll_buf_slice(&der), NULL), LL_SEAL_OK);
    p[1] = (struct party){0};
    if (r->sub.name) {
        p[1] = pki_issue(&p[2], &r->sub);
        pki_enroll(s, &p[1], false, &arena);
    }
    p[0] = pki_issue(r->sub.name ? &p[1] : &p[2], &r->leaf);
    pki_enroll(s, &p[0], false, &arena);
    ll_buf_release(&der);
    return s;
}

static void release(struct ll_smime *s, struct party p[3])
{
    ll_smime_free(s);
    for (int i = 0; i < 3; i++)
        pki_free(&p[i]);
}

static enum ll_smime_fault check(struct ll_smime *s, const struct party *p)
{
    return ll_smime_check(s, p->fingerprint, LL_SMIME_SIGN, LL_LIT(""), NOW, &arena, NULL);
}

static void table(void **state)
{
    (void)state;
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct party p[3];
        struct ll_smime *s = world(&rows[i], p);
        struct ll_slice said;
        enum ll_smime_fault f = ll_smime_check(s, p[0].fingerprint, rows[i].purpose,
                                               ll_slice_str(rows[i].address), NOW, &arena, &said);

        if (f != rows[i].want)
            fail_msg("%s: %s (%.*s)", rows[i].what, ll_smime_fault_text(f), LL_FMT(said));
        release(s, p);
    }
}

/* Nobody is trusted whom nobody named; who is pinned stands for itself alone. */
static void trust(void **state)
{
    static const struct row mail = {
        "", {ANN}, SUB_WISH, ROOT, LL_SMIME_SIGN, NULL, LL_SMIME_FAULT_OK};
    struct party p[3], alone, under;
    struct ll_smime *s = world(&mail, p), *empty = ll_smime_new();
    struct ll_buf der = LL_BUF(1 << 16);

    (void)state;
    for (int i = 0; i < 3; i++)
        pki_enroll(empty, &p[i], false, &arena);
    assert_int_equal(check(empty, &p[0]), LL_SMIME_FAULT_UNTRUSTED);
    /* an intermediate CA as anchor */
    pki_der(&p[1], &der);
    assert_int_equal(ll_smime_add_anchor(empty, ll_buf_slice(&der), NULL), LL_SEAL_OK);
    assert_int_equal(check(empty, &p[0]), LL_SMIME_FAULT_OK);
    /* self-signed */
    alone = pki_issue(NULL, &(struct wish){.name = "Zoe",
                                           .address = "zoe@z.test",
                                           .ca = true,
                                           .usage = "digitalSignature,keyCertSign"});
    under = pki_issue(&alone, &(struct wish){.name = "Eve", .address = "ann@a.test"});
    pki_enroll(s, &alone, false, &arena);
    pki_enroll(s, &under, false, &arena);
    assert_int_equal(check(s, &alone), LL_SMIME_FAULT_UNTRUSTED);
    assert_int_equal(ll_smime_pin(s, alone.fingerprint), LL_SEAL_OK);
    assert_int_equal(check(s, &alone), LL_SMIME_FAULT_OK);
    assert_int_equal(check(s, &under), LL_SMIME_FAULT_UNTRUSTED);
    assert_int_equal(ll_smime_check(s, alone.fingerprint, LL_SMIME_SIGN, LL_LIT("zoe@z.test"),
                                    NOW + 2 * YEAR, &arena, NULL),
                     LL_SMIME_FAULT_EXPIRED);
    assert_int_equal(ll_smime_pin(s, LL_LIT("00")), LL_SEAL_NO_KEY);
    /* as an anchor, one that is no CA is the same as pinned */
    ll_buf_clear(&der);
    pki_der(&under, &der);
    assert_int_equal(ll_smime_add_anchor(s, ll_buf_slice(&der), NULL), LL_SEAL_OK);
    assert_int_equal(check(s, &under), LL_SMIME_FAULT_OK);
    assert_int_equal(ll_smime_check(s, LL_LIT("00"), LL_SMIME_SIGN, LL_LIT(""), NOW, &arena, NULL),
                     LL_SMIME_FAULT_UNKNOWN);
    pki_free(&alone);
    pki_free(&under);
    ll_buf_release(&der);
    ll_smime_free(empty);
    release(s, p);
}

/* ---- revocation ------------------------------------------------------------------------------ */

static const struct row chain = {"", {ANN}, SUB_WISH, ROOT, LL_SMIME_SIGN, NULL, LL_SMIME_FAULT_OK};

static void crls(void **state)
{
    struct party p[3], other, twin;
    struct ll_smime *s = world(&chain, p);
    struct ll_buf der = LL_BUF(1 << 16);

    (void)state;
    assert_int_equal(check(s, &p[0]), LL_SMIME_FAULT_OK);
    ll_smime_set_revocation(s, LL_SMIME_HARD);
    assert_int_equal(check(s, &p[0]), LL_SMIME_FAULT_REVOCATION);
    pki_crl(&p[2], NULL, NOW + DAY, &der); /* the root's, about the intermediate */
    assert_int_equal(ll_smime_add_crl(s, ll_buf_slice(&der)), LL_SEAL_OK);
    assert_int_equal(check(s, &p[0]), LL_SMIME_FAULT_REVOCATION);
    /* by somebody of the issuer's name: as if it were not there */
    twin = pki_issue(NULL, &(struct wish)SUB_WISH);
    ll_buf_clear(&der);
    pki_crl(&twin, &p[0], NOW + DAY, &der);
    assert_int_equal(ll_smime_add_crl(s, ll_buf_slice(&der)), LL_SEAL_OK);
    assert_int_equal(check(s, &p[0]), LL_SMIME_FAULT_REVOCATION);
    /* the intermediate's, old */
    ll_buf_clear(&der);
    pki_crl(&p[1], NULL, NOW - 1, &der);
    assert_int_equal(ll_smime_add_crl(s, ll_buf_slice(&der)), LL_SEAL_OK);
    assert_int_equal(check(s, &p[0]), LL_SMIME_FAULT_REVOCATION);
    ll_smime_set_revocation(s, LL_SMIME_SOFT);
    assert_int_equal(check(s, &p[0]), LL_SMIME_FAULT_OK);
    ll_smime_set_revocation(s, LL_SMIME_HARD);
    /* the intermediate's, about another */
    other = pki_issue(&p[1], &(struct wish){.name = "Bob", .address = "bob@a.test"});
    pki_enroll(s, &other, false, &arena);
    ll_buf_clear(&der);
    pki_crl(&p[1], &other, NOW + DAY, &der);
    assert_int_equal(ll_smime_add_crl(s, ll_buf_slice(&der)), LL_SEAL_OK);
    assert_int_equal(check(s, &p[0]), LL_SMIME_FAULT_OK);
    assert_int_equal(check(s, &other), LL_SMIME_FAULT_REVOKED);
    ll_smime_set_revocation(s, LL_SMIME_SOFT);
    assert_int_equal(check(s, &other), LL_SMIME_FAULT_REVOKED);
    ll_smime_set_revocation(s, LL_SMIME_OFF);
    assert_int_equal(check(s, &other), LL_SMIME_FAULT_OK);
    assert_int_equal(ll_smime_add_crl(s, LL_LIT("no list")), LL_SEAL_MALFORMED);
    pki_free(&other);
    pki_free(&twin);
    ll_buf_release(&der);
    release(s, p);
}

static void issuer_revoked(void **state)
{
    struct party p[3];
    struct ll_smime *s = world(&chain, p);
    struct ll_buf der = LL_BUF(1 << 16);
    struct ll_slice said = {0};

    (void)state;
    pki_crl(&p[2], &p[1], NOW + DAY, &der);
    assert_int_equal(ll_smime_add_crl(s, ll_buf_slice(&der)), LL_SEAL_OK);
    assert_int_equal(
        ll_smime_check(s, p[0].fingerprint, LL_SMIME_SIGN, LL_LIT(""), NOW, &arena, &said),
        LL_SMIME_FAULT_REVOKED);
    assert_true(ll_slice_search(said, LL_LIT("CN=Sub CA")) < said.n);
    ll_buf_release(&der);
    release(s, p);
}

static void ocsp(void **state)
{
    enum { ISSUER, DELEGATE, STRANGER, UNNAMED };
    static const struct {
        const char *what;
        int signer, status;
        int64_t from, to;
        enum ll_smime_fault soft, hard;
    } answers[] = {
        {"good", ISSUER, V_OCSP_CERTSTATUS_GOOD, NOW - 60, NOW + DAY, LL_SMIME_FAULT_OK,
         LL_SMIME_FAULT_OK},
        {"revoked", ISSUER, V_OCSP_CERTSTATUS_REVOKED, NOW - 60, NOW + DAY, LL_SMIME_FAULT_REVOKED,
         LL_SMIME_FAULT_REVOKED},
        {"unknown", ISSUER, V_OCSP_CERTSTATUS_UNKNOWN, NOW - 60, NOW + DAY, LL_SMIME_FAULT_OK,
         LL_SMIME_FAULT_REVOCATION},
        {"old", ISSUER, V_OCSP_CERTSTATUS_GOOD, NOW - DAY, NOW - 1, LL_SMIME_FAULT_OK,
         LL_SMIME_FAULT_REVOCATION},
        {"old and revoked", ISSUER, V_OCSP_CERTSTATUS_REVOKED, NOW - DAY, NOW - 1,
         LL_SMIME_FAULT_OK, LL_SMIME_FAULT_REVOCATION},
        {"a little ahead", ISSUER, V_OCSP_CERTSTATUS_GOOD, NOW + LL_SMIME_CLOCK_SKEW_S, NOW + DAY,
         LL_SMIME_FAULT_OK, LL_SMIME_FAULT_OK},
        {"of the future", ISSUER, V_OCSP_CERTSTATUS_GOOD, NOW + LL_SMIME_CLOCK_SKEW_S + 1,
         NOW + DAY, LL_SMIME_FAULT_OK, LL_SMIME_FAULT_REVOCATION},
        {"without an end", ISSUER, V_OCSP_CERTSTATUS_GOOD, NOW - 60, 0, LL_SMIME_FAULT_OK,
         LL_SMIME_FAULT_REVOCATION},
        {"delegate", DELEGATE, V_OCSP_CERTSTATUS_REVOKED, NOW - 60, NOW + DAY,
         LL_SMIME_FAULT_REVOKED, LL_SMIME_FAULT_REVOKED},
        {"delegate, good", DELEGATE, V_OCSP_CERTSTATUS_GOOD, NOW - 60, NOW + DAY, LL_SMIME_FAULT_OK,
         LL_SMIME_FAULT_OK},
        {"another CA's delegate", STRANGER, V_OCSP_CERTSTATUS_GOOD, NOW - 60, NOW + DAY,
         LL_SMIME_FAULT_OK, LL_SMIME_FAULT_REVOCATION},
        {"issued, but not for this", UNNAMED, V_OCSP_CERTSTATUS_REVOKED, NOW - 60, NOW + DAY,
         LL_SMIME_FAULT_OK, LL_SMIME_FAULT_REVOCATION},
    };
    static const struct row one = {"", {ANN}, {0}, ROOT, LL_SMIME_SIGN, NULL, LL_SMIME_FAULT_OK};
    struct party foreign = pki_issue(NULL, &(struct wish){.name = "Root", .ca = true});
    struct party stranger =
        pki_issue(&foreign, &(struct wish){.name = "OCSP", .extended = "OCSPSigning"});

    (void)state;
    for (size_t i = 0; i < LL_COUNT(answers); i++) {
        struct party p[3], delegate, unnamed;
        struct ll_smime *s = world(&one, p);
        struct ll_buf der = LL_BUF(1 << 16);

        delegate = pki_issue(&p[2], &(struct wish){.name = "OCSP", .extended = "OCSPSigning"});
        unnamed = pki_issue(&p[2], &(struct wish){.name = "OCSP", .extended = "emailProtection"});
        pki_ocsp(&p[2],
                 (const struct party *[]){&p[2], &delegate, &stranger, &unnamed}[answers[i].signer],
                 &p[0], answers[i].status, answers[i].from, answers[i].to, &der);
        assert_int_equal(ll_smime_add_ocsp(s, ll_buf_slice(&der)), LL_SEAL_OK);
        for (int hard = 0; hard < 2; hard++) {
            enum ll_smime_fault f;

            ll_smime_set_revocation(s, hard ? LL_SMIME_HARD : LL_SMIME_SOFT);
            f = check(s, &p[0]);
            if (f != (hard ? answers[i].hard : answers[i].soft))
                fail_msg("%s, %s: %s", answers[i].what, hard ? "hard" : "soft",
                         ll_smime_fault_text(f));
        }
        der.p[der.n - 1] ^= 1; /* the last octet lies in the signature or its certificate */
        ll_buf_release(&der);
        pki_free(&delegate);
        pki_free(&unnamed);
        release(s, p);
    }
    pki_free(&stranger);
    pki_free(&foreign);
}

static void urls_and_request(void **state)
{
    static const struct row r = {
        "",
        {ANN, .more = "authorityInfoAccess=OCSP;URI:http://ocsp.test/,OCSP;URI:ldap://"
                      "no,caIssuers;URI:http://ca.test/ca.crt"},
        {0},
        ROOT,
        LL_SMIME_SIGN,
        NULL,
        LL_SMIME_FAULT_OK};
    struct party p[3];
    struct ll_smime *s = world(&r, p);
    struct ll_buf out = LL_BUF(1 << 16);
    struct ll_smime_cert c;
    OCSP_REQUEST *q;
    const uint8_t *at;

    (void)state;
    assert_int_equal(ll_smime_cert(s, p[0].fingerprint, &arena, &c), LL_SEAL_OK);
    assert_int_equal(c.n_ocsp_url, 1);
    assert_true(ll_slice_eq(c.ocsp_url[0], LL_LIT("http://ocsp.test/")));
    assert_int_equal(c.n_issuer_url, 1);
    assert_int_equal(c.n_crl_url, 0);
    assert_int_equal(ll_smime_ocsp_request(s, p[0].fingerprint, &out), LL_SEAL_OK);
    at = out.p;
    q = d2i_OCSP_REQUEST(NULL, &at, (long)out.n);
    assert_non_null(q);
    assert_int_equal(OCSP_request_onereq_count(q), 1);
    OCSP_REQUEST_free(q);
    assert_int_equal(ll_smime_ocsp_request(s, LL_LIT("00"), &out), LL_SEAL_NO_KEY);
    assert_int_equal(ll_smime_add_ocsp(s, LL_LIT("0\x03\x0a\x01\x06")), LL_SEAL_MALFORMED);
    ll_buf_release(&out);
    release(s, p);
}

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table), cmocka_unit_test(trust),
        cmocka_unit_test(crls),  cmocka_unit_test(issuer_revoked),
        cmocka_unit_test(ocsp),  cmocka_unit_test(urls_and_request),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
