/* Reports made of hostile words: each stays ASCII, in lines, and of exactly three parts. */
#include <stdint.h>
#include <stdlib.h>

#include "letterlock/dsn.h"
#include "letterlock/msg.h"

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct ll_slice s, bool ascii)
{
    struct ll_slice header, body;
    struct ll_msg_facts facts;
    size_t parts = 0, line = 0;

    for (size_t i = 0; i < s.n; i++) {
        CHECK(s.p[i] != 0 && (s.p[i] < 0x80 || !ascii));
        CHECK(s.p[i] != '\n' || (i > 0 && s.p[i - 1] == '\r'));
        CHECK(s.p[i] != '\r' || (i + 1 < s.n && s.p[i + 1] == '\n'));
        line = s.p[i] == '\n' ? 0 : line + 1;
        CHECK(line <= LL_MSG_LINE_MAX + 1);
        parts += ll_slice_starts(ll_slice_skip(s, i), LL_LIT("\r\n--b0undary"));
    }
    CHECK(parts == 4);
    ll_msg_split(s, &header, &body);
    CHECK(ll_msg_facts(header, &facts) == LL_MSG_OK && facts.bad == 0 && facts.fields == 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ll_slice in = ll_slice(data, size), part[5];
    struct ll_dsn_recipient r = {.code = 550, .status = {5, 7, 509}};
    struct ll_dsn d = {.reporting_mta = LL_LIT("mx.example"),
                       .from = LL_LIT("p@mx.example"),
                       .to = LL_LIT("a@x"),
                       .message_id = LL_LIT("<1@mx>"),
                       .boundary = LL_LIT("b0undary"),
                       .recipients = &r,
                       .recipient_count = 1};
    struct ll_buf out = LL_BUF(LL_DSN_MAX);
    unsigned needs = 7;

    if (size == 0)
        return 0;
    for (size_t i = 0; i < 5; i++)
        ll_slice_next(&in, 0xff, &part[i]);
    r.action = (enum ll_dsn_action)(data[0] % LL_DSN_ACTIONS);
    r.address = part[0];
    r.orcpt = part[1];
    r.diagnostic = r.remote_mta = d.envid = part[2];
    d.header = part[3];
    d.content = part[4];
    if (ll_dsn_build(&d, &out, &needs)) {
        CHECK((needs & ~(unsigned)LL_DSN_NEEDS_8BIT) == 0);
        check(ll_buf_slice(&out), needs == 0);
    }
    ll_buf_release(&out);
    return 0;
}
