/* Fields that claim to be ours (RFC 8601 5). See letterlock/authres.h. */
#include "letterlock/addr.h"
#include "letterlock/authres.h"
#include "letterlock/msg.h"

/* A name in one form: A-labels, lower case, no dot at its end; what is no domain only lower case.
 */
static void canonical(struct ll_slice name, struct ll_buf *out)
{
    struct ll_slice bare = name;

    while (bare.n > 0 && (bare.p[bare.n - 1] == '.' || ll_is_blank(bare.p[bare.n - 1])))
        bare.n--;
    while (bare.n > 0 && ll_is_blank(bare.p[0]))
        bare = ll_slice_skip(bare, 1);
    if (ll_domain_canonical(bare, true, out) == LL_ADDR_OK)
        return;
    ll_buf_clear(out);
    for (size_t i = 0; i < bare.n; i++)
        ll_buf_putc(out, ll_lower(bare.p[i]));
}

bool ll_authres_claims(struct ll_slice body, struct ll_slice id)
{
    struct ll_buf theirs = LL_BUF(LL_MSG_HEADER_MAX), ours = LL_BUF(LL_DOMAIN_MAX + 1);
    struct ll_slice name, rest;
    struct ll_arena arena;
    bool claims = true;

    ll_arena_init(&arena, 1 << 20);
    if (ll_authres_id(body, &arena, &name, &rest)) {
        canonical(name, &theirs);
        canonical(id, &ours);
        claims =
            theirs.failed || ours.failed || ll_slice_eq(ll_buf_slice(&theirs), ll_buf_slice(&ours));
    }
    ll_arena_release(&arena);
    ll_buf_release(&theirs);
    ll_buf_release(&ours);
    return claims;
}

static bool claimed(const struct ll_msg_field *f, const struct ll_slice *ids, size_t n_ids)
{
    if (f->bad || !ll_slice_caseeq(f->name, LL_LIT("Authentication-Results")))
        return false;
    for (size_t i = 0; i < n_ids; i++)
        if (ll_authres_claims(f->body, ids[i]))
            return true;
    return false;
}

bool ll_authres_strip(struct ll_slice header, const struct ll_slice *ids, size_t n_ids,
                      struct ll_buf *out, unsigned *ret_removed)
{
    struct ll_slice rest = header;
    struct ll_msg_field f;
    unsigned removed = 0;
    size_t kept = 0; /* octets of the header that are dealt with */

    while (ll_msg_field_next(&rest, &f)) {
        size_t at = (size_t)(f.raw.p - header.p);

        if (!claimed(&f, ids, n_ids))
            continue;
        removed++;
        ll_buf_put_slice(out, ll_slice_cut(header, kept, at));
        kept = at + f.raw.n;
    }
    if (removed > 0)
        ll_buf_put_slice(out, ll_slice_skip(header, kept));
    *ret_removed = removed;
    return !out->failed;
}
