/*
 * The client engine against hostile server octets. The first octet chooses the mode, the second the
 * size of the portions in which the rest is fed. Checked: each letter gets one DONE, texts are
 * clean, forced TLS says nothing of a letter in clear, and a letter is delivered only after its end
 * left.
 */
#include <stdint.h>
#include <stdlib.h>

#include "letterlock/smtpc.h"

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct drive {
    struct ll_smtpc *c;
    size_t given, done;
    bool forced, tls, ended, in_clear;
};

static const struct ll_slice body = {(const uint8_t *)".a\r\n\r\n..\r\n", 10};

static void check_result(const struct ll_smtpc_result *r)
{
    CHECK(r->text.n <= LL_SMTPC_TEXT_MAX);
    CHECK(r->phase < LL_SMTPC_PHASES && r->outcome <= LL_SMTPC_AGAIN);
    for (size_t i = 0; i < r->text.n; i++)
        CHECK(ll_is_print(r->text.p[i]));
}

static void give(struct drive *d)
{
    static const struct ll_smtpc_recipient to[3] = {{.address = {(const uint8_t *)"b@y", 3}},
                                                    {.address = {(const uint8_t *)"c@y", 3}},
                                                    {.address = {(const uint8_t *)"d@y", 3}}};
    struct ll_smtpc_letter l = {.reverse_path = LL_LIT("a@x"),
                                .recipients = to,
                                .recipient_count = 1 + d->given % 3,
                                .size = d->given % 4 == 3 ? LL_SMTPC_EAGER_MAX + 1 : body.n};

    d->given++;
    ll_smtpc_letter(d->c, &l, 0);
}

static void events(struct drive *d)
{
    struct ll_smtpc_event e;

    while (ll_smtpc_next(d->c, &e)) {
        CHECK(!d->ended);
        switch (e.type) {
        case LL_SMTPC_START_TLS:
            d->tls = true;
            ll_smtpc_tls_up(d->c, 0);
            break;
        case LL_SMTPC_READY:
            if (d->given < 12)
                give(d);
            else
                ll_smtpc_quit(d->c, 0);
            break;
        case LL_SMTPC_NEED_BODY:
            ll_smtpc_body(d->c, body, true, 0);
            break;
        case LL_SMTPC_DONE:
            d->done++;
            for (size_t i = 0; i < e.result_count; i++)
                check_result(&e.results[i]);
            break;
        case LL_SMTPC_FAILED:
            check_result(&e.result);
            d->ended = true;
            break;
        case LL_SMTPC_CLOSED:
            d->ended = true;
            break;
        }
    }
}

static void drain(struct drive *d, size_t step)
{
    struct ll_slice parts[3];
    size_t n;

    events(d);
    while ((n = ll_smtpc_out(d->c, parts, LL_COUNT(parts))) > 0) {
        size_t total = 0;

        for (size_t i = 0; i < n; i++) {
            CHECK(parts[i].n > 0);
            total += parts[i].n;
            if (d->forced && !d->tls)
                CHECK(ll_slice_search(parts[i], LL_LIT("MAIL")) == parts[i].n);
        }
        ll_smtpc_out_done(d->c, step < total ? step : total, 0);
        events(d);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ll_smtpc_conf conf = {.own_name = LL_LIT("me.example")};
    struct drive d = {0};
    struct ll_slice in;
    size_t step;

    if (size < 2)
        return 0;
    conf.lmtp = data[0] & 1;
    conf.tls = (enum ll_smtpc_tls)(data[0] >> 1 & 3);
    conf.no_pipelining = data[0] >> 3 & 1;
    if (data[0] >> 4 & 1) {
        conf.user = LL_LIT("user");
        conf.password = LL_LIT("secret");
    }
    step = data[1] ? data[1] : SIZE_MAX;
    in = ll_slice(data + 2, size - 2);
    d.forced = conf.tls == LL_SMTPC_TLS_FORCED;
    d.c = ll_smtpc_new(&conf, 0);
    if (!d.c)
        return 0;
    while (in.n) {
        struct ll_slice part = ll_slice_cut(in, 0, step);

        drain(&d, step);
        ll_smtpc_feed(d.c, part, 0);
        in = ll_slice_skip(in, part.n);
    }
    drain(&d, step);
    ll_smtpc_eof(d.c);
    drain(&d, step);
    CHECK(d.ended && d.done == d.given);
    ll_smtpc_free(d.c);
    return 0;
}
