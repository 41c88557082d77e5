/*
 * report: reads one report that came, and ends; super starts the next. It is given a letter's
 * octets by tally, has neither files nor network, and answers with marks (io/report.h) in a sealed
 * memfd. Who reads a stranger's archive has no second one to spoil.
 */
#include "daemon/proc.h"
#include "io/report.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

/* The marks as a descriptor that nobody can change any more; -1 on failure. */
static int share(struct ll_slice marks)
{
    int fd = memfd_create("marks", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    while (fd >= 0 && marks.n > 0) {
        ssize_t n = write(fd, marks.p, marks.n);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        marks = ll_slice_skip(marks, (size_t)n);
    }
    if (fd >= 0 && marks.n == 0 &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* What was read goes to tally, and this process goes. */
static int finish(struct ll_peer *peer, uint64_t id, enum ll_report_error e, uint64_t line,
                  const struct ll_buf *marks)
{
    struct ll_msg m = {.type = LL_MSG_READ_ANSWER, .id = id};
    int r;

    m.fd = share(e == LL_REPORT_OK ? ll_buf_slice(marks) : LL_LIT(""));
    m.read_answer.error = (uint8_t)e;
    m.read_answer.line = line;
    r = m.fd >= 0 ? ll_msg_send(peer->ipc, &m) : -1;
    if (m.fd >= 0)
        close(m.fd);
    ll_proc_exit(peer->proc);
    return r;
}

static int read_it(struct ll_peer *peer, uint64_t id, struct ll_slice letter)
{
    struct ll_buf out = LL_BUF(LL_REPORT_MARKS_MAX);
    struct ll_report_marks marks = {.out = &out};
    uint64_t line = 0;
    enum ll_report_error e = ll_report_parse(letter, &marks, &line);
    int r = finish(peer, id, e, line, &out);

    ll_buf_release(&out);
    return r;
}

static int on_read_small(struct ll_peer *peer, const struct ll_msg *m)
{
    return read_it(peer, m->id, m->read_small.body);
}

static bool load(int fd, uint64_t offset, uint64_t length, struct ll_buf *out)
{
    while (length > 0) {
        size_t part = length < 65536 ? (size_t)length : 65536;
        uint8_t *p = ll_buf_room(out, part);
        ssize_t n = p ? pread(fd, p, part, (off_t)offset) : -1;

        if (n < 0 && errno == EINTR && p)
            continue;
        if (n <= 0)
            return false;
        ll_buf_grew(out, (size_t)n);
        offset += (uint64_t)n;
        length -= (uint64_t)n;
    }
    return true;
}

static int on_read_ask(struct ll_peer *peer, const struct ll_msg *m)
{
    struct ll_buf in = LL_BUF(LL_REPORT_IN_MAX), none = LL_BUF(1);
    int r;

    if (m->read_ask.length > LL_REPORT_IN_MAX)
        r = finish(peer, m->id, LL_REPORT_BIG, 0, &none);
    else if (!load(m->fd, m->read_ask.offset, m->read_ask.length, &in))
        r = finish(peer, m->id, LL_REPORT_RESOURCE, 0, &none);
    else
        r = read_it(peer, m->id, ll_buf_slice(&in));
    close(m->fd);
    ll_buf_release(&in);
    return r;
}

static int report_start(struct ll_proc *proc)
{
    return ll_report_limits() ? 0 : -1;
}

const struct ll_role_ops ll_role_report = {
    .start = report_start,
    .on = {[LL_MSG_READ_ASK] = on_read_ask, [LL_MSG_READ_SMALL] = on_read_small},
};
