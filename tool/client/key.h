/*
 * key: a private DKIM key out of a PEM file.
 */
#ifndef LL_TOOL_CLIENT_KEY_H
#define LL_TOOL_CLIENT_KEY_H

#include "letterlock/dkim.h"

#include <openssl/evp.h>

/* RSA or Ed25519, not behind a password. 0, and the key is the caller's to free; or a status, said
 * on stderr with the file's name. Warns of RSA keys below LL_DKIM_RSA_SIGN_BITS. */
int ll_dkim_key_file(const char *path, EVP_PKEY **ret, enum ll_dkim_algorithm *ret_algorithm);

#endif
