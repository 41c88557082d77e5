/* The arguments of MAIL and RCPT. See include/letterlock/smtp.h. */
#include "letterlock/smtp.h"

struct args {
    struct ll_smtp_mail *mail; /* one of the two */
    struct ll_smtp_rcpt *rcpt;
    bool utf8; /* SMTPUTF8 was given with MAIL */
};

/* ---- the parameters' values ---------------------------------------------------------------------
 */

static bool xtext_ok(struct ll_slice s)
{
    struct ll_buf out = LL_BUF(LL_SMTP_ORCPT_MAX);
    bool ok = ll_xtext_decode(s, &out);

    ll_buf_release(&out);
    return ok;
}

static enum ll_smtp_error size_read(struct ll_slice v, struct args *a)
{
    if (v.n > 20 || !ll_slice_u64(v, &a->mail->size))
        return LL_SMTP_PARAMETER;
    a->mail->size_given = true;
    return LL_SMTP_OK;
}

static enum ll_smtp_error body_read(struct ll_slice v, struct args *a)
{
    if (ll_slice_caseeq(v, LL_LIT("7BIT")))
        a->mail->body = LL_SMTP_BODY_7BIT;
    else if (ll_slice_caseeq(v, LL_LIT("8BITMIME")))
        a->mail->body = LL_SMTP_BODY_8BITMIME;
    else
        return ll_slice_caseeq(v, LL_LIT("BINARYMIME")) ? LL_SMTP_BINARY : LL_SMTP_BODY_TYPE;
    return LL_SMTP_OK;
}

static enum ll_smtp_error utf8_read(struct ll_slice v, struct args *a)
{
    if (v.p)
        return LL_SMTP_PARAMETER;
    a->mail->utf8 = true;
    return LL_SMTP_OK;
}

static enum ll_smtp_error auth_read(struct ll_slice v, struct args *a)
{
    if (v.n == 0 || v.n > LL_SMTP_ORCPT_MAX || !xtext_ok(v))
        return LL_SMTP_PARAMETER;
    a->mail->auth = v;
    return LL_SMTP_OK;
}

static enum ll_smtp_error ret_read(struct ll_slice v, struct args *a)
{
    if (ll_slice_caseeq(v, LL_LIT("FULL")))
        a->mail->ret = LL_SMTP_RET_FULL;
    else if (ll_slice_caseeq(v, LL_LIT("HDRS")))
        a->mail->ret = LL_SMTP_RET_HDRS;
    else
        return LL_SMTP_PARAMETER;
    return LL_SMTP_OK;
}

static enum ll_smtp_error envid_read(struct ll_slice v, struct args *a)
{
    if (v.n == 0 || v.n > LL_SMTP_ENVID_MAX || !xtext_ok(v))
        return LL_SMTP_PARAMETER;
    a->mail->envid = v;
    return LL_SMTP_OK;
}

static enum ll_smtp_error notify_read(struct ll_slice v, struct args *a)
{
    static const struct {
        const char *word;
        unsigned bit;
    } words[] = {
        {"NEVER", LL_SMTP_NOTIFY_NEVER},
        {"SUCCESS", LL_SMTP_NOTIFY_SUCCESS},
        {"FAILURE", LL_SMTP_NOTIFY_FAILURE},
        {"DELAY", LL_SMTP_NOTIFY_DELAY},
    };
    struct ll_slice word;
    unsigned got = 0;

    if (v.n == 0 || v.p[v.n - 1] == ',')
        return LL_SMTP_PARAMETER;
    while (ll_slice_next(&v, ',', &word)) {
        size_t i = 0;

        while (i < LL_COUNT(words) && !ll_slice_caseeq(word, ll_slice_str(words[i].word)))
            i++;
        if (i == LL_COUNT(words) || (got & words[i].bit))
            return LL_SMTP_PARAMETER;
        got |= words[i].bit;
    }
    if ((got & LL_SMTP_NOTIFY_NEVER) && got != LL_SMTP_NOTIFY_NEVER)
        return LL_SMTP_PARAMETER;
    a->rcpt->notify = got;
    return LL_SMTP_OK;
}

static enum ll_smtp_error orcpt_read(struct ll_slice v, struct args *a)
{
    if (!ll_orcpt_ok(v, a->utf8))
        return LL_SMTP_PARAMETER;
    a->rcpt->orcpt = v;
    return LL_SMTP_OK;
}

/* The one list of ESMTP parameters. */
static const struct {
    const char *name;
    bool of_mail; /* else of RCPT */
    unsigned ext;
    enum ll_smtp_error (*read)(struct ll_slice value, struct args *);
} params[] = {
    {"SIZE", true, LL_SMTP_EXT_SIZE, size_read},
    {"BODY", true, LL_SMTP_EXT_8BITMIME, body_read},
    {"SMTPUTF8", true, LL_SMTP_EXT_SMTPUTF8, utf8_read},
    {"AUTH", true, LL_SMTP_EXT_AUTH, auth_read},
    {"RET", true, LL_SMTP_EXT_DSN, ret_read},
    {"ENVID", true, LL_SMTP_EXT_DSN, envid_read},
    {"NOTIFY", false, LL_SMTP_EXT_DSN, notify_read},
    {"ORCPT", false, LL_SMTP_EXT_DSN, orcpt_read},
};

/* ---- the line
 * ------------------------------------------------------------------------------------- */

static enum ll_smtp_error param_read(struct ll_slice word, unsigned exts, struct args *a,
                                     unsigned *seen)
{
    size_t eq = ll_slice_find(word, '=');
    struct ll_slice name = ll_slice_cut(word, 0, eq);
    struct ll_slice value = ll_slice(NULL, 0);

    if (eq < word.n)
        value = ll_slice(word.p + eq + 1, word.n - eq - 1);
    if (name.n == 0 || !ll_is_alnum(name.p[0]))
        return LL_SMTP_PARAMETER;
    for (size_t i = 0; i < name.n; i++) {
        if (!ll_is_alnum(name.p[i]) && name.p[i] != '-')
            return LL_SMTP_PARAMETER;
    }
    if (eq < word.n && value.n == 0)
        return LL_SMTP_PARAMETER;
    for (size_t i = 0; i < value.n; i++) {
        if ((!ll_is_print(value.p[i]) && !(a->utf8 && value.p[i] > 0x7f)) || value.p[i] == '=')
            return LL_SMTP_PARAMETER;
    }
    for (size_t i = 0; i < LL_COUNT(params); i++) {
        if (params[i].of_mail != (a->mail != NULL) || !(params[i].ext & exts) ||
            !ll_slice_caseeq(name, ll_slice_str(params[i].name)))
            continue;
        if (*seen & (1u << i))
            return LL_SMTP_PARAMETER_TWICE;
        *seen |= 1u << i;
        return params[i].read(value, a);
    }
    return LL_SMTP_PARAMETER_UNKNOWN;
}

static enum ll_smtp_error params_read(struct ll_slice rest, unsigned exts, struct args *a)
{
    struct ll_slice word;
    unsigned seen = 0;

    if (rest.n > 0 && rest.p[0] != ' ')
        return a->mail ? LL_SMTP_PATH_SENDER : LL_SMTP_PATH;
    while (ll_slice_next(&rest, ' ', &word)) {
        enum ll_smtp_error e = LL_SMTP_OK;

        if (word.n > 0)
            e = param_read(word, exts, a, &seen);
        if (e)
            return e;
    }
    return LL_SMTP_OK;
}

/* "FROM:" or "TO:" and the path. Blanks around are let through: they are common, and harmless. */
static enum ll_smtp_error path_read(struct ll_slice *args, const char *word, enum ll_smtp_error bad,
                                    bool utf8, struct ll_mailbox *ret)
{
    struct ll_slice in = ll_slice_trim(*args);
    struct ll_slice lead = ll_slice_str(word);
    enum ll_addr_error e;
    size_t used;

    if (!ll_slice_casestarts(in, lead))
        return LL_SMTP_ARGUMENT;
    in = ll_slice_trim(ll_slice_skip(in, lead.n));
    e = ll_path_parse(in, utf8, ret, &used);
    if (e == LL_ADDR_ROUTE)
        return LL_SMTP_ROUTE;
    if (e == LL_ADDR_NEEDS_UTF8)
        return LL_SMTP_NEEDS_UTF8;
    if (e)
        return bad;
    *args = ll_slice_skip(in, used);
    return LL_SMTP_OK;
}

enum ll_smtp_error ll_smtp_mail_parse(struct ll_slice line, unsigned exts, struct ll_smtp_mail *ret)
{
    struct ll_smtp_mail mail = {0};
    struct args a = {.mail = &mail};
    struct ll_slice rest = line;
    enum ll_smtp_error e;

    e = path_read(&rest, "FROM:", LL_SMTP_PATH_SENDER, exts & LL_SMTP_EXT_SMTPUTF8, &mail.from);
    if (!e && !ll_mailbox_null(&mail.from) && mail.from.kind == LL_DOMAIN_NONE)
        e = LL_SMTP_PATH_SENDER;
    if (!e)
        e = params_read(rest, exts, &a);
    if (!e && !mail.utf8 && !ll_is_ascii(line))
        e = LL_SMTP_NEEDS_UTF8;
    if (!e)
        *ret = mail;
    return e;
}

enum ll_smtp_error ll_smtp_rcpt_parse(struct ll_slice line, unsigned exts, bool utf8,
                                      struct ll_smtp_rcpt *ret)
{
    struct ll_smtp_rcpt rcpt = {0};
    struct args a = {.rcpt = &rcpt, .utf8 = utf8 && (exts & LL_SMTP_EXT_SMTPUTF8)};
    struct ll_slice rest = line;
    enum ll_smtp_error e;

    e = path_read(&rest, "TO:", LL_SMTP_PATH, a.utf8, &rcpt.to);
    if (!e && ll_mailbox_null(&rcpt.to))
        e = LL_SMTP_PATH;
    if (!e)
        e = params_read(rest, exts, &a);
    if (!e)
        *ret = rcpt;
    return e;
}
