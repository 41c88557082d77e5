/* See tool/check.h: folders and files, and whether their processes can use them. */
#include "daemon/roles.h"
#include "io/accounts.h"
#include "io/aliases.h"
#include "tool/check.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* May this user get through every folder above the path? */
static bool way_open(const char *path, uid_t uid, gid_t gid, char *ret_where, size_t room)
{
    struct ll_buf part = LL_BUF(4096);
    bool open = true;

    for (const char *slash = strchr(path + 1, '/'); open && slash; slash = strchr(slash + 1, '/')) {
        struct stat st;
        const char *folder;

        ll_buf_clear(&part);
        ll_buf_put(&part, path, (size_t)(slash - path));
        folder = ll_buf_str(&part);
        if (!folder || stat(folder, &st) < 0)
            break;
        open = st.st_uid == uid   ? st.st_mode & 0100
               : st.st_gid == gid ? st.st_mode & 0010
                                  : st.st_mode & 0001;
        if (!open)
            snprintf(ret_where, room, "%s", folder);
    }
    ll_buf_release(&part);
    return open;
}

/* Owner and mode of what a role uses. Without root there are no users to tell apart. */
static bool check_owner(struct ll_check *c, const char *area, const char *path,
                        const struct stat *st, enum ll_role role)
{
    char where[1024] = "";
    uid_t uid;
    gid_t gid;

    if (ll_role_uid(c->conf, role, &uid, &gid) < 0)
        return true; /* started by a plain user: all roles are that user */
    if (st->st_uid != uid && st->st_uid != 0) {
        ll_check_say(c, LL_FINDING_FAULT, area, "%s belongs to user %u, not to that of %s (%u)",
                     path, st->st_uid, ll_role_name(role), uid);
        return false;
    }
    if (!way_open(path, uid, gid, where, sizeof(where))) {
        ll_check_say(c, LL_FINDING_FAULT, area, "%s cannot be reached by %s: %s is closed to it",
                     path, ll_role_name(role), where);
        return false;
    }
    return true;
}

static void check_folder(struct ll_check *c, const char *name, const char *path, enum ll_role role)
{
    struct stat st;

    if (stat(path, &st) < 0)
        ll_check_say(c, LL_FINDING_FAULT, name, "%s: %s", path, strerror(errno));
    else if (!S_ISDIR(st.st_mode))
        ll_check_say(c, LL_FINDING_FAULT, name, "%s is no folder", path);
    else if (st.st_mode & 022)
        ll_check_say(c, LL_FINDING_FAULT, name, "%s can be written by others (mode %03o)", path,
                     (unsigned)st.st_mode & 0777);
    else if (check_owner(c, name, path, &st, role))
        ll_check_say(c, LL_FINDING_OK, name, "%s", path);
}

/* The server makes it when it starts; an operator's import may have made it for somebody else. */
static void check_reports_folder(struct ll_check *c)
{
    struct ll_buf path = LL_BUF(4096);
    struct stat st;
    uid_t uid;
    gid_t gid;

    ll_buf_printf(&path, "%s/reports", c->conf->state_dir);
    if (ll_buf_str(&path) && stat(ll_buf_str(&path), &st) == 0) {
        if (ll_role_uid(c->conf, LL_ROLE_TALLY, &uid, &gid) == 0 && st.st_uid != uid)
            ll_check_say(c, LL_FINDING_FAULT, "reports",
                         "%s belongs to user %u, not to that of tally: chown -R %u:%u %s",
                         ll_buf_str(&path), st.st_uid, uid, gid, ll_buf_str(&path));
        else
            check_folder(c, "reports", ll_buf_str(&path), LL_ROLE_TALLY);
    }
    ll_buf_release(&path);
}

/* A file that nobody but its role may read. */
static bool check_secret(struct ll_check *c, const char *area, const char *path, enum ll_role role)
{
    struct stat st;

    if (stat(path, &st) < 0) {
        ll_check_say(c, LL_FINDING_FAULT, area, "%s: %s", path, strerror(errno));
        return false;
    }
    if (st.st_mode & 077) {
        ll_check_say(c, LL_FINDING_FAULT, area, "%s can be read or written by others (mode %03o)",
                     path, (unsigned)st.st_mode & 0777);
        return false;
    }
    return check_owner(c, area, path, &st, role);
}

struct accounts_seen {
    struct ll_check *check;
    const struct ll_aliases *aliases;
    size_t n;
};

static bool check_account(void *arg, const struct ll_account *a)
{
    struct accounts_seen *seen = arg;
    struct ll_slice name = ll_slice_str(a->address);
    struct ll_slice domain = ll_slice_skip(name, ll_slice_rfind(name, '@') + 1);

    seen->n++;
    if (!ll_conf_domain(seen->check->conf, domain))
        ll_check_say(seen->check, LL_FINDING_WARNING, "accounts",
                     "%s is at no domain of this server: no mail comes to it", a->address);
    if (seen->aliases && ll_aliases_find(seen->aliases, name, NULL))
        ll_check_say(seen->check, LL_FINDING_WARNING, "aliases",
                     "%s is an account too: its mail goes to its mailbox, not by the alias",
                     a->address);
    return true;
}

static struct ll_aliases *check_aliases(struct ll_check *c)
{
    struct ll_buf err = LL_BUF(8192);
    struct ll_slice rest, line;
    struct ll_aliases *a;

    if (!c->conf->aliases[0])
        return NULL;
    a = ll_aliases_load(c->conf->aliases, c->conf->local_domain, &err);
    if (a)
        ll_check_say(c, LL_FINDING_OK, "aliases", "%s: %zu", c->conf->aliases, ll_aliases_count(a));
    else if (err.n == 0)
        ll_check_say(c, LL_FINDING_FAULT, "aliases", "%s: %s", c->conf->aliases, strerror(errno));
    for (rest = ll_buf_slice(&err); ll_slice_next(&rest, '\n', &line) && line.n > 0;)
        ll_check_say(c, LL_FINDING_FAULT, "aliases", "%.*s", LL_FMT(line));
    ll_buf_release(&err);
    return a;
}

static void check_accounts(struct ll_check *c)
{
    struct ll_buf err = LL_BUF(4096);
    struct ll_aliases *aliases = check_aliases(c);
    struct accounts_seen seen = {c, aliases, 0};
    struct ll_accounts *a = NULL;
    enum ll_accounts_result r;

    if (!check_secret(c, "accounts", c->conf->accounts, LL_ROLE_AUTH)) {
        ll_aliases_free(aliases);
        return;
    }
    r = ll_accounts_open(c->conf->accounts, false, 2000, &a, &err);
    if (r == LL_ACCOUNTS_OK)
        r = ll_accounts_each(a, check_account, &seen, &err);
    if (r != LL_ACCOUNTS_OK)
        ll_check_say(c, LL_FINDING_FAULT, "accounts", "%.*s",
                     LL_FMT(ll_slice_trim(ll_slice_cut(ll_buf_slice(&err), 0,
                                                       ll_slice_find(ll_buf_slice(&err), '\n')))));
    else if (seen.n == 0)
        ll_check_say(
            c, LL_FINDING_WARNING, "accounts",
            "there is none yet: nobody reads mail for postmaster@ (`letterlock user add`)");
    else
        ll_check_say(c, LL_FINDING_OK, "accounts", "%s: %zu", c->conf->accounts, seen.n);
    ll_accounts_close(a);
    ll_aliases_free(aliases);
    ll_buf_release(&err);
}

void ll_check_files(struct ll_check *c)
{
    const struct ll_conf *conf = c->conf;

    check_folder(c, "state_dir", conf->state_dir, LL_ROLE_SUPER);
    check_folder(c, "spool_dir", conf->spool_dir, LL_ROLE_QUEUE);
    check_folder(c, "run_dir", conf->run_dir, LL_ROLE_SUPER);
    check_folder(c, "mail_dir", conf->mail_dir, LL_ROLE_LOCAL);
    check_reports_folder(c);
    check_accounts(c);
    for (size_t i = 0; i < conf->n_route; i++)
        if (conf->route[i].password_file[0] &&
            check_secret(c, "route", conf->route[i].password_file, LL_ROLE_RELAY))
            ll_check_say(c, LL_FINDING_OK, "route", "%s: %s", conf->route[i].title,
                         conf->route[i].password_file);
    for (size_t i = 0; i < conf->n_certificate; i++)
        if (conf->certificate[i].key[0])
            check_secret(c, "certificate", conf->certificate[i].key, LL_ROLE_KEEPER);
}
