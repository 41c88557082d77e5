/*
 * dkim_client: DKIM signatures on letters that start here, for submission fronts, post and relays.
 * It knows from the keeper which keys sign, hashes letters, and asks the keeper for signatures.
 *
 *     start:      st->dkim = ll_dkim_client_new(proc);
 *     peer_up, peer_down with the keeper: ll_dkim_client_up, ll_dkim_client_down
 *     on[LL_MSG_DKIM_KEYS], on[LL_MSG_DKIM_ANSWER]: return ll_dkim_client_msg(st->dkim, peer, m);
 *
 *     s = ll_dkim_signing_new(st->dkim, now);          a letter begins
 *     ll_dkim_signing_feed(s, octets); ...             as it will be sent
 *     ok = ll_dkim_signing_finish(s, &prepend);        its fields, to stand on top
 *     ll_dkim_signing_free(s);
 */
#ifndef LL_DAEMON_DKIM_CLIENT_H
#define LL_DAEMON_DKIM_CLIENT_H

#include "daemon/proc.h"
#include "io/dkim_keys.h"

#define LL_DKIM_SIGNERS_MAX 4    /* signatures on one letter: keys of its domain that sign now */
#define LL_DKIM_TIMEOUT_MS  2000 /* for one signature; the process stands still meanwhile */

struct ll_dkim_client;
struct ll_dkim_signing;

struct ll_dkim_client *ll_dkim_client_new(struct ll_proc *);
void ll_dkim_client_free(struct ll_dkim_client *);
void ll_dkim_client_up(struct ll_dkim_client *, struct ll_peer *keeper);
void ll_dkim_client_down(struct ll_dkim_client *);
int ll_dkim_client_msg(struct ll_dkim_client *, struct ll_peer *, const struct ll_msg *);
/* The key of a domain that signs now, RSA before Ed25519 (ARC allows one, RFC 8617 has RSA's
 * readers in mind). False: none. */
bool ll_dkim_client_key(const struct ll_dkim_client *, struct ll_slice domain, int64_t now,
                        struct ll_dkim_entry *ret);
/* A signature by the keeper for LL_NEED_SIGN; blocks for it. False: it is away, or refuses. */
bool ll_dkim_client_sign(struct ll_dkim_client *, const struct ll_need *, struct ll_buf *ret);
/* Has the keeper said which keys there are? */
bool ll_dkim_client_known(const struct ll_dkim_client *);
/* Are there keys at all? */
bool ll_dkim_client_signs(const struct ll_dkim_client *);

/* now: seconds since 1970. NULL: there are no keys (ll_dkim_client_signs is false), or no memory.
 */
struct ll_dkim_signing *ll_dkim_signing_new(struct ll_dkim_client *, int64_t now);
void ll_dkim_signing_free(struct ll_dkim_signing *);
void ll_dkim_signing_feed(struct ll_dkim_signing *, struct ll_slice in);
/* The letter is over: appends a DKIM-Signature field for each key of the author's domain (or of the
 * nearest one above it that has keys). True: all that should be there is (maybe nothing: no key is
 * for that domain). False: the keeper was away, or refused; out is as it was. */
bool ll_dkim_signing_finish(struct ll_dkim_signing *, struct ll_buf *out);

#endif
