/* See tool/client/key.h. */
#include "tool/client/key.h"

#include "tool/tool.h"

#include <errno.h>
#include <openssl/pem.h>

int ll_dkim_key_file(const char *path, EVP_PKEY **ret, enum ll_dkim_algorithm *ret_algorithm)
{
    FILE *f = fopen(path, "re");
    EVP_PKEY *key;
    unsigned bits;

    if (!f)
        return ll_fail(errno == EACCES ? EX_NOPERM : EX_NOINPUT, "%s: %s", path, strerror(errno));
    key = PEM_read_PrivateKey(f, NULL, NULL, (void *)"");
    fclose(f);
    if (!key)
        return ll_fail(EX_DATAERR, "%s: no private key in PEM form, or one behind a password",
                       path);
    if (!ll_dkim_key_algorithm(key, ret_algorithm, &bits)) {
        EVP_PKEY_free(key);
        return ll_fail(EX_DATAERR, "%s: DKIM takes RSA keys of %d to %d bits and Ed25519 keys",
                       path, LL_DKIM_RSA_BITS_MIN, LL_DKIM_RSA_BITS_MAX);
    }
    if (*ret_algorithm == LL_DKIM_RSA && bits < LL_DKIM_RSA_SIGN_BITS)
        ll_fail(0, "warning: %s has only %u bits; use %d (RFC 8301)", path, bits,
                LL_DKIM_RSA_SIGN_BITS);
    *ret = key;
    return 0;
}
