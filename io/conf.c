/*
 * See io/conf.h. The binary form: magic, the global settings in the order of their rows, then for
 * each section a count and its titles and settings. Text is a 32-bit length and the octets, a list
 * is a 32-bit count and its texts, numbers are 64 bits, flags one octet.
 */
#include "io/conf.h"

#include <stdlib.h>

#define BACKUP_LIFETIME (30 * 86400) /* s: a primary may be away for weeks */
#define CONF_MAGIC      0x4c4c4331u  /* "LLC1" */
#define CONF_LIST_MAX   100000       /* texts of one list, sections of one kind */

/* ---- encode --------------------------------------------------------------------------------- */

static void put_text(struct ll_buf *out, const char *s)
{
    ll_buf_str32(out, ll_slice_str(s));
}

static void put_list(struct ll_buf *out, char *const *list)
{
    uint32_t n = 0;

    while (list[n])
        n++;
    ll_buf_u32(out, n);
    for (uint32_t i = 0; i < n; i++)
        put_text(out, list[i]);
}

#define TEXT(name, def, doc)   put_text(out, v->name);
#define LIST(name, doc)        put_list(out, v->name);
#define NUMBER(name, def, doc) ll_buf_u64(out, (uint64_t)v->name);
#define SIZE(name, def, doc)   ll_buf_u64(out, (uint64_t)v->name);
#define TIME(name, def, doc)   ll_buf_u64(out, (uint64_t)v->name);
#define FLAG(name, def, doc)   ll_buf_u8(out, v->name);

static void put_global(struct ll_buf *out, const struct ll_conf *v)
{
#include "io/settings/global.def"
}
static void put_listener(struct ll_buf *out, const struct ll_conf_listener *v)
{
    put_text(out, v->title);
#include "io/settings/listener.def"
}
static void put_certificate(struct ll_buf *out, const struct ll_conf_certificate *v)
{
    put_text(out, v->title);
#include "io/settings/certificate.def"
}
static void put_domain(struct ll_buf *out, const struct ll_conf_domain *v)
{
    put_text(out, v->title);
#include "io/settings/domain.def"
}
static void put_route(struct ll_buf *out, const struct ll_conf_route *v)
{
    put_text(out, v->title);
#include "io/settings/route.def"
}

#undef TEXT
#undef LIST
#undef NUMBER
#undef SIZE
#undef TIME
#undef FLAG

#define PUT_SECTIONS(kind)                                                                         \
    ll_buf_u32(out, (uint32_t)c->n_##kind);                                                        \
    for (size_t i = 0; i < c->n_##kind; i++)                                                       \
        put_##kind(out, &c->kind[i]);

void ll_conf_encode(const struct ll_conf *c, struct ll_buf *out)
{
    ll_buf_u32(out, CONF_MAGIC);
    put_global(out, c);
    PUT_SECTIONS(listener)
    PUT_SECTIONS(certificate)
    PUT_SECTIONS(domain)
    PUT_SECTIONS(route)
}

/* ---- decode --------------------------------------------------------------------------------- */

static char *get_text(struct ll_cursor *c)
{
    struct ll_slice s = ll_cur_str32(c);

    if (ll_slice_find(s, '\0') != s.n)
        c->failed = true;
    return c->failed ? NULL : ll_slice_dup(s);
}

static char **get_list(struct ll_cursor *c)
{
    uint32_t n = ll_cur_u32(c);
    char **list;

    /* Each text takes four octets at least, so a count beyond the input is refused before malloc.
     */
    if (c->failed || n > CONF_LIST_MAX || n > ll_cur_left(c) / 4) {
        c->failed = true;
        return NULL;
    }
    list = calloc((size_t)n + 1, sizeof(*list));
    for (uint32_t i = 0; list && i < n; i++) {
        list[i] = get_text(c);
        if (!list[i]) {
            c->failed = true;
            break;
        }
    }
    return list;
}

static int64_t get_number(struct ll_cursor *c)
{
    uint64_t v = ll_cur_u64(c);

    if (v > INT64_MAX) {
        c->failed = true;
        return 0;
    }
    return (int64_t)v;
}

static bool get_flag(struct ll_cursor *c)
{
    uint8_t v = ll_cur_u8(c);

    if (v > 1)
        c->failed = true;
    return v == 1;
}

#define NEED(p)                                                                                    \
    if (!(p))                                                                                      \
        c->failed = true;
#define TEXT(name, def, doc)   NEED(v->name = get_text(c))
#define LIST(name, doc)        NEED(v->name = get_list(c))
#define NUMBER(name, def, doc) v->name = get_number(c);
#define SIZE(name, def, doc)   v->name = get_number(c);
#define TIME(name, def, doc)   v->name = get_number(c);
#define FLAG(name, def, doc)   v->name = get_flag(c);

static void get_global(struct ll_cursor *c, struct ll_conf *v)
{
#include "io/settings/global.def"
}
static void get_listener(struct ll_cursor *c, struct ll_conf_listener *v)
{
    NEED(v->title = get_text(c))
#include "io/settings/listener.def"
}
static void get_certificate(struct ll_cursor *c, struct ll_conf_certificate *v)
{
    NEED(v->title = get_text(c))
#include "io/settings/certificate.def"
}
static void get_domain(struct ll_cursor *c, struct ll_conf_domain *v)
{
    NEED(v->title = get_text(c))
#include "io/settings/domain.def"
}
static void get_route(struct ll_cursor *c, struct ll_conf_route *v)
{
    NEED(v->title = get_text(c))
#include "io/settings/route.def"
}

#undef NEED
#undef TEXT
#undef LIST
#undef NUMBER
#undef SIZE
#undef TIME
#undef FLAG

static uint32_t get_count(struct ll_cursor *c)
{
    uint32_t n = ll_cur_u32(c);

    if (n > CONF_LIST_MAX || n > ll_cur_left(c) / 4) {
        c->failed = true;
        return 0;
    }
    return n;
}

#define GET_SECTIONS(kind)                                                                         \
    n = get_count(&cur);                                                                           \
    c->kind = calloc(n ? n : 1, sizeof(*c->kind));                                                 \
    if (!c->kind)                                                                                  \
        cur.failed = true;                                                                         \
    for (c->n_##kind = 0; c->n_##kind < n && !cur.failed; c->n_##kind++)                           \
        get_##kind(&cur, &c->kind[c->n_##kind]);

struct ll_conf *ll_conf_decode(struct ll_slice in)
{
    struct ll_cursor cur = ll_cursor(in);
    struct ll_conf *c = calloc(1, sizeof(*c));
    uint32_t n;

    if (!c)
        return NULL;
    if (ll_cur_u32(&cur) != CONF_MAGIC)
        cur.failed = true;
    get_global(&cur, c);
    GET_SECTIONS(listener)
    GET_SECTIONS(certificate)
    GET_SECTIONS(domain)
    GET_SECTIONS(route)
    if (ll_cur_end(&cur))
        return c;
    ll_conf_free(c);
    return NULL;
}

/* ---- free ----------------------------------------------------------------------------------- */

static void free_list(char **list)
{
    for (size_t i = 0; list && list[i]; i++)
        free(list[i]);
    free(list);
}

#define TEXT(name, def, doc) free(v->name);
#define LIST(name, doc)      free_list(v->name);
#define NUMBER(name, def, doc)
#define SIZE(name, def, doc)
#define TIME(name, def, doc)
#define FLAG(name, def, doc)

static void free_global(struct ll_conf *v)
{
#include "io/settings/global.def"
}
static void free_listener(struct ll_conf_listener *v)
{
    free(v->title);
#include "io/settings/listener.def"
}
static void free_certificate(struct ll_conf_certificate *v)
{
    free(v->title);
#include "io/settings/certificate.def"
}
static void free_domain(struct ll_conf_domain *v)
{
    free(v->title);
#include "io/settings/domain.def"
}
static void free_route(struct ll_conf_route *v)
{
    free(v->title);
#include "io/settings/route.def"
}

#undef TEXT
#undef LIST
#undef NUMBER
#undef SIZE
#undef TIME
#undef FLAG

#define FREE_SECTIONS(kind)                                                                        \
    for (size_t i = 0; i < c->n_##kind; i++)                                                       \
        free_##kind(&c->kind[i]);                                                                  \
    free(c->kind);

void ll_conf_free(struct ll_conf *c)
{
    if (!c)
        return;
    free_global(c);
    FREE_SECTIONS(listener)
    FREE_SECTIONS(certificate)
    FREE_SECTIONS(domain)
    FREE_SECTIONS(route)
    free(c);
}

/* ---- look up -------------------------------------------------------------------------------- */

#define FIND(kind)                                                                                 \
    for (size_t i = 0; i < c->n_##kind; i++)                                                       \
        if (ll_slice_caseeq(ll_slice_str(c->kind[i].title), title))                                \
            return &c->kind[i];                                                                    \
    return NULL;

const struct ll_conf_domain *ll_conf_domain(const struct ll_conf *c, struct ll_slice title)
{
    FIND(domain)
}

const struct ll_conf_listener *ll_conf_listener(const struct ll_conf *c, struct ll_slice title)
{
    FIND(listener)
}

const struct ll_conf_certificate *ll_conf_certificate(const struct ll_conf *c,
                                                      struct ll_slice title)
{
    FIND(certificate)
}

static const struct ll_conf_route *route_of(const struct ll_conf *c,
                                            struct ll_slice title){FIND(route)}

int64_t ll_conf_lifetime(const struct ll_conf *c, struct ll_slice domain)
{
    const struct ll_conf_domain *d = ll_conf_domain(c, domain);

    if (d && d->lifetime > 0)
        return d->lifetime;
    if (d && d->backup && c->queue_lifetime < BACKUP_LIFETIME)
        return BACKUP_LIFETIME;
    return c->queue_lifetime;
}

const struct ll_conf_route *ll_conf_route(const struct ll_conf *c, struct ll_slice domain)
{
    const struct ll_conf_route *r = route_of(c, domain);

    return r ? r : route_of(c, LL_LIT("*"));
}
