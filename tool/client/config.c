/* See tool/client/config.h. */
#include "tool/client/config.h"

#include "io/conf_file.h"
#include "letterlock/addr.h"

#include <errno.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the tables ------------------------------------------------------------------------------ */

#define TEXT(member, name, arg, doc)   LL_CONF_SETTING(name, CFGF_NODEFAULT),
#define PATH(member, name, arg, doc)   LL_CONF_SETTING(name, CFGF_NODEFAULT),
#define WORD(member, name, words, doc) LL_CONF_SETTING(name, CFGF_NODEFAULT),
#define LIST(member, name, arg, doc)   LL_CONF_SETTING(name, CFGF_LIST),
#define FLAG(member, name, doc)        LL_CONF_SETTING(name, CFGF_NODEFAULT),

static cfg_opt_t account_opts[] = {
#include "tool/client/settings/account.def"
    CFG_END()};
static cfg_opt_t general_opts[] = {
#include "tool/client/settings/general.def"
    LL_CONF_FILE_END, CFG_SEC("account", account_opts, LL_CONF_SECTION_FLAGS), CFG_END()};

#undef TEXT
#undef PATH
#undef WORD
#undef LIST
#undef FLAG

/* ---- values ---------------------------------------------------------------------------------- */

/* "~/x" is in the user's home, other paths that are not absolute are in the file's folder. */
static char *take_path(struct ll_conf_file *f, cfg_t *sec, const char *name)
{
    char *s = ll_conf_file_text(f, sec, name, NULL), *full = NULL;
    const char *home = getenv("HOME");

    if (!s || s[0] == '/')
        return s;
    if (strncmp(s, "~/", 2) == 0 && (!home || home[0] != '/'))
        ll_conf_fault(&f->faults, ll_conf_file_line(f, sec, name),
                      "`%s = %s`: there is no HOME; write the whole path", name, s);
    else if (asprintf(&full, "%s/%s", s[0] == '~' && s[1] == '/' ? home : f->folder,
                      s[0] == '~' && s[1] == '/' ? s + 2 : s) < 0)
        full = NULL;
    f->no_memory = f->no_memory || (!full && f->faults.n == 0);
    free(s);
    return full;
}

static char *take_word(struct ll_conf_file *f, cfg_t *sec, const char *name, const char *words)
{
    char *s = ll_conf_file_text(f, sec, name, NULL);
    struct ll_slice rest = ll_slice_str(words), word;

    while (s && ll_slice_next(&rest, ' ', &word))
        if (ll_slice_eq(word, ll_slice_str(s)))
            return s;
    /* What was written may be a password: it is not repeated. */
    if (s)
        ll_conf_fault(&f->faults, ll_conf_file_line(f, sec, name), "`%s` takes one of: %s%s", name,
                      words,
                      strstr(name, "password") ? "; a password itself does not belong into this "
                                                 "file (password-file, password-command)"
                                               : "");
    free(s);
    return NULL;
}

#define TEXT(member, name, arg, doc)   v->member = ll_conf_file_text(f, sec, name, NULL);
#define PATH(member, name, arg, doc)   v->member = take_path(f, sec, name);
#define WORD(member, name, words, doc) v->member = take_word(f, sec, name, words);
#define LIST(member, name, arg, doc)   v->member = ll_conf_file_list(f, sec, name);
#define FLAG(member, name, doc)        v->member = ll_conf_file_flag(f, sec, name, false);

static void take_account(struct ll_conf_file *f, cfg_t *sec, struct ll_account *v)
{
#include "tool/client/settings/account.def"
}
static void take_general(struct ll_conf_file *f, cfg_t *sec, struct ll_config *v)
{
#include "tool/client/settings/general.def"
}

#undef TEXT
#undef PATH
#undef WORD
#undef LIST
#undef FLAG

/* ---- how they fit together ------------------------------------------------------------------- */

static void check_source(struct ll_conf_file *f, cfg_t *sec, const char *file, const char *command,
                         const char *keyring)
{
    if (ll_conf_file_has(sec, file) + ll_conf_file_has(sec, command) +
            ll_conf_file_has(sec, keyring) >
        1)
        ll_conf_fault(&f->faults, ll_conf_file_line(f, sec, file),
                      "a password has one place only: %s, %s or %s = keyring; keep one of them",
                      file, command, keyring);
}

static void check_account(struct ll_conf_file *f, cfg_t *sec, const struct ll_account *a)
{
    struct ll_mailbox m;
    enum ll_addr_error e = a->from ? ll_mailbox_parse(ll_slice_str(a->from), true, &m) : LL_ADDR_OK;

    if (e != LL_ADDR_OK)
        ll_conf_fault(&f->faults, ll_conf_file_line(f, sec, "from"),
                      "`from = %s`: %s; write local@domain, and your name as `name`", a->from,
                      ll_addr_error_text(e));
    check_source(f, sec, "password-file", "password-command", "password");
    check_source(f, sec, "key-password-file", "key-password-command", "key-password");
    if (!a->server && (a->user || a->password || a->password_file || a->password_command))
        ll_conf_fault(&f->faults, sec->line, "account %s has a login, but no server; add `server`",
                      a->title);
    else if (!a->user && (a->password || a->password_file || a->password_command))
        ll_conf_fault(&f->faults, sec->line, "account %s has a password, but no user; add `user`",
                      a->title);
    if (a->insecure && (a->ca || a->pin[0]))
        ll_conf_fault(&f->faults, ll_conf_file_line(f, sec, "insecure"),
                      "`insecure` goes with neither ca nor pin; take it away");
}

static void take_all(struct ll_conf_file *f, struct ll_config *c)
{
    unsigned n = cfg_size(f->root, "account");
    bool found = false;

    take_general(f, f->root, c);
    c->accounts = calloc(n + 1, sizeof(*c->accounts));
    if (!c->accounts)
        f->no_memory = true;
    for (unsigned i = 0; i < n && !f->no_memory; i++) {
        cfg_t *sec = cfg_getnsec(f->root, "account", i);
        struct ll_account *a = &c->accounts[c->n_accounts++];

        a->title = strdup(cfg_title(sec));
        take_account(f, sec, a);
        if (!a->title || !a->pin)
            f->no_memory = true;
        else
            check_account(f, sec, a);
        found = found || (c->account && a->title && strcmp(c->account, a->title) == 0);
    }
    if (c->account && !found && !f->no_memory)
        ll_conf_fault(&f->faults, ll_conf_file_line(f, f->root, "default"),
                      "`default = %s`: there is no account of that name; write one of the accounts "
                      "below",
                      c->account);
}

/* ---- the file -------------------------------------------------------------------------------- */

static char *home_path(const char *variable, const char *below_home, const char *name)
{
    const char *base = getenv(variable), *home = getenv("HOME");
    char *path = NULL;
    int r = -1;

    if (base && base[0] == '/') /* others are to be ignored, says the XDG base directory text */
        r = asprintf(&path, "%s/letterlock/%s", base, name);
    else if (home && home[0] == '/')
        r = asprintf(&path, "%s/%s/letterlock/%s", home, below_home, name);
    return r < 0 ? NULL : path;
}

char *ll_config_path(const char *name)
{
    return home_path("XDG_CONFIG_HOME", ".config", name);
}

char *ll_data_path(const char *name)
{
    return home_path("XDG_DATA_HOME", ".local/share", name);
}

/* 0, or a status: the file names programs, so nobody else may have written it. */
static int check_file(const char *path)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return ll_fail(errno == EACCES ? EX_NOPERM : EX_CONFIG, "%s: %s", path, strerror(errno));
    if (st.st_uid != geteuid() && st.st_uid != 0)
        return ll_fail(EX_CONFIG,
                       "%s belongs to another user, who could name programs in it; make "
                       "it your own",
                       path);
    if (S_ISREG(st.st_mode) && (st.st_mode & 022))
        return ll_fail(EX_CONFIG,
                       "%s can be written by others (mode %03o), who could name programs in it; "
                       "chmod 600 it",
                       path, (unsigned)st.st_mode & 0777);
    if (S_ISREG(st.st_mode) && (st.st_mode & 044))
        ll_fail(0, "warning: %s can be read by others (mode %03o); chmod 600 it", path,
                (unsigned)st.st_mode & 0777);
    return access(path, R_OK) == 0 ? 0 : ll_fail(EX_NOPERM, "%s: %s", path, strerror(errno));
}

struct ll_config *ll_config_load(const char *file, int *ret_status)
{
    struct ll_buf err = LL_BUF(16384);
    struct ll_config *c = calloc(1, sizeof(*c));
    struct ll_conf_file f = {.faults = {.out = &err}, .manual = "letterlock-config(5)"};

    *ret_status = 0;
    if (c)
        c->path = file ? strdup(file) : ll_config_path("config");
    if (!c || (file && !c->path)) {
        *ret_status = ll_fail(EX_OSERR, "no memory");
    } else if ((!file && (!c->path || access(c->path, F_OK) != 0)) ||
               strcmp(c->path, "/dev/null") == 0) { /* the latter: no settings, please */
        free(c->path);
        c->path = NULL;
        return c;
    } else if ((*ret_status = check_file(c->path)) == 0) {
        f.faults.path = c->path;
        if (ll_conf_file_parse(&f, general_opts))
            take_all(&f, c);
        if (f.no_memory)
            ll_conf_fault(&f.faults, 0, "cannot be held: no memory");
        if (f.faults.n > 0)
            *ret_status = ll_fail_text(EX_CONFIG, &err);
        ll_conf_file_release(&f);
    }
    ll_buf_release(&err);
    if (*ret_status != 0) {
        ll_config_free(c);
        return NULL;
    }
    return c;
}

/* ---- use ------------------------------------------------------------------------------------- */

const struct ll_account *ll_config_account(const struct ll_config *c, const char *name,
                                           struct ll_slice address, int *ret_status)
{
    const struct ll_account *a = c->accounts, *end = a + c->n_accounts;
    const char *wanted = name;

    *ret_status = 0;
    for (; !name && address.n > 0 && a < end; a++)
        if (ll_slice_caseeq(ll_slice_str(a->from), address))
            return a;
    if (!wanted)
        wanted = c->account;
    for (a = c->accounts; wanted && a < end; a++)
        if (strcmp(a->title, wanted) == 0)
            return a;
    if (name)
        *ret_status = ll_fail(EX_CONFIG, "there is no account %s in %s", name,
                              c->path ? c->path : "your settings (there is no file)");
    return !wanted && c->n_accounts > 0 ? c->accounts : NULL;
}

static void free_list(char **list)
{
    for (size_t i = 0; list && list[i]; i++)
        free(list[i]);
    free(list);
}

#define TEXT(member, name, arg, doc)   free(v->member);
#define PATH(member, name, arg, doc)   free(v->member);
#define WORD(member, name, words, doc) free(v->member);
#define LIST(member, name, arg, doc)   free_list(v->member);
#define FLAG(member, name, doc)

void ll_config_free(struct ll_config *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n_accounts; i++) {
        struct ll_account *v = &c->accounts[i];

        free(v->title);
#include "tool/client/settings/account.def"
    }
    {
        struct ll_config *v = c;
#include "tool/client/settings/general.def"
    }
    free(c->accounts);
    free(c->path);
    free(c);
}
