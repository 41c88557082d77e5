/* See letterlock/dmarc_report.h. */
#include "letterlock/dmarc_report.h"

#define POLICY_TEXTS 7
#define DKIM_TEXTS   3

static void put_str(struct ll_buf *out, const char *s)
{
    ll_buf_str16(out, ll_slice_str(s));
}

void ll_dmarc_report_policy(const struct ll_dmarc_record *r, struct ll_buf *out)
{
    static const struct {
        uint8_t bit;
        char word;
    } options[] = {{LL_DMARC_FO_ALL, '0'},
                   {LL_DMARC_FO_ANY, '1'},
                   {LL_DMARC_FO_DKIM, 'd'},
                   {LL_DMARC_FO_SPF, 's'}};
    char fo[2 * LL_COUNT(options) + 1];
    size_t n = 0;

    for (size_t i = 0; i < LL_COUNT(options); i++) {
        if (!(r->fo & options[i].bit))
            continue;
        if (n > 0)
            fo[n++] = ':';
        fo[n++] = options[i].word;
    }
    put_str(out, ll_dmarc_policy_word(r->p));
    put_str(out, ll_dmarc_policy_word(r->sp));
    put_str(out, ll_dmarc_policy_word(r->np));
    ll_buf_str16(out, ll_slice(fo, n));
    put_str(out, r->dkim_strict ? "s" : "r");
    put_str(out, r->spf_strict ? "s" : "r");
    put_str(out, r->test ? "y" : "n");
}

/* How many texts a list holds; 0: it is none. */
static size_t texts(struct ll_slice list)
{
    struct ll_cursor c = ll_cursor(list);
    size_t n = 0;

    for (; ll_cur_left(&c) > 0 && !c.failed; n++)
        ll_cur_str16(&c);
    return c.failed ? 0 : n;
}

bool ll_dmarc_report_is_policy(struct ll_slice policy)
{
    return texts(policy) == POLICY_TEXTS;
}

bool ll_dmarc_report_is_row(struct ll_slice row)
{
    size_t n = texts(row);

    return row.n <= LL_DMARC_ROW_MAX && n >= LL_DMARC_ROW_TEXTS &&
           (n - LL_DMARC_ROW_TEXTS) % DKIM_TEXTS == 0 &&
           (n - LL_DMARC_ROW_TEXTS) / DKIM_TEXTS <= LL_DMARC_ROW_DKIM;
}

/* ---- XML ----------------------------------------------------------------------------------------
 */

static void escaped(struct ll_slice s, struct ll_buf *out)
{
    bool utf8 = ll_utf8_valid(s);

    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];

        if (c == '&')
            ll_buf_puts(out, "&amp;");
        else if (c == '<')
            ll_buf_puts(out, "&lt;");
        else if (c == '>')
            ll_buf_puts(out, "&gt;");
        else
            ll_buf_putc(out, ll_is_print(c) || (utf8 && c > 0x7f) ? c : '?');
    }
}

static void element(struct ll_buf *out, const char *name, struct ll_slice text)
{
    ll_buf_printf(out, "<%s>", name);
    escaped(text, out);
    ll_buf_printf(out, "</%s>\n", name);
}

static void number(struct ll_buf *out, const char *name, uint64_t n)
{
    ll_buf_printf(out, "<%s>%llu</%s>\n", name, (unsigned long long)n, name);
}

void ll_dmarc_report_begin(const struct ll_dmarc_report *r, struct ll_buf *out)
{
    static const char *const names[POLICY_TEXTS] = {"p",     "sp",   "np",     "fo",
                                                    "adkim", "aspf", "testing"};
    struct ll_cursor policy = ll_cursor(r->policy);

    ll_buf_puts(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                     "<feedback xmlns=\"urn:ietf:params:xml:ns:dmarc-2.0\">\n"
                     "<version>1.0</version>\n<report_metadata>\n");
    element(out, "org_name", r->org);
    element(out, "email", r->email);
    element(out, "report_id", r->id);
    ll_buf_puts(out, "<date_range>\n");
    number(out, "begin", (uint64_t)r->begin);
    number(out, "end", (uint64_t)r->end);
    ll_buf_puts(out, "</date_range>\n");
    element(out, "generator", r->generator);
    ll_buf_puts(out, "</report_metadata>\n<policy_published>\n");
    element(out, "domain", r->domain);
    element(out, "discovery_method", LL_LIT("treewalk"));
    for (size_t i = 0; i < POLICY_TEXTS; i++)
        element(out, names[i], ll_cur_str16(&policy));
    ll_buf_puts(out, "</policy_published>\n");
}

static void signatures(struct ll_cursor *c, struct ll_buf *out)
{
    while (ll_cur_left(c) > 0) {
        ll_buf_puts(out, "<dkim>\n");
        element(out, "domain", ll_cur_str16(c));
        element(out, "selector", ll_cur_str16(c));
        element(out, "result", ll_cur_str16(c));
        ll_buf_puts(out, "</dkim>\n");
    }
}

void ll_dmarc_report_row(struct ll_slice row, uint64_t count, struct ll_buf *out)
{
    struct ll_cursor c = ll_cursor(row);
    struct ll_slice t[LL_DMARC_ROW_TEXTS];

    for (size_t i = 0; i < LL_DMARC_ROW_TEXTS; i++)
        t[i] = ll_cur_str16(&c);
    ll_buf_puts(out, "<record>\n<row>\n");
    element(out, "source_ip", t[LL_DMARC_ROW_SOURCE]);
    number(out, "count", count);
    ll_buf_puts(out, "<policy_evaluated>\n");
    element(out, "disposition", t[LL_DMARC_ROW_DISPOSITION]);
    element(out, "dkim", t[LL_DMARC_ROW_ALIGNED_DKIM]);
    element(out, "spf", t[LL_DMARC_ROW_ALIGNED_SPF]);
    if (t[LL_DMARC_ROW_REASON].n > 0) {
        ll_buf_puts(out, "<reason>\n");
        element(out, "type", t[LL_DMARC_ROW_REASON]);
        ll_buf_puts(out, "</reason>\n");
    }
    ll_buf_puts(out, "</policy_evaluated>\n</row>\n<identifiers>\n");
    element(out, "header_from", t[LL_DMARC_ROW_AUTHOR]);
    element(out, "envelope_from", t[LL_DMARC_ROW_SENDER]);
    ll_buf_puts(out, "</identifiers>\n<auth_results>\n");
    signatures(&c, out);
    if (t[LL_DMARC_ROW_SPF_DOMAIN].n > 0) {
        ll_buf_puts(out, "<spf>\n");
        element(out, "domain", t[LL_DMARC_ROW_SPF_DOMAIN]);
        element(out, "scope", LL_LIT("mfrom"));
        element(out, "result", t[LL_DMARC_ROW_SPF_RESULT]);
        ll_buf_puts(out, "</spf>\n");
    }
    ll_buf_puts(out, "</auth_results>\n</record>\n");
}

void ll_dmarc_report_end(struct ll_buf *out)
{
    ll_buf_puts(out, "</feedback>\n");
}

/* ---- where to -----------------------------------------------------------------------------------
 */

bool ll_dmarc_report_mailto(struct ll_slice uri, struct ll_buf *out)
{
    struct ll_slice rest;
    size_t at, before = out->n;

    if (!ll_slice_casestarts(uri, LL_LIT("mailto:")))
        return false;
    rest = ll_slice_skip(uri, 7);
    rest = ll_slice_cut(rest, 0, ll_slice_find(rest, '?'));
    while (rest.n > 0) {
        if (rest.p[0] == '%') {
            if (rest.n < 3 || !ll_hex_decode(out, ll_slice_cut(rest, 1, 3)))
                break;
            rest = ll_slice_skip(rest, 3);
        } else {
            ll_buf_putc(out, rest.p[0]);
            rest = ll_slice_skip(rest, 1);
        }
    }
    uri = ll_slice_skip(ll_buf_slice(out), before);
    at = ll_slice_rfind(uri, '@');
    for (size_t i = 0; i < uri.n; i++)
        if (!ll_is_print(uri.p[i]) || uri.p[i] == ' ' || uri.p[i] == ',')
            rest = uri; /* left over: refused below */
    if (rest.n == 0 && !out->failed && at > 0 && at + 1 < uri.n)
        return true;
    out->n = before;
    return false;
}
