#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "io/conf.h"
#include "tool/init.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char dir[] = "/tmp/letterlock-unit-XXXXXX";
static char etc[] = "/etc/x", lib[] = "/var/lib/x", keys[] = "/var/lib/x/keys",
            auth[] = "/var/lib/x/auth", spool[] = "/var/spool/x", run[] = "/run/x",
            mail[] = "/var/mail/x";

static struct ll_conf *load(const struct ll_init_plan *plan)
{
    struct ll_buf text = LL_BUF(65536), err = LL_BUF(4096);
    struct ll_conf *conf;
    char path[128];
    FILE *f;

    ll_init_text(plan, &text);
    assert_false(text.failed);
    snprintf(path, sizeof(path), "%s/conf", dir);
    f = fopen(path, "we");
    assert_non_null(f);
    assert_int_equal(fwrite(text.p, 1, text.n, f), text.n);
    fclose(f);
    conf = ll_conf_load(path, &err);
    if (!conf)
        fail_msg("%s", ll_buf_str(&err));
    unlink(path);
    ll_buf_release(&text);
    ll_buf_release(&err);
    return conf;
}

static const struct ll_init_plan plain = {.domain = "a.test",
                                          .hostname = "mx.a.test",
                                          .postmaster = "",
                                          .etc = etc,
                                          .state = lib,
                                          .keys = keys,
                                          .auth = auth,
                                          .spool = spool,
                                          .run = run,
                                          .mail = mail,
                                          .ipv6 = true};

/* What init writes is what the server reads. */
static void whole_machine(void **state)
{
    struct ll_conf *c = load(&plain);

    assert_string_equal(c->hostname, "mx.a.test");
    assert_string_equal(c->spool_dir, "/var/spool/x");
    assert_string_equal(c->accounts, "/var/lib/x/auth/accounts.db");
    assert_string_equal(c->postmaster, "");
    assert_int_equal(c->uid_base, 0);
    assert_false(c->private_targets);
    assert_int_equal(c->n_domain, 1);
    assert_int_equal(c->n_certificate, 2);
    assert_string_equal(c->certificate[0].key, "/var/lib/x/keys/mx.a.test-ecdsa.key");
    assert_int_equal(c->n_listener, 3);
    assert_string_equal(ll_conf_listener(c, LL_LIT("mx"))->address[0], "0.0.0.0:25");
    assert_string_equal(ll_conf_listener(c, LL_LIT("mx"))->address[1], "[::]:25");
    assert_string_equal(ll_conf_listener(c, LL_LIT("submissions"))->tls, "implicit");
    assert_string_equal(ll_conf_listener(c, LL_LIT("submission"))->kind, "submission");
    assert_null(c->trusted_networks[0]);
    ll_conf_free(c);
}

static void one_folder(void **state)
{
    struct ll_init_plan p = plain;
    struct ll_conf *c;
    char accounts[128];

    p.in_dir = p.loopback = true;
    p.ipv6 = false;
    p.port_base = 12000;
    p.uid_base = 60706;
    p.postmaster = "ann@a.test";
    c = load(&p);
    snprintf(accounts, sizeof(accounts), "%s/lib/auth/accounts.db", dir);
    assert_string_equal(c->accounts, accounts);
    assert_int_equal(c->uid_base, 60706);
    assert_true(c->private_targets);
    assert_string_equal(c->postmaster, "ann@a.test");
    assert_string_equal(ll_conf_listener(c, LL_LIT("mx"))->address[0], "127.0.0.1:12025");
    assert_null(ll_conf_listener(c, LL_LIT("mx"))->address[1]);
    assert_string_equal(ll_conf_listener(c, LL_LIT("submissions"))->address[0], "127.0.0.1:12465");
    ll_conf_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(whole_machine),
                                       cmocka_unit_test(one_folder)};
    int failed;

    if (!mkdtemp(dir))
        return 1;
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(dir);
    return failed;
}
