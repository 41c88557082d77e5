/* One connection: octets between the socket (TLS or not) and the SMTP engine. See front.h. */
#include "daemon/front/front.h"
#include "io/clock.h"
#include "io/log.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum io { IO_OK, IO_AGAIN, IO_END };

/* ---- life ---------------------------------------------------------------------------------------
 */

static bool slot_take(struct front *f, struct session *s)
{
    if (f->n_free == 0)
        return false;
    s->slot = f->free_slots[--f->n_free];
    f->slots[s->slot] = s;
    return true;
}

static void session_free(struct session *s)
{
    struct front *f = s->front;

    front_letter_forget(s);
    event_del(&s->readable);
    event_del(&s->writable);
    ll_tls_free(s->tls);
    ll_smtpd_free(s->smtpd);
    ll_buf_wipe(&s->in);
    close(s->fd);
    f->slots[s->slot] = NULL;
    f->free_slots[f->n_free++] = s->slot;
    TAILQ_REMOVE(&f->sessions, s, all);
    f->n_sessions--;
    if (s->local)
        s->local->sessions--;
    front_service_unref(s->service);
    free(s);
    if (f->proc->draining && f->n_sessions == 0)
        event_active(f->tick, EV_TIMEOUT, 0);
}

void front_session_kill(struct session *s)
{
    ll_smtpd_eof(s->smtpd);
    session_free(s);
}

struct ll_client_rights front_rights(const struct session *s)
{
    return (struct ll_client_rights){s->service->submission, s->login, s->trusted, s->named_peer,
                                     s->letter && front_letter_reverse(s->letter).n == 0};
}

static void log_session(const struct session *s, enum ll_log_level level, const char *event,
                        const char *why)
{
    char ip[LL_IP_TEXT];

    ll_log(level, event, LL_FU("session", s->id), LL_FS("client", front_client(s, ip)),
           LL_FU("port", s->ip.port), LL_FS("listener", s->service->title), LL_FS("why", why));
}

/* ---- the socket
 * ----------------------------------------------------------------------------------
 */

static enum io tls_result(struct session *s, enum ll_tls_result r, bool reading)
{
    if (r == LL_TLS_OK)
        return IO_OK;
    if (r == LL_TLS_WANT_READ) {
        s->write_wants_read = s->write_wants_read || !reading;
        return IO_AGAIN;
    }
    if (r == LL_TLS_WANT_WRITE) {
        s->read_wants_write = s->read_wants_write || reading;
        return IO_AGAIN;
    }
    if (r == LL_TLS_ERROR)
        log_session(s, LL_LOG_DEBUG, "tls-error", ll_tls_error(s->tls));
    return IO_END;
}

static enum io sock_read(struct session *s, void *p, size_t max, size_t *ret_n)
{
    ssize_t n;

    if (s->tls) {
        s->read_wants_write = false;
        return tls_result(s, ll_tls_read(s->tls, p, max, ret_n), true);
    }
    do
        n = recv(s->fd, p, max, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        *ret_n = (size_t)n;
        return IO_OK;
    }
    return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? IO_AGAIN : IO_END;
}

static enum io sock_write(struct session *s, struct ll_slice out, size_t *ret_n)
{
    ssize_t n;

    if (s->tls) {
        s->write_wants_read = false;
        return tls_result(s, ll_tls_write(s->tls, out.p, out.n, ret_n), false);
    }
    do
        n = send(s->fd, out.p, out.n, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n >= 0) {
        *ret_n = (size_t)n;
        return IO_OK;
    }
    return errno == EAGAIN || errno == EWOULDBLOCK ? IO_AGAIN : IO_END;
}

/* Sends what the engine has to say. IO_OK: all of it is out. */
static enum io flush(struct session *s)
{
    for (;;) {
        struct ll_slice out = ll_smtpd_out(s->smtpd);
        enum io r;
        size_t n = 0;

        if (out.n == 0) {
            s->stalled = 0;
            return IO_OK;
        }
        r = sock_write(s, out, &n);
        if (r == IO_AGAIN && s->stalled == 0)
            s->stalled = ll_now_ms();
        if (r != IO_OK)
            return r;
        s->stalled = 0;
        ll_smtpd_out_done(s->smtpd, n);
    }
}

/* ---- events of the engine
 * ------------------------------------------------------------------------
 */

static void on_close(struct session *s, const char *why)
{
    s->closing = true;
    s->wants_linger = !why || strcmp(why, "quit") != 0;
    log_session(s, LL_LOG_DEBUG, "disconnect", why);
}

static void handle(struct session *s, const struct ll_smtpd_event *e)
{
    struct ll_verdict v;

    switch (e->type) {
    case LL_SMTPD_NONE:
        break;
    case LL_SMTPD_START_TLS:
        s->start_tls = true;
        break;
    case LL_SMTPD_ASK_AUTH:
        front_ask_auth(s, e);
        break;
    case LL_SMTPD_ASK_MAIL:
        front_ask_mail(s, e);
        break;
    case LL_SMTPD_ASK_RCPT:
        front_ask_rcpt(s, e);
        break;
    case LL_SMTPD_ASK_DATA:
        s->letter_began = ll_now_ms();
        s->letter_octets = 0;
        v = front_letter_data(s);
        front_reply(s, &v);
        break;
    case LL_SMTPD_BODY:
        s->letter_octets += e->body.n;
        if (s->letter)
            front_letter_body(s->letter, e->body);
        break;
    case LL_SMTPD_ASK_END:
        front_letter_end(s, e->content);
        break;
    case LL_SMTPD_RESET:
        front_letter_forget(s);
        break;
    case LL_SMTPD_CLOSE:
        on_close(s, e->why);
        break;
    }
}

static void pull(struct session *s)
{
    struct ll_smtpd_event e;

    while (ll_smtpd_next(s->smtpd, &e))
        handle(s, &e);
}

static bool engine_takes(const struct session *s)
{
    return s->mode == MODE_TALK && !s->closing && !s->start_tls && !s->wants_file &&
           !ll_smtpd_closed(s->smtpd) && !ll_smtpd_asking(s->smtpd);
}

/* Feeds until the engine takes no more; returns the octets taken. */
static size_t feed(struct session *s, struct ll_slice in)
{
    uint64_t now = ll_now_ms();
    size_t taken = 0;

    while (taken < in.n && s->mode == MODE_TALK && !s->closing) {
        size_t n = ll_smtpd_feed(s->smtpd, ll_slice_skip(in, taken), now);

        taken += n;
        pull(s);
        if (s->start_tls && taken < in.n) { /* the engine ends such a session */
            ll_smtpd_feed(s->smtpd, ll_slice_skip(in, taken), now);
            pull(s);
            s->start_tls = false;
        }
        if (ll_smtpd_asking(s->smtpd) || ll_smtpd_closed(s->smtpd) || s->wants_file)
            break;
        if (n == 0 && ll_smtpd_out(s->smtpd).n > 0 && flush(s) != IO_OK)
            break;
    }
    return taken;
}

/* What was kept while a question was open. True: nothing of it is left. */
static bool feed_kept(struct session *s)
{
    if (s->in.n > s->in_at && engine_takes(s))
        s->in_at += feed(s, ll_slice_skip(ll_buf_slice(&s->in), s->in_at));
    if (s->in_at < s->in.n && !s->closing)
        return false;
    if (s->in.cap > 0)
        ll_buf_wipe(&s->in);
    s->in_at = 0;
    return true;
}

static void feed_new(struct session *s, uint8_t *p, size_t n)
{
    size_t taken = feed(s, ll_slice(p, n));

    if (taken < n && !s->closing && !ll_smtpd_closed(s->smtpd)) {
        ll_buf_put(&s->in, p + taken, n - taken);
        s->in_at = 0;
        if (s->in.failed)
            s->mode = MODE_DEAD;
    }
    if (s->service->submission && !s->login)
        explicit_bzero(p, n); /* passwords came this way */
}

static void ended_by_peer(struct session *s)
{
    ll_smtpd_eof(s->smtpd);
    pull(s);
    s->mode = MODE_DEAD;
}

static void input(struct session *s)
{
    struct front *f = s->front;

    for (int i = 0; i < FRONT_READS && feed_kept(s) && engine_takes(s); i++) {
        size_t n = 0;
        enum io r = sock_read(s, f->scratch, sizeof(f->scratch), &n);

        s->more = r == IO_OK && s->tls;
        if (r == IO_AGAIN)
            return;
        if (r == IO_END) {
            ended_by_peer(s);
            return;
        }
        feed_new(s, f->scratch, n);
        if (!s->tls && n < sizeof(f->scratch))
            return;
    }
}

/* ---- TLS ---------------------------------------------------------------------------------------
 */

static void handshake_begin(struct session *s)
{
    struct ll_tls_server *server =
        ll_keeper_client_server(s->front->tls, ll_slice_str(s->service->title));

    s->start_tls = false;
    s->tls = server ? ll_tls_accept(server, s->fd) : NULL;
    if (!s->tls) {
        ended_by_peer(s);
        return;
    }
    s->mode = MODE_HANDSHAKE;
    s->deadline = ll_now_ms() + FRONT_HANDSHAKE_MS;
}

static void say_hello(struct session *s);

static void handshake(struct session *s)
{
    const struct ll_tls_facts *facts;
    enum ll_tls_result r = ll_tls_handshake(s->tls);
    struct ll_smtpd_tls up = {0};

    s->read_wants_write = r == LL_TLS_WANT_WRITE;
    if (r == LL_TLS_WANT_READ || r == LL_TLS_WANT_WRITE)
        return;
    if (r != LL_TLS_OK) {
        log_session(s, LL_LOG_INFO, "tls-failed",
                    r == LL_TLS_ERROR ? ll_tls_error(s->tls) : "closed within the handshake");
        ended_by_peer(s);
        return;
    }
    s->more = true; /* the first command may have come in one piece with the handshake's end */
    facts = ll_tls_facts(s->tls);
    up.version = facts->version;
    up.cipher = facts->cipher;
    up.client_name = facts->verified && facts->peer_name[0] ? facts->peer_name : NULL;
    s->named_peer = up.client_name != NULL;
    s->mode = MODE_TALK;
    if (!ll_smtpd_tls_up(s->smtpd, &up, ll_now_ms())) {
        ended_by_peer(s);
        return;
    }
    ll_smtpd_trust(s->smtpd, s->trusted || s->named_peer);
    if (s->service->implicit)
        say_hello(s);
    pull(s);
}

/* ---- settling
 * ------------------------------------------------------------------------------------
 */

static void begin_linger(struct session *s)
{
    if (s->tls)
        ll_tls_shutdown(s->tls);
    if (!s->wants_linger || shutdown(s->fd, SHUT_WR) != 0) {
        s->mode = MODE_DEAD;
        return;
    }
    s->mode = MODE_LINGER;
    s->deadline = ll_now_ms() + FRONT_LINGER_MS;
}

/* Octets that come behind our last words: thrown away, so that no reset overtakes those words. */
static void linger(struct session *s)
{
    for (int i = 0; i < FRONT_READS; i++) {
        ssize_t n = recv(s->fd, s->front->scratch, sizeof(s->front->scratch), MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        s->lingered += n > 0 ? (uint64_t)n : 0;
        if (n <= 0 || s->lingered > FRONT_LINGER_MAX) {
            s->mode = MODE_DEAD;
            return;
        }
    }
}

static void arm(struct session *s, bool blocked)
{
    bool want_read = s->mode == MODE_LINGER || s->write_wants_read ||
                     (s->mode == MODE_HANDSHAKE && !s->read_wants_write) ||
                     (engine_takes(s) && s->in.n == 0);
    bool want_write = blocked || s->read_wants_write;

    /* Reading is switched off when octets come that nobody wants: see on_readable. */
    if (want_read && !s->reading) {
        event_add(&s->readable, NULL);
        s->reading = true;
    }
    /* TLS may hold octets for which the socket will not become readable again. */
    if (s->more && engine_takes(s) && s->in.n == 0)
        event_active(&s->readable, EV_READ, 0);
    if (want_write != s->writing) {
        if (want_write)
            event_add(&s->writable, NULL);
        else
            event_del(&s->writable);
        s->writing = want_write;
    }
}

void front_settle(struct session *s)
{
    bool blocked = false;

    for (;;) {
        uint8_t before = s->mode;

        if (s->mode == MODE_HANDSHAKE)
            handshake(s);
        if (s->mode == MODE_TALK) {
            enum io r = flush(s);

            blocked = r == IO_AGAIN;
            if (r == IO_END)
                ended_by_peer(s);
            else if (r == IO_OK && s->closing)
                begin_linger(s);
            else if (r == IO_OK && s->start_tls)
                handshake_begin(s);
            else if (r == IO_OK && s->in.n > 0 && engine_takes(s)) {
                size_t at = s->in_at;

                if (feed_kept(s) || s->in_at > at)
                    continue;
            }
        }
        if (s->mode == before || s->mode == MODE_DEAD)
            break;
    }
    if (s->mode == MODE_DEAD)
        session_free(s);
    else
        arm(s, blocked);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct session *s = arg;

    (void)fd;
    (void)what;
    if (s->mode == MODE_LINGER) {
        linger(s);
    } else if (s->mode == MODE_TALK && !s->write_wants_read) {
        if (engine_takes(s) && s->in.n == 0) {
            input(s);
        } else {
            event_del(&s->readable);
            s->reading = false;
        }
    }
    front_settle(s);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct session *s = arg;

    (void)fd;
    (void)what;
    if (s->mode == MODE_TALK && s->read_wants_write)
        input(s);
    front_settle(s);
}

/* ---- answers and time
 * ------------------------------------------------------------------------------
 */

void front_reply(struct session *s, const struct ll_verdict *v)
{
    struct ll_smtpd_answer a = {.code = v->code, .enhanced = v->enhanced};

    s->asked = ASKED_NOTHING;
    if (v->text)
        a.text = ll_slice_str(v->text);
    ll_smtpd_answer(s->smtpd, &a, ll_now_ms());
}

void front_resume(struct session *s)
{
    pull(s);
    feed_kept(s);
    front_settle(s);
}

void front_answer(struct session *s, const struct ll_verdict *v)
{
    front_reply(s, v);
    front_resume(s);
}

static bool too_slow(const struct session *s, uint64_t now)
{
    uint64_t ms = now - s->letter_began;

    return ll_smtpd_in_letter(s->smtpd) && !ll_smtpd_asking(s->smtpd) && s->stalled == 0 &&
           ms > FRONT_RATE_FROM_MS && s->letter_octets < ms / 1000 * FRONT_RATE_MIN;
}

void front_session_tick(struct session *s, uint64_t now)
{
    bool waits = s->mode == MODE_HANDSHAKE || s->mode == MODE_LINGER;

    if (waits && now >= s->deadline) {
        if (s->mode == MODE_HANDSHAKE)
            log_session(s, LL_LOG_INFO, "tls-failed", "no handshake in time");
        ended_by_peer(s);
    } else if (s->stalled && now - s->stalled > FRONT_STALL_MS) {
        ended_by_peer(s);
    } else if (s->mode == MODE_TALK && !s->closing) {
        if (s->asked != ASKED_NOTHING && s->asked != ASKED_STORE && now >= s->deadline) {
            front_ask_late(s);
            return;
        }
        if (s->wants_file) {
            if (now >= s->deadline)
                front_letter_no_file(s);
            return;
        }
        if (now >= ll_smtpd_deadline(s->smtpd))
            ll_smtpd_timeout(s->smtpd, now);
        else if (too_slow(s, now))
            ll_smtpd_timeout(s->smtpd, ll_smtpd_deadline(s->smtpd));
        else if (now - s->began > FRONT_SESSION_MS)
            ll_smtpd_drain(s->smtpd);
        else
            return;
        pull(s);
    } else {
        return;
    }
    front_settle(s);
}

void front_session_drain(struct session *s)
{
    if (s->mode != MODE_TALK && s->mode != MODE_HANDSHAKE)
        return;
    ll_smtpd_drain(s->smtpd);
    pull(s);
    front_settle(s);
}

/* ---- the beginning ------------------------------------------------------------------------------
 */

/* The banner; a client that could not wait for it is not served (RFC 5321 4.3.1). */
static void say_hello(struct session *s)
{
    uint8_t octet;

    if (!s->service->submission && !s->tls && recv(s->fd, &octet, 1, MSG_PEEK | MSG_DONTWAIT) == 1)
        ll_smtpd_early_talker(s->smtpd);
    else
        ll_smtpd_start(s->smtpd, ll_now_ms());
}

void front_refuse(int fd, const char *reply)
{
    if (send(fd, reply, strlen(reply), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
        shutdown(fd, SHUT_WR);
    close(fd);
}

static void refuse_full(int fd)
{
    front_refuse(fd, "421 4.3.2 Too many connections, try again later\r\n");
}

/* The kernel has proved who it is: as good as a login. */
static bool take_local(struct session *s, const struct local_client *local)
{
    s->local = local->user;
    s->local_trusted = local->trusted;
    s->login = ll_smtpd_set_user(s->smtpd, local->address);
    s->local->sessions++;
    return s->login;
}

void front_session_new(struct front *f, struct service *service, int fd, const struct ll_ip *ip,
                       const struct local_client *local)
{
    uint64_t now = ll_now_ms();
    struct session *s;

    if (f->n_sessions >= f->n_slots || (int64_t)f->n_sessions >= f->proc->conf->sessions_max) {
        refuse_full(fd);
        return;
    }
    s = calloc(1, sizeof(*s));
    if (s)
        s->smtpd = ll_smtpd_new(&service->conf, now);
    if (!s || !s->smtpd || !slot_take(f, s)) {
        if (s)
            ll_smtpd_free(s->smtpd);
        free(s);
        refuse_full(fd);
        return;
    }
    s->front = f;
    s->service = service;
    s->service->refs++;
    s->fd = fd;
    s->ip = *ip;
    s->id = ++f->last_id;
    s->began = now;
    s->in = LL_BUF(FRONT_SCRATCH);
    s->trusted = ll_networks_have(&f->trusted, ip);
    event_assign(&s->readable, f->proc->base, fd, EV_READ | EV_PERSIST, on_readable, s);
    event_assign(&s->writable, f->proc->base, fd, EV_WRITE | EV_PERSIST, on_writable, s);
    TAILQ_INSERT_TAIL(&f->sessions, s, all);
    f->n_sessions++;
    log_session(s, LL_LOG_DEBUG, "connect", NULL);
    ll_smtpd_trust(s->smtpd, s->trusted);
    if (local && !take_local(s, local)) {
        s->mode = MODE_DEAD;
    } else if (s->service->implicit) {
        handshake_begin(s);
    } else {
        say_hello(s);
        pull(s);
    }
    front_settle(s);
}
