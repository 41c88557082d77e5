/* Questions to dns. See relay.h. */
#include "daemon/relay/relay.h"

#include <event2/event.h>
#include <stdlib.h>

#include "io/clock.h"

#define ANSWER_ARENA (64u << 10)
#define TICK_S       1

struct ask {
    struct ask *next;
    uint64_t id;
    uint64_t deadline;
    uint16_t type;
    struct ll_dns_name name;
    ask_fn fn;
    void *arg;
};

static void send_ask(struct ll_peer *dns, const struct ask *a)
{
    struct ll_msg m = {.type = LL_MSG_DNS_ASK, .id = a->id, .fd = -1};

    m.dns_ask.rtype = a->type;
    m.dns_ask.name = ll_dns_name_slice(&a->name);
    ll_msg_send(dns->ipc, &m);
}

static struct ask **bucket(struct relay *r, uint64_t id)
{
    return &r->asks[id % POOL_BUCKETS];
}

static struct ask *take(struct relay *r, uint64_t id)
{
    for (struct ask **p = bucket(r, id); *p; p = &(*p)->next) {
        struct ask *a = *p;

        if (a->id != id)
            continue;
        *p = a->next;
        r->n_asks--;
        return a;
    }
    return NULL;
}

static void fail(struct ask *a, uint8_t status, const char *why)
{
    struct ll_dns_answer answer = {.status = status, .type = a->type, .why = ll_slice_str(why)};

    a->fn(a->arg, &answer);
    free(a);
}

static void arm(struct relay *r);

/* One that is late goes; what its call-back asks anew is not late. */
static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct relay *r = arg;
    uint64_t now = ll_now_ms();

    for (size_t i = 0; i < POOL_BUCKETS; i++) {
        struct ask *a = r->asks[i];

        while (a && a->deadline > now)
            a = a->next;
        if (!a)
            continue;
        take(r, a->id);
        fail(a, LL_DNS_STATUS_TIMEOUT, "the resolver did not answer in time");
        i--; /* this bucket again */
    }
    arm(r);
}

static void arm(struct relay *r)
{
    struct timeval tv = {TICK_S, 0};

    if (!r->ask_timer)
        r->ask_timer = evtimer_new(r->proc->base, on_tick, r);
    if (r->ask_timer && r->n_asks && !event_pending(r->ask_timer, EV_TIMEOUT, NULL))
        event_add(r->ask_timer, &tv);
}

struct ask *ask_dns(struct relay *r, uint16_t type, const struct ll_dns_name *name, ask_fn fn,
                    void *arg)
{
    struct ll_peer *dns = ll_proc_peer(r->proc, LL_ROLE_DNS, 0);
    struct ask *a = calloc(1, sizeof(*a));
    struct ask **b;

    if (!a)
        return NULL;
    *a = (struct ask){.id = ll_proc_id(r->proc),
                      .deadline = ll_now_ms() + RELAY_ASK_MS,
                      .type = type,
                      .name = *name,
                      .fn = fn,
                      .arg = arg};
    b = bucket(r, a->id);
    a->next = *b;
    *b = a;
    r->n_asks++;
    arm(r);
    if (dns)
        send_ask(dns, a);
    return a;
}

void ask_cancel(struct relay *r, struct ask *a)
{
    if (a)
        free(take(r, a->id));
}

int ask_answered(struct relay *r, const struct ll_msg *m)
{
    struct ask *a = take(r, m->id);
    struct ll_dns_answer answer;
    struct ll_arena arena;
    bool ok;

    if (!a)
        return 0; /* late: nobody waits for it any more */
    ll_arena_init(&arena, ANSWER_ARENA);
    ok = ll_dns_answer_decode(m->dns_answer.answer, &arena, &answer) && answer.type == a->type;
    if (ok) {
        a->fn(a->arg, &answer);
        free(a);
    } else {
        fail(a, LL_DNS_STATUS_SERVFAIL, "the resolver gave a broken answer");
    }
    ll_arena_release(&arena);
    return ok ? 0 : -1;
}

/* dns is back: what waits is asked anew. */
void asks_peer_up(struct relay *r, struct ll_peer *dns)
{
    for (size_t i = 0; i < POOL_BUCKETS; i++)
        for (struct ask *a = r->asks[i]; a; a = a->next)
            send_ask(dns, a);
}

/* Nothing is lost yet: super brings it back within a second, and every question has its time. */
void asks_peer_down(struct relay *r)
{
    arm(r);
}
