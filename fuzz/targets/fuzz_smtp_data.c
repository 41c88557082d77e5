/* Content: DATA split anywhere is DATA whole; the same content through DATA (stuffed) and through
 * BDAT is the same letter, or both refuse. First octet: where it is split. */
#include <stdlib.h>

#include "letterlock/smtp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OUT_MAX (8u << 20)

static void must(bool ok)
{
    if (!ok)
        abort();
}

/* Returns the octets taken. */
static size_t read_data(struct ll_smtp_data *d, struct ll_slice in, size_t step, struct ll_buf *out)
{
    size_t at = 0;

    while (at < in.n && !ll_smtp_data_done(d)) {
        struct ll_slice run;
        size_t n = ll_smtp_data_read(d, ll_slice_cut(in, at, at + step), &run);

        must(n > 0);
        ll_buf_put_slice(out, run);
        at += n;
    }
    return at;
}

static void read_bdat(struct ll_smtp_bdat *b, struct ll_slice in, size_t step, struct ll_buf *out)
{
    size_t at = 0;

    while (at < in.n) {
        struct ll_slice run;

        if (b->left == 0)
            b->left = in.n - at < step ? in.n - at : step;
        at += ll_smtp_bdat_read(b, ll_slice_skip(in, at), &run);
        ll_buf_put_slice(out, run);
    }
    ll_smtp_bdat_end(b);
}

static bool stuff(struct ll_slice in, size_t step, struct ll_buf *out)
{
    struct ll_smtp_stuff s = {0};

    while (in.n > 0) {
        bool dot;
        bool ok;
        struct ll_slice run;
        size_t n = ll_smtp_stuff(&s, ll_slice_cut(in, 0, step), &dot, &run, &ok);

        if (!ok)
            return false;
        must(n > 0);
        if (dot)
            ll_buf_putc(out, '.');
        ll_buf_put_slice(out, run);
        in = ll_slice_skip(in, n);
    }
    if (s.cr)
        return false;
    ll_buf_put_slice(out, ll_smtp_stuff_end(&s));
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ll_buf a = LL_BUF(OUT_MAX);
    struct ll_buf b = LL_BUF(OUT_MAX);
    struct ll_buf c = LL_BUF(OUT_MAX);
    struct ll_buf wire = LL_BUF(OUT_MAX);
    struct ll_smtp_data whole = {0};
    struct ll_smtp_data parts = {0};
    struct ll_smtp_bdat chunks = {0};
    struct ll_slice in;
    size_t step;

    if (size < 1)
        return 0;
    step = 1u + data[0] % 64u;
    in = ll_slice(data + 1, size - 1);
    must(read_data(&whole, in, in.n, &a) == read_data(&parts, in, step, &b));
    must(whole.state == parts.state && whole.c.error == parts.c.error);
    if (!whole.c.error) {
        must(ll_slice_eq(ll_buf_slice(&a), ll_buf_slice(&b)));
        must(whole.c.octets == a.n && whole.c.lines == parts.c.lines);
        must(whole.c.longest == parts.c.longest);
    }
    read_bdat(&chunks, in, step, &c);
    ll_buf_clear(&b);
    if (stuff(in, step, &wire) && (in.n == 0 || ll_slice_ends(in, LL_LIT("\r\n")))) {
        struct ll_smtp_data d = {0};

        must(read_data(&d, ll_buf_slice(&wire), step, &b) == wire.n && ll_smtp_data_done(&d));
        must(!d.c.error && !chunks.c.error);
        must(ll_slice_eq(ll_buf_slice(&b), in) && ll_slice_eq(ll_buf_slice(&c), in));
        must(d.c.lines == chunks.c.lines && d.c.eight_bit == chunks.c.eight_bit);
        must(d.c.longest == chunks.c.longest);
    } else {
        must(chunks.c.error != LL_SMTP_OK);
    }
    ll_buf_release(&a);
    ll_buf_release(&b);
    ll_buf_release(&c);
    ll_buf_release(&wire);
    return 0;
}
