/* The client engine against scripted peers, whole and octet by octet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "letterlock/smtpc.h"

#define MAX_LETTERS 3

struct letter {
    const char *from;
    const char *to[4];
    const char *body; /* NULL: its parts cannot be had */
    bool eightbit, smtputf8;
    uint64_t size; /* 0: that of the body */
    size_t part;   /* octets of each part; 0: all at once */
};

/* Script lines: "S:" the server says it, "C:" the client must have written exactly this,
 * "s:" the server says it in the same breath as the line before (no client output in between),
 * "T:" START_TLS must be asked, and is up; "F:" it is asked and fails; "E:" end of the connection,
 * "O:" the time is over, "Q:" the driver asks for QUIT. */
struct row {
    const char *name;
    struct ll_smtpc_conf conf;
    struct letter letters[MAX_LETTERS];
    const char *const *script;
    const char *log;
};

struct run {
    struct ll_smtpc *c;
    const struct row *row;
    size_t given; /* letters */
    size_t body_at[MAX_LETTERS];
    struct ll_smtpc_recipient rcpts[MAX_LETTERS][4];
    struct ll_buf wire, log;
    uint64_t now;
    size_t step; /* octets written at once */
    bool tls_asked;
};

static const char outcome_letter[] = "DTRA"; /* delivered, temporary, refused, again */

static void log_result(struct run *r, const struct ll_smtpc_result *x, bool with_text)
{
    ll_buf_printf(&r->log, " %c:%s:%u:%u.%u.%u", outcome_letter[x->outcome],
                  ll_smtpc_phase_name(x->phase), x->code, x->enhanced[0], x->enhanced[1],
                  x->enhanced[2]);
    if (with_text && x->text.n && x->code)
        ll_buf_printf(&r->log, "(%.*s)", LL_FMT(x->text));
    assert_true(x->text.n <= LL_SMTPC_TEXT_MAX);
    for (size_t i = 0; i < x->text.n; i++)
        assert_true(ll_is_print(x->text.p[i]));
}

static void give_letter(struct run *r)
{
    const struct letter *l = &r->row->letters[r->given];
    struct ll_smtpc_letter x = {.tag = (void *)(uintptr_t)(r->given + 1)};

    x.reverse_path = ll_slice_str(l->from);
    for (; x.recipient_count < 4 && l->to[x.recipient_count]; x.recipient_count++)
        r->rcpts[r->given][x.recipient_count].address = ll_slice_str(l->to[x.recipient_count]);
    x.recipients = r->rcpts[r->given];
    x.size = l->size ? l->size : l->body ? strlen(l->body) : 1;
    x.eightbit = l->eightbit;
    x.smtputf8 = l->smtputf8;
    r->given++;
    ll_smtpc_letter(r->c, &x, r->now);
}

static void give_body(struct run *r, size_t number)
{
    const struct letter *l = &r->row->letters[number];
    struct ll_slice body = ll_slice_skip(ll_slice_str(l->body), r->body_at[number]);
    size_t n = l->part && l->part < body.n ? l->part : body.n;

    if (!l->body) {
        ll_smtpc_body_failed(r->c, LL_LIT("disk on fire"));
        return;
    }
    r->body_at[number] += n;
    ll_smtpc_body(r->c, ll_slice_cut(body, 0, n), n == body.n, r->now);
}

static void events(struct run *r)
{
    struct ll_smtpc_event e;

    while (ll_smtpc_next(r->c, &e)) {
        switch (e.type) {
        case LL_SMTPC_READY:
            if (r->given < MAX_LETTERS && r->row->letters[r->given].to[0])
                give_letter(r);
            break;
        case LL_SMTPC_NEED_BODY:
            give_body(r, (size_t)(uintptr_t)e.tag - 1);
            break;
        case LL_SMTPC_START_TLS:
            r->tls_asked = true;
            break;
        case LL_SMTPC_DONE:
            ll_buf_printf(&r->log, "%zu", (size_t)(uintptr_t)e.tag);
            for (size_t i = 0; i < e.result_count; i++)
                log_result(r, &e.results[i], true);
            ll_buf_puts(&r->log, "\n");
            break;
        case LL_SMTPC_FAILED:
            ll_buf_puts(&r->log, "failed");
            log_result(r, &e.result, true);
            ll_buf_puts(&r->log, "\n");
            break;
        case LL_SMTPC_CLOSED:
            ll_buf_puts(&r->log, "closed\n");
            break;
        }
    }
}

/* Writes all there is, events between. */
static void drain(struct run *r)
{
    struct ll_slice parts[5];
    size_t n;

    events(r);
    while ((n = ll_smtpc_out(r->c, parts, LL_COUNT(parts))) > 0) {
        size_t room = r->step, wrote = 0;

        for (size_t i = 0; i < n && room; i++) {
            struct ll_slice part = ll_slice_cut(parts[i], 0, room);

            assert_true(parts[i].n > 0);
            ll_buf_put_slice(&r->wire, part);
            room -= part.n;
            wrote += part.n;
        }
        ll_smtpc_out_done(r->c, wrote, ++r->now);
        events(r);
    }
}

static void expect_line(struct run *r, const char *line)
{
    struct ll_slice want = ll_slice_str(line);

    drain(r);
    if (r->wire.n < want.n + 2 || memcmp(r->wire.p, want.p, want.n) != 0 ||
        memcmp(r->wire.p + want.n, "\r\n", 2) != 0) {
        print_error("%s: want \"%s\", have \"%.*s\"; log:\n%.*s", r->row->name, line,
                    LL_FMT(ll_buf_slice(&r->wire)), LL_FMT(ll_buf_slice(&r->log)));
        fail();
    }
    ll_buf_drop(&r->wire, want.n + 2);
}

/* Feeds from[..] in steps; drain between octets where the client may speak. */
static void serve(struct run *r, struct ll_slice text, bool together)
{
    while (text.n) {
        struct ll_slice part = together ? text : ll_slice_cut(text, 0, r->step);

        ll_smtpc_feed(r->c, part, ++r->now);
        text = ll_slice_skip(text, part.n);
        if (!together)
            events(r);
    }
}

static void play(struct run *r)
{
    struct ll_buf say = LL_BUF(1 << 20);

    for (const char *const *line = r->row->script; *line; line++) {
        struct ll_slice text = ll_slice_str(*line + 2);

        switch ((*line)[0]) {
        case 'S':
            drain(r);
            if (r->wire.n)
                print_error("%s: before \"%s\": unexpected \"%.*s\"\n", r->row->name, *line,
                            LL_FMT(ll_buf_slice(&r->wire)));
            assert_int_equal(r->wire.n, 0);
            ll_buf_clear(&say);
            ll_buf_put_slice(&say, text);
            ll_buf_puts(&say, "\r\n");
            for (; line[1] && line[1][0] == 's'; line++)
                ll_buf_printf(&say, "%s\r\n", line[1] + 2);
            serve(r, ll_buf_slice(&say), line[0][0] == 's');
            break;
        case 'C':
            expect_line(r, *line + 2);
            break;
        case 'T':
            drain(r);
            assert_true(r->tls_asked);
            r->tls_asked = false;
            ll_smtpc_tls_up(r->c, r->now);
            break;
        case 'F':
            drain(r);
            assert_true(r->tls_asked);
            ll_smtpc_tls_failed(r->c, text);
            break;
        case 'E':
            drain(r);
            ll_smtpc_eof(r->c);
            break;
        case 'O':
            drain(r);
            assert_true(ll_smtpc_deadline(r->c) != UINT64_MAX);
            ll_smtpc_timeout(r->c, ll_smtpc_deadline(r->c) - 1);
            r->now = ll_smtpc_deadline(r->c);
            ll_smtpc_timeout(r->c, r->now);
            break;
        case 'Q':
            drain(r);
            ll_smtpc_quit(r->c, r->now);
            break;
        default:
            fail();
        }
    }
    drain(r);
    ll_buf_release(&say);
}

static void run_row(const struct row *row, size_t step)
{
    struct run r = {.row = row, .step = step, .now = 1000};
    struct ll_smtpc_conf conf = row->conf;

    ll_buf_init(&r.wire, 1 << 20);
    ll_buf_init(&r.log, 1 << 20);
    if (conf.own_name.n == 0)
        conf.own_name = LL_LIT("me.example");
    r.c = ll_smtpc_new(&conf, r.now);
    assert_non_null(r.c);
    play(&r);
    if (!ll_slice_eq(ll_buf_slice(&r.log), ll_slice_str(row->log)) || r.wire.n)
        print_error("%s (step %zu): want\n%shave\n%.*srest \"%.*s\"\n", row->name, step, row->log,
                    LL_FMT(ll_buf_slice(&r.log)), LL_FMT(ll_buf_slice(&r.wire)));
    assert_true(ll_slice_eq(ll_buf_slice(&r.log), ll_slice_str(row->log)));
    assert_int_equal(r.wire.n, 0);
    ll_smtpc_free(r.c);
    ll_buf_release(&r.wire);
    ll_buf_release(&r.log);
}

#define SCRIPT(...) ((const char *const[]){__VA_ARGS__, NULL})
#define PLAIN_HELLO "S:220 mx ESMTP", "C:EHLO me.example"
#define PIPE_HELLO                                                                                 \
    PLAIN_HELLO, "S:250-mx.example hi", "S:250-PIPELINING", "S:250-8BITMIME", "S:250-SMTPUTF8",    \
        "S:250 SIZE 1000"
#define BDAT_HELLO                                                                                 \
    PLAIN_HELLO, "S:250-mx.example hi", "S:250-PIPELINING", "S:250-8BITMIME", "S:250 CHUNKING"
#define QUIT     "Q:", "C:QUIT", "S:221 bye"
#define ENVELOPE "C:MAIL FROM:<a@x.example> SIZE=4", "C:RCPT TO:<b@y.example>", "C:DATA"
#define ONE                                                                                        \
    {                                                                                              \
        {                                                                                          \
            "a@x.example", {"b@y.example"}, "hi\r\n"                                               \
        }                                                                                          \
    }
#define TWO                                                                                        \
    {                                                                                              \
        {"a@x.example", {"b@y.example"}, "hi\r\n"},                                                \
        {                                                                                          \
            "", {"c@y.example"}, "yo\r\n"                                                          \
        }                                                                                          \
    }
#define DELIVERED "1 D:final:250:2.0.0(ok)\n"

static const struct row rows[] = {
    {"no extensions",
     {},
     {{"a@x.example", {"b@y.example", "c@y.example"}, ".hi\r\n..\r\nx\r\n"}},
     SCRIPT(PLAIN_HELLO, "S:250 mx", "C:MAIL FROM:<a@x.example>", "S:250 ok",
            "C:RCPT TO:<b@y.example>", "S:250 ok", "C:RCPT TO:<c@y.example>",
            "S:550 5.1.1 no such user", "C:DATA", "S:354 go", "C:..hi", "C:...", "C:x", "C:.",
            "S:250 2.0.0 ok", QUIT),
     "1 D:final:250:2.0.0(ok) R:rcpt:550:5.1.1(no such user)\nclosed\n"},
    {"HELO fallback",
     {},
     ONE,
     SCRIPT(PLAIN_HELLO, "S:502 what?", "C:HELO me.example", "S:250 mx",
            "C:MAIL FROM:<a@x.example>", "S:250 ok", "C:RCPT TO:<b@y.example>", "S:250 ok",
            "C:DATA", "S:354 go", "C:hi", "C:.", "S:250 ok", QUIT),
     DELIVERED "closed\n"},
    {"no HELO fallback under forced TLS",
     {.tls = LL_SMTPC_TLS_FORCED},
     ONE,
     SCRIPT(PLAIN_HELLO, "S:502 what?"),
     "failed R:hello:502:5.0.0(what?)\n"},
    {"greeting 554", {}, ONE, SCRIPT("S:554 go away"), "failed R:greeting:554:5.0.0(go away)\n"},
    {"greeting 421", {}, ONE, SCRIPT("S:421 4.3.2 busy"), "failed T:greeting:421:4.3.2(busy)\n"},
    {"pipelined, two letters, the second behind the dot",
     {},
     TWO,
     SCRIPT(PIPE_HELLO, ENVELOPE, "S:250 ok", "S:250 ok", "S:354 go", "C:hi", "C:.",
            "C:MAIL FROM:<> SIZE=4", "C:RCPT TO:<c@y.example>", "C:DATA", "S:250 ok", "S:250 ok",
            "S:250 ok", "S:354 go", "C:yo", "C:.", "S:452 4.3.1 full", QUIT),
     DELIVERED "2 T:final:452:4.3.1(full)\nclosed\n"},
    {"all replies in one packet",
     {},
     TWO,
     SCRIPT(PIPE_HELLO, ENVELOPE, "S:250 ok", "s:250 ok", "s:354 go", "C:hi", "C:.",
            "C:MAIL FROM:<> SIZE=4", "C:RCPT TO:<c@y.example>", "C:DATA", "S:250 ok", "s:250 ok",
            "s:250 ok", "s:354 go", "C:yo", "C:.", "S:250 ok", QUIT),
     DELIVERED "2 D:final:250:2.0.0(ok)\nclosed\n"},
    {"354 after all recipients failed: a lone dot",
     {},
     TWO,
     SCRIPT(PIPE_HELLO, ENVELOPE, "S:250 ok", "S:550 no", "S:354 go", "C:.", "S:554 nobody",
            "C:MAIL FROM:<> SIZE=4", "C:RCPT TO:<c@y.example>", "C:DATA", "S:250 ok", "S:250 ok",
            "S:354 go", "C:yo", "C:.", "S:250 ok", QUIT),
     "1 R:rcpt:550:5.0.0(no)\n2 D:final:250:2.0.0(ok)\nclosed\n"},
    {"MAIL refused",
     {},
     TWO,
     SCRIPT(PIPE_HELLO, ENVELOPE, "S:550 5.7.1 spammer", "S:503 what", "S:503 what",
            "C:MAIL FROM:<> SIZE=4", "C:RCPT TO:<c@y.example>", "C:DATA", "S:250 ok", "S:250 ok",
            "S:354 go", "C:yo", "C:.", "S:250 ok", QUIT),
     "1 R:mail:550:5.7.1(spammer)\n2 D:final:250:2.0.0(ok)\nclosed\n"},
    {"DATA refused: RSET before the next",
     {},
     TWO,
     SCRIPT(PIPE_HELLO, ENVELOPE, "S:250 ok", "S:250 ok", "S:451 4.3.0 later", "C:RSET",
            "C:MAIL FROM:<> SIZE=4", "C:RCPT TO:<c@y.example>", "C:DATA", "S:250 reset", "S:250 ok",
            "S:250 ok", "S:354 go", "C:yo", "C:.", "S:250 ok", QUIT),
     "1 T:data:451:4.3.0(later)\n2 D:final:250:2.0.0(ok)\nclosed\n"},
    {"RSET refused",
     {},
     TWO,
     SCRIPT(PIPE_HELLO, ENVELOPE, "S:250 ok", "S:250 ok", "S:451 4.3.0 later", "C:RSET",
            "C:MAIL FROM:<> SIZE=4", "C:RCPT TO:<c@y.example>", "C:DATA", "S:500 no"),
     "1 T:data:451:4.3.0(later)\n2 T:rset:500:4.0.0(no)\nfailed T:rset:500:4.0.0(no)\n"},
    {"RSET without pipelining",
     {.no_pipelining = true},
     TWO,
     SCRIPT(PIPE_HELLO, "C:MAIL FROM:<a@x.example> SIZE=4", "S:250 ok", "C:RCPT TO:<b@y.example>",
            "S:550 no", "C:RSET", "S:250 ok", "C:MAIL FROM:<> SIZE=4", "S:250 ok",
            "C:RCPT TO:<c@y.example>", "S:250 ok", "C:DATA", "S:354 go", "C:yo", "C:.", "S:250 ok",
            QUIT),
     "1 R:rcpt:550:5.0.0(no)\n2 D:final:250:2.0.0(ok)\nclosed\n"},
    {"552 to RCPT is temporary, and again where one was accepted",
     {},
     {{"a@x.example", {"b@y.example", "c@y.example", "d@y.example", "e@y.example"}, "hi\r\n"}},
     SCRIPT(PIPE_HELLO, "C:MAIL FROM:<a@x.example> SIZE=4", "C:RCPT TO:<b@y.example>",
            "C:RCPT TO:<c@y.example>", "C:RCPT TO:<d@y.example>", "C:RCPT TO:<e@y.example>",
            "C:DATA", "S:250 ok", "S:552 5.2.2 full", "S:250 ok", "S:250 ok", "S:452 4.5.3 enough",
            "S:354 go", "C:hi", "C:.", "S:250 ok", QUIT),
     "1 T:rcpt:552:4.2.2(full) D:final:250:2.0.0(ok) D:final:250:2.0.0(ok) "
     "A:rcpt:452:4.5.3(enough)\nclosed\n"},
    {"LIMITS RCPTMAX",
     {},
     {{"a@x.example", {"b@y.example", "c@y.example"}, "hi\r\n"}},
     SCRIPT(PLAIN_HELLO, "S:250-mx", "S:250-PIPELINING", "S:250 LIMITS MAILMAX=9 RCPTMAX=1",
            "C:MAIL FROM:<a@x.example>", "C:RCPT TO:<b@y.example>", "C:DATA", "S:250 ok",
            "S:250 ok", "S:354 go", "C:hi", "C:.", "S:250 ok", QUIT),
     "1 D:final:250:2.0.0(ok) A:local:0:4.5.3\nclosed\n"},
    {"LIMITS RCPTDOMAINMAX",
     {},
     {{"a@x.example", {"b@y.example", "c@z.example", "d@Y.example"}, "hi\r\n"}},
     SCRIPT(PLAIN_HELLO, "S:250-mx", "S:250-PIPELINING", "S:250 LIMITS RCPTDOMAINMAX=1",
            "C:MAIL FROM:<a@x.example>", "C:RCPT TO:<b@y.example>", "C:RCPT TO:<d@Y.example>",
            "C:DATA", "S:250 ok", "S:250 ok", "S:250 ok", "S:354 go", "C:hi", "C:.", "S:250 ok",
            QUIT),
     "1 D:final:250:2.0.0(ok) A:local:0:4.5.3 D:final:250:2.0.0(ok)\nclosed\n"},
    {"LIMITS MAILMAX: the session is used up",
     {},
     TWO,
     SCRIPT(PLAIN_HELLO, "S:250-mx", "S:250-PIPELINING", "S:250 LIMITS MAILMAX=1",
            "C:MAIL FROM:<a@x.example>", "C:RCPT TO:<b@y.example>", "C:DATA", "S:250 ok",
            "S:250 ok", "S:354 go", "C:hi", "C:.", "S:250 ok", "C:QUIT", "S:221 bye"),
     DELIVERED "closed\n"},
    {"too large",
     {},
     {{"a@x.example", {"b@y.example"}, "hi\r\n", .size = 1001}},
     SCRIPT(PIPE_HELLO, QUIT),
     "1 R:local:0:5.3.4\nclosed\n"},
    {"as large as allowed",
     {},
     {{"a@x.example", {"b@y.example"}, "hi\r\n", .size = 1000}},
     SCRIPT(PIPE_HELLO, "C:MAIL FROM:<a@x.example> SIZE=1000", "C:RCPT TO:<b@y.example>", "C:DATA",
            "S:250 ok", "S:250 ok", "S:354 go", "C:hi", "C:.", "S:250 ok", QUIT),
     DELIVERED "closed\n"},
    {"8BITMIME missing",
     {},
     {{"a@x.example", {"b@y.example"}, "h\xe9\r\n", .eightbit = true}},
     SCRIPT(PLAIN_HELLO, "S:250 mx", QUIT),
     "1 R:local:0:5.6.3\nclosed\n"},
    {"SMTPUTF8 missing, by the address",
     {},
     {{"a@x.example", {"\xc3\xa4@y.example"}, "hi\r\n"}},
     SCRIPT(BDAT_HELLO, QUIT),
     "1 R:local:0:5.6.7\nclosed\n"},
    {"SMTPUTF8 and 8BITMIME said",
     {},
     {{"a@x.example", {"\xc3\xa4@y.example"}, "hi\r\n"}},
     SCRIPT(PIPE_HELLO, "C:MAIL FROM:<a@x.example> SIZE=4 BODY=8BITMIME SMTPUTF8",
            "C:RCPT TO:<\xc3\xa4@y.example>", "C:DATA", "S:250 ok", "S:250 ok", "S:354 go", "C:hi",
            "C:.", "S:250 ok", QUIT),
     DELIVERED "closed\n"},
    {"addresses that would break out",
     {},
     {{"a@x.example",
       {"b>@y.example", "b@y.example\r\nDATA", "b @y.example", "\"b >\"@y.example"},
       "hi\r\n"},
      {"a\r\n@x.example", {"b@y.example"}, "hi\r\n"}},
     SCRIPT(PIPE_HELLO, "C:MAIL FROM:<a@x.example> SIZE=4", "C:RCPT TO:<\"b >\"@y.example>",
            "C:DATA", "S:250 ok", "S:250 ok", "S:354 go", "C:hi", "C:.", "S:250 ok", QUIT),
     "2 R:local:0:5.1.7\n"
     "1 R:local:0:5.1.3 R:local:0:5.1.3 R:local:0:5.1.3 D:final:250:2.0.0(ok)\nclosed\n"},
    {"421 to the dot",
     {},
     ONE,
     SCRIPT(PIPE_HELLO, ENVELOPE, "S:250 ok", "S:250 ok", "S:354 go", "C:hi", "C:.",
            "S:421 4.3.2 stopping"),
     "1 T:final:421:4.3.2(stopping)\nfailed T:final:421:4.3.2(stopping)\n"},
    {"the server leaves before its last reply",
     {},
     ONE,
     SCRIPT(PIPE_HELLO, ENVELOPE, "S:250 ok", "S:250 ok", "S:354 go", "C:hi", "C:.", "E:"),
     "1 T:final:0:4.4.2\nfailed T:final:0:4.4.2\n"},
    {"the server leaves between letters",
     {},
     ONE,
     SCRIPT(PIPE_HELLO, ENVELOPE, "S:250 ok", "S:250 ok", "S:354 go", "C:hi", "C:.", "S:250 ok",
            "E:"),
     DELIVERED "closed\n"},
    {"421 between letters",
     {},
     ONE,
     SCRIPT(PIPE_HELLO, ENVELOPE, "S:250 ok", "S:250 ok", "S:354 go", "C:hi", "C:.", "S:250 ok",
            "S:421 idle"),
     DELIVERED "closed\n"},
    {"a stray reply", {}, {}, SCRIPT(PIPE_HELLO, "S:250 surprise"), "failed T:idle:0:4.4.2\n"},
    {"a 250 too early",
     {},
     ONE,
     SCRIPT(PIPE_HELLO, ENVELOPE, "S:250 ok", "s:250 ok", "s:354 go", "s:250 queued"),
     "1 T:body:0:4.4.2\nfailed T:body:0:4.4.2\n"},
    {"no SMTP at all",
     {},
     ONE,
     SCRIPT("S:HTTP/1.1 400 Bad Request"),
     "failed T:greeting:0:4.4.2\n"},
    {"time over at the greeting", {}, ONE, SCRIPT("O:"), "failed T:greeting:0:4.4.2\n"},
    {"time over at DATA",
     {},
     ONE,
     SCRIPT(PIPE_HELLO, ENVELOPE, "S:250 ok", "S:250 ok", "O:"),
     "1 T:data:0:4.4.2\nfailed T:data:0:4.4.2\n"},
    {"time over at QUIT", {}, {}, SCRIPT(PIPE_HELLO, "Q:", "C:QUIT", "O:"), "closed\n"},
    {"bare LF",
     {},
     {{"a@x.example", {"b@y.example"}, "hi\n.\r\n"}},
     SCRIPT(PIPE_HELLO, "C:MAIL FROM:<a@x.example> SIZE=6", "C:RCPT TO:<b@y.example>", "C:DATA",
            "S:250 ok", "S:250 ok", "S:354 go"),
     "1 R:body:0:5.6.0\nfailed T:body:0:4.4.2\n"},
    {"bare CR by BDAT",
     {},
     {{"a@x.example", {"b@y.example"}, "hi\rx\r\n"}},
     SCRIPT(BDAT_HELLO),
     "1 R:body:0:5.6.0\nfailed T:body:0:4.4.2\n"},
    {"no last line end",
     {},
     {{"a@x.example", {"b@y.example"}, "hi"}},
     SCRIPT(PIPE_HELLO, "C:MAIL FROM:<a@x.example> SIZE=2", "C:RCPT TO:<b@y.example>", "C:DATA",
            "S:250 ok", "S:250 ok", "S:354 go"),
     "1 R:body:0:5.6.0\nfailed T:body:0:4.4.2\n"},
    {"the body cannot be read",
     {},
     {{"a@x.example", {"b@y.example"}, NULL}},
     SCRIPT(PIPE_HELLO, "C:MAIL FROM:<a@x.example> SIZE=1", "C:RCPT TO:<b@y.example>", "C:DATA",
            "S:250 ok", "S:250 ok", "S:354 go"),
     "1 T:body:0:4.3.0\nfailed T:body:0:4.4.2\n"},
    {"BDAT: one round trip",
     {},
     ONE,
     SCRIPT(BDAT_HELLO, "C:MAIL FROM:<a@x.example>", "C:RCPT TO:<b@y.example>", "C:BDAT 4 LAST",
            "C:hi", "S:250 ok", "S:250 ok", "S:250 ok", QUIT),
     DELIVERED "closed\n"},
    {"BDAT: dots are left alone, parts",
     {},
     {{"a@x.example", {"b@y.example"}, ".h\r\n.\r\n", .part = 4}},
     SCRIPT(BDAT_HELLO, "C:MAIL FROM:<a@x.example>", "C:RCPT TO:<b@y.example>", "C:BDAT 4", "C:.h",
            "C:BDAT 3 LAST", "C:.", "S:250 ok", "S:250 ok", "S:250 ok", "S:250 ok", QUIT),
     DELIVERED "closed\n"},
    {"BDAT: all recipients refused",
     {},
     TWO,
     SCRIPT(BDAT_HELLO, "C:MAIL FROM:<a@x.example>", "C:RCPT TO:<b@y.example>", "C:BDAT 4 LAST",
            "C:hi", "C:RSET", "C:MAIL FROM:<>", "C:RCPT TO:<c@y.example>", "S:250 ok",
            "S:550 5.1.1 no", "S:503 5.5.1 nobody", "C:BDAT 4 LAST", "C:yo", "S:250 ok", "S:250 ok",
            "S:250 ok", "S:250 ok", QUIT),
     "1 R:rcpt:550:5.1.1(no)\n2 D:final:250:2.0.0(ok)\nclosed\n"},
    {"BDAT: refused in the middle",
     {},
     {{"a@x.example",
       {"b@y.example"},
       "01\r\n02\r\n03\r\n",
       .size = LL_SMTPC_EAGER_MAX + 1,
       .part = 4},
      {"", {"c@y.example"}, "yo\r\n"}},
     SCRIPT(BDAT_HELLO, "C:MAIL FROM:<a@x.example>", "C:RCPT TO:<b@y.example>", "S:250 ok",
            "S:250 ok", "C:BDAT 4", "C:01", "C:BDAT 4", "C:02", "C:BDAT 4 LAST", "C:03", "C:RSET",
            "C:MAIL FROM:<>", "C:RCPT TO:<c@y.example>", "S:250 ok", "S:552 5.3.4 big",
            "S:503 5.5.1 what", "C:BDAT 4 LAST", "C:yo", "S:250 ok", "S:250 ok", "S:250 ok",
            "S:250 ok", QUIT),
     "1 R:body:552:5.3.4(big)\n2 D:final:250:2.0.0(ok)\nclosed\n"},
    {"LMTP: a reply for each recipient",
     {.lmtp = true},
     {{"a@x.example", {"b@y.example", "no@y.example", "c@y.example"}, "hi\r\n"}},
     SCRIPT("S:220 lmtp", "C:LHLO me.example", "S:250-lmtp", "S:250 PIPELINING",
            "C:MAIL FROM:<a@x.example>", "C:RCPT TO:<b@y.example>", "C:RCPT TO:<no@y.example>",
            "C:RCPT TO:<c@y.example>", "C:DATA", "S:250 ok", "S:250 ok", "S:550 5.1.1 no",
            "S:250 ok", "S:354 go", "C:hi", "C:.", "S:250 ok", "S:452 4.2.2 quota", QUIT),
     "1 D:final:250:2.0.0(ok) R:rcpt:550:5.1.1(no) T:final:452:4.2.2(quota)\nclosed\n"},
    {"LMTP: no fallback",
     {.lmtp = true},
     ONE,
     SCRIPT("S:220 lmtp", "C:LHLO me.example", "S:500 what"),
     "failed R:hello:500:5.0.0(what)\n"},
    {"STARTTLS",
     {.tls = LL_SMTPC_TLS_FORCED},
     ONE,
     SCRIPT(PLAIN_HELLO, "S:250-mx", "S:250-PIPELINING", "S:250 STARTTLS", "C:STARTTLS", "S:220 go",
            "T:", "C:EHLO me.example", "S:250-mx", "S:250 STARTTLS", "C:MAIL FROM:<a@x.example>",
            "S:250 ok", "C:RCPT TO:<b@y.example>", "S:250 ok", "C:DATA", "S:354 go", "C:hi", "C:.",
            "S:250 ok", QUIT),
     DELIVERED "closed\n"},
    {"STARTTLS: injected reply",
     {.tls = LL_SMTPC_TLS_OPPORTUNISTIC},
     ONE,
     SCRIPT(PLAIN_HELLO, "S:250-mx", "S:250 STARTTLS", "C:STARTTLS", "S:220 go", "s:250 injected"),
     "failed T:starttls:0:4.4.2\n"},
    {"STARTTLS not offered, forced",
     {.tls = LL_SMTPC_TLS_FORCED},
     ONE,
     SCRIPT(PLAIN_HELLO, "S:250 mx"),
     "failed T:starttls:0:4.4.2\n"},
    {"STARTTLS refused, forced",
     {.tls = LL_SMTPC_TLS_FORCED},
     ONE,
     SCRIPT(PLAIN_HELLO, "S:250-mx", "S:250 STARTTLS", "C:STARTTLS", "S:454 4.7.0 no"),
     "failed T:starttls:454:4.7.0(no)\n"},
    {"STARTTLS refused, opportunistic",
     {.tls = LL_SMTPC_TLS_OPPORTUNISTIC},
     {},
     SCRIPT(PLAIN_HELLO, "S:250-mx", "S:250 STARTTLS", "C:STARTTLS", "S:454 4.7.0 no", QUIT),
     "closed\n"},
    {"handshake fails",
     {.tls = LL_SMTPC_TLS_FORCED},
     ONE,
     SCRIPT(PLAIN_HELLO, "S:250-mx", "S:250 STARTTLS", "C:STARTTLS", "S:220 go", "F:bad name"),
     "failed T:tls:0:4.4.2\n"},
    {"AUTH PLAIN",
     {.tls = LL_SMTPC_TLS_IMPLICIT, .user = LL_LIT("tim"), .password = LL_LIT("secret")},
     {},
     SCRIPT(PLAIN_HELLO, "S:250-mx", "S:250 AUTH LOGIN PLAIN",
            "C:AUTH PLAIN AHRpbQBzZWNyZXQ=", "S:235 2.7.0 in", QUIT),
     "closed\n"},
    {"AUTH LOGIN",
     {.tls = LL_SMTPC_TLS_IMPLICIT, .user = LL_LIT("tim"), .password = LL_LIT("secret")},
     {},
     SCRIPT(PLAIN_HELLO, "S:250-mx", "S:250 AUTH LOGIN", "C:AUTH LOGIN", "S:334 VXNlcm5hbWU6",
            "C:dGlt", "S:334 UGFzc3dvcmQ6", "C:c2VjcmV0", "S:235 2.7.0 in", QUIT),
     "closed\n"},
    {"AUTH LOGIN asks too much",
     {.tls = LL_SMTPC_TLS_IMPLICIT, .user = LL_LIT("tim"), .password = LL_LIT("secret")},
     {},
     SCRIPT(PLAIN_HELLO, "S:250-mx", "S:250 AUTH LOGIN", "C:AUTH LOGIN", "S:334 VXNlcm5hbWU6",
            "C:dGlt", "S:334 UGFzc3dvcmQ6", "C:c2VjcmV0", "S:334 bW9yZQ==", "C:*",
            "S:501 5.7.0 cancelled"),
     "failed R:auth:501:5.7.0(cancelled)\n"},
    {"AUTH LOGIN asks without end",
     {.tls = LL_SMTPC_TLS_IMPLICIT, .user = LL_LIT("tim"), .password = LL_LIT("secret")},
     {},
     SCRIPT(PLAIN_HELLO, "S:250-mx", "S:250 AUTH LOGIN", "C:AUTH LOGIN", "S:334 VXNlcm5hbWU6",
            "C:dGlt", "S:334 UGFzc3dvcmQ6", "C:c2VjcmV0", "S:334 bW9yZQ==", "C:*",
            "S:334 bW9yZQ=="),
     "failed T:auth:334:4.0.0(bW9yZQ==)\n"},
    {"AUTH fails",
     {.tls = LL_SMTPC_TLS_IMPLICIT, .user = LL_LIT("tim"), .password = LL_LIT("secret")},
     ONE,
     SCRIPT(PLAIN_HELLO, "S:250-mx", "S:250 AUTH PLAIN",
            "C:AUTH PLAIN AHRpbQBzZWNyZXQ=", "S:535 5.7.8 wrong"),
     "failed R:auth:535:5.7.8(wrong)\n"},
    {"no AUTH in clear",
     {.user = LL_LIT("tim"), .password = LL_LIT("secret")},
     ONE,
     SCRIPT(PLAIN_HELLO, "S:250-mx", "S:250 AUTH PLAIN"),
     "failed T:auth:0:4.4.2\n"},
    {"no AUTH offered",
     {.tls = LL_SMTPC_TLS_IMPLICIT, .user = LL_LIT("tim"), .password = LL_LIT("secret")},
     ONE,
     SCRIPT(PLAIN_HELLO, "S:250 mx"),
     "failed T:auth:0:4.4.2\n"},
};

static void test_rows(void **state)
{
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        run_row(&rows[i], SIZE_MAX);
        run_row(&rows[i], 1);
        run_row(&rows[i], 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
