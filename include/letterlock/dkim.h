/*
 * dkim: signatures of domains on letters (RFC 6376, RFC 8301, RFC 8463, RFC 8616): verifying and
 * making them.
 *
 * A letter is read once. ll_dkim_letter takes its octets as they come, keeps the header, and hashes
 * the body while it passes, once for each canonicalisation that a verifier or signer on it wants.
 * Verifiers (this module's and arc's) and signers are made when the header is complete:
 *
 *     letter = ll_dkim_letter_new();
 *     in = ll_slice_skip(in, ll_dkim_letter_feed(letter, in));   until ll_dkim_letter_ready()
 *     dkim = ll_dkim_new(letter, now);
 *     ...                                                        the body: the same feed
 *     ll_dkim_letter_end(letter);
 *     while (ll_dkim_need(dkim, &need)) answer it                any time from ll_dkim_new() on
 *     if (ll_dkim_done(dkim)) n = ll_dkim_results(dkim, &results);
 *
 * Letters are in wire form: lines end in CR LF. A CR or LF alone is an octet like others.
 *
 * Bounded work: LL_DKIM_SIGNATURES_MAX signatures and as many look-ups; one hash of the body for
 * each canonicalisation in use (two at most); each signature hashes each field at most once.
 * Not thread-safe; several objects may be used at the same time by different threads.
 */
#ifndef LETTERLOCK_DKIM_H
#define LETTERLOCK_DKIM_H

#include "letterlock/base.h"
#include "letterlock/need.h"

#define LL_DKIM_SIGNATURES_MAX 10            /* verified, from the top; the rest is only counted */
#define LL_DKIM_KEYS_MAX       10            /* key look-ups of one verifier */
#define LL_DKIM_HEADER_MAX     (1024 * 1024) /* octets of a header; real ones have 2 to 20 KiB */
#define LL_DKIM_TAGS_MAX       64            /* tags in one list; the RFCs know 14 */
#define LL_DKIM_RSA_BITS_MIN   1024          /* RFC 8301 3.2 */
#define LL_DKIM_RSA_BITS_MAX   4096          /* more costs CPU and proves nothing more */
#define LL_DKIM_RSA_SIGN_BITS  2048          /* RFC 8301 3.2: signers SHOULD use at least this */
#define LL_DKIM_KEY_ROOM       1100          /* octets of p= decoded; RSA-4096 as SPKI has 550 */
#define LL_DKIM_SIGNATURE_ROOM 512           /* octets of b= decoded: RSA-4096 */
#define LL_DKIM_KEPT_MAX       65536         /* keys that are kept, of all letters */
#define LL_DKIM_EXPIRE_S       (7 * 86400)   /* what signers usually set x= to, from t= on */

/* The words of RFC 8601 2.7.1. ROW(ID, word) */
#define LL_DKIM_VERDICTS(ROW)                                                                      \
    ROW(NONE, "none")                                                                              \
    ROW(PASS, "pass")                                                                              \
    ROW(FAIL, "fail")           /* the hash or the signature does not match */                     \
    ROW(POLICY, "policy")       /* it verifies, and we do not accept it */                         \
    ROW(NEUTRAL, "neutral")     /* its syntax is wrong */                                          \
    ROW(TEMPERROR, "temperror") /* the key could not be asked for now */                           \
    ROW(PERMERROR, "permerror") /* it can not be verified, now or later */

enum ll_dkim_verdict {
#define LL_DKIM_ENUM(ID, word) LL_DKIM_##ID,
    LL_DKIM_VERDICTS(LL_DKIM_ENUM)
#undef LL_DKIM_ENUM
};
const char *ll_dkim_verdict_word(enum ll_dkim_verdict);

/* What became of a signature. ROW(ID, verdict, sentence) */
#define LL_DKIM_FAULTS(ROW)                                                                        \
    ROW(OK, PASS, "")                                                                              \
    ROW(WAITS, NEUTRAL, "not verified yet")                                                        \
    ROW(TAGS, NEUTRAL, "the tag list has a syntax error")                                          \
    ROW(TAG_TWICE, NEUTRAL, "a tag is there twice")                                                \
    ROW(TAGS_MANY, NEUTRAL, "there are more than 64 tags")                                         \
    ROW(TAG_MISSING, NEUTRAL, "a required tag is missing")                                         \
    ROW(VERSION, PERMERROR, "v= is not 1")                                                         \
    ROW(ALGORITHM, PERMERROR, "a= names an unknown algorithm")                                     \
    ROW(SHA1, PERMERROR, "rsa-sha1 proves nothing any more (RFC 8301)")                            \
    ROW(B, NEUTRAL, "b= is not a signature in base64")                                             \
    ROW(BH, NEUTRAL, "bh= is not a SHA-256 hash in base64")                                        \
    ROW(C, NEUTRAL, "c= names an unknown canonicalisation")                                        \
    ROW(D, NEUTRAL, "d= is not a domain name")                                                     \
    ROW(H, NEUTRAL, "h= is not a list of field names")                                             \
    ROW(I, NEUTRAL, "i= is not an identity")                                                       \
    ROW(L, NEUTRAL, "l= is not a number")                                                          \
    ROW(Q, PERMERROR, "q= names no way to the key that is known")                                  \
    ROW(S, NEUTRAL, "s= is not a selector")                                                        \
    ROW(TIMES, NEUTRAL, "t= or x= is not a time, or x= is not after t=")                           \
    ROW(INSTANCE, NEUTRAL, "i= is not an instance from 1 to 50")                                   \
    ROW(CV, NEUTRAL, "cv= is none of none, pass, fail")                                            \
    ROW(SEAL_H, NEUTRAL, "an ARC-Seal may not have h=, and no h= may name one")                    \
    ROW(FROM_UNSIGNED, PERMERROR, "From is not signed")                                            \
    ROW(IDENTITY, PERMERROR, "the domain of i= is not d= nor below it")                            \
    ROW(EXPIRED, PERMERROR, "the signature has expired (x=)")                                      \
    ROW(KEYS_MANY, PERMERROR, "too many different keys in one letter")                             \
    ROW(DNS_LATER, TEMPERROR, "the key could not be looked up")                                    \
    ROW(NO_KEY, PERMERROR, "there is no key under this selector")                                  \
    ROW(KEY_SYNTAX, PERMERROR, "the key record has a syntax error")                                \
    ROW(KEY_VERSION, PERMERROR, "the key record is not of DKIM1")                                  \
    ROW(KEY_REVOKED, PERMERROR, "the key has been revoked")                                        \
    ROW(KEY_TYPE, PERMERROR, "the key is of another type than a= says")                            \
    ROW(KEY_HASH, PERMERROR, "the key is not for this hash (h=)")                                  \
    ROW(KEY_SERVICE, PERMERROR, "the key is not for mail (s=)")                                    \
    ROW(KEY_STRICT, PERMERROR, "the key is not for subdomains of d= (t=s)")                        \
    ROW(KEY_BAD, PERMERROR, "p= is not a public key")                                              \
    ROW(KEY_SHORT, PERMERROR, "the RSA key is shorter than 1024 bits")                             \
    ROW(KEY_LONG, PERMERROR, "the RSA key is longer than 4096 bits")                               \
    ROW(BODY, FAIL, "the body is not the signed one")                                              \
    ROW(BODY_SHORT, FAIL, "the body is shorter than l= says")                                      \
    ROW(SIGNATURE, FAIL, "the signed fields are not these, or the key is another")                 \
    ROW(UNSIGNED_REST, POLICY, "a part of the body is not signed (l=)")                            \
    ROW(HEADER_LONG, PERMERROR, "the header is over 1 MiB")                                        \
    ROW(RESOURCE, TEMPERROR, "not enough memory")

enum ll_dkim_fault {
#define LL_DKIM_ENUM(ID, verdict, text) LL_DKIM_FAULT_##ID,
    LL_DKIM_FAULTS(LL_DKIM_ENUM)
#undef LL_DKIM_ENUM
};
enum ll_dkim_verdict ll_dkim_fault_verdict(enum ll_dkim_fault);
const char *ll_dkim_fault_text(enum ll_dkim_fault);

enum ll_dkim_canon { LL_DKIM_SIMPLE, LL_DKIM_RELAXED };

/* ROW(ID, name, type of key) */
#define LL_DKIM_ALGORITHMS(ROW)                                                                    \
    ROW(RSA, "rsa-sha256", "rsa")                                                                  \
    ROW(ED25519, "ed25519-sha256", "ed25519")

enum ll_dkim_algorithm {
#define LL_DKIM_ENUM(ID, name, key) LL_DKIM_##ID,
    LL_DKIM_ALGORITHMS(LL_DKIM_ENUM)
#undef LL_DKIM_ENUM
};
/* "rsa-sha256"; false for a name that is none of the above. */
const char *ll_dkim_algorithm_name(enum ll_dkim_algorithm);
bool ll_dkim_algorithm_find(struct ll_slice name, enum ll_dkim_algorithm *ret);

/* ---- the letter --------------------------------------------------------------------------- */

struct ll_dkim_letter;

/* NULL: no memory. */
struct ll_dkim_letter *ll_dkim_letter_new(void);
/* After every verifier and signer on it. */
void ll_dkim_letter_free(struct ll_dkim_letter *);
/* Takes octets: all of them, but where the header ends: then those up to and with its empty line,
 * so that the caller can make verifiers before the body comes. */
size_t ll_dkim_letter_feed(struct ll_dkim_letter *, struct ll_slice in);
/* The header is complete, and verifiers and signers can be made. */
bool ll_dkim_letter_ready(const struct ll_dkim_letter *);
/* The letter is over. A letter without an empty line is all header: verifiers can be made then
 * too. Later octets are ignored. */
void ll_dkim_letter_end(struct ll_dkim_letter *);
/* The header, without its empty line; borrowed from the letter. Cut at LL_DKIM_HEADER_MAX. */
struct ll_slice ll_dkim_letter_header(const struct ll_dkim_letter *);
/* OK; HEADER_LONG: the header was cut; RESOURCE: there was no memory for all of it. */
enum ll_dkim_fault ll_dkim_letter_fault(const struct ll_dkim_letter *);

/* What was done for the letter so far; for tests and metrics. */
struct ll_dkim_work {
    uint32_t body_hashes;    /* canonicalisations of the body that were hashed: at most 2 */
    uint32_t header_hashes;  /* signatures (and seals) whose fields were hashed */
    uint32_t key_operations; /* public-key operations */
    uint32_t lookups;        /* keys asked for */
    uint64_t octets;         /* hashed in all */
};
void ll_dkim_letter_work(const struct ll_dkim_letter *, struct ll_dkim_work *ret);

/* ---- keys that are kept -----------------------------------------------------------------------
 */

/* Making a key out of its record costs nearly as much as verifying with it. Whoever verifies many
 * letters keeps what was made: at most `max` keys (1..LL_DKIM_KEPT_MAX), some 4 KiB each, the newer
 * in place of the older. Whether a key may verify a signature is decided for each letter by the
 * record that was asked for it: an old record gives nobody a right. Not thread-safe. NULL: no
 * memory, or no such number. */
struct ll_dkim_keys;
struct ll_dkim_keys *ll_dkim_keys_new(size_t max);
/* After all letters that use it. */
void ll_dkim_keys_free(struct ll_dkim_keys *);
/* Verifiers that are made on this letter from now on use them. */
void ll_dkim_letter_keys(struct ll_dkim_letter *, struct ll_dkim_keys *);

/* ---- verifying ------------------------------------------------------------------------------ */

struct ll_dkim_result {
    enum ll_dkim_fault fault;  /* verdict and sentence: ll_dkim_fault_verdict(), _text() */
    struct ll_slice algorithm; /* a= as written */
    struct ll_slice domain;    /* d= in A-labels, lower case; empty where it is none */
    struct ll_slice selector;  /* s= likewise */
    struct ll_slice identity;  /* i= decoded, or "@" and d=; octets of strangers */
    struct ll_slice b;         /* the first 8 characters of b= (RFC 6008) */
    unsigned bits;             /* of the key; 0: none was seen */
    bool testing;              /* the key says t=y: treat as unsigned whatever the result */
    bool partial;              /* l= is there */
    int64_t signed_at;         /* t=; -1: not there */
    int64_t expires;           /* x=; -1: not there */
};

struct ll_dkim;

/* A verifier for a letter that is ready. now: seconds since 1970. NULL: no memory, or the letter is
 * not ready. Made after octets of the body were fed, it knows only what earlier ones hashed. */
struct ll_dkim *ll_dkim_new(struct ll_dkim_letter *, int64_t now);
void ll_dkim_free(struct ll_dkim *);
/* LL_NEED_DNS: TXT of selector._domainkey.domain, LL_DKIM_KEYS_MAX at most. See need.h. */
bool ll_dkim_need(struct ll_dkim *, struct ll_need *ret);
void ll_dkim_answer(struct ll_dkim *, const struct ll_need_answer *);
/* Does what can be done. True: the letter is over, every need is answered, all results are final.
 */
bool ll_dkim_done(struct ll_dkim *);
/* One result for each of the first LL_DKIM_SIGNATURES_MAX DKIM-Signature fields from the top;
 * borrowed. *ret_skipped (may be NULL): how many more there were. */
size_t ll_dkim_results(const struct ll_dkim *, const struct ll_dkim_result **ret,
                       size_t *ret_skipped);

/* ---- key records (RFC 6376 3.6.1) --------------------------------------------------------------
 */

struct ll_dkim_record {
    enum ll_dkim_algorithm algorithm;
    bool testing;                  /* t=y */
    bool strict;                   /* t=s: i= has the very domain of d= */
    bool sha256;                   /* h= allows it */
    bool email;                    /* s= allows it */
    uint16_t key_n;                /* octets; 0: revoked */
    uint8_t key[LL_DKIM_KEY_ROOM]; /* p= decoded: PKCS#1, SPKI, or 32 octets of Ed25519 */
};
/* Reads the text of a TXT record (its strings joined). OK, or TAGS.., KEY_SYNTAX, KEY_VERSION,
 * KEY_TYPE, KEY_REVOKED (the record is read then too). *ret is written on OK and KEY_REVOKED. */
enum ll_dkim_fault ll_dkim_record_parse(struct ll_slice text, struct ll_dkim_record *ret);

/* ---- signing ----------------------------------------------------------------------------------
 */

/* The fields that are signed where they are there, in the order of h=; those with `true` once more
 * than they are there, so that none can be added (RFC 6376 5.4.1, 8.15). ROW(name, oversigned) */
#define LL_DKIM_SIGNED(ROW)                                                                        \
    ROW("from", true)                                                                              \
    ROW("to", true)                                                                                \
    ROW("cc", true)                                                                                \
    ROW("subject", true)                                                                           \
    ROW("date", true)                                                                              \
    ROW("reply-to", true)                                                                          \
    ROW("sender", false)                                                                           \
    ROW("message-id", true)                                                                        \
    ROW("in-reply-to", false)                                                                      \
    ROW("references", false)                                                                       \
    ROW("mime-version", true)                                                                      \
    ROW("content-type", true)                                                                      \
    ROW("content-transfer-encoding", true)                                                         \
    ROW("content-disposition", false)                                                              \
    ROW("content-description", false)                                                              \
    ROW("content-id", false)                                                                       \
    ROW("resent-from", false)                                                                      \
    ROW("resent-to", false)                                                                        \
    ROW("resent-cc", false)                                                                        \
    ROW("resent-date", false)                                                                      \
    ROW("resent-message-id", false)                                                                \
    ROW("list-id", false)                                                                          \
    ROW("list-help", false)                                                                        \
    ROW("list-post", false)                                                                        \
    ROW("list-owner", false)                                                                       \
    ROW("list-archive", false)                                                                     \
    ROW("list-subscribe", false)                                                                   \
    ROW("list-unsubscribe", false)                                                                 \
    ROW("list-unsubscribe-post", false)                                                            \
    ROW("autocrypt", false)

struct ll_dkim_sign_options {
    struct ll_slice domain;   /* d=: A- or U-labels */
    struct ll_slice selector; /* s= */
    enum ll_dkim_algorithm algorithm;
    enum ll_dkim_canon header, body;
    struct ll_slice identity; /* i=; empty: none */
    struct ll_slice fields;   /* h= as "from:to:date"; empty: the table above */
    int64_t now;              /* t= */
    uint32_t expire_s;        /* x= is t= and this; 0: no x= */
};

struct ll_dkim_signer;

/* A signer for a letter that is ready, made before its body comes. NULL: no memory, a domain,
 * selector, identity or list that is none, a list without From, a letter without From. */
struct ll_dkim_signer *ll_dkim_signer_new(struct ll_dkim_letter *,
                                          const struct ll_dkim_sign_options *);
void ll_dkim_signer_free(struct ll_dkim_signer *);
/* LL_NEED_SIGN, once, when the letter is over. */
bool ll_dkim_signer_need(struct ll_dkim_signer *, struct ll_need *ret);
void ll_dkim_signer_answer(struct ll_dkim_signer *, const struct ll_need_answer *);
/* Appends the DKIM-Signature field with its CR LF, to be put on top of the letter. False: not
 * answered, or refused. */
bool ll_dkim_signer_field(const struct ll_dkim_signer *, struct ll_buf *out);

/* A key in hand: an OpenSSL EVP_PKEY with a private RSA or Ed25519 key. */
struct evp_pkey_st;
/* What it can sign; false: another type, or RSA outside LL_DKIM_RSA_BITS_MIN..MAX. */
bool ll_dkim_key_algorithm(struct evp_pkey_st *, enum ll_dkim_algorithm *ret, unsigned *ret_bits);
/* The answer to LL_NEED_SIGN: appends the signature over `text`. */
bool ll_dkim_key_sign(struct evp_pkey_st *, struct ll_slice text, struct ll_buf *ret);
/* Appends the text of the key record to publish: "v=DKIM1; k=rsa; p=...". */
bool ll_dkim_key_record(struct evp_pkey_st *, struct ll_buf *out);

#endif
