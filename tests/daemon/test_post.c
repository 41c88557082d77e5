/* The role post, with auth and queue played (rig.h): reports, aliases, loops, and auth that is
 * away.
 */
#define CONF                                                                                       \
    "hostname = \"mx.alpha.test\"\n"                                                               \
    "state_dir = \"%1$s\"\nspool_dir = \"%1$s\"\nrun_dir = \"%1$s\"\nmail_dir = \"%1$s\"\n"        \
    "listener \"mx\" { address = {\"127.0.0.1:%2$u\"} kind = \"mx\" tls = \"none\" }\n"            \
    "domain \"alpha.test\" { }\n"
#include "tests/daemon/rig.h"

static unsigned results; /* answers that came */
static struct ll_job_result result;
static struct ll_arena result_arena;
static uint8_t result_bytes[65536];
static bool auth_silent;

static void play_auth_addr(const struct ll_msg *q)
{
    struct ll_msg m = {.type = LL_MSG_ADDR_ANSWER, .id = q->id, .fd = -1};
    struct ll_slice a = q->addr_ask.address;

    m.addr_answer.kind = local_is(a, "ann")      ? LL_ADDR_MAILBOX
                         : local_is(a, "carl")   ? LL_ADDR_MAILBOX
                         : local_is(a, "nobody") ? LL_ADDR_UNKNOWN
                         : local_is(a, "later")  ? LL_ADDR_LATER
                                                 : LL_ADDR_OUTSIDE;
    if (m.addr_answer.kind == LL_ADDR_MAILBOX)
        m.addr_answer.mailbox = a;
    answer(&rig.auth, &m);
}

static void play_auth_alias(const struct ll_msg *q)
{
    static const struct {
        const char *local;
        uint8_t result;
        const char *targets[3];
    } aliases[] = {
        {"team", LL_ALIAS_OK, {"ann@alpha.test", "x@outside.test", "nobody@alpha.test"}},
        {"two", LL_ALIAS_OK, {"ann@alpha.test", "carl@alpha.test"}},
        {"ghosts", LL_ALIAS_OK, {"nobody@alpha.test"}},
        {"unsure", LL_ALIAS_OK, {"ann@alpha.test", "later@alpha.test"}},
        {"round", LL_ALIAS_LOOP, {NULL}},
        {"many", LL_ALIAS_MANY, {NULL}},
        {"broken", LL_ALIAS_LATER, {NULL}},
    };
    struct ll_msg m = {.type = LL_MSG_ALIAS_ANSWER, .id = q->id, .fd = -1};
    struct ll_buf targets = LL_BUF(4096);

    m.alias_answer.result = LL_ALIAS_NONE;
    for (size_t i = 0; i < LL_COUNT(aliases); i++) {
        if (!local_is(q->alias_ask.address, aliases[i].local))
            continue;
        m.alias_answer.result = aliases[i].result;
        for (size_t t = 0; t < 3 && aliases[i].targets[t]; t++)
            ll_buf_str16(&targets, ll_slice_str(aliases[i].targets[t]));
    }
    m.alias_answer.targets = ll_buf_slice(&targets);
    m.alias_answer.sender = local_is(q->alias_ask.address, "two") || q->alias_ask.sender.n == 0
                                ? q->alias_ask.sender
                                : LL_LIT("rewritten@alpha.test");
    answer(&rig.auth, &m);
    ll_buf_release(&targets);
}

static void play_peer(enum ll_role role, const struct ll_msg *q)
{
    if (role == LL_ROLE_AUTH && auth_silent)
        return;
    if (role == LL_ROLE_AUTH && q->type == LL_MSG_ADDR_ASK)
        play_auth_addr(q);
    else if (role == LL_ROLE_AUTH && q->type == LL_MSG_ALIAS_ASK)
        play_auth_alias(q);
    if (role != LL_ROLE_QUEUE || q->type != LL_MSG_JOB_RESULT)
        return;
    assert_int_equal(q->id, 4711);
    assert_true(q->job_result.result.n <= sizeof(result_bytes));
    memcpy(result_bytes, q->job_result.result.p, q->job_result.result.n);
    ll_arena_release(&result_arena);
    ll_arena_init(&result_arena, 1 << 20);
    assert_true(ll_job_result_decode(ll_slice(result_bytes, q->job_result.result.n), &result_arena,
                                     &result));
    results++;
}

static int start(void **state)
{
    results = 0;
    auth_silent = false;
    rig_fork(LL_ROLE_POST, &ll_role_post);
    rig.port = 1;
    send_conf();
    peer_up(&rig.auth, LL_ROLE_AUTH);
    peer_up(&rig.queue, LL_ROLE_QUEUE);
    rig_begin();
    return 0;
}

/* ---- jobs -------------------------------------------------------------------------------------
 */

static const char letter[] = "From: <s@outside.test>\r\nSubject: original\r\n\r\nbody\r\n";
#define HEADER (sizeof("From: <s@outside.test>\r\nSubject: original\r\n\r\n") - 1)

static struct ll_job job_of(enum ll_job_kind kind, const char *reverse, struct ll_job_rcpt *r,
                            size_t n)
{
    return (struct ll_job){.letter = (uint64_t)9 << 32 | 32,
                           .arrived_ms = 1000,
                           .attempt = 1,
                           .kind = (uint8_t)kind,
                           .reverse_path = ll_slice_str(reverse),
                           .prepend = LL_LIT("Received: by mx.alpha.test id 1\r\n"),
                           .body_length = sizeof(letter) - 1,
                           .header_length = HEADER,
                           .rcpt = r,
                           .n_rcpt = n};
}

static void send_job(const struct ll_job *job, int fd)
{
    struct ll_msg m = {.type = fd < 0 ? LL_MSG_JOB_SMALL : LL_MSG_JOB, .id = 4711, .fd = fd};
    struct ll_buf bytes = LL_BUF(65536);

    ll_job_encode(job, &bytes);
    if (fd < 0) {
        m.job_small.job = ll_buf_slice(&bytes);
        m.job_small.body = ll_slice(letter, sizeof(letter) - 1);
    } else {
        m.job.job = ll_buf_slice(&bytes);
    }
    answer(&rig.queue, &m);
    ll_buf_release(&bytes);
}

static void wait_result(void)
{
    unsigned before = results;

    for (uint64_t until = ll_now_ms() + WAIT_MS; results == before && ll_now_ms() < until;)
        turn();
    assert_int_equal(results, before + 1);
}

static struct ll_job_rcpt failed(const char *address, uint8_t notify)
{
    return (struct ll_job_rcpt){.index = 3,
                                .kind = LL_RCPT_REMOTE,
                                .notify = notify,
                                .address = ll_slice_str(address),
                                .outcome = LL_OUTCOME_FAILED,
                                .code = 550,
                                .status = LL_LIT("5.1.1"),
                                .text = LL_LIT("no such user"),
                                .remote = LL_LIT("mx.outside.test [192.0.2.1]:25")};
}

static void test_report(void **state)
{
    struct ll_job_rcpt r[] = {failed("gone@outside.test", 0),
                              failed("hush@outside.test", LL_NOTIFY_NEVER)};
    struct ll_job job = job_of(LL_JOB_REPORT, "ann@alpha.test", r, 2);
    size_t at = LL_SEGMENT_HEAD;

    send_job(&job, -1);
    wait_result();
    struct ll_letter l = record_at(&at);
    assert_int_equal(result.new_letter, (uint64_t)rig.segment << 32 | LL_SEGMENT_HEAD);
    assert_int_equal(result.rcpt[0].outcome, LL_OUTCOME_DELIVERED);
    assert_int_equal(l.origin, LL_ORIGIN_POST);
    assert_int_equal(l.reverse_path.n, 0);
    assert_int_equal(l.n_rcpt, 1);
    EQ(l.rcpt[0].address, "ann@alpha.test");
    assert_int_equal(l.rcpt[0].kind, LL_RCPT_MAILBOX);
    assert_true(holds(l.prepend, "Received: by mx.alpha.test id"));
    assert_true(holds(body, "Content-Type: multipart/report"));
    assert_true(holds(body, "Status: 5.1.1\r\n"));
    assert_true(holds(body, "Remote-MTA: dns; mx.outside.test\r\n"));
    assert_true(holds(body, "Subject: original\r\n"));
    assert_true(holds(body, "gone@outside.test"));
    assert_false(holds(body, "hush@outside.test"));
    assert_false(holds(body, "\r\nbody\r\n"));
    assert_true(holds(ll_slice_cut(body, 0, l.header_length), "\r\n\r\n"));
}

/* Cases in which no report is due, or not yet. */
static void test_no_report(void **state)
{
    static const struct {
        const char *reverse;
        uint8_t notify, outcome, want;
    } rows[] = {
        {"", 0, LL_OUTCOME_FAILED, LL_OUTCOME_DELIVERED},
        {"ann@alpha.test", LL_NOTIFY_NEVER, LL_OUTCOME_FAILED, LL_OUTCOME_DELIVERED},
        {"ann@alpha.test", LL_NOTIFY_SUCCESS, LL_OUTCOME_FAILED, LL_OUTCOME_DELIVERED},
        {"ann@alpha.test", 0, LL_OUTCOME_DELIVERED, LL_OUTCOME_DELIVERED},
        {"ann@alpha.test", LL_NOTIFY_FAILURE, LL_OUTCOME_DEFERRED, LL_OUTCOME_DELIVERED},
        {"ann@alpha.test", LL_NOTIFY_FAILURE, LL_OUTCOME_RELAYED, LL_OUTCOME_DELIVERED},
        {"ann@alpha.test", 0, LL_OUTCOME_EXPANDED, LL_OUTCOME_DELIVERED},
        {"nobody@alpha.test", 0, LL_OUTCOME_FAILED, LL_OUTCOME_DELIVERED},
        {"later@alpha.test", 0, LL_OUTCOME_FAILED, LL_OUTCOME_DEFERRED},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_job_rcpt r = failed("gone@outside.test", rows[i].notify);
        struct ll_job job = job_of(LL_JOB_REPORT, rows[i].reverse, &r, 1);

        r.outcome = rows[i].outcome;
        send_job(&job, -1);
        wait_result();
        assert_int_equal(result.new_letter, 0);
        assert_int_equal(result.rcpt[0].outcome, rows[i].want);
        assert_int_equal(result.rcpt[0].index, 3);
    }
    assert_int_equal(rig.appended, 0);
}

static struct ll_job_rcpt alias(const char *address, uint32_t index)
{
    return (struct ll_job_rcpt){
        .index = index, .kind = LL_RCPT_ALIAS, .address = ll_slice_str(address)};
}

static void test_forward(void **state)
{
    struct ll_job_rcpt r[] = {alias("team@alpha.test", 0), alias("two@alpha.test", 1),
                              alias("ghosts@alpha.test", 2)};
    struct ll_job job = job_of(LL_JOB_FORWARD, "s@outside.test", r, 3);
    size_t at = LL_SEGMENT_HEAD;

    r[0].notify = LL_NOTIFY_SUCCESS | LL_NOTIFY_FAILURE;
    r[1].notify = LL_NOTIFY_SUCCESS;
    send_job(&job, -1);
    wait_result();
    struct ll_letter l = record_at(&at);
    assert_true(result.new_letter != 0);
    assert_int_equal(result.rcpt[0].outcome, LL_OUTCOME_DELIVERED);
    assert_int_equal(result.rcpt[1].outcome, LL_OUTCOME_DELIVERED);
    assert_int_equal(result.rcpt[2].outcome, LL_OUTCOME_FAILED);
    EQ(result.rcpt[2].status, "5.1.1");
    EQ(l.reverse_path, "s@outside.test");
    assert_int_equal(l.n_rcpt, 3); /* ann once, x, carl */
    EQ(l.rcpt[0].mailbox, "ann@alpha.test");
    assert_int_equal(l.rcpt[1].kind, LL_RCPT_REMOTE);
    EQ(l.rcpt[1].address, "x@outside.test");
    /* What leaves us has the reverse-path that auth gave; mailboxes here see the sender's own. */
    EQ(l.rcpt[1].reverse_path, "rewritten@alpha.test");
    EQ(l.rcpt[0].reverse_path, "s@outside.test");
    EQ(l.rcpt[2].reverse_path, "s@outside.test");
    EQ(l.rcpt[2].mailbox, "carl@alpha.test");
    /* Success is told of here (RFC 3461 5.2.7.3); NOTIFY without a word would ask for failures. */
    assert_int_equal(l.rcpt[1].notify, LL_NOTIFY_FAILURE);
    assert_int_equal(l.rcpt[2].notify, LL_NOTIFY_NEVER);
    EQ(l.prepend, "Delivered-To: team@alpha.test\r\nDelivered-To: two@alpha.test\r\n"
                  "Received: by mx.alpha.test id 1\r\n");
    EQ(body, letter);
    assert_int_equal(l.header_length, HEADER);
}

static void test_forward_ends(void **state)
{
    static const struct {
        const char *alias;
        uint8_t outcome;
        const char *status;
    } rows[] = {
        {"round@alpha.test", LL_OUTCOME_FAILED, "5.4.6"},
        {"many@alpha.test", LL_OUTCOME_FAILED, "5.3.5"},
        {"broken@alpha.test", LL_OUTCOME_DEFERRED, "4.3.0"},
        {"unsure@alpha.test", LL_OUTCOME_DEFERRED, "4.3.0"},
        {"ghosts@alpha.test", LL_OUTCOME_FAILED, "5.1.1"},
        {"nobody@alpha.test", LL_OUTCOME_FAILED, "5.1.1"},
        {"again@alpha.test", LL_OUTCOME_FAILED, "5.4.6"},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        struct ll_job_rcpt r = alias(rows[i].alias, 7);
        struct ll_job job = job_of(LL_JOB_FORWARD, "s@outside.test", &r, 1);

        job.prepend = LL_LIT("Delivered-To: again@alpha.test\r\n");
        send_job(&job, -1);
        wait_result();
        assert_int_equal(result.new_letter, 0);
        assert_int_equal(result.rcpt[0].outcome, rows[i].outcome);
        EQ(result.rcpt[0].status, rows[i].status);
        assert_int_equal(result.rcpt[0].index, 7);
    }
    assert_int_equal(rig.appended, 0);
}

/* An alias that is none any more: the address itself, where it is one of ours. */
static void test_forward_no_alias(void **state)
{
    struct ll_job_rcpt r = alias("ann@alpha.test", 0);
    struct ll_job job = job_of(LL_JOB_FORWARD, "", &r, 1);
    size_t at = LL_SEGMENT_HEAD;

    r.notify = LL_NOTIFY_SUCCESS; /* one address: all goes on (RFC 3461 5.2.7.2) */
    send_job(&job, -1);
    wait_result();
    struct ll_letter l = record_at(&at);
    assert_int_equal(result.rcpt[0].outcome, LL_OUTCOME_PASSED);
    assert_int_equal(l.rcpt[0].notify, LL_NOTIFY_SUCCESS);
    EQ(l.rcpt[0].mailbox, "ann@alpha.test");
    assert_int_equal(l.reverse_path.n, 0);
}

static void test_forward_long(void **state)
{
    static uint8_t content[600 * 1024];
    struct ll_job_rcpt r = alias("two@alpha.test", 0);
    struct ll_job job = job_of(LL_JOB_FORWARD, "s@outside.test", &r, 1);
    size_t at = LL_SEGMENT_HEAD;
    int fd = memfd_create("letter", MFD_CLOEXEC);

    for (size_t i = 0; i < sizeof(content); i++)
        content[i] = (uint8_t)('a' + i % 23);
    memcpy(content, letter, HEADER);
    assert_int_equal(write(fd, "before", 6), 6);
    assert_int_equal(write(fd, content, sizeof(content)), sizeof(content));
    job.body_offset = 6;
    job.body_length = sizeof(content);
    send_job(&job, fd);
    close(fd);
    wait_result();
    struct ll_letter l = record_at(&at);
    assert_true(result.new_letter != 0);
    assert_true(l.body_file != 0);
    assert_int_equal(l.body_length, sizeof(content));
    assert_int_equal(l.header_length, HEADER);
}

static void test_auth_goes(void **state)
{
    struct ll_job_rcpt r = alias("team@alpha.test", 0);
    struct ll_job job = job_of(LL_JOB_FORWARD, "s@outside.test", &r, 1);

    auth_silent = true;
    send_job(&job, -1);
    for (int i = 0; i < 50; i++)
        turn();
    assert_int_equal(results, 0);
    peer_down(&rig.auth);
    wait_result();
    assert_int_equal(result.rcpt[0].outcome, LL_OUTCOME_DEFERRED);
    send_job(&job, -1);
    wait_result();
    assert_int_equal(result.rcpt[0].outcome, LL_OUTCOME_DEFERRED);
    auth_silent = false;
    peer_up(&rig.auth, LL_ROLE_AUTH);
    for (int i = 0; i < 50; i++)
        turn();
    send_job(&job, -1);
    wait_result();
    assert_int_equal(result.rcpt[0].outcome, LL_OUTCOME_DELIVERED);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, start, rig_stop)
    const struct CMUnitTest tests[] = {
        T(test_report),           T(test_no_report),    T(test_forward),   T(test_forward_ends),
        T(test_forward_no_alias), T(test_forward_long), T(test_auth_goes),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
