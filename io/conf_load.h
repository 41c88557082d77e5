/*
 * conf_load: what the reader of the configuration file (conf_load.c) and its checks (conf_check.c)
 * share. Programs use io/conf.h.
 */
#ifndef LL_IO_CONF_LOAD_H
#define LL_IO_CONF_LOAD_H

#include "io/conf.h"

#define LL_CONF_FILE_MAX  (16u << 20) /* octets: a file beyond this is a mistake */
#define LL_CONF_FAULT_MAX 50          /* faults that are told before the reader gives up */

/* One faulty file: sentences go to `out`, each with file and line. */
struct ll_conf_faults {
    const char *path;
    struct ll_buf *out;
    unsigned n;
    /* Line of a setting: kind and title of its section (both "" outside of any) and its name;
     * name "": the section itself. 0: not written in the file. */
    int (*line)(void *arg, const char *kind, const char *title, const char *name);
    void *arg;
};

/* Tells one fault: what is wrong, then what to do. line 0: the file as a whole. */
void ll_conf_fault(struct ll_conf_faults *, int line, const char *fmt, ...) LL_PRINTF(3, 4);

/* Normalises domains, fills in defaults that depend on others, and checks all values and how they
 * fit together. Faults are told; their number is in f->n. */
void ll_conf_check(struct ll_conf *, struct ll_conf_faults *f);

/* "ADDRESS:PORT", IPv6 in brackets. False for anything else. */
bool ll_conf_address(const char *s, struct ll_slice *ret_host, uint16_t *ret_port);

#endif
