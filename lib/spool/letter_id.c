/* See include/letterlock/spool.h. Crockford's digits: no i, l, o, u; the text sorts as the number.
 */
#include "letterlock/spool.h"

#define ID_DIGITS 13

static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";

void ll_letter_id_format(struct ll_buf *out, uint64_t id)
{
    char text[ID_DIGITS];

    for (size_t i = ID_DIGITS; i-- > 0; id >>= 5)
        text[i] = digits[id & 31];
    ll_buf_put(out, text, sizeof(text));
}

bool ll_letter_id_parse(struct ll_slice text, uint64_t *ret)
{
    uint64_t id = 0;

    if (text.n != ID_DIGITS)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        const char *at = memchr(digits, ll_lower(text.p[i]), sizeof(digits) - 1);

        if (!at || (i == 0 && at - digits > 15)) /* 65 bits */
            return false;
        id = id << 5 | (uint64_t)(at - digits);
    }
    *ret = id;
    return true;
}
