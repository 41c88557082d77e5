/*
 * dkim: the keeper's DKIM keys: loaded by the table (io/dkim_keys.h), told to those who may sign,
 * used after a look at the text (dkim_check.h).
 */
#ifndef LL_KEEPER_DKIM_H
#define LL_KEEPER_DKIM_H

#include "daemon/proc.h"
#include "io/conf.h"
#include "letterlock/dkim.h"

struct ll_dkim_store;

/* All or nothing: NULL on any fault, with a sentence a line in ret_err. */
struct ll_dkim_store *ll_dkim_store_load(const struct ll_conf *, struct ll_buf *ret_err);
void ll_dkim_store_free(struct ll_dkim_store *);
size_t ll_dkim_store_count(const struct ll_dkim_store *);
void ll_dkim_store_send(const struct ll_dkim_store *, struct ll_peer *to);
/* The signature for DKIM_ASK, or why not (a static sentence). now: seconds since 1970. */
const char *ll_dkim_store_sign(const struct ll_dkim_store *, const struct ll_conf *, int64_t now,
                               enum ll_role asker, const struct ll_m_dkim_ask *,
                               struct ll_buf *ret_signature);

#endif
