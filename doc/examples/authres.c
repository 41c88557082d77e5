/*
 * Takes the Authentication-Results fields that claim our name out of the header on standard input,
 * puts one of ours on top, and tells on stderr what the others say.
 *
 *     cc authres.c $(pkg-config --cflags --libs libletterlock) -o authres
 *     ./authres mx.example.org < letter
 */
#include <letterlock/authres.h>
#include <letterlock/msg.h>

#include <stdio.h>

static void tell(struct ll_slice header)
{
    struct ll_msg_field f;

    while (ll_msg_field_next(&header, &f)) {
        struct ll_authres a;
        struct ll_arena arena;

        if (f.bad || !ll_slice_caseeq(f.name, LL_LIT("Authentication-Results")))
            continue;
        ll_arena_init(&arena, 1 << 20);
        if (ll_authres_parse(f.body, &arena, &a, NULL))
            for (size_t i = 0; i < a.results; i++)
                fprintf(stderr, "%.*s says %.*s=%.*s\n", LL_FMT(a.id), LL_FMT(a.result[i].method),
                        LL_FMT(a.result[i].result));
        ll_arena_release(&arena);
    }
}

int main(int argc, char **argv)
{
    static char letter[1 << 20];
    struct ll_buf out = LL_BUF(2 << 20);
    struct ll_authres_out field = {.out = &out};
    struct ll_slice all = ll_slice(letter, fread(letter, 1, sizeof(letter), stdin)), header, body,
                    us;
    unsigned removed;

    if (argc != 2)
        return 2;
    us = ll_slice_str(argv[1]);
    ll_msg_split(all, &header, &body);
    ll_authres_begin(&field, us);
    ll_authres_auth(&field, "none", ll_slice(NULL, 0));
    ll_authres_end(&field);
    if (!ll_authres_strip(header, &us, 1, &out, &removed))
        return 1;
    if (removed == 0)
        ll_buf_put_slice(&out, header);
    fwrite(out.p, 1, out.n, stdout);
    fwrite(all.p + header.n, 1, all.n - header.n, stdout);
    tell(ll_buf_slice(&out));
    ll_buf_release(&out);
    return 0;
}
