/* What a certificate says. See include/letterlock/smime.h. */
#include "lib/smime/internal.h"
#include "letterlock/addr.h"

static struct ll_slice drain(BIO *bio, struct ll_arena *a)
{
    char *p = NULL;
    long n = BIO_get_mem_data(bio, &p);

    return ll_arena_dup(a, ll_slice(p, n > 0 ? (size_t)n : 0));
}

struct ll_slice ll_smime_name(const X509_NAME *name, struct ll_arena *a)
{
    BIO *bio = BIO_new(BIO_s_mem());
    struct ll_slice r = {0};

    if (bio && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) >= 0)
        r = drain(bio, a);
    BIO_free(bio);
    return r;
}

static void put_hex(struct ll_buf *out, const ASN1_STRING *s)
{
    ll_hex_encode(out, ll_slice(ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s)));
}

struct ll_slice ll_smime_issuer_serial(const X509_NAME *issuer, const ASN1_INTEGER *serial,
                                       struct ll_arena *a)
{
    struct ll_buf text = LL_BUF(LL_SMIME_CERT_MAX);
    struct ll_slice r;

    ll_buf_put_slice(&text, ll_smime_name(issuer, a));
    ll_buf_puts(&text, ", serial ");
    put_hex(&text, serial);
    r = text.failed ? ll_slice(NULL, 0) : ll_arena_dup(a, ll_buf_slice(&text));
    ll_buf_release(&text);
    return r;
}

struct ll_slice ll_smime_id(const ASN1_OCTET_STRING *keyid, const X509_NAME *issuer,
                            const ASN1_INTEGER *serial, struct ll_arena *a)
{
    struct ll_buf text = LL_BUF(LL_SMIME_CERT_MAX);
    struct ll_slice r;

    if (issuer && serial)
        return ll_smime_issuer_serial(issuer, serial, a);
    ll_buf_puts(&text, "key id ");
    if (keyid)
        put_hex(&text, keyid);
    r = text.failed ? ll_slice(NULL, 0) : ll_arena_dup(a, ll_buf_slice(&text));
    ll_buf_release(&text);
    return r;
}

int64_t ll_smime_time(const ASN1_TIME *t)
{
    ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
    int days = 0, seconds = 0;
    bool ok = t && epoch && ASN1_TIME_diff(&days, &seconds, epoch, t);

    ASN1_TIME_free(epoch);
    return ok ? (int64_t)days * 86400 + seconds : 0;
}

struct ll_slice ll_smime_der(X509 *cert, struct ll_arena *a)
{
    int n = i2d_X509(cert, NULL);
    unsigned char *p = n > 0 ? ll_arena_alloc(a, (size_t)n) : NULL, *to = p;

    if (!p)
        return ll_slice(NULL, 0);
    i2d_X509(cert, &to);
    return ll_slice(p, (size_t)n);
}

/* ---- addresses ------------------------------------------------------------------------------- */

struct addresses {
    struct ll_arena *a;
    struct ll_slice v[LL_SMIME_ADDRESSES_MAX];
    size_t n;
    bool named; /* subjectAltName has addresses, whether or not they can be read */
    bool full;  /* the arena */
};

static void add_address(struct addresses *to, const ASN1_STRING *s, bool utf8)
{
    struct ll_mailbox m;

    if (!s || to->n == LL_COUNT(to->v) ||
        ll_mailbox_parse(ll_slice(ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s)), utf8,
                         &m) != LL_ADDR_OK)
        return;
    /* RFC 8398 3: an ASCII local part has to stand in rfc822Name, where name constraints see it. */
    if (utf8 && !m.utf8)
        return;
    for (size_t i = 0; i < to->n; i++)
        if (ll_slice_eq(to->v[i], ll_mailbox_text(&m)))
            return;
    to->v[to->n] = ll_arena_dup(to->a, ll_mailbox_text(&m));
    if (to->v[to->n].p)
        to->n++;
    else
        to->full = true;
}

static void san_addresses(struct addresses *to, X509 *cert)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);

        if (g->type == GEN_EMAIL) {
            to->named = true;
            add_address(to, g->d.rfc822Name, false);
        } else if (g->type == GEN_OTHERNAME &&
                   OBJ_obj2nid(g->d.otherName->type_id) == NID_id_on_SmtpUTF8Mailbox &&
                   g->d.otherName->value->type == V_ASN1_UTF8STRING) {
            to->named = true;
            add_address(to, g->d.otherName->value->value.utf8string, true);
        }
    }
    GENERAL_NAMES_free(names);
}

bool ll_smime_addresses(X509 *cert, struct ll_arena *a, struct ll_slice **ret, size_t *ret_n)
{
    struct addresses to = {.a = a};
    const X509_NAME *subject = X509_get_subject_name(cert);
    struct ll_slice *v;
    int at = -1;

    san_addresses(&to, cert);
    /* RFC 8550 3: the old place is read too, where the new one says nothing. An authority that
     * checks the new one alone may have copied the subject out of the request. */
    while (!to.named && (at = X509_NAME_get_index_by_NID(subject, NID_pkcs9_emailAddress, at)) >= 0)
        add_address(&to, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)), false);
    v = ll_arena_alloc(a, to.n * sizeof(*v));
    if (!v || to.full)
        return false;
    for (size_t i = 0; i < to.n; i++)
        v[i] = to.v[i];
    *ret = v;
    *ret_n = to.n;
    return true;
}

bool ll_smime_speaks_for(struct ll_smime *s, struct ll_slice fingerprint, struct ll_slice address)
{
    struct ll_smime_entry *e = ll_smime_find(s, fingerprint);
    struct ll_mailbox want, have;
    struct ll_arena a;
    struct ll_slice *v;
    size_t n = 0;
    bool yes = false;

    if (!e || ll_mailbox_parse(address, true, &want) != LL_ADDR_OK)
        return false;
    ll_arena_init(&a, 2 * LL_SMIME_CERT_MAX);
    if (ll_smime_addresses(e->cert, &a, &v, &n))
        for (size_t i = 0; i < n && !yes; i++)
            yes =
                ll_mailbox_parse(v[i], true, &have) == LL_ADDR_OK && ll_mailbox_same(&want, &have);
    ll_arena_release(&a);
    return yes;
}

enum ll_seal_error ll_smime_list(struct ll_smime *s, struct ll_slice address, struct ll_arena *a,
                                 struct ll_slice **ret, size_t *ret_n)
{
    struct ll_slice *v = ll_arena_alloc(a, s->n * sizeof(*v));
    size_t n = 0;

    for (size_t i = 0; v && i < s->n; i++) {
        struct ll_slice hex = ll_smime_hex(s->v[i].hash, a);

        if (!hex.p)
            return LL_SEAL_RESOURCE;
        if (address.n == 0 || ll_smime_speaks_for(s, hex, address))
            v[n++] = hex;
    }
    if (!v)
        return LL_SEAL_RESOURCE;
    *ret = v;
    *ret_n = n;
    return LL_SEAL_OK;
}

/* ---- URLs ------------------------------------------------------------------------------------ */

#define URLS_MAX 8 /* of one kind in one certificate; the rest is left out */

struct urls {
    struct ll_arena *a;
    struct ll_slice *v;
    size_t n;
};

static void add_url(struct urls *to, const GENERAL_NAME *g)
{
    struct ll_slice s;

    if (g->type != GEN_URI || to->n == URLS_MAX)
        return;
    s = ll_slice(ASN1_STRING_get0_data(g->d.uniformResourceIdentifier),
                 (size_t)ASN1_STRING_length(g->d.uniformResourceIdentifier));
    if (!ll_slice_casestarts(s, LL_LIT("http://")) && !ll_slice_casestarts(s, LL_LIT("https://")))
        return;
    for (size_t i = 0; i < s.n; i++)
        if (!ll_is_print(s.p[i]) || s.p[i] == ' ')
            return;
    if (!to->v)
        to->v = ll_arena_alloc(to->a, URLS_MAX * sizeof(*to->v));
    if (to->v)
        to->v[to->n++] = ll_arena_dup(to->a, s);
}

static void crl_urls(struct urls *to, X509 *cert)
{
    CRL_DIST_POINTS *points = X509_get_ext_d2i(cert, NID_crl_distribution_points, NULL, NULL);

    for (int i = 0; i < sk_DIST_POINT_num(points); i++) {
        const DIST_POINT *p = sk_DIST_POINT_value(points, i);

        if (p->distpoint && p->distpoint->type == 0)
            for (int k = 0; k < sk_GENERAL_NAME_num(p->distpoint->name.fullname); k++)
                add_url(to, sk_GENERAL_NAME_value(p->distpoint->name.fullname, k));
    }
    CRL_DIST_POINTS_free(points);
}

static void access_urls(struct urls *to, X509 *cert, int method)
{
    AUTHORITY_INFO_ACCESS *v = X509_get_ext_d2i(cert, NID_info_access, NULL, NULL);

    for (int i = 0; i < sk_ACCESS_DESCRIPTION_num(v); i++) {
        const ACCESS_DESCRIPTION *d = sk_ACCESS_DESCRIPTION_value(v, i);

        if (OBJ_obj2nid(d->method) == method)
            add_url(to, d->location);
    }
    AUTHORITY_INFO_ACCESS_free(v);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static const struct {
    const char *group, *word;
} curves[] = {{"prime256v1", "p256"}, {"secp384r1", "p384"}, {"secp521r1", "p521"}};

const char *ll_smime_curve(const EVP_PKEY *key)
{
    char group[64];
    size_t n;

    if (EVP_PKEY_get_base_id(key) == EVP_PKEY_EC &&
        EVP_PKEY_get_group_name(key, group, sizeof(group), &n))
        for (size_t i = 0; i < LL_COUNT(curves); i++)
            if (strcmp(group, curves[i].group) == 0)
                return curves[i].word;
    return NULL;
}

void ll_smime_key_words(const EVP_PKEY *key, struct ll_buf *out)
{
    const char *curve = key ? ll_smime_curve(key) : NULL;

    switch (key ? EVP_PKEY_get_base_id(key) : EVP_PKEY_NONE) {
    case EVP_PKEY_RSA:
        ll_buf_printf(out, "rsa %d", EVP_PKEY_get_bits(key));
        break;
    case EVP_PKEY_RSA_PSS:
        ll_buf_printf(out, "rsa-pss %d", EVP_PKEY_get_bits(key));
        break;
    case EVP_PKEY_EC:
        ll_buf_printf(out, "ecdsa %s", curve ? curve : "on an unusual curve");
        break;
    case EVP_PKEY_ED25519:
        ll_buf_puts(out, "ed25519");
        break;
    case EVP_PKEY_X25519:
        ll_buf_puts(out, "x25519");
        break;
    default:
        ll_buf_puts(out, "unknown");
    }
}

struct ll_slice ll_smime_cert_name(X509 *cert, struct ll_arena *a)
{
    const X509_NAME *subject = X509_get_subject_name(cert);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    struct ll_slice r = {0}, *address;
    unsigned char *utf8 = NULL;
    size_t n_address;

    if (at >= 0) {
        int n =
            ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));

        if (n > 0)
            r = ll_arena_dup(a, ll_slice(utf8, (size_t)n));
        OPENSSL_free(utf8);
    }
    if (r.n == 0 && ll_smime_addresses(cert, a, &address, &n_address) && n_address > 0)
        r = address[0];
    return r;
}

static bool describe(const struct ll_smime_entry *e, struct ll_arena *a, struct ll_smime_cert *c)
{
    struct urls crl = {.a = a}, ocsp = {.a = a}, issuer = {.a = a};
    struct ll_buf text = LL_BUF(256);
    X509 *cert = e->cert;

    c->fingerprint = ll_smime_hex(e->hash, a);
    c->subject = ll_smime_name(X509_get_subject_name(cert), a);
    c->issuer = ll_smime_name(X509_get_issuer_name(cert), a);
    c->name = ll_smime_cert_name(cert, a);
    put_hex(&text, X509_get0_serialNumber(cert));
    c->serial = ll_arena_dup(a, ll_buf_slice(&text));
    ll_buf_clear(&text);
    ll_smime_key_words(X509_get0_pubkey(cert), &text);
    c->algorithm = ll_arena_dup(a, ll_buf_slice(&text));
    ll_buf_release(&text);
    c->not_before = ll_smime_time(X509_get0_notBefore(cert));
    c->not_after = ll_smime_time(X509_get0_notAfter(cert));
    c->der = ll_smime_der(cert, a);
    crl_urls(&crl, cert);
    access_urls(&ocsp, cert, NID_ad_OCSP);
    access_urls(&issuer, cert, NID_ad_ca_issuers);
    c->crl_url = crl.v, c->n_crl_url = crl.n;
    c->ocsp_url = ocsp.v, c->n_ocsp_url = ocsp.n;
    c->issuer_url = issuer.v, c->n_issuer_url = issuer.n;
    return ll_smime_addresses(cert, a, &c->address, &c->n_address) && c->fingerprint.p &&
           c->serial.p && c->algorithm.p && c->der.p;
}

enum ll_seal_error ll_smime_cert(struct ll_smime *s, struct ll_slice fingerprint,
                                 struct ll_arena *a, struct ll_smime_cert *ret)
{
    struct ll_smime_entry *e = ll_smime_find(s, fingerprint);
    struct ll_smime_cert c = {0};

    if (!e)
        return LL_SEAL_NO_KEY;
    if (!describe(e, a, &c))
        return ll_smime_failed(LL_SEAL_RESOURCE);
    c.secret = e->key || e->locked.n > 0;
    c.locked = !e->key && e->locked.n > 0;
    c.can_sign = ll_smime_fits(e->cert, LL_SMIME_SIGN) == LL_SMIME_FAULT_OK;
    c.can_encrypt = ll_smime_fits(e->cert, LL_SMIME_ENCRYPT) == LL_SMIME_FAULT_OK;
    c.self_signed = X509_self_signed(e->cert, 1) == 1;
    c.ca = X509_check_ca(e->cert) == 1;
    c.trusted = e->anchor || e->pinned;
    c.capabilities = ll_smime_entry_capabilities(e);
    *ret = c;
    return ll_smime_failed(LL_SEAL_OK);
}
