/* See tool/read/shelf.h. */
#include "tool/read/shelf.h"

#include "tool/tool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Maildirs -----------------------------------------------------------------------------------
 */

/* The seconds that a delivered letter's name begins with; equal ones by the rest of the name. */
static int by_age(const void *a, const void *b)
{
    const char *x = *(char *const *)a + 4, *y = *(char *const *)b + 4;
    unsigned long long i = strtoull(x, NULL, 10), j = strtoull(y, NULL, 10);

    return i < j ? -1 : i > j ? 1 : strcmp(x, y);
}

static int take_names(struct ll_shelf *s, const char *sub)
{
    struct dirent *e;
    char *path;
    DIR *d;

    if (asprintf(&path, "%s/%s", s->path, sub) < 0)
        return ll_fail(EX_OSERR, "no memory");
    d = opendir(path);
    free(path);
    if (!d)
        return ll_fail(EX_NOINPUT, "%s/%s: %s", s->path, sub, strerror(errno));
    while ((e = readdir(d)) && s->n < LL_SHELF_MAX) {
        char **more;

        if (e->d_name[0] == '.')
            continue;
        more = reallocarray(s->name, s->n + 1, sizeof(*s->name));
        if (!more)
            break;
        s->name = more;
        if (asprintf(&s->name[s->n], "%s/%s", sub, e->d_name) < 0)
            break;
        s->n++;
    }
    closedir(d);
    return 0;
}

static int open_maildir(struct ll_shelf *s, int64_t number, bool *ret_list)
{
    size_t i = number < 0 ? s->n - 1 : (size_t)number - 1;
    char *path;
    int status;

    *ret_list = number == 0;
    if (number == 0)
        return 0;
    if (i >= s->n)
        return ll_fail(EX_NOINPUT, "%s: there is no letter %lld; it has %zu", s->path,
                       (long long)number, s->n);
    if (asprintf(&path, "%s/%s", s->path, s->name[i]) < 0)
        return ll_fail(EX_OSERR, "no memory");
    status = ll_letters_open(&s->letters, path);
    s->letters.mbox = false;
    free(path);
    return status;
}

/* ---- both ---------------------------------------------------------------------------------------
 */

static bool is_maildir(const char *path)
{
    struct stat st;
    char *cur;
    bool yes;

    if (strcmp(path, "-") == 0 || asprintf(&cur, "%s/cur", path) < 0)
        return false;
    yes = stat(cur, &st) == 0 && S_ISDIR(st.st_mode);
    free(cur);
    return yes;
}

/* Does an mbox hold a second letter? */
static bool has_several(const struct ll_letters *l)
{
    struct ll_slice rest = ll_slice_skip(l->rest, 1);

    return l->mbox && (ll_slice_search(rest, LL_LIT("\n\nFrom ")) < rest.n ||
                       ll_slice_search(rest, LL_LIT("\r\n\r\nFrom ")) < rest.n);
}

int ll_shelf_open(struct ll_shelf *s, const char *path, int64_t number, bool *ret_list)
{
    int status;

    *s = (struct ll_shelf){.path = path, .maildir = is_maildir(path)};
    *ret_list = false;
    if (s->maildir) {
        status = take_names(s, "new");
        if (status == 0)
            status = take_names(s, "cur");
        if (status == 0 && s->n > 0)
            qsort(s->name, s->n, sizeof(*s->name), by_age);
        return status == 0 ? open_maildir(s, number, ret_list) : status;
    }
    status = ll_letters_open(&s->letters, path);
    *ret_list = status == 0 && number == 0 && has_several(&s->letters);
    return status;
}

void ll_shelf_release(struct ll_shelf *s)
{
    for (size_t i = 0; i < s->n; i++)
        free(s->name[i]);
    free(s->name);
    ll_letters_release(&s->letters);
}

bool ll_shelf_letter(struct ll_shelf *s, int64_t number, struct ll_slice *ret, int *ret_status)
{
    int64_t want = s->maildir || number == 0 ? 1 : number, at = 0;
    struct ll_slice next;

    *ret_status = 0;
    while (at != want && ll_letters_next(&s->letters, &next, ret_status)) {
        *ret = next;
        at++;
    }
    if (*ret_status != 0)
        return false;
    if (at == want || (want < 0 && at > 0))
        return true;
    *ret_status = ll_fail(EX_NOINPUT, "%s: there is no letter %lld; it has %lld", s->path,
                          (long long)number, (long long)at);
    return false;
}

bool ll_shelf_next(struct ll_shelf *s, size_t *at, struct ll_buf *head)
{
    struct ll_slice letter;
    int status = 0;

    ll_buf_clear(head);
    if (!s->maildir) {
        if (!ll_letters_next(&s->letters, &letter, &status))
            return false;
        ll_buf_put_slice(head, ll_slice_cut(letter, 0, LL_SHELF_HEAD));
        ++*at;
        return true;
    }
    while (*at < s->n) {
        uint8_t *room = ll_buf_room(head, LL_SHELF_HEAD);
        char *path;
        ssize_t n;
        int fd;

        if (!room || asprintf(&path, "%s/%s", s->path, s->name[*at]) < 0)
            return false;
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        free(path);
        ++*at;
        n = fd >= 0 ? read(fd, room, LL_SHELF_HEAD) : -1;
        if (fd >= 0)
            close(fd);
        ll_buf_grew(head, n > 0 ? (size_t)n : 0);
        return true;
    }
    return false;
}
