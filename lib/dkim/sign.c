/* Making DKIM signatures (RFC 6376 5). See letterlock/dkim.h. */
#include "lib/dkim/parts.h"

#include <stdlib.h>

#define LIST_MAX (64u * 1024) /* octets of h= */

struct ll_dkim_signer {
    struct ll_dkim_letter *letter;
    struct ll_dkim_sign_options o; /* its slices are not used after the start */
    struct ll_dns_name domain, selector;
    struct ll_buf fields; /* h= */
    struct ll_buf identity;
    struct ll_buf field; /* the field; b= is still empty until the answer */
    struct ll_buf text;  /* what is signed */
    bool asked, answered;
};

static const struct {
    const char *name;
    bool over;
} signed_fields[] = {
#define ROW(name, over) {(name), (over)},
    LL_DKIM_SIGNED(ROW)
#undef ROW
};

/* h= by the table: each field as often as it is there, and once more where that is said. */
static void choose_fields(const struct ll_dkim_letter *l, struct ll_buf *out)
{
    for (size_t i = 0; i < LL_COUNT(signed_fields); i++) {
        size_t n = ll_dkim_letter_count(l, ll_slice_str(signed_fields[i].name));

        for (n += signed_fields[i].over; n > 0; n--)
            ll_buf_printf(out, "%s%s", out->n ? ":" : "", signed_fields[i].name);
    }
}

/* i= as dkim-quoted-printable: "@" and what is below d=, or a mailbox there. */
static bool take_identity(struct ll_dkim_signer *s, struct ll_slice in)
{
    struct ll_slice domain = ll_slice_skip(in, ll_slice_rfind(in, '@') + 1);
    struct ll_dns_name name;

    if (in.n == 0)
        return true;
    if (ll_slice_rfind(in, '@') == in.n || !ll_dkim_domain(domain, false, &name) ||
        !ll_dns_name_under(ll_dns_name_slice(&name), ll_dns_name_slice(&s->domain)))
        return false;
    for (size_t i = 0; i < in.n - domain.n; i++) {
        uint8_t c = in.p[i];

        if (c > ' ' && c < 0x7f && c != '=' && c != ';')
            ll_buf_putc(&s->identity, c);
        else
            ll_buf_printf(&s->identity, "=%02X", c);
    }
    ll_buf_puts(&s->identity, name.text);
    return !s->identity.failed;
}

static bool take_fields(struct ll_dkim_signer *s, struct ll_slice list)
{
    struct ll_slice name;

    if (list.n == 0) {
        choose_fields(s->letter, &s->fields);
        return !s->fields.failed;
    }
    while (ll_slice_next(&list, ':', &name)) {
        name = ll_dkim_trim_fws(name);
        for (size_t i = 0; i < name.n; i++)
            if (name.p[i] <= ' ' || name.p[i] >= 0x7f || name.p[i] == ';')
                return false;
        if (name.n == 0)
            return false;
        ll_buf_printf(&s->fields, "%s%.*s", s->fields.n ? ":" : "", LL_FMT(name));
    }
    return !s->fields.failed && ll_dkim_list_has(ll_buf_slice(&s->fields), "from");
}

struct ll_dkim_signer *ll_dkim_signer_new(struct ll_dkim_letter *letter,
                                          const struct ll_dkim_sign_options *o)
{
    struct ll_dkim_signer *s;

    if (!letter->ready || letter->fault != LL_DKIM_FAULT_OK ||
        ll_dkim_letter_count(letter, LL_LIT("from")) == 0)
        return NULL;
    s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->letter = letter;
    s->o = *o;
    ll_buf_init(&s->fields, LIST_MAX);
    ll_buf_init(&s->identity, 512);
    ll_buf_init(&s->field, LIST_MAX + 4096);
    ll_buf_init(&s->text, 2 * LL_DKIM_HEADER_MAX);
    if (!ll_dkim_domain(o->domain, false, &s->domain) ||
        !ll_dkim_domain(o->selector, true, &s->selector) || !take_identity(s, o->identity) ||
        !take_fields(s, o->fields) || !ll_dkim_letter_want(letter, o->body, false, 0)) {
        ll_dkim_signer_free(s);
        return NULL;
    }
    return s;
}

void ll_dkim_signer_free(struct ll_dkim_signer *s)
{
    if (!s)
        return;
    ll_buf_release(&s->fields);
    ll_buf_release(&s->identity);
    ll_buf_release(&s->field);
    ll_buf_release(&s->text);
    free(s);
}

/* A list divided by colons, in lines of LL_MSG_LINE_GOOD octets; column: where it begins. */
void ll_dkim_put_list(struct ll_buf *out, struct ll_slice list, size_t column)
{
    struct ll_slice name;
    bool first = true;

    while (ll_slice_next(&list, ':', &name)) {
        if (!first) {
            ll_buf_putc(out, ':');
            column++;
        }
        if (!first && column + name.n + 1 > LL_MSG_LINE_GOOD) {
            ll_buf_puts(out, "\r\n\t");
            column = 8;
        }
        ll_buf_put_slice(out, name);
        column += name.n;
        first = false;
    }
}

void ll_dkim_put_base64(struct ll_buf *out, struct ll_slice raw)
{
    struct ll_buf text = LL_BUF(2 * LL_DKIM_SIGNATURE_ROOM);
    struct ll_slice rest;

    ll_base64_encode(&text, raw);
    rest = ll_buf_slice(&text);
    ll_buf_put_slice(out, ll_slice_cut(rest, 0, 70));
    for (rest = ll_slice_skip(rest, 70); rest.n > 0; rest = ll_slice_skip(rest, 72)) {
        ll_buf_puts(out, "\r\n\t");
        ll_buf_put_slice(out, ll_slice_cut(rest, 0, 72));
    }
    out->failed |= text.failed;
    ll_buf_release(&text);
}

static const char *canon_word(enum ll_dkim_canon c)
{
    return c == LL_DKIM_SIMPLE ? "simple" : "relaxed";
}

/* The field without its signature: b= stands last, so that what is signed is its beginning. */
static void build(struct ll_dkim_signer *s)
{
    struct ll_buf *out = &s->field;

    ll_buf_printf(out, "DKIM-Signature: v=1; a=%s; c=%s/%s;\r\n\td=%s; s=%s;",
                  ll_dkim_algorithm_name(s->o.algorithm), canon_word(s->o.header),
                  canon_word(s->o.body), s->domain.text, s->selector.text);
    if (s->identity.n)
        ll_buf_printf(out, "\r\n\ti=%.*s;", LL_FMT(ll_buf_slice(&s->identity)));
    ll_buf_printf(out, "\r\n\tt=%lld;", (long long)s->o.now);
    if (s->o.expire_s)
        ll_buf_printf(out, " x=%lld;", (long long)s->o.now + s->o.expire_s);
    ll_buf_puts(out, " h=");
    ll_dkim_put_list(out, ll_buf_slice(&s->fields), 40);
    ll_buf_puts(out, ";\r\n\tbh=");
    ll_base64_encode(out, ll_slice(s->letter->body[s->o.body]->hash, LL_DKIM_HASH));
    ll_buf_puts(out, ";\r\n\tb=");
}

bool ll_dkim_signer_need(struct ll_dkim_signer *s, struct ll_need *ret)
{
    struct ll_slice list = ll_buf_slice(&s->fields);

    if (s->asked || !s->letter->ended || s->letter->fault != LL_DKIM_FAULT_OK)
        return false;
    s->asked = true;
    build(s);
    ll_dkim_letter_fields(s->letter, s->o.header, list, UINT32_MAX, &s->text);
    ll_dkim_canon_own(s->o.header, ll_buf_slice(&s->field), ll_slice(NULL, 0), &s->text);
    s->letter->work.header_hashes++;
    s->letter->work.octets += s->text.n;
    if (s->field.failed || s->text.failed)
        return false;
    *ret = (struct ll_need){.id = 0, .kind = LL_NEED_SIGN};
    ret->sign.domain = s->domain;
    ret->sign.selector = s->selector;
    ret->sign.algorithm = ll_slice_str(ll_dkim_algorithm_name(s->o.algorithm));
    ret->sign.text = ll_buf_slice(&s->text);
    return true;
}

void ll_dkim_signer_answer(struct ll_dkim_signer *s, const struct ll_need_answer *a)
{
    if (!s->asked || s->answered || a->id != 0 || a->signature.n == 0 ||
        a->signature.n > LL_DKIM_SIGNATURE_ROOM)
        return;
    ll_dkim_put_base64(&s->field, a->signature);
    ll_buf_puts(&s->field, "\r\n");
    s->answered = !s->field.failed;
}

bool ll_dkim_signer_field(const struct ll_dkim_signer *s, struct ll_buf *out)
{
    if (!s->answered)
        return false;
    ll_buf_put_slice(out, ll_buf_slice(&s->field));
    return !out->failed;
}
