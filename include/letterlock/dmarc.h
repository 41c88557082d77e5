/*
 * dmarc: does what was proved belong to the domain that the reader sees? (RFC 9989)
 *
 * Takes the Author Domain (of the one From field), the outcome of SPF and of each DKIM signature,
 * and says pass or fail, with the policy that the domain's owner asks for. DMARC records are asked
 * for through `need` (letterlock/need.h): the DNS Tree Walk (4.10) replaces the Public Suffix List.
 *
 *     struct ll_dmarc *d = ll_dmarc_new(&input);
 *     while (ll_dmarc_need(d, &need))
 *         ... ask DNS, ll_dmarc_answer(d, &answer) ...
 *     ll_dmarc_result(d, &result);
 *     ll_dmarc_free(d);
 *
 * The choices that the RFC leaves open are written down in doc/design/dmarc.md.
 */
#ifndef LETTERLOCK_DMARC_H
#define LETTERLOCK_DMARC_H

#include "letterlock/need.h"

#define LL_DMARC_WALK_MAX 8  /* names of one tree walk (4.10) */
#define LL_DMARC_DKIM_MAX 10 /* distinct DKIM domains looked at: as many as signatures verified */
#define LL_DMARC_RECORD_MAX                                                                        \
    4096                        /* octets of a record; a longer one is no record: bounds memory    \
                                 */
#define LL_DMARC_REASON_MAX 255 /* octets */
/* Questions of one evaluation: a walk each for the author and every identifier, and whether the
 * author exists. Names that walks share are asked once, so that usual letters ask 2 to 4. */
#define LL_DMARC_NEEDS_MAX ((LL_DMARC_DKIM_MAX + 2) * LL_DMARC_WALK_MAX + 1)

/* ROW(ID, word): RFC 9989 9.2 */
#define LL_DMARC_RESULTS(ROW)                                                                      \
    ROW(NONE, "none")           /* no record applies: nothing is asked for */                      \
    ROW(PASS, "pass")           /* an aligned identifier passed */                                 \
    ROW(FAIL, "fail")           /* none did */                                                     \
    ROW(TEMPERROR, "temperror") /* a question that decides was not answered */                     \
    ROW(PERMERROR, "permerror") /* the Author Domain is no domain name */

enum ll_dmarc_code {
#define LL_DMARC_ENUM(ID, word) LL_DMARC_##ID,
    LL_DMARC_RESULTS(LL_DMARC_ENUM)
#undef LL_DMARC_ENUM
};

const char *ll_dmarc_word(enum ll_dmarc_code);

/* ROW(ID, word): Domain Owner Assessment Policies, weakest first (4.7) */
#define LL_DMARC_POLICIES(ROW)                                                                     \
    ROW(NONE, "none")                                                                              \
    ROW(QUARANTINE, "quarantine")                                                                  \
    ROW(REJECT, "reject")

enum ll_dmarc_policy {
#define LL_DMARC_ENUM(ID, word) LL_DMARC_P_##ID,
    LL_DMARC_POLICIES(LL_DMARC_ENUM)
#undef LL_DMARC_ENUM
};

const char *ll_dmarc_policy_word(enum ll_dmarc_policy);

/* ---- records -------------------------------------------------------------------------------- */

/* Failure reporting options, `fo` (4.7): a set. */
enum {
    LL_DMARC_FO_ALL = 1,  /* "0": no aligned pass at all; the default */
    LL_DMARC_FO_ANY = 2,  /* "1" */
    LL_DMARC_FO_DKIM = 4, /* "d" */
    LL_DMARC_FO_SPF = 8,  /* "s" */
};

struct ll_dmarc_record {
    enum ll_dmarc_policy p;
    enum ll_dmarc_policy sp; /* p where the tag is absent */
    enum ll_dmarc_policy np; /* sp where the tag is absent */
    bool has_sp;
    bool has_np;
    char psd;            /* 'y', 'n', 'u' */
    bool test;           /* t=y */
    bool dkim_strict;    /* adkim=s */
    bool spf_strict;     /* aspf=s */
    uint8_t fo;          /* LL_DMARC_FO_ */
    bool usable;         /* false: 4.10.1 says to do nothing (bad p, sp or np, and no rua) */
    struct ll_slice rua; /* the tag's value, borrowed from the record; empty: absent */
    struct ll_slice ruf;
};

/* Reads a record (4.7, 4.8). false: it does not begin with v=DMARC1, or is too long: no record.
 * Unknown tags (those of RFC 7489 that are gone: pct, rf, ri, too), and tags with a bad value, are
 * passed by; bad values of p, sp and np as 4.10.1 says. Of a tag that comes twice the first counts.
 */
bool ll_dmarc_record_parse(struct ll_slice text, struct ll_dmarc_record *ret);

/* Takes the next reporting URI of a rua or ruf value from *rest, without blanks and without the
 * obsolete "!size". What is no URI is passed by. False: no more. */
bool ll_dmarc_uri_next(struct ll_slice *rest, struct ll_slice *ret_uri);
/* The same with the octets that "!size" allows (RFC 7489 6.2; RFC 9989 has the syntax alone); 0:
 * none is said. */
bool ll_dmarc_uri_next_sized(struct ll_slice *rest, struct ll_slice *ret_uri, uint64_t *ret_most);

/* ---- evaluation ----------------------------------------------------------------------------- */

enum ll_dmarc_auth {
    LL_DMARC_AUTH_NONE, /* fail, or whatever else is no pass */
    LL_DMARC_AUTH_PASS,
    LL_DMARC_AUTH_TEMP, /* temperror: it might pass later */
};

struct ll_dmarc_id {
    struct ll_slice domain;
    enum ll_dmarc_auth auth;
};

/* All is copied. */
struct ll_dmarc_input {
    /* The domain of the one address of the one From field; U-labels are turned into A-labels.
     * Letters with no such domain, or with several, are the caller's to refuse (5.3.1, 11.5). */
    struct ll_slice author;
    /* The MAIL FROM identity (4.4.2): its domain, that of HELO where the reverse-path is null. */
    struct ll_dmarc_id spf;
    const struct ll_dmarc_id
        *dkim;     /* d= of each signature; of those that share a domain the best */
    size_t n_dkim; /* passes beyond LL_DMARC_DKIM_MAX domains are not looked at */
};

struct ll_dmarc_result {
    enum ll_dmarc_code code;
    /* That the record asks for (p, sp or np); none where no record applies. */
    enum ll_dmarc_policy policy;
    /* What to do with the letter by the owner's wish: `policy`, one level lower under t=y (4.7);
     * none unless the code is fail. The receiver's own rules come on top (5.4, 7.2). */
    enum ll_dmarc_policy disposition;
    const char *policy_tag;        /* "p", "sp", "np"; NULL where no record applies */
    bool spf_aligned;              /* SPF passed, in alignment */
    bool dkim_aligned;             /* a signature did */
    struct ll_slice dkim_domain;   /* of that signature; empty: none */
    struct ll_slice author;        /* A-labels, lower case */
    struct ll_slice org_domain;    /* Organizational Domain of the author; empty: not known */
    struct ll_slice policy_domain; /* whose record applies; empty: none */
    /* That record; its slices live as long as the evaluation. Valid where policy_domain is set. */
    struct ll_dmarc_record record;
    struct ll_slice reason; /* a sentence for people */
    unsigned needs;         /* questions asked; at most LL_DMARC_NEEDS_MAX */
};

struct ll_dmarc;

/* NULL: no memory. */
struct ll_dmarc *ll_dmarc_new(const struct ll_dmarc_input *);
void ll_dmarc_free(struct ll_dmarc *);
/* Questions and answers, see letterlock/need.h. One question at a time. */
bool ll_dmarc_need(struct ll_dmarc *, struct ll_need *ret);
void ll_dmarc_answer(struct ll_dmarc *, const struct ll_need_answer *);
/* False while the result is not known. What *ret points at lives as long as the evaluation. */
bool ll_dmarc_result(const struct ll_dmarc *, struct ll_dmarc_result *ret);

#endif
