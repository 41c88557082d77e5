/* The server engine: dialogues in a table, fed whole and split at every octet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "letterlock/smtpd.h"

/* A driver that says yes to all but what the row tells it, and writes a protocol of what it saw:
 *   M<from> R<to> D d<content octets, runs joined> E X(reset) T(tls) A<user>/<password> C<why> */
struct driver {
    struct ll_smtpd *s;
    struct ll_buf log;
    struct ll_buf out;
    bool open;          /* MAIL accepted, no end told yet */
    bool in_body;       /* the log's last word is "d..." */
    const char *refuse; /* letters of questions to refuse with 550; small: 450 */
    bool closed;
};

static struct ll_smtpd_conf conf;

static void say(struct driver *d, const char *kind, struct ll_slice text)
{
    bool body = kind[0] == 'd';

    if (!(body && d->in_body)) {
        if (d->log.n > 0)
            ll_buf_putc(&d->log, ' ');
        ll_buf_puts(&d->log, kind);
    }
    d->in_body = body;
    ll_buf_put_slice(&d->log, text);
}

static void answer(struct driver *d, char question, uint64_t now)
{
    struct ll_smtpd_answer a = {0};

    if (d->refuse && strchr(d->refuse, question))
        a.code = question == 'A' ? 535 : 550;
    else if (d->refuse && strchr(d->refuse, question + 32))
        a.code = 450;
    if (question == 'M')
        d->open = a.code == 0;
    if (question == 'E')
        d->open = false;
    ll_smtpd_answer(d->s, &a, now);
}

static void handle(struct driver *d, const struct ll_smtpd_event *e)
{
    static const struct ll_smtpd_tls facts = {"TLSv1.3", "X", NULL};

    assert_false(d->closed);
    if (e->type == LL_SMTPD_START_TLS) {
        say(d, "T", LL_LIT(""));
        assert_true(ll_smtpd_tls_up(d->s, &facts, 0));
    } else if (e->type == LL_SMTPD_ASK_AUTH) {
        say(d, "A", e->user);
        say(d, "/", e->password);
        answer(d, 'A', 0);
    } else if (e->type == LL_SMTPD_ASK_MAIL) {
        assert_false(d->open);
        say(d, "M", ll_mailbox_text(&e->mail->from));
        answer(d, 'M', 0);
    } else if (e->type == LL_SMTPD_ASK_RCPT) {
        assert_true(d->open);
        say(d, "R", ll_mailbox_text(&e->rcpt->to));
        answer(d, 'R', 0);
    } else if (e->type == LL_SMTPD_ASK_DATA) {
        assert_true(d->open);
        say(d, "D", LL_LIT(""));
        answer(d, 'D', 0);
    } else if (e->type == LL_SMTPD_BODY) {
        assert_true(d->open);
        assert_true(e->body.n > 0);
        say(d, "d", e->body);
    } else if (e->type == LL_SMTPD_ASK_END) {
        assert_true(d->open);
        say(d, "E", LL_LIT(""));
        answer(d, 'E', 0);
    } else if (e->type == LL_SMTPD_RESET) {
        assert_true(d->open);
        d->open = false;
        say(d, "X", LL_LIT(""));
    } else {
        assert_int_equal(e->type, LL_SMTPD_CLOSE);
        assert_false(d->open);
        d->closed = true;
        say(d, "C", ll_slice_str(e->why));
    }
}

static void pull(struct driver *d)
{
    struct ll_smtpd_event e;

    while (ll_smtpd_next(d->s, &e))
        handle(d, &e);
    ll_buf_put_slice(&d->out, ll_smtpd_out(d->s));
    ll_smtpd_out_done(d->s, ll_smtpd_out(d->s).n);
}

static void feed(struct driver *d, struct ll_slice in)
{
    /* A block of its own, freed at once: events must not outlive it. */
    uint8_t *p = malloc(in.n ? in.n : 1);
    struct ll_slice rest = ll_slice(p, in.n);

    memcpy(p, in.p, in.n);
    while (rest.n > 0 && !ll_smtpd_closed(d->s)) {
        size_t n = ll_smtpd_feed(d->s, rest, 0);

        rest = ll_slice_skip(rest, n);
        pull(d);
        assert_false(ll_smtpd_asking(d->s));
    }
    pull(d);
    free(p);
}

static void begin(struct driver *d)
{
    *d = (struct driver){.log = LL_BUF(1 << 20), .out = LL_BUF(1 << 20)};
    d->s = ll_smtpd_new(&conf, 0);
    assert_non_null(d->s);
    ll_smtpd_start(d->s, 0);
    pull(d);
    ll_buf_clear(&d->out);
}

static void end(struct driver *d)
{
    ll_smtpd_eof(d->s);
    pull(d);
    assert_false(d->open);
    ll_smtpd_free(d->s);
    ll_buf_release(&d->log);
    ll_buf_release(&d->out);
}

/* The codes of the replies: "250 354 250"; a multi-line reply once. */
static void codes(struct ll_slice out, struct ll_buf *to)
{
    struct ll_slice line;

    while (ll_slice_next(&out, '\n', &line)) {
        if (line.n < 4)
            break;
        assert_true(line.n + 1 <= LL_SMTP_REPLY_MAX);
        assert_int_equal(line.p[line.n - 1], '\r');
        if (line.p[3] == '-')
            continue;
        if (to->n > 0)
            ll_buf_putc(to, ' ');
        ll_buf_put(to, line.p, 3);
    }
}

enum { MX, SUB, SUB_TLS };

struct row {
    int kind;
    const char *refuse;
    const char *in; /* fed in one piece and in two; an ESC marks where the client waits */
    size_t n;
    const char *log;
    const char *codes;
};
#define ROW(kind, refuse, in, log, codes)                                                          \
    {                                                                                              \
        kind, refuse, in, sizeof(in) - 1, log, codes                                               \
    }
#define E      "EHLO a.test\r\n\x1b"
#define ENV    E "MAIL FROM:<a@a.test>\r\nRCPT TO:<b@b.test>\r\n"
#define ENVLOG "Ma@a.test Rb@b.test"

static const struct row rows[] = {
    ROW(MX, NULL, E "QUIT\r\n", "Cquit", "250 221"),
    ROW(MX, NULL, "HELO a.test\r\n\x1bMAIL FROM:<>\r\nRSET\r\n", "M X", "250 250 250"),
    ROW(MX, NULL, "MAIL FROM:<a@a.test>\r\n", "", "503"),
    ROW(MX, NULL, "NOOP\r\nHELP\r\nVRFY x\r\n" E "VRFY x\r\n", "", "250 214 503 250 252"),
    ROW(MX, NULL, ENV "DATA\r\n\x1bhi\r\n.\r\nQUIT\r\n", ENVLOG " D dhi\r\n E Cquit",
        "250 250 250 354 250 221"),
    ROW(MX, NULL, ENV "DATA\r\n\x1b.\r\n", ENVLOG " D E", "250 250 250 354 250"),
    ROW(MX, NULL, ENV "DATA\r\n\x1b..a\r\n.b\r\n.\r\n", ENVLOG " D d.a\r\nb\r\n E",
        "250 250 250 354 250"),
    ROW(MX, NULL, ENV "DATA\r\n\x1bhi\r\n.\r\nMAIL FROM:<c@a.test>\r\n",
        ENVLOG " D dhi\r\n E Mc@a.test", "250 250 250 354 250 250"),
    ROW(MX, "E", ENV "DATA\r\n\x1bhi\r\n.\r\n", ENVLOG " D dhi\r\n E", "250 250 250 354 550"),
    ROW(MX, "e", ENV "DATA\r\n\x1bhi\r\n.\r\n", ENVLOG " D dhi\r\n E", "250 250 250 354 450"),
    ROW(MX, "D", ENV "DATA\r\n\x1bQUIT\r\n", ENVLOG " D X Cquit", "250 250 250 550 221"),
    ROW(MX, "M", ENV, "Ma@a.test", "250 550 503"),
    ROW(MX, "R", ENV "DATA\r\n\x1bRCPT TO:<x@b.test>\r\n", ENVLOG " X", "250 250 550 554 503"),
    ROW(MX, NULL, ENV E "DATA\r\n\x1b", ENVLOG " X", "250 250 250 250 503"),
    ROW(MX, NULL, ENV "MAIL FROM:<c@a.test>\r\n", ENVLOG, "250 250 250 503"),
    ROW(MX, NULL, ENV "DATA x\r\n", ENVLOG, "250 250 250 501"),
    /* BDAT */
    ROW(MX, NULL, ENV "BDAT 4 LAST\r\nhi\r\nQUIT\r\n", ENVLOG " D dhi\r\n E Cquit",
        "250 250 250 250 221"),
    ROW(MX, NULL, ENV "BDAT 3\r\nhi\rBDAT 1\r\n\nBDAT 0 LAST\r\n", ENVLOG " D dhi\r\n E",
        "250 250 250 250 250 250"),
    ROW(MX, NULL, ENV "BDAT 0 LAST\r\n", ENVLOG " D E", "250 250 250 250"),
    ROW(MX, NULL, ENV "BDAT 7 last\r\n..\r\n.\r\n", ENVLOG " D d..\r\n.\r\n E", "250 250 250 250"),
    ROW(MX, NULL, ENV "BDAT 2 LAST\r\nhi", ENVLOG " D dhi X", "250 250 250 550"),
    ROW(MX, NULL, ENV "BDAT 2\r\n\naBDAT 6 LAST\r\nQUIT\r\nQUIT\r\n", ENVLOG " D X Cquit",
        "250 250 250 550 503 221"),
    ROW(MX, NULL, E "BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", "", "250 503 250"),
    ROW(MX, NULL, "BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", "", "503 250"),
    ROW(MX, "D", ENV "BDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", ENVLOG " D X",
        "250 250 250 550 503 250"),
    ROW(MX, NULL, ENV "BDAT x\r\nQUIT\r\n", ENVLOG " X Cchunk", "250 250 250 501"),
    ROW(MX, NULL, ENV "BDAT 99999999999999999999\r\nQUIT\r\n", ENVLOG " X Cchunk",
        "250 250 250 501"),
    ROW(MX, NULL, ENV "BDAT 6\t\r\nQUIT\r\n", ENVLOG " X Cchunk", "250 250 250 500"),
    ROW(MX, NULL, ENV "BDAT\r\nQUIT\r\n", ENVLOG " X Cchunk", "250 250 250 501"),
    ROW(MX, NULL, ENV "BDAT 4 FIRST\r\nhi\r\n", ENVLOG " X Cchunk", "250 250 250 501"),
    ROW(MX, NULL, ENV "BDAT 4\r\nhi\r\nDATA\r\n\x1b", ENVLOG " D dhi\r\n X", "250 250 250 250 503"),
    ROW(MX, NULL, ENV "BDAT 4\r\nhi\r\nRCPT TO:<c@b.test>\r\nRSET\r\n", ENVLOG " D dhi\r\n X",
        "250 250 250 250 503 250"),
    ROW(MX, NULL, ENV "BDAT 1000001 LAST\r\n", ENVLOG " X", "250 250 250 552"),
    ROW(MX, NULL, ENV "BDAT 9000000000\r\n", ENVLOG " X Csize", "250 250 250 552"),
    /* lines */
    ROW(MX, NULL, "EHLO a\nQUIT\r\n", "Cline", "500"),
    ROW(MX, NULL, "EHLO a\rQUIT\r\n", "Cline", "500"),
    ROW(MX, NULL, ENV "NOOP\0\r\n", ENVLOG " X Cline", "250 250 250 500"),
    ROW(MX, NULL, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "Cforeign", "521"),
    ROW(MX, NULL, "\x16\x03\x01\r\n", "Cforeign", "521"),
    ROW(MX, NULL, E "FOO\r\nNO\x01OP\r\nNOOP \x01\r\n", "", "250 500 500 500"),
    /* paths */
    ROW(MX, NULL, E "MAIL FROM:<a@A.Test> SIZE=10 BODY=8BITMIME\r\nRCPT TO:<postmaster>\r\n",
        "Ma@a.test Rpostmaster@mx.test X", "250 250 250"),
    ROW(MX, NULL, E "MAIL FROM:<a@a.test> SIZE=1000001\r\n", "", "250 552"),
    ROW(MX, NULL, E "MAIL FROM:<a@a.test> FOO=1\r\nMAIL FROM:<a@a.test> BODY=BINARYMIME\r\n", "",
        "250 555 555"),
    ROW(MX, NULL, E "MAIL FROM:<a@a.test> RET=FULL\r\n", "", "250 555"),
    ROW(MX, NULL, "HELO a\r\n\x1bMAIL FROM:<a@a.test> SIZE=10\r\n", "", "250 555"),
    ROW(MX, NULL, E "MAIL FROM:<\xc3\xa4@a.test>\r\nMAIL FROM:<\xc3\xa4@a.test> SMTPUTF8\r\n",
        "M\xc3\xa4@a.test X", "250 553 250"),
    ROW(MX, NULL,
        E "MAIL FROM:<a@a.test>\r\nRCPT TO:<a%b@b.test>\r\nRCPT TO:<@c.test:a@b.test>\r\n"
          "RCPT TO:<\"a@b\"@b.test>\r\nRCPT TO:<c!a@b.test>\r\nRCPT TO:<a@b@c>\r\nRCPT TO:<>\r\n",
        "Ma@a.test X", "250 250 550 550 550 550 501 501"),
    /* STARTTLS, AUTH */
    ROW(MX, NULL, ENV "STARTTLS\r\n\x1bMAIL FROM:<a@a.test>\r\nEHLO a\r\n", ENVLOG " X T",
        "250 250 250 220 503 250"),
    ROW(MX, NULL, ENV "STARTTLS\r\nEHLO a\r\n", ENVLOG " X Cinjection", "250 250 250 501"),
    ROW(MX, NULL, "STARTTLS\r\n\x1b" E "STARTTLS x\r\nSTARTTLS\r\n\x1bSTARTTLS\r\n\x1b", "T",
        "503 250 501 220 503"),
    ROW(MX, NULL, E "STARTTLS\r\n\x1b" E "STARTTLS\r\n\x1b", "T", "250 220 250 503"),
    ROW(MX, NULL, E "AUTH PLAIN AGEAYg==\r\n", "", "250 502"),
    ROW(SUB, NULL, E "AUTH PLAIN AGEAYg==\r\n\x1bMAIL FROM:<a@a.test>\r\n", "", "250 538 530"),
    ROW(SUB, NULL, E "BDAT 6\r\nQUIT\r\nRCPT TO:<a@a>\r\nDATA\r\n", "", "250 530 530 530"),
    ROW(SUB_TLS, NULL, E "MAIL FROM:<a@a.test>\r\n", "", "250 530"),
    ROW(SUB_TLS, NULL, E "AUTH PLAIN AGEAYg==\r\n\x1bMAIL FROM:<a@a.test>\r\n", "Aa /b Ma@a.test X",
        "250 235 250"),
    ROW(SUB_TLS, NULL,
        E "AUTH PLAIN\r\n\x1b"
          "AGEAYg==\r\n\x1b"
          "AUTH PLAIN AGEAYg==\r\n",
        "Aa /b", "250 334 235 503"),
    ROW(SUB_TLS, NULL, E "AUTH LOGIN\r\n\x1bYQ==\r\n\x1bYg==\r\n", "Aa /b", "250 334 334 235"),
    ROW(SUB_TLS, NULL, E "AUTH login YQ==\r\n\x1bYg==\r\n", "Aa /b", "250 334 235"),
    ROW(SUB_TLS, "A", E "AUTH PLAIN AGEAYg==\r\n\x1bMAIL FROM:<>\r\n", "Aa /b", "250 535 530"),
    ROW(SUB_TLS, "A",
        E "AUTH PLAIN AGEAYg==\r\n\x1b"
          "AUTH PLAIN AGEAYg==\r\n\x1b"
          "AUTH PLAIN AGEAYg==\r\n",
        "Aa /b Aa /b Aa /b Clogins", "250 535 535 535 421"),
    ROW(SUB_TLS, NULL, E "AUTH PLAIN\r\n\x1b*\r\nNOOP\r\n", "", "250 334 501 250"),
    ROW(SUB_TLS, NULL,
        E "AUTH PLAIN =\r\n\x1b"
          "AUTH PLAIN AGEAYg\r\n\x1b"
          "AUTH PLAIN YQBiAGM=\r\n",
        "", "250 501 501 535"),
    ROW(SUB_TLS, NULL,
        E "AUTH NTLM\r\n\x1b"
          "AUTH\r\n",
        "", "250 504 501"),
};

/* Feeds a row: pieces end at the ESC marks and at edge (and after each step octets). */
static void talk(struct driver *d, const struct row *r, size_t edge, size_t step)
{
    size_t at = 0;

    while (at < r->n) {
        size_t to = at + ll_slice_find(ll_slice(r->in + at, r->n - at), 0x1b);

        if (at < edge && edge < to)
            to = edge;
        if (to > at + step)
            to = at + step;
        feed(d, ll_slice(r->in + at, to - at));
        at = to;
        if (at < r->n && r->in[at] == 0x1b)
            at++;
    }
}

static void check(const struct row *r, size_t edge, size_t step)
{
    static const struct ll_smtpd_tls facts = {"TLSv1.3", "X", NULL};
    struct ll_buf got = LL_BUF(4096);
    struct driver d;

    ll_smtpd_conf_init(&conf, r->kind == MX ? LL_SMTPD_MX : LL_SMTPD_SUBMISSION);
    conf.hostname = "mx.test";
    conf.starttls = true;
    conf.size_max = 1000000;
    begin(&d);
    if (r->kind == SUB_TLS) {
        ll_smtpd_free(d.s);
        d.s = ll_smtpd_new(&conf, 0);
        assert_true(ll_smtpd_tls_up(d.s, &facts, 0));
        ll_smtpd_start(d.s, 0);
        pull(&d);
        ll_buf_clear(&d.out);
    }
    d.refuse = r->refuse;
    talk(&d, r, edge, step);
    codes(ll_buf_slice(&d.out), &got);
    if (r->codes)
        assert_string_equal(ll_buf_str(&got), r->codes);
    if (!d.closed) {
        ll_smtpd_eof(d.s);
        d.in_body = false;
        bool open = d.open;
        pull(&d);
        d.log.n -= strlen(" Ceof") - (d.log.n == 4);
        if (open && r->log && !ll_slice_ends(ll_slice_str(r->log), LL_LIT("X")))
            d.log.n -= 2;
        else if (open && r->log && !strcmp(r->log, ENVLOG))
            d.log.n -= 2;
    }
    if (r->log)
        assert_string_equal(ll_buf_str(&d.log), r->log);
    ll_buf_release(&got);
    end(&d);
}

static void dialogues(void **state)
{
    for (size_t i = 0; i < LL_COUNT(rows); i++) {
        /* Octets that must not come together are only refused when they do. */
        bool together = !rows[i].codes || strstr(rows[i].log, "Cinjection") != NULL;

        check(&rows[i], 0, rows[i].n);
        for (size_t edge = 1; edge < rows[i].n && !together; edge++)
            check(&rows[i], edge, rows[i].n);
        if (!together)
            check(&rows[i], 0, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dialogues),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
