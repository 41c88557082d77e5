/* The Sender Rewriting Scheme. See include/letterlock/srs.h. */
#include "letterlock/srs.h"
#include "letterlock/addr.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#define TAG_N     4 /* octets of "SRS0" */
#define DAY_N     2 /* base32 digits */
#define DAYS      1024
#define DAY_S     86400
#define HASHED    5 /* octets of the HMAC that are kept: LL_SRS_HASH digits */
#define TEXT_MAX  1024
#define SEPARATOR '='

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"; /* RFC 4648 6 */

static const char *const errors[] = {
#define LL_SRS_ROW(ID, text) [LL_SRS_##ID] = (text),
    LL_SRS_ERRORS(LL_SRS_ROW)
#undef LL_SRS_ROW
};

const char *ll_srs_error_text(enum ll_srs_error e)
{
    return (size_t)e < LL_COUNT(errors) ? errors[e] : "?";
}

/* ---- parts of an address ------------------------------------------------------------------------
 */

static bool is_separator(uint8_t c)
{
    return c == '=' || c == '+' || c == '-';
}

/* "SRS0" or "SRS1" with its separator, of which each server has its own. */
static bool has_tag(struct ll_slice local, char which)
{
    char tag[TAG_N + 1] = {'S', 'R', 'S', which, '\0'};

    return local.n > TAG_N && ll_slice_casestarts(local, ll_slice_str(tag)) &&
           is_separator(local.p[TAG_N]);
}

bool ll_srs_is(struct ll_slice local)
{
    return has_tag(local, '0') || has_tag(local, '1');
}

/* Takes what stands before the next "=" and it; false: there is none, or nothing before it. */
static bool take(struct ll_slice *rest, struct ll_slice *ret)
{
    size_t at = ll_slice_find(*rest, SEPARATOR);

    if (at == 0 || at == rest->n)
        return false;
    *ret = ll_slice_cut(*rest, 0, at);
    *rest = ll_slice_skip(*rest, at + 1);
    return true;
}

/* atext (RFC 5322 3.2.3), ASCII alone */
static bool is_atext(uint8_t c)
{
    return ll_is_alnum(c) || (c > 0 && c < 0x80 && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

/* Letters, digits, hyphens and dots: an address literal has no place in a local part. */
static bool is_domain(struct ll_slice s)
{
    struct ll_buf canonical = LL_BUF(LL_DOMAIN_MAX + 2);
    bool ok = ll_domain_canonical(s, false, &canonical) == LL_ADDR_OK;

    ll_buf_release(&canonical);
    return ok;
}

/* Atoms and dots (RFC 5321 4.1.2), which stand behind others without quotes. */
static bool is_plain(struct ll_slice local)
{
    if (local.n == 0 || local.p[0] == '.' || local.p[local.n - 1] == '.')
        return false;
    for (size_t i = 0; i < local.n; i++)
        if (local.p[i] == '.' ? local.p[i - 1] == '.' : !is_atext(local.p[i]))
            return false;
    return true;
}

/* ---- hash and day -------------------------------------------------------------------------------
 */

/* Over tag, "=" and the rest in lower case. */
static bool hash(struct ll_slice secret, char which, struct ll_slice rest, char ret[LL_SRS_HASH])
{
    uint8_t text[TEXT_MAX], mac[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    uint64_t bits = 0;

    if (secret.n < LL_SRS_SECRET_MIN || secret.n > INT32_MAX || rest.n + 2 > sizeof(text))
        return false;
    text[0] = (uint8_t)which;
    text[1] = SEPARATOR;
    for (size_t i = 0; i < rest.n; i++)
        text[i + 2] = ll_lower(rest.p[i]);
    if (!HMAC(EVP_sha256(), secret.p, (int)secret.n, text, rest.n + 2, mac, &n) || n < HASHED)
        return false;
    for (size_t i = 0; i < HASHED; i++)
        bits = bits << 8 | mac[i];
    for (size_t i = LL_SRS_HASH; i > 0; i--, bits >>= 5)
        ret[i - 1] = digits[bits & 31];
    return true;
}

/* In constant time: the answer to a guess says nothing of how near it was. */
static bool hash_is(struct ll_slice said, const char want[LL_SRS_HASH])
{
    unsigned differ = 0;

    if (said.n != LL_SRS_HASH)
        return false;
    for (size_t i = 0; i < LL_SRS_HASH; i++)
        differ |= (unsigned)(ll_lower(said.p[i]) ^ ll_lower((uint8_t)want[i]));
    return differ == 0;
}

static unsigned today(int64_t unix_s)
{
    return (unsigned)((uint64_t)(unix_s / DAY_S) % DAYS);
}

static int digit(uint8_t c)
{
    for (int i = 0; i < 32; i++)
        if (ll_lower((uint8_t)digits[i]) == ll_lower(c))
            return i;
    return -1;
}

static enum ll_srs_error check_day(struct ll_slice said, int64_t unix_s)
{
    int high = said.n == DAY_N ? digit(said.p[0]) : -1;
    int low = said.n == DAY_N ? digit(said.p[1]) : -1;

    if (high < 0 || low < 0)
        return LL_SRS_SYNTAX;
    return (today(unix_s) + DAYS - (unsigned)(high * 32 + low)) % DAYS <= LL_SRS_DAYS ? LL_SRS_OK
                                                                                      : LL_SRS_AGE;
}

/* ---- both ways ----------------------------------------------------------------------------------
 */

/* Tag, hash, rest and our domain. */
static enum ll_srs_error put(struct ll_slice secret, char which, struct ll_slice rest,
                             struct ll_slice domain, struct ll_buf *out)
{
    size_t before = out->n;
    char h[LL_SRS_HASH];

    if (TAG_N + 1 + LL_SRS_HASH + 1 + rest.n > LL_LOCAL_MAX)
        return LL_SRS_LONG;
    if (!hash(secret, which, rest, h))
        return LL_SRS_RESOURCE;
    ll_buf_printf(out, "SRS%c=%.*s=%.*s@%.*s", which, LL_SRS_HASH, h, LL_FMT(rest), LL_FMT(domain));
    if (!out->failed)
        return LL_SRS_OK;
    out->n = before;
    return LL_SRS_RESOURCE;
}

/* What an SRS1 address of another says: whose SRS0 address is in it. */
static bool parse_srs1(struct ll_slice local, struct ll_slice *ret_host, struct ll_slice *ret_rest)
{
    struct ll_slice said, host, rest = ll_slice_skip(local, TAG_N + 1);

    if (!has_tag(local, '1') || !take(&rest, &said) || !take(&rest, &host) || rest.n < 2 ||
        !is_separator(rest.p[0]) || !is_domain(host))
        return false;
    *ret_host = host;
    *ret_rest = rest;
    return true;
}

enum ll_srs_error ll_srs_forward(struct ll_slice secret, struct ll_slice sender,
                                 struct ll_slice domain, int64_t unix_s, struct ll_buf *out)
{
    size_t at = ll_slice_rfind(sender, '@');
    struct ll_slice local = ll_slice_cut(sender, 0, at), host = ll_slice_skip(sender, at + 1);
    struct ll_slice rest;
    struct ll_buf text = LL_BUF(TEXT_MAX);
    unsigned day = today(unix_s);
    enum ll_srs_error e;
    char which = '1';

    if (!is_plain(local) || !is_domain(host))
        return LL_SRS_LOCAL;
    if (parse_srs1(local, &host, &rest)) {
        ll_buf_printf(&text, "%.*s=%.*s", LL_FMT(host), LL_FMT(rest));
    } else if (has_tag(local, '0')) {
        rest = ll_slice_skip(local, TAG_N); /* with the separator of that server */
        ll_buf_printf(&text, "%.*s=%.*s", LL_FMT(host), LL_FMT(rest));
    } else {
        which = '0';
        ll_buf_printf(&text, "%c%c=%.*s=%.*s", digits[day / 32], digits[day % 32], LL_FMT(host),
                      LL_FMT(local));
    }
    e = text.failed ? LL_SRS_LONG : put(secret, which, ll_buf_slice(&text), domain, out);
    ll_buf_release(&text);
    return e;
}

/* DAY=domain=local behind the hash. */
static enum ll_srs_error reverse_srs0(struct ll_slice rest, int64_t unix_s, struct ll_buf *out)
{
    struct ll_slice day, domain;
    enum ll_srs_error e;

    if (!take(&rest, &day) || !take(&rest, &domain) || !is_plain(rest))
        return LL_SRS_SYNTAX;
    e = check_day(day, unix_s);
    if (e == LL_SRS_OK)
        ll_buf_printf(out, "%.*s@%.*s", LL_FMT(rest), LL_FMT(domain));
    return e;
}

/* domain=REST behind the hash; REST begins with the separator of that server. */
static enum ll_srs_error reverse_srs1(struct ll_slice rest, struct ll_buf *out)
{
    struct ll_slice domain;

    if (!take(&rest, &domain) || !is_plain(rest))
        return LL_SRS_SYNTAX;
    ll_buf_printf(out, "SRS0%.*s@%.*s", LL_FMT(rest), LL_FMT(domain));
    return LL_SRS_OK;
}

enum ll_srs_error ll_srs_reverse(struct ll_slice secret, struct ll_slice local, int64_t unix_s,
                                 struct ll_buf *out)
{
    struct ll_slice said, rest = ll_slice_skip(local, TAG_N + 1);
    bool first = has_tag(local, '0');
    size_t before = out->n;
    char want[LL_SRS_HASH];
    enum ll_srs_error e;

    if (!ll_srs_is(local))
        return LL_SRS_NOT_SRS;
    if (local.p[TAG_N] != SEPARATOR || !take(&rest, &said))
        return LL_SRS_SYNTAX; /* we write "=" */
    if (!hash(secret, first ? '0' : '1', rest, want))
        return LL_SRS_RESOURCE;
    if (!hash_is(said, want))
        return LL_SRS_FORGED;
    e = first ? reverse_srs0(rest, unix_s, out) : reverse_srs1(rest, out);
    if (e == LL_SRS_OK && out->failed)
        e = LL_SRS_RESOURCE;
    if (e != LL_SRS_OK)
        out->n = before;
    return e;
}
