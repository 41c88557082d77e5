/* Fields with parameters: Content-Type, Content-Disposition. See include/letterlock/mime.h. */
#include "letterlock/mime.h"

/* A parameter as it stands in the field: `name*index*`, RFC 2231 3 and 4. */
struct raw_param {
    struct ll_slice name; /* lower case, without marks; in the arena */
    struct ll_slice text; /* without quotes; in the arena where quoted */
    uint32_t index;       /* of a continuation; NO_INDEX: whole */
    bool extended;        /* percent-encoded */
    bool used;
};

#define NO_INDEX UINT32_MAX

struct reader {
    struct ll_slice in;
    size_t i;
    struct ll_arena *arena;
    struct raw_param raw[LL_MIME_PARAMS_MAX];
    size_t n_raw;
};

static bool at_end(const struct reader *r)
{
    return r->i >= r->in.n;
}

static bool is_lwsp(uint8_t c)
{
    return ll_is_blank(c) || c == '\r' || c == '\n';
}

/* White space and comments. A comment without end takes the rest. */
static void skip_cfws(struct reader *r)
{
    size_t depth = 0;

    for (; !at_end(r); r->i++) {
        uint8_t c = r->in.p[r->i];

        if (c == '(')
            depth++;
        else if (c == ')' && depth)
            depth--;
        else if (c == '\\' && depth)
            r->i++;
        else if (!depth && !is_lwsp(c))
            return;
    }
}

/* RFC 2045 5.1 tspecials; here "/", "=", ":", "?" and "@" inside values are let through, as they
 * stand there often enough without quotes. */
static bool ends_token(uint8_t c, bool value)
{
    if (c <= 0x20 || c == 0x7f || c == ';' || c == '"' || c == '(' || c == ')')
        return true;
    return !value && (c == '=' || c == '/' || c == ',');
}

static struct ll_slice token(struct reader *r, bool value)
{
    size_t from = r->i;

    while (!at_end(r) && !ends_token(r->in.p[r->i], value))
        r->i++;
    return ll_slice_cut(r->in, from, r->i);
}

/* The inside of a quoted string at the cursor, folds taken out; one without end takes the rest. */
static struct ll_slice quoted(struct reader *r)
{
    size_t end = ++r->i, n = 0;
    uint8_t *p;

    while (end < r->in.n && r->in.p[end] != '"')
        end += r->in.p[end] == '\\' ? 2 : 1;
    if (end > r->in.n)
        end = r->in.n;
    p = ll_arena_alloc(r->arena, end - r->i + 1);
    for (; p && r->i < end; r->i++) {
        if (r->in.p[r->i] == '\\' && r->i + 1 < end && !is_lwsp(r->in.p[r->i + 1]))
            r->i++;
        if (r->in.p[r->i] != '\r' && r->in.p[r->i] != '\n')
            p[n++] = r->in.p[r->i];
    }
    r->i = end + 1;
    return ll_slice(p, p ? n : 0);
}

/* Takes the marks off a name: "title*1*" is title, continuation 1, percent-encoded. */
static void read_marks(struct raw_param *p)
{
    size_t star;
    uint64_t index;

    if (p->name.n && p->name.p[p->name.n - 1] == '*') {
        p->extended = true;
        p->name.n--;
    }
    star = ll_slice_rfind(p->name, '*');
    if (star < p->name.n && ll_slice_u64(ll_slice_skip(p->name, star + 1), &index) &&
        index < LL_MIME_PARAMS_MAX) {
        p->index = (uint32_t)index;
        p->name.n = star;
    }
}

static bool read_param(struct reader *r)
{
    struct raw_param p = {.index = NO_INDEX};
    struct ll_slice name = token(r, false);
    uint8_t *lower;

    skip_cfws(r);
    if (at_end(r) || r->in.p[r->i] != '=' || name.n == 0) {
        if (!at_end(r) && name.n == 0)
            r->i++; /* no parameter: on */
        return true;
    }
    r->i++;
    skip_cfws(r);
    if (at_end(r))
        return true;
    p.text = r->in.p[r->i] == '"' ? quoted(r) : token(r, true);
    lower = ll_arena_alloc(r->arena, name.n + 1);
    if (!lower || (p.text.n && !p.text.p))
        return false;
    for (size_t i = 0; i < name.n; i++)
        lower[i] = ll_lower(name.p[i]);
    p.name = ll_slice(lower, name.n);
    read_marks(&p);
    if (r->n_raw < LL_MIME_PARAMS_MAX)
        r->raw[r->n_raw++] = p;
    return true;
}

/* ---- RFC 2231 -----------------------------------------------------------------------------------
 */

/* charset'language'text: takes the first two off. */
static void take_charset(struct ll_slice *text, struct ll_mime_param *ret)
{
    size_t one = ll_slice_find(*text, '\'');
    size_t two = one + 1 + ll_slice_find(ll_slice_skip(*text, one + 1), '\'');

    if (one >= text->n || two >= text->n)
        return;
    ret->charset = ll_slice_cut(*text, 0, one);
    ret->language = ll_slice_cut(*text, one + 1, two);
    *text = ll_slice_skip(*text, two + 1);
}

static void put_percent(struct ll_buf *out, struct ll_slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '%' || !ll_hex_decode(out, ll_slice_cut(s, i + 1, i + 3)) || i + 2 >= s.n)
            ll_buf_putc(out, s.p[i]);
        else
            i += 2;
    }
}

static struct raw_param *find(struct reader *r, struct ll_slice name, uint32_t index)
{
    for (size_t i = 0; i < r->n_raw; i++)
        if (r->raw[i].index == index && !r->raw[i].used && ll_slice_eq(r->raw[i].name, name))
            return &r->raw[i];
    return NULL;
}

/* The continuations of a name from 0 to the first that is missing; or the whole, extended form
 * before the plain one, so that old programs and new ones may be told different things. */
static struct raw_param *first_of(struct reader *r, struct ll_slice name)
{
    struct raw_param *plain = NULL;

    for (size_t i = 0; i < r->n_raw; i++) {
        struct raw_param *p = &r->raw[i];

        if (!ll_slice_eq(p->name, name) || p->used)
            continue;
        if (p->index == NO_INDEX && p->extended)
            return p;
        if (p->index == NO_INDEX && !plain)
            plain = p;
    }
    if (find(r, name, 0))
        return find(r, name, 0);
    return plain;
}

/* *ret without a value: there is none under that name, or it is too long. */
static void join(struct reader *r, struct ll_slice name, struct ll_mime_param *ret)
{
    struct ll_buf out = LL_BUF(LL_MIME_VALUE_MAX);
    struct raw_param *p = first_of(r, name);

    *ret = (struct ll_mime_param){.name = name};
    if (!p)
        return;
    if (p->extended)
        take_charset(&p->text, ret);
    for (uint32_t index = p->index; p; p = index == NO_INDEX ? NULL : find(r, name, ++index)) {
        if (p->extended)
            put_percent(&out, p->text);
        else
            ll_buf_put_slice(&out, p->text);
        p->used = true;
    }
    if (!out.failed)
        ret->value = ll_arena_dup(r->arena, ll_buf_slice(&out));
    ll_buf_release(&out);
}

static bool have(const struct ll_mime_value *v, struct ll_slice name)
{
    for (size_t i = 0; i < v->n_param; i++)
        if (ll_slice_eq(v->param[i].name, name))
            return true;
    return false;
}

static bool join_all(struct reader *r, struct ll_mime_value *ret)
{
    ret->param = ll_arena_alloc(r->arena, (r->n_raw + 1) * sizeof(*ret->param));
    if (!ret->param)
        return false;
    for (size_t i = 0; i < r->n_raw; i++) {
        struct ll_mime_param *p = &ret->param[ret->n_param];

        if (have(ret, r->raw[i].name))
            continue;
        join(r, r->raw[i].name, p);
        if (p->value.p)
            ret->n_param++;
    }
    return true;
}

bool ll_mime_value(struct ll_slice body, struct ll_arena *arena, struct ll_mime_value *ret)
{
    struct reader r = {.in = body, .arena = arena};
    struct ll_mime_value v = {0};

    skip_cfws(&r);
    v.type = token(&r, false);
    skip_cfws(&r);
    if (!at_end(&r) && r.in.p[r.i] == '/') {
        r.i++;
        skip_cfws(&r);
        v.subtype = token(&r, false);
    }
    if (v.type.n == 0)
        return false;
    for (skip_cfws(&r); !at_end(&r); skip_cfws(&r)) {
        if (r.in.p[r.i] == ';')
            r.i++;
        else if (!read_param(&r))
            return false;
    }
    if (!join_all(&r, &v))
        return false;
    *ret = v;
    return true;
}

const struct ll_mime_param *ll_mime_param(const struct ll_mime_value *v, const char *name)
{
    for (size_t i = 0; i < v->n_param; i++)
        if (ll_slice_eq(v->param[i].name, ll_slice_str(name)))
            return &v->param[i];
    return NULL;
}
