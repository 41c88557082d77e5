/*
 * SPF: lines: MAIL FROM, HELO, then an answer for each question (fuzz_answers.h). The evaluation
 * ends, within its limits; the explanation is printable; the field is one field.
 */
#include "fuzz/targets/fuzz_answers.h"
#include "letterlock/spf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Lines of at most 998 octets, each but the first begun with a blank; no other control. */
static void check_field(struct ll_slice field)
{
    size_t line = 0;

    CHECK(ll_slice_starts(field, LL_LIT("Received-SPF: ")) && ll_slice_ends(field, LL_LIT("\r\n")));
    for (size_t i = 0; i < field.n; i++) {
        uint8_t c = field.p[i];

        line++;
        if (c == '\r') {
            CHECK(field.p[++i] == '\n' && line <= 998);
            CHECK(i + 1 == field.n || field.p[i + 1] == '\t');
            line = 0;
        } else {
            CHECK(c == '\t' || c >= ' ');
        }
    }
}

static void check_result(const struct ll_spf *s, unsigned asked)
{
    struct ll_buf field = LL_BUF(1 << 16);
    struct ll_spf_result r;

    CHECK(ll_spf_result(s, &r));
    CHECK(r.needs == asked && r.terms <= LL_SPF_TERMS_MAX + 1 && r.voids <= LL_SPF_VOID_MAX + 1);
    CHECK(r.code == LL_SPF_PERMERROR ||
          (r.terms <= LL_SPF_TERMS_MAX && r.voids <= LL_SPF_VOID_MAX));
    CHECK((r.code == LL_SPF_FAIL) == (r.explanation.n > 0));
    CHECK(r.explanation.n <= LL_SPF_EXPLANATION_MAX && ll_is_ascii(r.explanation));
    CHECK(ll_is_ascii(r.problem) && ll_is_ascii(r.term));
    ll_spf_received(s, r.sender, &field);
    CHECK(!field.failed);
    check_field(ll_buf_slice(&field));
    ll_buf_release(&field);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct answers script = {.rest = ll_slice(data, size), .rdata = LL_BUF(1 << 20)};
    struct ll_spf_check c = {.ip = {192, 0, 2, 1}, .ip_n = size % 3 ? 4 : 16, .unix_s = 1};
    struct ll_dns_answer dns;
    struct ll_need need;
    unsigned asked = 0;
    struct ll_spf *s;

    ll_slice_next(&script.rest, '\n', &c.mail_from);
    ll_slice_next(&script.rest, '\n', &c.helo);
    s = ll_spf_new(&c);
    if (!s)
        return 0;
    while (ll_spf_need(s, &need)) {
        CHECK(++asked <= LL_SPF_NEEDS_MAX);
        answers_next(&script, &need, &dns);
        ll_spf_answer(s, &(struct ll_need_answer){.id = need.id, .dns = &dns});
    }
    check_result(s, asked);
    ll_spf_free(s);
    ll_buf_release(&script.rdata);
    return 0;
}
