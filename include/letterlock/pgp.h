/*
 * pgp: OpenPGP (RFC 4880, RFC 6637 and the Ed25519/X25519 keys of its drafts; RFC 3156 for mail),
 * on librnp, with the rules that librnp leaves to its callers.
 *
 * A ring holds keys in memory. Nothing here reads or writes a file, a socket or a clock: once the
 * keys are imported, everything works inside a sandbox that denies all of them. Each call that
 * judges keys or signatures takes the time `now`, seconds since 1970, which for one ring must not
 * go backwards: a key that had expired when it was imported stays so.
 *
 * What is made: v4 keys, Ed25519 to sign and X25519 to encrypt; SHA-256; AES-256 with modification
 * detection (SEIPD version 1), which every OpenPGP program reads; OCB (packet 20) only where the
 * features of all recipients' keys ask for it. What is read: what librnp 0.16 reads; no version 6
 * keys, no SEIPD version 2, no Argon2 (RFC 9580).
 *
 * What is demanded:
 *   - an encrypted message has an MDC or AEAD and it is right, else LL_SEAL_INTEGRITY; until the
 *     last octet is checked nothing is released, and what was decrypted is wiped (Efail);
 *   - one layer of encryption, outermost; no compressed or signed packet around it;
 *   - a signature is of a document (binary or text), made with a hash better than SHA-1 by a key
 *     that is bound to its primary key, may sign, has LL_PGP_RSA_BITS_MIN bits if it is of that
 *     kind, and neither expired nor was revoked;
 *   - keys that we encrypt or sign with: the same, at `now`.
 *
 * Fingerprints are hexadecimal, in both cases on the way in, in lower case on the way out, and name
 * the primary key. Output buffers get appended to, and hold what they held before unless the result
 * is LL_SEAL_OK. Not thread-safe: one ring, one thread.
 */
#ifndef LETTERLOCK_PGP_H
#define LETTERLOCK_PGP_H

#include "letterlock/seal.h"

#define LL_PGP_KEYS_ROOM       (16 * 1024 * 1024)  /* octets of one import */
#define LL_PGP_MESSAGE_MAX     (256 * 1024 * 1024) /* octets of a message, armored or not */
#define LL_PGP_TEXT_MAX        (256 * 1024 * 1024) /* octets that a message may open to */
#define LL_PGP_TEXT_FREE       (1024 * 1024)       /* octets that any message may open to */
#define LL_PGP_RATIO_MAX       200 /* beyond that: times the message's octets (compression bombs) */
#define LL_PGP_RECIPIENTS_MAX  256 /* keys that a message is encrypted to; read and written */
#define LL_PGP_PASSWORDS_MAX   16  /* passwords that a message is for: each costs a stretch */
#define LL_PGP_SIGNATURES_MAX  16  /* signatures of one message that are looked at */
#define LL_PGP_USER_IDS_MAX    64  /* user ids of one key that are looked at */
#define LL_PGP_SUBKEYS_MAX     64  /* subkeys of one key that are looked at */
#define LL_PGP_USER_ID_MAX     128 /* octets of a user id that we make (librnp's limit) */
#define LL_PGP_PASSWORD_MAX    1024     /* octets */
#define LL_PGP_STRETCH         65011712 /* octets hashed to make a key of a password */
#define LL_PGP_RSA_BITS_MIN    2048     /* RSA, DSA and ElGamal: less is weak */
#define LL_PGP_SKEW_S          300      /* a clock may be this much behind the signer's */
#define LL_PGP_FINGERPRINT_MAX 64       /* hexadecimal digits; version 4 has 40 */

struct ll_pgp;

/* An empty ring; NULL without memory. */
struct ll_pgp *ll_pgp_new(void);
void ll_pgp_free(struct ll_pgp *);

/* ---- keys ----------------------------------------------------------------------------------- */

struct ll_pgp_user_id {
    struct ll_slice octets;  /* as the key has it: mostly UTF-8, "Name <local@domain>" */
    struct ll_slice address; /* canonical (addr.h); empty where there is none, or more than one */
    bool valid;              /* the key's owner certified it, and did not revoke it */
    bool primary;
};

struct ll_pgp_subkey {
    struct ll_slice fingerprint, key_id, algorithm; /* "curve25519", "rsa3072" */
    int64_t created, expires;                       /* seconds since 1970; expires 0: never */
    bool secret; /* its secret part is here (not on a card, not a stub of GnuPG) */
    bool locked; /* ... and needs a password */
    bool revoked, expired, valid;
    bool can_sign, can_encrypt; /* now, with all of the above considered */
};

/* A primary key and what belongs to it. can_sign and can_encrypt: some part of it can. */
struct ll_pgp_key {
    struct ll_slice fingerprint, key_id, algorithm;
    int64_t created, expires; /* expires 0: never */
    bool secret;              /* some secret part is here */
    bool locked;              /* some secret part needs a password */
    bool elsewhere;           /* a stub stands for a secret part: it is on a card */
    bool revoked, expired;
    bool valid; /* its self-signatures hold; false: not a key that anybody may use */
    bool can_sign, can_encrypt;
    bool prefers_ocb; /* its features ask for AEAD (packet 20) */
    struct ll_pgp_user_id *user_id;
    size_t n_user_id;
    struct ll_pgp_subkey *subkey;
    size_t n_subkey;
};

/* Takes keys in: public and secret ones, armored or binary, any number; GnuPG's pubring.kbx;
 * revocation certificates of keys that are here. What is known already is merged: new user ids,
 * subkeys, signatures and revocations are added, nothing is taken away. *ret_fingerprints: the
 * primary keys that were in it, each once. Secret keys of GnuPG come as the output of
 * `gpg --export-secret-keys`.
 * MALFORMED: no key in it; UNSUPPORTED: keys of another version than 4; TOO_LARGE. */
enum ll_seal_error ll_pgp_import(struct ll_pgp *, struct ll_slice octets, int64_t now,
                                 struct ll_arena *, struct ll_slice **ret_fingerprints,
                                 size_t *ret_n);

/* Describes a key. NO_KEY: it is not in the ring. */
enum ll_seal_error ll_pgp_key(struct ll_pgp *, struct ll_slice fingerprint, int64_t now,
                              struct ll_arena *, struct ll_pgp_key *ret);

/* The primary keys of the ring. */
enum ll_seal_error ll_pgp_keys(struct ll_pgp *, struct ll_arena *, struct ll_slice **ret,
                               size_t *n);

enum ll_pgp_form {
    LL_PGP_PUBLIC, /* everything that may be known */
    LL_PGP_SECRET, /* the transferable secret key, protected as it is in the ring */
    /* Primary key, one user id, the subkey to encrypt to and their self-signatures (Autocrypt
     * level 1, 2.1.1; WKD): `address` says which user id. */
    LL_PGP_MINIMAL,
};
/* NO_KEY: it is not in the ring, has no such part, or no valid user id with the address.
 * UNUSABLE_KEY: MINIMAL without a key to encrypt to. */
enum ll_seal_error ll_pgp_export(struct ll_pgp *, struct ll_slice fingerprint, enum ll_pgp_form,
                                 bool armor, struct ll_slice address, struct ll_buf *out);

/* Makes a key: Ed25519 that certifies and signs, X25519 that encrypts. user_id: "Name
 * <local@domain>", UTF-8. lifetime_s: seconds from now, 0 for ever. password: empty for none.
 * MALFORMED: the user id or the password cannot be used. */
enum ll_seal_error ll_pgp_generate(struct ll_pgp *, struct ll_slice user_id,
                                   struct ll_slice password, int64_t now, uint32_t lifetime_s,
                                   struct ll_arena *, struct ll_slice *ret_fingerprint);

/* Unlocks all secret parts of a key until the ring is freed, so that the password is stretched
 * once. OK also where nothing was locked. PASSWORD: wrong. NO_KEY: no secret part is here. */
enum ll_seal_error ll_pgp_unlock(struct ll_pgp *, struct ll_slice fingerprint,
                                 struct ll_slice password);

/* Edits of own keys: their secret primary key must be here and unlocked (LOCKED otherwise).
 * expires: seconds since 1970, 0 for never; before the key's creation is MALFORMED. Subkeys that
 * have a date of their own get the same one. */
enum ll_seal_error ll_pgp_set_expiry(struct ll_pgp *, struct ll_slice fingerprint, int64_t expires,
                                     int64_t now);
enum ll_seal_error ll_pgp_add_user_id(struct ll_pgp *, struct ll_slice fingerprint,
                                      struct ll_slice user_id, int64_t now);
/* The new password of all secret parts; empty: none. */
enum ll_seal_error ll_pgp_set_password(struct ll_pgp *, struct ll_slice fingerprint,
                                       struct ll_slice password);

/* Why a key is revoked (RFC 4880 5.2.3.23). ROW(ID, word) */
#define LL_PGP_REASONS(ROW)                                                                        \
    ROW(NO_REASON, "no")                                                                           \
    ROW(SUPERSEDED, "superseded")                                                                  \
    ROW(COMPROMISED, "compromised")                                                                \
    ROW(RETIRED, "retired")

enum ll_pgp_reason {
#define LL_PGP_ENUM(ID, word) LL_PGP_##ID,
    LL_PGP_REASONS(LL_PGP_ENUM)
#undef LL_PGP_ENUM
};
const char *ll_pgp_reason_word(enum ll_pgp_reason);
bool ll_pgp_reason_parse(struct ll_slice word, enum ll_pgp_reason *ret);

/* A revocation certificate, armored, to be kept; the key stays as it is. Importing it revokes. */
enum ll_seal_error ll_pgp_revocation(struct ll_pgp *, struct ll_slice fingerprint,
                                     enum ll_pgp_reason, int64_t now, struct ll_buf *out);
/* Revokes the key in the ring; export it then, so that others learn of it. */
enum ll_seal_error ll_pgp_revoke(struct ll_pgp *, struct ll_slice fingerprint, enum ll_pgp_reason,
                                 int64_t now);

/* Takes away the user ids of a key in the ring whose address is not this one (nor any other
 * spelling of it), so that a key found for one address does not come to speak for others. NO_KEY:
 * it is not in the ring, or none of its user ids has the address; nothing is taken away then. */
enum ll_seal_error ll_pgp_keep_address(struct ll_pgp *, struct ll_slice fingerprint,
                                       struct ll_slice address, int64_t now);

/* The address of a user id, canonical: "local@domain" alone, or in the only pair of angle brackets
 * at the end. False for all else, and for what is not an address. */
bool ll_pgp_user_id_address(struct ll_slice user_id, struct ll_buf *out);

/* ---- messages -------------------------------------------------------------------------------- */

/* A detached armored signature of the octets of text (type 0x00, SHA-256).
 * NO_KEY, LOCKED, UNUSABLE_KEY. */
enum ll_seal_error ll_pgp_sign(struct ll_pgp *, struct ll_slice signer, struct ll_slice text,
                               int64_t now, struct ll_buf *out);

/* Encrypts, and signs inside the encryption where signer is not empty; armored. No compression.
 * NO_KEY, UNUSABLE_KEY, WEAK: of a recipient or of the signer; LOCKED: the signer; MALFORMED: no
 * recipient; TOO_LARGE. */
enum ll_seal_error ll_pgp_encrypt(struct ll_pgp *, const struct ll_slice *recipient, size_t n,
                                  struct ll_slice signer, struct ll_slice text, int64_t now,
                                  struct ll_buf *out);

/* As above, for whoever has the password. */
enum ll_seal_error ll_pgp_encrypt_password(struct ll_pgp *, struct ll_slice password,
                                           struct ll_slice text, int64_t now, struct ll_buf *out);

/* Checks a detached signature, armored or binary, over the octets of text. OK says that it was
 * read: what it proves is in ret->signature, one for each signature packet.
 * MALFORMED: there is no signature in it. */
enum ll_seal_error ll_pgp_verify(struct ll_pgp *, struct ll_slice text, struct ll_slice signature,
                                 int64_t now, struct ll_arena *, struct ll_opened *ret);

/* Opens an encrypted, a signed or a cleartext-signed message, armored or binary. OK says that all
 * of the text is in out and, where it was encrypted, unchanged: whether anybody signed it is in
 * ret->signature. The password opens messages of ll_pgp_encrypt_password; empty: none.
 * NO_KEY, LOCKED, PASSWORD, INTEGRITY, MALFORMED, UNSUPPORTED, TOO_LARGE. *ret is filled on OK,
 * and its recipients also on NO_KEY and LOCKED. */
enum ll_seal_error ll_pgp_open(struct ll_pgp *, struct ll_slice message, struct ll_slice password,
                               int64_t now, struct ll_buf *out, struct ll_arena *,
                               struct ll_opened *ret);

/* ---- mail (RFC 3156) ------------------------------------------------------------------------- */

#define LL_PGP_BOUNDARY_MAX 70 /* octets (RFC 2046 5.1.1) */

/* A MIME entity that holds another one, signed or sealed: its Content-Type field and others of the
 * entity, an empty line, the body. `entity` is fields, an empty line and a body, too, as it will be
 * read: 7-bit, every line ended by CR LF and at most 998 octets long. boundary: characters of RFC
 * 2046 that do not occur in entity; random ones, which the caller draws.
 * MALFORMED, beside what ll_pgp_sign and ll_pgp_encrypt say: entity or boundary are not so. */
enum ll_seal_error ll_pgp_mime_sign(struct ll_pgp *, struct ll_slice signer, struct ll_slice entity,
                                    struct ll_slice boundary, int64_t now, struct ll_buf *out);
/* Signed inside the encryption where signer is not empty (RFC 3156 6.2). */
enum ll_seal_error ll_pgp_mime_encrypt(struct ll_pgp *, const struct ll_slice *recipient, size_t n,
                                       struct ll_slice signer, struct ll_slice entity,
                                       struct ll_slice boundary, int64_t now, struct ll_buf *out);

/* ---- secret keys on cards
 * ------------------------------------------------------------------------
 *
 * A stub of GnuPG in a secret key (ll_pgp_key.elsewhere) says that a part of it is on a card. Who
 * can ask GnuPG signs and opens with it; everything else is done here, as for other keys. */

#define LL_PGP_SESSION_MAX (512 * 1024) /* octets of the session key packets of a message */

/* As ll_pgp_mime_sign, with a detached signature that another program made of entity: armored,
 * SHA-256, SHA-384 or SHA-512. MALFORMED: it is no such signature. */
enum ll_seal_error ll_pgp_mime_signed(struct ll_slice signature, struct ll_slice entity,
                                      struct ll_slice boundary, struct ll_buf *out);
/* As ll_pgp_mime_encrypt, of a message in binary form that another program has signed. */
enum ll_seal_error ll_pgp_mime_encrypt_signed(struct ll_pgp *, const struct ll_slice *recipient,
                                              size_t n, struct ll_slice message,
                                              struct ll_slice boundary, int64_t now,
                                              struct ll_buf *out);

/* What the holder of the secret key needs to tell the session key of a message: the packets that
 * have it for its recipients, and in place of the letter something that is not it.
 * NO_KEY: it is for passwords alone; INTEGRITY: nothing protects it; MALFORMED; TOO_LARGE. */
enum ll_seal_error ll_pgp_session_packets(struct ll_slice message, struct ll_buf *out);
/* As ll_pgp_open, with the session key as GnuPG tells it: cipher, colon, hexadecimal digits.
 * INTEGRITY: also when it is the key of another message; MALFORMED: also when it is none. */
enum ll_seal_error ll_pgp_open_session(struct ll_pgp *, struct ll_slice message,
                                       struct ll_slice session_key, int64_t now, struct ll_buf *out,
                                       struct ll_arena *, struct ll_opened *ret);

#endif
