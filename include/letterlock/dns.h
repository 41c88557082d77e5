/*
 * dns: names, answers and records (RFC 1035), without a resolver.
 *
 * The role dns asks and sends an answer to whoever needs it; this module is what both ends share:
 * names in one form, an answer with its DNSSEC status, and typed views of its records. Every view
 * checks the length of what it looks at: records are written by strangers.
 */
#ifndef LETTERLOCK_DNS_H
#define LETTERLOCK_DNS_H

#include "letterlock/base.h"

#define LL_DNS_NAME_MAX    253   /* octets of a name in text form, no dot at its end */
#define LL_DNS_RECORDS_MAX 256   /* records of one answer; more are cut off */
#define LL_DNS_ANSWER_MAX  60000 /* octets of an encoded answer: one IPC frame with its header */
#define LL_DNS_CHAIN_MAX   12    /* CNAMEs followed inside one answer */
#define LL_DNS_WHY_MAX     256   /* octets of the sentence that comes with a failure */

/* ROW(ID, number, name): the types that may be asked. */
#define LL_DNS_TYPES(ROW)                                                                          \
    ROW(A, 1, "A")                                                                                 \
    ROW(NS, 2, "NS")                                                                               \
    ROW(CNAME, 5, "CNAME")                                                                         \
    ROW(SOA, 6, "SOA")                                                                             \
    ROW(PTR, 12, "PTR")                                                                            \
    ROW(MX, 15, "MX")                                                                              \
    ROW(TXT, 16, "TXT")                                                                            \
    ROW(AAAA, 28, "AAAA")                                                                          \
    ROW(DS, 43, "DS")                                                                              \
    ROW(DNSKEY, 48, "DNSKEY")                                                                      \
    ROW(TLSA, 52, "TLSA")                                                                          \
    ROW(SMIMEA, 53, "SMIMEA")                                                                      \
    ROW(OPENPGPKEY, 61, "OPENPGPKEY")

enum ll_dns_type {
#define LL_DNS_ENUM(ID, number, name) LL_DNS_##ID = (number),
    LL_DNS_TYPES(LL_DNS_ENUM)
#undef LL_DNS_ENUM
};

/* "MX", or NULL for a type that may not be asked. */
const char *ll_dns_type_name(uint16_t type);

/* ---- names ----------------------------------------------------------------------------------
 *
 * Text form: lower case, labels of 1..63 octets joined by ".", no dot at the end; the root is ".".
 * Labels hold printable ASCII without backslash, quote and dot: underscores and what SPF macros
 * make (blanks too) are names; octets beyond that are in no name that mail needs, and are refused.
 */

struct ll_dns_name {
    uint8_t n;
    char text[LL_DNS_NAME_MAX + 1]; /* NUL-terminated */
};

static inline struct ll_slice ll_dns_name_slice(const struct ll_dns_name *name)
{
    return ll_slice(name->text, name->n);
}
/* From any spelling (case, dot at the end). false: not a name; *ret is untouched then. */
bool ll_dns_name_parse(struct ll_slice text, struct ll_dns_name *ret);
/* The name of a mail domain: U-labels become A-labels (RFC 5891). Address literals, blanks and the
 * root are refused, and so is what ll_dns_name_parse refuses. */
bool ll_dns_name_of(struct ll_slice domain, struct ll_dns_name *ret);
/* Equal but for ASCII case and a dot at the end. */
bool ll_dns_name_eq(struct ll_slice a, struct ll_slice b);
/* Is name equal to, or below, parent? Everything is below ".". */
bool ll_dns_name_under(struct ll_slice name, struct ll_slice parent);
/* The name under which the PTR of an address stands: n is 4 or 16 octets. */
void ll_dns_reverse(const uint8_t *address, size_t n, struct ll_dns_name *ret);

/* ---- answers --------------------------------------------------------------------------------- */

/* ROW(ID, word) */
#define LL_DNS_STATUSES(ROW)                                                                       \
    ROW(OK, "ok")             /* at least one record */                                            \
    ROW(NXDOMAIN, "nxdomain") /* the name does not exist, nor anything below it */                 \
    ROW(NODATA, "nodata")     /* the name exists, without records of that type */                  \
    ROW(SERVFAIL, "servfail") /* the question could not be answered: try later */                  \
    ROW(TIMEOUT, "timeout")   /* likewise */                                                       \
    ROW(BOGUS, "bogus")       /* signed, and the signatures do not hold: as SERVFAIL */

enum ll_dns_status {
#define LL_DNS_ENUM(ID, word) LL_DNS_STATUS_##ID,
    LL_DNS_STATUSES(LL_DNS_ENUM)
#undef LL_DNS_ENUM
};

const char *ll_dns_status_name(uint8_t status);
/* Did the question get no answer, so that asking again later makes sense? */
static inline bool ll_dns_later(uint8_t status)
{
    return status != LL_DNS_STATUS_OK && status != LL_DNS_STATUS_NXDOMAIN &&
           status != LL_DNS_STATUS_NODATA;
}

struct ll_dns_answer {
    uint8_t status;            /* enum ll_dns_status */
    bool secure;               /* DNSSEC proves it, be it records or their absence */
    bool cut;                  /* there were more records than fit */
    uint16_t type;             /* that was asked for */
    uint32_t ttl;              /* seconds; the least of all records on the way */
    struct ll_slice canonical; /* the name behind all CNAMEs, text form; empty on failure */
    struct ll_slice why;       /* for people, where there is no answer; may be empty */
    struct ll_slice *rdata;    /* names in it are whole (not compressed) */
    size_t n_rdata;            /* 0 unless status is OK */
};

/* Records that do not fit into LL_DNS_ANSWER_MAX are left out, and `cut` says so. */
void ll_dns_answer_encode(const struct ll_dns_answer *, struct ll_buf *out);
/* Slices borrow from in, the array is the arena's. false: not what encode writes; no memory. */
bool ll_dns_answer_decode(struct ll_slice in, struct ll_arena *, struct ll_dns_answer *ret);

/* Reads a DNS message that answers (name, type): follows its CNAMEs, gathers the records of the
 * type, undoes compression. Sets status (OK, NODATA, NXDOMAIN, SERVFAIL), ttl, canonical and
 * rdata; `secure` stays for the caller to say. All memory is the arena's. false: malformed, or no
 * memory. */
bool ll_dns_packet(struct ll_slice packet, const struct ll_dns_name *name, uint16_t type,
                   struct ll_arena *, struct ll_dns_answer *ret);

/* ---- records: false where the octets are not such a record -------------------------------------
 */

struct ll_dns_mx {
    uint16_t preference;
    struct ll_dns_name host; /* ".": the null MX of RFC 7505 */
};

struct ll_dns_tlsa {
    uint8_t usage;
    uint8_t selector;
    uint8_t matching;
    struct ll_slice data; /* of the length that its matching type demands (RFC 6698 2.1.3) */
};

bool ll_dns_rdata_mx(struct ll_slice rdata, struct ll_dns_mx *ret);
bool ll_dns_rdata_a(struct ll_slice rdata, uint8_t ret[4]);
bool ll_dns_rdata_aaaa(struct ll_slice rdata, uint8_t ret[16]);
/* CNAME, PTR, NS: one name. */
bool ll_dns_rdata_name(struct ll_slice rdata, struct ll_dns_name *ret);
/* The strings of a TXT record joined without anything between, appended to out. */
bool ll_dns_rdata_txt(struct ll_slice rdata, struct ll_buf *out);
/* TLSA and SMIMEA. */
bool ll_dns_rdata_tlsa(struct ll_slice rdata, struct ll_dns_tlsa *ret);

#endif
