/*
 * html: what a reader of an HTML letter would see, as text.
 *
 * libxml2's HTML parser reads, in memory; nothing is loaded, run or followed. Scripts, styles,
 * forms, objects and frames are left out. A link is followed by its real target in brackets, and
 * marked where its text looks like another one. What a page hides from its reader (display, size,
 * colour of the ground, place outside of the page, by attribute or by a simple rule of a style
 * sheet) is left out too, and counted: hidden text is for filters and for tricks, not for people.
 *
 * The text has lines that end in LF, and may hold control characters that the page had: clean it
 * before it is shown.
 */
#ifndef LL_IO_HTML_H
#define LL_IO_HTML_H

#include "letterlock/base.h"

#define LL_HTML_IN_MAX    (8u * 1024 * 1024) /* octets of a page; newsletters have 100 KiB */
#define LL_HTML_DEPTH_MAX 256                /* elements in elements whose style is followed */
#define LL_HTML_LINK_MAX  2000               /* octets of a target that are shown */
#define LL_HTML_RULES_MAX 200                /* selectors of style sheets that hide something */

struct ll_html_facts {
    unsigned remote;  /* images and the like that would have been loaded */
    unsigned links;   /* targets shown */
    unsigned lies;    /* links whose text is another address than their target */
    unsigned forms;   /* forms, left out but for the text in them */
    unsigned scripts; /* likewise, and what could run otherwise */
    size_t hidden;    /* octets of hidden text left out */
    bool cut;         /* the page or the text is over its limit: the rest is missing */
};

/* Appends the text of a page in UTF-8. False: not valid UTF-8, or no memory. */
bool ll_html_text(struct ll_slice page, struct ll_buf *out, struct ll_html_facts *ret);

#endif
