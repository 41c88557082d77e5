/*
 * config: what a person has settled for `send`, `read` and `keys`: ~/.config/letterlock/config,
 * letterlock-config(5). tool/client/settings/ has the lists.
 *
 * The file names programs that are run (password-command), so one that others may write is refused.
 */
#ifndef LL_TOOL_CLIENT_CONFIG_H
#define LL_TOOL_CLIENT_CONFIG_H

#include "tool/tool.h"

#define TEXT(member, name, arg, doc)   char *member;  /* NULL: not written */
#define PATH(member, name, arg, doc)   char *member;  /* absolute */
#define WORD(member, name, words, doc) char *member;  /* one of the words */
#define LIST(member, name, arg, doc)   char **member; /* NULL-terminated, never NULL */
#define FLAG(member, name, doc)        bool member;

struct ll_account {
    char *title;
#include "tool/client/settings/account.def"
};

struct ll_config {
    char *path; /* NULL: there is no file */
#include "tool/client/settings/general.def"
    struct ll_account *accounts;
    size_t n_accounts;
};

#undef TEXT
#undef PATH
#undef WORD
#undef LIST
#undef FLAG

struct ll_config_from {
    const char *file;    /* --config FILE; NULL: the user's own, which need not be there */
    const char *account; /* --account NAME */
};

/* Rows for an option table; c: struct ll_config_from. */
#define LL_CONFIG_OPTS(c)                                                                          \
    {"config", 0, LL_OPT_TEXT, &(c).file, "FILE", "settings (~/.config/letterlock/config)"},       \
    {                                                                                              \
        "account", 'a', LL_OPT_TEXT, &(c).account, "NAME", "the account of the settings to use"    \
    }

/* Reads the file. NULL, said on stderr with file and line: *ret_status is EX_CONFIG or EX_NOPERM.
 * Where the user has no file and none was named, an empty one comes back. */
struct ll_config *ll_config_load(const char *file, int *ret_status);
void ll_config_free(struct ll_config *);
/* The account of that name; else (name NULL) the one whose `from` is `address` (ASCII case
 * ignored); else the default one. NULL with *ret_status 0: there is none; EX_CONFIG, said on
 * stderr: the named one is not there. */
const struct ll_account *ll_config_account(const struct ll_config *, const char *name,
                                           struct ll_slice address, int *ret_status);

/* "$XDG_DATA_HOME/letterlock/NAME", "$XDG_CONFIG_HOME/letterlock/NAME" and what stands for them
 * where they are not set; the caller frees it. NULL: the user has no home. */
char *ll_config_path(const char *name);
char *ll_data_path(const char *name);

#endif
