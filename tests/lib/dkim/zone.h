/* For tests of engines that ask for keys: a zone in memory, and keys made for the run. */
#ifndef LL_TESTS_ZONE_H
#define LL_TESTS_ZONE_H

#include "letterlock/dkim.h"
#include "letterlock/need.h"

#include <openssl/evp.h>
#include <stdlib.h>

#define ZONE_MAX 32

struct zone {
    struct {
        char name[256];
        char txt[2048];
        uint8_t status;
    } v[ZONE_MAX];
    size_t n;
    unsigned asked;
};

static inline void zone_put(struct zone *z, const char *name, const char *txt)
{
    if (z->n == ZONE_MAX)
        abort();
    snprintf(z->v[z->n].name, sizeof(z->v[0].name), "%s", name);
    snprintf(z->v[z->n].txt, sizeof(z->v[0].txt), "%s", txt);
    z->v[z->n++].status = LL_DNS_STATUS_OK;
}

static inline void zone_fail(struct zone *z, const char *name, uint8_t status)
{
    zone_put(z, name, "");
    z->v[z->n - 1].status = status;
}

/* Answers one need: all records of that name; NXDOMAIN where there is none. */
static inline void zone_answer(struct zone *z, const struct ll_need *need,
                               void (*answer)(void *, const struct ll_need_answer *), void *engine)
{
    struct ll_slice rdata[ZONE_MAX];
    struct ll_buf wire[ZONE_MAX];
    struct ll_dns_answer a = {.status = LL_DNS_STATUS_NXDOMAIN, .type = need->dns.type};
    struct ll_need_answer to = {.id = need->id, .dns = &a};

    z->asked++;
    a.rdata = rdata;
    for (size_t i = 0; i < z->n; i++) {
        struct ll_slice rest = ll_slice_str(z->v[i].txt);

        if (!ll_dns_name_eq(ll_slice_str(z->v[i].name), ll_dns_name_slice(&need->dns.name)))
            continue;
        a.status = z->v[i].status;
        if (a.status != LL_DNS_STATUS_OK)
            break;
        ll_buf_init(&wire[a.n_rdata], 4096);
        while (rest.n > 0) {
            struct ll_slice part = ll_slice_cut(rest, 0, 255);

            ll_buf_putc(&wire[a.n_rdata], (uint8_t)part.n);
            ll_buf_put_slice(&wire[a.n_rdata], part);
            rest = ll_slice_skip(rest, part.n);
        }
        rdata[a.n_rdata] = ll_buf_slice(&wire[a.n_rdata]);
        a.n_rdata++;
    }
    answer(engine, &to);
    for (size_t i = 0; i < a.n_rdata; i++)
        ll_buf_release(&wire[i]);
}

/* One key of each kind; the zone has their records as rsa._domainkey.example.org and ed. ... */
struct keys {
    EVP_PKEY *rsa, *ed;
};

static inline struct keys keys_new(struct zone *z)
{
    struct keys k = {EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048),
                     EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")};
    struct ll_buf text = LL_BUF(2000);

    if (!k.rsa || !k.ed || !ll_dkim_key_record(k.rsa, &text))
        abort();
    zone_put(z, "rsa._domainkey.example.org", ll_buf_str(&text));
    ll_buf_clear(&text);
    if (!ll_dkim_key_record(k.ed, &text))
        abort();
    zone_put(z, "ed._domainkey.example.org", ll_buf_str(&text));
    ll_buf_release(&text);
    return k;
}

static inline void keys_free(struct keys *k)
{
    EVP_PKEY_free(k->rsa);
    EVP_PKEY_free(k->ed);
}

#endif
