/* See tool/client/local.h. */
#include "tool/client/local.h"

#include "io/clock.h"
#include "tool/tool.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define GREETING_MAX 1024
#define CHUNK        16384

static int connect_to(const char *path)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    int fd = -1, error = ENAMETOOLONG;

    if (strlen(path) < sizeof(sun.sun_path)) {
        memcpy(sun.sun_path, path, strlen(path) + 1);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect(fd, (const struct sockaddr *)&sun, sizeof(sun)) == 0)
            return fd;
        error = errno;
    }
    if (fd >= 0)
        close(fd);
    return ll_fail(
        -1,
        "the mail server does not run here (%s: %s): the letter was not taken, try again "
        "later",
        path, strerror(error));
}

/* One line, octet by octet: what follows belongs to the session. */
static bool read_line(int fd, struct ll_buf *ret)
{
    uint64_t until = ll_now_ms() + LL_LOCAL_WAIT_MS;

    while (ret->n < GREETING_MAX && (ret->n == 0 || ret->p[ret->n - 1] != '\n')) {
        struct pollfd p = {fd, POLLIN, 0};
        uint64_t now = ll_now_ms();
        char c;

        if (now >= until || poll(&p, 1, (int)(until - now)) <= 0 || read(fd, &c, 1) != 1)
            return false;
        ll_buf_putc(ret, (uint8_t)c);
    }
    return !ret->failed;
}

int ll_local_open(const char *path, struct ll_local *ret)
{
    struct ll_slice line;
    size_t n;

    *ret = (struct ll_local){path, connect_to(path), LL_BUF(GREETING_MAX + 1), ""};
    if (ret->fd < 0)
        return EX_TEMPFAIL;
    if (!read_line(ret->fd, &ret->greeting)) {
        ll_local_close(ret);
        return ll_fail(EX_TEMPFAIL, "the mail server gives no greeting: the letter was not taken");
    }
    line = ll_slice_trim(ll_buf_slice(&ret->greeting));
    if (!ll_slice_casestarts(line, LL_LIT("220 "))) {
        ll_fail(0, "the mail server says: %.*s", LL_FMT(line));
        ll_local_close(ret);
        return EX_TEMPFAIL;
    }
    line = ll_slice_skip(line, 4);
    n = ll_slice_find(line, ' ');
    if (n < sizeof(ret->domain))
        snprintf(ret->domain, sizeof(ret->domain), "%.*s", LL_FMT(ll_slice_cut(line, 0, n)));
    return 0;
}

void ll_local_close(struct ll_local *l)
{
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
    ll_buf_release(&l->greeting);
}

/* ---- -bs ------------------------------------------------------------------------------------- */

static bool write_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t w = write(fd, p, n);

        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            return false;
        p += w;
        n -= (size_t)w;
    }
    return true;
}

/* Moves what there is. False: that side has ended, or the other takes no more. */
static bool move(int from, int to)
{
    char chunk[CHUNK];
    ssize_t n = read(from, chunk, sizeof(chunk));

    return n > 0 ? write_all(to, chunk, (size_t)n) : n < 0 && errno == EINTR;
}

int ll_local_talk(const char *path)
{
    struct pollfd p[2] = {{STDIN_FILENO, POLLIN, 0}, {connect_to(path), POLLIN, 0}};
    bool more = true;

    if (p[1].fd < 0) {
        fputs("421 4.3.2 The mail server does not run, try again later\r\n", stdout);
        return EX_TEMPFAIL;
    }
    /* The session ends when the server says so; an end of our input is told, and the last replies
     * are waited for. */
    while (more && poll(p, 2, -1) >= 0) {
        if (p[1].revents)
            more = move(p[1].fd, STDOUT_FILENO);
        if (more && p[0].revents && !move(STDIN_FILENO, p[1].fd)) {
            shutdown(p[1].fd, SHUT_WR);
            p[0].fd = -1;
        }
    }
    close(p[1].fd);
    return 0;
}
