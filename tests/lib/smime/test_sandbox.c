/* With its keys in hand, all of S/MIME works where no file can be opened, no socket made and no
 * program started; what libcrypto and the C library read at their first use, ll_smime_new reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "letterlock/smime.h"

#define NOW 1790000000

static const char *const forbidden[] = {
    "open",  "openat", "openat2", "creat", "socket", "connect", "execve", "fork",    "newfstatat",
    "vfork", "unlink", "rename",  "ioctl", "kill",   "stat",    "access", "readlink"};

static void close_in(void)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);

    for (size_t i = 0; ctx && i < LL_COUNT(forbidden); i++)
        if (seccomp_rule_add(ctx, SCMP_ACT_KILL_PROCESS, seccomp_syscall_resolve_name(forbidden[i]),
                             0) != 0)
            _exit(3);
    if (!ctx || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || seccomp_load(ctx) != 0)
        _exit(3);
    seccomp_release(ctx);
}

/* All of it, once. */
static bool work(struct ll_smime *s, struct ll_slice me, struct ll_arena *a)
{
    struct ll_buf sealed = LL_BUF(1 << 20), out = LL_BUF(1 << 20), sig = LL_BUF(1 << 20),
                  p12 = LL_BUF(1 << 20);
    struct ll_smime_cert c;
    struct ll_slice other, *v;
    struct ll_opened o;
    size_t n;

    return ll_smime_unlock(s, me, LL_LIT("pw")) == LL_SEAL_OK &&
           ll_smime_sign(s, me, LL_LIT("text"), NOW, true, &sig) == LL_SEAL_OK &&
           ll_smime_verify(s, LL_LIT("text"), ll_buf_slice(&sig), NOW, a, &o) == LL_SEAL_OK &&
           o.signature[0].state == LL_SIGNATURE_UNTRUSTED && ll_smime_pin(s, me) == LL_SEAL_OK &&
           ll_smime_verify(s, LL_LIT("text"), ll_buf_slice(&sig), NOW, a, &o) == LL_SEAL_OK &&
           o.signature[0].state == LL_SIGNATURE_GOOD &&
           ll_smime_encrypt(s, &me, 1, LL_LIT("text"), NOW, LL_SMIME_AUTO, &sealed) == LL_SEAL_OK &&
           ll_smime_open(s, ll_buf_slice(&sealed), NOW, &out, a, &o) == LL_SEAL_OK && out.n == 4 &&
           ll_smime_open(s, LL_LIT("0\x03garbage"), NOW, &out, a, &o) == LL_SEAL_MALFORMED &&
           ll_smime_cert(s, me, a, &c) == LL_SEAL_OK && c.not_before < NOW &&
           ll_smime_generate(s, LL_LIT("bob@b.test"), LL_LIT(""), LL_SMIME_P256, NOW, 86400, a,
                             &other) == LL_SEAL_OK &&
           ll_smime_export(s, other, LL_SMIME_PKCS12, LL_LIT("pw"), &p12) == LL_SEAL_OK &&
           ll_smime_add_pkcs12(s, ll_buf_slice(&p12), LL_LIT("pw"), a, &v, &n) == LL_SEAL_OK;
}

/* An identity, made in a process of its own, so that nothing is warm here. */
static void identity(struct ll_buf *out)
{
    uint8_t piece[4096];
    int pipes[2];
    ssize_t n;
    pid_t pid;

    assert_int_equal(pipe(pipes), 0);
    pid = fork();
    if (pid == 0) {
        struct ll_smime *s = ll_smime_new();
        struct ll_arena a;
        struct ll_slice f;

        ll_arena_init(&a, 1 << 20);
        if (ll_smime_generate(s, LL_LIT("ann@a.test"), LL_LIT("Ann"), LL_SMIME_P256, NOW, 86400, &a,
                              &f) != LL_SEAL_OK ||
            ll_smime_export(s, f, LL_SMIME_IDENTITY, LL_LIT("pw"), out) != LL_SEAL_OK ||
            write(pipes[1], out->p, out->n) != (ssize_t)out->n)
            _exit(1);
        _exit(0);
    }
    assert_true(pid > 0);
    close(pipes[1]);
    while ((n = read(pipes[0], piece, sizeof(piece))) > 0)
        ll_buf_put(out, piece, (size_t)n);
    close(pipes[0]);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_true(out->n > 0);
}

static void everything_works_closed_in(void **state)
{
    struct ll_buf pem = LL_BUF(1 << 20);
    int status = 0;
    pid_t pid;

    (void)state;
    identity(&pem);
    pid = fork();
    if (pid == 0) {
        struct ll_smime *s = ll_smime_new();
        struct ll_slice me;
        struct ll_arena a;

        ll_arena_init(&a, 16 << 20);
        close_in();
        _exit(s && ll_smime_add_key(s, ll_buf_slice(&pem), LL_LIT(""), &a, &me) == LL_SEAL_OK &&
                      work(s, me, &a)
                  ? 0
                  : 1);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    ll_buf_release(&pem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(everything_works_closed_in)};

    return cmocka_run_group_tests_name("smime sandbox", tests, NULL, NULL);
}
