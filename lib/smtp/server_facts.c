/* What the driver may ask of a session. See include/letterlock/smtpd.h. */
#include "server.h"

bool ll_smtpd_asking(const struct ll_smtpd *s)
{
    return s->ask != LL_SMTPD_NONE;
}

bool ll_smtpd_closed(const struct ll_smtpd *s)
{
    return s->state == ST_CLOSED;
}

bool ll_smtpd_in_letter(const struct ll_smtpd *s)
{
    return s->state == ST_DATA || s->state == ST_BDAT || s->state == ST_SKIP;
}

void ll_smtpd_trust(struct ll_smtpd *s, bool trusted)
{
    s->trusted = trusted;
}

struct ll_slice ll_smtpd_helo(const struct ll_smtpd *s)
{
    return ll_buf_slice(&s->helo);
}

bool ll_smtpd_esmtp(const struct ll_smtpd *s)
{
    return s->esmtp;
}

struct ll_slice ll_smtpd_user(const struct ll_smtpd *s)
{
    return ll_buf_slice(&s->user);
}

bool ll_smtpd_set_user(struct ll_smtpd *s, struct ll_slice user)
{
    ll_buf_clear(&s->user);
    ll_buf_put_slice(&s->user, user);
    return !s->user.failed;
}

const struct ll_smtpd_tls *ll_smtpd_tls(const struct ll_smtpd *s)
{
    return s->has_tls ? &s->tls : NULL;
}

const char *ll_smtpd_with(const struct ll_smtpd *s)
{
    static const char *const words[2][2][2] = {
        {{"ESMTP", "ESMTPA"}, {"ESMTPS", "ESMTPSA"}},
        {{"UTF8SMTP", "UTF8SMTPA"}, {"UTF8SMTPS", "UTF8SMTPSA"}},
    };

    if (!s->esmtp)
        return "SMTP";
    return words[s->t && s->t->mail.utf8][s->has_tls][s->user.n > 0];
}

uint32_t ll_smtpd_recipients(const struct ll_smtpd *s)
{
    return s->t ? s->t->recipients : 0;
}

uint32_t ll_smtpd_transactions(const struct ll_smtpd *s)
{
    return s->transactions;
}
