/* See tool/read/read.h: a letter for people. What we say begins in the first column, what the
 * letter says has a margin (page.h). */
#include "io/html.h"
#include "letterlock/addr.h"
#include "tool/read/read.h"

#define MARGIN "| "

static const char *const shown_fields[] = {"From", "Sender", "Reply-To", "To",
                                           "Cc",   "Date",   "Subject"};

/* ---- the header ---------------------------------------------------------------------------------
 */

/* An address with letters beyond ASCII, as the servers write it: they cannot be mistaken. */
static void show_ascii(struct ll_page *page, struct ll_slice author)
{
    struct ll_mailbox m;

    if (!ll_is_ascii(author) && ll_mailbox_parse(author, true, &m) == LL_ADDR_OK)
        ll_page_fieldf(page, "From is", "%s", m.text);
}

static void show_fields(struct ll_read *r, const struct ll_unseal_section *s, struct ll_page *page)
{
    struct ll_buf value = LL_BUF(LL_READ_FIELD), outer = LL_BUF(LL_READ_FIELD);
    enum ll_protect_state state;

    for (size_t i = 0; i < LL_COUNT(shown_fields); i++) {
        ll_buf_clear(&value);
        ll_buf_clear(&outer);
        if (ll_read_field(r, s, shown_fields[i], &value, &state, &outer))
            ll_page_field(page, shown_fields[i], ll_buf_slice(&value));
        if (outer.n > 0)
            ll_page_fieldf(page, "", "(the other one says: %.*s)", LL_FMT(ll_buf_slice(&outer)));
        if (i == 0)
            show_ascii(page, s->author);
    }
    ll_buf_release(&value);
    ll_buf_release(&outer);
}

/* A signature that fits the text, made within the seal if there is one. */
static bool has_good_signature(const struct ll_unseal_section *s)
{
    for (size_t i = 0; i < s->n_signatures; i++)
        if (s->signature[i].by->state == LL_SIGNATURE_GOOD &&
            s->signature[i].verdict != LL_UNSEAL_OUTSIDE)
            return true;
    return false;
}

static bool is_covered(enum ll_protect_state state, bool signed_)
{
    return signed_ ? state == LL_PROTECT_STATE_SIGNED || state == LL_PROTECT_STATE_BOTH
                   : state == LL_PROTECT_STATE_ENCRYPTED || state == LL_PROTECT_STATE_BOTH;
}

/* It stands outside with the same value, so nothing was hidden, whatever the state says: programs
 * that write no HP-Outer make all fields count as sealed (RFC 9788 4.3). */
static bool stood_outside(const struct ll_unseal_section *s, const char *name)
{
    const struct ll_protect_field *f = ll_protect_field(&s->field, name);

    return f && f->outer.p && !f->mismatch;
}

/* Names of the fields above that the signature covers (or, signed_ false, that were hidden). */
static void list_fields(struct ll_read *r, const struct ll_unseal_section *s, bool signed_,
                        struct ll_buf *yes, struct ll_buf *no)
{
    struct ll_buf value = LL_BUF(LL_READ_FIELD);

    for (size_t i = 0; i < LL_COUNT(shown_fields); i++) {
        enum ll_protect_state state;
        struct ll_buf *to;

        ll_buf_clear(&value);
        if (!ll_read_field(r, s, shown_fields[i], &value, &state, NULL))
            continue;
        to = is_covered(state, signed_) && (signed_ || !stood_outside(s, shown_fields[i])) ? yes
                                                                                           : no;
        ll_buf_printf(to, "%s%s", to->n > 0 ? ", " : "", shown_fields[i]);
    }
    ll_buf_release(&value);
}

static void show_covered(struct ll_read *r, const struct ll_unseal_section *s, struct ll_page *page)
{
    struct ll_buf yes = LL_BUF(1024), no = LL_BUF(1024);

    if (has_good_signature(s)) {
        list_fields(r, s, true, &yes, &no);
        ll_page_fieldf(page, "Covered", "the text and its attachments%s%.*s",
                       yes.n > 0 ? ", and " : "", LL_FMT(ll_buf_slice(&yes)));
        if (no.n > 0)
            ll_page_fieldf(page, "Not covered",
                           "%.*s: whoever carried the letter could have written them",
                           LL_FMT(ll_buf_slice(&no)));
        ll_buf_clear(&yes);
        ll_buf_clear(&no);
    }
    if (s->encrypted)
        list_fields(r, s, false, &yes, &no);
    if (yes.n > 0)
        ll_page_fieldf(page, "Hidden", "%.*s, with the text, from all servers on the way",
                       LL_FMT(ll_buf_slice(&yes)));
    ll_buf_release(&yes);
    ll_buf_release(&no);
}

/* ---- seals and signatures -----------------------------------------------------------------------
 */

/* Four digits each, as people compare them. */
static void put_fingerprint(struct ll_slice hex, struct ll_buf *out)
{
    for (size_t i = 0; i < hex.n; i++) {
        if (i > 0 && i % 4 == 0)
            ll_buf_putc(out, ' ');
        ll_buf_putc(out, ll_upper(hex.p[i]));
    }
}

static struct ll_slice address_of(const struct ll_unseal_section *s,
                                  const struct ll_unseal_signature *g)
{
    if (g->author)
        return s->author;
    return g->by->n_address > 0 ? g->by->address[0] : LL_LIT("");
}

static void show_signature(const struct ll_unseal_section *s, const struct ll_unseal_signature *g,
                           struct ll_page *page)
{
    const char *kind = g->method == LL_SEAL_PGP ? "OpenPGP key" : "S/MIME certificate";
    struct ll_slice address = address_of(s, g);
    struct ll_buf key = LL_BUF(1024), made = LL_BUF(64);

    if (g->by->fingerprint.n > 0)
        put_fingerprint(g->by->fingerprint, &key);
    else
        ll_buf_put_slice(&key, ll_slice_cut(g->by->key_id, 0, 900));
    if (ll_slice_find(address, '"') < address.n) /* RFC 5321 4.1.2: blanks and words in it */
        ll_page_quoted(page, "Signed", "by ", address);
    else if (address.n > 0)
        ll_page_fieldf(page, "Signed", "by %.*s", LL_FMT(address));
    else
        ll_page_field(page, "Signed", LL_LIT("by somebody without an address"));
    if (g->by->name.n > 0 && !ll_slice_eq(g->by->name, address))
        ll_page_quoted(page, "", "who goes by the name ", g->by->name);
    ll_page_fieldf(page, "", "%s %.*s%s%.*s", kind, LL_FMT(ll_buf_slice(&key)),
                   g->by->algorithm.n ? ", " : "", LL_FMT(g->by->algorithm));
    if (g->by->made != 0) {
        ll_time_rfc5322(&made, g->by->made);
        ll_page_fieldf(page, "", "made, it says, %.*s", LL_FMT(ll_buf_slice(&made)));
    }
    if (g->by->fingerprint.n > 0)
        ll_page_fieldf(page, "", "%s", ll_unseal_trust_text(g->trust)->text);
    ll_page_fieldf(page, "", "%s", ll_unseal_verdict_text(g->verdict)->text);
    if (g->verdict == LL_UNSEAL_INVALID)
        ll_page_fieldf(page, "", "(%s%s%.*s)", ll_signature_state_text(g->by->state),
                       g->by->detail.n ? "; " : "", LL_FMT(g->by->detail));
    ll_buf_release(&key);
    ll_buf_release(&made);
}

static void show_verdict(struct ll_read *r, const struct ll_unseal_section *s, struct ll_page *page)
{
    struct ll_buf words = LL_BUF(4096);

    ll_read_proven(s, &words);
    ll_page_field(page, "Proven", ll_buf_slice(&words));
    ll_buf_clear(&words);
    ll_read_sealed(s, &words);
    ll_page_fieldf(page, "Sealed", "%.*s", LL_FMT(ll_buf_slice(&words)));
    for (size_t i = 0; i < s->n_signatures; i++)
        show_signature(s, &s->signature[i], page);
    for (size_t i = 0; i < s->n_layers; i++)
        if (s->layer[i].error != LL_SEAL_OK && !s->closed)
            ll_page_fieldf(page, "Signed", "by nobody that can be told: %s",
                           ll_seal_error_text(s->layer[i].error));
    if (s->n_layers > 0 && !s->closed && s->place != LL_UNSEAL_INLINE)
        show_covered(r, s, page);
    for (unsigned w = 0; w < LL_UNSEAL_WARNING_COUNT; w++)
        if (s->warnings & (1u << w))
            ll_page_fieldf(page, "Warning", "%s",
                           ll_unseal_warning_text((enum ll_unseal_warning)w)->text);
    ll_buf_release(&words);
}

static void show_server(struct ll_read *r, struct ll_page *page)
{
    struct ll_buf name = LL_BUF(1024), says = LL_BUF(65536);

    if (ll_read_server(r, &name, &says))
        ll_page_fieldf(page, "Server", "%.*s, which you trust, says: %.*s",
                       LL_FMT(ll_buf_slice(&name)), LL_FMT(ll_buf_slice(&says)));
    ll_buf_release(&name);
    ll_buf_release(&says);
}

/* ---- pieces -------------------------------------------------------------------------------------
 */

static void show_html_facts(const struct ll_html_facts *f, struct ll_page *page)
{
    if (f->remote > 0)
        ll_page_fieldf(page, "Note", "%u things of other servers were not loaded", f->remote);
    if (f->hidden > 0)
        ll_page_fieldf(page, "Note", "%zu octets of hidden text were left out", f->hidden);
    if (f->forms + f->scripts > 0)
        ll_page_field(page, "Note", LL_LIT("forms and scripts were left out"));
    if (f->lies > 0)
        ll_page_fieldf(page, "Warning", "%u links lead elsewhere than their text says", f->lies);
    if (f->cut)
        ll_page_field(page, "Note", LL_LIT("the page is too long; its end is missing"));
}

static void show_text(struct ll_read *r, const struct ll_unseal_section *s,
                      const struct ll_unseal_piece *p, struct ll_page *page)
{
    struct ll_buf text = LL_BUF(LL_READ_OUT);
    struct ll_html_facts facts;

    ll_read_text(r, s, p, &text, &facts);
    ll_buf_putc(page->out, '\n');
    if (p->kind == LL_UNSEAL_HTML && s->unproven)
        ll_page_field(page, "HTML", LL_LIT("not shown: nothing shows that it was not changed"));
    ll_page_text(page, MARGIN, ll_buf_slice(&text));
    show_html_facts(&facts, page);
    ll_buf_wipe(&text);
}

static void show_size(uint64_t n, struct ll_buf *out)
{
    static const char *const units[] = {"octets", "KiB", "MiB"};
    unsigned unit = 0;

    while (n >= 10240 && unit + 1 < LL_COUNT(units)) {
        n = (n + 512) / 1024;
        unit++;
    }
    ll_buf_printf(out, "%llu %s", (unsigned long long)n, units[unit]);
}

static void show_file(struct ll_read *r, const struct ll_unseal_section *s,
                      const struct ll_unseal_piece *p, struct ll_page *page)
{
    struct ll_buf name = LL_BUF(LL_READ_FIELD), octets = LL_BUF(LL_READ_OUT), size = LL_BUF(64);
    struct ll_buf saved = LL_BUF(LL_READ_FIELD);
    unsigned number = ++r->n_files;

    ll_read_name(r, p, &name);
    ll_read_octets(r, s, p, &octets);
    show_size(octets.n, &size);
    ll_page_fieldf(page, "Attachment", "%u: %.*s/%.*s, %.*s%s", number, LL_FMT(p->part->type.type),
                   LL_FMT(p->part->type.subtype), LL_FMT(ll_buf_slice(&size)),
                   p->kind == LL_UNSEAL_SEALED ? "; sealed, and not opened here" : "");
    /* On lines of their own: a name may hold blanks, and words of ours. */
    if (name.n > 0)
        ll_page_quoted(page, "", "named ", ll_buf_slice(&name));
    if (r->save && ll_read_save(r, s, p, number, &saved))
        ll_page_quoted(page, "", "saved as ", ll_buf_slice(&saved));
    ll_buf_wipe(&octets);
    ll_buf_release(&name);
    ll_buf_release(&size);
    ll_buf_release(&saved);
}

static void show_pieces(struct ll_read *r, const struct ll_unseal_section *s, struct ll_page *page)
{
    for (size_t i = 0; i < s->n_pieces; i++) {
        const struct ll_unseal_piece *p = &s->piece[i];

        if (p->kind == LL_UNSEAL_TEXT || p->kind == LL_UNSEAL_HTML) {
            show_text(r, s, p, page);
        } else if (p->kind == LL_UNSEAL_SECTION) {
            ll_buf_putc(page->out, '\n');
            ll_page_fieldf(page, "Here", "part %u, see below", p->inner);
        }
    }
    for (size_t i = 0; i < s->n_pieces; i++)
        if (ll_read_is_file(&s->piece[i])) {
            if (i == 0 || r->n_files == 0)
                ll_buf_putc(page->out, '\n');
            show_file(r, s, &s->piece[i], page);
        }
}

void ll_read_show(struct ll_read *r, struct ll_slice warnings, struct ll_buf *out)
{
    static const char *const places[] = {
        "", "what was signed or sealed within the letter", "an OpenPGP block within the letter",
        "a forwarded letter; what is said of it is said of it alone"};
    struct ll_page page = {out, r->width};
    struct ll_slice one;

    for (size_t i = 0; i < r->found->n; i++) {
        const struct ll_unseal_section *s = &r->found->section[i];

        if (i > 0) {
            ll_buf_putc(out, '\n');
            ll_page_fieldf(&page, "Part", "%zu: %s", i, places[s->place]);
        }
        if (s->place == LL_UNSEAL_LETTER || s->place == LL_UNSEAL_FORWARDED ||
            s->field.kind != LL_PROTECT_KIND_NONE) {
            show_fields(r, s, &page);
            ll_buf_putc(out, '\n');
        }
        show_verdict(r, s, &page);
        if (i == 0)
            show_server(r, &page);
        while (i == 0 && ll_slice_next(&warnings, '\n', &one))
            if (one.n > 0)
                ll_page_fieldf(&page, "Warning", "%.*s", LL_FMT(one));
        show_pieces(r, s, &page);
    }
}
