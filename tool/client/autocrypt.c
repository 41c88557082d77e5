/* See tool/client/autocrypt.h. */
#include "tool/client/autocrypt.h"

#include "letterlock/msg.h"

#include <sysexits.h>

static int told(enum ll_keystore_result r)
{
    return r == LL_KEYSTORE_OK || r == LL_KEYSTORE_NONE ? 0
           : r == LL_KEYSTORE_BUSY                      ? EX_TEMPFAIL
           : r == LL_KEYSTORE_REFUSED                   ? EX_NOPERM
                                                        : EX_UNAVAILABLE;
}

static struct ll_slice place_of(struct ll_slice header, struct ll_arena *arena)
{
    struct ll_buf b = LL_BUF(1000);
    struct ll_msg_field f;
    struct ll_slice place = LL_LIT("");

    if (ll_msg_field_find(header, LL_LIT("Message-ID"), &f)) {
        ll_msg_unfold(f.body, &b);
        place = ll_arena_dup(arena, ll_buf_slice(&b));
    }
    ll_buf_release(&b);
    return place.p ? place : LL_LIT("");
}

/* Puts the key; its fingerprint, empty where the key is none or not of the address. */
static int put_key(struct ll_stored *s, const struct ll_autocrypt *a, struct ll_slice *ret_print)
{
    size_t before = s->n;
    int status;

    s->only = a->address;
    status = ll_stored_pgp(s, a->keydata);
    *ret_print = s->n > before ? s->key[s->n - 1].key.fingerprint : (struct ll_slice){NULL, 0};
    return status == EX_DATAERR ? 0 : status; /* rubbish from a stranger is no failure of ours */
}

static int update(struct ll_stored *s, struct ll_slice author, int64_t date, struct ll_slice print,
                  bool mutual, bool gossip)
{
    struct ll_autocrypt_peer p;
    int status = told(ll_keystore_peer(s->store, author, s->arena, &p, s->err));

    if (status == 0 && (gossip ? ll_autocrypt_update_gossip(&p, date, print)
                               : ll_autocrypt_update(&p, date, print, mutual)))
        status = told(ll_keystore_set_peer(s->store, author, &p, s->err));
    return status;
}

/* Is the letter older than the newest one with a header? Then its key says nothing new. */
static bool is_old(struct ll_stored *s, struct ll_slice author, int64_t date)
{
    struct ll_autocrypt_peer p;

    return ll_keystore_peer(s->store, author, s->arena, &p, NULL) == LL_KEYSTORE_OK &&
           date < p.timestamp;
}

int ll_autocrypt_take(struct ll_stored *s, struct ll_slice header, enum ll_autocrypt_error *ret_why)
{
    struct ll_slice author = {NULL, 0}, print = {NULL, 0};
    struct ll_autocrypt a = {0};
    enum ll_autocrypt_error e = ll_autocrypt_letter(header, s->arena, &author, &a);
    int64_t date = ll_autocrypt_date(header, s->now);
    int status = 0;

    if (ret_why)
        *ret_why = e;
    if (!ll_autocrypt_counts(e))
        return e == LL_AUTOCRYPT_RESOURCE ? EX_OSERR : 0;
    s->source = LL_KEYSTORE_AUTOCRYPT;
    s->place = place_of(header, s->arena);
    if (e == LL_AUTOCRYPT_OK && !is_old(s, author, date))
        status = put_key(s, &a, &print);
    return status ? status : update(s, author, date, print, a.mutual, false);
}

int ll_autocrypt_take_gossip(struct ll_stored *s, struct ll_slice inner, struct ll_slice outer)
{
    struct ll_autocrypt *v = NULL;
    int64_t date = ll_autocrypt_date(outer, s->now);
    size_t n = 0;
    int status = 0;

    if (!ll_autocrypt_gossip(inner, outer, s->arena, &v, &n))
        return EX_OSERR;
    s->source = LL_KEYSTORE_GOSSIP;
    s->place = place_of(outer, s->arena);
    for (size_t i = 0; status == 0 && i < n; i++) {
        struct ll_slice print;

        status = put_key(s, &v[i], &print);
        if (status == 0 && print.n > 0)
            status = update(s, v[i].address, date, print, false, true);
    }
    return status;
}
