/* A certification authority for tests: issues, revokes, answers OCSP. Keys are P-256 unless said.
 */
#ifndef TESTS_LIB_SMIME_PKI_H
#define TESTS_LIB_SMIME_PKI_H

#include <openssl/cms.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "letterlock/smime.h"

#define NOW  1790000000 /* 2026-09-21 */
#define DAY  86400
#define YEAR (365 * DAY)

struct party {
    EVP_PKEY *key;
    X509 *cert;
    struct ll_slice fingerprint; /* where enroll() put it */
};

/* What a certificate shall say. Zero is the default of a signer's certificate. */
struct wish {
    const char *name, *address; /* address: rfc822Name; NULL: none */
    const char *utf8_address;   /* SmtpUTF8Mailbox, alone */
    const char *usage;          /* keyUsage as openssl.cnf has it; NULL: all that is needed */
    const char *extended;       /* extendedKeyUsage; NULL: emailProtection; "": none */
    const char *more;           /* one more extension, "name=value" */
    const char *dn_address;     /* emailAddress in the subject */
    bool ca;
    const char *kind; /* "P-256", "RSA2048", "RSA1024", "ED25519", "RSA-PSS" */
    int64_t from, to; /* 0: NOW - DAY, NOW + YEAR */
    const char *md;   /* of the issuer's signature; NULL: "SHA256" */
    int path;         /* a CA's pathLenConstraint is path - 1; 0: none */
    long serial;      /* 0: the next */
};

EVP_PKEY *pki_key(const char *kind);
/* issuer NULL: self-signed. */
struct party pki_issue(const struct party *issuer, const struct wish *);
void pki_free(struct party *);
/* A CRL of the issuer with these certificates, for NOW - DAY to `to`; DER into out. */
void pki_crl(const struct party *issuer, const struct party *revoked, int64_t to,
             struct ll_buf *out);
/* An OCSP answer about cert by `signer` (the issuer, or whom it named). */
void pki_ocsp(const struct party *issuer, const struct party *signer, const struct party *cert,
              int status, int64_t from, int64_t to, struct ll_buf *out);
void pki_der(const struct party *, struct ll_buf *out); /* the certificate */
void pki_pem_key(const struct party *, struct ll_buf *out);
/* Puts a certificate, and with `key` its key, into s. */
void pki_enroll(struct ll_smime *, struct party *, bool key, struct ll_arena *);

#endif
