/*
 * tls_provider: an OpenSSL provider whose private keys live elsewhere.
 *
 * A key is the public half, which stays with OpenSSL's default provider, and a number that means
 * something to the signer. Only the one-shot signature operation exists: the signer gets the whole
 * text, never a digest. All else (ECDHE, verification, hashes) stays with the default provider.
 */
#ifndef LL_IO_TLS_PROVIDER_H
#define LL_IO_TLS_PROVIDER_H

#include <openssl/evp.h>

#include "io/tls.h"

/* Loads the default provider and ours, and prefers the default one everywhere. 0, or -1. */
int ll_tls_provider_load(OSSL_LIB_CTX *);

/* A key to be used as private key. pub: the certificate's public key, EC or RSA; a reference is
 * taken. The signer is copied. NULL on failure. */
EVP_PKEY *ll_tls_provider_key(OSSL_LIB_CTX *, EVP_PKEY *pub, uint32_t key,
                              const struct ll_tls_signer *);

/* Signs with a private key at hand by a TLS SignatureScheme: what the signer does in the end.
 * Appends to sig. false: the scheme does not fit the key, or OpenSSL failed. */
bool ll_tls_sign_local(OSSL_LIB_CTX *, EVP_PKEY *, uint16_t scheme, struct ll_slice text,
                       struct ll_buf *sig);

#endif
