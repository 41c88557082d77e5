/*
 * smtpd: the SMTP server engine (RFC 5321, 1870, 2034, 2920, 3030, 3207, 4954, 6152, 6409, 6531,
 * 9422). Sans-I/O: octets and time go in, events and questions are pulled out, replies are drained.
 *
 * The driver's loop:
 *
 *     ll_smtpd_start(s, now);                      the banner is in ll_smtpd_out
 *     on input:
 *         while (in.n) {
 *             in = ll_slice_skip(in, ll_smtpd_feed(s, in, now));
 *             while (ll_smtpd_next(s, &ev)) handle(ev);          may call ll_smtpd_answer
 *             if (ll_smtpd_asking(s) || closed or full) break;   keep `in` until the answer
 *         }
 *         write ll_smtpd_out(s), then ll_smtpd_out_done(s, written)
 *
 * - feed stops behind whatever gives an event, and takes nothing while a question is open, an event
 *   is not pulled yet, the output holds LL_SMTPD_OUT_FULL octets, or the session is closed.
 * - Questions (ASK_*, START_TLS) are answered with ll_smtpd_answer (START_TLS: see there), at once
 *   or later; no other question comes before. There is no deadline while a question is open.
 * - Write the output when the input is used up, not after every reply: that is what pipelining is
 *   for.
 * - Pull events behind every call but those that only read: answer, tls_up, timeout, drain and eof
 *   give events too.
 * - The driver keeps what was accepted (reverse-path, recipients, content). RESET says: forget it.
 *   Every transaction that had an accepted ASK_MAIL ends in exactly one of an answer to ASK_END (of
 *   any code), or RESET. RESET comes before any later question, and before CLOSE.
 * - Slices in events are valid until the next call of feed, answer or timeout; those of ASK_AUTH,
 *   ASK_MAIL and ASK_RCPT, and ASK_END's content, until the question is answered.
 *
 * The engine counts errors, junk commands and transactions, and ends sessions over their limits.
 * Passwords are wiped here when the question is answered; the driver's own input buffer, through
 * which they came, is the driver's to wipe. Session memory: under 1 KiB when no
 * transaction, partial line or output is pending.
 */
#ifndef LETTERLOCK_SMTPD_H
#define LETTERLOCK_SMTPD_H

#include <letterlock/base.h>
#include <letterlock/smtp.h>

#define LL_SMTPD_OUT_FULL 65536 /* octets of unsent replies at which no more input is taken */
#define LL_SMTPD_FLOOD    65536 /* octets of an overlong line that are read before the close */

enum ll_smtpd_kind {
    LL_SMTPD_MX,         /* port 25: no AUTH, ever */
    LL_SMTPD_SUBMISSION, /* 587, 465: MAIL needs a login or a trusted client */
};

/* Settings; borrowed by every session, shared, constant. ll_smtpd_conf_init fills the defaults in
 * brackets; a limit of 0 means: none, except where it says otherwise. */
struct ll_smtpd_conf {
    enum ll_smtpd_kind kind;
    const char *hostname;    /* own name: banner, EHLO */
    bool starttls;           /* offer STARTTLS (outside TLS) */
    bool dsn;                /* offer DSN (RFC 3461): the driver keeps and honours its parameters */
    uint64_t size_max;       /* octets of a letter [50 MiB] */
    uint32_t recipients_max; /* of one letter [100; submission 1000] */
    uint32_t errors_max;     /* replies >= 400 to commands in a session [20] */
    uint32_t junk_max;       /* commands in a row that bring no mail forward [100] */
    uint32_t transactions_max;  /* MAIL commands of a session [1000] */
    uint32_t line_max;          /* octets of a content line without CR LF [0: none; 4.5.3.1: "to the
                                 * maximum extent possible" no limits] */
    uint32_t auth_failures_max; /* failed logins of a session [3] */
    uint64_t command_timeout;   /* ms for a whole command to arrive [300000; 4.5.3.2.7] */
    uint64_t data_timeout;      /* ms of silence inside a letter [300000] */
    uint64_t letter_timeout;    /* ms for a whole letter's content [3600000] */
};
void ll_smtpd_conf_init(struct ll_smtpd_conf *, enum ll_smtpd_kind);

/* Facts of a TLS connection that is up. version and cipher must live as long as the session (the
 * TLS library's static strings do); client_name is copied. */
struct ll_smtpd_tls {
    const char *version;     /* "TLSv1.3" */
    const char *cipher;      /* "TLS_AES_256_GCM_SHA384" */
    const char *client_name; /* the name that the client's certificate proved, or NULL */
};

enum ll_smtpd_event_type {
    LL_SMTPD_NONE,
    /* Our 220 is in the output: flush it, do the handshake, then ll_smtpd_tls_up. On failure, free
     * the session. Octets left in the driver's input buffer: there are none, feed saw to it; octets
     * that arrive before the handshake begins belong to TLS. */
    LL_SMTPD_START_TLS,
    LL_SMTPD_ASK_AUTH, /* user, password. Answer: 235, 535 5.7.8, 454 4.7.0 */
    LL_SMTPD_ASK_MAIL, /* mail. Answer: 250 (default), 4xx, 5xx */
    LL_SMTPD_ASK_RCPT, /* rcpt. Answer: 250 (default), 4xx, 5xx */
    LL_SMTPD_ASK_DATA, /* content is about to come. Answer: 354 (default; for BDAT no reply is sent
                        * then), or 4xx, 5xx: the letter is refused and RESET follows */
    LL_SMTPD_BODY,     /* body: the next octets of the letter's content, never empty */
    LL_SMTPD_ASK_END, /* content: the letter is whole. Commit, then answer: 250 (default), 4xx, 5xx.
                       * The transaction is over with the answer */
    LL_SMTPD_RESET,   /* the transaction was dropped: forget its recipients and content */
    LL_SMTPD_CLOSE,   /* flush the output, then close. why: for the log */
};

struct ll_smtpd_event {
    enum ll_smtpd_event_type type;
    struct ll_slice user;            /* ASK_AUTH: without NUL, valid UTF-8, not empty */
    struct ll_slice password;        /* ASK_AUTH: without NUL, not empty */
    const struct ll_smtp_mail *mail; /* ASK_MAIL */
    /* ASK_RCPT: always with a domain; a bare <postmaster> has become postmaster@hostname. Indirect
     * forms (%, !, quoted @, routes) were refused before. */
    const struct ll_smtp_rcpt *rcpt;
    struct ll_slice body;                  /* BODY */
    const struct ll_smtp_content *content; /* ASK_END: size, eight_bit, longest line */
    bool bdat;                             /* ASK_DATA, ASK_END: the letter comes by BDAT */
    const char *why;                       /* CLOSE: "quit", "errors", "timeout" ...: one word */
};

/* code 0: the engine's default for the question (the positive one). enhanced NULL and text with p
 * NULL: the engine's own for that code's class. Codes that do not fit the question become 451. The
 * text is cleaned (ll_smtp_reply_put). 421 closes the session behind the reply. */
struct ll_smtpd_answer {
    uint16_t code;
    const char *enhanced;
    struct ll_slice text;
};

struct ll_smtpd; /* one session */

/* NULL without memory. conf must outlive the session. */
struct ll_smtpd *ll_smtpd_new(const struct ll_smtpd_conf *conf, uint64_t now);
void ll_smtpd_free(struct ll_smtpd *);

/* How it begins: one of these, before any feed. start: 220. refuse: 421 or 554 instead, then CLOSE
 * (RFC 5321 3.1). early_talker: the client wrote before the banner: 521 5.5.1, then CLOSE. With
 * implicit TLS call ll_smtpd_tls_up first. */
void ll_smtpd_start(struct ll_smtpd *, uint64_t now);
void ll_smtpd_refuse(struct ll_smtpd *, const struct ll_smtpd_answer *);
void ll_smtpd_early_talker(struct ll_smtpd *);

/* TLS is up: everything the client said before is forgotten (RFC 3207 4.2). It answers START_TLS;
 * for implicit TLS it is called before start. False without memory: free the session. */
bool ll_smtpd_tls_up(struct ll_smtpd *, const struct ll_smtpd_tls *facts, uint64_t now);
/* The client may relay without a login (network or certificate); submission then takes its MAIL. */
void ll_smtpd_trust(struct ll_smtpd *, bool trusted);

size_t ll_smtpd_feed(struct ll_smtpd *, struct ll_slice in, uint64_t now);
bool ll_smtpd_next(struct ll_smtpd *, struct ll_smtpd_event *ret);
/* Answers the open question (calling it without one is a bug: abort). a NULL: all defaults. */
void ll_smtpd_answer(struct ll_smtpd *, const struct ll_smtpd_answer *a, uint64_t now);
bool ll_smtpd_asking(const struct ll_smtpd *);
bool ll_smtpd_closed(const struct ll_smtpd *); /* CLOSE was or will be given; no input is taken */
/* Content is being received: for the driver's choice of read size. */
bool ll_smtpd_in_letter(const struct ll_smtpd *);

/* Octets to send; done says how many were sent. */
struct ll_slice ll_smtpd_out(const struct ll_smtpd *);
void ll_smtpd_out_done(struct ll_smtpd *, size_t n);

/* When timeout is to be called, in ms; UINT64_MAX: never. Changes with feed and answer. */
uint64_t ll_smtpd_deadline(const struct ll_smtpd *);
/* Time has passed: 421 4.4.2, RESET, CLOSE where the deadline is reached; else nothing. */
void ll_smtpd_timeout(struct ll_smtpd *, uint64_t now);
/* The server stops: 421 4.3.2 and CLOSE at once where no transaction is open, else behind the end
 * of the transaction. */
void ll_smtpd_drain(struct ll_smtpd *);
/* The connection is gone, or TLS was closed: RESET where a transaction is open, then CLOSE; an open
 * question is withdrawn (an answer that comes later is ignored). No reply is made. */
void ll_smtpd_eof(struct ll_smtpd *);

/* ---- facts for Received and for the log ----------------------------------------------------- */

struct ll_slice ll_smtpd_helo(const struct ll_smtpd *); /* clean EHLO name; empty: none or unfit */
bool ll_smtpd_esmtp(const struct ll_smtpd *);           /* it said EHLO */
struct ll_slice ll_smtpd_user(const struct ll_smtpd *); /* who logged in; empty: nobody */
const struct ll_smtpd_tls *ll_smtpd_tls(const struct ll_smtpd *); /* NULL: no TLS */
/* The `with` keyword: SMTP, ESMTP, ESMTPS, ESMTPA, ESMTPSA (RFC 3848), UTF8SMTP... (RFC 6531 3.7.3)
 * for the present transaction. */
const char *ll_smtpd_with(const struct ll_smtpd *);
/* The name that auth gave for the login (ASK_AUTH's answer 235), if it is to be another than the
 * one the client sent. False without memory. */
bool ll_smtpd_set_user(struct ll_smtpd *, struct ll_slice user);
/* Recipients accepted in the present transaction; MAIL commands accepted so far. */
uint32_t ll_smtpd_recipients(const struct ll_smtpd *);
uint32_t ll_smtpd_transactions(const struct ll_smtpd *);

#endif
