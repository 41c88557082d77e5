/* Writing Authentication-Results. See letterlock/authres.h. */
#include "letterlock/authres.h"

static void put(struct ll_authres_out *o, struct ll_slice s)
{
    ll_buf_put_slice(o->out, s);
    o->column += s.n;
}

static void puts_(struct ll_authres_out *o, const char *s)
{
    put(o, ll_slice_str(s));
}

/* A blank, or a fold where the next `n` octets would make the line long. */
static void space(struct ll_authres_out *o, size_t n)
{
    if (o->column + 1 + n > 78) {
        ll_buf_puts(o->out, "\r\n\t");
        o->column = 8;
    } else {
        puts_(o, " ");
    }
}

static bool is_plain(uint8_t c)
{
    return ll_is_alnum(c) || strchr("!#$%&'*+-.^_`{|}~", c);
}

/* Is it a token, or [local-part] "@" domain, that needs no quotes? */
static bool is_bare(struct ll_slice s)
{
    size_t at = 0;

    for (size_t i = 0; i < s.n; i++) {
        at += s.p[i] == '@';
        if (s.p[i] == 0 || (!is_plain(s.p[i]) && s.p[i] != '@'))
            return false;
    }
    return s.n > 0 && at <= 1 && s.p[s.n - 1] != '@';
}

static void put_value(struct ll_authres_out *o, struct ll_slice s)
{
    s = ll_slice_cut(s, 0, LL_AUTHRES_VALUE_MAX);
    if (is_bare(s)) {
        put(o, s);
        return;
    }
    puts_(o, "\"");
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];

        if (c == '"' || c == '\\')
            puts_(o, "\\");
        if (c < ' ' || c >= 0x7f)
            c = '?';
        put(o, ll_slice(&c, 1));
    }
    puts_(o, "\"");
}

void ll_authres_begin(struct ll_authres_out *o, struct ll_slice id)
{
    o->any = false;
    o->column = 0;
    puts_(o, "Authentication-Results: ");
    put_value(o, id);
}

void ll_authres_put(struct ll_authres_out *o, const char *method, const char *result)
{
    ll_buf_puts(o->out, ";\r\n\t");
    o->column = 8;
    puts_(o, method);
    puts_(o, "=");
    puts_(o, result);
    o->any = true;
}

void ll_authres_comment(struct ll_authres_out *o, struct ll_slice text)
{
    text = ll_slice_cut(text, 0, LL_AUTHRES_VALUE_MAX);
    if (text.n == 0)
        return;
    space(o, text.n + 2);
    puts_(o, "(");
    for (size_t i = 0; i < text.n; i++) {
        uint8_t c = text.p[i];

        if (c < ' ' || c >= 0x7f || c == '(' || c == ')' || c == '\\')
            c = '?';
        put(o, ll_slice(&c, 1));
    }
    puts_(o, ")");
}

void ll_authres_reason(struct ll_authres_out *o, struct ll_slice text)
{
    if (text.n == 0)
        return;
    space(o, text.n + 9);
    puts_(o, "reason=");
    put_value(o, text);
}

void ll_authres_property(struct ll_authres_out *o, const char *type, const char *name,
                         struct ll_slice value)
{
    if (value.n == 0)
        return;
    space(o, strlen(type) + strlen(name) + value.n + 4);
    puts_(o, type);
    puts_(o, ".");
    puts_(o, name);
    puts_(o, "=");
    put_value(o, value);
}

void ll_authres_end(struct ll_authres_out *o)
{
    if (!o->any)
        puts_(o, "; none");
    ll_buf_puts(o->out, "\r\n");
}

/* ---- our methods --------------------------------------------------------------------------------
 */

void ll_authres_spf(struct ll_authres_out *o, const struct ll_spf_result *r)
{
    ll_authres_put(o, "spf", ll_spf_word(r->code));
    ll_authres_reason(o, r->problem);
    if (r->helo)
        ll_authres_property(o, "smtp", "helo", r->domain);
    else
        ll_authres_property(o, "smtp", "mailfrom", r->sender);
}

void ll_authres_dkim(struct ll_authres_out *o, const struct ll_dkim_result *r, size_t n)
{
    if (n == 0)
        ll_authres_put(o, "dkim", "none");
    for (size_t i = 0; i < n; i++) {
        ll_authres_put(o, "dkim", ll_dkim_verdict_word(ll_dkim_fault_verdict(r[i].fault)));
        ll_authres_reason(o, ll_slice_str(ll_dkim_fault_text(r[i].fault)));
        ll_authres_property(o, "header", "d", r[i].domain);
        ll_authres_property(o, "header", "i", r[i].identity);
        ll_authres_property(o, "header", "s", r[i].selector);
        ll_authres_property(o, "header", "a", r[i].algorithm);
        ll_authres_property(o, "header", "b", r[i].b);
        if (r[i].testing)
            ll_authres_comment(o, LL_LIT("the domain only tests"));
    }
}

void ll_authres_dmarc(struct ll_authres_out *o, const struct ll_dmarc_result *r)
{
    ll_authres_put(o, "dmarc", ll_dmarc_word(r->code));
    ll_authres_property(o, "header", "from", r->author);
    if (r->policy_domain.n > 0)
        ll_authres_property(o, "policy", "dmarc", ll_slice_str(ll_dmarc_policy_word(r->policy)));
}

void ll_authres_arc(struct ll_authres_out *o, const struct ll_arc_result *r)
{
    struct ll_buf count = LL_BUF(32);

    ll_authres_put(o, "arc", ll_arc_word(r->code));
    ll_authres_reason(o, ll_slice_str(ll_arc_fault_text(r->fault)));
    if (r->sets > 0) {
        ll_buf_printf(&count, "i=%u", r->sets);
        ll_authres_comment(o, ll_buf_slice(&count));
    }
    ll_authres_property(o, "header", "d", r->domain);
    ll_authres_property(o, "header", "s", r->selector);
    ll_buf_release(&count);
}

void ll_authres_iprev(struct ll_authres_out *o, const char *result, struct ll_slice ip,
                      struct ll_slice name)
{
    ll_authres_put(o, "iprev", result);
    ll_authres_property(o, "policy", "iprev", ip);
    ll_authres_comment(o, name);
}

void ll_authres_auth(struct ll_authres_out *o, const char *result, struct ll_slice user)
{
    ll_authres_put(o, "auth", result);
    ll_authres_property(o, "smtp", "auth", user);
}

void ll_authres_tls(struct ll_authres_out *o, struct ll_slice version, struct ll_slice cipher)
{
    ll_authres_put(o, "x-tls", version.n > 0 ? "pass" : "none");
    ll_authres_property(o, "policy", "version", version);
    ll_authres_property(o, "policy", "cipher", cipher);
}
