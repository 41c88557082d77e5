/* See include/letterlock/autocrypt.h. The fields. */
#include "letterlock/addr.h"
#include "letterlock/autocrypt.h"
#include "letterlock/mime.h"
#include "letterlock/msg.h"

#define LINE 76 /* octets of a line of keydata with its blank */

const char *ll_autocrypt_error_text(enum ll_autocrypt_error e)
{
    static const char *const texts[] = {
#define ROW(ID, text) [LL_AUTOCRYPT_##ID] = text,
        LL_AUTOCRYPT_ERRORS(ROW)
#undef ROW
    };

    return texts[e];
}

static bool canonical(struct ll_slice text, struct ll_arena *arena, struct ll_slice *ret)
{
    struct ll_mailbox m;

    if (ll_mailbox_parse(text, true, &m) != LL_ADDR_OK || m.kind == LL_DOMAIN_NONE)
        return false;
    ll_mailbox_lower(&m);
    *ret = ll_arena_dup(arena, ll_mailbox_text(&m));
    return ret->p != NULL;
}

static enum ll_autocrypt_error decode(struct ll_slice text, struct ll_arena *arena,
                                      struct ll_slice *ret)
{
    struct ll_buf packed = LL_BUF(LL_AUTOCRYPT_FIELD_MAX), key = LL_BUF(LL_AUTOCRYPT_FIELD_MAX);
    bool ok;

    for (size_t i = 0; i < text.n; i++)
        if (!ll_is_blank(text.p[i]) && text.p[i] != '\r' && text.p[i] != '\n')
            ll_buf_putc(&packed, text.p[i]);
    ok = packed.n > 0 && ll_base64_decode(&key, ll_buf_slice(&packed));
    *ret = ok ? ll_arena_dup(arena, ll_buf_slice(&key)) : (struct ll_slice){NULL, 0};
    ll_buf_release(&packed);
    ll_buf_release(&key);
    return !ok ? LL_AUTOCRYPT_KEYDATA : ret->p ? LL_AUTOCRYPT_OK : LL_AUTOCRYPT_RESOURCE;
}

/* Blanks and folds at both ends. */
static struct ll_slice trimmed(struct ll_slice s)
{
    while (s.n > 0 && s.p[0] <= ' ')
        s = ll_slice_skip(s, 1);
    while (s.n > 0 && s.p[s.n - 1] <= ' ')
        s.n--;
    return s;
}

/* Each attribute at most once; what begins with "_" may be anything. */
static enum ll_autocrypt_error attribute(struct ll_slice name, struct ll_slice value,
                                         struct ll_arena *arena, struct ll_autocrypt *a)
{
    if (ll_slice_caseeq(name, LL_LIT("addr")))
        return !a->address.p && canonical(value, arena, &a->address) ? LL_AUTOCRYPT_OK
               : arena->no_memory                                    ? LL_AUTOCRYPT_RESOURCE
                                                                     : LL_AUTOCRYPT_ADDRESS;
    if (ll_slice_caseeq(name, LL_LIT("prefer-encrypt"))) {
        a->mutual = ll_slice_caseeq(value, LL_LIT("mutual"));
        return LL_AUTOCRYPT_OK;
    }
    if (ll_slice_caseeq(name, LL_LIT("keydata")))
        return a->keydata.p ? LL_AUTOCRYPT_KEYDATA : decode(value, arena, &a->keydata);
    return name.p[0] == '_' ? LL_AUTOCRYPT_OK : LL_AUTOCRYPT_CRITICAL;
}

enum ll_autocrypt_error ll_autocrypt_field(struct ll_slice body, struct ll_arena *arena,
                                           struct ll_autocrypt *ret)
{
    struct ll_autocrypt a = {0};
    struct ll_slice rest = trimmed(body), part;

    if (body.n > LL_AUTOCRYPT_FIELD_MAX)
        return LL_AUTOCRYPT_TOO_LARGE;
    while (ll_slice_next(&rest, ';', &part)) {
        struct ll_slice name = ll_slice_cut(part, 0, ll_slice_find(part, '='));
        struct ll_slice value = trimmed(ll_slice_skip(part, name.n + 1));
        enum ll_autocrypt_error e;

        if (name.n == part.n || trimmed(name).n == 0)
            return a.keydata.p ? LL_AUTOCRYPT_KEYDATA : LL_AUTOCRYPT_SYNTAX;
        if (a.keydata.p)
            return LL_AUTOCRYPT_KEYDATA; /* it is to be the last one */
        e = attribute(trimmed(name), value, arena, &a);
        if (e != LL_AUTOCRYPT_OK)
            return e;
    }
    if (!a.address.p || !a.keydata.p)
        return a.address.p ? LL_AUTOCRYPT_KEYDATA : LL_AUTOCRYPT_ADDRESS;
    *ret = a;
    return LL_AUTOCRYPT_OK;
}

/* ---- letters ----------------------------------------------------------------------------------
 */

/* Replies of programs say nothing about what their user's own program can do. */
static bool is_automatic(struct ll_slice header, struct ll_arena *arena)
{
    struct ll_msg_field f;
    struct ll_mime_value v;

    if (ll_msg_field_find(header, LL_LIT("Auto-Submitted"), &f) &&
        ll_slice_casestarts(trimmed(f.body), LL_LIT("auto-replied")))
        return true;
    return ll_msg_field_find(header, LL_LIT("Content-Type"), &f) &&
           ll_mime_value(f.body, arena, &v) && ll_slice_caseeq(v.type, LL_LIT("multipart")) &&
           ll_slice_caseeq(v.subtype, LL_LIT("report"));
}

enum ll_autocrypt_error ll_autocrypt_letter(struct ll_slice header, struct ll_arena *arena,
                                            struct ll_slice *ret_author, struct ll_autocrypt *ret)
{
    enum ll_autocrypt_error first = LL_AUTOCRYPT_NONE;
    struct ll_slice spec, author, rest = header;
    struct ll_autocrypt found = {0};
    struct ll_msg_field f;

    if (ll_msg_author(header, arena, &spec) != LL_MSG_OK || !canonical(spec, arena, &author))
        return arena->no_memory ? LL_AUTOCRYPT_RESOURCE : LL_AUTOCRYPT_AUTHOR;
    if (is_automatic(header, arena))
        return LL_AUTOCRYPT_AUTOMATIC;
    *ret_author = author;
    while (ll_msg_field_next(&rest, &f)) {
        struct ll_autocrypt a;
        enum ll_autocrypt_error e;

        if (f.bad || !ll_slice_caseeq(f.name, LL_LIT("Autocrypt")))
            continue;
        e = f.raw.n > LL_AUTOCRYPT_FIELD_MAX ? LL_AUTOCRYPT_TOO_LARGE
                                             : ll_autocrypt_field(f.body, arena, &a);
        if (e == LL_AUTOCRYPT_RESOURCE)
            return e;
        if (e == LL_AUTOCRYPT_OK && !ll_slice_eq(a.address, author))
            e = LL_AUTOCRYPT_OTHER;
        if (e == LL_AUTOCRYPT_OK && found.keydata.p)
            return LL_AUTOCRYPT_SEVERAL;
        if (e == LL_AUTOCRYPT_OK)
            found = a;
        else if (first == LL_AUTOCRYPT_NONE)
            first = e;
    }
    if (!found.keydata.p)
        return first;
    *ret = found;
    return LL_AUTOCRYPT_OK;
}

/* Is the address one of those that this field names? */
static bool named_in(struct ll_slice header, const char *field, struct ll_slice address,
                     struct ll_arena *arena)
{
    struct ll_slice rest = header;
    struct ll_msg_field f;

    while (ll_msg_field_next(&rest, &f)) {
        struct ll_msg_address *list;
        size_t n;

        if (f.bad || !ll_slice_caseeq(f.name, ll_slice_str(field)) ||
            ll_msg_addresses(f.body, arena, &list, &n) != LL_MSG_OK)
            continue;
        for (size_t i = 0; i < n; i++) {
            struct ll_slice one;

            if (canonical(list[i].spec, arena, &one) && ll_slice_eq(one, address))
                return true;
        }
    }
    return false;
}

bool ll_autocrypt_gossip(struct ll_slice inner, struct ll_slice outer, struct ll_arena *arena,
                         struct ll_autocrypt **ret, size_t *ret_n)
{
    struct ll_autocrypt *v = ll_arena_alloc(arena, LL_AUTOCRYPT_FIELDS_MAX * sizeof(*v));
    struct ll_slice rest = inner;
    struct ll_msg_field f;
    size_t n = 0, seen = 0;

    while (v && seen < LL_AUTOCRYPT_FIELDS_MAX && ll_msg_field_next(&rest, &f)) {
        if (f.bad || !ll_slice_caseeq(f.name, LL_LIT("Autocrypt-Gossip")))
            continue;
        seen++;
        if (f.raw.n <= LL_AUTOCRYPT_FIELD_MAX &&
            ll_autocrypt_field(f.body, arena, &v[n]) == LL_AUTOCRYPT_OK &&
            (named_in(outer, "To", v[n].address, arena) ||
             named_in(outer, "Cc", v[n].address, arena) ||
             named_in(outer, "Reply-To", v[n].address, arena)))
            n++;
    }
    if (!v || arena->no_memory)
        return false;
    *ret = v;
    *ret_n = n;
    return true;
}

bool ll_autocrypt_put(struct ll_buf *out, const char *name, const struct ll_autocrypt *a)
{
    struct ll_buf text = LL_BUF(2 * LL_AUTOCRYPT_FIELD_MAX), field = LL_BUF(LL_AUTOCRYPT_FIELD_MAX);
    bool gossip = strcmp(name, "Autocrypt-Gossip") == 0, ok;
    struct ll_slice rest;
    struct ll_mailbox m;

    ll_base64_encode(&text, a->keydata);
    ll_buf_printf(&field, "%s: addr=%.*s; %skeydata=\r\n", name, LL_FMT(a->address),
                  a->mutual && !gossip ? "prefer-encrypt=mutual; " : "");
    for (rest = ll_buf_slice(&text); rest.n > 0; rest = ll_slice_skip(rest, LINE - 1)) {
        ll_buf_putc(&field, ' ');
        ll_buf_put_slice(&field, ll_slice_cut(rest, 0, LINE - 1));
        ll_buf_puts(&field, "\r\n");
    }
    /* A ";" in a quoted local part would end the attribute. */
    ok = ll_mailbox_parse(a->address, true, &m) == LL_ADDR_OK &&
         ll_slice_find(a->address, ';') == a->address.n && a->keydata.n > 0 && !text.failed &&
         !field.failed;
    if (ok)
        ll_buf_put_slice(out, ll_buf_slice(&field));
    ll_buf_release(&text);
    ll_buf_release(&field);
    return ok && !out->failed;
}

int64_t ll_autocrypt_date(struct ll_slice header, int64_t now)
{
    struct ll_msg_field f;
    int64_t date;

    if (!ll_msg_field_find(header, LL_LIT("Date"), &f) || !ll_msg_date(f.body, &date, NULL) ||
        date > now)
        return now;
    return date;
}
