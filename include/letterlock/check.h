/*
 * check: who sent this letter? SPF, DKIM, ARC, DMARC and iprev of one letter, in one engine.
 *
 * What fronts, the milter and `letterlock verify` share: it feeds the letter to DKIM and ARC as it
 * comes, asks what each of them asks, and starts DMARC when the others have ended. Needs as
 * letterlock/need.h says; several are open at a time.
 *
 *     c = ll_check_new(&input);
 *     ll_check_feed(c, octets); ...                 header and body, in any pieces
 *     ll_check_end(c);
 *     while (ll_check_need(c, &need)) ...           any time from ll_check_new on
 *     if (ll_check_done(c)) r = ll_check_result(c);
 *     ll_check_free(c);
 *
 * Bounded work: the sum of what the engines allow themselves, LL_CHECK_NEEDS_MAX questions at most.
 */
#ifndef LETTERLOCK_CHECK_H
#define LETTERLOCK_CHECK_H

#include "letterlock/arc.h"
#include "letterlock/dkim.h"
#include "letterlock/dmarc.h"
#include "letterlock/msg.h"
#include "letterlock/need.h"
#include "letterlock/spf.h"

#define LL_CHECK_IPREV_NAMES 3 /* names of a PTR that are looked at (RFC 8601 2.7.3) */
#define LL_CHECK_NEEDS_MAX                                                                         \
    (LL_SPF_NEEDS_MAX + 2 * LL_DKIM_KEYS_MAX + LL_DMARC_NEEDS_MAX + 2 + LL_CHECK_IPREV_NAMES)

/* All is copied but `keys`. */
struct ll_check_input {
    uint8_t ip[16];            /* the client */
    uint8_t ip_n;              /* 4 or 16; 0: not known, there is no SPF and no iprev then */
    bool iprev;                /* look at the names of the client's address, too */
    struct ll_slice helo;      /* as the client said it */
    struct ll_slice mail_from; /* local@domain; empty: the null reverse-path */
    struct ll_slice receiver;  /* our host name */
    bool sender_mx;            /* ask whether mail_from's domain takes mail at all (RFC 7505) */
    struct ll_dkim_keys *keys; /* of DKIM and ARC, to be kept; outlives the check; NULL: none */
    int64_t unix_s;            /* seconds since 1970 */
    uint64_t now;              /* ms, monotonic */
};

/* iprev, RFC 8601 2.7.3. ROW(ID, word) */
#define LL_CHECK_IPREVS(ROW)                                                                       \
    ROW(NONE, "none") /* not looked at */                                                          \
    ROW(PASS, "pass")                                                                              \
    ROW(FAIL, "fail") /* no name of the address leads back to it */                                \
    ROW(TEMPERROR, "temperror")                                                                    \
    ROW(PERMERROR, "permerror") /* the address has no name */

enum ll_check_iprev {
#define LL_CHECK_ENUM(ID, word) LL_CHECK_IPREV_##ID,
    LL_CHECK_IPREVS(LL_CHECK_ENUM)
#undef LL_CHECK_ENUM
};
const char *ll_check_iprev_word(enum ll_check_iprev);

/* What was found; slices live as long as the check. */
struct ll_check_result {
    bool have_spf;
    struct ll_spf_result spf;
    enum ll_check_iprev iprev;
    struct ll_slice iprev_name; /* the name that leads back */
    bool sender_null_mx;        /* RFC 7505: mail_from's domain says that it takes no mail */
    const struct ll_dkim_result *dkim;
    size_t n_dkim;
    size_t dkim_skipped; /* signatures beyond LL_DKIM_SIGNATURES_MAX */
    struct ll_arc_result arc;
    /* OK: the letter has one author, and dmarc is about its domain. NO_FROM, MANY_FROM, BAD_FROM,
     * HEADER_LONG (over LL_MSG_HEADER_MAX): nothing can be
     * said of whom the reader would see (RFC 9989 5.3.1); dmarc is permerror. */
    enum ll_msg_error author_error;
    struct ll_slice author; /* local@domain */
    struct ll_dmarc_result dmarc;
    unsigned needs; /* questions asked in all */
};

struct ll_check;

/* NULL: no memory. */
struct ll_check *ll_check_new(const struct ll_check_input *);
void ll_check_free(struct ll_check *);
void ll_check_feed(struct ll_check *, struct ll_slice in);
void ll_check_end(struct ll_check *);
bool ll_check_need(struct ll_check *, struct ll_need *ret);
/* Is the need that was taken last DMARC's? All others have ended then. */
bool ll_check_at_dmarc(const struct ll_check *);
void ll_check_answer(struct ll_check *, const struct ll_need_answer *);
/* Tells the time, for SPF's limit. */
void ll_check_time(struct ll_check *, uint64_t now);
/* When that is over, in the same milliseconds; 0: SPF waits for nothing. */
uint64_t ll_check_deadline(const struct ll_check *);
/* Time is short: what SPF, DKIM, ARC and iprev have asked or would still ask counts as not
 * answered. DMARC may ask: whoever keeps their questions waiting (their zones are the sender's to
 * choose) must not keep us from the policy of the author's domain. */
void ll_check_hurry(struct ll_check *);
/* Time is up: every question that is open, and every one that would still be asked, counts as not
 * answered (temperror). Done is true then, once the letter is over. */
void ll_check_give_up(struct ll_check *);
/* Does what can be done. True: the letter is over and all is known. */
bool ll_check_done(struct ll_check *);
/* Valid once done. */
const struct ll_check_result *ll_check_result(const struct ll_check *);
/* The letter with its header, for signers and sealers on it, and for what was done. */
struct ll_dkim_letter *ll_check_letter(struct ll_check *);
const struct ll_arc *ll_check_arc(const struct ll_check *);

/* Does SPF or DKIM prove the domain of the reverse-path, so that a report may go there? SPF's pass
 * for MAIL FROM, or a passing signature whose d= is that domain or above it. */
bool ll_check_proves(const struct ll_check *, struct ll_slice reverse_path);

/* Writes spf, dkim, arc and dmarc into an Authentication-Results field that was begun (RFC 8601,
 * letterlock/authres.h); iprev, a login and TLS are the caller's to add. */
struct ll_authres_out;
void ll_check_authres(const struct ll_check *, struct ll_authres_out *);
/* Appends a Received-SPF field (RFC 7208 9.1), once done; nothing where there was no SPF. */
void ll_check_received_spf(const struct ll_check *, struct ll_slice receiver, struct ll_buf *out);

#endif
