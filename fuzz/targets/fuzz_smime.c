/*
 * S/MIME: the first octet chooses what the rest is: a CMS object to open, a signature to verify,
 * certificates, a key, PKCS#12, CRLs, an OCSP answer, capabilities. Somebody with a key is there,
 * so that what the fuzzer changes is decrypted and verified, and not only parsed.
 */
#include <stdint.h>
#include <stdlib.h>

#include "letterlock/smime.h"

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            abort();                                                                               \
    } while (0)

#define NOW  1800000000
#define TEXT "the text\r\n"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Made for this alone. */
static const char identity[] = "-----BEGIN PRIVATE KEY-----\n"
                               "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg6QyzaFxUzq5m6hbY\n"
                               "ehkMNh/chNfhhG6/PdzmVFRBT3KhRANCAAT7MpYAYAN10Djd5rJVCJOuhL9bCljR\n"
                               "AJ3DNmwaViusslG7hnDugRrAO1dTNRBuMoQO+xpXD6+yf9XEUALNtkQv\n"
                               "-----END PRIVATE KEY-----\n"
                               "-----BEGIN CERTIFICATE-----\n"
                               "MIIB5jCCAY2gAwIBAgIUal5BRBxxiklSu0JWGdv/7mgWY1QwCgYIKoZIzj0EAwIw\n"
                               "DzENMAsGA1UEAwwERnV6ejAgFw0yNjExMjYwMTAwNDFaGA8yMDgxMDgyOTAxMDA0\n"
                               "MVowDzENMAsGA1UEAwwERnV6ejBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABPsy\n"
                               "lgBgA3XQON3mslUIk66Ev1sKWNEAncM2bBpWK6yyUbuGcO6BGsA7V1M1EG4yhA77\n"
                               "GlcPr7J/1cRQAs22RC+jgcQwgcEwDwYDVR0TAQH/BAUwAwEB/zAOBgNVHQ8BAf8E\n"
                               "BAMCAY4wEwYDVR0lBAwwCgYIKwYBBQUHAwQwHQYDVR0OBBYEFNOpBDt78SooY+g0\n"
                               "VT45EwLXmNJyMBYGA1UdEQQPMA2BC2Z1enpAYS50ZXN0MCIGA1UdHwQbMBkwF6AV\n"
                               "oBOGEWh0dHA6Ly9hLnRlc3QvY3JsMC4GCCsGAQUFBwEBBCIwIDAeBggrBgEFBQcw\n"
                               "AYYSaHR0cDovL2EudGVzdC9vY3NwMAoGCCqGSM49BAMCA0cAMEQCIDcQ0SV6EBZm\n"
                               "nJmg4vQz1MifF5d49O9NnO9SYSo+6Hb/AiAQQpbV8w5Kvom17T8R6FW2DU14K4jy\n"
                               "P55GDG6IhL8bcA==\n"
                               "-----END CERTIFICATE-----\n";

static void look_at(const struct ll_opened *o)
{
    CHECK(o->n_signature <= LL_SMIME_SIGNERS_MAX && o->n_recipient <= LL_SMIME_RECIPIENTS_MAX);
    for (size_t i = 0; i < o->n_signature; i++) {
        const struct ll_signature *s = &o->signature[i];

        CHECK(s->state != LL_SIGNATURE_GOOD || ll_slice_eq(s->name, LL_LIT("Fuzz")));
        CHECK(s->state != LL_SIGNATURE_GOOD || s->cert.n > 0);
        CHECK(s->fingerprint.n == 0 || s->fingerprint.n == LL_SMIME_FINGERPRINT);
    }
}

static void open_it(struct ll_smime *s, struct ll_slice in, struct ll_arena *a)
{
    struct ll_buf out = LL_BUF(1 << 20);
    struct ll_opened o;
    struct ll_slice *bag;
    size_t n;
    enum ll_seal_error e;

    ll_buf_puts(&out, "before");
    e = ll_smime_open(s, in, NOW, &out, a, &o);
    CHECK(out.n >= 6 && memcmp(out.p, "before", 6) == 0);
    CHECK(e == LL_SEAL_OK || (out.n == 6 && !o.authenticated && o.n_signature == 0));
    CHECK(!o.authenticated || ll_slice_ends(o.cipher, LL_LIT("-gcm")));
    look_at(&o);
    ll_smime_bag(in, a, &bag, &n);
    ll_buf_release(&out);
}

static void verify_it(struct ll_smime *s, struct ll_slice in, struct ll_arena *a)
{
    struct ll_opened o = {0};

    if (ll_smime_verify(s, LL_LIT(TEXT), in, NOW, a, &o) == LL_SEAL_OK)
        look_at(&o);
}

/* All that can be asked of what came in. */
static void look_around(struct ll_smime *s, struct ll_arena *a)
{
    struct ll_slice *v;
    size_t n;

    CHECK(ll_smime_list(s, LL_LIT(""), a, &v, &n) == LL_SEAL_OK);
    for (size_t i = 0; i < n && i < 8; i++) {
        struct ll_buf out = LL_BUF(1 << 20);
        struct ll_slice said;
        struct ll_smime_cert c;

        if (ll_smime_cert(s, v[i], a, &c) == LL_SEAL_OK)
            for (size_t k = 0; k < c.n_address; k++)
                CHECK(ll_smime_speaks_for(s, v[i], c.address[k]));
        ll_smime_check(s, v[i], LL_SMIME_SIGN, LL_LIT("fuzz@a.test"), NOW, a, &said);
        ll_smime_check(s, v[i], LL_SMIME_ENCRYPT, LL_LIT(""), NOW, a, &said);
        ll_smime_export(s, v[i], LL_SMIME_CHAIN, LL_LIT(""), &out);
        ll_smime_encrypt(s, &v[i], 1, LL_LIT(TEXT), NOW, LL_SMIME_AUTO, &out);
        ll_buf_release(&out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ll_slice in = ll_slice_skip(ll_slice(data, size), 1), me, *v;
    struct ll_smime *s;
    struct ll_arena a;
    size_t n;

    if (size == 0)
        return 0;
    s = ll_smime_new();
    CHECK(s);
    ll_arena_init(&a, 8 << 20);
    CHECK(ll_smime_add_key(s, ll_slice(identity, sizeof(identity) - 1), LL_LIT(""), &a, &me) ==
          LL_SEAL_OK);
    CHECK(ll_smime_add_anchor(s, ll_slice(identity, sizeof(identity) - 1), NULL) == LL_SEAL_OK);
    switch (data[0]) {
    case 'o':
        open_it(s, in, &a);
        break;
    case 'v':
        verify_it(s, in, &a);
        break;
    case 'c':
        ll_smime_add_cert(s, in, &a, &v, &n);
        look_around(s, &a);
        break;
    case 'k':
        ll_smime_add_key(s, in, LL_LIT("pw"), &a, &me);
        ll_smime_add_key(s, in, LL_LIT(""), &a, &me);
        break;
    case 'p':
        ll_smime_add_pkcs12(s, in, LL_LIT("pw"), &a, &v, &n);
        break;
    case 'r':
        ll_smime_add_crl(s, in);
        ll_smime_set_revocation(s, LL_SMIME_HARD);
        look_around(s, &a);
        break;
    case 'a':
        ll_smime_add_ocsp(s, in);
        look_around(s, &a);
        break;
    default:
        CHECK(ll_smime_set_capabilities(s, me, in) == LL_SEAL_OK || in.n > LL_SMIME_CERT_MAX);
        look_around(s, &a);
    }
    ll_smime_free(s);
    ll_arena_release(&a);
    return 0;
}
