/*
 * A message as one process gets it from another that may be hostile: octets sender, receiver, type
 * (two), then the body. What is taken must encode to the same octets again.
 */
#include "daemon/msg.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ll_cursor c = ll_cursor(ll_slice(data, size));
    enum ll_role from = (enum ll_role)(ll_cur_u8(&c) % (LL_ROLE_COUNT + 1));
    enum ll_role to = (enum ll_role)(ll_cur_u8(&c) % (LL_ROLE_COUNT + 1));
    uint16_t type = ll_cur_u16(&c);
    struct ll_frame f = {type, 1, ll_cur_bytes(&c, ll_cur_left(&c)), -1};
    struct ll_buf out = LL_BUF(LL_IPC_FRAME_MAX);
    struct ll_msg m;

    if (!c.failed && f.body.n <= LL_IPC_FRAME_MAX && ll_msg_decode(&f, from, to, &m) == 0) {
        if (!ll_msg_allowed(m.type, from, to) || !ll_msg_channel(from, to))
            abort();
        ll_msg_encode(&m, &out);
        if (out.failed || !ll_slice_eq(ll_buf_slice(&out), f.body))
            abort();
    }
    ll_buf_release(&out);
    return 0;
}
