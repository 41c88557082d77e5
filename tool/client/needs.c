/* See tool/client/needs.h. */
#include "tool/client/needs.h"

#include "io/clock.h"

#define ANSWER_MEMORY (1 << 20) /* octets: an answer of LL_DNS_ANSWER_MAX and its tables */

void ll_needs_run(const struct ll_needs *n, struct ll_resolver *r)
{
    struct ll_need need;

    while (n->need(n->engine, &need)) {
        struct ll_need_answer answer = {.id = need.id};
        struct ll_dns_answer dns;
        struct ll_arena arena;

        ll_arena_init(&arena, ANSWER_MEMORY);
        if (need.kind == LL_NEED_DNS) {
            ll_resolver_until(r, n->deadline ? n->deadline(n->engine) : 0);
            ll_resolver_ask(r, ll_dns_name_slice(&need.dns.name), need.dns.type, &arena, &dns);
            answer.dns = &dns;
        }
        n->answer(n->engine, &answer);
        ll_arena_release(&arena);
        if (n->time)
            n->time(n->engine, ll_now_ms());
    }
    ll_resolver_until(r, 0);
}
