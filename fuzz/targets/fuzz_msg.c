/* Headers, address lists, the fix-up and what is built from them: what is read back must agree. */
#include <stdint.h>
#include <stdlib.h>

#include "letterlock/msg.h"

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The fields are the header, octet by octet. */
static void walk(struct ll_slice header)
{
    const uint8_t *at = header.p;
    struct ll_slice rest = header;
    struct ll_msg_field f;

    while (ll_msg_field_next(&rest, &f)) {
        CHECK(f.raw.n > 0 && f.raw.p == at);
        at += f.raw.n;
        CHECK(f.bad || f.name.n > 0);
    }
    CHECK(at == header.p + header.n);
}

static void addresses(struct ll_slice text)
{
    struct ll_arena arena, again;
    struct ll_msg_address *list, *one;
    size_t n, m;

    ll_arena_init(&arena, 16u << 20);
    if (ll_msg_addresses(text, &arena, &list, &n) == LL_MSG_OK) {
        for (size_t i = 0; i < n && i < 64; i++) {
            CHECK(list[i].spec.n > 0);
            CHECK(ll_slice_find(list[i].spec, '\n') == list[i].spec.n);
            ll_arena_init(&again, 16u << 20);
            CHECK(ll_msg_addresses(list[i].spec, &again, &one, &m) == LL_MSG_OK && m == 1);
            CHECK(ll_slice_eq(one[0].spec, list[i].spec));
            ll_arena_release(&again);
        }
    }
    ll_arena_release(&arena);
}

/* Names change nothing about addresses; what is found lies in the text. */
static void names_and_traces(struct ll_slice text)
{
    struct ll_msg_address *bare, *named;
    struct ll_arena arena;
    struct ll_msg_trace t;
    struct ll_slice *id;
    size_t n, m;

    ll_arena_init(&arena, 64u << 20);
    if (ll_msg_addresses(text, &arena, &bare, &n) == LL_MSG_OK) {
        CHECK(ll_msg_named_addresses(text, &arena, &named, &m) == LL_MSG_OK && n == m);
        for (size_t i = 0; i < n; i++)
            CHECK(ll_slice_eq(bare[i].spec, named[i].spec) &&
                  bare[i].in_group == named[i].in_group && named[i].name.n <= text.n);
    }
    if (ll_msg_ids(text, &arena, &id, &n) == LL_MSG_OK)
        for (size_t i = 0; i < n; i++)
            CHECK(id[i].n > 0 && id[i].p >= text.p && id[i].p + id[i].n <= text.p + text.n);
    ll_msg_trace_read(text, &t);
    CHECK(t.from.n + t.by.n + t.id.n + t.date.n <= text.n);
    ll_arena_release(&arena);
}

static void fixup(struct ll_slice header)
{
    struct ll_msg_fixup fix = {.random = LL_LIT("0123456789abcdef"), .host = LL_LIT("h.example")};
    struct ll_buf once = LL_BUF(1u << 20), twice = LL_BUF(1u << 20);
    bool changed = false;

    if (ll_msg_fixup(header, &fix, &once, &changed) == LL_MSG_OK && changed) {
        /* What was put right needs no more. */
        CHECK(ll_msg_fixup(ll_buf_slice(&once), &fix, &twice, &changed) == LL_MSG_OK);
        CHECK(!changed && twice.n == 0);
    }
    ll_buf_release(&once);
    ll_buf_release(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ll_slice in = ll_slice(data, size), header, body;
    struct ll_buf out = LL_BUF(4u << 20);
    struct ll_msg_received received = {.helo = in,
                                       .rdns = in,
                                       .ip = in,
                                       .by = in,
                                       .with = in,
                                       .id = in,
                                       .recipient = in,
                                       .tls_version = in,
                                       .utf8 = true};
    struct ll_msg_facts facts;

    names_and_traces(in);
    ll_msg_split(in, &header, &body);
    CHECK(header.n + body.n <= in.n);
    walk(header);
    ll_msg_facts(header, &facts);
    ll_msg_delivered_to(header, LL_LIT("a@b"));
    addresses(in);
    fixup(header);
    ll_msg_received_put(&out, &received);
    CHECK(!out.failed && ll_msg_facts(ll_buf_slice(&out), &facts) == LL_MSG_OK);
    CHECK(facts.fields == 1 && facts.received == 1 && facts.bad == 0);
    ll_buf_clear(&out);
    if (ll_msg_field_put(&out, "X-Test", in, true))
        CHECK(ll_msg_facts(ll_buf_slice(&out), &facts) != LL_MSG_OK ||
              (facts.fields == 1 && facts.bad == 0));
    ll_buf_release(&out);
    return 0;
}
