/* A letter's content: DATA and BDAT readers, dot-stuffing. See include/letterlock/smtp.h. */
#include "letterlock/smtp.h"

#include <assert.h>

/* ---- what both readers count --------------------------------------------------------------------
 */

/* Eight octets at a time: every octet of every letter passes here. */
static void seen(struct ll_smtp_content *c, struct ll_slice run)
{
    uint64_t all = 0;
    size_t i = 0;

    if (c->eight_bit)
        return;
    for (uint64_t v; run.n - i >= sizeof(v); i += sizeof(v)) {
        memcpy(&v, run.p + i, sizeof(v));
        all |= v;
    }
    for (; i < run.n; i++)
        all |= run.p[i];
    c->eight_bit = (all & 0x8080808080808080) != 0;
}

static void line_grew(struct ll_smtp_content *c, size_t n, uint64_t line_max)
{
    c->line_octets += n;
    if (c->line_octets > c->longest)
        c->longest = c->line_octets;
    if (line_max && c->line_octets > line_max && !c->error)
        c->error = LL_SMTP_CONTENT_LINE_LONG;
}

static void line_ended(struct ll_smtp_content *c)
{
    c->lines++;
    c->line_octets = 0;
}

static void fault(struct ll_smtp_content *c, enum ll_smtp_error e)
{
    static const enum ll_smtp_error content[] = {
        [LL_SMTP_BARE_CR] = LL_SMTP_CONTENT_BARE_CR,
        [LL_SMTP_BARE_LF] = LL_SMTP_CONTENT_BARE_LF,
        [LL_SMTP_NUL] = LL_SMTP_CONTENT_NUL,
    };

    if (!c->error)
        c->error = content[e];
}

/* ---- DATA ---------------------------------------------------------------------------------------
 */

static size_t data_read_octet(struct ll_smtp_data *d, struct ll_slice in, struct ll_slice *ret_run);

/* Whole lines from the front of in, up to one that begins with a dot; the rest of a line that is
 * not whole too. The state is LINE or TEXT at the call. */
static size_t data_read_lines(struct ll_smtp_data *d, struct ll_slice in)
{
    size_t at = 0;

    while (at < in.n) {
        enum ll_smtp_error error;
        enum ll_smtp_line got;
        bool cr = false;
        size_t n;

        if (d->state == LL_SMTP_DATA_LINE && in.p[at] == '.')
            break;
        got = ll_smtp_line(ll_slice_skip(in, at), &cr, &n, &error);
        at += n;
        if (got == LL_SMTP_LINE_END) {
            line_grew(&d->c, n - 2, d->line_max);
            line_ended(&d->c);
            d->state = LL_SMTP_DATA_LINE;
            continue;
        }
        if (got == LL_SMTP_LINE_BAD) {
            fault(&d->c, error);
            d->state = LL_SMTP_DATA_TEXT;
            continue;
        }
        if (cr) { /* held back: it is content only when an LF follows */
            line_grew(&d->c, n - 1, d->line_max);
            d->state = LL_SMTP_DATA_CR;
            break;
        } else {
            line_grew(&d->c, n, d->line_max);
            d->state = LL_SMTP_DATA_TEXT;
        }
    }
    return at;
}

size_t ll_smtp_data_read(struct ll_smtp_data *d, struct ll_slice in, struct ll_slice *ret_run)
{
    size_t n;

    *ret_run = ll_slice(NULL, 0);
    if (in.n == 0 || d->state == LL_SMTP_DATA_END)
        return 0;
    if ((d->state != LL_SMTP_DATA_LINE || in.p[0] == '.') && d->state != LL_SMTP_DATA_TEXT)
        n = data_read_octet(d, in, ret_run);
    else {
        n = data_read_lines(d, in);
        *ret_run = ll_slice(in.p, n - (d->state == LL_SMTP_DATA_CR));
    }
    if (d->c.error)
        *ret_run = ll_slice(NULL, 0);
    seen(&d->c, *ret_run);
    d->c.octets += ret_run->n;
    return n;
}

/* The octets around a line's edge, one at a time. */
static size_t data_read_octet(struct ll_smtp_data *d, struct ll_slice in, struct ll_slice *ret_run)
{
    enum ll_smtp_data_state was = d->state;
    enum ll_smtp_error error = LL_SMTP_OK;
    bool cr = true;
    size_t n;

    switch (was) {
    case LL_SMTP_DATA_LINE: /* a dot: it is taken away */
        d->state = LL_SMTP_DATA_DOT;
        return 1;
    case LL_SMTP_DATA_DOT:
        if (in.p[0] != '\r') {
            d->state = LL_SMTP_DATA_TEXT;
            n = data_read_lines(d, in);
            *ret_run = ll_slice(in.p, n - (d->state == LL_SMTP_DATA_CR));
            return n;
        }
        d->state = LL_SMTP_DATA_DOT_CR;
        return 1;
    case LL_SMTP_DATA_CR:
    case LL_SMTP_DATA_DOT_CR:
        if (ll_smtp_line(in, &cr, &n, &error) == LL_SMTP_LINE_END) {
            if (was == LL_SMTP_DATA_DOT_CR) {
                d->state = LL_SMTP_DATA_END;
                return n;
            }
            line_ended(&d->c);
            d->state = LL_SMTP_DATA_LINE;
            *ret_run = LL_LIT("\r\n");
            return n;
        }
        fault(&d->c, error);
        d->state = LL_SMTP_DATA_TEXT;
        return data_read_lines(d, in);
    case LL_SMTP_DATA_TEXT:
    case LL_SMTP_DATA_END:
        break;
    }
    assert(!"state");
    return 0;
}

/* ---- BDAT ---------------------------------------------------------------------------------------
 */

size_t ll_smtp_bdat_read(struct ll_smtp_bdat *b, struct ll_slice in, struct ll_slice *ret_run)
{
    size_t at = 0;

    *ret_run = ll_slice(NULL, 0);
    if (in.n > b->left)
        in.n = (size_t)b->left;
    while (at < in.n && !b->c.error) {
        enum ll_smtp_error error;
        bool had_cr = b->cr;
        size_t n;
        enum ll_smtp_line got = ll_smtp_line(ll_slice_skip(in, at), &b->cr, &n, &error);
        size_t eol = had_cr ? 1 : 2;

        at += n;
        if (got == LL_SMTP_LINE_BAD) {
            fault(&b->c, error);
        } else if (got == LL_SMTP_LINE_END) {
            line_grew(&b->c, n - eol, b->line_max);
            line_ended(&b->c);
        } else {
            line_grew(&b->c, n - b->cr, b->line_max);
        }
    }
    if (b->c.error) { /* the rest is read and thrown away (RFC 3030 2) */
        b->left -= in.n;
        return in.n;
    }
    *ret_run = ll_slice(in.p, at);
    seen(&b->c, *ret_run);
    b->c.octets += at;
    b->left -= at;
    return at;
}

bool ll_smtp_bdat_end(struct ll_smtp_bdat *b)
{
    if (!b->c.error && (b->cr || b->c.line_octets > 0))
        b->c.error = b->cr ? LL_SMTP_CONTENT_BARE_CR : LL_SMTP_CONTENT_NO_EOL;
    return b->c.error == LL_SMTP_OK;
}

/* ---- writer
 * --------------------------------------------------------------------------------------- */

size_t ll_smtp_stuff(struct ll_smtp_stuff *s, struct ll_slice in, bool *ret_dot,
                     struct ll_slice *ret_run, bool *ret_ok)
{
    size_t at = 0;

    *ret_ok = true;
    *ret_dot = !s->mid_line && in.n > 0 && in.p[0] == '.';
    while (at < in.n) {
        enum ll_smtp_error error;
        size_t n;
        enum ll_smtp_line got;

        if (!s->mid_line && in.p[at] == '.' && at > 0)
            break;
        got = ll_smtp_line(ll_slice_skip(in, at), &s->cr, &n, &error);
        if (got == LL_SMTP_LINE_BAD) {
            *ret_ok = false;
            *ret_dot = false;
            *ret_run = ll_slice(NULL, 0);
            return 0;
        }
        at += n;
        s->mid_line = got != LL_SMTP_LINE_END;
    }
    *ret_run = ll_slice_cut(in, 0, at);
    return at;
}

struct ll_slice ll_smtp_stuff_end(const struct ll_smtp_stuff *s)
{
    return s->mid_line ? LL_LIT("\r\n.\r\n") : LL_LIT(".\r\n");
}
