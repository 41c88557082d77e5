/* Charsets converted. See charset.h. */
#include "io/charset.h"

#include <errno.h>
#include <iconv.h>
#include <stdlib.h>

#include "letterlock/msg.h"

#define NAME_MAX 40             /* octets of a charset's name */
#define CHUNK    4096           /* octets converted at a time */
#define REPLACED "\xef\xbf\xbd" /* U+FFFD */

/* iconv's name, then all names in lower case that mean it, between blanks. */
static const struct {
    const char *iconv, *names;
} charsets[] = {
    {"UTF-8", " utf-8 utf8 unicode-1-1-utf-8 cp65001 utf-8-mac "},
    {"WINDOWS-1252",
     " windows-1252 cp1252 iso-8859-1 iso8859-1 iso_8859-1 latin1 l1 us-ascii ascii "
     "ansi_x3.4-1968 iso646-us cp819 ibm819 x-cp1252 iso-8859-1-windows-3.1-latin-1 "},
    {"WINDOWS-1250", " windows-1250 cp1250 x-cp1250 "},
    {"WINDOWS-1251", " windows-1251 cp1251 x-cp1251 "},
    {"WINDOWS-1253", " windows-1253 cp1253 x-cp1253 "},
    {"WINDOWS-1254", " windows-1254 cp1254 iso-8859-9 iso8859-9 latin5 l5 "},
    {"WINDOWS-1255", " windows-1255 cp1255 "},
    {"WINDOWS-1256", " windows-1256 cp1256 "},
    {"WINDOWS-1257", " windows-1257 cp1257 "},
    {"WINDOWS-1258", " windows-1258 cp1258 "},
    {"CP874", " windows-874 cp874 tis-620 iso-8859-11 "},
    {"ISO-8859-2", " iso-8859-2 iso8859-2 latin2 l2 "},
    {"ISO-8859-3", " iso-8859-3 iso8859-3 latin3 l3 "},
    {"ISO-8859-4", " iso-8859-4 iso8859-4 latin4 l4 "},
    {"ISO-8859-5", " iso-8859-5 iso8859-5 cyrillic "},
    {"ISO-8859-6", " iso-8859-6 iso8859-6 arabic iso-8859-6-i iso-8859-6-e "},
    {"ISO-8859-7", " iso-8859-7 iso8859-7 greek "},
    {"ISO-8859-8", " iso-8859-8 iso8859-8 hebrew iso-8859-8-i iso-8859-8-e "},
    {"ISO-8859-10", " iso-8859-10 iso8859-10 latin6 l6 "},
    {"ISO-8859-13", " iso-8859-13 iso8859-13 "},
    {"ISO-8859-14", " iso-8859-14 iso8859-14 "},
    {"ISO-8859-15", " iso-8859-15 iso8859-15 latin-9 latin9 l9 "},
    {"ISO-8859-16", " iso-8859-16 iso8859-16 "},
    {"KOI8-R", " koi8-r koi8 cskoi8r "},
    {"KOI8-U", " koi8-u koi8-ru "},
    {"CP866", " cp866 ibm866 866 "},
    {"CP850", " cp850 ibm850 850 cp-850 "},
    {"CP437", " cp437 ibm437 437 "},
    {"CP852", " cp852 ibm852 852 "},
    {"CP858", " cp858 ibm00858 858 "},
    {"MACINTOSH", " macintosh x-mac-roman mac macroman "},
    {"MAC-CYRILLIC", " x-mac-cyrillic x-mac-ukrainian "},
    {"GB18030", " gb18030 gb2312 gbk cp936 x-gbk gb_2312-80 csgb2312 euc-cn windows-936 "},
    {"HZ", " hz-gb-2312 hz "},
    {"BIG5-HKSCS", " big5-hkscs big5 cn-big5 x-x-big5 csbig5 cp950 "},
    {"EUC-TW", " euc-tw "},
    {"CP932", " cp932 shift_jis shift-jis sjis x-sjis ms_kanji windows-31j csshiftjis "},
    {"EUC-JP", " euc-jp x-euc-jp cseucpkdfmtjapanese "},
    {"ISO-2022-JP-2", " iso-2022-jp iso-2022-jp-2 csiso2022jp iso-2022-jp-ms "},
    {"UHC", " euc-kr ks_c_5601-1987 ks_c_5601-1989 ksc5601 ksc_5601 korean cp949 uhc windows-949 "},
    {"ISO-2022-KR", " iso-2022-kr "},
    {"UTF-7", " utf-7 unicode-1-1-utf-7 x-unicode-2-0-utf-7 "},
    {"UTF-16", " utf-16 "},
    {"UTF-16BE", " utf-16be "},
    {"UTF-16LE", " utf-16le "},
    {"UTF-32", " utf-32 "},
};

#define N_CHARSETS   LL_COUNT(charsets)
#define UTF_8        0
#define WINDOWS_1252 1

struct ll_charset {
    iconv_t open[N_CHARSETS];
    bool tried[N_CHARSETS];
};

struct ll_charset *ll_charset_new(void)
{
    return calloc(1, sizeof(struct ll_charset));
}

static bool is_open(const struct ll_charset *c, size_t i)
{
    return c->tried[i] && c->open[i] != (iconv_t)-1;
}

void ll_charset_free(struct ll_charset *c)
{
    for (size_t i = 0; c && i < N_CHARSETS; i++)
        if (is_open(c, i))
            iconv_close(c->open[i]);
    free(c);
}

static bool open_one(struct ll_charset *c, size_t i)
{
    if (!c->tried[i])
        c->open[i] = iconv_open("UTF-8", charsets[i].iconv);
    c->tried[i] = true;
    return is_open(c, i);
}

size_t ll_charset_preload(struct ll_charset *c)
{
    size_t n = 0;

    for (size_t i = 0; i < N_CHARSETS; i++) {
        char in[] = "a", out[16], *from = in, *to = out;
        size_t in_left = 1, out_left = sizeof(out);

        if (!open_one(c, i))
            continue;
        n++;
        /* Some converters load what they need with the first character. */
        iconv(c->open[i], &from, &in_left, &to, &out_left);
        iconv(c->open[i], NULL, NULL, NULL, NULL);
    }
    return n;
}

/* The place of a charset in the list; N_CHARSETS: it is not there. */
static size_t find(struct ll_slice name)
{
    char key[NAME_MAX + 3] = " ";

    name = ll_slice_trim(name);
    if (name.n == 0 || name.n > NAME_MAX)
        return N_CHARSETS;
    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] <= 0x20 || name.p[i] >= 0x7f)
            return N_CHARSETS;
        key[i + 1] = (char)ll_lower(name.p[i]);
    }
    key[name.n + 1] = ' ';
    for (size_t i = 0; i < N_CHARSETS; i++)
        if (strstr(charsets[i].names, key))
            return i;
    return N_CHARSETS;
}

bool ll_charset_known(struct ll_slice name)
{
    return find(name) < N_CHARSETS;
}

static bool convert(iconv_t to_utf8, struct ll_slice in, struct ll_buf *out)
{
    char *from = (char *)in.p;
    size_t left = in.n;
    bool clean = true;

    iconv(to_utf8, NULL, NULL, NULL, NULL);
    while (left && !out->failed) {
        char chunk[CHUNK], *to = chunk;
        size_t room = sizeof(chunk), n = iconv(to_utf8, &from, &left, &to, &room);
        bool stuck = n == (size_t)-1 && errno != E2BIG;

        ll_buf_put(out, chunk, (size_t)(to - chunk));
        if (!stuck)
            continue;
        ll_buf_puts(out, REPLACED);
        clean = false;
        from++;
        left--;
    }
    if (!out->failed) { /* what a converter with states still holds */
        char chunk[64], *to = chunk;
        size_t room = sizeof(chunk);

        iconv(to_utf8, NULL, NULL, &to, &room);
        ll_buf_put(out, chunk, (size_t)(to - chunk));
    }
    return clean && !out->failed;
}

/* Does what is well-formed UTF-8 stand as it is under this name? Under its own, under none, and
 * where us-ascii stands over more than ASCII: a program that does not know what it writes. */
static bool stands(size_t i, struct ll_slice name, struct ll_slice in)
{
    return i == UTF_8 || i == N_CHARSETS || ll_slice_caseeq(name, LL_LIT("us-ascii")) ||
           (i == WINDOWS_1252 && ll_is_ascii(in));
}

bool ll_charset_to_utf8(struct ll_charset *c, struct ll_slice name, struct ll_slice in,
                        struct ll_buf *out)
{
    size_t i = find(name);
    bool known = name.n == 0 || i < N_CHARSETS, utf8 = ll_utf8_valid(in);

    if (utf8 && stands(i, name, in)) {
        ll_buf_put_slice(out, in);
        return known && !out->failed;
    }
    if (i == N_CHARSETS || !open_one(c, i)) {
        known = false;
        i = utf8 ? UTF_8 : WINDOWS_1252;
    }
    if (open_one(c, i))
        return convert(c->open[i], in, out) && known;
    for (size_t at = 0; at < in.n; at++) /* a system without any converter */
        ll_buf_putc(out, in.p[at] < 128 ? in.p[at] : '?');
    return false;
}

static bool put_words(struct ll_charset *c, struct ll_slice text, struct ll_buf *out)
{
    struct ll_mime_run *run;
    struct ll_arena arena;
    bool clean;
    size_t n = 0;

    ll_arena_init(&arena, 64 * text.n + 4096);
    clean = ll_mime_words(text, &arena, &run, &n);
    if (!clean)
        ll_buf_put_slice(out, text);
    for (size_t i = 0; i < n; i++)
        clean = ll_charset_to_utf8(c, run[i].charset, run[i].text, out) && clean;
    ll_arena_release(&arena);
    return clean;
}

bool ll_charset_field(struct ll_charset *c, struct ll_slice body, struct ll_buf *out)
{
    struct ll_buf plain = LL_BUF(body.n + 1);
    bool clean;

    ll_msg_unfold(body, &plain);
    clean = !plain.failed && put_words(c, ll_buf_slice(&plain), out);
    ll_buf_release(&plain);
    return clean;
}

bool ll_charset_param(struct ll_charset *c, const struct ll_mime_param *p, struct ll_buf *out)
{
    if (p->charset.n)
        return ll_charset_to_utf8(c, p->charset, p->value, out);
    return put_words(c, p->value, out);
}
