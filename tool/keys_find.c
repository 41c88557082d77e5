/* letterlock keys find: asks the domain of an address for its keys. */
#include "tool/client/find.h"
#include "tool/keys.h"

struct ask {
    struct ll_keys keys;
    struct ll_resolver_from resolver;
    struct ll_find find;
    bool wkd, dns;
};

static void print_places(const struct ll_find *f)
{
    static const char *const texts[] = {
        [LL_FIND_FOUND] = "found",         [LL_FIND_NONE] = "nothing is published",
        [LL_FIND_INSECURE] = "NOT PROVEN", [LL_FIND_LATER] = "no answer",
        [LL_FIND_UNUSABLE] = "not usable", [LL_FIND_SKIPPED] = "not asked",
    };
    struct ll_buf b = LL_BUF(65536);

    for (size_t p = 0; p < LL_FIND_PLACES_N; p++) {
        ll_buf_clear(&b);
        ll_buf_printf(&b, "%-10s %s", ll_find_place_word((enum ll_find_place)p),
                      texts[f->result[p]]);
        if (f->why[p].n > 0) {
            ll_buf_puts(&b, ": ");
            ll_keys_put_text(&b, f->why[p]);
        }
        if (f->place[p].n > 0) {
            ll_buf_puts(&b, " (");
            ll_keys_put_text(&b, f->place[p]);
            ll_buf_puts(&b, ")");
        }
        printf("%s\n", ll_buf_str(&b));
    }
    ll_buf_release(&b);
}

static int print_json(const struct ll_find *f)
{
    static const char *const seen[] = {
        [LL_KEYSTORE_NEW] = "new", [LL_KEYSTORE_SAME] = "same", [LL_KEYSTORE_CHANGED] = "changed"};
    struct ll_buf b = LL_BUF((size_t)16 << 20);
    struct ll_json j = LL_JSON(&b);

    ll_json_open(&j, '{');
    for (size_t p = 0; p < LL_FIND_PLACES_N; p++) {
        ll_json_key(&j, ll_find_place_word((enum ll_find_place)p));
        ll_json_open(&j, '{');
        ll_json_cstr(&j, "result", ll_find_result_word(f->result[p]));
        ll_json_str(&j, "reason", f->why[p]);
        ll_json_str(&j, "place", f->place[p]);
        ll_json_close(&j);
    }
    ll_json_key(&j, "keys");
    ll_json_open(&j, '[');
    for (size_t i = 0; i < f->stored.n; i++) {
        const struct ll_stored_key *s = &f->stored.key[i];

        ll_json_open(&j, '{');
        ll_json_cstr(&j, "kind", ll_seal_method_word(s->key.kind));
        ll_json_str(&j, "fingerprint", s->key.fingerprint);
        ll_json_str(&j, "name", s->key.name);
        ll_json_cstr(&j, "seen", seen[s->seen]);
        ll_json_str(&j, "other", s->other);
        ll_json_close(&j);
    }
    ll_json_close(&j);
    ll_json_close(&j);
    return ll_json_print(&b);
}

/* Found: 0. Else what is to be expected of asking again. */
static int exit_status(const struct ll_find *f)
{
    if (f->stored.n > 0)
        return 0;
    for (size_t p = 0; p < LL_FIND_PLACES_N; p++)
        if (f->result[p] == LL_FIND_LATER)
            return EX_TEMPFAIL;
    return EX_NOUSER;
}

static int ask(struct ask *a, const char *word)
{
    struct ll_keys *k = &a->keys;
    int status;

    if (!a->resolver.resolver)
        a->resolver.resolver = k->config->resolver;
    if (!a->resolver.trust_anchor)
        a->resolver.trust_anchor = k->config->trust_anchor;
    a->find.from.resolver = ll_resolver_new(&a->resolver);
    if (!a->find.from.resolver)
        return EX_CONFIG;
    a->find.stored =
        (struct ll_stored){.store = k->store, .arena = &k->arena, .now = k->now, .err = &k->err};
    a->find.places = (a->wkd ? 1u << LL_FIND_WKD : 0) |
                     (a->dns ? 1u << LL_FIND_OPENPGPKEY | 1u << LL_FIND_SMIMEA : 0);
    status = ll_find(&a->find, ll_slice_str(word));
    if (status == EX_USAGE)
        status = ll_fail(EX_USAGE, "\"%s\" is no mail address", word);
    else if (status)
        ll_keys_failed(k, status);
    ll_resolver_free(a->find.from.resolver);
    if (status)
        return status;
    if (k->json)
        status = print_json(&a->find);
    else
        print_places(&a->find);
    if (!k->json && a->find.stored.n > 0)
        status = ll_keys_report(k, &a->find.stored);
    return status ? status : exit_status(&a->find);
}

int ll_keys_find(int argc, char **argv)
{
    struct ask a = {0};
    const struct ll_opt opts[] = {
        {"wkd", 0, LL_OPT_FLAG, &a.wkd, NULL, "ask the Web Key Directory alone"},
        {"dns", 0, LL_OPT_FLAG, &a.dns, NULL, "ask for OPENPGPKEY and SMIMEA records alone"},
        LL_FETCH_OPTS(a.find.from),
        LL_RESOLVER_OPTS(a.resolver),
        LL_KEYS_OPTS(a.keys),
        LL_JSON_OPT(a.keys.json),
    };
    const struct ll_usage usage = {
        "keys find [options] ADDRESS",
        "Asks the domain of the address for its keys: Web Key Directory (https), OPENPGPKEY and\n"
        "SMIMEA records (believed with DNSSEC alone). What is found is put into the store; that\n"
        "the domain says so is no proof of who holds the key: `keys trust` is for that. Exit\n"
        "status 0: found, 67: nothing, 75: no answer.",
        opts,
        LL_COUNT(opts),
        1,
        1};
    struct ll_words words;
    int status;

    if (!ll_args_take(&usage, argc, argv, &words, &status))
        return status;
    if (a.find.from.port > 65535 || a.find.from.timeout > 3600)
        return ll_fail(EX_USAGE, "--https-port up to 65535, --timeout up to 3600");
    status = ll_keys_open(&a.keys, true);
    if (status == 0)
        status = ask(&a, words.v[0]);
    ll_keys_close(&a.keys);
    return status;
}
