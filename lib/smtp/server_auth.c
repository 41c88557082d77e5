/* AUTH at the server (RFC 4954). See include/letterlock/smtpd.h; the mechanisms are lib/sasl's. */
#include "server.h"

#include <stdlib.h>

void srv_auth_forget(struct ll_smtpd *s)
{
    if (!s->auth)
        return;
    ll_sasl_server_release(s->auth);
    free(s->auth);
    s->auth = NULL;
}

/* How an exchange ends that does not come to a question; code 0: it does not end. */
static const struct refusal ends[] = {
    [LL_SASL_CANCELLED] = {501, "5.7.0", "Authentication cancelled"},
    [LL_SASL_MALFORMED] = {501, "5.5.2", "Bad authentication message"},
    [LL_SASL_REFUSED] = {535, "5.7.8", "Acting for another user is not offered"},
    [LL_SASL_RESOURCE] = {454, "4.7.0", "Temporary authentication failure"},
};

static void next_step(struct ll_smtpd *s, enum ll_sasl_step step, struct ll_buf *challenge)
{
    if (step == LL_SASL_CREDENTIALS) {
        srv_ask(s, LL_SMTPD_ASK_AUTH);
    } else if (step == LL_SASL_CHALLENGE && !challenge->failed) {
        s->state = ST_AUTH;
        srv_reply_slice(s, 334, NULL, ll_buf_slice(challenge));
    } else {
        const struct refusal *end = &ends[step == LL_SASL_CHALLENGE ? LL_SASL_RESOURCE : step];

        srv_auth_forget(s);
        s->state = ST_COMMAND;
        srv_refuse(s, end->code, end->enhanced, end->text);
    }
    ll_buf_release(challenge);
}

void srv_auth_line(struct ll_smtpd *s, struct ll_slice line)
{
    struct ll_buf challenge = LL_BUF(LL_SMTP_REPLY_MAX);

    next_step(s, ll_sasl_server_line(s->auth, line, &challenge), &challenge);
}

void srv_auth_command(struct ll_smtpd *s, struct ll_slice args)
{
    size_t space = ll_slice_find(args, ' ');
    struct ll_slice initial = ll_slice_skip(args, space + 1);
    struct ll_buf challenge = LL_BUF(LL_SMTP_REPLY_MAX);
    enum ll_sasl_mech mech;

    if (s->conf->kind != LL_SMTPD_SUBMISSION) {
        srv_refuse(s, 502, "5.5.1", "AUTH is not offered");
    } else if (!s->has_tls) {
        srv_refuse(s, 538, "5.7.11", "Encryption required for a login");
    } else if (s->user.n > 0 || s->t) {
        srv_refuse(s, 503, "5.5.1", "AUTH is not allowed now");
    } else if (!ll_sasl_mech_find(ll_slice_cut(args, 0, space), &mech)) {
        srv_refuse(s, 504, "5.5.4", "Mechanism not offered");
    } else {
        s->auth = calloc(1, sizeof(*s->auth));
        if (!s->auth) {
            srv_reply(s, 454, "4.7.0", "Temporary authentication failure");
            return;
        }
        ll_sasl_server_init(s->auth, mech);
        next_step(s, ll_sasl_server_start(s->auth, space < args.n, initial, &challenge),
                  &challenge);
    }
}
