/* letterlock keys check: can letters be sealed to a key, and is it trusted, and if not, why. */
#include "tool/client/find.h"
#include "tool/keys.h"

struct check {
    struct ll_keys keys;
    struct ll_fetch_from from;
    struct ll_resolver_from resolver;
    bool revocation;
};

/* CRLs and OCSP of the certificate and of the authorities above it that are here. */
static int ask(struct check *c, struct ll_smime *in, struct ll_slice fingerprint)
{
    struct ll_keys *k = &c->keys;
    struct ll_buf why = LL_BUF(65536);
    size_t n;

    if (!c->resolver.resolver)
        c->resolver.resolver = k->config->resolver;
    if (!c->resolver.trust_anchor)
        c->resolver.trust_anchor = k->config->trust_anchor;
    c->from.resolver = ll_resolver_new(&c->resolver);
    if (!c->from.resolver)
        return EX_CONFIG;
    n = ll_find_revocation(&c->from, in, fingerprint, &k->arena, &why);
    if (why.n > 0)
        ll_fail_text(0, &why);
    if (!k->json)
        printf("revocation: %zu answers of the authority\n", n);
    ll_resolver_free(c->from.resolver);
    ll_buf_release(&why);
    return 0;
}

static int told(struct check *c, const struct ll_keystore_key *key, bool good, const char *text,
                struct ll_slice detail)
{
    struct ll_buf b = LL_BUF(65536);
    struct ll_json j = LL_JSON(&b);

    if (c->keys.json) {
        ll_json_open(&j, '{');
        ll_json_str(&j, "fingerprint", key->fingerprint);
        ll_json_bool(&j, "good", good);
        ll_json_cstr(&j, "reason", text);
        ll_json_str(&j, "detail", detail);
        ll_json_close(&j);
        ll_json_print(&b);
    } else {
        ll_keys_put_text(&b, detail);
        printf("%s: %s%s%s\n", good ? "good" : "NOT GOOD", text, detail.n ? ": " : "",
               ll_buf_str(&b));
        ll_buf_release(&b);
    }
    return good ? 0 : EX_DATAERR;
}

static int check_smime(struct check *c, const struct ll_keystore_key *key)
{
    struct ll_keys *k = &c->keys;
    struct ll_smime *in = ll_smime_new();
    struct ll_slice detail = LL_LIT("");
    enum ll_smime_fault fault;
    int status = in ? ll_keys_failed(k, ll_stored_load_cas(k->store, in, &k->arena, &k->err))
                    : ll_fail(EX_OSERR, "no memory");

    if (status == 0)
        status =
            ll_keys_failed(k, ll_stored_load_smime(k->store, key, false, in, &k->arena, &k->err));
    if (status == 0 && c->revocation)
        status = ask(c, in, key->fingerprint);
    if (status == 0) {
        fault = ll_smime_check(in, key->fingerprint, LL_SMIME_ENCRYPT, LL_LIT(""), k->now,
                               &k->arena, &detail);
        status = told(c, key, fault == LL_SMIME_FAULT_OK, ll_smime_fault_text(fault), detail);
    }
    ll_smime_free(in);
    return status;
}

static int check_pgp(struct check *c, const struct ll_keystore_key *key)
{
    const char *state = ll_keys_state(key, c->keys.now);
    bool usable = strcmp(state, "usable") == 0;
    struct ll_buf b = LL_BUF(65536);
    int status;

    if (c->revocation)
        return ll_fail(EX_USAGE, "--revocation is of S/MIME; `keys find` fetches an OpenPGP key "
                                 "anew");
    ll_keys_put_trust(&b, key);
    status = told(c, key, usable && (key->own || key->trust == LL_KEYSTORE_VERIFIED), state,
                  ll_buf_slice(&b));
    ll_buf_release(&b);
    return status;
}

int ll_keys_check(int argc, char **argv)
{
    struct check c = {0};
    const struct ll_opt opts[] = {
        {"revocation", 0, LL_OPT_FLAG, &c.revocation, NULL,
         "S/MIME: ask the authority (CRL, OCSP) whether it was revoked"},
        LL_FETCH_OPTS(c.from),
        LL_RESOLVER_OPTS(c.resolver),
        LL_KEYS_KIND_OPTS(c.keys),
        LL_KEYS_OPTS(c.keys),
        LL_JSON_OPT(c.keys.json),
    };
    const struct ll_usage usage = {
        "keys check [options] ADDRESS|FINGERPRINT",
        "Can letters be sealed to the key, and is it proven whose it is: by you, or for a\n"
        "certificate by an authority that you trust. Exit status 0: yes, 65: no, and why. With\n"
        "--revocation the authority learns that somebody looks at this certificate.",
        opts,
        LL_COUNT(opts),
        1,
        1};
    struct ll_keystore_key key;
    struct ll_words words;
    int status;

    if (!ll_args_take(&usage, argc, argv, &words, &status))
        return status;
    if (c.from.port > 65535 || c.from.timeout > 3600)
        return ll_fail(EX_USAGE, "--https-port up to 65535, --timeout up to 3600");
    status = ll_keys_open(&c.keys, false);
    if (status == 0)
        status = ll_keys_pick(&c.keys, words.v[0], false, &key);
    if (status == 0)
        status = key.kind == LL_SEAL_SMIME ? check_smime(&c, &key) : check_pgp(&c, &key);
    ll_keys_close(&c.keys);
    return status;
}
