/*
 * spf: may this host send with that name? (Sender Policy Framework, RFC 7208; RFC 8616 4)
 *
 * check_host() without I/O: the evaluation asks for DNS records through `need` (letterlock/need.h),
 * one question at a time, and ends with a result. It keeps a stack of includes, never recurses, and
 * stays inside the limits of RFC 7208 4.6.4 whatever a record asks for.
 *
 *     struct ll_spf *s = ll_spf_new(&check);
 *     while (ll_spf_need(s, &need))
 *         ... ask DNS, ll_spf_answer(s, &answer); ll_spf_time(s, now) ...
 *     ll_spf_result(s, &result);
 *     ll_spf_free(s);
 *
 * Choices where the RFC leaves one (doc/design/spf.md has the reasons):
 *   - a <target-name> that cannot be a DNS name (empty or long label, octets outside printable
 *     ASCII) does not match (4.8); in `include` and `redirect` it is permerror (5.2, 6.1);
 *   - `mx` with more than 10 records is permerror before the first address is asked (4.6.4);
 *   - a void lookup is counted once a term; the addresses behind a PTR, and `exp`, never count;
 *   - the names of a client are validated once and shared by every `ptr` and %{p}; the first %{p}
 *     of a mechanism counts as one of the 10 terms (4.6.4);
 *   - a local part outside ASCII: terms with %{s} or %{l} do not match (RFC 8616 4).
 */
#ifndef LETTERLOCK_SPF_H
#define LETTERLOCK_SPF_H

#include "letterlock/need.h"

#define LL_SPF_TERMS_MAX 10 /* terms that ask DNS, in all (4.6.4): more are permerror */
#define LL_SPF_VOID_MAX  2  /* of them without an answer (4.6.4): more are permerror */
#define LL_SPF_NAMES_MAX                                                                           \
    10 /* hosts of one mx (more: permerror), names of a PTR (more: ignored)                        \
        */
#define LL_SPF_TIME_MAX   20000 /* ms for the whole evaluation (4.6.4): then temperror */
#define LL_SPF_RECORD_MAX 16384 /* octets of a record; longer ones are permerror: bounds memory */
#define LL_SPF_VALUE_MAX  576   /* octets of a sender or a HELO name: longer ones are `none` */
#define LL_SPF_EXPLANATION_MAX                                                                     \
    512                        /* octets, a reply's line (6.2): longer ones give the default       \
                                */
#define LL_SPF_PROBLEM_MAX 255 /* octets */
#define LL_SPF_TERM_MAX    255 /* octets of a term that is shown; the rest is cut off */
/* Questions of one evaluation: the record, ten terms of at most 1 + 10, one `exp`, and the names of
 * the client. */
#define LL_SPF_NEEDS_MAX                                                                           \
    (1 + LL_SPF_TERMS_MAX * (1 + LL_SPF_NAMES_MAX) + 1 + (1 + LL_SPF_NAMES_MAX))

/* ROW(ID, word): RFC 7208 2.6 */
#define LL_SPF_RESULTS(ROW)                                                                        \
    ROW(NONE, "none")           /* no record, or no name that could have one */                    \
    ROW(NEUTRAL, "neutral")     /* the record says nothing about this host */                      \
    ROW(PASS, "pass")           /* the host may use the name */                                    \
    ROW(FAIL, "fail")           /* it may not */                                                   \
    ROW(SOFTFAIL, "softfail")   /* it probably may not */                                          \
    ROW(TEMPERROR, "temperror") /* DNS gave no answer, or not in time */                           \
    ROW(PERMERROR, "permerror") /* the record is wrong, or asks for too much */

enum ll_spf_code {
#define LL_SPF_ENUM(ID, word) LL_SPF_##ID,
    LL_SPF_RESULTS(LL_SPF_ENUM)
#undef LL_SPF_ENUM
};

const char *ll_spf_word(enum ll_spf_code);

/* What is checked. All is copied. */
struct ll_spf_check {
    uint8_t ip[16]; /* the client; ::ffff:a.b.c.d counts as a.b.c.d (RFC 7208 5) */
    uint8_t ip_n;   /* 4 or 16 */
    struct ll_slice helo;
    /* local@domain without brackets; U-labels are turned into A-labels. Empty: the null
     * reverse-path, that is the HELO identity with the sender postmaster@HELO (2.4, and 2.3 for a
     * check of HELO alone). Without a local part it is postmaster (4.3). */
    struct ll_slice mail_from;
    struct ll_slice receiver; /* %{r}: our host name; empty: "unknown" */
    int64_t unix_s;           /* %{t}: seconds since 1970 */
    uint64_t now;             /* ms, monotonic: the time that LL_SPF_TIME_MAX counts from */
};

struct ll_spf_result {
    enum ll_spf_code code;
    bool helo;              /* the identity checked is HELO; else MAIL FROM */
    struct ll_slice domain; /* of that identity, A-labels, lower case; empty where it is no name */
    struct ll_slice sender; /* %{s} */
    struct ll_slice explanation; /* of `fail`, else empty; printable ASCII */
    bool explanation_theirs;     /* it is the domain's text (exp=), not our default */
    struct ll_slice term;    /* that decided: "-all", "ip4:192.0.2.1"; "default": none matched */
    struct ll_slice problem; /* of none, temperror and permerror: a sentence; else empty */
    struct ll_slice record;  /* the one that decided, of `from`; empty: none was found */
    struct ll_slice from;    /* its domain; another than `domain` after redirect= */
    unsigned terms;          /* terms that asked DNS */
    unsigned voids;
    unsigned needs; /* questions asked; at most LL_SPF_NEEDS_MAX */
};

struct ll_spf;

/* NULL: no memory, or ip_n is neither 4 nor 16. */
struct ll_spf *ll_spf_new(const struct ll_spf_check *);
void ll_spf_free(struct ll_spf *);
/* The next question, see letterlock/need.h. At most one is open at a time. */
bool ll_spf_need(struct ll_spf *, struct ll_need *ret);
void ll_spf_answer(struct ll_spf *, const struct ll_need_answer *);
/* Tells the time. After LL_SPF_TIME_MAX the evaluation ends: temperror; or, where only the
 * explanation was still missing, `fail` with the default one. */
void ll_spf_time(struct ll_spf *, uint64_t now);
/* When that is, in the same milliseconds. */
uint64_t ll_spf_deadline(const struct ll_spf *);
/* False while the result is not known. What *ret points at lives as long as the evaluation. */
bool ll_spf_result(const struct ll_spf *, struct ll_spf_result *ret);

/* Appends a Received-SPF field (9.1), folded, with CRLF; once the result is known. `receiver`: our
 * host name. Nothing that a sender wrote can end the field or leave its quotes. */
void ll_spf_received(const struct ll_spf *, struct ll_slice receiver, struct ll_buf *out);

/* Looks at a record as it stands in DNS ("v=spf1 ..."), without any question: is its syntax right?
 * false: *ret_at (octets from its start) and *ret_what (a sentence, static) say what is wrong. */
bool ll_spf_record_check(struct ll_slice record, size_t *ret_at, const char **ret_what);

#endif
