/* See include/letterlock/unseal.h: what the parts of a payload are shown as. */
#include "letterlock/msg.h"
#include "lib/seal/unseal_internal.h"

/* What becomes of a part, decided by its parent before it comes (parts lie in the text's order). */
enum fate {
    SHOW,        /* by its type */
    ATTACH,      /* listed, whatever it is: a relative of what is shown */
    ALTERNATIVE, /* listed as another form */
    LEFT,        /* within another form: its texts are left out, its files are listed */
    SKIP         /* it, and all within */
};

struct walk {
    struct ll_unseal *u;
    struct ll_unseal_section *s;
    uint8_t number; /* of s */
    uint8_t *fate;  /* of each part */
    const struct ll_mime_part *part;
    size_t n;
};

/* ---- armor (RFC 4880 6.2, 7) -----------------------------------------------------------------
 */

static const struct {
    const char *begin, *end;
} armors[] = {
    {"-----BEGIN PGP MESSAGE-----", "-----END PGP MESSAGE-----"},
    {"-----BEGIN PGP SIGNED MESSAGE-----", "-----END PGP SIGNATURE-----"},
};

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct ll_slice strip(struct ll_slice s)
{
    while (s.n > 0 && is_space(s.p[0]))
        s = ll_slice_skip(s, 1);
    while (s.n > 0 && is_space(s.p[s.n - 1]))
        s.n--;
    return s;
}

bool ll_unseal_has_armor(struct ll_slice text)
{
    for (size_t i = 0; i < LL_COUNT(armors); i++)
        if (ll_slice_search(text, ll_slice_str(armors[i].begin)) < text.n)
            return true;
    return false;
}

bool ll_unseal_all_armor(struct ll_slice text)
{
    text = strip(text);
    for (size_t i = 0; i < LL_COUNT(armors); i++) {
        struct ll_slice begin = ll_slice_str(armors[i].begin), end = ll_slice_str(armors[i].end);

        if (!ll_slice_starts(text, begin) || !ll_slice_ends(text, end))
            continue;
        /* One block: nothing else begins in it, and its end is the only one. */
        return !ll_unseal_has_armor(ll_slice_skip(text, begin.n)) &&
               ll_slice_search(text, end) == text.n - end.n;
    }
    return false;
}

/* ---- types ------------------------------------------------------------------------------------
 */

/* RFC 8551 3.2; and 3.9: an octet-stream may be what its name says. Certificates alone are a
 * file. */
bool ll_unseal_is_cms(const struct ll_mime_part *p, struct ll_arena *arena)
{
    const struct ll_mime_param *type;
    struct ll_mime_param name;

    if (ll_mime_is(p, "application", "pkcs7-mime") ||
        ll_mime_is(p, "application", "x-pkcs7-mime")) {
        type = ll_mime_param(&p->type, "smime-type");
        return !type || !ll_slice_caseeq(type->value, LL_LIT("certs-only"));
    }
    return ll_mime_is(p, "application", "octet-stream") && ll_mime_filename(p, arena, &name) &&
           name.value.n > 4 &&
           ll_slice_caseeq(ll_slice_skip(name.value, name.value.n - 4), LL_LIT(".p7m"));
}

static bool is_detached_signature(const struct ll_mime_part *p)
{
    return ll_mime_is(p, "application", "pgp-signature") ||
           ll_mime_is(p, "application", "pkcs7-signature") ||
           ll_mime_is(p, "application", "x-pkcs7-signature");
}

static bool disposed_as_attachment(const struct walk *w, const struct ll_mime_part *p)
{
    struct ll_slice rest = p->header;
    struct ll_mime_value v;
    struct ll_msg_field f;

    return ll_msg_field_find(rest, LL_LIT("Content-Disposition"), &f) &&
           ll_mime_value(f.body, &w->u->arena, &v) && ll_slice_caseeq(v.type, LL_LIT("attachment"));
}

/* Texts that people read: delivery reports too. */
static bool is_text(const struct ll_mime_part *p)
{
    return ll_mime_is(p, "text", "plain") || ll_mime_is(p, "text", "rfc822-headers") ||
           ll_mime_is(p, "message", "delivery-status") ||
           ll_mime_is(p, "message", "disposition-notification") || (p->flags & LL_MIME_NO_BOUNDARY);
}

static bool is_sealed(const struct walk *w, const struct ll_mime_part *p)
{
    return ll_mime_is(p, "multipart", "encrypted") || ll_unseal_is_cms(p, &w->u->arena);
}

/* ---- fates -------------------------------------------------------------------------------------
 */

static void give(struct walk *w, const struct ll_mime_part *p, enum fate fate)
{
    for (uint16_t c = p->child; c != LL_MIME_NONE; c = w->part[c].next)
        w->fate[c] = (uint8_t)fate;
}

/* Which form of multipart/alternative: plain text before HTML before what holds other parts. */
static uint16_t choose(const struct walk *w, const struct ll_mime_part *p)
{
    uint16_t html = LL_MIME_NONE, any = LL_MIME_NONE;

    for (uint16_t c = p->child; c != LL_MIME_NONE; c = w->part[c].next) {
        if (ll_mime_is(&w->part[c], "text", "plain") && strip(w->part[c].body).n > 0)
            return c;
        if (ll_mime_is(&w->part[c], "text", "html"))
            html = c;
        if (w->part[c].flags & LL_MIME_MULTIPART)
            any = c;
    }
    return any != LL_MIME_NONE ? any : html != LL_MIME_NONE ? html : p->child;
}

/* Of multipart/related the root is shown (RFC 2387 3.2: `start`, else the first). */
static uint16_t related_root(const struct walk *w, const struct ll_mime_part *p)
{
    const struct ll_mime_param *start = ll_mime_param(&p->type, "start");
    struct ll_msg_field f;

    for (uint16_t c = p->child; start && c != LL_MIME_NONE; c = w->part[c].next)
        if (ll_msg_field_find(w->part[c].header, LL_LIT("Content-ID"), &f) &&
            ll_slice_eq(ll_slice_trim(f.body), start->value))
            return c;
    return p->child;
}

static void give_children(struct walk *w, size_t i)
{
    const struct ll_mime_part *p = &w->part[i];

    if (p->child == LL_MIME_NONE)
        return;
    if (w->fate[i] != SHOW) {
        give(w, p,
             w->fate[i] == ATTACH                              ? ATTACH
             : w->fate[i] == ALTERNATIVE || w->fate[i] == LEFT ? LEFT
                                                               : SKIP);
    } else if (ll_mime_is(p, "multipart", "alternative")) {
        give(w, p, ALTERNATIVE);
        w->fate[choose(w, p)] = SHOW;
    } else if (ll_mime_is(p, "multipart", "related")) {
        give(w, p, ATTACH);
        w->fate[related_root(w, p)] = SHOW;
    }
}

/* ---- pieces -----------------------------------------------------------------------------------
 */

static void add(struct walk *w, enum ll_unseal_kind kind, const struct ll_mime_part *p,
                uint8_t inner)
{
    const struct ll_mime_param *charset = ll_mime_param(&p->type, "charset");

    w->s->piece[w->s->n_pieces++] = (struct ll_unseal_piece){
        .kind = kind,
        .part = p,
        .charset = charset ? charset->value : LL_LIT(""),
        .inner = inner,
    };
}

static void add_section(struct walk *w, size_t i, enum ll_unseal_place place,
                        struct ll_slice entity)
{
    struct ll_unseal_section *inner = ll_unseal_add(w->u, place, w->number, entity);

    if (inner)
        add(w, LL_UNSEAL_SECTION, &w->part[i], (uint8_t)(inner - w->u->section));
    else
        add(w, LL_UNSEAL_ATTACHMENT, &w->part[i], 0);
    give(w, &w->part[i], SKIP);
    w->fate[i] = SKIP;
}

/* Directly under the letter's own multipart/mixed: where lists put what was signed or sealed. */
static bool may_be_wrapped(const struct walk *w, const struct ll_mime_part *p)
{
    return w->s->place == LL_UNSEAL_LETTER && w->s->n_layers == 0 && p->depth == 1 &&
           ll_mime_is(&w->part[0], "multipart", "mixed");
}

static bool whole_armor(const struct walk *w, const struct ll_mime_part *p, bool *ret_some)
{
    struct ll_buf b = LL_BUF(p->body.n + 1);
    bool all;

    ll_mime_decode((enum ll_mime_encoding)p->encoding, p->body, &b);
    *ret_some = ll_unseal_has_armor(ll_buf_slice(&b));
    all = *ret_some && ll_unseal_all_armor(ll_buf_slice(&b)) && may_be_wrapped(w, p);
    ll_buf_wipe(&b);
    return all;
}

static void show_text(struct walk *w, size_t i)
{
    const struct ll_mime_part *p = &w->part[i];
    bool armor;

    if (whole_armor(w, p, &armor) && ll_mime_is(p, "text", "plain")) {
        ll_unseal_warn(w->s, LL_UNSEAL_WARN_WRAPPED);
        add_section(w, i, LL_UNSEAL_INLINE, p->whole);
        return;
    }
    if (armor)
        ll_unseal_warn(w->s, LL_UNSEAL_WARN_ARMOR);
    add(w, LL_UNSEAL_TEXT, p, 0);
}

static void warn_errant(struct walk *w, const struct ll_mime_part *p)
{
    if (ll_mime_is(p, "multipart", "signed") || is_sealed(w, p))
        ll_unseal_warn(w->s, LL_UNSEAL_WARN_ERRANT);
}

/* A layer that is no part of the envelope. */
static void show_errant(struct walk *w, size_t i)
{
    const struct ll_mime_part *p = &w->part[i];

    if (i > 0)
        ll_unseal_warn(w->s, LL_UNSEAL_WARN_ERRANT);
    else if (w->s->place == LL_UNSEAL_FORWARDED && is_sealed(w, p))
        ll_unseal_warn(w->s, LL_UNSEAL_WARN_SEALED_FORWARD);
    if (!is_sealed(w, p))
        return; /* multipart/signed: its text is text as any other */
    add(w, LL_UNSEAL_SEALED, p, 0);
    give(w, p, SKIP);
    w->fate[i] = SKIP;
}

static void show(struct walk *w, size_t i)
{
    const struct ll_mime_part *p = &w->part[i];
    bool layer = ll_mime_is(p, "multipart", "signed") || is_sealed(w, p);

    if (w->s->n_layers > 0 && ll_protect_is_display_part(&w->s->mime, (uint16_t)i))
        return; /* a copy of fields that are shown as such */
    if (layer && i > 0 && may_be_wrapped(w, p)) {
        ll_unseal_warn(w->s, LL_UNSEAL_WARN_WRAPPED);
        add_section(w, i, LL_UNSEAL_WRAPPED, p->whole);
    } else if (layer) {
        show_errant(w, i);
    } else if (p->flags & LL_MIME_MESSAGE) {
        add_section(w, i, LL_UNSEAL_FORWARDED, w->part[p->child].whole);
    } else if (p->flags & LL_MIME_MULTIPART) {
        return; /* its children come */
    } else if (p->encoding == LL_MIME_UNKNOWN_ENCODING || disposed_as_attachment(w, p)) {
        add(w, LL_UNSEAL_ATTACHMENT, p, 0);
    } else if (is_text(p)) {
        show_text(w, i);
    } else if (ll_mime_is(p, "text", "html")) {
        add(w, LL_UNSEAL_HTML, p, 0);
    } else if (i == 0 || !is_detached_signature(p) ||
               !ll_mime_is(&w->part[p->parent], "multipart", "signed")) {
        add(w, LL_UNSEAL_ATTACHMENT, p, 0);
    }
}

/* As a file, a letter in it too. */
static void attach(struct walk *w, size_t i)
{
    add(w, LL_UNSEAL_ATTACHMENT, &w->part[i], 0);
    give(w, &w->part[i], SKIP);
}

bool ll_unseal_parts(struct ll_unseal *u, uint8_t number)
{
    struct ll_unseal_section *s = &u->section[number];
    struct walk w = {u, s, number, NULL, s->mime.part, s->mime.n};

    if (w.n == 0)
        return true;
    w.fate = ll_arena_alloc(&u->arena, w.n);
    s->piece = ll_arena_alloc(&u->arena, w.n * sizeof(*s->piece));
    if (!w.fate || !s->piece)
        return false;
    for (size_t i = 0; i < w.n; i++) {
        const struct ll_mime_part *p = &w.part[i];
        bool leaf = p->child == LL_MIME_NONE;

        give_children(&w, i);
        if (w.fate[i] == SHOW)
            show(&w, i);
        else if ((leaf || (p->flags & LL_MIME_MESSAGE)) &&
                 (w.fate[i] == ATTACH || (w.fate[i] == LEFT && !ll_mime_is(p, "text", NULL))))
            attach(&w, i);
        else if (w.fate[i] == ALTERNATIVE)
            add(&w, LL_UNSEAL_ALTERNATIVE, p, 0);
        if (w.fate[i] == ALTERNATIVE || w.fate[i] == LEFT) /* another text than the one shown */
            warn_errant(&w, p);
    }
    return true;
}
