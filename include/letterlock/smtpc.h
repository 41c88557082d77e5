/*
 * smtpc: the client's side of SMTP (RFC 5321) and LMTP (RFC 2033) as an engine without sockets or
 * clock. Bytes and time go in, bytes and events come out. One engine is one session; it carries
 * any number of letters, one after the other, and pipelines where the peer lets it.
 *
 *     c = ll_smtpc_new(&conf, now);
 *     for (;;) {
 *         while (ll_smtpc_next(c, &e))       drain events first: they may add output
 *             switch on e.type ...
 *         n = ll_smtpc_out(c, parts, 16);    then write: writev() on the parts
 *         ll_smtpc_out_done(c, written, now);
 *         ... poll until readable, writable or ll_smtpc_deadline(c) ...
 *         ll_smtpc_feed(c, bytes, now);  or  ll_smtpc_eof(c);  or  ll_smtpc_timeout(c, now);
 *     }
 *
 * Promises
 *  - Each letter given to ll_smtpc_letter gets exactly one LL_SMTPC_DONE, with one result for each
 *    recipient, however the session ends.
 *  - The last event of a session is LL_SMTPC_FAILED or LL_SMTPC_CLOSED; after it the engine takes
 *    no input, gives no output, and the driver closes the connection.
 *  - Under LL_SMTPC_TLS_FORCED and _IMPLICIT neither MAIL nor AUTH leaves before ll_smtpc_tls_up.
 *    AUTH never leaves in clear in any mode. Clear text behind the 220 of STARTTLS ends the
 *    session (RFC 3207 4.2, response injection), as do replies nobody asked for.
 *  - A body is checked octet by octet: CR and LF only as CR LF, no NUL, CR LF at its end. A body
 *    that breaks this is never finished: its letter fails and the connection is dropped, so that
 *    no peer can see two letters in one.
 *  - Memory is bounded, whatever the peer sends: LL_SMTPC_..._MAX below, and for replies
 *    LL_SMTP_REPLY_IN_MAX and LL_SMTP_REPLY_LINES of smtp.h.
 *
 * Pipelining (RFC 2920). Where offered, MAIL, all RCPT and DATA leave at once. As soon as a body is
 * wholly handed over, LL_SMTPC_READY asks for the next letter, so that its envelope leaves in the
 * same write as the final dot. The end of that next letter is not sent before the reply to the
 * first has come: at most one letter of a session is ever in doubt.
 *
 * Chunking (RFC 3030). Where the peer offers CHUNKING and PIPELINING, bodies go by BDAT: nothing
 * to stuff, no wait for 354. The body of a letter of at most LL_SMTPC_EAGER_MAX octets leaves at
 * once with its envelope: one round trip for a letter. A larger one waits until a recipient has
 * been accepted. no_chunking switches it off.
 *
 * No copy of a body is made: ll_smtpc_out hands out the driver's own bytes, between the engine's
 * few (commands, the dots of RFC 5321 4.5.2).
 */
#ifndef LETTERLOCK_SMTPC_H
#define LETTERLOCK_SMTPC_H

#include "letterlock/base.h"

#define LL_SMTPC_TEXT_MAX       512   /* octets of text kept of one reply */
#define LL_SMTPC_ADDRESS_MAX    512   /* octets of one address; RFC 5321 4.5.3.1.3 says 254 */
#define LL_SMTPC_RECIPIENTS_MAX 10000 /* of one letter given to the engine */
#define LL_SMTPC_RCPT_DEFAULT   100   /* recipients in one transaction, RFC 5321 4.5.3.1.8 */
#define LL_SMTPC_EAGER_MAX      65536 /* octets of a body sent before its recipients' replies */
#define LL_SMTPC_OUT_PARTS      64    /* parts that one ll_smtpc_out can use */

struct ll_smtpc;

enum ll_smtpc_tls {
    LL_SMTPC_TLS_NONE,          /* never STARTTLS */
    LL_SMTPC_TLS_OPPORTUNISTIC, /* STARTTLS where offered, clear text where not or refused */
    LL_SMTPC_TLS_FORCED,        /* STARTTLS or nothing */
    LL_SMTPC_TLS_IMPLICIT       /* the connection is TLS before the greeting (RFC 8314) */
};

/* Where in the session something happened. ll_smtpc_phase_name gives the word for logs. */
enum ll_smtpc_phase {
    LL_SMTPC_CONNECT, /* for drivers: before there is an engine */
    LL_SMTPC_GREETING,
    LL_SMTPC_HELLO, /* EHLO, HELO, LHLO */
    LL_SMTPC_STARTTLS,
    LL_SMTPC_HANDSHAKE, /* TLS itself */
    LL_SMTPC_AUTH,
    LL_SMTPC_LOCAL, /* decided here, before the peer was asked: size, SMTPUTF8, a bad address */
    LL_SMTPC_MAIL,
    LL_SMTPC_RCPT,
    LL_SMTPC_DATA,  /* DATA or BDAT refused before the body's end */
    LL_SMTPC_BODY,  /* while the body was on its way */
    LL_SMTPC_FINAL, /* the reply to the dot, BDAT LAST */
    LL_SMTPC_RSET,
    LL_SMTPC_IDLE, /* between letters */
    LL_SMTPC_QUIT,
    LL_SMTPC_PHASES /* their number */
};

const char *ll_smtpc_phase_name(enum ll_smtpc_phase);

/* Milliseconds to wait for progress; 0 takes the default, which is the minimum of RFC 5321
 * 4.5.3.2. Each counts for one command, from when it was written or the reply before it came. */
struct ll_smtpc_timeouts {
    uint32_t greeting;  /* 300 s */
    uint32_t hello;     /* 300 s: EHLO, HELO, LHLO, RSET, STARTTLS, AUTH */
    uint32_t handshake; /* 120 s: TLS */
    uint32_t envelope;  /* 300 s: MAIL, RCPT */
    uint32_t data;      /* 120 s: the 354 */
    uint32_t block;     /* 180 s: a block of the body must be taken within it */
    uint32_t final;     /* 600 s: the reply to the final dot or BDAT LAST */
    uint32_t quit;      /* 10 s: for QUIT there is no promise to keep */
};

struct ll_smtpc_conf {
    struct ll_slice own_name; /* for EHLO: a host name or address literal; copied */
    bool lmtp;                /* LHLO, and one reply for each recipient after the body */
    enum ll_smtpc_tls tls;
    struct ll_slice user;     /* empty: no login. Where set, the session fails without AUTH */
    struct ll_slice password; /* copied, wiped after AUTH and by ll_smtpc_free */
    bool no_pipelining;       /* as if the peer did not offer it (broken peers, tests) */
    bool no_chunking;
    uint32_t rcpt_max; /* recipients in one transaction; 0: LL_SMTPC_RCPT_DEFAULT */
    struct ll_smtpc_timeouts timeouts;
};

/* What is known of the peer; valid from the first READY, and changed by STARTTLS. */
struct ll_smtpc_peer {
    struct ll_slice name; /* as its EHLO reply named it; clean ASCII, may be empty */
    bool esmtp;           /* false: HELO only */
    bool tls;             /* the session is under TLS */
    bool starttls;
    bool pipelining;
    bool chunking;
    bool eightbit; /* 8BITMIME */
    bool smtputf8;
    bool size;
    bool dsn;
    bool enhanced; /* ENHANCEDSTATUSCODES */
    bool auth_plain;
    bool auth_login;
    bool requiretls;
    bool authenticated;
    uint64_t size_max;        /* octets; 0: no limit told */
    uint32_t rcpt_max;        /* LIMITS RCPTMAX (RFC 9422); 0: not told */
    uint32_t rcpt_domain_max; /* LIMITS RCPTDOMAINMAX: domains in one transaction; 0: not told */
    uint32_t mail_max;        /* LIMITS MAILMAX: transactions in a session; 0: not told */
};

struct ll_smtpc_recipient {
    struct ll_slice address; /* local@domain without <>, as it goes on the wire */
    struct ll_slice notify;  /* RFC 3461 NOTIFY= value, or empty; sent only where DSN is offered */
    struct ll_slice orcpt;   /* ORCPT= value, "type;address" (ll_orcpt_ok), or empty */
};

/* All slices and the array are borrowed until this letter's DONE has been pulled. */
struct ll_smtpc_letter {
    void *tag;                    /* the driver's; comes back in events */
    struct ll_slice reverse_path; /* without <>; empty: the null reverse-path */
    const struct ll_smtpc_recipient *recipients;
    size_t recipient_count; /* 1..LL_SMTPC_RECIPIENTS_MAX */
    uint64_t size;          /* octets of the body as given to ll_smtpc_body; exact */
    bool eightbit;          /* holds octets above 127: needs 8BITMIME */
    bool smtputf8;          /* UTF-8 in the header; an 8-bit address counts by itself */
    struct ll_slice ret;    /* RFC 3461 RET= "FULL" or "HDRS", or empty */
    struct ll_slice envid;  /* ENVID= value in xtext, or empty */
    bool probe; /* only MAIL and RCPT, then RSET: DELIVERED means that the recipient was accepted,
                   with its reply; no body is asked for and nothing is sent */
};

enum ll_smtpc_outcome {
    LL_SMTPC_DELIVERED, /* the peer has taken responsibility */
    LL_SMTPC_DEFERRED,  /* try again later, perhaps at another host */
    LL_SMTPC_REFUSED,   /* for good */
    LL_SMTPC_AGAIN      /* not tried: over the recipients of one transaction; give it as a new
                           letter, at once if you like */
};

struct ll_smtpc_result {
    enum ll_smtpc_outcome outcome;
    enum ll_smtpc_phase phase;
    uint16_t code;        /* the reply's code; 0: no reply, decided here */
    uint16_t enhanced[3]; /* RFC 3463: {5, 1, 1}; always filled, from the code where none came */
    struct ll_slice text; /* <= LL_SMTPC_TEXT_MAX octets, printable ASCII; without the codes.
                             The reply's lines joined by SP, or a sentence of ours when code is 0 */
};

enum ll_smtpc_event_type {
    LL_SMTPC_START_TLS, /* do the handshake, then ll_smtpc_tls_up or _tls_failed. All output is
                           written already. Bytes that the driver has read behind the reply must be
                           fed (feed never leaves some untaken), so that the engine can refuse. */
    LL_SMTPC_READY,     /* a letter may be given now; comes once for each letter */
    LL_SMTPC_NEED_BODY, /* call ll_smtpc_body for e.tag; the last chunk's bytes are free again */
    LL_SMTPC_DONE,      /* e.tag's letter: e.results[e.result_count], in its recipients' order,
                           valid until the next ll_smtpc_next or ll_smtpc_letter */
    LL_SMTPC_FAILED,    /* the session is over by a fault: e.phase, e.result. Letters on their way
                           had their DONE before this. result.outcome: DEFERRED or REFUSED; text:
                           the peer's words, or a sentence for people when code is 0 */
    LL_SMTPC_CLOSED     /* the session ended by QUIT, or the peer left between letters */
};

struct ll_smtpc_event {
    enum ll_smtpc_event_type type;
    void *tag;                             /* NEED_BODY, DONE */
    const struct ll_smtpc_result *results; /* DONE */
    size_t result_count;           /* 0: there was no memory for results; the letter is deferred */
    struct ll_smtpc_result result; /* FAILED */
};

/* NULL without memory, or when conf is wrong (own_name empty or not clean). */
struct ll_smtpc *ll_smtpc_new(const struct ll_smtpc_conf *, uint64_t now);
/* Wipes and frees. Letters without DONE are forgotten: their outcome is not known. */
void ll_smtpc_free(struct ll_smtpc *);

/* Bytes from the peer; all of them are taken. */
void ll_smtpc_feed(struct ll_smtpc *, struct ll_slice in, uint64_t now);
/* The peer closed its side (or TLS close_notify: nothing in clear is ever taken after it). */
void ll_smtpc_eof(struct ll_smtpc *);
/* The connection broke; why: a few words for the log ("Connection reset by peer"). */
void ll_smtpc_broken(struct ll_smtpc *, struct ll_slice why);
/* The next event; false when there is none for now. */
bool ll_smtpc_next(struct ll_smtpc *, struct ll_smtpc_event *ret);

/* What is to be written: up to max parts, in order, none empty; returns their number. The layout of
 * struct ll_slice is that of struct iovec on every system we build for. Parts stay valid until
 * the next call of _out_done, _letter, _body or _feed. */
size_t ll_smtpc_out(struct ll_smtpc *, struct ll_slice *ret_parts, size_t max);
/* n octets of it were written. */
void ll_smtpc_out_done(struct ll_smtpc *, size_t n, uint64_t now);

/* When to call ll_smtpc_timeout, in the driver's milliseconds; UINT64_MAX: nothing is awaited. */
uint64_t ll_smtpc_deadline(const struct ll_smtpc *);
void ll_smtpc_timeout(struct ll_smtpc *, uint64_t now); /* before the deadline: nothing happens */

/* The answer to START_TLS. */
void ll_smtpc_tls_up(struct ll_smtpc *, uint64_t now);
/* why: for people, "the certificate is for mail.example, not mx.example". Ends the session; an
 * opportunistic driver then connects anew with LL_SMTPC_TLS_NONE. */
void ll_smtpc_tls_failed(struct ll_smtpc *, struct ll_slice why);

/* The answer to READY. A letter that cannot be sent to this peer gets its DONE at once. */
void ll_smtpc_letter(struct ll_smtpc *, const struct ll_smtpc_letter *, uint64_t now);
/* The answer to NEED_BODY: a part of the body, borrowed until the next NEED_BODY or this letter's
 * DONE. Parts of 64 KiB and more are best; last: the body ends with it (it may be empty then). */
void ll_smtpc_body(struct ll_smtpc *, struct ll_slice part, bool last, uint64_t now);
/* The answer to NEED_BODY when the body cannot be had: the letter is deferred, the session ends
 * without its final dot. why: for the log. */
void ll_smtpc_body_failed(struct ll_smtpc *, struct ll_slice why);
/* Ends the session once the letters on their way are done; CLOSED follows. */
void ll_smtpc_quit(struct ll_smtpc *, uint64_t now);

const struct ll_smtpc_peer *ll_smtpc_peer(const struct ll_smtpc *);

#endif
