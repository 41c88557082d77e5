/* Records and their terms, RFC 7208 4.5, 4.6.1 and 12. See lib/spf/internal.h. */
#include "letterlock/addr.h"
#include "lib/spf/internal.h"

enum presence {
    NO,
    MAY,
    MUST,
};

enum prefixes {
    PREFIX_NO,
    PREFIX_DUAL,
    PREFIX_FOUR,
    PREFIX_SIX,
};

static const struct {
    const char *name;
    enum presence spec;
    enum prefixes prefix;
} kinds[] = {
#define ROW(ID, name, spec, prefix) {(name), (spec), PREFIX_##prefix},
    LL_SPF_KINDS(ROW)
#undef ROW
};

static const struct {
    char sign;
    enum ll_spf_code match;
} qualifiers[] = {
    {'+', LL_SPF_PASS}, {'-', LL_SPF_FAIL}, {'~', LL_SPF_SOFTFAIL}, {'?', LL_SPF_NEUTRAL}};

bool ll_spf_record_is(struct ll_slice record)
{
    return ll_slice_casestarts(record, LL_LIT("v=spf1")) && (record.n == 6 || record.p[6] == ' ');
}

static enum ll_spf_kind kind_of(struct ll_slice name, bool modifier)
{
    for (size_t i = 0; i < LL_COUNT(kinds); i++)
        if (ll_spf_is_modifier((enum ll_spf_kind)i) == modifier &&
            ll_slice_caseeq(name, ll_slice_str(kinds[i].name)))
            return (enum ll_spf_kind)i;
    return LL_SPF_K_UNKNOWN;
}

/* Takes "/" and a number without leading zeros from the end of *s. False: there is none. */
static bool take_prefix(struct ll_slice *s, const char *slashes, unsigned digits, uint64_t *ret)
{
    size_t n = s->n, mark = strlen(slashes);
    struct ll_slice number;

    while (n > 0 && ll_is_digit(s->p[n - 1]))
        n--;
    number = ll_slice_skip(*s, n);
    if (number.n == 0 || number.n > digits || (number.n > 1 && number.p[0] == '0') || n < mark ||
        memcmp(s->p + n - mark, slashes, mark) != 0)
        return false;
    if (!ll_slice_u64(number, ret))
        return false;
    s->n = n - mark;
    return true;
}

/* Takes the prefix lengths that the term may have from the end of *rest. */
static const char *take_prefixes(struct ll_slice *rest, enum prefixes which,
                                 struct ll_spf_term *term)
{
    uint64_t four = 32, six = 128;

    if (which == PREFIX_DUAL)
        take_prefix(rest, "//", 3, &six);
    if (which == PREFIX_SIX)
        take_prefix(rest, "/", 3, &six);
    if (which == PREFIX_FOUR || which == PREFIX_DUAL)
        take_prefix(rest, "/", 2, &four);
    if (four > 32)
        return "an IPv4 prefix is 0 to 32 bits long";
    if (six > 128)
        return "an IPv6 prefix is 0 to 128 bits long";
    term->prefix4 = (uint8_t)four;
    term->prefix6 = (uint8_t)six;
    return NULL;
}

/* ":" and what follows it, without prefix lengths. */
static const char *read_argument(struct ll_slice arg, struct ll_spf_term *term)
{
    bool has = arg.n > 0 && arg.p[0] == ':';
    struct ll_slice value = ll_slice_skip(arg, 1);

    if (arg.n > 0 && !has)
        return "this mechanism takes no such argument";
    if (term->kind == LL_SPF_K_IP4)
        return ll_ipv4_parse(value, term->net) ? NULL : "not an IPv4 network";
    if (term->kind == LL_SPF_K_IP6)
        return ll_ipv6_parse(value, term->net) ? NULL : "not an IPv6 network";
    if (kinds[term->kind].spec == NO)
        return has ? "this mechanism takes no domain" : NULL;
    if (!has)
        return kinds[term->kind].spec == MUST ? "this mechanism needs a domain" : NULL;
    term->spec = value;
    return ll_spf_macro_check(value, LL_SPF_DOMAIN_SPEC);
}

static const char *read_mechanism(struct ll_slice s, struct ll_spf_term *term)
{
    size_t n = 0;
    const char *what;

    for (size_t i = 0; i < LL_COUNT(qualifiers); i++)
        if (s.p[0] == qualifiers[i].sign) {
            term->match = qualifiers[i].match;
            s = ll_slice_skip(s, 1);
            break;
        }
    while (n < s.n && s.p[n] != ':' && s.p[n] != '/')
        n++;
    term->kind = kind_of(ll_slice_cut(s, 0, n), false);
    if (term->kind == LL_SPF_K_UNKNOWN)
        return "no mechanism has that name";
    s = ll_slice_skip(s, n);
    what = take_prefixes(&s, kinds[term->kind].prefix, term);
    return what ? what : read_argument(s, term);
}

/* name "=" at the start of the term: how long the name is; 0: it is no modifier. */
static size_t modifier_name(struct ll_slice s)
{
    size_t n = 0;

    if (s.n == 0 || !ll_is_alpha(s.p[0]))
        return 0;
    while (n < s.n && (ll_is_alnum(s.p[n]) || s.p[n] == '-' || s.p[n] == '_' || s.p[n] == '.'))
        n++;
    return n < s.n && s.p[n] == '=' ? n : 0;
}

static const char *read_term(struct ll_slice s, struct ll_spf_term *term)
{
    size_t n = modifier_name(s);

    *term = (struct ll_spf_term){.match = LL_SPF_PASS, .text = s, .prefix4 = 32, .prefix6 = 128};
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] > '~')
            return "an octet that is no visible ASCII character";
    if (n == 0)
        return read_mechanism(s, term);
    term->kind = kind_of(ll_slice_cut(s, 0, n), true);
    term->spec = ll_slice_skip(s, n + 1);
    if (term->kind != LL_SPF_K_UNKNOWN && term->spec.n == 0)
        return "this modifier needs a domain";
    return ll_spf_macro_check(term->spec, term->kind == LL_SPF_K_UNKNOWN ? LL_SPF_MACRO_STRING
                                                                         : LL_SPF_DOMAIN_SPEC);
}

bool ll_spf_term_next(struct ll_slice record, size_t *at, struct ll_spf_term *ret,
                      const char **ret_what)
{
    size_t from = *at < 6 ? 6 : *at; /* behind the version */
    size_t to;

    *ret_what = NULL;
    while (from < record.n && record.p[from] == ' ')
        from++;
    *at = from;
    if (from == record.n)
        return false;
    to = from + ll_slice_find(ll_slice_skip(record, from), ' ');
    *ret_what = read_term(ll_slice_cut(record, from, to), ret);
    if (*ret_what)
        return false;
    *at = to;
    return true;
}

bool ll_spf_record_check(struct ll_slice record, size_t *ret_at, const char **ret_what)
{
    bool redirect = false, exp = false;
    struct ll_spf_term term;
    size_t at = 0;
    const char *what;

    if (!ll_spf_record_is(record)) {
        *ret_at = 0;
        *ret_what = "an SPF record begins with \"v=spf1\" and a blank";
        return false;
    }
    while (ll_spf_term_next(record, &at, &term, &what)) {
        bool *seen = term.kind == LL_SPF_K_REDIRECT ? &redirect
                     : term.kind == LL_SPF_K_EXP    ? &exp
                                                    : NULL;

        if (seen && *seen) {
            at -= term.text.n;
            what = "this modifier may come only once";
            break;
        }
        if (seen)
            *seen = true;
    }
    if (!what)
        return true;
    *ret_at = at;
    *ret_what = what;
    return false;
}
