/*
 * keeper_client: the other end of the keeper, for fronts and relays. It gathers certificates,
 * ticket keys and client CAs from the keeper's messages, keeps one ll_tls_server per listener (or
 * the client certificates of a relay) up to date, and asks the keeper for signatures.
 *
 * How a front uses it:
 *
 *     start:      ll_tls_init(); st->tls = ll_keeper_client_new(proc, tls_changed, st);
 *     peer_up:    if (peer->role == LL_ROLE_KEEPER) ll_keeper_client_up(st->tls, peer);
 *     peer_down:  if (peer->role == LL_ROLE_KEEPER) ll_keeper_client_down(st->tls);
 *     reconf:     ll_keeper_client_reconf(st->tls);
 *     on[LL_MSG_CERTS_BEGIN], on[LL_MSG_CERT], on[LL_MSG_TICKET_KEYS], on[LL_MSG_CLIENT_CA],
 *     on[LL_MSG_SIGN_ANSWER] (an answer that came too late):
 *                 return ll_keeper_client_msg(st->tls, peer, m);
 *
 *     A front begins to accept when ll_keeper_client_known() holds (tls_changed() tells when): the
 *     keeper has then said what certificates there are. For a session:
 *
 *         struct ll_tls_server *s = ll_keeper_client_server(st->tls, listener_title);
 *         s ? offer STARTTLS, or for implicit TLS: conn = ll_tls_accept(s, fd)
 *           : there is no certificate: no STARTTLS; an implicit TLS connection is closed
 *
 * While the keeper is down (it is back within a second) full handshakes fail, resumed ones go on;
 * certificates stay. How a relay uses it: the same calls without TICKET_KEYS and CLIENT_CA, and
 * ll_keeper_client_cert(title) for ll_tls_client_opts.cert; when tls_changed is called, make those
 * ll_tls_clients that show a certificate anew.
 */
#ifndef LL_DAEMON_KEEPER_CLIENT_H
#define LL_DAEMON_KEEPER_CLIENT_H

#include "daemon/proc.h"
#include "io/tls.h"

#define LL_KEEPER_TIMEOUT_MS 1000 /* for one signature; the worker stands still meanwhile */

struct ll_keeper_client;

/* changed (or NULL) is called after each new set of certificates has been taken. */
struct ll_keeper_client *ll_keeper_client_new(struct ll_proc *, void (*changed)(void *arg),
                                              void *arg);
void ll_keeper_client_free(struct ll_keeper_client *);
void ll_keeper_client_up(struct ll_keeper_client *, struct ll_peer *keeper);
void ll_keeper_client_down(struct ll_keeper_client *);
/* Forgets listeners that the present configuration lacks, takes names anew. */
void ll_keeper_client_reconf(struct ll_keeper_client *);
/* One of the keeper's messages. 0, or -1: it breaks the rules. */
int ll_keeper_client_msg(struct ll_keeper_client *, struct ll_peer *, const struct ll_msg *);

/* Has the keeper said, at least once, which certificates there are (maybe none)? */
bool ll_keeper_client_known(const struct ll_keeper_client *);
/* The TLS server of a listener; NULL while it has no certificate. Borrowed. */
struct ll_tls_server *ll_keeper_client_server(struct ll_keeper_client *, struct ll_slice listener);
/* The certificate of that section (relays: those that routes name), or NULL. Borrowed. */
struct ll_tls_cert *ll_keeper_client_cert(struct ll_keeper_client *, struct ll_slice title);

#endif
