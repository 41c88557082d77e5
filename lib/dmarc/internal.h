/* What the files of lib/dmarc share: the tree walk (walk.c) and the decision (dmarc.c). */
#ifndef LL_LIB_DMARC_INTERNAL_H
#define LL_LIB_DMARC_INTERNAL_H

#include "letterlock/dmarc.h"

enum ll_dmarc_found {
    LL_DMARC_F_OPEN, /* to be asked, or asked */
    LL_DMARC_F_NOTHING,
    LL_DMARC_F_RECORD,
    LL_DMARC_F_ERROR,
};

/* What lies at _dmarc.NAME. */
struct ll_dmarc_entry {
    struct ll_dns_name name; /* without "_dmarc." */
    enum ll_dmarc_found found;
    bool nxdomain; /* nor does anything else lie below NAME's own _dmarc */
    struct ll_dmarc_record record;
};

/* Does the Author Domain exist (3.2.13)? */
enum ll_dmarc_exists {
    LL_DMARC_E_OPEN,
    LL_DMARC_E_YES,
    LL_DMARC_E_NO,
    LL_DMARC_E_ERROR,
};

struct ll_dmarc_ident {
    struct ll_dns_name domain;
    enum ll_dmarc_auth auth;
};

struct ll_dmarc {
    struct ll_arena arena; /* texts of records */
    struct ll_dns_name author;
    struct ll_dmarc_ident spf; /* domain.n 0: none */
    struct ll_dmarc_ident dkim[LL_DMARC_DKIM_MAX];
    size_t n_dkim;
    /* What DNS has said so far. The decision is made anew from it after every answer: it is a pure
     * function, and stops at the first thing that it does not know. */
    struct ll_dmarc_entry entry[LL_DMARC_NEEDS_MAX];
    size_t n_entry;
    enum ll_dmarc_exists exists;
    /* the question */
    struct ll_need need;
    struct ll_dmarc_entry *about; /* NULL: whether the author exists */
    bool open, taken;
    /* the result */
    bool done;
    struct ll_dmarc_result result;
    struct ll_dns_name org, dkim_domain, policy_domain;
    struct ll_buf reason;
};

struct ll_dmarc_walk {
    const struct ll_dmarc_entry *own;    /* with the record of the name where the walk began */
    const struct ll_dmarc_entry *policy; /* of the Organizational Domain, else of the PSD */
    struct ll_dns_name org;              /* Organizational Domain; unknown under error */
    bool error;                          /* a question of the walk was not answered */
};

/* Walks from `start` (4.10, 4.10.2). False: a question comes first. */
bool ll_dmarc_walk(struct ll_dmarc *, const struct ll_dns_name *start, struct ll_dmarc_walk *ret);
/* Asks for the records of a name; `about` as in the struct. */
void ll_dmarc_ask(struct ll_dmarc *, struct ll_dmarc_entry *about, const struct ll_dns_name *,
                  uint16_t type);
/* Puts an answer into the entry. */
void ll_dmarc_learn(struct ll_dmarc *, struct ll_dmarc_entry *, const struct ll_dns_answer *);

#endif
