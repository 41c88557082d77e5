/*
 * tool: what the commands of letterlock(1) share.
 */
#ifndef LL_TOOL_TOOL_H
#define LL_TOOL_TOOL_H

#include "io/conf.h"
#include "letterlock/base.h"
#include "tool/args.h"

#include <stdio.h>
#include <sysexits.h>

#define LL_CONF_PATH "/etc/letterlock/letterlock.conf"

/* A command: argv[0] is its name; returns a sysexits status. */
typedef int (*ll_command_fn)(int argc, char **argv);
#define CMD(name, fn, summary) int fn(int argc, char **argv);
#include "tool/commands.def"
#undef CMD

/* One sentence on stderr, "letterlock: ..."; returns `status`. */
int ll_fail(int status, const char *fmt, ...) LL_PRINTF(2, 3);
/* As ll_fail with text that others made (sentences, each a line). */
int ll_fail_text(int status, struct ll_buf *text);

/* Commands of commands, "user add": runs the one that argv[1] names. */
struct ll_sub {
    const char *name;
    ll_command_fn fn;
    const char *summary;
};
int ll_sub_run(const char *command, const struct ll_sub *, size_t n, int argc, char **argv);

/* ---- which server -------------------------------------------------------------------------- */

struct ll_where {
    const char *conf; /* -c FILE */
    const char *dir;  /* --dir DIR: DIR/letterlock.conf */
};

/* Rows for an option table; w: struct ll_where. */
#define LL_WHERE_OPTS(w)                                                                           \
    {NULL, 'c', LL_OPT_TEXT, &(w).conf, "FILE", "configuration (" LL_CONF_PATH ")"},               \
    {                                                                                              \
        "dir", 0, LL_OPT_TEXT, &(w).dir, "DIR", "the server that `init --dir DIR` made"            \
    }

/* Reads and checks the configuration; NULL, said on stderr, *ret_status EX_CONFIG or EX_NOPERM. */
struct ll_conf *ll_where_conf(const struct ll_where *, int *ret_status);
/* The path of the configuration; the caller frees it. */
char *ll_where_path(const struct ll_where *);

/* ---- passwords ------------------------------------------------------------------------------ */

#define LL_PASSWORD_ROOM 1024

struct ll_password_from {
    const char *file;
    bool from_stdin;
    const char *command; /* run by the user's own shell; only where the command offers it */
    const char
        *keyring[7]; /* NAME, VALUE ...: its attributes in the desktop's keyring; NULL ends */
};

/* The first line of the file, of stdin or of the command's output, the keyring's, else (a terminal
 * is there) asked for without echo, twice when `anew`. 0 and the password in *ret (wipe it), or a
 * status. */
int ll_password_get(const struct ll_password_from *, bool anew, struct ll_buf *ret);

/* ---- files ---------------------------------------------------------------------------------- */

/* The whole file, at most ret->max octets; path "-": stdin. 0, or a status (said on stderr). */
int ll_read_file(const char *path, struct ll_buf *ret);
/* Replaces a file with new content: a temporary file beside it with the same owner and mode,
 * flushed, renamed over it, the folder flushed. 0, or a status. A new file gets `mode`. */
int ll_replace_file(const char *path, struct ll_slice content, unsigned mode);

#endif
