/* The files of the spool: who writes to them, when they go. See queue.h. */
#include "daemon/queue/queue.h"

#include "io/clock.h"
#include "io/log.h"

#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#define SEGMENT_LIMIT_MAX (64u << 20) /* octets at which a writer changes to the next segment */
#define SEGMENT_LIMIT_MIN (256u << 10)
#define SEGMENT_SHARE     128        /* of a small disk, a segment is this part */
#define AHEAD_MAX         (1u << 20) /* octets of zeros written at once ahead of a writer */
#define AHEAD_SHARE       8          /* of a short segment, this part */
#define ZEROS             (64u << 10)
#define SPACE_LOW         (64u << 20) /* free octets below which nothing more is accepted */
#define SPACE_SHARE       8           /* of a small disk: this part */
#define SMALL_DISK        (1u << 30)
#define INODES_LOW        64
#define FILES_SHARE       64 /* at most this part of the free inodes at once */
#define FILES_BATCH       32 /* body files handed out together: one flush of the folder */
#define FILES_FIRST       4  /* the first time, when many wait for us */
#define LOCK_TRIES        50
#define LOCK_WAIT_US      100000

/* ---- opening --------------------------------------------------------------------------------- */

static int folder(int dir, const char *name)
{
    if (mkdirat(dir, name, 0700) != 0 && errno != EEXIST)
        return -1;
    return openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

/* The queue before us may still be dying. */
static int take_lock(struct queue *q)
{
    q->lock = openat(q->dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    for (int i = 0; q->lock >= 0 && i < LOCK_TRIES; i++) {
        if (flock(q->lock, LOCK_EX | LOCK_NB) == 0)
            return 0;
        usleep(LOCK_WAIT_US);
    }
    ll_log(LL_LOG_ERROR, "spool-locked", LL_FS("path", q->proc->conf->spool_dir),
           LL_FS("why", "another server uses this spool"));
    return -1;
}

static void set_aside(struct queue *q, int dir, const char *name)
{
    if (renameat(dir, name, q->aside_dir, name) == 0)
        ll_log(LL_LOG_ERROR, "spool-set-aside", LL_FS("file", name));
    q->damaged++;
}

static struct segment *segment_link(struct queue *q, const struct ll_segment_head *h)
{
    struct segment *s = calloc(1, sizeof(*s));
    struct link *at = q->segments.prev;

    if (!s)
        return NULL;
    s->number = h->segment;
    s->generation = h->generation;
    s->writer = h->writer;
    s->index = h->index;
    s->fd = -1;
    s->upto = LL_SEGMENT_HEAD;
    s->until = UINT64_MAX;
    link_init(&s->scan);
    while (at != &q->segments && LINK_OF(struct segment, link, at)->number > s->number)
        at = at->prev;
    link_first(at, &s->link);
    if (s->number >= q->next_segment)
        q->next_segment = s->number + 1;
    return s;
}

static void segment_name(char name[24], uint32_t number)
{
    snprintf(name, 24, "%08x", number);
}

static bool hex_name(const char *name, size_t digits, uint64_t *ret)
{
    char *end;

    if (strlen(name) != digits || strspn(name, "0123456789abcdef") != digits)
        return false;
    *ret = strtoull(name, &end, 16);
    return *end == '\0';
}

static bool has_writer(const struct queue *q, const struct segment *s)
{
    const struct ll_conf *conf = q->proc->conf;
    int64_t workers = s->writer == LL_ROLE_FRONT_MX    ? conf->mx_workers
                      : s->writer == LL_ROLE_FRONT_SUB ? conf->submission_workers
                      : s->writer == LL_ROLE_POST      ? 1
                                                       : 0;

    return s->index < workers;
}

static int find_segment(struct queue *q, const char *name)
{
    uint8_t head[LL_SEGMENT_HEAD];
    struct ll_segment_head h;
    struct segment *s;
    uint64_t number;
    ssize_t r;
    int fd;

    if (!hex_name(name, 8, &number))
        return 0;
    fd = openat(q->segments_dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? 0 : -1;
    if (number >= q->next_segment)
        q->next_segment = (uint32_t)number + 1;
    r = pread(fd, head, sizeof(head), 0);
    if (r < 0) { /* the disk does not give it now: a later start may read it */
        ll_log(LL_LOG_ERROR, "journal-unreadable", LL_FU("segment", number), LL_FU("offset", 0),
               LL_FS("why", strerror(errno)));
        q->unreadable = true;
        close(fd);
        return 0;
    }
    if (r != (ssize_t)sizeof(head) || !ll_segment_head_decode(ll_slice(head, sizeof(head)), &h) ||
        h.segment != number) {
        close(fd);
        set_aside(q, q->segments_dir, name);
        return 0;
    }
    s = segment_link(q, &h);
    if (!s) {
        close(fd);
        return -1;
    }
    s->fd = fd;
    s->tail = true;
    s->final = !has_writer(q, s);
    if (s->writer == LL_ROLE_QUEUE)
        q->old_ids = true;
    return 0;
}

static int each_name(struct queue *q, int dir, int (*fn)(struct queue *, const char *))
{
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *e;
    int r = d ? 0 : -1;

    while (d && r == 0 && (e = readdir(d)) != NULL)
        if (e->d_name[0] != '.')
            r = fn(q, e->d_name);
    if (d)
        closedir(d);
    return r;
}

static int find_body(struct queue *q, const char *name)
{
    uint64_t number;

    if (hex_name(name, 16, &number) && number >= q->next_body)
        q->next_body = number + 1;
    return 0;
}

int segments_open(struct queue *q)
{
    const char *path = q->proc->conf->spool_dir;

    link_init(&q->segments);
    q->next_segment = 1;
    /* Numbers of bodies go with the clock, so that none comes back while a record of an earlier
     * letter still names it. */
    q->next_body = (uint64_t)ll_unix_ms() << 12;
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return -1;
    q->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (q->dir < 0 || take_lock(q) != 0)
        return -1;
    q->segments_dir = folder(q->dir, "segments");
    q->bodies_dir = folder(q->dir, "bodies");
    q->log_dir = folder(q->dir, "log");
    q->receipts_dir = folder(q->dir, "receipts");
    q->aside_dir = folder(q->dir, "aside");
    if (q->segments_dir < 0 || q->bodies_dir < 0 || q->log_dir < 0 || q->receipts_dir < 0 ||
        q->aside_dir < 0 || fsync(q->dir) != 0)
        return -1;
    if (each_name(q, q->segments_dir, find_segment) != 0 ||
        each_name(q, q->bodies_dir, find_body) != 0)
        return -1;
    q->first_body = q->next_body;
    return 0;
}

struct segment *segment_find(const struct queue *q, uint32_t number)
{
    for (struct link *l = q->segments.prev; l != &q->segments; l = l->prev)
        if (LINK_OF(struct segment, link, l)->number == number)
            return LINK_OF(struct segment, link, l);
    return NULL;
}

int segment_fd(struct queue *q, struct segment *s)
{
    char name[24];

    if (s->fd < 0) {
        segment_name(name, s->number);
        s->fd = openat(q->segments_dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    }
    return s->fd;
}

/* ---- making and removing --------------------------------------------------------------------- */

/* The number must not come back after this segment has gone: its name is durable before anyone
 * writes to it, and the log, which outlives it, names it too. */
struct segment *segment_new(struct queue *q, enum ll_role writer, unsigned index)
{
    struct ll_segment_head h = {
        .segment = q->next_segment, .writer = (uint8_t)writer, .index = (uint16_t)index};
    uint8_t raw[LL_SEGMENT_HEAD];
    struct ll_buf b = {raw, 0, sizeof(raw), sizeof(raw), false};
    struct segment *s;
    char name[24];
    int fd;

    if (getrandom(&h.generation, sizeof(h.generation), 0) != (ssize_t)sizeof(h.generation))
        return NULL;
    segment_name(name, h.segment);
    fd = openat(q->segments_dir, name, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        return NULL;
    q->next_segment++;
    ll_segment_head_encode(&h, &b);
    if (write(fd, raw, sizeof(raw)) != (ssize_t)sizeof(raw) || fdatasync(fd) != 0 ||
        fsync(q->segments_dir) != 0 || (s = segment_link(q, &h)) == NULL) {
        close(fd);
        unlinkat(q->segments_dir, name, 0);
        return NULL;
    }
    s->fd = fd;
    s->ours = true;
    outlog_segment(q);
    return s;
}

void segment_over(struct queue *q, struct segment *s, uint64_t id)
{
    if (s->n_over == s->cap_over) {
        size_t cap = s->cap_over ? s->cap_over * 2 : 64;
        uint64_t *over = realloc(s->over, cap * sizeof(*over));

        if (!over) {
            /* It would come back after a checkpoint: better a process that starts again. */
            ll_proc_no_memory("letters that are over");
        }
        s->over = over;
        s->cap_over = cap;
    }
    s->over[s->n_over++] = id;
}

void segment_settle(struct queue *q, struct segment *s)
{
    char name[24];

    if (!s->closed || s->letters > 0 || s == q->copy || !link_empty(&s->scan) || s->unreadable)
        return;
    if (q->log.at_segment == s) {
        q->log.at_over = 0;
        q->log.at_segment =
            s->link.next == &q->segments ? NULL : LINK_OF(struct segment, link, s->link.next);
    }
    segment_name(name, s->number);
    outlog_remove(q, q->segments_dir, name);
    link_out(&s->link);
    if (s->fd >= 0)
        close(s->fd);
    free(s->over);
    free(s);
}

void body_name(char name[24], uint64_t number)
{
    snprintf(name, 24, "%016llx", (unsigned long long)number);
}

void body_remove(struct queue *q, uint64_t number)
{
    char name[24];

    body_name(name, number);
    outlog_remove(q, q->bodies_dir, name);
}

/* ---- giving to writers ----------------------------------------------------------------------- */

/* A flush behind octets that were there costs half of one that makes the file longer. Our
 * descriptor appends, so this never meets what the writer writes, wherever that is by now. */
void segment_ahead(struct queue *q, struct segment *s)
{
    static uint8_t zeros[ZEROS];
    struct iovec part[AHEAD_MAX / ZEROS];
    uint64_t most = q->segment_limit / AHEAD_SHARE;
    size_t n = 0;
    ssize_t r;

    if (most > AHEAD_MAX)
        most = AHEAD_MAX;
    if (!s->given || q->space != LL_SPACE_OK || s->size >= s->until + most / 2 ||
        s->size >= q->segment_limit)
        return;
    if (most > q->segment_limit - s->size)
        most = q->segment_limit - s->size;
    for (; most > 0; n++) {
        part[n] = (struct iovec){zeros, most < ZEROS ? most : ZEROS};
        most -= part[n].iov_len;
    }
    /* What does not fit is not there: the writer appends then, and sees what the disk says. */
    r = writev(s->fd, part, (int)n);
    if (r > 0)
        s->size += (uint64_t)r;
    else
        s->given = false;
}

static void give_segment(struct queue *q, struct ll_peer *peer, struct writer_state *w)
{
    struct ll_msg m = {.type = LL_MSG_SEGMENT};
    struct segment *s;
    char name[24];

    if (q->space != LL_SPACE_OK || (s = segment_new(q, peer->role, peer->index)) == NULL)
        return;
    /* A descriptor of its own that cannot read. It stands behind the head, and the sandbox of those
     * who write lets it move by writing alone: what they wrote they cannot write again. */
    segment_name(name, s->number);
    m.fd = openat(q->segments_dir, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (m.fd >= 0 && lseek(m.fd, LL_SEGMENT_HEAD, SEEK_SET) != LL_SEGMENT_HEAD) {
        close(m.fd);
        m.fd = -1;
    }
    m.segment.segment = s->number;
    m.segment.generation = s->generation;
    m.segment.limit = q->segment_limit;
    if (m.fd >= 0 && ll_msg_send(peer->ipc, &m) == 0) {
        w->segment_asked = false;
        s->given = true;
    } else {
        s->final = true;
        scan_begin(q, s);
    }
    if (m.fd >= 0)
        close(m.fd);
}

static void give_files(struct queue *q, struct ll_peer *peer, struct writer_state *w)
{
    int fds[FILES_BATCH];
    uint64_t numbers[FILES_BATCH];
    /* post cannot wait for more: a letter for which it has no file is put off. */
    size_t most = w->files_given || peer->role == LL_ROLE_POST ? FILES_BATCH : FILES_FIRST;
    size_t n = 0;

    if (q->space != LL_SPACE_OK)
        return;
    for (; n < most && n < 1 + q->free_files / FILES_SHARE; n++) {
        char name[24];

        body_name(name, q->next_body);
        fds[n] =
            openat(q->bodies_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
        if (fds[n] < 0)
            break;
        numbers[n] = q->next_body++;
    }
    if (n > 0 && fsync(q->bodies_dir) == 0)
        w->files_asked = false;
    w->files_given = w->files_given || n > 0;
    for (size_t i = 0; i < n; i++) {
        struct ll_msg m = {.type = LL_MSG_FILE, .fd = fds[i]};
        struct given_file *g = calloc(1, sizeof(*g));

        m.file.number = numbers[i];
        if (g && !w->files_asked && ll_msg_send(peer->ipc, &m) == 0) {
            *g = (struct given_file){q->given, numbers[i], (uint8_t)peer->role,
                                     (uint16_t)peer->index};
            q->given = g;
        } else {
            free(g);
            body_remove(q, numbers[i]);
        }
        close(fds[i]);
    }
}

static const enum ll_role writers[] = {LL_ROLE_FRONT_MX, LL_ROLE_FRONT_SUB, LL_ROLE_POST};

static void each_writer(struct queue *q, void (*fn)(struct queue *, struct ll_peer *))
{
    for (size_t r = 0; r < LL_COUNT(writers); r++)
        for (unsigned i = 0; i < 64; i++) {
            struct ll_peer *p = ll_proc_peer(q->proc, writers[r], i);

            if (p && p->data)
                fn(q, p);
        }
}

static void give_one(struct queue *q, struct ll_peer *peer)
{
    struct writer_state *w = peer->data;

    if (w->segment_asked)
        give_segment(q, peer, w);
    if (w->files_asked)
        give_files(q, peer, w);
}

void give(struct queue *q)
{
    each_writer(q, give_one);
}

/* The segments of that writer that it did not say it still writes to, or all of them. */
static void finish_segments(struct queue *q, enum ll_role role, unsigned index, bool all)
{
    for (struct link *l = q->segments.next, *next; l != &q->segments; l = next) {
        struct segment *s = LINK_OF(struct segment, link, l);

        next = l->next;
        if (s->writer != role || s->index != index || s->final || (s->ours && !all))
            continue;
        s->final = true;
        s->until = UINT64_MAX;
        scan_begin(q, s);
    }
}

static void meet(struct queue *q, struct ll_peer *peer)
{
    struct writer_state *w = peer->data;

    if (!w->met)
        finish_segments(q, peer->role, peer->index, false);
    w->met = true;
}

int on_segment_ask(struct ll_peer *peer, const struct ll_msg *m)
{
    struct queue *q = peer->proc->state;
    struct writer_state *w = peer->data;

    meet(q, peer);
    w->segment_asked = true;
    give_segment(q, peer, w);
    return 0;
}

int on_files_ask(struct ll_peer *peer, const struct ll_msg *m)
{
    struct queue *q = peer->proc->state;
    struct writer_state *w = peer->data;

    meet(q, peer);
    w->files_asked = true;
    give_files(q, peer, w);
    return 0;
}

void given_taken(struct queue *q, uint64_t number)
{
    for (struct given_file **at = &q->given; *at; at = &(*at)->next)
        if ((*at)->number == number) {
            struct given_file *g = *at;

            *at = g->next;
            free(g);
            return;
        }
}

int on_file_gone(struct ll_peer *peer, const struct ll_msg *m)
{
    struct queue *q = peer->proc->state;

    for (struct given_file *g = q->given; g; g = g->next)
        if (g->number == m->file_gone.number && g->role == peer->role && g->index == peer->index) {
            given_taken(q, m->file_gone.number);
            body_remove(q, m->file_gone.number);
            return 0;
        }
    return 0; /* of an earlier life: the sweep finds it */
}

/* Its segments are read to the end before its files are called needless: scan_begin does that at
 * once for segments given in this life, whose scan is never far behind. */
void writer_gone(struct queue *q, enum ll_role role, unsigned index)
{
    finish_segments(q, role, index, true);
    q->swept = false;
    for (struct given_file **at = &q->given; *at;) {
        struct given_file *g = *at;

        if (g->role == role && g->index == index) {
            *at = g->next;
            free(g);
        } else {
            at = &g->next;
        }
    }
}

/* ---- space ----------------------------------------------------------------------------------- */

void space_tell(struct queue *q, struct ll_peer *peer)
{
    struct ll_msg m = {.type = LL_MSG_SPACE, .fd = -1};

    m.space.state = (uint8_t)q->space;
    ll_msg_send(peer->ipc, &m);
}

void space_look(struct queue *q)
{
    enum ll_space old = q->space;
    struct statvfs v;
    uint64_t total, low;

    q->taken = 0;
    if (fstatvfs(q->dir, &v) != 0) {
        q->space = LL_SPACE_BROKEN;
    } else {
        total = (uint64_t)v.f_blocks * v.f_frsize;
        q->free_octets = (uint64_t)v.f_bavail * v.f_frsize;
        q->segment_limit = total / SEGMENT_SHARE;
        if (q->segment_limit > SEGMENT_LIMIT_MAX)
            q->segment_limit = SEGMENT_LIMIT_MAX;
        if (q->segment_limit < SEGMENT_LIMIT_MIN)
            q->segment_limit = SEGMENT_LIMIT_MIN;
        low = total < SMALL_DISK ? total / SPACE_SHARE : SPACE_LOW;
        if (low < 2 * q->segment_limit && total >= SMALL_DISK)
            low = 2 * q->segment_limit;
        low += outlog_reserve(q);
        q->low_octets = low < total / 2 ? low : total / 2;
        q->free_files = v.f_files ? v.f_favail : UINT64_MAX;
        q->space = q->free_octets < q->low_octets || (v.f_files && v.f_favail < INODES_LOW)
                       ? LL_SPACE_FULL
                   : (v.f_flag & ST_RDONLY) ? LL_SPACE_BROKEN
                                            : LL_SPACE_OK;
    }
    if (q->space == old)
        return;
    ll_log(q->space == LL_SPACE_OK ? LL_LOG_INFO : LL_LOG_ERROR, "spool-space",
           LL_FS("state", q->space == LL_SPACE_OK     ? "ok"
                          : q->space == LL_SPACE_FULL ? "full"
                                                      : "broken"),
           LL_FU("free", q->free_octets));
    each_writer(q, space_tell);
}

/* ---- body files that no letter has ----------------------------------------------------------- */

struct known {
    uint64_t *number;
    size_t n;
};

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static bool sweep_may_run(struct queue *q)
{
    if (q->swept || q->unreadable || q->scanning || !link_empty(&q->to_scan))
        return false;
    for (struct link *l = q->segments.next; l != &q->segments; l = l->next) {
        struct segment *s = LINK_OF(struct segment, link, l);

        if (!s->ours && !s->closed)
            return false; /* its writer has not said yet what it holds */
    }
    return true;
}

/* The files that letters have, and those in the hands of writers. */
static bool collect_known(struct queue *q, struct known *k)
{
    size_t max = q->letters.n;

    for (struct given_file *g = q->given; g; g = g->next)
        max++;
    k->number = calloc(max + 1, sizeof(*k->number));
    if (!k->number)
        return false;
    for (size_t i = 0; i < q->letters.n_buckets; i++)
        for (struct node *n = q->letters.bucket[i]; n; n = n->next)
            if (((struct letter *)n)->body_file)
                k->number[k->n++] = ((struct letter *)n)->body_file;
    for (struct given_file *g = q->given; g; g = g->next)
        k->number[k->n++] = g->number;
    qsort(k->number, k->n, sizeof(*k->number), by_number);
    return true;
}

/* Runs when every segment of an earlier life is closed: no writer has a file of that life then,
 * for writers give those up when their queue goes. */
void bodies_sweep(struct queue *q)
{
    struct known k = {NULL, 0};
    struct dirent *e;
    DIR *d;
    int fd;

    if (!sweep_may_run(q) || !collect_known(q, &k))
        return;
    q->swept = true;
    fd = openat(q->bodies_dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    d = fd >= 0 ? fdopendir(fd) : NULL;
    while (d && (e = readdir(d)) != NULL) {
        uint64_t number;

        if (hex_name(e->d_name, 16, &number) &&
            !bsearch(&number, k.number, k.n, sizeof(*k.number), by_number))
            outlog_remove(q, q->bodies_dir, e->d_name);
    }
    if (d)
        closedir(d);
    free(k.number);
}
