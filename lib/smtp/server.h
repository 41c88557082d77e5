/* The inside of the server engine; see include/letterlock/smtpd.h for the outside. */
#ifndef LL_SMTP_SERVER_H
#define LL_SMTP_SERVER_H

#include "letterlock/sasl.h"
#include "letterlock/smtpd.h"

/* What the next octets are. */
enum state {
    ST_NEW,     /* nothing yet: the banner is not written */
    ST_COMMAND, /* a command line */
    ST_AUTH,    /* a line of an AUTH exchange */
    ST_DATA,    /* content by DATA */
    ST_BDAT,    /* octets of a chunk */
    ST_SKIP,    /* octets of a chunk that was refused */
    ST_FLOOD,   /* the rest of an overlong line */
    ST_CLOSED,
};

enum { /* events to pull, in this order */
       PEND_RESET = 1,
       PEND_BODY = 2,
       PEND_ASK = 4,
       PEND_CLOSE = 8,
};

/* One transaction, from MAIL to its end. srv_txn_reset is the only way out. */
struct txn {
    struct ll_smtp_mail mail;
    struct ll_smtp_rcpt rcpt; /* of the open question */
    struct ll_buf text;  /* what slices in mail and rcpt point to, while the question is open */
    uint32_t recipients; /* accepted */
    bool accepted;       /* the driver said yes to MAIL: it must be told of the end */
    bool begun;          /* it said yes to ASK_DATA */
    bool by_bdat;
    bool last;     /* the present chunk is the last one */
    uint64_t ends; /* ms: the letter's content must be whole by then */
    uint64_t skipped;
    struct ll_smtp_data data;
    struct ll_smtp_bdat bdat;
};

struct ll_smtpd {
    const struct ll_smtpd_conf *conf;
    uint8_t state;   /* enum state */
    uint8_t ask;     /* enum ll_smtpd_event_type of the open question; LL_SMTPD_NONE */
    uint8_t pending; /* PEND_* */
    bool cr;         /* of the line recogniser */
    bool greeted;    /* EHLO or HELO was taken */
    bool esmtp;
    bool has_tls;
    bool trusted;
    bool draining;
    bool early; /* octets came behind the command, or while its question was open */
    uint32_t errors;
    uint32_t junk;
    uint32_t transactions;
    uint32_t auth_failures;
    uint64_t deadline;  /* ms; UINT64_MAX: none */
    uint64_t skip;      /* ST_SKIP: octets left; ST_FLOOD: octets seen */
    struct ll_buf line; /* a line not yet whole */
    struct ll_buf out;
    size_t out_at; /* octets of out that are sent */
    struct ll_buf helo;
    struct ll_buf user;
    struct ll_slice run; /* PEND_BODY */
    struct txn *t;
    struct ll_sasl_server *auth; /* an exchange that is under way */
    struct ll_smtpd_tls tls;
    char *client_name;
    const char *why;
};

/* server.c */
void srv_reply(struct ll_smtpd *, unsigned code, const char *enhanced, const char *text);
void srv_reply_slice(struct ll_smtpd *, unsigned code, const char *enhanced, struct ll_slice text);
/* A refusal that counts against errors_max; over it, the session ends. */
void srv_refuse(struct ll_smtpd *, unsigned code, const char *enhanced, const char *text);
void srv_refuse_error(struct ll_smtpd *, enum ll_smtp_error);
void srv_end_session(struct ll_smtpd *, const char *why); /* CLOSE, and RESET before it */
void srv_txn_reset(struct ll_smtpd *);                    /* the one way out of a transaction */
void srv_txn_tell(struct ll_smtpd *); /* the letter is lost: RESET now; its octets are read on */
void srv_ask(struct ll_smtpd *, enum ll_smtpd_event_type);
void srv_rest_until(struct ll_smtpd *, uint64_t now); /* sets the deadline for the next command */

/* server_verbs.c: a whole line without CR LF; trailing: octets came behind it */
void srv_command(struct ll_smtpd *, struct ll_slice line, bool trailing, uint64_t now);

/* server_letter.c */
void srv_data_command(struct ll_smtpd *, struct ll_slice args);
/* gate: NULL, or why no mail is taken now */
struct refusal {
    uint16_t code;
    const char *enhanced;
    const char *text;
};
void srv_bdat_command(struct ll_smtpd *, struct ll_slice args, const struct refusal *gate);
void srv_letter_begins(struct ll_smtpd *, uint64_t now); /* yes to ASK_DATA */
size_t srv_data_step(struct ll_smtpd *, struct ll_slice in);
size_t srv_bdat_step(struct ll_smtpd *, struct ll_slice in);
void srv_bdat_chunk_done(struct ll_smtpd *);

/* server_auth.c */
void srv_auth_command(struct ll_smtpd *, struct ll_slice args);
void srv_auth_line(struct ll_smtpd *, struct ll_slice line);
void srv_auth_forget(struct ll_smtpd *); /* wipes the exchange */

#endif
