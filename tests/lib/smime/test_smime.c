/* S/MIME: letters signed and sealed with each kind of key and read again, changed, by others' eyes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "tests/lib/smime/pki.h"

static const char *const kinds[] = {"RSA2048", "P-256", "P-384"};

static struct ll_arena arena;
static struct ll_smime *s;
static struct party ca, me[3], other;
static char text[3000];

static int set_up(void **state)
{
    struct ll_buf der = LL_BUF(1 << 16);

    (void)state;
    ll_arena_init(&arena, 64 << 20);
    s = ll_smime_new();
    assert_non_null(s);
    ca = pki_issue(NULL, &(struct wish){.name = "Test CA", .ca = true});
    pki_der(&ca, &der);
    assert_int_equal(ll_smime_add_anchor(s, ll_buf_slice(&der), NULL), LL_SEAL_OK);
    for (size_t i = 0; i < LL_COUNT(kinds); i++) {
        me[i] = pki_issue(&ca,
                          &(struct wish){.name = "Ann", .address = "ann@a.test", .kind = kinds[i]});
        pki_enroll(s, &me[i], true, &arena);
    }
    other = pki_issue(&ca, &(struct wish){.name = "Bob", .address = "bob@b.test"});
    pki_enroll(s, &other, false, &arena);
    for (size_t i = 0; i + 1 < sizeof(text); i++)
        text[i] = (char)(i % 64 == 63 ? '\n' : i % 64 == 62 ? '\r' : 'a' + (int)(i % 26));
    text[sizeof(text) - 1] = '\0';
    ll_buf_release(&der);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    pki_free(&ca);
    pki_free(&other);
    for (size_t i = 0; i < LL_COUNT(me); i++)
        pki_free(&me[i]);
    ll_smime_free(s);
    ll_arena_release(&arena);
    return 0;
}

/* ---- signatures ------------------------------------------------------------------------------ */

static void assert_signed(const struct ll_opened *o, const struct party *by)
{
    assert_int_equal(o->n_signature, 1);
    assert_string_equal(ll_signature_state_word(o->signature[0].state), "good");
    assert_true(ll_slice_eq(o->signature[0].fingerprint, by->fingerprint));
    assert_int_equal(o->signature[0].made, NOW);
    assert_int_equal(o->signature[0].n_address, 1);
    assert_true(ll_slice_eq(o->signature[0].address[0], LL_LIT("ann@a.test")));
    assert_true(ll_slice_eq(o->signature[0].name, LL_LIT("Ann")));
    assert_true(o->signature[0].cert.n > 0);
}

static void signs(void **state)
{
    (void)state;
    for (size_t i = 0; i < LL_COUNT(kinds); i++)
        for (int detached = 0; detached < 2; detached++) {
            struct ll_buf der = LL_BUF(1 << 20), out = LL_BUF(1 << 20);
            struct ll_opened o = {0};

            assert_int_equal(
                ll_smime_sign(s, me[i].fingerprint, ll_slice_str(text), NOW, detached, &der),
                LL_SEAL_OK);
            if (detached) {
                assert_int_equal(
                    ll_smime_verify(s, ll_slice_str(text), ll_buf_slice(&der), NOW, &arena, &o),
                    LL_SEAL_OK);
                /* no text inside: nothing to open */
                assert_int_equal(ll_smime_open(s, ll_buf_slice(&der), NOW, &out, &arena, &o),
                                 LL_SEAL_MALFORMED);
                assert_int_equal(
                    ll_smime_verify(s, ll_slice_str(text), ll_buf_slice(&der), NOW, &arena, &o),
                    LL_SEAL_OK);
            } else {
                assert_int_equal(ll_smime_open(s, ll_buf_slice(&der), NOW, &out, &arena, &o),
                                 LL_SEAL_OK);
                assert_true(ll_slice_eq(ll_buf_slice(&out), ll_slice_str(text)));
                assert_false(o.encrypted);
            }
            assert_signed(&o, &me[i]);
            ll_buf_release(&der);
            ll_buf_release(&out);
        }
}

static void seals(void **state)
{
    (void)state;
    for (size_t i = 0; i < LL_COUNT(kinds); i++)
        for (int content = LL_SMIME_AUTO; content <= LL_SMIME_GCM; content++) {
            struct ll_slice to[] = {me[i].fingerprint, other.fingerprint};
            struct ll_buf der = LL_BUF(1 << 20), out = LL_BUF(1 << 20);
            struct ll_opened o;

            assert_int_equal(ll_smime_encrypt(s, to, 2, ll_slice_str(text), NOW,
                                              (enum ll_smime_content)content, &der),
                             LL_SEAL_OK);
            assert_int_equal(ll_smime_open(s, ll_buf_slice(&der), NOW, &out, &arena, &o),
                             LL_SEAL_OK);
            assert_true(ll_slice_eq(ll_buf_slice(&out), ll_slice_str(text)));
            assert_true(o.encrypted);
            assert_int_equal(o.authenticated, content == LL_SMIME_GCM);
            assert_int_equal(o.n_recipient, 2);
            assert_int_equal(o.n_signature, 0);
            ll_buf_release(&der);
            ll_buf_release(&out);
        }
}

/* ---- changed on the way ---------------------------------------------------------------------- */

#define EACH 64 /* octets from one that is changed to the next */

/* GCM: nothing comes out. CBC: what may come out is never called authenticated or signed. */
static void changed_seal(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < 2; kind++)
        for (int gcm = 0; gcm < 2; gcm++) {
            struct ll_buf der = LL_BUF(1 << 20);
            size_t content;

            assert_int_equal(ll_smime_encrypt(s, &me[kind].fingerprint, 1, ll_slice_str(text), NOW,
                                              gcm ? LL_SMIME_GCM : LL_SMIME_CBC, &der),
                             LL_SEAL_OK);
            /* behind the algorithm and its parameters there are octets alone, and the mac's head */
            content = ll_slice_search(ll_buf_slice(&der),
                                      LL_LIT("\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01")) +
                      60;
            for (size_t at = 0; at < der.n; at += at + 32 < der.n && at + 64 > der.n ? 1 : EACH) {
                struct ll_buf out = LL_BUF(1 << 20);
                struct ll_opened o;
                enum ll_seal_error e;

                ll_buf_puts(&out, "before");
                der.p[at] ^= 0x55;
                e = ll_smime_open(s, ll_buf_slice(&der), NOW, &out, &arena, &o);
                der.p[at] ^= 0x55;
                if (gcm || e != LL_SEAL_OK) {
                    assert_int_not_equal(e, LL_SEAL_OK);
                    assert_true(ll_slice_eq(ll_buf_slice(&out), LL_LIT("before")));
                }
                /* one error for all that is wrong with the content or its key */
                if (at > content && e != LL_SEAL_OK)
                    assert_int_equal(e, LL_SEAL_INTEGRITY);
                assert_false(o.authenticated);
                assert_int_equal(o.n_signature, 0);
                ll_buf_release(&out);
            }
            ll_buf_release(&der);
        }
}

static void changed_signature(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < 2; kind++) {
        struct ll_buf der = LL_BUF(1 << 20);
        char other_text[sizeof(text)];
        struct ll_opened o;

        assert_int_equal(
            ll_smime_sign(s, me[kind].fingerprint, ll_slice_str(text), NOW, true, &der),
            LL_SEAL_OK);
        for (size_t at = 0; at < sizeof(text) - 1; at += EACH) {
            memcpy(other_text, text, sizeof(text));
            other_text[at] ^= 1;
            assert_int_equal(
                ll_smime_verify(s, ll_slice_str(other_text), ll_buf_slice(&der), NOW, &arena, &o),
                LL_SEAL_OK);
            assert_int_equal(o.signature[0].state, LL_SIGNATURE_BAD);
        }
        /* an octet more, an octet less, none */
        for (size_t n = 0; n < sizeof(text) - 1; n += sizeof(text) - 2) {
            assert_int_equal(
                ll_smime_verify(s, ll_slice(text, n), ll_buf_slice(&der), NOW, &arena, &o),
                LL_SEAL_OK);
            assert_int_equal(o.signature[0].state, LL_SIGNATURE_BAD);
        }
        /* the signature itself, at every place: good only where what was changed is a certificate's
         * name that is not needed; here there is no such place */
        for (size_t at = 0; at < der.n; at += 7) {
            der.p[at] ^= 0x10;
            if (ll_smime_verify(s, ll_slice_str(text), ll_buf_slice(&der), NOW, &arena, &o) ==
                LL_SEAL_OK)
                for (size_t i = 0; i < o.n_signature; i++)
                    if (o.signature[i].state == LL_SIGNATURE_GOOD)
                        assert_true(ll_slice_eq(o.signature[i].fingerprint, me[kind].fingerprint));
            der.p[at] ^= 0x10;
        }
        ll_buf_release(&der);
    }
}

/* Cut anywhere, never opened. */
static void cut(void **state)
{
    struct ll_buf der = LL_BUF(1 << 20), out = LL_BUF(1 << 20);
    struct ll_opened o;

    (void)state;
    assert_int_equal(
        ll_smime_encrypt(s, &me[1].fingerprint, 1, ll_slice_str(text), NOW, LL_SMIME_GCM, &der),
        LL_SEAL_OK);
    for (size_t n = 0; n < der.n; n += n < 200 ? 1 : 37)
        assert_int_equal(ll_smime_open(s, ll_slice(der.p, n), NOW, &out, &arena, &o),
                         LL_SEAL_MALFORMED);
    assert_int_equal(out.n, 0);
    ll_buf_release(&der);
    ll_buf_release(&out);
}

/* An AES-GCM tag of few octets can be guessed; libcrypto takes one of a single octet.
 * From 12 on, the first octets of the tag are one too (RFC 5084 3.2). */
static void short_tags(void **state)
{
    struct ll_buf der = LL_BUF(1 << 20);

    (void)state;
    assert_int_equal(
        ll_smime_encrypt(s, &me[1].fingerprint, 1, LL_LIT("short"), NOW, LL_SMIME_GCM, &der),
        LL_SEAL_OK);
    /* all lengths are of one or two octets here; the mac is last: OCTET STRING of 16 */
    assert_int_equal(der.p[der.n - 18], 0x04);
    assert_int_equal(der.p[der.n - 17], 16);
    for (uint8_t n = 0; n <= 16; n++) {
        struct ll_buf less = LL_BUF(1 << 20), out = LL_BUF(1 << 20);
        struct ll_opened o;
        enum ll_seal_error e;

        /* the enclosing lengths: three long forms of two octets at the front */
        ll_buf_put(&less, der.p, der.n - 16 + n);
        less.p[der.n - 17] = n;
        for (size_t i = 0, seen = 0; seen < 3 && i + 3 < less.n; i++)
            if ((less.p[i] == 0x30 || less.p[i] == 0xa0) && less.p[i + 1] == 0x82) {
                unsigned size = (unsigned)(less.p[i + 2] << 8 | less.p[i + 3]) - (16u - n);

                less.p[i + 2] = (uint8_t)(size >> 8);
                less.p[i + 3] = (uint8_t)size;
                seen++;
                i += 3;
            }
        e = ll_smime_open(s, ll_buf_slice(&less), NOW, &out, &arena, &o);
        assert_int_equal(e, n >= 12 ? LL_SEAL_OK : LL_SEAL_INTEGRITY);
        assert_int_equal(out.n, n >= 12 ? 5 : 0);
        ll_buf_release(&less);
        ll_buf_release(&out);
    }
    ll_buf_release(&der);
}

/* ---- who opens ------------------------------------------------------------------------------- */

static void recipients(void **state)
{
    struct ll_buf der = LL_BUF(1 << 20), out = LL_BUF(1 << 20);
    struct ll_opened o;
    struct ll_slice to[2] = {other.fingerprint, LL_LIT("00")};

    (void)state;
    assert_int_equal(ll_smime_encrypt(s, to, 1, ll_slice_str(text), NOW, LL_SMIME_AUTO, &der),
                     LL_SEAL_OK);
    assert_int_equal(ll_smime_open(s, ll_buf_slice(&der), NOW, &out, &arena, &o), LL_SEAL_NO_KEY);
    assert_true(o.encrypted);
    assert_int_equal(o.n_recipient, 1);
    assert_true(ll_slice_starts(o.recipient[0], LL_LIT("CN=Test CA, serial ")));
    ll_buf_clear(&der);
    assert_int_equal(ll_smime_encrypt(s, to, 2, ll_slice_str(text), NOW, LL_SMIME_AUTO, &der),
                     LL_SEAL_NO_KEY);
    assert_int_equal(ll_smime_encrypt(s, to, 0, ll_slice_str(text), NOW, LL_SMIME_AUTO, &der),
                     LL_SEAL_NO_KEY);
    assert_int_equal(
        ll_smime_encrypt(s, to, 1, ll_slice_str(text), NOW + 2 * YEAR, LL_SMIME_AUTO, &der),
        LL_SEAL_UNUSABLE_KEY);
    assert_int_equal(
        ll_smime_sign(s, me[0].fingerprint, ll_slice_str(text), NOW + 2 * YEAR, true, &der),
        LL_SEAL_UNUSABLE_KEY);
    assert_int_equal(ll_smime_sign(s, other.fingerprint, ll_slice_str(text), NOW, true, &der),
                     LL_SEAL_NO_KEY);
    assert_int_equal(der.n, 0);
    ll_buf_release(&der);
    ll_buf_release(&out);
}

/* What a peer announced decides, and only when all did. */
static void announced(void **state)
{
    static const uint8_t gcm_oaep[] = {0x30, 0x1a, 0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
                                       0x65, 0x03, 0x04, 0x01, 0x2e, 0x30, 0x0b, 0x06, 0x09, 0x2a,
                                       0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x07};
    struct ll_slice to[2] = {me[0].fingerprint, me[1].fingerprint};
    struct ll_buf der = LL_BUF(1 << 20), out = LL_BUF(1 << 20);
    struct ll_smime_cert c;
    struct ll_opened o;

    (void)state;
    assert_int_equal(ll_smime_set_capabilities(s, to[0], ll_slice(gcm_oaep, sizeof(gcm_oaep))),
                     LL_SEAL_OK);
    assert_int_equal(ll_smime_cert(s, to[0], &arena, &c), LL_SEAL_OK);
    assert_int_equal(c.capabilities, LL_SMIME_CAN(AES256_GCM) | LL_SMIME_CAN(OAEP));
    for (size_t n = 1; n <= 2; n++) {
        ll_buf_clear(&der);
        ll_buf_clear(&out);
        assert_int_equal(ll_smime_set_capabilities(s, to[1], LL_LIT("")), LL_SEAL_OK);
        assert_int_equal(ll_smime_encrypt(s, to, n, ll_slice_str(text), NOW, LL_SMIME_AUTO, &der),
                         LL_SEAL_OK);
        assert_int_equal(ll_smime_open(s, ll_buf_slice(&der), NOW, &out, &arena, &o), LL_SEAL_OK);
        assert_true(ll_slice_eq(o.cipher, n == 1 ? LL_LIT("aes256-gcm") : LL_LIT("aes256-cbc")));
        /* rsaesOaep as the recipient's key encryption */
        assert_true(ll_slice_search(ll_buf_slice(&der),
                                    LL_LIT("\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x07")) <
                    der.n);
    }
    /* a good letter announces for its signer */
    ll_buf_clear(&der);
    assert_int_equal(ll_smime_sign(s, to[1], ll_slice_str(text), NOW, true, &der), LL_SEAL_OK);
    assert_int_equal(ll_smime_verify(s, LL_LIT("another"), ll_buf_slice(&der), NOW, &arena, &o),
                     LL_SEAL_OK);
    assert_int_equal(ll_smime_cert(s, to[1], &arena, &c), LL_SEAL_OK);
    assert_int_equal(c.capabilities, 0);
    assert_int_equal(ll_smime_verify(s, ll_slice_str(text), ll_buf_slice(&der), NOW, &arena, &o),
                     LL_SEAL_OK);
    assert_int_equal(ll_smime_cert(s, to[1], &arena, &c), LL_SEAL_OK);
    assert_true(c.capabilities & LL_SMIME_CAN(AES256_GCM));
    ll_buf_clear(&out);
    assert_int_equal(ll_smime_capabilities(s, to[1], &out), LL_SEAL_OK);
    assert_true(out.n > 20);
    assert_int_equal(ll_smime_set_capabilities(s, to[0], LL_LIT("")), LL_SEAL_OK);
    assert_int_equal(ll_smime_set_capabilities(s, to[1], LL_LIT("rubbish")), LL_SEAL_OK);
    assert_int_equal(ll_smime_cert(s, to[1], &arena, &c), LL_SEAL_OK);
    assert_int_equal(c.capabilities, 0);
    ll_buf_release(&der);
    ll_buf_release(&out);
}

/* ---- letters that others make ---------------------------------------------------------------- */

/* SignedData as libcrypto makes it; flags of CMS_sign. */
static void foreign(const struct party *by, size_t n, const EVP_MD *md, unsigned flags,
                    struct ll_buf *out)
{
    CMS_ContentInfo *cms = CMS_sign(NULL, NULL, NULL, NULL, flags | CMS_PARTIAL | CMS_BINARY);
    BIO *in = BIO_new_mem_buf(text, -1);
    unsigned char *der = NULL;
    int len;

    for (size_t i = 0; i < n; i++)
        assert_non_null(CMS_add1_signer(cms, by[i].cert, by[i].key, md,
                                        flags | CMS_PARTIAL |
                                            (i && by[i].cert == by[i - 1].cert ? CMS_NOCERTS : 0)));
    assert_true(CMS_final(cms, in, NULL, flags | CMS_BINARY));
    len = i2d_CMS_ContentInfo(cms, &der);
    assert_true(len > 0);
    ll_buf_put(out, der, (size_t)len);
    OPENSSL_free(der);
    BIO_free(in);
    CMS_ContentInfo_free(cms);
}

static void states(void **state)
{
    struct party stranger = pki_issue(NULL, &(struct wish){.name = "Eve", .address = "ann@a.test"});
    struct party old =
        pki_issue(&ca, &(struct wish){.name = "Old", .address = "ann@a.test", .to = NOW - 1});
    struct party server =
        pki_issue(&ca, &(struct wish){.name = "a.test", .extended = "serverAuth"});
    struct {
        const char *what;
        const struct party *by;
        const EVP_MD *md;
        unsigned flags;
        enum ll_signature_state want;
    } rows[] = {
        {"good", &me[1], EVP_sha256(), CMS_DETACHED, LL_SIGNATURE_GOOD},
        {"sha-512", &me[0], EVP_sha512(), CMS_DETACHED, LL_SIGNATURE_GOOD},
        {"no attributes", &me[0], EVP_sha256(), CMS_DETACHED | CMS_NOATTR, LL_SIGNATURE_GOOD},
        {"no capabilities", &me[0], EVP_sha256(), CMS_DETACHED | CMS_NOSMIMECAP, LL_SIGNATURE_GOOD},
        {"key identifier", &me[0], EVP_sha256(), CMS_DETACHED | CMS_USE_KEYID, LL_SIGNATURE_GOOD},
        {"certificate is here alone", &me[0], EVP_sha256(), CMS_DETACHED | CMS_NOCERTS,
         LL_SIGNATURE_GOOD},
        {"certificate is nowhere", &stranger, EVP_sha256(), CMS_DETACHED | CMS_NOCERTS,
         LL_SIGNATURE_NO_KEY},
        {"sha-1", &me[0], EVP_sha1(), CMS_DETACHED, LL_SIGNATURE_WEAK},
        {"md5", &me[0], EVP_md5(), CMS_DETACHED, LL_SIGNATURE_WEAK},
        {"self-signed", &stranger, EVP_sha256(), CMS_DETACHED, LL_SIGNATURE_UNTRUSTED},
        {"expired", &old, EVP_sha256(), CMS_DETACHED, LL_SIGNATURE_KEY_EXPIRED},
        {"for servers", &server, EVP_sha256(), CMS_DETACHED, LL_SIGNATURE_PURPOSE},
    };

    (void)state;
    for (size_t i = 0; i < LL_COUNT(rows); i++)
        for (int changed = 0; changed < 2; changed++) {
            struct ll_buf der = LL_BUF(1 << 20);
            struct ll_opened o = {0};
            const char *is,
                *want = ll_signature_state_word(changed ? LL_SIGNATURE_BAD : rows[i].want);

            foreign(rows[i].by, 1, rows[i].md, rows[i].flags, &der);
            assert_int_equal(
                ll_smime_verify(s, ll_slice(text + changed, strlen(text) - (size_t)changed),
                                ll_buf_slice(&der), NOW, &arena, &o),
                LL_SEAL_OK);
            is = ll_signature_state_word(o.signature[0].state);
            if (strcmp(is, want) != 0)
                fail_msg("%s%s: %s, not %s", rows[i].what, changed ? ", changed" : "", is, want);
            ll_buf_release(&der);
        }
    pki_free(&stranger);
    pki_free(&old);
    pki_free(&server);
}

static void several(void **state)
{
    struct party stranger = pki_issue(NULL, &(struct wish){.name = "Eve", .address = "ann@a.test"});
    struct party by[17] = {me[0], stranger, me[1]};
    struct ll_buf der = LL_BUF(1 << 20), out = LL_BUF(1 << 20);
    struct ll_slice *bag;
    struct ll_opened o;
    size_t n;

    (void)state;
    foreign(by, 3, EVP_sha256(), 0, &der);
    assert_int_equal(ll_smime_open(s, ll_buf_slice(&der), NOW, &out, &arena, &o), LL_SEAL_OK);
    assert_int_equal(o.n_signature, 3);
    n = 0;
    for (size_t i = 0; i < 3; i++) {
        if (ll_slice_eq(o.signature[i].name, LL_LIT("Eve")))
            assert_int_equal(o.signature[i].state, LL_SIGNATURE_UNTRUSTED);
        else
            assert_int_equal(o.signature[i].state, LL_SIGNATURE_GOOD);
        n += o.signature[i].state == LL_SIGNATURE_GOOD;
    }
    assert_int_equal(n, 2);
    assert_int_equal(ll_smime_bag(ll_buf_slice(&der), &arena, &bag, &n), LL_SEAL_OK);
    assert_int_equal(n, 3);
    /* it has its own text: it is no signature of another */
    assert_int_equal(ll_smime_verify(s, ll_slice_str(text), ll_buf_slice(&der), NOW, &arena, &o),
                     LL_SEAL_MALFORMED);
    /* one more than the limit */
    for (size_t i = 0; i < LL_COUNT(by); i++)
        by[i] = me[1];
    ll_buf_clear(&der);
    ll_buf_clear(&out);
    foreign(by, LL_SMIME_SIGNERS_MAX, EVP_sha256(), 0, &der);
    assert_int_equal(ll_smime_open(s, ll_buf_slice(&der), NOW, &out, &arena, &o), LL_SEAL_OK);
    assert_int_equal(o.n_signature, LL_SMIME_SIGNERS_MAX);
    ll_buf_clear(&der);
    ll_buf_clear(&out);
    foreign(by, LL_SMIME_SIGNERS_MAX + 1, EVP_sha256(), 0, &der);
    assert_int_equal(ll_smime_open(s, ll_buf_slice(&der), NOW, &out, &arena, &o),
                     LL_SEAL_MALFORMED);
    assert_int_equal(out.n, 0);
    ll_buf_release(&der);
    ll_buf_release(&out);
    pki_free(&stranger);
}

/* One certificate for signing, one for sealing, both of an intermediate CA: they come along, and
 * what comes along and is not good does not. */
static void along(void **state)
{
    struct party sub = pki_issue(&ca, &(struct wish){.name = "Sub CA", .ca = true});
    struct party signs = pki_issue(&sub, &(struct wish){.name = "Eva",
                                                        .address = "eva@e.test",
                                                        .usage = "critical,digitalSignature"});
    struct party seals = pki_issue(
        &sub,
        &(struct wish){.name = "Eva", .address = "eva@e.test", .usage = "critical,keyAgreement"});
    struct party forged = pki_issue(NULL, &(struct wish){.name = "Eva", .address = "eva@e.test"});
    struct ll_smime *hers = ll_smime_new(), *ours = ll_smime_new();
    struct ll_buf der = LL_BUF(1 << 20), raw = LL_BUF(1 << 16);
    struct ll_opened o;
    CMS_ContentInfo *cms;
    unsigned char *again = NULL;
    const uint8_t *at;
    int n;

    (void)state;
    pki_enroll(hers, &sub, false, &arena);
    pki_enroll(hers, &signs, true, &arena);
    pki_enroll(hers, &seals, true, &arena);
    pki_der(&ca, &raw);
    assert_int_equal(ll_smime_add_anchor(ours, ll_buf_slice(&raw), NULL), LL_SEAL_OK);
    assert_int_equal(ll_smime_sign(hers, signs.fingerprint, ll_slice_str(text), NOW, true, &der),
                     LL_SEAL_OK);
    assert_int_equal(ll_smime_sign(hers, seals.fingerprint, ll_slice_str(text), NOW, true, &der),
                     LL_SEAL_UNUSABLE_KEY);
    at = der.p;
    cms = d2i_CMS_ContentInfo(NULL, &at, (long)der.n);
    assert_int_equal(
        CMS_signed_get_attr_by_NID(sk_CMS_SignerInfo_value(CMS_get0_SignerInfos(cms), 0),
                                   NID_id_smime_aa_encrypKeyPref, -1) >= 0,
        1);
    assert_true(CMS_add1_cert(cms, forged.cert));
    n = i2d_CMS_ContentInfo(cms, &again);
    assert_int_equal(
        ll_smime_verify(ours, ll_slice_str(text), ll_slice(again, (size_t)n), NOW, &arena, &o),
        LL_SEAL_OK);
    assert_int_equal(o.signature[0].state, LL_SIGNATURE_GOOD);
    assert_int_equal(o.signature[0].n_along, 2);
    for (int i = 0; i < 2; i++) {
        ll_buf_clear(&raw);
        pki_der(i ? &sub : &seals, &raw);
        assert_true(ll_slice_eq(o.signature[0].along[i], ll_buf_slice(&raw)));
    }
    OPENSSL_free(again);
    CMS_ContentInfo_free(cms);
    ll_buf_release(&der);
    ll_buf_release(&raw);
    ll_smime_free(hers);
    ll_smime_free(ours);
    pki_free(&sub);
    pki_free(&signs);
    pki_free(&seals);
    pki_free(&forged);
}

/* Signed attributes of one letter as the text of another, whose signature has none. */
static void attributes_as_text(void **state)
{
    char set[] = "1\x10 looks like a SET";
    CMS_ContentInfo *cms;
    BIO *in = BIO_new_mem_buf(set, -1);
    unsigned char *der = NULL;
    struct ll_opened o;
    int n;

    (void)state;
    cms = CMS_sign(me[0].cert, me[0].key, NULL, in, CMS_BINARY | CMS_NOATTR | CMS_DETACHED);
    n = i2d_CMS_ContentInfo(cms, &der);
    assert_int_equal(
        ll_smime_verify(s, ll_slice_str(set), ll_slice(der, (size_t)n), NOW, &arena, &o),
        LL_SEAL_OK);
    assert_int_equal(o.signature[0].state, LL_SIGNATURE_MALFORMED);
    OPENSSL_free(der);
    CMS_ContentInfo_free(cms);
    BIO_free(in);
}

static void old_ciphers(void **state)
{
    STACK_OF(X509) *to = sk_X509_new_null();
    struct ll_buf out = LL_BUF(1 << 20);
    struct ll_opened o;

    (void)state;
    sk_X509_push(to, me[0].cert);
    for (int cbc192 = 0; cbc192 < 2; cbc192++) {
        BIO *in = BIO_new_mem_buf(text, -1);
        CMS_ContentInfo *cms =
            CMS_encrypt(to, in, cbc192 ? EVP_aes_192_cbc() : EVP_des_ede3_cbc(), CMS_BINARY);
        unsigned char *der = NULL, *at;
        int n = i2d_CMS_ContentInfo(cms, &der);

        ll_buf_clear(&out);
        assert_int_equal(ll_smime_open(s, ll_slice(der, (size_t)n), NOW, &out, &arena, &o),
                         LL_SEAL_OK);
        assert_int_equal(o.weak, !cbc192);
        assert_true(ll_slice_eq(o.cipher, cbc192 ? LL_LIT("aes192-cbc") : LL_LIT("3des-cbc")));
        /* des-ede3-cbc is 1.2.840.113549.3.7; .2 is RC2, .4 RC4, .99 nothing */
        at = memmem(der, (size_t)n, "\x2a\x86\x48\x86\xf7\x0d\x03\x07", 8);
        for (int k = 0; at && k < 3; k++) {
            at[7] = (unsigned char[]){2, 4, 99}[k];
            ll_buf_clear(&out);
            assert_int_equal(ll_smime_open(s, ll_slice(der, (size_t)n), NOW, &out, &arena, &o),
                             k == 2 ? LL_SEAL_UNSUPPORTED : LL_SEAL_WEAK);
            assert_int_equal(out.n, 0);
        }
        assert_true(at || cbc192);
        OPENSSL_free(der);
        CMS_ContentInfo_free(cms);
        BIO_free(in);
    }
    sk_X509_free(to);
    ll_buf_release(&out);
}

/* ---- limits ---------------------------------------------------------------------------------- */

/* A buffer that is too small keeps what it had. */
static void small_buffers(void **state)
{
    struct ll_buf der = LL_BUF(1 << 20), out = LL_BUF(100), little = LL_BUF(100);
    struct ll_opened o;

    (void)state;
    assert_int_equal(
        ll_smime_encrypt(s, &me[1].fingerprint, 1, ll_slice_str(text), NOW, LL_SMIME_CBC, &little),
        LL_SEAL_TOO_LARGE);
    assert_int_equal(
        ll_smime_encrypt(s, &me[1].fingerprint, 1, ll_slice_str(text), NOW, LL_SMIME_CBC, &der),
        LL_SEAL_OK);
    ll_buf_puts(&out, "x");
    assert_int_equal(ll_smime_open(s, ll_buf_slice(&der), NOW, &out, &arena, &o),
                     LL_SEAL_TOO_LARGE);
    assert_int_equal(out.n, 1);
    ll_buf_release(&der);
    ll_buf_release(&out);
    ll_buf_release(&little);
}

/* ---- entities -------------------------------------------------------------------------------- */

static struct ll_slice after(struct ll_slice in, struct ll_slice mark)
{
    return ll_slice_skip(in, ll_slice_search(in, mark) + mark.n);
}

/* The octets of the base64 behind the empty line. */
static void body(struct ll_slice entity, struct ll_buf *out)
{
    struct ll_buf joined = LL_BUF(1 << 20);
    struct ll_slice in = after(entity, LL_LIT("\r\n\r\n"));

    for (size_t i = 0; i < in.n && in.p[i] != '-'; i++)
        if (in.p[i] != '\r' && in.p[i] != '\n')
            ll_buf_putc(&joined, in.p[i]);
    assert_true(ll_base64_decode(out, ll_buf_slice(&joined)));
    ll_buf_release(&joined);
}

/* Signed, sealed, signed around it (RFC 2634 1.1): three calls, from the outside in. */
static void triple(void **state)
{
    struct ll_slice entity = LL_LIT("Content-Type: text/plain\r\n\r\nthe text\r\n");
    struct ll_buf a = LL_BUF(1 << 20), b = LL_BUF(1 << 20), c = LL_BUF(1 << 20),
                  der = LL_BUF(1 << 20);
    struct ll_opened o;
    struct ll_slice inner;

    (void)state;
    assert_int_equal(ll_smime_mime_sign(s, me[0].fingerprint, entity, LL_LIT("in"), NOW, &a),
                     LL_SEAL_OK);
    assert_int_equal(
        ll_smime_mime_encrypt(s, &me[1].fingerprint, 1, ll_buf_slice(&a), NOW, LL_SMIME_GCM, &b),
        LL_SEAL_OK);
    assert_true(ll_slice_starts(
        ll_buf_slice(&b), LL_LIT("Content-Type: application/pkcs7-mime; "
                                 "smime-type=authEnveloped-data;\r\n name=\"smime.p7m\"\r\n")));
    assert_int_equal(
        ll_smime_mime_sign(s, me[2].fingerprint, ll_buf_slice(&b), LL_LIT(""), NOW, &c),
        LL_SEAL_OK);
    assert_true(ll_slice_starts(
        ll_buf_slice(&c),
        LL_LIT("Content-Type: application/pkcs7-mime; smime-type=signed-data;\r\n")));

    body(ll_buf_slice(&c), &der);
    ll_buf_clear(&b);
    assert_int_equal(ll_smime_open(s, ll_buf_slice(&der), NOW, &b, &arena, &o), LL_SEAL_OK);
    assert_signed(&o, &me[2]);
    ll_buf_clear(&der);
    body(ll_buf_slice(&b), &der);
    ll_buf_clear(&a);
    assert_int_equal(ll_smime_open(s, ll_buf_slice(&der), NOW, &a, &arena, &o), LL_SEAL_OK);
    assert_true(o.authenticated);
    assert_true(ll_slice_starts(
        ll_buf_slice(&a),
        LL_LIT("Content-Type: multipart/signed;\r\n protocol=\"application/pkcs7-signature\"; "
               "micalg=sha-256;\r\n boundary=\"in\"\r\n\r\n--in\r\n")));
    inner = after(ll_buf_slice(&a), LL_LIT("--in\r\n"));
    assert_true(ll_slice_starts(inner, entity));
    ll_buf_clear(&der);
    body(after(inner, LL_LIT("\r\n--in\r\n")), &der);
    assert_int_equal(ll_smime_verify(s, entity, ll_buf_slice(&der), NOW, &arena, &o), LL_SEAL_OK);
    assert_signed(&o, &me[0]);
    ll_buf_release(&a);
    ll_buf_release(&b);
    ll_buf_release(&c);
    ll_buf_release(&der);
}

static void entities(void **state)
{
    static const struct {
        const char *entity, *boundary;
        enum ll_seal_error want;
    } rows[] = {
        {"A: b\r\n\r\ntext\r\n", "x", LL_SEAL_OK},
        {"A: b\r\n\r\ntext", "x", LL_SEAL_OK},
        {"", "x", LL_SEAL_OK},
        {"A: b\n\r\ntext\r\n", "x", LL_SEAL_MALFORMED},
        {"A: b\r\n\r\nte\rxt\r\n", "x", LL_SEAL_MALFORMED},
        {"A: b\r\n\r\ntext\r", "x", LL_SEAL_MALFORMED},
        {"A: b\r\n\r\nt\xc3\xa4xt\r\n", "x", LL_SEAL_MALFORMED},
        {"A: b\r\n\r\n--xy\r\n", "x", LL_SEAL_MALFORMED},
        {"A: b\r\n\r\n--xy\r\n", "", LL_SEAL_OK},
        {"A: b\r\n\r\n --x\r\n", "x", LL_SEAL_OK},
    };

    (void)state;
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_buf out = LL_BUF(1 << 20);

        assert_int_equal(ll_smime_mime_sign(s, me[2].fingerprint, ll_slice_str(rows[i].entity),
                                            ll_slice_str(rows[i].boundary), NOW, &out),
                         rows[i].want);
        assert_int_equal(out.n > 0, rows[i].want == LL_SEAL_OK);
        if (out.n && rows[i].boundary[0])
            assert_true(ll_slice_search(ll_buf_slice(&out), LL_LIT("micalg=sha-384")) < out.n);
        ll_buf_release(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signs),        cmocka_unit_test(seals),
        cmocka_unit_test(changed_seal), cmocka_unit_test(changed_signature),
        cmocka_unit_test(cut),          cmocka_unit_test(short_tags),
        cmocka_unit_test(recipients),   cmocka_unit_test(announced),
        cmocka_unit_test(states),       cmocka_unit_test(several),
        cmocka_unit_test(along),        cmocka_unit_test(attributes_as_text),
        cmocka_unit_test(old_ciphers),  cmocka_unit_test(small_buffers),
        cmocka_unit_test(triple),       cmocka_unit_test(entities),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
