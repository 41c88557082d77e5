/* Fields and parts of letters that start here; ready letters taken apart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "letterlock/compose.h"
#include "letterlock/mime.h"
#include "letterlock/msg.h"

static const uint8_t octets[LL_COMPOSE_RANDOM] = "0123456789abcde";
static struct ll_arena arena;
static struct ll_buf out;

static int set_up(void **state)
{
    ll_arena_init(&arena, 64u << 20);
    ll_buf_init(&out, 8u << 20);
    return 0;
}

static int tear_down(void **state)
{
    ll_arena_release(&arena);
    ll_buf_release(&out);
    return 0;
}

static void assert_text(struct ll_slice have, const char *want)
{
    if (!ll_slice_eq(have, ll_slice_str(want)))
        print_error("want \"%s\"\nhave \"%.*s\"\n", want, LL_FMT(have));
    assert_true(ll_slice_eq(have, ll_slice_str(want)));
}

/* Every line ends in CR LF, has at most `max` octets, all of ASCII, and no blank at its end. */
static void assert_lines(struct ll_slice s, size_t max)
{
    while (s.n) {
        size_t lf = ll_slice_find(s, '\n');
        struct ll_slice line = ll_slice_cut(s, 0, lf);

        assert_true(lf < s.n && line.n && line.p[line.n - 1] == '\r');
        line.n--;
        if (line.n > max)
            print_error("%zu octets: %.*s\n", line.n, LL_FMT(line));
        assert_true(line.n <= max);
        assert_true(ll_is_ascii(line));
        assert_false(ll_slice_starts(line, LL_LIT("From ")));
        assert_true(line.n == 0 || !ll_is_blank(line.p[line.n - 1]));
        assert_true(ll_slice_find(line, '\r') == line.n);
        s = ll_slice_skip(s, lf + 1);
    }
}

/* The decoded text of a field's body, all runs joined. */
static void decode(struct ll_slice field, struct ll_buf *text)
{
    struct ll_buf plain = LL_BUF(1u << 20);
    struct ll_msg_field f;
    struct ll_mime_run *run;
    size_t n;

    assert_true(ll_msg_field_next(&field, &f) && !f.bad && field.n == 0);
    ll_msg_unfold(f.body, &plain);
    assert_true(ll_mime_words(ll_buf_slice(&plain), &arena, &run, &n));
    for (size_t i = 0; i < n; i++) {
        assert_true(run[i].charset.n == 0 || ll_slice_eq(run[i].charset, LL_LIT("utf-8")));
        assert_true(ll_utf8_valid(run[i].text));
        ll_buf_put_slice(text, run[i].text);
    }
    ll_buf_release(&plain);
}

/* ---- unstructured fields
 * --------------------------------------------------------------------------
 */

#define LONG50 "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeee"

static const struct {
    const char *text, *field;
} text_rows[] = {
    {"", "Subject:\r\n"},
    {"  hello  world ", "Subject: hello  world\r\n"},
    {"a\tb", "Subject: a\tb\r\n"},
    {"Grüße", "Subject: =?utf-8?b?R3LDvMOfZQ==?=\r\n"},
    {"Grüsse aus Köln!", "Subject: =?utf-8?q?Gr=C3=BCsse?= aus =?utf-8?b?S8O2bG4h?=\r\n"},
    /* the blank between two encoded words would be lost (RFC 2047 6.2): it is in the word */
    {"größe Übung", "Subject: =?utf-8?b?Z3LDtsOfZSDDnGJ1bmc=?=\r\n"},
    {"日本語", "Subject: =?utf-8?b?5pel5pys6Kqe?=\r\n"},
    {"=?utf-8?q?no?=", "Subject: =?utf-8?b?PT91dGYtOD9xP25vPz0=?=\r\n"},
    {LONG50 " " LONG50, "Subject: " LONG50 "\r\n " LONG50 "\r\n"},
};

static void test_text(void **state)
{
    for (size_t i = 0; i < LL_COUNT(text_rows); i++) {
        ll_buf_clear(&out);
        assert_int_equal(ll_compose_field_text(&out, "Subject", ll_slice_str(text_rows[i].text)),
                         LL_COMPOSE_OK);
        assert_text(ll_buf_slice(&out), text_rows[i].field);
    }
}

static const char *const round_rows[] = {
    "plain",
    "😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀",
    "שלום עולם, זה נושא ארוך מאוד שצריך להתקפל על פני כמה שורות של כותרת",
    "äöü = ? _ =? ?= mixed with plain words and ünïcode wörds that go on and on for quite a while",
    LONG50 LONG50 LONG50 LONG50 " and " LONG50 LONG50,
    "a                                                                              b",
    "x ä y ö z ü  two  blanks  ä  ö  kept",
    "x                    " LONG50 "cccccccccc",
    "x                     " LONG50 "cccccccccc",
    "\xc3\xa4",
    "=?",
    "tabs\tand\tä\tö",
    "😀 a 😀 b 😀 c 😀 d 😀 e 😀 f 😀 g 😀 h 😀 i 😀 j 😀 k 😀 l 😀 m 😀 n 😀 o 😀 p",
};

static void test_text_round(void **state)
{
    for (size_t i = 0; i < LL_COUNT(round_rows); i++) {
        struct ll_buf text = LL_BUF(1u << 20);

        for (size_t name = 1; name < 71; name += 23) {
            char n[72] = {0};

            memset(n, 'N', name);
            ll_buf_clear(&out);
            ll_buf_clear(&text);
            assert_int_equal(ll_compose_field_text(&out, n, ll_slice_str(round_rows[i])),
                             LL_COMPOSE_OK);
            assert_lines(ll_buf_slice(&out), 78);
            decode(ll_buf_slice(&out), &text);
            assert_text(ll_buf_slice(&text), round_rows[i]);
        }
        ll_buf_release(&text);
    }
}

static void test_text_refused(void **state)
{
    ll_buf_puts(&out, "kept");
    assert_int_equal(ll_compose_field_text(&out, "Subject", LL_LIT("a\r\nBcc: x")),
                     LL_COMPOSE_CONTROL);
    assert_int_equal(ll_compose_field_text(&out, "Subject", LL_LIT("a\nb")), LL_COMPOSE_CONTROL);
    assert_int_equal(ll_compose_field_text(&out, "Subject", LL_LIT("a\0b")), LL_COMPOSE_CONTROL);
    assert_int_equal(ll_compose_field_text(&out, "Subject", LL_LIT("\xc3")), LL_COMPOSE_UTF8);
    assert_int_equal(ll_compose_field_text(&out, "Sub ject", LL_LIT("x")), LL_COMPOSE_NAME);
    assert_int_equal(ll_compose_field_text(&out, "Sub:", LL_LIT("x")), LL_COMPOSE_NAME);
    assert_int_equal(ll_compose_field_text(&out, "", LL_LIT("x")), LL_COMPOSE_NAME);
    assert_text(ll_buf_slice(&out), "kept");
}

/* ---- addresses
 * ------------------------------------------------------------------------------------
 */

static const struct {
    struct ll_compose_address a[3];
    size_t n;
    const char *field;
} address_rows[] = {
    {{{.spec = {(const uint8_t *)"a@b.c", 5}}}, 1, "To: a@b.c\r\n"},
    {{{.name = {(const uint8_t *)"Ann Smith", 9}, .spec = {(const uint8_t *)"a@b.c", 5}}},
     1,
     "To: Ann Smith <a@b.c>\r\n"},
    {{{.name = {(const uint8_t *)"Ann X. Smith", 12}, .spec = {(const uint8_t *)"a@b.c", 5}},
      {.name = {(const uint8_t *)"say \"\\hi\"", 9}, .spec = {(const uint8_t *)"d@e.f", 5}}},
     2,
     "To: \"Ann X. Smith\" <a@b.c>, \"say \\\"\\\\hi\\\"\" <d@e.f>\r\n"},
    /* never an encoded word within quotes (RFC 2047 5 (3)) */
    {{{.name = {(const uint8_t *)"M\xc3\xbcller, J.", 11}, .spec = {(const uint8_t *)"a@b.c", 5}}},
     1,
     "To: =?utf-8?b?TcO8bGxlciwgSi4=?= <a@b.c>\r\n"},
    {{{.spec = {(const uint8_t *)"a@b.c", 5}, .group = {(const uint8_t *)"The Group", 9}},
      {.spec = {(const uint8_t *)"d@e.f", 5}, .group = {(const uint8_t *)"The Group", 9}},
      {.spec = {(const uint8_t *)"g@h.i", 5}}},
     3,
     "To: The Group: a@b.c, d@e.f;, g@h.i\r\n"},
    {{{.group = {(const uint8_t *)"undisclosed-recipients", 22}}},
     1,
     "To: undisclosed-recipients:;\r\n"},
    /* as they are: RFC 6532 */
    {{{.spec = {(const uint8_t *)"\xc3\xbc@\xc3\xb6.de", 8}}}, 1, "To: ü@ö.de\r\n"},
};

static void test_addresses(void **state)
{
    for (size_t i = 0; i < LL_COUNT(address_rows); i++) {
        ll_buf_clear(&out);
        assert_int_equal(
            ll_compose_field_addresses(&out, "To", address_rows[i].a, address_rows[i].n),
            LL_COMPOSE_OK);
        assert_text(ll_buf_slice(&out), address_rows[i].field);
    }
}

static void test_addresses_many(void **state)
{
    struct ll_compose_address a[300];
    struct ll_msg_address *list;
    struct ll_msg_field f;
    struct ll_slice rest;
    char specs[300][24];
    size_t n;

    for (size_t i = 0; i < LL_COUNT(a); i++) {
        snprintf(specs[i], sizeof(specs[i]), "user%zu@example.org", i);
        a[i] = (struct ll_compose_address){.spec = ll_slice_str(specs[i])};
        a[i].name = i % 3 == 0   ? LL_LIT("")
                    : i % 3 == 1 ? LL_LIT("Żółć, 😀 <x>")
                                 : LL_LIT("A. \"B\" C");
    }
    assert_int_equal(ll_compose_field_addresses(&out, "Cc", a, LL_COUNT(a)), LL_COMPOSE_OK);
    assert_lines(ll_buf_slice(&out), 78);
    rest = ll_buf_slice(&out);
    assert_true(ll_msg_field_next(&rest, &f) && rest.n == 0);
    assert_int_equal(ll_msg_addresses(f.body, &arena, &list, &n), LL_MSG_OK);
    assert_int_equal(n, LL_COUNT(a));
    for (size_t i = 0; i < n; i++)
        assert_text(list[i].spec, specs[i]);
}

static void test_addresses_refused(void **state)
{
    struct ll_compose_address a = {.spec = LL_LIT("a@b\r\nBcc: c@d")};

    assert_int_equal(ll_compose_field_addresses(&out, "To", &a, 1), LL_COMPOSE_ADDRESS);
    a.spec = LL_LIT("no address");
    assert_int_equal(ll_compose_field_addresses(&out, "To", &a, 1), LL_COMPOSE_ADDRESS);
    a.spec = LL_LIT("a@b.c>, <d@e.f");
    assert_int_equal(ll_compose_field_addresses(&out, "To", &a, 1), LL_COMPOSE_ADDRESS);
    a.spec = LL_LIT("");
    a.name = LL_LIT("nobody");
    assert_int_equal(ll_compose_field_addresses(&out, "To", &a, 1), LL_COMPOSE_ADDRESS);
    a.spec = LL_LIT("a@b.c");
    a.name = LL_LIT("x\ny");
    assert_int_equal(ll_compose_field_addresses(&out, "To", &a, 1), LL_COMPOSE_CONTROL);
    assert_int_equal(out.n, 0);
}

/* ---- parameters
 * -------------------------------------------------------------------------------------
 */

static const struct {
    const char *value, *field;
} param_rows[] = {
    {"a.pdf", "Content-Disposition: attachment; filename=a.pdf\r\n"},
    {"a b.pdf", "Content-Disposition: attachment; filename=\"a b.pdf\"\r\n"},
    {"a\"\\b", "Content-Disposition: attachment; filename=\"a\\\"\\\\b\"\r\n"},
    {"", "Content-Disposition: attachment; filename=\"\"\r\n"},
    {"Grüße.pdf", "Content-Disposition: attachment; filename*=utf-8''Gr%C3%BC%C3%9Fe.pdf\r\n"},
    {"日本.tar.gz",
     "Content-Disposition: attachment; filename*=utf-8''%E6%97%A5%E6%9C%AC.tar.gz\r\n"},
    {"a\nb", "Content-Disposition: attachment; filename*=utf-8''a%0Ab\r\n"},
    {"=?b", "Content-Disposition: attachment; filename*=utf-8''%3D%3Fb\r\n"},
};

static void test_param(void **state)
{
    struct ll_slice none = {0};

    for (size_t i = 0; i < LL_COUNT(param_rows); i++) {
        ll_buf_clear(&out);
        assert_int_equal(ll_compose_field_begin(&out, "Content-Disposition", LL_LIT("attachment")),
                         LL_COMPOSE_OK);
        assert_int_equal(
            ll_compose_param(&out, "filename", ll_slice_str(param_rows[i].value), none),
            LL_COMPOSE_OK);
        ll_buf_puts(&out, "\r\n");
        assert_text(ll_buf_slice(&out), param_rows[i].field);
    }
}

/* Names of all lengths come back as they were, on lines that are short enough. */
static void test_param_round(void **state)
{
    static const char *const letters[] = {"a", "é", "€", "😀", " ", "\"", "%", "'"};
    struct ll_slice none = {0};

    for (size_t l = 0; l < LL_COUNT(letters); l++) {
        for (size_t n = 1; n <= LL_COMPOSE_NAME_MAX / strlen(letters[l]); n += n < 100 ? 1 : 37) {
            struct ll_buf name = LL_BUF(LL_COMPOSE_NAME_MAX);
            struct ll_mime_value v;
            struct ll_arena a;
            struct ll_msg_field f;
            struct ll_slice rest;

            for (size_t i = 0; i < n; i++)
                ll_buf_puts(&name, letters[l]);
            ll_buf_clear(&out);
            ll_compose_field_begin(&out, "Content-Disposition", LL_LIT("attachment"));
            assert_int_equal(ll_compose_param(&out, "filename", ll_buf_slice(&name), none),
                             LL_COMPOSE_OK);
            ll_buf_puts(&out, "\r\n");
            assert_lines(ll_buf_slice(&out), 78);
            rest = ll_buf_slice(&out);
            assert_true(ll_msg_field_next(&rest, &f));
            ll_arena_init(&a, 1u << 20);
            assert_true(ll_mime_value(f.body, &a, &v));
            assert_true(ll_slice_eq(ll_mime_param(&v, "filename")->value, ll_buf_slice(&name)));
            ll_arena_release(&a);
            ll_buf_release(&name);
        }
    }
}

static void test_param_refused(void **state)
{
    struct ll_slice none = {0};
    static uint8_t big[1000];

    memset(big, 'x', sizeof(big));
    assert_int_equal(ll_compose_param(&out, "a b", LL_LIT("x"), none), LL_COMPOSE_NAME);
    assert_int_equal(ll_compose_param(&out, "a*", LL_LIT("x"), none), LL_COMPOSE_NAME);
    assert_int_equal(ll_compose_param(&out, "a", LL_LIT("\xff"), none), LL_COMPOSE_UTF8);
    assert_int_equal(ll_compose_param(&out, "a", LL_LIT("x"), LL_LIT("a'b\"")), LL_COMPOSE_NAME);
    assert_int_equal(ll_compose_param(&out, "filename", ll_slice(big, 600), none), LL_COMPOSE_LONG);
    assert_int_equal(ll_compose_param(&out, "filename", ll_slice(big, 599), none), LL_COMPOSE_OK);
    ll_buf_clear(&out);
    assert_int_equal(ll_compose_stand_in(&out, ll_slice(big, LL_COMPOSE_NAME_MAX + 1)),
                     LL_COMPOSE_LONG);
    assert_int_equal(ll_compose_stand_in(&out, LL_LIT("\xff")), LL_COMPOSE_UTF8);
    assert_int_equal(ll_compose_field_begin(&out, "A", LL_LIT("a/b\r\nB: c")), LL_COMPOSE_TYPE);
}

static const struct {
    const char *name, *want;
} stand_in_rows[] = {
    {"", ""},
    {"a.pdf", "a.pdf"},
    {"Grüße \"x\".pdf", "Gr__e _x_.pdf"},
    {"😀/\n=?", "___=_"},
    {LONG50 "0123456789.txt", LONG50 "012345.txt"},
    {LONG50 "0123456789", LONG50 "0123456789"},
    {LONG50 "01234567890", LONG50 "0123456789"},
    {LONG50 ".an-ending-that-is-none", LONG50 ".an-ending"},
};

static void test_stand_in(void **state)
{
    for (size_t i = 0; i < LL_COUNT(stand_in_rows); i++) {
        ll_buf_clear(&out);
        assert_int_equal(ll_compose_stand_in(&out, ll_slice_str(stand_in_rows[i].name)),
                         LL_COMPOSE_OK);
        assert_text(ll_buf_slice(&out), stand_in_rows[i].want);
    }
}

/* ---- content
 * --------------------------------------------------------------------------------------
 */

/* "multipart/mixed(text/plain,image/png)" */
static void shape(const struct ll_mime *m, struct ll_buf *to)
{
    for (uint16_t at = 0; at != LL_MIME_NONE;) {
        const struct ll_mime_part *p = &m->part[at];

        assert_int_equal(p->flags & ~(unsigned)(LL_MIME_MULTIPART | LL_MIME_MESSAGE), 0);
        ll_buf_put_slice(to, p->type.type);
        ll_buf_putc(to, '/');
        ll_buf_put_slice(to, p->type.subtype);
        if (p->child != LL_MIME_NONE) {
            ll_buf_putc(to, '(');
            at = p->child;
            continue;
        }
        while (at != LL_MIME_NONE && m->part[at].next == LL_MIME_NONE) {
            at = m->part[at].parent;
            if (at != LL_MIME_NONE)
                ll_buf_putc(to, ')');
        }
        if (at != LL_MIME_NONE) {
            ll_buf_putc(to, ',');
            at = m->part[at].next;
        }
    }
}

static void assert_shape(struct ll_slice entity, const char *want, struct ll_mime *m)
{
    struct ll_buf have = LL_BUF(4096);

    assert_int_equal(ll_mime_parse(entity, &arena, m), LL_MIME_OK);
    shape(m, &have);
    assert_text(ll_buf_slice(&have), want);
    ll_buf_release(&have);
}

static void content(const struct ll_mime_part *p, struct ll_buf *to)
{
    ll_buf_clear(to);
    assert_true(ll_mime_decode((enum ll_mime_encoding)p->encoding, p->body, to));
}

static const struct {
    const char *text, *wire, *encoding;
} entity_rows[] = {
    {"", "", "7bit"},
    {"hi", "hi\r\n", "7bit"},
    {"hi\nthere\n", "hi\r\nthere\r\n", "7bit"},
    {"one\r\ntwo\rthree", "one\r\ntwo\r\nthree\r\n", "7bit"},
    {"From here\n", "From here\r\n", "quoted-printable"},
    {"blank \n", "blank \r\n", "quoted-printable"},
    {"Grüße\n and a longer text that is mostly ascii\n",
     "Grüße\r\n and a longer text that is mostly ascii\r\n", "quoted-printable"},
    {"日本語の手紙です\n", "日本語の手紙です\r\n", "base64"},
    {LONG50 LONG50 "\n", LONG50 LONG50 "\r\n", "quoted-printable"},
    {".\n..\n", ".\r\n..\r\n", "7bit"},
};

static void test_entity_text(void **state)
{
    struct ll_buf plain = LL_BUF(1u << 20);

    for (size_t i = 0; i < LL_COUNT(entity_rows); i++) {
        struct ll_compose c = {.text = ll_slice_str(entity_rows[i].text)};
        struct ll_msg_field f;
        struct ll_mime m;

        ll_buf_clear(&out);
        assert_int_equal(ll_compose_entity(&c, &out), LL_COMPOSE_OK);
        assert_lines(ll_buf_slice(&out), 78);
        assert_shape(ll_buf_slice(&out), "text/plain", &m);
        content(&m.part[0], &plain);
        assert_text(ll_buf_slice(&plain), entity_rows[i].wire);
        assert_true(ll_msg_field_find(m.part[0].header, LL_LIT("Content-Transfer-Encoding"), &f));
        assert_text(ll_slice_trim(f.body), entity_rows[i].encoding);
    }
    ll_buf_release(&plain);
}

static void test_entity_parts(void **state)
{
    static const char letter[] = "From: a@b.c\r\nSubject: in\r\nMIME-Version: 1.0\r\nContent-Type: "
                                 "text/plain; charset=utf-8\r\n\r\nGrü\xc3\x9f"
                                 "e \r\n";
    static uint8_t all[256];
    struct ll_compose_part parts[] = {
        {.octets = ll_slice(all, sizeof(all)), .name = LL_LIT("a.bin")},
        {.octets = LL_LIT("\x89PNG"),
         .type = LL_LIT("image/png"),
         .id = LL_LIT("x@y"),
         .is_inline = true},
        {.octets = LL_LIT("one\r\ntwo\r\n"),
         .type = LL_LIT("text/plain"),
         .charset = LL_LIT("utf-8"),
         .description = LL_LIT("Größe")},
        {.octets = LL_LIT("one\ntwo \n"), .type = LL_LIT("text/csv")},
        {.octets = ll_slice_str(letter), .type = LL_LIT("message/rfc822")},
    };
    struct ll_compose c = {.text = LL_LIT("text\n"),
                           .html = LL_LIT("<p>html ä</p>"),
                           .part = parts,
                           .n_part = LL_COUNT(parts),
                           .random = octets};
    struct ll_buf plain = LL_BUF(1u << 20);
    struct ll_mime_param name;
    struct ll_mime m;

    for (size_t i = 0; i < sizeof(all); i++)
        all[i] = (uint8_t)i;
    assert_int_equal(ll_compose_entity(&c, &out), LL_COMPOSE_OK);
    assert_lines(ll_buf_slice(&out), 78);
    assert_shape(ll_buf_slice(&out),
                 "multipart/mixed(multipart/alternative(text/plain,multipart/related(text/html,"
                 "image/png)),application/octet-stream,text/plain,text/csv,message/rfc822(text/"
                 "plain))",
                 &m);
    content(&m.part[6], &plain);
    assert_true(ll_slice_eq(ll_buf_slice(&plain), ll_slice(all, sizeof(all))));
    assert_true(ll_mime_filename(&m.part[6], &arena, &name));
    assert_text(name.value, "a.bin");
    content(&m.part[7], &plain);
    assert_text(ll_buf_slice(&plain), "one\r\ntwo\r\n");
    content(&m.part[8], &plain);
    assert_text(ll_buf_slice(&plain), "one\ntwo \n");
    content(&m.part[10], &plain);
    assert_text(ll_buf_slice(&plain), "Grü\xc3\x9f"
                                      "e \r\n");
    ll_buf_release(&plain);
}

/* Files put to a ready letter: its content stands first, octet for octet. */
static void test_entity_ready(void **state)
{
    static const char entity[] = "Content-Type: multipart/alternative; boundary=b\r\n\r\n"
                                 "--b\r\n\r\none\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>"
                                 "\r\n--b--\r\n";
    struct ll_compose_part p = {.octets = LL_LIT("x"), .name = LL_LIT("x.bin")};
    struct ll_compose c = {
        .entity = ll_slice_str(entity), .part = &p, .n_part = 1, .random = octets};
    struct ll_mime m;

    assert_int_equal(ll_compose_entity(&c, &out), LL_COMPOSE_OK);
    assert_shape(ll_buf_slice(&out),
                 "multipart/mixed(multipart/alternative(text/plain,text/html),application/"
                 "octet-stream)",
                 &m);
    assert_text(m.part[1].whole, entity);
    ll_buf_clear(&out);
    c.n_part = 0;
    assert_int_equal(ll_compose_entity(&c, &out), LL_COMPOSE_OK);
    assert_text(ll_buf_slice(&out), entity);
}

static void test_entity_refused(void **state)
{
    struct ll_compose_part p = {.type = LL_LIT("text")};
    struct ll_compose c = {.text = LL_LIT("a\0b")};

    assert_int_equal(ll_compose_entity(&c, &out), LL_COMPOSE_CONTROL);
    c.text = LL_LIT("\xff");
    assert_int_equal(ll_compose_entity(&c, &out), LL_COMPOSE_UTF8);
    c = (struct ll_compose){.text = LL_LIT("x"), .part = &p, .n_part = 1};
    assert_int_equal(ll_compose_entity(&c, &out), LL_COMPOSE_PARTS);
    c.random = octets;
    assert_int_equal(ll_compose_entity(&c, &out), LL_COMPOSE_TYPE);
    p.type = LL_LIT("multipart/mixed");
    assert_int_equal(ll_compose_entity(&c, &out), LL_COMPOSE_TYPE);
    p.type = LL_LIT("a/b\r\nX: y");
    assert_int_equal(ll_compose_entity(&c, &out), LL_COMPOSE_TYPE);
    p = (struct ll_compose_part){.id = LL_LIT("a> <b")};
    assert_int_equal(ll_compose_entity(&c, &out), LL_COMPOSE_CONTROL);
    c.n_part = LL_COMPOSE_PARTS_MAX + 1;
    assert_int_equal(ll_compose_entity(&c, &out), LL_COMPOSE_PARTS);
    assert_int_equal(out.n, 0);
    /* without room there is no half of an entity */
    c = (struct ll_compose){.text = LL_LIT("some text")};
    out.max = 20;
    assert_int_equal(ll_compose_entity(&c, &out), LL_COMPOSE_RESOURCE);
    assert_int_equal(out.n, 0);
}

/* A letter that holds a signed 8-bit part may not be changed: it goes as octets, all of them. */
static void test_entity_sealed_letter(void **state)
{
    static const char letter[] = "Content-Type: multipart/signed; "
                                 "boundary=b\r\n\r\n--b\r\n\r\nä\r\n--b\r\n\r\nx\r\n--b--\r\n";
    struct ll_compose_part p = {
        .octets = ll_slice_str(letter), .type = LL_LIT("message/rfc822"), .name = LL_LIT("a.eml")};
    struct ll_compose c = {.text = LL_LIT("x\n"), .part = &p, .n_part = 1, .random = octets};
    struct ll_buf plain = LL_BUF(4096);
    struct ll_mime m;

    assert_int_equal(ll_compose_entity(&c, &out), LL_COMPOSE_OK);
    assert_shape(ll_buf_slice(&out), "multipart/mixed(text/plain,application/octet-stream)", &m);
    content(&m.part[2], &plain);
    assert_text(ll_buf_slice(&plain), letter);
    ll_buf_release(&plain);
}

/* ---- ready letters
 * ----------------------------------------------------------------------------------
 */

static const struct {
    const char *letter, *trace, *fields, *entity;
} letter_rows[] = {
    {"From: a@b.c\r\nSubject: x\r\n\r\nhi\r\n", "", "From: a@b.c\r\nSubject: x\r\n",
     "Content-Type: text/plain; charset=us-ascii\r\n\r\nhi\r\n"},
    {"Received: by x; date\r\nReturn-Path: <a@b.c>\r\nBcc: secret@b.c\r\nDKIM-Signature: "
     "v=1;\r\n b=x\r\nFrom: a@b.c\r\nARC-Seal: i=1\r\nMIME-Version: 1.0\r\nContent-Type: "
     "text/html\r\nContent-Length: 4\r\nHP-Outer: Subject: x\r\nResent-Bcc: s@b.c\r\nResent-From: "
     "r@b.c\r\nStatus: RO\r\nX-Own: y\r\n\r\nhi",
     "Received: by x; date\r\nResent-From: r@b.c\r\n", "From: a@b.c\r\nX-Own: y\r\n",
     "Content-Type: text/html\r\n\r\nhi"},
    {"From: a@b.c\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: "
     "8bit\r\n\r\nü\r\n",
     "", "From: a@b.c\r\n",
     "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: "
     "quoted-printable\r\n\r\n=C3=BC\r\n"},
    {"From: a@b.c\r\n\r\nFrom x \r\n", "", "From: a@b.c\r\n",
     "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: "
     "quoted-printable\r\n\r\n=46rom x=20\r\n"},
    {"From: a@b.c\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: "
     "8bit\r\n\r\n--b\r\nContent-Type: a/b\r\nContent-Disposition: attachment; "
     "filename=\"ü\"\r\nContent-Transfer-Encoding: binary\r\n\r\nü\r\n--b--\r\n",
     "", "From: a@b.c\r\n",
     "Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"
     "--b\r\nContent-Type: a/b\r\nContent-Disposition: attachment; "
     "filename*=utf-8''%C3%BC\r\nContent-Transfer-Encoding: "
     "base64\r\n\r\nw7w=\r\n\r\n--b--\r\n"},
    /* what is signed keeps its blanks */
    {"From: a@b.c\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\nx "
     "\r\n--b\r\n\r\ns\r\n--b--\r\n",
     "", "From: a@b.c\r\n",
     "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\nx "
     "\r\n--b\r\n\r\ns\r\n--b--\r\n"},
    /* blanks at the ends of header lines, delimiters and preambles; From_ lines nobody shows */
    {"From: a@b.c \r\nSubject: x\t\r\n \t\r\n y \r\nContent-Type: multipart/mixed; \r\n "
     "boundary=b\r\n\r\npre \r\nFrom x\r\n \r\n--b \t\r\nContent-Type: text/plain; \r\n "
     "charset=us-ascii \r\n\r\nhi\r\n--b-- \r\nFrom y \r\n",
     "", "From: a@b.c\r\nSubject: x\r\n y\r\n",
     "Content-Type: multipart/mixed;\r\n boundary=b\r\n\r\npre\r\n>From x\r\n\r\n--b\r\n"
     "Content-Type: text/plain;\r\n charset=us-ascii\r\n\r\nhi\r\n--b--\r\n>From y\r\n"},
    /* but for signed ones */
    {"From: a@b.c\r\nContent-Type: multipart/signed; \r\n boundary=s\r\n\r\npre \r\n--s "
     "\r\nContent-Type: multipart/mixed; \r\n boundary=b\r\n\r\n--b \r\n\r\nhi \r\n--b-- "
     "\r\nFrom x\r\n--s \r\n\r\nsig\r\n--s-- \r\n",
     "", "From: a@b.c\r\n",
     "Content-Type: multipart/signed;\r\n boundary=s\r\n\r\npre \r\n--s "
     "\r\nContent-Type: multipart/mixed; \r\n boundary=b\r\n\r\n--b \r\n\r\nhi \r\n--b-- "
     "\r\nFrom x\r\n--s \r\n\r\nsig\r\n--s-- \r\n"},
    {"From: a@b.c", "", "From: a@b.c\r\n", "Content-Type: text/plain; charset=us-ascii\r\n\r\n"},
};

static void test_from_letter(void **state)
{
    struct ll_buf trace = LL_BUF(4096), fields = LL_BUF(4096);

    for (size_t i = 0; i < LL_COUNT(letter_rows); i++) {
        ll_buf_clear(&out);
        ll_buf_clear(&trace);
        ll_buf_clear(&fields);
        assert_int_equal(
            ll_compose_from_letter(ll_slice_str(letter_rows[i].letter), &trace, &fields, &out),
            LL_COMPOSE_OK);
        assert_text(ll_buf_slice(&trace), letter_rows[i].trace);
        assert_text(ll_buf_slice(&fields), letter_rows[i].fields);
        assert_text(ll_buf_slice(&out), letter_rows[i].entity);
    }
    ll_buf_release(&trace);
    ll_buf_release(&fields);
}

static void test_from_letter_refused(void **state)
{
    assert_int_equal(ll_compose_from_letter(LL_LIT("no field\r\n\r\nx"), NULL, NULL, &out),
                     LL_COMPOSE_FIELD);
    assert_int_equal(
        ll_compose_from_letter(LL_LIT("Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n"
                                      "\r\nä\r\n--b--\r\n"),
                               NULL, NULL, &out),
        LL_COMPOSE_SIGNED);
    assert_int_equal(
        ll_compose_from_letter(LL_LIT("Content-Transfer-Encoding: x-y\r\n\r\nä"), NULL, NULL, &out),
        LL_COMPOSE_BINARY);
    assert_int_equal(ll_compose_from_letter(LL_LIT("A: b\r\n\r\nx"), NULL, NULL, NULL),
                     LL_COMPOSE_OK);
    out.max = out.n + 3;
    assert_int_equal(ll_compose_from_letter(LL_LIT("A: b\r\n\r\nx"), NULL, NULL, &out),
                     LL_COMPOSE_RESOURCE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_text, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_text_round, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_text_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_addresses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_addresses_many, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_addresses_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_param, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_param_round, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_param_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stand_in, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_entity_text, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_entity_parts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_entity_ready, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_entity_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_entity_sealed_letter, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_from_letter, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_from_letter_refused, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("compose", tests, NULL, NULL);
}
