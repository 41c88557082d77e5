/*
 * The journal and the queue, with processes of our own: a front that writes letters, the real
 * queue, a local that counts copies; the test is super. fdatasync is ours: it notes how much of
 * each file has been flushed, so that a loss of power can be played: all are killed, and files are
 * cut back to what was flushed, with a random, torn part of the rest.
 *
 * Broken variants (no flush; 250 before the flush) must be caught, or the test proves nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "daemon/journal/writer.h"
#include "daemon/queue/queue.h"
#include "io/clock.h"
#include "io/log.h"

#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define LETTERS_MAX 200000
#define FILES_MAX   4096
#define OUTSTANDING 64
#define POISON      77 /* this letter kills its carrier */

enum variant { RIGHT, NO_FLUSH, ACK_EARLY, FLUSH_FAILS };

static struct shared {
    enum variant variant;
    bool load; /* the front makes letters */
    bool hold; /* the local takes letters and says nothing */
    bool poison;
    uint32_t next;
    uint32_t flushes;
    uint32_t deaths;
    uint8_t acked[LETTERS_MAX];
    uint8_t copies[LETTERS_MAX];
    struct note {
        uint64_t inode;
        uint64_t size;
        uint64_t written; /* by write(2); zeros lie ahead of the writer of a segment, by writev */
    } flushed[FILES_MAX];
} * shared;

static struct note *note_of(uint64_t inode)
{
    for (size_t i = 0; i < FILES_MAX; i++) {
        uint64_t none = 0;

        if (shared->flushed[i].inode == inode ||
            __atomic_compare_exchange_n(&shared->flushed[i].inode, &none, inode, false,
                                        __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST) ||
            none == inode)
            return &shared->flushed[i];
    }
    abort();
}

/* In place of the C library's. */
ssize_t write(int fd, const void *from, size_t n)
{
    ssize_t r = syscall(SYS_write, fd, from, n);
    struct stat st;

    if (r > 0 && shared && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        __atomic_add_fetch(&note_of(st.st_ino)->written, (uint64_t)r, __ATOMIC_SEQ_CST);
    return r;
}

/* In place of the C library's. */
int fdatasync(int fd)
{
    struct stat st;
    uint32_t n = __atomic_add_fetch(&shared->flushes, 1, __ATOMIC_RELAXED);

    struct note *note;
    uint64_t written;

    if (fstat(fd, &st) != 0)
        return -1;
    if (shared->variant == NO_FLUSH)
        return 0;
    note = note_of(st.st_ino);
    written = note->written ? note->written : (uint64_t)st.st_size;
    /* A slow disk; one so slow that a flush is always under way shows an early 250. */
    usleep(shared->variant == ACK_EARLY ? 50000 : 2000);
    if (shared->variant == FLUSH_FAILS && n % 17 == 0) {
        errno = EIO;
        return -1;
    }
    note->size = written;
    return 0;
}

/* ---- a front that writes letters ---------------------------------------------------------------
 */

static struct ll_writer *writer;
static struct event *more;

static void make_more(evutil_socket_t fd, short what, void *arg);

static void stored(void *arg, enum ll_stored s, uint64_t id)
{
    if (s == LL_STORED)
        shared->acked[(uintptr_t)arg] = 1;
}

static void make_one(uint32_t n)
{
    struct ll_body_file *file = NULL;
    char body[6000];
    struct ll_rcpt r = {.address = LL_LIT("ann@a.test"),
                        .mailbox = LL_LIT("ann@a.test"),
                        .reverse_path = LL_LIT("bob@b.test"),
                        .kind = LL_RCPT_MAILBOX};
    struct ll_letter l = {
        .arrived_ms = ll_unix_ms(), .reverse_path = r.reverse_path, .rcpt = &r, .n_rcpt = 1};
    int head = snprintf(body, sizeof(body), "%08u\r\n", n);

    memset(body + head, 'x', sizeof(body) - (size_t)head);
    l.body = ll_slice(body, (size_t)head + n % 5000);
    if (n % 50 == 49 && (file = ll_body_file_take(writer)) != NULL)
        ll_body_file_write(file, l.body);
    ll_writer_append(writer, &l, file, stored, (void *)(uintptr_t)n);
    if (shared->variant == ACK_EARLY)
        shared->acked[n] = 1;
}

static void make_more(evutil_socket_t fd, short what, void *arg)
{
    struct timeval soon = {0, 500};

    while (shared->load && ll_writer_ready(writer, 100) == LL_STORED &&
           ll_writer_pending(writer) < OUTSTANDING && shared->next < LETTERS_MAX)
        make_one(shared->next++);
    event_add(more, &soon);
}

static int front_start(struct ll_proc *p)
{
    writer = ll_writer_new(p);
    if (writer)
        ll_writer_alone(writer, true); /* some letters are flushed in the loop, some are not */
    more = event_new(p->base, -1, 0, make_more, NULL);
    return writer && more ? 0 : -1;
}

static void front_run(struct ll_proc *p)
{
    make_more(-1, 0, NULL);
}

static void front_up(struct ll_peer *peer)
{
    if (peer->role == LL_ROLE_QUEUE)
        ll_writer_queue_up(writer, peer);
}

static void front_down(struct ll_peer *peer)
{
    if (peer->role == LL_ROLE_QUEUE)
        ll_writer_queue_down(writer);
}

static int front_on(struct ll_peer *peer, const struct ll_msg *m)
{
    return ll_writer_message(writer, m);
}

static const struct ll_role_ops front_ops = {
    .start = front_start,
    .run = front_run,
    .peer_up = front_up,
    .peer_down = front_down,
    .on = {[LL_MSG_SEGMENT] = front_on, [LL_MSG_FILE] = front_on, [LL_MSG_SPACE] = front_on},
};

/* ---- a local that counts copies ----------------------------------------------------------------
 */

static int answer(struct ll_peer *peer, const struct ll_msg *m, struct ll_slice job,
                  const char *body)
{
    struct ll_msg out = {.type = LL_MSG_JOB_RESULT, .id = m->id, .fd = -1};
    struct ll_job_result_rcpt r = {.outcome = LL_OUTCOME_DELIVERED, .code = 250};
    struct ll_job_result result = {.rcpt = &r, .n_rcpt = 1};
    struct ll_buf b = LL_BUF(4096);
    unsigned n = (unsigned)strtoul(body, NULL, 10);
    struct ll_arena arena;
    struct ll_job j;

    ll_arena_init(&arena, 1 << 20);
    if (!ll_job_decode(job, &arena, &j) || n >= LETTERS_MAX)
        abort();
    if (shared->hold) {
        ll_arena_release(&arena);
        ll_buf_release(&b);
        return 0;
    }
    if (shared->poison && n == POISON) {
        shared->deaths++;
        _exit(1);
    }
    shared->copies[n]++;
    result.letter = j.letter;
    r.index = j.rcpt[0].index;
    ll_job_result_encode(&result, &b);
    out.job_result.result = ll_buf_slice(&b);
    ll_msg_send(peer->ipc, &out);
    ll_buf_release(&b);
    ll_arena_release(&arena);
    return 0;
}

static int on_small(struct ll_peer *peer, const struct ll_msg *m)
{
    char body[9] = "";

    memcpy(body, m->job_small.body.p, 8);
    return answer(peer, m, m->job_small.job, body);
}

static int on_job(struct ll_peer *peer, const struct ll_msg *m)
{
    char body[9] = "";

    if (pread(m->fd, body, 8, 0) != 8)
        abort();
    close(m->fd);
    return answer(peer, m, m->job.job, body);
}

static const struct ll_role_ops local_ops = {
    .on = {[LL_MSG_JOB] = on_job, [LL_MSG_JOB_SMALL] = on_small},
};

/* ---- super -------------------------------------------------------------------------------------
 */

static const struct ll_role_main table[] = {
    {LL_ROLE_QUEUE, &ll_role_queue},
    {LL_ROLE_FRONT_MX, &front_ops},
    {LL_ROLE_LOCAL, &local_ops},
};

enum { QUEUE, FRONT, LOCAL, PROCESSES };
static const enum ll_role roles[PROCESSES] = {LL_ROLE_QUEUE, LL_ROLE_FRONT_MX, LL_ROLE_LOCAL};
static const char *const names[PROCESSES] = {"queue", "front-mx", "local"};
static struct {
    pid_t pid;
    int channel;
} children[PROCESSES];
static char spool[64];
static int conf_fd;

static void send_to(int child, enum ll_msg_type type, int fd, int peer)
{
    struct ll_msg m = {.type = type, .fd = fd};
    struct ll_buf body = LL_BUF(256), frame = LL_BUF(512);
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec iov;
    struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};

    if (type == LL_MSG_PEER)
        m.peer.role = (uint8_t)roles[peer];
    ll_msg_encode(&m, &body);
    ll_buf_u32(&frame, 0x4c4c4931);
    ll_buf_u16(&frame, (uint16_t)type);
    ll_buf_u16(&frame, fd >= 0);
    ll_buf_u64(&frame, 0);
    ll_buf_put_slice(&frame, ll_buf_slice(&body));
    iov = (struct iovec){frame.p, frame.n};
    if (fd >= 0) {
        struct cmsghdr *c;

        h.msg_control = control;
        h.msg_controllen = sizeof(control);
        c = CMSG_FIRSTHDR(&h);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(int));
    }
    sendmsg(children[child].channel, &h, MSG_NOSIGNAL);
    ll_buf_release(&body);
    ll_buf_release(&frame);
}

static void start_child(int i)
{
    char *argv[] = {(char *)"ll-mail", (char *)(uintptr_t)names[i], (char *)"0", NULL};
    int pair[2];

    assert_int_equal(ll_ipc_pair(pair), 0);
    fflush(NULL);
    children[i].pid = fork();
    if (children[i].pid == 0) {
        for (int fd = 3; fd < 64; fd++)
            if (fd != pair[1])
                close(fd);
        if (pair[1] != 3) {
            dup2(pair[1], 3);
            close(pair[1]);
        }
        if (!getenv("LL_TEST_LOG"))
            dup2(open("/dev/null", O_WRONLY), 2);
        _exit(ll_proc_main(3, argv, table, LL_COUNT(table)));
    }
    close(pair[1]);
    children[i].channel = pair[0];
    send_to(i, LL_MSG_CONF, conf_fd, 0);
}

static void connect_two(int a, int b)
{
    int pair[2];

    assert_int_equal(ll_ipc_pair(pair), 0);
    send_to(a, LL_MSG_PEER, pair[0], b);
    send_to(b, LL_MSG_PEER, pair[1], a);
    close(pair[0]);
    close(pair[1]);
}

static void start_all(void)
{
    for (int i = 0; i < PROCESSES; i++)
        start_child(i);
    connect_two(QUEUE, FRONT);
    connect_two(QUEUE, LOCAL);
    for (int i = 0; i < PROCESSES; i++)
        send_to(i, LL_MSG_START, -1, 0);
}

static void end_child(int i)
{
    kill(children[i].pid, SIGKILL);
    waitpid(children[i].pid, NULL, 0);
    close(children[i].channel);
}

static void start_again(int i)
{
    start_child(i);
    for (int k = 0; k < PROCESSES; k++)
        if (k != i && (k == QUEUE || i == QUEUE))
            connect_two(i, k);
    send_to(i, LL_MSG_START, -1, 0);
}

static void kill_all(void)
{
    for (int i = 0; i < PROCESSES; i++)
        kill(children[i].pid, SIGKILL);
    for (int i = 0; i < PROCESSES; i++)
        end_child(i);
}

/* ---- loss of power ------------------------------------------------------------------------------
 */

static void cut(const char *folder)
{
    char path[128];
    struct dirent *e;
    DIR *d;

    snprintf(path, sizeof(path), "%s/%s", spool, folder);
    d = opendir(path);
    while (d && (e = readdir(d)) != NULL) {
        char name[400];
        struct stat st;
        const struct note *note;
        uint64_t keep, end;
        int fd;

        snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
        fd = open(name, O_RDWR);
        if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
            if (fd >= 0)
                close(fd);
            continue;
        }
        note = note_of(st.st_ino);
        keep = note->size;
        end = note->written ? note->written : (uint64_t)st.st_size;
        if (keep < end) {
            /* Some of what was not flushed is there all the same, with a hole in it. */
            uint64_t rest = end - keep;
            uint64_t torn = (uint64_t)rand() % (rest + 1);
            char zeros[512] = {0};

            assert_int_equal(ftruncate(fd, (off_t)(keep + torn)), 0);
            if (torn > 600)
                assert_true(pwrite(fd, zeros, sizeof(zeros), (off_t)(keep + torn / 3)) > 0);
            if (rand() % 2) /* and so may the zeros ahead of the writer */
                assert_int_equal(ftruncate(fd, st.st_size), 0);
        }
        close(fd);
    }
    if (d)
        closedir(d);
}

static void power_loss(void)
{
    kill_all();
    if (shared->variant == FLUSH_FAILS)
        return; /* the page cache lives: what was refused may come, what was promised must */
    cut("segments");
    cut("bodies");
    cut("log");
    memset(shared->flushed, 0, sizeof(shared->flushed));
    /* What is there now is on the disk. */
    for (int i = 0; i < 3; i++) {
        static const char *const folders[] = {"segments", "bodies", "log"};
        char path[400];
        struct dirent *e;
        size_t n = 0;
        DIR *d;

        snprintf(path, sizeof(path), "%s/%s", spool, folders[i]);
        d = opendir(path);
        while (d && (e = readdir(d)) != NULL) {
            char name[700];
            struct stat st;

            snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
            if (stat(name, &st) != 0 || !S_ISREG(st.st_mode))
                continue;
            while (shared->flushed[n].inode)
                n++;
            shared->flushed[n].inode = st.st_ino;
            shared->flushed[n].size = (uint64_t)st.st_size;
        }
        if (d)
            closedir(d);
    }
}

static unsigned lost(void)
{
    unsigned n = 0;

    for (uint32_t i = 0; i < shared->next; i++)
        n += shared->acked[i] && !shared->copies[i];
    return n;
}

static unsigned count(const uint8_t *what)
{
    unsigned n = 0;

    for (uint32_t i = 0; i < shared->next; i++)
        n += what[i] > 0;
    return n;
}

static unsigned most_copies(void)
{
    unsigned most = 0;

    for (uint32_t i = 0; i < shared->next; i++)
        if (shared->copies[i] > most)
            most = shared->copies[i];
    return most;
}

static void wait_until_none_lost(int seconds)
{
    uint64_t end = ll_now_ms() + (uint64_t)seconds * 1000;

    while (lost() > 0 && ll_now_ms() < end)
        usleep(20000);
}

/* ---- tests --------------------------------------------------------------------------------------
 */

static int set_up(void **state)
{
    struct ll_buf err = LL_BUF(4096), b = LL_BUF(1 << 20);
    char path[128];
    struct ll_conf *c;
    FILE *f;

    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    snprintf(spool, sizeof(spool), "/tmp/ll-test-queue-XXXXXX");
    assert_non_null(mkdtemp(spool));
    snprintf(path, sizeof(path), "%s/conf", spool);
    f = fopen(path, "w");
    fprintf(f,
            "hostname = \"mx.a.test\"\nspool_dir = \"%s\"\nretry_first = \"1s\"\n"
            "mx_workers = 1\ndomain \"a.test\" { }\n",
            spool);
    fclose(f);
    c = ll_conf_load(path, &err);
    if (!c)
        print_error("%.*s\n", LL_FMT(ll_buf_slice(&err)));
    assert_non_null(c);
    ll_conf_encode(c, &b);
    ll_conf_free(c);
    conf_fd = memfd_create("conf", MFD_CLOEXEC);
    assert_int_equal(write(conf_fd, b.p, b.n), b.n);
    ll_buf_release(&b);
    return 0;
}

static int tear_down(void **state)
{
    static const char *const folders[] = {"segments", "bodies", "log", "receipts", "aside", ""};

    close(conf_fd);
    for (size_t i = 0; i < LL_COUNT(folders); i++) {
        char path[128], name[400];
        struct dirent *e;
        DIR *d;

        snprintf(path, sizeof(path), "%s/%s", spool, folders[i]);
        d = opendir(path);
        while (d && (e = readdir(d)) != NULL) {
            snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
            unlink(name);
        }
        if (d)
            closedir(d);
        rmdir(path);
    }
    munmap(shared, sizeof(*shared));
    return 0;
}

/* The load has begun: on a busy machine a start takes its time. */
static void wait_for_load(uint32_t made)
{
    uint64_t end = ll_now_ms() + 10000;

    while (shared->next < made + OUTSTANDING && ll_now_ms() < end)
        usleep(1000);
}

/* Cycles of load and loss of power, then time to deliver. */
static unsigned lost_in_cycles(enum variant v, int cycles)
{
    shared->variant = v;
    for (int i = 0; i < cycles; i++) {
        shared->load = true;
        start_all();
        wait_for_load(shared->next);
        usleep(100000 + (useconds_t)(rand() % 150000));
        power_loss();
    }
    shared->load = false;
    shared->hold = false;
    if (v == FLUSH_FAILS)
        shared->variant = RIGHT;
    start_all();
    wait_until_none_lost(v == RIGHT || v == FLUSH_FAILS ? 10 : 1);
    usleep(100000);
    kill_all();
    print_message("# made %u acknowledged %u delivered %u lost %u most copies %u\n", shared->next,
                  count(shared->acked), count(shared->copies), lost(), most_copies());
    return lost();
}

static void power_is_lost(void **state)
{
    assert_int_equal(lost_in_cycles(RIGHT, 6), 0);
    assert_true(count(shared->acked) > 500);
    assert_true(most_copies() <= 1 + 6);
}

static void flushes_fail(void **state)
{
    assert_int_equal(lost_in_cycles(FLUSH_FAILS, 4), 0);
    assert_true(count(shared->acked) > 100);
}

/* Nothing is delivered before the power goes, so all that was acknowledged is at stake. Two cycles:
 * a third death of its carrier would set a letter aside. */
static unsigned lost_while_held(enum variant v)
{
    shared->hold = true;
    return lost_in_cycles(v, 2);
}

static void held_letters_stay(void **state)
{
    assert_int_equal(lost_while_held(RIGHT), 0);
    assert_true(count(shared->acked) > 100);
}

static void no_flush_is_caught(void **state)
{
    assert_true(lost_while_held(NO_FLUSH) > 0);
}

static void early_ack_is_caught(void **state)
{
    assert_true(lost_while_held(ACK_EARLY) > 0);
}

/* One process after the other dies under load; nobody loses power. */
static void processes_die(void **state)
{
    srand(4712);
    shared->load = true;
    start_all();
    for (int i = 0; i < 12; i++) {
        int victim = rand() % PROCESSES;

        usleep(60000 + (useconds_t)(rand() % 60000));
        end_child(victim);
        start_again(victim);
    }
    usleep(200000);
    shared->load = false;
    usleep(100000);
    wait_until_none_lost(8);
    kill_all();
    print_message("# acknowledged %u most copies %u\n", count(shared->acked), most_copies());
    assert_int_equal(lost(), 0);
    assert_true(count(shared->acked) > 500);
    assert_true(most_copies() <= 13);
}

static void revive_local(void)
{
    int status;

    if (waitpid(children[LOCAL].pid, &status, WNOHANG) != children[LOCAL].pid)
        return;
    close(children[LOCAL].channel);
    start_again(LOCAL);
}

/* A letter that kills its carrier is held after three; the others arrive. */
static void poison(void **state)
{
    uint64_t end = ll_now_ms() + 10000;

    shared->poison = true;
    shared->load = true;
    start_all();
    while (ll_now_ms() < end && shared->deaths < 3) {
        revive_local();
        usleep(5000);
    }
    shared->load = false;
    end = ll_now_ms() + 5000;
    do { /* a fourth try would come now */
        usleep(300000);
        revive_local();
    } while (ll_now_ms() < end && lost() > 1);
    kill_all();
    assert_int_equal(shared->deaths, 3);
    assert_int_equal(shared->copies[POISON], 0);
    assert_true(shared->acked[POISON]);
    assert_int_equal(lost(), 1); /* it is held */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(power_is_lost, set_up, tear_down),
        cmocka_unit_test_setup_teardown(flushes_fail, set_up, tear_down),
        cmocka_unit_test_setup_teardown(held_letters_stay, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_flush_is_caught, set_up, tear_down),
        cmocka_unit_test_setup_teardown(early_ack_is_caught, set_up, tear_down),
        cmocka_unit_test_setup_teardown(processes_die, set_up, tear_down),
        cmocka_unit_test_setup_teardown(poison, set_up, tear_down),
    };

    signal(SIGPIPE, SIG_IGN);
    srand(4711);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
