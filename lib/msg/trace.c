/* Message identifiers and Received fields read. See include/letterlock/msg.h. */
#include "letterlock/addr.h"
#include "letterlock/msg.h"

#include <stdlib.h>

static bool is_space(uint8_t c)
{
    return ll_is_blank(c) || c == '\r' || c == '\n';
}

/* The comment at i with its inner ones; s.n: it has no end. */
static size_t comment_end(struct ll_slice s, size_t i)
{
    size_t depth = 0;

    for (; i < s.n; i++) {
        if (s.p[i] == '\\')
            i++;
        else if (s.p[i] == '(')
            depth++;
        else if (s.p[i] == ')' && --depth == 0)
            return i + 1;
    }
    return s.n;
}

/* ---- identifiers
 * ----------------------------------------------------------------------------------
 */

struct ids {
    struct ll_slice *id; /* heap while it grows */
    size_t n, room;
    bool failed;
};

static void add(struct ids *l, struct ll_slice id)
{
    if (l->n == l->room && l->n < LL_MSG_ADDRESSES_MAX) {
        size_t room = l->room ? l->room * 2 : 8;
        struct ll_slice *grown = realloc(l->id, room * sizeof(*grown));

        if (!grown) {
            l->failed = true;
            return;
        }
        l->id = grown;
        l->room = room;
    }
    if (id.n && l->n < LL_MSG_ADDRESSES_MAX)
        l->id[l->n++] = id;
}

/* Behind the word or comment at i; only words without "<" are added. */
static size_t add_word(struct ids *l, struct ll_slice s, size_t i)
{
    size_t from = i;

    if (s.p[i] == '(')
        return comment_end(s, i);
    while (i < s.n && !is_space(s.p[i]) && s.p[i] != '(')
        i++;
    add(l, ll_slice_cut(s, from, i));
    return i;
}

enum ll_msg_error ll_msg_ids(struct ll_slice body, struct ll_arena *arena, struct ll_slice **ret,
                             size_t *ret_count)
{
    bool angles = ll_slice_find(body, '<') < body.n;
    struct ids l = {0};
    struct ll_slice *list;

    for (size_t i = 0; i < body.n && !l.failed;) {
        if (is_space(body.p[i])) {
            i++;
        } else if (!angles) {
            i = add_word(&l, body, i);
        } else if (body.p[i] == '(') {
            i = comment_end(body, i);
        } else if (body.p[i] == '<') {
            size_t end = i + ll_slice_find(ll_slice_skip(body, i), '>');

            if (end < body.n)
                add(&l, ll_slice_cut(body, i + 1, end));
            i = end + 1;
        } else {
            i++;
        }
    }
    list = l.failed ? NULL : ll_arena_alloc(arena, (l.n + 1) * sizeof(*list));
    if (list && l.n)
        memcpy(list, l.id, l.n * sizeof(*list));
    free(l.id);
    if (!list)
        return LL_MSG_RESOURCE;
    *ret = list;
    *ret_count = l.n;
    return LL_MSG_OK;
}

/* ---- Received
 * -------------------------------------------------------------------------------------
 */

static const struct {
    const char *word;
    size_t at;
} clauses[] = {
    {"from", offsetof(struct ll_msg_trace, from)},
    {"by", offsetof(struct ll_msg_trace, by)},
    {"via", offsetof(struct ll_msg_trace, via)},
    {"with", offsetof(struct ll_msg_trace, with)},
    {"id", offsetof(struct ll_msg_trace, id)},
    {"for", offsetof(struct ll_msg_trace, recipient)},
};

/* The slot that a keyword opens, or NULL. */
static struct ll_slice *slot(struct ll_msg_trace *t, struct ll_slice word)
{
    for (size_t i = 0; i < LL_COUNT(clauses); i++)
        if (ll_slice_caseeq(word, ll_slice_str(clauses[i].word)))
            return (struct ll_slice *)((char *)t + clauses[i].at);
    return NULL;
}

static struct ll_slice without(struct ll_slice s, uint8_t open, uint8_t close)
{
    return s.n >= 2 && s.p[0] == open && s.p[s.n - 1] == close ? ll_slice_cut(s, 1, s.n - 1) : s;
}

/* An address at the start of s ("192.0.2.1", "IPv6:2001:db8::1", with a port or a zone behind it).
 */
static struct ll_slice ip_at(struct ll_slice s)
{
    uint8_t binary[16];
    size_t n = 0;

    if (ll_slice_casestarts(s, LL_LIT("ipv6:")))
        s = ll_slice_skip(s, 5);
    while (n < s.n && (ll_is_alnum(s.p[n]) || s.p[n] == '.' || s.p[n] == ':'))
        n++;
    s = ll_slice_cut(s, 0, n);
    if (ll_ipv4_parse(s, binary) || ll_ipv6_parse(s, binary))
        return s;
    s = ll_slice_cut(s, 0, ll_slice_find(s, ':'));
    return ll_ipv4_parse(s, binary) ? s : (struct ll_slice){0};
}

/* The first address in s: behind a bracket, a blank, or at its start. */
static struct ll_slice find_ip(struct ll_slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        struct ll_slice ip = {0};

        if (i == 0 || s.p[i - 1] == '[' || is_space(s.p[i - 1]))
            ip = ip_at(ll_slice_skip(s, i));
        if (ip.p)
            return ip;
    }
    return (struct ll_slice){0};
}

/* A word: up to white space, a comment, or the ";" before the date; brackets keep their blanks. */
static size_t word_end(struct ll_slice s, size_t i)
{
    uint8_t close = s.p[i] == '<' ? '>' : s.p[i] == '[' ? ']' : 0;
    size_t end = i + ll_slice_find(ll_slice_skip(s, i), close);

    if (close && end < s.n)
        return end + 1;
    while (i < s.n && !is_space(s.p[i]) && s.p[i] != '(' && s.p[i] != ';')
        i++;
    return i;
}

void ll_msg_trace_read(struct ll_slice body, struct ll_msg_trace *ret)
{
    struct ll_msg_trace t = {0};
    struct ll_slice *open = NULL; /* waits for its word */
    size_t date = ll_slice_rfind(body, ';');

    if (date < body.n)
        t.date = ll_slice_skip(body, date + 1);
    body = ll_slice_cut(body, 0, date);
    for (size_t i = 0, end; i < body.n; i = end) {
        struct ll_slice word, *next;

        end = i + 1;
        if (is_space(body.p[i]) || body.p[i] == ')' || body.p[i] == ';')
            continue;
        if (body.p[i] == '(') {
            end = comment_end(body, i);
            word = without(ll_slice_cut(body, i, end), '(', ')');
            if ((t.from.p || open == &t.from) && !t.by.p && !t.from_comment.p)
                t.from_comment = word;
            continue;
        }
        end = word_end(body, i);
        if (end == i)
            end++; /* never stands still */
        word = ll_slice_cut(body, i, end);
        next = slot(&t, word);
        /* "from mail pickup service by": what stands behind the first word is not kept; nor a
         * keyword for a word where a clause has none. */
        if (next && !next->p && next != open) {
            open = next;
        } else if (open) {
            while (word.n > 1 && word.p[word.n - 1] == ',')
                word.n--;
            *open = without(word, '<', '>');
            open = NULL;
        }
    }
    if (t.from.p)
        t.from_ip = find_ip(without(t.from, '[', ']'));
    if (!t.from_ip.p)
        t.from_ip = find_ip(t.from_comment);
    *ret = t;
}
