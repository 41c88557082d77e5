/* Which keys sign for which domain. See milter.h. */
#include "tool/milter/milter.h"

#include "io/dkim_keys.h"
#include "tool/client/key.h"
#include "tool/tool.h"

#include <errno.h>
#include <stdlib.h>

static struct milter_key *room(struct milter_keys *k)
{
    if (k->n < MILTER_KEYS_MAX)
        return &k->key[k->n];
    ll_fail(EX_USAGE, "there are more than %d keys", MILTER_KEYS_MAX);
    return NULL;
}

int milter_keys_add(struct milter_keys *k, const char *text)
{
    struct ll_slice rest = ll_slice_str(text), domain, selector;
    struct milter_key *key = room(k);
    int status;

    if (!key)
        return EX_USAGE;
    *key = (struct milter_key){0};
    if (!ll_slice_next(&rest, ':', &domain) || !ll_slice_next(&rest, ':', &selector) ||
        rest.n == 0 || !ll_dns_name_parse(domain, &key->domain) ||
        !ll_dns_name_parse(selector, &key->selector))
        return ll_fail(EX_USAGE, "--sign %s: write DOMAIN:SELECTOR:KEYFILE", text);
    status = ll_dkim_key_file((const char *)rest.p, &key->pkey, &key->algorithm);
    k->n += status == 0;
    return status;
}

static int add_entry(struct milter_keys *k, const struct ll_conf *conf,
                     const struct ll_dkim_entry *e)
{
    struct ll_buf path = LL_BUF(4096);
    struct milter_key *key = room(k);
    int status = key ? 0 : EX_USAGE;

    if (key) {
        *key = (struct milter_key){
            .domain = e->domain, .selector = e->selector, .from = e->from, .until = e->until};
        ll_dkim_key_path(conf, e, &path);
        status = ll_buf_str(&path)
                     ? ll_dkim_key_file((const char *)path.p, &key->pkey, &key->algorithm)
                     : ll_fail(EX_OSERR, "no memory");
        k->n += status == 0;
    }
    ll_buf_release(&path);
    return status;
}

int milter_keys_load(struct milter_keys *k, const struct ll_conf *conf)
{
    struct ll_buf why = LL_BUF(1024);
    struct ll_dkim_table table;
    int status = 0;

    if (!ll_dkim_table_load(conf, &table, &why)) {
        status = ll_fail(EX_CONFIG, "the table of DKIM keys: %.*s", LL_FMT(ll_buf_slice(&why)));
        ll_buf_release(&why);
        return status;
    }
    for (size_t i = 0; status == 0 && i < table.n; i++)
        status = add_entry(k, conf, &table.entry[i]);
    if (status == 0 && table.n == 0)
        status = ll_fail(EX_CONFIG, "there are no DKIM keys (see letterlock dkim new)");
    ll_dkim_table_release(&table);
    ll_buf_release(&why);
    return status;
}

void milter_keys_release(struct milter_keys *k)
{
    for (size_t i = 0; i < k->n; i++)
        EVP_PKEY_free(k->key[i].pkey);
    k->n = 0;
}

static bool signs(const struct milter_key *k, struct ll_slice domain, int64_t now)
{
    return k->from <= now && (k->until == 0 || now < k->until) &&
           ll_dns_name_under(domain, ll_dns_name_slice(&k->domain));
}

size_t milter_keys_find(const struct milter_keys *k, struct ll_slice domain, int64_t now,
                        const struct milter_key *ret[MILTER_SIGN_MAX])
{
    size_t longest = 0, n = 0;

    for (size_t i = 0; i < k->n; i++)
        if (signs(&k->key[i], domain, now) && k->key[i].domain.n > longest)
            longest = k->key[i].domain.n;
    for (size_t i = 0; i < k->n && n < MILTER_SIGN_MAX; i++)
        if (signs(&k->key[i], domain, now) && k->key[i].domain.n == longest)
            ret[n++] = &k->key[i];
    return n;
}
