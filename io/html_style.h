/*
 * html_style: does this CSS hide what it is applied to? (See io/html.h.)
 */
#ifndef LL_IO_HTML_STYLE_H
#define LL_IO_HTML_STYLE_H

#include "io/html.h"

#define LL_HTML_NO_COLOUR (-1)

struct ll_html_style {
    bool hidden;
    int32_t colour; /* 0xRRGGBB, or LL_HTML_NO_COLOUR: not said */
    int32_t ground;
};

/* Reads declarations ("color: red; display: none"). */
struct ll_html_style ll_html_style(struct ll_slice declarations);
/* A colour as attributes and styles name it; LL_HTML_NO_COLOUR: unknown. */
int32_t ll_html_colour(struct ll_slice text);
/* So near to each other that one cannot be read on the other. */
bool ll_html_colours_near(int32_t a, int32_t b);

/* Selectors of rules that hide: ".class", "#id", "tag", one a line. Rules within @media are left
 * out: they hold for some readers only. */
void ll_html_style_sheet(struct ll_slice sheet, struct ll_buf *rules, unsigned *count);
bool ll_html_rule_hides(struct ll_slice rules, char mark, struct ll_slice name);

#endif
