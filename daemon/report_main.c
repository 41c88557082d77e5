/* ll-report: the role report, apart because of the libraries that it needs. */
#include "daemon/proc.h"

static const struct ll_role_main roles[] = {{LL_ROLE_REPORT, &ll_role_report}};

int main(int argc, char **argv)
{
    return ll_proc_main(argc, argv, roles, LL_COUNT(roles));
}
