/* ll-tally: the role tally, apart because of the library that it needs. */
#include "daemon/proc.h"

static const struct ll_role_main roles[] = {{LL_ROLE_TALLY, &ll_role_tally}};

int main(int argc, char **argv)
{
    return ll_proc_main(argc, argv, roles, LL_COUNT(roles));
}
