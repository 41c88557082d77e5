/* See tool/check.h: DKIM keys. */
#include "tool/check.h"
#include "tool/dkim.h"

#include "io/clock.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <sys/stat.h>

static const char area[] = "dkim";

static void check_key(struct ll_check *c, const struct ll_dkim_entry *e)
{
    struct ll_buf path = LL_BUF(4096), record = LL_BUF(4096);
    struct ll_slice public;
    struct stat st;
    EVP_PKEY *key;
    FILE *f;

    ll_dkim_key_path(c->conf, e, &path);
    f = ll_buf_str(&path) ? fopen((char *)path.p, "re") : NULL;
    key = f ? PEM_read_PrivateKey(f, NULL, NULL, (void *)(uintptr_t) "") : NULL;
    if (!f && errno == EACCES) {
        ll_check_say(c, LL_FINDING_NOTE, area, "%s of %s: the key may be read by root alone",
                     e->selector.text, e->domain.text);
    } else if (!key || !ll_dkim_key_record(key, &record)) {
        ll_check_say(c, LL_FINDING_FAULT, area, "%s is no RSA or Ed25519 key without passphrase",
                     (char *)path.p);
    } else {
        public = ll_buf_slice(&record);
        public = ll_slice_skip(public, ll_slice_search(public, LL_LIT("p=")) + 2);
        if (!ll_slice_eq(public, e->public_key))
            ll_check_say(c, LL_FINDING_FAULT, area, "%s is another key than the table says",
                         (char *)path.p);
        else if (fstat(fileno(f), &st) == 0 && (st.st_mode & S_IRWXO))
            ll_check_say(c, LL_FINDING_FAULT, area, "everyone may read %s", (char *)path.p);
        else
            ll_check_say(c, LL_FINDING_OK, area, "%s of %s", e->selector.text, e->domain.text);
    }
    EVP_PKEY_free(key);
    ERR_clear_error();
    if (f)
        fclose(f);
    ll_buf_release(&path);
    ll_buf_release(&record);
}

/* Is there a key that signs for the domain now: its own, or that of one above it? */
static bool signs(const struct ll_dkim_table *t, const char *domain, int64_t now)
{
    for (size_t i = 0; i < t->n; i++)
        if (ll_dkim_signs(&t->entry[i], now) &&
            ll_dns_name_under(ll_slice_str(domain), ll_dns_name_slice(&t->entry[i].domain)))
            return true;
    return false;
}

void ll_check_dkim(struct ll_check *c)
{
    struct ll_buf err = LL_BUF(65536);
    struct ll_dkim_table t;

    if (!ll_dkim_table_load(c->conf, &t, &err)) {
        ll_check_say(c, LL_FINDING_FAULT, area, "%.*s",
                     LL_FMT(ll_slice_cut(ll_buf_slice(&err), 0, err.n ? err.n - 1 : 0)));
        ll_buf_release(&err);
        return;
    }
    for (size_t i = 0; i < t.n; i++)
        check_key(c, &t.entry[i]);
    for (size_t i = 0; i < c->conf->n_domain; i++)
        if (!ll_conf_carried(&c->conf->domain[i]) &&
            !signs(&t, c->conf->domain[i].title, ll_unix_s()))
            ll_check_say(c, LL_FINDING_WARNING, area,
                         "letters of %s are not signed (`letterlock dkim new %s` makes keys)",
                         c->conf->domain[i].title, c->conf->domain[i].title);
    if (c->conf->arc_seal[0] && !signs(&t, c->conf->arc_seal, ll_unix_s()))
        ll_check_say(c, LL_FINDING_FAULT, area,
                     "arc_seal names %s, which has no key that signs now", c->conf->arc_seal);
    ll_dkim_table_release(&t);
    ll_buf_release(&err);
}
