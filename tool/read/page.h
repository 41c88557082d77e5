/*
 * page: text of strangers, made harmless and set so that it cannot be taken for ours.
 *
 * What `read` says itself begins in the first column. What a letter says has a margin ("| ") on
 * every line, long lines too: they are folded here, so that no terminal breaks them where the
 * margin is missing. A field's value is folded under its own label.
 */
#ifndef LL_TOOL_READ_PAGE_H
#define LL_TOOL_READ_PAGE_H

#include "letterlock/base.h"

#define LL_PAGE_WIDTH     80 /* columns where nothing is known of the terminal */
#define LL_PAGE_WIDTH_MIN 40
#define LL_PAGE_WIDTH_MAX 400
#define LL_PAGE_LABEL     13 /* columns of "Label:" with the blanks behind it */

enum ll_clean {
    LL_CLEAN_TEXT, /* keeps LF and HTAB; drops what has no width */
    LL_CLEAN_LINE  /* one line; what has no width shows as U+FFFD, for names may differ in it alone
                    */
};

/* Appends text as UTF-8 that moves no cursor and turns no direction: controls (C0, DEL, C1),
 * overrides and isolates of direction, tags, and octets that are no UTF-8 become U+FFFD; CR LF, CR,
 * U+2028 and U+2029 become LF (a blank in LINE). */
void ll_clean(struct ll_slice in, enum ll_clean, struct ll_buf *out);

struct ll_page {
    struct ll_buf *out;
    unsigned width; /* columns */
};

/* Clean text (LL_CLEAN_TEXT), each line with the margin and folded. */
void ll_page_text(struct ll_page *, const char *margin, struct ll_slice clean);
/* "Label:  value", clean (LL_CLEAN_LINE) and folded under itself. An empty label goes on. */
void ll_page_field(struct ll_page *, const char *label, struct ll_slice clean);
/* As ll_page_field, with text of ours. */
void ll_page_fieldf(struct ll_page *, const char *label, const char *fmt, ...) LL_PRINTF(3, 4);
/* As ll_page_field: our words (ASCII, short), then a stranger's text in quotes, cut to what the
 * line has room for, quotes in it as "'": it has no second line that could be taken for one of
 * ours. */
void ll_page_quoted(struct ll_page *, const char *label, const char *before, struct ll_slice text);

#endif
