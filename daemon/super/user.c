/* See super.h. The user namespace holds the service users and no uid 0, so that what super keeps,
 * CAP_SETUID and CAP_SETGID in it, cannot lead back to root. */
#include "daemon/super/super.h"

#include "io/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int super_find_users(struct super *s, struct ll_buf *err)
{
    for (unsigned r = 0; r < LL_ROLE_COUNT; r++) {
        if (!ll_role_program((enum ll_role)r))
            continue;
        if (ll_role_uid(s->conf, (enum ll_role)r, &s->uid[r], &s->gid[r]) == 0)
            continue;
        ll_buf_printf(
            err,
            "started as root, but user %s-%s does not exist and uid_base is not set; make "
            "the users, or set uid_base (`letterlock init` does), or start letterlockd "
            "as an ordinary user on ports above 1023\n",
            s->conf->users, ll_role_name((enum ll_role)r));
        return -1;
    }
    return 0;
}

static int write_map(pid_t pid, const char *which, const struct super *s, bool groups)
{
    struct ll_buf b = LL_BUF(4096);
    char path[64];
    ssize_t n;
    int fd;

    for (unsigned r = 0; r < LL_ROLE_COUNT; r++) {
        unsigned id = groups ? s->gid[r] : s->uid[r];
        bool seen = id == 0;

        for (unsigned k = 0; k < r; k++)
            seen = seen || (groups ? s->gid[k] : s->uid[k]) == id;
        if (!seen)
            ll_buf_printf(&b, "%u %u 1\n", id, id);
    }
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, which);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    n = fd >= 0 ? write(fd, b.p, b.n) : -1;
    if (fd >= 0)
        close(fd);
    fd = n == (ssize_t)b.n ? 0 : -1;
    ll_buf_release(&b);
    return fd;
}

/* The maps can be written by a process outside alone: a child that stays root for this moment.
 * 1: this kernel gives no user namespace, and nothing has changed; -1: half way in. */
static int enter_namespace(const struct super *s)
{
    pid_t self = getpid();
    int go[2];
    int status = -1;
    int result = 1;
    pid_t helper;

    if (pipe2(go, O_CLOEXEC) != 0)
        return -1;
    helper = fork();
    if (helper == 0) {
        char c;

        close(go[1]);
        _exit(read(go[0], &c, 1) == 1 && write_map(self, "uid_map", s, false) == 0 &&
                      write_map(self, "gid_map", s, true) == 0
                  ? 0
                  : 1);
    }
    close(go[0]);
    if (helper > 0 && unshare(CLONE_NEWUSER) == 0)
        result = write(go[1], "", 1) == 1 ? 0 : -1;
    close(go[1]);
    if (helper > 0 && waitpid(helper, &status, 0) == helper && status != 0 && result == 0)
        result = -1;
    return result;
}

static int set_caps(uint32_t low)
{
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{low, low, 0}, {0, 0, 0}};

    return syscall(SYS_capset, &head, data) == 0 ? 0 : -1;
}

/* Leaves the given capabilities and no other, for this process and what it starts. */
static int keep_caps(uint32_t low)
{
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        if ((cap >= 32 || !(low & (1u << cap))) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0)
            return -1;
    if (prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED, 0, 0, 0) != 0)
        return -1;
    return set_caps(low);
}

/* With stems super needs nothing any more: it becomes its user as everybody does. */
static int leave_by_stems(struct super *s)
{
    if (super_make_stems(s) != 0 || super_become(s, LL_ROLE_SUPER) != 0)
        return -1;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && setuid(0) != 0 ? 0 : -1;
}

/* The bounding set and the bits want CAP_SETPCAP, which the change of user leaves alone: uid 0 is
 * not of this namespace. */
static int leave_by_namespace(struct super *s)
{
    uid_t uid = s->uid[LL_ROLE_SUPER];
    gid_t gid = s->gid[LL_ROLE_SUPER];

    if (setgroups(0, NULL) != 0 || setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0 ||
        keep_caps((1u << CAP_SETUID) | (1u << CAP_SETGID)) != 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || setuid(0) == 0 || geteuid() != uid)
        return -1;
    return 0;
}

int super_leave_root(struct super *s, struct ll_buf *err)
{
    int entered;

    if (!s->root)
        return 0;
    entered = super_make_stem(s, LL_ROLE_CONTROL) == 0 ? enter_namespace(s) : -1;
    if (entered == 1)
        ll_log(LL_LOG_INFO, "no-user-namespace", LL_FS("instead", "one stem process a role"));
    if (entered < 0 || (entered == 0 ? leave_by_namespace(s) : leave_by_stems(s)) != 0) {
        ll_buf_printf(
            err,
            "root cannot be left: %s; start letterlockd as an ordinary user on ports above "
            "1023\n",
            strerror(errno));
        return -1;
    }
    return 0;
}

int super_become(const struct super *s, enum ll_role role)
{
    uid_t uid = s->uid[role];
    gid_t gid = s->gid[role];

    if (!s->root)
        return 0;
    return setgroups(0, NULL) == 0 && setresgid(gid, gid, gid) == 0 &&
                   setresuid(uid, uid, uid) == 0 && set_caps(0) == 0
               ? 0
               : -1;
}

void super_kill(const struct super *s, const struct child *c)
{
    pid_t helper;

    if (c->pid <= 0)
        return;
    if (s->stems[c->role] >= 0) {
        stem_kill(s, c->role, c->pid);
        return;
    }
    if (!s->root) {
        kill(c->pid, SIGKILL);
        return;
    }
    /* super has no right over other users' processes; a process of the same user has. */
    helper = fork();
    if (helper == 0)
        _exit(super_become(s, c->role) == 0 ? kill(c->pid, SIGKILL) : 1);
    if (helper > 0)
        waitpid(helper, NULL, 0);
}

struct folder {
    const char *path;
    const char *setting;
    enum ll_role owner;
    mode_t mode;
};

/* Empty, and root's: as a service manager or a package makes them. */
static bool may_take(const char *path, const struct stat *st)
{
    DIR *d = st->st_uid == 0 ? opendir(path) : NULL;
    bool empty = d != NULL;
    struct dirent *e;

    while (empty && (e = readdir(d)) != NULL)
        empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
    if (d)
        closedir(d);
    return empty;
}

int super_folders(const struct super *s, struct ll_buf *err)
{
    char reports[PATH_MAX];
    const struct folder folders[] = {
        {s->conf->run_dir, "run_dir", LL_ROLE_SUPER, 0755},
        {s->conf->state_dir, "state_dir", LL_ROLE_SUPER, 0711},
        {s->conf->spool_dir, "spool_dir", LL_ROLE_QUEUE, 0700},
        {s->conf->mail_dir, "mail_dir", LL_ROLE_LOCAL, 0700},
        {reports, "the folder for reports in state_dir:", LL_ROLE_TALLY, 0700},
    };

    if (snprintf(reports, sizeof(reports), "%s/reports", s->conf->state_dir) >=
        (int)sizeof(reports)) {
        ll_buf_printf(err, "state_dir is too long for a path; choose a shorter folder\n");
        return -1;
    }

    for (size_t i = 0; i < LL_COUNT(folders); i++) {
        const struct folder *f = &folders[i];
        struct stat st;

        bool there = stat(f->path, &st) == 0 && S_ISDIR(st.st_mode);

        if (there && (!s->root || !may_take(f->path, &st)))
            continue;
        if ((!there && mkdir(f->path, f->mode) != 0) || chmod(f->path, f->mode) != 0 ||
            (s->root && chown(f->path, s->uid[f->owner], s->gid[f->owner]) != 0)) {
            ll_buf_printf(err, "%s %s cannot be made: %s; make it, or choose another folder\n",
                          f->setting, f->path, strerror(errno));
            return -1;
        }
    }
    return 0;
}
