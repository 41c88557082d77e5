/*
 * DKIM-Signature, ARC-Message-Signature and ARC-Seal fields (RFC 6376 3.5, RFC 8617 4.1): reading
 * one, and what their words mean. See lib/dkim/parts.h.
 */
#include "lib/dkim/parts.h"

static const struct {
    enum ll_dkim_verdict verdict;
    const char *text;
} faults[] = {
#define ROW(ID, verdict, text) [LL_DKIM_FAULT_##ID] = {LL_DKIM_##verdict, text},
    LL_DKIM_FAULTS(ROW)
#undef ROW
};

static const char *const verdicts[] = {
#define ROW(ID, word) [LL_DKIM_##ID] = (word),
    LL_DKIM_VERDICTS(ROW)
#undef ROW
};

static const char *const algorithms[] = {
#define ROW(ID, name, key) [LL_DKIM_##ID] = (name),
    LL_DKIM_ALGORITHMS(ROW)
#undef ROW
};

const char *ll_dkim_verdict_word(enum ll_dkim_verdict v)
{
    return verdicts[v];
}

enum ll_dkim_verdict ll_dkim_fault_verdict(enum ll_dkim_fault f)
{
    return faults[f].verdict;
}

const char *ll_dkim_fault_text(enum ll_dkim_fault f)
{
    return faults[f].text;
}

const char *ll_dkim_algorithm_name(enum ll_dkim_algorithm a)
{
    return algorithms[a];
}

bool ll_dkim_algorithm_find(struct ll_slice name, enum ll_dkim_algorithm *ret)
{
    for (size_t i = 0; i < LL_COUNT(algorithms); i++) {
        if (ll_slice_eq(name, ll_slice_str(algorithms[i]))) {
            *ret = (enum ll_dkim_algorithm)i;
            return true;
        }
    }
    return false;
}

/* ---- tags one by one ---------------------------------------------------------------------------
 */

/* What the tags may be read with. */
struct reading {
    enum ll_dkim_kind kind;
    const struct ll_dkim_tag *tag; /* NULL: the tag is not there */
    const struct ll_dkim_tags *all;
    struct ll_dkim_sig *sig;
};

static struct ll_slice value(const struct reading *r)
{
    return r->tag->value;
}

static enum ll_dkim_fault read_v(const struct reading *r)
{
    /* RFC 8617 4.1.2: ARC has no v=, and the tag has no meaning there. */
    if (r->kind != LL_DKIM_FIELD)
        return LL_DKIM_FAULT_OK;
    return ll_slice_eq(value(r), LL_LIT("1")) ? LL_DKIM_FAULT_OK : LL_DKIM_FAULT_VERSION;
}

static enum ll_dkim_fault read_a(const struct reading *r)
{
    r->sig->a = value(r);
    if (ll_dkim_algorithm_find(value(r), &r->sig->algorithm))
        return LL_DKIM_FAULT_OK;
    return ll_slice_eq(value(r), LL_LIT("rsa-sha1")) ? LL_DKIM_FAULT_SHA1 : LL_DKIM_FAULT_ALGORITHM;
}

static enum ll_dkim_fault read_b(const struct reading *r)
{
    struct ll_dkim_sig *sig = r->sig;
    struct ll_slice v = value(r);

    sig->b_raw = r->tag->raw;
    for (size_t i = 0; i < v.n && sig->b_start_n < sizeof(sig->b_start); i++)
        if (!ll_dkim_is_fws(v.p[i]))
            sig->b_start[sig->b_start_n++] = (char)v.p[i];
    return ll_dkim_base64(v, sig->b, sizeof(sig->b), &sig->b_n) ? LL_DKIM_FAULT_OK
                                                                : LL_DKIM_FAULT_B;
}

static enum ll_dkim_fault read_bh(const struct reading *r)
{
    size_t n;

    return ll_dkim_base64(value(r), r->sig->bh, sizeof(r->sig->bh), &n) && n == LL_DKIM_HASH
               ? LL_DKIM_FAULT_OK
               : LL_DKIM_FAULT_BH;
}

static bool canon(struct ll_slice s, enum ll_dkim_canon *ret)
{
    bool simple = ll_slice_eq(s, LL_LIT("simple"));

    if (!simple && !ll_slice_eq(s, LL_LIT("relaxed")))
        return false;
    *ret = simple ? LL_DKIM_SIMPLE : LL_DKIM_RELAXED;
    return true;
}

static enum ll_dkim_fault read_c(const struct reading *r)
{
    struct ll_slice v = value(r);
    size_t slash = ll_slice_find(v, '/');

    r->sig->canon_said = true;
    if (!canon(ll_slice_cut(v, 0, slash), &r->sig->header))
        return LL_DKIM_FAULT_C;
    if (slash < v.n && !canon(ll_slice_skip(v, slash + 1), &r->sig->body))
        return LL_DKIM_FAULT_C;
    return LL_DKIM_FAULT_OK;
}

static enum ll_dkim_fault read_d(const struct reading *r)
{
    return ll_dkim_domain(value(r), false, &r->sig->domain) ? LL_DKIM_FAULT_OK : LL_DKIM_FAULT_D;
}

static enum ll_dkim_fault read_s(const struct reading *r)
{
    return ll_dkim_domain(value(r), true, &r->sig->selector) ? LL_DKIM_FAULT_OK : LL_DKIM_FAULT_S;
}

/* Field names divided by colons. */
static bool names_ok(struct ll_slice list)
{
    struct ll_slice name;

    while (ll_slice_next(&list, ':', &name)) {
        name = ll_dkim_trim_fws(name);
        for (size_t i = 0; i < name.n; i++)
            if (name.p[i] <= ' ' || name.p[i] >= 0x7f)
                return false;
    }
    return true;
}

static enum ll_dkim_fault read_h(const struct reading *r)
{
    r->sig->h = value(r);
    if (r->kind == LL_DKIM_SEAL)
        return LL_DKIM_FAULT_SEAL_H; /* RFC 8617 4.1.3 */
    if (!names_ok(value(r)))
        return LL_DKIM_FAULT_H;
    if (r->kind == LL_DKIM_AMS) /* RFC 8617 4.1.2 */
        return ll_dkim_list_has(value(r), "arc-seal") ? LL_DKIM_FAULT_SEAL_H : LL_DKIM_FAULT_OK;
    if (value(r).n == 0)
        return LL_DKIM_FAULT_H;
    return ll_dkim_list_has(value(r), "from") ? LL_DKIM_FAULT_OK : LL_DKIM_FAULT_FROM_UNSIGNED;
}

/* dkim-quoted-printable (RFC 6376 2.11) into the identity. */
static bool identity(struct ll_slice v, struct ll_dkim_sig *sig)
{
    struct ll_buf one = LL_BUF(1);

    for (size_t i = 0; i < v.n; i++) {
        uint8_t c = v.p[i];

        if (ll_dkim_is_fws(c))
            continue;
        if (c == '=') {
            ll_buf_clear(&one);
            if (!ll_hex_decode(&one, ll_slice_cut(v, i + 1, i + 3)) || one.n != 1) {
                ll_buf_release(&one);
                return false;
            }
            c = one.p[0];
            i += 2;
        }
        if (sig->identity_n == sizeof(sig->identity)) {
            ll_buf_release(&one);
            return false;
        }
        sig->identity[sig->identity_n++] = (char)c;
    }
    ll_buf_release(&one);
    return true;
}

static enum ll_dkim_fault read_identity(const struct reading *r)
{
    struct ll_dkim_sig *sig = r->sig;
    struct ll_slice all;
    struct ll_dns_name domain;
    size_t at;

    if (!identity(value(r), sig))
        return LL_DKIM_FAULT_I;
    all = ll_slice(sig->identity, sig->identity_n);
    at = ll_slice_rfind(all, '@');
    if (at == all.n || !ll_dkim_domain(ll_slice_skip(all, at + 1), false, &domain))
        return LL_DKIM_FAULT_I;
    return ll_dns_name_under(ll_dns_name_slice(&domain), ll_dns_name_slice(&sig->domain))
               ? LL_DKIM_FAULT_OK
               : LL_DKIM_FAULT_IDENTITY;
}

static enum ll_dkim_fault read_i(const struct reading *r)
{
    uint64_t n;

    if (r->kind == LL_DKIM_FIELD)
        return read_identity(r);
    if (value(r).n > 2 || !ll_slice_u64(value(r), &n) || n < 1 || n > 50)
        return LL_DKIM_FAULT_INSTANCE;
    r->sig->instance = (unsigned)n;
    return LL_DKIM_FAULT_OK;
}

/* A number of at most 76 digits (RFC 6376 3.5); what does not fit is as good as endless. */
static bool number(struct ll_slice v, uint64_t *ret)
{
    for (size_t i = 0; i < v.n; i++)
        if (!ll_is_digit(v.p[i]))
            return false;
    if (v.n == 0 || v.n > 76)
        return false;
    *ret = UINT64_MAX;
    ll_slice_u64(v, ret);
    return true;
}

static enum ll_dkim_fault read_l(const struct reading *r)
{
    if (r->kind == LL_DKIM_SEAL)
        return LL_DKIM_FAULT_OK; /* unknown there */
    r->sig->partial = true;
    return number(value(r), &r->sig->length) ? LL_DKIM_FAULT_OK : LL_DKIM_FAULT_L;
}

static enum ll_dkim_fault read_time(const struct reading *r, int64_t *ret)
{
    uint64_t n;

    if (!number(value(r), &n))
        return LL_DKIM_FAULT_TIMES;
    *ret = n > INT64_MAX ? INT64_MAX : (int64_t)n;
    return LL_DKIM_FAULT_OK;
}

static enum ll_dkim_fault read_t(const struct reading *r)
{
    return read_time(r, &r->sig->t);
}

static enum ll_dkim_fault read_x(const struct reading *r)
{
    enum ll_dkim_fault f = read_time(r, &r->sig->x);

    return f == LL_DKIM_FAULT_OK && r->sig->t >= r->sig->x ? LL_DKIM_FAULT_TIMES : f;
}

static enum ll_dkim_fault read_q(const struct reading *r)
{
    return ll_dkim_list_has(value(r), "dns/txt") ? LL_DKIM_FAULT_OK : LL_DKIM_FAULT_Q;
}

static enum ll_dkim_fault read_cv(const struct reading *r)
{
    static const char *const words[] = {"none", "pass", "fail"};

    r->sig->cv = value(r);
    for (size_t i = 0; i < LL_COUNT(words); i++)
        if (ll_slice_eq(value(r), ll_slice_str(words[i])))
            return LL_DKIM_FAULT_OK;
    return r->kind == LL_DKIM_SEAL ? LL_DKIM_FAULT_CV : LL_DKIM_FAULT_OK;
}

#define FIELD (1u << LL_DKIM_FIELD)
#define AMS   (1u << LL_DKIM_AMS)
#define SEAL  (1u << LL_DKIM_SEAL)

/* In the order of reading: i= looks at d=, x= at t=. The first fault is the result, but all are
 * read, so that a report can name domain and selector. */
static const struct {
    const char *name;
    unsigned required; /* kinds that must have it */
    unsigned known;    /* kinds in which it means something */
    enum ll_dkim_fault (*read)(const struct reading *);
} known_tags[] = {
    {"v", FIELD, FIELD, read_v},
    {"a", FIELD | AMS | SEAL, FIELD | AMS | SEAL, read_a},
    {"d", FIELD | AMS | SEAL, FIELD | AMS | SEAL, read_d},
    {"s", FIELD | AMS | SEAL, FIELD | AMS | SEAL, read_s},
    {"b", FIELD | AMS | SEAL, FIELD | AMS | SEAL, read_b},
    {"bh", FIELD | AMS, FIELD | AMS, read_bh},
    {"c", 0, FIELD | AMS, read_c},
    {"h", FIELD | AMS, FIELD | AMS | SEAL, read_h},
    {"i", AMS | SEAL, FIELD | AMS | SEAL, read_i},
    {"l", 0, FIELD | AMS, read_l},
    {"q", 0, FIELD | AMS, read_q},
    {"t", 0, FIELD | AMS | SEAL, read_t},
    {"x", 0, FIELD | AMS, read_x},
    {"cv", SEAL, SEAL, read_cv},
};

enum ll_dkim_fault ll_dkim_sig_parse(enum ll_dkim_kind kind, struct ll_slice raw,
                                     struct ll_slice body, struct ll_dkim_sig *ret)
{
    struct ll_dkim_tags tags;
    struct reading r = {.kind = kind, .all = &tags, .sig = ret};
    enum ll_dkim_fault fault;

    *ret = (struct ll_dkim_sig){.raw = raw, .t = -1, .x = -1};
    if (kind == LL_DKIM_SEAL)
        ret->header = LL_DKIM_RELAXED; /* RFC 8617 5.1.1: relaxed alone */
    fault = ll_dkim_tags_parse(body, &tags);
    if (fault != LL_DKIM_FAULT_OK)
        return fault;
    for (size_t i = 0; i < LL_COUNT(known_tags); i++) {
        enum ll_dkim_fault f = LL_DKIM_FAULT_OK;

        if (!(known_tags[i].known & 1u << kind))
            continue;
        r.tag = ll_dkim_tag(&tags, known_tags[i].name);
        if (r.tag)
            f = known_tags[i].read(&r);
        else if (known_tags[i].required & 1u << kind)
            f = LL_DKIM_FAULT_TAG_MISSING;
        if (fault == LL_DKIM_FAULT_OK)
            fault = f;
    }
    if (kind == LL_DKIM_FIELD && ret->identity_n == 0) {
        ret->identity[0] = '@';
        memcpy(ret->identity + 1, ret->domain.text, ret->domain.n);
        ret->identity_n = (uint16_t)(ret->domain.n + 1);
    }
    return fault;
}
