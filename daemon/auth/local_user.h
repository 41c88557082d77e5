/*
 * local_user: who a number of the kernel's is, for sendmail(1): from /etc/passwd and /etc/group
 * themselves. Other sources of users (NSS) would bring foreign code, sockets and waits into auth.
 */
#ifndef LL_DAEMON_AUTH_LOCAL_USER_H
#define LL_DAEMON_AUTH_LOCAL_USER_H

#include "io/conf.h"
#include "letterlock/addr.h"

#include <sys/types.h>

/* *ret: name@local_domain; a user without an entry, or with a name that is no local part, is
 * called uidNUMBER. True: trusted, as root and `trusted_users` are (by name, or by @group as
 * primary group or member of it). */
bool ll_local_user(const struct ll_conf *, uid_t, struct ll_mailbox *ret);

#endif
