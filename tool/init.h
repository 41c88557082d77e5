/*
 * init: the text of a new configuration.
 */
#ifndef LL_TOOL_INIT_H
#define LL_TOOL_INIT_H

#include "letterlock/base.h"

struct ll_init_plan {
    const char *domain, *hostname, *postmaster;
    char *etc, *state, *keys, *dkim, *auth, *spool, *run, *mail; /* absolute folders */
    bool in_dir;   /* all below one folder: the text names them relative to it */
    bool loopback; /* listen on loopback alone, at port_base + 25, 465, 587 */
    bool ipv6;
    unsigned port_base;
    uint32_t uid_base; /* 0: service users exist, or nobody is root */
};

/* Appends the configuration; check out->failed. */
void ll_init_text(const struct ll_init_plan *, struct ll_buf *out);

#endif
