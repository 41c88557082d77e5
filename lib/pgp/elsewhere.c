/* See include/letterlock/pgp.h: letters whose secret key is on a card. */
#include <openssl/evp.h>

#include "lib/pgp/packet.h"
#include "lib/pgp/ring.h"

#define CIPHER_AES256 9 /* RFC 4880 9.2 */
#define HASH_SHA256   8 /* RFC 4880 9.4 */
#define KEY_MAX       33
/* What stretches to the key of the packet that carries the session key: no secret, as both are
 * here. */
#define CARRIER LL_LIT("session")

static void put_packet(struct ll_buf *out, uint8_t tag, struct ll_slice body)
{
    ll_buf_u8(out, (uint8_t)(0xc0 | tag)); /* RFC 4880 4.2.2.3: a length of five octets */
    ll_buf_u8(out, 0xff);
    ll_buf_u32(out, (uint32_t)body.n);
    ll_buf_put_slice(out, body);
}

/* Takes the session keys for recipients off the front of a message, and leaves what is sealed. */
static enum ll_seal_error split(struct ll_slice *packets, struct ll_buf *keys, uint8_t *ret_tag)
{
    struct ll_slice rest = *packets;
    struct ll_pgp_packet p;
    size_t n = 0;

    while (ll_pgp_packet_next(&rest, &p)) {
        if (p.tag == LL_PGP_TAG_PKESK) {
            if (++n > LL_PGP_RECIPIENTS_MAX)
                return LL_SEAL_TOO_LARGE;
            put_packet(keys, p.tag, p.body);
        } else if (p.tag == LL_PGP_TAG_SEIPD || p.tag == LL_PGP_TAG_OCB) {
            *ret_tag = p.tag;
            return n == 0 ? LL_SEAL_NO_KEY : keys->failed ? LL_SEAL_RESOURCE : LL_SEAL_OK;
        } else if (p.tag == LL_PGP_TAG_ENCRYPTED) {
            return LL_SEAL_INTEGRITY;
        } else if (p.tag != LL_PGP_TAG_SKESK && p.tag != LL_PGP_TAG_MARKER) {
            break;
        }
        *packets = rest;
    }
    return LL_SEAL_MALFORMED;
}

enum ll_seal_error ll_pgp_session_packets(struct ll_slice message, struct ll_buf *out)
{
    struct ll_buf room = LL_BUF(0), keys = LL_BUF(LL_PGP_SESSION_MAX);
    struct ll_slice packets = {0};
    enum ll_seal_error error = LL_SEAL_TOO_LARGE;
    uint8_t tag = 0;

    if (message.n <= LL_PGP_MESSAGE_MAX)
        error = ll_pgp_dearmor(message, &room, &packets);
    if (!error)
        error = split(&packets, &keys, &tag);
    if (!error) {
        ll_buf_put_slice(out, ll_buf_slice(&keys));
        /* Nobody tells the session key of nothing. */
        put_packet(out, LL_PGP_TAG_SEIPD, LL_LIT("\1not the letter, but in its place"));
    }
    ll_buf_release(&keys);
    ll_buf_release(&room);
    return error;
}

/* "9:0123..." as GnuPG writes it: the cipher's octet and the key's, as they are encrypted. */
static bool read_session_key(struct ll_slice text, uint8_t key[KEY_MAX], size_t *ret_n)
{
    struct ll_buf octets = LL_BUF(KEY_MAX - 1);
    struct ll_slice cipher = {0};
    uint64_t number = 0;
    bool ok = ll_slice_next(&text, ':', &cipher) && ll_slice_u64(cipher, &number) && number > 0 &&
              number < 128 && ll_hex_decode(&octets, text) && octets.n > 0;

    if (ok) {
        key[0] = (uint8_t)number;
        memcpy(key + 1, octets.p, octets.n);
        *ret_n = octets.n + 1;
    }
    ll_buf_wipe(&octets);
    return ok;
}

/* A session key packet for a password (RFC 4880 5.3) with that key in it: AES-256 in CFB mode, the
 * password hashed once. */
static bool put_carrier(struct ll_buf *out, const uint8_t *key, size_t n)
{
    static const uint8_t iv[16];
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t secret[32], sealed[KEY_MAX + 16];
    struct ll_buf body = LL_BUF(128);
    int done = 0;
    bool ok;

    ok = ctx && EVP_Digest(CARRIER.p, CARRIER.n, secret, NULL, EVP_sha256(), NULL) == 1 &&
         EVP_EncryptInit_ex(ctx, EVP_aes_256_cfb128(), NULL, secret, iv) == 1 &&
         EVP_EncryptUpdate(ctx, sealed, &done, key, (int)n) == 1 && (size_t)done == n;
    if (ok) {
        ll_buf_u8(&body, 4);
        ll_buf_u8(&body, CIPHER_AES256);
        ll_buf_u8(&body, 0); /* simple: once (RFC 4880 3.7.1.1) */
        ll_buf_u8(&body, HASH_SHA256);
        ll_buf_put(&body, sealed, n);
        put_packet(out, LL_PGP_TAG_SKESK, ll_buf_slice(&body));
    }
    explicit_bzero(secret, sizeof(secret));
    ll_buf_wipe(&body);
    EVP_CIPHER_CTX_free(ctx);
    return ok && !out->failed;
}

enum ll_seal_error ll_pgp_open_session(struct ll_pgp *ring, struct ll_slice message,
                                       struct ll_slice session_key, int64_t now, struct ll_buf *out,
                                       struct ll_arena *arena, struct ll_opened *ret)
{
    struct ll_buf room = LL_BUF(0), again = LL_BUF(0);
    struct ll_slice packets = {0};
    enum ll_seal_error error = LL_SEAL_TOO_LARGE;
    uint8_t key[KEY_MAX], tag = 0;
    size_t n = 0;

    if (message.n <= LL_PGP_MESSAGE_MAX)
        error = ll_pgp_dearmor(message, &room, &packets);
    ll_buf_init(&again, packets.n + 2 * LL_PGP_SESSION_MAX);
    if (!error)
        error = split(&packets, &again, &tag);
    if (!error && !read_session_key(session_key, key, &n))
        error = LL_SEAL_MALFORMED;
    if (!error && !put_carrier(&again, key, n))
        error = LL_SEAL_RESOURCE;
    ll_buf_put_slice(&again, packets);
    if (!error && again.failed)
        error = LL_SEAL_RESOURCE;
    if (!error)
        error = ll_pgp_open(ring, ll_buf_slice(&again), CARRIER, now, out, arena, ret);
    if (error == LL_SEAL_PASSWORD)
        error = LL_SEAL_INTEGRITY; /* the key is of another letter */
    explicit_bzero(key, sizeof(key));
    ll_buf_release(&again);
    ll_buf_release(&room);
    return error;
}
