/*
 * dkim: how long one letter's DKIM signature takes to verify in the library, the answers at hand,
 * and how long the operations in libcrypto take that no verifier can do without: hashing the body
 * and the fields, making the key out of its record, and checking the signature. CPU time of this
 * process.
 *
 *   dkim [LETTERS]        for each body: verify BODY letterlock VALUE us, verify BODY libcrypto
 * VALUE us
 */
#include "lib/dkim/parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define NOW  1600000000
#define REPS 5 /* the best of so many is told */

static double cpu_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void need(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "bench-dkim: %s\n", what);
        exit(1);
    }
}

static void answer(struct ll_dkim *d, const struct ll_need *n, struct ll_slice text)
{
    uint8_t wire[2048];
    struct ll_slice rdata = ll_slice(wire, 0);
    struct ll_dns_answer a = {.status = LL_DNS_STATUS_OK, .rdata = &rdata, .n_rdata = 1};

    for (; text.n > 0; text = ll_slice_skip(text, 255)) {
        struct ll_slice part = ll_slice_cut(text, 0, 255);

        wire[rdata.n++] = (uint8_t)part.n;
        memcpy(wire + rdata.n, part.p, part.n);
        rdata.n += part.n;
    }
    ll_dkim_answer(d, &(struct ll_need_answer){.id = n->id, .dns = &a});
}

static void build_letter(struct ll_buf *out, size_t octets)
{
    size_t header;

    ll_buf_puts(out, "From: Ann <ann@example.org>\r\nTo: Bob <bob@example.net>\r\n"
                     "Subject: hello there\r\nDate: Tue, 24 Nov 2026 03:07:34 +0000\r\n"
                     "Message-ID: <1234567890@example.org>\r\nMIME-Version: 1.0\r\n"
                     "Content-Type: text/plain; charset=utf-8\r\n\r\n");
    header = out->n;
    while (out->n < header + octets)
        ll_buf_puts(out, "This is a line of text, as people write it: words and blanks.\r\n");
}

/* Signs; `text` is what was signed, b its signature. */
static void sign(EVP_PKEY *key, struct ll_slice letter, struct ll_buf *out, struct ll_buf *text,
                 struct ll_buf *b)
{
    const struct ll_dkim_sign_options o = {.domain = LL_LIT("example.org"),
                                           .selector = LL_LIT("s"),
                                           .algorithm = LL_DKIM_RSA,
                                           .header = LL_DKIM_RELAXED,
                                           .body = LL_DKIM_RELAXED,
                                           .now = NOW,
                                           .expire_s = LL_DKIM_EXPIRE_S};
    struct ll_dkim_letter *l = ll_dkim_letter_new();
    size_t header = ll_dkim_letter_feed(l, letter);
    struct ll_dkim_signer *s = ll_dkim_signer_new(l, &o);
    struct ll_need n;

    ll_dkim_letter_feed(l, ll_slice_skip(letter, header));
    ll_dkim_letter_end(l);
    need(s && ll_dkim_signer_need(s, &n) && ll_dkim_key_sign(key, n.sign.text, b), "cannot sign");
    ll_buf_put_slice(text, n.sign.text);
    ll_dkim_signer_answer(s, &(struct ll_need_answer){.signature = ll_buf_slice(b)});
    need(ll_dkim_signer_field(s, out), "cannot sign");
    ll_buf_put_slice(out, letter);
    ll_dkim_signer_free(s);
    ll_dkim_letter_free(l);
}

static void verify(struct ll_slice in, struct ll_slice record)
{
    struct ll_dkim_letter *l = ll_dkim_letter_new();
    const struct ll_dkim_result *r;
    struct ll_dkim *d;
    struct ll_need n;

    in = ll_slice_skip(in, ll_dkim_letter_feed(l, in));
    d = ll_dkim_new(l, NOW);
    while (ll_dkim_need(d, &n))
        answer(d, &n, record);
    for (; in.n > 0; in = ll_slice_skip(in, 16384)) /* as a front reads it */
        ll_dkim_letter_feed(l, ll_slice_cut(in, 0, 16384));
    ll_dkim_letter_end(l);
    need(ll_dkim_done(d) && ll_dkim_results(d, &r, NULL) == 1 && r->fault == LL_DKIM_FAULT_OK,
         "does not verify");
    ll_dkim_free(d);
    ll_dkim_letter_free(l);
}

static void bare(struct ll_slice body, struct ll_slice text, const struct ll_dkim_record *record,
                 const struct ll_dkim_sig *sig)
{
    uint8_t hash[LL_DKIM_HASH];
    EVP_PKEY *key = NULL;
    unsigned bits;

    need(ll_dkim_sha256(body, hash) && ll_dkim_sha256(text, hash) &&
             ll_dkim_record_key(record, &key, &bits) == LL_DKIM_FAULT_OK &&
             ll_dkim_verify_hash(key, sig, hash) == LL_DKIM_FAULT_OK,
         "the bare operations fail");
    EVP_PKEY_free(key);
}

static void measure(const char *name, size_t octets, unsigned letters, EVP_PKEY *key,
                    struct ll_slice record)
{
    struct ll_buf in = LL_BUF(4 << 20), out = LL_BUF(4 << 20), text = LL_BUF(65536),
                  b = LL_BUF(LL_DKIM_SIGNATURE_ROOM);
    struct ll_dkim_sig sig = {.algorithm = LL_DKIM_RSA};
    double best[2] = {0, 0};
    struct ll_dkim_record r;
    struct ll_slice body;

    build_letter(&in, octets);
    body = ll_slice_skip(ll_buf_slice(&in), in.n - octets);
    sign(key, ll_buf_slice(&in), &out, &text, &b);
    need(ll_dkim_record_parse(record, &r) == LL_DKIM_FAULT_OK, "the record");
    memcpy(sig.b, b.p, b.n);
    sig.b_n = b.n;
    for (unsigned rep = 0; rep < REPS; rep++) {
        for (unsigned which = 0; which < 2; which++) {
            double t = cpu_us();

            for (unsigned i = 0; i < letters; i++) {
                if (which == 0)
                    verify(ll_buf_slice(&out), record);
                else
                    bare(body, ll_buf_slice(&text), &r, &sig);
            }
            t = (cpu_us() - t) / letters;
            if (best[which] == 0 || t < best[which])
                best[which] = t;
        }
    }
    printf("verify %s letterlock %.1f us\nverify %s libcrypto %.1f us\nratio verify %s libcrypto "
           "%.2f\n",
           name, best[0], name, best[1], name, best[0] / best[1]);
    ll_buf_release(&in);
    ll_buf_release(&out);
    ll_buf_release(&text);
    ll_buf_release(&b);
}

int main(int argc, char **argv)
{
    unsigned letters = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 2000;
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
    struct ll_buf record = LL_BUF(2048);

    need(key && letters > 0 && ll_dkim_key_record(key, &record), "no key");
    measure("4KiB", 4096, letters, key, ll_buf_slice(&record));
    measure("1MiB", 1 << 20, letters / 20 + 1, key, ll_buf_slice(&record));
    ll_buf_release(&record);
    EVP_PKEY_free(key);
    return 0;
}
