/* AUTH at the server (RFC 4954; PLAIN: RFC 4616; LOGIN). See include/letterlock/smtpd.h. */
#include "server.h"

#include <stdlib.h>

#define USER_MAX     320  /* octets of a login name */
#define PASSWORD_MAX 1024 /* octets */

void srv_auth_forget(struct ll_smtpd *s)
{
    if (!s->auth)
        return;
    ll_buf_wipe(&s->auth->user);
    ll_buf_wipe(&s->auth->password);
    explicit_bzero(s->auth, sizeof(*s->auth));
    free(s->auth);
    s->auth = NULL;
}

/* A fault in the exchange: it is over, and counts. */
static void auth_fault(struct ll_smtpd *s, unsigned code, const char *enhanced, const char *text)
{
    srv_auth_forget(s);
    s->state = ST_COMMAND;
    srv_refuse(s, code, enhanced, text);
}

static bool word_ok(struct ll_slice w, size_t max)
{
    return w.n > 0 && w.n <= max && ll_slice_find(w, 0) == w.n && ll_utf8_valid(w);
}

static void auth_ask(struct ll_smtpd *s, struct ll_slice user, struct ll_slice password)
{
    if (!word_ok(user, USER_MAX) || !word_ok(password, PASSWORD_MAX)) {
        auth_fault(s, 535, "5.7.8", "Bad user name or password");
        return;
    }
    s->auth->user_is = user;
    s->auth->password_is = password;
    srv_ask(s, LL_SMTPD_ASK_AUTH);
}

/* [authzid] NUL authcid NUL passwd. Acting for another is not offered. */
static void plain_message(struct ll_smtpd *s)
{
    struct ll_slice rest = ll_buf_slice(&s->auth->password);
    struct ll_slice part[3];
    struct ll_slice more;
    int n = 0;

    while (n < 3 && ll_slice_next(&rest, 0, &part[n]))
        n++;
    if (n != 3 || ll_slice_next(&rest, 0, &more)) {
        auth_fault(s, 501, "5.5.2", "Bad PLAIN message");
        return;
    }
    if (part[0].n > 0 && !ll_slice_eq(part[0], part[1])) {
        auth_fault(s, 535, "5.7.8", "Acting for another user is not offered");
        return;
    }
    auth_ask(s, part[1], part[2]);
}

/* A decoded message of the client. */
static void auth_message(struct ll_smtpd *s, struct ll_slice base64)
{
    struct auth *a = s->auth;
    struct ll_buf *to = a->plain || a->user.n > 0 ? &a->password : &a->user;

    to->max = LL_SMTP_AUTH_MAX;
    if (base64.n > 0 && !ll_buf_room(to, base64.n)) { /* at once: no copies are left behind */
        auth_fault(s, 454, "4.7.0", "Temporary authentication failure");
    } else if (!ll_base64_decode(to, base64)) {
        auth_fault(s, 501, "5.5.2", "Bad base64");
    } else if (a->plain) {
        plain_message(s);
    } else if (to == &a->password) {
        auth_ask(s, ll_buf_slice(&a->user), ll_buf_slice(&a->password));
    } else if (to->n == 0) {
        auth_fault(s, 535, "5.7.8", "Bad user name or password");
    } else {
        srv_reply(s, 334, NULL, "UGFzc3dvcmQ6"); /* Password: */
    }
}

void srv_auth_line(struct ll_smtpd *s, struct ll_slice line)
{
    if (ll_slice_eq(line, LL_LIT("*")))
        auth_fault(s, 501, "5.7.0", "Authentication cancelled");
    else
        auth_message(s, line);
}

void srv_auth_command(struct ll_smtpd *s, struct ll_slice args)
{
    size_t space = ll_slice_find(args, ' ');
    struct ll_slice mechanism = ll_slice_cut(args, 0, space);
    struct ll_slice initial = ll_slice_skip(args, space + 1);
    bool plain = ll_slice_caseeq(mechanism, LL_LIT("PLAIN"));

    if (s->conf->kind != LL_SMTPD_SUBMISSION) {
        srv_refuse(s, 502, "5.5.1", "AUTH is not offered");
    } else if (!s->has_tls) {
        srv_refuse(s, 538, "5.7.11", "Encryption required for a login");
    } else if (s->user.n > 0 || s->t) {
        srv_refuse(s, 503, "5.5.1", "AUTH is not allowed now");
    } else if (!plain && !ll_slice_caseeq(mechanism, LL_LIT("LOGIN"))) {
        srv_refuse(s, 504, "5.5.4", "Mechanism not offered");
    } else {
        s->auth = calloc(1, sizeof(*s->auth));
        if (!s->auth) {
            srv_reply(s, 454, "4.7.0", "Temporary authentication failure");
            return;
        }
        s->auth->plain = plain;
        s->state = ST_AUTH;
        if (space < args.n)
            auth_message(s, ll_slice_eq(initial, LL_LIT("=")) ? ll_slice(NULL, 0) : initial);
        else
            srv_reply(s, 334, NULL, plain ? "" : "VXNlcm5hbWU6"); /* Username: */
    }
}
