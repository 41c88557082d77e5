/*
 * sandbox: the parts that the kernel gives, without knowledge of roles (daemon/sandbox.h has that).
 *
 * Order: ll_sandbox_files before any thread is started (Landlock binds a thread and those that it
 * starts later), ll_sandbox_calls last (the filter is set for all threads at once).
 */
#ifndef LL_IO_SANDBOX_H
#define LL_IO_SANDBOX_H

#include "letterlock/base.h"

enum ll_sandbox_access { LL_ACCESS_READ, LL_ACCESS_WRITE };

struct ll_sandbox_path {
    const char
        *path; /* a file, or a folder with all below it; what does not exist is passed over */
    enum ll_sandbox_access access; /* WRITE: read, write, make, rename and remove */
};

struct ll_sandbox_net {
    bool any_connect;        /* TCP connections to any port, from any address of ours: port 0, the
                              * system's choice, may be bound; to listen there takes more */
    const uint16_t *connect; /* else: to these */
    size_t n_connect;
};

/* Landlock: files but `paths` cannot be opened, nothing can be executed, no TCP port bound, none
 * connected but those of `net`, no process outside signalled. Words for what this kernel lacks go
 * to *ret_missing ("landlock", "landlock-net" ...). 0, or -1 when an existing part failed. */
int ll_sandbox_files(const struct ll_sandbox_path *paths, size_t n,
                     const struct ll_sandbox_net *net, struct ll_buf *ret_missing);

/* Groups of system calls. */
enum ll_sandbox_group {
    LL_CALLS_ACCEPT = 1,  /* connections on listening sockets that were given; their options */
    LL_CALLS_CONNECT = 2, /* new IPv4 and IPv6 sockets, connected outwards */
    LL_CALLS_OPEN = 4,    /* open, stat and read files */
    LL_CALLS_CHANGE = 8,  /* make, rename, remove, truncate, lock files */
    LL_CALLS_FLUSH = 16,  /* flush descriptors that were given; never write but where one stands */
    LL_CALLS_MEMFD = 32,  /* anonymous files with seals */
    LL_CALLS_SETFL = 64,  /* fcntl F_SETFL: could take O_APPEND from a segment */
};

/* no_new_privs, no capability, not dumpable, no core file, at most `files` descriptors. 0 or -1. */
int ll_sandbox_limits(uint64_t files);

/* Seccomp: only the basic calls and the groups. Dangerous calls (exec, ptrace, namespaces ...) kill
 * the process; opening files and sockets without the group fails with EACCES, so that a library
 * that only tries does no harm; any other call is logged by its number and ends the process. The
 * word "seccomp" goes to *ret_missing where the kernel has none. 0, or -1 when it could not be set.
 */
int ll_sandbox_calls(unsigned groups, struct ll_buf *ret_missing);

#endif
