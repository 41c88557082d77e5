/*
 * mime: the tree of a letter's parts (RFC 2045, 2046), as spans of the original.
 *
 * Signatures cover exact octets, so nothing is rewritten: every part says where its header, its
 * content and the whole of it lie in the letter. The letter is in wire form (lines end in CR LF).
 * Reading is one pass over the lines, without recursion; depth and number of parts are limited, and
 * a letter that is over a limit has no tree, rather than half of one.
 *
 * Text decoding stops at octets: the name of the charset comes with them, the conversion is the
 * caller's (io has it; converters load code, lib may not).
 */
#ifndef LETTERLOCK_MIME_H
#define LETTERLOCK_MIME_H

#include "letterlock/base.h"

#define LL_MIME_DEPTH_MAX    50    /* parts within parts; real letters have up to 8 */
#define LL_MIME_PARTS_MAX    1000  /* parts of a letter */
#define LL_MIME_BOUNDARY_MAX 70    /* octets, RFC 2046 5.1.1 */
#define LL_MIME_PARAMS_MAX   40    /* parameters of one field; the rest is left out */
#define LL_MIME_VALUE_MAX    16384 /* octets of one decoded parameter; a longer one is left out */

/* Rows: enum name, sentence. */
#define LL_MIME_ERRORS(ROW)                                                                        \
    ROW(OK, "no error")                                                                            \
    ROW(DEPTH, "parts lie more than 50 deep")                                                      \
    ROW(PARTS, "the letter has more than 1000 parts")                                              \
    ROW(HEADER, "the header of a part is over the limits of a letter's header")                    \
    ROW(RESOURCE, "not enough memory")                                                             \
    ROW(SIGNED, "the content of a signed or encrypted part may not be changed")                    \
    ROW(BINARY, "a part is declared as what cannot be encoded anew")

enum ll_mime_error {
#define LL_MIME_ENUM(id, text) LL_MIME_##id,
    LL_MIME_ERRORS(LL_MIME_ENUM)
#undef LL_MIME_ENUM
};

const char *ll_mime_error_text(enum ll_mime_error);

/* ---- fields with parameters (RFC 2045 5.1, RFC 2183, RFC 2231) ---------------------------------
 */

struct ll_mime_param {
    struct ll_slice name;     /* lower case, without the marks of RFC 2231 */
    struct ll_slice value;    /* octets: quotes undone, continuations joined, percents decoded */
    struct ll_slice charset;  /* of value, where RFC 2231 names one; else empty */
    struct ll_slice language; /* likewise */
};

struct ll_mime_value {
    struct ll_slice type;    /* "text" of text/plain, or the disposition; as written */
    struct ll_slice subtype; /* "plain"; empty where the field has none */
    struct ll_mime_param *param;
    size_t n_param;
};

/* Reads the body of a Content-Type (or, without a subtype, Content-Disposition) field. Lenient with
 * what is common (missing semicolons, unquoted values, empty parameters), as a viewer must be; the
 * first of two parameters of one name counts, and the form of RFC 2231 before the plain one. Slices
 * borrow from body or are in the arena. false: there is no type in it, or no memory. */
bool ll_mime_value(struct ll_slice body, struct ll_arena *, struct ll_mime_value *ret);
/* The parameter of this name (lower case), or NULL. */
const struct ll_mime_param *ll_mime_param(const struct ll_mime_value *, const char *name);

/* ---- the tree ----------------------------------------------------------------------------------
 */

/* ROW(ID, word) */
#define LL_MIME_ENCODINGS(ROW)                                                                     \
    ROW(7BIT, "7bit")                                                                              \
    ROW(8BIT, "8bit")                                                                              \
    ROW(BINARY, "binary")                                                                          \
    ROW(QP, "quoted-printable")                                                                    \
    ROW(BASE64, "base64")                                                                          \
    ROW(UNKNOWN, "") /* content that nobody may look into: RFC 2045 6.4 */

enum ll_mime_encoding {
#define LL_MIME_ENUM(id, word) LL_MIME_##id##_ENCODING,
    LL_MIME_ENCODINGS(LL_MIME_ENUM)
#undef LL_MIME_ENUM
};

enum {
    LL_MIME_MULTIPART = 1 << 0,   /* its children are its body parts */
    LL_MIME_MESSAGE = 1 << 1,     /* message/rfc822 or /global: its one child is the letter in it */
    LL_MIME_UNCLOSED = 1 << 2,    /* a multipart without its close-delimiter */
    LL_MIME_BAD_TYPE = 1 << 3,    /* a Content-Type that is none: taken as text/plain */
    LL_MIME_NO_BOUNDARY = 1 << 4, /* a multipart without a usable boundary: taken as a leaf */
    LL_MIME_BAD_ENCODING = 1 << 5, /* unknown, or one that a multipart may not have */
    LL_MIME_TWICE = 1 << 6
}; /* two Content-Type or Content-Transfer-Encoding fields: the
      first counts */

#define LL_MIME_NONE UINT16_MAX

struct ll_mime_part {
    struct ll_slice whole;  /* header and content, without the CR LF that belongs to the delimiter
                               behind it: what a signature covers (RFC 1847 2.1) */
    struct ll_slice header; /* its fields with their CR LF */
    struct ll_slice body;   /* the content, as it was encoded */
    struct ll_mime_value type; /* of Content-Type; the default where there is none (RFC 2045 5.2) */
    uint16_t parent, next, child; /* places in the list, LL_MIME_NONE: none */
    uint16_t n_children;
    uint8_t depth;    /* 0: the letter itself */
    uint8_t encoding; /* enum ll_mime_encoding */
    uint8_t flags;
};

struct ll_mime {
    struct ll_mime_part *part; /* in the order of the text; part[0] is the letter */
    size_t n;
};

/* Slices borrow from letter, the rest is the arena's: up to 200 KiB for the list and what the
 * parameters hold. DEPTH, PARTS, HEADER, RESOURCE: *ret is untouched. */
enum ll_mime_error ll_mime_parse(struct ll_slice letter, struct ll_arena *, struct ll_mime *ret);
/* Is the part of this type? Any case; subtype NULL: any subtype. */
bool ll_mime_is(const struct ll_mime_part *, const char *type, const char *subtype);
/* The name that a part would have as a file: filename of Content-Disposition, else name of
 * Content-Type. false: none, or no memory. Octets that a stranger chose: never a path. */
bool ll_mime_filename(const struct ll_mime_part *, struct ll_arena *, struct ll_mime_param *ret);

/* ---- transfer encodings (RFC 2045 6) -----------------------------------------------------------
 */

/* Appends the decoded content; at most as many octets as come in. What cannot be decoded is kept as
 * it is (quoted-printable) or left out (base64); false says that there was such a thing, or no
 * room. UNKNOWN and the identity encodings: copied. */
bool ll_mime_decode(enum ll_mime_encoding, struct ll_slice in, struct ll_buf *out);

/* Appends text as quoted-printable lines of at most 76 octets: what ends in CR LF (or LF) in the
 * text ends so in what is written. No line looks like a boundary, a From_ line or the end of a
 * letter. The last line gets no end that the text has not. */
void ll_mime_qp_encode(struct ll_buf *out, struct ll_slice text);
/* Appends base64 in lines of 76 octets, each with its CR LF. */
void ll_mime_base64_encode(struct ll_buf *out, struct ll_slice octets);

/* ---- encoded words (RFC 2047) ------------------------------------------------------------------
 */

struct ll_mime_run {
    struct ll_slice charset; /* empty: the text stood there as it is */
    struct ll_slice text;    /* octets in that charset */
};

/* The runs of an unfolded field body: encoded words decoded, blanks between two of them dropped
 * (RFC 2047 6.2), neighbours of one charset joined, so that a character may be cut by words as
 * careless programs do. What looks like an encoded word and is none stays as it is. All in all the
 * runs hold at most as many octets as the text. Nothing that comes out is looked at again: "<" in
 * an encoded word begins no address. false: no memory. */
bool ll_mime_words(struct ll_slice text, struct ll_arena *, struct ll_mime_run **ret,
                   size_t *ret_n);

/* ---- without 8BITMIME (RFC 6152 3) -------------------------------------------------------------
 */

/* Appends the letter with every part that holds octets above 127 as quoted-printable (text) or
 * base64 (all else), so that it can go where 8BITMIME is not offered. Adds MIME-Version and
 * Content-Type (charset unknown-8bit, RFC 1428) to a letter that has none. Octets above 127 in a
 * header are not touched: they need SMTPUTF8. SIGNED: such a part lies in a multipart/signed or
 * -encrypted. BINARY: it is declared as an encoding that is not known. RESOURCE: out is full. */
enum ll_mime_error ll_mime_to_7bit(struct ll_slice letter, const struct ll_mime *,
                                   struct ll_buf *out);
/* The same, and safe for signing (RFC 3156 5): content with lines above 998 octets, blanks at the
 * end of a line or lines that begin with "From " is encoded too, blanks at the ends of header lines
 * and delimiters go, and names in Content- fields of parts are made ASCII (RFC 2047, RFC 2231).
 * Signed and encrypted multiparts keep every octet. */
enum ll_mime_error ll_mime_to_safe(struct ll_slice letter, const struct ll_mime *,
                                   struct ll_buf *out);

#endif
