/*
 * policy: what a front says to a sender, a recipient, a login and a finished letter. Pure tables:
 * facts go in, a verdict comes out. The one place that decides whether a client may relay.
 */
#ifndef LL_FRONT_POLICY_H
#define LL_FRONT_POLICY_H

#include "daemon/journal/writer.h"
#include "daemon/msg.h"
#include "letterlock/smtpd.h"

/* Code 0: yes (the engine's own words). */
struct ll_verdict {
    uint16_t code;
    const char *enhanced;
    const char *text;
};

/* Who is asking. */
struct ll_client_rights {
    bool submission; /* the listener's kind */
    bool login;      /* logged in */
    bool trusted;    /* its address is in trusted_networks */
    bool named_peer; /* its certificate proved one of the listener's client_names */
};

/* May this client send to other people's servers? Logged in (which only submission offers), in a
 * trusted network, or a named peer; nobody else, not even loopback. */
bool ll_policy_may_relay(const struct ll_client_rights *);

/* The verdict on a recipient of that kind (enum ll_addr_kind; what is none of them is LATER).
 * *ret_kind (enum ll_rcpt_kind) is set where the answer is yes. *ret_probe: the inner server must
 * be asked first; ll_policy_probe then decides. */
struct ll_verdict ll_policy_rcpt(const struct ll_client_rights *, uint8_t addr_kind,
                                 uint8_t *ret_kind, bool *ret_probe);
/* The inner server's answer; 0: not known. */
struct ll_verdict ll_policy_probe(uint16_t code);

/* LOGIN_ANSWER (enum ll_login). */
struct ll_verdict ll_policy_login(uint8_t result);
/* A letter may begin, or is stored. */
struct ll_verdict ll_policy_stored(enum ll_stored);
/* Fixed verdicts. */
extern const struct ll_verdict ll_verdict_auth_away, ll_verdict_later, ll_verdict_sender,
    ll_verdict_local_sender, ll_verdict_rate, ll_verdict_loop, ll_verdict_received, ll_verdict_full,
    ll_verdict_busy, ll_verdict_many_from;

#endif
