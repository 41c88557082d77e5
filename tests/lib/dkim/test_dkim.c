/* DKIM whole: letters signed here and by others, each rule of a signature and of a key broken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/dkim/parts.h"
#include "tests/lib/dkim/zone.h"

#define NOW 1600000000

static struct zone zone;
static struct keys keys;

static const char letter[] = "From: Ann <ann@example.org>\r\n"
                             "To: Bob <bob@example.net>\r\n"
                             "Subject:  folded\r\n\tsubject \r\n"
                             "Date: Sun, 13 Sep 2020 12:26:40 +0000\r\n"
                             "\r\n"
                             "Hello  Bob,\r\n\r\nthis is all. \r\n\r\n";

static void answer(void *d, const struct ll_need_answer *a)
{
    ll_dkim_answer(d, a);
}

static void feed(struct ll_dkim_letter *l, struct ll_slice in, size_t step)
{
    while (in.n > 0 && !ll_dkim_letter_ready(l))
        in = ll_slice_skip(in, ll_dkim_letter_feed(l, ll_slice_cut(in, 0, step)));
}

/* Verifies; the letter stays for whoever looks at its work. */
static struct ll_dkim *verify(struct ll_dkim_letter *l, struct ll_slice in, size_t step)
{
    struct ll_dkim *d;
    struct ll_need need;

    while (in.n > 0 && !ll_dkim_letter_ready(l))
        in = ll_slice_skip(in, ll_dkim_letter_feed(l, ll_slice_cut(in, 0, step)));
    if (!ll_dkim_letter_ready(l))
        ll_dkim_letter_end(l);
    d = ll_dkim_new(l, NOW);
    assert_non_null(d);
    while (in.n > 0)
        in = ll_slice_skip(in, ll_dkim_letter_feed(l, ll_slice_cut(in, 0, step)));
    while (ll_dkim_need(d, &need)) {
        assert_false(ll_dkim_done(d));
        zone_answer(&zone, &need, answer, d);
    }
    ll_dkim_letter_end(l);
    assert_true(ll_dkim_done(d));
    return d;
}

static enum ll_dkim_fault verdict_step(struct ll_slice in, size_t step)
{
    struct ll_dkim_letter *l = ll_dkim_letter_new();
    struct ll_dkim *d = verify(l, in, step);
    const struct ll_dkim_result *r;
    enum ll_dkim_fault f;

    assert_true(ll_dkim_results(d, &r, NULL) > 0);
    f = r[0].fault;
    ll_dkim_free(d);
    ll_dkim_letter_free(l);
    return f;
}

static enum ll_dkim_fault verdict(struct ll_slice in)
{
    return verdict_step(in, SIZE_MAX);
}

/* Signs with the library's signer; appends the signed letter. */
static void sign(const struct ll_dkim_sign_options *o, EVP_PKEY *key, struct ll_slice in,
                 size_t step, struct ll_buf *out)
{
    struct ll_dkim_letter *l = ll_dkim_letter_new();
    struct ll_buf b = LL_BUF(LL_DKIM_SIGNATURE_ROOM);
    struct ll_slice rest = in;
    struct ll_dkim_signer *s;
    struct ll_need need;

    while (rest.n > 0 && !ll_dkim_letter_ready(l))
        rest = ll_slice_skip(rest, ll_dkim_letter_feed(l, ll_slice_cut(rest, 0, step)));
    s = ll_dkim_signer_new(l, o);
    assert_non_null(s);
    assert_false(ll_dkim_signer_need(s, &need));
    while (rest.n > 0)
        rest = ll_slice_skip(rest, ll_dkim_letter_feed(l, ll_slice_cut(rest, 0, step)));
    ll_dkim_letter_end(l);
    assert_false(ll_dkim_signer_field(s, out));
    assert_true(ll_dkim_signer_need(s, &need));
    assert_int_equal(need.kind, LL_NEED_SIGN);
    assert_false(ll_dkim_signer_need(s, &(struct ll_need){0}));
    assert_true(ll_dkim_key_sign(key, need.sign.text, &b));
    ll_dkim_signer_answer(s,
                          &(struct ll_need_answer){.id = need.id, .signature = ll_buf_slice(&b)});
    assert_true(ll_dkim_signer_field(s, out));
    ll_buf_put_slice(out, in);
    ll_buf_release(&b);
    ll_dkim_signer_free(s);
    ll_dkim_letter_free(l);
}

/* Puts a signature with these very tags on the letter: "b=" is added. bh= is computed for @. */
static void sign_raw(const char *tags, EVP_PKEY *key, struct ll_slice in, struct ll_buf *out)
{
    struct ll_buf field = LL_BUF(65536), text = LL_BUF(1 << 20), b = LL_BUF(1024),
                  hash = LL_BUF(64);
    struct ll_dkim_letter *l = ll_dkim_letter_new();
    struct ll_slice rest = in, body;
    struct ll_dkim_sig sig;
    struct ll_msg_field f;
    const char *at = strchr(tags, '@');

    feed(l, rest, SIZE_MAX);
    ll_msg_split(in, &rest, &body);
    ll_dkim_letter_want(l, LL_DKIM_SIMPLE, false, 0);
    ll_dkim_letter_want(l, LL_DKIM_RELAXED, false, 0);
    ll_dkim_letter_feed(l, body);
    ll_dkim_letter_end(l);
    ll_base64_encode(&hash, ll_slice(l->body[strstr(tags, "/relaxed") != NULL]->hash, 32));
    ll_buf_printf(&field, "DKIM-Signature: %.*s%.*s%s; b=\r\n",
                  at ? (int)(at - tags) : (int)strlen(tags), tags, at ? (int)hash.n : 0,
                  (char *)hash.p, at ? at + 1 : "");
    rest = ll_buf_slice(&field);
    assert_true(ll_msg_field_next(&rest, &f));
    ll_dkim_sig_parse(LL_DKIM_FIELD, f.raw, f.body, &sig);
    ll_dkim_letter_fields(l, sig.header, sig.h, UINT32_MAX, &text);
    ll_dkim_canon_own(sig.header, f.raw, sig.b_raw, &text);
    assert_true(ll_dkim_key_sign(key, ll_buf_slice(&text), &b));
    field.n -= 2;
    ll_base64_encode(&field, ll_buf_slice(&b));
    ll_buf_puts(&field, "\r\n");
    ll_buf_put_slice(out, ll_buf_slice(&field));
    ll_buf_put_slice(out, in);
    assert_false(out->failed || text.failed || field.failed);
    ll_buf_release(&field);
    ll_buf_release(&text);
    ll_buf_release(&b);
    ll_buf_release(&hash);
    ll_dkim_letter_free(l);
}

/* ---- rules of the signature ------------------------------------------------------------------ */

#define HEAD "v=1; a=ed25519-sha256; d=example.org; s=ed; "
#define H    "h=from:to:subject:date"

static const struct {
    const char *tags;
    enum ll_dkim_fault fault;
} rows[] = {
    {HEAD "c=relaxed/relaxed; " H "; bh=@", LL_DKIM_FAULT_OK},
    {HEAD "c=relaxed/simple; " H "; bh=@", LL_DKIM_FAULT_OK},
    {HEAD "c=simple/relaxed; " H "; bh=@", LL_DKIM_FAULT_OK},
    {HEAD "c=simple; " H "; bh=@", LL_DKIM_FAULT_OK},
    {HEAD "c=relaxed; " H "; bh=@", LL_DKIM_FAULT_OK},
    {HEAD H "; bh=@", LL_DKIM_FAULT_OK},
    {HEAD "h=From : TO:from:x-none:From; bh=@", LL_DKIM_FAULT_OK},
    {HEAD H "; bh=@; unknown=x; z=From:x", LL_DKIM_FAULT_OK},
    {HEAD H "; bh=@; t=1; x=1600000000", LL_DKIM_FAULT_OK},
    {HEAD H "; bh=@; t=99999999999999999999; x=999999999999999999999999", LL_DKIM_FAULT_TIMES},
    {HEAD H "; bh=@; x=99999999999999999999999999", LL_DKIM_FAULT_OK},
    {HEAD H "; bh=@; t=1; x=1599999999", LL_DKIM_FAULT_EXPIRED},
    {HEAD H "; bh=@; t=1700000000; x=1700000000", LL_DKIM_FAULT_TIMES},
    {HEAD H "; bh=@; x=", LL_DKIM_FAULT_TIMES},
    {HEAD H "; bh=@; t=-1", LL_DKIM_FAULT_TIMES},
    {HEAD H "; bh=@; q=dns/txt", LL_DKIM_FAULT_OK},
    {HEAD H "; bh=@; q=x : dns/txt", LL_DKIM_FAULT_OK},
    {HEAD H "; bh=@; q=dns", LL_DKIM_FAULT_Q},
    {HEAD H "; bh=@; i=ann=40x=example.org", LL_DKIM_FAULT_I},
    {HEAD H "; bh=@; i=ann=20b@example.org", LL_DKIM_FAULT_OK},
    {HEAD H "; bh=@; i=@sub.example.org", LL_DKIM_FAULT_OK},
    {HEAD H "; bh=@; i=@xexample.org", LL_DKIM_FAULT_IDENTITY},
    {HEAD H "; bh=@; i=@org", LL_DKIM_FAULT_I},
    {HEAD H "; bh=@; i=example.org", LL_DKIM_FAULT_I},
    {HEAD H "; bh=@; i=", LL_DKIM_FAULT_I},
    {HEAD H "; bh=@; i=a=4@example.org", LL_DKIM_FAULT_I},
    {HEAD "c=relaxed/relaxed; " H "; bh=@; l=0", LL_DKIM_FAULT_BODY},
    {HEAD "c=relaxed/relaxed; " H "; bh=@; l=28", LL_DKIM_FAULT_OK}, /* all of it */
    {HEAD "c=relaxed/relaxed; " H "; bh=@; l=29", LL_DKIM_FAULT_BODY_SHORT},
    {HEAD H "; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; l=0", LL_DKIM_FAULT_UNSIGNED_REST},
    {HEAD H "; bh=@; l=-1", LL_DKIM_FAULT_L},
    {HEAD H "; bh=@; l=", LL_DKIM_FAULT_L},
    {HEAD H "; bh=AAAA", LL_DKIM_FAULT_BH},
    {HEAD H "; bh=?", LL_DKIM_FAULT_BH},
    {HEAD H "; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", LL_DKIM_FAULT_BODY},
    {HEAD H, LL_DKIM_FAULT_TAG_MISSING},
    {HEAD "bh=@", LL_DKIM_FAULT_TAG_MISSING},
    {HEAD "h=to:subject; bh=@", LL_DKIM_FAULT_FROM_UNSIGNED},
    {HEAD "h=; bh=@", LL_DKIM_FAULT_H},
    {HEAD "h=from to; bh=@", LL_DKIM_FAULT_H},
    {HEAD "c=nowsp; " H "; bh=@", LL_DKIM_FAULT_C},
    {HEAD "c=; " H "; bh=@", LL_DKIM_FAULT_C},
    {HEAD "c=relaxed/; " H "; bh=@", LL_DKIM_FAULT_C},
    {HEAD "c=Relaxed; " H "; bh=@", LL_DKIM_FAULT_C},
    {HEAD H "; bh=@; bh=@", LL_DKIM_FAULT_TAG_TWICE},
    {HEAD H "; bh=@;", LL_DKIM_FAULT_TAGS}, /* "; ;" with what the test adds */
    {"a=ed25519-sha256; d=example.org; s=ed; " H "; bh=@", LL_DKIM_FAULT_TAG_MISSING},
    {"v=2; a=ed25519-sha256; d=example.org; s=ed; " H "; bh=@", LL_DKIM_FAULT_VERSION},
    {"v=1.0; a=ed25519-sha256; d=example.org; s=ed; " H "; bh=@", LL_DKIM_FAULT_VERSION},
    {"v=1; a=rsa-sha1; d=example.org; s=ed; " H "; bh=@", LL_DKIM_FAULT_SHA1},
    {"v=1; a=rsa-sha512; d=example.org; s=ed; " H "; bh=@", LL_DKIM_FAULT_ALGORITHM},
    {"v=1; a=RSA-SHA256; d=example.org; s=ed; " H "; bh=@", LL_DKIM_FAULT_ALGORITHM},
    {"v=1; a=rsa-sha256; d=example.org; s=ed; " H "; bh=@", LL_DKIM_FAULT_KEY_TYPE},
    {"v=1; a=ed25519-sha256; d=example.org; s=none; " H "; bh=@", LL_DKIM_FAULT_NO_KEY},
    {"v=1; a=ed25519-sha256; d=example.org; s=later; " H "; bh=@", LL_DKIM_FAULT_DNS_LATER},
    {"v=1; a=ed25519-sha256; d=example.org; s=revoked; " H "; bh=@", LL_DKIM_FAULT_KEY_REVOKED},
    {"v=1; a=ed25519-sha256; d=example.org; s=sha1; " H "; bh=@", LL_DKIM_FAULT_KEY_HASH},
    {"v=1; a=ed25519-sha256; d=example.org; s=tlsrpt; " H "; bh=@", LL_DKIM_FAULT_KEY_SERVICE},
    {"v=1; a=ed25519-sha256; d=example.org; s=strict; " H "; bh=@", LL_DKIM_FAULT_OK},
    {"v=1; a=ed25519-sha256; d=example.org; s=strict; " H "; bh=@; i=@EXAMPLE.org",
     LL_DKIM_FAULT_OK},
    {"v=1; a=ed25519-sha256; d=example.org; s=strict; " H "; bh=@; i=@a.example.org",
     LL_DKIM_FAULT_KEY_STRICT},
    {"v=1; a=ed25519-sha256; d=example.org; s=short; " H "; bh=@", LL_DKIM_FAULT_KEY_BAD},
    {"v=1; a=ed25519-sha256; d=example.org; s=two; " H "; bh=@", LL_DKIM_FAULT_OK},
    {"v=1; a=ed25519-sha256; d=example.org; s=other; " H "; bh=@", LL_DKIM_FAULT_SIGNATURE},
    {"v=1; a=ed25519-sha256; d=EXAMPLE.Org; s=ED; " H "; bh=@", LL_DKIM_FAULT_OK},
    {"v=1; a=ed25519-sha256; d=b\xc3\xbc"
     "cher.example; s=ed; " H "; bh=@",
     LL_DKIM_FAULT_OK},
    {"v=1; a=ed25519-sha256; d=xn--bcher-kva.example; s=ed; " H "; bh=@; i=j\xc3\xb6rg@b\xc3\xbc"
     "cher.example",
     LL_DKIM_FAULT_OK},
    {"v=1; a=ed25519-sha256; d=org; s=ed; " H "; bh=@", LL_DKIM_FAULT_D},
    {"v=1; a=ed25519-sha256; d=; s=ed; " H "; bh=@", LL_DKIM_FAULT_D},
    {"v=1; a=ed25519-sha256; d=example.org(.evil.test; s=ed; " H "; bh=@", LL_DKIM_FAULT_D},
    {"v=1; a=ed25519-sha256; d=example.org (x); s=ed; " H "; bh=@", LL_DKIM_FAULT_D},
    {"v=1; a=ed25519-sha256; d=example.org.; s=ed; " H "; bh=@", LL_DKIM_FAULT_D},
    {"v=1; a=ed25519-sha256; d=example..org; s=ed; " H "; bh=@", LL_DKIM_FAULT_D},
    {"v=1; a=ed25519-sha256; d=[192.0.2.1]; s=ed; " H "; bh=@", LL_DKIM_FAULT_D},
    {"v=1; a=ed25519-sha256; d=example.org; s=; " H "; bh=@", LL_DKIM_FAULT_S},
    {"v=1; a=ed25519-sha256; d=example.org; s=ed(x; " H "; bh=@", LL_DKIM_FAULT_S},
    {"v=1; a=ed25519-sha256; d=example.org; s=ed.; " H "; bh=@", LL_DKIM_FAULT_S},
    {"v=1; a=ed25519-sha256; d=example.org; s=ed/x; " H "; bh=@", LL_DKIM_FAULT_S},
};

static void signatures(void **state)
{
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_buf out = LL_BUF(1 << 20);
        enum ll_dkim_fault f;

        sign_raw(rows[i].tags, keys.ed, ll_slice_str(letter), &out);
        f = verdict(ll_buf_slice(&out));
        if (f != rows[i].fault)
            fail_msg("row %zu: %s: \"%s\"", i, rows[i].tags, ll_dkim_fault_text(f));
        ll_buf_release(&out);
    }
}

/* A NUL can stand nowhere in a signature. */
static void nul(void **state)
{
    static const char *const where[] = {"d=example.org", "s=ed", "i=@example.org"};

    for (size_t i = 0; i < LL_COUNT(where); i++) {
        struct ll_buf out = LL_BUF(1 << 20);
        size_t at;

        sign_raw(HEAD H "; bh=@; i=@example.org", keys.ed, ll_slice_str(letter), &out);
        at = ll_slice_search(ll_buf_slice(&out), ll_slice_str(where[i]));
        out.p[at + strlen(where[i]) - 1] = 0;
        assert_int_equal(verdict(ll_buf_slice(&out)), LL_DKIM_FAULT_TAGS);
        ll_buf_release(&out);
    }
}

/* ---- signing ----------------------------------------------------------------------------------
 */

static void sign_and_verify(void **state)
{
    static const char *const bodies[] = {"", "x", "\r\n", "a \r\nb\t\tc\r\n \r\n\r\n",
                                         "\xff\xfe 8 bit \xc3\xa4\r\n"};

    for (size_t i = 0; i < LL_COUNT(bodies); i++) {
        for (unsigned k = 0; k < 8; k++) {
            struct ll_dkim_sign_options o = {.domain = LL_LIT("example.org"),
                                             .selector = k & 1 ? LL_LIT("rsa") : LL_LIT("ed"),
                                             .algorithm = k & 1 ? LL_DKIM_RSA : LL_DKIM_ED25519,
                                             .header = k & 2 ? LL_DKIM_RELAXED : LL_DKIM_SIMPLE,
                                             .body = k & 4 ? LL_DKIM_RELAXED : LL_DKIM_SIMPLE,
                                             .now = NOW,
                                             .expire_s = LL_DKIM_EXPIRE_S};
            struct ll_buf in = LL_BUF(65536), out = LL_BUF(65536);

            ll_buf_printf(&in, "From: a@example.org\r\nX: %0400d\r\nCc: b@c.example\r\n\r\n%s", 1,
                          bodies[i]);
            sign(&o, k & 1 ? keys.rsa : keys.ed, ll_buf_slice(&in), k & 3 ? 7 : SIZE_MAX, &out);
            assert_int_equal(verdict(ll_buf_slice(&out)), LL_DKIM_FAULT_OK);
            for (size_t step = 1; step < 40; step += 3)
                assert_int_equal(verdict_step(ll_buf_slice(&out), step), LL_DKIM_FAULT_OK);
            ll_buf_release(&in);
            ll_buf_release(&out);
        }
    }
}

/* Fed in two parts, cut at every place. */
static void every_cut(void **state)
{
    struct ll_dkim_sign_options o = {.domain = LL_LIT("example.org"),
                                     .selector = LL_LIT("ed"),
                                     .algorithm = LL_DKIM_ED25519,
                                     .header = LL_DKIM_RELAXED,
                                     .body = LL_DKIM_RELAXED,
                                     .now = NOW};
    struct ll_buf out = LL_BUF(65536);
    struct ll_slice all;

    sign(&o, keys.ed, ll_slice_str(letter), SIZE_MAX, &out);
    all = ll_buf_slice(&out);
    for (size_t cut = 1; cut < all.n; cut++) {
        struct ll_dkim_letter *l = ll_dkim_letter_new();
        struct ll_slice part[] = {ll_slice_cut(all, 0, cut), ll_slice_skip(all, cut)};
        struct ll_dkim *d = NULL;
        const struct ll_dkim_result *r;
        struct ll_need need;

        for (size_t i = 0; i < 2; i++) {
            while (part[i].n > 0) {
                part[i] = ll_slice_skip(part[i], ll_dkim_letter_feed(l, part[i]));
                if (!d && ll_dkim_letter_ready(l))
                    d = ll_dkim_new(l, NOW);
            }
        }
        ll_dkim_letter_end(l);
        while (ll_dkim_need(d, &need))
            zone_answer(&zone, &need, answer, d);
        assert_true(ll_dkim_done(d));
        assert_int_equal(ll_dkim_results(d, &r, NULL), 1);
        assert_int_equal(r[0].fault, LL_DKIM_FAULT_OK);
        ll_dkim_free(d);
        ll_dkim_letter_free(l);
    }
    ll_buf_release(&out);
}

/* Whatever octet of the signed letter changes, it does not verify; or the change is one that
 * canonicalisation undoes. Nothing may be added to what was oversigned. */
static void changes(void **state)
{
    static const char *const added[] = {"From: evil@example.net\r\n", "Subject: evil\r\n",
                                        "Content-Type: text/html\r\n", "Reply-To: e@e.example\r\n",
                                        "cc: e@e.example\r\n"};
    struct ll_dkim_sign_options o = {.domain = LL_LIT("example.org"),
                                     .selector = LL_LIT("ed"),
                                     .algorithm = LL_DKIM_ED25519,
                                     .header = LL_DKIM_SIMPLE,
                                     .body = LL_DKIM_SIMPLE,
                                     .now = NOW};
    struct ll_buf out = LL_BUF(65536), more = LL_BUF(65536);
    size_t signature;

    sign(&o, keys.ed, ll_slice_str(letter), SIZE_MAX, &out);
    signature = out.n - (sizeof(letter) - 1);
    for (size_t i = signature; i < out.n - 2; i++) {
        if (out.p[i] == '\r' || out.p[i] == '\n')
            continue;
        out.p[i] ^= 1;
        assert_int_not_equal(verdict(ll_buf_slice(&out)), LL_DKIM_FAULT_OK);
        out.p[i] ^= 1;
    }
    assert_int_equal(verdict(ll_buf_slice(&out)), LL_DKIM_FAULT_OK);
    for (size_t i = 0; i < LL_COUNT(added); i++) {
        for (unsigned top = 0; top < 2; top++) {
            ll_buf_clear(&more);
            ll_buf_put_slice(&more, ll_slice_cut(ll_buf_slice(&out), 0, top ? 0 : signature));
            ll_buf_puts(&more, added[i]);
            ll_buf_put_slice(&more, ll_slice_skip(ll_buf_slice(&out), top ? 0 : signature));
            assert_int_equal(verdict(ll_buf_slice(&more)), LL_DKIM_FAULT_SIGNATURE);
        }
    }
    ll_buf_release(&out);
    ll_buf_release(&more);
}

static void refused_signers(void **state)
{
    const struct ll_dkim_sign_options good = {
        .domain = LL_LIT("example.org"), .selector = LL_LIT("ed"), .algorithm = LL_DKIM_ED25519};
    struct ll_dkim_letter *l = ll_dkim_letter_new();
    struct ll_dkim_sign_options o;
    struct ll_dkim_signer *s;

    assert_null(ll_dkim_signer_new(l, &good)); /* not ready */
    feed(l, ll_slice_str(letter), SIZE_MAX);
#define REFUSED(member, value)                                                                     \
    o = good;                                                                                      \
    o.member = LL_LIT(value);                                                                      \
    assert_null(ll_dkim_signer_new(l, &o))
    REFUSED(domain, "");
    REFUSED(domain, "org");
    REFUSED(domain, "a b.example");
    REFUSED(domain, "example.org; x=1");
    REFUSED(selector, "");
    REFUSED(selector, "a;b");
    REFUSED(identity, "@example.net");
    REFUSED(identity, "nobody");
    REFUSED(fields, "to:subject");
    REFUSED(fields, "from:");
    REFUSED(fields, "from:a;b");
    o = good;
    o.identity = LL_LIT("a;b=c@sub.example.org");
    s = ll_dkim_signer_new(l, &o);
    assert_non_null(s);
    ll_dkim_signer_free(s);
    ll_dkim_letter_free(l);
    l = ll_dkim_letter_new();
    feed(l, LL_LIT("To: x\r\n\r\n"), SIZE_MAX);
    assert_null(ll_dkim_signer_new(l, &good)); /* no From */
    ll_dkim_letter_free(l);
}

/* ---- bounded work ------------------------------------------------------------------------------
 */

/* A thousand signatures, each with another key, canonicalisation and length. */
static void thousand_signatures(void **state)
{
    struct ll_buf in = LL_BUF(LL_DKIM_HEADER_MAX);
    struct ll_dkim_letter *l = ll_dkim_letter_new();
    const struct ll_dkim_result *r;
    struct ll_dkim_work work;
    struct ll_dkim *d;
    size_t skipped;

    for (unsigned i = 0; i < 1000; i++)
        ll_buf_printf(
            &in,
            "DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=s%u; c=%s; l=%u; h=from; "
            "bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\r\n",
            i, i % 2 ? "relaxed/relaxed" : "simple", i);
    ll_buf_puts(&in, letter);
    d = verify(l, ll_buf_slice(&in), SIZE_MAX);
    assert_int_equal(ll_dkim_results(d, &r, &skipped), LL_DKIM_SIGNATURES_MAX);
    assert_int_equal(skipped, 990);
    ll_dkim_letter_work(l, &work);
    assert_int_equal(work.lookups, LL_DKIM_KEYS_MAX);
    assert_int_equal(work.body_hashes, 2);
    assert_int_equal(work.key_operations, 0);
    assert_true(work.octets < 200);
    ll_dkim_free(d);
    ll_dkim_letter_free(l);
    ll_buf_release(&in);
}

/* Ten signatures over a hundred thousand fields, all of them named: each field is hashed once a
 * signature. One key: one look-up. */
static void many_fields(void **state)
{
    struct ll_buf in = LL_BUF(LL_DKIM_HEADER_MAX), list = LL_BUF(LL_DKIM_HEADER_MAX);
    struct ll_dkim_letter *l;
    const struct ll_dkim_result *r;
    struct ll_dkim_work work;
    struct ll_dkim *d;
    struct ll_need need;

    for (unsigned i = 0; i < 20000; i++)
        ll_buf_puts(&list, ":a");
    for (unsigned i = 0; i < 10; i++)
        ll_buf_printf(
            &in,
            "DKIM-Signature: v=1; a=ed25519-sha256; d=example.org; s=ed; l=0; h=from%.*s; "
            "bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\r\n",
            LL_FMT(ll_buf_slice(&list)));
    for (unsigned i = 0; i < 100000; i++)
        ll_buf_puts(&in, "a:\r\n");
    ll_buf_puts(&in, "From: ann@example.org\r\n\r\nbody\r\n");
    assert_false(in.failed);
    l = ll_dkim_letter_new();
    d = verify(l, ll_buf_slice(&in), SIZE_MAX);
    assert_int_equal(ll_dkim_results(d, &r, NULL), 10);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(r[i].fault, LL_DKIM_FAULT_SIGNATURE);
    assert_false(ll_dkim_need(d, &need));
    ll_dkim_letter_work(l, &work);
    assert_int_equal(work.lookups, 1);
    assert_int_equal(work.header_hashes, 10);
    assert_int_equal(work.body_hashes, 1);
    assert_true(work.octets < 2 * in.n);
    ll_dkim_free(d);
    ll_dkim_letter_free(l);
    ll_buf_release(&in);
    ll_buf_release(&list);
}

static void long_header(void **state)
{
    struct ll_buf in = LL_BUF(4 << 20);
    struct ll_dkim_letter *l = ll_dkim_letter_new();
    const struct ll_dkim_result *r;
    struct ll_dkim *d;

    while (in.n < LL_DKIM_HEADER_MAX - 300)
        ll_buf_puts(&in, "X: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n");
    sign_raw(HEAD H "; bh=@", keys.ed, ll_slice_str(letter), &in);
    d = verify(l, ll_buf_slice(&in), 1000);
    assert_int_equal(ll_dkim_results(d, &r, NULL), 1);
    assert_int_equal(r[0].fault, LL_DKIM_FAULT_HEADER_LONG);
    ll_dkim_free(d);
    ll_dkim_letter_free(l);
    ll_buf_release(&in);
}

/* Letters without body, without header, without anything. */
static void small_letters(void **state)
{
    static const char *const letters[] = {"",          "\r\n",     "x", "From: a@b\r\n",
                                          "From: a@b", "\r\n\r\nx"};

    for (size_t i = 0; i < LL_COUNT(letters); i++) {
        struct ll_dkim_letter *l = ll_dkim_letter_new();
        struct ll_dkim *d = verify(l, ll_slice_str(letters[i]), 1);
        const struct ll_dkim_result *r;

        assert_int_equal(ll_dkim_results(d, &r, NULL), 0);
        ll_dkim_free(d);
        ll_dkim_letter_free(l);
    }
}

/* The example of RFC 8463 A.3: two signatures by others. */
static void rfc8463(void **state)
{
    static const char signed_letter[] =
        "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n"
        " d=football.example.com; i=@football.example.com;\r\n"
        " q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n"
        " subject : date : message-id : from : subject : date;\r\n"
        " bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n"
        " b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus\r\n"
        " Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==\r\n"
        "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;\r\n"
        " d=football.example.com; i=@football.example.com;\r\n"
        " q=dns/txt; s=test; t=1528637909; h=from : to : subject :\r\n"
        " date : message-id : from : subject : date;\r\n"
        " bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n"
        " b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3\r\n"
        " DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz\r\n"
        " dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=\r\n"
        "From: Joe SixPack <joe@football.example.com>\r\n"
        "To: Suzie Q <suzie@shopping.example.net>\r\n"
        "Subject: Is dinner ready?\r\n"
        "Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n"
        "Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n"
        "\r\n"
        "Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n\r\n\r\n";

    for (size_t step = 1; step < 2000; step += 333) {
        struct ll_dkim_letter *l = ll_dkim_letter_new();
        struct ll_dkim *d = verify(l, ll_slice_str(signed_letter), step);
        const struct ll_dkim_result *r;

        assert_int_equal(ll_dkim_results(d, &r, NULL), 2);
        assert_int_equal(r[0].fault, LL_DKIM_FAULT_OK);
        assert_int_equal(r[1].fault, LL_DKIM_FAULT_OK);
        assert_int_equal(r[1].bits, 1024);
        assert_true(ll_slice_eq(r[0].domain, LL_LIT("football.example.com")));
        assert_true(ll_slice_eq(r[0].selector, LL_LIT("brisbane")));
        assert_true(ll_slice_eq(r[0].identity, LL_LIT("@football.example.com")));
        assert_true(ll_slice_eq(r[0].b, LL_LIT("/gCrinpc")));
        assert_int_equal(r[0].signed_at, 1528637909);
        ll_dkim_free(d);
        ll_dkim_letter_free(l);
    }
}

/* The same key under other names, with other rules. */
static void fill_zone(void)
{
    const char *ed;
    char text[2048];

    keys = keys_new(&zone);
    ed = strstr(zone.v[1].txt, "p=");
#define RECORD(name, before)                                                                       \
    snprintf(text, sizeof(text), "%s; %s", before, ed);                                            \
    zone_put(&zone, name, text)
    RECORD("sha1._domainkey.example.org", "k=ed25519; h=sha1");
    RECORD("tlsrpt._domainkey.example.org", "k=ed25519; s=tlsrpt");
    RECORD("strict._domainkey.example.org", "k=ed25519; t=s");
    RECORD("ed._domainkey.xn--bcher-kva.example", "k=ed25519");
    zone_put(&zone, "two._domainkey.example.org", "v=spf1 -all");
    RECORD("two._domainkey.example.org", "k=ed25519");
    zone_put(&zone, "revoked._domainkey.example.org", "v=DKIM1; k=ed25519; p=");
    zone_put(&zone, "short._domainkey.example.org", "v=DKIM1; k=ed25519; p=AAAA");
    zone_put(&zone, "other._domainkey.example.org",
             "k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
    zone_put(&zone, "brisbane._domainkey.football.example.com",
             "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
    zone_put(&zone, "test._domainkey.football.example.com",
             "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6"
             "Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6l"
             "HvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB");
    zone_fail(&zone, "later._domainkey.example.org", LL_DNS_STATUS_SERVFAIL);
}

/* Fed whole and octet by octet, with and without a beginning that l= asks for. */
static void body_of(struct ll_slice in, size_t step, enum ll_dkim_canon canon, uint64_t mark,
                    uint8_t ret[2 * LL_DKIM_HASH])
{
    struct ll_dkim_body *b = ll_dkim_body_new(canon);

    assert_non_null(b);
    assert_true(ll_dkim_body_mark(b, mark));
    for (; in.n > 0; in = ll_slice_skip(in, step))
        ll_dkim_body_feed(b, ll_slice_cut(in, 0, step));
    ll_dkim_body_end(b);
    assert_false(b->failed);
    memcpy(ret, b->hash, LL_DKIM_HASH);
    memcpy(ret + LL_DKIM_HASH, b->mark[0].hash, LL_DKIM_HASH);
    ll_dkim_body_free(b);
}

/* What differs may lie anywhere: the quick way through a body finds what the slow one does. */
static void bodies(void **state)
{
    static const char octets[] = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrs  \t\r\n\r\n\r \n";
    static const size_t steps[] = {2, 63, 64, 65, 1000, SIZE_MAX};
    static uint8_t text[20000];
    uint32_t dice = 1;

    (void)state;
    for (unsigned round = 0; round < 400; round++) {
        size_t n = round < 300 ? round : 4000 + 160 * (size_t)(round - 300);
        /* From text with few blanks to little but blanks. */
        size_t from = round % 3 == 0 ? 0 : round % 3 == 1 ? 30 : 44;
        uint8_t slow[2 * LL_DKIM_HASH], quick[2 * LL_DKIM_HASH];

        for (size_t i = 0; i < n; i++) {
            dice = dice * 1664525 + 1013904223;
            text[i] = (uint8_t)octets[from + (dice >> 16) % (sizeof(octets) - 1 - from)];
        }
        for (int canon = LL_DKIM_SIMPLE; canon <= LL_DKIM_RELAXED; canon++) {
            body_of(ll_slice(text, n), 1, canon, n / 2, slow);
            for (size_t i = 0; i < LL_COUNT(steps); i++) {
                body_of(ll_slice(text, n), steps[i], canon, n / 2, quick);
                assert_memory_equal(slow, quick, sizeof(slow));
            }
        }
    }
}

static enum ll_dkim_fault verdict_kept(struct ll_slice in, struct ll_dkim_keys *keep)
{
    struct ll_dkim_letter *l = ll_dkim_letter_new();
    const struct ll_dkim_result *r;
    enum ll_dkim_fault f;
    struct ll_dkim *d;

    ll_dkim_letter_keys(l, keep);
    d = verify(l, in, SIZE_MAX);
    assert_int_equal(ll_dkim_results(d, &r, NULL), 1);
    f = r[0].fault;
    assert_int_equal(r[0].bits, 256);
    ll_dkim_free(d);
    ll_dkim_letter_free(l);
    return f;
}

/* A key that was kept serves letters whose record has it, and no others. */
static void kept_keys(void **state)
{
    static const char name[] = "kept._domainkey.example.org";
    const struct ll_dkim_sign_options o = {.domain = LL_LIT("example.org"),
                                           .selector = LL_LIT("kept"),
                                           .algorithm = LL_DKIM_ED25519,
                                           .now = NOW};
    struct ll_buf one = LL_BUF(1 << 16), two = LL_BUF(1 << 16);
    size_t before = zone.n;
    EVP_PKEY *key[2];
    char *record[2];

    (void)state;
    assert_null(ll_dkim_keys_new(0));
    assert_null(ll_dkim_keys_new(LL_DKIM_KEPT_MAX + 1));
    ll_dkim_keys_free(NULL);
    for (int i = 0; i < 2; i++) {
        struct ll_buf text = LL_BUF(2000);

        key[i] = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
        assert_true(ll_dkim_key_record(key[i], &text));
        record[i] = ll_slice_dup(ll_buf_slice(&text));
        ll_buf_release(&text);
    }
    sign(&o, key[0], ll_slice_str(letter), SIZE_MAX, &one);
    sign(&o, key[1], ll_slice_str(letter), SIZE_MAX, &two);
    for (size_t max = 1; max <= LL_DKIM_KEPT_MAX; max *= 256) {
        struct ll_dkim_keys *keep = ll_dkim_keys_new(max);

        assert_non_null(keep);
        for (int round = 0; round < 6; round++) {
            int at = round / 2 % 2;

            zone.n = before;
            zone_put(&zone, name, record[at]);
            assert_int_equal(verdict_kept(ll_buf_slice(at ? &two : &one), keep), LL_DKIM_FAULT_OK);
            assert_int_equal(verdict_kept(ll_buf_slice(at ? &one : &two), keep),
                             LL_DKIM_FAULT_SIGNATURE);
        }
        ll_dkim_keys_free(keep);
    }
    zone.n = before;
    for (int i = 0; i < 2; i++) {
        EVP_PKEY_free(key[i]);
        free(record[i]);
    }
    ll_buf_release(&one);
    ll_buf_release(&two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signatures),      cmocka_unit_test(nul),
        cmocka_unit_test(sign_and_verify), cmocka_unit_test(every_cut),
        cmocka_unit_test(changes),         cmocka_unit_test(refused_signers),
        cmocka_unit_test(rfc8463),         cmocka_unit_test(thousand_signatures),
        cmocka_unit_test(many_fields),     cmocka_unit_test(long_header),
        cmocka_unit_test(small_letters),   cmocka_unit_test(bodies),
        cmocka_unit_test(kept_keys),
    };
    int status;

    fill_zone();
    status = cmocka_run_group_tests(tests, NULL, NULL);
    keys_free(&keys);
    return status;
}
