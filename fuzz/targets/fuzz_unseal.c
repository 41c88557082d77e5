/* The unsealing engine. The input is a letter, a NUL, and octets that say how each question is
 * answered; what is opened is the sealed text itself, so that seals lie within seals. Only what was
 * answered as good, of the author, and trusted, may come out as proven; what was not opened shows
 * nothing; work is bounded. */
#include <stdint.h>
#include <stdlib.h>

#include "letterlock/unseal.h"

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ll_slice addresses[] = {{(const uint8_t *)"alice@example.org", 17},
                                      {(const uint8_t *)"bob@example.org", 15}};

struct script {
    struct ll_slice rest;
    struct ll_arena arena;
    unsigned asked;
};

static uint8_t take(struct script *s)
{
    uint8_t c = s->rest.n > 0 ? s->rest.p[0] : 0;

    s->rest = ll_slice_skip(s->rest, 1);
    return c;
}

static void sign(struct script *s, struct ll_unseal_answer *a)
{
    size_t n = take(s) % 4;
    struct ll_signature *g = ll_arena_alloc(&s->arena, (n + 1) * sizeof(*g));

    for (size_t i = 0; g && i < n; i++) {
        g[i].state = (enum ll_signature_state)(take(s) % (LL_SIGNATURE_UNSUPPORTED + 1));
        g[i].address = addresses;
        g[i].n_address = take(s) % 3;
        g[i].made = take(s);
    }
    a->opened.signature = g;
    a->opened.n_signature = g ? n : 0;
}

static struct ll_slice without_armor(struct ll_slice text)
{
    struct ll_slice begin = LL_LIT("-----BEGIN PGP MESSAGE-----");

    if (!ll_slice_starts(text, begin))
        return text;
    text = ll_slice_skip(text, begin.n);
    return ll_slice_cut(text, 0, ll_slice_search(text, LL_LIT("-----END")));
}

static void answer(struct script *s, enum ll_unseal_question q, const struct ll_unseal_ask *ask,
                   struct ll_unseal *u)
{
    struct ll_unseal_answer a = {.error = LL_SEAL_OK};
    struct ll_buf plain = LL_BUF(ask->room);
    uint8_t how = take(s);

    s->asked++;
    if (how & 1)
        a.error = (enum ll_seal_error)(how >> 1 & 7);
    sign(s, &a);
    if (q == LL_UNSEAL_OPEN_PGP || q == LL_UNSEAL_OPEN_SMIME) {
        a.opened.encrypted = how & 16;
        a.opened.authenticated = how & 32;
        ll_buf_put_slice(&plain, without_armor(ask->text));
        a.plain = &plain;
    }
    ll_unseal_answer(u, &a);
    ll_buf_release(&plain);
}

static void check_signature(const struct ll_unseal_section *s, const struct ll_unseal_signature *g)
{
    if (g->verdict != LL_UNSEAL_PROVEN && g->verdict != LL_UNSEAL_CLAIMED)
        return;
    CHECK(g->author && s->author.n > 0);
    CHECK(g->by->state == LL_SIGNATURE_GOOD || g->by->state == LL_SIGNATURE_UNTRUSTED);
    CHECK(g->trust != LL_UNSEAL_TRUST_REJECTED && g->trust != LL_UNSEAL_TRUST_CHANGED);
    CHECK(!(s->warnings & (1u << LL_UNSEAL_WARN_FROM_DIFFERS)));
    CHECK(g->verdict == LL_UNSEAL_CLAIMED || g->trust >= LL_UNSEAL_TRUST_CERTIFIED);
}

/* What is known of a key comes with its signature, as `made`. */
static void trust(struct ll_unseal *u, const struct ll_unseal_result *r)
{
    for (size_t i = 0; i < r->n; i++)
        for (size_t k = 0; k < r->section[i].n_signatures; k++)
            ll_unseal_set_trust(u, i, k,
                                (enum ll_unseal_trust)(r->section[i].signature[k].by->made %
                                                       (LL_UNSEAL_TRUST_OWN + 1)));
}

static void check_section(const struct ll_unseal_result *r, size_t i)
{
    const struct ll_unseal_section *s = &r->section[i];

    CHECK(s->n_layers <= LL_UNSEAL_LAYERS_MAX && s->parent <= i);
    CHECK(!s->closed || s->n_pieces == 0);
    CHECK(s->place != LL_UNSEAL_FORWARDED || !s->encrypted || s->n_layers > 0);
    CHECK(s->n_pieces <= s->mime.n + 1);
    for (size_t k = 0; k < s->n_signatures; k++)
        check_signature(s, &s->signature[k]);
    for (size_t k = 0; k < s->n_pieces; k++) {
        const struct ll_mime_part *p = s->piece[k].part;

        CHECK(!p || (p >= s->mime.part && p < s->mime.part + s->mime.n));
        CHECK(
            !p || p->whole.n == 0 ||
            (p->whole.p >= s->payload.p && p->whole.p + p->whole.n <= s->payload.p + s->payload.n));
        if (s->piece[k].kind == LL_UNSEAL_SECTION)
            CHECK(s->piece[k].inner > i && s->piece[k].inner < r->n &&
                  r->section[s->piece[k].inner].parent == i);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ll_slice in = ll_slice(data, size), letter = ll_slice_cut(in, 0, ll_slice_find(in, 0));
    struct script s = {.rest = ll_slice_skip(in, letter.n + 1)};
    struct ll_unseal *u = ll_unseal_new(letter);
    const struct ll_unseal_result *r;
    enum ll_unseal_question q;
    struct ll_unseal_ask ask;
    enum ll_mime_error why;

    if (!u)
        return 0;
    ll_arena_init(&s.arena, 1u << 20);
    while ((q = ll_unseal_next(u, &ask)) != LL_UNSEAL_DONE)
        answer(&s, q, &ask, u);
    CHECK(s.asked <= LL_UNSEAL_SECTIONS_MAX * LL_UNSEAL_LAYERS_MAX);
    r = ll_unseal_result(u, &why);
    CHECK(r || why != LL_MIME_OK);
    if (r)
        trust(u, r);
    for (size_t i = 0; r && i < r->n; i++)
        check_section(r, i);
    ll_unseal_free(u);
    ll_arena_release(&s.arena);
    return 0;
}
