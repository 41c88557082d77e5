/* A connection of the MTA: its messages, our answers. See milter.h. */
#include "tool/milter/milter.h"

#include "io/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_OCTETS 65536
#define TEXT_MAX    1024 /* octets of a name, address or macro that is kept */

/* Recipients do not matter to us, and nothing is answered before the end of a letter. */
#define STEPS                                                                                      \
    (LL_MILTER_NO_RCPT | LL_MILTER_NO_UNKNOWN | LL_MILTER_NR_CONNECT | LL_MILTER_NR_HELO |         \
     LL_MILTER_NR_MAIL | LL_MILTER_NR_RCPT | LL_MILTER_NR_DATA | LL_MILTER_NR_UNKNOWN |            \
     LL_MILTER_NR_HEADER | LL_MILTER_NR_EOH | LL_MILTER_NR_BODY | LL_MILTER_LEADING_SPACE)

static void on_read(evutil_socket_t fd, short what, void *arg);
static void on_write(evutil_socket_t fd, short what, void *arg);

/* ---- coming and going ---------------------------------------------------------------------------
 */

static void read_on(struct milter_session *s)
{
    struct timeval idle = {(time_t)s->m->o.idle_s, 0};

    event_add(s->rd, &idle);
}

void milter_session_new(struct milter *m, int fd)
{
    struct milter_session *s = calloc(1, sizeof(*s));

    if (!s) {
        close(fd);
        return;
    }
    s->m = m;
    s->id = ++m->last_id;
    s->fd = fd;
    s->out = LL_BUF(MILTER_OUT_MAX);
    ll_milter_reader_init(&s->reader, LL_MILTER_FRAME_MAX);
    for (struct ll_buf *b[] = {&s->helo, &s->host, &s->tls_version, &s->tls_cipher, &s->reverse,
                               &s->queue_id, &s->login, NULL},
                       **p = b;
         *p; p++)
        **p = LL_BUF(TEXT_MAX);
    s->next = m->sessions;
    if (s->next)
        s->next->prev = s;
    m->sessions = s;
    m->n_sessions++;
    s->rd = event_new(m->base, fd, EV_READ | EV_PERSIST, on_read, s);
    s->wr = event_new(m->base, fd, EV_WRITE, on_write, s);
    if (!s->rd || !s->wr) {
        milter_session_free(s);
        return;
    }
    read_on(s);
}

void milter_session_free(struct milter_session *s)
{
    struct milter *m = s->m;

    milter_letter_free(s->letter);
    *(s->prev ? &s->prev->next : &m->sessions) = s->next;
    if (s->next)
        s->next->prev = s->prev;
    m->n_sessions--;
    if (s->rd)
        event_free(s->rd);
    if (s->wr)
        event_free(s->wr);
    close(s->fd);
    ll_milter_reader_release(&s->reader);
    for (struct ll_buf *b[] = {&s->helo, &s->host, &s->tls_version, &s->tls_cipher, &s->reverse,
                               &s->queue_id, &s->login, &s->out, NULL},
                       **p = b;
         *p; p++)
        ll_buf_release(*p);
    free(s);
    milter_listeners_update(m);
}

/* ---- writing ------------------------------------------------------------------------------------
 */

void milter_session_put(struct milter_session *s, const struct ll_milter_msg *m)
{
    ll_milter_put(m, &s->out);
}

static void answer(struct milter_session *s, enum ll_milter_type type)
{
    milter_session_put(s, &(struct ll_milter_msg){.type = type});
}

/* Writes what it can; closes where that fails, at the loop's next turn. */
void milter_session_flush(struct milter_session *s)
{
    struct timeval idle = {(time_t)s->m->o.idle_s, 0};

    s->closing = s->closing || s->out.failed;
    while (s->out.n > 0 && !s->closing) {
        ssize_t n = send(s->fd, s->out.p, s->out.n, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            event_del(s->rd); /* no new work for who does not take the old */
            event_add(s->wr, &idle);
            return;
        }
        if (n <= 0)
            s->closing = true;
        else
            ll_buf_drop(&s->out, (size_t)n);
    }
    if (s->closing)
        event_active(s->rd, EV_READ, 0);
}

static void on_write(evutil_socket_t fd, short what, void *arg)
{
    struct milter_session *s = arg;

    (void)fd;
    if (what & EV_TIMEOUT) {
        milter_session_free(s);
        return;
    }
    read_on(s);
    milter_session_flush(s);
}

/* ---- the MTA's messages -------------------------------------------------------------------------
 */

static void keep(struct ll_buf *to, struct ll_slice text)
{
    ll_buf_clear(to);
    ll_buf_put_slice(to, ll_slice_cut(text, 0, TEXT_MAX));
}

static bool fault(struct milter_session *s, const char *why)
{
    ll_log(LL_LOG_WARNING, "milter-protocol", LL_FU("session", s->id), LL_FS("why", why));
    return false;
}

static bool take_options(struct milter_session *s, const struct ll_milter_msg *m)
{
    struct ll_milter_options wanted = {
        LL_MILTER_VERSION, LL_MILTER_MAY_ADD_HEADERS | LL_MILTER_MAY_CHANGE_HEADERS, STEPS};

    if (s->m->o.hold)
        wanted.actions |= LL_MILTER_MAY_QUARANTINE;
    if (!ll_milter_negotiate(&m->options, &wanted, &s->agreed))
        return fault(s, "the MTA lacks adding or changing header fields, or quarantine, or its "
                        "version is below 2");
    s->negotiated = true;
    milter_session_put(s, &(struct ll_milter_msg){.type = LL_MILTER_OPTNEG, .options = s->agreed});
    return true;
}

static void take_client(struct milter_session *s, const struct ll_milter_msg *m)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    struct sockaddr_in four = {.sin_family = AF_INET};
    struct ll_slice text = m->text;
    char address[INET6_ADDRSTRLEN];

    s->ip = (struct ll_ip){0};
    ll_buf_clear(&s->helo);
    ll_buf_clear(&s->login);
    ll_buf_clear(&s->tls_version);
    ll_buf_clear(&s->tls_cipher);
    if (ll_slice_casestarts(text, LL_LIT("IPv6:")))
        text = ll_slice_skip(text, 5);
    if (text.n >= sizeof(address))
        return;
    memcpy(address, text.p ? text.p : (const uint8_t *)"", text.n);
    address[text.n] = '\0';
    if (m->family == '4' && inet_pton(AF_INET, address, &four.sin_addr) == 1)
        ll_ip_of((struct sockaddr *)&four, &s->ip);
    else if (m->family == '6' && inet_pton(AF_INET6, address, &six.sin6_addr) == 1)
        ll_ip_of((struct sockaddr *)&six, &s->ip);
}

/* Those of a letter: what its own macros do not name, it does not have. */
static void forget_macros(struct milter_session *s)
{
    ll_buf_clear(&s->login);
    ll_buf_clear(&s->queue_id);
}

static void take_macros(struct milter_session *s, const struct ll_milter_msg *m)
{
    static const struct {
        const char *name;
        size_t at;
    } rows[] = {{"j", offsetof(struct milter_session, host)},
                {"i", offsetof(struct milter_session, queue_id)},
                {"{auth_authen}", offsetof(struct milter_session, login)},
                {"{tls_version}", offsetof(struct milter_session, tls_version)},
                {"{cipher}", offsetof(struct milter_session, tls_cipher)}};
    struct ll_slice value;

    if (m->command == LL_MILTER_MAIL)
        forget_macros(s);
    for (size_t i = 0; i < LL_COUNT(rows); i++)
        if (ll_milter_macro(m, ll_slice_str(rows[i].name), &value))
            keep((struct ll_buf *)((char *)s + rows[i].at), value);
}

static void forget_letter(struct milter_session *s)
{
    milter_letter_free(s->letter);
    s->letter = NULL;
}

static void take_mail(struct milter_session *s, const struct ll_milter_msg *m)
{
    struct ll_slice rest = m->strings, path = {NULL, 0};

    forget_letter(s);
    ll_milter_string(&rest, &path);
    if (path.n >= 2 && path.p[0] == '<' && path.p[path.n - 1] == '>')
        path = ll_slice_cut(path, 1, path.n - 1);
    keep(&s->reverse, path);
}

/* The letter begins with its content: one that is refused at RCPT costs no question. */
static bool content(struct milter_session *s, const struct ll_milter_msg *m)
{
    if (!s->letter)
        s->letter = milter_letter_new(s);
    if (!s->letter)
        return fault(s, "no memory");
    if (m->type == LL_MILTER_HEADER)
        milter_letter_header(s->letter, m->name, m->text);
    else if (m->type == LL_MILTER_EOH)
        milter_letter_eoh(s->letter);
    else
        milter_letter_body(s->letter, m->text);
    if (m->type == LL_MILTER_EOB)
        milter_letter_end(s->letter);
    return true;
}

/* False: close. */
static bool take(struct milter_session *s, const struct ll_milter_msg *m)
{
    if (!s->negotiated && m->type != LL_MILTER_OPTNEG && m->type != LL_MILTER_QUIT)
        return fault(s, "no option negotiation");
    if (s->letter && milter_letter_ended(s->letter) && m->type != LL_MILTER_ABORT &&
        m->type != LL_MILTER_QUIT && m->type != LL_MILTER_QUIT_NC)
        return fault(s, "a message before the letter's answer");
    switch ((int)m->type) {
    case LL_MILTER_OPTNEG:
        return take_options(s, m);
    case LL_MILTER_MACRO:
        take_macros(s, m);
        return true;
    case LL_MILTER_CONNECT:
        take_client(s, m);
        break;
    case LL_MILTER_HELO:
        keep(&s->helo, m->text);
        break;
    case LL_MILTER_MAIL:
        take_mail(s, m);
        break;
    case LL_MILTER_RCPT:
    case LL_MILTER_DATA:
    case LL_MILTER_UNKNOWN:
        break;
    case LL_MILTER_HEADER:
    case LL_MILTER_EOH:
    case LL_MILTER_BODY:
        if (!content(s, m))
            return false;
        break;
    case LL_MILTER_EOB:
        if (!content(s, m))
            return false;
        forget_macros(s);
        return true;
    case LL_MILTER_ABORT:
    case LL_MILTER_QUIT_NC:
        forget_letter(s);
        forget_macros(s);
        return true;
    case LL_MILTER_QUIT:
        return false;
    default:
        return fault(s, "an answer instead of a command");
    }
    if (ll_milter_answers(m->type, s->agreed.steps))
        answer(s, LL_MILTER_CONTINUE);
    return true;
}

static void on_read(evutil_socket_t fd, short what, void *arg)
{
    static uint8_t octets[READ_OCTETS]; /* one loop, one reader at a time */
    struct milter_session *s = arg;
    enum ll_milter_got got = LL_MILTER_MORE;
    struct ll_milter_msg m;
    struct ll_slice in;
    ssize_t n;

    if ((what & EV_TIMEOUT) && s->letter && milter_letter_ended(s->letter))
        return; /* it waits for us */
    if (s->closing || (what & EV_TIMEOUT)) {
        milter_session_free(s);
        return;
    }
    n = recv(fd, octets, sizeof(octets), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (n <= 0) {
        milter_session_free(s);
        return;
    }
    in = ll_slice(octets, (size_t)n);
    while ((got = ll_milter_read(&s->reader, &in, &m)) == LL_MILTER_MSG) {
        if (!take(s, &m)) {
            milter_session_free(s);
            return;
        }
    }
    if (got == LL_MILTER_BAD) {
        fault(s, "what came is no message of the milter protocol");
        milter_session_free(s);
        return;
    }
    milter_session_flush(s);
}
