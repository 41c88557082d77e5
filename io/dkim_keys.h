/*
 * dkim_keys: which DKIM keys this server has, and when each of them signs.
 *
 * The table is state_dir/dkim/table, written by `letterlock dkim`, read by keeper; a line is
 *
 *     DOMAIN SELECTOR ALGORITHM FROM UNTIL PUBLIC
 *
 * (times in seconds since 1970, UNTIL 0: no end; PUBLIC: p= of the record, base64)
 *
 * and the private key is state_dir/dkim/DOMAIN.SELECTOR.pem. A key signs from FROM to UNTIL; its
 * DNS record must be there before FROM and stay LL_DKIM_KEEP_S longer than UNTIL, for letters that
 * are still on their way. So a rotation needs no second step: the clock does it.
 */
#ifndef LL_IO_DKIM_KEYS_H
#define LL_IO_DKIM_KEYS_H

#include "io/conf.h"
#include "letterlock/dkim.h"

#define LL_DKIM_TABLE_MAX 1000        /* keys of one server */
#define LL_DKIM_KEEP_S    (8 * 86400) /* the x= of signatures, and a day */

struct ll_dkim_entry {
    struct ll_dns_name domain;
    struct ll_dns_name selector;
    enum ll_dkim_algorithm algorithm;
    int64_t from;
    int64_t until; /* 0: open */
    /* p= of the record, borrowed from the table; empty in what came over the wire */
    struct ll_slice public_key;
};

struct ll_dkim_table {
    struct ll_dkim_entry *entry; /* room for LL_DKIM_TABLE_MAX */
    size_t n;
    uint8_t *text; /* what the entries borrow from */
};

/* Paths below conf's state_dir. False: too long. */
bool ll_dkim_table_path(const struct ll_conf *, struct ll_buf *out);
bool ll_dkim_key_path(const struct ll_conf *, const struct ll_dkim_entry *, struct ll_buf *out);

/* Reads the text of a table. False: a fault, as "line N: ..." in ret_err; *ret is untouched. */
bool ll_dkim_table_parse(struct ll_slice text, struct ll_dkim_table *ret, struct ll_buf *ret_err);
/* Reads the file; one that is not there is an empty table. */
bool ll_dkim_table_load(const struct ll_conf *, struct ll_dkim_table *ret, struct ll_buf *ret_err);
void ll_dkim_table_release(struct ll_dkim_table *);
void ll_dkim_table_put(const struct ll_dkim_table *, struct ll_buf *out);

static inline bool ll_dkim_signs(const struct ll_dkim_entry *e, int64_t now)
{
    return e->from <= now && (e->until == 0 || now < e->until);
}

/* One entry on the wire (message DKIM_KEYS). */
void ll_dkim_entry_encode(const struct ll_dkim_entry *, struct ll_buf *out);
bool ll_dkim_entry_decode(struct ll_cursor *, struct ll_dkim_entry *ret);

#endif
