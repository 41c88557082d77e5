/*
 * keys: what the commands of `letterlock keys` share.
 */
#ifndef LL_TOOL_KEYS_H
#define LL_TOOL_KEYS_H

#include "tool/client/config.h"
#include "tool/client/stored.h"
#include "tool/json_out.h"
#include "tool/tool.h"

#define LL_KEYS_ARENA ((size_t)1 << 30)

struct ll_keys {
    const char *config_file; /* --config */
    const char *store_file;  /* --store */
    bool pgp, smime;         /* --pgp, --smime */
    bool json;
    /* made by ll_keys_open */
    struct ll_config *config;
    struct ll_keystore *store;
    struct ll_arena arena;
    struct ll_buf err;
    int64_t now;
};

/* Rows for an option table; k: struct ll_keys. */
#define LL_KEYS_OPTS(k)                                                                            \
    {"store",         0,      LL_OPT_TEXT,                                                         \
     &(k).store_file, "FILE", "key store (~/.local/share/letterlock/keys.db)"},                    \
    {                                                                                              \
        "config", 0, LL_OPT_TEXT, &(k).config_file, "FILE",                                        \
            "settings (~/.config/letterlock/config)"                                               \
    }
#define LL_KEYS_KIND_OPTS(k)                                                                       \
    {"pgp", 0, LL_OPT_FLAG, &(k).pgp, NULL, "OpenPGP alone"},                                      \
    {                                                                                              \
        "smime", 0, LL_OPT_FLAG, &(k).smime, NULL, "S/MIME alone"                                  \
    }
#define LL_KEYS_PASSWORD_OPTS(p)                                                                   \
    {"password-file", 0, LL_OPT_TEXT, &(p).file, "FILE", "password in the first line of FILE"},    \
    {                                                                                              \
        "password-command", 0, LL_OPT_TEXT, &(p).command, "CMD",                                   \
            "password in the first line that CMD prints"                                           \
    }

/* Reads the settings and opens the store; create: makes it where there is none. 0, or a status.
 * Call ll_keys_close in both cases. */
int ll_keys_open(struct ll_keys *, bool create);
void ll_keys_close(struct ll_keys *);
/* What the store said, on stderr; 0 for OK. `word` is what was asked for. */
int ll_keys_told(struct ll_keys *, enum ll_keystore_result, const char *word);
/* Prints what is in err; returns the status. */
int ll_keys_failed(struct ll_keys *, int status);

/* The kind that --pgp and --smime say; LL_SEAL_NONE: none of them. */
enum ll_seal_method ll_keys_kind(const struct ll_keys *);
/* The one key that a word names: a fingerprint or its end, or an address. More than one, or none:
 * said on stderr with what to do. own: among the own keys alone. */
int ll_keys_pick(struct ll_keys *, const char *word, bool own, struct ll_keystore_key *ret);

/* "2d", "3w", "18m", "2y", "never": seconds; 0 for never. False: nothing of that, or over 100
 * years. */
bool ll_keys_lifetime(const char *text, uint32_t *ret_s);

/* ---- what is shown ----------------------------------------------------------------------------
 */

/* In groups of four, upper case: as people compare it. */
void ll_keys_put_fingerprint(struct ll_buf *, struct ll_slice fingerprint);
/* UTF-8 that a stranger chose, for a terminal: what controls or reorders it becomes "?". */
void ll_keys_put_text(struct ll_buf *, struct ll_slice text);
void ll_keys_put_day(struct ll_buf *, int64_t unix_s); /* "2026-11-24" */
/* "verified by you on 2026-11-24", "nobody has verified it; published by the domain (WKD) ..." */
void ll_keys_put_trust(struct ll_buf *, const struct ll_keystore_key *);
/* "usable", or why letters cannot be sealed to it. */
const char *ll_keys_state(const struct ll_keystore_key *, int64_t now);
/* One key as an object. */
void ll_keys_json(struct ll_json *, const struct ll_keystore_key *, int64_t now);

/* Says what was put, a line a key, on stdout (or one JSON list), changed keys with their warning.
 * Returns 0, or EX_DATAERR where nothing was put. */
int ll_keys_report(struct ll_keys *, const struct ll_stored *);

/* The commands. */
#define LL_KEYS_COMMANDS(ROW)                                                                      \
    ROW("list", ll_keys_list, "own keys and contacts, and what is trusted")                        \
    ROW("show", ll_keys_show, "one key: where it was found, what was decided, when")               \
    ROW("check", ll_keys_check, "can letters be sealed to it, and is it proven whose it is")       \
    ROW("new", ll_keys_new, "make a key for an address")                                           \
    ROW("import", ll_keys_import, "take keys out of files, letters or GnuPG")                      \
    ROW("export", ll_keys_export, "write keys, a web key directory, DNS records, requests")        \
    ROW("find", ll_keys_find, "ask the domain of an address for its keys")                         \
    ROW("trust", ll_keys_trust, "you have compared a key with its owner")                          \
    ROW("distrust", ll_keys_distrust, "never use this key")                                        \
    ROW("default", ll_keys_default, "the own key that signs where none is named")                  \
    ROW("expire", ll_keys_expire, "change when an own OpenPGP key expires")                        \
    ROW("revoke", ll_keys_revoke, "take an own OpenPGP key back for ever")                         \
    ROW("passwd", ll_keys_passwd, "change the password of an own key")                             \
    ROW("delete", ll_keys_delete, "take a key out of the store")

#define LL_KEYS_PROTOTYPE(name, fn, summary) int fn(int argc, char **argv);
LL_KEYS_COMMANDS(LL_KEYS_PROTOTYPE)
#undef LL_KEYS_PROTOTYPE

#endif
