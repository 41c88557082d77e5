/* See tool/client/session.h. */
#include "tool/client/session.h"

#include "io/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#define READ_MAX 32768 /* octets at a time */

struct session {
    const struct ll_session_conf *conf;
    const struct ll_session_letter *letter;
    struct ll_smtpc *smtp;
    struct ll_tls_conn *tls;
    int fd;
    char host[300], tls_text[128];
    /* the transaction under way */
    struct ll_smtpc_recipient *to;
    size_t *index; /* of to[i] in letter->rcpt */
    size_t n_to;
    bool in_flight; /* a letter was given, and its end is not known yet */
    bool ready;     /* the engine would take the next one */
    bool over;
    bool stirred; /* the engine was told of a fault: it has events */
    short want;   /* what TLS waits for besides */
    struct ll_sent failed;
};

/* ---- connecting ------------------------------------------------------------------------------ */

static bool wait_fd(int fd, short events, uint64_t until)
{
    struct pollfd p = {fd, events, 0};
    uint64_t now = ll_now_ms();
    int timeout = until == UINT64_MAX      ? -1
                  : now >= until           ? 0
                  : until - now > 86400000 ? 86400000
                                           : (int)(until - now);

    return poll(&p, 1, timeout) > 0;
}

static int connect_one(const struct ll_endpoint *at, int *ret_error)
{
    int fd = socket(at->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    int error = 0;
    socklen_t n = sizeof(error);

    if (fd < 0) {
        *ret_error = errno;
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(fd, (const struct sockaddr *)&at->address, at->length) < 0) {
        error = errno;
        if (error == EINPROGRESS) {
            if (!wait_fd(fd, POLLOUT, ll_now_ms() + LL_SESSION_CONNECT_MS))
                error = ETIMEDOUT;
            else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
                error = errno;
        }
    }
    if (error == 0)
        return fd;
    close(fd);
    *ret_error = error;
    return -1;
}

static void fail(struct session *s, enum ll_smtpc_phase phase, const char *text)
{
    s->failed = (struct ll_sent){
        .known = true, .outcome = LL_SMTPC_DEFERRED, .phase = phase, .enhanced = {4, 4, 2}};
    snprintf(s->failed.text, sizeof(s->failed.text), "%s", text);
    snprintf(s->failed.host, sizeof(s->failed.host), "%s", s->host);
}

static bool connect_any(struct session *s)
{
    char text[200];
    int error = EHOSTUNREACH;

    if (s->conf->local) {
        snprintf(s->host, sizeof(s->host), "%s %s", s->conf->local->domain, s->conf->local->path);
        s->fd = fcntl(s->conf->local->fd, F_DUPFD_CLOEXEC, 0);
        if (s->fd < 0 || fcntl(s->fd, F_SETFL, O_NONBLOCK) != 0)
            fail(s, LL_SMTPC_CONNECT, strerror(errno));
        return !s->failed.known;
    }
    for (size_t i = 0; i < s->conf->n_at; i++) {
        struct ll_buf at = LL_BUF(80);
        const char *shown;

        ll_endpoint_text(&s->conf->at[i], &at);
        shown = ll_buf_str(&at);
        snprintf(s->host, sizeof(s->host), "%.*s %s", LL_FMT(s->conf->host), shown ? shown : "");
        ll_buf_release(&at);
        s->fd = connect_one(&s->conf->at[i], &error);
        if (s->fd >= 0)
            return true;
    }
    snprintf(text, sizeof(text), "no connection: %s", strerror(error));
    fail(s, LL_SMTPC_CONNECT, text);
    return false;
}

/* ---- TLS ------------------------------------------------------------------------------------- */

static void describe_tls(struct session *s)
{
    const struct ll_tls_facts *f = ll_tls_facts(s->tls);

    if (f)
        snprintf(s->tls_text, sizeof(s->tls_text), "%s %s%s%s", f->version, f->cipher,
                 f->verified ? ", verified" : ", not verified",
                 f->verified && !f->peer_name[0] ? " by pin" : "");
}

/* NULL: the session is under TLS; else why not. */
static const char *handshake(struct session *s)
{
    uint64_t until = ll_now_ms() + 120000;
    const struct ll_tls_target target = {
        .server_name = s->conf->host, .pins = s->conf->pins, .n_pins = s->conf->n_pins};

    s->tls = ll_tls_connect(s->conf->client, s->fd, &target);
    if (!s->tls)
        return "no memory for TLS";
    for (;;) {
        enum ll_tls_result r = ll_tls_handshake(s->tls);

        if (r == LL_TLS_OK) {
            describe_tls(s);
            return NULL;
        }
        if (r == LL_TLS_CLOSED)
            return "the server closed the connection";
        if (r == LL_TLS_ERROR)
            return ll_tls_error(s->tls);
        if (!wait_fd(s->fd, r == LL_TLS_WANT_READ ? POLLIN : POLLOUT, until))
            return "the server was silent for too long";
    }
}

/* ---- the transaction ------------------------------------------------------------------------- */

/* Gives all recipients that are still open; false: there are none. */
static bool give_letter(struct session *s)
{
    const struct ll_session_letter *l = s->letter;
    struct ll_smtpc_letter letter = {.reverse_path = l->reverse_path,
                                     .size = l->content.n,
                                     .eightbit = l->eightbit,
                                     .smtputf8 = l->smtputf8,
                                     .ret = l->ret,
                                     .envid = l->envid};

    s->n_to = 0;
    for (size_t i = 0; i < l->n_rcpt; i++)
        if (!l->rcpt[i].known) {
            s->to[s->n_to] =
                (struct ll_smtpc_recipient){.address = l->rcpt[i].address, .notify = l->notify};
            s->index[s->n_to++] = i;
        }
    if (s->n_to == 0)
        return false;
    s->in_flight = true;
    letter.recipients = s->to;
    letter.recipient_count = s->n_to;
    ll_smtpc_letter(s->smtp, &letter, ll_now_ms());
    return true;
}

static void note(struct session *s, struct ll_sent *to, const struct ll_smtpc_result *r)
{
    to->known = true;
    to->outcome = r->outcome;
    to->phase = r->phase;
    to->code = r->code;
    memcpy(to->enhanced, r->enhanced, sizeof(to->enhanced));
    snprintf(to->text, sizeof(to->text), "%.*s", LL_FMT(r->text));
    snprintf(to->host, sizeof(to->host), "%s", s->host);
    snprintf(to->tls, sizeof(to->tls), "%s", s->tls_text);
}

/* A letter that failed before its body was on its way may go by another server; one whose end is
 * in doubt may not: it could arrive twice. */
static bool may_go_elsewhere(const struct ll_smtpc_result *r)
{
    return r->outcome == LL_SMTPC_DEFERRED && r->code == 0 && r->phase != LL_SMTPC_FINAL &&
           r->phase != LL_SMTPC_LOCAL;
}

/* The next transaction, for those over the recipients of one, or the end. Not before the last one
 * has ended: until then nobody knows who is left. */
static void go_on(struct session *s)
{
    if (s->in_flight || !s->ready)
        return;
    s->ready = false;
    if (!give_letter(s))
        ll_smtpc_quit(s->smtp, ll_now_ms());
}

static void on_done(struct session *s, const struct ll_smtpc_event *e)
{
    const struct ll_smtpc_result lost = {.outcome = LL_SMTPC_DEFERRED,
                                         .phase = LL_SMTPC_FINAL,
                                         .enhanced = {4, 3, 0},
                                         .text = LL_LIT("no memory")};

    s->in_flight = false;
    for (size_t i = 0; e->result_count == 0 && i < s->n_to; i++)
        note(s, &s->letter->rcpt[s->index[i]], &lost);
    for (size_t i = 0; i < e->result_count && i < s->n_to; i++) {
        if (may_go_elsewhere(
                &e->results[i])) { /* the connection is gone, and the session with it */
            note(s, &s->failed, &e->results[i]);
            s->over = true;
        } else if (e->results[i].outcome != LL_SMTPC_AGAIN) {
            note(s, &s->letter->rcpt[s->index[i]], &e->results[i]);
        }
    }
    if (!s->over)
        go_on(s);
}

static void on_event(struct session *s, const struct ll_smtpc_event *e)
{
    const char *why;

    switch (e->type) {
    case LL_SMTPC_START_TLS:
        why = handshake(s);
        if (why)
            ll_smtpc_tls_failed(s->smtp, ll_slice_str(why));
        else
            ll_smtpc_tls_up(s->smtp, ll_now_ms());
        break;
    case LL_SMTPC_READY:
        s->ready = true;
        go_on(s);
        break;
    case LL_SMTPC_NEED_BODY:
        ll_smtpc_body(s->smtp, s->letter->content, true, ll_now_ms());
        break;
    case LL_SMTPC_DONE:
        on_done(s, e);
        break;
    case LL_SMTPC_FAILED:
        note(s, &s->failed, &e->result);
        s->over = true;
        break;
    case LL_SMTPC_CLOSED:
        s->over = true;
        break;
    }
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static void tls_trouble(struct session *s, enum ll_tls_result r)
{
    s->stirred = r == LL_TLS_CLOSED || r == LL_TLS_ERROR;
    if (r == LL_TLS_CLOSED)
        ll_smtpc_eof(s->smtp);
    else if (r == LL_TLS_ERROR)
        ll_smtpc_broken(s->smtp, ll_slice_str(ll_tls_error(s->tls)));
    else
        s->want |= r == LL_TLS_WANT_READ ? POLLIN : POLLOUT;
}

/* Writes what there is, as far as the socket takes it. True: there may be more. */
static bool write_some(struct session *s)
{
    struct ll_slice parts[LL_SMTPC_OUT_PARTS];
    size_t n = ll_smtpc_out(s->smtp, parts, LL_COUNT(parts)), written;
    ssize_t w;

    if (n == 0)
        return false;
    if (s->tls) {
        enum ll_tls_result r = ll_tls_write(s->tls, parts[0].p, parts[0].n, &written);

        if (r != LL_TLS_OK) {
            tls_trouble(s, r);
            return false;
        }
        ll_smtpc_out_done(s->smtp, written, ll_now_ms());
        return true;
    }
    _Static_assert(sizeof(struct iovec) == sizeof(struct ll_slice), "the header promises it");
    w = writev(s->fd, (const struct iovec *)(const void *)parts, (int)n);
    if (w >= 0) {
        ll_smtpc_out_done(s->smtp, (size_t)w, ll_now_ms());
        return true;
    }
    if (errno == EAGAIN)
        s->want |= POLLOUT;
    else if (errno != EINTR) {
        ll_smtpc_broken(s->smtp, ll_slice_str(strerror(errno)));
        s->stirred = true;
    }
    return false;
}

/* Reads once. True: something came. */
static bool read_some(struct session *s)
{
    uint8_t bytes[READ_MAX];
    size_t n = 0;
    ssize_t r;

    if (s->tls) {
        enum ll_tls_result result = ll_tls_read(s->tls, bytes, sizeof(bytes), &n);

        if (result == LL_TLS_OK)
            ll_smtpc_feed(s->smtp, ll_slice(bytes, n), ll_now_ms());
        else if (result != LL_TLS_WANT_READ)
            tls_trouble(s, result);
        return result == LL_TLS_OK;
    }
    r = read(s->fd, bytes, sizeof(bytes));
    if (r > 0)
        ll_smtpc_feed(s->smtp, ll_slice(bytes, (size_t)r), ll_now_ms());
    else if (r == 0)
        ll_smtpc_eof(s->smtp);
    else if (errno != EAGAIN && errno != EINTR)
        ll_smtpc_broken(s->smtp, ll_slice_str(strerror(errno)));
    s->stirred = s->stirred || r == 0 || (r < 0 && errno != EAGAIN);
    return r > 0;
}

static void drive(struct session *s)
{
    struct ll_smtpc_event e;

    for (;;) {
        bool moved = false;

        while (!s->over && ll_smtpc_next(s->smtp, &e))
            on_event(s, &e);
        if (s->over)
            return;
        s->want = 0;
        s->stirred = false;
        while (write_some(s))
            moved = true;
        moved = read_some(s) || moved || s->stirred;
        if (!moved && !wait_fd(s->fd, POLLIN | s->want, ll_smtpc_deadline(s->smtp)))
            ll_smtpc_timeout(s->smtp, ll_now_ms());
    }
}

/* ---- the session ----------------------------------------------------------------------------- */

/* "[192.0.2.1]", "[IPv6:2001:db8::1]": our end of the connection (RFC 5321 4.1.3). */
static void own_literal(int fd, struct ll_buf *out)
{
    struct ll_endpoint own = {.length = sizeof(own.address)};
    struct ll_buf text = LL_BUF(80);
    struct ll_slice address;

    if (getsockname(fd, (struct sockaddr *)&own.address, &own.length) == 0) {
        ll_endpoint_text(&own, &text);
        address = ll_buf_slice(&text);
        address = ll_slice_cut(address, 1, ll_slice_rfind(address, ']'));
        ll_buf_printf(out, "[%s%.*s]", own.address.ss_family == AF_INET6 ? "IPv6:" : "",
                      LL_FMT(address));
    } else {
        ll_buf_puts(out, "[127.0.0.1]");
    }
    ll_buf_release(&text);
}

static bool once(struct session *s, enum ll_smtpc_tls tls)
{
    struct ll_buf own = LL_BUF(300);
    struct ll_smtpc_conf conf = {.tls = tls, .user = s->conf->user, .password = s->conf->password};
    const char *why = NULL;

    s->over = false;
    s->failed = (struct ll_sent){.known = false};
    if (!connect_any(s))
        return false;
    if (tls == LL_SMTPC_TLS_IMPLICIT)
        why = handshake(s);
    if (s->conf->own_name.n > 0)
        ll_buf_put_slice(&own, s->conf->own_name);
    else
        own_literal(s->fd, &own);
    conf.own_name = ll_buf_slice(&own);
    s->smtp = why ? NULL : ll_smtpc_new(&conf, ll_now_ms());
    if (s->smtp && s->conf->local)
        ll_smtpc_feed(s->smtp, ll_buf_slice(&s->conf->local->greeting), ll_now_ms());
    if (s->smtp)
        drive(s);
    else
        fail(s, LL_SMTPC_HANDSHAKE, why ? why : "no memory");
    ll_buf_release(&own);
    if (s->tls && !why)
        ll_tls_shutdown(s->tls);
    ll_smtpc_free(s->smtp);
    ll_tls_free(s->tls);
    close(s->fd);
    s->smtp = NULL;
    s->tls = NULL;
    s->tls_text[0] = '\0';
    return !s->failed.known;
}

bool ll_session_send(const struct ll_session_conf *conf, const struct ll_session_letter *letter,
                     struct ll_sent *ret_failed)
{
    struct session s = {.conf = conf, .letter = letter, .fd = -1};
    bool ok = false;

    s.to = calloc(letter->n_rcpt + 1, sizeof(*s.to));
    s.index = calloc(letter->n_rcpt + 1, sizeof(*s.index));
    if (s.to && s.index) {
        ok = once(&s, conf->tls);
        if (!ok && conf->tls == LL_SMTPC_TLS_OPPORTUNISTIC &&
            s.failed.phase == LL_SMTPC_HANDSHAKE && conf->user.n == 0)
            ok = once(&s, LL_SMTPC_TLS_NONE); /* RFC 7435 3: better in clear than not at all */
    } else {
        fail(&s, LL_SMTPC_CONNECT, "no memory");
    }
    free(s.to);
    free(s.index);
    if (!ok)
        *ret_failed = s.failed;
    return ok;
}
