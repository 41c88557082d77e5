/*
 * DMARC: lines: Author Domain, SPF domain, DKIM domains divided by commas (a "+" before one: it
 * passed, "?": it may later), then an answer for each question (fuzz_answers.h).
 */
#include "fuzz/targets/fuzz_answers.h"
#include "letterlock/dmarc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ll_dmarc_id identifier(struct ll_slice s)
{
    bool pass = s.n > 0 && s.p[0] == '+', later = s.n > 0 && s.p[0] == '?';

    return (struct ll_dmarc_id){ll_slice_skip(s, pass || later), pass    ? LL_DMARC_AUTH_PASS
                                                                 : later ? LL_DMARC_AUTH_TEMP
                                                                         : LL_DMARC_AUTH_NONE};
}

static void check_uris(struct ll_slice list)
{
    struct ll_slice uri;
    uint64_t most;

    while (ll_dmarc_uri_next_sized(&list, &uri, &most))
        CHECK(uri.n > 2 && ll_slice_find(uri, ',') == uri.n && ll_slice_find(uri, '!') == uri.n);
}

static void check_result(const struct ll_dmarc *d, const struct ll_dmarc_input *in, unsigned asked)
{
    struct ll_dmarc_result r;
    bool any = in->spf.auth == LL_DMARC_AUTH_PASS;

    CHECK(ll_dmarc_result(d, &r));
    for (size_t i = 0; i < in->n_dkim; i++)
        any = any || in->dkim[i].auth == LL_DMARC_AUTH_PASS;
    CHECK(r.needs == asked && r.reason.n > 0);
    CHECK(r.code != LL_DMARC_PASS || (any && (r.spf_aligned || r.dkim_aligned)));
    CHECK(r.disposition == LL_DMARC_P_NONE || r.code == LL_DMARC_FAIL);
    CHECK(r.disposition <= r.policy);
    CHECK(r.org_domain.n == 0 || ll_dns_name_under(r.author, r.org_domain));
    CHECK(r.policy_domain.n == 0 || ll_dns_name_under(r.author, r.policy_domain));
    CHECK((r.policy_domain.n == 0) == (r.policy_tag == NULL));
    if (r.policy_domain.n > 0) {
        check_uris(r.record.rua);
        check_uris(r.record.ruf);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct answers script = {.rest = ll_slice(data, size), .rdata = LL_BUF(1 << 20)};
    struct ll_dmarc_id dkim[LL_DMARC_DKIM_MAX + 2];
    struct ll_slice author = {NULL, 0}, spf = {NULL, 0}, list = {NULL, 0}, one;
    struct ll_dmarc_input in = {.dkim = dkim};
    struct ll_dns_answer dns;
    struct ll_need need;
    unsigned asked = 0;
    struct ll_dmarc *d;

    ll_slice_next(&script.rest, '\n', &author);
    ll_slice_next(&script.rest, '\n', &spf);
    ll_slice_next(&script.rest, '\n', &list);
    in.author = author;
    in.spf = identifier(spf);
    while (in.n_dkim < LL_COUNT(dkim) && ll_slice_next(&list, ',', &one))
        dkim[in.n_dkim++] = identifier(one);
    d = ll_dmarc_new(&in);
    if (!d)
        return 0;
    while (ll_dmarc_need(d, &need)) {
        CHECK(++asked <= LL_DMARC_NEEDS_MAX);
        answers_next(&script, &need, &dns);
        ll_dmarc_answer(d, &(struct ll_need_answer){.id = need.id, .dns = &dns});
    }
    check_result(d, &in, asked);
    ll_dmarc_free(d);
    ll_buf_release(&script.rdata);
    return 0;
}
