/* One connection. See relay.h. */
#include "daemon/relay/relay.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "io/clock.h"
#include "io/log.h"

#define READS_MAX 16 /* portions read before others get their turn */

/* Named by what is awaited. */
enum conn_state {
    CONN_CONNECT,
    CONN_TLS_FIRST, /* the handshake of implicit TLS */
    CONN_SESSION,
    CONN_STARTTLS, /* the handshake behind STARTTLS */
};

enum io { IO_DONE, IO_BLOCKED, IO_FAILED };

static void conn_run(struct conn *c);

static void conn_free(struct conn *c)
{
    pool_take_out(c);
    session_keep(c);
    ll_smtpc_free(c->engine);
    ll_tls_free(c->tls);
    if (c->readable)
        event_free(c->readable);
    if (c->writable)
        event_free(c->writable);
    if (c->timer)
        event_free(c->timer);
    if (c->fd >= 0)
        close(c->fd);
    free(c->destination);
    free(c->chunk);
    plan_free(c->plan);
    c->relay->n_conns--;
    free(c);
}

/* Ends a connection that never had a session, or whose session told nothing. */
static void conn_fail(struct conn *c, const struct fault *f, bool again_in_clear)
{
    struct job *j = c->job;

    c->job = NULL;
    conn_free(c);
    if (j)
        hunt_failed(j, f, again_in_clear);
}

/* ---- time
 * ----------------------------------------------------------------------------------------- */

static void set_timer(struct conn *c)
{
    uint64_t at = c->deadline, now;
    struct timeval tv;

    if (c->engine && c->state != CONN_CONNECT) {
        uint64_t engine = ll_smtpc_deadline(c->engine);

        at = engine < at ? engine : at;
    }
    if (at == UINT64_MAX || (c->timer_at && c->timer_at <= at))
        return; /* the timer looks again when it fires */
    now = ll_now_ms();
    at = at > now ? at : now + 1;
    tv.tv_sec = (time_t)((at - now) / 1000);
    tv.tv_usec = (suseconds_t)((at - now) % 1000 * 1000);
    c->timer_at = at;
    event_add(c->timer, &tv);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;
    uint64_t now = ll_now_ms();
    struct fault f;

    c->timer_at = 0;
    if (c->deadline > now && !c->engine) {
        set_timer(c);
        return;
    }
    if (c->deadline > now) {
        if (c->state == CONN_STARTTLS && ll_smtpc_deadline(c->engine) <= now)
            c->state = CONN_SESSION; /* the engine ends it */
        ll_smtpc_timeout(c->engine, now);
        conn_run(c);
        return;
    }
    if (c->state == CONN_SESSION) { /* idle for long enough */
        pool_take_out(c);
        conn_quit(c);
        return;
    }
    fault_set(&f, LL_OUTCOME_DEFERRED, RANK_CONNECT, "4.4.1", c->remote, "%s does not answer%s",
              c->remote, c->state == CONN_CONNECT ? "" : " in the TLS handshake");
    conn_fail(c, &f, false);
}

/* ---- TLS
 * ------------------------------------------------------------------------------------------ */

static bool tls_begin(struct conn *c)
{
    struct ll_slice host = ll_dns_name_slice(&c->host);
    struct ll_tls_target t = {.server_name = host,
                              .names = c->plan->names,
                              .n_names = c->plan->n_names,
                              .pins = (const uint8_t(*)[LL_TLS_PIN])c->plan->pins,
                              .n_pins = c->plan->n_pins,
                              .resume = session_for(c->relay, c)};

    if (host.n > 2 && host.p[0] == '[') /* an address literal */
        t.server_name = ll_slice_cut(host, 1, host.n - 1);
    c->tls = ll_tls_connect(c->plan->tls, c->fd, &t);
    return c->tls != NULL;
}

/* OK: the session is under TLS. BLOCKED: the events are set. FAILED: tls_error says why. */
static enum io tls_step(struct conn *c)
{
    switch (ll_tls_handshake(c->tls)) {
    case LL_TLS_OK:
        event_del(c->writable);
        event_add(c->readable, NULL);
        return IO_DONE;
    case LL_TLS_WANT_READ:
        event_del(c->writable);
        event_add(c->readable, NULL);
        return IO_BLOCKED;
    case LL_TLS_WANT_WRITE:
        event_add(c->writable, NULL);
        return IO_BLOCKED;
    case LL_TLS_CLOSED:
    case LL_TLS_ERROR:
        break;
    }
    snprintf(c->tls_error, sizeof(c->tls_error), "%s", ll_tls_error(c->tls));
    return IO_FAILED;
}

/* ---- the session
 * ----------------------------------------------------------------------------------- */

static enum ll_smtpc_tls engine_tls(const struct conn *c)
{
    static const enum ll_smtpc_tls of_level[] = {
        [LEVEL_OPPORTUNISTIC] = LL_SMTPC_TLS_OPPORTUNISTIC,
        [LEVEL_FORCED] = LL_SMTPC_TLS_FORCED,
        [LEVEL_VERIFY] = LL_SMTPC_TLS_FORCED,
        [LEVEL_IMPLICIT] = LL_SMTPC_TLS_IMPLICIT,
    };

    return c->in_clear && c->plan->level == LEVEL_OPPORTUNISTIC ? LL_SMTPC_TLS_NONE
                                                                : of_level[c->plan->level];
}

static void session_begin(struct conn *c)
{
    const struct plan *p = c->plan;
    struct ll_smtpc_conf conf = {.own_name = ll_slice_str(p->helo),
                                 .lmtp = p->via == VIA_LMTP,
                                 .tls = engine_tls(c),
                                 .user = ll_slice_str(p->user),
                                 .password = ll_buf_slice(&p->password)};
    struct fault f;

    c->state = CONN_SESSION;
    c->deadline = UINT64_MAX;
    c->engine = ll_smtpc_new(&conf, ll_now_ms());
    if (!c->engine) {
        fault_set(&f, LL_OUTCOME_DEFERRED, RANK_CONNECT, "4.3.0", c->remote, "out of memory");
        conn_fail(c, &f, false);
        return;
    }
    event_del(c->writable);
    event_add(c->readable, NULL);
    conn_run(c);
}

static void tls_first_step(struct conn *c)
{
    enum io io = tls_step(c);
    struct fault f;

    if (io == IO_DONE) {
        session_begin(c);
    } else if (io == IO_BLOCKED) {
        set_timer(c);
    } else {
        fault_set(&f, LL_OUTCOME_DEFERRED, RANK_SESSION, "4.7.5", c->remote,
                  "%s: no TLS session could be made: %s; no letter was sent", c->remote,
                  c->tls_error);
        conn_fail(c, &f, false);
    }
}

static void starttls_step(struct conn *c)
{
    enum io io = tls_step(c);

    if (io == IO_DONE) {
        c->state = CONN_SESSION;
        c->deadline = UINT64_MAX;
        ll_smtpc_tls_up(c->engine, ll_now_ms());
        conn_run(c);
    } else if (io == IO_FAILED) {
        c->state = CONN_SESSION;
        ll_smtpc_tls_failed(c->engine, ll_slice_str(c->tls_error));
        conn_run(c);
    } else {
        set_timer(c);
    }
}

static void connected(struct conn *c)
{
    int error = 0;
    socklen_t n = sizeof(error);
    struct fault f;

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &n) != 0)
        error = errno;
    if (error) {
        fault_set(&f, LL_OUTCOME_DEFERRED, RANK_CONNECT, "4.4.1", c->remote,
                  "no connection to %s: %s", c->remote, strerror(error));
        conn_fail(c, &f, false);
        return;
    }
    event_del(c->writable);
    if (c->plan->level != LEVEL_IMPLICIT) {
        session_begin(c);
        return;
    }
    c->state = CONN_TLS_FIRST;
    c->deadline = ll_now_ms() + RELAY_HANDSHAKE_MS;
    if (!tls_begin(c)) {
        fault_set(&f, LL_OUTCOME_DEFERRED, RANK_CONNECT, "4.3.0", c->remote, "out of memory");
        conn_fail(c, &f, false);
        return;
    }
    tls_first_step(c);
}

/* ---- the letter
 * --------------------------------------------------------------------------------------- */

/* Only what starts here is converted; a letter in transit, and one that needs SMTPUTF8, is the
 * engine's to refuse. */
static bool wants_7bit(const struct conn *c, const struct job *j)
{
    return (j->job.flags & LL_LETTER_8BIT) && (j->job.flags & LL_LETTER_OURS) &&
           !(j->job.flags & LL_LETTER_UTF8) && !j->probe && !ll_smtpc_peer(c->engine)->eightbit;
}

/* False: the letter cannot go to this server, and the job has ended. */
static bool fit_letter(struct conn *c)
{
    struct job *j = c->job;
    struct fault f;

    if (!wants_7bit(c, j) || job_convert(j, c->remote, &f))
        return true;
    job_facts(j, c);
    job_settle_all(j, f.outcome, 0, f.status, ll_slice_str(f.text), c->remote);
    job_end(j);
    return false;
}

static void give_letter(struct conn *c)
{
    struct job *j = c->job;
    struct ll_smtpc_letter letter = {
        .tag = j,
        .reverse_path = j->job.reverse_path,
        .recipients = j->to,
        .recipient_count = j->n_to,
        .size = job_size(j),
        .eightbit = j->job.flags & LL_LETTER_8BIT,
        .smtputf8 = j->job.flags & LL_LETTER_UTF8,
        .envid = j->job.envid,
        .probe = j->probe,
    };

    if (j->job.flags & LL_LETTER_RET_FULL)
        letter.ret = LL_LIT("FULL");
    else if (j->job.flags & LL_LETTER_RET_HDRS)
        letter.ret = LL_LIT("HDRS");
    j->body_at = 0;
    j->body_given = false;
    c->ready = false;
    c->given = true;
    ll_smtpc_letter(c->engine, &letter, ll_now_ms());
}

/* The next octets of a long letter: its prepended fields, then its file. */
static ssize_t read_chunk(struct conn *c, struct job *j, uint64_t total)
{
    struct ll_slice prepend = j->job.prepend;
    size_t n = 0,
           want = total - j->body_at < RELAY_CHUNK ? (size_t)(total - j->body_at) : RELAY_CHUNK;

    if (!c->chunk)
        c->chunk = malloc(RELAY_CHUNK);
    if (!c->chunk)
        return -1;
    if (j->body_at < prepend.n) {
        struct ll_slice part = ll_slice_cut(prepend, (size_t)j->body_at, (size_t)j->body_at + want);

        memcpy(c->chunk, part.p, part.n);
        n = part.n;
    }
    while (n < want) {
        uint64_t at = j->job.body_offset + j->body_at + n - prepend.n;
        ssize_t r = pread(j->fd, c->chunk + n, want - n, (off_t)at);

        if (r <= 0)
            return -1; /* shorter than its record says */
        n += (size_t)r;
    }
    return (ssize_t)n;
}

static void supply(struct conn *c, struct job *j)
{
    uint64_t total = job_size(j);
    ssize_t n;

    if (j->seven.n > 0) {
        struct ll_slice part = job_converted_part(j);

        j->body_at += part.n;
        j->body_given = j->body_at == total;
        ll_smtpc_body(c->engine, part, j->body_given, ll_now_ms());
        return;
    }
    if (j->fd < 0) {
        j->body_given = true;
        ll_smtpc_body(c->engine, j->content, true, ll_now_ms());
        return;
    }
    n = read_chunk(c, j, total);
    if (n < 0) {
        ll_log(LL_LOG_ERROR, "body-unreadable", LL_FU("letter", j->job.letter));
        ll_smtpc_body_failed(c->engine, LL_LIT("the letter could not be read from the spool"));
        return;
    }
    j->body_at += (uint64_t)n;
    j->body_given = j->body_at == total;
    ll_smtpc_body(c->engine, ll_slice(c->chunk, (size_t)n), j->body_given, ll_now_ms());
}

/* ---- what the engine says
 * ------------------------------------------------------------------------------ */

/* The session's failure in a sentence for people. */
static void session_fault(const struct conn *c, const struct ll_smtpc_result *r, struct fault *f)
{
    static const char clear[] = "and the route demands TLS: no letter was sent in clear";
    bool demanded = c->plan->level != LEVEL_OPPORTUNISTIC;
    /* A login that fails is ours to repair: letters wait. */
    bool refused = r->outcome == LL_SMTPC_REFUSED && r->phase != LL_SMTPC_AUTH;
    enum ll_outcome outcome = refused ? LL_OUTCOME_FAILED : LL_OUTCOME_DEFERRED;
    char status[20];

    snprintf(status, sizeof(status), "%u.%u.%u", refused ? 5u : 4u, r->enhanced[1] % 1000u,
             r->enhanced[2] % 1000u);
    if (r->phase == LL_SMTPC_STARTTLS && demanded && r->code == 0 &&
        !ll_smtpc_peer(c->engine)->starttls)
        fault_set(f, LL_OUTCOME_DEFERRED, RANK_SESSION, "4.7.10", c->remote,
                  "%s does not offer STARTTLS, %s", c->remote, clear);
    else if (r->phase == LL_SMTPC_STARTTLS && demanded && r->code != 0)
        fault_set(f, LL_OUTCOME_DEFERRED, RANK_SESSION, "4.7.10", c->remote,
                  "%s refused STARTTLS (%u %.*s), %s", c->remote, r->code, LL_FMT(r->text), clear);
    else if (r->phase == LL_SMTPC_HANDSHAKE && demanded)
        fault_set(f, LL_OUTCOME_DEFERRED, RANK_SESSION, "4.7.5", c->remote, "%s: %.*s, %s",
                  c->remote, LL_FMT(r->text), clear);
    else if (r->code == 0)
        fault_set(f, outcome, RANK_SESSION, r->enhanced[1] ? status : "4.4.2", c->remote,
                  "%s: %.*s (at %s)", c->remote, LL_FMT(r->text), ll_smtpc_phase_name(r->phase));
    else
        fault_set(f, outcome, RANK_SESSION, status, c->remote, "%.*s", LL_FMT(r->text));
    f->code = r->code;
}

static void session_failed(struct conn *c, const struct ll_smtpc_result *r)
{
    bool again = r->phase == LL_SMTPC_HANDSHAKE && c->plan->level == LEVEL_OPPORTUNISTIC;
    struct job *j = c->job;
    struct fault f;

    c->ended = true;
    if (!j)
        return;
    session_fault(c, r, &f);
    c->job = NULL;
    hunt_failed(j, &f, again);
}

static void session_closed(struct conn *c)
{
    struct job *j = c->job;
    struct fault f;

    c->ended = true;
    if (!j)
        return;
    /* RFC 9422 5.1: as many letters as it takes in one session. The next one takes the others. */
    if (ll_smtpc_peer(c->engine)->mail_max && c->letters > 0) {
        job_settle_all(j, LL_OUTCOME_AGAIN, 0, "4.3.2", LL_LIT("left for another session"),
                       c->remote);
        job_end(j);
        return;
    }
    fault_set(&f, LL_OUTCOME_DEFERRED, RANK_SESSION, "4.4.2", c->remote,
              "%s ended the session before the letter was begun", c->remote);
    c->job = NULL;
    hunt_failed(j, &f, false);
}

static void turn_idle(struct conn *c)
{
    struct relay *r = c->relay;
    int64_t keep_s = r->proc->conf->connection_reuse;

    if (c->tls && !c->session_kept)
        session_keep(c);
    if (keep_s <= 0 || c->plan->retired || r->proc->draining || c->letters >= RELAY_LETTERS_MAX) {
        c->quitting = true;
        ll_smtpc_quit(c->engine, ll_now_ms());
        return;
    }
    c->deadline = ll_now_ms() + (uint64_t)keep_s * 1000;
    c->reused = true;
    pool_put(c);
}

static void letter_done(struct conn *c, const struct ll_smtpc_event *e)
{
    struct job *j = c->job;

    c->given = false;
    if (!j)
        return; /* abandoned while its end was on its way */
    hunt_results(j, c, e->results, e->result_count);
    if (c->job && !job_recipients(j))
        abort(); /* a connection keeps a job only for those that are left */
    c->letters++;
}

static void on_event(struct conn *c, const struct ll_smtpc_event *e)
{
    switch (e->type) {
    case LL_SMTPC_START_TLS:
        c->state = CONN_STARTTLS;
        if (!tls_begin(c)) {
            c->state = CONN_SESSION;
            ll_smtpc_tls_failed(c->engine, LL_LIT("out of memory"));
        }
        break;
    case LL_SMTPC_READY:
        c->ready = true;
        break;
    case LL_SMTPC_NEED_BODY:
        if (c->job)
            supply(c, c->job);
        else
            ll_smtpc_body_failed(c->engine, LL_LIT("the letter is not wanted any more"));
        break;
    case LL_SMTPC_DONE:
        letter_done(c, e);
        break;
    case LL_SMTPC_FAILED:
        session_failed(c, &e->result);
        break;
    case LL_SMTPC_CLOSED:
        session_closed(c);
        break;
    }
}

/* ---- octets
 * --------------------------------------------------------------------------------------------- */

static enum io write_tls(struct conn *c, const struct ll_slice *parts, size_t n, size_t *ret_n)
{
    uint8_t *to = c->relay->io;
    size_t have = 0;

    for (size_t i = 0; i < n && have < sizeof(c->relay->io); i++) {
        size_t k =
            sizeof(c->relay->io) - have < parts[i].n ? sizeof(c->relay->io) - have : parts[i].n;

        memcpy(to + have, parts[i].p, k);
        have += k;
    }
    switch (ll_tls_write(c->tls, to, have, ret_n)) {
    case LL_TLS_OK:
        return IO_DONE;
    case LL_TLS_WANT_READ: /* it is being waited for anyway */
    case LL_TLS_WANT_WRITE:
        return IO_BLOCKED;
    case LL_TLS_CLOSED:
    case LL_TLS_ERROR:
        break;
    }
    ll_smtpc_broken(c->engine, ll_slice_str(ll_tls_error(c->tls)));
    return IO_FAILED;
}

static enum io write_clear(struct conn *c, const struct ll_slice *parts, size_t n, size_t *ret_n)
{
    struct iovec iov[LL_SMTPC_OUT_PARTS];
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = n};
    ssize_t w;

    for (size_t i = 0; i < n; i++)
        iov[i] = (struct iovec){(void *)(uintptr_t)parts[i].p, parts[i].n};
    w = sendmsg(c->fd, &msg, MSG_NOSIGNAL);
    if (w >= 0) {
        *ret_n = (size_t)w;
        return IO_DONE;
    }
    if (errno == EAGAIN || errno == EINTR)
        return IO_BLOCKED;
    ll_smtpc_broken(c->engine, ll_slice_str(strerror(errno)));
    return IO_FAILED;
}

/* DONE: nothing is left to write. */
static enum io write_out(struct conn *c, bool *ret_wrote)
{
    struct ll_slice parts[LL_SMTPC_OUT_PARTS];
    size_t n, w = 0;
    enum io io;

    n = ll_smtpc_out(c->engine, parts, LL_SMTPC_OUT_PARTS);
    if (n == 0)
        return IO_DONE;
    io = c->tls ? write_tls(c, parts, n, &w) : write_clear(c, parts, n, &w);
    *ret_wrote = io != IO_BLOCKED;
    if (io == IO_DONE)
        ll_smtpc_out_done(c->engine, w, ll_now_ms());
    return io;
}

/* Events out, octets out, until neither moves. The connection may be gone afterwards. */
static void conn_run(struct conn *c)
{
    struct ll_smtpc_event e;
    bool moved = true;
    enum io io = IO_DONE;

    while (moved && !c->ended && c->state == CONN_SESSION) {
        moved = false;
        while (!c->ended && c->state == CONN_SESSION && ll_smtpc_next(c->engine, &e))
            on_event(c, &e);
        if (c->ended || c->state != CONN_SESSION)
            break;
        if (c->ready && c->job && !c->given) {
            if (fit_letter(c))
                give_letter(c);
            moved = true;
        } else if (c->ready && !c->job && !c->given && !c->pooled && !c->quitting) {
            turn_idle(c);
        }
        io = write_out(c, &moved);
        moved |= io == IO_FAILED;
    }
    if (c->ended) {
        conn_free(c);
        return;
    }
    if (c->state == CONN_STARTTLS) {
        starttls_step(c);
        return;
    }
    if (io == IO_BLOCKED)
        event_add(c->writable, NULL);
    else
        event_del(c->writable);
    set_timer(c);
}

/* true: there may be more to read at once. */
static bool read_some(struct conn *c)
{
    struct relay *r = c->relay;
    size_t n = 0;
    ssize_t got;

    if (!c->tls) {
        got = recv(c->fd, r->io, sizeof(r->io), 0);
        if (got > 0)
            ll_smtpc_feed(c->engine, ll_slice(r->io, (size_t)got), ll_now_ms());
        else if (got == 0)
            ll_smtpc_eof(c->engine);
        else if (errno != EAGAIN && errno != EINTR)
            ll_smtpc_broken(c->engine, ll_slice_str(strerror(errno)));
        return false;
    }
    switch (ll_tls_read(c->tls, r->io, sizeof(r->io), &n)) {
    case LL_TLS_OK:
        ll_smtpc_feed(c->engine, ll_slice(r->io, n), ll_now_ms());
        return true;
    case LL_TLS_CLOSED:
        ll_smtpc_eof(c->engine);
        return false;
    case LL_TLS_ERROR:
        ll_smtpc_broken(c->engine, ll_slice_str(ll_tls_error(c->tls)));
        return false;
    case LL_TLS_WANT_READ:
    case LL_TLS_WANT_WRITE:
        break;
    }
    return false;
}

static void on_io(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;

    if (c->state == CONN_CONNECT) {
        connected(c);
        return;
    }
    if (c->state == CONN_TLS_FIRST) {
        tls_first_step(c);
        return;
    }
    if (c->state == CONN_STARTTLS) {
        starttls_step(c);
        return;
    }
    if (what & EV_READ) {
        unsigned n = 0;

        /* Behind the reply to QUIT nothing is read: an end without close_notify, which many servers
         * make of it, would spoil the TLS session for resumption. */
        while (read_some(c) && ++n < READS_MAX && !c->quitting)
            ;
        if (n > 0 && c->tls && ll_tls_pending(c->tls))
            event_active(c->readable, EV_READ, 0);
    }
    conn_run(c);
}

/* ---- life
 * ---------------------------------------------------------------------------------------------------
 */

/* From that address of ours, with a port that the system chooses. */
static int bind_to(int fd, const struct address *from)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    int one = 1;

    if (from->n == 0)
        return 0;
    memcpy(from->n == 4 ? (void *)&v4.sin_addr : (void *)&v6.sin6_addr, from->octets, from->n);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
    return from->n == 4 ? bind(fd, (const struct sockaddr *)&v4, sizeof(v4))
                        : bind(fd, (const struct sockaddr *)&v6, sizeof(v6));
}

static int connect_to(const struct address *a, uint16_t port, const struct address *from)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    const struct sockaddr *sa = a->n == 4 ? (const struct sockaddr *)&v4 : (const void *)&v6;
    socklen_t n = a->n == 4 ? sizeof(v4) : sizeof(v6);
    int fd = socket(a->n == 4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int one = 1;

    if (fd < 0)
        return -1;
    memcpy(a->n == 4 ? (void *)&v4.sin_addr : (void *)&v6.sin6_addr, a->octets, a->n);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (bind_to(fd, from) != 0 || (connect(fd, sa, n) != 0 && errno != EINPROGRESS)) {
        int e = errno;

        close(fd);
        errno = e;
        return -1;
    }
    return fd;
}

static void name_remote(struct conn *c, const struct ll_dns_name *host)
{
    struct ll_buf b = LL_BUF(RELAY_REMOTE_MAX - 1);

    c->host = *host;
    if (host->text[0] != '[')
        ll_buf_printf(&b, "%s ", host->text);
    ll_buf_puts(&b, "[");
    ll_target_format(&b, c->address.octets, c->address.n);
    ll_buf_printf(&b, "]:%u", c->port);
    snprintf(c->remote, sizeof(c->remote), "%.*s", LL_FMT(ll_buf_slice(&b)));
    ll_buf_release(&b);
}

bool conn_open(struct job *j, const struct address *a, uint16_t port, bool in_clear,
               struct fault *ret)
{
    struct relay *r = j->relay;
    struct conn *c = calloc(1, sizeof(*c));

    if (!c) {
        fault_set(ret, LL_OUTCOME_DEFERRED, RANK_CONNECT, "4.3.0", NULL, "out of memory");
        return false;
    }
    r->n_conns++;
    c->relay = r;
    c->plan = plan_ref(j->plan);
    c->address = *a;
    c->port = port;
    c->in_clear = in_clear;
    c->opened_ms = ll_now_ms();
    c->deadline = c->opened_ms + RELAY_CONNECT_MS;
    c->destination = ll_slice_dup(pool_key(j));
    name_remote(c, &j->host[j->host_at].name);
    c->fd = connect_to(a, port, &c->plan->source[a->n == 4 ? 0 : 1]);
    if (c->fd < 0)
        fault_set(ret, LL_OUTCOME_DEFERRED, RANK_CONNECT, "4.4.1", c->remote,
                  "no connection to %s: %s", c->remote, strerror(errno));
    if (c->fd >= 0) {
        c->readable = event_new(r->proc->base, c->fd, EV_READ | EV_PERSIST, on_io, c);
        c->writable = event_new(r->proc->base, c->fd, EV_WRITE | EV_PERSIST, on_io, c);
        c->timer = evtimer_new(r->proc->base, on_timer, c);
        fault_set(ret, LL_OUTCOME_DEFERRED, RANK_CONNECT, "4.3.0", c->remote, "out of memory");
    }
    if (c->fd < 0 || !c->destination || !c->readable || !c->writable || !c->timer) {
        conn_free(c);
        return false;
    }
    c->job = j;
    j->conn = c;
    event_add(c->writable, NULL);
    set_timer(c);
    return true;
}

void conn_give(struct conn *c, struct job *j)
{
    c->job = j;
    j->conn = c;
    c->deadline = UINT64_MAX;
    conn_run(c);
}

void conn_abandon(struct conn *c)
{
    struct job *j = c->job;

    c->job = NULL;
    j->conn = NULL;
    if (!j->body_given) {
        conn_free(c);
        return;
    }
    /* Its octets are the job's, and the job goes: only what has left the engine may go on. */
    struct ll_slice part;
    if (ll_smtpc_out(c->engine, &part, 1) > 0)
        conn_free(c);
}

void conn_quit(struct conn *c)
{
    c->deadline = UINT64_MAX;
    c->quitting = true;
    ll_smtpc_quit(c->engine, ll_now_ms());
    conn_run(c);
}
