/* See tool/read/box.h. A frame is a type, a length of four octets, and so many octets; an answer is
 * a length and octets. */
#include "tool/read/box.h"

#include "io/sandbox.h"
#include "tool/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define HEAD 5

#if defined(__SANITIZE_ADDRESS__)
#define DUMPABLE 1 /* the leak checker needs it */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define DUMPABLE 1
#endif
#endif
#ifndef DUMPABLE
#define DUMPABLE 0
#endif

void ll_box_keep_secrets(void)
{
    const struct rlimit none = {0, 0};

    setrlimit(RLIMIT_CORE, &none);
    prctl(PR_SET_DUMPABLE, DUMPABLE);
}

/* ---- pipes --------------------------------------------------------------------------------------
 */

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

/* Exactly n octets. */
static bool read_all(int fd, size_t n, struct ll_buf *out)
{
    uint8_t *p = ll_buf_room(out, n);
    size_t at = 0;

    while (p && at < n) {
        ssize_t got = read(fd, p + at, n - at);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        at += (size_t)got;
    }
    if (p)
        ll_buf_grew(out, n);
    return p != NULL;
}

bool ll_box_send(struct ll_box *box, uint8_t type, struct ll_slice frame)
{
    struct ll_buf head = LL_BUF(HEAD);
    bool ok;

    ll_buf_u8(&head, type);
    ll_buf_u32(&head, (uint32_t)frame.n);
    ok = frame.n <= LL_BOX_FRAME_MAX && write_all(box->to, ll_buf_slice(&head)) &&
         write_all(box->to, frame);
    ll_buf_release(&head);
    return ok;
}

bool ll_box_ask(struct ll_box *box, uint8_t type, struct ll_slice frame, struct ll_buf *answer)
{
    struct ll_buf head = LL_BUF(HEAD);
    struct ll_cursor c;
    uint32_t n = 0;
    bool ok;

    ok = ll_box_send(box, type, frame) && read_all(box->from, 4, &head);
    c = ll_cursor(ll_buf_slice(&head));
    if (ok)
        n = ll_cur_u32(&c);
    ok = ok && n <= answer->max && (n == 0 || read_all(box->from, n, answer));
    ll_buf_release(&head);
    return ok;
}

/* ---- within -----------------------------------------------------------------------------------
 */

static bool confine(const struct ll_box_rules *rules)
{
    const struct rlimit cpu = {LL_BOX_CPU_S, LL_BOX_CPU_S + 1};
    const struct ll_sandbox_net net = {0};
    struct ll_sandbox_path paths[2];
    struct ll_buf missing = LL_BUF(256);
    unsigned groups = 0;
    size_t n = 0;
    bool ok;

    if (rules->read) {
        paths[n++] = (struct ll_sandbox_path){rules->read, LL_ACCESS_READ};
        groups |= LL_CALLS_OPEN;
    }
    if (rules->write) {
        paths[n++] = (struct ll_sandbox_path){rules->write, LL_ACCESS_WRITE};
        groups |= LL_CALLS_OPEN | LL_CALLS_CHANGE;
    }
    ok = setrlimit(RLIMIT_CPU, &cpu) == 0 && ll_sandbox_limits(LL_BOX_FILES) == 0 &&
         ll_sandbox_files(paths, n, &net, &missing) == 0 && ll_sandbox_calls(groups, &missing) == 0;
    if (missing.n > 0)
        fprintf(stderr, "letterlock: read: this kernel lacks a part of the sandbox: %.*s\n",
                LL_FMT(ll_buf_slice(&missing)));
    ll_buf_release(&missing);
    return ok;
}

/* ---- outside ----------------------------------------------------------------------------------
 */

/* Frames until the process within closes its end. False: it broke the rules. */
static bool serve(struct ll_box *box, ll_box_host_fn host, void *data)
{
    struct ll_buf head = LL_BUF(HEAD), frame = LL_BUF(LL_BOX_FRAME_MAX);
    struct ll_buf answer = LL_BUF(LL_BOX_FRAME_MAX), length = LL_BUF(4);
    bool ok = true;

    for (unsigned n = 0; ok; n++) {
        struct ll_cursor c;
        uint32_t octets;
        uint8_t type;

        ll_buf_clear(&head);
        if (!read_all(box->from, HEAD, &head))
            break;
        c = ll_cursor(ll_buf_slice(&head));
        type = ll_cur_u8(&c);
        octets = ll_cur_u32(&c);
        ll_buf_clear(&frame);
        ok = n < LL_BOX_FRAMES_MAX && octets <= LL_BOX_FRAME_MAX &&
             (octets == 0 || read_all(box->from, octets, &frame));
        ll_buf_wipe(&answer);
        ok = ok && host(data, type, ll_buf_slice(&frame), &answer);
        if (!ok || answer.n == 0)
            continue;
        ll_buf_clear(&length);
        ll_buf_u32(&length, (uint32_t)answer.n);
        ok = write_all(box->to, ll_buf_slice(&length)) && write_all(box->to, ll_buf_slice(&answer));
    }
    ll_buf_release(&head);
    ll_buf_wipe(&frame);
    ll_buf_wipe(&answer);
    ll_buf_release(&length);
    return ok;
}

static int status_of(pid_t pid, bool served)
{
    int status;

    if (!served)
        kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (!served)
        return ll_fail(EX_SOFTWARE, "the process that reads the letter broke its rules; ended");
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    if (WTERMSIG(status) == SIGPIPE)
        return 0; /* nobody wants to read more */
    return ll_fail(EX_SOFTWARE, "the process that reads the letter died of signal %d",
                   WTERMSIG(status));
}

int ll_box_run(const struct ll_box_rules *rules, ll_box_work_fn work, void *work_data,
               ll_box_host_fn host, void *host_data)
{
    int out[2] = {-1, -1}, in[2] = {-1, -1};
    struct ll_box box;
    bool served;
    pid_t pid;

    fflush(stdout);
    fflush(stderr);
    if (pipe2(out, O_CLOEXEC) != 0 || pipe2(in, O_CLOEXEC) != 0)
        return ll_fail(EX_OSERR, "no pipe for the process that reads the letter: %s",
                       strerror(errno));
    pid = fork();
    if (pid < 0)
        return ll_fail(EX_OSERR, "no process to read the letter: %s", strerror(errno));
    if (pid == 0) {
        box = (struct ll_box){out[1], in[0]};
        close(out[0]);
        close(in[1]);
        if (!confine(rules))
            _exit(ll_fail(EX_OSERR, "the sandbox could not be set up; the letter was not read"));
        _exit(work(work_data, &box));
    }
    box = (struct ll_box){in[1], out[0]};
    close(out[1]);
    close(in[0]);
    signal(SIGPIPE, SIG_IGN);
    served = serve(&box, host, host_data);
    close(in[1]);
    close(out[0]);
    return status_of(pid, served);
}
