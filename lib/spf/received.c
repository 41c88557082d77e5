/* The Received-SPF field, RFC 7208 9.1. See letterlock/spf.h. */
#include "letterlock/addr.h"
#include "lib/spf/internal.h"

#define SHOWN_MAX 320 /* octets of one value: a line stays below 998 with every octet escaped */

static bool plain(uint8_t c)
{
    return ll_is_alnum(c) || (c != 0 && strchr("-._:", c));
}

/* Inside of a comment: only what a name or an address needs. */
static void put_plain(struct ll_slice s, struct ll_buf *out)
{
    s = ll_slice_cut(s, 0, SHOWN_MAX);
    for (size_t i = 0; i < s.n; i++)
        ll_buf_putc(out, plain(s.p[i]) ? s.p[i] : '?');
}

/* A quoted-string (RFC 5322 3.2.4); UTF-8 may stand in it (RFC 6532 3.2), controls may not. */
static void put_quoted(struct ll_slice s, struct ll_buf *out)
{
    bool utf8;

    s = ll_slice_cut(s, 0, SHOWN_MAX);
    utf8 = ll_utf8_valid(s);
    ll_buf_putc(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"' || s.p[i] == '\\')
            ll_buf_putc(out, '\\');
        ll_buf_putc(out, ll_is_print(s.p[i]) || (s.p[i] > 0x7f && utf8) ? s.p[i] : '?');
    }
    ll_buf_putc(out, '"');
}

static void put_pair(const char *key, struct ll_slice value, struct ll_buf *out)
{
    if (value.n == 0)
        return;
    ll_buf_printf(out, ";\r\n\t%s=", key);
    put_quoted(value, out);
}

void ll_spf_received(const struct ll_spf *s, struct ll_slice receiver, struct ll_buf *out)
{
    static const char *const says[] = {
        [LL_SPF_NONE] = "no SPF record says anything about",
        [LL_SPF_NEUTRAL] = "the domain's record is neutral about",
        [LL_SPF_PASS] = "the domain designates as permitted sender",
        [LL_SPF_FAIL] = "the domain does not designate as permitted sender",
        [LL_SPF_SOFTFAIL] = "the domain probably does not designate as permitted sender",
        [LL_SPF_TEMPERROR] = "for a while nothing is known about",
        [LL_SPF_PERMERROR] = "the domain's record is wrong, so nothing is known about",
    };
    struct ll_buf ip = LL_BUF(64);

    ll_ip_put(s->ip, s->ip_n, &ip);
    ll_buf_printf(out, "Received-SPF: %s (", ll_spf_word(s->code));
    put_plain(receiver, out);
    ll_buf_puts(out, ": ");
    put_plain(ll_dns_name_slice(&s->domain), out);
    ll_buf_printf(out, ":\r\n\t%s ", says[s->code]);
    put_plain(ll_buf_slice(&ip), out);
    ll_buf_printf(out, ")\r\n\tidentity=%s", s->helo_identity ? "helo" : "mailfrom");
    put_pair("client-ip", ll_buf_slice(&ip), out);
    put_pair("receiver", receiver, out);
    if (!s->helo_identity)
        put_pair("envelope-from", ll_buf_slice(&s->sender), out);
    put_pair("helo", ll_buf_slice(&s->helo), out);
    put_pair("mechanism", ll_buf_slice(&s->decided), out);
    put_pair("problem", ll_buf_slice(&s->problem), out);
    ll_buf_puts(out, "\r\n");
    ll_buf_release(&ip);
}
