/* See dkim_check.h. */
#include "daemon/keeper/dkim_check.h"
#include "letterlock/addr.h"
#include "letterlock/msg.h"

/* The value of a tag in a list (RFC 6376 3.2); false: it is not there. A tag that stands twice sets
 * *ret_twice. */
static bool tag(struct ll_slice list, const char *name, struct ll_slice *ret, bool *ret_twice)
{
    struct ll_slice part;
    bool found = false;

    while (ll_slice_next(&list, ';', &part)) {
        size_t eq = ll_slice_find(part, '=');

        if (!ll_slice_eq(ll_slice_trim(ll_slice_cut(part, 0, eq)), ll_slice_str(name)))
            continue;
        *ret_twice = *ret_twice || found;
        found = true;
        *ret = ll_slice_trim(ll_slice_skip(part, eq + 1));
    }
    return found;
}

static bool tag_is(struct ll_slice list, const char *name, struct ll_slice want, bool *twice)
{
    struct ll_slice have;

    return tag(list, name, &have, twice) && ll_slice_caseeq(have, want);
}

/* Does a colon-separated list name the field From? */
static bool names_from(struct ll_slice h)
{
    struct ll_slice part;

    while (ll_slice_next(&h, ':', &part))
        if (ll_slice_caseeq(ll_slice_trim(part), LL_LIT("from")))
            return true;
    return false;
}

static bool tag_is_one(struct ll_slice tags)
{
    bool twice = false;

    return tag_is(tags, "v", LL_LIT("1"), &twice) && !twice;
}

/* Is it the key's own signature? */
static const char *key_fault(struct ll_slice tags, const struct ll_dkim_claim *claim)
{
    bool twice = false;

    if (!tag_is(tags, "a", ll_slice_str(ll_dkim_algorithm_name(claim->algorithm)), &twice))
        return "a= is not what was asked for";
    if (!tag_is(tags, "d", claim->domain, &twice) || !tag_is(tags, "s", claim->selector, &twice))
        return "d= or s= is not the key's";
    return twice ? "a tag stands twice" : NULL;
}

/* What a DKIM signature and an ARC message signature have in common. */
static const char *signature_fault(struct ll_slice tags, const struct ll_dkim_claim *claim)
{
    const char *fault = key_fault(tags, claim);
    struct ll_slice value, hash;
    struct ll_buf octets = LL_BUF(64);
    bool twice = false, hash_ok;

    if (fault)
        return fault;
    if (tag(tags, "l", &value, &twice))
        return "l= leaves the end of the body open";
    if (!tag(tags, "c", &value, &twice) || !ll_slice_casestarts(value, LL_LIT("relaxed")))
        return "c= is not relaxed";
    if (!tag(tags, "h", &value, &twice) || !names_from(value))
        return "h= does not sign From";
    if (!tag(tags, "b", &value, &twice) || value.n > 0)
        return "b= is not empty";
    hash_ok = tag(tags, "bh", &hash, &twice) && ll_base64_decode(&octets, hash) && octets.n == 32;
    ll_buf_release(&octets);
    return !hash_ok ? "bh= is no SHA-256 hash" : twice ? "a tag stands twice" : NULL;
}

/* The one From field among the signed ones: its address's domain must be the key's or below. */
static const char *author_fault(struct ll_slice fields, const struct ll_dkim_claim *claim,
                                struct ll_arena *arena, struct ll_slice *ret_author)
{
    struct ll_buf domain = LL_BUF(LL_DNS_NAME_MAX + 2);
    struct ll_msg_address *list;
    struct ll_slice from = {0};
    struct ll_msg_field f;
    size_t count = 0, n;

    while (ll_msg_field_next(&fields, &f)) {
        if (f.bad || f.obsolete)
            return "a line is no field in relaxed form";
        for (size_t i = 0; i < f.name.n; i++)
            if (ll_is_upper(f.name.p[i]))
                return "a field's name is not in relaxed form";
        if (ll_slice_eq(f.name, LL_LIT("from")) && count++ == 0)
            from = f.body;
    }
    if (count != 1 || ll_msg_addresses(from, arena, &list, &n) != LL_MSG_OK || n == 0)
        return "there is not one From field with an address";
    for (size_t i = 0; i < n; i++) {
        size_t at = ll_slice_rfind(list[i].spec, '@');

        ll_buf_clear(&domain);
        if (ll_domain_canonical(ll_slice_skip(list[i].spec, at + 1), true, &domain) != LL_ADDR_OK ||
            !ll_dns_name_under(ll_buf_slice(&domain), claim->domain)) {
            ll_buf_release(&domain);
            return "From is not in the key's domain";
        }
    }
    *ret_author = ll_arena_dup(arena, ll_buf_slice(&domain));
    ll_buf_release(&domain);
    return ret_author->p ? NULL : "no memory";
}

/* The last field, behind its name; false: another, or the lines do not end as they must. */
static bool last_field(struct ll_slice text, struct ll_slice name, struct ll_slice *ret_fields,
                       struct ll_slice *ret_tags)
{
    size_t at;

    for (size_t i = 0; i < text.n; i++)
        if ((text.p[i] == '\r') != (i + 1 < text.n && text.p[i + 1] == '\n') || text.p[i] == '\0')
            return false;
    at = ll_slice_rfind(text, '\n');
    at = at < text.n ? at + 1 : 0;
    *ret_fields = ll_slice_cut(text, 0, at);
    *ret_tags = ll_slice_skip(text, at + name.n);
    return ll_slice_starts(ll_slice_skip(text, at), name);
}

const char *ll_dkim_text_fault(struct ll_slice text, const struct ll_dkim_claim *claim,
                               struct ll_arena *arena, struct ll_slice *ret_author)
{
    struct ll_slice fields, tags;
    const char *fault;

    if (!last_field(text, LL_LIT("dkim-signature:"), &fields, &tags))
        return "not the text of a DKIM signature";
    fault = tag_is_one(tags) ? signature_fault(tags, claim) : "v= is not 1";
    return fault ? fault : author_fault(fields, claim, arena, ret_author);
}

static bool is_instance(struct ll_slice tags, bool *twice)
{
    struct ll_slice value;
    uint64_t i;

    return tag(tags, "i", &value, twice) && ll_slice_u64(value, &i) && i >= 1 && i <= 50;
}

/* A seal covers the fields of ARC sets and nothing else. */
static const char *seal_fault(struct ll_slice fields, struct ll_slice tags,
                              const struct ll_dkim_claim *claim)
{
    struct ll_slice value;
    struct ll_msg_field f;
    bool twice = false;

    while (ll_msg_field_next(&fields, &f))
        if (f.bad || f.obsolete || !ll_slice_starts(f.name, LL_LIT("arc-")))
            return "a seal covers ARC fields alone";
    if (!is_instance(tags, &twice) || tag(tags, "h", &value, &twice))
        return "i= is no instance, or there is an h=";
    if (!tag(tags, "cv", &value, &twice) ||
        !(ll_slice_eq(value, LL_LIT("none")) || ll_slice_eq(value, LL_LIT("pass")) ||
          ll_slice_eq(value, LL_LIT("fail"))))
        return "cv= is none of none, pass, fail";
    if (!tag(tags, "b", &value, &twice) || value.n > 0 || twice)
        return "b= is not empty, or a tag stands twice";
    return key_fault(tags, claim);
}

const char *ll_arc_text_fault(struct ll_slice text, const struct ll_dkim_claim *claim)
{
    struct ll_slice fields, tags;
    bool twice = false;

    if (last_field(text, LL_LIT("arc-seal:"), &fields, &tags))
        return seal_fault(fields, tags, claim);
    if (!last_field(text, LL_LIT("arc-message-signature:"), &fields, &tags))
        return "not the text of an ARC set";
    return is_instance(tags, &twice) ? signature_fault(tags, claim) : "i= is no instance";
}
