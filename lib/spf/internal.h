/* What the files of lib/spf share: records (record.c), macros (macro.c), the machine (spf.c). */
#ifndef LL_LIB_SPF_INTERNAL_H
#define LL_LIB_SPF_INTERNAL_H

#include "letterlock/spf.h"

/* ---- records: RFC 7208 12 ------------------------------------------------------------------- */

/* ROW(ID, name, domain-spec, prefix lengths): mechanisms, then the modifiers that are known. */
#define LL_SPF_KINDS(ROW)                                                                          \
    ROW(ALL, "all", NO, NO)                                                                        \
    ROW(INCLUDE, "include", MUST, NO)                                                              \
    ROW(A, "a", MAY, DUAL)                                                                         \
    ROW(MX, "mx", MAY, DUAL)                                                                       \
    ROW(PTR, "ptr", MAY, NO)                                                                       \
    ROW(IP4, "ip4", NO, FOUR)                                                                      \
    ROW(IP6, "ip6", NO, SIX)                                                                       \
    ROW(EXISTS, "exists", MUST, NO)                                                                \
    ROW(REDIRECT, "redirect", MUST, NO)                                                            \
    ROW(EXP, "exp", MUST, NO)

enum ll_spf_kind {
#define LL_SPF_ENUM(ID, name, spec, prefix) LL_SPF_K_##ID,
    LL_SPF_KINDS(LL_SPF_ENUM)
#undef LL_SPF_ENUM
        LL_SPF_K_UNKNOWN, /* a modifier of another specification (6): passed by */
};

static inline bool ll_spf_is_modifier(enum ll_spf_kind kind)
{
    return kind >= LL_SPF_K_REDIRECT;
}

struct ll_spf_term {
    enum ll_spf_kind kind;
    enum ll_spf_code match; /* the qualifier: the result of a match */
    struct ll_slice text;   /* all of the term, borrowed from the record */
    struct ll_slice spec;   /* domain-spec; empty: none */
    uint8_t prefix4;        /* bits; 32 and 128 where the term says nothing */
    uint8_t prefix6;
    uint8_t net[16]; /* ip4, ip6 */
};

/* Is it a record at all: "v=spf1", then a blank or the end (4.5)? */
bool ll_spf_record_is(struct ll_slice record);
/* Takes the next term from *at on. False: there is none, or, with *ret_what set, it is wrong; *at
 * is where it begins then. */
bool ll_spf_term_next(struct ll_slice record, size_t *at, struct ll_spf_term *ret,
                      const char **ret_what);

/* ---- macros: RFC 7208 7 --------------------------------------------------------------------- */

enum ll_spf_string {
    LL_SPF_DOMAIN_SPEC,    /* macro-string domain-end; no %{c}, %{r}, %{t} */
    LL_SPF_MACRO_STRING,   /* the value of an unknown modifier */
    LL_SPF_EXPLAIN_STRING, /* macro-string with blanks */
};

/* NULL: right; else what is wrong (static). */
const char *ll_spf_macro_check(struct ll_slice s, enum ll_spf_string);
/* Does it hold a macro of one of these letters (lower case)? s is right. */
bool ll_spf_macro_uses(struct ll_slice s, const char *letters);

struct ll_spf_values {
    struct ll_slice sender; /* s */
    struct ll_slice local;  /* l */
    struct ll_slice origin; /* o */
    struct ll_slice domain; /* d */
    const uint8_t *ip;      /* i, c, v */
    size_t ip_n;
    struct ll_slice validated; /* p */
    struct ll_slice helo;      /* h */
    struct ll_slice receiver;  /* r */
    int64_t unix_s;            /* t */
};

/* Appends the expansion of s, which is right. */
void ll_spf_macro_expand(const struct ll_spf_values *, struct ll_slice s, struct ll_buf *out);
/* Expands to a name: without the dot at its end, labels cut from the left until it fits (7.3).
 * False: not a name. */
bool ll_spf_macro_name(const struct ll_spf_values *, struct ll_slice s, struct ll_dns_name *ret);

/* ---- the machine ---------------------------------------------------------------------------- */

#define FRAMES_MAX (LL_SPF_TERMS_MAX + 1) /* each include is one of the ten terms */

/* One record under evaluation: the first, or that of an include. */
struct ll_spf_frame {
    struct ll_dns_name domain; /* <domain> */
    struct ll_buf record;
    size_t at; /* of the next term */
    bool redirected;
    struct ll_slice redirect; /* domain-spec; empty: none */
    struct ll_slice exp;
    struct ll_spf_term include; /* the term of the frame below that led here */
};

/* What is to be done next. */
enum ll_spf_state {
    LL_SPF_S_TERM,     /* look at the next term */
    LL_SPF_S_AGAIN,    /* at the same one, now that the client's names are known */
    LL_SPF_S_MX_HOST,  /* ask for the addresses of the next host of an mx */
    LL_SPF_S_PTR_HOST, /* ... of the next name of the client */
    LL_SPF_S_EXPLAIN,  /* find the explanation */
    LL_SPF_S_ASK,      /* a question waits to be taken */
    LL_SPF_S_ASKED,    /* its answer is awaited */
    LL_SPF_S_DONE,
};

typedef void (*ll_spf_answer_fn)(struct ll_spf *, const struct ll_dns_answer *);

/* The names of the client (5.5): found once. */
struct ll_spf_ptr {
    bool asked;
    bool ready;
    bool empty; /* the PTR look-up was void */
    struct ll_dns_name
        name[LL_SPF_NAMES_MAX]; /* that its PTR says; validated ones move to the front */
    size_t n, at, n_valid;
};

struct ll_spf {
    enum ll_spf_state state;
    uint64_t start;
    /* who is checked */
    uint8_t ip[16];
    uint8_t ip_n;
    bool helo_identity;
    struct ll_buf helo, sender, receiver;
    size_t local_n; /* octets of sender before "@" */
    struct ll_dns_name domain;
    int64_t unix_s;
    /* where the evaluation stands */
    struct ll_spf_frame frame[FRAMES_MAX];
    size_t depth; /* frames in use */
    struct ll_spf_term term;
    bool term_counted, term_void;
    unsigned terms, voids, needs;
    struct ll_dns_name mx[LL_SPF_NAMES_MAX];
    size_t mx_n, mx_at;
    struct ll_spf_ptr ptr;
    /* the question */
    struct ll_need need;
    ll_spf_answer_fn on_answer;
    /* the result */
    enum ll_spf_code code;
    bool explaining;
    bool explanation_theirs;
    struct ll_buf explanation, problem, decided, exp_text;
};

/* Asks; on_answer gets the answer. */
void ll_spf_ask(struct ll_spf *, const struct ll_dns_name *, uint16_t type, ll_spf_answer_fn);
/* Counts the term that is looked at, once. False: one too many, all is over. */
bool ll_spf_count_term(struct ll_spf *);
bool ll_spf_count_void(struct ll_spf *);
/* All is over. The sentence is for none, temperror and permerror. */
void ll_spf_end(struct ll_spf *, enum ll_spf_code, const char *fmt, ...) LL_PRINTF(3, 4);
/* The record on top of the stack has this result: what that means for those below (5.2). */
void ll_spf_frame_result(struct ll_spf *, enum ll_spf_code);
/* The top frame looks at `domain`: asks for its record. */
void ll_spf_load(struct ll_spf *, const struct ll_dns_name *domain);
/* Evaluates s->term. */
void ll_spf_evaluate(struct ll_spf *);
/* Is one of the addresses (A or AAAA) inside the client's network of that length? */
bool ll_spf_addresses_match(const struct ll_spf *, const struct ll_dns_answer *, unsigned prefix);
uint16_t ll_spf_address_type(const struct ll_spf *);
struct ll_spf_values ll_spf_values(const struct ll_spf *);

void ll_spf_ptr_start(struct ll_spf *);
void ll_spf_ptr_next(struct ll_spf *);
/* The validated name for %{p}, "unknown" without one. */
struct ll_slice ll_spf_ptr_name(const struct ll_spf *, struct ll_slice domain);

#endif
