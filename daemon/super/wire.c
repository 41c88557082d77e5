/* See super.h. */
#include "daemon/super/super.h"

#include "io/ipc.h"
#include "io/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define CONF_MAX (64u << 20) /* octets of an encoded configuration */

int super_share_conf(struct super *s)
{
    struct ll_buf b = LL_BUF(CONF_MAX);
    int fd = memfd_create("letterlock.conf", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    size_t n = 0;

    ll_conf_encode(s->conf, &b);
    while (fd >= 0 && !b.failed && n < b.n) {
        ssize_t w = write(fd, b.p + n, b.n - n);

        if (w <= 0)
            break;
        n += (size_t)w;
    }
    if (fd < 0 || b.failed || n < b.n ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0) {
        ll_buf_release(&b);
        if (fd >= 0)
            close(fd);
        return -1;
    }
    ll_buf_release(&b);
    if (s->conf_fd >= 0)
        close(s->conf_fd);
    s->conf_fd = fd;
    s->generation++;
    return 0;
}

void child_send(struct child *c, enum ll_msg_type type, int fd)
{
    struct ll_msg m = {.type = type, .fd = fd};

    if (c->ipc)
        ll_msg_send(c->ipc, &m);
}

void child_send_conf(struct child *c)
{
    struct ll_msg m = {.type = LL_MSG_CONF, .fd = c->super->conf_fd};

    m.conf.generation = c->super->generation;
    if (c->ipc)
        ll_msg_send(c->ipc, &m);
}

void child_send_listener(struct child *c, const struct listening *l)
{
    struct ll_msg m = {.type = LL_MSG_LISTENER, .fd = l->fd};

    m.listener.title = ll_slice_str(l->title);
    m.listener.address = ll_slice_str(l->address);
    if (c->ipc && l->role == c->role && l->worker == c->index)
        ll_msg_send(c->ipc, &m);
}

void child_greet(struct child *c)
{
    child_send_conf(c);
    for (size_t i = 0; i < c->super->n_sockets; i++)
        child_send_listener(c, &c->super->sockets[i]);
}

static void send_peer(struct child *to, const struct child *peer, int fd)
{
    struct ll_msg m = {.type = LL_MSG_PEER, .id = peer->life, .fd = fd};

    m.peer.role = (uint8_t)peer->role;
    m.peer.index = (uint16_t)peer->index;
    ll_msg_send(to->ipc, &m);
}

/* A new process is told of all others, and each of them of it: their old channel to it is dead. */
void child_wire(struct child *c)
{
    struct super *s = c->super;

    for (size_t i = 0; i < s->n_children; i++) {
        struct child *o = s->children[i];
        int fd[2];

        if (o == c || !o->wired || !o->ipc || !c->ipc || !ll_msg_channel(c->role, o->role))
            continue;
        if (ll_ipc_pair(fd) != 0) {
            ll_log(LL_LOG_ERROR, "no-channel", LL_FS("role", ll_role_name(c->role)),
                   LL_FS("peer", ll_role_name(o->role)), LL_FS("why", strerror(errno)));
            continue;
        }
        send_peer(c, o, fd[0]);
        send_peer(o, c, fd[1]);
        close(fd[0]);
        close(fd[1]);
    }
    c->wired = true;
}
