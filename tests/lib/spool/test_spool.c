/* spool: letter ids, records, outcome log, jobs, retry schedule. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "letterlock/spool.h"

#define S(text)    LL_LIT(text)
#define GENERATION 0x0123456789abcdefu

static void ids(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        uint64_t id;
    } rows[] = {
        {"0000000000000", true, 0},
        {"fzzzzzzzzzzzz", true, UINT64_MAX},
        {"000000c000010", true, (uint64_t)3 << 32 | 32},
        {"FZZZZZZZZZZZZ", true, UINT64_MAX},
        {"g000000000000", false, 0}, /* 65 bits */
        {"000000000000", false, 0},
        {"00000000000000", false, 0},
        {"000000000000i", false, 0},
        {"000000000000l", false, 0},
        {"000000000000o", false, 0},
        {"000000000000u", false, 0},
        {"00000000 0000", false, 0},
        {"", false, 0},
    };

    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        uint64_t id = 42;

        assert_int_equal(ll_letter_id_parse(ll_slice_str(rows[i].text), &id), rows[i].ok);
        assert_true(id == (rows[i].ok ? rows[i].id : 42));
    }
    for (uint64_t id = 1; id; id <<= 1) {
        struct ll_buf b = LL_BUF(13);
        uint64_t back = 0;

        ll_letter_id_format(&b, id);
        assert_true(!b.failed && ll_letter_id_parse(ll_buf_slice(&b), &back));
        assert_true(back == id);
        ll_buf_release(&b);
    }
}

/* ---- records --------------------------------------------------------------------------------- */

static struct ll_rcpt rcpts[] = {
    {.address = S("ann@a.test"),
     .mailbox = S("ann@a.test"),
     .reverse_path = S("bob@b.test"),
     .kind = LL_RCPT_MAILBOX},
    {.address = S("list@a.test"),
     .reverse_path = S("owner@a.test"),
     .orcpt = S("rfc822;list@a.test"),
     .kind = LL_RCPT_ALIAS,
     .notify = LL_NOTIFY_NEVER},
    {.address = S("x@[192.0.2.1]"), .kind = LL_RCPT_REMOTE, .flags = LL_RCPT_LOOPS},
    {.address = S("rua@a.test"), .mailbox = S("rua@a.test"), .kind = LL_RCPT_REPORT},
};

static struct ll_letter sample(void)
{
    return (struct ll_letter){.id = (uint64_t)7 << 32 | 32,
                              .arrived_ms = 1795489654123,
                              .origin = LL_ORIGIN_MX,
                              .flags = LL_LETTER_8BIT | LL_LETTER_PROVED,
                              .reverse_path = S("bob@b.test"),
                              .envid = S("QQ314159"),
                              .login = S("bob"),
                              .facts = S("{\"client\":\"192.0.2.1\"}"),
                              .prepend = S("Received: from x\r\n"),
                              .body = S("Subject: t\r\n\r\nhello\r\n"),
                              .body_length = 21,
                              .header_length = 14,
                              .rcpt = rcpts,
                              .n_rcpt = LL_COUNT(rcpts)};
}

/* What a reader does with the octets at the start of `in`: 0, or the octets of the record. */
static size_t read_record(struct ll_slice in, uint64_t generation, struct ll_arena *arena,
                          struct ll_letter *ret)
{
    struct ll_record_head h;
    size_t meta;

    if (!ll_record_head_decode(in, &h) || ll_record_length(&h) > in.n)
        return 0;
    meta = LL_RECORD_HEAD + (size_t)h.meta_length;
    ll_arena_release(arena);
    if (!ll_record_decode(ll_slice_cut(in, 0, meta), generation, arena, ret))
        return 0;
    ret->body = ll_slice_cut(in, meta, meta + h.body_length);
    if (!ll_record_body_ok(&h, ret->body) ||
        !ll_record_end_ok(
            &h, ll_slice_cut(in, meta + h.body_length, meta + h.body_length + LL_RECORD_END)))
        return 0;
    return (size_t)ll_record_length(&h);
}

static void assert_slice(struct ll_slice have, struct ll_slice want)
{
    assert_true(ll_slice_eq(have, want));
}

static void record_round(void **state)
{
    struct ll_letter l = sample(), back = {0};
    struct ll_buf b = LL_BUF(1 << 20);
    struct ll_arena arena;

    ll_arena_init(&arena, 1 << 20);
    ll_record_encode(&l, GENERATION, 0, &b);
    assert_false(b.failed);
    assert_int_equal(read_record(ll_buf_slice(&b), GENERATION, &arena, &back), b.n);
    assert_true(back.id == l.id && back.arrived_ms == l.arrived_ms && back.flags == l.flags);
    assert_int_equal(back.n_rcpt, LL_COUNT(rcpts));
    assert_int_equal(back.header_length, 14);
    assert_slice(back.body, l.body);
    assert_slice(back.facts, l.facts);
    assert_slice(back.prepend, l.prepend);
    assert_slice(back.envid, l.envid);
    assert_slice(back.login, l.login);
    for (size_t i = 0; i < LL_COUNT(rcpts); i++) {
        assert_slice(back.rcpt[i].address, rcpts[i].address);
        assert_slice(back.rcpt[i].mailbox, rcpts[i].mailbox);
        assert_slice(back.rcpt[i].reverse_path, rcpts[i].reverse_path);
        assert_slice(back.rcpt[i].orcpt, rcpts[i].orcpt);
        assert_int_equal(back.rcpt[i].kind, rcpts[i].kind);
        assert_int_equal(back.rcpt[i].flags, rcpts[i].flags);
        assert_int_equal(back.rcpt[i].notify, rcpts[i].notify);
    }
    /* Old octets under another generation are nothing; a copy is something. */
    assert_int_equal(read_record(ll_buf_slice(&b), GENERATION + 1, &arena, &back), 0);
    ll_record_rebind(b.p, b.n, GENERATION + 1);
    assert_int_equal(read_record(ll_buf_slice(&b), GENERATION + 1, &arena, &back), b.n);
    assert_int_equal(read_record(ll_buf_slice(&b), GENERATION, &arena, &back), 0);
    ll_arena_release(&arena);
    ll_buf_release(&b);
}

/* No octet may be torn off or changed unseen. */
static void record_damage(void **state)
{
    struct ll_letter l = sample(), back;
    struct ll_buf b = LL_BUF(1 << 20);
    struct ll_arena arena;

    ll_arena_init(&arena, 1 << 20);
    ll_record_encode(&l, GENERATION, 0, &b);
    for (size_t n = 0; n < b.n; n++) {
        uint8_t *exact = malloc(n ? n : 1);

        memcpy(exact, b.p, n);
        assert_int_equal(read_record(ll_slice(exact, n), GENERATION, &arena, &back), 0);
        free(exact);
    }
    for (size_t i = 0; i < b.n; i++)
        for (int bit = 0; bit < 8; bit++) {
            b.p[i] ^= (uint8_t)(1 << bit);
            assert_int_equal(read_record(ll_buf_slice(&b), GENERATION, &arena, &back), 0);
            b.p[i] ^= (uint8_t)(1 << bit);
        }
    assert_int_equal(read_record(ll_buf_slice(&b), GENERATION, &arena, &back), b.n);
    ll_arena_release(&arena);
    ll_buf_release(&b);
}

static bool encodes(const struct ll_letter *l)
{
    struct ll_buf b = LL_BUF(8 << 20);
    bool ok;

    ll_record_encode(l, GENERATION, 0, &b);
    ok = !b.failed;
    ll_buf_release(&b);
    return ok;
}

static void record_limits(void **state)
{
    static uint8_t octets[LL_SPOOL_INLINE_MAX + 1];
    static struct ll_rcpt many[LL_SPOOL_RCPTS_MAX + 1];
    struct ll_letter l = sample();
    struct ll_letter back;
    struct ll_buf b = LL_BUF(1 << 20);
    struct ll_arena arena;

    for (size_t i = 0; i < LL_COUNT(many); i++)
        many[i] = rcpts[0];
    l.rcpt = many;
    l.n_rcpt = LL_SPOOL_RCPTS_MAX;
    assert_true(encodes(&l));
    l.n_rcpt++;
    assert_false(encodes(&l));
    l.n_rcpt = 0;
    assert_false(encodes(&l));
    l = sample();
    l.body = ll_slice(octets, LL_SPOOL_INLINE_MAX);
    assert_true(encodes(&l));
    l.body.n++;
    assert_false(encodes(&l));
    l = sample();
    l.prepend = ll_slice(octets, LL_SPOOL_PREPEND_MAX);
    assert_true(encodes(&l));
    l.prepend.n++;
    assert_false(encodes(&l));
    l = sample();
    l.facts = ll_slice(octets, LL_SPOOL_FACTS_MAX + 1);
    assert_false(encodes(&l));
    /* With a file the record holds no content, and says how long it is. */
    l = sample();
    l.body_file = 9;
    l.body_length = 1 << 30;
    ll_record_encode(&l, GENERATION, 77, &b);
    ll_arena_init(&arena, 1 << 20);
    assert_true(ll_record_decode(ll_slice_cut(ll_buf_slice(&b), 0, b.n - LL_RECORD_END), GENERATION,
                                 &arena, &back));
    assert_true(back.body_file == 9 && back.body_length == 1 << 30);
    ll_arena_release(&arena);
    ll_buf_release(&b);
}

static void segment_heads(void **state)
{
    struct ll_segment_head h = {5, GENERATION, 8, 2}, back;
    struct ll_buf b = LL_BUF(LL_SEGMENT_HEAD);

    ll_segment_head_encode(&h, &b);
    assert_int_equal(b.n, LL_SEGMENT_HEAD);
    assert_true(ll_segment_head_decode(ll_buf_slice(&b), &back));
    assert_true(back.segment == 5 && back.generation == GENERATION && back.writer == 8 &&
                back.index == 2);
    for (size_t i = 0; i < b.n; i++) {
        b.p[i] ^= 1;
        assert_false(ll_segment_head_decode(ll_buf_slice(&b), &back));
        b.p[i] ^= 1;
        assert_false(ll_segment_head_decode(ll_slice(b.p, i), &back));
    }
    ll_buf_release(&b);
}

/* ---- outcome log ----------------------------------------------------------------------------- */

static void outlog(void **state)
{
    static const uint32_t some[] = {0, 2, 999};
    static const uint64_t over[] = {1, UINT64_MAX};
    const struct ll_outlog_record rows[] = {
        {.kind = LL_OUTLOG_STATE,
         .letter = 77,
         .state = LL_RCPT_DEFERRED,
         .attempts = 3,
         .deaths = 1,
         .flags = LL_OUTLOG_WARNED,
         .until_s = 1795489654,
         .code = 451,
         .status = S("4.7.1"),
         .text = S("later"),
         .remote = S("mx.b.test [192.0.2.1]:25"),
         .rcpt = some,
         .n = 3},
        {.kind = LL_OUTLOG_OVER, .over = over, .n = 2},
        {.kind = LL_OUTLOG_SEGMENT, .segment = 9},
        {.kind = LL_OUTLOG_CLOSED, .segment = 9, .length = 1 << 20},
        {.kind = LL_OUTLOG_PAUSE, .paused = true, .name = S("b.test")},
        {.kind = LL_OUTLOG_PAUSE, .name = S("all")},
    };
    struct ll_outlog_record r;
    struct ll_arena arena;

    ll_arena_init(&arena, 1 << 16);
    for (size_t k = 0; k < LL_COUNT(rows); k++) {
        struct ll_buf b = LL_BUF(4096);

        ll_outlog_encode(&rows[k], GENERATION, &b);
        assert_false(b.failed);
        assert_int_equal(ll_outlog_decode(ll_buf_slice(&b), GENERATION, &arena, &r), b.n);
        assert_true(r.kind == rows[k].kind && r.letter == rows[k].letter &&
                    r.state == rows[k].state && r.until_s == rows[k].until_s && r.n == rows[k].n &&
                    r.segment == rows[k].segment && r.length == rows[k].length &&
                    r.attempts == rows[k].attempts && r.flags == rows[k].flags &&
                    r.paused == rows[k].paused);
        assert_slice(r.name, rows[k].name);
        assert_slice(r.text, rows[k].text);
        assert_slice(r.remote, rows[k].remote);
        assert_int_equal(ll_outlog_decode(ll_buf_slice(&b), GENERATION + 1, &arena, &r), 0);
        for (size_t i = 0; i < b.n; i++) {
            assert_int_equal(ll_outlog_decode(ll_slice(b.p, i), GENERATION, &arena, &r), 0);
            b.p[i] ^= 0x10;
            assert_int_equal(ll_outlog_decode(ll_buf_slice(&b), GENERATION, &arena, &r), 0);
            b.p[i] ^= 0x10;
        }
        ll_buf_release(&b);
    }
    ll_arena_release(&arena);
    for (int s = 0; s < LL_RCPT_STATES; s++)
        assert_string_not_equal(ll_rcpt_state_name((enum ll_rcpt_state)s), "?");
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static void jobs(void **state)
{
    struct ll_job_rcpt r[2] = {{.index = 0, .address = S("ann@a.test")},
                               {.index = 999,
                                .kind = LL_RCPT_REMOTE,
                                .address = S("x@b.test"),
                                .outcome = LL_OUTCOME_FAILED,
                                .code = 550,
                                .status = S("5.1.1"),
                                .text = S("no such user")}};
    struct ll_job j = {.letter = 1,
                       .attempt = 2,
                       .kind = LL_JOB_REPORT,
                       .destination = S("b.test"),
                       .prepend = S("Received: x\r\n"),
                       .body_length = 10,
                       .header_length = 10,
                       .rcpt = r,
                       .n_rcpt = 2};
    struct ll_job_result_rcpt rr[1] = {{.index = 3, .outcome = LL_OUTCOME_DEFERRED, .code = 451}};
    struct ll_job_result res = {
        .letter = 1, .trouble = 1, .new_letter = 9, .rcpt = rr, .n_rcpt = 1};
    struct ll_buf b = LL_BUF(1 << 16);
    struct ll_job_result res_back;
    struct ll_arena arena;
    struct ll_job back;

    ll_arena_init(&arena, 1 << 20);
    ll_job_encode(&j, &b);
    assert_true(ll_job_decode(ll_buf_slice(&b), &arena, &back));
    assert_int_equal(back.n_rcpt, 2);
    assert_slice(back.rcpt[1].text, S("no such user"));
    assert_slice(back.destination, S("b.test"));
    for (size_t i = 0; i < b.n; i++)
        assert_false(ll_job_decode(ll_slice(b.p, i), &arena, &back));
    ll_buf_putc(&b, 0);
    assert_false(ll_job_decode(ll_buf_slice(&b), &arena, &back)); /* one octet left over */
    ll_buf_clear(&b);
    j.n_rcpt = 0;
    ll_job_encode(&j, &b);
    assert_true(b.failed);
    ll_buf_clear(&b);
    ll_job_result_encode(&res, &b);
    assert_true(ll_job_result_decode(ll_buf_slice(&b), &arena, &res_back));
    assert_true(res_back.trouble == 1 && res_back.new_letter == 9 && res_back.rcpt[0].code == 451);
    for (size_t i = 0; i < b.n; i++)
        assert_false(ll_job_result_decode(ll_slice(b.p, i), &arena, &res_back));
    ll_arena_release(&arena);
    ll_buf_release(&b);
}

/* ---- retry ----------------------------------------------------------------------------------- */

static void retry(void **state)
{
    const struct ll_retry_conf c = {600, 10800, 5 * 86400};
    int64_t age = 0;
    int tries = 1, first_hour = 1;

    /* RFC 5321 4.5.4.1: two tries in the first hour at least, whatever the jitter. */
    for (uint64_t random = 0; random < 5000; random += 7) {
        int64_t one = ll_retry_wait(&c, 1, 0, random);

        assert_true(one >= 480 && one <= 720);
        assert_true(one + ll_retry_wait(&c, 2, one, random) < 3600);
    }
    while (tries < 1000) {
        int64_t wait = ll_retry_wait(&c, (uint32_t)tries, age, 12345);

        if (wait < 0)
            break;
        assert_true(wait >= 1 && wait <= 12960);
        age += wait;
        tries++;
        first_hour += age <= 3600;
    }
    assert_true(first_hour >= 2 && tries > 30 && tries < 100);
    assert_true(age == c.lifetime_s); /* the last try comes when the time is up */
    assert_int_equal(ll_retry_wait(&c, 1, c.lifetime_s, 0), -1);
    assert_int_equal(ll_retry_wait(&c, 1, c.lifetime_s - 1, 0), 1);
    assert_true(ll_retry_wait(&c, 5, -86400, 0) > 0); /* the clock ran backwards */
    assert_true(ll_retry_wait(&c, UINT32_MAX, 0, UINT64_MAX) <= 12960);
    assert_true(ll_retry_wait(&(struct ll_retry_conf){0, 0, 10}, 1, 0, 3) >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids),           cmocka_unit_test(record_round),
        cmocka_unit_test(record_damage), cmocka_unit_test(record_limits),
        cmocka_unit_test(segment_heads), cmocka_unit_test(outlog),
        cmocka_unit_test(jobs),          cmocka_unit_test(retry),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
