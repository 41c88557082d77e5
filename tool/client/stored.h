/*
 * stored: keys as they come (files, letters, servers) into the key store: read, joined with what is
 * known of them, and put in with the place where they were found.
 */
#ifndef LL_TOOL_CLIENT_STORED_H
#define LL_TOOL_CLIENT_STORED_H

#include "io/keystore.h"
#include "letterlock/pgp.h"
#include "letterlock/smime.h"

#define LL_STORED_MAX 10000 /* keys of one call; the rest is left out */

struct ll_stored_key {
    struct ll_keystore_key key; /* as it was put; fingerprint, name, address are of use */
    bool secret;                /* its secret part was put, too */
    enum ll_keystore_seen seen;
    struct ll_slice other; /* with CHANGED: the key that the address had */
};

struct ll_stored {
    struct ll_keystore *store;
    struct ll_arena *arena; /* everything lives here */
    int64_t now;
    enum ll_keystore_source source;
    struct ll_slice place;
    /* Keys of other addresses are left out, user ids of other addresses taken away, and no secret
     * key is taken: for what was found where anyone may write. Empty: everything is taken. */
    struct ll_slice only;
    struct ll_buf *err; /* sentences, each a line */
    /* what was put */
    struct ll_stored_key *key;
    size_t n, room;
    size_t left_out; /* keys that were not of the address */
};

/* OpenPGP keys, armored or binary, any number (also GnuPG's keybox, and revocations). A status of
 * sysexits, 0 also where all were left out; else a line in err. Keys that were put before a
 * failure stay. */
int ll_stored_pgp(struct ll_stored *, struct ll_slice octets);
/* Puts a key of a ring: the caller has made or changed it. */
int ll_stored_from_ring(struct ll_stored *, struct ll_pgp *, struct ll_slice fingerprint);

/* Certificates, DER or PEM. */
int ll_stored_certs(struct ll_stored *, struct ll_slice octets);
/* Private keys with their certificates, PEM, DER or PKCS#12; password: of the file, and of what is
 * stored. */
int ll_stored_identity(struct ll_stored *, struct ll_slice octets, bool pkcs12,
                       struct ll_slice password);
/* Puts what is in there under that fingerprint, with its issuers; the secret key where it is there
 * (protected with the password, unless that is empty). */
int ll_stored_from_smime(struct ll_stored *, struct ll_smime *, struct ll_slice fingerprint,
                         struct ll_slice password);

/* ---- the other way ------------------------------------------------------------------------------
 */

/* Brings a stored key into a ring, with its secret part where secret is set and there is one.
 * A status; else a line in err. */
int ll_stored_load_pgp(struct ll_keystore *, const struct ll_keystore_key *, bool secret,
                       int64_t now, struct ll_pgp *, struct ll_arena *, struct ll_buf *err);
/* The same, with its issuers as far as they are here; CAs that the user verified become anchors,
 * and a verified certificate is pinned. */
int ll_stored_load_smime(struct ll_keystore *, const struct ll_keystore_key *, bool secret,
                         struct ll_smime *, struct ll_arena *, struct ll_buf *err);
/* All CAs of the store, as above: once, before certificates are checked. */
int ll_stored_load_cas(struct ll_keystore *, struct ll_smime *, struct ll_arena *,
                       struct ll_buf *err);

#endif
