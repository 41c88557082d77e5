/*
 * cert: makes keys and certificates, for `letterlock init`, the demo and tests. Writing files is
 * the caller's matter.
 */
#ifndef LL_IO_CERT_H
#define LL_IO_CERT_H

#include "letterlock/base.h"

enum ll_cert_key { LL_CERT_P256, LL_CERT_P384, LL_CERT_RSA2048 };

struct ll_cert_opts {
    enum ll_cert_key key;
    const struct ll_slice *names; /* subjectAltName: DNS names in A-labels, or IP addresses */
    size_t n_names;               /* the first is the subject's common name too; CA: its name */
    int days;                     /* valid from an hour before now; negative: expired yesterday */
    bool ca;                      /* a CA certificate (names are not put into subjectAltName) */
    int64_t now;                  /* seconds since 1970 */
    struct ll_slice ca_cert_pem;  /* the CA that signs; empty: self-signed */
    struct ll_slice ca_key_pem;
};

/* Appends the certificate (with ca_cert_pem behind it where a CA signed) and the key, PKCS #8, both
 * PEM. The key is secret: wipe the buffer after use. 0, or -1 with a sentence in ret_err. */
int ll_cert_make(const struct ll_cert_opts *, struct ll_buf *ret_cert_pem,
                 struct ll_buf *ret_key_pem, struct ll_buf *ret_err);

/* The common case: self-signed. */
int ll_cert_make_self_signed(enum ll_cert_key key, const struct ll_slice *names, size_t n_names,
                             int days, int64_t now, struct ll_buf *ret_cert_pem,
                             struct ll_buf *ret_key_pem, struct ll_buf *ret_err);

#endif
