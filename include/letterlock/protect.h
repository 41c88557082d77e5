/*
 * protect: header fields under the seal (RFC 9788, and its forerunner protected-headers="v1").
 *
 * A sealed letter has its fields twice: outside, where servers need them and change them, and in
 * the header of the root of what is sealed (the Cryptographic Payload), where hp="clear" (signed
 * only) or hp="cipher" (encrypted) stands in its Content-Type. Some fields are hidden outside
 * (Subject becomes
 * "[...]"); what was put outside on purpose is repeated inside as HP-Outer fields, so that the
 * reader knows what was secret without trusting the outside.
 *
 * Nothing here opens or checks a signature: the caller says whether the payload was encrypted and
 * whether a valid signature covers it.
 */
#ifndef LETTERLOCK_PROTECT_H
#define LETTERLOCK_PROTECT_H

#include "letterlock/mime.h"

#define LL_PROTECT_FIELDS_MAX 1000 /* fields inside, and as many outside */

/* Rows: enum name, sentence. */
#define LL_PROTECT_ERRORS(ROW)                                                                     \
    ROW(OK, "no error")                                                                            \
    ROW(FIELD, "a line of the header is no field")                                                 \
    ROW(FIELDS, "the header has over 1000 fields or over 256 KiB")                                 \
    ROW(ENTITY, "the content to be sealed has no readable Content-Type")                           \
    ROW(RESOURCE, "not enough memory")

enum ll_protect_error {
#define LL_PROTECT_ENUM(id, text) LL_PROTECT_##id,
    LL_PROTECT_ERRORS(LL_PROTECT_ENUM)
#undef LL_PROTECT_ENUM
};
const char *ll_protect_error_text(enum ll_protect_error);

/* Header confidentiality policies, RFC 9788 3.2: ROW(ID, word). */
#define LL_PROTECT_POLICIES(ROW)                                                                   \
    ROW(BASELINE, "baseline") /* Subject: [...]; no Comments, no Keywords */                       \
    ROW(SHY, "shy")           /* also no display names; Date in UTC */                             \
    ROW(NONE, "none")         /* hides nothing */

enum ll_protect_policy {
#define LL_PROTECT_ENUM(id, word) LL_PROTECT_POLICY_##id,
    LL_PROTECT_POLICIES(LL_PROTECT_ENUM)
#undef LL_PROTECT_ENUM
};

/* ---- writing
 * -------------------------------------------------------------------------------------
 */

struct ll_protect {
    struct ll_slice fields; /* the letter's fields in wire form. Content-... and MIME-Version are no
                               part of them and left out, as is a stray HP-Outer */
    struct ll_slice entity; /* content entity (ll_compose_entity, ll_compose_from_letter) */
    bool cipher;            /* it will be encrypted, not only signed */
    enum ll_protect_policy policy; /* with cipher */
    /* Names of more fields to hide: those that were secret in the letter this one answers
     * (RFC 9788 6.1). One that ends in "-" stands for all names that begin so. From, Date and the
     * trace fields are never hidden. */
    const struct ll_slice *hide;
    size_t n_hide;
    bool legacy_display; /* with cipher: a copy of hidden Subject (and what else people look at) at
                            the top of the text, for programs that do not read protected fields */
};
/* inner: the entity with all fields in its header and hp= in its Content-Type: to be sealed.
 * outer: the fields for outside, MIME-Version last; the sealed entity is appended to them.
 * A field above 78 octets a line stays as it is. */
enum ll_protect_error ll_protect_write(const struct ll_protect *, struct ll_buf *inner,
                                       struct ll_buf *outer);

/* ---- reading
 * -------------------------------------------------------------------------------------
 */

/* ROW(ID, word) */
#define LL_PROTECT_KINDS(ROW)                                                                      \
    ROW(NONE, "none")     /* nothing inside but Content- fields count */                           \
    ROW(CLEAR, "clear")   /* hp="clear" */                                                         \
    ROW(CIPHER, "cipher") /* hp="cipher" */                                                        \
    ROW(V1, "v1")         /* protected-headers="v1": no HP-Outer, seldom all fields */

enum ll_protect_kind {
#define LL_PROTECT_ENUM(id, word) LL_PROTECT_KIND_##id,
    LL_PROTECT_KINDS(LL_PROTECT_ENUM)
#undef LL_PROTECT_ENUM
};
const char *ll_protect_kind_word(enum ll_protect_kind);

/* RFC 9788 4.3, with its words: ROW(ID, word). What was ENCRYPTED or BOTH stays hidden in an answer
 * (struct ll_protect, hide). */
#define LL_PROTECT_STATES(ROW)                                                                     \
    ROW(UNPROTECTED, "unprotected")                                                                \
    ROW(SIGNED, "signed-only")                                                                     \
    ROW(ENCRYPTED, "encrypted-only")                                                               \
    ROW(BOTH, "signed-and-encrypted")

enum ll_protect_state {
#define LL_PROTECT_ENUM(id, word) LL_PROTECT_STATE_##id,
    LL_PROTECT_STATES(LL_PROTECT_ENUM)
#undef LL_PROTECT_ENUM
};
const char *ll_protect_state_word(enum ll_protect_state);

/* What is odd, and worth a word to the reader. */
enum {
    /* hp="cipher" in a letter that came unencrypted: somebody opened it and passed it on (or signed
     * text was lifted out of it). Nothing in it was secret on its way to us. */
    LL_PROTECT_DECRYPTED = 1 << 0,
    /* hp="clear" under encryption: the author signed for the open; another encrypted it. */
    LL_PROTECT_REENCRYPTED = 1 << 1,
    LL_PROTECT_NO_HP_OUTER = 1 << 2,  /* hp="cipher" without any: all fields count as secret */
    LL_PROTECT_BAD_HP_OUTER = 1 << 3, /* an HP-Outer that is none, stands twice, or in hp="clear" */
    LL_PROTECT_BAD_HP = 1 << 4,       /* hp= with another word: taken as if there were none */
    LL_PROTECT_TWO_FROM = 1 << 5,     /* inside not exactly one From: it names nobody */
    LL_PROTECT_FROM_MISMATCH = 1 << 6, /* the address in From differs inside and outside */
    LL_PROTECT_OUTER_CHANGED =
        1 << 7 /* outside does not stand what HP-Outer says: changed on its way
                  (lists do that), or by whoever tries to learn or to forge */
};

struct ll_protect_field {
    struct ll_slice name;
    struct ll_slice inner; /* body (folds in it), in the payload; p NULL: not there */
    struct ll_slice outer; /* body outside: the field of this name and number; p NULL: not there */
    enum ll_protect_state state; /* of inner; without inner it is UNPROTECTED */
    bool mismatch;               /* both are there and differ in more than white space */
};

struct ll_protected {
    enum ll_protect_kind kind;
    unsigned flags;
    /* First those inside, in their order, then those that stand outside alone. With kind CLEAR and
     * CIPHER a program shows the inner ones only; an outer one without an inner may be shown as
     * unprotected, never as the author's (RFC 9788 4). Content-..., MIME-Version, HP-Outer: no
     * part. */
    struct ll_protect_field *field;
    size_t n;
    struct ll_slice from_inner,
        from_outer; /* addresses (ll_msg_author); p NULL: none, or not one */
};

/* outer_header: of the letter. payload: the root of the Cryptographic Payload with its header (what
 * a signature covers, or what decryption gave). hp= anywhere else means nothing: pass only the root
 * of what the outermost layers cover. signed_: a valid signature covers all of payload. FIELDS,
 * RESOURCE: *ret is untouched. Lines that are no fields are passed over. */
enum ll_protect_error ll_protect_read(struct ll_slice outer_header, struct ll_slice payload,
                                      bool encrypted, bool signed_, struct ll_arena *,
                                      struct ll_protected *ret);
/* The first field of this name, or NULL. */
const struct ll_protect_field *ll_protect_field(const struct ll_protected *, const char *name);
/* What stands for a field of this name: inside where the kind says that inside counts, else
 * outside; the empty slice (p NULL): nothing. *ret_state (may be NULL) says how far to trust it. */
struct ll_slice ll_protect_value(const struct ll_protected *, const char *name,
                                 enum ll_protect_state *ret_state);
/* RFC 9788 4.4: the From to show. bound: a valid signature's key or certificate speaks for
 * from_inner. Where the addresses differ and no such signature is there, it is the outer one, which
 * DMARC speaks of, with a warning; *ret_state is then UNPROTECTED. */
struct ll_slice ll_protect_from(const struct ll_protected *, bool bound,
                                enum ll_protect_state *ret_state);

/* ---- legacy display elements
 * ----------------------------------------------------------------------- Copies of hidden fields
 * in the text (RFC 9788 2.1.2). They count only in an encrypted letter with hp="cipher". */

/* Does this part say that it begins with one (hp-legacy-display="1")? */
bool ll_protect_has_display(const struct ll_mime_part *);
/* The decoded text of such a text/plain part without it; all of it where the part has none. */
struct ll_slice ll_protect_skip_display(struct ll_slice text);
/* The same for text/html: *ret_from and *ret_to are the octets to leave out; false: none. */
bool ll_protect_find_display_html(struct ll_slice html, size_t *ret_from, size_t *ret_to);
/* v1: is part i the copy of hidden fields that stands before the text in a multipart/mixed whose
 * Content-Type says protected-headers="v1"? */
bool ll_protect_is_display_part(const struct ll_mime *, uint16_t i);

#endif
