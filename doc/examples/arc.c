/*
 * Tells whether the letter on standard input has an ARC chain, how long it is and who sealed it
 * last, without asking for keys: every question is answered with "later", so that no chain passes.
 *
 *     cc arc.c $(pkg-config --cflags --libs libletterlock) -o arc
 */
#include <letterlock/arc.h>

#include <stdio.h>
#include <time.h>

int main(void)
{
    struct ll_dkim_letter *letter = ll_dkim_letter_new();
    struct ll_arc *arc = NULL;
    const struct ll_arc_result *r;
    struct ll_need need;
    char block[65536];
    size_t n;

    while (letter && (n = fread(block, 1, sizeof(block), stdin)) > 0) {
        struct ll_slice in = ll_slice(block, n);

        while (in.n > 0) {
            in = ll_slice_skip(in, ll_dkim_letter_feed(letter, in));
            if (!arc && ll_dkim_letter_ready(letter))
                arc = ll_arc_new(letter, time(NULL));
        }
    }
    if (!arc)
        return 2;
    ll_dkim_letter_end(letter);
    while (ll_arc_need(arc, &need)) {
        struct ll_dns_answer later = {.status = LL_DNS_STATUS_TIMEOUT, .type = need.dns.type};

        printf("asks for %s\n", need.dns.name.text);
        ll_arc_answer(arc, &(struct ll_need_answer){.id = need.id, .dns = &later});
    }
    ll_arc_done(arc);
    r = ll_arc_result(arc);
    printf("%s: %u sets, the last by \"%.*s\" %s\n", ll_arc_word(r->code), r->sets,
           LL_FMT(r->domain), ll_arc_fault_text(r->fault));
    ll_arc_free(arc);
    ll_dkim_letter_free(letter);
    return 0;
}
