/*
 * The inside of the client engine: what its files share. See include/letterlock/smtpc.h.
 *
 *   client.c         life, events, time, the session before its first letter
 *   client_letter.c  a letter: envelope, body, results
 *   client_out.c     what is written: commands, and the body between them
 *
 * Order is everything in a pipelined session. Each command that is queued pushes an `expect`; each
 * reply belongs to the oldest of them. A letter lives in one of two slots: one whose end waits for
 * its reply, and one whose envelope is already behind it.
 */
#ifndef LETTERLOCK_SMTP_CLIENT_H
#define LETTERLOCK_SMTP_CLIENT_H

#include "letterlock/sasl.h"
#include "letterlock/smtp.h"
#include "letterlock/smtpc.h"

#define EXPECTS   16          /* entries: two letters with five each, and RSET, fit well */
#define CMD_MAX   (16u << 20) /* octets of queued commands: 10000 recipients of 512 octets fit */
#define TEXTS_MAX (8u << 20)  /* octets of reply texts of one letter */

/* Named by what is expected next. */
enum client_state {
    CLIENT_GREETING,
    CLIENT_EHLO, /* or LHLO */
    CLIENT_HELO,
    CLIENT_STARTTLS,
    CLIENT_TLS, /* the driver's handshake */
    CLIENT_AUTH,
    CLIENT_LETTERS,
    CLIENT_QUIT,
    CLIENT_END
};

enum expect_kind {
    EXPECT_SESSION, /* greeting, hello, STARTTLS, AUTH: the state says which */
    EXPECT_MAIL,
    EXPECT_RCPT,
    EXPECT_DATA,
    EXPECT_BDAT,  /* a chunk that is not the last */
    EXPECT_FINAL, /* the dot, BDAT LAST */
    EXPECT_VOID,  /* a lone dot: nobody waits for its meaning */
    EXPECT_RSET,
    EXPECT_QUIT
};

struct slot;

struct expect {
    enum expect_kind kind;
    uint32_t count;    /* replies of this kind that follow one another */
    struct slot *slot; /* NULL: the session's */
    uint64_t mark;     /* octets of commands that must have left before a reply is due */
    uint64_t chunk;    /* parts of a body that must have left */
};

enum rcpt_state {
    RCPT_WAITING,
    RCPT_SENT,
    RCPT_ACCEPTED,
    RCPT_SETTLED /* its result stands */
};

struct rcpt {
    enum rcpt_state state;
    uint32_t text_at; /* in the slot's texts */
    uint32_t text_n;
};

enum slot_state {
    SLOT_FREE,
    SLOT_ENVELOPE,
    SLOT_BODY, /* the envelope stands, the body comes or is coming */
    SLOT_FINAL,
    SLOT_DONE /* settled, its event not pulled yet */
};

struct slot {
    enum slot_state state;
    struct ll_smtpc_letter letter;
    struct rcpt *rcpts;
    struct ll_smtpc_result *results;
    size_t room; /* recipients that the two arrays can hold */
    struct ll_buf texts;
    size_t sent;       /* recipients gone through by RCPT */
    size_t replied;    /* recipients gone through by its replies */
    size_t confirmed;  /* recipients gone through by LMTP's last replies */
    size_t accepted;   /* in state RCPT_ACCEPTED */
    uint32_t awaiting; /* replies still due */
    bool begun;        /* MAIL was queued */
    bool mail_ok;
    bool bdat;
    bool aborted;    /* nothing of the body may follow */
    bool data_said;  /* DATA was queued */
    bool asked;      /* NEED_BODY was pulled or is about to be */
    bool chunked;    /* at least one BDAT was queued */
    uint8_t tail[2]; /* the body's last octets */
    uint64_t body_octets;
};

struct ll_smtpc {
    enum client_state state;
    struct ll_smtpc_peer peer;
    struct ll_smtp_reply reply;
    uint64_t progress; /* when something last moved */
    uint64_t now;

    /* conf */
    struct ll_buf own_name, user, password;
    struct ll_buf peer_name;
    enum ll_smtpc_tls tls;
    bool lmtp, no_pipelining, no_chunking;
    uint32_t rcpt_max;
    struct ll_smtpc_timeouts timeouts;

    struct ll_sasl_client sasl;
    struct expect expects[EXPECTS];
    size_t expect_at, expect_n;

    struct slot slots[2];
    struct slot *cur; /* the letter on its way out; NULL: none */
    bool need_rset;   /* a transaction may be open at the peer */
    bool quitting;
    uint32_t transactions;

    /* events not pulled yet */
    bool ev_tls, ev_body, ready_told, ev_end;
    bool failed; /* the end is FAILED, else CLOSED */
    struct ll_smtpc_result failure;
    struct ll_buf failure_text;

    /* output */
    struct ll_buf cmd[2]; /* before the body's part, and behind it */
    size_t cmd_at;        /* octets of cmd[0] that were written */
    uint64_t cmd_queued, cmd_written;
    uint64_t chunks_queued, chunks_written;
    bool body_out; /* a part of a body is being written */
    struct ll_slice body;
    size_t body_at; /* octets of it that are planned */
    bool stuffing;  /* by DATA: dots are added */
    struct ll_smtp_stuff stuff;
    struct ll_slice parts[LL_SMTPC_OUT_PARTS]; /* planned parts of the body */
    size_t part_at, part_n;
};

/* ---- client.c ---- */
void client_expect(struct ll_smtpc *, enum expect_kind, struct slot *, uint32_t count);
struct expect *client_head(struct ll_smtpc *);
/* Ends the session by a fault that no reply tells; letters on their way are deferred with the same
 * words. */
void client_fail(struct ll_smtpc *, enum ll_smtpc_phase, struct ll_slice text);
/* The session ends by the reply just read. */
void client_fail_reply(struct ll_smtpc *, enum ll_smtpc_phase, bool keep_permanent);
void client_close(struct ll_smtpc *);
/* Sends QUIT when it was asked for and nothing is on its way. */
void client_try_quit(struct ll_smtpc *);
enum ll_smtpc_phase client_phase(enum expect_kind);
/* The end of this letter's body has left: its outcome is in doubt. */
bool client_end_sent(const struct ll_smtpc *, const struct slot *);
/* The enhanced code of a reply, {class, 0, 0} where it had none. */
void client_status(const struct ll_smtp_reply *, bool permanent, uint16_t ret[3]);

/* ---- client_letter.c ---- */
void letter_reply(struct ll_smtpc *, struct expect *);
/* Settles what is not settled of every letter, with a fault of the session. */
void letter_fail_all(struct ll_smtpc *, const struct ll_smtpc_result *failure);
/* The body breaks the line policy or cannot be read: its letter ends so, and the session. */
void letter_bad_body(struct ll_smtpc *, enum ll_smtpc_outcome, struct ll_slice why);
bool letter_may_begin(const struct ll_smtpc *);
bool letter_idle(const struct ll_smtpc *);
/* Moves on after a reply or a written chunk. */
void letter_advance(struct ll_smtpc *);
void letter_release(struct slot *);
/* Makes the results of a done letter ready for its event. */
void letter_results(struct slot *);

/* ---- client_out.c ---- */
void out_put(struct ll_smtpc *, struct ll_slice);
void out_puts(struct ll_smtpc *, const char *);
void out_body(struct ll_smtpc *, struct ll_slice part, bool stuffing);
bool out_empty(const struct ll_smtpc *);
void out_wipe(struct ll_smtpc *); /* overwrites what was written: passwords */
void out_release(struct ll_smtpc *);

#endif
