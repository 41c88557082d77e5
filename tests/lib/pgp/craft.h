/* Messages that no honest program writes: packets put together by hand, sealed by librnp as they
 * are. */
#ifndef LETTERLOCK_TESTS_LIB_PGP_CRAFT_H
#define LETTERLOCK_TESTS_LIB_PGP_CRAFT_H

#include <zlib.h>

#include "lib/pgp/ring.h"
#include "tests/lib/pgp/world.h"

/* A packet with a new-format header and a length of five octets (RFC 4880 4.2.2.3). */
static inline void put_packet(struct ll_buf *out, uint8_t tag, struct ll_slice body)
{
    ll_buf_u8(out, (uint8_t)(0xc0 | tag));
    ll_buf_u8(out, 0xff);
    ll_buf_u32(out, (uint32_t)body.n);
    ll_buf_put_slice(out, body);
}

/* Literal data (RFC 4880 5.9): binary, no name, no date. */
static inline void put_literal(struct ll_buf *out, struct ll_slice text)
{
    struct ll_buf body = BUF;

    ll_buf_u8(&body, 'b');
    ll_buf_u8(&body, 0);
    ll_buf_u32(&body, 0);
    ll_buf_put_slice(&body, text);
    put_packet(out, 11, ll_buf_slice(&body));
    ll_buf_release(&body);
}

/* Compressed data (RFC 4880 5.6), zlib. */
static inline void put_compressed(struct ll_buf *out, struct ll_slice packets)
{
    struct ll_buf body = BUF;
    uLongf n = compressBound(packets.n);
    uint8_t *room;

    ll_buf_u8(&body, 2);
    room = ll_buf_room(&body, n);
    assert_non_null(room);
    assert_int_equal(compress2(room, &n, packets.p, packets.n, 9), Z_OK);
    ll_buf_grew(&body, n);
    put_packet(out, 8, ll_buf_slice(&body));
    ll_buf_release(&body);
}

/* Encrypts packets as they are, without a literal packet around them; binary. */
static inline void seal_packets(struct ll_pgp *ring, struct ll_slice fingerprint,
                                struct ll_slice packets, const char *cipher, struct ll_buf *out)
{
    rnp_op_encrypt_t op = NULL;
    rnp_input_t input = NULL;
    rnp_output_t output = NULL;
    rnp_key_handle_t key = NULL;
    uint8_t *octets;
    size_t n;

    ll_pgp_begin(ring, NOW);
    assert_ok(ll_pgp_pick(ring, fingerprint, LL_PGP_TO_ENCRYPT, NOW, &key));
    assert_int_equal(rnp_input_from_memory(&input, packets.p, packets.n, false), RNP_SUCCESS);
    assert_int_equal(rnp_output_to_memory(&output, 0), RNP_SUCCESS);
    assert_int_equal(rnp_op_encrypt_create(&op, ring->ffi, input, output), RNP_SUCCESS);
    assert_int_equal(rnp_op_encrypt_add_recipient(op, key), RNP_SUCCESS);
    assert_int_equal(rnp_op_encrypt_set_cipher(op, cipher), RNP_SUCCESS);
    assert_int_equal(rnp_op_encrypt_set_flags(op, RNP_ENCRYPT_NOWRAP), RNP_SUCCESS);
    assert_int_equal(rnp_op_encrypt_execute(op), RNP_SUCCESS);
    assert_int_equal(rnp_output_memory_get_buf(output, &octets, &n, false), RNP_SUCCESS);
    ll_buf_put(out, octets, n);
    rnp_op_encrypt_destroy(op);
    rnp_output_destroy(output);
    rnp_input_destroy(input);
    rnp_key_handle_destroy(key);
    ll_pgp_end(ring);
}

#endif
