/*
 * The sandbox of every role, tried out: a child shuts it around itself and does one thing. What a
 * role must not do fails or kills; what it needs works. The child runs as another user where the
 * test runs as root, as roles do.
 */
#include "daemon/sandbox.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define DENIED 42 /* the child's word that the call failed */
#define WORKED 43
#define BROKEN 44 /* the sandbox could not be set up */
#define NOBODY 65534

static char folder[] = "/tmp/ll-sandbox-XXXXXX";
static char state_dir[40];
static char inside[64];  /* a folder of the role's own */
static char outside[64]; /* somebody else's folder, readable to the user */
static struct ll_conf conf;
static int given;            /* a file that was opened before */
static int given_write_only; /* one as writers of letters get it */
static int ear;              /* a listening socket, and its port */
static uint16_t ear_port;

/* ---- things to try: true when the kernel let them happen ---------------------------------------
 */

static bool try_open(const char *dir, const char *name, int flags)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return open(path, flags | O_CLOEXEC, 0600) >= 0;
}

static bool read_outside(void)
{
    return try_open(outside, "file", O_RDONLY);
}
static bool write_outside(void)
{
    return try_open(outside, "file", O_WRONLY);
}
static bool make_outside(void)
{
    return try_open(outside, "new", O_WRONLY | O_CREAT);
}
static bool read_inside(void)
{
    return try_open(inside, "file", O_RDONLY);
}
static bool write_inside(void)
{
    return try_open(inside, "file", O_WRONLY);
}
static bool passwd(void)
{
    return try_open("/etc", "passwd", O_RDONLY);
}
static bool proc_mem(void)
{
    return try_open("/proc/self", "mem", O_RDWR);
}

static bool rename_inside(void)
{
    char a[128];
    char b[128];

    snprintf(a, sizeof(a), "%s/made", inside);
    snprintf(b, sizeof(b), "%s/renamed", inside);
    return try_open(inside, "made", O_WRONLY | O_CREAT) && rename(a, b) == 0 && unlink(b) == 0;
}

static bool exec(void)
{
    char *argv[] = {(char *)(uintptr_t) "true", NULL};
    execv("/bin/true", argv);
    return false;
}

static bool exec_fd(void)
{
    char *argv[] = {(char *)(uintptr_t) "true", NULL};
    syscall(SYS_execveat, 0, "", argv, NULL, AT_EMPTY_PATH);
    return false;
}

static bool forks(void)
{
    return fork() >= 0;
}
static bool ptraces(void)
{
    return ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0;
}
static bool unshares(void)
{
    return unshare(CLONE_NEWUSER) == 0;
}
static bool unix_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM, 0) >= 0;
}
static bool inet_socket(void)
{
    return socket(AF_INET, SOCK_STREAM, 0) >= 0;
}
static bool udp_socket(void)
{
    return socket(AF_INET6, SOCK_DGRAM, 0) >= 0;
}
static bool raw_socket(void)
{
    return socket(AF_PACKET, SOCK_RAW, 0) >= 0;
}
static bool io_uring(void)
{
    return syscall(SYS_io_uring_setup, 1, NULL) >= 0;
}
static bool kills(void)
{
    return kill(getppid(), 0) == 0;
}
static bool becomes_root(void)
{
    return setresuid(0, 0, 0) == 0;
}
static bool dumpable(void)
{
    return prctl(PR_SET_DUMPABLE, 1) == 0;
}

static bool executable_memory(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                0) != MAP_FAILED;
}

static bool made_executable(void)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return mprotect(p, 4096, PROT_READ | PROT_EXEC) == 0;
}

static bool connects_to(uint16_t port)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    return fd >= 0 && (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0 || errno == ECONNREFUSED);
}

static bool connects(void)
{
    return connects_to(ear_port);
}
static bool connects_53(void)
{
    return connects_to(53);
}

static bool binds(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    a.sin_port = htons((uint16_t)(ear_port + 1));
    return fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
}

static bool accepts(void)
{
    return accept4(ear, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC) >= 0 || errno == EAGAIN;
}

static bool reserves(void)
{
    return fallocate(given, FALLOC_FL_KEEP_SIZE, 0, 4096) == 0;
}

static bool punches(void)
{
    return fallocate(given, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, 4096) == 0;
}

/* A segment is written forwards only: who could go back could change letters that are in it. */
static bool goes_back(void)
{
    return lseek(given, 0, SEEK_SET) == 0;
}

static bool writes_anywhere(void)
{
    return pwrite(given, "x", 1, 0) == 1;
}

static bool maps_given(void)
{
    return mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, given_write_only, 0) != MAP_FAILED;
}

static bool memfd(void)
{
    int fd = memfd_create("x", MFD_ALLOW_SEALING | MFD_CLOEXEC);

    return fd >= 0 && ftruncate(fd, 10) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == 0;
}

static void *no_op(void *arg)
{
    return arg;
}

static bool threads(void)
{
    pthread_t t;

    return pthread_create(&t, NULL, no_op, NULL) == 0 && pthread_join(t, NULL) == 0;
}

static bool plain_work(void)
{
    void *p = malloc(1 << 20);
    struct timespec ts;
    struct stat st;
    int fd[2];
    bool good = p && clock_gettime(CLOCK_MONOTONIC, &ts) == 0 && pipe2(fd, O_CLOEXEC) == 0 &&
                write(fd[1], "x", 1) == 1 && fstat(fd[0], &st) == 0;

    free(p);
    return good;
}

/* ---- the table
 * ----------------------------------------------------------------------------------- */

#define KEEPER  (1u << LL_ROLE_KEEPER)
#define AUTH    (1u << LL_ROLE_AUTH)
#define DNS     (1u << LL_ROLE_DNS)
#define QUEUE   (1u << LL_ROLE_QUEUE)
#define POST    (1u << LL_ROLE_POST)
#define LOCAL   (1u << LL_ROLE_LOCAL)
#define RELAY   (1u << LL_ROLE_RELAY)
#define FRONTS  ((1u << LL_ROLE_FRONT_MX) | (1u << LL_ROLE_FRONT_SUB))
#define CONTROL (1u << LL_ROLE_CONTROL)
#define TALLY   (1u << LL_ROLE_TALLY)
#define REPORT  (1u << LL_ROLE_REPORT)
#define ALL     (KEEPER | AUTH | DNS | QUEUE | POST | LOCAL | RELAY | FRONTS | CONTROL | TALLY | REPORT)

struct attempt {
    const char *what;
    bool (*run)(void);
    uint32_t may; /* roles to which it must work; to all others it must fail */
};
static const struct attempt attempts[] = {
    {"plain work", plain_work, ALL},
    {"thread", threads, ALL},
    {"read a foreign file", read_outside, 0},
    {"write a foreign file", write_outside, 0},
    {"make a foreign file", make_outside, 0},
    {"read /etc/passwd", passwd, AUTH}, /* to name local users */
    {"write own memory", proc_mem, 0},
    {"read its files", read_inside, KEEPER | AUTH | DNS | QUEUE | LOCAL | RELAY | TALLY},
    {"write its files", write_inside, AUTH | QUEUE | LOCAL | TALLY},
    {"make, rename, remove", rename_inside, AUTH | QUEUE | LOCAL | TALLY},
    {"exec", exec, 0},
    {"exec by descriptor", exec_fd, 0},
    {"fork", forks, 0},
    {"ptrace", ptraces, 0},
    {"unshare", unshares, 0},
    {"io_uring", io_uring, 0},
    {"kill", kills, 0},
    {"setresuid", becomes_root, 0},
    {"dumpable", dumpable, 0},
    {"unix socket", unix_socket, 0},
    {"packet socket", raw_socket, 0},
    {"inet socket", inet_socket, DNS | RELAY},
    {"udp socket", udp_socket, DNS | RELAY},
    {"connect to any port", connects, RELAY},
    {"connect to 53", connects_53, DNS | RELAY},
    {"bind a port", binds, 0},
    {"accept", accepts, FRONTS | CONTROL},
    {"reserve room for a file", reserves, AUTH | QUEUE | LOCAL | TALLY},
    {"punch a hole into a file", punches, AUTH | QUEUE | LOCAL | TALLY},
    {"go back in a file", goes_back, KEEPER | AUTH | DNS | QUEUE | LOCAL | RELAY | TALLY | REPORT},
    {"write anywhere in a file", writes_anywhere, AUTH | QUEUE | LOCAL | TALLY | REPORT},
    {"map a file that is only written", maps_given, 0},
    {"memfd", memfd, QUEUE | TALLY | REPORT},
    {"executable memory", executable_memory, 0},
    {"make memory executable", made_executable, 0},
};

/* Landlock's part of the row cannot hold on a kernel that has none. */
static bool kernel_lacks(const char *word)
{
    struct ll_sandbox_net none = {0};
    struct ll_buf b = LL_BUF(1024);
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        ll_sandbox_files(NULL, 0, &none, &b);
        _exit(ll_slice_search(ll_buf_slice(&b), ll_slice_str(word)) < b.n);
    }
    waitpid(pid, &status, 0);
    return WEXITSTATUS(status) != 0;
}

static int attempt_as(enum ll_role role, const struct attempt *a)
{
    struct ll_buf missing = LL_BUF(1024);
    int status = 0;
    pid_t pid;

    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

        dup2(null, STDERR_FILENO);
        if (geteuid() == 0 && (setgroups(0, NULL) != 0 || setresgid(NOBODY, NOBODY, NOBODY) != 0 ||
                               setresuid(NOBODY, NOBODY, NOBODY) != 0))
            _exit(BROKEN);
        if (ll_sandbox_before_start(&conf, role, &missing) != 0 ||
            ll_sandbox_after_start(&conf, role, &missing) != 0)
            _exit(BROKEN);
        _exit(a->run() ? WORKED : DENIED);
    }
    waitpid(pid, &status, 0);
    if (WIFSIGNALED(status))
        return WTERMSIG(status) == SIGSYS ? DENIED : BROKEN;
    return WEXITSTATUS(status) == DENIED || WEXITSTATUS(status) == WORKED ? WEXITSTATUS(status)
                                                                          : BROKEN;
}

static void test_roles(void **state)
{
    int bad = 0;

    for (unsigned role = LL_ROLE_KEEPER; role < LL_ROLE_TOOL; role++)
        for (size_t i = 0; i < LL_COUNT(attempts); i++) {
            int want = attempts[i].may & (1u << role) ? WORKED : DENIED;
            int got = attempt_as((enum ll_role)role, &attempts[i]);

            if (got == want)
                continue;
            print_message("%s: %s: %s\n", ll_role_name((enum ll_role)role), attempts[i].what,
                          got == WORKED   ? "must not work"
                          : got == DENIED ? "must work"
                                          : "the sandbox is broken");
            bad++;
        }
    assert_int_equal(bad, 0);
}

static void make_file(const char *dir)
{
    char path[128];
    int fd;

    assert_int_equal(mkdir(dir, 0777), 0);
    chmod(dir, 0777);
    snprintf(path, sizeof(path), "%s/file", dir);
    fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
    assert_true(fd >= 0);
    fchmod(fd, 0666);
    close(fd);
}

static void set_up(void)
{
    static char *none[] = {NULL};
    static struct ll_conf_certificate cert;
    static struct ll_conf_route route;
    static char file[96];
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof(a);

    assert_non_null(mkdtemp(folder));
    chmod(folder, 0755);
    snprintf(state_dir, sizeof(state_dir), "%s/state", folder);
    snprintf(inside, sizeof(inside), "%s/reports", state_dir); /* tally's place in it */
    assert_int_equal(mkdir(state_dir, 0755), 0);
    snprintf(outside, sizeof(outside), "%s/outside", folder);
    make_file(inside);
    make_file(outside);
    snprintf(file, sizeof(file), "%s/file", inside);
    cert = (struct ll_conf_certificate){.title = file, .cert = file, .key = file};
    route = (struct ll_conf_route){
        .title = file, .ca_file = file, .password_file = file, .names = none, .pins = none};
    conf = (struct ll_conf){.spool_dir = inside,
                            .state_dir = state_dir,
                            .mail_dir = inside,
                            .accounts = file,
                            .aliases = file,
                            .trust_anchor = file,
                            .ca_file = file,
                            .resolver = (char *)(uintptr_t) "system",
                            .sessions_max = 100,
                            .certificate = &cert,
                            .n_certificate = 1,
                            .route = &route,
                            .n_route = 1};
    given = memfd_create("given", MFD_CLOEXEC);
    assert_true(given >= 0);
    given_write_only = open(file, O_WRONLY | O_CLOEXEC);
    assert_true(given_write_only >= 0);
    ear = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(ear, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(ear, 5), 0);
    assert_int_equal(getsockname(ear, (struct sockaddr *)&a, &n), 0);
    ear_port = ntohs(a.sin_port);
}

static void tear_down(void)
{
    static const char *const files[] = {
        "state/reports/file", "outside/file", "state/reports", "state", "outside", ""};
    char path[128];

    for (size_t i = 0; i < LL_COUNT(files); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, files[i]);
        if (remove(path) != 0)
            rmdir(path);
    }
    close(ear);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_roles)};
    int r;

#if defined(__SANITIZE_ADDRESS__)
    printf("1..0 # SKIP built with sanitizers, which need calls that the filters refuse\n");
    return 0;
#endif
    if (kernel_lacks("landlock") || kernel_lacks("landlock-net")) {
        printf("1..0 # SKIP this kernel has no Landlock with network rules\n");
        return 0;
    }
    set_up();
    r = cmocka_run_group_tests(tests, NULL, NULL);
    tear_down();
    return r;
}
