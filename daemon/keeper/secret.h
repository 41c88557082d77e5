/*
 * secret: memory for keys. OpenSSL's whole heap is laid into memory made by memfd_secret(2), which
 * no other process can read, not even root through /proc/PID/mem; where the kernel lacks it, into
 * locked memory that is left out of core dumps.
 */
#ifndef LL_DAEMON_KEEPER_SECRET_H
#define LL_DAEMON_KEEPER_SECRET_H

#include <stddef.h>

#define LL_SECRET_MAX (64u << 20) /* octets set aside; pages are taken as they are touched */

/* Before the first use of OpenSSL in the process. Returns NULL when the memory is secret, else
 * what is missing, a static sentence: keys then lie in memory of the next best kind. */
const char *ll_secret_start(void);

/* The allocator, for tests: memory out of the arena (zeroed when it comes back), NULL when full. */
void *ll_secret_malloc(size_t n);
void *ll_secret_realloc(void *, size_t n);
void ll_secret_free(void *);

#endif
