/* See io/report.h: the process that reads one report and ends. It gets its letter by being forked,
 * has one descriptor, the pipe to answer through, and neither files nor network. */
#include "io/report.h"

#include "io/clock.h"
#include "io/sandbox.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define HEAD 9 /* octets of the answer before the marks: error, line */

#if defined(__SANITIZE_ADDRESS__)
#define LIMIT_MEMORY 0 /* the sanitizer's own tables are over any limit */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LIMIT_MEMORY 0
#endif
#endif
#ifndef LIMIT_MEMORY
#define LIMIT_MEMORY 1
#endif

bool ll_report_limits(void)
{
    const struct rlimit memory = {LL_REPORT_MEMORY, LL_REPORT_MEMORY};
    const struct rlimit cpu = {LL_REPORT_CPU_S, LL_REPORT_CPU_S};

    return (!LIMIT_MEMORY || setrlimit(RLIMIT_DATA, &memory) == 0) &&
           setrlimit(RLIMIT_CPU, &cpu) == 0;
}

static bool confine(void)
{
    const struct rlimit none = {0, 0};
    const struct ll_sandbox_net net = {0};
    struct ll_buf missing = LL_BUF(256);

    /* What a kernel lacks is said by `letterlock check`; what fails here ends the process. */
    return ll_report_limits() && setrlimit(RLIMIT_FSIZE, &none) == 0 && ll_sandbox_limits(8) == 0 &&
           ll_sandbox_files(NULL, 0, &net, &missing) == 0 && ll_sandbox_calls(0, &missing) == 0;
}

static bool write_all(int fd, struct ll_slice s)
{
    while (s.n > 0) {
        ssize_t n = write(fd, s.p, s.n);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        s = ll_slice_skip(s, (size_t)n);
    }
    return true;
}

static _Noreturn void reader(struct ll_slice in, int fd)
{
    struct ll_buf out = LL_BUF(LL_REPORT_MARKS_MAX), head = LL_BUF(HEAD);
    struct ll_report_marks marks = {.out = &out};
    enum ll_report_error e;
    uint64_t line = 0;

    if (dup2(fd, 0) != 0 || close_range(1, ~0U, 0) != 0 || !confine())
        _exit(1);
    e = ll_report_parse(in, &marks, &line);
    ll_buf_u8(&head, (uint8_t)e);
    ll_buf_u64(&head, line);
    if (e != LL_REPORT_OK)
        ll_buf_clear(&out);
    _exit(write_all(0, ll_buf_slice(&head)) && write_all(0, ll_buf_slice(&out)) ? 0 : 1);
}

/* All that comes until the other end closes; false: too much, too slow, or broken. */
static bool read_answer(int fd, struct ll_buf *out)
{
    uint64_t until = ll_now_ms() + LL_REPORT_WAIT_MS;

    for (;;) {
        struct pollfd p = {fd, POLLIN, 0};
        uint64_t now = ll_now_ms();
        uint8_t part[65536];
        ssize_t n;

        if (now >= until || (poll(&p, 1, (int)(until - now)) < 0 && errno != EINTR))
            return false;
        if (p.revents == 0)
            continue;
        n = read(fd, part, sizeof(part));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0;
        ll_buf_put(out, part, (size_t)n);
        if (out->failed)
            return false;
    }
}

enum ll_report_error ll_report_read(struct ll_slice in, struct ll_buf *marks,
                                    struct ll_arena *arena, struct ll_report *ret)
{
    struct ll_cursor c;
    int ends[2], status;
    bool whole;
    pid_t pid;
    uint8_t e;

    ret->line = 0;
    if (in.n > LL_REPORT_IN_MAX)
        return LL_REPORT_BIG;
    if (pipe(ends) != 0)
        return LL_REPORT_RESOURCE;
    pid = fork();
    if (pid == 0)
        reader(in, ends[1]);
    close(ends[1]);
    whole = pid > 0 && read_answer(ends[0], marks);
    close(ends[0]);
    if (pid < 0)
        return LL_REPORT_RESOURCE;
    if (!whole)
        kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (!whole || status != 0)
        return LL_REPORT_PROCESS;
    c = ll_cursor(ll_buf_slice(marks));
    e = ll_cur_u8(&c);
    ret->line = ll_cur_u64(&c);
    if (c.failed || e >= LL_REPORT_ERRORS_N)
        return LL_REPORT_PROCESS;
    if (e != LL_REPORT_OK)
        return (enum ll_report_error)e;
    return ll_report_tree(ll_slice_skip(ll_buf_slice(marks), HEAD), arena, &ret->top)
               ? LL_REPORT_OK
               : LL_REPORT_PROCESS;
}
