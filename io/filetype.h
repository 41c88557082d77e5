/*
 * filetype: the media type of a file, by its content (libmagic) and, where content says no more
 * than "text", by the ending of its name.
 *
 * The data base is read when it is opened; after that no file is touched, so a program may shut
 * itself in between. At most the first 1 MiB of a file is looked at; nothing is unpacked or run.
 */
#ifndef LL_IO_FILETYPE_H
#define LL_IO_FILETYPE_H

#include "letterlock/base.h"

#define LL_FILETYPE_LOOK (1u << 20) /* octets of a file that are looked at */

struct ll_filetype;

/* NULL: *ret_why (static, or until the next call) says why. */
struct ll_filetype *ll_filetype_new(const char **ret_why);
void ll_filetype_free(struct ll_filetype *);
/* Appends "image/png"; "application/octet-stream" where nothing is known; "text/plain" for an empty
 * file. name: the file's name, or empty. */
void ll_filetype_of(struct ll_filetype *, struct ll_slice octets, struct ll_slice name,
                    struct ll_buf *out);
/* Would a system run this when somebody opens it, or could it run code (programs, scripts, macros,
 * links)? By the type, or the ending of the name. For a warning before a file is saved or sent. */
bool ll_filetype_is_active(struct ll_slice type, struct ll_slice name);

#endif
