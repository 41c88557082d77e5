/* The server's side of PLAIN and LOGIN: lines divided by LF; the first octet chooses. */
#include <stdint.h>
#include <stdlib.h>

#include "letterlock/sasl.h"

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_kept(const struct ll_buf *b)
{
    CHECK(b->n > 0 && b->n <= b->max);
    CHECK(ll_utf8_valid(ll_buf_slice(b)) && ll_slice_find(ll_buf_slice(b), 0) == b->n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ll_sasl_server s;
    struct ll_buf challenge = LL_BUF(64);
    struct ll_slice rest, line;
    enum ll_sasl_step step;
    bool initial;

    if (size == 0)
        return 0;
    initial = data[0] & 2;
    rest = ll_slice(data + 1, size - 1);
    ll_sasl_server_init(&s, data[0] & 1 ? LL_SASL_LOGIN : LL_SASL_PLAIN);
    ll_slice_next(&rest, '\n', &line);
    step = ll_sasl_server_start(&s, initial, line, &challenge);
    for (unsigned i = 0; step == LL_SASL_CHALLENGE; i++) {
        CHECK(i < 4);
        if (!ll_slice_next(&rest, '\n', &line))
            break;
        step = ll_sasl_server_line(&s, line, &challenge);
    }
    if (step == LL_SASL_CREDENTIALS) {
        check_kept(&s.user);
        check_kept(&s.password);
    }
    ll_sasl_server_release(&s);
    ll_buf_release(&challenge);
    return 0;
}
