/* put_key STORE TRUST FILE [KEY]: puts keys into a key store, for tests: OpenPGP keys (FILE armored
 * or not), or certificates (PEM) with the secret key of the first one in KEY. TRUST: verified,
 * rejected or undecided. Prints the fingerprints. */
#include "io/keystore.h"
#include "letterlock/pgp.h"
#include "letterlock/smime.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ROOM (1u << 22)

static struct ll_arena arena;
static struct ll_keystore *store;
static enum ll_keystore_trust trust;
static int64_t now, seen_at; /* keys of today were seen yesterday */

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "put_key: %s\n", what);
    exit(1);
}

static struct ll_slice read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    uint8_t *p = ll_arena_alloc(&arena, ROOM);
    size_t n;

    if (!f || !p)
        fail(path);
    n = fread(p, 1, ROOM, f);
    fclose(f);
    return ll_slice(p, n);
}

static void put(const struct ll_keystore_key *k, struct ll_slice secret)
{
    struct ll_buf err = LL_BUF(4096);
    enum ll_keystore_seen seen;
    struct ll_slice other;

    if (ll_keystore_put(store, k, secret, LL_KEYSTORE_IMPORT, LL_LIT("test"), seen_at, &arena,
                        &seen, &other, &err) != LL_KEYSTORE_OK ||
        (trust != LL_KEYSTORE_UNDECIDED &&
         ll_keystore_decide(store, k->kind, k->fingerprint, trust, LL_LIT("test"), seen_at, &err) !=
             LL_KEYSTORE_OK))
        fail(ll_buf_str(&err));
    printf("%.*s\n", LL_FMT(k->fingerprint));
    ll_buf_release(&err);
}

static void put_pgp(struct ll_pgp *ring, struct ll_slice fingerprint)
{
    struct ll_buf public = LL_BUF(ROOM), secret = LL_BUF(ROOM);
    struct ll_slice address[LL_PGP_USER_IDS_MAX];
    struct ll_keystore_key k = {.kind = LL_SEAL_PGP, .address = address};
    struct ll_pgp_key key;

    if (ll_pgp_key(ring, fingerprint, now, &arena, &key) != LL_SEAL_OK ||
        ll_pgp_export(ring, fingerprint, LL_PGP_PUBLIC, false, LL_LIT(""), &public) != LL_SEAL_OK)
        fail("a key cannot be exported");
    if (key.secret)
        ll_pgp_export(ring, fingerprint, LL_PGP_SECRET, false, LL_LIT(""), &secret);
    for (size_t i = 0; i < key.n_user_id; i++)
        if (key.user_id[i].address.n > 0)
            address[k.n_address++] = key.user_id[i].address;
    k.fingerprint = key.fingerprint;
    k.octets = ll_buf_slice(&public);
    k.name = key.n_user_id > 0 ? key.user_id[0].octets : LL_LIT("");
    k.created = key.created;
    k.expires = key.expires;
    k.can_encrypt = key.can_encrypt;
    put(&k, ll_buf_slice(&secret));
    ll_buf_release(&public);
    ll_buf_wipe(&secret);
}

static void put_cert(struct ll_smime *s, struct ll_slice fingerprint, struct ll_slice secret)
{
    struct ll_smime_cert c;

    if (ll_smime_cert(s, fingerprint, &arena, &c) != LL_SEAL_OK)
        fail("a certificate cannot be read");
    put(&(struct ll_keystore_key){.kind = LL_SEAL_SMIME,
                                  .fingerprint = c.fingerprint,
                                  .octets = c.der,
                                  .name = c.subject,
                                  .address = c.address,
                                  .n_address = c.n_address,
                                  .created = c.not_before,
                                  .expires = c.not_after,
                                  .ca = c.ca,
                                  .can_encrypt = c.can_encrypt},
        secret);
}

static void put_all(struct ll_slice file, const char *key)
{
    struct ll_pgp *ring = ll_pgp_new();
    struct ll_smime *s = ll_smime_new();
    struct ll_slice *names;
    size_t n;

    if (!ring || !s)
        fail("no memory");
    if (ll_pgp_import(ring, file, now, &arena, &names, &n) == LL_SEAL_OK)
        for (size_t i = 0; i < n; i++)
            put_pgp(ring, names[i]);
    else if (ll_smime_add_cert(s, file, &arena, &names, &n) == LL_SEAL_OK)
        for (size_t i = 0; i < n; i++)
            put_cert(s, names[i], key && i == 0 ? read_file(key) : LL_LIT(""));
    else
        fail("neither OpenPGP keys nor certificates");
    ll_pgp_free(ring);
    ll_smime_free(s);
}

int main(int argc, char **argv)
{
    struct ll_buf err = LL_BUF(4096);

    if (argc < 4)
        fail("put_key STORE TRUST FILE [KEY]");
    ll_arena_init(&arena, 1u << 28);
    now = time(NULL);
    seen_at = now - 86400;
    trust = strcmp(argv[2], "verified") == 0   ? LL_KEYSTORE_VERIFIED
            : strcmp(argv[2], "rejected") == 0 ? LL_KEYSTORE_REJECTED
                                               : LL_KEYSTORE_UNDECIDED;
    if (ll_keystore_open(argv[1], true, &store, &err) != LL_KEYSTORE_OK)
        fail(ll_buf_str(&err));
    put_all(read_file(argv[3]), argc > 4 ? argv[4] : NULL);
    ll_keystore_close(store);
    ll_buf_release(&err);
    ll_arena_release(&arena);
    return 0;
}
