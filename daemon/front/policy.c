/* See policy.h. */
#include "daemon/front/policy.h"

#include "letterlock/authres.h"

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

const struct ll_verdict ll_verdict_dmarc = {
    550, "5.7.26", "The author's domain does not let this server send for it (DMARC)"};
const struct ll_verdict ll_verdict_spf = {
    550, "5.7.23", "The reverse-path's domain does not let this server send for it (SPF)"};
const struct ll_verdict ll_verdict_check_late = {
    451, "4.7.24", "Who sent the letter cannot be checked now, try again later"};

const struct ll_verdict ll_verdict_unsigned = {451, "4.7.5",
                                               "The letter cannot be signed now, try again later"};
const struct ll_verdict ll_verdict_null_mx = {
    550, "5.7.27", "The reverse-path's domain says that it takes no mail (null MX)"};

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
    static const struct ll_verdict reports_only = {
        550, "5.7.1", "This address takes reports (MAIL FROM:<>) alone"};

    *ret_probe = false;
    switch ((enum ll_addr_kind)addr_kind) {
    case LL_ADDR_MAILBOX:
        *ret_kind = LL_RCPT_MAILBOX;
        return yes;
    case LL_ADDR_REPORT:
        *ret_kind = LL_RCPT_REPORT;
        return yes;
    case LL_ADDR_ALIAS:
        *ret_kind = LL_RCPT_ALIAS;
        return yes;
    case LL_ADDR_BOUNCE:
        if (!r->null_path)
            return reports_only;
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

enum ll_dmarc_apply ll_policy_apply(const char *setting)
{
    static const char *const words[] = {[LL_DMARC_OFF] = "off",
                                        [LL_DMARC_REPORT] = "report",
                                        [LL_DMARC_JUNK] = "quarantine",
                                        [LL_DMARC_ENFORCE] = "enforce"};

    for (size_t i = 0; i < LL_COUNT(words); i++)
        if (strcmp(setting, words[i]) == 0)
            return (enum ll_dmarc_apply)i;
    return LL_DMARC_ENFORCE;
}

bool ll_policy_below(char *const *domains, struct ll_slice domain)
{
    for (size_t i = 0; domains[i]; i++)
        if (ll_dns_name_under(domain, ll_slice_str(domains[i])))
            return true;
    return false;
}

void ll_policy_letter(struct ll_provenance *p, const struct ll_check_result *r,
                      struct ll_slice header, char *const *arc_trusted)
{
    struct ll_msg_field f;

    p->list = ll_msg_field_find(header, LL_LIT("List-Id"), &f);
    /* A chain whose message signature leaves From out says nothing about who wrote it. */
    p->arc_known = r->arc.code == LL_ARC_PASS && r->arc.from_signed &&
                   ll_policy_below(arc_trusted, r->arc.domain);
    /* The newest sealer says that DMARC passed when the letter came to it. */
    p->arc_pass = p->arc_known && ll_authres_has(r->arc.results, LL_LIT("dmarc"), LL_LIT("pass"));
}

enum ll_fate ll_policy_dmarc(enum ll_dmarc_apply apply, const struct ll_dmarc_result *r,
                             const struct ll_provenance *p, const char **ret_override)
{
    *ret_override = NULL;
    if (r->code != LL_DMARC_FAIL || r->disposition == LL_DMARC_P_NONE)
        return LL_FATE_ACCEPT;
    if (apply <= LL_DMARC_REPORT || p->exception) {
        *ret_override = "local_policy";
        return LL_FATE_ACCEPT;
    }
    if (p->arc_pass) {
        *ret_override = "trusted_forwarder";
        return LL_FATE_ACCEPT;
    }
    if (r->disposition == LL_DMARC_P_QUARANTINE)
        return LL_FATE_JUNK;
    /* RFC 9989 7.4: not refused for p=reject alone, where there is a reason to think otherwise. */
    if (p->list || p->forwarder || p->arc_known) {
        *ret_override = p->list ? "mailing_list" : "trusted_forwarder";
        return LL_FATE_JUNK;
    }
    if (apply == LL_DMARC_JUNK) {
        *ret_override = "local_policy";
        return LL_FATE_JUNK;
    }
    return LL_FATE_REJECT;
}

enum ll_fate ll_policy_spf(const char *setting, const struct ll_check_result *r,
                           const struct ll_provenance *p)
{
    if (!r->have_spf || r->spf.code != LL_SPF_FAIL || strcmp(setting, "accept") == 0 ||
        r->dmarc.code == LL_DMARC_PASS || p->exception || p->forwarder || p->arc_pass)
        return LL_FATE_ACCEPT;
    return strcmp(setting, "reject") == 0 && !p->list ? LL_FATE_REJECT : LL_FATE_JUNK;
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
