/* Start, sandbox and loop of the filter. See milter.h. */
#include "tool/milter/milter.h"

#include "io/log.h"
#include "io/sandbox.h"
#include "tool/milter/listen.h"
#include "tool/tool.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unbound.h>
#include <unistd.h>

#define ACCEPTS   16   /* connections taken in one turn */
#define DNS_FILES 2100 /* descriptors that libunbound and we may need beside connections */

/* ---- connections --------------------------------------------------------------------------------
 */

void milter_listeners_update(struct milter *m)
{
    bool room = m->n_sessions < (uint64_t)m->o.sessions;

    for (size_t i = 0; i < m->n_listeners; i++) {
        struct milter_listener *l = &m->listener[i];

        if (!l->ev || l->on == room)
            continue;
        if (room)
            event_add(l->ev, NULL);
        else
            event_del(l->ev);
        l->on = room;
        if (!room)
            ll_log(LL_LOG_WARNING, "milter-full", LL_FU("sessions", m->n_sessions));
    }
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    milter_listeners_update(arg);
}

/* The system has nothing left for another connection: it would be told of it again and again. */
static void pause_listener(struct milter_listener *l)
{
    static const struct timeval second = {1, 0};

    ll_log(LL_LOG_WARNING, "milter-no-resources", LL_FS("error", strerror(errno)));
    event_del(l->ev);
    l->on = false;
    event_base_once(l->m->base, -1, EV_TIMEOUT, on_again, l->m, &second);
}

static void on_connection(evutil_socket_t fd, short what, void *arg)
{
    struct milter_listener *l = arg;

    (void)what;
    for (int i = 0; i < ACCEPTS && l->on; i++) {
        int c = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (c < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
                pause_listener(l);
            return;
        }
        milter_session_new(l->m, c);
        milter_listeners_update(l->m);
    }
}

static int open_listeners(struct milter *m, const struct milter_start *start)
{
    int status = 0;

    for (size_t i = 0; status == 0 && i < start->n_listen; i++) {
        struct milter_listener *l = &m->listener[m->n_listeners];

        status = milter_listen(start->listen[i], start->socket_mode, start->socket_group, &l->fd);
        m->n_listeners += status == 0;
    }
    return status;
}

static bool arm_listeners(struct milter *m)
{
    for (size_t i = 0; i < m->n_listeners; i++) {
        struct milter_listener *l = &m->listener[i];

        l->m = m;
        l->ev = event_new(m->base, l->fd, EV_READ | EV_PERSIST, on_connection, l);
        if (!l->ev)
            return false;
    }
    milter_listeners_update(m);
    return true;
}

/* ---- rights -------------------------------------------------------------------------------------
 */

/* After the ports are open and the keys are read. */
static int become(const char *user)
{
    const struct passwd *p;

    if (geteuid() != 0)
        return user ? ll_fail(EX_NOPERM, "--user takes root to start") : 0;
    if (!user)
        return ll_fail(EX_USAGE, "as root, say with --user who it shall be when it has started");
    p = getpwnam(user);
    if (!p || p->pw_uid == 0)
        return ll_fail(EX_NOUSER, "--user %s: %s", user,
                       p ? "root reads what strangers write" : "there is no such user");
    if (initgroups(user, p->pw_gid) != 0 || setgid(p->pw_gid) != 0 || setuid(p->pw_uid) != 0)
        return ll_fail(EX_OSERR, "--user %s: %s", user, strerror(errno));
    return 0;
}

static int enter_sandbox(const struct milter *m, struct ll_buf *missing)
{
    static const struct ll_sandbox_path paths[] = {
        {"/usr", LL_ACCESS_READ},           {"/lib", LL_ACCESS_READ},
        {"/lib64", LL_ACCESS_READ},         {"/etc/ssl", LL_ACCESS_READ},
        {"/etc/localtime", LL_ACCESS_READ}, {"/etc/resolv.conf", LL_ACCESS_READ},
        {"/etc/hosts", LL_ACCESS_READ},     {"/etc/unbound", LL_ACCESS_READ},
        {"/dev/urandom", LL_ACCESS_READ},   {"/dev/null", LL_ACCESS_WRITE},
    };
    static const struct ll_sandbox_net net = {.any_connect = true}; /* DNS, at any port */

    if (ll_sandbox_limits((uint64_t)m->o.sessions + DNS_FILES) != 0 ||
        ll_sandbox_files(paths, LL_COUNT(paths), &net, missing) != 0 ||
        ll_sandbox_calls(LL_CALLS_ACCEPT | LL_CALLS_CONNECT | LL_CALLS_OPEN | LL_CALLS_SETFL,
                         missing) != 0)
        return ll_fail(EX_OSERR, "the sandbox could not be set up: %s", strerror(errno));
    return 0;
}

/* ---- the loop -----------------------------------------------------------------------------------
 */

static void on_signal(evutil_socket_t number, short what, void *arg)
{
    struct milter *m = arg;

    (void)number;
    (void)what;
    event_base_loopbreak(m->base);
}

static bool catch_signals(struct milter *m, struct event *ret[2])
{
    static const int numbers[] = {SIGTERM, SIGINT};

    for (size_t i = 0; i < LL_COUNT(numbers); i++) {
        ret[i] = evsignal_new(m->base, numbers[i], on_signal, m);
        if (!ret[i] || event_add(ret[i], NULL) != 0)
            return false;
    }
    return true;
}

static int serve(struct milter *m, const struct milter_start *start)
{
    struct ll_buf missing = LL_BUF(512);
    struct event *signals[2] = {NULL, NULL};
    int status = 0;

    m->base = event_base_new();
    m->dns = m->base ? milter_dns_new(m->base, start->resolver, start->trust_anchor) : NULL;
    m->dkim_keys = ll_dkim_keys_new(MILTER_KEPT);
    if (!m->dkim_keys)
        status = ll_fail(EX_OSERR, "no memory");
    else if (!m->dns)
        status = ll_fail(EX_CONFIG, "DNS cannot be set up (see the log)");
    else if (!catch_signals(m, signals) || !arm_listeners(m))
        status = ll_fail(EX_OSERR, "no memory");
    if (status == 0)
        status = enter_sandbox(m, &missing);
    if (status == 0) {
        for (size_t i = 0; i < start->n_listen; i++)
            ll_log(LL_LOG_INFO, "milter-ready", LL_FS("listen", start->listen[i]),
                   LL_FU("keys", m->keys.n), LL_F("without", ll_buf_slice(&missing)));
        event_base_dispatch(m->base);
        ll_log(LL_LOG_INFO, "milter-ended", LL_FU("letters", m->letters));
    }
    while (m->sessions)
        milter_session_free(m->sessions);
    ll_dkim_keys_free(m->dkim_keys);
    for (size_t i = 0; i < LL_COUNT(signals); i++)
        if (signals[i])
            event_free(signals[i]);
    for (size_t i = 0; i < m->n_listeners; i++)
        if (m->listener[i].ev)
            event_free(m->listener[i].ev);
    ll_buf_release(&missing);
    return status;
}

int milter_run(struct milter *m, const struct milter_start *start)
{
    int status;

    ll_log_init("milter", 0);
    signal(SIGPIPE, SIG_IGN);
    if (gethostname(m->host, sizeof(m->host) - 1) != 0)
        m->host[0] = '\0';
    status = open_listeners(m, start);
    if (status == 0)
        status = become(start->user);
    if (status == 0)
        status = serve(m, start);
    for (size_t i = 0; i < m->n_listeners; i++)
        close(m->listener[i].fd);
    if (m->dns)
        ub_ctx_delete(m->dns);
    if (m->base)
        event_base_free(m->base);
    return status;
}
