/* Clients: see tls.h. */
#include "io/tls_internal.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <openssl/crypto.h>
#include <openssl/err.h>

#define NAMES_MAX 64 /* names and pins of one target */

/* ---- the server's certificate
 * ------------------------------------------------------------------------ */

static bool pin_matches(const struct ll_tls_conn *c, X509 *leaf)
{
    uint8_t spki[32];
    if (!leaf || !ll_tls_spki(leaf, spki))
        return false;
    for (size_t i = 0; i < c->n_pins; i++)
        if (memcmp(c->pins[i], spki, sizeof(spki)) == 0)
            return true;
    return false;
}

static int judge(struct ll_tls_conn *c, X509_STORE_CTX *x, const char **ret_name)
{
    X509 *leaf = X509_STORE_CTX_get0_cert(x);
    if (c->n_pins && !pin_matches(c, leaf))
        return X509_V_ERR_APPLICATION_VERIFICATION;
    if (!c->client->trust)
        return X509_V_OK;
    if (X509_verify_cert(x) != 1) {
        int code = X509_STORE_CTX_get_error(x);
        return code == X509_V_OK ? X509_V_ERR_UNSPECIFIED : code;
    }
    *ret_name = ll_tls_name_match(leaf, c->names);
    return *ret_name ? X509_V_OK : X509_V_ERR_HOSTNAME_MISMATCH;
}

static int on_server_cert(X509_STORE_CTX *x, void *arg)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(x, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct ll_tls_conn *c = ll_tls_conn_of(ssl);
    const char *name = NULL;
    if (!c->client->verify)
        return 1; /* any certificate will do: do not spend time on it */
    int code = judge(c, x, &name);
    X509_STORE_CTX_set_error(x, code);
    c->facts.verified = code == X509_V_OK;
    if (name)
        snprintf(c->facts.peer_name, sizeof(c->facts.peer_name), "%s", name);
    if (code != X509_V_OK)
        ll_tls_verify_sentence(c->facts.verify_error, sizeof(c->facts.verify_error), code,
                               X509_STORE_CTX_get0_cert(x), c->names);
    return code == X509_V_OK;
}

/* ---- sessions
 * ------------------------------------------------------------------------------------------ */

static int on_session(SSL *ssl, SSL_SESSION *session)
{
    struct ll_tls_conn *c = ll_tls_conn_of(ssl);
    if (!c)
        return 0;
    SSL_SESSION_free(c->session);
    c->session = session;
    return 1; /* the reference is ours now */
}

struct ll_tls_session *ll_tls_session(struct ll_tls_conn *c)
{
    if (!c->client || !c->done || c->error[0])
        return NULL;
    if (!c->session) /* the server gave no new ticket; the old one may still be good */
        c->session = SSL_get1_session(c->ssl);
    if (!c->session || !SSL_SESSION_is_resumable(c->session))
        return NULL;
    struct ll_tls_session *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    SSL_SESSION_up_ref(c->session);
    s->session = c->session;
    memcpy(s->policy, c->policy, sizeof(s->policy));
    return s;
}

void ll_tls_session_free(struct ll_tls_session *s)
{
    if (!s)
        return;
    SSL_SESSION_free(s->session);
    free(s);
}

/* A digest of all that a session must have been made under to be resumed: a verified connection
 * never resumes a session in which less was proven. */
static bool policy_digest(struct ll_tls_conn *c, struct ll_slice server_name)
{
    static const uint8_t none[32];
    const struct ll_tls_client *cl = c->client;
    struct ll_buf b = LL_BUF(1 << 16);
    ll_buf_u8(&b, cl->verify);
    ll_buf_str16(&b, server_name);
    ll_buf_put(&b, cl->cert_digest, sizeof(cl->cert_digest));
    if (cl->verify) {
        ll_buf_put(&b, cl->trust ? cl->trust->digest : none, 32);
        for (char **p = c->names; *p; p++)
            ll_buf_str16(&b, ll_slice_str(*p));
        ll_buf_u8(&b, 0xff);
        ll_buf_put(&b, c->pins, c->n_pins * LL_TLS_PIN);
    }
    bool ok =
        !b.failed && EVP_Q_digest(ll_tls_libctx, "SHA256", NULL, b.p, b.n, c->policy, NULL) == 1;
    ll_buf_release(&b);
    return ok;
}

static void resume(struct ll_tls_conn *c, const struct ll_tls_session *s)
{
    if (!s || memcmp(s->policy, c->policy, sizeof(c->policy)) != 0)
        return;
    X509 *peer = SSL_SESSION_get0_peer(s->session);
    if (c->client->verify && c->client->trust &&
        (!peer || X509_cmp_current_time(X509_get0_notAfter(peer)) < 0))
        return; /* it has expired since */
    SSL_set_session(c->ssl, s->session);
}

/* ---- the client
 * ---------------------------------------------------------------------------------------- */

static bool client_ctx(struct ll_tls_client *c, const struct ll_tls_client_opts *o)
{
    static const uint8_t smtp[] = {4, 's', 'm', 't', 'p'};
    SSL_CTX *ctx = c->ctx = SSL_CTX_new_ex(ll_tls_libctx, LL_TLS_PROPQ, TLS_client_method());
    if (!ctx || !ll_tls_ctx_common(ctx, false))
        return false;
    /* Where any certificate will do, a weak one does too: the alternative is clear text. */
    SSL_CTX_set_security_level(ctx, c->verify ? 2 : 0);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, on_server_cert, NULL);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_session);
    if (c->trust)
        SSL_CTX_set1_cert_store(ctx, c->trust->store);
    if (o->cert && (!ll_tls_ctx_cert(ctx, o->cert) || !ll_tls_spki(o->cert->leaf, c->cert_digest)))
        return false;
    return !o->alpn || SSL_CTX_set_alpn_protos(ctx, smtp, sizeof(smtp)) == 0;
}

struct ll_tls_client *ll_tls_client_new(const struct ll_tls_client_opts *o, struct ll_buf *err)
{
    struct ll_tls_client *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    c->refs = 1;
    c->verify = o->level == LL_TLS_VERIFY;
    c->trust = c->verify && o->trust ? ll_tls_trust_ref(o->trust) : NULL;
    if (!client_ctx(c, o)) {
        ll_tls_fault(err, "TLS cannot be set up");
        ll_tls_client_free(c);
        return NULL;
    }
    ERR_clear_error();
    return c;
}

void ll_tls_client_free(struct ll_tls_client *c)
{
    if (!c || --c->refs)
        return;
    SSL_CTX_free(c->ctx);
    ll_tls_trust_free(c->trust);
    free(c);
}

static bool is_address(const char *s)
{
    uint8_t ip[16];
    return inet_pton(AF_INET, s, ip) == 1 || inet_pton(AF_INET6, s, ip) == 1;
}

static bool set_target(struct ll_tls_conn *c, const struct ll_tls_target *t)
{
    struct ll_slice host = t->server_name;
    if (t->n_names > NAMES_MAX || t->n_pins > NAMES_MAX || host.n > 255)
        return false;
    if (host.n && host.p[host.n - 1] == '.') /* RFC 6066 3: without the trailing dot */
        host.n--;
    char *name = ll_slice_dup(host);
    c->names = t->n_names ? ll_tls_names_dup(t->names, t->n_names)
                          : ll_tls_names_dup(&host, host.n ? 1 : 0);
    c->pins = calloc(t->n_pins + 1, sizeof(*c->pins));
    bool ok = name && c->names && c->pins;
    if (ok && t->n_pins)
        memcpy(c->pins, t->pins, t->n_pins * sizeof(*c->pins));
    c->n_pins = t->n_pins;
    if (ok && name[0] && !is_address(name))
        ok = SSL_set_tlsext_host_name(c->ssl, name) == 1;
    /* nothing to prove means nothing is proven: that would accept anyone */
    ok = ok && (!c->client->verify || (c->client->trust ? c->names[0] != NULL : c->n_pins > 0));
    free(name);
    return ok && policy_digest(c, host);
}

struct ll_tls_conn *ll_tls_connect(struct ll_tls_client *cl, int fd, const struct ll_tls_target *t)
{
    struct ll_tls_conn *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    cl->refs++;
    c->client = cl;
    if (!(c->ssl = SSL_new(cl->ctx)) || SSL_set_fd(c->ssl, fd) != 1 || !set_target(c, t)) {
        ll_tls_free(c);
        ERR_clear_error();
        return NULL;
    }
    SSL_set_app_data(c->ssl, c);
    SSL_set_connect_state(c->ssl);
    resume(c, t->resume);
    return c;
}
