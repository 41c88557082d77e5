/* See io/html.h. Two passes of the parser: the first one gathers the style sheets, wherever they
 * stand, the second one writes the text. */
#include "io/html.h"

#include "io/html_style.h"

#include <libxml/HTMLparser.h>
#include <libxml/parserInternals.h>

#define NAME_MAX_HTML 16 /* octets of an element's name that tell it from others, with NUL */
#define CLASSES_MAX   16 /* class names of one element that are looked at */
#define SHEETS_MAX    (256u * 1024)
#define QUOTE_MAX     20 /* quotes in quotes that are marked */

/* What an element does to the text. */
enum {
    BLOCK = 1,   /* begins and ends a line */
    PARA = 2,    /* with an empty line before and after */
    GONE = 4,    /* it and all in it is left out */
    PRE = 8,     /* blanks and line ends count */
    ITEM = 16,   /* "- " */
    CELL = 32,   /* two blanks before it */
    QUOTE = 64,  /* its lines begin with "> " */
    LOADS = 128, /* would load its src, data, href or background */
    FORM = 256,
    RUNS = 512, /* would run something */
    BREAK = 1024,
    RULE = 2048,
    LINK = 4096,
    VOID = 8192 /* has no content */
};

static const struct element {
    const char *name;
    unsigned does;
} elements[] = {
    {"a", LINK},
    {"address", BLOCK},
    {"applet", GONE | LOADS | RUNS},
    {"area", VOID},
    {"article", BLOCK},
    {"audio", GONE | LOADS},
    {"base", VOID | LOADS},
    {"blockquote", PARA | QUOTE},
    {"body", BLOCK},
    {"br", BREAK | VOID},
    {"button", 0},
    {"canvas", GONE},
    {"center", BLOCK},
    {"datalist", GONE},
    {"dd", BLOCK},
    {"div", BLOCK},
    {"dl", PARA},
    {"dt", BLOCK},
    {"embed", GONE | LOADS | RUNS | VOID},
    {"fieldset", BLOCK},
    {"footer", BLOCK},
    {"form", BLOCK | FORM},
    {"frame", LOADS | VOID},
    {"frameset", GONE},
    {"h1", PARA},
    {"h2", PARA},
    {"h3", PARA},
    {"h4", PARA},
    {"h5", PARA},
    {"h6", PARA},
    {"head", 0},
    {"header", BLOCK},
    {"hr", RULE | VOID},
    {"iframe", GONE | LOADS},
    {"img", LOADS | VOID},
    {"input", VOID},
    {"li", BLOCK | ITEM},
    {"link", LOADS | VOID},
    {"listing", PARA | PRE},
    {"main", BLOCK},
    {"math", GONE},
    {"meta", VOID},
    {"nav", BLOCK},
    {"noembed", GONE},
    {"noframes", GONE},
    {"noscript", GONE},
    {"object", GONE | LOADS | RUNS},
    {"ol", PARA},
    {"option", GONE},
    {"p", PARA},
    {"plaintext", PARA | PRE},
    {"pre", PARA | PRE},
    {"script", GONE | RUNS},
    {"section", BLOCK},
    {"select", GONE},
    {"source", LOADS | VOID},
    {"style", GONE},
    {"svg", GONE},
    {"table", BLOCK},
    {"td", CELL},
    {"template", GONE},
    {"textarea", GONE},
    {"th", CELL},
    {"title", GONE},
    {"tr", BLOCK},
    {"track", LOADS | VOID},
    {"ul", PARA},
    {"video", GONE | LOADS},
    {"xmp", PARA | PRE},
};

struct open {
    char name[NAME_MAX_HTML];
    unsigned does;
    bool hidden; /* it or one around it */
    int32_t colour, ground;
    char *href;     /* LINK: freed when it closes */
    size_t text_at; /* LINK: where its text begins in out */
};

struct page {
    struct ll_buf *out;
    struct ll_html_facts *facts;
    struct ll_buf sheets; /* texts of style elements: the first pass */
    struct ll_buf rules;
    unsigned n_rules;
    bool gathering;
    struct open open[LL_HTML_DEPTH_MAX];
    size_t depth;
    size_t deeper;             /* elements beyond the limit */
    size_t newlines;           /* due before what comes */
    unsigned quoted;           /* quotes around what was written last */
    bool begun;                /* something was written */
    bool blank;                /* a blank is due before the next word */
    unsigned gone, pre, quote; /* such elements that are open */
    xmlParserCtxtPtr ctxt;
};

/* ---- writing ----------------------------------------------------------------------------------
 */

static void quote_marks(struct page *p, unsigned n)
{
    for (unsigned i = 0; i < n && i < QUOTE_MAX; i++)
        ll_buf_puts(p->out, "> ");
}

/* At least n line ends lie between what was written and what comes, if something comes. */
static void lines(struct page *p, size_t n)
{
    if (p->begun && p->newlines < n)
        p->newlines = n;
    p->blank = false;
}

static void put(struct page *p, struct ll_slice s)
{
    unsigned between = p->quote < p->quoted ? p->quote : p->quoted;

    if (s.n == 0)
        return;
    for (; p->newlines > 0; p->newlines--) {
        ll_buf_putc(p->out, '\n');
        quote_marks(p, p->newlines > 1 ? between : p->quote);
    }
    if (!p->begun)
        quote_marks(p, p->quote);
    if (p->blank)
        ll_buf_putc(p->out, ' ');
    ll_buf_put_slice(p->out, s);
    p->quoted = p->quote;
    p->begun = true;
    p->blank = false;
}

static const struct open *top(const struct page *p)
{
    static const struct open none = {.colour = 0x000000, .ground = 0xffffff};

    return p->depth > 0 ? &p->open[p->depth - 1] : &none;
}

/* An element of these opens (by 1) or closes (by -1). */
static void count_open(struct page *p, unsigned does, unsigned by)
{
    p->gone += does & GONE ? by : 0;
    p->pre += does & PRE ? by : 0;
    p->quote += does & QUOTE ? by : 0;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void put_words(struct page *p, struct ll_slice s)
{
    while (s.n > 0) {
        size_t n = 0;

        while (n < s.n && !is_blank(s.p[n]))
            n++;
        put(p, ll_slice_cut(s, 0, n));
        while (n < s.n && is_blank(s.p[n])) {
            p->blank = p->begun && p->newlines == 0;
            n++;
        }
        s = ll_slice_skip(s, n);
    }
}

static void put_as_is(struct page *p, struct ll_slice s)
{
    struct ll_slice line;

    while (s.n > 0) {
        size_t n = ll_slice_find(s, '\n');

        line = ll_slice_cut(s, 0, n);
        put(p, line);
        if (n < s.n)
            lines(p, p->newlines + 1);
        s = ll_slice_skip(s, n + 1);
    }
}

static void put_text(struct page *p, struct ll_slice s)
{
    if (p->gone > 0)
        return;
    if (top(p)->hidden || ll_html_colours_near(top(p)->colour, top(p)->ground)) {
        for (size_t i = 0; i < s.n; i++)
            p->facts->hidden += !is_blank(s.p[i]);
        return;
    }
    if (p->pre > 0)
        put_as_is(p, s);
    else
        put_words(p, s);
}

/* ---- attributes --------------------------------------------------------------------------------
 */

static struct ll_slice attribute(const xmlChar **attributes, const char *name)
{
    for (size_t i = 0; attributes && attributes[i]; i += 2)
        if (ll_slice_caseeq(ll_slice_str((const char *)attributes[i]), ll_slice_str(name)))
            return attributes[i + 1] ? ll_slice_str((const char *)attributes[i + 1]) : LL_LIT("");
    return ll_slice(NULL, 0);
}

static bool hidden_by_rule(const struct page *p, struct ll_slice name, const xmlChar **attributes)
{
    struct ll_slice classes = attribute(attributes, "class"), id = attribute(attributes, "id"), one;
    struct ll_slice rules = ll_buf_slice(&p->rules);
    unsigned n = 0;

    if (rules.n == 0)
        return false;
    if (ll_html_rule_hides(rules, 0, name) || (id.n && ll_html_rule_hides(rules, '#', id)))
        return true;
    while (n < CLASSES_MAX && ll_slice_next(&classes, ' ', &one))
        if (one.n > 0 && n++ < CLASSES_MAX && ll_html_rule_hides(rules, '.', one))
            return true;
    return false;
}

static void take_style(const struct page *p, const xmlChar **attributes, struct open *o)
{
    struct ll_html_style s = ll_html_style(attribute(attributes, "style"));
    struct ll_slice colour = attribute(attributes, "color"),
                    ground = attribute(attributes, "bgcolor");

    o->hidden = top(p)->hidden || s.hidden || attribute(attributes, "hidden").p ||
                hidden_by_rule(p, ll_slice_str(o->name), attributes);
    o->colour = s.colour != LL_HTML_NO_COLOUR ? s.colour
                : colour.n > 0                ? ll_html_colour(colour)
                                              : top(p)->colour;
    o->ground = s.ground != LL_HTML_NO_COLOUR ? s.ground
                : ground.n > 0                ? ll_html_colour(ground)
                                              : top(p)->ground;
}

static bool starts_remote(struct ll_slice url)
{
    return ll_slice_casestarts(url, LL_LIT("http:")) ||
           ll_slice_casestarts(url, LL_LIT("https:")) || ll_slice_casestarts(url, LL_LIT("ftp:")) ||
           ll_slice_starts(url, LL_LIT("//"));
}

/* Counts what would have been loaded or run. */
static void count_dangers(struct page *p, unsigned does, const xmlChar **attributes)
{
    static const char *const sources[] = {"src", "data", "href", "background", "poster", "srcset"};

    for (size_t i = 0; i < LL_COUNT(sources); i++)
        if (((does & LOADS) || strcmp(sources[i], "background") == 0) &&
            starts_remote(ll_slice_trim(attribute(attributes, sources[i]))))
            p->facts->remote++;
    if (ll_slice_search(attribute(attributes, "style"), LL_LIT("url(")) <
        attribute(attributes, "style").n)
        p->facts->remote++;
    for (size_t i = 0; attributes && attributes[i]; i += 2)
        if (ll_slice_casestarts(ll_slice_str((const char *)attributes[i]), LL_LIT("on")))
            p->facts->scripts++;
    p->facts->scripts += (does & RUNS) != 0;
    p->facts->forms += (does & FORM) != 0;
}

/* ---- links ------------------------------------------------------------------------------------
 */

/* "https://www.Example.org/x" and "www.example.org" have the host "example.org"; "": none. */
static struct ll_slice host_of(struct ll_slice s)
{
    size_t colon = ll_slice_search(s, LL_LIT("://"));
    bool url = colon < s.n && colon < 10;
    size_t i = 0;

    if (url)
        s = ll_slice_skip(s, colon + 3);
    while (i < s.n && s.p[i] != '/' && s.p[i] != '?' && s.p[i] != '#' && s.p[i] > ' ')
        i++;
    if (!url && i < s.n && s.p[i] <= ' ')
        return LL_LIT(""); /* words */
    s = ll_slice_cut(s, 0, i);
    if (ll_slice_rfind(s, '@') < s.n)
        s = url ? ll_slice_skip(s, ll_slice_rfind(s, '@') + 1) : LL_LIT("");
    s = ll_slice_cut(s, 0, ll_slice_find(s, ':'));
    if (ll_slice_casestarts(s, LL_LIT("www.")))
        s = ll_slice_skip(s, 4);
    i = ll_slice_rfind(s, '.');
    return i > 0 && i + 2 < s.n && (url || ll_is_alpha(s.p[s.n - 1])) ? s : LL_LIT("");
}

static bool shown_scheme(struct ll_slice href)
{
    static const char *const schemes[] = {"http:", "https:", "mailto:", "ftp:", "tel:", "sms:"};

    for (size_t i = 0; i < LL_COUNT(schemes); i++)
        if (ll_slice_casestarts(href, ll_slice_str(schemes[i])))
            return true;
    return ll_slice_starts(href, LL_LIT("//"));
}

static void end_link(struct page *p, const struct open *o)
{
    struct ll_slice href = ll_slice_trim(ll_slice_str(o->href)), text, host;

    text = ll_slice_trim(ll_slice_skip(ll_buf_slice(p->out), o->text_at));
    if (href.n == 0 || o->hidden || p->gone > 0 || href.p[0] == '#')
        return;
    if (!shown_scheme(href)) {
        put(p, LL_LIT(" [a link that is no address]"));
        return;
    }
    host = host_of(text);
    if (host.n > 0 && !ll_slice_caseeq(host, host_of(href))) {
        p->facts->lies++;
        put(p, LL_LIT(" [NOT what it says, but"));
        p->blank = true;
    } else if (ll_slice_eq(text, href) || (ll_slice_casestarts(href, LL_LIT("mailto:")) &&
                                           ll_slice_caseeq(ll_slice_skip(href, 7), text))) {
        p->facts->links++;
        return;
    } else {
        put(p, LL_LIT(" ["));
    }
    put(p, ll_slice_cut(href, 0, LL_HTML_LINK_MAX));
    put(p, href.n > LL_HTML_LINK_MAX ? LL_LIT("...]") : LL_LIT("]"));
    p->facts->links++;
}

/* ---- the parser's events ------------------------------------------------------------------------
 */

static unsigned does_of(struct ll_slice name)
{
    for (size_t i = 0; i < LL_COUNT(elements); i++)
        if (ll_slice_caseeq(name, ll_slice_str(elements[i].name)))
            return elements[i].does;
    return 0;
}

static void image(struct page *p, const xmlChar **attributes, const struct open *o)
{
    struct ll_slice alt = ll_slice_trim(attribute(attributes, "alt"));

    if (alt.n == 0 || o->hidden || p->gone > 0)
        return;
    put_words(p, LL_LIT("[image: "));
    put_words(p, alt);
    put(p, LL_LIT("]"));
}

static void open_lines(struct page *p, unsigned does)
{
    if (p->gone > 0)
        return;
    if (does & (PARA | RULE))
        lines(p, 2);
    else if (does & BLOCK)
        lines(p, 1);
    if (does & ITEM) {
        put(p, LL_LIT("-"));
        p->blank = true;
    }
    if ((does & CELL) && p->begun && p->newlines == 0) {
        p->blank = false;
        put(p, LL_LIT("  "));
    }
    if (does & BREAK)
        lines(p, p->newlines + 1);
    if (does & RULE) {
        put(p, LL_LIT("----"));
        lines(p, 2);
    }
}

static void start(void *user, const xmlChar *xml_name, const xmlChar **attributes)
{
    struct page *p = user;
    struct ll_slice name = ll_slice_str((const char *)xml_name);
    unsigned does = does_of(name);
    struct open o = {.does = does};

    memcpy(o.name, name.p, name.n < sizeof(o.name) - 1 ? name.n : sizeof(o.name) - 1);
    take_style(p, attributes, &o);
    if (!p->gathering) {
        count_dangers(p, does, attributes);
        if (!o.hidden)
            open_lines(p, does);
        if (ll_slice_caseeq(name, LL_LIT("img")))
            image(p, attributes, &o);
    }
    if (does & VOID)
        return;
    if (p->depth == LL_HTML_DEPTH_MAX) {
        p->deeper++;
        return;
    }
    if (does & LINK) {
        o.href = ll_slice_dup(attribute(attributes, "href"));
        o.text_at = p->out->n;
    }
    count_open(p, does, 1);
    p->open[p->depth++] = o;
}

static void close_top(struct page *p)
{
    struct open o = p->open[--p->depth];

    count_open(p, o.does & ~(unsigned)QUOTE, -1u);
    if ((o.does & LINK) && !p->gathering)
        end_link(p, &o);
    free(o.href);
    if (!o.hidden && p->gone == 0 && (o.does & (PARA | BLOCK)))
        lines(p, o.does & PARA ? 2 : 1);
    count_open(p, o.does & QUOTE, -1u);
}

static void end(void *user, const xmlChar *xml_name)
{
    struct page *p = user;
    struct ll_slice name = ll_slice_str((const char *)xml_name);
    size_t at = p->depth;

    if (does_of(name) & VOID)
        return;
    name = ll_slice_cut(name, 0, NAME_MAX_HTML - 1);
    if (p->deeper > 0) {
        p->deeper--;
        return;
    }
    while (at > 0 && !ll_slice_eq(ll_slice_str(p->open[at - 1].name), name))
        at--;
    while (at > 0 && p->depth >= at)
        close_top(p);
}

static void characters(void *user, const xmlChar *text, int n)
{
    struct page *p = user;
    struct ll_slice s = ll_slice(text, (size_t)n);

    if (!p->gathering)
        put_text(p, s);
    else if (p->depth > 0 && strcmp(top(p)->name, "style") == 0)
        ll_buf_put_slice(&p->sheets, s);
    if (p->out->failed) {
        p->facts->cut = true;
        xmlStopParser(p->ctxt);
    }
}

static bool parse(struct page *p, struct ll_slice page)
{
    xmlSAXHandler sax = {.startElement = start,
                         .endElement = end,
                         .characters = characters,
                         .ignorableWhitespace = characters,
                         .cdataBlock = characters};
    htmlParserCtxtPtr c = htmlCreateMemoryParserCtxt((const char *)page.p, (int)page.n);
    xmlSAXHandler *own;

    if (!c)
        return false;
    htmlCtxtUseOptions(c, HTML_PARSE_RECOVER | HTML_PARSE_NOERROR | HTML_PARSE_NOWARNING |
                              HTML_PARSE_NONET | HTML_PARSE_IGNORE_ENC | HTML_PARSE_NODEFDTD);
    xmlSwitchEncoding(c, XML_CHAR_ENCODING_UTF8);
    own = c->sax;
    c->sax = &sax;
    c->userData = p;
    p->ctxt = c;
    htmlParseDocument(c);
    while (p->depth > 0)
        close_top(p);
    p->deeper = 0;
    c->sax = own;
    htmlFreeParserCtxt(c);
    return true;
}

bool ll_html_text(struct ll_slice page, struct ll_buf *out, struct ll_html_facts *ret)
{
    struct page *p;
    bool ok;

    *ret = (struct ll_html_facts){0};
    if (!ll_utf8_valid(page))
        return false;
    if (page.n > LL_HTML_IN_MAX) {
        ret->cut = true;
        page.n = LL_HTML_IN_MAX;
        while (page.n > 0 && (page.p[page.n] & 0xc0) == 0x80)
            page.n--;
    }
    if (page.n == 0)
        return true;
    p = calloc(1, sizeof(*p));
    if (!p)
        return false;
    p->out = out;
    p->facts = ret;
    p->sheets = LL_BUF(SHEETS_MAX);
    p->rules = LL_BUF(SHEETS_MAX);
    p->gathering = true;
    ok = parse(p, page);
    ll_html_style_sheet(ll_buf_slice(&p->sheets), &p->rules, &p->n_rules);
    p->gathering = false;
    ok = ok && parse(p, page);
    if (ok && p->begun)
        ll_buf_putc(out, '\n');
    ll_buf_release(&p->sheets);
    ll_buf_release(&p->rules);
    free(p);
    return ok;
}
