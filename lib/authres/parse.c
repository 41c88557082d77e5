/* Reading Authentication-Results (RFC 8601 2.2). See letterlock/authres.h. */
#include "letterlock/authres.h"

struct reader {
    struct ll_slice in;
    size_t at;
    struct ll_arena *arena;
    bool failed; /* no memory, or too much */
};

static bool is_fws(uint8_t c)
{
    return ll_is_blank(c) || c == '\r' || c == '\n';
}

/* RFC 2045 5.1 token, and UTF-8 (RFC 8601 5: EAI). */
static bool is_token(uint8_t c)
{
    return c >= 0x80 || (c > ' ' && c < 0x7f && !strchr("()<>@,;:\\\"/[]?=", c));
}

static uint8_t peek(const struct reader *r)
{
    return r->at < r->in.n ? r->in.p[r->at] : 0;
}

static bool take(struct reader *r, char c)
{
    if (r->at == r->in.n || r->in.p[r->at] != (uint8_t)c)
        return false;
    r->at++;
    return true;
}

/* [CFWS]; false: a comment that does not end, or nests too deep. */
static bool cfws(struct reader *r)
{
    unsigned depth = 0;

    for (; r->at < r->in.n; r->at++) {
        uint8_t c = r->in.p[r->at];

        if (c == '(' && ++depth > LL_AUTHRES_DEPTH_MAX)
            return false;
        if (depth == 0 && !is_fws(c))
            return true;
        if (c == ')')
            depth--;
        if (depth > 0 && c == '\\')
            r->at++;
        if (depth > 0 && c == 0)
            return false;
    }
    if (r->at > r->in.n)
        r->at = r->in.n;
    return depth == 0;
}

static bool token(struct reader *r, struct ll_slice *ret)
{
    size_t from = r->at;

    while (r->at < r->in.n && is_token(r->in.p[r->at]))
        r->at++;
    *ret = ll_slice_cut(r->in, from, r->at);
    return ret->n > 0;
}

/* Keyword: letters, digits, hyphens, and the underscores and dots that are in use. */
static bool keyword(struct reader *r, bool dots, struct ll_slice *ret)
{
    size_t from = r->at;

    while (r->at < r->in.n &&
           (ll_is_alnum(peek(r)) || peek(r) == '-' || peek(r) == '_' || (dots && peek(r) == '.')))
        r->at++;
    *ret = ll_slice_cut(r->in, from, r->at);
    return ret->n > 0;
}

/* Appends a quoted string's meaning. Folds inside go, blanks stay. */
static bool quoted(struct reader *r, struct ll_buf *out)
{
    if (!take(r, '"'))
        return false;
    while (r->at < r->in.n) {
        uint8_t c = r->in.p[r->at++];

        if (c == '"')
            return true;
        if (c == '\\' && r->at < r->in.n)
            c = r->in.p[r->at++];
        if (c == 0)
            return false;
        if (c != '\r' && c != '\n')
            ll_buf_putc(out, c);
    }
    return false;
}

static bool keep(struct reader *r, struct ll_buf *b, struct ll_slice *ret)
{
    *ret = ll_arena_dup(r->arena, ll_buf_slice(b));
    if (b->failed || !ret->p)
        r->failed = true;
    return !r->failed;
}

/* value: a token or a quoted string (RFC 2045 5.1). */
static bool value(struct reader *r, struct ll_slice *ret)
{
    struct ll_buf b = LL_BUF(65536);
    bool ok;

    if (peek(r) != '"')
        return token(r, ret);
    ok = quoted(r, &b) && keep(r, &b, ret);
    ll_buf_release(&b);
    return ok;
}

/* pvalue, and more than it: see header. */
static bool pvalue(struct reader *r, struct ll_slice *ret)
{
    struct ll_buf b = LL_BUF(65536);
    size_t from = r->at;
    bool ok = true;

    while (ok && r->at < r->in.n) {
        uint8_t c = peek(r);

        if (c == '"') {
            ok = quoted(r, &b);
        } else if (c > ' ' && c != 0x7f && c != ';' && c != '(') {
            ll_buf_putc(&b, c);
            r->at++;
        } else {
            break;
        }
    }
    ok = ok && r->at > from && keep(r, &b, ret);
    ll_buf_release(&b);
    return ok;
}

static bool number(struct reader *r, uint64_t *ret)
{
    size_t from = r->at;

    while (ll_is_digit(peek(r)))
        r->at++;
    return ll_slice_u64(ll_slice_cut(r->in, from, r->at), ret);
}

/* authserv-id [CFWS version] */
static bool id(struct reader *r, struct ll_slice *ret, uint64_t *ret_version)
{
    *ret_version = 1;
    if (!cfws(r) || !value(r, ret) || !cfws(r))
        return false;
    return !ll_is_digit(peek(r)) || (number(r, ret_version) && cfws(r));
}

/* "reason" [CFWS] "=" [CFWS] value; nothing is taken where it is none. */
static bool reason(struct reader *r, struct ll_authres_result *result)
{
    struct reader ahead = *r;
    struct ll_slice word;

    if (!keyword(&ahead, false, &word) || !ll_slice_caseeq(word, LL_LIT("reason")) ||
        !cfws(&ahead) || !take(&ahead, '='))
        return true; /* a property */
    *r = ahead;
    return cfws(r) && value(r, &result->reason) && cfws(r);
}

static bool property(struct reader *r, struct ll_authres_property *ret)
{
    return keyword(r, false, &ret->type) && cfws(r) && take(r, '.') && cfws(r) &&
           keyword(r, true, &ret->name) && cfws(r) && take(r, '=') && cfws(r) &&
           pvalue(r, &ret->value) && cfws(r);
}

static bool properties(struct reader *r, struct ll_authres_property *all, size_t *used,
                       struct ll_authres_result *result)
{
    result->property = all + *used;
    while (r->at < r->in.n && peek(r) != ';') {
        if (*used == LL_AUTHRES_PROPERTIES_MAX || !property(r, all + *used))
            return false;
        result->properties++;
        (*used)++;
    }
    return true;
}

/* methodspec [reasonspec] *propspec */
static bool resinfo(struct reader *r, struct ll_authres_property *all, size_t *used,
                    struct ll_authres_result *result)
{
    result->version = 1;
    if (!keyword(r, false, &result->method) || !cfws(r))
        return false;
    if (take(r, '/') && (!cfws(r) || !number(r, &result->version) || !cfws(r)))
        return false;
    return take(r, '=') && cfws(r) && keyword(r, false, &result->result) && cfws(r) &&
           reason(r, result) && properties(r, all, used, result);
}

/* "none", alone (RFC 8601 2.2 no-result). */
static bool no_result(struct reader *r)
{
    struct reader ahead = *r;
    struct ll_slice word;

    if (!keyword(&ahead, false, &word) || !ll_slice_caseeq(word, LL_LIT("none")) || !cfws(&ahead) ||
        ahead.at != ahead.in.n)
        return false;
    *r = ahead;
    return true;
}

static bool parse(struct reader *r, struct ll_authres *ret)
{
    struct ll_authres_property *all =
        ll_arena_alloc(r->arena, LL_AUTHRES_PROPERTIES_MAX * sizeof(*all));
    size_t used = 0;

    ret->result = ll_arena_alloc(r->arena, LL_AUTHRES_RESULTS_MAX * sizeof(*ret->result));
    if (!all || !ret->result || !id(r, &ret->id, &ret->version))
        return false;
    while (r->at < r->in.n) {
        if (!take(r, ';') || !cfws(r))
            return false;
        if (r->at == r->in.n && ret->results > 0)
            return true; /* a ";" at the end */
        if (ret->results == 0 && no_result(r))
            return true;
        if (ret->results == LL_AUTHRES_RESULTS_MAX ||
            !resinfo(r, all, &used, &ret->result[ret->results]))
            return false;
        ret->results++;
    }
    return ret->results > 0;
}

bool ll_authres_parse(struct ll_slice body, struct ll_arena *arena, struct ll_authres *ret,
                      size_t *ret_at)
{
    struct reader r = {.in = body, .arena = arena};
    struct ll_authres a = {0};
    bool ok = parse(&r, &a) && !r.failed;

    if (ret_at)
        *ret_at = r.at;
    if (ok)
        *ret = a;
    return ok;
}

bool ll_authres_id(struct ll_slice body, struct ll_arena *arena, struct ll_slice *ret_id,
                   struct ll_slice *ret_rest)
{
    struct reader r = {.in = body, .arena = arena};
    struct ll_slice found;

    if (!cfws(&r) || !value(&r, &found) || r.failed)
        return false;
    /* A name has ended where something else begins; else it is a part of what we cannot read. */
    if (r.at < body.n && !is_fws(peek(&r)) && peek(&r) != ';' && peek(&r) != '(')
        return false;
    *ret_id = found;
    *ret_rest = ll_slice_skip(body, r.at);
    return true;
}

bool ll_authres_payload(struct ll_slice body, struct ll_buf *out)
{
    struct ll_arena arena;
    struct ll_authres parsed;
    struct reader r = {.in = body};
    struct ll_slice who;
    uint64_t version;
    bool blank = false, ok;
    size_t start;

    ll_arena_init(&arena, 1 << 20);
    r.arena = &arena;
    ok = ll_authres_parse(body, &arena, &parsed, NULL) && id(&r, &who, &version) && take(&r, ';');
    ll_arena_release(&arena);
    if (!ok)
        return false;
    start = out->n;
    for (; r.at < body.n; r.at++) {
        if (is_fws(body.p[r.at])) {
            blank = out->n > start;
            continue;
        }
        if (blank)
            ll_buf_putc(out, ' ');
        blank = false;
        ll_buf_putc(out, body.p[r.at]);
    }
    if (out->n > start && out->p[out->n - 1] == ';')
        out->n--;
    return !out->failed;
}

bool ll_authres_has(struct ll_slice body, struct ll_slice method, struct ll_slice result)
{
    struct ll_authres a;
    struct ll_arena arena;
    bool has = false;

    ll_arena_init(&arena, 1u << 20);
    if (ll_authres_parse(body, &arena, &a, NULL))
        for (size_t i = 0; i < a.results; i++)
            has = has || (ll_slice_caseeq(a.result[i].method, method) &&
                          ll_slice_caseeq(a.result[i].result, result));
    ll_arena_release(&arena);
    return has;
}
