/* See packet.h. */
#include "lib/pgp/packet.h"

#include "lib/pgp/ring.h"

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

enum ll_seal_error ll_pgp_dearmor(struct ll_slice octets, size_t max, struct ll_buf *room,
                                  struct ll_slice *ret)
{
    struct ll_pgp_sink sink;
    rnp_input_t input = NULL;
    rnp_result_t code = RNP_ERROR_OUT_OF_MEMORY;

    /* A packet begins with the top bit set, armor with a letter, a dash or a blank. */
    if (octets.n > 0 && (octets.p[0] & 0x80)) {
        *ret = octets;
        return LL_SEAL_OK;
    }
    ll_buf_init(room, max);
    if (ll_pgp_sink_open(&sink, room, max) == RNP_SUCCESS &&
        rnp_input_from_memory(&input, octets.p, octets.n, false) == RNP_SUCCESS)
        code = rnp_dearmor(input, sink.output);
    rnp_input_destroy(input);
    ll_pgp_sink_close(&sink, code == RNP_SUCCESS && !sink.full);
    if (sink.full)
        return LL_SEAL_TOO_LARGE;
    *ret = ll_buf_slice(room);
    return ll_pgp_error(code);
}

unsigned ll_pgp_key_version(struct ll_slice octets)
{
    struct ll_buf room = LL_BUF(0);
    struct ll_pgp_packet p;
    struct ll_slice rest;
    unsigned version = 0;

    if (ll_pgp_dearmor(octets, LL_PGP_KEYS_ROOM, &room, &rest) == LL_SEAL_OK)
        while (!version && ll_pgp_packet_next(&rest, &p))
            if ((p.tag == LL_PGP_TAG_PUBLIC_KEY || p.tag == LL_PGP_TAG_SECRET_KEY) && p.body.n > 0)
                version = p.body.p[0];
    ll_buf_release(&room);
    return version;
}
