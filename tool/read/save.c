/* See tool/read/save.h. */
#include "tool/read/save.h"

#include "tool/read/page.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* ---- names --------------------------------------------------------------------------------------
 */

/* Names that are devices on other systems, with any extension; "1" stands for a digit. */
static const char *const devices[] = {"con",  "prn",    "aux",     "nul",   "com1",
                                      "lpt1", "conin$", "conout$", "clock$"};

static bool is_device(struct ll_slice name)
{
    struct ll_slice stem = ll_slice_cut(name, 0, ll_slice_find(name, '.'));

    while (stem.n > 0 && stem.p[stem.n - 1] == ' ')
        stem.n--;
    for (size_t i = 0; i < LL_COUNT(devices); i++) {
        struct ll_slice d = ll_slice_str(devices[i]);

        if (d.n == 4 && stem.n == 4 && ll_is_digit(stem.p[3])
                ? ll_slice_caseeq(ll_slice_cut(stem, 0, 3), ll_slice_cut(d, 0, 3))
                : ll_slice_caseeq(stem, d))
            return true;
    }
    return false;
}

/* The longest beginning of at most n octets that ends with a character. */
static struct ll_slice shorten(struct ll_slice s, size_t n)
{
    if (s.n <= n)
        return s;
    while (n > 0 && (s.p[n] & 0xc0) == 0x80)
        n--;
    return ll_slice_cut(s, 0, n);
}

/* Where the extension begins, or s.n. */
static size_t extension(struct ll_slice s)
{
    size_t dot = ll_slice_rfind(s, '.');

    return dot > 0 && dot < s.n && s.n - dot <= 16 ? dot : s.n;
}

static struct ll_slice last_part(struct ll_slice s)
{
    for (size_t i = s.n; i-- > 0;)
        if (s.p[i] == '/' || s.p[i] == '\\')
            return ll_slice_skip(s, i + 1);
    return s;
}

void ll_save_name(struct ll_slice proposed, unsigned number, struct ll_buf *out)
{
    struct ll_buf clean = LL_BUF(3 * proposed.n + 16);
    struct ll_slice s;
    size_t ext;

    ll_clean(last_part(proposed), LL_CLEAN_LINE, &clean);
    for (size_t i = 0; i < clean.n; i++)
        if (memchr("<>:\"|?*'`$&;~%!", clean.p[i], 15))
            clean.p[i] = '_';
    s = ll_buf_slice(&clean);
    while (s.n > 0 && (s.p[0] == '.' || s.p[0] == '-' || s.p[0] == ' '))
        s = ll_slice_skip(s, 1);
    while (s.n > 0 && (s.p[s.n - 1] == '.' || s.p[s.n - 1] == ' '))
        s.n--;
    if (s.n == 0) {
        ll_buf_printf(out, "attachment-%u", number);
    } else {
        ext = extension(s);
        if (is_device(s))
            ll_buf_putc(out, '_');
        ll_buf_put_slice(out, shorten(ll_slice_cut(s, 0, ext), LL_SAVE_NAME_MAX - 1 - (s.n - ext)));
        ll_buf_put_slice(out, ll_slice_skip(s, ext));
    }
    ll_buf_release(&clean);
}

/* ---- files --------------------------------------------------------------------------------------
 */

static int write_all(int fd, struct ll_slice s)
{
    while (s.n > 0) {
        ssize_t n = write(fd, s.p, s.n);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? errno : EIO;
        s = ll_slice_skip(s, (size_t)n);
    }
    return 0;
}

/* "a.png", "a-2.png" ... */
static void numbered(struct ll_slice name, unsigned k, struct ll_buf *out)
{
    size_t ext = extension(name);

    ll_buf_clear(out);
    if (k > 1)
        ll_buf_printf(out, "%.*s-%u%.*s", LL_FMT(ll_slice_cut(name, 0, ext)), k,
                      LL_FMT(ll_slice_skip(name, ext)));
    else
        ll_buf_put_slice(out, name);
}

int ll_save_file(int folder, struct ll_slice name, struct ll_slice octets, struct ll_buf *ret_name)
{
    int fd = -1, e;

    for (unsigned k = 1; k <= LL_SAVE_TRIES && fd < 0; k++) {
        const char *path;

        numbered(name, k, ret_name);
        path = ll_buf_str(ret_name);
        if (!path)
            return ENOMEM;
        fd = openat(folder, path, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0 && errno != EEXIST)
            return errno;
    }
    if (fd < 0)
        return EEXIST;
    e = write_all(fd, octets);
    if (close(fd) != 0 && e == 0)
        e = errno;
    if (e != 0)
        unlinkat(folder, ll_buf_str(ret_name), 0);
    return e;
}
