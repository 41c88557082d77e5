/* See tool/check.h: what of the sandbox this kernel has (promise 13: what it lacks is named). */
#include "tool/check.h"

#include <errno.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef LANDLOCK_CREATE_RULESET_VERSION
#define LANDLOCK_CREATE_RULESET_VERSION 1
#endif

/* What each version of Landlock's interface added, as far as the server uses it. */
static const struct {
    int abi;
    const char *what;
} landlock[] = {
    {1, "files"},
    {3, "truncation of files"},
    {4, "TCP ports"},
    {6, "signals and abstract sockets"},
};

static void check_landlock(struct ll_check *c)
{
    int abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

    if (abi < 1) {
        ll_check_say(c, LL_FINDING_WARNING, "kernel",
                     "Landlock is %s: processes could open files that are not theirs, where their "
                     "users do not forbid it",
                     errno == EOPNOTSUPP ? "switched off" : "not there");
        return;
    }
    for (size_t i = 0; i < LL_COUNT(landlock); i++)
        if (abi < landlock[i].abi)
            ll_check_say(c, LL_FINDING_NOTE, "kernel", "Landlock %d does not guard %s", abi,
                         landlock[i].what);
    ll_check_say(c, LL_FINDING_OK, "kernel", "Landlock %d", abi);
}

static void check_seccomp(struct ll_check *c)
{
    uint32_t kill = SECCOMP_RET_KILL_PROCESS;

    if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &kill) == 0)
        ll_check_say(c, LL_FINDING_OK, "kernel", "seccomp");
    else
        ll_check_say(c, LL_FINDING_WARNING, "kernel",
                     "seccomp is not there: processes could call all of the kernel");
}

/* Started by root, the server leaves root for a user namespace of its own. */
static void check_namespaces(struct ll_check *c)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0)
        _exit(unshare(CLONE_NEWUSER) == 0 ? 0 : 1);
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        ll_check_say(c, LL_FINDING_OK, "kernel", "user namespaces");
    else
        ll_check_say(c, LL_FINDING_NOTE, "kernel",
                     "user namespaces are off: started by root, the server cannot leave root that "
                     "way");
}

void ll_check_kernel(struct ll_check *c)
{
    struct utsname u;

    check_landlock(c);
    check_seccomp(c);
    check_namespaces(c);
    if (uname(&u) == 0)
        ll_check_say(c, LL_FINDING_OK, "kernel", "%s %s", u.sysname, u.release);
}
