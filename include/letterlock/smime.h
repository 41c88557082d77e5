/*
 * smime: letters sealed and signed with certificates (RFC 8551, RFC 8550; CMS: RFC 5652, RFC 5083),
 * on OpenSSL's libcrypto.
 *
 * A `struct ll_smime` holds certificates, private keys, what is trusted, CRLs and OCSP answers, all
 * in memory. Certificates are named by their fingerprint: SHA-256 of the DER, lower-case hex, 64
 * octets; upper case is understood too.
 *
 *     s = ll_smime_new();
 *     ll_smime_add_cert(s, pem, ...);            of others, and chains; DER or PEM, any number
 *     ll_smime_add_key(s, pem, password, ...);   or ll_smime_add_pkcs12
 *     ll_smime_add_anchor(s, pem, ...);          who is trusted to name others (a CA)
 *     ll_smime_pin(s, fingerprint);              this certificate is trusted, and through it no
 * other ll_smime_mime_sign(s, me, ...); ll_smime_mime_encrypt(s, them, n, ...); ll_smime_open(s,
 * der, now, out, ...); ll_smime_verify(s, text, der, now, ...);
 *
 * Pure: no clock (`now` is seconds since 1970, everywhere), no network, no files, no system's list
 * of CAs: what nobody added is not trusted. Two exceptions: libcrypto and the C library read
 * openssl.cnf and the time zone at their first use, which is in ll_smime_new; and a PKCS#12 file
 * that is encrypted with RC2 makes libcrypto load its module "legacy", in a context of its own that
 * nothing else uses. Not thread-safe; several objects may be used by different threads.
 *
 * What a peer can send is bounded: LL_SMIME_*_MAX below, before libcrypto sees an octet.
 */
#ifndef LETTERLOCK_SMIME_H
#define LETTERLOCK_SMIME_H

#include "letterlock/base.h"
#include "letterlock/seal.h"

#define LL_SMIME_CMS_MAX        (256u << 20) /* octets of one CMS object: letters with attachments */
#define LL_SMIME_ELEMENTS_MAX   200000 /* ASN.1 elements of one; 1 KiB pieces of 100 MiB fit */
#define LL_SMIME_DEPTH_MAX      30     /* of elements in elements; real ones have up to 16 */
#define LL_SMIME_SIGNERS_MAX    16     /* of one signature; more: MALFORMED */
#define LL_SMIME_RECIPIENTS_MAX 1000   /* of one sealed letter; more: TOO_LARGE */
#define LL_SMIME_BAG_MAX        64     /* certificates that come along with a signature */
#define LL_SMIME_CERTS_MAX      4096   /* certificates of one ll_smime; all CAs of a system: 150 */
#define LL_SMIME_CERT_MAX       65536  /* octets of one certificate; real ones have 1 to 4 KiB */
#define LL_SMIME_FILE_MAX       (4u << 20)  /* octets of PEM, PKCS#8 or PKCS#12 */
#define LL_SMIME_CRL_MAX        (32u << 20) /* octets of one CRL; national CAs have some MiB */
#define LL_SMIME_CRLS_MAX       64          /* CRLs, and as many OCSP answers */
#define LL_SMIME_ADDRESSES_MAX  32          /* of one certificate; the rest is left out */
#define LL_SMIME_CHAIN_MAX      10          /* issuers between the signer and the anchor */
#define LL_SMIME_RSA_BITS_MIN   2048        /* RFC 8551 4.3; shorter keys sign and seal nothing */
#define LL_SMIME_RSA_BITS_OPEN                                                                     \
    1024 /* what was sealed to such a key long ago still opens, as weak */
#define LL_SMIME_RSA_BITS_MAX   8192    /* more costs CPU and proves nothing more */
#define LL_SMIME_ITERATIONS     600000  /* PBKDF2 of what we write: about 0.2 s */
#define LL_SMIME_ITERATIONS_MAX 5000000 /* of one file that we read, in all: 2 to 5 s */
#define LL_SMIME_CLOCK_SKEW_S   300     /* by which an OCSP answer may lie in the future */
#define LL_SMIME_FINGERPRINT    64      /* octets of a fingerprint in words */

struct ll_smime;

struct ll_smime *ll_smime_new(void); /* NULL: no memory */
void ll_smime_free(struct ll_smime *);

/* ---- adding -------------------------------------------------------------------------------------
 * All but where it says so: MALFORMED (nothing in it can be read as what is asked), TOO_LARGE (a
 * limit above, octets or number), RESOURCE. What was read before a fault stays. What is there
 * already is not added twice.
 */

/* Certificates, DER or PEM, any number; a PEM file may hold other things too, which are passed
 * over. *ret: their fingerprints in the caller's arena (ret and ret_n may both be NULL). */
enum ll_seal_error ll_smime_add_cert(struct ll_smime *, struct ll_slice octets, struct ll_arena *,
                                     struct ll_slice **ret, size_t *ret_n);

/* As add_cert, and all of them are trusted: a CA's certificate (also an intermediate one) may name
 * others, one that is no CA stands for itself alone. *ret_n (may be NULL): how many. */
enum ll_seal_error ll_smime_add_anchor(struct ll_smime *, struct ll_slice octets, size_t *ret_n);

/* This certificate is trusted, and through it no other: a self-signed one that its user accepted.
 * NO_KEY: it is not here. */
enum ll_seal_error ll_smime_pin(struct ll_smime *, struct ll_slice fingerprint);

/* A private key, PKCS#8 or an older form (PEM or DER), and in PEM its certificates, the key's own
 * first. *ret (may be NULL): fingerprint of the key's certificate. An encrypted key with an empty
 * password stays locked (OK) where its certificate comes along; ll_smime_unlock opens it.
 * LOCKED: encrypted, no password, no certificate beside it. PASSWORD: wrong. NO_KEY: its
 * certificate is neither in it nor here. WEAK: RSA below 1024 bits (and below 2048 a key only
 * opens). UNSUPPORTED: a kind of key that signs and opens no letters here (X25519, DSA). */
enum ll_seal_error ll_smime_add_key(struct ll_smime *, struct ll_slice octets,
                                    struct ll_slice password, struct ll_arena *,
                                    struct ll_slice *ret);

/* Opens a locked key. OK where it was open. NO_KEY, PASSWORD, WEAK, UNSUPPORTED as above. */
enum ll_seal_error ll_smime_unlock(struct ll_smime *, struct ll_slice fingerprint,
                                   struct ll_slice password);

/* A PKCS#12 file (RFC 7292) with all its keys and certificates; also old forms with RC2 and 3DES.
 * *ret: fingerprints of the certificates that have a key in it. PASSWORD: the MAC does not fit.
 * NO_KEY: no key in it (its certificates were added). */
enum ll_seal_error ll_smime_add_pkcs12(struct ll_smime *, struct ll_slice octets,
                                       struct ll_slice password, struct ll_arena *,
                                       struct ll_slice **ret, size_t *ret_n);

/* Revocation: CRLs (DER or PEM, any number), one OCSP answer (DER, RFC 6960). They are believed
 * when they are used: signed by the CA or its OCSP signer, and of this time. */
enum ll_seal_error ll_smime_add_crl(struct ll_smime *, struct ll_slice octets);
enum ll_seal_error ll_smime_add_ocsp(struct ll_smime *, struct ll_slice octets);

/* What revocation does to a verdict. SOFT (as after ll_smime_new): what is known to be revoked is;
 * what is not known is not. HARD: each certificate below the anchor needs a CRL or an OCSP answer.
 * OFF: nobody looks. */
enum ll_smime_revocation { LL_SMIME_SOFT, LL_SMIME_HARD, LL_SMIME_OFF };
void ll_smime_set_revocation(struct ll_smime *, enum ll_smime_revocation);

/* The OCSP request (DER, RFC 6960) to POST to one of ocsp_url. NO_KEY: certificate or issuer is not
 * here. */
enum ll_seal_error ll_smime_ocsp_request(struct ll_smime *, struct ll_slice fingerprint,
                                         struct ll_buf *out);

/* ---- looking --------------------------------------------------------------------------------- */

/* What a peer said that it reads (SMIMECapabilities, RFC 8551 2.5.2). ROW(ID, nid, word) */
#define LL_SMIME_CAPABILITIES(ROW)                                                                 \
    ROW(AES256_GCM, NID_aes_256_gcm, "aes256-gcm")                                                 \
    ROW(AES128_GCM, NID_aes_128_gcm, "aes128-gcm")                                                 \
    ROW(AES256_CBC, NID_aes_256_cbc, "aes256-cbc")                                                 \
    ROW(AES128_CBC, NID_aes_128_cbc, "aes128-cbc")                                                 \
    ROW(OAEP, NID_rsaesOaep, "rsa-oaep")
enum ll_smime_capability_bit {
#define LL_SMIME_ENUM(ID, nid, word) LL_SMIME_BIT_##ID,
    LL_SMIME_CAPABILITIES(LL_SMIME_ENUM)
#undef LL_SMIME_ENUM
};
#define LL_SMIME_CAN(ID) (1u << LL_SMIME_BIT_##ID)

struct ll_smime_cert {             /* everything in the caller's arena */
    struct ll_slice fingerprint;   /* SHA-256 of the DER, hex */
    struct ll_slice subject;       /* RFC 4514 form, UTF-8; octets a stranger chose, no controls */
    struct ll_slice issuer;        /* likewise */
    struct ll_slice name;          /* for people: the common name, or the first address */
    struct ll_slice serial;        /* hex */
    struct ll_slice *address;      /* rfc822Name, SmtpUTF8Mailbox (RFC 8398); without any, */
    size_t n_address;              /*   the subject's emailAddress (RFC 8550 3); canonical */
    int64_t not_before, not_after; /* seconds since 1970 */
    struct ll_slice algorithm;     /* of its key: "rsa 3072", "ecdsa p256", "ed25519" */
    struct ll_slice der;
    bool secret;                /* the private key is here */
    bool locked;                /*   but needs a password */
    bool can_sign, can_encrypt; /* key usage, extended key usage and kind of key allow it */
    bool self_signed, ca;
    bool trusted;                                     /* an anchor or pinned */
    uint32_t capabilities;                            /* LL_SMIME_CAN(...); 0: not known */
    struct ll_slice *crl_url, *ocsp_url, *issuer_url; /* http(s) alone; what a stranger chose */
    size_t n_crl_url, n_ocsp_url, n_issuer_url;
};
/* NO_KEY: not here. RESOURCE: the arena is full. */
enum ll_seal_error ll_smime_cert(struct ll_smime *, struct ll_slice fingerprint, struct ll_arena *,
                                 struct ll_smime_cert *ret);
/* Fingerprints of all certificates here that speak for the address (empty: all), in the order in
 * which they were added. */
enum ll_seal_error ll_smime_list(struct ll_smime *, struct ll_slice address, struct ll_arena *,
                                 struct ll_slice **ret, size_t *ret_n);

/* Appends. CERT_PEM, CERT_DER: the certificate. CHAIN: PEM, it and what is known of its issuers.
 * KEY_PEM: PKCS#8, encrypted (PBES2, AES-256, PBKDF2) when a password is given. IDENTITY: KEY_PEM
 * and CHAIN, which ll_smime_add_key reads back. PKCS12: key and chain, AES-256 and SHA-256;
 * PKCS12_LEGACY: with 3DES and SHA-1, which GnuPG 2.2 and old systems need.
 * NO_KEY: not here. LOCKED: unlock first. */
enum ll_smime_form {
    LL_SMIME_CERT_PEM,
    LL_SMIME_CERT_DER,
    LL_SMIME_CHAIN,
    LL_SMIME_KEY_PEM,
    LL_SMIME_IDENTITY,
    LL_SMIME_PKCS12,
    LL_SMIME_PKCS12_LEGACY,
};
enum ll_seal_error ll_smime_export(struct ll_smime *, struct ll_slice fingerprint,
                                   enum ll_smime_form, struct ll_slice password,
                                   struct ll_buf *out);

/* The SMIMECapabilities that ll_smime_verify saw in a good signature of this certificate, DER; what
 * was kept from an earlier letter goes back in by set. Empty: none. */
enum ll_seal_error ll_smime_capabilities(struct ll_smime *, struct ll_slice fingerprint,
                                         struct ll_buf *out);
enum ll_seal_error ll_smime_set_capabilities(struct ll_smime *, struct ll_slice fingerprint,
                                             struct ll_slice der);

/* ---- making keys ----------------------------------------------------------------------------- */

/* ROW(ID, word): RSA opens with every peer; GnuPG 2.2 and NSS cannot seal to P256. */
#define LL_SMIME_KINDS(ROW)                                                                        \
    ROW(RSA, "rsa")   /* 3072 bits */                                                              \
    ROW(P256, "p256") /* ECDSA and ECDH on NIST P-256 */                                           \
    ROW(P384, "p384")
enum ll_smime_kind {
#define LL_SMIME_ENUM(ID, word) LL_SMIME_##ID,
    LL_SMIME_KINDS(LL_SMIME_ENUM)
#undef LL_SMIME_ENUM
};
const char *ll_smime_kind_word(enum ll_smime_kind);

/* A new key and its self-signed certificate for an address (RFC 8398 where it is not ASCII): signs
 * and opens mail, names nobody else. name may be empty. *ret: the fingerprint. MALFORMED: address
 * or name (UTF-8, 64 octets, no controls). */
enum ll_seal_error ll_smime_generate(struct ll_smime *, struct ll_slice address,
                                     struct ll_slice name, enum ll_smime_kind, int64_t now,
                                     uint32_t lifetime_s, struct ll_arena *, struct ll_slice *ret);
/* A request (PKCS#10, RFC 2986, PEM) to a CA, with the key, addresses and name of a certificate. */
enum ll_seal_error ll_smime_request(struct ll_smime *, struct ll_slice fingerprint,
                                    struct ll_buf *out);

/* ---- is a certificate good? ------------------------------------------------------------------ */

/* ROW(ID, state of a signature by it, sentence) */
#define LL_SMIME_FAULTS(ROW)                                                                       \
    ROW(OK, GOOD, "it is good")                                                                    \
    ROW(UNKNOWN, NO_KEY, "the certificate is not here")                                            \
    ROW(WEAK, WEAK, "its key, or a signature in its chain, is too weak")                           \
    ROW(UNSUPPORTED, UNSUPPORTED, "its kind of key cannot be used here")                           \
    ROW(UNTRUSTED, UNTRUSTED, "no chain leads from it to a trusted certificate")                   \
    ROW(INVALID, UNTRUSTED, "its chain breaks a rule of RFC 5280")                                 \
    ROW(NOT_YET, EXPIRED, "it, or an issuer of it, is not valid yet")                              \
    ROW(EXPIRED, KEY_EXPIRED, "it, or an issuer of it, has expired")                               \
    ROW(REVOKED, KEY_REVOKED, "it, or an issuer of it, was revoked")                               \
    ROW(REVOCATION, UNTRUSTED, "nobody can say whether it was revoked")                            \
    ROW(PURPOSE, PURPOSE, "it is not meant for this use in mail")                                  \
    ROW(ADDRESS, PURPOSE, "it does not speak for this address")                                    \
    ROW(RESOURCE, UNTRUSTED, "not enough memory")
enum ll_smime_fault {
#define LL_SMIME_ENUM(ID, state, text) LL_SMIME_FAULT_##ID,
    LL_SMIME_FAULTS(LL_SMIME_ENUM)
#undef LL_SMIME_ENUM
};
const char *ll_smime_fault_text(enum ll_smime_fault);
enum ll_signature_state ll_smime_fault_state(enum ll_smime_fault);

enum ll_smime_purpose { LL_SMIME_SIGN, LL_SMIME_ENCRYPT };

/* Builds and checks the chain (RFC 5280 6, strictly; RFC 8550 4): anchors, validity at `now`, key
 * usage and e-mail purpose, revocation, and, unless address is empty, that the certificate speaks
 * for it (domains, and as RFC 8550 3 has it local parts too, without regard to case).
 * *ret_detail (may be NULL): what is to be said beyond the fault's sentence, maybe empty. */
enum ll_smime_fault ll_smime_check(struct ll_smime *, struct ll_slice fingerprint,
                                   enum ll_smime_purpose, struct ll_slice address, int64_t now,
                                   struct ll_arena *, struct ll_slice *ret_detail);
/* Whether the certificate speaks for the address; nothing else is looked at. */
bool ll_smime_speaks_for(struct ll_smime *, struct ll_slice fingerprint, struct ll_slice address);

/* ---- writing ---------------------------------------------------------------------------------
 * NO_KEY: a certificate is not here, or the signer's key. LOCKED. UNUSABLE_KEY: expired, not meant
 * for this use, its key of a kind that cannot do it (ll_smime_check says more; trust and revocation
 * are the caller's to ask). WEAK: RSA below 2048 bits. TOO_LARGE: out is full. RESOURCE.
 * out keeps what it had on failure.
 */

/* SignedData: RSA PKCS#1 v1.5 (PSS where the key says so) or ECDSA, SHA-256 (SHA-384 for P-384).
 * With what is known of the chain, the capabilities of this module, and signingTime `now`. */
enum ll_seal_error ll_smime_sign(struct ll_smime *, struct ll_slice signer, struct ll_slice text,
                                 int64_t now, bool detached, struct ll_buf *out);

/* AUTO: what all recipients announced, in the order of LL_SMIME_CAPABILITIES, and AES-256-CBC where
 * one has said nothing. */
enum ll_smime_content { LL_SMIME_AUTO, LL_SMIME_CBC, LL_SMIME_GCM };
/* EnvelopedData, or AuthEnvelopedData for GCM (RFC 5083, 5084). RSA PKCS#1 v1.5 or, announced, OAEP
 * with SHA-256; ECDH with the SHA-256 KDF (RFC 5753). Who sends is a recipient only when named. */
enum ll_seal_error ll_smime_encrypt(struct ll_smime *, const struct ll_slice *recipient, size_t n,
                                    struct ll_slice text, int64_t now, enum ll_smime_content,
                                    struct ll_buf *out);

/* The same as MIME entities (RFC 8551 3): `entity` is fields, empty line and body, in CR LF lines
 * and 7-bit octets (else MALFORMED); out gets the fields, an empty line and the body. mime_sign:
 * multipart/signed with this boundary, or opaque application/pkcs7-mime where boundary is empty;
 * MALFORMED too where the entity holds a line that begins with the boundary. */
enum ll_seal_error ll_smime_mime_sign(struct ll_smime *, struct ll_slice signer,
                                      struct ll_slice entity, struct ll_slice boundary, int64_t now,
                                      struct ll_buf *out);
enum ll_seal_error ll_smime_mime_encrypt(struct ll_smime *, const struct ll_slice *recipient,
                                         size_t n, struct ll_slice entity, int64_t now,
                                         enum ll_smime_content, struct ll_buf *out);

/* ---- reading --------------------------------------------------------------------------------- */

/* Verifies a detached signature (DER, base64 undone) of text, octet for octet. OK says that the
 * object could be read; what it proves is in each ret->signature[].state:
 * BAD (another text, or the signature does not fit), WEAK (MD5, SHA-1), NO_KEY (the signer's
 * certificate is not here), UNSUPPORTED (named in detail), MALFORMED, and what ll_smime_check
 * finds. BAD comes before all else: a signature with any other state does fit the text. .key_id is
 * issuer and serial number in words, .made the signer's word. MALFORMED, UNSUPPORTED (compressed
 * data, which is refused), TOO_LARGE, RESOURCE. What a good signature's signer
 * announced is kept with his certificate, which is here from then on. */
enum ll_seal_error ll_smime_verify(struct ll_smime *, struct ll_slice text,
                                   struct ll_slice signature, int64_t now, struct ll_arena *,
                                   struct ll_opened *ret);

/* Opens one layer: EnvelopedData and AuthEnvelopedData are decrypted with the key of a recipient
 * that is here, SignedData with its text inside is verified as above. out gets the text, on OK
 * alone; on every failure it is as it was. A letter that is sealed and signed inside is opened in
 * two calls. ret->authenticated is true for AES-GCM alone: what came out of CBC may have been
 * changed by anyone on the way, and must be shown as such, never as HTML (RFC 8551 6). NO_KEY:
 * sealed to others. LOCKED: a recipient's key is here, locked. INTEGRITY: it does not open; for
 * whatever reason, so that nobody learns from the difference. WEAK: RC2, DES or RC4; 3DES opens and
 * says "weak" in ret->cipher. Others as for verify. ret->recipient: "issuer, serial" in words, also
 * where it does not open. */
enum ll_seal_error ll_smime_open(struct ll_smime *, struct ll_slice der, int64_t now,
                                 struct ll_buf *out, struct ll_arena *, struct ll_opened *ret);

/* The certificates that came along in a SignedData, DER, in the caller's arena: intermediates, and
 * often the one that its signer wants to be written to with (RFC 8551 2.5.3). Nobody vouches for
 * them: check before use. */
enum ll_seal_error ll_smime_bag(struct ll_slice der, struct ll_arena *, struct ll_slice **ret,
                                size_t *ret_n);

#endif
