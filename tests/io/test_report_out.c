/* report_out: counts add up, survive what is durable, and no more; limits at n and n + 1; a report
 * is due until it is done. */
#include "io/report_out.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/ll-out-XXXXXX";
static char path[64];
static struct ll_buf err;

static struct ll_report_out *open_it(bool write)
{
    struct ll_report_out *o = ll_report_out_open(path, write, &err);

    if (!o)
        fail_msg("%s", ll_buf_str(&err));
    return o;
}

static int set_up(void **state)
{
    ll_buf_init(&err, 4096);
    snprintf(path, sizeof(path), "%s/out.db", folder);
    return 0;
}

static int tear_down(void **state)
{
    ll_buf_release(&err);
    unlink(path);
    return 0;
}

static enum ll_report_counted count(struct ll_report_out *o, const char *domain, const char *row)
{
    struct ll_report_seen s = {
        ll_slice_str(domain), LL_LIT("org.test"),
        LL_LIT("mailto:a@x.test!10k, https://x.test, mailto:b@x.test, mailto:c@x.test"),
        LL_LIT("policy"), ll_slice_str(row)};

    return ll_report_out_count(o, &s, 1000, &err);
}

static int due(struct ll_report_out *o, int64_t now, const int64_t *busy, size_t n,
               struct ll_report_due *d)
{
    static struct ll_arena arena;

    ll_arena_release(&arena);
    ll_arena_init(&arena, 1 << 20);
    return ll_report_out_next(o, now, busy, n, &arena, d, &err);
}

static uint64_t sum(struct ll_report_out *o, int64_t topic)
{
    struct ll_slice row;
    uint64_t n, all = 0;

    assert_true(ll_report_out_rows(o, topic, &err));
    while (ll_report_out_next_row(o, &row, &n))
        all += n;
    return all;
}

#define RANDOM LL_LIT("0123456789abcdef")

static void periods(void **state)
{
    struct ll_report_out *o = open_it(true);
    struct ll_report_due d;
    int64_t first;

    assert_int_equal(ll_report_out_begin(o), 0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(count(o, "a.test", i < 3 ? "row 1" : "row 2"), LL_REPORT_COUNTED);
    assert_int_equal(count(o, "b.test", "row 1"), LL_REPORT_COUNTED);
    assert_int_equal(ll_report_out_begin(o), 1000);
    assert_int_equal(due(o, 5000, NULL, 0, &d), 0);
    assert_true(ll_report_out_end(o, 2000, 2001, RANDOM, &err));
    assert_int_equal(ll_report_out_begin(o), 0);
    assert_int_equal(due(o, 2000, NULL, 0, &d), 0); /* not yet */
    assert_int_equal(due(o, 2001, NULL, 0, &d), 1);
    first = d.id;
    assert_true(ll_slice_eq(d.domain, LL_LIT("a.test")) && d.kind == LL_DUE_AGGREGATE);
    assert_true(ll_slice_eq(d.uri, LL_LIT("mailto:a@x.test")));
    assert_int_equal(d.most, 10 << 10);
    assert_int_equal(d.begin, 1000);
    assert_int_equal(d.end, 2000);
    assert_int_equal(sum(o, d.topic), 5);
    assert_int_equal(due(o, 2001, &first, 1, &d), 1);
    assert_true(ll_slice_eq(d.uri, LL_LIT("mailto:b@x.test"))); /* two addresses, and no https */
    assert_int_equal(d.most, 0);
    /* Later is later; done is done, and the last one takes its rows along. */
    assert_true(ll_report_out_later(o, first, 3000, true, &err));
    assert_int_equal(due(o, 2001, NULL, 0, &d), 1);
    assert_true(ll_report_out_done(o, &d, LL_LIT("b@x.test"), "sent", LL_LIT(""), 2002, &err));
    assert_int_equal(ll_report_out_sent(o, LL_LIT("x.test"), 2000, &err), 1);
    assert_int_equal(ll_report_out_sent(o, LL_LIT("x.test"), 2003, &err), 0);
    assert_int_equal(due(o, 3000, NULL, 0, &d), 1);
    while (!ll_slice_eq(d.uri, LL_LIT("mailto:a@x.test")) || d.id != first) {
        assert_true(ll_report_out_done(o, &d, LL_LIT("b@x.test"), "sent", LL_LIT(""), 2002, &err));
        assert_int_equal(due(o, 3000, NULL, 0, &d), 1);
    }
    assert_int_equal(d.attempts, 1);
    assert_int_equal(sum(o, d.topic), 5);
    assert_true(ll_report_out_done(o, &d, LL_LIT(""), "dropped", LL_LIT("why"), 2002, &err));
    assert_int_equal(sum(o, d.topic), 0);
    assert_int_equal(due(o, 9000, NULL, 0, &d), 0);
    ll_report_out_close(o);
}

/* A process that is killed loses what it had not flushed, and nothing else; what is there again is
 * counted on. */
static void killed(void **state)
{
    struct ll_report_out *o;
    struct ll_report_due d;
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        o = open_it(true);
        for (int i = 0; i < 7; i++)
            count(o, "a.test", "row");
        ll_report_out_flush(o, &err);
        for (int i = 0; i < 100; i++)
            count(o, "a.test", i % 2 ? "row" : "other");
        _exit(0); /* without closing */
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    o = open_it(true);
    assert_int_equal(ll_report_out_begin(o), 1000);
    assert_int_equal(count(o, "a.test", "row"), LL_REPORT_COUNTED);
    assert_true(ll_report_out_end(o, 2000, 2000, RANDOM, &err));
    assert_int_equal(due(o, 2000, NULL, 0, &d), 1);
    assert_int_equal(sum(o, d.topic), 8);
    ll_report_out_close(o);
}

static void limits(void **state)
{
    struct ll_report_out *o = open_it(true);
    char text[32];

    for (int i = 0; i <= LL_REPORT_OUT_TOPIC_ROWS; i++) {
        snprintf(text, sizeof(text), "row %d", i);
        assert_int_equal(count(o, "a.test", text),
                         i < LL_REPORT_OUT_TOPIC_ROWS ? LL_REPORT_COUNTED : LL_REPORT_FULL);
    }
    assert_int_equal(count(o, "a.test", "row 7"), LL_REPORT_COUNTED); /* a row that is there */
    for (int i = 1; i <= LL_REPORT_OUT_TOPICS_MAX; i++) {
        snprintf(text, sizeof(text), "d%d.test", i);
        assert_int_equal(count(o, text, "row"),
                         i < LL_REPORT_OUT_TOPICS_MAX ? LL_REPORT_COUNTED : LL_REPORT_FULL);
    }
    ll_report_out_close(o);
    o = open_it(true); /* the limits hold for the next process too */
    assert_int_equal(count(o, "new.test", "row"), LL_REPORT_FULL);
    assert_int_equal(count(o, "a.test", "row 7"), LL_REPORT_COUNTED);
    ll_report_out_close(o);
}

static void failures(void **state)
{
    struct ll_report_out *o = open_it(true);
    struct ll_report_line line;
    struct ll_report_due d;

    assert_int_equal(ll_report_out_failed(o, LL_LIT("a.test"), LL_LIT("a.test"),
                                          LL_LIT("mailto:f@a.test"), LL_LIT("content"), 100, &err),
                     LL_REPORT_COUNTED);
    assert_int_equal(ll_report_out_failures(o, LL_LIT("a.test"), 0, &err), 1);
    assert_int_equal(ll_report_out_failures(o, LL_LIT("b.test"), 0, &err), 0);
    assert_int_equal(ll_report_out_failures(o, LL_LIT(""), 0, &err), 1);
    assert_int_equal(due(o, 100, NULL, 0, &d), 1);
    assert_true(d.kind == LL_DUE_FAILURE && ll_slice_eq(d.content, LL_LIT("content")));
    assert_true(ll_report_out_done(o, &d, LL_LIT("f@a.test"), "sent", LL_LIT(""), 101, &err));
    assert_int_equal(ll_report_out_failures(o, LL_LIT("a.test"), 101, &err), 1);
    assert_int_equal(ll_report_out_failures(o, LL_LIT("a.test"), 102, &err), 0);
    assert_true(ll_report_out_lines(o, 0, LL_LIT("A.test"), &err));
    assert_true(ll_report_out_next_line(o, &line));
    assert_true(ll_slice_eq(line.result, LL_LIT("sent")) && line.time == 101);
    assert_false(ll_report_out_next_line(o, &line));
    ll_report_out_close(o);
}

static void broken(void **state)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    for (int i = 0; i < 1000; i++)
        fputs("no database at all\n", f);
    fclose(f);
    assert_null(ll_report_out_open(path, true, &err));
    assert_true(err.n > 0);
    unlink(path);
    ll_buf_clear(&err);
    assert_null(ll_report_out_open(path, false, &err)); /* not there, and not made */
    assert_true(err.n > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(periods, set_up, tear_down),
        cmocka_unit_test_setup_teardown(killed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(limits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failures, set_up, tear_down),
        cmocka_unit_test_setup_teardown(broken, set_up, tear_down),
    };
    int r;

    if (!mkdtemp(folder))
        return 1;
    r = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(folder);
    return r;
}
