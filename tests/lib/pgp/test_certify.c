/* OCB (packet 20) goes to those alone whose keys ask for it. Nothing here makes such keys, so one
 * is made by hand: a self-signature with the feature in it (RFC 4880 5.2.3.24, 5.2.4). */
#include "tests/lib/pgp/craft.h"

#include <openssl/evp.h>

#include "lib/pgp/packet.h"

#define FEATURES 30
#define AEAD     0x02
#define CERTIFY  0x01 /* flags */
#define BOTH     0x03 /* certify and sign */

/* The first packet of a kind in a key. */
static struct ll_slice find(struct ll_slice packets, uint8_t tag)
{
    struct ll_pgp_packet p;

    while (ll_pgp_packet_next(&packets, &p))
        if (p.tag == tag)
            return p.body;
    fail_msg("the key has no packet %u", (unsigned)tag);
    return NOTHING;
}

/* Octets of a multiprecision integer (RFC 4880 3.2). */
static struct ll_slice mpi(struct ll_cursor *c)
{
    return ll_cur_bytes(c, (ll_cur_u16(c) + 7u) / 8);
}

static void put_mpi(struct ll_buf *out, struct ll_slice n)
{
    unsigned bits;

    while (n.n > 0 && n.p[0] == 0)
        n = ll_slice_skip(n, 1);
    bits = (unsigned)n.n * 8;
    for (unsigned top = n.n ? n.p[0] : 0; top && !(top & 0x80); top <<= 1)
        bits--;
    ll_buf_u16(out, (uint16_t)bits);
    ll_buf_put_slice(out, n);
}

/* Signs the SHA-256 hash of text with the secret part of an unprotected Ed25519 key. */
static void sign(struct ll_slice secret_key, struct ll_slice text, uint8_t hash[32],
                 uint8_t signature[64])
{
    struct ll_cursor c = ll_cursor(secret_key);
    struct ll_slice secret;
    uint8_t raw[32] = {0};
    size_t n = 64;
    EVP_PKEY *key;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    ll_cur_bytes(&c, 6); /* version, time, algorithm */
    ll_cur_bytes(&c, ll_cur_u8(&c));
    mpi(&c);
    assert_int_equal(ll_cur_u8(&c), 0); /* not protected */
    secret = mpi(&c);
    assert_false(c.failed || secret.n > 32);
    memcpy(raw + 32 - secret.n, secret.p, secret.n);
    key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, raw, 32);
    assert_int_equal(EVP_Digest(text.p, text.n, hash, NULL, EVP_sha256(), NULL), 1);
    assert_int_equal(EVP_DigestSignInit(ctx, NULL, NULL, NULL, key), 1);
    assert_int_equal(EVP_DigestSign(ctx, signature, &n, hash, 32), 1);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
}

/* The part of the signature that it signs itself: a certification with time, key flags, features.
 */
static void put_head(struct ll_buf *out, struct ll_slice fingerprint, uint8_t flags,
                     uint8_t features)
{
    struct ll_buf sub = BUF;

    ll_buf_puts(&sub, "\x16\x21\x04"); /* issuer fingerprint */
    assert_true(ll_hex_decode(&sub, fingerprint));
    ll_buf_put(&sub, "\x05\x02", 2);
    ll_buf_u32(&sub, NOW + 1);
    ll_buf_put(&sub, "\x02\x1b", 2);
    ll_buf_u8(&sub, flags);
    ll_buf_u8(&sub, 2);
    ll_buf_u8(&sub, FEATURES);
    ll_buf_u8(&sub, features);
    ll_buf_put(out, "\x04\x13\x16\x08", 4); /* version, certification, EdDSA, SHA-256 */
    ll_buf_u16(out, (uint16_t)sub.n);
    ll_buf_put_slice(out, ll_buf_slice(&sub));
    ll_buf_release(&sub);
}

/* Gives a key of the ring a newer self-signature with these flags and features. */
static void certify(struct ll_pgp *ring, struct ll_slice fingerprint, uint8_t flags,
                    uint8_t features, struct ll_arena *arena)
{
    struct ll_buf secret = BUF, public = BUF, head = BUF, text = BUF, body = BUF, key = BUF;
    uint8_t hash[32], signature[64];
    struct ll_slice *list, pub, uid;
    size_t n;

    assert_ok(ll_pgp_export(ring, fingerprint, LL_PGP_SECRET, false, NOTHING, &secret));
    assert_ok(ll_pgp_export(ring, fingerprint, LL_PGP_PUBLIC, false, NOTHING, &public));
    pub = find(TEXT(public), LL_PGP_TAG_PUBLIC_KEY);
    uid = find(TEXT(public), LL_PGP_TAG_USER_ID);
    put_head(&head, fingerprint, flags, features);
    ll_buf_u8(&text, 0x99);
    ll_buf_str16(&text, pub);
    ll_buf_u8(&text, 0xb4);
    ll_buf_str32(&text, uid);
    ll_buf_put_slice(&text, TEXT(head));
    ll_buf_put(&text, "\x04\xff", 2);
    ll_buf_u32(&text, (uint32_t)head.n);
    sign(find(TEXT(secret), LL_PGP_TAG_SECRET_KEY), TEXT(text), hash, signature);
    ll_buf_put_slice(&body, TEXT(head));
    ll_buf_u16(&body, 0); /* nothing unsigned */
    ll_buf_put(&body, hash, 2);
    put_mpi(&body, ll_slice(signature, 32));
    put_mpi(&body, ll_slice(signature + 32, 32));
    put_packet(&key, LL_PGP_TAG_PUBLIC_KEY, pub);
    put_packet(&key, LL_PGP_TAG_USER_ID, uid);
    put_packet(&key, LL_PGP_TAG_SIGNATURE, TEXT(body));
    assert_ok(ll_pgp_import(ring, TEXT(key), NOW + 2, arena, &list, &n));
    assert_true(n == 1 && ll_slice_eq(list[0], fingerprint));
    ll_buf_release(&secret);
    ll_buf_release(&public);
    ll_buf_release(&head);
    ll_buf_release(&text);
    ll_buf_release(&body);
    ll_buf_release(&key);
}

/* What encrypts the message: the tag of its last packet. */
static uint8_t sealed_by(struct ll_slice message)
{
    struct ll_buf room = BUF;
    struct ll_slice packets;
    struct ll_pgp_packet p = {0};

    assert_ok(ll_pgp_dearmor(message, &room, &packets));
    while (ll_pgp_packet_next(&packets, &p))
        ;
    ll_buf_release(&room);
    return p.tag;
}

static void ocb_is_for_those_who_ask(void **state)
{
    struct ll_arena arena;
    struct ll_pgp *ring = ll_pgp_new();
    struct ll_buf sealed = BUF, out = BUF;
    struct ll_slice to[2];
    struct ll_pgp_key k;
    struct ll_opened o;

    ll_arena_init(&arena, 16 << 20);
    to[0] = make(ring, &arena, "Ann <ann@example.org>");
    to[1] = make(ring, &arena, "Bob <bob@example.net>");
    certify(ring, to[0], BOTH, AEAD, &arena);
    assert_ok(ll_pgp_key(ring, to[0], NOW + 2, &arena, &k));
    assert_true(k.prefers_ocb && k.can_encrypt && k.can_sign);
    assert_ok(ll_pgp_encrypt(ring, to, 1, to[0], LL_LIT("text"), NOW + 2, &sealed));
    assert_int_equal(sealed_by(TEXT(sealed)), LL_PGP_TAG_OCB);
    assert_ok(ll_pgp_open(ring, TEXT(sealed), NOTHING, NOW + 2, &out, &arena, &o));
    assert_text(TEXT(out), "text");
    assert_text(o.cipher, "aes256, aead-ocb");
    assert_true(o.authenticated);
    /* One who does not ask, and all get what everybody reads; in either order. */
    for (int i = 0; i < 2; i++) {
        struct ll_slice first = to[0];

        ll_buf_clear(&sealed);
        assert_ok(ll_pgp_encrypt(ring, to, 2, NOTHING, LL_LIT("text"), NOW + 2, &sealed));
        assert_int_equal(sealed_by(TEXT(sealed)), LL_PGP_TAG_SEIPD);
        to[0] = to[1];
        to[1] = first;
    }
    /* The same signature without the feature: not asked. */
    certify(ring, to[1], BOTH, 0x01, &arena);
    assert_ok(ll_pgp_key(ring, to[1], NOW + 2, &arena, &k));
    assert_false(k.prefers_ocb);
    ll_pgp_free(ring);
    ll_arena_release(&arena);
    ll_buf_release(&sealed);
    ll_buf_release(&out);
}

/* Nothing of a changed OCB message comes out either, although it is proven chunk by chunk. */
static void changed_chunks_do_not_open(void **state)
{
    struct ll_arena arena;
    struct ll_pgp *ring = ll_pgp_new();
    struct ll_buf sealed = BUF, out = BUF, text = BUF, room = BUF, message = BUF;
    struct ll_slice key, packets;
    struct ll_opened o;

    ll_arena_init(&arena, 64 << 20);
    key = make(ring, &arena, "Ann <ann@example.org>");
    certify(ring, key, BOTH, AEAD, &arena);
    for (size_t i = 0; i < 1000; i++)
        ll_buf_puts(&text, "Every line of this is a secret.\r\n");
    assert_ok(ll_pgp_encrypt(ring, &key, 1, NOTHING, TEXT(text), NOW + 2, &sealed));
    assert_ok(ll_pgp_dearmor(TEXT(sealed), &room, &packets));
    ll_buf_put_slice(&message, packets);
    for (size_t i = 0; i < message.n; i += 64) {
        message.p[i] ^= 1;
        assert_int_not_equal(ll_pgp_open(ring, TEXT(message), NOTHING, NOW + 2, &out, &arena, &o),
                             LL_SEAL_OK);
        assert_int_equal(out.n, 0);
        assert_true(!out.p || !memmem(out.p, out.cap, "secret", 6));
        message.p[i] ^= 1;
    }
    assert_ok(ll_pgp_open(ring, TEXT(message), NOTHING, NOW + 2, &out, &arena, &o));
    ll_pgp_free(ring);
    ll_arena_release(&arena);
    ll_buf_release(&sealed);
    ll_buf_release(&out);
    ll_buf_release(&text);
    ll_buf_release(&room);
    ll_buf_release(&message);
}

static void a_key_that_is_not_for_signing_proves_nothing(void **state)
{
    struct ll_arena arena;
    struct ll_pgp *ring = ll_pgp_new();
    struct ll_buf sig = BUF;
    struct ll_slice key;
    struct ll_pgp_key k;
    struct ll_opened o;

    ll_arena_init(&arena, 16 << 20);
    key = make(ring, &arena, "Ann <ann@example.org>");
    assert_ok(ll_pgp_sign(ring, key, LL_LIT("text"), NOW, &sig));
    assert_ok(ll_pgp_verify(ring, LL_LIT("text"), TEXT(sig), NOW, &arena, &o));
    assert_int_equal(o.signature[0].state, LL_SIGNATURE_GOOD);
    certify(ring, key, CERTIFY, 0x01, &arena);
    assert_ok(ll_pgp_key(ring, key, NOW + 2, &arena, &k));
    assert_true(k.valid && !k.can_sign && k.can_encrypt);
    assert_ok(ll_pgp_verify(ring, LL_LIT("text"), TEXT(sig), NOW + 2, &arena, &o));
    assert_int_equal(o.signature[0].state, LL_SIGNATURE_PURPOSE);
    assert_error(ll_pgp_sign(ring, key, LL_LIT("text"), NOW + 2, &sig), LL_SEAL_UNUSABLE_KEY);
    ll_pgp_free(ring);
    ll_arena_release(&arena);
    ll_buf_release(&sig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ocb_is_for_those_who_ask),
        cmocka_unit_test(changed_chunks_do_not_open),
        cmocka_unit_test(a_key_that_is_not_for_signing_proves_nothing),
    };

    return cmocka_run_group_tests_name("pgp self-signatures", tests, NULL, NULL);
}
