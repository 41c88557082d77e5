/*
 * records: the DNS records that a configuration needs, for `init`, `dns` and `check --dns`.
 */
#ifndef LL_TOOL_RECORDS_H
#define LL_TOOL_RECORDS_H

#include "io/conf.h"

#include <stdio.h>

#define LL_RECORDS_MAX 4096

struct ll_record {
    char *name;       /* with a dot at its end */
    const char *type; /* "MX" */
    char *value;      /* as a zone file has it */
    const char *why;  /* one sentence */
    bool only_signed; /* of use in a DNSSEC-signed zone alone: shown as a comment */
};

struct ll_records {
    struct ll_record *v;
    size_t n;
    bool no_address; /* no public address was found on this machine: the value is an example */
};

/* False without memory. Addresses are those of the listeners, or, where these listen on all, the
 * machine's own public ones. */
bool ll_records_of(const struct ll_conf *, struct ll_records *ret);
void ll_records_release(struct ll_records *);
/* Zone-file form, each behind a comment that says why. */
void ll_records_print(const struct ll_records *, FILE *out);

#endif
