/*
 * load: the keeper's certificates and keys, read from the files that the configuration names.
 */
#ifndef LL_DAEMON_KEEPER_LOAD_H
#define LL_DAEMON_KEEPER_LOAD_H

#include <openssl/evp.h>

#include "daemon/keeper/check.h"
#include "io/conf.h"

struct ll_key {
    uint32_t number; /* what front and relay name it by */
    char *title;     /* of the certificate section */
    enum ll_key_type type;
    EVP_PKEY *key;
    struct ll_buf chain; /* DER certificates, each a str32 */
    bool front;          /* may serve listeners */
    bool relay;          /* a route shows it as client certificate */
};

struct ll_keys {
    struct ll_key *key;
    size_t n;
};

/* All certificate sections; the first one's key gets the number `first`, the next first + 1 ... All
 * or nothing: on any fault NULL, with a sentence a line in ret_err. What is odd but works (a key
 * that its group can read, an expired certificate) goes to ret_warnings. */
struct ll_keys *ll_keys_load(const struct ll_conf *, uint32_t first, struct ll_buf *ret_err,
                             struct ll_buf *ret_warnings);
void ll_keys_free(struct ll_keys *);
/* One private key in PEM form, of any type; NULL with a sentence in ret_err ("certificate TITLE:
 * PATH: ..."). The caller frees it. */
EVP_PKEY *ll_key_read(const char *title, const char *path, struct ll_buf *ret_err);
/* The key of that number, or NULL. */
const struct ll_key *ll_keys_find(const struct ll_keys *, uint32_t number);

#endif
