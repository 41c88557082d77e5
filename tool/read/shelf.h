/*
 * shelf: where letters lie: a file with one, an mbox, a Maildir, stdin.
 */
#ifndef LL_TOOL_READ_SHELF_H
#define LL_TOOL_READ_SHELF_H

#include "tool/client/letters.h"

#define LL_SHELF_MAX  100000 /* letters of a Maildir that are listed */
#define LL_SHELF_HEAD 65536  /* octets of each that are read for the list */

struct ll_shelf {
    const char *path;
    bool maildir;
    char **name; /* of a Maildir: "new/..." and "cur/...", oldest first */
    size_t n;
    struct ll_letters letters; /* of a file, or the one letter of a Maildir */
};

/* number: 0 the only letter, -1 the newest, else the number in the list. A file that holds several
 * letters and a Maildir have a list; *ret_list says that it is asked for (number 0). 0, or a
 * status, said on stderr. Nothing of a letter is looked at here, but for the octets "From ". */
int ll_shelf_open(struct ll_shelf *, const char *path, int64_t number, bool *ret_list);
void ll_shelf_release(struct ll_shelf *);

/* The letter (in wire form). False: there is none of that number, said on stderr. */
bool ll_shelf_letter(struct ll_shelf *, int64_t number, struct ll_slice *ret, int *ret_status);
/* For the list: the next letter's beginning; false: no more. Zero *at to begin. */
bool ll_shelf_next(struct ll_shelf *, size_t *at, struct ll_buf *head);

#endif
