/*
 * relay: carries letters to other servers, over SMTP and LMTP. See relay.h for its parts.
 *
 * The queue bounds how many jobs there are at a time; each job has one connection. What the queue
 * asked for and then forgot (it went away) is given up, unless the letter's end has left already.
 */
#include "daemon/relay/relay.h"

#include <arpa/inet.h>
#include <event2/event.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/random.h>

#include "io/clock.h"
#include "io/log.h"

#define INTERFACES_MAX 256
#define OWN_MAX        1024

uint64_t relay_random(struct relay *r)
{
    uint64_t x = r->random;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return r->random = x;
}

/* ---- ourselves
 * ------------------------------------------------------------------------------------- */

/* Before the sandbox: it takes a socket of another kind. */
static void find_interfaces(struct relay *r)
{
    struct ifaddrs *list = NULL;

    r->interfaces = calloc(INTERFACES_MAX, sizeof(r->interfaces[0]));
    if (!r->interfaces || getifaddrs(&list) != 0)
        return;
    for (struct ifaddrs *i = list; i && r->n_interfaces < INTERFACES_MAX; i = i->ifa_next) {
        struct address *a = &r->interfaces[r->n_interfaces];

        if (!i->ifa_addr)
            continue;
        if (i->ifa_addr->sa_family == AF_INET) {
            const struct sockaddr_in *v4 = (const void *)i->ifa_addr;

            a->n = 4;
            memcpy(a->octets, &v4->sin_addr, 4);
            r->n_interfaces++;
        } else if (i->ifa_addr->sa_family == AF_INET6) {
            const struct sockaddr_in6 *v6 = (const void *)i->ifa_addr;

            a->n = 16;
            memcpy(a->octets, &v6->sin6_addr, 16);
            r->n_interfaces++;
        }
    }
    freeifaddrs(list);
}

static void add_own(struct relay *r, const struct address *a, uint16_t port)
{
    if (r->n_own < OWN_MAX)
        r->own[r->n_own++] = (struct own_address){*a, port};
}

/* "ADDRESS:PORT", IPv6 in brackets; an address of zeros is every interface. */
static void add_listener(struct relay *r, struct ll_slice text)
{
    static const uint8_t zeros[16];
    size_t colon = ll_slice_rfind(text, ':');
    struct address a;
    uint64_t port;

    a.n = (uint8_t)ll_target_address(ll_slice_cut(text, 0, colon), a.octets);
    if (a.n == 0 || !ll_slice_u64(ll_slice_skip(text, colon + 1), &port) || port > UINT16_MAX)
        return;
    if (memcmp(a.octets, zeros, a.n) != 0) {
        add_own(r, &a, (uint16_t)port);
        return;
    }
    for (size_t i = 0; i < r->n_interfaces; i++)
        if (a.n == 16 || r->interfaces[i].n == 4) /* "[::]" may take IPv4 too */
            add_own(r, &r->interfaces[i], (uint16_t)port);
}

static void find_own(struct relay *r)
{
    const struct ll_conf *conf = r->proc->conf;

    r->n_own = 0;
    for (size_t i = 0; i < conf->n_listener; i++)
        for (char **a = conf->listener[i].address; *a; a++)
            if (strcmp(conf->listener[i].kind, "mx") == 0)
                add_listener(r, ll_slice_str(*a));
}

bool relay_is_own(const struct relay *r, const struct address *a, uint16_t port)
{
    for (size_t i = 0; i < r->n_own; i++)
        if (r->own[i].port == port && r->own[i].address.n == a->n &&
            memcmp(r->own[i].address.octets, a->octets, a->n) == 0)
            return true;
    return false;
}

/* ---- messages
 * ---------------------------------------------------------------------------------------- */

static int on_job(struct ll_peer *peer, const struct ll_msg *m)
{
    return job_taken(peer, m->id, m->job.job, (struct ll_slice){NULL, 0}, m->fd);
}

static int on_job_small(struct ll_peer *peer, const struct ll_msg *m)
{
    return job_taken(peer, m->id, m->job_small.job, m->job_small.body, -1);
}

static int on_probe_ask(struct ll_peer *peer, const struct ll_msg *m)
{
    return probe_asked(peer->proc->state, peer, m);
}

static int on_dns_answer(struct ll_peer *peer, const struct ll_msg *m)
{
    return ask_answered(peer->proc->state, m);
}

static int on_keeper(struct ll_peer *peer, const struct ll_msg *m)
{
    struct relay *r = peer->proc->state;

    return ll_keeper_client_msg(r->keeper, peer, m);
}

static int on_dkim(struct ll_peer *peer, const struct ll_msg *m)
{
    struct relay *r = peer->proc->state;

    return ll_dkim_client_msg(r->dkim, peer, m);
}

/* ---- life
 * -----------------------------------------------------------------------------------------------
 */

/* At a start, letters may come before the keeper's word. */
static void certificates_changed(void *arg)
{
    struct relay *r = arg;
    struct job *next;

    plans_certificates(r);
    for (struct job *j = r->jobs; j; j = next) {
        next = j->next;
        if (j->parked)
            hunt_begin(j);
    }
}

static int relay_start(struct ll_proc *proc)
{
    struct relay *r = calloc(1, sizeof(*r));

    if (!r || ll_tls_init() != 0)
        return -1;
    proc->state = r;
    r->proc = proc;
    r->own = calloc(OWN_MAX, sizeof(r->own[0]));
    r->probes = probes_new();
    r->keeper = ll_keeper_client_new(proc, certificates_changed, r);
    r->dkim = ll_dkim_client_new(proc);
    if (!r->own || !r->probes || !r->keeper || !r->dkim)
        return -1;
    if (getrandom(&r->random, sizeof(r->random), 0) != sizeof(r->random) || r->random == 0)
        r->random = ll_now_ms() | 1;
    find_interfaces(r);
    find_own(r);
    plans_make(r);
    return 0;
}

static void relay_reconf(struct ll_proc *proc, const struct ll_conf *old)
{
    struct relay *r = proc->state;

    ll_keeper_client_reconf(r->keeper);
    plans_make(r);
    find_own(r);
    pool_close_all(r); /* a route may lead elsewhere now */
}

static void relay_peer_up(struct ll_peer *peer)
{
    struct relay *r = peer->proc->state;

    if (peer->role == LL_ROLE_KEEPER) {
        ll_keeper_client_up(r->keeper, peer);
        ll_dkim_client_up(r->dkim, peer);
    } else if (peer->role == LL_ROLE_DNS) {
        asks_peer_up(r, peer);
    }
}

/* Who asked is gone: its jobs are nobody's. The queue hands them out anew when it is back. */
static void forget_jobs(struct relay *r, const struct ll_peer *asker)
{
    struct job *next;

    for (struct job *j = r->jobs; j; j = next) {
        next = j->next;
        if (j->asker != asker)
            continue;
        j->asker = NULL;
        hunt_cancel(j);
        if (j->conn)
            conn_abandon(j->conn);
        job_free(j);
    }
}

static void relay_peer_down(struct ll_peer *peer)
{
    struct relay *r = peer->proc->state;

    if (peer->role == LL_ROLE_KEEPER) {
        ll_keeper_client_down(r->keeper);
        ll_dkim_client_down(r->dkim);
    } else if (peer->role == LL_ROLE_DNS) {
        asks_peer_down(r);
    } else {
        forget_jobs(r, peer);
    }
}

static void relay_drain(struct ll_proc *proc)
{
    struct relay *r = proc->state;

    pool_close_all(r);
    if (r->n_jobs == 0)
        ll_proc_exit(proc);
}

const struct ll_role_ops ll_role_relay = {
    .start = relay_start,
    .reconf = relay_reconf,
    .peer_up = relay_peer_up,
    .peer_down = relay_peer_down,
    .drain = relay_drain,
    .on =
        {
            [LL_MSG_JOB] = on_job,
            [LL_MSG_JOB_SMALL] = on_job_small,
            [LL_MSG_PROBE_ASK] = on_probe_ask,
            [LL_MSG_DNS_ANSWER] = on_dns_answer,
            [LL_MSG_CERTS_BEGIN] = on_keeper,
            [LL_MSG_CERT] = on_keeper,
            [LL_MSG_DKIM_KEYS] = on_dkim,
            [LL_MSG_DKIM_ANSWER] = on_dkim,
        },
};
