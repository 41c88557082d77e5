/* Messages of the milter protocol, both ways. See letterlock/milter.h. */
#include "letterlock/milter.h"

enum layout {
    NONE,
    STRING,  /* one string */
    STRINGS, /* one string or more */
    PAIR,    /* name, value */
    INDEXED, /* u32, name, value */
    OCTETS,
    CONNECT, /* name, family, and unless unknown: u16 port, address */
    MACRO,   /* command, strings in pairs */
    OPTNEG,  /* u32 version, actions, steps; macros wanted */
};

struct row {
    uint8_t code;
    uint8_t layout;
    const char *word;
};

static const struct row rows[] = {
#define ROW(ID, code, layout, word) {(code), (layout), (word)},
    LL_MILTER_COMMANDS(ROW) LL_MILTER_ANSWERS(ROW)
#undef ROW
};

static const struct row *find(uint8_t code)
{
    for (size_t i = 0; i < LL_COUNT(rows); i++)
        if (rows[i].code == code)
            return &rows[i];
    return NULL;
}

const char *ll_milter_word(enum ll_milter_type type)
{
    const struct row *row = find((uint8_t)type);

    return row ? row->word : "?";
}

/* ---- strings ------------------------------------------------------------------------------------
 */

bool ll_milter_string(struct ll_slice *rest, struct ll_slice *ret)
{
    size_t n = ll_slice_find(*rest, 0);

    if (n == rest->n)
        return false;
    *ret = ll_slice_cut(*rest, 0, n);
    *rest = ll_slice_skip(*rest, n + 1);
    return true;
}

static struct ll_slice cur_string(struct ll_cursor *c)
{
    struct ll_slice rest = ll_slice_skip(c->in, c->at), s = {NULL, 0};

    if (c->failed || !ll_milter_string(&rest, &s)) {
        c->failed = true;
        return (struct ll_slice){NULL, 0};
    }
    c->at = c->in.n - rest.n;
    return s;
}

static struct ll_slice cur_rest(struct ll_cursor *c)
{
    return ll_cur_bytes(c, ll_cur_left(c));
}

/* What is left are whole strings. */
static struct ll_slice cur_strings(struct ll_cursor *c)
{
    struct ll_slice s = cur_rest(c);

    if (s.n > 0 && s.p[s.n - 1] != 0)
        c->failed = true;
    return s;
}

static void put_string(struct ll_buf *out, struct ll_slice s)
{
    if (ll_slice_find(s, 0) < s.n)
        out->failed = true;
    ll_buf_put_slice(out, s);
    ll_buf_u8(out, 0);
}

static void put_strings(struct ll_buf *out, struct ll_slice s)
{
    if (s.n > 0 && s.p[s.n - 1] != 0)
        out->failed = true;
    ll_buf_put_slice(out, s);
}

static struct ll_slice bare(struct ll_slice name)
{
    if (name.n == 3 && name.p[0] == '{' && name.p[2] == '}')
        return ll_slice_cut(name, 1, 2);
    return name;
}

bool ll_milter_macro(const struct ll_milter_msg *m, struct ll_slice name, struct ll_slice *ret)
{
    struct ll_slice rest = m->strings, key, value;

    while (ll_milter_string(&rest, &key) && ll_milter_string(&rest, &value)) {
        if (!ll_slice_eq(bare(key), bare(name)))
            continue;
        *ret = value;
        return true;
    }
    return false;
}

/* ---- reading ------------------------------------------------------------------------------------
 */

static void take_connect(struct ll_cursor *c, struct ll_milter_msg *m)
{
    m->name = cur_string(c);
    m->family = ll_cur_u8(c);
    if (m->family == 'U') {
        cur_rest(c); /* some send a port and an address nevertheless */
        return;
    }
    if (m->family != '4' && m->family != '6' && m->family != 'L')
        c->failed = true;
    m->port = ll_cur_u16(c);
    m->text = cur_string(c);
}

static bool pairs(struct ll_slice strings)
{
    struct ll_slice s;
    bool even = true;

    while (ll_milter_string(&strings, &s))
        even = !even;
    return even;
}

static bool take(struct ll_slice frame, struct ll_milter_msg *m)
{
    const struct row *row = find(frame.p[0]);
    struct ll_cursor c = ll_cursor(ll_slice_skip(frame, 1));

    if (!row)
        return false;
    *m = (struct ll_milter_msg){.type = (enum ll_milter_type)row->code};
    switch ((enum layout)row->layout) {
    case NONE:
        break;
    case STRING:
        m->text = cur_string(&c);
        break;
    case STRINGS:
        m->strings = cur_strings(&c);
        c.failed = c.failed || m->strings.n == 0;
        break;
    case INDEXED:
        m->index = ll_cur_u32(&c);
        m->name = cur_string(&c);
        m->text = cur_string(&c);
        break;
    case PAIR:
        m->name = cur_string(&c);
        m->text = cur_string(&c);
        break;
    case OCTETS:
        m->text = cur_rest(&c);
        break;
    case CONNECT:
        take_connect(&c, m);
        break;
    case MACRO:
        m->command = ll_cur_u8(&c);
        m->strings = cur_strings(&c);
        c.failed = c.failed || !pairs(m->strings);
        break;
    case OPTNEG:
        m->options.version = ll_cur_u32(&c);
        m->options.actions = ll_cur_u32(&c);
        m->options.steps = ll_cur_u32(&c);
        m->strings = cur_strings(&c);
        break;
    }
    return ll_cur_end(&c);
}

void ll_milter_reader_init(struct ll_milter_reader *r, size_t max)
{
    *r = (struct ll_milter_reader){.frame = LL_BUF(4 + LL_MILTER_FRAME_MAX),
                                   .max = max < LL_MILTER_FRAME_MAX ? max : LL_MILTER_FRAME_MAX};
}

void ll_milter_reader_release(struct ll_milter_reader *r)
{
    ll_buf_release(&r->frame);
}

enum ll_milter_got ll_milter_read(struct ll_milter_reader *r, struct ll_slice *in,
                                  struct ll_milter_msg *ret)
{
    if (r->whole)
        ll_buf_clear(&r->frame);
    r->whole = false;
    while (!r->bad && !r->whole && in->n > 0) {
        size_t want = 4; /* with the length, the whole */

        if (r->frame.n >= 4) {
            struct ll_cursor c = ll_cursor(ll_buf_slice(&r->frame));

            want += ll_cur_u32(&c);
        }
        want -= r->frame.n;
        if (want > in->n)
            want = in->n;
        ll_buf_put(&r->frame, in->p, want);
        *in = ll_slice_skip(*in, want);
        r->bad = r->frame.failed;
        if (!r->bad && r->frame.n >= 4) {
            struct ll_cursor c = ll_cursor(ll_buf_slice(&r->frame));
            uint32_t n = ll_cur_u32(&c);

            r->bad = n == 0 || n > r->max;
            r->whole = r->frame.n == 4 + (size_t)n;
        }
    }
    if (!r->bad && r->whole)
        r->bad = !take(ll_slice_skip(ll_buf_slice(&r->frame), 4), ret);
    return r->bad ? LL_MILTER_BAD : r->whole ? LL_MILTER_MSG : LL_MILTER_MORE;
}

/* ---- writing ------------------------------------------------------------------------------------
 */

static void put_connect(const struct ll_milter_msg *m, struct ll_buf *out)
{
    put_string(out, m->name);
    ll_buf_u8(out, m->family);
    if (m->family == 'U')
        return;
    ll_buf_u16(out, m->port);
    put_string(out, m->text);
}

static void put_data(const struct ll_milter_msg *m, enum layout layout, struct ll_buf *out)
{
    switch (layout) {
    case NONE:
        break;
    case STRING:
        put_string(out, m->text);
        break;
    case STRINGS:
        put_strings(out, m->strings);
        break;
    case INDEXED:
        ll_buf_u32(out, m->index);
        put_string(out, m->name);
        put_string(out, m->text);
        break;
    case PAIR:
        put_string(out, m->name);
        put_string(out, m->text);
        break;
    case OCTETS:
        ll_buf_put_slice(out, m->text);
        break;
    case CONNECT:
        put_connect(m, out);
        break;
    case MACRO:
        ll_buf_u8(out, m->command);
        put_strings(out, m->strings);
        break;
    case OPTNEG:
        ll_buf_u32(out, m->options.version);
        ll_buf_u32(out, m->options.actions);
        ll_buf_u32(out, m->options.steps);
        put_strings(out, m->strings);
        break;
    }
}

void ll_milter_put(const struct ll_milter_msg *m, struct ll_buf *out)
{
    const struct row *row = find((uint8_t)m->type);
    size_t start = out->n, n;

    if (!row) {
        out->failed = true;
        return;
    }
    ll_buf_u32(out, 0); /* the length is known at the end */
    ll_buf_u8(out, row->code);
    put_data(m, (enum layout)row->layout, out);
    n = out->n - start - 4;
    if (n > LL_MILTER_FRAME_MAX)
        out->failed = true;
    if (out->failed)
        return;
    for (unsigned i = 0; i < 4; i++)
        out->p[start + i] = (uint8_t)(n >> (24 - 8 * i));
}
