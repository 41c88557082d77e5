/* Our client engine and our server engine, in memory: what one was given, the other must have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "letterlock/smtpc.h"
#include "letterlock/smtpd.h"

#define LETTERS 12 /* of a session */

/* Recipients that begin with "no" are refused, "later" deferred; bodies with "FULL" get 452. */
static const struct letter {
    const char *from;
    const char *to[3];
    const char *body;
    size_t part; /* octets handed over at once; 0: all */
    bool eightbit;
} letters[] = {
    {"a@x.example", {"b@y.example"}, "Subject: one\r\n\r\nhi\r\n", 0, false},
    {"a@x.example", {"b@y.example", "no1@y.example", "c@y.example"}, ".\r\n..\r\n.x\r\n", 0, false},
    {"", {"b@y.example"}, "a\r\n.\r\nMAIL FROM:<evil@x>\r\n\r\n.\r\n", 1, false},
    {"a@x.example", {"no1@y.example", "no2@y.example"}, "nobody\r\n", 0, false},
    {"a@x.example", {"later@y.example"}, "later\r\n", 3, false},
    {"a@x.example", {"b@y.example"}, "FULL\r\n", 0, false},
    {"a@x.example", {"b@y.example"}, "\xc3\xa4\r\n", 2, true},
    {"a@x.example", {"later@y.example", "b@y.example"}, "\r\n\r\n", 0, false},
};

static const struct mode {
    const char *name;
    enum ll_smtpc_tls tls;
    bool login, no_pipelining, no_chunking;
} modes[] = {
    {"chunking", LL_SMTPC_TLS_NONE, false, false, false},
    {"data", LL_SMTPC_TLS_NONE, false, false, true},
    {"lock-step", LL_SMTPC_TLS_NONE, false, true, true},
    {"starttls", LL_SMTPC_TLS_FORCED, false, false, false},
    {"starttls, login, data", LL_SMTPC_TLS_FORCED, true, false, true},
    {"implicit, login", LL_SMTPC_TLS_IMPLICIT, true, false, false},
    {"implicit, login, lock-step", LL_SMTPC_TLS_IMPLICIT, true, true, true},
};

struct both {
    struct ll_smtpc *c;
    struct ll_smtpd *s;
    struct ll_buf to_server;         /* on its way */
    struct ll_buf body;              /* of the present letter at the server */
    struct ll_buf got, want;         /* letters, as text */
    struct ll_buf results, expected; /* results, as text */
    struct ll_smtpc_recipient to[LETTERS][3];
    size_t body_at[LETTERS];
    size_t given;
    bool client_tls, server_tls, client_end, server_end, login;
    size_t recipients;
    size_t step;
    uint64_t now;
};

/* ---- the server's driver ----------------------------------------------------------------- */

static const struct ll_smtpd_tls facts = {"TLSv1.3", "TLS_AES_256_GCM_SHA384", NULL};

static void server_rcpt(struct both *b, const struct ll_smtpd_event *e)
{
    struct ll_slice to = ll_mailbox_text(&e->rcpt->to);
    struct ll_smtpd_answer a = {.code = 550, .enhanced = "5.1.1", .text = LL_LIT("unknown")};

    if (ll_slice_starts(to, LL_LIT("later")))
        a = (struct ll_smtpd_answer){.code = 450, .enhanced = "4.2.1", .text = LL_LIT("later")};
    if (ll_slice_starts(to, LL_LIT("no")) || ll_slice_starts(to, LL_LIT("later"))) {
        ll_smtpd_answer(b->s, &a, b->now);
        return;
    }
    ll_buf_puts(&b->body, " ");
    ll_buf_put_slice(&b->body, to);
    b->recipients++;
    ll_smtpd_answer(b->s, NULL, b->now);
}

static void server_event(struct both *b, const struct ll_smtpd_event *e)
{
    struct ll_smtpd_answer full = {.code = 452, .enhanced = "4.3.1", .text = LL_LIT("full")};

    switch (e->type) {
    case LL_SMTPD_NONE:
        break;
    case LL_SMTPD_START_TLS:
        b->server_tls = true;
        break;
    case LL_SMTPD_ASK_AUTH:
        b->login =
            ll_slice_eq(e->user, LL_LIT("tim")) && ll_slice_eq(e->password, LL_LIT("tanstaaf"));
        assert_true(b->login);
        ll_smtpd_answer(b->s, NULL, b->now);
        break;
    case LL_SMTPD_ASK_MAIL:
        ll_buf_clear(&b->body);
        ll_buf_puts(&b->body, "<");
        ll_buf_put_slice(&b->body, ll_mailbox_text(&e->mail->from));
        ll_buf_puts(&b->body, ">");
        ll_smtpd_answer(b->s, NULL, b->now);
        break;
    case LL_SMTPD_ASK_RCPT:
        server_rcpt(b, e);
        break;
    case LL_SMTPD_ASK_DATA:
        ll_buf_puts(&b->body, "\n");
        ll_smtpd_answer(b->s, NULL, b->now);
        break;
    case LL_SMTPD_BODY:
        ll_buf_put_slice(&b->body, e->body);
        break;
    case LL_SMTPD_ASK_END:
        if (ll_slice_search(ll_buf_slice(&b->body), LL_LIT("FULL")) < b->body.n) {
            ll_smtpd_answer(b->s, &full, b->now);
            break;
        }
        ll_buf_put_slice(&b->got, ll_buf_slice(&b->body));
        ll_smtpd_answer(b->s, NULL, b->now);
        break;
    case LL_SMTPD_RESET:
        ll_buf_clear(&b->body);
        break;
    case LL_SMTPD_CLOSE:
        b->server_end = true;
        break;
    }
}

static void server_pull(struct both *b)
{
    struct ll_smtpd_event e;

    while (ll_smtpd_next(b->s, &e))
        server_event(b, &e);
}

static void server_feed(struct both *b, struct ll_slice in)
{
    for (size_t idle = 0; in.n && !b->server_end && idle < 2;) {
        size_t n = ll_smtpd_feed(b->s, in, b->now);

        server_pull(b);
        in = ll_slice_skip(in, n);
        idle = n ? 0 : idle + 1;
    }
    assert_true(in.n == 0 || b->server_end);
}

/* ---- the client's driver --------------------------------------------------------------------- */

static const struct letter *letter_of(size_t i)
{
    return &letters[i % LL_COUNT(letters)];
}

static void client_letter(struct both *b)
{
    const struct letter *l = letter_of(b->given);
    struct ll_smtpc_letter x = {.tag = (void *)(uintptr_t)(b->given + 1)};

    for (; x.recipient_count < 3 && l->to[x.recipient_count]; x.recipient_count++)
        b->to[b->given][x.recipient_count].address = ll_slice_str(l->to[x.recipient_count]);
    x.reverse_path = ll_slice_str(l->from);
    x.recipients = b->to[b->given];
    x.size = strlen(l->body);
    x.eightbit = l->eightbit;
    b->given++;
    ll_smtpc_letter(b->c, &x, b->now);
}

static void client_body(struct both *b, size_t i)
{
    const struct letter *l = letter_of(i);
    struct ll_slice rest = ll_slice_skip(ll_slice_str(l->body), b->body_at[i]);
    size_t n = l->part && l->part < rest.n ? l->part : rest.n;

    b->body_at[i] += n;
    ll_smtpc_body(b->c, ll_slice_cut(rest, 0, n), n == rest.n, b->now);
}

static void client_pull(struct both *b)
{
    struct ll_smtpc_event e;

    while (ll_smtpc_next(b->c, &e)) {
        switch (e.type) {
        case LL_SMTPC_START_TLS:
            b->client_tls = true;
            break;
        case LL_SMTPC_READY:
            if (b->given < LETTERS)
                client_letter(b);
            else
                ll_smtpc_quit(b->c, b->now);
            break;
        case LL_SMTPC_NEED_BODY:
            client_body(b, (size_t)(uintptr_t)e.tag - 1);
            break;
        case LL_SMTPC_DONE:
            ll_buf_printf(&b->results, "%zu", (size_t)(uintptr_t)e.tag);
            for (size_t i = 0; i < e.result_count; i++)
                ll_buf_printf(&b->results, " %u", e.results[i].code);
            ll_buf_puts(&b->results, "\n");
            break;
        case LL_SMTPC_FAILED:
            print_error("failed at %s: %.*s\n", ll_smtpc_phase_name(e.result.phase),
                        LL_FMT(e.result.text));
            b->client_end = true;
            break;
        case LL_SMTPC_CLOSED:
            ll_buf_puts(&b->results, "closed\n");
            b->client_end = true;
            break;
        }
    }
}

/* ---- the wire ----------------------------------------------------------------------------------
 */

/* Carries at most step octets to the server; true when something moved. */
static bool up(struct both *b)
{
    struct ll_slice parts[4];
    size_t n, room = b->step, total = 0;

    client_pull(b);
    n = ll_smtpc_out(b->c, parts, LL_COUNT(parts));
    ll_buf_clear(&b->to_server);
    for (size_t i = 0; i < n && room; i++) {
        struct ll_slice part = ll_slice_cut(parts[i], 0, room);

        ll_buf_put_slice(&b->to_server, part);
        room -= part.n;
        total += part.n;
    }
    ll_smtpc_out_done(b->c, total, b->now);
    client_pull(b);
    server_feed(b, ll_buf_slice(&b->to_server));
    return total > 0;
}

static bool down(struct both *b)
{
    struct ll_slice out = ll_slice_cut(ll_smtpd_out(b->s), 0, b->step);
    struct ll_buf copy = LL_BUF(1 << 20);

    if (out.n == 0)
        return false;
    ll_buf_put_slice(&copy, out);
    ll_smtpd_out_done(b->s, copy.n);
    ll_smtpc_feed(b->c, ll_buf_slice(&copy), b->now);
    ll_buf_release(&copy);
    client_pull(b);
    return true;
}

static void converse(struct both *b)
{
    bool moved = true;

    for (size_t round = 0; moved && !b->client_end; round++) {
        assert_true(round < 1000000);
        b->now++;
        moved = up(b);
        moved |= down(b);
        if (b->client_tls && b->server_tls && ll_smtpd_out(b->s).n == 0) {
            b->client_tls = b->server_tls = false;
            assert_true(ll_smtpd_tls_up(b->s, &facts, b->now));
            ll_smtpc_tls_up(b->c, b->now);
            moved = true;
        }
    }
}

static void expected(struct both *b)
{
    for (size_t i = 0; i < LETTERS; i++) {
        const struct letter *l = letter_of(i);
        bool full = strstr(l->body, "FULL") != NULL, any = false;

        ll_buf_printf(&b->expected, "%zu", i + 1);
        for (size_t k = 0; k < 3 && l->to[k]; k++) {
            bool no = strncmp(l->to[k], "no", 2) == 0, later = strncmp(l->to[k], "later", 5) == 0;

            any |= !no && !later;
            ll_buf_printf(&b->expected, " %d", no ? 550 : later ? 450 : full ? 452 : 250);
        }
        ll_buf_puts(&b->expected, "\n");
        if (!any || full)
            continue;
        ll_buf_printf(&b->want, "<%s>", l->from);
        for (size_t k = 0; k < 3 && l->to[k]; k++)
            if (strncmp(l->to[k], "no", 2) != 0 && strncmp(l->to[k], "later", 5) != 0)
                ll_buf_printf(&b->want, " %s", l->to[k]);
        ll_buf_printf(&b->want, "\n%s", l->body);
    }
    ll_buf_puts(&b->expected, "closed\n");
}

static void check_text(const struct mode *m, size_t step, struct ll_buf *have, struct ll_buf *want)
{
    if (!ll_slice_eq(ll_buf_slice(have), ll_buf_slice(want)))
        print_error("%s, step %zu: have\n%.*s\nwant\n%.*s\n", m->name, step,
                    LL_FMT(ll_buf_slice(have)), LL_FMT(ll_buf_slice(want)));
    assert_true(ll_slice_eq(ll_buf_slice(have), ll_buf_slice(want)));
}

static void run(const struct mode *m, size_t step)
{
    static struct both zero;
    struct both b = zero;
    struct ll_smtpd_conf dconf;
    struct ll_smtpc_conf cconf = {.own_name = LL_LIT("client.example"),
                                  .tls = m->tls,
                                  .no_pipelining = m->no_pipelining,
                                  .no_chunking = m->no_chunking};

    b.step = step;
    b.to_server = b.body = b.got = b.want = b.results = b.expected = LL_BUF(1 << 20);
    if (m->login) {
        cconf.user = LL_LIT("tim");
        cconf.password = LL_LIT("tanstaaf");
    }
    ll_smtpd_conf_init(&dconf, m->login ? LL_SMTPD_SUBMISSION : LL_SMTPD_MX);
    dconf.hostname = "mx.example";
    dconf.starttls = true;
    b.s = ll_smtpd_new(&dconf, 0);
    b.c = ll_smtpc_new(&cconf, 0);
    assert_true(b.s && b.c);
    if (m->tls == LL_SMTPC_TLS_IMPLICIT)
        assert_true(ll_smtpd_tls_up(b.s, &facts, 0));
    ll_smtpd_start(b.s, 0);
    expected(&b);
    converse(&b);
    check_text(m, step, &b.got, &b.want);
    check_text(m, step, &b.results, &b.expected);
    assert_int_equal(b.login, m->login);
    assert_int_equal(ll_smtpd_tls(b.s) != NULL, m->tls != LL_SMTPC_TLS_NONE);
    ll_smtpd_free(b.s);
    ll_smtpc_free(b.c);
    ll_buf_release(&b.to_server);
    ll_buf_release(&b.body);
    ll_buf_release(&b.got);
    ll_buf_release(&b.want);
    ll_buf_release(&b.results);
    ll_buf_release(&b.expected);
}

/* Portions of every size: octet by octet, and with an edge at every place of a short command. */
static void test_modes(void **state)
{
    for (size_t i = 0; i < LL_COUNT(modes); i++) {
        run(&modes[i], SIZE_MAX);
        for (size_t step = 1; step <= 64; step++)
            run(&modes[i], step);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_modes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
