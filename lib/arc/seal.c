/* Adding a set to a chain (RFC 8617 5.1). See letterlock/arc.h. */
#include "lib/arc/arc.h"

#include <stdlib.h>

enum step { SEAL_LETTER, SEAL_MESSAGE, SEAL_MESSAGE_ASKED, SEAL_SEAL_ASKED, SEAL_DONE };

struct ll_arc_sealer {
    struct ll_dkim_letter *letter;
    const struct ll_arc *arc;
    enum step step;
    enum ll_dkim_algorithm algorithm;
    struct ll_dns_name domain, selector;
    struct ll_buf fields, results; /* h=, "id; results" */
    int64_t now;
    bool sorted;
    struct ll_buf aar, ams, seal; /* the fields */
    struct ll_buf text;           /* what is signed */
};

static const char *const signed_fields[] = {
#define ROW(name, over) (name),
    LL_DKIM_SIGNED(ROW)
#undef ROW
};

/* h=: what is there, and existing DKIM signatures (RFC 8617 4.1.2 SHOULD). Nothing is oversigned:
 * the next hosts of a chain are to change things. */
static void choose_fields(struct ll_arc_sealer *s)
{
    for (size_t i = 0; i <= LL_COUNT(signed_fields); i++) {
        const char *name = i < LL_COUNT(signed_fields) ? signed_fields[i] : "dkim-signature";
        size_t n = ll_dkim_letter_count(s->letter, ll_slice_str(name));

        for (; n > 0; n--)
            ll_buf_printf(&s->fields, "%s%s", s->fields.n ? ":" : "", name);
    }
}

static bool take_fields(struct ll_arc_sealer *s, struct ll_slice list)
{
    struct ll_slice name;

    if (list.n == 0) {
        choose_fields(s);
        return !s->fields.failed;
    }
    while (ll_slice_next(&list, ':', &name)) {
        name = ll_dkim_trim_fws(name);
        for (size_t i = 0; i < name.n; i++)
            if (name.p[i] <= ' ' || name.p[i] >= 0x7f || name.p[i] == ';')
                return false;
        /* RFC 8617 4.1.2: neither ARC's own fields nor Authentication-Results. */
        if (name.n == 0 || ll_slice_casestarts(name, LL_LIT("arc-")) ||
            ll_slice_caseeq(name, LL_LIT("authentication-results")))
            return false;
        ll_buf_printf(&s->fields, "%s%.*s", s->fields.n ? ":" : "", LL_FMT(name));
    }
    return !s->fields.failed;
}

/* Text of ours goes into a field as it is: it must be one line of printable octets. */
static bool take_results(struct ll_arc_sealer *s, struct ll_slice id, struct ll_slice results)
{
    if (results.n == 0)
        results = LL_LIT("none");
    for (size_t i = 0; i < id.n; i++)
        if (!ll_is_alnum(id.p[i]) && id.p[i] != '.' && id.p[i] != '-' && id.p[i] < 0x80)
            return false;
    for (size_t i = 0; i < results.n; i++)
        if (results.p[i] < ' ' || results.p[i] == 0x7f)
            return false;
    ll_buf_put_slice(&s->results, id);
    ll_buf_puts(&s->results, "; ");
    ll_buf_put_slice(&s->results, results);
    return id.n > 0 && !s->results.failed;
}

struct ll_arc_sealer *ll_arc_sealer_new(struct ll_dkim_letter *letter, const struct ll_arc *arc,
                                        const struct ll_arc_seal_options *o)
{
    struct ll_arc_sealer *s;

    if (!letter->ready || letter->fault != LL_DKIM_FAULT_OK)
        return NULL;
    s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->letter = letter;
    s->arc = arc;
    s->algorithm = o->algorithm;
    s->now = o->now;
    s->sorted = o->sorted;
    ll_buf_init(&s->fields, 65536);
    ll_buf_init(&s->results, 65536);
    ll_buf_init(&s->aar, 131072);
    ll_buf_init(&s->ams, 131072);
    ll_buf_init(&s->seal, 4096);
    ll_buf_init(&s->text, 2 * LL_DKIM_HEADER_MAX);
    if (!ll_dkim_domain(o->domain, false, &s->domain) ||
        !ll_dkim_domain(o->selector, true, &s->selector) || !take_fields(s, o->fields) ||
        !take_results(s, o->id, o->results) ||
        !ll_dkim_letter_want(letter, LL_DKIM_RELAXED, false, 0)) {
        ll_arc_sealer_free(s);
        return NULL;
    }
    return s;
}

void ll_arc_sealer_free(struct ll_arc_sealer *s)
{
    if (!s)
        return;
    ll_buf_release(&s->fields);
    ll_buf_release(&s->results);
    ll_buf_release(&s->aar);
    ll_buf_release(&s->ams);
    ll_buf_release(&s->seal);
    ll_buf_release(&s->text);
    free(s);
}

/* ---- the fields ---------------------------------------------------------------------------------
 */

static unsigned instance(const struct ll_arc_sealer *s)
{
    return s->arc->highest + 1;
}

/* Folded at blanks, for a long line of results would be no line. */
static void build_results(struct ll_arc_sealer *s)
{
    struct ll_slice rest = ll_buf_slice(&s->results), part;
    bool first = true;

    ll_buf_clear(&s->aar);
    ll_buf_printf(&s->aar, "ARC-Authentication-Results: i=%u; ", instance(s));
    while (ll_slice_next(&rest, ';', &part)) {
        part = ll_slice_trim(part);
        ll_buf_printf(&s->aar, "%s%.*s", first ? "" : ";\r\n\t", LL_FMT(part));
        first = false;
    }
    ll_buf_puts(&s->aar, "\r\n");
}

/* "tag=" in its place: a seal has no h= and bh=, a message signature no cv=. signature NULL: b=
 * stays empty. */
static void build_tag(struct ll_arc_sealer *s, char tag, const struct ll_slice *signature,
                      struct ll_buf *out)
{
    switch (tag) {
    case 'a':
        ll_buf_printf(out, " a=%s;", ll_dkim_algorithm_name(s->algorithm));
        break;
    case 'b':
        ll_buf_puts(out, "\r\n\tb=");
        if (signature && s->sorted) /* in one piece, as those that sort do */
            ll_base64_encode(out, *signature);
        else if (signature)
            ll_dkim_put_base64(out, *signature);
        ll_buf_puts(out, ";");
        break;
    case 'c':
        ll_buf_printf(out, " cv=%s;",
                      s->arc->highest == 0 ? "none" : ll_arc_word(s->arc->result.code));
        break;
    case 'd':
        ll_buf_printf(out, "\r\n\td=%s;", s->domain.text);
        break;
    case 'h':
        ll_buf_puts(out, " h=");
        ll_dkim_put_list(out, ll_buf_slice(&s->fields), 40);
        ll_buf_puts(out, ";");
        break;
    case 'H':
        ll_buf_puts(out, "\r\n\tbh=");
        ll_base64_encode(out, ll_slice(s->letter->body[LL_DKIM_RELAXED]->hash, LL_DKIM_HASH));
        ll_buf_puts(out, "; c=relaxed/relaxed;");
        break;
    case 'i':
        ll_buf_printf(out, " i=%u;", instance(s));
        break;
    case 's':
        ll_buf_printf(out, " s=%s;", s->selector.text);
        break;
    default:
        ll_buf_printf(out, " t=%lld;", (long long)s->now);
    }
}

/* The field without CR LF and without a ";" at its end. */
static void build_field(struct ll_arc_sealer *s, bool seal, const struct ll_slice *signature,
                        struct ll_buf *out)
{
    static const char *const orders[2][2] = {{"iadstHhb", "iacdstb"}, {"abHdhist", "abcdist"}};

    ll_buf_clear(out);
    ll_buf_puts(out, seal ? "ARC-Seal:" : "ARC-Message-Signature:");
    for (const char *tag = orders[s->sorted][seal]; *tag; tag++)
        build_tag(s, *tag, signature, out);
    if (!out->failed)
        out->n--;
}

static void message_text(struct ll_arc_sealer *s)
{
    ll_buf_clear(&s->text);
    ll_dkim_letter_fields(s->letter, LL_DKIM_RELAXED, ll_buf_slice(&s->fields), UINT32_MAX,
                          &s->text);
    ll_dkim_canon_own(LL_DKIM_RELAXED, ll_buf_slice(&s->ams), ll_slice(NULL, 0), &s->text);
}

/* RFC 8617 5.1.1; of a broken chain only the new set (5.1.2). */
static void seal_text(struct ll_arc_sealer *s)
{
    const struct ll_arc *a = s->arc;
    const struct ll_dkim_field *field = s->letter->field;

    ll_buf_clear(&s->text);
    for (unsigned i = 1; i <= a->highest && a->result.code == LL_ARC_PASS; i++) {
        ll_dkim_canon_field(LL_DKIM_RELAXED, field[a->set[i].aar].raw, &s->text);
        ll_dkim_canon_field(LL_DKIM_RELAXED, field[a->set[i].ams].raw, &s->text);
        ll_dkim_canon_field(LL_DKIM_RELAXED, field[a->set[i].seal].raw, &s->text);
    }
    ll_dkim_canon_field(LL_DKIM_RELAXED, ll_buf_slice(&s->aar), &s->text);
    ll_dkim_canon_field(LL_DKIM_RELAXED, ll_buf_slice(&s->ams), &s->text);
    ll_dkim_canon_own(LL_DKIM_RELAXED, ll_buf_slice(&s->seal), ll_slice(NULL, 0), &s->text);
}

/* ---- asking -------------------------------------------------------------------------------------
 */

bool ll_arc_sealer_need(struct ll_arc_sealer *s, struct ll_need *ret)
{
    bool seal = s->ams.n > 0 && s->step == SEAL_MESSAGE;

    if (s->step == SEAL_LETTER && s->letter->ended && s->arc->result.fault != LL_ARC_FAULT_WAITS &&
        !ll_arc_over(s->arc) && s->arc->highest < LL_ARC_SETS_MAX) {
        build_results(s);
        build_field(s, false, NULL, &s->ams);
        message_text(s);
        s->step = SEAL_MESSAGE_ASKED;
    } else if (seal) {
        build_field(s, true, NULL, &s->seal);
        seal_text(s);
        s->step = SEAL_SEAL_ASKED;
    } else {
        return false;
    }
    if (s->text.failed || s->ams.failed || s->aar.failed || s->seal.failed) {
        s->step = SEAL_LETTER;
        ll_buf_clear(&s->ams);
        return false;
    }
    *ret = (struct ll_need){.id = seal, .kind = LL_NEED_SIGN};
    ret->sign.domain = s->domain;
    ret->sign.selector = s->selector;
    ret->sign.algorithm = ll_slice_str(ll_dkim_algorithm_name(s->algorithm));
    ret->sign.text = ll_buf_slice(&s->text);
    return true;
}

void ll_arc_sealer_answer(struct ll_arc_sealer *s, const struct ll_need_answer *a)
{
    bool seal = a->id == 1;
    struct ll_buf *field = seal ? &s->seal : &s->ams;

    if (s->step != (seal ? SEAL_SEAL_ASKED : SEAL_MESSAGE_ASKED) || a->id > 1 ||
        a->signature.n == 0 || a->signature.n > LL_DKIM_SIGNATURE_ROOM)
        return;
    build_field(s, seal, &a->signature, field);
    ll_buf_puts(field, "\r\n");
    if (!field->failed)
        s->step = seal ? SEAL_DONE : SEAL_MESSAGE;
}

bool ll_arc_sealer_set(const struct ll_arc_sealer *s, struct ll_buf *out)
{
    if (s->step != SEAL_DONE)
        return false;
    ll_buf_put_slice(out, ll_buf_slice(&s->seal));
    ll_buf_put_slice(out, ll_buf_slice(&s->ams));
    ll_buf_put_slice(out, ll_buf_slice(&s->aar));
    return !out->failed;
}
