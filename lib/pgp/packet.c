/* See packet.h. */
#include "lib/pgp/packet.h"

/* New format (RFC 4880 4.2.2): the length, or an open end. */
static size_t new_length(struct ll_cursor *c, bool *ret_open)
{
    uint8_t first = ll_cur_u8(c);

    if (first < 192)
        return first;
    if (first < 224)
        return ((size_t)(first - 192) << 8) + ll_cur_u8(c) + 192;
    if (first == 255)
        return ll_cur_u32(c);
    *ret_open = true; /* partial: parts follow each other; only the first octets matter here */
    return ll_cur_left(c);
}

/* Old format (RFC 4880 4.2.1). */
static size_t old_length(struct ll_cursor *c, uint8_t type, bool *ret_open)
{
    switch (type) {
    case 0:
        return ll_cur_u8(c);
    case 1:
        return ll_cur_u16(c);
    case 2:
        return ll_cur_u32(c);
    default:
        *ret_open = true;
        return ll_cur_left(c);
    }
}

bool ll_pgp_packet_next(struct ll_slice *rest, struct ll_pgp_packet *ret)
{
    struct ll_cursor c = ll_cursor(*rest);
    struct ll_pgp_packet p = {0};
    uint8_t head;
    size_t n;

    if (rest->n == 0)
        return false;
    head = ll_cur_u8(&c);
    if (!(head & 0x80))
        return false;
    if (head & 0x40) {
        p.tag = head & 0x3f;
        n = new_length(&c, &p.open);
    } else {
        p.tag = (head >> 2) & 0x0f;
        n = old_length(&c, head & 3, &p.open);
    }
    p.body = ll_cur_bytes(&c, n);
    if (c.failed)
        return false;
    *rest = ll_slice_skip(*rest, c.at);
    *ret = p;
    return true;
}

/* ---- armor ---- */

#define BEGIN "-----BEGIN PGP "
#define END   "-----END PGP "

/* The next line, without what blanks and line ends are after it. */
static bool next_line(struct ll_slice *rest, struct ll_slice *ret)
{
    struct ll_slice line;

    if (rest->n == 0)
        return false;
    ll_slice_next(rest, '\n', &line);
    while (line.n > 0 && (line.p[line.n - 1] == '\r' || ll_is_blank(line.p[line.n - 1])))
        line.n--;
    *ret = line;
    return true;
}

/* Behind the next block's headers: the first line of its body. */
static bool find_block(struct ll_slice *rest)
{
    struct ll_slice line;

    while (next_line(rest, &line))
        if (ll_slice_starts(line, LL_LIT(BEGIN)) && ll_slice_ends(line, LL_LIT("-----"))) {
            while (next_line(rest, &line) && line.n > 0)
                if (ll_slice_search(line, LL_LIT(": ")) == line.n &&
                    !ll_slice_ends(line, LL_LIT(":")))
                    return false; /* no header, no empty line: no armor */
            return true;
        }
    return false;
}

/* Lines of whole groups are decoded as they stand. Others are gathered in `odd`, with all that
 * follow: nobody writes them, but they are allowed. */
static bool take_line(struct ll_slice line, struct ll_buf *odd, struct ll_buf *room, bool *padded)
{
    if (line.n == 0)
        return true;
    if (*padded)
        return false; /* digits behind the end */
    if (odd->n > 0 || line.n % 4 != 0) {
        ll_buf_put_slice(odd, line);
        return !odd->failed;
    }
    *padded = line.p[line.n - 1] == '=';
    return ll_base64_decode(room, line);
}

bool ll_pgp_armor_next(struct ll_slice *rest, struct ll_buf *room, bool *ret_bad)
{
    struct ll_buf odd = LL_BUF(rest->n);
    struct ll_slice line = {0}, begin = LL_LIT(BEGIN);
    bool ended = false, sum = false, padded = false, ok = true;

    ll_buf_clear(room);
    *ret_bad = ll_slice_search(*rest, begin) < rest->n;
    if (!find_block(rest))
        return false;
    while (ok && !ended && next_line(rest, &line)) {
        ended = ll_slice_starts(line, LL_LIT(END));
        sum |= line.n > 0 && line.p[0] == '=';
        if (!ended && !sum)
            ok = take_line(line, &odd, room, &padded);
    }
    ok = ok && ended && ll_base64_decode(room, ll_buf_slice(&odd));
    ll_buf_wipe(&odd); /* it may be a secret key */
    *ret_bad = !ok;
    return ok;
}

enum ll_seal_error ll_pgp_dearmor(struct ll_slice octets, struct ll_buf *room, struct ll_slice *ret)
{
    bool bad;

    /* A packet begins with the top bit set, armor with a letter, a dash or a blank. */
    if (octets.n > 0 && (octets.p[0] & 0x80)) {
        *ret = octets;
        return LL_SEAL_OK;
    }
    ll_buf_init(room, octets.n);
    if (!ll_pgp_armor_next(&octets, room, &bad))
        return room->failed ? LL_SEAL_RESOURCE : LL_SEAL_MALFORMED;
    *ret = ll_buf_slice(room);
    return room->n ? LL_SEAL_OK : LL_SEAL_MALFORMED;
}

unsigned ll_pgp_key_version(struct ll_slice octets)
{
    struct ll_buf room = LL_BUF(0);
    struct ll_pgp_packet p;
    struct ll_slice rest;
    unsigned version = 0;

    if (ll_pgp_dearmor(octets, &room, &rest) == LL_SEAL_OK)
        while (!version && ll_pgp_packet_next(&rest, &p))
            if ((p.tag == LL_PGP_TAG_PUBLIC_KEY || p.tag == LL_PGP_TAG_SECRET_KEY) && p.body.n > 0)
                version = p.body.p[0];
    ll_buf_release(&room);
    return version;
}
