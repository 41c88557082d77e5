/* See letterlock/dns.h. */
#include "letterlock/dns.h"

#include "letterlock/addr.h"
#include "lib/dns/wire.h"

#define LABEL_MAX 63 /* octets, RFC 1035 2.3.4 */

static const struct {
    uint16_t type;
    const char *name;
} types[] = {
#define ROW(ID, number, name) {(number), (name)},
    LL_DNS_TYPES(ROW)
#undef ROW
};

static const char *const statuses[] = {
#define ROW(ID, word) word,
    LL_DNS_STATUSES(ROW)
#undef ROW
};

const char *ll_dns_type_name(uint16_t type)
{
    for (size_t i = 0; i < LL_COUNT(types); i++)
        if (types[i].type == type)
            return types[i].name;
    return NULL;
}

const char *ll_dns_status_name(uint8_t status)
{
    return status < LL_COUNT(statuses) ? statuses[status] : "unknown";
}

static bool name_octet(uint8_t c)
{
    return ll_is_print(c) && c != '\\' && c != '"' && c != '.';
}

bool ll_dns_label_add(struct ll_dns_name *name, struct ll_slice label)
{
    size_t at = name->n;

    if (label.n == 0 || label.n > LABEL_MAX || at + (at > 0) + label.n > LL_DNS_NAME_MAX)
        return false;
    if (at > 0)
        name->text[at++] = '.';
    for (size_t i = 0; i < label.n; i++) {
        if (!name_octet(label.p[i]))
            return false;
        name->text[at++] = (char)ll_lower(label.p[i]);
    }
    name->n = (uint8_t)at;
    name->text[at] = '\0';
    return true;
}

void ll_dns_name_root(struct ll_dns_name *name)
{
    *name = (struct ll_dns_name){.n = 1, .text = "."};
}

bool ll_dns_name_parse(struct ll_slice text, struct ll_dns_name *ret)
{
    struct ll_dns_name name = {.n = 0};
    struct ll_slice label;

    if (text.n == 0)
        return false;
    if (text.n == 1 && text.p[0] == '.') {
        ll_dns_name_root(ret);
        return true;
    }
    if (text.p[text.n - 1] == '.')
        text.n--;
    while (text.n > 0) {
        size_t dot = ll_slice_find(text, '.');

        label = ll_slice_cut(text, 0, dot);
        if (!ll_dns_label_add(&name, label))
            return false;
        if (dot + 1 == text.n)
            return false; /* an empty last label */
        text = ll_slice_skip(text, dot + 1);
    }
    if (name.n == 0)
        return false;
    *ret = name;
    return true;
}

bool ll_dns_name_of(struct ll_slice domain, struct ll_dns_name *ret)
{
    struct ll_buf ascii = LL_BUF(LL_DOMAIN_MAX);
    bool ok = domain.n > 0 && domain.p[0] != '[' && domain.p[0] != '.' &&
              ll_slice_find(domain, ' ') == domain.n;

    if (ok && !ll_is_ascii(domain)) {
        ok = ll_domain_canonical(domain, true, &ascii) == LL_ADDR_OK;
        domain = ll_buf_slice(&ascii);
    }
    ok = ok && ll_dns_name_parse(domain, ret);
    ll_buf_release(&ascii);
    return ok;
}

static struct ll_slice without_dot(struct ll_slice s)
{
    if (s.n > 0 && s.p[s.n - 1] == '.')
        s.n--;
    return s;
}

bool ll_dns_name_eq(struct ll_slice a, struct ll_slice b)
{
    return ll_slice_caseeq(without_dot(a), without_dot(b));
}

bool ll_dns_name_under(struct ll_slice name, struct ll_slice parent)
{
    name = without_dot(name);
    parent = without_dot(parent);
    if (parent.n == 0 || ll_slice_caseeq(name, parent))
        return true;
    return name.n > parent.n && name.p[name.n - parent.n - 1] == '.' &&
           ll_slice_caseeq(ll_slice_skip(name, name.n - parent.n), parent);
}

void ll_dns_reverse(const uint8_t *address, size_t n, struct ll_dns_name *ret)
{
    static const char hex[] = "0123456789abcdef";
    struct ll_buf out = LL_BUF(LL_DNS_NAME_MAX);

    for (size_t i = n; i-- > 0;) {
        if (n == 4)
            ll_buf_printf(&out, "%u.", address[i]);
        else
            ll_buf_printf(&out, "%c.%c.", hex[address[i] & 15], hex[address[i] >> 4]);
    }
    ll_buf_puts(&out, n == 4 ? "in-addr.arpa" : "ip6.arpa");
    if (!ll_dns_name_parse(ll_buf_slice(&out), ret))
        ll_dns_name_root(ret); /* no memory: a name without PTR */
    ll_buf_release(&out);
}
