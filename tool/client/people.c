/* See tool/client/people.h. */
#include "tool/client/people.h"

#include "letterlock/msg.h"

#include <stdlib.h>

/* Where the first mailbox of a list ends: a comma outside of quotes, comments and brackets. */
static size_t end_of_one(struct ll_slice list)
{
    bool quoted = false;
    int depth = 0;

    for (size_t i = 0; i < list.n; i++) {
        uint8_t c = list.p[i];

        if (c == '\\' && (quoted || depth > 0))
            i++;
        else if (c == '"' && depth == 0)
            quoted = !quoted;
        else if (!quoted && (c == '<' || c == '('))
            depth++;
        else if (!quoted && (c == '>' || c == ')'))
            depth -= depth > 0;
        else if (c == ',' && !quoted && depth == 0)
            return i;
    }
    return list.n;
}

/* "Name <local@domain>", or the address alone. */
static void one_of(struct ll_arena *arena, struct ll_slice text, struct ll_compose_address *ret)
{
    size_t open = ll_slice_rfind(text, '<');
    struct ll_slice name = ll_slice_trim(ll_slice_cut(text, 0, open));
    struct ll_buf plain = LL_BUF(4096);

    *ret = (struct ll_compose_address){.spec = text};
    if (open == text.n || text.p[text.n - 1] != '>')
        return;
    ret->spec = ll_slice_trim(ll_slice_cut(text, open + 1, text.n - 1));
    if (name.n > 1 && name.p[0] == '"' && name.p[name.n - 1] == '"') {
        name = ll_slice_cut(name, 1, name.n - 1);
        for (size_t i = 0; i < name.n; i++) {
            if (name.p[i] == '\\' && i + 1 < name.n)
                i++;
            ll_buf_putc(&plain, name.p[i]);
        }
        name = ll_arena_dup(arena, ll_buf_slice(&plain));
    }
    ret->name = name;
    ll_buf_release(&plain);
}

bool ll_people(struct ll_slice text, struct ll_arena *arena, struct ll_compose_address **v,
               size_t *n)
{
    while (text.n > 0) {
        size_t end = end_of_one(text);
        struct ll_slice one = ll_slice_trim(ll_slice_cut(text, 0, end));
        struct ll_compose_address *more =
            *n < LL_PEOPLE_MAX ? reallocarray(*v, *n + 1, sizeof(**v)) : NULL;

        if (!more)
            return false;
        *v = more;
        text = ll_slice_skip(text, end + 1);
        if (one.n > 0)
            one_of(arena, one, &more[(*n)++]);
    }
    return true;
}

static bool has_addresses(struct ll_slice name)
{
    static const char *const fields[] = {"From", "Sender", "Reply-To",        "To",
                                         "Cc",   "Bcc",    "Mail-Followup-To"};
    bool has = false;

    for (size_t i = 0; i < LL_COUNT(fields); i++)
        has = has || ll_slice_caseeq(name, ll_slice_str(fields[i]));
    return has;
}

enum ll_compose_error ll_people_ascii_field(struct ll_slice name, struct ll_slice body,
                                            struct ll_arena *arena, struct ll_buf *out)
{
    struct ll_buf plain = LL_BUF(LL_MSG_HEADER_MAX);
    struct ll_compose_address *v = NULL;
    const char *field = ll_arena_str(arena, name);
    enum ll_compose_error e = LL_COMPOSE_OK;
    size_t n = 0;

    ll_msg_unfold(body, &plain);
    if (!field || plain.failed)
        e = LL_COMPOSE_RESOURCE;
    else if (!has_addresses(name))
        e = ll_compose_field_text(out, field, ll_buf_slice(&plain));
    else if (!ll_people(ll_buf_slice(&plain), arena, &v, &n))
        e = LL_COMPOSE_RESOURCE;
    for (size_t i = 0; i < n && e == LL_COMPOSE_OK; i++)
        if (!ll_is_ascii(v[i].spec))
            e = LL_COMPOSE_ADDRESS;
    if (e == LL_COMPOSE_OK && n > 0)
        e = ll_compose_field_addresses(out, field, v, n);
    free(v);
    ll_buf_release(&plain);
    return e;
}
