/* See policy.h. */
#include "daemon/front/policy.h"

const struct ll_verdict ll_verdict_auth_away = {454, "4.7.0",
                                                "Logins cannot be checked now, try again later"};
const struct ll_verdict ll_verdict_later = {451, "4.3.0", "Not possible now, try again later"};
const struct ll_verdict ll_verdict_sender = {553, "5.7.1",
                                             "This login may not send from that address"};
const struct ll_verdict ll_verdict_local_sender = {
    553, "5.7.1",
    "This user may not send from that address (see trusted_users and local_any_sender)"};
const struct ll_verdict ll_verdict_rate = {450, "4.7.1",
                                           "Too many letters from this user, try again later"};
const struct ll_verdict ll_verdict_loop = {
    554, "5.4.6", "The letter loops: it was delivered to this address before"};
const struct ll_verdict ll_verdict_received = {554, "5.4.6",
                                               "The letter loops: too many Received fields"};
const struct ll_verdict ll_verdict_full = {452, "4.3.1", "No space for the letter, try later"};
const struct ll_verdict ll_verdict_busy = {452, "4.3.2", "Too many letters at once, try later"};
const struct ll_verdict ll_verdict_many_from = {554, "5.6.0",
                                                "The letter has more than one From field"};

static const struct ll_verdict yes = {0, NULL, NULL};

bool ll_policy_may_relay(const struct ll_client_rights *r)
{
    return (r->submission && r->login) || r->trusted || r->named_peer;
}

struct ll_verdict ll_policy_rcpt(const struct ll_client_rights *r, uint8_t addr_kind,
                                 uint8_t *ret_kind, bool *ret_probe)
{
    static const struct ll_verdict unknown = {550, "5.1.1", "No such recipient here"};
    static const struct ll_verdict denied = {550, "5.7.1", "Relaying denied"};

    *ret_probe = false;
    switch ((enum ll_addr_kind)addr_kind) {
    case LL_ADDR_MAILBOX:
        *ret_kind = LL_RCPT_MAILBOX;
        return yes;
    case LL_ADDR_ALIAS:
        *ret_kind = LL_RCPT_ALIAS;
        return yes;
    case LL_ADDR_PROBE:
        /* Our own users get a report where the inner server says no; strangers are asked about. */
        *ret_probe = !r->submission;
        *ret_kind = LL_RCPT_REMOTE;
        return yes;
    case LL_ADDR_RELAY:
        *ret_kind = LL_RCPT_REMOTE;
        return yes;
    case LL_ADDR_OUTSIDE:
        if (!ll_policy_may_relay(r))
            return denied;
        *ret_kind = LL_RCPT_REMOTE;
        return yes;
    case LL_ADDR_UNKNOWN:
        return unknown;
    case LL_ADDR_LATER:
        break;
    }
    return ll_verdict_later;
}

struct ll_verdict ll_policy_probe(uint16_t code)
{
    static const struct ll_verdict refused = {550, "5.1.1", "The recipient's server refuses it"};
    static const struct ll_verdict later = {450, "4.2.0",
                                            "The recipient's server cannot say now, try later"};

    if (code >= 200 && code < 300)
        return yes;
    return code >= 500 && code < 600 ? refused : later;
}

struct ll_verdict ll_policy_login(uint8_t result)
{
    static const struct ll_verdict refused = {535, "5.7.8", "Wrong user name or password"};

    if (result == LL_LOGIN_OK)
        return yes;
    return result == LL_LOGIN_REFUSED ? refused : ll_verdict_auth_away;
}

struct ll_verdict ll_policy_stored(enum ll_stored stored)
{
    static const struct ll_verdict broken = {451, "4.3.0",
                                             "The letter cannot be stored now, try later"};

    if (stored == LL_STORED)
        return yes;
    return stored == LL_STORED_FULL ? ll_verdict_full : broken;
}
