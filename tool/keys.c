/* letterlock keys: own keys and contacts. What all its commands share. */
#include "tool/keys.h"

#include "io/clock.h"

#include <stdlib.h>

#define DAY_S 86400

int ll_keys_open(struct ll_keys *k, bool create)
{
    struct ll_buf path = LL_BUF(8192);
    const char *file = k->store_file;
    int status = 0;

    ll_arena_init(&k->arena, LL_KEYS_ARENA);
    k->err = LL_BUF(65536);
    k->now = ll_unix_s();
    k->config = ll_config_load(k->config_file, &status);
    if (!k->config)
        return status;
    if (!file)
        file = k->config->store;
    if (!file && ll_keystore_path(&path))
        file = ll_buf_str(&path);
    if (!file)
        status = ll_fail(EX_CONFIG, "there is no home folder for a key store: give --store FILE");
    else
        status = ll_keys_told(k, ll_keystore_open(file, create, &k->store, &k->err), file);
    ll_buf_release(&path);
    return status;
}

void ll_keys_close(struct ll_keys *k)
{
    ll_keystore_close(k->store);
    ll_config_free(k->config);
    ll_arena_release(&k->arena);
    ll_buf_release(&k->err);
}

int ll_keys_failed(struct ll_keys *k, int status)
{
    return status ? ll_fail_text(status, &k->err) : 0;
}

int ll_keys_told(struct ll_keys *k, enum ll_keystore_result r, const char *word)
{
    static const int status[] = {
        [LL_KEYSTORE_OK] = 0,
        [LL_KEYSTORE_NONE] = EX_NOUSER,
        [LL_KEYSTORE_BUSY] = EX_TEMPFAIL,
        [LL_KEYSTORE_REFUSED] = EX_NOPERM,
        [LL_KEYSTORE_BROKEN] = EX_UNAVAILABLE,
        [LL_KEYSTORE_RESOURCE] = EX_OSERR,
    };

    if (r == LL_KEYSTORE_NONE)
        return ll_fail(EX_NOUSER, "no key here is \"%s\" (`letterlock keys list` shows all)", word);
    return ll_keys_failed(k, status[r]);
}

enum ll_seal_method ll_keys_kind(const struct ll_keys *k)
{
    return k->pgp && !k->smime ? LL_SEAL_PGP : k->smime && !k->pgp ? LL_SEAL_SMIME : LL_SEAL_NONE;
}

int ll_keys_pick(struct ll_keys *k, const char *word, bool own, struct ll_keystore_key *ret)
{
    struct ll_keystore_query q = {.kind = ll_keys_kind(k), .own = own};
    struct ll_keystore_key *v;
    struct ll_buf line = LL_BUF(4096);
    size_t n;
    enum ll_keystore_result r;

    if (strchr(word, '@'))
        q.address = ll_slice_str(word);
    else
        q.fingerprint = ll_slice_str(word);
    r = ll_keystore_list(k->store, &q, &k->arena, &v, &n, &k->err);
    if (r == LL_KEYSTORE_NONE && own)
        return ll_fail(EX_NOUSER, "no own key here is \"%s\" (`letterlock keys new` makes one)",
                       word);
    if (r != LL_KEYSTORE_OK)
        return ll_keys_told(k, r, word);
    if (n == 1) {
        *ret = v[0];
        return 0;
    }
    ll_fail(0, "\"%s\" names %zu keys: say which by its fingerprint%s", word, n,
            q.kind == LL_SEAL_NONE ? " (or --pgp, --smime)" : "");
    for (size_t i = 0; i < n && i < 20; i++) {
        ll_buf_clear(&line);
        ll_keys_put_fingerprint(&line, v[i].fingerprint);
        ll_fail(0, "  %-5s %s", ll_seal_method_word(v[i].kind), ll_buf_str(&line));
    }
    ll_buf_release(&line);
    return EX_DATAERR;
}

bool ll_keys_lifetime(const char *text, uint32_t *ret_s)
{
    static const struct {
        char unit;
        uint32_t days;
    } units[] = {{'d', 1}, {'w', 7}, {'m', 30}, {'y', 365}};
    struct ll_slice s = ll_slice_str(text);
    uint64_t n;

    if (ll_slice_eq(s, LL_LIT("never"))) {
        *ret_s = 0;
        return true;
    }
    for (size_t i = 0; i < LL_COUNT(units) && s.n > 1; i++)
        if (s.p[s.n - 1] == units[i].unit && ll_slice_u64(ll_slice_cut(s, 0, s.n - 1), &n) &&
            n > 0 && n <= 36500 / units[i].days) {
            *ret_s = (uint32_t)n * units[i].days * DAY_S;
            return true;
        }
    return false;
}

/* ---- what is shown -----------------------------------------------------------------------------
 */

void ll_keys_put_fingerprint(struct ll_buf *out, struct ll_slice fingerprint)
{
    for (size_t i = 0; i < fingerprint.n; i++) {
        if (i > 0 && i % 4 == 0)
            ll_buf_putc(out, ' ');
        ll_buf_putc(out, ll_upper(fingerprint.p[i]));
    }
}

/* Controls (C0, DEL, C1), and the characters that turn the direction of what follows. */
static size_t harmful(struct ll_slice s, size_t i)
{
    uint8_t a = s.p[i], b = i + 1 < s.n ? s.p[i + 1] : 0, c = i + 2 < s.n ? s.p[i + 2] : 0;

    if (a < 0x20 || a == 0x7f)
        return 1;
    if (a == 0xc2 && b >= 0x80 && b <= 0x9f)
        return 2;
    if (a == 0xe2 && b == 0x80 &&
        ((c >= 0xaa && c <= 0xae) || (c >= 0x8b && c <= 0x8f) || c == 0xa8 || c == 0xa9))
        return 3; /* U+202A..202E, U+200B..200F, U+2028, U+2029 */
    if ((a == 0xe2 && b == 0x81 && c >= 0xa6 && c <= 0xa9) || /* U+2066..2069 */
        (a == 0xef && b == 0xbb && c == 0xbf))
        return 3;
    return 0;
}

void ll_keys_put_text(struct ll_buf *out, struct ll_slice text)
{
    if (!ll_utf8_valid(text)) {
        ll_escape(out, text, 200);
        return;
    }
    for (size_t i = 0; i < text.n; i++) {
        size_t bad = harmful(text, i);

        ll_buf_putc(out, bad ? '?' : text.p[i]);
        i += bad ? bad - 1 : 0;
    }
}

void ll_keys_put_day(struct ll_buf *out, int64_t unix_s)
{
    struct ll_buf b = LL_BUF(40);

    ll_time_rfc3339(&b, unix_s);
    ll_buf_put_slice(out, ll_slice_cut(ll_buf_slice(&b), 0, 10));
    ll_buf_release(&b);
}

void ll_keys_put_trust(struct ll_buf *out, const struct ll_keystore_key *key)
{
    if (key->own) {
        ll_buf_puts(out, key->is_default ? "your own key, the default" : "your own key");
        return;
    }
    if (key->trust == LL_KEYSTORE_REJECTED) {
        ll_buf_puts(out, "rejected by you on ");
        ll_keys_put_day(out, key->decided);
        ll_buf_puts(out, ": never used");
        return;
    }
    if (key->trust == LL_KEYSTORE_VERIFIED) {
        ll_buf_puts(out, key->ca ? "trusted by you since " : "verified by you on ");
        ll_keys_put_day(out, key->decided);
        if (key->n_vouched < key->n_address && !key->ca)
            ll_buf_puts(out, ", but not for the addresses that it got later");
        return;
    }
    ll_buf_puts(out, key->ca ? "not trusted; " : "nobody has verified it; ");
    ll_buf_puts(out, key->n_found ? ll_keystore_source_text(key->found[0].source) : "");
    ll_buf_puts(out, ", last seen ");
    ll_keys_put_day(out, key->last_seen);
}

const char *ll_keys_state(const struct ll_keystore_key *key, int64_t now)
{
    return key->revoked                          ? "revoked"
           : key->expires && key->expires <= now ? "expired"
           : key->trust == LL_KEYSTORE_REJECTED  ? "rejected"
           : key->ca                             ? "authority"
           : !key->can_encrypt                   ? "signs only"
                                                 : "usable";
}

static void json_time(struct ll_json *j, const char *name, int64_t t)
{
    struct ll_buf b = LL_BUF(40);

    if (t == 0) {
        ll_json_cstr(j, name, NULL);
        return;
    }
    ll_time_rfc3339(&b, t);
    ll_json_str(j, name, ll_buf_slice(&b));
    ll_buf_release(&b);
}

void ll_keys_json(struct ll_json *j, const struct ll_keystore_key *key, int64_t now)
{
    ll_json_open(j, '{');
    ll_json_cstr(j, "kind", ll_seal_method_word(key->kind));
    ll_json_str(j, "fingerprint", key->fingerprint);
    ll_json_str(j, "name", key->name);
    ll_json_key(j, "addresses");
    ll_json_open(j, '[');
    for (size_t i = 0; i < key->n_address; i++)
        ll_json_str(j, NULL, key->address[i]);
    ll_json_close(j);
    ll_json_bool(j, "own", key->own);
    ll_json_bool(j, "default", key->is_default);
    ll_json_bool(j, "authority", key->ca);
    ll_json_cstr(j, "state", ll_keys_state(key, now));
    ll_json_cstr(j, "trust", key->own ? "own" : ll_keystore_trust_word(key->trust));
    json_time(j, "decided", key->decided);
    json_time(j, "created", key->created);
    json_time(j, "expires", key->expires);
    json_time(j, "first_seen", key->first_seen);
    json_time(j, "last_seen", key->last_seen);
    ll_json_key(j, "found");
    ll_json_open(j, '[');
    for (size_t i = 0; i < key->n_found; i++) {
        ll_json_open(j, '{');
        ll_json_cstr(j, "where", ll_keystore_source_word(key->found[i].source));
        ll_json_str(j, "place", key->found[i].place);
        json_time(j, "first", key->found[i].first);
        json_time(j, "last", key->found[i].last);
        ll_json_close(j);
    }
    ll_json_close(j);
    ll_json_close(j);
}

/* Was the key that the address had somebody else's? */
static bool had_anothers(struct ll_keys *k, const struct ll_stored_key *s)
{
    const struct ll_keystore_query q = {
        .kind = s->key.kind, .fingerprint = s->other, .others = true};
    struct ll_keystore_key *v = NULL;
    size_t n = 0;

    return ll_keystore_list(k->store, &q, &k->arena, &v, &n, &k->err) == LL_KEYSTORE_OK && n > 0;
}

static void report_text(struct ll_keys *k, const struct ll_stored_key *s)
{
    static const char *const words[] = {
        [LL_KEYSTORE_NEW] = "new", [LL_KEYSTORE_SAME] = "known", [LL_KEYSTORE_CHANGED] = "CHANGED"};
    struct ll_buf b = LL_BUF(65536);

    ll_keys_put_fingerprint(&b, s->key.fingerprint);
    ll_buf_puts(&b, "  ");
    ll_keys_put_text(&b, s->key.name);
    printf("%s %s%s %s\n", words[s->seen], ll_seal_method_word(s->key.kind),
           s->secret ? " secret key" : "", ll_buf_str(&b));
    if (s->key.revoked)
        ll_fail(0,
                "warning: its owner has revoked this key: nothing is sealed to it, and it proves "
                "nothing");
    if (s->seen == LL_KEYSTORE_CHANGED && s->secret && had_anothers(k, s))
        ll_fail(
            0, "warning: the address had another key, and with this secret key it counts as yours. "
               "If you did not make the key yourself, it is a trap: `letterlock keys delete --own` "
               "it");
    if (s->seen == LL_KEYSTORE_CHANGED && !s->secret) {
        ll_buf_clear(&b);
        ll_keys_put_fingerprint(&b, s->other);
        ll_fail(0, "warning: the address had another key: %s", ll_buf_str(&b));
        ll_fail(0, "  A new key is what a new computer looks like, and what an attack looks like: "
                   "ask its owner, then `letterlock keys trust` or `distrust` it.");
    }
    ll_buf_release(&b);
}

int ll_keys_report(struct ll_keys *k, const struct ll_stored *s)
{
    static const char *const words[] = {
        [LL_KEYSTORE_NEW] = "new", [LL_KEYSTORE_SAME] = "same", [LL_KEYSTORE_CHANGED] = "changed"};
    struct ll_buf b = LL_BUF((size_t)64 << 20);
    struct ll_json j = LL_JSON(&b);

    for (size_t i = 0; !k->json && i < s->n; i++)
        report_text(k, &s->key[i]);
    if (k->json) {
        ll_json_open(&j, '[');
        for (size_t i = 0; i < s->n; i++) {
            ll_json_open(&j, '{');
            ll_json_cstr(&j, "kind", ll_seal_method_word(s->key[i].key.kind));
            ll_json_str(&j, "fingerprint", s->key[i].key.fingerprint);
            ll_json_str(&j, "name", s->key[i].key.name);
            ll_json_bool(&j, "secret", s->key[i].secret);
            ll_json_bool(&j, "revoked", s->key[i].key.revoked);
            ll_json_cstr(&j, "seen", words[s->key[i].seen]);
            ll_json_str(&j, "other", s->key[i].other);
            ll_json_close(&j);
        }
        ll_json_close(&j);
        return ll_json_print(&b);
    }
    return s->n > 0 ? 0 : EX_DATAERR;
}

int ll_cmd_keys(int argc, char **argv)
{
    static const struct ll_sub subs[] = {
#define ROW(name, fn, summary) {name, fn, summary},
        LL_KEYS_COMMANDS(ROW)
#undef ROW
    };

    return ll_sub_run("keys", subs, LL_COUNT(subs), argc, argv);
}
