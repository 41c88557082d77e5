/*
 * roles: which user a role runs as.
 *
 * Used by super, which starts each role under its user, and by letterlock(1) `init`, which gives
 * files and folders to the role that owns them:
 *
 *   run_dir, log_file      SUPER      (the control socket too: its mode, 0600, decides who
 * connects; inside the user namespace root is not seen as uid 0) letterlock.conf        root, group
 * of SUPER, 0640: super reads it again at reload state_dir              SUPER, 0711; in it
 *     accounts, and folder AUTH       (SQLite makes its journal beside the file)
 *     aliases              AUTH reads
 *     key files            KEEPER, 0600; certificates: KEEPER reads
 *     password files       RELAY, 0600
 *     reports/             TALLY, 0700
 *   spool_dir              QUEUE, 0700
 *   mail_dir               LOCAL, 0700
 */
#ifndef LL_DAEMON_ROLES_H
#define LL_DAEMON_ROLES_H

#include "daemon/msg.h"
#include "io/conf.h"

#include <sys/types.h>

/* The user of that role: PREFIX-NAME of the system (conf->users), else uid_base + the role's number
 * for user and group. Returns 0; -1 when there is neither. */
int ll_role_uid(const struct ll_conf *, enum ll_role, uid_t *ret_uid, gid_t *ret_gid);
/* How many workers of it the configuration wants. */
unsigned ll_role_workers(const struct ll_conf *conf, enum ll_role);
/* The program beside letterlockd; "" for super, NULL for no process. */
const char *ll_role_program(enum ll_role);
/* Does its process end by itself, when it has done its one thing? */
bool ll_role_once(enum ll_role);
/* The role of that name; LL_ROLE_COUNT when there is none. */
enum ll_role ll_role_of_name(const char *name);

#endif
