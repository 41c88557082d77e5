/* See io/html_style.h. */
#include "io/html_style.h"

#include <stdlib.h>

#define DECLARATIONS_MAX 16384 /* octets of one style that are looked at */

/* ---- text of CSS ------------------------------------------------------------------------------
 */

static bool is_hex(uint8_t c)
{
    return ll_is_digit(c) || (ll_lower(c) >= 'a' && ll_lower(c) <= 'f');
}

static unsigned hex_value(uint8_t c)
{
    return ll_is_digit(c) ? c - (unsigned)'0' : ll_lower(c) - (unsigned)'a' + 10;
}

/* Lower case, without comments and blanks, escapes undone (CSS Syntax 4.3.7): "D\69 splay: none"
 * means what "display:none" says. */
static void normalise(struct ll_slice in, struct ll_buf *out)
{
    for (size_t i = 0; i < in.n; i++) {
        uint8_t c = in.p[i];

        if (c == '/' && i + 1 < in.n && in.p[i + 1] == '*') {
            struct ll_slice rest = ll_slice_skip(in, i + 2);

            i += 3 + ll_slice_search(rest, LL_LIT("*/"));
        } else if (c == '\\' && i + 1 < in.n) {
            unsigned v = 0, n = 0;

            while (n < 6 && i + 1 < in.n && is_hex(in.p[i + 1])) {
                v = v << 4 | hex_value(in.p[++i]);
                n++;
            }
            if (n > 0 && i + 1 < in.n && in.p[i + 1] == ' ')
                i++;
            if (n == 0)
                v = in.p[++i];
            ll_buf_putc(out, v < 0x80 ? ll_lower((uint8_t)v) : '?');
        } else if (c > ' ') {
            ll_buf_putc(out, ll_lower(c));
        }
    }
}

/* ---- colours ----------------------------------------------------------------------------------
 */

static const struct {
    const char *name;
    int32_t value;
} colours[] = {
    {"white", 0xffffff},      {"black", 0x000000}, {"red", 0xff0000},
    {"green", 0x008000},      {"blue", 0x0000ff},  {"yellow", 0xffff00},
    {"gray", 0x808080},       {"grey", 0x808080},  {"silver", 0xc0c0c0},
    {"whitesmoke", 0xf5f5f5}, {"snow", 0xfffafa},  {"ivory", 0xfffff0},
    {"ghostwhite", 0xf8f8ff}, {"navy", 0x000080},  {"lightgray", 0xd3d3d3},
};

static int32_t hex_colour(struct ll_slice digits)
{
    int32_t v = 0;

    if (digits.n != 3 && digits.n != 6)
        return LL_HTML_NO_COLOUR;
    for (size_t i = 0; i < digits.n; i++) {
        if (!is_hex(digits.p[i]))
            return LL_HTML_NO_COLOUR;
        v = v << 4 | (int32_t)hex_value(digits.p[i]);
        if (digits.n == 3)
            v = v << 4 | (int32_t)hex_value(digits.p[i]);
    }
    return v;
}

/* "rgb(1,2,3)"; three numbers of at most 255. */
static int32_t rgb_colour(struct ll_slice in)
{
    struct ll_slice rest = ll_slice_cut(in, 4, in.n - 1), part;
    int32_t v = 0;
    uint64_t u;
    int n = 0;

    for (; n < 3 && ll_slice_next(&rest, ',', &part); n++) {
        if (!ll_slice_u64(part, &u) || u > 255)
            return LL_HTML_NO_COLOUR;
        v = v << 8 | (int32_t)u;
    }
    return n == 3 ? v : LL_HTML_NO_COLOUR;
}

int32_t ll_html_colour(struct ll_slice text)
{
    text = ll_slice_trim(text);
    if (text.n > 1 && text.p[0] == '#')
        return hex_colour(ll_slice_skip(text, 1));
    if (ll_slice_starts(text, LL_LIT("rgb(")) && text.p[text.n - 1] == ')')
        return rgb_colour(text);
    for (size_t i = 0; i < LL_COUNT(colours); i++)
        if (ll_slice_caseeq(text, ll_slice_str(colours[i].name)))
            return colours[i].value;
    return LL_HTML_NO_COLOUR;
}

bool ll_html_colours_near(int32_t a, int32_t b)
{
    if (a == LL_HTML_NO_COLOUR || b == LL_HTML_NO_COLOUR)
        return false;
    for (int shift = 0; shift < 24; shift += 8)
        if (abs((a >> shift & 0xff) - (b >> shift & 0xff)) > 24)
            return false;
    return true;
}

/* ---- declarations -----------------------------------------------------------------------------
 */

/* The number that a value begins with, in thousandths; 1000000 where there is none. */
static int64_t number(struct ll_slice v)
{
    int64_t n = 0, scale = 1000;
    bool minus = v.n > 0 && v.p[0] == '-', point = false, any = false;

    for (size_t i = minus; i < v.n && n < 1000000000; i++) {
        if (v.p[i] == '.' && !point) {
            point = true;
        } else if (ll_is_digit(v.p[i])) {
            any = true;
            if (point && scale == 1)
                continue;
            if (point)
                scale /= 10;
            n = point ? n + (v.p[i] - '0') * scale : n * 10 + (v.p[i] - '0') * 1000;
        } else {
            break;
        }
    }
    return !any ? 1000000 : minus ? -n : n;
}

static bool in_pixels(struct ll_slice v)
{
    return ll_slice_ends(v, LL_LIT("px")) || ll_slice_ends(v, LL_LIT("pt"));
}

enum measure {
    WORD,  /* hides where the value is `word` */
    SMALL, /* below `limit` thousandths */
    TINY,  /* a size of nothing, or of up to 2 pixels */
    AWAY   /* further than `limit` out of the page, in pixels */
};

static const struct {
    const char *property;
    enum measure how;
    const char *word;
    int64_t limit;
} hides[] = {
    {"display", WORD, "none", 0},         {"visibility", WORD, "hidden", 0},
    {"visibility", WORD, "collapse", 0},  {"mso-hide", WORD, "all", 0},
    {"color", WORD, "transparent", 0},    {"clip", WORD, "rect(0,0,0,0)", 0},
    {"transform", WORD, "scale(0)", 0},   {"opacity", SMALL, NULL, 100},
    {"font-size", TINY, NULL, 0},         {"max-height", SMALL, NULL, 1},
    {"max-width", SMALL, NULL, 1},        {"line-height", SMALL, NULL, 1},
    {"text-indent", AWAY, NULL, -200000}, {"left", AWAY, NULL, -500000},
    {"top", AWAY, NULL, -500000},         {"right", AWAY, NULL, -500000},
    {"margin-left", AWAY, NULL, -500000}, {"margin-top", AWAY, NULL, -500000},
};

static bool declaration_hides(struct ll_slice property, struct ll_slice value)
{
    for (size_t i = 0; i < LL_COUNT(hides); i++) {
        int64_t n = number(value);

        if (!ll_slice_eq(property, ll_slice_str(hides[i].property)))
            continue;
        if (hides[i].how == WORD    ? ll_slice_starts(value, ll_slice_str(hides[i].word))
            : hides[i].how == SMALL ? n < hides[i].limit
            : hides[i].how == TINY  ? n < 1 || (in_pixels(value) && n <= 2000)
                                    : n <= hides[i].limit)
            return true;
    }
    return false;
}

struct ll_html_style ll_html_style(struct ll_slice declarations)
{
    struct ll_html_style s = {false, LL_HTML_NO_COLOUR, LL_HTML_NO_COLOUR};
    struct ll_buf b = LL_BUF(DECLARATIONS_MAX);
    bool flat = false, clipped = false;
    struct ll_slice rest, one;

    normalise(ll_slice_cut(declarations, 0, DECLARATIONS_MAX - 8), &b);
    rest = ll_buf_slice(&b);
    while (ll_slice_next(&rest, ';', &one)) {
        size_t colon = ll_slice_find(one, ':');
        struct ll_slice property = ll_slice_cut(one, 0, colon);
        struct ll_slice value = ll_slice_skip(one, colon + 1);

        value = ll_slice_cut(value, 0, ll_slice_find(value, '!')); /* !important */
        s.hidden = s.hidden || declaration_hides(property, value);
        if (ll_slice_eq(property, LL_LIT("color")))
            s.colour = ll_html_colour(value);
        else if (ll_slice_starts(property, LL_LIT("background")))
            s.ground = ll_html_colour(value);
        else if (ll_slice_eq(property, LL_LIT("overflow")))
            clipped = ll_slice_eq(value, LL_LIT("hidden"));
        else if (ll_slice_eq(property, LL_LIT("height")) || ll_slice_eq(property, LL_LIT("width")))
            flat = flat || number(value) < 1001;
    }
    s.hidden = s.hidden || (flat && clipped);
    ll_buf_release(&b);
    return s;
}

/* ---- style sheets ------------------------------------------------------------------------------
 */

/* ".a.b" hides what has both; one of them is taken for it, the last: "td.x", "#m .x". */
static void put_selector(struct ll_slice selector, struct ll_buf *rules, unsigned *count)
{
    size_t dot, hash, from;

    selector = ll_slice_trim(selector);
    while (selector.n > 0 && selector.p[selector.n - 1] <= ' ')
        selector.n--;
    for (size_t i = selector.n; i-- > 0;)
        if (selector.p[i] <= ' ' || selector.p[i] == '>') {
            selector = ll_slice_skip(selector, i + 1);
            break;
        }
    dot = ll_slice_rfind(selector, '.');
    hash = ll_slice_rfind(selector, '#');
    from = dot < selector.n ? dot : hash < selector.n ? hash : 0;
    selector = ll_slice_skip(selector, from);
    if (selector.n == 0 || *count >= LL_HTML_RULES_MAX ||
        ll_slice_find(selector, ':') < selector.n || ll_slice_find(selector, '*') < selector.n ||
        ll_slice_find(selector, '[') < selector.n)
        return;
    for (size_t i = 0; i < selector.n; i++)
        ll_buf_putc(rules, ll_lower(selector.p[i]));
    ll_buf_putc(rules, '\n');
    ++*count;
}

/* Behind the braces that this block opened. */
static struct ll_slice skip_block(struct ll_slice rest)
{
    unsigned open = 1;
    size_t i = 0;

    for (; i < rest.n && open > 0; i++)
        open += rest.p[i] == '{' ? 1u : rest.p[i] == '}' ? -1u : 0u;
    return ll_slice_skip(rest, i);
}

void ll_html_style_sheet(struct ll_slice sheet, struct ll_buf *rules, unsigned *count)
{
    while (sheet.n > 0 && *count < LL_HTML_RULES_MAX) {
        size_t open = ll_slice_find(sheet, '{');
        struct ll_slice head = ll_slice_cut(sheet, 0, open), one;
        struct ll_slice body = ll_slice_skip(sheet, open + 1);
        size_t comment = ll_slice_search(head, LL_LIT("*/"));

        if (comment < head.n)
            head = ll_slice_skip(head, comment + 2);
        if (ll_slice_find(head, '@') < head.n) {
            sheet = skip_block(body);
            continue;
        }
        sheet = ll_slice_skip(body, ll_slice_find(body, '}') + 1);
        if (!ll_html_style(ll_slice_cut(body, 0, ll_slice_find(body, '}'))).hidden)
            continue;
        while (ll_slice_next(&head, ',', &one))
            put_selector(one, rules, count);
    }
}

bool ll_html_rule_hides(struct ll_slice rules, char mark, struct ll_slice name)
{
    struct ll_slice one;

    while (ll_slice_next(&rules, '\n', &one)) {
        if (one.n == 0)
            continue;
        if (mark && one.p[0] != mark)
            continue;
        if (ll_slice_caseeq(mark ? ll_slice_skip(one, 1) : one, name))
            return true;
    }
    return false;
}
