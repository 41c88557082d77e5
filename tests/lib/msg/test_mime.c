/* The tree of parts, fields with parameters, transfer encodings, encoded words, 7-bit letters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "letterlock/mime.h"
#include "letterlock/msg.h"

static struct ll_arena arena;

static int set_up(void **state)
{
    ll_arena_init(&arena, 64u << 20);
    return 0;
}

static int tear_down(void **state)
{
    ll_arena_release(&arena);
    return 0;
}

static void assert_text(struct ll_slice have, const char *want)
{
    if (!ll_slice_eq(have, ll_slice_str(want)))
        print_error("want \"%s\"\nhave \"%.*s\"\n", want, LL_FMT(have));
    assert_true(ll_slice_eq(have, ll_slice_str(want)));
}

/* ---- the tree -----------------------------------------------------------------------------------
 */

/* "multipart/mixed(text/plain[hi],image/png[..])": content of leaves in brackets, flags in hex. */
static void dump(const struct ll_mime *m, struct ll_buf *out)
{
    for (uint16_t at = 0; at != LL_MIME_NONE;) {
        const struct ll_mime_part *p = &m->part[at];

        for (size_t i = 0; i < p->type.type.n; i++)
            ll_buf_putc(out, ll_lower(p->type.type.p[i]));
        ll_buf_putc(out, '/');
        ll_buf_put_slice(out, p->type.subtype);
        if (p->flags & ~(unsigned)(LL_MIME_MULTIPART | LL_MIME_MESSAGE))
            ll_buf_printf(out, "!%x", p->flags & ~(unsigned)(LL_MIME_MULTIPART | LL_MIME_MESSAGE));
        if (p->child != LL_MIME_NONE) {
            ll_buf_putc(out, '(');
            at = p->child;
            continue;
        }
        ll_buf_putc(out, '[');
        ll_buf_put_slice(out, p->body);
        ll_buf_putc(out, ']');
        while (at != LL_MIME_NONE && m->part[at].next == LL_MIME_NONE) {
            at = m->part[at].parent;
            if (at != LL_MIME_NONE)
                ll_buf_putc(out, ')');
        }
        if (at != LL_MIME_NONE) {
            ll_buf_putc(out, ',');
            at = m->part[at].next;
        }
    }
}

static const struct {
    const char *letter, *tree;
} tree_rows[] = {
    {"", "text/plain[]"},
    {"\r\n", "text/plain[]"},
    {"\r\nhi\r\n", "text/plain[hi\r\n]"},
    {"Subject: x\r\n\r\nhi\r\n", "text/plain[hi\r\n]"},
    {"Subject: x\r\n", "text/plain[]"},
    {"Content-Type: TEXT/html\r\n\r\nhi", "text/html[hi]"},
    {"Content-Type: (a (b) c) text (x) / (y) html (z); charset=utf-8\r\n\r\nhi", "text/html[hi]"},
    /* RFC 2045 5.2: what is no type is text/plain */
    {"Content-Type: text\r\n\r\nhi", "text/plain!8[hi]"},
    {"Content-Type:\r\n\r\nhi", "text/plain!8[hi]"},
    {"Content-Type: a/b\r\nContent-Type: c/d\r\n\r\nhi", "a/b!40[hi]"},
    {"Content-Type: a/b\r\nContent-Transfer-Encoding: x-uu\r\n\r\nhi", "a/b!20[hi]"},
    /* the CR LF before a delimiter is the delimiter's */
    {"Content-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n--b\r\n\r\none\r\n--b\r\n"
     "Content-Type: image/png\r\n\r\ntwo\r\n\r\n--b--\r\nepilogue\r\n",
     "multipart/mixed(text/plain[one],image/png[two\r\n])"},
    /* no preamble, padding, no content, no header, no end */
    {"Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n--b \t\r\n--b\r\n\r\n--b\r\nA: "
     "c\r\n--b\r\n"
     "\r\n\r\n--b--\r\n",
     "multipart/mixed(text/plain[],text/plain[],text/plain[],text/plain[])"},
    {"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none",
     "multipart/mixed!4(text/plain[one])"},
    {"Content-Type: multipart/mixed; boundary=b\r\n\r\nnothing\r\n",
     "multipart/mixed!4[nothing\r\n]"},
    {"Content-Type: multipart/mixed\r\n\r\n--\r\n\r\nx", "multipart/mixed!10[--\r\n\r\nx]"},
    {"Content-Type: multipart/mixed; boundary=\"b \"\r\n\r\nx", "multipart/mixed!10[x]"},
    /* one boundary that begins another; case counts; a delimiter only at a line's start */
    {"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: multipart/x; "
     "boundary=bb"
     "\r\n\r\n--bb\r\n\r\nin\r\n--B\r\n --b\r\n--bx\r\n--bb--\r\n--b\r\n\r\nout\r\n--b--\r\n",
     "multipart/mixed(multipart/x(text/plain[in\r\n--B\r\n --b\r\n--bx]),text/plain[out])"},
    /* an outer delimiter ends all within */
    {"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: multipart/x; "
     "boundary=b\r\n"
     "\r\n--b\r\n\r\nin\r\n--a\r\n\r\nout\r\n--a--",
     "multipart/mixed(multipart/x!4(text/plain[in]),text/plain[out])"},
    /* the same boundary within: the inner one takes its own */
    {"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: multipart/x; "
     "boundary=a\r\n"
     "\r\n--a\r\n\r\nin\r\n--a--\r\n--a\r\n\r\nout\r\n--a--",
     "multipart/mixed(multipart/x(text/plain[in]),text/plain[out])"},
    /* letters in letters; a digest's parts are letters */
    {"Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\ntext",
     "message/rfc822(text/plain[text])"},
    {"Content-Type: message/rfc822\r\n\r\n", "message/rfc822(text/plain[])"},
    {"Content-Type: message/rfc822\r\n", "message/rfc822(text/plain[])"},
    {"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nSGk=",
     "message/rfc822[SGk=]"},
    {"Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nA: b\r\n\r\none\r\n--b--\r\n",
     "multipart/digest(message/rfc822(text/plain[one]))"},
    {"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: "
     "message/rfc822\r\n--a--",
     "multipart/mixed(message/rfc822(text/plain[]))"},
    {"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: message/rfc822\r\n\r\n"
     "Content-Type: multipart/y; boundary=c\r\n\r\n--c\r\n\r\ndeep\r\n--c--\r\n\r\n--a--\r\n",
     "multipart/mixed(message/rfc822(multipart/y(text/plain[deep])))"},
    {"Content-Type: multipart/mixed; boundary*0=a; boundary*1=b\r\n\r\n--ab\r\n\r\nx\r\n--ab--",
     "multipart/mixed(text/plain[x])"},
    {"Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: base64\r\n\r\n--b\r\n"
     "\r\nx\r\n--b--",
     "multipart/mixed!20(text/plain[x])"},
    /* a bare LF ends nothing */
    {"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\n--b\r\ny\r\n--b--",
     "multipart/mixed(text/plain[x\n--b\r\ny])"},
};

static void assert_spans(struct ll_slice letter, const struct ll_mime *m)
{
    for (size_t i = 0; i < m->n; i++) {
        const struct ll_mime_part *p = &m->part[i];

        assert_true(p->whole.p >= letter.p && p->whole.p + p->whole.n <= letter.p + letter.n);
        assert_true(p->body.n == 0 ||
                    (p->body.p >= p->whole.p && p->body.p + p->body.n == p->whole.p + p->whole.n));
        assert_true(p->header.p == p->whole.p);
        assert_true(p->parent == LL_MIME_NONE ? i == 0 : p->parent < i);
    }
}

static void test_tree(void **state)
{
    for (size_t i = 0; i < LL_COUNT(tree_rows); i++) {
        struct ll_buf out = LL_BUF(10000);
        struct ll_mime m;

        assert_int_equal(ll_mime_parse(ll_slice_str(tree_rows[i].letter), &arena, &m), LL_MIME_OK);
        assert_spans(ll_slice_str(tree_rows[i].letter), &m);
        dump(&m, &out);
        assert_text(ll_buf_slice(&out), tree_rows[i].tree);
        ll_buf_release(&out);
    }
}

static void test_signed_span(void **state)
{
    struct ll_slice letter = LL_LIT("Content-Type: multipart/signed; boundary=s\r\n\r\n--s\r\n"
                                    "Content-Type: text/plain\r\n\r\nHello  \r\n\r\n--s\r\n"
                                    "Content-Type: application/pgp-signature\r\n\r\nsig\r\n--s--");
    struct ll_mime m;

    assert_int_equal(ll_mime_parse(letter, &arena, &m), LL_MIME_OK);
    assert_int_equal(m.n, 3);
    assert_text(m.part[1].whole, "Content-Type: text/plain\r\n\r\nHello  \r\n");
    assert_text(m.part[1].header, "Content-Type: text/plain\r\n");
    assert_text(m.part[2].body, "sig");
}

/* `levels` multiparts within each other. */
static void nested(struct ll_buf *out, size_t levels)
{
    ll_buf_puts(out, "Content-Type: multipart/mixed; boundary=b0\r\n\r\n");
    for (size_t i = 1; i < levels; i++)
        ll_buf_printf(out, "--b%zu\r\nContent-Type: multipart/mixed; boundary=b%zu\r\n\r\n", i - 1,
                      i);
    ll_buf_printf(out, "--b%zu\r\n\r\nx\r\n", levels - 1);
}

static void test_limits(void **state)
{
    struct ll_buf b = LL_BUF(8u << 20);
    struct ll_mime m;

    nested(&b, LL_MIME_DEPTH_MAX);
    assert_int_equal(ll_mime_parse(ll_buf_slice(&b), &arena, &m), LL_MIME_OK);
    assert_int_equal(m.n, LL_MIME_DEPTH_MAX + 1);
    assert_int_equal(m.part[m.n - 1].depth, LL_MIME_DEPTH_MAX);
    ll_buf_clear(&b);
    nested(&b, LL_MIME_DEPTH_MAX + 1);
    assert_int_equal(ll_mime_parse(ll_buf_slice(&b), &arena, &m), LL_MIME_DEPTH);
    ll_buf_clear(&b);
    nested(&b, 10000);
    assert_int_equal(ll_mime_parse(ll_buf_slice(&b), &arena, &m), LL_MIME_DEPTH);

    for (int more = 0; more < 2; more++) {
        ll_buf_clear(&b);
        ll_buf_puts(&b, "Content-Type: multipart/mixed; boundary=b\r\n\r\n");
        for (size_t i = 1; i < LL_MIME_PARTS_MAX + (size_t)more; i++)
            ll_buf_puts(&b, "--b\r\n\r\nx\r\n");
        assert_int_equal(ll_mime_parse(ll_buf_slice(&b), &arena, &m),
                         more ? LL_MIME_PARTS : LL_MIME_OK);
    }
    for (int more = 0; more < 2; more++) {
        ll_buf_clear(&b);
        ll_buf_puts(&b, "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n");
        for (size_t i = 0; i < LL_MSG_FIELDS_MAX + (size_t)more; i++)
            ll_buf_puts(&b, "A: b\r\n");
        ll_buf_puts(&b, "\r\nx");
        assert_int_equal(ll_mime_parse(ll_buf_slice(&b), &arena, &m),
                         more ? LL_MIME_HEADER : LL_MIME_OK);
    }
    ll_buf_release(&b);
    for (size_t n = 2; n <= 3; n++) {
        char letter[200];

        memset(letter, 0, sizeof(letter));
        snprintf(letter, sizeof(letter), "Content-Type: multipart/x; boundary=%0*d\r\n\r\nx",
                 LL_MIME_BOUNDARY_MAX - 2 + (int)n, 0);
        assert_int_equal(ll_mime_parse(ll_slice_str(letter), &arena, &m), LL_MIME_OK);
        assert_int_equal(!(m.part[0].flags & LL_MIME_NO_BOUNDARY), n == 2);
    }
}

static void test_no_memory(void **state)
{
    struct ll_slice letter = LL_LIT("Content-Type: multipart/x; boundary=b\r\n\r\n--b\r\n\r\nx");
    struct ll_arena little;
    struct ll_mime m;

    for (size_t max = 0; max < 2000; max += 50) {
        enum ll_mime_error error;

        ll_arena_init(&little, max);
        error = ll_mime_parse(letter, &little, &m);
        assert_true(error == LL_MIME_OK || error == LL_MIME_RESOURCE);
        ll_arena_release(&little);
    }
}

/* ---- values -------------------------------------------------------------------------------------
 */

static const struct {
    const char *body, *text; /* type/subtype;name=charset'value;... ; NULL: none */
} value_rows[] = {
    {"text/plain", "text/plain"},
    {" text/plain; charset=us-ascii (Plain text)", "text/plain;charset=us-ascii"},
    {"text/plain; CHARSET=\"us\\-a\\\"scii\"", "text/plain;charset=us-a\"scii"},
    {"text/plain;;; charset = x ;", "text/plain;charset=x"},
    {"text/plain; charset", "text/plain"},
    {"text/plain; charset=", "text/plain"},
    {"text/plain; =x; a=b", "text/plain;a=b"},
    {"text/plain; a=b; a=c", "text/plain;a=b"},
    {"text/plain; name=a b.txt; c=d", "text/plain;name=a;c=d"},
    {"multipart/mixed; boundary=gc0p:08=/?x", "multipart/mixed;boundary=gc0p:08=/?x"},
    {"multipart/mixed; boundary=\"foo\r\n bar\"", "multipart/mixed;boundary=foo bar"},
    {"attachment; filename=x", "attachment/;filename=x"},
    {"a/b; c=\"no end", "a/b;c=no end"},
    {"a/b; c=\"\\", "a/b;c=\\"},
    {"a/b (no end", "a/b"},
    {"a/b; \"x\"=y; c=d", "a/b;c=d"},
    {";", NULL},
    {"", NULL},
    {"(only a comment)", NULL},
    /* RFC 2231 3 and 4 */
    {"message/external-body; access-type=URL; URL*0=\"ftp://\"; URL*1=\"cs.utk.edu/x\"",
     "message/external-body;access-type=URL;url=ftp://cs.utk.edu/x"},
    {"application/x-stuff; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A",
     "application/x-stuff;title=us-ascii'This is ***fun***"},
    {"application/x-stuff\r\n title*0*=us-ascii'en'This%20is%20even%20more%20\r\n"
     " title*1*=%2A%2A%2Afun%2A%2A%2A%20\r\n title*2=\"isn't it!\"",
     "application/x-stuff;title=us-ascii'This is even more ***fun*** isn't it!"},
    {"a/b; x*1=two; x*0=one", "a/b;x=onetwo"}, /* out of order */
    {"a/b; x*0=one; x*2=three", "a/b;x=one"},  /* a gap */
    {"a/b; x*1=two", "a/b"},                   /* no beginning */
    {"a/b; x=old; x*=utf-8''n%C3%A9w", "a/b;x=utf-8'n\xc3\xa9w"},
    {"a/b; x=old; x*0=n; x*1=ew", "a/b;x=new"},
    {"a/b; x*=utf-8''100%; y*=utf-8''%4", "a/b;x=utf-8'100%;y=utf-8'%4"},
    {"a/b; x*=noquotes", "a/b;x=noquotes"},
    {"a/b; x*0*=''%41; x*1=%41", "a/b;x=A%41"},
    {"a/b; x*99999=y; x**=z", "a/b;x*99999=y;x*=z"},
};

static void test_values(void **state)
{
    for (size_t i = 0; i < LL_COUNT(value_rows); i++) {
        struct ll_buf out = LL_BUF(1000);
        struct ll_mime_value v;

        if (!value_rows[i].text) {
            assert_false(ll_mime_value(ll_slice_str(value_rows[i].body), &arena, &v));
            continue;
        }
        assert_true(ll_mime_value(ll_slice_str(value_rows[i].body), &arena, &v));
        ll_buf_printf(&out, "%.*s/%.*s", LL_FMT(v.type), LL_FMT(v.subtype));
        for (size_t k = 0; k < v.n_param; k++) {
            ll_buf_printf(&out, ";%.*s=", LL_FMT(v.param[k].name));
            if (v.param[k].charset.n)
                ll_buf_printf(&out, "%.*s'", LL_FMT(v.param[k].charset));
            ll_buf_put_slice(&out, v.param[k].value);
        }
        assert_text(ll_buf_slice(&out), value_rows[i].text);
        ll_buf_release(&out);
    }
}

static void test_params_many(void **state)
{
    struct ll_buf b = LL_BUF(1u << 20);
    struct ll_mime_value v;

    ll_buf_puts(&b, "a/b");
    for (size_t i = 0; i < 20000; i++)
        ll_buf_printf(&b, "; p%zu=x", i);
    assert_true(ll_mime_value(ll_buf_slice(&b), &arena, &v));
    assert_int_equal(v.n_param, LL_MIME_PARAMS_MAX);
    assert_non_null(ll_mime_param(&v, "p39"));
    assert_null(ll_mime_param(&v, "p40"));
    ll_buf_clear(&b);
    ll_buf_puts(&b, "a/b; n=\"");
    for (size_t i = 0; i <= LL_MIME_VALUE_MAX; i++)
        ll_buf_putc(&b, 'x');
    ll_buf_puts(&b, "\"; m=y");
    assert_true(ll_mime_value(ll_buf_slice(&b), &arena, &v));
    assert_null(ll_mime_param(&v, "n"));
    assert_non_null(ll_mime_param(&v, "m"));
    ll_buf_release(&b);
}

static void test_filename(void **state)
{
    static const struct {
        const char *letter, *name;
    } rows[] = {
        {"Content-Type: a/b; name=n\r\n\r\n", "n"},
        {"Content-Type: a/b; name=n\r\nContent-Disposition: attachment; filename=f\r\n\r\n", "f"},
        {"Content-Disposition: inline\r\nContent-Type: a/b; name=n\r\n\r\n", "n"},
        {"Content-Type: a/b\r\n\r\n", NULL},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_mime_param p;
        struct ll_mime m;

        assert_int_equal(ll_mime_parse(ll_slice_str(rows[i].letter), &arena, &m), LL_MIME_OK);
        assert_int_equal(ll_mime_filename(&m.part[0], &arena, &p), rows[i].name != NULL);
        if (rows[i].name)
            assert_text(p.value, rows[i].name);
    }
}

/* ---- transfer encodings -------------------------------------------------------------------------
 */

static const struct {
    enum ll_mime_encoding encoding;
    const char *in, *out;
    bool clean;
} decode_rows[] = {
    {LL_MIME_BASE64_ENCODING, "SGVsbG8=", "Hello", true},
    {LL_MIME_BASE64_ENCODING, "SGVs\r\nbG8h\r\n", "Hello!", true},
    {LL_MIME_BASE64_ENCODING, "SGVsbG8", "Hello", false},
    {LL_MIME_BASE64_ENCODING, "SGVs bG8=", "Hello", false},
    {LL_MIME_BASE64_ENCODING, "SGk=SGk=", "Hi", false},
    {LL_MIME_BASE64_ENCODING, "S", "", false},
    {LL_MIME_BASE64_ENCODING, "", "", true},
    {LL_MIME_QP_ENCODING, "a=3Db=\r\nc", "a=bc", true},
    {LL_MIME_QP_ENCODING, "a  \t\r\nb=20\r\n", "a\r\nb \r\n", true},
    {LL_MIME_QP_ENCODING, "soft=  \r\nend=", "softend", true},
    {LL_MIME_QP_ENCODING, "a=e4=E4", "a\xe4\xe4", true},
    {LL_MIME_QP_ENCODING, "a=zz=4", "a=zz=4", false},
    {LL_MIME_7BIT_ENCODING, "a=41", "a=41", true},
    {LL_MIME_UNKNOWN_ENCODING, "a=41", "a=41", true},
};

static void test_decode(void **state)
{
    for (size_t i = 0; i < LL_COUNT(decode_rows); i++) {
        struct ll_buf out = LL_BUF(100);

        assert_int_equal(
            ll_mime_decode(decode_rows[i].encoding, ll_slice_str(decode_rows[i].in), &out),
            decode_rows[i].clean);
        assert_text(ll_buf_slice(&out), decode_rows[i].out);
        ll_buf_release(&out);
    }
}

static void assert_lines_fit(struct ll_slice s)
{
    struct ll_slice line;

    while (ll_slice_next(&s, '\n', &line)) {
        assert_true(line.n <= 77);
        assert_true(ll_is_ascii(line));
        assert_false(ll_slice_starts(line, LL_LIT("--")) || ll_slice_starts(line, LL_LIT(".")) ||
                     ll_slice_starts(line, LL_LIT("From ")));
    }
}

/* What is encoded is decoded to the same octets, whatever they are. */
static void test_encode(void **state)
{
    static const char *const rows[] = {
        "",         "plain\r\n", "no end", "trailing \r\nblank\t", "--b\r\n.\r\nFrom x\r\n=\r\n",
        "a\rb\r\n",
    };
    struct ll_buf text = LL_BUF(100000), out = LL_BUF(400000), back = LL_BUF(100000);

    for (size_t i = 0; i < LL_COUNT(rows) + 300; i++) {
        ll_buf_clear(&text);
        ll_buf_clear(&out);
        ll_buf_clear(&back);
        if (i < LL_COUNT(rows))
            ll_buf_puts(&text, rows[i]);
        else
            for (size_t k = 0; k < i; k++)
                ll_buf_putc(&text, (uint8_t)(k * 37 + i * (k % 7) + (k % 11 ? 1 : 0)));
        for (size_t k = 0; k < text.n; k++) /* wire form */
            if (i >= LL_COUNT(rows) && (text.p[k] == '\n' || text.p[k] == '\r'))
                text.p[k] = 'x';
        ll_mime_qp_encode(&out, ll_buf_slice(&text));
        assert_lines_fit(ll_buf_slice(&out));
        assert_true(ll_mime_decode(LL_MIME_QP_ENCODING, ll_buf_slice(&out), &back));
        assert_true(ll_slice_eq(ll_buf_slice(&back), ll_buf_slice(&text)));
        ll_buf_clear(&out);
        ll_buf_clear(&back);
        ll_mime_base64_encode(&out, ll_buf_slice(&text));
        assert_lines_fit(ll_buf_slice(&out));
        assert_true(ll_mime_decode(LL_MIME_BASE64_ENCODING, ll_buf_slice(&out), &back));
        assert_true(ll_slice_eq(ll_buf_slice(&back), ll_buf_slice(&text)));
    }
    ll_buf_release(&text);
    ll_buf_release(&out);
    ll_buf_release(&back);
}

/* ---- encoded words ------------------------------------------------------------------------------
 */

static const struct {
    const char *text, *runs; /* {charset}text */
} word_rows[] = {
    {"", ""},
    {"plain text", "{}plain text"},
    {"=?utf-8?q?caf=C3=A9?=", "{utf-8}caf\xc3\xa9"},
    {"=?UTF-8?B?Y2Fmw6k=?= au lait", "{UTF-8}caf\xc3\xa9{} au lait"},
    {"a =?iso-8859-1?Q?b_c?= d", "{}a {iso-8859-1}b c{} d"},
    /* RFC 2047 8 */
    {"=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "{ISO-8859-1}ab"},
    {"=?ISO-8859-1?Q?a?=\t=?iso-8859-2?Q?b?=", "{ISO-8859-1}a{iso-8859-2}b"},
    {"=?ISO-8859-1?Q?a?= x =?ISO-8859-1?Q?b?=", "{ISO-8859-1}a{} x {ISO-8859-1}b"},
    {"=?utf-8?q?=C3?= =?utf-8?q?=A9?=", "{utf-8}\xc3\xa9"}, /* a character cut in two */
    {"=?utf-8*de?q?x?=", "{utf-8}x"},                       /* RFC 2231 5 */
    {"=?utf-8?q?two words?=", "{utf-8}two words"},
    {"=?utf-8?x?a?= =?utf-8?q?a", "{}=?utf-8?x?a?= =?utf-8?q?a"},
    {"=??q?a?= =?utf 8?q?a?= =?", "{}=??q?a?= =?utf 8?q?a?= =?"},
    {"=?utf-8?q?=zz?=", "{utf-8}=zz"},
    {"=?utf-8?q?=3D=3Futf-8=3Fq=3Fx=3F=3D?=", "{utf-8}=?utf-8?q?x?="}, /* not looked at again */
};

static void test_words(void **state)
{
    for (size_t i = 0; i < LL_COUNT(word_rows); i++) {
        struct ll_buf out = LL_BUF(1000);
        struct ll_mime_run *run;
        size_t n;

        assert_true(ll_mime_words(ll_slice_str(word_rows[i].text), &arena, &run, &n));
        for (size_t k = 0; k < n; k++)
            ll_buf_printf(&out, "{%.*s}%.*s", LL_FMT(run[k].charset), LL_FMT(run[k].text));
        assert_text(ll_buf_slice(&out), word_rows[i].runs);
        ll_buf_release(&out);
    }
}

/* ---- without 8BITMIME ---------------------------------------------------------------------------
 */

static const struct {
    const char *letter, *out; /* NULL: SIGNED */
} seven_rows[] = {
    {"A: b\r\n\r\nascii\r\n", "A: b\r\n\r\nascii\r\n"},
    {"A: b\r\n\r\ncaf\xc3\xa9\r\n", "A: b\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; "
                                    "charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable"
                                    "\r\n\r\ncaf=C3=A9\r\n"},
    {"A: b\r\n\r\ncaf\xe9\r\n", "A: b\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; "
                                "charset=unknown-8bit\r\nContent-Transfer-Encoding: "
                                "quoted-printable\r\n\r\ncaf=E9\r\n"},
    {"MIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\nContent-Type: text/html\r\n\r\n\xe9",
     "MIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\nContent-Type: text/html"
     "\r\n\r\n=E9"},
    {"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n"
     "Content-Transfer-Encoding: 8bit\r\n\r\npr\xe9\r\n--b\r\n\r\none\r\n--b\r\n"
     "Content-Type: image/x\r\n\r\n\xe9\xe9\r\n--b\r\nContent-Type: text/plain\r\n"
     "Content-Transfer-Encoding: quoted-printable\r\n\r\n=41\xe9\r\n--b--\r\n\xe9\r\n",
     "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n"
     "Content-Transfer-Encoding: 7bit\r\n\r\npr?\r\n--b\r\n\r\none\r\n--b\r\n"
     "Content-Type: image/x\r\nContent-Transfer-Encoding: base64\r\n\r\n6ek=\r\n\r\n--b\r\n"
     "Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nA=E9\r\n--b--"
     "\r\n?\r\n"},
    {"Content-Type: message/rfc822\r\n\r\nMIME-Version: 1.0\r\n\r\n\xe9",
     "Content-Type: message/rfc822\r\n\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; "
     "charset=unknown-8bit\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=E9"},
    {"Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\xe9\r\n--b--", NULL},
    {"Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n"
     "Content-Transfer-Encoding: 8bit\r\n\r\nA: b\r\n\r\nx\r\n--b--",
     "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n"
     "Content-Transfer-Encoding: 8bit\r\n\r\nA: b\r\n\r\nx\r\n--b--"},
};

static void test_seven(void **state)
{
    for (size_t i = 0; i < LL_COUNT(seven_rows); i++) {
        struct ll_slice letter = ll_slice_str(seven_rows[i].letter);
        struct ll_buf out = LL_BUF(10000);
        struct ll_mime m;

        assert_int_equal(ll_mime_parse(letter, &arena, &m), LL_MIME_OK);
        assert_int_equal(ll_mime_to_7bit(letter, &m, &out),
                         seven_rows[i].out ? LL_MIME_OK : LL_MIME_SIGNED);
        if (seven_rows[i].out)
            assert_text(ll_buf_slice(&out), seven_rows[i].out);
        ll_buf_release(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_tree, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_signed_span, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_limits, set_up, tear_down),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test_setup_teardown(test_values, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_params_many, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_filename, set_up, tear_down),
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_encode),
        cmocka_unit_test_setup_teardown(test_words, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_seven, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
