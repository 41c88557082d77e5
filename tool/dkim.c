/* letterlock dkim: the keys that sign the domain's letters. See tool/dkim.h, io/dkim_keys.h. */
#include "tool/dkim.h"

#include "daemon/roles.h"
#include "io/clock.h"
#include "io/conf_load.h"
#include "tool/json_out.h"
#include "tool/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROTATE_AFTER_S (2 * 86400) /* the new record must be everywhere before its key signs */

/* ---- keys ---------------------------------------------------------------------------------------
 */

bool ll_dkim_generate(enum ll_dkim_algorithm algorithm, struct ll_buf *pem, struct ll_buf *public)
{
    EVP_PKEY *key = algorithm == LL_DKIM_RSA ? EVP_RSA_gen(LL_DKIM_RSA_SIGN_BITS)
                                             : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    struct ll_buf record = LL_BUF(4096);
    BIO *bio = BIO_new(BIO_s_mem());
    char *p = NULL;
    long n = 0;
    bool ok = key && bio && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) &&
              (n = BIO_get_mem_data(bio, &p)) > 0 && ll_dkim_key_record(key, &record);

    if (ok) {
        struct ll_slice text = ll_buf_slice(&record);

        ll_buf_put(pem, p, (size_t)n);
        ll_buf_put_slice(public, ll_slice_skip(text, ll_slice_search(text, LL_LIT("p=")) + 2));
        OPENSSL_cleanse(p, (size_t)n);
    }
    BIO_free(bio);
    EVP_PKEY_free(key);
    ll_buf_release(&record);
    return ok && !pem->failed && !public->failed;
}

void ll_dkim_selector(enum ll_dkim_algorithm algorithm, int64_t from, struct ll_buf *out)
{
    ll_time_day(out, from);
    ll_buf_putc(out, algorithm == LL_DKIM_RSA ? 'r' : 'e');
}

void ll_dkim_value(const struct ll_dkim_entry *e, struct ll_buf *out)
{
    struct ll_buf text = LL_BUF(4096);

    ll_buf_printf(&text, "v=DKIM1; k=%s; p=%.*s", e->algorithm == LL_DKIM_RSA ? "rsa" : "ed25519",
                  LL_FMT(e->public_key));
    for (size_t at = 0; at < text.n; at += 255)
        ll_buf_printf(out, "%s\"%.*s\"", at > 0 ? " " : "",
                      LL_FMT(ll_slice_cut(ll_buf_slice(&text), at, at + 255)));
    ll_buf_release(&text);
}

/* ---- a run --------------------------------------------------------------------------------------
 */

struct run {
    struct ll_where where;
    bool json;
    const char *selector, *algorithm;
    int64_t after; /* days */
    struct ll_conf *conf;
    struct ll_dkim_table table;
    int64_t now;
};

static int begin(struct run *r)
{
    struct ll_buf err = LL_BUF(65536);
    int status = 0;

    r->now = ll_unix_s();
    r->conf = ll_where_conf(&r->where, &status);
    if (r->conf && !ll_dkim_table_load(r->conf, &r->table, &err))
        status = ll_fail_text(EX_CONFIG, &err);
    ll_buf_release(&err);
    return status;
}

static void end(struct run *r)
{
    ll_dkim_table_release(&r->table);
    ll_conf_free(r->conf);
}

static int cannot(const char *path)
{
    return ll_fail(errno == EACCES || errno == EPERM ? EX_NOPERM : EX_CANTCREAT, "%s: %s", path,
                   strerror(errno));
}

/* What keeper is to read belongs to it. */
static int give(const struct ll_conf *conf, int fd, const char *path)
{
    uid_t uid;
    gid_t gid;

    if (geteuid() != 0)
        return 0;
    if (ll_role_uid(conf, LL_ROLE_KEEPER, &uid, &gid) < 0)
        return ll_fail(EX_CONFIG, "there is no user for keeper");
    return fchown(fd, uid, gid) < 0 ? cannot(path) : 0;
}

static int make_folder(const struct ll_conf *conf)
{
    struct ll_buf path = LL_BUF(4096);
    int fd, status = 0;

    ll_buf_printf(&path, "%s/dkim", conf->state_dir);
    if (!ll_buf_str(&path))
        return ll_fail(EX_OSERR, "no memory");
    if (mkdir((char *)path.p, 0755) == 0) {
        fd = open((char *)path.p, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        status = fd < 0 ? cannot((char *)path.p) : give(conf, fd, (char *)path.p);
        if (fd >= 0)
            close(fd);
    } else if (errno != EEXIST) {
        status = cannot((char *)path.p);
    }
    ll_buf_release(&path);
    return status;
}

static int write_key(const struct ll_conf *conf, const struct ll_dkim_entry *e, struct ll_slice pem)
{
    struct ll_buf path = LL_BUF(4096);
    int fd, status = 0;

    ll_dkim_key_path(conf, e, &path);
    if (!ll_buf_str(&path))
        return ll_fail(EX_OSERR, "no memory");
    fd = open((char *)path.p, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        status = cannot((char *)path.p);
    if (status == 0 && (write(fd, pem.p, pem.n) != (ssize_t)pem.n || fsync(fd) != 0))
        status = cannot((char *)path.p);
    if (status == 0)
        status = give(conf, fd, (char *)path.p);
    if (fd >= 0)
        close(fd);
    ll_buf_release(&path);
    return status;
}

/* The table is written when its keys are there: keeper never finds a row without one. */
static int write_table(struct run *r)
{
    struct ll_buf path = LL_BUF(4096), text = LL_BUF(1u << 20);
    int fd, status;

    ll_dkim_table_path(r->conf, &path);
    ll_dkim_table_put(&r->table, &text);
    status = !ll_buf_str(&path) || text.failed
                 ? ll_fail(EX_OSERR, "no memory")
                 : ll_replace_file((char *)path.p, ll_buf_slice(&text), 0644);
    if (status == 0 && (fd = open((char *)path.p, O_RDONLY | O_CLOEXEC)) >= 0) {
        status = give(r->conf, fd, (char *)path.p);
        close(fd);
    }
    ll_buf_release(&path);
    ll_buf_release(&text);
    return status;
}

static bool has_selector(const struct run *r, struct ll_slice domain, struct ll_slice selector)
{
    for (size_t i = 0; i < r->table.n; i++)
        if (ll_dns_name_eq(ll_dns_name_slice(&r->table.entry[i].domain), domain) &&
            ll_dns_name_eq(ll_dns_name_slice(&r->table.entry[i].selector), selector))
            return true;
    return false;
}

/* A selector that is not in use: the day's, else with a number behind it. */
static bool name_key(struct run *r, struct ll_dkim_entry *e)
{
    struct ll_buf b = LL_BUF(64);
    bool ok = false;

    for (unsigned i = 1; !ok && i < 100; i++) {
        ll_buf_clear(&b);
        if (r->selector)
            ll_buf_printf(&b, "%s%s", r->selector,
                          r->algorithm                  ? ""
                          : e->algorithm == LL_DKIM_RSA ? "r"
                                                        : "e");
        else
            ll_dkim_selector(e->algorithm, e->from, &b);
        if (i > 1)
            ll_buf_printf(&b, "%u", i);
        ok = !has_selector(r, ll_dns_name_slice(&e->domain), ll_buf_slice(&b));
        if (!ok && r->selector)
            break;
    }
    ok = ok && ll_dns_name_parse(ll_buf_slice(&b), &e->selector) && !strchr(e->selector.text, '/');
    if (!ok)
        ll_fail(EX_DATAERR, "%.*s: no name for a new selector, or it is in use",
                LL_FMT(ll_buf_slice(&b)));
    ll_buf_release(&b);
    return ok;
}

static int add_key(struct run *r, const struct ll_dns_name *domain,
                   enum ll_dkim_algorithm algorithm, int64_t from)
{
    struct ll_buf pem = LL_BUF(16384), public = LL_BUF(LL_DKIM_KEY_ROOM * 2);
    struct ll_dkim_entry *e = &r->table.entry[r->table.n];
    int status = 0;

    if (r->table.n == LL_DKIM_TABLE_MAX)
        return ll_fail(EX_UNAVAILABLE, "there are %d keys already", LL_DKIM_TABLE_MAX);
    *e = (struct ll_dkim_entry){.domain = *domain, .algorithm = algorithm, .from = from};
    ll_buf_room(&pem, 8192); /* never moved while it grows */
    if (!name_key(r, e))
        status = EX_DATAERR;
    else if (!ll_dkim_generate(algorithm, &pem, &public))
        status = ll_fail(EX_SOFTWARE, "OpenSSL could not make a key");
    else
        status = write_key(r->conf, e, ll_buf_slice(&pem));
    if (status == 0) {
        e->public_key = ll_buf_slice(&public); /* kept until the process ends */
        r->table.n++;
    } else {
        ll_buf_release(&public);
    }
    ll_buf_wipe(&pem);
    return status;
}

static void show_record(const struct ll_dkim_entry *e, const char *when)
{
    struct ll_buf value = LL_BUF(8192);

    ll_dkim_value(e, &value);
    printf("; %s\n%s._domainkey.%s. IN TXT ( %.*s )\n", when, e->selector.text, e->domain.text,
           LL_FMT(ll_buf_slice(&value)));
    ll_buf_release(&value);
}

/* Rows whose letters have all arrived or expired, with their keys. */
static void clean(struct run *r)
{
    size_t k = 0;

    for (size_t i = 0; i < r->table.n; i++) {
        struct ll_dkim_entry *e = &r->table.entry[i];
        struct ll_buf path = LL_BUF(4096);

        if (e->until == 0 || e->until + LL_DKIM_KEEP_S > r->now) {
            r->table.entry[k++] = *e;
            continue;
        }
        ll_dkim_key_path(r->conf, e, &path);
        if (ll_buf_str(&path) && unlink((char *)path.p) == 0)
            printf("; removed: %s of %s; take its record out of DNS, too\n", e->selector.text,
                   e->domain.text);
        ll_buf_release(&path);
    }
    r->table.n = k;
}

/* ---- commands -----------------------------------------------------------------------------------
 */

static const char *state_of(const struct ll_dkim_entry *e, int64_t now)
{
    return ll_dkim_signs(e, now)             ? "signs"
           : e->from > now                   ? "waits"
           : e->until + LL_DKIM_KEEP_S > now ? "old"
                                             : "over";
}

static void list_json(struct run *r)
{
    struct ll_buf out = LL_BUF(8u << 20), text = LL_BUF(8192);
    struct ll_json j = LL_JSON(&out);

    ll_json_open(&j, '[');
    for (size_t i = 0; i < r->table.n; i++) {
        const struct ll_dkim_entry *e = &r->table.entry[i];

        ll_json_open(&j, '{');
        ll_json_str(&j, "domain", ll_dns_name_slice(&e->domain));
        ll_json_str(&j, "selector", ll_dns_name_slice(&e->selector));
        ll_json_cstr(&j, "algorithm", ll_dkim_algorithm_name(e->algorithm));
        ll_json_cstr(&j, "state", state_of(e, r->now));
        ll_buf_clear(&text);
        ll_time_rfc3339(&text, e->from);
        ll_json_str(&j, "from", ll_buf_slice(&text));
        ll_buf_clear(&text);
        if (e->until)
            ll_time_rfc3339(&text, e->until);
        ll_json_str(&j, "until", ll_buf_slice(&text));
        ll_buf_clear(&text);
        ll_dkim_value(e, &text);
        ll_json_str(&j, "record", ll_buf_slice(&text));
        ll_json_close(&j);
    }
    ll_json_close(&j);
    ll_json_print(&out);
    ll_buf_release(&text);
}

static int dkim_list(int argc, char **argv)
{
    struct run r = {0};
    const struct ll_opt opts[] = {LL_WHERE_OPTS(r.where), LL_JSON_OPT(r.json)};
    const struct ll_usage usage = {
        "dkim list [options]",
        "Lists the DKIM keys: which sign now, which wait for their time,\n"
        "and which are kept in DNS for letters on their way.",
        opts,
        LL_COUNT(opts),
        0,
        0};
    struct ll_words words;
    int status;

    if (!ll_args_take(&usage, argc, argv, &words, &status))
        return status;
    status = begin(&r);
    if (status == 0 && r.json)
        list_json(&r);
    for (size_t i = 0; status == 0 && !r.json && i < r.table.n; i++) {
        const struct ll_dkim_entry *e = &r.table.entry[i];
        struct ll_buf when = LL_BUF(128);

        ll_buf_printf(&when, "%s, %s, from ", state_of(e, r.now),
                      ll_dkim_algorithm_name(e->algorithm));
        ll_time_rfc3339(&when, e->from);
        if (e->until) {
            ll_buf_puts(&when, " until ");
            ll_time_rfc3339(&when, e->until);
        }
        show_record(e, ll_buf_str(&when));
        ll_buf_release(&when);
    }
    end(&r);
    return status;
}

/* Both algorithms unless one was asked for. */
static int add_keys(struct run *r, const struct ll_dns_name *domain, int64_t from)
{
    static const char *const words[] = {[LL_DKIM_RSA] = "rsa", [LL_DKIM_ED25519] = "ed25519"};
    int status = make_folder(r->conf);
    bool any = false;

    for (size_t i = 0; status == 0 && i < LL_COUNT(words); i++)
        if (!r->algorithm || strcmp(r->algorithm, words[i]) == 0) {
            any = true;
            status = add_key(r, domain, (enum ll_dkim_algorithm)i, from);
        }
    if (status == 0 && !any)
        status = ll_fail(EX_USAGE, "--algorithm: rsa or ed25519");
    return status;
}

static int make(int argc, char **argv, const struct ll_usage *usage, struct run *r, bool rotate)
{
    struct ll_buf name = LL_BUF(256);
    struct ll_dns_name domain;
    struct ll_words words;
    size_t old;
    int64_t from;
    int status;

    if (!ll_args_take(usage, argc, argv, &words, &status))
        return status;
    status = begin(r);
    if (status == 0 && (!ll_dns_name_parse(ll_slice_str(words.v[0]), &domain) ||
                        !ll_conf_domain(r->conf, ll_dns_name_slice(&domain))))
        status = ll_fail(EX_DATAERR, "%s is no domain of this server (add a domain section first)",
                         words.v[0]);
    from = r->now + (r->after >= 0 ? r->after * 86400 : rotate ? ROTATE_AFTER_S : 0);
    if (status == 0)
        clean(r);
    old = r->table.n;
    if (status == 0)
        status = add_keys(r, &domain, from);
    for (size_t i = 0; status == 0 && rotate && i < old; i++)
        if (r->table.entry[i].until == 0 && strcmp(r->table.entry[i].domain.text, domain.text) == 0)
            r->table.entry[i].until = from;
    if (status == 0)
        status = write_table(r);
    for (size_t i = old; status == 0 && i < r->table.n; i++)
        show_record(&r->table.entry[i], rotate ? "publish this now" : "publish this");
    if (status == 0) {
        ll_time_rfc3339(&name, from);
        printf("; then `letterlock reload`; the new keys sign from %.*s\n",
               LL_FMT(ll_buf_slice(&name)));
    }
    if (status == 0 && rotate) {
        ll_buf_clear(&name);
        ll_time_rfc3339(&name, from + LL_DKIM_KEEP_S);
        printf("; the old keys' records stay in DNS until %.*s\n", LL_FMT(ll_buf_slice(&name)));
    }
    ll_buf_release(&name);
    end(r);
    return status;
}

#define KEY_OPTS(r)                                                                                \
    LL_WHERE_OPTS((r).where), {"selector",                                                         \
                               0,                                                                  \
                               LL_OPT_TEXT,                                                        \
                               &(r).selector,                                                      \
                               "NAME",                                                             \
                               "name of the new key (with r or e behind it where both are made)"}, \
        {"algorithm", 0, LL_OPT_TEXT, &(r).algorithm, "NAME", "rsa or ed25519 alone"},             \
    {                                                                                              \
        "after", 0, LL_OPT_NUMBER, &(r).after, "DAYS", "the key signs so many days from now"       \
    }

static int dkim_new(int argc, char **argv)
{
    struct run r = {.after = -1};
    const struct ll_opt opts[] = {KEY_OPTS(r)};
    const struct ll_usage usage = {
        "dkim new [options] DOMAIN",
        "Makes DKIM keys for a domain of this server (RSA 2048 and Ed25519) and prints\n"
        "their DNS records. They sign at once unless --after says otherwise.",
        opts,
        LL_COUNT(opts),
        1,
        1};

    return make(argc, argv, &usage, &r, false);
}

static int dkim_rotate(int argc, char **argv)
{
    struct run r = {.after = -1};
    const struct ll_opt opts[] = {KEY_OPTS(r)};
    const struct ll_usage usage = {
        "dkim rotate [options] DOMAIN",
        "Makes new DKIM keys and prints their records. In two days (--after) they take\n"
        "over by themselves; the old ones are kept for eight days more, until no letter\n"
        "that they signed is on its way.",
        opts,
        LL_COUNT(opts),
        1,
        1};

    return make(argc, argv, &usage, &r, true);
}

int ll_cmd_dkim(int argc, char **argv)
{
    static const struct ll_sub subs[] = {
        {"list", dkim_list, "the keys, their records, and which of them sign"},
        {"new", dkim_new, "make keys for a domain"},
        {"rotate", dkim_rotate, "make new keys, which take over when their time has come"},
    };

    return ll_sub_run("dkim", subs, LL_COUNT(subs), argc, argv);
}
