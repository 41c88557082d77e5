/*
 * keystore_internal: what the files of the key store share. Not for others.
 */
#ifndef LL_IO_KEYSTORE_INTERNAL_H
#define LL_IO_KEYSTORE_INTERNAL_H

#include "io/keystore.h"

#include <sqlite3.h>

struct ll_keystore {
    sqlite3 *db;
    char *path;
    bool absent; /* there is no file: an empty store in memory, which takes nothing */
    bool within; /* ll_keystore_begin */
};

/* The columns `flags` of keys. */
enum {
    LL_KEYSTORE_CA = 1,
    LL_KEYSTORE_REVOKED = 2,
    LL_KEYSTORE_ENCRYPTS = 4,
    LL_KEYSTORE_DEFAULT_KEY = 8
};

/* What went wrong, as a result and a sentence. */
enum ll_keystore_result ll_keystore_fault(const struct ll_keystore *, int rc,
                                          struct ll_buf *ret_err);
/* A statement with its values bound in order: one letter a value, i int64_t, t struct ll_slice as
 * text, b struct ll_slice as octets, B the same with NULL for the empty one. NULL: *ret_rc. */
sqlite3_stmt *ll_keystore_sql(struct ll_keystore *, int *ret_rc, const char *sql, const char *types,
                              ...);
/* Runs a statement that gives no rows; returns SQLite's code. */
int ll_keystore_do(struct ll_keystore *, const char *sql, const char *types, ...);
/* A column's octets, borrowed from the statement. */
struct ll_slice ll_keystore_column(sqlite3_stmt *, int at);
/* Where no transaction is open yet, opens one (*ret_mine) ... and ends what it opened. */
int ll_keystore_enter(struct ll_keystore *, bool *ret_mine);
int ll_keystore_leave(struct ll_keystore *, bool mine, int rc);

#endif
