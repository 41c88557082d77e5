/*
 * Example: SPF with libletterlock.
 *
 *     cc spf.c ask.c $(pkg-config --cflags --libs libletterlock) -o spf
 *     ./spf 192.0.2.1 mail.example.org ann@example.org [DNS-SERVER:PORT]
 */
#include "ask.h"

#include <letterlock/addr.h>
#include <letterlock/spf.h>
#include <stdio.h>
#include <time.h>

static uint64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Answers one question after the other until there is none. */
static void answer_all(struct ll_spf *spf)
{
    struct ll_need need;

    while (ll_spf_need(spf, &need)) {
        struct ll_dns_answer dns;
        struct ll_arena arena;

        ll_arena_init(&arena, 1 << 20);
        ask(&need, &arena, &dns);
        ll_spf_answer(spf, &(struct ll_need_answer){.id = need.id, .dns = &dns});
        ll_arena_release(&arena);
        ll_spf_time(spf, now_ms()); /* 20 s for all of it */
    }
}

int main(int argc, char **argv)
{
    struct ll_spf_check check = {.unix_s = time(NULL), .now = now_ms()};
    struct ll_spf_result result;
    struct ll_spf *spf;

    if (argc < 4 || !ask_server(argv[4])) {
        fprintf(stderr, "usage: spf IP HELO MAIL-FROM [DNS-SERVER:PORT]\n");
        return 64;
    }
    check.ip_n = ll_ipv4_parse(ll_slice_str(argv[1]), check.ip)   ? 4
                 : ll_ipv6_parse(ll_slice_str(argv[1]), check.ip) ? 16
                                                                  : 0;
    check.helo = ll_slice_str(argv[2]);
    check.mail_from = ll_slice_str(argv[3]);
    spf = ll_spf_new(&check);
    if (!spf) {
        fprintf(stderr, "spf: \"%s\" is no IP address\n", argv[1]);
        return 64;
    }
    answer_all(spf);
    if (ll_spf_result(spf, &result))
        printf("%s %.*s%.*s\n", ll_spf_word(result.code), LL_FMT(result.explanation),
               LL_FMT(result.problem));
    ll_spf_free(spf);
    return 0;
}
