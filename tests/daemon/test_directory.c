#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "daemon/auth/directory.h"
#include "daemon/auth/srs_secret.h"
#include "io/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/letterlock-unit-XXXXXX";
static struct ll_conf *conf;
static struct ll_directory *d;

static const char *path(const char *name)
{
    static char p[128];

    snprintf(p, sizeof(p), "%s/%s", dir, name);
    return p;
}

static void put(const char *name, const char *text)
{
    FILE *f = fopen(path(name), "we");

    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void account(const char *name)
{
    struct ll_accounts *a;
    static int64_t when = 1000;

    assert_int_equal(ll_accounts_open(path("accounts.db"), true, 0, &a, NULL), LL_ACCOUNTS_OK);
    assert_int_equal(ll_accounts_add(a, ll_slice_str(name), "$", when++, NULL), LL_ACCOUNTS_OK);
    ll_accounts_close(a);
}

static const char settings[] =
    "hostname = \"mx.a.test\"\nstate_dir = \".\"\naliases = \"aliases\"\n"
    "report_address = {\"Reports@b.test\", \"rua@a.test\"}\n"
    "listener \"mx\" { address = {\"127.0.0.1:25\"} tls = \"none\" }\n"
    "domain \"a.test\" { }\ndomain \"b.test\" { }\n"
    "domain \"relay.test\" { relay = yes recipients = {\"one@relay.test\"} }\n"
    "domain \"ask.test\" { relay = yes ask_recipients = yes recipients = {\"one@ask.test\"} }\n"
    "route \"relay.test\" { via = \"smarthost\" host = \"127.0.0.1\" }\n"
    "route \"ask.test\" { via = \"smarthost\" host = \"127.0.0.1\" }\n";

static const char aliases[] =
    "info@a.test: ann@a.test, Out@x.test\n"
    "ann@a.test: never@x.test\n"
    "nest@a.test: info@a.test, bob+d@b.test, ann@a.test\n"
    "loop1@a.test: loop2@a.test\nloop2@a.test: loop1@a.test\n"
    "half@a.test: half@a.test, ann@a.test\n"
    "dead@a.test: nobody@a.test\n"
    "@b.test: bob@b.test\n"
    "d1@a.test: d2@a.test\nd2@a.test: d3@a.test\nd3@a.test: d4@a.test\nd4@a.test: d5@a.test\n"
    "d5@a.test: d6@a.test\nd6@a.test: d7@a.test\nd7@a.test: d8@a.test\nd8@a.test: d9@a.test\n"
    "d9@a.test: d10@a.test\nd10@a.test: d11@a.test\nd11@a.test: ann@a.test\n";

static enum ll_addr_kind kind(const char *address, struct ll_mailbox *ret)
{
    usleep(1100); /* the files are not looked at twice in a millisecond */
    return ll_directory_find(d, ll_slice_str(address), ret);
}

static void kinds(void **state)
{
    static const struct {
        const char *address;
        enum ll_addr_kind kind;
        const char *mailbox;
    } rows[] = {
        {"ann@a.test", LL_ADDR_MAILBOX, "ann@a.test"},
        {"ANN@a.test", LL_ADDR_MAILBOX, "ann@a.test"},
        {"ann+list@a.test", LL_ADDR_MAILBOX, "ann@a.test"},
        {"+ann@a.test", LL_ADDR_UNKNOWN, ""},
        {"info@a.test", LL_ADDR_ALIAS, ""},
        {"Info+x@a.test", LL_ADDR_ALIAS, ""},
        {"nobody@a.test", LL_ADDR_UNKNOWN, ""},
        {"nobody@b.test", LL_ADDR_ALIAS, ""},
        {"bob@b.test", LL_ADDR_MAILBOX, "bob@b.test"},
        {"x@c.test", LL_ADDR_OUTSIDE, ""},
        {"x@sub.a.test", LL_ADDR_OUTSIDE, ""},
        {"x@[127.0.0.1]", LL_ADDR_OUTSIDE, ""},
        {"postmaster@a.test", LL_ADDR_MAILBOX, "ann@a.test"},
        {"Abuse@b.test", LL_ADDR_MAILBOX, "bob@b.test"},
        {"postmaster", LL_ADDR_MAILBOX, "ann@a.test"},
        {"postmaster@mx.a.test", LL_ADDR_MAILBOX, "ann@a.test"},
        {"Abuse@MX.a.test", LL_ADDR_MAILBOX, "ann@a.test"},
        {"ann@mx.a.test", LL_ADDR_OUTSIDE, ""},
        {"postmaster@relay.test", LL_ADDR_RELAY, ""},
        {"One@relay.test", LL_ADDR_RELAY, ""},
        {"two@relay.test", LL_ADDR_UNKNOWN, ""},
        {"one@ask.test", LL_ADDR_RELAY, ""},
        {"two@ask.test", LL_ADDR_PROBE, ""},
        {"postmaster@c.test", LL_ADDR_OUTSIDE, ""},
        {"rua@a.test", LL_ADDR_REPORT, ""}, /* no account of that name */
        {"RUA+x@a.test", LL_ADDR_REPORT, ""},
        {"rua@b.test", LL_ADDR_ALIAS, ""}, /* another domain: its catch-all */
        {"reports@b.test", LL_ADDR_REPORT, "reports@b.test"},
    };

    for (int twice = 0; twice < 2; twice++) /* the second time from memory */
        for (size_t i = 0; i < LL_COUNT(rows); i++) {
            struct ll_mailbox m;

            if (kind(rows[i].address, &m) != rows[i].kind)
                fail_msg("%s: %d", rows[i].address, kind(rows[i].address, &m));
            assert_string_equal(m.text, rows[i].mailbox);
        }
}

static void expansion(void **state)
{
    static const struct {
        const char *address;
        enum ll_alias_result result;
        const char *targets;
    } rows[] = {
        {"info@a.test", LL_ALIAS_OK, "ann@a.test Out@x.test "},
        {"nest@a.test", LL_ALIAS_OK, "bob+d@b.test ann@a.test Out@x.test "},
        {"loop1@a.test", LL_ALIAS_LOOP, ""},
        {"half@a.test", LL_ALIAS_OK, "ann@a.test "},
        {"dead@a.test", LL_ALIAS_OK, "nobody@a.test "},
        {"ann@a.test", LL_ALIAS_NONE, ""},
        {"nobody@b.test", LL_ALIAS_OK, "bob@b.test "},
        {"d1@a.test", LL_ALIAS_MANY, ""},
        {"d2@a.test", LL_ALIAS_OK, "ann@a.test "},
        {"x@c.test", LL_ALIAS_NONE, ""},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_buf out = LL_BUF(65536), text = LL_BUF(65536);
        struct ll_cursor c;

        assert_int_equal(ll_directory_expand(d, ll_slice_str(rows[i].address), &out),
                         rows[i].result);
        for (c = ll_cursor(ll_buf_slice(&out)); ll_cur_left(&c) > 0; ll_buf_putc(&text, ' '))
            ll_buf_put_slice(&text, ll_cur_str16(&c));
        assert_true(ll_cur_end(&c));
        assert_string_equal(ll_buf_str(&text), rows[i].targets);
        ll_buf_release(&out);
        ll_buf_release(&text);
    }
}

static void senders(void **state)
{
    static const struct {
        const char *login, *address;
        bool allowed;
    } rows[] = {
        {"ann@a.test", "ann@a.test", true},
        {"ann@a.test", "Ann+x@A.test", true},
        {"ann@a.test", "info@a.test", true},
        {"ann@a.test", "nest@a.test", true},
        {"ann@a.test", "", true},
        {"ann@a.test", "bob@b.test", false},
        {"ann@a.test", "any@b.test", false},
        {"bob@b.test", "any@b.test", true},
        {"bob@b.test", "info@a.test", false},
        {"bob@b.test", "nest@a.test", true},
        {"ann@a.test", "x@c.test", false},
        {"ann@a.test", "nobody@a.test", false},
        {"ann@a.test", "loop1@a.test", false},
        {"ann", "ann@a.test", false},
        {"ann@a.test", "one@relay.test", false},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++)
        if (ll_directory_sender(d, ll_slice_str(rows[i].login), ll_slice_str(rows[i].address)) !=
            rows[i].allowed)
            fail_msg("%s as %s", rows[i].login, rows[i].address);
}

/* What changes is seen at the next question; what breaks never turns into "unknown". */
static void changes(void **state)
{
    struct ll_mailbox m;
    char fresh[128];

    assert_int_equal(kind("new@a.test", &m), LL_ADDR_UNKNOWN);
    account("new@a.test");
    assert_int_equal(kind("new@a.test", &m), LL_ADDR_MAILBOX);
    put("aliases.new", "fresh@a.test: ann@a.test\n");
    snprintf(fresh, sizeof(fresh), "%s", path("aliases.new"));
    assert_int_equal(rename(fresh, path("aliases")), 0);
    assert_int_equal(kind("fresh@a.test", &m), LL_ADDR_ALIAS);
    assert_int_equal(kind("info@a.test", &m), LL_ADDR_UNKNOWN);
    put("aliases", "broken\n"); /* the last good one stays in force */
    assert_int_equal(kind("fresh@a.test", &m), LL_ADDR_ALIAS);
    unlink(path("aliases"));
    assert_int_equal(kind("fresh@a.test", &m), LL_ADDR_ALIAS);
    ll_directory_conf(d, conf); /* after a reload too */
    assert_int_equal(kind("fresh@a.test", &m), LL_ADDR_ALIAS);
    ll_directory_free(d);
    d = ll_directory_new();
    ll_directory_conf(d, conf); /* after a restart there is none */
    assert_int_equal(kind("fresh@a.test", &m), LL_ADDR_LATER);
    assert_int_equal(kind("ann@a.test", &m), LL_ADDR_MAILBOX);
    put("aliases", "fresh@a.test: ann@a.test\n");
    assert_int_equal(kind("fresh@a.test", &m), LL_ADDR_ALIAS);
    assert_int_equal(kind("nobody@a.test", &m), LL_ADDR_UNKNOWN);
}

static void no_accounts(void **state)
{
    struct ll_account a;
    struct ll_mailbox m;

    assert_int_equal(ll_directory_account(d, LL_LIT("Ann@a.test"), &a), LL_ACCOUNTS_OK);
    assert_string_equal(a.address, "ann@a.test");
    assert_int_equal(ll_directory_account(d, LL_LIT("ann"), &a), LL_ACCOUNTS_NONE);
    assert_int_equal(ll_directory_account(d, LL_LIT("no@a.test"), &a), LL_ACCOUNTS_NONE);
    unlink(path("accounts.db"));
    assert_int_equal(kind("ann@a.test", &m), LL_ADDR_LATER);
    assert_int_equal(kind("nobody@a.test", &m), LL_ADDR_LATER);
    assert_int_equal(kind("x@c.test", &m), LL_ADDR_OUTSIDE);
    usleep(1100);
    assert_int_equal(ll_directory_account(d, LL_LIT("ann@a.test"), &a), LL_ACCOUNTS_BROKEN);
    assert_false(ll_directory_sender(d, LL_LIT("ann@a.test"), LL_LIT("ann@a.test")));
    put("accounts.db", "this is no database, but it is long enough to look at");
    usleep((LL_DIRECTORY_RETRY_MS + 50) * 1000);
    assert_int_equal(kind("ann@a.test", &m), LL_ADDR_LATER);
    unlink(path("accounts.db"));
    assert_int_equal(ll_accounts_create(path("accounts.db"), NULL), LL_ACCOUNTS_OK);
    account("ann@a.test");
    usleep((LL_DIRECTORY_RETRY_MS + 50) * 1000);
    assert_int_equal(kind("ann@a.test", &m), LL_ADDR_MAILBOX);
}

static bool srs(const char *sender, struct ll_buf *out)
{
    ll_buf_clear(out);
    return ll_directory_srs(d, ll_slice_str(sender), out) && ll_buf_str(out);
}

/* With `srs`: whose reverse-path is rewritten, which addresses come back, and what a lost or broken
 * secret does. */
static void rewriting(void **state)
{
    struct ll_buf out = LL_BUF(1024), targets = LL_BUF(1024);
    struct ll_mailbox m;
    struct stat st;
    char given[128];

    assert_true(srs("joe@x.test", &out)); /* off */
    assert_string_equal(ll_buf_str(&out), "joe@x.test");
    assert_int_equal(kind("SRS0=AAAAAAAA=AA=x.test=joe@b.test", &m), LL_ADDR_ALIAS);
    free(conf->srs);
    conf->srs = strdup("b.test");
    ll_directory_conf(d, conf);
    assert_int_equal(stat(path(LL_SRS_SECRET_NAME), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_true(srs("", &out) && out.n == 0);
    assert_true(srs("ann@a.test", &out));
    assert_string_equal(ll_buf_str(&out), "ann@a.test");
    assert_true(srs("root@mx.a.test", &out));
    assert_string_equal(ll_buf_str(&out), "root@mx.a.test");
    assert_true(srs("\"a b\"@x.test", &out));
    assert_string_equal(ll_buf_str(&out), "\"a b\"@x.test");
    assert_true(srs("Joe@x.test", &out));
    snprintf(given, sizeof(given), "%s", ll_buf_str(&out));
    assert_int_equal(strncmp(given, "SRS0=", 5), 0);
    assert_int_equal(kind(given, &m), LL_ADDR_BOUNCE);
    assert_int_equal(ll_directory_expand(d, ll_slice_str(given), &targets), LL_ALIAS_OK);
    assert_true(ll_slice_eq(ll_slice_skip(ll_buf_slice(&targets), 2), LL_LIT("Joe@x.test")));
    assert_false(ll_directory_sender(d, LL_LIT("bob@b.test"), ll_slice_str(given)));
    ll_buf_clear(&targets); /* what fits no local part has a number */
    assert_true(srs("Xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx@x.test", &out));
    assert_true(out.n < 64 && ll_slice_search(ll_buf_slice(&out), LL_LIT("=b.test=~")) < out.n);
    assert_int_equal(kind(ll_buf_str(&out), &m), LL_ADDR_BOUNCE);
    assert_int_equal(ll_directory_expand(d, ll_buf_slice(&out), &targets), LL_ALIAS_OK);
    assert_true(
        ll_slice_eq(ll_slice_skip(ll_buf_slice(&targets), 2),
                    LL_LIT("Xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx@x.test")));
    unlink(path("srs.db"));
    /* no catch-all for what is forged */
    assert_int_equal(kind("SRS0=AAAAAAAA=AA=x.test=joe@b.test", &m), LL_ADDR_UNKNOWN);
    ll_buf_clear(&targets);
    assert_int_equal(ll_directory_expand(d, LL_LIT("srs0=aaaaaaaa=aa=x.test=joe@b.test"), &targets),
                     LL_ALIAS_NONE);
    assert_int_equal(targets.n, 0);
    put(LL_SRS_SECRET_NAME, "short\n"); /* the last good one stays in force */
    ll_directory_conf(d, conf);
    assert_int_equal(kind(given, &m), LL_ADDR_BOUNCE);
    ll_directory_free(d);
    d = ll_directory_new();
    ll_directory_conf(d, conf); /* after a restart there is none: nothing is unknown then */
    assert_int_equal(kind(given, &m), LL_ADDR_LATER);
    assert_false(srs("joe@x.test", &out));
    unlink(path(LL_SRS_SECRET_NAME));
    assert_true(srs("joe@x.test", &out)); /* made anew */
    assert_int_equal(kind(given, &m), LL_ADDR_UNKNOWN);
    unlink(path(LL_SRS_SECRET_NAME));
    ll_buf_release(&out);
    ll_buf_release(&targets);
}

static int setup(void **state)
{
    struct ll_buf err = LL_BUF(4096);

    unlink(path("accounts.db"));
    if (ll_accounts_create(path("accounts.db"), &err) != LL_ACCOUNTS_OK)
        return -1;
    account("ann@a.test");
    account("bob@b.test");
    account("reports@b.test");
    put("aliases", aliases);
    put("conf", settings);
    conf = ll_conf_load(path("conf"), &err);
    if (!conf)
        fail_msg("%s", ll_buf_str(&err));
    d = ll_directory_new();
    ll_directory_conf(d, conf);
    ll_buf_release(&err);
    return 0;
}

static int teardown(void **state)
{
    ll_directory_free(d);
    ll_conf_free(conf);
    unlink(path("accounts.db"));
    unlink(path("aliases"));
    unlink(path("conf"));
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(kinds, setup, teardown),
        cmocka_unit_test_setup_teardown(expansion, setup, teardown),
        cmocka_unit_test_setup_teardown(senders, setup, teardown),
        cmocka_unit_test_setup_teardown(changes, setup, teardown),
        cmocka_unit_test_setup_teardown(no_accounts, setup, teardown),
        cmocka_unit_test_setup_teardown(rewriting, setup, teardown),
    };
    int failed;

    if (!mkdtemp(dir))
        return 1;
    ll_log_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(dir);
    return failed;
}
