/*
 * aliases: addresses that are known here and go elsewhere, from a text file.
 *
 *   # a comment
 *   info@example.org: bob@example.org, carol@example.net
 *   team@example.org: alice@example.org,
 *       bob@example.org           (a line that begins with a blank continues the one before)
 *   @example.org: bob@example.org (all other addresses of that domain)
 *
 * The classic file /etc/aliases reads the same where it names addresses: a name without a domain is
 * one of `domain`, "\\name" is name (an account is never an alias here), quoted local parts keep
 * their quotes. Its pipes ("|program"), files ("/path") and lists (:include:) are refused: mail is
 * data, and never a command or a path.
 *
 * Names are canonical (ll_account_name); targets are canonical but for the case of their local
 * parts, which another server may tell apart. A name may stand once. This file knows the text;
 * daemon/auth/directory.h follows aliases of aliases.
 */
#ifndef LL_IO_ALIASES_H
#define LL_IO_ALIASES_H

#include "letterlock/addr.h"
#include "letterlock/base.h"

#define LL_ALIAS_FILE_MAX    (16u << 20) /* octets of the file */
#define LL_ALIAS_LINE_MAX    (64u << 10) /* octets of one entry, continuation lines included */
#define LL_ALIAS_TARGETS_MAX 1000        /* addresses that one alias may come to */

struct ll_aliases;

/* NULL on any fault; ret_err then holds one sentence a line, "line N: ..." or "FILE:N: ..." (at
 * most 20 of them). file: for these sentences alone, may be NULL. domain: of names that have none;
 * NULL: they are refused. */
struct ll_aliases *ll_aliases_parse(struct ll_slice text, const char *domain, const char *file,
                                    struct ll_buf *ret_err);
/* Reads and parses a file; a missing one gives NULL and errno ENOENT with nothing in ret_err. */
struct ll_aliases *ll_aliases_load(const char *path, const char *domain, struct ll_buf *ret_err);
void ll_aliases_free(struct ll_aliases *);
size_t ll_aliases_count(const struct ll_aliases *);

/* The entry of that name, or of "@domain"; false: none. Targets, each str16, are borrowed. */
bool ll_aliases_find(const struct ll_aliases *, struct ll_slice name, struct ll_slice *ret_targets);
/* The i-th entry in the order of the file. */
void ll_aliases_entry(const struct ll_aliases *, size_t i, struct ll_slice *ret_name,
                      struct ll_slice *ret_targets);

/* name: canonical. The text of a file with one entry added (after the last one; the name must be
 * new) or taken out, everything else left octet by octet as it was. False: no such entry, or it is
 * there already. */
bool ll_aliases_text_add(struct ll_slice text, const char *domain, struct ll_slice name,
                         struct ll_slice targets, struct ll_buf *out);
bool ll_aliases_text_del(struct ll_slice text, const char *domain, struct ll_slice name,
                         struct ll_buf *out);

#endif
