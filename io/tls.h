/*
 * tls: TLS 1.2 and 1.3 on a non-blocking socket, for servers and clients (OpenSSL 3).
 *
 * No event loop here: every operation says what it waits for and is called again. OpenSSL reads
 * and writes the socket itself. What the private key must sign goes through a callback (the keeper
 * process) that gets the whole text to be signed, so that the key's owner can check it.
 *
 * A connection that answered LL_TLS_ERROR is dead: ll_tls_error() says why, in one sentence fit
 * for a log line or a delivery report (no newline, no trailing dot), and only ll_tls_free remains.
 *
 * Octets that came in clear behind STARTTLS or its 220 are the caller's matter (RFC 3207 4.2): it
 * must have ended such a session before it comes here.
 */
#ifndef LL_IO_TLS_H
#define LL_IO_TLS_H

#include "letterlock/base.h"

#define LL_TLS_CHAIN_MAX       10   /* certificates of one chain sent by us */
#define LL_TLS_CERTS_MAX       1024 /* certificates of one server */
#define LL_TLS_TICKET_KEY      80   /* octets: name 16, HMAC key 32, AES key 32 */
#define LL_TLS_TICKET_KEYS_MAX 3    /* the newest encrypts, the others only decrypt */
#define LL_TLS_KEYUPDATE_MAX   1000 /* KeyUpdate messages of one connection; then it ends */
#define LL_TLS_PIN             32   /* octets of a pin: SHA-256 of a SubjectPublicKeyInfo */

/* Prepares OpenSSL (no configuration file is read) and makes one handshake in memory, so that
 * nothing is loaded later, inside the sandbox. Before the first use of anything below; further
 * calls do nothing. 0, or -1. */
int ll_tls_init(void);

/* ---- certificates ------------------------------------------------------------------------ */

/* Signs `text` with the private key number `key` by the TLS SignatureScheme `scheme` (RFC 8446
 * 4.2.3: 0x0403 ecdsa_secp256r1_sha256 ...; under TLS 1.2 ECDSA schemes name only the hash).
 * Appends the signature to sig. false: refused, or its owner is gone; the handshake then fails. */
typedef bool (*ll_tls_sign_fn)(void *ctx, uint32_t key, uint16_t scheme, struct ll_slice text,
                               struct ll_buf *sig);

struct ll_tls_signer {
    ll_tls_sign_fn sign;
    void *ctx; /* must outlive every connection */
};

/* A certificate chain with the means to sign for it: EC P-256, EC P-384 or RSA (2048..8192 bit).
 * Counted references: new and ref give one, free takes one. */
struct ll_tls_cert;

/* chain: DER certificates, the own one first, each a str32 (the form of message CERT). NULL on any
 * fault, with a sentence in ret_err. */
struct ll_tls_cert *ll_tls_cert_new(struct ll_slice chain, uint32_t key,
                                    const struct ll_tls_signer *, struct ll_buf *ret_err);
/* The same with the key at hand (PEM, unencrypted): for tools and tests. */
struct ll_tls_cert *ll_tls_cert_pem(struct ll_slice chain_pem, struct ll_slice key_pem,
                                    struct ll_buf *ret_err);
struct ll_tls_cert *ll_tls_cert_ref(struct ll_tls_cert *);
void ll_tls_cert_free(struct ll_tls_cert *);
/* PEM chain to the form that ll_tls_cert_new takes. 0, or -1 with a sentence. */
int ll_tls_chain_encode(struct ll_slice chain_pem, struct ll_buf *out, struct ll_buf *ret_err);

/* Trusted certificates. References are counted. load reads a file, so: before the sandbox shuts;
 * path NULL: the system's (SSL_CERT_FILE, else /etc/ssl/certs/ca-certificates.crt and its like). */
struct ll_tls_trust;
struct ll_tls_trust *ll_tls_trust_load(const char *path, struct ll_buf *ret_err);
struct ll_tls_trust *ll_tls_trust_parse(struct ll_slice pem, struct ll_buf *ret_err);
struct ll_tls_trust *ll_tls_trust_ref(struct ll_tls_trust *);
void ll_tls_trust_free(struct ll_tls_trust *);

/* ---- servers ------------------------------------------------------------------------------ */

/* One for each listener. Counted references: a connection keeps its server alive. TLS 1.2 and 1.3,
 * ECDHE only, no renegotiation, compression or early data; ALPN `smtp` (a client that offers ALPN
 * without it gets the alert no_application_protocol; no ALPN is fine). */
struct ll_tls_server;

/* name: the listener's title; tickets of one server are never taken by one of another name.
 * strict: AEAD suites only (submission); else ECDHE with CBC stays, last in order (port 25). */
struct ll_tls_server *ll_tls_server_new(struct ll_slice name, bool strict);
void ll_tls_server_free(struct ll_tls_server *);

/* Replaces the certificates, all or nothing; running sessions and handshakes go on with the old
 * ones. The server takes its own references. The first certificate is the default; SNI chooses by
 * the names in subjectAltName (one-label wildcards too), and for one name an ECDSA and an RSA
 * certificate may serve together: the client's signature algorithms choose. 0, or -1 with a
 * sentence (the old set stays). n = 0 takes them all away: ll_tls_server_ready says false. */
int ll_tls_server_certs(struct ll_tls_server *, struct ll_tls_cert *const *certs, size_t n,
                        struct ll_buf *ret_err);
/* Are there certificates? STARTTLS may be offered, and implicit TLS accepted, only then. */
bool ll_tls_server_ready(const struct ll_tls_server *);

/* Ticket keys, n times LL_TLS_TICKET_KEY octets, newest first, at most LL_TLS_TICKET_KEYS_MAX. All
 * workers of a listener get the same. Without any, there is no resumption. 0, or -1 (bad length) */
int ll_tls_server_ticket_keys(struct ll_tls_server *, struct ll_slice keys);

/* Asks clients for a certificate. One that is missing or not good does not end the handshake: the
 * facts say what was shown. names: DNS names or addresses, of which the certificate must carry one
 * to count as a named peer. trust NULL: do not ask. Takes its own references. 0, or -1. */
int ll_tls_server_clients(struct ll_tls_server *, struct ll_tls_trust *trust,
                          const struct ll_slice *names, size_t n_names);

/* ---- clients ------------------------------------------------------------------------------ */

enum ll_tls_level {
    LL_TLS_OPPORTUNISTIC, /* any certificate (and the caller may do without TLS) */
    LL_TLS_FORCED,        /* any certificate, but TLS */
    LL_TLS_VERIFY,        /* a certificate that proves the name, or a pin that matches */
};

struct ll_tls_client_opts {
    enum ll_tls_level level;
    /* With LL_TLS_VERIFY: whom to trust. NULL: then pins must be given, and the pin alone decides
     * (names and expiry do not matter then, as with DANE-EE). With both, both must hold. */
    struct ll_tls_trust *trust;
    struct ll_tls_cert *cert; /* client certificate, or NULL */
    bool alpn;                /* offer ALPN `smtp`; for TLS from the first octet */
};

/* One for each kind of outbound session (a route); many connections share it. References are
 * counted: a connection keeps its client alive. */
struct ll_tls_client;
struct ll_tls_client *ll_tls_client_new(const struct ll_tls_client_opts *, struct ll_buf *ret_err);
void ll_tls_client_free(struct ll_tls_client *);

/* A session to resume, to be kept by the caller under a key of its own (destination and port). */
struct ll_tls_session;
void ll_tls_session_free(struct ll_tls_session *);

struct ll_tls_target {
    struct ll_slice server_name;       /* SNI; empty or an address: none is sent */
    const struct ll_slice *names;      /* the certificate must carry one (DNS-ID; an address */
    size_t n_names;                    /* matches an IP-ID); none: server_name */
    const uint8_t (*pins)[LL_TLS_PIN]; /* of which one must match the server's own key */
    size_t n_pins;
    const struct ll_tls_session *resume; /* or NULL; not used where the demands differ */
};

/* ---- connections -------------------------------------------------------------------------- */

struct ll_tls_conn;

enum ll_tls_result {
    LL_TLS_OK,
    LL_TLS_WANT_READ,  /* call again when the socket is readable */
    LL_TLS_WANT_WRITE, /* call again when the socket is writable */
    LL_TLS_CLOSED,     /* the peer ended TLS in order (close_notify) */
    LL_TLS_ERROR,      /* see ll_tls_error; also an end without close_notify */
};

/* The socket must be non-blocking and stays the caller's; it must outlive the connection. NULL
 * without memory (or, for a server, without certificates). */
struct ll_tls_conn *ll_tls_accept(struct ll_tls_server *, int fd);
struct ll_tls_conn *ll_tls_connect(struct ll_tls_client *, int fd, const struct ll_tls_target *);
/* Does not close the socket and sends nothing. */
void ll_tls_free(struct ll_tls_conn *);

enum ll_tls_result ll_tls_handshake(struct ll_tls_conn *);
/* Up to n octets; LL_TLS_OK with *ret_n > 0. Read until LL_TLS_WANT_READ: decrypted octets may
 * wait inside, for which the socket will never become readable again. */
enum ll_tls_result ll_tls_read(struct ll_tls_conn *, void *p, size_t n, size_t *ret_n);
/* May take fewer than n octets. After WANT_*, call again with the same octets (the address may
 * differ, more may follow). Larger writes make fewer records: up to 16 KiB at a time is best. */
enum ll_tls_result ll_tls_write(struct ll_tls_conn *, const void *p, size_t n, size_t *ret_n);
/* Sends close_notify and does not wait for the peer's: OK, WANT_WRITE or ERROR. */
enum ll_tls_result ll_tls_shutdown(struct ll_tls_conn *);
/* Are there octets inside that ll_tls_read may give without the socket becoming readable? */
bool ll_tls_pending(const struct ll_tls_conn *);
/* Why the last operation failed; "" before any failure. */
const char *ll_tls_error(const struct ll_tls_conn *);

/* What the handshake found; NULL before its end. */
struct ll_tls_facts {
    const char *version; /* "TLSv1.3": static */
    const char *cipher;  /* "TLS_AES_256_GCM_SHA384" (the RFC's name): static */
    unsigned bits;       /* of the cipher */
    bool resumed;
    char server_name[256];  /* SNI that was asked for; "" without */
    bool peer_cert;         /* the peer has shown a certificate */
    bool verified;          /* and it proved one of the names, or a pin */
    char peer_name[256];    /* the proven name; "" where a pin decided or nothing is proven */
    char verify_error[192]; /* why it is not verified; "" where it is, or nobody asked */
    uint8_t peer_spki[LL_TLS_PIN]; /* SHA-256 of the peer's public key; zeros without certificate */
};
const struct ll_tls_facts *ll_tls_facts(const struct ll_tls_conn *);

/* Client: the newest session to resume, or NULL. TLS 1.3 servers send it behind the handshake: ask
 * at the end of the connection. The caller frees it. */
struct ll_tls_session *ll_tls_session(struct ll_tls_conn *);

/* Keying material (RFC 5705; RFC 9266 tls-exporter: label "EXPORTER-Channel-Binding", empty
 * context). 0, or -1. */
int ll_tls_export(struct ll_tls_conn *, struct ll_slice label, uint8_t *out, size_t n);

#endif
