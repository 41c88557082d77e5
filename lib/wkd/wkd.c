/* See include/letterlock/wkd.h. */
#include "letterlock/wkd.h"

#include <openssl/evp.h>

#define DNS_HASH_N 28 /* octets of the SHA-256 that are used, RFC 7929 3 */

void ll_zbase32(struct ll_buf *out, struct ll_slice octets)
{
    static const char alphabet[] = "ybndrfg8ejkmcpqxot1uwisza345h769";

    for (size_t bit = 0; bit < octets.n * 8; bit += 5) {
        size_t at = bit / 8, shift = bit % 8;
        unsigned pair = (unsigned)octets.p[at] << 8 | (at + 1 < octets.n ? octets.p[at + 1] : 0);

        ll_buf_putc(out, (uint8_t)alphabet[pair >> (11 - shift) & 31]);
    }
}

/* The local part as it is meant: quotes undone, and lower case on demand. */
static bool local_of(const struct ll_mailbox *m, bool lower, struct ll_buf *out)
{
    if (m->kind != LL_DOMAIN_NAME)
        return false;
    ll_local_unquote(ll_mailbox_local(m), out);
    for (size_t i = 0; lower && i < out->n; i++)
        out->p[i] = ll_lower(out->p[i]);
    return !out->failed;
}

static bool digest(const EVP_MD *md, struct ll_slice in, uint8_t ret[EVP_MAX_MD_SIZE])
{
    unsigned n = 0;

    return EVP_Digest(in.n ? (const void *)in.p : "", in.n, ret, &n, md, NULL) == 1 && n > 0;
}

bool ll_wkd_hash(const struct ll_mailbox *m, struct ll_buf *out)
{
    struct ll_buf local = LL_BUF(LL_LOCAL_MAX);
    uint8_t sha1[EVP_MAX_MD_SIZE];
    bool ok = local_of(m, true, &local) && digest(EVP_sha1(), ll_buf_slice(&local), sha1);

    if (ok)
        ll_zbase32(out, ll_slice(sha1, 20));
    ll_buf_release(&local);
    return ok && !out->failed;
}

bool ll_wkd_host(enum ll_wkd_method method, const struct ll_mailbox *m, struct ll_buf *out)
{
    if (m->kind != LL_DOMAIN_NAME)
        return false;
    ll_buf_puts(out, method == LL_WKD_ADVANCED ? "openpgpkey." : "");
    ll_buf_put_slice(out, ll_mailbox_domain(m));
    return !out->failed;
}

bool ll_wkd_folder(enum ll_wkd_method method, struct ll_slice domain, struct ll_buf *out)
{
    ll_buf_puts(out, ".well-known/openpgpkey");
    if (method == LL_WKD_ADVANCED) {
        ll_buf_putc(out, '/');
        ll_buf_put_slice(out, domain);
    }
    return !out->failed;
}

/* RFC 3986 2.1, 2.3 */
static void percent_encode(struct ll_buf *out, struct ll_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (ll_is_alnum(s.p[i]) || memchr("-._~", s.p[i], 4))
            ll_buf_putc(out, s.p[i]);
        else
            ll_buf_printf(out, "%%%02X", s.p[i]);
}

bool ll_wkd_url(enum ll_wkd_method method, const struct ll_mailbox *m, struct ll_buf *out)
{
    struct ll_buf local = LL_BUF(LL_LOCAL_MAX);
    bool ok;

    ll_buf_puts(out, "https://");
    ok = ll_wkd_host(method, m, out);
    ll_buf_putc(out, '/');
    ok = ok && ll_wkd_folder(method, ll_mailbox_domain(m), out);
    ll_buf_puts(out, "/hu/");
    ok = ok && ll_wkd_hash(m, out) && local_of(m, false, &local);
    ll_buf_puts(out, "?l=");
    percent_encode(out, ll_buf_slice(&local));
    ll_buf_release(&local);
    return ok && !out->failed;
}

bool ll_wkd_dns_name(enum ll_dns_type type, const struct ll_mailbox *m, bool lower,
                     struct ll_dns_name *ret)
{
    struct ll_buf local = LL_BUF(LL_LOCAL_MAX), name = LL_BUF(512);
    uint8_t sha256[EVP_MAX_MD_SIZE];
    bool ok = (type == LL_DNS_SMIMEA || type == LL_DNS_OPENPGPKEY) && local_of(m, lower, &local) &&
              digest(EVP_sha256(), ll_buf_slice(&local), sha256);

    if (ok) {
        ll_hex_encode(&name, ll_slice(sha256, DNS_HASH_N));
        ll_buf_puts(&name, type == LL_DNS_SMIMEA ? "._smimecert." : "._openpgpkey.");
        ll_buf_put_slice(&name, ll_mailbox_domain(m));
    }
    ok = ok && !name.failed && ll_dns_name_parse(ll_buf_slice(&name), ret);
    ll_buf_release(&local);
    ll_buf_release(&name);
    return ok;
}
