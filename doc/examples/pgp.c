/*
 * OpenPGP on the command line: keys from files, the text on standard input, the result on standard
 * output, what was learned on standard error.
 *
 *     cc pgp.c $(pkg-config --cflags --libs libletterlock-pgp) -o pgp
 *     ./pgp generate "Ann <ann@example.org>" > ann.key
 *     ./pgp seal -k ann.key -k bob.pub -s ANN -r BOB < text > sealed     (fingerprints)
 *     ./pgp open -k ann.pub -k bob.key -p PASSWORD < sealed
 *
 * Commands: generate USER-ID, list, export, secret, prolong (by a year from now), sign, seal,
 * mime-sign, mime-seal, open, and verify with -d SIGNATURE. A password given with -p opens keys,
 * and messages sealed with it.
 */
#include <letterlock/pgp.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define OCTETS_MAX (64 << 20)

struct job {
    struct ll_pgp *ring;
    struct ll_arena arena;
    struct ll_slice signer, password, detached, in;
    struct ll_slice recipient[LL_PGP_RECIPIENTS_MAX];
    size_t n;
    int64_t now;
    struct ll_buf out;
};

static struct ll_slice read_all(FILE *f)
{
    uint8_t *p = f ? malloc(OCTETS_MAX) : NULL;
    size_t n = p ? fread(p, 1, OCTETS_MAX, f) : 0;

    if (!p)
        exit(2);
    return ll_slice(p, n);
}

static int failed(enum ll_seal_error error)
{
    if (error)
        fprintf(stderr, "error %s\n", ll_seal_error_text(error));
    return error != LL_SEAL_OK;
}

static int describe(struct job *j, struct ll_slice fingerprint)
{
    struct ll_pgp_key k;

    if (failed(ll_pgp_key(j->ring, fingerprint, j->now, &j->arena, &k)))
        return 1;
    printf("%.*s %.*s%s%s%s%s%s%s%s%s\n", LL_FMT(k.fingerprint), LL_FMT(k.algorithm),
           k.secret ? " secret" : "", k.elsewhere ? " card" : "", k.locked ? " locked" : "",
           k.valid ? "" : " invalid", k.revoked ? " revoked" : "", k.expired ? " expired" : "",
           k.can_sign ? " signs" : "", k.can_encrypt ? " encrypts" : "");
    for (size_t i = 0; i < k.n_user_id; i++)
        printf("  %s %.*s\n", k.user_id[i].valid ? "id" : "invalid-id",
               LL_FMT(k.user_id[i].address));
    return 0;
}

static void import_file(struct job *j, const char *path, bool list)
{
    FILE *f = fopen(path, "rb");
    struct ll_slice *fingerprint;
    size_t n = 0;

    if (failed(ll_pgp_import(j->ring, read_all(f), j->now, &j->arena, &fingerprint, &n)))
        exit(1);
    fclose(f);
    for (size_t i = 0; i < n; i++) {
        if (j->password.n)
            ll_pgp_unlock(j->ring, fingerprint[i], j->password);
        if (list)
            describe(j, fingerprint[i]);
    }
}

static void tell(const struct ll_opened *o)
{
    if (o->encrypted)
        fprintf(stderr, "encrypted %.*s%s\n", LL_FMT(o->cipher), o->weak ? " weak" : "");
    for (size_t i = 0; i < o->n_signature; i++) {
        const struct ll_signature *s = &o->signature[i];

        fprintf(stderr, "signature %s %.*s %.*s %.*s\n", ll_signature_state_word(s->state),
                LL_FMT(s->fingerprint.n ? s->fingerprint : s->key_id), LL_FMT(s->algorithm),
                LL_FMT(s->n_address ? s->address[0] : ll_slice(NULL, 0)));
    }
}

static int generate(struct job *j, const char *user_id)
{
    struct ll_slice fingerprint;

    return failed(ll_pgp_generate(j->ring, ll_slice_str(user_id), j->password, j->now, 0, &j->arena,
                                  &fingerprint)) ||
           failed(ll_pgp_export(j->ring, fingerprint, LL_PGP_SECRET, true, ll_slice(NULL, 0),
                                &j->out));
}

static enum ll_seal_error run(struct job *j, struct ll_slice command)
{
    struct ll_slice boundary = LL_LIT("=_example"), none = {0};
    struct ll_opened o = {0};
    enum ll_seal_error error = LL_SEAL_MALFORMED;

    if (ll_slice_eq(command, LL_LIT("export")))
        return ll_pgp_export(j->ring, j->recipient[0], LL_PGP_PUBLIC, true, none, &j->out);
    if (ll_slice_eq(command, LL_LIT("prolong"))) {
        error = ll_pgp_set_expiry(j->ring, j->recipient[0], j->now + 365 * 86400, j->now);
        if (error)
            return error;
    }
    if (ll_slice_eq(command, LL_LIT("secret")) || ll_slice_eq(command, LL_LIT("prolong")))
        return ll_pgp_export(j->ring, j->recipient[0], LL_PGP_SECRET, true, none, &j->out);
    j->in = read_all(stdin);
    if (ll_slice_eq(command, LL_LIT("sign")))
        return ll_pgp_sign(j->ring, j->signer, j->in, j->now, &j->out);
    if (ll_slice_eq(command, LL_LIT("mime-sign")))
        return ll_pgp_mime_sign(j->ring, j->signer, j->in, boundary, j->now, &j->out);
    if (ll_slice_eq(command, LL_LIT("mime-seal")))
        return ll_pgp_mime_encrypt(j->ring, j->recipient, j->n, j->signer, j->in, boundary, j->now,
                                   &j->out);
    if (ll_slice_eq(command, LL_LIT("seal")) && j->n == 0)
        return ll_pgp_encrypt_password(j->ring, j->password, j->in, j->now, &j->out);
    if (ll_slice_eq(command, LL_LIT("seal")))
        return ll_pgp_encrypt(j->ring, j->recipient, j->n, j->signer, j->in, j->now, &j->out);
    if (ll_slice_eq(command, LL_LIT("open")))
        error = ll_pgp_open(j->ring, j->in, j->password, j->now, &j->out, &j->arena, &o);
    else if (ll_slice_eq(command, LL_LIT("verify")))
        error = ll_pgp_verify(j->ring, j->in, j->detached, j->now, &j->arena, &o);
    if (!error)
        tell(&o);
    return error;
}

int main(int argc, char **argv)
{
    struct job j = {.ring = ll_pgp_new(), .now = time(NULL), .out = LL_BUF(OCTETS_MAX)};
    struct ll_slice command = ll_slice_str(argc > 1 ? argv[1] : NULL);
    bool list = ll_slice_eq(command, LL_LIT("list"));
    int option, status;

    if (!j.ring || argc < 2)
        return 2;
    ll_arena_init(&j.arena, OCTETS_MAX);
    argv++;
    argc--;
    while ((option = getopt(argc, argv, "k:p:r:s:d:t:")) != -1)
        if (option == 'k')
            import_file(&j, optarg, list);
        else if (option == 'p')
            j.password = ll_slice_str(optarg);
        else if (option == 'r' && j.n < LL_PGP_RECIPIENTS_MAX)
            j.recipient[j.n++] = ll_slice_str(optarg);
        else if (option == 's')
            j.signer = ll_slice_str(optarg);
        else if (option == 'd')
            j.detached = read_all(fopen(optarg, "rb"));
        else if (option == 't')
            j.now = strtoll(optarg, NULL, 10);
        else
            return 2;
    if (ll_slice_eq(command, LL_LIT("generate")) && optind < argc)
        status = generate(&j, argv[optind]);
    else
        status = list ? 0 : failed(run(&j, command));
    if (!status && j.out.n)
        fwrite(j.out.p, 1, j.out.n, stdout);
    ll_buf_wipe(&j.out);
    ll_arena_release(&j.arena);
    ll_pgp_free(j.ring);
    return status;
}
