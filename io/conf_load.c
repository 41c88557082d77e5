/* See io/conf.h: the tables of letterlock.conf, and how they become a struct ll_conf. */
#include "io/conf_file.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Every setting is text here; NULL tells "not written", where the default of the row applies. */
#define TEXT(name, def, doc)   LL_CONF_SETTING(#name, CFGF_NODEFAULT),
#define LIST(name, doc)        LL_CONF_SETTING(#name, CFGF_LIST),
#define NUMBER(name, def, doc) LL_CONF_SETTING(#name, CFGF_NODEFAULT),
#define SIZE(name, def, doc)   LL_CONF_SETTING(#name, CFGF_NODEFAULT),
#define TIME(name, def, doc)   LL_CONF_SETTING(#name, CFGF_NODEFAULT),
#define FLAG(name, def, doc)   LL_CONF_SETTING(#name, CFGF_NODEFAULT),

static cfg_opt_t listener_opts[] = {
#include "io/settings/listener.def"
    CFG_END()};
static cfg_opt_t certificate_opts[] = {
#include "io/settings/certificate.def"
    CFG_END()};
static cfg_opt_t domain_opts[] = {
#include "io/settings/domain.def"
    CFG_END()};
static cfg_opt_t route_opts[] = {
#include "io/settings/route.def"
    CFG_END()};

static cfg_opt_t global_opts[] = {
#include "io/settings/global.def"
    LL_CONF_FILE_END,
    CFG_SEC("listener", listener_opts, LL_CONF_SECTION_FLAGS),
    CFG_SEC("certificate", certificate_opts, LL_CONF_SECTION_FLAGS),
    CFG_SEC("domain", domain_opts, LL_CONF_SECTION_FLAGS),
    CFG_SEC("route", route_opts, LL_CONF_SECTION_FLAGS),
    CFG_END()};

#undef TEXT
#undef LIST
#undef NUMBER
#undef SIZE
#undef TIME
#undef FLAG

static const char *const path_settings[] = {
    "state_dir", "spool_dir", "run_dir",  "mail_dir",  "accounts",     "aliases",       "ca_file",
    "cert",      "key",       "log_file", "client_ca", "trust_anchor", "password_file", NULL};

#define STRING(x)            #x
#define TEXT(name, def, doc) v->name = ll_conf_file_text(l, sec, #name, def);
#define LIST(name, doc)      v->name = ll_conf_file_list(l, sec, #name);
#define NUMBER(name, def, doc)                                                                     \
    v->name = ll_conf_file_number(l, sec, #name, STRING(def), ll_conf_no_units, "digits alone");
#define SIZE(name, def, doc)                                                                       \
    v->name = ll_conf_file_number(l, sec, #name, def, ll_conf_size_units,                          \
                                  "octets, with K, M or G behind");
#define TIME(name, def, doc)                                                                       \
    v->name = ll_conf_file_number(l, sec, #name, def, ll_conf_time_units,                          \
                                  "a time like 30s, 5m, 2h or 5d");
#define FLAG(name, def, doc) v->name = ll_conf_file_flag(l, sec, #name, def);

static void take_global(struct ll_conf_file *l, cfg_t *sec, struct ll_conf *v)
{
#include "io/settings/global.def"
}
static void take_listener(struct ll_conf_file *l, cfg_t *sec, struct ll_conf_listener *v)
{
#include "io/settings/listener.def"
}
static void take_certificate(struct ll_conf_file *l, cfg_t *sec, struct ll_conf_certificate *v)
{
#include "io/settings/certificate.def"
}
static void take_domain(struct ll_conf_file *l, cfg_t *sec, struct ll_conf_domain *v)
{
#include "io/settings/domain.def"
}
static void take_route(struct ll_conf_file *l, cfg_t *sec, struct ll_conf_route *v)
{
#include "io/settings/route.def"
}

#undef TEXT
#undef LIST
#undef NUMBER
#undef SIZE
#undef TIME
#undef FLAG

#define TAKE_SECTIONS(kind)                                                                        \
    n = cfg_size(l->root, #kind);                                                                  \
    c->kind = calloc(n ? n : 1, sizeof(*c->kind));                                                 \
    for (unsigned i = 0; c->kind && i < n; i++) {                                                  \
        cfg_t *sec = cfg_getnsec(l->root, #kind, i);                                               \
                                                                                                   \
        c->n_##kind++;                                                                             \
        c->kind[i].title = strdup(cfg_title(sec));                                                 \
        if (!c->kind[i].title)                                                                     \
            l->no_memory = true;                                                                   \
        take_##kind(l, sec, &c->kind[i]);                                                          \
    }                                                                                              \
    if (!c->kind)                                                                                  \
        l->no_memory = true;

static struct ll_conf *take_all(struct ll_conf_file *l)
{
    struct ll_conf *c = calloc(1, sizeof(*c));
    unsigned n;

    if (!c) {
        l->no_memory = true;
        return NULL;
    }
    take_global(l, l->root, c);
    TAKE_SECTIONS(listener)
    TAKE_SECTIONS(certificate)
    TAKE_SECTIONS(domain)
    TAKE_SECTIONS(route)
    return c;
}

struct ll_conf *ll_conf_load(const char *path, struct ll_buf *ret_err)
{
    struct ll_conf_file l = {.faults = {.path = path, .out = ret_err},
                             .manual = "letterlock.conf(5)",
                             .paths = path_settings};
    struct ll_conf *c = NULL;

    if (ll_conf_file_parse(&l, global_opts)) {
        c = take_all(&l);
        if (c && !l.no_memory)
            ll_conf_check(c, &l.faults);
    }
    if (l.no_memory)
        ll_conf_fault(&l.faults, 0, "cannot be held: no memory");
    if (l.faults.n) {
        ll_conf_free(c);
        c = NULL;
    }
    ll_conf_file_release(&l);
    return c;
}
