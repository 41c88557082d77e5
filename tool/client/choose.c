/* See tool/client/seal.h: which method, which keys. */
#include "io/clock.h"
#include "tool/client/find.h"
#include "tool/client/seal.h"

/* ---- one person --------------------------------------------------------------------------------
 */

static int store_fault(struct ll_buf *err)
{
    return ll_fail_text(EX_UNAVAILABLE, err);
}

/* S/MIME: a certificate that no CA vouches for is taken as an OpenPGP key is: on first use. What is
 * expired, revoked, weak or meant for something else is not. */
static const char *check_cert(struct ll_sealing *g, struct ll_slice address,
                              const struct ll_keystore_key *key, bool *ret_trusted)
{
    enum ll_smime_fault fault = ll_smime_check(g->smime, key->fingerprint, LL_SMIME_ENCRYPT,
                                               address, g->now, &g->s->arena, NULL);

    *ret_trusted = fault == LL_SMIME_FAULT_OK;
    if (fault == LL_SMIME_FAULT_OK || fault == LL_SMIME_FAULT_UNTRUSTED)
        return NULL;
    return ll_smime_fault_text(fault);
}

static const char *check_pgp(struct ll_sealing *g, const struct ll_keystore_key *key)
{
    struct ll_pgp_key facts;
    enum ll_seal_error e = ll_pgp_key(g->pgp, key->fingerprint, g->now, &g->s->arena, &facts);

    if (e != LL_SEAL_OK)
        return ll_seal_error_text(e);
    return facts.can_encrypt ? NULL : ll_seal_error_text(LL_SEAL_UNUSABLE_KEY);
}

int ll_seal_load(struct ll_sealing *g, const struct ll_keystore_key *key, bool secret)
{
    struct ll_buf err = LL_BUF(4096);
    int status = key->kind == LL_SEAL_PGP
                     ? ll_stored_load_pgp(g->store, key, secret, g->now, g->pgp, &g->s->arena, &err)
                     : ll_stored_load_smime(g->store, key, secret, g->smime, &g->s->arena, &err);

    if (status != 0)
        status = ll_fail_text(status, &err);
    ll_buf_release(&err);
    return status;
}

static int look(struct ll_sealing *g, struct ll_seal_person *p, enum ll_seal_method m)
{
    struct ll_buf err = LL_BUF(4096);
    struct ll_seal_key *k = &p->by[m];
    enum ll_keystore_result r = ll_keystore_best(g->store, p->address, m, g->now, &g->s->arena,
                                                 &k->key, &k->choice, &k->other, &err);
    int status = 0;

    if (r != LL_KEYSTORE_OK && r != LL_KEYSTORE_NONE)
        status = store_fault(&err);
    k->found = r == LL_KEYSTORE_OK;
    if (k->found)
        status = ll_seal_load(g, &k->key, false);
    if (k->found && status == 0)
        k->fault = m == LL_SEAL_PGP ? check_pgp(g, &k->key)
                                    : check_cert(g, p->address, &k->key, &k->trusted);
    ll_buf_release(&err);
    return status;
}

/* Does it stop the letter until the user has decided? Another key than before is how an attack
 * looks, and how a new computer looks. A certificate of an authority that the user trusts has been
 * decided about. */
static bool is_changed(const struct ll_seal_key *k)
{
    return k->found && !k->trusted &&
           (k->choice == LL_KEYSTORE_CHOSE_BETTER || k->choice == LL_KEYSTORE_CHOSE_AFTER ||
            (k->other && k->choice == LL_KEYSTORE_CHOSE_ONLY));
}

static bool usable(const struct ll_seal_key *k)
{
    return k->found && !k->fault && !is_changed(k);
}

/* ---- all of them -------------------------------------------------------------------------------
 */

static const char *const names[] = {
    [LL_SEAL_NONE] = "any", [LL_SEAL_SMIME] = "S/MIME", [LL_SEAL_PGP] = "OpenPGP"};

/* The own keys of who writes: the default one first. */
int ll_seal_own(struct ll_sealing *g)
{
    struct ll_buf err = LL_BUF(4096);
    int status = 0;

    for (enum ll_seal_method m = LL_SEAL_SMIME; m <= LL_SEAL_PGP && status == 0; m++) {
        const struct ll_keystore_query q = {.kind = m, .address = g->own.address, .own = true};
        struct ll_seal_key *k = &g->own.by[m];
        struct ll_keystore_key *v;
        size_t n = 0;
        enum ll_keystore_result r = ll_keystore_list(g->store, &q, &g->s->arena, &v, &n, &err);

        if (r != LL_KEYSTORE_OK && r != LL_KEYSTORE_NONE)
            status = store_fault(&err);
        for (size_t i = 0; i < n && !k->found; i++)
            if (!v[i].revoked && v[i].trust != LL_KEYSTORE_REJECTED &&
                (v[i].expires == 0 || v[i].expires > g->now)) {
                k->found = true;
                k->key = v[i];
            }
    }
    ll_buf_release(&err);
    return status;
}

static int load_cas(struct ll_sealing *g)
{
    struct ll_buf err = LL_BUF(4096);
    int status = ll_stored_load_cas(g->store, g->smime, &g->s->arena, &err);

    if (status != 0)
        status = ll_fail_text(status, &err);
    ll_buf_release(&err);
    return status;
}

static bool all_usable(const struct ll_sealing *g, enum ll_seal_method m)
{
    for (size_t i = 0; i < g->n_to; i++)
        if (!usable(&g->to[i].by[m]))
            return false;
    return true;
}

/* What speaks for a method that all recipients have: an own key (it signs, and opens the copy), the
 * user's preference, keys that were verified; at last OpenPGP, whose seal proves that nothing was
 * changed. */
static unsigned rank(const struct ll_sealing *g, enum ll_seal_method m)
{
    const struct ll_account *a = g->s->account;
    const char *prefer = a ? a->prefer : NULL;
    bool verified = true;

    for (size_t i = 0; i < g->n_to; i++)
        verified = verified &&
                   (g->to[i].by[m].key.trust == LL_KEYSTORE_VERIFIED || g->to[i].by[m].key.own);
    return 8u * g->own.by[m].found + 4u * (prefer && strcmp(prefer, ll_seal_method_word(m)) == 0) +
           2u * verified + (m == LL_SEAL_PGP);
}

/* All keys that the user has to choose from. */
static void tell_changed(const struct ll_sealing *g, const struct ll_seal_person *p,
                         enum ll_seal_method m)
{
    const struct ll_keystore_query q = {.kind = m, .address = p->address};
    struct ll_buf err = LL_BUF(4096);
    struct ll_keystore_key *v = NULL;
    size_t n = 0;

    ll_fail(0,
            "%.*s: another %s key turned up, and you have not decided which one counts. Compare "
            "with the owner, then `letterlock keys trust FINGERPRINT` or distrust:",
            LL_FMT(p->address), names[m]);
    if (ll_keystore_list(g->store, &q, &g->s->arena, &v, &n, &err) != LL_KEYSTORE_OK)
        ll_fail_text(0, &err);
    for (size_t i = 0; i < n; i++)
        if (v[i].trust != LL_KEYSTORE_REJECTED)
            ll_fail(0, "  %.*s %s", LL_FMT(v[i].fingerprint),
                    v[i].n_found > 0 ? ll_keystore_source_text(v[i].found[0].source) : "");
    ll_buf_release(&err);
}

/* Why this person stops the letter. Returns the status that it has for that. */
static int tell_missing(const struct ll_sealing *g, const struct ll_seal_person *p,
                        enum ll_seal_method m)
{
    const struct ll_seal_key *k = &p->by[m];

    if (is_changed(k)) {
        tell_changed(g, p, m);
        return EX_DATAERR;
    }
    if (k->found)
        return ll_fail(EX_DATAERR, "%.*s: the %s key %.*s cannot be used: %s", LL_FMT(p->address),
                       names[m], LL_FMT(k->key.fingerprint), k->fault);
    if (k->later)
        return ll_fail(EX_TEMPFAIL,
                       "%.*s: no %s key here, and the domain could not be asked for "
                       "one now; try again later",
                       LL_FMT(p->address), names[m]);
    if (k->choice == LL_KEYSTORE_HAVE_REJECTED)
        return ll_fail(EX_DATAERR,
                       "%.*s: you rejected every %s key that is known; "
                       "`letterlock keys list %.*s` shows them",
                       LL_FMT(p->address), names[m], LL_FMT(p->address));
    return ll_fail(EX_UNAVAILABLE, "%.*s: %s%s", LL_FMT(p->address), names[m],
                   k->choice == LL_KEYSTORE_HAVE_UNUSABLE
                       ? ": every known key is expired, revoked or cannot encrypt"
                       : ": no key is known, and none is published");
}

static int refuse(const struct ll_sealing *g, enum ll_seal_method asked)
{
    int status = 0;

    for (size_t i = 0; i < g->n_to; i++)
        for (enum ll_seal_method m = LL_SEAL_SMIME; m <= LL_SEAL_PGP; m++) {
            const struct ll_seal_person *p = &g->to[i];
            int one;

            if ((asked != LL_SEAL_NONE && m != asked) || usable(&p->by[m]))
                continue;
            one = tell_missing(g, p, m);
            /* What the user must decide counts most, what may pass by itself least. */
            if (status == 0 || one == EX_DATAERR || status == EX_TEMPFAIL)
                status = one;
        }
    ll_fail(0,
            "nothing was sent: %s. Import a key that you got from the recipient "
            "(`letterlock keys import FILE`), or send in clear with --seal none",
            asked == LL_SEAL_NONE ? "there is no way to seal it to all recipients"
                                  : "not every recipient has a key");
    return status;
}

/* auto: the best method that all recipients have. */
static int choose_seal(struct ll_sealing *g, enum ll_seal_method asked)
{
    for (enum ll_seal_method m = LL_SEAL_SMIME; m <= LL_SEAL_PGP; m++)
        if ((asked == LL_SEAL_NONE || asked == m) && all_usable(g, m) &&
            (g->seal == LL_SEAL_NONE || rank(g, m) > rank(g, g->seal)))
            g->seal = m;
    return g->seal == LL_SEAL_NONE ? refuse(g, asked) : 0;
}

/* What signs: the method of the seal; in clear what is preferred of what is here. */
static int choose_sign(struct ll_sealing *g, enum ll_seal_method asked)
{
    const struct ll_send *s = g->s;
    bool demanded = s->sign || (s->account && s->account->sign);
    enum ll_seal_method m = g->seal;

    if (s->no_sign || (!demanded && g->seal == LL_SEAL_NONE))
        return 0;
    if (m == LL_SEAL_NONE)
        m = asked != LL_SEAL_NONE                            ? asked
            : rank(g, LL_SEAL_PGP) >= rank(g, LL_SEAL_SMIME) ? LL_SEAL_PGP
                                                             : LL_SEAL_SMIME;
    if (g->own.by[m].found) {
        g->sign = m;
        return 0;
    }
    if (demanded)
        return ll_fail(EX_UNAVAILABLE,
                       "%.*s has no %s key of its own here to sign with; "
                       "`letterlock keys new` makes one",
                       LL_FMT(g->own.address), m == LL_SEAL_NONE ? "" : names[m]);
    ll_fail(0,
            "warning: %.*s has no %s key of its own here: the letter is not signed, and you "
            "cannot open it yourself (`letterlock keys new`)",
            LL_FMT(g->own.address), names[m]);
    return 0;
}

/* The domain is asked, and what it has goes into the store. What answers later may have had a key.
 */
static int search(struct ll_sealing *g, struct ll_seal_person *p, enum ll_seal_method m)
{
    struct ll_send *s = g->s;
    struct ll_buf err = LL_BUF(65536);
    struct ll_find f = {
        .from = {.ca = s->find_ca, .allow_private = s->find_private, .port = s->find_port},
        .places =
            m == LL_SEAL_PGP ? 1u << LL_FIND_WKD | 1u << LL_FIND_OPENPGPKEY : 1u << LL_FIND_SMIMEA,
        .stored = {.store = g->store, .arena = &s->arena, .now = g->now, .err = &err}};
    int status;

    if (s->no_find)
        return 0;
    if (!g->resolver)
        g->resolver = ll_resolver_new(&s->resolver);
    if (!g->resolver)
        return EX_CONFIG;
    f.from.resolver = g->resolver;
    status = ll_find(&f, p->address);
    if (status != 0)
        status = ll_fail_text(status, &err);
    ll_buf_release(&err);
    if (status == 0)
        status = look(g, p, m);
    for (size_t i = 0; i < LL_FIND_PLACES_N; i++)
        p->by[m].later = p->by[m].later || (!p->by[m].found && f.result[i] == LL_FIND_LATER);
    return status;
}

static int find_keys(struct ll_sealing *g, enum ll_seal_method asked)
{
    int status = 0;

    for (size_t i = 0; i < g->n_to && status == 0; i++)
        for (enum ll_seal_method m = LL_SEAL_SMIME; m <= LL_SEAL_PGP && status == 0; m++) {
            struct ll_seal_person *p = &g->to[i];

            if (asked != LL_SEAL_NONE && m != asked)
                continue;
            status = look(g, p, m);
            if (status == 0 && !p->by[m].found && p->by[m].choice != LL_KEYSTORE_HAVE_REJECTED)
                status = search(g, p, m);
        }
    return status;
}

static void warn_others(const struct ll_sealing *g)
{
    for (size_t i = 0; i < g->n_to; i++) {
        const struct ll_seal_key *k = &g->to[i].by[g->seal];

        if (k->other)
            ll_fail(0,
                    "warning: %.*s has another key beside the one that you verified: %.*s; it "
                    "was not used",
                    LL_FMT(g->to[i].address), LL_FMT(k->other->fingerprint));
    }
}

int ll_seal_choose(struct ll_sealing *g)
{
    const char *word = g->s->seal_word;
    enum ll_seal_method asked = LL_SEAL_NONE;
    bool seal;
    int status;

    if (!word)
        word = g->s->account && g->s->account->seal ? g->s->account->seal : "none";
    seal = strcmp(word, "none") != 0;
    if (strcmp(word, "auto") != 0 && !ll_seal_method_parse(ll_slice_str(word), &asked))
        return strcmp(word, "bitmessage") == 0
                   ? ll_fail(EX_UNAVAILABLE, "--seal bitmessage comes with the Bitmessage node, "
                                             "which is not there yet")
                   : ll_fail(EX_USAGE, "--seal: auto, smime, pgp or none");
    status = ll_seal_own(g);
    if (status == 0)
        status = load_cas(g);
    if (status == 0 && seal)
        status = find_keys(g, asked);
    if (status == 0 && seal)
        status = choose_seal(g, asked);
    if (status == 0 && seal)
        warn_others(g);
    return status ? status : choose_sign(g, asked);
}

const struct ll_seal_person *ll_seal_person(const struct ll_sealing *g, struct ll_slice address)
{
    for (size_t i = 0; g && i < g->n_to; i++)
        if (ll_slice_eq(g->to[i].address, address))
            return &g->to[i];
    return NULL;
}
