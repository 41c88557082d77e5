/*
 * spool: fills a spool_dir as a server would have left it, with the real codecs.
 *
 *   spool DIR LETTERS DESTINATIONS RECIPIENTS OCTETS waiting|deferred [SECONDS]
 *
 * Letter n goes to RECIPIENTS (1..100) of the domains d0.far.test ... by turns, with a content of
 * OCTETS. `deferred`: the outcome log says that each was tried once and is due in SECONDS to twice
 * that. Prints the number of (letter, destination) pairs.
 */
#include "daemon/msg.h"
#include "letterlock/spool.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SEGMENT_OCTETS (64u << 20)
#define RCPTS          100

struct file {
    const char *dir;
    int fd;
    uint32_t number;
    uint64_t at; /* octets so far */
    struct ll_buf b;
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void flush(struct file *f)
{
    if (write(f->fd, f->b.p, f->b.n) != (ssize_t)f->b.n)
        die("write");
    ll_buf_clear(&f->b);
}

static void open_file(struct file *f, const char *suffix)
{
    char name[512];

    snprintf(name, sizeof(name), "%s/%08x%s", f->dir, f->number, suffix);
    f->fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (f->fd < 0)
        die(name);
}

/* Ends the segment, which the log then calls closed, and begins the next. */
static void next_segment(struct file *f, struct file *log)
{
    struct ll_segment_head h = {
        .segment = f->number + 1, .generation = 4711, .writer = LL_ROLE_FRONT_MX};
    struct ll_outlog_record closed = {
        .kind = LL_OUTLOG_CLOSED, .segment = f->number, .length = f->at};

    if (f->fd >= 0) {
        flush(f);
        close(f->fd);
        ll_outlog_encode(&closed, 4712, &log->b);
    }
    f->number++;
    open_file(f, "");
    ll_segment_head_encode(&h, &f->b);
    f->at = LL_SEGMENT_HEAD;
}

struct plan {
    unsigned long letters, dests, rcpts, octets, seconds;
    bool deferred;
};

static void write_letter(struct file *seg, struct file *log, const struct plan *p, unsigned long n)
{
    static char address[RCPTS][64];
    static char body[1 << 18];
    struct ll_rcpt r[RCPTS];
    uint32_t index[RCPTS];
    struct ll_letter l = {.id = (uint64_t)seg->number << 32 | seg->at,
                          .arrived_ms = (int64_t)(time(NULL) - 3600) * 1000,
                          .origin = LL_ORIGIN_MX,
                          .reverse_path = LL_LIT("sender@home.test"),
                          .rcpt = r,
                          .n_rcpt = p->rcpts};
    struct ll_outlog_record o = {.kind = LL_OUTLOG_STATE,
                                 .letter = l.id,
                                 .state = LL_RCPT_DEFERRED,
                                 .attempts = 1,
                                 .until_s = time(NULL) + (int64_t)(p->seconds + n % p->seconds),
                                 .code = 451,
                                 .status = LL_LIT("4.4.1"),
                                 .text = LL_LIT("no connection: timed out"),
                                 .rcpt = index,
                                 .n = p->rcpts};
    size_t before = seg->b.n;

    for (unsigned long i = 0; i < p->rcpts; i++) {
        snprintf(address[i], sizeof(address[i]), "user%lu@d%lu.far.test", i,
                 (n * p->rcpts + i) % p->dests);
        r[i] = (struct ll_rcpt){.address = ll_slice_str(address[i]),
                                .reverse_path = l.reverse_path,
                                .kind = LL_RCPT_REMOTE};
        index[i] = (uint32_t)i;
    }
    memset(body, 'x', p->octets);
    memcpy(body, "Subject: x\r\n\r\n", 14);
    l.header_length = 14;
    l.body = ll_slice(body, p->octets);
    l.body_length = p->octets;
    ll_record_encode(&l, 4711, 0, &seg->b);
    seg->at += seg->b.n - before;
    if (p->deferred)
        ll_outlog_encode(&o, 4712, &log->b);
}

int main(int argc, char **argv)
{
    char segments[400], logs[400];
    struct file seg = {.dir = segments, .fd = -1, .b = LL_BUF(1u << 30)};
    struct file log = {.dir = logs, .fd = -1, .number = 1, .b = LL_BUF(1u << 30)};
    struct plan p;

    if (argc < 7) {
        fprintf(stderr, "usage: spool DIR LETTERS DESTINATIONS RECIPIENTS OCTETS waiting|deferred "
                        "[SECONDS]\n");
        return 64;
    }
    p = (struct plan){strtoul(argv[2], NULL, 10),
                      strtoul(argv[3], NULL, 10),
                      strtoul(argv[4], NULL, 10),
                      strtoul(argv[5], NULL, 10),
                      argc > 7 ? strtoul(argv[7], NULL, 10) : 3600,
                      argv[6][0] == 'd'};
    if (!p.dests || !p.rcpts || p.rcpts > RCPTS || p.octets < 14 || p.octets > 1 << 18 ||
        !p.seconds) {
        fprintf(stderr, "spool: a number is out of range\n");
        return 64;
    }
    snprintf(segments, sizeof(segments), "%s/segments", argv[1]);
    snprintf(logs, sizeof(logs), "%s/log", argv[1]);
    if (mkdir(segments, 0700) != 0 || mkdir(logs, 0700) != 0)
        die(argv[1]);
    open_file(&log, ".log");
    ll_outlog_head_encode(log.number, 4712, &log.b);
    for (unsigned long n = 0; n < p.letters; n++) {
        if (seg.fd < 0 || seg.at >= SEGMENT_OCTETS)
            next_segment(&seg, &log);
        write_letter(&seg, &log, &p, n);
        if (seg.b.n > 1 << 20)
            flush(&seg);
        if (log.b.n > 1 << 20)
            flush(&log);
    }
    flush(&seg);
    flush(&log);
    if (seg.b.failed || log.b.failed || fsync(seg.fd) != 0 || fsync(log.fd) != 0)
        die("spool");
    printf("%lu\n", p.letters * p.rcpts);
    return 0;
}
