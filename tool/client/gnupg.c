/* See tool/client/gnupg.h. */
#include "tool/client/gnupg.h"

#include "letterlock/pgp.h"
#include "tool/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PIECE      65536
#define STATUS_MAX (4 * PIECE) /* octets that gpg may say when it tells a session key */

enum { IN, OUT }; /* our ends of its standard input and output */

struct run {
    pid_t pid;
    int fd[2]; /* -1: closed */
    struct ll_slice in;
    struct ll_buf *out;
    int64_t until; /* ms, monotonic */
};

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool start(struct run *r, char *const argv[])
{
    int in[2], out[2];

    if (pipe2(in, O_CLOEXEC) < 0)
        return false;
    if (pipe2(out, O_CLOEXEC) < 0 || (r->pid = fork()) < 0) {
        close(in[0]);
        close(in[1]);
        return false;
    }
    if (r->pid == 0) {
        signal(SIGPIPE, SIG_DFL);
        if (dup2(in[0], STDIN_FILENO) >= 0 && dup2(out[1], STDOUT_FILENO) >= 0)
            execvp(argv[0], argv);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    r->fd[IN] = in[1];
    r->fd[OUT] = out[0];
    return fcntl(in[1], F_SETFL, O_NONBLOCK) == 0;
}

static void stop(struct run *r, int which)
{
    if (r->fd[which] >= 0)
        close(r->fd[which]);
    r->fd[which] = -1;
}

static void feed(struct run *r)
{
    ssize_t n = write(r->fd[IN], r->in.p, r->in.n < PIECE ? r->in.n : PIECE);

    if (n > 0)
        r->in = ll_slice_skip(r->in, (size_t)n);
    else if (n < 0 && errno != EAGAIN && errno != EINTR)
        r->in.n = 0; /* it does not want more */
    if (r->in.n == 0)
        stop(r, IN);
}

static void take(struct run *r)
{
    uint8_t *room = ll_buf_room(r->out, PIECE);
    ssize_t n = room ? read(r->fd[OUT], room, PIECE) : 0;

    if (n > 0)
        ll_buf_grew(r->out, (size_t)n);
    else if (n == 0 || errno != EINTR)
        stop(r, OUT);
}

/* Until it has said all, or its time is over. */
static void talk(struct run *r)
{
    if (r->in.n == 0)
        stop(r, IN);
    while (r->fd[OUT] >= 0) {
        struct pollfd p[2] = {{.fd = r->fd[IN], .events = POLLOUT},
                              {.fd = r->fd[OUT], .events = POLLIN}};
        int64_t left = r->until - now_ms();

        if (left <= 0 || (poll(p, 2, (int)left) < 0 && errno != EINTR)) {
            kill(r->pid, SIGTERM);
            break;
        }
        if (p[IN].revents)
            feed(r);
        if (p[OUT].revents)
            take(r);
    }
    stop(r, IN);
    stop(r, OUT);
}

/* Runs gpg; its exit status, or -1 (said). */
static int run_gpg(char *const argv[], struct ll_slice in, struct ll_buf *out)
{
    struct run r = {
        .fd = {-1, -1}, .in = in, .out = out, .until = now_ms() + LL_GNUPG_SECONDS * 1000};
    int status = 0;

    if (!start(&r, argv)) {
        ll_fail(0, "gpg: %s", strerror(errno));
        return -1;
    }
    talk(&r);
    while (waitpid(r.pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        ll_fail(0, "gpg is not there: keys on cards are used through it");
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool is_hex(struct ll_slice s)
{
    struct ll_buf octets = LL_BUF(LL_PGP_FINGERPRINT_MAX);
    bool yes = s.n > 0 && s.n <= LL_PGP_FINGERPRINT_MAX && ll_hex_decode(&octets, s);

    ll_buf_release(&octets);
    return yes;
}

enum ll_seal_error ll_gnupg_sign(struct ll_slice fingerprint, struct ll_slice text, bool detached,
                                 struct ll_buf *out)
{
    char key[LL_PGP_FINGERPRINT_MAX + 1];
    char *argv[] = {(char *)"gpg",
                    (char *)"--batch",
                    (char *)"--quiet",
                    (char *)"--no-tty",
                    (char *)"--digest-algo",
                    (char *)"SHA256",
                    (char *)"--compress-algo",
                    (char *)"none",
                    (char *)"--local-user",
                    key,
                    (char *)(detached ? "--armor" : "--no-armor"),
                    (char *)(detached ? "--detach-sign" : "--sign"),
                    NULL};
    size_t before = out->n;

    if (!is_hex(fingerprint))
        return LL_SEAL_NO_KEY;
    snprintf(key, sizeof(key), "%.*s", LL_FMT(fingerprint));
    if (run_gpg(argv, text, out) == 0 && !out->failed && out->n > before)
        return LL_SEAL_OK;
    out->n = before;
    return out->failed ? LL_SEAL_RESOURCE : LL_SEAL_NO_KEY;
}

/* "[GNUPG:] SESSION_KEY 9:0123..." in what gpg said. */
static bool find_session_key(struct ll_slice said, struct ll_buf *out)
{
    struct ll_slice head = LL_LIT("[GNUPG:] SESSION_KEY "), line;

    while (said.n > 0 && ll_slice_next(&said, '\n', &line))
        if (ll_slice_starts(line, head)) {
            line = ll_slice_skip(line, head.n);
            ll_buf_put_slice(out, ll_slice_cut(line, 0, ll_slice_find(line, ' ')));
            return !out->failed;
        }
    return false;
}

/* What stands in the letter's place does not decrypt, so that gpg fails behind the key, and says
 * so: its complaint would be about nothing. */
enum ll_seal_error ll_gnupg_session_key(struct ll_slice packets, struct ll_buf *out)
{
    char *const argv[] = {(char *)"gpg",           (char *)"--batch",
                          (char *)"--quiet",       (char *)"--no-tty",
                          (char *)"--status-fd",   (char *)"1",
                          (char *)"--logger-file", (char *)"/dev/null",
                          (char *)"--output",      (char *)"/dev/null",
                          (char *)"--yes",         (char *)"--show-session-key",
                          (char *)"--decrypt",     NULL};
    struct ll_buf said = LL_BUF(STATUS_MAX);
    bool found = false;

    if (run_gpg(argv, packets, &said) >= 0)
        found = find_session_key(ll_buf_slice(&said), out);
    ll_buf_wipe(&said);
    return found ? LL_SEAL_OK : LL_SEAL_NO_KEY;
}
