/*
 * dns: asks libunbound, answers records with their DNSSEC status.
 *
 * Everything runs in the event loop. A question is answered once: by libunbound, or by the clock.
 * Answers are cached by libunbound alone.
 *
 * DNSSEC: with a trust anchor, everything is validated. A forwarder that strips signatures would
 * make every answer bogus, and no letter would leave. So at start, and every RETEST_S seconds after
 * a failure, the records of the trust anchor's own zone are asked for. If they do not prove true
 * and a forwarder is configured, answers come without validation (`secure` is never set) until they
 * do, and the log says so. Without a forwarder there is nobody to blame: bogus stays bogus.
 */
#include <event2/event.h>
#include <stdlib.h>
#include <sysexits.h>

#include "daemon/dns/context.h"
#include "io/clock.h"
#include "io/log.h"

#define QUESTIONS_MAX 20000 /* waiting at a time; more fail at once */
#define ANSWER_MS     25000 /* a question's time: below every asker's own patience */
#define TICK_MS       500   /* how often that is looked at */
#define RETEST_S      300
#define ANSWER_ARENA  (1u << 20) /* octets of memory to read one answer */
#define NOT_VALIDATED "DNSSEC is not validated"

enum mode {
    MODE_TESTING,  /* the self-test has not come back */
    MODE_SECURE,   /* it proved true */
    MODE_PLAIN,    /* no trust anchor: all is insecure */
    MODE_STRIPPED, /* the forwarder strips DNSSEC: all is insecure */
    MODE_BOGUS,    /* it did not prove true, and nobody but the network is to blame */
};

static const char *const mode_names[] = {"testing", "secure", "plain", "stripped", "bogus"};

/* A context and the questions that run in it; one that was replaced goes with its last question. */
struct resolver {
    struct ub_ctx *ctx;
    size_t running;
    bool retired;
};

struct question {
    struct question *prev, *next; /* in order of time; among d->waiting or d->held */
    struct dns *d;
    struct resolver *resolver; /* NULL: libunbound has answered */
    struct ll_peer *peer;      /* NULL: nobody waits any more, or it is the self-test */
    uint64_t id;
    uint64_t deadline;
    uint16_t type;
    uint8_t self_test; /* its step: 1 signatures, 2 does the forwarder answer at all? */
    bool in_list;
    struct ll_dns_name name;
};

struct list {
    struct question *first, *last;
};

struct dns {
    struct ll_proc *proc;
    struct ll_dns_setup setup;
    struct resolver *validating;
    struct resolver *plain; /* made when it is needed; NULL before */
    enum mode mode;
    struct list waiting;
    struct list held; /* bogus while the self-test runs: asked again if it fails */
    size_t questions;
    struct event *tick;
    struct event *retest;
    uint64_t asked, failed, bogus;
};

static void ask_in(struct dns *d, struct question *q, struct resolver *r);
static void self_test(struct dns *d, uint8_t step);

/* ---- contexts ---------------------------------------------------------------------------------
 */

static struct resolver *resolver_new(struct dns *d, bool validate)
{
    struct resolver *r = calloc(1, sizeof(*r));

    if (!r)
        return NULL;
    r->ctx = ll_dns_context(d->proc->base, d->proc->conf, &d->setup, validate);
    if (!r->ctx) {
        free(r);
        return NULL;
    }
    return r;
}

static void resolver_delete(evutil_socket_t fd, short what, void *arg)
{
    struct resolver *r = arg;

    ub_ctx_delete(r->ctx);
    free(r);
}

/* Not from within libunbound: it may be libunbound that is calling. */
static void resolver_delete_later(struct dns *d, struct resolver *r)
{
    static const struct timeval now = {0, 0};

    event_base_once(d->proc->base, -1, EV_TIMEOUT, resolver_delete, r, &now);
}

static void resolver_retire(struct dns *d, struct resolver *r)
{
    if (!r)
        return;
    r->retired = true;
    if (r->running == 0)
        resolver_delete_later(d, r);
}

static void resolver_left(struct dns *d, struct resolver *r)
{
    if (--r->running == 0 && r->retired)
        resolver_delete_later(d, r);
}

static struct resolver *resolver_plain(struct dns *d)
{
    if (!d->plain)
        d->plain = resolver_new(d, false);
    return d->plain;
}

static struct resolver *resolver_now(struct dns *d)
{
    return d->mode == MODE_STRIPPED ? resolver_plain(d) : d->validating;
}

/* ---- questions --------------------------------------------------------------------------------
 */

static void list_add(struct list *l, struct question *q)
{
    q->prev = l->last;
    q->next = NULL;
    *(l->last ? &l->last->next : &l->first) = q;
    l->last = q;
}

static void list_take(struct list *l, struct question *q)
{
    *(q->prev ? &q->prev->next : &l->first) = q->next;
    *(q->next ? &q->next->prev : &l->last) = q->prev;
    q->prev = q->next = NULL;
}

static void question_wait(struct question *q)
{
    struct dns *d = q->d;

    list_add(&d->waiting, q);
    q->in_list = true;
    if (!event_pending(d->tick, EV_TIMEOUT, NULL)) {
        struct timeval tv = {TICK_MS / 1000, TICK_MS % 1000 * 1000};

        event_add(d->tick, &tv);
    }
}

/* It has its answer; it is freed when libunbound has let go of it too. */
static void question_done(struct question *q)
{
    if (q->in_list)
        list_take(&q->d->waiting, q);
    q->in_list = false;
    q->peer = NULL;
    if (q->resolver)
        return;
    q->d->questions--;
    free(q);
}

static void send_answer(struct ll_peer *peer, uint64_t id, const struct ll_dns_answer *a)
{
    struct ll_buf body = LL_BUF(LL_DNS_ANSWER_MAX);
    struct ll_msg m = {.type = LL_MSG_DNS_ANSWER, .id = id, .fd = -1};

    ll_dns_answer_encode(a, &body);
    m.dns_answer.answer = ll_buf_slice(&body);
    if (!body.failed)
        ll_msg_send(peer->ipc, &m);
    ll_buf_release(&body);
}

static void set_mode(struct dns *d, enum mode mode, const char *why)
{
    struct timeval tv = {RETEST_S, 0};
    bool good = mode == MODE_SECURE || mode == MODE_PLAIN;

    if (mode != d->mode || mode != MODE_STRIPPED)
        ll_log(good ? LL_LOG_INFO : LL_LOG_WARNING, "dnssec", LL_FS("state", mode_names[mode]),
               LL_F("anchor", ll_dns_name_slice(&d->setup.anchor)), LL_FS("why", why));
    d->mode = mode;
    if (!good)
        event_add(d->retest, &tv);
    while (d->held.first) {
        struct question *q = d->held.first;

        list_take(&d->held, q);
        ask_in(d, q, resolver_now(d)); /* with the state known, its answer stands */
    }
}

static void self_test_ended(struct dns *d, const struct question *q, const struct ll_dns_answer *a)
{
    if (q->self_test == 2 && !ll_dns_later(a->status))
        set_mode(d, MODE_STRIPPED,
                 "the forwarder gives no valid signatures: " NOT_VALIDATED
                 ", and what relies on it (DANE) is not used");
    else if (a->status == LL_DNS_STATUS_OK && a->secure)
        set_mode(d, MODE_SECURE, "the self-test proved true");
    else if (q->self_test == 1 && ll_dns_forwards(d->proc->conf))
        self_test(d, 2);
    else if (a->status == LL_DNS_STATUS_BOGUS)
        set_mode(d, MODE_BOGUS, "the signatures of the trust anchor's zone do not hold");
    else
        set_mode(d, MODE_BOGUS, "the self-test got no answer");
}

static void answer_question(struct question *q, const struct ll_dns_answer *a)
{
    struct dns *d = q->d;

    if (q->self_test && q->in_list) {
        self_test_ended(d, q, a);
    } else if (q->peer) {
        d->failed += ll_dns_later(a->status);
        d->bogus += a->status == LL_DNS_STATUS_BOGUS;
        send_answer(q->peer, q->id, a);
    }
    question_done(q);
}

static void answer_failure(struct question *q, enum ll_dns_status status, const char *why)
{
    struct ll_dns_answer a = {.status = (uint8_t)status, .type = q->type, .why = ll_slice_str(why)};

    answer_question(q, &a);
}

/* libunbound's call, maybe from within ask(). sec: 0 insecure, 1 bogus, 2 secure. */
static void on_answer(void *arg, int rcode, void *packet, int length, int sec, char *why,
                      int ratelimited)
{
    struct question *q = arg;
    struct dns *d = q->d;
    struct ll_dns_answer a = {.status = LL_DNS_STATUS_SERVFAIL, .type = q->type};
    struct ll_arena arena;

    resolver_left(d, q->resolver);
    q->resolver = NULL;
    if (!q->in_list) { /* answered by the clock, or its asker has gone */
        question_done(q);
        return;
    }
    if (sec == 1 && d->mode == MODE_TESTING && !q->self_test) {
        list_take(&d->waiting, q);
        q->in_list = false;
        list_add(&d->held, q);
        return;
    }
    ll_arena_init(&arena, ANSWER_ARENA);
    if (sec == 1) {
        a.status = LL_DNS_STATUS_BOGUS;
        a.why = ll_slice_str(why);
    } else if ((rcode != 0 && rcode != 3) || !packet || length <= 0 ||
               !ll_dns_packet(ll_slice(packet, (size_t)length), &q->name, q->type, &arena, &a)) {
        a.status = LL_DNS_STATUS_SERVFAIL;
        a.why = LL_LIT("no name server gave a usable answer");
    } else {
        a.secure = sec == 2;
    }
    answer_question(q, &a);
    ll_arena_release(&arena);
}

static void ask_in(struct dns *d, struct question *q, struct resolver *r)
{
    int e;

    q->deadline = ll_now_ms() + ANSWER_MS;
    question_wait(q);
    if (!r) {
        answer_failure(q, LL_DNS_STATUS_SERVFAIL, "the resolver could not be set up");
        return;
    }
    q->resolver = r;
    r->running++;
    e = ub_resolve_event(r->ctx, q->name.text, q->type, 1, q, on_answer, NULL);
    if (e != 0) {
        resolver_left(d, r);
        q->resolver = NULL;
        answer_failure(q, LL_DNS_STATUS_SERVFAIL, ub_strerror(e));
    }
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct dns *d = arg;
    struct timeval tv = {TICK_MS / 1000, TICK_MS % 1000 * 1000};
    uint64_t now = ll_now_ms();

    while (d->waiting.first && d->waiting.first->deadline <= now)
        answer_failure(d->waiting.first, LL_DNS_STATUS_TIMEOUT, "no name server answered in time");
    if (d->waiting.first)
        event_add(d->tick, &tv);
}

static struct question *question_new(struct dns *d, uint16_t type, const struct ll_dns_name *name)
{
    struct question *q = d->questions < QUESTIONS_MAX ? calloc(1, sizeof(*q)) : NULL;

    if (!q)
        return NULL;
    q->d = d;
    q->type = type;
    q->name = *name;
    d->questions++;
    return q;
}

static int on_dns_ask(struct ll_peer *peer, const struct ll_msg *m)
{
    struct dns *d = peer->proc->state;
    struct ll_dns_answer a = {.type = m->dns_ask.rtype};
    struct ll_dns_name name;
    struct question *q;

    if (!ll_dns_type_name(m->dns_ask.rtype))
        return -1;
    d->asked++;
    if (!ll_dns_name_parse(m->dns_ask.name, &name)) {
        a.status = LL_DNS_STATUS_NXDOMAIN;
        a.why = LL_LIT("not a name that DNS can hold");
        send_answer(peer, m->id, &a);
        return 0;
    }
    q = question_new(d, m->dns_ask.rtype, &name);
    if (!q) {
        a.status = LL_DNS_STATUS_SERVFAIL;
        a.why = LL_LIT("too many questions wait for an answer");
        send_answer(peer, m->id, &a);
        return 0;
    }
    q->peer = peer;
    q->id = m->id;
    ask_in(d, q, resolver_now(d));
    return 0;
}

static void dns_peer_down(struct ll_peer *peer)
{
    struct dns *d = peer->proc->state;
    struct question *q, *next;

    for (q = d->waiting.first; q; q = next) {
        next = q->next;
        if (q->peer == peer)
            question_done(q);
    }
    for (q = d->held.first; q; q = next) {
        next = q->next;
        if (q->peer != peer)
            continue;
        list_take(&d->held, q);
        question_done(q);
    }
}

/* ---- self-test, reload -------------------------------------------------------------------------
 */

static void self_test(struct dns *d, uint8_t step)
{
    struct question *q;

    if (!d->setup.anchored) {
        set_mode(d, MODE_PLAIN, "there is no trust anchor: " NOT_VALIDATED);
        return;
    }
    q = question_new(d, step == 1 ? LL_DNS_DNSKEY : LL_DNS_SOA, &d->setup.anchor);
    if (!q) {
        set_mode(d, MODE_BOGUS, "no room for the self-test");
        return;
    }
    q->self_test = step;
    ask_in(d, q, step == 1 ? d->validating : resolver_plain(d));
}

/* A new context: the old one keeps what it found bogus in its cache. */
static void on_retest(evutil_socket_t fd, short what, void *arg)
{
    struct dns *d = arg;
    struct resolver *r = resolver_new(d, true);

    if (!r)
        return;
    resolver_retire(d, d->validating);
    d->validating = r;
    self_test(d, 1);
}

static int dns_start(struct ll_proc *proc)
{
    struct dns *d = calloc(1, sizeof(*d));

    if (!d)
        return -1;
    proc->state = d;
    d->proc = proc;
    d->tick = evtimer_new(proc->base, on_tick, d);
    d->retest = evtimer_new(proc->base, on_retest, d);
    if (!d->tick || !d->retest)
        return -1;
    if (!ll_dns_setup_read(&d->setup, proc->conf))
        ll_log(LL_LOG_WARNING, "trust-anchor-missing", LL_FS("file", proc->conf->trust_anchor));
    d->validating = resolver_new(d, true);
    if (!d->validating)
        return -1;
    self_test(d, 1); /* makes libunbound open what it needs before the sandbox shuts */
    return 0;
}

static bool same_list(char **a, char **b)
{
    while (*a && *b && strcmp(*a, *b) == 0)
        a++, b++;
    return !*a && !*b;
}

static void dns_reconf(struct ll_proc *proc, const struct ll_conf *old)
{
    struct dns *d = proc->state;
    const struct ll_conf *now = proc->conf;
    struct resolver *r;

    if (strcmp(old->resolver, now->resolver) == 0 && strcmp(now->resolver, "system") != 0 &&
        strcmp(old->trust_anchor, now->trust_anchor) == 0 && !now->trust_anchor[0] &&
        same_list(old->local_data, now->local_data))
        return;
    ll_dns_setup_read(&d->setup, now);
    r = resolver_new(d, true);
    if (!r) {
        ll_log(LL_LOG_ERROR, "reload-failed", LL_FS("what", "resolver; the old one stays"));
        return;
    }
    resolver_retire(d, d->validating);
    resolver_retire(d, d->plain);
    d->validating = r;
    d->plain = NULL;
    event_del(d->retest);
    if (d->mode != MODE_STRIPPED)
        d->mode = MODE_TESTING;
    self_test(d, 1);
}

/* ---- control -----------------------------------------------------------------------------------
 */

static int on_ctl_ask(struct ll_peer *peer, const struct ll_msg *m)
{
    struct dns *d = peer->proc->state;
    struct ll_msg end = {.type = LL_MSG_CTL_END, .id = m->id, .fd = -1};

    if (ll_slice_eq(m->ctl_ask.command, LL_LIT("dns"))) {
        struct ll_msg line = {.type = LL_MSG_CTL_LINE, .id = m->id, .fd = -1};
        struct ll_buf json = LL_BUF(1024);

        ll_buf_printf(&json,
                      "{\"dnssec\":\"%s\",\"asked\":%llu,\"failed\":%llu,\"bogus\":%llu,"
                      "\"waiting\":%zu}",
                      mode_names[d->mode], (unsigned long long)d->asked,
                      (unsigned long long)d->failed, (unsigned long long)d->bogus, d->questions);
        line.ctl_line.line = ll_buf_slice(&json);
        ll_msg_send(peer->ipc, &line);
        ll_buf_release(&json);
    } else {
        end.ctl_end.status = EX_USAGE;
        end.ctl_end.text = LL_LIT("dns knows no such command");
    }
    ll_msg_send(peer->ipc, &end);
    return 0;
}

const struct ll_role_ops ll_role_dns = {
    .start = dns_start,
    .reconf = dns_reconf,
    .peer_down = dns_peer_down,
    .on = {[LL_MSG_DNS_ASK] = on_dns_ask, [LL_MSG_CTL_ASK] = on_ctl_ask},
};
