/*
 * The parts that DKIM and ARC share: tag lists, the letter with its fields and body hashes, and the
 * keys that were asked for.
 */
#ifndef LL_LIB_DKIM_PARTS_H
#define LL_LIB_DKIM_PARTS_H

#include "letterlock/dkim.h"
#include "letterlock/msg.h"

#include <openssl/evp.h>

#define LL_DKIM_HASH   32   /* octets of SHA-256 */
#define LL_DKIM_GATHER 4096 /* octets that are gathered for the hash: blocks of its 64 */

/* ---- tag lists (RFC 6376 3.2) ---------------------------------------------------------------- */

struct ll_dkim_tag {
    struct ll_slice name;
    struct ll_slice value; /* without FWS at its ends */
    struct ll_slice raw;   /* all between "=" and ";" */
};

struct ll_dkim_tags {
    struct ll_dkim_tag v[LL_DKIM_TAGS_MAX];
    size_t n;
};

/* OK, TAGS, TAG_TWICE, TAGS_MANY. Slices borrow from text. */
enum ll_dkim_fault ll_dkim_tags_parse(struct ll_slice text, struct ll_dkim_tags *ret);
/* The tag of this name, or NULL. */
const struct ll_dkim_tag *ll_dkim_tag(const struct ll_dkim_tags *, const char *name);
/* Its value, or the empty slice. */
struct ll_slice ll_dkim_tag_value(const struct ll_dkim_tags *, const char *name);

bool ll_dkim_is_fws(uint8_t c);
struct ll_slice ll_dkim_trim_fws(struct ll_slice s);
/* Base64 with FWS anywhere in it, of 1..room octets; padding may be left out. */
bool ll_dkim_base64(struct ll_slice s, uint8_t *ret, size_t room, size_t *ret_n);
/* Is `word` an element of a list divided by colons, FWS around them? */
bool ll_dkim_list_has(struct ll_slice list, const char *word);
/* A domain name of A- or U-labels to A-labels; with `any_label` underscores and a single label are
 * fine too (selectors). */
bool ll_dkim_domain(struct ll_slice s, bool any_label, struct ll_dns_name *ret);

/* ---- signature fields -------------------------------------------------------------------------
 */

/* Which field is it? Their rules differ. */
enum ll_dkim_kind { LL_DKIM_FIELD, LL_DKIM_AMS, LL_DKIM_SEAL };

struct ll_dkim_sig {
    uint32_t field;        /* index in the letter */
    struct ll_slice raw;   /* the field */
    struct ll_slice b_raw; /* what is taken out of it before hashing */
    struct ll_slice a, h;
    enum ll_dkim_algorithm algorithm;
    enum ll_dkim_canon header, body;
    bool canon_said; /* c= is there */
    struct ll_dns_name domain, selector;
    char identity[512];
    uint16_t identity_n;
    uint8_t bh[LL_DKIM_HASH];
    uint8_t b[LL_DKIM_SIGNATURE_ROOM];
    size_t b_n;
    char b_start[8];
    uint8_t b_start_n;
    bool partial; /* l= */
    uint64_t length;
    int64_t t, x;      /* -1: not there */
    unsigned instance; /* ARC's i= */
    struct ll_slice cv;
};

/* Reads a signature field; *ret holds what could be read even on failure. */
enum ll_dkim_fault ll_dkim_sig_parse(enum ll_dkim_kind, struct ll_slice raw, struct ll_slice body,
                                     struct ll_dkim_sig *ret);

/* ---- canonicalisation -------------------------------------------------------------------------
 */

/* Appends a field; relaxed or simple, with its CR LF. */
void ll_dkim_canon_field(enum ll_dkim_canon, struct ll_slice raw, struct ll_buf *out);
/* The same for a signature field, without the value of its b= and without its CR LF. */
void ll_dkim_canon_own(enum ll_dkim_canon, struct ll_slice raw, struct ll_slice b_raw,
                       struct ll_buf *out);

/* The hash of a body in one canonicalisation, and of as many of its beginnings as l= asks for. */
struct ll_dkim_body {
    enum ll_dkim_canon canon;
    EVP_MD_CTX *md;
    uint64_t hashed; /* octets of the canonical body so far, the gathered ones included */
    uint8_t gather[LL_DKIM_GATHER];
    size_t gathered;
    uint64_t crlfs; /* line ends held back: they count only if more comes */
    bool wsp;       /* relaxed: blanks held back */
    bool cr;        /* a CR held back: an LF may follow */
    bool failed;
    struct ll_dkim_mark {
        uint64_t at;
        bool reached;
        uint8_t hash[LL_DKIM_HASH];
    } mark[LL_DKIM_SIGNATURES_MAX + 1];
    size_t marks;
    uint64_t next; /* the nearest mark that was not reached */
    uint8_t hash[LL_DKIM_HASH];
};

struct ll_dkim_body *ll_dkim_body_new(enum ll_dkim_canon);
void ll_dkim_body_free(struct ll_dkim_body *);
void ll_dkim_body_feed(struct ll_dkim_body *, struct ll_slice in);
void ll_dkim_body_end(struct ll_dkim_body *);
/* The hash of its first `at` octets will be asked for. */
bool ll_dkim_body_mark(struct ll_dkim_body *, uint64_t at);

/* ---- the letter --------------------------------------------------------------------------------
 */

struct ll_dkim_field {
    struct ll_slice raw, name, body;
};

struct ll_dkim_named {
    struct ll_slice name;
    uint32_t at;
};

struct ll_dkim_letter {
    struct ll_msg_end end;
    struct ll_buf header;
    bool ready, ended;
    enum ll_dkim_fault fault; /* OK, HEADER_LONG, RESOURCE */
    struct ll_dkim_field *field;
    size_t fields;
    struct ll_dkim_named *by_name; /* sorted by name without case, then from the top */
    uint32_t *taken;               /* a scratch number for each of by_name */
    struct ll_dkim_body *body[2];
    struct ll_buf text; /* scratch: what is hashed and signed */
    struct ll_dkim_work work;
    struct ll_dkim_keys *keys; /* lent; NULL: none */
};

/* The body in this canonicalisation will be asked for; partial: its first `length` octets. */
bool ll_dkim_letter_want(struct ll_dkim_letter *, enum ll_dkim_canon, bool partial,
                         uint64_t length);
/* OK, BODY, BODY_SHORT; UNSIGNED_REST where the hash matches and more follows. After the end. */
enum ll_dkim_fault ll_dkim_letter_body(const struct ll_dkim_letter *, const struct ll_dkim_sig *);
/* Appends the fields that `list` (h=) names, canonical, to out; field `own` is left out. */
void ll_dkim_letter_fields(struct ll_dkim_letter *, enum ll_dkim_canon, struct ll_slice list,
                           uint32_t own, struct ll_buf *out);
/* How many fields have this name (lower case). */
size_t ll_dkim_letter_count(const struct ll_dkim_letter *, struct ll_slice name);

/* Appends a list divided by colons, folded; column: where it begins. */
void ll_dkim_put_list(struct ll_buf *out, struct ll_slice list, size_t column);
/* Appends the value of b=, folded; "b=" begins its line. */
void ll_dkim_put_base64(struct ll_buf *out, struct ll_slice raw);

/* ---- keys -------------------------------------------------------------------------------------
 */

/* The keys of one verifier: each is asked for once. */
struct ll_dkim_ring {
    struct ll_dkim_ring_key {
        struct ll_dns_name name; /* selector._domainkey.domain */
        bool taken, answered;
        enum ll_dkim_fault fault;
        struct ll_dkim_record record;
        unsigned bits;
        EVP_PKEY *key;
    } v[LL_DKIM_KEYS_MAX];
    size_t n;
    struct ll_dkim_keys *keys; /* of the letter; NULL: none are kept */
};

/* The index of the key, asked for from now on; -1: the ring is full; -2: no such name can be. */
int ll_dkim_ring_want(struct ll_dkim_ring *, const struct ll_dns_name *domain,
                      const struct ll_dns_name *selector);
bool ll_dkim_ring_need(struct ll_dkim_ring *, struct ll_need *ret);
void ll_dkim_ring_answer(struct ll_dkim_ring *, const struct ll_need_answer *);
bool ll_dkim_ring_complete(const struct ll_dkim_ring *);
void ll_dkim_ring_release(struct ll_dkim_ring *);
/* May this key verify this signature? */
enum ll_dkim_fault ll_dkim_ring_fits(const struct ll_dkim_ring_key *, const struct ll_dkim_sig *);
/* The signature over a SHA-256 hash: OK, SIGNATURE, RESOURCE. */
enum ll_dkim_fault ll_dkim_verify_hash(EVP_PKEY *, const struct ll_dkim_sig *,
                                       const uint8_t hash[LL_DKIM_HASH]);
bool ll_dkim_sha256(struct ll_slice text, uint8_t ret[LL_DKIM_HASH]);
/* A public key out of a record. OK, KEY_BAD, KEY_SHORT, KEY_LONG, RESOURCE. */
enum ll_dkim_fault ll_dkim_record_key(const struct ll_dkim_record *, EVP_PKEY **ret,
                                      unsigned *ret_bits);
/* The same, out of those that were kept (NULL: none are). */
enum ll_dkim_fault ll_dkim_keys_get(struct ll_dkim_keys *, const struct ll_dkim_record *,
                                    EVP_PKEY **ret, unsigned *ret_bits);

#endif
