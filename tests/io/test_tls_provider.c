/* Handshakes with the private key in another process: each TLS version and kind of signature; a
 * keeper that dies, refuses or answers nonsense gives a handshake error and no crash. */
#include "tests/io/tls_keys.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "io/tls_provider.h"

static OSSL_LIB_CTX *libctx;

/* ---- the other process ------------------------------------------------------------------------
 */

struct keeper {
    pid_t pid;
    int fd;
    uint16_t scheme; /* of the last signature */
    size_t text_n;
};

enum mood { GOOD, REFUSES, DIES, LIES, HUGE };

static void keeper_loop(int fd, EVP_PKEY *key, enum mood mood)
{
    static uint8_t in[65536];
    for (;;) {
        ssize_t n = recv(fd, in, sizeof(in), 0);
        if (n < 6 || mood == DIES)
            _exit(0);
        struct ll_cursor c = ll_cursor(ll_slice(in, (size_t)n));
        struct ll_buf sig = LL_BUF(4096);
        ll_cur_u32(&c);
        uint16_t scheme = ll_cur_u16(&c);
        if (mood == GOOD)
            ll_tls_sign_local(NULL, key, scheme, ll_cur_bytes(&c, ll_cur_left(&c)), &sig);
        if (mood == LIES || mood == HUGE) {
            size_t m = mood == LIES ? 64 : 2000;
            memset(ll_buf_room(&sig, m), 'x', m);
            ll_buf_grew(&sig, m);
        }
        send(fd, sig.p ? sig.p : in, sig.n, 0);
        ll_buf_release(&sig);
    }
}

static struct keeper keeper_start(EVP_PKEY *key, enum mood mood)
{
    int fd[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fd), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(fd[0]);
        keeper_loop(fd[1], key, mood);
    }
    close(fd[1]);
    return (struct keeper){.pid = pid, .fd = fd[0]};
}

static void keeper_end(struct keeper *k)
{
    close(k->fd);
    kill(k->pid, SIGKILL); /* a later keeper may hold the other end open */
    waitpid(k->pid, NULL, 0);
}

static bool ask(void *ctx, uint32_t key, uint16_t scheme, struct ll_slice text, struct ll_buf *sig)
{
    struct keeper *k = ctx;
    struct ll_buf out = LL_BUF(65536);
    uint8_t in[4096];
    k->scheme = scheme;
    k->text_n = text.n;
    ll_buf_u32(&out, key);
    ll_buf_u16(&out, scheme);
    ll_buf_put_slice(&out, text);
    ssize_t n = send(k->fd, out.p, out.n, MSG_NOSIGNAL);
    ll_buf_release(&out);
    n = n < 0 ? -1 : recv(k->fd, in, sizeof(in), 0);
    if (n <= 0)
        return false;
    ll_buf_put(sig, in, (size_t)n);
    return true;
}

/* ---- handshakes in memory ----------------------------------------------------------------------
 */

static EVP_PKEY *key_of(struct pair *p)
{
    BIO *b = BIO_new_mem_buf(p->key.p, (int)p->key.n);
    EVP_PKEY *k = PEM_read_bio_PrivateKey(b, NULL, NULL, NULL);
    BIO_free(b);
    assert_non_null(k);
    return k;
}

static X509 *cert_of(struct pair *p)
{
    X509 *x = X509_new_ex(libctx, "?provider=default");
    BIO *b = BIO_new_mem_buf(p->cert.p, (int)p->cert.n);
    assert_non_null(PEM_read_bio_X509(b, &x, NULL, NULL));
    BIO_free(b);
    return x;
}

static SSL_CTX *context(int version, const char *sigalgs)
{
    SSL_CTX *c = SSL_CTX_new_ex(libctx, "?provider=default", TLS_method());
    SSL_CTX_set_min_proto_version(c, version);
    SSL_CTX_set_max_proto_version(c, version);
    if (sigalgs)
        assert_int_equal(SSL_CTX_set1_sigalgs_list(c, sigalgs), 1);
    return c;
}

static void use(SSL_CTX *ctx, struct pair *p, struct keeper *k)
{
    X509 *x = cert_of(p);
    struct ll_tls_signer s = {ask, k};
    EVP_PKEY *key = ll_tls_provider_key(libctx, X509_get0_pubkey(x), 7, &s);
    assert_non_null(key);
    assert_int_equal(SSL_CTX_use_certificate(ctx, x), 1);
    if (SSL_CTX_use_PrivateKey(ctx, key) != 1 || SSL_CTX_check_private_key(ctx) != 1) {
        ERR_print_errors_fp(stderr);
        fail();
    }
    EVP_PKEY_free(key);
    X509_free(x);
}

/* Returns whether both sides finished; -1 in *server_rc tells that the server reported an error. */
static bool shake(SSL_CTX *server, SSL_CTX *client, bool *server_failed)
{
    SSL *s = SSL_new(server), *c = SSL_new(client);
    BIO *a, *b;
    assert_int_equal(BIO_new_bio_pair(&a, 65536, &b, 65536), 1);
    SSL_set_bio(s, a, a);
    SSL_set_bio(c, b, b);
    SSL_set_accept_state(s);
    SSL_set_connect_state(c);
    int rs = 0, rc = 0;
    *server_failed = false;
    for (int i = 0; i < 20 && (rs != 1 || rc != 1) && !*server_failed; i++) {
        rc = SSL_do_handshake(c);
        rs = SSL_do_handshake(s);
        *server_failed = rs != 1 && SSL_get_error(s, rs) == SSL_ERROR_SSL;
        ERR_clear_error();
    }
    SSL_free(s);
    SSL_free(c);
    return rs == 1 && rc == 1;
}

struct row {
    const char *name;
    enum ll_cert_key type;
    int version;
    const char *sigalgs;
    uint16_t scheme;
    size_t text_n; /* 0: not fixed */
};

static const struct row rows[] = {
    {"1.3 ECDSA P-256", LL_CERT_P256, TLS1_3_VERSION, NULL, 0x0403, 64 + 33 + 1 + 48},
    {"1.3 ECDSA P-384", LL_CERT_P384, TLS1_3_VERSION, NULL, 0x0503, 64 + 33 + 1 + 48},
    {"1.3 RSA-PSS", LL_CERT_RSA2048, TLS1_3_VERSION, NULL, 0x0804, 64 + 33 + 1 + 48},
    {"1.3 RSA-PSS-384", LL_CERT_RSA2048, TLS1_3_VERSION, "rsa_pss_rsae_sha384", 0x0805, 0},
    {"1.2 ECDSA P-256", LL_CERT_P256, TLS1_2_VERSION, NULL, 0x0403, 64 + 4 + 32},
    {"1.2 ECDSA P-256 with SHA-384", LL_CERT_P256, TLS1_2_VERSION, "ECDSA+SHA384", 0x0503, 0},
    {"1.2 RSA-PSS", LL_CERT_RSA2048, TLS1_2_VERSION, NULL, 0x0804, 64 + 4 + 32},
    {"1.2 RSA PKCS1", LL_CERT_RSA2048, TLS1_2_VERSION, "RSA+SHA256", 0x0401, 64 + 4 + 32},
    {"1.2 RSA PKCS1 SHA-512", LL_CERT_RSA2048, TLS1_2_VERSION, "RSA+SHA512", 0x0601, 0},
};

static void server_keys(void **state)
{
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct pair p = make_pair(rows[i].type, "mx.alpha.test");
        EVP_PKEY *key = key_of(&p);
        for (enum mood mood = GOOD; mood <= HUGE; mood++) {
            struct keeper k = keeper_start(key, mood);
            SSL_CTX *s = context(rows[i].version, NULL);
            SSL_CTX *c = context(rows[i].version, rows[i].sigalgs);
            bool failed;
            use(s, &p, &k);
            bool ok = shake(s, c, &failed);
            if (ok != (mood == GOOD) || (failed != (mood != GOOD) && mood != LIES))
                fail_msg("%s, mood %d: done %d, server failed %d", rows[i].name, mood, ok, failed);
            assert_int_equal(k.scheme, rows[i].scheme);
            if (rows[i].text_n)
                assert_int_equal(k.text_n, rows[i].text_n);
            SSL_CTX_free(s);
            SSL_CTX_free(c);
            keeper_end(&k);
        }
        EVP_PKEY_free(key);
        free_pair(&p);
    }
}

/* The key signs as a client too: under TLS 1.2 the text is the whole transcript. */
static void client_keys(void **state)
{
    struct pair sp = make_pair(LL_CERT_P256, "mx.alpha.test");
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct pair p = make_pair(rows[i].type, "relay.beta.test");
        EVP_PKEY *key = key_of(&p);
        struct keeper k = keeper_start(key, GOOD), sk = keeper_start(key, GOOD);
        EVP_PKEY *skey = key_of(&sp);
        keeper_end(&sk);
        sk = keeper_start(skey, GOOD);
        SSL_CTX *s = context(rows[i].version, NULL), *c = context(rows[i].version, NULL);
        bool failed;
        if (rows[i].sigalgs)
            SSL_CTX_set1_client_sigalgs_list(s, rows[i].sigalgs);
        use(s, &sp, &sk);
        use(c, &p, &k);
        SSL_CTX_set_verify(c, SSL_VERIFY_NONE, NULL);
        SSL_CTX_set_verify(s, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
        X509 *x = cert_of(&p);
        X509_STORE_add_cert(SSL_CTX_get_cert_store(s), x);
        X509_free(x);
        if (!shake(s, c, &failed))
            fail_msg("client %s", rows[i].name);
        assert_int_equal(k.scheme, rows[i].scheme);
        assert_true(rows[i].version == TLS1_2_VERSION ? k.text_n > 300 : k.text_n == 146);
        SSL_CTX_free(s);
        SSL_CTX_free(c);
        keeper_end(&k);
        keeper_end(&sk);
        EVP_PKEY_free(key);
        EVP_PKEY_free(skey);
        free_pair(&p);
    }
    free_pair(&sp);
}

/* Key and certificate must belong together; and the private half can be had nowhere. */
static void key_facts(void **state)
{
    struct pair p = make_pair(LL_CERT_P256, "a.test"), q = make_pair(LL_CERT_P256, "b.test");
    X509 *x = cert_of(&p), *y = cert_of(&q);
    struct keeper k = {0};
    struct ll_tls_signer s = {ask, &k};
    EVP_PKEY *key = ll_tls_provider_key(libctx, X509_get0_pubkey(x), 1, &s);
    BIGNUM *priv = NULL;
    OSSL_PARAM *all = NULL;
    assert_int_equal(X509_check_private_key(x, key), 1);
    assert_int_equal(X509_check_private_key(y, key), 0);
    assert_int_equal(EVP_PKEY_get_bn_param(key, "priv", &priv), 0);
    assert_int_equal(EVP_PKEY_todata(key, EVP_PKEY_KEYPAIR, &all), 0);
    assert_int_equal(EVP_PKEY_get_bits(key), 256);
    EVP_PKEY_free(key);
    X509_free(x);
    X509_free(y);
    free_pair(&p);
    free_pair(&q);
    ERR_clear_error();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(server_keys),
        cmocka_unit_test(client_keys),
        cmocka_unit_test(key_facts),
    };
    signal(SIGPIPE, SIG_IGN);
    libctx = OSSL_LIB_CTX_new();
    if (ll_tls_provider_load(libctx) < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
