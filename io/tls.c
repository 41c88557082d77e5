/* The connection: see tls.h. */
#include "io/tls_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <openssl/err.h>

#include "io/cert.h"
#include "io/tls_provider.h"

OSSL_LIB_CTX *ll_tls_libctx;

/* Suites of TLS 1.2: ECDHE only. CBC is old, but better than clear text on port 25. */
#define SUITES_AEAD "ECDHE+AESGCM:ECDHE+CHACHA20"
#define SUITES_ALL  SUITES_AEAD ":ECDHE+AES:!aNULL:!PSK:!SRP"
#define GROUPS      "X25519:P-256:P-384" /* what the keeper signs for */
#define SIGALGS                                                                                    \
    "ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512:ed25519:rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:"      \
    "rsa_pss_rsae_sha512:RSA+SHA256:RSA+SHA384:RSA+SHA512"

struct ll_tls_conn *ll_tls_conn_of(const SSL *ssl)
{
    return SSL_get_app_data(ssl);
}

/* Sees every message. A peer that breaks a rule here finds the connection at its end: OpenSSL
 * throws away what follows once the shutdown flag stands. */
static void on_message(int write, int version, int type, const void *p, size_t n, SSL *ssl,
                       void *arg)
{
    enum { HANDSHAKE_KEY_UPDATE = 24 };
    struct ll_tls_conn *c = ll_tls_conn_of(ssl);
    const uint8_t *b = p;
    if (!c || c->broken)
        return;
    if (!write && type == SSL3_RT_HANDSHAKE && n > 0 && b[0] == HANDSHAKE_KEY_UPDATE &&
        SSL_version(ssl) == TLS1_3_VERSION && ++c->key_updates > LL_TLS_KEYUPDATE_MAX)
        c->broken = "the peer changed keys too often (KeyUpdate)";
    if (write && type == SSL3_RT_ALERT && n == 2 && b[1] == SSL_AD_NO_RENEGOTIATION)
        c->broken = "the peer asked for renegotiation, which is refused";
    if (c->broken)
        SSL_set_shutdown(ssl, SSL_get_shutdown(ssl) | SSL_RECEIVED_SHUTDOWN);
}

bool ll_tls_ctx_common(SSL_CTX *ctx, bool strict)
{
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ctx, 1); /* one read(2) a record, not two */
    SSL_CTX_set_msg_callback(ctx, on_message);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_timeout(ctx, 12 * 3600);
    return SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_cipher_list(ctx, strict ? SUITES_AEAD : SUITES_ALL) == 1 &&
           SSL_CTX_set1_groups_list(ctx, GROUPS) == 1 &&
           SSL_CTX_set1_sigalgs_list(ctx, SIGALGS) == 1;
}

bool ll_tls_ctx_cert(SSL_CTX *ctx, const struct ll_tls_cert *c)
{
    return SSL_CTX_use_certificate(ctx, c->leaf) == 1 && SSL_CTX_use_PrivateKey(ctx, c->key) == 1 &&
           SSL_CTX_set1_chain(ctx, c->chain) == 1;
}

/* ---- operations ---------------------------------------------------------------------------------
 */

static enum ll_tls_result outcome(struct ll_tls_conn *c, int rc)
{
    int sys = errno, e = SSL_get_error(c->ssl, rc);
    if (c->broken) {
        ll_tls_sentence(c, SSL_ERROR_SSL, 0);
        return LL_TLS_ERROR;
    }
    switch (e) {
    case SSL_ERROR_NONE:
        return LL_TLS_OK;
    case SSL_ERROR_WANT_READ:
        return LL_TLS_WANT_READ;
    case SSL_ERROR_WANT_WRITE:
        return LL_TLS_WANT_WRITE;
    case SSL_ERROR_ZERO_RETURN:
        return LL_TLS_CLOSED;
    default:
        ll_tls_sentence(c, e, sys);
        return LL_TLS_ERROR;
    }
}

/* After a failure, every further call fails too: the session must not go on. */
static bool dead(const struct ll_tls_conn *c)
{
    return c->error[0] != 0;
}

/* The session was resumed: no certificate was looked at now. It is as good as it was then, if it
 * still carries the name. (What was demanded is bound to the session: policy, session id context.)
 */
static void facts_resumed(struct ll_tls_conn *c, X509 *peer)
{
    char *const *names = c->server ? c->server->names : c->names;
    bool asked = c->server ? c->server->trust != NULL : c->client->verify;
    const char *name = NULL;
    if (!asked || !peer)
        return;
    long code = SSL_get_verify_result(c->ssl);
    bool pin_decides = c->client && !c->client->trust;
    if (code == X509_V_OK && X509_cmp_current_time(X509_get0_notAfter(peer)) < 0 && !pin_decides)
        code = X509_V_ERR_CERT_HAS_EXPIRED;
    if (code == X509_V_OK && !pin_decides && !(name = ll_tls_name_match(peer, names)))
        code = X509_V_ERR_HOSTNAME_MISMATCH;
    c->facts.verified = code == X509_V_OK;
    if (name)
        snprintf(c->facts.peer_name, sizeof(c->facts.peer_name), "%s", name);
    if (code != X509_V_OK)
        ll_tls_verify_sentence(c->facts.verify_error, sizeof(c->facts.verify_error), (int)code,
                               peer, names);
}

static void handshake_done(struct ll_tls_conn *c)
{
    const SSL_CIPHER *cipher = SSL_get_current_cipher(c->ssl);
    struct ll_tls_facts *f = &c->facts;
    X509 *peer = SSL_get0_peer_certificate(c->ssl);
    int bits = SSL_CIPHER_get_bits(cipher, NULL);
    const char *cipher_name = SSL_CIPHER_standard_name(cipher);
    const char *sni = SSL_get_servername(c->ssl, TLSEXT_NAMETYPE_host_name);
    c->done = true;
    f->version = SSL_get_version(c->ssl);
    f->cipher = cipher_name ? cipher_name : SSL_CIPHER_get_name(cipher);
    f->bits = bits > 0 ? (unsigned)bits : 0;
    f->resumed = SSL_session_reused(c->ssl) == 1;
    snprintf(f->server_name, sizeof(f->server_name), "%s", sni ? sni : "");
    f->peer_cert = peer != NULL;
    if (peer)
        ll_tls_spki(peer, f->peer_spki);
    if (f->resumed)
        facts_resumed(c, peer);
    ERR_clear_error();
}

enum ll_tls_result ll_tls_handshake(struct ll_tls_conn *c)
{
    if (c->done)
        return LL_TLS_OK;
    if (dead(c))
        return LL_TLS_ERROR;
    ERR_clear_error();
    errno = 0;
    int rc = SSL_do_handshake(c->ssl);
    enum ll_tls_result r = outcome(c, rc);
    if (r == LL_TLS_OK) {
        handshake_done(c);
    } else if (r == LL_TLS_CLOSED) {
        ll_tls_sentence(c, SSL_ERROR_SYSCALL, 0);
        return LL_TLS_ERROR;
    }
    return r;
}

enum ll_tls_result ll_tls_read(struct ll_tls_conn *c, void *p, size_t n, size_t *ret_n)
{
    if (dead(c) || !c->done)
        return LL_TLS_ERROR;
    ERR_clear_error();
    errno = 0;
    size_t got = 0;
    int rc = SSL_read_ex(c->ssl, p, n, &got);
    enum ll_tls_result r = outcome(c, rc);
    if (r == LL_TLS_OK)
        *ret_n = got;
    return r;
}

enum ll_tls_result ll_tls_write(struct ll_tls_conn *c, const void *p, size_t n, size_t *ret_n)
{
    if (dead(c) || !c->done)
        return LL_TLS_ERROR;
    if (n == 0) {
        *ret_n = 0;
        return LL_TLS_OK;
    }
    ERR_clear_error();
    errno = 0;
    size_t put = 0;
    int rc = SSL_write_ex(c->ssl, p, n, &put);
    enum ll_tls_result r = outcome(c, rc);
    if (r == LL_TLS_OK)
        *ret_n = put;
    return r;
}

enum ll_tls_result ll_tls_shutdown(struct ll_tls_conn *c)
{
    if (dead(c) || !c->done)
        return LL_TLS_ERROR;
    ERR_clear_error();
    errno = 0;
    int rc = SSL_shutdown(c->ssl);
    if (rc >= 0) /* 0: sent, the peer's own has not come; we do not wait */
        return LL_TLS_OK;
    enum ll_tls_result r = outcome(c, rc);
    return r == LL_TLS_WANT_READ || r == LL_TLS_CLOSED ? LL_TLS_OK : r;
}

bool ll_tls_pending(const struct ll_tls_conn *c)
{
    return SSL_has_pending(c->ssl) == 1;
}

const char *ll_tls_error(const struct ll_tls_conn *c)
{
    return c->error;
}

const struct ll_tls_facts *ll_tls_facts(const struct ll_tls_conn *c)
{
    return c->done ? &c->facts : NULL;
}

int ll_tls_export(struct ll_tls_conn *c, struct ll_slice label, uint8_t *out, size_t n)
{
    if (!c->done || dead(c))
        return -1;
    int rc = SSL_export_keying_material(c->ssl, out, n, (const char *)label.p, label.n,
                                        (const uint8_t *)"", 0, 1);
    ERR_clear_error();
    return rc == 1 ? 0 : -1;
}

void ll_tls_free(struct ll_tls_conn *c)
{
    if (!c)
        return;
    if (c->ssl && !dead(c)) /* else OpenSSL forbids the session to be resumed */
        SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(c->ssl);
    SSL_SESSION_free(c->session);
    ll_tls_set_free(c->set);
    ll_tls_server_free(c->server);
    ll_tls_client_free(c->client);
    ll_tls_names_free(c->names);
    free(c->pins);
    free(c);
}

/* ---- start
 * ---------------------------------------------------------------------------------------- */

/* Runs both ends until they wait for each other no more. */
static bool warm_ends(struct ll_tls_conn *s, struct ll_tls_conn *c)
{
    char word[4];
    size_t n = 0;
    for (int i = 0; i < 20; i++) {
        enum ll_tls_result a = ll_tls_handshake(c), b = ll_tls_handshake(s);
        if (a == LL_TLS_ERROR || b == LL_TLS_ERROR)
            return false;
        if (a == LL_TLS_OK && b == LL_TLS_OK)
            return ll_tls_write(c, "warm", 4, &n) == LL_TLS_OK &&
                   ll_tls_read(s, word, sizeof(word), &n) == LL_TLS_OK && n == 4 &&
                   ll_tls_shutdown(s) == LL_TLS_OK;
    }
    return false;
}

static bool warm(struct ll_tls_cert *cert)
{
    struct ll_buf err = LL_BUF(512);
    struct ll_tls_client_opts o = {.level = LL_TLS_FORCED};
    struct ll_tls_target target = {.server_name = LL_LIT("warm.invalid")};
    struct ll_tls_server *server = ll_tls_server_new(LL_LIT("warm"), false);
    struct ll_tls_client *client = ll_tls_client_new(&o, &err);
    struct ll_tls_conn *s = NULL, *c = NULL;
    int fd[2] = {-1, -1};
    bool ok = server && client && ll_tls_server_certs(server, &cert, 1, &err) == 0 &&
              socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) == 0 &&
              (s = ll_tls_accept(server, fd[0])) && (c = ll_tls_connect(client, fd[1], &target)) &&
              warm_ends(s, c);
    ll_tls_free(s);
    ll_tls_free(c);
    ll_tls_server_free(server);
    ll_tls_client_free(client);
    ll_buf_release(&err);
    if (fd[0] >= 0) {
        close(fd[0]);
        close(fd[1]);
    }
    return ok;
}

int ll_tls_init(void)
{
    struct ll_buf cert_pem = LL_BUF(1 << 16), key_pem = LL_BUF(1 << 16), err = LL_BUF(512);
    struct ll_slice name = LL_LIT("warm.invalid");
    if (ll_tls_libctx)
        return 0;
    if (OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_LOAD_SSL_STRINGS, NULL) != 1 ||
        !(ll_tls_libctx = OSSL_LIB_CTX_new()))
        return -1;
    struct ll_tls_cert *cert = NULL;
    bool ok = ll_tls_provider_load(ll_tls_libctx) == 0 &&
              ll_cert_make_self_signed(LL_CERT_P256, &name, 1, 1, time(NULL), &cert_pem, &key_pem,
                                       &err) == 0 &&
              (cert = ll_tls_cert_pem(ll_buf_slice(&cert_pem), ll_buf_slice(&key_pem), &err)) &&
              warm(cert);
    ll_tls_cert_free(cert);
    ll_buf_release(&cert_pem);
    ll_buf_wipe(&key_pem);
    ll_buf_release(&err);
    ERR_clear_error();
    return ok ? 0 : -1;
}
