/* See io/conf_file.h. */
#include "io/conf_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* libconfuse's call-backs carry no argument of ours; files are loaded one at a time. */
static struct ll_conf_file *loading;

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
    if (strstr(text, LL_CONF_END_MARK)) {
        ll_conf_fault(&loading->faults, 0, "ends inside of a section; add the `}` that is missing");
        return;
    }
    ll_conf_fault(&loading->faults, cfg && cfg->line > 0 ? cfg->line : 0,
                  "%s; %s lists the settings and how they are written", text, loading->manual);
}

/* Called behind each setting: the only moment at which its line is known. */
int ll_conf_file_setting(cfg_t *cfg, cfg_opt_t *opt)
{
    struct ll_conf_file *l = loading;

    for (size_t i = 0; i < l->n_marks && !(opt->flags & CFGF_LIST); i++)
        if (l->marks[i].section == cfg && l->marks[i].name == opt->name)
            ll_conf_fault(&l->faults, cfg->line,
                          "`%s` was set on line %d already; take one of the two away", opt->name,
                          l->marks[i].line);
    if (l->n_marks == l->cap_marks) {
        size_t cap = l->cap_marks ? l->cap_marks * 2 : 64;
        struct ll_conf_mark *m = realloc(l->marks, cap * sizeof(*m));

        if (!m) {
            l->no_memory = true;
            return 0;
        }
        l->marks = m;
        l->cap_marks = cap;
    }
    l->marks[l->n_marks++] = (struct ll_conf_mark){cfg, opt->name, cfg->line};
    return 0;
}

/* A setting that is not written: the first line of its section tells where it belongs. */
int ll_conf_file_line(const struct ll_conf_file *l, const cfg_t *section, const char *name)
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
    const struct ll_conf_file *l = arg;

    if (!kind[0])
        return ll_conf_file_line(l, l->root, name);
    for (unsigned i = 0; i < cfg_size(l->root, kind); i++) {
        cfg_t *sec = cfg_getnsec(l->root, kind, i);

        if (strcasecmp(cfg_title(sec), title) == 0)
            return ll_conf_file_line(l, sec, name);
    }
    return 0;
}

/* ---- values ---------------------------------------------------------------------------------- */

static bool is_path(const struct ll_conf_file *l, const char *name)
{
    for (size_t i = 0; l->paths && l->paths[i]; i++)
        if (strcmp(l->paths[i], name) == 0)
            return true;
    return false;
}

static void no_memory(struct ll_conf_file *l)
{
    l->no_memory = true;
}

bool ll_conf_file_has(cfg_t *sec, const char *name)
{
    return cfg_size(sec, name) > 0;
}

static const char *value(cfg_t *sec, const char *name)
{
    return cfg_size(sec, name) ? cfg_getnstr(sec, name, 0) : NULL;
}

static bool printable(struct ll_conf_file *l, cfg_t *sec, const char *name, const char *s)
{
    for (; *s; s++)
        if ((uint8_t)*s < 0x20 || *s == 0x7f) {
            ll_conf_fault(&l->faults, ll_conf_file_line(l, sec, name),
                          "`%s` holds a control character; write it in one line without tabs",
                          name);
            return false;
        }
    return true;
}

char *ll_conf_file_text(struct ll_conf_file *l, cfg_t *sec, const char *name, const char *def)
{
    const char *s = value(sec, name);
    char *copy = NULL;

    if (!s || !printable(l, sec, name, s))
        s = def;
    if (!s)
        return NULL;
    if (is_path(l, name) && s[0] && s[0] != '/') {
        if (asprintf(&copy, "%s/%s", l->folder, s) < 0)
            copy = NULL;
    } else {
        copy = strdup(s);
    }
    if (!copy)
        no_memory(l);
    return copy;
}

char **ll_conf_file_list(struct ll_conf_file *l, cfg_t *sec, const char *name)
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

const struct ll_conf_unit ll_conf_no_units[] = {{'\0', 0}};
const struct ll_conf_unit ll_conf_size_units[] = {
    {'K', 1024}, {'M', 1024 * 1024}, {'G', 1024 * 1024 * 1024}, {'\0', 0}};
const struct ll_conf_unit ll_conf_time_units[] = {
    {'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'\0', 0}};

static bool parse_number(const char *s, const struct ll_conf_unit *units, int64_t *ret)
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

int64_t ll_conf_file_number(struct ll_conf_file *l, cfg_t *sec, const char *name, const char *def,
                            const struct ll_conf_unit *units, const char *help)
{
    const char *s = value(sec, name);
    int64_t v = 0;

    if (!s)
        s = def;
    if (!parse_number(s, units, &v))
        ll_conf_fault(&l->faults, ll_conf_file_line(l, sec, name),
                      "`%s = %s` is not a number; write %s", name, s, help);
    return v;
}

bool ll_conf_file_flag(struct ll_conf_file *l, cfg_t *sec, const char *name, bool def)
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
        ll_conf_fault(&l->faults, ll_conf_file_line(l, sec, name),
                      "`%s = %s` is neither yes nor no; write one of them", name, s);
    return def;
}

/* ---- the file -------------------------------------------------------------------------------- */

static bool find_folder(struct ll_conf_file *l)
{
    char *real = realpath(l->faults.path, NULL);
    char *slash = real ? strrchr(real, '/') : NULL;

    if (!slash || (size_t)(slash - real) >= sizeof(l->folder)) {
        ll_conf_fault(&l->faults, 0, "cannot be found: %s; check its name", strerror(errno));
        free(real);
        return false;
    }
    memcpy(l->folder, real, (size_t)(slash - real));
    l->folder[slash - real] = '\0';
    free(real);
    return true;
}

/* The text as a string, with the end mark behind; NULL when it cannot be read. */
static char *read_file(struct ll_conf_file *l)
{
    static const char end[] = "\n" LL_CONF_END_MARK " = yes\n";
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

bool ll_conf_file_parse(struct ll_conf_file *l, cfg_opt_t *opts)
{
    char *text;
    int r = CFG_FILE_ERROR;

    l->faults.line = line_of;
    l->faults.arg = l;
    text = find_folder(l) ? read_file(l) : NULL;
    if (!text)
        return false;
    loading = l;
    l->root = cfg_init(opts, CFGF_NONE);
    if (!l->root) {
        no_memory(l);
    } else {
        cfg_set_error_function(l->root, on_error);
        r = cfg_parse_buf(l->root, text);
    }
    free(text);
    if (l->faults.n == 0 && !l->no_memory &&
        (r != CFG_SUCCESS || !cfg_size(l->root, LL_CONF_END_MARK)))
        ll_conf_fault(&l->faults, l->root ? l->root->line : 0,
                      "cannot be understood; compare with %s", l->manual);
    return l->faults.n == 0 && !l->no_memory;
}

void ll_conf_file_release(struct ll_conf_file *l)
{
    if (l->root)
        cfg_free(l->root);
    free(l->marks);
    loading = NULL;
}
