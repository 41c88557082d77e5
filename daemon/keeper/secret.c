/* See secret.h. Blocks come in powers of two, each with a header that names its class; a freed
 * block is wiped and goes to its class's list. The keeper has one thread. */
#include "daemon/keeper/secret.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <openssl/crypto.h>

#define CLASS_MIN 5  /* 32 octets */
#define CLASS_MAX 22 /* 4 MiB */
#define ARENA_MIN (4u << 20)
#define MAGIC     0x6c6c6b65u

struct block {
    uint32_t magic;
    uint32_t class;
    struct block *next; /* while free */
};

static uint8_t *arena;
static size_t arena_size, arena_used;
static struct block *free_list[CLASS_MAX + 1];

void *ll_secret_malloc(size_t n)
{
    uint32_t class = CLASS_MIN;
    if (n > ((size_t)1 << CLASS_MAX) - sizeof(struct block))
        return NULL;
    while (((size_t)1 << class) < n + sizeof(struct block))
        class ++;
    struct block *b = free_list[class];
    if (b) {
        free_list[class] = b->next;
    } else {
        if (((size_t)1 << class) > arena_size - arena_used)
            return NULL;
        b = (struct block *)(arena + arena_used);
        arena_used += (size_t)1 << class;
        b->magic = MAGIC;
        b->class = class;
    }
    b->next = NULL;
    return b + 1;
}

static struct block *block_of(void *p)
{
    struct block *b = (struct block *)p - 1;
    if (b->magic != MAGIC || b->class < CLASS_MIN || b->class > CLASS_MAX)
        abort(); /* the heap is damaged: better no keeper than that */
    return b;
}

static size_t room(const struct block *b)
{
    return ((size_t)1 << b->class) - sizeof(*b);
}

void ll_secret_free(void *p)
{
    if (!p)
        return;
    struct block *b = block_of(p);
    explicit_bzero(p, room(b));
    b->next = free_list[b->class];
    free_list[b->class] = b;
}

void *ll_secret_realloc(void *p, size_t n)
{
    if (!p)
        return ll_secret_malloc(n);
    if (n == 0) {
        ll_secret_free(p);
        return NULL;
    }
    struct block *b = block_of(p);
    if (n <= room(b))
        return p;
    void *q = ll_secret_malloc(n);
    if (q) {
        memcpy(q, p, room(b));
        ll_secret_free(p);
    }
    return q;
}

static void *for_malloc(size_t n, const char *file, int line)
{
    return ll_secret_malloc(n);
}

static void *for_realloc(void *p, size_t n, const char *file, int line)
{
    return ll_secret_realloc(p, n);
}

static void for_free(void *p, const char *file, int line)
{
    ll_secret_free(p);
}

/* As much as may be locked, within reason. */
static size_t lockable(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_MEMLOCK, &r) != 0)
        return 0;
    if (r.rlim_cur < r.rlim_max) {
        r.rlim_cur = r.rlim_max < LL_SECRET_MAX ? r.rlim_max : LL_SECRET_MAX;
        setrlimit(RLIMIT_MEMLOCK, &r);
    }
    return r.rlim_cur < LL_SECRET_MAX ? r.rlim_cur & ~(size_t)0xffff : LL_SECRET_MAX;
}

static void *map_secret(size_t size)
{
#ifdef SYS_memfd_secret
    int fd = (int)syscall(SYS_memfd_secret, (unsigned)O_CLOEXEC);
    if (fd < 0)
        return MAP_FAILED;
    void *p = MAP_FAILED;
    if (ftruncate(fd, (off_t)size) == 0)
        p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return p;
#else
    return MAP_FAILED;
#endif
}

const char *ll_secret_start(void)
{
    const char *missing = NULL;
    size_t lock = lockable();
    void *p = lock >= ARENA_MIN ? map_secret(lock) : MAP_FAILED;
    arena_size = lock;
    if (p == MAP_FAILED) {
        arena_size = LL_SECRET_MAX;
        // cppcheck-suppress invalidFunctionArg ; -1 is what MAP_ANONYMOUS wants
        p = mmap(NULL, arena_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            return "keys lie in ordinary memory: no arena could be made";
        madvise(p, arena_size, MADV_DONTDUMP);
        missing = lock >= ARENA_MIN && mlock2(p, arena_size, MLOCK_ONFAULT) == 0
                      ? "memfd_secret is missing: keys lie in locked memory"
                      : "memfd_secret is missing and the limit on locked memory is below 4 MiB: "
                        "keys lie in ordinary memory, left out of core dumps";
    }
    arena = p;
    if (CRYPTO_set_mem_functions(for_malloc, for_realloc, for_free) != 1) {
        munmap(p, arena_size);
        arena_size = 0;
        return "OpenSSL was in use before its memory could be moved: keys lie in ordinary memory";
    }
    return missing;
}
