/*
 * keystore: a person's own keys, the keys of others, and what was decided about them (SQLite).
 *
 * One file (mode 0600 in a folder of mode 0700) that several commands may use at once. It holds
 * octets and facts, and parses no key: who puts a key in has read it (lib/pgp, lib/smime) and says
 * what it is. Keys are named by method and fingerprint, the way `letterlock/seal.h` writes them:
 * lower-case hexadecimal, of the primary key (OpenPGP) or the SHA-256 of the certificate (S/MIME).
 *
 * A key of somebody else counts by three things: what the user decided (VERIFIED, REJECTED, or
 * nothing yet), how good the place is where it was found, and when it was last seen. Where an
 * address has a key already and another one comes, ll_keystore_put says CHANGED: that is how an
 * attack looks, and how a new computer looks, and only a person can tell. ll_keystore_best says
 * which key is used, and why. VERIFIED is said of a key and the addresses that it has at that time:
 * whoever owns a verified key can write any address into it later.
 *
 * Secret keys are kept in the protected form that their format has (an OpenPGP transferable secret
 * key, a PKCS#8 EncryptedPrivateKeyInfo): the store adds no password of its own, and one that was
 * made without a password lies open in the file. What is deleted is overwritten (secure_delete).
 *
 * All times are seconds since 1970. All memory given out is the caller's arena's, but for secrets,
 * which come in a buffer that can be wiped. doc/design/keys.md has the schema.
 */
#ifndef LL_IO_KEYSTORE_H
#define LL_IO_KEYSTORE_H

#include "letterlock/autocrypt.h"
#include "letterlock/base.h"
#include "letterlock/seal.h"

#define LL_KEYSTORE_VERSION 1    /* of the schema */
#define LL_KEYSTORE_BUSY_MS 5000 /* how long another command may hold the file */
#define LL_KEYSTORE_KEY_MAX                                                                        \
    1048576                           /* octets of one key: keys with many signatures have 100 KiB \
                                       */
#define LL_KEYSTORE_ADDRESSES_MAX 100 /* addresses of one key; the rest is left out */
#define LL_KEYSTORE_LIST_MAX      10000 /* keys of one answer */

enum ll_keystore_result {
    LL_KEYSTORE_OK,
    LL_KEYSTORE_NONE,    /* no such key, no such peer */
    LL_KEYSTORE_BUSY,    /* another command holds the file: try again */
    LL_KEYSTORE_REFUSED, /* no permission, or a file or folder that others may write */
    LL_KEYSTORE_BROKEN,  /* damaged, of a newer version, no store at all, disk full */
    LL_KEYSTORE_RESOURCE /* no memory, or over a limit above */
};

/* Where a key was found. ROW(ID, number in the file, word, words for people, rank). Between keys
 * that nobody verified the higher rank counts: the user's own act, then what the domain vouches for
 * over a checked way, then what a letter said of itself, then what a third person said. */
#define LL_KEYSTORE_SOURCES(ROW)                                                                   \
    ROW(MADE, 1, "made", "made here", 4)                                                           \
    ROW(IMPORT, 2, "import", "imported by you", 4)                                                 \
    ROW(WKD, 3, "wkd", "published by the domain (WKD)", 3)                                         \
    ROW(SMIMEA, 4, "smimea", "published in signed DNS (SMIMEA)", 3)                                \
    ROW(OPENPGPKEY, 5, "openpgpkey", "published in signed DNS (OPENPGPKEY)", 3)                    \
    ROW(LETTER, 6, "letter", "in a signed letter", 2)                                              \
    ROW(AUTOCRYPT, 7, "autocrypt", "in the header of a letter (Autocrypt)", 2)                     \
    ROW(GOSSIP, 8, "gossip", "in a letter of somebody else (Autocrypt-Gossip)", 1)

enum ll_keystore_source {
#define LL_KEYSTORE_ENUM(ID, number, word, text, rank) LL_KEYSTORE_##ID = (number),
    LL_KEYSTORE_SOURCES(LL_KEYSTORE_ENUM)
#undef LL_KEYSTORE_ENUM
};
const char *ll_keystore_source_word(enum ll_keystore_source); /* "wkd" */
const char *ll_keystore_source_text(enum ll_keystore_source); /* "published by ..." */

/* What the user decided. ROW(ID, number in the file, word) */
#define LL_KEYSTORE_TRUSTS(ROW)                                                                    \
    ROW(UNDECIDED, 0, "undecided")                                                                 \
    ROW(VERIFIED, 1, "verified") /* compared with its owner; of a CA: its certificates are good */ \
    ROW(REJECTED, 2, "rejected") /* never used, however it is found again */

enum ll_keystore_trust {
#define LL_KEYSTORE_ENUM(ID, number, word) LL_KEYSTORE_##ID = (number),
    LL_KEYSTORE_TRUSTS(LL_KEYSTORE_ENUM)
#undef LL_KEYSTORE_ENUM
};
const char *ll_keystore_trust_word(enum ll_keystore_trust);

/* The place and time at which a key was found. */
struct ll_keystore_found {
    enum ll_keystore_source source;
    struct ll_slice place; /* an URL, a DNS name, a file, a Message-ID; for people; may be empty */
    int64_t first, last;
};

struct ll_keystore_key {
    enum ll_seal_method kind; /* LL_SEAL_PGP or LL_SEAL_SMIME */
    struct ll_slice fingerprint;
    struct ll_slice octets; /* transferable public key, or DER certificate */
    /* S/MIME: what the peer said it reads (ll_smime_capabilities); empty in a put: as it was. */
    struct ll_slice capabilities;
    struct ll_slice name;     /* first user id, or subject; UTF-8 for people, a stranger's octets */
    struct ll_slice *address; /* canonical (ll_mailbox_parse), local part in lower case */
    size_t n_address;
    bool whole;               /* put: what is not in `address` is no address of the key any more */
    int64_t created, expires; /* 0: not said, never */
    bool ca;                  /* a certificate that issues certificates: an anchor when VERIFIED */
    bool revoked;             /* its owner or issuer took it back */
    bool can_encrypt;         /* letters can be sealed to it, its expiry aside */
    /* Set by the store; ll_keystore_put ignores them. */
    bool own;         /* the secret key is here */
    bool is_default;  /* of the own keys of its kind */
    size_t n_vouched; /* so many at the beginning of `address` were there when it was VERIFIED */
    enum ll_keystore_trust trust;  /* where an address is asked for: of the key for that address */
    int64_t decided;               /* when; 0: never */
    int64_t first_seen, last_seen; /* over all places */
    struct ll_keystore_found *found; /* best rank first */
    size_t n_found;
};

struct ll_keystore;

/* ---- the file ----------------------------------------------------------------------------------
 */

/* Appends $XDG_DATA_HOME/letterlock/keys.db, or ~/.local/share/letterlock/keys.db. False: neither
 * XDG_DATA_HOME nor HOME is an absolute path. */
bool ll_keystore_path(struct ll_buf *out);

/* create: file and folders are made where they are missing. Without it a missing file is an empty
 * store that cannot be written. A store of an older version is brought up to date (in one
 * transaction). BUSY, REFUSED, BROKEN, RESOURCE: a sentence with a line end in *ret_err. A damaged
 * file is left as it is. */
enum ll_keystore_result ll_keystore_open(const char *path, bool create, struct ll_keystore **ret,
                                         struct ll_buf *ret_err);
void ll_keystore_close(struct ll_keystore *); /* NULL is fine */

/* Several changes as one: all or none. Calls do not nest. */
enum ll_keystore_result ll_keystore_begin(struct ll_keystore *, struct ll_buf *ret_err);
enum ll_keystore_result ll_keystore_end(struct ll_keystore *, bool commit, struct ll_buf *ret_err);

/* ---- keys --------------------------------------------------------------------------------------
 */

enum ll_keystore_seen {
    LL_KEYSTORE_NEW,    /* first key of this kind for each of its addresses */
    LL_KEYSTORE_SAME,   /* known already; its octets and facts are the given ones now */
    LL_KEYSTORE_CHANGED /* new, and an address of it had another key that was not rejected */
};

/* Puts a key in, or brings it up to date, and notes where it was found. secret: empty leaves what
 * is there. *ret_other (fingerprint in the arena) is the key that the address had, on CHANGED.
 * Whoever updates an OpenPGP key joins old and new octets first. */
enum ll_keystore_result ll_keystore_put(struct ll_keystore *, const struct ll_keystore_key *,
                                        struct ll_slice secret, enum ll_keystore_source,
                                        struct ll_slice place, int64_t now, struct ll_arena *,
                                        enum ll_keystore_seen *ret_seen, struct ll_slice *ret_other,
                                        struct ll_buf *ret_err);

/* Which keys: every field that is set must hold. */
struct ll_keystore_query {
    enum ll_seal_method kind;    /* LL_SEAL_NONE: both */
    struct ll_slice address;     /* any spelling */
    struct ll_slice fingerprint; /* or its end or beginning (8 digits or more; blanks, colons and
                                    "0x" are left out) */
    bool own, others;            /* only such; neither: all */
    bool ca;                     /* true: CAs alone; false: no CA, unless a fingerprint is given */
    bool any_ca;                 /* CAs and all else */
};

/* The keys, those that count more first: own (the default one before), then verified, undecided by
 * rank and last_seen, rejected. NONE: there is none (*ret_n is 0). */
enum ll_keystore_result ll_keystore_list(struct ll_keystore *, const struct ll_keystore_query *,
                                         struct ll_arena *, struct ll_keystore_key **ret,
                                         size_t *ret_n, struct ll_buf *ret_err);

/* Why ll_keystore_best chose, or chose nothing. ROW(ID, sentence) */
#define LL_KEYSTORE_CHOICES(ROW)                                                                   \
    ROW(CHOSE_OWN, "it is your own key")                                                           \
    ROW(CHOSE_VERIFIED, "you have verified it")                                                    \
    ROW(CHOSE_ONLY, "it is the only key known for the address; nobody has verified it")            \
    ROW(CHOSE_BETTER, "several keys are known for the address and none is verified; this one was " \
                      "found at the better or latest place")                                       \
    ROW(CHOSE_AFTER, "the key that you verified is expired or revoked; nobody has verified this "  \
                     "one")                                                                        \
    ROW(HAVE_NONE, "no key is known for the address")                                              \
    ROW(HAVE_REJECTED, "every key known for the address is rejected")                              \
    ROW(HAVE_UNUSABLE, "every key known for the address is expired, revoked or cannot encrypt")

enum ll_keystore_choice {
#define LL_KEYSTORE_ENUM(ID, text) LL_KEYSTORE_##ID,
    LL_KEYSTORE_CHOICES(LL_KEYSTORE_ENUM)
#undef LL_KEYSTORE_ENUM
};
const char *ll_keystore_choice_text(enum ll_keystore_choice);

/* The key of this kind to seal a letter to that address with. A verified key is never given up for
 * another one; a rejected, revoked or expired key is never given. NONE: *ret_choice says why.
 * *ret_warn: the address has another usable key, found later than the chosen one, about which the
 * user has not decided (NULL: no such thing); say so. Certificates are not checked here
 * (ll_smime_check does). */
enum ll_keystore_result ll_keystore_best(struct ll_keystore *, struct ll_slice address,
                                         enum ll_seal_method, int64_t now, struct ll_arena *,
                                         struct ll_keystore_key *ret,
                                         enum ll_keystore_choice *ret_choice,
                                         const struct ll_keystore_key **ret_warn,
                                         struct ll_buf *ret_err);

/* The secret octets of an own key, appended to *ret (max LL_KEYSTORE_KEY_MAX; wipe it). */
enum ll_keystore_result ll_keystore_secret(struct ll_keystore *, enum ll_seal_method,
                                           struct ll_slice fingerprint, struct ll_buf *ret,
                                           struct ll_buf *ret_err);

/* Decisions. note: why, for people; kept with the date in the history. */
enum ll_keystore_result ll_keystore_decide(struct ll_keystore *, enum ll_seal_method,
                                           struct ll_slice fingerprint, enum ll_keystore_trust,
                                           struct ll_slice note, int64_t now,
                                           struct ll_buf *ret_err);
/* The own key that signs when nothing else is said, for its kind. */
enum ll_keystore_result ll_keystore_set_default(struct ll_keystore *, enum ll_seal_method,
                                                struct ll_slice fingerprint, int64_t now,
                                                struct ll_buf *ret_err);
/* secret_only: the key stays as one of others. The history stays in both cases. */
enum ll_keystore_result ll_keystore_delete(struct ll_keystore *, enum ll_seal_method,
                                           struct ll_slice fingerprint, bool secret_only,
                                           int64_t now, struct ll_buf *ret_err);

/* ---- history: what happened to a key, and when
 * ---------------------------------------------------
 */

/* ROW(ID, number in the file, words) */
#define LL_KEYSTORE_EVENTS(ROW)                                                                    \
    ROW(ADDED, 1, "added")                                                                         \
    ROW(CHANGE, 2, "another key for an address that had one")                                      \
    ROW(UPDATED, 3, "brought up to date")                                                          \
    ROW(DECIDED_VERIFIED, 4, "verified by you")                                                    \
    ROW(DECIDED_REJECTED, 5, "rejected by you")                                                    \
    ROW(DECIDED_UNDECIDED, 6, "decision taken back")                                               \
    ROW(DEFAULT, 7, "made the default")                                                            \
    ROW(SECRET, 8, "secret key stored")                                                            \
    ROW(SECRET_DELETED, 9, "secret key deleted")                                                   \
    ROW(DELETED, 10, "deleted")

enum ll_keystore_event {
#define LL_KEYSTORE_ENUM(ID, number, text) LL_KEYSTORE_EVENT_##ID = (number),
    LL_KEYSTORE_EVENTS(LL_KEYSTORE_ENUM)
#undef LL_KEYSTORE_ENUM
};
const char *ll_keystore_event_text(enum ll_keystore_event);

struct ll_keystore_entry {
    int64_t at;
    enum ll_keystore_event event;
    struct ll_slice note; /* the other fingerprint, the user's reason, a place */
};

/* Oldest first. NONE: nothing is known of such a key. */
enum ll_keystore_result ll_keystore_history(struct ll_keystore *, enum ll_seal_method,
                                            struct ll_slice fingerprint, struct ll_arena *,
                                            struct ll_keystore_entry **ret, size_t *ret_n,
                                            struct ll_buf *ret_err);

/* ---- Autocrypt: what the letters of a peer said (autocrypt.h has the rules)
 * -----------------------
 */

/* Keys are named by fingerprints. NONE: nothing is known of the address; *ret is all zeros. */
enum ll_keystore_result ll_keystore_peer(struct ll_keystore *, struct ll_slice address,
                                         struct ll_arena *, struct ll_autocrypt_peer *ret,
                                         struct ll_buf *ret_err);
enum ll_keystore_result ll_keystore_set_peer(struct ll_keystore *, struct ll_slice address,
                                             const struct ll_autocrypt_peer *,
                                             struct ll_buf *ret_err);

/* The form in which addresses are stored and asked for: canonical, local part in ASCII lower case
 * (mail systems that tell Ann from ann are gone, and keys are published both ways). False: no
 * mailbox. */
bool ll_keystore_address(struct ll_slice text, struct ll_buf *out);

#endif
