/*
 * autocrypt: keys that travel in the header of letters (Autocrypt level 1, autocrypt.org).
 *
 *     Autocrypt: addr=ann@example.org; prefer-encrypt=mutual; keydata=BASE64
 *
 * Reading and writing of the header, of Autocrypt-Gossip and of setup messages; the rules by which
 * letters change what is known of a peer; the recommendation whether to encrypt. No key is parsed
 * here, and nothing is stored: keys are octets on their way in, and whatever name the caller gives
 * them (a fingerprint) in the state.
 *
 * What a header says, anyone could have written: it is a key to begin with, and no proof of who
 * holds it. Headers and letters are in wire form (CR LF). Times are seconds since 1970.
 */
#ifndef LETTERLOCK_AUTOCRYPT_H
#define LETTERLOCK_AUTOCRYPT_H

#include "letterlock/base.h"

#define LL_AUTOCRYPT_FIELD_MAX  10240        /* octets of a field with its name and folds */
#define LL_AUTOCRYPT_STALE_S    (35 * 86400) /* letters without a header for so long: discourage */
#define LL_AUTOCRYPT_CODE_N     44           /* characters of a setup code, dashes included */
#define LL_AUTOCRYPT_FIELDS_MAX 100          /* gossip fields of one letter; the rest is left out */

/* ---- the header --------------------------------------------------------------------------------
 */

/* Why a field, or what a letter says, does not count. ROW(ID, sentence) */
#define LL_AUTOCRYPT_ERRORS(ROW)                                                                   \
    ROW(OK, "no error")                                                                            \
    ROW(NONE, "the letter has no Autocrypt field")                                                 \
    ROW(TOO_LARGE, "the Autocrypt field is over 10 KiB")                                           \
    ROW(SYNTAX, "an attribute of the Autocrypt field is not written as name=value")                \
    ROW(CRITICAL, "the Autocrypt field has an attribute that must be understood, and is not")      \
    ROW(ADDRESS, "the Autocrypt field has no usable addr")                                         \
    ROW(KEYDATA, "the keydata of the Autocrypt field is missing, not last, or not base64")         \
    ROW(OTHER, "the addr of the Autocrypt field is not the author of the letter")                  \
    ROW(SEVERAL, "the letter has more than one valid Autocrypt field")                             \
    ROW(AUTHOR, "the letter has not exactly one author")                                           \
    ROW(AUTOMATIC, "the letter was written by a program (an automatic reply, a report)")           \
    ROW(RESOURCE, "not enough memory")

enum ll_autocrypt_error {
#define LL_AUTOCRYPT_ENUM(ID, text) LL_AUTOCRYPT_##ID,
    LL_AUTOCRYPT_ERRORS(LL_AUTOCRYPT_ENUM)
#undef LL_AUTOCRYPT_ENUM
};
const char *ll_autocrypt_error_text(enum ll_autocrypt_error);

struct ll_autocrypt {
    struct ll_slice address; /* canonical, local part in ASCII lower case */
    struct ll_slice keydata; /* binary: an OpenPGP transferable public key, nobody looked at it */
    bool mutual;             /* prefer-encrypt=mutual */
};

/* Reads the body of one Autocrypt or Autocrypt-Gossip field. TOO_LARGE to KEYDATA, RESOURCE. */
enum ll_autocrypt_error ll_autocrypt_field(struct ll_slice body, struct ll_arena *,
                                           struct ll_autocrypt *ret);

/* What a letter says of its author. OK: *ret_author and *ret. NONE, TOO_LARGE to KEYDATA, OTHER,
 * SEVERAL: the author sent a letter without a valid header, *ret_author says who (it counts for
 * ll_autocrypt_update with NULL); the error is of the first field. AUTHOR, AUTOMATIC: leave the
 * letter out altogether. */
enum ll_autocrypt_error ll_autocrypt_letter(struct ll_slice header, struct ll_arena *,
                                            struct ll_slice *ret_author, struct ll_autocrypt *ret);
/* Does that error still tell of the author? */
static inline bool ll_autocrypt_counts(enum ll_autocrypt_error e)
{
    return e != LL_AUTOCRYPT_AUTHOR && e != LL_AUTOCRYPT_AUTOMATIC && e != LL_AUTOCRYPT_RESOURCE;
}

/* The keys that an encrypted letter passes on: `inner` is the header of the root of what was
 * encrypted, `outer` the header that says whom it went to (To, Cc, Reply-To; with protected headers
 * the inner one again). Fields about others are left out, and so are invalid ones. Never call this
 * for a letter that was not encrypted. False: no memory. */
bool ll_autocrypt_gossip(struct ll_slice inner, struct ll_slice outer, struct ll_arena *,
                         struct ll_autocrypt **ret, size_t *ret_n);

/* Appends a whole field with its CR LF: name "Autocrypt" or "Autocrypt-Gossip" (never mutual).
 * False, and nothing appended: over LL_AUTOCRYPT_FIELD_MAX, or an address that cannot stand there.
 */
bool ll_autocrypt_put(struct ll_buf *out, const char *name, const struct ll_autocrypt *);

/* The date that counts: of the Date field, but never later than now. */
int64_t ll_autocrypt_date(struct ll_slice header, int64_t now);

/* ---- what is known of a peer
 * ---------------------------------------------------------------------
 */

struct ll_autocrypt_peer { /* all zeros: never heard of */
    int64_t last_seen;     /* date of the newest letter; 0: none */
    int64_t timestamp;     /* date of the newest letter with a header; 0: none */
    struct ll_slice key;   /* of that header: the caller's name for it; empty: none */
    bool mutual;
    int64_t gossip_timestamp;
    struct ll_slice gossip_key;
};

/* A letter of the peer came, of that date, with (key not empty) or without a valid header. The peer
 * borrows key. False: it is older than what is known, nothing changed. */
bool ll_autocrypt_update(struct ll_autocrypt_peer *, int64_t date, struct ll_slice key,
                         bool mutual);
bool ll_autocrypt_update_gossip(struct ll_autocrypt_peer *, int64_t date, struct ll_slice key);

/* ROW(ID, word, sentence) */
#define LL_AUTOCRYPT_ADVICE(ROW)                                                                   \
    ROW(DISABLE, "disable", "no key is known that letters could be sealed to")                     \
    ROW(DISCOURAGE, "discourage", "the recipient may not be able to read a sealed letter")         \
    ROW(AVAILABLE, "available", "a sealed letter can be read")                                     \
    ROW(ENCRYPT, "encrypt", "both sides want sealed letters, or it answers a sealed one")

enum ll_autocrypt_advice {
#define LL_AUTOCRYPT_ENUM(ID, word, text) LL_AUTOCRYPT_##ID,
    LL_AUTOCRYPT_ADVICE(LL_AUTOCRYPT_ENUM)
#undef LL_AUTOCRYPT_ENUM
};
const char *ll_autocrypt_advice_word(enum ll_autocrypt_advice);
const char *ll_autocrypt_advice_text(enum ll_autocrypt_advice);

struct ll_autocrypt_question {
    bool key_usable, gossip_usable; /* not expired, not revoked, can encrypt */
    bool own_mutual;                /* the sender's own preference */
    bool answers_sealed;            /* the letter is a reply to an encrypted one */
};
/* *ret_key: the key to use, empty for DISABLE. */
enum ll_autocrypt_advice ll_autocrypt_advise(const struct ll_autocrypt_peer *,
                                             const struct ll_autocrypt_question *,
                                             struct ll_slice *ret_key);
/* For a letter to several (n > 0). */
enum ll_autocrypt_advice ll_autocrypt_advise_all(const enum ll_autocrypt_advice *, size_t n);

/* ---- setup messages: a secret key on its way to its owner's other device
 * --------------------------
 *
 * A letter to oneself that holds, in application/autocrypt-setup, a message encrypted with a code
 * of 36 digits; in it lies the armored secret key. The encryption is lib/pgp's.
 */

/* Nine groups of four digits with "-" between; random: 128 octets from a good source. False: so
 * few of them could be used that it is no code (once in 10^20). */
bool ll_autocrypt_code(struct ll_slice random, char ret[LL_AUTOCRYPT_CODE_N + 1]);

/* What is encrypted: the armored secret key with its Autocrypt-Prefer-Encrypt line. False: not an
 * armored private key. */
bool ll_autocrypt_setup_key(struct ll_slice armored, bool mutual, struct ll_buf *out);

struct ll_autocrypt_setup {
    struct ll_slice address; /* From and To */
    struct ll_slice message; /* the armored encrypted message */
    bool numeric;            /* Passphrase-Format: numeric9x4 */
    struct ll_slice begin;   /* the first digits of the code; empty: not said */
};
/* Appends the letter: header with Date and Message-ID, parts. message is as the engine made it; its
 * armor gets the Passphrase lines. boundary: one word that is in no part; random: 16 octets for the
 * Message-ID. False: no armored message, or out is full. */
bool ll_autocrypt_setup_put(struct ll_buf *out, const struct ll_autocrypt_setup *, int64_t now,
                            struct ll_slice boundary, struct ll_slice random);

/* ROW(ID, sentence) */
#define LL_AUTOCRYPT_SETUP_ERRORS(ROW)                                                             \
    ROW(SETUP_OK, "no error")                                                                      \
    ROW(SETUP_NOT, "the letter is no Autocrypt setup message")                                     \
    ROW(SETUP_VERSION, "the Autocrypt setup message is of a version other than v1")                \
    ROW(SETUP_STRANGER, "the Autocrypt setup message is not from and to the same one address")     \
    ROW(SETUP_PARTS, "the Autocrypt setup message has no part application/autocrypt-setup in its " \
                     "second place")                                                               \
    ROW(SETUP_ARMOR, "the Autocrypt setup message holds no armored message")                       \
    ROW(SETUP_RESOURCE, "not enough memory")

enum ll_autocrypt_setup_error {
#define LL_AUTOCRYPT_ENUM(ID, text) LL_AUTOCRYPT_##ID,
    LL_AUTOCRYPT_SETUP_ERRORS(LL_AUTOCRYPT_ENUM)
#undef LL_AUTOCRYPT_ENUM
};
const char *ll_autocrypt_setup_error_text(enum ll_autocrypt_setup_error);

/* Reads such a letter; slices are the arena's or borrow from it. */
enum ll_autocrypt_setup_error ll_autocrypt_setup_read(struct ll_slice letter, struct ll_arena *,
                                                      struct ll_autocrypt_setup *ret);
/* What was encrypted: the armored secret key (the rest is cut off), and the preference in it.
 * False: it does not begin with an armored private key. */
bool ll_autocrypt_setup_opened(struct ll_slice text, struct ll_slice *ret_armored,
                               bool *ret_mutual);

#endif
