/* Replies: builder and parser. See include/letterlock/smtp.h. */
#include "letterlock/smtp.h"

#define TEXT_MAX 8192 /* octets of a received reply that are kept */

/* ---- builder ----------------------------------------------------------------------------------
 */

/* "X.Y.Z" of the grammar of RFC 3463 2, with at most three digits a part. */
static bool enhanced_ok(const char *e)
{
    struct ll_slice rest = ll_slice_str(e);
    struct ll_slice part;
    int parts = 0;
    uint64_t v;

    if (!e || !ll_is_digit((uint8_t)e[0]) || e[1] != '.' || rest.n < 5 || rest.n > 9)
        return false;
    while (ll_slice_next(&rest, '.', &part)) {
        if (part.n < 1 || part.n > 3 || !ll_slice_u64(part, &v))
            return false;
        parts++;
    }
    return parts == 3;
}

static void put_clean(struct ll_buf *out, struct ll_slice text)
{
    uint8_t *to = ll_buf_room(out, text.n);

    if (!to)
        return;
    for (size_t i = 0; i < text.n; i++)
        to[i] = ll_is_print(text.p[i]) ? text.p[i] : '?';
    ll_buf_grew(out, text.n);
}

static void put_code(struct ll_buf *out, unsigned code, char separator)
{
    uint8_t text[4] = {(uint8_t)('0' + code / 100 % 10), (uint8_t)('0' + code / 10 % 10),
                       (uint8_t)('0' + code % 10), (uint8_t)separator};

    ll_buf_put(out, text, sizeof(text));
}

void ll_smtp_reply_put(struct ll_buf *out, unsigned code, const char *enhanced,
                       struct ll_slice text)
{
    bool has = enhanced_ok(enhanced) && code / 100 != 3;
    size_t room = LL_SMTP_REPLY_MAX - 4 - 2 - (has ? strlen(enhanced) + 1 : 0);
    struct ll_slice rest = text;
    bool last;

    do {
        size_t n = ll_slice_find(rest, '\n');
        struct ll_slice line = ll_slice_cut(rest, 0, n < room ? n : room);

        rest = ll_slice_skip(rest, n <= room ? n + 1 : room);
        last = rest.n == 0;
        while (line.n > 0 && line.p[line.n - 1] == '\r')
            line.n--;
        put_code(out, code, last ? ' ' : '-');
        if (has) {
            ll_buf_putc(out, (uint8_t)('0' + code / 100 % 10));
            ll_buf_puts(out, enhanced + 1);
            ll_buf_putc(out, ' ');
        }
        put_clean(out, line);
        ll_buf_puts(out, "\r\n");
    } while (!last);
}

/* ---- parser -----------------------------------------------------------------------------------
 */

/* Takes "5.7.1 " from the front of text where it is an enhanced code of the reply's class. */
static struct ll_slice take_enhanced(struct ll_slice text, unsigned code, uint16_t ret[3])
{
    struct ll_slice word = ll_slice_cut(text, 0, ll_slice_find(text, ' '));
    struct ll_slice rest = word;
    struct ll_slice part;
    uint64_t v[3];
    int n = 0;

    while (n < 4 && ll_slice_next(&rest, '.', &part)) {
        if (n == 3 || part.n < 1 || part.n > 3 || !ll_slice_u64(part, &v[n]))
            return text;
        n++;
    }
    if (n != 3 || v[0] != code / 100)
        return text;
    for (n = 0; n < 3; n++)
        ret[n] = (uint16_t)v[n];
    return ll_slice_skip(text, word.n + 1);
}

/* A whole line without CR LF. */
static void line_read(struct ll_smtp_reply *r, struct ll_slice line)
{
    uint16_t enhanced[3] = {0, 0, 0};
    struct ll_slice text;
    uint64_t code;

    if (line.n < 3 || !ll_slice_u64(ll_slice_cut(line, 0, 3), &code) || code < 200 || code > 599 ||
        (line.n > 3 && line.p[3] != ' ' && line.p[3] != '-') || (r->lines > 0 && code != r->code) ||
        r->lines >= LL_SMTP_REPLY_LINES) {
        r->bad = true;
        return;
    }
    r->code = (uint16_t)code;
    text = take_enhanced(ll_slice_skip(line, 4), r->code, enhanced);
    if (r->lines == 0)
        memcpy(r->enhanced, enhanced, sizeof(enhanced));
    if (r->lines++ > 0 && r->text.n < TEXT_MAX)
        ll_buf_putc(&r->text, '\n');
    if (text.n > TEXT_MAX - r->text.n)
        text.n = TEXT_MAX - r->text.n;
    put_clean(&r->text, text);
    r->done = line.n == 3 || line.p[3] == ' ';
}

size_t ll_smtp_reply_feed(struct ll_smtp_reply *r, struct ll_slice in)
{
    size_t taken = 0;

    r->text.max = TEXT_MAX + 64;
    r->line.max = LL_SMTP_REPLY_IN_MAX;
    while (!r->done && !r->bad && taken < in.n) {
        enum ll_smtp_error error;
        struct ll_slice line;
        size_t n;
        enum ll_smtp_line got = ll_smtp_line(ll_slice_skip(in, taken), &r->cr, &n, &error);

        line = ll_slice_cut(in, taken, taken + n);
        taken += n;
        if (got == LL_SMTP_LINE_BAD || line.n > LL_SMTP_REPLY_IN_MAX) {
            r->bad = true;
            break;
        }
        if (got == LL_SMTP_LINE_PART || r->line.n > 0) {
            ll_buf_put_slice(&r->line, line);
            if (r->line.failed) {
                r->bad = true;
                break;
            }
            line = ll_buf_slice(&r->line);
        }
        if (got == LL_SMTP_LINE_END) {
            line_read(r, ll_slice_cut(line, 0, line.n - 2));
            ll_buf_clear(&r->line);
        }
    }
    if (r->text.failed)
        r->bad = true;
    return taken;
}

void ll_smtp_reply_clear(struct ll_smtp_reply *r)
{
    struct ll_buf text = r->text;
    struct ll_buf line = r->line;

    *r = (struct ll_smtp_reply){.text = text, .line = line};
    ll_buf_clear(&r->text);
    ll_buf_clear(&r->line);
}

void ll_smtp_reply_release(struct ll_smtp_reply *r)
{
    ll_buf_release(&r->text);
    ll_buf_release(&r->line);
    *r = (struct ll_smtp_reply){0};
}
