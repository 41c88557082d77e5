/* The keeper role in a process of its own, with a front's and a relay's end of it here: real
 * handshakes, refusals, a reload that fails and one that works, and a keeper that is killed. */
#include "tests/io/tls_ends.h"

#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "daemon/keeper_client.h"
#include "daemon/sandbox.h"
#include "io/log.h"

static char dir[] = "/tmp/ll-test-keeper-XXXXXX";
static char path[8][64]; /* certificate and key of each section */
static const char *const names[] = {"mx.alpha.test", "mx.alpha.test", "mx.beta.test",
                                    "client.test"};
static const enum ll_cert_key kinds[] = {LL_CERT_P256, LL_CERT_RSA2048, LL_CERT_P384, LL_CERT_P256};
static const char *const titles[] = {"main", "main-rsa", "beta", "client"};

/* ---- a configuration, and the little of proc.c that the role needs
 * ------------------------------- */

static struct ll_conf_certificate certificates[4];
static char *no_names[] = {NULL}, *peer_names[] = {(char *)"client.test", NULL};
static struct ll_conf_listener listeners[2];
static struct ll_conf_route routes[1];
static struct ll_conf conf = {.resolver = (char *)"",
                              .certificate = certificates,
                              .n_certificate = 4,
                              .listener = listeners,
                              .n_listener = 2,
                              .route = routes,
                              .n_route = 1,
                              .mx_workers = 1,
                              .relay_workers = 1,
                              .submission_workers = 1};

static struct ll_peer *present[LL_ROLE_COUNT];
static uint64_t last_id;

struct ll_peer *ll_proc_peer(struct ll_proc *p, enum ll_role role, unsigned index)
{
    return index == 0 ? present[role] : NULL;
}

uint64_t ll_proc_id(struct ll_proc *p)
{
    return ++last_id;
}

static void make_conf(void)
{
    for (size_t i = 0; i < 4; i++)
        certificates[i] = (struct ll_conf_certificate){.title = (char *)titles[i],
                                                       .cert = path[2 * i],
                                                       .key = path[2 * i + 1],
                                                       .client_only = i == 3};
    listeners[0] = (struct ll_conf_listener){.title = (char *)"mx",
                                             .kind = (char *)"mx",
                                             .client_ca = path[6],
                                             .client_names = peer_names};
    listeners[1] = (struct ll_conf_listener){.title = (char *)"submission",
                                             .kind = (char *)"submission",
                                             .client_ca = (char *)"",
                                             .client_names = no_names};
    routes[0] = (struct ll_conf_route){.title = (char *)"x.test", .certificate = (char *)"client"};
}

/* ---- the keeper's process
 * -------------------------------------------------------------------------- */

static int keeper_frame(void *arg, const struct ll_frame *f)
{
    struct ll_peer *peer = arg;
    struct ll_msg m;
    if (ll_msg_decode(f, peer->role, LL_ROLE_KEEPER, &m) != 0 || !ll_role_keeper.on[m.type])
        return -1;
    return ll_role_keeper.on[m.type](peer, &m);
}

static void keeper_gone(void *arg, const char *why)
{
    _exit(0);
}

static void keeper_reload(evutil_socket_t fd, short what, void *arg)
{
    struct ll_proc *proc = arg;
    ll_role_keeper.reconf(proc, proc->conf);
}

static void keeper_main(const int fd[2])
{
    signal(SIGSEGV, SIG_DFL); /* cmocka would go on with the tests here */
    signal(SIGABRT, SIG_DFL);
    static struct ll_proc proc = {.role = LL_ROLE_KEEPER, .conf = &conf};
    static struct ll_peer peers[2] = {{.proc = &proc, .role = LL_ROLE_FRONT_MX},
                                      {.proc = &proc, .role = LL_ROLE_RELAY}};
    proc.base = event_base_new();
    struct event *reload = evsignal_new(proc.base, SIGUSR1, keeper_reload, &proc);
    event_add(reload, NULL);
    ll_log_init("keeper", 0);
    ll_log_level(LL_LOG_ERROR);
    struct ll_buf missing = LL_BUF(1024);
    if (ll_sandbox_before_start(&conf, LL_ROLE_KEEPER, &missing) != 0 ||
        ll_role_keeper.start(&proc) != 0 ||
        ll_sandbox_after_start(&conf, LL_ROLE_KEEPER, &missing) != 0)
        _exit(1);
    for (int i = 0; i < 2; i++) {
        peers[i].ipc = ll_ipc_new(proc.base, fd[i], keeper_frame, keeper_gone, &peers[i]);
        present[peers[i].role] = &peers[i];
        ll_role_keeper.peer_up(&peers[i]);
    }
    event_base_dispatch(proc.base);
    _exit(1);
}

/* ---- this end
 * ---------------------------------------------------------------------------------------- */

static struct end {
    struct ll_proc proc;
    struct ll_peer keeper;
    struct ll_keeper_client *kc;
    unsigned changes;
} front = {.proc = {.role = LL_ROLE_FRONT_MX, .conf = &conf}},
  relay = {.proc = {.role = LL_ROLE_RELAY, .conf = &conf}};
static struct event_base *base;
static pid_t keeper;

static uint32_t first_number; /* of the keys: they follow the order of the sections */

static int end_frame(void *arg, const struct ll_frame *f)
{
    struct end *e = arg;
    struct ll_msg m;
    if (ll_msg_decode(f, LL_ROLE_KEEPER, e->proc.role, &m) != 0)
        return -1;
    if (m.type == LL_MSG_DKIM_KEYS)
        return 0; /* for another client, of the relay alone: the codec sees to that */
    if (m.type == LL_MSG_CERT && ll_slice_eq(m.cert.title, LL_LIT("main")))
        first_number = m.cert.key;
    return ll_keeper_client_msg(e->kc, &e->keeper, &m);
}

static void end_gone(void *arg, const char *why)
{
    struct end *e = arg;
    ll_keeper_client_down(e->kc);
    ll_ipc_free(e->keeper.ipc);
    e->keeper.ipc = NULL;
}

static void changed(void *arg)
{
    ((struct end *)arg)->changes++;
}

static void keeper_start(void)
{
    int f[2], r[2];
    struct end *ends[] = {&front, &relay};
    assert_int_equal(ll_ipc_pair(f), 0);
    assert_int_equal(ll_ipc_pair(r), 0);
    keeper = fork();
    assert_true(keeper >= 0);
    if (keeper == 0) {
        close(f[0]);
        close(r[0]);
        for (int i = 0; i < 2; i++)
            if (ends[i]->keeper.ipc)
                _exit(2);
        keeper_main((int[]){f[1], r[1]});
    }
    close(f[1]);
    close(r[1]);
    if (!base)
        base = event_base_new();
    for (int i = 0; i < 2; i++) {
        struct end *e = ends[i];
        e->proc.base = base;
        if (!e->kc)
            e->kc = ll_keeper_client_new(&e->proc, changed, e);
        e->keeper = (struct ll_peer){.proc = &e->proc, .role = LL_ROLE_KEEPER};
        e->keeper.ipc = ll_ipc_new(base, i ? r[0] : f[0], end_frame, end_gone, e);
        ll_keeper_client_up(e->kc, &e->keeper);
    }
}

static void keeper_kill(void)
{
    if (keeper <= 0)
        return;
    kill(keeper, SIGKILL);
    waitpid(keeper, NULL, 0);
}

/* Runs the loop until both ends have had this many sets, at most five seconds. */
static void wait_for_sets(unsigned n)
{
    const struct timeval short_time = {.tv_usec = 20000};
    for (int i = 0; i < 250 && (front.changes < n || relay.changes < n); i++) {
        event_base_loopexit(base, &short_time);
        event_base_dispatch(base);
    }
    assert_true(front.changes >= n && relay.changes >= n);
}

static void run_loop(int ms)
{
    const struct timeval t = {.tv_usec = ms * 1000};
    event_base_loopexit(base, &t);
    event_base_dispatch(base);
}

/* One handshake with listener mx. The client shows the relay's certificate when told so. */
static bool handshake(const char *sni, bool with_cert, char *ret_subject, struct ll_tls_facts *ret)
{
    struct ll_tls_server *s = ll_keeper_client_server(front.kc, LL_LIT("MX"));
    struct ll_tls_cert *c = with_cert ? ll_keeper_client_cert(relay.kc, LL_LIT("client")) : NULL;
    struct ll_tls_client *client =
        client_of((struct ll_tls_client_opts){.level = LL_TLS_FORCED, .cert = c});
    struct ll_tls_target t = {.server_name = ll_slice_str(sni)};
    assert_non_null(s);
    struct ends e = open_ends(s, client, &t);
    bool ok = shake(&e);
    if (ok)
        *ret = *ll_tls_facts(e.s);
    if (ok)
        memcpy(ret_subject, ll_tls_facts(e.c)->peer_spki, 32);
    else
        snprintf(ret_subject, 256, "%s", ll_tls_error(e.s));
    close_ends(&e);
    ll_tls_client_free(client);
    return ok;
}

/* ---- tests
 * -------------------------------------------------------------------------------------------- */

static void handshakes(void **state)
{
    char a[256], b[256];
    struct ll_tls_facts f;
    assert_false(ll_keeper_client_known(front.kc));
    assert_null(ll_keeper_client_server(front.kc, LL_LIT("mx")));
    wait_for_sets(1);
    assert_true(ll_keeper_client_known(front.kc));
    assert_non_null(ll_keeper_client_cert(front.kc, LL_LIT("main")));
    assert_null(ll_keeper_client_cert(front.kc, LL_LIT("client"))); /* for routes alone */
    assert_null(ll_keeper_client_cert(relay.kc, LL_LIT("main")));
    assert_non_null(ll_keeper_client_cert(relay.kc, LL_LIT("client")));
    assert_null(ll_keeper_client_server(front.kc, LL_LIT("nowhere")));
    assert_true(handshake("mx.alpha.test", false, a, &f));
    assert_false(f.peer_cert);
    assert_true(handshake("mx.beta.test", false, b, &f));
    assert_memory_not_equal(a, b, 32);
    assert_true(handshake("mx.alpha.test", true, a, &f)); /* both ends ask the keeper */
    assert_true(f.peer_cert);
    if (!f.verified)
        fail_msg("%s", f.verify_error);
    assert_string_equal(f.peer_name, "client.test");
}

static size_t raw_ask(struct end *e, uint32_t key, uint16_t scheme, struct ll_slice text)
{
    struct ll_msg m = {.type = LL_MSG_SIGN_ASK, .fd = -1};
    struct ll_buf body = LL_BUF(LL_IPC_FRAME_MAX), out = LL_BUF(LL_IPC_FRAME_MAX);
    m.sign_ask.key = key;
    m.sign_ask.scheme = scheme;
    m.sign_ask.text = text;
    ll_msg_encode(&m, &body);
    assert_int_equal(
        ll_ipc_call(e->keeper.ipc, LL_MSG_SIGN_ASK, ++last_id, ll_buf_slice(&body), 2000, &out),
        LL_MSG_SIGN_ANSWER);
    size_t n = out.n - 4;
    ll_buf_release(&body);
    ll_buf_release(&out);
    return n;
}

static void refusals(void **state)
{
    struct ll_buf text = LL_BUF(1024);
    assert_true(first_number != 0);
    uint32_t main_key = first_number, client_key = first_number + 3;
    for (int i = 0; i < 64; i++)
        ll_buf_putc(&text, ' ');
    ll_buf_puts(&text, "TLS 1.3, server CertificateVerify");
    for (int i = 0; i < 33; i++)
        ll_buf_putc(&text, 0);
    struct ll_slice good = ll_buf_slice(&text);
    assert_true(raw_ask(&front, main_key, 0x0403, good) > 60);
    assert_true(raw_ask(&front, main_key + 1, 0x0804, good) == 256);
    assert_true(raw_ask(&front, main_key + 2, 0x0503, good) > 90);
    assert_int_equal(raw_ask(&front, client_key, 0x0403, good), 0);   /* a route's key */
    assert_int_equal(raw_ask(&relay, main_key, 0x0403, good), 0);     /* a listener's key */
    assert_int_equal(raw_ask(&relay, client_key, 0x0403, good), 0);   /* a server's text */
    assert_int_equal(raw_ask(&front, main_key + 4, 0x0403, good), 0); /* no such key */
    assert_int_equal(raw_ask(&front, main_key, 0x0503, good), 0); /* a scheme that does not fit */
    assert_int_equal(raw_ask(&front, main_key + 1, 0x0401, good), 0); /* PKCS #1 under TLS 1.3 */
    assert_int_equal(raw_ask(&front, main_key, 0x0403, ll_slice(good.p, 32)), 0);
    assert_int_equal(raw_ask(&front, main_key, 0x0403, ll_slice(good.p, good.n - 1)), 0);
    assert_int_equal(raw_ask(&front, main_key, 0x0403, LL_LIT("")), 0);
    memcpy(text.p + 73, "client", 6);
    assert_int_equal(raw_ask(&front, main_key, 0x0403, good), 0);
    assert_true(raw_ask(&relay, client_key, 0x0403, good) > 60);
    ll_buf_release(&text);
}

static void write_pair(size_t i)
{
    struct pair p = make_pair(kinds[i], names[i]);
    for (int k = 0; k < 2; k++) {
        struct ll_slice s = ll_buf_slice(k ? &p.key : &p.cert);
        int fd = open(path[2 * i + (size_t)k], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, s.p, s.n), (ssize_t)s.n);
        close(fd);
    }
    free_pair(&p);
}

static void reloads(void **state)
{
    char before[256], after[256];
    struct ll_tls_facts f;
    unsigned n = front.changes;
    assert_true(handshake("mx.alpha.test", false, before, &f));
    write_pair(0);
    assert_int_equal(chmod(path[3], 0644), 0); /* a fault elsewhere keeps all of the old set */
    kill(keeper, SIGUSR1);
    wait_for_sets(n + 1);
    assert_true(handshake("mx.alpha.test", false, after, &f));
    assert_memory_equal(before, after, 32);
    assert_int_equal(chmod(path[3], 0600), 0);
    struct ll_tls_server *s = ll_keeper_client_server(front.kc, LL_LIT("mx"));
    struct ll_tls_client *client = client_of((struct ll_tls_client_opts){.level = LL_TLS_FORCED});
    struct ll_tls_target t = {.server_name = LL_LIT("mx.alpha.test")};
    struct ends half = open_ends(s, client, &t); /* begins with the old set, ends after the new */
    ll_tls_handshake(half.c);
    kill(keeper, SIGUSR1);
    wait_for_sets(n + 2);
    assert_true(handshake("mx.alpha.test", false, after, &f));
    assert_memory_not_equal(before, after, 32);
    assert_true(shake(&half));
    assert_memory_equal(ll_tls_facts(half.c)->peer_spki, before, 32);
    close_ends(&half);
    ll_tls_client_free(client);
}

static void dead_keeper(void **state)
{
    char words[256];
    struct ll_tls_facts f;
    unsigned n = front.changes;
    kill(keeper, SIGSTOP); /* it hangs: the handshake ends after the time-out */
    assert_false(handshake("mx.alpha.test", false, words, &f));
    assert_string_equal(words, "our key process did not sign the handshake");
    kill(keeper, SIGCONT);
    run_loop(100); /* the late answer is no fault */
    assert_true(handshake("mx.alpha.test", false, words, &f));
    keeper_kill();
    assert_false(handshake("mx.alpha.test", false, words, &f));
    run_loop(50);
    assert_null(front.keeper.ipc);
    assert_non_null(ll_keeper_client_server(front.kc, LL_LIT("mx"))); /* still offered */
    assert_false(handshake("mx.alpha.test", false, words, &f));
    assert_string_equal(words, "our key process did not sign the handshake");
    keeper_start();
    wait_for_sets(n + 1);
    assert_true(handshake("mx.alpha.test", false, words, &f));
}

static void broken_rules(void **state)
{
    struct ll_msg m = {.type = LL_MSG_CERTS_BEGIN, .fd = -1};
    struct ll_peer other = front.keeper;
    other.role = LL_ROLE_QUEUE;
    assert_int_equal(ll_keeper_client_msg(front.kc, &other, &m), -1);
    m.certs_begin.count = LL_TLS_CERTS_MAX + 1;
    assert_int_equal(ll_keeper_client_msg(front.kc, &front.keeper, &m), -1);
    m.certs_begin.count = 2;
    m.certs_begin.generation = 9;
    assert_int_equal(ll_keeper_client_msg(front.kc, &front.keeper, &m), 0);
    m = (struct ll_msg){.type = LL_MSG_CERT, .fd = -1};
    m.cert.generation = 8;
    assert_int_equal(ll_keeper_client_msg(front.kc, &front.keeper, &m), -1);
    m.cert.generation = 9;
    m.cert.chain = LL_LIT("junk");
    assert_int_equal(ll_keeper_client_msg(front.kc, &front.keeper, &m), 0); /* given up */
    assert_non_null(ll_keeper_client_cert(front.kc, LL_LIT("main")));       /* the old stays */
    m = (struct ll_msg){.type = LL_MSG_TICKET_KEYS, .fd = -1};
    m.ticket_keys.listener = LL_LIT("mx");
    m.ticket_keys.keys = LL_LIT("short");
    assert_int_equal(ll_keeper_client_msg(front.kc, &front.keeper, &m), -1);
    m = (struct ll_msg){.type = LL_MSG_CERTS_BEGIN, .fd = -1};
    assert_int_equal(ll_keeper_client_msg(front.kc, &front.keeper, &m), 0);
    assert_null(ll_keeper_client_server(front.kc, LL_LIT("mx"))); /* no certificates: no TLS */
}

static int begin(void **state)
{
    signal(SIGPIPE, SIG_IGN);
    ll_log_level(LL_LOG_ERROR);
    if (!mkdtemp(dir))
        return -1;
    for (size_t i = 0; i < 8; i++)
        snprintf(path[i], sizeof(path[i]), "%s/%zu", dir, i);
    make_conf();
    pid_t maker = fork(); /* OpenSSL is not touched here before the first keeper has started */
    if (maker == 0) {
        for (size_t i = 0; i < 4; i++)
            write_pair(i);
        _exit(0);
    }
    waitpid(maker, NULL, 0);
    keeper_start();
    return ll_tls_init();
}

static int end(void **state)
{
    keeper_kill();
    run_loop(20);
    ll_keeper_client_free(front.kc);
    ll_keeper_client_free(relay.kc);
    event_base_free(base);
    for (size_t i = 0; i < 8; i++)
        unlink(path[i]);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(handshakes),  cmocka_unit_test(refusals),     cmocka_unit_test(reloads),
        cmocka_unit_test(dead_keeper), cmocka_unit_test(broken_rules),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
