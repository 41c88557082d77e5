/*
 * base: the byte types that everything else is written in.
 *
 * ll_slice borrows bytes: pointer and length, never assumed to end in NUL, never freed.
 * ll_buf   owns bytes and grows up to a maximum given at its start. A failed append (maximum
 *          reached, no memory) sets `failed` and every later append does nothing, so that a chain
 *          of appends is checked once, at its end.
 * ll_cursor reads binary input with a bounds check in every read. A read past the end sets
 *          `failed` and yields zeros; a decoder checks ll_cur_end() once, which also refuses
 *          left-over bytes.
 *
 * Nothing here reads a clock, allocates behind your back or depends on the locale.
 */
#ifndef LETTERLOCK_BASE_H
#define LETTERLOCK_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LL_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define LL_COUNT(array)      (sizeof(array) / sizeof((array)[0]))

/* ---- slices ---------------------------------------------------------------------------- */

struct ll_slice {
    const uint8_t *p; /* may be NULL when n is 0 */
    size_t n;         /* octets */
};

/* A slice of a string literal, without its NUL. */
#define LL_LIT(s) ((struct ll_slice){(const uint8_t *)("" s), sizeof(s) - 1})
/* printf arguments for "%.*s". The bytes must be known to hold no NUL. */
#define LL_FMT(s) (int)(s).n, (const char *)((s).p ? (s).p : (const uint8_t *)"")

static inline struct ll_slice ll_slice(const void *p, size_t n)
{
    return (struct ll_slice){(const uint8_t *)p, n};
}

/* A slice of a NUL-terminated string; NULL gives the empty slice. */
static inline struct ll_slice ll_slice_str(const char *s)
{
    return (struct ll_slice){(const uint8_t *)s, s ? strlen(s) : 0};
}

bool ll_slice_eq(struct ll_slice a, struct ll_slice b);
/* Equal but for ASCII case. */
bool ll_slice_caseeq(struct ll_slice a, struct ll_slice b);
bool ll_slice_starts(struct ll_slice s, struct ll_slice prefix);
bool ll_slice_casestarts(struct ll_slice s, struct ll_slice prefix);
bool ll_slice_ends(struct ll_slice s, struct ll_slice suffix);
/* Order by bytes, a shorter slice before a longer one that it begins: <0, 0, >0. */
int ll_slice_cmp(struct ll_slice a, struct ll_slice b);
/* Index of the first (last) octet c, or s.n when there is none. */
size_t ll_slice_find(struct ll_slice s, uint8_t c);
size_t ll_slice_rfind(struct ll_slice s, uint8_t c);
/* Index of the first occurrence of needle, or s.n when there is none. */
size_t ll_slice_search(struct ll_slice s, struct ll_slice needle);
/* The octets [from, to); both are clamped to the slice. */
struct ll_slice ll_slice_cut(struct ll_slice s, size_t from, size_t to);
/* Without the first n octets (all of them when there are fewer). */
struct ll_slice ll_slice_skip(struct ll_slice s, size_t n);
/* Without leading and trailing SP and HTAB. */
struct ll_slice ll_slice_trim(struct ll_slice s);
/* Takes the part before the first c from *rest, and c with it; the whole rest where there is no c.
 * Returns false, and an empty part, when *rest was empty (p NULL marks the end). */
bool ll_slice_next(struct ll_slice *rest, uint8_t c, struct ll_slice *ret_part);
/* A decimal number without sign, blanks or overflow; false, and *ret untouched, for all else. */
bool ll_slice_u64(struct ll_slice s, uint64_t *ret);
/* A NUL-terminated copy that the caller frees; NULL without memory. A NUL inside cuts it short. */
char *ll_slice_dup(struct ll_slice s);

/* ---- characters: ASCII only, no locale --------------------------------------------------- */

static inline bool ll_is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}
static inline bool ll_is_upper(uint8_t c)
{
    return c >= 'A' && c <= 'Z';
}
static inline bool ll_is_lower(uint8_t c)
{
    return c >= 'a' && c <= 'z';
}
static inline bool ll_is_alpha(uint8_t c)
{
    return ll_is_upper(c) || ll_is_lower(c);
}
static inline bool ll_is_alnum(uint8_t c)
{
    return ll_is_alpha(c) || ll_is_digit(c);
}
static inline bool ll_is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}
static inline bool ll_is_print(uint8_t c)
{
    return c >= 0x20 && c < 0x7f;
} /* SP included */
static inline uint8_t ll_lower(uint8_t c)
{
    return ll_is_upper(c) ? (uint8_t)(c + 32) : c;
}
static inline uint8_t ll_upper(uint8_t c)
{
    return ll_is_lower(c) ? (uint8_t)(c - 32) : c;
}

/* ---- buffers ----------------------------------------------------------------------------- */

struct ll_buf {
    uint8_t *p;
    size_t n;    /* octets held */
    size_t cap;  /* octets allocated */
    size_t max;  /* octets that it may ever hold */
    bool failed; /* an append did not fit; cleared by ll_buf_clear alone */
};

/* An empty buffer of at most max octets; nothing is allocated yet. */
#define LL_BUF(max_) ((struct ll_buf){NULL, 0, 0, (max_), false})
void ll_buf_init(struct ll_buf *, size_t max);
/* Frees the bytes and leaves the buffer empty with its maximum. Wiping: ll_buf_wipe. */
void ll_buf_release(struct ll_buf *);
/* As release, but overwrites the bytes first: for secrets. */
void ll_buf_wipe(struct ll_buf *);
/* Forgets the bytes and the failure, keeps the memory. */
void ll_buf_clear(struct ll_buf *);
void ll_buf_put(struct ll_buf *, const void *p, size_t n);
void ll_buf_puts(struct ll_buf *, const char *s);
void ll_buf_putc(struct ll_buf *, uint8_t c);
void ll_buf_put_slice(struct ll_buf *, struct ll_slice s);
/* In decimal, with zeros in front up to that many digits. */
void ll_buf_put_uint(struct ll_buf *, uint64_t value, unsigned width);
void ll_buf_printf(struct ll_buf *, const char *fmt, ...) LL_PRINTF(2, 3);
void ll_buf_vprintf(struct ll_buf *, const char *fmt, va_list ap) LL_PRINTF(2, 0);
/* Room for n more octets at the end, uninitialised; NULL (and failed) when they do not fit.
 * ll_buf_grew(n) then says how many were written. */
uint8_t *ll_buf_room(struct ll_buf *, size_t n);
void ll_buf_grew(struct ll_buf *, size_t n);
/* Drops the first n octets (all of them when there are fewer). */
void ll_buf_drop(struct ll_buf *, size_t n);
static inline struct ll_slice ll_buf_slice(const struct ll_buf *b)
{
    return (struct ll_slice){b->p, b->n};
}
/* The bytes as a NUL-terminated string (the NUL is not counted); NULL when that did not fit. */
const char *ll_buf_str(struct ll_buf *);

/* Binary output, big-endian; str16/str32 write a length and the octets. */
void ll_buf_u8(struct ll_buf *, uint8_t v);
void ll_buf_u16(struct ll_buf *, uint16_t v);
void ll_buf_u32(struct ll_buf *, uint32_t v);
void ll_buf_u64(struct ll_buf *, uint64_t v);
void ll_buf_str16(struct ll_buf *, struct ll_slice s); /* fails above 65535 octets */
void ll_buf_str32(struct ll_buf *, struct ll_slice s);

/* ---- cursor: checked binary input, big-endian ------------------------------------------- */

struct ll_cursor {
    struct ll_slice in;
    size_t at;
    bool failed;
};

static inline struct ll_cursor ll_cursor(struct ll_slice in)
{
    return (struct ll_cursor){in, 0, false};
}
uint8_t ll_cur_u8(struct ll_cursor *);
uint16_t ll_cur_u16(struct ll_cursor *);
uint32_t ll_cur_u32(struct ll_cursor *);
uint64_t ll_cur_u64(struct ll_cursor *);
/* n octets, borrowed from the input; the empty slice on failure. */
struct ll_slice ll_cur_bytes(struct ll_cursor *, size_t n);
struct ll_slice ll_cur_str16(struct ll_cursor *);
struct ll_slice ll_cur_str32(struct ll_cursor *);
static inline size_t ll_cur_left(const struct ll_cursor *c)
{
    return c->in.n - c->at;
}
/* True when no read failed and nothing is left over. */
bool ll_cur_end(const struct ll_cursor *);

/* ---- arena: the memory of one unit of work ------------------------------------------------ */

/* Memory that is freed all at once. At most `max` octets in all; NULL beyond that. */
struct ll_arena {
    struct ll_arena_block *blocks;
    size_t used; /* octets handed out */
    size_t max;
    bool no_memory; /* the system had none; a decoder that failed then says nothing of its input */
};

void ll_arena_init(struct ll_arena *, size_t max);
void ll_arena_release(struct ll_arena *);
/* n octets set to zero, aligned for any type; NULL when over the maximum or without memory. */
void *ll_arena_alloc(struct ll_arena *, size_t n);
/* A copy in the arena; the empty slice with p NULL on failure (n 0 gives a non-NULL p). */
struct ll_slice ll_arena_dup(struct ll_arena *, struct ll_slice s);
char *ll_arena_str(struct ll_arena *, struct ll_slice s); /* NUL-terminated copy */

/* ---- encodings ----------------------------------------------------------------------------- */

/* Base64 (RFC 4648 4). Encoding writes no line breaks. Decoding is strict: padding required, no
 * blanks, no other characters, unused bits zero; false leaves what was decoded so far in out. */
void ll_base64_encode(struct ll_buf *out, struct ll_slice in);
bool ll_base64_decode(struct ll_buf *out, struct ll_slice in);
/* Lower-case hexadecimal; decoding takes both cases and an even number of digits. */
void ll_hex_encode(struct ll_buf *out, struct ll_slice in);
bool ll_hex_decode(struct ll_buf *out, struct ll_slice in);
/* Well-formed UTF-8 (RFC 3629: no overlong form, no surrogate, nothing above U+10FFFF). */
bool ll_utf8_valid(struct ll_slice s);
bool ll_is_ascii(struct ll_slice s); /* no octet above 127 */
/* Appends s as one printable ASCII word for logs and replies: octets outside 0x21..0x7e, '"' and
 * '\\' as \xHH, cut at max octets of input with "..." behind. */
void ll_escape(struct ll_buf *out, struct ll_slice s, size_t max);

/* CRC32C (Castagnoli), as used by iSCSI; chain by passing the last result, start with 0. */
uint32_t ll_crc32c(uint32_t crc, const void *p, size_t n);

/* ---- time: arithmetic only, never a clock --------------------------------------------------- */

/* "Tue, 24 Nov 2026 03:07:34 +0000" (RFC 5322 3.3), always in UTC. unix_s: seconds since 1970. */
void ll_time_rfc5322(struct ll_buf *out, int64_t unix_s);
/* "2026-11-24T03:07:34Z" (RFC 3339). */
void ll_time_rfc3339(struct ll_buf *out, int64_t unix_s);
/* The same with milliseconds, of which the time is one: "2026-11-24T03:07:34.042Z". */
void ll_time_rfc3339_ms(struct ll_buf *out, int64_t unix_ms);
/* "20261124": the UTC day. */
void ll_time_day(struct ll_buf *out, int64_t unix_s);

#endif
