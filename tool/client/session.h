/*
 * session: one SMTP session of letterlock(1), blocking: connects, drives the client engine
 * (letterlock/smtpc.h) with TLS (io/tls.h) and carries one letter.
 */
#ifndef LL_TOOL_CLIENT_SESSION_H
#define LL_TOOL_CLIENT_SESSION_H

#include "io/tls.h"
#include "letterlock/smtpc.h"
#include "tool/client/local.h"
#include "tool/client/resolve.h"

#define LL_SESSION_CONNECT_MS 30000 /* for each address */

struct ll_session_conf {
    struct ll_slice host;         /* the server's name: SNI, and what its certificate must prove */
    const struct ll_endpoint *at; /* tried in this order */
    size_t n_at;
    enum ll_smtpc_tls tls;
    struct ll_tls_client *client; /* NULL with LL_SMTPC_TLS_NONE alone */
    const uint8_t (*pins)[LL_TLS_PIN];
    size_t n_pins;
    struct ll_slice user, password;
    struct ll_slice own_name; /* for EHLO; empty: the address literal of our end */
    struct ll_local *local;   /* connected already: nothing above but own_name counts */
};

/* How it ended for one recipient. */
struct ll_sent {
    struct ll_slice address; /* the caller's */
    bool known;              /* the fields below say how it ended */
    enum ll_smtpc_outcome outcome;
    enum ll_smtpc_phase phase;
    uint16_t code;
    uint16_t enhanced[3];
    char text[LL_SMTPC_TEXT_MAX + 1];
    char host[300]; /* "mx.example.org [192.0.2.1]:25"; "" where none was reached */
    char tls[128];  /* "TLSv1.3 TLS_AES_256_GCM_SHA384, verified mx.example.org"; "" in clear */
};

struct ll_session_letter {
    struct ll_slice reverse_path;
    struct ll_slice content; /* wire form */
    bool eightbit, smtputf8;
    struct ll_slice notify, ret, envid; /* RFC 3461, sent where the server offers DSN */
    struct ll_sent *rcpt;               /* those with known set are left out */
    size_t n_rcpt;
};

/* Carries the letter to all recipients that are not known yet, as far as this server lets it.
 * Recipients that the session did not come to stay unknown. True: the session itself held; false:
 * it failed, and *ret_failed says how (address empty): another server may be tried. */
bool ll_session_send(const struct ll_session_conf *, const struct ll_session_letter *,
                     struct ll_sent *ret_failed);

#endif
