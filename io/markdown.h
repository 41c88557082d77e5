/*
 * markdown: Markdown (CommonMark, with tables, strikethrough and task lists) as HTML for the
 * alternative part of a letter.
 *
 * What is written names nothing that a reader's program would fetch: no raw HTML is let through, an
 * image becomes a link to it, and links are http, https and mailto alone (others stand as text).
 */
#ifndef LL_IO_MARKDOWN_H
#define LL_IO_MARKDOWN_H

#include "letterlock/base.h"

#define LL_MARKDOWN_MAX (1u << 20) /* octets of Markdown */

/* Appends a whole HTML document. false: longer than LL_MARKDOWN_MAX, not UTF-8, or no room in out.
 */
bool ll_markdown_to_html(struct ll_slice markdown, struct ll_buf *out);

#endif
