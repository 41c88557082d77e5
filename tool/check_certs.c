/* See tool/check.h: certificates. */
#include "tool/check.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <time.h>

#define SOON_DAYS 14

static X509 *read_cert(const char *path)
{
    FILE *f = fopen(path, "re");
    X509 *cert = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;

    if (f)
        fclose(f);
    return cert;
}

static void check_key(struct ll_check *c, const struct ll_conf_certificate *v, X509 *cert)
{
    FILE *f = fopen(v->key, "re");
    EVP_PKEY *key = f ? PEM_read_PrivateKey(f, NULL, NULL, (void *)(uintptr_t) "") : NULL;

    if (!f && errno == EACCES)
        ll_check_say(c, LL_FINDING_NOTE, "certificate", "%s: the key may be read by root alone",
                     v->title);
    else if (!key)
        ll_check_say(c, LL_FINDING_FAULT, "certificate",
                     "%s: %s is no private key without "
                     "passphrase",
                     v->title, v->key);
    else if (X509_check_private_key(cert, key) != 1)
        ll_check_say(c, LL_FINDING_FAULT, "certificate",
                     "%s: the key is not that of the "
                     "certificate",
                     v->title);
    EVP_PKEY_free(key);
    if (f)
        fclose(f);
}

static void check_dates(struct ll_check *c, const struct ll_conf_certificate *v, X509 *cert)
{
    time_t soon = time(NULL) + SOON_DAYS * 86400;
    int days = 0, seconds = 0;

    if (X509_cmp_current_time(X509_get0_notBefore(cert)) > 0)
        ll_check_say(c, LL_FINDING_FAULT, "certificate", "%s is not valid yet", v->title);
    else if (X509_cmp_current_time(X509_get0_notAfter(cert)) < 0)
        ll_check_say(c, LL_FINDING_FAULT, "certificate", "%s has expired", v->title);
    else if (ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(cert)) == 1)
        ll_check_say(c,
                     X509_cmp_time(X509_get0_notAfter(cert), &soon) < 0 ? LL_FINDING_WARNING
                                                                        : LL_FINDING_OK,
                     "certificate", "%s is valid for %d more days", v->title, days);
}

static bool check_one(struct ll_check *c, const struct ll_conf_certificate *v)
{
    X509 *cert = read_cert(v->cert);
    bool named;

    if (!cert) {
        ll_check_say(c, LL_FINDING_FAULT, "certificate", "%s: %s holds no certificate in PEM form",
                     v->title, v->cert);
        ERR_clear_error();
        return false;
    }
    check_dates(c, v, cert);
    check_key(c, v, cert);
    named = X509_check_host(cert, c->conf->hostname, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS,
                            NULL) == 1;
    if (!named && !v->client_only)
        ll_check_say(c, LL_FINDING_NOTE, "certificate", "%s does not name %s", v->title,
                     c->conf->hostname);
    if (X509_NAME_cmp(X509_get_subject_name(cert), X509_get_issuer_name(cert)) == 0)
        ll_check_say(c, LL_FINDING_NOTE, "certificate",
                     "%s is self-signed: people's mail programs will ask about it", v->title);
    X509_free(cert);
    ERR_clear_error();
    return named && !v->client_only;
}

void ll_check_certificates(struct ll_check *c)
{
    bool named = false, tls = false;

    for (size_t i = 0; i < c->conf->n_certificate; i++)
        named = check_one(c, &c->conf->certificate[i]) || named;
    for (size_t i = 0; i < c->conf->n_listener; i++)
        tls = tls || strcmp(c->conf->listener[i].tls, "none") != 0;
    if (tls && !named)
        ll_check_say(c, LL_FINDING_WARNING, "certificate",
                     "none names %s: servers that verify will not deliver here", c->conf->hostname);
}
