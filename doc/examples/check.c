/*
 * Example: who sent this letter? SPF, DKIM, ARC and DMARC of a letter on standard input, joined.
 *
 *     cc check.c ask.c $(pkg-config --cflags --libs libletterlock) -o check
 *     ./check IP HELO MAIL-FROM [DNS-SERVER:PORT] < letter
 *     ./check 192.0.2.1 mx.example.org ann@example.org < letter
 */
#include "ask.h"

#include <letterlock/addr.h>
#include <letterlock/authres.h>
#include <letterlock/check.h>
#include <stdio.h>
#include <time.h>

static void answer_all(struct ll_check *check)
{
    struct ll_need need;

    while (ll_check_need(check, &need)) {
        struct ll_dns_answer dns;
        struct ll_arena arena;

        ll_arena_init(&arena, 1 << 20);
        ask(&need, &arena, &dns);
        ll_check_answer(check, &(struct ll_need_answer){.id = need.id, .dns = &dns});
        ll_arena_release(&arena);
    }
}

/* The field that a server would put on top of the letter. */
static void print_field(const struct ll_check *check)
{
    struct ll_buf field = LL_BUF(65536);
    struct ll_authres_out out = {.out = &field};

    ll_authres_begin(&out, LL_LIT("example.net"));
    ll_check_authres(check, &out);
    ll_authres_end(&out);
    fwrite(field.p, 1, field.n, stdout);
    ll_buf_release(&field);
}

int main(int argc, char **argv)
{
    struct ll_check_input input = {.receiver = LL_LIT("example.net"), .unix_s = time(NULL)};
    struct ll_check *check;
    char block[65536];
    size_t n;

    if (argc < 4 || !ask_server(argv[4]) || !ll_ipv4_parse(ll_slice_str(argv[1]), input.ip)) {
        fprintf(stderr, "usage: check IPv4 HELO MAIL-FROM [DNS-SERVER:PORT] < letter\n");
        return 64;
    }
    input.ip_n = 4;
    input.helo = ll_slice_str(argv[2]);
    input.mail_from = ll_slice_str(argv[3]);
    check = ll_check_new(&input);
    if (!check)
        return 71;
    while ((n = fread(block, 1, sizeof(block), stdin)) > 0)
        ll_check_feed(check, ll_slice(block, n));
    ll_check_end(check);
    answer_all(check);
    if (ll_check_done(check))
        print_field(check);
    ll_check_free(check);
    return 0;
}
