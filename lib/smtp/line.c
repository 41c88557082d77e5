/* Lines and the one error table. See include/letterlock/smtp.h. */
#include "letterlock/smtp.h"

static const struct ll_smtp_error_info errors[] = {
#define ROW(id, code, enhanced, text) [LL_SMTP_##id] = {code, enhanced, text},
    LL_SMTP_ERRORS(ROW)
#undef ROW
};

const struct ll_smtp_error_info *ll_smtp_error_info(enum ll_smtp_error e)
{
    return &errors[(size_t)e < LL_COUNT(errors) ? e : LL_SMTP_UNKNOWN];
}

static enum ll_smtp_line bad(enum ll_smtp_error why, size_t n, size_t *ret_n,
                             enum ll_smtp_error *ret_error)
{
    *ret_n = n;
    *ret_error = why;
    return LL_SMTP_LINE_BAD;
}

/* The offending octet is the first one that breaks the rule: for a CR without LF that is the octet
 * behind the CR, which is not taken (it may begin something), so *ret_n stops before it. */
enum ll_smtp_line ll_smtp_line(struct ll_slice in, bool *cr, size_t *ret_n,
                               enum ll_smtp_error *ret_error)
{
    const uint8_t *lf;
    const uint8_t *first_cr;
    const uint8_t *nul;
    size_t n;

    if (in.n == 0) {
        *ret_n = 0;
        return LL_SMTP_LINE_PART;
    }
    if (*cr) {
        *cr = false;
        if (in.p[0] != '\n')
            return bad(LL_SMTP_BARE_CR, 0, ret_n, ret_error);
        *ret_n = 1;
        return LL_SMTP_LINE_END;
    }
    lf = memchr(in.p, '\n', in.n);
    n = lf ? (size_t)(lf - in.p) + 1 : in.n;
    first_cr = memchr(in.p, '\r', n);
    nul = memchr(in.p, 0, first_cr ? (size_t)(first_cr - in.p) : n);
    if (nul)
        return bad(LL_SMTP_NUL, (size_t)(nul - in.p) + 1, ret_n, ret_error);
    if (!first_cr) {
        if (lf)
            return bad(LL_SMTP_BARE_LF, n, ret_n, ret_error);
        *ret_n = n;
        return LL_SMTP_LINE_PART;
    }
    if (first_cr + 1 == in.p + in.n) {
        *cr = true;
        *ret_n = in.n;
        return LL_SMTP_LINE_PART;
    }
    if (first_cr[1] != '\n')
        return bad(LL_SMTP_BARE_CR, (size_t)(first_cr - in.p) + 1, ret_n, ret_error);
    *ret_n = n;
    return LL_SMTP_LINE_END;
}
