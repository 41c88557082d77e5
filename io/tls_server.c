/* Servers: see tls.h. */
#include "io/tls_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rand.h>

#define CLIENT_CHAIN_MAX                                                                           \
    (32 * 1024) /* octets of a client's certificates, which anyone may send                        \
                 */

/* ---- certificates by name
 * -------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct ll_tls_sni *)a)->name, ((const struct ll_tls_sni *)b)->name);
}

static SSL_CTX *find_name(const struct ll_tls_set *set, const char *name)
{
    struct ll_tls_sni key = {.name = name};
    struct ll_tls_sni *hit =
        set->n_sni ? bsearch(&key, set->sni, set->n_sni, sizeof(key), by_name) : NULL;
    return hit ? hit->ctx : NULL;
}

/* The context for a name: exact, else by a wildcard for its first label, else NULL. */
static SSL_CTX *find(const struct ll_tls_set *set, const char *sni)
{
    char name[256];
    size_t n = strlen(sni);
    if (n == 0 || n >= sizeof(name))
        return NULL;
    for (size_t i = 0; i <= n; i++)
        name[i] = (char)ll_lower((uint8_t)sni[i]);
    SSL_CTX *ctx = find_name(set, name);
    char *dot = ctx ? NULL : strchr(name, '.');
    if (!dot || dot == name)
        return ctx;
    dot[-1] = '*';
    return find_name(set, dot - 1);
}

static int on_server_name(SSL *ssl, int *alert, void *arg)
{
    const struct ll_tls_conn *c = ll_tls_conn_of(ssl);
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    SSL_CTX *ctx = name && c && c->set ? find(c->set, name) : NULL;
    if (!name)
        return SSL_TLSEXT_ERR_NOACK;
    if (ctx && ctx != SSL_get_SSL_CTX(ssl) && !SSL_set_SSL_CTX(ssl, ctx)) {
        *alert = SSL_AD_INTERNAL_ERROR;
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    return ctx ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

/* ---- other callbacks
 * -------------------------------------------------------------------------------- */

static int on_alpn(SSL *ssl, const uint8_t **out, uint8_t *out_n, const uint8_t *in, unsigned n,
                   void *arg)
{
    static const uint8_t smtp[] = {4, 's', 'm', 't', 'p'};
    uint8_t *hit = NULL;
    if (SSL_select_next_proto(&hit, out_n, smtp, sizeof(smtp), in, n) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = hit;
    return SSL_TLSEXT_ERR_OK;
}

/* Sets cipher and MAC up for one ticket key: name, HMAC key, AES key. */
static bool ticket_crypto(const uint8_t *key, const uint8_t *iv, EVP_CIPHER_CTX *cipher,
                          EVP_MAC_CTX *mac, bool encrypt)
{
    static EVP_CIPHER *aes; /* fetched once: a fetch at each handshake costs a lock and a search */
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)(key + 16), 32),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0),
        OSSL_PARAM_construct_end()};
    if (!aes && !(aes = EVP_CIPHER_fetch(ll_tls_libctx, "AES-256-CBC", LL_TLS_PROPQ)))
        return false;
    return EVP_MAC_CTX_set_params(mac, params) == 1 &&
           EVP_CipherInit_ex(cipher, aes, NULL, key + 48, iv, encrypt) == 1;
}

static int on_ticket(SSL *ssl, uint8_t name[16], uint8_t iv[EVP_MAX_IV_LENGTH],
                     EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int encrypt)
{
    const struct ll_tls_conn *c = ll_tls_conn_of(ssl);
    const struct ll_tls_server *s = c ? c->server : NULL;
    if (!s || s->n_keys == 0)
        return encrypt ? -1 : 0;
    if (encrypt) {
        memcpy(name, s->keys[0], 16);
        if (RAND_bytes_ex(ll_tls_libctx, iv, 16, 0) != 1)
            return -1;
        return ticket_crypto(s->keys[0], iv, cipher, mac, true) ? 1 : -1;
    }
    /* TLS 1.3 clients use a ticket once (RFC 8446 C.4): they get a new one for it */
    bool renew = SSL_version(ssl) == TLS1_3_VERSION;
    for (size_t i = 0; i < s->n_keys; i++)
        if (memcmp(name, s->keys[i], 16) == 0)
            return !ticket_crypto(s->keys[i], iv, cipher, mac, false) ? -1 : renew || i ? 2 : 1;
    return 0;
}

/* Looks at a client's certificate, notes what it proves, and never ends the handshake. */
static int on_client_cert(X509_STORE_CTX *x, void *arg)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(x, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct ll_tls_conn *c = ll_tls_conn_of(ssl);
    X509 *leaf = X509_STORE_CTX_get0_cert(x);
    const char *name = NULL;
    int code = X509_verify_cert(x) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(x);
    if (code == X509_V_OK && !(name = ll_tls_name_match(leaf, c->server->names)))
        code = X509_V_ERR_HOSTNAME_MISMATCH;
    /* a session remembers whether the chain was good; names are compared anew */
    if (code != X509_V_OK && code != X509_V_ERR_HOSTNAME_MISMATCH)
        X509_STORE_CTX_set_error(x, code);
    c->facts.verified = code == X509_V_OK;
    if (name)
        snprintf(c->facts.peer_name, sizeof(c->facts.peer_name), "%s", name);
    if (code != X509_V_OK)
        ll_tls_verify_sentence(c->facts.verify_error, sizeof(c->facts.verify_error), code, leaf,
                               c->server->names);
    ERR_clear_error();
    return 1;
}

/* ---- contexts
 * ----------------------------------------------------------------------------------------- */

/* Tickets are good for one listener, and only while it asks the same of its clients. */
static bool session_id_context(const struct ll_tls_server *s, uint8_t ret[32])
{
    static const uint8_t none[32];
    struct ll_buf b = LL_BUF(1024);
    ll_buf_str16(&b, ll_slice_str(s->name));
    ll_buf_put(&b, s->trust ? s->trust->digest : none, 32);
    bool ok = !b.failed && EVP_Q_digest(ll_tls_libctx, "SHA256", NULL, b.p, b.n, ret, NULL) == 1;
    ll_buf_release(&b);
    return ok;
}

static bool ask_for_cert(SSL_CTX *ctx, const struct ll_tls_trust *trust)
{
    for (int i = 0; i < sk_X509_NAME_num(trust->subjects); i++) {
        X509_NAME *name = X509_NAME_dup(sk_X509_NAME_value(trust->subjects, i));
        STACK_OF(X509_NAME) *list = (STACK_OF(X509_NAME) *)SSL_CTX_get_client_CA_list(ctx);
        if (!list) {
            if (!(list = sk_X509_NAME_new_null()))
                return false;
            SSL_CTX_set_client_CA_list(ctx, list);
        }
        if (!name || sk_X509_NAME_push(list, name) <= 0) {
            X509_NAME_free(name);
            return false;
        }
    }
    SSL_CTX_set1_cert_store(ctx, trust->store);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, on_client_cert, NULL);
    SSL_CTX_set_max_cert_list(ctx, CLIENT_CHAIN_MAX);
    return true;
}

static SSL_CTX *context(const struct ll_tls_server *s, const struct ll_tls_cert *a,
                        const struct ll_tls_cert *b)
{
    uint8_t id[32];
    SSL_CTX *ctx = SSL_CTX_new_ex(ll_tls_libctx, LL_TLS_PROPQ, TLS_server_method());
    if (!ctx || !ll_tls_ctx_common(ctx, s->strict) || !session_id_context(s, id) ||
        SSL_CTX_set_session_id_context(ctx, id, sizeof(id)) != 1 ||
        (s->trust && !ask_for_cert(ctx, s->trust)) || !ll_tls_ctx_cert(ctx, a) ||
        (b && !ll_tls_ctx_cert(ctx, b))) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    SSL_CTX_set_num_tickets(ctx, 1);
    SSL_CTX_set_tlsext_servername_callback(ctx, on_server_name);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket);
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
    return ctx;
}

/* ---- sets of certificates
 * ------------------------------------------------------------------------------ */

/* While a set is made: which certificates serve for one name. */
struct entry {
    const char *name;
    size_t cert[2]; /* ECDSA, RSA; index + 1, 0: none */
};

static int by_entry(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int c = strcmp(x->name, y->name);
    if (c)
        return c;
    size_t i = x->cert[0] + x->cert[1], j = y->cert[0] + y->cert[1]; /* one of them is 0 */
    return i < j ? -1 : i > j;
}

/* All names of all certificates, one entry a name with the first certificate of each kind. */
static struct entry *entries(struct ll_tls_cert *const *certs, size_t n, size_t *ret_n)
{
    size_t total = 0, k = 0;
    for (size_t i = 0; i < n; i++)
        for (char **p = certs[i]->names; *p; p++)
            total++;
    struct entry *e = calloc(total + 1, sizeof(*e));
    if (!e)
        return NULL;
    for (size_t i = 0; i < n; i++)
        for (char **p = certs[i]->names; *p; p++) {
            e[k].name = *p;
            e[k++].cert[certs[i]->rsa] = i + 1;
        }
    qsort(e, k, sizeof(*e), by_entry);
    size_t out = 0;
    for (size_t i = 0; i < k; i++) {
        if (out && strcmp(e[out - 1].name, e[i].name) == 0) {
            for (size_t t = 0; t < 2; t++)
                if (!e[out - 1].cert[t])
                    e[out - 1].cert[t] = e[i].cert[t];
        } else {
            e[out++] = e[i];
        }
    }
    *ret_n = out;
    return e;
}

/* The context of this pair of certificates, made when it is not there yet. pairs runs beside ctx.
 */
static SSL_CTX *pair_context(const struct ll_tls_server *s, struct ll_tls_set *set,
                             size_t (*pairs)[2], const size_t pair[2])
{
    for (size_t i = 0; i < set->n_ctx; i++)
        if (pairs[i][0] == pair[0] && pairs[i][1] == pair[1])
            return set->ctx[i];
    struct ll_tls_cert *a = pair[0] ? set->certs[pair[0] - 1] : NULL;
    struct ll_tls_cert *b = pair[1] ? set->certs[pair[1] - 1] : NULL;
    SSL_CTX *ctx = context(s, a ? a : b, a ? b : NULL);
    if (!ctx)
        return NULL;
    memcpy(pairs[set->n_ctx], pair, sizeof(pairs[0]));
    return set->ctx[set->n_ctx++] = ctx;
}

/* The default: the first certificate, and the first of the other kind beside it, where possible one
 * for the same name. */
static void default_pair(const struct ll_tls_set *set, const struct entry *e, size_t n_e,
                         size_t pair[2])
{
    bool rsa = set->certs[0]->rsa;
    pair[0] = pair[1] = 0;
    pair[rsa] = 1;
    for (size_t i = 0; i < n_e && !pair[!rsa]; i++)
        if (e[i].cert[rsa] == 1)
            pair[!rsa] = e[i].cert[!rsa];
    for (size_t i = 1; i < set->n_certs && !pair[!rsa]; i++)
        if (set->certs[i]->rsa != rsa)
            pair[!rsa] = i + 1;
}

static bool set_fill(const struct ll_tls_server *s, struct ll_tls_set *set)
{
    size_t n = 0, pair[2];
    struct entry *e = entries(set->certs, set->n_certs, &n);
    size_t(*pairs)[2] = calloc(n + 1, sizeof(*pairs));
    set->ctx = calloc(n + 1, sizeof(*set->ctx));
    set->sni = calloc(n + 1, sizeof(*set->sni));
    bool ok = e && pairs && set->ctx && set->sni;
    if (ok) {
        default_pair(set, e, n, pair);
        ok = pair_context(s, set, pairs, pair) != NULL;
    }
    for (size_t i = 0; ok && i < n; i++) {
        set->sni[i] = (struct ll_tls_sni){e[i].name, pair_context(s, set, pairs, e[i].cert)};
        ok = set->sni[i].ctx != NULL;
        set->n_sni = i + 1;
    }
    free(e);
    free(pairs);
    return ok;
}

static struct ll_tls_set *set_new(const struct ll_tls_server *s, struct ll_tls_cert *const *certs,
                                  size_t n)
{
    struct ll_tls_set *set = calloc(1, sizeof(*set));
    if (!set)
        return NULL;
    set->refs = 1;
    if (!(set->certs = calloc(n, sizeof(struct ll_tls_cert *)))) {
        free(set);
        return NULL;
    }
    for (; set->n_certs < n; set->n_certs++)
        set->certs[set->n_certs] = ll_tls_cert_ref(certs[set->n_certs]);
    if (set_fill(s, set))
        return set;
    ll_tls_set_free(set);
    return NULL;
}

void ll_tls_set_free(struct ll_tls_set *set)
{
    if (!set || --set->refs)
        return;
    for (size_t i = 0; i < set->n_ctx; i++)
        SSL_CTX_free(set->ctx[i]);
    for (size_t i = 0; i < set->n_certs; i++)
        ll_tls_cert_free(set->certs[i]);
    free(set->ctx);
    free(set->sni);
    free(set->certs);
    free(set);
}

/* ---- the server
 * ---------------------------------------------------------------------------------------- */

struct ll_tls_server *ll_tls_server_new(struct ll_slice name, bool strict)
{
    struct ll_tls_server *s = calloc(1, sizeof(*s));
    if (!s || !(s->name = ll_slice_dup(ll_slice_cut(name, 0, 900)))) {
        free(s);
        return NULL;
    }
    s->refs = 1;
    s->strict = strict;
    return s;
}

void ll_tls_server_free(struct ll_tls_server *s)
{
    if (!s || --s->refs)
        return;
    ll_tls_set_free(s->set);
    ll_tls_trust_free(s->trust);
    ll_tls_names_free(s->names);
    OPENSSL_cleanse(s->keys, sizeof(s->keys));
    free(s->name);
    free(s);
}

int ll_tls_server_certs(struct ll_tls_server *s, struct ll_tls_cert *const *certs, size_t n,
                        struct ll_buf *err)
{
    struct ll_tls_set *set = NULL;
    if (n > LL_TLS_CERTS_MAX) {
        ll_buf_printf(err, "more than %d certificates", LL_TLS_CERTS_MAX);
        return -1;
    }
    if (n > 0 && !(set = set_new(s, certs, n))) {
        ll_tls_fault(err, "the certificates cannot be used");
        return -1;
    }
    ll_tls_set_free(s->set);
    s->set = set;
    ERR_clear_error();
    return 0;
}

bool ll_tls_server_ready(const struct ll_tls_server *s)
{
    return s->set != NULL;
}

int ll_tls_server_ticket_keys(struct ll_tls_server *s, struct ll_slice keys)
{
    size_t n = keys.n / LL_TLS_TICKET_KEY;
    if (keys.n % LL_TLS_TICKET_KEY || n > LL_TLS_TICKET_KEYS_MAX)
        return -1;
    OPENSSL_cleanse(s->keys, sizeof(s->keys));
    if (keys.n)
        memcpy(s->keys, keys.p, keys.n);
    s->n_keys = n;
    return 0;
}

int ll_tls_server_clients(struct ll_tls_server *s, struct ll_tls_trust *trust,
                          const struct ll_slice *names, size_t n)
{
    struct ll_tls_trust *old = s->trust;
    struct ll_tls_set *set = NULL;
    char **copy = ll_tls_names_dup(names, n);
    if (!copy)
        return -1;
    s->trust = trust ? ll_tls_trust_ref(trust) : NULL;
    if (s->set && !(set = set_new(s, s->set->certs, s->set->n_certs))) {
        ll_tls_trust_free(s->trust);
        s->trust = old;
        ll_tls_names_free(copy);
        return -1;
    }
    if (set) {
        ll_tls_set_free(s->set);
        s->set = set;
    }
    ll_tls_names_free(s->names);
    s->names = copy;
    ll_tls_trust_free(old);
    return 0;
}

struct ll_tls_conn *ll_tls_accept(struct ll_tls_server *s, int fd)
{
    struct ll_tls_conn *c = s->set ? calloc(1, sizeof(*c)) : NULL;
    if (!c)
        return NULL;
    s->refs++;
    c->server = s;
    s->set->refs++;
    c->set = s->set;
    if (!(c->ssl = SSL_new(s->set->ctx[0])) || SSL_set_fd(c->ssl, fd) != 1) {
        ll_tls_free(c);
        ERR_clear_error();
        return NULL;
    }
    SSL_set_app_data(c->ssl, c);
    SSL_set_accept_state(c->ssl);
    if (s->n_keys == 0) {
        SSL_set_options(c->ssl, SSL_OP_NO_TICKET);
        SSL_set_num_tickets(c->ssl, 0);
    }
    return c;
}
