/* DMARC Policy Records, RFC 9989 4.7, 4.8 and 4.10.1. See letterlock/dmarc.h. */
#include "letterlock/dmarc.h"

struct reading {
    struct ll_dmarc_record *r;
    bool p, bad; /* a valid p; an invalid p, sp or np */
};

static const char *const policies[] = {
#define ROW(ID, word) word,
    LL_DMARC_POLICIES(ROW)
#undef ROW
};

const char *ll_dmarc_policy_word(enum ll_dmarc_policy policy)
{
    return policies[policy];
}

static bool read_policy(struct reading *t, struct ll_slice value, enum ll_dmarc_policy *ret)
{
    for (size_t i = 0; i < LL_COUNT(policies); i++)
        if (ll_slice_caseeq(value, ll_slice_str(policies[i]))) {
            *ret = (enum ll_dmarc_policy)i;
            return true;
        }
    t->bad = true;
    return false;
}

/* One of the letters, or *ret as it was. */
static void read_letter(struct ll_slice value, const char *letters, char *ret)
{
    if (value.n == 1 && value.p[0] != 0 && strchr(letters, ll_lower(value.p[0])))
        *ret = (char)ll_lower(value.p[0]);
}

static void tag_p(struct reading *t, struct ll_slice value)
{
    t->p = read_policy(t, value, &t->r->p);
}

static void tag_sp(struct reading *t, struct ll_slice value)
{
    t->r->has_sp = read_policy(t, value, &t->r->sp);
}

static void tag_np(struct reading *t, struct ll_slice value)
{
    t->r->has_np = read_policy(t, value, &t->r->np);
}

static void tag_psd(struct reading *t, struct ll_slice value)
{
    read_letter(value, "ynu", &t->r->psd);
}

static void tag_t(struct reading *t, struct ll_slice value)
{
    char c = 'n';

    read_letter(value, "yn", &c);
    t->r->test = c == 'y';
}

static void tag_adkim(struct reading *t, struct ll_slice value)
{
    char c = 'r';

    read_letter(value, "rs", &c);
    t->r->dkim_strict = c == 's';
}

static void tag_aspf(struct reading *t, struct ll_slice value)
{
    char c = 'r';

    read_letter(value, "rs", &c);
    t->r->spf_strict = c == 's';
}

static void tag_fo(struct reading *t, struct ll_slice value)
{
    static const char letters[] = "01ds"; /* in the order of the bits */
    struct ll_slice part;
    uint8_t set = 0;

    while (ll_slice_next(&value, ':', &part)) {
        const char *at;

        part = ll_slice_trim(part);
        at = part.n == 1 && part.p[0] ? strchr(letters, ll_lower(part.p[0])) : NULL;
        if (!at)
            return;
        set |= (uint8_t)(1 << (at - letters));
    }
    if ((set & (LL_DMARC_FO_ALL | LL_DMARC_FO_ANY)) != (LL_DMARC_FO_ALL | LL_DMARC_FO_ANY))
        t->r->fo = set;
}

static void tag_rua(struct reading *t, struct ll_slice value)
{
    t->r->rua = value;
}

static void tag_ruf(struct reading *t, struct ll_slice value)
{
    t->r->ruf = value;
}

static const struct {
    const char *name;
    void (*read)(struct reading *, struct ll_slice value);
} tags[] = {
    {"p", tag_p},         {"sp", tag_sp},     {"np", tag_np}, {"psd", tag_psd}, {"t", tag_t},
    {"adkim", tag_adkim}, {"aspf", tag_aspf}, {"fo", tag_fo}, {"rua", tag_rua}, {"ruf", tag_ruf},
};

static bool printable(struct ll_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!ll_is_print(s.p[i]))
            return false;
    return true;
}

/* Takes the next tag and its value. A part without "=" gives a name and no value. */
static bool next_tag(struct ll_slice *rest, struct ll_slice *name, struct ll_slice *value)
{
    struct ll_slice part;
    size_t equals;

    if (!ll_slice_next(rest, ';', &part))
        return false;
    equals = ll_slice_find(part, '=');
    *name = ll_slice_trim(ll_slice_cut(part, 0, equals));
    *value = ll_slice_trim(ll_slice_skip(part, equals + 1));
    return true;
}

/* dmarc-version = "v" equals %s"DMARC1": the first tag, nothing before it. */
static bool is_record(struct ll_slice *rest)
{
    struct ll_slice name, value;

    return rest->n > 0 && rest->n <= LL_DMARC_RECORD_MAX && !ll_is_blank(rest->p[0]) &&
           next_tag(rest, &name, &value) && ll_slice_caseeq(name, LL_LIT("v")) &&
           ll_slice_eq(value, LL_LIT("DMARC1"));
}

/* 4.10.1: without a valid p, or with an invalid sp or np, a record is p=none where it says whom to
 * tell, and nothing at all otherwise. */
static void settle(struct reading *t)
{
    struct ll_dmarc_record *r = t->r;
    struct ll_slice rest = r->rua, uri;

    r->usable = true;
    if (!t->p || t->bad) {
        r->usable = ll_dmarc_uri_next(&rest, &uri);
        r->p = LL_DMARC_P_NONE;
        r->has_sp = r->has_np = false;
    }
    if (!r->has_sp)
        r->sp = r->p;
    if (!r->has_np)
        r->np = r->sp;
    if (r->ruf.n == 0)
        r->fo = LL_DMARC_FO_ALL; /* 4.7: its content is ignored then */
}

bool ll_dmarc_record_parse(struct ll_slice text, struct ll_dmarc_record *ret)
{
    struct ll_dmarc_record r = {.psd = 'u', .fo = LL_DMARC_FO_ALL};
    struct reading t = {.r = &r};
    bool seen[LL_COUNT(tags)] = {false};
    struct ll_slice name, value;

    if (!is_record(&text))
        return false;
    while (next_tag(&text, &name, &value))
        for (size_t i = 0; i < LL_COUNT(tags); i++)
            if (!seen[i] && ll_slice_caseeq(name, ll_slice_str(tags[i].name))) {
                seen[i] = true;
                tags[i].read(&t, printable(value) ? value : ll_slice(NULL, 0));
            }
    settle(&t);
    *ret = r;
    return true;
}

/* ---- reporting URIs ----------------------------------------------------------------------------
 */

/* RFC 3986 3.1 and 2: a scheme, and behind it no octet that is no URI's. */
static bool is_uri(struct ll_slice s)
{
    size_t colon = ll_slice_find(s, ':');
    struct ll_slice rest = ll_slice_skip(s, colon + 1);
    size_t at = ll_slice_find(rest, '@');

    if (colon == 0 || rest.n == 0 || !ll_is_alpha(s.p[0]))
        return false;
    for (size_t i = 0; i < colon; i++)
        if (!ll_is_alnum(s.p[i]) && !strchr("+-.", s.p[i] ? s.p[i] : ' '))
            return false;
    for (size_t i = 0; i < rest.n; i++)
        if (rest.p[i] <= ' ' || rest.p[i] > '~' || strchr("\"<>\\^`{|}", rest.p[i]))
            return false;
    if (ll_slice_casestarts(s, LL_LIT("mailto:")))
        return at > 0 && at + 1 < rest.n;
    return true;
}

/* "10m" of "!10m"; 0 where it is no size. */
static uint64_t size_of(struct ll_slice s)
{
    static const struct ll_slice units = {(const uint8_t *)"kmgt", 4};
    unsigned shift = 0;
    uint64_t n;

    if (s.n > 1 && ll_slice_find(units, ll_lower(s.p[s.n - 1])) < units.n) {
        shift = 10 * ((unsigned)ll_slice_find(units, ll_lower(s.p[s.n - 1])) + 1);
        s.n--;
    }
    if (!ll_slice_u64(s, &n))
        return 0;
    return n > UINT64_MAX >> shift ? UINT64_MAX : n << shift;
}

bool ll_dmarc_uri_next_sized(struct ll_slice *rest, struct ll_slice *ret_uri, uint64_t *ret_most)
{
    struct ll_slice part, uri;

    while (ll_slice_next(rest, ',', &part)) {
        uri = ll_slice_trim(ll_slice_cut(part, 0, ll_slice_find(part, '!')));
        if (is_uri(uri)) {
            *ret_uri = uri;
            *ret_most = size_of(ll_slice_trim(ll_slice_skip(part, ll_slice_find(part, '!') + 1)));
            return true;
        }
    }
    return false;
}

bool ll_dmarc_uri_next(struct ll_slice *rest, struct ll_slice *ret_uri)
{
    uint64_t most;

    return ll_dmarc_uri_next_sized(rest, ret_uri, &most);
}
