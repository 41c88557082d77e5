/*
 * conf: the configuration. io/settings/SECTION.def lists the settings of each section, and is the
 * only list: the parser, the structs below, the encoding that super hands to its children, and the
 * tables in letterlock.conf(5) follow from it.
 *
 *   TEXT(name, default, doc)   char *     never NULL
 *   LIST(name, doc)            char **    NULL-terminated, never NULL
 *   NUMBER(name, default, doc) int64_t
 *   SIZE(name, default, doc)   int64_t    octets; K, M, G behind the number
 *   TIME(name, default, doc)   int64_t    seconds; s, m, h, d behind the number
 *   FLAG(name, default, doc)   bool
 *
 * super parses the file (libconfuse) and hands the result to its children in a sealed memfd; they
 * decode it and need no parser.
 */
#ifndef LL_IO_CONF_H
#define LL_IO_CONF_H

#include "letterlock/base.h"

#define TEXT(name, def, doc)   char *name;
#define LIST(name, doc)        char **name;
#define NUMBER(name, def, doc) int64_t name;
#define SIZE(name, def, doc)   int64_t name;
#define TIME(name, def, doc)   int64_t name;
#define FLAG(name, def, doc)   bool name;

struct ll_conf_listener {
    char *title;
#include "io/settings/listener.def"
};

struct ll_conf_certificate {
    char *title;
#include "io/settings/certificate.def"
};

struct ll_conf_domain {
    char *title; /* A-labels, lower case */
#include "io/settings/domain.def"
};

struct ll_conf_route {
    char *title; /* a domain in A-labels, lower case, or "*" */
#include "io/settings/route.def"
};

struct ll_conf {
#include "io/settings/global.def"
    struct ll_conf_listener *listener;
    size_t n_listener;
    struct ll_conf_certificate *certificate;
    size_t n_certificate;
    struct ll_conf_domain *domain;
    size_t n_domain;
    struct ll_conf_route *route;
    size_t n_route;
};

#undef TEXT
#undef LIST
#undef NUMBER
#undef SIZE
#undef TIME
#undef FLAG

/* Reads, parses and checks a file. NULL on any fault; *ret_err then holds one sentence a line, with
 * file and line number. Relative paths in it are relative to the file's folder. */
struct ll_conf *ll_conf_load(const char *path, struct ll_buf *ret_err);
void ll_conf_free(struct ll_conf *);
/* Binary form for the children; decode refuses what encode cannot have written (NULL). */
void ll_conf_encode(const struct ll_conf *, struct ll_buf *out);
struct ll_conf *ll_conf_decode(struct ll_slice in);

/* The section of that title (compared without case), or NULL. */
const struct ll_conf_domain *ll_conf_domain(const struct ll_conf *, struct ll_slice domain);
/* Its mail is carried on to other servers, as a relayed domain or a backup MX. */
static inline bool ll_conf_carried(const struct ll_conf_domain *d)
{
    return d->relay || d->backup;
}
/* Seconds for which a letter for this domain is tried. */
int64_t ll_conf_lifetime(const struct ll_conf *, struct ll_slice domain);
const struct ll_conf_listener *ll_conf_listener(const struct ll_conf *, struct ll_slice title);
const struct ll_conf_certificate *ll_conf_certificate(const struct ll_conf *,
                                                      struct ll_slice title);
/* The route of that domain, else the route "*", else NULL (by MX, with the global `tls`). */
const struct ll_conf_route *ll_conf_route(const struct ll_conf *, struct ll_slice domain);

#endif
