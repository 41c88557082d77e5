/* See io/https.h. */
#include "io/https.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <stdlib.h>

/* Blocks that a public server is not in (IANA special-purpose registries); n: octets of an address
 * of that family, bits: of the prefix. */
static const struct {
    uint8_t n, bits;
    uint8_t prefix[16];
} blocks[] = {
    {4, 8, {0}},
    {4, 8, {10}},
    {4, 10, {100, 64}},
    {4, 8, {127}},
    {4, 16, {169, 254}},
    {4, 12, {172, 16}},
    {4, 24, {192, 0, 0}},
    {4, 16, {192, 168}},
    {4, 15, {198, 18}},
    {4, 3, {224}}, /* multicast and what was never given out */
    {16, 8, {0}},  /* ::, ::1, and IPv4 in disguise; 64:ff9b:: is looked into */
    {16, 48, {0x00, 0x64, 0xff, 0x9b, 0x00, 0x01}},
    {16, 7, {0xfc}},
    {16, 10, {0xfe, 0x80}},
    {16, 10, {0xfe, 0xc0}},
    {16, 8, {0xff}},
    {16, 16, {0x20, 0x02}}, /* 6to4 */
    {16, 32, {0x20, 0x01}}, /* Teredo */
};

static bool in_block(const uint8_t *address, const uint8_t *prefix, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;

    return memcmp(address, prefix, whole) == 0 &&
           (rest == 0 || (address[whole] ^ prefix[whole]) >> (8 - rest) == 0);
}

bool ll_https_private(const struct ll_https_address *a)
{
    static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};
    struct ll_https_address inner = {4, {0}};

    if (a->n != 4 && a->n != 16)
        return true;
    if (a->n == 16 && memcmp(a->octets, nat64, sizeof(nat64)) == 0) {
        memcpy(inner.octets, a->octets + 12, 4); /* RFC 6052: it leads to that IPv4 address */
        a = &inner;
    }
    for (size_t i = 0; i < LL_COUNT(blocks); i++)
        if (blocks[i].n == a->n && in_block(a->octets, blocks[i].prefix, blocks[i].bits))
            return true;
    return false;
}

/* ---- URLs
 * ---------------------------------------------------------------------------------------- */

struct url {
    char *scheme, *host;
    uint16_t port;
};

static void url_release(struct url *u)
{
    curl_free(u->scheme);
    curl_free(u->host);
    *u = (struct url){NULL, NULL, 0};
}

static bool is_address(const char *host)
{
    uint8_t raw[16];

    return host[0] == '[' || inet_pton(AF_INET, host, raw) == 1 || inet_aton(host, (void *)raw);
}

static bool url_parse(const char *text, struct url *ret)
{
    CURLU *u = strlen(text) <= LL_HTTPS_URL_MAX ? curl_url() : NULL;
    char *port = NULL;
    uint64_t number = 0;
    bool ok;

    *ret = (struct url){NULL, NULL, 0};
    ok = u && curl_url_set(u, CURLUPART_URL, text, CURLU_DISALLOW_USER) == CURLUE_OK &&
         curl_url_get(u, CURLUPART_SCHEME, &ret->scheme, 0) == CURLUE_OK &&
         curl_url_get(u, CURLUPART_HOST, &ret->host, 0) == CURLUE_OK &&
         curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
         ll_slice_u64(ll_slice_str(port), &number) && number > 0 && number < 65536 &&
         (strcmp(ret->scheme, "https") == 0 || strcmp(ret->scheme, "http") == 0) && ret->host[0] &&
         !is_address(ret->host);
    ret->port = (uint16_t)number;
    curl_free(port);
    curl_url_cleanup(u);
    if (!ok)
        url_release(ret);
    return ok;
}

bool ll_https_host(const char *url, struct ll_buf *ret_host, uint16_t *ret_port)
{
    struct url u;

    if (!url_parse(url, &u))
        return false;
    ll_buf_puts(ret_host, u.host);
    *ret_port = u.port;
    url_release(&u);
    return !ret_host->failed;
}

static bool same_place(const struct url *a, const struct url *b)
{
    return strcmp(a->scheme, b->scheme) == 0 && a->port == b->port &&
           ll_slice_caseeq(ll_slice_str(a->host), ll_slice_str(b->host));
}

/* ---- one request
 * ----------------------------------------------------------------------------------- */

struct fetch {
    const struct ll_https_request *request;
    CURL *curl;
    struct curl_slist *resolve, *connect_to, *fields;
    struct ll_buf *out, *why;
    size_t start; /* of out: where the answer begins */
    bool full;
};

static size_t on_octets(char *p, size_t size, size_t n, void *arg)
{
    struct fetch *f = arg;

    ll_buf_put(f->out, p, size * n);
    f->full = f->out->failed;
    return f->full ? 0 : size * n;
}

/* "host:port:address,address": what libcurl would have asked a resolver for. False: said in why. */
static bool put_addresses(struct fetch *f, const struct url *u, uint16_t port)
{
    struct ll_buf line = LL_BUF(4096);
    size_t used = 0;
    const char *text;

    ll_buf_printf(&line, "%s:%u:", u->host, port);
    for (size_t i = 0; i < f->request->n_address && used < LL_HTTPS_ADDRESSES_MAX; i++) {
        const struct ll_https_address *a = &f->request->address[i];
        char one[INET6_ADDRSTRLEN];

        if ((!f->request->allow_private && ll_https_private(a)) ||
            !inet_ntop(a->n == 4 ? AF_INET : AF_INET6, a->octets, one, sizeof(one)))
            continue;
        ll_buf_printf(&line, a->n == 4 ? "%s%s" : "%s[%s]", used++ ? "," : "", one);
    }
    text = ll_buf_str(&line);
    f->resolve = text && used ? curl_slist_append(NULL, text) : NULL;
    ll_buf_release(&line);
    if (used == 0)
        ll_buf_printf(f->why,
                      f->request->n_address ? "%s has only addresses of private networks, which "
                                              "are not asked"
                                            : "%s has no address",
                      u->host);
    return f->resolve != NULL;
}

/* curl_easy_setopt takes anything: one place for what all requests have in common. */
static void set_common(struct fetch *f)
{
    const struct ll_https_request *r = f->request;
    long timeout = r->timeout_s ? (long)r->timeout_s : LL_HTTPS_TIMEOUT_S;
    CURL *c = f->curl;

    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, r->plain ? "http,https" : "https");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(c, CURLOPT_PROXY, "");
    curl_easy_setopt(c, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_TIMEOUT, timeout);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT,
                     timeout < LL_HTTPS_CONNECT_S ? timeout : LL_HTTPS_CONNECT_S);
    curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L);
    if (r->ca) { /* those alone, and not the system's beside them */
        curl_easy_setopt(c, CURLOPT_CAINFO, r->ca);
        curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
    }
    curl_easy_setopt(c, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)(f->out->max - f->start));
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_octets);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, f);
    if (r->post.p) {
        curl_easy_setopt(c, CURLOPT_POST, 1L);
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, (const char *)r->post.p);
        curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->post.n);
    }
}

static bool add_field(struct fetch *f, const char *name, const char *value)
{
    struct ll_buf line = LL_BUF(1024);
    struct curl_slist *more = NULL;
    const char *text;

    ll_buf_printf(&line, "%s: %s", name, value);
    text = ll_buf_str(&line);
    if (text)
        more = curl_slist_append(f->fields, text);
    ll_buf_release(&line);
    if (more)
        f->fields = more;
    return more != NULL;
}

static bool set_up(struct fetch *f, const struct url *u, const char *url)
{
    uint16_t port = f->request->port ? f->request->port : u->port;
    struct ll_buf to = LL_BUF(1024);
    const char *text;

    if (!put_addresses(f, u, port))
        return false;
    if (port != u->port) {
        ll_buf_printf(&to, "::%s:%u", u->host, port);
        text = ll_buf_str(&to);
        f->connect_to = text ? curl_slist_append(NULL, text) : NULL;
        ll_buf_release(&to);
        if (!f->connect_to)
            return false;
        curl_easy_setopt(f->curl, CURLOPT_CONNECT_TO, f->connect_to);
    }
    set_common(f);
    if ((f->request->accept && !add_field(f, "Accept", f->request->accept)) ||
        (f->request->post.p && !add_field(f, "Content-Type", f->request->post_type)))
        return false;
    curl_easy_setopt(f->curl, CURLOPT_HTTPHEADER, f->fields);
    curl_easy_setopt(f->curl, CURLOPT_RESOLVE, f->resolve);
    return curl_easy_setopt(f->curl, CURLOPT_URL, url) == CURLE_OK;
}

static enum ll_https_result failed(struct fetch *f, CURLcode code, const char *detail)
{
    static const struct {
        CURLcode code;
        enum ll_https_result result;
    } rows[] = {
        {CURLE_PEER_FAILED_VERIFICATION, LL_HTTPS_TLS},
        {CURLE_SSL_CONNECT_ERROR, LL_HTTPS_TLS},
        {CURLE_SSL_CACERT_BADFILE, LL_HTTPS_REFUSED},
        {CURLE_UNSUPPORTED_PROTOCOL, LL_HTTPS_REFUSED},
        {CURLE_FILESIZE_EXCEEDED, LL_HTTPS_REFUSED},
        {CURLE_OUT_OF_MEMORY, LL_HTTPS_RESOURCE},
    };

    f->out->n = f->start;
    f->out->failed = false;
    if (f->full || code == CURLE_FILESIZE_EXCEEDED) {
        ll_buf_printf(f->why, "the answer is over the limit of %zu octets", f->out->max - f->start);
        return LL_HTTPS_REFUSED;
    }
    ll_buf_puts(f->why, detail[0] ? detail : curl_easy_strerror(code));
    for (size_t i = 0; i < LL_COUNT(rows); i++)
        if (rows[i].code == code)
            return rows[i].result;
    return LL_HTTPS_LATER;
}

/* The answer's status. A redirect gives its target in *ret_next (curl's own memory). */
static enum ll_https_result judge(struct fetch *f, const char **ret_next)
{
    long status = 0;
    char *next = NULL;

    curl_easy_getinfo(f->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(f->curl, CURLINFO_REDIRECT_URL, &next);
    if (status == 200)
        return LL_HTTPS_OK;
    f->out->n = f->start;
    if (status >= 300 && status < 400 && next) {
        *ret_next = next;
        return LL_HTTPS_FAILED;
    }
    ll_buf_printf(f->why, "the server answers %ld", status);
    return status == 404 || status == 410   ? LL_HTTPS_NOT_FOUND
           : status >= 500 || status == 429 ? LL_HTTPS_LATER
                                            : LL_HTTPS_FAILED;
}

static enum ll_https_result fetch_once(const struct ll_https_request *r, const char *url,
                                       const struct url *u, struct ll_buf *out, struct ll_buf *why,
                                       char **ret_next)
{
    struct fetch f = {.request = r, .out = out, .why = why, .start = out->n};
    char detail[CURL_ERROR_SIZE] = "";
    enum ll_https_result result = LL_HTTPS_REFUSED;
    const char *next = NULL;
    CURLcode code;

    f.curl = curl_easy_init();
    if (!f.curl)
        return LL_HTTPS_RESOURCE;
    curl_easy_setopt(f.curl, CURLOPT_ERRORBUFFER, detail);
    if (set_up(&f, u, url)) {
        code = curl_easy_perform(f.curl);
        result = code == CURLE_OK ? judge(&f, &next) : failed(&f, code, detail);
    }
    if (next)
        *ret_next = strdup(next);
    curl_easy_cleanup(f.curl);
    curl_slist_free_all(f.resolve);
    curl_slist_free_all(f.connect_to);
    curl_slist_free_all(f.fields);
    return result;
}

static enum ll_https_result refuse(struct ll_buf *why, const char *text)
{
    ll_buf_puts(why, text);
    return LL_HTTPS_REFUSED;
}

enum ll_https_result ll_https_fetch(const struct ll_https_request *r, struct ll_buf *out,
                                    struct ll_buf *ret_why)
{
    struct url first, u;
    char *next = strdup(r->url);
    enum ll_https_result result = LL_HTTPS_FAILED;

    if (!next || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(next);
        return LL_HTTPS_RESOURCE;
    }
    if (!url_parse(r->url, &first)) {
        free(next);
        return refuse(ret_why, "not an URL that is asked");
    }
    for (int hops = 0; next; hops++) {
        char *url = next;

        next = NULL;
        if (!url_parse(url, &u))
            result = refuse(ret_why, "the server points to something that is no URL");
        else if (!r->plain && strcmp(u.scheme, "https") != 0)
            result = refuse(ret_why, "only https is asked");
        else if (!same_place(&first, &u))
            result = refuse(ret_why, "the server points to another host");
        else if (hops > LL_HTTPS_REDIRECTS)
            result = refuse(ret_why, "the server points from place to place");
        else
            result = fetch_once(r, url, &u, out, ret_why, &next);
        url_release(&u);
        free(url);
    }
    url_release(&first);
    return result;
}
