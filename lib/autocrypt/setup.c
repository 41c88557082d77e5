/* See include/letterlock/autocrypt.h. Setup messages. */
#include "letterlock/addr.h"
#include "letterlock/autocrypt.h"
#include "letterlock/mime.h"
#include "letterlock/msg.h"

#define MESSAGE_BEGIN LL_LIT("-----BEGIN PGP MESSAGE-----")
#define MESSAGE_END   LL_LIT("-----END PGP MESSAGE-----")
#define KEY_BEGIN     LL_LIT("-----BEGIN PGP PRIVATE KEY BLOCK-----")
#define KEY_END       LL_LIT("-----END PGP PRIVATE KEY BLOCK-----")
#define GROUPS        9

const char *ll_autocrypt_setup_error_text(enum ll_autocrypt_setup_error e)
{
    static const char *const texts[] = {
#define ROW(ID, text) [LL_AUTOCRYPT_##ID] = text,
        LL_AUTOCRYPT_SETUP_ERRORS(ROW)
#undef ROW
    };

    return texts[e];
}

bool ll_autocrypt_code(struct ll_slice random, char ret[LL_AUTOCRYPT_CODE_N + 1])
{
    size_t digits = 0, n = 0;

    for (size_t i = 0; i < random.n && digits < (size_t)GROUPS * 4; i++) {
        if (random.p[i] >= 250) /* or some digits would come more often */
            continue;
        if (digits > 0 && digits % 4 == 0)
            ret[n++] = '-';
        ret[n++] = (char)('0' + random.p[i] % 10);
        digits++;
    }
    ret[n] = '\0';
    return n == LL_AUTOCRYPT_CODE_N;
}

/* The armored block, from its first line to its last; blanks and text around it are cut off. */
static bool block(struct ll_slice text, struct ll_slice begin, struct ll_slice end,
                  struct ll_slice *ret)
{
    size_t at = ll_slice_search(text, begin), to;

    if (at == text.n)
        return false;
    text = ll_slice_skip(text, at);
    to = ll_slice_search(text, end);
    if (to == text.n)
        return false;
    *ret = ll_slice_cut(text, 0, to + end.n);
    return true;
}

/* Takes a line off, without its LF or CR LF. */
static bool next_line(struct ll_slice *rest, struct ll_slice *ret)
{
    if (!ll_slice_next(rest, '\n', ret))
        return false;
    if (ret->n > 0 && ret->p[ret->n - 1] == '\r')
        ret->n--;
    return true;
}

/* The value of an armor header line, "Name: value", in the lines up to the first empty one. */
static bool armor_header(struct ll_slice armored, struct ll_slice name, struct ll_slice *ret)
{
    struct ll_slice rest = armored, line;

    next_line(&rest, &line);
    while (next_line(&rest, &line) && ll_slice_trim(line).n > 0) {
        size_t colon = ll_slice_find(line, ':');

        if (colon < line.n && ll_slice_caseeq(ll_slice_cut(line, 0, colon), name)) {
            *ret = ll_slice_trim(ll_slice_skip(line, colon + 1));
            return true;
        }
    }
    return false;
}

/* The block in CR LF lines, `added` (lines with their ends) behind the first one. */
static void put_block(struct ll_slice armored, const char *added, struct ll_buf *out)
{
    struct ll_slice rest = armored, line;
    bool first = true;

    while (next_line(&rest, &line)) {
        ll_buf_put_slice(out, line);
        ll_buf_puts(out, "\r\n");
        if (first)
            ll_buf_puts(out, added);
        first = false;
    }
}

bool ll_autocrypt_setup_key(struct ll_slice armored, bool mutual, struct ll_buf *out)
{
    struct ll_slice key;

    if (!block(armored, KEY_BEGIN, KEY_END, &key))
        return false;
    put_block(key,
              mutual ? "Autocrypt-Prefer-Encrypt: mutual\r\n"
                     : "Autocrypt-Prefer-Encrypt: nopreference\r\n",
              out);
    return !out->failed;
}

bool ll_autocrypt_setup_opened(struct ll_slice text, struct ll_slice *ret_armored, bool *ret_mutual)
{
    struct ll_slice key, value;

    while (text.n > 0 && text.p[0] <= ' ')
        text = ll_slice_skip(text, 1);
    if (!ll_slice_starts(text, KEY_BEGIN) || !block(text, KEY_BEGIN, KEY_END, &key))
        return false;
    *ret_armored = key;
    *ret_mutual = armor_header(key, LL_LIT("Autocrypt-Prefer-Encrypt"), &value) &&
                  ll_slice_caseeq(value, LL_LIT("mutual"));
    return true;
}

bool ll_autocrypt_setup_put(struct ll_buf *out, const struct ll_autocrypt_setup *s, int64_t now,
                            struct ll_slice boundary, struct ll_slice random)
{
    static const char text[] =
        "This letter carries the secret key of your mail to another program of yours. It is\r\n"
        "sealed with the setup code that was shown when the letter was made.\r\n"
        "\r\n"
        "To use the key elsewhere, open the letter there and type the code. To keep it as a\r\n"
        "backup, write the code down and keep it apart from the letter. Nobody will ever ask\r\n"
        "you for the code: whoever has code and letter can read your mail and sign as you.\r\n";
    struct ll_buf added = LL_BUF(200);
    struct ll_slice armored, host = ll_slice_skip(s->address, ll_slice_rfind(s->address, '@') + 1);

    if (!block(s->message, MESSAGE_BEGIN, MESSAGE_END, &armored))
        return false;
    if (s->numeric)
        ll_buf_puts(&added, "Passphrase-Format: numeric9x4\r\n");
    if (s->begin.n > 0)
        ll_buf_printf(&added, "Passphrase-Begin: %.*s\r\n", LL_FMT(s->begin));
    ll_buf_printf(out, "From: <%.*s>\r\nTo: <%.*s>\r\nSubject: Autocrypt Setup Message\r\n",
                  LL_FMT(s->address), LL_FMT(s->address));
    ll_msg_date_put(out, now);
    ll_buf_puts(out, "Message-ID: ");
    ll_msg_id_put(out, now, random, host);
    ll_buf_printf(out,
                  "\r\nAutocrypt-Setup-Message: v1\r\nMIME-Version: 1.0\r\n"
                  "Content-Type: multipart/mixed; boundary=\"%.*s\"\r\n\r\n--%.*s\r\n"
                  "Content-Type: text/plain\r\n\r\n%s--%.*s\r\n"
                  "Content-Type: application/autocrypt-setup\r\nContent-Disposition: attachment;"
                  " filename=\"autocrypt-setup-message.asc\"\r\n\r\n",
                  LL_FMT(boundary), LL_FMT(boundary), text, LL_FMT(boundary));
    put_block(armored, ll_buf_str(&added), out);
    ll_buf_printf(out, "--%.*s--\r\n", LL_FMT(boundary));
    ll_buf_release(&added);
    return !out->failed;
}

/* The one address of a field. */
static bool only_address(struct ll_slice header, const char *field, struct ll_arena *arena,
                         struct ll_mailbox *ret)
{
    struct ll_msg_address *list;
    struct ll_msg_field f;
    size_t n;

    if (!ll_msg_field_find(header, ll_slice_str(field), &f) ||
        ll_msg_addresses(f.body, arena, &list, &n) != LL_MSG_OK || n != 1 ||
        ll_mailbox_parse(list[0].spec, true, ret) != LL_ADDR_OK)
        return false;
    ll_mailbox_lower(ret);
    return true;
}

static enum ll_autocrypt_setup_error
read_part(const struct ll_mime_part *part, struct ll_arena *arena, struct ll_autocrypt_setup *ret)
{
    struct ll_buf text = LL_BUF(part->body.n + 1);
    struct ll_slice armored, format;
    bool found;

    ll_mime_decode(part->encoding, part->body, &text);
    found = block(ll_buf_slice(&text), MESSAGE_BEGIN, MESSAGE_END, &armored);
    armored = found ? ll_arena_dup(arena, armored) : (struct ll_slice){NULL, 0};
    ll_buf_release(&text);
    if (!found)
        return LL_AUTOCRYPT_SETUP_ARMOR;
    if (!armored.p)
        return LL_AUTOCRYPT_SETUP_RESOURCE;
    ret->message = armored;
    ret->numeric = armor_header(armored, LL_LIT("Passphrase-Format"), &format) &&
                   ll_slice_eq(format, LL_LIT("numeric9x4"));
    if (!armor_header(armored, LL_LIT("Passphrase-Begin"), &ret->begin))
        ret->begin = LL_LIT("");
    return LL_AUTOCRYPT_SETUP_OK;
}

enum ll_autocrypt_setup_error ll_autocrypt_setup_read(struct ll_slice letter,
                                                      struct ll_arena *arena,
                                                      struct ll_autocrypt_setup *ret)
{
    struct ll_slice header, body;
    struct ll_autocrypt_setup s = {0};
    struct ll_mailbox from, to;
    struct ll_msg_field f;
    enum ll_autocrypt_setup_error e;
    struct ll_mime mime;
    uint16_t second;

    ll_msg_split(letter, &header, &body);
    if (!ll_msg_field_find(header, LL_LIT("Autocrypt-Setup-Message"), &f))
        return LL_AUTOCRYPT_SETUP_NOT;
    if (!ll_slice_eq(ll_slice_trim(f.body), LL_LIT("v1")))
        return LL_AUTOCRYPT_SETUP_VERSION;
    if (!only_address(header, "From", arena, &from) || !only_address(header, "To", arena, &to) ||
        !ll_slice_eq(ll_mailbox_text(&from), ll_mailbox_text(&to)))
        return LL_AUTOCRYPT_SETUP_STRANGER;
    if (ll_mime_parse(letter, arena, &mime) != LL_MIME_OK ||
        !ll_mime_is(&mime.part[0], "multipart", "mixed") || mime.part[0].n_children < 2)
        return LL_AUTOCRYPT_SETUP_PARTS;
    second = mime.part[mime.part[0].child].next;
    if (!ll_mime_is(&mime.part[second], "application", "autocrypt-setup"))
        return LL_AUTOCRYPT_SETUP_PARTS;
    s.address = ll_arena_dup(arena, ll_mailbox_text(&from));
    if (!s.address.p)
        return LL_AUTOCRYPT_SETUP_RESOURCE;
    e = read_part(&mime.part[second], arena, &s);
    if (e == LL_AUTOCRYPT_SETUP_OK)
        *ret = s;
    return e;
}
