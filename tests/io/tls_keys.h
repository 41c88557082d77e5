/* Certificates for the TLS tests, made once a program: not checked in, so they never expire. */
#ifndef LL_TESTS_TLS_KEYS_H
#define LL_TESTS_TLS_KEYS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>
#include <cmocka.h>

#include "io/cert.h"

struct pair {
    struct ll_buf cert, key;
};

static inline struct pair make_pair_of(struct ll_cert_opts o)
{
    struct pair p = {LL_BUF(1 << 20), LL_BUF(1 << 16)};
    struct ll_buf err = LL_BUF(1024);
    o.now = time(NULL);
    o.days = o.days ? o.days : 30;
    if (ll_cert_make(&o, &p.cert, &p.key, &err) < 0)
        fail_msg("%s", ll_buf_str(&err));
    ll_buf_release(&err);
    return p;
}

static inline struct pair make_pair(enum ll_cert_key type, const char *name)
{
    struct ll_slice names[] = {ll_slice_str(name)};
    return make_pair_of((struct ll_cert_opts){.key = type, .names = names, .n_names = 1});
}

static inline void free_pair(struct pair *p)
{
    ll_buf_release(&p->cert);
    ll_buf_wipe(&p->key);
}

#endif
