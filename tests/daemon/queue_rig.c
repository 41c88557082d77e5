/* See queue_rig.h. */
#include "tests/daemon/queue_rig.h"

#include "io/ipc.h"
#include "io/log.h"

#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#define BATCH_OCTETS (256u << 10)
#define BLOCK        4096

struct rig rig;

static struct ll_peer *peers[LL_ROLE_COUNT];
static struct ll_ipc *far[LL_ROLE_COUNT];
static const enum ll_role others[] = {LL_ROLE_FRONT_MX, LL_ROLE_RELAY, LL_ROLE_LOCAL, LL_ROLE_POST,
                                      LL_ROLE_CONTROL};
static struct {
    int fd;
    uint32_t number;
    uint64_t generation, at, told, limit;
    bool have;
} segment;
static struct ll_buf gather = LL_BUF(4u << 20);

/* ---- in place of the system's and of daemon/proc.c's ------------------------------------------
 */

int clock_gettime(clockid_t clock, struct timespec *t)
{
    int r = (int)syscall(SYS_clock_gettime, clock, t);

    if (clock == CLOCK_REALTIME)
        t->tv_sec += rig.skew_s;
    return r;
}

int fdatasync(int fd)
{
    return 0;
}

int fsync(int fd)
{
    return 0;
}

int fstatvfs(int fd, struct statvfs *v)
{
    uint64_t used = rig.used_by_others;

    memset(v, 0, sizeof(*v));
    if (!rig.disk) {
        *v = (struct statvfs){.f_frsize = BLOCK, .f_blocks = 1u << 28, .f_bavail = 1u << 27};
        return 0;
    }
    used += rig_octets("segments") + rig_octets("bodies") + rig_octets("log");
    v->f_frsize = BLOCK;
    v->f_blocks = rig.disk / BLOCK;
    v->f_bavail = used < rig.disk ? (rig.disk - used) / BLOCK : 0;
    return 0;
}

struct ll_peer *ll_proc_peer(struct ll_proc *proc, enum ll_role role, unsigned index)
{
    if (role == LL_ROLE_RELAY && rig.relay_away)
        return NULL;
    return index == 0 && (unsigned)role < LL_ROLE_COUNT ? peers[role] : NULL;
}

void ll_proc_exit(struct ll_proc *proc)
{
    CHECK(!"the queue ends");
}

void ll_proc_no_memory(const char *what)
{
    abort();
}

void ll_proc_bad_peer(struct ll_peer *peer, const char *why)
{
    CHECK(!"a bad peer");
}

/* ---- both ends of the channels ----------------------------------------------------------------
 */

static int near_frame(void *arg, const struct ll_frame *f)
{
    struct ll_peer *peer = arg;
    struct ll_msg m;

    CHECK(ll_msg_decode(f, peer->role, LL_ROLE_QUEUE, &m) == 0);
    CHECK(ll_role_queue.on[m.type] && ll_role_queue.on[m.type](peer, &m) == 0);
    return 0;
}

static void take_job(enum ll_role role, const struct ll_msg *m, struct ll_slice raw,
                     struct ll_slice body)
{
    struct ll_arena arena;
    struct ll_job j;

    ll_arena_init(&arena, 1u << 20);
    CHECK(ll_job_decode(raw, &arena, &j));
    if (rig.job)
        rig.job(role, m->id, &j, body);
    ll_arena_release(&arena);
}

static int far_frame(void *arg, const struct ll_frame *f)
{
    enum ll_role role = *(const enum ll_role *)arg;
    struct ll_msg m;

    CHECK(ll_msg_decode(f, LL_ROLE_QUEUE, role, &m) == 0);
    if (m.type == LL_MSG_SEGMENT) {
        segment.fd = m.fd;
        segment.number = m.segment.segment;
        segment.generation = m.segment.generation;
        segment.limit = m.segment.limit;
        segment.at = segment.told = LL_SEGMENT_HEAD;
        segment.have = true;
    } else if (m.type == LL_MSG_JOB_SMALL) {
        take_job(role, &m, m.job_small.job, m.job_small.body);
    } else if (m.type == LL_MSG_CTL_LINE) {
        if (rig.line)
            rig.line(m.id, m.ctl_line.line);
    } else if (m.type == LL_MSG_CTL_END) {
        CHECK(m.id < RIG_ASKS);
        rig.ended[m.id] = m.ctl_end.status;
    } else {
        CHECK(m.type == LL_MSG_SPACE);
    }
    return 0;
}

static void gone(void *arg, const char *why)
{
    fprintf(stderr, "%s\n", why);
    CHECK(!"a channel broke");
}

static void begin_life(void)
{
    static struct ll_peer of[LL_ROLE_COUNT];

    rig.proc.role = LL_ROLE_QUEUE;
    rig.proc.base = event_base_new();
    memset(&segment, 0, sizeof(segment));
    CHECK(rig.proc.base && ll_role_queue.start(&rig.proc) == 0);
    rig.q = rig.proc.state;
    for (size_t i = 0; i < LL_COUNT(others); i++) {
        struct ll_peer *p = &of[others[i]];
        int pair[2];

        CHECK(ll_ipc_pair(pair) == 0);
        *p = (struct ll_peer){.proc = &rig.proc, .role = others[i]};
        p->ipc = ll_ipc_new(rig.proc.base, pair[0], near_frame, gone, p);
        far[others[i]] =
            ll_ipc_new(rig.proc.base, pair[1], far_frame, gone, (void *)(uintptr_t)&others[i]);
        CHECK(p->ipc && far[others[i]]);
        peers[others[i]] = p;
        ll_role_queue.peer_up(p);
    }
}

int rig_life(void (*fn)(void))
{
    int status;
    pid_t pid;

    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        begin_life();
        fn();
        fflush(NULL);
        _exit(0); /* as a crash: nobody says goodbye */
    }
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

/* ---- time --------------------------------------------------------------------------------------
 */

void rig_turn(void)
{
    event_base_loop(rig.proc.base, EVLOOP_NONBLOCK);
}

static bool rests(void)
{
    struct queue *q = rig.q;

    for (size_t i = 0; i < LL_COUNT(others); i++)
        if (ll_ipc_queued(peers[others[i]]->ipc) || ll_ipc_queued(far[others[i]]))
            return false;
    return outlog_idle(q) && link_empty(&q->to_scan) && !q->log.checkpoint &&
           !q->log.checkpoint_last && link_empty(&q->answers);
}

/* Ten quiet turns behind one another: a message in a socket shows in none of the figures. */
void rig_settle(void)
{
    uint64_t end = ll_now_ms() + 60000;

    for (int quiet = 0; quiet < 10; quiet++) {
        /* Only where it has work: an empty round would make it busy again, and ten quiet turns
         * luck. */
        if (!outlog_idle(rig.q) || rig.q->log.checkpoint || rig.q->log.checkpoint_last)
            if (!rig.q->log.busy)
                event_active(rig.q->log.kick, EV_TIMEOUT, 0);
        rig_turn();
        if (rests())
            continue;
        quiet = 0;
        sched_yield(); /* the log's thread has what it waits for */
        CHECK(ll_now_ms() < end);
    }
}

void rig_pass(int64_t seconds)
{
    rig.skew_s += seconds;
    event_active(rig.q->tick, EV_TIMEOUT, 0);
    rig_settle();
}

/* ---- a front ------------------------------------------------------------------------------------
 */

static void need_segment(void)
{
    struct ll_msg m = {.type = LL_MSG_SEGMENT_ASK, .fd = -1};
    uint64_t end = ll_now_ms() + 10000;

    if (segment.have && segment.at < segment.limit)
        return;
    rig_flush();
    if (segment.have)
        close(segment.fd);
    segment.have = false;
    CHECK(ll_msg_send(far[LL_ROLE_FRONT_MX], &m) == 0);
    while (!segment.have && ll_now_ms() < end)
        rig_turn();
    CHECK(segment.have);
}

void rig_append(const char *const *rcpt, size_t n, const char *word, size_t octets)
{
    static char body[32768];
    struct ll_rcpt r[100];
    struct ll_letter l = {.origin = LL_ORIGIN_MX,
                          .flags = LL_LETTER_TRUSTED,
                          .arrived_ms = ll_unix_ms(),
                          .reverse_path = LL_LIT("bob@home.test"),
                          .rcpt = r,
                          .n_rcpt = n};
    size_t before;

    CHECK(n <= LL_COUNT(r) && octets < sizeof(body) && octets > strlen(word));
    need_segment();
    for (size_t i = 0; i < n; i++)
        r[i] = (struct ll_rcpt){.address = ll_slice_str(rcpt[i]),
                                .reverse_path = l.reverse_path,
                                .kind = LL_RCPT_REMOTE};
    memset(body, ' ', sizeof(body));
    memcpy(body, word, strlen(word));
    l.body = ll_slice(body, octets);
    l.body_length = octets;
    l.id = (uint64_t)segment.number << 32 | segment.at;
    before = gather.n;
    ll_record_encode(&l, segment.generation, 0, &gather);
    CHECK(!gather.failed);
    segment.at += gather.n - before;
    if (gather.n > BATCH_OCTETS)
        rig_flush();
}

void rig_flush(void)
{
    struct ll_msg m = {.type = LL_MSG_APPENDED, .fd = -1};

    if (gather.n == 0)
        return;
    CHECK(write(segment.fd, gather.p, gather.n) == (ssize_t)gather.n);
    m.appended.segment = segment.number;
    m.appended.offset = segment.told;
    m.appended.length = gather.n;
    segment.told += gather.n;
    ll_buf_clear(&gather);
    CHECK(ll_msg_send(far[LL_ROLE_FRONT_MX], &m) == 0);
}

/* ---- carriers and control -----------------------------------------------------------------------
 */

void rig_answer(enum ll_role role, uint64_t id, const struct ll_job *j, enum ll_outcome outcome,
                const char *text)
{
    struct ll_msg m = {.type = LL_MSG_JOB_RESULT, .id = id, .fd = -1};
    struct ll_job_result_rcpt r[LL_JOB_RCPTS_MAX];
    struct ll_job_result result = {.letter = j->letter, .rcpt = r, .n_rcpt = j->n_rcpt};
    struct ll_buf b = LL_BUF(LL_IPC_FRAME_MAX);

    for (size_t i = 0; i < j->n_rcpt; i++)
        r[i] = (struct ll_job_result_rcpt){.index = j->rcpt[i].index,
                                           .outcome = (uint8_t)outcome,
                                           .code = outcome == LL_OUTCOME_DELIVERED ? 250 : 451,
                                           .text = ll_slice_str(text)};
    ll_job_result_encode(&result, &b);
    m.job_result.result = ll_buf_slice(&b);
    CHECK(ll_msg_send(far[role], &m) == 0);
    ll_buf_release(&b);
}

void rig_ask(uint64_t ask, const char *command, const char *word)
{
    struct ll_msg m = {.type = LL_MSG_CTL_ASK, .id = ask, .fd = -1};
    struct ll_buf args = LL_BUF(256);

    if (word) {
        ll_buf_u16(&args, (uint16_t)strlen(word));
        ll_buf_puts(&args, word);
    }
    CHECK(ask < RIG_ASKS);
    rig.ended[ask] = -1;
    m.ctl_ask.command = ll_slice_str(command);
    m.ctl_ask.args = ll_buf_slice(&args);
    CHECK(ll_msg_send(far[LL_ROLE_CONTROL], &m) == 0);
    ll_buf_release(&args);
}

void rig_flow(uint64_t ask, enum ll_flow state)
{
    struct ll_msg m = {.type = LL_MSG_CTL_FLOW, .id = ask, .fd = -1};

    m.ctl_flow.state = (uint8_t)state;
    CHECK(ll_msg_send(far[LL_ROLE_CONTROL], &m) == 0);
}

void rig_control_reads(bool on)
{
    ll_ipc_pause(far[LL_ROLE_CONTROL], !on);
}

size_t rig_control_queued(void)
{
    return ll_ipc_queued(peers[LL_ROLE_CONTROL]->ipc);
}

/* ---- figures
 * ------------------------------------------------------------------------------------- */

uint64_t rig_octets(const char *folder)
{
    char path[128];
    struct dirent *e;
    uint64_t n = 0;
    DIR *d;

    snprintf(path, sizeof(path), "%s/%s", rig.spool, folder);
    d = opendir(path);
    while (d && (e = readdir(d)) != NULL) {
        struct stat st;

        if (fstatat(dirfd(d), e->d_name, &st, 0) == 0 && S_ISREG(st.st_mode))
            n += (uint64_t)st.st_size;
    }
    if (d)
        closedir(d);
    return n;
}

uint64_t rig_cpu_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t rig_resident(void)
{
    unsigned long size, pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");

    CHECK(f && fscanf(f, "%lu %lu", &size, &pages) == 2);
    fclose(f);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* ---- a spool
 * ------------------------------------------------------------------------------------- */

static const struct ll_conf *load(const char *settings)
{
    struct ll_buf err = LL_BUF(4096), b = LL_BUF(1u << 20);
    char path[128];
    struct ll_conf *c;
    FILE *f;

    snprintf(path, sizeof(path), "%s/conf", rig.spool);
    f = fopen(path, "w");
    CHECK(f != NULL);
    fprintf(f,
            "hostname = \"mx.home.test\"\nspool_dir = \"%s\"\nmx_workers = 1\n"
            "relay_workers = 1\ntrusted_networks = {\"127.0.0.0/8\"}\n%s\n"
            "domain \"home.test\" { }\nroute \"*\" { via = \"mx\" }\n",
            rig.spool, settings);
    fclose(f);
    c = ll_conf_load(path, &err);
    if (!c)
        fprintf(stderr, "%.*s\n", LL_FMT(ll_buf_slice(&err)));
    CHECK(c != NULL);
    ll_buf_release(&b);
    return c;
}

void rig_open(const char *settings)
{
    memset(&rig, 0, sizeof(rig));
    /* In memory: the disk is the test's own, and a real one that others keep busy makes it wait. */
    snprintf(rig.spool, sizeof(rig.spool), "/dev/shm/ll-test-queue-XXXXXX");
    if (!mkdtemp(rig.spool)) {
        snprintf(rig.spool, sizeof(rig.spool), "/tmp/ll-test-queue-XXXXXX");
        CHECK(mkdtemp(rig.spool) != NULL);
    }
    rig.proc.conf = load(settings);
}

void rig_close(void)
{
    static const char *const folders[] = {"segments", "bodies", "log", "receipts", "aside", ""};

    for (size_t i = 0; i < LL_COUNT(folders); i++) {
        char path[128], name[400];
        struct dirent *e;
        DIR *d;

        snprintf(path, sizeof(path), "%s/%s", rig.spool, folders[i]);
        d = opendir(path);
        while (d && (e = readdir(d)) != NULL) {
            snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
            unlink(name);
        }
        if (d)
            closedir(d);
        rmdir(path);
    }
    ll_conf_free((struct ll_conf *)(uintptr_t)rig.proc.conf);
}
