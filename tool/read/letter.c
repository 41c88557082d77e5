/* See tool/read/read.h: fields, texts and files of a letter, made fit to be shown. */
#include "io/html.h"
#include "letterlock/authres.h"
#include "letterlock/compose.h"
#include "letterlock/msg.h"
#include "tool/read/read.h"
#include "tool/read/save.h"

#include <errno.h>

/* ---- fields -------------------------------------------------------------------------------------
 */

static void put_field(struct ll_read *r, struct ll_slice body, struct ll_buf *out)
{
    struct ll_buf utf8 = LL_BUF(LL_READ_FIELD);

    ll_charset_field(r->charset, body, &utf8);
    ll_clean(ll_buf_slice(&utf8), LL_CLEAN_LINE, out);
    ll_buf_release(&utf8);
}

static struct ll_slice body_of(const struct ll_unseal_section *s, const char *name,
                               enum ll_protect_state *ret_state)
{
    bool inner = s->author.p && s->author.p == s->field.from_inner.p;
    struct ll_msg_field f;

    *ret_state = LL_PROTECT_STATE_UNPROTECTED;
    if (s->field.n > 0)
        return strcmp(name, "From") == 0 ? ll_protect_from(&s->field, inner, ret_state)
                                         : ll_protect_value(&s->field, name, ret_state);
    return ll_msg_field_find(s->header, ll_slice_str(name), &f) ? f.body : ll_slice(NULL, 0);
}

bool ll_read_field(struct ll_read *r, const struct ll_unseal_section *s, const char *name,
                   struct ll_buf *out, enum ll_protect_state *ret_state, struct ll_buf *ret_outer)
{
    const uint32_t differs =
        1u << LL_UNSEAL_WARN_FROM_DIFFERS | 1u << LL_UNSEAL_WARN_HEADER_DIFFERS;
    const struct ll_protect_field *f = ll_protect_field(&s->field, name);
    struct ll_slice body = body_of(s, name, ret_state);

    if (body.p)
        put_field(r, body, out);
    if (ret_outer && f && f->mismatch && (s->warnings & differs))
        put_field(r, body.p == f->inner.p ? f->outer : f->inner, ret_outer);
    return body.p != NULL;
}

/* ---- texts --------------------------------------------------------------------------------------
 */

static void decoded(const struct ll_unseal_piece *p, struct ll_buf *out)
{
    if (p->part)
        ll_mime_decode((enum ll_mime_encoding)p->part->encoding, p->part->body, out);
    else
        ll_buf_put_slice(out, p->text);
}

static bool is_flowed(const struct ll_unseal_piece *p, bool *ret_delsp)
{
    const struct ll_mime_param *format, *delsp;

    if (!p->part)
        return false;
    format = ll_mime_param(&p->part->type, "format");
    delsp = ll_mime_param(&p->part->type, "delsp");
    *ret_delsp = delsp && ll_slice_caseeq(delsp->value, LL_LIT("yes"));
    return format && ll_slice_caseeq(format->value, LL_LIT("flowed"));
}

/* RFC 9788 2.1.2: a copy of hidden fields at the top is for programs that do not know better. */
static bool has_display(const struct ll_unseal_section *s, const struct ll_unseal_piece *p)
{
    return s->encrypted && s->field.kind == LL_PROTECT_KIND_CIPHER && p->part &&
           ll_protect_has_display(p->part);
}

static void plain_text(const struct ll_unseal_section *s, const struct ll_unseal_piece *p,
                       struct ll_slice utf8, struct ll_buf *out)
{
    struct ll_buf flowed = LL_BUF(2 * utf8.n + 16);
    bool delsp = false;

    if (has_display(s, p))
        utf8 = ll_protect_skip_display(utf8);
    if (is_flowed(p, &delsp)) {
        ll_flowed_decode(utf8, delsp, &flowed);
        utf8 = ll_buf_slice(&flowed);
    }
    ll_clean(utf8, LL_CLEAN_TEXT, out);
    ll_buf_wipe(&flowed);
}

static void html_text(const struct ll_unseal_section *s, const struct ll_unseal_piece *p,
                      struct ll_slice utf8, struct ll_buf *out, struct ll_html_facts *facts)
{
    struct ll_buf page = LL_BUF(utf8.n + 1), text = LL_BUF(2 * utf8.n + (1u << 20));
    size_t from, to;

    if (has_display(s, p) && ll_protect_find_display_html(utf8, &from, &to)) {
        ll_buf_put_slice(&page, ll_slice_cut(utf8, 0, from));
        ll_buf_put_slice(&page, ll_slice_skip(utf8, to));
        utf8 = ll_buf_slice(&page);
    }
    ll_html_text(utf8, &text, facts);
    ll_clean(ll_buf_slice(&text), LL_CLEAN_TEXT, out);
    ll_buf_wipe(&page);
    ll_buf_wipe(&text);
}

void ll_read_text(struct ll_read *r, const struct ll_unseal_section *s,
                  const struct ll_unseal_piece *p, struct ll_buf *out, struct ll_html_facts *facts)
{
    struct ll_buf octets = LL_BUF(LL_READ_OUT), utf8 = LL_BUF(LL_READ_OUT);

    *facts = (struct ll_html_facts){0};
    decoded(p, &octets);
    ll_charset_to_utf8(r->charset, p->charset, ll_buf_slice(&octets), &utf8);
    if (p->kind == LL_UNSEAL_TEXT)
        plain_text(s, p, ll_buf_slice(&utf8), out);
    else if (!s->unproven)
        html_text(s, p, ll_buf_slice(&utf8), out, facts);
    ll_buf_wipe(&octets);
    ll_buf_wipe(&utf8);
}

/* ---- files --------------------------------------------------------------------------------------
 */

bool ll_read_is_file(const struct ll_unseal_piece *p)
{
    return p->part && (p->kind == LL_UNSEAL_ATTACHMENT || p->kind == LL_UNSEAL_SEALED ||
                       (p->kind == LL_UNSEAL_SECTION && (p->part->flags & LL_MIME_MESSAGE)));
}

void ll_read_name(struct ll_read *r, const struct ll_unseal_piece *p, struct ll_buf *out)
{
    struct ll_buf utf8 = LL_BUF(LL_READ_FIELD);
    struct ll_mime_param name;

    if (p->part && ll_mime_filename(p->part, &r->arena, &name)) {
        ll_charset_param(r->charset, &name, &utf8);
        ll_clean(ll_buf_slice(&utf8), LL_CLEAN_LINE, out);
    }
    ll_buf_release(&utf8);
}

bool ll_read_octets(struct ll_read *r, const struct ll_unseal_section *s,
                    const struct ll_unseal_piece *p, struct ll_buf *out)
{
    if (p->kind == LL_UNSEAL_SECTION && r->found->section[p->inner].place == LL_UNSEAL_FORWARDED)
        ll_buf_put_slice(out, p->part->body);
    else if (p->kind == LL_UNSEAL_SECTION || p->kind == LL_UNSEAL_SEALED)
        ll_buf_put_slice(out, p->part->whole); /* with its header: a letter that can be read */
    else
        ll_mime_decode((enum ll_mime_encoding)p->part->encoding, p->part->body, out);
    return !out->failed;
}

bool ll_read_save(struct ll_read *r, const struct ll_unseal_section *s,
                  const struct ll_unseal_piece *p, unsigned number, struct ll_buf *ret_name)
{
    struct ll_buf octets = LL_BUF(LL_READ_OUT), proposed = LL_BUF(LL_READ_FIELD);
    struct ll_buf name = LL_BUF(LL_READ_FIELD);
    int e;

    if (p->kind == LL_UNSEAL_SECTION || p->kind == LL_UNSEAL_SEALED)
        ll_buf_printf(&proposed, "letter-%u.eml", number);
    else
        ll_read_name(r, p, &proposed);
    ll_save_name(ll_buf_slice(&proposed), number, &name);
    ll_read_octets(r, s, p, &octets);
    e = octets.failed
            ? ENOMEM
            : ll_save_file(r->folder, ll_buf_slice(&name), ll_buf_slice(&octets), ret_name);
    if (e != 0)
        r->status = ll_fail(EX_CANTCREAT, "%s: \"%.*s\" could not be saved: %s", r->save,
                            LL_FMT(ll_buf_slice(&name)), strerror(e));
    ll_buf_wipe(&octets);
    ll_buf_release(&proposed);
    ll_buf_release(&name);
    return e == 0;
}

/* ---- what a trusted server said -----------------------------------------------------------------
 */

static void put_results(const struct ll_authres *a, struct ll_buf *out)
{
    for (size_t i = 0; i < a->results; i++) {
        const struct ll_authres_result *one = &a->result[i];
        static const char *const names[] = {"d", "from", "mailfrom", "i", "helo"};

        ll_buf_printf(out, "%s%.*s=%.*s", i ? ", " : "", LL_FMT(one->method), LL_FMT(one->result));
        for (size_t n = 0; n < LL_COUNT(names); n++)
            for (size_t k = 0; k < one->properties; k++)
                if (ll_slice_caseeq(one->property[k].name, ll_slice_str(names[n]))) {
                    ll_buf_printf(out, " (%.*s)", LL_FMT(one->property[k].value));
                    n = LL_COUNT(names);
                    break;
                }
    }
}

bool ll_read_server(struct ll_read *r, struct ll_buf *ret_name, struct ll_buf *ret_says)
{
    struct ll_slice rest = r->found->section[0].header;
    struct ll_msg_field f;
    struct ll_authres a;

    while (ll_msg_field_next(&rest, &f)) {
        if (!ll_slice_caseeq(f.name, LL_LIT("Authentication-Results")) ||
            !ll_authres_parse(f.body, &r->arena, &a, NULL))
            continue;
        for (size_t i = 0; i < r->servers.n; i++)
            if (ll_slice_caseeq(a.id, ll_slice_str(r->servers.v[i]))) {
                ll_buf_puts(ret_name, r->servers.v[i]);
                put_results(&a, ret_says);
                return true;
            }
    }
    return false;
}

/* ---- verdicts in words ------------------------------------------------------------------------
 */

bool ll_read_proven(const struct ll_unseal_section *s, struct ll_buf *ret_words)
{
    bool failed = false;

    for (size_t i = 0; i < s->n_signatures; i++)
        if (s->signature[i].verdict == LL_UNSEAL_PROVEN && !s->closed) {
            ll_buf_puts(ret_words, "yes: ");
            ll_buf_puts(ret_words, ll_unseal_verdict_text(LL_UNSEAL_PROVEN)->text);
            return true;
        }
    for (size_t i = 0; i < s->n_layers; i++)
        failed = failed || s->layer[i].error != LL_SEAL_OK;
    ll_buf_puts(ret_words,
                s->closed             ? "NO: the seal could not be opened"
                : s->n_signatures > 0 ? "NO: its signature does not prove who wrote it"
                : failed              ? "NO: its signature cannot be read"
                : s->place == LL_UNSEAL_LETTER && (s->warnings & 1u << LL_UNSEAL_WARN_WRAPPED)
                    ? "NO: what stands here is not signed; see the parts below"
                    : "NO: it is not signed");
    return false;
}

static const char *method_name(enum ll_seal_method m)
{
    return m == LL_SEAL_PGP ? "OpenPGP" : "S/MIME";
}

void ll_read_sealed(const struct ll_unseal_section *s, struct ll_buf *out)
{
    const struct ll_unseal_layer *sealed = NULL;

    for (size_t i = 0; i < s->n_layers; i++) {
        if (s->layer[i].error != LL_SEAL_OK && s->closed) {
            ll_buf_printf(out, "yes, with %s, and closed: %s", method_name(s->layer[i].method),
                          ll_seal_error_text(s->layer[i].error));
            return;
        }
        if (s->layer[i].opened.encrypted)
            sealed = &s->layer[i];
    }
    if (!sealed) {
        ll_buf_puts(out, "no: all servers on its way could read it");
        return;
    }
    ll_buf_printf(out, "yes, with %s (%.*s)%s%s", method_name(sealed->method),
                  LL_FMT(sealed->opened.cipher),
                  sealed->opened.weak ? ", which is weak: others may have read it" : "",
                  s->unproven ? "; whether it was changed on its way is not shown"
                              : "; the text was not changed on its way");
}
