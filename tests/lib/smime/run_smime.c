/*
 * lib/smime at a command line, for tests with real peers: what to load, then one thing to do.
 *
 *     run-smime [--now S] [--password P] [--anchor|--pin|--cert|--key|--p12|--crl|--ocsp FILE]...
 *               [--hard|--off] VERB ...
 *
 * Octets go from stdin to stdout, words to stderr; exit status 1 when it was not done. WHO is an
 * address; the first certificate here that speaks for it and can do it is meant.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "letterlock/smime.h"

static struct ll_smime *s;
static struct ll_arena arena;
static struct ll_buf in = LL_BUF(1u << 30), out = LL_BUF(1u << 30);
static int64_t now = 1790000000;
static struct ll_slice password;

static void stop(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

static void must(const char *what, enum ll_seal_error e)
{
    if (e != LL_SEAL_OK)
        stop(what, ll_seal_error_text(e));
}

static void slurp(const char *path, struct ll_buf *to)
{
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    char piece[65536];
    size_t n;

    if (!f)
        stop(path, "cannot be opened");
    while ((n = fread(piece, 1, sizeof(piece), f)) > 0)
        ll_buf_put(to, piece, n);
    if (f != stdin)
        fclose(f);
}

static struct ll_slice file(const char *path)
{
    struct ll_buf b = LL_BUF(1u << 26);

    slurp(path, &b);
    return ll_buf_slice(&b); /* lives as long as the program */
}

static struct ll_slice who(const char *address, bool secret, bool encrypt)
{
    struct ll_slice *v;
    struct ll_smime_cert c;
    size_t n;

    must("list", ll_smime_list(s, ll_slice_str(address), &arena, &v, &n));
    for (size_t i = 0; i < n; i++) {
        must("cert", ll_smime_cert(s, v[i], &arena, &c));
        if ((!secret || c.secret) && (encrypt ? c.can_encrypt : c.can_sign))
            return v[i];
    }
    stop(address, "nobody here");
    return (struct ll_slice){0};
}

static void load(const char *option, const char *path)
{
    struct ll_slice octets = file(path), *v;
    size_t n = 0;

    if (strcmp(option, "--anchor") == 0) {
        must(path, ll_smime_add_anchor(s, octets, &n));
    } else if (strcmp(option, "--cert") == 0) {
        must(path, ll_smime_add_cert(s, octets, &arena, &v, &n));
    } else if (strcmp(option, "--pin") == 0) {
        must(path, ll_smime_add_cert(s, octets, &arena, &v, &n));
        for (size_t i = 0; i < n; i++)
            must(path, ll_smime_pin(s, v[i]));
    } else if (strcmp(option, "--key") == 0) {
        must(path, ll_smime_add_key(s, octets, password, NULL, NULL));
    } else if (strcmp(option, "--p12") == 0) {
        must(path, ll_smime_add_pkcs12(s, octets, password, &arena, &v, &n));
    } else if (strcmp(option, "--crl") == 0) {
        must(path, ll_smime_add_crl(s, octets));
    } else if (strcmp(option, "--ocsp") == 0) {
        must(path, ll_smime_add_ocsp(s, octets));
    } else {
        stop(option, "unknown option");
    }
}

static void tell(const struct ll_opened *o)
{
    if (o->encrypted)
        fprintf(stderr, "opened %.*s%s%s\n", LL_FMT(o->cipher),
                o->authenticated ? " authenticated" : "", o->weak ? " weak" : "");
    for (size_t i = 0; i < o->n_signature; i++)
        fprintf(stderr, "signature %s %.*s [%.*s] %.*s\n",
                ll_signature_state_word(o->signature[i].state), LL_FMT(o->signature[i].name),
                LL_FMT(o->signature[i].algorithm), LL_FMT(o->signature[i].detail));
}

static void do_open(void)
{
    struct ll_opened o = {0};

    must("open", ll_smime_open(s, ll_buf_slice(&in), now, &out, &arena, &o));
    tell(&o);
}

static void do_verify(const char *path)
{
    struct ll_opened o = {0};

    must("verify", ll_smime_verify(s, ll_buf_slice(&in), file(path), now, &arena, &o));
    tell(&o);
}

static void do_encrypt(char **argv, int argc, bool mime)
{
    static const char *const words[] = {"auto", "cbc", "gcm"};
    struct ll_slice to[64];
    int wish = 0, n = 0;

    while (wish < 2 && strcmp(argv[0], words[wish]) != 0)
        wish++;
    for (int i = 1; i < argc && n < 64; i++)
        to[n++] = who(argv[i], false, true);
    must("encrypt",
         (mime ? ll_smime_mime_encrypt : ll_smime_encrypt)(s, to, (size_t)n, ll_buf_slice(&in), now,
                                                           (enum ll_smime_content)wish, &out));
}

static void do_check(char **argv, int argc)
{
    bool encrypt = strcmp(argv[1], "encrypt") == 0;
    struct ll_slice said;
    enum ll_smime_fault f =
        ll_smime_check(s, who(argv[0], false, encrypt), encrypt ? LL_SMIME_ENCRYPT : LL_SMIME_SIGN,
                       ll_slice_str(argc > 2 ? argv[2] : argv[0]), now, &arena, &said);

    fprintf(stderr, "%s %.*s\n", ll_smime_fault_text(f), LL_FMT(said));
    if (f != LL_SMIME_FAULT_OK)
        exit(1);
}

static void do_list(void)
{
    struct ll_slice *v;
    struct ll_smime_cert c;
    size_t n;

    must("list", ll_smime_list(s, LL_LIT(""), &arena, &v, &n));
    for (size_t i = 0; i < n; i++) {
        must("cert", ll_smime_cert(s, v[i], &arena, &c));
        ll_buf_printf(&out, "%.*s\t%.*s\t%.*s\t%s%s%s%s\n", LL_FMT(c.name), LL_FMT(c.algorithm),
                      LL_FMT(c.n_address ? c.address[0] : LL_LIT("-")), c.secret ? "secret " : "",
                      c.can_sign ? "signs " : "", c.can_encrypt ? "seals " : "", c.ca ? "ca" : "");
    }
}

static void do_export(char **argv, int argc)
{
    static const char *const words[] = {"pem",      "der", "chain",     "key",
                                        "identity", "p12", "p12-legacy"};
    int form = 0;

    while (form < 6 && strcmp(argv[1], words[form]) != 0)
        form++;
    must("export", ll_smime_export(s, who(argv[0], form > 2, false), (enum ll_smime_form)form,
                                   ll_slice_str(argc > 2 ? argv[2] : ""), &out));
}

static void do_generate(char **argv)
{
    struct ll_slice f;
    int kind = 0;

    while (kind < 2 && strcmp(argv[2], ll_smime_kind_word((enum ll_smime_kind)kind)) != 0)
        kind++;
    must("generate", ll_smime_generate(s, ll_slice_str(argv[0]), ll_slice_str(argv[1]),
                                       (enum ll_smime_kind)kind, now, 365 * 86400, &arena, &f));
    must("export", ll_smime_export(s, f, LL_SMIME_IDENTITY, password, &out));
}

static void run(char **argv, int argc)
{
    const char *verb = argv[0];
    bool reads = strcmp(verb, "sign") == 0 || strcmp(verb, "verify") == 0 ||
                 strcmp(verb, "open") == 0 || strcmp(verb, "encrypt") == 0 ||
                 strncmp(verb, "mime-", 5) == 0;

    if (reads)
        slurp("-", &in);
    if (strcmp(verb, "open") == 0)
        do_open();
    else if (strcmp(verb, "list") == 0)
        do_list();
    else if (argc < 2)
        stop(verb, "says too little");
    else if (strcmp(verb, "verify") == 0)
        do_verify(argv[1]);
    else if (strcmp(verb, "sign") == 0)
        must(verb, ll_smime_sign(s, who(argv[1], true, false), ll_buf_slice(&in), now,
                                 argc < 3 || strcmp(argv[2], "opaque") != 0, &out));
    else if (strcmp(verb, "mime-sign") == 0)
        must(verb, ll_smime_mime_sign(s, who(argv[1], true, false), ll_buf_slice(&in),
                                      ll_slice_str(argc > 2 ? argv[2] : ""), now, &out));
    else if (strcmp(verb, "ocsp-request") == 0)
        must(verb, ll_smime_ocsp_request(s, who(argv[1], false, false), &out));
    else if (strcmp(verb, "request") == 0)
        must(verb, ll_smime_request(s, who(argv[1], true, false), &out));
    else if (argc < 3)
        stop(verb, "unknown, or says too little");
    else if (strcmp(verb, "encrypt") == 0 || strcmp(verb, "mime-encrypt") == 0)
        do_encrypt(argv + 1, argc - 1, verb[0] == 'm');
    else if (strcmp(verb, "check") == 0)
        do_check(argv + 1, argc - 1);
    else if (strcmp(verb, "export") == 0)
        do_export(argv + 1, argc - 1);
    else if (strcmp(verb, "generate") == 0 && argc == 4)
        do_generate(argv + 1);
    else
        stop(verb, "unknown");
}

int main(int argc, char **argv)
{
    int i = 1;

    ll_arena_init(&arena, 64u << 20);
    s = ll_smime_new();
    if (!s)
        stop("start", "no memory");
    for (; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
        if (strcmp(argv[i], "--hard") == 0)
            ll_smime_set_revocation(s, LL_SMIME_HARD);
        else if (strcmp(argv[i], "--off") == 0)
            ll_smime_set_revocation(s, LL_SMIME_OFF);
        else if (i + 1 == argc)
            stop(argv[i], "wants a word behind it");
        else if (strcmp(argv[i], "--now") == 0)
            now = strtoll(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--password") == 0)
            password = ll_slice_str(argv[++i]);
        else
            load(argv[i], argv[i + 1]), i++;
    }
    if (i == argc)
        stop("run-smime", "wants a verb");
    run(argv + i, argc - i);
    fwrite(out.p, 1, out.n, stdout);
    return 0;
}
