/* What the MTA and the filter agree on. See letterlock/milter.h. */
#include "letterlock/milter.h"

bool ll_milter_negotiate(const struct ll_milter_options *offered,
                         const struct ll_milter_options *wanted, struct ll_milter_options *ret)
{
    if (offered->version < LL_MILTER_VERSION_MIN || (wanted->actions & ~offered->actions))
        return false;
    *ret = (struct ll_milter_options){
        .version = offered->version < LL_MILTER_VERSION ? offered->version : LL_MILTER_VERSION,
        .actions = wanted->actions,
        .steps = wanted->steps & offered->steps};
    return true;
}

bool ll_milter_agreed(const struct ll_milter_options *offered,
                      const struct ll_milter_options *answered)
{
    return answered->version >= LL_MILTER_VERSION_MIN && answered->version <= offered->version &&
           !(answered->actions & ~offered->actions) && !(answered->steps & ~offered->steps);
}

bool ll_milter_answers(enum ll_milter_type command, uint32_t steps)
{
    static const struct {
        uint8_t command;
        uint32_t unless;
    } rows[] = {{LL_MILTER_OPTNEG, 0},
                {LL_MILTER_CONNECT, LL_MILTER_NR_CONNECT},
                {LL_MILTER_HELO, LL_MILTER_NR_HELO},
                {LL_MILTER_MAIL, LL_MILTER_NR_MAIL},
                {LL_MILTER_RCPT, LL_MILTER_NR_RCPT},
                {LL_MILTER_DATA, LL_MILTER_NR_DATA},
                {LL_MILTER_UNKNOWN, LL_MILTER_NR_UNKNOWN},
                {LL_MILTER_HEADER, LL_MILTER_NR_HEADER},
                {LL_MILTER_EOH, LL_MILTER_NR_EOH},
                {LL_MILTER_BODY, LL_MILTER_NR_BODY},
                {LL_MILTER_EOB, 0}};

    for (size_t i = 0; i < LL_COUNT(rows); i++)
        if (rows[i].command == (uint8_t)command)
            return !(steps & rows[i].unless);
    return false;
}
