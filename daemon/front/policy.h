/*
 * policy: what a front says to a sender, a recipient, a login and a finished letter. Pure tables:
 * facts go in, a verdict comes out. The one place that decides whether a client may relay.
 */
#ifndef LL_FRONT_POLICY_H
#define LL_FRONT_POLICY_H

#include "daemon/journal/writer.h"
#include "daemon/msg.h"
#include "letterlock/check.h"
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
    bool null_path;  /* what it sends now has the null reverse-path: a report */
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

/* ---- who sent it: DMARC, and SPF alone ----------------------------------------------------------
 */

/* A domain's setting `dmarc`. */
enum ll_dmarc_apply { LL_DMARC_OFF, LL_DMARC_REPORT, LL_DMARC_JUNK, LL_DMARC_ENFORCE };
enum ll_dmarc_apply ll_policy_apply(const char *setting);

/* What else is known of the letter. */
struct ll_provenance {
    bool list;      /* it has a List-Id (RFC 2919): a list sent it on */
    bool forwarder; /* its client is in `forwarders` */
    bool exception; /* its author or client is in `dmarc_exceptions` */
    bool arc_pass;  /* a trusted sealer says that DMARC passed there */
    bool arc_known; /* the chain holds, and a trusted sealer made its newest seal */
};

/* Is the domain one of these (NULL-terminated) or below one? */
bool ll_policy_below(char *const *domains, struct ll_slice domain);
/* What the letter itself tells: list, arc_known and arc_pass. */
void ll_policy_letter(struct ll_provenance *, const struct ll_check_result *,
                      struct ll_slice header, char *const *arc_trusted);

enum ll_fate { LL_FATE_ACCEPT, LL_FATE_JUNK, LL_FATE_REJECT };

/* What happens to a letter for a recipient whose domain has that setting. *ret_override, where the
 * author's domain asked for more: the word of RFC 9990 for why ("local_policy", "mailing_list",
 * "trusted_forwarder"); else NULL. */
enum ll_fate ll_policy_dmarc(enum ll_dmarc_apply, const struct ll_dmarc_result *,
                             const struct ll_provenance *, const char **ret_override);
/* The same for the setting `spf_fail`. */
enum ll_fate ll_policy_spf(const char *setting, const struct ll_check_result *,
                           const struct ll_provenance *);

/* LOGIN_ANSWER (enum ll_login). */
struct ll_verdict ll_policy_login(uint8_t result);
/* A letter may begin, or is stored. */
struct ll_verdict ll_policy_stored(enum ll_stored);
/* Fixed verdicts. */
extern const struct ll_verdict ll_verdict_auth_away, ll_verdict_later, ll_verdict_sender,
    ll_verdict_local_sender, ll_verdict_rate, ll_verdict_loop, ll_verdict_received, ll_verdict_full,
    ll_verdict_busy, ll_verdict_many_from, ll_verdict_dmarc, ll_verdict_spf, ll_verdict_check_late,
    ll_verdict_unsigned, ll_verdict_null_mx;

#endif
