/*
 * bench-dkim: letters verified a second, in the library, with the answers at hand.
 *
 *     bench-dkim make DIR                       a key and signed letters, for all that follow
 *     bench-dkim ENGINE VARIANT DIR SECONDS     prints "letters N seconds S" (processor time)
 *     bench-dkim attack DIR                     processor time of hostile letters, and of doubled
 * ones
 *
 * ENGINE: letterlock, as fronts run it, with the key kept of an earlier letter; letterlock-first:
 * the key is made for each letter; libcrypto (the bare operations: SHA-256 of the body and of the
 * signed fields as they stand, one RSA verification with a key that was read before); libcrypto-key
 * (reads it for each letter); opendkim (its library, where it was there to build with). VARIANT:
 * 4KiB, 1MiB, 1MiB-base64: DKIM alone, prose with two blanks in each line, or what attachments look
 * like; all: SPF, DKIM, ARC and DMARC, 4 KiB.
 */
#include "letterlock/check.h"
#include "letterlock/need.h"
#include "lib/dkim/parts.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#ifdef HAVE_OPENDKIM
#include <dkim.h>
#endif

#define NOW    1700000000
#define DOMAIN "bench.test"
#define PIECE  65536 /* octets fed at a time, as a server would */
#define ROOM   65536 /* octets of an answer */
#define BOMB   "bomb.test"

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "bench-dkim: %s\n", what);
    exit(1);
}

static double cpu(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- files of the run -------------------------------------------------------------------------
 */

static FILE *open_file(const char *dir, const char *name, const char *mode)
{
    char path[4096];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, mode);
    if (!f)
        die(path);
    return f;
}

static struct ll_slice read_file(const char *dir, const char *name)
{
    FILE *f = open_file(dir, name, "rb");
    char *p = malloc(4 << 20);
    size_t n = p ? fread(p, 1, 4 << 20, f) : 0;

    fclose(f);
    return ll_slice(p, n);
}

static void write_file(const char *dir, const char *name, struct ll_slice s)
{
    FILE *f = open_file(dir, name, "wb");

    if (fwrite(s.p, 1, s.n, f) != s.n || fclose(f) != 0)
        die(name);
}

static EVP_PKEY *read_key(const char *dir)
{
    FILE *f = open_file(dir, "key", "r");
    EVP_PKEY *key = PEM_read_PrivateKey(f, NULL, NULL, NULL);

    fclose(f);
    return key;
}

/* ---- letters ------------------------------------------------------------------------------------
 */

#define PROSE "The quick brown fox  jumps over the lazy dog, as foxes do in letters.\r\n"
#define CODED "VGhlIHF1aWNrIGJyb3duIGZveCAganVtcHMgb3ZlciB0aGUgbGF6eSBkb2csIGFzIGZveGVzIGRv\r\n"

static void write_letter(size_t body, const char *line, struct ll_buf *out)
{
    ll_buf_puts(out, "Received: from a.bench.test by b.bench.test with ESMTPS; "
                     "Tue, 14 Nov 2023 22:13:20 +0000\r\n"
                     "Date: Tue, 14 Nov 2023 22:13:20 +0000\r\nFrom: Ann <ann@" DOMAIN ">\r\n"
                     "To: Bob <bob@here.test>\r\nMessage-ID: <1@" DOMAIN ">\r\n"
                     "Subject: A letter of the usual kind\r\nMIME-Version: 1.0\r\n"
                     "Content-Type: text/plain; charset=us-ascii\r\n\r\n");
    for (size_t at = out->n; out->n - at < body;)
        ll_buf_puts(out, line);
}

static void sign(EVP_PKEY *key, struct ll_slice letter, struct ll_buf *out)
{
    const struct ll_dkim_sign_options o = {.domain = LL_LIT(DOMAIN),
                                           .selector = LL_LIT("s1"),
                                           .algorithm = LL_DKIM_RSA,
                                           .header = LL_DKIM_RELAXED,
                                           .body = LL_DKIM_RELAXED,
                                           .now = NOW};
    struct ll_dkim_letter *l = ll_dkim_letter_new();
    struct ll_buf b = LL_BUF(LL_DKIM_SIGNATURE_ROOM);
    struct ll_slice rest = ll_slice_skip(letter, ll_dkim_letter_feed(l, letter));
    struct ll_dkim_signer *s = ll_dkim_signer_new(l, &o);
    struct ll_need need;

    ll_dkim_letter_feed(l, rest);
    ll_dkim_letter_end(l);
    if (!s || !ll_dkim_signer_need(s, &need) || !ll_dkim_key_sign(key, need.sign.text, &b))
        die("the letter cannot be signed");
    ll_dkim_signer_answer(s,
                          &(struct ll_need_answer){.id = need.id, .signature = ll_buf_slice(&b)});
    if (!ll_dkim_signer_field(s, out))
        die("the letter cannot be signed");
    ll_buf_put_slice(out, letter);
    ll_buf_release(&b);
    ll_dkim_signer_free(s);
    ll_dkim_letter_free(l);
}

static int make(const char *dir)
{
    const struct {
        const char *name;
        size_t body;
        const char *line;
    } letters[] = {
        {"4KiB", 4096, PROSE}, {"1MiB", 1 << 20, PROSE}, {"1MiB-base64", 1 << 20, CODED}};
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
    struct ll_buf record = LL_BUF(2000);
    FILE *f = open_file(dir, "key", "w");

    if (!key || !PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) || fclose(f) != 0 ||
        !ll_dkim_key_record(key, &record))
        die("no key can be made");
    write_file(dir, "record", ll_buf_slice(&record));
    for (size_t i = 0; i < LL_COUNT(letters); i++) {
        struct ll_buf plain = LL_BUF(4 << 20), letter = LL_BUF(4 << 20);

        write_letter(letters[i].body, letters[i].line, &plain);
        sign(key, ll_buf_slice(&plain), &letter);
        write_file(dir, letters[i].name, ll_buf_slice(&letter));
        ll_buf_release(&plain);
        ll_buf_release(&letter);
    }
    ll_buf_release(&record);
    EVP_PKEY_free(key);
    return 0;
}

/* ---- answers at hand ----------------------------------------------------------------------------
 */

static struct ll_slice record_text;
static struct ll_slice bomb_text; /* the SPF record of bomb.test and of every name below it */

/* The TXT record under a name of bench.test; nothing else is there. */
static void answer_of(const struct ll_need *need, uint8_t room[ROOM], struct ll_slice *rdata,
                      struct ll_dns_answer *ret)
{
    struct ll_slice name = ll_dns_name_slice(&need->dns.name), text = {NULL, 0};

    *ret = (struct ll_dns_answer){.status = LL_DNS_STATUS_NXDOMAIN, .type = need->dns.type};
    if (need->dns.type != LL_DNS_TXT)
        return;
    if (ll_slice_eq(name, LL_LIT("s1._domainkey." DOMAIN)))
        text = record_text;
    else if (ll_slice_eq(name, LL_LIT("_dmarc." DOMAIN)))
        text = LL_LIT("v=DMARC1; p=reject");
    else if (ll_slice_eq(name, LL_LIT(DOMAIN)))
        text = LL_LIT("v=spf1 ip4:192.0.2.0/24 -all");
    else if (ll_slice_ends(name, LL_LIT(BOMB)))
        text = bomb_text;
    if (text.n == 0)
        return;
    *rdata = ll_slice(room, 0);
    while (text.n > 0) {
        struct ll_slice part = ll_slice_cut(text, 0, 255);

        room[rdata->n] = (uint8_t)part.n;
        memcpy(room + rdata->n + 1, part.p, part.n);
        rdata->n += part.n + 1;
        text = ll_slice_skip(text, part.n);
    }
    ret->status = LL_DNS_STATUS_OK;
    ret->rdata = rdata;
    ret->n_rdata = 1;
}

/* ---- engines: one letter each -------------------------------------------------------------------
 */

static struct ll_dkim_keys *kept; /* NULL: each letter's key is made anew */

static bool by_letterlock(struct ll_slice letter)
{
    struct ll_dkim_letter *l = ll_dkim_letter_new();
    const struct ll_dkim_result *r;
    struct ll_dkim *d = NULL;
    struct ll_slice rdata;
    struct ll_need need;
    static uint8_t room[ROOM];
    bool ok;

    ll_dkim_letter_keys(l, kept);
    while (letter.n > 0) {
        letter = ll_slice_skip(letter, ll_dkim_letter_feed(l, ll_slice_cut(letter, 0, PIECE)));
        if (!d && ll_dkim_letter_ready(l))
            d = ll_dkim_new(l, NOW);
    }
    ll_dkim_letter_end(l);
    while (d && ll_dkim_need(d, &need)) {
        struct ll_dns_answer a;

        answer_of(&need, room, &rdata, &a);
        ll_dkim_answer(d, &(struct ll_need_answer){.id = need.id, .dns = &a});
    }
    ok = d && ll_dkim_done(d) && ll_dkim_results(d, &r, NULL) == 1 && r->fault == LL_DKIM_FAULT_OK;
    ll_dkim_free(d);
    ll_dkim_letter_free(l);
    return ok;
}

/* All engines; what is found may be anything, as hostile letters come here, too. */
static enum ll_dmarc_code check(struct ll_slice letter, struct ll_slice sender)
{
    const struct ll_check_input in = {.ip = {192, 0, 2, 1},
                                      .ip_n = 4,
                                      .helo = LL_LIT("mx." DOMAIN),
                                      .mail_from = sender,
                                      .receiver = LL_LIT("here.test"),
                                      .keys = kept,
                                      .unix_s = NOW};
    struct ll_check *c = ll_check_new(&in);
    enum ll_dmarc_code code;
    struct ll_slice rdata;
    struct ll_need need;
    static uint8_t room[ROOM];

    for (; letter.n > 0; letter = ll_slice_skip(letter, PIECE))
        ll_check_feed(c, ll_slice_cut(letter, 0, PIECE));
    ll_check_end(c);
    while (ll_check_need(c, &need)) {
        struct ll_dns_answer a;

        answer_of(&need, room, &rdata, &a);
        ll_check_answer(c, &(struct ll_need_answer){.id = need.id, .dns = &a});
    }
    code = ll_check_done(c) ? ll_check_result(c)->dmarc.code : LL_DMARC_TEMPERROR;
    ll_check_free(c);
    return code;
}

static bool by_check(struct ll_slice letter)
{
    return check(letter, LL_LIT("ann@" DOMAIN)) == LL_DMARC_PASS;
}

/* What no verifier can do without. */
static EVP_PKEY *bare_key;
static uint8_t bare_signature[512];
static size_t bare_signature_n;

/* Where the header ends. */
static size_t header_of(struct ll_slice letter)
{
    size_t at = 0;

    while (at + 4 <= letter.n && memcmp(letter.p + at, "\r\n\r\n", 4) != 0)
        at++;
    return at;
}

static bool bare(EVP_PKEY *key, struct ll_slice letter)
{
    size_t at = header_of(letter);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
    uint8_t hash[32];
    bool ok;

    ok = EVP_Digest(letter.p + at, letter.n - at, hash, NULL, EVP_sha256(), NULL) == 1 &&
         EVP_Digest(letter.p, at, hash, NULL, EVP_sha256(), NULL) == 1 && ctx &&
         EVP_PKEY_verify_init(ctx) == 1 && EVP_PKEY_CTX_set_rsa_padding(ctx, 1) == 1 &&
         EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) == 1 &&
         EVP_PKEY_verify(ctx, bare_signature, bare_signature_n, hash, 32) == 1;
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static bool by_libcrypto(struct ll_slice letter)
{
    return bare(bare_key, letter);
}

static bool by_libcrypto_key(struct ll_slice letter)
{
    struct ll_dkim_record record;
    EVP_PKEY *key = NULL;
    unsigned bits;
    bool ok = ll_dkim_record_parse(record_text, &record) == LL_DKIM_FAULT_OK &&
              ll_dkim_record_key(&record, &key, &bits) == LL_DKIM_FAULT_OK && bare(key, letter);

    EVP_PKEY_free(key);
    return ok;
}

/* Signs once what is verified then. */
static void prepare_bare(const char *dir, struct ll_slice letter)
{
    EVP_PKEY_CTX *ctx;
    uint8_t hash[32];

    bare_key = read_key(dir);
    EVP_Digest(letter.p, header_of(letter), hash, NULL, EVP_sha256(), NULL);
    ctx = EVP_PKEY_CTX_new(bare_key, NULL);
    bare_signature_n = sizeof(bare_signature);
    if (!ctx || EVP_PKEY_sign_init(ctx) != 1 || EVP_PKEY_CTX_set_rsa_padding(ctx, 1) != 1 ||
        EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) != 1 ||
        EVP_PKEY_sign(ctx, bare_signature, &bare_signature_n, hash, 32) != 1)
        die("the key does not sign");
    EVP_PKEY_CTX_free(ctx);
}

#ifdef HAVE_OPENDKIM
static DKIM_CBSTAT opendkim_key(DKIM *dkim, DKIM_SIGINFO *sig, unsigned char *buf, size_t n)
{
    (void)dkim;
    (void)sig;
    snprintf((char *)buf, n, "%.*s", LL_FMT(record_text));
    return DKIM_CBSTAT_CONTINUE;
}

static bool by_opendkim(struct ll_slice letter)
{
    static DKIM_LIB *lib;
    DKIM_STAT status;
    bool testing, ok;
    DKIM *d;

    if (!lib) {
        uint64_t now = NOW;

        lib = dkim_init(NULL, NULL);
        if (!lib || dkim_set_key_lookup(lib, opendkim_key) != DKIM_STAT_OK)
            die("opendkim's library does not start");
        dkim_options(lib, DKIM_OP_SETOPT, DKIM_OPTS_FIXEDTIME, &now, sizeof(now));
    }
    d = dkim_verify(lib, (const unsigned char *)"bench", NULL, &status);
    ok = d != NULL;
    for (; ok && letter.n > 0; letter = ll_slice_skip(letter, PIECE)) {
        struct ll_slice piece = ll_slice_cut(letter, 0, PIECE);

        ok = dkim_chunk(d, (unsigned char *)(uintptr_t)piece.p, piece.n) == DKIM_STAT_OK;
    }
    ok = ok && dkim_chunk(d, NULL, 0) == DKIM_STAT_OK && dkim_eom(d, &testing) == DKIM_STAT_OK;
    if (d)
        dkim_free(d);
    return ok;
}
#else
static bool by_opendkim(struct ll_slice letter)
{
    (void)letter;
    die("built without opendkim's library");
}
#endif

/* ---- hostile letters ----------------------------------------------------------------------------
 */

static void many(struct ll_buf *out, size_t n, const char *field)
{
    for (size_t i = 0; i < n; i++)
        ll_buf_puts(out, field);
    write_letter(4096, PROSE, out);
}

#define SIGNATURE                                                                                  \
    "DKIM-Signature: v=1; a=rsa-sha256; d=" DOMAIN "; s=s1; c=relaxed/relaxed; h=from:x:x:x; "     \
    "bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\r\n"

/* Processor time of a letter with n such fields, or (field NULL) of a short one whose sender's SPF
 * records have n such terms each. */
static double time_of(size_t n, const char *field, const char *term)
{
    struct ll_slice sender = field ? LL_LIT("ann@" DOMAIN) : LL_LIT("ann-a-b-c-d@" BOMB);
    struct ll_buf letter = LL_BUF(8 << 20), record = LL_BUF(ROOM);
    double begin, seconds;
    unsigned rounds = 0;

    many(&letter, field ? n : 0, field);
    ll_buf_puts(&record, "v=spf1");
    for (size_t i = 0; !field && i < n; i++) {
        ll_buf_putc(&record, ' ');
        ll_buf_puts(&record, term);
    }
    bomb_text = ll_buf_slice(&record);
    begin = cpu();
    do {
        check(ll_buf_slice(&letter), sender);
        rounds++;
        seconds = cpu() - begin;
    } while (seconds < 0.5);
    ll_buf_release(&letter);
    ll_buf_release(&record);
    return seconds / rounds;
}

static int attack(void)
{
    static const struct {
        const char *name;
        size_t n;
        const char *field, *term;
    } attacks[] = {
        {"signatures", 500, SIGNATURE, NULL},
        {"fields", 50000, "X: y\r\n", NULL},
        {"same-names", 50000, "DKIM-S: y\r\n", NULL},
        {"folds", 25000, "X:\r\n a\r\n\t\r\n y\r\n", NULL},
        {"authors", 500, "From: a@x.test\r\n", NULL},
        {"spf-includes", 300, NULL, "include:%{l1r-}.%{d}"},
        {"spf-macros", 50, NULL, "exists:%{sr}.%{lr-}.%{i}.%{o}.%{h}.%{d2}.%{lr-}.%{lr-}." BOMB},
        {"spf-addresses", 1500, NULL, "ip4:198.51.100.7/32"},
    };

    for (size_t i = 0; i < LL_COUNT(attacks); i++) {
        double one = time_of(attacks[i].n, attacks[i].field, attacks[i].term),
               two = time_of(2 * attacks[i].n, attacks[i].field, attacks[i].term);

        printf("%s %.3f %.2f\n", attacks[i].name, two * 1000, two / one);
    }
    return 0;
}

/* ---- the run ------------------------------------------------------------------------------------
 */

static int run(const char *engine, const char *variant, const char *dir, double limit)
{
    static const struct {
        const char *name;
        bool (*verify)(struct ll_slice);
        bool (*verify_all)(struct ll_slice);
    } engines[] = {{"letterlock", by_letterlock, by_check},
                   {"letterlock-first", by_letterlock, by_check},
                   {"libcrypto", by_libcrypto, by_libcrypto},
                   {"libcrypto-key", by_libcrypto_key, by_libcrypto_key},
                   {"opendkim", by_opendkim, by_opendkim}};
    bool all = strcmp(variant, "all") == 0, (*verify)(struct ll_slice) = NULL;
    struct ll_slice letter = read_file(dir, all ? "4KiB" : variant);
    double begin, seconds;
    size_t letters = 0;

    for (size_t i = 0; i < LL_COUNT(engines); i++)
        if (strcmp(engines[i].name, engine) == 0)
            verify = all ? engines[i].verify_all : engines[i].verify;
    prepare_bare(dir, letter);
    if (strcmp(engine, "letterlock") == 0)
        kept = ll_dkim_keys_new(16);
    if (!verify || !verify(letter))
        die("the letter does not verify");
    begin = cpu();
    do {
        letters++;
        if (!verify(letter))
            die("the letter does not verify");
        seconds = cpu() - begin;
    } while (seconds < limit);
    printf("letters %zu seconds %.6f\n", letters, seconds);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "make") == 0)
        return make(argv[2]);
    if (argc != 5 && !(argc == 3 && strcmp(argv[1], "attack") == 0)) {
        fprintf(stderr, "usage: bench-dkim make DIR | attack DIR | ENGINE VARIANT DIR SECONDS\n");
        return 64;
    }
    record_text = read_file(argv[argc == 3 ? 2 : 3], "record");
    return argc == 3 ? attack() : run(argv[1], argv[2], argv[3], strtod(argv[4], NULL));
}
