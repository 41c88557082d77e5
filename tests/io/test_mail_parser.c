/*
 * The public suite mime-mail-parser: tables of header fields and what another parser made of them,
 * and letters with their trees. Where we read otherwise on purpose, the row stands here with the
 * reason.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>

#include "io/charset.h"
#include "letterlock/addr.h"
#include "letterlock/msg.h"

struct deviation {
    size_t row;
    const char *why;
};

static struct ll_charset *charsets;
static struct ll_arena arena;
static unsigned failed;

static int set_up(void **state)
{
    charsets = ll_charset_new();
    ll_arena_init(&arena, 256u << 20);
    failed = 0;
    return charsets ? 0 : -1;
}

static int tear_down(void **state)
{
    ll_charset_free(charsets);
    ll_arena_release(&arena);
    return 0;
}

/* The suite's folder, by the environment or beside the tree; from the tree or its build folder. */
static bool find_file(const char *name, char *path, size_t n)
{
    const char *roots[] = {getenv("LETTERLOCK_TESTDATA"), "../shared/testdata",
                           "../../shared/testdata"};

    for (size_t i = 0; i < LL_COUNT(roots); i++) {
        FILE *f;

        if (!roots[i])
            continue;
        snprintf(path, n, "%s/mime-mail-parser/%s", roots[i], name);
        f = fopen(path, "rb");
        if (f) {
            fclose(f);
            return true;
        }
    }
    print_message("%s: the public suite is not there (LETTERLOCK_TESTDATA)\n", name);
    return false;
}

static json_t *load(const char *name)
{
    char path[512];
    json_t *j;

    if (!find_file(name, path, sizeof(path)))
        skip();
    j = json_load_file(path, JSON_ALLOW_NUL, NULL);
    assert_non_null(j);
    return j;
}

static struct ll_slice string(const json_t *j)
{
    return json_is_string(j) ? ll_slice(json_string_value(j), json_string_length(j))
                             : (struct ll_slice){0};
}

/* The field's body of a row, in wire form: without what stands behind its end. */
static struct ll_slice body_of(struct ll_slice header)
{
    struct ll_buf wire = LL_BUF(1u << 20);
    struct ll_slice rest, copy;
    struct ll_msg_field f;

    ll_buf_puts(&wire, "X:");
    for (size_t i = 0; i < header.n; i++) {
        if (header.p[i] == '\n' && (i == 0 || header.p[i - 1] != '\r'))
            ll_buf_putc(&wire, '\r');
        ll_buf_putc(&wire, header.p[i]);
    }
    copy = ll_arena_dup(&arena, ll_buf_slice(&wire));
    ll_buf_release(&wire);
    rest = copy;
    assert_true(ll_msg_field_next(&rest, &f));
    return f.body;
}

/* Counts what differs and is not listed, and what is listed and does not differ. */
static void judge(const char *table, size_t row, bool same, const struct deviation *d, size_t n_d,
                  struct ll_slice have)
{
    for (size_t i = 0; i < n_d; i++) {
        if (d[i].row != row)
            continue;
        if (same)
            print_error("%s row %zu: listed as a deviation, but equal\n", table, row);
        failed += same;
        return;
    }
    if (!same)
        print_error("%s row %zu: %.*s\n", table, row, LL_FMT(have));
    failed += !same;
}

/* ---- dates
 * ---------------------------------------------------------------------------------------
 */

static const struct deviation date_deviations[] = {
    {10, "a month by number is none (RFC 5322 3.3)"},
    {12, "a list of numbers is no date"},
    {28, "a Received field: what stands before its last ';' is the caller's to cut"},
    {30, "a zone that is none is of no known meaning (RFC 5322 4.3): UTC"},
};

static void test_dates(void **state)
{
    json_t *table = load("date.json"), *row;
    size_t i;

    json_array_foreach(table, i, row)
    {
        const json_t *e = json_object_get(row, "expected");
        struct ll_buf want = LL_BUF(200), have = LL_BUF(200);
        int64_t t = 0, t_want = 0;
        int offset = 0;
        bool ok = ll_msg_date(body_of(string(json_object_get(row, "header"))), &t, &offset), same;

        if (json_is_object(e)) {
#define N(key) (long long)json_integer_value(json_object_get(e, key))
            static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
            long long zone = N("tz_hour") * 60 + N("tz_minute");

            ll_buf_printf(&want, "%lld %s %04lld %02lld:%02lld:%02lld %c%02lld%02lld", N("day"),
                          months[N("month") - 1], N("year"), N("hour"), N("minute"), N("second"),
                          json_is_true(json_object_get(e, "tz_before_gmt")) ? '-' : '+',
                          N("tz_hour"), N("tz_minute"));
            assert_true(ll_msg_date(ll_buf_slice(&want), &t_want, NULL));
            if (json_is_true(json_object_get(e, "tz_before_gmt")))
                zone = -zone;
            same = ok && t == t_want && offset == zone;
#undef N
        } else {
            same = !ok;
        }
        ll_buf_printf(&have, "%d %lld %d", ok, (long long)t, offset);
        judge("date", i, same, date_deviations, LL_COUNT(date_deviations), ll_buf_slice(&have));
        ll_buf_release(&want);
        ll_buf_release(&have);
    }
    json_decref(table);
    assert_int_equal(failed, 0);
}

/* ---- unstructured, lists, identifiers
 * ---------------------------------------------------------------
 */

static const struct deviation text_deviations[] = {
    {2, "unfolding takes CR LF away and nothing else (RFC 5322 2.2.3)"},
    {3, "likewise"},
    {4, "likewise"},
    {19, "likewise"},
    {21, "no blank is made up before an encoded word that touches text"},
    {22, "likewise"},
    {24, "an encoded word holds no blank (RFC 2047 2); its fold is kept as one"},
    {25, "likewise"},
    {26, "likewise"},
    {27, "no blank is made up before an encoded word that touches text"},
    {28, "likewise"},
};

static const struct deviation list_deviations[] = {
    {2, "unfolding takes CR LF away and nothing else (RFC 5322 2.2.3)"},
};

static void test_unstructured(void **state)
{
    json_t *table = load("unstructured.json"), *row;
    size_t i;

    json_array_foreach(table, i, row)
    {
        struct ll_buf have = LL_BUF(1u << 16);

        ll_charset_field(charsets, body_of(string(json_object_get(row, "header"))), &have);
        judge("unstructured", i,
              ll_slice_eq(ll_buf_slice(&have), string(json_object_get(row, "expected"))),
              text_deviations, LL_COUNT(text_deviations), ll_buf_slice(&have));
        ll_buf_release(&have);
    }
    json_decref(table);
    assert_int_equal(failed, 0);
}

static void test_lists(void **state)
{
    json_t *table = load("list.json"), *row;
    size_t i;

    json_array_foreach(table, i, row)
    {
        struct ll_slice rest = body_of(string(json_object_get(row, "header"))), part;
        struct ll_buf have = LL_BUF(1u << 16), want = LL_BUF(1u << 16);
        const json_t *item;
        size_t k;

        while (ll_slice_next(&rest, ',', &part)) {
            struct ll_buf one = LL_BUF(1u << 16);

            ll_charset_field(charsets, part, &one);
            if (one.n)
                ll_buf_printf(&have, "[%.*s]", LL_FMT(ll_buf_slice(&one)));
            ll_buf_release(&one);
        }
        json_array_foreach(json_object_get(row, "expected"), k, item)
            ll_buf_printf(&want, "[%.*s]", LL_FMT(string(item)));
        judge("list", i, ll_slice_eq(ll_buf_slice(&have), ll_buf_slice(&want)), list_deviations,
              LL_COUNT(list_deviations), ll_buf_slice(&have));
        ll_buf_release(&have);
        ll_buf_release(&want);
    }
    json_decref(table);
    assert_int_equal(failed, 0);
}

static void test_ids(void **state)
{
    json_t *table = load("id.json"), *row;
    size_t i;

    json_array_foreach(table, i, row)
    {
        struct ll_buf have = LL_BUF(1u << 16), want = LL_BUF(1u << 16);
        const json_t *item;
        struct ll_slice *id;
        size_t n, k;

        assert_int_equal(
            ll_msg_ids(body_of(string(json_object_get(row, "header"))), &arena, &id, &n),
            LL_MSG_OK);
        for (k = 0; k < n; k++)
            ll_buf_printf(&have, "[%.*s]", LL_FMT(id[k]));
        json_array_foreach(json_object_get(row, "expected"), k, item)
            ll_buf_printf(&want, "[%.*s]", LL_FMT(string(item)));
        judge("id", i, ll_slice_eq(ll_buf_slice(&have), ll_buf_slice(&want)), NULL, 0,
              ll_buf_slice(&have));
        ll_buf_release(&have);
        ll_buf_release(&want);
    }
    json_decref(table);
    assert_int_equal(failed, 0);
}

/* ---- addresses
 * ------------------------------------------------------------------------------------
 */

static const struct deviation address_deviations[] = {
    {8, "comments are no part of a name (RFC 5322 3.2.2); what stands in one is no address"},
    {9, "a fold behind a backslash is refused: taken out, it would leave the backslash alone"},
    {10, "comments are no part of a name"},
    {13, "a source route and blanks are no part of an address"},
    {14, "comments are no part of a name, blanks none of an address"},
    {22, "comments are no part of a name"},
    {33, "blanks at the ends of a name are not kept"},
    {37, "URIs of List- fields (RFC 2369), which ll_msg_ids reads: no addresses"},
    {38, "likewise"},
    {39, "likewise"},
    {40, "likewise"},
    {41, "likewise"},
    {43, "likewise"},
    {44, "likewise"},
    {45, "likewise"},
    {46, "likewise"},
    {47, "likewise"},
    {55, "words behind the address are no name: what a reader shows there, the next may not"},
    {56, "comments are no part of a name"},
};

/* "{group}name<spec>" for each; an element without a spec is not listed. */
static void put_one(struct ll_buf *to, struct ll_slice group, struct ll_slice name,
                    struct ll_slice spec)
{
    if (spec.n)
        ll_buf_printf(to, "{%.*s}%.*s<%.*s>", LL_FMT(group), LL_FMT(name), LL_FMT(spec));
}

static void put_expected(struct ll_buf *to, struct ll_slice group, const json_t *list)
{
    const json_t *a;
    size_t k;

    json_array_foreach(list, k, a) put_one(to, group, string(json_object_get(a, "name")),
                                           string(json_object_get(a, "address")));
}

static void test_addresses(void **state)
{
    json_t *table = load("address.json"), *row;
    size_t i;

    json_array_foreach(table, i, row)
    {
        const json_t *e = json_object_get(row, "expected"), *g;
        struct ll_buf have = LL_BUF(1u << 16), want = LL_BUF(1u << 16);
        struct ll_msg_address *list;
        size_t n = 0, k;

        if (ll_msg_named_addresses(body_of(string(json_object_get(row, "header"))), &arena, &list,
                                   &n) != LL_MSG_OK)
            ll_buf_puts(&have, "(refused)");
        for (k = 0; k < n; k++) {
            struct ll_buf name = LL_BUF(1u << 16), group = LL_BUF(1u << 16);

            ll_charset_field(charsets, list[k].name, &name);
            ll_charset_field(charsets, list[k].group, &group);
            put_one(&have, ll_buf_slice(&group), ll_buf_slice(&name), list[k].spec);
            ll_buf_release(&name);
            ll_buf_release(&group);
        }
        put_expected(&want, (struct ll_slice){0}, json_object_get(e, "List"));
        json_array_foreach(json_object_get(e, "Group"), k, g) put_expected(
            &want, string(json_object_get(g, "name")), json_object_get(g, "addresses"));
        judge("address", i, ll_slice_eq(ll_buf_slice(&have), ll_buf_slice(&want)),
              address_deviations, LL_COUNT(address_deviations), ll_buf_slice(&have));
        ll_buf_release(&have);
        ll_buf_release(&want);
    }
    json_decref(table);
    assert_int_equal(failed, 0);
}

/* ---- fields with parameters
 * --------------------------------------------------------------------------
 */

static const struct deviation type_deviations[] = {
    {31, "the first part alone names the charset (RFC 2231 4.1)"},
    {34, "blanks between encoded words are not shown (RFC 2047 6.2)"},
    {35, "a value without quotes ends at a blank"},
    {47, "'=' is no type"},
    {48, "a parameter is no type: what stands behind '=' is not read"},
    {58, "likewise"},
    {59, "a NUL in a header never comes in"},
    {61, "marks of RFC 2231 that make no sense stay in the name"},
    {76, "a type has one '/': the rest is left out"},
    {77, "likewise"},
    {78, "likewise"},
};

static bool same_params(const json_t *list, const struct ll_mime_value *v, struct ll_buf *have)
{
    size_t k, values = 0;
    const json_t *p;
    bool same = true;

    for (k = 0; k < v->n_param; k++) {
        ll_buf_printf(have, "; %.*s=", LL_FMT(v->param[k].name));
        ll_charset_param(charsets, &v->param[k], have);
        values += v->param[k].value.n > 0;
    }
    json_array_foreach(list, k, p)
    {
        const char *name = json_string_value(json_array_get(p, 0));
        const struct ll_mime_param *param;
        struct ll_buf text = LL_BUF(1u << 16);
        size_t n = strlen(name);

        if (n > 9 && strcmp(name + n - 9, "-language") == 0)
            continue; /* ours stands with its parameter */
        param = ll_mime_param(v, name);
        if (param)
            ll_charset_param(charsets, param, &text);
        same = same && param && ll_slice_eq(ll_buf_slice(&text), string(json_array_get(p, 1)));
        values--;
        ll_buf_release(&text);
    }
    return same && values == 0;
}

static void test_types(void **state)
{
    json_t *table = load("content_type.json"), *row;
    size_t i;

    json_array_foreach(table, i, row)
    {
        const json_t *e = json_object_get(row, "expected");
        struct ll_buf have = LL_BUF(1u << 16);
        struct ll_mime_value v = {0};
        bool ok = ll_mime_value(body_of(string(json_object_get(row, "header"))), &arena, &v), same;

        ll_buf_printf(&have, "%d %.*s/%.*s", ok, LL_FMT(v.type), LL_FMT(v.subtype));
        if (json_is_object(e))
            same = ok && ll_slice_caseeq(v.type, string(json_object_get(e, "c_type"))) &&
                   ll_slice_caseeq(v.subtype, string(json_object_get(e, "c_subtype"))) &&
                   same_params(json_object_get(e, "attributes"), &v, &have);
        else
            same = !ok;
        judge("content_type", i, same, type_deviations, LL_COUNT(type_deviations),
              ll_buf_slice(&have));
        ll_buf_release(&have);
    }
    json_decref(table);
    assert_int_equal(failed, 0);
}

/* ---- Received
 * ------------------------------------------------------------------------------------- from, by,
 * id, for, via, the protocol and the date are compared. What the other parser makes of comments
 * (helo, ident, names of TLS ciphers) has no form that a standard gives, and is left to it. */

static const struct deviation received_deviations[] = {
    {13, "the day's name is followed by the month: no date (RFC 5322 3.3)"},
    {28, "an id may hold '/'"},
    {29, "likewise"},
    {30, "likewise"},
    {117, "no date (theirs lies in the year 1914)"},
    {118, "no date (theirs lies in the year 1915)"},
    {123, "the first of two by clauses counts"},
    {125, "a name may hold '/'"},
    {128, "what stands behind the date is not read (their year is 1903)"},
    {138, "'_' before the date is none of it"},
    {151, "what stands in [ ] is kept, whatever it is; no date (theirs lies in the year 1914)"},
    {153, "an address without a domain is one"},
    {161, "what stands in a comment is no clause"},
    {162, "likewise"},
    {163, "likewise"},
    {165, "likewise"},
    {171, "likewise"},
};

static struct ll_slice host(const json_t *e, const char *key)
{
    const json_t *h = json_object_get(e, key);
    struct ll_slice name = string(json_object_get(h, "Name"));

    return name.p ? name : string(json_object_get(h, "IpAddr"));
}

static bool same_host(struct ll_slice have, struct ll_slice want)
{
    if (have.n >= 2 && have.p[0] == '[')
        have = ll_slice_cut(have, 1, have.n - 1);
    if (ll_slice_casestarts(have, LL_LIT("IPv6:")))
        have = ll_slice_skip(have, 5);
    return ll_slice_caseeq(have, want);
}

static bool same_date(struct ll_slice date, const json_t *e)
{
    int64_t t;
    bool ok = date.p && ll_msg_date(date, &t, NULL);

    if (!json_is_object(e))
        return true; /* theirs found none where we are lenient, or neither did */
#define N(key) (int64_t) json_integer_value(json_object_get(e, key))
    return ok && (t / 60 - N("minute") +
                  (json_is_true(json_object_get(e, "tz_before_gmt")) ? -1 : 1) *
                      (N("tz_hour") * 60 + N("tz_minute"))) %
                         60 ==
                     0;
#undef N
}

static void test_received(void **state)
{
    json_t *table = load("received.json"), *row;
    size_t i;

    json_array_foreach(table, i, row)
    {
        const json_t *e = json_object_get(row, "expected");
        struct ll_buf have = LL_BUF(1u << 16);
        struct ll_msg_trace t;
        bool same;

        ll_msg_trace_read(body_of(string(json_object_get(row, "header"))), &t);
        ll_buf_printf(&have,
                      "from=%.*s (%.*s) by=%.*s via=%.*s with=%.*s id=%.*s for=%.*s date=%.*s",
                      LL_FMT(t.from), LL_FMT(t.from_ip), LL_FMT(t.by), LL_FMT(t.via),
                      LL_FMT(t.with), LL_FMT(t.id), LL_FMT(t.recipient), LL_FMT(t.date));
        same = same_host(t.from, host(e, "from")) && same_host(t.by, host(e, "by")) &&
               ll_slice_eq(t.id, string(json_object_get(e, "id"))) &&
               ll_slice_eq(t.recipient, string(json_object_get(e, "for_"))) &&
               same_date(t.date, json_object_get(e, "date"));
        judge("received", i, same, received_deviations, LL_COUNT(received_deviations),
              ll_buf_slice(&have));
        ll_buf_release(&have);
    }
    json_decref(table);
    assert_int_equal(failed, 0);
}

/* ---- letters
 * -------------------------------------------------------------------------------------- The shape
 * of each tree and the text of each leaf. A message in base64 is a leaf for us. */

static void put_theirs(struct ll_buf *to, const json_t *message, size_t i);

static void put_children(struct ll_buf *to, const json_t *message, const json_t *list)
{
    const json_t *child;
    size_t k;

    ll_buf_putc(to, '(');
    json_array_foreach(list, k, child)
    {
        if (k)
            ll_buf_putc(to, ',');
        put_theirs(to, message, (size_t)json_integer_value(child));
    }
    ll_buf_putc(to, ')');
}

/* Lines without regard to CR: theirs come from a file with LF or CR LF. */
static void put_text(struct ll_buf *to, struct ll_slice text)
{
    ll_buf_putc(to, '[');
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] != '\r')
            ll_buf_putc(to, text.p[i]);
    ll_buf_putc(to, ']');
}

static void put_theirs(struct ll_buf *to, const json_t *message, size_t i)
{
    const json_t *part = json_array_get(json_object_get(message, "parts"), i);
    const json_t *body = json_object_get(part, "body"), *in = json_object_get(body, "Message");
    struct ll_slice text = string(json_object_get(body, "Text"));

    if (!text.p)
        text = string(json_object_get(body, "Html"));
    if (json_object_get(body, "Multipart")) {
        ll_buf_puts(to, "multipart");
        put_children(to, message, json_object_get(body, "Multipart"));
    } else if (in) {
        ll_buf_puts(to, "message(");
        put_theirs(to, in, 0);
        ll_buf_putc(to, ')');
    } else if (text.p) {
        put_text(to, text);
    } else {
        ll_buf_puts(to, "octets");
    }
}

static void put_ours(struct ll_buf *to, const struct ll_mime *m, uint16_t i)
{
    const struct ll_mime_part *p = &m->part[i];
    struct ll_buf plain = LL_BUF(1u << 20), text = LL_BUF(1u << 20);

    if (p->flags & (LL_MIME_MULTIPART | LL_MIME_MESSAGE)) {
        ll_buf_puts(to, p->flags & LL_MIME_MULTIPART ? "multipart(" : "message(");
        for (uint16_t c = p->child; c != LL_MIME_NONE; c = m->part[c].next) {
            if (c != p->child)
                ll_buf_putc(to, ',');
            put_ours(to, m, c);
        }
        ll_buf_putc(to, ')');
    } else if (ll_mime_is(p, "text", NULL)) {
        const struct ll_mime_param *charset = ll_mime_param(&p->type, "charset");

        ll_mime_decode((enum ll_mime_encoding)p->encoding, p->body, &plain);
        ll_charset_to_utf8(charsets, charset ? charset->value : LL_LIT(""), ll_buf_slice(&plain),
                           &text);
        put_text(to, ll_buf_slice(&text));
    } else {
        ll_buf_puts(to, "octets");
    }
    ll_buf_release(&plain);
    ll_buf_release(&text);
}

static const struct deviation letter_deviations[] = {
    {0, "a type stands, whatever its octets look like: what is audio is not shown as text"},
    {8, "a letter in base64 is a leaf: nobody may look into it (RFC 2045 6.4, RFC 2046 5.2.1)"},
    {10, "a part with a header and no body is an empty part"},
    {11, "an outer delimiter ends all within (RFC 2046 5.1.2)"},
    {12, "a multipart without a delimiter is a leaf of that type"},
    {14, "a delimiter is a whole line: '--ab' is none of the boundary 'a' (RFC 2046 5.1.1)"},
    {17, "likewise: '--ab' in a header section is no delimiter of 'a'"},
    {18, "an outer delimiter ends all within"},
    {19, "likewise"},
    {21, "likewise"},
    {22, "likewise"},
    {23, "a delimiter at the end begins an empty part"},
    {24, "likewise"},
    {26, "a boundary above 70 octets is none (RFC 2046 5.1.1)"},
    {30, "of two Content-Type fields the first counts"},
    {31, "likewise"},
    {32, "a declared letter stays one: its only line is no field, its body empty"},
};

static bool read_letter(const char *name, struct ll_buf *wire)
{
    struct ll_msg_wire w = {0};
    char path[512];
    uint8_t all[1 << 16];
    size_t n;
    FILE *f;

    if (!find_file(name, path, sizeof(path)))
        return false;
    f = fopen(path, "rb");
    assert_non_null(f);
    n = fread(all, 1, sizeof(all), f);
    fclose(f);
    assert_true(n < sizeof(all));
    if (ll_msg_to_wire(&w, ll_slice(all, n), wire) != LL_MSG_OK) {
        ll_buf_clear(wire); /* a bare CR or a NUL: as it came */
        ll_buf_put(wire, all, n);
    }
    return true;
}

static void test_letters(void **state)
{
    static const struct {
        const char *folder;
        size_t n;
    } folders[] = {{"rfc", 10}, {"malformed", 23}};

    for (size_t i = 0, row = 0; i < LL_COUNT(folders); i++) {
        for (size_t k = 0; k < folders[i].n; k++, row++) {
            struct ll_buf wire = LL_BUF(1u << 20), have = LL_BUF(1u << 20), want = LL_BUF(1u << 20);
            char name[64];
            struct ll_mime m;
            json_t *j;

            snprintf(name, sizeof(name), "%s/%03zu.eml", folders[i].folder, k);
            if (!read_letter(name, &wire))
                skip();
            snprintf(name, sizeof(name), "%s/%03zu.crlf.json", folders[i].folder, k);
            j = load(name);
            assert_int_equal(ll_mime_parse(ll_buf_slice(&wire), &arena, &m), LL_MIME_OK);
            put_ours(&have, &m, 0);
            put_theirs(&want, j, 0);
            judge("letter", row, ll_slice_eq(ll_buf_slice(&have), ll_buf_slice(&want)),
                  letter_deviations, LL_COUNT(letter_deviations), ll_buf_slice(&have));
            if (getenv("SHOW"))
                print_message("%zu want %.*s\n", row, LL_FMT(ll_buf_slice(&want)));
            json_decref(j);
            ll_buf_release(&wire);
            ll_buf_release(&have);
            ll_buf_release(&want);
        }
    }
    assert_int_equal(failed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_dates, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unstructured, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lists, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ids, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_addresses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_types, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_received, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_letters, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("mail parser", tests, NULL, NULL);
}
