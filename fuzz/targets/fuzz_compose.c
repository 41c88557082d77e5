/* Whatever text goes in: what is written is safe for signing, and comes back as it went in. */
#include <stdint.h>
#include <stdlib.h>

#include "letterlock/compose.h"
#include "letterlock/mime.h"
#include "letterlock/msg.h"

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ASCII, CR LF, short lines without blanks at their end, no From_ line. */
static void check_lines(struct ll_slice s, size_t max)
{
    while (s.n) {
        size_t lf = ll_slice_find(s, '\n');
        struct ll_slice line = ll_slice_cut(s, 0, lf);

        CHECK(lf < s.n && line.n && line.p[line.n - 1] == '\r');
        line.n--;
        CHECK(line.n <= max && ll_is_ascii(line) && ll_slice_find(line, '\r') == line.n);
        CHECK(line.n == 0 || (!ll_is_blank(line.p[line.n - 1]) && !memchr(line.p, 0, line.n)));
        CHECK(!ll_slice_starts(line, LL_LIT("From ")));
        s = ll_slice_skip(s, lf + 1);
    }
}

static struct ll_slice body_of(struct ll_buf *field)
{
    struct ll_slice rest = ll_buf_slice(field);
    struct ll_msg_field f;

    CHECK(ll_msg_field_next(&rest, &f) && !f.bad && rest.n == 0);
    return f.body;
}

static void text_field(struct ll_slice in, struct ll_arena *arena)
{
    struct ll_buf out = LL_BUF(64u << 20), plain = LL_BUF(64u << 20), back = LL_BUF(64u << 20);
    struct ll_mime_run *run;
    size_t n;

    if (ll_compose_field_text(&out, "Subject", in) == LL_COMPOSE_OK) {
        check_lines(ll_buf_slice(&out), 78);
        ll_msg_unfold(body_of(&out), &plain);
        CHECK(ll_mime_words(ll_buf_slice(&plain), arena, &run, &n));
        for (size_t i = 0; i < n; i++)
            ll_buf_put_slice(&back, run[i].text);
        CHECK(ll_slice_eq(ll_buf_slice(&back), ll_slice_trim(in)));
    }
    ll_buf_release(&out);
    ll_buf_release(&plain);
    ll_buf_release(&back);
}

static void address_field(struct ll_slice in, struct ll_arena *arena)
{
    struct ll_slice rest = in, part[3] = {{0}};
    struct ll_buf out = LL_BUF(64u << 20);
    struct ll_compose_address a[3];
    struct ll_msg_address *list;
    size_t n;

    for (size_t i = 0; i < 3; i++)
        ll_slice_next(&rest, '\n', &part[i]);
    a[0] = (struct ll_compose_address){.name = part[0], .spec = LL_LIT("a@example.org")};
    a[1] = (struct ll_compose_address){.group = part[1], .spec = LL_LIT("b@example.org")};
    a[2] = (struct ll_compose_address){.name = part[0], .spec = part[2]};
    if (ll_compose_field_addresses(&out, "To", a, 3) == LL_COMPOSE_OK) {
        CHECK(ll_msg_addresses(body_of(&out), arena, &list, &n) == LL_MSG_OK);
        CHECK(n == 3 && ll_slice_eq(list[0].spec, a[0].spec));
        CHECK(ll_slice_eq(list[1].spec, a[1].spec) && !list[0].in_group && !list[2].in_group);
    }
    ll_buf_release(&out);
}

static void param(struct ll_slice in, struct ll_arena *arena)
{
    struct ll_slice none = {0};
    struct ll_buf out = LL_BUF(1u << 20);
    struct ll_mime_value v;

    CHECK(ll_compose_field_begin(&out, "Content-Disposition", LL_LIT("attachment")) ==
          LL_COMPOSE_OK);
    if (ll_compose_param(&out, "filename", in, none) == LL_COMPOSE_OK) {
        ll_buf_puts(&out, "\r\n");
        check_lines(ll_buf_slice(&out), 78);
        CHECK(ll_mime_value(body_of(&out), arena, &v));
        CHECK(ll_slice_eq(ll_mime_param(&v, "filename")->value, in));
    }
    ll_buf_release(&out);
}

/* Text with CR LF and at its end, as ll_compose_entity promises it. */
static void wire(struct ll_slice in, struct ll_buf *out)
{
    for (size_t i = 0; i < in.n; i++) {
        if (in.p[i] == '\r' || in.p[i] == '\n') {
            ll_buf_puts(out, "\r\n");
            i += in.p[i] == '\r' && i + 1 < in.n && in.p[i + 1] == '\n';
        } else {
            ll_buf_putc(out, in.p[i]);
        }
    }
    if (out->n && out->p[out->n - 1] != '\n')
        ll_buf_puts(out, "\r\n");
}

static void entity(struct ll_slice in, struct ll_arena *arena)
{
    static const uint8_t random[LL_COMPOSE_RANDOM] = {1};
    struct ll_compose_part part = {.octets = in, .type = LL_LIT("text/plain")};
    struct ll_compose_part letter = {.octets = in, .type = LL_LIT("message/rfc822")};
    struct ll_compose_part parts[] = {part, letter};
    struct ll_compose c = {.text = in, .part = parts, .n_part = 2, .random = random};
    struct ll_buf out = LL_BUF(64u << 20), want = LL_BUF(64u << 20), back = LL_BUF(64u << 20);
    enum ll_compose_error e = ll_compose_entity(&c, &out);
    struct ll_mime m;

    if (e == LL_COMPOSE_OK) {
        CHECK(ll_is_ascii(ll_buf_slice(&out)));
        CHECK(ll_mime_parse(ll_buf_slice(&out), arena, &m) == LL_MIME_OK && m.n >= 4);
        wire(in, &want);
        CHECK(ll_mime_decode((enum ll_mime_encoding)m.part[1].encoding, m.part[1].body, &back));
        CHECK(ll_slice_eq(ll_buf_slice(&back), ll_buf_slice(&want)));
        ll_buf_clear(&back);
        CHECK(ll_mime_decode((enum ll_mime_encoding)m.part[2].encoding, m.part[2].body, &back));
        CHECK(ll_slice_eq(ll_buf_slice(&back), in));
    }
    c.n_part = 0;
    c.flowed = true;
    ll_buf_clear(&out);
    if (ll_compose_entity(&c, &out) == LL_COMPOSE_OK)
        check_lines(ll_buf_slice(&out), 78);
    ll_buf_release(&out);
    ll_buf_release(&want);
    ll_buf_release(&back);
}

static void from_letter(struct ll_slice in)
{
    struct ll_buf trace = LL_BUF(64u << 20), fields = LL_BUF(64u << 20),
                  content = LL_BUF(64u << 20);
    struct ll_msg_field f;

    if (ll_compose_from_letter(in, &trace, &fields, &content) == LL_COMPOSE_OK) {
        CHECK(!ll_msg_field_find(ll_buf_slice(&fields), LL_LIT("Bcc"), &f));
        CHECK(!ll_msg_field_find(ll_buf_slice(&trace), LL_LIT("Resent-Bcc"), &f));
        CHECK(!ll_msg_field_find(ll_buf_slice(&fields), LL_LIT("MIME-Version"), &f));
    }
    ll_buf_release(&trace);
    ll_buf_release(&fields);
    ll_buf_release(&content);
}

/* Decoding is bounded; what was encoded is decoded as it was, but for blanks at the ends of lines.
 */
static void flowed(struct ll_slice in)
{
    struct ll_buf once = LL_BUF(64u << 20), twice = LL_BUF(64u << 20), back = LL_BUF(64u << 20);

    ll_flowed_decode(in, in.n % 2 == 1, &once);
    CHECK(once.n <= 2 * in.n + 4);
    ll_buf_clear(&once);
    ll_flowed_encode(in, &once);
    ll_flowed_decode(ll_buf_slice(&once), false, &back);
    ll_flowed_encode(ll_buf_slice(&back), &twice);
    CHECK(ll_slice_eq(ll_buf_slice(&once), ll_buf_slice(&twice)));
    ll_buf_release(&once);
    ll_buf_release(&twice);
    ll_buf_release(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ll_slice in = ll_slice(data, size);
    struct ll_arena arena;
    int64_t t;

    ll_arena_init(&arena, 256u << 20);
    text_field(in, &arena);
    address_field(in, &arena);
    param(in, &arena);
    entity(in, &arena);
    from_letter(in);
    flowed(in);
    ll_msg_date(in, &t, NULL);
    ll_arena_release(&arena);
    return 0;
}
