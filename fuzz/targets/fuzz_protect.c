/* Protected fields: a letter's header, an empty line, the header of the payload and its body. What
 * is read is consistent; what is written of it is read again as what was meant. */
#include <stdint.h>
#include <stdlib.h>

#include "letterlock/compose.h"
#include "letterlock/msg.h"
#include "letterlock/protect.h"

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_fields(const struct ll_protected *r, bool encrypted, bool is_signed)
{
    for (size_t i = 0; i < r->n; i++) {
        const struct ll_protect_field *f = &r->field[i];

        CHECK(f->inner.p || f->outer.p);
        CHECK(f->inner.p || f->state == LL_PROTECT_STATE_UNPROTECTED);
        CHECK(!f->mismatch || (f->inner.p && f->outer.p));
        CHECK(encrypted ||
              (f->state != LL_PROTECT_STATE_BOTH && f->state != LL_PROTECT_STATE_ENCRYPTED));
        CHECK(is_signed ||
              (f->state != LL_PROTECT_STATE_BOTH && f->state != LL_PROTECT_STATE_SIGNED));
    }
}

static void read_it(struct ll_slice outer, struct ll_slice payload, struct ll_arena *arena)
{
    for (int how = 0; how < 4; how++) {
        enum ll_protect_state state;
        struct ll_protected r;

        if (ll_protect_read(outer, payload, how & 1, how & 2, arena, &r) != LL_PROTECT_OK)
            continue;
        check_fields(&r, how & 1, how & 2);
        CHECK(r.kind != LL_PROTECT_KIND_NONE || !r.from_inner.p);
        ll_protect_from(&r, false, &state);
        CHECK(!(r.flags & LL_PROTECT_FROM_MISMATCH) || state == LL_PROTECT_STATE_UNPROTECTED);
        ll_protect_value(&r, "Subject", &state);
    }
}

/* Seals the fields of one around the content of the other. */
static void write_it(struct ll_slice fields, struct ll_slice entity, struct ll_arena *arena)
{
    struct ll_buf inner = LL_BUF(64u << 20), outer = LL_BUF(64u << 20);

    for (int how = 0; how < 8; how++) {
        struct ll_slice hide = LL_LIT("To");
        struct ll_protect p = {.fields = fields,
                               .entity = entity,
                               .cipher = how > 0,
                               .policy = (enum ll_protect_policy)(how % 3),
                               .hide = &hide,
                               .n_hide = how & 1,
                               .legacy_display = how & 4};
        struct ll_protected r;
        size_t inside = 0;

        ll_buf_clear(&inner);
        ll_buf_clear(&outer);
        if (ll_protect_write(&p, &inner, &outer) != LL_PROTECT_OK ||
            ll_protect_read(ll_buf_slice(&outer), ll_buf_slice(&inner), p.cipher, true, arena,
                            &r) != LL_PROTECT_OK)
            continue;
        CHECK(r.kind == (p.cipher ? LL_PROTECT_KIND_CIPHER : LL_PROTECT_KIND_CLEAR));
        for (size_t i = 0; i < r.n; i++) {
            inside += r.field[i].inner.p != NULL;
            CHECK(r.field[i].inner.p || !r.field[i].outer.p); /* nothing stands outside alone */
            if (!p.cipher)
                CHECK(r.field[i].state == LL_PROTECT_STATE_SIGNED && !r.field[i].mismatch);
        }
        CHECK(inside == r.n);
    }
    ll_buf_release(&inner);
    ll_buf_release(&outer);
}

static void displays(struct ll_slice in, const struct ll_mime *m)
{
    struct ll_slice rest = ll_protect_skip_display(in);
    size_t from, to;

    CHECK(rest.n <= in.n && (rest.n == 0 || rest.p + rest.n == in.p + in.n));
    if (ll_protect_find_display_html(in, &from, &to))
        CHECK(from < to && to <= in.n);
    for (size_t i = 0; i < m->n; i++) {
        ll_protect_has_display(&m->part[i]);
        ll_protect_is_display_part(m, (uint16_t)i);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ll_slice in = ll_slice(data, size), outer, payload;
    struct ll_arena arena;
    struct ll_mime m;

    ll_msg_split(in, &outer, &payload);
    ll_arena_init(&arena, 256u << 20);
    read_it(outer, payload, &arena);
    write_it(outer, payload, &arena);
    if (ll_mime_parse(in, &arena, &m) == LL_MIME_OK)
        displays(in, &m);
    ll_arena_release(&arena);
    return 0;
}
