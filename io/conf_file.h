/*
 * conf_file: a configuration file read by libconfuse, for tables of settings (X-macros): every
 * value is text to libconfuse, so that all faults of values are told in one voice, with file and
 * line, and all of them at once.
 */
#ifndef LL_IO_CONF_FILE_H
#define LL_IO_CONF_FILE_H

#include "io/conf_load.h"

#include <confuse.h>
#include <limits.h>

/* Rows of an option table. A setting is text or a list of texts; a section has a title. */
#define LL_CONF_SETTING(name_, flags_)                                                             \
    {                                                                                              \
        .name = (name_), .type = CFGT_STR, .flags = (flags_), .validcb = ll_conf_file_setting      \
    }
/* The last setting of the outermost table. libconfuse takes the end of the file for the end of a
 * section. So this setting is put behind the text: found elsewhere than at the top, or not at all,
 * something was not closed. */
#define LL_CONF_END_MARK      "__end_of_file"
#define LL_CONF_FILE_END      LL_CONF_SETTING(LL_CONF_END_MARK, CFGF_NODEFAULT)
#define LL_CONF_SECTION_FLAGS (CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES)

struct ll_conf_mark {
    const cfg_t *section;
    const char *name;
    int line;
};

struct ll_conf_file {
    struct ll_conf_faults faults; /* path and out: the caller's, before parse */
    const char *manual;           /* the page that lists the settings: "letterlock.conf(5)" */
    const char *const *paths; /* settings that are paths, NULL-terminated, or NULL: relative ones
                                 are taken from the file's folder */
    cfg_t *root;
    char folder[PATH_MAX];
    struct ll_conf_mark *marks;
    size_t n_marks;
    size_t cap_marks;
    bool no_memory;
};

/* Reads and parses. False: a fault was told, or no_memory is set. Release it in both cases. */
bool ll_conf_file_parse(struct ll_conf_file *, cfg_opt_t *opts);
void ll_conf_file_release(struct ll_conf_file *);
/* libconfuse calls it behind each setting: the only moment at which its line is known. */
int ll_conf_file_setting(cfg_t *, cfg_opt_t *);

/* The line of a setting; of one that is not written, the first line of its section; 0: none. */
int ll_conf_file_line(const struct ll_conf_file *, const cfg_t *section, const char *name);

/* Values. What is wrong with one is told as a fault. Strings are the caller's to free; `def` counts
 * where nothing is written, and may be NULL for text: then NULL comes back. */
char *ll_conf_file_text(struct ll_conf_file *, cfg_t *, const char *name, const char *def);
char **ll_conf_file_list(struct ll_conf_file *, cfg_t *, const char *name);
bool ll_conf_file_flag(struct ll_conf_file *, cfg_t *, const char *name, bool def);
/* Digits with a unit behind them, where there are units; help says how to write it. */
struct ll_conf_unit {
    char letter;
    int64_t factor;
};
extern const struct ll_conf_unit ll_conf_no_units[], ll_conf_size_units[], ll_conf_time_units[];
int64_t ll_conf_file_number(struct ll_conf_file *, cfg_t *, const char *name, const char *def,
                            const struct ll_conf_unit *, const char *help);
/* Was it written? */
bool ll_conf_file_has(cfg_t *, const char *name);

#endif
