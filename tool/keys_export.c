/* letterlock keys export: keys for others, for another device, for web and name servers. */
#include "letterlock/addr.h"
#include "letterlock/autocrypt.h"
#include "letterlock/wkd.h"
#include "tool/keys.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define OUT_MAX    ((size_t)64 << 20)
#define DNS_OCTETS ((size_t)60000) /* of a record that an answer over TCP holds */

struct export
{
    struct ll_keys keys;
    struct ll_password_from password, new_password;
    const char *output, *wkd;
    bool secret, minimal, binary, pkcs12, legacy, csr, dns, autocrypt, setup;
    struct ll_buf out;
    bool is_secret; /* what is in out */
};

static int seal_told(enum ll_seal_error e)
{
    return e ? ll_fail(e == LL_SEAL_RESOURCE ? EX_OSERR : EX_DATAERR, "the key: %s",
                       ll_seal_error_text(e))
             : 0;
}

static int load_pgp(struct export *x, const struct ll_keystore_key *key, bool secret,
                    struct ll_pgp **ret)
{
    struct ll_keys *k = &x->keys;

    *ret = ll_pgp_new();
    return *ret ? ll_keys_failed(k, ll_stored_load_pgp(k->store, key, secret, k->now, *ret,
                                                       &k->arena, &k->err))
                : ll_fail(EX_OSERR, "no memory");
}

/* ---- for the zone file
 * --------------------------------------------------------------------------- */

static void put_record(struct ll_buf *out, const char *type, const struct ll_dns_name *name,
                       const char *address, struct ll_slice rdata)
{
    ll_buf_printf(out, "; %s: the key of %s, of use in a DNSSEC-signed zone alone\n", type,
                  address);
    ll_buf_printf(out, "%s. IN %s ", name->text, type);
    if (strcmp(type, "SMIMEA") == 0) {
        ll_buf_puts(out, "3 0 0 "); /* this certificate, the whole of it: RFC 6698 2.1 */
        ll_hex_encode(out, rdata);
    } else {
        ll_base64_encode(out, rdata); /* RFC 7929 2.3 */
    }
    ll_buf_putc(out, '\n');
}

static int put_records(struct export *x, const struct ll_keystore_key *key)
{
    enum ll_dns_type type = key->kind == LL_SEAL_PGP ? LL_DNS_OPENPGPKEY : LL_DNS_SMIMEA;
    struct ll_pgp *ring = NULL;
    int status = key->kind == LL_SEAL_PGP ? load_pgp(x, key, false, &ring) : 0;

    for (size_t i = 0; status == 0 && i < key->n_address; i++) {
        struct ll_buf octets = LL_BUF(DNS_OCTETS);
        struct ll_dns_name name;
        struct ll_mailbox m;
        enum ll_seal_error e = LL_SEAL_OK;

        if (ll_mailbox_parse(key->address[i], true, &m) != LL_ADDR_OK ||
            !ll_wkd_dns_name(type, &m, false, &name))
            continue;
        if (ring)
            e = ll_pgp_export(ring, key->fingerprint, LL_PGP_MINIMAL, false, key->address[i],
                              &octets);
        else
            ll_buf_put_slice(&octets, key->octets);
        if (octets.failed)
            status = ll_fail(EX_DATAERR, "the key is too large for a DNS record");
        else if (e)
            status = seal_told(e);
        else
            put_record(&x->out, ll_dns_type_name((uint16_t)type), &name, m.text,
                       ll_buf_slice(&octets));
        ll_buf_release(&octets);
    }
    ll_pgp_free(ring);
    return status;
}

/* ---- for the web server
 * --------------------------------------------------------------------------- */

static int make_folders(char *path)
{
    for (char *p = strchr(path + 1, '/');; p = strchr(p + 1, '/')) {
        if (p)
            *p = '\0';
        /* A web server is to read it, whatever the umask. */
        if (mkdir(path, 0755) == 0 ? chmod(path, 0755) < 0 : errno != EEXIST)
            return ll_fail(EX_CANTCREAT, "%s: %s", path, strerror(errno));
        if (!p)
            return 0;
        *p = '/';
    }
}

/* DIR/.well-known/openpgpkey[/DOMAIN]/hu/HASH, and the policy file beside hu. */
static int put_wkd(const char *root, enum ll_wkd_method method, const struct ll_mailbox *m,
                   struct ll_slice key)
{
    struct ll_buf hash = LL_BUF(100), folder = LL_BUF(4096);
    char *hu = NULL, *file = NULL, *policy = NULL;
    int status = EX_OSERR;

    if (ll_wkd_hash(m, &hash) && ll_wkd_folder(method, ll_mailbox_domain(m), &folder) &&
        asprintf(&hu, "%s/%s/hu", root, ll_buf_str(&folder)) >= 0 &&
        asprintf(&file, "%s/%s", hu, ll_buf_str(&hash)) >= 0 &&
        asprintf(&policy, "%s/%s/policy", root, ll_buf_str(&folder)) >= 0)
        status = make_folders(hu);
    if (status == 0)
        status = ll_replace_file(file, key, 0644);
    if (status == 0 && access(policy, F_OK) < 0)
        status = ll_replace_file(policy, LL_LIT("# Web Key Directory\n"), 0644);
    if (status == 0)
        printf("%s\n", file);
    free(hu);
    free(file);
    free(policy);
    ll_buf_release(&hash);
    ll_buf_release(&folder);
    return status;
}

static int export_wkd(struct export *x, const struct ll_keystore_key *key)
{
    struct ll_pgp *ring = NULL;
    int status = key->kind == LL_SEAL_PGP
                     ? load_pgp(x, key, false, &ring)
                     : ll_fail(EX_USAGE, "a web key directory has OpenPGP keys "
                                         "alone");

    if (status == 0 && key->n_address == 0)
        status = ll_fail(EX_DATAERR, "the key has no address");
    for (size_t i = 0; status == 0 && i < key->n_address; i++) {
        struct ll_buf octets = LL_BUF(LL_WKD_KEY_MAX);
        struct ll_mailbox m;

        if (ll_mailbox_parse(key->address[i], true, &m) == LL_ADDR_OK && m.kind == LL_DOMAIN_NAME) {
            status = seal_told(ll_pgp_export(ring, key->fingerprint, LL_PGP_MINIMAL, false,
                                             key->address[i], &octets));
            if (status == 0)
                status = put_wkd(x->wkd, LL_WKD_ADVANCED, &m, ll_buf_slice(&octets));
            if (status == 0)
                status = put_wkd(x->wkd, LL_WKD_DIRECT, &m, ll_buf_slice(&octets));
        }
        ll_buf_release(&octets);
    }
    ll_pgp_free(ring);
    return status;
}

/* ---- OpenPGP
 * --------------------------------------------------------------------------------------- */

static struct ll_slice first_address(const struct ll_keystore_key *key)
{
    return key->n_address ? key->address[0] : LL_LIT("");
}

/* The message is made here, and the code shown: it must travel another way. */
static int put_setup(struct export *x, struct ll_pgp *ring, const struct ll_keystore_key *key)
{
    struct ll_buf armored = LL_BUF(OUT_MAX), text = LL_BUF(OUT_MAX), sealed = LL_BUF(OUT_MAX);
    uint8_t random[128 + 32];
    char code[LL_AUTOCRYPT_CODE_N + 1], boundary[40];
    struct ll_autocrypt_setup setup = {.address = first_address(key), .numeric = true};
    struct ll_buf hex = LL_BUF(100);
    int status = 0;

    if (getrandom(random, sizeof(random), 0) != sizeof(random) ||
        !ll_autocrypt_code(ll_slice(random, 128), code))
        return ll_fail(EX_OSERR, "no random numbers");
    ll_hex_encode(&hex, ll_slice(random + 128, 16));
    snprintf(boundary, sizeof(boundary), "%s", ll_buf_str(&hex));
    status =
        seal_told(ll_pgp_export(ring, key->fingerprint, LL_PGP_SECRET, true, LL_LIT(""), &armored));
    if (status == 0 && !ll_autocrypt_setup_key(ll_buf_slice(&armored), false, &text))
        status = ll_fail(EX_SOFTWARE, "no armored key");
    if (status == 0)
        status = seal_told(ll_pgp_encrypt_password(ring, ll_slice_str(code), ll_buf_slice(&text),
                                                   x->keys.now, &sealed));
    setup.message = ll_buf_slice(&sealed);
    setup.begin = ll_slice(code, 2);
    if (status == 0 && !ll_autocrypt_setup_put(&x->out, &setup, x->keys.now, ll_slice_str(boundary),
                                               ll_slice(random + 144, 16)))
        status = ll_fail(EX_SOFTWARE, "the letter cannot be made");
    if (status == 0)
        ll_fail(0, "setup code: %s", code);
    explicit_bzero(random, sizeof(random));
    explicit_bzero(code, sizeof(code));
    ll_buf_wipe(&armored);
    ll_buf_wipe(&text);
    ll_buf_release(&sealed);
    ll_buf_release(&hex);
    return status;
}

static int put_header(struct export *x, struct ll_pgp *ring, const struct ll_keystore_key *key)
{
    struct ll_buf octets = LL_BUF(LL_AUTOCRYPT_FIELD_MAX);
    struct ll_autocrypt a = {.address = first_address(key)};
    int status =
        seal_told(ll_pgp_export(ring, key->fingerprint, LL_PGP_MINIMAL, false, a.address, &octets));

    a.keydata = ll_buf_slice(&octets);
    if (status == 0 && !ll_autocrypt_put(&x->out, "Autocrypt", &a))
        status = ll_fail(EX_DATAERR, "the key is too large for an Autocrypt field");
    ll_buf_release(&octets);
    return status;
}

/* A secret key leaves as it is protected here; its owner is told when it is not. A setup message
 * has its own protection, and its reader wants the key open. */
static int unlock(struct export *x, struct ll_pgp *ring, struct ll_slice print)
{
    struct ll_buf password = LL_BUF(0);
    struct ll_pgp_key key;
    int status = seal_told(ll_pgp_key(ring, print, x->keys.now, &x->keys.arena, &key));

    if (status == 0 && !key.locked && x->secret)
        ll_fail(0, "warning: this secret key has no password");
    if (status || !key.locked || !x->setup)
        return status;
    status = ll_password_get(&x->password, false, &password);
    if (status == 0)
        status = seal_told(ll_pgp_unlock(ring, print, ll_buf_slice(&password)));
    if (status == 0)
        status = seal_told(ll_pgp_set_password(ring, print, LL_LIT("")));
    ll_buf_wipe(&password);
    return status;
}

static int export_pgp(struct export *x, const struct ll_keystore_key *key)
{
    struct ll_pgp *ring = NULL;
    int status = load_pgp(x, key, x->secret || x->setup, &ring);
    enum ll_pgp_form form = x->secret ? LL_PGP_SECRET : x->minimal ? LL_PGP_MINIMAL : LL_PGP_PUBLIC;

    if (status == 0 && (x->pkcs12 || x->csr))
        status = ll_fail(EX_USAGE, "--pkcs12 and --csr are of S/MIME; this is an OpenPGP key");
    if (status == 0 && (x->secret || x->setup)) {
        x->is_secret = true;
        status = key->own ? unlock(x, ring, key->fingerprint)
                          : ll_fail(EX_DATAERR, "its secret key is not here");
    }
    if (status == 0)
        status = x->setup       ? put_setup(x, ring, key)
                 : x->autocrypt ? put_header(x, ring, key)
                                : seal_told(ll_pgp_export(ring, key->fingerprint, form, !x->binary,
                                                          first_address(key), &x->out));
    ll_pgp_free(ring);
    return status;
}

/* ---- S/MIME
 * ---------------------------------------------------------------------------------------- */

static int open_key(struct export *x, struct ll_smime *in, struct ll_slice print,
                    struct ll_buf *ret_password)
{
    struct ll_smime_cert c;
    int status = seal_told(ll_smime_cert(in, print, &x->keys.arena, &c));

    if (status == 0 && !c.secret)
        return ll_fail(EX_DATAERR, "its secret key is not here");
    if (status == 0 && (c.locked || x->pkcs12)) /* a file of PKCS#12 gets the same password */
        status = ll_password_get(&x->password, x->pkcs12 && !c.locked, ret_password);
    if (status == 0 && c.locked)
        status = seal_told(ll_smime_unlock(in, print, ll_buf_slice(ret_password)));
    return status;
}

/* As it lies in the store: the key in its protection, and its certificates (PEM). */
static int export_identity(struct export *x, const struct ll_keystore_key *key)
{
    struct ll_keys *k = &x->keys;
    int status = ll_keys_told(
        k, ll_keystore_secret(k->store, key->kind, key->fingerprint, &x->out, &k->err), "");

    x->is_secret = true;
    if (status == 0 && ll_slice_search(ll_buf_slice(&x->out), LL_LIT("ENCRYPTED")) == x->out.n)
        ll_fail(0, "warning: this secret key has no password");
    return status;
}

static int export_smime(struct export *x, const struct ll_keystore_key *key)
{
    struct ll_keys *k = &x->keys;
    struct ll_smime *in;
    struct ll_buf password = LL_BUF(0);
    bool secret = x->pkcs12 || x->csr;
    enum ll_smime_form form = x->pkcs12   ? x->legacy ? LL_SMIME_PKCS12_LEGACY : LL_SMIME_PKCS12
                              : x->binary ? LL_SMIME_CERT_DER
                                          : LL_SMIME_CHAIN;
    int status;

    if (x->minimal || x->autocrypt || x->setup)
        return ll_fail(EX_USAGE, "--minimal, --autocrypt and --setup are of OpenPGP; this is a "
                                 "certificate");
    if (x->secret)
        return export_identity(x, key);
    in = ll_smime_new();
    status = in ? ll_keys_failed(k, ll_stored_load_cas(k->store, in, &k->arena, &k->err))
                : ll_fail(EX_OSERR, "no memory");
    if (status == 0)
        status =
            ll_keys_failed(k, ll_stored_load_smime(k->store, key, secret, in, &k->arena, &k->err));
    if (status == 0 && secret)
        status = open_key(x, in, key->fingerprint, &password);
    x->is_secret = x->pkcs12;
    if (status == 0)
        status = seal_told(
            x->csr ? ll_smime_request(in, key->fingerprint, &x->out)
                   : ll_smime_export(in, key->fingerprint, form, ll_buf_slice(&password), &x->out));
    ll_buf_wipe(&password);
    ll_smime_free(in);
    return status;
}

/* ---- the command
 * ----------------------------------------------------------------------------------- */

static int write_out(struct export *x)
{
    struct ll_slice s = ll_buf_slice(&x->out);

    if (x->output && strcmp(x->output, "-") != 0)
        return ll_replace_file(x->output, s, x->is_secret ? 0600 : 0644);
    if ((x->pkcs12 || x->binary) && isatty(STDOUT_FILENO))
        return ll_fail(EX_USAGE, "binary octets are not written to a terminal: --output FILE");
    return fwrite(s.p ? (const void *)s.p : "", 1, s.n, stdout) == s.n
               ? 0
               : ll_fail(EX_IOERR, "standard output: %s", strerror(errno));
}

static int export_one(struct export *x, const char *word)
{
    struct ll_keystore_key key;
    int status = ll_keys_pick(&x->keys, word, x->secret || x->setup || x->pkcs12 || x->csr, &key);

    if (status)
        return status;
    return x->wkd                    ? export_wkd(x, &key)
           : x->dns                  ? put_records(x, &key)
           : key.kind == LL_SEAL_PGP ? export_pgp(x, &key)
                                     : export_smime(x, &key);
}

int ll_keys_export(int argc, char **argv)
{
    struct export x = {.out = LL_BUF(OUT_MAX)};
    const struct ll_opt opts[] = {
        {"output", 'o', LL_OPT_TEXT, &x.output, "FILE", "write there (0600 for secret keys)"},
        {"secret", 0, LL_OPT_FLAG, &x.secret, NULL, "with the secret key, protected as it is"},
        {"minimal", 0, LL_OPT_FLAG, &x.minimal, NULL, "OpenPGP: what is needed to write to you"},
        {"binary", 0, LL_OPT_FLAG, &x.binary, NULL, "binary OpenPGP, or a DER certificate"},
        {"pkcs12", 0, LL_OPT_FLAG, &x.pkcs12, NULL, "S/MIME: key and certificates as PKCS#12"},
        {"legacy", 0, LL_OPT_FLAG, &x.legacy, NULL, "... for GnuPG 2.2 and old systems (3DES)"},
        {"csr", 0, LL_OPT_FLAG, &x.csr, NULL, "S/MIME: a request to an authority (PKCS#10)"},
        {"autocrypt", 0, LL_OPT_FLAG, &x.autocrypt, NULL, "OpenPGP: an Autocrypt header field"},
        {"setup", 0, LL_OPT_FLAG, &x.setup, NULL, "OpenPGP: an Autocrypt setup message"},
        {"wkd", 0, LL_OPT_TEXT, &x.wkd, "DIR", "files of a web key directory below DIR"},
        {"dns", 0, LL_OPT_FLAG, &x.dns, NULL, "OPENPGPKEY and SMIMEA records, zone-file form"},
        LL_KEYS_PASSWORD_OPTS(x.password),
        LL_KEYS_KIND_OPTS(x.keys),
        LL_KEYS_OPTS(x.keys),
    };
    const struct ll_usage usage = {
        "keys export [options] ADDRESS|FINGERPRINT...",
        "Writes keys: public ones by default, in armor or PEM. --wkd makes both layouts, ready to\n"
        "be served as https://openpgpkey.DOMAIN/ and https://DOMAIN/. --setup shows a code: it\n"
        "opens the message on your other device, and must not travel with it.",
        opts,
        LL_COUNT(opts),
        1,
        LL_ARGS_LIST_MAX};
    struct ll_words words;
    int status;

    if (!ll_args_take(&usage, argc, argv, &words, &status))
        return status;
    if (x.secret + x.minimal + x.pkcs12 + x.csr + x.autocrypt + x.setup + (x.wkd != NULL) + x.dns >
        1)
        return ll_fail(EX_USAGE, "one form at a time (see `letterlock keys export --help`)");
    status = ll_keys_open(&x.keys, false);
    for (size_t i = 0; status == 0 && i < words.n; i++)
        status = export_one(&x, words.v[i]);
    if (status == 0 && x.out.failed)
        status = ll_fail(EX_OSERR, "no memory");
    if (status == 0 && !x.wkd)
        status = write_out(&x);
    ll_buf_wipe(&x.out);
    ll_keys_close(&x.keys);
    return status;
}
