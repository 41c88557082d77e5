/* ll-dns: the role dns, apart because of the library that it needs. */
#include "daemon/proc.h"

static const struct ll_role_main roles[] = {{LL_ROLE_DNS, &ll_role_dns}};

int main(int argc, char **argv)
{
    return ll_proc_main(argc, argv, roles, LL_COUNT(roles));
}
