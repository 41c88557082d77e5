/* letterlock keys new, expire, revoke, passwd: own keys made and changed. */
#include "letterlock/addr.h"
#include "tool/keys.h"

#include <sys/random.h>

#define LIFETIME "3y" /* of a new key; `keys expire` and a new certificate renew it */

struct make {
    const char *name, *expire, *algorithm;
    bool no_password;
    struct ll_password_from password;
};

static int get_password(const struct make *m, bool anew, struct ll_buf *ret)
{
    if (!m->no_password)
        return ll_password_get(&m->password, anew, ret);
    ll_buf_init(ret, 1);
    return m->password.file || m->password.command
               ? ll_fail(EX_USAGE, "a password, or --no-password: not both")
               : 0;
}

static int seal_told(enum ll_seal_error e)
{
    return e ? ll_fail(e == LL_SEAL_RESOURCE ? EX_OSERR : EX_DATAERR, "the key: %s",
                       ll_seal_error_text(e))
             : 0;
}

static int make_pgp(struct ll_keys *k, const struct make *m, struct ll_slice address,
                    uint32_t lifetime, struct ll_slice password, struct ll_stored *s)
{
    struct ll_pgp *ring = ll_pgp_new();
    struct ll_buf id = LL_BUF(LL_PGP_USER_ID_MAX);
    struct ll_slice print = {NULL, 0};
    enum ll_seal_error e = LL_SEAL_RESOURCE;
    int status;

    ll_buf_printf(&id, m->name ? "%s <%.*s>" : "%s<%.*s>", m->name ? m->name : "", LL_FMT(address));
    if (ring && !id.failed)
        e = ll_pgp_generate(ring, ll_buf_slice(&id), password, k->now, lifetime, &k->arena, &print);
    status = e ? seal_told(e) : ll_stored_from_ring(s, ring, print);
    ll_buf_release(&id);
    ll_pgp_free(ring);
    return e ? status : ll_keys_failed(k, status);
}

static int make_smime(struct ll_keys *k, const struct make *m, struct ll_slice address,
                      uint32_t lifetime, struct ll_slice password, struct ll_stored *s)
{
    struct ll_smime *in = ll_smime_new();
    struct ll_slice print = {NULL, 0};
    enum ll_seal_error e = LL_SEAL_RESOURCE;
    enum ll_smime_kind kind = LL_SMIME_RSA;
    int status;

    for (int i = LL_SMIME_RSA; m->algorithm && i <= LL_SMIME_P384; i++)
        if (strcmp(ll_smime_kind_word((enum ll_smime_kind)i), m->algorithm) == 0)
            kind = (enum ll_smime_kind)i;
    if (in)
        e = ll_smime_generate(in, address, ll_slice_str(m->name), kind, k->now, lifetime, &k->arena,
                              &print);
    status = e ? seal_told(e) : ll_stored_from_smime(s, in, print, password);
    ll_smime_free(in);
    return e ? status : ll_keys_failed(k, status);
}

static int make(struct ll_keys *k, const struct make *m, const char *text)
{
    struct ll_stored s = {.source = LL_KEYSTORE_MADE};
    struct ll_buf password = LL_BUF(0);
    struct ll_mailbox box;
    uint32_t lifetime = 0;
    int status;

    if (ll_mailbox_parse(ll_slice_str(text), true, &box) != LL_ADDR_OK ||
        box.kind != LL_DOMAIN_NAME)
        return ll_fail(EX_USAGE, "\"%s\" is no mail address; write it like ann@example.org", text);
    if (!ll_keys_lifetime(m->expire ? m->expire : LIFETIME, &lifetime) ||
        (k->smime && lifetime == 0))
        return ll_fail(EX_USAGE, "--expire %s: write 90d, 26w, 18m, 2y%s", m->expire,
                       k->smime ? " (a certificate has an end)" : " or never");
    if (m->algorithm &&
        (!k->smime || (strcmp(m->algorithm, "rsa") && strcmp(m->algorithm, "p256") &&
                       strcmp(m->algorithm, "p384"))))
        return ll_fail(EX_USAGE, "--algorithm rsa, p256 or p384, with --smime alone");
    status = get_password(m, true, &password);
    if (status == 0)
        status = ll_keys_open(k, true);
    s.store = k->store;
    s.arena = &k->arena;
    s.now = k->now;
    s.err = &k->err;
    if (status == 0)
        status = (k->smime ? make_smime : make_pgp)(k, m, ll_mailbox_text(&box), lifetime,
                                                    ll_buf_slice(&password), &s);
    if (status == 0)
        status = ll_keys_report(k, &s);
    ll_buf_wipe(&password);
    ll_keys_close(k);
    return status;
}

int ll_keys_new(int argc, char **argv)
{
    struct ll_keys k = {0};
    struct make m = {0};
    const struct ll_opt opts[] = {
        {"pgp", 0, LL_OPT_FLAG, &k.pgp, NULL, "an OpenPGP key: Ed25519 and X25519 (the default)"},
        {"smime", 0, LL_OPT_FLAG, &k.smime, NULL, "an S/MIME key with a self-signed certificate"},
        {"name", 0, LL_OPT_TEXT, &m.name, "NAME", "your name, beside the address"},
        {"expire", 0, LL_OPT_TEXT, &m.expire, "TIME", "90d, 26w, 18m, 2y or never (" LIFETIME ")"},
        {"algorithm", 0, LL_OPT_TEXT, &m.algorithm, "WORD", "S/MIME: rsa, p256 or p384 (rsa)"},
        {"no-password", 0, LL_OPT_FLAG, &m.no_password, NULL, "leave the secret key unprotected"},
        LL_KEYS_PASSWORD_OPTS(m.password),
        LL_KEYS_OPTS(k),
        LL_JSON_OPT(k.json),
    };
    const struct ll_usage usage = {
        "keys new [options] ADDRESS",
        "Makes a key of your own. The password that protects it is asked for. For a certificate\n"
        "of an authority: make one here, `keys export --csr`, and `keys import` what comes back.",
        opts,
        LL_COUNT(opts),
        1,
        1};
    struct ll_words words;
    int status;

    if (!ll_args_take(&usage, argc, argv, &words, &status))
        return status;
    if (k.pgp && k.smime)
        return ll_fail(EX_USAGE, "one key at a time: --pgp or --smime");
    return make(&k, &m, words.v[0]);
}

/* ---- changes
 * ------------------------------------------------------------------------------------- */

struct edit {
    struct ll_password_from password, new_password;
    const char *in, *reason, *certificate;
    bool no_password;
};

typedef int edit_fn(struct ll_keys *, const struct edit *, struct ll_pgp *, struct ll_slice print);

/* Unlocks; the password is asked for where there is one. */
static int unlock(struct ll_keys *k, const struct edit *e, struct ll_pgp *ring,
                  struct ll_slice print)
{
    struct ll_buf password = LL_BUF(0);
    struct ll_pgp_key key;
    int status = seal_told(ll_pgp_key(ring, print, k->now, &k->arena, &key));

    if (status || !key.locked)
        return status;
    status = ll_password_get(&e->password, false, &password);
    if (status == 0)
        status = seal_told(ll_pgp_unlock(ring, print, ll_buf_slice(&password)));
    ll_buf_wipe(&password);
    return status;
}

static int edit_pgp(struct ll_keys *k, const struct edit *e, const struct ll_keystore_key *key,
                    edit_fn *fn)
{
    struct ll_stored s = {.store = k->store,
                          .arena = &k->arena,
                          .now = k->now,
                          .source = LL_KEYSTORE_MADE,
                          .err = &k->err};
    struct ll_pgp *ring = ll_pgp_new();
    int status = ring ? ll_keys_failed(k, ll_stored_load_pgp(k->store, key, true, k->now, ring,
                                                             &k->arena, &k->err))
                      : ll_fail(EX_OSERR, "no memory");

    if (status == 0)
        status = unlock(k, e, ring, key->fingerprint);
    if (status == 0)
        status = fn(k, e, ring, key->fingerprint);
    if (status == 0)
        status = ll_keys_failed(k, ll_stored_from_ring(&s, ring, key->fingerprint));
    ll_pgp_free(ring);
    return status;
}

static int edit(const struct ll_usage *usage, struct ll_keys *k, const struct edit *e, int argc,
                char **argv, edit_fn *fn)
{
    struct ll_keystore_key key;
    struct ll_words words;
    int status;

    if (!ll_args_take(usage, argc, argv, &words, &status))
        return status;
    k->pgp = true;
    status = ll_keys_open(k, false);
    if (status == 0)
        status = ll_keys_pick(k, words.v[0], true, &key);
    if (status == 0)
        status = edit_pgp(k, e, &key, fn);
    ll_keys_close(k);
    return status;
}

static int do_expire(struct ll_keys *k, const struct edit *e, struct ll_pgp *ring,
                     struct ll_slice print)
{
    uint32_t lifetime;

    if (!ll_keys_lifetime(e->in ? e->in : LIFETIME, &lifetime))
        return ll_fail(EX_USAGE, "--in %s: write 90d, 26w, 18m, 2y or never", e->in);
    return seal_told(ll_pgp_set_expiry(ring, print, lifetime ? k->now + lifetime : 0, k->now));
}

int ll_keys_expire(int argc, char **argv)
{
    struct ll_keys k = {0};
    struct edit e = {0};
    const struct ll_opt opts[] = {
        {"in", 0, LL_OPT_TEXT, &e.in, "TIME",
         "90d, 26w, 18m, 2y from now, or never (" LIFETIME ")"},
        LL_KEYS_PASSWORD_OPTS(e.password),
        LL_KEYS_OPTS(k),
    };
    const struct ll_usage usage = {
        "keys expire [options] ADDRESS|FINGERPRINT",
        "Changes when an own OpenPGP key expires. Publish it again afterwards.",
        opts,
        LL_COUNT(opts),
        1,
        1};

    return edit(&usage, &k, &e, argc, argv, do_expire);
}

static int do_revoke(struct ll_keys *k, const struct edit *e, struct ll_pgp *ring,
                     struct ll_slice print)
{
    struct ll_buf out = LL_BUF(1 << 16);
    enum ll_pgp_reason why = LL_PGP_NO_REASON;
    int status;

    if (e->reason && !ll_pgp_reason_parse(ll_slice_str(e->reason), &why))
        return ll_fail(EX_USAGE, "--reason no, superseded, compromised or retired");
    if (!e->certificate)
        return seal_told(ll_pgp_revoke(ring, print, why, k->now));
    status = seal_told(ll_pgp_revocation(ring, print, why, k->now, &out));
    if (status == 0)
        status = ll_replace_file(e->certificate, ll_buf_slice(&out), 0600);
    ll_buf_release(&out);
    return status;
}

int ll_keys_revoke(int argc, char **argv)
{
    struct ll_keys k = {0};
    struct edit e = {0};
    const struct ll_opt opts[] = {
        {"reason", 0, LL_OPT_TEXT, &e.reason, "WORD",
         "no, superseded, compromised or retired (no)"},
        {"certificate", 0, LL_OPT_TEXT, &e.certificate, "FILE",
         "write a revocation to keep for a bad day; the key stays as it is"},
        LL_KEYS_PASSWORD_OPTS(e.password),
        LL_KEYS_OPTS(k),
    };
    const struct ll_usage usage = {
        "keys revoke [options] ADDRESS|FINGERPRINT",
        "Takes an own OpenPGP key back, for ever. Letters sealed to it can still be read here.\n"
        "Publish it again afterwards: others learn of it in no other way.",
        opts,
        LL_COUNT(opts),
        1,
        1};

    return edit(&usage, &k, &e, argc, argv, do_revoke);
}

static int new_password(const struct edit *e, struct ll_buf *ret)
{
    if (!e->no_password)
        return ll_password_get(&e->new_password, true, ret);
    ll_buf_init(ret, 1);
    return 0;
}

static int do_passwd_pgp(struct ll_keys *k, const struct edit *e, struct ll_pgp *ring,
                         struct ll_slice print)
{
    struct ll_buf password = LL_BUF(0);
    int status = new_password(e, &password);

    if (status == 0)
        status = seal_told(ll_pgp_set_password(ring, print, ll_buf_slice(&password)));
    ll_buf_wipe(&password);
    return status;
}

static int passwd_smime(struct ll_keys *k, const struct edit *e, const struct ll_keystore_key *key)
{
    struct ll_stored s = {.store = k->store,
                          .arena = &k->arena,
                          .now = k->now,
                          .source = LL_KEYSTORE_MADE,
                          .err = &k->err};
    struct ll_buf old = LL_BUF(0), new = LL_BUF(0);
    struct ll_smime *in = ll_smime_new();
    struct ll_smime_cert c;
    int status =
        in ? ll_keys_failed(k, ll_stored_load_smime(k->store, key, true, in, &k->arena, &k->err))
           : ll_fail(EX_OSERR, "no memory");

    if (status == 0)
        status = seal_told(ll_smime_cert(in, key->fingerprint, &k->arena, &c));
    if (status == 0 && c.locked) {
        status = ll_password_get(&e->password, false, &old);
        if (status == 0)
            status = seal_told(ll_smime_unlock(in, key->fingerprint, ll_buf_slice(&old)));
    }
    if (status == 0)
        status = new_password(e, &new);
    if (status == 0)
        status =
            ll_keys_failed(k, ll_stored_from_smime(&s, in, key->fingerprint, ll_buf_slice(&new)));
    ll_buf_wipe(&old);
    ll_buf_wipe(&new);
    ll_smime_free(in);
    return status;
}

int ll_keys_passwd(int argc, char **argv)
{
    struct ll_keys k = {0};
    struct edit e = {0};
    const struct ll_opt opts[] = {
        LL_KEYS_PASSWORD_OPTS(e.password),
        {"new-password-file", 0, LL_OPT_TEXT, &e.new_password.file, "FILE",
         "the new one in the first line of FILE"},
        {"new-password-command", 0, LL_OPT_TEXT, &e.new_password.command, "CMD",
         "the new one in the first line that CMD prints"},
        {"no-password", 0, LL_OPT_FLAG, &e.no_password, NULL, "leave the secret key unprotected"},
        LL_KEYS_KIND_OPTS(k),
        LL_KEYS_OPTS(k),
    };
    const struct ll_usage usage = {"keys passwd [options] ADDRESS|FINGERPRINT",
                                   "Changes the password of an own key. Both are asked for.",
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
        status = ll_keys_pick(&k, words.v[0], true, &key);
    if (status == 0)
        status = key.kind == LL_SEAL_PGP ? edit_pgp(&k, &e, &key, do_passwd_pgp)
                                         : passwd_smime(&k, &e, &key);
    ll_keys_close(&k);
    return status;
}
