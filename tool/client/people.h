/*
 * people: lists of mailboxes as people write them, with names: options, and fields of ready
 * letters.
 */
#ifndef LL_TOOL_CLIENT_PEOPLE_H
#define LL_TOOL_CLIENT_PEOPLE_H

#include "letterlock/compose.h"

/* Appends the mailboxes of "Name <local@domain>, local@domain (comment), ..." to *v (the caller
 * frees it); slices are the arena's. Whether an address is one, nobody has looked. False: no list
 * of addresses, too many, or no memory. */
bool ll_people(struct ll_slice text, struct ll_arena *, struct ll_compose_address **v, size_t *n);

/* Appends a field with the octets above 127 of its body in encoded words (RFC 2047), for what has
 * to be 7-bit: names of address fields, all of others. COMPOSE_UTF8, COMPOSE_ADDRESS: an address
 * itself is not ASCII, or cannot be read. */
enum ll_compose_error ll_people_ascii_field(struct ll_slice name, struct ll_slice body,
                                            struct ll_arena *, struct ll_buf *out);

#endif
