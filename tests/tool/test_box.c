/* The process that reads letters: what it may do, and what the kernel takes from it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tool/read/box.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define FILTERED 0 /* io/sandbox.c sets no call filter then */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FILTERED 0
#endif
#endif
#ifndef FILTERED
#define FILTERED 1
#endif

static char folder[] = "/tmp/letterlock-box-XXXXXX";
static struct ll_buf got;

static bool host(void *data, uint8_t type, struct ll_slice frame, struct ll_buf *answer)
{
    ll_buf_put_slice(&got, frame);
    if (type == 1)
        ll_buf_puts(answer, "answer");
    return type < 9;
}

static int run(ll_box_work_fn work, const char *write)
{
    const struct ll_box_rules rules = {NULL, write};

    ll_buf_clear(&got);
    return ll_box_run(&rules, work, NULL, host, NULL);
}

/* ---- frames -------------------------------------------------------------------------------------
 */

static int talk(void *data, struct ll_box *box)
{
    struct ll_buf answer = LL_BUF(100);
    bool ok = ll_box_send(box, 0, LL_LIT("one ")) && ll_box_ask(box, 1, LL_LIT("two"), &answer) &&
              ll_slice_eq(ll_buf_slice(&answer), LL_LIT("answer"));

    ll_buf_release(&answer);
    return ok ? 3 : 4;
}

static int break_rules(void *data, struct ll_box *box)
{
    ll_box_send(box, 9, LL_LIT(""));
    pause();
    return 0;
}

static int flood(void *data, struct ll_box *box)
{
    for (int i = 0; i <= LL_BOX_FRAMES_MAX; i++)
        ll_box_send(box, 0, LL_LIT(""));
    pause();
    return 0;
}

static int too_long(void *data, struct ll_box *box)
{
    static const uint8_t head[] = {0, 0xff, 0xff, 0xff, 0xff};

    if (write(box->to, head, sizeof(head)) != (ssize_t)sizeof(head))
        return 1;
    pause();
    return 0;
}

static int crash(void *data, struct ll_box *box)
{
    signal(SIGABRT, SIG_DFL);
    abort();
}

static void frames_go_out_and_answers_come_back(void **state)
{
    assert_int_equal(run(talk, NULL), 3);
    assert_true(ll_slice_eq(ll_buf_slice(&got), LL_LIT("one two")));
}

static void who_breaks_the_rules_is_ended(void **state)
{
    assert_int_equal(run(break_rules, NULL), EX_SOFTWARE);
    assert_int_equal(run(flood, NULL), EX_SOFTWARE);
    assert_int_equal(run(too_long, NULL), EX_SOFTWARE);
    assert_int_equal(run(crash, NULL), EX_SOFTWARE);
}

/* ---- what is taken ------------------------------------------------------------------------------
 */

/* Each gives 0 where it was refused. */
static int opens(void *data, struct ll_box *box)
{
    char own[64];

    snprintf(own, sizeof(own), "%s/x", folder);
    return open("/etc/hostname", O_RDONLY) >= 0 || open("/proc/self/mem", O_RDWR) >= 0 ||
           open(own, O_RDWR | O_CREAT, 0600) >= 0 || open(".", O_RDONLY | O_DIRECTORY) >= 0;
}

static int connects(void *data, struct ll_box *box)
{
    static const int families[] = {AF_INET, AF_INET6, AF_UNIX, AF_NETLINK};

    for (size_t i = 0; i < LL_COUNT(families); i++)
        if (socket(families[i], SOCK_STREAM, 0) >= 0 || socket(families[i], SOCK_DGRAM, 0) >= 0)
            return 1;
    return 0;
}

static int executes(void *data, struct ll_box *box)
{
    char *const argv[] = {(char *)"/bin/true", NULL}, *const none[] = {NULL};

    execve("/bin/true", argv, none);
    return 1;
}

static int forks(void *data, struct ll_box *box)
{
    pid_t pid = fork();

    if (pid == 0)
        _exit(0);
    return pid >= 0;
}

static int dumps(void *data, struct ll_box *box)
{
    struct rlimit core;

    return getrlimit(RLIMIT_CORE, &core) != 0 || core.rlim_max != 0;
}

/* cmocka's skip() counts as a failure in TAP. */
static bool filtered(void)
{
    if (!FILTERED)
        print_message("not looked at: built with sanitizers, so there is no call filter\n");
    return FILTERED;
}

static void nothing_is_opened_connected_or_started(void **state)
{
    if (!filtered())
        return;
    assert_int_equal(run(opens, NULL), 0);
    assert_int_equal(run(connects, NULL), 0);
    assert_int_equal(run(executes, NULL), EX_SOFTWARE); /* killed on the spot */
    assert_int_not_equal(run(forks, NULL), 1);
    assert_int_equal(run(dumps, NULL), 0);
}

/* ---- the one folder -----------------------------------------------------------------------------
 */

static int saves(void *data, struct ll_box *box)
{
    char path[128];
    int fd;

    snprintf(path, sizeof(path), "%s/saved", folder);
    fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
    if (fd < 0 || write(fd, "x", 1) != 1 || close(fd) != 0)
        return 1;
    snprintf(path, sizeof(path), "%s/../letterlock-box-outside", folder);
    if (open(path, O_CREAT | O_WRONLY, 0600) >= 0)
        return 2;
    snprintf(path, sizeof(path), "%s/link", folder); /* to /etc/hostname */
    return open(path, O_RDONLY) >= 0 || open("/etc/hostname", O_RDONLY) >= 0 ||
                   connects(NULL, box) != 0
               ? 3
               : 0;
}

static void only_the_folder_is_written(void **state)
{
    char path[64];

    if (!filtered())
        return;
    snprintf(path, sizeof(path), "%s/link", folder);
    assert_int_equal(symlink("/etc/hostname", path), 0);
    assert_int_equal(run(saves, folder), 0);
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof(path), "%s/saved", folder);
    assert_int_equal(unlink(path), 0);
}

static int set_up(void **state)
{
    got = LL_BUF(1000);
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
    ll_buf_release(&got);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_go_out_and_answers_come_back),
        cmocka_unit_test(who_breaks_the_rules_is_ended),
        cmocka_unit_test(nothing_is_opened_connected_or_started),
        cmocka_unit_test(only_the_folder_is_written),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
