/* Mailboxes and paths. See include/letterlock/addr.h. */
#include "letterlock/addr.h"

const char *ll_addr_error_text(enum ll_addr_error e)
{
    static const char *const texts[] = {
#define ROW(id, text) [LL_ADDR_##id] = text,
        LL_ADDR_ERRORS(ROW)
#undef ROW
    };

    return texts[(size_t)e < LL_COUNT(texts) ? e : LL_ADDR_SYNTAX];
}

/* atext (RFC 5322 3.2.3), and all of UTF-8 (RFC 6531 3.3), whose validity is checked apart. */
static bool is_atext(uint8_t c)
{
    return ll_is_alnum(c) || c >= 0x80 || (c > 0 && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

static bool is_dot_string(struct ll_slice s)
{
    if (s.n == 0 || s.p[0] == '.' || s.p[s.n - 1] == '.')
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '.' ? s.p[i - 1] == '.' : !is_atext(s.p[i]))
            return false;
    }
    return true;
}

bool ll_local_quote(struct ll_slice local, struct ll_buf *out)
{
    size_t start = out->n;

    if (local.n > LL_LOCAL_MAX)
        return false;
    if (is_dot_string(local)) {
        ll_buf_put_slice(out, local);
        return !out->failed;
    }
    for (size_t i = 0; i < local.n; i++) {
        if (local.p[i] < 0x20 || local.p[i] == 0x7f)
            return false;
    }
    ll_buf_putc(out, '"');
    for (size_t i = 0; i < local.n; i++) {
        if (local.p[i] == '"' || local.p[i] == '\\')
            ll_buf_putc(out, '\\');
        ll_buf_putc(out, local.p[i]);
    }
    ll_buf_putc(out, '"');
    if (out->n - start > LL_LOCAL_MAX) {
        out->n = start;
        return false;
    }
    return !out->failed;
}

void ll_local_unquote(struct ll_slice local, struct ll_buf *out)
{
    if (local.n < 2 || local.p[0] != '"') {
        ll_buf_put_slice(out, local);
        return;
    }
    for (size_t i = 1; i + 1 < local.n; i++) {
        if (local.p[i] == '\\' && i + 2 < local.n)
            i++;
        ll_buf_putc(out, local.p[i]);
    }
}

/* How many octets of text the local part takes as written; 0: none. */
static size_t local_end(struct ll_slice text)
{
    size_t i;

    if (text.n == 0 || text.p[0] != '"') {
        for (i = 0; i < text.n && (is_atext(text.p[i]) || text.p[i] == '.'); i++)
            continue;
        return i;
    }
    for (i = 1; i < text.n; i++) {
        uint8_t c = text.p[i];

        if (c == '"')
            return i + 1;
        if (c == '\\' && i + 1 < text.n && ll_is_print(text.p[i + 1]))
            i++;
        else if (c < 0x20 || c == 0x7f || c == '\\')
            return 0;
    }
    return 0;
}

/* Writes the canonical local part to m, whose text is still empty. */
static enum ll_addr_error local_read(struct ll_slice local, struct ll_mailbox *m)
{
    struct ll_buf meaning = LL_BUF(LL_LOCAL_MAX + 1);
    struct ll_buf canonical = LL_BUF(LL_LOCAL_MAX + 1);
    struct ll_slice plain = local;
    enum ll_addr_error e = LL_ADDR_OK;

    if (local.p[0] == '"') {
        ll_local_unquote(local, &meaning);
        plain = ll_buf_slice(&meaning);
        if (meaning.failed || !ll_local_quote(plain, &canonical))
            e = LL_ADDR_SYNTAX;
        else
            local = ll_buf_slice(&canonical);
    } else if (!is_dot_string(local)) {
        e = LL_ADDR_SYNTAX;
    }
    if (e == LL_ADDR_OK) {
        memcpy(m->text, local.p, local.n);
        m->local_n = m->n = (uint16_t)local.n;
        m->utf8 = !ll_is_ascii(local);
        m->indirect = ll_slice_find(plain, '%') < plain.n || ll_slice_find(plain, '!') < plain.n ||
                      ll_slice_find(plain, '@') < plain.n;
    }
    ll_buf_release(&meaning);
    ll_buf_release(&canonical);
    return e;
}

static enum ll_addr_error domain_read(struct ll_slice domain, bool utf8, struct ll_mailbox *m)
{
    struct ll_buf out = LL_BUF(LL_DOMAIN_MAX);
    enum ll_domain_kind kind = LL_DOMAIN_NAME;
    enum ll_addr_error e;

    if (domain.n > 0 && domain.p[0] == '[')
        e = ll_literal_canonical(domain, &out, &kind);
    else
        e = ll_domain_canonical(domain, utf8, &out);
    if (e == LL_ADDR_OK) {
        m->text[m->n++] = '@';
        memcpy(m->text + m->n, out.p, out.n);
        m->n = (uint16_t)(m->n + out.n);
        m->kind = (uint8_t)kind;
    }
    ll_buf_release(&out);
    return e;
}

/* Octets of the domain or literal at the front of text, as written. */
static size_t domain_end(struct ll_slice text)
{
    size_t i;

    if (text.n > 0 && text.p[0] == '[') {
        i = ll_slice_find(text, ']');
        return i < text.n ? i + 1 : 0;
    }
    for (i = 0; i < text.n; i++) {
        uint8_t c = text.p[i];

        if (!ll_is_alnum(c) && c != '-' && c != '.' && c != '_' && c < 0x80)
            break;
    }
    return i;
}

/* local@domain at the front of text; *ret_used: as written. A missing domain is NO_DOMAIN, with
 * *ret_used and *ret complete. */
static enum ll_addr_error mailbox_read(struct ll_slice text, bool utf8, struct ll_mailbox *ret,
                                       size_t *ret_used)
{
    struct ll_mailbox m = {0};
    size_t local_n = local_end(text);
    size_t domain_n;
    enum ll_addr_error e;

    if (local_n == 0)
        return LL_ADDR_SYNTAX;
    if (local_n > LL_LOCAL_MAX)
        return LL_ADDR_LOCAL_LONG;
    e = local_read(ll_slice_cut(text, 0, local_n), &m);
    if (e)
        return e;
    if (m.utf8 && !utf8)
        return LL_ADDR_NEEDS_UTF8;
    if (m.utf8 && !ll_utf8_valid(ll_slice_cut(text, 0, local_n)))
        return LL_ADDR_BAD_UTF8;
    if (local_n == text.n || text.p[local_n] != '@') {
        *ret = m;
        *ret_used = local_n;
        return LL_ADDR_NO_DOMAIN;
    }
    domain_n = domain_end(ll_slice_skip(text, local_n + 1));
    e = domain_read(ll_slice_cut(text, local_n + 1, local_n + 1 + domain_n), utf8, &m);
    if (e)
        return e;
    *ret = m;
    *ret_used = local_n + 1 + domain_n;
    return LL_ADDR_OK;
}

enum ll_addr_error ll_mailbox_parse(struct ll_slice text, bool utf8, struct ll_mailbox *ret)
{
    struct ll_mailbox m;
    size_t used;
    enum ll_addr_error e;

    if (text.n > LL_PATH_MAX - 2)
        return LL_ADDR_PATH_LONG;
    if (text.n > 0 && text.p[0] == '@')
        return LL_ADDR_ROUTE;
    e = mailbox_read(text, utf8, &m, &used);
    if (e == LL_ADDR_NO_DOMAIN && used != text.n)
        return LL_ADDR_SYNTAX;
    if (e)
        return e;
    if (used != text.n)
        return LL_ADDR_SYNTAX;
    *ret = m;
    return LL_ADDR_OK;
}

enum ll_addr_error ll_path_parse(struct ll_slice text, bool utf8, struct ll_mailbox *ret,
                                 size_t *ret_used)
{
    struct ll_slice in = ll_slice_skip(text, 1);
    struct ll_mailbox m = {0};
    size_t used = 0;
    enum ll_addr_error e;

    if (text.n < 2 || text.p[0] != '<')
        return LL_ADDR_SYNTAX;
    if (in.p[0] == '@')
        return LL_ADDR_ROUTE;
    if (in.p[0] != '>') {
        e = mailbox_read(ll_slice_cut(in, 0, LL_PATH_MAX), utf8, &m, &used);
        if (e == LL_ADDR_NO_DOMAIN && used < in.n && in.p[used] != '>')
            return LL_ADDR_SYNTAX;
        if (e == LL_ADDR_NO_DOMAIN && !ll_slice_caseeq(ll_mailbox_text(&m), LL_LIT("postmaster")))
            return e;
        if (e && e != LL_ADDR_NO_DOMAIN)
            return e;
    }
    if (used + 2 > LL_PATH_MAX)
        return LL_ADDR_PATH_LONG;
    if (used >= in.n || in.p[used] != '>')
        return LL_ADDR_SYNTAX;
    *ret = m;
    *ret_used = used + 2;
    return LL_ADDR_OK;
}

bool ll_mailbox_split(const struct ll_mailbox *m, const char *delimiters, struct ll_slice *ret_user,
                      struct ll_slice *ret_detail)
{
    struct ll_slice local = ll_mailbox_local(m);

    *ret_user = local;
    *ret_detail = ll_slice(NULL, 0);
    if (local.n == 0 || local.p[0] == '"')
        return false;
    for (size_t i = 1; i < local.n; i++) {
        if (strchr(delimiters, local.p[i]) != NULL) {
            *ret_user = ll_slice_cut(local, 0, i);
            *ret_detail = ll_slice_skip(local, i + 1);
            return true;
        }
    }
    return false;
}

bool ll_mailbox_same(const struct ll_mailbox *a, const struct ll_mailbox *b)
{
    return a->n == b->n && a->local_n == b->local_n &&
           ll_slice_caseeq(ll_mailbox_text(a), ll_mailbox_text(b));
}

void ll_mailbox_lower(struct ll_mailbox *m)
{
    for (size_t i = 0; i < m->local_n; i++)
        m->text[i] = (char)ll_lower((uint8_t)m->text[i]);
}
