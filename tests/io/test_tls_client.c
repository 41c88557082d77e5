/* Clients: what each level takes and refuses, and in which words; pins, client certificates, and
 * that a session never proves more than the handshake that made it. */
#include "tests/io/tls_ends.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static struct pair ca, other_ca;
static struct ll_tls_trust *trust, *other_trust;

static struct pair signed_by(struct pair *issuer, const char *name, int days)
{
    struct ll_slice names[] = {ll_slice_str(name)};
    return make_pair_of((struct ll_cert_opts){.key = LL_CERT_P256,
                                              .names = names,
                                              .n_names = 1,
                                              .days = days,
                                              .ca_cert_pem = ll_buf_slice(&issuer->cert),
                                              .ca_key_pem = ll_buf_slice(&issuer->key)});
}

static struct ll_tls_server *server_with(struct pair *p)
{
    struct ll_tls_server *s = ll_tls_server_new(LL_LIT("mx"), true);
    struct ll_tls_cert *c = cert_of(p);
    set_certs(s, c, NULL);
    ll_tls_cert_free(c);
    return s;
}

enum { GOOD, EXPIRED, SELF, FOREIGN, WILD, ADDRESS, KINDS };
static struct pair pairs[KINDS];

static void levels(void **state)
{
    static const struct {
        int kind;
        enum ll_tls_level level;
        const char *sni, *name; /* name: NULL: the SNI */
        bool trust, ok;
        const char *peer_name; /* or, where it fails, the error: the beginning of it */
    } rows[] = {
        {GOOD, LL_TLS_VERIFY, "mx.beta.test", NULL, true, true, "mx.beta.test"},
        {GOOD, LL_TLS_VERIFY, "MX.Beta.test.", NULL, true, true, "mx.beta.test"},
        {GOOD, LL_TLS_VERIFY, "beta.test", "mx.beta.test", true, true, "mx.beta.test"},
        {GOOD, LL_TLS_VERIFY, "beta.test", NULL, true, false,
         "the certificate is for mx.beta.test, not for beta.test"},
        {GOOD, LL_TLS_VERIFY, "mx.beta.test", "mx.other.test", true, false,
         "the certificate is for mx.beta.test, not for mx.other.test"},
        {EXPIRED, LL_TLS_VERIFY, "mx.beta.test", NULL, true, false,
         "the certificate expired on 20"},
        {SELF, LL_TLS_VERIFY, "mx.beta.test", NULL, true, false,
         "the certificate is self-signed and not trusted"},
        {FOREIGN, LL_TLS_VERIFY, "mx.beta.test", NULL, true, false,
         "the certificate comes from an issuer not trusted here"},
        {WILD, LL_TLS_VERIFY, "mx.beta.test", NULL, true, true, "mx.beta.test"},
        {WILD, LL_TLS_VERIFY, "a.mx.beta.test", NULL, true, false, "the certificate is for *.beta"},
        {WILD, LL_TLS_VERIFY, "beta.test", NULL, true, false, "the certificate is for *.beta.test"},
        {ADDRESS, LL_TLS_VERIFY, "192.0.2.7", NULL, true, true, "192.0.2.7"},
        {ADDRESS, LL_TLS_VERIFY, "192.0.2.8", NULL, true, false, "the certificate is for no DNS"},
        {SELF, LL_TLS_FORCED, "mx.beta.test", NULL, false, true, ""},
        {EXPIRED, LL_TLS_FORCED, "mx.other.test", NULL, true, true, ""},
        {SELF, LL_TLS_OPPORTUNISTIC, "mx.other.test", NULL, false, true, ""},
    };
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_tls_server *s = server_with(&pairs[rows[i].kind]);
        struct ll_tls_client *c = client_of((struct ll_tls_client_opts){
            .level = rows[i].level, .trust = rows[i].trust ? trust : NULL});
        struct ll_slice name = ll_slice_str(rows[i].name);
        struct ll_tls_target t = {.server_name = ll_slice_str(rows[i].sni),
                                  .names = &name,
                                  .n_names = rows[i].name != NULL};
        struct ends e = open_ends(s, c, &t);
        bool verified = rows[i].ok && rows[i].level == LL_TLS_VERIFY;
        if (shake(&e) != rows[i].ok)
            fail_msg("row %zu: %s", i, ll_tls_error(e.c));
        if (rows[i].ok) {
            assert_string_equal(ll_tls_facts(e.c)->peer_name, rows[i].peer_name);
            assert_int_equal(ll_tls_facts(e.c)->verified, verified);
            assert_string_equal(ll_tls_facts(e.c)->verify_error, "");
        } else {
            if (strncmp(ll_tls_error(e.c), rows[i].peer_name, strlen(rows[i].peer_name)) != 0)
                fail_msg("row %zu: %s", i, ll_tls_error(e.c));
            assert_null(ll_tls_session(e.c));
            assert_true(ll_tls_error(e.s)[0]);
        }
        close_ends(&e);
        ll_tls_client_free(c);
        ll_tls_server_free(s);
    }
}

static void pin_of(struct pair *p, uint8_t ret[32])
{
    struct ll_tls_server *s = server_with(p);
    struct ll_tls_client *c = client_of((struct ll_tls_client_opts){.level = LL_TLS_FORCED});
    struct ll_tls_target t = {.server_name = LL_LIT("x.test")};
    struct ends e = open_ends(s, c, &t);
    assert_true(shake(&e));
    memcpy(ret, ll_tls_facts(e.c)->peer_spki, 32);
    close_ends(&e);
    ll_tls_client_free(c);
    ll_tls_server_free(s);
}

static void pins(void **state)
{
    uint8_t pin[KINDS][2][32];
    memset(pin, 7, sizeof(pin));
    for (int i = 0; i < KINDS; i++)
        pin_of(&pairs[i], pin[i][1]); /* [0] matches nothing */
    static const struct {
        int kind, pin;
        size_t from, n;
        bool trust, ok;
        const char *name;
    } rows[] = {
        {SELF, SELF, 0, 2, false, true, "mx.other.test"}, /* the pin alone decides */
        {EXPIRED, EXPIRED, 1, 1, false, true, "mx.beta.test"},
        {SELF, SELF, 0, 1, false, false, "mx.beta.test"},
        {SELF, GOOD, 0, 2, false, false, "mx.beta.test"},
        {GOOD, GOOD, 0, 2, true, true, "mx.beta.test"}, /* both must hold */
        {GOOD, GOOD, 0, 2, true, false, "mx.other.test"},
        {GOOD, SELF, 0, 2, true, false, "mx.beta.test"},
        {SELF, SELF, 0, 2, true, false, "mx.beta.test"},
    };
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_tls_server *s = server_with(&pairs[rows[i].kind]);
        struct ll_tls_client *c = client_of((struct ll_tls_client_opts){
            .level = LL_TLS_VERIFY, .trust = rows[i].trust ? trust : NULL});
        struct ll_tls_target t = {.server_name = ll_slice_str(rows[i].name),
                                  .pins = (const uint8_t(*)[32])pin[rows[i].pin] + rows[i].from,
                                  .n_pins = rows[i].n};
        struct ends e = open_ends(s, c, &t);
        if (shake(&e) != rows[i].ok)
            fail_msg("row %zu: %s", i, ll_tls_error(e.c));
        if (rows[i].ok)
            assert_true(ll_tls_facts(e.c)->verified);
        close_ends(&e);
        ll_tls_client_free(c);
        ll_tls_server_free(s);
    }
    /* a client that shall verify, with nothing to verify against, does not start */
    struct ll_tls_client *c = client_of((struct ll_tls_client_opts){.level = LL_TLS_VERIFY});
    struct ll_tls_target t = {.server_name = LL_LIT("mx.beta.test")};
    assert_null(ll_tls_connect(c, 0, &t));
    ll_tls_client_free(c);
    c = client_of((struct ll_tls_client_opts){.level = LL_TLS_VERIFY, .trust = trust});
    t.server_name = LL_LIT("");
    assert_null(ll_tls_connect(c, 0, &t));
    ll_tls_client_free(c);
}

/* Named peers: the server looks at the client's certificate and lets nobody fall. */
static void client_certs(void **state)
{
    static const struct {
        int kind; /* KINDS: none shown */
        const char *name;
        bool verified;
        const char *error;
    } rows[] = {
        {GOOD, "mx.beta.test", true, ""},
        {GOOD, "mx.other.test", false,
         "the certificate is for mx.beta.test, not for mx.other.test"},
        {EXPIRED, "mx.beta.test", false, "the certificate expired on "},
        {SELF, "mx.beta.test", false, "the certificate is self-signed and not trusted"},
        {FOREIGN, "mx.beta.test", false, "the certificate comes from an issuer not trusted here"},
        {KINDS, "mx.beta.test", false, ""},
    };
    uint8_t keys[LL_TLS_TICKET_KEY] = {1, 2, 3};
    struct ll_tls_target t = {.server_name = LL_LIT("mx.alpha.test")};
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_tls_server *s = server_with(&pairs[GOOD]);
        struct ll_tls_cert *cert = rows[i].kind < KINDS ? cert_of(&pairs[rows[i].kind]) : NULL;
        struct ll_tls_client *c =
            client_of((struct ll_tls_client_opts){.level = LL_TLS_FORCED, .cert = cert});
        struct ll_slice names[] = {LL_LIT("first.test"), ll_slice_str(rows[i].name)};
        ll_tls_server_ticket_keys(s, ll_slice(keys, sizeof(keys)));
        if (rows[i].error[0] == 't' && rows[i].kind == GOOD)
            names[0] = names[1];
        assert_int_equal(ll_tls_server_clients(s, trust, names, 2), 0);
        struct ll_tls_session *session = NULL;
        for (int again = 0; again < 2; again++) { /* full, then resumed: the same facts */
            t.resume = session;
            struct ends e = open_ends(s, c, &t);
            if (!shake(&e))
                fail_msg("row %zu: %s", i, ll_tls_error(e.s));
            const struct ll_tls_facts *f = ll_tls_facts(e.s);
            assert_int_equal(f->resumed, again);
            assert_int_equal(f->peer_cert, cert != NULL);
            if (f->verified != rows[i].verified)
                fail_msg("row %zu: %s", i, f->verify_error);
            assert_string_equal(f->peer_name, rows[i].verified ? rows[i].name : "");
            if (strncmp(f->verify_error, rows[i].error, strlen(rows[i].error)) != 0)
                fail_msg("row %zu, %s: %s", i, f->version, f->verify_error);
            ll_tls_session_free(session);
            session = ll_tls_session(e.c);
            close_ends(&e);
        }
        /* another CA asked for: what was proven to the old one is worth nothing */
        assert_int_equal(ll_tls_server_clients(s, other_trust, names, 2), 0);
        t.resume = session;
        struct ends e = open_ends(s, c, &t);
        assert_true(shake(&e));
        assert_false(ll_tls_facts(e.s)->resumed);
        assert_int_equal(ll_tls_facts(e.s)->verified, rows[i].kind == FOREIGN);
        close_ends(&e);
        ll_tls_session_free(session);
        ll_tls_cert_free(cert);
        ll_tls_client_free(c);
        ll_tls_server_free(s);
    }
    t.resume = NULL;
}

/* A session made without proof is not offered where proof is wanted; one made with it is, and the
 * facts say so. */
static void sessions(void **state)
{
    uint8_t keys[LL_TLS_TICKET_KEY] = {9};
    struct ll_tls_server *s = server_with(&pairs[GOOD]);
    struct ll_tls_client *lax =
        client_of((struct ll_tls_client_opts){.level = LL_TLS_OPPORTUNISTIC});
    struct ll_tls_client *strict =
        client_of((struct ll_tls_client_opts){.level = LL_TLS_VERIFY, .trust = trust});
    struct ll_slice two[] = {LL_LIT("x.test"), LL_LIT("mx.beta.test")};
    struct ll_tls_session *kept = NULL;
    ll_tls_server_ticket_keys(s, ll_slice(keys, sizeof(keys)));
    static const struct {
        bool strict, names, resumed;
    } rows[] = {
        {false, false, false}, {true, false, false},  {true, false, true},  {true, true, false},
        {true, true, true},    {false, false, false}, {false, false, true},
    };
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_tls_target t = {.server_name = LL_LIT("mx.beta.test"),
                                  .names = two,
                                  .n_names = rows[i].names ? 2 : 0,
                                  .resume = kept};
        struct ends e = open_ends(s, rows[i].strict ? strict : lax, &t);
        assert_true(shake(&e));
        const struct ll_tls_facts *f = ll_tls_facts(e.c);
        if (f->resumed != rows[i].resumed || f->verified != rows[i].strict)
            fail_msg("row %zu: resumed %d, verified %d", i, f->resumed, f->verified);
        assert_string_equal(f->peer_name, rows[i].strict ? "mx.beta.test" : "");
        assert_true(f->peer_cert);
        ll_tls_session_free(kept);
        kept = ll_tls_session(e.c);
        assert_non_null(kept);
        close_ends(&e);
    }
    ll_tls_session_free(kept);
    ll_tls_client_free(lax);
    ll_tls_client_free(strict);
    ll_tls_server_free(s);
}

static void files(void **state)
{
    char path[] = "/tmp/ll-test-tls-XXXXXX";
    struct ll_buf err = LL_BUF(512);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_null(ll_tls_trust_load(path, &err));
    assert_non_null(strstr(ll_buf_str(&err), "no certificate in PEM form"));
    assert_int_equal(write(fd, ca.cert.p, ca.cert.n), (ssize_t)ca.cert.n);
    struct ll_tls_trust *t = ll_tls_trust_load(path, &err);
    assert_non_null(t);
    ll_tls_trust_free(t);
    close(fd);
    unlink(path);
    ll_buf_clear(&err);
    assert_null(ll_tls_trust_load(path, &err));
    assert_non_null(strstr(ll_buf_str(&err), "cannot be read"));
    ll_buf_clear(&err);
    assert_null(
        ll_tls_cert_pem(ll_buf_slice(&pairs[GOOD].cert), ll_buf_slice(&pairs[SELF].key), &err));
    assert_non_null(strstr(ll_buf_str(&err), "does not belong"));
    struct ll_buf cut = LL_BUF(1 << 16);
    ll_buf_put(&cut, pairs[GOOD].cert.p, pairs[GOOD].cert.n - 60); /* the second one is damaged */
    assert_null(ll_tls_cert_pem(ll_buf_slice(&cut), ll_buf_slice(&pairs[GOOD].key), &err));
    ll_buf_release(&cut);
    ll_buf_release(&err);
}

static int begin(void **state)
{
    struct ll_slice ca_name = LL_LIT("Test CA"), address = LL_LIT("192.0.2.7");
    struct ll_cert_opts o = {.key = LL_CERT_P256, .names = &ca_name, .n_names = 1, .ca = true};
    signal(SIGPIPE, SIG_IGN);
    if (ll_tls_init() < 0)
        return -1;
    ca = make_pair_of(o);
    other_ca = make_pair_of(o);
    trust = trust_of(&ca);
    other_trust = trust_of(&other_ca);
    pairs[GOOD] = signed_by(&ca, "mx.beta.test", 30);
    pairs[EXPIRED] = signed_by(&ca, "mx.beta.test", -1);
    pairs[SELF] = make_pair(LL_CERT_RSA2048, "mx.beta.test");
    pairs[FOREIGN] = signed_by(&other_ca, "mx.beta.test", 30);
    pairs[WILD] = signed_by(&ca, "*.beta.test", 30);
    o = (struct ll_cert_opts){.names = &address,
                              .n_names = 1,
                              .ca_cert_pem = ll_buf_slice(&ca.cert),
                              .ca_key_pem = ll_buf_slice(&ca.key)};
    pairs[ADDRESS] = make_pair_of(o);
    return 0;
}

static int end(void **state)
{
    for (int i = 0; i < KINDS; i++)
        free_pair(&pairs[i]);
    free_pair(&ca);
    free_pair(&other_ca);
    ll_tls_trust_free(trust);
    ll_tls_trust_free(other_trust);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels),   cmocka_unit_test(pins),  cmocka_unit_test(client_certs),
        cmocka_unit_test(sessions), cmocka_unit_test(files),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
