/*
 * sandbox: what each role may do. One row a role, in sandbox.c.
 */
#ifndef LL_DAEMON_SANDBOX_H
#define LL_DAEMON_SANDBOX_H

#include "daemon/msg.h"
#include "io/conf.h"
#include "io/sandbox.h"

#define LL_SANDBOX_PATHS_MAX 4096 /* files and folders of one role */

/* The files and folders that this role may open, by the configuration, without those of the system
 * that every role may read. Returns how many were written to ret; paths are in `arena`. */
size_t ll_sandbox_paths(const struct ll_conf *, enum ll_role, struct ll_arena *arena,
                        struct ll_sandbox_path *ret, size_t max);

/* Before a role's `start`: file and network rules, limits. Words for what the kernel lacks are
 * appended to *ret_missing. 0; -1 when a part that the kernel has could not be set up. */
int ll_sandbox_before_start(const struct ll_conf *, enum ll_role, struct ll_buf *ret_missing);
/* After it: the filter of system calls, for all threads. Returns as above. */
int ll_sandbox_after_start(const struct ll_conf *, enum ll_role, struct ll_buf *ret_missing);

#endif
