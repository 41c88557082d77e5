/* With its keys in the ring, all of OpenPGP works where no file can be opened, no socket made and
 * no program started: a reader can close itself in before it touches a letter. */
#include "tests/lib/pgp/world.h"

#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const forbidden[] = {
    "open",  "openat", "openat2", "creat", "socket", "connect", "execve", "fork",
    "vfork", "unlink", "rename",  "ioctl", "kill",   "stat",    "access", "readlink"};

static void close_in(void)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);

    for (size_t i = 0; ctx && i < LL_COUNT(forbidden); i++) {
        int nr = seccomp_syscall_resolve_name(forbidden[i]);

        if (seccomp_rule_add(ctx, SCMP_ACT_KILL_PROCESS, nr, 0) != 0)
            _exit(3);
    }
    if (!ctx || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || seccomp_load(ctx) != 0)
        _exit(3);
    seccomp_release(ctx);
}

/* All of it, once. */
static bool work(struct ll_pgp *ring, struct ll_slice a, struct ll_slice b, struct ll_arena *arena)
{
    struct ll_buf sealed = BUF, out = BUF, sig = BUF;
    struct ll_opened o;

    return ll_pgp_unlock(ring, b, LL_LIT("pw")) == LL_SEAL_OK &&
           ll_pgp_encrypt(ring, &b, 1, a, LL_LIT("text"), NOW, &sealed) == LL_SEAL_OK &&
           ll_pgp_open(ring, TEXT(sealed), NOTHING, NOW, &out, arena, &o) == LL_SEAL_OK &&
           ll_slice_eq(TEXT(out), LL_LIT("text")) && o.n_signature == 1 &&
           o.signature[0].state == LL_SIGNATURE_GOOD &&
           ll_pgp_open(ring, LL_LIT("garbage"), NOTHING, NOW, &out, arena, &o) != LL_SEAL_OK &&
           ll_pgp_sign(ring, a, LL_LIT("text"), NOW, &sig) == LL_SEAL_OK &&
           ll_pgp_verify(ring, LL_LIT("text"), TEXT(sig), NOW, arena, &o) == LL_SEAL_OK &&
           o.signature[0].state == LL_SIGNATURE_GOOD;
}

static void everything_works_closed_in(void **state)
{
    struct ll_arena arena;
    struct ll_pgp *made = ll_pgp_new(), *ring = ll_pgp_new();
    struct ll_slice a, b;
    int status = 0;
    pid_t pid;

    ll_arena_init(&arena, 16 << 20);
    a = make(made, &arena, "Ann <ann@example.org>");
    assert_ok(
        ll_pgp_generate(made, LL_LIT("Bob <bob@example.org>"), LL_LIT("pw"), NOW, 0, &arena, &b));
    give(made, ring, a, LL_PGP_SECRET, NOW, &arena);
    give(made, ring, b, LL_PGP_SECRET, NOW, &arena);
    pid = fork();
    if (pid == 0) {
        close_in();
        _exit(work(ring, a, b, &arena) ? 0 : 1);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    ll_pgp_free(made);
    ll_pgp_free(ring);
    ll_arena_release(&arena);
}

/* librnp's log stays off standard error, whatever it reads; what others print there does not. */
static void nothing_is_said_on_standard_error(void **state)
{
    struct ll_arena arena;
    struct ll_pgp *ring;
    struct ll_opened o;
    struct ll_buf out = BUF;
    struct ll_slice *list;
    char said[4096] = "";
    int pipes[2], old = dup(STDERR_FILENO);
    size_t n;

    assert_int_equal(pipe(pipes), 0);
    fflush(stderr);
    assert_true(dup2(pipes[1], STDERR_FILENO) >= 0);
    ll_arena_init(&arena, 16 << 20);
    ring = ll_pgp_new();
    ll_pgp_import(ring, LL_LIT("\xc6\x06\x04\x00\x00\x00\x00\x16"), NOW, &arena, &list, &n);
    ll_pgp_open(ring,
                LL_LIT("\xcb\x7f"
                       "b"),
                NOTHING, NOW, &out, &arena, &o);
    ll_pgp_open(ring, LL_LIT("\xc2\x02\x04\x00"), NOTHING, NOW, &out, &arena, &o);
    ll_pgp_verify(ring, LL_LIT("x"), LL_LIT("\xc2\x02\x04\x00"), NOW, &arena, &o);
    ll_pgp_free(ring);
    fputs("mine\n", stderr);
    fflush(stderr);
    dup2(old, STDERR_FILENO);
    close(old);
    close(pipes[1]);
    assert_true(read(pipes[0], said, sizeof(said) - 1) > 0);
    close(pipes[0]);
    assert_string_equal(said, "mine\n");
    ll_arena_release(&arena);
    ll_buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_works_closed_in),
        cmocka_unit_test(nothing_is_said_on_standard_error),
    };

    return cmocka_run_group_tests_name("pgp sandbox", tests, NULL, NULL);
}
