/* See daemon/auth/directory.h. */
#include "daemon/auth/directory.h"

#include "daemon/auth/srs_secret.h"
#include "daemon/auth/srs_store.h"
#include "io/aliases.h"
#include "io/clock.h"
#include "io/log.h"
#include "letterlock/srs.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

struct slot {
    uint64_t epoch; /* of the files, when this was found out; 0: empty */
    uint32_t hash;
    uint16_t n;
    uint8_t kind;
    char address[LL_MAILBOX_MAX];
    struct ll_mailbox mailbox;
};

struct ll_directory {
    const struct ll_conf *conf;
    struct ll_accounts *accounts; /* NULL: cannot be opened now */
    uint64_t generation;
    uint64_t accounts_retry;    /* not before then */
    struct ll_aliases *aliases; /* NULL: none, or never read well */
    struct stat aliases_seen;   /* of the file that `aliases` was read from */
    bool aliases_bad;           /* what is there now could not be read */
    uint64_t looked;            /* at the files: not twice in a millisecond */
    uint64_t epoch;
    uint64_t logged_accounts, logged_aliases, logged_srs; /* when, to keep the log short */
    struct slot *slot;
    struct ll_buf postmaster; /* its targets, as an alias has them */
    struct ll_buf srs;        /* the secret; empty: none could be had */
    struct ll_buf srs_old;    /* the one before it; empty: none */
    int64_t srs_old_until;
    struct ll_srs_store *srs_long; /* senders that fit no address; NULL: not opened */
};

/* One step of the way of an address. */
struct step {
    enum ll_addr_kind kind;
    struct ll_mailbox mailbox;
    struct ll_slice targets; /* ALIAS: each str16 */
};

struct ll_directory *ll_directory_new(void)
{
    struct ll_directory *d = calloc(1, sizeof(*d));

    if (!d)
        return NULL;
    d->slot = calloc(LL_DIRECTORY_SLOTS, sizeof(*d->slot));
    ll_buf_init(&d->postmaster, LL_MAILBOX_MAX + 2);
    ll_buf_init(&d->srs, LL_SRS_SECRET_LINE);
    ll_buf_init(&d->srs_old, LL_SRS_SECRET_LINE);
    if (d->slot)
        return d;
    free(d);
    return NULL;
}

void ll_directory_free(struct ll_directory *d)
{
    if (!d)
        return;
    ll_accounts_close(d->accounts);
    ll_aliases_free(d->aliases);
    ll_buf_release(&d->postmaster);
    ll_buf_wipe(&d->srs);
    ll_buf_wipe(&d->srs_old);
    ll_srs_store_close(d->srs_long);
    free(d->slot);
    free(d);
}

/* ---- the files ------------------------------------------------------------------------------- */

static void complain(uint64_t *last, const char *event, const char *path, struct ll_buf *err)
{
    uint64_t now = ll_now_ms();
    struct ll_slice rest = ll_buf_slice(err), why = LL_LIT("");

    if (*last && now - *last < LL_DIRECTORY_LOG_S * 1000)
        return;
    *last = now;
    ll_slice_next(&rest, '\n', &why);
    ll_log(LL_LOG_ERROR, event, LL_FS("file", path), LL_F("why", why));
}

static void lose_accounts(struct ll_directory *d)
{
    ll_accounts_close(d->accounts);
    d->accounts = NULL;
    d->epoch++;
    d->accounts_retry = 0;
}

static void open_accounts(struct ll_directory *d)
{
    struct ll_buf err = LL_BUF(1024);
    uint64_t now = ll_now_ms();

    if (d->accounts_retry && now < d->accounts_retry)
        return;
    d->accounts_retry = now + LL_DIRECTORY_RETRY_MS;
    if (ll_accounts_open(d->conf->accounts, true, LL_DIRECTORY_BUSY_MS, &d->accounts, &err) !=
        LL_ACCOUNTS_OK) {
        complain(&d->logged_accounts, "accounts-unavailable", d->conf->accounts, &err);
    } else {
        d->generation = ll_accounts_generation(d->accounts);
        d->epoch++;
    }
    ll_buf_release(&err);
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* All or nothing: where it is not good, the last good one stays in force. */
static bool read_aliases(struct ll_directory *d, struct ll_buf *err)
{
    struct stat st = {0};
    struct ll_aliases *fresh;

    stat(d->conf->aliases, &st);
    fresh = ll_aliases_load(d->conf->aliases, d->conf->local_domain, err);
    d->aliases_seen = st;
    d->aliases_bad = !fresh;
    d->epoch++;
    if (!fresh && err->n == 0)
        ll_buf_printf(err, "%s: %s\n", d->conf->aliases, strerror(errno));
    if (!fresh)
        return false;
    ll_aliases_free(d->aliases);
    d->aliases = fresh;
    return true;
}

static void refresh_aliases(struct ll_directory *d)
{
    struct ll_buf err = LL_BUF(4096);
    struct stat st = {0};

    if (!d->conf->aliases[0])
        return;
    if (stat(d->conf->aliases, &st) == 0 && same_file(&st, &d->aliases_seen))
        return;
    if (st.st_ino == 0 && d->aliases_bad && d->aliases_seen.st_ino == 0) { /* still missing */
        ll_buf_printf(&err, "%s", strerror(errno));
        complain(&d->logged_aliases, "aliases-unavailable", d->conf->aliases, &err);
        ll_buf_release(&err);
        return;
    }
    if (!read_aliases(d, &err)) {
        d->logged_aliases = 0; /* a new fault of a new file */
        complain(&d->logged_aliases, "aliases-unavailable", d->conf->aliases, &err);
    }
    ll_buf_release(&err);
}

static void refresh(struct ll_directory *d)
{
    uint64_t generation, now = ll_now_ms();

    if (d->looked == now)
        return;
    d->looked = now;
    refresh_aliases(d);
    if (d->accounts && ll_accounts_replaced(d->accounts))
        lose_accounts(d);
    if (!d->accounts) {
        open_accounts(d);
        return;
    }
    generation = ll_accounts_generation(d->accounts);
    if (generation != d->generation || generation == 0)
        d->epoch++;
    d->generation = generation;
}

/* What cannot be read leaves the last good secret in force. */
static void read_srs(struct ll_directory *d)
{
    struct ll_buf err = LL_BUF(4096);

    if (d->conf->srs[0] && !ll_srs_secret_read(d->conf->accounts, &d->srs, &err))
        complain(&d->logged_srs, "srs-secret-unavailable", LL_SRS_SECRET_NAME, &err);
    else if (d->conf->srs[0] &&
             !ll_srs_secret_old(d->conf->accounts, &d->srs_old, &d->srs_old_until, &err) &&
             err.n > 0)
        complain(&d->logged_srs, "srs-secret-unavailable", LL_SRS_SECRET_NAME ".old", &err);
    ll_buf_release(&err);
}

void ll_directory_conf(struct ll_directory *d, const struct ll_conf *conf)
{
    bool same = d->conf && strcmp(d->conf->aliases, conf->aliases) == 0 &&
                strcmp(d->conf->local_domain, conf->local_domain) == 0;

    d->conf = conf;
    d->epoch++;
    d->looked = 0;
    lose_accounts(d);
    if (!same) {
        ll_aliases_free(d->aliases);
        d->aliases = NULL;
    }
    d->aliases_bad = conf->aliases[0] != '\0';
    d->aliases_seen = (struct stat){.st_ino = 1};
    read_srs(d);
    refresh(d);
}

bool ll_directory_reload(struct ll_directory *d, size_t *ret_count, struct ll_buf *err)
{
    bool ok = !d->conf->aliases[0] || read_aliases(d, err);

    *ret_count = d->aliases ? ll_aliases_count(d->aliases) : 0;
    return ok;
}

/* ---- one step -------------------------------------------------------------------------------- */

/* Is there an account of that name? BROKEN and BUSY: cannot be said now. */
static enum ll_accounts_result account(struct ll_directory *d, struct ll_slice name,
                                       struct ll_account *ret)
{
    struct ll_buf err = LL_BUF(1024);
    enum ll_accounts_result r = LL_ACCOUNTS_BROKEN;

    if (d->accounts)
        r = ll_accounts_find(d->accounts, name, ret, &err);
    if (d->accounts && r != LL_ACCOUNTS_OK && r != LL_ACCOUNTS_NONE)
        complain(&d->logged_accounts, "accounts-unavailable", d->conf->accounts, &err);
    ll_buf_release(&err);
    return r;
}

static bool alias(const struct ll_directory *d, struct ll_slice name, struct step *ret)
{
    if (!d->aliases || !ll_aliases_find(d->aliases, name, &ret->targets))
        return false;
    ret->kind = LL_ADDR_ALIAS;
    return true;
}

/* Account, then alias, of exactly that name. True: the step is known. */
static bool exactly(struct ll_directory *d, const struct ll_mailbox *name, struct step *ret)
{
    enum ll_accounts_result r = account(d, ll_mailbox_text(name), NULL);

    if (r == LL_ACCOUNTS_OK) {
        ret->kind = LL_ADDR_MAILBOX;
        ret->mailbox = *name;
        return true;
    }
    if (r != LL_ACCOUNTS_NONE) {
        ret->kind = LL_ADDR_LATER;
        return true;
    }
    return alias(d, ll_mailbox_text(name), ret);
}

static bool without_detail(const struct ll_directory *d, const struct ll_mailbox *name,
                           struct ll_mailbox *ret)
{
    struct ll_slice user, detail, domain = ll_mailbox_domain(name);

    if (!d->conf->plus[0] || !ll_mailbox_split(name, d->conf->plus, &user, &detail))
        return false;
    *ret = *name;
    ret->local_n = (uint16_t)user.n;
    ret->n = (uint16_t)(user.n + 1 + domain.n);
    memcpy(ret->text + user.n + 1, domain.p, domain.n);
    ret->text[user.n] = '@';
    ret->text[ret->n] = '\0';
    return true;
}

/* The oldest account of the domain, or of the other domains in their order. */
static void oldest(struct ll_directory *d, struct ll_slice domain, struct step *ret)
{
    struct ll_account a;
    enum ll_accounts_result r = LL_ACCOUNTS_BROKEN;

    ret->kind = LL_ADDR_LATER; /* a server whose postmaster is nobody is not finished yet */
    if (d->accounts)
        r = ll_accounts_first(d->accounts, domain, &a, NULL);
    for (size_t i = 0; r == LL_ACCOUNTS_NONE && i < d->conf->n_domain; i++)
        r = ll_accounts_first(d->accounts, ll_slice_str(d->conf->domain[i].title), &a, NULL);
    if (r == LL_ACCOUNTS_OK && ll_account_name(ll_slice_str(a.address), &ret->mailbox))
        ret->kind = LL_ADDR_MAILBOX;
}

static bool is_role(struct ll_slice local)
{
    return ll_slice_eq(local, LL_LIT("postmaster")) || ll_slice_eq(local, LL_LIT("abuse"));
}

static void postmaster(struct ll_directory *d, const struct ll_mailbox *name, struct step *ret)
{
    struct ll_mailbox to;
    const struct ll_conf_domain *domain;

    if (!d->conf->postmaster[0] || !ll_account_name(ll_slice_str(d->conf->postmaster), &to) ||
        ll_slice_eq(ll_mailbox_text(&to), ll_mailbox_text(name))) {
        oldest(d, ll_mailbox_domain(name), ret);
        return;
    }
    domain = ll_conf_domain(d->conf, ll_mailbox_domain(&to));
    if (domain && !ll_conf_carried(domain)) {
        if (!exactly(d, &to, ret)) /* it names nobody: still somebody must read it */
            oldest(d, ll_mailbox_domain(name), ret);
        return;
    }
    ll_buf_clear(&d->postmaster);
    ll_buf_str16(&d->postmaster, ll_mailbox_text(&to));
    ret->kind = LL_ADDR_ALIAS;
    ret->targets = ll_buf_slice(&d->postmaster);
}

static void relayed(const struct ll_conf_domain *domain, const struct ll_mailbox *name,
                    struct step *ret)
{
    struct ll_mailbox one;

    ret->kind = domain->ask_recipients ? LL_ADDR_PROBE : LL_ADDR_UNKNOWN;
    if (ll_slice_eq(ll_mailbox_local(name), LL_LIT("postmaster")))
        ret->kind = LL_ADDR_RELAY;
    for (size_t i = 0; ret->kind != LL_ADDR_RELAY && domain->recipients[i]; i++)
        if (ll_account_name(ll_slice_str(domain->recipients[i]), &one) &&
            ll_slice_eq(ll_mailbox_text(&one), ll_mailbox_text(name)))
            ret->kind = LL_ADDR_RELAY;
}

static bool catch_all(const struct ll_directory *d, struct ll_slice domain, struct step *ret)
{
    char name[LL_DOMAIN_MAX + 1];

    if (domain.n >= sizeof(name))
        return false;
    name[0] = '@';
    memcpy(name + 1, domain.p, domain.n);
    return alias(d, ll_slice(name, domain.n + 1), ret);
}

static void take_step(struct ll_directory *d, const struct ll_mailbox *name, struct step *ret)
{
    struct ll_slice domain_name = ll_mailbox_domain(name);
    const struct ll_conf_domain *domain = ll_conf_domain(d->conf, domain_name);
    struct ll_mailbox base;

    *ret = (struct step){.kind = LL_ADDR_OUTSIDE};
    if (!domain)
        return;
    if (ll_conf_carried(domain)) {
        relayed(domain, name, ret);
        return;
    }
    if (exactly(d, name, ret) || (without_detail(d, name, &base) && exactly(d, &base, ret)))
        return;
    if (is_role(ll_mailbox_local(name)))
        postmaster(d, name, ret);
    else if (!catch_all(d, domain_name, ret))
        ret->kind = d->aliases_bad && !d->aliases ? LL_ADDR_LATER : LL_ADDR_UNKNOWN;
}

/* postmaster or abuse of the host itself, where that is no domain of ours: of nobody's domain, but
 * always deliverable (RFC 5321 4.5.1). */
static bool is_host_role(const struct ll_directory *d, const struct ll_mailbox *name)
{
    struct ll_slice domain = ll_mailbox_domain(name);

    return is_role(ll_mailbox_local(name)) && !ll_conf_domain(d->conf, domain) &&
           ll_slice_caseeq(domain, ll_slice_str(d->conf->hostname));
}

/* The name that an address is looked up by. */
static bool name_of(const struct ll_directory *d, struct ll_slice address, struct ll_mailbox *ret)
{
    struct ll_buf full = LL_BUF(LL_MAILBOX_MAX);
    struct ll_slice local = LL_LIT("postmaster");
    struct ll_mailbox name;
    bool ok = false;

    if (ll_account_name(address, &name)) {
        if (!is_host_role(d, &name)) {
            *ret = name;
            return true;
        }
        local = ll_mailbox_local(&name);
    } else if (!ll_slice_caseeq(address, local)) {
        return false;
    }
    for (size_t i = 0; !ok && i < d->conf->n_domain; i++)
        if (!d->conf->domain[i].relay) {
            ll_buf_printf(&full, "%.*s@%s", LL_FMT(local), d->conf->domain[i].title);
            ok = ll_account_name(ll_buf_slice(&full), ret);
        }
    ll_buf_release(&full);
    return ok;
}

/* ---- SRS ------------------------------------------------------------------------------------- */

static bool long_store(struct ll_directory *d, struct ll_buf *err)
{
    if (!d->srs_long)
        d->srs_long = ll_srs_store_open(d->conf->accounts, err);
    return d->srs_long != NULL;
}

/* A sender that fits no address: a name of our own domain stands for it. */
static enum ll_srs_error forward_long(struct ll_directory *d, struct ll_slice sender,
                                      struct ll_buf *out)
{
    struct ll_buf name = LL_BUF(LL_MAILBOX_MAX), err = LL_BUF(1024);
    enum ll_srs_error e = LL_SRS_LONG;

    if (long_store(d, &err) && ll_srs_store_put(d->srs_long, sender, ll_unix_s(), &name, &err)) {
        ll_buf_printf(&name, "@%s", d->conf->srs);
        e = ll_srs_forward(ll_buf_slice(&d->srs), ll_buf_slice(&name), ll_slice_str(d->conf->srs),
                           ll_unix_s(), out);
    }
    if (err.n > 0)
        complain(&d->logged_srs, "srs-store-unavailable", LL_SRS_STORE_NAME, &err);
    ll_buf_release(&name);
    ll_buf_release(&err);
    return e;
}

/* What such a name stands for, instead of it. Senders at our own domain are never rewritten, so
 * an address that holds can mean nothing else. */
static enum ll_srs_error reverse_long(struct ll_directory *d, struct ll_buf *to)
{
    struct ll_slice all = ll_buf_slice(to);
    size_t at = ll_slice_rfind(all, '@');
    struct ll_buf sender = LL_BUF(LL_MAILBOX_MAX), err = LL_BUF(1024);
    enum ll_srs_error e = LL_SRS_OK;

    if (all.n > 0 && all.p[0] == '~' &&
        ll_slice_caseeq(ll_slice_skip(all, at + 1), ll_slice_str(d->conf->srs))) {
        e = LL_SRS_AGE;
        if (!long_store(d, &err) ||
            !ll_srs_store_get(d->srs_long, ll_slice_cut(all, 0, at), &sender, &err))
            e = err.n > 0 ? LL_SRS_RESOURCE : LL_SRS_AGE;
        else
            e = LL_SRS_OK;
        ll_buf_clear(to);
        ll_buf_put_slice(to, ll_buf_slice(&sender));
    }
    if (err.n > 0)
        complain(&d->logged_srs, "srs-store-unavailable", LL_SRS_STORE_NAME, &err);
    ll_buf_release(&sender);
    ll_buf_release(&err);
    return e;
}

/* By the secret, or the one before it while that counts. */
static enum ll_srs_error reverse_srs(struct ll_directory *d, struct ll_slice local,
                                     struct ll_buf *to)
{
    int64_t now = ll_unix_s();
    enum ll_srs_error e = ll_srs_reverse(ll_buf_slice(&d->srs), local, now, to);

    if (e == LL_SRS_FORGED && d->srs_old.n > 0 && now < d->srs_old_until)
        e = ll_srs_reverse(ll_buf_slice(&d->srs_old), local, now, to);
    return e == LL_SRS_OK ? reverse_long(d, to) : e;
}

/* Is it an SRS address of ours? Its case is kept, for it is somebody else's local part. Never
 * remembered: it ages. */
static bool is_srs(struct ll_directory *d, struct ll_slice address, struct step *ret,
                   struct ll_buf *to)
{
    size_t at = ll_slice_rfind(address, '@');
    struct ll_slice local = ll_slice_cut(address, 0, at);
    enum ll_srs_error e;

    *ret = (struct step){.kind = LL_ADDR_LATER};
    if (!d->conf->srs[0] || !ll_srs_is(local) ||
        !ll_slice_caseeq(ll_slice_skip(address, at + 1), ll_slice_str(d->conf->srs)))
        return false;
    if (d->srs.n == 0)
        return true;
    e = reverse_srs(d, local, to);
    if (e != LL_SRS_RESOURCE)
        ret->kind = e == LL_SRS_OK ? LL_ADDR_BOUNCE : LL_ADDR_UNKNOWN;
    if (ret->kind == LL_ADDR_UNKNOWN)
        ll_log(LL_LOG_INFO, "srs-refused", LL_F("address", address),
               LL_FS("why", ll_srs_error_text(e)));
    return true;
}

static bool is_ours(const struct ll_directory *d, struct ll_slice domain)
{
    return ll_conf_domain(d->conf, domain) ||
           ll_slice_caseeq(domain, ll_slice_str(d->conf->hostname));
}

bool ll_directory_srs(struct ll_directory *d, struct ll_slice sender, struct ll_buf *out)
{
    struct ll_slice domain = ll_slice_skip(sender, ll_slice_rfind(sender, '@') + 1);
    enum ll_srs_error e = LL_SRS_OK;

    if (!d->conf->srs[0] || sender.n == 0 || is_ours(d, domain)) {
        ll_buf_put_slice(out, sender);
        return !out->failed;
    }
    if (d->srs.n == 0)
        read_srs(d);
    if (d->srs.n == 0)
        return false;
    e = ll_srs_forward(ll_buf_slice(&d->srs), sender, ll_slice_str(d->conf->srs), ll_unix_s(), out);
    if (e == LL_SRS_LONG)
        e = forward_long(d, sender, out);
    if (e == LL_SRS_LONG || e == LL_SRS_LOCAL) {
        ll_log(LL_LOG_INFO, "srs-left-out", LL_F("sender", sender),
               LL_FS("why", ll_srs_error_text(e)));
        ll_buf_put_slice(out, sender);
        return !out->failed;
    }
    return e == LL_SRS_OK;
}

/* ---- addresses for reports ------------------------------------------------------------------- */

/* Is the name one of report_address? The account of that name takes what is no report. */
static bool is_report(struct ll_directory *d, const struct ll_mailbox *name, struct step *ret)
{
    struct step own = {.kind = LL_ADDR_UNKNOWN};
    struct ll_mailbox base = *name, one;
    bool found = false;

    without_detail(d, name, &base);
    for (size_t i = 0; !found && d->conf->report_address[i]; i++)
        found = ll_account_name(ll_slice_str(d->conf->report_address[i]), &one) &&
                (ll_slice_eq(ll_mailbox_text(&one), ll_mailbox_text(name)) ||
                 ll_slice_eq(ll_mailbox_text(&one), ll_mailbox_text(&base)));
    if (!found)
        return false;
    exactly(d, &one, &own);
    *ret = (struct step){.kind = own.kind == LL_ADDR_LATER ? LL_ADDR_LATER : LL_ADDR_REPORT,
                         .mailbox = own.mailbox};
    return true;
}

/* ---- questions ------------------------------------------------------------------------------- */

enum ll_addr_kind ll_directory_find(struct ll_directory *d, struct ll_slice address,
                                    struct ll_mailbox *ret_mailbox)
{
    uint32_t hash = ll_crc32c(0, address.p, address.n);
    struct slot *slot = &d->slot[hash % LL_DIRECTORY_SLOTS];
    struct ll_mailbox name;
    struct step step = {.kind = LL_ADDR_OUTSIDE};
    struct ll_buf to = LL_BUF(LL_MAILBOX_MAX);
    bool srs;

    refresh(d);
    srs = is_srs(d, address, &step, &to);
    ll_buf_release(&to);
    if (srs) {
        *ret_mailbox = step.mailbox;
        return step.kind;
    }
    step.kind = LL_ADDR_OUTSIDE;
    if (slot->epoch == d->epoch && slot->hash == hash &&
        ll_slice_eq(ll_slice(slot->address, slot->n), address)) {
        *ret_mailbox = slot->mailbox;
        return slot->kind;
    }
    if (name_of(d, address, &name) && !is_report(d, &name, &step))
        take_step(d, &name, &step);
    *ret_mailbox = step.mailbox;
    if (step.kind != LL_ADDR_LATER && address.n <= sizeof(slot->address)) {
        slot->epoch = d->epoch;
        slot->hash = hash;
        slot->n = (uint16_t)address.n;
        slot->kind = (uint8_t)step.kind;
        memcpy(slot->address, address.p, address.n);
        slot->mailbox = step.mailbox;
    }
    return step.kind;
}

/* Addresses still to be looked at, and those that were. */
struct expansion {
    struct todo {
        struct ll_slice target; /* in the arena */
        uint32_t hash;          /* of its name */
        uint8_t depth;
    } todo[LL_ALIAS_VISITED_MAX];
    size_t n, at;
    struct ll_arena arena;
    struct ll_buf out;
    size_t targets;
};

/* Notes the targets of one alias; those that were seen before are left out. */
static enum ll_alias_result note(struct expansion *e, struct ll_slice targets, unsigned depth)
{
    struct ll_cursor c = ll_cursor(targets);

    if (depth > LL_ALIAS_DEPTH)
        return LL_ALIAS_MANY;
    while (ll_cur_left(&c) > 0) {
        struct ll_slice t = ll_cur_str16(&c);
        uint32_t hash = 0;
        size_t i = 0;

        for (size_t k = 0; k < t.n; k++) { /* without regard to case */
            uint8_t lower = ll_lower(t.p[k]);

            hash = ll_crc32c(hash, &lower, 1);
        }
        while (i < e->n && !(e->todo[i].hash == hash && ll_slice_caseeq(e->todo[i].target, t)))
            i++;
        if (i < e->n)
            continue;
        if (e->n == LL_ALIAS_VISITED_MAX)
            return LL_ALIAS_MANY;
        e->todo[e->n] = (struct todo){ll_arena_dup(&e->arena, t), hash, (uint8_t)depth};
        if (!e->todo[e->n++].target.p)
            return LL_ALIAS_LATER;
    }
    return LL_ALIAS_OK;
}

static enum ll_alias_result walk(struct ll_directory *d, struct expansion *e)
{
    enum ll_alias_result r = LL_ALIAS_OK;

    while (r == LL_ALIAS_OK && e->at < e->n) {
        struct todo t = e->todo[e->at++];
        struct ll_mailbox name;
        struct step step = {.kind = LL_ADDR_OUTSIDE};

        if (name_of(d, t.target, &name))
            take_step(d, &name, &step);
        if (step.kind == LL_ADDR_LATER)
            r = LL_ALIAS_LATER;
        else if (step.kind == LL_ADDR_ALIAS)
            r = note(e, step.targets, t.depth + 1u);
        else if (++e->targets > LL_ALIAS_TARGETS_MAX)
            r = LL_ALIAS_MANY;
        else
            ll_buf_str16(&e->out, t.target);
    }
    if (r == LL_ALIAS_OK && e->out.failed)
        r = LL_ALIAS_MANY;
    return r == LL_ALIAS_OK && e->targets == 0 ? LL_ALIAS_LOOP : r;
}

enum ll_alias_result ll_directory_expand(struct ll_directory *d, struct ll_slice address,
                                         struct ll_buf *out)
{
    struct expansion *e;
    struct ll_mailbox name;
    struct step step;
    struct ll_buf to = LL_BUF(LL_MAILBOX_MAX);
    enum ll_alias_result r;

    refresh(d);
    if (is_srs(d, address, &step, &to)) {
        if (step.kind == LL_ADDR_BOUNCE)
            ll_buf_str16(out, ll_buf_slice(&to));
        ll_buf_release(&to);
        return step.kind == LL_ADDR_BOUNCE  ? LL_ALIAS_OK
               : step.kind == LL_ADDR_LATER ? LL_ALIAS_LATER
                                            : LL_ALIAS_NONE;
    }
    step.kind = LL_ADDR_OUTSIDE;
    if (name_of(d, address, &name))
        take_step(d, &name, &step);
    if (step.kind != LL_ADDR_ALIAS)
        return step.kind == LL_ADDR_LATER ? LL_ALIAS_LATER : LL_ALIAS_NONE;
    e = calloc(1, sizeof(*e));
    if (!e)
        return LL_ALIAS_LATER;
    ll_arena_init(&e->arena, (size_t)LL_ALIAS_VISITED_MAX * (LL_MAILBOX_MAX + 64));
    ll_buf_init(&e->out, LL_ALIAS_ANSWER_MAX);
    r = note(e, step.targets, 1);
    if (r == LL_ALIAS_OK)
        r = walk(d, e);
    if (r == LL_ALIAS_OK)
        ll_buf_put_slice(out, ll_buf_slice(&e->out));
    ll_buf_release(&e->out);
    ll_arena_release(&e->arena);
    free(e);
    return r;
}

bool ll_directory_sender(struct ll_directory *d, struct ll_slice login, struct ll_slice address)
{
    struct ll_buf targets = LL_BUF(LL_ALIAS_ANSWER_MAX);
    struct ll_mailbox mailbox, own;
    enum ll_addr_kind kind;
    bool allowed = address.n == 0;

    if (allowed || !ll_account_name(login, &own))
        return allowed;
    kind = ll_directory_find(d, address, &mailbox);
    if (kind == LL_ADDR_MAILBOX || kind == LL_ADDR_REPORT)
        return ll_slice_eq(ll_mailbox_text(&mailbox), ll_mailbox_text(&own));
    if (kind == LL_ADDR_ALIAS && ll_directory_expand(d, address, &targets) == LL_ALIAS_OK) {
        struct ll_cursor c = ll_cursor(ll_buf_slice(&targets));

        while (!allowed && ll_cur_left(&c) > 0)
            allowed = ll_directory_find(d, ll_cur_str16(&c), &mailbox) == LL_ADDR_MAILBOX &&
                      ll_slice_eq(ll_mailbox_text(&mailbox), ll_mailbox_text(&own));
    }
    ll_buf_release(&targets);
    return allowed;
}

enum ll_accounts_result ll_directory_account(struct ll_directory *d, struct ll_slice login,
                                             struct ll_account *ret)
{
    struct ll_mailbox name;

    refresh(d);
    if (!d->accounts)
        return LL_ACCOUNTS_BROKEN;
    return ll_account_name(login, &name) ? account(d, ll_mailbox_text(&name), ret)
                                         : LL_ACCOUNTS_NONE;
}
