/* Markdown as HTML. See markdown.h. */
#include "io/markdown.h"

#include <md4c.h>

struct writer {
    struct ll_buf *out;
    struct {
        bool written;
    } link[64];
    unsigned links;
};

static void put_escaped(struct ll_buf *out, struct ll_slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        switch (s.p[i]) {
        case '&':
            ll_buf_puts(out, "&amp;");
            break;
        case '<':
            ll_buf_puts(out, "&lt;");
            break;
        case '>':
            ll_buf_puts(out, "&gt;");
            break;
        case '"':
            ll_buf_puts(out, "&quot;");
            break;
        default:
            ll_buf_putc(out, s.p[i]);
        }
    }
}

/* ---- blocks -------------------------------------------------------------------------------------
 */

static const struct {
    MD_BLOCKTYPE type;
    const char *open, *close;
} blocks[] = {
    {MD_BLOCK_DOC, "", ""},
    {MD_BLOCK_QUOTE, "<blockquote>\n", "</blockquote>\n"},
    {MD_BLOCK_UL, "<ul>\n", "</ul>\n"},
    {MD_BLOCK_OL, "", "</ol>\n"},
    {MD_BLOCK_LI, "", "</li>\n"},
    {MD_BLOCK_HR, "<hr>\n", ""},
    {MD_BLOCK_H, "", ""},
    {MD_BLOCK_CODE, "<pre><code>", "</code></pre>\n"},
    {MD_BLOCK_HTML, "", ""},
    {MD_BLOCK_P, "<p>", "</p>\n"},
    {MD_BLOCK_TABLE, "<table>\n", "</table>\n"},
    {MD_BLOCK_THEAD, "<thead>\n", "</thead>\n"},
    {MD_BLOCK_TBODY, "<tbody>\n", "</tbody>\n"},
    {MD_BLOCK_TR, "<tr>", "</tr>\n"},
    {MD_BLOCK_TH, "<th>", "</th>"},
    {MD_BLOCK_TD, "<td>", "</td>"},
};

static const char *block_tag(MD_BLOCKTYPE type, bool open)
{
    for (size_t i = 0; i < LL_COUNT(blocks); i++)
        if (blocks[i].type == type)
            return open ? blocks[i].open : blocks[i].close;
    return "";
}

static int enter_block(MD_BLOCKTYPE type, void *detail, void *arg)
{
    struct writer *w = arg;

    if (type == MD_BLOCK_H)
        ll_buf_printf(w->out, "<h%u>", ((MD_BLOCK_H_DETAIL *)detail)->level);
    else if (type == MD_BLOCK_OL && ((MD_BLOCK_OL_DETAIL *)detail)->start != 1)
        ll_buf_printf(w->out, "<ol start=\"%u\">\n", ((MD_BLOCK_OL_DETAIL *)detail)->start);
    else if (type == MD_BLOCK_OL)
        ll_buf_puts(w->out, "<ol>\n");
    else if (type == MD_BLOCK_LI && ((MD_BLOCK_LI_DETAIL *)detail)->is_task)
        ll_buf_puts(w->out, ((MD_BLOCK_LI_DETAIL *)detail)->task_mark == ' ' ? "<li>\u2610 "
                                                                             : "<li>\u2611 ");
    else if (type == MD_BLOCK_LI)
        ll_buf_puts(w->out, "<li>");
    else
        ll_buf_puts(w->out, block_tag(type, true));
    return w->out->failed;
}

static int leave_block(MD_BLOCKTYPE type, void *detail, void *arg)
{
    struct writer *w = arg;

    if (type == MD_BLOCK_H)
        ll_buf_printf(w->out, "</h%u>\n", ((MD_BLOCK_H_DETAIL *)detail)->level);
    else
        ll_buf_puts(w->out, block_tag(type, false));
    return w->out->failed;
}

/* ---- spans --------------------------------------------------------------------------------------
 */

/* An attribute's octets; entities in it stand as they are written, which HTML reads right. */
static void put_attribute(struct ll_buf *out, const MD_ATTRIBUTE *a)
{
    for (unsigned i = 0; a->substr_offsets[i] < a->size; i++) {
        struct ll_slice s = ll_slice(a->text + a->substr_offsets[i],
                                     a->substr_offsets[i + 1] - a->substr_offsets[i]);

        if (a->substr_types[i] == MD_TEXT_NULLCHAR)
            ll_buf_puts(out, "\xef\xbf\xbd");
        else if (a->substr_types[i] == MD_TEXT_ENTITY)
            ll_buf_put_slice(out, s);
        else
            put_escaped(out, s);
    }
}

/* A scheme that is spelled out in plain: one made of entities is none of ours. */
static bool is_link(const MD_ATTRIBUTE *a)
{
    static const char *const schemes[] = {"http://", "https://", "mailto:"};
    struct ll_slice s = ll_slice(a->text, a->size);

    for (size_t i = 0; i < LL_COUNT(schemes); i++)
        if (ll_slice_casestarts(s, ll_slice_str(schemes[i])))
            return true;
    return false;
}

static void open_link(struct writer *w, const MD_ATTRIBUTE *href)
{
    bool write = is_link(href) && w->links < LL_COUNT(w->link);

    /* An image within a link: HTML has no link in a link. */
    for (unsigned i = 0; i < w->links && i < LL_COUNT(w->link); i++)
        write = write && !w->link[i].written;

    if (w->links < LL_COUNT(w->link))
        w->link[w->links].written = write;
    w->links++;
    if (!write)
        return;
    ll_buf_puts(w->out, "<a href=\"");
    put_attribute(w->out, href);
    ll_buf_puts(w->out, "\">");
}

static void close_link(struct writer *w)
{
    w->links--;
    if (w->links < LL_COUNT(w->link) && w->link[w->links].written)
        ll_buf_puts(w->out, "</a>");
}

static const struct {
    MD_SPANTYPE type;
    const char *tag;
} spans[] = {
    {MD_SPAN_EM, "em"}, {MD_SPAN_STRONG, "strong"}, {MD_SPAN_CODE, "code"}, {MD_SPAN_DEL, "del"}};

static int span(struct writer *w, MD_SPANTYPE type, void *detail, bool enter)
{
    if (type == MD_SPAN_A && enter)
        open_link(w, &((MD_SPAN_A_DETAIL *)detail)->href);
    else if (type == MD_SPAN_IMG && enter)
        open_link(w, &((MD_SPAN_IMG_DETAIL *)detail)->src);
    else if (type == MD_SPAN_A || type == MD_SPAN_IMG)
        close_link(w);
    for (size_t i = 0; i < LL_COUNT(spans); i++)
        if (spans[i].type == type)
            ll_buf_printf(w->out, "<%s%s>", enter ? "" : "/", spans[i].tag);
    return w->out->failed;
}

static int enter_span(MD_SPANTYPE type, void *detail, void *arg)
{
    return span(arg, type, detail, true);
}

static int leave_span(MD_SPANTYPE type, void *detail, void *arg)
{
    return span(arg, type, detail, false);
}

static int put_text(MD_TEXTTYPE type, const MD_CHAR *text, MD_SIZE size, void *arg)
{
    struct writer *w = arg;

    if (type == MD_TEXT_BR)
        ll_buf_puts(w->out, "<br>\n");
    else if (type == MD_TEXT_SOFTBR)
        ll_buf_puts(w->out, "\n");
    else if (type == MD_TEXT_NULLCHAR)
        ll_buf_puts(w->out, "\xef\xbf\xbd");
    else if (type == MD_TEXT_ENTITY)
        ll_buf_put(w->out, text, size);
    else
        put_escaped(w->out, ll_slice(text, size));
    return w->out->failed;
}

bool ll_markdown_to_html(struct ll_slice markdown, struct ll_buf *out)
{
    const MD_PARSER parser = {.flags = MD_FLAG_NOHTML | MD_FLAG_TABLES | MD_FLAG_STRIKETHROUGH |
                                       MD_FLAG_TASKLISTS | MD_FLAG_PERMISSIVEURLAUTOLINKS |
                                       MD_FLAG_PERMISSIVEEMAILAUTOLINKS,
                              .enter_block = enter_block,
                              .leave_block = leave_block,
                              .enter_span = enter_span,
                              .leave_span = leave_span,
                              .text = put_text};
    struct writer w = {.out = out};

    if (markdown.n > LL_MARKDOWN_MAX || !ll_utf8_valid(markdown))
        return false;
    ll_buf_puts(out, "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"></head><body>\n");
    if (md_parse((const MD_CHAR *)markdown.p, (MD_SIZE)markdown.n, &parser, &w) != 0)
        return false;
    ll_buf_puts(out, "</body></html>\n");
    return !out->failed;
}
