/*
 * dsn: delivery status notifications (RFC 3464), the letter that tells a sender what became of
 * a letter: multipart/report (RFC 6522) with a part for people, one for machines, and the original
 * or its header. Deterministic: date, boundary and message-id are the caller's.
 *
 * What is built is ASCII (UTF-8 in the text for people goes as quoted-printable, an original with
 * UTF-8 in its header as message/global), so that it needs no extension of any server; but for a
 * `to` that is UTF-8 itself, and for an original whose body is 8-bit: *ret_needs says so.
 *
 * Addresses in UTF-8 make the machine part a message/global-delivery-status (RFC 6533 4.1), in
 * which they stand as they are; where the original came without SMTPUTF8, whoever reads the report
 * may not know that type, and they stand in a message/delivery-status in the ASCII form of RFC
 * 6533 3.
 *
 * The caller sends it with the null reverse-path (RFC 5321 4.5.5), and never for a letter that came
 * with one.
 */
#ifndef LETTERLOCK_DSN_H
#define LETTERLOCK_DSN_H

#include "letterlock/base.h"

#define LL_DSN_MAX            (4u << 20)   /* octets of a report */
#define LL_DSN_HEADER_MAX     (64u * 1024) /* octets of the original's header; cut behind a field */
#define LL_DSN_DIAGNOSTIC_MAX 512          /* octets of a server's words; the rest is cut */
#define LL_DSN_RECIPIENTS_MAX 10000        /* in one report */

enum ll_dsn_action {
    LL_DSN_FAILED,
    LL_DSN_DELAYED,
    LL_DSN_DELIVERED,
    LL_DSN_RELAYED, /* to a server without DSN */
    LL_DSN_EXPANDED,
    LL_DSN_ACTIONS /* their number */
};

/* Slices may be empty where a fact is not known; hostile octets in them are cleaned. */
struct ll_dsn_recipient {
    struct ll_slice address; /* Final-Recipient: local@domain */
    struct ll_slice orcpt;   /* ORCPT as it came: type;address. Empty: none */
    enum ll_dsn_action action;
    uint16_t status[3];         /* {5, 1, 1} */
    struct ll_slice remote_mta; /* host name of the server that spoke; empty: nobody was reached */
    uint16_t code;              /* its reply code; 0: no reply */
    struct ll_slice diagnostic; /* its words, without codes; or our own sentence when code is 0 */
    int64_t last_attempt;       /* seconds since 1970; 0: not known */
    int64_t retry_until;        /* DELAYED: when we give up; 0: not known */
};

struct ll_dsn {
    struct ll_slice reporting_mta; /* own host name */
    struct ll_slice from;          /* mailbox the report comes from: "postmaster@mx.example" */
    struct ll_slice to;            /* the original's reverse-path: local@domain */
    struct ll_slice message_id;    /* with its < and > */
    struct ll_slice boundary;      /* 1..60 letters and digits that the original does not hold */
    int64_t date;                  /* seconds since 1970 */
    int64_t arrival;               /* of the original; 0: not known */
    bool utf8;                     /* the original came with SMTPUTF8 */
    struct ll_slice envid;         /* ENVID as it came (xtext); empty: none */
    struct ll_slice header;        /* the original's header, without the empty line */
    struct ll_slice content; /* the whole original, header and all, to be returned (RET=FULL, RFC
                              * 3461 6.2). Empty, or with a line that no server need take: the
                              * header alone */
    const struct ll_dsn_recipient *recipients;
    size_t recipient_count; /* 1..LL_DSN_RECIPIENTS_MAX */
};

/* What the servers on the report's way must offer. */
enum {
    LL_DSN_NEEDS_UTF8 = 1, /* SMTPUTF8 */
    LL_DSN_NEEDS_8BIT = 2, /* 8BITMIME */
};

/* Appends the report in wire form (CR LF, no line over 998 octets). False: no memory, over
 * LL_DSN_MAX or out's maximum, no recipient, or names that are not clean (reporting_mta, from, to,
 * message_id, boundary). *ret_needs: LL_DSN_NEEDS_*. */
bool ll_dsn_build(const struct ll_dsn *, struct ll_buf *out, unsigned *ret_needs);

#endif
