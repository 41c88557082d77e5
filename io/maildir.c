/* See maildir.h. */
#include "io/maildir.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "letterlock/spool.h"

#define PATH_OCTETS 4096        /* of a mailbox's path, before its parts are found too long */
#define PART_MAX    200         /* octets of one folder name, escapes included: below NAME_MAX */
#define CHUNK       (64u << 10) /* octets read and converted at a time */
#define JUNK        ".Junk"     /* Maildir++: a folder beside new and cur */
#define SYNCFS_MIN  8           /* letters in a batch from which one syncfs beats flushing each */

struct ll_maildir {
    int root;
    char *host;
    uint8_t *in;  /* CHUNK */
    uint8_t *out; /* CHUNK, converted: what the present letter has not written yet */
    size_t out_n;
};

/* One letter on its way through a batch. */
struct work {
    char name[128];
    int tmp;     /* directory descriptors; shared by letters to one folder */
    int dir_new; /* -1: not open */
    int file;    /* -1: none */
    bool owns;   /* of the two directories */
};

static bool put_part(struct ll_buf *out, struct ll_slice part)
{
    size_t start = out->n;

    for (size_t i = 0; i < part.n; i++) {
        uint8_t c = ll_lower(part.p[i]);
        bool plain = ll_is_alnum(c) || memchr("_+=-", c, 4) || (c == '.' && i > 0);

        if (plain)
            ll_buf_putc(out, c);
        else
            ll_buf_printf(out, "%%%02x", c);
    }
    return part.n > 0 && out->n - start <= PART_MAX && !out->failed;
}

bool ll_maildir_path(struct ll_buf *out, struct ll_slice mailbox)
{
    size_t at = ll_slice_rfind(mailbox, '@');

    if (at == mailbox.n || !put_part(out, ll_slice_skip(mailbox, at + 1)))
        return false;
    ll_buf_putc(out, '/');
    return put_part(out, ll_slice_cut(mailbox, 0, at));
}

static int open_beneath(int dir, const char *path)
{
    struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV};

    return (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
}

/* Opens dir/name, making it first where it is missing; a new entry is flushed before it is used. */
static int open_or_make(int dir, const char *name)
{
    int fd = open_beneath(dir, name);

    if (fd >= 0 || errno != ENOENT)
        return fd;
    if (mkdirat(dir, name, 0700) != 0 && errno != EEXIST)
        return -1;
    if (fsync(dir) != 0)
        return -1;
    return open_beneath(dir, name);
}

static int open_mailbox(struct ll_maildir *m, struct ll_slice mailbox)
{
    struct ll_buf path = LL_BUF(PATH_OCTETS);
    const char *text;
    char *slash;
    int domain = -1, box = -1;

    if (!ll_maildir_path(&path, mailbox) || !(text = ll_buf_str(&path))) {
        errno = path.failed ? ENOMEM : EINVAL;
    } else {
        slash = strchr((char *)path.p, '/');
        *slash = '\0';
        domain = open_or_make(m->root, text);
        if (domain >= 0)
            box = open_or_make(domain, slash + 1);
    }
    int saved = errno;

    if (domain >= 0)
        close(domain);
    ll_buf_release(&path);
    errno = saved;
    return box;
}

static int open_folders(struct ll_maildir *m, const struct ll_maildir_item *item, struct work *w)
{
    int box = open_mailbox(m, item->mailbox);
    int cur;

    if (box >= 0 && item->junk) {
        int junk = open_or_make(box, JUNK);
        int saved = errno;

        close(box);
        box = junk;
        errno = saved;
    }
    if (box < 0)
        return errno;
    w->owns = true;
    w->tmp = open_or_make(box, "tmp");
    if (w->tmp >= 0)
        w->dir_new = open_or_make(box, "new");
    cur = w->dir_new >= 0 ? open_or_make(box, "cur") : -1;

    int error = cur >= 0 ? 0 : errno;

    if (cur >= 0)
        close(cur);
    close(box);
    return error;
}

static int write_all(int fd, const uint8_t *p, size_t n)
{
    while (n > 0) {
        ssize_t k = write(fd, p, n);

        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return errno;
        p += k;
        n -= (size_t)k;
    }
    return 0;
}

/* Copies in to out without the CR of each CR LF. A CR at the very end of a chunk is kept back by
 * the caller, which knows what follows. */
static size_t to_lf(uint8_t *out, const uint8_t *in, size_t n)
{
    size_t k = 0;

    for (size_t i = 0; i < n;) {
        const uint8_t *cr = memchr(in + i, '\r', n - i);
        size_t run = cr ? (size_t)(cr - (in + i)) : n - i;

        memcpy(out + k, in + i, run);
        k += run;
        i += run;
        if (i < n) {
            if (i + 1 >= n || in[i + 1] != '\n')
                out[k++] = '\r';
            i++;
        }
    }
    return k;
}

static int write_out(struct ll_maildir *m, int fd)
{
    size_t n = m->out_n;

    m->out_n = 0;
    return write_all(fd, m->out, n);
}

/* Gathers, so that a letter of the usual size is one write. */
static int write_lf(struct ll_maildir *m, int fd, struct ll_slice text)
{
    while (text.n > 0) {
        size_t room = CHUNK - m->out_n;
        size_t n = text.n < room ? text.n : room;

        if (n > 0 && n < text.n && text.p[n - 1] == '\r')
            n--; /* never divide CR LF */
        if (n == 0) {
            int error = write_out(m, fd);

            if (error)
                return error;
            continue;
        }
        m->out_n += to_lf(m->out + m->out_n, text.p, n);
        text = ll_slice_skip(text, n);
    }
    return 0;
}

/* RFC 5321 4.4: a Return-Path that came with the letter goes; ours is the only one. */
static int write_header(struct ll_maildir *m, int fd, struct ll_slice header)
{
    struct ll_slice name = LL_LIT("Return-Path");
    bool dropping = false;

    while (header.n > 0) {
        size_t at = ll_slice_find(header, '\n');
        struct ll_slice line = ll_slice_cut(header, 0, at + 1);

        header = ll_slice_skip(header, line.n);
        if (!ll_is_blank(line.p[0])) {
            struct ll_slice rest = ll_slice_skip(line, name.n);

            dropping = ll_slice_casestarts(line, name) &&
                       ll_slice_starts(ll_slice_trim(rest), LL_LIT(":"));
        }
        int error = dropping ? 0 : write_lf(m, fd, line);

        if (error)
            return error;
    }
    return 0;
}

static int write_from_memory(struct ll_maildir *m, int fd, const struct ll_maildir_item *item)
{
    struct ll_slice header = ll_slice_cut(item->body, 0, item->header_length);
    int error = ll_slice_search(header, LL_LIT("eturn-")) < header.n ||
                        ll_slice_search(header, LL_LIT("ETURN-")) < header.n
                    ? write_header(m, fd, header)
                    : write_lf(m, fd, header);

    return error ? error : write_lf(m, fd, ll_slice_skip(item->body, header.n));
}

static int read_at(int fd, uint8_t *p, size_t n, uint64_t offset)
{
    while (n > 0) {
        ssize_t k = pread(fd, p, n, (off_t)offset);

        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return k < 0 ? errno : EIO; /* shorter than the job says */
        p += k;
        n -= (size_t)k;
        offset += (uint64_t)k;
    }
    return 0;
}

static int write_from_file(struct ll_maildir *m, int fd, const struct ll_maildir_item *item)
{
    uint64_t at = item->header_length;
    uint8_t *header = malloc(item->header_length + 1u);
    int error = header ? read_at(item->fd, header, item->header_length, item->body_offset) : ENOMEM;

    if (!error)
        error = write_header(m, fd, ll_slice(header, item->header_length));
    free(header);
    while (!error && at < item->body_length) {
        uint64_t left = item->body_length - at;
        size_t n = left < CHUNK ? (size_t)left : CHUNK;

        error = read_at(item->fd, m->in, n, item->body_offset + at);
        if (error)
            break;
        if (n < left && m->in[n - 1] == '\r')
            n--;
        error = write_lf(m, fd, ll_slice(m->in, n));
        at += n;
    }
    return error;
}

static int write_letter(struct ll_maildir *m, struct work *w, const struct ll_maildir_item *item)
{
    struct ll_buf head = LL_BUF(2048 + LL_SPOOL_PREPEND_MAX);
    int error = ENOMEM;

    ll_buf_printf(&head, "Return-Path: <%.*s>\r\nDelivered-To: %.*s\r\n",
                  LL_FMT(item->reverse_path), LL_FMT(item->address));
    if (item->junk)
        ll_buf_puts(&head, "X-Quarantine: the sender is not proved\r\n");
    ll_buf_put_slice(&head, item->prepend);
    m->out_n = 0;
    if (!head.failed)
        error = write_lf(m, w->file, ll_buf_slice(&head));
    ll_buf_release(&head);
    if (!error)
        error =
            item->fd >= 0 ? write_from_file(m, w->file, item) : write_from_memory(m, w->file, item);
    return error ? error : write_out(m, w->file);
}

static void name_letter(struct ll_maildir *m, struct work *w, const struct ll_maildir_item *item)
{
    struct ll_buf id = LL_BUF(32);

    ll_letter_id_format(&id, item->letter);
    snprintf(w->name, sizeof(w->name), "%lld.L%.*sR%u.%.60s", (long long)(item->arrived_ms / 1000),
             LL_FMT(ll_buf_slice(&id)), item->index, m->host);
    ll_buf_release(&id);
}

/* Phase 1: the letter in tmp, written but not flushed. */
static void begin(struct ll_maildir *m, struct work *w, struct ll_maildir_item *item)
{
    struct stat st;

    name_letter(m, w, item);
    if (!item->error && fstatat(w->dir_new, w->name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        item->duplicate = true;
        return;
    }
    if (item->error)
        return;
    /* What a crashed try left in tmp under this name is ours: O_TRUNC writes it anew. */
    w->file = openat(w->tmp, w->name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    item->error = w->file < 0 ? errno : write_letter(m, w, item);
}

/* Phase 2: flushed. */
static void flush_files(struct ll_maildir *m, struct work *w, struct ll_maildir_item *items,
                        size_t n)
{
    int all = n >= SYNCFS_MIN ? (syncfs(m->root) == 0 ? 0 : errno) : -1;

    for (size_t i = 0; i < n; i++) {
        if (w[i].file < 0)
            continue;
        if (!items[i].error && all != 0)
            items[i].error = all > 0 ? all : fdatasync(w[i].file) == 0 ? 0 : errno;
        if (close(w[i].file) != 0 && !items[i].error)
            items[i].error = errno;
        if (items[i].error)
            unlinkat(w[i].tmp, w[i].name, 0);
    }
}

/* Phase 3: in new, under its final name; then the directories are flushed. */
static void publish(struct work *w, struct ll_maildir_item *items, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (items[i].error || items[i].duplicate || w[i].file < 0)
            continue;
        if (renameat2(w[i].tmp, w[i].name, w[i].dir_new, w[i].name, RENAME_NOREPLACE) == 0)
            continue;
        if (errno == EEXIST)
            items[i].duplicate = true;
        else
            items[i].error = errno;
        unlinkat(w[i].tmp, w[i].name, 0);
    }
}

/* One syncfs, or an fsync of each directory. Where that fails the letters stay in new, reported as
 * not delivered: a copy more is better than a letter less. */
static void flush_folders(struct ll_maildir *m, struct work *w, struct ll_maildir_item *items,
                          size_t n)
{
    size_t folders = 0;
    int all = -1;

    for (size_t i = 0; i < n; i++)
        folders += w[i].owns;
    if (folders >= SYNCFS_MIN)
        all = syncfs(m->root) == 0 ? 0 : errno;
    for (size_t i = 0; i < n; i++) {
        int error = all;

        if (!w[i].owns)
            continue;
        if (all < 0)
            error = w[i].dir_new >= 0 && fsync(w[i].dir_new) != 0 ? errno : 0;
        for (size_t k = i; error && k < n; k++)
            if (w[k].dir_new == w[i].dir_new && !items[k].error)
                items[k].error = error;
    }
}

void ll_maildir_deliver(struct ll_maildir *m, struct ll_maildir_item *items, size_t n)
{
    struct work *w = calloc(n, sizeof(*w));

    for (size_t i = 0; i < n; i++) {
        items[i].error = w ? 0 : ENOMEM;
        items[i].duplicate = false;
    }
    if (!w)
        return;
    for (size_t i = 0; i < n; i++) {
        w[i] = (struct work){.tmp = -1, .dir_new = -1, .file = -1};
        for (size_t k = 0; k < i && w[i].dir_new < 0; k++)
            if (w[k].owns && w[k].dir_new >= 0 && items[k].junk == items[i].junk &&
                ll_slice_caseeq(items[k].mailbox, items[i].mailbox)) {
                w[i].tmp = w[k].tmp;
                w[i].dir_new = w[k].dir_new;
            }
        if (w[i].dir_new < 0)
            items[i].error = open_folders(m, &items[i], &w[i]);
        begin(m, &w[i], &items[i]);
    }
    flush_files(m, w, items, n);
    publish(w, items, n);
    flush_folders(m, w, items, n);
    for (size_t i = 0; i < n; i++) {
        if (w[i].owns && w[i].tmp >= 0)
            close(w[i].tmp);
        if (w[i].owns && w[i].dir_new >= 0)
            close(w[i].dir_new);
    }
    free(w);
}

struct ll_maildir *ll_maildir_open(const char *root, const char *hostname)
{
    struct ll_maildir *m = calloc(1, sizeof(*m));

    if (!m)
        return NULL;
    m->root = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    m->in = malloc(CHUNK);
    m->out = malloc(CHUNK);
    m->host = strdup(hostname);
    if (m->root < 0 || !m->in || !m->out || !m->host) {
        int saved = errno;

        ll_maildir_close(m);
        errno = saved;
        return NULL;
    }
    for (char *c = m->host; *c; c++)
        if (!ll_is_alnum((uint8_t)*c) && *c != '.' && *c != '-')
            *c = '_';
    return m;
}

void ll_maildir_close(struct ll_maildir *m)
{
    if (!m)
        return;
    if (m->root >= 0)
        close(m->root);
    free(m->host);
    free(m->in);
    free(m->out);
    free(m);
}
