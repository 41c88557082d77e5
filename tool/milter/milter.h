/*
 * milter: the filter of `letterlock milter`: one process, one event loop, no thread.
 *
 * milter.c    start, listening sockets, the sandbox, the loop
 * session.c   a connection of the MTA: its messages, our answers
 * letter.c    one letter: checked if it is from outside, signed if it is ours
 * keys.c      which keys sign for which domain
 * questions.c what the checks ask of DNS
 *
 * Doc: doc/design/milter.md.
 */
#ifndef LL_TOOL_MILTER_H
#define LL_TOOL_MILTER_H

#include "daemon/front/networks.h"
#include "daemon/front/policy.h"
#include "io/conf.h"
#include "letterlock/authres.h"
#include "letterlock/check.h"
#include "letterlock/milter.h"

#include <event2/event.h>
#include <openssl/evp.h>
#include <sys/types.h>

#define MILTER_KEYS_MAX     1000       /* signing keys in all */
#define MILTER_SIGN_MAX     8          /* signatures put on one letter */
#define MILTER_LISTEN_MAX   8          /* sockets that it listens on */
#define MILTER_SESSIONS     200        /* connections at a time, usually */
#define MILTER_SESSIONS_MAX 10000      /* and at most */
#define MILTER_SIZE         (1u << 30) /* octets of a letter, usually */
#define MILTER_HEADER_MAX   LL_DKIM_HEADER_MAX
#define MILTER_OUT_MAX      (4u << 20) /* octets that wait to be written to one connection */
#define MILTER_ASKS_MAX     16384      /* DNS questions at a time, */
#define MILTER_ASKS_SENDERS                                                                        \
    1024                      /* of those, of the zones that senders name: DMARC's find a socket */
#define MILTER_ASKS_LETTER 32 /* of those, of one letter */
#define MILTER_IDLE_S      3600 /* an MTA holds its connection while its client thinks */
#define MILTER_KEPT        512  /* keys of strangers that are kept */
#define MILTER_CHECK_S     30   /* the end of a letter waits so long for DNS */

struct milter_key {
    struct ll_dns_name domain, selector;
    enum ll_dkim_algorithm algorithm;
    int64_t from, until; /* seconds since 1970; 0: open */
    EVP_PKEY *pkey;
};

struct milter_keys {
    struct milter_key key[MILTER_KEYS_MAX];
    size_t n;
};

struct milter_options {
    const char *authserv_id; /* NULL: the MTA's name */
    enum ll_dmarc_apply dmarc;
    const char *spf_fail; /* "accept", "quarantine", "reject" */
    bool hold;            /* quarantine is SMFIR_QUARANTINE, not a field */
    bool late_defer;      /* a letter whose checks get no answer is put off */
    bool no_internal;
    bool received_spf; /* add that field, too */
    struct ll_networks internal, forwarders;
    char **arc_trusted; /* NULL-terminated */
    int64_t sessions, size, idle_s, check_s;
};

struct milter;

struct milter_listener {
    struct milter *m;
    int fd;
    struct event *ev;
    bool on;
};

struct milter {
    struct milter_options o;
    struct milter_keys keys;
    char host[256]; /* our host's name, where the MTA tells none */
    struct event_base *base;
    struct ub_ctx *dns;
    struct ll_dkim_keys *dkim_keys; /* of strangers, made before */
    struct milter_listener listener[MILTER_LISTEN_MAX];
    size_t n_listeners;
    struct milter_session *sessions;
    uint64_t n_sessions, last_id;
    uint32_t asks; /* questions with libunbound */
    uint64_t letters;
};

/* ---- keys.c ---------------------------------------------------------------------------------- */

/* "DOMAIN:SELECTOR:FILE". 0, or a status (said on stderr). */
int milter_keys_add(struct milter_keys *, const char *text);
/* The table of `letterlock dkim` and its keys. */
int milter_keys_load(struct milter_keys *, const struct ll_conf *);
void milter_keys_release(struct milter_keys *);
/* The keys that sign now for the longest domain that `domain` is or lies below. */
size_t milter_keys_find(const struct milter_keys *, struct ll_slice domain, int64_t now,
                        const struct milter_key *ret[MILTER_SIGN_MAX]);

/* ---- session.c ------------------------------------------------------------------------------- */

struct milter_session {
    struct milter *m;
    struct milter_session *prev, *next;
    uint64_t id;
    int fd;
    struct event *rd, *wr;
    struct ll_milter_reader reader;
    struct ll_milter_options agreed;
    struct ll_buf out;
    bool negotiated, closing;
    /* of the SMTP session */
    struct ll_ip ip;
    struct ll_buf helo, host; /* host: macro j */
    struct ll_buf tls_version, tls_cipher;
    /* of the letter */
    struct ll_buf reverse, queue_id, login;
    struct milter_letter *letter;
};

/* Takes the socket. */
void milter_session_new(struct milter *, int fd);
void milter_session_free(struct milter_session *);
/* One message to the MTA. */
void milter_session_put(struct milter_session *, const struct ll_milter_msg *);
/* Sends what was put. */
void milter_session_flush(struct milter_session *);

/* ---- letter.c -------------------------------------------------------------------------------- */

/* NULL: no memory. */
struct milter_letter *milter_letter_new(struct milter_session *);
void milter_letter_free(struct milter_letter *);
void milter_letter_header(struct milter_letter *, struct ll_slice name, struct ll_slice value);
void milter_letter_eoh(struct milter_letter *);
void milter_letter_body(struct milter_letter *, struct ll_slice octets);
/* The answers come by and by; the letter is freed with them. */
void milter_letter_end(struct milter_letter *);
bool milter_letter_ended(const struct milter_letter *);

/* ---- questions.c ----------------------------------------------------------------------------- */

/* The questions of one check. */
struct milter_asker {
    struct milter *m;
    struct ll_check *check;
    struct milter_ask *asks; /* open ones */
    uint32_t open;
    bool pumping;
    void (*progress)(void *arg); /* an answer came; called from the loop, never from within pump */
    void *arg;
};

/* Asks what the check wants to know now. */
void milter_pump(struct milter_asker *);
/* Nobody waits any more. */
void milter_asker_end(struct milter_asker *);
/* The context, from these settings. NULL: said in the log. */
struct ub_ctx *milter_dns_new(struct event_base *, const char *resolver, const char *anchor);

/* ---- milter.c -------------------------------------------------------------------------------- */

/* Connections are taken while there is room. */
void milter_listeners_update(struct milter *);
/* What the command line says of where to be and whom to become. */
struct milter_start {
    const char *const *listen;
    size_t n_listen;
    const char *user, *resolver, *trust_anchor, *socket_mode, *socket_group;
};
/* Runs until SIGTERM. A sysexits status. */
int milter_run(struct milter *, const struct milter_start *);

#endif
