/*
 * SRS: the input as a sender, and as a local part that claims to be ours. What is rewritten is an
 * address, and comes back as it was (SRS1: as the first forwarder's); nothing that we did not sign
 * comes back at all.
 */
#include "fuzz/targets/fuzz_answers.h"
#include "letterlock/addr.h"
#include "letterlock/srs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW ((int64_t)20000 * 86400)

static void check_forward(struct ll_slice secret, struct ll_slice sender)
{
    struct ll_buf out = LL_BUF(1024), back = LL_BUF(1024);
    struct ll_mailbox m, made;
    struct ll_slice local;

    if (ll_mailbox_parse(sender, true, &m) != LL_ADDR_OK || m.n == 0 ||
        ll_srs_forward(secret, ll_mailbox_text(&m), LL_LIT("f.test"), NOW, &out) != LL_SRS_OK)
        goto out;
    local = ll_slice_cut(ll_buf_slice(&out), 0, ll_slice_rfind(ll_buf_slice(&out), '@'));
    CHECK(local.n <= LL_LOCAL_MAX && ll_srs_is(local));
    CHECK(ll_mailbox_parse(ll_buf_slice(&out), false, &made) == LL_ADDR_OK);
    CHECK(ll_srs_reverse(secret, local, NOW, &back) == LL_SRS_OK);
    CHECK(ll_srs_is(ll_mailbox_local(&m)) || ll_slice_eq(ll_buf_slice(&back), ll_mailbox_text(&m)));
out:
    ll_buf_release(&out);
    ll_buf_release(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ll_slice in = ll_slice(data, size);
    struct ll_buf out = LL_BUF(1024);

    check_forward(LL_LIT("0123456789abcdef"), in);
    CHECK(ll_srs_reverse(LL_LIT("a secret that no input knows"), in, NOW, &out) != LL_SRS_OK);
    CHECK(out.n == 0);
    ll_buf_release(&out);
    return 0;
}
