/* See tool/client/letters.h. */
#include "tool/client/letters.h"

#include "tool/tool.h"

int ll_letters_open(struct ll_letters *l, const char *path)
{
    size_t lf;
    int status;

    *l =
        (struct ll_letters){.file = LL_BUF(LL_LETTERS_MAX), .letter = LL_BUF(2ul * LL_LETTERS_MAX)};
    status = ll_read_file(path, &l->file);
    if (status != 0)
        return status;
    l->rest = ll_slice(l->file.p ? l->file.p : (const uint8_t *)"", l->file.n);
    l->mbox = ll_slice_starts(l->rest, LL_LIT("From "));
    lf = ll_slice_find(l->rest, '\n');
    l->crlf = lf > 0 && lf < l->rest.n && l->rest.p[lf - 1] == '\r';
    return 0;
}

void ll_letters_release(struct ll_letters *l)
{
    ll_buf_release(&l->file);
    ll_buf_release(&l->letter);
}

static bool is_from(struct ll_slice line)
{
    return ll_slice_starts(line, LL_LIT("From "));
}

/* One line of the file, without its LF or CR LF. *ret_ended: it had one. */
static struct ll_slice take_line(struct ll_slice *rest, bool *ret_ended)
{
    size_t n = ll_slice_find(*rest, '\n');
    struct ll_slice line = ll_slice_cut(*rest, 0, n);

    *ret_ended = n < rest->n;
    *rest = ll_slice_skip(*rest, n + 1);
    if (*ret_ended && line.n > 0 && line.p[line.n - 1] == '\r')
        line.n--;
    return line;
}

static struct ll_slice unquoted(struct ll_slice line)
{
    size_t i = 0;

    while (i < line.n && line.p[i] == '>')
        i++;
    return i > 0 && is_from(ll_slice_skip(line, i)) ? ll_slice_skip(line, 1) : line;
}

bool ll_letters_next(struct ll_letters *l, struct ll_slice *ret, int *ret_status)
{
    bool ended, empty = false;

    if (!l->rest.p || (l->mbox && l->rest.n == 0))
        return false;
    ll_buf_clear(&l->letter);
    if (l->mbox)
        take_line(&l->rest, &ended);
    while (l->rest.n > 0) {
        struct ll_slice line;

        /* In an mbox an empty line belongs to the "From " line behind it, or to the end. */
        if (l->mbox && empty && is_from(l->rest))
            break;
        if (empty)
            ll_buf_puts(&l->letter, "\r\n");
        line = take_line(&l->rest, &ended);
        empty = l->mbox && ended && line.n == 0;
        if (empty)
            continue;
        ll_buf_put_slice(&l->letter, l->mbox ? unquoted(line) : line);
        if (ended)
            ll_buf_puts(&l->letter, "\r\n");
    }
    if (!l->mbox)
        l->rest = ll_slice(NULL, 0);
    if (l->letter.failed)
        *ret_status = ll_fail(EX_OSERR, "no memory for a letter of this size");
    *ret = ll_buf_slice(&l->letter);
    return !l->letter.failed;
}
