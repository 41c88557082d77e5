/* See load.h. */
#include "daemon/keeper/load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "io/ipc.h"
#include "io/tls.h"
#include "io/tls_provider.h"

#define FILE_MAX  (1u << 20)               /* octets of a certificate or key file */
#define CHAIN_MAX (LL_IPC_FRAME_MAX - 512) /* a chain must fit into one message */

struct loading {
    const char *title;
    struct ll_buf *err, *warnings;
};

static bool fault(const struct loading *l, const char *path, const char *what)
{
    ll_buf_printf(l->err, "%s: %s: %s\n", l->title, path, what);
    ERR_clear_error();
    return false;
}

/* Reads into memory of OpenSSL, which is secret here; *ret is freed with OPENSSL_clear_free. */
static bool read_file(const struct loading *l, const char *path, bool secret, uint8_t **ret,
                      size_t *ret_n)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return fault(l, path, strerror(errno));
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size <= 0 || st.st_size > FILE_MAX) {
        close(fd);
        return fault(l, path, "not a file of 1 octet to 1 MiB");
    }
    if (secret && (st.st_mode & S_IRWXO)) {
        close(fd);
        return fault(l, path,
                     "everyone may read this private key: chmod 0600 it, and think of it "
                     "as stolen");
    }
    if (secret && (st.st_mode & S_IRWXG))
        ll_buf_printf(l->warnings, "%s: %s: its group may read this private key\n", l->title, path);
    size_t size = (size_t)st.st_size, n = 0;
    uint8_t *p = OPENSSL_malloc(size);
    ssize_t r = 1;
    while (p && n < size && (r = read(fd, p + n, size - n)) > 0)
        n += (size_t)r;
    close(fd);
    if (!p || n < size) {
        OPENSSL_clear_free(p, size);
        return fault(l, path, p ? "cannot be read" : "no memory");
    }
    *ret = p;
    *ret_n = n;
    return true;
}

/* An encrypted key asks for a passphrase; nobody is there to give one. */
static int no_passphrase(char *buf, int size, int rw, void *arg)
{
    *(bool *)arg = true;
    return -1;
}

static EVP_PKEY *read_key(const struct loading *l, const char *path)
{
    uint8_t *p = NULL;
    size_t n = 0;
    bool encrypted = false;
    if (!read_file(l, path, true, &p, &n))
        return NULL;
    BIO *b = BIO_new_mem_buf(p, (int)n);
    EVP_PKEY *key = b ? PEM_read_bio_PrivateKey(b, NULL, no_passphrase, &encrypted) : NULL;
    BIO_free(b);
    OPENSSL_clear_free(p, n);
    if (!key)
        fault(l, path,
              encrypted ? "the private key is encrypted; store it without passphrase"
                        : "not a private key in PEM form");
    return key;
}

EVP_PKEY *ll_key_read(const char *title, const char *path, struct ll_buf *err)
{
    struct loading l = {title, err, err};

    return read_key(&l, path);
}

static bool load_key(const struct loading *l, const char *path, struct ll_key *k)
{
    char group[32] = "";
    k->key = read_key(l, path);
    if (!k->key)
        return false;
    if (EVP_PKEY_is_a(k->key, "RSA")) {
        k->type = LL_KEY_RSA;
        return EVP_PKEY_get_bits(k->key) >= 2048 || fault(l, path, "RSA keys need 2048 bit");
    }
    if (EVP_PKEY_is_a(k->key, "EC"))
        EVP_PKEY_get_group_name(k->key, group, sizeof(group), NULL);
    k->type = strcmp(group, "secp384r1") == 0 ? LL_KEY_P384 : LL_KEY_P256;
    return strcmp(group, "secp384r1") == 0 || strcmp(group, "prime256v1") == 0 ||
           fault(l, path, "the key must be RSA, EC P-256 or EC P-384");
}

/* Does the key fit the first certificate, and does it sign? This is also the first signature, made
 * before the sandbox shuts. */
static bool check_pair(const struct loading *l, const struct ll_conf_certificate *c,
                       const struct ll_key *k)
{
    static const uint16_t schemes[] = {
        [LL_KEY_P256] = 0x0403, [LL_KEY_P384] = 0x0503, [LL_KEY_RSA] = 0x0804};
    struct ll_cursor cur = ll_cursor(ll_buf_slice(&k->chain));
    struct ll_slice der = ll_cur_str32(&cur);
    const uint8_t *p = der.p;
    struct ll_buf sig = LL_BUF(4096);
    X509 *x = d2i_X509(NULL, &p, (long)der.n);
    bool match = x && X509_check_private_key(x, k->key) == 1;
    bool sign = match && ll_tls_sign_local(NULL, k->key, schemes[k->type], LL_LIT("warm"), &sig);
    if (match && X509_cmp_current_time(X509_get0_notAfter(x)) < 0)
        ll_buf_printf(l->warnings, "%s: %s: it has expired\n", c->title, c->cert);
    X509_free(x);
    ll_buf_release(&sig);
    ERR_clear_error();
    if (!match)
        return fault(l, c->key, "this key does not belong to the certificate");
    return sign || fault(l, c->key, "the key cannot sign");
}

static bool load_one(const struct ll_conf_certificate *c, struct ll_key *k, struct ll_buf *err,
                     struct ll_buf *warnings)
{
    struct loading l = {c->title, err, warnings};
    struct ll_buf why = LL_BUF(256);
    uint8_t *p = NULL;
    size_t n = 0;
    k->chain = LL_BUF(CHAIN_MAX);
    if (!(k->title = strdup(c->title)) || !read_file(&l, c->cert, false, &p, &n))
        return false;
    bool ok = ll_tls_chain_encode(ll_slice(p, n), &k->chain, &why) == 0;
    if (!ok)
        fault(&l, c->cert, ll_buf_str(&why));
    OPENSSL_clear_free(p, n);
    ll_buf_release(&why);
    return ok && load_key(&l, c->key, k) && check_pair(&l, c, k);
}

static bool named_by_route(const struct ll_conf *conf, const char *title)
{
    for (size_t i = 0; i < conf->n_route; i++)
        if (strcasecmp(conf->route[i].certificate, title) == 0)
            return true;
    return false;
}

struct ll_keys *ll_keys_load(const struct ll_conf *conf, uint32_t first, struct ll_buf *err,
                             struct ll_buf *warnings)
{
    struct ll_keys *all = calloc(1, sizeof(*all));
    bool ok = all && (all->key = calloc(conf->n_certificate + 1, sizeof(*all->key)));
    if (ok && conf->n_certificate > LL_TLS_CERTS_MAX) {
        ll_buf_printf(err, "more than %d certificates\n", LL_TLS_CERTS_MAX);
        ok = false;
    }
    for (size_t i = 0; ok && i < conf->n_certificate; i++) {
        const struct ll_conf_certificate *c = &conf->certificate[i];
        struct ll_key *k = &all->key[all->n++];
        k->number = first + (uint32_t)i;
        k->front = !c->client_only;
        k->relay = named_by_route(conf, c->title);
        ok = load_one(c, k, err, warnings);
    }
    if (ok)
        return all;
    ll_keys_free(all);
    return NULL;
}

void ll_keys_free(struct ll_keys *all)
{
    if (!all)
        return;
    for (size_t i = 0; i < all->n; i++) {
        free(all->key[i].title);
        EVP_PKEY_free(all->key[i].key);
        ll_buf_release(&all->key[i].chain);
    }
    free(all->key);
    free(all);
}

const struct ll_key *ll_keys_find(const struct ll_keys *all, uint32_t number)
{
    for (size_t i = 0; all && i < all->n; i++)
        if (all->key[i].number == number)
            return &all->key[i];
    return NULL;
}
