/*
 * unseal: what a sealed or signed letter shows, and what is proven of exactly that.
 *
 * A letter in wire form goes in. The engine finds its cryptographic layers from the root inwards
 * (RFC 9787 4: the Cryptographic Envelope), asks for each to be opened or verified, looks into what
 * comes back, and ends with sections: the letter itself, and each part that has a verdict of its
 * own. A section has a header, layers, signatures with their verdicts, and the pieces to show. A
 * verdict covers the pieces of its own section and nothing else: a signature within never speaks
 * for what lies around it, a forwarded letter's never for the letter that brings it.
 *
 * What may be opened (against Efail, whose tricks mix sealed text with a stranger's):
 *   - the layers around the whole letter;
 *   - a sealed part directly under the letter's own multipart/mixed, as lists that add a footer
 *     leave it; said by a warning, and shown apart;
 *   - inline OpenPGP, where all of a text/plain part is one armored block; never in HTML.
 * Whatever else is sealed stays so, as a piece that can be saved. A forwarded letter is verified,
 * never opened.
 *
 * Nothing here holds a key or reads a clock: the caller answers the questions with what
 * letterlock/pgp.h and letterlock/smime.h say, and at the end adds what it knows of signers' keys
 * (ll_unseal_set_trust).
 * No recursion; layers, sections, questions and octets are limited.
 */
#ifndef LETTERLOCK_UNSEAL_H
#define LETTERLOCK_UNSEAL_H

#include "letterlock/base.h"
#include "letterlock/mime.h"
#include "letterlock/protect.h"
#include "letterlock/seal.h"

#define LL_UNSEAL_LAYERS_MAX   8   /* of one section; signed, sealed and signed again are 3 */
#define LL_UNSEAL_SECTIONS_MAX 16  /* the letter, and parts with a verdict of their own */
#define LL_UNSEAL_ADDRESS_MAX  320 /* octets of an author that is compared */
#define LL_UNSEAL_PLAIN_MAX    (512u * 1024 * 1024) /* octets of all that was opened */

/* ---- questions ------------------------------------------------------------------------------- */

enum ll_unseal_question {
    LL_UNSEAL_DONE,        /* no more: see ll_unseal_result */
    LL_UNSEAL_OPEN_PGP,    /* text: an OpenPGP message, armored or not */
    LL_UNSEAL_VERIFY_PGP,  /* text, and an OpenPGP signature of it */
    LL_UNSEAL_OPEN_SMIME,  /* text: CMS, DER or BER */
    LL_UNSEAL_VERIFY_SMIME /* text, and a CMS SignedData without content */
};

struct ll_unseal_ask {
    struct ll_slice text;      /* lives until the engine is freed */
    struct ll_slice signature; /* VERIFY alone; likewise */
    size_t room;               /* OPEN: octets that the answer may have at most */
};

/* What the reader knows of a signer's key, from the worst on; CERTIFIED and what is behind it
 * prove. Rows: enum name, word, what is said of it. */
#define LL_UNSEAL_TRUSTS(ROW)                                                                      \
    ROW(NONE, "unknown", "nothing is known of its key")                                            \
    ROW(FOUND, "found", "its key was found somewhere and is not verified by you")                  \
    ROW(SEEN, "seen", "its key is the one of earlier letters, not verified by you")                \
    ROW(CHANGED, "changed", "its key is NOT the one of earlier letters")                           \
    ROW(REJECTED, "rejected", "its key was rejected by you")                                       \
    ROW(CERTIFIED, "certified", "its certificate comes from an authority that you trust")          \
    ROW(VERIFIED, "verified", "its key was verified by you")                                       \
    ROW(OWN, "own", "its key is your own")

enum ll_unseal_trust {
#define LL_UNSEAL_ENUM(id, word, text) LL_UNSEAL_TRUST_##id,
    LL_UNSEAL_TRUSTS(LL_UNSEAL_ENUM)
#undef LL_UNSEAL_ENUM
};

struct ll_unseal_answer {
    enum ll_seal_error error;
    struct ll_buf *plain; /* OPEN: what was in it; the engine takes the octets and wipes them at its
                             end. Not looked at unless error is OK */
    struct ll_opened opened;           /* its arrays and octets outlive the engine */
    const enum ll_unseal_trust *trust; /* of each signature in opened; NULL: NONE of all */
};

/* ---- verdicts of signatures --------------------------------------------------------------------
 */

/* Rows: enum name, word, sentence. Only PROVEN says who wrote what is shown. */
#define LL_UNSEAL_VERDICTS(ROW)                                                                    \
    ROW(PROVEN, "proven", "the letter is from the address in From, and unchanged")                 \
    ROW(CLAIMED, "claimed",                                                                        \
        "unchanged since it was signed, but whether the key belongs to the address in From is "    \
        "not "                                                                                     \
        "proven")                                                                                  \
    ROW(CHANGED, "changed-key",                                                                    \
        "NOT PROVEN: the key is not the one that this address used before; ask the sender on "     \
        "another way before you believe it")                                                       \
    ROW(REJECTED, "rejected-key", "NOT PROVEN: you rejected this key")                             \
    ROW(OTHER, "other-address", "NOT PROVEN: the key does not belong to the address in From")      \
    ROW(NO_AUTHOR, "no-author", "NOT PROVEN: there is no single address in From to belong to")     \
    ROW(MISMATCH, "from-differs", "NOT PROVEN: From differs outside and inside of the seal")       \
    ROW(OUTSIDE, "outside",                                                                        \
        "NOT PROVEN: it covers the sealed letter, and its maker may never have seen the text")     \
    ROW(BROKEN, "broken", "NOT PROVEN: the content was changed, or belongs to another signature")  \
    ROW(NO_KEY, "no-key", "NOT PROVEN: the signer's key is not here")                              \
    ROW(INVALID, "invalid", "NOT PROVEN: the signature does not count")

enum ll_unseal_verdict {
#define LL_UNSEAL_ENUM(id, word, text) LL_UNSEAL_##id,
    LL_UNSEAL_VERDICTS(LL_UNSEAL_ENUM)
#undef LL_UNSEAL_ENUM
};

struct ll_unseal_text {
    const char *word; /* for JSON, stable */
    const char *text; /* for people */
};
const struct ll_unseal_text *ll_unseal_verdict_text(enum ll_unseal_verdict);
const struct ll_unseal_text *ll_unseal_trust_text(enum ll_unseal_trust);

struct ll_unseal_signature {
    const struct ll_signature *by;
    enum ll_seal_method method;
    enum ll_unseal_trust trust;
    enum ll_unseal_verdict verdict;
    uint8_t layer; /* of the section */
    bool author;   /* the key speaks for the section's author */
};

/* ---- warnings ---------------------------------------------------------------------------------
 */

/* Rows: enum name, word, sentence. */
#define LL_UNSEAL_WARNINGS(ROW)                                                                    \
    ROW(WRAPPED, "wrapped",                                                                        \
        "Only a part of this letter was sealed or signed; it is shown apart. What stands around "  \
        "it came from somebody else, such as a mailing list.")                                     \
    ROW(ERRANT, "errant",                                                                          \
        "A signed or sealed part lies within this letter. It was not looked into, and says "       \
        "nothing about the rest.")                                                                 \
    ROW(SEALED_FORWARD, "sealed-forward",                                                          \
        "A forwarded letter is sealed; it was not opened within another one. Save it and read it " \
        "by itself.")                                                                              \
    ROW(UNPROVEN, "unproven",                                                                      \
        "Nothing shows whether the sealed text was changed on its way (CBC without a good "        \
        "signature within). HTML of it is not shown.")                                             \
    ROW(NOT_OPENED, "not-opened", "The seal could not be opened.")                                 \
    ROW(FROM_DIFFERS, "from-differs", "From differs outside and inside of the seal.")              \
    ROW(HEADER_DIFFERS, "header-differs",                                                          \
        "A header field differs outside and inside of the seal; the inner one is shown.")          \
    ROW(DECRYPTED, "decrypted",                                                                    \
        "Its author encrypted this letter; somebody opened it and passed it on in the open.")      \
    ROW(REENCRYPTED, "reencrypted",                                                                \
        "Its author signed this letter for the open; somebody else encrypted it.")                 \
    ROW(NO_AUTHOR, "no-author", "From does not hold exactly one address.")                         \
    ROW(NAME, "name",                                                                              \
        "The name in From looks like an address, and not the one that it stands for.")             \
    ROW(ARMOR, "armor",                                                                            \
        "A text holds an armored OpenPGP block with something else around it, or where none is "   \
        "opened. It proves nothing and was left as it is.")                                        \
    ROW(SIGNED_FORM, "signed-form",                                                                \
        "A part says that it is signed, but has not the form of a signed part. It counts as "      \
        "unsigned.")                                                                               \
    ROW(ENCRYPTED_FORM, "encrypted-form",                                                          \
        "A part says that it is encrypted, but has not the form of an encrypted part.")            \
    ROW(LIMIT, "limit",                                                                            \
        "The letter has more layers, parts or octets than are looked into; the rest was left "     \
        "closed.")                                                                                 \
    ROW(FORM, "form", "What was sealed is no letter that can be shown.")

enum ll_unseal_warning {
#define LL_UNSEAL_ENUM(id, word, text) LL_UNSEAL_WARN_##id,
    LL_UNSEAL_WARNINGS(LL_UNSEAL_ENUM)
#undef LL_UNSEAL_ENUM
        LL_UNSEAL_WARNING_COUNT
};
const struct ll_unseal_text *ll_unseal_warning_text(enum ll_unseal_warning);

/* ---- the result --------------------------------------------------------------------------------
 */

enum ll_unseal_place {
    LL_UNSEAL_LETTER,   /* the letter itself: section 0 */
    LL_UNSEAL_WRAPPED,  /* a sealed or signed part directly under its multipart/mixed */
    LL_UNSEAL_INLINE,   /* an armored block that is a text part directly under it */
    LL_UNSEAL_FORWARDED /* a message/rfc822 with a header of its own */
};

struct ll_unseal_layer {
    enum ll_seal_method method;
    enum ll_unseal_question question;
    enum ll_seal_error error; /* not OK: it is the last one, and its content is closed */
    struct ll_opened opened;
};

enum ll_unseal_kind {
    LL_UNSEAL_TEXT,        /* to be shown as text */
    LL_UNSEAL_HTML,        /* likewise, made text first; not at all where `unproven` */
    LL_UNSEAL_ATTACHMENT,  /* to be listed */
    LL_UNSEAL_SEALED,      /* likewise: a sealed part that was not opened */
    LL_UNSEAL_ALTERNATIVE, /* likewise: another form of what is shown */
    LL_UNSEAL_SECTION      /* section number `inner` stands here; FORWARDED can be saved too */
};

struct ll_unseal_piece {
    enum ll_unseal_kind kind;
    const struct ll_mime_part *part; /* NULL: text that inline OpenPGP held, in `text` */
    struct ll_slice text;
    struct ll_slice charset; /* of text and of TEXT and HTML parts; empty: not said */
    uint8_t inner;           /* SECTION alone */
};

struct ll_unseal_section {
    enum ll_unseal_place place;
    uint8_t parent;            /* section that it stands in; its own number for the letter */
    struct ll_slice header;    /* as it came: of the letter, or of the forwarded letter */
    struct ll_protected field; /* of the header, outside and under the seal; not where `place` is
                                  INLINE, or nothing was signed or sealed (n 0) */
    struct ll_slice author;    /* the one address in From that counts, empty: none */
    struct ll_unseal_layer layer[LL_UNSEAL_LAYERS_MAX];
    size_t n_layers;
    struct ll_unseal_signature *signature; /* from the outside in */
    size_t n_signatures;
    struct ll_slice payload; /* header and content within all layers */
    struct ll_mime mime;     /* of payload; n 0: none */
    struct ll_unseal_piece *piece;
    size_t n_pieces;
    uint32_t warnings; /* a bit each: 1u << LL_UNSEAL_WARN_... */
    bool encrypted;    /* a layer was encrypted, and all of them are open */
    bool unproven;     /* encrypted, and nothing shows that it was not changed */
    bool closed;       /* a layer could not be opened: no pieces */
};

struct ll_unseal_result {
    const struct ll_unseal_section *section; /* [0] is the letter */
    size_t n;
};

struct ll_unseal;
/* The letter, in wire form, is borrowed. NULL: no memory. */
struct ll_unseal *ll_unseal_new(struct ll_slice letter);
/* Wipes what was opened. */
void ll_unseal_free(struct ll_unseal *);
/* The next question; to be answered before the next call. DONE: the result is there. */
enum ll_unseal_question ll_unseal_next(struct ll_unseal *, struct ll_unseal_ask *ret);
void ll_unseal_answer(struct ll_unseal *, const struct ll_unseal_answer *);
/* After DONE; lives as long as the engine. NULL: no memory, or the letter has no tree of parts
 * (*ret_why says which; see letterlock/mime.h). */
const struct ll_unseal_result *ll_unseal_result(const struct ll_unseal *,
                                                enum ll_mime_error *ret_why);
/* After DONE: what is known of the key of signature k of a section, for the section's author. The
 * signature's verdict is looked at anew; it was made with LL_UNSEAL_TRUST_NONE. */
void ll_unseal_set_trust(struct ll_unseal *, size_t section, size_t k, enum ll_unseal_trust);

#endif
