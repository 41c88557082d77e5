/*
 * What the keeper may be asked to sign. The first octet chooses the side. Checked: a text is never
 * good for both sides, an accepted one has the length and the marks that its kind must have, one
 * octet more or fewer makes it something else, and nothing is signed with an old hash.
 */
#include <stdint.h>
#include <stdlib.h>

#include "daemon/keeper/check.h"

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_kind(enum ll_sign_text kind, struct ll_slice text, bool server)
{
    switch (kind) {
    case LL_SIGN_NONE:
        break;
    case LL_SIGN_TLS13_SERVER:
    case LL_SIGN_TLS13_CLIENT:
        CHECK(server == (kind == LL_SIGN_TLS13_SERVER));
        CHECK(text.n == 64 + 33 + 1 + 32 || text.n == 64 + 33 + 1 + 48);
        CHECK(text.p[0] == ' ' && text.p[63] == ' ' && text.p[64] == 'T' && text.p[97] == 0);
        break;
    case LL_SIGN_TLS12_KEY_EXCHANGE:
        CHECK(server && text.n >= 64 + 4 + 32 && text.n <= 64 + 4 + 97 && text.p[64] == 3);
        break;
    case LL_SIGN_TLS12_CLIENT:
        CHECK(!server && text.n >= 3 * 4 + 2 * 38 && text.p[0] == 1);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    bool server = data[0] & 1;
    struct ll_slice text = ll_slice(data + 1, size - 1);
    enum ll_sign_text kind = ll_sign_text(text, server);
    check_kind(kind, text, server);
    if (kind != LL_SIGN_NONE) {
        CHECK(ll_sign_text(text, !server) == LL_SIGN_NONE);
        CHECK(ll_sign_text(ll_slice(text.p, text.n - 1), server) == LL_SIGN_NONE);
    }
    for (enum ll_key_type k = LL_KEY_P256; k <= LL_KEY_RSA; k++) {
        CHECK(!ll_sign_scheme_ok(k, kind, 0x0201) && !ll_sign_scheme_ok(k, kind, 0x0203));
        CHECK(kind != LL_SIGN_NONE || !ll_sign_scheme_ok(k, kind, 0x0403));
    }
    return 0;
}
