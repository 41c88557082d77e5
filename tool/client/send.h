/*
 * send: what `letterlock send` knows, and how letters find their servers.
 */
#ifndef LL_TOOL_CLIENT_SEND_H
#define LL_TOOL_CLIENT_SEND_H

#include "letterlock/addr.h"
#include "tool/client/session.h"
#include "tool/tool.h"

#define LL_SEND_LETTER_MAX (256u << 20) /* octets read */
#define LL_SEND_PINS_MAX   8

struct ll_send {
    /* as asked */
    const char *server, *user, *tls_word, *ca, *from_text;
    struct ll_password_from from_where;
    struct ll_resolver_from resolver;
    struct ll_words pins;
    int64_t mx_port;
    bool insecure, from_header, dry_run, json;
    /* what follows */
    struct ll_slice host; /* with --server */
    uint16_t port;
    enum ll_smtpc_tls tls;
    struct ll_tls_client *client;
    uint8_t pin[LL_SEND_PINS_MAX][LL_TLS_PIN];
    size_t n_pin;
    struct ll_buf password;
    char own_name[256]; /* "" where this machine has none that is good for EHLO */
    /* the letter */
    struct ll_buf text; /* wire form */
    struct ll_mailbox from;
    bool eightbit, smtputf8;
    struct ll_sent *rcpt;
    size_t n_rcpt;
    struct ll_arena arena;
};

/* Carries the letter; each recipient's result is known then. 0, or a status where nothing could be
 * tried. */
int ll_send_all(struct ll_send *);
/* Says what ll_send_all would do. */
int ll_send_plan(struct ll_send *);

#endif
