/*
 * Autocrypt: the input as a letter. What its header says is read, written and read again; gossip
 * keeps to whom the letter went; a setup message is opened as far as it can be without a key.
 */
#include <stdint.h>
#include <stdlib.h>

#include "letterlock/autocrypt.h"
#include "letterlock/msg.h"

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void again(const struct ll_autocrypt *a, struct ll_arena *arena)
{
    struct ll_buf out = LL_BUF(1 << 16);
    struct ll_msg_field f;
    struct ll_autocrypt b;

    CHECK(a->keydata.n > 0 && a->address.n > 0);
    if (ll_autocrypt_put(&out, "Autocrypt", a)) {
        CHECK(out.n <= LL_AUTOCRYPT_FIELD_MAX);
        CHECK(ll_msg_field_find(ll_buf_slice(&out), LL_LIT("Autocrypt"), &f) && f.raw.n == out.n);
        CHECK(ll_autocrypt_field(f.body, arena, &b) == LL_AUTOCRYPT_OK);
        CHECK(ll_slice_eq(a->keydata, b.keydata) && ll_slice_eq(a->address, b.address) &&
              a->mutual == b.mutual);
    } else {
        CHECK(out.n == 0);
    }
    ll_buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ll_slice letter = ll_slice(data, size), header, body, author = {NULL, 0}, armored;
    struct ll_autocrypt_setup setup;
    struct ll_autocrypt a, *gossip;
    struct ll_arena arena;
    bool mutual;
    size_t n = 0;

    ll_arena_init(&arena, 64 << 20);
    ll_msg_split(letter, &header, &body);
    if (ll_autocrypt_letter(header, &arena, &author, &a) == LL_AUTOCRYPT_OK) {
        CHECK(ll_slice_eq(a.address, author));
        again(&a, &arena);
    }
    CHECK(ll_autocrypt_date(header, 1000) <= 1000);
    if (ll_autocrypt_gossip(body, header, &arena, &gossip, &n))
        CHECK(n <= LL_AUTOCRYPT_FIELDS_MAX);
    for (size_t i = 0; i < n; i++)
        again(&gossip[i], &arena);
    if (ll_autocrypt_setup_read(letter, &arena, &setup) == LL_AUTOCRYPT_SETUP_OK) {
        CHECK(setup.address.n > 0);
        CHECK(ll_slice_starts(setup.message, LL_LIT("-----BEGIN PGP MESSAGE-----")));
        CHECK(ll_slice_ends(setup.message, LL_LIT("-----END PGP MESSAGE-----")));
    }
    if (ll_autocrypt_setup_opened(body, &armored, &mutual))
        CHECK(armored.n <= body.n && armored.n > 0);
    ll_arena_release(&arena);
    return 0;
}
