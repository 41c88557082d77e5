/* ll-auth: the role auth, apart because of the library that it needs. */
#include "daemon/proc.h"

static const struct ll_role_main roles[] = {{LL_ROLE_AUTH, &ll_role_auth}};

int main(int argc, char **argv)
{
    return ll_proc_main(argc, argv, roles, LL_COUNT(roles));
}
