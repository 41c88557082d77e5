/*
 * The parts of the unsealing engine: unseal.c drives and asks, unseal_parts.c finds what a payload
 * shows, unseal_verdict.c says what is proven.
 */
#ifndef LL_LIB_SEAL_UNSEAL_INTERNAL_H
#define LL_LIB_SEAL_UNSEAL_INTERNAL_H

#include "letterlock/unseal.h"

#define LL_UNSEAL_PLAINS_MAX (LL_UNSEAL_SECTIONS_MAX * LL_UNSEAL_LAYERS_MAX)

struct ll_unseal {
    struct ll_slice letter;
    struct ll_arena arena; /* trees, pieces, signatures */
    struct ll_unseal_section section[LL_UNSEAL_SECTIONS_MAX];
    size_t n;
    size_t at;                                 /* the section that is worked on */
    struct ll_buf plain[LL_UNSEAL_PLAINS_MAX]; /* what was opened */
    size_t n_plain;
    size_t plain_octets;
    struct ll_slice next; /* what the open question's answer leads to: the signed text */
    enum ll_unseal_question asked;
    bool inline_pgp; /* the open question is about text, not about a part with a header */
    bool failed;     /* no memory */
    enum ll_mime_error why;
    struct ll_unseal_result result;
};

static inline void ll_unseal_warn(struct ll_unseal_section *s, enum ll_unseal_warning w)
{
    s->warnings |= 1u << w;
}

/* Adds a section for the part; NULL (and LIMIT) when there are too many. */
struct ll_unseal_section *ll_unseal_add(struct ll_unseal *, enum ll_unseal_place, uint8_t parent,
                                        struct ll_slice entity);

/* Is all of the text one armored block; does it hold the beginning of one? */
bool ll_unseal_all_armor(struct ll_slice text);
bool ll_unseal_has_armor(struct ll_slice text);
/* A part that is CMS by its type, or by the name that programs without S/MIME leave. */
bool ll_unseal_is_cms(const struct ll_mime_part *, struct ll_arena *);

/* Fills the pieces of a section whose layers are all off, and adds the sections in it. */
bool ll_unseal_parts(struct ll_unseal *, uint8_t section);
/* The author, the signatures' verdicts, `unproven`. */
bool ll_unseal_judge(struct ll_unseal *, uint8_t section);

#endif
