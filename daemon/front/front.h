/*
 * front: the inside of the process that talks to SMTP clients (front-mx and front-sub).
 *
 *   front.c    the role: start, configuration, peers, messages, draining
 *   accept.c   listening sockets;  local.c   sessions of local users (sendmail)
 *   session.c  one connection: octets and TLS between the socket and the engine
 *   ask.c      the engine's questions, put to auth and relay
 *   letter.c   one letter: recipients, content, checks, into the journal
 *   trace.c    its Received field, receipt and log line
 *   check.c    who sent it: the engine's questions put to dns, and what follows from its results
 *   policy.c   every verdict;  networks.c  trusted networks
 *
 * Sessions read into one scratch buffer of the process and keep only what the engine did not take,
 * so that an idle one costs little. Nothing here frees a session but front_settle, which every
 * entry from the loop ends with.
 */
#ifndef LL_FRONT_FRONT_H
#define LL_FRONT_FRONT_H

#include "daemon/front/networks.h"
#include "daemon/front/policy.h"
#include "daemon/journal/writer.h"
#include "daemon/dkim_client.h"
#include "daemon/keeper_client.h"
#include "daemon/proc.h"
#include "letterlock/msg.h"
#include "letterlock/smtpd.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/queue.h>

#define FRONT_SCRATCH      65536        /* octets of one read; one buffer for all sessions */
#define FRONT_READS        4            /* reads of a session in one turn of the loop */
#define FRONT_TICK_MS      1000         /* how often deadlines are looked at */
#define FRONT_HANDSHAKE_MS 30000        /* for a TLS handshake */
#define FRONT_LINGER_MS    2000         /* reading on behind our last words, so that they arrive */
#define FRONT_LINGER_MAX   (256u << 10) /* octets of that */
#define FRONT_SESSION_MS   1800000      /* then it ends at the next safe place */
#define FRONT_STALL_MS     300000       /* a client that does not read our replies */
#define FRONT_ASK_MS       60000        /* for an answer of auth or relay */
#define FRONT_FILE_MS      10000        /* for a body file; the queue makes them as they are used */
#define FRONT_KEEPER_MS                                                                            \
    5000                                /* how long port 25 waits for certificates, and all        \
                                        wait for a segment, at the start */
#define FRONT_RATE_MIN     500          /* octets a second of a letter's content ... */
#define FRONT_RATE_FROM_MS 60000        /* ... after this time */
#define FRONT_FDS_KEPT     64           /* descriptors that sessions do not get */
#define FRONT_GATHER_MAX   (256u << 20) /* octets of letters in memory; more wait outside */
#define FRONT_GATHER_SOFT  (64u << 20)  /* from here on it is short: to the file early */
#define FRONT_CHUNK        (256u << 10) /* octets written to a body file at once ... */
#define FRONT_CHUNK_LOW    (64u << 10)  /* ... and where memory is short */
#define FRONT_SPARE        32           /* letters kept for the next one */
#define FRONT_LOCAL_EARLY  32           /* sessions of theirs that come before the first segment */
#define FRONT_LOCAL_USERS  256          /* local users that are counted at a time */

/* What a listener's sessions share. A reload makes a new one; sessions keep theirs. */
struct service {
    unsigned refs;
    struct ll_smtpd_conf conf; /* starttls follows the certificates */
    char *title;
    char *hostname;
    char
        *greeting; /* the name in the banner: hostname; for local users the domain that is theirs */
    bool implicit; /* TLS from the first octet */
    bool offer;    /* STARTTLS is wanted */
    bool submission;
    bool hide_client;
};

struct listener {
    struct listener *next;
    struct front *front;
    struct service *service;
    struct event ev;
    int fd;
    bool on; /* accepting */
    char *address;
};

enum mode {
    MODE_TALK,      /* SMTP */
    MODE_HANDSHAKE, /* TLS is being set up */
    MODE_LINGER,    /* all is said; what still comes is thrown away */
    MODE_DEAD,      /* front_settle frees it */
};

/* The question that waits for another process. */
enum asked {
    ASKED_NOTHING,
    ASKED_LOGIN,
    ASKED_SENDER,
    ASKED_ADDR,
    ASKED_PROBE,
    ASKED_CHECK, /* the letter is whole, and its sender is still being looked at */
    ASKED_STORE
};

struct letter;

/* A local user, and what is counted of it. */
struct local_user {
    uint32_t uid;
    uint32_t sessions;
    uint64_t letters; /* that it may send now */
    uint64_t since;   /* ms of the last refill; 0: free */
};

/* Who comes by LOCAL. */
struct local_client {
    struct local_user *user;
    bool trusted; /* may send from any address */
    struct ll_slice address;
};

/* One that came too early: it is begun when letters can be stored. */
struct local_early {
    int fd;
    uint32_t uid;
    bool trusted;
    uint16_t address_n;
    char address[LL_MAILBOX_MAX];
};

struct session {
    TAILQ_ENTRY(session) all;
    struct front *front;
    struct service *service;
    struct ll_smtpd *smtpd;
    const struct ll_smtp_rcpt *rcpt; /* of the open question */
    struct ll_tls_conn *tls;
    struct letter *letter;
    struct local_user *local; /* NULL: a client of the network */
    struct event readable, writable;
    struct ll_buf in; /* octets that the engine has not taken */
    size_t in_at;
    struct ll_ip ip;
    int fd;
    uint32_t slot;
    uint32_t serial;       /* of the open question: old answers are not taken for it */
    uint8_t mode;          /* enum mode */
    uint8_t asked;         /* enum asked */
    uint8_t asked_of;      /* worker of the relay that was asked */
    bool reading, writing; /* events are in the loop */
    bool start_tls;        /* as soon as the output is out */
    bool closing;          /* the same */
    bool read_wants_write, write_wants_read;
    bool trusted, named_peer, login, local_trusted;
    bool wants_linger;
    bool more;         /* TLS may hold octets that were not read */
    bool wants_file;   /* its letter waits for a body file; no input is taken */
    bool at_end;       /* the same, and the letter is whole */
    uint64_t id;       /* for the log */
    uint64_t began;    /* ms */
    uint64_t deadline; /* of handshake, linger or question */
    uint64_t stalled;  /* since when the client takes no output; 0: it does */
    uint64_t letter_began, letter_octets;
    uint64_t lingered; /* octets */
};

struct rcpt {
    uint32_t at; /* in the letter's text: address, mailbox, orcpt, one behind the other */
    uint16_t address_n, mailbox_n, orcpt_n;
    uint8_t kind, notify, flags;
};

struct letter {
    struct letter *next;     /* spare ones */
    struct session *session; /* NULL: the client is gone, the letter goes on */
    struct front *front;
    struct ll_buf text; /* reverse-path, envid, login, then what rcpts point to */
    struct ll_buf body; /* gathered content */
    struct ll_buf tail; /* prepended fields and facts, while it is handed over */
    struct ll_msg_end end;
    struct ll_msg_facts facts;
    struct ll_body_file *file;
    struct rcpt *rcpts;
    size_t n_rcpts, cap_rcpts;
    struct check *check;             /* who sent it; NULL: not looked at */
    struct ll_dkim_signing *signing; /* submission: our signatures; NULL: none */
    struct ll_verdict verdict;       /* code not 0: refused, the rest is thrown away */
    uint64_t octets;                 /* of the content as it will be stored */
    uint64_t received;               /* octets of the content as it came */
    uint64_t declared;               /* SIZE, or 0 */
    int64_t arrived_ms;
    size_t counted; /* octets counted in front->gathered */
    uint32_t header_length;
    uint16_t reverse_n, envid_n;
    uint8_t ret; /* enum ll_smtp_ret */
    bool header_done, utf8, eight_bit, declared_utf8;
    bool handed;  /* the writer has it */
    bool handing; /* within the call that gives it */
};

/* An answer of auth that is still good: text is its key, then the mailbox. */
#define ADDR_CACHE    1024
#define ADDR_CACHE_MS 250
struct addr_cached {
    uint64_t until; /* ms */
    uint8_t kind;
    uint16_t key_n, mailbox_n; /* of an address, or of "@domain" where that is not ours */
    char text[2 * LL_MAILBOX_MAX];
};

struct front {
    struct ll_proc *proc;
    struct ll_writer *writer;
    struct ll_keeper_client *tls;
    struct ll_dkim_client *dkim;
    struct listener *listeners;
    struct ll_networks trusted, forwarders, exceptions;
    struct ll_dkim_keys *dkim_keys; /* of strangers, made before */
    struct check_ask *asks;         /* questions to dns that are open */
    uint32_t free_ask;              /* the first free one; n_asks: none */
    uint32_t n_asks;
    uint32_t asks_open;
    struct ll_buf untold; /* for tally, while it is away */
    TAILQ_HEAD(sessions, session) sessions;
    struct session **slots; /* by slot; NULL: free */
    uint32_t *free_slots;
    uint32_t n_slots, n_free;
    uint32_t n_sessions;
    uint32_t n_want_files; /* sessions that wait for a body file */
    struct letter *spare;
    size_t n_spare, n_letters;
    uint64_t gathered; /* octets in letters' bodies */
    struct event *tick, *drain;
    uint64_t began, last_id, fd_limit;
    uint64_t accept_again; /* ms; 0: no pause */
    bool submission;       /* role front-sub */
    bool stored_once;      /* the writer was ready: from then on sessions are taken */
    uint32_t serial;
    struct addr_cached *addr_cache;
    struct service *local_service;
    struct local_user local_users[FRONT_LOCAL_USERS];
    struct local_early local_early[FRONT_LOCAL_EARLY];
    size_t n_local_early;
    uint8_t scratch[FRONT_SCRATCH];
};

/* accept.c */
void front_listener_add(struct front *, int fd, struct ll_slice title, struct ll_slice address);
void front_listeners_reconf(struct front *);
void front_listeners_close(struct front *);
/* Turns accepting on and off as certificates, sessions and descriptors demand. */
void front_listeners_update(struct front *);
void front_service_unref(struct service *);
struct service *front_service_local(const struct ll_conf *); /* NULL without memory */

/* session.c */
void front_session_new(struct front *, struct service *, int fd, const struct ll_ip *,
                       const struct local_client *);
void front_refuse(int fd, const char *reply); /* says it, and closes */
void front_settle(struct session *);          /* may free it */
/* The open question is answered; *v code 0: yes. settles. */
void front_answer(struct session *, const struct ll_verdict *v);
void front_resume(struct session *);                     /* what stopped it is over; may free it */
void front_session_tick(struct session *, uint64_t now); /* may free it */
void front_session_drain(struct session *);              /* may free it */
void front_session_kill(struct session *);               /* frees it */
struct ll_client_rights front_rights(const struct session *);

/* ask.c: take an event of the engine; answer it now, or later by front_answer. */
void front_ask_auth(struct session *, const struct ll_smtpd_event *);
void front_ask_mail(struct session *, const struct ll_smtpd_event *);
void front_ask_rcpt(struct session *, const struct ll_smtpd_event *);
void front_reply(struct session *, const struct ll_verdict *); /* answers the engine, no settling */
/* A peer that could have the answer is gone. */
void front_ask_lost(struct front *, enum ll_role, unsigned index);
void front_ask_late(struct session *); /* no answer in time */
int front_on_login(struct ll_peer *, const struct ll_msg *);
int front_on_sender(struct ll_peer *, const struct ll_msg *);
int front_on_addr(struct ll_peer *, const struct ll_msg *);
int front_on_probe(struct ll_peer *, const struct ll_msg *);

/* letter.c */
bool front_letter_begin(struct session *, const struct ll_smtp_mail *);
bool front_letter_rcpt(struct letter *, const struct ll_smtp_rcpt *, uint8_t kind,
                       struct ll_slice mailbox);
struct ll_verdict front_letter_data(struct session *); /* content may come */
void front_letter_body(struct letter *, struct ll_slice);
/* Whole: hands it to the writer, or answers at once. */
void front_letter_end(struct session *, const struct ll_smtp_content *);
/* Body files have come: letters that wait for one go on. */
void front_letters_files(struct front *);
void front_letter_no_file(struct session *); /* none came in time; may free the session */
void front_checked(struct session *);        /* ASKED_CHECK is answered; may free the session */
void front_letter_forget(struct session *);  /* RESET, or the session ends */
void front_letters_release(struct front *);
struct ll_slice front_letter_reverse(const struct letter *);

/* check.c */
bool front_check_init(struct front *);
/* The content is about to come: begins where this client's letters are looked at. */
void front_check_begin(struct session *, struct letter *);
void front_check_feed(struct letter *, struct ll_slice);
/* The letter is whole. True: all is known; else front_checked will be called, and the session's
 * deadline is set. */
bool front_check_end(struct session *, struct letter *);
void front_check_free(struct letter *);
void front_check_late(struct session *); /* no answer in time; may call front_checked */
void front_check_lost(struct front *);   /* dns is gone */

/* ---- tell.c -----------------------------------------------------------------------------------
 */

#define FRONT_UNTOLD_MAX (256u << 10) /* octets of what waits for tally */

/* What was found of a letter, and what became of it. */
struct found {
    const struct ll_check_result *result;
    struct ll_slice header;
    const char *override; /* of DMARC; NULL: none */
    enum ll_fate fate;
};
void front_tell(struct session *, const struct letter *, const struct found *);
void front_tell_up(struct front *, struct ll_peer *tally); /* tally is there: what waited goes */
int front_on_dns(struct ll_peer *, const struct ll_msg *);
/* Decides: sets flags of recipients, or refuses. */
struct ll_verdict front_check_decide(struct session *, struct letter *);
bool front_check_proves(const struct letter *);
/* Appends Authentication-Results, and Received-SPF where it is wanted. */
void front_check_fields(struct session *, const struct letter *, struct ll_buf *out);
struct ll_json;
void front_check_facts(const struct letter *, struct ll_json *);
/* Words for the log; "" where nothing was looked at. */
const char *front_check_dmarc(const struct letter *);
struct ll_slice front_authserv_id(const struct front *);

/* local.c */
int front_on_local(struct ll_peer *, const struct ll_msg *);
void front_local_reconf(struct front *);
void front_local_update(struct front *); /* begins those that came too early */
/* It needs no leave of auth to send from there: its own address, or it may use any. */
bool front_local_any(const struct session *, const struct ll_mailbox *from);
bool front_local_may_send(struct session *); /* counts one letter */
/* The address for a Sender field, where the letter's author is not proven to be its sender (RFC
 * 5322 3.6.2); else empty. */
struct ll_slice front_local_sender(const struct letter *, struct ll_slice header);
/* For log and receipt: the client's address, or "uid:1000". */
const char *front_client(const struct session *, char text[LL_IP_TEXT]);

/* trace.c */
bool front_trace_received(struct session *, struct letter *, struct ll_buf *out);
void front_trace_facts(struct session *, struct letter *, struct ll_buf *out);
void front_trace_log(const struct letter *, uint64_t id);

#endif
