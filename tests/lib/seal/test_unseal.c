/* The unsealing engine: layers, sections, pieces, verdicts. The answers come from the rows: what is
 * "opened" is the blob between braces, and a signature says in words what it is. Real keys are in
 * tests/interop/test_read.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "letterlock/msg.h"
#include "letterlock/unseal.h"

/* ---- answers ------------------------------------------------------------------------------------
 */

static const char *const state_words[] = {"good",    "bad",       "nokey",      "keyexpired",
                                          "revoked", "expired",   "weak",       "untrusted",
                                          "purpose", "malformed", "unsupported"};

/* What is known of a key is written into its signature's detail. */
struct answers {
    struct ll_arena arena;
    unsigned asked;
};

static bool word(struct ll_slice *rest, struct ll_slice *ret)
{
    while (rest->n > 0 && (rest->p[0] == ' ' || rest->p[0] == '\r' || rest->p[0] == '\n'))
        *rest = ll_slice_skip(*rest, 1);
    if (rest->n == 0)
        return false;
    *ret = ll_slice_cut(*rest, 0, ll_slice_find(*rest, ' '));
    while (ret->n > 0 && (ret->p[ret->n - 1] == '\r' || ret->p[ret->n - 1] == '\n'))
        ret->n--;
    *rest = ll_slice_skip(*rest, ret->n);
    return true;
}

/* "good alice@example.org verified": triples, one a signature. */
static void sign(struct answers *a, struct ll_slice says, struct ll_unseal_answer *ret)
{
    struct ll_signature *g = ll_arena_alloc(&a->arena, 4 * sizeof(*g));
    struct ll_slice state, address, t;
    size_t n = 0;

    while (n < 4 && word(&says, &state) && word(&says, &address) && word(&says, &t)) {
        for (size_t i = 0; i < LL_COUNT(state_words); i++)
            if (ll_slice_eq(state, ll_slice_str(state_words[i])))
                g[n].state = (enum ll_signature_state)i;
        g[n].address = ll_arena_alloc(&a->arena, sizeof(*g[n].address));
        g[n].address[0] = ll_arena_dup(&a->arena, address);
        g[n].n_address = address.n > 1;
        g[n].detail = ll_arena_dup(&a->arena, t);
        n++;
    }
    ret->opened.signature = g;
    ret->opened.n_signature = n;
}

/* A blob: "gcm|cbc|none (signatures) LF entity" with "\t" for an inner line end's CR LF, or an
 * error's name. Between BEGIN and END lines for armor. */
static void answer(struct answers *a, const struct ll_unseal_ask *ask, bool open,
                   struct ll_unseal *u)
{
    struct ll_unseal_answer r = {.error = LL_SEAL_OK};
    struct ll_buf plain = LL_BUF(1 << 20);
    struct ll_slice blob = ask->text, head, begin = LL_LIT("-----BEGIN PGP MESSAGE-----\r\n");

    a->asked++;
    if (!open) {
        sign(a, ask->signature, &r);
    } else {
        if (ll_slice_starts(blob, begin))
            blob = ll_slice_skip(blob, begin.n);
        head = ll_slice_cut(blob, 0, ll_slice_find(blob, '\n'));
        blob = ll_slice_skip(blob, head.n + 1);
        if (ll_slice_starts(head, LL_LIT("fail"))) {
            r.error = LL_SEAL_INTEGRITY;
        } else {
            r.opened.encrypted = !ll_slice_starts(head, LL_LIT("none"));
            r.opened.authenticated = ll_slice_starts(head, LL_LIT("gcm"));
            sign(a, ll_slice_skip(head, 4), &r);
            for (size_t i = 0; i < ll_slice_search(blob, LL_LIT("-----END")); i++)
                if (blob.p[i] == '~')
                    ll_buf_putc(&plain, '\n');
                else if (blob.p[i] != '\r' && blob.p[i] != '\n')
                    ll_buf_putc(&plain, blob.p[i]);
        }
        r.plain = &plain;
    }
    ll_unseal_answer(u, &r);
    ll_buf_release(&plain);
}

/* ---- what came out ----------------------------------------------------------------------------
 */

static void dump_section(const struct ll_unseal_result *r, size_t i, struct ll_buf *out)
{
    static const char *const places[] = {"letter", "wrapped", "inline", "forwarded"};
    static const char *const kinds[] = {"text", "html", "file", "sealed", "other", "section"};
    const struct ll_unseal_section *s = &r->section[i];

    ll_buf_printf(out, "%s%s", i ? "; " : "", places[s->place]);
    if (s->closed)
        ll_buf_puts(out, " closed");
    if (s->encrypted)
        ll_buf_puts(out, s->unproven ? " unproven" : " encrypted");
    for (size_t k = 0; k < s->n_signatures; k++)
        ll_buf_printf(out, " %s", ll_unseal_verdict_text(s->signature[k].verdict)->word);
    for (unsigned w = 0; w < LL_UNSEAL_WARNING_COUNT; w++)
        if (s->warnings & (1u << w))
            ll_buf_printf(out, " !%s", ll_unseal_warning_text((enum ll_unseal_warning)w)->word);
    for (size_t k = 0; k < s->n_pieces; k++) {
        const struct ll_unseal_piece *p = &s->piece[k];
        struct ll_slice text = p->part ? p->part->body : p->text;

        ll_buf_printf(out, " %s", kinds[p->kind]);
        if (p->kind == LL_UNSEAL_SECTION)
            ll_buf_printf(out, "%u", p->inner);
        else if (p->kind == LL_UNSEAL_TEXT || p->kind == LL_UNSEAL_HTML)
            ll_buf_printf(out, "(%.*s)", (int)ll_slice_find(text, '\r'),
                          (const char *)(text.p ? text.p : (const uint8_t *)""));
    }
}

static void trust(struct ll_unseal *u, const struct ll_unseal_result *r)
{
    for (size_t i = 0; i < r->n; i++)
        for (size_t k = 0; k < r->section[i].n_signatures; k++)
            for (int t = 0; t <= LL_UNSEAL_TRUST_OWN; t++)
                if (ll_slice_eq(r->section[i].signature[k].by->detail,
                                ll_slice_str(ll_unseal_trust_text((enum ll_unseal_trust)t)->word)))
                    ll_unseal_set_trust(u, i, k, (enum ll_unseal_trust)t);
}

static void run(struct ll_slice letter, struct ll_buf *out, unsigned *ret_asked)
{
    struct ll_unseal *u = ll_unseal_new(letter);
    const struct ll_unseal_result *r;
    enum ll_unseal_question q;
    struct answers a = {.asked = 0};
    struct ll_unseal_ask ask;
    enum ll_mime_error why;

    assert_non_null(u);
    ll_arena_init(&a.arena, 1 << 20);
    while ((q = ll_unseal_next(u, &ask)) != LL_UNSEAL_DONE)
        answer(&a, &ask, q == LL_UNSEAL_OPEN_PGP || q == LL_UNSEAL_OPEN_SMIME, u);
    r = ll_unseal_result(u, &why);
    if (r)
        trust(u, r);
    for (size_t i = 0; r && i < r->n; i++)
        dump_section(r, i, out);
    if (!r)
        ll_buf_puts(out, ll_mime_error_text(why));
    *ret_asked = a.asked;
    ll_unseal_free(u);
    ll_arena_release(&a.arena);
}

/* ---- rows ---------------------------------------------------------------------------------------
 */

#define ALICE      "From: Alice <alice@example.org>\n"
#define TEXT(t)    "Content-Type: text/plain\n\n" t "\n"
#define HTML(t)    "Content-Type: text/html\n\n" t "\n"
#define MIXED(b)   "Content-Type: multipart/mixed; boundary=" b "\n\n--" b "\n"
#define NEXT(b)    "--" b "\n"
#define END(b)     "--" b "--\n"
#define PGP_SIG(s) "Content-Type: application/pgp-signature\n\n" s "\n"
#define SIGNED(b, part, s)                                                                         \
    "Content-Type: multipart/signed; protocol=\"application/pgp-signature\"; boundary=" b          \
    "\n\n--" b "\n" part "--" b "\n" PGP_SIG(s) "--" b "--\n"
#define SIGNED_SMIME(b, part, s)                                                                   \
    "Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; boundary=" b        \
    "\n\n--" b "\n" part "--" b "\nContent-Type: application/pkcs7-signature\n\n" s "\n--" b       \
    "--\n"
#define ENCRYPTED(b, blob)                                                                         \
    "Content-Type: multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=" b       \
    "\n\n--" b "\nContent-Type: application/pgp-encrypted\n\nVersion: 1\n--" b                     \
    "\nContent-Type: application/octet-stream\n\n" blob "\n--" b "--\n"
#define CMS(blob)   "Content-Type: application/pkcs7-mime; smime-type=enveloped-data\n\n" blob "\n"
#define ARMOR(blob) "-----BEGIN PGP MESSAGE-----\n" blob "\n-----END PGP MESSAGE-----"
#define GOOD        "good alice@example.org verified"

static const struct {
    const char *letter, *want;
    unsigned asked;
} rows[] = {
    /* without any seal */
    {ALICE "\nhi\n", "letter text(hi)", 0},
    {"Subject: x\n\nhi\n", "letter !no-author text(hi)", 0},
    {ALICE "From: b@example.org\n\nhi\n", "letter !no-author text(hi)", 0},
    {ALICE HTML("<p>"), "letter html(<p>)", 0},
    {ALICE MIXED("a") TEXT("hi") NEXT("a") "Content-Type: image/png\n\nx\n" END("a"),
     "letter text(hi) file", 0},
    {ALICE MIXED("a") TEXT("hi") NEXT("a") "Content-Disposition: attachment\n" TEXT("x") END("a"),
     "letter text(hi) file", 0},
    {ALICE "Content-Type: multipart/alternative; boundary=a\n\n--a\n" TEXT("hi") NEXT("a")
         HTML("<p>") END("a"),
     "letter text(hi) other", 0},
    {ALICE "Content-Type: multipart/alternative; boundary=a\n\n--a\n" TEXT(" ") NEXT("a")
         HTML("<p>") END("a"),
     "letter other html(<p>)", 0},
    /* what Apple Mail makes: files lie within the form that is not shown */
    {ALICE "Content-Type: multipart/alternative; boundary=a\n\n--a\n" TEXT("hi") NEXT("a")
         MIXED("c") HTML("<p>") NEXT("c") "Content-Type: image/png\n\nx\n" END("c") END("a"),
     "letter text(hi) other file", 0},
    {ALICE "Content-Type: multipart/related; boundary=a; start=\"<r@x>\"\n\n--a\nContent-Type: "
           "image/png\n\nx\n--a\nContent-ID: <r@x>\n" HTML("<p>") END("a"),
     "letter file html(<p>)", 0},
    /* OpenPGP and S/MIME, signed */
    {ALICE SIGNED("a", TEXT("hi"), GOOD), "letter proven text(hi)", 1},
    {ALICE SIGNED_SMIME("a", TEXT("hi"), "good alice@example.org certified"),
     "letter proven text(hi)", 1},
    {ALICE SIGNED("a", TEXT("hi"), "good ALICE@Example.ORG verified"), "letter proven text(hi)", 1},
    {ALICE SIGNED("a", TEXT("hi"), "good alice@example.org found"), "letter claimed text(hi)", 1},
    {ALICE SIGNED("a", TEXT("hi"), "good alice@example.org seen"), "letter claimed text(hi)", 1},
    {ALICE SIGNED("a", TEXT("hi"), "good alice@example.org changed"), "letter changed-key text(hi)",
     1},
    {ALICE SIGNED("a", TEXT("hi"), "good alice@example.org rejected"),
     "letter rejected-key text(hi)", 1},
    {ALICE SIGNED("a", TEXT("hi"), "good mallory@example.net verified"),
     "letter other-address text(hi)", 1},
    {ALICE SIGNED("a", TEXT("hi"), "good - verified"), "letter other-address text(hi)", 1},
    {ALICE SIGNED("a", TEXT("hi"), "bad alice@example.org verified"), "letter broken text(hi)", 1},
    {ALICE SIGNED("a", TEXT("hi"), "nokey - unknown"), "letter no-key text(hi)", 1},
    {ALICE SIGNED("a", TEXT("hi"), "keyexpired alice@example.org verified"),
     "letter invalid text(hi)", 1},
    {ALICE SIGNED("a", TEXT("hi"), "revoked alice@example.org verified"), "letter invalid text(hi)",
     1},
    {ALICE SIGNED("a", TEXT("hi"), "weak alice@example.org verified"), "letter invalid text(hi)",
     1},
    {ALICE SIGNED_SMIME("a", TEXT("hi"), "untrusted alice@example.org seen"),
     "letter invalid text(hi)", 1},
    {ALICE SIGNED_SMIME("a", TEXT("hi"), "untrusted alice@example.org verified"),
     "letter proven text(hi)", 1},
    {"From: alice@example.org, bob@example.org\n" SIGNED("a", TEXT("hi"), GOOD),
     "letter no-author !no-author text(hi)", 1},
    /* several signers: each has a verdict */
    {ALICE SIGNED("a", TEXT("hi"), GOOD " bad bob@example.org verified"),
     "letter proven broken text(hi)", 1},
    /* the form of multipart/signed */
    {ALICE "Content-Type: multipart/signed; boundary=a\n\n--a\n" TEXT("hi") NEXT("a") PGP_SIG(GOOD)
         END("a"),
     "letter proven text(hi)", 1},
    {ALICE "Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; "
           "boundary=a\n\n--a\n" TEXT("hi") NEXT("a") PGP_SIG(GOOD) END("a"),
     "letter !signed-form text(hi)", 0},
    {ALICE "Content-Type: multipart/signed; boundary=a\n\n--a\n" TEXT("hi") NEXT("a") PGP_SIG(GOOD)
         NEXT("a") TEXT("ho") END("a"),
     "letter !signed-form text(hi) text(ho)", 0},
    {ALICE "Content-Type: multipart/signed; boundary=a\n\n--a\n" TEXT("hi") END("a"),
     "letter !signed-form text(hi)", 0},
    {ALICE "Content-Type: multipart/signed; boundary=a\n\n--a\n" TEXT("hi") NEXT("a")
         TEXT("no signature") END("a"),
     "letter !signed-form text(hi) text(no signature)", 0},
    /* encrypted */
    {ALICE ENCRYPTED("a", "gcm\nContent-Type: text/plain~~hi"), "letter encrypted text(hi)", 1},
    {ALICE ENCRYPTED("a", "gcm " GOOD "\nContent-Type: text/plain~~hi"),
     "letter encrypted proven text(hi)", 1},
    {ALICE ENCRYPTED("a", "fail\nContent-Type: text/plain~~hi"), "letter closed !not-opened", 1},
    {ALICE CMS("gcm\nContent-Type: text/plain~~hi"), "letter encrypted text(hi)", 1},
    {ALICE CMS("cbc\nContent-Type: text/html~~<img src=x>"),
     "letter unproven !unproven html(<img src=x>)", 1},
    {ALICE "Content-Type: application/octet-stream; name=SMIME.P7M\n\ngcm\n~hi\n",
     "letter encrypted text(hi)", 1},
    {ALICE "Content-Type: application/pkcs7-mime; smime-type=certs-only\n\nx\n", "letter file", 0},
    /* signed within sealed; CBC is proven by a good signature within, and by no other */
    {ALICE CMS("cbc\nContent-Type: multipart/signed; boundary=b~~--b~~hi~--b~Content-Type: "
               "application/pkcs7-signature~~" GOOD "~--b--~"),
     "letter encrypted proven text(hi)", 2},
    {ALICE CMS("cbc\nContent-Type: multipart/signed; boundary=b~~--b~~hi~--b~Content-Type: "
               "application/pkcs7-signature~~bad alice@example.org verified~--b--~"),
     "letter unproven broken !unproven text(hi)", 2},
    /* signed around sealed: who signed may never have seen the text */
    {ALICE SIGNED("a", ENCRYPTED("b", "gcm\nContent-Type: text/plain~~hi"), GOOD),
     "letter encrypted outside text(hi)", 2},
    {ALICE SIGNED("a", ENCRYPTED("b", "gcm " GOOD "\nContent-Type: text/plain~~hi"), GOOD),
     "letter encrypted outside proven text(hi)", 2},
    {ALICE SIGNED("a", ENCRYPTED("b", "fail\nx"), GOOD), "letter closed outside !not-opened", 2},
    {ALICE "Content-Type: multipart/encrypted; boundary=a\n\n--a\n" TEXT("hi") END("a"),
     "letter !encrypted-form sealed", 0},
    /* inline: all of the text is one block, or nothing is opened */
    {ALICE TEXT(ARMOR("gcm " GOOD "\nhi~")), "letter encrypted proven text(hi)", 1},
    {ALICE "Content-Transfer-Encoding: quoted-printable\n" TEXT(ARMOR("gcm\nh=\n=i\n")),
     "letter encrypted text(h==i)", 1},
    {ALICE "Content-Transfer-Encoding: quoted-printable\n" TEXT(ARMOR("gcm\nh=3D\ni\n")),
     "letter encrypted text(h=i)", 1},
    {ALICE TEXT("before\n" ARMOR("gcm\nhi")), "letter !armor text(before)", 0},
    {ALICE TEXT(ARMOR("gcm\nhi") "\nafter"), "letter !armor text(-----BEGIN PGP MESSAGE-----)", 0},
    {ALICE TEXT(ARMOR("gcm\nhi") "\n" ARMOR("gcm\nho")),
     "letter !armor text(-----BEGIN PGP MESSAGE-----)", 0},
    {ALICE HTML(ARMOR("gcm\nhi")), "letter html(-----BEGIN PGP MESSAGE-----)", 0},
    {ALICE MIXED("a") TEXT(ARMOR("gcm " GOOD "\nhi")) NEXT("a") TEXT("ho") END("a"),
     "letter !wrapped section1 text(ho); inline encrypted proven text(hi)", 1},
    /* a list's footer */
    {ALICE MIXED("a") SIGNED("b", TEXT("hi"), GOOD) NEXT("a") TEXT("footer") END("a"),
     "letter !wrapped section1 text(footer); wrapped proven text(hi)", 1},
    {ALICE MIXED("a") TEXT("x") NEXT("a") ENCRYPTED("b", "gcm\nContent-Type: text/html~~hi")
         NEXT("a") TEXT("footer") END("a"),
     "letter !wrapped text(x) section1 text(footer); wrapped encrypted html(hi)", 1},
    /* deeper, or where it is not shown: not looked into */
    {ALICE MIXED("a") MIXED("c") ENCRYPTED("b", "gcm\nx~~hi") END("c") END("a"),
     "letter !errant sealed", 0},
    {ALICE MIXED("a") MIXED("c") SIGNED("b", TEXT("hi"), GOOD) END("c") NEXT("a") TEXT("x")
         END("a"),
     "letter !errant text(hi) text(x)", 0},
    {ALICE "Content-Type: multipart/alternative; boundary=a\n\n--a\n" TEXT("mine") NEXT("a")
         SIGNED("b", TEXT("hers"), GOOD) END("a"),
     "letter !errant text(mine) other file", 0},
    {ALICE "Content-Type: multipart/related; boundary=a\n\n--a\n" TEXT("mine") NEXT("a")
         SIGNED("b", TEXT("hers"), GOOD) END("a"),
     "letter text(mine) file file", 0},
    {ALICE SIGNED("a", MIXED("b") TEXT("x") NEXT("b") CMS("gcm\n~hi") END("b"), GOOD),
     "letter proven !errant text(x) sealed", 1},
    {ALICE ENCRYPTED("a",
                     "gcm\nContent-Type: multipart/mixed; boundary=b~~--b~~hi~--b~Content-Type: "
                     "application/pkcs7-mime~~gcm~--b--~"),
     "letter encrypted !errant text(hi) sealed", 1},
    /* forwarded: a verdict of its own, which it does not lend */
    {ALICE MIXED("a") TEXT("see") NEXT(
         "a") "Content-Type: message/rfc822\n\nFrom: "
              "bob@example.org\n" SIGNED("b", TEXT("hi"), "good bob@example.org verified") END("a"),
     "letter text(see) section1; forwarded proven text(hi)", 1},
    {ALICE SIGNED("a",
                  MIXED("c") TEXT("see") NEXT("c") "Content-Type: message/rfc822\n\nFrom: "
                                                   "bob@example.org\n\nforged\n" END("c"),
                  GOOD),
     "letter proven text(see) section1; forwarded text(forged)", 1},
    {ALICE "Content-Type: message/rfc822\n\nFrom: bob@example.org\n" ENCRYPTED("b", "gcm\n~hi"),
     "letter section1; forwarded !sealed-forward sealed", 0},
    {ALICE "Content-Type: message/rfc822\n\nFrom: bob@example.org\n" CMS("gcm\n~hi"),
     "letter section1; forwarded !sealed-forward sealed", 0},
    {ALICE "Content-Type: message/rfc822\n\nFrom: bob@example.org\n" TEXT(ARMOR("gcm\nhi")),
     "letter section1; forwarded !armor text(-----BEGIN PGP MESSAGE-----)", 0},
    /* fields under the seal: From must be the same, or nobody is proven */
    {ALICE "Subject: in\n" SIGNED(
         "a", ALICE "Subject: in\nContent-Type: text/plain; hp=clear\n\nhi\n", GOOD),
     "letter proven text(hi)", 1},
    {ALICE "Subject: out\n" SIGNED(
         "a", ALICE "Subject: in\nContent-Type: text/plain; hp=clear\n\nhi\n", GOOD),
     "letter proven !header-differs text(hi)", 1},
    {ALICE SIGNED("a", "From: mallory@example.net\nContent-Type: text/plain; hp=clear\n\nhi\n",
                  GOOD),
     "letter from-differs !from-differs text(hi)", 1},
    {ALICE SIGNED("a", "From: mallory@example.net\nContent-Type: text/plain; hp=clear\n\nhi\n",
                  "good mallory@example.net verified"),
     "letter from-differs !from-differs text(hi)", 1},
    {ALICE SIGNED("a",
                  "From: mallory@example.net\nContent-Type: text/plain; "
                  "protected-headers=v1\n\nhi\n",
                  "good mallory@example.net verified"),
     "letter from-differs !from-differs text(hi)", 1},
    {ALICE SIGNED("a", ALICE "Content-Type: text/plain; hp=cipher\nHP-Outer: " ALICE "\nhi\n",
                  GOOD),
     "letter proven !decrypted text(hi)", 1},
    {ALICE "Subject: [...]\n" ENCRYPTED(
         "a", "gcm " GOOD "\n"
              "From: Alice <alice@example.org>~Subject: secret~Content-Type: "
              "text/plain; hp=cipher~HP-Outer: From: Alice <alice@example.org>~HP-Outer: Subject: "
              "[...]~~hi"),
     "letter encrypted proven text(hi)", 1},
    {ALICE "Subject: changed\n" ENCRYPTED(
         "a", "gcm " GOOD "\n"
              "From: Alice <alice@example.org>~Subject: secret~Content-Type: "
              "text/plain; hp=cipher~HP-Outer: From: Alice <alice@example.org>~HP-Outer: Subject: "
              "[...]~~hi"),
     "letter encrypted proven !header-differs text(hi)", 1},
    /* a field that is not in the root of what is signed means nothing */
    {ALICE SIGNED("a",
                  MIXED("b") "From: mallory@example.net\nContent-Type: text/plain; "
                             "hp=clear\n\nhi\n" END("b"),
                  GOOD),
     "letter proven text(hi)", 1},
    /* names that lie */
    {"From: \"alice@example.org\" <mallory@example.net>\n\nhi\n", "letter !name text(hi)", 0},
    {"From: =?utf-8?q?alice=40example=2Eorg?= <mallory@example.net>\n\nhi\n",
     "letter !name text(hi)", 0},
    {"From: alice\xef\xbc\xa0"
     "example.org <mallory@example.net>\n\nhi\n",
     "letter !name text(hi)", 0},
    {"From: mallory@example.net (alice@example.org)\n\nhi\n", "letter !name text(hi)", 0},
    {"From: \"alice@example.org\" <alice@example.org>\n\nhi\n", "letter text(hi)", 0},
    {"From: \"Alice @ home\" <alice@example.org>\n\nhi\n", "letter text(hi)", 0},
};

static void assert_row(const char *text, const char *want, unsigned want_asked)
{
    struct ll_buf wire = LL_BUF(1 << 20), out = LL_BUF(1 << 20);
    struct ll_msg_wire w = {false, false};
    unsigned asked;

    assert_int_equal(ll_msg_to_wire(&w, ll_slice_str(text), &wire), LL_MSG_OK);
    run(ll_buf_slice(&wire), &out, &asked);
    if (!ll_slice_eq(ll_buf_slice(&out), ll_slice_str(want)) || asked != want_asked)
        print_error("%s\nwant \"%s\" (%u)\nhave \"%.*s\" (%u)\n", text, want, want_asked,
                    LL_FMT(ll_buf_slice(&out)), asked);
    assert_true(ll_slice_eq(ll_buf_slice(&out), ll_slice_str(want)));
    assert_int_equal(asked, want_asked);
    ll_buf_release(&wire);
    ll_buf_release(&out);
}

static void rows_hold(void **state)
{
    for (size_t i = 0; i < LL_COUNT(rows); i++)
        assert_row(rows[i].letter, rows[i].want, rows[i].asked);
}

/* ---- limits ------------------------------------------------------------------------------------
 */

/* n signed layers around "hi". */
static void nested(struct ll_buf *out, unsigned n)
{
    ll_buf_puts(out, ALICE);
    for (unsigned i = 0; i < n; i++)
        ll_buf_printf(out, "Content-Type: multipart/signed; boundary=b%u\n\n--b%u\n", i, i);
    ll_buf_puts(out, TEXT("hi"));
    for (unsigned i = n; i-- > 0;)
        ll_buf_printf(out, "--b%u\n" PGP_SIG(GOOD) "--b%u--\n", i, i);
}

static void layers_are_limited(void **state)
{
    struct ll_buf b = LL_BUF(1 << 20);

    nested(&b, LL_UNSEAL_LAYERS_MAX);
    assert_row(ll_buf_str(&b),
               "letter proven proven proven proven proven proven proven proven !limit text(hi)",
               LL_UNSEAL_LAYERS_MAX);
    ll_buf_release(&b);
}

static void sections_are_limited(void **state)
{
    struct ll_buf b = LL_BUF(1 << 20), wire = LL_BUF(1 << 20), out = LL_BUF(1 << 20);
    struct ll_msg_wire w = {false, false};
    unsigned asked;

    ll_buf_puts(&b, ALICE MIXED("a") TEXT("hi"));
    for (int i = 0; i < 40; i++)
        ll_buf_puts(&b, NEXT("a") SIGNED("b", TEXT("x"), GOOD));
    ll_buf_puts(&b, END("a"));
    assert_int_equal(ll_msg_to_wire(&w, ll_buf_slice(&b), &wire), LL_MSG_OK);
    run(ll_buf_slice(&wire), &out, &asked);
    assert_int_equal(asked, LL_UNSEAL_SECTIONS_MAX - 1);
    assert_true(ll_slice_starts(ll_buf_slice(&out),
                                LL_LIT("letter !wrapped !limit text(hi) section1 section2")));
    ll_buf_release(&b);
    ll_buf_release(&wire);
    ll_buf_release(&out);
}

static void words_are_there(void **state)
{
    for (int i = 0; i <= LL_UNSEAL_INVALID; i++)
        assert_true(strlen(ll_unseal_verdict_text((enum ll_unseal_verdict)i)->text) > 20);
    for (int i = 1; i <= LL_UNSEAL_INVALID; i++) /* PROVEN alone proves */
        assert_null(strstr(ll_unseal_verdict_text((enum ll_unseal_verdict)i)->text, "is from"));
    for (int i = 0; i < LL_UNSEAL_WARNING_COUNT; i++)
        assert_true(strlen(ll_unseal_warning_text((enum ll_unseal_warning)i)->text) > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_hold),
        cmocka_unit_test(layers_are_limited),
        cmocka_unit_test(sections_are_limited),
        cmocka_unit_test(words_are_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
