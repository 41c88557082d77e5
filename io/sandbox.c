/* See io/sandbox.h. Landlock's numbers are written here: the kernel headers of the build machine
 * may be older than the kernel that runs. */
#include "io/sandbox.h"

#include "io/log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static void missing(struct ll_buf *b, const char *word)
{
    ll_buf_printf(b, "%s%s", b->n ? " " : "", word);
}

/* ---- Landlock -------------------------------------------------------------------------------- */

#define SYS_LANDLOCK_CREATE   444
#define SYS_LANDLOCK_ADD      445
#define SYS_LANDLOCK_RESTRICT 446

#define FS_EXECUTE     (1ULL << 0)
#define FS_WRITE_FILE  (1ULL << 1)
#define FS_READ_FILE   (1ULL << 2)
#define FS_READ_DIR    (1ULL << 3)
#define FS_REMOVE_DIR  (1ULL << 4)
#define FS_REMOVE_FILE (1ULL << 5)
#define FS_MAKE_DIR    (1ULL << 7)
#define FS_MAKE_REG    (1ULL << 8)
#define FS_REFER       (1ULL << 13)
#define FS_TRUNCATE    (1ULL << 14)
#define NET_BIND       (1ULL << 0)
#define NET_CONNECT    (1ULL << 1)
#define SCOPE_ALL      3ULL /* abstract sockets, signals */
#define RULE_PATH      1
#define RULE_PORT      2

#define READ_RIGHTS (FS_READ_FILE | FS_READ_DIR)
#define WRITE_RIGHTS                                                                               \
    (READ_RIGHTS | FS_WRITE_FILE | FS_REMOVE_DIR | FS_REMOVE_FILE | FS_MAKE_DIR | FS_MAKE_REG |    \
     FS_REFER | FS_TRUNCATE)
#define FILE_RIGHTS (FS_READ_FILE | FS_WRITE_FILE | FS_TRUNCATE)

struct ruleset {
    uint64_t fs;
    uint64_t net;
    uint64_t scoped;
};
struct path_rule {
    uint64_t allowed;
    int32_t parent;
} __attribute__((packed));
struct port_rule {
    uint64_t allowed;
    uint64_t port;
};

/* Rights and size of the attribute that a version of the interface knows. */
struct abi {
    unsigned fs_bits;
    bool net;
    bool scoped;
    size_t size;
};
static const struct abi abis[] = {
    {0, false, false, 0},  {13, false, false, 8}, {14, false, false, 8}, {15, false, false, 8},
    {15, true, false, 16}, {16, true, false, 16}, {16, true, true, 24}};

static int allow_path(int rules, const struct ll_sandbox_path *p, uint64_t known)
{
    uint64_t rights = p->access == LL_ACCESS_WRITE ? WRITE_RIGHTS : READ_RIGHTS;
    int fd = open(p->path, O_PATH | O_CLOEXEC);
    struct path_rule rule;
    struct stat st;
    int r;

    if (fd < 0)
        return 0;
    if (fstat(fd, &st) != 0) {
        close(fd);
        return -1;
    }
    if (!S_ISDIR(st.st_mode))
        rights &= FILE_RIGHTS;
    rule = (struct path_rule){rights & known, fd};
    r = (int)syscall(SYS_LANDLOCK_ADD, rules, RULE_PATH, &rule, 0);
    close(fd);
    return r;
}

int ll_sandbox_files(const struct ll_sandbox_path *paths, size_t n,
                     const struct ll_sandbox_net *net, struct ll_buf *ret_missing)
{
    long version = syscall(SYS_LANDLOCK_CREATE, NULL, 0, 1);
    struct abi abi;
    struct ruleset set;
    int rules;
    int r = 0;

    if (version < 1) {
        missing(ret_missing, "landlock");
        return 0;
    }
    abi = abis[version < (long)LL_COUNT(abis) ? (size_t)version : LL_COUNT(abis) - 1];
    set = (struct ruleset){(1ULL << abi.fs_bits) - 1, 0, abi.scoped ? SCOPE_ALL : 0};
    if (abi.net)
        set.net = NET_BIND | (net->any_connect ? 0 : NET_CONNECT);
    if (version < 3)
        missing(ret_missing, "landlock-truncate");
    if (!abi.net)
        missing(ret_missing, "landlock-net");
    if (!abi.scoped)
        missing(ret_missing, "landlock-scope");
    rules = (int)syscall(SYS_LANDLOCK_CREATE, &set, abi.size, 0);
    if (rules < 0)
        return -1;
    for (size_t i = 0; i < n && r == 0; i++)
        r = allow_path(rules, &paths[i], set.fs);
    for (size_t i = 0; abi.net && !net->any_connect && i < net->n_connect && r == 0; i++) {
        struct port_rule rule = {NET_CONNECT, net->connect[i]};

        r = (int)syscall(SYS_LANDLOCK_ADD, rules, RULE_PORT, &rule, 0);
    }
    if (abi.net && net->any_connect && r == 0) {
        struct port_rule rule = {NET_BIND, 0};

        r = (int)syscall(SYS_LANDLOCK_ADD, rules, RULE_PORT, &rule, 0);
    }
    if (r == 0)
        r = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (r == 0)
        r = (int)syscall(SYS_LANDLOCK_RESTRICT, rules, 0);
    close(rules);
    return r == 0 ? 0 : -1;
}

/* ---- limits ---------------------------------------------------------------------------------- */

int ll_sandbox_limits(uint64_t files)
{
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2] = {{0, 0, 0}, {0, 0, 0}};
    struct rlimit core = {0, 0};
    struct rlimit r;

    if (getrlimit(RLIMIT_NOFILE, &r) != 0)
        return -1;
    if (files < r.rlim_max)
        r.rlim_max = files;
    r.rlim_cur = r.rlim_max;
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (setrlimit(RLIMIT_NOFILE, &r) != 0 || setrlimit(RLIMIT_CORE, &core) != 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        (!SANITIZED && prctl(PR_SET_DUMPABLE, 0) != 0) || /* the leak checker needs it */
        syscall(SYS_capset, &head, none) != 0)
        return -1;
    return 0;
}

/* ---- seccomp --------------------------------------------------------------------------------- */

#define CALLS_MAX 64

struct calls {
    unsigned groups; /* any of these allows them; 0: always */
    int numbers[CALLS_MAX];
};

#define N(name) SCMP_SYS(name)

static const struct calls allowed[] = {
    {0,
     {N(read),
      N(write),
      N(readv),
      N(writev),
      N(pread64),
      N(preadv),
      N(recvmsg),
      N(sendmsg),
      N(recvfrom),
      N(sendto),
      N(close),
      N(epoll_wait),
      N(epoll_pwait),
      N(epoll_pwait2),
      N(epoll_ctl),
      N(epoll_create1),
      N(poll),
      N(ppoll),
      N(select),
      N(pselect6),
      N(eventfd2),
      N(pipe2),
      N(timerfd_create),
      N(timerfd_settime),
      N(timerfd_gettime),
      N(dup),
      N(dup2),
      N(dup3)}},
    {0,
     {N(brk),
      N(munmap),
      N(mremap),
      N(madvise),
      N(mlock),
      N(mlock2),
      N(munlock),
      N(futex),
      N(set_robust_list),
      N(rseq),
      N(membarrier),
      N(rt_sigaction),
      N(rt_sigprocmask),
      N(rt_sigreturn),
      N(sigaltstack),
      N(restart_syscall),
      N(sched_yield),
      N(sched_getaffinity),
      N(getcpu),
      N(exit),
      N(exit_group),
      N(tgkill),
      N(getpid),
      N(gettid),
      N(getppid),
      N(getuid),
      N(geteuid),
      N(getgid),
      N(getegid),
      N(getrandom),
      N(getrusage),
      N(sysinfo),
      N(uname),
      N(umask),
      N(clock_gettime),
      N(clock_getres),
      N(clock_nanosleep),
      N(nanosleep),
      N(gettimeofday),
      N(time),
      N(fstat),
      N(newfstatat),
      N(set_tid_address)}},
    {LL_CALLS_ACCEPT, {N(accept4), N(accept)}},
    {LL_CALLS_ACCEPT | LL_CALLS_CONNECT,
     {N(getsockname), N(getpeername), N(getsockopt), N(setsockopt), N(shutdown), N(sendmmsg),
      N(recvmmsg)}},
    {LL_CALLS_CONNECT, {N(connect), N(bind)}},
    {LL_CALLS_OPEN,
     {N(open), N(openat), N(openat2), N(stat), N(lstat), N(statx), N(access), N(faccessat),
      N(faccessat2), N(readlink), N(readlinkat), N(getdents64), N(getcwd), N(statfs), N(fstatfs),
      N(fadvise64), N(readahead), N(flock)}},
    {LL_CALLS_CHANGE,
     {N(mkdir), N(mkdirat), N(rename), N(renameat), N(renameat2), N(unlink), N(unlinkat), N(rmdir),
      N(link), N(linkat), N(chmod), N(fchmod), N(fchmodat), N(fchown), N(utimensat), N(fallocate),
      N(copy_file_range), N(sendfile), N(syncfs)}},
    {LL_CALLS_CHANGE | LL_CALLS_MEMFD, {N(ftruncate)}},
    {LL_CALLS_OPEN | LL_CALLS_CHANGE | LL_CALLS_MEMFD, {N(lseek)}},
    {LL_CALLS_CHANGE | LL_CALLS_MEMFD, {N(pwrite64), N(pwritev)}},
    {LL_CALLS_CHANGE | LL_CALLS_FLUSH | LL_CALLS_MEMFD,
     {N(fsync), N(fdatasync), N(sync_file_range)}},
    {LL_CALLS_MEMFD, {N(memfd_create)}},
};

/* Tried by libraries for good or for naught: they are told no, and live on. */
static const struct calls refused[] = {
    {LL_CALLS_OPEN,
     {N(open), N(openat), N(openat2), N(stat), N(lstat), N(statx), N(access), N(faccessat),
      N(faccessat2), N(readlink), N(readlinkat), N(getcwd), N(statfs)}},
    {LL_CALLS_OPEN | LL_CALLS_CHANGE | LL_CALLS_MEMFD, {N(lseek)}},
    {LL_CALLS_CONNECT, {N(connect), N(bind)}},
    {0, {N(socketpair), N(sched_setaffinity), N(setpriority), N(kill), N(sched_setscheduler)}},
};

/* Never a mistake: the process dies on the spot. */
static const int deadly[] = {
    N(execve),
    N(execveat),
    N(ptrace),
    N(process_vm_readv),
    N(fork),
    N(vfork),
    N(process_vm_writev),
    N(unshare),
    N(setns),
    N(mount),
    N(umount2),
    N(pivot_root),
    N(chroot),
    N(io_uring_setup),
    N(io_uring_enter),
    N(io_uring_register),
    N(bpf),
    N(perf_event_open),
    N(userfaultfd),
    N(keyctl),
    N(add_key),
    N(request_key),
    N(setuid),
    N(setresuid),
    N(setgid),
    N(setresgid),
    N(init_module),
    N(finit_module),
    N(kexec_load),
    N(open_by_handle_at),
    N(pidfd_getfd),
    N(modify_ldt),
};

#define CLONE_NAMESPACES                                                                           \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |  \
     CLONE_NEWNET)

#define OR_FAIL(call)                                                                              \
    do {                                                                                           \
        if ((call) < 0)                                                                            \
            return -1;                                                                             \
    } while (0)

/* Calls that are allowed for some values of their arguments. */
static int add_conditional(scmp_filter_ctx f, unsigned groups)
{
    static const int fcntl_commands[] = {F_GETFL, F_GETFD, F_SETFD, F_DUPFD, F_DUPFD_CLOEXEC};
    static const int lock_commands[] = {F_SETLK,     F_SETLKW,     F_GETLK,
                                        F_OFD_SETLK, F_OFD_SETLKW, F_OFD_GETLK};
    static const int families[] = {AF_INET, AF_INET6};
    static const uint64_t ioctls[] = {FIONREAD, FIONBIO};
    const uint64_t thread = CLONE_VM | CLONE_THREAD;

    for (size_t i = 0; i < LL_COUNT(fcntl_commands); i++)
        OR_FAIL(seccomp_rule_add(f, SCMP_ACT_ALLOW, N(fcntl), 1,
                                 SCMP_A1(SCMP_CMP_EQ, (uint64_t)fcntl_commands[i])));
    for (size_t i = 0; (groups & LL_CALLS_CHANGE) && i < LL_COUNT(lock_commands); i++)
        OR_FAIL(seccomp_rule_add(f, SCMP_ACT_ALLOW, N(fcntl), 1,
                                 SCMP_A1(SCMP_CMP_EQ, (uint64_t)lock_commands[i])));
    if (groups & LL_CALLS_SETFL)
        OR_FAIL(seccomp_rule_add(f, SCMP_ACT_ALLOW, N(fcntl), 1, SCMP_A1(SCMP_CMP_EQ, F_SETFL)));
    else
        OR_FAIL(
            seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), N(fcntl), 1, SCMP_A1(SCMP_CMP_EQ, F_SETFL)));
    if (groups & LL_CALLS_MEMFD) {
        OR_FAIL(
            seccomp_rule_add(f, SCMP_ACT_ALLOW, N(fcntl), 1, SCMP_A1(SCMP_CMP_EQ, F_ADD_SEALS)));
        OR_FAIL(
            seccomp_rule_add(f, SCMP_ACT_ALLOW, N(fcntl), 1, SCMP_A1(SCMP_CMP_EQ, F_GET_SEALS)));
    }
    OR_FAIL(
        seccomp_rule_add(f, SCMP_ACT_ALLOW, N(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)));
    OR_FAIL(seccomp_rule_add(f, SCMP_ACT_ERRNO(EACCES), N(mmap), 1,
                             SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC)));
    OR_FAIL(seccomp_rule_add(f, SCMP_ACT_ALLOW, N(mprotect), 1,
                             SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)));
    OR_FAIL(seccomp_rule_add(f, SCMP_ACT_ERRNO(EACCES), N(mprotect), 1,
                             SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC)));
    for (size_t i = 0; i < LL_COUNT(families); i++)
        OR_FAIL(
            seccomp_rule_add(f, groups & LL_CALLS_CONNECT ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(EACCES),
                             N(socket), 1, SCMP_A0(SCMP_CMP_EQ, (uint64_t)families[i])));
    OR_FAIL(
        seccomp_rule_add(f, SCMP_ACT_ERRNO(EACCES), N(socket), 1, SCMP_A0(SCMP_CMP_EQ, AF_UNIX)));
    OR_FAIL(seccomp_rule_add(f, SCMP_ACT_ERRNO(EACCES), N(socket), 1,
                             SCMP_A0(SCMP_CMP_EQ, AF_NETLINK)));
    for (size_t i = 0; i < LL_COUNT(ioctls); i++)
        OR_FAIL(seccomp_rule_add(f, SCMP_ACT_ALLOW, N(ioctl), 1, SCMP_A1(SCMP_CMP_EQ, ioctls[i])));
    OR_FAIL(seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOTTY), N(ioctl), 1, SCMP_A1(SCMP_CMP_EQ, TCGETS)));
    OR_FAIL(seccomp_rule_add(f, SCMP_ACT_ALLOW, N(prctl), 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME)));
    OR_FAIL(seccomp_rule_add(f, SCMP_ACT_ALLOW, N(prlimit64), 1, SCMP_A2(SCMP_CMP_EQ, 0)));
    /* A new thread is under the same filter; a new process or namespace is refused. clone3 hides
     * its flags in memory, and libc falls back to clone. */
    OR_FAIL(seccomp_rule_add(f, SCMP_ACT_ALLOW, N(clone), 1,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, thread | CLONE_NAMESPACES, thread)));
    OR_FAIL(seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), N(clone3), 0));
    return 0;
}

static int add_rows(scmp_filter_ctx f, unsigned groups)
{
    for (size_t i = 0; i < LL_COUNT(allowed); i++)
        for (size_t k = 0; k < CALLS_MAX && (allowed[i].numbers[k] || k == 0); k++)
            if (allowed[i].groups == 0 || (allowed[i].groups & groups))
                OR_FAIL(seccomp_rule_add(f, SCMP_ACT_ALLOW, allowed[i].numbers[k], 0));
    for (size_t i = 0; i < LL_COUNT(refused); i++)
        for (size_t k = 0; k < CALLS_MAX && refused[i].numbers[k]; k++)
            if (!(refused[i].groups & groups))
                OR_FAIL(seccomp_rule_add(f, SCMP_ACT_ERRNO(EACCES), refused[i].numbers[k], 0));
    for (size_t i = 0; i < LL_COUNT(deadly); i++)
        OR_FAIL(seccomp_rule_add(f, SCMP_ACT_KILL_PROCESS, deadly[i], 0));
    return add_conditional(f, groups);
}

/* The call was not made. Its number is told, then the process ends as one that broke its rules. */
static void on_refused(int number, siginfo_t *info, void *context)
{
    ll_log(LL_LOG_ERROR, "sandbox-violation", LL_FU("syscall", (uint64_t)info->si_syscall));
    signal(SIGSYS, SIG_DFL);
    tgkill(getpid(), gettid(), SIGSYS);
    _exit(128 + SIGSYS);
}

int ll_sandbox_calls(unsigned groups, struct ll_buf *ret_missing)
{
    struct sigaction on_sys = {.sa_sigaction = on_refused, .sa_flags = SA_SIGINFO | SA_NODEFER};
    scmp_filter_ctx f;
    int r;

    if (SANITIZED) {
        missing(ret_missing, "call-filter:built-with-sanitizers");
        return 0;
    }
    if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) < 0) {
        missing(ret_missing, "seccomp");
        return 0;
    }
    sigaction(SIGSYS, &on_sys, NULL);
    f = seccomp_init(SCMP_ACT_TRAP);
    if (!f)
        return -1;
    seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1);
    seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* binary tree: busy calls cost little */
    r = add_rows(f, groups);
    if (r == 0)
        r = seccomp_load(f);
    seccomp_release(f);
    if (r < 0)
        errno = -r;
    return r == 0 ? 0 : -1;
}
