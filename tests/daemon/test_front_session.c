/* The role front-mx, with its peers played (rig.h): sessions, letters, and peers that go away. */
#define CONF                                                                                       \
    "hostname = \"mx.alpha.test\"\n"                                                               \
    "state_dir = \"%1$s\"\nspool_dir = \"%1$s\"\nrun_dir = \"%1$s\"\nmail_dir = \"%1$s\"\n"        \
    "received_max = 10\nmessage_size = \"1M\"\nrecipients_mx = 3\ndmarc = \"off\"\n"               \
    "listener \"mx\" { address = {\"127.0.0.1:%2$u\"} kind = \"mx\" tls = \"none\" }\n"            \
    "domain \"alpha.test\" { }\ntrusted_networks = {\"127.0.0.2\"}\n"
#include "tests/daemon/rig.h"

#include <arpa/inet.h>

static unsigned asked; /* addresses */

static void play_auth(const struct ll_msg *q)
{
    static const struct {
        const char *local;
        uint8_t kind;
    } people[] = {{"ann", LL_ADDR_MAILBOX},    {"team", LL_ADDR_ALIAS},  {"later", LL_ADDR_LATER},
                  {"nobody", LL_ADDR_UNKNOWN}, {"inner", LL_ADDR_RELAY}, {"yes", LL_ADDR_PROBE},
                  {"no", LL_ADDR_PROBE},       {"dumb", LL_ADDR_PROBE},  {"carl", LL_ADDR_MAILBOX},
                  {"dora", LL_ADDR_MAILBOX},   {"emil", LL_ADDR_MAILBOX}};
    struct ll_msg m = {.type = LL_MSG_ADDR_ANSWER, .id = q->id, .fd = -1};

    assert_int_equal(q->type, LL_MSG_ADDR_ASK);
    asked++;
    if (local_is(q->addr_ask.address, "hang"))
        return;
    m.addr_answer.kind = LL_ADDR_OUTSIDE;
    for (size_t i = 0; i < LL_COUNT(people); i++)
        if (local_is(q->addr_ask.address, people[i].local))
            m.addr_answer.kind = people[i].kind;
    if (m.addr_answer.kind == LL_ADDR_MAILBOX)
        m.addr_answer.mailbox = q->addr_ask.address;
    answer(&rig.auth, &m);
}

static void play_relay(const struct ll_msg *q)
{
    struct ll_msg m = {.type = LL_MSG_PROBE_ANSWER, .id = q->id, .fd = -1};

    m.probe_answer.code = local_is(q->probe_ask.address, "yes")  ? 250
                          : local_is(q->probe_ask.address, "no") ? 550
                                                                 : 0;
    answer(&rig.relay, &m);
}

static void play_peer(enum ll_role role, const struct ll_msg *q)
{
    if (role == LL_ROLE_AUTH)
        play_auth(q);
    else if (role == LL_ROLE_RELAY)
        play_relay(q);
}

static void send_listener(void)
{
    struct ll_msg m = {.type = LL_MSG_LISTENER};
    char address[32];

    m.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(in);
    assert_int_equal(bind(m.fd, (struct sockaddr *)&in, n), 0);
    assert_int_equal(listen(m.fd, 64), 0);
    assert_int_equal(getsockname(m.fd, (struct sockaddr *)&in, &n), 0);
    rig.port = ntohs(in.sin_port);
    send_conf();
    snprintf(address, sizeof(address), "127.0.0.1:%u", rig.port);
    m.listener.title = LL_LIT("mx");
    m.listener.address = ll_slice_str(address);
    assert_int_equal(ll_msg_send(rig.super, &m), 0);
    close(m.fd);
}

static int start(void **state)
{
    struct ll_msg certs = {.type = LL_MSG_CERTS_BEGIN, .fd = -1};

    asked = 0;
    rig_fork(LL_ROLE_FRONT_MX, &ll_role_front);
    send_listener();
    peer_up(&rig.auth, LL_ROLE_AUTH);
    peer_up(&rig.relay, LL_ROLE_RELAY);
    peer_up(&rig.keeper, LL_ROLE_KEEPER);
    peer_up(&rig.queue, LL_ROLE_QUEUE);
    certs.certs_begin.generation = 1;
    answer(&rig.keeper, &certs);
    rig_begin();
    return 0;
}

/* ---- a client ---------------------------------------------------------------------------------
 */

static int dial_from(const char *address)
{
    struct sockaddr_in own = {.sin_family = AF_INET};
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons(rig.port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(inet_pton(AF_INET, address, &own.sin_addr), 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&own, sizeof(own)), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
    return fd;
}

static int dial(void)
{
    return dial_from("127.0.0.1");
}

static void say(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t r = send(fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);

        turn();
        if (r > 0) {
            p += r;
            n -= (size_t)r;
        }
        if (r < 0 && errno != EAGAIN)
            return;
    }
}

/* Reads n final reply lines ("250 ..."); the last one stays in `last`. "": the server closed. */
static char last[1024];
static void hear(int fd, unsigned n)
{
    uint64_t until = ll_now_ms() + WAIT_MS;
    size_t at = 0;

    while (n > 0) {
        ssize_t r = recv(fd, last + at, 1, MSG_DONTWAIT);

        if (r == 0) {
            last[at] = '\0';
            return;
        }
        if (r < 0) {
            if (ll_now_ms() > until)
                fail_msg("no reply");
            turn();
            continue;
        }
        if (last[at] == '\n') {
            n -= at > 3 && last[3] == ' ';
            last[at] = '\0';
            at = 0;
        } else if (at < sizeof(last) - 2) {
            at++;
        }
    }
}

static void expect(int fd, const char *line, const char *reply)
{
    say(fd, line, strlen(line));
    hear(fd, 1);
    if (strncmp(last, reply, strlen(reply)) != 0)
        fail_msg("%s -> %s, not %s", line, last, reply);
}

static int greeted(void)
{
    int fd = dial();

    expect(fd, "", "220 ");
    expect(fd, "EHLO client.test\r\n", "250 ");
    return fd;
}

static int with_recipient(void)
{
    int fd = greeted();

    expect(fd, "MAIL FROM:<x@outside.test>\r\n", "250 2.1.0");
    expect(fd, "RCPT TO:<ann@alpha.test>\r\n", "250 2.1.5");
    return fd;
}

static void test_letter(void **state)
{
    size_t at = LL_SEGMENT_HEAD;
    int fd = with_recipient();

    expect(fd, "DATA\r\n", "354 ");
    expect(fd, "Subject: hi\r\nFrom: <x@outside.test>\r\n\r\none\r\n..two\r\n.\r\n",
           "250 2.0.0 queued as ");
    struct ll_letter l = record_at(&at);
    EQ(body, "Subject: hi\r\nFrom: <x@outside.test>\r\n\r\none\r\n.two\r\n");
    EQ(l.reverse_path, "x@outside.test");
    assert_int_equal(l.origin, LL_ORIGIN_MX);
    assert_int_equal(l.n_rcpt, 1);
    EQ(l.rcpt[0].address, "ann@alpha.test");
    EQ(l.rcpt[0].mailbox, "ann@alpha.test");
    assert_int_equal(l.rcpt[0].kind, LL_RCPT_MAILBOX);
    assert_int_equal(l.header_length, 39);
    assert_int_equal(l.body_length, body.n);
    assert_true(holds(l.prepend, "Received: from client.test ([127.0.0.1])"));
    assert_true(holds(l.prepend, "for <ann@alpha.test>"));
    last[strcspn(last, "\r")] = '\0';
    assert_true(holds(l.prepend, last + strlen("250 2.0.0 queued as ")));
    assert_true(holds(l.facts, "\"client\": \"127.0.0.1\""));
    assert_true(holds(l.facts, "\"protocol\": \"ESMTP\""));
    expect(fd, "QUIT\r\n", "221 ");
    hear(fd, 1);
    assert_string_equal(last, "");
    close(fd);
}

static void test_recipients(void **state)
{
    static const struct {
        const char *line, *reply;
    } rows[] = {
        {"RCPT TO:<nobody@alpha.test>\r\n", "550 5.1.1"},
        {"RCPT TO:<x@elsewhere.test>\r\n", "550 5.7.1"},
        {"RCPT TO:<later@alpha.test>\r\n", "451 4.3.0"},
        {"RCPT TO:<no@relayed.test>\r\n", "550 5.1.1"},
        {"RCPT TO:<dumb@relayed.test>\r\n", "450 4.2.0"},
        {"RCPT TO:<a%b@alpha.test>\r\n", "550 5.1.3"},
        {"RCPT TO:<yes@relayed.test>\r\n", "250 2.1.5"},
        {"RCPT TO:<team@alpha.test>\r\n", "250 2.1.5"},
        {"RCPT TO:<inner@relayed.test>\r\n", "250 2.1.5"},
        {"RCPT TO:<ann@alpha.test>\r\n", "452 4.5.3"},
    };
    size_t at = LL_SEGMENT_HEAD;
    int fd = greeted();

    expect(fd, "MAIL FROM:<>\r\n", "250 ");
    for (size_t i = 0; i < LL_COUNT(rows); i++)
        expect(fd, rows[i].line, rows[i].reply);
    expect(fd, "DATA\r\n", "354 ");
    expect(fd, "\r\nx\r\n.\r\n", "250 ");
    struct ll_letter l = record_at(&at);
    assert_int_equal(l.n_rcpt, 3);
    assert_int_equal(l.rcpt[0].kind, LL_RCPT_REMOTE);
    assert_int_equal(l.rcpt[1].kind, LL_RCPT_ALIAS);
    assert_int_equal(l.rcpt[2].kind, LL_RCPT_REMOTE);
    assert_int_equal(l.reverse_path.n, 0);
    assert_int_equal(l.header_length, 2);
    assert_false(holds(l.prepend, " for "));
    close(fd);
}

/* Everything at once: replies come in order, and both letters are there. */
static void test_pipelining(void **state)
{
    static const char all[] =
        "MAIL FROM:<a@x.test>\r\nRCPT TO:<ann@alpha.test>\r\nRCPT TO:<nobody@alpha.test>\r\n"
        "BDAT 16\r\nSubject: 1\r\n\r\n1\rBDAT 1 LAST\r\n\nMAIL FROM:<b@x.test>\r\n"
        "RCPT TO:<carl@alpha.test>\r\nRCPT TO:<ann@alpha.test>\r\nRCPT TO:<ann@alpha.test>\r\n"
        "BDAT 5 LAST\r\n\r\n2\r\nNOOP\r\n";
    size_t at = LL_SEGMENT_HEAD;
    int fd = greeted();

    say(fd, all, sizeof(all) - 1);
    hear(fd, 11);
    assert_int_equal(strncmp(last, "250 2.0.0", 9), 0);
    struct ll_letter l = record_at(&at);
    EQ(l.reverse_path, "a@x.test");
    EQ(body, "Subject: 1\r\n\r\n1\r\n");
    l = record_at(&at);
    EQ(l.reverse_path, "b@x.test");
    assert_int_equal(l.n_rcpt, 2); /* the same one twice is one */
    for (uint64_t until = ll_now_ms() + WAIT_MS; rig.appended < at && ll_now_ms() < until;)
        turn();
    assert_int_equal(rig.appended, at);
    close(fd);
}

static void fill(char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = i % 64 == 62 ? '\r' : i % 64 == 63 ? '\n' : 'x';
}

static void test_long_letter(void **state)
{
    static char text[600 * 1024 + 128];
    size_t at = LL_SEGMENT_HEAD;
    size_t n = 600 * 1024;
    int fd = with_recipient();

    memcpy(text, "Subject: long\r\n\r\n", 17);
    fill(text + 17, n);
    expect(fd, "DATA\r\n", "354 ");
    say(fd, text, n + 17);
    expect(fd, ".\r\n", "250 2.0.0 queued");
    struct ll_letter l = record_at(&at);
    assert_int_equal(l.body_file, 1);
    assert_int_equal(l.body_length, n + 17);
    assert_int_equal(l.header_length, 17);
    close(fd);
}

/* No body file at hand: the client waits, whether its letter is whole by then or not. */
static void test_long_letter_waits_for_a_file(void **state)
{
    static char text[600 * 1024];
    static const size_t sizes[] = {300 * 1024, 600 * 1024};
    size_t at = LL_SEGMENT_HEAD;

    for (size_t i = 0; i < LL_COUNT(sizes); i++) {
        int fd = with_recipient();

        rig.hold_files = true;
        for (int used = 0; used < 2; used++) { /* the one in hand, then one that is not there */
            if (used) {
                expect(fd, "MAIL FROM:<x@outside.test>\r\n", "250 ");
                expect(fd, "RCPT TO:<ann@alpha.test>\r\n", "250 ");
            }
            expect(fd, "DATA\r\n", "354 ");
            fill(text, sizes[i]);
            memcpy(text, "X: ", 3);
            memcpy(text + 62, "\r\n\r\n", 4);
            if (!used) {
                say(fd, text, sizes[i]);
                expect(fd, ".\r\n", "250 2.0.0");
                continue;
            }
            say(fd, text, 280 * 1024);
            for (int t = 0; t < 50; t++)
                turn();
            assert_int_equal(recv(fd, last, 1, MSG_DONTWAIT), -1);
            if (sizes[i] < 400 * 1024) { /* whole before the file is there */
                say(fd, text + 280 * 1024, sizes[i] - 280 * 1024);
                say(fd, ".\r\n", 3);
                give_file();
                hear(fd, 1);
            } else {
                give_file();
                say(fd, text + 280 * 1024, sizes[i] - 280 * 1024);
                expect(fd, ".\r\n", "250 2.0.0");
            }
            assert_int_equal(strncmp(last, "250 2.0.0", 9), 0);
        }
        give_file();
        close(fd);
    }
    for (size_t i = 0; i < 4; i++) {
        struct ll_letter l = record_at(&at);

        assert_int_equal(l.body_length, sizes[i / 2]);
        assert_true(l.body_file > 0);
        assert_int_equal(l.header_length, 66);
    }
}

#define HOPS4 "Received: a\r\nReceived: b\r\nReceived: c\r\nReceived: d\r\n"
#define HOPS5 HOPS4 "Received: e\r\n"
static void test_refused_content(void **state)
{
    static char header[300 * 1024];
    int fd = with_recipient();

    expect(fd, "DATA\r\n", "354 ");
    fill(header, sizeof(header));
    for (size_t i = 0; i < sizeof(header); i += 64)
        memcpy(header + i, "X: ", 3);
    say(fd, header, sizeof(header));
    expect(fd, "\r\nx\r\n.\r\n", "552 5.3.4");

    static const struct {
        const char *content, *reply;
    } rows[] = {
        {HOPS5 HOPS5 "\r\n.\r\n", "554 5.4.6"},
        {HOPS5 HOPS4 "\r\n.\r\n", "250 2.0.0"},
        {"Delivered-To: ANN@alpha.test\r\n\r\nx\r\n.\r\n", "554 5.4.6"},
        {"Delivered-To: bob@alpha.test\r\n\r\nx\r\n.\r\n", "250 2.0.0"},
        {"From: a@x.test\r\nFrom: b@x.test\r\n\r\nx\r\n.\r\n", "554 5.6.0"},
        {"From: a@x.test\r\n\r\nFrom: b@x.test\r\n.\r\n", "250 2.0.0"},
        {"Subject: only a header\r\n.\r\n", "250 2.0.0"},
        {".\r\n", "250 2.0.0"},
    };
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        expect(fd, "MAIL FROM:<x@outside.test>\r\n", "250 ");
        expect(fd, "RCPT TO:<ann@alpha.test>\r\n", "250 ");
        expect(fd, "DATA\r\n", "354 ");
        expect(fd, rows[i].content, rows[i].reply);
    }
    expect(fd, "MAIL FROM:<x@outside.test> SIZE=1048577\r\n", "552 5.3.4");
    close(fd);
}

static void test_auth_goes_and_comes(void **state)
{
    int fd = greeted();

    expect(fd, "MAIL FROM:<x@outside.test>\r\n", "250 ");
    say(fd, "RCPT TO:<hang@alpha.test>\r\n", 27);
    while (asked == 0)
        turn();
    peer_down(&rig.auth);
    expect(fd, "", "451 4.3.0");
    expect(fd, "RCPT TO:<ann@alpha.test>\r\n", "451 4.3.0");
    peer_up(&rig.auth, LL_ROLE_AUTH);
    for (int i = 0; i < 50; i++)
        turn();
    expect(fd, "RCPT TO:<ann@alpha.test>\r\n", "250 ");
    close(fd);
}

static void test_queue_goes_and_space(void **state)
{
    struct ll_msg space = {.type = LL_MSG_SPACE, .fd = -1};
    int fd = with_recipient();

    space.space.state = LL_SPACE_FULL;
    answer(&rig.queue, &space);
    for (int i = 0; i < 50; i++)
        turn();
    expect(fd, "DATA\r\n", "452 4.3.1");
    expect(fd, "MAIL FROM:<x@outside.test>\r\n", "452 4.3.1");
    peer_down(&rig.queue);
    for (int i = 0; i < 50; i++)
        turn();
    expect(fd, "MAIL FROM:<x@outside.test>\r\n", "45");
    peer_up(&rig.queue, LL_ROLE_QUEUE);
    for (int i = 0; i < 50; i++)
        turn();
    expect(fd, "MAIL FROM:<x@outside.test>\r\n", "250 ");
    expect(fd, "RCPT TO:<ann@alpha.test>\r\n", "250 ");
    expect(fd, "DATA\r\n", "354 ");
    expect(fd, "\r\n.\r\n", "250 ");
    close(fd);
}

static void test_client_gone_letter_stays(void **state)
{
    size_t at = LL_SEGMENT_HEAD;
    int fd = with_recipient();

    expect(fd, "DATA\r\n", "354 ");
    say(fd, "\r\nstays\r\n.\r\n", 12);
    close(fd);
    for (uint64_t until = ll_now_ms() + WAIT_MS; rig.appended == 0 && ll_now_ms() < until;)
        turn();
    struct ll_letter l = record_at(&at);
    EQ(body, "\r\nstays\r\n");
    assert_int_equal(l.n_rcpt, 1);
    fd = with_recipient();
    close(fd);
}

static void test_early_talker(void **state)
{
    int fd;

    kill(rig.pid, SIGSTOP); /* so that the octets are there before it looks */
    fd = dial();
    assert_int_equal(send(fd, "EHLO early\r\n", 12, 0), 12);
    kill(rig.pid, SIGCONT);
    expect(fd, "", "521 5.5.1");
    hear(fd, 1);
    assert_string_equal(last, "");
    close(fd);
}

static void test_many_recipients_of_auth_are_asked_once(void **state)
{
    int fd = with_recipient();

    for (int i = 0; i < 20; i++) {
        expect(fd, "RSET\r\n", "250 ");
        expect(fd, "MAIL FROM:<x@outside.test>\r\n", "250 ");
        expect(fd, "RCPT TO:<ann@alpha.test>\r\n", "250 ");
    }
    assert_in_range(asked, 1, 20);
    close(fd);
}

/* A foreign domain is asked about once, for all who may send there; who may not learns nothing. */
static void test_foreign_domains_of_auth_are_asked_once(void **state)
{
    int trusted = dial_from("127.0.0.2"), stranger = greeted();
    char line[64];

    expect(trusted, "", "220 ");
    expect(trusted, "HELO inner.test\r\n", "250 ");
    for (unsigned i = 0; i < 20; i++) {
        expect(trusted, "RSET\r\n", "250 ");
        expect(trusted, "MAIL FROM:<x@alpha.test>\r\n", "250 ");
        snprintf(line, sizeof(line), "RCPT TO:<u%u@outside.test>\r\n", i);
        expect(trusted, line, "250 ");
    }
    assert_in_range(asked, 1, 19);
    expect(stranger, "MAIL FROM:<x@outside.test>\r\n", "250 ");
    expect(stranger, "RCPT TO:<u1@outside.test>\r\n", "550 5.7.1");
    expect(trusted, "RCPT TO:<ann@alpha.test>\r\n", "250 ");
    close(trusted);
    close(stranger);
}

static void test_drain(void **state)
{
    struct ll_msg m = {.type = LL_MSG_DRAIN, .fd = -1};
    int idle = greeted(), busy = with_recipient();
    int status;

    expect(busy, "DATA\r\n", "354 ");
    m.drain.seconds = 5;
    assert_int_equal(ll_msg_send(rig.super, &m), 0);
    expect(idle, "", "421 4.3.2");
    expect(busy, "\r\nlast\r\n.\r\n", "250 2.0.0");
    expect(busy, "", "421 4.3.2");
    for (uint64_t until = ll_now_ms() + WAIT_MS;
         waitpid(rig.pid, &status, WNOHANG) == 0 && ll_now_ms() < until;)
        turn();
    turn();
    turn();
    assert_true(rig.gone);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(idle);
    close(busy);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, start, rig_stop)
    const struct CMUnitTest tests[] = {
        T(test_letter),
        T(test_recipients),
        T(test_pipelining),
        T(test_long_letter),
        T(test_long_letter_waits_for_a_file),
        T(test_refused_content),
        T(test_auth_goes_and_comes),
        T(test_queue_goes_and_space),
        T(test_client_gone_letter_stays),
        T(test_early_talker),
        T(test_many_recipients_of_auth_are_asked_once),
        T(test_foreign_domains_of_auth_are_asked_once),
        T(test_drain),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
