/*
 * args: options and words of a command line, from one table that is the help too.
 *
 * Options may stand anywhere before "--". `--name VALUE`, `--name=VALUE`, `-l VALUE`, `-lVALUE`;
 * flags may be bundled (`-ab`). An option that is given twice counts as given last, but for lists.
 */
#ifndef LL_TOOL_ARGS_H
#define LL_TOOL_ARGS_H

#include "letterlock/base.h"

#include <stdio.h>

#define LL_ARGS_LIST_MAX 1000 /* values of one list option, words of one command */

enum ll_opt_kind {
    LL_OPT_FLAG,   /* bool */
    LL_OPT_TEXT,   /* const char *, borrowed from argv */
    LL_OPT_NUMBER, /* int64_t, not negative */
    LL_OPT_LIST,   /* struct ll_words */
};

struct ll_words {
    const char **v;
    size_t n;
};

struct ll_opt {
    const char *name; /* without dashes; NULL: only the letter */
    char letter;      /* 0: only the name */
    enum ll_opt_kind kind;
    void *to;
    const char *arg; /* what the help calls the value */
    const char *doc;
};

struct ll_usage {
    const char *synopsis; /* "user add [options] ADDRESS" */
    const char *text;     /* what the command does: lines of at most 79 columns, or NULL */
    const struct ll_opt *opt;
    size_t n_opt;
    size_t min, max; /* words */
};

/* argv[0] is the command's own name. False, with a sentence in err: wrong usage. The lists' memory
 * lives until the process ends. */
bool ll_args_parse(const struct ll_usage *, int argc, char **argv, struct ll_words *ret_words,
                   struct ll_buf *err);
void ll_args_help(const struct ll_usage *, FILE *out);
/* Parses; handles --help and -h, and says what is wrong on stderr. True: go on. False: end with
 * *ret_status (0 or EX_USAGE). */
bool ll_args_take(const struct ll_usage *, int argc, char **argv, struct ll_words *ret_words,
                  int *ret_status);

#endif
