/* See io/accounts.h. Apart from SQLite, for those who only compare names. */
#include "io/accounts.h"

bool ll_account_name(struct ll_slice address, struct ll_mailbox *ret)
{
    struct ll_mailbox m;

    if (ll_mailbox_parse(address, true, &m) != LL_ADDR_OK || m.kind != LL_DOMAIN_NAME)
        return false;
    for (size_t i = 0; i < m.local_n; i++)
        m.text[i] = (char)ll_lower((uint8_t)m.text[i]);
    *ret = m;
    return true;
}
