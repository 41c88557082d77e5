/* See dkim_keys.h. */
#include "io/dkim_keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define FILE_MAX (1u << 20)

bool ll_dkim_table_path(const struct ll_conf *c, struct ll_buf *out)
{
    ll_buf_printf(out, "%s/dkim/table", c->state_dir);
    return !out->failed;
}

/* Names hold no "/" (ll_dns_name_parse would take one): such an entry is refused when read. */
bool ll_dkim_key_path(const struct ll_conf *c, const struct ll_dkim_entry *e, struct ll_buf *out)
{
    ll_buf_printf(out, "%s/dkim/%s.%s.pem", c->state_dir, e->domain.text, e->selector.text);
    return !out->failed;
}

/* ---- the table ----------------------------------------------------------------------------------
 */

static bool next_word(struct ll_slice *rest, struct ll_slice *ret)
{
    *rest = ll_slice_trim(*rest);
    return ll_slice_next(rest, ' ', ret) && ret->n > 0;
}

static bool is_plain(const struct ll_dns_name *n)
{
    return n->text[0] != '.' && ll_slice_find(ll_dns_name_slice(n), '/') == n->n;
}

static const char *read_line(struct ll_slice line, struct ll_dkim_entry *e)
{
    struct ll_slice domain, selector, algorithm, from, until, octets;
    struct ll_buf key = LL_BUF(LL_DKIM_KEY_ROOM);
    bool ok;
    uint64_t a, b;

    if (!next_word(&line, &domain) || !next_word(&line, &selector) ||
        !next_word(&line, &algorithm) || !next_word(&line, &from) || !next_word(&line, &until) ||
        !next_word(&line, &octets) || ll_slice_trim(line).n > 0)
        return "not DOMAIN SELECTOR ALGORITHM FROM UNTIL PUBLIC";
    if (!ll_dns_name_parse(domain, &e->domain) || !is_plain(&e->domain))
        return "the domain is no domain name";
    if (!ll_dns_name_parse(selector, &e->selector) || !is_plain(&e->selector))
        return "the selector is no name";
    if (!ll_dkim_algorithm_find(algorithm, &e->algorithm))
        return "the algorithm is neither rsa-sha256 nor ed25519-sha256";
    if (!ll_slice_u64(from, &a) || !ll_slice_u64(until, &b) || a > INT64_MAX || b > INT64_MAX)
        return "a time is no number of seconds";
    ok = ll_base64_decode(&key, octets);
    ll_buf_release(&key);
    if (!ok)
        return "the public key is no base64";
    e->public_key = octets;
    e->from = (int64_t)a;
    e->until = (int64_t)b;
    return NULL;
}

bool ll_dkim_table_parse(struct ll_slice text, struct ll_dkim_table *ret, struct ll_buf *err)
{
    struct ll_dkim_table t = {.entry = calloc(LL_DKIM_TABLE_MAX, sizeof(*t.entry)),
                              .text = malloc(text.n + 1)};
    const char *fault = t.entry && t.text ? NULL : "no memory";
    unsigned number = 0;
    struct ll_slice line;

    if (!fault && text.n > 0)
        text.p = memcpy(t.text, text.p, text.n);
    while (!fault && ll_slice_next(&text, '\n', &line)) {
        number++;
        line = ll_slice_trim(line);
        if (line.n == 0 || line.p[0] == '#')
            continue;
        if (t.n == LL_DKIM_TABLE_MAX)
            fault = "more than 1000 keys";
        else
            fault = read_line(line, &t.entry[t.n]);
        t.n += fault == NULL;
    }
    if (fault) {
        ll_buf_printf(err, "line %u: %s\n", number, fault);
        ll_dkim_table_release(&t);
        return false;
    }
    *ret = t;
    return true;
}

bool ll_dkim_table_load(const struct ll_conf *c, struct ll_dkim_table *ret, struct ll_buf *err)
{
    struct ll_buf path = LL_BUF(4096), text = LL_BUF(FILE_MAX);
    ssize_t r = 1;
    uint8_t *p;
    bool ok = false;
    int fd;

    ll_dkim_table_path(c, &path);
    fd = ll_buf_str(&path) ? open((const char *)path.p, O_RDONLY | O_CLOEXEC | O_NOCTTY) : -1;
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) {
        ok = ll_dkim_table_parse(LL_LIT(""), ret, err);
    } else if (fd >= 0) {
        while ((p = ll_buf_room(&text, 4096)) && (r = read(fd, p, 4096)) > 0)
            ll_buf_grew(&text, (size_t)r);
        ok = r == 0 && !text.failed && ll_dkim_table_parse(ll_buf_slice(&text), ret, err);
    }
    if (!ok)
        ll_buf_printf(err, "%s: not read: %s\n", (const char *)path.p,
                      fd < 0 || r < 0 ? strerror(errno) : "see above");
    if (fd >= 0)
        close(fd);
    ll_buf_release(&path);
    ll_buf_release(&text);
    return ok;
}

void ll_dkim_table_release(struct ll_dkim_table *t)
{
    free(t->entry);
    free(t->text);
    *t = (struct ll_dkim_table){0};
}

void ll_dkim_table_put(const struct ll_dkim_table *t, struct ll_buf *out)
{
    ll_buf_puts(
        out, "# DKIM keys: DOMAIN SELECTOR ALGORITHM FROM UNTIL PUBLIC, by `letterlock dkim`.\n");
    for (size_t i = 0; i < t->n; i++)
        ll_buf_printf(out, "%s %s %s %lld %lld %.*s\n", t->entry[i].domain.text,
                      t->entry[i].selector.text, ll_dkim_algorithm_name(t->entry[i].algorithm),
                      (long long)t->entry[i].from, (long long)t->entry[i].until,
                      LL_FMT(t->entry[i].public_key));
}

/* ---- the wire -----------------------------------------------------------------------------------
 */

void ll_dkim_entry_encode(const struct ll_dkim_entry *e, struct ll_buf *out)
{
    ll_buf_str16(out, ll_dns_name_slice(&e->domain));
    ll_buf_str16(out, ll_dns_name_slice(&e->selector));
    ll_buf_u8(out, (uint8_t)e->algorithm);
    ll_buf_u64(out, (uint64_t)e->from);
    ll_buf_u64(out, (uint64_t)e->until);
}

bool ll_dkim_entry_decode(struct ll_cursor *c, struct ll_dkim_entry *ret)
{
    struct ll_slice domain = ll_cur_str16(c), selector = ll_cur_str16(c);
    uint8_t algorithm = ll_cur_u8(c);

    ret->from = (int64_t)ll_cur_u64(c);
    ret->until = (int64_t)ll_cur_u64(c);
    ret->algorithm = (enum ll_dkim_algorithm)algorithm;
    return !c->failed && algorithm <= LL_DKIM_ED25519 && ll_dns_name_parse(domain, &ret->domain) &&
           ll_dns_name_parse(selector, &ret->selector);
}
