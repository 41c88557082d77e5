/* See tool/client/people.h. */
#include "tool/client/people.h"

#include "letterlock/msg.h"

#include <stdlib.h>

bool ll_people(struct ll_slice text, struct ll_arena *arena, struct ll_compose_address **v,
               size_t *n)
{
    struct ll_msg_address *list = NULL;
    struct ll_compose_address *more;
    size_t n_list = 0;

    if (ll_msg_named_addresses(text, arena, &list, &n_list) != LL_MSG_OK)
        return false;
    more = reallocarray(*v, *n + n_list + 1, sizeof(**v));
    if (!more)
        return false;
    *v = more;
    for (size_t i = 0; i < n_list; i++)
        more[(*n)++] = (struct ll_compose_address){
            .name = list[i].name, .spec = list[i].spec, .group = list[i].group};
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
        e = LL_COMPOSE_ADDRESS;
    for (size_t i = 0; i < n && e == LL_COMPOSE_OK; i++)
        if (!ll_is_ascii(v[i].spec))
            e = LL_COMPOSE_ADDRESS;
    if (e == LL_COMPOSE_OK && n > 0)
        e = ll_compose_field_addresses(out, field, v, n);
    free(v);
    ll_buf_release(&plain);
    return e;
}
