/*
 * bench-seal: letters sealed and opened a second, in the library, keys at hand.
 *
 *     bench-seal WORK/SIZE DIR SECONDS     prints "letters N seconds S" (time by the clock)
 *
 * WORK is a row of the table below, SIZE 10kB or 10MB. In DIR: pgp.key, the secret OpenPGP key of
 * bench@bench.test, who writes to himself; smime.pem, his key and certificate. "bare" is the same
 * work with S/MIME's operations of libcrypto, one after the other.
 */
#include "letterlock/pgp.h"
#include "letterlock/smime.h"

#include <openssl/cms.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define NOW time(NULL) /* the keys are made when the run begins */

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "bench-seal: %s\n", what);
    exit(1);
}

static double wall(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct ll_slice read_file(const char *dir, const char *name)
{
    char path[4096], *p = malloc(1 << 20);
    size_t n;
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, "rb");
    if (!f || !p)
        die(path);
    n = fread(p, 1, 1 << 20, f);
    fclose(f);
    return ll_slice(p, n);
}

/* ---- OpenPGP --------------------------------------------------------------------------------- */

static struct ll_pgp *pgp;
static struct ll_slice pgp_key;

static void pgp_set_up(const char *dir)
{
    static struct ll_arena arena;
    struct ll_slice *list;
    size_t n = 0;

    ll_arena_init(&arena, 1 << 20);
    pgp = ll_pgp_new();
    if (!pgp || ll_pgp_import(pgp, read_file(dir, "pgp.key"), NOW, &arena, &list, &n) || n != 1)
        die("pgp.key is no OpenPGP key");
    pgp_key = list[0];
}

static bool pgp_seal(struct ll_slice text, struct ll_buf *out)
{
    return ll_pgp_encrypt(pgp, &pgp_key, 1, pgp_key, text, NOW, out) == LL_SEAL_OK;
}

static bool pgp_open(struct ll_slice message, struct ll_buf *out)
{
    struct ll_slice none = {0};
    struct ll_opened o = {0};
    struct ll_arena arena;
    bool ok;

    ll_arena_init(&arena, 1 << 20);
    ok = ll_pgp_open(pgp, message, none, NOW, out, &arena, &o) == LL_SEAL_OK &&
         o.n_signature == 1 && o.signature[0].state == LL_SIGNATURE_GOOD;
    ll_arena_release(&arena);
    return ok;
}

/* ---- S/MIME: signed, and sealed around it ---------------------------------------------------- */

static struct ll_smime *smime;
static struct ll_slice smime_key;

static void smime_set_up(const char *dir)
{
    static struct ll_arena arena;

    ll_arena_init(&arena, 1 << 20);
    smime = ll_smime_new();
    if (!smime ||
        ll_smime_add_key(smime, read_file(dir, "smime.pem"), LL_LIT(""), &arena, &smime_key) ||
        ll_smime_pin(smime, smime_key))
        die("smime.pem is no key with its certificate");
}

static bool smime_seal(struct ll_slice text, struct ll_buf *out)
{
    struct ll_buf inner = LL_BUF(64 << 20);
    bool ok = ll_smime_sign(smime, smime_key, text, NOW, false, &inner) == LL_SEAL_OK &&
              ll_smime_encrypt(smime, &smime_key, 1, ll_buf_slice(&inner), NOW, LL_SMIME_CBC,
                               out) == LL_SEAL_OK;

    ll_buf_release(&inner);
    return ok;
}

static bool smime_open(struct ll_slice message, struct ll_buf *out)
{
    struct ll_buf inner = LL_BUF(64 << 20);
    struct ll_opened o = {0};
    struct ll_arena arena;
    bool ok;

    ll_arena_init(&arena, 1 << 20);
    ok = ll_smime_open(smime, message, NOW, &inner, &arena, &o) == LL_SEAL_OK &&
         ll_smime_open(smime, ll_buf_slice(&inner), NOW, out, &arena, &o) == LL_SEAL_OK &&
         o.n_signature == 1 && o.signature[0].state == LL_SIGNATURE_GOOD;
    ll_arena_release(&arena);
    ll_buf_release(&inner);
    return ok;
}

/* ---- S/MIME with libcrypto alone ------------------------------------------------------------- */

static EVP_PKEY *bare_key;
static X509 *bare_cert;
static STACK_OF(X509) * bare_to;

static void bare_set_up(const char *dir)
{
    struct ll_slice pem = read_file(dir, "smime.pem");
    BIO *in = BIO_new_mem_buf(pem.p, (int)pem.n);

    bare_key = PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
    bare_cert = PEM_read_bio_X509(in, NULL, NULL, NULL);
    bare_to = sk_X509_new_null();
    if (!bare_key || !bare_cert || !bare_to || !sk_X509_push(bare_to, bare_cert))
        die("smime.pem is no key with its certificate");
    BIO_free(in);
}

static bool bare_write(CMS_ContentInfo *cms, struct ll_buf *out)
{
    unsigned char *der = NULL;
    int n = cms ? i2d_CMS_ContentInfo(cms, &der) : -1;

    if (n > 0)
        ll_buf_put(out, der, (size_t)n);
    OPENSSL_free(der);
    CMS_ContentInfo_free(cms);
    return n > 0 && !out->failed;
}

static bool bare_seal(struct ll_slice text, struct ll_buf *out)
{
    struct ll_buf inner = LL_BUF(64 << 20);
    BIO *in = BIO_new_mem_buf(text.p, (int)text.n), *again;
    bool ok = bare_write(CMS_sign(bare_cert, bare_key, NULL, in, CMS_BINARY), &inner);

    again = BIO_new_mem_buf(inner.p, (int)inner.n);
    ok = ok && bare_write(CMS_encrypt(bare_to, again, EVP_aes_256_cbc(), CMS_BINARY), out);
    BIO_free(in);
    BIO_free(again);
    ll_buf_release(&inner);
    return ok;
}

static bool bare_open(struct ll_slice message, struct ll_buf *out)
{
    BIO *mid = BIO_new(BIO_s_mem()), *end = BIO_new(BIO_s_mem());
    CMS_ContentInfo *sealed = d2i_CMS_ContentInfo(NULL, &message.p, (long)message.n), *inner = NULL;
    char *p = NULL;
    bool ok = CMS_decrypt(sealed, bare_key, bare_cert, NULL, mid, CMS_BINARY) == 1;

    inner = ok ? d2i_CMS_bio(mid, NULL) : NULL;
    ok = inner &&
         CMS_verify(inner, bare_to, NULL, NULL, end, CMS_BINARY | CMS_NO_SIGNER_CERT_VERIFY) == 1;
    if (ok) {
        long n = BIO_get_mem_data(end, &p);

        ll_buf_put(out, p, (size_t)n);
    }
    CMS_ContentInfo_free(sealed);
    CMS_ContentInfo_free(inner);
    BIO_free(mid);
    BIO_free(end);
    return ok && !out->failed;
}

/* ---- the table ------------------------------------------------------------------------------- */

typedef bool work_fn(struct ll_slice in, struct ll_buf *out);

static const struct {
    const char *name;
    void (*set_up)(const char *dir);
    work_fn *before; /* makes of the letter what the work is done with; NULL: the letter */
    work_fn *work;
} works[] = {
    {"pgp-seal", pgp_set_up, NULL, pgp_seal},
    {"pgp-open", pgp_set_up, pgp_seal, pgp_open},
    {"smime-seal", smime_set_up, NULL, smime_seal},
    {"smime-open", smime_set_up, smime_seal, smime_open},
    {"bare-seal", bare_set_up, NULL, bare_seal},
    {"bare-open", bare_set_up, bare_seal, bare_open},
};

static const struct {
    const char *name;
    size_t octets;
} sizes[] = {{"10kB", 10000}, {"10MB", 10000000}};

static void write_letter(size_t octets, struct ll_buf *out)
{
    ll_buf_puts(out, "Content-Type: text/plain; charset=us-ascii\r\n\r\n");
    while (out->n < octets)
        ll_buf_puts(out,
                    "The quick brown fox jumps over the lazy dog, as foxes do in letters.\r\n");
}

static int run(size_t work, size_t octets, const char *dir, double seconds)
{
    struct ll_buf letter = LL_BUF(64 << 20), in = LL_BUF(64 << 20), out = LL_BUF(64 << 20);
    size_t n = 0;
    double begin, now;

    works[work].set_up(dir);
    write_letter(octets, &letter);
    if (works[work].before && !works[work].before(ll_buf_slice(&letter), &in))
        die("it cannot be sealed");
    begin = wall();
    do {
        ll_buf_clear(&out);
        if (!works[work].work(ll_buf_slice(works[work].before ? &in : &letter), &out))
            die("it does not work");
        n++;
        now = wall();
    } while (now - begin < seconds);
    printf("letters %zu seconds %.6f\n", n, now - begin);
    ll_buf_release(&letter);
    ll_buf_release(&in);
    ll_buf_release(&out);
    return 0;
}

int main(int argc, char **argv)
{
    struct ll_slice size = ll_slice_str(argc == 4 ? argv[1] : NULL), name = {0};

    ll_slice_next(&size, '/', &name);
    for (size_t w = 0; w < LL_COUNT(works); w++)
        for (size_t s = 0; s < LL_COUNT(sizes); s++)
            if (ll_slice_eq(name, ll_slice_str(works[w].name)) &&
                ll_slice_eq(size, ll_slice_str(sizes[s].name)))
                return run(w, sizes[s].octets, argv[2], atof(argv[3]));
    die("usage: bench-seal WORK/SIZE DIR SECONDS");
}
