/* Listening sockets: see front.h. */
#include "daemon/front/front.h"
#include "io/clock.h"
#include "io/log.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#define ACCEPTS 16 /* connections taken in one turn: other workers shall have some */

/* ---- services --------------------------------------------------------------------------------
 */

void front_service_unref(struct service *s)
{
    if (!s || --s->refs > 0)
        return;
    free(s->title);
    free(s->hostname);
    free(s->greeting);
    free(s);
}

static uint32_t limit(int64_t v)
{
    return v < 0 ? 0 : v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}

static struct service *service_new(const struct ll_conf *conf, const struct ll_conf_listener *l,
                                   const char *greeting)
{
    struct service *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    s->refs = 1;
    s->submission = strcmp(l->kind, "submission") == 0;
    s->implicit = strcmp(l->tls, "implicit") == 0;
    s->offer = strcmp(l->tls, "starttls") == 0;
    s->hide_client = s->submission && conf->hide_client;
    s->title = ll_slice_dup(ll_slice_str(l->title));
    s->hostname = ll_slice_dup(ll_slice_str(conf->hostname));
    s->greeting = ll_slice_dup(ll_slice_str(greeting));
    if (!s->title || !s->hostname || !s->greeting) {
        front_service_unref(s);
        return NULL;
    }
    ll_smtpd_conf_init(&s->conf, s->submission ? LL_SMTPD_SUBMISSION : LL_SMTPD_MX);
    s->conf.hostname = s->greeting;
    s->conf.dsn = true;
    s->conf.size_max = conf->message_size > 0 ? (uint64_t)conf->message_size : 0;
    s->conf.recipients_max =
        limit(s->submission ? conf->recipients_submission : conf->recipients_mx);
    if (s->conf.recipients_max == 0 || s->conf.recipients_max > LL_SPOOL_RCPTS_MAX)
        s->conf.recipients_max = LL_SPOOL_RCPTS_MAX;
    s->conf.errors_max = limit(conf->errors_max);
    s->conf.command_timeout = (uint64_t)conf->command_timeout * 1000;
    s->conf.data_timeout = (uint64_t)conf->data_timeout * 1000;
    return s;
}

/* Local users learn from the banner which domain is theirs. */
struct service *front_service_local(const struct ll_conf *conf)
{
    static char title[] = "local", kind[] = "submission", tls[] = "none";
    const struct ll_conf_listener l = {.title = title, .kind = kind, .tls = tls};

    return service_new(conf, &l, conf->local_domain);
}

/* ---- on and off --------------------------------------------------------------------------------
 */

static bool may_accept(const struct front *f, const struct listener *l, uint64_t now)
{
    bool ready = ll_keeper_client_server(f->tls, ll_slice_str(l->service->title)) != NULL;

    if (f->proc->draining || now < f->accept_again)
        return false;
    if ((uint64_t)f->n_sessions + FRONT_FDS_KEPT >= f->fd_limit)
        return false;
    /* At the start: without a segment every letter would be put off. */
    if (!f->stored_once && now - f->began <= FRONT_KEEPER_MS &&
        ll_writer_ready(f->writer, 0) != LL_STORED)
        return false;
    if (l->service->implicit || l->service->submission)
        return ready || (!l->service->implicit && !l->service->offer);
    return ready || ll_keeper_client_known(f->tls) || now - f->began > FRONT_KEEPER_MS;
}

void front_listeners_update(struct front *f)
{
    uint64_t now = ll_now_ms();

    for (struct listener *l = f->listeners; l; l = l->next) {
        bool on = may_accept(f, l, now);

        l->service->conf.starttls =
            l->service->offer &&
            ll_keeper_client_server(f->tls, ll_slice_str(l->service->title)) != NULL;
        if (on && !l->on)
            event_add(&l->ev, NULL);
        else if (!on && l->on)
            event_del(&l->ev);
        l->on = on;
    }
}

static void on_connection(evutil_socket_t fd, short what, void *arg)
{
    struct listener *l = arg;
    struct front *f = l->front;

    (void)what;
    for (int i = 0; i < ACCEPTS && l->on; i++) {
        struct sockaddr_storage from;
        socklen_t n = sizeof(from);
        struct ll_ip ip;
        int c = accept4(fd, (struct sockaddr *)&from, &n, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (c < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                f->accept_again = ll_now_ms() + FRONT_TICK_MS;
                front_listeners_update(f);
            }
            return; /* EAGAIN: another worker was faster; ECONNABORTED and its like: next turn */
        }
        ll_ip_of((struct sockaddr *)&from, &ip);
        front_session_new(f, l->service, c, &ip, NULL);
        if ((uint64_t)f->n_sessions + FRONT_FDS_KEPT >= f->fd_limit)
            front_listeners_update(f);
    }
}

/* ---- coming and going ---------------------------------------------------------------------------
 */

static void listener_free(struct listener *l)
{
    if (l->on)
        event_del(&l->ev);
    if (l->fd >= 0)
        close(l->fd);
    front_service_unref(l->service);
    free(l->address);
    free(l);
}

void front_listener_add(struct front *f, int fd, struct ll_slice title, struct ll_slice address)
{
    const struct ll_conf_listener *conf = ll_conf_listener(f->proc->conf, title);
    struct listener *l = calloc(1, sizeof(*l));
    int one = 1;

    if (!conf || !l || f->proc->draining) {
        free(l);
        close(fd);
        return;
    }
    l->fd = fd;
    l->front = f;
    l->address = ll_slice_dup(address);
    l->service = service_new(f->proc->conf, conf, f->proc->conf->hostname);
    if (!l->address || !l->service ||
        event_assign(&l->ev, f->proc->base, fd, EV_READ | EV_PERSIST, on_connection, l) != 0) {
        ll_log(LL_LOG_ERROR, "listener-failed", LL_F("listener", title), LL_F("address", address));
        listener_free(l);
        return;
    }
    /* Accepted sockets inherit it. Replies go out whole: there is nothing to wait for. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    l->next = f->listeners;
    f->listeners = l;
    front_listeners_update(f);
}

static bool still_wanted(const struct ll_conf_listener *conf, const struct listener *l)
{
    if (!conf)
        return false;
    for (size_t i = 0; conf->address[i]; i++)
        if (strcmp(conf->address[i], l->address) == 0)
            return true;
    return false;
}

void front_listeners_reconf(struct front *f)
{
    struct listener **at = &f->listeners;

    while (*at) {
        struct listener *l = *at;
        const struct ll_conf_listener *conf =
            ll_conf_listener(f->proc->conf, ll_slice_str(l->service->title));
        struct service *s = still_wanted(conf, l)
                                ? service_new(f->proc->conf, conf, f->proc->conf->hostname)
                                : NULL;

        if (s && s->submission == f->submission) {
            front_service_unref(l->service);
            l->service = s;
            at = &l->next;
            continue;
        }
        front_service_unref(s);
        *at = l->next;
        listener_free(l);
    }
    front_listeners_update(f);
}

void front_listeners_close(struct front *f)
{
    while (f->listeners) {
        struct listener *l = f->listeners;

        f->listeners = l->next;
        listener_free(l);
    }
}
