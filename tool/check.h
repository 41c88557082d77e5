/*
 * check: findings of `letterlock check`, each one sentence.
 */
#ifndef LL_TOOL_CHECK_H
#define LL_TOOL_CHECK_H

#include "io/conf.h"
#include "tool/client/resolve.h"
#include "tool/json_out.h"

enum ll_finding {
    LL_FINDING_OK,
    LL_FINDING_NOTE, /* good to know */
    LL_FINDING_WARNING,
    LL_FINDING_FAULT, /* the server would not work as configured */
};

struct ll_check {
    const struct ll_conf *conf;
    struct ll_json *json; /* NULL: for people */
    bool quiet;           /* leave out what is in order */
    unsigned n[LL_FINDING_FAULT + 1];
};

void ll_check_say(struct ll_check *, enum ll_finding, const char *area, const char *fmt, ...)
    LL_PRINTF(4, 5);

void ll_check_files(struct ll_check *);        /* folders, accounts, aliases, password files */
void ll_check_certificates(struct ll_check *); /* validity, names, keys */
void ll_check_dkim(struct ll_check *);         /* keys, and domains without */
void ll_check_kernel(struct ll_check *);       /* what of the sandbox this kernel has */
void ll_check_routes(struct ll_check *);       /* source addresses, backup domains */
void ll_check_records(struct ll_check *, struct ll_resolver *); /* published against needed */
void ll_check_reports(struct ll_check *, struct ll_resolver *); /* rua and ruf: can they arrive? */

#endif
