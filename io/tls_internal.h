/* What the files of tls share; not for others. */
#ifndef LL_IO_TLS_INTERNAL_H
#define LL_IO_TLS_INTERNAL_H

#include <openssl/ssl.h>

#include "io/tls.h"

#define LL_TLS_PROPQ     "?provider=default"
#define LL_TLS_ERROR_MAX 256 /* octets of a sentence */

extern OSSL_LIB_CTX *ll_tls_libctx; /* made by ll_tls_init */

struct ll_tls_cert {
    unsigned refs;
    X509 *leaf;
    STACK_OF(X509) * chain; /* the others, in order */
    EVP_PKEY *key;
    bool rsa;
    char **names; /* DNS names of subjectAltName, lower case; NULL-terminated */
};

struct ll_tls_trust {
    unsigned refs;
    X509_STORE *store;
    STACK_OF(X509_NAME) * subjects; /* of the first LL_TLS_SUBJECTS_MAX */
    uint8_t digest[32];             /* of what it was made from */
};
#define LL_TLS_SUBJECTS_MAX 32 /* CA names told to clients; more would only fill packets */

/* Certificates as they stood at one moment: one SSL_CTX for each combination that a name asks for.
 * Handshakes that run keep their set alive. */
struct ll_tls_set {
    unsigned refs;
    SSL_CTX **ctx; /* [0]: the default */
    size_t n_ctx;
    struct ll_tls_sni {
        const char *name; /* borrowed from certs */
        SSL_CTX *ctx;
    } * sni; /* sorted by name */
    size_t n_sni;
    struct ll_tls_cert **certs;
    size_t n_certs;
};

struct ll_tls_server {
    unsigned refs;
    char *name;
    bool strict;
    struct ll_tls_set *set; /* NULL: no certificates */
    struct ll_tls_trust *trust;
    char **names; /* of clients; NULL-terminated */
    size_t n_keys;
    uint8_t keys[LL_TLS_TICKET_KEYS_MAX][LL_TLS_TICKET_KEY];
};

struct ll_tls_client {
    unsigned refs;
    SSL_CTX *ctx;
    bool verify;
    struct ll_tls_trust *trust;
    uint8_t cert_digest[32]; /* of the client certificate; zeros without */
};

struct ll_tls_session {
    SSL_SESSION *session;
    uint8_t policy[32]; /* what was demanded when it was made */
};

struct ll_tls_conn {
    SSL *ssl;
    struct ll_tls_server *server; /* or */
    struct ll_tls_client *client;
    struct ll_tls_set *set;
    char **names; /* client: names to be proven; NULL-terminated */
    uint8_t (*pins)[LL_TLS_PIN];
    size_t n_pins;
    uint8_t policy[32];
    SSL_SESSION *session; /* client: the newest */
    const char *broken;   /* a rule that the peer broke */
    unsigned key_updates;
    bool done; /* the handshake */
    char error[LL_TLS_ERROR_MAX];
    struct ll_tls_facts facts;
};

/* ---- tls.c */
struct ll_tls_conn *ll_tls_conn_of(const SSL *);
/* Settings that both sides have. */
bool ll_tls_ctx_common(SSL_CTX *, bool strict);
bool ll_tls_ctx_cert(SSL_CTX *, const struct ll_tls_cert *);
void ll_tls_set_free(struct ll_tls_set *);
/* SHA-256 of the public key, as SubjectPublicKeyInfo. */
bool ll_tls_spki(X509 *, uint8_t ret[32]);
/* The first of the names that the certificate carries (DNS-ID; an address: IP-ID), or NULL. */
const char *ll_tls_name_match(X509 *, char *const *names);
/* Copies of slices, NULL-terminated; NULL without memory. */
char **ll_tls_names_dup(const struct ll_slice *names, size_t n);
void ll_tls_names_free(char **);

/* ---- tls_error.c */
/* Writes a sentence out of OpenSSL's error queue, and empties that. */
void ll_tls_sentence(struct ll_tls_conn *, int ssl_error, int sys_errno);
/* Why a certificate is not good: an X509_V_ERR_ code, the peer's certificate (or NULL) and the
 * names that were wanted. */
void ll_tls_verify_sentence(char *out, size_t n, int code, X509 *, char *const *names);
/* The newest error of OpenSSL behind `what`, for faults of certificates and keys. */
void ll_tls_fault(struct ll_buf *err, const char *what);

#endif
