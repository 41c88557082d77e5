/*
 * read: what `letterlock read` knows, outside and within the box.
 */
#ifndef LL_TOOL_READ_READ_H
#define LL_TOOL_READ_READ_H

#include "io/charset.h"
#include "tool/client/config.h"
#include "tool/json_out.h"
#include "tool/read/box.h"
#include "tool/read/page.h"
#include "tool/read/ring.h"
#include "tool/read/shelf.h"
#include "tool/tool.h"

#define LL_READ_ARENA ((size_t)256 << 20) /* octets of what is learned of one letter */
#define LL_READ_FIELD ((size_t)256 << 10) /* octets of a field as it is shown */
#define LL_READ_OUT   ((size_t)1 << 30)   /* octets of all that is shown */

/* Frames out of the box (box.h). ROW(ID, what the process outside does) */
#define LL_READ_SESSION_MAX 256 /* octets of a session key as text */
#define LL_READ_FRAMES(ROW)                                                                        \
    ROW(PASSWORD, "asks for a password: method, fingerprint; answers 1 and the password, or 0")    \
    ROW(SESSION, "asks a card for a session key: packets with it; answers 1 and the key, or 0")    \
    ROW(KEY, "puts a key that came with the letter into the store")                                \
    ROW(PEER, "notes what the letter said by Autocrypt of its author")

enum ll_read_frame {
#define LL_READ_ENUM(id, text) LL_READ_##id,
    LL_READ_FRAMES(LL_READ_ENUM)
#undef LL_READ_ENUM
};

struct ll_read {
    /* as asked */
    const char *save;        /* folder for attachments, or NULL */
    struct ll_words servers; /* whose Authentication-Results are believed */
    bool json, keep;         /* keep: keys that came along go into the store */
    unsigned width;
    /* the letter */
    struct ll_shelf shelf;
    struct ll_ring ring;
    struct ll_charset *charset;
    int folder; /* of save, opened; -1 */
    /* within the box */
    struct ll_box *box;
    struct ll_slice letter;
    struct ll_arena arena;
    struct ll_unseal *engine;
    const struct ll_unseal_result *found;
    unsigned n_files; /* attachments told of so far */
    int status;       /* of saving */
};

/* A field's value as it counts in a section, one clean line of UTF-8. False: it has none.
 * *ret_state: how far it is protected; *ret_outer (may be NULL) gets what stands outside, where
 * that differs and was not put there by the author. */
bool ll_read_field(struct ll_read *, const struct ll_unseal_section *, const char *name,
                   struct ll_buf *out, enum ll_protect_state *ret_state, struct ll_buf *ret_outer);
/* The text of a TEXT or HTML piece, clean (LL_CLEAN_TEXT). *facts: of HTML. */
struct ll_html_facts;
void ll_read_text(struct ll_read *, const struct ll_unseal_section *,
                  const struct ll_unseal_piece *, struct ll_buf *out, struct ll_html_facts *facts);
/* The name that a file of the letter proposes, clean; empty: none. */
void ll_read_name(struct ll_read *, const struct ll_unseal_piece *, struct ll_buf *out);
/* The octets of a piece as a file. */
bool ll_read_octets(struct ll_read *, const struct ll_unseal_section *,
                    const struct ll_unseal_piece *, struct ll_buf *out);
/* Is the piece listed (and saved) as a file? */
bool ll_read_is_file(const struct ll_unseal_piece *);
/* Saves it; *ret_name is its name then. False: said on stderr. */
bool ll_read_save(struct ll_read *, const struct ll_unseal_section *,
                  const struct ll_unseal_piece *, unsigned number, struct ll_buf *ret_name);

/* What a server of `servers` says of the letter: the first Authentication-Results of each, as
 * "spf=pass, dkim=pass (example.org)"; false: none. */
bool ll_read_server(struct ll_read *, struct ll_buf *ret_name, struct ll_buf *ret_says);

/* Is anybody proven for all that a section shows; and why not, in words. */
bool ll_read_proven(const struct ll_unseal_section *, struct ll_buf *ret_words);
/* "yes; OpenPGP (aes256, mdc) ..." */
void ll_read_sealed(const struct ll_unseal_section *, struct ll_buf *out);

/* Print the letter, and what ll_read_keep warned of. */
void ll_read_show(struct ll_read *, struct ll_slice warnings, struct ll_buf *out);
void ll_read_json(struct ll_read *, struct ll_slice warnings, struct ll_buf *out);

/* Keys that came with the letter go out in frames; a changed one is warned of in *warnings, a line
 * each. */
void ll_read_keep(struct ll_read *, struct ll_buf *warnings);
/* Outside: a KEY or PEER frame goes into the store. */
bool ll_read_store(struct ll_keystore *, uint8_t type, struct ll_slice frame, int64_t now);

#endif
