/* See super.h. */
#include "daemon/super/super.h"

#include "io/conf_load.h"
#include "io/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define BACKLOG      4096 /* connections that wait for accept; the kernel cuts it at somaxconn */
#define BIND_TRIES   20   /* times that a port in use is tried again ... */
#define BIND_WAIT_NS 50000000 /* ... after so long, in all a second */

static struct listening *add(struct super *s, int fd, const char *title, const char *address,
                             enum ll_role role, unsigned worker)
{
    struct listening *l;

    if (s->n_sockets == SUPER_SOCKETS_MAX)
        return NULL;
    l = &s->sockets[s->n_sockets];
    *l = (struct listening){strdup(title), strdup(address), role, worker, fd, true};
    if (!l->title || !l->address) {
        free(l->title);
        free(l->address);
        return NULL;
    }
    s->n_sockets++;
    return l;
}

static void drop(struct super *s, size_t i)
{
    close(s->sockets[i].fd);
    free(s->sockets[i].title);
    free(s->sockets[i].address);
    s->sockets[i] = s->sockets[--s->n_sockets];
}

/* share: beside the sockets of other workers, which had it too. */
static int bind_tcp(const char *address, bool share)
{
    struct sockaddr_storage ss = {0};
    struct sockaddr_in *four = (struct sockaddr_in *)&ss;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)&ss;
    char text[INET6_ADDRSTRLEN] = "";
    struct ll_slice host;
    uint16_t port;
    int one = 1;
    int fd;

    if (!ll_conf_address(address, &host, &port))
        return -1;
    memcpy(text, host.p, host.n);
    if (inet_pton(AF_INET6, text, &six->sin6_addr) == 1) {
        six->sin6_family = AF_INET6;
        six->sin6_port = htons(port);
    } else {
        inet_pton(AF_INET, text, &four->sin_addr);
        four->sin_family = AF_INET;
        four->sin_port = htons(port);
    }
    fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
        (share && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) != 0) ||
        (ss.ss_family == AF_INET6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) != 0) ||
        bind(fd, (struct sockaddr *)&ss, ss.ss_family == AF_INET6 ? sizeof(*six) : sizeof(*four)) ||
        (share && listen(fd, BACKLOG) != 0)) {
        int e = errno;

        close(fd);
        errno = e;
        return -1;
    }
    return fd;
}

static enum ll_role role_of(const struct ll_conf_listener *l)
{
    return strcmp(l->kind, "submission") == 0 ? LL_ROLE_FRONT_SUB : LL_ROLE_FRONT_MX;
}

/* The socket of that address for the same section and role, and this worker (-1: any). */
static const struct listening *find(const struct super *s, const struct ll_conf_listener *l,
                                    const char *address, int worker)
{
    for (size_t i = 0; i < s->n_sockets; i++)
        if (strcmp(s->sockets[i].title, l->title) == 0 && s->sockets[i].role == role_of(l) &&
            strcmp(s->sockets[i].address, address) == 0 &&
            (worker < 0 || s->sockets[i].worker == (unsigned)worker))
            return &s->sockets[i];
    return NULL;
}

/* Sockets that share a port do not mind another program's that does so too: that the port is free
 * shows by binding it once without. A worker that comes by a reload, when root was left, cannot
 * bind beside the others, whose owner is root: it accepts from the socket of one of them. */
static int open_for(struct super *s, const struct ll_conf_listener *l, const char *address,
                    unsigned worker)
{
    const struct listening *other = find(s, l, address, -1);
    int fd;

    if (!other) {
        fd = bind_tcp(address, false);
        if (fd < 0)
            return -1;
        close(fd);
    }
    fd = bind_tcp(address, true);
    if (fd < 0 && other)
        fd = fcntl(other->fd, F_DUPFD_CLOEXEC, SUPER_FD_LOW);
    if (fd >= 0 && !add(s, fd, l->title, address, role_of(l), worker)) {
        close(fd);
        errno = ENFILE;
        return -1;
    }
    return fd < 0 ? -1 : 0;
}

static const char *advice(int error)
{
    return error == EACCES       ? "; a restart as root is needed for this port"
           : error == EADDRINUSE ? "; another program has the port: stop that one"
           : error == ENFILE     ? "; name fewer addresses or workers"
                                 : "";
}

static int open_listener(struct super *s, const struct ll_conf *conf,
                         const struct ll_conf_listener *l, struct ll_buf *err)
{
    unsigned workers = ll_role_workers(conf, role_of(l));
    int error;

    for (size_t i = 0; l->address[i]; i++)
        for (unsigned w = 0; w < workers; w++) {
            if (find(s, l, l->address[i], (int)w) || open_for(s, l, l->address[i], w) == 0)
                continue;
            /* A machine without IPv6: the other addresses of the section serve. */
            if ((errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL) && l->address[i][0] == '[') {
                ll_log(LL_LOG_WARNING, "no-ipv6", LL_FS("listener", l->title),
                       LL_FS("address", l->address[i]));
                break;
            }
            error = errno;
            ll_buf_printf(err, "listener \"%s\" cannot open %s: %s%s\n", l->title, l->address[i],
                          strerror(error), advice(error));
            return error == EADDRINUSE ? SUPER_BUSY : -1;
        }
    return 0;
}

int super_listen(struct super *s, const struct ll_conf *conf, struct ll_buf *err)
{
    for (size_t i = 0; i < s->n_sockets; i++)
        s->sockets[i].fresh = false;
    for (size_t i = 0; i < conf->n_listener; i++) {
        int r = open_listener(s, conf, &conf->listener[i], err);

        if (r == 0)
            continue;
        for (size_t k = s->n_sockets; k > 0; k--)
            if (s->sockets[k - 1].fresh)
                drop(s, k - 1);
        return r;
    }
    return 0;
}

void super_listen_prune(struct super *s, const struct ll_conf *conf)
{
    for (size_t k = s->n_sockets; k > 0; k--) {
        const struct listening *l = &s->sockets[k - 1];
        const struct ll_conf_listener *c = ll_conf_listener(conf, ll_slice_str(l->title));
        bool wanted = l->role == LL_ROLE_CONTROL;

        for (size_t i = 0; c && c->address[i] && role_of(c) == l->role &&
                           l->worker < ll_role_workers(conf, l->role);
             i++)
            wanted = wanted || strcmp(c->address[i], l->address) == 0;
        if (!wanted)
            drop(s, k - 1);
    }
}

/* The sockets that control accepts on: the only list. */
static const struct door {
    const char *title, *file;
    int type;
    mode_t mode; /* who may connect */
} doors[] = {
    {SUPER_CONTROL, "control.sock", SOCK_SEQPACKET, 0600},
    {SUPER_SENDMAIL, "sendmail.sock", SOCK_STREAM, 0666},
};

static struct sockaddr_un door_address(const struct super *s, const struct door *d)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};

    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/%s", s->conf->run_dir, d->file);
    return sun;
}

static int open_door(struct super *s, const struct door *d, struct ll_buf *err)
{
    struct sockaddr_un sun = door_address(s, d);
    uid_t uid;
    gid_t gid;
    int fd = socket(AF_UNIX, d->type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd >= 0 && connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0) {
        ll_buf_printf(err, "%s answers: letterlockd runs already; `letterlock stop` ends it\n",
                      sun.sun_path);
        close(fd);
        return SUPER_BUSY;
    }
    unlink(sun.sun_path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&sun, sizeof(sun)) != 0 ||
        chmod(sun.sun_path, d->mode) != 0 ||
        (s->root && (ll_role_uid(s->conf, LL_ROLE_SUPER, &uid, &gid) != 0 ||
                     lchown(sun.sun_path, uid, gid) != 0)) ||
        listen(fd, 128) != 0 || !add(s, fd, d->title, sun.sun_path, LL_ROLE_CONTROL, 0)) {
        ll_buf_printf(err, "the socket %s cannot be made: %s; check run_dir\n", sun.sun_path,
                      strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return 0;
}

static bool is_open(const struct super *s, const struct door *d)
{
    for (size_t i = 0; i < s->n_sockets; i++)
        if (s->sockets[i].role == LL_ROLE_CONTROL && strcmp(s->sockets[i].title, d->title) == 0)
            return true;
    return false;
}

int super_listen_control(struct super *s, struct ll_buf *err)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < LL_COUNT(doors); i++)
        if (!is_open(s, &doors[i]))
            r = open_door(s, &doors[i], err);
    return r;
}

void super_unlink_control(const struct super *s)
{
    for (size_t i = 0; i < LL_COUNT(doors); i++)
        unlink(door_address(s, &doors[i]).sun_path);
}
