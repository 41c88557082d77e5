/* The server engine: limits, time, smuggling, and random dialogues against its promises. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <malloc.h>

#include "letterlock/smtpd.h"

struct session {
    struct ll_smtpd_conf conf;
    struct ll_smtpd *s;
    struct ll_buf out;
    struct ll_slice end_text; /* answer to ASK_END */
    unsigned letters;
    unsigned resets;
    bool open;
    bool hold; /* leave the next question open */
    bool closed;
    char why[16];
    uint16_t no; /* code for the next question; 0: yes */
    uint32_t seed;
};

static uint32_t dice(struct session *t)
{
    t->seed = t->seed * 1664525u + 1013904223u;
    return t->seed >> 8;
}

static void pull(struct session *t, uint64_t now)
{
    struct ll_smtpd_event e;

    while (ll_smtpd_next(t->s, &e)) {
        struct ll_smtpd_answer a = {.code = t->no};
        static const struct ll_smtpd_tls facts = {"TLSv1.3", "X", NULL};

        assert_false(t->closed);
        if (e.type == LL_SMTPD_RESET) {
            assert_true(t->open);
            t->open = false;
            t->resets++;
        } else if (e.type == LL_SMTPD_CLOSE) {
            assert_false(t->open);
            t->closed = true;
            snprintf(t->why, sizeof(t->why), "%s", e.why);
        } else if (e.type == LL_SMTPD_START_TLS) {
            assert_false(t->open);
            ll_smtpd_tls_up(t->s, &facts, now);
        } else if (e.type == LL_SMTPD_BODY) {
            assert_true(t->open);
        } else if (!t->hold) {
            if (e.type == LL_SMTPD_ASK_MAIL)
                assert_false(t->open);
            else if (e.type != LL_SMTPD_ASK_AUTH)
                assert_true(t->open);
            if (e.type == LL_SMTPD_ASK_MAIL)
                t->open = a.code < 400;
            if (e.type == LL_SMTPD_ASK_END) {
                t->open = false;
                t->letters += a.code < 400;
            }
            ll_smtpd_answer(t->s, &a, now);
        }
    }
    ll_buf_put_slice(&t->out, ll_smtpd_out(t->s));
    ll_smtpd_out_done(t->s, ll_smtpd_out(t->s).n);
}

static void feed(struct session *t, struct ll_slice in, uint64_t now)
{
    while (in.n > 0 && !ll_smtpd_closed(t->s) && !ll_smtpd_asking(t->s)) {
        in = ll_slice_skip(in, ll_smtpd_feed(t->s, in, now));
        pull(t, now);
    }
    pull(t, now);
}

static void feeds(struct session *t, const char *in)
{
    feed(t, ll_slice_str(in), 0);
}

static void init(struct session *t)
{
    *t = (struct session){.out = LL_BUF(64 << 20), .seed = 1};
    ll_smtpd_conf_init(&t->conf, LL_SMTPD_MX);
    t->conf.hostname = "mx.test";
    t->conf.starttls = true;
}

static void start(struct session *t)
{
    t->s = ll_smtpd_new(&t->conf, 0);
    assert_non_null(t->s);
    ll_smtpd_start(t->s, 0);
    pull(t, 0);
    ll_buf_clear(&t->out);
}

static void finish(struct session *t)
{
    ll_smtpd_eof(t->s);
    pull(t, 0);
    assert_true(t->closed);
    assert_false(t->open);
    ll_smtpd_free(t->s);
    ll_buf_release(&t->out);
}

static void greeted(struct session *t)
{
    start(t);
    feeds(t, "EHLO a.test\r\n");
    ll_buf_clear(&t->out);
}

static bool replied(const struct session *t, const char *end)
{
    return ll_slice_search(ll_buf_slice(&t->out), ll_slice_str(end)) < t->out.n;
}

/* ---- limits
 * ------------------------------------------------------------------------------------------ */

static void command_lines(void **state)
{
    for (size_t over = 0; over < 2; over++) {
        struct session t;
        struct ll_buf line = LL_BUF(1 << 20);

        init(&t);
        greeted(&t);
        ll_buf_puts(&line, "NOOP ");
        while (line.n < LL_SMTP_LINE_MAX - 2 + over)
            ll_buf_putc(&line, 'x');
        ll_buf_puts(&line, "\r\nQUIT\r\n");
        for (size_t i = 0; i < line.n; i += 1000)
            feed(&t, ll_slice_cut(ll_buf_slice(&line), i, i + 1000), 0);
        assert_true(replied(&t, over ? "500 5.5.2" : "250 2.0.0"));
        assert_string_equal(t.why, "quit");
        ll_buf_release(&line);
        finish(&t);
    }
}

static void endless_line(void **state)
{
    struct session t;
    char block[1000];
    size_t fed = 0;

    init(&t);
    greeted(&t);
    memset(block, 'x', sizeof(block));
    while (!t.closed && fed < 200000) {
        feed(&t, ll_slice(block, sizeof(block)), 0);
        fed += sizeof(block);
    }
    assert_true(fed <= LL_SMTPD_FLOOD + 2 * sizeof(block));
    assert_string_equal(t.why, "flood");
    finish(&t);
}

/* Feeds a line until the session ends; how many times. */
static unsigned until_closed(const char *before, const char *again)
{
    struct session t;
    unsigned n = 0;

    init(&t);
    greeted(&t);
    feeds(&t, before);
    while (!t.closed && n < 5000) {
        feeds(&t, again);
        n++;
    }
    finish(&t);
    return n;
}

static void counters(void **state)
{
    assert_int_equal(until_closed("", "FOO\r\n"), 20);
    assert_int_equal(until_closed("", "RCPT TO:<a@b>\r\n"), 20);
    assert_int_equal(until_closed("", "NOOP\r\n"), 100); /* EHLO was the first */
    assert_int_equal(until_closed("", "MAIL FROM:<>\r\nEHLO a\r\n"), 100);
}

static void many_letters(void **state)
{
    struct session t;
    unsigned n = 0;

    init(&t);
    greeted(&t);
    while (!t.closed && n < 2000) {
        feeds(&t, "MAIL FROM:<>\r\nRCPT TO:<a@b.test>\r\nBDAT 0 LAST\r\nNOOP\r\n");
        n++;
    }
    assert_int_equal(t.letters, 1000);
    assert_string_equal(t.why, "transactions");
    finish(&t);
}

static void empty_chunks(void **state)
{
    struct session t;
    unsigned n = 0;
    size_t used;

    init(&t);
    greeted(&t);
    feeds(&t, "MAIL FROM:<>\r\nRCPT TO:<a@b.test>\r\n");
    while (!t.closed && n < 200) {
        feeds(&t, "BDAT 0\r\n");
        n++;
    }
    assert_int_equal(n, 100);
    finish(&t);

    init(&t);
    greeted(&t);
    feeds(&t, "MAIL FROM:<>\r\nRCPT TO:<a@b.test>\r\n");
    feeds(&t, "BDAT 1\r\nx");
    used = mallinfo2().uordblks;
    for (n = 0; n < 100000; n++) {
        feeds(&t, "BDAT 1\r\nx");
        ll_buf_clear(&t.out);
    }
    assert_true(mallinfo2().uordblks < used + 65536);
    assert_false(t.closed);
    finish(&t);
}

static void recipients(void **state)
{
    struct session t;

    init(&t);
    greeted(&t);
    feeds(&t, "MAIL FROM:<>\r\n");
    for (int i = 0; i < 100; i++)
        feeds(&t, "RCPT TO:<a@b.test>\r\n");
    assert_false(replied(&t, "452"));
    assert_int_equal(ll_smtpd_recipients(t.s), 100);
    for (int i = 0; i < 1000; i++)
        feeds(&t, "RCPT TO:<a@b.test>\r\n");
    assert_true(replied(&t, "452 4.5.3"));
    assert_int_equal(ll_smtpd_recipients(t.s), 100);
    feeds(&t, "DATA\r\n");
    feeds(&t, "x\r\n.\r\n");
    assert_int_equal(t.letters, 1);
    finish(&t);
}

static void sizes(void **state)
{
    for (unsigned over = 0; over < 2; over++) {
        struct session t;

        init(&t);
        t.conf.size_max = 4;
        greeted(&t);
        feeds(&t, "MAIL FROM:<>\r\nRCPT TO:<a@b.test>\r\nDATA\r\n");
        feeds(&t, over ? "abc\r\n" : "ab\r\n");
        assert_int_equal(t.resets, over); /* told before the end, so that memory may go */
        feeds(&t, ".\r\n");
        assert_int_equal(replied(&t, "552 5.3.4"), over);
        assert_int_equal(t.letters, !over);
        feeds(&t, "MAIL FROM:<>\r\nRCPT TO:<a@b.test>\r\nBDAT 2\r\na\rBDAT 2\r\n\nb");
        feeds(&t, over ? "BDAT 3 LAST\r\nc\r\n" : "BDAT 0\r\nRSET\r\n");
        assert_int_equal(t.resets, 1 + over);
        assert_false(t.closed);
        finish(&t);
    }
    /* Nobody reads on for ever. */
    struct session t;
    char block[65536];
    size_t fed = 0;

    init(&t);
    t.conf.size_max = 1000;
    greeted(&t);
    feeds(&t, "MAIL FROM:<>\r\nRCPT TO:<a@b.test>\r\nDATA\r\n");
    memset(block, 'x', sizeof(block));
    while (!t.closed && fed < (4u << 20)) {
        feed(&t, ll_slice(block, sizeof(block)), 0);
        fed += sizeof(block);
    }
    assert_string_equal(t.why, "size");
    finish(&t);
}

static void idle_memory(void **state)
{
    struct session t;
    size_t before;

    init(&t);
    before = mallinfo2().uordblks;
    greeted(&t);
    feeds(&t, "MAIL FROM:<>\r\nRCPT TO:<a@b.test>\r\nDATA\r\n");
    feeds(&t, "x\r\n.\r\n");
    feeds(&t, "MAIL FR");
    feeds(&t, "OM:<>\r\nRSET\r\n");
    ll_buf_release(&t.out);
    assert_true(mallinfo2().uordblks - before < 1024);
    finish(&t);
}

/* ---- how sessions begin and end
 * -------------------------------------------------------------------------- */

static void early(void **state)
{
    struct session t;

    init(&t);
    t.s = ll_smtpd_new(&t.conf, 0);
    assert_int_equal(ll_smtpd_feed(t.s, LL_LIT("EHLO a\r\n"), 0), 0);
    ll_smtpd_early_talker(t.s);
    pull(&t, 0);
    assert_true(replied(&t, "521 5.5.1"));
    assert_string_equal(t.why, "early");
    finish(&t);
}

static void pipelining(void **state)
{
    static const char *const bad[] = {
        "EHLO a\r\nNOOP\r\n",
        "HELO a\r\nMAIL FROM:<>\r\n",
    };

    for (size_t i = 0; i < LL_COUNT(bad); i++) {
        struct session t;

        init(&t);
        start(&t);
        feeds(&t, bad[i]);
        assert_string_equal(t.why, "pipelining");
        finish(&t);
    }
    struct session t;

    init(&t);
    greeted(&t);
    feeds(&t, "MAIL FROM:<>\r\nRCPT TO:<a@b.test>\r\nDATA\r\nx\r\n.\r\n");
    assert_string_equal(t.why, "pipelining");
    assert_int_equal(t.letters, 0);
    finish(&t);

    init(&t);
    greeted(&t);
    t.hold = true;
    feeds(&t, "MAIL FROM:<>\r\n");
    assert_true(ll_smtpd_asking(t.s));
    assert_int_equal(ll_smtpd_feed(t.s, LL_LIT("RCPT TO:<a@b.test>\r\n"), 0), 0);
    assert_true(ll_smtpd_deadline(t.s) == UINT64_MAX);
    ll_smtpd_answer(t.s, NULL, 5);
    t.open = true;
    assert_true(ll_smtpd_deadline(t.s) == 300005);
    ll_smtpd_eof(t.s);
    ll_smtpd_answer(t.s, NULL, 5); /* too late: ignored */
    finish(&t);
}

static void timeouts(void **state)
{
    struct session t;

    init(&t);
    greeted(&t);
    feed(&t, LL_LIT("NOOP"), 200000); /* a part of a line does not prolong it */
    assert_true(ll_smtpd_deadline(t.s) == 300000);
    ll_smtpd_timeout(t.s, 299999);
    assert_false(ll_smtpd_closed(t.s));
    feed(&t, LL_LIT("\r\nMAIL FROM:<>\r\n"), 250000);
    assert_true(ll_smtpd_deadline(t.s) == 550000);
    ll_smtpd_timeout(t.s, 550000);
    pull(&t, 550000);
    assert_true(replied(&t, "421 4.4.2"));
    assert_int_equal(t.resets, 1);
    finish(&t);

    /* A letter that drips. */
    uint64_t now = 0;

    init(&t);
    greeted(&t);
    feeds(&t, "MAIL FROM:<>\r\nRCPT TO:<a@b.test>\r\nDATA\r\n");
    while (!t.closed && now < 10000000) {
        feed(&t, LL_LIT("x"), now);
        ll_smtpd_timeout(t.s, now);
        pull(&t, now);
        now += 200000;
    }
    assert_in_range(now, 3600000, 3900000);
    finish(&t);
}

static void drains(void **state)
{
    struct session t;

    init(&t);
    greeted(&t);
    ll_smtpd_drain(t.s);
    pull(&t, 0);
    assert_true(replied(&t, "421 4.3.2"));
    finish(&t);

    init(&t);
    greeted(&t);
    feeds(&t, "MAIL FROM:<>\r\nRCPT TO:<a@b.test>\r\nDATA\r\n");
    ll_smtpd_drain(t.s);
    pull(&t, 0);
    assert_false(t.closed);
    feeds(&t, "x\r\n.\r\n");
    assert_int_equal(t.letters, 1);
    assert_string_equal(t.why, "drain");
    finish(&t);
}

/* ---- smuggling
 * -----------------------------------------------------------------------------------------------
 */

struct sequence {
    const char *p;
    size_t n;
};
#define SEQ(s)                                                                                     \
    {                                                                                              \
        s, sizeof(s) - 1                                                                           \
    }

/* What servers have taken for the end of a letter (2023 and before). */
static const struct sequence sequences[] = {
    SEQ("\n.\n"),     SEQ("\n.\r\n"),       SEQ("\r\n.\n"),     SEQ("\r.\r"),
    SEQ("\r.\r\n"),   SEQ("\r\n.\r"),       SEQ("\r\n\0.\r\n"), SEQ("\r\n.\0\r\n"),
    SEQ("\n\n.\r\n"), SEQ("\r\r\n.\r\r\n"), SEQ("\r\n.\r\r\n"), SEQ("\r\0\n.\r\0\n"),
};

/* In one transaction there is one letter, or none: never the one inside. */
static void smuggle(const struct sequence *q, bool by_bdat, size_t edge)
{
    struct ll_buf content = LL_BUF(4096);
    struct ll_buf wire = LL_BUF(4096);
    struct session t;

    ll_buf_puts(&content, "Subject: a\r\n\r\nfirst");
    ll_buf_put(&content, q->p, q->n);
    ll_buf_puts(&content, "MAIL FROM:<evil@a.test>\r\nRCPT TO:<b@b.test>\r\nDATA\r\n"
                          "Subject: b\r\n\r\nsecond\r\n");
    if (by_bdat)
        ll_buf_printf(&wire, "BDAT %zu LAST\r\n", content.n);
    ll_buf_put_slice(&wire, ll_buf_slice(&content));
    if (!by_bdat)
        ll_buf_puts(&wire, ".\r\n");
    init(&t);
    greeted(&t);
    feeds(&t, "MAIL FROM:<a@a.test>\r\nRCPT TO:<b@b.test>\r\n");
    if (!by_bdat)
        feeds(&t, "DATA\r\n");
    ll_buf_clear(&t.out);
    feed(&t, ll_slice_cut(ll_buf_slice(&wire), 0, edge), 0);
    feed(&t, ll_slice_skip(ll_buf_slice(&wire), edge), 0);
    assert_int_equal(t.letters, 0);
    assert_int_equal(t.resets, 1);
    assert_int_equal(ll_smtpd_transactions(t.s), 1);
    assert_true(ll_slice_starts(ll_buf_slice(&t.out), LL_LIT("550 5.")));
    assert_int_equal(ll_slice_find(ll_buf_slice(&t.out), '\n') + 1, t.out.n); /* one reply */
    assert_false(t.closed);
    ll_buf_release(&content);
    ll_buf_release(&wire);
    finish(&t);
}

static void smuggling(void **state)
{
    for (size_t i = 0; i < LL_COUNT(sequences); i++) {
        for (size_t edge = 0; edge < 60; edge++) {
            smuggle(&sequences[i], false, edge);
            smuggle(&sequences[i], true, edge);
        }
    }
}

/* ---- random dialogues
 * ------------------------------------------------------------------------------------------ */

static const char *const words[] = {
    "EHLO a.test\r\n",
    "HELO a\r\n",
    "MAIL FROM:<a@a.test>\r\n",
    "MAIL FROM:<>\r\n",
    "RCPT TO:<b@b.test>\r\n",
    "RCPT TO:<b@b.test>\r\n",
    "DATA\r\n",
    "DATA\r\n",
    ".\r\n",
    "x\r\n",
    "x\r\n.\r\n",
    "BDAT 3\r\nx\r\n",
    "BDAT 0 LAST\r\n",
    "BDAT 3 LAST\r\nx\r\n",
    "BDAT 2\r\nx\n",
    "BDAT 0\r\n",
    "RSET\r\n",
    "NOOP\r\n",
    "VRFY a\r\n",
    "HELP\r\n",
    "STARTTLS\r\n",
    "FOO\r\n",
    "RCPT TO:<bad\r\n",
    "MAIL FROM:<a@a.test> SIZE=999999999\r\n",
    "a\nb\r\n",
    "AUTH PLAIN =\r\n",
};

/* After a refusal of MAIL, DATA, BDAT, and after RSET, EHLO and STARTTLS, nothing is left of the
 * transaction: RCPT is out of order then. The asserts of pull() see to RESET. */
static unsigned random_dialogue(uint32_t seed)
{
    struct session t;
    bool in_data = false;

    init(&t);
    t.seed = seed;
    t.conf.errors_max = seed % 2 ? 0 : 20;
    t.conf.junk_max = 0;
    greeted(&t);
    for (int i = 0; i < 60 && !t.closed; i++) {
        static const char *const usual[] = {"MAIL FROM:<a@a.test>\r\n", "RCPT TO:<b@b.test>\r\n",
                                            "DATA\r\n", "x\r\n.\r\n"};
        const char *word = usual[i % 4];

        if (dice(&t) % 3 == 0)
            word = words[dice(&t) % LL_COUNT(words)];

        t.no = dice(&t) % 8 == 0 ? (dice(&t) % 2 ? 450 : 550) : 0;
        ll_buf_clear(&t.out);
        feeds(&t, word);
        if (t.closed || !t.out.p)
            continue;
        in_data = ll_smtpd_in_letter(t.s);
        if (in_data || t.out.n < 3)
            continue;
        struct ll_slice verb = ll_slice_cut(ll_slice_str(word), 0, 4);
        bool refused = t.out.p[0] >= '4' && t.no != 0;
        bool ends = ll_slice_eq(verb, LL_LIT("RSET")) || ll_slice_eq(verb, LL_LIT("DATA")) ||
                    (ll_slice_eq(verb, LL_LIT("BDAT")) && t.out.p[0] >= '4') ||
                    ll_slice_eq(verb, LL_LIT("MAIL"));
        if (ll_slice_eq(verb, LL_LIT("MAIL")))
            ends = refused && !ll_slice_starts(ll_buf_slice(&t.out), LL_LIT("503"));
        if (ends && ll_slice_starts(ll_buf_slice(&t.out), LL_LIT("503")) &&
            ll_slice_eq(verb, LL_LIT("RSET")))
            ends = false;
        if (ends) {
            assert_false(t.open);
            assert_int_equal(ll_smtpd_recipients(t.s), 0);
        }
    }
    finish(&t);
    return t.letters;
}

static void random_dialogues(void **state)
{
    unsigned letters = 0;

    for (uint32_t seed = 1; seed <= 20000; seed++)
        letters += random_dialogue(seed * 2654435761u);
    assert_true(letters > 1000); /* or the dialogues are of no use */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(command_lines), cmocka_unit_test(endless_line),
        cmocka_unit_test(counters),      cmocka_unit_test(empty_chunks),
        cmocka_unit_test(many_letters),  cmocka_unit_test(recipients),
        cmocka_unit_test(sizes),         cmocka_unit_test(idle_memory),
        cmocka_unit_test(early),         cmocka_unit_test(pipelining),
        cmocka_unit_test(timeouts),      cmocka_unit_test(drains),
        cmocka_unit_test(smuggling),     cmocka_unit_test(random_dialogues),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
