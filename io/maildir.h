/*
 * maildir: letters into Maildirs, durably, many at a time.
 *
 * A mailbox local@domain lives in ROOT/domain/local/{tmp,new,cur}, made when first needed. Each
 * letter is written to tmp, flushed, renamed to new, and the directory flushed: only then is it
 * delivered. A batch shares its flushes. Lines end in LF, as Maildir readers expect.
 *
 * The file's name is made from the letter's id and the recipient's index, so a delivery that is
 * repeated after a crash finds its own file and makes no second copy (while it lies in new).
 *
 * Paths: nothing of a letter is ever part of one but the mailbox name, whose octets outside
 * [a-z0-9._+=-] and whose leading dots are written as %XX; every open is beneath ROOT, crosses no
 * symbolic link and no mount (openat2).
 */
#ifndef LL_IO_MAILDIR_H
#define LL_IO_MAILDIR_H

#include "letterlock/base.h"

struct ll_maildir;

struct ll_maildir_item {
    struct ll_slice mailbox;      /* local@domain */
    struct ll_slice address;      /* for Delivered-To: the recipient as it was addressed */
    struct ll_slice reverse_path; /* for Return-Path; empty: <> */
    struct ll_slice prepend;      /* header fields, CRLF */
    struct ll_slice body;         /* content in memory, CRLF; or, where fd >= 0, ... */
    int fd;                       /* ... in this descriptor */
    uint64_t body_offset;
    uint64_t body_length;
    uint32_t header_length; /* octets of the content that are header section */
    uint64_t letter;
    uint32_t index; /* of the recipient */
    int64_t arrived_ms;
    bool junk; /* into the folder Junk (Maildir++: .Junk), with a field that says so */
    /* set by deliver: */
    int error;      /* 0, or an errno value: not delivered, nothing left behind in new */
    bool duplicate; /* it lay in new already */
};

/* NULL and errno where root cannot be opened. hostname becomes part of file names. */
struct ll_maildir *ll_maildir_open(const char *root, const char *hostname);
void ll_maildir_close(struct ll_maildir *);

/* Delivers a batch; blocks for the flushes. Each item's error tells how it went. */
void ll_maildir_deliver(struct ll_maildir *, struct ll_maildir_item *, size_t n);

/* The folder of a mailbox below the root, "domain/local"; false when it cannot be one (no @, a part
 * empty or over 200 octets). */
bool ll_maildir_path(struct ll_buf *out, struct ll_slice mailbox);

#endif
