/* Protected fields written (RFC 9788 5). See include/letterlock/protect.h. */
#include "compose_write.h"
#include "protect.h"

#define NAME_MAX   70
#define HP_OUTER   "HP-Outer:"
#define OBSCURED   "[...]"
#define LINE_BREAK "\r\n"

struct writer {
    const struct ll_protect *p;
    struct ll_buf *inner, *outer;
    struct ll_buf display; /* UTF-8 lines of hidden fields, for the text */
    struct ll_arena arena;
    struct ll_mime mime; /* of the entity */
    bool *is_main;       /* per part: a text that people see first */
};

/* ---- policies (RFC 9788 3)
 * ------------------------------------------------------------------------
 */

/* What may stand outside. */
enum veil { AS_IS, DOTS, ABSENT, BARE_ADDRESSES, UTC };

/* ROW: name, veil under the shy policy (and when an answer must hide it), also under baseline. */
static const struct {
    const char *name;
    enum veil veil;
    bool baseline;
} veils[] = {
    {"Subject", DOTS, true},       {"Comments", ABSENT, true},
    {"Keywords", ABSENT, true},    {"From", BARE_ADDRESSES, false},
    {"To", BARE_ADDRESSES, false}, {"Cc", BARE_ADDRESSES, false},
    {"Date", UTC, false},
};

static bool must_hide(const struct ll_protect *p, struct ll_slice name)
{
    for (size_t i = 0; i < p->n_hide; i++) {
        struct ll_slice h = p->hide[i];

        if (ll_slice_ends(h, LL_LIT("-")) ? ll_slice_casestarts(name, h) : ll_slice_caseeq(name, h))
            return true;
    }
    return false;
}

static enum veil veil_of(const struct ll_protect *p, struct ll_slice name)
{
    bool hide = must_hide(p, name);

    if (!p->cipher)
        return AS_IS;
    for (size_t i = 0; i < LL_COUNT(veils); i++) {
        if (!ll_slice_caseeq(name, ll_slice_str(veils[i].name)))
            continue;
        if (hide || p->policy == LL_PROTECT_POLICY_SHY ||
            (p->policy == LL_PROTECT_POLICY_BASELINE && veils[i].baseline))
            return veils[i].veil;
        return AS_IS;
    }
    return hide ? ABSENT : AS_IS;
}

/* An address list without names. false: it is none, and stays as it is. */
static bool put_bare(struct ll_buf *out, const struct ll_msg_field *f, struct ll_arena *arena)
{
    struct ll_buf name = LL_BUF(NAME_MAX + 1);
    struct ll_compose_address *to = NULL;
    struct ll_msg_address *list;
    const char *s;
    size_t n = 0;
    bool ok;

    ll_buf_put_slice(&name, f->name);
    s = ll_buf_str(&name);
    ok = s && ll_msg_addresses(f->body, arena, &list, &n) == LL_MSG_OK && n;
    if (ok)
        to = ll_arena_alloc(arena, n * sizeof(*to));
    for (size_t i = 0; to && i < n; i++)
        to[i].spec = list[i].spec;
    ok = to && ll_compose_field_addresses(out, s, to, n) == LL_COMPOSE_OK;
    ll_buf_release(&name);
    return ok;
}

static void put_raw(struct ll_buf *out, const struct ll_msg_field *f)
{
    ll_buf_put_slice(out, f->raw);
    if (f->raw.p[f->raw.n - 1] != '\n')
        ll_buf_puts(out, LINE_BREAK);
}

/* Appends what stands outside for this field; false: nothing does. */
static bool put_veiled(struct writer *w, const struct ll_msg_field *f, struct ll_buf *out)
{
    int64_t unix_s;

    switch (veil_of(w->p, f->name)) {
    case ABSENT:
        return false;
    case DOTS:
        ll_buf_put_slice(out, f->name);
        ll_buf_puts(out, ": " OBSCURED LINE_BREAK);
        return true;
    case BARE_ADDRESSES:
        if (!put_bare(out, f, &w->arena))
            put_raw(out, f);
        return true;
    case UTC:
        if (ll_msg_date(f->body, &unix_s, NULL))
            ll_msg_date_put(out, unix_s);
        else
            put_raw(out, f);
        return true;
    case AS_IS:
        put_raw(out, f);
    }
    return true;
}

/* ---- fields
 * ---------------------------------------------------------------------------------------
 */

/* "HP-Outer: Subject: [...]": the outer field with a name before it (RFC 9788 2.2). */
static void put_hp_outer(struct ll_buf *out, struct ll_slice field)
{
    size_t line = ll_slice_find(field, '\r');

    ll_buf_puts(out, HP_OUTER);
    if (sizeof(HP_OUTER) + line > LL_MSG_LINE_GOOD)
        ll_buf_puts(out, LINE_BREAK);
    ll_buf_putc(out, ' ');
    ll_buf_put_slice(out, field);
}

/* "Subject: Grüße" for the text, words decoded where they are in UTF-8. */
static void put_display(struct writer *w, const struct ll_msg_field *f)
{
    struct ll_buf plain = LL_BUF(LL_MSG_HEADER_MAX);
    struct ll_mime_run *run = NULL;
    size_t n = 0, start = w->display.n;
    bool known = true;

    ll_msg_unfold(f->body, &plain);
    ll_buf_put_slice(&w->display, f->name);
    ll_buf_puts(&w->display, ": ");
    if (!ll_mime_words(ll_buf_slice(&plain), &w->arena, &run, &n))
        w->display.failed = true;
    for (size_t i = 0; i < n; i++)
        known = known && ll_utf8_valid(run[i].text) &&
                (run[i].charset.n == 0 || ll_is_ascii(run[i].text) ||
                 ll_slice_caseeq(run[i].charset, LL_LIT("utf-8")));
    for (size_t i = 0; i < n && known; i++)
        for (size_t j = 0; j < run[i].text.n; j++) {
            uint8_t c = run[i].text.p[j];

            ll_buf_putc(&w->display, c < 0x20 || c == 0x7f ? ' ' : c);
        }
    if (!known)
        ll_buf_put_slice(&w->display, ll_buf_slice(&plain));
    while (w->display.n > start && w->display.p[w->display.n - 1] == ' ')
        w->display.n--;
    ll_buf_puts(&w->display, LINE_BREAK);
    ll_buf_release(&plain);
}

static enum ll_protect_error put_fields(struct writer *w, struct ll_buf *hp_outer)
{
    struct ll_slice rest = w->p->fields;
    struct ll_msg_field f;

    while (ll_msg_field_next(&rest, &f)) {
        size_t start = w->outer->n;
        bool shown;

        if (f.bad)
            return LL_PROTECT_FIELD;
        if (ll_protect_is_structural(f.name))
            continue;
        put_raw(w->inner, &f);
        shown = put_veiled(w, &f, w->outer);
        if (w->outer->failed)
            return LL_PROTECT_RESOURCE;
        if (w->p->cipher && shown)
            put_hp_outer(hp_outer, ll_slice(w->outer->p + start, w->outer->n - start));
        if (w->p->cipher && w->p->legacy_display && ll_protect_is_user_facing(f.name) &&
            veil_of(w->p, f.name) != AS_IS)
            put_display(w, &f);
    }
    return LL_PROTECT_OK;
}

/* ---- content
 * --------------------------------------------------------------------------------------
 */

/* RFC 9788 5.2.4: the texts that a program shows as the letter's own: the root, or the first part
 * of what is mixed or related, or all that are alternatives, and so on within. */
static void find_main(struct writer *w)
{
    bool *is = w->is_main;

    is[0] = true;
    for (size_t i = 0; i < w->mime.n; i++) {
        const struct ll_mime_part *p = &w->mime.part[i];
        bool all = ll_mime_is(p, "multipart", "alternative");
        bool first = ll_mime_is(p, "multipart", "mixed") || ll_mime_is(p, "multipart", "related");

        if (!is[i])
            continue;
        if ((all || first) && p->child != LL_MIME_NONE) {
            for (uint16_t c = p->child; c != LL_MIME_NONE;
                 c = all ? w->mime.part[c].next : LL_MIME_NONE)
                is[c] = true;
        }
        is[i] = ll_mime_is(p, "text", "plain") || ll_mime_is(p, "text", "html");
    }
}

/* Can the display lines stand in this text: has it, or may it have, their charset? */
static bool takes_display(struct writer *w, const struct ll_mime_part *p)
{
    const struct ll_mime_param *charset = ll_mime_param(&p->type, "charset");
    struct ll_slice name = charset ? charset->value : LL_LIT("us-ascii");

    return p->encoding != LL_MIME_UNKNOWN_ENCODING &&
           (ll_is_ascii(ll_buf_slice(&w->display)) || ll_slice_caseeq(name, LL_LIT("utf-8")) ||
            ll_slice_caseeq(name, LL_LIT("us-ascii")));
}

/* The Content- fields of a part, its Content-Type written anew. display: its transfer encoding is
 * going to change, and stays out. */
static enum ll_protect_error put_content_fields(struct writer *w, const struct ll_mime_part *p,
                                                const char *hp, bool display)
{
    static const char *const all[] = {"hp", "hp-legacy-display", "protected-headers", NULL};
    static const char *const and_charset[] = {"hp", "hp-legacy-display", "protected-headers",
                                              "charset", NULL};
    struct ll_slice rest = p->header, none = {0};
    bool utf8 = display && !ll_is_ascii(ll_buf_slice(&w->display));
    struct ll_msg_field f;

    if (ll_compose_put_value(w->inner, "Content-Type", &p->type, utf8 ? and_charset : all))
        return w->inner->failed ? LL_PROTECT_RESOURCE : LL_PROTECT_ENTITY;
    if (utf8)
        ll_compose_param(w->inner, "charset", LL_LIT("utf-8"), none);
    if (hp)
        ll_buf_printf(w->inner, ";\r\n hp=\"%s\"", hp);
    if (hp && w->p->cipher) /* Thunderbird shows the Subject for this alone */
        ll_buf_puts(w->inner, "; protected-headers=\"v1\"");
    if (display)
        ll_buf_puts(w->inner, "; hp-legacy-display=\"1\"");
    ll_buf_puts(w->inner, LINE_BREAK);
    while (ll_msg_field_next(&rest, &f)) {
        if (f.bad || !ll_slice_casestarts(f.name, LL_LIT("Content-")) ||
            ll_slice_caseeq(f.name, LL_LIT("Content-Type")) ||
            (display && ll_slice_caseeq(f.name, LL_LIT("Content-Transfer-Encoding"))))
            continue;
        put_raw(w->inner, &f);
    }
    return LL_PROTECT_OK;
}

/* RFC 9788 2.1.2 and 5.2: in HTML a <div> at the top of the body. */
static void put_html_display(struct writer *w, struct ll_slice html, struct ll_buf *out)
{
    struct ll_slice body = LL_LIT("<body"), lines = ll_buf_slice(&w->display);
    size_t at = 0;

    while (at < html.n && !ll_slice_casestarts(ll_slice_skip(html, at), body))
        at++;
    at = at < html.n ? at + ll_slice_find(ll_slice_skip(html, at), '>') + 1 : 0;
    ll_buf_put_slice(out, ll_slice_cut(html, 0, at));
    ll_buf_puts(out, "<div class=\"" LL_PROTECT_DISPLAY_CLASS "\"><pre>\r\n");
    for (size_t i = 0; i < lines.n; i++) {
        if (lines.p[i] == '<')
            ll_buf_puts(out, "&lt;");
        else if (lines.p[i] == '>')
            ll_buf_puts(out, "&gt;");
        else if (lines.p[i] == '&')
            ll_buf_puts(out, "&amp;");
        else
            ll_buf_putc(out, lines.p[i]);
    }
    ll_buf_puts(out, "</pre></div>\r\n");
    ll_buf_put_slice(out, ll_slice_skip(html, at));
}

static void put_display_body(struct writer *w, const struct ll_mime_part *p)
{
    struct ll_buf plain = LL_BUF(p->body.n + 1);
    struct ll_buf text = LL_BUF(p->body.n + 6 * w->display.n + 256);

    ll_mime_decode((enum ll_mime_encoding)p->encoding, p->body, &plain);
    if (ll_mime_is(p, "text", "html")) {
        put_html_display(w, ll_buf_slice(&plain), &text);
    } else {
        ll_buf_put_slice(&text, ll_buf_slice(&w->display));
        ll_buf_puts(&text, LINE_BREAK);
        ll_buf_put_slice(&text, ll_buf_slice(&plain));
    }
    w->inner->failed |= plain.failed || text.failed;
    ll_compose_put_text(w->inner, ll_buf_slice(&text));
    ll_buf_release(&plain);
    ll_buf_release(&text);
}

/* What lies between two octets of the entity, as it is. */
static const uint8_t *put_up_to(struct writer *w, const uint8_t *at, const uint8_t *to)
{
    ll_buf_put(w->inner, at, (size_t)(to - at));
    return to;
}

/* The body of the root, with the display lines in the parts where they belong. */
static enum ll_protect_error put_body(struct writer *w)
{
    const struct ll_mime_part *root = &w->mime.part[0];
    const uint8_t *at = root->body.p, *end = root->body.p + root->body.n;

    for (size_t i = 1; i < w->mime.n; i++) {
        const struct ll_mime_part *p = &w->mime.part[i];
        enum ll_protect_error e;

        if (w->display.n == 0 || !w->is_main[i] || !takes_display(w, p) || p->whole.n == 0)
            continue;
        at = put_up_to(w, at, p->whole.p);
        e = put_content_fields(w, p, NULL, true);
        if (e)
            return e;
        put_display_body(w, p);
        at = p->whole.p + p->whole.n;
    }
    put_up_to(w, at, end);
    return LL_PROTECT_OK;
}

static enum ll_protect_error put_all(struct writer *w, struct ll_buf *hp_outer)
{
    const struct ll_mime_part *root = &w->mime.part[0];
    struct ll_buf fields = LL_BUF(w->inner->max), *inner = w->inner;
    enum ll_protect_error e;
    bool display;

    w->inner = &fields;
    e = put_fields(w, hp_outer);
    w->inner = inner;
    display = w->display.n && w->is_main[0] && takes_display(w, root);
    if (!e)
        e = put_content_fields(w, root, w->p->cipher ? "cipher" : "clear", display);
    ll_buf_put_slice(w->inner, ll_buf_slice(&fields));
    ll_buf_put_slice(w->inner, ll_buf_slice(hp_outer));
    w->inner->failed |= fields.failed || hp_outer->failed || w->display.failed;
    ll_buf_release(&fields);
    if (e)
        return e;
    if (display) {
        put_display_body(w, root); /* with its transfer encoding and the empty line */
        return LL_PROTECT_OK;
    }
    ll_buf_puts(w->inner, LINE_BREAK);
    return put_body(w);
}

enum ll_protect_error ll_protect_write(const struct ll_protect *p, struct ll_buf *inner,
                                       struct ll_buf *outer)
{
    struct writer w = {
        .p = p, .inner = inner, .outer = outer, .display = LL_BUF(LL_MSG_HEADER_MAX)};
    struct ll_buf hp_outer = LL_BUF(2 * LL_MSG_HEADER_MAX);
    enum ll_protect_error e = LL_PROTECT_OK;
    struct ll_msg_facts facts;

    if (ll_msg_facts(p->fields, &facts) != LL_MSG_OK)
        return LL_PROTECT_FIELDS;
    ll_arena_init(&w.arena, 64u << 20);
    if (ll_mime_parse(p->entity, &w.arena, &w.mime) != LL_MIME_OK)
        e = LL_PROTECT_ENTITY;
    if (!e) {
        w.is_main = ll_arena_alloc(&w.arena, w.mime.n * sizeof(*w.is_main));
        e = w.is_main ? LL_PROTECT_OK : LL_PROTECT_RESOURCE;
    }
    if (!e) {
        find_main(&w);
        e = put_all(&w, &hp_outer);
    }
    ll_buf_puts(outer, "MIME-Version: 1.0" LINE_BREAK);
    if (!e && (inner->failed || outer->failed || w.display.failed))
        e = LL_PROTECT_RESOURCE;
    ll_buf_release(&w.display);
    ll_buf_release(&hp_outer);
    ll_arena_release(&w.arena);
    return e;
}
