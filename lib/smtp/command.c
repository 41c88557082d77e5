/* Commands and the names in them. See include/letterlock/smtp.h. */
#include "letterlock/smtp.h"

static const struct {
    struct ll_slice name;
    unsigned flags;
} verbs[] = {
#define ROW(id, name, flags)                                                                       \
    [LL_SMTP_V_##id] = {{(const uint8_t *)(name), sizeof(name) - 1}, flags},
    LL_SMTP_VERBS(ROW)
#undef ROW
};

enum ll_smtp_error ll_smtp_command_parse(struct ll_slice line, bool utf8,
                                         struct ll_smtp_command *ret)
{
    size_t end = ll_slice_find(line, ' ');
    struct ll_slice verb = ll_slice_cut(line, 0, end);
    struct ll_slice args = ll_slice_skip(line, end + 1);

    for (size_t v = 0; v < LL_SMTP_V_COUNT; v++) {
        if (!ll_slice_caseeq(verb, verbs[v].name))
            continue;
        while (args.n > 0 && args.p[args.n - 1] == ' ')
            args.n--;
        *ret = (struct ll_smtp_command){(enum ll_smtp_verb)v, verbs[v].flags, args};
        for (size_t i = 0; i < args.n; i++) {
            if (!ll_is_print(args.p[i]) && !(utf8 && args.p[i] >= 0x80))
                return LL_SMTP_NOT_ASCII;
        }
        if ((verbs[v].flags & LL_SMTP_ARGS_NONE) && args.n > 0)
            return LL_SMTP_NO_PARAMETERS;
        if ((verbs[v].flags & LL_SMTP_ARGS_NEED) && args.n == 0)
            return LL_SMTP_ARGUMENT;
        return LL_SMTP_OK;
    }
    return LL_SMTP_UNKNOWN;
}

bool ll_smtp_helo_clean(struct ll_slice name, struct ll_buf *out)
{
    enum ll_domain_kind kind;

    if (name.n == 0 || name.n > LL_DOMAIN_MAX)
        return false;
    if (name.p[0] == '[')
        return ll_literal_canonical(name, out, &kind) == LL_ADDR_OK;
    for (size_t i = 0; i < name.n; i++) {
        uint8_t c = name.p[i];

        if (!ll_is_alnum(c) && c != '-' && c != '.' && c != '_')
            return false;
    }
    ll_buf_put_slice(out, name);
    return !out->failed;
}

/* ---- xtext (RFC 3461 4)
 * --------------------------------------------------------------------------- */

static int upper_hex(uint8_t c)
{
    if (ll_is_digit(c))
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool ll_xtext_decode(struct ll_slice in, struct ll_buf *out)
{
    for (size_t i = 0; i < in.n; i++) {
        int c = in.p[i];

        if (c == '+') {
            int high = i + 2 < in.n ? upper_hex(in.p[i + 1]) : -1;
            int low = i + 2 < in.n ? upper_hex(in.p[i + 2]) : -1;

            if (high < 0 || low < 0)
                return false;
            c = high * 16 + low;
            i += 2;
        } else if (c == '=') {
            return false;
        }
        if (c < 0x20 || c >= 0x7f || in.p[i] == ' ')
            return false;
        ll_buf_putc(out, (uint8_t)c);
    }
    return !out->failed;
}

void ll_xtext_encode(struct ll_slice in, struct ll_buf *out)
{
    static const char digits[] = "0123456789ABCDEF";

    for (size_t i = 0; i < in.n; i++) {
        uint8_t c = in.p[i];

        if (c > 0x20 && c < 0x7f && c != '+' && c != '=') {
            ll_buf_putc(out, c);
        } else {
            ll_buf_putc(out, '+');
            ll_buf_putc(out, (uint8_t)digits[c >> 4]);
            ll_buf_putc(out, (uint8_t)digits[c & 15]);
        }
    }
}
