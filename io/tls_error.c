/* Sentences that a person understands, out of OpenSSL's codes. */
#include "io/tls_internal.h"

#include <stdio.h>
#include <openssl/err.h>
#include <openssl/sslerr.h>
#include <openssl/x509v3.h>

struct sentence {
    int code;
    const char *text;
};

static const struct sentence reasons[] = {
    {SSL_R_WRONG_VERSION_NUMBER, "the peer does not speak TLS here"},
    {SSL_R_HTTP_REQUEST, "the peer speaks HTTP, not TLS"},
    {SSL_R_UNSUPPORTED_PROTOCOL, "no TLS version in common: the peer lacks TLS 1.2 and 1.3"},
    {SSL_R_VERSION_TOO_LOW, "no TLS version in common: the peer lacks TLS 1.2 and 1.3"},
    {SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, "the peer refused TLS 1.2 and 1.3 (protocol_version)"},
    {SSL_R_NO_SHARED_CIPHER, "no cipher suite in common"},
    {SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM,
     "no signature algorithm in common for our certificates"},
    {SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS, "no signature algorithm in common"},
    {SSL_R_NO_SUITABLE_KEY_SHARE, "no key exchange group in common"},
    {SSL_R_NO_SHARED_GROUPS, "no key exchange group in common"},
    {SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE, "the peer found nothing in common (handshake_failure)"},
    {SSL_R_TLSV1_ALERT_UNKNOWN_CA, "the peer does not trust the issuer of our certificate"},
    {SSL_R_SSLV3_ALERT_BAD_CERTIFICATE, "the peer refused our certificate (bad_certificate)"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED, "the peer says that our certificate has expired"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED, "the peer says that our certificate is revoked"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, "the peer refused our certificate (unknown)"},
    {SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE, "the peer cannot use our kind of certificate"},
    {SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED, "the peer demands a client certificate"},
    {SSL_R_TLSV1_ALERT_ACCESS_DENIED, "the peer denied us access"},
    {SSL_R_TLSV1_ALERT_INTERNAL_ERROR, "the peer had an error of its own (internal_error)"},
    {SSL_R_TLSV1_ALERT_INSUFFICIENT_SECURITY, "the peer wants stronger parameters"},
    {SSL_R_TLSV1_ALERT_DECRYPT_ERROR, "the peer could not check our signature (decrypt_error)"},
    {SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL, "the peer does not serve `smtp` here (ALPN)"},
    {SSL_R_NO_APPLICATION_PROTOCOL, "the peer does not ask for `smtp` (ALPN)"},
    {SSL_R_TLSV1_UNRECOGNIZED_NAME, "the peer does not know the name that we asked for (SNI)"},
    {SSL_R_UNEXPECTED_EOF_WHILE_READING, "the peer closed the connection without ending TLS"},
    {SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC, "a record was damaged on its way"},
    {SSL_R_BAD_SIGNATURE, "the peer's signature is wrong"},
    {SSL_R_NO_RENEGOTIATION, "the peer asked for renegotiation, which is refused"},
    {SSL_R_EE_KEY_TOO_SMALL, "the key in the certificate is too small"},
    {SSL_R_CA_MD_TOO_WEAK, "the certificate is signed with a weak hash"},
};

static const struct sentence verify_codes[] = {
    {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, "the certificate is self-signed and not trusted"},
    {X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, "the certificate comes from an issuer not trusted here"},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, "the certificate comes from an issuer not trusted here"},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
     "the certificate comes from an issuer not trusted here"},
    {X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE,
     "the certificate comes from an issuer not trusted here"},
    {X509_V_ERR_CERT_NOT_YET_VALID, "the certificate is not yet valid"},
    {X509_V_ERR_CERT_REVOKED, "the certificate is revoked"},
    {X509_V_ERR_CERT_SIGNATURE_FAILURE, "the certificate's signature is wrong"},
    {X509_V_ERR_INVALID_PURPOSE, "the certificate is not meant for this use"},
    {X509_V_ERR_INVALID_CA, "a certificate in the chain may not sign others"},
    {X509_V_ERR_EE_KEY_TOO_SMALL, "the key in the certificate is too small"},
    {X509_V_ERR_CA_KEY_TOO_SMALL, "a key in the certificate chain is too small"},
    {X509_V_ERR_CA_MD_TOO_WEAK, "a certificate in the chain is signed with a weak hash"},
    {X509_V_ERR_CERT_CHAIN_TOO_LONG, "the certificate chain is too long"},
    {X509_V_ERR_APPLICATION_VERIFICATION, "the certificate's key matches none of the pins"},
};

static const char *find(const struct sentence *table, size_t n, int code)
{
    for (size_t i = 0; i < n; i++)
        if (table[i].code == code)
            return table[i].text;
    return NULL;
}

static void put(char *out, size_t n, const char *text)
{
    snprintf(out, n, "%s", text ? text : "TLS failed");
}

/* A local socket error. */
static void system_sentence(struct ll_tls_conn *c, int sys_errno)
{
    if (sys_errno == ECONNRESET)
        put(c->error, sizeof(c->error), "the peer reset the connection");
    else if (sys_errno == 0 || sys_errno == EPIPE)
        put(c->error, sizeof(c->error), "the peer closed the connection without ending TLS");
    else
        put(c->error, sizeof(c->error), strerror(sys_errno));
}

void ll_tls_sentence(struct ll_tls_conn *c, int ssl_error, int sys_errno)
{
    unsigned long code, first = 0;
    const char *data = NULL;
    int flags = 0;
    bool keeper = false;
    while ((code = ERR_get_error_all(NULL, NULL, NULL, &data, &flags)) != 0) {
        if (ERR_GET_LIB(code) == ERR_LIB_USER)
            keeper = true;
        if (!first || (ERR_GET_LIB(first) != ERR_LIB_SSL && ERR_GET_LIB(code) == ERR_LIB_SSL))
            first = code;
    }
    int reason = ERR_GET_REASON(first);
    if (c->broken)
        put(c->error, sizeof(c->error), c->broken);
    else if (keeper)
        put(c->error, sizeof(c->error), "our key process did not sign the handshake");
    else if (!first || ssl_error == SSL_ERROR_SYSCALL)
        system_sentence(c, sys_errno);
    else if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED && c->facts.verify_error[0])
        put(c->error, sizeof(c->error), c->facts.verify_error);
    else if (ERR_GET_LIB(first) == ERR_LIB_SSL && find(reasons, LL_COUNT(reasons), reason))
        put(c->error, sizeof(c->error), find(reasons, LL_COUNT(reasons), reason));
    else
        put(c->error, sizeof(c->error), ERR_reason_error_string(first));
}

/* "2026-11-24" */
static void put_date(struct ll_buf *b, const ASN1_TIME *t)
{
    struct tm tm = {0};
    if (ASN1_TIME_to_tm(t, &tm))
        ll_buf_printf(b, "%04d-%02d-%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday);
    else
        ll_buf_puts(b, "an unknown day");
}

/* "a.test, b.test and others", escaped. */
static void cert_names(struct ll_buf *out, X509 *x)
{
    GENERAL_NAMES *all = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    int n = 0;
    for (int i = 0; all && i < sk_GENERAL_NAME_num(all); i++) {
        GENERAL_NAME *g = sk_GENERAL_NAME_value(all, i);
        if (g->type != GEN_DNS)
            continue;
        if (n == 2) {
            ll_buf_puts(out, " and others");
            break;
        }
        ll_buf_puts(out, n++ ? ", " : "");
        ll_escape(
            out,
            ll_slice(ASN1_STRING_get0_data(g->d.dNSName), (size_t)ASN1_STRING_length(g->d.dNSName)),
            60);
    }
    if (n == 0)
        ll_buf_puts(out, "no DNS name at all");
    GENERAL_NAMES_free(all);
}

void ll_tls_verify_sentence(char *out, size_t n, int code, X509 *x, char *const *names)
{
    struct ll_buf b = LL_BUF(1024);
    if (code == X509_V_ERR_CERT_HAS_EXPIRED && x) {
        ll_buf_puts(&b, "the certificate expired on ");
        put_date(&b, X509_get0_notAfter(x));
    } else if (code == X509_V_ERR_HOSTNAME_MISMATCH && x) {
        ll_buf_puts(&b, "the certificate is for ");
        cert_names(&b, x);
        if (names && names[0])
            ll_buf_printf(&b, ", not for %.60s", names[0]);
    } else {
        const char *s = find(verify_codes, LL_COUNT(verify_codes), code);
        ll_buf_puts(&b, s ? s : X509_verify_cert_error_string(code));
    }
    put(out, n, ll_buf_str(&b));
    ll_buf_release(&b);
}

void ll_tls_fault(struct ll_buf *err, const char *what)
{
    unsigned long code = ERR_peek_last_error();
    const char *why = code ? ERR_reason_error_string(code) : NULL;
    ll_buf_printf(err, why ? "%s: %s" : "%s", what, why);
    ERR_clear_error();
}
