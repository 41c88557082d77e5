/* letterlock cert: the certificates that the server shows. */
#include "tool/json_out.h"
#include "tool/tool.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>

static void put_names(struct ll_buf *out, X509 *cert)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);

        if (n->type != GEN_DNS)
            continue;
        if (out->n > 0)
            ll_buf_putc(out, ' ');
        ll_escape(
            out,
            ll_slice(ASN1_STRING_get0_data(n->d.dNSName), (size_t)ASN1_STRING_length(n->d.dNSName)),
            253);
    }
    GENERAL_NAMES_free(names);
}

static void put_date(struct ll_buf *out, const ASN1_TIME *t)
{
    struct tm tm;

    if (ASN1_TIME_to_tm(t, &tm) == 1)
        ll_time_rfc3339(out, (int64_t)timegm(&tm));
}

/* SHA-256 of the public key: what a pin, and TLSA 3 1 1, hold. */
static void put_pin(struct ll_buf *out, X509 *cert)
{
    uint8_t *der = NULL, hash[SHA256_DIGEST_LENGTH];
    int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);

    if (n > 0) {
        SHA256(der, (size_t)n, hash);
        ll_hex_encode(out, ll_slice(hash, sizeof(hash)));
    }
    OPENSSL_free(der);
}

static const char *key_name(X509 *cert)
{
    const EVP_PKEY *key = X509_get0_pubkey(cert);

    return !key ? "?" : EVP_PKEY_base_id(key) == EVP_PKEY_RSA ? "RSA" : "ECDSA";
}

static bool show(struct ll_json *j, const struct ll_conf_certificate *v)
{
    struct ll_buf names = LL_BUF(65536), until = LL_BUF(64), pin = LL_BUF(128);
    FILE *f = fopen(v->cert, "re");
    X509 *cert = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;

    if (cert) {
        put_names(&names, cert);
        put_date(&until, X509_get0_notAfter(cert));
        put_pin(&pin, cert);
    }
    if (cert && j) {
        ll_json_open(j, '{');
        ll_json_cstr(j, "title", v->title);
        ll_json_cstr(j, "key", key_name(cert));
        ll_json_key(j, "names");
        ll_json_open(j, '[');
        for (struct ll_slice rest = ll_buf_slice(&names), one; ll_slice_next(&rest, ' ', &one);)
            ll_json_str(j, NULL, one);
        ll_json_close(j);
        ll_json_str(j, "until", ll_buf_slice(&until));
        ll_json_str(j, "pin", ll_buf_slice(&pin));
        ll_json_cstr(j, "file", v->cert);
        ll_json_close(j);
    } else if (cert) {
        printf("%s: %s, until %.*s\n    names %.*s\n    pin   %.*s\n    file  %s\n", v->title,
               key_name(cert), LL_FMT(ll_buf_slice(&until)), LL_FMT(ll_buf_slice(&names)),
               LL_FMT(ll_buf_slice(&pin)), v->cert);
    } else {
        ll_fail(0, "%s: %s holds no certificate in PEM form", v->title, v->cert);
    }
    X509_free(cert);
    ERR_clear_error();
    if (f)
        fclose(f);
    ll_buf_release(&names);
    ll_buf_release(&until);
    ll_buf_release(&pin);
    return cert != NULL;
}

static int cert_list(int argc, char **argv)
{
    struct ll_where where = {0};
    bool json = false, all = true;
    const struct ll_opt opts[] = {LL_WHERE_OPTS(where), LL_JSON_OPT(json)};
    const struct ll_usage usage = {
        "cert list [options]",
        "Lists the certificates of the configuration: names, end of validity, and the pin of\n"
        "the key (SHA-256, as `send --pin` and TLSA 3 1 1 take it).",
        opts,
        LL_COUNT(opts),
        0,
        0};
    struct ll_buf out = LL_BUF(8u << 20);
    struct ll_json j = LL_JSON(&out);
    struct ll_words words;
    struct ll_conf *conf;
    int status;

    if (!ll_args_take(&usage, argc, argv, &words, &status))
        return status;
    conf = ll_where_conf(&where, &status);
    if (!conf)
        return status;
    ll_json_open(&j, '[');
    for (size_t i = 0; i < conf->n_certificate; i++)
        all = show(json ? &j : NULL, &conf->certificate[i]) && all;
    ll_json_close(&j);
    if (json)
        ll_json_print(&out);
    ll_buf_release(&out);
    ll_conf_free(conf);
    return all ? 0 : EX_DATAERR;
}

int ll_cmd_cert(int argc, char **argv)
{
    static const struct ll_sub subs[] = {{"list", cert_list, "the certificates and their pins"}};

    return ll_sub_run("cert", subs, LL_COUNT(subs), argc, argv);
}
