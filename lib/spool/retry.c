/* See include/letterlock/spool.h. The wait doubles from try to try, up to its maximum, and is
 * spread by a fifth to either side so that letters deferred together do not return together. */
#include "letterlock/spool.h"

#define DOUBLINGS_MAX 30

int64_t ll_retry_wait(const struct ll_retry_conf *conf, uint32_t attempt, int64_t age_s,
                      uint64_t random)
{
    int64_t first = conf->first_s > 0 ? conf->first_s : 1;
    int64_t max = conf->max_s > first ? conf->max_s : first;
    int64_t wait = first;
    int64_t spread;

    if (age_s >= conf->lifetime_s)
        return -1;
    for (uint32_t i = 1; i < attempt && i < DOUBLINGS_MAX && wait < max; i++)
        wait = wait > max / 2 ? max : wait * 2;
    spread = wait / 5;
    if (spread > 0)
        wait += (int64_t)(random % (uint64_t)(2 * spread + 1)) - spread;
    /* The last try is made when the time is up, not before. A clock that ran backwards makes a
     * letter younger than nothing: then its whole life is before it. */
    if (age_s < 0)
        age_s = 0;
    if (wait > conf->lifetime_s - age_s)
        wait = conf->lifetime_s - age_s;
    return wait > 0 ? wait : 1;
}
