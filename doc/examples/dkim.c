/*
 * Verifies the DKIM signatures of a letter on standard input. The key records stand in a file of
 * lines "selector._domainkey.domain text", for a library without I/O asks whoever calls it.
 *
 *     cc dkim.c $(pkg-config --cflags --libs libletterlock) -o dkim
 *     ./dkim keys < letter
 */
#include <letterlock/dkim.h>

#include <stdio.h>
#include <time.h>

/* The answer to a question out of the file; NXDOMAIN where it has no such line. */
static void answer(struct ll_dkim *dkim, const struct ll_need *need, const char *path)
{
    uint8_t rdata[4096];
    struct ll_slice record = {rdata, 0};
    struct ll_dns_answer dns = {.status = LL_DNS_STATUS_NXDOMAIN, .type = need->dns.type};
    char line[4096];
    FILE *f = fopen(path, "r");

    while (f && fgets(line, sizeof(line), f)) {
        struct ll_slice text = ll_slice_str(line),
                        name = ll_slice_cut(text, 0, ll_slice_find(text, ' '));

        text = ll_slice_skip(ll_slice_cut(text, 0, ll_slice_find(text, '\n')), name.n + 1);
        if (!ll_dns_name_eq(name, ll_dns_name_slice(&need->dns.name)))
            continue;
        for (record.n = 0; text.n > 0; text = ll_slice_skip(text, 255)) { /* strings of a TXT */
            struct ll_slice part = ll_slice_cut(text, 0, 255);

            rdata[record.n++] = (uint8_t)part.n;
            memcpy(rdata + record.n, part.p, part.n);
            record.n += part.n;
        }
        dns.status = LL_DNS_STATUS_OK;
        dns.rdata = &record;
        dns.n_rdata = 1;
    }
    if (f)
        fclose(f);
    ll_dkim_answer(dkim, &(struct ll_need_answer){.id = need->id, .dns = &dns});
}

int main(int argc, char **argv)
{
    struct ll_dkim_letter *letter = ll_dkim_letter_new();
    struct ll_dkim *dkim = NULL;
    const struct ll_dkim_result *results;
    struct ll_need need;
    char block[65536];
    size_t n;

    if (argc != 2 || !letter)
        return 2;
    while ((n = fread(block, 1, sizeof(block), stdin)) > 0) {
        struct ll_slice in = ll_slice(block, n);

        while (in.n > 0) {
            in = ll_slice_skip(in, ll_dkim_letter_feed(letter, in));
            if (!dkim && ll_dkim_letter_ready(letter))
                dkim = ll_dkim_new(letter, time(NULL));
        }
    }
    ll_dkim_letter_end(letter);
    if (!dkim)
        dkim = ll_dkim_new(letter, time(NULL));
    if (!dkim)
        return 2;
    while (ll_dkim_need(dkim, &need))
        answer(dkim, &need, argv[1]);
    if (!ll_dkim_done(dkim))
        return 2;
    n = ll_dkim_results(dkim, &results, NULL);
    for (size_t i = 0; i < n; i++)
        printf("%s %.*s %s\n", ll_dkim_verdict_word(ll_dkim_fault_verdict(results[i].fault)),
               LL_FMT(results[i].domain), ll_dkim_fault_text(results[i].fault));
    ll_dkim_free(dkim);
    ll_dkim_letter_free(letter);
    return 0;
}
