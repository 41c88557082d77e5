/* ll-mail: the roles that need no heavy library. */
#include "daemon/proc.h"

static const struct ll_role_main roles[] = {
    {LL_ROLE_KEEPER, &ll_role_keeper},   {LL_ROLE_QUEUE, &ll_role_queue},
    {LL_ROLE_POST, &ll_role_post},       {LL_ROLE_LOCAL, &ll_role_local},
    {LL_ROLE_RELAY, &ll_role_relay},     {LL_ROLE_FRONT_MX, &ll_role_front},
    {LL_ROLE_FRONT_SUB, &ll_role_front}, {LL_ROLE_CONTROL, &ll_role_control},
};

int main(int argc, char **argv)
{
    return ll_proc_main(argc, argv, roles, LL_COUNT(roles));
}
