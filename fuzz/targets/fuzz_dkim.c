/*
 * DKIM: the first octet chooses what the rest is: a letter whose keys are all one record, that
 * record, or a signature field. Every letter is fed whole and in parts, and must give the same.
 */
#include <stdint.h>
#include <stdlib.h>

#include "lib/dkim/parts.h"

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RECORD "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="

static void answer(struct ll_dkim *d, const struct ll_need *need)
{
    uint8_t wire[sizeof(RECORD)] = {sizeof(RECORD) - 1};
    struct ll_slice rdata = ll_slice(wire, sizeof(wire));
    struct ll_dns_answer a = {.status = LL_DNS_STATUS_OK, .rdata = &rdata, .n_rdata = 1};

    for (size_t i = 1; i < sizeof(wire); i++)
        wire[i] = (uint8_t)RECORD[i - 1];
    ll_dkim_answer(d, &(struct ll_need_answer){.id = need->id, .dns = &a});
}

/* The faults of all signatures, one octet each. */
static size_t verify(struct ll_slice in, size_t step, uint8_t ret[LL_DKIM_SIGNATURES_MAX])
{
    struct ll_dkim_letter *l = ll_dkim_letter_new();
    const struct ll_dkim_result *r;
    struct ll_dkim_work work;
    struct ll_dkim *d = NULL;
    struct ll_need need;
    size_t n;

    CHECK(l);
    while (in.n > 0) {
        in = ll_slice_skip(in, ll_dkim_letter_feed(l, ll_slice_cut(in, 0, step)));
        if (!d && ll_dkim_letter_ready(l))
            d = ll_dkim_new(l, 1600000000);
    }
    ll_dkim_letter_end(l);
    if (!d)
        d = ll_dkim_new(l, 1600000000);
    CHECK(d);
    while (ll_dkim_need(d, &need))
        answer(d, &need);
    CHECK(ll_dkim_done(d));
    n = ll_dkim_results(d, &r, NULL);
    for (size_t i = 0; i < n; i++) {
        CHECK(r[i].fault != LL_DKIM_FAULT_WAITS);
        ret[i] = (uint8_t)r[i].fault;
    }
    ll_dkim_letter_work(l, &work);
    CHECK(work.lookups <= LL_DKIM_KEYS_MAX && work.body_hashes <= 2);
    ll_dkim_free(d);
    ll_dkim_letter_free(l);
    return n;
}

static void record(struct ll_slice in)
{
    struct ll_dkim_record r;
    EVP_PKEY *key = NULL;
    unsigned bits;

    if (ll_dkim_record_parse(in, &r) != LL_DKIM_FAULT_OK)
        return;
    CHECK(r.key_n > 0 && r.key_n <= LL_DKIM_KEY_ROOM);
    if (ll_dkim_record_key(&r, &key, &bits) == LL_DKIM_FAULT_OK)
        CHECK(key && bits >= 256 && bits <= LL_DKIM_RSA_BITS_MAX);
    EVP_PKEY_free(key);
}

static void signature(struct ll_slice in)
{
    struct ll_buf once = LL_BUF(1 << 20), twice = LL_BUF(1 << 20);
    struct ll_dkim_sig sig;
    struct ll_msg_field f;

    if (ll_msg_field_next(&in, &f) && !f.bad) {
        for (int kind = LL_DKIM_FIELD; kind <= LL_DKIM_SEAL; kind++)
            ll_dkim_sig_parse((enum ll_dkim_kind)kind, f.raw, f.body, &sig);
        ll_dkim_canon_own(LL_DKIM_SIMPLE, f.raw, sig.b_raw, &once);
        ll_buf_clear(&once);
        ll_dkim_canon_field(LL_DKIM_RELAXED, f.raw, &once);
        ll_dkim_canon_field(LL_DKIM_RELAXED, ll_buf_slice(&once), &twice);
        CHECK(ll_slice_eq(ll_buf_slice(&once), ll_buf_slice(&twice)));
    }
    ll_buf_release(&once);
    ll_buf_release(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ll_slice in = ll_slice_skip(ll_slice(data, size), 1);
    uint8_t whole[LL_DKIM_SIGNATURES_MAX], parts[LL_DKIM_SIGNATURES_MAX];

    if (size == 0)
        return 0;
    if (data[0] % 3 == 1) {
        record(in);
    } else if (data[0] % 3 == 2) {
        signature(in);
    } else {
        size_t n = verify(in, SIZE_MAX, whole);

        CHECK(verify(in, 1 + data[0] / 3u, parts) == n && (n == 0 || memcmp(whole, parts, n) == 0));
    }
    return 0;
}
