/* Words of header protection, and legacy display elements. See include/letterlock/protect.h. */
#include "protect.h"

const char *ll_protect_error_text(enum ll_protect_error e)
{
    static const char *const text[] = {
#define ROW(id, sentence) sentence,
        LL_PROTECT_ERRORS(ROW)
#undef ROW
    };
    return text[e];
}

const char *ll_protect_kind_word(enum ll_protect_kind k)
{
    static const char *const words[] = {
#define ROW(id, word) word,
        LL_PROTECT_KINDS(ROW)
#undef ROW
    };
    return words[k];
}

const char *ll_protect_state_word(enum ll_protect_state s)
{
    static const char *const words[] = {
#define ROW(id, word) word,
        LL_PROTECT_STATES(ROW)
#undef ROW
    };
    return words[s];
}

bool ll_protect_is_structural(struct ll_slice name)
{
    return ll_slice_casestarts(name, LL_LIT("Content-")) ||
           ll_slice_caseeq(name, LL_LIT("MIME-Version")) ||
           ll_slice_caseeq(name, LL_LIT("HP-Outer"));
}

bool ll_protect_is_user_facing(struct ll_slice name)
{
    static const char *const names[] = {
        "Subject",     "From",      "To",          "Cc",          "Date",
        "Reply-To",    "Sender",    "Followup-To", "Resent-From", "Resent-Sender",
        "Resent-Date", "Resent-To", "Resent-Cc"};

    for (size_t i = 0; i < LL_COUNT(names); i++)
        if (ll_slice_caseeq(name, ll_slice_str(names[i])))
            return true;
    return false;
}

static bool is_space(uint8_t c)
{
    return ll_is_blank(c) || c == '\r' || c == '\n';
}

/* The next octet of s, each run of white space as one blank; -1 at the end, blanks there left out.
 */
static int next_octet(struct ll_slice s, size_t *i)
{
    size_t at = *i;

    while (at < s.n && is_space(s.p[at]))
        at++;
    if (at == s.n)
        return -1;
    if (at > *i && *i > 0) {
        *i = at;
        return ' ';
    }
    *i = at + 1;
    return s.p[at];
}

bool ll_protect_same(struct ll_slice a, struct ll_slice b)
{
    size_t i = 0, j = 0;

    for (;;) {
        int x = next_octet(a, &i), y = next_octet(b, &j);

        if (x != y)
            return false;
        if (x < 0)
            return true;
    }
}

/* ---- legacy display elements
 * -----------------------------------------------------------------------
 */

static bool param_is(const struct ll_mime_part *p, const char *name, const char *value)
{
    const struct ll_mime_param *param = ll_mime_param(&p->type, name);

    return param && ll_slice_eq(param->value, ll_slice_str(value));
}

bool ll_protect_has_display(const struct ll_mime_part *p)
{
    return param_is(p, "hp-legacy-display", "1") &&
           (ll_mime_is(p, "text", "plain") || ll_mime_is(p, "text", "html"));
}

/* Only lines that look like fields people look at are left out: whatever else stands there is the
 * author's text. */
struct ll_slice ll_protect_skip_display(struct ll_slice text)
{
    struct ll_slice rest = text;

    while (rest.n) {
        size_t lf = ll_slice_find(rest, '\n');
        struct ll_slice line = ll_slice_cut(rest, 0, lf);

        if (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        rest = ll_slice_skip(rest, lf + 1);
        if (line.n == 0)
            return line.p == text.p ? text : rest;
        if (ll_is_blank(line.p[0]) && line.p != text.p)
            continue; /* a folded field goes on */
        line.n = ll_slice_find(line, ':');
        if (!ll_protect_is_user_facing(line))
            return text;
    }
    return text;
}

static size_t skip_space(struct ll_slice s, size_t i)
{
    while (i < s.n && is_space(s.p[i]))
        i++;
    return i;
}

/* "<name" of a tag at i, in any case, with its end behind it. */
static bool tag_at(struct ll_slice s, size_t i, struct ll_slice name)
{
    size_t end = i + name.n;

    return ll_slice_casestarts(ll_slice_skip(s, i), name) &&
           (end == s.n || is_space(s.p[end]) || s.p[end] == '>' || s.p[end] == '/');
}

static size_t find_tag(struct ll_slice s, size_t i, struct ll_slice name)
{
    while (i < s.n && !(s.p[i] == '<' && tag_at(s, i, name)))
        i++;
    return i;
}

/* Behind the end of the <div> that begins at i; s.n: it has none. */
static size_t div_end(struct ll_slice s, size_t i)
{
    size_t depth = 0;

    for (; i < s.n; i++) {
        if (s.p[i] != '<')
            continue;
        if (tag_at(s, i, LL_LIT("<div")))
            depth++;
        else if (tag_at(s, i, LL_LIT("</div")) && --depth == 0)
            return i + ll_slice_find(ll_slice_skip(s, i), '>') + 1;
    }
    return s.n + 1;
}

bool ll_protect_find_display_html(struct ll_slice html, size_t *ret_from, size_t *ret_to)
{
    size_t body = find_tag(html, 0, LL_LIT("<body")), from, end, to;
    struct ll_slice tag;

    from = body < html.n ? body + ll_slice_find(ll_slice_skip(html, body), '>') + 1 : 0;
    from = skip_space(html, from);
    if (from >= html.n || !tag_at(html, from, LL_LIT("<div")))
        return false;
    end = from + ll_slice_find(ll_slice_skip(html, from), '>');
    tag = ll_slice_cut(html, from, end);
    if (ll_slice_search(tag, LL_LIT("class=\"" LL_PROTECT_DISPLAY_CLASS "\"")) == tag.n &&
        ll_slice_search(tag, LL_LIT("class='" LL_PROTECT_DISPLAY_CLASS "'")) == tag.n)
        return false;
    to = div_end(html, from);
    if (to > html.n)
        return false;
    *ret_from = from;
    *ret_to = to;
    return true;
}

bool ll_protect_is_display_part(const struct ll_mime *m, uint16_t i)
{
    const struct ll_mime_part *p = &m->part[i], *parent;

    if (p->parent == LL_MIME_NONE)
        return false;
    parent = &m->part[p->parent];
    return ll_mime_is(parent, "multipart", "mixed") &&
           param_is(parent, "protected-headers", "v1") && parent->child == i &&
           parent->n_children > 1 &&
           (ll_mime_is(p, "text", "rfc822-headers") ||
            (ll_mime_is(p, "text", "plain") && param_is(p, "protected-headers", "v1")));
}
