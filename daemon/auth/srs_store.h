/*
 * srs_store: reverse-paths that are too long for an SRS address, in a SQLite file of auth's own
 * beside the accounts ("srs.db"). The address then carries a number, signed and dated as any other,
 * and the report that comes back finds the sender here.
 *
 * A sender has one number a day. What is older than an SRS address may be (LL_SRS_DAYS) is dropped.
 * Every call that fails appends one sentence to err.
 */
#ifndef LL_DAEMON_AUTH_SRS_STORE_H
#define LL_DAEMON_AUTH_SRS_STORE_H

#include "letterlock/base.h"

#define LL_SRS_STORE_NAME "srs.db"
#define LL_SRS_STORE_MAX  100000 /* senders at a time: about 20 MB */

struct ll_srs_store;

/* Beside the file `accounts`, made where there is none. */
struct ll_srs_store *ll_srs_store_open(const char *accounts, struct ll_buf *err);
void ll_srs_store_close(struct ll_srs_store *);
/* Appends the name that stands for the sender, "~" and a number in base32; it is durable when this
 * returns. False: not now, or it is full. */
bool ll_srs_store_put(struct ll_srs_store *, struct ll_slice sender, int64_t unix_s,
                      struct ll_buf *out, struct ll_buf *err);
/* Appends the sender that a name stands for. False: none, or not now (then err says why). */
bool ll_srs_store_get(struct ll_srs_store *, struct ll_slice name, struct ll_buf *out,
                      struct ll_buf *err);

#endif
