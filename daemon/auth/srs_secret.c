/* See srs_secret.h. */
#include "daemon/auth/srs_secret.h"

#include "letterlock/srs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_LENGTH 4096

/* The path beside the accounts, with an ending. */
static bool path_of(const char *accounts, const char *ending, char ret[PATH_LENGTH])
{
    struct ll_slice file = ll_slice_str(accounts);
    size_t slash = ll_slice_rfind(file, '/');
    struct ll_slice folder = slash < file.n ? ll_slice_cut(file, 0, slash) : LL_LIT(".");
    int n = snprintf(ret, PATH_LENGTH, "%.*s/" LL_SRS_SECRET_NAME "%s", LL_FMT(folder), ending);

    return n > 0 && n < PATH_LENGTH;
}

static bool write_whole(int fd, struct ll_slice text)
{
    return write(fd, text.p, text.n) == (ssize_t)text.n && fsync(fd) == 0;
}

/* Under another name first: a line that was cut short would be a short secret. */
static bool make(const char *accounts, const char *path, struct ll_buf *err)
{
    static const char hex[] = "0123456789abcdef";
    uint8_t random[LL_SRS_SECRET_RANDOM];
    struct ll_buf line = LL_BUF(LL_SRS_SECRET_LINE);
    char fresh[PATH_LENGTH];
    bool ok = path_of(accounts, ".new", fresh) &&
              getrandom(random, sizeof(random), 0) == (ssize_t)sizeof(random);
    int fd = -1;

    for (size_t i = 0; ok && i < sizeof(random); i++)
        ll_buf_printf(&line, "%c%c", hex[random[i] >> 4], hex[random[i] & 15]);
    ll_buf_puts(&line, "\n");
    if (ok)
        fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    ok =
        fd >= 0 && !line.failed && write_whole(fd, ll_buf_slice(&line)) && rename(fresh, path) == 0;
    if (!ok)
        ll_buf_printf(err, "%s: cannot be made: %s\n", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    ll_buf_wipe(&line);
    explicit_bzero(random, sizeof(random));
    return ok;
}

static bool take_line(int fd, const char *path, struct ll_buf *ret, struct ll_buf *err)
{
    char text[LL_SRS_SECRET_LINE + 2];
    ssize_t n = read(fd, text, sizeof(text));
    struct ll_slice line = ll_slice(text, n > 0 ? (size_t)n : 0);
    bool ok;

    line = ll_slice_trim(ll_slice_cut(line, 0, ll_slice_find(line, '\n')));
    ok = line.n >= LL_SRS_SECRET_RANDOM && line.n <= LL_SRS_SECRET_LINE;
    if (ok) {
        ll_buf_wipe(ret);
        ll_buf_put_slice(ret, line);
    } else {
        ll_buf_printf(err,
                      "%s: its first line must have %u to %u characters; remove the file, and "
                      "a new one is made\n",
                      path, LL_SRS_SECRET_RANDOM, LL_SRS_SECRET_LINE);
    }
    explicit_bzero(text, sizeof(text));
    return ok && !ret->failed;
}

bool ll_srs_secret_read(const char *accounts, struct ll_buf *ret, struct ll_buf *err)
{
    char path[PATH_LENGTH];
    bool ok;
    int fd;

    if (!path_of(accounts, "", path)) {
        ll_buf_puts(err, "the path of the accounts is too long\n");
        return false;
    }
    fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT) {
        if (!make(accounts, path, err))
            return false;
        fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    }
    if (fd < 0) {
        ll_buf_printf(err, "%s: %s\n", path, strerror(errno));
        return false;
    }
    ok = take_line(fd, path, ret, err);
    close(fd);
    return ok;
}

bool ll_srs_secret_old(const char *accounts, struct ll_buf *ret, int64_t *ret_until,
                       struct ll_buf *err)
{
    char path[PATH_LENGTH], present[PATH_LENGTH];
    struct stat st;
    bool ok;
    int fd;

    ll_buf_wipe(ret);
    if (!path_of(accounts, ".old", path) || !path_of(accounts, "", present) ||
        stat(present, &st) != 0)
        return false;
    fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        if (errno != ENOENT)
            ll_buf_printf(err, "%s: %s\n", path, strerror(errno));
        return false;
    }
    ok = take_line(fd, path, ret, err);
    *ret_until = (int64_t)st.st_mtime + (int64_t)LL_SRS_DAYS * 86400;
    close(fd);
    return ok;
}
