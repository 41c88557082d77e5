/* Tag lists (RFC 6376 3.2) and the values in them. See lib/dkim/parts.h. */
#include "lib/dkim/parts.h"

#include "letterlock/addr.h"

bool ll_dkim_is_fws(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct ll_slice ll_dkim_trim_fws(struct ll_slice s)
{
    while (s.n && ll_dkim_is_fws(s.p[0]))
        s = ll_slice_skip(s, 1);
    while (s.n && ll_dkim_is_fws(s.p[s.n - 1]))
        s.n--;
    return s;
}

/* tag-name = ALPHA *ALNUMPUNC */
static bool name_ok(struct ll_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!ll_is_alnum(s.p[i]) && s.p[i] != '_')
            return false;
    return s.n > 0 && ll_is_alpha(s.p[0]);
}

/* VALCHAR and FWS, and what RFC 8616 5 adds. The ";" has ended the value. */
static bool value_ok(struct ll_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 0x80 && (s.p[i] <= ' ' || s.p[i] == 0x7f) && !ll_dkim_is_fws(s.p[i]))
            return false;
    return ll_is_ascii(s) || ll_utf8_valid(s);
}

const struct ll_dkim_tag *ll_dkim_tag(const struct ll_dkim_tags *tags, const char *name)
{
    for (size_t i = 0; i < tags->n; i++)
        if (ll_slice_eq(tags->v[i].name, ll_slice_str(name)))
            return &tags->v[i];
    return NULL;
}

struct ll_slice ll_dkim_tag_value(const struct ll_dkim_tags *tags, const char *name)
{
    const struct ll_dkim_tag *tag = ll_dkim_tag(tags, name);

    return tag ? tag->value : ll_slice(NULL, 0);
}

static bool is_there(const struct ll_dkim_tags *tags, struct ll_slice name)
{
    for (size_t i = 0; i < tags->n; i++)
        if (ll_slice_eq(tags->v[i].name, name))
            return true;
    return false;
}

enum ll_dkim_fault ll_dkim_tags_parse(struct ll_slice text, struct ll_dkim_tags *ret)
{
    struct ll_slice spec;

    ret->n = 0;
    while (ll_slice_next(&text, ';', &spec)) {
        size_t equals = ll_slice_find(spec, '=');
        struct ll_slice name = ll_dkim_trim_fws(ll_slice_cut(spec, 0, equals));
        struct ll_slice raw = ll_slice_skip(spec, equals + 1);

        if (equals == spec.n) { /* one ";" may stand at the end, with blanks behind it */
            bool end = text.p == NULL && name.n == 0 && ret->n > 0;

            return end ? LL_DKIM_FAULT_OK : LL_DKIM_FAULT_TAGS;
        }
        if (!name_ok(name) || !value_ok(raw))
            return LL_DKIM_FAULT_TAGS;
        if (is_there(ret, name))
            return LL_DKIM_FAULT_TAG_TWICE;
        if (ret->n == LL_DKIM_TAGS_MAX)
            return LL_DKIM_FAULT_TAGS_MANY;
        ret->v[ret->n++] = (struct ll_dkim_tag){name, ll_dkim_trim_fws(raw), raw};
    }
    return ret->n > 0 ? LL_DKIM_FAULT_OK : LL_DKIM_FAULT_TAGS;
}

/* ---- values -----------------------------------------------------------------------------------
 */

static int six_bits(uint8_t c)
{
    if (ll_is_upper(c))
        return c - 'A';
    if (ll_is_lower(c))
        return c - 'a' + 26;
    if (ll_is_digit(c))
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool ll_dkim_base64(struct ll_slice s, uint8_t *ret, size_t room, size_t *ret_n)
{
    uint32_t bits = 0;
    unsigned held = 0, pad = 0;
    size_t n = 0, digits = 0;

    for (size_t i = 0; i < s.n; i++) {
        int six = six_bits(s.p[i]);

        if (ll_dkim_is_fws(s.p[i]))
            continue;
        if (s.p[i] == '=') {
            pad++;
            continue;
        }
        if (six < 0 || pad > 0)
            return false;
        digits++;
        bits = bits << 6 | (uint32_t)six;
        held += 6;
        if (held < 8)
            continue;
        held -= 8;
        if (n == room)
            return false;
        ret[n++] = (uint8_t)(bits >> held);
        bits &= (1u << held) - 1;
    }
    /* RFC 6376 2.10 makes padding optional; where it is there, it is right. */
    if (digits % 4 == 1 || (pad > 0 && (pad > 2 || (digits + pad) % 4 != 0)) || bits != 0)
        return false;
    *ret_n = n;
    return n > 0;
}

bool ll_dkim_list_has(struct ll_slice list, const char *word)
{
    struct ll_slice element;

    while (ll_slice_next(&list, ':', &element))
        if (ll_slice_caseeq(ll_dkim_trim_fws(element), ll_slice_str(word)))
            return true;
    return false;
}

/* A selector's labels: letters, digits, hyphens, and the underscores that people use. */
static bool selector(struct ll_slice s, struct ll_dns_name *ret)
{
    for (size_t i = 0; i < s.n; i++)
        if (!ll_is_alnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '_' && s.p[i] != '.')
            return false;
    return s.n > 0 && s.p[s.n - 1] != '.' && ll_dns_name_parse(s, ret);
}

bool ll_dkim_domain(struct ll_slice s, bool any_label, struct ll_dns_name *ret)
{
    struct ll_buf canonical = LL_BUF(LL_DOMAIN_MAX);
    bool ok;

    if (any_label && ll_is_ascii(s))
        return selector(s, ret);
    ok = ll_domain_canonical(s, true, &canonical) == LL_ADDR_OK &&
         (any_label || ll_slice_find(ll_buf_slice(&canonical), '.') < canonical.n) &&
         ll_dns_name_parse(ll_buf_slice(&canonical), ret);
    ll_buf_release(&canonical);
    return ok;
}
