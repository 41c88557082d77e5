/*
 * check: the first octet: how many answers come before all is given up (from 128 on: hurried), and
 * in which pieces the letter comes. Then the reverse-path, a line; the letter, with LF for CR LF,
 * to a line of "."; then an answer for each question (fuzz_answers.h).
 */
#include "fuzz/targets/fuzz_answers.h"
#include "letterlock/authres.h"
#include "letterlock/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct look {
    struct ll_check *check;
    struct answers script;
    unsigned asked;
    unsigned left; /* answers that still come */
};

static void serve(struct look *l)
{
    struct ll_dns_answer dns;
    struct ll_need need;

    while (ll_check_need(l->check, &need)) {
        CHECK(++l->asked <= LL_CHECK_NEEDS_MAX && need.kind == LL_NEED_DNS);
        if (l->left == 0)
            continue;
        l->left--;
        answers_next(&l->script, &need, &dns);
        ll_check_answer(l->check, &(struct ll_need_answer){.id = need.id, .dns = &dns});
    }
}

/* The letter in wire form; the rest of the script is left. */
static void read_letter(struct ll_slice *rest, struct ll_buf *out)
{
    struct ll_slice line;

    while (ll_slice_next(rest, '\n', &line) && !(line.n == 1 && line.p[0] == '.')) {
        ll_buf_put_slice(out, line);
        ll_buf_puts(out, "\r\n");
    }
}

static void check_result(const struct ll_check *c)
{
    const struct ll_check_result *r = ll_check_result(c);
    struct ll_buf field = LL_BUF(1 << 20);
    struct ll_authres_out out = {.out = &field};
    bool pass = r->have_spf && r->spf.code == LL_SPF_PASS;

    for (size_t i = 0; i < r->n_dkim; i++)
        pass = pass || ll_dkim_fault_verdict(r->dkim[i].fault) == LL_DKIM_PASS;
    CHECK(r->n_dkim <= LL_DKIM_SIGNATURES_MAX);
    CHECK(r->dmarc.code != LL_DMARC_PASS || (pass && r->author_error == LL_MSG_OK));
    CHECK(r->dmarc.disposition == LL_DMARC_P_NONE || r->dmarc.code == LL_DMARC_FAIL);
    ll_authres_begin(&out, LL_LIT("mx.test"));
    ll_check_authres(c, &out);
    ll_authres_end(&out);
    CHECK(!field.failed && ll_slice_find(ll_buf_slice(&field), '\0') == field.n);
    ll_buf_release(&field);
}

static void end(struct look *l, bool hurried)
{
    ll_check_end(l->check);
    serve(l);
    if (hurried) {
        ll_check_hurry(l->check);
        l->left = LL_CHECK_NEEDS_MAX;
        serve(l);
    }
    if (!ll_check_done(l->check)) /* what DMARC had asked before stays open */
        ll_check_give_up(l->check);
    CHECK(ll_check_done(l->check) && !ll_check_need(l->check, &(struct ll_need){.id = 0}));
    check_result(l->check);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct look l = {
        .script = {.rest = ll_slice_skip(ll_slice(data, size), 1), .rdata = LL_BUF(1 << 20)}};
    struct ll_check_input in = {.ip = {192, 0, 2, 'a'},
                                .ip_n = 4,
                                .iprev = true,
                                .helo = LL_LIT("client.test"),
                                .receiver = LL_LIT("mx.test"),
                                .unix_s = 1600000000};
    struct ll_buf letter = LL_BUF(1 << 20);
    struct ll_slice rest;

    if (size == 0)
        return 0;
    l.left = data[0] & 127;
    in.sender_mx = data[0] & 128;
    ll_slice_next(&l.script.rest, '\n', &in.mail_from);
    read_letter(&l.script.rest, &letter);
    l.check = ll_check_new(&in);
    CHECK(l.check);
    for (rest = ll_buf_slice(&letter); rest.n > 0; rest = ll_slice_skip(rest, 1u + data[0] % 60u)) {
        ll_check_feed(l.check, ll_slice_cut(rest, 0, 1u + data[0] % 60u));
        if (data[0] & 1)
            serve(&l);
    }
    end(&l, data[0] >= 128);
    ll_check_free(l.check);
    ll_buf_release(&letter);
    ll_buf_release(&l.script.rdata);
    return 0;
}
