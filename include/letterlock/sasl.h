/*
 * sasl: the mechanisms PLAIN (RFC 4616) and LOGIN (draft-murchison-sasl-login), both sides, in the
 * form in which SMTP carries them (RFC 4954 4): lines of base64 without CR LF.
 *
 * Server:
 *
 *     ll_sasl_server_init(&s, mech);
 *     step = ll_sasl_server_start(&s, has_initial, initial, &challenge);
 *     while (step == LL_SASL_CHALLENGE) {
 *         ... send "334 " and the challenge, read a line ...
 *         step = ll_sasl_server_line(&s, line, &challenge);
 *     }
 *     if (step == LL_SASL_CREDENTIALS) ... ask whether s.user may use s.password ...
 *     ll_sasl_server_release(&s);
 *
 * Client: ll_sasl_client_init, then _start for the initial response, then _answer for each 334.
 *
 * Secrets: user and password are wiped by the release functions; buffers that the caller passes
 * hold base64 of them and are the caller's to wipe (ll_buf_wipe).
 */
#ifndef LETTERLOCK_SASL_H
#define LETTERLOCK_SASL_H

#include "letterlock/base.h"

#define LL_SASL_USER_MAX     255  /* octets, as RFC 4616 2 asks servers to take at least */
#define LL_SASL_PASSWORD_MAX 1023 /* octets: pass phrases and tokens, still one small buffer */
#define LL_SASL_LINE_MAX     2400 /* octets of base64 that hold the longest PLAIN message */

enum ll_sasl_mech {
    LL_SASL_PLAIN,
    LL_SASL_LOGIN,
    LL_SASL_MECHS /* their number */
};

/* The mechanism's registered name: "PLAIN". */
struct ll_slice ll_sasl_mech_name(enum ll_sasl_mech);
/* The mechanism of this name in any case; false, and *ret untouched, where there is none. */
bool ll_sasl_mech_find(struct ll_slice name, enum ll_sasl_mech *ret);

enum ll_sasl_step {
    LL_SASL_CHALLENGE,   /* 334 with the challenge (base64, may be empty); a line must follow */
    LL_SASL_CREDENTIALS, /* user and password are known: ask whether they are right */
    LL_SASL_CANCELLED,   /* the client sent "*": 501 5.7.0 */
    LL_SASL_MALFORMED,   /* no base64, wrong count of NULs, empty name, too long: 501 5.5.2 */
    LL_SASL_REFUSED,     /* wants to act as somebody else (authzid): 535 5.7.8 */
    LL_SASL_RESOURCE     /* no memory: 454 4.7.0 */
};

/* ---- server ------------------------------------------------------------------------------ */

struct ll_sasl_server {
    enum ll_sasl_mech mech;
    bool has_user;          /* LOGIN: the next line is the password */
    struct ll_buf user;     /* well-formed UTF-8, no NUL, 1..LL_SASL_USER_MAX octets */
    struct ll_buf password; /* well-formed UTF-8, no NUL, 1..LL_SASL_PASSWORD_MAX octets */
};

void ll_sasl_server_init(struct ll_sasl_server *, enum ll_sasl_mech);
/* Wipes and frees; may be called twice. */
void ll_sasl_server_release(struct ll_sasl_server *);
/* Begins. initial: what stood behind the mechanism's name in AUTH, still in base64; "=" is the
 * empty response (RFC 4954 4). has_initial false: nothing stood there. challenge is cleared and
 * then filled when LL_SASL_CHALLENGE is returned. Anything but CHALLENGE ends the exchange. */
enum ll_sasl_step ll_sasl_server_start(struct ll_sasl_server *, bool has_initial,
                                       struct ll_slice initial, struct ll_buf *challenge);
/* Takes the client's next line, without CR LF. */
enum ll_sasl_step ll_sasl_server_line(struct ll_sasl_server *, struct ll_slice line,
                                      struct ll_buf *challenge);

/* ---- client ------------------------------------------------------------------------------ */

struct ll_sasl_client {
    enum ll_sasl_mech mech;
    unsigned sent; /* responses sent */
    struct ll_slice user;
    struct ll_slice password;
};

/* user and password are borrowed until the exchange is over. */
void ll_sasl_client_init(struct ll_sasl_client *, enum ll_sasl_mech, struct ll_slice user,
                         struct ll_slice password);
/* True when the mechanism speaks first: appends its initial response in base64 to out (PLAIN).
 * A caller that cannot send it with AUTH sends it with _answer to the empty challenge instead and
 * does not call this. */
bool ll_sasl_client_start(struct ll_sasl_client *, struct ll_buf *out);
/* Appends the answer to a challenge (base64, as it stood behind 334). False: the server asks for
 * more than the mechanism has; send "*" and give up. */
bool ll_sasl_client_answer(struct ll_sasl_client *, struct ll_slice challenge, struct ll_buf *out);

#endif
