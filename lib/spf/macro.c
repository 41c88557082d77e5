/*
 * Macros, RFC 7208 7. See lib/spf/internal.h.
 *
 *   macro-expand = ( "%{" macro-letter transformers *delimiter "}" ) / "%%" / "%_" / "%-"
 */
#include "letterlock/addr.h"
#include "lib/spf/internal.h"

#define DELIMITERS ".-+,/_="
#define LETTERS    "slodipvhcrt"
#define EXP_ONLY   "crt" /* 7.2 */
#define VALUE_ROOM (LL_SPF_VALUE_MAX + 1)

/* A name being built never needs more than its end (7.3). */
#define TAIL_KEPT 1024
#define TAIL_ROOM 65536

struct piece {
    struct ll_slice text; /* as written */
    bool literal;
    char plain;  /* what "%%", "%_" stand for; '-': "%-"; 0: a macro */
    char letter; /* lower case */
    bool upper;
    bool reverse;
    size_t parts; /* right-hand parts to use; 0: all */
    struct ll_slice delimiters;
};

static bool one_of(const char *set, uint8_t c)
{
    return c != 0 && strchr(set, c) != NULL;
}

/* Inside of "%{" "}". */
static const char *read_macro(struct ll_slice in, struct piece *p)
{
    size_t i = 1;
    uint64_t digits = 0;

    if (in.n == 0 || !one_of(LETTERS, ll_lower(in.p[0])))
        return "no macro has that letter";
    p->letter = (char)ll_lower(in.p[0]);
    p->upper = ll_is_upper(in.p[0]);
    for (; i < in.n && ll_is_digit(in.p[i]); i++)
        digits = digits < VALUE_ROOM ? digits * 10 + (in.p[i] - '0') : digits;
    if (i > 1 && digits == 0)
        return "a macro's number of parts is at least 1";
    p->parts = (size_t)digits;
    if (i < in.n && ll_lower(in.p[i]) == 'r') {
        p->reverse = true;
        i++;
    }
    p->delimiters = ll_slice_skip(in, i);
    for (; i < in.n; i++)
        if (!one_of(DELIMITERS, in.p[i]))
            return "a macro ends with delimiters out of " DELIMITERS;
    return NULL;
}

/* Takes the next piece of *rest: literal text up to "%", or one macro. False: *rest is empty. */
static bool next_piece(struct ll_slice *rest, struct piece *p, const char **ret_what)
{
    size_t n = ll_slice_find(*rest, '%');

    *ret_what = NULL;
    memset(p, 0, sizeof(*p));
    if (rest->n == 0)
        return false;
    if (n > 0) {
        p->literal = true;
    } else if (rest->n > 1 && one_of("%_-", rest->p[1])) {
        n = 2;
        p->plain = (char)rest->p[1];
    } else if (rest->n > 1 && rest->p[1] == '{') {
        n = ll_slice_find(*rest, '}') + 1;
        if (n > rest->n)
            *ret_what = "a macro without \"}\"";
        else
            *ret_what = read_macro(ll_slice_cut(*rest, 2, n - 1), p);
    } else {
        *ret_what = "\"%\" begins a macro: write %{letter}, %%, %_ or %-";
    }
    p->text = ll_slice_cut(*rest, 0, n);
    *rest = ll_slice_skip(*rest, n);
    return true;
}

/* toplabel: letters, digits and inner hyphens, not digits alone. */
static bool toplabel(struct ll_slice s)
{
    bool digits = true;

    if (s.n == 0 || !ll_is_alnum(s.p[0]) || !ll_is_alnum(s.p[s.n - 1]))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (!ll_is_alnum(s.p[i]) && s.p[i] != '-')
            return false;
        digits = digits && ll_is_digit(s.p[i]);
    }
    return !digits;
}

/* domain-end = ( "." toplabel [ "." ] ) / macro-expand */
static const char *check_end(const struct piece *last)
{
    struct ll_slice s = last->text;
    size_t dot;

    if (!last->literal)
        return NULL;
    if (s.n > 0 && s.p[s.n - 1] == '.')
        s.n--;
    dot = ll_slice_rfind(s, '.');
    if (toplabel(ll_slice_skip(s, dot + 1)))
        return NULL;
    return "a domain ends with a macro, or with a dot and a top-level label";
}

const char *ll_spf_macro_check(struct ll_slice s, enum ll_spf_string as)
{
    struct piece p;
    const char *what;

    if (s.n == 0)
        return as == LL_SPF_DOMAIN_SPEC ? "the domain is empty" : NULL;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] > '~' || s.p[i] < (as == LL_SPF_EXPLAIN_STRING ? ' ' : '!'))
            return "an octet that is no visible ASCII character";
    while (next_piece(&s, &p, &what)) {
        if (what)
            return what;
        if (as == LL_SPF_DOMAIN_SPEC && one_of(EXP_ONLY, (uint8_t)p.letter))
            return "%{c}, %{r} and %{t} are for explanations";
        if (s.n == 0 && as == LL_SPF_DOMAIN_SPEC)
            return check_end(&p);
    }
    return NULL;
}

bool ll_spf_macro_uses(struct ll_slice s, const char *letters)
{
    struct piece p;
    const char *what;

    while (next_piece(&s, &p, &what))
        if (one_of(letters, (uint8_t)p.letter))
            return true;
    return false;
}

/* ---- expansion ---------------------------------------------------------------------------------
 */

/* %{i}: dotted quad, or the 32 nibbles of an IPv6 address with dots between. */
static void put_ip(const struct ll_spf_values *v, struct ll_buf *out)
{
    static const char hex[] = "0123456789ABCDEF";

    if (v->ip_n == 4) {
        ll_ip_put(v->ip, 4, out);
        return;
    }
    for (size_t i = 0; i < 16; i++)
        ll_buf_printf(out, "%s%c.%c", i ? "." : "", hex[v->ip[i] >> 4], hex[v->ip[i] & 15]);
}

static void put_value(const struct ll_spf_values *v, char letter, struct ll_buf *out)
{
    const struct {
        char letter;
        struct ll_slice value;
    } rows[] = {{'s', v->sender}, {'l', v->local},     {'o', v->origin},  {'d', v->domain},
                {'h', v->helo},   {'p', v->validated}, {'r', v->receiver}};

    if (letter == 'i')
        put_ip(v, out);
    else if (letter == 'c')
        ll_ip_put(v->ip, v->ip_n, out);
    else if (letter == 'v')
        ll_buf_puts(out, v->ip_n == 4 ? "in-addr" : "ip6");
    else if (letter == 't')
        ll_buf_printf(out, "%lld", (long long)v->unix_s);
    for (size_t i = 0; i < LL_COUNT(rows); i++)
        if (rows[i].letter == letter)
            ll_buf_put_slice(out, rows[i].value);
}

static bool is_delimiter(const struct piece *p, uint8_t c)
{
    return p->delimiters.n == 0 ? c == '.' : ll_slice_find(p->delimiters, c) < p->delimiters.n;
}

/* Splits, reverses, keeps the right-hand parts, joins with dots (7.3). */
static void transform(const struct piece *p, struct ll_slice in, struct ll_buf *out)
{
    struct ll_slice part[VALUE_ROOM + 1];
    size_t n = 0, from = 0, first;

    for (size_t i = 0; i <= in.n && n < LL_COUNT(part); i++)
        if (i == in.n || is_delimiter(p, in.p[i])) {
            part[n++] = ll_slice_cut(in, from, i);
            from = i + 1;
        }
    first = p->parts == 0 || p->parts > n ? 0 : n - p->parts;
    for (size_t i = first; i < n; i++) {
        if (i > first)
            ll_buf_putc(out, '.');
        ll_buf_put_slice(out, part[p->reverse ? n - 1 - i : i]);
    }
}

/* RFC 3986 2.1: all but the unreserved set. */
static void put_url(struct ll_slice s, struct ll_buf *out)
{
    for (size_t i = 0; i < s.n; i++) {
        if (ll_is_alnum(s.p[i]) || one_of("-._~", s.p[i]))
            ll_buf_putc(out, s.p[i]);
        else
            ll_buf_printf(out, "%%%02X", s.p[i]);
    }
}

static void put_macro(const struct ll_spf_values *v, const struct piece *p, struct ll_buf *out)
{
    struct ll_buf value = LL_BUF(VALUE_ROOM), turned = LL_BUF(VALUE_ROOM);

    put_value(v, p->letter, &value);
    if (p->parts > 0 || p->reverse || p->delimiters.n > 0)
        transform(p, ll_buf_slice(&value), &turned);
    else
        ll_buf_put_slice(&turned, ll_buf_slice(&value));
    if (p->upper)
        put_url(ll_buf_slice(&turned), out);
    else
        ll_buf_put_slice(out, ll_buf_slice(&turned));
    out->failed = out->failed || value.failed || turned.failed;
    ll_buf_release(&value);
    ll_buf_release(&turned);
}

static void put_piece(const struct ll_spf_values *v, const struct piece *p, struct ll_buf *out)
{
    if (p->literal)
        ll_buf_put_slice(out, p->text);
    else if (p->plain == '%')
        ll_buf_putc(out, '%');
    else if (p->plain == '_')
        ll_buf_putc(out, ' ');
    else if (p->plain == '-')
        ll_buf_puts(out, "%20");
    else
        put_macro(v, p, out);
}

void ll_spf_macro_expand(const struct ll_spf_values *v, struct ll_slice s, struct ll_buf *out)
{
    struct piece p;
    const char *what;

    while (next_piece(&s, &p, &what) && !out->failed)
        put_piece(v, &p, out);
}

bool ll_spf_macro_name(const struct ll_spf_values *v, struct ll_slice s, struct ll_dns_name *ret)
{
    struct ll_buf out = LL_BUF(TAIL_ROOM);
    struct ll_slice name;
    struct piece p;
    const char *what;
    bool ok;

    while (next_piece(&s, &p, &what) && !out.failed) {
        put_piece(v, &p, &out);
        if (out.n > 2 * TAIL_KEPT) /* longer than a name by far: its left side goes in any case */
            ll_buf_drop(&out, out.n - TAIL_KEPT);
    }
    name = ll_buf_slice(&out);
    if (name.n > 1 && name.p[name.n - 1] == '.')
        name.n--;
    while (name.n > LL_DNS_NAME_MAX)
        name = ll_slice_skip(name, ll_slice_find(name, '.') + 1);
    ok = !out.failed && ll_dns_name_parse(name, ret);
    ll_buf_release(&out);
    return ok;
}
