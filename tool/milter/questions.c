/* What the checks ask of DNS: libunbound in the milter's own loop. See milter.h. */
#include "tool/milter/milter.h"

#include "daemon/dns/context.h"
#include "io/clock.h"
#include "io/log.h"

#include <stdlib.h>

#define ANSWER_MEMORY (1u << 20) /* octets to read one answer */

struct milter_ask {
    struct milter *m;
    struct milter_asker *asker; /* NULL: nobody waits any more */
    struct milter_ask *prev, *next;
    uint32_t need;
    uint16_t type;
    struct ll_dns_name name;
};

struct ub_ctx *milter_dns_new(struct event_base *base, const char *resolver, const char *anchor)
{
    char *none[] = {NULL}, *r = ll_slice_dup(ll_slice_str(resolver ? resolver : "system")),
         *a = ll_slice_dup(ll_slice_str(anchor ? anchor : ""));
    struct ll_conf conf = {.resolver = r, .trust_anchor = a, .local_data = none};
    struct ll_dns_setup setup = {.resolv = LL_BUF(LL_DNS_FILE_MAX),
                                 .anchors = LL_BUF(LL_DNS_FILE_MAX)};
    struct ub_ctx *ctx = NULL;

    /* A forwarder may strip signatures, and no result here rests on them: they are looked at where
     * an anchor is named, or where there is no forwarder. */
    if (r && a && ll_dns_setup_read(&setup, &conf))
        ctx = ll_dns_context(base, &conf, &setup, anchor || !ll_dns_forwards(&conf));
    ll_buf_release(&setup.resolv);
    ll_buf_release(&setup.anchors);
    free(r);
    free(a);
    return ctx;
}

static void ask_unlink(struct milter_ask *q)
{
    if (!q->asker)
        return;
    *(q->prev ? &q->prev->next : &q->asker->asks) = q->next;
    if (q->next)
        q->next->prev = q->prev;
    q->asker->open--;
    q->asker = NULL;
}

static void answer(struct milter_ask *q, const struct ll_dns_answer *a)
{
    struct milter_asker *asker = q->asker;

    ask_unlink(q);
    if (!asker)
        return;
    ll_check_answer(asker->check, &(struct ll_need_answer){.id = q->need, .dns = a});
    if (!asker->pumping) { /* else pump goes on by itself: the answer was at hand */
        milter_pump(asker);
        asker->progress(asker->arg);
    }
}

/* libunbound's call, maybe from within ub_resolve_event. sec: 0 insecure, 1 bogus, 2 secure. */
static void on_answer(void *arg, int rcode, void *packet, int length, int sec, char *why,
                      int ratelimited)
{
    struct milter_ask *q = arg;
    struct ll_dns_answer a = {.status = LL_DNS_STATUS_SERVFAIL, .type = q->type};
    struct ll_arena arena;

    (void)ratelimited;
    q->m->asks--;
    ll_arena_init(&arena, ANSWER_MEMORY);
    if (sec == 1) {
        a.status = LL_DNS_STATUS_BOGUS;
        a.why = ll_slice_str(why);
    } else if ((rcode != 0 && rcode != 3) || !packet || length <= 0 ||
               !ll_dns_packet(ll_slice(packet, (size_t)length), &q->name, q->type, &arena, &a)) {
        a = (struct ll_dns_answer){.status = LL_DNS_STATUS_SERVFAIL, .type = q->type};
    } else {
        a.secure = sec == 2;
    }
    answer(q, &a);
    ll_arena_release(&arena);
    free(q);
}

static bool ask(struct milter_asker *asker, const struct ll_need *need)
{
    struct milter *m = asker->m;
    struct milter_ask *q;

    if (need->kind != LL_NEED_DNS ||
        m->asks >= (ll_check_at_dmarc(asker->check) ? MILTER_ASKS_MAX : MILTER_ASKS_SENDERS))
        return false;
    q = calloc(1, sizeof(*q));
    if (!q)
        return false;
    *q = (struct milter_ask){.m = m,
                             .asker = asker,
                             .next = asker->asks,
                             .need = need->id,
                             .type = need->dns.type,
                             .name = need->dns.name};
    if (q->next)
        q->next->prev = q;
    asker->asks = q;
    asker->open++;
    m->asks++;
    if (ub_resolve_event(m->dns, q->name.text, q->type, 1, q, on_answer, NULL) == 0)
        return true;
    m->asks--;
    ask_unlink(q);
    free(q);
    return false;
}

void milter_pump(struct milter_asker *asker)
{
    struct ll_dns_answer none = {.status = LL_DNS_STATUS_SERVFAIL};
    struct ll_need need;

    asker->pumping = true;
    ll_check_time(asker->check, ll_now_ms());
    while (asker->open < MILTER_ASKS_LETTER && ll_check_need(asker->check, &need))
        if (!ask(asker, &need))
            ll_check_answer(asker->check, &(struct ll_need_answer){.id = need.id, .dns = &none});
    asker->pumping = false;
}

void milter_asker_end(struct milter_asker *asker)
{
    while (asker->asks)
        ask_unlink(asker->asks);
}
