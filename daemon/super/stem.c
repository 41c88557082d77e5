/*
 * See super.h. Where user namespaces are off, super cannot keep the right to change users without
 * being able to become root. Instead one process a role, the stem, is forked while still root: it
 * becomes the role's user for good, and then does two things on super's word: start a process of
 * its role, and kill one. What it starts is super's child (CLONE_PARENT), so that deaths are seen
 * as without stems.
 *
 * control has a stem always: it must see who calls (SO_PEERCRED), and within our user namespace all
 * users but ours read as one number.
 */
#include "daemon/super/super.h"

#include "io/ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

struct order {
    int32_t kill;   /* a process of this role to end; 0: start one */
    uint32_t index; /* of the worker to start */
};

/* One order, and with a start the channel and the log. False when super is gone. */
static bool receive(int s, struct order *ret, int ret_fd[2])
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(2 * sizeof(int))];
    } control;
    struct iovec iov = {ret, sizeof(*ret)};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.room,
                       .msg_controllen = sizeof(control.room)};
    struct cmsghdr *h;
    ssize_t n;

    ret_fd[0] = ret_fd[1] = -1;
    do
        n = recvmsg(s, &m, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n != sizeof(*ret))
        return false;
    h = CMSG_FIRSTHDR(&m);
    if (h && h->cmsg_type == SCM_RIGHTS && h->cmsg_len == CMSG_LEN(2 * sizeof(int)))
        memcpy(ret_fd, CMSG_DATA(h), 2 * sizeof(int));
    return true;
}

static int32_t start(struct super *s, enum ll_role role, unsigned index, const int fd[2])
{
    struct child c = {.super = s, .role = role, .index = index};
    pid_t pid;

    if (fd[0] < 0 || fd[1] < 0)
        return -1;
    s->log_fd = fd[1];
    pid = (pid_t)syscall(SYS_clone, CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, NULL);
    if (pid == 0)
        child_become_role(&c, fd[0]);
    return pid;
}

static _Noreturn void serve(struct super *s, enum ll_role role, int socket)
{
    struct order o;
    int fd[2];

    while (receive(socket, &o, fd)) {
        int32_t answer = o.kill > 1 ? kill(o.kill, SIGKILL) : start(s, role, o.index, fd);

        for (int i = 0; i < 2; i++)
            if (fd[i] >= 0)
                close(fd[i]);
        if (write(socket, &answer, sizeof(answer)) != sizeof(answer))
            break;
    }
    _exit(0);
}

/* Everything but this role's program and the socket closes: listening sockets above all. */
static void close_others(struct super *s, int socket, int program)
{
    for (int i = 0; i < LL_ROLE_COUNT; i++)
        if (s->programs[i] >= 0 && s->programs[i] != program)
            s->programs[i] = -1;
    for (int fd = STDERR_FILENO + 1; fd < socket || fd < program; fd++)
        if (fd != socket && fd != program)
            close(fd);
    close_range((unsigned)(socket > program ? socket : program) + 1, ~0U, 0);
}

int super_make_stem(struct super *s, enum ll_role role)
{
    int fd[2];
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd) != 0)
        return -1;
    pid = fork();
    if (pid == 0) {
        signal(SIGINT, SIG_IGN);
        signal(SIGTERM, SIG_IGN);
        signal(SIGHUP, SIG_IGN);
        signal(SIGUSR1, SIG_IGN);
        dup2(s->log_fd,
             STDERR_FILENO); /* who waits for our end of a pipe shall not wait for this */
        close_others(s, fd[1], s->programs[role]);
        if (super_become(s, role) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
            prctl(PR_SET_DUMPABLE, 0) != 0 || setuid(0) == 0 || chdir("/") != 0)
            _exit(1);
        s->root = false; /* the change of user is done */
        prctl(PR_SET_NAME, "ll-stem");
        serve(s, role, fd[1]);
    }
    close(fd[1]);
    if (pid < 0) {
        close(fd[0]);
        return -1;
    }
    s->stems[role] = fd[0];
    return 0;
}

int super_make_stems(struct super *s)
{
    for (unsigned r = 0; r < LL_ROLE_COUNT; r++)
        if (s->stems[r] < 0 && s->programs[r] >= 0 && super_make_stem(s, (enum ll_role)r) != 0)
            return -1;
    return 0;
}

static int32_t order(const struct super *s, enum ll_role role, struct order o, const int fd[2])
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(2 * sizeof(int))];
    } control = {.room = {0}};
    struct iovec iov = {&o, sizeof(o)};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    int32_t answer = -1;

    if (fd) {
        struct cmsghdr *h;

        m.msg_control = control.room;
        m.msg_controllen = sizeof(control.room);
        h = CMSG_FIRSTHDR(&m);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(2 * sizeof(int));
        memcpy(CMSG_DATA(h), fd, 2 * sizeof(int));
    }
    if (sendmsg(s->stems[role], &m, MSG_NOSIGNAL) != sizeof(o) ||
        recv(s->stems[role], &answer, sizeof(answer), 0) != sizeof(answer))
        return -1;
    return answer;
}

pid_t stem_start(const struct super *s, enum ll_role role, unsigned index, int channel)
{
    const int fd[2] = {channel, s->log_fd};

    return order(s, role, (struct order){0, index}, fd);
}

void stem_kill(const struct super *s, enum ll_role role, pid_t pid)
{
    order(s, role, (struct order){pid, 0}, NULL);
}
