/* Lines and the one error table. See include/letterlock/smtp.h. */
#include "letterlock/smtp.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

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

/* Octets before the first NUL, LF or CR. Every octet of every letter passes here, so sixteen at a
 * time where the processor can. */
static size_t plain_octets(const uint8_t *p, size_t n)
{
    size_t at = 0;

#if defined(__SSE2__)
    const __m128i nul = _mm_setzero_si128(), lf = _mm_set1_epi8('\n'), cr = _mm_set1_epi8('\r');

    for (; n - at >= sizeof(nul); at += sizeof(nul)) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + at));
        __m128i hit = _mm_or_si128(_mm_cmpeq_epi8(v, nul),
                                   _mm_or_si128(_mm_cmpeq_epi8(v, lf), _mm_cmpeq_epi8(v, cr)));
        unsigned mask = (unsigned)_mm_movemask_epi8(hit);

        if (mask)
            return at + (size_t)__builtin_ctz(mask);
    }
#endif
    while (at < n && p[at] != '\0' && p[at] != '\n' && p[at] != '\r')
        at++;
    return at;
}

/* The offending octet is the first one that breaks the rule: for a CR without LF that is the octet
 * behind the CR, which is not taken (it may begin something), so *ret_n stops before it. */
enum ll_smtp_line ll_smtp_line(struct ll_slice in, bool *cr, size_t *ret_n,
                               enum ll_smtp_error *ret_error)
{
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
    n = plain_octets(in.p, in.n);
    if (n == in.n) {
        *ret_n = n;
        return LL_SMTP_LINE_PART;
    }
    if (in.p[n] != '\r')
        return bad(in.p[n] ? LL_SMTP_BARE_LF : LL_SMTP_NUL, n + 1, ret_n, ret_error);
    if (n + 1 == in.n) {
        *cr = true;
        *ret_n = in.n;
        return LL_SMTP_LINE_PART;
    }
    if (in.p[n + 1] != '\n')
        return bad(LL_SMTP_BARE_CR, n + 1, ret_n, ret_error);
    *ret_n = n + 2;
    return LL_SMTP_LINE_END;
}
