/* See letterlock/dmarc_failure.h. */
#include "letterlock/dmarc_failure.h"

#include "letterlock/msg.h"

#define TEXT_MAX 8192

/* ---- wanted? ------------------------------------------------------------------------------------
 */

/* The first signature that failed; NULL: none did. */
static const struct ll_dkim_result *failed_signature(const struct ll_dmarc_failure *f)
{
    for (size_t i = 0; i < f->n_dkim; i++)
        if (ll_dkim_fault_verdict(f->dkim[i].fault) == LL_DKIM_FAIL && f->dkim[i].domain.n > 0)
            return &f->dkim[i];
    return NULL;
}

static bool spf_failed(const struct ll_dmarc_failure *f)
{
    return f->spf && (f->spf->code == LL_SPF_FAIL || f->spf->code == LL_SPF_SOFTFAIL) &&
           f->spf->record.n > 0;
}

/* "dmarc", or the method whose own failure `fo` asks for; NULL: it asks for nothing. */
static const char *auth_failure(const struct ll_dmarc_failure *f)
{
    const struct ll_dmarc_result *d = f->dmarc;
    uint8_t fo = d->record.fo;

    if (d->code != LL_DMARC_FAIL && d->code != LL_DMARC_PASS)
        return NULL;
    if (((fo & LL_DMARC_FO_ALL) && d->code == LL_DMARC_FAIL) ||
        ((fo & LL_DMARC_FO_ANY) && !(d->dkim_aligned && d->spf_aligned)))
        return "dmarc";
    if ((fo & LL_DMARC_FO_DKIM) && failed_signature(f))
        return failed_signature(f)->fault == LL_DKIM_FAULT_BODY ? "bodyhash" : "signature";
    return (fo & LL_DMARC_FO_SPF) && spf_failed(f) ? "spf" : NULL;
}

static bool field_is(struct ll_slice header, const char *name, const char *begins)
{
    struct ll_msg_field f;

    return ll_msg_field_find(header, ll_slice_str(name), &f) &&
           ll_slice_casestarts(ll_slice_trim(f.body), ll_slice_str(begins));
}

bool ll_dmarc_failure_wanted(const struct ll_dmarc_failure *f, struct ll_slice header)
{
    struct ll_msg_field field;
    bool automatic = ll_msg_field_find(header, LL_LIT("Auto-Submitted"), &field) &&
                     !field_is(header, "Auto-Submitted", "no");

    return f->mail_from.n > 0 && !automatic &&
           !field_is(header, "Content-Type", "multipart/report") && auth_failure(f) != NULL;
}

/* ---- the part for programs ----------------------------------------------------------------------
 */

/* A stranger's octets, as printable ASCII in one line. */
static void put_clean(struct ll_buf *out, struct ll_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        ll_buf_putc(out, ll_is_print(s.p[i]) ? s.p[i] : '?');
}

/* A field, folded; one that cannot be folded into lines is left out. Ends text. */
static void put_field(struct ll_buf *out, const char *name, struct ll_buf *text)
{
    if (!text->failed)
        ll_msg_field_put(out, name, ll_buf_slice(text), false);
    ll_buf_release(text);
}

static void put(struct ll_buf *out, const char *name, struct ll_slice value)
{
    struct ll_buf text = LL_BUF(TEXT_MAX);

    put_clean(&text, value);
    put_field(out, name, &text);
}

static struct ll_slice domain_of(struct ll_slice address)
{
    return ll_slice_skip(address, ll_slice_rfind(address, '@') + 1);
}

/* RFC 6590: whose letter it was is not told. */
static void put_redacted(struct ll_buf *out, struct ll_slice domain)
{
    ll_buf_puts(out, "redacted@");
    put_clean(out, domain);
}

static void put_alignment(const struct ll_dmarc_result *d, struct ll_buf *out)
{
    ll_buf_printf(out, "Identity-Alignment: %s\r\n",
                  d->dkim_aligned && d->spf_aligned ? "dkim, spf"
                  : d->dkim_aligned                 ? "dkim"
                  : d->spf_aligned                  ? "spf"
                                                    : "none");
}

static void put_dkim(const struct ll_dmarc_failure *f, struct ll_buf *out)
{
    const struct ll_dkim_result *s = failed_signature(f);
    struct ll_buf identity = LL_BUF(TEXT_MAX);

    if (!s)
        return;
    put(out, "DKIM-Domain", s->domain);
    ll_buf_puts(&identity, "@");
    put_clean(&identity, domain_of(s->identity.n > 0 ? s->identity : s->domain));
    put_field(out, "DKIM-Identity", &identity);
    put(out, "DKIM-Selector", s->selector);
}

/* RFC 6591 4: spf-dns, the record as a quoted-string. */
static void put_spf(const struct ll_spf_result *s, struct ll_buf *out)
{
    struct ll_buf text = LL_BUF(TEXT_MAX);

    if (!s || s->record.n == 0)
        return;
    ll_buf_puts(&text, "txt : ");
    put_clean(&text, s->from);
    ll_buf_puts(&text, " : \"");
    for (size_t i = 0; i < s->record.n; i++) {
        if (s->record.p[i] == '"' || s->record.p[i] == '\\')
            ll_buf_putc(&text, '\\');
        ll_buf_putc(&text, ll_is_print(s->record.p[i]) ? s->record.p[i] : '?');
    }
    ll_buf_puts(&text, "\"");
    put_field(out, "SPF-DNS", &text);
}

/* One method's result alone (RFC 6591 3.1). */
static void put_result(const struct ll_dmarc_failure *f, const char *failure, struct ll_buf *out)
{
    const struct ll_dkim_result *s = failed_signature(f);
    struct ll_buf text = LL_BUF(TEXT_MAX);

    put_clean(&text, f->authserv_id);
    if (strcmp(failure, "spf") == 0) {
        ll_buf_printf(&text, "; spf=%s smtp.mailfrom=", ll_spf_word(f->spf->code));
        put_clean(&text, f->spf->domain);
    } else if (strcmp(failure, "dmarc") == 0 || !s) {
        ll_buf_printf(&text, "; dmarc=%s header.from=", ll_dmarc_word(f->dmarc->code));
        put_clean(&text, f->dmarc->author);
    } else {
        ll_buf_puts(&text, "; dkim=fail header.d=");
        put_clean(&text, s->domain);
    }
    put_field(out, "Authentication-Results", &text);
}

bool ll_dmarc_failure_feedback(const struct ll_dmarc_failure *f, struct ll_buf *out)
{
    const char *failure = auth_failure(f);
    struct ll_buf from = LL_BUF(TEXT_MAX), date = LL_BUF(64), mta = LL_BUF(TEXT_MAX);

    if (!failure)
        return false;
    put_redacted(&from, domain_of(f->mail_from));
    ll_time_rfc5322(&date, f->unix_s);
    ll_buf_puts(&mta, "dns; ");
    put_clean(&mta, f->hostname);
    ll_buf_puts(out, "Feedback-Type: auth-failure\r\nUser-Agent: letterlock\r\nVersion: 1\r\n");
    ll_buf_printf(out, "Auth-Failure: %s\r\n", failure);
    put_result(f, failure, out);
    put_field(out, "Original-Mail-From", &from);
    put_field(out, "Arrival-Date", &date);
    put(out, "Source-IP", f->source);
    put(out, "Reported-Domain", f->dmarc->author);
    put_field(out, "Reporting-MTA", &mta);
    ll_buf_printf(out, "Delivery-Result: %s\r\n", f->delivery);
    put_alignment(f->dmarc, out);
    put_dkim(f, out);
    put_spf(f->spf, out);
    return !out->failed;
}

/* ---- of the letter ------------------------------------------------------------------------------
 */

/* The domains of all addresses in a field, each behind "redacted@"; names and comments go. */
static void put_domains(struct ll_slice body, struct ll_buf *out)
{
    bool any = false;

    for (size_t i = 0; i < body.n; i++) {
        size_t to = i + 1;

        if (body.p[i] != '@')
            continue;
        while (to < body.n && (ll_is_alnum(body.p[to]) || body.p[to] == '-' || body.p[to] == '.'))
            to++;
        if (to == i + 1)
            continue;
        ll_buf_puts(out, any ? ", <" : "<");
        put_redacted(out, ll_slice_cut(body, i + 1, to));
        ll_buf_puts(out, ">");
        any = true;
        i = to - 1;
    }
    if (!any)
        ll_buf_puts(out, "redacted");
}

static void put_shown(const struct ll_msg_field *f, const char *name, bool addresses,
                      struct ll_buf *out)
{
    struct ll_buf text = LL_BUF(TEXT_MAX), clean = LL_BUF(TEXT_MAX);

    if (addresses)
        put_domains(f->body, &text);
    else
        ll_msg_unfold(ll_slice_cut(f->body, 0, TEXT_MAX), &text);
    put_clean(&clean, ll_buf_slice(&text));
    if (out->n + 2 * clean.n + 64 <= out->max)
        put_field(out, name, &clean);
    ll_buf_release(&text);
    ll_buf_release(&clean);
}

/* No DKIM-Signature: i= names a user, z= can hold a copy of any field. */
bool ll_dmarc_failure_header(struct ll_slice header, struct ll_buf *out)
{
    static const struct {
        const char *name;
        bool addresses;
    } shown[] = {{"From", true},        {"Sender", true},      {"Reply-To", true},
                 {"Date", false},       {"Message-ID", false}, {"List-ID", false},
                 {"User-Agent", false}, {"X-Mailer", false}};
    struct ll_msg_field f;
    size_t n = 0;

    while (ll_msg_field_next(&header, &f) && n < LL_DMARC_HEADER_FIELDS)
        for (size_t i = 0; i < LL_COUNT(shown) && !f.bad; i++)
            if (ll_slice_caseeq(f.name, ll_slice_str(shown[i].name))) {
                put_shown(&f, shown[i].name, shown[i].addresses, out);
                n++;
            }
    return !out->failed;
}
