/* Sockets that the MTA connects to. See listen.h. */
#include "tool/milter/listen.h"

#include "io/conf_load.h"
#include "tool/tool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 128

struct place {
    struct sockaddr_storage address;
    socklen_t n;
    const char *path; /* of a unix socket, else NULL */
};

/* ---- where --------------------------------------------------------------------------------------
 */

static bool place_unix(const char *path, struct place *p)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&p->address;

    if (path[0] != '/' || strlen(path) >= sizeof(un->sun_path))
        return false;
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path, strlen(path) + 1);
    p->n = sizeof(*un);
    p->path = path;
    return true;
}

static bool place_tcp(struct ll_slice host, uint16_t port, struct place *p)
{
    struct sockaddr_in *four = (struct sockaddr_in *)&p->address;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)&p->address;
    char text[INET6_ADDRSTRLEN];

    if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = ll_slice_cut(host, 1, host.n - 1);
    if (ll_slice_eq(host, LL_LIT("localhost")))
        host = LL_LIT("127.0.0.1");
    if (host.n == 0 || host.n >= sizeof(text))
        return false;
    memcpy(text, host.p, host.n);
    text[host.n] = '\0';
    if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons(port);
        p->n = sizeof(*four);
        return true;
    }
    if (inet_pton(AF_INET6, text, &six->sin6_addr) != 1)
        return false;
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(port);
    p->n = sizeof(*six);
    return true;
}

/* Sendmail's forms (unix:, local:, inet:PORT@HOST, inet6:) and our own (ADDRESS:PORT). */
static bool place_of(const char *text, struct place *p)
{
    struct ll_slice s = ll_slice_str(text), port_text, host = LL_LIT("localhost");
    uint64_t number;
    uint16_t port;

    *p = (struct place){0};
    if (ll_slice_starts(s, LL_LIT("unix:")))
        return place_unix(text + 5, p);
    if (ll_slice_starts(s, LL_LIT("local:")))
        return place_unix(text + 6, p);
    if (text[0] == '/')
        return place_unix(text, p);
    if (!ll_slice_starts(s, LL_LIT("inet:")) && !ll_slice_starts(s, LL_LIT("inet6:")))
        return ll_conf_address(text, &host, &port) && place_tcp(host, port, p);
    s = ll_slice_skip(s, ll_slice_find(s, ':') + 1);
    if (!ll_slice_next(&s, '@', &port_text) || !ll_slice_u64(port_text, &number) || number == 0 ||
        number > UINT16_MAX)
        return false;
    return place_tcp(s.n > 0 ? s : host, (uint16_t)number, p);
}

/* ---- sockets ------------------------------------------------------------------------------------
 */

/* A socket that was left behind goes; one that answers, and what is no socket, stays. */
static bool clear_path(const struct place *p)
{
    struct stat st;
    bool alive;
    int fd;

    if (lstat(p->path, &st) != 0)
        return errno == ENOENT;
    if (!S_ISSOCK(st.st_mode)) {
        errno = EEXIST;
        return false;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    alive = fd >= 0 && connect(fd, (const struct sockaddr *)&p->address, p->n) == 0;
    if (fd >= 0)
        close(fd);
    if (alive) {
        errno = EADDRINUSE;
        return false;
    }
    return unlink(p->path) == 0;
}

static int set_mode(const char *path, const char *mode, const char *group)
{
    char *end;
    unsigned long bits = strtoul(mode ? mode : "660", &end, 8);
    const struct group *g = group ? getgrnam(group) : NULL;

    if (*end || bits > 0777)
        return ll_fail(EX_USAGE, "--socket-mode %s: write an octal mode, as 660", mode);
    if (group && !g)
        return ll_fail(EX_NOUSER, "there is no group %s", group);
    if (g && chown(path, (uid_t)-1, g->gr_gid) != 0)
        return ll_fail(EX_NOPERM, "%s: %s", path, strerror(errno));
    return chmod(path, (mode_t)bits) == 0 ? 0 : ll_fail(EX_NOPERM, "%s: %s", path, strerror(errno));
}

int milter_listen(const char *text, const char *mode, const char *group, int *ret_fd)
{
    struct place p;
    int one = 1, fd, status = 0;
    mode_t mask;

    if (!place_of(text, &p))
        return ll_fail(EX_USAGE, "--listen %s: write unix:/PATH, inet:PORT@ADDRESS or ADDRESS:PORT",
                       text);
    if (p.path && !clear_path(&p))
        return ll_fail(EX_CANTCREAT, "%s: %s", p.path, strerror(errno));
    fd = socket(p.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    mask = umask(0177); /* nobody gets in before the mode is set */
    if (fd < 0 || bind(fd, (struct sockaddr *)&p.address, p.n) != 0 || listen(fd, BACKLOG) != 0)
        status = ll_fail(EX_UNAVAILABLE, "--listen %s: %s", text, strerror(errno));
    umask(mask);
    if (status == 0 && p.path)
        status = set_mode(p.path, mode, group);
    if (status != 0 && fd >= 0)
        close(fd);
    *ret_fd = status == 0 ? fd : -1;
    return status;
}
