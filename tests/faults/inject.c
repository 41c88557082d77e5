/*
 * Put before the C library of a server's processes by LD_PRELOAD. It does two things:
 *
 * It notes what is durable, by the letter of POSIX and no more: of a file, the octets that were
 * there when a flush of it began (of a segment those that write(2) has put there: zeros lie ahead
 * of its writer, which count for nothing); of a name, that its directory was flushed behind its
 * making. When all processes have been killed a test takes away everything else (harness/power.py):
 * the worst that a loss of power may leave behind on any file system.
 *
 * It breaks the server on purpose, to see whether the tests notice: leaves flushes out, makes them
 * later than they say, calls a failed one a success, lets the n-th allocation of a role or the n-th
 * read of a segment fail.
 *
 * LL_INJECT: words with commas between them.
 *   notes=FILE   struct notes, shared by all processes and the test
 *   strict       flushes are noted, not made
 *   slow=MS      a flush takes so long
 *   skip=WHAT    that flush is left out: a name of `kinds`
 *   late=MS      a segment's flush returns at once and is made so much later
 *   lie          a failed flush is called a success
 *
 * The role programs get a new environment from super: it is put in again where they are started.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FILES     (1u << 15)
#define NAMES     (1u << 15)
#define NAME_SIZE 104
#define OPEN_MAX  1024 /* letters that local has open at a time: a batch for each thread */

enum kind { UNKNOWN, SEGMENT, BODY, LOG, MAIL, SEGMENTS, BODIES, LOGS, MAILBOX };
static const char *const kinds[] = {"",          "segment", "body", "log",     "mail",
                                    "segments/", "bodies/", "log/", "mailbox/"};

enum state { FREE, PENDING, DURABLE, GONE };

/* harness/power.py reads and writes it too. */
struct notes {
    char alloc_role[16];        /* whose allocation is to fail, */
    volatile int64_t alloc_in;  /* after so many more; 0: none */
    volatile int64_t alloc_run; /* and so many of them in a row */
    volatile int64_t read_in;   /* the read of a segment that fails with EIO; 0: none */
    uint64_t alloc_failed;
    uint64_t n_names;
    struct file {
        uint64_t key; /* 0: free */
        uint64_t kind;
        uint64_t fresh; /* made or truncated since the notes began */
        uint64_t flushed;
        uint64_t written; /* of a segment: where its writer stands */
    } file[FILES];
    struct name {
        uint64_t dir; /* key of the directory */
        uint64_t state;
        char name[NAME_SIZE];
    } name[NAMES];
};

static struct notes *notes;
static const char *role = ""; /* "" in super */
static enum kind skipped;
static unsigned slow_ms, late_ms;
static bool strict, lie;
static char preload_variable[512], inject_variable[512];
static int open_letters[OPEN_MAX]; /* 0: free */

/* ---- the real calls ----------------------------------------------------------------------------
 */

static long raw(long n, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    long r;

    __asm__ volatile("syscall"
                     : "=a"(r)
                     : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    if (r < 0 && r > -4096) {
        errno = (int)-r;
        return -1;
    }
    return r;
}

/* super starts role programs by execveat, with an environment of its own making. */
long syscall(long n, ...)
{
    char *env[8] = {preload_variable, inject_variable};
    va_list ap;
    long a[6];

    va_start(ap, n);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(ap, long);
    va_end(ap);
    if (n == SYS_execveat && inject_variable[0]) {
        char **old = (char **)(uintptr_t)a[3];

        for (int i = 0; i < 4 && old[i]; i++)
            env[2 + i] = old[i];
        a[3] = (long)(uintptr_t)env;
    }
    return raw(n, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* ---- notes ------------------------------------------------------------------------------------
 */

static uint64_t key_of(const struct stat *st)
{
    return ((uint64_t)st->st_dev << 44) ^ st->st_ino;
}

static struct file *file_of(uint64_t key)
{
    for (size_t i = key * 0x9e3779b97f4a7c15u >> 49; notes; i = (i + 1) % FILES) {
        uint64_t none = 0;

        if (notes->file[i].key == key ||
            __atomic_compare_exchange_n(&notes->file[i].key, &none, key, false, __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST) ||
            none == key)
            return &notes->file[i];
    }
    return NULL;
}

/* Two threads may flush one file, or all files, at a time: what is durable never shrinks. */
static void octets_durable(uint64_t key, uint64_t size)
{
    struct file *f = file_of(key);
    uint64_t old = f->flushed;

    while (old < size && !__atomic_compare_exchange_n(&f->flushed, &old, size, false,
                                                      __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        ;
}

static uint64_t key_of_fd(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 ? key_of(&st) : 0;
}

static void name_made(int dir, const char *name)
{
    uint64_t i = __atomic_fetch_add(&notes->n_names, 1, __ATOMIC_SEQ_CST);
    struct name *n = &notes->name[i];

    if (i >= NAMES || strlen(name) >= NAME_SIZE)
        abort(); /* the run was too long for the notes */
    n->dir = key_of_fd(dir);
    memcpy(n->name, name, strlen(name) + 1);
    __atomic_store_n(&n->state, PENDING, __ATOMIC_SEQ_CST);
}

static void name_gone(int dir, const char *name)
{
    uint64_t key = key_of_fd(dir);

    for (uint64_t i = notes->n_names; i-- > 0;)
        if (notes->name[i].dir == key && strcmp(notes->name[i].name, name) == 0) {
            notes->name[i].state = GONE;
            return;
        }
}

/* Names of that directory, or of all, that were made before the flush began. */
static void names_durable(uint64_t dir, bool all, uint64_t before)
{
    for (uint64_t i = 0; i < before; i++) {
        uint64_t pending = PENDING;

        if (all || notes->name[i].dir == dir)
            __atomic_compare_exchange_n(&notes->name[i].state, &pending, DURABLE, false,
                                        __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
}

static enum kind kind_of(const struct stat *st)
{
    if (strcmp(role, "local") == 0)
        return S_ISDIR(st->st_mode) ? MAILBOX : MAIL;
    return notes ? (enum kind)file_of(key_of(st))->kind : UNKNOWN;
}

/* Files get their kind in the queue, which knows in which folder they lie. */
static void classify(int dir, const char *name, int fd)
{
    static const enum kind inside[] = {[SEGMENTS] = SEGMENT, [BODIES] = BODY, [LOGS] = LOG};
    struct file *f = file_of(key_of_fd(fd));
    struct file *d = file_of(key_of_fd(dir));

    if (strcmp(name, "segments") == 0)
        f->kind = SEGMENTS;
    else if (strcmp(name, "bodies") == 0)
        f->kind = BODIES;
    else if (strcmp(name, "log") == 0)
        f->kind = LOGS;
    else if (strcmp(name, ".") != 0)
        f->kind = d->kind >= SEGMENTS && d->kind <= LOGS ? inside[d->kind] : UNKNOWN;
}

/* ---- names ------------------------------------------------------------------------------------
 */

static void letter_opened(int fd)
{
    for (int i = 0; i < OPEN_MAX; i++) {
        int none = 0;

        if (__atomic_compare_exchange_n(&open_letters[i], &none, fd, false, __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST))
            return;
    }
    abort(); /* its flush would not be noted */
}

int openat(int dir, const char *name, int flags, ...)
{
    mode_t mode = 0;
    va_list ap;
    int fd;

    va_start(ap, flags);
    if (flags & O_CREAT)
        mode = va_arg(ap, mode_t);
    va_end(ap);
    bool made = notes && role[0] && dir >= 0 && (flags & O_CREAT) &&
                raw(SYS_newfstatat, dir, (long)(uintptr_t)name,
                    (long)(uintptr_t) & (struct stat){0}, 0, 0, 0) != 0;
    fd = (int)raw(SYS_openat, dir, (long)(uintptr_t)name, flags, mode, 0, 0);
    if (fd < 0 || !notes || !role[0] || dir < 0)
        return fd;
    if (made)
        name_made(dir, name);
    if (made || (flags & O_TRUNC)) {
        struct file *f = file_of(key_of_fd(fd));

        f->fresh = 1;
        f->flushed = 0;
        f->written = 0;
    }
    if (strcmp(role, "queue") == 0)
        classify(dir, name, fd);
    else if (strcmp(role, "local") == 0 && (flags & O_CREAT))
        letter_opened(fd);
    return fd;
}

int close(int fd)
{
    for (int i = 0; fd > 0 && strcmp(role, "local") == 0 && i < OPEN_MAX; i++)
        if (open_letters[i] == fd)
            open_letters[i] = 0;
    return (int)raw(SYS_close, fd, 0, 0, 0, 0, 0);
}

int mkdirat(int dir, const char *name, mode_t mode)
{
    int r = (int)raw(SYS_mkdirat, dir, (long)(uintptr_t)name, mode, 0, 0, 0);

    if (r == 0 && notes)
        name_made(dir, name);
    return r;
}

int unlinkat(int dir, const char *name, int flags)
{
    int r = (int)raw(SYS_unlinkat, dir, (long)(uintptr_t)name, flags, 0, 0, 0);

    if (r == 0 && notes)
        name_gone(dir, name);
    return r;
}

int renameat2(int from, const char *old, int to, const char *new, unsigned flags)
{
    int r =
        (int)raw(SYS_renameat2, from, (long)(uintptr_t)old, to, (long)(uintptr_t) new, flags, 0);

    if (r == 0 && notes) {
        name_gone(from, old);
        name_made(to, new);
    }
    return r;
}

/* ---- writes -----------------------------------------------------------------------------------
 */

/* The zeros ahead of a writer go by writev. */
ssize_t write(int fd, const void *from, size_t n)
{
    ssize_t r = raw(SYS_write, fd, (long)(uintptr_t)from, (long)n, 0, 0, 0);
    struct stat st;

    if (r > 0 && notes && role[0] && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
        kind_of(&st) == SEGMENT)
        __atomic_add_fetch(&file_of(key_of(&st))->written, (uint64_t)r, __ATOMIC_SEQ_CST);
    return r;
}

static uint64_t octets_of(const struct stat *st, enum kind kind)
{
    return kind == SEGMENT ? file_of(key_of(st))->written : (uint64_t)st->st_size;
}

/* ---- flushes ----------------------------------------------------------------------------------
 */

static int flush(long call, int fd)
{
    struct stat st;
    enum kind kind;
    uint64_t before, octets;
    int r = 0;

    if (!role[0] || fstat(fd, &st) != 0)
        return (int)raw(call, fd, 0, 0, 0, 0, 0);
    kind = kind_of(&st);
    if (kind != UNKNOWN && kind == skipped)
        return 0;
    before = notes ? notes->n_names : 0;
    octets = notes ? octets_of(&st, kind) : 0;
    if (slow_ms)
        usleep(slow_ms * 1000);
    if (!strict)
        r = (int)raw(call, fd, 0, 0, 0, 0, 0);
    if (r != 0)
        return lie ? 0 : r;
    if (notes && S_ISDIR(st.st_mode))
        names_durable(key_of(&st), false, before);
    else if (notes)
        octets_durable(key_of(&st), octets);
    return 0;
}

static void *flush_later(void *arg)
{
    int fd = (int)(intptr_t)arg;

    usleep(late_ms * 1000);
    flush(SYS_fdatasync, fd);
    close(fd);
    return NULL;
}

int fdatasync(int fd)
{
    struct stat st;
    pthread_t thread;

    if (late_ms && role[0] && strcmp(role, "queue") != 0 && fstat(fd, &st) == 0 &&
        kind_of(&st) == SEGMENT &&
        pthread_create(&thread, NULL, flush_later, (void *)(intptr_t)dup(fd)) == 0) {
        pthread_detach(thread);
        return 0;
    }
    return flush(SYS_fdatasync, fd);
}

int fsync(int fd)
{
    return flush(SYS_fsync, fd);
}

int syncfs(int fd)
{
    uint64_t before = notes ? notes->n_names : 0;
    uint64_t key[OPEN_MAX], size[OPEN_MAX];
    size_t n = 0;
    struct stat st;
    int r = 0;

    if (skipped == MAIL)
        return 0;
    for (int i = 0; notes && i < OPEN_MAX; i++)
        if (open_letters[i] && fstat(open_letters[i], &st) == 0) {
            key[n] = key_of(&st);
            size[n++] = (uint64_t)st.st_size;
        }
    if (slow_ms)
        usleep(slow_ms * 1000);
    if (!strict)
        r = (int)raw(SYS_syncfs, fd, 0, 0, 0, 0, 0);
    if (r != 0)
        return lie ? 0 : r;
    for (size_t i = 0; i < n; i++)
        octets_durable(key[i], size[i]);
    if (notes)
        names_durable(0, true, before);
    return 0;
}

/* ---- reads ------------------------------------------------------------------------------------
 */

ssize_t pread(int fd, void *to, size_t n, off_t at)
{
    struct stat st;

    if (notes && notes->read_in > 0 && strcmp(role, "queue") == 0 && fstat(fd, &st) == 0 &&
        kind_of(&st) == SEGMENT && __atomic_sub_fetch(&notes->read_in, 1, __ATOMIC_SEQ_CST) == 0) {
        errno = EIO;
        return -1;
    }
    return raw(SYS_pread64, fd, (long)(uintptr_t)to, (long)n, at, 0, 0);
}

/* ---- memory -----------------------------------------------------------------------------------
 */

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);

static bool no_memory(void)
{
    int64_t in;

    if (!notes || notes->alloc_in <= 0 || strcmp(notes->alloc_role, role) != 0)
        return false;
    in = __atomic_sub_fetch(&notes->alloc_in, 1, __ATOMIC_SEQ_CST);
    if (in > notes->alloc_run || in < 0)
        return false;
    __atomic_fetch_add(&notes->alloc_failed, 1, __ATOMIC_SEQ_CST);
    errno = ENOMEM;
    return true;
}

void *malloc(size_t n)
{
    return no_memory() ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    return no_memory() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    return no_memory() ? NULL : __libc_realloc(p, n);
}

/* ---- what is wanted ---------------------------------------------------------------------------
 */

static const char *value(const char *word, const char *name)
{
    size_t n = strlen(name);

    return strncmp(word, name, n) == 0 ? word + n : NULL;
}

static void open_notes(const char *path)
{
    int fd = (int)raw(SYS_openat, AT_FDCWD, (long)(uintptr_t)path, O_RDWR | O_CLOEXEC, 0, 0, 0);
    void *p = mmap(NULL, sizeof(*notes), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (p == MAP_FAILED)
        _exit(97); /* the harness made it wrong */
    notes = p;
    raw(SYS_close, fd, 0, 0, 0, 0, 0);
}

static void take_word(const char *word)
{
    const char *v;

    if ((v = value(word, "notes=")) != NULL)
        open_notes(v);
    else if ((v = value(word, "slow=")) != NULL)
        slow_ms = (unsigned)strtoul(v, NULL, 10);
    else if ((v = value(word, "late=")) != NULL)
        late_ms = (unsigned)strtoul(v, NULL, 10);
    else if (strcmp(word, "strict") == 0)
        strict = true;
    else if (strcmp(word, "lie") == 0)
        lie = true;
    else if ((v = value(word, "skip=")) != NULL)
        for (unsigned i = 1; i < sizeof(kinds) / sizeof(kinds[0]); i++)
            if (strcmp(kinds[i], v) == 0)
                skipped = (enum kind)i;
}

__attribute__((constructor)) static void begin(int argc, char **argv, char **env)
{
    static char words[512];

    for (; *env; env++) {
        if (strncmp(*env, "LD_PRELOAD=", 11) == 0)
            snprintf(preload_variable, sizeof(preload_variable), "%s", *env);
        if (strncmp(*env, "LL_INJECT=", 10) == 0)
            snprintf(inject_variable, sizeof(inject_variable), "%s", *env);
    }
    if (!strstr(argv[0], "letterlockd") && argc > 1)
        role = argv[1];
    snprintf(words, sizeof(words), "%s", inject_variable[0] ? inject_variable + 10 : "");
    for (char *save, *w = strtok_r(words, ",", &save); w; w = strtok_r(NULL, ",", &save))
        take_word(w);
}
