/*
 * Example: DMARC with libletterlock, for a letter whose SPF and DKIM results are known.
 *
 *     cc dmarc.c ask.c $(pkg-config --cflags --libs libletterlock) -o dmarc
 *     ./dmarc AUTHOR-DOMAIN SPF-DOMAIN=RESULT DKIM-DOMAIN=RESULT [DNS-SERVER:PORT]
 *     ./dmarc example.org bounce.example.org=pass example.org=fail
 */
#include "ask.h"

#include <letterlock/dmarc.h>
#include <stdio.h>

/* "example.org=pass" */
static struct ll_dmarc_id identifier(const char *text)
{
    struct ll_slice s = ll_slice_str(text);
    size_t equals = ll_slice_find(s, '=');
    struct ll_slice result = ll_slice_skip(s, equals + 1);
    struct ll_dmarc_id id = {.domain = ll_slice_cut(s, 0, equals)};

    if (ll_slice_eq(result, LL_LIT("pass")))
        id.auth = LL_DMARC_AUTH_PASS;
    else if (ll_slice_eq(result, LL_LIT("temperror")))
        id.auth = LL_DMARC_AUTH_TEMP;
    return id;
}

static void answer_all(struct ll_dmarc *dmarc)
{
    struct ll_need need;

    while (ll_dmarc_need(dmarc, &need)) {
        struct ll_dns_answer dns;
        struct ll_arena arena;

        ll_arena_init(&arena, 1 << 20);
        ask(&need, &arena, &dns);
        ll_dmarc_answer(dmarc, &(struct ll_need_answer){.id = need.id, .dns = &dns});
        ll_arena_release(&arena);
    }
}

int main(int argc, char **argv)
{
    struct ll_dmarc_result result;
    struct ll_dmarc_input input;
    struct ll_dmarc_id dkim;
    struct ll_dmarc *dmarc;

    if (argc < 4 || !ask_server(argv[4])) {
        fprintf(stderr, "usage: dmarc AUTHOR-DOMAIN SPF-DOMAIN=RESULT DKIM-DOMAIN=RESULT "
                        "[DNS-SERVER:PORT]\n");
        return 64;
    }
    dkim = identifier(argv[3]);
    input = (struct ll_dmarc_input){
        .author = ll_slice_str(argv[1]),
        .spf = identifier(argv[2]),
        .dkim = &dkim,
        .n_dkim = 1,
    };
    dmarc = ll_dmarc_new(&input);
    if (!dmarc)
        return 71;
    answer_all(dmarc);
    if (ll_dmarc_result(dmarc, &result))
        printf("%s policy=%s disposition=%s org=%.*s (%.*s)\n", ll_dmarc_word(result.code),
               ll_dmarc_policy_word(result.policy), ll_dmarc_policy_word(result.disposition),
               LL_FMT(result.org_domain), LL_FMT(result.reason));
    ll_dmarc_free(dmarc);
    return 0;
}
