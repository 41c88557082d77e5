/* What the files of lib/smime share. See include/letterlock/smime.h. */
#ifndef LETTERLOCK_LIB_SMIME_INTERNAL_H
#define LETTERLOCK_LIB_SMIME_INTERNAL_H

#include <openssl/cms.h>
#include <openssl/ocsp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "letterlock/smime.h"

#define LL_SMIME_HASH  32 /* octets of SHA-256 */
#define LL_SMIME_TRIES 8  /* certificates of one name that are tried as the signer of something */

struct ll_smime_entry {
    X509 *cert;
    uint8_t hash[LL_SMIME_HASH]; /* its fingerprint */
    EVP_PKEY *key;               /* private; NULL: not here, or locked */
    struct ll_buf locked;        /* the encrypted key, PKCS#8 DER; empty: none */
    struct ll_buf announced;     /* SMIMECapabilities, DER; empty: none */
    bool anchor;
    bool pinned;
};

struct ll_smime {
    struct ll_smime_entry *v;
    size_t n, cap;
    X509_STORE *store; /* the CAs among the anchors; NULL: to be built */
    X509_CRL *crl[LL_SMIME_CRLS_MAX];
    size_t n_crl;
    OCSP_BASICRESP *ocsp[LL_SMIME_CRLS_MAX];
    size_t n_ocsp;
    enum ll_smime_revocation revocation;
};

/* ---- store.c --------------------------------------------------------------------------------- */

/* The entry with this fingerprint; NULL: not here. Invalid after the next addition. */
struct ll_smime_entry *ll_smime_find(struct ll_smime *, struct ll_slice fingerprint);
/* Adds a certificate (which stays the caller's too). *ret (may be NULL): its place in v. */
enum ll_seal_error ll_smime_keep(struct ll_smime *, X509 *, size_t *ret);
struct ll_slice ll_smime_hex(const uint8_t hash[LL_SMIME_HASH], struct ll_arena *);
/* Forgets libcrypto's errors; RESOURCE where memory was among them, else `otherwise`. */
enum ll_seal_error ll_smime_failed(enum ll_seal_error otherwise);
bool ll_smime_is_pem(struct ll_slice);
/* A password callback for PEM that has none: libcrypto must never ask the terminal. */
int ll_smime_no_password(char *buf, int size, int writing, void *u);
BIO *ll_smime_source(struct ll_slice); /* reads from the octets, in place */

/* ---- cert.c ---------------------------------------------------------------------------------- */

struct ll_slice ll_smime_name(const X509_NAME *,
                              struct ll_arena *); /* RFC 4514; empty on failure */
/* "issuer, serial hex" */
struct ll_slice ll_smime_issuer_serial(const X509_NAME *, const ASN1_INTEGER *, struct ll_arena *);
/* "issuer, serial hex" where there is an issuer, else "key id hex". */
struct ll_slice ll_smime_id(const ASN1_OCTET_STRING *keyid, const X509_NAME *issuer,
                            const ASN1_INTEGER *serial, struct ll_arena *);
struct ll_slice ll_smime_cert_name(X509 *, struct ll_arena *); /* for people */
/* Canonical addresses; false: the arena is full. */
bool ll_smime_addresses(X509 *, struct ll_arena *, struct ll_slice **ret, size_t *ret_n);
const char *ll_smime_curve(const EVP_PKEY *); /* "p256"; NULL: none of ours */
void ll_smime_key_words(const EVP_PKEY *, struct ll_buf *out);
/* Seconds since 1970; 0 where t is no time. */
int64_t ll_smime_time(const ASN1_TIME *t);
struct ll_slice ll_smime_der(X509 *, struct ll_arena *);

/* ---- capability.c ---------------------------------------------------------------------------- */

/* Bits of a DER SMIMECapabilities; 0 for what is none. */
uint32_t ll_smime_capability_bits(struct ll_slice der);
/* What the certificate's owner announced: in letters, else in the certificate (RFC 4262). */
uint32_t ll_smime_entry_capabilities(const struct ll_smime_entry *);
STACK_OF(X509_ALGOR) * ll_smime_own_capabilities(void);

/* ---- chain.c --------------------------------------------------------------------------------- */

/* Whether its kind of key, key usage and extended key usage allow it (RFC 8550 4.4). */
enum ll_smime_fault ll_smime_fits(X509 *, enum ll_smime_purpose);
bool ll_smime_weak_key(const EVP_PKEY *);
/* Validity at now of this certificate alone. */
enum ll_smime_fault ll_smime_in_time(const X509 *, int64_t now);
/* The whole check but the address. bag (may be NULL): more certificates to build the chain with. */
enum ll_smime_fault ll_smime_chain(struct ll_smime *, X509 *, STACK_OF(X509) * bag,
                                   enum ll_smime_purpose, int64_t now, struct ll_arena *,
                                   struct ll_slice *ret_detail);
/* An issuer of the certificate that is here, and not itself; NULL: none. */
X509 *ll_smime_issuer(struct ll_smime *, X509 *);

/* ---- ocsp.c ---------------------------------------------------------------------------------- */

enum ll_smime_ocsp { LL_SMIME_OCSP_UNKNOWN, LL_SMIME_OCSP_GOOD, LL_SMIME_OCSP_REVOKED };
enum ll_smime_ocsp ll_smime_ocsp_status(struct ll_smime *, X509 *cert, X509 *issuer, int64_t now);

/* ---- key.c ----------------------------------------------------------------------------------- */

/* Gives a private key to all certificates here that have its public key. *ret: the place of the
 * one at `first`, if it is one of them, else of the one that is valid longest. */
enum ll_seal_error ll_smime_give_key(struct ll_smime *, EVP_PKEY *, size_t first, size_t *ret);
/* How often a password is hashed; more than LL_SMIME_ITERATIONS_MAX where nobody can say. */
int64_t ll_smime_rounds(const X509_ALGOR *pbe);

/* ---- ber.c ----------------------------------------------------------------------------------- */

/* What is looked at before libcrypto parses a CMS object. */
struct ll_smime_outline {
    int type;     /* NID of the content type */
    int cipher;   /* NID of (Auth)EnvelopedData's content encryption; NID_undef: other, or none */
    size_t mac_n; /* octets of AuthEnvelopedData's mac; 0: none, or in pieces */
};
/* MALFORMED, TOO_LARGE. */
enum ll_seal_error ll_smime_outline(struct ll_slice der, struct ll_smime_outline *ret);
/* Outline, and the parsed object, which the caller frees. */
enum ll_seal_error ll_smime_parse(struct ll_slice der, struct ll_smime_outline *ret,
                                  CMS_ContentInfo **ret_cms);

/* ---- verify.c -------------------------------------------------------------------------------- */

/* All signatures of a SignedData over the text. */
enum ll_seal_error ll_smime_signatures(struct ll_smime *, CMS_ContentInfo *, struct ll_slice text,
                                       int64_t now, struct ll_arena *, struct ll_opened *ret);

/* ---- along.c ----------------------------------------------------------------------------------
 */

/* Own certificate to be written to with, where the signer's own cannot; NULL: none, or it can. */
struct ll_smime_entry *ll_smime_for_sealing(struct ll_smime *, X509 *signer, int64_t now);
/* Fills sig->along. False: the arena is full. */
bool ll_smime_along(struct ll_smime *, X509 *signer, STACK_OF(X509) * bag, int64_t now,
                    struct ll_arena *, struct ll_signature *sig);

/* ---- ed25519.c ------------------------------------------------------------------------------- */

/* The DER of the signed attributes as they are signed (RFC 5652 5.4); false: none, or no memory. */
bool ll_smime_signed_octets(const CMS_SignerInfo *, struct ll_buf *out);
/* RFC 8419, which libcrypto 3.0 leaves out of CMS. 1: fits, 0: does not, -1: cannot be said. */
int ll_smime_ed25519_verify(CMS_SignerInfo *, EVP_PKEY *, struct ll_slice text);

/* ---- seal.c ---------------------------------------------------------------------------------- */

/* The entry, fit for the purpose now; the errors of "writing". */
enum ll_seal_error ll_smime_usable(struct ll_smime *, struct ll_slice fingerprint,
                                   enum ll_smime_purpose, int64_t now, struct ll_smime_entry **ret);
enum ll_seal_error ll_smime_write(CMS_ContentInfo *, struct ll_buf *out);
/* The digest that goes with a key. */
const EVP_MD *ll_smime_digest(const EVP_PKEY *);

#endif
