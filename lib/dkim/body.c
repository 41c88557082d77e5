/*
 * Bodies, canonical and hashed while they pass (RFC 6376 3.4.3, 3.4.4, 3.7).
 *
 * Long runs of the input go to the hash as they lie; short ones, between places where the canonical
 * form differs, are gathered first, since each call of the hash costs as much as hashing a few
 * dozen octets. Simple changes only the end of a body; relaxed looks, 64 octets at a time, for the
 * places where the canonical form differs from the input. What may have to be dropped at the end
 * (line ends, blanks) is held back as counts until another octet follows.
 */
#include "lib/dkim/parts.h"

#include <stdlib.h>

#define BLOCKS 64 /* of 64 octets, in which differences are looked for at a time */

struct ll_dkim_body *ll_dkim_body_new(enum ll_dkim_canon canon)
{
    struct ll_dkim_body *b = calloc(1, sizeof(*b));

    if (!b)
        return NULL;
    b->canon = canon;
    b->next = UINT64_MAX;
    b->md = EVP_MD_CTX_new();
    if (!b->md || !EVP_DigestInit_ex(b->md, EVP_sha256(), NULL)) {
        ll_dkim_body_free(b);
        return NULL;
    }
    return b;
}

void ll_dkim_body_free(struct ll_dkim_body *b)
{
    if (!b)
        return;
    EVP_MD_CTX_free(b->md);
    free(b);
}

/* ---- into the hash ------------------------------------------------------------------------------
 */

static void hash(struct ll_dkim_body *b, const uint8_t *p, size_t n)
{
    if (n > 0 && !EVP_DigestUpdate(b->md, p, n))
        b->failed = true;
}

static void hash_gathered(struct ll_dkim_body *b)
{
    hash(b, b->gather, b->gathered);
    b->gathered = 0;
}

/* The hash of what came so far, for the marks that lie here. */
static void reach(struct ll_dkim_body *b)
{
    EVP_MD_CTX *copy = EVP_MD_CTX_new();
    uint8_t hash[LL_DKIM_HASH];

    hash_gathered(b);
    if (!copy || !EVP_MD_CTX_copy_ex(copy, b->md) || !EVP_DigestFinal_ex(copy, hash, NULL))
        b->failed = true;
    EVP_MD_CTX_free(copy);
    b->next = UINT64_MAX;
    for (size_t i = 0; i < b->marks; i++) {
        struct ll_dkim_mark *m = &b->mark[i];

        if (!m->reached && m->at == b->hashed) {
            memcpy(m->hash, hash, sizeof(hash));
            m->reached = true;
        }
        if (!m->reached && m->at < b->next)
            b->next = m->at;
    }
}

/* Octets that no mark divides. The hash is always given whole blocks of its own, as long as there
 * is a choice: it has to copy what is less. */
static void put(struct ll_dkim_body *b, const uint8_t *p, size_t n)
{
    size_t room = sizeof(b->gather) - b->gathered, whole;

    b->hashed += n;
    if (n >= room) {
        memcpy(b->gather + b->gathered, p, room);
        b->gathered = sizeof(b->gather);
        hash_gathered(b);
        p += room;
        n -= room;
        whole = n - n % sizeof(b->gather);
        hash(b, p, whole);
        p += whole;
        n -= whole;
    }
    memcpy(b->gather + b->gathered, p, n);
    b->gathered += n;
}

/* A run that reaches a mark. */
static void put_to_mark(struct ll_dkim_body *b, const uint8_t *p, size_t n)
{
    while (n > 0) {
        uint64_t left = b->next - b->hashed;
        size_t part = n < left ? n : (size_t)left;

        put(b, p, part);
        p += part;
        n -= part;
        if (b->hashed == b->next)
            reach(b);
    }
}

static inline void emit(struct ll_dkim_body *b, const uint8_t *p, size_t n)
{
    if (n >= b->next - b->hashed) {
        put_to_mark(b, p, n);
    } else if (n < sizeof(b->gather) - b->gathered) {
        memcpy(b->gather + b->gathered, p, n);
        b->gathered += n;
        b->hashed += n;
    } else {
        put(b, p, n);
    }
}

/* The line ends that were held back: more comes, so they count. */
static void emit_crlfs(struct ll_dkim_body *b)
{
    static const uint8_t crlf[] = "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n"
                                  "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n";
    const uint64_t room = (sizeof(crlf) - 1) / 2;

    while (b->crlfs > 0) {
        uint64_t n = b->crlfs < room ? b->crlfs : room;

        emit(b, crlf, (size_t)(2 * n));
        b->crlfs -= n;
    }
}

static void emit_held(struct ll_dkim_body *b)
{
    emit_crlfs(b);
    if (b->wsp)
        emit(b, (const uint8_t *)" ", 1);
    b->wsp = false;
    if (b->cr)
        emit(b, (const uint8_t *)"\r", 1);
    b->cr = false;
}

bool ll_dkim_body_mark(struct ll_dkim_body *b, uint64_t at)
{
    for (size_t i = 0; i < b->marks; i++)
        if (b->mark[i].at == at)
            return true;
    if (b->marks == LL_COUNT(b->mark) || at < b->hashed)
        return false;
    b->mark[b->marks++].at = at;
    if (at < b->next)
        b->next = at;
    if (at == b->hashed)
        reach(b);
    return true;
}

/* ---- simple -------------------------------------------------------------------------------------
 */

static void feed_simple(struct ll_dkim_body *b, struct ll_slice in)
{
    size_t n, text;

    if (b->cr && in.n > 0) {
        if (in.p[0] == '\n') {
            b->cr = false;
            b->crlfs++;
            in = ll_slice_skip(in, 1);
        } else {
            emit_held(b);
        }
    }
    n = in.n;
    if (n > 0 && in.p[n - 1] == '\r') {
        b->cr = true;
        n--;
    }
    for (text = n; text >= 2 && in.p[text - 1] == '\n' && in.p[text - 2] == '\r';)
        text -= 2;
    if (text > 0) {
        emit_crlfs(b);
        emit(b, in.p, text);
    }
    b->crlfs += (n - text) / 2;
}

/* ---- relaxed ------------------------------------------------------------------------------------
 */

/* One octet by the rules, slowly. */
static void step(struct ll_dkim_body *b, uint8_t c)
{
    if (b->cr && c == '\n') { /* the line has ended: its last blanks are gone */
        b->cr = b->wsp = false;
        b->crlfs++;
        return;
    }
    if (b->cr)
        emit_held(b);
    if (ll_is_blank(c)) {
        b->wsp = true;
    } else if (c == '\r') {
        b->cr = true;
    } else {
        emit_held(b);
        emit(b, &c, 1);
    }
}

/* Where the canonical form may differ, a bit for each of 64 octets: a tab, or a blank with anything
 * behind it that is no text. SIZE octets are looked at at a time, BITS makes bits of octets of
 * ones, and the octet behind the last one can be read. */
#define DIFFERENCES(NAME, SIZE, BITS, TARGET)                                                      \
    TARGET static void NAME(const uint8_t *p, size_t blocks, uint64_t *ret)                        \
    {                                                                                              \
        typedef uint8_t octets __attribute__((vector_size(SIZE), aligned(1), may_alias));          \
        const octets none = {0}, space = none + (uint8_t)' ', tab = none + (uint8_t)'\t';          \
                                                                                                   \
        for (size_t k = 0; k < blocks; k++, p += 64) {                                             \
            uint64_t bits = 0;                                                                     \
                                                                                                   \
            for (unsigned i = 0; i < 64; i += SIZE) {                                              \
                octets here = *(const octets *)(p + i), behind = *(const octets *)(p + i + 1);     \
                                                                                                   \
                bits |= BITS((octets)(here == tab) |                                               \
                             ((octets)(here == space) & (octets)(behind <= space)))                \
                        << i;                                                                      \
            }                                                                                      \
            ret[k] = bits;                                                                         \
        }                                                                                          \
    }

#if defined(__SSE2__)
typedef char chars16 __attribute__((vector_size(16)));
typedef char chars32 __attribute__((vector_size(32)));
#define BITS_16(v) (uint64_t)(uint32_t) __builtin_ia32_pmovmskb128((chars16)(v))
#define BITS_32(v) (uint64_t)(uint32_t) __builtin_ia32_pmovmskb256((chars32)(v))
DIFFERENCES(differences_16, 16, BITS_16, )
DIFFERENCES(differences_32, 32, BITS_32, __attribute__((target("avx2"))))

static void differences(const uint8_t *p, size_t blocks, uint64_t *ret)
{
    if (__builtin_cpu_supports("avx2"))
        differences_32(p, blocks, ret);
    else
        differences_16(p, blocks, ret);
}
#else
typedef uint8_t octets8 __attribute__((vector_size(8)));

static uint64_t bits_of(octets8 v)
{
    uint64_t bits = 0;

    for (unsigned i = 0; i < 8; i++)
        bits |= (uint64_t)(v[i] & 1) << i;
    return bits;
}
DIFFERENCES(differences, 8, bits_of, )
#endif

static bool differs(const uint8_t *p)
{
    return p[0] == '\t' || (p[0] == ' ' && (ll_is_blank(p[1]) || p[1] == '\r'));
}

/* The run from `from` to `at`, and the blanks that begin there; returns where the next run begins.
 * A line's last blanks go; blanks inside it become one. */
static const uint8_t *emit_to(struct ll_dkim_body *b, const uint8_t *from, const uint8_t *at)
{
    const uint8_t *next = at;
    bool inside;

    while (ll_is_blank(*next))
        next++;
    inside = next[0] != '\r' || next[1] != '\n';
    if (inside && *at == '\t') {
        emit(b, from, (size_t)(at - from));
        emit(b, (const uint8_t *)" ", 1);
    } else {
        emit(b, from, (size_t)(at - from) + inside); /* it begins with the blank that stays */
    }
    return next;
}

/* Text that ends in an octet which is neither a blank nor of a line end; nothing is held back. */
static void feed_text(struct ll_dkim_body *b, const uint8_t *p, const uint8_t *last)
{
    uint64_t found[BLOCKS];
    const uint8_t *from = p;

    while (last - p >= 64) {
        size_t n = (size_t)(last - p) / 64 < BLOCKS ? (size_t)(last - p) / 64 : BLOCKS;

        differences(p, n, found);
        for (size_t k = 0; k < n; k++, p += 64)
            for (uint64_t bits = found[k]; bits; bits &= bits - 1) {
                const uint8_t *at = p + __builtin_ctzll(bits);

                if (at >= from && differs(at))
                    from = emit_to(b, from, at);
            }
    }
    for (; p < last; p++)
        if (p >= from && differs(p))
            from = emit_to(b, from, p);
    emit(b, from, (size_t)(last - from) + 1);
}

static bool is_white(uint8_t c)
{
    return ll_is_blank(c) || c == '\r' || c == '\n';
}

static void feed_relaxed(struct ll_dkim_body *b, struct ll_slice in)
{
    size_t text = in.n, i = 0;

    while (text > 0 && is_white(in.p[text - 1]))
        text--;
    while (i < in.n && (i >= text || b->cr || b->wsp || b->crlfs > 0 || is_white(in.p[i]))) {
        step(b, in.p[i++]);
    }
    if (i < text) {
        feed_text(b, in.p + i, in.p + text - 1);
        for (i = text; i < in.n; i++)
            step(b, in.p[i]);
    }
}

/* ---- both ---------------------------------------------------------------------------------------
 */

void ll_dkim_body_feed(struct ll_dkim_body *b, struct ll_slice in)
{
    if (in.n == 0)
        return;
    if (b->canon == LL_DKIM_SIMPLE)
        feed_simple(b, in);
    else
        feed_relaxed(b, in);
}

void ll_dkim_body_end(struct ll_dkim_body *b)
{
    if (b->cr)
        emit_held(b);
    /* Simple: an empty body is one CR LF. Relaxed: an empty body stays empty (errata 1384). */
    if (b->canon == LL_DKIM_SIMPLE || b->hashed > 0)
        emit(b, (const uint8_t *)"\r\n", 2);
    hash_gathered(b);
    if (!EVP_DigestFinal_ex(b->md, b->hash, NULL))
        b->failed = true;
}
