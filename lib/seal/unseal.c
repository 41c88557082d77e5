/* See include/letterlock/unseal.h: the layers of a letter, from the root inwards. */
#include "letterlock/msg.h"
#include "lib/seal/unseal_internal.h"

#include <stdlib.h>

#define ARENA_MAX (64u << 20) /* 16 sections of 8 trees each have room for parts without count */

/* ---- life ---------------------------------------------------------------------------------------
 */

struct ll_unseal *ll_unseal_new(struct ll_slice letter)
{
    struct ll_unseal *u = calloc(1, sizeof(*u));

    if (!u)
        return NULL;
    u->letter = letter;
    ll_arena_init(&u->arena, ARENA_MAX);
    ll_unseal_add(u, LL_UNSEAL_LETTER, 0, letter);
    return u;
}

void ll_unseal_free(struct ll_unseal *u)
{
    if (!u)
        return;
    for (size_t i = 0; i < u->n_plain; i++)
        ll_buf_wipe(&u->plain[i]);
    ll_arena_release(&u->arena);
    free(u);
}

/* A section's content is now this; what cannot be read as parts has none. */
static void set_payload(struct ll_unseal *u, struct ll_unseal_section *s, struct ll_slice entity)
{
    enum ll_mime_error e;

    s->payload = entity;
    s->mime = (struct ll_mime){NULL, 0};
    e = ll_mime_parse(entity, &u->arena, &s->mime);
    if (e == LL_MIME_OK)
        return;
    ll_unseal_warn(s, e == LL_MIME_HEADER ? LL_UNSEAL_WARN_FORM : LL_UNSEAL_WARN_LIMIT);
    if (s == &u->section[0] && s->n_layers == 0) {
        u->why = e;
        u->failed = true;
    }
}

struct ll_unseal_section *ll_unseal_add(struct ll_unseal *u, enum ll_unseal_place place,
                                        uint8_t parent, struct ll_slice entity)
{
    struct ll_unseal_section *s = &u->section[u->n];

    if (u->n == LL_UNSEAL_SECTIONS_MAX) {
        ll_unseal_warn(&u->section[parent], LL_UNSEAL_WARN_LIMIT);
        return NULL;
    }
    u->n++;
    s->place = place;
    s->parent = parent;
    set_payload(u, s, entity);
    if (place == LL_UNSEAL_LETTER || place == LL_UNSEAL_FORWARDED) {
        struct ll_slice body;

        ll_msg_split(entity, &s->header, &body);
    } else {
        s->header = u->section[parent].header;
    }
    return s;
}

/* ---- what is opened -----------------------------------------------------------------------------
 */

static struct ll_buf *new_plain(struct ll_unseal *u)
{
    struct ll_buf *b;

    if (u->n_plain == LL_UNSEAL_PLAINS_MAX)
        return NULL;
    b = &u->plain[u->n_plain++];
    *b = LL_BUF(LL_UNSEAL_PLAIN_MAX);
    return b;
}

/* Lines that end in CR LF, whatever a program sealed: a signature within covers them so. */
static bool put_wire(struct ll_slice in, struct ll_buf *out)
{
    size_t from = 0;

    for (size_t i = 0; i < in.n; i++) {
        if (in.p[i] != '\n' || (i > 0 && in.p[i - 1] == '\r'))
            continue;
        ll_buf_put_slice(out, ll_slice_cut(in, from, i));
        ll_buf_puts(out, "\r\n");
        from = i + 1;
    }
    ll_buf_put_slice(out, ll_slice_cut(in, from, in.n));
    return !out->failed;
}

static bool is_wire(struct ll_slice in)
{
    for (size_t i = 0; i < in.n; i++)
        if (in.p[i] == '\n' && (i == 0 || in.p[i - 1] != '\r'))
            return false;
    return true;
}

/* Takes the answer's octets. False: no room for them. */
static bool keep_plain(struct ll_unseal *u, struct ll_buf *plain, struct ll_slice *ret)
{
    struct ll_buf *b = new_plain(u);
    bool ok = b && plain->n <= LL_UNSEAL_PLAIN_MAX - u->plain_octets;

    if (ok && is_wire(ll_buf_slice(plain))) {
        *b = *plain;
        *plain = LL_BUF(plain->max);
    } else if (ok) {
        ok = put_wire(ll_buf_slice(plain), b);
    }
    ll_buf_wipe(plain);
    if (!ok)
        return false;
    u->plain_octets +=
        b->n < LL_UNSEAL_PLAIN_MAX - u->plain_octets ? b->n : LL_UNSEAL_PLAIN_MAX - u->plain_octets;
    *ret = ll_buf_slice(b);
    return true;
}

/* ---- the outermost layer ------------------------------------------------------------------------
 */

/* The content of a part without its transfer encoding, for as long as the engine lives. */
static bool content(struct ll_unseal *u, const struct ll_mime_part *p, struct ll_slice *ret)
{
    struct ll_buf *b;

    if (p->encoding != LL_MIME_QP_ENCODING && p->encoding != LL_MIME_BASE64_ENCODING) {
        *ret = p->body;
        return true;
    }
    b = new_plain(u);
    if (!b)
        return false;
    ll_mime_decode((enum ll_mime_encoding)p->encoding, p->body, b);
    *ret = ll_buf_slice(b);
    return !b->failed;
}

/* The methods by the type of the part that holds the signature (RFC 3156 5, RFC 8551 3.5.3). */
static const struct {
    const char *type;
    enum ll_unseal_question question;
} signature_types[] = {
    {"pgp-signature", LL_UNSEAL_VERIFY_PGP},
    {"pkcs7-signature", LL_UNSEAL_VERIFY_SMIME},
    {"x-pkcs7-signature", LL_UNSEAL_VERIFY_SMIME},
};

static enum ll_unseal_question signature_question(const struct ll_mime_part *outer,
                                                  const struct ll_mime_part *signature)
{
    const struct ll_mime_param *protocol = ll_mime_param(&outer->type, "protocol");

    for (size_t i = 0; i < LL_COUNT(signature_types); i++) {
        struct ll_slice type = ll_slice_str(signature_types[i].type);

        if (!ll_mime_is(signature, "application", signature_types[i].type))
            continue;
        /* RFC 1847 2.1: protocol says the type; it may be missing, or another name of the method,
         * but not that of the other one. */
        for (size_t k = 0; protocol && k < LL_COUNT(signature_types); k++)
            if (ll_slice_ends(protocol->value, ll_slice_str(signature_types[k].type)) &&
                !ll_slice_caseeq(protocol->value, type) &&
                signature_types[k].question != signature_types[i].question)
                return LL_UNSEAL_DONE;
        return signature_types[i].question;
    }
    return LL_UNSEAL_DONE;
}

static enum ll_unseal_question ask_signed(struct ll_unseal *u, struct ll_unseal_section *s,
                                          struct ll_unseal_ask *ret)
{
    const struct ll_mime_part *p = s->mime.part, *text, *signature;
    enum ll_unseal_question q;

    if (p->n_children != 2) {
        ll_unseal_warn(s, LL_UNSEAL_WARN_SIGNED_FORM);
        return LL_UNSEAL_DONE;
    }
    text = &s->mime.part[p->child];
    signature = &s->mime.part[text->next];
    q = signature_question(p, signature);
    if (q == LL_UNSEAL_DONE || !content(u, signature, &ret->signature)) {
        ll_unseal_warn(s, LL_UNSEAL_WARN_SIGNED_FORM);
        return LL_UNSEAL_DONE;
    }
    ret->text = text->whole;
    u->next = text->whole;
    return q;
}

/* RFC 3156 4: exactly two parts, the first one says "Version: 1". */
static enum ll_unseal_question ask_encrypted(struct ll_unseal *u, struct ll_unseal_section *s,
                                             struct ll_unseal_ask *ret)
{
    const struct ll_mime_part *p = s->mime.part, *first, *second;

    if (p->n_children == 2) {
        first = &s->mime.part[p->child];
        second = &s->mime.part[first->next];
        if (ll_mime_is(first, "application", "pgp-encrypted") &&
            !(second->flags & (LL_MIME_MULTIPART | LL_MIME_MESSAGE)) &&
            content(u, second, &ret->text))
            return LL_UNSEAL_OPEN_PGP;
    }
    ll_unseal_warn(s, LL_UNSEAL_WARN_ENCRYPTED_FORM);
    return LL_UNSEAL_DONE;
}

/* The same of an armored text. What says that it is quoted-printable, and has its "=" unquoted, was
 * put there by a program that did not encode it: its checksum line would be lost. */
static bool armored(struct ll_unseal *u, const struct ll_mime_part *p, struct ll_slice *ret)
{
    if (p->encoding == LL_MIME_QP_ENCODING && ll_unseal_all_armor(p->body) &&
        ll_slice_search(p->body, LL_LIT("=3D")) == p->body.n &&
        ll_slice_search(p->body, LL_LIT("\r\n=")) < p->body.n) {
        *ret = p->body;
        return true;
    }
    return content(u, p, ret);
}

/* ContentInfo whose type is signedData (RFC 5652 3): SEQUENCE, OBJECT IDENTIFIER. */
static bool is_signed_data(struct ll_slice cms)
{
    static const uint8_t oid[] = {0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02};

    return ll_slice_search(ll_slice_cut(cms, 0, 8 + sizeof(oid)), ll_slice(oid, sizeof(oid))) <
           ll_slice_cut(cms, 0, 8 + sizeof(oid)).n;
}

/* The next layer of a section, as a question; DONE: there is none, the payload is reached. */
static enum ll_unseal_question ask(struct ll_unseal *u, struct ll_unseal_section *s,
                                   struct ll_unseal_ask *ret)
{
    const struct ll_mime_part *p = s->mime.part;
    bool may_open = s->place != LL_UNSEAL_FORWARDED;

    u->inline_pgp = false;
    if (s->mime.n == 0)
        return LL_UNSEAL_DONE;
    if (s->n_layers == LL_UNSEAL_LAYERS_MAX) {
        ll_unseal_warn(s, LL_UNSEAL_WARN_LIMIT);
        return LL_UNSEAL_DONE;
    }
    if (ll_mime_is(p, "multipart", "signed"))
        return ask_signed(u, s, ret);
    if (ll_mime_is(p, "multipart", "encrypted"))
        return may_open ? ask_encrypted(u, s, ret) : LL_UNSEAL_DONE;
    if (ll_unseal_is_cms(p, &u->arena)) {
        if (!content(u, p, &ret->text))
            return LL_UNSEAL_DONE;
        return may_open || is_signed_data(ret->text) ? LL_UNSEAL_OPEN_SMIME : LL_UNSEAL_DONE;
    }
    if (may_open && s->n_layers == 0 && ll_mime_is(p, "text", "plain") &&
        armored(u, p, &ret->text) && ll_unseal_all_armor(ret->text)) {
        u->inline_pgp = true;
        return LL_UNSEAL_OPEN_PGP;
    }
    return LL_UNSEAL_DONE;
}

/* ---- questions and answers --------------------------------------------------------------------
 */

static void finish(struct ll_unseal *u)
{
    for (size_t i = 0; i < u->n && !u->failed; i++)
        if (!ll_unseal_judge(u, (uint8_t)i)) {
            u->failed = true;
            u->why = LL_MIME_RESOURCE;
        }
    u->result = (struct ll_unseal_result){u->section, u->n};
}

enum ll_unseal_question ll_unseal_next(struct ll_unseal *u, struct ll_unseal_ask *ret)
{
    while (u->at < u->n && !u->failed) {
        struct ll_unseal_section *s = &u->section[u->at];

        *ret = (struct ll_unseal_ask){.room = LL_UNSEAL_PLAIN_MAX - u->plain_octets};
        u->asked = s->closed || s->n_pieces > 0 ? LL_UNSEAL_DONE : ask(u, s, ret);
        if (u->asked != LL_UNSEAL_DONE)
            return u->asked;
        if (!s->closed && s->n_pieces == 0 && !ll_unseal_parts(u, (uint8_t)u->at)) {
            u->failed = true;
            u->why = LL_MIME_RESOURCE;
        }
        u->at++;
    }
    if (!u->result.section)
        finish(u);
    u->asked = LL_UNSEAL_DONE;
    return LL_UNSEAL_DONE;
}

/* Text out of an armored block: shown alone, without any part around it. It is UTF-8 where it can
 * be (RFC 4880 5.9, 6.2): the part's charset stands outside of the signature, and whoever carries
 * the letter could make another text of the same octets with it. */
static void show_inline(struct ll_unseal *u, struct ll_unseal_section *s, struct ll_slice text)
{
    const struct ll_mime_param *charset = ll_mime_param(&s->mime.part[0].type, "charset");
    struct ll_unseal_piece *piece = ll_arena_alloc(&u->arena, sizeof(*piece));

    if (!piece) {
        u->failed = true;
        u->why = LL_MIME_RESOURCE;
        return;
    }
    *piece = (struct ll_unseal_piece){.kind = LL_UNSEAL_TEXT,
                                      .text = text,
                                      .charset = ll_utf8_valid(text) ? LL_LIT("utf-8")
                                                 : charset           ? charset->value
                                                                     : LL_LIT("")};
    s->piece = piece;
    s->n_pieces = 1;
    s->payload = text;
    s->mime.n = 0;
}

void ll_unseal_answer(struct ll_unseal *u, const struct ll_unseal_answer *a)
{
    struct ll_unseal_section *s = &u->section[u->at];
    bool pgp = u->asked == LL_UNSEAL_OPEN_PGP || u->asked == LL_UNSEAL_VERIFY_PGP;
    bool open = u->asked == LL_UNSEAL_OPEN_PGP || u->asked == LL_UNSEAL_OPEN_SMIME;
    struct ll_unseal_layer *l;

    if (u->asked == LL_UNSEAL_DONE)
        return;
    l = &s->layer[s->n_layers];
    *l = (struct ll_unseal_layer){pgp ? LL_SEAL_PGP : LL_SEAL_SMIME, u->asked, a->error, a->opened};
    s->n_layers++;
    u->asked = LL_UNSEAL_DONE;
    if (!open) { /* the text lies there for all to read; it proves what its signature proves */
        set_payload(u, s, u->next);
        return;
    }
    if (a->error != LL_SEAL_OK || !keep_plain(u, a->plain, &u->next)) {
        if (a->error == LL_SEAL_OK)
            l->error = LL_SEAL_TOO_LARGE;
        s->closed = true;
        ll_unseal_warn(s, LL_UNSEAL_WARN_NOT_OPENED);
        return;
    }
    if (u->inline_pgp)
        show_inline(u, s, u->next);
    else
        set_payload(u, s, u->next);
}

const struct ll_unseal_result *ll_unseal_result(const struct ll_unseal *u,
                                                enum ll_mime_error *ret_why)
{
    if (!u->failed && u->result.section)
        return &u->result;
    *ret_why = u->failed ? u->why : LL_MIME_RESOURCE;
    return NULL;
}
