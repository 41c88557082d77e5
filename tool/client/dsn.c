/* What a sender asks of reports (RFC 3461): options of letterlock send and sendmail. See send.h. */
#include "tool/client/send.h"

#include "letterlock/smtp.h"

#include <strings.h>

int ll_send_notify(struct ll_send *s, const char *option, const char *value)
{
    static const char *const words[] = {"never", "success", "failure", "delay"};
    struct ll_slice rest = ll_slice_str(value), one;
    bool seen[LL_COUNT(words)] = {false};
    size_t n = 0;
    bool ok = value[0] && value[strlen(value) - 1] != ',';

    while (ok && ll_slice_next(&rest, ',', &one)) {
        size_t i = 0;

        while (i < LL_COUNT(words) && !ll_slice_caseeq(one, ll_slice_str(words[i])))
            i++;
        ok = i < LL_COUNT(words) && !seen[i];
        if (ok)
            seen[i] = true;
        n++;
    }
    if (!ok || (seen[0] && n > 1))
        return ll_fail(EX_USAGE, "%s %s: never, or a list of success, failure, delay", option,
                       value);
    s->notify = value;
    return 0;
}

int ll_send_return(struct ll_send *s, const char *option, const char *value)
{
    bool full = strcasecmp(value, "full") == 0;

    if (!full && strcasecmp(value, "hdrs") != 0)
        return ll_fail(EX_USAGE, "%s %s: full or hdrs", option, value);
    s->ret = full ? "FULL" : "HDRS";
    return 0;
}

int ll_send_envid(struct ll_send *s, const char *option, const char *value)
{
    struct ll_slice text = ll_slice_str(value);

    ll_buf_release(&s->envid);
    ll_buf_init(&s->envid, LL_SMTP_ENVID_MAX);
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] < ' ' || text.p[i] > '~')
            return ll_fail(EX_USAGE, "%s: printable ASCII alone", option);
    ll_xtext_encode(text, &s->envid);
    if (s->envid.failed || text.n == 0)
        return ll_fail(EX_USAGE, "%s: 1 to %d characters", option, LL_SMTP_ENVID_MAX);
    return 0;
}
