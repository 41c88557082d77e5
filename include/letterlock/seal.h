/*
 * seal: the words that S/MIME and OpenPGP share: why something could not be done, what became of a
 * signature, and what was learned while a letter was opened.
 *
 * Slices of these structures lie in the arena that the caller gave to the function that filled
 * them, and live as long as it does. What strangers chose (names, user ids, issuers) is octets:
 * escape it before it is shown.
 */
#ifndef LETTERLOCK_SEAL_H
#define LETTERLOCK_SEAL_H

#include "letterlock/base.h"

/* Why an operation failed. ROW(ID, sentence) */
#define LL_SEAL_ERRORS(ROW)                                                                        \
    ROW(OK, "no error")                                                                            \
    ROW(NO_KEY, "none of the keys here opens it")                                                  \
    ROW(LOCKED, "the key is locked with a password")                                               \
    ROW(PASSWORD, "the password is wrong")                                                         \
    ROW(INTEGRITY, "it was changed on its way, or nothing protects it against change")             \
    ROW(WEAK, "it uses an algorithm that is too weak")                                             \
    ROW(MALFORMED, "it is malformed")                                                              \
    ROW(UNSUPPORTED, "it uses a format or an algorithm that is not supported")                     \
    ROW(UNUSABLE_KEY, "the key is expired, revoked or not meant for this")                         \
    ROW(TOO_LARGE, "it is larger than the limit")                                                  \
    ROW(RESOURCE, "not enough memory")

enum ll_seal_error {
#define LL_SEAL_ENUM(ID, text) LL_SEAL_##ID,
    LL_SEAL_ERRORS(LL_SEAL_ENUM)
#undef LL_SEAL_ENUM
};
const char *ll_seal_error_text(enum ll_seal_error);

/* How a letter is sealed. ROW(ID, word) */
#define LL_SEAL_METHODS(ROW)                                                                       \
    ROW(NONE, "none")                                                                              \
    ROW(SMIME, "smime")                                                                            \
    ROW(PGP, "pgp")

enum ll_seal_method {
#define LL_SEAL_ENUM(ID, word) LL_SEAL_##ID,
    LL_SEAL_METHODS(LL_SEAL_ENUM)
#undef LL_SEAL_ENUM
};
const char *ll_seal_method_word(enum ll_seal_method);
/* False, and *ret untouched, for all other words. */
bool ll_seal_method_parse(struct ll_slice word, enum ll_seal_method *ret);

/* What became of a signature. Only GOOD proves anything. ROW(ID, word, sentence) */
#define LL_SIGNATURE_STATES(ROW)                                                                   \
    ROW(GOOD, "good", "the signature is good")                                                     \
    ROW(BAD, "bad", "the content was changed, or the signature is not for it")                     \
    ROW(NO_KEY, "no-key", "the signer's key is not here")                                          \
    ROW(KEY_EXPIRED, "key-expired", "the signer's key has expired")                                \
    ROW(KEY_REVOKED, "key-revoked", "the signer's key was revoked")                                \
    ROW(EXPIRED, "expired", "the signature is not valid at this time")                             \
    ROW(WEAK, "weak", "the signature uses an algorithm that is too weak")                          \
    ROW(UNTRUSTED, "untrusted", "no chain leads from the signer to a trusted certificate")         \
    ROW(PURPOSE, "purpose", "the signer's key or certificate is not meant for signing letters")    \
    ROW(MALFORMED, "malformed", "the signature is malformed")                                      \
    ROW(UNSUPPORTED, "unsupported", "the signature uses an algorithm that is not supported")

enum ll_signature_state {
#define LL_SIGNATURE_ENUM(ID, word, text) LL_SIGNATURE_##ID,
    LL_SIGNATURE_STATES(LL_SIGNATURE_ENUM)
#undef LL_SIGNATURE_ENUM
};
const char *ll_signature_state_word(enum ll_signature_state);
const char *ll_signature_state_text(enum ll_signature_state);

struct ll_signature {
    enum ll_signature_state state;
    /* Lower-case hex. OpenPGP: of the primary key; S/MIME: SHA-256 of the certificate. Empty:
     * unknown. */
    struct ll_slice fingerprint;
    struct ll_slice key_id;   /* as the signature names it (OpenPGP key id; S/MIME issuer+serial) */
    struct ll_slice *address; /* what the key speaks for: addresses of valid user ids; of the SAN */
    size_t n_address;
    struct ll_slice name, issuer; /* for people */
    struct ll_slice algorithm;    /* "ed25519, sha256" */
    struct ll_slice cert;         /* S/MIME: DER, to be harvested; OpenPGP: empty */
    /* S/MIME, good signatures: DER of certificates that came along and were found good: the
     * signer's issuers, and the one for sealing where the signer's is for signing alone. */
    struct ll_slice *along;
    size_t n_along;
    int64_t made;           /* what the signer claims, seconds since 1970; 0: not said */
    struct ll_slice detail; /* a sentence, where there is more to say; may be empty */
};

struct ll_opened {
    bool encrypted;
    bool authenticated;     /* MDC, AEAD or GCM proved that nothing changed; S/MIME CBC: false */
    bool weak;              /* encrypted with an old cipher or key: read, and worth a warning */
    struct ll_slice cipher; /* "aes256, mdc"; empty when it was not encrypted */
    struct ll_slice *recipient; /* key ids / issuer+serial that it is encrypted to */
    size_t n_recipient;
    struct ll_signature *signature;
    size_t n_signature;
};

#endif
