#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "io/accounts.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/letterlock-unit-XXXXXX";
static char path[64];

static struct ll_accounts *fresh(void)
{
    struct ll_accounts *a = NULL;

    unlink(path);
    assert_int_equal(ll_accounts_create(path, NULL), LL_ACCOUNTS_OK);
    assert_int_equal(ll_accounts_open(path, true, 100, &a, NULL), LL_ACCOUNTS_OK);
    return a;
}

static void names(void **state)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"Ann@Alpha.Test", "ann@alpha.test"},
        {"\"ann\"@alpha.test", "ann@alpha.test"},
        {"ann+x@alpha.test", "ann+x@alpha.test"},
        {"ann@b\xc3\xbc"
         "cher.test",
         "ann@xn--bcher-kva.test"},
        {"ann", NULL},
        {"ann@[192.0.2.1]", NULL},
        {"", NULL},
        {"ann@alpha.test ", NULL},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_mailbox m;
        bool ok = ll_account_name(ll_slice_str(rows[i].in), &m);

        assert_int_equal(ok, rows[i].out != NULL);
        if (ok)
            assert_string_equal(m.text, rows[i].out);
    }
}

static void life(void **state)
{
    struct ll_accounts *a = fresh();
    struct ll_account found;
    struct ll_slice ann = LL_LIT("ann@a.test"), bob = LL_LIT("bob@a.test");
    struct stat st;
    uint64_t g;

    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(ll_accounts_find(a, ann, &found, NULL), LL_ACCOUNTS_NONE);
    g = ll_accounts_generation(a);
    assert_true(g > 0);
    assert_int_equal(ll_accounts_add(a, ann, "$h1", 200, NULL), LL_ACCOUNTS_OK);
    assert_true(ll_accounts_generation(a) != g);
    assert_int_equal(ll_accounts_add(a, ann, "$h2", 200, NULL), LL_ACCOUNTS_EXISTS);
    assert_int_equal(ll_accounts_add(a, bob, "$h3", 100, NULL), LL_ACCOUNTS_OK);
    assert_int_equal(ll_accounts_find(a, ann, &found, NULL), LL_ACCOUNTS_OK);
    assert_string_equal(found.hash, "$h1");
    assert_false(found.locked);
    assert_int_equal(ll_accounts_first(a, LL_LIT("a.test"), &found, NULL), LL_ACCOUNTS_OK);
    assert_string_equal(found.address, "bob@a.test");
    assert_int_equal(ll_accounts_first(a, LL_LIT("b.test"), &found, NULL), LL_ACCOUNTS_NONE);
    assert_int_equal(ll_accounts_set_locked(a, ann, true, NULL), LL_ACCOUNTS_OK);
    assert_int_equal(ll_accounts_set_hash(a, ann, "$h4", NULL), LL_ACCOUNTS_OK);
    assert_int_equal(ll_accounts_find(a, ann, &found, NULL), LL_ACCOUNTS_OK);
    assert_true(found.locked);
    assert_string_equal(found.hash, "$h4");
    assert_int_equal(ll_accounts_del(a, ann, NULL), LL_ACCOUNTS_OK);
    assert_int_equal(ll_accounts_del(a, ann, NULL), LL_ACCOUNTS_NONE);
    assert_int_equal(ll_accounts_set_hash(a, ann, "$h4", NULL), LL_ACCOUNTS_NONE);
    /* Data, never SQL. */
    assert_int_equal(ll_accounts_find(a, LL_LIT("' OR 1=1 --"), NULL, NULL), LL_ACCOUNTS_NONE);
    ll_accounts_close(a);
}

/* A reader sees what another connection writes, and by the generation alone. */
static void two_connections(void **state)
{
    struct ll_accounts *w = fresh(), *r = NULL;
    uint64_t g;

    assert_int_equal(ll_accounts_open(path, false, 100, &r, NULL), LL_ACCOUNTS_OK);
    g = ll_accounts_generation(r);
    assert_int_equal(ll_accounts_generation(r), g);
    assert_int_equal(ll_accounts_add(w, LL_LIT("x@a.test"), "$h", 1, NULL), LL_ACCOUNTS_OK);
    assert_true(ll_accounts_generation(r) != g);
    assert_int_equal(ll_accounts_find(r, LL_LIT("x@a.test"), NULL, NULL), LL_ACCOUNTS_OK);
    assert_false(ll_accounts_replaced(r));
    ll_accounts_close(w);
    w = fresh();
    assert_true(ll_accounts_replaced(r));
    ll_accounts_close(w);
    ll_accounts_close(r);
}

static void broken(void **state)
{
    struct ll_buf err = LL_BUF(1024);
    struct ll_accounts *a = NULL;
    char garbage[4096];
    int fd;

    unlink(path);
    assert_int_equal(ll_accounts_open(path, true, 0, &a, &err), LL_ACCOUNTS_BROKEN);
    assert_true(err.n > 0);
    memset(garbage, 'x', sizeof(garbage));
    fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd, garbage, sizeof(garbage)), sizeof(garbage));
    close(fd);
    assert_int_equal(ll_accounts_open(path, true, 0, &a, &err), LL_ACCOUNTS_BROKEN);
    assert_int_equal(ll_accounts_create(path, &err), LL_ACCOUNTS_EXISTS);
    assert_int_equal(truncate(path, 0), 0); /* an empty file is no file of ours */
    assert_int_equal(ll_accounts_open(path, true, 0, &a, &err), LL_ACCOUNTS_BROKEN);
    assert_null(a);
    ll_buf_release(&err);
}

static void passwords(void **state)
{
    struct ll_slice good = LL_LIT("correct horse");
    char hash[LL_HASH_TEXT_MAX], longest[LL_PASSWORD_MAX + 1];

    assert_true(ll_hash_make(good, hash));
    assert_true(ll_slice_starts(ll_slice_str(hash), LL_LIT("$argon2id$v=19$m=19456,t=2,p=1$")));
    assert_true(ll_hash_check(hash, good));
    assert_false(ll_hash_check(hash, LL_LIT("correct horsf")));
    assert_false(ll_hash_check(hash, LL_LIT("")));
    assert_false(ll_hash_check(NULL, good));
    assert_false(ll_hash_check("", good));
    assert_false(ll_hash_make(LL_LIT("short77"), hash));
    memset(longest, 'p', sizeof(longest));
    assert_true(ll_hash_make(ll_slice(longest, LL_PASSWORD_MAX), hash));
    assert_true(ll_hash_check(hash, ll_slice(longest, LL_PASSWORD_MAX)));
    assert_false(ll_hash_make(ll_slice(longest, LL_PASSWORD_MAX + 1), hash));
    assert_false(ll_hash_check(hash, ll_slice(longest, LL_PASSWORD_MAX + 1)));
}

static int group_setup(void **state)
{
    if (!mkdtemp(dir))
        return -1;
    return snprintf(path, sizeof(path), "%s/accounts.db", dir) > 0 ? 0 : -1;
}

static int group_teardown(void **state)
{
    unlink(path);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),  cmocka_unit_test(life),      cmocka_unit_test(two_connections),
        cmocka_unit_test(broken), cmocka_unit_test(passwords),
    };

    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
