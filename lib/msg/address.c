/* Address lists (RFC 5322 3.4 and 4.4). See include/letterlock/msg.h. */
#include "letterlock/msg.h"

#include <stdlib.h>

/* What has been read of one list element. Words go into `text`; a dot and an @ are kept as they
 * are. In a mailbox with a display name the words before "<" are thrown away. */
struct element {
    struct ll_buf text;
    struct ll_buf name;    /* all words so far, as people read them; only where names are wanted */
    struct ll_buf comment; /* the last one, without its brackets; likewise */
    bool gap;              /* white space or a comment before the next word of the name */
    bool any;              /* something stood here */
    bool space;            /* two words stood without a dot or @ between them: no addr-spec */
    bool angle;            /* inside < > */
    bool had_angle;        /* > was seen: nothing may follow */
    bool glue;             /* the last thing was a dot or an @, or nothing */
    bool at;               /* an @ was seen in the present spec */
    bool route;            /* a comma of a source route was seen: its colon must follow */
};

struct reader {
    struct ll_slice in;
    size_t i;
    bool in_group;
    bool names;            /* keep names, comments and groups */
    struct ll_slice group; /* of the open group, in the arena */
    struct element e;
    struct ll_arena *arena;
    struct ll_msg_address *list; /* heap while it grows */
    size_t n, room;
};

/* Text within quotes or brackets: pairs undone, folds taken out. */
static void put_inside(struct ll_buf *to, struct ll_slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\\' && i + 1 < s.n)
            i++;
        if (s.p[i] != '\r' && s.p[i] != '\n')
            ll_buf_putc(to, s.p[i]);
    }
}

/* Skips a comment with its inner ones, without recursion. False: it has no end. */
static bool skip_comment(struct reader *r)
{
    size_t depth = 0, from = r->i + 1;

    for (; r->i < r->in.n; r->i++) {
        uint8_t c = r->in.p[r->i];

        if (c == '\\')
            r->i++;
        else if (c == '(')
            depth++;
        else if (c == ')' && --depth == 0) {
            r->e.gap = true;
            if (r->names) {
                ll_buf_clear(&r->e.comment);
                put_inside(&r->e.comment, ll_slice_cut(r->in, from, r->i));
            }
            r->i++;
            return true;
        }
    }
    return false;
}

/* A word, or a dot or @, of what may turn out to be a display name. */
static void put_name(struct reader *r, struct ll_slice s)
{
    struct element *e = &r->e;

    if (!r->names || e->angle)
        return;
    if (e->gap && e->name.n)
        ll_buf_putc(&e->name, ' ');
    e->gap = false;
    if (s.n >= 2 && s.p[0] == '"')
        put_inside(&e->name, ll_slice_cut(s, 1, s.n - 1));
    else
        ll_buf_put_slice(&e->name, s);
}

/* The octets of a quoted string, quotes included, or of a domain literal; 0: it has no end. */
static size_t quoted_length(struct ll_slice s, uint8_t end)
{
    for (size_t i = 1; i < s.n; i++) {
        if (s.p[i] == '\\') {
            i++;
            if (i < s.n && (s.p[i] == '\r' || s.p[i] == '\n'))
                return 0; /* a fold is no quoted pair: taken out, it would leave its backslash alone
                           */
        } else if (s.p[i] == end)
            return i + 1;
    }
    return 0;
}

static bool is_special(uint8_t c)
{
    return c <= 0x20 || c == 0x7f || strchr("()<>[]:;@\\,.\"", c) != NULL;
}

static void put_word(struct reader *r, struct ll_slice word)
{
    struct element *e = &r->e;

    if (e->any && !e->glue)
        e->space = true;
    put_name(r, word);
    if (e->space && !e->angle)
        ll_buf_clear(&e->text); /* words of a display name are not kept */
    for (size_t i = 0; i < word.n; i++)
        if (word.p[i] != '\r' && word.p[i] != '\n')
            ll_buf_putc(&e->text, word.p[i]);
    e->any = true;
    e->glue = false;
}

static void put_glue(struct reader *r, uint8_t c)
{
    r->e.any = true;
    r->e.glue = true;
    r->e.at |= c == '@';
    put_name(r, ll_slice(&c, 1));
    ll_buf_putc(&r->e.text, c);
}

/* Begins the spec anew; what was read before it is the name. */
static void spec_clear(struct element *e)
{
    struct element kept = *e;

    ll_buf_clear(&kept.text);
    *e = (struct element){
        .text = kept.text, .name = kept.name, .comment = kept.comment, .glue = true};
}

static void element_clear(struct element *e)
{
    spec_clear(e);
    ll_buf_clear(&e->name);
    ll_buf_clear(&e->comment);
}

/* The name of the element: the words before < >, else the last comment: "a@b.c (Ann)" is how names
 * were written once. */
static bool take_name(struct reader *r, struct ll_slice *ret)
{
    struct element *e = &r->e;
    struct ll_slice name =
        ll_slice_trim(ll_buf_slice(e->had_angle && e->name.n ? &e->name : &e->comment));

    if (e->name.failed || e->comment.failed)
        return false;
    if (name.n == 0)
        return true;
    *ret = ll_arena_dup(r->arena, name);
    return ret->p;
}

/* An element is over: at a comma, a semicolon, the end. Empty ones are no fault (RFC 5322 4.4). */
static enum ll_msg_error element_end(struct reader *r)
{
    struct element *e = &r->e;
    struct ll_slice spec, name = {0};

    if (e->angle)
        return LL_MSG_BAD_ADDRESS;
    if (!e->any)
        return LL_MSG_OK;
    if (e->space || e->glue || e->text.n == 0 || e->text.p[0] == '@' || e->text.failed)
        return LL_MSG_BAD_ADDRESS;
    if (r->n == LL_MSG_ADDRESSES_MAX)
        return LL_MSG_ADDRESSES_MANY;
    if (r->n == r->room) {
        size_t room = r->room ? r->room * 2 : 8;
        struct ll_msg_address *list = realloc(r->list, room * sizeof(*list));

        if (!list)
            return LL_MSG_RESOURCE;
        r->list = list;
        r->room = room;
    }
    spec = ll_arena_dup(r->arena, ll_buf_slice(&e->text));
    if (!spec.p || !take_name(r, &name))
        return LL_MSG_RESOURCE;
    r->list[r->n++] = (struct ll_msg_address){spec, r->in_group, name, r->group};
    element_clear(e);
    return LL_MSG_OK;
}

static enum ll_msg_error angle_open(struct reader *r)
{
    struct element *e = &r->e;

    if (e->angle || e->had_angle)
        return LL_MSG_BAD_ADDRESS;
    spec_clear(e);
    e->angle = true;
    return LL_MSG_OK;
}

static enum ll_msg_error angle_close(struct reader *r)
{
    struct element *e = &r->e;

    /* "<>" is no mailbox in a header. */
    if (!e->angle || e->space || e->glue || e->route || e->text.n == 0)
        return LL_MSG_BAD_ADDRESS;
    e->angle = false;
    e->had_angle = true;
    return LL_MSG_OK;
}

/* ':' ends a group's name, or inside <> an obsolete source route, which is thrown away. */
static enum ll_msg_error colon(struct reader *r)
{
    if (r->e.angle) {
        if (!r->e.at || r->e.glue)
            return LL_MSG_BAD_ADDRESS;
        spec_clear(&r->e);
        r->e.angle = true;
        return LL_MSG_OK;
    }
    if (r->in_group || !r->e.any || r->e.at || r->e.had_angle)
        return LL_MSG_BAD_ADDRESS;
    if (r->names) {
        r->group = ll_arena_dup(r->arena, ll_slice_trim(ll_buf_slice(&r->e.name)));
        if (!r->group.p || r->e.name.failed)
            return LL_MSG_RESOURCE;
    }
    element_clear(&r->e);
    r->in_group = true;
    return LL_MSG_OK;
}

static enum ll_msg_error special(struct reader *r, uint8_t c)
{
    enum ll_msg_error error;

    r->i++;
    switch (c) {
    case '<':
        return angle_open(r);
    case '>':
        return angle_close(r);
    case ':':
        return colon(r);
    case ',':
        if (r->e.angle) { /* between the domains of a source route */
            r->e.glue = r->e.route = true;
            return r->e.at ? LL_MSG_OK : LL_MSG_BAD_ADDRESS;
        }
        return element_end(r);
    case ';':
        if (!r->in_group)
            return LL_MSG_BAD_ADDRESS;
        error = element_end(r);
        r->in_group = false;
        r->group = (struct ll_slice){0};
        return error;
    case '@':
    case '.':
        if (r->e.had_angle)
            return LL_MSG_BAD_ADDRESS;
        put_glue(r, c);
        return LL_MSG_OK;
    default:
        return LL_MSG_BAD_ADDRESS;
    }
}

/* A word, a quoted string or a domain literal. */
static enum ll_msg_error word(struct reader *r)
{
    struct ll_slice rest = ll_slice_skip(r->in, r->i);
    uint8_t c = rest.p[0];
    size_t n = 0;

    if (r->e.had_angle)
        return LL_MSG_BAD_ADDRESS;
    if (c == '"' || c == '[') {
        n = quoted_length(rest, c == '"' ? '"' : ']');
        if (n == 0)
            return LL_MSG_BAD_ADDRESS;
    } else {
        while (n < rest.n && !is_special(rest.p[n]))
            n++;
    }
    put_word(r, ll_slice_cut(rest, 0, n));
    r->i += n;
    return r->e.text.failed ? LL_MSG_RESOURCE : LL_MSG_OK;
}

static enum ll_msg_error read_list(struct reader *r)
{
    while (r->i < r->in.n) {
        uint8_t c = r->in.p[r->i];
        enum ll_msg_error error = LL_MSG_OK;

        if (ll_is_blank(c) || c == '\r' || c == '\n') {
            r->e.gap = true;
            r->i++;
        } else if (c == '(')
            error = skip_comment(r) ? LL_MSG_OK : LL_MSG_BAD_ADDRESS;
        else if (c == '"' || c == '[' || !is_special(c))
            error = word(r);
        else
            error = special(r, c);
        if (error != LL_MSG_OK)
            return error;
    }
    if (r->in_group)
        return LL_MSG_BAD_ADDRESS;
    return element_end(r);
}

static enum ll_msg_error addresses(struct ll_slice body, bool names, struct ll_arena *arena,
                                   struct ll_msg_address **ret, size_t *ret_count)
{
    struct reader r = {.in = body, .arena = arena, .names = names};
    struct ll_msg_address *list = NULL;
    enum ll_msg_error error;

    ll_buf_init(&r.e.text, body.n + 1);
    ll_buf_init(&r.e.name, body.n + 1);
    ll_buf_init(&r.e.comment, body.n + 1);
    r.e.glue = true;
    error = read_list(&r);
    if (error == LL_MSG_OK) {
        list = ll_arena_alloc(arena, (r.n + 1) * sizeof(*list));
        if (!list)
            error = LL_MSG_RESOURCE;
    }
    if (error == LL_MSG_OK) {
        if (r.n)
            memcpy(list, r.list, r.n * sizeof(*list));
        *ret = list;
        *ret_count = r.n;
    }
    free(r.list);
    ll_buf_release(&r.e.text);
    ll_buf_release(&r.e.name);
    ll_buf_release(&r.e.comment);
    return error;
}

enum ll_msg_error ll_msg_addresses(struct ll_slice body, struct ll_arena *arena,
                                   struct ll_msg_address **ret, size_t *ret_count)
{
    return addresses(body, false, arena, ret, ret_count);
}

enum ll_msg_error ll_msg_named_addresses(struct ll_slice body, struct ll_arena *arena,
                                         struct ll_msg_address **ret, size_t *ret_count)
{
    return addresses(body, true, arena, ret, ret_count);
}

/* Is this the field that a lenient reader takes for From, though it is no field: with a fold before
 * its colon, or a blank in front of it? */
static bool disguised_from(struct ll_slice raw)
{
    static const char name[] = "from:";
    size_t at = 0;

    for (size_t i = 0; i < raw.n && at + 1 < sizeof(name); i++) {
        if (ll_is_blank(raw.p[i]) || raw.p[i] == '\r' || raw.p[i] == '\n')
            continue;
        if (ll_lower(raw.p[i]) != name[at++])
            return false;
    }
    return at + 1 == sizeof(name);
}

enum ll_msg_error ll_msg_author(struct ll_slice header, struct ll_arena *arena,
                                struct ll_slice *ret_spec)
{
    struct ll_msg_address *list;
    struct ll_slice rest = header;
    struct ll_msg_field f, from = {0};
    enum ll_msg_error error;
    size_t count = 0, n;

    while (ll_msg_field_next(&rest, &f)) {
        if (f.bad ? !disguised_from(f.raw) : !ll_slice_caseeq(f.name, LL_LIT("From")))
            continue;
        from = f;
        count++;
    }
    if (count != 1)
        return count ? LL_MSG_MANY_FROM : LL_MSG_NO_FROM;
    error = ll_msg_addresses(from.body, arena, &list, &n);
    if (error == LL_MSG_RESOURCE)
        return error;
    if (error != LL_MSG_OK || n != 1 || list[0].in_group ||
        ll_slice_rfind(list[0].spec, '@') == list[0].spec.n)
        return LL_MSG_BAD_FROM;
    *ret_spec = list[0].spec;
    return LL_MSG_OK;
}

/* Fields of recipients; again: of the one who sends a letter again, whose recipients alone count
 * then (RFC 5322 3.6.6). */
static bool names_recipients(const struct ll_msg_field *f, bool again)
{
    static const char *const names[2][3] = {{"To", "Cc", "Bcc"},
                                            {"Resent-To", "Resent-Cc", "Resent-Bcc"}};
    bool yes = false;

    for (size_t i = 0; i < LL_COUNT(names[0]) && !f->bad; i++)
        yes = yes || ll_slice_caseeq(f->name, ll_slice_str(names[again][i]));
    return yes;
}

enum ll_msg_error ll_msg_recipients(struct ll_slice header, struct ll_arena *arena,
                                    struct ll_msg_address **ret, size_t *ret_count)
{
    struct ll_buf all = LL_BUF(LL_MSG_HEADER_MAX);
    struct ll_slice rest = header;
    struct ll_msg_field f;
    enum ll_msg_error error;
    size_t blocks = 0;
    bool again = false;

    while (ll_msg_field_next(&rest, &f)) {
        again = again || names_recipients(&f, true);
        blocks += !f.bad && ll_slice_caseeq(f.name, LL_LIT("Resent-From"));
    }
    if (again && blocks > 1)
        return LL_MSG_MANY_RESENT;
    while (ll_msg_field_next(&header, &f)) {
        if (!names_recipients(&f, again))
            continue;
        ll_buf_put_slice(&all, f.body);
        ll_buf_putc(&all, ',');
    }
    error = all.failed ? LL_MSG_HEADER_LONG
                       : ll_msg_addresses(ll_buf_slice(&all), arena, ret, ret_count);
    ll_buf_release(&all);
    return error;
}
