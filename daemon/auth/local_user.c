/* See daemon/auth/local_user.h. */
#include "daemon/auth/local_user.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>

#define NAME_MAX_OCTETS 64 /* RFC 5321 4.5.3.1.1: of a local part */

struct user {
    char name[NAME_MAX_OCTETS + 1]; /* "" where there is no entry */
    gid_t gid;
};

static void find_user(uid_t uid, struct user *ret)
{
    FILE *f = fopen("/etc/passwd", "re");
    struct passwd *pw;

    *ret = (struct user){.gid = (gid_t)-1};
    while (f && (pw = fgetpwent(f)) != NULL) {
        if (pw->pw_uid != uid)
            continue;
        if (strlen(pw->pw_name) <= NAME_MAX_OCTETS)
            snprintf(ret->name, sizeof(ret->name), "%s", pw->pw_name);
        ret->gid = pw->pw_gid;
        break;
    }
    if (f)
        fclose(f);
}

static bool in_group(const struct user *u, const char *group)
{
    FILE *f = fopen("/etc/group", "re");
    struct group *g;
    bool is = false;

    while (f && !is && (g = fgetgrent(f)) != NULL) {
        if (strcmp(g->gr_name, group) != 0)
            continue;
        is = g->gr_gid == u->gid;
        for (char **m = g->gr_mem; !is && *m; m++)
            is = strcmp(*m, u->name) == 0;
    }
    if (f)
        fclose(f);
    return is;
}

static bool is_trusted(const struct ll_conf *conf, const struct user *u)
{
    for (size_t i = 0; u->name[0] && conf->trusted_users[i]; i++) {
        const char *one = conf->trusted_users[i];

        if (one[0] == '@' ? in_group(u, one + 1) : strcmp(one, u->name) == 0)
            return true;
    }
    return false;
}

bool ll_local_user(const struct ll_conf *conf, uid_t uid, struct ll_mailbox *ret)
{
    struct ll_buf text = LL_BUF(LL_MAILBOX_MAX);
    struct user u;

    find_user(uid, &u);
    ll_buf_printf(&text, "%s@%s", u.name, conf->local_domain);
    if (!u.name[0] || ll_mailbox_parse(ll_buf_slice(&text), false, ret) != LL_ADDR_OK) {
        ll_buf_clear(&text);
        ll_buf_printf(&text, "uid%u@%s", (unsigned)uid, conf->local_domain);
        if (ll_mailbox_parse(ll_buf_slice(&text), false, ret) != LL_ADDR_OK)
            ll_mailbox_parse(LL_LIT("nobody@localhost"), false, ret);
    }
    ll_buf_release(&text);
    return uid == 0 || is_trusted(conf, &u);
}
