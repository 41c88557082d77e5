/*
 * gnupg: secret keys on cards, through the user's own GnuPG. A secret key of the store that is a
 * stub (ll_pgp_key.elsewhere) is used by a gpg that is started for one signature or one session
 * key; it finds its home by GNUPGHOME, and asks for the card and its PIN by itself. It gets no
 * letter to open: session key packets alone, so that content stays where it is read.
 */
#ifndef LL_TOOL_CLIENT_GNUPG_H
#define LL_TOOL_CLIENT_GNUPG_H

#include "letterlock/seal.h"

#define LL_GNUPG_SECONDS 300 /* to find the card and type its PIN; then gpg is ended */

/* Signs text with the key of that fingerprint: a detached armored signature, or a signed message in
 * binary form. NO_KEY: gpg is not there, or has no such key or card (said on stderr); RESOURCE. */
enum ll_seal_error ll_gnupg_sign(struct ll_slice fingerprint, struct ll_slice text, bool detached,
                                 struct ll_buf *out);
/* The session key in packets of ll_pgp_session_packets, as ll_pgp_open_session wants it. */
enum ll_seal_error ll_gnupg_session_key(struct ll_slice packets, struct ll_buf *out);

#endif
