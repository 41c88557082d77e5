/*
 * bench-seal: letters sealed and opened a second, in the library, keys at hand.
 *
 *     bench-seal WORK/SIZE DIR SECONDS     prints "letters N seconds S" (time by the clock)
 *
 * WORK is a row of the table below, SIZE 10kB or 10MB. In DIR: pgp.key, the secret OpenPGP key of
 * bench@bench.test, who writes to himself.
 */
#include "letterlock/pgp.h"

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
