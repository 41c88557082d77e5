/*
 * compose: letters that start here: their fields, their parts, and a ready letter made fit to be
 * signed.
 *
 * All text is UTF-8; whoever has another charset converts first (io/charset.h). Everything that is
 * written is wire form (lines end in CR LF) and safe for signing: 7-bit, no line above 78 octets in
 * what is written here, no blanks at the end of a line and no line that begins with "From "
 * (RFC 3156 5, RFC 8551 3.1.3). Randomness is the caller's: 16 octets of a good source for each
 * entity, so that no text can hold its own boundary.
 *
 *   struct ll_compose c = {.text = LL_LIT("Hello\n"), .random = octets};
 *   struct ll_buf fields = LL_BUF(1 << 16), entity = LL_BUF(1 << 20);
 *   ll_compose_field_text(&fields, "Subject", LL_LIT("Grüße"));
 *   ll_compose_entity(&c, &entity);
 *   letter: fields, "MIME-Version: 1.0" CR LF, entity; sealed: ll_protect_write (protect.h).
 */
#ifndef LETTERLOCK_COMPOSE_H
#define LETTERLOCK_COMPOSE_H

#include "letterlock/base.h"

#define LL_COMPOSE_LINE      76  /* octets of a line with encoded words (RFC 2047 2) */
#define LL_COMPOSE_PARTS_MAX 250 /* attachments and inline parts of one letter */
#define LL_COMPOSE_NAME_MAX  255 /* octets of a file name, as file systems have it */
#define LL_COMPOSE_RANDOM    16  /* octets that a boundary is made of */

/* Rows: enum name, sentence. */
#define LL_COMPOSE_ERRORS(ROW)                                                                     \
    ROW(OK, "no error")                                                                            \
    ROW(UTF8, "the text is not well-formed UTF-8")                                                 \
    ROW(CONTROL, "a field or a text holds a control character")                                    \
    ROW(NAME, "a field's or parameter's name is none")                                             \
    ROW(ADDRESS, "an address is not well formed")                                                  \
    ROW(TYPE, "a media type is not well formed")                                                   \
    ROW(LONG, "a word is too long for a line, or a file name over 255 octets")                     \
    ROW(PARTS, "the letter has more than 250 attachments, or no random octets for its parts")      \
    ROW(FIELD, "a line of the header is no field")                                                 \
    ROW(MIME, "the parts of the letter are over the limits")                                       \
    ROW(SIGNED, "the letter holds a signed part with 8-bit content, which may not be changed")     \
    ROW(BINARY, "a part is declared in an encoding that is not known")                             \
    ROW(RESOURCE, "not enough memory")

enum ll_compose_error {
#define LL_COMPOSE_ENUM(id, text) LL_COMPOSE_##id,
    LL_COMPOSE_ERRORS(LL_COMPOSE_ENUM)
#undef LL_COMPOSE_ENUM
};

const char *ll_compose_error_text(enum ll_compose_error);

/* ---- fields
 * -------------------------------------------------------------------------------------- Each
 * appends one whole field with its CR LF, folded, and leaves `out` as it was on an error. NAME: not
 * letters, digits and other octets of 33..126 without a colon, or over 70 octets. */

/* An unstructured field (Subject, Comments, Content-Description). What ASCII cannot say becomes
 * encoded words (RFC 2047), B or Q, whichever is shorter; a word that looks like an encoded one is
 * encoded too, so that the reader sees what was written. UTF8, CONTROL (HTAB is allowed). */
enum ll_compose_error ll_compose_field_text(struct ll_buf *out, const char *name,
                                            struct ll_slice utf8);

struct ll_compose_address {
    struct ll_slice name; /* display name, UTF-8 as people write it; may be empty */
    struct ll_slice
        spec; /* local@domain, as it is: U-labels and UTF-8 local parts stay (RFC 6532) */
    struct ll_slice group; /* neighbours with one group stand in it (RFC 5322 3.4); may be empty.
                              A group without members: group alone, spec empty */
};
/* From, To, Cc, Reply-To ... Names become atoms, a quoted string or encoded words, never encoded
 * words within quotes (RFC 2047 5). ADDRESS: ll_mailbox_parse refuses a spec. */
enum ll_compose_error ll_compose_field_addresses(struct ll_buf *out, const char *name,
                                                 const struct ll_compose_address *, size_t n);

/* Begins a field with parameters, "Content-Type: text/plain" without its CR LF, for
 * ll_compose_param; the caller ends it with CR LF. */
enum ll_compose_error ll_compose_field_begin(struct ll_buf *out, const char *name,
                                             struct ll_slice value);
/* Appends "; name=value" to such a field, folded: a token, a quoted string, or the form of RFC 2231
 * in as many parts as its length needs, all on lines of at most 78 octets. charset: of value;
 * empty: UTF-8. NAME, UTF8; LONG: what would need over 30 parts. */
enum ll_compose_error ll_compose_param(struct ll_buf *out, const char *name, struct ll_slice value,
                                       struct ll_slice charset);
/* Appends a file name's stand-in of at most 60 octets of ASCII: "Gr__e.pdf". For programs that
 * cannot read RFC 2231 it stands as name= in Content-Type: of two filename= in Content-Disposition,
 * one plain and one not, many programs read the plain one. LONG: over LL_COMPOSE_NAME_MAX. */
enum ll_compose_error ll_compose_stand_in(struct ll_buf *out, struct ll_slice name);

/* ---- the content
 * ----------------------------------------------------------------------------------
 */

/* A file, an image in an HTML text, a letter that is passed on. */
struct ll_compose_part {
    struct ll_slice octets;
    struct ll_slice type;    /* "image/png"; empty: application/octet-stream */
    struct ll_slice charset; /* of a text/ part; empty: utf-8 where it is that and more than ASCII,
                                else none is named */
    struct ll_slice name;    /* the file's name, UTF-8, no path; may be empty */
    struct ll_slice description; /* UTF-8; may be empty */
    struct ll_slice id; /* Content-ID without < >: for inline parts that HTML names; or empty */
    bool is_inline;     /* Content-Disposition inline, not attachment (RFC 2183) */
};

struct ll_compose {
    struct ll_slice text; /* UTF-8; lines end in LF or CR LF, each line is a paragraph. With html it
                             is the alternative for those who do not show HTML */
    struct ll_slice html; /* UTF-8; may be empty */
    bool flowed; /* format=flowed (RFC 3676): long lines are broken so that they join again;
                    lines that begin with ">" are quotes */
    struct ll_slice
        entity; /* a content entity (ll_compose_from_letter) in place of text and html */
    const struct ll_compose_part *part;
    size_t n_part;
    const uint8_t *random; /* LL_COMPOSE_RANDOM octets; needed where there are several parts */
};
/* Appends the content entity: its Content- fields, an empty line, its body. text/plain alone, or
 * multipart/alternative with HTML (in multipart/related with the inline parts that have an id),
 * all in multipart/mixed where there are attachments. Text goes as it is where that is safe, else
 * as quoted-printable or base64, whichever is shorter; attachments keep every octet. message/rfc822
 * parts are made 7-bit (RFC 2046 5.2.1) and must be in wire form; one that cannot be is attached as
 * application/octet-stream.
 * UTF8, CONTROL (NUL in text), TYPE, NAME, LONG, PARTS, RESOURCE. */
enum ll_compose_error ll_compose_entity(const struct ll_compose *, struct ll_buf *out);

/* ---- a ready letter
 * ---------------------------------------------------------------------------------
 */

/* Takes a letter in wire form apart, so that it can be sealed:
 *   trace   what stays outside and is no part of what the author wrote: Received, Resent-...;
 *   fields  the author's fields, to be protected (ll_protect_write) or put before the entity;
 *   entity  the Content- fields and the body, safe for signing: octets above 127, blanks at the end
 *           of a line, "From " lines and lines above 998 octets are encoded anew. Parts of signed
 * or encrypted multiparts keep every octet. Left out: Bcc, Return-Path, Delivered-To, the
 * signatures and verdicts of others that sealing breaks or that were about another letter
 * (DKIM-Signature, ARC-..., Authentication-Results, DomainKey-Signature), what mailboxes add
 * (Status, Content-Length, ...), and MIME-Version, which belongs to the letter that is built. Any
 * of the outputs may be NULL. FIELD, MIME, SIGNED, BINARY, RESOURCE: the outputs hold something
 * unfinished. */
enum ll_compose_error ll_compose_from_letter(struct ll_slice letter, struct ll_buf *trace,
                                             struct ll_buf *fields, struct ll_buf *entity);

/* ---- format=flowed (RFC 3676)
 * --------------------------------------------------------------------
 */

/* Appends text (UTF-8, lines end in LF or CR LF) as format=flowed, DelSp=no: lines of at most 72
 * characters where words allow, CR LF. */
void ll_flowed_encode(struct ll_slice text, struct ll_buf *out);
/* Appends the paragraphs of a text that came as format=flowed, each on a line with CR LF; quoted
 * ones begin with their ">"s and a blank. At most twice the octets that come in. */
void ll_flowed_decode(struct ll_slice text, bool delsp, struct ll_buf *out);

#endif
