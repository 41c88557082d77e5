/* The keeper's files: what is taken, what is refused and in which words; and its memory. */
#include "tests/io/tls_keys.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/keeper/load.h"
#include "daemon/keeper/secret.h"

static char dir[] = "/tmp/ll-test-keeper-XXXXXX";
static const char *const files[] = {"a.crt",   "a.key",   "b.crt",  "b.key",   "r.crt",
                                    "r.key",   "open",    "group",  "empty",   "junk",
                                    "old.crt", "old.key", "locked", "cut.crt", NULL};

static char *at(const char *name)
{
    static char path[6][128];
    static int i;
    i = (i + 1) % 6;
    snprintf(path[i], sizeof(path[i]), "%s/%s", dir, name);
    return path[i];
}

static void put(const char *name, struct ll_slice s, mode_t mode)
{
    int fd = open(at(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, s.p, s.n), (ssize_t)s.n);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static void put_pair(const char *cert, const char *key, struct ll_cert_opts o)
{
    struct ll_slice name = LL_LIT("a.test");
    o.names = &name;
    o.n_names = 1;
    struct pair p = make_pair_of(o);
    put(cert, ll_buf_slice(&p.cert), 0644);
    put(key, ll_buf_slice(&p.key), 0600);
    free_pair(&p);
}

static void single(void **state)
{
    static const struct {
        const char *cert, *key;
        bool ok;
        const char *words; /* in the error, or in the warnings */
        enum ll_key_type type;
    } rows[] = {
        {"a.crt", "a.key", true, "", LL_KEY_P256},
        {"b.crt", "b.key", true, "", LL_KEY_P384},
        {"r.crt", "r.key", true, "", LL_KEY_RSA},
        {"a.crt", "group", true, "its group may read this private key", LL_KEY_P256},
        {"old.crt", "old.key", true, "it has expired", LL_KEY_P256},
        {"a.crt", "b.key", false, "this key does not belong to the certificate", 0},
        {"r.crt", "a.key", false, "this key does not belong to the certificate", 0},
        {"a.crt", "open", false, "everyone may read this private key", 0},
        {"a.crt", "none", false, "No such file", 0},
        {"none", "a.key", false, "No such file", 0},
        {"a.crt", "empty", false, "not a file of 1 octet", 0},
        {"empty", "a.key", false, "not a file of 1 octet", 0},
        {"a.crt", "", false, "not a file", 0}, /* a folder */
        {"a.crt", "junk", false, "not a private key in PEM form", 0},
        {"junk", "a.key", false, "no certificate in PEM form", 0},
        {"cut.crt", "a.key", false, "bad end line", 0},
        {"a.key", "a.key", false, "no certificate in PEM form", 0},
        {"a.crt", "locked", false, "the private key is encrypted", 0},
    };
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_conf_certificate c = {
            .title = (char *)"main", .cert = at(rows[i].cert), .key = at(rows[i].key)};
        struct ll_conf conf = {.certificate = &c, .n_certificate = 1};
        struct ll_buf err = LL_BUF(4096), warn = LL_BUF(4096);
        struct ll_keys *k = ll_keys_load(&conf, 500, &err, &warn);
        if ((k != NULL) != rows[i].ok || !strstr(ll_buf_str(k ? &warn : &err), rows[i].words))
            fail_msg("row %zu: %s", i, ll_buf_str(k ? &warn : &err));
        if (k) {
            assert_int_equal(k->key[0].type, rows[i].type);
            assert_true(k->key[0].front);
            assert_false(k->key[0].relay);
            assert_ptr_equal(ll_keys_find(k, 500), &k->key[0]);
            assert_null(ll_keys_find(k, 501));
        }
        ll_keys_free(k);
        ll_buf_release(&err);
        ll_buf_release(&warn);
    }
}

static void sets(void **state)
{
    struct ll_conf_certificate c[] = {
        {.title = (char *)"one", .cert = strdup(at("a.crt")), .key = strdup(at("a.key"))},
        {.title = (char *)"two", .cert = strdup(at("r.crt")), .key = strdup(at("r.key"))},
        {.title = (char *)"three", .cert = strdup(at("b.crt")), .key = strdup(at("b.key"))},
    };
    struct ll_conf_route r[] = {{.title = (char *)"x.test", .certificate = (char *)""},
                                {.title = (char *)"y.test", .certificate = (char *)"Three"}};
    struct ll_conf conf = {.certificate = c, .n_certificate = 3, .route = r, .n_route = 2};
    struct ll_buf err = LL_BUF(4096), warn = LL_BUF(4096);
    c[2].client_only = true;
    struct ll_keys *k = ll_keys_load(&conf, 0xffffffff, &err, &warn);
    assert_non_null(k);
    assert_int_equal(k->n, 3);
    assert_int_equal(ll_keys_find(k, 1)->type, LL_KEY_P384); /* numbers wrap round */
    assert_true(k->key[0].front && !k->key[0].relay && k->key[1].front && !k->key[1].relay);
    assert_true(!k->key[2].front && k->key[2].relay);
    ll_keys_free(k);
    free(c[1].key);
    c[1].key = strdup(at("none"));
    assert_null(ll_keys_load(&conf, 1, &err, &warn)); /* all or nothing */
    conf.n_certificate = 0;
    k = ll_keys_load(&conf, 1, &err, &warn);
    assert_int_equal(k->n, 0);
    ll_keys_free(k);
    for (size_t i = 0; i < LL_COUNT(c); i++) {
        free(c[i].cert);
        free(c[i].key);
    }
    ll_buf_release(&err);
    ll_buf_release(&warn);
}

/* Runs first: nothing has touched OpenSSL yet. */
static void memory(void **state)
{
    const char *missing = ll_secret_start();
    if (missing)
        print_message("# %s\n", missing);
    static void *p[2000];
    static size_t n[2000];
    unsigned seed = 7;
    for (int round = 0; round < 200000; round++) {
        size_t i = (seed = seed * 1103515245u + 12345u) % LL_COUNT(p);
        size_t want = (seed >> 8) % (round % 50 ? 200 : 20000) + 1;
        uint8_t *q = p[i] && round % 3 == 0 ? ll_secret_realloc(p[i], want) : NULL;
        if (q) {
            size_t keep = n[i] < want ? n[i] : want;
            for (size_t j = 0; j < keep; j++)
                if (q[j] != (uint8_t)i)
                    fail_msg("octet %zu of block %zu has changed", j, i);
        } else {
            for (size_t j = 0; p[i] && j < n[i]; j++)
                if (((uint8_t *)p[i])[j] != (uint8_t)i)
                    fail_msg("octet %zu of block %zu has changed", j, i);
            ll_secret_free(p[i]);
            q = ll_secret_malloc(want);
            assert_non_null(q);
        }
        assert_int_equal((uintptr_t)q % 16, 0);
        memset(q, (int)(uint8_t)i, want);
        p[i] = q;
        n[i] = want;
    }
    for (size_t i = 0; i < LL_COUNT(p); i++)
        ll_secret_free(p[i]);
    assert_null(ll_secret_malloc((size_t)1 << 40));
    uint8_t *a = ll_secret_malloc(64);
    memset(a, 0xaa, 64);
    ll_secret_free(a);
    uint8_t *b = ll_secret_malloc(64);
    assert_ptr_equal(a, b); /* wiped when it was freed */
    for (int i = 0; i < 64; i++)
        assert_int_equal(b[i], 0);
    ll_secret_free(b);
    assert_null(ll_secret_realloc(ll_secret_malloc(10), 0));
}

static int begin(void **state)
{
    static const char locked[] = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"
                                 "DEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\n"
                                 "AAAAAAAAAAAAAAAAAAAAAA==\n-----END RSA PRIVATE KEY-----\n";
    struct ll_slice name = LL_LIT("a.test");
    if (!mkdtemp(dir))
        return -1;
    put_pair("old.crt", "old.key", (struct ll_cert_opts){.days = -1});
    put_pair("b.crt", "b.key", (struct ll_cert_opts){.key = LL_CERT_P384});
    put_pair("r.crt", "r.key", (struct ll_cert_opts){.key = LL_CERT_RSA2048});
    struct pair p = make_pair_of((struct ll_cert_opts){.names = &name, .n_names = 1});
    put("a.crt", ll_buf_slice(&p.cert), 0644);
    put("a.key", ll_buf_slice(&p.key), 0600);
    put("open", ll_buf_slice(&p.key), 0604);
    put("group", ll_buf_slice(&p.key), 0640);
    put("cut.crt", ll_slice(p.cert.p, p.cert.n - 60), 0644);
    free_pair(&p);
    put("empty", LL_LIT(""), 0600);
    put("junk", LL_LIT("-----BEGIN NOTHING-----\nAAAA\n"), 0600);
    put("locked", ll_slice_str(locked), 0600);
    return 0;
}

static int end(void **state)
{
    for (size_t i = 0; files[i]; i++)
        unlink(at(files[i]));
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory),
        cmocka_unit_test_setup(single, begin),
        cmocka_unit_test(sets),
    };
    return cmocka_run_group_tests(tests, NULL, end);
}
