/* See tool/tool.h. */
#include "tool/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int ll_fail(int status, const char *fmt, ...)
{
    va_list ap;

    fflush(stdout);
    fputs("letterlock: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    return status;
}

int ll_fail_text(int status, struct ll_buf *text)
{
    struct ll_slice rest = ll_buf_slice(text), line;

    if (rest.n == 0)
        return ll_fail(status, "no memory");
    while (ll_slice_next(&rest, '\n', &line))
        if (line.n > 0)
            ll_fail(status, "%.*s", LL_FMT(line));
    return status;
}

int ll_sub_run(const char *command, const struct ll_sub *sub, size_t n, int argc, char **argv)
{
    bool help = argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
    FILE *out = help ? stdout : stderr;

    for (size_t i = 0; argc > 1 && i < n; i++)
        if (strcmp(argv[1], sub[i].name) == 0)
            return sub[i].fn(argc - 1, argv + 1);
    if (!help && argc > 1)
        fprintf(out, "letterlock %s: no such command: %s\n", command, argv[1]);
    fprintf(out, "usage: letterlock %s COMMAND [options] [words]\n\ncommands:\n", command);
    for (size_t i = 0; i < n; i++)
        fprintf(out, "  %-8s %s\n", sub[i].name, sub[i].summary);
    return help ? 0 : EX_USAGE;
}

/* ---- which server --------------------------------------------------------------------------- */

char *ll_where_path(const struct ll_where *w)
{
    char *path = NULL;

    if (w->conf || !w->dir)
        return strdup(w->conf ? w->conf : LL_CONF_PATH);
    return asprintf(&path, "%s/letterlock.conf", w->dir) < 0 ? NULL : path;
}

struct ll_conf *ll_where_conf(const struct ll_where *w, int *ret_status)
{
    struct ll_buf err = LL_BUF(16384);
    char *path = ll_where_path(w);
    struct ll_conf *conf = NULL;

    if (!path)
        *ret_status = ll_fail(EX_OSERR, "no memory");
    else if (access(path, R_OK) < 0)
        *ret_status = ll_fail(
            errno == EACCES ? EX_NOPERM : EX_CONFIG, "%s: %s%s", path, strerror(errno),
            errno == ENOENT && !w->conf && !w->dir ? " (-c FILE or --dir DIR names another one)"
                                                   : "");
    else if (!(conf = ll_conf_load(path, &err)))
        *ret_status = ll_fail_text(EX_CONFIG, &err);
    ll_buf_release(&err);
    free(path);
    return conf;
}

/* ---- files ---------------------------------------------------------------------------------- */

static bool read_all(int fd, struct ll_buf *ret)
{
    for (;;) {
        size_t want = ret->max - ret->n < 65536 ? ret->max - ret->n : 65536;
        uint8_t *room, more;
        ssize_t n;

        if (want == 0) { /* full: is there more? */
            errno = EFBIG;
            return read(fd, &more, 1) == 0;
        }
        room = ll_buf_room(ret, want);
        n = room ? read(fd, room, want) : -1;
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0;
        ll_buf_grew(ret, (size_t)n);
    }
}

int ll_read_file(const char *path, struct ll_buf *ret)
{
    bool is_stdin = strcmp(path, "-") == 0;
    int status = 0, fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return ll_fail(errno == EACCES ? EX_NOPERM : EX_NOINPUT, "%s: %s", path, strerror(errno));
    if (!read_all(fd, ret))
        status = ll_fail(errno == EFBIG ? EX_DATAERR : EX_IOERR, "%s: %s", path, strerror(errno));
    if (!is_stdin)
        close(fd);
    return status;
}

static bool write_all(int fd, struct ll_slice s)
{
    while (s.n > 0) {
        ssize_t n = write(fd, s.p, s.n);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        s = ll_slice_skip(s, (size_t)n);
    }
    return true;
}

/* Flushes the folder that holds path: the new name is on the disk then. */
static bool flush_folder(const char *path)
{
    char *folder = strdup(path), *slash = folder ? strrchr(folder, '/') : NULL;
    bool ok = false;
    int fd;

    if (slash)
        slash[slash == folder] = '\0';
    fd = !folder ? -1 : open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        ok = fsync(fd) == 0;
        close(fd);
    }
    free(folder);
    return ok;
}

int ll_replace_file(const char *path, struct ll_slice content, unsigned mode)
{
    char *temp = NULL;
    struct stat st;
    bool old = stat(path, &st) == 0, ok;
    int fd, error;

    if (asprintf(&temp, "%s.XXXXXX", path) < 0)
        return ll_fail(EX_OSERR, "no memory");
    fd = mkostemp(temp, O_CLOEXEC);
    ok = fd >= 0 && (!old || geteuid() != 0 || fchown(fd, st.st_uid, st.st_gid) == 0) &&
         fchmod(fd, old ? st.st_mode & 07777 : mode) == 0 && write_all(fd, content) &&
         fsync(fd) == 0 && rename(temp, path) == 0;
    error = errno;
    if (fd >= 0) {
        close(fd);
        if (!ok)
            unlink(temp);
    }
    free(temp);
    if (ok && flush_folder(path))
        return 0;
    error = ok ? errno : error;
    return ll_fail(error == EACCES || error == EPERM ? EX_NOPERM : EX_CANTCREAT, "%s: %s", path,
                   strerror(error));
}
