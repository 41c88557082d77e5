/*
 * directory: who lives here. Answers what an address is, from accounts, aliases and configuration.
 *
 * In this order, the first that fits (RFC 5321 2.3.11: the local part is ours to interpret; without
 * regard to case, and "detail" is what follows a character of the setting `plus`):
 *   1. no domain of ours                              OUTSIDE
 *   2. a relayed domain: on its list (or postmaster)  RELAY, else PROBE when it may be asked
 *   3. an account of that name                        MAILBOX
 *   4. an alias of that name                          ALIAS
 *   5. 3 and 4 again without the detail
 *   6. postmaster@, abuse@ (RFC 5321 4.5.1, RFC 2142): the setting `postmaster`, else the oldest
 *      account of the domain, else of any domain      MAILBOX or ALIAS
 *   7. "@domain" among the aliases                    ALIAS
 *   8.                                                UNKNOWN
 * With the setting `srs`, before all of that: an SRS address of that domain is BOUNCE where its
 * hash and its day hold, and UNKNOWN where not (letterlock/srs.h).
 *
 * Changes of the files are seen at the next question (a millisecond later at most). A file that
 * cannot be read now gives LATER wherever it might have known better; never UNKNOWN. A bad file of
 * aliases leaves the last good one in force. Faults are logged, at most every LL_DIRECTORY_LOG_S
 * seconds each.
 */
#ifndef LL_DAEMON_AUTH_DIRECTORY_H
#define LL_DAEMON_AUTH_DIRECTORY_H

#include "daemon/msg.h"
#include "io/accounts.h"
#include "io/conf.h"

#define LL_ALIAS_DEPTH        10          /* aliases of aliases of ... */
#define LL_ALIAS_VISITED_MAX  5000        /* addresses looked at in one expansion */
#define LL_ALIAS_ANSWER_MAX   (60u << 10) /* octets of an answer: it must fit a frame */
#define LL_DIRECTORY_SLOTS    4096        /* answers remembered until something changes */
#define LL_DIRECTORY_LOG_S    10
#define LL_DIRECTORY_BUSY_MS  200 /* how long a writer may make us wait */
#define LL_DIRECTORY_RETRY_MS 500 /* between tries to open what cannot be opened */

struct ll_directory;

struct ll_directory *ll_directory_new(void);
void ll_directory_free(struct ll_directory *);
/* The configuration, which must live until the next one is given. Reads the files. */
void ll_directory_conf(struct ll_directory *, const struct ll_conf *);

/* Reads the aliases now, all or nothing; false: *err says by file and line why the old ones stay.
 */
bool ll_directory_reload(struct ll_directory *, size_t *ret_count, struct ll_buf *err);

/* What the address is. *ret_mailbox: canonical local@domain of a MAILBOX, or of the account of a
 * REPORT's name, else null. A bare
 * "postmaster", and postmaster and abuse at our host name, count as those of the first domain of
 * ours. */
enum ll_addr_kind ll_directory_find(struct ll_directory *, struct ll_slice address,
                                    struct ll_mailbox *ret_mailbox);
/* All final addresses behind an alias, each str16, appended; out untouched unless OK. */
enum ll_alias_result ll_directory_expand(struct ll_directory *, struct ll_slice address,
                                         struct ll_buf *out);
/* Appends the reverse-path of a letter that an alias sends on to another server: the sender's own,
 * or, with the setting `srs`, rewritten unless it is null, ours, or cannot be. False: not now. */
bool ll_directory_srs(struct ll_directory *, struct ll_slice sender, struct ll_buf *out);
/* May this login send from this address? It may from every address whose mail comes to it; the
 * null reverse-path is everybody's. */
bool ll_directory_sender(struct ll_directory *, struct ll_slice login, struct ll_slice address);
/* The account of that login name, as typed. NONE: no such account, or no address at all. */
enum ll_accounts_result ll_directory_account(struct ll_directory *, struct ll_slice login,
                                             struct ll_account *ret);

#endif
