/* letterlock user: accounts. */
#include "io/accounts.h"
#include "io/clock.h"
#include "tool/json_out.h"
#include "tool/tool.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define BUSY_MS 5000 /* how long another process may hold the file */

struct run {
    struct ll_where where;
    struct ll_password_from password;
    bool json;
    struct ll_conf *conf;
    struct ll_accounts *accounts;
    struct ll_mailbox name;
    struct ll_buf err;
};

static int told(struct run *r, enum ll_accounts_result result)
{
    static const int status[] = {
        [LL_ACCOUNTS_OK] = 0,
        [LL_ACCOUNTS_NONE] = EX_NOUSER,
        [LL_ACCOUNTS_EXISTS] = EX_DATAERR,
        [LL_ACCOUNTS_BUSY] = EX_TEMPFAIL,
        [LL_ACCOUNTS_BROKEN] = EX_UNAVAILABLE,
    };

    if (result == LL_ACCOUNTS_NONE)
        return ll_fail(EX_NOUSER, "there is no account %s", r->name.text);
    if (result == LL_ACCOUNTS_EXISTS)
        return ll_fail(EX_DATAERR,
                       "the account %s is there already (`user passwd` changes its "
                       "password)",
                       r->name.text);
    return result == LL_ACCOUNTS_OK ? 0 : ll_fail_text(status[result], &r->err);
}

static int open_accounts(struct run *r, bool write)
{
    int status = 0;

    r->conf = ll_where_conf(&r->where, &status);
    if (!r->conf)
        return status;
    if (access(r->conf->accounts, write ? W_OK : R_OK) < 0)
        return ll_fail(errno == EACCES ? EX_NOPERM : EX_UNAVAILABLE, "%s: %s", r->conf->accounts,
                       strerror(errno));
    return told(r, ll_accounts_open(r->conf->accounts, write, BUSY_MS, &r->accounts, &r->err));
}

static void end(struct run *r)
{
    ll_accounts_close(r->accounts);
    ll_conf_free(r->conf);
    ll_buf_release(&r->err);
}

static int check_name(struct run *r, const char *text, bool must_be_ours)
{
    const struct ll_conf_domain *d;

    if (!ll_account_name(ll_slice_str(text), &r->name))
        return ll_fail(EX_DATAERR, "\"%s\" is no mail address; write it like ann@example.org",
                       text);
    if (r->name.indirect)
        return ll_fail(EX_DATAERR, "\"%s\": no %% ! or @ in the name of an account", text);
    d = ll_conf_domain(r->conf, ll_mailbox_domain(&r->name));
    if (must_be_ours && !d)
        return ll_fail(EX_DATAERR, "%.*s is no domain of this server (add a domain section first)",
                       LL_FMT(ll_mailbox_domain(&r->name)));
    if (must_be_ours && ll_conf_carried(d))
        return ll_fail(EX_DATAERR, "%.*s is relayed: its mailboxes are elsewhere",
                       LL_FMT(ll_mailbox_domain(&r->name)));
    if (must_be_ours && r->conf->plus[0] && strpbrk(r->name.text, r->conf->plus) &&
        strcspn(r->name.text, r->conf->plus) < r->name.local_n)
        return ll_fail(EX_DATAERR,
                       "\"%s\": what stands behind \"%s\" is a detail of an account, "
                       "not part of its name",
                       text, r->conf->plus);
    return 0;
}

static int check_password(struct ll_slice password)
{
    if (password.n < LL_PASSWORD_MIN || password.n > LL_PASSWORD_MAX)
        return ll_fail(EX_DATAERR, "a password has %d to %d octets", LL_PASSWORD_MIN,
                       LL_PASSWORD_MAX);
    return ll_utf8_valid(password) ? 0 : ll_fail(EX_DATAERR, "the password is not UTF-8");
}

static int get_hash(const struct ll_password_from *from, char hash[LL_HASH_TEXT_MAX])
{
    struct ll_buf password = LL_BUF(0);
    int status = ll_password_get(from, true, &password);

    if (status == 0)
        status = check_password(ll_buf_slice(&password));
    if (status == 0 && !ll_hash_make(ll_buf_slice(&password), hash))
        status = ll_fail(EX_OSERR, "no memory to hash the password");
    ll_buf_wipe(&password);
    return status;
}

#define PASSWORD_OPTS(p)                                                                           \
    {"password-file", 0, LL_OPT_TEXT, &(p).file, "FILE", "password in the first line of FILE"},    \
    {                                                                                              \
        "password-stdin", 0, LL_OPT_FLAG, &(p).from_stdin, NULL,                                   \
            "password in the first line of stdin"                                                  \
    }

/* add and passwd: both need an address and a password. */
static int add_or_passwd(bool add, int argc, char **argv)
{
    struct run r = {.err = LL_BUF(4096)};
    const struct ll_opt opts[] = {LL_WHERE_OPTS(r.where), PASSWORD_OPTS(r.password)};
    const struct ll_usage usage = {
        add ? "user add [options] ADDRESS" : "user passwd [options] ADDRESS",
        add ? "Makes an account: a mailbox, and a login of that name. The password is asked for."
            : "Sets a new password. It is asked for.",
        opts,
        LL_COUNT(opts),
        1,
        1};
    char hash[LL_HASH_TEXT_MAX];
    struct ll_words words;
    struct ll_slice name;
    int status;

    if (!ll_args_take(&usage, argc, argv, &words, &status))
        return status;
    status = open_accounts(&r, true);
    if (status == 0)
        status = check_name(&r, words.v[0], add);
    name = ll_mailbox_text(&r.name);
    if (status == 0) { /* before the password is asked for */
        enum ll_accounts_result found = ll_accounts_find(r.accounts, name, NULL, &r.err);

        if (!add)
            status = told(&r, found);
        else if (found != LL_ACCOUNTS_NONE)
            status = told(&r, found == LL_ACCOUNTS_OK ? LL_ACCOUNTS_EXISTS : found);
    }
    if (status == 0)
        status = get_hash(&r.password, hash);
    if (status == 0)
        status = told(&r, add ? ll_accounts_add(r.accounts, name, hash, ll_unix_s(), &r.err)
                              : ll_accounts_set_hash(r.accounts, name, hash, &r.err));
    end(&r);
    return status;
}

static int user_add(int argc, char **argv)
{
    return add_or_passwd(true, argc, argv);
}

static int user_passwd(int argc, char **argv)
{
    return add_or_passwd(false, argc, argv);
}

enum change { DEL, LOCK, UNLOCK };

static int change(enum change what, int argc, char **argv)
{
    static const struct {
        const char *synopsis, *text;
    } help[] = {
        [DEL] = {"user del [options] ADDRESS",
                 "Takes the account away. Its Maildir stays where it is."},
        [LOCK] = {"user lock [options] ADDRESS",
                  "The account may not log in any more. Mail for it still arrives."},
        [UNLOCK] = {"user unlock [options] ADDRESS", "The account may log in again."},
    };
    struct run r = {.err = LL_BUF(4096)};
    const struct ll_opt opts[] = {LL_WHERE_OPTS(r.where)};
    const struct ll_usage usage = {
        help[what].synopsis, help[what].text, opts, LL_COUNT(opts), 1, 1};
    struct ll_words words;
    int status;

    if (!ll_args_take(&usage, argc, argv, &words, &status))
        return status;
    status = open_accounts(&r, true);
    if (status == 0)
        status = check_name(&r, words.v[0], false);
    if (status == 0)
        status =
            told(&r, what == DEL ? ll_accounts_del(r.accounts, ll_mailbox_text(&r.name), &r.err)
                                 : ll_accounts_set_locked(r.accounts, ll_mailbox_text(&r.name),
                                                          what == LOCK, &r.err));
    end(&r);
    return status;
}

static int user_del(int argc, char **argv)
{
    return change(DEL, argc, argv);
}

static int user_lock(int argc, char **argv)
{
    return change(LOCK, argc, argv);
}

static int user_unlock(int argc, char **argv)
{
    return change(UNLOCK, argc, argv);
}

static bool print_one(void *arg, const struct ll_account *a)
{
    struct ll_json *j = arg;
    struct ll_buf day = LL_BUF(64);
    const char *s;

    ll_time_rfc3339(&day, a->created);
    s = ll_buf_str(&day);
    if (j) {
        ll_json_open(j, '{');
        ll_json_cstr(j, "address", a->address);
        ll_json_bool(j, "locked", a->locked);
        ll_json_cstr(j, "created", s);
        ll_json_close(j);
    } else {
        printf("%-40s %s%s\n", a->address, s ? s : "", a->locked ? "  locked" : "");
    }
    ll_buf_release(&day);
    return !j || !j->out->failed;
}

static int user_list(int argc, char **argv)
{
    struct run r = {.err = LL_BUF(4096)};
    const struct ll_opt opts[] = {LL_WHERE_OPTS(r.where), LL_JSON_OPT(r.json)};
    const struct ll_usage usage = {
        "user list [options]", "Lists the accounts.", opts, LL_COUNT(opts), 0, 0};
    struct ll_buf out = LL_BUF((size_t)1 << 30);
    struct ll_json j = LL_JSON(&out);
    struct ll_words words;
    int status;

    if (!ll_args_take(&usage, argc, argv, &words, &status))
        return status;
    status = open_accounts(&r, false);
    if (r.json && status == 0)
        ll_json_open(&j, '[');
    if (status == 0)
        status = told(&r, ll_accounts_each(r.accounts, print_one, r.json ? &j : NULL, &r.err));
    if (r.json && status == 0) {
        ll_json_close(&j);
        status = ll_json_print(&out);
    }
    end(&r);
    return status;
}

int ll_cmd_user(int argc, char **argv)
{
    static const struct ll_sub subs[] = {
        {"add", user_add, "make an account"},
        {"passwd", user_passwd, "set a new password"},
        {"del", user_del, "take an account away"},
        {"list", user_list, "list the accounts"},
        {"lock", user_lock, "refuse its logins; mail still arrives"},
        {"unlock", user_unlock, "allow its logins again"},
    };

    return ll_sub_run("user", subs, LL_COUNT(subs), argc, argv);
}
