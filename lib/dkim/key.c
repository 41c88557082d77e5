/*
 * Keys: the record in DNS (RFC 6376 3.6.1, RFC 8463 4), the public key in it, the look-ups of one
 * verifier, and the operations with public and private keys. See lib/dkim/parts.h.
 */
#include "lib/dkim/parts.h"

#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>

#define ED25519_KEY 32 /* octets */

/* ---- the record ---------------------------------------------------------------------------------
 */

static const char *const key_types[] = {
#define ROW(ID, name, key) [LL_DKIM_##ID] = (key),
    LL_DKIM_ALGORITHMS(ROW)
#undef ROW
};

static bool key_type(struct ll_slice k, enum ll_dkim_algorithm *ret)
{
    for (size_t i = 0; i < LL_COUNT(key_types); i++) {
        if (ll_slice_eq(k, ll_slice_str(key_types[i]))) {
            *ret = (enum ll_dkim_algorithm)i;
            return true;
        }
    }
    return false;
}

enum ll_dkim_fault ll_dkim_record_parse(struct ll_slice text, struct ll_dkim_record *ret)
{
    struct ll_dkim_record r = {.algorithm = LL_DKIM_RSA, .sha256 = true, .email = true};
    const struct ll_dkim_tag *v, *p, *tag;
    struct ll_dkim_tags tags;
    size_t n = 0;

    if (ll_dkim_tags_parse(text, &tags) != LL_DKIM_FAULT_OK)
        return LL_DKIM_FAULT_KEY_SYNTAX;
    v = ll_dkim_tag(&tags, "v");
    if (v && (v != &tags.v[0] || !ll_slice_eq(v->value, LL_LIT("DKIM1"))))
        return LL_DKIM_FAULT_KEY_VERSION;
    p = ll_dkim_tag(&tags, "p");
    if (!p)
        return LL_DKIM_FAULT_KEY_SYNTAX;
    tag = ll_dkim_tag(&tags, "k");
    if (tag && !key_type(tag->value, &r.algorithm))
        return LL_DKIM_FAULT_KEY_TYPE;
    tag = ll_dkim_tag(&tags, "h");
    if (tag)
        r.sha256 = ll_dkim_list_has(tag->value, "sha256");
    tag = ll_dkim_tag(&tags, "s");
    if (tag)
        r.email = ll_dkim_list_has(tag->value, "*") || ll_dkim_list_has(tag->value, "email");
    tag = ll_dkim_tag(&tags, "t");
    if (tag) {
        r.testing = ll_dkim_list_has(tag->value, "y");
        r.strict = ll_dkim_list_has(tag->value, "s");
    }
    if (p->value.n > 0 && !ll_dkim_base64(p->value, r.key, sizeof(r.key), &n))
        return LL_DKIM_FAULT_KEY_BAD;
    r.key_n = (uint16_t)n;
    *ret = r;
    return n > 0 ? LL_DKIM_FAULT_OK : LL_DKIM_FAULT_KEY_REVOKED;
}

/* ---- the public key -----------------------------------------------------------------------------
 */

/* The content of a DER element with this tag; lengths up to 65535, in their shortest form. */
static struct ll_slice der(struct ll_cursor *c, uint8_t tag)
{
    size_t n;

    if (ll_cur_u8(c) != tag)
        c->failed = true;
    n = ll_cur_u8(c);
    if (n == 0x81) {
        n = ll_cur_u8(c);
        if (n < 0x80)
            c->failed = true;
    } else if (n == 0x82) {
        n = ll_cur_u16(c);
        if (n < 0x100)
            c->failed = true;
    } else if (n >= 0x80) {
        c->failed = true;
    }
    return ll_cur_bytes(c, c->failed ? 0 : n);
}

#define DER_INTEGER    0x02
#define DER_BIT_STRING 0x03
#define DER_SEQUENCE   0x30

/* RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER } (RFC 8017 A.1.1) */
static bool pkcs1(struct ll_slice in, struct ll_slice *ret_n, struct ll_slice *ret_e)
{
    struct ll_cursor all = ll_cursor(in), inner = ll_cursor(der(&all, DER_SEQUENCE));

    *ret_n = der(&inner, DER_INTEGER);
    *ret_e = der(&inner, DER_INTEGER);
    /* Positive; without the zero octet that keeps them so. */
    for (struct ll_slice *s = ret_n; s; s = s == ret_n ? ret_e : NULL) {
        if (s->n == 0 || s->p[0] >= 0x80)
            return false;
        while (s->n > 0 && s->p[0] == 0)
            *s = ll_slice_skip(*s, 1);
    }
    return ll_cur_end(&all) && ll_cur_end(&inner) && ret_n->n > 0 && ret_e->n > 0;
}

/* SubjectPublicKeyInfo with rsaEncryption (RFC 5280 4.1, RFC 3279 2.3.1): what is in it. */
static bool spki(struct ll_slice in, struct ll_slice *ret_inner)
{
    static const uint8_t rsa[] = {0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01};
    struct ll_cursor all = ll_cursor(in), inner = ll_cursor(der(&all, DER_SEQUENCE));
    struct ll_slice algorithm = der(&inner, DER_SEQUENCE), bits = der(&inner, DER_BIT_STRING);

    if (!ll_cur_end(&all) || !ll_cur_end(&inner) || bits.n < 1 || bits.p[0] != 0 ||
        !ll_slice_starts(algorithm, ll_slice(rsa, sizeof(rsa))))
        return false;
    *ret_inner = ll_slice_skip(bits, 1);
    return true;
}

static unsigned bits_of(struct ll_slice n)
{
    unsigned bits = (unsigned)(8 * n.n);

    for (uint8_t top = n.p[0]; top < 0x80; top = (uint8_t)(top << 1))
        bits--;
    return bits;
}

static EVP_PKEY *rsa_key(struct ll_slice n, struct ll_slice e)
{
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    BIGNUM *bn = BN_bin2bn(n.p, (int)n.n, NULL), *be = BN_bin2bn(e.p, (int)e.n, NULL);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    OSSL_PARAM *params = NULL;
    EVP_PKEY *key = NULL;

    if (build && bn && be && ctx && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, bn) &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, be))
        params = OSSL_PARAM_BLD_to_param(build);
    if (params && (EVP_PKEY_fromdata_init(ctx) <= 0 ||
                   EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) <= 0))
        key = NULL;
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    EVP_PKEY_CTX_free(ctx);
    BN_free(bn);
    BN_free(be);
    return key;
}

enum ll_dkim_fault ll_dkim_record_key(const struct ll_dkim_record *r, EVP_PKEY **ret,
                                      unsigned *ret_bits)
{
    struct ll_slice raw = ll_slice(r->key, r->key_n), n, e;

    if (r->algorithm == LL_DKIM_ED25519) {
        *ret_bits = 8 * ED25519_KEY;
        *ret = raw.n == ED25519_KEY
                   ? EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, raw.p, raw.n)
                   : NULL;
        return *ret ? LL_DKIM_FAULT_OK : LL_DKIM_FAULT_KEY_BAD;
    }
    /* RFC 6376 3.6.1 and its erratum 3017: both forms are in use. */
    spki(raw, &raw);
    if (!pkcs1(raw, &n, &e) || e.n > 5)
        return LL_DKIM_FAULT_KEY_BAD;
    *ret_bits = bits_of(n);
    if (*ret_bits < LL_DKIM_RSA_BITS_MIN)
        return LL_DKIM_FAULT_KEY_SHORT;
    if (*ret_bits > LL_DKIM_RSA_BITS_MAX)
        return LL_DKIM_FAULT_KEY_LONG;
    if (!(n.p[n.n - 1] & 1) || !(e.p[e.n - 1] & 1) || (e.n == 1 && e.p[0] == 1))
        return LL_DKIM_FAULT_KEY_BAD;
    *ret = rsa_key(n, e);
    return *ret ? LL_DKIM_FAULT_OK : LL_DKIM_FAULT_KEY_BAD;
}

/* ---- the look-ups of one verifier ---------------------------------------------------------------
 */

int ll_dkim_ring_want(struct ll_dkim_ring *ring, const struct ll_dns_name *domain,
                      const struct ll_dns_name *selector)
{
    struct ll_buf text = LL_BUF(2 * LL_DNS_NAME_MAX + 16);
    struct ll_dns_name name;
    bool ok;

    ll_buf_printf(&text, "%s._domainkey.%s", selector->text, domain->text);
    ok = ll_dns_name_parse(ll_buf_slice(&text), &name);
    ll_buf_release(&text);
    if (!ok)
        return -2;
    for (size_t i = 0; i < ring->n; i++)
        if (ll_dns_name_eq(ll_dns_name_slice(&ring->v[i].name), ll_dns_name_slice(&name)))
            return (int)i;
    if (ring->n == LL_COUNT(ring->v))
        return -1;
    ring->v[ring->n].name = name;
    ring->v[ring->n].fault = LL_DKIM_FAULT_WAITS;
    return (int)ring->n++;
}

bool ll_dkim_ring_need(struct ll_dkim_ring *ring, struct ll_need *ret)
{
    for (size_t i = 0; i < ring->n; i++) {
        if (ring->v[i].taken)
            continue;
        ring->v[i].taken = true;
        *ret = (struct ll_need){.id = (uint32_t)i, .kind = LL_NEED_DNS};
        ret->dns.type = LL_DNS_TXT;
        ret->dns.name = ring->v[i].name;
        return true;
    }
    return false;
}

/* Several records under one name are undefined (RFC 6376 3.6.2.2): the first key counts, what is no
 * key record at all is passed over. */
static enum ll_dkim_fault read_answer(const struct ll_dns_answer *a, struct ll_dkim_record *ret)
{
    enum ll_dkim_fault fault = LL_DKIM_FAULT_NO_KEY;

    if (ll_dns_later(a->status))
        return LL_DKIM_FAULT_DNS_LATER;
    for (size_t i = 0; a->status == LL_DNS_STATUS_OK && i < a->n_rdata; i++) {
        struct ll_buf text = LL_BUF(1 << 16);
        enum ll_dkim_fault f = LL_DKIM_FAULT_KEY_SYNTAX;

        if (ll_dns_rdata_txt(a->rdata[i], &text))
            f = ll_dkim_record_parse(ll_buf_slice(&text), ret);
        ll_buf_release(&text);
        if (f == LL_DKIM_FAULT_OK || f == LL_DKIM_FAULT_KEY_REVOKED)
            return f;
        if (fault == LL_DKIM_FAULT_NO_KEY)
            fault = f;
    }
    return fault;
}

void ll_dkim_ring_answer(struct ll_dkim_ring *ring, const struct ll_need_answer *answer)
{
    struct ll_dkim_ring_key *k;

    if (answer->id >= ring->n || !ring->v[answer->id].taken || ring->v[answer->id].answered)
        return;
    k = &ring->v[answer->id];
    k->answered = true;
    k->fault = answer->dns ? read_answer(answer->dns, &k->record) : LL_DKIM_FAULT_DNS_LATER;
    if (k->fault == LL_DKIM_FAULT_OK)
        k->fault = ll_dkim_keys_get(ring->keys, &k->record, &k->key, &k->bits);
}

bool ll_dkim_ring_complete(const struct ll_dkim_ring *ring)
{
    for (size_t i = 0; i < ring->n; i++)
        if (!ring->v[i].answered)
            return false;
    return true;
}

void ll_dkim_ring_release(struct ll_dkim_ring *ring)
{
    for (size_t i = 0; i < ring->n; i++)
        EVP_PKEY_free(ring->v[i].key);
    ring->n = 0;
}

enum ll_dkim_fault ll_dkim_ring_fits(const struct ll_dkim_ring_key *k,
                                     const struct ll_dkim_sig *sig)
{
    struct ll_slice identity = ll_slice(sig->identity, sig->identity_n);

    if (k->fault != LL_DKIM_FAULT_OK)
        return k->fault;
    if (!k->record.email)
        return LL_DKIM_FAULT_KEY_SERVICE;
    if (!k->record.sha256)
        return LL_DKIM_FAULT_KEY_HASH;
    if (k->record.algorithm != sig->algorithm)
        return LL_DKIM_FAULT_KEY_TYPE;
    if (k->record.strict && identity.n > 0) {
        struct ll_slice at = ll_slice_skip(identity, ll_slice_rfind(identity, '@') + 1);
        struct ll_dns_name domain;

        if (!ll_dkim_domain(at, false, &domain) ||
            !ll_dns_name_eq(ll_dns_name_slice(&domain), ll_dns_name_slice(&sig->domain)))
            return LL_DKIM_FAULT_KEY_STRICT;
    }
    return LL_DKIM_FAULT_OK;
}

/* ---- operations ---------------------------------------------------------------------------------
 */

bool ll_dkim_sha256(struct ll_slice text, uint8_t ret[LL_DKIM_HASH])
{
    return EVP_Digest(text.p ? text.p : (const uint8_t *)"", text.n, ret, NULL, EVP_sha256(), NULL);
}

static bool rsa_ready(EVP_PKEY_CTX *ctx)
{
    return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) > 0 &&
           EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) > 0;
}

static enum ll_dkim_fault verify_rsa(EVP_PKEY *key, const struct ll_dkim_sig *sig,
                                     const uint8_t hash[LL_DKIM_HASH])
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
    enum ll_dkim_fault fault = LL_DKIM_FAULT_RESOURCE;

    if (ctx && EVP_PKEY_verify_init(ctx) > 0 && rsa_ready(ctx))
        fault = EVP_PKEY_verify(ctx, sig->b, sig->b_n, hash, LL_DKIM_HASH) == 1
                    ? LL_DKIM_FAULT_OK
                    : LL_DKIM_FAULT_SIGNATURE;
    EVP_PKEY_CTX_free(ctx);
    return fault;
}

enum ll_dkim_fault ll_dkim_verify_hash(EVP_PKEY *key, const struct ll_dkim_sig *sig,
                                       const uint8_t hash[LL_DKIM_HASH])
{
    enum ll_dkim_fault fault = LL_DKIM_FAULT_RESOURCE;
    EVP_MD_CTX *ctx;

    if (sig->algorithm == LL_DKIM_RSA)
        return verify_rsa(key, sig, hash);
    /* RFC 8463 3: PureEdDSA over the hash. */
    ctx = EVP_MD_CTX_new();
    if (ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) > 0)
        fault = EVP_DigestVerify(ctx, sig->b, sig->b_n, hash, LL_DKIM_HASH) == 1
                    ? LL_DKIM_FAULT_OK
                    : LL_DKIM_FAULT_SIGNATURE;
    EVP_MD_CTX_free(ctx);
    return fault;
}

bool ll_dkim_key_algorithm(EVP_PKEY *key, enum ll_dkim_algorithm *ret, unsigned *ret_bits)
{
    unsigned bits = (unsigned)EVP_PKEY_get_bits(key);

    if (EVP_PKEY_get_id(key) == EVP_PKEY_ED25519) {
        *ret = LL_DKIM_ED25519;
        *ret_bits = bits;
        return true;
    }
    if (EVP_PKEY_get_id(key) != EVP_PKEY_RSA || bits < LL_DKIM_RSA_BITS_MIN ||
        bits > LL_DKIM_RSA_BITS_MAX)
        return false;
    *ret = LL_DKIM_RSA;
    *ret_bits = bits;
    return true;
}

static bool sign_rsa(EVP_PKEY *key, const uint8_t hash[LL_DKIM_HASH], uint8_t *ret, size_t *ret_n)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
    bool ok = ctx && EVP_PKEY_sign_init(ctx) > 0 && rsa_ready(ctx) &&
              EVP_PKEY_sign(ctx, ret, ret_n, hash, LL_DKIM_HASH) > 0;

    EVP_PKEY_CTX_free(ctx);
    return ok;
}

bool ll_dkim_key_sign(EVP_PKEY *key, struct ll_slice text, struct ll_buf *ret)
{
    uint8_t hash[LL_DKIM_HASH], b[LL_DKIM_SIGNATURE_ROOM];
    enum ll_dkim_algorithm algorithm;
    size_t n = sizeof(b);
    unsigned bits;
    bool ok;

    if (!ll_dkim_key_algorithm(key, &algorithm, &bits) || !ll_dkim_sha256(text, hash))
        return false;
    if (algorithm == LL_DKIM_RSA) {
        ok = sign_rsa(key, hash, b, &n);
    } else {
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();

        ok = ctx && EVP_DigestSignInit(ctx, NULL, NULL, NULL, key) > 0 &&
             EVP_DigestSign(ctx, b, &n, hash, sizeof(hash)) > 0;
        EVP_MD_CTX_free(ctx);
    }
    if (ok)
        ll_buf_put(ret, b, n);
    return ok && !ret->failed;
}

static void der_put(struct ll_buf *out, uint8_t tag, struct ll_slice content)
{
    ll_buf_putc(out, tag);
    if (content.n >= 0x100)
        ll_buf_putc(out, 0x82);
    else if (content.n >= 0x80)
        ll_buf_putc(out, 0x81);
    if (content.n >= 0x100)
        ll_buf_putc(out, (uint8_t)(content.n >> 8));
    ll_buf_putc(out, (uint8_t)content.n);
    ll_buf_put_slice(out, content);
}

static void der_put_bn(struct ll_buf *out, const BIGNUM *bn)
{
    uint8_t raw[1 + LL_DKIM_RSA_BITS_MAX / 8] = {0};
    int n = BN_num_bytes(bn);

    if (n < 1 || n > (int)sizeof(raw) - 1 || BN_bn2bin(bn, raw + 1) != n) {
        out->failed = true;
        return;
    }
    der_put(out, DER_INTEGER,
            raw[1] >= 0x80 ? ll_slice(raw, (size_t)n + 1) : ll_slice(raw + 1, (size_t)n));
}

/* SubjectPublicKeyInfo, which every verifier reads. */
static void put_spki(EVP_PKEY *key, struct ll_buf *out)
{
    static const uint8_t rsa[] = {0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86,
                                  0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00};
    struct ll_buf inner = LL_BUF(LL_DKIM_KEY_ROOM), outer = LL_BUF(LL_DKIM_KEY_ROOM),
                  bits = LL_BUF(LL_DKIM_KEY_ROOM);
    BIGNUM *n = NULL, *e = NULL;

    if (EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &n) > 0 &&
        EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &e) > 0) {
        der_put_bn(&inner, n);
        der_put_bn(&inner, e);
        ll_buf_putc(&bits, 0);
        der_put(&bits, DER_SEQUENCE, ll_buf_slice(&inner));
        ll_buf_put(&outer, rsa, sizeof(rsa));
        der_put(&outer, DER_BIT_STRING, ll_buf_slice(&bits));
        der_put(out, DER_SEQUENCE, ll_buf_slice(&outer));
    }
    if (inner.failed || bits.failed || outer.failed || outer.n == 0)
        out->failed = true;
    BN_free(n);
    BN_free(e);
    ll_buf_release(&inner);
    ll_buf_release(&outer);
    ll_buf_release(&bits);
}

bool ll_dkim_key_record(EVP_PKEY *key, struct ll_buf *out)
{
    struct ll_buf raw = LL_BUF(LL_DKIM_KEY_ROOM);
    uint8_t ed[ED25519_KEY];
    enum ll_dkim_algorithm algorithm;
    size_t n = sizeof(ed);
    unsigned bits;
    bool ok = ll_dkim_key_algorithm(key, &algorithm, &bits);

    if (ok && algorithm == LL_DKIM_ED25519) {
        ok = EVP_PKEY_get_raw_public_key(key, ed, &n) > 0;
        ll_buf_put(&raw, ed, n);
    } else if (ok) {
        put_spki(key, &raw);
    }
    if (ok && !raw.failed) {
        ll_buf_printf(out, "v=DKIM1; k=%s; p=", key_types[algorithm]);
        ll_base64_encode(out, ll_buf_slice(&raw));
    }
    ok = ok && !raw.failed && !out->failed;
    ll_buf_release(&raw);
    return ok;
}
