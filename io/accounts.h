/*
 * accounts: the people who live here, in one SQLite file that letterlock(1) writes and the process
 * `auth` reads.
 *
 *   users(address TEXT PRIMARY KEY, hash TEXT, locked INTEGER, created INTEGER)
 *
 * `address` is canonical local@domain in lower case (ll_account_name); `hash` is argon2id in
 * libsodium's text form, with LL_HASH_OPS passes over LL_HASH_MEM octets. The file is readable by
 * its owner alone. PRAGMA user_version holds LL_ACCOUNTS_VERSION; a newer file is refused.
 *
 * Every call that can fail appends one sentence to ret_err (which may be NULL).
 */
#ifndef LL_IO_ACCOUNTS_H
#define LL_IO_ACCOUNTS_H

#include "letterlock/addr.h"
#include "letterlock/base.h"

#define LL_ACCOUNTS_VERSION 1
#define LL_HASH_OPS         2           /* passes: 22 ms a check on the machines we measured */
#define LL_HASH_MEM         (19u << 20) /* octets: two at a time stay below 40 MiB */
#define LL_HASH_TEXT_MAX    128         /* octets of a stored hash, NUL included */
#define LL_PASSWORD_MIN     8           /* octets of a new password (NIST SP 800-63B 5.1.1) */
#define LL_PASSWORD_MAX     1024        /* octets; longer ones are refused unread */

struct ll_accounts;

struct ll_account {
    char address[LL_MAILBOX_MAX + 1];
    char hash[LL_HASH_TEXT_MAX];
    bool locked;     /* may not log in; mail still arrives */
    int64_t created; /* Unix time, seconds */
};

enum ll_accounts_result {
    LL_ACCOUNTS_OK,
    LL_ACCOUNTS_NONE,   /* no such account */
    LL_ACCOUNTS_EXISTS, /* that account is there already */
    LL_ACCOUNTS_BUSY,   /* another process holds the file: try again */
    LL_ACCOUNTS_BROKEN, /* missing, unreadable, or no account file */
};

/* The name of an account for an address: canonical, and its local part in lower case. False: no
 * address with a domain name, or longer than LL_MAILBOX_MAX. utf8 as in ll_mailbox_parse. */
bool ll_account_name(struct ll_slice address, struct ll_mailbox *ret);

/* Makes an empty file, mode 0600, that must not exist yet. */
enum ll_accounts_result ll_accounts_create(const char *path, struct ll_buf *ret_err);
/* Opens an existing one. busy_ms: how long a call waits for another process's lock. */
enum ll_accounts_result ll_accounts_open(const char *path, bool write, int busy_ms,
                                         struct ll_accounts **ret, struct ll_buf *ret_err);
void ll_accounts_close(struct ll_accounts *);

/* A number that changes with every committed change, at the cost of one pread; 0 when it could not
 * be read. Callers that cache answers compare it. */
uint64_t ll_accounts_generation(struct ll_accounts *);
/* Has the path come to name another file than the one that is open (restored, made anew)? */
bool ll_accounts_replaced(struct ll_accounts *);

/* name: as ll_account_name gives it. ret may be NULL when only existence is asked. */
enum ll_accounts_result ll_accounts_find(struct ll_accounts *, struct ll_slice name,
                                         struct ll_account *ret, struct ll_buf *ret_err);
/* The oldest account of that domain (A-labels). */
enum ll_accounts_result ll_accounts_first(struct ll_accounts *, struct ll_slice domain,
                                          struct ll_account *ret, struct ll_buf *ret_err);
/* All accounts in order of domain and name; the hash is left empty. each returns false to stop. */
enum ll_accounts_result ll_accounts_each(struct ll_accounts *,
                                         bool (*each)(void *arg, const struct ll_account *),
                                         void *arg, struct ll_buf *ret_err);

enum ll_accounts_result ll_accounts_add(struct ll_accounts *, struct ll_slice name,
                                        const char *hash, int64_t now_s, struct ll_buf *ret_err);
enum ll_accounts_result ll_accounts_set_hash(struct ll_accounts *, struct ll_slice name,
                                             const char *hash, struct ll_buf *ret_err);
enum ll_accounts_result ll_accounts_set_locked(struct ll_accounts *, struct ll_slice name,
                                               bool locked, struct ll_buf *ret_err);
enum ll_accounts_result ll_accounts_del(struct ll_accounts *, struct ll_slice name,
                                        struct ll_buf *ret_err);

/* argon2id; about 20 ms and LL_HASH_MEM octets each. False: no memory, or (make) a password out of
 * the limits; (check) the wrong one. hash_check with hash NULL checks against a hash that nobody
 * has: the same work, and always false. */
bool ll_hash_make(struct ll_slice password, char ret[LL_HASH_TEXT_MAX]);
bool ll_hash_check(const char *hash, struct ll_slice password);

#endif
