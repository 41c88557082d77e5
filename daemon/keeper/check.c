/* See check.h. */
#include "daemon/keeper/check.h"

/* RFC 8446 4.4.3: 64 spaces, context string, NUL, transcript hash. */
static bool is_tls13(struct ll_slice text, struct ll_slice context)
{
    if (text.n < 64)
        return false;
    for (size_t i = 0; i < 64; i++)
        if (text.p[i] != 0x20)
            return false;
    struct ll_slice rest = ll_slice_skip(text, 64);
    if (!ll_slice_starts(rest, context))
        return false;
    rest = ll_slice_skip(rest, context.n);
    /* SHA-256 and SHA-384: the hashes of the cipher suites */
    return (rest.n == 1 + 32 || rest.n == 1 + 48) && rest.p[0] == 0;
}

/* RFC 8422 5.4: groups and the octets of their points. */
static const struct {
    uint16_t group;
    uint8_t octets;
    bool sec1; /* uncompressed point: begins with 4 */
} groups[] = {
    {0x0017, 65, true},  /* secp256r1 */
    {0x0018, 97, true},  /* secp384r1 */
    {0x001d, 32, false}, /* x25519 */
    {0x001e, 56, false}, /* x448 */
};

static bool is_tls12_key_exchange(struct ll_slice text)
{
    struct ll_cursor c = ll_cursor(text);
    ll_cur_bytes(&c, 64); /* client_random, server_random */
    uint8_t curve_type = ll_cur_u8(&c);
    uint16_t group = ll_cur_u16(&c);
    struct ll_slice point = ll_cur_bytes(&c, ll_cur_u8(&c));
    if (!ll_cur_end(&c) || curve_type != 3 || point.n == 0) /* named_curve */
        return false;
    for (size_t i = 0; i < LL_COUNT(groups); i++)
        if (groups[i].group == group)
            return point.n == groups[i].octets && (!groups[i].sec1 || point.p[0] == 4);
    return false;
}

/* RFC 5246 7.4.8: the handshake messages from ClientHello to ClientKeyExchange, whole. */
static bool is_tls12_client(struct ll_slice text)
{
    enum { CLIENT_HELLO = 1, SERVER_HELLO = 2, CLIENT_KEY_EXCHANGE = 16 };
    struct ll_cursor c = ll_cursor(text);
    uint8_t last = 0;
    for (size_t i = 0; ll_cur_left(&c) > 0; i++) {
        uint8_t type = ll_cur_u8(&c);
        size_t n = (size_t)ll_cur_u8(&c) << 16;
        n |= ll_cur_u16(&c);
        struct ll_slice body = ll_cur_bytes(&c, n);
        if (c.failed || last == CLIENT_KEY_EXCHANGE)
            return false;
        if (i < 2 && (type != (i == 0 ? CLIENT_HELLO : SERVER_HELLO) || body.n < 38 ||
                      body.p[0] != 3 || body.p[1] != 3))
            return false;
        last = type;
    }
    return ll_cur_end(&c) && last == CLIENT_KEY_EXCHANGE;
}

enum ll_sign_text ll_sign_text(struct ll_slice text, bool server_side)
{
    if (server_side) {
        if (is_tls13(text, LL_LIT("TLS 1.3, server CertificateVerify")))
            return LL_SIGN_TLS13_SERVER;
        return is_tls12_key_exchange(text) ? LL_SIGN_TLS12_KEY_EXCHANGE : LL_SIGN_NONE;
    }
    if (is_tls13(text, LL_LIT("TLS 1.3, client CertificateVerify")))
        return LL_SIGN_TLS13_CLIENT;
    return is_tls12_client(text) ? LL_SIGN_TLS12_CLIENT : LL_SIGN_NONE;
}

enum { P256 = 1 << LL_KEY_P256, P384 = 1 << LL_KEY_P384, RSA = 1 << LL_KEY_RSA };

/* RFC 8446 4.2.3; under TLS 1.2 the ECDSA numbers name the hash alone (RFC 8422 5.1.3). */
static const struct {
    uint16_t scheme;
    uint8_t tls12, tls13; /* key types */
} schemes[] = {
    {0x0401, RSA, 0},
    {0x0501, RSA, 0},
    {0x0601, RSA, 0}, /* PKCS #1 */
    {0x0403, P256 | P384, P256},
    {0x0503, P256 | P384, P384},
    {0x0603, P256 | P384, 0}, /* ECDSA */
    {0x0804, RSA, RSA},
    {0x0805, RSA, RSA},
    {0x0806, RSA, RSA}, /* PSS */
};

bool ll_sign_scheme_ok(enum ll_key_type key, enum ll_sign_text text, uint16_t scheme)
{
    bool tls13 = text == LL_SIGN_TLS13_SERVER || text == LL_SIGN_TLS13_CLIENT;
    if (text == LL_SIGN_NONE)
        return false;
    for (size_t i = 0; i < LL_COUNT(schemes); i++)
        if (schemes[i].scheme == scheme)
            return ((tls13 ? schemes[i].tls13 : schemes[i].tls12) >> key) & 1;
    return false;
}
