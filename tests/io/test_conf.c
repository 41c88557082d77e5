/* The configuration file: what it gives, what is refused and in which words, and its binary form.
 */
#include "io/conf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/ll-conf-XXXXXX";

static struct ll_conf *load(const char *text, struct ll_buf *err)
{
    struct ll_conf *c;
    char path[64];
    FILE *f;

    snprintf(path, sizeof(path), "%s/t.conf", folder);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    c = ll_conf_load(path, err);
    unlink(path);
    return c;
}

static const char full[] =
    "hostname = \"Mail.Example.ORG.\"\n"
    "state_dir = lib\n"
    "message_size = 10M\n"
    "queue_lifetime = 2d\n"
    "retry_first = 90\n"
    "mx_workers = 3\n"
    "private_targets = yes\n"
    "trusted_networks = {\"192.0.2.0/24\", \"2001:db8::/32\", \"198.51.100.7\"}\n"
    "dmarc_exceptions = {\"Example.ORG.\", \"2001:db8::/32\", \"b\u00fccher.example\"}\n"
    "# a comment\n"
    "listener mx { address = {\"0.0.0.0:25\", \"[::]:25\"} }\n"
    "listener \"sub\" { address = {\"127.0.0.1:587\"} kind = submission tls = implicit }\n"
    "certificate main { cert = keys/main.crt key = /abs/main.key }\n"
    "domain \"B\xc3\xbc"
    "cher.Example\" { }\n"
    "domain inner.test { relay = yes recipients = {\"ann@inner.test\"} }\n"
    "route inner.test { via = lmtp host = localhost }\n"
    "route \"*\" { via = smarthost host = relay.test user = u password_file = pw }\n";

static void check_full(const struct ll_conf *c)
{
    char want[128];

    assert_string_equal(c->hostname, "mail.example.org");
    snprintf(want, sizeof(want), "%s/lib", folder);
    assert_string_equal(c->state_dir, want);
    snprintf(want, sizeof(want), "%s/lib/accounts.db", folder);
    assert_string_equal(c->accounts, want);
    assert_string_equal(c->spool_dir, "/var/spool/letterlock");
    assert_int_equal(c->message_size, 10 * 1024 * 1024);
    assert_int_equal(c->queue_lifetime, 2 * 86400);
    assert_int_equal(c->retry_first, 90);
    assert_int_equal(c->retry_max, 3 * 3600);
    assert_int_equal(c->mx_workers, 3);
    assert_true(c->private_targets);
    assert_false(c->hide_client);
    assert_string_equal(c->trusted_networks[2], "198.51.100.7");
    assert_null(c->trusted_networks[3]);
    assert_string_equal(c->dmarc_exceptions[0], "example.org");
    assert_string_equal(c->dmarc_exceptions[1], "2001:db8::/32");
    assert_string_equal(c->dmarc_exceptions[2], "xn--bcher-kva.example");
    assert_int_equal(c->n_listener, 2);
    assert_string_equal(c->listener[0].address[1], "[::]:25");
    assert_string_equal(c->listener[0].tls, "starttls");
    assert_string_equal(c->listener[1].kind, "submission");
    snprintf(want, sizeof(want), "%s/keys/main.crt", folder);
    assert_string_equal(c->certificate[0].cert, want);
    assert_string_equal(c->certificate[0].key, "/abs/main.key");
    assert_string_equal(c->domain[0].title, "xn--bcher-kva.example");
    assert_ptr_equal(ll_conf_domain(c, LL_LIT("INNER.test")), &c->domain[1]);
    assert_null(ll_conf_domain(c, LL_LIT("other.test")));
    assert_ptr_equal(ll_conf_route(c, LL_LIT("inner.test")), &c->route[0]);
    assert_ptr_equal(ll_conf_route(c, LL_LIT("other.test")), &c->route[1]);
    assert_ptr_equal(ll_conf_listener(c, LL_LIT("SUB")), &c->listener[1]);
    assert_null(ll_conf_certificate(c, LL_LIT("other")));
}

/* Where a bounce to a local user would come home. */
static void test_local_domain(void **state)
{
    static const struct {
        const char *text, *domain;
    } rows[] = {
        {"hostname = mx.a.test\n", "mx.a.test"},
        {"hostname = mx.a.test\ndomain \"B.test\" { }\ndomain \"c.test\" { }\n", "b.test"},
        {"hostname = c.test\ndomain \"b.test\" { }\ndomain \"c.test\" { }\n", "c.test"},
        {"hostname = mx.a.test\ndomain \"r.test\" { relay = yes ask_recipients = yes }\n"
         "route \"r.test\" { }\ndomain \"b.test\" { }\n",
         "b.test"},
        {"hostname = mx.a.test\nlocal_domain = \"Own.test\"\ndomain \"b.test\" { }\n", "own.test"},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_buf err = LL_BUF(65536);
        struct ll_conf *c = load(rows[i].text, &err);

        if (!c)
            fail_msg("%s", ll_buf_str(&err));
        assert_string_equal(c->local_domain, rows[i].domain);
        ll_conf_free(c);
        ll_buf_release(&err);
    }
}

static void test_full(void **state)
{
    struct ll_buf err = LL_BUF(65536);
    struct ll_buf bytes = LL_BUF(1 << 20);
    struct ll_conf *c = load(full, &err);
    struct ll_conf *copy;

    if (!c)
        fail_msg("%s", ll_buf_str(&err));
    check_full(c);
    ll_conf_encode(c, &bytes);
    copy = ll_conf_decode(ll_buf_slice(&bytes));
    assert_non_null(copy);
    check_full(copy);
    ll_conf_free(copy);
    /* What is cut short or goes on is not what encode wrote. */
    for (size_t n = 0; n < bytes.n; n++)
        assert_null(ll_conf_decode(ll_slice(bytes.p, n)));
    ll_buf_putc(&bytes, 0);
    assert_null(ll_conf_decode(ll_buf_slice(&bytes)));
    ll_conf_free(c);
    ll_buf_release(&bytes);
    ll_buf_release(&err);
}

struct bad {
    const char *text; /* behind "hostname = a.test\n" unless it begins with '!' */
    int line;         /* 0: the file as a whole */
    const char *says;
};
static const struct bad bads[] = {
    {"!# nothing\n", 0, "there is no hostname"},
    {"!hostname = \"a b\"\n", 1, "is no domain name"},
    {"!hostname = \"-a.test\"\n", 1, "is no domain name"},
    {"!hostname = 192.0.2.1\n", 1, "is no domain name"},
    {"colour = red\n", 2, "no such option 'colour'"},
    {"listener mx { colour = red }\n", 2, "no such option 'colour'"},
    {"hostname = b.test\n", 2, "`hostname` was set on line 1"},
    {"message_size = 10Q\n", 2, "not a number"},
    {"message_size = M\n", 2, "not a number"},
    {"message_size = -5\n", 2, "not a number"},
    {"message_size = 99999999999999999999\n", 2, "not a number"},
    {"message_size = 9223372036854775807K\n", 2, "not a number"},
    {"message_size = 1023\n", 2, "must lie between 1024"},
    {"queue_lifetime = 5w\n", 2, "not a number"},
    {"queue_lifetime = \"5 d\"\n", 2, "not a number"},
    {"mx_workers = 5m\n", 2, "not a number"},
    {"mx_workers = 0\n", 2, "must lie between 1 and 64"},
    {"mx_workers = 65\n", 2, "must lie between 1 and 64"},
    {"smtp_port = 65536\n", 2, "must lie between 1 and 65535"},
    {"private_targets = maybe\n", 2, "neither yes nor no"},
    {"tls = dane\n", 2, "write one of: opportunistic, forced, verify"},
    {"log_format = xml\n", 2, "write one of: text, json"},
    {"retry_first = 2h\nretry_max = 1h\n", 3, "shorter than retry_first"},
    {"resolver = nonsense\n", 2, "resolver"},
    {"resolver = \"192.0.2.1:0\"\n", 2, "resolver"},
    {"trusted_networks = {\"192.0.2.0/33\"}\n", 2, "is no network"},
    {"trusted_networks = {\"example.org\"}\n", 2, "is no network"},
    {"dmarc_exceptions = {\"example.org\", \"a@example.org\"}\n", 2,
     "\"a@example.org\" is no domain name and no network"},
    {"dmarc_exceptions = {\"192.0.2.0/33\"}\n", 2, "no network"},
    {"arc_trusted = {\"192.0.2.0/24\"}\n", 2, "is no domain name"},
    {"arc_trusted = {\"192.0.2.1\"}\n", 2, "is no domain name"},
    {"postmaster = ann\n", 2, "is no mail address"},
    {"local_domain = \"a b\"\n", 2, "local_domain \"a b\" is no domain name"},
    {"local_rate = 0\n", 2, "must lie between 1"},
    {"srs = \"elsewhere.test\"\n", 2, "is no domain that is delivered here"},
    {"srs = \"a b\"\n", 2, "is no domain that is delivered here"},
    {"spool_dir = \"a\tb\"\n", 2, "control character"},
    {"listener mx { }\n", 2, "has no address"},
    {"listener mx { address = {\"127.0.0.1\"} tls = none }\n", 2, "no address with port"},
    {"listener mx { address = {\"::1:25\"} tls = none }\n", 2, "no address with port"},
    {"listener mx { address = {\"[::1]:65536\"} tls = none }\n", 2, "no address with port"},
    {"listener mx { address = {\"localhost:25\"} tls = none }\n", 2, "no address with port"},
    {"listener mx { address = {\"[127.0.0.1]:25\"} tls = none }\n", 2, "no address with port"},
    {"listener mx { address = {\"127.0.0.1:25\"} }\n", 2, "there is no certificate"},
    {"listener mx { address = {\"127.0.0.1:25\"} tls = none\n kind = relay }\n", 3,
     "write one of: mx, submission"},
    {"listener mx { address = {\"127.0.0.1:25\"} tls = none }\n"
     "listener mx { address = {\"127.0.0.1:26\"} tls = none }\n",
     3, "duplicate"},
    {"listener mx { address = {\"127.0.0.1:25\"} tls = none }\n"
     "listener MX { address = {\"127.0.0.1:26\"} tls = none }\n",
     2, "two sections"},
    {"certificate a { cert = x }\n", 2, "needs both cert and key"},
    {"domain \"a_b.test\" { }\n", 2, "is no domain name"},
    {"domain \"x.test\" { recipients = {\"a@x.test\"} }\n", 2, "without relay"},
    {"domain \"x.test\" { relay = yes }\nroute \"x.test\" { }\n", 2, "not known"},
    {"domain \"x.test\" { relay = yes ask_recipients = yes }\n", 2, "has no route"},
    {"domain \"x.test\" { }\ndomain \"X.test.\" { }\n", 0, "two sections"},
    {"route \"*\" { via = smarthost }\n", 2, "no host is named"},
    {"route \"*\" { via = lmtp }\n", 2, "no host is named"},
    {"route \"*\" { host = x.test }\n", 2, "goes via mx"},
    {"route \"*\" { via = pigeon }\n", 2, "write one of: mx, smarthost, lmtp, discard"},
    {"route \"*\" { user = x }\n", 2, "without a password_file"},
    {"route \"*\" { certificate = x }\n", 2, "there is no certificate"},
    {"route \"*\" { port = 70000 }\n", 2, "must lie between"},
    {"route \"*\" { prefer = ipv5 }\n", 2, "write one of: ipv6, ipv4, ipv6-only, ipv4-only"},
    {"route \"*\" { source_ipv4 = \"::1\" }\n", 2, "is no IPv4 address"},
    {"route \"*\" { source_ipv6 = \"192.0.2.1\" }\n", 2, "is no IPv6 address"},
    {"source_ipv4 = mail.x.test\n", 2, "is no IPv4 address"},
    {"route \"*\" { helo = \"a b\" }\n", 2, "is no domain name"},
    {"route \"*\" { rate = 600001 }\n", 2, "must lie between"},
    {"route \"*\" { recipients = 101 }\n", 2, "must lie between"},
    {"destination_recipients = 0\n", 2, "must lie between"},
    {"return_size = 129K\n", 2, "must lie between"},
    {"domain \"x.test\" { backup = yes }\n", 2, "is backed up, but its recipients"},
    {"domain \"x.test\" { lifetime = 9d }\n", 2, "is delivered here; lifetime"},
    {"domain \"x.test\" { backup = yes ask_recipients = yes }\n"
     "route \"*\" { via = smarthost host = y.test }\n",
     2, "does not go via mx"},
    {"route \"*\" {\n", 0, ""},
    {"listener {\n", 0, ""},
    {"= 5\n", 0, ""},
};

static void test_bad(void **state)
{
    for (size_t i = 0; i < LL_COUNT(bads); i++) {
        const struct bad *b = &bads[i];
        bool whole = b->text[0] == '!';
        struct ll_buf err = LL_BUF(65536);
        struct ll_conf *c;
        char text[1024];
        char line[32];

        snprintf(text, sizeof(text), "%s%s", whole ? "" : "hostname = a.test\n", b->text + whole);
        c = load(text, &err);
        if (c)
            fail_msg("accepted: %s", text);
        assert_true(err.n > 0);
        snprintf(line, sizeof(line), "t.conf:%d: ", b->line);
        if (!strstr(ll_buf_str(&err), b->says) || (b->line && !strstr(ll_buf_str(&err), line)))
            fail_msg("%s\nsaid: %s", text, ll_buf_str(&err));
        ll_buf_release(&err);
    }
}

/* All faults are told at once. */
static void test_many(void **state)
{
    struct ll_buf err = LL_BUF(65536);
    size_t lines = 0;

    assert_null(load("hostname = a.test\nmx_workers = 0\ntls = x\nresolver = y\n", &err));
    for (size_t i = 0; i < err.n; i++)
        lines += err.p[i] == '\n';
    assert_int_equal(lines, 3);
    ll_buf_release(&err);
    assert_null(ll_conf_load("/nowhere/at/all.conf", &err));
    assert_non_null(strstr(ll_buf_str(&err), "cannot be found"));
    ll_buf_release(&err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_local_domain),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_many),
    };
    int r;

    if (!mkdtemp(folder))
        return 1;
    r = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(folder);
    return r;
}
