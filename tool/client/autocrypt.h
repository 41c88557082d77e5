/*
 * autocrypt: what the letters that one reads do to the key store (letterlock/autocrypt.h).
 */
#ifndef LL_TOOL_CLIENT_AUTOCRYPT_H
#define LL_TOOL_CLIENT_AUTOCRYPT_H

#include "letterlock/autocrypt.h"
#include "tool/client/stored.h"

/* Takes in what the header of a letter (CR LF lines) says of its author: the peer's state, and its
 * key. s: store, arena, now, err; source and place are set here. *ret_why (may be NULL): why there
 * is nothing in it. A status of sysexits; 0 too where there was nothing to take. */
int ll_autocrypt_take(struct ll_stored *s, struct ll_slice header,
                      enum ll_autocrypt_error *ret_why);
/* Takes in the keys that an encrypted letter passed on: see ll_autocrypt_gossip. */
int ll_autocrypt_take_gossip(struct ll_stored *s, struct ll_slice inner, struct ll_slice outer);

#endif
