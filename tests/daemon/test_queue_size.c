/*
 * The queue with many letters, many destinations and much time: memory, cost and fairness in
 * numbers small enough for every run (bench/run has the million), and long waiters through days.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/daemon/queue_rig.h"

#include <event2/event.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#define DAY 86400

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

/* ---- memory ------------------------------------------------------------------------------------
 */

static struct {
    size_t letters, dests, rcpts;
} shape;

static void append_many(size_t first, size_t n)
{
    for (size_t i = first; i < first + n; i++) {
        char address[100][40];
        const char *rcpt[100];

        for (size_t k = 0; k < shape.rcpts; k++) {
            snprintf(address[k], sizeof(address[k]), "u@d%zu.far.test",
                     (i * shape.rcpts + k) % shape.dests);
            rcpt[k] = address[k];
        }
        rig_append(rcpt, shape.rcpts, "many", 100);
    }
    rig_flush();
}

/* No carrier answers: what is out is a fixed number, small against the letters. */
static void fill_and_weigh(void)
{
    uint64_t before, pairs = shape.letters * shape.rcpts;

    rig_settle();
    before = rig_resident();
    for (size_t i = 0; i < shape.letters; i += 500) {
        append_many(i, 500);
        rig_settle();
    }
    CHECK(rig.q->letters.n == shape.letters);
    CHECK(rig.q->dests.n == shape.dests);
    printf("# %zu letters, %zu destinations, %zu recipients each: %.0f octets a pair\n",
           shape.letters, shape.dests, shape.rcpts,
           (double)(rig_resident() - before) / (double)pairs);
#ifndef SANITIZED
    CHECK(rig_resident() - before <= 200 * pairs);
#endif
}

static void pairs_are_small(void **state)
{
    static const struct {
        size_t letters, dests, rcpts;
    } shapes[] = {{50000, 1, 1}, {50000, 5000, 1}, {5000, 5000, 10}};

    for (size_t i = 0; i < LL_COUNT(shapes); i++) {
        shape.letters = shapes[i].letters;
        shape.dests = shapes[i].dests;
        shape.rcpts = shapes[i].rcpts;
        rig_open("");
        assert_int_equal(rig_life(fill_and_weigh), 0);
        rig_close();
    }
}

/* ---- cost ---------------------------------------------------------------------------------------
 */

/* The least of some batches: what else runs on the machine only adds. */
static uint64_t cost_of_batch(size_t at)
{
    uint64_t least = UINT64_MAX;

    for (int i = 0; i < 8; i++) {
        uint64_t before = rig_cpu_us();

        append_many(at, 500);
        rig_settle();
        if (rig_cpu_us() - before < least)
            least = rig_cpu_us() - before;
    }
    return least;
}

static void fill_and_time(void)
{
    uint64_t few, many;

    append_many(0, 1000);
    rig_settle();
    few = cost_of_batch(1000);
    for (size_t i = 5000; i < 60000; i += 500) {
        append_many(i, 500);
        rig_settle();
    }
    many = cost_of_batch(60000);
    printf("# 500 letters cost %llu us among 1,000 and %llu us among 60,000\n",
           (unsigned long long)few, (unsigned long long)many);
    CHECK(many < 4 * few + 2000);
}

static void cost_stays_flat(void **state)
{
    shape.letters = 0;
    shape.dests = 10000;
    shape.rcpts = 1;
    rig_open("");
    assert_int_equal(rig_life(fill_and_time), 0);
    rig_close();
}

/* ---- turns --------------------------------------------------------------------------------------
 */

#define SMALL 20000 /* destinations with one letter each */

static struct {
    size_t jobs, big, big_first; /* of the first SMALL jobs */
    size_t small;
} turns;

static void count_turn(enum ll_role role, uint64_t id, const struct ll_job *j, struct ll_slice body)
{
    bool big = ll_slice_eq(j->destination, LL_LIT("big.far.test"));

    turns.jobs++;
    turns.big += big;
    turns.small += !big;
    turns.big_first += big && turns.small < SMALL;
    rig_answer(role, id, j, LL_OUTCOME_DELIVERED, "taken");
}

static void big_and_small(void)
{
    uint64_t before, end = ll_now_ms() + 60000;

    rig.relay_away = true; /* nothing goes before all are there */
    for (size_t i = 0; i < SMALL; i++) {
        const char *rcpt = "u@big.far.test";

        rig_append(&rcpt, 1, "big", 100);
        if (i % 500 == 499)
            rig_turn();
    }
    shape.dests = SMALL;
    for (size_t i = 0; i < SMALL; i += 500) {
        append_many(i, 500);
        rig_turn();
    }
    rig_flush();
    rig_settle();
    CHECK(rig.q->letters.n == 2 * SMALL && rig.q->dests.n == SMALL + 1);
    rig.relay_away = false;
    rig.job = count_turn;
    before = rig_cpu_us();
    pump(rig.q);
    while (turns.jobs < 2 * SMALL && ll_now_ms() < end)
        rig_turn();
    rig_settle();
    printf("# %d destinations of one letter and one of as many: %zu of it before the last of them; "
           "%.1f us a job\n",
           SMALL, turns.big_first, (double)(rig_cpu_us() - before) / (2.0 * SMALL));
    CHECK(turns.small == SMALL && turns.big == SMALL);
    /* It has its turn, and never more jobs out than its limit: at most some in each round. */
    CHECK(turns.big_first > 0 && turns.big_first < SMALL / 10);
    CHECK(rig.q->letters.n == 0 && rig.q->dests.n == 0);
}

static void all_have_their_turn(void **state)
{
    shape.rcpts = 1;
    rig_open("");
    assert_int_equal(rig_life(big_and_small), 0);
    rig_close();
}

/* ---- questions ----------------------------------------------------------------------------------
 */

#define LISTED 50000

static size_t listed, delivered;

static void count_line(uint64_t ask, struct ll_slice line)
{
    listed += ask == 1;
}

static void until_ended(uint64_t ask)
{
    uint64_t end = ll_now_ms() + 60000;

    while (ll_now_ms() < end && rig.ended[ask] < 0)
        rig_turn();
    CHECK(rig.ended[ask] == 0);
}

static void deliver_new(enum ll_role role, uint64_t id, const struct ll_job *j,
                        struct ll_slice body)
{
    if (!ll_slice_eq(j->destination, LL_LIT("new.far.test")))
        return; /* out for ever */
    delivered++;
    rig_answer(role, id, j, LL_OUTCOME_DELIVERED, "taken");
}

static void list_them(void)
{
    const char *rcpt = "u@new.far.test";
    uint64_t end = ll_now_ms() + 60000;
    size_t most = 0, before;

    shape.dests = 1;
    for (size_t i = 0; i < LISTED; i += 500) {
        append_many(i, 500);
        rig_settle();
    }
    rig.job = deliver_new;
    rig.line = count_line;
    rig_control_reads(false);
    rig_ask(1, "queue list", NULL);
    /* Nobody reads the answer: letters come and go all the same, and little is kept for it. */
    for (int i = 0; ll_now_ms() < end && (i < 500 || delivered < 100); i++) {
        if (i < 100) {
            rig_append(&rcpt, 1, "new", 100);
            rig_flush();
        }
        rig_turn();
        if (i % 8 == 0)
            usleep(200);
        if (rig_control_queued() > most)
            most = rig_control_queued();
    }
    CHECK(delivered == 100 && rig.ended[1] == -1);
    CHECK(most > 100000 && most < 2u << 20);
    /* Control reads; it is its client that does not. Another one's question is answered. */
    rig_flow(1, LL_FLOW_WAIT);
    rig_control_reads(true);
    rig_ask(2, "queue stats", NULL);
    until_ended(2);
    for (int i = 0; i < 100; i++)
        rig_turn();
    before = listed;
    for (int i = 0; i < 100; i++)
        rig_turn();
    CHECK(listed == before && listed < LISTED / 2 && rig.ended[1] == -1);
    /* Two at once both go on; one whose asker has gone is given up. */
    rig_ask(3, "queue list", NULL);
    rig_flow(3, LL_FLOW_GONE);
    rig_flow(1, LL_FLOW_GO);
    until_ended(1);
    CHECK(link_empty(&rig.q->answers) && rig.ended[3] == -1);
    printf("# %zu lines, at most %zu octets of them kept\n", listed, most);
    CHECK(listed >= LISTED && listed <= LISTED + 100);
}

static void a_list_stops_nobody(void **state)
{
    shape.rcpts = 1;
    rig_open("");
    assert_int_equal(rig_life(list_them), 0);
    rig_close();
}

/* ---- long waiters
 * -------------------------------------------------------------------------------- */

#define STEP_S     3600
#define STEP_NEW   80
#define STAY_EVERY 8 /* every so manyth letter finds nobody who takes it */
#define OCTETS     8000
#define LETTERS    20000
#define LIFE       (5 * DAY)
#define DISK       (256ull << 20)

static struct past_days { /* between the lives */
    size_t made;
    int64_t made_at[LETTERS];
    uint8_t delivered[LETTERS], returned[LETTERS], warned[LETTERS];
    int64_t late, early; /* seconds that a report was away from five days, at most */
    uint64_t log_most, segments_most, over_most, emptied;
    uint64_t log_allowed;
} * days;

static void days_job(enum ll_role role, uint64_t id, const struct ll_job *j, struct ll_slice body)
{
    size_t n = strtoul((const char *)body.p, NULL, 10);

    CHECK(n < days->made);
    if (role == LL_ROLE_POST) {
        int64_t late = ll_unix_s() - days->made_at[n] - LIFE;

        CHECK(j->kind == LL_JOB_REPORT);
        if (j->rcpt[0].outcome == LL_OUTCOME_DEFERRED) {
            days->warned[n]++;
        } else {
            days->returned[n]++;
            days->late = late > days->late ? late : days->late;
            days->early = -late > days->early ? -late : days->early;
        }
        rig_answer(role, id, j, LL_OUTCOME_DELIVERED, "");
    } else if (n % STAY_EVERY == 0) {
        rig_answer(role, id, j, LL_OUTCOME_DEFERRED, "come back later");
    } else {
        days->delivered[n]++;
        rig_answer(role, id, j, LL_OUTCOME_DELIVERED, "taken");
    }
}

static void measure_days(void)
{
    struct queue *q = rig.q;
    uint64_t over = 0, segments = rig_octets("segments"), log = rig_octets("log");
    uint64_t allowed = outlog_reserve(q) + q->log.checkpoint_size + (256u << 10);

    for (struct link *l = q->segments.next; l != &q->segments; l = l->next)
        over += LINK_OF(struct segment, link, l)->n_over;
    days->over_most = over > days->over_most ? over : days->over_most;
    days->segments_most = segments > days->segments_most ? segments : days->segments_most;
    days->log_most = log > days->log_most ? log : days->log_most;
    CHECK(log < allowed);
    /* A letter that is over is named once, for as long as its record is there. */
    CHECK(over <= segments / OCTETS + 1);
}

static void live_on(int64_t until_s)
{
    rig.job = days_job;
    rig_settle();
    while (rig.skew_s < until_s) {
        for (int i = 0; i < STEP_NEW && days->made < LETTERS; i++) {
            const char *rcpt = days->made % STAY_EVERY ? "u@good.far.test" : "u@away.far.test";
            char word[16];

            snprintf(word, sizeof(word), "%08zu", days->made);
            days->made_at[days->made++] = ll_unix_s();
            rig_append(&rcpt, 1, word, OCTETS);
        }
        rig_flush();
        rig_pass(STEP_S);
        measure_days();
    }
}

static void first_days(void)
{
    live_on(3 * DAY);
}

static void more_days(void)
{
    rig_settle();
    CHECK(rig.q->letters.n > days->made / STAY_EVERY / 2);
    live_on(8 * DAY);
    /* And no new ones, until the last has had its five days. */
    rig.job = days_job;
    for (int64_t end = rig.skew_s + 6 * DAY; rig.skew_s < end;) {
        rig_pass(STEP_S);
        measure_days();
    }
    CHECK(rig.q->letters.n == 0);
    for (size_t i = 0; i < days->made; i++)
        CHECK(days->delivered[i] == (i % STAY_EVERY != 0) &&
              days->returned[i] == (i % STAY_EVERY == 0) &&
              days->warned[i] == (i % STAY_EVERY == 0));
}

static void none_comes_back(void)
{
    rig.job = days_job;
    rig_pass(STEP_S);
    CHECK(rig.q->letters.n == 0);
}

static void five_days(void **state)
{
    days = mmap(NULL, sizeof(*days), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(days != MAP_FAILED);
    rig_open("");
    rig.disk = DISK;
    assert_int_equal(rig_life(first_days), 0);
    rig.skew_s = 3 * DAY;
    assert_int_equal(rig_life(more_days), 0);
    rig.skew_s = 14 * DAY;
    assert_int_equal(rig_life(none_comes_back), 0);
    print_message("# %zu letters in 8 days; at most: segments %llu, log %llu octets, %llu named as "
                  "over; reports %lld s early to %lld s late\n",
                  days->made, (unsigned long long)days->segments_most,
                  (unsigned long long)days->log_most, (unsigned long long)days->over_most,
                  (long long)days->early, (long long)days->late);
    assert_true(days->made > 10000);
    /* Without emptying, a letter that waits would hold its whole segment for five days. */
    assert_true(days->segments_most < (uint64_t)days->made * OCTETS / 2);
    assert_true(days->early <= 1 && days->late <= 2 * STEP_S);
    munmap(days, sizeof(*days));
    rig_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_are_small),     cmocka_unit_test(cost_stays_flat),
        cmocka_unit_test(all_have_their_turn), cmocka_unit_test(a_list_stops_nobody),
        cmocka_unit_test(five_days),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
