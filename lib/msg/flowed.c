/* format=flowed (RFC 3676). See include/letterlock/compose.h. */
#include "letterlock/compose.h"

#define WIDTH 72 /* characters of a line with its blank; RFC 3676 4.2 wants 78 or less */

/* A line off *rest, without its end; false: none is left. */
static bool next_line(struct ll_slice *rest, struct ll_slice *ret)
{
    size_t lf = ll_slice_find(*rest, '\n');

    if (rest->n == 0)
        return false;
    *ret = ll_slice_cut(*rest, 0, lf);
    if (lf < rest->n && ret->n && ret->p[ret->n - 1] == '\r')
        ret->n--;
    *rest = ll_slice_skip(*rest, lf + 1);
    return true;
}

static size_t quote_depth(struct ll_slice line)
{
    size_t n = 0;

    while (n < line.n && line.p[n] == '>')
        n++;
    return n;
}

/* ---- writing
 * --------------------------------------------------------------------------------------
 */

/* How much of s goes on a line: up to and with the last blank within `width` characters, or the
 * first one behind; all of it where it fits or holds none. */
static size_t break_at(struct ll_slice s, size_t width)
{
    size_t characters = 0, best = 0;

    for (size_t i = 0; i < s.n; i++) {
        characters += (s.p[i] & 0xc0) != 0x80;
        if (characters > width && best)
            return best;
        if (s.p[i] == ' ' && i + 1 < s.n && s.p[i + 1] != ' ')
            best = i + 1;
    }
    return characters > width && best ? best : s.n;
}

/* RFC 3676 4.4: what begins with a blank, ">" or "From " gets a blank before it; quoted text always
 * does, so that it stands apart from its marks. */
static void put_line(struct ll_buf *out, size_t depth, struct ll_slice s)
{
    for (size_t i = 0; i < depth; i++)
        ll_buf_putc(out, '>');
    if ((depth && s.n) || ll_slice_starts(s, LL_LIT(" ")) || ll_slice_starts(s, LL_LIT(">")) ||
        ll_slice_starts(s, LL_LIT("From ")))
        ll_buf_putc(out, ' ');
    ll_buf_put_slice(out, s);
    ll_buf_puts(out, "\r\n");
}

void ll_flowed_encode(struct ll_slice text, struct ll_buf *out)
{
    struct ll_slice line;

    while (next_line(&text, &line)) {
        size_t depth = quote_depth(line), width;

        line = ll_slice_skip(line, depth);
        if (depth && ll_slice_starts(line, LL_LIT(" ")))
            line = ll_slice_skip(line, 1);
        /* A blank at the end would join what the author did not; but "-- " is the signature's mark
         * (RFC 3676 4.3). */
        if (!ll_slice_eq(line, LL_LIT("-- ")))
            while (line.n && line.p[line.n - 1] == ' ')
                line.n--;
        width = depth + 1 < WIDTH / 2 ? WIDTH - depth - 1 : WIDTH / 2;
        do {
            size_t n = break_at(line, width);

            if (ll_slice_eq(ll_slice_cut(line, 0, n), LL_LIT("-- ")))
                n = line.n; /* would look like the signature's mark */
            put_line(out, depth, ll_slice_cut(line, 0, n));
            line = ll_slice_skip(line, n);
        } while (line.n);
    }
}

/* ---- reading
 * --------------------------------------------------------------------------------------
 */

void ll_flowed_decode(struct ll_slice text, bool delsp, struct ll_buf *out)
{
    bool open = false; /* the last line was flowed: the next one of its depth goes on */
    size_t open_depth = 0;
    struct ll_slice line;

    while (next_line(&text, &line)) {
        size_t depth = quote_depth(line);
        bool mark, flowed;

        line = ll_slice_skip(line, depth);
        if (ll_slice_starts(line, LL_LIT(" ")))
            line = ll_slice_skip(line, 1);
        mark = ll_slice_eq(line, LL_LIT("-- "));
        flowed = !mark && line.n && line.p[line.n - 1] == ' ';
        /* RFC 3676 4.5: a paragraph ends where the depth changes, and before the signature's mark.
         */
        if (open && (mark || depth != open_depth)) {
            ll_buf_puts(out, "\r\n");
            open = false;
        }
        if (!open && depth) {
            for (size_t i = 0; i < depth; i++)
                ll_buf_putc(out, '>');
            ll_buf_putc(out, ' ');
        }
        if (flowed && delsp)
            line.n--;
        ll_buf_put_slice(out, line);
        if (!flowed)
            ll_buf_puts(out, "\r\n");
        open = flowed;
        open_depth = depth;
    }
    if (open)
        ll_buf_puts(out, "\r\n");
}
