/*
 * letters: letters out of a file: one letter, or an mbox of several, in wire form.
 */
#ifndef LL_TOOL_CLIENT_LETTERS_H
#define LL_TOOL_CLIENT_LETTERS_H

#include "letterlock/base.h"

#define LL_LETTERS_MAX (1024u * 1024 * 1024) /* octets of a file that is read */

struct ll_letters {
    struct ll_buf file;
    struct ll_slice rest;
    bool mbox; /* the file begins with "From " */
    bool crlf; /* its first line ends in CR LF */
    struct ll_buf letter;
};

/* Reads a file, or stdin for "-". 0, or a status, said on stderr. Release it in both cases. */
int ll_letters_open(struct ll_letters *, const char *path);
void ll_letters_release(struct ll_letters *);
/* The next letter: lines end in CR LF; of an mbox without its "From " line and with one ">" taken
 * off ">From " (mboxrd). Lives until the next call. A file without octets is one empty letter.
 * False: no more; *ret_status tells whether memory was the reason. */
bool ll_letters_next(struct ll_letters *, struct ll_slice *ret, int *ret_status);

#endif
