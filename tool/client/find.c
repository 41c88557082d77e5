/* See tool/client/find.h. */
#include "tool/client/find.h"

#include "letterlock/addr.h"
#include "letterlock/wkd.h"

#include <sysexits.h>

const char *ll_find_result_word(enum ll_find_result r)
{
    static const char *const words[] = {
        [LL_FIND_FOUND] = "found", [LL_FIND_NONE] = "none",         [LL_FIND_INSECURE] = "insecure",
        [LL_FIND_LATER] = "later", [LL_FIND_UNUSABLE] = "unusable", [LL_FIND_SKIPPED] = "skipped",
    };

    return words[r];
}

const char *ll_find_place_word(enum ll_find_place p)
{
    static const char *const words[] = {
#define ROW(ID, word) [LL_FIND_##ID] = word,
        LL_FIND_PLACES(ROW)
#undef ROW
    };

    return words[p];
}

/* ---- taking in
 * ------------------------------------------------------------------------------------ */

static void say(struct ll_find *f, enum ll_find_place p, enum ll_find_result r, struct ll_slice why)
{
    f->result[p] = r;
    f->why[p] = ll_arena_dup(f->stored.arena, why);
}

/* Puts what came; rubbish is UNUSABLE, trouble with the store a status. */
static int take(struct ll_find *f, enum ll_find_place p, enum ll_keystore_source source,
                struct ll_slice octets, int (*put)(struct ll_stored *, struct ll_slice))
{
    size_t before = f->stored.n, errors = f->stored.err->n;
    int status;

    f->stored.source = source;
    f->stored.place = f->place[p];
    status = put(&f->stored, octets);
    if (f->stored.n > before) {
        say(f, p, LL_FIND_FOUND, LL_LIT(""));
        return status;
    }
    if (status != 0 && status != EX_DATAERR)
        return status;
    f->stored.err->n = errors;
    if (f->result[p] != LL_FIND_FOUND)
        say(f, p, LL_FIND_UNUSABLE,
            status ? LL_LIT("what is published there is no key that can be read")
                   : LL_LIT("what is published there is a key of another address"));
    return 0;
}

/* ---- Web Key Directory
 * ----------------------------------------------------------------------------- */

static enum ll_find_result wkd_result(enum ll_https_result r)
{
    switch (r) {
    case LL_HTTPS_OK:
        return LL_FIND_FOUND;
    case LL_HTTPS_NOT_FOUND:
        return LL_FIND_NONE;
    case LL_HTTPS_TLS:
        return LL_FIND_INSECURE;
    case LL_HTTPS_LATER:
    case LL_HTTPS_RESOURCE:
        return LL_FIND_LATER;
    case LL_HTTPS_REFUSED:
    case LL_HTTPS_FAILED:
        break;
    }
    return LL_FIND_UNUSABLE;
}

/* The direct method is for domains without a host openpgpkey.DOMAIN: where there is one it decides,
 * whatever it says. True: ask the next method. */
static bool ask_wkd(struct ll_find *f, enum ll_wkd_method method, const struct ll_mailbox *m,
                    struct ll_buf *out)
{
    struct ll_buf url = LL_BUF(LL_WKD_URL_ROOM), why = LL_BUF(4096);
    struct ll_https_request r = {.accept = "application/octet-stream"};
    enum ll_https_result result;
    bool no_host = false;

    if (!ll_wkd_url(method, m, &url) || !(r.url = ll_buf_str(&url))) {
        say(f, LL_FIND_WKD, LL_FIND_SKIPPED, LL_LIT("the address has no domain name"));
        ll_buf_release(&url);
        return false;
    }
    f->place[LL_FIND_WKD] = ll_arena_dup(f->stored.arena, ll_buf_slice(&url));
    result = ll_fetch(&f->from, r, &no_host, out, &why);
    say(f, LL_FIND_WKD, no_host ? LL_FIND_NONE : wkd_result(result), ll_buf_slice(&why));
    ll_buf_release(&url);
    ll_buf_release(&why);
    return no_host;
}

static int find_wkd(struct ll_find *f, const struct ll_mailbox *m)
{
    struct ll_buf key = LL_BUF(LL_WKD_KEY_MAX);
    int status = 0;

    if (ask_wkd(f, LL_WKD_ADVANCED, m, &key))
        ask_wkd(f, LL_WKD_DIRECT, m, &key);
    if (f->result[LL_FIND_WKD] == LL_FIND_FOUND) {
        f->result[LL_FIND_WKD] = LL_FIND_NONE;
        status = take(f, LL_FIND_WKD, LL_KEYSTORE_WKD, ll_buf_slice(&key), ll_stored_pgp);
    }
    ll_buf_release(&key);
    return status;
}

/* ---- DNS
 * ------------------------------------------------------------------------------------------- */

/* Which of the two spellings has records: the one that was typed, else lower case. */
static bool ask_dns(struct ll_find *f, enum ll_find_place p, enum ll_dns_type type,
                    const struct ll_mailbox *m, struct ll_dns_answer *ret)
{
    struct ll_dns_name name, lower;

    if (!ll_wkd_dns_name(type, m, false, &name) || !ll_wkd_dns_name(type, m, true, &lower)) {
        say(f, p, LL_FIND_SKIPPED, LL_LIT("the address has no domain name"));
        return false;
    }
    ll_resolver_ask(f->from.resolver, ll_dns_name_slice(&name), type, f->stored.arena, ret);
    if (ret->status != LL_DNS_STATUS_OK && !ll_dns_later(ret->status) &&
        strcmp(name.text, lower.text) != 0) {
        name = lower;
        ll_resolver_ask(f->from.resolver, ll_dns_name_slice(&name), type, f->stored.arena, ret);
    }
    f->place[p] = ll_arena_dup(f->stored.arena, ll_dns_name_slice(&name));
    if (ret->status == LL_DNS_STATUS_BOGUS)
        say(f, p, LL_FIND_INSECURE, LL_LIT("the DNSSEC signatures of the answer do not hold"));
    else if (ll_dns_later(ret->status))
        say(f, p, LL_FIND_LATER, ret->why);
    else if (ret->status != LL_DNS_STATUS_OK)
        say(f, p, LL_FIND_NONE, LL_LIT(""));
    else if (!ret->secure)
        say(f, p, LL_FIND_INSECURE,
            LL_LIT("there is a record, but DNSSEC does not prove it: it is not used"));
    else
        return true;
    return false;
}

static int find_openpgpkey(struct ll_find *f, const struct ll_mailbox *m)
{
    struct ll_dns_answer a;
    int status = 0;

    if (!ask_dns(f, LL_FIND_OPENPGPKEY, LL_DNS_OPENPGPKEY, m, &a))
        return 0;
    for (size_t i = 0; status == 0 && i < a.n_rdata; i++) /* RFC 7929 2.2: the key and no more */
        status = take(f, LL_FIND_OPENPGPKEY, LL_KEYSTORE_OPENPGPKEY, a.rdata[i], ll_stored_pgp);
    return status;
}

/* Usage 3 names the certificate of the address itself (RFC 8162 2, RFC 6698 2.1.1). A record that
 * holds its SHA-256 confirms one that is here. */
static int take_smimea(struct ll_find *f, struct ll_slice rdata)
{
    struct ll_dns_tlsa t;
    struct ll_buf hex = LL_BUF(128);
    struct ll_keystore_query q = {.kind = LL_SEAL_SMIME};
    struct ll_keystore_key *v;
    size_t n = 0;
    int status = 0;

    if (!ll_dns_rdata_tlsa(rdata, &t) || t.usage != 3 || t.selector != 0 || t.matching > 1) {
        if (f->result[LL_FIND_SMIMEA] != LL_FIND_FOUND)
            say(f, LL_FIND_SMIMEA, LL_FIND_UNUSABLE,
                LL_LIT("the record names no whole certificate of the address (usage 3, selector 0, "
                       "matching 0 or 1)"));
        return 0;
    }
    if (t.matching == 0)
        return take(f, LL_FIND_SMIMEA, LL_KEYSTORE_SMIMEA, t.data, ll_stored_certs);
    ll_hex_encode(&hex, t.data);
    q.fingerprint = ll_buf_slice(&hex);
    if (ll_keystore_list(f->stored.store, &q, f->stored.arena, &v, &n, NULL) == LL_KEYSTORE_OK)
        status = take(f, LL_FIND_SMIMEA, LL_KEYSTORE_SMIMEA, v[0].octets, ll_stored_certs);
    else if (f->result[LL_FIND_SMIMEA] != LL_FIND_FOUND)
        say(f, LL_FIND_SMIMEA, LL_FIND_UNUSABLE,
            LL_LIT("the record holds the SHA-256 of a certificate that is not here: ask for a "
                   "signed letter"));
    ll_buf_release(&hex);
    return status;
}

static int find_smimea(struct ll_find *f, const struct ll_mailbox *m)
{
    struct ll_dns_answer a;
    int status = 0;

    if (!ask_dns(f, LL_FIND_SMIMEA, LL_DNS_SMIMEA, m, &a))
        return 0;
    for (size_t i = 0; status == 0 && i < a.n_rdata; i++)
        status = take_smimea(f, a.rdata[i]);
    return status;
}

int ll_find(struct ll_find *f, struct ll_slice address)
{
    static int (*const find[])(struct ll_find *, const struct ll_mailbox *) = {
        [LL_FIND_WKD] = find_wkd,
        [LL_FIND_OPENPGPKEY] = find_openpgpkey,
        [LL_FIND_SMIMEA] = find_smimea,
    };
    struct ll_mailbox m;
    int status = 0;

    for (size_t p = 0; p < LL_FIND_PLACES_N; p++) {
        f->result[p] = LL_FIND_SKIPPED;
        f->why[p] = f->place[p] = LL_LIT("");
    }
    if (ll_mailbox_parse(address, true, &m) != LL_ADDR_OK || m.kind != LL_DOMAIN_NAME)
        return EX_USAGE;
    f->stored.only = ll_arena_dup(f->stored.arena, ll_mailbox_text(&m));
    if (!f->stored.only.p)
        return EX_OSERR;
    for (size_t p = 0; status == 0 && p < LL_FIND_PLACES_N; p++)
        if (f->places == 0 || f->places & 1u << p)
            status = find[p](f, &m);
    return status;
}

/* ---- revocation
 * ------------------------------------------------------------------------------------- */

static bool fetch_to(const struct ll_fetch_from *from, struct ll_https_request r,
                     struct ll_slice url, struct ll_arena *arena, struct ll_buf *out,
                     struct ll_buf *why)
{
    r.plain = true; /* what comes is signed by the authority */
    r.url = ll_arena_str(arena, url);
    if (r.url && ll_fetch(from, r, NULL, out, why) == LL_HTTPS_OK)
        return true;
    ll_buf_printf(why, " (%.*s)\n", LL_FMT(url));
    return false;
}

size_t ll_find_revocation(const struct ll_fetch_from *from, struct ll_smime *in,
                          struct ll_slice fingerprint, struct ll_arena *arena,
                          struct ll_buf *ret_why)
{
    struct ll_buf request = LL_BUF(4096);
    struct ll_smime_cert c;
    size_t taken = 0;

    if (ll_smime_cert(in, fingerprint, arena, &c) != LL_SEAL_OK)
        return 0;
    for (size_t i = 0; i < c.n_crl_url; i++) {
        struct ll_buf crl = LL_BUF(LL_SMIME_CRL_MAX);

        taken += fetch_to(from, (struct ll_https_request){0}, c.crl_url[i], arena, &crl, ret_why) &&
                 ll_smime_add_crl(in, ll_buf_slice(&crl)) == LL_SEAL_OK;
        ll_buf_release(&crl);
    }
    if (c.n_ocsp_url > 0 && ll_smime_ocsp_request(in, fingerprint, &request) == LL_SEAL_OK) {
        struct ll_https_request r = {.post = ll_buf_slice(&request),
                                     .post_type = "application/ocsp-request"};
        struct ll_buf answer = LL_BUF(65536);

        taken += fetch_to(from, r, c.ocsp_url[0], arena, &answer, ret_why) &&
                 ll_smime_add_ocsp(in, ll_buf_slice(&answer)) == LL_SEAL_OK;
        ll_buf_release(&answer);
    }
    ll_buf_release(&request);
    return taken;
}
