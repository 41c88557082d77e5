/* letterlock keys list, show: what is here, and what is trusted and why. */
#include "tool/keys.h"

static void print_row(struct ll_keys *k, const struct ll_keystore_key *key)
{
    struct ll_buf b = LL_BUF(65536);

    ll_keys_put_fingerprint(&b, key->fingerprint);
    printf("%-5s %s\n", ll_seal_method_word(key->kind), ll_buf_str(&b));
    ll_buf_clear(&b);
    ll_keys_put_text(&b, key->name);
    printf("      %s\n", ll_buf_str(&b));
    ll_buf_clear(&b);
    for (size_t i = 0; i < key->n_address; i++) {
        ll_buf_puts(&b, i ? ", " : "");
        ll_keys_put_text(&b, key->address[i]);
    }
    if (key->n_address)
        printf("      for %s\n", ll_buf_str(&b));
    ll_buf_clear(&b);
    ll_keys_put_trust(&b, key);
    printf("      %s; %s", ll_keys_state(key, k->now), ll_buf_str(&b));
    if (key->expires) {
        ll_buf_clear(&b);
        ll_keys_put_day(&b, key->expires);
        printf("; %s on %s", key->expires > k->now ? "expires" : "expired", ll_buf_str(&b));
    }
    printf("\n");
    ll_buf_release(&b);
}

static int print_json(struct ll_keys *k, const struct ll_keystore_key *v, size_t n)
{
    struct ll_buf b = LL_BUF((size_t)1 << 30);
    struct ll_json j = LL_JSON(&b);

    ll_json_open(&j, '[');
    for (size_t i = 0; i < n; i++)
        ll_keys_json(&j, &v[i], k->now);
    ll_json_close(&j);
    return ll_json_print(&b);
}

int ll_keys_list(int argc, char **argv)
{
    struct ll_keys k = {0};
    struct ll_keystore_query q = {.any_ca = false};
    bool own = false, contacts = false, ca = false;
    const struct ll_opt opts[] = {
        {"own", 0, LL_OPT_FLAG, &own, NULL, "own keys alone"},
        {"contacts", 0, LL_OPT_FLAG, &contacts, NULL, "keys of others alone"},
        {"authorities", 0, LL_OPT_FLAG, &ca, NULL, "certificates that issue certificates"},
        LL_KEYS_KIND_OPTS(k),
        LL_KEYS_OPTS(k),
        LL_JSON_OPT(k.json),
    };
    const struct ll_usage usage = {
        "keys list [options] [ADDRESS|FINGERPRINT]",
        "Own keys first, then those of others, the ones that count more before. Each with what is\n"
        "trusted and why: verified by you, or found where and by whom it is vouched for.",
        opts,
        LL_COUNT(opts),
        0,
        1};
    struct ll_keystore_key *v = NULL;
    struct ll_words words;
    size_t n = 0;
    int status;

    if (!ll_args_take(&usage, argc, argv, &words, &status))
        return status;
    status = ll_keys_open(&k, false);
    q.kind = ll_keys_kind(&k);
    q.own = own;
    q.others = contacts;
    q.ca = ca;
    if (words.n && strchr(words.v[0], '@'))
        q.address = ll_slice_str(words.v[0]);
    else if (words.n)
        q.fingerprint = ll_slice_str(words.v[0]);
    if (status == 0) {
        enum ll_keystore_result r = ll_keystore_list(k.store, &q, &k.arena, &v, &n, &k.err);

        if (r != LL_KEYSTORE_NONE || words.n)
            status = ll_keys_told(&k, r, words.n ? words.v[0] : "");
    }
    if (status == 0 && k.json)
        status = print_json(&k, v, n);
    for (size_t i = 0; status == 0 && !k.json && i < n; i++)
        print_row(&k, &v[i]);
    if (status == 0 && !k.json && n == 0)
        ll_fail(0, "no keys yet: `letterlock keys new ADDRESS` makes one, `import` takes one");
    ll_keys_close(&k);
    return status;
}

/* ---- show
 * ---------------------------------------------------------------------------------------- */

static void print_found(const struct ll_keystore_key *key)
{
    struct ll_buf b = LL_BUF(65536);

    for (size_t i = 0; i < key->n_found; i++) {
        const struct ll_keystore_found *f = &key->found[i];

        ll_buf_clear(&b);
        ll_keys_put_day(&b, f->first);
        ll_buf_puts(&b, " to ");
        ll_keys_put_day(&b, f->last);
        if (f->place.n > 0) {
            ll_buf_puts(&b, ": ");
            ll_keys_put_text(&b, f->place);
        }
        printf("found: %s, %s\n", ll_keystore_source_text(f->source), ll_buf_str(&b));
    }
    ll_buf_release(&b);
}

/* What the letters of its addresses said (Autocrypt), and what follows for a letter to them. */
static void print_peers(struct ll_keys *k, const struct ll_keystore_key *key)
{
    const struct ll_autocrypt_question q = {.key_usable = true, .gossip_usable = true};
    struct ll_buf b = LL_BUF(65536);

    for (size_t i = 0; key->kind == LL_SEAL_PGP && i < key->n_address; i++) {
        struct ll_autocrypt_peer p;
        enum ll_autocrypt_advice advice;
        struct ll_slice chosen;

        if (ll_keystore_peer(k->store, key->address[i], &k->arena, &p, &k->err) != LL_KEYSTORE_OK)
            continue;
        advice = ll_autocrypt_advise(&p, &q, &chosen);
        ll_buf_clear(&b);
        ll_keys_put_text(&b, key->address[i]);
        ll_buf_puts(&b, p.timestamp ? ", last header of " : ", known from others' letters alone");
        if (p.timestamp)
            ll_keys_put_day(&b, p.timestamp);
        if (p.last_seen) {
            ll_buf_puts(&b, ", last letter of ");
            ll_keys_put_day(&b, p.last_seen);
        }
        printf("autocrypt: %s%s: %s\n", ll_buf_str(&b), p.mutual ? ", wants sealed letters" : "",
               ll_slice_eq(chosen, key->fingerprint) ? ll_autocrypt_advice_text(advice)
                                                     : "its letters have another key now");
    }
    ll_buf_release(&b);
}

static int print_history(struct ll_keys *k, const struct ll_keystore_key *key)
{
    struct ll_keystore_entry *v;
    struct ll_buf b = LL_BUF(65536);
    size_t n;
    enum ll_keystore_result r =
        ll_keystore_history(k->store, key->kind, key->fingerprint, &k->arena, &v, &n, &k->err);

    if (r != LL_KEYSTORE_OK && r != LL_KEYSTORE_NONE)
        return ll_keys_told(k, r, "");
    for (size_t i = 0; r == LL_KEYSTORE_OK && i < n; i++) {
        ll_buf_clear(&b);
        ll_time_rfc3339(&b, v[i].at);
        ll_buf_printf(&b, " %s", ll_keystore_event_text(v[i].event));
        if (v[i].note.n > 0) {
            ll_buf_puts(&b, ": ");
            ll_keys_put_text(&b, v[i].note);
        }
        printf("history: %s\n", ll_buf_str(&b));
    }
    ll_buf_release(&b);
    return 0;
}

int ll_keys_show(int argc, char **argv)
{
    struct ll_keys k = {0};
    const struct ll_opt opts[] = {LL_KEYS_KIND_OPTS(k), LL_KEYS_OPTS(k), LL_JSON_OPT(k.json)};
    const struct ll_usage usage = {
        "keys show [options] ADDRESS|FINGERPRINT",
        "One key, with the fingerprint as one reads it out on the phone, where it was found and\n"
        "what was decided about it.",
        opts,
        LL_COUNT(opts),
        1,
        1};
    struct ll_keystore_key key;
    struct ll_words words;
    int status;

    if (!ll_args_take(&usage, argc, argv, &words, &status))
        return status;
    status = ll_keys_open(&k, false);
    if (status == 0)
        status = ll_keys_pick(&k, words.v[0], false, &key);
    if (status == 0 && k.json)
        status = print_json(&k, &key, 1);
    if (status == 0 && !k.json) {
        print_row(&k, &key);
        print_found(&key);
        print_peers(&k, &key);
        status = print_history(&k, &key);
    }
    ll_keys_close(&k);
    return status;
}
