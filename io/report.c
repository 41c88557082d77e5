/* See io/report.h: the table, the marks, the tree and its JSON. */
#include "io/report.h"

enum { MARK_TEXT = '=', MARK_OPEN = '(', MARK_CLOSE = ')' };

#define DEPTH 8 /* groups within groups of the table */

const struct ll_report_row ll_report_rows[LL_REPORT_IDS] = {
#define LL_REPORT_INIT(id, parent, name, kind)                                                     \
    [LL_REPORT_N_##id] = {name, LL_REPORT_N_##parent, LL_REPORT_##kind},
    LL_REPORT_TABLE(LL_REPORT_INIT)
#undef LL_REPORT_INIT
};

const char *ll_report_error_text(enum ll_report_error e)
{
    static const char *const text[] = {
#define LL_REPORT_INIT(id, sentence) [LL_REPORT_##id] = sentence,
        LL_REPORT_ERRORS(LL_REPORT_INIT)
#undef LL_REPORT_INIT
    };

    return text[e];
}

static bool is_group(enum ll_report_id id)
{
    return ll_report_rows[id].kind == LL_REPORT_GROUP ||
           ll_report_rows[id].kind == LL_REPORT_GROUPS;
}

enum ll_report_id ll_report_row_find(enum ll_report_id parent, struct ll_slice name, bool any_case)
{
    for (unsigned i = LL_REPORT_N_TOP + 1; i < LL_REPORT_IDS; i++) {
        struct ll_slice known = ll_slice_str(ll_report_rows[i].name);

        if (ll_report_rows[i].parent == parent &&
            (any_case ? ll_slice_caseeq(known, name) : ll_slice_eq(known, name)))
            return (enum ll_report_id)i;
    }
    return LL_REPORT_IDS;
}

/* ---- marks --------------------------------------------------------------------------------------
 */

static bool mark(struct ll_report_marks *m, uint8_t what)
{
    if (m->error == LL_REPORT_OK && what != MARK_CLOSE && ++m->nodes > LL_REPORT_NODES_MAX)
        m->error = LL_REPORT_MANY;
    if (m->error == LL_REPORT_OK)
        ll_buf_u8(m->out, what);
    return m->error == LL_REPORT_OK;
}

static void check(struct ll_report_marks *m)
{
    if (m->out->failed && m->error == LL_REPORT_OK)
        m->error = m->out->n >= m->out->max / 2 ? LL_REPORT_LONG : LL_REPORT_RESOURCE;
}

void ll_report_open(struct ll_report_marks *m, enum ll_report_id id)
{
    if (mark(m, MARK_OPEN))
        ll_buf_u8(m->out, (uint8_t)id);
    check(m);
}

void ll_report_close(struct ll_report_marks *m)
{
    mark(m, MARK_CLOSE);
    check(m);
}

void ll_report_put(struct ll_report_marks *m, enum ll_report_id id, struct ll_slice text)
{
    if (mark(m, MARK_TEXT)) {
        ll_buf_u8(m->out, (uint8_t)id);
        ll_buf_str32(m->out, text);
    }
    check(m);
}

/* ---- tree ---------------------------------------------------------------------------------------
 */

struct builder {
    struct ll_report_node *open[DEPTH]; /* open[0]: holds the top */
    struct ll_report_node *last[DEPTH]; /* child of each */
    size_t depth;
    size_t nodes;
};

static struct ll_report_node *add(struct builder *b, struct ll_arena *arena, uint8_t id)
{
    struct ll_report_node *n;

    if (id == LL_REPORT_N_TOP || id >= LL_REPORT_IDS ||
        ll_report_rows[id].parent != b->open[b->depth]->id || ++b->nodes > LL_REPORT_NODES_MAX ||
        !(n = ll_arena_alloc(arena, sizeof(*n))))
        return NULL;
    n->id = id;
    if (b->last[b->depth])
        b->last[b->depth]->next = n;
    else
        b->open[b->depth]->child = n;
    b->last[b->depth] = n;
    return n;
}

static bool take(struct builder *b, struct ll_cursor *c, struct ll_arena *arena)
{
    uint8_t what = ll_cur_u8(c);
    struct ll_report_node *n;

    if (what == MARK_CLOSE)
        return b->depth-- > 0;
    n = what == MARK_OPEN || what == MARK_TEXT ? add(b, arena, ll_cur_u8(c)) : NULL;
    if (!n || is_group(n->id) != (what == MARK_OPEN))
        return false;
    if (what == MARK_TEXT) {
        n->text = ll_cur_str32(c);
        return !c->failed;
    }
    if (++b->depth == DEPTH)
        return false;
    b->open[b->depth] = n;
    b->last[b->depth] = NULL;
    return true;
}

bool ll_report_tree(struct ll_slice marks, struct ll_arena *arena, struct ll_report_node **ret_top)
{
    struct ll_report_node root = {.id = LL_REPORT_N_TOP};
    struct builder b = {.open = {&root}};
    struct ll_cursor c = ll_cursor(marks);

    while (ll_cur_left(&c) > 0)
        if (!take(&b, &c, arena))
            return false;
    if (c.failed || b.depth != 0 || !root.child || root.child->next)
        return false;
    *ret_top = root.child;
    return true;
}

const struct ll_report_node *ll_report_child(const struct ll_report_node *n, enum ll_report_id id)
{
    for (n = n ? n->child : NULL; n; n = n->next)
        if (n->id == id)
            return n;
    return NULL;
}

struct ll_slice ll_report_text(const struct ll_report_node *n, enum ll_report_id first,
                               enum ll_report_id second)
{
    n = ll_report_child(ll_report_child(n, first), second);
    return n ? n->text : (struct ll_slice){NULL, 0};
}

/* ---- JSON ---------------------------------------------------------------------------------------
 */

static void key(struct ll_json *j, const char *name)
{
    char text[64];
    size_t n = 0;

    for (; name[n] && n + 1 < sizeof(text); n++)
        text[n] = (char)(name[n] == '-' ? '_' : ll_lower((uint8_t)name[n]));
    text[n] = '\0';
    ll_json_key(j, text);
}

static void value(struct ll_json *j, const struct ll_report_node *n)
{
    uint64_t number;

    if (ll_report_rows[n->id].kind == LL_REPORT_NUMBER && ll_slice_u64(n->text, &number) &&
        number <= INT64_MAX)
        ll_json_int(j, NULL, (int64_t)number);
    else
        ll_json_str(j, NULL, n->text);
}

/* The groups of the table nest, and it is ours: the way down has as many steps as the table. */
void ll_report_json(struct ll_json *j, const struct ll_report_node *n)
{
    if (!is_group(n->id)) {
        value(j, n);
        return;
    }
    ll_json_open(j, '{');
    for (unsigned id = LL_REPORT_N_TOP + 1; id < LL_REPORT_IDS; id++) {
        const struct ll_report_row *row = &ll_report_rows[id];
        const struct ll_report_node *c = ll_report_child(n, (enum ll_report_id)id);
        bool many = row->kind == LL_REPORT_GROUPS || row->kind == LL_REPORT_TEXTS;

        if (row->parent != n->id || (row->kind == LL_REPORT_GROUP && !c))
            continue;
        key(j, row->name);
        if (many)
            ll_json_open(j, '[');
        for (; c && many; c = c->next)
            if (c->id == id)
                ll_report_json(j, c);
        if (many)
            ll_json_close(j);
        else if (c)
            ll_report_json(j, c);
        else
            ll_json_cstr(j, NULL, NULL);
    }
    ll_json_close(j);
}
