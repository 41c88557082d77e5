/* See tool/read/read.h: a letter for programs. */
#include "io/html.h"
#include "tool/read/read.h"

#include <stdio.h>

static const char *const field_names[] = {"From", "Sender", "Reply-To",   "To",
                                          "Cc",   "Date",   "Message-ID", "Subject"};
static const char *const place_words[] = {"letter", "wrapped", "inline", "forwarded"};

/* Octets of strangers: terminals get to see JSON too. */
static void str(struct ll_json *j, const char *key, struct ll_slice value)
{
    struct ll_buf clean = LL_BUF(3 * value.n + 16);

    ll_clean(value, LL_CLEAN_LINE, &clean);
    if (value.n > 0)
        ll_json_str(j, key, ll_buf_slice(&clean));
    ll_buf_release(&clean);
}

static void fields(struct ll_read *r, const struct ll_unseal_section *s, struct ll_json *j)
{
    struct ll_buf value = LL_BUF(LL_READ_FIELD), outer = LL_BUF(LL_READ_FIELD);

    ll_json_key(j, "fields");
    ll_json_open(j, '[');
    for (size_t i = 0; i < LL_COUNT(field_names); i++) {
        enum ll_protect_state state;

        ll_buf_clear(&value);
        ll_buf_clear(&outer);
        if (!ll_read_field(r, s, field_names[i], &value, &state, &outer))
            continue;
        ll_json_open(j, '{');
        ll_json_cstr(j, "name", field_names[i]);
        ll_json_str(j, "value", ll_buf_slice(&value));
        ll_json_cstr(j, "protection", ll_protect_state_word(state));
        str(j, "other", ll_buf_slice(&outer));
        ll_json_close(j);
    }
    ll_json_close(j);
    ll_buf_release(&value);
    ll_buf_release(&outer);
}

static void signature(const struct ll_unseal_signature *g, struct ll_json *j)
{
    ll_json_open(j, '{');
    ll_json_cstr(j, "verdict", ll_unseal_verdict_text(g->verdict)->word);
    ll_json_cstr(j, "words", ll_unseal_verdict_text(g->verdict)->text);
    ll_json_cstr(j, "state", ll_signature_state_word(g->by->state));
    ll_json_cstr(j, "method", ll_seal_method_word(g->method));
    ll_json_bool(j, "author", g->author);
    ll_json_cstr(j, "trust", ll_unseal_trust_text(g->trust)->word);
    str(j, "fingerprint", g->by->fingerprint);
    str(j, "key_id", g->by->key_id);
    str(j, "name", g->by->name);
    str(j, "issuer", g->by->issuer);
    str(j, "algorithm", g->by->algorithm);
    str(j, "detail", g->by->detail);
    if (g->by->made != 0)
        ll_json_int(j, "made", g->by->made);
    ll_json_key(j, "addresses");
    ll_json_open(j, '[');
    for (size_t i = 0; i < g->by->n_address; i++)
        str(j, NULL, g->by->address[i]);
    ll_json_close(j);
    ll_json_close(j);
}

static void seal(const struct ll_unseal_section *s, struct ll_json *j)
{
    struct ll_buf words = LL_BUF(4096);
    const struct ll_unseal_layer *l = NULL;

    for (size_t i = 0; i < s->n_layers; i++)
        if (s->layer[i].opened.encrypted || s->layer[i].error != LL_SEAL_OK)
            l = &s->layer[i];
    ll_read_sealed(s, &words);
    ll_json_key(j, "sealed");
    ll_json_open(j, '{');
    ll_json_cstr(j, "state",
                 s->closed      ? "closed"
                 : s->unproven  ? "unproven"
                 : s->encrypted ? "yes"
                                : "no");
    ll_json_str(j, "words", ll_buf_slice(&words));
    if (l && (s->closed || s->encrypted)) {
        ll_json_cstr(j, "method", ll_seal_method_word(l->method));
        str(j, "cipher", l->opened.cipher);
        if (l->opened.weak)
            ll_json_bool(j, "weak", true);
    }
    if (l && l->error != LL_SEAL_OK)
        ll_json_cstr(j, "error", ll_seal_error_text(l->error));
    ll_json_close(j);
    ll_buf_release(&words);
}

static void warnings(const struct ll_unseal_section *s, struct ll_json *j)
{
    ll_json_key(j, "warnings");
    ll_json_open(j, '[');
    for (unsigned w = 0; w < LL_UNSEAL_WARNING_COUNT; w++) {
        const struct ll_unseal_text *t = ll_unseal_warning_text((enum ll_unseal_warning)w);

        if (!(s->warnings & (1u << w)))
            continue;
        ll_json_open(j, '{');
        ll_json_cstr(j, "id", t->word);
        ll_json_cstr(j, "text", t->text);
        ll_json_close(j);
    }
    ll_json_close(j);
}

static void html_facts(const struct ll_html_facts *f, struct ll_json *j)
{
    ll_json_int(j, "remote", f->remote);
    ll_json_int(j, "hidden", (int64_t)f->hidden);
    ll_json_int(j, "lying_links", f->lies);
    ll_json_int(j, "forms", f->forms);
    ll_json_int(j, "scripts", f->scripts);
}

static void file(struct ll_read *r, const struct ll_unseal_section *s,
                 const struct ll_unseal_piece *p, struct ll_json *j)
{
    struct ll_buf name = LL_BUF(LL_READ_FIELD), octets = LL_BUF(LL_READ_OUT);
    struct ll_buf saved = LL_BUF(LL_READ_FIELD);
    unsigned number = ++r->n_files;

    ll_read_name(r, p, &name);
    ll_read_octets(r, s, p, &octets);
    ll_json_int(j, "number", number);
    ll_json_int(j, "size", (int64_t)octets.n);
    str(j, "name", ll_buf_slice(&name));
    if (r->save && ll_read_save(r, s, p, number, &saved))
        ll_json_str(j, "saved", ll_buf_slice(&saved));
    ll_buf_wipe(&octets);
    ll_buf_release(&name);
    ll_buf_release(&saved);
}

static void piece(struct ll_read *r, const struct ll_unseal_section *s,
                  const struct ll_unseal_piece *p, struct ll_json *j)
{
    static const char *const kinds[] = {"text",   "html",        "attachment",
                                        "sealed", "alternative", "section"};
    struct ll_buf text = LL_BUF(LL_READ_OUT), type = LL_BUF(LL_READ_FIELD);
    struct ll_html_facts facts;

    ll_json_open(j, '{');
    ll_json_cstr(j, "kind", kinds[p->kind]);
    if (p->part) {
        ll_buf_printf(&text, "%.*s/%.*s", LL_FMT(p->part->type.type),
                      LL_FMT(p->part->type.subtype));
        ll_clean(ll_buf_slice(&text), LL_CLEAN_LINE, &type);
        ll_json_str(j, "type", ll_buf_slice(&type));
        ll_buf_clear(&text);
    }
    if (p->kind == LL_UNSEAL_SECTION)
        ll_json_int(j, "section", p->inner);
    if (p->kind == LL_UNSEAL_TEXT || p->kind == LL_UNSEAL_HTML) {
        ll_read_text(r, s, p, &text, &facts);
        ll_json_str(j, "text", ll_buf_slice(&text));
        if (p->kind == LL_UNSEAL_HTML)
            html_facts(&facts, j);
    }
    if (ll_read_is_file(p))
        file(r, s, p, j);
    ll_json_close(j);
    ll_buf_wipe(&text);
    ll_buf_release(&type);
}

static void section(struct ll_read *r, const struct ll_unseal_section *s, struct ll_json *j)
{
    struct ll_buf words = LL_BUF(4096);

    ll_json_open(j, '{');
    ll_json_cstr(j, "place", place_words[s->place]);
    ll_json_bool(j, "proven", ll_read_proven(s, &words));
    ll_json_str(j, "words", ll_buf_slice(&words));
    str(j, "author", s->author);
    fields(r, s, j);
    seal(s, j);
    ll_json_key(j, "signatures");
    ll_json_open(j, '[');
    for (size_t i = 0; i < s->n_signatures; i++)
        signature(&s->signature[i], j);
    ll_json_close(j);
    warnings(s, j);
    ll_json_key(j, "parts");
    ll_json_open(j, '[');
    for (size_t i = 0; i < s->n_pieces; i++)
        piece(r, s, &s->piece[i], j);
    ll_json_close(j);
    ll_json_close(j);
    ll_buf_release(&words);
}

void ll_read_json(struct ll_read *r, struct ll_slice warnings_of_keys, struct ll_buf *out)
{
    struct ll_buf name = LL_BUF(1024), says = LL_BUF(65536);
    struct ll_json json = LL_JSON(out), *j = &json;
    struct ll_slice one;

    ll_json_open(j, '{');
    if (ll_read_server(r, &name, &says)) {
        ll_json_str(j, "server", ll_buf_slice(&name));
        ll_json_str(j, "server_says", ll_buf_slice(&says));
    }
    ll_json_key(j, "key_warnings");
    ll_json_open(j, '[');
    while (ll_slice_next(&warnings_of_keys, '\n', &one))
        if (one.n > 0)
            str(j, NULL, one);
    ll_json_close(j);
    ll_json_key(j, "sections");
    ll_json_open(j, '[');
    for (size_t i = 0; i < r->found->n; i++)
        section(r, &r->found->section[i], j);
    ll_json_close(j);
    ll_json_close(j);
    ll_buf_putc(out, '\n');
    ll_buf_release(&name);
    ll_buf_release(&says);
}
