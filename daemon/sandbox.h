/*
 * sandbox: what each role may do once it has started. One row a role, in sandbox.c.
 */
#ifndef LL_DAEMON_SANDBOX_H
#define LL_DAEMON_SANDBOX_H

#include "daemon/msg.h"
#include "io/conf.h"

/* Shuts the sandbox of that role around the whole process, all threads of it. What the kernel
 * lacks is appended to *ret_missing as words divided by blanks ("seccomp", "landlock" ...).
 * Returns 0; -1 when a part that the kernel has could not be set up. */
int ll_sandbox_enter(const struct ll_conf *, enum ll_role, struct ll_buf *ret_missing);

#endif
