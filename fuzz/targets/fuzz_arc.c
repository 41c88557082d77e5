/*
 * ARC: a letter's chain with one key under every name, verified and sealed. A chain never passes
 * with a field missing, work stays inside its limits, and whole or in parts make no difference.
 */
#include <stdint.h>
#include <stdlib.h>

#include "letterlock/arc.h"

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RECORD "k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="

static void answer(struct ll_arc *a, const struct ll_need *need)
{
    uint8_t wire[sizeof(RECORD)] = {sizeof(RECORD) - 1};
    struct ll_slice rdata = ll_slice(wire, sizeof(wire));
    struct ll_dns_answer dns = {.status = LL_DNS_STATUS_OK, .rdata = &rdata, .n_rdata = 1};

    for (size_t i = 1; i < sizeof(wire); i++)
        wire[i] = (uint8_t)RECORD[i - 1];
    ll_arc_answer(a, &(struct ll_need_answer){.id = need->id, .dns = &dns});
}

/* No key is at hand: any octets stand for a signature. */
static void seal(struct ll_arc_sealer *s, const struct ll_arc *a)
{
    struct ll_buf out = LL_BUF(4 << 20);
    struct ll_need need;
    unsigned asked = 0;

    while (ll_arc_sealer_need(s, &need)) {
        CHECK(need.kind == LL_NEED_SIGN && need.sign.text.n > 0 && ++asked <= 2);
        ll_arc_sealer_answer(
            s, &(struct ll_need_answer){.id = need.id, .signature = LL_LIT("signature")});
    }
    CHECK(ll_arc_sealer_set(s, &out) == (asked == 2));
    CHECK(asked == 0 || ll_arc_result(a)->sets < LL_ARC_SETS_MAX);
    ll_buf_release(&out);
}

static struct ll_arc_result verify(struct ll_slice in, size_t step)
{
    const struct ll_arc_seal_options o = {.domain = LL_LIT("example.org"),
                                          .selector = LL_LIT("s"),
                                          .algorithm = LL_DKIM_ED25519,
                                          .id = LL_LIT("mx.example.org")};
    struct ll_dkim_letter *l = ll_dkim_letter_new();
    struct ll_arc_sealer *sealer = NULL;
    struct ll_arc_result r;
    struct ll_dkim_work work;
    struct ll_arc *a = NULL;
    struct ll_need need;

    CHECK(l);
    while (in.n > 0 || !a) {
        in = ll_slice_skip(in, ll_dkim_letter_feed(l, ll_slice_cut(in, 0, step)));
        if (in.n == 0 && !ll_dkim_letter_ready(l))
            ll_dkim_letter_end(l);
        if (!a && ll_dkim_letter_ready(l)) {
            a = ll_arc_new(l, 1600000000);
            CHECK(a);
            sealer = ll_arc_sealer_new(l, a, &o);
        }
    }
    ll_dkim_letter_end(l);
    while (ll_arc_need(a, &need))
        answer(a, &need);
    CHECK(ll_arc_done(a));
    r = *ll_arc_result(a);
    CHECK(r.code == LL_ARC_FAIL || r.fault == LL_ARC_FAULT_OK);
    ll_dkim_letter_work(l, &work);
    CHECK(work.lookups <= LL_DKIM_KEYS_MAX && work.key_operations <= LL_ARC_SETS_MAX + 2);
    if (sealer)
        seal(sealer, a);
    ll_arc_sealer_free(sealer);
    ll_arc_free(a);
    ll_dkim_letter_free(l);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ll_slice in = ll_slice_skip(ll_slice(data, size), 1);
    struct ll_arc_result whole, parts;

    if (size == 0)
        return 0;
    whole = verify(in, SIZE_MAX);
    parts = verify(in, 1 + data[0]);
    CHECK(whole.code == parts.code && whole.fault == parts.fault && whole.dkim == parts.dkim &&
          whole.instance == parts.instance);
    return 0;
}
