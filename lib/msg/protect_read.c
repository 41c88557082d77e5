/* Protected fields read (RFC 9788 4). See include/letterlock/protect.h. */
#include "letterlock/addr.h"
#include "protect.h"

struct pair {
    struct ll_slice name, value;
};

struct list {
    struct pair *p;
    size_t n;
};

struct reader {
    struct ll_slice outer_header, inner_header;
    struct list outer, inner, hp_outer; /* hp_outer: what the fields of that name say */
    bool encrypted, is_signed;
    struct ll_protected r;
};

/* ---- lists of fields
 * --------------------------------------------------------------------------------
 */

/* "Subject: [...]" in an HP-Outer field; an empty name: it is none. */
static struct pair split_hp_outer(struct ll_slice body)
{
    struct pair p = {0};
    size_t colon;

    while (body.n && (ll_is_blank(body.p[0]) || body.p[0] == '\r' || body.p[0] == '\n'))
        body = ll_slice_skip(body, 1);
    colon = ll_slice_find(body, ':');
    if (colon == body.n)
        return p;
    p.name = ll_slice_trim(ll_slice_cut(body, 0, colon));
    p.value = ll_slice_skip(body, colon + 1);
    for (size_t i = 0; i < p.name.n; i++)
        if (p.name.p[i] <= 0x20 || p.name.p[i] >= 0x7f)
            p.name.n = 0;
    return p;
}

static struct ll_slice not_null(struct ll_slice s)
{
    return s.p ? s : ll_slice("", 0);
}

/* The fields of a header that are fields; HP-Outer ones into a list of their own where one is
 * given. */
static bool read_header(struct ll_slice header, struct list *fields, struct list *hp_outer,
                        struct ll_arena *arena)
{
    struct ll_msg_facts facts;
    struct ll_msg_field f;

    if (ll_msg_facts(header, &facts) != LL_MSG_OK)
        return false;
    fields->p = ll_arena_alloc(arena, (facts.fields + 1) * sizeof(*fields->p));
    if (hp_outer)
        hp_outer->p = ll_arena_alloc(arena, (facts.fields + 1) * sizeof(*hp_outer->p));
    if (!fields->p || (hp_outer && !hp_outer->p))
        return true;
    while (ll_msg_field_next(&header, &f)) {
        if (f.bad)
            continue;
        if (hp_outer && ll_slice_caseeq(f.name, LL_LIT("HP-Outer")))
            hp_outer->p[hp_outer->n++] = split_hp_outer(f.body);
        else if (!ll_protect_is_structural(f.name))
            fields->p[fields->n++] = (struct pair){f.name, not_null(f.body)};
    }
    return true;
}

static size_t count_named(const struct list *l, struct ll_slice name)
{
    size_t n = 0;

    for (size_t i = 0; i < l->n; i++)
        n += ll_slice_caseeq(l->p[i].name, name);
    return n;
}

static bool holds(const struct list *l, const struct pair *p)
{
    for (size_t i = 0; i < l->n; i++)
        if (ll_slice_caseeq(l->p[i].name, p->name) && ll_protect_same(l->p[i].value, p->value))
            return true;
    return false;
}

/* ---- what is odd
 * ------------------------------------------------------------------------------------
 */

/* Fields that may stand once only (RFC 5322 3.6). */
static bool is_single(struct ll_slice name)
{
    static const char *const names[] = {"From",       "Sender", "Reply-To",   "To",
                                        "Cc",         "Date",   "Message-ID", "In-Reply-To",
                                        "References", "Subject"};

    for (size_t i = 0; i < LL_COUNT(names); i++)
        if (ll_slice_caseeq(name, ll_slice_str(names[i])))
            return true;
    return false;
}

static void check_hp_outer(struct reader *r)
{
    for (size_t i = 0; i < r->hp_outer.n; i++) {
        const struct pair *p = &r->hp_outer.p[i];

        if (p->name.n == 0 || ll_protect_is_structural(p->name) ||
            (is_single(p->name) && count_named(&r->hp_outer, p->name) > 1))
            r->r.flags |= LL_PROTECT_BAD_HP_OUTER;
        if (r->r.kind == LL_PROTECT_KIND_CIPHER && !holds(&r->outer, p))
            r->r.flags |= LL_PROTECT_OUTER_CHANGED;
    }
    if (r->r.kind == LL_PROTECT_KIND_CIPHER && r->hp_outer.n == 0)
        r->r.flags |= LL_PROTECT_NO_HP_OUTER;
    if (r->r.kind == LL_PROTECT_KIND_CLEAR && r->hp_outer.n)
        r->r.flags |= LL_PROTECT_BAD_HP_OUTER;
}

/* RFC 9788 4.4.1.1. The local part's case counts: nobody but its server knows that it does not. */
static bool same_mailbox(struct ll_slice a, struct ll_slice b)
{
    struct ll_mailbox x, y;

    if (ll_mailbox_parse(a, true, &x) == LL_ADDR_OK && ll_mailbox_parse(b, true, &y) == LL_ADDR_OK)
        return ll_slice_eq(ll_mailbox_text(&x), ll_mailbox_text(&y));
    return ll_slice_eq(a, b);
}

static void check_from(struct reader *r, struct ll_arena *arena)
{
    size_t inside = count_named(&r->inner, LL_LIT("From"));
    bool inner_counts = r->r.kind != LL_PROTECT_KIND_NONE;

    if (ll_msg_author(r->outer_header, arena, &r->r.from_outer) != LL_MSG_OK)
        r->r.from_outer = (struct ll_slice){0};
    if (!inner_counts || ll_msg_author(r->inner_header, arena, &r->r.from_inner) != LL_MSG_OK)
        r->r.from_inner = (struct ll_slice){0};
    if (inner_counts && !r->r.from_inner.p && !(r->r.kind == LL_PROTECT_KIND_V1 && inside == 0))
        r->r.flags |= LL_PROTECT_TWO_FROM;
    if (r->r.from_inner.p &&
        (!r->r.from_outer.p || !same_mailbox(r->r.from_inner, r->r.from_outer)))
        r->r.flags |= LL_PROTECT_FROM_MISMATCH;
}

/* ---- kind and states
 * --------------------------------------------------------------------------------
 */

static void read_kind(struct reader *r, struct ll_arena *arena)
{
    const struct ll_mime_param *hp, *v1;
    struct ll_msg_field f;
    struct ll_mime_value v;

    if (!ll_msg_field_find(r->inner_header, LL_LIT("Content-Type"), &f) ||
        !ll_mime_value(f.body, arena, &v))
        return;
    hp = ll_mime_param(&v, "hp");
    v1 = ll_mime_param(&v, "protected-headers");
    if (hp && ll_slice_caseeq(hp->value, LL_LIT("clear")))
        r->r.kind = LL_PROTECT_KIND_CLEAR;
    else if (hp && ll_slice_caseeq(hp->value, LL_LIT("cipher")))
        r->r.kind = LL_PROTECT_KIND_CIPHER;
    else if (v1 && ll_slice_caseeq(v1->value, LL_LIT("v1")))
        r->r.kind = LL_PROTECT_KIND_V1;
    if (hp && r->r.kind != LL_PROTECT_KIND_CLEAR && r->r.kind != LL_PROTECT_KIND_CIPHER)
        r->r.flags |= LL_PROTECT_BAD_HP;
    if (r->r.kind == LL_PROTECT_KIND_CIPHER && !r->encrypted)
        r->r.flags |= LL_PROTECT_DECRYPTED;
    if (r->r.kind == LL_PROTECT_KIND_CLEAR && r->encrypted)
        r->r.flags |= LL_PROTECT_REENCRYPTED;
}

/* RFC 9788 4.3: what HP-Outer does not show was secret. The outside itself is not asked: whoever
 * carried the letter could write a guess there. v1 has nothing better than the outside. */
static enum ll_protect_state state_of(const struct reader *r, const struct pair *p)
{
    bool secret = false;

    if (r->encrypted && r->r.kind == LL_PROTECT_KIND_CIPHER)
        secret = !holds(&r->hp_outer, p);
    else if (r->encrypted && r->r.kind == LL_PROTECT_KIND_V1)
        secret = !holds(&r->outer, p);
    if (secret)
        return r->is_signed ? LL_PROTECT_STATE_BOTH : LL_PROTECT_STATE_ENCRYPTED;
    return r->is_signed ? LL_PROTECT_STATE_SIGNED : LL_PROTECT_STATE_UNPROTECTED;
}

/* The first of this name inside that has no partner yet. */
static struct ll_protect_field *partner(struct ll_protected *r, size_t n_inner,
                                        struct ll_slice name)
{
    for (size_t i = 0; i < n_inner; i++)
        if (!r->field[i].outer.p && ll_slice_caseeq(r->field[i].name, name))
            return &r->field[i];
    return NULL;
}

static void list_fields(struct reader *r)
{
    size_t n_inner = r->r.kind == LL_PROTECT_KIND_NONE ? 0 : r->inner.n;

    for (size_t i = 0; i < n_inner; i++)
        r->r.field[r->r.n++] = (struct ll_protect_field){.name = r->inner.p[i].name,
                                                         .inner = r->inner.p[i].value,
                                                         .state = state_of(r, &r->inner.p[i])};
    for (size_t i = 0; i < r->outer.n; i++) {
        const struct pair *o = &r->outer.p[i];
        struct ll_protect_field *p = partner(&r->r, n_inner, o->name);

        if (p) {
            p->outer = o->value;
            p->mismatch = !ll_protect_same(p->inner, p->outer);
        } else {
            r->r.field[r->r.n++] = (struct ll_protect_field){
                .name = o->name, .outer = o->value, .state = LL_PROTECT_STATE_UNPROTECTED};
        }
    }
}

enum ll_protect_error ll_protect_read(struct ll_slice outer_header, struct ll_slice payload,
                                      bool encrypted, bool signed_, struct ll_arena *arena,
                                      struct ll_protected *ret)
{
    struct reader r = {.outer_header = outer_header, .encrypted = encrypted, .is_signed = signed_};
    struct ll_slice body;

    ll_msg_split(payload, &r.inner_header, &body);
    if (!read_header(r.inner_header, &r.inner, &r.hp_outer, arena) ||
        !read_header(r.outer_header, &r.outer, NULL, arena))
        return LL_PROTECT_FIELDS;
    r.r.field = ll_arena_alloc(arena, (r.inner.n + r.outer.n + 1) * sizeof(*r.r.field));
    if (!r.inner.p || !r.hp_outer.p || !r.outer.p || !r.r.field)
        return LL_PROTECT_RESOURCE;
    read_kind(&r, arena);
    check_hp_outer(&r);
    check_from(&r, arena);
    list_fields(&r);
    *ret = r.r;
    return LL_PROTECT_OK;
}

/* ---- questions
 * ---------------------------------------------------------------------------------------
 */

const struct ll_protect_field *ll_protect_field(const struct ll_protected *r, const char *name)
{
    for (size_t i = 0; i < r->n; i++)
        if (ll_slice_caseeq(r->field[i].name, ll_slice_str(name)))
            return &r->field[i];
    return NULL;
}

struct ll_slice ll_protect_value(const struct ll_protected *r, const char *name,
                                 enum ll_protect_state *ret_state)
{
    const struct ll_protect_field *f = ll_protect_field(r, name);
    bool only_inner = r->kind == LL_PROTECT_KIND_CLEAR || r->kind == LL_PROTECT_KIND_CIPHER;
    struct ll_slice value = {0};

    if (f)
        value = f->inner.p || only_inner ? f->inner : f->outer;
    if (ret_state)
        *ret_state = f && f->inner.p ? f->state : LL_PROTECT_STATE_UNPROTECTED;
    return value;
}

struct ll_slice ll_protect_from(const struct ll_protected *r, bool bound,
                                enum ll_protect_state *ret_state)
{
    const struct ll_protect_field *f = ll_protect_field(r, "From");
    bool inner =
        f && f->inner.p && r->from_inner.p && (bound || !(r->flags & LL_PROTECT_FROM_MISMATCH));

    if (ret_state)
        *ret_state = inner ? f->state : LL_PROTECT_STATE_UNPROTECTED;
    if (inner)
        return f->inner;
    for (size_t i = 0; i < r->n; i++)
        if (r->field[i].outer.p && ll_slice_caseeq(r->field[i].name, LL_LIT("From")))
            return r->field[i].outer;
    return (struct ll_slice){0};
}
