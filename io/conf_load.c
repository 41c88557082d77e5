/* See io/conf.h. libconfuse reads the file; every value is a string to it, so that all faults of
 * values are told in one voice, and all of them at once. */
#include "io/conf_load.h"

#include <confuse.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct mark {
    const cfg_t *section;
    const char *name;
    int line;
};

struct load {
    struct ll_conf_faults faults;
    cfg_t *root;
    char folder[PATH_MAX];
    struct mark *marks;
    size_t n_marks;
    size_t cap_marks;
    bool no_memory;
};

/* libconfuse takes the end of the file for the end of a section. So this setting is put behind the
 * text: found elsewhere than at the top, or not at all, something was not closed. */
#define END_MARK "__end_of_file"

/* libconfuse's call-backs carry no argument of ours; files are loaded one at a time. */
static struct load *loading;

void ll_conf_fault(struct ll_conf_faults *f, int line, const char *fmt, ...)
{
    va_list ap;

    if (f->n++ >= LL_CONF_FAULT_MAX)
        return;
    if (line > 0)
        ll_buf_printf(f->out, "%s:%d: ", f->path, line);
    else
        ll_buf_printf(f->out, "%s: ", f->path);
    va_start(ap, fmt);
    ll_buf_vprintf(f->out, fmt, ap);
    va_end(ap);
    ll_buf_putc(f->out, '\n');
}

/* ---- libconfuse ------------------------------------------------------------------------------ */

static LL_PRINTF(2, 0) void on_error(cfg_t *cfg, const char *fmt, va_list ap)
{
    char text[512];

    vsnprintf(text, sizeof(text), fmt, ap);
    if (strstr(text, END_MARK)) {
        ll_conf_fault(&loading->faults, 0, "ends inside of a section; add the `}` that is missing");
        return;
    }
    ll_conf_fault(&loading->faults, cfg && cfg->line > 0 ? cfg->line : 0,
                  "%s; letterlock.conf(5) lists the settings and how they are written", text);
}

/* Called behind each setting: the only moment at which its line is known. */
static int on_setting(cfg_t *cfg, cfg_opt_t *opt)
{
    struct load *l = loading;

    for (size_t i = 0; i < l->n_marks && !(opt->flags & CFGF_LIST); i++)
        if (l->marks[i].section == cfg && l->marks[i].name == opt->name)
            ll_conf_fault(&l->faults, cfg->line,
                          "`%s` was set on line %d already; take one of the two away", opt->name,
                          l->marks[i].line);
    if (l->n_marks == l->cap_marks) {
        size_t cap = l->cap_marks ? l->cap_marks * 2 : 64;
        struct mark *m = realloc(l->marks, cap * sizeof(*m));

        if (!m) {
            l->no_memory = true;
            return 0;
        }
        l->marks = m;
        l->cap_marks = cap;
    }
    l->marks[l->n_marks++] = (struct mark){cfg, opt->name, cfg->line};
    return 0;
}

/* Every setting is text here; NULL tells "not written", where the default of the row applies. */
#define OPT(name_, flags_)                                                                         \
    {.name = name_, .type = CFGT_STR, .flags = (flags_), .validcb = on_setting},
#define TEXT(name, def, doc)   OPT(#name, CFGF_NODEFAULT)
#define LIST(name, doc)        OPT(#name, CFGF_LIST)
#define NUMBER(name, def, doc) OPT(#name, CFGF_NODEFAULT)
#define SIZE(name, def, doc)   OPT(#name, CFGF_NODEFAULT)
#define TIME(name, def, doc)   OPT(#name, CFGF_NODEFAULT)
#define FLAG(name, def, doc)   OPT(#name, CFGF_NODEFAULT)

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

#define SECTION_FLAGS (CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES)

static cfg_opt_t global_opts[] = {
#include "io/settings/global.def"
    OPT(END_MARK, CFGF_NODEFAULT) CFG_SEC("listener", listener_opts, SECTION_FLAGS),
    CFG_SEC("certificate", certificate_opts, SECTION_FLAGS),
    CFG_SEC("domain", domain_opts, SECTION_FLAGS), CFG_SEC("route", route_opts, SECTION_FLAGS),
    CFG_END()};

#undef TEXT
#undef LIST
#undef NUMBER
#undef SIZE
#undef TIME
#undef FLAG

/* A setting that is not written: the first line of its section tells where it belongs. */
static int line_of_mark(const struct load *l, const cfg_t *section, const char *name)
{
    int first = 0;

    for (size_t i = 0; i < l->n_marks; i++) {
        if (l->marks[i].section != section)
            continue;
        if (strcmp(l->marks[i].name, name) == 0)
            return l->marks[i].line;
        first = first ? first : l->marks[i].line;
    }
    if (section == l->root)
        return 0;
    return first ? first : section->line;
}

static int line_of(void *arg, const char *kind, const char *title, const char *name)
{
    const struct load *l = arg;

    if (!kind[0])
        return line_of_mark(l, l->root, name);
    for (unsigned i = 0; i < cfg_size(l->root, kind); i++) {
        cfg_t *sec = cfg_getnsec(l->root, kind, i);

        if (strcasecmp(cfg_title(sec), title) == 0)
            return line_of_mark(l, sec, name);
    }
    return 0;
}

/* ---- values ---------------------------------------------------------------------------------- */

static const char *const path_settings[] = {
    "state_dir", "spool_dir", "run_dir",  "mail_dir",  "accounts",     "aliases",      "ca_file",
    "cert",      "key",       "log_file", "client_ca", "trust_anchor", "password_file"};

static bool is_path(const char *name)
{
    for (size_t i = 0; i < LL_COUNT(path_settings); i++)
        if (strcmp(path_settings[i], name) == 0)
            return true;
    return false;
}

static void no_memory(struct load *l)
{
    l->no_memory = true;
}

static const char *value(cfg_t *sec, const char *name)
{
    return cfg_size(sec, name) ? cfg_getnstr(sec, name, 0) : NULL;
}

static bool printable(struct load *l, cfg_t *sec, const char *name, const char *s)
{
    for (; *s; s++)
        if ((uint8_t)*s < 0x20 || *s == 0x7f) {
            ll_conf_fault(&l->faults, line_of_mark(l, sec, name),
                          "`%s` holds a control character; write it in one line without tabs",
                          name);
            return false;
        }
    return true;
}

static char *take_text(struct load *l, cfg_t *sec, const char *name, const char *def)
{
    const char *s = value(sec, name);
    char *copy = NULL;

    if (!s)
        s = def;
    if (!printable(l, sec, name, s))
        s = def;
    if (is_path(name) && s[0] && s[0] != '/') {
        if (asprintf(&copy, "%s/%s", l->folder, s) < 0)
            copy = NULL;
    } else {
        copy = strdup(s);
    }
    if (!copy)
        no_memory(l);
    return copy;
}

static char **take_list(struct load *l, cfg_t *sec, const char *name)
{
    unsigned n = cfg_size(sec, name);
    char **list = calloc((size_t)n + 1, sizeof(*list));

    if (!list) {
        no_memory(l);
        return NULL;
    }
    for (unsigned i = 0; i < n; i++) {
        const char *s = cfg_getnstr(sec, name, i);

        list[i] = strdup(s && printable(l, sec, name, s) ? s : "");
        if (!list[i]) {
            no_memory(l);
            break;
        }
    }
    return list;
}

struct unit {
    char letter;
    int64_t factor;
};
static const struct unit no_units[] = {{'\0', 0}};
static const struct unit size_units[] = {
    {'K', 1024}, {'M', 1024 * 1024}, {'G', 1024 * 1024 * 1024}, {'\0', 0}};
static const struct unit time_units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'\0', 0}};

static bool parse_number(const char *s, const struct unit *units, int64_t *ret)
{
    struct ll_slice digits = ll_slice_str(s);
    int64_t factor = 1;
    uint64_t v;

    if (digits.n && !ll_is_digit(digits.p[digits.n - 1])) {
        for (; units->letter; units++)
            if (units->letter == s[digits.n - 1])
                break;
        if (!units->letter)
            return false;
        factor = units->factor;
        digits.n--;
    }
    if (!ll_slice_u64(digits, &v) || v > (uint64_t)(INT64_MAX / factor))
        return false;
    *ret = (int64_t)v * factor;
    return true;
}

static int64_t take_number(struct load *l, cfg_t *sec, const char *name, const char *def,
                           const struct unit *units, const char *help)
{
    const char *s = value(sec, name);
    int64_t v = 0;

    if (!s)
        s = def;
    if (!parse_number(s, units, &v))
        ll_conf_fault(&l->faults, line_of_mark(l, sec, name), "`%s = %s` is not a number; write %s",
                      name, s, help);
    return v;
}

static bool take_flag(struct load *l, cfg_t *sec, const char *name, bool def)
{
    static const char *const yes[] = {"yes", "true", "on", "1"};
    static const char *const no[] = {"no", "false", "off", "0"};
    const char *s = value(sec, name);

    for (size_t i = 0; s && i < LL_COUNT(yes); i++) {
        if (strcasecmp(s, yes[i]) == 0)
            return true;
        if (strcasecmp(s, no[i]) == 0)
            return false;
    }
    if (s)
        ll_conf_fault(&l->faults, line_of_mark(l, sec, name),
                      "`%s = %s` is neither yes nor no; write one of them", name, s);
    return def;
}

#define STRING(x)            #x
#define TEXT(name, def, doc) v->name = take_text(l, sec, #name, def);
#define LIST(name, doc)      v->name = take_list(l, sec, #name);
#define NUMBER(name, def, doc)                                                                     \
    v->name = take_number(l, sec, #name, STRING(def), no_units, "digits alone");
#define SIZE(name, def, doc)                                                                       \
    v->name = take_number(l, sec, #name, def, size_units, "octets, with K, M or G behind");
#define TIME(name, def, doc)                                                                       \
    v->name = take_number(l, sec, #name, def, time_units, "a time like 30s, 5m, 2h or 5d");
#define FLAG(name, def, doc) v->name = take_flag(l, sec, #name, def);

static void take_global(struct load *l, cfg_t *sec, struct ll_conf *v)
{
#include "io/settings/global.def"
}
static void take_listener(struct load *l, cfg_t *sec, struct ll_conf_listener *v)
{
#include "io/settings/listener.def"
}
static void take_certificate(struct load *l, cfg_t *sec, struct ll_conf_certificate *v)
{
#include "io/settings/certificate.def"
}
static void take_domain(struct load *l, cfg_t *sec, struct ll_conf_domain *v)
{
#include "io/settings/domain.def"
}
static void take_route(struct load *l, cfg_t *sec, struct ll_conf_route *v)
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
            no_memory(l);                                                                          \
        take_##kind(l, sec, &c->kind[i]);                                                          \
    }                                                                                              \
    if (!c->kind)                                                                                  \
        no_memory(l);

static struct ll_conf *take_all(struct load *l)
{
    struct ll_conf *c = calloc(1, sizeof(*c));
    unsigned n;

    if (!c) {
        no_memory(l);
        return NULL;
    }
    take_global(l, l->root, c);
    TAKE_SECTIONS(listener)
    TAKE_SECTIONS(certificate)
    TAKE_SECTIONS(domain)
    TAKE_SECTIONS(route)
    return c;
}

/* ---- the file -------------------------------------------------------------------------------- */

static bool find_folder(struct load *l)
{
    char *real = realpath(l->faults.path, NULL);
    char *slash = real ? strrchr(real, '/') : NULL;

    if (!slash || (size_t)(slash - real) >= sizeof(l->folder)) {
        ll_conf_fault(&l->faults, 0, "cannot be found: %s; check the name given with -c",
                      strerror(errno));
        free(real);
        return false;
    }
    memcpy(l->folder, real, (size_t)(slash - real));
    l->folder[slash - real] = '\0';
    free(real);
    return true;
}

/* The text as a string, with the end mark behind; NULL when it cannot be read. */
static char *read_file(struct load *l)
{
    static const char end[] = "\n" END_MARK " = yes\n";
    int fd = open(l->faults.path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    char *text = NULL;
    ssize_t n = -1;

    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
        st.st_size <= (off_t)LL_CONF_FILE_MAX) {
        text = malloc((size_t)st.st_size + sizeof(end));
        n = text ? read(fd, text, (size_t)st.st_size) : -1;
        if (n >= 0 && n == st.st_size && !memchr(text, 0, (size_t)n)) {
            memcpy(text + n, end, sizeof(end));
            close(fd);
            return text;
        }
    }
    ll_conf_fault(&l->faults, 0, "cannot be read: %s; check name and permissions",
                  fd < 0 ? strerror(errno) : "not a text file of sensible length");
    free(text);
    if (fd >= 0)
        close(fd);
    return NULL;
}

static bool parse_file(struct load *l)
{
    char *text = read_file(l);
    int r = CFG_FILE_ERROR;

    if (!text)
        return false;
    l->root = cfg_init(global_opts, CFGF_NONE);
    if (!l->root) {
        no_memory(l);
    } else {
        cfg_set_error_function(l->root, on_error);
        r = cfg_parse_buf(l->root, text);
    }
    free(text);
    if (l->faults.n == 0 && !l->no_memory && (r != CFG_SUCCESS || !cfg_size(l->root, END_MARK)))
        ll_conf_fault(&l->faults, l->root ? l->root->line : 0,
                      "cannot be understood; compare with letterlock.conf(5)");
    return l->faults.n == 0 && !l->no_memory;
}

struct ll_conf *ll_conf_load(const char *path, struct ll_buf *ret_err)
{
    struct load l = {.faults = {.path = path, .out = ret_err, .line = line_of}};
    struct ll_conf *c = NULL;

    l.faults.arg = &l;
    loading = &l;
    if (find_folder(&l) && parse_file(&l)) {
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
    if (l.root)
        cfg_free(l.root);
    free(l.marks);
    loading = NULL;
    return c;
}
