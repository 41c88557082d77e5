/*
 * check: what the keeper is willing to sign. Pure.
 *
 * A hijacked front or relay can ask for anything; it gets signatures over texts of a handshake that
 * runs now, and over nothing else: no bare digest, no letter, no certificate.
 */
#ifndef LL_DAEMON_KEEPER_CHECK_H
#define LL_DAEMON_KEEPER_CHECK_H

#include "letterlock/base.h"

enum ll_sign_text {
    LL_SIGN_NONE,               /* nothing that the keeper knows: refused */
    LL_SIGN_TLS13_SERVER,       /* RFC 8446 4.4.3 CertificateVerify, server context string */
    LL_SIGN_TLS13_CLIENT,       /* the same, client context string */
    LL_SIGN_TLS12_KEY_EXCHANGE, /* RFC 8422 5.4: randoms and named_curve parameters with a point */
    LL_SIGN_TLS12_CLIENT,       /* RFC 5246 7.4.8: all handshake messages from ClientHello on */
};

/* What is this text? server_side: the asker is a TLS server (else a TLS client); a text of the
 * other side is LL_SIGN_NONE. */
enum ll_sign_text ll_sign_text(struct ll_slice text, bool server_side);

enum ll_key_type { LL_KEY_P256, LL_KEY_P384, LL_KEY_RSA };

/* May a key of this type sign such a text by this SignatureScheme? TLS 1.3 binds hash to curve and
 * wants RSA-PSS; TLS 1.2 takes SHA-256, 384 and 512 with any. SHA-1 and MD5 never. */
bool ll_sign_scheme_ok(enum ll_key_type, enum ll_sign_text, uint16_t scheme);

#endif
