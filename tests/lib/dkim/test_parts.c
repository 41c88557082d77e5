/* Tag lists, key records, canonical forms: tables, and a second, slow canonicalisation to compare.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/dkim/parts.h"

/* ---- tags --------------------------------------------------------------------------------- */

static void tags(void **state)
{
    static const struct {
        const char *text;
        enum ll_dkim_fault fault;
        size_t n;
    } rows[] = {
        {"v=1", LL_DKIM_FAULT_OK, 1},
        {"v=1;", LL_DKIM_FAULT_OK, 1},
        {" v = 1 ; a=x ;\r\n ", LL_DKIM_FAULT_OK, 2},
        {"a=;b=", LL_DKIM_FAULT_OK, 2},
        {"a=b=c", LL_DKIM_FAULT_OK, 1},
        {"a_1=x y\r\n\tz", LL_DKIM_FAULT_OK, 1},
        {"d=b\xc3\xbc"
         "cher.example",
         LL_DKIM_FAULT_OK, 1},
        {"", LL_DKIM_FAULT_TAGS, 0},
        {";", LL_DKIM_FAULT_TAGS, 0},
        {" ", LL_DKIM_FAULT_TAGS, 0},
        {"v", LL_DKIM_FAULT_TAGS, 0},
        {"v=1;;a=x", LL_DKIM_FAULT_TAGS, 0},
        {"v=1;;", LL_DKIM_FAULT_TAGS, 0},
        {";v=1", LL_DKIM_FAULT_TAGS, 0},
        {"=1", LL_DKIM_FAULT_TAGS, 0},
        {"v=1; _=x", LL_DKIM_FAULT_TAGS, 0},
        {"1=1", LL_DKIM_FAULT_TAGS, 0},
        {"v-1=1", LL_DKIM_FAULT_TAGS, 0},
        {"v=1; ==", LL_DKIM_FAULT_TAGS, 0},
        {"a=\x01", LL_DKIM_FAULT_TAGS, 0},
        {"a=\x7f", LL_DKIM_FAULT_TAGS, 0},
        {"a=\xff", LL_DKIM_FAULT_TAGS, 0},
        {"a=1;a=1", LL_DKIM_FAULT_TAG_TWICE, 0},
        {"a=1;A=1", LL_DKIM_FAULT_OK, 2},
    };
    struct ll_dkim_tags t;
    struct ll_buf many = LL_BUF(4096);

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        enum ll_dkim_fault f = ll_dkim_tags_parse(ll_slice_str(rows[i].text), &t);

        if (f != rows[i].fault || (f == LL_DKIM_FAULT_OK && t.n != rows[i].n))
            fail_msg("row %zu: \"%s\" gives %d", i, rows[i].text, f);
    }
    assert_int_equal(ll_dkim_tags_parse(ll_slice("a=\0b", 4), &t), LL_DKIM_FAULT_TAGS);
    for (unsigned i = 0; i < LL_DKIM_TAGS_MAX; i++)
        ll_buf_printf(&many, "t%u=;", i);
    assert_int_equal(ll_dkim_tags_parse(ll_buf_slice(&many), &t), LL_DKIM_FAULT_OK);
    ll_buf_puts(&many, "t=");
    assert_int_equal(ll_dkim_tags_parse(ll_buf_slice(&many), &t), LL_DKIM_FAULT_TAGS_MANY);
    ll_buf_release(&many);
}

static void base64(void **state)
{
    static const struct {
        const char *text;
        int n; /* -1: refused */
    } rows[] = {
        {"AAAA", 3},  {"AA==", 1},  {"AA", 1},     {" A A\r\n =\t=", 1}, {"AAA=", 2},  {"AAA", 2},
        {"", -1},     {"A", -1},    {"AAAAA", -1}, {"AB==", -1},         {"A=AA", -1}, {"AA=", -1},
        {"====", -1}, {"AA-A", -1}, {"AAAA=", -1}, {"AAAAAAAA", -1},
    };
    uint8_t out[4];

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        size_t n = 0;
        bool ok = ll_dkim_base64(ll_slice_str(rows[i].text), out, sizeof(out), &n);

        if ((ok ? (int)n : -1) != rows[i].n)
            fail_msg("row %zu: \"%s\": %d %zu", i, rows[i].text, ok, n);
    }
}

#define ED_KEY "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="

static void records(void **state)
{
    static const struct {
        const char *text;
        enum ll_dkim_fault fault;
        const char *facts; /* testing strict sha256 email */
    } rows[] = {
        {"v=DKIM1; k=ed25519; p=" ED_KEY, LL_DKIM_FAULT_OK, "--he"},
        {"k=ed25519; p=" ED_KEY, LL_DKIM_FAULT_OK, "--he"},
        {"p=" ED_KEY "; k=ed25519; v2=x", LL_DKIM_FAULT_OK, "--he"},
        {"k=ed25519;t=y:s;p=" ED_KEY, LL_DKIM_FAULT_OK, "yshe"},
        {"k=ed25519;t= s ;h=sha1 : sha256;s=*;p=" ED_KEY, LL_DKIM_FAULT_OK, "-she"},
        {"k=ed25519;h=sha1;s=tlsrpt;p=" ED_KEY, LL_DKIM_FAULT_OK, "----"},
        {"k=ed25519;s=tlsrpt:email;n=note;p=" ED_KEY ";", LL_DKIM_FAULT_OK, "--he"},
        {"v=DKIM1; k=ed25519; p=", LL_DKIM_FAULT_KEY_REVOKED, "--he"},
        {"k=ed25519; v=DKIM1; p=" ED_KEY, LL_DKIM_FAULT_KEY_VERSION, NULL},
        {"v=DKIM2; k=ed25519; p=" ED_KEY, LL_DKIM_FAULT_KEY_VERSION, NULL},
        {"v=dkim1; k=ed25519; p=" ED_KEY, LL_DKIM_FAULT_KEY_VERSION, NULL},
        {"v=DKIM1: k=ed25519; p=" ED_KEY, LL_DKIM_FAULT_KEY_VERSION, NULL},
        {"v=DKIM1; k=dsa; p=" ED_KEY, LL_DKIM_FAULT_KEY_TYPE, NULL},
        {"v=DKIM1; k=; p=" ED_KEY, LL_DKIM_FAULT_KEY_TYPE, NULL},
        {"v=DKIM1; k=ed25519", LL_DKIM_FAULT_KEY_SYNTAX, NULL},
        {"v=DKIM1; p=" ED_KEY "; p=" ED_KEY, LL_DKIM_FAULT_KEY_SYNTAX, NULL},
        {"v=DKIM1; p=?", LL_DKIM_FAULT_KEY_BAD, NULL},
        {"v=spf1 -all", LL_DKIM_FAULT_KEY_VERSION, NULL},
        {"", LL_DKIM_FAULT_KEY_SYNTAX, NULL},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_dkim_record r;
        char facts[5];
        enum ll_dkim_fault f = ll_dkim_record_parse(ll_slice_str(rows[i].text), &r);

        if (f != rows[i].fault)
            fail_msg("row %zu: \"%s\" gives %s", i, rows[i].text, ll_dkim_fault_text(f));
        if (!rows[i].facts)
            continue;
        snprintf(facts, sizeof(facts), "%c%c%c%c", r.testing ? 'y' : '-', r.strict ? 's' : '-',
                 r.sha256 ? 'h' : '-', r.email ? 'e' : '-');
        assert_string_equal(facts, rows[i].facts);
    }
}

/* Not keys: damaged DER of every kind, each cut and each octet changed; none may be taken for a key
 * of another size, none may be read past its end. */
static void damaged_keys(void **state)
{
    static const char good[] =
        "MIGJAoGBALppqRbOu5gApf05051Icx6apV0ZC6s1gsLUfs79PYtAgdVuQoXooqOWAUzuWvyyR9kyEl78pEYy9WMJ"
        "XllqRkgZ4/ceLWpcIS+aNLgSWkw8w/I+tmKC33mKmrLA9hklYdtGInTzlV2RIK0tS+jmzKkDSdMl7KcSi4A37/AF"
        "oI7pAgMBAAE=";
    struct ll_dkim_record r = {.algorithm = LL_DKIM_RSA}, cut;
    EVP_PKEY *key = NULL;
    unsigned bits = 0;
    size_t n;

    assert_true(ll_dkim_base64(ll_slice_str(good), r.key, sizeof(r.key), &n));
    r.key_n = (uint16_t)n;
    assert_int_equal(ll_dkim_record_key(&r, &key, &bits), LL_DKIM_FAULT_OK);
    assert_int_equal(bits, 1024);
    EVP_PKEY_free(key);
    for (size_t i = 0; i < n; i++) {
        cut = r;
        cut.key_n = (uint16_t)i;
        assert_int_not_equal(ll_dkim_record_key(&cut, &key, &bits), LL_DKIM_FAULT_OK);
    }
    for (size_t i = 0; i < 6; i++) { /* tags and lengths */
        cut = r;
        cut.key[i] ^= 0x41;
        assert_int_not_equal(ll_dkim_record_key(&cut, &key, &bits), LL_DKIM_FAULT_OK);
    }
    r.key[n] = 0; /* an octet too many */
    r.key_n++;
    assert_int_not_equal(ll_dkim_record_key(&r, &key, &bits), LL_DKIM_FAULT_OK);
}

/* ---- fields ------------------------------------------------------------------------------- */

static void fields(void **state)
{
    static const struct {
        const char *raw, *relaxed;
    } rows[] = {
        {"Subject: hello\r\n", "subject:hello\r\n"},
        {"SUBJect \t:\t hello  \t world \t\r\n", "subject:hello world\r\n"},
        {"B : Y\t\r\n\tZ  \r\n", "b:Y Z\r\n"}, /* RFC 6376 3.4.6 */
        {"A: X\r\n", "a:X\r\n"},
        {"A:\r\n", "a:\r\n"},
        {"A: \r\n \r\n", "a:\r\n"},
        {"A:\r\n x\r\n\t \r\n", "a:x\r\n"},
        {"A: b:c : d\r\n", "a:b:c : d\r\n"},
        {"A: b\rc\r\n", "a:b\rc\r\n"},
        {"A: \xff\xc3\xa4\r\n", "a:\xff\xc3\xa4\r\n"},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_buf out = LL_BUF(4096);

        ll_dkim_canon_field(LL_DKIM_RELAXED, ll_slice_str(rows[i].raw), &out);
        if (!ll_slice_eq(ll_buf_slice(&out), ll_slice_str(rows[i].relaxed)))
            fail_msg("row %zu: %.*s", i, LL_FMT(ll_buf_slice(&out)));
        /* What is canonical stays as it is. */
        ll_buf_clear(&out);
        ll_dkim_canon_field(LL_DKIM_RELAXED, ll_slice_str(rows[i].relaxed), &out);
        assert_true(ll_slice_eq(ll_buf_slice(&out), ll_slice_str(rows[i].relaxed)));
        ll_buf_clear(&out);
        ll_dkim_canon_field(LL_DKIM_SIMPLE, ll_slice_str(rows[i].raw), &out);
        assert_true(ll_slice_eq(ll_buf_slice(&out), ll_slice_str(rows[i].raw)));
        ll_buf_release(&out);
    }
}

/* ---- bodies ------------------------------------------------------------------------------- */

/* The rules of RFC 6376 3.4.3 and 3.4.4 once more, line by line over a whole body. */
static void slow(enum ll_dkim_canon canon, struct ll_slice body, struct ll_buf *out)
{
    while (body.n > 0) {
        size_t end = ll_slice_search(body, LL_LIT("\r\n"));
        struct ll_slice line = ll_slice_cut(body, 0, end);

        for (size_t i = 0; i < line.n; i++) {
            if (canon == LL_DKIM_SIMPLE || !ll_is_blank(line.p[i])) {
                ll_buf_putc(out, line.p[i]);
                continue;
            }
            while (i + 1 < line.n && ll_is_blank(line.p[i + 1]))
                i++;
            if (i + 1 < line.n)
                ll_buf_putc(out, ' ');
        }
        ll_buf_puts(out, "\r\n");
        body = ll_slice_skip(body, end + 2);
    }
    while (out->n >= 4 && memcmp(out->p + out->n - 4, "\r\n\r\n", 4) == 0)
        out->n -= 2;
    if (out->n == 2 && memcmp(out->p, "\r\n", 2) == 0)
        out->n = 0;
    if (out->n == 0 && canon == LL_DKIM_SIMPLE)
        ll_buf_puts(out, "\r\n");
}

static void check_body(enum ll_dkim_canon canon, struct ll_slice body, struct ll_slice expected,
                       size_t first, size_t step)
{
    struct ll_dkim_body *b = ll_dkim_body_new(canon);
    uint8_t hash[LL_DKIM_HASH];
    size_t marks[] = {0, 1, expected.n / 2, expected.n, expected.n + 1};

    for (size_t i = 0; i < LL_COUNT(marks); i++)
        assert_true(ll_dkim_body_mark(b, marks[i]));
    for (size_t at = 0; at < body.n;) {
        size_t n = at == 0 ? first : step;
        uint8_t *exact = malloc(n + 1); /* so that a read past the end is seen */
        struct ll_slice part = ll_slice_cut(body, at, at + n);

        memcpy(exact, part.p, part.n);
        exact = realloc(exact, part.n ? part.n : 1);
        ll_dkim_body_feed(b, ll_slice(exact, part.n));
        free(exact);
        at += n;
    }
    ll_dkim_body_end(b);
    ll_dkim_sha256(expected, hash);
    if (b->hashed != expected.n || memcmp(hash, b->hash, sizeof(hash)) != 0)
        fail_msg("canon %d, cut at %zu and %zu: %llu octets, not %zu, of \"%.*s\"", canon, first,
                 step, (unsigned long long)b->hashed, expected.n, LL_FMT(body));
    for (size_t i = 0; i < LL_COUNT(marks); i++) {
        const struct ll_dkim_mark *m = NULL;

        for (size_t k = 0; k < b->marks; k++)
            if (b->mark[k].at == marks[i])
                m = &b->mark[k];
        assert_non_null(m);
        assert_int_equal(m->reached, marks[i] <= expected.n);
        ll_dkim_sha256(ll_slice_cut(expected, 0, marks[i]), hash);
        if (m->reached)
            assert_memory_equal(m->hash, hash, sizeof(hash));
    }
    ll_dkim_body_free(b);
}

static void bodies(void **state)
{
    static const struct {
        const char *body, *simple, *relaxed;
    } rows[] = {
        {"", "\r\n", ""},
        {"\r\n", "\r\n", ""},
        {"\r\n\r\n", "\r\n", ""},
        {" ", " \r\n", ""},
        {" \r\n", " \r\n", ""},
        {"a", "a\r\n", "a\r\n"},
        {"a\r\n", "a\r\n", "a\r\n"},
        {"a\r\n\r\n\r\n", "a\r\n", "a\r\n"},
        {" C \r\nD \t E\r\n\r\n\r\n", " C \r\nD \t E\r\n", " C\r\nD E\r\n"}, /* RFC 6376 3.4.5 */
        {"\r\n\r\na", "\r\n\r\na\r\n", "\r\n\r\na\r\n"},
        {"a \r\n \r\n\t\r\n", "a \r\n \r\n\t\r\n", "a\r\n"},
        {"a\t\r\n \r\nb", "a\t\r\n \r\nb\r\n", "a\r\n\r\nb\r\n"},
        {"a\tb", "a\tb\r\n", "a b\r\n"},
        {"  a", "  a\r\n", " a\r\n"},
        {"0123456789abcdef  0123456789abcdef \r\n0123456789abcdef\t0123456789abcdef",
         "0123456789abcdef  0123456789abcdef \r\n0123456789abcdef\t0123456789abcdef\r\n",
         "0123456789abcdef 0123456789abcdef\r\n0123456789abcdef 0123456789abcdef\r\n"},
        {"a\r", "a\r\r\n", "a\r\r\n"}, /* a bare CR or LF is an octet like others */
        {"a \rb \n", "a \rb \n\r\n", "a \rb \n\r\n"},
        {"\r\r\n", "\r\r\n", "\r\r\n"},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_slice body = ll_slice_str(rows[i].body);

        for (size_t first = 1; first <= body.n + 1; first++) {
            check_body(LL_DKIM_SIMPLE, body, ll_slice_str(rows[i].simple), first, body.n + 1);
            check_body(LL_DKIM_RELAXED, body, ll_slice_str(rows[i].relaxed), first, body.n + 1);
        }
        check_body(LL_DKIM_SIMPLE, body, ll_slice_str(rows[i].simple), 1, 1);
        check_body(LL_DKIM_RELAXED, body, ll_slice_str(rows[i].relaxed), 1, 1);
    }
}

/* Bodies by chance (the same ones in each run) against the slow rules. */
static void many_bodies(void **state)
{
    static const char letters[] = "aab  \t\r\n\r\n";
    uint32_t seed = 1;

    for (unsigned round = 0; round < 3000; round++) {
        struct ll_buf body = LL_BUF(4096), simple = LL_BUF(8192), relaxed = LL_BUF(8192);
        size_t n = round % 97;

        while (body.n < n) {
            seed = seed * 1664525 + 1013904223;
            char c = letters[(seed >> 24) % (sizeof(letters) - 1)];

            if (c == '\r' || c == '\n')
                ll_buf_puts(&body, "\r\n");
            else
                for (unsigned k = (seed >> 16) % 9 == 0 ? 20 : 1; k > 0; k--)
                    ll_buf_putc(&body, (uint8_t)c);
        }
        slow(LL_DKIM_SIMPLE, ll_buf_slice(&body), &simple);
        slow(LL_DKIM_RELAXED, ll_buf_slice(&body), &relaxed);
        check_body(LL_DKIM_SIMPLE, ll_buf_slice(&body), ll_buf_slice(&simple), 1 + round % 13,
                   1 + round % 31);
        check_body(LL_DKIM_RELAXED, ll_buf_slice(&body), ll_buf_slice(&relaxed), 1 + round % 13,
                   1 + round % 31);
        check_body(LL_DKIM_RELAXED, ll_buf_slice(&body), ll_buf_slice(&relaxed), body.n, 1);
        ll_buf_release(&body);
        ll_buf_release(&simple);
        ll_buf_release(&relaxed);
    }
}

/* A megabyte of line ends is held back as a number. */
static void empty_lines(void **state)
{
    struct ll_dkim_body *b = ll_dkim_body_new(LL_DKIM_RELAXED);
    static uint8_t lines[1 << 20];
    struct ll_buf all = LL_BUF(2 << 20);
    uint8_t hash[LL_DKIM_HASH];

    for (size_t i = 0; i < sizeof(lines); i++)
        lines[i] = i % 2 ? '\n' : '\r';
    ll_dkim_body_feed(b, ll_slice(lines, sizeof(lines)));
    assert_int_equal(b->hashed, 0);
    ll_dkim_body_feed(b, LL_LIT("a"));
    ll_dkim_body_end(b);
    ll_buf_put(&all, lines, sizeof(lines));
    ll_buf_puts(&all, "a\r\n");
    ll_dkim_sha256(ll_buf_slice(&all), hash);
    assert_memory_equal(b->hash, hash, sizeof(hash));
    ll_buf_release(&all);
    ll_dkim_body_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tags),        cmocka_unit_test(base64),       cmocka_unit_test(records),
        cmocka_unit_test(fields),      cmocka_unit_test(damaged_keys), cmocka_unit_test(bodies),
        cmocka_unit_test(many_bodies), cmocka_unit_test(empty_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
