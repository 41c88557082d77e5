/*
 * pgp, inside: the ring, and what librnp says in our words. Other folders do not include this.
 */
#ifndef LETTERLOCK_LIB_PGP_RING_H
#define LETTERLOCK_LIB_PGP_RING_H

#include <rnp/rnp.h>
#include <rnp/rnp_err.h>
#include <stdio.h>

#include "letterlock/pgp.h"

struct ll_pgp {
    rnp_ffi_t ffi;
    FILE *nowhere, *loud;     /* where librnp's log goes, and what stderr is else */
    struct ll_slice password; /* of the message that is being opened, borrowed; else empty */
    bool asked;               /* librnp wanted the password of a message */
};

/* What a key or subkey is at a time; a subkey shares the fate of its primary key. */
struct ll_pgp_state {
    int64_t created, expires; /* expires 0: never */
    bool secret, locked;
    bool elsewhere; /* a stub of GnuPG is here: the secret part is on a card */
    bool valid;     /* bound by a self-signature that holds */
    bool revoked, expired, weak;
    bool usable; /* valid, neither revoked nor expired, strong enough, made before now */
    bool can_sign, can_encrypt;
};

enum ll_seal_error ll_pgp_error(rnp_result_t);
/* Around all work of librnp: tells it the time, and keeps its log
 * off the process's standard error. Calls nest. */
void ll_pgp_begin(struct ll_pgp *, int64_t now);
void ll_pgp_end(struct ll_pgp *);

/* A key of the ring by its fingerprint. *ret is to be destroyed. */
enum ll_seal_error ll_pgp_find(struct ll_pgp *, struct ll_slice fingerprint, rnp_key_handle_t *ret);
/* primary: NULL when the key is one. */
void ll_pgp_state(rnp_key_handle_t key, rnp_key_handle_t primary, int64_t now,
                  struct ll_pgp_state *ret);
/* The part of a key to sign or encrypt with: the newest usable subkey, else the primary key.
 * Signing wants a secret part. *ret is to be destroyed. */
enum ll_pgp_use { LL_PGP_TO_SIGN, LL_PGP_TO_ENCRYPT };
enum ll_seal_error ll_pgp_pick(struct ll_pgp *, struct ll_slice fingerprint, enum ll_pgp_use,
                               int64_t now, rnp_key_handle_t *ret);

/* Whether the owner of a primary key asks for AEAD. */
bool ll_pgp_prefers_ocb(rnp_key_handle_t primary);

/* Copies a string of librnp into the arena, or appends it, in lower case, and frees it. */
struct ll_slice ll_pgp_word(struct ll_arena *, char *word);
void ll_pgp_put_word(struct ll_buf *, char *word);
/* "ed25519", "rsa3072" */
void ll_pgp_put_algorithm(struct ll_buf *, rnp_key_handle_t key);
struct ll_slice ll_pgp_fingerprint(struct ll_arena *, rnp_key_handle_t key);
/* Addresses of the user ids that hold, and the user id to show. */
void ll_pgp_names(rnp_key_handle_t primary, struct ll_arena *, struct ll_signature *);

/* Encrypts packets as they stand, to keys: a message that is signed already. Armored. */
enum ll_seal_error ll_pgp_encrypt_packets(struct ll_pgp *, const struct ll_slice *recipient,
                                          size_t n, struct ll_slice packets, int64_t now,
                                          struct ll_buf *out);

/* A secret as a C string. False: a NUL inside, or too long. Wipe it with ll_buf_wipe. */
bool ll_pgp_secret_str(struct ll_slice secret, struct ll_buf *ret);

/* What librnp reads: the octets are borrowed, and may be none. */
rnp_result_t ll_pgp_input(struct ll_slice octets, rnp_input_t *ret);

/* Where librnp writes: at most `max` octets into buf, what came before kept. */
struct ll_pgp_sink {
    struct ll_buf *buf;
    size_t start; /* octets that were in it */
    size_t max;
    bool full; /* more came than max, or than the buffer takes */
    rnp_output_t output;
};
rnp_result_t ll_pgp_sink_open(struct ll_pgp_sink *, struct ll_buf *, size_t max);
/* Ends it, with the error of what wrote there, and returns that or TOO_LARGE. After an error what
 * was written is wiped, and the buffer is as it was. */
enum ll_seal_error ll_pgp_sink_close(struct ll_pgp_sink *, enum ll_seal_error);

#endif
