/*
 * The inside of the role relay: what its files share.
 *
 *   relay.c   the role: peers come and go
 *   job.c     jobs come in, results go out
 *   probe.c   does this recipient exist at the inner server?
 *   plan.c    a route made ready: TLS client, login, names
 *   ask.c     questions to dns
 *   hunt.c    a job's way to a server: MX, addresses, the next one after a failure
 *   conn.c    one connection: socket, TLS, and the client engine of lib/smtp
 *   convert.c a letter that starts here, made fit for a server without 8BITMIME
 *   pool.c    connections that wait for the next letter; TLS sessions to resume
 *   target.c  which hosts and addresses (pure)
 *
 * A job has at most one connection at a time, and a connection at most one job. All runs in the
 * event loop; nothing blocks but the reading of a long letter's file, and a conversion with its
 * signatures.
 */
#ifndef LL_DAEMON_RELAY_RELAY_H
#define LL_DAEMON_RELAY_RELAY_H

#include "daemon/dkim_client.h"
#include "daemon/keeper_client.h"
#include "daemon/proc.h"
#include "daemon/relay/target.h"
#include "letterlock/smtpc.h"
#include "letterlock/spool.h"

#define RELAY_JOB_ARENA                                                                            \
    (256u << 10)                   /* octets of a decoded job, body of a small letter included     \
                                    */
#define RELAY_CONNECT_MS    30000  /* for one address */
#define RELAY_HANDSHAKE_MS  60000  /* TLS from the first octet */
#define RELAY_HUNT_MS       300000 /* no further server is tried after that */
#define RELAY_ASK_MS        30000  /* an answer of dns, its restart included */
#define RELAY_ADDRESSES_MAX 20     /* of one host: ten A, ten AAAA */
#define RELAY_TRIES_MAX     12     /* connections begun for one job */
#define RELAY_SESSIONS_MAX  2      /* servers asked after a temporary refusal */
#define RELAY_LETTERS_MAX   1000   /* letters over one connection */
#define RELAY_CONN_AGE_MS   300000 /* no letter begins on an older connection */
#define RELAY_CONNS_MAX     8000   /* connections at a time; more: the job is handed back */
#define RELAY_CHUNK         65536  /* octets of a file read at a time */
#define RELAY_CONVERT_MAX                                                                          \
    (32u << 20) /* octets of a letter that is converted for a 7-bit server                         \
                 */
#define RELAY_CONVERTED_MAX                                                                        \
    (112u << 20) /* the same, converted: quoted-printable triples at worst */
#define RELAY_CONVERTED_SUM (128u << 20) /* of all of them at once; more begins when it is less */
#define RELAY_REMOTE_MAX    (LL_DNS_NAME_MAX + 64)

struct event;
struct relay;
struct conn;
struct job;

/* ---- plan.c -----------------------------------------------------------------------------------
 */

enum via { VIA_MX, VIA_SMARTHOST, VIA_LMTP, VIA_DISCARD };
enum level { LEVEL_OPPORTUNISTIC, LEVEL_FORCED, LEVEL_VERIFY, LEVEL_IMPLICIT };

enum prefer { PREFER_IPV6, PREFER_IPV4, ONLY_IPV6, ONLY_IPV4 };

struct address {
    uint8_t n; /* 4 or 16; 0: none */
    uint8_t octets[16];
};

/* A route, ready for use. Counted references: jobs and connections outlive a reload. */
struct plan {
    unsigned refs;
    bool retired; /* the configuration has a newer one */
    enum via via;
    enum level level;
    char *title;
    struct ll_dns_name host; /* smarthost, LMTP: its name or address */
    uint16_t port;
    struct ll_slice *names; /* of the certificate; none: the server's own */
    size_t n_names;
    uint8_t (*pins)[LL_TLS_PIN];
    size_t n_pins;
    char *user;
    struct ll_buf password;
    char *certificate; /* title, or empty */
    char *helo;
    enum prefer prefer;
    struct address source[2]; /* what to connect from: IPv4, IPv6; n 0: the system's choice */
    struct ll_tls_trust *trust;
    struct ll_tls_client *tls;
    char *broken; /* why nothing can be sent by it, for people; NULL: it is fine */
};

/* Makes the plans of the present configuration; reads files. The old ones retire. */
void plans_make(struct relay *);
/* Client certificates have changed. */
void plans_certificates(struct relay *);
struct plan *plan_of(struct relay *, struct ll_slice destination);
struct plan *plan_ref(struct plan *);
void plan_free(struct plan *);

/* ---- ask.c ------------------------------------------------------------------------------------
 */

/* Called once from the loop, never from within ask_dns. The answer is borrowed. */
typedef void (*ask_fn)(void *arg, const struct ll_dns_answer *);
struct ask;
/* NULL without memory. While dns is away, the question waits for it. */
struct ask *ask_dns(struct relay *, uint16_t type, const struct ll_dns_name *, ask_fn, void *arg);
void ask_cancel(struct relay *, struct ask *);
int ask_answered(struct relay *, const struct ll_msg *);
void asks_peer_up(struct relay *, struct ll_peer *dns);
void asks_peer_down(struct relay *);

/* ---- jobs ---------------------------------------------------------------------------------------
 */

/* The last failure that concerns the server, not one recipient. */
struct fault {
    enum ll_outcome outcome; /* DEFERRED or FAILED */
    uint16_t code;
    char status[16];
    char text[LL_DIAG_MAX + 1];
    char remote[RELAY_REMOTE_MAX];
    uint8_t rank; /* how much it says: a later one of less rank does not replace it */
};

enum { RANK_NONE, RANK_LOOKUP, RANK_CONNECT, RANK_SESSION };

struct job_rcpt {
    bool settled;
    bool provisional; /* `result` holds what a server said; another may say better */
    struct ll_job_result_rcpt result;
};

struct job {
    struct job *prev, *next;
    struct relay *relay;
    struct ll_peer *asker; /* queue, or for a probe a front; NULL: gone */
    uint64_t id;           /* of the message */
    bool probe;
    int fd; /* of a long letter, or -1 */
    uint64_t started_ms;
    struct ll_arena arena;
    struct ll_job job;
    struct ll_slice content; /* fd < 0: prepended fields and body in one piece */
    struct plan *plan;
    struct job_rcpt *rcpt;

    /* one try: what the engine gets */
    struct ll_smtpc_recipient *to;
    uint32_t *to_index;
    size_t n_to;
    struct ll_buf head, seven; /* convert.c: prepended fields and content; seven.n 0: as it is */
    uint64_t body_at;          /* octets of the content that the engine got */
    bool body_given;           /* all of them */
    struct conn *conn;         /* NULL while hunting */

    /* hunt.c */
    struct ll_mx_host host[LL_MX_MAX];
    size_t n_host, host_at;
    struct address address[RELAY_ADDRESSES_MAX];
    size_t n_address, address_at;
    struct ask *ask[2];
    struct ll_dns_answer lookup[2]; /* what of the two host questions went wrong */
    bool parked;                    /* waits for the keeper to say which certificates there are */
    bool in_clear;                  /* opportunistic: this address failed at TLS */
    bool fresh;                     /* no connection from the pool */
    bool mx_secure, host_secure;
    bool temporary;  /* some server may be better later */
    uint8_t trouble; /* enum ll_trouble: the destination itself failed */
    unsigned tries, sessions;
    struct fault fault;
    struct ll_buf facts;
};

/* Begins: a connection from the pool, or the hunt for a server. */
void hunt_begin(struct job *);
/* Ends the hunt without a word: the asker has gone. */
void hunt_cancel(struct job *);
/* The connection could not be made, or ended before the letter was given. same_address: try it
 * once more in clear. */
void hunt_failed(struct job *, const struct fault *, bool again_in_clear);
/* The letter's results are in; goes on to another server where that may help. */
void hunt_results(struct job *, struct conn *, const struct ll_smtpc_result *, size_t n);

/* ---- job.c --------------------------------------------------------------------------------------
 */

int job_taken(struct ll_peer *, uint64_t id, struct ll_slice job, struct ll_slice body, int fd);
/* Builds `to` from the recipients that are not settled; false: none is left. */
bool job_recipients(struct job *);
void job_settle(struct job *, size_t i, enum ll_outcome, uint16_t code, const char *status,
                struct ll_slice text, const char *remote);
/* Settles all that are not settled yet. */
void job_settle_all(struct job *, enum ll_outcome, uint16_t code, const char *status,
                    struct ll_slice text, const char *remote);
/* Keeps what the receipt says of the session. */
void job_facts(struct job *, const struct conn *);
/* Every recipient is settled: answers and frees. */
void job_end(struct job *);
/* NULL: not a job, or no memory. Takes fd over. */
struct job *job_new(struct relay *, struct ll_peer *asker, uint64_t id, int fd);
void job_free(struct job *);

/* ---- convert.c ----------------------------------------------------------------------------------
 */

/* Makes head and seven of a letter that needs 8BITMIME and starts here, and signs it anew. False:
 * *ret says why not. */
bool job_convert(struct job *, const char *remote, struct fault *ret);
void job_unconvert(struct job *); /* frees them */
/* Octets that leave: of the letter as it is, or converted. */
uint64_t job_size(const struct job *);
/* What follows on body_at of a converted letter, in portions that a slow server takes in time. */
struct ll_slice job_converted_part(const struct job *);

/* ---- relay.c ---- */

/* Is this address and port one of our own listeners? */
bool relay_is_own(const struct relay *, const struct address *, uint16_t port);

/* ---- conn.c
 * ----------------------------------------------------------------------------------------- */

/* Connects for the job. false: it could not be begun (*ret says why). */
bool conn_open(struct job *, const struct address *, uint16_t port, bool in_clear,
               struct fault *ret);
/* Gives a job to a connection that is idle. */
void conn_give(struct conn *, struct job *);
/* The job is gone: closes unless the letter's end has left already. */
void conn_abandon(struct conn *);
/* An idle connection says QUIT. */
void conn_quit(struct conn *);

struct conn {
    struct relay *relay;
    struct plan *plan;
    struct job *job;
    struct conn *idle_prev, *idle_next; /* pool.c */
    bool pooled;
    char *destination;
    struct ll_dns_name host;
    struct address address;
    uint16_t port;
    char remote[RELAY_REMOTE_MAX];
    uint8_t state; /* conn.c */
    int fd;
    struct event *readable, *writable, *timer;
    uint64_t timer_at; /* when the timer fires; 0: it is not set */
    uint64_t deadline; /* while connecting, and while idle */
    uint64_t opened_ms;
    struct ll_smtpc *engine;
    struct ll_tls_conn *tls;
    bool in_clear, ready, given, reused, quitting, ended, session_kept;
    unsigned letters;
    uint8_t *chunk;
    char tls_error[256]; /* why the handshake failed */
};

/* ---- pool.c
 * ------------------------------------------------------------------------------------------ */

#define POOL_BUCKETS   256
#define SESSIONS_SLOTS 512

void pool_put(struct conn *);
void pool_take_out(struct conn *);
/* A connection that this job may use, taken out; or NULL. */
struct conn *pool_find(struct relay *, const struct job *);
/* What connections are shared by: the destination, or nothing where a route has one server. */
struct ll_slice pool_key(const struct job *);
void pool_close_all(struct relay *);
void session_keep(struct conn *);
const struct ll_tls_session *session_for(struct relay *, const struct conn *);

struct own_address {
    struct address address;
    uint16_t port;
};

struct session_slot {
    char *key;
    struct ll_tls_session *session;
};

/* probe.c */
struct probes;
struct probes *probes_new(void);
int probe_asked(struct relay *, struct ll_peer *, const struct ll_msg *);
void probe_ended(struct job *);

struct relay {
    struct ll_proc *proc;
    struct ll_keeper_client *keeper;
    struct ll_dkim_client *dkim;
    struct plan **plans; /* one a route of the configuration, and the default behind them */
    size_t n_plans;
    struct own_address *own;
    size_t n_own;
    struct address *interfaces; /* of this host, found at start */
    size_t n_interfaces;
    struct job *jobs;
    size_t n_jobs, n_conns;
    size_t converted; /* octets of memory that converted letters take */
    struct conn *pool[POOL_BUCKETS];
    struct session_slot sessions[SESSIONS_SLOTS];
    struct ask *asks[POOL_BUCKETS];
    size_t n_asks;
    struct event *ask_timer;
    struct probes *probes;
    uint64_t random;
    uint8_t io[16384]; /* what is read and, under TLS, written: of no connection's own */
};

uint64_t relay_random(struct relay *);
/* Fills a fault; the text is made from fmt. */
void fault_set(struct fault *, enum ll_outcome, uint8_t rank, const char *status,
               const char *remote, const char *fmt, ...) LL_PRINTF(6, 7);

#endif
