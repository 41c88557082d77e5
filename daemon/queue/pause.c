/*
 * Destinations that the operator paused: nothing goes there until they are resumed. The outcome log
 * remembers them. See queue.h.
 */
#include "daemon/queue/queue.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PAUSES_MAX 1000 /* more: pause all */

static char **find(const struct queue *q, struct ll_slice name)
{
    for (size_t i = 0; i < q->n_pauses; i++)
        if (ll_slice_caseeq(ll_slice_str(q->pauses[i]), name))
            return &q->pauses[i];
    return NULL;
}

bool pause_covers(const struct queue *q, const struct dest *d)
{
    return d->carrier != CARRIER_POST &&
           (find(q, LL_LIT("all")) || find(q, ll_slice(d->name, d->n)));
}

int pause_set(struct queue *q, struct ll_slice name, bool paused)
{
    char **at = find(q, name);

    if (paused && !at) {
        char **list = realloc(q->pauses, (q->n_pauses + 1) * sizeof(*list));

        if (list)
            q->pauses = list;
        if (!list || q->n_pauses >= PAUSES_MAX || !(list[q->n_pauses] = ll_slice_dup(name)))
            return -1;
        q->n_pauses++;
    } else if (!paused && at) {
        free(*at);
        *at = q->pauses[--q->n_pauses];
    }
    return 0;
}

void pauses_log(struct queue *q)
{
    for (size_t i = 0; i < q->n_pauses; i++)
        outlog_pause(q, ll_slice_str(q->pauses[i]), true);
}

const char *pause_wrong(const struct queue *q, struct ll_slice name)
{
    const struct ll_conf *c = q->proc->conf;
    const struct ll_conf_domain *d = ll_conf_domain(c, name);
    const struct ll_conf_route *r = ll_conf_route(c, name);

    if (name.n == 0 || name.n > LL_OUTLOG_NAME_MAX)
        return "which destination? A domain, the title of a route, local or all";
    if (!ll_is_ascii(name))
        return "write that domain in ASCII: each part that is not as xn--...";
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] <= ' ' || name.p[i] == 0x7f || name.p[i] == '@')
            return "that is no destination; name a domain, the title of a route, local or all";
    if (ll_slice_caseeq(name, LL_LIT("all")) || ll_slice_caseeq(name, LL_LIT("local")))
        return NULL;
    if (d && !ll_conf_carried(d))
        return "letters for that domain are delivered here: the name of all mailboxes is local";
    if (r && strcmp(r->via, "mx") != 0 && !ll_slice_caseeq(ll_slice_str(r->title), name))
        return "letters for that domain share a route's connections with others: name the route by "
               "its title, \"*\" for the route of all others";
    return NULL;
}
