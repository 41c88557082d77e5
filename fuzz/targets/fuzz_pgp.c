/*
 * OpenPGP: the first octet chooses what the rest is: a message to open, a signature to verify, keys
 * to import, a user id. The ring holds one secret key, which the seeds are sealed to and signed by.
 */
#include <stdint.h>
#include <stdlib.h>

#include "letterlock/pgp.h"

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            abort();                                                                               \
    } while (0)

#define NOW  1800000000
#define TEXT LL_LIT("signed text\r\n") /* all that the key ever signed */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Made for this, and good for nothing else. */
static const char secret_key[] =
    "xVgEZVPxABYJKwYBBAHaRw8BAQdA1q8YXDngN2yWSbbtJq0n1kkLMgOzKhd1nzS0vZTd1bUAAPwPlf598FpE+XCN"
    "mAD71G+SObWt0MhgVzmBFCICJaBI5hDWzRdGdXp6IDxmdXp6QGV4YW1wbGUub3JnPsKJBBMWCAAxFiEEIDb5wpYr"
    "w2UXYbzt+3ZaToj1OK4FAmVT8QACGwMECwkIBwUVCAkKCwUWAgMBAAAKCRD7dlpOiPU4rrHmAQCvSP0uXeNmFKJJ"
    "FG8llekm5NPJF8jTgJh4j2XluHITFgD+IKEiof+MzrQyprT4DxWn7Xe1viOHtXDBQDaB5njeEArHXQRlU/EAEgor"
    "BgEEAZdVAQUBAQdAU/1m7KapuLs2OQ5LqTkr4VTOZD9oKF0rfFVRnJH+RzUDAQgHAAD/T7IuBb1dB3I+tofcrz3L"
    "PF3Y6jZ2/yeRt4VgeevSVyAQ28J4BBgWCAAgFiEEIDb5wpYrw2UXYbzt+3ZaToj1OK4FAmVT8QACGwwACgkQ+3Za"
    "Toj1OK6c4AEA+kUoPXoViZgTpr4OnUoGGDVhQvjoTDpYsiAHK0tB6Z4BAM2L/WeHB06GHUxvTpk8pN6Y+dMjeOBj"
    "CmLxFpZWA4ME";

static struct ll_pgp *new_ring(void)
{
    struct ll_buf key = LL_BUF(4096);
    struct ll_pgp *ring = ll_pgp_new();
    struct ll_arena arena;
    struct ll_slice *list;
    size_t n;

    ll_arena_init(&arena, 1 << 20);
    CHECK(ring && ll_base64_decode(&key, ll_slice_str(secret_key)));
    CHECK(ll_pgp_import(ring, ll_buf_slice(&key), NOW, &arena, &list, &n) == LL_SEAL_OK && n == 1);
    ll_buf_release(&key);
    ll_arena_release(&arena);
    return ring;
}

/* A good signature is one of the key, over what it signed. */
static void check_signatures(const struct ll_opened *o, struct ll_slice text)
{
    CHECK(o->n_signature <= LL_PGP_SIGNATURES_MAX);
    for (size_t i = 0; i < o->n_signature; i++) {
        const struct ll_signature *s = &o->signature[i];

        CHECK(s->n_address <= LL_PGP_USER_IDS_MAX);
        if (s->state == LL_SIGNATURE_GOOD)
            CHECK(ll_slice_eq(text, TEXT) || ll_slice_eq(text, LL_LIT("signed text\n")) ||
                  ll_slice_eq(text, LL_LIT("signed text")));
    }
}

static void open_message(struct ll_pgp *ring, struct ll_slice in, struct ll_arena *arena)
{
    struct ll_buf out = LL_BUF(8 << 20);
    struct ll_opened o = {0};

    ll_buf_puts(&out, "kept");
    if (ll_pgp_open(ring, in, LL_LIT("password"), NOW, &out, arena, &o) != LL_SEAL_OK) {
        CHECK(out.n == 4);
    } else {
        CHECK(out.n >= 4 && o.encrypted == o.authenticated && o.encrypted == (o.cipher.n > 0));
        check_signatures(&o, ll_slice_skip(ll_buf_slice(&out), 4));
    }
    CHECK(o.n_recipient <= LL_PGP_RECIPIENTS_MAX);
    ll_buf_release(&out);
}

/* With a session key from elsewhere, which is that of none of the seeds. */
static void open_session(struct ll_pgp *ring, struct ll_slice in, struct ll_arena *arena)
{
    struct ll_buf out = LL_BUF(8 << 20), packets = LL_BUF(LL_PGP_SESSION_MAX + 4096);
    struct ll_opened o = {0};

    if (ll_pgp_session_packets(in, &packets) == LL_SEAL_OK)
        CHECK(packets.n > 0);
    if (ll_pgp_open_session(ring, in,
                            LL_LIT("9:0011223344556677001122334455667700112233445566770011"
                                   "223344556677"),
                            NOW, &out, arena, &o) == LL_SEAL_OK)
        CHECK(o.encrypted && o.authenticated);
    else
        CHECK(out.n == 0);
    ll_buf_release(&out);
    ll_buf_release(&packets);
}

static void verify(struct ll_pgp *ring, struct ll_slice in, struct ll_arena *arena)
{
    struct ll_opened o = {0};

    if (ll_pgp_verify(ring, TEXT, in, NOW, arena, &o) == LL_SEAL_OK) {
        CHECK(o.n_signature > 0 && !o.encrypted);
        check_signatures(&o, TEXT);
    }
}

static void import(struct ll_slice in, struct ll_arena *arena)
{
    struct ll_pgp *ring = ll_pgp_new();
    struct ll_buf out = LL_BUF(LL_PGP_KEYS_ROOM);
    struct ll_slice *list;
    struct ll_pgp_key k;
    size_t n = 0;

    CHECK(ring);
    if (ll_pgp_import(ring, in, NOW, arena, &list, &n) == LL_SEAL_OK)
        CHECK(n > 0);
    for (size_t i = 0; i < n && i < 4; i++) {
        CHECK(ll_pgp_key(ring, list[i], NOW, arena, &k) == LL_SEAL_OK);
        CHECK(ll_slice_eq(k.fingerprint, list[i]));
        CHECK(!(k.can_encrypt && (k.revoked || k.expired || !k.valid)));
        if (ll_pgp_export(ring, list[i], LL_PGP_PUBLIC, true, ll_slice(NULL, 0), &out) ==
            LL_SEAL_OK)
            CHECK(out.n > 0);
        if (k.n_user_id)
            ll_pgp_export(ring, list[i], LL_PGP_MINIMAL, false, k.user_id[0].address, &out);
        ll_pgp_encrypt(ring, &list[i], 1, ll_slice(NULL, 0), TEXT, NOW, &out);
    }
    ll_buf_release(&out);
    ll_pgp_free(ring);
}

static void user_id(struct ll_slice in)
{
    struct ll_buf once = LL_BUF(1 << 16), twice = LL_BUF(1 << 16);

    if (ll_pgp_user_id_address(in, &once)) {
        CHECK(ll_pgp_user_id_address(ll_buf_slice(&once), &twice));
        CHECK(ll_slice_eq(ll_buf_slice(&once), ll_buf_slice(&twice)));
    }
    ll_buf_release(&once);
    ll_buf_release(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct ll_pgp *ring;
    struct ll_slice in = ll_slice_skip(ll_slice(data, size), 1);
    struct ll_arena arena;

    if (size == 0)
        return 0;
    if (!ring)
        ring = new_ring();
    ll_arena_init(&arena, 4 << 20);
    switch (data[0] % 4) {
    case 0:
        open_message(ring, in, &arena);
        open_session(ring, in, &arena);
        break;
    case 1:
        verify(ring, in, &arena);
        break;
    case 2:
        import(in, &arena);
        break;
    default:
        user_id(in);
    }
    ll_arena_release(&arena);
    return 0;
}
