/* Connections and servers: data, ends, SNI, certificates changed at run time, tickets, ALPN, old
 * versions, renegotiation, KeyUpdate. */
#include "tests/io/tls_ends.h"

#include <signal.h>
#include <stdlib.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

static struct pair ecdsa, rsa, beta;
static struct ll_tls_client *forced;
static const struct ll_tls_target alpha = {.server_name = LL_LIT("mx.alpha.test")};

static struct ll_tls_server *server_with(const char *name, struct pair *a, struct pair *b)
{
    struct ll_tls_server *s = ll_tls_server_new(ll_slice_str(name), false);
    struct ll_tls_cert *x = cert_of(a), *y = b ? cert_of(b) : NULL;
    assert_false(ll_tls_server_ready(s));
    set_certs(s, x, y);
    assert_true(ll_tls_server_ready(s));
    ll_tls_cert_free(x);
    ll_tls_cert_free(y);
    return s;
}

static void spki_of(struct pair *p, uint8_t ret[32])
{
    struct ll_tls_server *s = server_with("spki", p, NULL);
    struct ends e = open_ends(s, forced, &alpha);
    assert_true(shake(&e));
    memcpy(ret, ll_tls_facts(e.c)->peer_spki, 32);
    close_ends(&e);
    ll_tls_server_free(s);
}

static void data_and_ends(void **state)
{
    struct ll_tls_server *s = server_with("mx", &ecdsa, NULL);
    struct ends e = open_ends(s, forced, &alpha);
    static uint8_t out[300000], in[300000];
    size_t sent = 0, got = 0, n;
    assert_null(ll_tls_facts(e.s));
    assert_true(shake(&e));
    assert_string_equal(ll_tls_facts(e.s)->version, "TLSv1.3");
    assert_string_equal(ll_tls_facts(e.s)->server_name, "mx.alpha.test");
    assert_int_equal(ll_tls_facts(e.c)->bits, 256);
    assert_true(ll_tls_facts(e.c)->peer_cert);
    assert_false(ll_tls_facts(e.c)->verified);
    assert_false(ll_tls_facts(e.s)->peer_cert);
    for (size_t i = 0; i < sizeof(out); i++)
        out[i] = (uint8_t)(i * 7 + i / 251);
    while (got < sizeof(in)) {
        if (sent < sizeof(out) &&
            ll_tls_write(e.c, out + sent, sizeof(out) - sent, &n) == LL_TLS_OK)
            sent += n;
        enum ll_tls_result r;
        while ((r = ll_tls_read(e.s, in + got, 7000, &n)) == LL_TLS_OK)
            got += n;
        assert_int_equal(r, LL_TLS_WANT_READ);
    }
    assert_memory_equal(in, out, sizeof(in));
    uint8_t ka[32], kb[32];
    assert_int_equal(ll_tls_export(e.c, LL_LIT("EXPORTER-Channel-Binding"), ka, 32), 0);
    assert_int_equal(ll_tls_export(e.s, LL_LIT("EXPORTER-Channel-Binding"), kb, 32), 0);
    assert_memory_equal(ka, kb, 32);
    assert_int_equal(ll_tls_shutdown(e.c), LL_TLS_OK);
    assert_int_equal(ll_tls_read(e.s, in, 10, &n), LL_TLS_CLOSED);
    close_ends(&e);
    /* an end without close_notify is no end */
    e = open_ends(s, forced, &alpha);
    assert_true(shake(&e));
    close(e.fd[1]);
    assert_int_equal(ll_tls_read(e.s, in, 10, &n), LL_TLS_ERROR);
    assert_string_equal(ll_tls_error(e.s), "the peer closed the connection without ending TLS");
    assert_int_equal(ll_tls_write(e.s, "x", 1, &n), LL_TLS_ERROR);
    e.fd[1] = dup(e.fd[0]);
    close_ends(&e);
    ll_tls_server_free(s);
}

static void names(void **state)
{
    struct ll_slice wild[] = {LL_LIT("*.wild.test"), LL_LIT("Mx.Beta.Test")};
    struct pair w = make_pair_of(
        (struct ll_cert_opts){.key = LL_CERT_P256, .names = wild, .n_names = LL_COUNT(wild)});
    struct ll_tls_server *s = server_with("mx", &ecdsa, &w);
    uint8_t first[32], second[32];
    static const struct {
        const char *sni;
        bool second;
    } rows[] = {
        {"mx.alpha.test", false}, {"", false},
        {"unknown.test", false},  {"mx.beta.test", true},
        {"MX.BETA.test", true},   {"a.wild.test", true},
        {"wild.test", false},     {"a.b.wild.test", false},
        {"192.0.2.1", false},     {"mx.beta.test.", true},
    };
    spki_of(&ecdsa, first);
    spki_of(&w, second);
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_tls_target t = {.server_name = ll_slice_str(rows[i].sni)};
        struct ends e = open_ends(s, forced, &t);
        if (!shake(&e) ||
            memcmp(ll_tls_facts(e.c)->peer_spki, rows[i].second ? second : first, 32) != 0)
            fail_msg("SNI %s", rows[i].sni);
        close_ends(&e);
    }
    ll_tls_server_free(s);
    free_pair(&w);
}

/* An OpenSSL client of our own making, where ll_tls_client is too well-behaved. */
static SSL *raw_client(int version, const char *sigalgs, int fd, const char *alpn)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_security_level(ctx, 0);
    SSL_CTX_set_min_proto_version(ctx, version);
    SSL_CTX_set_max_proto_version(ctx, version);
    if (sigalgs)
        assert_int_equal(SSL_CTX_set1_sigalgs_list(ctx, sigalgs), 1);
    if (alpn)
        SSL_CTX_set_alpn_protos(ctx, (const uint8_t *)alpn, (unsigned)strlen(alpn));
    SSL *ssl = SSL_new(ctx);
    SSL_CTX_free(ctx);
    SSL_set_fd(ssl, fd);
    SSL_set_connect_state(ssl);
    return ssl;
}

static bool raw_shake(SSL *c, struct ll_tls_conn *s)
{
    int rc = 0;
    enum ll_tls_result r = LL_TLS_WANT_READ;
    for (int i = 0; i < 30 && (rc != 1 || r != LL_TLS_OK) && r != LL_TLS_ERROR; i++) {
        rc = SSL_do_handshake(c);
        r = ll_tls_handshake(s);
    }
    ERR_clear_error();
    return rc == 1 && r == LL_TLS_OK;
}

static void kinds_of_clients(void **state)
{
    static const struct {
        int version;
        const char *sigalgs, *alpn;
        bool ok;
        const char *key; /* of the certificate */
        const char *error;
    } rows[] = {
        {TLS1_3_VERSION, NULL, NULL, true, "EC", NULL},
        {TLS1_2_VERSION, NULL, NULL, true, "EC", NULL},
        {TLS1_3_VERSION, "rsa_pss_rsae_sha256", NULL, true, "RSA", NULL},
        {TLS1_2_VERSION, "rsa_pss_rsae_sha256", NULL, true, "RSA", NULL},
        {TLS1_2_VERSION, "RSA+SHA256", NULL, true, "RSA", NULL},
        {TLS1_2_VERSION, "RSA+SHA1", NULL, false, NULL, NULL},
        {TLS1_1_VERSION, NULL, NULL, false, NULL,
         "no TLS version in common: the peer lacks TLS 1.2 and 1.3"},
        {TLS1_VERSION, NULL, NULL, false, NULL,
         "no TLS version in common: the peer lacks TLS 1.2 and 1.3"},
        {TLS1_3_VERSION, NULL, "\4smtp", true, "EC", NULL},
        {TLS1_3_VERSION, NULL, "\2h2\4smtp", true, "EC", NULL},
        {TLS1_3_VERSION, NULL, "\2h2", false, NULL, "the peer does not ask for `smtp` (ALPN)"},
    };
    struct ll_tls_server *s = server_with("mx", &ecdsa, &rsa);
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ends e = open_ends(s, NULL, NULL);
        SSL *c = raw_client(rows[i].version, rows[i].sigalgs, e.fd[1], rows[i].alpn);
        if (raw_shake(c, e.s) != rows[i].ok)
            fail_msg("row %zu: %s", i, ll_tls_error(e.s));
        if (rows[i].ok)
            assert_true(EVP_PKEY_is_a(X509_get0_pubkey(SSL_get0_peer_certificate(c)), rows[i].key));
        if (rows[i].error)
            assert_string_equal(ll_tls_error(e.s), rows[i].error);
        SSL_free(c);
        close_ends(&e);
    }
    ll_tls_server_free(s);
}

static void hostile_clients(void **state)
{
    struct ll_tls_server *s = server_with("mx", &ecdsa, NULL);
    uint8_t in[16];
    size_t n;
    struct ends e = open_ends(s, NULL, NULL);
    SSL *c = raw_client(TLS1_3_VERSION, NULL, e.fd[1], NULL);
    assert_true(raw_shake(c, e.s));
    enum ll_tls_result r = LL_TLS_WANT_READ;
    int updates = 0;
    for (; updates < LL_TLS_KEYUPDATE_MAX + 100 && r == LL_TLS_WANT_READ; updates++) {
        SSL_key_update(c, SSL_KEY_UPDATE_NOT_REQUESTED);
        SSL_do_handshake(c);
        r = ll_tls_read(e.s, in, sizeof(in), &n);
    }
    assert_int_equal(r, LL_TLS_ERROR);
    assert_int_equal(updates, LL_TLS_KEYUPDATE_MAX + 1);
    assert_string_equal(ll_tls_error(e.s), "the peer changed keys too often (KeyUpdate)");
    SSL_free(c);
    close_ends(&e);

    e = open_ends(s, NULL, NULL);
    c = raw_client(TLS1_2_VERSION, NULL, e.fd[1], NULL);
    assert_true(raw_shake(c, e.s));
    SSL_renegotiate(c);
    SSL_do_handshake(c);
    assert_int_equal(ll_tls_read(e.s, in, sizeof(in), &n), LL_TLS_ERROR);
    assert_string_equal(ll_tls_error(e.s), "the peer asked for renegotiation, which is refused");
    SSL_free(c);
    close_ends(&e);
    ERR_clear_error();

    static const char *const junk[] = {"EHLO me\r\n", "GET / HTTP/1.0\r\n\r\n",
                                       "\x16\x03\x01\xff\xff", "\x80\x2e\x01\x00\x02"};
    for (size_t i = 0; i < LL_COUNT(junk); i++) {
        e = open_ends(s, NULL, NULL);
        assert_true(write(e.fd[1], junk[i], strlen(junk[i])) > 0);
        shutdown(e.fd[1], SHUT_WR);
        assert_int_equal(ll_tls_handshake(e.s), LL_TLS_ERROR);
        assert_true(strlen(ll_tls_error(e.s)) > 0);
        assert_int_equal(ll_tls_handshake(e.s), LL_TLS_ERROR);
        close_ends(&e);
    }
    ll_tls_server_free(s);
}

/* Certificates change: sessions and handshakes that run go on; a bad set changes nothing. */
static void changes(void **state)
{
    struct ll_tls_server *s = server_with("mx", &ecdsa, NULL);
    struct ll_tls_cert *y = cert_of(&beta);
    struct ends old = open_ends(s, forced, &alpha), half = open_ends(s, forced, &alpha);
    uint8_t first[32], second[32], in[8];
    size_t n;
    spki_of(&ecdsa, first);
    spki_of(&beta, second);
    assert_true(shake(&old));
    ll_tls_handshake(half.c);
    set_certs(s, y, NULL);
    ll_tls_cert_free(y);
    assert_int_equal(ll_tls_write(old.c, "still", 5, &n), LL_TLS_OK);
    assert_int_equal(ll_tls_read(old.s, in, sizeof(in), &n), LL_TLS_OK);
    assert_true(shake(&half));
    assert_memory_equal(ll_tls_facts(half.c)->peer_spki, first, 32);
    struct ends new = open_ends(s, forced, &alpha);
    assert_true(shake(&new));
    assert_memory_equal(ll_tls_facts(new.c)->peer_spki, second, 32);
    struct ll_buf err = LL_BUF(512);
    assert_int_equal(ll_tls_server_certs(s, NULL, LL_TLS_CERTS_MAX + 1, &err), -1);
    assert_true(ll_tls_server_ready(s));
    assert_int_equal(ll_tls_server_certs(s, NULL, 0, &err), 0);
    assert_false(ll_tls_server_ready(s));
    assert_null(ll_tls_accept(s, new.fd[0]));
    ll_tls_server_free(s); /* connections outlive it */
    assert_int_equal(ll_tls_write(new.c, "hello", 5, &n), LL_TLS_OK);
    assert_int_equal(ll_tls_read(new.s, in, sizeof(in), &n), LL_TLS_OK);
    close_ends(&old);
    close_ends(&half);
    close_ends(&new);
    ll_buf_release(&err);
}

/* One connection to s, resuming what the last one left in *session. Returns whether it resumed. */
static bool resumes(struct ll_tls_server *s, struct ll_tls_client *c, struct ll_tls_target t,
                    struct ll_tls_session **session)
{
    t.resume = *session;
    struct ends e = open_ends(s, c, &t);
    if (!shake(&e))
        fail_msg("%s / %s", ll_tls_error(e.s), ll_tls_error(e.c));
    bool r = ll_tls_facts(e.c)->resumed;
    assert_int_equal(ll_tls_facts(e.s)->resumed, r);
    ll_tls_session_free(*session);
    *session = ll_tls_session(e.c);
    close_ends(&e);
    return r;
}

static void tickets(void **state)
{
    uint8_t keys[3 * LL_TLS_TICKET_KEY];
    struct ll_tls_session *t = NULL, *none = NULL;
    for (size_t i = 0; i < sizeof(keys); i++)
        keys[i] = (uint8_t)(i / LL_TLS_TICKET_KEY * 100 + i);
    struct ll_slice k = ll_slice(keys, sizeof(keys)), key2 = ll_slice(keys + 80, 80);
    struct ll_tls_server *a = server_with("mx", &ecdsa, NULL), *b = server_with("mx", &ecdsa, NULL);
    struct ll_tls_server *other = server_with("submission", &ecdsa, NULL);
    assert_false(resumes(a, forced, alpha, &none)); /* no keys, no tickets */
    assert_null(none);
    assert_int_equal(ll_tls_server_ticket_keys(a, ll_slice_cut(k, 0, 79)), -1);
    assert_int_equal(ll_tls_server_ticket_keys(a, ll_slice_cut(k, 80, 160)), 0);
    assert_int_equal(ll_tls_server_ticket_keys(b, k), 0);
    assert_int_equal(ll_tls_server_ticket_keys(other, k), 0);
    assert_false(resumes(a, forced, alpha, &t));
    assert_non_null(t);
    assert_true(resumes(a, forced, alpha, &t));  /* the same worker */
    assert_true(resumes(b, forced, alpha, &t));  /* another one, with newer keys beside */
    assert_true(resumes(b, forced, alpha, &t));  /* now by its newest key */
    assert_false(resumes(a, forced, alpha, &t)); /* which a lacks */
    ll_tls_server_ticket_keys(a, k);
    assert_true(resumes(b, forced, alpha, &t));
    assert_false(resumes(other, forced, alpha, &t)); /* same keys, another listener */
    assert_true(resumes(other, forced, alpha, &t));
    ll_tls_server_ticket_keys(other, key2);
    assert_false(resumes(other, forced, alpha, &t)); /* the key has been forgotten */
    /* another name asked for, other demands: not offered */
    struct ll_tls_target beta_name = {.server_name = LL_LIT("mx.beta.test")};
    assert_true(resumes(other, forced, alpha, &t));
    assert_false(resumes(other, forced, beta_name, &t));
    ll_tls_session_free(t);
    ll_tls_server_free(a);
    ll_tls_server_free(b);
    ll_tls_server_free(other);
}

static int begin(void **state)
{
    signal(SIGPIPE, SIG_IGN);
    if (ll_tls_init() < 0 || ll_tls_init() < 0)
        return -1;
    ecdsa = make_pair(LL_CERT_P256, "mx.alpha.test");
    rsa = make_pair(LL_CERT_RSA2048, "mx.alpha.test");
    beta = make_pair(LL_CERT_P384, "mx.beta.test");
    forced = client_of((struct ll_tls_client_opts){.level = LL_TLS_FORCED, .alpn = true});
    return 0;
}

static int end(void **state)
{
    free_pair(&ecdsa);
    free_pair(&rsa);
    free_pair(&beta);
    ll_tls_client_free(forced);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(data_and_ends),    cmocka_unit_test(names),
        cmocka_unit_test(kinds_of_clients), cmocka_unit_test(hostile_clients),
        cmocka_unit_test(changes),          cmocka_unit_test(tickets),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
