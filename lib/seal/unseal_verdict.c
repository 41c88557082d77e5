/* See include/letterlock/unseal.h: what a section's signatures prove. */
#include "letterlock/addr.h"
#include "letterlock/msg.h"
#include "lib/seal/unseal_internal.h"

#define ROW(id, word, text) {word, text},
static const struct ll_unseal_text verdicts[] = {LL_UNSEAL_VERDICTS(ROW)};
static const struct ll_unseal_text trusts[] = {LL_UNSEAL_TRUSTS(ROW)};
static const struct ll_unseal_text warnings[] = {LL_UNSEAL_WARNINGS(ROW)};
#undef ROW

const struct ll_unseal_text *ll_unseal_verdict_text(enum ll_unseal_verdict v)
{
    return &verdicts[(size_t)v < LL_COUNT(verdicts) ? v : LL_UNSEAL_INVALID];
}

const struct ll_unseal_text *ll_unseal_trust_text(enum ll_unseal_trust t)
{
    return &trusts[(size_t)t < LL_COUNT(trusts) ? t : LL_UNSEAL_TRUST_NONE];
}

const struct ll_unseal_text *ll_unseal_warning_text(enum ll_unseal_warning w)
{
    return &warnings[(size_t)w < LL_COUNT(warnings) ? w : LL_UNSEAL_WARN_FORM];
}

/* ---- the author ---------------------------------------------------------------------------------
 */

static bool same_address(struct ll_slice a, struct ll_slice b)
{
    struct ll_mailbox x, y;

    return ll_mailbox_parse(a, true, &x) == LL_ADDR_OK &&
           ll_mailbox_parse(b, true, &y) == LL_ADDR_OK && ll_mailbox_same(&x, &y);
}

static bool in_address(uint8_t c)
{
    return ll_is_alnum(c) || c >= 0x80 || c == '.' || c == '_' || c == '-' || c == '+' || c == '%';
}

/* The signs that people take for "@": itself, FULLWIDTH and SMALL COMMERCIAL AT. Octets at p, 0:
 * none. */
static size_t at_sign(struct ll_slice text, size_t i)
{
    static const char *const signs[] = {"@", "\xef\xbc\xa0", "\xef\xb9\xab"};

    for (size_t k = 0; k < LL_COUNT(signs); k++)
        if (ll_slice_starts(ll_slice_skip(text, i), ll_slice_str(signs[k])))
            return strlen(signs[k]);
    return 0;
}

/* Does the text hold something that looks like an address, and is not this one? */
static bool other_address_in(struct ll_slice text, struct ll_slice spec)
{
    for (size_t i = 1; i + 1 < text.n; i++) {
        size_t n = at_sign(text, i), from = i, to = i + n;

        if (n == 0)
            continue;
        while (from > 0 && in_address(text.p[from - 1]))
            from--;
        while (to < text.n && in_address(text.p[to]))
            to++;
        if (from < i && to > i + n && !ll_slice_caseeq(ll_slice_cut(text, from, to), spec))
            return true;
        i = to - 1;
    }
    return false;
}

/* "alice@example.org" <mallory@example.net>: the name is what many programs show alone. */
static bool name_lies(struct ll_unseal *u, const struct ll_unseal_section *s)
{
    struct ll_buf plain = LL_BUF(LL_MSG_HEADER_MAX), shown = LL_BUF(LL_MSG_HEADER_MAX);
    struct ll_slice body = LL_LIT("");
    struct ll_mime_run *run;
    struct ll_msg_field f;
    size_t n = 0;
    bool lies = false;

    if (s->author.p && s->author.p == s->field.from_inner.p)
        body = ll_protect_value(&s->field, "From", NULL);
    if (body.n == 0 && ll_msg_field_find(s->header, LL_LIT("From"), &f))
        body = f.body;
    if (s->author.n > 0 && body.n > 0) {
        ll_msg_unfold(body, &plain);
        if (ll_mime_words(ll_buf_slice(&plain), &u->arena, &run, &n))
            for (size_t i = 0; i < n; i++)
                ll_buf_put_slice(&shown, run[i].text);
        lies = other_address_in(ll_buf_slice(&shown), s->author);
    }
    ll_buf_release(&plain);
    ll_buf_release(&shown);
    return lies;
}

/* ---- signatures ---------------------------------------------------------------------------------
 */

/* By state; GOOD is looked at further. */
static const enum ll_unseal_verdict by_state[] = {
    [LL_SIGNATURE_GOOD] = LL_UNSEAL_PROVEN,
    [LL_SIGNATURE_BAD] = LL_UNSEAL_BROKEN,
    [LL_SIGNATURE_NO_KEY] = LL_UNSEAL_NO_KEY,
};

/* The octets are those that were signed, by the key that it names. A certificate that no authority
 * stands for is as good as the reader's own word. */
static bool is_good(const struct ll_unseal_signature *g)
{
    return g->by->state == LL_SIGNATURE_GOOD ||
           (g->by->state == LL_SIGNATURE_UNTRUSTED && g->trust == LL_UNSEAL_TRUST_VERIFIED);
}

static bool speaks_for(const struct ll_signature *by, struct ll_slice author)
{
    for (size_t i = 0; i < by->n_address; i++)
        if (same_address(by->address[i], author))
            return true;
    return false;
}

static bool asks_to_open(const struct ll_unseal_layer *l)
{
    return l->question == LL_UNSEAL_OPEN_PGP || l->question == LL_UNSEAL_OPEN_SMIME;
}

/* Is a layer within this one encrypted? Then its signature covers what few can read. */
static bool sealed_within(const struct ll_unseal_section *s, size_t layer)
{
    for (size_t i = layer + 1; i < s->n_layers; i++)
        if (s->layer[i].opened.encrypted ||
            (asks_to_open(&s->layer[i]) && s->layer[i].error != LL_SEAL_OK))
            return true;
    return false;
}

static enum ll_unseal_verdict judge(const struct ll_unseal_section *s,
                                    const struct ll_unseal_signature *g)
{
    if (!is_good(g))
        return (size_t)g->by->state < LL_COUNT(by_state) ? by_state[g->by->state]
                                                         : LL_UNSEAL_INVALID;
    if (sealed_within(s, g->layer))
        return LL_UNSEAL_OUTSIDE;
    if (g->trust == LL_UNSEAL_TRUST_REJECTED)
        return LL_UNSEAL_REJECTED;
    if (s->author.n == 0)
        return LL_UNSEAL_NO_AUTHOR;
    if (!g->author)
        return LL_UNSEAL_OTHER;
    if (s->warnings & (1u << LL_UNSEAL_WARN_FROM_DIFFERS))
        return LL_UNSEAL_MISMATCH;
    if (g->trust == LL_UNSEAL_TRUST_CHANGED)
        return LL_UNSEAL_CHANGED;
    return g->trust >= LL_UNSEAL_TRUST_CERTIFIED ? LL_UNSEAL_PROVEN : LL_UNSEAL_CLAIMED;
}

static bool judge_all(struct ll_unseal *u, uint8_t number)
{
    struct ll_unseal_section *s = &u->section[number];
    size_t n = 0;

    for (size_t i = 0; i < s->n_layers; i++)
        n += s->layer[i].opened.n_signature;
    s->signature = ll_arena_alloc(&u->arena, (n + 1) * sizeof(*s->signature));
    if (!s->signature)
        return false;
    for (size_t i = 0; i < s->n_layers; i++)
        for (size_t k = 0; k < s->layer[i].opened.n_signature; k++) {
            struct ll_unseal_signature *g = &s->signature[s->n_signatures++];

            g->by = &s->layer[i].opened.signature[k];
            g->method = s->layer[i].method;
            g->layer = (uint8_t)i;
            g->author = s->author.n > 0 && speaks_for(g->by, s->author);
            g->verdict = judge(s, g);
        }
    return true;
}

void ll_unseal_set_trust(struct ll_unseal *u, size_t section, size_t k, enum ll_unseal_trust trust)
{
    struct ll_unseal_section *s = &u->section[section];

    s->signature[k].trust = trust;
    s->signature[k].verdict = judge(s, &s->signature[k]);
}

/* ---- seals --------------------------------------------------------------------------------------
 */

/* CBC shows no change; a good signature further in does (Efail: CBC gadgets). */
static bool is_unproven(const struct ll_unseal_section *s, size_t layer)
{
    if (s->layer[layer].opened.authenticated)
        return false;
    for (size_t i = layer; i < s->n_layers; i++)
        for (size_t k = 0; k < s->layer[i].opened.n_signature; k++)
            if (s->layer[i].opened.signature[k].state == LL_SIGNATURE_GOOD)
                return false;
    return true;
}

/* ---- header fields under the seal (RFC 9788) --------------------------------------------------
 */

/* A valid signature of the payload, for this address or (empty) at all. */
static bool signed_by(const struct ll_unseal_section *s, struct ll_slice address)
{
    for (size_t i = 0; i < s->n_layers; i++)
        for (size_t k = 0; k < s->layer[i].opened.n_signature; k++) {
            const struct ll_signature *by = &s->layer[i].opened.signature[k];

            if (by->state == LL_SIGNATURE_GOOD && !sealed_within(s, i) &&
                (address.n == 0 || speaks_for(by, address)))
                return true;
        }
    return false;
}

static bool header_differs(const struct ll_unseal_section *s)
{
    const struct ll_protected *f = &s->field;

    if (f->kind == LL_PROTECT_KIND_CIPHER)
        return f->flags & LL_PROTECT_OUTER_CHANGED;
    if (f->kind == LL_PROTECT_KIND_NONE || (f->kind == LL_PROTECT_KIND_V1 && s->encrypted))
        return false; /* what v1 hides, it does not say */
    for (size_t i = 0; i < f->n; i++)
        if (f->field[i].mismatch)
            return true;
    return false;
}

/* The fields under the seal, and the author that they make. */
static bool read_fields(struct ll_unseal *u, struct ll_unseal_section *s)
{
    struct ll_protected *f = &s->field;
    enum ll_protect_error e;

    if (s->n_layers == 0 || s->closed || s->mime.n == 0 || s->place == LL_UNSEAL_INLINE)
        return true;
    e = ll_protect_read(s->header, s->payload, s->encrypted, signed_by(s, LL_LIT("")), &u->arena,
                        f);
    if (e == LL_PROTECT_FIELDS)
        ll_unseal_warn(s, LL_UNSEAL_WARN_LIMIT);
    if (e != LL_PROTECT_OK)
        return e != LL_PROTECT_RESOURCE;
    if (f->kind == LL_PROTECT_KIND_NONE)
        return true;
    if (f->flags & LL_PROTECT_FROM_MISMATCH)
        ll_unseal_warn(s, LL_UNSEAL_WARN_FROM_DIFFERS);
    else if (header_differs(s))
        ll_unseal_warn(s, LL_UNSEAL_WARN_HEADER_DIFFERS);
    if (f->flags & LL_PROTECT_DECRYPTED)
        ll_unseal_warn(s, LL_UNSEAL_WARN_DECRYPTED);
    if (f->flags & LL_PROTECT_REENCRYPTED)
        ll_unseal_warn(s, LL_UNSEAL_WARN_REENCRYPTED);
    if (f->flags & LL_PROTECT_TWO_FROM)
        s->author = LL_LIT("");
    else if (f->from_inner.n > 0 &&
             (!(f->flags & LL_PROTECT_FROM_MISMATCH) || signed_by(s, f->from_inner)))
        s->author = f->from_inner;
    return true;
}

bool ll_unseal_judge(struct ll_unseal *u, uint8_t number)
{
    struct ll_unseal_section *s = &u->section[number];
    bool own_header = s->place == LL_UNSEAL_LETTER || s->place == LL_UNSEAL_FORWARDED;
    struct ll_slice spec;

    for (size_t i = 0; i < s->n_layers; i++)
        if (s->layer[i].opened.encrypted && s->layer[i].error == LL_SEAL_OK && !s->closed) {
            s->encrypted = true;
            s->unproven = s->unproven || is_unproven(s, i);
        }
    if (s->unproven)
        ll_unseal_warn(s, LL_UNSEAL_WARN_UNPROVEN);
    if (ll_msg_author(s->header, &u->arena, &spec) == LL_MSG_OK && spec.n <= LL_UNSEAL_ADDRESS_MAX)
        s->author = spec;
    if (!read_fields(u, s))
        return false;
    if (own_header && s->author.n == 0)
        ll_unseal_warn(s, LL_UNSEAL_WARN_NO_AUTHOR);
    if (own_header && name_lies(u, s))
        ll_unseal_warn(s, LL_UNSEAL_WARN_NAME);
    return judge_all(u, number);
}
