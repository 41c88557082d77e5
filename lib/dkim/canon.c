/* Canonical header fields (RFC 6376 3.4.1, 3.4.2, 3.7). See lib/dkim/parts.h. */
#include "lib/dkim/parts.h"

/* Lower-case name, unfolded, runs of blanks made one space, none at the ends nor around ":". */
static void relaxed(struct ll_slice raw, struct ll_buf *out)
{
    size_t colon = ll_slice_find(raw, ':');
    struct ll_slice name = ll_slice_trim(ll_slice_cut(raw, 0, colon));
    uint8_t *to = ll_buf_room(out, raw.n + 3), *start = to;
    bool blank = false, content = false;

    if (!to)
        return;
    for (size_t i = 0; i < name.n; i++)
        *to++ = ll_lower(name.p[i]);
    *to++ = ':';
    for (size_t i = colon + 1; i < raw.n; i++) {
        uint8_t c = raw.p[i];

        if (c == '\n' || (c == '\r' && i + 1 < raw.n && raw.p[i + 1] == '\n'))
            continue;
        if (ll_is_blank(c)) {
            blank = content;
            continue;
        }
        if (blank)
            *to++ = ' ';
        *to++ = c;
        blank = false;
        content = true;
    }
    *to++ = '\r';
    *to++ = '\n';
    ll_buf_grew(out, (size_t)(to - start));
}

void ll_dkim_canon_field(enum ll_dkim_canon canon, struct ll_slice raw, struct ll_buf *out)
{
    if (canon == LL_DKIM_RELAXED) {
        relaxed(raw, out);
        return;
    }
    ll_buf_put_slice(out, raw);
    if (!ll_slice_ends(raw, LL_LIT("\r\n"))) /* the header's last line, cut short */
        ll_buf_puts(out, "\r\n");
}

void ll_dkim_canon_own(enum ll_dkim_canon canon, struct ll_slice raw, struct ll_slice b_raw,
                       struct ll_buf *out)
{
    size_t before = b_raw.p ? (size_t)(b_raw.p - raw.p) : raw.n;
    struct ll_buf emptied = LL_BUF(LL_DKIM_HEADER_MAX);

    ll_buf_put_slice(&emptied, ll_slice_cut(raw, 0, before));
    ll_buf_put_slice(&emptied, ll_slice_skip(raw, before + b_raw.n));
    ll_dkim_canon_field(canon, ll_buf_slice(&emptied), out);
    if (emptied.failed)
        out->failed = true;
    if (!out->failed && ll_slice_ends(ll_buf_slice(out), LL_LIT("\r\n")))
        out->n -= 2;
    ll_buf_release(&emptied);
}
