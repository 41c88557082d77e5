/* What the writers of fields and parts share. */
#ifndef LETTERLOCK_LIB_MSG_COMPOSE_WRITE_H
#define LETTERLOCK_LIB_MSG_COMPOSE_WRITE_H

#include "letterlock/compose.h"
#include "letterlock/mime.h"
#include "letterlock/msg.h"

/* Octets of the line that `out` ends with, as far as it began at `start` or later. */
size_t ll_compose_column(const struct ll_buf *out, size_t start);
/* The well-formed UTF-8 character at the start of s, in octets; s is well-formed and not empty. */
size_t ll_compose_char(struct ll_slice s);
/* A field name (RFC 5322 2.2) short enough to fold behind. */
bool ll_compose_name_ok(const char *name);
/* Ends what one writer did: on an error, or without room, `out` is as it was at `start`. */
enum ll_compose_error ll_compose_done(struct ll_buf *out, size_t start, enum ll_compose_error);

/* Is this content, as it stands, safe for signing? ASCII, no NUL or bare CR or LF, lines of at most
 * `line` octets, without blanks at their end, none that begins with "From " (RFC 3156 5). */
bool ll_compose_safe(struct ll_slice content, size_t line);
/* Appends header fields without blanks at the ends of their lines; a line of nothing but blanks is
 * left out with its CR LF, for an empty one would end the header. */
void ll_compose_put_fields(struct ll_buf *out, struct ll_slice fields);
/* Appends Content-Transfer-Encoding, an empty line and the text (wire form, or octets of any kind),
 * in the shortest safe encoding. */
void ll_compose_put_text(struct ll_buf *out, struct ll_slice text);
/* Appends a field that holds octets above 127 as one that does not: parameters by RFC 2231, texts
 * by RFC 2047. false, and nothing is appended: it is ASCII already, or of a kind not known. */
bool ll_compose_field_to_ascii(struct ll_buf *out, const struct ll_msg_field *);
/* Appends a parsed Content-Type or Content-Disposition as a field, without the parameters whose
 * names stand in `without` (may be NULL; ends in NULL). No CR LF at its end. */
enum ll_compose_error ll_compose_put_value(struct ll_buf *out, const char *name,
                                           const struct ll_mime_value *,
                                           const char *const *without);

#endif
