/*
 * charset: text of a letter, in whatever charset it came, as UTF-8.
 *
 * Only charsets of a fixed list are converted, by their usual names and what mail programs write
 * for them; where the web and mail programs agree that a label means more than it says, it does:
 * iso-8859-1 and us-ascii are read as windows-1252, gb2312 as gb18030, shift_jis as cp932, and so
 * on. What no charset is named for, or an unknown one, is UTF-8 if it is well-formed, else
 * windows-1252. Octets that mean nothing become U+FFFD, one each.
 *
 * The converters are iconv's, which loads a shared object from the disk for most charsets. A
 * program that shuts itself in before it reads a letter calls ll_charset_preload() first; from then
 * on nothing is opened.
 */
#ifndef LL_IO_CHARSET_H
#define LL_IO_CHARSET_H

#include "letterlock/mime.h"

struct ll_charset; /* open converters; not for several threads at once */

/* NULL: not enough memory. */
struct ll_charset *ll_charset_new(void);
void ll_charset_free(struct ll_charset *);
/* Opens a converter for every charset of the list (about 50 small shared objects) and no more
 * later. Returns how many this system has; those it lacks count as unknown. */
size_t ll_charset_preload(struct ll_charset *);

/* Is it one of the list, under this or another name? */
bool ll_charset_known(struct ll_slice name);

/* Appends `in` as well-formed UTF-8. At most four times the octets that come in, and no more than
 * out may hold (out->failed). Returns false when octets had to be replaced, or the charset was not
 * known and was guessed; the text is there all the same. */
bool ll_charset_to_utf8(struct ll_charset *, struct ll_slice name, struct ll_slice in,
                        struct ll_buf *out);
/* Appends a field's body as people read it: unfolded, encoded words decoded (RFC 2047), in UTF-8.
 * false as above, or no memory. Control characters stay in: whoever shows them takes care. */
bool ll_charset_field(struct ll_charset *, struct ll_slice body, struct ll_buf *out);
/* Appends a parameter's value (a file name): its charset where it names one (RFC 2231), else
 * encoded words, which have no business there but stand there often. */
bool ll_charset_param(struct ll_charset *, const struct ll_mime_param *, struct ll_buf *out);

#endif
