/* See daemon/roles.h. */
#include "daemon/roles.h"

#include <pwd.h>
#include <stdio.h>

static const char *const names[] = {
#define ROLE(ID, name, program, workers, life) name,
#include "daemon/roles.def"
#undef ROLE
};

static const char *const programs[] = {
#define ROLE(ID, name, program, workers, life) program,
#include "daemon/roles.def"
#undef ROLE
};

enum { STAYS, ONCE };
static const uint8_t lives[] = {
#define ROLE(ID, name, program, workers, life) life,
#include "daemon/roles.def"
#undef ROLE
};

const char *ll_role_name(enum ll_role role)
{
    return (unsigned)role < LL_ROLE_COUNT ? names[role] : "unknown";
}

const char *ll_role_program(enum ll_role role)
{
    return (unsigned)role < LL_ROLE_COUNT ? programs[role] : NULL;
}

bool ll_role_once(enum ll_role role)
{
    return (unsigned)role < LL_ROLE_COUNT && lives[role] == ONCE;
}

enum ll_role ll_role_of_name(const char *name)
{
    unsigned i;

    for (i = 0; i < LL_ROLE_COUNT; i++)
        if (strcmp(names[i], name) == 0)
            break;
    return (enum ll_role)i;
}

unsigned ll_role_workers(const struct ll_conf *conf, enum ll_role role)
{
    const int64_t workers[] = {
#define ROLE(ID, name, program, workers, life) workers,
#include "daemon/roles.def"
#undef ROLE
    };

    return (unsigned)role < LL_ROLE_COUNT && workers[role] > 0 ? (unsigned)workers[role] : 0;
}

int ll_role_uid(const struct ll_conf *conf, enum ll_role role, uid_t *ret_uid, gid_t *ret_gid)
{
    char name[64];
    struct passwd *pw = NULL;

    if ((unsigned)role >= LL_ROLE_COUNT)
        return -1;
    if (conf->users[0] &&
        snprintf(name, sizeof(name), "%s-%s", conf->users, names[role]) < (int)sizeof(name))
        pw = getpwnam(name);
    if (pw && pw->pw_uid != 0) {
        *ret_uid = pw->pw_uid;
        *ret_gid = pw->pw_gid;
        return 0;
    }
    if (conf->uid_base <= 0)
        return -1;
    *ret_uid = (uid_t)(conf->uid_base + (int64_t)role);
    *ret_gid = (gid_t)(conf->uid_base + (int64_t)role);
    return 0;
}
