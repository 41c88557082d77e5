/* Encoded words (RFC 2047). See include/letterlock/mime.h. */
#include "letterlock/mime.h"

#include <stdlib.h>

#define CHARSET_MAX 64 /* octets of a charset's name with its language */
#define WORD_MAX                                                                                   \
    2048 /* octets of an encoded text; RFC 2047 2 says 75 for the whole word, and                  \
            programs write far more */

struct writer {
    struct ll_mime_run *run; /* heap while it grows */
    size_t n, room;
    uint8_t *out; /* the octets of all runs, in the arena */
    size_t used;
    bool failed;
};

/* "=?charset?B?text?=" at the start of s: its parts and length; 0: no encoded word. */
static size_t word_at(struct ll_slice s, struct ll_slice *charset, uint8_t *encoding,
                      struct ll_slice *text)
{
    struct ll_slice rest = ll_slice_skip(s, 2);
    size_t end = ll_slice_find(ll_slice_cut(rest, 0, CHARSET_MAX + 1), '?');

    if (!ll_slice_starts(s, LL_LIT("=?")) || end == 0 || end > CHARSET_MAX || end + 3 > rest.n ||
        rest.p[end + 2] != '?')
        return 0;
    *charset = ll_slice_cut(rest, 0, end);
    for (size_t i = 0; i < end; i++)
        if (charset->p[i] <= 0x20 || charset->p[i] >= 0x7f)
            return 0;
    charset->n = ll_slice_find(*charset, '*'); /* RFC 2231 5: charset*language */
    *encoding = ll_lower(rest.p[end + 1]);
    if (charset->n == 0 || (*encoding != 'b' && *encoding != 'q'))
        return 0;
    rest = ll_slice_cut(rest, end + 3, end + 3 + WORD_MAX + 2);
    end = ll_slice_search(rest, LL_LIT("?="));
    if (end == rest.n)
        return 0;
    *text = ll_slice_cut(rest, 0, end);
    return (size_t)(rest.p + end + 2 - s.p);
}

/* RFC 2047 4.2: as quoted-printable, "_" for a space. */
static void decode_q(struct ll_slice s, struct ll_buf *out)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '_')
            ll_buf_putc(out, ' ');
        else if (s.p[i] == '=' && i + 2 < s.n && ll_hex_decode(out, ll_slice_cut(s, i + 1, i + 3)))
            i += 2;
        else
            ll_buf_putc(out, s.p[i]);
    }
}

static void put_run(struct writer *w, struct ll_slice charset, struct ll_slice text)
{
    struct ll_mime_run *last = w->n ? &w->run[w->n - 1] : NULL;

    if (text.n == 0 || w->failed)
        return;
    if (!last || !ll_slice_caseeq(last->charset, charset)) {
        if (w->n == w->room) {
            size_t room = w->room ? w->room * 2 : 8;
            struct ll_mime_run *grown = realloc(w->run, room * sizeof(*grown));

            if (!grown) {
                w->failed = true;
                return;
            }
            w->run = grown;
            w->room = room;
        }
        last = &w->run[w->n++];
        *last = (struct ll_mime_run){.charset = charset, .text = ll_slice(w->out + w->used, 0)};
    }
    memcpy(w->out + w->used, text.p, text.n);
    w->used += text.n;
    last->text.n += text.n;
}

static void put_word(struct writer *w, struct ll_slice charset, uint8_t encoding,
                     struct ll_slice text)
{
    struct ll_buf b = LL_BUF(WORD_MAX);

    if (encoding == 'q')
        decode_q(text, &b);
    else
        ll_mime_decode(LL_MIME_BASE64_ENCODING, text, &b);
    put_run(w, charset, ll_buf_slice(&b));
    ll_buf_release(&b);
}

static bool is_blank_run(struct ll_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!ll_is_blank(s.p[i]) && s.p[i] != '\r' && s.p[i] != '\n')
            return false;
    return true;
}

static void read_words(struct writer *w, struct ll_slice text)
{
    size_t literal = 0; /* where text that is no word began */
    bool behind_word = false;

    for (size_t i = 0; i < text.n;) {
        struct ll_slice charset, inner, before = ll_slice_cut(text, literal, i);
        uint8_t encoding;
        size_t n =
            text.p[i] == '=' ? word_at(ll_slice_skip(text, i), &charset, &encoding, &inner) : 0;

        if (n == 0) {
            i++;
            continue;
        }
        if (!behind_word || !is_blank_run(before))
            put_run(w, (struct ll_slice){0}, before);
        put_word(w, charset, encoding, inner);
        behind_word = true;
        i += n;
        literal = i;
    }
    put_run(w, (struct ll_slice){0}, ll_slice_skip(text, literal));
}

bool ll_mime_words(struct ll_slice text, struct ll_arena *arena, struct ll_mime_run **ret,
                   size_t *ret_n)
{
    struct writer w = {.out = ll_arena_alloc(arena, text.n + 1)};
    struct ll_mime_run *run = NULL;

    if (!w.out)
        return false;
    read_words(&w, text);
    if (!w.failed)
        run = ll_arena_alloc(arena, (w.n + 1) * sizeof(*run));
    if (run && w.n)
        memcpy(run, w.run, w.n * sizeof(*run));
    free(w.run);
    if (!run)
        return false;
    *ret = run;
    *ret_n = w.n;
    return true;
}
