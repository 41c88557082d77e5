/* The tree of parts: spans lie within the letter and each other; what is made 7-bit is, and has the
 * same tree. Values, words and transfer encodings: what comes out is bounded by what goes in. */
#include <stdint.h>
#include <stdlib.h>

#include "letterlock/mime.h"

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_part(struct ll_slice letter, const struct ll_mime *m, size_t i)
{
    const struct ll_mime_part *p = &m->part[i];
    size_t children = 0;

    CHECK(p->whole.p >= letter.p && p->whole.p + p->whole.n <= letter.p + letter.n);
    CHECK(p->header.n == 0 || p->header.p + p->header.n <= letter.p + letter.n);
    CHECK(p->body.n == 0 || p->body.p + p->body.n == p->whole.p + p->whole.n);
    CHECK(p->depth <= LL_MIME_DEPTH_MAX);
    for (uint16_t c = p->child; c != LL_MIME_NONE; c = m->part[c].next) {
        CHECK(c > i && c < m->n && m->part[c].parent == i);
        children++;
    }
    CHECK(children == p->n_children);
}

static void downgrade(struct ll_slice letter, const struct ll_mime *m, struct ll_arena *arena)
{
    struct ll_buf out = LL_BUF(8 * letter.n + (1u << 20));
    struct ll_mime again;

    if (ll_mime_to_7bit(letter, m, &out) == LL_MIME_OK && ll_is_ascii(letter))
        CHECK(ll_mime_parse(ll_buf_slice(&out), arena, &again) == LL_MIME_OK && again.n == m->n);
    ll_buf_release(&out);
}

static void transfer(struct ll_slice in)
{
    struct ll_buf once = LL_BUF(4 * in.n + 16), back = LL_BUF(in.n + 1);

    for (int e = 0; e <= LL_MIME_UNKNOWN_ENCODING; e++) {
        ll_buf_clear(&back);
        ll_mime_decode((enum ll_mime_encoding)e, in, &back);
        CHECK(!back.failed && back.n <= in.n + 1);
    }
    ll_buf_clear(&back);
    ll_mime_base64_encode(&once, in);
    CHECK(ll_mime_decode(LL_MIME_BASE64_ENCODING, ll_buf_slice(&once), &back));
    CHECK(ll_slice_eq(ll_buf_slice(&back), in));
    ll_buf_release(&once);
    ll_buf_release(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ll_slice in = ll_slice(data, size);
    struct ll_mime_value v;
    struct ll_mime_run *run;
    struct ll_arena arena;
    struct ll_mime m;
    size_t n, octets = 0;

    ll_arena_init(&arena, 64u << 20);
    if (ll_mime_parse(in, &arena, &m) == LL_MIME_OK) {
        for (size_t i = 0; i < m.n; i++)
            check_part(in, &m, i);
        downgrade(in, &m, &arena);
    }
    if (ll_mime_value(in, &arena, &v))
        CHECK(v.type.n > 0 && v.n_param <= LL_MIME_PARAMS_MAX);
    if (ll_mime_words(in, &arena, &run, &n)) {
        for (size_t i = 0; i < n; i++)
            octets += run[i].text.n;
        CHECK(octets <= size);
    }
    transfer(in);
    ll_arena_release(&arena);
    return 0;
}
