/*
 * letters write|read: our composer and our reader, for the comparison with others
 * (test_letters.py). Each line of input is a JSON object; each line of output one too. Octets are
 * base64. write  {"subject", "from": [[name, spec]...], "to", "text", "html", "flowed", "parts":
 * [{"name", "type", "octets", "description", "id", "inline"}]}  ->  {"letter"} read   {"letter"} ->
 * {"subject", "from", "to", "parts": [[type, name, octets, text]...]}
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/charset.h"
#include "letterlock/compose.h"
#include "letterlock/msg.h"
#include "letterlock/protect.h"

#define MAX (64u << 20)

static struct ll_charset *charsets;
static struct ll_arena arena;

static struct ll_slice string(const json_t *j, const char *key)
{
    const json_t *s = key ? json_object_get(j, key) : j;

    return json_is_string(s) ? ll_slice(json_string_value(s), json_string_length(s))
                             : (struct ll_slice){0};
}

static struct ll_slice octets(const json_t *j, const char *key)
{
    struct ll_buf b = LL_BUF(MAX);
    struct ll_slice s;

    if (!ll_base64_decode(&b, string(j, key)))
        exit(65);
    s = ll_arena_dup(&arena, ll_buf_slice(&b));
    ll_buf_release(&b);
    return s;
}

static json_t *base64(struct ll_slice s)
{
    struct ll_buf b = LL_BUF(MAX);
    json_t *j;

    ll_base64_encode(&b, s);
    j = json_stringn(b.n ? (const char *)b.p : "", b.n);
    ll_buf_release(&b);
    return j;
}

/* ---- write --------------------------------------------------------------------------------------
 */

static void must(enum ll_compose_error e)
{
    if (e == LL_COMPOSE_OK)
        return;
    fprintf(stderr, "letters: %s\n", ll_compose_error_text(e));
    exit(65);
}

static void put_addresses(struct ll_buf *out, const char *name, const json_t *list)
{
    struct ll_compose_address a[1000];
    const json_t *item;
    size_t i;

    json_array_foreach(list, i, item)
    {
        if (i == LL_COUNT(a))
            break;
        a[i] = (struct ll_compose_address){.name = string(json_array_get(item, 0), NULL),
                                           .spec = string(json_array_get(item, 1), NULL)};
    }
    must(ll_compose_field_addresses(out, name, a, i));
}

static json_t *write_letter(const json_t *j)
{
    static const uint8_t random[LL_COMPOSE_RANDOM] = "fixed, for tests";
    struct ll_compose_part part[LL_COMPOSE_PARTS_MAX] = {0};
    struct ll_compose c = {.text = string(j, "text"),
                           .html = string(j, "html"),
                           .flowed = json_is_true(json_object_get(j, "flowed")),
                           .part = part,
                           .random = random};
    struct ll_buf out = LL_BUF(MAX);
    const json_t *p;
    json_t *answer;
    size_t i;

    json_array_foreach(json_object_get(j, "parts"), i, p)
    {
        part[c.n_part++] =
            (struct ll_compose_part){.octets = octets(p, "octets"),
                                     .type = string(p, "type"),
                                     .name = string(p, "name"),
                                     .description = string(p, "description"),
                                     .id = string(p, "id"),
                                     .is_inline = json_is_true(json_object_get(p, "inline"))};
    }
    put_addresses(&out, "From", json_object_get(j, "from"));
    put_addresses(&out, "To", json_object_get(j, "to"));
    must(ll_compose_field_text(&out, "Subject", string(j, "subject")));
    ll_msg_date_put(&out, 1795486054);
    ll_buf_puts(&out, "MIME-Version: 1.0\r\n");
    must(ll_compose_entity(&c, &out));
    answer = json_pack("{s:o}", "letter", base64(ll_buf_slice(&out)));
    ll_buf_release(&out);
    return answer;
}

/* ---- safe and protect
 * -----------------------------------------------------------------------------
 */

static json_t *safe_letter(const json_t *j)
{
    struct ll_buf out = LL_BUF(MAX), entity = LL_BUF(MAX);
    json_t *answer;

    must(ll_compose_from_letter(octets(j, "letter"), &out, &out, &entity));
    ll_buf_puts(&out, "MIME-Version: 1.0\r\n");
    ll_buf_put_slice(&out, ll_buf_slice(&entity));
    answer = json_pack("{s:o}", "letter", base64(ll_buf_slice(&out)));
    ll_buf_release(&out);
    ll_buf_release(&entity);
    return answer;
}

static json_t *protect_letter(const json_t *j)
{
    struct ll_buf fields = LL_BUF(MAX), entity = LL_BUF(MAX), inner = LL_BUF(MAX),
                  outer = LL_BUF(MAX);
    struct ll_protect p = {.cipher = true, .legacy_display = true};
    json_t *answer;

    must(ll_compose_from_letter(octets(j, "letter"), NULL, &fields, &entity));
    p.fields = ll_buf_slice(&fields);
    p.entity = ll_buf_slice(&entity);
    if (ll_protect_write(&p, &inner, &outer) != LL_PROTECT_OK)
        exit(65);
    answer = json_pack("{s:o s:o}", "letter", base64(ll_buf_slice(&inner)), "outer",
                       base64(ll_buf_slice(&outer)));
    ll_buf_release(&fields);
    ll_buf_release(&entity);
    ll_buf_release(&inner);
    ll_buf_release(&outer);
    return answer;
}

/* ---- read ---------------------------------------------------------------------------------------
 */

static json_t *text(struct ll_buf *b)
{
    json_t *j = json_stringn(b->n ? (const char *)b->p : "", b->n);

    ll_buf_release(b);
    return j;
}

static json_t *decoded(struct ll_slice body)
{
    struct ll_buf b = LL_BUF(MAX);

    ll_charset_field(charsets, body, &b);
    return text(&b);
}

static json_t *field(struct ll_slice header, struct ll_slice name)
{
    struct ll_msg_field f;

    return ll_msg_field_find(header, name, &f) ? decoded(f.body) : json_null();
}

static json_t *addresses(struct ll_slice header, struct ll_slice name)
{
    json_t *list = json_array();
    struct ll_msg_address *a;
    struct ll_msg_field f;
    size_t n;

    if (ll_msg_field_find(header, name, &f) &&
        ll_msg_named_addresses(f.body, &arena, &a, &n) == LL_MSG_OK)
        for (size_t i = 0; i < n; i++)
            json_array_append_new(list,
                                  json_pack("[oo]", decoded(a[i].name),
                                            json_stringn((const char *)a[i].spec.p, a[i].spec.n)));
    return list;
}

static json_t *leaf(const struct ll_mime_part *p)
{
    const struct ll_mime_param *charset = ll_mime_param(&p->type, "charset");
    struct ll_buf type = LL_BUF(1000), plain = LL_BUF(MAX), utf8 = LL_BUF(MAX), name = LL_BUF(MAX);
    struct ll_mime_param file;
    json_t *j;

    ll_buf_printf(&type, "%.*s/%.*s", LL_FMT(p->type.type), LL_FMT(p->type.subtype));
    ll_mime_decode((enum ll_mime_encoding)p->encoding, p->body, &plain);
    if (ll_mime_is(p, "text", NULL))
        ll_charset_to_utf8(charsets, charset ? charset->value : LL_LIT("us-ascii"),
                           ll_buf_slice(&plain), &utf8);
    if (ll_mime_filename(p, &arena, &file))
        ll_charset_param(charsets, &file, &name);
    j = json_pack("[oooo]", text(&type), text(&name), base64(ll_buf_slice(&plain)), text(&utf8));
    ll_buf_release(&plain);
    return j;
}

static json_t *read_letter(const json_t *j)
{
    struct ll_slice letter = octets(j, "letter"), header, body;
    json_t *parts = json_array();
    struct ll_mime m;

    ll_msg_split(letter, &header, &body);
    if (ll_mime_parse(letter, &arena, &m) != LL_MIME_OK)
        exit(65);
    for (size_t i = 0; i < m.n; i++)
        if (!(m.part[i].flags & (LL_MIME_MULTIPART | LL_MIME_MESSAGE)))
            json_array_append_new(parts, leaf(&m.part[i]));
    return json_pack("{s:o s:o s:o s:o}", "subject", field(header, LL_LIT("Subject")), "from",
                     addresses(header, LL_LIT("From")), "to", addresses(header, LL_LIT("To")),
                     "parts", parts);
}

static const struct {
    const char *name;
    json_t *(*run)(const json_t *);
} modes[] = {{"write", write_letter},
             {"read", read_letter},
             {"safe", safe_letter},
             {"protect", protect_letter}};

int main(int argc, char **argv)
{
    char *line = NULL;
    size_t room = 0, mode = 0;

    while (mode < LL_COUNT(modes) && (argc != 2 || strcmp(argv[1], modes[mode].name) != 0))
        mode++;
    charsets = ll_charset_new();
    if (mode == LL_COUNT(modes) || !charsets)
        return 64;
    while (getline(&line, &room, stdin) > 0) {
        json_t *in = json_loads(line, JSON_ALLOW_NUL, NULL), *out;

        if (!in)
            return 65;
        ll_arena_init(&arena, 256u << 20);
        out = modes[mode].run(in);
        json_dumpf(out, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(in);
        json_decref(out);
        ll_arena_release(&arena);
    }
    free(line);
    ll_charset_free(charsets);
    return 0;
}
